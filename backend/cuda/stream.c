/* backend/cuda/stream.c -- streams: ordering and synchronisation */
#include "backend/cuda/jobs.h"
#include "backend/cuda/pace.h"
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
    be_pace_forget_stream(call->session, stream);
    return be_ended(call->driver->cuStreamDestroy_v2(stream));
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

/* Those of streams that name nothing of this process; a newer driver's might. */
static bool
attribute_known(uint32_t attr)
{
    switch (attr) {
    case CU_LAUNCH_ATTRIBUTE_ACCESS_POLICY_WINDOW: /* an address to cache, never followed */
    case CU_LAUNCH_ATTRIBUTE_SYNCHRONIZATION_POLICY:
    case CU_LAUNCH_ATTRIBUTE_PRIORITY:
    case CU_LAUNCH_ATTRIBUTE_MEM_SYNC_DOMAIN_MAP:
    case CU_LAUNCH_ATTRIBUTE_MEM_SYNC_DOMAIN:
    case CU_LAUNCH_ATTRIBUTE_NVLINK_UTIL_CENTRIC_SCHEDULING:
        return true;
    default:
        return false;
    }
}

CUresult
be_hook_cuStreamGetAttribute(struct be_call *call,
                             const struct wire_cuStreamGetAttribute_args *args,
                             struct wire_cuStreamGetAttribute_reply *reply)
{
    CUstream stream;
    CUresult cr;

    if (!attribute_known(args->attr))
        return CUDA_ERROR_INVALID_VALUE;
    if (call->driver->cuStreamGetAttribute == NULL)
        return CUDA_ERROR_NOT_SUPPORTED;
    cr = be_handle_get(call->session, WIRE_HANDLE_STREAM, args->stream, true, &stream);
    if (cr == CUDA_SUCCESS)
        cr = call->driver->cuStreamGetAttribute(stream, (CUstreamAttrID)args->attr, &reply->value);
    return cr;
}

CUresult
be_hook_cuStreamSetAttribute(struct be_call *call,
                             const struct wire_cuStreamSetAttribute_args *args,
                             struct wire_cuStreamSetAttribute_reply *reply)
{
    CUstream stream;
    CUresult cr;

    (void)reply;
    if (!attribute_known(args->attr))
        return CUDA_ERROR_INVALID_VALUE;
    if (call->driver->cuStreamSetAttribute == NULL)
        return CUDA_ERROR_NOT_SUPPORTED;
    cr = be_handle_get(call->session, WIRE_HANDLE_STREAM, args->stream, true, &stream);
    if (cr == CUDA_SUCCESS)
        cr = call->driver->cuStreamSetAttribute(stream, (CUstreamAttrID)args->attr, &args->value);
    return cr;
}

CUresult
be_hook_cuStreamCopyAttributes(struct be_call *call,
                               const struct wire_cuStreamCopyAttributes_args *args,
                               struct wire_cuStreamCopyAttributes_reply *reply)
{
    CUstream dst, src;
    CUresult cr;

    (void)reply;
    if (call->driver->cuStreamCopyAttributes == NULL)
        return CUDA_ERROR_NOT_SUPPORTED;
    cr = be_handle_get(call->session, WIRE_HANDLE_STREAM, args->dst, true, &dst);
    if (cr == CUDA_SUCCESS)
        cr = be_handle_get(call->session, WIRE_HANDLE_STREAM, args->src, true, &src);
    if (cr == CUDA_SUCCESS)
        cr = call->driver->cuStreamCopyAttributes(dst, src);
    return cr;
}
