/* frontend/cuda/check.h -- what the driver says of a launch at the call, from cached limits
 *
 * Threads: pure.
 */
#ifndef FE_CHECK_H
#define FE_CHECK_H

#include "protocol/abi/cuda_types.h"
#include "protocol/wire/kernel_table.h"

#include <stddef.h>
#include <stdint.h>

/* Of a device; from its attributes. */
struct fe_launch_limits {
    uint32_t grid[3];
    uint32_t block[3];
    uint32_t block_threads;
    uint32_t multiprocessors;
};

struct fe_launch_shape {
    uint32_t grid[3];
    uint32_t block[3];
    uint32_t shared_bytes;
};

/*
 * Errors, in the driver's order: CUDA_ERROR_INVALID_VALUE for a zero or too large grid or
 * block and for more dynamic shared memory than the kernel may have;
 * CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES for more threads than the kernel's registers allow.
 * attributes[n] counts only if bit n of mask is set (CU_FUNC_ATTRIBUTE_*).
 */
CUresult fe_launch_check(const struct fe_launch_limits *limits, const int32_t *attributes,
                         uint32_t mask, const struct fe_launch_shape *shape);

/*
 * Blocks of a cluster in x, y, z: what the launch names (NULL: nothing), else what the function
 * requires. CUDA_ERROR_INVALID_CLUSTER_SIZE where they do not divide the grid, are too many, or are
 * not there and must be.
 */
CUresult fe_cluster_check(const int32_t *attributes, uint32_t mask, const uint32_t *named,
                          const uint32_t *grid);

/* Where the last parameter of the driver's layout ends. */
size_t fe_params_end(const struct wire_kernel_param *params, uint32_t count);
/* Bytes of all values without gaps; the values go to, in the same order. */
size_t fe_params_bytes(const struct wire_kernel_param *params, uint32_t count);
void fe_params_pack(uint8_t *to, const struct wire_kernel_param *params, uint32_t count,
                    void *const *values);

/*
 * The extra form: pointer, then value, pairs until CU_LAUNCH_PARAM_END.
 * Errors: CUDA_ERROR_INVALID_VALUE for an unknown key, a missing or too large buffer.
 */
CUresult fe_params_extra(void *const *extra, size_t max, const void **buffer_p, size_t *bytes_p);

#endif
