/* frontend/cuda/peer.c -- access between devices, and copies that name contexts */
#include "cuda_api.h"
#include "frontend/cuda/displaced.h"
#include "frontend/cuda/capture.h"
#include "frontend/cuda/array.h"
#include "frontend/cuda/ask.h"
#include "frontend/cuda/copy.h"
#include "frontend/cuda/host.h"
#include "frontend/cuda/order.h"
#include "frontend/cuda/relay.h"
#include "frontend/cuda/state.h"
#include "protocol/base/util.h"

#include <string.h>

/* -- access ----------------------------------------------------------------------------- */

/* A context that is there, by its handle; NULL is none. */
static struct fe_context *
context_of(CUcontext handle)
{
    struct fe_context *ctx = fe_object_get(WIRE_HANDLE_CONTEXT, handle);

    return ctx != NULL && fe_object_state(ctx) == FE_OBJECT_LIVE ? ctx : NULL;
}

GP_EXPORT CUresult
cuCtxEnablePeerAccess(CUcontext handle, unsigned int flags)
{
    struct wire_cuCtxEnablePeerAccess_reply reply;
    struct wire_cuCtxEnablePeerAccess_args args;
    struct fe_context *peer;
    struct fe_call call;
    uint64_t bit;
    CUresult cr = fe_enter(&call, WIRE_CALL_cuCtxEnablePeerAccess);

    if (cr != CUDA_SUCCESS)
        return cr;
    if (flags != 0)
        return fe_leave(&call, CUDA_ERROR_INVALID_VALUE);
    peer = context_of(handle);
    if (peer == NULL || peer == call.context ||
        atomic_load_explicit(&peer->head.sticky, memory_order_relaxed) != CUDA_SUCCESS)
        return fe_leave(&call, CUDA_ERROR_INVALID_CONTEXT);
    if (peer->device == call.context->device)
        return fe_leave(&call, CUDA_ERROR_INVALID_DEVICE);
    if (peer->head.session != call.session)
        return fe_leave(&call, CUDA_ERROR_PEER_ACCESS_UNSUPPORTED);
    bit = 1ull << peer->device;
    if ((atomic_fetch_or(&call.context->peers, bit) & bit) != 0)
        return fe_leave(&call, CUDA_ERROR_PEER_ACCESS_ALREADY_ENABLED);
    args.peer = peer->head.object.wire;
    FE_ASK(cr, &call, cuCtxEnablePeerAccess, &args, &reply);
    if (cr != CUDA_SUCCESS)
        atomic_fetch_and(&call.context->peers, ~bit);
    return fe_leave(&call, cr);
}

GP_EXPORT CUresult
cuCtxDisablePeerAccess(CUcontext handle)
{
    struct wire_cuCtxDisablePeerAccess_reply reply;
    struct wire_cuCtxDisablePeerAccess_args args;
    struct fe_context *peer;
    struct fe_call call;
    uint64_t bit;
    CUresult cr = fe_enter(&call, WIRE_CALL_cuCtxDisablePeerAccess);

    if (cr != CUDA_SUCCESS)
        return cr;
    peer = context_of(handle);
    if (peer == NULL)
        return fe_leave(&call, CUDA_ERROR_INVALID_CONTEXT);
    bit = 1ull << peer->device;
    if ((atomic_fetch_and(&call.context->peers, ~bit) & bit) == 0)
        return fe_leave(&call, CUDA_ERROR_PEER_ACCESS_NOT_ENABLED);
    args.peer = peer->head.object.wire;
    FE_ASK(cr, &call, cuCtxDisablePeerAccess, &args, &reply);
    return fe_leave(&call, cr);
}

/* -- copies ----------------------------------------------------------------------------- */

/* Before anything of the arguments: the context that a copy is made in. */
static CUresult
current(void)
{
    struct fe_call call;
    CUresult cr = fe_enter(&call, WIRE_CALL_cuMemcpyPeerAsync);

    return cr == CUDA_SUCCESS ? fe_leave(&call, cr) : cr;
}

static CUresult
post_peer(struct fe_call *call, struct wire_cuMemcpyPeerAsync_args *args,
          const struct fe_where *where)
{
    CUresult cr = fe_copy_guard(where, args->dst, args->bytes, args->src, args->bytes);
    void *to;

    if (cr != CUDA_SUCCESS)
        return cr;
    args->dst = fe_host_device(args->dst);
    args->src = fe_host_device(args->src);
    to = fe_post(call, wire_size_cuMemcpyPeerAsync_args(args));
    if (to == NULL) {
        cr = fe_lost(call);
    } else {
        wire_put_cuMemcpyPeerAsync_args(to, args);
        (void)fe_stream_mark(call, where->stream);
        fe_post_done(call);
    }
    fe_copy_unguard(call, where);
    return cr;
}

