/* backend/driver/soft/dev/function.c -- functions, their figures and settings */
#include "backend/driver/soft/dev/mem.h"
#include "backend/driver/soft/dev/launch.h"
#include "backend/driver/soft/dev/module.h"
#include "cuda_api.h"

#include <string.h>

#define SHARED_DEFAULT 49152

CUresult
sd_function_prepare(struct CUfunc_st *fn)
{
    struct sd_text text = {0};
    CUresult cr = sd_kernel_prepare(fn->kernel, &text);

    free(text.data); /* the machine has logged it */
    return cr;
}

/* A setting of the function itself, else of its kernel. */
static int
setting(const struct CUfunc_st *fn, size_t member, int unset)
{
    int value = atomic_load((const _Atomic int *)(const void *)((const char *)&fn->set + member));

    if (value == unset && fn->kern != NULL)
        value =
            atomic_load((const _Atomic int *)(const void *)((const char *)&fn->kern->set + member));
    return value;
}

#define SETTING(fn, name, unset) setting(fn, offsetof(struct sd_settings, name), unset)

unsigned
sd_function_max_dynamic(const struct CUfunc_st *fn)
{
    int set = SETTING(fn, max_dynamic_shared, -1);
    unsigned used = fn->kernel->static_shared_bytes;

    if (set >= 0)
        return (unsigned)set;
    return used < SHARED_DEFAULT ? SHARED_DEFAULT - used : 0;
}

/* Registers that a warp takes: per thread in steps of 8, per warp in steps of 256. */
static unsigned
warp_registers(const struct CUfunc_st *fn)
{
    unsigned regs = (unsigned)gp_align_up_u64(fn->kernel->registers, 8);

    return (unsigned)gp_align_up_u64((regs != 0 ? regs : 8) * 32u, 256);
}

unsigned
sd_function_max_threads(const struct CUfunc_st *fn)
{
    const struct sd_kernel *k = fn->kernel;
    uint64_t limit = 65536u / warp_registers(fn) * 32u;
    const uint32_t *tid = k->req_ntid[0] != 0 ? k->req_ntid : k->max_ntid;

    limit = gp_min_u64(limit, 1024);
    if (tid[0] != 0) {
        uint64_t directive =
            (uint64_t)tid[0] * (tid[1] != 0 ? tid[1] : 1) * (tid[2] != 0 ? tid[2] : 1);

        /* A kernel compiled for a block size fits: the compiler would have spilled. */
        limit = gp_min_u64(directive, 1024);
    }
    return (unsigned)limit;
}

unsigned
sd_occupancy_blocks(const struct CUfunc_st *fn, unsigned threads, uint64_t dynamic_bytes)
{
    const struct sd_device *dev = fn->mod->ctx->dev;
    unsigned warps = (threads + 31) / 32;
    uint64_t shared =
        fn->kernel->static_shared_bytes + dynamic_bytes +
        (uint64_t)sd_device_attribute(dev, CU_DEVICE_ATTRIBUTE_RESERVED_SHARED_MEMORY_PER_BLOCK);
    uint64_t blocks;

    if (threads == 0 || threads > sd_function_max_threads(fn) ||
        dynamic_bytes > sd_function_max_dynamic(fn))
        return 0;
    blocks = (uint64_t)sd_device_attribute(dev, CU_DEVICE_ATTRIBUTE_MAX_BLOCKS_PER_MULTIPROCESSOR);
    blocks = gp_min_u64(blocks, (uint64_t)sd_device_attribute(
                                    dev, CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_MULTIPROCESSOR) /
                                    32u / warps);
    blocks = gp_min_u64(
        blocks, gp_max_u64(65536u / warp_registers(fn) / warps,
                           fn->kernel->max_ntid[0] != 0 || fn->kernel->req_ntid[0] != 0 ? 1 : 0));
    blocks = gp_min_u64(blocks, (uint64_t)sd_device_attribute(
                                    dev, CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_MULTIPROCESSOR) /
                                    gp_align_up_u64(shared, 128));
    return (unsigned)blocks;
}

