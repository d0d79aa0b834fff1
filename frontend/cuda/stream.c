/* frontend/cuda/stream.c -- streams: made and destroyed without waiting, waited for when needed */
#include "frontend/cuda/stream.h"

#include "cuda_api.h"
#include "frontend/core/perf.h"
#include "frontend/core/stats.h"
#include "frontend/cuda/capture.h"
#include "frontend/cuda/context_event.h"
#include "frontend/cuda/graph.h"
#include "frontend/cuda/green.h"
#include "frontend/cuda/order.h"
#include "frontend/cuda/pool.h"
#include "frontend/cuda/relay.h"
#include "frontend/cuda/state.h"
#include "protocol/base/util.h"

#include <pthread.h>
#include <string.h>

#define PER_THREAD_CONTEXTS 8

static _Atomic uint64_t next_id = 16; /* above the fixed handles */

/* The calling thread's CU_STREAM_PER_THREAD in each of its contexts. */
struct per_thread {
    struct {
        struct fe_context *ctx;
        uint64_t ctx_wire; /* a reset context lost its streams */
        struct fe_stream *stream;
    } of[PER_THREAD_CONTEXTS];
    unsigned next;
};

static __thread struct per_thread mine;
static pthread_key_t per_thread_key;
static pthread_once_t per_thread_once = PTHREAD_ONCE_INIT;

/* -- making and destroying -------------------------------------------------------------- */

struct fe_stream *
fe_stream_new(struct fe_context *ctx, unsigned flags, int priority)
{
    struct fe_stream *stream = fe_object_create(WIRE_HANDLE_STREAM, ctx);

    if (stream == NULL)
        return NULL;
    stream->flags = flags;
    stream->priority = priority;
    stream->id = next_id++;
    return stream;
}

