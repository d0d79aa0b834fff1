/* frontend/cuda/device.c -- devices: all from the table that came with the session */
#include "cuda_api.h"
#include "frontend/core/stats.h"
#include "frontend/cuda/state.h"
#include "protocol/base/util.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

CUresult
fe_device_get(CUdevice dev, struct fe_state **state_p, const struct wire_device **info_p)
{
    CUresult cr = CUDA_SUCCESS;
    struct fe_state *state = fe_state_get(&cr);

    FE_COUNT_LOCAL();
    if (state == NULL)
        return cr;
    if (fe_state_device(state, dev) == NULL)
        return CUDA_ERROR_INVALID_DEVICE;
    if (state_p != NULL)
        *state_p = state;
    if (info_p != NULL)
        *info_p = state->devices[dev].info;
    return CUDA_SUCCESS;
}

GP_EXPORT CUresult
cuDeviceGetCount(int *count)
{
    CUresult cr = CUDA_SUCCESS;
    struct fe_state *state = fe_state_get(&cr);

    FE_COUNT_LOCAL();
    if (state == NULL)
        return cr;
    if (count == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    *count = (int)state->device_count;
    return CUDA_SUCCESS;
}

GP_EXPORT CUresult
cuDeviceGet(CUdevice *device, int ordinal)
{
    struct fe_state *state = NULL;
    CUresult cr = fe_device_get(ordinal, &state, NULL);

    if (cr == CUDA_SUCCESS && device == NULL)
        cr = CUDA_ERROR_INVALID_VALUE;
    if (cr == CUDA_SUCCESS)
        *device = ordinal;
    return cr;
}

GP_EXPORT CUresult
cuDeviceGetAttribute(int *value, CUdevice_attribute attribute, CUdevice dev)
{
    struct fe_state *state = NULL;
    CUresult cr = fe_device_get(dev, &state, NULL);

    if (cr != CUDA_SUCCESS)
        return cr;
    if (value == NULL || (int)attribute < 1 || attribute >= CU_DEVICE_ATTRIBUTE_MAX)
        return CUDA_ERROR_INVALID_VALUE;
    *value = fe_device_attribute(state, dev, (int)attribute);
    return CUDA_SUCCESS;
}

GP_EXPORT CUresult
cuDeviceGetName(char *name, int len, CUdevice dev)
{
    const struct wire_device *info = NULL;
    struct fe_state *state = NULL;
    CUresult cr = fe_device_get(dev, &state, &info);

    if (cr == CUDA_SUCCESS && (name == NULL || len <= 0))
        cr = CUDA_ERROR_INVALID_VALUE;
    if (cr == CUDA_SUCCESS)
        snprintf(name, (size_t)len, "%s", info->name);
    return cr;
}

static CUresult
uuid_of(CUuuid *uuid, CUdevice dev, bool v2)
{
    const struct wire_device *info = NULL;
    struct fe_state *state = NULL;
    CUresult cr = fe_device_get(dev, &state, &info);

    if (cr == CUDA_SUCCESS && uuid == NULL)
        cr = CUDA_ERROR_INVALID_VALUE;
    if (cr == CUDA_SUCCESS)
        memcpy(uuid->bytes, v2 ? info->uuid_v2 : info->uuid, sizeof(uuid->bytes));
    return cr;
}

GP_EXPORT CUresult
cuDeviceGetUuid(CUuuid *uuid, CUdevice dev)
{
    return uuid_of(uuid, dev, false);
}

GP_EXPORT CUresult
cuDeviceGetUuid_v2(CUuuid *uuid, CUdevice dev)
{
    return uuid_of(uuid, dev, true);
}

GP_EXPORT CUresult
cuDeviceTotalMem_v2(size_t *bytes, CUdevice dev)
{
    const struct wire_device *info = NULL;
    struct fe_state *state = NULL;
    CUresult cr = fe_device_get(dev, &state, &info);

    if (cr == CUDA_SUCCESS && bytes == NULL)
        cr = CUDA_ERROR_INVALID_VALUE;
    if (cr == CUDA_SUCCESS)
        *bytes = info->total_bytes;
    return cr;
}

GP_EXPORT CUresult
cuDeviceTotalMem(unsigned int *bytes, CUdevice dev)
{
    size_t total = 0;
    CUresult cr = cuDeviceTotalMem_v2(bytes != NULL ? &total : NULL, dev);

    if (cr == CUDA_SUCCESS)
        *bytes = total > UINT_MAX ? UINT_MAX : (unsigned int)total;
    return cr;
}

GP_EXPORT CUresult
cuDeviceComputeCapability(int *major, int *minor, CUdevice dev)
{
    struct fe_state *state = NULL;
    CUresult cr = fe_device_get(dev, &state, NULL);

    if (cr == CUDA_SUCCESS && (major == NULL || minor == NULL))
        cr = CUDA_ERROR_INVALID_VALUE;
    if (cr != CUDA_SUCCESS)
        return cr;
    *major = fe_device_attribute(state, dev, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR);
    *minor = fe_device_attribute(state, dev, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR);
    return CUDA_SUCCESS;
}

GP_EXPORT CUresult
cuDeviceGetProperties(CUdevprop *prop, CUdevice dev)
{
    struct fe_state *state = NULL;
    CUresult cr = fe_device_get(dev, &state, NULL);

    if (cr == CUDA_SUCCESS && prop == NULL)
        cr = CUDA_ERROR_INVALID_VALUE;
    if (cr != CUDA_SUCCESS)
        return cr;
    for (int i = 0; i < 3; i++) {
        prop->maxThreadsDim[i] =
            fe_device_attribute(state, dev, CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_X + i);
        prop->maxGridSize[i] =
            fe_device_attribute(state, dev, CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_X + i);
    }
#define ASK(field, attribute)                                                                      \
    prop->field = fe_device_attribute(state, dev, CU_DEVICE_ATTRIBUTE_##attribute)
    ASK(maxThreadsPerBlock, MAX_THREADS_PER_BLOCK);
    ASK(sharedMemPerBlock, MAX_SHARED_MEMORY_PER_BLOCK);
    ASK(totalConstantMemory, TOTAL_CONSTANT_MEMORY);
    ASK(SIMDWidth, WARP_SIZE);
    ASK(memPitch, MAX_PITCH);
    ASK(regsPerBlock, MAX_REGISTERS_PER_BLOCK);
    ASK(clockRate, CLOCK_RATE);
    ASK(textureAlign, TEXTURE_ALIGNMENT);
#undef ASK
    return CUDA_SUCCESS;
}

GP_EXPORT CUresult
cuDeviceGetPCIBusId(char *text, int len, CUdevice dev)
{
    const struct wire_device *info = NULL;
    struct fe_state *state = NULL;
    CUresult cr = fe_device_get(dev, &state, &info);

    if (cr == CUDA_SUCCESS && (text == NULL || len <= 0))
        cr = CUDA_ERROR_INVALID_VALUE;
    if (cr != CUDA_SUCCESS)
        return cr;
    /* The driver says INVALID_VALUE where the text does not fit. */
    if (strlen(info->pci_bus_id) >= (size_t)len)
        return CUDA_ERROR_INVALID_VALUE;
    strcpy(text, info->pci_bus_id);
    return CUDA_SUCCESS;
}

/* "[domain]:[bus]:[device].[function]" and its shorter forms, all hexadecimal. */
static bool
parse_pci(const char *text, unsigned part[4])
{
    int used = 0;

    part[0] = part[3] = 0;
    if (sscanf(text, "%x:%x:%x.%x%n", &part[0], &part[1], &part[2], &part[3], &used) == 4 ||
        sscanf(text, "%x:%x:%x%n", &part[0], &part[1], &part[2], &used) == 3)
        return text[used] == 0;
    part[0] = part[3] = 0;
    if (sscanf(text, "%x:%x.%x%n", &part[1], &part[2], &part[3], &used) == 3 ||
        sscanf(text, "%x:%x%n", &part[1], &part[2], &used) == 2)
        return text[used] == 0;
    return false;
}

GP_EXPORT CUresult
cuDeviceGetByPCIBusId(CUdevice *dev, const char *text)
{
    CUresult cr = CUDA_SUCCESS;
    struct fe_state *state = fe_state_get(&cr);
    unsigned want[4], have[4];

    FE_COUNT_LOCAL();
    if (state == NULL)
        return cr;
    if (dev == NULL || text == NULL || !parse_pci(text, want))
        return CUDA_ERROR_INVALID_VALUE;
    for (unsigned d = 0; d < state->device_count; d++) {
        if (parse_pci(state->devices[d].info->pci_bus_id, have) &&
            memcmp(want, have, sizeof(want)) == 0) {
            *dev = (CUdevice)d;
            return CUDA_SUCCESS;
        }
    }
    return CUDA_ERROR_INVALID_DEVICE;
}

static uint32_t
peer_bits(const struct fe_state *state, CUdevice from, CUdevice to)
{
    int32_t column = state->devices[to].server_ordinal;

    if (column < 0 || column >= WIRE_DEVICES_MAX ||
        state->devices[from].session != state->devices[to].session)
        return 0; /* no device reaches one of another server */
    return state->devices[from].info->peer_bits[column];
}

static int
p2p_value(const struct fe_state *state, CUdevice_P2PAttribute attribute, CUdevice from, CUdevice to)
{
    return (int)(peer_bits(state, from, to) >> ((int)attribute - 1) & 1);
}

GP_EXPORT CUresult
cuDeviceCanAccessPeer(int *can, CUdevice dev, CUdevice peer)
{
    struct fe_state *state = NULL;
    CUresult cr = fe_device_get(dev, &state, NULL);

    if (cr == CUDA_SUCCESS && fe_state_device(state, peer) == NULL)
        cr = CUDA_ERROR_INVALID_DEVICE;
    if (cr == CUDA_SUCCESS && can == NULL)
        cr = CUDA_ERROR_INVALID_VALUE;
    if (cr == CUDA_SUCCESS)
        *can = dev != peer && p2p_value(state, CU_DEVICE_P2P_ATTRIBUTE_ACCESS_SUPPORTED, dev, peer);
    return cr;
}

GP_EXPORT CUresult
cuDeviceGetP2PAttribute(int *value, CUdevice_P2PAttribute attribute, CUdevice src, CUdevice dst)
{
    struct fe_state *state = NULL;
    CUresult cr = fe_device_get(src, &state, NULL);

    if (cr == CUDA_SUCCESS && fe_state_device(state, dst) == NULL)
        cr = CUDA_ERROR_INVALID_DEVICE;
    if (cr == CUDA_SUCCESS && src == dst)
        cr = CUDA_ERROR_INVALID_DEVICE;
    if (cr == CUDA_SUCCESS &&
        (value == NULL || (int)attribute < 1 ||
         attribute > CU_DEVICE_P2P_ATTRIBUTE_ONLY_PARTIAL_NATIVE_ATOMIC_SUPPORTED))
        cr = CUDA_ERROR_INVALID_VALUE;
    if (cr != CUDA_SUCCESS)
        return cr;
    *value = p2p_value(state, attribute, src, dst);
    return CUDA_SUCCESS;
}

GP_EXPORT CUresult
cuDeviceGetExecAffinitySupport(int *value, CUexecAffinityType type, CUdevice dev)
{
    struct fe_state *state = NULL;
    CUresult cr = fe_device_get(dev, &state, NULL);

    if (cr == CUDA_SUCCESS && (value == NULL || (int)type < 0 || type >= CU_EXEC_AFFINITY_TYPE_MAX))
        cr = CUDA_ERROR_INVALID_VALUE;
    if (cr == CUDA_SUCCESS)
        *value = 0; /* contexts with an affinity are not carried */
    return cr;
}

/* What no driver does any more, or not on this system. */
GP_EXPORT CUresult
cuProfilerInitialize(const char *config, const char *output, CUoutput_mode mode)
{
    CUresult cr = CUDA_ERROR_NOT_SUPPORTED;

    (void)config;
    (void)output;
    (void)mode;
    FE_COUNT_LOCAL();
    return fe_state_get(&cr) == NULL ? cr : CUDA_ERROR_NOT_SUPPORTED;
}

GP_EXPORT CUresult
cuDeviceGetLuid(char *luid, unsigned int *node_mask, CUdevice device)
{
    CUresult cr = CUDA_ERROR_NOT_SUPPORTED;

    (void)luid;
    (void)node_mask;
    (void)device;
    FE_COUNT_LOCAL();
    return fe_state_get(&cr) == NULL ? cr : CUDA_ERROR_NOT_SUPPORTED;
}
