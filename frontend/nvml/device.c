/* frontend/nvml/device.c -- what a device is: told once, when the pool was opened */
#include "frontend/nvml/nvml_api.h"

#include "frontend/core/visible.h"
#include "frontend/nvml/pool.h"
#include "protocol/abi/cuda_types.h"
#include "protocol/base/util.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#define PCI_VENDOR_NVIDIA 0x10deu

int
nv_attribute(nvmlDevice_t device, int attribute)
{
    return (uint32_t)attribute < device->info.attribute_count ? device->info.attributes[attribute]
                                                              : 0;
}

/* --- finding one --------------------------------------------------------------------- */

GP_EXPORT nvmlReturn_t
nvmlDeviceGetCount_v2(unsigned int *count)
{
    return count != NULL ? nv_pool_count(count) : NVML_ERROR_INVALID_ARGUMENT;
}

GP_EXPORT nvmlReturn_t
nvmlDeviceGetCount(unsigned int *count)
{
    return nvmlDeviceGetCount_v2(count);
}

GP_EXPORT nvmlReturn_t
nvmlDeviceGetHandleByIndex_v2(unsigned int index, nvmlDevice_t *device)
{
    return device != NULL ? nv_pool_device(index, device) : NVML_ERROR_INVALID_ARGUMENT;
}

GP_EXPORT nvmlReturn_t
nvmlDeviceGetHandleByIndex(unsigned int index, nvmlDevice_t *device)
{
    return nvmlDeviceGetHandleByIndex_v2(index, device);
}

/* The device that is meant, by a test of each. */
static nvmlReturn_t
find(bool (*is)(const struct nvmlDevice_st *device, const char *text), const char *text,
     nvmlDevice_t *device_p)
{
    unsigned count;
    nvmlReturn_t nr = nv_pool_count(&count);

    if (nr == NVML_SUCCESS && (text == NULL || device_p == NULL))
        nr = NVML_ERROR_INVALID_ARGUMENT;
    for (unsigned i = 0; nr == NVML_SUCCESS && i < count; i++) {
        struct nvmlDevice_st *device;

        nr = nv_pool_device(i, &device);
        if (nr == NVML_SUCCESS && is(device, text)) {
            *device_p = device;
            return NVML_SUCCESS;
        }
    }
    return nr == NVML_SUCCESS ? NVML_ERROR_NOT_FOUND : nr;
}

static bool
has_uuid(const struct nvmlDevice_st *device, const char *text)
{
    char uuid[48];

    fe_uuid_text("GPU-", device->info.uuid, uuid);
    return strcasecmp(uuid, text) == 0;
}

GP_EXPORT nvmlReturn_t
nvmlDeviceGetHandleByUUID(const char *uuid, nvmlDevice_t *device)
{
    return find(has_uuid, uuid, device);
}

/* "0000:3b:00.0", domain and function may be missing. */
static bool
pci_parse(const char *text, unsigned pci[3])
{
    char rest;

    if (sscanf(text, "%x:%x:%x%c", &pci[0], &pci[1], &pci[2], &rest) >= 3)
        return true;
    pci[0] = 0;
    return sscanf(text, "%x:%x%c", &pci[1], &pci[2], &rest) >= 2;
}

static bool
has_pci(const struct nvmlDevice_st *device, const char *text)
{
    unsigned want[3], have[3];

    return pci_parse(text, want) && pci_parse(device->info.pci_bus_id, have) &&
           memcmp(want, have, sizeof(want)) == 0;
}

GP_EXPORT nvmlReturn_t
nvmlDeviceGetHandleByPciBusId_v2(const char *bus_id, nvmlDevice_t *device)
{
    return find(has_pci, bus_id, device);
}

GP_EXPORT nvmlReturn_t
nvmlDeviceGetHandleByPciBusId(const char *bus_id, nvmlDevice_t *device)
{
    return find(has_pci, bus_id, device);
}

/* --- its names ------------------------------------------------------------------------- */

GP_EXPORT nvmlReturn_t
nvmlDeviceGetName(nvmlDevice_t device, char *name, unsigned int length)
{
    nvmlReturn_t nr = nv_pool_check(device);

    return nr == NVML_SUCCESS ? nv_text(device->info.name, name, length) : nr;
}

