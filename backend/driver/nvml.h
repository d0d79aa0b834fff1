/* backend/driver/nvml.h -- what the machine's own libnvidia-ml.so.1 says about a device
 *
 * Threads: any.
 */
#ifndef BE_DRIVER_NVML_H
#define BE_DRIVER_NVML_H

#include "protocol/wire/device_status.h"

/*
 * Fill in what the library knows of the device at this PCI address ("0000:3b:00.0"); the other
 * values stay as they are. Without the library, or with one that does not know the device, nothing
 * is filled in (named once in the log).
 */
void be_nvml_status(const char *pci_bus_id, uint64_t values[WIRE_STATUS_COUNT]);

#endif
