/* backend/cuda/memory.c -- allocations that the client names, and leases for more */
#include "backend/cuda/ipc.h"
#include "backend/cuda/state.h"
#include "backend/cuda/stay.h"
#include "be_hooks.h"
#include "protocol/base/log.h"

#include <stdlib.h>
#include <string.h>

#define BE_GLOBALS_MAX 65536

CUresult
be_hook_cuMemAlloc_v2(struct be_call *call, const struct wire_cuMemAlloc_v2_args *args)
{
    CUresult cr = be_check_ordinal(call->session, args->device);

    if (cr != CUDA_SUCCESS)
        return cr;
    cr = be_space_alloc(call->session->space, args->address, args->bytes, args->device,
                        call->context->index);
    be_stay_grown(call->session);
    return cr;
}

CUresult
be_hook_cuMemFree_v2(struct be_call *call, const struct wire_cuMemFree_v2_args *args)
{
    CUresult cr = be_space_free(call->session->space, args->address, call->context->handle);

    if (cr == CUDA_SUCCESS)
        be_ipc_freed(call->session, args->address);
    return cr;
}

/* The answer comes from the reaper, after the frees that were asked for before: to the client a
 * free is done when it returns. */
static CUresult
ask(struct be_call *call, int32_t device, uint64_t bytes)
{
    struct be_session *session = call->session;
    CUresult cr = be_check_ordinal(session, device);
    CUcontext context = NULL;

    if (cr != CUDA_SUCCESS)
        return cr;
    /* The call's own, where it is the device's: another one may have failed, which is not its
     * matter. */
    if (call->context != NULL && call->context->device == device)
        context = call->context->handle;
    for (uint32_t i = 1;
         context == NULL && i <= be_handles_highest(&session->handles, WIRE_HANDLE_CONTEXT); i++) {
        struct be_handle_slot *slot = be_handles_at(&session->handles, WIRE_HANDLE_CONTEXT, i);

        if (slot != NULL && ((struct be_context *)slot->object)->device == device)
            context = ((struct be_context *)slot->object)->handle;
    }
    cr = be_space_ask(session->space, device, bytes, context, (uint64_t)call->id << 32 | call->tag);
    return cr == CUDA_SUCCESS ? BE_PARKED : cr;
}

CUresult
be_hook_gpLease(struct be_call *call, const struct wire_gpLease_args *args,
                struct wire_gpLease_reply *reply)
{
    (void)reply;
    return ask(call, args->device, args->bytes);
}

CUresult
be_hook_gpLeaseReturn(struct be_call *call, const struct wire_gpLeaseReturn_args *args)
{
    return be_space_lease_return(call->session->space, args->device, args->bytes);
}

CUresult
be_hook_gpMemoryLimits(struct be_call *call, const struct wire_gpMemoryLimits_args *args,
                       struct wire_gpMemoryLimits_reply *reply)
{
    struct gp_buf *text = be_scratch(call->session);
    CUresult cr = be_check_ordinal(call->session, args->device);
    char *to;

    reply->text = "";
    if (cr != CUDA_SUCCESS || !be_ledger_governed(call->session->ledger))
        return cr;
    to = (char *)gp_buf_reserve(text, BE_EXPLAIN_BYTES);
    if (to == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    be_ledger_explain(call->session->ledger, (unsigned)args->device, to, BE_EXPLAIN_BYTES);
    reply->text = to;
    reply->text_len = (uint32_t)strlen(to);
    return CUDA_SUCCESS;
}

CUresult
be_hook_cuMemGetInfo_v2(struct be_call *call, const struct wire_cuMemGetInfo_v2_args *args,
                        struct wire_cuMemGetInfo_v2_reply *reply)
{
    (void)args;
    (void)reply;
    return ask(call, call->context->device, 0);
}

/* -- what copies may name
 * -------------------------------------------------------------------------- */

CUresult
be_check_device(struct be_session *session, uint64_t address, uint64_t bytes)
{
    if (be_space_inside(session->space, address, bytes))
        return be_space_mapped(session->space, address, bytes) ? CUDA_SUCCESS
                                                               : CUDA_ERROR_INVALID_VALUE;
    for (size_t i = 0; i < session->global_count; i++) {
        const struct be_global *g = &session->globals[i];

        if (address >= g->address && address - g->address <= g->bytes &&
            bytes <= g->bytes - (address - g->address))
            return CUDA_SUCCESS;
    }
    return be_pages_reach(session, address, bytes) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

bool
be_memory_near(struct be_session *session, uint64_t address, uint64_t bytes)
{
    /* What is counted or paged goes by the driver's copies. */
    return session->limits.straight && session->driver->near != NULL && session->pace == NULL &&
           session->stay == NULL && be_space_own(session->space, address, bytes) &&
           session->driver->near->reaches(address, bytes);
}

CUresult
be_global_add(struct be_call *call, uint64_t address, uint64_t bytes, const void *owner)
{
    struct be_session *session = call->session;

    for (size_t i = 0; i < session->global_count; i++)
        if (session->globals[i].address == address && session->globals[i].owner == owner &&
            session->globals[i].context == call->context)
            return CUDA_SUCCESS;
    if (session->global_count == session->global_cap) {
        size_t cap = session->global_cap == 0 ? 16 : session->global_cap * 2;
        struct be_global *globals;

        if (cap > BE_GLOBALS_MAX)
            return CUDA_ERROR_OUT_OF_MEMORY;
        globals = realloc(session->globals, cap * sizeof(*globals));
        if (globals == NULL)
            return CUDA_ERROR_OUT_OF_MEMORY;
        session->globals = globals;
        session->global_cap = cap;
    }
    session->globals[session->global_count++] = (struct be_global){
        .address = address, .bytes = bytes, .owner = owner, .context = call->context};
    return CUDA_SUCCESS;
}

void
be_globals_drop(struct be_session *session, const void *gone)
{
    size_t kept = 0;

    for (size_t i = 0; i < session->global_count; i++)
        if (session->globals[i].owner != gone && session->globals[i].context != gone)
            session->globals[kept++] = session->globals[i];
    session->global_count = kept;
}
