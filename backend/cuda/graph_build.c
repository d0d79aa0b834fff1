/* backend/cuda/graph_build.c -- a graph's description becomes nodes of the driver */
#include "backend/cuda/array.h"
#include "backend/cuda/graph.h"
#include "backend/cuda/launch.h"
#include "backend/cuda/module.h"
#include "protocol/base/util.h"
#include "protocol/wire/kernel_table.h"

#include <stdlib.h>
#include <string.h>

/* One graph that is being built. */
struct be_build {
    struct be_call *call;
    struct be_exec *exec;
    CUgraph graph;
    uint32_t *numbers; /* of this graph's nodes, by their place */
    CUgraphNode *deps; /* scratch, room for all nodes of the graph */
    CUgraphEdgeData *data;
    size_t dep_count;
    bool ported; /* some edge is not a plain one */
};

/* *used_p: the length of the description, others may follow. */
static CUresult build_graph(struct be_call *call, struct be_exec *exec, CUgraph graph,
                            const uint8_t *data, size_t len, size_t *used_p);

/* What both a new node and a changed one are made of. */
struct be_params {
    CUcontext ctx;
    union {
        CUDA_KERNEL_NODE_PARAMS kernel;
        CUDA_MEMCPY3D copy;
        CUDA_MEMSET_NODE_PARAMS fill;
        CUDA_HOST_NODE_PARAMS host;
        CUDA_BATCH_MEM_OP_NODE_PARAMS values;
        CUevent event;
        struct wire_graph_cond cond;
    };
    /* Behind the pointers above. */
    uint8_t values_now[WIRE_GRAPH_PARAMS_MAX]; /* with the driver's conditions */
    void *pointers[WIRE_KERNEL_PARAMS_MAX];
    void *extra[5];
    size_t extra_bytes;
    CUlaunchAttribute attributes[BE_LAUNCH_ATTRIBUTES_MAX];
    uint32_t attribute_count;
    CUstreamBatchMemOpParams ops[WIRE_GRAPH_VALUES_MAX];
    struct be_graph_host *host_side; /* of a copy, or the function */
};

/* -- parameters, checked ------------------------------------------------------------------------
 */

/* The values, where conditions are put in; kernel NULL: one buffer. */
static const uint8_t *
values_of(const struct be_exec *exec, const struct be_kernel *kernel, const uint8_t *values,
          size_t bytes, struct be_params *p)
{
    uint8_t *at = p->values_now;

    if (exec->cond_count == 0)
        return values;
    memcpy(p->values_now, values, bytes);
    if (kernel == NULL)
        be_graph_conds_put(exec, p->values_now, bytes);
    for (uint32_t i = 0; kernel != NULL && i < kernel->param_count; i++) {
        be_graph_conds_put(exec, at, kernel->params[i].bytes);
        at += kernel->params[i].bytes;
    }
    return p->values_now;
}

static CUresult
params_kernel(struct be_call *call, const struct be_exec *exec, const struct wire_graph_item *item,
              struct be_params *p)
{
    CUDA_KERNEL_NODE_PARAMS *k = &p->kernel;
    const uint8_t *attributes, *params;
    struct wire_graph_kernel body;
    struct be_kernel *kernel;
    struct be_owner *owner;
    CUresult cr;

