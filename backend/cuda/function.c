/* backend/cuda/function.c -- attributes of functions and kernels, occupancy */
#include "backend/cuda/launch.h"
#include "backend/cuda/module.h"
#include "be_hooks.h"

#define BE_OCCUPANCY_MAX 64

CUresult
be_hook_cuFuncGetAttribute(struct be_call *call, const struct wire_cuFuncGetAttribute_args *args,
                           struct wire_cuFuncGetAttribute_reply *reply)
{
    CUfunction function;
    int value = 0;
    CUresult cr = be_function_get(call->session, args->function, &function);

    if (cr == CUDA_SUCCESS)
        cr = call->driver->cuFuncGetAttribute(&value, (CUfunction_attribute)args->attribute,
                                              function);
    reply->value = value;
    return cr;
}

CUresult
be_hook_cuFuncSetAttribute(struct be_call *call, const struct wire_cuFuncSetAttribute_args *args)
{
    CUfunction function;
    CUresult cr = be_function_get(call->session, args->function, &function);

    if (cr == CUDA_SUCCESS)
        cr = call->driver->cuFuncSetAttribute(function, (CUfunction_attribute)args->attribute,
                                              args->value);
    return cr;
}

CUresult
be_hook_cuFuncSetCacheConfig(struct be_call *call,
                             const struct wire_cuFuncSetCacheConfig_args *args)
{
    CUfunction function;
    CUresult cr = be_function_get(call->session, args->function, &function);

    if (cr == CUDA_SUCCESS)
        cr = call->driver->cuFuncSetCacheConfig(function, (CUfunc_cache)args->config);
    return cr;
}

CUresult
be_hook_cuFuncSetSharedMemConfig(struct be_call *call,
                                 const struct wire_cuFuncSetSharedMemConfig_args *args)
{
    CUfunction function;
    CUresult cr = be_function_get(call->session, args->function, &function);

    if (cr == CUDA_SUCCESS && call->driver->cuFuncSetSharedMemConfig == NULL)
        cr = CUDA_ERROR_NOT_SUPPORTED;
    if (cr == CUDA_SUCCESS)
        cr = call->driver->cuFuncSetSharedMemConfig(function, (CUsharedconfig)args->config);
    return cr;
}

/* -- kernels of libraries ------------------------------------------------------------------------
 */

CUresult
be_hook_cuKernelGetAttribute(struct be_call *call,
                             const struct wire_cuKernelGetAttribute_args *args,
                             struct wire_cuKernelGetAttribute_reply *reply)
{
    CUkernel kernel;
    int value = 0;
    CUresult cr = be_kernel_get(call->session, args->kernel, &kernel);

    if (cr == CUDA_SUCCESS)
        cr = call->driver->cuKernelGetAttribute(&value, (CUfunction_attribute)args->attribute,
                                                kernel, args->device);
    reply->value = value;
    return cr;
}

CUresult
be_hook_cuKernelSetAttribute(struct be_call *call,
                             const struct wire_cuKernelSetAttribute_args *args)
{
    CUkernel kernel;
    CUresult cr = be_kernel_get(call->session, args->kernel, &kernel);

    if (cr == CUDA_SUCCESS)
        cr = call->driver->cuKernelSetAttribute((CUfunction_attribute)args->attribute, args->value,
                                                kernel, args->device);
    return cr;
}

CUresult
be_hook_cuKernelSetCacheConfig(struct be_call *call,
                               const struct wire_cuKernelSetCacheConfig_args *args)
{
    CUkernel kernel;
    CUresult cr = be_kernel_get(call->session, args->kernel, &kernel);

    if (cr == CUDA_SUCCESS)
        cr = call->driver->cuKernelSetCacheConfig(kernel, (CUfunc_cache)args->config, args->device);
    return cr;
}

/* -- occupancy
 * -------------------------------------------------------------------------------------- */

CUresult
be_hook_cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(
    struct be_call *call,
    const struct wire_cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags_args *args,
    struct wire_cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags_reply *reply)
{
    CUfunction function;
    int blocks = 0;
    CUresult cr = be_function_get(call->session, args->function, &function);

    if (cr == CUDA_SUCCESS)
        cr = call->driver->cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(
            &blocks, function, args->block_size, args->shared_bytes, args->flags);
    reply->blocks = blocks;
    return cr;
}

/* Programs ask for many sizes of one kernel, one after the other. */
CUresult
be_hook_gpOccupancy(struct be_call *call, const struct wire_gpOccupancy_args *args,
                    struct wire_gpOccupancy_reply *reply)
{
    struct gp_buf *room = be_scratch(call->session);
    int warp = 0, most = 0;
    CUfunction function;
    CUdevice device;
    CUresult cr = be_function_get(call->session, args->function, &function);

