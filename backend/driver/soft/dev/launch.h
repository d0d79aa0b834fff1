/* backend/driver/soft/dev/launch.h -- validated kernel launches */
#ifndef SD_LAUNCH_H
#define SD_LAUNCH_H

#include "backend/driver/soft/dev/module.h"
#include "backend/driver/soft/dev/sched.h"

struct sd_launch_dims {
    unsigned grid[3];
    unsigned block[3];
    unsigned cluster[3]; /* 0 0 0: what the kernel says */
    unsigned shared_bytes;
    bool cooperative;
    const struct CUdevResourceDesc_st *sms; /* on which SMs; NULL: all */
};

/* Whether the device takes these counts, and the kernel this block where it requires one. */
bool sd_shape_valid(const struct sd_kernel *kernel, const unsigned grid[3],
                    const unsigned block[3]);

/* dims of a configuration, whose attributes are checked; *after_p: an event that is recorded behind
 * it, or untouched. */
CUresult sd_launch_config(const CUlaunchConfig *config, struct sd_launch_dims *dims,
                          CUevent *after_p);

/*
 * Checks a launch of fn as the driver does and makes work of it; work->params is owned by it.
 * Errors: CUDA_ERROR_INVALID_VALUE, LAUNCH_OUT_OF_RESOURCES, COOPERATIVE_LAUNCH_TOO_LARGE,
 *         INVALID_CLUSTER_SIZE, what preparing the kernel says, OUT_OF_MEMORY.
 */
CUresult sd_launch_make(struct CUfunc_st *fn, const struct sd_launch_dims *dims,
                        void **kernel_params, void **extra, struct sd_kernel_work *work);

#endif
