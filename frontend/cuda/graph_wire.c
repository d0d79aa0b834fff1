/* frontend/cuda/graph_wire.c -- graphs described for the server */
#include "frontend/cuda/graph.h"
#include "frontend/cuda/host.h"

#include <stdlib.h>
#include <string.h>

struct writer {
    struct fe_call *call;
    struct gp_buf *out;
    struct fe_plan *plan;
    uint32_t number; /* of the next node */
};

static CUresult describe_graph(struct writer *w, struct fe_graph *graph, bool outermost);

/* -- what a launch touches --------------------------------------------------------------- */

/* One more at the end of a list whose room is a power of two. */
static bool
append(void *list_p, size_t count, size_t size, const void *item)
{
    void **list = list_p;

    if ((count & (count - 1)) == 0) {
        void *grown = realloc(*list, (count != 0 ? 2 * count : 1) * size);

        if (grown == NULL)
            return false;
        *list = grown;
    }
    memcpy((uint8_t *)*list + count * size, item, size);
    return true;
}

static CUresult
note_event(struct fe_plan *plan, struct fe_event *event, uint32_t number)
{
    const struct fe_plan_event e = {event, event->object.wire, number};

    if (!append(&plan->events, plan->event_count, sizeof(e), &e))
        return CUDA_ERROR_OUT_OF_MEMORY;
    plan->event_count++;
    return CUDA_SUCCESS;
}

static CUresult
note_memory(struct fe_plan *plan, CUgraphNodeType type, const union fe_node_body *body)
{
    if (type == CU_GRAPH_NODE_TYPE_MEM_ALLOC) {
        struct fe_graph_block *block = body->alloc.block;

        if (!append(&plan->allocs, plan->alloc_count, sizeof(struct fe_graph_block *), &block))
            return CUDA_ERROR_OUT_OF_MEMORY;
        plan->alloc_count++;
        block->refs++;
        return CUDA_SUCCESS;
    }
    if (!append(&plan->frees, plan->free_count, sizeof(uint64_t), &body->freed))
        return CUDA_ERROR_OUT_OF_MEMORY;
    plan->free_count++;
    return CUDA_SUCCESS;
}

/* -- bodies ------------------------------------------------------------------------------ */

static CUresult
put_kernel(struct writer *w, const struct fe_node_kernel *k)
{
    struct wire_graph_kernel head = {
        .function = k->function_wire,
        .green = k->green_wire,
        .grid = {k->grid[0], k->grid[1], k->grid[2]},
        .block = {k->block[0], k->block[1], k->block[2]},
        .shared_bytes = k->shared_bytes,
        .flags = k->extra ? WIRE_GRAPH_EXTRA : 0,
        .param_bytes = k->bytes,
    };

    if (fe_object_state(k->function) != FE_OBJECT_LIVE ||
        k->function->object.wire != k->function_wire)
        return CUDA_ERROR_INVALID_HANDLE; /* its module is gone */
    head.attributes = (uint32_t)__builtin_popcount(k->attributes_set);
    wire_graph_put(w->out, &head, sizeof(head));
    for (uint32_t id = 0; id < FE_NODE_ATTRIBUTES; id++) {
        CUlaunchAttribute attribute = {.id = (CUlaunchAttributeID)id};

        if ((k->attributes_set & (1u << id)) == 0)
            continue;
        attribute.value = k->attributes[id];
        wire_graph_put(w->out, &attribute, sizeof(attribute));
    }
    wire_graph_put(w->out, k->values, k->bytes);
    return CUDA_SUCCESS;
}

static struct wire_graph_side
device_side(const struct fe_side *side)
{
    if (side->type == CU_MEMORYTYPE_ARRAY)
        return (struct wire_graph_side){.place = WIRE_GRAPH_ARRAY,
                                        .base = side->array_wire,
                                        .x = side->x,
                                        .y = side->y,
                                        .z = side->z};
    return (struct wire_graph_side){.place = WIRE_GRAPH_DEVICE,
                                    .base = fe_host_device(side->base),
                                    .pitch = side->pitch,
                                    .slice = side->slice};
}

/* It was begun as a host function. */
static CUresult
put_token(struct writer *w, const struct fe_token *what)
{
    struct fe_token *token = NULL;
    struct wire_graph_id id;
    CUresult cr = fe_token_new(w->call, what, &w->plan->tokens, &token);

    if (cr != CUDA_SUCCESS)
        return cr;
    id.id = token->id;
    wire_graph_put(w->out, &id, sizeof(id));
    return CUDA_SUCCESS;
}

