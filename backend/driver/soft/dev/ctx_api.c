/* backend/driver/soft/dev/ctx_api.c -- the current context, its limits and settings */
#include "backend/driver/soft/dev/ctx.h"
#include "backend/driver/soft/dev/green.h"
#include "backend/driver/soft/dev/heap.h"
#include "backend/driver/soft/dev/sched.h"
#include "backend/driver/soft/dev/span.h"
#include "backend/driver/soft/dev/thread.h"
#include "cuda_api.h"

GP_EXPORT CUresult
cuCtxGetCurrent(CUcontext *pctx)
{
    SD_ENTER_READY();
    if (pctx == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    *pctx = sd_thread_handle();
    return CUDA_SUCCESS;
}

/* A primary context may be made current before it is retained: the runtime does so. */
static CUresult
may_be_current(CUcontext handle, CUcontext *ctx_p, CUgreenCtx *green_p)
{
    CUcontext ctx;
    CUresult cr = sd_green_resolve(handle, ctx_p, green_p);

    if (cr != CUDA_SUCCESS)
        return cr;
    ctx = *ctx_p;
    if (!ctx->primary && !atomic_load(&ctx->active))
        return CUDA_ERROR_INVALID_CONTEXT;
    return CUDA_SUCCESS;
}

GP_EXPORT CUresult
cuCtxSetCurrent(CUcontext ctx)
{
    CUgreenCtx green = NULL;

    SD_ENTER_READY();
    if (ctx != NULL) {
        CUresult cr = may_be_current(ctx, &ctx, &green);

        if (cr != CUDA_SUCCESS)
            return cr;
    }
    return sd_thread_set(ctx, green) ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
}

GP_EXPORT CUresult
cuCtxPushCurrent_v2(CUcontext ctx)
{
    CUgreenCtx green;
    CUresult cr;

    SD_ENTER_READY();
    cr = may_be_current(ctx, &ctx, &green);
    if (cr != CUDA_SUCCESS)
        return cr;
    return sd_thread_push(ctx, green) ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
}

GP_EXPORT CUresult
cuCtxPushCurrent(CUcontext ctx)
{
    return cuCtxPushCurrent_v2(ctx);
}

GP_EXPORT CUresult
cuCtxPopCurrent_v2(CUcontext *pctx)
{
    CUcontext ctx;

    SD_ENTER_READY();
    ctx = sd_thread_pop();
    if (ctx == NULL)
        return CUDA_ERROR_INVALID_CONTEXT;
    if (pctx != NULL)
        *pctx = ctx;
    return CUDA_SUCCESS;
}

GP_EXPORT CUresult
cuCtxPopCurrent(CUcontext *pctx)
{
    return cuCtxPopCurrent_v2(pctx);
}

GP_EXPORT CUresult
cuCtxGetDevice(CUdevice *device)
{
    CUcontext ctx;

    SD_ENTER_READY();
    ctx = sd_ctx_current();
    if (ctx == NULL)
        return CUDA_ERROR_INVALID_CONTEXT;
    if (device == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    *device = ctx->dev->ordinal;
    return CUDA_SUCCESS;
}

/* The named context, or the current one for NULL; it may be dead or in error. */
static CUresult
named(CUcontext *ctx_p, CUgreenCtx *green_p)
{
    SD_ENTER_READY();
    if (*ctx_p != NULL)
        return sd_green_resolve(*ctx_p, ctx_p, green_p);
    *ctx_p = sd_ctx_current();
    *green_p = sd_green_current();
    return sd_object_is(*ctx_p, SD_CTX) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_CONTEXT;
}

static CUresult
named_or_current(CUcontext *ctx_p)
{
    CUgreenCtx green;

    return named(ctx_p, &green);
}

GP_EXPORT CUresult
cuCtxGetDevice_v2(CUdevice *device, CUcontext ctx)
{
    CUresult cr = named_or_current(&ctx);

    if (cr != CUDA_SUCCESS)
        return cr;
    if (device == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    *device = ctx->dev->ordinal;
    return CUDA_SUCCESS;
}

GP_EXPORT CUresult
cuCtxGetId(CUcontext ctx, unsigned long long *ctxId)
{
    CUgreenCtx green;
    CUresult cr = named(&ctx, &green);

    if (cr != CUDA_SUCCESS)
        return cr;
    if (ctxId == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    *ctxId = sd_ctx_id(ctx);
    return CUDA_SUCCESS;
}

GP_EXPORT CUresult
cuCtxGetApiVersion(CUcontext ctx, unsigned int *version)
{
    CUresult cr = named_or_current(&ctx);

    if (cr != CUDA_SUCCESS)
        return cr;
    if (version == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    *version = 3020;
    return CUDA_SUCCESS;
}

GP_EXPORT CUresult
cuCtxGetFlags(unsigned int *flags)
{
    CUcontext ctx = NULL;
    CUresult cr = named_or_current(&ctx);

    if (cr != CUDA_SUCCESS)
        return cr;
    if (flags == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    *flags = atomic_load(&ctx->flags);
    return CUDA_SUCCESS;
}

GP_EXPORT CUresult
cuCtxSetFlags(unsigned int flags)
{
    CUcontext ctx;

    SD_ENTER(ctx);
    if (!sd_ctx_flags_valid(flags))
        return CUDA_ERROR_INVALID_VALUE;
    atomic_store(&ctx->flags, flags | CU_CTX_MAP_HOST);
    return CUDA_SUCCESS;
}

/* --- synchronisation --- */

static CUresult
ctx_synchronize(CUcontext ctx, CUgreenCtx green)
{
    if (ctx->captures != 0 && sd_capture_forbids())
        return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
    if (green == NULL)
        return sd_ctx_drain(ctx);
    sd_green_wait_all(green);
    sd_ctx_print_flush(ctx);
    return (CUresult)atomic_load(&ctx->error);
}

GP_EXPORT CUresult
cuCtxSynchronize(void)
{
    CUcontext ctx;

    SD_ENTER(ctx);
    return ctx_synchronize(ctx, sd_green_current());
}

GP_EXPORT CUresult
cuCtxSynchronize_v2(CUcontext ctx)
{
    CUgreenCtx green;
    CUresult cr = named(&ctx, &green);

    if (cr == CUDA_SUCCESS)
        cr = sd_ctx_check(ctx);
    return cr != CUDA_SUCCESS ? cr : ctx_synchronize(ctx, green);
}

/* --- limits and settings --- */

/* Bytes of the L2 cache that may be asked to persist; 0: the device has no such thing. */
static size_t
persisting_most(CUcontext ctx)
{
    return ctx->dev->profile.persisting_l2_bytes;
}

GP_EXPORT CUresult
cuCtxGetLimit(size_t *pvalue, CUlimit limit)
{
    CUcontext ctx;

    SD_ENTER(ctx);
    if (pvalue == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    if ((unsigned)limit >= CU_LIMIT_MAX ||
        (limit == CU_LIMIT_PERSISTING_L2_CACHE_SIZE && persisting_most(ctx) == 0))
        return CUDA_ERROR_UNSUPPORTED_LIMIT;
    *pvalue = sd_ctx_limit(ctx, limit);
    return CUDA_SUCCESS;
}

GP_EXPORT CUresult
cuCtxSetLimit(CUlimit limit, size_t value)
{
    CUcontext ctx;

    SD_ENTER(ctx);
    switch (limit) {
    case CU_LIMIT_STACK_SIZE:
        if (value > 512u << 10)
            return CUDA_ERROR_INVALID_VALUE;
        value = gp_align_up_u64(value, 16);
        break;
    case CU_LIMIT_PRINTF_FIFO_SIZE:
        if (value < 1024)
            value = 1024;
        break;
    case CU_LIMIT_MALLOC_HEAP_SIZE:
        /* As the driver: not after a kernel that uses the heap ran. */
        if (sd_heap_in_use(ctx))
            return CUDA_ERROR_INVALID_VALUE;
        if (value < 8192)
            value = 8192;
        break;
    case CU_LIMIT_DEV_RUNTIME_SYNC_DEPTH:
    case CU_LIMIT_DEV_RUNTIME_PENDING_LAUNCH_COUNT:
        break;
    case CU_LIMIT_MAX_L2_FETCH_GRANULARITY:
        value = value <= 32 ? 32 : value <= 64 ? 64 : 128;
        break;
    case CU_LIMIT_PERSISTING_L2_CACHE_SIZE: /* a hint: nothing persists */
        if (persisting_most(ctx) == 0)
            return CUDA_ERROR_UNSUPPORTED_LIMIT;
        value = gp_min_u64(value, persisting_most(ctx));
        break;
    default:
        return CUDA_ERROR_UNSUPPORTED_LIMIT;
    }
    return sd_ctx_limit_set(ctx, limit, value);
}

GP_EXPORT CUresult
cuCtxGetCacheConfig(CUfunc_cache *pconfig)
{
    CUcontext ctx;

    SD_ENTER(ctx);
    if (pconfig == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    *pconfig = (CUfunc_cache)atomic_load(&ctx->cache_config);
    return CUDA_SUCCESS;
}

GP_EXPORT CUresult
cuCtxSetCacheConfig(CUfunc_cache config)
{
    CUcontext ctx;

    SD_ENTER(ctx);
    if ((unsigned)config > CU_FUNC_CACHE_PREFER_EQUAL)
        return CUDA_ERROR_INVALID_VALUE;
    atomic_store(&ctx->cache_config, (unsigned)config);
    return CUDA_SUCCESS;
}

GP_EXPORT CUresult
cuCtxGetSharedMemConfig(CUsharedconfig *pConfig)
{
    CUcontext ctx;

    SD_ENTER(ctx);
    if (pConfig == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    *pConfig = CU_SHARED_MEM_CONFIG_FOUR_BYTE_BANK_SIZE;
    return CUDA_SUCCESS;
}

GP_EXPORT CUresult
cuCtxSetSharedMemConfig(CUsharedconfig config)
{
    CUcontext ctx;

    SD_ENTER(ctx);
    /* Banks of 4 bytes are all that current devices have; other wishes are hints. */
    return (unsigned)config > CU_SHARED_MEM_CONFIG_EIGHT_BYTE_BANK_SIZE ? CUDA_ERROR_INVALID_VALUE
                                                                        : CUDA_SUCCESS;
}

GP_EXPORT CUresult
cuCtxGetStreamPriorityRange(int *leastPriority, int *greatestPriority)
{
    CUcontext ctx;

    SD_ENTER(ctx);
    if (leastPriority != NULL)
        *leastPriority = 0;
    if (greatestPriority != NULL)
        *greatestPriority = -5;
    return CUDA_SUCCESS;
}

GP_EXPORT CUresult
cuCtxResetPersistingL2Cache(void)
{
    CUcontext ctx;

    SD_ENTER(ctx);
    return CUDA_SUCCESS;
}

GP_EXPORT CUresult
cuCtxGetExecAffinity(CUexecAffinityParam *pExecAffinity, CUexecAffinityType type)
{
    CUcontext ctx;

    SD_ENTER(ctx);
    if (pExecAffinity == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    if (type != CU_EXEC_AFFINITY_TYPE_SM_COUNT)
        return CUDA_ERROR_UNSUPPORTED_EXEC_AFFINITY;
    pExecAffinity->type = type;
    pExecAffinity->param.smCount.val = (unsigned)ctx->dev->profile.multiprocessors;
    return CUDA_SUCCESS;
}

/* --- peers --- */

GP_EXPORT CUresult
cuCtxEnablePeerAccess(CUcontext peerContext, unsigned int Flags)
{
    CUcontext ctx;
    uint64_t bit;

    SD_ENTER(ctx);
    if (Flags != 0)
        return CUDA_ERROR_INVALID_VALUE;
    if (sd_ctx_check(peerContext) != CUDA_SUCCESS || peerContext == ctx)
        return CUDA_ERROR_INVALID_CONTEXT;
    if (peerContext->dev == ctx->dev)
        return CUDA_ERROR_INVALID_DEVICE;
    bit = 1ull << peerContext->dev->ordinal;
    if ((atomic_fetch_or(&ctx->peers, bit) & bit) != 0)
        return CUDA_ERROR_PEER_ACCESS_ALREADY_ENABLED;
    return CUDA_SUCCESS;
}

GP_EXPORT CUresult
cuCtxDisablePeerAccess(CUcontext peerContext)
{
    CUcontext ctx;
    uint64_t bit;

    SD_ENTER(ctx);
    if (!sd_ctx_named(peerContext))
        return CUDA_ERROR_INVALID_CONTEXT;
    bit = 1ull << peerContext->dev->ordinal;
    if ((atomic_fetch_and(&ctx->peers, ~bit) & bit) == 0)
        return CUDA_ERROR_PEER_ACCESS_NOT_ENABLED;
    atomic_fetch_add(&sd_map_epoch, 1);
    return CUDA_SUCCESS;
}

/* --- profiler control: nothing to switch --- */

GP_EXPORT CUresult
cuProfilerInitialize(const char *configFile, const char *outputFile, CUoutput_mode outputMode)
{
    (void)configFile;
    (void)outputFile;
    (void)outputMode;
    SD_ENTER_READY();
    return CUDA_ERROR_NOT_SUPPORTED; /* since CUDA 12 */
}

GP_EXPORT CUresult
cuProfilerStart(void)
{
    CUcontext ctx;

    SD_ENTER(ctx);
    return CUDA_SUCCESS;
}

GP_EXPORT CUresult
cuProfilerStop(void)
{
    CUcontext ctx;

    SD_ENTER(ctx);
    return CUDA_SUCCESS;
}
