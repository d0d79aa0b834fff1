/* backend/driver/soft/dev/ctx_event.c -- events of all a context's streams, and waits of all of
 * them
 *
 * Two streams of the device's own stand for a context: in the one events are recorded, behind all
 * that was submitted; the other waits for events, and while it does, whatever is submitted to the
 * context comes behind it, streams that are made later included.
 */
#include "backend/driver/soft/dev/capture.h"
#include "backend/driver/soft/dev/green.h"
#include "backend/driver/soft/dev/ipc_event.h"
#include "backend/driver/soft/dev/sched.h"
#include "cuda_api.h"

/* Whose streams: a context's, or those of a green one of it. */
struct scope {
    CUcontext ctx;
    CUgreenCtx green;
};

static CUresult
enter(struct scope *s, CUcontext handle, CUevent event)
{
    CUresult cr;

    SD_ENTER_READY();
    if (sd_in_host_function())
        return CUDA_ERROR_NOT_PERMITTED;
    cr = sd_green_resolve(handle, &s->ctx, &s->green);
    if (cr != CUDA_SUCCESS)
        return cr;
    return sd_object_is(event, SD_EVENT) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
}

static CUresult
enter_green(struct scope *s, CUgreenCtx green, CUevent event)
{
    CUresult cr;

    SD_ENTER_READY();
    if (sd_in_host_function())
        return CUDA_ERROR_NOT_PERMITTED;
    cr = sd_green_check(green);
    if (cr != CUDA_SUCCESS)
        return cr;
    *s = (struct scope){green->ctx, green};
    return sd_object_is(event, SD_EVENT) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
}

/* The context is alive, and none of the streams captures. */
static CUresult
check(const struct scope *s)
{
    CUresult cr = sd_ctx_check(s->ctx);

    if (cr == CUDA_SUCCESS && atomic_load(&s->ctx->captures) != 0)
        cr = sd_capture_break_ctx(s->ctx, s->green);
    return cr;
}

static CUresult
record(const struct scope *s, CUevent event)
{
    CUstream stream = NULL;
    struct sd_op *op;
    CUresult cr = sd_ctx_check(s->ctx);

    if (cr == CUDA_SUCCESS)
        cr = event->ctx == s->ctx ? check(s) : CUDA_ERROR_INVALID_HANDLE;
    if (cr == CUDA_SUCCESS)
        cr = sd_ctx_inside(s->ctx, s->green, s->green != NULL ? &s->green->gather : &s->ctx->gather,
                           &stream);
    if (cr != CUDA_SUCCESS)
        return cr;
    sd_capture_event_gone(event);
    op = sd_op_new(SD_WORK_RECORD, s->ctx);
    cr = op != NULL ? sd_op_depend_all(op, s->green) : CUDA_ERROR_OUT_OF_MEMORY;
    if (cr != CUDA_SUCCESS) {
        sd_op_free(op);
        return cr;
    }
    return sd_event_record_op(event, stream, op);
}

static CUresult
wait_for(const struct scope *s, CUevent event)
{
    CUstream stream = NULL;
    CUresult cr = sd_ctx_check(event->ctx);

    if (cr == CUDA_SUCCESS && atomic_load(&event->capture) != NULL) {
        (void)sd_capture_event_asked(event);
        cr = CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
    }
    if (cr == CUDA_SUCCESS)
        cr = check(s);
    if (cr == CUDA_SUCCESS)
        cr = sd_ctx_inside(s->ctx, s->green, s->green != NULL ? &s->green->gate : &s->ctx->gate,
                           &stream);
    return cr != CUDA_SUCCESS ? cr : sd_event_wait_in(event, stream);
}

GP_EXPORT CUresult
cuCtxRecordEvent(CUcontext hCtx, CUevent hEvent)
{
    struct scope s;
    CUresult cr = enter(&s, hCtx, hEvent);

    return cr == CUDA_SUCCESS ? record(&s, hEvent) : cr;
}

GP_EXPORT CUresult
cuCtxWaitEvent(CUcontext hCtx, CUevent hEvent)
{
    struct scope s;
    CUresult cr = enter(&s, hCtx, hEvent);

    return cr == CUDA_SUCCESS ? wait_for(&s, hEvent) : cr;
}

GP_EXPORT CUresult
cuGreenCtxRecordEvent(CUgreenCtx hCtx, CUevent hEvent)
{
    struct scope s;
    CUresult cr = enter_green(&s, hCtx, hEvent);

    return cr == CUDA_SUCCESS ? record(&s, hEvent) : cr;
}

GP_EXPORT CUresult
cuGreenCtxWaitEvent(CUgreenCtx hCtx, CUevent hEvent)
{
    struct scope s;
    CUresult cr = enter_green(&s, hCtx, hEvent);

    return cr == CUDA_SUCCESS ? wait_for(&s, hEvent) : cr;
}
