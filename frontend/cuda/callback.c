/* frontend/cuda/callback.c -- host functions in stream order, and what else the server says unasked
 *
 * A host function travels as a number; the server never sees an address of the program, and an
 * address that it names is looked up here before it is read.
 */
#include "frontend/cuda/callback.h"

#include "cuda_api.h"
#include "frontend/core/notice.h"
#include "frontend/cuda/capture.h"
#include "frontend/cuda/coherent.h"
#include "frontend/cuda/fault.h"
#include "frontend/cuda/graph.h"
#include "frontend/cuda/host.h"
#include "frontend/cuda/promise.h"
#include "frontend/cuda/relay.h"
#include "frontend/cuda/state.h"
#include "protocol/base/log.h"
#include "protocol/base/util.h"

#include <pthread.h>
#include <stdlib.h>

struct queued {
    struct queued *next;
    uint64_t number;
    CUhostFn fn;               /* cuLaunchHostFunc */
    CUstreamCallback callback; /* cuStreamAddCallback */
    CUstream stream;
    void *data;
};

/* A read that was announced to the server. */
struct pull {
    struct pull *next;
    struct fe_context *ctx;
    uint64_t source, bytes, left;
};

static struct {
    pthread_mutex_t lock;
    /* Guarded by lock. */
    struct queued *queued;
    struct pull *pulls;
    uint64_t next_number;
    /* Atomic: functions that have not returned. */
    _Atomic uint64_t pending;
} callbacks = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* The pull that is being answered: the pulling thread's. */
static struct {
    struct fe_host_hold hold;
    uint8_t *room; /* NULL: the bytes are sent from where they lie */
} answer;

bool
fe_callbacks_pending(void)
{
    return atomic_load_explicit(&callbacks.pending, memory_order_acquire) > 0;
}

static void
queue(struct queued *q)
{
    atomic_fetch_add(&callbacks.pending, 1);
    pthread_mutex_lock(&callbacks.lock);
    q->number = ++callbacks.next_number;
    q->next = callbacks.queued;
    callbacks.queued = q;
    pthread_mutex_unlock(&callbacks.lock);
}

static struct queued *
unqueue(uint64_t number)
{
    struct queued **at, *q;

    pthread_mutex_lock(&callbacks.lock);
    for (at = &callbacks.queued; *at != NULL && (*at)->number != number;)
        at = &(*at)->next;
    q = *at;
    if (q != NULL)
        *at = q->next;
    pthread_mutex_unlock(&callbacks.lock);
    return q;
}

/* A context whose calls are all refused: current while a host function runs, for it must not call
 * the API. */
static void
forbid_calls(void)
{
    static _Atomic(struct fe_context *) forbidden;
    struct fe_context *ctx = forbidden;

    if (ctx == NULL) {
        ctx = fe_object_create(WIRE_HANDLE_CONTEXT, NULL);
        if (ctx == NULL)
            return;
        ctx->head.session = fe_sessions()->list[0];
        ctx->legacy.object.context = ctx;
        atomic_store(&ctx->head.sticky, CUDA_ERROR_NOT_PERMITTED);
        forbidden = ctx;
    }
    fe_thread.context = ctx;
}

/* What came before is done, and a host function may look at what it wrote. */
static void
look_around(void)
{
    if (atomic_load_explicit(&fe_coherent_watched, memory_order_relaxed) != 0)
        fe_coherent_proved();
    if (fe_coherent_active())
        fe_fault_allow();
}

void
fe_host_begin(void)
{
    forbid_calls();
    look_around();
}

/* On the callback thread. */
static void
on_host(struct fe_session *s, uint64_t number, CUresult status)
{
    struct queued *q;

    if ((number & WIRE_GRAPH_TOKEN) != 0) {
        fe_host_begin();
        if (!fe_token_call(s, number))
            log_warn("server named a graph's host function that is not there");
        return;
    }
    q = unqueue(number);
    if (q == NULL) {
        log_warn("server named host function %llu, which is not queued",
                 (unsigned long long)number);
        return;
    }
    fe_notice_expect(s, -1);
    fe_host_begin();
    if (q->callback != NULL)
        q->callback(q->stream, status, q->data);
    else if (status == CUDA_SUCCESS)
        q->fn(q->data);
    free(q);
    atomic_fetch_sub(&callbacks.pending, 1);
}

