/* backend/cuda/green.c -- green contexts
 *
 * Resources are the driver's own structures, with addresses inside for all we know: they never
 * leave a call. A client says how one came about, and it is made again.
 */
#include "backend/cuda/account.h"
#include "backend/cuda/state.h"
#include "be_hooks.h"
#include "protocol/wire/green.h"

#include <stdlib.h>

/* Of one session: each keeps queues of the device. */
#define BE_GREENS_MAX 256u

/* A green context of the record's context, or NULL. */
static struct be_handle_slot *
find(struct be_call *call, uint64_t id)
{
    struct be_handle_slot *slot =
        be_handles_find(&call->session->handles, WIRE_HANDLE_GREEN_CONTEXT, id);

    return slot != NULL && call->context != NULL && slot->context == call->context->index ? slot
                                                                                          : NULL;
}

CUresult
be_green_as_context(struct be_call *call, uint64_t id, CUcontext *handle_p)
{
    struct be_handle_slot *slot = find(call, id);

    if (slot == NULL)
        return CUDA_ERROR_INVALID_CONTEXT;
    return call->driver->cuCtxFromGreenCtx(handle_p, slot->object);
}

static void
tell(uint32_t to[3], const CUdevResource *from)
{
    to[0] = to[1] = to[2] = 0;
    if (from->type != CU_DEV_RESOURCE_TYPE_SM)
        return;
    to[0] = from->sm.smCount;
    to[1] = from->sm.minSmPartitionSize;
    to[2] = from->sm.smCoscheduledAlignment;
}

/* All SMs of a device, or of one of the session's green contexts. */
static CUresult
source(struct be_call *call, int32_t device, uint64_t of, CUdevResource *to)
{
    struct be_handle_slot *slot;
    CUresult cr = be_check_ordinal(call->session, device);

    if (cr != CUDA_SUCCESS)
        return cr;
    if (call->driver->cuDeviceGetDevResource == NULL ||
        call->driver->cuDevSmResourceSplitByCount == NULL)
        return CUDA_ERROR_NOT_SUPPORTED;
    if (of == 0)
        return call->driver->cuDeviceGetDevResource(device, to, CU_DEV_RESOURCE_TYPE_SM);
    slot = be_handles_find(&call->session->handles, WIRE_HANDLE_GREEN_CONTEXT, of);
    if (slot == NULL)
        return CUDA_ERROR_INVALID_RESOURCE_CONFIGURATION; /* it is gone */
    return call->driver->cuGreenCtxGetDevResource(slot->object, to, CU_DEV_RESOURCE_TYPE_SM);
}

CUresult
be_hook_cuDeviceGetDevResource(struct be_call *call,
                               const struct wire_cuDeviceGetDevResource_args *args,
                               struct wire_cuDeviceGetDevResource_reply *reply)
{
    CUdevResource resource = {0};
    CUresult cr = source(call, args->device, 0, &resource);

    tell(reply->sms, &resource);
    return cr;
}

CUresult
be_hook_cuDevSmResourceSplitByCount(struct be_call *call,
                                    const struct wire_cuDevSmResourceSplitByCount_args *args,
                                    struct wire_cuDevSmResourceSplitByCount_reply *reply)
{
    CUdevResource from = {0}, rest = {0};
    CUdevResource *groups = NULL;
    unsigned made = args->groups;
    CUresult cr;

    if (made > WIRE_SM_GROUPS_MAX)
        return CUDA_ERROR_INVALID_VALUE;
    cr = source(call, args->device, args->of, &from);
    if (cr != CUDA_SUCCESS)
        return cr;
    if (made != 0) {
        groups = calloc(made, sizeof(*groups));
        if (groups == NULL)
            return CUDA_ERROR_OUT_OF_MEMORY;
    }
    cr = call->driver->cuDevSmResourceSplitByCount(groups, &made, &from, &rest, args->flags,
                                                   args->min_count);
    reply->made = made;
    if (cr == CUDA_SUCCESS && groups != NULL)
        tell(reply->group, &groups[0]);
    tell(reply->rest, &rest);
    free(groups);
    return cr;
}