    if (!wire_graph_body_kernel(item, sizeof(CUlaunchAttribute), &body, &attributes, &params))
        return CUDA_ERROR_INVALID_VALUE;
    memset(k, 0, sizeof(*k));
    cr = be_kernel_find(call->session, body.function, &owner, &kernel);
    if (cr == CUDA_SUCCESS)
        cr = be_kernel_function(call->session, owner, kernel, &k->func);
    if (cr == CUDA_SUCCESS)
        cr = be_launch_attributes(call, attributes, body.attributes, p->attributes);
    if (cr != CUDA_SUCCESS)
        return cr;
    if (body.green != 0)
        cr = be_green_as_context(call, body.green, &k->ctx);
    if (cr != CUDA_SUCCESS)
        return cr;
    p->attribute_count = body.attributes;
    k->gridDimX = body.grid[0];
    k->gridDimY = body.grid[1];
    k->gridDimZ = body.grid[2];
    k->blockDimX = body.block[0];
    k->blockDimY = body.block[1];
    k->blockDimZ = body.block[2];
    k->sharedMemBytes = body.shared_bytes;
    if ((body.flags & WIRE_GRAPH_EXTRA) == 0) {
        k->kernelParams = p->pointers;
        cr = be_launch_pointers(call->session, owner, kernel, params, body.param_bytes,
                                p->pointers); /* checks the length */
        if (cr == CUDA_SUCCESS && exec->cond_count != 0)
            cr = be_launch_pointers(call->session, owner, kernel,
                                    values_of(exec, kernel, params, body.param_bytes, p),
                                    body.param_bytes, p->pointers);
        return cr;
    }
    p->extra_bytes = body.param_bytes;
    p->extra[0] = CU_LAUNCH_PARAM_BUFFER_POINTER;
    p->extra[1] = (void *)(uintptr_t)values_of(exec, NULL, params, body.param_bytes, p);
    p->extra[2] = CU_LAUNCH_PARAM_BUFFER_SIZE;
    p->extra[3] = &p->extra_bytes;
    p->extra[4] = CU_LAUNCH_PARAM_END;
    k->extra = p->extra;
    return be_launch_extra_check(call, owner, kernel, body.param_bytes);
}

/* The device side of a copy is memory of the session as a whole, or a box inside an array; that is
 * kept for as long as the executable graph. */
static CUresult
side_check(struct be_call *call, struct be_exec *exec, const struct wire_graph_copy *c,
           const struct wire_graph_side *s, CUarray *array_p)
{
    uint64_t rows, planes, reach;
    struct be_array *array;
    CUresult cr;

    if (s->place == WIRE_GRAPH_HOST)
        return CUDA_SUCCESS;
    if (s->place == WIRE_GRAPH_ARRAY) {
        cr = be_array_find(call->session, WIRE_HANDLE_ARRAY, s->base, &array);
        if (cr == CUDA_SUCCESS)
            cr = be_array_check(array, s->x, s->y, s->z, c->width, c->height, c->depth);
        if (cr == CUDA_SUCCESS)
            cr = be_exec_keep_array(exec, array);
        if (cr == CUDA_SUCCESS)
            *array_p = array->array;
        return cr;
    }
    if ((c->height > 1 && s->pitch < c->width) ||
        (c->depth > 1 &&
         (s->pitch == 0 || s->slice % s->pitch != 0 || s->slice / s->pitch < c->height)))
        return CUDA_ERROR_INVALID_VALUE;
    if (__builtin_mul_overflow(s->pitch, c->height - 1, &rows) ||
        __builtin_mul_overflow(s->slice, c->depth - 1, &planes) ||
        __builtin_add_overflow(rows, planes, &reach) ||
        __builtin_add_overflow(reach, c->width, &reach))
        return CUDA_ERROR_INVALID_VALUE;
    return be_check_device(call->session, s->base, reach);
}

/* A checked side, in the driver's struct for both sides. */
static void
side_set(CUDA_MEMCPY3D *to, bool source, const struct wire_graph_copy *c,
         const struct wire_graph_side *s, CUarray array, uint8_t *host)
{
    bool linear = s->place == WIRE_GRAPH_DEVICE;
    size_t pitch = !linear || c->height * c->depth == 1 ? c->width : s->pitch;
    size_t height = !linear || c->depth == 1 ? c->height : s->slice / s->pitch;
    CUmemorytype type = linear                         ? CU_MEMORYTYPE_DEVICE
                        : s->place == WIRE_GRAPH_ARRAY ? CU_MEMORYTYPE_ARRAY
                                                       : CU_MEMORYTYPE_HOST;
    CUdeviceptr device = linear ? s->base : 0;

    if (source) {
        to->srcMemoryType = type;
        to->srcDevice = device;
        to->srcHost = host;
        to->srcArray = array;
        to->srcXInBytes = array != NULL ? s->x : 0;
        to->srcY = array != NULL ? s->y : 0;
        to->srcZ = array != NULL ? s->z : 0;
        to->srcPitch = pitch;
        to->srcHeight = height;
        return;
    }
    to->dstMemoryType = type;
    to->dstDevice = device;
    to->dstHost = host;
    to->dstArray = array;
    to->dstXInBytes = array != NULL ? s->x : 0;
    to->dstY = array != NULL ? s->y : 0;
    to->dstZ = array != NULL ? s->z : 0;
    to->dstPitch = pitch;
    to->dstHeight = height;
}