int
sd_function_cluster(const struct CUfunc_st *fn, int at)
{
    if (fn->kernel->req_cluster[at] != 0)
        return (int)fn->kernel->req_cluster[at];
    return setting(fn, offsetof(struct sd_settings, cluster) + (size_t)at * sizeof(_Atomic int), 0);
}

unsigned
sd_function_max_cluster(const struct CUfunc_st *fn)
{
    unsigned most =
        SETTING(fn, non_portable_cluster, 0) != 0 ? SD_CLUSTER_MAX : SD_CLUSTER_PORTABLE_MAX;

    if (fn->mod->ctx->dev->profile.cc_major < 9)
        return 1;
    return fn->kernel->max_cluster != 0 && fn->kernel->max_cluster < most ? fn->kernel->max_cluster
                                                                          : most;
}

static CUresult
fixed_attribute(const struct CUfunc_st *fn, CUfunction_attribute attrib, int *value_p)
{
    const struct sd_kernel *k = fn->kernel;

    switch (attrib) {
    case CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK:
        *value_p = (int)sd_function_max_threads(fn);
        return CUDA_SUCCESS;
    case CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES:
        *value_p = (int)k->static_shared_bytes;
        return CUDA_SUCCESS;
    case CU_FUNC_ATTRIBUTE_CONST_SIZE_BYTES:
    case CU_FUNC_ATTRIBUTE_CACHE_MODE_CA:
        *value_p = 0;
        return CUDA_SUCCESS;
    case CU_FUNC_ATTRIBUTE_LOCAL_SIZE_BYTES:
        *value_p = (int)k->local_bytes;
        return CUDA_SUCCESS;
    case CU_FUNC_ATTRIBUTE_NUM_REGS:
        *value_p = (int)k->registers;
        return CUDA_SUCCESS;
    case CU_FUNC_ATTRIBUTE_PTX_VERSION:
        *value_p = (int)k->target;
        return CUDA_SUCCESS;
    case CU_FUNC_ATTRIBUTE_BINARY_VERSION:
        *value_p = (int)sd_ctx_capability(fn->mod->ctx);
        return CUDA_SUCCESS;
    default:
        return CUDA_ERROR_INVALID_VALUE;
    }
}

CUresult
sd_function_attribute(struct CUfunc_st *fn, CUfunction_attribute attrib, int *value_p)
{
    int at = (int)attrib - CU_FUNC_ATTRIBUTE_REQUIRED_CLUSTER_WIDTH;
    CUresult cr;

    if ((unsigned)attrib >= CU_FUNC_ATTRIBUTE_MAX)
        return CUDA_ERROR_INVALID_VALUE;
    cr = sd_function_prepare(fn);
    if (cr != CUDA_SUCCESS)
        return cr;
    switch (attrib) {
    case CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES:
        *value_p = (int)sd_function_max_dynamic(fn);
        return CUDA_SUCCESS;
    case CU_FUNC_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT:
        *value_p = SETTING(fn, carveout, CU_SHAREDMEM_CARVEOUT_DEFAULT);
        return CUDA_SUCCESS;
    case CU_FUNC_ATTRIBUTE_CLUSTER_SIZE_MUST_BE_SET:
        *value_p = fn->kernel->explicit_cluster;
        return CUDA_SUCCESS;
    case CU_FUNC_ATTRIBUTE_REQUIRED_CLUSTER_WIDTH:
    case CU_FUNC_ATTRIBUTE_REQUIRED_CLUSTER_HEIGHT:
    case CU_FUNC_ATTRIBUTE_REQUIRED_CLUSTER_DEPTH:
        *value_p = sd_function_cluster(fn, at);
        return CUDA_SUCCESS;
    case CU_FUNC_ATTRIBUTE_NON_PORTABLE_CLUSTER_SIZE_ALLOWED:
        *value_p = SETTING(fn, non_portable_cluster, 0);
        return CUDA_SUCCESS;
    case CU_FUNC_ATTRIBUTE_CLUSTER_SCHEDULING_POLICY_PREFERENCE:
        *value_p = SETTING(fn, cluster_policy, 0);
        return CUDA_SUCCESS;
    default:
        return fixed_attribute(fn, attrib, value_p);
    }
}