/* The parts that the client wants, out of the split that it names. */
static CUresult
parts_make(struct be_call *call, const struct wire_cuGreenCtxCreate_args *args,
           CUdevResource *parts)
{
    CUdevResource from = {0}, rest = {0};
    CUdevResource *groups;
    unsigned made = args->groups;
    CUresult cr = source(call, args->device, args->of, &from);

    if (cr != CUDA_SUCCESS)
        return cr;
    if (args->parts_len == 0) {
        parts[0] = from;
        return CUDA_SUCCESS;
    }
    if (made == 0 || made > WIRE_SM_GROUPS_MAX)
        return CUDA_ERROR_INVALID_RESOURCE_CONFIGURATION;
    groups = calloc(made, sizeof(*groups));
    if (groups == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    cr = call->driver->cuDevSmResourceSplitByCount(groups, &made, &from, &rest, args->flags,
                                                   args->min_count);
    for (uint32_t i = 0; i < args->parts_len && cr == CUDA_SUCCESS; i++) {
        if (args->parts[i] < made)
            parts[i] = groups[args->parts[i]];
        else if (args->parts[i] == WIRE_SM_REST && rest.type == CU_DEV_RESOURCE_TYPE_SM)
            parts[i] = rest;
        else
            cr = CUDA_ERROR_INVALID_RESOURCE_CONFIGURATION;
    }
    free(groups);
    return cr;
}

static unsigned
count(const struct be_session *session)
{
    uint32_t highest = be_handles_highest(&session->handles, WIRE_HANDLE_GREEN_CONTEXT);
    unsigned n = 0;

    for (uint32_t i = 1; i <= highest; i++)
        n += be_handles_at(&session->handles, WIRE_HANDLE_GREEN_CONTEXT, i) != NULL;
    return n;
}

static CUresult
create(struct be_call *call, const struct wire_cuGreenCtxCreate_args *args,
       struct wire_cuGreenCtxCreate_reply *reply)
{
    uint32_t n = args->parts_len != 0 ? args->parts_len : 1;
    CUdevResource *parts = calloc(n, sizeof(*parts)), all = {0};
    CUdevResourceDesc desc = NULL;
    CUgreenCtx green = NULL;
    CUresult cr = parts != NULL ? parts_make(call, args, parts) : CUDA_ERROR_OUT_OF_MEMORY;

    if (cr == CUDA_SUCCESS)
        cr = call->driver->cuDevResourceGenerateDesc(&desc, parts, n);
    free(parts);
    if (cr == CUDA_SUCCESS)
        cr =
            call->driver->cuGreenCtxCreate(&green, desc, args->device, CU_GREEN_CTX_DEFAULT_STREAM);
    if (cr != CUDA_SUCCESS)
        return cr;
    cr = call->driver->cuGreenCtxGetDevResource(green, &all, CU_DEV_RESOURCE_TYPE_SM);
    tell(reply->sms, &all);
    if (cr == CUDA_SUCCESS && be_handles_add(&call->session->handles, WIRE_HANDLE_GREEN_CONTEXT,
                                             args->green, green, call->context->index) != GP_OK)
        cr = CUDA_ERROR_INVALID_HANDLE;
    if (cr != CUDA_SUCCESS)
        (void)call->driver->cuGreenCtxDestroy(green);
    return cr;
}

CUresult
be_hook_cuGreenCtxCreate(struct be_call *call, const struct wire_cuGreenCtxCreate_args *args,
                         struct wire_cuGreenCtxCreate_reply *reply)
{
    if (call->driver->cuGreenCtxCreate == NULL || call->driver->cuGreenCtxStreamCreate == NULL)
        return CUDA_ERROR_NOT_SUPPORTED;
    if (!call->context->primary || call->context->device != args->device)
        return CUDA_ERROR_INVALID_CONTEXT;
    if (count(call->session) >= BE_GREENS_MAX)
        return CUDA_ERROR_OUT_OF_MEMORY;
    return create(call, args, reply);
}

CUresult
be_hook_cuGreenCtxDestroy(struct be_call *call, const struct wire_cuGreenCtxDestroy_args *args)
{
    struct be_handle_slot *slot = find(call, args->green);
    CUgreenCtx green;

    if (slot == NULL)
        return CUDA_ERROR_INVALID_CONTEXT;
    green = slot->object;
    be_handles_remove(slot);
    return call->driver->cuGreenCtxDestroy(green);
}

CUresult
be_hook_cuGreenCtxStreamCreate(struct be_call *call,
                               const struct wire_cuGreenCtxStreamCreate_args *args)
{
    struct be_handle_slot *slot = find(call, args->green);
    CUstream stream = NULL;
    CUresult cr;

    if (slot == NULL)
        return CUDA_ERROR_INVALID_CONTEXT;
    cr = call->driver->cuGreenCtxStreamCreate(&stream, slot->object, CU_STREAM_NON_BLOCKING,
                                              args->priority);
    return cr == CUDA_SUCCESS
               ? be_handle_bind(call->session, WIRE_HANDLE_STREAM, args->stream, stream)
               : cr;
}
