/* backend/driver/soft/dev/event.c -- events */
#include "backend/driver/soft/dev/capture.h"
#include "backend/driver/soft/dev/ipc_event.h"
#include "backend/driver/soft/dev/sched.h"
#include "cuda_api.h"

#define EVENT_FLAGS (CU_EVENT_BLOCKING_SYNC | CU_EVENT_DISABLE_TIMING | CU_EVENT_INTERPROCESS)

static CUresult
event_get(CUevent event)
{
    SD_ENTER_READY();
    if (sd_in_host_function())
        return CUDA_ERROR_NOT_PERMITTED;
    if (!sd_object_is(event, SD_EVENT))
        return CUDA_ERROR_INVALID_HANDLE;
    return sd_ctx_check(event->ctx);
}

/* For a call on event and stream; the stream is looked at last. */
static CUresult
event_on_stream(CUevent event, unsigned flags, unsigned known, CUstream handle, CUstream *stream_p)
{
    CUcontext ctx;

    SD_ENTER(ctx);
    if (!sd_object_is(event, SD_EVENT))
        return CUDA_ERROR_INVALID_HANDLE;
    if ((flags & ~known) != 0)
        return CUDA_ERROR_INVALID_VALUE;
    return sd_stream_get(handle, stream_p);
}

/* The last record's mark with a reference; NULL if never recorded. */
static struct sd_mark *
event_mark(CUevent event)
{
    struct sd_mark *mark;

    sd_sched_lock();
    mark = event->mark != NULL ? sd_mark_get(event->mark) : NULL; /* NULL: destroyed meanwhile */
    sd_sched_unlock();
    return mark;
}

/* The event takes over the caller's reference. */
static void
event_set_mark(CUevent event, struct sd_mark *mark)
{
    struct sd_mark *old;

    sd_sched_lock();
    old = mark;
    if (sd_object_is(event, SD_EVENT)) { /* no other thread has destroyed it */
        old = event->mark;
        event->mark = mark;
    }
    sd_sched_unlock();
    sd_mark_put(old);
}

