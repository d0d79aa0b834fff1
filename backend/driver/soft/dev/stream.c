/* backend/driver/soft/dev/stream.c -- the stream entry points */
#include "backend/driver/soft/dev/capture.h"
#include "backend/driver/soft/dev/green.h"
#include "backend/driver/soft/dev/sched.h"
#include "backend/driver/soft/dev/span.h"
#include "backend/driver/soft/dev/thread.h"
#include "cuda_api.h"

#include <string.h>

/* What NULL means while a green context is current. */
static CUresult
green_stream(CUgreenCtx green, CUstream *stream_p)
{
    CUresult cr = sd_green_check(green);

    if (cr == CUDA_SUCCESS)
        *stream_p = green->stream;
    return cr;
}

/* A stream's green context is still there, also if it failed. */
static CUresult
green_check(CUstream stream)
{
    CUresult cr;

    if (stream->green == NULL)
        return CUDA_SUCCESS;
    cr = sd_green_check(stream->green);
    return cr == CUDA_ERROR_INVALID_CONTEXT || cr == CUDA_ERROR_CONTEXT_IS_DESTROYED ||
                   stream->green->id != stream->green_id
               ? CUDA_ERROR_CONTEXT_IS_DESTROYED
               : CUDA_SUCCESS;
}

CUresult
sd_stream_get(CUstream handle, CUstream *stream_p)
{
    CUcontext ctx;
    CUresult cr;

    if (handle == NULL)
        handle = sd_default_stream();
    if (handle == CU_STREAM_LEGACY || handle == CU_STREAM_PER_THREAD) {
        CUgreenCtx green = sd_green_current();

        cr = sd_enter(&ctx);
        if (cr == CUDA_SUCCESS && green != NULL)
            return handle == CU_STREAM_PER_THREAD ? CUDA_ERROR_INVALID_HANDLE
                                                  : green_stream(green, stream_p);
        if (cr != CUDA_SUCCESS)
            return cr;
        if (handle == CU_STREAM_PER_THREAD)
            return sd_thread_stream(ctx, stream_p);
        if (GP_UNLIKELY(atomic_load(&ctx->captures) != 0)) {
            cr = sd_capture_legacy(ctx);
            if (cr != CUDA_SUCCESS)
                return cr;
        }
        *stream_p = ctx->legacy;
        return CUDA_SUCCESS;
    }
    SD_ENTER(ctx);
    if (!sd_object_is(handle, SD_STREAM) || handle->gone)
        return CUDA_ERROR_INVALID_HANDLE;
    cr = sd_ctx_check(handle->ctx);
    if (cr == CUDA_SUCCESS)
        cr = green_check(handle);
    if (cr == CUDA_SUCCESS)
        *stream_p = handle;
    return cr;
}

CUresult
sd_stream_get_running(CUstream handle, CUstream *stream_p)
{
    CUresult cr = sd_stream_get(handle, stream_p);

    return cr == CUDA_SUCCESS ? sd_capture_blocks_wait(*stream_p) : cr;
}

GP_EXPORT CUresult
cuStreamCreateWithPriority(CUstream *phStream, unsigned int flags, int priority)
{
    CUcontext ctx;

    SD_ENTER(ctx);
    if (phStream == NULL || (flags & ~(unsigned)CU_STREAM_NON_BLOCKING) != 0)
        return CUDA_ERROR_INVALID_VALUE;
    if (sd_green_current() == NULL)
        return sd_stream_create(ctx, flags, priority, phStream);
    if (flags != CU_STREAM_NON_BLOCKING)
        return sd_refuse("cuStreamCreate of a blocking stream in a green context");
    return cuGreenCtxStreamCreate(phStream, sd_green_current(), flags, priority);
}

GP_EXPORT CUresult
cuStreamCreate(CUstream *phStream, unsigned int Flags)
{
    return cuStreamCreateWithPriority(phStream, Flags, 0);
}

