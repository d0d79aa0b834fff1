/* backend/cuda/context.c -- primary and created contexts */
#include "backend/cuda/context.h"

#include "backend/cuda/account.h"
#include "backend/cuda/array.h"
#include "backend/cuda/callback.h"
#include "backend/cuda/ipc.h"
#include "backend/cuda/graph.h"
#include "backend/cuda/jobs.h"
#include "backend/cuda/link.h"
#include "backend/cuda/module.h"
#include "backend/cuda/pace.h"
#include "backend/cuda/peer.h"
#include "backend/cuda/put.h"
#include "backend/cuda/relay.h"
#include "backend/cuda/state.h"
#include "backend/cuda/stay.h"
#include "backend/cuda/texture.h"
#include "be_hooks.h"
#include "protocol/base/log.h"

#include <stdlib.h>

#define BE_EVENTS_KEPT 1024
/* Staging that may be taken over the soft limit where waiting could wait for the client. */
#define BE_STAGING_HARD (2ull << 30)

/* -- what the server keeps in a context -------------------------------------------------------- */

CUresult
be_context_event(struct be_context *context, CUevent *event_p)
{
    CUevent event = NULL;

    pthread_mutex_lock(&context->lock);
    if (context->event_count > 0)
        event = context->events[--context->event_count];
    pthread_mutex_unlock(&context->lock);
    if (event != NULL) {
        *event_p = event;
        return CUDA_SUCCESS;
    }
    return context->driver->table.cuEventCreate(event_p, CU_EVENT_DISABLE_TIMING);
}

void
be_context_event_put(struct be_context *context, CUevent event)
{
    bool kept = false;

    if (event == NULL)
        return;
    pthread_mutex_lock(&context->lock);
    if (context->event_count == context->event_cap && context->event_cap < BE_EVENTS_KEPT) {
        size_t cap = context->event_cap == 0 ? 32 : context->event_cap * 2;
        CUevent *events = realloc(context->events, cap * sizeof(*events));

        if (events != NULL) {
            context->events = events;
            context->event_cap = cap;
        }
    }
    if (context->event_count < context->event_cap) {
        context->events[context->event_count++] = event;
        kept = true;
    }
    pthread_mutex_unlock(&context->lock);
    if (!kept)
        (void)context->driver->table.cuEventDestroy_v2(event);
}

CUresult
be_context_mark(struct be_context *context, CUstream stream, CUevent *event_p)
{
    CUevent event;
    CUresult cr;

    cr = be_context_event(context, &event);
    if (cr != CUDA_SUCCESS)
        return cr;
    cr = context->driver->table.cuEventRecord(event, stream);
    if (cr != CUDA_SUCCESS) {
        be_context_event_put(context, event);
        return cr;
    }
    *event_p = event;
    return CUDA_SUCCESS;
}

CUresult
be_context_staging(struct be_context *context, struct be_staging **pool_p)
{
    CUresult cr = CUDA_SUCCESS;

    if (context->staging == NULL)
        cr = be_staging_create(context->driver, 256u << 20, BE_STAGING_HARD, context->staging_bytes,
                               &context->staging);
    if (cr == CUDA_SUCCESS)
        *pool_p = context->staging;
    return cr;
}

CUresult
be_context_copier(struct be_context *context, CUstream *stream_p)
{
    CUresult cr = CUDA_SUCCESS;

    if (context->copier == NULL)
        cr = context->driver->table.cuStreamCreate(&context->copier, CU_STREAM_NON_BLOCKING);
    if (cr == CUDA_SUCCESS)
        *stream_p = context->copier;
    return cr;
}

CUresult
be_context_gates(struct be_context *context, struct be_gates **gates_p)
{
    CUresult cr = CUDA_SUCCESS;

    if (context->gates == NULL)
        cr = be_gates_create(context->driver, &context->gates);
    if (cr == CUDA_SUCCESS)
        *gates_p = context->gates;
    return cr;
}