static CUresult
put_copy(struct writer *w, const struct fe_node_copy *node, uint32_t number)
{
    const struct fe_copy *c = &node->copy;
    struct wire_graph_copy body = {
        .width = c->shape.width,
        .height = c->shape.height,
        .depth = c->shape.depth,
        .src = device_side(&c->src),
        .dst = device_side(&c->dst),
    };
    struct fe_token what = {.step = number, .copy = *c}, *token = NULL;
    bool in = c->src.type == CU_MEMORYTYPE_HOST, out = c->dst.type == CU_MEMORYTYPE_HOST;
    CUresult cr = CUDA_SUCCESS;

    if (node->between || (in && out)) {
        what.kind = node->between ? FE_TOKEN_RELAY : FE_TOKEN_MOVE;
        what.dst = node->dst;
        what.src = node->src;
        return put_token(w, &what);
    }
    if (in || out) {
        what.kind = in ? FE_TOKEN_PULL : FE_TOKEN_PUSH;
        cr = fe_token_new(w->call, &what, &w->plan->tokens, &token);
    }
    if (cr != CUDA_SUCCESS)
        return cr;
    if (in)
        body.src = (struct wire_graph_side){.place = WIRE_GRAPH_HOST, .base = token->id};
    if (out)
        body.dst = (struct wire_graph_side){.place = WIRE_GRAPH_HOST, .base = token->id};
    wire_graph_put(w->out, &body, sizeof(body));
    return CUDA_SUCCESS;
}

static CUresult
put_host(struct writer *w, const CUDA_HOST_NODE_PARAMS *host, uint32_t number)
{
    const struct fe_token what = {
        .kind = FE_TOKEN_CALL, .step = number, .fn = host->fn, .data = host->userData};

    return put_token(w, &what);
}

static CUresult
put_event(struct writer *w, CUgraphNodeType type, struct fe_event *event, uint32_t number)
{
    struct wire_graph_id id = {event->object.wire};

    if (fe_object_state(event) != FE_OBJECT_LIVE)
        return CUDA_ERROR_INVALID_HANDLE;
    if (event->object.context->head.session != w->call->session)
        return fe_refuse("a graph with an event of another server");
    wire_graph_put(w->out, &id, sizeof(id));
    return type == CU_GRAPH_NODE_TYPE_EVENT_RECORD ? note_event(w->plan, event, number)
                                                   : CUDA_SUCCESS;
}

/* By the addresses that the device knows; values are at one place, whether written or waited for.
 */
static void
put_values(struct writer *w, const struct fe_node_values *values)
{
    struct wire_graph_values head = {values->count, values->flags};

    wire_graph_put(w->out, &head, sizeof(head));
    for (uint32_t i = 0; i < head.count; i++) {
        CUstreamBatchMemOpParams op = values->ops[i];

        if (op.operation != CU_STREAM_MEM_OP_BARRIER &&
            op.operation != CU_STREAM_MEM_OP_FLUSH_REMOTE_WRITES)
            op.waitValue.address = fe_host_device(op.waitValue.address);
        wire_graph_put(w->out, &op, sizeof(op));
    }
}

static CUresult
put_conditional(struct writer *w, const struct fe_node_cond *c)
{
    const struct wire_graph_cond head = {c->cond->handle, (uint32_t)c->type, c->size,
                                         c->cond->value, c->cond->flags};
    CUresult cr = CUDA_SUCCESS;

    wire_graph_put(w->out, &head, sizeof(head));
    for (unsigned i = 0; i < c->size && cr == CUDA_SUCCESS; i++)
        cr = describe_graph(w, c->bodies[i], false);
    return cr;
}

static CUresult
put_body(struct writer *w, CUgraphNodeType type, union fe_node_body *body, uint32_t number)
{
    switch (type) {
    case CU_GRAPH_NODE_TYPE_KERNEL:
        return put_kernel(w, &body->kernel);
    case CU_GRAPH_NODE_TYPE_MEMCPY:
        return put_copy(w, &body->copy, number);
    case CU_GRAPH_NODE_TYPE_MEMSET: {
        const CUDA_MEMSET_NODE_PARAMS *p = &body->fill;
        struct wire_graph_fill fill = {
            fe_host_device(p->dst), p->pitch, p->width, p->height, p->value, p->elementSize};

        wire_graph_put(w->out, &fill, sizeof(fill));
        return CUDA_SUCCESS;
    }
    case CU_GRAPH_NODE_TYPE_HOST:
        return put_host(w, &body->host, number);
    case CU_GRAPH_NODE_TYPE_EVENT_RECORD:
    case CU_GRAPH_NODE_TYPE_WAIT_EVENT:
        return put_event(w, type, body->event, number);
    case CU_GRAPH_NODE_TYPE_BATCH_MEM_OP:
        put_values(w, &body->values);
        return CUDA_SUCCESS;
    case CU_GRAPH_NODE_TYPE_GRAPH:
        return describe_graph(w, body->child, false);
    case CU_GRAPH_NODE_TYPE_CONDITIONAL:
        return put_conditional(w, &body->cond);
    default:
        return CUDA_SUCCESS;
    }
}

