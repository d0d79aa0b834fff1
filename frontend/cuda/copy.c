/* frontend/cuda/copy.c -- linear copies, for every call that copies */
#include "frontend/cuda/copy.h"

#include "frontend/core/data.h"
#include "frontend/cuda/callback.h"
#include "frontend/cuda/coherent.h"
#include "frontend/cuda/content.h"
#include "frontend/cuda/host.h"
#include "frontend/cuda/managed.h"
#include "frontend/cuda/state.h"
#include "protocol/base/clock.h"
#include "protocol/base/pack.h"
#include "protocol/base/util.h"
#include "protocol/wire/negotiate.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

/* Host to device goes in pieces, so that the device side begins before all is sent. */
#define PIECE_BYTES ((size_t)2 << 20)
/* Sent as they are after a probe that says so. */
#define PLAIN_BYTES ((size_t)2 << 20)

static CUresult
check_device(const struct fe_call *call, uint64_t address, size_t bytes, bool write)
{
    struct fe_alloc *alloc = fe_alloc_of(call);

    if (fe_elsewhere(call, address))
        return fe_refuse("access to memory of another server than the stream's, by this call,");
    if (fe_managed_find(address, NULL) || fe_managed_block(address))
        return fe_managed_covers(address, bytes) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
    if (write ? fe_alloc_writable(alloc, address, bytes) : fe_alloc_covers(alloc, address, bytes))
        return CUDA_SUCCESS;
    /* Host memory has a device address too. */
    if (fe_host_pinned(address, bytes) && !(write && fe_host_read_only(address))) {
        fe_host_want(address);
        return CUDA_SUCCESS;
    }
    return CUDA_ERROR_INVALID_VALUE;
}

CUresult
fe_check_device(const struct fe_call *call, uint64_t address, size_t bytes)
{
    return check_device(call, address, bytes, false);
}

CUresult
fe_check_target(const struct fe_call *call, uint64_t address, size_t bytes)
{
    return check_device(call, address, bytes, true);
}

bool
fe_is_device(const struct fe_call *call, uint64_t address)
{
    struct fe_alloc *alloc = fe_alloc_around(call->session, address);

    return fe_alloc_in_range(alloc, address) || fe_alloc_covers(alloc, address, 0) ||
           (fe_host_shown(address, 0) && !fe_elsewhere(call, address));
}

CUresult
fe_copy_guard(const struct fe_where *where, uint64_t dst, uint64_t dst_bytes, uint64_t src,
              uint64_t src_bytes)
{
    const struct fe_span spans[] = {{dst, dst_bytes, true}, {src, src_bytes, false}};

    if (GP_LIKELY(!fe_coherent_active()))
        return CUDA_SUCCESS;
    return fe_coherent_begin(where, spans, src_bytes > 0 ? 2 : 1);
}

void
fe_copy_unguard(struct fe_call *call, const struct fe_where *where)
{
    if (GP_UNLIKELY(fe_coherent_active()))
        fe_coherent_end(call, where);
}

/* What packing knows of the line; who does not get the lock at once sends plain bytes. */
static struct {
    pthread_mutex_t lock;
    struct gp_pack pack; /* guarded by lock */
} packing = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* The source is lent to the line: to be settled. */
static CUresult
send_plain(struct fe_call *call, uint64_t dst, const uint8_t *from, size_t bytes,
           const struct fe_where *where)
{
    struct wire_cuMemcpyHtoDAsync_v2_args args = {.dst = dst, .stream = where->wire};

    while (bytes > 0) {
        size_t part = bytes < PIECE_BYTES ? bytes : PIECE_BYTES;
        void *to;

        args.data_len = (uint32_t)part;
        to = fe_post_tail(call, WIRE_HEAD_cuMemcpyHtoDAsync_v2_args, from, part);
        if (to == NULL)
            return fe_lost(call);
        wire_head_cuMemcpyHtoDAsync_v2_args(to, &args);
        (void)fe_stream_mark(call, where->stream);
        fe_post_done_lent(call);
        args.dst += part;
        from += part;
        bytes -= part;
    }
    return CUDA_SUCCESS;
}

/* call is gpCopyPacked. */
static CUresult
send_packed(struct fe_call *call, uint64_t dst, uint32_t bytes, const uint8_t *packed, size_t len,
            const struct fe_where *where)
{
    struct wire_gpCopyPacked_args args = {
        .dst = dst, .stream = where->wire, .bytes = bytes, .data_len = (uint32_t)len};
    void *to = fe_post_tail(call, WIRE_HEAD_gpCopyPacked_args, packed, len);

    if (to == NULL)
        return fe_lost(call);
    wire_head_gpCopyPacked_args(to, &args);
    (void)fe_stream_mark(call, where->stream);
    fe_post_done(call);
    return CUDA_SUCCESS;
}