CUresult
be_context_pager(struct be_context *context, CUstream *stream_p)
{
    CUresult cr = CUDA_SUCCESS;

    if (context->pager == NULL)
        cr = context->driver->table.cuStreamCreate(&context->pager, CU_STREAM_NON_BLOCKING);
    if (cr == CUDA_SUCCESS)
        *stream_p = context->pager;
    return cr;
}

CUresult
be_context_query(struct be_session *session, struct be_context *context)
{
    const struct be_driver_table *t = &session->driver->table;
    uint32_t highest = be_handles_highest(&session->handles, WIRE_HANDLE_STREAM);
    CUresult cr;

    /* A stream that was destroyed may wait for the client still. Who says that all is done goes on
     * to synchronise the context on this thread, by which the client's answer has to come. */
    if (be_callbacks_pending(session))
        return CUDA_ERROR_NOT_READY;
    cr = t->cuStreamQuery(CU_STREAM_LEGACY);

    for (uint32_t i = 1; i <= highest && cr == CUDA_SUCCESS; i++) {
        const struct be_handle_slot *slot = be_handles_at(&session->handles, WIRE_HANDLE_STREAM, i);

        if (slot != NULL && slot->context == context->index)
            cr = t->cuStreamQuery(slot->object);
    }
    if (cr == CUDA_SUCCESS && context->copier != NULL)
        cr = t->cuStreamQuery(context->copier);
    return cr;
}

CUresult
be_context_query_stream(struct be_session *session, struct be_context *context, CUstream stream)
{
    const struct be_driver_table *t = &session->driver->table;
    unsigned flags = 0;
    CUresult cr;

    if (stream == NULL || stream == CU_STREAM_LEGACY)
        return be_context_query(session, context);
    cr = t->cuStreamQuery(stream);
    if (cr == CUDA_SUCCESS)
        cr = t->cuStreamGetFlags(stream, &flags);
    if (cr == CUDA_SUCCESS && (flags & CU_STREAM_NON_BLOCKING) == 0)
        cr = t->cuStreamQuery(CU_STREAM_LEGACY);
    return cr;
}

/* -- which one is current -----------------------------------------------------------------------
 */

CUresult
be_use_context(struct be_session *session, struct be_context *context)
{
    CUresult cr;

    if (session->current == context)
        return CUDA_SUCCESS;
    cr = session->driver->table.cuCtxSetCurrent(context != NULL ? context->handle : NULL);
    if (cr == CUDA_SUCCESS)
        session->current = context;
    return cr;
}

/* -- life -----------------------------------------------------------------------------------------
 */

/* 0 where nobody has measured it: tenants came with a reload. */
static uint64_t
context_cost(struct be_session *session, int32_t device)
{
    uint64_t cost;

    if (!be_ledger_governed(session->ledger))
        return 0;
    cost = be_ledger_context_cost(session->ledger, (unsigned)device);
    return cost != UINT64_MAX ? cost : 0;
}