CUresult
sd_settings_change(struct sd_settings *set, const struct CUfunc_st *fn, CUfunction_attribute attrib,
                   int value)
{
    int optin = sd_device_attribute(fn->mod->ctx->dev,
                                    CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN);
    CUresult cr = sd_function_prepare((struct CUfunc_st *)fn);

    if (cr != CUDA_SUCCESS)
        return cr;
    switch (attrib) {
    case CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES:
        if (value < 0 || value > optin - (int)fn->kernel->static_shared_bytes)
            return CUDA_ERROR_INVALID_VALUE;
        atomic_store(&set->max_dynamic_shared, value);
        return CUDA_SUCCESS;
    case CU_FUNC_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT:
        if (value < -1 || value > 100)
            return CUDA_ERROR_INVALID_VALUE;
        atomic_store(&set->carveout, value);
        return CUDA_SUCCESS;
    case CU_FUNC_ATTRIBUTE_REQUIRED_CLUSTER_WIDTH:
    case CU_FUNC_ATTRIBUTE_REQUIRED_CLUSTER_HEIGHT:
    case CU_FUNC_ATTRIBUTE_REQUIRED_CLUSTER_DEPTH:
        if (value < 0 || fn->kernel->req_cluster[0] != 0)
            return CUDA_ERROR_INVALID_VALUE;
        atomic_store(&set->cluster[attrib - CU_FUNC_ATTRIBUTE_REQUIRED_CLUSTER_WIDTH], value);
        return CUDA_SUCCESS;
    case CU_FUNC_ATTRIBUTE_NON_PORTABLE_CLUSTER_SIZE_ALLOWED:
        atomic_store(&set->non_portable_cluster, value != 0);
        return CUDA_SUCCESS;
    case CU_FUNC_ATTRIBUTE_CLUSTER_SCHEDULING_POLICY_PREFERENCE:
        if ((unsigned)value > CU_CLUSTER_SCHEDULING_POLICY_LOAD_BALANCING)
            return CUDA_ERROR_INVALID_VALUE;
        atomic_store(&set->cluster_policy, value);
        return CUDA_SUCCESS;
    default:
        return CUDA_ERROR_INVALID_VALUE;
    }
}

/* A function, or a kernel in the current context, which there must be. */
static CUresult
function_get(CUfunction handle, struct CUfunc_st **fn_p)
{
    CUcontext ctx;
    CUresult cr;

    SD_ENTER(ctx);
    cr = sd_function_get(handle, ctx, fn_p);
    return cr == CUDA_SUCCESS ? sd_ctx_check((*fn_p)->mod->ctx) : cr;
}

/* For questions: a function knows its context itself. */
static CUresult
function_ask(CUfunction handle, struct CUfunc_st **fn_p)
{
    SD_ENTER_READY();
    if (sd_object_is(handle, SD_FUNCTION)) {
        *fn_p = handle;
        return sd_ctx_check(handle->mod->ctx);
    }
    if (!sd_object_is(handle, SD_KERNEL))
        return CUDA_ERROR_INVALID_HANDLE;
    return function_get(handle, fn_p);
}

GP_EXPORT CUresult
cuFuncGetAttribute(int *pi, CUfunction_attribute attrib, CUfunction hfunc)
{
    GP_USE();
    struct CUfunc_st *fn;
    CUresult cr = function_get(hfunc, &fn);

    if (cr != CUDA_SUCCESS)
        return cr;
    return pi != NULL ? sd_function_attribute(fn, attrib, pi) : CUDA_ERROR_INVALID_VALUE;
}

