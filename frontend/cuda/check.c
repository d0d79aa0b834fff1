/* frontend/cuda/check.c -- what the driver says of a launch at the call, from cached limits */
#include "frontend/cuda/check.h"

#include <stdbool.h>
#include <string.h>

/* Blocks of a cluster: where the kernel allows sizes that not every device has, and else. */
#define CLUSTER_MAX          16u
#define CLUSTER_PORTABLE_MAX 8u

static bool
known(uint32_t mask, int attribute)
{
    return (mask >> attribute & 1) != 0;
}

CUresult
fe_launch_check(const struct fe_launch_limits *limits, const int32_t *attributes, uint32_t mask,
                const struct fe_launch_shape *shape)
{
    uint64_t threads = 1;

    for (int i = 0; i < 3; i++) {
        if (shape->grid[i] == 0 || shape->grid[i] > limits->grid[i])
            return CUDA_ERROR_INVALID_VALUE;
        if (shape->block[i] == 0 || shape->block[i] > limits->block[i])
            return CUDA_ERROR_INVALID_VALUE;
        threads *= shape->block[i];
    }
    if (threads > limits->block_threads)
        return CUDA_ERROR_INVALID_VALUE;
    if (known(mask, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES) &&
        shape->shared_bytes > (uint32_t)attributes[CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES])
        return CUDA_ERROR_INVALID_VALUE;
    if (known(mask, CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK) &&
        threads > (uint32_t)attributes[CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK])
        return CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES;
    return CUDA_SUCCESS;
}

static uint32_t
value(const int32_t *attributes, uint32_t mask, int attribute)
{
    return known(mask, attribute) ? (uint32_t)attributes[attribute] : 0;
}

CUresult
fe_cluster_check(const int32_t *attributes, uint32_t mask, const uint32_t *named,
                 const uint32_t *grid)
{
    uint32_t blocks = 1, most;

    for (int i = 0; i < 3; i++) {
        uint32_t n = named != NULL
                         ? named[i]
                         : value(attributes, mask, CU_FUNC_ATTRIBUTE_REQUIRED_CLUSTER_WIDTH + i);

        if (n == 0)
            continue;
        if (n > CLUSTER_MAX || grid[i] % n != 0)
            return CUDA_ERROR_INVALID_CLUSTER_SIZE;
        blocks *= n;
    }
    if (named == NULL && value(attributes, mask, CU_FUNC_ATTRIBUTE_CLUSTER_SIZE_MUST_BE_SET) != 0 &&
        value(attributes, mask, CU_FUNC_ATTRIBUTE_REQUIRED_CLUSTER_WIDTH) == 0)
        return CUDA_ERROR_INVALID_CLUSTER_SIZE;
    most = value(attributes, mask, CU_FUNC_ATTRIBUTE_NON_PORTABLE_CLUSTER_SIZE_ALLOWED) != 0
               ? CLUSTER_MAX
               : CLUSTER_PORTABLE_MAX;
    return blocks > most ? CUDA_ERROR_INVALID_CLUSTER_SIZE : CUDA_SUCCESS;
}

size_t
fe_params_end(const struct wire_kernel_param *params, uint32_t count)
{
    size_t end = 0;

    for (uint32_t i = 0; i < count; i++)
        if (params[i].offset + params[i].bytes > end)
            end = params[i].offset + params[i].bytes;
    return end;
}

size_t
fe_params_bytes(const struct wire_kernel_param *params, uint32_t count)
{
    size_t bytes = 0;

    for (uint32_t i = 0; i < count; i++)
        bytes += params[i].bytes;
    return bytes;
}

void
fe_params_pack(uint8_t *to, const struct wire_kernel_param *params, uint32_t count,
               void *const *values)
{
    for (uint32_t i = 0; i < count; i++) {
        /* Nearly all are pointers or words: a copy of known length is one instruction. */
        if (params[i].bytes == 8)
            memcpy(to, values[i], 8);
        else if (params[i].bytes == 4)
            memcpy(to, values[i], 4);
        else
            memcpy(to, values[i], params[i].bytes);
        to += params[i].bytes;
    }
}

CUresult
fe_params_extra(void *const *extra, size_t max, const void **buffer_p, size_t *bytes_p)
{
    const void *buffer = NULL;
    const size_t *bytes = NULL;

    for (; *extra != CU_LAUNCH_PARAM_END; extra += 2) {
        if (*extra == CU_LAUNCH_PARAM_BUFFER_POINTER)
            buffer = extra[1];
        else if (*extra == CU_LAUNCH_PARAM_BUFFER_SIZE)
            bytes = extra[1];
        else
            return CUDA_ERROR_INVALID_VALUE;
    }
    if (bytes == NULL || *bytes > max || (buffer == NULL && *bytes > 0))
        return CUDA_ERROR_INVALID_VALUE;
    *buffer_p = buffer;
    *bytes_p = *bytes;
    return CUDA_SUCCESS;
}
