/* frontend/cuda/capture.c -- streams that make a graph instead of running */
#include "frontend/cuda/capture.h"

#include "cuda_api.h"
#include "frontend/core/stats.h"
#include "frontend/cuda/capture_priv.h"
#include "frontend/cuda/graph.h"
#include "frontend/cuda/state.h"
#include "protocol/base/util.h"

#include <stdlib.h>
#include <string.h>

/* Guarded by the graphs' lock. */
static struct fe_capture *captures;
static cuuint64_t next_id = 1;

static __thread CUstreamCaptureMode thread_mode = CU_STREAM_CAPTURE_MODE_GLOBAL;

/* -- members ---------------------------------------------------------------------------- */

static CUresult
member_add(struct fe_capture *capture, struct fe_context *ctx, struct fe_stream *stream,
           const CUgraphNode *nodes, const CUgraphEdgeData *data, size_t count)
{
    struct fe_member *m = calloc(1, sizeof(*m));

    if (m == NULL || fe_member_set(m, nodes, data, count) != CUDA_SUCCESS) {
        free(m);
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    m->stream = stream;
    m->ctx = ctx;
    m->next = capture->members;
    capture->members = m;
    atomic_store_explicit(&stream->capture, capture, memory_order_release);
    atomic_fetch_add(&ctx->captures, 1);
    return CUDA_SUCCESS;
}

/* Events that were recorded in a capture are found through it when it ends. */
static bool
forget_event(void *object, void *user)
{
    struct fe_event *event = object;

    if (atomic_load(&event->capture) != user)
        return true;
    atomic_store(&event->capture, NULL);
    free(event->capture_nodes);
    event->capture_nodes = NULL;
    event->capture_count = 0;
    return true;
}

static void
member_leave(struct fe_member *m)
{
    if (m->stream == NULL)
        return;
    atomic_store(&m->stream->capture, NULL);
    atomic_fetch_sub(&m->ctx->captures, 1);
    m->stream = NULL;
}

static void
capture_free(struct fe_capture *capture)
{
    struct fe_capture **link = &captures;

    if (capture->recorded)
        fe_object_each(WIRE_HANDLE_EVENT, forget_event, capture);
    while (capture->members != NULL) {
        struct fe_member *m = capture->members;

        capture->members = m->next;
        member_leave(m);
        free(m->deps);
        free(m->data);
        free(m);
    }
    while (*link != NULL && *link != capture)
        link = &(*link)->next;
    if (*link != NULL)
        *link = capture->next;
    free(capture);
}

/* The stream's capture, or why nothing can be added to it; the lock is held. */
static CUresult
active(struct fe_stream *stream, struct fe_capture **capture_p, struct fe_member **m_p)
{
    struct fe_capture *capture = atomic_load(&stream->capture);

    if (capture == NULL)
        return CUDA_ERROR_ILLEGAL_STATE;
    if (capture->invalid)
        return CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
    *capture_p = capture;
    *m_p = fe_member_of(capture, stream);
    return CUDA_SUCCESS;
}

/* -- what captures forbid --------------------------------------------------------------- */

CUresult
fe_capture_refuse(struct fe_stream *stream)
{
    struct fe_capture *capture;

    fe_graph_lock();
    capture = atomic_load(&stream->capture);
    if (capture != NULL)
        capture->invalid = true;
    fe_graph_unlock();
    return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
}

CUresult
fe_capture_break_context(struct fe_context *ctx, const struct fe_green *green)
{
    CUresult cr = CUDA_SUCCESS;

    if (atomic_load(&ctx->captures) == 0)
        return CUDA_SUCCESS;
    fe_graph_lock();
    for (struct fe_capture *c = captures; c != NULL; c = c->next)
        for (struct fe_member *m = c->members; m != NULL; m = m->next)
            if (m->stream != NULL && m->ctx == ctx &&
                (green == NULL || m->stream->green == green)) {
                c->invalid = true;
                cr = CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
            }
    fe_graph_unlock();
    return cr;
}

CUresult
fe_capture_unsafe(void)
{
    bool forbidden = false;

    if (thread_mode == CU_STREAM_CAPTURE_MODE_RELAXED)
        return CUDA_SUCCESS;
    fe_graph_lock();
    for (struct fe_capture *c = captures; c != NULL; c = c->next) {
        bool mine = pthread_equal(c->thread, pthread_self()) != 0;
        bool strict = thread_mode == CU_STREAM_CAPTURE_MODE_GLOBAL
                          ? c->mode == CU_STREAM_CAPTURE_MODE_GLOBAL ||
                                (mine && c->mode == CU_STREAM_CAPTURE_MODE_THREAD_LOCAL)
                          : mine && c->mode != CU_STREAM_CAPTURE_MODE_RELAXED;

        if (!strict)
            continue;
        c->invalid = true;
        forbidden = true;
    }
    fe_graph_unlock();
    return forbidden ? CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED : CUDA_SUCCESS;
}

CUresult
fe_capture_legacy(struct fe_context *ctx)
{
    bool implicit = false;

    fe_graph_lock();
    for (struct fe_capture *c = captures; c != NULL; c = c->next) {
        for (const struct fe_member *m = c->members; m != NULL; m = m->next) {
            if (m->stream == NULL || m->ctx != ctx ||
                (m->stream->flags & CU_STREAM_NON_BLOCKING) != 0 ||
                c->mode == CU_STREAM_CAPTURE_MODE_RELAXED)
                continue;
            c->invalid = true;
            implicit = true;
        }
    }
    fe_graph_unlock();
    return implicit ? CUDA_ERROR_STREAM_CAPTURE_IMPLICIT : CUDA_SUCCESS;
}

/* -- nodes ------------------------------------------------------------------------------ */

static bool
only_kernels(const struct fe_member *m)
{
    for (size_t i = 0; i < m->count; i++) {
        const struct fe_node *node = fe_node_get(m->deps[i]);

        if (node == NULL || node->type != CU_GRAPH_NODE_TYPE_KERNEL)
            return false;
    }
    return m->count > 0;
}

/* A new node behind the stream's work so far; the stream's next node depends on it. */
static CUresult
append(struct fe_capture *capture, struct fe_member *m, CUgraphNodeType type,
       struct fe_context *ctx, union fe_node_body *body, bool programmatic)
{
    static const CUgraphEdgeData edge = {.from_port = CU_GRAPH_KERNEL_NODE_PORT_PROGRAMMATIC,
                                         .type = CU_GRAPH_DEPENDENCY_TYPE_PROGRAMMATIC};
    struct fe_node *node = NULL;
    CUgraphNode handle;
    CUresult cr;

    if (programmatic && only_kernels(m))
        for (size_t i = 0; i < m->count; i++)
            m->data[i] = edge;
    cr = fe_graph_add(capture->graph, type, ctx, m->deps, m->data, m->count, body, &node);
    if (cr != CUDA_SUCCESS)
        return cr;
    handle = (CUgraphNode)node;
    return fe_member_set(m, &handle, NULL, 1);
}

CUresult
fe_capture_add(struct fe_stream *stream, CUgraphNodeType type, struct fe_context *ctx,
               union fe_node_body *body, bool programmatic)
{
    struct fe_capture *capture;
    struct fe_member *m;
    CUresult cr;

    fe_graph_lock();
    cr = active(stream, &capture, &m);
    if (cr == CUDA_SUCCESS)
        cr = append(capture, m, type, ctx, body, programmatic);
    if (cr != CUDA_SUCCESS)
        fe_body_free(type, body);
    fe_graph_unlock();
    return cr;
}

CUresult
fe_capture_copy(struct fe_call *call, struct fe_stream *stream, const struct fe_copy *copy)
{
    union fe_node_body *body = NULL;
    CUresult cr = fe_body_copy_sides(copy, &body);

    if (cr != CUDA_SUCCESS)
        return cr;
    return fe_capture_add(stream, CU_GRAPH_NODE_TYPE_MEMCPY, call->context, body, false);
}

CUresult
fe_capture_between(struct fe_call *call, struct fe_stream *stream, const struct fe_relay_copy *copy)
{
    union fe_node_body *body = NULL;
    CUresult cr = fe_body_copy_between(copy, &body);

    if (cr != CUDA_SUCCESS)
        return cr;
    return fe_capture_add(stream, CU_GRAPH_NODE_TYPE_MEMCPY, call->context, body, false);
}

CUresult
fe_capture_linear(struct fe_call *call, struct fe_stream *stream, uint64_t dst,
                  CUmemorytype dst_type, uint64_t src, CUmemorytype src_type, size_t bytes)
{
    const struct fe_copy copy = {
        .shape = {bytes, 1, 1},
        .src = {.type = src_type, .base = src, .pitch = bytes, .slice = bytes},
        .dst = {.type = dst_type, .base = dst, .pitch = bytes, .slice = bytes},
    };

    return fe_capture_copy(call, stream, &copy);
}

CUresult
fe_capture_fill(struct fe_call *call, struct fe_stream *stream, const CUDA_MEMSET_NODE_PARAMS *fill)
{
    struct fe_context *ctx = call->context;
    union fe_node_body *body = NULL;
    CUresult cr = fe_body_fill(fill, &ctx, &body);

    if (cr != CUDA_SUCCESS)
        return cr;
    return fe_capture_add(stream, CU_GRAPH_NODE_TYPE_MEMSET, ctx, body, false);
}

CUresult
fe_capture_host(struct fe_stream *stream, CUhostFn fn, void *data)
{
    const CUDA_HOST_NODE_PARAMS params = {fn, data};
    union fe_node_body *body = NULL;
    CUresult cr = fe_body_host(&params, &body);

    if (cr != CUDA_SUCCESS)
        return cr;
    return fe_capture_add(stream, CU_GRAPH_NODE_TYPE_HOST, NULL, body, false);
}

CUresult
fe_capture_values(struct fe_call *call, struct fe_stream *stream,
                  const CUDA_BATCH_MEM_OP_NODE_PARAMS *values)
{
    struct fe_context *ctx = call->context;
    union fe_node_body *body = NULL;
    CUresult cr = fe_body_values(values, &ctx, &body);

    if (cr != CUDA_SUCCESS)
        return cr;
    return fe_capture_add(stream, CU_GRAPH_NODE_TYPE_BATCH_MEM_OP, ctx, body, false);
}

/* Before something is made for a node that might not be taken. */
static CUresult
still_active(struct fe_stream *stream)
{
    struct fe_capture *capture;
    struct fe_member *m;
    CUresult cr;

    fe_graph_lock();
    cr = active(stream, &capture, &m);
    fe_graph_unlock();
    return cr;
}

CUresult
fe_capture_alloc(struct fe_call *call, struct fe_stream *stream, size_t bytes, uint64_t *address_p)
{
    union fe_node_body *body = calloc(1, sizeof(*body));
    CUDA_MEM_ALLOC_NODE_PARAMS *params;
    uint64_t address;
    CUresult cr;

    if (body == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    cr = still_active(stream);
    if (cr != CUDA_SUCCESS) {
        free(body);
        return cr;
    }
    cr = fe_graph_block_new(call->context, bytes, &body->alloc.block);
    if (cr != CUDA_SUCCESS) {
        free(body);
        return cr;
    }
    address = body->alloc.block->address;
    params = &body->alloc.params;
    params->poolProps.allocType = CU_MEM_ALLOCATION_TYPE_PINNED;
    params->poolProps.location.type = CU_MEM_LOCATION_TYPE_DEVICE;
    params->poolProps.location.id = call->context->device;
    params->bytesize = bytes;
    params->dptr = address;
    cr = fe_capture_add(stream, CU_GRAPH_NODE_TYPE_MEM_ALLOC, call->context, body, false);
    if (cr == CUDA_SUCCESS)
        *address_p = address;
    else
        fe_graph_mem_flush();
    return cr;
}

CUresult
fe_capture_free(struct fe_stream *stream, uint64_t address)
{
    union fe_node_body *body;
    CUresult cr = still_active(stream);

    if (cr != CUDA_SUCCESS)
        return cr;
    if (!fe_graph_mem_is(address)) /* a graph frees what a graph allocated */
        return CUDA_ERROR_INVALID_VALUE;
    body = calloc(1, sizeof(*body));
    if (body == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    body->freed = address;
    return fe_capture_add(stream, CU_GRAPH_NODE_TYPE_MEM_FREE, NULL, body, false);
}

/* -- events ----------------------------------------------------------------------------- */

/* The set of nodes that a wait for the event will depend on; the lock is held. */
static CUresult
record_set(struct fe_capture *capture, const struct fe_member *m, struct fe_event *event)
{
    CUgraphNode *nodes = malloc((m->count + 1) * sizeof(CUgraphNode));

    if (nodes == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    memcpy(nodes, m->deps, m->count * sizeof(CUgraphNode));
    free(event->capture_nodes);
    event->capture_nodes = nodes;
    event->capture_count = m->count;
    capture->recorded = true;
    atomic_store_explicit(&event->capture, capture, memory_order_release);
    return CUDA_SUCCESS;
}

static CUresult
append_event(struct fe_capture *capture, struct fe_member *m, CUgraphNodeType type,
             struct fe_event *event)
{
    union fe_node_body *body = NULL;
    CUresult cr = fe_body_event((CUevent)event, &body);

    if (cr == CUDA_SUCCESS)
        cr = append(capture, m, type, NULL, body, false);
    if (cr != CUDA_SUCCESS)
        fe_body_free(type, body);
    return cr;
}

CUresult
fe_capture_record(struct fe_stream *stream, struct fe_event *event, bool external)
{
    struct fe_capture *capture;
    struct fe_member *m;
    CUresult cr;

    fe_graph_lock();
    cr = active(stream, &capture, &m);
    if (cr == CUDA_SUCCESS && external)
        cr = append_event(capture, m, CU_GRAPH_NODE_TYPE_EVENT_RECORD, event);
    else if (cr == CUDA_SUCCESS)
        cr = record_set(capture, m, event);
    fe_graph_unlock();
    return cr;
}

/* A stream that waits for what a capture recorded takes part in it; the lock is held. */
static CUresult
join(struct fe_context *ctx, struct fe_stream *stream, struct fe_event *event,
     struct fe_capture *from)
{
    struct fe_capture *capture = atomic_load(&stream->capture);

    if (from->invalid)
        return CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
    if (capture != NULL && capture != from) {
        capture->invalid = from->invalid = true;
        return CUDA_ERROR_STREAM_CAPTURE_MERGE;
    }
    if (stream == &ctx->legacy) {
        from->invalid = true;
        return CUDA_ERROR_STREAM_CAPTURE_IMPLICIT;
    }
    if (capture != NULL)
        return fe_member_merge(fe_member_of(from, stream), event->capture_nodes, NULL,
                               event->capture_count);
    return member_add(from, ctx, stream, event->capture_nodes, NULL, event->capture_count);
}

/* The lock is held. */
static CUresult
wait_locked(struct fe_context *ctx, struct fe_stream *stream, struct fe_event *event, bool external)
{
    struct fe_capture *from = atomic_load(&event->capture);
    struct fe_capture *capture = atomic_load(&stream->capture);
    struct fe_member *m;
    CUresult cr;

    if (external && capture != NULL) {
        cr = active(stream, &capture, &m);
        if (cr == CUDA_SUCCESS)
            cr = append_event(capture, m, CU_GRAPH_NODE_TYPE_WAIT_EVENT, event);
        return cr;
    }
    if (from != NULL)
        return join(ctx, stream, event, from);
    if (capture == NULL || event->recorded == 0)
        return CUDA_SUCCESS; /* never recorded: nothing to wait for */
    capture->invalid = true;
    return CUDA_ERROR_STREAM_CAPTURE_ISOLATION;
}

CUresult
fe_capture_wait(struct fe_context *ctx, struct fe_stream *stream, struct fe_event *event,
                bool external)
{
    CUresult cr;

    fe_graph_lock();
    cr = wait_locked(ctx, stream, event, external);
    fe_graph_unlock();
    return cr;
}

CUresult
fe_capture_event_asked(struct fe_event *event)
{
    struct fe_capture *capture;

    fe_graph_lock();
    capture = atomic_load(&event->capture);
    if (capture != NULL)
        capture->invalid = true;
    fe_graph_unlock();
    return capture != NULL ? CUDA_ERROR_CAPTURED_EVENT : CUDA_SUCCESS;
}

void
fe_capture_event_gone(struct fe_event *event)
{
    if (!fe_captured_event(event))
        return;
    fe_graph_lock();
    (void)forget_event(event, atomic_load(&event->capture));
    fe_graph_unlock();
}

/* -- streams and contexts that go ------------------------------------------------------- */

static void
abandon(struct fe_capture *capture)
{
    if (capture->own_graph)
        fe_graph_delete(capture->graph);
    capture_free(capture);
}

/* The lock is held. */
static void
leave(struct fe_capture *capture, struct fe_stream *stream)
{
    capture->invalid = true;
    member_leave(fe_member_of(capture, stream));
    if (capture->origin == stream)
        abandon(capture);
}

void
fe_capture_stream_gone(struct fe_stream *stream)
{
    struct fe_capture *capture;

    if (!fe_capturing(stream))
        return;
    fe_graph_lock();
    capture = atomic_load(&stream->capture);
    if (capture != NULL)
        leave(capture, stream);
    fe_graph_unlock();
}

void
fe_capture_drop_context(struct fe_context *ctx)
{
    fe_graph_lock();
    for (struct fe_capture *c = captures, *next; c != NULL; c = next) {
        next = c->next;
        for (struct fe_member *m = c->members; m != NULL; m = m->next) {
            if (m->stream == NULL || m->ctx != ctx)
                continue;
            c->invalid = true;
            member_leave(m);
        }
        if (c->ctx == ctx)
            abandon(c);
    }
    fe_graph_unlock();
}

struct dropped {
    const struct fe_capture *capture;
    const struct fe_node *node;
};

static bool
drop_of_event(void *object, void *user)
{
    const struct dropped *dropped = user;
    struct fe_event *event = object;

    if (atomic_load(&event->capture) == dropped->capture)
        event->capture_count =
            fe_nodes_without(event->capture_nodes, NULL, event->capture_count, dropped->node);
    return true;
}

void
fe_capture_node_gone(const struct fe_node *node)
{
    for (const struct fe_capture *c = captures; c != NULL; c = c->next) {
        if (c->graph != node->graph)
            continue;
        for (struct fe_member *m = c->members; m != NULL; m = m->next)
            m->count = fe_nodes_without(m->deps, m->data, m->count, node);
        if (c->recorded)
            fe_object_each(WIRE_HANDLE_EVENT, drop_of_event, &(struct dropped){c, node});
    }
}

void
fe_capture_graph_gone(const struct fe_graph *graph)
{
    for (struct fe_capture *c = captures; c != NULL; c = c->next) {
        if (c->graph != graph)
            continue;
        c->invalid = true;
        c->own_graph = false;
        c->graph = NULL;
    }
}

/* -- begin and end ---------------------------------------------------------------------- */

/* The lock is held. */
static CUresult
begin_locked(struct fe_stream *stream, CUgraph given, const CUgraphNode *deps, size_t count,
             struct fe_capture *capture)
{
    CUresult cr = CUDA_SUCCESS;

    capture->graph = fe_graph_get(given);
    if (atomic_load(&stream->capture) != NULL)
        return CUDA_ERROR_ILLEGAL_STATE;
    if (given != NULL && capture->graph == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    for (size_t i = 0; i < count; i++) {
        const struct fe_node *dep = fe_node_get(deps[i]);

        if (dep == NULL || dep->graph != capture->graph)
            return CUDA_ERROR_INVALID_VALUE;
    }
    if (given == NULL) {
        cr = fe_graph_new(&capture->graph);
        capture->own_graph = cr == CUDA_SUCCESS;
    }
    return cr;
}

static CUresult
begin(CUstream handle, CUgraph graph, const CUgraphNode *deps, const CUgraphEdgeData *data,
      size_t count, CUstreamCaptureMode mode)
{
    struct fe_capture *capture;
    struct fe_stream *stream;
    struct fe_call call;
    uint64_t wire;
    CUresult cr = fe_enter(&call, WIRE_CALL_cuGraphInstantiateWithFlags);

    if (cr != CUDA_SUCCESS)
        return cr;
    if ((unsigned)mode > CU_STREAM_CAPTURE_MODE_RELAXED || (count != 0 && deps == NULL))
        return fe_leave(&call, CUDA_ERROR_INVALID_VALUE);
    cr = fe_stream_resolve_capture(&call, handle, &stream, &wire);
    if (cr == CUDA_SUCCESS && stream == &call.context->legacy)
        cr = CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
    if (cr != CUDA_SUCCESS)
        return fe_leave(&call, cr);
    capture = calloc(1, sizeof(*capture));
    if (capture == NULL)
        return fe_leave(&call, CUDA_ERROR_OUT_OF_MEMORY);
    capture->origin = stream;
    capture->ctx = call.context;
    capture->mode = mode;
    capture->thread = pthread_self();
    fe_graph_lock();
    cr = begin_locked(stream, graph, deps, count, capture);
    if (cr == CUDA_SUCCESS)
        cr = member_add(capture, call.context, stream, deps, data, count);
    if (cr == CUDA_SUCCESS) {
        capture->id = next_id++;
        capture->next = captures;
        captures = capture;
    } else {
        abandon(capture);
    }
    fe_graph_unlock();
    return fe_leave(&call, cr);
}

GP_EXPORT CUresult
cuStreamBeginCapture_v2(CUstream stream, CUstreamCaptureMode mode)
{
    FE_COUNT_LOCAL();
    return begin(stream, NULL, NULL, NULL, 0, mode);
}

GP_EXPORT CUresult
cuStreamBeginCapture(CUstream stream)
{
    return cuStreamBeginCapture_v2(stream, CU_STREAM_CAPTURE_MODE_GLOBAL);
}

GP_EXPORT CUresult
cuStreamBeginCaptureToGraph(CUstream stream, CUgraph graph, const CUgraphNode *deps,
                            const CUgraphEdgeData *data, size_t count, CUstreamCaptureMode mode)
{
    FE_COUNT_LOCAL();
    if (graph == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    return begin(stream, graph, deps, data, count, mode);
}

/* Marks what node depends on; true if some of that was passed already, going backwards. */
static bool
mark_deps(const struct fe_node *node)
{
    bool passed = false;

    for (size_t i = 0; i < node->dep_count; i++) {
        struct fe_node *from = node->deps[i].from;

        passed = passed || (!from->mark && from->index > node->index);
        from->mark = true;
    }
    return passed;
}

/* All that the origin's next node would come behind. Nodes are mostly behind what they depend on:
 * one or two rounds. */
static void
mark_ancestors(struct fe_graph *graph, const struct fe_member *origin)
{
    bool again = true;

    for (size_t i = 0; i < graph->count; i++) {
        graph->nodes[i]->mark = false;
        graph->nodes[i]->index = i;
    }
    for (size_t i = 0; i < origin->count; i++) {
        struct fe_node *node = fe_node_get(origin->deps[i]);

        if (node != NULL)
            node->mark = true;
    }
    while (again) {
        again = false;
        for (size_t i = graph->count; i-- > 0;)
            if (graph->nodes[i]->mark)
                again = mark_deps(graph->nodes[i]) || again;
    }
}

/* Whether the work of all joined streams leads back to the stream where the capture began. */
static bool
all_joined(struct fe_capture *capture)
{
    const struct fe_member *origin = fe_member_of(capture, capture->origin);

    mark_ancestors(capture->graph, origin);
    for (const struct fe_member *m = capture->members; m != NULL; m = m->next) {
        for (size_t i = 0; i < m->count; i++) {
            const struct fe_node *node = fe_node_get(m->deps[i]);

            if (node != NULL && !node->mark)
                return false;
        }
    }
    return true;
}

static CUresult
end_locked(struct fe_stream *stream, CUgraph *graph_p)
{
    struct fe_capture *capture = atomic_load(&stream->capture);
    CUresult cr = CUDA_SUCCESS;

    /* Whose graph it was in the first place need not hear of it. */
    if (graph_p == NULL && (capture == NULL || capture->own_graph))
        return CUDA_ERROR_INVALID_VALUE;
    if (capture == NULL)
        return CUDA_ERROR_ILLEGAL_STATE;
    if (capture->origin != stream)
        return CUDA_ERROR_STREAM_CAPTURE_UNMATCHED;
    if (capture->mode != CU_STREAM_CAPTURE_MODE_RELAXED &&
        !pthread_equal(capture->thread, pthread_self()))
        return CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD;
    if (capture->invalid)
        cr = CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
    else if (!all_joined(capture))
        cr = CUDA_ERROR_STREAM_CAPTURE_UNJOINED;
    if (graph_p != NULL)
        *graph_p = cr == CUDA_SUCCESS ? (CUgraph)capture->graph : NULL;
    if (cr != CUDA_SUCCESS)
        abandon(capture);
    else
        capture_free(capture);
    return cr;
}

GP_EXPORT CUresult
cuStreamEndCapture(CUstream handle, CUgraph *graph)
{
    struct fe_stream *stream = NULL;
    struct fe_call call;
    CUresult cr = fe_stream_local(&call, handle, &stream);

    if (cr != CUDA_SUCCESS)
        return cr;
    fe_graph_lock();
    cr = end_locked(stream, graph);
    fe_graph_unlock();
    fe_graph_flush();
    return cr;
}

/* -- questions -------------------------------------------------------------------------- */

/* With status NONE the other outputs are left as they are. */
GP_EXPORT CUresult
cuStreamGetCaptureInfo_v3(CUstream handle, CUstreamCaptureStatus *status, cuuint64_t *id,
                          CUgraph *graph, const CUgraphNode **dependencies,
                          const CUgraphEdgeData **edges, size_t *count)
{
    struct fe_capture *capture;
    struct fe_stream *stream = NULL;
    const struct fe_member *m;
    struct fe_call call;
    CUresult cr;

    if (status == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    *status = CU_STREAM_CAPTURE_STATUS_NONE;
    cr = fe_stream_local(&call, handle, &stream);
    if (cr != CUDA_SUCCESS || !fe_capturing(stream))
        return cr;
    fe_graph_lock();
    capture = atomic_load(&stream->capture);
    if (capture != NULL && capture->invalid) {
        *status = CU_STREAM_CAPTURE_STATUS_INVALIDATED;
    } else if (capture != NULL) {
        m = fe_member_of(capture, stream);
        *status = CU_STREAM_CAPTURE_STATUS_ACTIVE;
        if (id != NULL)
            *id = capture->id;
        if (graph != NULL)
            *graph = (CUgraph)capture->graph;
        if (dependencies != NULL)
            *dependencies = m->deps;
        if (edges != NULL)
            *edges = m->data;
        if (count != NULL)
            *count = m->count;
    }
    fe_graph_unlock();
    return CUDA_SUCCESS;
}

GP_EXPORT CUresult
cuStreamGetCaptureInfo_v2(CUstream stream, CUstreamCaptureStatus *status, cuuint64_t *id,
                          CUgraph *graph, const CUgraphNode **dependencies, size_t *count)
{
    return cuStreamGetCaptureInfo_v3(stream, status, id, graph, dependencies, NULL, count);
}

GP_EXPORT CUresult
cuStreamGetCaptureInfo(CUstream stream, CUstreamCaptureStatus *status, cuuint64_t *id)
{
    return cuStreamGetCaptureInfo_v3(stream, status, id, NULL, NULL, NULL, NULL);
}

GP_EXPORT CUresult
cuStreamIsCapturing(CUstream stream, CUstreamCaptureStatus *status)
{
    return cuStreamGetCaptureInfo_v3(stream, status, NULL, NULL, NULL, NULL, NULL);
}

/* The lock is held. */
static CUresult
update_locked(struct fe_stream *stream, const CUgraphNode *nodes, const CUgraphEdgeData *data,
              size_t count, bool set)
{
    struct fe_capture *capture;
    struct fe_member *m;
    CUresult cr = active(stream, &capture, &m);

    for (size_t i = 0; cr == CUDA_SUCCESS && i < count; i++) {
        const struct fe_node *node = fe_node_get(nodes[i]);

        if (node == NULL || node->graph != capture->graph)
            cr = CUDA_ERROR_INVALID_VALUE;
    }
    if (cr != CUDA_SUCCESS)
        return cr;
    return set ? fe_member_set(m, nodes, data, count) : fe_member_merge(m, nodes, data, count);
}

GP_EXPORT CUresult
cuStreamUpdateCaptureDependencies_v2(CUstream handle, CUgraphNode *nodes,
                                     const CUgraphEdgeData *data, size_t count, unsigned int flags)
{
    struct fe_stream *stream = NULL;
    struct fe_call call;
    CUresult cr = fe_stream_local(&call, handle, &stream);

    if (cr != CUDA_SUCCESS)
        return cr;
    if ((count != 0 && nodes == NULL) || flags > CU_STREAM_SET_CAPTURE_DEPENDENCIES)
        return CUDA_ERROR_INVALID_VALUE;
    fe_graph_lock();
    cr = update_locked(stream, nodes, data, count, flags == CU_STREAM_SET_CAPTURE_DEPENDENCIES);
    fe_graph_unlock();
    return cr;
}

GP_EXPORT CUresult
cuStreamUpdateCaptureDependencies(CUstream stream, CUgraphNode *nodes, size_t count,
                                  unsigned int flags)
{
    return cuStreamUpdateCaptureDependencies_v2(stream, nodes, NULL, count, flags);
}

GP_EXPORT CUresult
cuThreadExchangeStreamCaptureMode(CUstreamCaptureMode *mode)
{
    CUstreamCaptureMode before = thread_mode;
    CUresult cr = CUDA_SUCCESS;

    FE_COUNT_LOCAL();
    if (fe_state_get(&cr) == NULL)
        return cr;
    if (mode == NULL || (int)*mode < 0 || *mode > CU_STREAM_CAPTURE_MODE_RELAXED)
        return CUDA_ERROR_INVALID_VALUE;
    thread_mode = *mode;
    *mode = before;
    return CUDA_SUCCESS;
}