/* What the server makes of it. */
static CUgraphNodeType
wire_type(CUgraphNodeType type, const union fe_node_body *body)
{
    const struct fe_copy *c;

    switch (type) {
    case CU_GRAPH_NODE_TYPE_MEMCPY:
        c = &body->copy.copy;
        if (fe_shape_empty(&c->shape))
            return CU_GRAPH_NODE_TYPE_EMPTY;
        return body->copy.between ||
                       (c->src.type == CU_MEMORYTYPE_HOST && c->dst.type == CU_MEMORYTYPE_HOST)
                   ? CU_GRAPH_NODE_TYPE_HOST
                   : type;
    case CU_GRAPH_NODE_TYPE_MEMSET:
        return body->fill.width == 0 ? CU_GRAPH_NODE_TYPE_EMPTY : type;
    case CU_GRAPH_NODE_TYPE_MEM_ALLOC:
    case CU_GRAPH_NODE_TYPE_MEM_FREE:
        return CU_GRAPH_NODE_TYPE_EMPTY;
    default:
        return type;
    }
}

/* -- nodes and graphs --------------------------------------------------------------------- */

static CUresult
put_node(struct writer *w, CUgraphNodeType type, struct fe_context *ctx, uint64_t ctx_wire,
         union fe_node_body *body, const struct wire_graph_edge *edges, uint32_t edge_count)
{
    struct wire_graph_node node = {.type = wire_type(type, body), .edges = edge_count};
    uint32_t number = w->number++;
    size_t place;
    CUresult cr = CUDA_SUCCESS;

    if (ctx != NULL &&
        (fe_object_state(ctx) != FE_OBJECT_LIVE || ctx->head.object.wire != ctx_wire))
        return CUDA_ERROR_INVALID_CONTEXT;
    if (ctx != NULL && ctx->head.session != w->call->session)
        return fe_refuse("a graph with work of several servers");
    if (ctx != NULL)
        node.context = ctx_wire;
    place = wire_graph_node_begin(w->out, &node, edges);
    if (type == CU_GRAPH_NODE_TYPE_MEM_ALLOC || type == CU_GRAPH_NODE_TYPE_MEM_FREE)
        cr = note_memory(w->plan, type, body);
    else if (node.type != CU_GRAPH_NODE_TYPE_EMPTY)
        cr = put_body(w, type, body, number);
    wire_graph_node_end(w->out, place);
    return cr;
}

static void
fill_step(struct fe_step *s, const struct fe_node *node, uint32_t number)
{
    const union fe_node_body *body = node->body;

    s->node = (struct fe_node *)node;
    s->node_wire = node->object.wire;
    s->type = node->type;
    s->number = number;
    s->ctx = node->ctx;
    s->hollow = node->type != CU_GRAPH_NODE_TYPE_EMPTY &&
                wire_type(node->type, body) == CU_GRAPH_NODE_TYPE_EMPTY;
    if (node->type == CU_GRAPH_NODE_TYPE_KERNEL) {
        s->cooperative = body->kernel.attributes != NULL &&
                         body->kernel.attributes[CU_LAUNCH_ATTRIBUTE_COOPERATIVE].cooperative != 0;
    } else if (node->type == CU_GRAPH_NODE_TYPE_GRAPH) {
        s->inside = body->child->count;
    } else if (node->type == CU_GRAPH_NODE_TYPE_MEMCPY) {
        s->host_src = body->copy.copy.src.type == CU_MEMORYTYPE_HOST;
        s->host_dst = body->copy.copy.dst.type == CU_MEMORYTYPE_HOST;
        s->between = body->copy.between;
    }
}

