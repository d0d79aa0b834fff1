/* frontend/cuda/context_event.c -- events of all a context's streams, and waits of all of them
 */
#include "frontend/cuda/context_event.h"

#include "cuda_api.h"
#include "frontend/cuda/ask.h"
#include "frontend/cuda/capture.h"
#include "frontend/cuda/copy.h"
#include "frontend/cuda/green.h"
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

void
fe_gates_reset(struct fe_gates *gates)
{
    gates->gather = gates->gate = (struct fe_inside){NULL, NULL};
    atomic_store(&gates->gated, false);
    atomic_store(&gates->legacy_gated, false);
}

/* Whose streams: those of call's context, or of a green one of it. */
struct scope {
    struct fe_call *call;
    struct fe_green *green; /* NULL: all */
    struct fe_gates *gates;
    CUresult cr;
};

static bool
concerns(const struct scope *s, const struct fe_stream *stream)
{
    return stream->object.context == s->call->context && !stream->inside &&
           (s->green == NULL || stream->green == s->green) &&
           fe_object_state(stream) == FE_OBJECT_LIVE &&
           (stream->green == NULL || fe_green_stream_check(stream) == CUDA_SUCCESS);
}

/* A stream and an event of the scope's, made when first needed; under the lock. */
static CUresult
inside(const struct scope *s, struct fe_inside *in)
{
    struct fe_call *call = s->call;
    CUresult cr;

    if (in->stream != NULL)
        return CUDA_SUCCESS;
    cr = fe_event_make(call, CU_EVENT_DISABLE_TIMING, &in->event);
    if (cr == CUDA_SUCCESS)
        cr = fe_call_next(call, WIRE_CALL_cuStreamCreateWithPriority);
    if (cr == CUDA_SUCCESS)
        cr = fe_stream_make(call, CU_STREAM_NON_BLOCKING, 0, &in->stream);
    if (cr != CUDA_SUCCESS)
        return cr;
    in->stream->inside = true;
    in->stream->green = s->green; /* goes with it */
    in->stream->green_wire = s->green != NULL ? s->green->object.wire : 0;
    return CUDA_SUCCESS;
}

/* -- recording -------------------------------------------------------------------------- */

/* The gathering stream waits for what the other has so far; its event may be recorded anew at
 * once, for a wait is for the record that is there. */
static CUresult
gather_one(struct scope *s, struct fe_stream *stream, uint64_t wire)
{
    struct fe_inside *in = &s->gates->gather;
    CUresult cr = fe_event_post_record(s->call, in->event, stream, wire);

    return cr != CUDA_SUCCESS ? cr
                              : fe_stream_post_wait(s->call, in->stream, in->stream->object.wire,
                                                    in->event->object.wire);
}

static bool
gather(void *object, void *user)
{
    struct fe_stream *stream = object;
    struct scope *s = user;

    if (!concerns(s, stream) || fe_stream_clean(s->call->context, stream))
        return true;
    s->cr = gather_one(s, stream, stream->object.wire);
    return s->cr == CUDA_SUCCESS;
}

static CUresult
record(struct scope *s, struct fe_event *event)
{
    struct fe_context *ctx = s->call->context;
    struct fe_inside *in = &s->gates->gather;

    s->cr = inside(s, in);
    if (s->cr == CUDA_SUCCESS)
        fe_object_each(WIRE_HANDLE_STREAM, gather, s);
    if (s->cr == CUDA_SUCCESS && s->green == NULL &&
        !fe_work_proven(ctx, &ctx->legacy, 0, ctx->legacy.last))
        s->cr = gather_one(s, &ctx->legacy, 0);
    if (s->cr == CUDA_SUCCESS)
        s->cr = fe_event_post_record(s->call, event, in->stream, in->stream->object.wire);
    return s->cr;
}

static CUresult
record_event(struct scope *s, struct fe_event *event)
{
    CUresult cr =
        event->object.context == s->call->context ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;

    if (cr == CUDA_SUCCESS)
        cr = fe_capture_break_context(s->call->context, s->green);
    if (cr != CUDA_SUCCESS)
        return cr;
    fe_capture_event_gone(event);
    pthread_mutex_lock(&lock);
    cr = record(s, event);
    pthread_mutex_unlock(&lock);
    return cr == CUDA_SUCCESS ? fe_event_shared_there(s->call, event) : cr;
}

/* -- waiting ---------------------------------------------------------------------------- */

static bool
gate(void *object, void *user)
{
    struct fe_stream *stream = object;
    struct scope *s = user;

    if (!concerns(s, stream))
        return true;
    s->cr = fe_stream_post_wait(s->call, stream, stream->object.wire,
                                s->gates->gate.event->object.wire);
    return s->cr == CUDA_SUCCESS;
}

static CUresult
wait_for(struct scope *s, const struct fe_event *event)
{
    struct fe_inside *in = &s->gates->gate;
    uint64_t wire;

    s->cr = inside(s, in);
    if (s->cr != CUDA_SUCCESS)
        return s->cr;
    wire = in->stream->object.wire;
    s->cr = fe_stream_post_wait(s->call, in->stream, wire, event->object.wire);
    if (s->cr == CUDA_SUCCESS)
        s->cr = fe_event_post_record(s->call, in->event, in->stream, wire);
    if (s->cr != CUDA_SUCCESS)
        return s->cr;
    atomic_store(&s->gates->gated, true);
    atomic_store(&s->gates->legacy_gated, s->green == NULL);
    fe_object_each(WIRE_HANDLE_STREAM, gate, s);
    return s->cr;
}

