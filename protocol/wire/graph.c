/* protocol/wire/graph.c -- the description of a graph */
#include "protocol/wire/graph.h"

#include "protocol/abi/cuda_types.h"
#include "protocol/wire/codec.h"

#include <string.h>

bool
wire_graph_open(struct wire_graph_reader *r, const uint8_t *data, size_t len)
{
    struct wire_graph_head head;

    if (len < sizeof(head))
        return false;
    memcpy(&head, data, sizeof(head));
    if (head.magic != WIRE_GRAPH_MAGIC || head.nodes > WIRE_GRAPH_NODES_MAX ||
        head.nodes > len / sizeof(struct wire_graph_node))
        return false;
    *r = (struct wire_graph_reader){data + sizeof(head), len - sizeof(head), head.nodes, 0};
    return true;
}

static bool
edges_ok(const struct wire_graph_item *item, uint32_t index)
{
    for (uint32_t k = 0; k < item->node.edges; k++)
        if (wire_graph_edge_at(item, k).from >= index)
            return false;
    return true;
}

bool
wire_graph_next(struct wire_graph_reader *r, struct wire_graph_item *item, bool *bad_p)
{
    size_t used;

    *bad_p = false;
    if (r->nodes == 0)
        return false;
    *bad_p = true;
    if (r->left < sizeof(item->node))
        return false;
    memcpy(&item->node, r->at, sizeof(item->node));
    if (item->node.bytes > r->left || item->node.bytes % 8 != 0 ||
        item->node.edges > item->node.bytes / sizeof(struct wire_graph_edge))
        return false;
    used = sizeof(item->node) + item->node.edges * sizeof(struct wire_graph_edge);
    if (used > item->node.bytes)
        return false;
    item->edges = r->at + sizeof(item->node);
    item->body = r->at + used;
    item->body_len = item->node.bytes - used;
    if (!edges_ok(item, r->index))
        return false;
    r->at += item->node.bytes;
    r->left -= item->node.bytes;
    r->nodes--;
    r->index++;
    *bad_p = false;
    return true;
}

struct wire_graph_edge
wire_graph_edge_at(const struct wire_graph_item *item, uint32_t k)
{
    struct wire_graph_edge edge;

    memcpy(&edge, item->edges + k * sizeof(edge), sizeof(edge));
    return edge;
}

bool
wire_graph_body(const struct wire_graph_item *item, void *head, size_t head_len, bool exact)
{
    if (item->body_len < head_len || (exact && item->body_len != head_len))
        return false;
    memcpy(head, item->body, head_len);
    return true;
}

bool
wire_graph_body_kernel(const struct wire_graph_item *item, size_t attribute_bytes,
                       struct wire_graph_kernel *head, const uint8_t **attributes_p,
                       const uint8_t **params_p)
{
    size_t rest;

    if (!wire_graph_body(item, head, sizeof(*head), false) ||
        head->attributes > WIRE_GRAPH_ATTRIBUTES_MAX || head->param_bytes > WIRE_GRAPH_PARAMS_MAX)
        return false;
    rest = head->attributes * attribute_bytes + WIRE_PAD(head->param_bytes);
    if (item->body_len - sizeof(*head) != rest)
        return false;
    *attributes_p = item->body + sizeof(*head);
    *params_p = *attributes_p + head->attributes * attribute_bytes;
    return true;
}

bool
wire_graph_body_values(const struct wire_graph_item *item, size_t op_bytes,
                       struct wire_graph_values *head, const uint8_t **ops_p)
{
    if (!wire_graph_body(item, head, sizeof(*head), false) || head->count == 0 ||
        head->count > WIRE_GRAPH_VALUES_MAX ||
        item->body_len - sizeof(*head) != head->count * op_bytes)
        return false;
    *ops_p = item->body + sizeof(*head);
    return true;
}

/* --- the whole --- */

struct check {
    uint32_t nodes; /* so far, of all graphs */
    uint32_t depth;
};

static bool check_graph(struct check *c, const uint8_t *data, size_t len, size_t *used_p);

/* So many descriptions and nothing behind them. */
static bool
check_inside(struct check *c, const uint8_t *data, size_t len, uint32_t count)
{
    while (count-- > 0) {
        size_t used = 0;

        if (!check_graph(c, data, len, &used))
            return false;
        data += used;
        len -= used;
    }
    return len == 0;
}