static CUresult
params_copy(struct be_call *call, struct be_exec *exec, const struct wire_graph_item *item,
            struct be_params *p)
{
    CUarray from = NULL, to = NULL;
    struct wire_graph_copy c;
    uint64_t bytes;
    bool in, out;
    CUresult cr;

    if (!wire_graph_body(item, &c, sizeof(c), true) || c.src.place > WIRE_GRAPH_ARRAY ||
        c.dst.place > WIRE_GRAPH_ARRAY || c.width == 0 || c.height == 0 || c.depth == 0 ||
        __builtin_mul_overflow(c.width, c.height, &bytes) ||
        __builtin_mul_overflow(bytes, c.depth, &bytes))
        return CUDA_ERROR_INVALID_VALUE;
    in = c.src.place == WIRE_GRAPH_HOST;
    out = c.dst.place == WIRE_GRAPH_HOST;
    if ((in && out) || (in && (c.src.base & WIRE_GRAPH_TOKEN) == 0))
        return CUDA_ERROR_INVALID_VALUE;
    cr = side_check(call, exec, &c, &c.src, &from);
    if (cr == CUDA_SUCCESS)
        cr = side_check(call, exec, &c, &c.dst, &to);
    if (cr == CUDA_SUCCESS && (in || out))
        cr = be_graph_host_create(exec, call->context, in ? BE_GRAPH_PULL : BE_GRAPH_PUSH,
                                  in ? c.src.base : c.dst.base, bytes, &p->host_side);
    if (cr != CUDA_SUCCESS)
        return cr;
    memset(&p->copy, 0, sizeof(p->copy));
    side_set(&p->copy, true, &c, &c.src, from, in ? p->host_side->bytes : NULL);
    side_set(&p->copy, false, &c, &c.dst, to, out ? p->host_side->bytes : NULL);
    p->copy.WidthInBytes = c.width;
    p->copy.Height = c.height;
    p->copy.Depth = c.depth;
    return CUDA_SUCCESS;
}

static CUresult
params_fill(struct be_call *call, const struct wire_graph_item *item, struct be_params *p)
{
    struct wire_graph_fill f;
    uint64_t row, reach;

    if (!wire_graph_body(item, &f, sizeof(f), true) || f.width == 0 || f.height == 0 ||
        (f.element != 1 && f.element != 2 && f.element != 4) ||
        __builtin_mul_overflow(f.width, f.element, &row) || (f.height > 1 && f.pitch < row) ||
        __builtin_mul_overflow(f.pitch, f.height - 1, &reach) ||
        __builtin_add_overflow(reach, row, &reach))
        return CUDA_ERROR_INVALID_VALUE;
    p->fill = (CUDA_MEMSET_NODE_PARAMS){f.dst, f.pitch, f.value, f.element, f.width, f.height};
    return be_check_device(call->session, f.dst, reach);
}

static CUresult
value_check(struct be_call *call, const CUstreamBatchMemOpParams *op)
{
    switch (op->operation) {
    case CU_STREAM_MEM_OP_WAIT_VALUE_32:
    case CU_STREAM_MEM_OP_WRITE_VALUE_32:
        return be_check_device(call->session, op->waitValue.address, 4);
    case CU_STREAM_MEM_OP_WAIT_VALUE_64:
    case CU_STREAM_MEM_OP_WRITE_VALUE_64:
        return be_check_device(call->session, op->waitValue.address, 8);
    case CU_STREAM_MEM_OP_BARRIER:
    case CU_STREAM_MEM_OP_FLUSH_REMOTE_WRITES:
        return CUDA_SUCCESS;
    default:
        return CUDA_ERROR_INVALID_VALUE;
    }
}

