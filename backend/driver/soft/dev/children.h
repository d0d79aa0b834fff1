/* backend/driver/soft/dev/children.h -- kernels that a kernel launches (dynamic parallelism)
 *
 * A launch by a kernel asks for a buffer, fills in the parameters and launches. What a grid has
 * launched runs when the grid has ended: first all but the tail launches, each with its own
 * children, in their order; then the tail launches. CUDA promises no earlier start, and the end of
 * the first grid waits for all.
 *
 * Threads: sd_children_run by an executor; the machine's threads call back at once.
 */
#ifndef SD_CHILDREN_H
#define SD_CHILDREN_H

#include "backend/driver/soft/dev/ctx.h"
#include "backend/driver/soft/exec/exec.h"

/* Runs a launch and all that it launches. env: the first grid's, without the part about launches.
 * On failure *kernel_p is the kernel that failed. */
CUresult sd_children_run(struct CUctx_st *ctx, struct sd_pool *machine, const struct sd_env *env,
                         const struct sd_launch *launch, const struct sd_kernel **kernel_p,
                         struct sd_fault *fault_p);

#endif