/* Places in the order of creation: what updates compare. */
static CUresult
note_deps(struct fe_plan *plan, const struct fe_graph *graph, const size_t *created_of)
{
    size_t total = 0, at = 0;

    for (size_t i = 0; i < graph->count; i++)
        total += graph->nodes[i]->dep_count;
    plan->deps = malloc((total + 1) * sizeof(*plan->deps));
    if (plan->deps == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    for (size_t i = 0; i < graph->count; i++) {
        struct fe_step *s = &plan->steps[graph->nodes[i]->index];

        s->created = (uint32_t)i;
        s->dep_first = (uint32_t)at;
        s->dep_count = (uint32_t)graph->nodes[i]->dep_count;
        for (size_t k = 0; k < graph->nodes[i]->dep_count; k++)
            plan->deps[at++] = (uint32_t)created_of[graph->nodes[i]->deps[k].from->index];
    }
    return CUDA_SUCCESS;
}

static CUresult
describe_nodes(struct writer *w, struct fe_node **order, size_t count, bool outermost)
{
    CUresult cr = CUDA_SUCCESS;

    (void)wire_graph_begin(w->out, (uint32_t)count);
    for (size_t i = 0; i < count && cr == CUDA_SUCCESS; i++) {
        struct fe_node *node = order[i];
        struct wire_graph_edge *edges = calloc(node->dep_count + 1, sizeof(*edges));
        uint32_t number = w->number;

        if (edges == NULL)
            return CUDA_ERROR_OUT_OF_MEMORY;
        for (size_t k = 0; k < node->dep_count; k++) {
            const CUgraphEdgeData *data = &node->deps[k].data;

            edges[k] = (struct wire_graph_edge){(uint32_t)node->deps[k].from->index,
                                                data->from_port, data->to_port, data->type, 0};
        }
        cr = put_node(w, node->type, node->ctx, node->ctx_wire, node->body, edges,
                      (uint32_t)node->dep_count);
        free(edges);
        if (outermost) {
            fill_step(&w->plan->steps[i], node, number);
            w->plan->steps[i].children = w->number - number - 1;
        }
    }
    return cr;
}

static CUresult
describe_graph(struct writer *w, struct fe_graph *graph, bool outermost)
{
    struct fe_node **order = malloc((graph->count + 1) * sizeof(struct fe_node *));
    size_t *created_of = malloc((graph->count + 1) * sizeof(*created_of));
    CUresult cr = CUDA_SUCCESS;

    if (order == NULL || created_of == NULL)
        cr = CUDA_ERROR_OUT_OF_MEMORY;
    else if (graph->count > WIRE_GRAPH_NODES_MAX || !fe_graph_sort(graph, order))
        cr = CUDA_ERROR_INVALID_VALUE; /* a cycle */
    if (cr == CUDA_SUCCESS && outermost) {
        w->plan->steps = calloc(graph->count + 1, sizeof(*w->plan->steps));
        w->plan->count = graph->count;
        cr = w->plan->steps != NULL ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
    }
    if (cr == CUDA_SUCCESS) /* of the step that the graph is inside of */
        cr = fe_users_copy(graph->users, outermost ? FE_USERS_OF_GRAPH : w->number - 1,
                           &w->plan->users);
    if (cr == CUDA_SUCCESS)
        cr = describe_nodes(w, order, graph->count, outermost);
    if (cr == CUDA_SUCCESS && outermost) {
        for (size_t i = 0; i < graph->count; i++)
            created_of[graph->nodes[i]->index] = i;
        cr = note_deps(w->plan, graph, created_of);
    }
    free(order);
    free(created_of);
    return cr;
}

CUresult
fe_graph_describe(struct fe_call *call, struct fe_graph *graph, struct gp_buf *out,
                  struct fe_plan *plan)
{
    struct writer w = {.call = call, .out = out, .plan = plan};
    CUresult cr = describe_graph(&w, graph, true);

    if (cr == CUDA_SUCCESS && gp_buf_status(out) != GP_OK)
        cr = CUDA_ERROR_OUT_OF_MEMORY;
    return cr;
}

CUresult
fe_node_describe(struct fe_call *call, CUgraphNodeType type, struct fe_context *ctx,
                 union fe_node_body *body, uint32_t number, struct gp_buf *out,
                 struct fe_plan *plan)
{
    struct writer w = {.call = call, .out = out, .plan = plan, .number = number};
    CUresult cr;

    (void)wire_graph_begin(out, 1);
    cr = put_node(&w, type, ctx, ctx != NULL ? ctx->head.object.wire : 0, body, NULL, 0);
    if (cr == CUDA_SUCCESS && gp_buf_status(out) != GP_OK)
        cr = CUDA_ERROR_OUT_OF_MEMORY;
    return cr;
}

void
fe_plan_free(struct fe_call *call, struct fe_plan *plan)
{
    fe_tokens_free(call, plan->tokens);
    fe_users_drop(plan->users);
    for (size_t i = 0; i < plan->alloc_count; i++)
        fe_graph_block_put(plan->allocs[i]);
    free(plan->steps);
    free(plan->deps);
    free(plan->events);
    free(plan->allocs);
    for (size_t i = 0; i < plan->cond_count; i++)
        fe_cond_put(plan->conds[i]);
    free(plan->conds);
    free(plan->frees);
    memset(plan, 0, sizeof(*plan));
}
