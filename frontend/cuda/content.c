/* frontend/cuda/content.c */
#include "frontend/cuda/content.h"

#include "frontend/core/perf.h"
#include "protocol/base/util.h"
#include "protocol/wire/content.h"
#include "protocol/wire/negotiate.h"
#include "transport/tls/sha256.h"

#include <string.h>

/* Less is sent sooner than asked about. */
#define CONTENT_MIN ((size_t)1 << 20)

_Static_assert(WIRE_CONTENT_HASH_BYTES == TP_SHA256_BYTES, "named by this hash");

struct window {
    uint64_t dst;
    const uint8_t *from;
    size_t bytes;
    uint32_t chunks;
    uint8_t digests[WIRE_CONTENT_CHUNKS][TP_SHA256_BYTES];
};

bool
fe_content_wanted(const struct fe_call *call, size_t bytes)
{
    return bytes >= CONTENT_MIN && (call->session->features & WIRE_FEATURE_CONTENT) != 0;
}

static size_t
chunk_bytes(const struct window *w, uint32_t chunk)
{
    return (size_t)gp_min_u64(w->bytes - (size_t)chunk * WIRE_CONTENT_BYTES, WIRE_CONTENT_BYTES);
}

static CUresult
window_hash(struct window *w)
{
    w->chunks = (uint32_t)((w->bytes + WIRE_CONTENT_BYTES - 1) / WIRE_CONTENT_BYTES);
    for (uint32_t i = 0; i < w->chunks; i++)
        if (tp_sha256(w->from + (size_t)i * WIRE_CONTENT_BYTES, chunk_bytes(w, i), w->digests[i]) !=
            GP_OK)
            return CUDA_ERROR_OUT_OF_MEMORY;
    return CUDA_SUCCESS;
}

/* What the server has it copies now. */
static CUresult
window_name(struct fe_call *call, const struct window *w, const struct fe_where *where,
            uint64_t *missing_p)
{
    struct wire_gpCopyKnown_args args = {.dst = w->dst,
                                         .stream = where->wire,
                                         .bytes = w->bytes,
                                         .digests = w->digests[0],
                                         .digests_len = w->chunks * TP_SHA256_BYTES};
    struct wire_gpCopyKnown_reply reply;
    CUresult cr = fe_call_next(call, WIRE_CALL_gpCopyKnown);
    const uint8_t *bytes;
    size_t len;
    void *to;

    if (cr != CUDA_SUCCESS)
        return cr;
    to = fe_post(call, wire_size_gpCopyKnown_args(&args));
    if (to == NULL)
        return fe_lost(call);
    wire_put_gpCopyKnown_args(to, &args);
    (void)fe_stream_mark(call, where->stream);
    fe_post_done(call);
    cr = fe_wait(call, &bytes, &len);
    if (cr != CUDA_SUCCESS)
        return cr;
    if (!wire_get_gpCopyKnown_reply(bytes, len, &reply))
        return fe_malformed(call);
    *missing_p = reply.missing;
    return CUDA_SUCCESS;
}

/* call is gpCopyKept. */
static CUresult
chunk_send(struct fe_call *call, const struct window *w, uint32_t chunk,
           const struct fe_where *where)
{
    size_t at = (size_t)chunk * WIRE_CONTENT_BYTES, bytes = chunk_bytes(w, chunk);
    struct wire_gpCopyKept_args args = {
        .dst = w->dst + at, .stream = where->wire, .data_len = (uint32_t)bytes};
    void *to = fe_post_tail(call, WIRE_HEAD_gpCopyKept_args, w->from + at, bytes);

    if (to == NULL)
        return fe_lost(call);
    memcpy(args.sha256, w->digests[chunk], sizeof(args.sha256));
    wire_head_gpCopyKept_args(to, &args);
    (void)fe_stream_mark(call, where->stream);
    fe_post_done_lent(call);
    return CUDA_SUCCESS;
}

static CUresult
window_send(struct fe_call *call, struct window *w, const struct fe_where *where)
{
    uint64_t missing = 0;
    CUresult cr = window_hash(w);

    if (cr == CUDA_SUCCESS)
        cr = window_name(call, w, where, &missing);
    if (cr == CUDA_SUCCESS && missing != 0)
        cr = fe_call_next(call, WIRE_CALL_gpCopyKept);
    for (uint32_t i = 0; i < w->chunks && cr == CUDA_SUCCESS; i++)
        if ((missing >> i & 1) != 0)
            cr = chunk_send(call, w, i, where);
    return cr;
}

CUresult
fe_content_send(struct fe_call *call, uint64_t dst, const uint8_t *from, size_t bytes,
                const struct fe_where *where)
{
    const size_t most = (size_t)WIRE_CONTENT_CHUNKS * WIRE_CONTENT_BYTES;
    struct window w;
    CUresult cr = CUDA_SUCCESS;

    for (size_t at = 0; at < bytes && cr == CUDA_SUCCESS; at += w.bytes) {
        w.dst = dst + at;
        w.from = from + at;
        w.bytes = (size_t)gp_min_u64(bytes - at, most);
        cr = window_send(call, &w, where);
    }
    return cr == CUDA_SUCCESS ? fe_call_next(call, WIRE_CALL_cuMemcpyHtoDAsync_v2) : cr;
}