GP_EXPORT CUresult
cuStreamDestroy_v2(CUstream hStream)
{
    CUresult cr;

    SD_ENTER_READY();
    if (hStream == NULL || hStream == CU_STREAM_LEGACY || hStream == CU_STREAM_PER_THREAD ||
        !sd_object_is(hStream, SD_STREAM) || hStream->gone || hStream->legacy)
        return CUDA_ERROR_INVALID_HANDLE;
    cr = green_check(hStream);
    if (cr != CUDA_SUCCESS)
        return cr;
    cr = sd_ctx_check(hStream->ctx);
    sd_capture_stream_gone(hStream);
    return sd_stream_destroy(hStream) ? cr : CUDA_ERROR_INVALID_HANDLE;
}

GP_EXPORT CUresult
cuStreamDestroy(CUstream hStream)
{
    return cuStreamDestroy_v2(hStream);
}

GP_EXPORT CUresult
cuStreamSynchronize(CUstream hStream)
{
    CUstream stream;
    CUcontext ctx;
    CUresult cr = sd_stream_get_running(hStream, &stream);

    if (cr != CUDA_SUCCESS)
        return cr;
    ctx = stream->ctx;
    sd_stream_wait_all(stream);
    sd_ctx_print_flush(ctx);
    return (CUresult)atomic_load(&ctx->error);
}

GP_EXPORT CUresult
cuStreamQuery(CUstream hStream)
{
    CUstream stream;
    CUresult cr = sd_stream_get_running(hStream, &stream);

    if (cr != CUDA_SUCCESS)
        return cr;
    if (!sd_stream_all_done(stream))
        return CUDA_ERROR_NOT_READY;
    return (CUresult)atomic_load(&stream->ctx->error);
}

