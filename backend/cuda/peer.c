/* backend/cuda/peer.c -- access between devices, and copies that name contexts
 *
 * The driver's own peer access covers what it holds itself (variables of modules); allocations lie
 * in mapped memory, whose access is widened for each device.
 */
#include "backend/cuda/peer.h"

#include "be_hooks.h"

static struct be_context *
context_of(struct be_session *session, uint64_t id)
{
    struct be_handle_slot *slot = be_handles_find(&session->handles, WIRE_HANDLE_CONTEXT, id);

    return slot != NULL ? slot->object : NULL;
}

CUresult
be_hook_cuCtxEnablePeerAccess(struct be_call *call,
                              const struct wire_cuCtxEnablePeerAccess_args *args,
                              struct wire_cuCtxEnablePeerAccess_reply *reply)
{
    struct be_context *peer = context_of(call->session, args->peer);
    CUresult cr;

    (void)reply;
    if (peer == NULL || peer == call->context)
        return CUDA_ERROR_INVALID_CONTEXT;
    if (call->driver->cuCtxEnablePeerAccess == NULL)
        return CUDA_ERROR_PEER_ACCESS_UNSUPPORTED;
    cr = call->driver->cuCtxEnablePeerAccess(peer->handle, 0);
    if (cr != CUDA_SUCCESS)
        return cr;
    cr = be_space_peer(call->session->space, peer->device, call->context->device, true);
    if (cr == CUDA_SUCCESS)
        call->context->peers |= 1ull << peer->device;
    else
        (void)call->driver->cuCtxDisablePeerAccess(peer->handle);
    return cr;
}

CUresult
be_hook_cuCtxDisablePeerAccess(struct be_call *call,
                               const struct wire_cuCtxDisablePeerAccess_args *args,
                               struct wire_cuCtxDisablePeerAccess_reply *reply)
{
    struct be_context *peer = context_of(call->session, args->peer);
    CUresult cr;

    (void)reply;
    if (peer == NULL)
        return CUDA_ERROR_INVALID_CONTEXT;
    if (call->driver->cuCtxDisablePeerAccess == NULL)
        return CUDA_ERROR_PEER_ACCESS_NOT_ENABLED;
    cr = call->driver->cuCtxDisablePeerAccess(peer->handle);
    if (cr == CUDA_SUCCESS && (call->context->peers >> peer->device & 1) != 0) {
        call->context->peers &= ~(1ull << peer->device);
        cr = be_space_peer(call->session->space, peer->device, call->context->device, false);
    }
    return cr;
}

void
be_peers_forget(struct be_session *session, struct be_context *context)
{
    for (int device = 0; device < session->driver->device_count; device++)
        if ((context->peers >> device & 1) != 0)
            (void)be_space_peer(session->space, device, context->device, false);
    context->peers = 0;
}

CUresult
be_hook_cuMemcpyPeerAsync(struct be_call *call, const struct wire_cuMemcpyPeerAsync_args *args)
{
    struct be_context *to = context_of(call->session, args->dst_context);
    struct be_context *from = context_of(call->session, args->src_context);
    CUstream stream;
    CUresult cr;

    if (to == NULL || from == NULL)
        return CUDA_ERROR_INVALID_CONTEXT;
    if (call->driver->cuMemcpyPeerAsync == NULL)
        return CUDA_ERROR_NOT_SUPPORTED;
    cr = be_handle_get(call->session, WIRE_HANDLE_STREAM, args->stream, true, &stream);
    if (cr == CUDA_SUCCESS)
        cr = be_check_device(call->session, args->dst, args->bytes);
    if (cr == CUDA_SUCCESS)
        cr = be_check_device(call->session, args->src, args->bytes);
    if (cr != CUDA_SUCCESS)
        return cr;
    return call->driver->cuMemcpyPeerAsync(args->dst, to->handle, args->src, from->handle,
                                           args->bytes, stream);
}

CUresult
be_hook_gpMemAccess(struct be_call *call, const struct wire_gpMemAccess_args *args)
{
    return be_space_open(call->session->space, args->address, args->readable, args->writable);
}
