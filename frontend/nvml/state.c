/* frontend/nvml/state.c -- what a device does now: asked of the server */
#include "frontend/nvml/nvml_api.h"

#include "frontend/nvml/pool.h"
#include "protocol/base/util.h"

#include <stddef.h>
#include <string.h>

/* One number of the server's; NOT_SUPPORTED where it cannot know. */
static nvmlReturn_t
ask(nvmlDevice_t device, enum wire_device_status which, uint64_t *value_p)
{
    uint64_t values[WIRE_STATUS_COUNT];
    nvmlReturn_t nr = nv_pool_status(device, values);

    if (nr == NVML_SUCCESS && values[which] == WIRE_STATUS_UNKNOWN)
        nr = NVML_ERROR_NOT_SUPPORTED;
    if (nr == NVML_SUCCESS)
        *value_p = values[which];
    return nr;
}

static nvmlReturn_t
ask_number(nvmlDevice_t device, enum wire_device_status which, unsigned *out)
{
    uint64_t value;
    nvmlReturn_t nr = out != NULL ? ask(device, which, &value) : NVML_ERROR_INVALID_ARGUMENT;

    if (nr == NVML_SUCCESS)
        *out = (unsigned)value;
    return nr;
}

/* --- memory -------------------------------------------------------------------------- */

static nvmlReturn_t
memory(nvmlDevice_t device, nvmlMemory_v2_t *m)
{
    uint64_t values[WIRE_STATUS_COUNT], total, free_bytes;
    nvmlReturn_t nr = nv_pool_status(device, values);

    if (nr != NVML_SUCCESS)
        return nr;
    total = values[WIRE_STATUS_MEMORY_TOTAL_BYTES];
    free_bytes = values[WIRE_STATUS_MEMORY_FREE_BYTES];
    if (total == WIRE_STATUS_UNKNOWN || free_bytes == WIRE_STATUS_UNKNOWN || free_bytes > total)
        return NVML_ERROR_NOT_SUPPORTED;
    m->total = total;
    m->free = free_bytes;
    m->used = total - free_bytes;
    m->reserved = values[WIRE_STATUS_MEMORY_RESERVED_BYTES] != WIRE_STATUS_UNKNOWN
                      ? values[WIRE_STATUS_MEMORY_RESERVED_BYTES]
                      : 0;
    return NVML_SUCCESS;
}

GP_EXPORT nvmlReturn_t
nvmlDeviceGetMemoryInfo(nvmlDevice_t device, nvmlMemory_t *out)
{
    nvmlMemory_v2_t m;
    nvmlReturn_t nr = out != NULL ? memory(device, &m) : NVML_ERROR_INVALID_ARGUMENT;

    if (nr == NVML_SUCCESS)
        *out = (nvmlMemory_t){m.total, m.free, m.used};
    return nr;
}

GP_EXPORT nvmlReturn_t
nvmlDeviceGetMemoryInfo_v2(nvmlDevice_t device, nvmlMemory_v2_t *out)
{
    if (out == NULL)
        return NVML_ERROR_INVALID_ARGUMENT;
    if (out->version != NVML_STRUCT_VERSION(nvmlMemory_v2_t, 2))
        return NVML_ERROR_ARGUMENT_VERSION_MISMATCH;
    return memory(device, out);
}

/* A window into the card's memory that nobody maps from here. */
GP_EXPORT nvmlReturn_t
nvmlDeviceGetBAR1MemoryInfo(nvmlDevice_t device, nvmlBAR1Memory_t *out)
{
    nvmlReturn_t nr = nv_pool_check(device);

    (void)out;
    return nr == NVML_SUCCESS ? NVML_ERROR_NOT_SUPPORTED : nr;
}

/* --- load, heat, power ----------------------------------------------------------------- */

GP_EXPORT nvmlReturn_t
nvmlDeviceGetUtilizationRates(nvmlDevice_t device, nvmlUtilization_t *out)
{
    uint64_t gpu, mem;
    nvmlReturn_t nr =
        out != NULL ? ask(device, WIRE_STATUS_BUSY_PERCENT, &gpu) : NVML_ERROR_INVALID_ARGUMENT;

    if (nr == NVML_SUCCESS)
        nr = ask(device, WIRE_STATUS_MEMORY_BUSY_PERCENT, &mem);
    if (nr == NVML_SUCCESS)
        *out = (nvmlUtilization_t){(unsigned)gpu, (unsigned)mem};
    return nr;
}

GP_EXPORT nvmlReturn_t
nvmlDeviceGetTemperature(nvmlDevice_t device, unsigned int sensor, unsigned int *out)
{
    if (sensor != 0)
        return NVML_ERROR_INVALID_ARGUMENT;
    return ask_number(device, WIRE_STATUS_TEMPERATURE_C, out);
}

