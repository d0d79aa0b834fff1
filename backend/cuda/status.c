/* backend/cuda/status.c -- what a device is doing, for NVML and the tools on the client's side */
#include "backend/cuda/state.h"
#include "backend/driver/nvml.h"
#include "be_hooks.h"

/* The software device has no NVML beside it; a context on it costs nothing. */
static void
software_memory(const struct be_driver_table *t, CUdevice device, uint64_t *values)
{
    CUcontext context, out;
    size_t free_bytes, total;

    if (t->cuDevicePrimaryCtxRetain == NULL || t->cuMemGetInfo_v2 == NULL ||
        t->cuCtxPushCurrent_v2 == NULL || t->cuCtxPopCurrent_v2 == NULL ||
        t->cuDevicePrimaryCtxRelease_v2 == NULL ||
        t->cuDevicePrimaryCtxRetain(&context, device) != CUDA_SUCCESS)
        return;
    if (t->cuCtxPushCurrent_v2(context) == CUDA_SUCCESS) {
        if (t->cuMemGetInfo_v2(&free_bytes, &total) == CUDA_SUCCESS) {
            values[WIRE_STATUS_MEMORY_TOTAL_BYTES] = total;
            values[WIRE_STATUS_MEMORY_FREE_BYTES] = free_bytes;
        }
        (void)t->cuCtxPopCurrent_v2(&out);
    }
    (void)t->cuDevicePrimaryCtxRelease_v2(device);
}

CUresult
be_hook_gpDeviceStatus(struct be_call *call, const struct wire_gpDeviceStatus_args *args,
                       struct wire_gpDeviceStatus_reply *reply)
{
    struct be_session *session = call->session;
    uint64_t *values =
        (void *)gp_buf_reserve(be_scratch(session), WIRE_STATUS_COUNT * sizeof(*values));
    char pci_bus_id[32];
    CUdevice device;

    if (values == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    if (be_check_ordinal(session, args->device) != CUDA_SUCCESS)
        return CUDA_ERROR_INVALID_DEVICE;
    for (size_t i = 0; i < WIRE_STATUS_COUNT; i++)
        values[i] = WIRE_STATUS_UNKNOWN;
    if (call->driver->cuDeviceGet(&device, args->device) != CUDA_SUCCESS)
        return CUDA_ERROR_INVALID_DEVICE;
    if (session->driver->software)
        software_memory(call->driver, device, values);
    else if (call->driver->cuDeviceGetPCIBusId != NULL &&
             call->driver->cuDeviceGetPCIBusId(pci_bus_id, (int)sizeof(pci_bus_id), device) ==
                 CUDA_SUCCESS)
        be_nvml_status(pci_bus_id, values);
    be_ledger_clip(session->ledger, (unsigned)args->device, &values[WIRE_STATUS_MEMORY_TOTAL_BYTES],
                   &values[WIRE_STATUS_MEMORY_FREE_BYTES]);
    reply->values = values;
    reply->values_len = WIRE_STATUS_COUNT;
    return CUDA_SUCCESS;
}
