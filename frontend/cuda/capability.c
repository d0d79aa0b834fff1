/* frontend/cuda/capability.c -- which atomic operations a device can do on other memory */
#include "cuda_api.h"
#include "frontend/cuda/ask.h"
#include "frontend/cuda/state.h"
#include "protocol/base/util.h"

#include <string.h>

#define COUNT_MAX 256u

/* Enters the call on the server of both devices, whose numbers there go to. */
static CUresult
enter(struct fe_call *call, enum wire_call id, CUdevice a, CUdevice b, int32_t to[2])
{
    struct fe_state *state = NULL;
    const struct fe_device *da, *db;
    CUresult cr = fe_device_get(a, &state, NULL);

    if (cr == CUDA_SUCCESS)
        cr = fe_device_get(b, &state, NULL);
    if (cr != CUDA_SUCCESS)
        return cr;
    da = fe_state_device(state, a);
    db = fe_state_device(state, b);
    if (da->session != db->session)
        return fe_refuse("atomic capabilities between devices of two servers");
    to[0] = da->server_ordinal;
    to[1] = db->server_ordinal;
    return fe_enter_on(call, id, da->session);
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
    CUresult cr = enter(&call, WIRE_CALL_cuDeviceGetHostAtomicCapabilities, dev, dev, devices);

    if (cr != CUDA_SUCCESS)
        return cr;
    if (capabilities == NULL || operations == NULL || count == 0 || count > COUNT_MAX)
        return fe_leave(&call, CUDA_ERROR_INVALID_VALUE);
    args.device = devices[0];
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
    CUresult cr = enter(&call, WIRE_CALL_cuDeviceGetP2PAtomicCapabilities, src, dst, devices);

    if (cr != CUDA_SUCCESS)
        return cr;
    if (src == dst)
        return fe_leave(&call, CUDA_ERROR_INVALID_DEVICE);
    if (capabilities == NULL || operations == NULL || count == 0 || count > COUNT_MAX)
        return fe_leave(&call, CUDA_ERROR_INVALID_VALUE);
    args.src = devices[0];
    args.dst = devices[1];
    FE_ASK(cr, &call, cuDeviceGetP2PAtomicCapabilities, &args, &reply);
    if (cr == CUDA_SUCCESS && reply.capabilities_len != count)
        cr = fe_malformed(&call);
    if (cr == CUDA_SUCCESS)
        memcpy(capabilities, reply.capabilities, count * sizeof(*capabilities));
    return fe_leave(&call, cr);
}
