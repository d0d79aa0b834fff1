/* backend/driver/soft/dev/green.c -- green contexts */
#include "backend/driver/soft/dev/green.h"

#include "backend/driver/soft/dev/capture.h"
#include "backend/driver/soft/dev/sched.h"
#include "backend/driver/soft/dev/thread.h"
#include "cuda_api.h"

static _Atomic unsigned long long next_id = 1;

CUresult
sd_green_check(CUgreenCtx green)
{
    CUresult cr;

    if (!sd_object_is(green, SD_GREEN))
        return CUDA_ERROR_INVALID_CONTEXT;
    cr = sd_ctx_check(green->ctx);
    if (cr != CUDA_ERROR_INVALID_CONTEXT && sd_ctx_id(green->ctx) != green->ctx_id)
        cr = CUDA_ERROR_CONTEXT_IS_DESTROYED; /* the primary context was reset */
    return cr;
}

CUresult
sd_green_resolve(CUcontext handle, CUcontext *ctx_p, CUgreenCtx *green_p)
{
    CUgreenCtx green = (CUgreenCtx)handle;
    CUresult cr;

    *green_p = NULL;
    if (sd_object_is(handle, SD_CTX)) {
        *ctx_p = handle;
        return handle->primary || sd_ctx_named(handle) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_CONTEXT;
    }
    cr = sd_green_check(green);
    if (cr == CUDA_SUCCESS && !atomic_load(&green->converted))
        cr = CUDA_ERROR_INVALID_CONTEXT;
    if (cr != CUDA_SUCCESS)
        return cr;
    *ctx_p = green->ctx;
    *green_p = green;
    return CUDA_SUCCESS;
}

CUresult
sd_green_plain(CUcontext *ctx)
{
    CUgreenCtx green;

    return sd_object_is(*ctx, SD_CTX) ? CUDA_SUCCESS : sd_green_resolve(*ctx, ctx, &green);
}

GP_EXPORT CUresult
cuGreenCtxCreate(CUgreenCtx *phCtx, CUdevResourceDesc desc, CUdevice dev, unsigned int flags)
{
    CUgreenCtx green;
    CUcontext ctx;
    CUresult cr;

    SD_ENTER_READY();
    if (phCtx == NULL || flags != CU_GREEN_CTX_DEFAULT_STREAM || !sd_object_is(desc, SD_DESC))
        return CUDA_ERROR_INVALID_VALUE;
    if (sd_device_get(dev) == NULL)
        return CUDA_ERROR_INVALID_DEVICE;
    if (desc->dev != sd_device_get(dev))
        return CUDA_ERROR_INVALID_VALUE;
    green = sd_object_new(SD_GREEN, sizeof(*green));
    if (green == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    cr = cuDevicePrimaryCtxRetain(&ctx, dev);
    if (cr != CUDA_SUCCESS) {
        sd_object_free(green);
        return cr;
    }
    green->ctx = ctx;
    green->ctx_id = sd_ctx_id(ctx);
    green->id = atomic_fetch_add(&next_id, 1);
    green->desc = desc;
    cr = sd_ctx_check(ctx);
    if (cr == CUDA_SUCCESS)
        cr = sd_stream_create_green(ctx, green, 0, &green->stream);
    if (cr != CUDA_SUCCESS) {
        sd_object_free(green);
        (void)cuDevicePrimaryCtxRelease_v2(dev);
        return cr;
    }
    *phCtx = green;
    return CUDA_SUCCESS;
}

GP_EXPORT CUresult
cuGreenCtxDestroy(CUgreenCtx hCtx)
{
    CUcontext ctx;
    CUresult cr;

    SD_ENTER_READY();
    cr = sd_green_check(hCtx);
    if (cr == CUDA_ERROR_INVALID_CONTEXT)
        return cr;
    ctx = hCtx->ctx;
    sd_thread_pop_green(hCtx);
    if (cr != CUDA_ERROR_CONTEXT_IS_DESTROYED) { /* otherwise all of it is gone already */
        sd_capture_ctx_gone(ctx, hCtx);
        sd_green_drop_streams(hCtx);
        sd_object_free(hCtx);
        return cuDevicePrimaryCtxRelease_v2(ctx->dev->ordinal);
    }
    sd_object_free(hCtx);
    return CUDA_SUCCESS;
}

GP_EXPORT CUresult
cuCtxFromGreenCtx(CUcontext *pContext, CUgreenCtx hCtx)
{
    CUresult cr;

    SD_ENTER_READY();
    if (pContext == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    cr = sd_green_check(hCtx);
    if (cr != CUDA_SUCCESS)
        return cr;
    atomic_store(&hCtx->converted, true);
    *pContext = (CUcontext)hCtx;
    return CUDA_SUCCESS;
}

GP_EXPORT CUresult
cuGreenCtxGetId(CUgreenCtx greenCtx, unsigned long long *greenCtxId)
{
    CUresult cr;

    SD_ENTER_READY();
    if (greenCtx == NULL)
        greenCtx = sd_green_current();
    cr = sd_green_check(greenCtx);
    if (cr != CUDA_SUCCESS)
        return cr;
    if (greenCtxId == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    *greenCtxId = greenCtx->id;
    return CUDA_SUCCESS;
}

GP_EXPORT CUresult
cuGreenCtxStreamCreate(CUstream *phStream, CUgreenCtx greenCtx, unsigned int flags, int priority)
{
    CUresult cr;

    SD_ENTER_READY();
    cr = sd_green_check(greenCtx);
    if (cr != CUDA_SUCCESS)
        return cr;
    if (phStream == NULL || flags != CU_STREAM_NON_BLOCKING)
        return CUDA_ERROR_INVALID_VALUE;
    return sd_stream_create_green(greenCtx->ctx, greenCtx, priority, phStream);
}
