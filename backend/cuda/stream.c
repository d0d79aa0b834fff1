/* backend/cuda/stream.c -- streams: ordering and synchronisation */
#include "backend/cuda/jobs.h"
#include "be_hooks.h"

CUresult
be_hook_cuStreamDestroy_v2(struct be_call *call, const struct wire_cuStreamDestroy_v2_args *args)
{
    CUstream stream;
    CUresult cr;

    cr = be_handle_take(call->session, WIRE_HANDLE_STREAM, args->stream, &stream);
    if (cr != CUDA_SUCCESS)
        return cr;
    be_parked_forget_lane(call->session, stream);
    be_jobs_forget_stream(call->session, stream);
    return call->driver->cuStreamDestroy_v2(stream);
}

CUresult
be_hook_cuStreamQuery(struct be_call *call, const struct wire_cuStreamQuery_args *args,
                      struct wire_cuStreamQuery_reply *reply)
{
    CUstream stream;
    CUresult cr;

    (void)reply;
    cr = be_handle_get(call->session, WIRE_HANDLE_STREAM, args->stream, true, &stream);
    if (cr != CUDA_SUCCESS)
        return cr;
    cr = call->driver->cuStreamQuery(stream);
    if (cr != CUDA_ERROR_NOT_READY)
        be_prove(call->session, UINT64_MAX);
    return cr;
}

CUresult
be_hook_cuStreamSynchronize(struct be_call *call, const struct wire_cuStreamSynchronize_args *args,
                            struct wire_cuStreamSynchronize_reply *reply)
{
    CUstream stream;
    CUevent event;
    CUresult cr;

    (void)reply;
    cr = be_handle_get(call->session, WIRE_HANDLE_STREAM, args->stream, true, &stream);
    if (cr != CUDA_SUCCESS)
        return cr;
    if (call->driver->cuStreamQuery(stream) == CUDA_SUCCESS) {
        /* Does not wait, and makes the driver flush what the device printed. */
        cr = call->driver->cuStreamSynchronize(stream);
        be_prove(call->session, UINT64_MAX);
        return cr;
    }
    cr = be_context_mark(call->context, stream, &event);
    if (cr != CUDA_SUCCESS)
        return cr;
    return be_park_event(call, event, be_lane_key(call->context, stream));
}

CUresult
be_hook_cuStreamWaitEvent(struct be_call *call, const struct wire_cuStreamWaitEvent_args *args)
{
    CUstream stream;
    CUevent event;
    CUresult cr;

    cr = be_handle_get(call->session, WIRE_HANDLE_STREAM, args->stream, true, &stream);
    if (cr == CUDA_SUCCESS)
        cr = be_handle_get(call->session, WIRE_HANDLE_EVENT, args->event, false, &event);
    if (cr == CUDA_SUCCESS)
        cr = call->driver->cuStreamWaitEvent(stream, event, args->flags);
    return cr;
}
