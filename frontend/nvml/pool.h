/* frontend/nvml/pool.h -- the pool's devices, as NVML looks at them
 *
 * NVML has a line to the server of its own: a session that only looks. It lives from the first
 * nvmlInit to the last nvmlShutdown; a line that was cut, or that belongs to the parent of a fork,
 * is opened again by the next question.
 *
 * Threads: any.
 */
#ifndef NV_POOL_H
#define NV_POOL_H

#include "protocol/abi/nvml_types.h"
#include "protocol/wire/control.h"
#include "protocol/wire/device_status.h"

/* What a device handle points to; handles stay valid for the life of the process. */
struct nvmlDevice_st {
    unsigned index;          /* as NVML counts */
    unsigned server;         /* of those that are used together */
    unsigned ordinal;        /* as it counts */
    struct wire_device info; /* written once, by the first nv_pool_open() that saw the device */
};

/* Counted. DRIVER_NOT_LOADED when there is no pool, NO_PERMISSION when it refuses us; one line on
 * standard error says why. */
nvmlReturn_t nv_pool_open(void);
nvmlReturn_t nv_pool_close(void);

/* UNINITIALIZED without a pool that is open; else *count_p devices. */
nvmlReturn_t nv_pool_count(unsigned *count_p);
/* INVALID_ARGUMENT beyond the last one. */
nvmlReturn_t nv_pool_device(unsigned index, struct nvmlDevice_st **device_p);
/* The device behind a handle: INVALID_ARGUMENT for what was never one. */
nvmlReturn_t nv_pool_check(nvmlDevice_t handle);

/* What the device does now, at most a tenth of a second old. GPU_IS_LOST when the server is gone.
 */
nvmlReturn_t nv_pool_status(nvmlDevice_t handle, uint64_t values[WIRE_STATUS_COUNT]);

int nv_pool_cuda_version(void); /* 13000; 0 before the first open */
bool nv_pool_software(void);

#endif
