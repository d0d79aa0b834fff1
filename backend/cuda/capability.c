/* backend/cuda/capability.c -- which atomic operations a device can do on other memory */
#include "backend/cuda/state.h"
#include "be_hooks.h"

/* Room for so many answers, kept until the reply is written; NULL without memory. */
static unsigned *
answers(struct be_call *call, uint32_t count)
{
    return (unsigned *)(void *)gp_buf_reserve(be_scratch(call->session), count * sizeof(unsigned));
}

CUresult
be_hook_cuDeviceGetHostAtomicCapabilities(
    struct be_call *call, const struct wire_cuDeviceGetHostAtomicCapabilities_args *args,
    struct wire_cuDeviceGetHostAtomicCapabilities_reply *reply)
{
    unsigned *out = answers(call, args->operations_len);
    CUresult cr;

    if (call->driver->cuDeviceGetHostAtomicCapabilities == NULL)
        return CUDA_ERROR_NOT_SUPPORTED;
    cr = be_check_ordinal(call->session, args->device);
    if (cr != CUDA_SUCCESS)
        return cr;
    if (out == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    cr = call->driver->cuDeviceGetHostAtomicCapabilities(
        out, (const CUatomicOperation *)(const void *)args->operations, args->operations_len,
        args->device);
    if (cr == CUDA_SUCCESS) {
        reply->capabilities = out;
        reply->capabilities_len = args->operations_len;
    }
    return cr;
}

CUresult
be_hook_cuDeviceGetP2PAtomicCapabilities(
    struct be_call *call, const struct wire_cuDeviceGetP2PAtomicCapabilities_args *args,
    struct wire_cuDeviceGetP2PAtomicCapabilities_reply *reply)
{
    unsigned *out = answers(call, args->operations_len);
    CUresult cr;

    if (call->driver->cuDeviceGetP2PAtomicCapabilities == NULL)
        return CUDA_ERROR_NOT_SUPPORTED;
    cr = be_check_ordinal(call->session, args->src);
    if (cr == CUDA_SUCCESS)
        cr = be_check_ordinal(call->session, args->dst);
    if (cr != CUDA_SUCCESS)
        return cr;
    if (out == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    cr = call->driver->cuDeviceGetP2PAtomicCapabilities(
        out, (const CUatomicOperation *)(const void *)args->operations, args->operations_len,
        args->src, args->dst);
    if (cr == CUDA_SUCCESS) {
        reply->capabilities = out;
        reply->capabilities_len = args->operations_len;
    }
    return cr;
}
