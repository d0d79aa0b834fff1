/* frontend/cuda/copy.c -- linear copies, for every call that copies */
#include "frontend/cuda/copy.h"

#include "frontend/core/data.h"
#include "frontend/cuda/callback.h"
#include "frontend/cuda/host.h"
#include "frontend/cuda/state.h"
#include "protocol/base/util.h"

/* Host to device goes in pieces, so that the device side begins before all is sent. */
#define PIECE_BYTES ((size_t)2 << 20)

CUresult
fe_check_device(const struct fe_call *call, uint64_t address, size_t bytes)
{
    return fe_alloc_covers(fe_state_of(call)->alloc, address, bytes) ? CUDA_SUCCESS
                                                                     : CUDA_ERROR_INVALID_VALUE;
}

bool
fe_is_device(const struct fe_call *call, uint64_t address)
{
    struct fe_alloc *alloc = fe_state_of(call)->alloc;

    return fe_alloc_in_range(alloc, address) || fe_alloc_covers(alloc, address, 0);
}

CUresult
fe_copy_in(struct fe_call *call, uint64_t dst, const void *src, size_t bytes,
           const struct fe_where *where, bool *pulled_p)
{
    struct wire_cuMemcpyHtoDAsync_v2_args args = {.dst = dst, .stream = where->wire};
    const uint8_t *from = src;
    CUresult cr;
    void *to;

    if (pulled_p != NULL)
        *pulled_p = false;
    if (fe_host_pinned((uint64_t)(uintptr_t)src, bytes) &&
        fe_host_may_change((uint64_t)(uintptr_t)src)) {
        if (pulled_p != NULL)
            *pulled_p = true;
        return fe_pull(call, dst, src, bytes, where->stream, where->wire);
    }
    cr = fe_call_next(call, WIRE_CALL_cuMemcpyHtoDAsync_v2);
    while (cr == CUDA_SUCCESS && bytes > 0) {
        size_t part = bytes < PIECE_BYTES ? bytes : PIECE_BYTES;

        args.data_len = (uint32_t)part;
        to = fe_post_tail(call, WIRE_HEAD_cuMemcpyHtoDAsync_v2_args, from, part);
        if (to == NULL)
            return fe_lost(call);
        wire_head_cuMemcpyHtoDAsync_v2_args(to, &args);
        (void)fe_stream_mark(call, where->stream);
        fe_post_done(call);
        args.dst += part;
        from += part;
        bytes -= part;
    }
    return cr;
}

CUresult
fe_copy_out_wait(struct fe_call *call, void *dst, uint64_t src, size_t bytes,
                 const struct fe_where *where)
{
    struct wire_cuMemcpyDtoHAsync_v2_args args = {
        .src = src, .bytes = bytes, .stream = where->wire};
    uint64_t n;
    CUresult cr;
    void *to;

    cr = fe_call_next(call, WIRE_CALL_cuMemcpyDtoHAsync_v2);
    if (cr == CUDA_SUCCESS)
        cr = fe_data_open_linear(call, dst, bytes, FE_DATA_WAIT, &args.data);
    if (cr != CUDA_SUCCESS)
        return cr;
    to = fe_post(call, wire_size_cuMemcpyDtoHAsync_v2_args(&args));
    if (to == NULL) {
        fe_data_drop(call, args.data);
        return fe_lost(call);
    }
    wire_put_cuMemcpyDtoHAsync_v2_args(to, &args);
    n = fe_stream_mark(call, where->stream);
    fe_post_done_wait(call);
    cr = fe_data_wait(call, args.data);
    if (cr == CUDA_SUCCESS)
        fe_prove(&where->stream->proven, n);
    return cr;
}

CUresult
fe_copy_out_async(struct fe_call *call, void *dst, uint64_t src, size_t bytes,
                  const struct fe_where *where)
{
    struct wire_cuMemcpyDtoHAsync_v2_args args = {
        .src = src, .bytes = bytes, .stream = where->wire};
    uint64_t n;
    CUresult cr;
    void *to;

    cr = fe_call_next(call, WIRE_CALL_cuMemcpyDtoHAsync_v2);
    if (cr == CUDA_SUCCESS)
        cr = fe_data_open_linear(call, dst, bytes, FE_DATA_ASYNC, &args.data);
    if (cr != CUDA_SUCCESS)
        return cr;
    to = fe_post(call, wire_size_cuMemcpyDtoHAsync_v2_args(&args));
    if (to == NULL) {
        fe_data_drop(call, args.data);
        return fe_lost(call);
    }
    wire_put_cuMemcpyDtoHAsync_v2_args(to, &args);
    n = fe_stream_mark(call, where->stream);
    fe_host_written((uint64_t)(uintptr_t)dst, call->context, where->stream, where->wire, n);
    fe_post_done(call);
    return CUDA_SUCCESS;
}

CUresult
fe_copy_on_device(struct fe_call *call, uint64_t dst, uint64_t src, size_t bytes,
                  const struct fe_where *where)
{
    struct wire_cuMemcpyDtoDAsync_v2_args args = {
        .dst = dst, .src = src, .bytes = bytes, .stream = where->wire};
    CUresult cr = fe_call_next(call, WIRE_CALL_cuMemcpyDtoDAsync_v2);
    void *to;

    if (cr != CUDA_SUCCESS)
        return cr;
    to = fe_post(call, wire_size_cuMemcpyDtoDAsync_v2_args(&args));
    if (to == NULL)
        return fe_lost(call);
    wire_put_cuMemcpyDtoDAsync_v2_args(to, &args);
    (void)fe_stream_mark(call, where->stream);
    fe_post_done(call);
    return CUDA_SUCCESS;
}

CUresult
fe_copy_drain(struct fe_call *call, const struct fe_where *where)
{
    struct wire_cuStreamSynchronize_args args = {.stream = where->wire};
    const uint8_t *bytes;
    uint64_t now;
    size_t len;
    CUresult cr;
    void *to;

    if (fe_stream_clean(call->context, where->stream))
        return CUDA_SUCCESS;
    cr = fe_call_next(call, WIRE_CALL_cuStreamSynchronize);
    if (cr != CUDA_SUCCESS)
        return cr;
    to = fe_post(call, wire_size_cuStreamSynchronize_args(&args));
    if (to == NULL)
        return fe_lost(call);
    wire_put_cuStreamSynchronize_args(to, &args);
    now = fe_context_now(call->context);
    fe_post_done(call);
    cr = fe_wait(call, &bytes, &len);
    if (cr == CUDA_SUCCESS)
        fe_prove(&where->stream->proven, now);
    return cr;
}
