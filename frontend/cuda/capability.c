/* frontend/cuda/capability.c -- which atomic operations a device can do on other memory */
#include "cuda_api.h"
#include "frontend/cuda/ask.h"
#include "frontend/cuda/state.h"
#include "protocol/base/util.h"

#include <string.h>

#define COUNT_MAX 256u

/* The server's numbers of two devices, both of which must be the call's server's. */
static CUresult
ordinals(const struct fe_call *call, CUdevice a, CUdevice b, int32_t to[2])
{
    const struct fe_state *state = fe_state_of(call);
    const struct fe_device *da = fe_state_device(state, a), *db = fe_state_device(state, b);

    if (da == NULL || db == NULL)
        return CUDA_ERROR_INVALID_DEVICE;
    if (da->session != call->session || db->session != call->session)
        return fe_refuse("atomic capabilities of a device of another server than the current "
                         "context's");
    to[0] = da->server_ordinal;
    to[1] = db->server_ordinal;
    return CUDA_SUCCESS;
}

GP_EXPORT CUresult
cuDeviceGetHostAtomicCapabilities(unsigned int *capabilities, const CUatomicOperation *operations,
                                  unsigned int count, CUdevice dev)
{
    struct wire_cuDeviceGetHostAtomicCapabilities_args args = {
        .operations = (const uint32_t *)operations, .operations_len = count};
    struct wire_cuDeviceGetHostAtomicCapabilities_reply reply;
    struct fe_call call;
    int32_t devices[2] = {0, 0};
    CUresult cr = fe_enter(&call, WIRE_CALL_cuDeviceGetHostAtomicCapabilities);

    if (cr != CUDA_SUCCESS)
        return cr;
    if (capabilities == NULL || operations == NULL || count == 0 || count > COUNT_MAX)
        return fe_leave(&call, CUDA_ERROR_INVALID_VALUE);
    cr = ordinals(&call, dev, dev, devices);
    args.device = devices[0];
    if (cr == CUDA_SUCCESS)
        FE_ASK(cr, &call, cuDeviceGetHostAtomicCapabilities, &args, &reply);
    if (cr == CUDA_SUCCESS && reply.capabilities_len != count)
        cr = fe_malformed(&call);
    if (cr == CUDA_SUCCESS)
        memcpy(capabilities, reply.capabilities, count * sizeof(*capabilities));
    return fe_leave(&call, cr);
}

GP_EXPORT CUresult
cuDeviceGetP2PAtomicCapabilities(unsigned int *capabilities, const CUatomicOperation *operations,
                                 unsigned int count, CUdevice src, CUdevice dst)
{
    struct wire_cuDeviceGetP2PAtomicCapabilities_args args = {
        .operations = (const uint32_t *)operations, .operations_len = count};
    struct wire_cuDeviceGetP2PAtomicCapabilities_reply reply;
    struct fe_call call;
    int32_t devices[2] = {0, 0};
    CUresult cr = fe_enter(&call, WIRE_CALL_cuDeviceGetP2PAtomicCapabilities);

    if (cr != CUDA_SUCCESS)
        return cr;
    if (capabilities == NULL || operations == NULL || count == 0 || count > COUNT_MAX)
        return fe_leave(&call, CUDA_ERROR_INVALID_VALUE);
    cr = ordinals(&call, src, dst, devices);
    args.src = devices[0];
    args.dst = devices[1];
    if (cr == CUDA_SUCCESS)
        FE_ASK(cr, &call, cuDeviceGetP2PAtomicCapabilities, &args, &reply);
    if (cr == CUDA_SUCCESS && reply.capabilities_len != count)
        cr = fe_malformed(&call);
    if (cr == CUDA_SUCCESS)
        memcpy(capabilities, reply.capabilities, count * sizeof(*capabilities));
    return fe_leave(&call, cr);
}
