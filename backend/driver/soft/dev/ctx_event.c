/* backend/driver/soft/dev/ctx_event.c -- events of all a context's streams, and waits of all of
 * them
 *
 * Two streams of the device's own stand for a context: in the one events are recorded, behind all
 * that was submitted; the other waits for events, and while it does, whatever is submitted to the
 * context comes behind it, streams that are made later included.
 */
#include "backend/driver/soft/dev/capture.h"
#include "backend/driver/soft/dev/ipc_event.h"
#include "backend/driver/soft/dev/sched.h"
#include "cuda_api.h"

/* The named context, alive and not capturing. */
static CUresult
scope_get(CUcontext ctx)
{
    CUresult cr = sd_ctx_check(ctx);

    if (cr == CUDA_SUCCESS && atomic_load(&ctx->captures) != 0)
        cr = sd_capture_break_ctx(ctx);
    return cr;
}

static CUresult
enter(CUcontext ctx, CUevent event)
{
    SD_ENTER_READY();
    if (sd_in_host_function())
        return CUDA_ERROR_NOT_PERMITTED;
    if (!sd_object_is(ctx, SD_CTX))
        return CUDA_ERROR_INVALID_CONTEXT;
    if (!sd_object_is(event, SD_EVENT))
        return CUDA_ERROR_INVALID_HANDLE;
    return CUDA_SUCCESS;
}

GP_EXPORT CUresult
cuCtxRecordEvent(CUcontext hCtx, CUevent hEvent)
{
    CUstream stream = NULL;
    struct sd_op *op;
    CUresult cr = enter(hCtx, hEvent);

    if (cr == CUDA_SUCCESS)
        cr = sd_ctx_check(hCtx);
    if (cr == CUDA_SUCCESS && hEvent->ctx != hCtx)
        cr = CUDA_ERROR_INVALID_HANDLE;
    if (cr == CUDA_SUCCESS)
        cr = scope_get(hCtx);
    if (cr == CUDA_SUCCESS)
        cr = sd_ctx_inside(hCtx, &hCtx->gather, &stream);
    if (cr != CUDA_SUCCESS)
        return cr;
    sd_capture_event_gone(hEvent);
    op = sd_op_new(SD_WORK_RECORD, hCtx);
    cr = op != NULL ? sd_op_depend_all(op) : CUDA_ERROR_OUT_OF_MEMORY;
    if (cr != CUDA_SUCCESS) {
        sd_op_free(op);
        return cr;
    }
    return sd_event_record_op(hEvent, stream, op);
}

GP_EXPORT CUresult
cuCtxWaitEvent(CUcontext hCtx, CUevent hEvent)
{
    CUstream stream = NULL;
    CUresult cr = enter(hCtx, hEvent);

    if (cr == CUDA_SUCCESS)
        cr = sd_ctx_check(hEvent->ctx);
    if (cr == CUDA_SUCCESS && atomic_load(&hEvent->capture) != NULL) {
        (void)sd_capture_event_asked(hEvent);
        cr = CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
    }
    if (cr == CUDA_SUCCESS)
        cr = scope_get(hCtx);
    if (cr == CUDA_SUCCESS)
        cr = sd_ctx_inside(hCtx, &hCtx->gate, &stream);
    return cr != CUDA_SUCCESS ? cr : sd_event_wait_in(hEvent, stream);
}