/* packing.lock held. One piece after the other, packed where that pays. */
static CUresult
send_pieces(struct fe_call *call, uint64_t dst, const uint8_t *from, size_t bytes, uint8_t *room,
            const struct fe_where *where)
{
    CUresult cr = CUDA_SUCCESS;

    while (bytes > 0 && cr == CUDA_SUCCESS) {
        size_t part = bytes < GP_PACK_PIECE_MAX ? bytes : GP_PACK_PIECE_MAX, packed = 0;
        uint64_t begin;

        if (!gp_pack_probe(&packing.pack, from, part) ||
            gp_pack_piece(&packing.pack, from, part, room, GP_PACK_PIECE_MAX, &packed) != GP_OK)
            part = bytes < PLAIN_BYTES ? bytes : PLAIN_BYTES; /* as it is, and what follows */
        begin = gp_now_ns();
        cr = fe_call_next(call,
                          packed > 0 ? WIRE_CALL_gpCopyPacked : WIRE_CALL_cuMemcpyHtoDAsync_v2);
        if (cr == CUDA_SUCCESS)
            cr = packed > 0 ? send_packed(call, dst, (uint32_t)part, room, packed, where)
                            : send_plain(call, dst, from, part, where);
        gp_pack_sent(&packing.pack, packed > 0 ? packed : part, gp_now_ns() - begin);
        dst += part;
        from += part;
        bytes -= part;
    }
    return cr == CUDA_SUCCESS ? fe_call_next(call, WIRE_CALL_cuMemcpyHtoDAsync_v2) : cr;
}

/* Large copies may be packed. Not while pages are guarded: their bytes are read by the line only.
 */
static CUresult
send_large(struct fe_call *call, uint64_t dst, const uint8_t *from, size_t bytes,
           const struct fe_where *where)
{
    GP_AUTO_FREE uint8_t *room = NULL;
    uint64_t begin;
    CUresult cr;

    if (fe_content_wanted(call, bytes) && !fe_coherent_active())
        return fe_content_send(call, dst, from, bytes, where);
    if (bytes < GP_PACK_PIECE_MAX || fe_coherent_active() ||
        (call->session->features & WIRE_FEATURE_COMPRESS) == 0 ||
        pthread_mutex_trylock(&packing.lock) != 0)
        return send_plain(call, dst, from, bytes, where);
    if (gp_pack_slow(&packing.pack))
        room = malloc(GP_PACK_PIECE_MAX);
    if (room != NULL) {
        cr = send_pieces(call, dst, from, bytes, room, where);
    } else {
        begin = gp_now_ns();
        cr = send_plain(call, dst, from, bytes, where);
        gp_pack_sent(&packing.pack, bytes, gp_now_ns() - begin);
    }
    pthread_mutex_unlock(&packing.lock);
    return cr;
}

/* The guard, and the source held in it; where it can't be held, neither is. */
static CUresult
guard_source(struct fe_host_hold *hold, enum fe_host_held *held_p, uint64_t dst, const void *src,
             size_t bytes, const struct fe_where *where, struct fe_call *call)
{
    CUresult cr;

    do {
        cr = fe_copy_guard(where, dst, bytes, 0, 0);
        if (cr != CUDA_SUCCESS)
            return cr;
        *held_p = fe_host_hold(hold, (uint64_t)(uintptr_t)src, bytes);
        if (GP_UNLIKELY(*held_p != FE_HOST_HELD))
            fe_copy_unguard(call, where);
    } while (GP_UNLIKELY(*held_p == FE_HOST_AGAIN));
    return CUDA_SUCCESS;
}