static CUresult
params_values(struct be_call *call, const struct wire_graph_item *item, struct be_params *p)
{
    struct wire_graph_values v;
    const uint8_t *ops;
    CUresult cr = CUDA_SUCCESS;

    if (!wire_graph_body_values(item, sizeof(p->ops[0]), &v, &ops))
        return CUDA_ERROR_INVALID_VALUE;
    memcpy(p->ops, ops, v.count * sizeof(p->ops[0]));
    for (uint32_t i = 0; i < v.count && cr == CUDA_SUCCESS; i++)
        cr = value_check(call, &p->ops[i]);
    p->values = (CUDA_BATCH_MEM_OP_NODE_PARAMS){p->ctx, v.count, p->ops, v.flags};
    return cr;
}

/* An event that graphs name stays the same one for as long as it lives. */
static CUresult
params_event(struct be_call *call, const struct wire_graph_item *item, struct be_params *p)
{
    struct be_handle_slot *slot;
    struct wire_graph_id id;

    if (!wire_graph_body(item, &id, sizeof(id), true))
        return CUDA_ERROR_INVALID_VALUE;
    slot = be_handles_find(&call->session->handles, WIRE_HANDLE_EVENT, id.id);
    if (slot == NULL)
        return CUDA_ERROR_INVALID_HANDLE;
    slot->fixed = true;
    p->event = slot->object;
    return CUDA_SUCCESS;
}

static CUresult
params_host(struct be_call *call, struct be_exec *exec, const struct wire_graph_item *item,
            struct be_params *p)
{
    struct wire_graph_id id;
    CUresult cr;

    if (!wire_graph_body(item, &id, sizeof(id), true) || (id.id & WIRE_GRAPH_TOKEN) == 0)
        return CUDA_ERROR_INVALID_VALUE;
    cr = be_graph_host_create(exec, call->context, BE_GRAPH_CALL, id.id, 0, &p->host_side);
    if (cr == CUDA_SUCCESS)
        p->host = (CUDA_HOST_NODE_PARAMS){be_graph_host_run, p->host_side};
    return cr;
}

/* Make the node's context current, the call's own if it names none. */
static CUresult
item_context(struct be_call *call, const struct wire_graph_item *item, struct be_context *home)
{
    struct be_handle_slot *slot;

    call->context = home;
    if (item->node.context != 0) {
        slot = be_handles_find(&call->session->handles, WIRE_HANDLE_CONTEXT, item->node.context);
        if (slot == NULL)
            return CUDA_ERROR_INVALID_CONTEXT;
        call->context = slot->object;
    }
    return be_use_context(call->session, call->context);
}

static CUresult
params_read(struct be_call *call, struct be_exec *exec, const struct wire_graph_item *item,
            struct be_params *p)
{
    CUresult cr = item_context(call, item, exec->context);

    p->host_side = NULL;
    p->attribute_count = 0;
    if (cr != CUDA_SUCCESS)
        return cr;
    p->ctx = be_context_handle(call->context);
    switch (item->node.type) {
    case CU_GRAPH_NODE_TYPE_KERNEL:
        return params_kernel(call, exec, item, p);
    case CU_GRAPH_NODE_TYPE_MEMCPY:
        return params_copy(call, exec, item, p);
    case CU_GRAPH_NODE_TYPE_MEMSET:
        return params_fill(call, item, p);
    case CU_GRAPH_NODE_TYPE_HOST:
        return params_host(call, exec, item, p);
    case CU_GRAPH_NODE_TYPE_BATCH_MEM_OP:
        return params_values(call, item, p);
    case CU_GRAPH_NODE_TYPE_EVENT_RECORD:
    case CU_GRAPH_NODE_TYPE_WAIT_EVENT:
        return params_event(call, item, p);
    case CU_GRAPH_NODE_TYPE_CONDITIONAL:
        return wire_graph_body(item, &p->cond, sizeof(p->cond), false) ? CUDA_SUCCESS
                                                                       : CUDA_ERROR_INVALID_VALUE;
    case CU_GRAPH_NODE_TYPE_EMPTY:
    case CU_GRAPH_NODE_TYPE_GRAPH:
        return CUDA_SUCCESS;
    default:
        return CUDA_ERROR_NOT_SUPPORTED;
    }
}

/* -- nodes --------------------------------------------------------------------------------------
 */