GP_EXPORT nvmlReturn_t
nvmlDeviceGetUUID(nvmlDevice_t device, char *uuid, unsigned int length)
{
    nvmlReturn_t nr = nv_pool_check(device);
    char text[48];

    if (nr != NVML_SUCCESS)
        return nr;
    fe_uuid_text("GPU-", device->info.uuid, text);
    return nv_text(text, uuid, length);
}

/* A number that the device has; out NULL is refused after the device was checked. */
static nvmlReturn_t
give(nvmlDevice_t device, unsigned value, unsigned *out)
{
    nvmlReturn_t nr = nv_pool_check(device);

    if (nr == NVML_SUCCESS && out == NULL)
        nr = NVML_ERROR_INVALID_ARGUMENT;
    if (nr == NVML_SUCCESS)
        *out = value;
    return nr;
}

GP_EXPORT nvmlReturn_t
nvmlDeviceGetIndex(nvmlDevice_t device, unsigned int *index)
{
    nvmlReturn_t nr = nv_pool_check(device);

    return nr == NVML_SUCCESS ? give(device, device->index, index) : nr;
}

GP_EXPORT nvmlReturn_t
nvmlDeviceGetMinorNumber(nvmlDevice_t device, unsigned int *minor)
{
    return nvmlDeviceGetIndex(device, minor);
}

GP_EXPORT nvmlReturn_t
nvmlDeviceGetPciInfo_v3(nvmlDevice_t device, nvmlPciInfo_t *pci)
{
    nvmlReturn_t nr = nv_pool_check(device);
    unsigned at[3];

    if (nr == NVML_SUCCESS && pci == NULL)
        nr = NVML_ERROR_INVALID_ARGUMENT;
    if (nr != NVML_SUCCESS)
        return nr;
    if (!pci_parse(device->info.pci_bus_id, at))
        return NVML_ERROR_NOT_SUPPORTED;
    memset(pci, 0, sizeof(*pci));
    pci->domain = at[0];
    pci->bus = at[1];
    pci->device = at[2];
    pci->pciDeviceId = PCI_VENDOR_NVIDIA; /* the model's half is not known here */
    snprintf(pci->busIdLegacy, sizeof(pci->busIdLegacy), "%04X:%02X:%02X.0", at[0] & 0xffff,
             at[1] & 0xff, at[2] & 0xff);
    snprintf(pci->busId, sizeof(pci->busId), "%08X:%02X:%02X.0", at[0], at[1] & 0xff, at[2] & 0xff);
    return NVML_SUCCESS;
}

GP_EXPORT nvmlReturn_t
nvmlDeviceGetPciInfo_v2(nvmlDevice_t device, nvmlPciInfo_t *pci)
{
    return nvmlDeviceGetPciInfo_v3(device, pci);
}

/* The first version's structure ends before the long bus id. */
GP_EXPORT nvmlReturn_t
nvmlDeviceGetPciInfo(nvmlDevice_t device, nvmlPciInfo_t *pci)
{
    nvmlPciInfo_t whole;
    nvmlReturn_t nr = nvmlDeviceGetPciInfo_v3(device, pci != NULL ? &whole : NULL);

    if (nr == NVML_SUCCESS)
        memcpy(pci, &whole, offsetof(nvmlPciInfo_t, busId));
    return nr;
}

/* --- what it can ------------------------------------------------------------------------ */

GP_EXPORT nvmlReturn_t
nvmlDeviceGetCudaComputeCapability(nvmlDevice_t device, int *major, int *minor)
{
    nvmlReturn_t nr = nv_pool_check(device);

    if (nr == NVML_SUCCESS && (major == NULL || minor == NULL))
        nr = NVML_ERROR_INVALID_ARGUMENT;
    if (nr != NVML_SUCCESS)
        return nr;
    *major = nv_attribute(device, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR);
    *minor = nv_attribute(device, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR);
    return NVML_SUCCESS;
}