#define NV_ASKED(name, which)                                                                      \
    GP_EXPORT nvmlReturn_t name(nvmlDevice_t device, unsigned int *out)                            \
    {                                                                                              \
        return ask_number(device, which, out);                                                     \
    }

NV_ASKED(nvmlDeviceGetPowerUsage, WIRE_STATUS_POWER_MW)
NV_ASKED(nvmlDeviceGetEnforcedPowerLimit, WIRE_STATUS_POWER_LIMIT_MW)
NV_ASKED(nvmlDeviceGetPowerManagementLimit, WIRE_STATUS_POWER_LIMIT_MW)
NV_ASKED(nvmlDeviceGetFanSpeed, WIRE_STATUS_FAN_PERCENT)
NV_ASKED(nvmlDeviceGetPerformanceState, WIRE_STATUS_PERFORMANCE_STATE)
NV_ASKED(nvmlDeviceGetPowerState, WIRE_STATUS_PERFORMANCE_STATE)

GP_EXPORT nvmlReturn_t
nvmlDeviceGetClockInfo(nvmlDevice_t device, unsigned int type, unsigned int *out)
{
    switch (type) {
    case NVML_CLOCK_GRAPHICS:
    case NVML_CLOCK_SM:
        return ask_number(device, WIRE_STATUS_SM_CLOCK_MHZ, out);
    case NVML_CLOCK_MEM:
        return ask_number(device, WIRE_STATUS_MEMORY_CLOCK_MHZ, out);
    case NVML_CLOCK_VIDEO:
        return NVML_ERROR_NOT_SUPPORTED;
    default:
        return NVML_ERROR_INVALID_ARGUMENT;
    }
}

GP_EXPORT nvmlReturn_t
nvmlDeviceGetEccMode(nvmlDevice_t device, nvmlEnableState_t *current, nvmlEnableState_t *pending)
{
    nvmlReturn_t nr = pending != NULL ? ask_number(device, WIRE_STATUS_ECC_ON, current)
                                      : NVML_ERROR_INVALID_ARGUMENT;

    if (nr == NVML_SUCCESS)
        *pending = *current;
    return nr;
}

GP_EXPORT nvmlReturn_t
nvmlDeviceGetTotalEccErrors(nvmlDevice_t device, unsigned int error, unsigned int counter,
                            unsigned long long *out)
{
    enum {
        UNCORRECTED = 1,
        SINCE_BOOT = 0
    };
    uint64_t value;
    nvmlReturn_t nr;

    if (out == NULL)
        return NVML_ERROR_INVALID_ARGUMENT;
    nr = ask(device, WIRE_STATUS_ECC_UNCORRECTED, &value);
    if (nr == NVML_SUCCESS && (error != UNCORRECTED || counter != SINCE_BOOT))
        nr = NVML_ERROR_NOT_SUPPORTED; /* only these are asked of the server's NVML */
    if (nr == NVML_SUCCESS)
        *out = value;
    return nr;
}

/* --- processes ------------------------------------------------------------------------- */

/*
 * Those of this machine that use the device through the pool are not known to each other: the list
 * is empty. `gpupool` asks the server.
 */
static nvmlReturn_t
no_processes(nvmlDevice_t device, unsigned int *count)
{
    nvmlReturn_t nr = nv_pool_check(device);

    if (nr == NVML_SUCCESS && count == NULL)
        nr = NVML_ERROR_INVALID_ARGUMENT;
    if (nr == NVML_SUCCESS)
        *count = 0;
    return nr;
}

#define NV_PROCESSES(name)                                                                         \
    GP_EXPORT nvmlReturn_t name(nvmlDevice_t device, unsigned int *count, void *infos)             \
    {                                                                                              \
        (void)infos;                                                                               \
        return no_processes(device, count);                                                        \
    }

NV_PROCESSES(nvmlDeviceGetComputeRunningProcesses)
NV_PROCESSES(nvmlDeviceGetComputeRunningProcesses_v2)
NV_PROCESSES(nvmlDeviceGetComputeRunningProcesses_v3)
NV_PROCESSES(nvmlDeviceGetGraphicsRunningProcesses)
NV_PROCESSES(nvmlDeviceGetGraphicsRunningProcesses_v2)
NV_PROCESSES(nvmlDeviceGetGraphicsRunningProcesses_v3)
NV_PROCESSES(nvmlDeviceGetMPSComputeRunningProcesses)
NV_PROCESSES(nvmlDeviceGetMPSComputeRunningProcesses_v2)
NV_PROCESSES(nvmlDeviceGetMPSComputeRunningProcesses_v3)

/* --- between devices ------------------------------------------------------------------- */

