/* backend/driver/soft/dev/capture.c -- streams that record a graph instead of running
 *
 * A capturing stream holds the nodes that its next node will depend on. Events carry such sets
 * to other streams, which thereby join the capture.
 */
#include "backend/driver/soft/dev/capture.h"

#include "backend/driver/soft/dev/graph.h"
#include "backend/driver/soft/dev/span.h"
#include "backend/driver/soft/dev/thread.h"
#include "cuda_api.h"

#include <string.h>

struct member {
    struct member *next;
    CUstream stream;
    CUgraphNode *deps;
    CUgraphEdgeData *data; /* for those who ask: all zero */
    size_t count;
};

struct sd_capture {
    CUgraph graph;
    bool own_graph; /* made by the capture, not given to it */
    CUstream origin;
    CUcontext ctx;
    CUstreamCaptureMode mode;
    pthread_t thread;
    cuuint64_t id;
    bool invalid;
    struct member *members;
    CUevent events; /* recorded in it, of whatever contexts */
    struct sd_capture *next;
};

/* Graphs' lock. */
static struct sd_capture *captures;
static cuuint64_t next_id = 1;

/* The event carries nothing of a capture any more. */
static void
forget_event(CUevent event)
{
    struct sd_capture *capture = atomic_load(&event->capture);
    CUevent *link = capture != NULL ? &capture->events : NULL;

    if (capture == NULL)
        return;
    while (*link != event)
        link = &(*link)->capture_next;
    *link = event->capture_next;
    event->capture_next = NULL;
    atomic_store(&event->capture, NULL);
    free(event->capture_nodes);
    event->capture_nodes = NULL;
    event->capture_count = 0;
}

/* nodes become the event's. */
static void
remember_event(struct sd_capture *capture, CUevent event, CUgraphNode *nodes, size_t count)
{
    forget_event(event);
    event->capture_nodes = nodes;
    event->capture_count = count;
    event->capture_next = capture->events;
    capture->events = event;
    atomic_store(&event->capture, capture);
}

static struct member *
member_of(struct sd_capture *capture, CUstream stream)
{
    struct member *m = capture->members;

    while (m != NULL && m->stream != stream)
        m = m->next;
    return m;
}