/* NVIDIA's names of compute capabilities; UINT_MAX is NVML's "unknown". */
static unsigned
architecture(int major, int minor)
{
    switch (major) {
    case 3:
        return 2;
    case 5:
        return 3;
    case 6:
        return 4;
    case 7:
        return minor < 5 ? 5 : 6;
    case 8:
        return minor < 9 ? 7 : 8;
    case 9:
        return 9;
    case 10:
    case 11:
    case 12:
        return 10;
    default:
        return 0xffffffffu;
    }
}

GP_EXPORT nvmlReturn_t
nvmlDeviceGetArchitecture(nvmlDevice_t device, nvmlDeviceArchitecture_t *arch)
{
    int major, minor;
    nvmlReturn_t nr = nvmlDeviceGetCudaComputeCapability(device, &major, &minor);

    return nr == NVML_SUCCESS ? give(device, architecture(major, minor), arch) : nr;
}

GP_EXPORT nvmlReturn_t
nvmlDeviceGetBrand(nvmlDevice_t device, nvmlBrandType_t *brand)
{
    enum {
        BRAND_UNKNOWN = 0,
        BRAND_NVIDIA = 14
    };

    return give(device, nv_pool_software() ? BRAND_UNKNOWN : BRAND_NVIDIA, brand);
}

GP_EXPORT nvmlReturn_t
nvmlDeviceGetComputeMode(nvmlDevice_t device, nvmlComputeMode_t *mode)
{
    nvmlReturn_t nr = nv_pool_check(device);

    return nr == NVML_SUCCESS
               ? give(device, (unsigned)nv_attribute(device, CU_DEVICE_ATTRIBUTE_COMPUTE_MODE),
                      mode)
               : nr;
}

GP_EXPORT nvmlReturn_t
nvmlDeviceGetMemoryBusWidth(nvmlDevice_t device, unsigned int *width)
{
    nvmlReturn_t nr = nv_pool_check(device);

    return nr == NVML_SUCCESS
               ? give(device,
                      (unsigned)nv_attribute(device, CU_DEVICE_ATTRIBUTE_GLOBAL_MEMORY_BUS_WIDTH),
                      width)
               : nr;
}

GP_EXPORT nvmlReturn_t
nvmlDeviceGetMaxClockInfo(nvmlDevice_t device, unsigned int type, unsigned int *clock)
{
    nvmlReturn_t nr = nv_pool_check(device);
    int attribute = type == NVML_CLOCK_MEM ? CU_DEVICE_ATTRIBUTE_MEMORY_CLOCK_RATE
                                           : CU_DEVICE_ATTRIBUTE_CLOCK_RATE;

    if (nr != NVML_SUCCESS)
        return nr;
    if (type >= NVML_CLOCK_COUNT)
        return NVML_ERROR_INVALID_ARGUMENT;
    return give(device, (unsigned)nv_attribute(device, attribute) / 1000, clock);
}

GP_EXPORT nvmlReturn_t
nvmlDeviceGetAttributes_v2(nvmlDevice_t device, nvmlDeviceAttributes_t *attributes)
{
    nvmlReturn_t nr = nv_pool_check(device);

    (void)attributes; /* a MIG instance's, and there are none */
    return nr == NVML_SUCCESS ? NVML_ERROR_NOT_SUPPORTED : nr;
}

/* Off, or none, on every device of a pool: displays, MIG, and staying alive without users. */
#define NV_NUMBER(name, value)                                                                     \
    GP_EXPORT nvmlReturn_t name(nvmlDevice_t device, unsigned int *out)                            \
    {                                                                                              \
        return give(device, value, out);                                                           \
    }

NV_NUMBER(nvmlDeviceGetDisplayActive, 0)
NV_NUMBER(nvmlDeviceGetDisplayMode, 0)
NV_NUMBER(nvmlDeviceGetMaxMigDeviceCount, 0)
NV_NUMBER(nvmlDeviceIsMigDeviceHandle, 0)
NV_NUMBER(nvmlDeviceGetPersistenceMode, 1) /* a server keeps its devices open */

GP_EXPORT nvmlReturn_t
nvmlDeviceGetMigMode(nvmlDevice_t device, unsigned int *current, unsigned int *pending)
{
    nvmlReturn_t nr = nv_pool_check(device);

    (void)current;
    (void)pending;
    return nr == NVML_SUCCESS ? NVML_ERROR_NOT_SUPPORTED : nr;
}
