/* backend/driver/soft/dev/profile.h -- what kind of device is played
 *
 * An INI file named by GPUPOOL_SOFT_PROFILE, section [device] for all and [device N] for one of
 * them, then the variables GPUPOOL_SOFT_MEMORY, _DEVICES, _CC, _SMS, _THREADS,
 * _INSTANT, _STRICT, _SHARED, _LAUNCH_COST, _THREAD_RATE, _COPY_RATE, _SUBMIT_COST,
 * _PERSISTING_L2.
 *
 *   [device]
 *   name = GPUpool software device    compute_capability = 13.0
 *   memory = 8g                       devices = 1
 *   multiprocessors = 16              threads = 0 (one per CPU)
 *   instant = no                      strict = no
 *   shared = (a name)
 *   launch_cost = 0us                 (timing model: under it work occupies its engine for the
 *   thread_rate = 0                   longer of its real and its modelled time, one at a time)
 *   copy_rate = 0                     threads and bytes per second
 *   submit_cost = 0us                 a kernel's launch keeps its caller so long, as drivers do
 *   persisting_l2 = 6m                of the L2 cache; what is asked of it has no effect
 */
#ifndef SD_PROFILE_H
#define SD_PROFILE_H

#include "protocol/base/status.h"

#include <stdbool.h>
#include <stdint.h>

#define SD_L2_BYTES (8u << 20)

struct sd_profile {
    char name[128];
    int cc_major;
    int cc_minor;
    uint64_t memory_bytes;
    uint64_t persisting_l2_bytes; /* at most that many may be asked to persist */
    int multiprocessors;
    unsigned threads; /* of the machine, 0: one per CPU */
    bool instant;     /* kernels are not executed */
    bool strict;      /* allocations end at their exact size, not at the next 512 bytes */
    char shared[64];  /* name of the device that processes share; empty: not shared */

    /* The timing model; all 0: work takes the time that it takes. */
    uint64_t launch_ns;          /* of each kernel, copy and fill */
    uint64_t threads_per_second; /* of kernels */
    uint64_t copy_bytes_per_second;

    uint64_t submit_ns; /* that a kernel's launch takes its caller */
};

/*
 * Profiles of all devices.
 * Errors: GP_ERR_INVALID (logged): a file that cannot be read or a value that makes no sense.
 */
GP_CHECK enum gp_status sd_profiles_load(struct sd_profile *profiles, int max, int *count_p);

#endif
