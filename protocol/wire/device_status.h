/* protocol/wire/device_status.h -- the numbers of gpDeviceStatus, by their place in the list
 *
 * A place never changes its meaning; new ones are added at the end. A shorter list and
 * WIRE_STATUS_UNKNOWN both mean that the server cannot know.
 */
#ifndef WIRE_DEVICE_STATUS_H
#define WIRE_DEVICE_STATUS_H

#include <stdint.h>

#define WIRE_STATUS_UNKNOWN UINT64_MAX

enum wire_device_status {
    WIRE_STATUS_MEMORY_TOTAL_BYTES, /* as the tenant sees it */
    WIRE_STATUS_MEMORY_FREE_BYTES,
    WIRE_STATUS_MEMORY_RESERVED_BYTES, /* by the driver itself */
    WIRE_STATUS_BUSY_PERCENT,          /* of the last sampling period, of the physical device */
    WIRE_STATUS_MEMORY_BUSY_PERCENT,
    WIRE_STATUS_TEMPERATURE_C,
    WIRE_STATUS_POWER_MW,
    WIRE_STATUS_POWER_LIMIT_MW,
    WIRE_STATUS_SM_CLOCK_MHZ,
    WIRE_STATUS_MEMORY_CLOCK_MHZ,
    WIRE_STATUS_FAN_PERCENT,
    WIRE_STATUS_PERFORMANCE_STATE, /* 0 .. 15 */
    WIRE_STATUS_ECC_ON,            /* 0 or 1 */
    WIRE_STATUS_ECC_UNCORRECTED,   /* since boot */
    WIRE_STATUS_COUNT,
};

#endif