GP_EXPORT CUresult
cuLaunchHostFunc(CUstream handle, CUhostFn fn, void *data)
{
    struct wire_cuLaunchHostFunc_args args;
    struct fe_stream *stream;
    struct fe_call call;
    struct queued *q;
    CUresult cr = fe_enter(&call, WIRE_CALL_cuLaunchHostFunc);
    void *to;

    if (cr != CUDA_SUCCESS)
        return cr;
    if (fn == NULL)
        return fe_leave(&call, CUDA_ERROR_INVALID_VALUE);
    cr = fe_stream_resolve_capture(&call, handle, &stream, &args.stream);
    if (cr == CUDA_SUCCESS && fe_capturing(stream))
        return fe_leave(&call, fe_capture_host(stream, fn, data));
    if (cr != CUDA_SUCCESS)
        return fe_leave(&call, cr);
    q = calloc(1, sizeof(*q));
    if (q == NULL)
        return fe_leave(&call, CUDA_ERROR_OUT_OF_MEMORY);
    q->fn = fn;
    q->data = data;
    queue(q);
    args.callback = q->number;
    fe_notice_expect(call.session, 1);
    to = fe_post(&call, wire_size_cuLaunchHostFunc_args(&args));
    if (to == NULL)
        return fe_leave(&call, fe_lost(&call));
    wire_put_cuLaunchHostFunc_args(to, &args);
    (void)fe_stream_mark(&call, stream);
    fe_post_done(&call);
    return fe_leave(&call, CUDA_SUCCESS);
}

GP_EXPORT CUresult
cuStreamAddCallback(CUstream handle, CUstreamCallback callback, void *data, unsigned int flags)
{
    struct wire_cuStreamAddCallback_args args = {.flags = flags};
    struct fe_stream *stream;
    struct fe_call call;
    struct queued *q;
    CUresult cr = fe_enter(&call, WIRE_CALL_cuStreamAddCallback);
    void *to;

    if (cr != CUDA_SUCCESS)
        return cr;
    cr = fe_stream_resolve(&call, handle, &stream, &args.stream);
    if (cr == CUDA_SUCCESS && (callback == NULL || flags != 0))
        cr = CUDA_ERROR_INVALID_VALUE;
    if (cr != CUDA_SUCCESS)
        return fe_leave(&call, cr);
    q = calloc(1, sizeof(*q));
    if (q == NULL)
        return fe_leave(&call, CUDA_ERROR_OUT_OF_MEMORY);
    q->callback = callback;
    q->stream = handle;
    q->data = data;
    queue(q);
    args.callback = q->number;
    fe_notice_expect(call.session, 1);
    to = fe_post(&call, wire_size_cuStreamAddCallback_args(&args));
    if (to == NULL)
        return fe_leave(&call, fe_lost(&call));
    wire_put_cuStreamAddCallback_args(to, &args);
    (void)fe_stream_mark(&call, stream);
    fe_post_done(&call);
    return fe_leave(&call, CUDA_SUCCESS);
}

/* -- pulls ------------------------------------------------------------------------------ */

CUresult
fe_pull(struct fe_call *call, uint64_t dst, const void *src, uint64_t bytes,
        struct fe_stream *stream, uint64_t stream_wire)
{
    struct wire_gpPullAsync_args args = {
        .dst = dst, .bytes = bytes, .source = (uint64_t)(uintptr_t)src, .stream = stream_wire};
    struct pull *p = malloc(sizeof(*p));
    CUresult cr = fe_call_next(call, WIRE_CALL_gpPullAsync);
    void *to;

    if (p == NULL || cr != CUDA_SUCCESS) {
        free(p);
        return cr != CUDA_SUCCESS ? cr : CUDA_ERROR_OUT_OF_MEMORY;
    }
    p->ctx = call->context;
    p->source = args.source;
    p->bytes = p->left = bytes;
    pthread_mutex_lock(&callbacks.lock);
    p->next = callbacks.pulls;
    callbacks.pulls = p;
    pthread_mutex_unlock(&callbacks.lock);
    fe_notice_expect(call->session, 1);
    to = fe_post(call, wire_size_gpPullAsync_args(&args));
    if (to == NULL)
        return fe_lost(call);
    wire_put_gpPullAsync_args(to, &args);
    (void)fe_stream_mark(call, stream);
    fe_post_done(call);
    return CUDA_SUCCESS;
}

/* Under the lock: the announced read around a range, or NULL. */
static struct pull **
pull_of(uint64_t source, uint64_t bytes)
{
    struct pull **at;

    for (at = &callbacks.pulls; *at != NULL; at = &(*at)->next)
        if (source - (*at)->source < (*at)->bytes &&
            bytes <= (*at)->bytes - (source - (*at)->source) && bytes <= (*at)->left)
            return at;
    return NULL;
}

