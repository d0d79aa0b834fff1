/* backend/session/devices.c -- the table of devices that a client gets once */
#include "backend/session/session.h"

#include "protocol/base/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BE_ATTRIBUTES     148 /* CUDA 13.0 has 1 .. 147 */
#define BE_P2P_ATTRIBUTES 5

_Static_assert(BE_ATTRIBUTES <= WIRE_ATTRIBUTES_MAX, "attributes");

/* The wire wants text without control characters; a driver's name has none, but who knows. */
static void
text_clean(char *text)
{
    for (; *text != 0; text++)
        if ((unsigned char)*text < 0x20 || (unsigned char)*text > 0x7e)
            *text = '?';
}

static void
describe_uuid(const struct be_driver_table *t, CUdevice device, struct wire_device *to)
{
    CUuuid uuid;

    memset(&uuid, 0, sizeof(uuid));
    if (t->cuDeviceGetUuid != NULL && t->cuDeviceGetUuid(&uuid, device) == CUDA_SUCCESS)
        memcpy(to->uuid, uuid.bytes, sizeof(to->uuid));
    memcpy(to->uuid_v2, to->uuid, sizeof(to->uuid_v2));
    if (t->cuDeviceGetUuid_v2 != NULL && t->cuDeviceGetUuid_v2(&uuid, device) == CUDA_SUCCESS)
        memcpy(to->uuid_v2, uuid.bytes, sizeof(to->uuid_v2));
}

static CUresult
describe(const struct be_driver *driver, int index, struct wire_device *to)
{
    const struct be_driver_table *t = &driver->table;
    CUdevice device;
    size_t total = 0;
    CUresult cr;

    cr = t->cuDeviceGet(&device, index);
    if (cr == CUDA_SUCCESS)
        cr = t->cuDeviceGetName(to->name, (int)sizeof(to->name) - 1, device);
    if (cr == CUDA_SUCCESS)
        cr = t->cuDeviceTotalMem_v2(&total, device);
    if (cr != CUDA_SUCCESS)
        return cr;
    text_clean(to->name);
    to->total_bytes = to->free_bytes = total;
    describe_uuid(t, device, to);
    if (t->cuDeviceGetPCIBusId != NULL)
        (void)t->cuDeviceGetPCIBusId(to->pci_bus_id, (int)sizeof(to->pci_bus_id) - 1, device);
    text_clean(to->pci_bus_id);
    to->attribute_count = BE_ATTRIBUTES;
    for (int a = 1; a < BE_ATTRIBUTES; a++) {
        int value = 0;

        if (t->cuDeviceGetAttribute(&value, (CUdevice_attribute)a, device) == CUDA_SUCCESS)
            to->attributes[a] = value;
    }
    /* The range is the same on every device that has been sold, and asking needs a context. */
    to->stream_priority_least = 0;
    to->stream_priority_greatest = -5;
    return CUDA_SUCCESS;
}

static void
describe_peers(const struct be_driver *driver, int index, struct wire_device *to)
{
    const struct be_driver_table *t = &driver->table;

    if (t->cuDeviceGetP2PAttribute == NULL)
        return;
    for (int peer = 0; peer < driver->device_count && peer < WIRE_DEVICES_MAX; peer++) {
        for (int a = 1; peer != index && a <= BE_P2P_ATTRIBUTES; a++) {
            int value = 0;

            if (t->cuDeviceGetP2PAttribute(&value, (CUdevice_P2PAttribute)a, index, peer) ==
                    CUDA_SUCCESS &&
                value == 1)
                to->peer_bits[peer] |= 1u << (a - 1);
        }
    }
}

enum gp_status
be_devices_describe(const struct be_driver *driver, struct wire_device **devices_p)
{
    struct wire_device *devices;
    CUresult cr;

    devices = calloc((size_t)driver->device_count + 1, sizeof(*devices));
    if (devices == NULL)
        return GP_ERR_NO_MEMORY;
    for (int i = 0; i < driver->device_count; i++) {
        cr = describe(driver, i, &devices[i]);
        if (cr != CUDA_SUCCESS) {
            log_error("session: cannot describe device %d: %s", i, be_driver_error(driver, cr));
            free(devices);
            return GP_ERR_IO;
        }
        describe_peers(driver, i, &devices[i]);
    }
    *devices_p = devices;
    return GP_OK;
}