GP_EXPORT CUresult
cuStreamGetFlags(CUstream hStream, unsigned int *flags)
{
    CUstream stream;
    CUresult cr = sd_stream_get(hStream, &stream);

    if (cr != CUDA_SUCCESS)
        return cr;
    if (flags == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    *flags = stream->flags;
    return CUDA_SUCCESS;
}

GP_EXPORT CUresult
cuStreamGetPriority(CUstream hStream, int *priority)
{
    CUstream stream;
    CUresult cr = sd_stream_get(hStream, &stream);

    if (cr != CUDA_SUCCESS)
        return cr;
    if (priority == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    *priority = stream->priority;
    return CUDA_SUCCESS;
}

GP_EXPORT CUresult
cuStreamGetId(CUstream hStream, unsigned long long *streamId)
{
    CUstream stream;
    CUresult cr = sd_stream_get(hStream, &stream);

    if (cr != CUDA_SUCCESS)
        return cr;
    if (streamId == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    *streamId = stream->id;
    return CUDA_SUCCESS;
}

GP_EXPORT CUresult
cuStreamGetCtx(CUstream hStream, CUcontext *pctx)
{
    CUstream stream;
    CUresult cr = sd_stream_get(hStream, &stream);

    if (cr != CUDA_SUCCESS)
        return cr;
    if (pctx == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    *pctx = stream->green != NULL ? (CUcontext)stream->green : stream->ctx;
    if (stream->green != NULL)
        atomic_store(&stream->green->converted, true);
    return CUDA_SUCCESS;
}

GP_EXPORT CUresult
cuStreamGetCtx_v2(CUstream hStream, CUcontext *pCtx, CUgreenCtx *pGreenCtx)
{
    CUstream stream;
    CUresult cr = sd_stream_get(hStream, &stream);

    if (cr != CUDA_SUCCESS)
        return cr;
    if (pCtx == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    *pCtx = stream->ctx;
    if (pGreenCtx != NULL)
        *pGreenCtx = stream->green;
    return CUDA_SUCCESS;
}

GP_EXPORT CUresult
cuStreamGetGreenCtx(CUstream hStream, CUgreenCtx *phCtx)
{
    CUstream stream;
    CUresult cr = sd_stream_get(hStream, &stream);

    if (cr != CUDA_SUCCESS)
        return cr;
    if (phCtx == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    *phCtx = stream->green;
    return CUDA_SUCCESS;
}

GP_EXPORT CUresult
cuStreamGetDevice(CUstream hStream, CUdevice *device)
{
    CUstream stream;
    CUresult cr = sd_stream_get(hStream, &stream);

    if (cr != CUDA_SUCCESS)
        return cr;
    if (device == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    *device = stream->ctx->dev->ordinal;
    return CUDA_SUCCESS;
}

/* --- host functions --- */

static CUresult
submit_host(CUstream hStream, enum sd_work_kind kind, const struct sd_host_work *host)
{
    struct sd_op *op;
    CUstream stream;
    CUresult cr = sd_stream_get(hStream, &stream);

    if (cr != CUDA_SUCCESS)
        return cr;
    op = sd_op_new(kind, stream->ctx);
    if (op == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    op->work.host = *host;
    return sd_stream_submit(stream, op, NULL);
}

GP_EXPORT CUresult
cuLaunchHostFunc(CUstream hStream, CUhostFn fn, void *userData)
{
    CUcontext ctx;

    SD_ENTER(ctx);
    if (fn == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    return submit_host(hStream, SD_WORK_HOST, &(struct sd_host_work){.fn = fn, .user = userData});
}

GP_EXPORT CUresult
cuStreamAddCallback(CUstream hStream, CUstreamCallback callback, void *userData, unsigned int flags)
{
    CUstream stream;
    CUresult cr = sd_stream_get_running(hStream, &stream);

    if (cr != CUDA_SUCCESS)
        return cr;
    if (callback == NULL || flags != 0)
        return CUDA_ERROR_INVALID_VALUE;
    return submit_host(
        hStream, SD_WORK_CALLBACK,
        &(struct sd_host_work){.callback = callback, .user = userData, .stream = hStream});
}

/* --- wait and write values --- */

CUresult
sd_value_op_check(const CUstreamBatchMemOpParams *op)
{
    const unsigned wait_flags = CU_STREAM_WAIT_VALUE_NOR | CU_STREAM_WAIT_VALUE_FLUSH;
    unsigned known = wait_flags;
    enum sd_reach need = SD_REACH_READ;
    uint64_t bytes = 4;

    switch (op->operation) {
    case CU_STREAM_MEM_OP_WAIT_VALUE_64:
        bytes = 8;
        break;
    case CU_STREAM_MEM_OP_WRITE_VALUE_64:
        bytes = 8;
        need = SD_REACH_WRITE;
        known = CU_STREAM_WRITE_VALUE_NO_MEMORY_BARRIER;
        break;
    case CU_STREAM_MEM_OP_WAIT_VALUE_32:
        break;
    case CU_STREAM_MEM_OP_WRITE_VALUE_32:
        need = SD_REACH_WRITE;
        known = CU_STREAM_WRITE_VALUE_NO_MEMORY_BARRIER;
        break;
    case CU_STREAM_MEM_OP_BARRIER:
    case CU_STREAM_MEM_OP_FLUSH_REMOTE_WRITES:
        return CUDA_SUCCESS;
    default:
        return CUDA_ERROR_INVALID_VALUE;
    }
    if ((op->waitValue.flags & ~known) != 0 || op->waitValue.address % bytes != 0 ||
        sd_map_reach(op->waitValue.address, bytes, NULL) < need)
        return CUDA_ERROR_INVALID_VALUE;
    return CUDA_SUCCESS;
}

GP_EXPORT CUresult
cuStreamBatchMemOp_v2(CUstream hStream, unsigned int count, CUstreamBatchMemOpParams *paramArray,
                      unsigned int flags)
{
    CUstreamBatchMemOpParams *copy;
    struct sd_op *op;
    CUstream stream;
    CUresult cr = sd_stream_get(hStream, &stream);

    if (cr != CUDA_SUCCESS)
        return cr;
    if (paramArray == NULL || count == 0 || count > 256 || flags != 0)
        return CUDA_ERROR_INVALID_VALUE;
    for (unsigned i = 0; i < count; i++) {
        cr = sd_value_op_check(&paramArray[i]);
        if (cr != CUDA_SUCCESS)
            return cr;
    }
    copy = malloc(count * sizeof(*copy));
    op = sd_op_new(SD_WORK_VALUES, stream->ctx);
    if (copy == NULL || op == NULL) {
        free(copy);
        sd_op_free(op);
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    memcpy(copy, paramArray, count * sizeof(*copy));
    op->work.values = (struct sd_values_work){copy, count, 0};
    return sd_stream_submit(stream, op, NULL);
}

GP_EXPORT CUresult
cuStreamBatchMemOp(CUstream stream, unsigned int count, CUstreamBatchMemOpParams *paramArray,
                   unsigned int flags)
{
    return cuStreamBatchMemOp_v2(stream, count, paramArray, flags);
}

static CUresult
one_value_op(CUstream stream, CUstreamBatchMemOpType type, CUdeviceptr addr, uint64_t value,
             unsigned flags)
{
    CUstreamBatchMemOpParams op;

    memset(&op, 0, sizeof(op));
    op.waitValue.operation = type; /* wait and write have the same shape */
    op.waitValue.address = addr;
    op.waitValue.value64 = value;
    op.waitValue.flags = flags;
    return cuStreamBatchMemOp_v2(stream, 1, &op, 0);
}

GP_EXPORT CUresult
cuStreamWaitValue32_v2(CUstream stream, CUdeviceptr addr, cuuint32_t value, unsigned int flags)
{
    return one_value_op(stream, CU_STREAM_MEM_OP_WAIT_VALUE_32, addr, value, flags);
}

GP_EXPORT CUresult
cuStreamWaitValue32(CUstream stream, CUdeviceptr addr, cuuint32_t value, unsigned int flags)
{
    return cuStreamWaitValue32_v2(stream, addr, value, flags);
}

GP_EXPORT CUresult
cuStreamWaitValue64_v2(CUstream stream, CUdeviceptr addr, cuuint64_t value, unsigned int flags)
{
    return one_value_op(stream, CU_STREAM_MEM_OP_WAIT_VALUE_64, addr, value, flags);
}

GP_EXPORT CUresult
cuStreamWaitValue64(CUstream stream, CUdeviceptr addr, cuuint64_t value, unsigned int flags)
{
    return cuStreamWaitValue64_v2(stream, addr, value, flags);
}

GP_EXPORT CUresult
cuStreamWriteValue32_v2(CUstream stream, CUdeviceptr addr, cuuint32_t value, unsigned int flags)
{
    return one_value_op(stream, CU_STREAM_MEM_OP_WRITE_VALUE_32, addr, value, flags);
}

GP_EXPORT CUresult
cuStreamWriteValue32(CUstream stream, CUdeviceptr addr, cuuint32_t value, unsigned int flags)
{
    return cuStreamWriteValue32_v2(stream, addr, value, flags);
}

GP_EXPORT CUresult
cuStreamWriteValue64_v2(CUstream stream, CUdeviceptr addr, cuuint64_t value, unsigned int flags)
{
    return one_value_op(stream, CU_STREAM_MEM_OP_WRITE_VALUE_64, addr, value, flags);
}

GP_EXPORT CUresult
cuStreamWriteValue64(CUstream stream, CUdeviceptr addr, cuuint64_t value, unsigned int flags)
{
    return cuStreamWriteValue64_v2(stream, addr, value, flags);
}

GP_EXPORT CUresult
cuFlushGPUDirectRDMAWrites(CUflushGPUDirectRDMAWritesTarget target,
                           CUflushGPUDirectRDMAWritesScope scope)
{
    CUcontext ctx;

    SD_ENTER(ctx);
    (void)target;
    (void)scope;
    return sd_refuse("cuFlushGPUDirectRDMAWrites");
}