struct fe_context *
fe_pull_pending(uint64_t address, uint64_t bytes)
{
    struct fe_context *ctx = NULL;

    pthread_mutex_lock(&callbacks.lock);
    for (const struct pull *p = callbacks.pulls; p != NULL && ctx == NULL; p = p->next)
        if (p->source < address + bytes && p->source + p->bytes > address)
            ctx = p->ctx;
    pthread_mutex_unlock(&callbacks.lock);
    return ctx;
}

/* What is to be read: a range that was announced, or what a graph's node reads. */
static bool
pull_source(uint64_t source, uint64_t bytes, struct fe_copy *copy_p)
{
    bool known;

    if ((source & WIRE_GRAPH_TOKEN) != 0)
        return fe_token_pull(source, bytes, copy_p);
    pthread_mutex_lock(&callbacks.lock);
    known = pull_of(source, bytes) != NULL;
    pthread_mutex_unlock(&callbacks.lock);
    *copy_p = (struct fe_copy){
        .shape = {bytes, 1, 1},
        .src = {.type = CU_MEMORYTYPE_HOST, .base = source, .pitch = bytes, .slice = bytes}};
    return known;
}

/* Memory that kernels came to reach since is gathered first: the line must not touch it. */
static const void *
on_pull(struct fe_session *s, uint64_t source, uint64_t bytes)
{
    struct fe_copy copy;
    size_t span = 0;

    (void)s;
    if (!pull_source(source, bytes, &copy))
        return NULL;
    (void)fe_side_span(&copy.src, &copy.shape, &span);
    answer.room = NULL;
    if (fe_side_packed(&copy.src, &copy.shape) &&
        fe_host_hold(&answer.hold, copy.src.base, span) == FE_HOST_HELD)
        return (const void *)(uintptr_t)copy.src.base;
    answer.hold = (struct fe_host_hold){0};
    answer.room = malloc(bytes);
    if (answer.room == NULL)
        return NULL;
    if (fe_coherent_active())
        fe_fault_allow();
    fe_gather(answer.room, &copy.src, &copy.shape);
    return answer.room;
}

static void
on_pull_done(struct fe_session *s, uint64_t source, uint64_t bytes)
{
    struct pull **at, *done = NULL;

    fe_host_release(&answer.hold);
    free(answer.room);
    if ((source & WIRE_GRAPH_TOKEN) != 0)
        return;
    pthread_mutex_lock(&callbacks.lock);
    at = pull_of(source, bytes);
    if (at != NULL) {
        (*at)->left -= bytes;
        if ((*at)->left == 0) {
            done = *at;
            *at = done->next;
        }
    }
    pthread_mutex_unlock(&callbacks.lock);
    if (done != NULL)
        fe_notice_expect(s, -1);
    free(done);
}

/* -- freed memory ----------------------------------------------------------------------- */

static void
on_freed(struct fe_session *s, int device, const uint64_t *addresses, size_t count)
{
    struct fe_state *state = fe_state_get(NULL);

    (void)device; /* an address says where it is */
    for (size_t i = 0; state != NULL && i < count; i++)
        fe_alloc_reuse(state->allocs[s->index], addresses[i]);
}

/* -- leases ------------------------------------------------------------------------------ */

static uint64_t
on_lease(struct fe_session *s, int device)
{
    struct fe_state *state = fe_state_get(NULL);
    int own = fe_device_of_server(s, device);

    return state != NULL && own >= 0 ? fe_alloc_shrink(state->allocs[s->index], own) : 0;
}

static void
on_over(struct fe_session *s, int device, uint64_t bytes)
{
    int own = fe_device_of_server(s, device);

    if (own >= 0)
        fe_notify_over_budget(own, bytes);
}

static void
on_graph_gone(struct fe_session *s, uint64_t exec)
{
    fe_graph_gone(s, exec);
}

void
fe_init_notices(void)
{
    static const struct fe_notice_handlers handlers = {
        .host = on_host,
        .pull = on_pull,
        .pull_done = on_pull_done,
        .freed = on_freed,
        .lease = on_lease,
        .over = on_over,
        .library = fe_promise_add,
        .graph_gone = on_graph_gone,
        .gate = fe_relay_gate,
        .lost = fe_relay_lost,
    };

    fe_notice_set_handlers(&handlers);
}
