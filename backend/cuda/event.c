/* backend/cuda/event.c -- the client's events */
#include "backend/cuda/jobs.h"
#include "backend/cuda/relay.h"
#include "be_hooks.h"

static CUresult
event_slot(struct be_call *call, uint64_t id, struct be_handle_slot **slot_p)
{
    *slot_p = be_handles_find(&call->session->handles, WIRE_HANDLE_EVENT, id);
    return *slot_p != NULL ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
}

/* Calls without a context of their own run in the event's. */
static CUresult
event_context(struct be_call *call, const struct be_handle_slot *slot)
{
    struct be_handle_slot *context =
        be_handles_at(&call->session->handles, WIRE_HANDLE_CONTEXT, slot->context);

    if (context == NULL)
        return CUDA_ERROR_INVALID_CONTEXT;
    call->context = context->object;
    return be_use_context(call->session, call->context);
}

CUresult
be_hook_cuEventDestroy_v2(struct be_call *call, const struct wire_cuEventDestroy_v2_args *args)
{
    struct be_handle_slot *slot;
    CUresult cr = event_slot(call, args->event, &slot);

    if (cr == CUDA_SUCCESS)
        cr = event_context(call, slot);
    if (cr == CUDA_SUCCESS) {
        be_share_withdraw(call->session->share, slot->object);
        cr = be_user_event_destroy(call->session, slot);
    }
    return be_ended(cr);
}

CUresult
be_hook_cuEventRecordWithFlags(struct be_call *call,
                               const struct wire_cuEventRecordWithFlags_args *args)
{
    struct be_handle_slot *slot;
    CUstream stream;
    CUresult cr;

    cr = be_handle_get(call->session, WIRE_HANDLE_STREAM, args->stream, true, &stream);
    if (cr == CUDA_SUCCESS)
        cr = event_slot(call, args->event, &slot);
    if (cr == CUDA_SUCCESS)
        cr = be_user_event_renew(call, slot);
    if (cr != CUDA_SUCCESS)
        return cr;
    if (args->flags == 0)
        return call->driver->cuEventRecord(slot->object, stream);
    if (call->driver->cuEventRecordWithFlags == NULL)
        return CUDA_ERROR_NOT_SUPPORTED;
    return call->driver->cuEventRecordWithFlags(slot->object, stream, args->flags);
}

CUresult
be_hook_cuEventQuery(struct be_call *call, const struct wire_cuEventQuery_args *args,
                     struct wire_cuEventQuery_reply *reply)
{
    struct be_handle_slot *slot;
    CUresult cr = event_slot(call, args->event, &slot);

    (void)reply;
    if (cr == CUDA_SUCCESS)
        cr = event_context(call, slot);
    if (cr != CUDA_SUCCESS)
        return cr;
    cr = call->driver->cuEventQuery(slot->object);
    if (cr != CUDA_ERROR_NOT_READY)
        be_prove(call->session, UINT64_MAX);
    return cr;
}

CUresult
be_hook_cuEventSynchronize(struct be_call *call, const struct wire_cuEventSynchronize_args *args,
                           struct wire_cuEventSynchronize_reply *reply)
{
    struct be_handle_slot *slot;
    CUresult cr = event_slot(call, args->event, &slot);

    (void)reply;
    if (cr == CUDA_SUCCESS)
        cr = event_context(call, slot);
    if (cr != CUDA_SUCCESS)
        return cr;
    cr = call->driver->cuEventQuery(slot->object);
    if (cr == CUDA_ERROR_NOT_READY)
        return be_park_user_event(call, slot, 0);
    if (cr == CUDA_SUCCESS) /* does not wait; flushes what the device printed */
        cr = call->driver->cuEventSynchronize(slot->object);
    be_prove(call->session, UINT64_MAX);
    return cr;
}

/* As cuEventSynchronize, but nobody waits: a gate of another server is told. */
CUresult
be_hook_gpEventTell(struct be_call *call, const struct wire_gpEventTell_args *args)
{
    struct be_handle_slot *slot;
    CUresult cr = event_slot(call, args->event, &slot);

    if (cr == CUDA_SUCCESS)
        cr = event_context(call, slot);
    if (cr == CUDA_SUCCESS)
        cr = call->driver->cuEventQuery(slot->object);
    if (cr == CUDA_ERROR_NOT_READY &&
        (cr = be_park_user_event(call, slot, args->gate)) == BE_PARKED)
        return CUDA_SUCCESS;
    be_relay_tell(call->session, args->gate, cr);
    return CUDA_SUCCESS;
}

CUresult
be_hook_cuEventElapsedTime_v2(struct be_call *call,
                              const struct wire_cuEventElapsedTime_v2_args *args,
                              struct wire_cuEventElapsedTime_v2_reply *reply)
{
    struct be_handle_slot *start, *end;
    float milliseconds = 0;
    CUresult cr;

    cr = event_slot(call, args->start, &start);
    if (cr == CUDA_SUCCESS)
        cr = event_slot(call, args->end, &end);
    if (cr == CUDA_SUCCESS)
        cr = event_context(call, start);
    if (cr != CUDA_SUCCESS)
        return cr;
    if (call->driver->cuEventElapsedTime_v2 != NULL)
        cr = call->driver->cuEventElapsedTime_v2(&milliseconds, start->object, end->object);
    else
        cr = call->driver->cuEventElapsedTime(&milliseconds, start->object, end->object);
    if (cr == CUDA_SUCCESS) {
        reply->milliseconds = milliseconds;
        be_prove(call->session, UINT64_MAX);
    }
    return cr;
}
