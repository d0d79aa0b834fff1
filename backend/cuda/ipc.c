/* backend/cuda/ipc.c -- memory and events that sessions of one tenant share
 *
 * The client gets a token; what it stands for goes from worker to worker (memory/share.h).
 */
#include "backend/cuda/ipc.h"

#include "backend/memory/exports.h"
#include "be_hooks.h"

#include <string.h>

static CUresult
share_get(struct be_session *session, struct be_share **share_p)
{
    if (session->share == NULL && be_share_create(session->tenant, &session->share) != GP_OK)
        return CUDA_ERROR_OPERATING_SYSTEM;
    *share_p = session->share;
    return CUDA_SUCCESS;
}

static CUresult
status_result(enum gp_status status)
{
    switch (status) {
    case GP_OK:
        return CUDA_SUCCESS;
    case GP_ERR_NOT_FOUND:
        return CUDA_ERROR_INVALID_VALUE;
    case GP_ERR_NO_MEMORY:
    case GP_ERR_LIMIT:
        return CUDA_ERROR_OUT_OF_MEMORY;
    default:
        return CUDA_ERROR_OPERATING_SYSTEM;
    }
}

/* Put a token where the reply finds it. */
static CUresult
token_reply(struct be_call *call, const uint8_t token[BE_TOKEN_BYTES], const uint8_t **bytes_p,
            uint32_t *len_p)
{
    struct gp_buf *out = be_scratch(call->session);

    gp_buf_append(out, token, BE_TOKEN_BYTES);
    if (gp_buf_status(out) != GP_OK)
        return CUDA_ERROR_OUT_OF_MEMORY;
    *bytes_p = out->data;
    *len_p = (uint32_t)out->len;
    return CUDA_SUCCESS;
}

static CUresult
fetch(struct be_session *session, const uint8_t *token, uint32_t token_len, enum be_share_kind kind,
      struct be_offer *offer_p)
{
    struct be_share *share;
    CUresult cr = share_get(session, &share);

    if (cr != CUDA_SUCCESS)
        return cr;
    if (token_len != BE_TOKEN_BYTES)
        return CUDA_ERROR_INVALID_VALUE;
    return status_result(be_share_fetch(share, token, kind, offer_p));
}

/* -- objects ---------------------------------------------------------------------------------- */

CUresult
be_hook_cuMemExportToShareableHandle(struct be_call *call,
                                     const struct wire_cuMemExportToShareableHandle_args *args,
                                     struct wire_cuMemExportToShareableHandle_reply *reply)
{
    struct be_session *session = call->session;
    uint8_t token[BE_TOKEN_BYTES];
    struct be_phys *phys = NULL;
    struct be_share *share;
    struct be_offer offer;
    CUresult cr;

    cr = be_handle_get(session, WIRE_HANDLE_ALLOCATION, args->handle, false, &phys);
    if (cr == CUDA_SUCCESS)
        cr = share_get(session, &share);
    if (cr != CUDA_SUCCESS)
        return cr;
    if (!be_share_token(share, phys, token)) {
        cr = be_phys_export(session->space, phys, &offer);
        if (cr == CUDA_SUCCESS)
            cr = status_result(be_share_offer(share, phys, &offer, token));
    }
    return cr != CUDA_SUCCESS ? cr : token_reply(call, token, &reply->token, &reply->token_len);
}

CUresult
be_hook_cuMemImportFromShareableHandle(struct be_call *call,
                                       const struct wire_cuMemImportFromShareableHandle_args *args,
                                       struct wire_cuMemImportFromShareableHandle_reply *reply)
{
    struct be_session *session = call->session;
    struct be_phys *phys = NULL;
    struct be_offer offer;
    CUresult cr = fetch(session, args->token, args->token_len, BE_SHARE_OBJECT, &offer);

    if (cr != CUDA_SUCCESS)
        return cr;
    cr = be_phys_import(session->space, &offer, &phys);
    if (cr == CUDA_SUCCESS &&
        be_handles_add(&session->handles, WIRE_HANDLE_ALLOCATION, args->handle, phys, 0) != GP_OK) {
        be_phys_put(session->space, phys);
        cr = CUDA_ERROR_INVALID_HANDLE;
    }
    if (cr == CUDA_SUCCESS) {
        reply->bytes = offer.bytes;
        reply->device = offer.device;
        reply->handle_types = offer.handle_types;
    }
    be_offer_fini(&offer);
    return cr;
}

/* -- allocations ------------------------------------------------------------------------------ */

static const void *
key_of(uint64_t address)
{
    return (const void *)(uintptr_t)address;
}

CUresult
be_hook_cuIpcGetMemHandle(struct be_call *call, const struct wire_cuIpcGetMemHandle_args *args,
                          struct wire_cuIpcGetMemHandle_reply *reply)
{
    struct be_session *session = call->session;
    uint8_t token[BE_TOKEN_BYTES];
    struct be_share *share;
    struct be_offer offer;
    CUresult cr = share_get(session, &share);

