/* backend/cuda/vmm.c -- virtual memory management by the program itself */
#include "backend/cuda/ipc.h"
#include "backend/cuda/state.h"
#include "backend/cuda/stay.h"
#include "backend/memory/multicast.h"
#include "backend/memory/phys.h"
#include "be_hooks.h"

CUresult
be_hook_cuMemCreate(struct be_call *call, const struct wire_cuMemCreate_args *args)
{
    struct be_session *session = call->session;
    const struct be_phys_wish wish = {
        .bytes = args->bytes,
        .device = args->device,
        .handle_types = args->handle_types,
        .compression = args->compression,
        .rdma = args->rdma,
        .usage = args->usage,
    };
    struct be_phys *phys = NULL;
    CUresult cr = be_check_ordinal(session, args->device);

    if (cr == CUDA_SUCCESS)
        cr = be_phys_create(session->space, &wish, &phys);
    if (cr != CUDA_SUCCESS)
        return cr;
    be_stay_grown(session);
    /* It belongs to no context. */
    if (be_handles_add(&session->handles, WIRE_HANDLE_ALLOCATION, args->handle, phys, 0) == GP_OK)
        return CUDA_SUCCESS;
    be_phys_put(session->space, phys);
    return CUDA_ERROR_INVALID_HANDLE;
}

CUresult
be_hook_cuMemRelease(struct be_call *call, const struct wire_cuMemRelease_args *args)
{
    struct be_phys *phys = NULL;
    CUresult cr = be_handle_take(call->session, WIRE_HANDLE_ALLOCATION, args->handle, &phys);

    if (cr == CUDA_SUCCESS) {
        be_ipc_object_gone(call->session, phys);
        be_phys_put(call->session->space, phys);
    }
    return cr;
}

CUresult
be_hook_cuMemMap(struct be_call *call, const struct wire_cuMemMap_args *args)
{
    struct be_phys *phys = NULL;
    CUresult cr = be_handle_get(call->session, WIRE_HANDLE_ALLOCATION, args->handle, false, &phys);

    if (cr != CUDA_SUCCESS)
        return cr;
    return be_phys_map(call->session->space, phys, args->address, args->bytes, args->offset);
}

CUresult
be_hook_cuMemUnmap(struct be_call *call, const struct wire_cuMemUnmap_args *args)
{
    return be_phys_unmap(call->session->space, args->address, args->bytes);
}

CUresult
be_hook_cuMemSetAccess(struct be_call *call, const struct wire_cuMemSetAccess_args *args)
{
    const struct be_access access = {
        .named = args->named, .readable = args->readable, .writable = args->writable};

    return be_phys_access(call->session->space, args->address, args->bytes, &access);
}

/* -- multicast objects ------------------------------------------------------------------------- */

CUresult
be_hook_cuMulticastGetGranularity(struct be_call *call,
                                  const struct wire_cuMulticastGetGranularity_args *args,
                                  struct wire_cuMulticastGetGranularity_reply *reply)
{
    return be_multicast_granularity(call->session->space, args->devices, args->bytes, args->option,
                                    &reply->granularity);
}

CUresult
be_hook_cuMulticastCreate(struct be_call *call, const struct wire_cuMulticastCreate_args *args,
                          struct wire_cuMulticastCreate_reply *reply)
{
    struct be_session *session = call->session;
    struct be_phys *object = NULL;
    CUresult cr = be_multicast_create(session->space, args->devices, args->bytes, &object);

    (void)reply;
    if (cr != CUDA_SUCCESS)
        return cr;
    if (be_handles_add(&session->handles, WIRE_HANDLE_ALLOCATION, args->handle, object, 0) == GP_OK)
        return CUDA_SUCCESS;
    be_phys_put(session->space, object);
    return CUDA_ERROR_INVALID_HANDLE;
}

static CUresult
object_of(struct be_call *call, uint64_t id, struct be_phys **object_p)
{
    return be_handle_get(call->session, WIRE_HANDLE_ALLOCATION, id, false, object_p);
}

CUresult
be_hook_cuMulticastAddDevice(struct be_call *call,
                             const struct wire_cuMulticastAddDevice_args *args,
                             struct wire_cuMulticastAddDevice_reply *reply)
{
    struct be_phys *object = NULL;
    CUresult cr = be_check_ordinal(call->session, args->device);

    (void)reply;
    if (cr == CUDA_SUCCESS)
        cr = object_of(call, args->handle, &object);
    return cr == CUDA_SUCCESS ? be_multicast_add(call->session->space, object, args->device) : cr;
}

CUresult
be_hook_cuMulticastBindMem(struct be_call *call, const struct wire_cuMulticastBindMem_args *args,
                           struct wire_cuMulticastBindMem_reply *reply)
{
    const struct be_place place = {args->offset, args->memory_offset, args->bytes};
    struct be_phys *object = NULL, *memory = NULL;
    CUresult cr = object_of(call, args->handle, &object);

    (void)reply;
    if (cr == CUDA_SUCCESS)
        cr = object_of(call, args->memory, &memory);
    return cr == CUDA_SUCCESS ? be_multicast_bind(call->session->space, object, memory, &place)
                              : cr;
}

CUresult
be_hook_cuMulticastUnbind(struct be_call *call, const struct wire_cuMulticastUnbind_args *args,
                          struct wire_cuMulticastUnbind_reply *reply)
{
    struct be_phys *object = NULL;
    CUresult cr = be_check_ordinal(call->session, args->device);

    (void)reply;
    if (cr == CUDA_SUCCESS)
        cr = object_of(call, args->handle, &object);
    return cr == CUDA_SUCCESS ? be_multicast_unbind(call->session->space, object, args->device,
                                                    args->offset, args->bytes)
                              : cr;
}