    if (cr == CUDA_SUCCESS)
        cr = call->driver->cuDeviceGet(&device, call->context->device);
    if (cr == CUDA_SUCCESS)
        cr = call->driver->cuDeviceGetAttribute(&warp, CU_DEVICE_ATTRIBUTE_WARP_SIZE, device);
    if (cr == CUDA_SUCCESS)
        cr = call->driver->cuDeviceGetAttribute(&most, CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK,
                                                device);
    if (cr != CUDA_SUCCESS)
        return cr;
    for (int i = 1; i <= BE_OCCUPANCY_MAX && warp > 0 && i * warp <= most; i++) {
        int32_t blocks = 0;

        if (call->driver->cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(
                &blocks, function, i * warp, args->shared_bytes, args->flags) != CUDA_SUCCESS)
            blocks = -1;
        gp_buf_append(room, &blocks, sizeof(blocks));
    }
    if (gp_buf_status(room) != GP_OK)
        return CUDA_ERROR_OUT_OF_MEMORY;
    reply->blocks = (const int32_t *)(const void *)room->data;
    reply->blocks_len = (uint32_t)(room->len / sizeof(int32_t));
    return CUDA_SUCCESS;
}

CUresult
be_hook_cuOccupancyAvailableDynamicSMemPerBlock(
    struct be_call *call, const struct wire_cuOccupancyAvailableDynamicSMemPerBlock_args *args,
    struct wire_cuOccupancyAvailableDynamicSMemPerBlock_reply *reply)
{
    CUfunction function;
    size_t bytes = 0;
    CUresult cr = be_function_get(call->session, args->function, &function);

    if (cr == CUDA_SUCCESS && call->driver->cuOccupancyAvailableDynamicSMemPerBlock == NULL)
        cr = CUDA_ERROR_NOT_SUPPORTED;
    if (cr == CUDA_SUCCESS)
        cr = call->driver->cuOccupancyAvailableDynamicSMemPerBlock(&bytes, function, args->blocks,
                                                                   args->block_size);
    reply->bytes = bytes;
    return cr;
}

typedef CUresult (*be_cluster_fn)(int *value, CUfunction function, const CUlaunchConfig *config);

static CUresult
cluster_ask(struct be_call *call, be_cluster_fn ask, uint64_t id, const uint32_t grid[3],
            const uint32_t block[3], uint32_t shared_bytes, const CUlaunchAttribute *attrs,
            uint32_t count, int32_t *value_p)
{
    CUlaunchAttribute attributes[BE_LAUNCH_ATTRIBUTES_MAX];
    CUlaunchConfig config = {
        .gridDimX = grid[0],
        .gridDimY = grid[1],
        .gridDimZ = grid[2],
        .blockDimX = block[0],
        .blockDimY = block[1],
        .blockDimZ = block[2],
        .sharedMemBytes = shared_bytes,
        .attrs = attributes,
        .numAttrs = count,
    };
    CUfunction function;
    int value = 0;
    CUresult cr = be_function_get(call->session, id, &function);

    if (cr == CUDA_SUCCESS && ask == NULL)
        cr = CUDA_ERROR_NOT_SUPPORTED;
    if (cr == CUDA_SUCCESS && count != 0)
        cr = be_launch_attributes(call, attrs, count, attributes);
    if (cr == CUDA_SUCCESS)
        cr = ask(&value, function, &config);
    *value_p = value;
    return cr;
}

CUresult
be_hook_cuOccupancyMaxActiveClusters(struct be_call *call,
                                     const struct wire_cuOccupancyMaxActiveClusters_args *args,
                                     struct wire_cuOccupancyMaxActiveClusters_reply *reply)
{
    return cluster_ask(call, call->driver->cuOccupancyMaxActiveClusters, args->function, args->grid,
                       args->block, args->shared_bytes, args->attributes, args->attributes_len,
                       &reply->clusters);
}

CUresult
be_hook_cuOccupancyMaxPotentialClusterSize(
    struct be_call *call, const struct wire_cuOccupancyMaxPotentialClusterSize_args *args,
    struct wire_cuOccupancyMaxPotentialClusterSize_reply *reply)
{
    return cluster_ask(call, call->driver->cuOccupancyMaxPotentialClusterSize, args->function,
                       args->grid, args->block, args->shared_bytes, args->attributes,
                       args->attributes_len, &reply->cluster_size);
}

/* -- the pool's own
 * --------------------------------------------------------------------------------- */

/* Answered in the sequence: all earlier calls were handed to the driver. */
CUresult
be_hook_gpBarrier(struct be_call *call, const struct wire_gpBarrier_args *args,
                  struct wire_gpBarrier_reply *reply)
{
    (void)call;
    (void)args;
    (void)reply;
    return CUDA_SUCCESS;
}