static CUresult
wait_event(struct scope *s, struct fe_event *event)
{
    CUresult cr = fe_context_usable(event->object.context);

    if (cr == CUDA_SUCCESS && fe_captured_event(event)) {
        (void)fe_capture_event_asked(event);
        cr = CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
    }
    if (cr == CUDA_SUCCESS)
        cr = fe_capture_break_context(s->call->context, s->green);
    if (cr != CUDA_SUCCESS)
        return cr;
    pthread_mutex_lock(&lock);
    cr = wait_for(s, event);
    pthread_mutex_unlock(&lock);
    return cr;
}

/* -- entry points ----------------------------------------------------------------------- */

static CUresult
enter(struct scope *s, struct fe_context *ctx, CUevent handle, struct fe_event **event_p)
{
    *event_p = fe_object_get(WIRE_HANDLE_EVENT, handle);
    if (*event_p == NULL)
        return CUDA_ERROR_INVALID_HANDLE;
    s->gates = s->green != NULL ? &s->green->gates : &ctx->gates;
    return fe_enter_in(s->call, WIRE_CALL_cuEventRecordWithFlags, ctx);
}

/* One of the calls below: does for a context what it does for a green one. */
static CUresult
run(CUcontext context, CUgreenCtx green, CUevent event_handle,
    CUresult (*what)(struct scope *s, struct fe_event *event))
{
    struct fe_event *event = NULL;
    struct fe_context *ctx = NULL;
    struct fe_call call;
    struct scope s = {.call = &call};
    CUresult cr = CUDA_SUCCESS;

    if (fe_state_get(&cr) == NULL)
        return cr;
    if (context == NULL && green == NULL)
        return CUDA_ERROR_INVALID_CONTEXT;
    cr = green != NULL ? fe_green_get(green, &s.green) : fe_context_get(context, &ctx);
    if (cr == CUDA_SUCCESS && green == NULL && (void *)ctx != (void *)context)
        cr = fe_green_of_context(context, &s.green);
    if (cr == CUDA_SUCCESS)
        cr = enter(&s, s.green != NULL ? s.green->object.context : ctx, event_handle, &event);
    return cr == CUDA_SUCCESS ? fe_leave(&call, what(&s, event)) : cr;
}

GP_EXPORT CUresult
cuCtxRecordEvent(CUcontext ctx, CUevent event)
{
    return run(ctx, NULL, event, record_event);
}

GP_EXPORT CUresult
cuCtxWaitEvent(CUcontext ctx, CUevent event)
{
    return run(ctx, NULL, event, wait_event);
}

GP_EXPORT CUresult
cuGreenCtxRecordEvent(CUgreenCtx green, CUevent event)
{
    return run(NULL, green, event, record_event);
}

GP_EXPORT CUresult
cuGreenCtxWaitEvent(CUgreenCtx green, CUevent event)
{
    return run(NULL, green, event, wait_event);
}

CUresult
fe_green_synchronize(CUcontext handle)
{
    struct fe_green *green = NULL;
    struct fe_call call;
    struct scope s = {.call = &call};
    struct fe_where where;
    CUresult cr = fe_green_of_context(handle, &green);

    if (cr == CUDA_SUCCESS) /* its context's matter, whatever is current */
        cr = fe_enter_in(&call, WIRE_CALL_cuStreamSynchronize, green->object.context);
    if (cr != CUDA_SUCCESS)
        return cr;
    s.green = green;
    s.gates = &green->gates;
    cr = fe_capture_check_unsafe(call.context);
    if (cr == CUDA_SUCCESS) {
        pthread_mutex_lock(&lock);
        s.cr = inside(&s, &s.gates->gather);
        if (s.cr == CUDA_SUCCESS)
            fe_object_each(WIRE_HANDLE_STREAM, gather, &s);
        where.stream = s.gates->gather.stream;
        where.wire = s.cr == CUDA_SUCCESS ? where.stream->object.wire : 0;
        cr = s.cr;
        pthread_mutex_unlock(&lock);
    }
    if (cr == CUDA_SUCCESS)
        cr = fe_copy_drain(&call, &where);
    return fe_leave(&call, cr);
}

/* -- streams that come later ------------------------------------------------------------ */

/* Whether the gate still holds anybody; under the lock. */
static bool
holds(const struct fe_context *ctx, const struct fe_gates *gates)
{
    const struct fe_event *event = gates->gate.event;

    return event != NULL &&
           !fe_work_proven(ctx, event->stream, event->stream_wire, event->recorded);
}

/* Under the lock. */
static CUresult
gate_new(struct fe_call *call, struct fe_stream *stream, struct fe_gates *gates)
{
    if (!atomic_load(&gates->gated))
        return CUDA_SUCCESS;
    if (holds(call->context, gates))
        return fe_stream_post_wait(call, stream, stream->object.wire,
                                   gates->gate.event->object.wire);
    atomic_store(&gates->gated, false);
    return CUDA_SUCCESS;
}

CUresult
fe_context_gate_new(struct fe_call *call, struct fe_stream *stream)
{
    CUresult cr;

    pthread_mutex_lock(&lock);
    cr = gate_new(call, stream, &call->context->gates);
    if (cr == CUDA_SUCCESS && stream->green != NULL)
        cr = gate_new(call, stream, &stream->green->gates);
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
    if (atomic_load(&ctx->gates.legacy_gated) && holds(ctx, &ctx->gates)) {
        cr = fe_stream_post_wait(call, &ctx->legacy, 0, ctx->gates.gate.event->object.wire);
        if (cr == CUDA_SUCCESS)
            cr = fe_call_next(call, before);
    }
    if (cr == CUDA_SUCCESS)
        atomic_store(&ctx->gates.legacy_gated, false);
    pthread_mutex_unlock(&lock);
    return cr;
}
