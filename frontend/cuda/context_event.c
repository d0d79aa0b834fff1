/* frontend/cuda/context_event.c -- events of all a context's streams, and waits of all of them
 */
#include "frontend/cuda/context_event.h"

#include "cuda_api.h"
#include "frontend/cuda/ask.h"
#include "frontend/cuda/capture.h"
#include "frontend/cuda/state.h"
#include "frontend/cuda/stream.h"
#include "protocol/base/util.h"

#include <pthread.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

void
fe_context_event_lock(void)
{
    pthread_mutex_lock(&lock);
}

void
fe_context_event_unlock(void)
{
    pthread_mutex_unlock(&lock);
}

/* A stream and an event of the context's, made when first needed; under the lock. */
static CUresult
inside(struct fe_call *call, struct fe_inside *in)
{
    CUresult cr;

    if (in->stream != NULL)
        return CUDA_SUCCESS;
    cr = fe_event_make(call, CU_EVENT_DISABLE_TIMING, &in->event);
    if (cr == CUDA_SUCCESS)
        cr = fe_call_next(call, WIRE_CALL_cuStreamCreateWithPriority);
    if (cr == CUDA_SUCCESS)
        cr = fe_stream_make(call, CU_STREAM_NON_BLOCKING, 0, &in->stream);
    if (cr == CUDA_SUCCESS)
        in->stream->inside = true;
    return cr;
}

/* -- recording -------------------------------------------------------------------------- */

struct gathering {
    struct fe_call *call;
    struct fe_inside *in;
    CUresult cr;
};

/* The gathering stream waits for what the other has so far; its event may be recorded anew at
 * once, for a wait is for the record that is there. */
static CUresult
gather_one(struct gathering *g, struct fe_stream *stream, uint64_t wire)
{
    CUresult cr = fe_event_post_record(g->call, g->in->event, stream, wire);

    return cr != CUDA_SUCCESS
               ? cr
               : fe_stream_post_wait(g->call, g->in->stream, g->in->stream->object.wire,
                                     g->in->event->object.wire);
}

static bool
gather(void *object, void *user)
{
    struct fe_stream *stream = object;
    struct gathering *g = user;

    if (stream->object.context != g->call->context || stream->inside ||
        fe_object_state(stream) != FE_OBJECT_LIVE || fe_stream_clean(g->call->context, stream))
        return true;
    g->cr = gather_one(g, stream, stream->object.wire);
    return g->cr == CUDA_SUCCESS;
}

static CUresult
record(struct fe_call *call, struct fe_event *event)
{
    struct fe_context *ctx = call->context;
    struct gathering g = {call, &ctx->gather, CUDA_SUCCESS};

    g.cr = inside(call, g.in);
    if (g.cr == CUDA_SUCCESS)
        fe_object_each(WIRE_HANDLE_STREAM, gather, &g);
    if (g.cr == CUDA_SUCCESS && !fe_work_proven(ctx, &ctx->legacy, 0, ctx->legacy.last))
        g.cr = gather_one(&g, &ctx->legacy, 0);
    if (g.cr == CUDA_SUCCESS)
        g.cr = fe_event_post_record(call, event, g.in->stream, g.in->stream->object.wire);
    return g.cr;
}

/* The context, alive and not capturing, and the event. */
static CUresult
enter(struct fe_call *call, CUcontext handle, CUevent event_handle, struct fe_event **event_p)
{
    struct fe_context *ctx;
    CUresult cr = CUDA_SUCCESS;

    if (fe_state_get(&cr) == NULL)
        return cr;
    if (handle == NULL)
        return CUDA_ERROR_INVALID_CONTEXT;
    cr = fe_context_get(handle, &ctx);
    if (cr != CUDA_SUCCESS)
        return cr;
    *event_p = fe_object_get(WIRE_HANDLE_EVENT, event_handle);
    if (*event_p == NULL)
        return CUDA_ERROR_INVALID_HANDLE;
    return fe_enter_in(call, WIRE_CALL_cuEventRecordWithFlags, ctx);
}