/* A source that lies in part in pages that may be guarded: read while nothing is held. */
static CUresult
copy_in_parts(struct fe_call *call, uint64_t dst, const void *src, size_t bytes,
              const struct fe_where *where)
{
    GP_AUTO_FREE uint8_t *room = malloc(bytes);
    CUresult cr;

    if (room == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    memcpy(room, src, bytes);
    cr = fe_copy_guard(where, dst, bytes, 0, 0);
    if (cr != CUDA_SUCCESS)
        return cr;
    cr = send_large(call, fe_host_device(dst), room, bytes, where);
    fe_settle(call, room, bytes);
    fe_copy_unguard(call, where);
    return cr;
}

/* Piece by piece, each looked at while the line finds it in a cache; the first one was. Ends before
 * one that names memory which kernels must come to reach first. *sent_p is what is lent. */
static CUresult
send_looking(struct fe_call *call, uint64_t dst, const uint8_t *from, size_t bytes,
             const struct fe_where *where, size_t *sent_p)
{
    uint64_t device = fe_host_device(dst);
    CUresult cr = CUDA_SUCCESS;
    size_t sent = 0;

    while (sent < bytes && cr == CUDA_SUCCESS) {
        size_t part = gp_min_u64(bytes - sent, PIECE_BYTES);

        if (sent > 0)
            fe_host_look(dst + sent, from + sent, part);
        if (sent > 0 && fe_host_any_wanted())
            break;
        cr = send_plain(call, device + sent, from + sent, part, where);
        sent += part;
    }
    *sent_p = sent;
    return cr;
}

/* As much as goes at once: where nothing is guarded, up to the next address of memory that kernels
 * could not reach so far. */
static CUresult
copy_in_some(struct fe_call *call, uint64_t dst, const uint8_t *src, size_t bytes,
             const struct fe_where *where, bool *pulled_p, size_t *done_p)
{
    bool looking = fe_coherent_active() && !fe_coherent_guards();
    size_t looked = looking ? gp_min_u64(bytes, PIECE_BYTES) : bytes;
    struct fe_host_hold hold;
    enum fe_host_held held;
    CUresult cr;

    fe_host_look(dst, src, looked);
    cr = fe_call_next(call, WIRE_CALL_cuMemcpyHtoDAsync_v2);
    if (cr == CUDA_SUCCESS)
        cr = guard_source(&hold, &held, dst, src, bytes, where, call);
    if (cr != CUDA_SUCCESS)
        return cr;
    *done_p = bytes;
    if (GP_UNLIKELY(held != FE_HOST_HELD))
        fe_host_look(dst + looked, src + looked, bytes - looked);
    if (GP_UNLIKELY(held == FE_HOST_SHOWN)) {
        *pulled_p = true;
        return fe_copy_on_device(call, dst, (uint64_t)(uintptr_t)src, bytes, where);
    }
    if (GP_UNLIKELY(held == FE_HOST_PARTS))
        return copy_in_parts(call, dst, src, bytes, where);
    cr = looking ? send_looking(call, dst, src, bytes, where, done_p)
                 : send_large(call, fe_host_device(dst), src, bytes, where);
    fe_settle(call, src, *done_p);
    fe_host_release(&hold);
    fe_copy_unguard(call, where);
    return cr;
}

CUresult
fe_copy_in(struct fe_call *call, uint64_t dst, const void *src, size_t bytes,
           const struct fe_where *where, bool *pulled_p)
{
    const uint8_t *from = src;
    CUresult cr = CUDA_SUCCESS;
    bool pulled = false;

    if (fe_host_pinned((uint64_t)(uintptr_t)src, bytes) &&
        fe_host_may_change((uint64_t)(uintptr_t)src)) {
        pulled = true;
        cr = fe_pull(call, dst, src, bytes, where->stream, where->wire);
        bytes = 0;
    }
    while (bytes > 0 && cr == CUDA_SUCCESS) {
        size_t done = 0;

        cr = copy_in_some(call, dst, from, bytes, where, &pulled, &done);
        dst += done;
        from += done;
        bytes -= done;
    }
    if (pulled_p != NULL)
        *pulled_p = pulled;
    return cr;
}

/* What the program wrote to the source goes ahead of the copy. */
static CUresult
flush_source(struct fe_call *call, struct wire_cuMemcpyDtoHAsync_v2_args *args,
             const struct fe_where *where)
{
    const struct fe_span source = {args->src, args->bytes, false};
    CUresult cr = CUDA_SUCCESS;

    if (GP_UNLIKELY(fe_coherent_active())) {
        cr = fe_coherent_begin(where, &source, 1);
        if (cr != CUDA_SUCCESS)
            return cr;
        fe_coherent_end(call, where);
        args->src = fe_host_device(args->src);
    }
    return fe_call_next(call, WIRE_CALL_cuMemcpyDtoHAsync_v2);
}

/* One whose destination is held; *n_p: the number of its work. */
static CUresult
post_out(struct fe_call *call, struct wire_cuMemcpyDtoHAsync_v2_args *args, void *dst, bool wait,
         const struct fe_where *where, uint64_t *n_p)
{
    void *to = fe_post(call, wire_size_cuMemcpyDtoHAsync_v2_args(args));

    if (to == NULL)
        return fe_lost(call);
    wire_put_cuMemcpyDtoHAsync_v2_args(to, args);
    *n_p = fe_stream_mark(call, where->stream);
    if (fe_coherent_active())
        fe_host_written((uint64_t)(uintptr_t)dst, args->bytes, call->context, where->stream,
                        where->wire, *n_p);
    if (wait)
        fe_post_done_wait(call);
    else
        fe_post_done(call);
    return CUDA_SUCCESS;
}

/* By way of memory of our own, where the server has pages of some of the destination. */
static CUresult
copy_out_parts(struct fe_call *call, void *dst, uint64_t src, size_t bytes,
               const struct fe_where *where)
{
    GP_AUTO_FREE uint8_t *room = malloc(bytes);
    CUresult cr;

    if (room == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    cr = fe_copy_out_wait(call, room, src, bytes, where);
    if (cr == CUDA_SUCCESS)
        memcpy(dst, room, bytes);
    return cr;
}

static CUresult
copy_out(struct fe_call *call, void *dst, uint64_t src, size_t bytes, const struct fe_where *where,
         bool wait)
{
    struct wire_cuMemcpyDtoHAsync_v2_args args = {
        .src = src, .bytes = bytes, .stream = where->wire};
    struct fe_host_hold hold;
    enum fe_host_held held;
    uint64_t n = 0;
    CUresult cr;

    cr = flush_source(call, &args, where);
    if (cr == CUDA_SUCCESS)
        cr = fe_data_open_linear(call, dst, bytes, wait ? FE_DATA_WAIT : FE_DATA_ASYNC, &args.data);
    if (cr != CUDA_SUCCESS)
        return cr;
    while ((held = fe_host_hold(&hold, (uint64_t)(uintptr_t)dst, bytes)) == FE_HOST_AGAIN &&
           cr == CUDA_SUCCESS)
        cr = fe_host_show_wanted();
    if (cr == CUDA_SUCCESS && held == FE_HOST_HELD) {
        cr = post_out(call, &args, dst, wait, where, &n);
        fe_host_release(&hold);
    }
    if (cr != CUDA_SUCCESS || held != FE_HOST_HELD)
        fe_data_drop(call, args.data);
    if (cr == CUDA_SUCCESS && held == FE_HOST_PARTS)
        return copy_out_parts(call, dst, src, bytes, where);
    if (cr == CUDA_SUCCESS && held == FE_HOST_SHOWN) {
        cr = fe_copy_on_device(call, (uint64_t)(uintptr_t)dst, src, bytes, where);
        return cr == CUDA_SUCCESS && wait ? fe_copy_drain(call, where) : cr;
    }
    if (cr != CUDA_SUCCESS || !wait)
        return cr;
    cr = fe_data_wait(call, args.data);
    if (cr == CUDA_SUCCESS)
        fe_prove(&where->stream->proven, n);
    return cr;
}

CUresult
fe_copy_out_wait(struct fe_call *call, void *dst, uint64_t src, size_t bytes,
                 const struct fe_where *where)
{
    return copy_out(call, dst, src, bytes, where, true);
}

CUresult
fe_copy_out_async(struct fe_call *call, void *dst, uint64_t src, size_t bytes,
                  const struct fe_where *where)
{
    return copy_out(call, dst, src, bytes, where, false);
}

CUresult
fe_copy_on_device(struct fe_call *call, uint64_t dst, uint64_t src, size_t bytes,
                  const struct fe_where *where)
{
    struct wire_cuMemcpyDtoDAsync_v2_args args = {
        .dst = dst, .src = src, .bytes = bytes, .stream = where->wire};
    CUresult cr = fe_call_next(call, WIRE_CALL_cuMemcpyDtoDAsync_v2);
    void *to;

    if (cr == CUDA_SUCCESS)
        cr = fe_copy_guard(where, dst, bytes, src, bytes);
    if (cr != CUDA_SUCCESS)
        return cr;
    args.dst = fe_host_device(dst);
    args.src = fe_host_device(src);
    to = fe_post(call, wire_size_cuMemcpyDtoDAsync_v2_args(&args));
    if (to == NULL) {
        cr = fe_lost(call);
    } else {
        wire_put_cuMemcpyDtoDAsync_v2_args(to, &args);
        (void)fe_stream_mark(call, where->stream);
        fe_post_done(call);
    }
    fe_copy_unguard(call, where);
    return cr;
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