GP_EXPORT CUresult
cuFuncSetAttribute(CUfunction hfunc, CUfunction_attribute attrib, int value)
{
    GP_USE();
    struct CUfunc_st *fn;
    CUresult cr = function_get(hfunc, &fn);

    return cr != CUDA_SUCCESS ? cr : sd_settings_change(&fn->set, fn, attrib, value);
}

GP_EXPORT CUresult
cuFuncSetCacheConfig(CUfunction hfunc, CUfunc_cache config)
{
    GP_USE();
    struct CUfunc_st *fn;
    CUresult cr = function_get(hfunc, &fn);

    if (cr != CUDA_SUCCESS)
        return cr;
    if ((unsigned)config > CU_FUNC_CACHE_PREFER_EQUAL)
        return CUDA_ERROR_INVALID_VALUE;
    atomic_store(&fn->set.cache_config, (int)config);
    return CUDA_SUCCESS;
}

GP_EXPORT CUresult
cuFuncSetSharedMemConfig(CUfunction hfunc, CUsharedconfig config)
{
    GP_USE();
    struct CUfunc_st *fn;
    CUresult cr = function_get(hfunc, &fn);

    if (cr != CUDA_SUCCESS)
        return cr;
    return (unsigned)config > CU_SHARED_MEM_CONFIG_EIGHT_BYTE_BANK_SIZE ? CUDA_ERROR_INVALID_VALUE
                                                                        : CUDA_SUCCESS;
}