GP_EXPORT CUresult
cuEventCreate(CUevent *phEvent, unsigned int Flags)
{
    CUcontext ctx;
    CUevent event;

    SD_ENTER(ctx);
    if (phEvent == NULL || (Flags & ~(unsigned)EVENT_FLAGS) != 0 ||
        ((Flags & CU_EVENT_INTERPROCESS) != 0 && (Flags & CU_EVENT_DISABLE_TIMING) == 0))
        return CUDA_ERROR_INVALID_VALUE;
    event = sd_object_new(SD_EVENT, sizeof(*event));
    if (event == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    if ((Flags & CU_EVENT_INTERPROCESS) != 0) {
        event->shared = sd_shared_event_new();
        if (event->shared == NULL) {
            sd_object_free(event);
            return CUDA_ERROR_OUT_OF_MEMORY;
        }
    }
    event->ctx = ctx;
    event->flags = Flags;
    sd_sched_lock();
    event->ctx_next = ctx->events;
    if (ctx->events != NULL)
        ctx->events->ctx_prev = event;
    ctx->events = event;
    sd_sched_unlock();
    *phEvent = event;
    return CUDA_SUCCESS;
}

GP_EXPORT CUresult
cuEventDestroy_v2(CUevent hEvent)
{
    struct sd_mark *mark;
    CUcontext ctx;

    SD_ENTER_READY();
    if (!sd_object_is(hEvent, SD_EVENT))
        return CUDA_ERROR_INVALID_HANDLE;
    ctx = hEvent->ctx;
    sd_capture_event_gone(hEvent);
    sd_sched_lock();
    if (hEvent->ctx_prev != NULL)
        hEvent->ctx_prev->ctx_next = hEvent->ctx_next;
    else
        ctx->events = hEvent->ctx_next;
    if (hEvent->ctx_next != NULL)
        hEvent->ctx_next->ctx_prev = hEvent->ctx_prev;
    mark = hEvent->mark;
    hEvent->mark = NULL; /* another thread may be asking for it */
    sd_sched_unlock();
    sd_mark_put(mark);
    if (hEvent->shared != NULL)
        sd_shared_event_free(hEvent->shared);
    sd_object_free(hEvent);
    return sd_ctx_check(ctx);
}

GP_EXPORT CUresult
cuEventDestroy(CUevent hEvent)
{
    return cuEventDestroy_v2(hEvent);
}

GP_EXPORT CUresult
cuEventRecordWithFlags(CUevent hEvent, CUstream hStream, unsigned int flags)
{
    struct sd_op *op;
    CUstream stream;
    CUresult cr = event_on_stream(hEvent, flags, CU_EVENT_RECORD_EXTERNAL, hStream, &stream);

    if (cr != CUDA_SUCCESS)
        return cr;
    if (stream->ctx != hEvent->ctx)
        return CUDA_ERROR_INVALID_HANDLE;
    if (atomic_load(&stream->capture) != NULL)
        return sd_capture_record(stream, hEvent, (flags & CU_EVENT_RECORD_EXTERNAL) != 0);
    if (flags != 0)
        return CUDA_ERROR_ILLEGAL_STATE; /* external is for captures */
    sd_capture_event_gone(hEvent);
    op = sd_op_new(SD_WORK_RECORD, stream->ctx);
    return op != NULL ? sd_event_record_op(hEvent, stream, op) : CUDA_ERROR_OUT_OF_MEMORY;
}

CUresult
sd_event_record_op(CUevent hEvent, CUstream stream, struct sd_op *op)
{
    struct sd_mark *mark = sd_mark_new();
    CUresult cr;

    if (mark == NULL) {
        sd_op_free(op);
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    if (hEvent->shared != NULL) {
        mark->shared = hEvent->shared;
        mark->shared_record = sd_shared_event_record(hEvent->shared);
    }
    op->work.mark = sd_mark_get(mark);
    if (!sd_stream_try_now(stream, op)) {
        cr = sd_stream_submit(stream, op, NULL);
        if (cr != CUDA_SUCCESS) {
            if (mark->shared != NULL) /* nobody waits for what never comes */
                sd_shared_event_complete(mark->shared, mark->shared_record);
            sd_mark_put(mark);
            return cr;
        }
    }
    event_set_mark(hEvent, mark);
    return CUDA_SUCCESS;
}

GP_EXPORT CUresult
cuEventRecord(CUevent hEvent, CUstream hStream)
{
    return cuEventRecordWithFlags(hEvent, hStream, CU_EVENT_RECORD_DEFAULT);
}

GP_EXPORT CUresult
cuEventQuery(CUevent hEvent)
{
    struct sd_mark *mark;
    CUresult cr = event_get(hEvent);

    if (cr != CUDA_SUCCESS)
        return cr;
    if (hEvent->capture != NULL)
        return sd_capture_event_asked(hEvent);
    if (hEvent->shared != NULL)
        return sd_shared_event_done(hEvent->shared) ? CUDA_SUCCESS : CUDA_ERROR_NOT_READY;
    mark = event_mark(hEvent);
    if (mark != NULL && !sd_timeline_reached(mark->timeline, mark->seq))
        cr = CUDA_ERROR_NOT_READY;
    sd_mark_put(mark);
    return cr;
}

GP_EXPORT CUresult
cuEventSynchronize(CUevent hEvent)
{
    struct sd_mark *mark;
    CUcontext ctx;
    CUresult cr = event_get(hEvent);

    if (cr != CUDA_SUCCESS)
        return cr;
    if (hEvent->capture != NULL)
        return sd_capture_event_asked(hEvent);
    ctx = hEvent->ctx;
    mark = event_mark(hEvent);
    if (mark != NULL)
        sd_timeline_wait(mark->timeline, mark->seq, NULL);
    sd_mark_put(mark);
    if (hEvent->shared != NULL) /* another process may have recorded it since */
        sd_shared_event_wait(hEvent->shared);
    sd_ctx_print_flush(ctx);
    return (CUresult)atomic_load(&ctx->error);
}

GP_EXPORT CUresult
cuEventElapsedTime_v2(float *pMilliseconds, CUevent hStart, CUevent hEnd)
{
    struct sd_mark *start, *end;
    uint64_t from, to;
    CUresult cr = event_get(hStart);

    if (cr == CUDA_SUCCESS)
        cr = event_get(hEnd);
    if (cr != CUDA_SUCCESS)
        return cr;
    if (pMilliseconds == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    if (hStart->ctx != hEnd->ctx || ((hStart->flags | hEnd->flags) & CU_EVENT_DISABLE_TIMING) != 0)
        return CUDA_ERROR_INVALID_HANDLE;
    start = event_mark(hStart);
    end = event_mark(hEnd);
    if (start == NULL || end == NULL) {
        cr = CUDA_ERROR_INVALID_HANDLE;
    } else {
        from = atomic_load(&start->ns);
        to = atomic_load(&end->ns);
        if (from == 0 || to == 0)
            cr = CUDA_ERROR_NOT_READY;
        else
            *pMilliseconds = (float)(((double)to - (double)from) / 1e6);
    }
    sd_mark_put(start);
    sd_mark_put(end);
    return cr;
}

GP_EXPORT CUresult
cuEventElapsedTime(float *pMilliseconds, CUevent hStart, CUevent hEnd)
{
    return cuEventElapsedTime_v2(pMilliseconds, hStart, hEnd);
}

GP_EXPORT CUresult
cuStreamWaitEvent(CUstream hStream, CUevent hEvent, unsigned int Flags)
{
    CUstream stream;
    CUresult cr = event_on_stream(hEvent, Flags, CU_EVENT_WAIT_EXTERNAL, hStream, &stream);

    if (cr != CUDA_SUCCESS)
        return cr;
    if (hEvent->capture != NULL || atomic_load(&stream->capture) != NULL)
        return sd_capture_wait(stream, hEvent, (Flags & CU_EVENT_WAIT_EXTERNAL) != 0);
    return sd_event_wait_in(hEvent, stream);
}

CUresult
sd_event_wait_in(CUevent hEvent, CUstream stream)
{
    struct sd_mark *mark;
    struct sd_op *op;
    CUresult cr;

    if (hEvent->shared != NULL) {
        if (sd_shared_event_done(hEvent->shared))
            return CUDA_SUCCESS;
        op = sd_shared_event_op(hEvent->shared, stream->ctx);
        return op != NULL ? sd_stream_submit(stream, op, NULL) : CUDA_ERROR_OUT_OF_MEMORY;
    }
    mark = event_mark(hEvent);
    if (mark == NULL || sd_timeline_reached(mark->timeline, mark->seq)) {
        sd_mark_put(mark);
        return CUDA_SUCCESS;
    }
    op = sd_op_new(SD_WORK_NOTHING, stream->ctx);
    cr = op != NULL ? sd_op_depend(op, mark->timeline, mark->seq) : CUDA_ERROR_OUT_OF_MEMORY;
    sd_mark_put(mark);
    if (cr != CUDA_SUCCESS) {
        sd_op_free(op);
        return cr;
    }
    return sd_stream_submit(stream, op, NULL);
}