static CUresult
context_add(struct be_call *call, uint64_t id, CUcontext handle, int32_t device, bool primary)
{
    struct be_session *session = call->session;
    struct be_context *context = calloc(1, sizeof(*context));

    if (context == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    context->charged_bytes = context_cost(session, device);
    if (be_account_charge(session, device, context->charged_bytes) != CUDA_SUCCESS) {
        free(context);
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    context->driver = session->driver;
    context->handle = handle;
    context->device = device;
    context->index = (uint32_t)id;
    context->primary = primary;
    context->staging_bytes = &session->staging_bytes;
    pthread_mutex_init(&context->lock, NULL);
    if (be_pace_attach(session, context) != CUDA_SUCCESS || !be_stay_attach(session, context) ||
        be_handles_add(&session->handles, WIRE_HANDLE_CONTEXT, id, context, context->index) !=
            GP_OK) {
        be_stay_forget(session, context);
        pthread_mutex_destroy(&context->lock);
        be_account_uncharge(session, device, context->charged_bytes);
        free(context);
        return CUDA_ERROR_INVALID_HANDLE;
    }
    return CUDA_SUCCESS;
}

static void
event_end(struct be_session *session, CUevent event)
{
    be_share_withdraw(session->share, event);
    (void)session->driver->table.cuEventDestroy_v2(event);
}

/* Everything that belongs to the context, objects of the client and ours; it is current. */
static void
context_empty(struct be_session *session, struct be_context *context)
{
    const struct be_driver_table *t = &session->driver->table;

    be_callbacks_end(session, context);
    be_relays_end(session, context);
    be_puts_end(session, context);
    be_parked_hand_over(session);
    be_waits_drain(session->waits, context);
    (void)t->cuCtxSynchronize();
    be_waits_drain(session->waits, context);
    be_execs_drop_context(session, context);
    be_pace_forget(session, context);
    be_stay_forget(session, context);
    be_pages_drop(session, context);
    be_space_drop_context(session->space, context->index);
    be_ipc_context_gone(session);
    be_peers_forget(session, context);
    for (unsigned kind = 1; kind < WIRE_HANDLE_COUNT; kind++) {
        uint32_t highest = be_handles_highest(&session->handles, kind);

        if (kind == WIRE_HANDLE_CONTEXT || kind == WIRE_HANDLE_LIBRARY)
            continue;
        for (uint32_t i = 1; i <= highest; i++) {
            struct be_handle_slot *slot = be_handles_at(&session->handles, kind, i);

            if (slot == NULL || slot->context != context->index)
                continue;
            if (kind == WIRE_HANDLE_STREAM)
                (void)t->cuStreamDestroy_v2(slot->object);
            else if (kind == WIRE_HANDLE_EVENT)
                event_end(session, slot->object);
            else if (kind == WIRE_HANDLE_MODULE)
                be_owner_destroy(session, slot->object);
            else if (kind == WIRE_HANDLE_LINK)
                be_link_end(session, slot->object);
            else if (kind == WIRE_HANDLE_GREEN_CONTEXT)
                (void)t->cuGreenCtxDestroy(slot->object); /* its streams went before */
            else if (kind == WIRE_HANDLE_ARRAY || kind == WIRE_HANDLE_MIPMAPPED_ARRAY)
                be_array_put(slot->object);
            else if (kind == WIRE_HANDLE_TEXTURE || kind == WIRE_HANDLE_SURFACE ||
                     kind == WIRE_HANDLE_TEXREF || kind == WIRE_HANDLE_SURFREF)
                be_texture_end(session, kind, slot->object);
            be_handles_remove(slot);
        }
    }
    be_owners_forget_context(session, context);
}

static void
context_end(struct be_session *session, struct be_context *context)
{
    const struct be_driver_table *t = &session->driver->table;

    /* Also where a broken context cannot be made current: nothing may name it any more. */
    if (be_use_context(session, context) != CUDA_SUCCESS)
        log_warn("context: a broken one ends");
    context_empty(session, context);
    be_callbacks_drain(session, context);
    be_staging_destroy(context->staging);
    be_gates_destroy(context->gates);
    if (context->copier != NULL)
        (void)t->cuStreamDestroy_v2(context->copier);
    if (context->pager != NULL)
        (void)t->cuStreamDestroy_v2(context->pager);
    for (size_t i = 0; i < context->event_count; i++)
        (void)t->cuEventDestroy_v2(context->events[i]);
    free(context->events);
    pthread_mutex_destroy(&context->lock);
    (void)be_use_context(session, NULL);
    session->current = NULL;
    be_defer_forget_sticky(session);
    be_account_uncharge(session, context->device, context->charged_bytes);
    free(context);
}

static struct be_context *
primary_of(struct be_session *session, int32_t device, struct be_handle_slot **slot_p)
{
    uint32_t highest = be_handles_highest(&session->handles, WIRE_HANDLE_CONTEXT);

    for (uint32_t i = 1; i <= highest; i++) {
        struct be_handle_slot *slot = be_handles_at(&session->handles, WIRE_HANDLE_CONTEXT, i);
        struct be_context *context = slot != NULL ? slot->object : NULL;

        if (context != NULL && context->primary && context->device == device) {
            *slot_p = slot;
            return context;
        }
    }
    return NULL;
}

CUresult
be_hook_cuDevicePrimaryCtxRetain(struct be_call *call,
                                 const struct wire_cuDevicePrimaryCtxRetain_args *args)
{
    struct be_session *session = call->session;
    struct be_handle_slot *slot;
    CUcontext handle = NULL;
    CUresult cr;

    cr = be_check_ordinal(session, args->device);
    if (cr != CUDA_SUCCESS)
        return cr;
    if (primary_of(session, args->device, &slot) != NULL) {
        /* Again: the same id, or one that the client gave up by reset or release. */
        if (slot->generation != (uint32_t)(args->context >> 32) ||
            be_handles_find(&session->handles, WIRE_HANDLE_CONTEXT, args->context) != slot)
            return CUDA_ERROR_INVALID_HANDLE;
        session->primary_refs[args->device]++;
        return CUDA_SUCCESS;
    }
    cr = call->driver->cuDevicePrimaryCtxRetain(&handle, args->device);
    if (cr != CUDA_SUCCESS)
        return cr;
    cr = context_add(call, args->context, handle, args->device, true);
    if (cr != CUDA_SUCCESS)
        (void)call->driver->cuDevicePrimaryCtxRelease_v2(args->device);
    else
        session->primary_refs[args->device] = 1;
    return cr;
}

static CUresult
primary_end(struct be_call *call, int32_t device)
{
    struct be_session *session = call->session;
    struct be_handle_slot *slot;
    struct be_context *context = primary_of(session, device, &slot);

    if (context == NULL)
        return CUDA_ERROR_INVALID_CONTEXT;
    be_handles_remove(slot);
    session->primary_refs[device] = 0;
    context_end(session, context);
    return call->driver->cuDevicePrimaryCtxRelease_v2(device);
}

CUresult
be_hook_cuDevicePrimaryCtxRelease_v2(struct be_call *call,
                                     const struct wire_cuDevicePrimaryCtxRelease_v2_args *args)
{
    CUresult cr = be_check_ordinal(call->session, args->device);

    if (cr != CUDA_SUCCESS)
        return cr;
    if (call->session->primary_refs[args->device] > 1) {
        call->session->primary_refs[args->device]--;
        return CUDA_SUCCESS;
    }
    return primary_end(call, args->device);
}

CUresult
be_hook_cuDevicePrimaryCtxReset_v2(struct be_call *call,
                                   const struct wire_cuDevicePrimaryCtxReset_v2_args *args,
                                   struct wire_cuDevicePrimaryCtxReset_v2_reply *reply)
{
    struct be_handle_slot *slot;
    CUresult cr = be_check_ordinal(call->session, args->device);

    (void)reply;
    if (cr != CUDA_SUCCESS)
        return cr;
    if (primary_of(call->session, args->device, &slot) != NULL)
        (void)primary_end(call, args->device);
    /* Clears a sticky error too, also one that release left behind. */
    return call->driver->cuDevicePrimaryCtxReset_v2(args->device);
}

/* Core dumps would be files, or a pipe that somebody has to read, on the server. */
static CUresult
flags_check(uint32_t flags)
{
    if ((flags & (CU_CTX_COREDUMP_ENABLE | CU_CTX_USER_COREDUMP_ENABLE)) == 0)
        return CUDA_SUCCESS;
    log_warn("context: core dumps of the device are not carried");
    return CUDA_ERROR_NOT_SUPPORTED;
}

CUresult
be_hook_cuDevicePrimaryCtxSetFlags_v2(struct be_call *call,
                                      const struct wire_cuDevicePrimaryCtxSetFlags_v2_args *args,
                                      struct wire_cuDevicePrimaryCtxSetFlags_v2_reply *reply)
{
    CUresult cr = be_check_ordinal(call->session, args->device);

    (void)reply;
    if (cr == CUDA_SUCCESS)
        cr = flags_check(args->flags);
    if (cr != CUDA_SUCCESS)
        return cr;
    return call->driver->cuDevicePrimaryCtxSetFlags_v2(args->device, args->flags);
}

CUresult
be_hook_cuCtxCreate_v2(struct be_call *call, const struct wire_cuCtxCreate_v2_args *args,
                       struct wire_cuCtxCreate_v2_reply *reply)
{
    CUcontext handle = NULL;
    CUresult cr = be_check_ordinal(call->session, args->device);

    (void)reply;
    if (cr == CUDA_SUCCESS)
        cr = flags_check(args->flags);
    if (cr != CUDA_SUCCESS)
        return cr;
    cr = call->driver->cuCtxCreate_v2(&handle, args->flags, args->device);
    if (cr != CUDA_SUCCESS)
        return cr;
    /* It was pushed on our stack; what is current is our own affair. */
    (void)call->driver->cuCtxPopCurrent_v2(&handle);
    call->session->current = NULL;
    (void)call->driver->cuCtxSetCurrent(NULL);
    cr = context_add(call, args->context, handle, args->device, false);
    if (cr != CUDA_SUCCESS)
        (void)call->driver->cuCtxDestroy_v2(handle);
    return cr;
}

CUresult
be_hook_cuCtxDestroy_v2(struct be_call *call, const struct wire_cuCtxDestroy_v2_args *args)
{
    struct be_session *session = call->session;
    struct be_handle_slot *slot =
        be_handles_find(&session->handles, WIRE_HANDLE_CONTEXT, args->ctx);
    struct be_context *context = slot != NULL ? slot->object : NULL;
    CUcontext handle;

    if (context == NULL || context->primary)
        return CUDA_ERROR_INVALID_CONTEXT;
    handle = context->handle;
    be_handles_remove(slot);
    context_end(session, context);
    return call->driver->cuCtxDestroy_v2(handle);
}

void
be_contexts_destroy(struct be_session *session)
{
    uint32_t highest = be_handles_highest(&session->handles, WIRE_HANDLE_CONTEXT);

    for (uint32_t i = 1; i <= highest; i++) {
        struct be_handle_slot *slot = be_handles_at(&session->handles, WIRE_HANDLE_CONTEXT, i);
        struct be_context *context = slot != NULL ? slot->object : NULL;
        CUcontext handle;
        int32_t device;
        bool primary;

        if (context == NULL)
            continue;
        handle = context->handle;
        device = context->device;
        primary = context->primary;
        be_handles_remove(slot);
        context_end(session, context);
        if (primary)
            (void)session->driver->table.cuDevicePrimaryCtxRelease_v2(device);
        else
            (void)session->driver->table.cuCtxDestroy_v2(handle);
    }
}

/* -- synchronisation
 * -------------------------------------------------------------------------------- */

CUresult
be_hook_cuCtxSynchronize(struct be_call *call, const struct wire_cuCtxSynchronize_args *args,
                         struct wire_cuCtxSynchronize_reply *reply)
{
    CUresult cr;

    (void)args;
    (void)reply;
    cr = be_context_query(call->session, call->context);
    if (cr != CUDA_ERROR_NOT_READY) {
        /* The driver flushes device printf when it is asked to synchronise. */
        cr = call->driver->cuCtxSynchronize();
        be_prove(call->session, UINT64_MAX);
        return cr;
    }
    return be_park_context(call);
}