static bool
check_item(struct check *c, const struct wire_graph_item *item)
{
    union {
        struct wire_graph_kernel kernel;
        struct wire_graph_copy copy;
        struct wire_graph_fill fill;
        struct wire_graph_id id;
        struct wire_graph_values values;
        struct wire_graph_cond cond;
    } u;
    const uint8_t *a, *b;

    switch (item->node.type) {
    case CU_GRAPH_NODE_TYPE_KERNEL:
        return wire_graph_body_kernel(item, sizeof(CUlaunchAttribute), &u.kernel, &a, &b);
    case CU_GRAPH_NODE_TYPE_MEMCPY:
        return wire_graph_body(item, &u.copy, sizeof(u.copy), true);
    case CU_GRAPH_NODE_TYPE_MEMSET:
        return wire_graph_body(item, &u.fill, sizeof(u.fill), true);
    case CU_GRAPH_NODE_TYPE_HOST:
    case CU_GRAPH_NODE_TYPE_EVENT_RECORD:
    case CU_GRAPH_NODE_TYPE_WAIT_EVENT:
        return wire_graph_body(item, &u.id, sizeof(u.id), true);
    case CU_GRAPH_NODE_TYPE_EMPTY:
        return item->body_len == 0;
    case CU_GRAPH_NODE_TYPE_BATCH_MEM_OP:
        return wire_graph_body_values(item, sizeof(CUstreamBatchMemOpParams), &u.values, &a);
    case CU_GRAPH_NODE_TYPE_GRAPH:
        return check_inside(c, item->body, item->body_len, 1);
    case CU_GRAPH_NODE_TYPE_CONDITIONAL:
        return wire_graph_body(item, &u.cond, sizeof(u.cond), false) && u.cond.bodies > 0 &&
               u.cond.bodies <= WIRE_GRAPH_BODIES_MAX &&
               check_inside(c, item->body + sizeof(u.cond), item->body_len - sizeof(u.cond),
                            u.cond.bodies);
    default:
        return false;
    }
}

static bool
check_graph(struct check *c, const uint8_t *data, size_t len, size_t *used_p)
{
    struct wire_graph_reader r;
    struct wire_graph_item item;
    bool bad = false, ok;

    if (c->depth == WIRE_GRAPH_DEPTH_MAX || !wire_graph_open(&r, data, len) ||
        r.nodes > WIRE_GRAPH_NODES_MAX - c->nodes)
        return false;
    c->nodes += r.nodes;
    c->depth++;
    ok = true;
    while (ok && wire_graph_next(&r, &item, &bad))
        ok = check_item(c, &item);
    c->depth--;
    *used_p = len - r.left;
    return ok && !bad;
}

bool
wire_graph_check(const uint8_t *data, size_t len)
{
    struct check c = {0};

    return check_inside(&c, data, len, 1);
}

/* --- writing --- */

size_t
wire_graph_begin(struct gp_buf *buf, uint32_t nodes)
{
    struct wire_graph_head head = {WIRE_GRAPH_MAGIC, nodes};
    size_t place = buf->len;

    gp_buf_append(buf, &head, sizeof(head));
    return place;
}

size_t
wire_graph_node_begin(struct gp_buf *buf, const struct wire_graph_node *node,
                      const struct wire_graph_edge *edges)
{
    size_t place = buf->len;

    gp_buf_append(buf, node, sizeof(*node));
    if (node->edges > 0)
        gp_buf_append(buf, edges, node->edges * sizeof(*edges));
    return place;
}

void
wire_graph_put(struct gp_buf *buf, const void *data, size_t bytes)
{
    static const uint8_t zeros[8];

    if (bytes > 0)
        gp_buf_append(buf, data, bytes);
    gp_buf_append(buf, zeros, WIRE_PAD(bytes) - bytes);
}

void
wire_graph_node_end(struct gp_buf *buf, size_t place)
{
    struct wire_graph_node node;

    if (gp_buf_status(buf) != GP_OK)
        return;
    memcpy(&node, buf->data + place, sizeof(node));
    node.bytes = (uint32_t)(buf->len - place);
    memcpy(buf->data + place, &node, sizeof(node));
}
