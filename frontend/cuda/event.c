/* frontend/cuda/event.c -- events: recorded without waiting; what is known to be complete is not
 * asked again */
#include "cuda_api.h"
#include "frontend/core/perf.h"
#include "frontend/core/stats.h"
#include "frontend/cuda/pool.h"
#include "frontend/cuda/capture.h"
#include "frontend/cuda/graph.h"
#include "frontend/cuda/state.h"
#include "frontend/cuda/stream.h"
#include "protocol/base/util.h"

CUresult
fe_event_make(struct fe_call *call, unsigned flags, struct fe_event **event_p)
{
    struct wire_cuEventCreate_args args = {.Flags = flags};
    CUresult cr = fe_call_next(call, WIRE_CALL_cuEventCreate);
    struct fe_event *event;
    void *to;

    if (cr != CUDA_SUCCESS)
        return cr;
    event = fe_object_create(WIRE_HANDLE_EVENT, call->context);
    if (event == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    event->flags = flags;
    args.phEvent = event->object.wire;
    to = fe_post(call, wire_size_cuEventCreate_args(&args));
    if (to == NULL) {
        fe_object_destroy(event);
        return fe_lost(call);
    }
    wire_put_cuEventCreate_args(to, &args);
    fe_post_done(call);
    *event_p = event;
    return CUDA_SUCCESS;
}

GP_EXPORT CUresult
cuEventCreate(CUevent *handle, unsigned int flags)
{
    const unsigned known = CU_EVENT_BLOCKING_SYNC | CU_EVENT_DISABLE_TIMING | CU_EVENT_INTERPROCESS;
    struct fe_event *event;
    struct fe_call call;
    CUresult cr;

    cr = fe_enter(&call, WIRE_CALL_cuEventCreate);
    if (cr != CUDA_SUCCESS)
        return cr;
    if (handle == NULL || (flags & ~known) != 0 ||
        ((flags & CU_EVENT_INTERPROCESS) && !(flags & CU_EVENT_DISABLE_TIMING)))
        return fe_leave(&call, CUDA_ERROR_INVALID_VALUE);
    cr = fe_event_make(&call, flags, &event);
    if (cr == CUDA_SUCCESS)
        *handle = (CUevent)event;
    return fe_leave(&call, cr);
}

GP_EXPORT CUresult
cuEventDestroy_v2(CUevent handle)
{
    struct wire_cuEventDestroy_v2_args args;
    const struct fe_context *ctx;
    struct fe_event *event;
    struct fe_call call;
    CUresult cr = CUDA_SUCCESS;
    void *to;

    if (!fe_session_any(&cr))
        return cr;
    event = fe_object_get(WIRE_HANDLE_EVENT, handle);
    if (event == NULL)
        return CUDA_ERROR_INVALID_HANDLE;
    cr = fe_enter_on(&call, WIRE_CALL_cuEventDestroy_v2, event->object.context->head.session);
    if (cr != CUDA_SUCCESS)
        return cr;
    fe_capture_event_gone(event);
    args.event = event->object.wire;
    to = fe_post(&call, wire_size_cuEventDestroy_v2_args(&args));
    if (to == NULL)
        return fe_leave(&call, fe_lost(&call));
    wire_put_cuEventDestroy_v2_args(to, &args);
    ctx = event->object.context;
    fe_object_destroy(event);
    fe_post_done(&call);
    /* It is gone; what happened to its context is said all the same. */
    return fe_leave(&call, (CUresult)atomic_load_explicit(&ctx->head.sticky, memory_order_relaxed));
}

GP_EXPORT CUresult
cuEventDestroy(CUevent handle)
{
    return cuEventDestroy_v2(handle);
}

CUresult
fe_event_shared_there(struct fe_call *call, const struct fe_event *event)
{
    const uint8_t *bytes;
    size_t len;
    CUresult cr;

    if ((event->flags & CU_EVENT_INTERPROCESS) == 0)
        return CUDA_SUCCESS;
    cr = fe_call_next(call, WIRE_CALL_gpBarrier);
    if (cr != CUDA_SUCCESS)
        return cr;
    if (fe_post(call, 0) == NULL)
        return fe_lost(call);
    fe_post_done(call);
    return fe_wait(call, &bytes, &len);
}

CUresult
fe_event_post_record(struct fe_call *call, struct fe_event *event, struct fe_stream *stream,
                     uint64_t stream_wire)
{
    const struct wire_cuEventRecordWithFlags_args args = {.event = event->object.wire,
                                                          .stream = stream_wire};
    CUresult cr = fe_call_next(call, WIRE_CALL_cuEventRecordWithFlags);
    void *to;

    if (cr != CUDA_SUCCESS)
        return cr;
    to = fe_post(call, wire_size_cuEventRecordWithFlags_args(&args));
    if (to == NULL)
        return fe_lost(call);
    wire_put_cuEventRecordWithFlags_args(to, &args);
    event->context = call->context;
    event->stream = stream;
    event->stream_wire = stream_wire;
    event->recorded = fe_stream_mark(call, stream);
    fe_post_done(call);
    return CUDA_SUCCESS;
}

GP_EXPORT CUresult
cuEventRecordWithFlags(CUevent handle, CUstream stream_handle, unsigned int flags)
{
    struct fe_stream *stream = NULL;
    struct fe_event *event;
    struct fe_call call;
    uint64_t wire;
    CUresult cr;

    cr = fe_enter(&call, WIRE_CALL_cuEventRecordWithFlags);
    if (cr != CUDA_SUCCESS)
        return cr;
    event = fe_object_get(WIRE_HANDLE_EVENT, handle);
    if (event == NULL)
        return fe_leave(&call, CUDA_ERROR_INVALID_HANDLE);
    if ((flags & ~(unsigned)CU_EVENT_RECORD_EXTERNAL) != 0)
        return fe_leave(&call, CUDA_ERROR_INVALID_VALUE);
    cr = fe_stream_resolve_capture(&call, stream_handle, &stream, &wire);
    if (cr == CUDA_SUCCESS && call.context != event->object.context)
        cr = CUDA_ERROR_INVALID_HANDLE; /* event and stream must be of one context */
    if (cr != CUDA_SUCCESS)
        return fe_leave(&call, cr);
    if (fe_capturing(stream))
        return fe_leave(&call, fe_capture_record(stream, event, flags != 0));
    if (flags != 0)
        return fe_leave(&call, CUDA_ERROR_ILLEGAL_STATE); /* external is for captures */
    fe_capture_event_gone(event);
    cr = fe_event_post_record(&call, event, stream, wire);
    if (cr == CUDA_SUCCESS)
        cr = fe_event_shared_there(&call, event);
    return fe_leave(&call, cr);
}

GP_EXPORT CUresult
cuEventRecord(CUevent handle, CUstream stream)
{
    return cuEventRecordWithFlags(handle, stream, 0);
}

/* Complete, as far as this side knows; an event that was never recorded is. */
static bool
known_complete(const struct fe_event *event)
{
    uint64_t n = event->recorded;

    if ((event->flags & CU_EVENT_INTERPROCESS) != 0) /* others may have recorded it */
        return false;
    if (n == 0)
        return true;
    return fe_perf(FE_PERF_CACHE) &&
           (event->proven >= n ||
            fe_work_proven(event->context, event->stream, event->stream_wire, n));
}

bool
fe_event_done(const struct fe_event *event)
{
    return known_complete(event);
}

/* cuEventSynchronize and cuEventQuery differ only in the call. */
static CUresult
ask(enum wire_call id, CUevent handle)
{
    struct wire_cuEventSynchronize_args args;
    struct fe_event *event;
    struct fe_call call;
    const uint8_t *bytes;
    struct fe_stream *stream = NULL;
    uint64_t n, wire;
    size_t len;
    CUresult cr = CUDA_SUCCESS;
    void *to;

    if (fe_state_get(&cr) == NULL)
        return cr;
    event = fe_object_get(WIRE_HANDLE_EVENT, handle);
    if (event == NULL)
        return CUDA_ERROR_INVALID_HANDLE;
    if (fe_captured_event(event))
        return fe_capture_event_asked(event);
    cr = fe_enter_in(&call, id, event->object.context);
    if (cr != CUDA_SUCCESS)
        return cr;
    if (known_complete(event))
        return fe_leave(&call, CUDA_SUCCESS);
    args.event = event->object.wire;
    to = fe_post(&call, wire_size_cuEventSynchronize_args(&args));
    if (to == NULL)
        return fe_leave(&call, fe_lost(&call));
    wire_put_cuEventSynchronize_args(to, &args);
    n = event->recorded;
    stream = event->stream;
    wire = event->stream_wire;
    fe_post_done(&call);
    cr = fe_wait(&call, &bytes, &len);
    if (cr == CUDA_SUCCESS) {
        fe_prove(&event->proven, n);
        if (stream != NULL &&
            stream->object.wire == wire) /* and with it what the stream did before */
            fe_prove(&stream->proven, n);
        fe_pools_settle(&call);
    }
    return fe_leave(&call, cr);
}

GP_EXPORT CUresult
cuEventQuery(CUevent handle)
{
    CUresult cr = ask(WIRE_CALL_cuEventQuery, handle);

    fe_users_settle();
    return cr;
}

GP_EXPORT CUresult
cuEventSynchronize(CUevent handle)
{
    CUresult cr = ask(WIRE_CALL_cuEventSynchronize, handle);

    fe_users_settle();
    return cr;
}

GP_EXPORT CUresult
cuEventElapsedTime_v2(float *milliseconds, CUevent start_handle, CUevent end_handle)
{
    struct wire_cuEventElapsedTime_v2_args args;
    struct wire_cuEventElapsedTime_v2_reply reply;
    struct fe_event *start, *end;
    const uint8_t *bytes;
    struct fe_call call;
    size_t len;
    CUresult cr = CUDA_SUCCESS;
    void *to;

    if (fe_state_get(&cr) == NULL)
        return cr;
    if (milliseconds == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    start = fe_object_get(WIRE_HANDLE_EVENT, start_handle);
    end = fe_object_get(WIRE_HANDLE_EVENT, end_handle);
    if (start == NULL || end == NULL || ((start->flags | end->flags) & CU_EVENT_DISABLE_TIMING) ||
        start->recorded == 0 || end->recorded == 0 ||
        start->object.context->head.session != end->object.context->head.session)
        return CUDA_ERROR_INVALID_HANDLE;
    cr = fe_enter_in(&call, WIRE_CALL_cuEventElapsedTime_v2, start->object.context);
    if (cr != CUDA_SUCCESS)
        return cr;
    args.start = start->object.wire;
    args.end = end->object.wire;
    to = fe_post(&call, wire_size_cuEventElapsedTime_v2_args(&args));
    if (to == NULL)
        return fe_leave(&call, fe_lost(&call));
    wire_put_cuEventElapsedTime_v2_args(to, &args);
    fe_post_done(&call);
    cr = fe_wait(&call, &bytes, &len);
    if (cr == CUDA_SUCCESS && !wire_get_cuEventElapsedTime_v2_reply(bytes, len, &reply))
        cr = fe_malformed(&call);
    if (cr == CUDA_SUCCESS)
        *milliseconds = reply.milliseconds;
    return fe_leave(&call, cr);
}

GP_EXPORT CUresult
cuEventElapsedTime(float *milliseconds, CUevent start, CUevent end)
{
    return cuEventElapsedTime_v2(milliseconds, start, end);
}