    if (cr != CUDA_SUCCESS)
        return cr;
    if (!be_space_live(session->space, args->address))
        return CUDA_ERROR_INVALID_VALUE;
    if (!be_share_token(share, key_of(args->address), token)) {
        cr = be_space_export(session->space, args->address, &offer);
        if (cr == CUDA_SUCCESS)
            cr = status_result(be_share_offer(share, key_of(args->address), &offer, token));
    }
    return cr != CUDA_SUCCESS ? cr : token_reply(call, token, &reply->token, &reply->token_len);
}

CUresult
be_hook_cuIpcOpenMemHandle_v2(struct be_call *call,
                              const struct wire_cuIpcOpenMemHandle_v2_args *args,
                              struct wire_cuIpcOpenMemHandle_v2_reply *reply)
{
    struct be_session *session = call->session;
    struct be_share *share;
    struct be_offer offer;
    CUresult cr = share_get(session, &share);

    (void)reply;
    if (cr != CUDA_SUCCESS)
        return cr;
    /* As CUDA: who made it does not open it. */
    if (args->token_len == BE_TOKEN_BYTES && be_share_is_own(share, args->token))
        return CUDA_ERROR_INVALID_CONTEXT;
    cr = fetch(session, args->token, args->token_len, BE_SHARE_MEMORY, &offer);
    if (cr != CUDA_SUCCESS)
        return cr;
    cr = be_space_import(session->space, args->address, &offer, call->context->index,
                         call->context->device);
    be_offer_fini(&offer);
    return cr;
}

void
be_ipc_freed(struct be_session *session, uint64_t address)
{
    be_share_withdraw(session->share, key_of(address));
}

void
be_ipc_object_gone(struct be_session *session, const struct be_phys *phys)
{
    be_share_withdraw(session->share, phys);
}

/* be_share_gone_fn */
static bool
is_gone(void *user, const void *key, uint32_t kind)
{
    struct be_session *session = user;

    return kind == BE_SHARE_MEMORY && !be_space_live(session->space, (uintptr_t)key);
}

void
be_ipc_context_gone(struct be_session *session)
{
    be_share_prune(session->share, is_gone, session);
}

/* -- events ----------------------------------------------------------------------------------- */

_Static_assert(sizeof(CUipcEventHandle) <= BE_SHARE_DATA_MAX, "it travels in an offer");

static CUresult
event_offer(struct be_call *call, CUevent event, struct be_share *share,
            uint8_t token[BE_TOKEN_BYTES])
{
    struct be_offer offer = {.kind = BE_SHARE_EVENT};
    CUipcEventHandle handle;
    CUresult cr;

    if (call->driver->cuIpcGetEventHandle == NULL)
        return CUDA_ERROR_NOT_SUPPORTED;
    cr = call->driver->cuIpcGetEventHandle(&handle, event);
    if (cr != CUDA_SUCCESS)
        return cr;
    memcpy(offer.data, &handle, sizeof(handle));
    return status_result(be_share_offer(share, event, &offer, token));
}

CUresult
be_hook_cuIpcGetEventHandle(struct be_call *call, const struct wire_cuIpcGetEventHandle_args *args,
                            struct wire_cuIpcGetEventHandle_reply *reply)
{
    struct be_handle_slot *slot =
        be_handles_find(&call->session->handles, WIRE_HANDLE_EVENT, args->event);
    uint8_t token[BE_TOKEN_BYTES];
    struct be_share *share;
    CUresult cr = share_get(call->session, &share);

    if (cr != CUDA_SUCCESS)
        return cr;
    if (slot == NULL)
        return CUDA_ERROR_INVALID_HANDLE;
    if (!be_share_token(share, slot->object, token))
        cr = event_offer(call, slot->object, share, token);
    if (cr != CUDA_SUCCESS)
        return cr;
    slot->fixed = true;
    return token_reply(call, token, &reply->token, &reply->token_len);
}

CUresult
be_hook_cuIpcOpenEventHandle(struct be_call *call,
                             const struct wire_cuIpcOpenEventHandle_args *args,
                             struct wire_cuIpcOpenEventHandle_reply *reply)
{
    struct be_session *session = call->session;
    CUipcEventHandle handle;
    struct be_share *share;
    struct be_offer offer;
    CUevent event = NULL;
    CUresult cr = share_get(session, &share);

    (void)reply;
    if (cr == CUDA_SUCCESS && call->driver->cuIpcOpenEventHandle == NULL)
        cr = CUDA_ERROR_NOT_SUPPORTED;
    if (cr == CUDA_SUCCESS && args->token_len == BE_TOKEN_BYTES &&
        be_share_is_own(share, args->token))
        cr = CUDA_ERROR_INVALID_CONTEXT;
    if (cr == CUDA_SUCCESS)
        cr = fetch(session, args->token, args->token_len, BE_SHARE_EVENT, &offer);
    if (cr != CUDA_SUCCESS)
        return cr;
    memcpy(&handle, offer.data, sizeof(handle));
    be_offer_fini(&offer);
    cr = call->driver->cuIpcOpenEventHandle(&event, handle);
    if (cr == CUDA_SUCCESS)
        cr = be_handle_bind(session, WIRE_HANDLE_EVENT, args->event, event);
    if (cr == CUDA_SUCCESS)
        be_handles_find(&session->handles, WIRE_HANDLE_EVENT, args->event)->fixed = true;
    return cr;
}