#define DRIVER_HAS(t, name)                                                                        \
    if ((t)->name == NULL)                                                                         \
    return CUDA_ERROR_NOT_SUPPORTED

static CUresult
kernel_attributes(const struct be_driver_table *t, CUgraphNode node, const struct be_params *p)
{
    CUresult cr = CUDA_SUCCESS;

    for (uint32_t i = 0; i < p->attribute_count && cr == CUDA_SUCCESS; i++) {
        DRIVER_HAS(t, cuGraphKernelNodeSetAttribute);
        cr = t->cuGraphKernelNodeSetAttribute(node, p->attributes[i].id, &p->attributes[i].value);
    }
    return cr;
}

/* A copy to or from the client: the driver's copy and our function, one behind the other. */
static CUresult
add_copy(const struct be_driver_table *t, CUgraph graph, const CUgraphNode *deps, size_t count,
         const struct be_params *p, struct be_graph_node *n)
{
    CUDA_HOST_NODE_PARAMS host = {be_graph_host_run, p->host_side};
    bool in = p->host_side != NULL && p->host_side->kind == BE_GRAPH_PULL;
    CUresult cr = CUDA_SUCCESS;

    if (in) {
        cr = t->cuGraphAddHostNode(&n->host_node, graph, deps, count, &host);
        deps = &n->host_node;
        count = 1;
    }
    if (cr == CUDA_SUCCESS)
        cr = t->cuGraphAddMemcpyNode(&n->node, graph, deps, count, &p->copy, p->ctx);
    if (cr == CUDA_SUCCESS && p->host_side != NULL && !in)
        cr = t->cuGraphAddHostNode(&n->host_node, graph, &n->node, 1, &host);
    n->first = in ? n->host_node : n->node;
    n->last = p->host_side != NULL && !in ? n->host_node : n->node;
    return cr;
}

/* An empty child first, so that what is built into it is what the node holds. */
static CUresult
add_child(struct be_build *b, const CUgraphNode *deps, size_t count,
          const struct wire_graph_item *item, struct be_graph_node *n)
{
    const struct be_driver_table *t = b->call->driver;
    CUgraph empty = NULL, inside = NULL;
    size_t used = 0;
    CUresult cr = t->cuGraphCreate(&empty, 0);

    if (cr != CUDA_SUCCESS)
        return cr;
    cr = t->cuGraphAddChildGraphNode(&n->node, b->graph, deps, count, empty);
    (void)t->cuGraphDestroy(empty);
    if (cr == CUDA_SUCCESS)
        cr = t->cuGraphChildGraphNodeGetGraph(n->node, &inside);
    if (cr == CUDA_SUCCESS)
        cr = build_graph(b->call, b->exec, inside, item->body, item->body_len, &used);
    return cr;
}

/* The bodies are the driver's, made with the node. */
static CUresult
add_conditional(struct be_build *b, const CUgraphNode *deps, size_t count,
                const struct wire_graph_item *item, const struct be_params *p,
                struct be_graph_node *n)
{
    CUgraphNodeParams params = {.type = CU_GRAPH_NODE_TYPE_CONDITIONAL};
    const struct wire_graph_cond head = p->cond; /* p is used again inside */
    const uint8_t *at = item->body + sizeof(head);
    size_t left = item->body_len - sizeof(head), used = 0;
    CUresult cr;

    params.conditional.handle = be_graph_cond(b->exec, head.handle);
    params.conditional.type = (CUgraphConditionalNodeType)head.type;
    params.conditional.size = head.bodies;
    params.conditional.ctx = p->ctx;
    DRIVER_HAS(b->call->driver, cuGraphAddNode_v2);
    cr = b->call->driver->cuGraphAddNode_v2(&n->node, b->graph, deps, NULL, count, &params);
    for (uint32_t i = 0; i < head.bodies && cr == CUDA_SUCCESS; i++) {
        cr = build_graph(b->call, b->exec, params.conditional.phGraph_out[i], at, left, &used);
        at += used;
        left -= used;
    }
    return cr;
}