GP_EXPORT CUresult
cuCtxRecordEvent(CUcontext handle, CUevent event_handle)
{
    struct fe_event *event = NULL;
    struct fe_call call;
    CUresult cr = enter(&call, handle, event_handle, &event);

    if (cr != CUDA_SUCCESS)
        return cr;
    if (event->object.context != call.context)
        cr = CUDA_ERROR_INVALID_HANDLE;
    if (cr == CUDA_SUCCESS)
        cr = fe_capture_break_context(call.context);
    if (cr != CUDA_SUCCESS)
        return fe_leave(&call, cr);
    fe_capture_event_gone(event);
    pthread_mutex_lock(&lock);
    cr = record(&call, event);
    pthread_mutex_unlock(&lock);
    if (cr == CUDA_SUCCESS)
        cr = fe_event_shared_there(&call, event);
    return fe_leave(&call, cr);
}

/* -- waiting ---------------------------------------------------------------------------- */

static bool
gate(void *object, void *user)
{
    struct fe_stream *stream = object;
    struct gathering *g = user;

    if (stream->object.context != g->call->context || stream->inside ||
        fe_object_state(stream) != FE_OBJECT_LIVE)
        return true;
    g->cr = fe_stream_post_wait(g->call, stream, stream->object.wire, g->in->event->object.wire);
    return g->cr == CUDA_SUCCESS;
}

static CUresult
wait_for(struct fe_call *call, const struct fe_event *event)
{
    struct fe_context *ctx = call->context;
    struct gathering g = {call, &ctx->gate, CUDA_SUCCESS};
    uint64_t wire;

    g.cr = inside(call, g.in);
    if (g.cr != CUDA_SUCCESS)
        return g.cr;
    wire = g.in->stream->object.wire;
    g.cr = fe_stream_post_wait(call, g.in->stream, wire, event->object.wire);
    if (g.cr == CUDA_SUCCESS)
        g.cr = fe_event_post_record(call, g.in->event, g.in->stream, wire);
    if (g.cr != CUDA_SUCCESS)
        return g.cr;
    atomic_store(&ctx->gated, true);
    atomic_store(&ctx->legacy_gated, true);
    fe_object_each(WIRE_HANDLE_STREAM, gate, &g);
    return g.cr;
}

GP_EXPORT CUresult
cuCtxWaitEvent(CUcontext handle, CUevent event_handle)
{
    struct fe_event *event = NULL;
    struct fe_call call;
    CUresult cr = enter(&call, handle, event_handle, &event);

    if (cr != CUDA_SUCCESS)
        return cr;
    if (fe_captured_event(event)) {
        (void)fe_capture_event_asked(event);
        cr = CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
    }
    if (cr == CUDA_SUCCESS)
        cr = fe_capture_break_context(call.context);
    if (cr != CUDA_SUCCESS)
        return fe_leave(&call, cr);
    pthread_mutex_lock(&lock);
    cr = wait_for(&call, event);
    pthread_mutex_unlock(&lock);
    return fe_leave(&call, cr);
}

/* Whether the gate still holds anybody; under the lock. */
static bool
holds(const struct fe_context *ctx)
{
    const struct fe_event *event = ctx->gate.event;

    return event != NULL &&
           !fe_work_proven(ctx, event->stream, event->stream_wire, event->recorded);
}

CUresult
fe_context_gate_new(struct fe_call *call, struct fe_stream *stream)
{
    struct fe_context *ctx = call->context;
    CUresult cr = CUDA_SUCCESS;

    pthread_mutex_lock(&lock);
    if (holds(ctx))
        cr = fe_stream_post_wait(call, stream, stream->object.wire, ctx->gate.event->object.wire);
    else
        atomic_store(&ctx->gated, false);
    pthread_mutex_unlock(&lock);
    return cr;
}

CUresult
fe_context_gate_legacy(struct fe_call *call)
{
    enum wire_call before = (enum wire_call)call->id;
    struct fe_context *ctx = call->context;
    CUresult cr = CUDA_SUCCESS;

    pthread_mutex_lock(&lock);
    if (atomic_load(&ctx->legacy_gated) && holds(ctx)) {
        cr = fe_stream_post_wait(call, &ctx->legacy, 0, ctx->gate.event->object.wire);
        if (cr == CUDA_SUCCESS)
            cr = fe_call_next(call, before);
    }
    if (cr == CUDA_SUCCESS)
        atomic_store(&ctx->legacy_gated, false);
    pthread_mutex_unlock(&lock);
    return cr;
}