static CUresult
member_set(struct member *m, const CUgraphNode *nodes, size_t count)
{
    CUgraphNode *deps = malloc((count + 1) * sizeof(*deps));
    CUgraphEdgeData *data = calloc(count + 1, sizeof(*data));

    if (deps == NULL || data == NULL) {
        free(deps);
        free(data);
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    if (count != 0)
        memcpy(deps, nodes, count * sizeof(*deps));
    free(m->deps);
    free(m->data);
    m->deps = deps;
    m->data = data;
    m->count = count;
    return CUDA_SUCCESS;
}

static CUresult
member_merge(struct member *m, const CUgraphNode *nodes, size_t count)
{
    CUgraphNode *all = malloc((m->count + count + 1) * sizeof(*all));
    size_t n = m->count;
    CUresult cr;

    if (all == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    if (n != 0)
        memcpy(all, m->deps, n * sizeof(*all));
    for (size_t i = 0; i < count; i++) {
        bool known = false;

        for (size_t k = 0; k < n && !known; k++)
            known = all[k] == nodes[i];
        if (!known)
            all[n++] = nodes[i];
    }
    cr = member_set(m, all, n);
    free(all);
    return cr;
}

static CUresult
member_add(struct sd_capture *capture, CUstream stream, struct member **m_p)
{
    struct member *m = calloc(1, sizeof(*m));

    if (m == NULL || member_set(m, NULL, 0) != CUDA_SUCCESS) {
        free(m);
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    m->stream = stream;
    m->next = capture->members;
    capture->members = m;
    atomic_store(&stream->capture, capture);
    atomic_fetch_add(&stream->ctx->captures, 1);
    *m_p = m;
    return CUDA_SUCCESS;
}

static void
capture_free(struct sd_capture *capture)
{
    struct sd_capture **link = &captures;

    while (capture->events != NULL)
        forget_event(capture->events);
    while (capture->members != NULL) {
        struct member *m = capture->members;

        capture->members = m->next;
        if (m->stream != NULL) {
            atomic_store(&m->stream->capture, NULL);
            atomic_fetch_sub(&m->stream->ctx->captures, 1);
        }
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
active(CUstream stream, struct sd_capture **capture_p, struct member **m_p)
{
    struct sd_capture *capture = atomic_load(&stream->capture);

    if (capture == NULL)
        return CUDA_ERROR_ILLEGAL_STATE;
    if (capture->invalid)
        return CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
    *capture_p = capture;
    *m_p = member_of(capture, stream);
    return CUDA_SUCCESS;
}

CUresult
sd_capture_break(CUstream stream, CUresult cr)
{
    struct sd_capture *capture;

    sd_graph_lock();
    capture = atomic_load(&stream->capture);
    if (capture != NULL)
        capture->invalid = true;
    sd_graph_unlock();
    return cr;
}

CUresult
sd_capture_blocks_wait(CUstream stream)
{
    if (GP_LIKELY(atomic_load(&stream->capture) == NULL))
        return CUDA_SUCCESS;
    return sd_capture_break(stream, CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
}

CUresult
sd_capture_break_ctx(CUcontext ctx, CUgreenCtx green)
{
    CUresult cr = CUDA_SUCCESS;

    sd_graph_lock();
    for (struct sd_capture *c = captures; c != NULL; c = c->next)
        for (struct member *m = c->members; m != NULL; m = m->next)
            if (m->stream != NULL && m->stream->ctx == ctx &&
                (green == NULL || m->stream->green == green)) {
                c->invalid = true;
                cr = CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
            }
    sd_graph_unlock();
    return cr;
}

bool
sd_capture_forbids(void)
{
    CUstreamCaptureMode mode = sd_thread_capture_mode();
    bool forbidden = false;

    if (mode == CU_STREAM_CAPTURE_MODE_RELAXED)
        return false;
    sd_graph_lock();
    for (struct sd_capture *c = captures; c != NULL; c = c->next) {
        bool mine = pthread_equal(c->thread, pthread_self()) != 0;
        bool strict = mode == CU_STREAM_CAPTURE_MODE_GLOBAL
                          ? c->mode == CU_STREAM_CAPTURE_MODE_GLOBAL ||
                                (mine && c->mode == CU_STREAM_CAPTURE_MODE_THREAD_LOCAL)
                          : mine && c->mode != CU_STREAM_CAPTURE_MODE_RELAXED;

        if (!strict)
            continue;
        c->invalid = true;
        forbidden = true;
    }
    sd_graph_unlock();
    return forbidden;
}

CUresult
sd_capture_legacy(CUcontext ctx)
{
    bool implicit = false;

    sd_graph_lock();
    for (struct sd_capture *c = captures; c != NULL; c = c->next) {
        for (const struct member *m = c->members; m != NULL; m = m->next) {
            if (m->stream == NULL || m->stream->ctx != ctx ||
                (m->stream->flags & CU_STREAM_NON_BLOCKING) != 0 ||
                c->mode == CU_STREAM_CAPTURE_MODE_RELAXED)
                continue;
            c->invalid = true;
            implicit = true;
        }
    }
    sd_graph_unlock();
    return implicit ? CUDA_ERROR_STREAM_CAPTURE_IMPLICIT : CUDA_SUCCESS;
}

/* --- nodes --- */

/* A new node behind the stream's work so far; the stream's next node depends on it. */
static CUresult
append(struct sd_capture *capture, struct member *m, CUgraphNodeType type, CUgraphNode *node_p)
{
    CUresult cr = sd_graph_add(capture->graph, type, m->deps, NULL, m->count, node_p);

    if (cr != CUDA_SUCCESS)
        return cr;
    (*node_p)->ctx = m->stream->ctx;
    (*node_p)->work.ctx = m->stream->ctx;
    return member_set(m, node_p, 1);
}

static CUmemorytype
side_type(uint64_t address)
{
    struct sd_alloc alloc;

    return sd_map_find(address, &alloc) && !sd_mem_is_host(alloc.kind) ? CU_MEMORYTYPE_DEVICE
                                                                       : CU_MEMORYTYPE_HOST;
}

/* What a captured copy would have been as parameters of a node. */
static void
copy_params(CUDA_MEMCPY3D *p, const struct sd_copy_work *c)
{
    memset(p, 0, sizeof(*p));
    p->srcMemoryType = side_type(c->src);
    p->srcHost = (const void *)(uintptr_t)c->src;
    p->srcDevice = c->src;
    p->srcPitch = c->src_pitch;
    p->srcHeight = c->src_pitch != 0 ? c->src_slice / c->src_pitch : 0;
    p->dstMemoryType = side_type(c->dst);
    p->dstHost = (void *)(uintptr_t)c->dst;
    p->dstDevice = c->dst;
    p->dstPitch = c->dst_pitch;
    p->dstHeight = c->dst_pitch != 0 ? c->dst_slice / c->dst_pitch : 0;
    p->WidthInBytes = c->width;
    p->Height = c->height;
    p->Depth = c->depth;
}

static CUgraphNodeType
type_of(enum sd_work_kind kind)
{
    switch (kind) {
    case SD_WORK_KERNEL:
        return CU_GRAPH_NODE_TYPE_KERNEL;
    case SD_WORK_COPY:
        return CU_GRAPH_NODE_TYPE_MEMCPY;
    case SD_WORK_FILL:
        return CU_GRAPH_NODE_TYPE_MEMSET;
    case SD_WORK_HOST:
        return CU_GRAPH_NODE_TYPE_HOST;
    case SD_WORK_VALUES:
        return CU_GRAPH_NODE_TYPE_BATCH_MEM_OP;
    default:
        return CU_GRAPH_NODE_TYPE_EMPTY;
    }
}

/* What the stream says of its kernels, then what the launch says. */
static CUresult
take_attributes(CUgraphNode node, CUstream stream, const CUlaunchAttribute *attrs, unsigned count)
{
    CUresult cr = CUDA_SUCCESS;

    sd_stream_attributes_inherit(stream, node);
    for (unsigned i = 0; i < count && cr == CUDA_SUCCESS; i++)
        cr = sd_node_take_attribute(node, attrs[i].id, &attrs[i].value);
    return cr;
}

CUresult
sd_capture_op(CUstream stream, struct sd_op *op)
{
    return sd_capture_launch(stream, op, NULL, 0);
}

CUresult
sd_capture_launch(CUstream stream, struct sd_op *op, const CUlaunchAttribute *attrs, unsigned count)
{
    struct sd_capture *capture;
    CUgraphNode node;
    struct member *m;
    CUresult cr;

    if (op->work.kind == SD_WORK_GRAPH) {
        sd_op_free(op);
        return sd_capture_break(stream, sd_refuse("cuGraphLaunch into a capturing stream"));
    }
    sd_graph_lock();
    cr = active(stream, &capture, &m);
    if (cr == CUDA_SUCCESS)
        cr = append(capture, m, type_of(op->work.kind), &node);
    if (cr == CUDA_SUCCESS) {
        node->work = op->work; /* it changes hands */
        op->work.kind = SD_WORK_NOTHING;
        if (node->work.kind == SD_WORK_KERNEL) {
            node->function = node->work.kernel.fn;
            cr = take_attributes(node, stream, attrs, count);
        } else if (node->work.kind == SD_WORK_COPY)
            copy_params(&node->memcpy_params, &node->work.copy);
        else if (node->work.kind == SD_WORK_FILL)
            node->memset_params = (CUDA_MEMSET_NODE_PARAMS){
                node->work.fill.dst,     node->work.fill.pitch, node->work.fill.value,
                node->work.fill.element, node->work.fill.width, node->work.fill.height};
    }
    sd_graph_unlock();
    sd_op_free(op);
    return cr;
}

CUresult
sd_capture_record(CUstream stream, CUevent event, bool external)
{
    struct sd_capture *capture;
    CUgraphNode *nodes, node;
    struct member *m;
    CUresult cr;

    sd_graph_lock();
    cr = active(stream, &capture, &m);
    if (cr == CUDA_SUCCESS && external) {
        cr = append(capture, m, CU_GRAPH_NODE_TYPE_EVENT_RECORD, &node);
        if (cr == CUDA_SUCCESS)
            node->event = event;
    } else if (cr == CUDA_SUCCESS) {
        nodes = malloc((m->count + 1) * sizeof(*nodes));
        if (nodes == NULL) {
            cr = CUDA_ERROR_OUT_OF_MEMORY;
        } else {
            memcpy(nodes, m->deps, m->count * sizeof(*nodes));
            remember_event(capture, event, nodes, m->count);
        }
    }
    sd_graph_unlock();
    return cr;
}

/* The lock is held. */
static CUresult
wait_locked(CUstream stream, CUevent event, bool external)
{
    struct sd_capture *from = atomic_load(&event->capture);
    struct sd_capture *capture = atomic_load(&stream->capture);
    CUgraphNode node;
    struct member *m;
    CUresult cr;

    if (external && capture != NULL) {
        cr = active(stream, &capture, &m);
        if (cr == CUDA_SUCCESS)
            cr = append(capture, m, CU_GRAPH_NODE_TYPE_WAIT_EVENT, &node);
        if (cr == CUDA_SUCCESS)
            node->event = event;
        return cr;
    }
    if (from == NULL) {
        if (event->mark == NULL)
            return CUDA_SUCCESS; /* never recorded: nothing to wait for */
        capture->invalid = true;
        return CUDA_ERROR_STREAM_CAPTURE_ISOLATION;
    }
    if (from->invalid)
        return CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
    if (capture != NULL && capture != from) {
        capture->invalid = from->invalid = true;
        return CUDA_ERROR_STREAM_CAPTURE_MERGE;
    }
    if (stream->legacy) {
        from->invalid = true;
        return CUDA_ERROR_STREAM_CAPTURE_IMPLICIT;
    }
    if (capture == NULL) {
        cr = member_add(from, stream, &m);
        return cr != CUDA_SUCCESS ? cr : member_set(m, event->capture_nodes, event->capture_count);
    }
    return member_merge(member_of(from, stream), event->capture_nodes, event->capture_count);
}

CUresult
sd_capture_wait(CUstream stream, CUevent event, bool external)
{
    CUresult cr;

    sd_graph_lock();
    cr = wait_locked(stream, event, external);
    sd_graph_unlock();
    return cr;
}

CUresult
sd_capture_alloc(CUstream stream, CUmemoryPool pool, size_t bytes, CUdeviceptr *dptr)
{
    struct sd_graph_mem *mem = NULL;
    struct sd_capture *capture;
    CUgraphNode node;
    struct member *m;
    CUresult cr;

    (void)pool; /* nodes have memory of their own */
    sd_graph_lock();
    cr = active(stream, &capture, &m);
    if (cr == CUDA_SUCCESS)
        cr = sd_graph_mem_new(stream->ctx, bytes, &mem);
    if (cr == CUDA_SUCCESS)
        cr = append(capture, m, CU_GRAPH_NODE_TYPE_MEM_ALLOC, &node);
    if (cr == CUDA_SUCCESS) {
        node->mem = mem;
        node->alloc_params.poolProps.allocType = CU_MEM_ALLOCATION_TYPE_PINNED;
        node->alloc_params.poolProps.location.type = CU_MEM_LOCATION_TYPE_DEVICE;
        node->alloc_params.poolProps.location.id = stream->ctx->dev->ordinal;
        node->alloc_params.bytesize = bytes;
        node->alloc_params.dptr = mem->address;
        *dptr = mem->address;
    } else {
        sd_graph_mem_put(mem);
    }
    sd_graph_unlock();
    return cr;
}

CUresult
sd_capture_free(CUstream stream, CUdeviceptr dptr)
{
    struct sd_capture *capture;
    struct sd_alloc alloc;
    CUgraphNode node;
    struct member *m;
    CUresult cr;

    sd_graph_lock();
    cr = active(stream, &capture, &m);
    if (cr == CUDA_SUCCESS &&
        (!sd_map_find(dptr, &alloc) || alloc.kind != SD_MEM_GRAPH || alloc.base != dptr))
        cr = CUDA_ERROR_INVALID_VALUE; /* a graph frees what a graph allocated */
    if (cr == CUDA_SUCCESS)
        cr = append(capture, m, CU_GRAPH_NODE_TYPE_MEM_FREE, &node);
    if (cr == CUDA_SUCCESS)
        node->freed = dptr;
    sd_graph_unlock();
    return cr;
}

CUresult
sd_capture_event_asked(CUevent event)
{
    struct sd_capture *capture;

    sd_graph_lock();
    capture = atomic_load(&event->capture);
    if (capture != NULL)
        capture->invalid = true;
    sd_graph_unlock();
    return CUDA_ERROR_CAPTURED_EVENT;
}

void
sd_capture_event_gone(CUevent event)
{
    if (atomic_load(&event->capture) == NULL)
        return;
    sd_graph_lock();
    forget_event(event);
    sd_graph_unlock();
}

/* The stream is going; with it what began there: false then. The lock is held. */
static bool
leave(struct sd_capture *capture, struct member *m)
{
    CUstream stream = m->stream;

    capture->invalid = true;
    m->stream = NULL;
    atomic_store(&stream->capture, NULL);
    atomic_fetch_sub(&stream->ctx->captures, 1);
    if (capture->origin != stream)
        return true;
    if (capture->own_graph)
        sd_graph_delete(capture->graph);
    capture_free(capture);
    return false;
}

void
sd_capture_stream_gone(CUstream stream)
{
    struct sd_capture *capture;

    if (atomic_load(&stream->capture) == NULL)
        return;
    sd_graph_lock();
    capture = atomic_load(&stream->capture);
    if (capture != NULL)
        (void)leave(capture, member_of(capture, stream));
    sd_graph_unlock();
    sd_users_bury();
}

/* A member whose stream goes with the context or green context. */
static struct member *
going(struct sd_capture *capture, CUcontext ctx, CUgreenCtx green)
{
    for (struct member *m = capture->members; m != NULL; m = m->next)
        if (m->stream != NULL && m->stream->ctx == ctx &&
            (green == NULL || m->stream->green == green))
            return m;
    return NULL;
}

/* An event that goes with the context. */
static CUevent
going_event(const struct sd_capture *capture, CUcontext ctx)
{
    CUevent event = capture->events;

    while (event != NULL && event->ctx != ctx)
        event = event->capture_next;
    return event;
}

void
sd_capture_ctx_gone(CUcontext ctx, CUgreenCtx green)
{
    sd_graph_lock();
    for (struct sd_capture *c = captures, *next; c != NULL; c = next) {
        struct member *m;
        CUevent event;

        next = c->next;
        while (green == NULL && (event = going_event(c, ctx)) != NULL)
            forget_event(event);
        while ((m = going(c, ctx, green)) != NULL && leave(c, m))
            ;
    }
    sd_graph_unlock();
    sd_users_bury();
}

/* What depended on node depends on nothing of it any more. */
static size_t
without(CUgraphNode *nodes, size_t count, CUgraphNode node)
{
    size_t kept = 0;

    for (size_t i = 0; i < count; i++)
        if (nodes[i] != node)
            nodes[kept++] = nodes[i];
    return kept;
}

void
sd_capture_node_gone(CUgraphNode node)
{
    for (struct sd_capture *c = captures; c != NULL; c = c->next) {
        if (c->graph != node->graph)
            continue;
        for (struct member *m = c->members; m != NULL; m = m->next)
            m->count = without(m->deps, m->count, node);
        for (CUevent event = c->events; event != NULL; event = event->capture_next)
            event->capture_count = without(event->capture_nodes, event->capture_count, node);
    }
}

void
sd_capture_graph_gone(CUgraph graph)
{
    for (struct sd_capture *c = captures; c != NULL; c = c->next) {
        if (c->graph != graph)
            continue;
        c->invalid = true;
        c->own_graph = false;
        c->graph = NULL;
    }
}

/* --- begin and end --- */

static bool
nodes_of(CUgraph graph, const CUgraphNode *nodes, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (!sd_object_is(nodes[i], SD_NODE) || nodes[i]->graph != graph)
            return false;
    return true;
}

static CUresult
begin(CUstream hStream, CUgraph graph, const CUgraphNode *deps, size_t count,
      CUstreamCaptureMode mode)
{
    struct sd_capture *capture;
    struct member *m;
    CUcontext ctx;
    CUstream stream;
    CUresult cr;

    SD_ENTER(ctx);
    if ((unsigned)mode > CU_STREAM_CAPTURE_MODE_RELAXED || (count != 0 && deps == NULL))
        return CUDA_ERROR_INVALID_VALUE;
    cr = sd_stream_get(hStream, &stream);
    if (cr != CUDA_SUCCESS)
        return cr;
    if (stream->legacy)
        return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
    capture = calloc(1, sizeof(*capture));
    if (capture == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    sd_graph_lock();
    if (atomic_load(&stream->capture) != NULL)
        cr = CUDA_ERROR_ILLEGAL_STATE;
    else if (graph != NULL && (!sd_graph_valid(graph) || !nodes_of(graph, deps, count)))
        cr = CUDA_ERROR_INVALID_VALUE;
    capture->graph = graph;
    if (cr == CUDA_SUCCESS && graph == NULL) {
        cr = sd_graph_new(&capture->graph);
        capture->own_graph = true;
    }
    capture->origin = stream;
    capture->ctx = stream->ctx;
    capture->mode = mode;
    capture->thread = pthread_self();
    if (cr == CUDA_SUCCESS)
        cr = member_add(capture, stream, &m);
    if (cr == CUDA_SUCCESS)
        cr = member_set(m, deps, count);
    if (cr == CUDA_SUCCESS) {
        capture->id = next_id++;
        capture->next = captures;
        captures = capture;
    } else {
        if (capture->own_graph && capture->graph != NULL)
            sd_graph_delete(capture->graph);
        capture_free(capture);
    }
    sd_graph_unlock();
    return cr;
}

GP_EXPORT CUresult
cuStreamBeginCapture_v2(CUstream hStream, CUstreamCaptureMode mode)
{
    return begin(hStream, NULL, NULL, 0, mode);
}

GP_EXPORT CUresult
cuStreamBeginCapture(CUstream hStream)
{
    return begin(hStream, NULL, NULL, 0, CU_STREAM_CAPTURE_MODE_GLOBAL);
}

GP_EXPORT CUresult
cuStreamBeginCaptureToGraph(CUstream hStream, CUgraph hGraph, const CUgraphNode *dependencies,
                            const CUgraphEdgeData *dependencyData, size_t numDependencies,
                            CUstreamCaptureMode mode)
{
    (void)dependencyData;
    if (hGraph == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    return begin(hStream, hGraph, dependencies, numDependencies, mode);
}

/* Marks what node depends on; true if some of that was passed already, going backwards. */
static bool
mark_deps(CUgraphNode node)
{
    bool passed = false;

    for (size_t i = 0; i < node->dep_count; i++) {
        CUgraphNode from = node->deps[i].from;

        passed = passed || (!from->mark && from->index > node->index);
        from->mark = true;
    }
    return passed;
}

/* Whether the work of all joined streams leads back to the stream where the capture began. */
static bool
all_joined(struct sd_capture *capture)
{
    const struct member *origin = member_of(capture, capture->origin);
    bool again = true;

    for (size_t i = 0; i < capture->graph->count; i++) {
        capture->graph->nodes[i]->mark = false;
        capture->graph->nodes[i]->index = i;
    }
    for (size_t i = 0; i < origin->count; i++)
        origin->deps[i]->mark = true;
    while (again) {
        again = false;
        for (size_t i = capture->graph->count; i-- > 0;)
            if (capture->graph->nodes[i]->mark)
                again = mark_deps(capture->graph->nodes[i]) || again;
    }
    for (const struct member *m = capture->members; m != NULL; m = m->next)
        for (size_t i = 0; i < m->count; i++)
            if (!m->deps[i]->mark)
                return false;
    return true;
}

static CUresult
end_locked(CUstream stream, CUgraph *graph_p)
{
    struct sd_capture *capture = atomic_load(&stream->capture);
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
        *graph_p = cr == CUDA_SUCCESS ? capture->graph : NULL;
    if (cr != CUDA_SUCCESS && capture->own_graph)
        sd_graph_delete(capture->graph);
    capture_free(capture);
    return cr;
}

GP_EXPORT CUresult
cuStreamEndCapture(CUstream hStream, CUgraph *phGraph)
{
    CUstream stream;
    CUresult cr = sd_stream_get(hStream, &stream);

    if (cr != CUDA_SUCCESS)
        return cr;
    sd_graph_lock();
    cr = end_locked(stream, phGraph);
    sd_graph_unlock();
    sd_users_bury();
    return cr;
}

/* --- questions --- */

GP_EXPORT CUresult
cuStreamGetCaptureInfo_v3(CUstream hStream, CUstreamCaptureStatus *captureStatus_out,
                          cuuint64_t *id_out, CUgraph *graph_out,
                          const CUgraphNode **dependencies_out,
                          const CUgraphEdgeData **edgeData_out, size_t *numDependencies_out)
{
    struct sd_capture *capture;
    CUstream stream;
    CUresult cr;

    if (captureStatus_out == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    *captureStatus_out = CU_STREAM_CAPTURE_STATUS_NONE;
    cr = sd_stream_get(hStream, &stream);
    if (cr != CUDA_SUCCESS)
        return cr;
    sd_graph_lock();
    capture = atomic_load(&stream->capture);
    if (capture != NULL && capture->invalid) {
        *captureStatus_out = CU_STREAM_CAPTURE_STATUS_INVALIDATED;
    } else if (capture != NULL) {
        const struct member *m = member_of(capture, stream);

        *captureStatus_out = CU_STREAM_CAPTURE_STATUS_ACTIVE;
        if (id_out != NULL)
            *id_out = capture->id;
        if (graph_out != NULL)
            *graph_out = capture->graph;
        if (dependencies_out != NULL)
            *dependencies_out = m->deps;
        if (edgeData_out != NULL)
            *edgeData_out = m->data;
        if (numDependencies_out != NULL)
            *numDependencies_out = m->count;
    }
    sd_graph_unlock();
    return CUDA_SUCCESS;
}

GP_EXPORT CUresult
cuStreamGetCaptureInfo_v2(CUstream hStream, CUstreamCaptureStatus *captureStatus_out,
                          cuuint64_t *id_out, CUgraph *graph_out,
                          const CUgraphNode **dependencies_out, size_t *numDependencies_out)
{
    return cuStreamGetCaptureInfo_v3(hStream, captureStatus_out, id_out, graph_out,
                                     dependencies_out, NULL, numDependencies_out);
}

GP_EXPORT CUresult
cuStreamGetCaptureInfo(CUstream hStream, CUstreamCaptureStatus *captureStatus_out,
                       cuuint64_t *id_out)
{
    return cuStreamGetCaptureInfo_v3(hStream, captureStatus_out, id_out, NULL, NULL, NULL, NULL);
}

GP_EXPORT CUresult
cuStreamIsCapturing(CUstream hStream, CUstreamCaptureStatus *captureStatus)
{
    return cuStreamGetCaptureInfo_v3(hStream, captureStatus, NULL, NULL, NULL, NULL, NULL);
}

GP_EXPORT CUresult
cuStreamUpdateCaptureDependencies_v2(CUstream hStream, CUgraphNode *dependencies,
                                     const CUgraphEdgeData *dependencyData, size_t numDependencies,
                                     unsigned int flags)
{
    struct sd_capture *capture;
    struct member *m;
    CUstream stream;
    CUresult cr = sd_stream_get(hStream, &stream);

    if (cr != CUDA_SUCCESS)
        return cr;
    (void)dependencyData;
    if ((numDependencies != 0 && dependencies == NULL) ||
        flags > CU_STREAM_SET_CAPTURE_DEPENDENCIES)
        return CUDA_ERROR_INVALID_VALUE;
    sd_graph_lock();
    cr = active(stream, &capture, &m);
    for (size_t i = 0; cr == CUDA_SUCCESS && i < numDependencies; i++)
        if (!sd_object_is(dependencies[i], SD_NODE) || dependencies[i]->graph != capture->graph)
            cr = CUDA_ERROR_INVALID_VALUE;
    if (cr == CUDA_SUCCESS)
        cr = flags == CU_STREAM_SET_CAPTURE_DEPENDENCIES
                 ? member_set(m, dependencies, numDependencies)
                 : member_merge(m, dependencies, numDependencies);
    sd_graph_unlock();
    return cr;
}

GP_EXPORT CUresult
cuStreamUpdateCaptureDependencies(CUstream hStream, CUgraphNode *dependencies,
                                  size_t numDependencies, unsigned int flags)
{
    return cuStreamUpdateCaptureDependencies_v2(hStream, dependencies, NULL, numDependencies,
                                                flags);
}

GP_EXPORT CUresult
cuThreadExchangeStreamCaptureMode(CUstreamCaptureMode *mode)
{
    if (mode == NULL || (unsigned)*mode > CU_STREAM_CAPTURE_MODE_RELAXED)
        return CUDA_ERROR_INVALID_VALUE;
    *mode = sd_thread_capture_mode_swap(*mode);
    return CUDA_SUCCESS;
}