GP_EXPORT CUresult
cuFuncGetModule(CUmodule *hmod, CUfunction hfunc)
{
    GP_USE();
    struct CUfunc_st *fn;
    CUresult cr = function_ask(hfunc, &fn);

    if (cr != CUDA_SUCCESS)
        return cr;
    if (hmod == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    *hmod = fn->mod;
    return CUDA_SUCCESS;
}

GP_EXPORT CUresult
cuFuncGetName(const char **name, CUfunction hfunc)
{
    GP_USE();
    struct CUfunc_st *fn;
    CUresult cr = function_ask(hfunc, &fn);

    if (cr != CUDA_SUCCESS)
        return cr;
    if (name == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    *name = fn->kernel->name;
    return CUDA_SUCCESS;
}

CUresult
sd_param_info(const struct sd_param *params, size_t count, size_t index, size_t *offset,
              size_t *size)
{
    if (offset == NULL || index >= count)
        return CUDA_ERROR_INVALID_VALUE;
    *offset = params[index].offset;
    if (size != NULL)
        *size = params[index].bytes;
    return CUDA_SUCCESS;
}

GP_EXPORT CUresult
cuFuncGetParamInfo(CUfunction func, size_t paramIndex, size_t *paramOffset, size_t *paramSize)
{
    GP_USE();
    struct CUfunc_st *fn;
    CUresult cr = function_ask(func, &fn);

    return cr == CUDA_SUCCESS ? sd_param_info(fn->kernel->params, fn->kernel->nparams, paramIndex,
                                              paramOffset, paramSize)
                              : cr;
}

GP_EXPORT CUresult
cuFuncIsLoaded(CUfunctionLoadingState *state, CUfunction function)
{
    GP_USE();
    struct CUfunc_st *fn;
    CUresult cr = function_ask(function, &fn);

    if (cr != CUDA_SUCCESS)
        return cr;
    if (state == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    *state = CU_FUNCTION_LOADING_STATE_LOADED;
    return CUDA_SUCCESS;
}

GP_EXPORT CUresult
cuFuncLoad(CUfunction function)
{
    GP_USE();
    struct CUfunc_st *fn;
    CUresult cr = function_ask(function, &fn);

    return cr != CUDA_SUCCESS ? cr : sd_function_prepare(fn);
}

/* --- occupancy --- */

GP_EXPORT CUresult
cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int *numBlocks, CUfunction func, int blockSize,
                                                     size_t dynamicSMemSize, unsigned int flags)
{
    GP_USE();
    struct CUfunc_st *fn;
    CUresult cr = function_get(func, &fn);

    if (cr == CUDA_SUCCESS)
        cr = sd_function_prepare(fn);
    if (cr != CUDA_SUCCESS)
        return cr;
    if (numBlocks == NULL || blockSize <= 0 ||
        (flags & ~(unsigned)CU_OCCUPANCY_DISABLE_CACHING_OVERRIDE) != 0)
        return CUDA_ERROR_INVALID_VALUE;
    *numBlocks = (int)sd_occupancy_blocks(fn, (unsigned)blockSize, dynamicSMemSize);
    return CUDA_SUCCESS;
}

GP_EXPORT CUresult
cuOccupancyMaxActiveBlocksPerMultiprocessor(int *numBlocks, CUfunction func, int blockSize,
                                            size_t dynamicSMemSize)
{
    return cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(numBlocks, func, blockSize,
                                                                dynamicSMemSize, 0);
}

GP_EXPORT CUresult
cuOccupancyMaxPotentialBlockSizeWithFlags(int *minGridSize, int *blockSize, CUfunction func,
                                          CUoccupancyB2DSize blockSizeToDynamicSMemSize,
                                          size_t dynamicSMemSize, int blockSizeLimit,
                                          unsigned int flags)
{
    GP_USE();
    unsigned best = 0, best_threads = 0, limit;
    struct CUfunc_st *fn;
    CUresult cr = function_get(func, &fn);

    if (cr == CUDA_SUCCESS)
        cr = sd_function_prepare(fn);
    if (cr != CUDA_SUCCESS)
        return cr;
    if (minGridSize == NULL || blockSize == NULL || blockSizeLimit < 0 ||
        (flags & ~(unsigned)CU_OCCUPANCY_DISABLE_CACHING_OVERRIDE) != 0)
        return CUDA_ERROR_INVALID_VALUE;
    limit = sd_function_max_threads(fn);
    if (blockSizeLimit != 0 && (unsigned)blockSizeLimit < limit)
        limit = (unsigned)blockSizeLimit;
    /* Largest first, so that of equal occupancies the largest block wins. */
    for (unsigned threads = (unsigned)gp_align_up_u64(limit, 32); threads >= 32; threads -= 32) {
        unsigned size = threads < limit ? threads : limit;
        size_t dynamic = blockSizeToDynamicSMemSize != NULL ? blockSizeToDynamicSMemSize((int)size)
                                                            : dynamicSMemSize;
        unsigned active = sd_occupancy_blocks(fn, size, dynamic) * size;

        if (active > best) {
            best = active;
            best_threads = size;
        }
    }
    if (best_threads == 0)
        return CUDA_ERROR_INVALID_VALUE;
    *blockSize = (int)best_threads;
    *minGridSize = (int)(best / best_threads) * fn->mod->ctx->dev->profile.multiprocessors;
    return CUDA_SUCCESS;
}

GP_EXPORT CUresult
cuOccupancyMaxPotentialBlockSize(int *minGridSize, int *blockSize, CUfunction func,
                                 CUoccupancyB2DSize blockSizeToDynamicSMemSize,
                                 size_t dynamicSMemSize, int blockSizeLimit)
{
    return cuOccupancyMaxPotentialBlockSizeWithFlags(minGridSize, blockSize, func,
                                                     blockSizeToDynamicSMemSize, dynamicSMemSize,
                                                     blockSizeLimit, 0);
}

GP_EXPORT CUresult
cuOccupancyAvailableDynamicSMemPerBlock(size_t *dynamicSmemSize, CUfunction func, int numBlocks,
                                        int blockSize)
{
    GP_USE();
    struct CUfunc_st *fn;
    CUresult cr = function_get(func, &fn);
    const struct sd_device *dev;
    uint64_t per_block, used;

    if (cr == CUDA_SUCCESS)
        cr = sd_function_prepare(fn);
    if (cr != CUDA_SUCCESS)
        return cr;
    if (dynamicSmemSize == NULL || numBlocks <= 0 || blockSize <= 0 ||
        sd_occupancy_blocks(fn, (unsigned)blockSize, 0) < (unsigned)numBlocks)
        return CUDA_ERROR_INVALID_VALUE;
    dev = fn->mod->ctx->dev;
    per_block = ((uint64_t)sd_device_attribute(
                     dev, CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_MULTIPROCESSOR) /
                 (unsigned)numBlocks) &
                ~127ull;
    used = fn->kernel->static_shared_bytes +
           (uint64_t)sd_device_attribute(dev, CU_DEVICE_ATTRIBUTE_RESERVED_SHARED_MEMORY_PER_BLOCK);
    *dynamicSmemSize =
        per_block > used ? gp_min_u64(per_block - used, sd_function_max_dynamic(fn)) : 0;
    return CUDA_SUCCESS;
}

/* Blocks of the cluster that a configuration, or else the function, asks for; 0: none that there
 * is. */
static unsigned
config_cluster(struct CUfunc_st *fn, const struct sd_launch_dims *dims)
{
    unsigned size = 1;

    for (int i = 0; i < 3; i++) {
        unsigned n = 1;
        int set = 0;

        if (dims->cluster[0] != 0)
            n = dims->cluster[i];
        else if (sd_function_attribute(
                     fn, (CUfunction_attribute)(CU_FUNC_ATTRIBUTE_REQUIRED_CLUSTER_WIDTH + i),
                     &set) == CUDA_SUCCESS &&
                 set > 0)
            n = (unsigned)set;
        if (n > SD_CLUSTER_MAX)
            return 0;
        size *= n;
    }
    return size <= sd_function_max_cluster(fn) ? size : 0;
}

GP_EXPORT CUresult
cuOccupancyMaxActiveClusters(int *numClusters, CUfunction func, const CUlaunchConfig *config)
{
    GP_USE();
    struct CUfunc_st *fn;
    CUresult cr = function_get(func, &fn);
    struct sd_launch_dims dims;
    unsigned cluster, blocks;
    CUevent after;

    if (cr == CUDA_SUCCESS)
        cr = sd_function_prepare(fn);
    if (cr != CUDA_SUCCESS)
        return cr;
    if (numClusters == NULL || config == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    cr = sd_launch_config(config, &dims, &after);
    if (cr != CUDA_SUCCESS)
        return cr;
    cluster = config_cluster(fn, &dims);
    if (cluster == 0)
        return CUDA_ERROR_INVALID_CLUSTER_SIZE;
    blocks = sd_occupancy_blocks(fn, config->blockDimX * config->blockDimY * config->blockDimZ,
                                 config->sharedMemBytes);
    *numClusters = (int)(blocks * (unsigned)fn->mod->ctx->dev->profile.multiprocessors / cluster);
    return CUDA_SUCCESS;
}

GP_EXPORT CUresult
cuOccupancyMaxPotentialClusterSize(int *clusterSize, CUfunction func, const CUlaunchConfig *config)
{
    GP_USE();
    struct CUfunc_st *fn;
    CUresult cr = function_get(func, &fn);
    struct sd_launch_dims dims;
    unsigned size, room;
    CUevent after;

    if (cr == CUDA_SUCCESS)
        cr = sd_function_prepare(fn);
    if (cr != CUDA_SUCCESS)
        return cr;
    if (clusterSize == NULL || config == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    cr = sd_launch_config(config, &dims, &after);
    if (cr != CUDA_SUCCESS)
        return cr;
    room = sd_occupancy_blocks(fn, config->blockDimX * config->blockDimY * config->blockDimZ,
                               config->sharedMemBytes) *
           (unsigned)fn->mod->ctx->dev->profile.multiprocessors;
    for (size = sd_function_max_cluster(fn); size > room; size /= 2)
        ;
    *clusterSize = (int)size;
    return CUDA_SUCCESS;
}