CUresult
fe_stream_make(struct fe_call *call, unsigned flags, int priority, struct fe_stream **stream_p)
{
    struct wire_cuStreamCreateWithPriority_args args = {.flags = flags, .priority = priority};
    struct fe_stream *stream = fe_stream_new(call->context, flags, priority);
    void *to;

    if (stream == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    args.phStream = stream->object.wire;
    to = fe_post(call, wire_size_cuStreamCreateWithPriority_args(&args));
    if (to == NULL) {
        fe_object_destroy(stream);
        return fe_lost(call);
    }
    wire_put_cuStreamCreateWithPriority_args(to, &args);
    fe_post_done(call);
    *stream_p = stream;
    return CUDA_SUCCESS;
}

/* A stream of the program. */
static CUresult
create(struct fe_call *call, unsigned flags, int priority, bool per_thread,
       struct fe_stream **stream_p)
{
    CUresult cr = fe_stream_make(call, flags, priority, stream_p);

    if (cr != CUDA_SUCCESS)
        return cr;
    (*stream_p)->per_thread = per_thread;
    if (per_thread || (flags & CU_STREAM_NON_BLOCKING))
        atomic_fetch_add(&call->context->loose_streams, 1);
    return GP_UNLIKELY(atomic_load(&call->context->gates.gated))
               ? fe_context_gate_new(call, *stream_p)
               : CUDA_SUCCESS;
}

static CUresult
destroy(struct fe_stream *stream)
{
    struct wire_cuStreamDestroy_v2_args args = {.stream = stream->object.wire};
    const struct fe_context *ctx = stream->object.context;
    struct fe_call call;
    CUresult cr;
    void *to;

    fe_capture_stream_gone(stream);
    fe_graph_flush();
    fe_order_ends(stream);
    cr = fe_enter_on(&call, WIRE_CALL_cuStreamDestroy_v2, ctx->head.session);
    if (cr != CUDA_SUCCESS)
        return cr;
    fe_context_event_lock(); /* nothing is posted to it behind its end */
    to = fe_post(&call, wire_size_cuStreamDestroy_v2_args(&args));
    if (to != NULL) {
        wire_put_cuStreamDestroy_v2_args(to, &args);
        fe_object_destroy(stream);
        fe_post_done(&call);
        /* It is gone; what happened to its context is said all the same. */
        cr = (CUresult)atomic_load_explicit(&ctx->head.sticky, memory_order_relaxed);
    } else {
        cr = fe_lost(&call);
    }
    fe_context_event_unlock();
    return fe_leave(&call, cr);
}

int
fe_stream_priority(const struct fe_call *call, int priority)
{
    const struct wire_device *info = fe_state_of(call)->devices[call->context->device].info;

    if (priority > info->stream_priority_least)
        return info->stream_priority_least;
    return priority < info->stream_priority_greatest ? info->stream_priority_greatest : priority;
}

/* In the current green context. */
static CUresult
create_green(CUstream *handle, unsigned flags, int priority)
{
    if (flags != CU_STREAM_NON_BLOCKING)
        return fe_refuse("a blocking stream of a green context");
    return cuGreenCtxStreamCreate(handle, (CUgreenCtx)fe_thread.green, flags, priority);
}

GP_EXPORT CUresult
cuStreamCreateWithPriority(CUstream *handle, unsigned int flags, int priority)
{
    struct fe_stream *stream = NULL;
    struct fe_call call;
    CUresult cr;

    cr = fe_enter(&call, WIRE_CALL_cuStreamCreateWithPriority);
    if (cr != CUDA_SUCCESS)
        return cr;
    if (handle == NULL || (flags & ~(unsigned)CU_STREAM_NON_BLOCKING) != 0)
        return fe_leave(&call, CUDA_ERROR_INVALID_VALUE);
    priority = fe_stream_priority(&call, priority);
    if (GP_UNLIKELY(fe_thread.green != NULL))
        return fe_leave(&call, create_green(handle, flags, priority));
    cr = create(&call, flags, priority, false, &stream);
    if (cr == CUDA_SUCCESS)
        *handle = (CUstream)stream;
    return fe_leave(&call, cr);
}

GP_EXPORT CUresult
cuStreamCreate(CUstream *handle, unsigned int flags)
{
    return cuStreamCreateWithPriority(handle, flags, 0);
}

GP_EXPORT CUresult
cuStreamDestroy_v2(CUstream handle)
{
    struct fe_stream *stream = NULL;
    CUresult cr = CUDA_SUCCESS;

    if (fe_state_get(&cr) == NULL)
        return cr;
    if (handle == NULL || handle == CU_STREAM_LEGACY || handle == CU_STREAM_PER_THREAD)
        return CUDA_ERROR_INVALID_HANDLE;
    stream = fe_object_get(WIRE_HANDLE_STREAM, handle);
    if (stream != NULL && stream->green != NULL &&
        (cr = fe_green_stream_check(stream)) != CUDA_SUCCESS)
        return cr;
    return stream != NULL ? destroy(stream) : CUDA_ERROR_INVALID_HANDLE;
}

GP_EXPORT CUresult
cuStreamDestroy(CUstream handle)
{
    return cuStreamDestroy_v2(handle);
}

/* -- per-thread streams ----------------------------------------------------------------- */

static void
thread_ends(void *of)
{
    struct per_thread *t = of;

    for (int i = 0; i < PER_THREAD_CONTEXTS; i++) {
        struct fe_context *ctx = t->of[i].ctx;

        if (ctx != NULL && t->of[i].ctx_wire == ctx->head.object.wire &&
            fe_object_get(WIRE_HANDLE_STREAM, t->of[i].stream) != NULL)
            (void)destroy(t->of[i].stream);
    }
}

static void
make_key(void)
{
    pthread_key_create(&per_thread_key, thread_ends);
}

static CUresult
per_thread(struct fe_call *call, struct fe_stream **stream_p)
{
    struct fe_context *ctx = call->context;
    struct fe_call own;
    CUresult cr;
    unsigned at;

    for (at = 0; at < PER_THREAD_CONTEXTS; at++) {
        if (mine.of[at].ctx == ctx && mine.of[at].ctx_wire == ctx->head.object.wire) {
            *stream_p = mine.of[at].stream;
            return CUDA_SUCCESS;
        }
    }
    pthread_once(&per_thread_once, make_key);
    cr = fe_enter_in(&own, WIRE_CALL_cuStreamCreateWithPriority, ctx);
    if (cr != CUDA_SUCCESS)
        return cr;
    cr = fe_leave(&own, create(&own, CU_STREAM_DEFAULT, 0, true, stream_p));
    if (cr != CUDA_SUCCESS)
        return cr;
    at = mine.next++ % PER_THREAD_CONTEXTS;
    if (mine.of[at].ctx != NULL && mine.of[at].ctx_wire == mine.of[at].ctx->head.object.wire &&
        fe_object_get(WIRE_HANDLE_STREAM, mine.of[at].stream) != NULL)
        (void)destroy(mine.of[at].stream); /* more contexts than places: work is kept, order ends */
    mine.of[at].ctx = ctx;
    mine.of[at].ctx_wire = ctx->head.object.wire;
    mine.of[at].stream = *stream_p;
    pthread_setspecific(per_thread_key, &mine);
    return CUDA_SUCCESS;
}

CUresult
fe_stream_per_thread_wire(struct fe_call *call, uint64_t *id_p)
{
    struct fe_stream *stream = NULL;
    CUresult cr = per_thread(call, &stream);

    if (cr == CUDA_SUCCESS)
        *id_p = stream->object.wire;
    return cr;
}

CUresult
fe_stream_resolve(struct fe_call *call, CUstream handle, struct fe_stream **stream_p,
                  uint64_t *wire_p)
{
    CUresult cr = fe_stream_resolve_capture(call, handle, stream_p, wire_p);

    return GP_UNLIKELY(cr == CUDA_SUCCESS && fe_capturing(*stream_p)) ? fe_capture_refuse(*stream_p)
                                                                      : cr;
}

/* What the special handles mean while a green context is current. */
static CUresult
green_default(CUstream *handle)
{
    struct fe_green *green = NULL;
    CUresult cr;

    if (*handle == CU_STREAM_PER_THREAD)
        return CUDA_ERROR_INVALID_HANDLE;
    if (*handle != NULL && *handle != CU_STREAM_LEGACY)
        return CUDA_SUCCESS;
    cr = fe_green_get(fe_thread.green, &green);
    if (cr == CUDA_SUCCESS)
        *handle = (CUstream)green->stream;
    return cr;
}

/* Nothing forbids the legacy stream, and it waits for what the context waits for. */
static CUresult
legacy_ready(struct fe_call *call)
{
    struct fe_context *ctx = call->context;
    CUresult cr = CUDA_SUCCESS;

    if (GP_UNLIKELY(atomic_load_explicit(&ctx->captures, memory_order_acquire) > 0))
        cr = fe_capture_legacy(ctx);
    if (GP_UNLIKELY(atomic_load_explicit(&ctx->gates.legacy_gated, memory_order_acquire)) &&
        cr == CUDA_SUCCESS)
        cr = fe_context_gate_legacy(call);
    return cr;
}

CUresult
fe_stream_resolve_capture(struct fe_call *call, CUstream handle, struct fe_stream **stream_p,
                          uint64_t *wire_p)
{
    CUresult cr;

    if (handle == NULL)
        handle = fe_default_stream();
    if (GP_UNLIKELY(fe_thread.green != NULL)) {
        cr = green_default(&handle);
        if (cr != CUDA_SUCCESS)
            return cr;
    }
    if (handle == NULL || handle == CU_STREAM_LEGACY) {
        *stream_p = &call->context->legacy;
        *wire_p = 0;
        return legacy_ready(call);
    }
    if (handle == CU_STREAM_PER_THREAD) {
        cr = per_thread(call, stream_p);
        if (cr != CUDA_SUCCESS)
            return cr;
    } else {
        *stream_p = fe_object_get(WIRE_HANDLE_STREAM, handle);
        if (*stream_p == NULL)
            return CUDA_ERROR_INVALID_HANDLE;
        /* Work runs in the stream's own context, whatever is current. */
        if ((*stream_p)->object.context != call->context) {
            if (fe_object_state((*stream_p)->object.context) != FE_OBJECT_LIVE)
                return CUDA_ERROR_INVALID_HANDLE;
            cr = fe_call_move(call, (*stream_p)->object.context);
            if (cr != CUDA_SUCCESS)
                return cr;
        }
        if (GP_UNLIKELY((*stream_p)->green != NULL) &&
            (cr = fe_green_stream_check(*stream_p)) != CUDA_SUCCESS)
            return cr;
    }
    *wire_p = (*stream_p)->object.wire;
    return CUDA_SUCCESS;
}

/* -- waiting ---------------------------------------------------------------------------- */

bool
fe_stream_clean(struct fe_context *ctx, struct fe_stream *stream)
{
    uint64_t last = stream == &ctx->legacy
                        ? fe_context_now(ctx)
                        : atomic_load_explicit(&stream->last, memory_order_acquire);

    return fe_perf(FE_PERF_CACHE) &&
           (atomic_load_explicit(&ctx->proven, memory_order_acquire) >= last ||
            atomic_load_explicit(&stream->proven, memory_order_acquire) >= last);
}

/* cuStreamSynchronize and cuStreamQuery: the arguments and the proof are the same. */
static CUresult
ask(enum wire_call id, CUstream handle)
{
    struct wire_cuStreamSynchronize_args args;
    struct fe_stream *stream = NULL;
    struct fe_call call;
    const uint8_t *bytes;
    uint64_t now;
    size_t len;
    CUresult cr;
    void *to;

    cr = fe_enter(&call, id);
    if (cr != CUDA_SUCCESS)
        return cr;
    cr = fe_stream_resolve(&call, handle, &stream, &args.stream);
    if (cr == CUDA_SUCCESS && fe_stream_clean(call.context, stream)) {
        fe_pools_settle(&call);
        return fe_leave(&call, cr);
    }
    if (cr != CUDA_SUCCESS)
        return fe_leave(&call, cr);
    to = fe_post(&call, wire_size_cuStreamSynchronize_args(&args));
    if (to == NULL)
        return fe_leave(&call, fe_lost(&call));
    wire_put_cuStreamSynchronize_args(to, &args);
    now = fe_context_now(call.context);
    fe_post_done(&call);
    cr = fe_wait(&call, &bytes, &len);
    if (cr == CUDA_SUCCESS) {
        fe_prove(&stream->proven, now);
        fe_pools_settle(&call);
    }
    return fe_leave(&call, cr);
}

GP_EXPORT CUresult
cuStreamSynchronize(CUstream handle)
{
    CUresult cr = ask(WIRE_CALL_cuStreamSynchronize, handle);

    fe_users_settle();
    return cr;
}

GP_EXPORT CUresult
cuStreamQuery(CUstream handle)
{
    CUresult cr = ask(WIRE_CALL_cuStreamQuery, handle);

    fe_users_settle();
    return cr;
}

CUresult
fe_stream_post_wait(struct fe_call *call, struct fe_stream *stream, uint64_t stream_wire,
                    uint64_t event_wire)
{
    const struct wire_cuStreamWaitEvent_args args = {.stream = stream_wire, .event = event_wire};
    CUresult cr = fe_call_next(call, WIRE_CALL_cuStreamWaitEvent);
    void *to;

    if (cr != CUDA_SUCCESS)
        return cr;
    to = fe_post(call, wire_size_cuStreamWaitEvent_args(&args));
    if (to == NULL)
        return fe_lost(call);
    wire_put_cuStreamWaitEvent_args(to, &args);
    (void)fe_stream_mark(call, stream);
    fe_post_done(call);
    return CUDA_SUCCESS;
}

GP_EXPORT CUresult
cuStreamWaitEvent(CUstream handle, CUevent event_handle, unsigned int flags)
{
    struct wire_cuStreamWaitEvent_args args = {.flags = flags};
    struct fe_stream *stream = NULL;
    struct fe_event *event;
    struct fe_call call;
    CUresult cr;
    void *to;

    cr = fe_enter(&call, WIRE_CALL_cuStreamWaitEvent);
    if (cr != CUDA_SUCCESS)
        return cr;
    event = fe_object_get(WIRE_HANDLE_EVENT, event_handle);
    if (event == NULL)
        return fe_leave(&call, CUDA_ERROR_INVALID_HANDLE);
    if ((flags & ~(unsigned)CU_EVENT_WAIT_EXTERNAL) != 0)
        return fe_leave(&call, CUDA_ERROR_INVALID_VALUE);
    cr = fe_stream_resolve_capture(&call, handle, &stream, &args.stream);
    if (cr != CUDA_SUCCESS)
        return fe_leave(&call, cr);
    if (fe_captured_event(event) || fe_capturing(stream))
        return fe_leave(&call, fe_capture_wait(call.context, stream, event, flags != 0));
    if (GP_UNLIKELY(event->object.context->head.session != call.session)) {
        const struct fe_where where = {stream, args.stream};

        cr = fe_event_done(event) ? CUDA_SUCCESS : fe_relay_wait_event(&call, &where, event);
        return fe_leave(&call, cr);
    }
    args.event = event->object.wire;
    to = fe_post(&call, wire_size_cuStreamWaitEvent_args(&args));
    if (to == NULL)
        return fe_leave(&call, fe_lost(&call));
    wire_put_cuStreamWaitEvent_args(to, &args);
    (void)fe_stream_mark(&call, stream);
    fe_post_done(&call);
    return fe_leave(&call, CUDA_SUCCESS);
}

/* -- questions -------------------------------------------------------------------------- */

CUresult
fe_stream_local(struct fe_call *call, CUstream handle, struct fe_stream **stream_p)
{
    uint64_t wire;
    CUresult cr = fe_enter(call, WIRE_CALL_cuStreamCreateWithPriority);

    FE_COUNT_LOCAL();
    if (cr != CUDA_SUCCESS)
        return cr;
    return fe_leave(call, fe_stream_resolve_capture(call, handle, stream_p, &wire));
}

GP_EXPORT CUresult
cuStreamGetCtx(CUstream handle, CUcontext *ctx)
{
    struct fe_stream *stream = NULL;
    struct fe_call call;
    CUresult cr = fe_stream_local(&call, handle, &stream);

    if (cr == CUDA_SUCCESS && ctx == NULL)
        cr = CUDA_ERROR_INVALID_VALUE;
    if (cr == CUDA_SUCCESS)
        *ctx = (CUcontext)call.context;
    if (cr == CUDA_SUCCESS && stream->green != NULL)
        cr = cuCtxFromGreenCtx(ctx, (CUgreenCtx)stream->green);
    return cr;
}

GP_EXPORT CUresult
cuStreamGetCtx_v2(CUstream handle, CUcontext *ctx, CUgreenCtx *green)
{
    struct fe_stream *stream = NULL;
    struct fe_call call;
    CUresult cr = fe_stream_local(&call, handle, &stream);

    if (cr == CUDA_SUCCESS && ctx == NULL)
        cr = CUDA_ERROR_INVALID_VALUE;
    if (cr != CUDA_SUCCESS)
        return cr;
    *ctx = (CUcontext)call.context;
    if (green != NULL)
        *green = (CUgreenCtx)stream->green;
    return CUDA_SUCCESS;
}

GP_EXPORT CUresult
cuStreamGetGreenCtx(CUstream handle, CUgreenCtx *green)
{
    struct fe_stream *stream = NULL;
    struct fe_call call;
    CUresult cr = fe_stream_local(&call, handle, &stream);

    if (cr == CUDA_SUCCESS && green == NULL)
        cr = CUDA_ERROR_INVALID_VALUE;
    if (cr == CUDA_SUCCESS)
        *green = (CUgreenCtx)stream->green;
    return cr;
}

GP_EXPORT CUresult
cuStreamGetDevice(CUstream handle, CUdevice *dev)
{
    struct fe_stream *stream = NULL;
    struct fe_call call;
    CUresult cr = fe_stream_local(&call, handle, &stream);

    if (cr == CUDA_SUCCESS && dev == NULL)
        cr = CUDA_ERROR_INVALID_VALUE;
    if (cr == CUDA_SUCCESS)
        *dev = call.context->device;
    return cr;
}

GP_EXPORT CUresult
cuStreamGetFlags(CUstream handle, unsigned int *flags)
{
    struct fe_stream *stream = NULL;
    struct fe_call call;
    CUresult cr = fe_stream_local(&call, handle, &stream);

    if (cr == CUDA_SUCCESS && flags == NULL)
        cr = CUDA_ERROR_INVALID_VALUE;
    if (cr == CUDA_SUCCESS)
        *flags = stream->flags;
    return cr;
}

GP_EXPORT CUresult
cuStreamGetPriority(CUstream handle, int *priority)
{
    struct fe_stream *stream = NULL;
    struct fe_call call;
    CUresult cr = fe_stream_local(&call, handle, &stream);

    if (cr == CUDA_SUCCESS && priority == NULL)
        cr = CUDA_ERROR_INVALID_VALUE;
    if (cr == CUDA_SUCCESS)
        *priority = stream->priority;
    return cr;
}

GP_EXPORT CUresult
cuStreamGetId(CUstream handle, unsigned long long *id)
{
    struct fe_stream *stream = NULL;
    struct fe_call call;
    CUresult cr = fe_stream_local(&call, handle, &stream);

    if (cr == CUDA_SUCCESS && id == NULL)
        cr = CUDA_ERROR_INVALID_VALUE;
    if (cr == CUDA_SUCCESS)
        *id = stream->id;
    return cr;
}