/* Bits of cuDeviceGetP2PAttribute; see struct wire_device. */
enum {
    PEER_ACCESS = 1u << 1,
    PEER_ATOMICS = 1u << 2
};

GP_EXPORT nvmlReturn_t
nvmlDeviceGetP2PStatus(nvmlDevice_t one, nvmlDevice_t other, unsigned int what,
                       unsigned int *status)
{
    nvmlReturn_t nr = nv_pool_check(one);
    uint32_t bits;
    bool can;

    if (nr == NVML_SUCCESS)
        nr = nv_pool_check(other);
    if (nr == NVML_SUCCESS && (status == NULL || what >= NVML_P2P_CAPS_INDEX_UNKNOWN))
        nr = NVML_ERROR_INVALID_ARGUMENT;
    if (nr != NVML_SUCCESS)
        return nr;
    bits = one->server == other->server ? one->info.peer_bits[other->ordinal] : 0;
    can = what == NVML_P2P_CAPS_INDEX_ATOMICS  ? (bits & PEER_ATOMICS) != 0
          : what == NVML_P2P_CAPS_INDEX_NVLINK ? false
                                               : (bits & PEER_ACCESS) != 0;
    *status = can ? NVML_P2P_STATUS_OK : NVML_P2P_STATUS_NOT_SUPPORTED;
    return NVML_SUCCESS;
}

GP_EXPORT nvmlReturn_t
nvmlDeviceGetTopologyCommonAncestor(nvmlDevice_t one, nvmlDevice_t other, unsigned int *level)
{
    nvmlReturn_t nr = nv_pool_check(one);

    if (nr == NVML_SUCCESS)
        nr = nv_pool_check(other);
    if (nr == NVML_SUCCESS && level == NULL)
        nr = NVML_ERROR_INVALID_ARGUMENT;
    if (nr == NVML_SUCCESS)
        *level = one == other ? NVML_TOPOLOGY_INTERNAL : NVML_TOPOLOGY_SYSTEM;
    return nr;
}

GP_EXPORT nvmlReturn_t
nvmlDeviceOnSameBoard(nvmlDevice_t one, nvmlDevice_t other, int *same)
{
    nvmlReturn_t nr = nv_pool_check(one);

    if (nr == NVML_SUCCESS)
        nr = nv_pool_check(other);
    if (nr == NVML_SUCCESS && same == NULL)
        nr = NVML_ERROR_INVALID_ARGUMENT;
    if (nr == NVML_SUCCESS)
        *same = one == other;
    return nr;
}

/*
 * No fabric: what NVLink's switches join is not told through a pool. As a device without a fabric
 * does, this succeeds and says so in `state` (XLA ends a program where it fails).
 */
GP_EXPORT nvmlReturn_t
nvmlDeviceGetGpuFabricInfo(nvmlDevice_t device, nvmlGpuFabricInfo_t *out)
{
    nvmlReturn_t nr = nv_pool_check(device);

    if (nr == NVML_SUCCESS && out == NULL)
        nr = NVML_ERROR_INVALID_ARGUMENT;
    if (nr == NVML_SUCCESS)
        *out = (nvmlGpuFabricInfo_t){.state = NVML_GPU_FABRIC_STATE_NOT_SUPPORTED};
    return nr;
}

GP_EXPORT nvmlReturn_t
nvmlDeviceGetGpuFabricInfoV(nvmlDevice_t device, nvmlGpuFabricInfo_v3_t *out)
{
    enum {
        SIZE_V2 = offsetof(nvmlGpuFabricInfo_v3_t, healthSummary)
    };
    nvmlReturn_t nr = nv_pool_check(device);
    unsigned int version, size;

    if (nr == NVML_SUCCESS && out == NULL)
        nr = NVML_ERROR_INVALID_ARGUMENT;
    if (nr != NVML_SUCCESS)
        return nr;
    version = out->version;
    size = version >> 24 == 2 ? SIZE_V2 : sizeof *out;
    if (version != (2u << 24 | SIZE_V2) && version != (3u << 24 | sizeof *out))
        return NVML_ERROR_ARGUMENT_VERSION_MISMATCH;
    memset(out, 0, size);
    out->version = version;
    return NVML_SUCCESS;
}

/* Each field says for itself that it is not known. */
GP_EXPORT nvmlReturn_t
nvmlDeviceGetFieldValues(nvmlDevice_t device, int count, nvmlFieldValue_t *values)
{
    nvmlReturn_t nr = nv_pool_check(device);

    if (nr == NVML_SUCCESS && (values == NULL || count <= 0))
        nr = NVML_ERROR_INVALID_ARGUMENT;
    for (int i = 0; nr == NVML_SUCCESS && i < count; i++)
        values[i].nvmlReturn = NVML_ERROR_NOT_SUPPORTED;
    return nr;
}
