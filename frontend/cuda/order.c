/* frontend/cuda/order.c -- synchronous copies come before what is called later, in whatever stream
 */
#include "frontend/cuda/order.h"

#include "cuda_api.h"
#include "frontend/cuda/copy.h"
#include "frontend/cuda/stream.h"

#include <pthread.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static _Atomic bool shares; /* with other processes */

/* Streams that no other stream's work orders. */
static bool
loose(const struct fe_context *ctx, const struct fe_stream *stream)
{
    return stream != &ctx->legacy &&
           (stream->per_thread || (stream->flags & CU_STREAM_NON_BLOCKING));
}

/* CUDA orders the legacy stream and blocking streams, each behind the other. */
static bool
ordered(const struct fe_context *ctx, const struct fe_stream *a, const struct fe_stream *b)
{
    return a == b || (a == &ctx->legacy && !(b->flags & CU_STREAM_NON_BLOCKING)) ||
           (b == &ctx->legacy && !(a->flags & CU_STREAM_NON_BLOCKING));
}

/* The context's own event, made when first needed. */
static CUresult
event_get(struct fe_call *call, struct fe_event **event_p)
{
    struct fe_context *ctx = call->context;
    struct fe_event *event = fe_object_get(WIRE_HANDLE_EVENT, ctx->order_event);
    CUresult cr = CUDA_SUCCESS;

    if (event == NULL || event->object.wire != ctx->order_event_wire) {
        cr = fe_event_make(call, CU_EVENT_DISABLE_TIMING, &event);
        if (cr != CUDA_SUCCESS)
            return cr;
        ctx->order_event = event;
        ctx->order_event_wire = event->object.wire;
    }
    *event_p = event;
    return CUDA_SUCCESS;
}

/* Under the lock: the event behind the last synchronous copy. */
static CUresult
record(struct fe_call *call)
{
    struct fe_context *ctx = call->context;
    struct fe_event *event = NULL;
    CUresult cr = event_get(call, &event);

    if (cr == CUDA_SUCCESS)
        cr = fe_event_post_record(call, event, ctx->copied_in, ctx->copied_wire);
    if (cr == CUDA_SUCCESS)
        ctx->copied_recorded = ctx->copied;
    return cr;
}

static CUresult
wait_for(struct fe_call *call, struct fe_stream *stream, uint64_t stream_wire)
{
    struct fe_event *event = NULL;
    CUresult cr = event_get(call, &event);

    return cr == CUDA_SUCCESS ? fe_stream_post_wait(call, stream, stream_wire, event->object.wire)
                              : cr;
}

CUresult
fe_order_copied(struct fe_call *call, struct fe_stream *stream, uint64_t stream_wire)
{
    struct fe_context *ctx = call->context;
    unsigned others = ctx->loose_streams - loose(ctx, stream);
    CUresult cr = CUDA_SUCCESS;
    uint64_t n;

    if (atomic_load_explicit(&shares, memory_order_relaxed))
        return fe_copy_drain(call, &(struct fe_where){stream, stream_wire});
    pthread_mutex_lock(&lock);
    n = atomic_load_explicit(&stream->last, memory_order_acquire);
    ctx->copied_in = stream;
    ctx->copied_wire = stream_wire;
    atomic_store_explicit(&stream->passed, n, memory_order_relaxed);
    atomic_store_explicit(&ctx->copied, n, memory_order_release);
    if (others > 0)
        cr = record(call);
    pthread_mutex_unlock(&lock);
    return cr;
}

CUresult
fe_order_share(struct fe_call *call)
{
    atomic_store(&shares, true);
    return fe_order_settle(call);
}

CUresult
fe_order_settle(struct fe_call *call)
{
    struct fe_context *ctx = call->context;
    CUevent behind = NULL;
    CUresult cr = CUDA_SUCCESS;

    if (ctx == NULL || ctx->copied == 0)
        return CUDA_SUCCESS;
    pthread_mutex_lock(&lock);
    if (!fe_work_proven(ctx, ctx->copied_in, ctx->copied_wire, ctx->copied)) {
        if (ctx->copied_recorded < ctx->copied)
            cr = record(call);
        behind = (CUevent)ctx->order_event;
    }
    pthread_mutex_unlock(&lock);
    return cr == CUDA_SUCCESS && behind != NULL ? cuEventSynchronize(behind) : cr;
}

CUresult
fe_order_wait(struct fe_call *call, struct fe_stream *stream, uint64_t stream_wire)
{
    enum wire_call before = (enum wire_call)call->id;
    struct fe_context *ctx = call->context;
    CUresult cr = CUDA_SUCCESS;
    uint64_t n;

    pthread_mutex_lock(&lock);
    n = ctx->copied;
    if (!ordered(ctx, stream, ctx->copied_in) &&
        !fe_work_proven(ctx, ctx->copied_in, ctx->copied_wire, n)) {
        if (ctx->copied_recorded < n)
            cr = record(call);
        if (cr == CUDA_SUCCESS)
            cr = wait_for(call, stream, stream_wire);
        if (cr == CUDA_SUCCESS)
            cr = fe_call_next(call, before);
    }
    if (cr == CUDA_SUCCESS)
        atomic_store_explicit(&stream->passed, n, memory_order_relaxed);
    pthread_mutex_unlock(&lock);
    return cr;
}

void
fe_order_ends(struct fe_stream *stream)
{
    struct fe_context *ctx = stream->object.context;
    struct fe_call call;

    if (fe_enter_in(&call, WIRE_CALL_cuEventRecordWithFlags, ctx) != CUDA_SUCCESS)
        return; /* the context is gone, and with it what could wait */
    pthread_mutex_lock(&lock);
    if (ctx->copied_in == stream && ctx->copied_wire == stream->object.wire &&
        ctx->copied_recorded < ctx->copied &&
        !fe_work_proven(ctx, stream, stream->object.wire, ctx->copied))
        (void)record(&call);
    if (loose(ctx, stream))
        ctx->loose_streams--;
    pthread_mutex_unlock(&lock);
    (void)fe_leave(&call, CUDA_SUCCESS);
}