static CUresult
add_plain(struct be_build *b, const CUgraphNode *deps, size_t count,
          const struct wire_graph_item *item, struct be_params *p, struct be_graph_node *n)
{
    const struct be_driver_table *t = b->call->driver;

    switch (item->node.type) {
    case CU_GRAPH_NODE_TYPE_KERNEL:
        DRIVER_HAS(t, cuGraphAddKernelNode_v2);
        return t->cuGraphAddKernelNode_v2(&n->node, b->graph, deps, count, &p->kernel);
    case CU_GRAPH_NODE_TYPE_MEMSET:
        return t->cuGraphAddMemsetNode(&n->node, b->graph, deps, count, &p->fill, p->ctx);
    case CU_GRAPH_NODE_TYPE_HOST:
        return t->cuGraphAddHostNode(&n->node, b->graph, deps, count, &p->host);
    case CU_GRAPH_NODE_TYPE_EMPTY:
        return t->cuGraphAddEmptyNode(&n->node, b->graph, deps, count);
    case CU_GRAPH_NODE_TYPE_EVENT_RECORD:
        DRIVER_HAS(t, cuGraphAddEventRecordNode);
        return t->cuGraphAddEventRecordNode(&n->node, b->graph, deps, count, p->event);
    case CU_GRAPH_NODE_TYPE_WAIT_EVENT:
        DRIVER_HAS(t, cuGraphAddEventWaitNode);
        return t->cuGraphAddEventWaitNode(&n->node, b->graph, deps, count, p->event);
    case CU_GRAPH_NODE_TYPE_BATCH_MEM_OP:
        DRIVER_HAS(t, cuGraphAddBatchMemOpNode);
        return t->cuGraphAddBatchMemOpNode(&n->node, b->graph, deps, count, &p->values);
    case CU_GRAPH_NODE_TYPE_CONDITIONAL:
        return add_conditional(b, deps, count, item, p, n);
    case CU_GRAPH_NODE_TYPE_GRAPH:
        return add_child(b, deps, count, item, n);
    default:
        return CUDA_ERROR_NOT_SUPPORTED;
    }
}

static CUresult
add_node(struct be_build *b, const struct wire_graph_item *item, struct be_params *p,
         struct be_graph_node *n)
{
    const struct be_driver_table *t = b->call->driver;
    const CUgraphNode *deps = b->ported ? NULL : b->deps;
    size_t count = b->ported ? 0 : b->dep_count;
    CUgraphNode *to;
    CUresult cr;

    if (item->node.type == CU_GRAPH_NODE_TYPE_MEMCPY) {
        cr = add_copy(t, b->graph, deps, count, p, n);
    } else {
        cr = add_plain(b, deps, count, item, p, n);
        n->first = n->last = n->node;
    }
    if (cr == CUDA_SUCCESS && item->node.type == CU_GRAPH_NODE_TYPE_KERNEL)
        cr = kernel_attributes(t, n->node, p);
    if (cr != CUDA_SUCCESS || !b->ported)
        return cr;
    DRIVER_HAS(t, cuGraphAddDependencies_v2);
    to = malloc(b->dep_count * sizeof(CUgraphNode));
    if (to == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    for (size_t i = 0; i < b->dep_count; i++)
        to[i] = n->first;
    cr = t->cuGraphAddDependencies_v2(b->graph, b->deps, to, b->data, b->dep_count);
    free(to);
    return cr;
}

/* The edges as the driver's nodes; places were checked to be earlier ones. */
static void
read_edges(struct be_build *b, const struct wire_graph_item *item)
{
    b->dep_count = 0;
    b->ported = false;
    for (uint32_t k = 0; k < item->node.edges; k++) {
        struct wire_graph_edge edge = wire_graph_edge_at(item, k);

        b->deps[b->dep_count] = b->exec->nodes[b->numbers[edge.from]].last;
        b->data[b->dep_count] = (CUgraphEdgeData){
            .from_port = edge.from_port, .to_port = edge.to_port, .type = edge.type};
        b->ported = b->ported || edge.from_port != 0 || edge.to_port != 0 || edge.type != 0;
        b->dep_count++;
    }
}

/* For the client, a value in memory, or an event of a stream that may wait for these. */
static bool
halts(const struct be_graph_node *n)
{
    return n->host != NULL || n->type == CU_GRAPH_NODE_TYPE_BATCH_MEM_OP ||
           n->type == CU_GRAPH_NODE_TYPE_WAIT_EVENT;
}

static CUresult
build_item(struct be_build *b, const struct wire_graph_item *item, uint32_t place,
           struct be_params *p)
{
    struct be_graph_node *n = &b->exec->nodes[b->exec->count];
    CUresult cr;