static CUresult
copy_peer(CUdeviceptr dst, struct fe_context *to, CUdeviceptr src, struct fe_context *from,
          size_t bytes, CUstream handle, bool wait)
{
    struct wire_cuMemcpyPeerAsync_args args = {.bytes = bytes};
    struct fe_stream *stream = NULL;
    struct fe_call call;
    CUresult cr = fe_enter(&call, WIRE_CALL_cuMemcpyPeerAsync);

    args.dst = dst = fe_device_named(dst);
    args.src = src = fe_device_named(src);
    if (cr != CUDA_SUCCESS)
        return cr;
    cr = fe_stream_resolve_capture(&call, handle, &stream, &args.stream);
    if (cr == CUDA_SUCCESS && !fe_capturing(stream))
        cr = fe_order(&call, stream, args.stream);
    if (cr != CUDA_SUCCESS || bytes == 0)
        return fe_leave(&call, cr);
    if (GP_UNLIKELY(to->head.session != call.session || from->head.session != call.session))
        return fe_leave(&call,
                        fe_relay_copy_peer(&call, dst, to, src, from, bytes,
                                           &(const struct fe_where){stream, args.stream}, wait));
    cr = fe_check_target(&call, dst, bytes);
    if (cr == CUDA_SUCCESS)
        cr = fe_check_device(&call, src, bytes);
    if (cr == CUDA_SUCCESS && fe_capturing(stream))
        return fe_leave(&call, wait ? fe_capture_refuse(stream)
                                    : fe_capture_linear(&call, stream, dst, CU_MEMORYTYPE_DEVICE,
                                                        src, CU_MEMORYTYPE_DEVICE, bytes));
    if (cr != CUDA_SUCCESS)
        return fe_leave(&call, cr);
    args.dst_context = to->head.object.wire;
    args.src_context = from->head.object.wire;
    cr = post_peer(&call, &args, &(struct fe_where){stream, args.stream});
    return fe_leave(&call, cr);
}

GP_EXPORT CUresult
cuMemcpyPeerAsync(CUdeviceptr dst, CUcontext dst_context, CUdeviceptr src, CUcontext src_context,
                  size_t bytes, CUstream stream)
{
    struct fe_context *to, *from;
    CUresult cr = current();

    if (cr != CUDA_SUCCESS)
        return cr;
    to = context_of(dst_context);
    from = context_of(src_context);
    if (to == NULL || from == NULL)
        return CUDA_ERROR_INVALID_CONTEXT;
    return copy_peer(dst, to, src, from, bytes, stream, false);
}

/* A synchronous copy comes behind all work of both contexts and before what they do later; an empty
 * one, behind the first only: it is no work of any stream, not even of one that captures. */
static CUresult
wait_for(CUcontext dst_context, CUcontext src_context)
{
    struct fe_context *now = fe_context_current();
    CUresult cr = CUDA_SUCCESS;

    if ((struct fe_context *)dst_context != now)
        cr = cuCtxSynchronize_v2(dst_context);
    if (cr == CUDA_SUCCESS && (struct fe_context *)src_context != now && src_context != dst_context)
        cr = cuCtxSynchronize_v2(src_context);
    return cr;
}

static bool
others(CUcontext dst_context, CUcontext src_context)
{
    const void *now = fe_context_current();

    return dst_context != now || src_context != now;
}

GP_EXPORT CUresult
cuMemcpyPeer(CUdeviceptr dst, CUcontext dst_context, CUdeviceptr src, CUcontext src_context,
             size_t bytes)
{
    CUresult cr = current();

    if (cr != CUDA_SUCCESS)
        return cr;
    if (context_of(dst_context) == NULL || context_of(src_context) == NULL)
        return CUDA_ERROR_INVALID_CONTEXT;
    cr = wait_for(dst_context, src_context);
    if (cr == CUDA_SUCCESS)
        cr = copy_peer(dst, context_of(dst_context), src, context_of(src_context), bytes, NULL,
                       true);
    if (cr == CUDA_SUCCESS && bytes != 0 && others(dst_context, src_context))
        cr = cuStreamSynchronize(NULL);
    return cr;
}

/* -- boxes ------------------------------------------------------------------------------ */

/* The struct without contexts, which sides on devices must name. */
static CUresult
plain_3d(const CUDA_MEMCPY3D_PEER *peer, CUDA_MEMCPY3D *plain)
{
    CUresult cr = current();

    if (cr != CUDA_SUCCESS)
        return cr;
    if (peer == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    if ((peer->srcMemoryType != CU_MEMORYTYPE_HOST && context_of(peer->srcContext) == NULL) ||
        (peer->dstMemoryType != CU_MEMORYTYPE_HOST && context_of(peer->dstContext) == NULL))
        return CUDA_ERROR_INVALID_CONTEXT;
    _Static_assert(sizeof(*plain) == sizeof(*peer), "the contexts stand where nothing is");
    memcpy(plain, peer, sizeof(*plain));
    plain->reserved0 = plain->reserved1 = NULL;
    return CUDA_SUCCESS;
}

GP_EXPORT CUresult
cuMemcpy3DPeerAsync(const CUDA_MEMCPY3D_PEER *copy, CUstream stream)
{
    CUDA_MEMCPY3D plain;
    CUresult cr = plain_3d(copy, &plain);

    return cr == CUDA_SUCCESS ? cuMemcpy3DAsync_v2(&plain, stream) : cr;
}

GP_EXPORT CUresult
cuMemcpy3DPeer(const CUDA_MEMCPY3D_PEER *copy)
{
    CUcontext to, from, now = (CUcontext)fe_context_current();
    CUDA_MEMCPY3D plain;
    CUresult cr = plain_3d(copy, &plain);

    if (cr != CUDA_SUCCESS)
        return cr;
    to = copy->dstMemoryType != CU_MEMORYTYPE_HOST ? copy->dstContext : now;
    from = copy->srcMemoryType != CU_MEMORYTYPE_HOST ? copy->srcContext : now;
    cr = wait_for(to, from);
    if (cr == CUDA_SUCCESS)
        cr = cuMemcpy3D_v2(&plain);
    if (cr == CUDA_SUCCESS && plain.WidthInBytes != 0 && plain.Height != 0 && plain.Depth != 0 &&
        others(to, from))
        cr = cuStreamSynchronize(NULL);
    return cr;
}