    b->numbers[place] = b->exec->count++;
    n->type = item->node.type;
    cr = params_read(b->call, b->exec, item, p);
    n->context = b->call->context;
    n->host = p->host_side;
    b->exec->halts = b->exec->halts || halts(n);
    read_edges(b, item);
    if (cr == CUDA_SUCCESS)
        cr = add_node(b, item, p, n);
    return cr;
}

/* An edge twice, or more edges than nodes, is refused: a graph has each at most once. */
static CUresult
build_graph(struct be_call *call, struct be_exec *exec, CUgraph graph, const uint8_t *data,
            size_t len, size_t *used_p)
{
    struct be_build b = {.call = call, .exec = exec, .graph = graph};
    struct be_params *p = malloc(sizeof(*p));
    struct wire_graph_reader r;
    struct wire_graph_item item;
    CUresult cr = CUDA_SUCCESS;
    bool bad = false;
    uint32_t count;

    if (!wire_graph_open(&r, data, len)) {
        free(p);
        return CUDA_ERROR_INVALID_VALUE;
    }
    count = r.nodes;
    b.numbers = calloc((size_t)count + 1, sizeof(*b.numbers));
    b.deps = calloc((size_t)count + 1, sizeof(CUgraphNode));
    b.data = calloc((size_t)count + 1, sizeof(*b.data));
    if (p == NULL || b.numbers == NULL || b.deps == NULL || b.data == NULL)
        cr = CUDA_ERROR_OUT_OF_MEMORY;
    while (cr == CUDA_SUCCESS && wire_graph_next(&r, &item, &bad))
        cr = item.node.edges <= count ? build_item(&b, &item, r.index - 1, p)
                                      : CUDA_ERROR_INVALID_VALUE;
    free(p);
    free(b.numbers);
    free(b.deps);
    free(b.data);
    *used_p = len - r.left;
    return bad ? CUDA_ERROR_INVALID_VALUE : cr;
}

CUresult
be_graph_build(struct be_call *call, struct be_exec *exec, const uint8_t *data, size_t len)
{
    struct be_context *home = call->context;
    size_t used = 0;
    CUresult cr = be_graph_conds(call, exec, data, len);

    if (cr == CUDA_SUCCESS)
        cr = build_graph(call, exec, exec->graph, data, len, &used);
    call->context = home;
    if (be_use_context(call->session, home) != CUDA_SUCCESS && cr == CUDA_SUCCESS)
        cr = CUDA_ERROR_INVALID_CONTEXT;
    return cr;
}

/* -- changes of an executable graph -------------------------------------------------------------
 */

static CUresult
change_copy(const struct be_driver_table *t, struct be_exec *exec, const struct be_graph_node *n,
            const struct be_params *p)
{
    CUDA_HOST_NODE_PARAMS host = {be_graph_host_run, p->host_side};
    CUresult cr;

    if ((n->host == NULL) != (p->host_side == NULL) ||
        (n->host != NULL && n->host->kind != p->host_side->kind))
        return CUDA_ERROR_INVALID_VALUE;
    DRIVER_HAS(t, cuGraphExecMemcpyNodeSetParams);
    DRIVER_HAS(t, cuGraphExecHostNodeSetParams);
    cr = t->cuGraphExecMemcpyNodeSetParams(exec->exec, n->node, &p->copy, p->ctx);
    if (cr == CUDA_SUCCESS && p->host_side != NULL)
        cr = t->cuGraphExecHostNodeSetParams(exec->exec, n->host_node, &host);
    return cr;
}

static CUresult
change_child(struct be_call *call, struct be_exec *exec, const struct be_graph_node *n,
             const struct wire_graph_item *item)
{
    const struct be_driver_table *t = call->driver;
    struct be_exec inside = {.session = exec->session, .context = exec->context};
    CUresult cr;

    DRIVER_HAS(t, cuGraphExecChildGraphNodeSetParams);
    inside.nodes =
        calloc(item->body_len / sizeof(struct wire_graph_node) + 1, sizeof(*inside.nodes));
    if (inside.nodes == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    cr = t->cuGraphCreate(&inside.graph, 0);
    if (cr == CUDA_SUCCESS) {
        cr = be_graph_build(call, &inside, item->body, item->body_len);
        if (cr == CUDA_SUCCESS)
            cr = t->cuGraphExecChildGraphNodeSetParams(exec->exec, n->node, inside.graph);
        (void)t->cuGraphDestroy(inside.graph);
    }
    free(inside.nodes);
    free(inside.conds);
    cr = be_exec_keep_arrays(exec, &inside) != CUDA_SUCCESS && cr == CUDA_SUCCESS
             ? CUDA_ERROR_OUT_OF_MEMORY
             : cr;
    /* Also where it failed: whether the driver took some of them is its secret. */
    be_exec_keep_hosts(exec, &inside);
    exec->halts = exec->halts || inside.halts;
    return cr;
}

static CUresult
change_plain(struct be_call *call, struct be_exec *exec, struct be_graph_node *n,
             struct be_params *p)
{
    const struct be_driver_table *t = call->driver;

    switch (n->type) {
    case CU_GRAPH_NODE_TYPE_KERNEL:
        DRIVER_HAS(t, cuGraphExecKernelNodeSetParams_v2);
        return t->cuGraphExecKernelNodeSetParams_v2(exec->exec, n->node, &p->kernel);
    case CU_GRAPH_NODE_TYPE_MEMCPY:
        return change_copy(t, exec, n, p);
    case CU_GRAPH_NODE_TYPE_MEMSET:
        DRIVER_HAS(t, cuGraphExecMemsetNodeSetParams);
        return t->cuGraphExecMemsetNodeSetParams(exec->exec, n->node, &p->fill, p->ctx);
    case CU_GRAPH_NODE_TYPE_HOST:
        DRIVER_HAS(t, cuGraphExecHostNodeSetParams);
        return t->cuGraphExecHostNodeSetParams(exec->exec, n->node, &p->host);
    case CU_GRAPH_NODE_TYPE_EVENT_RECORD:
        DRIVER_HAS(t, cuGraphExecEventRecordNodeSetEvent);
        return t->cuGraphExecEventRecordNodeSetEvent(exec->exec, n->node, p->event);
    case CU_GRAPH_NODE_TYPE_WAIT_EVENT:
        DRIVER_HAS(t, cuGraphExecEventWaitNodeSetEvent);
        return t->cuGraphExecEventWaitNodeSetEvent(exec->exec, n->node, p->event);
    case CU_GRAPH_NODE_TYPE_BATCH_MEM_OP:
        DRIVER_HAS(t, cuGraphExecBatchMemOpNodeSetParams);
        return t->cuGraphExecBatchMemOpNodeSetParams(exec->exec, n->node, &p->values);
    default:
        return CUDA_ERROR_NOT_SUPPORTED;
    }
}

CUresult
be_graph_change(struct be_call *call, struct be_exec *exec, uint32_t number,
                const struct wire_graph_item *item)
{
    struct be_context *home = call->context;
    struct be_graph_node *n;
    struct be_params *p;
    CUresult cr;

    if (number >= exec->count || item->node.edges != 0)
        return CUDA_ERROR_INVALID_VALUE;
    n = &exec->nodes[number];
    if (item->node.type != n->type)
        return CUDA_ERROR_INVALID_VALUE;
    if (n->type == CU_GRAPH_NODE_TYPE_GRAPH)
        return change_child(call, exec, n, item);
    p = malloc(sizeof(*p));
    if (p == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    cr = params_read(call, exec, item, p);
    if (cr == CUDA_SUCCESS)
        cr = change_plain(call, exec, n, p);
    if (cr == CUDA_SUCCESS && p->host_side != NULL) {
        atomic_store(&p->host_side->disabled, n->host != NULL && n->host->disabled);
        n->host = p->host_side;
    }
    free(p);
    call->context = home;
    (void)be_use_context(call->session, home);
    return cr;
}
