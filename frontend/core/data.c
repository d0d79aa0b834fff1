/* frontend/core/data.c */
#include "frontend/core/data.h"

#include "frontend/core/line.h"
#include "frontend/core/trace.h"

#include "protocol/base/compress.h"
#include "protocol/base/pack.h"
#include "protocol/base/util.h"
#include "protocol/wire/data.h"
#include "protocol/wire/negotiate.h"

#include <sched.h>
#include <string.h>

#define ROW_DIRECT                                                                                 \
    4096u /* rows from here on are read in place, shorter ones by way of a buffer                  \
           */
#define BOUNCE_BYTES (16u << 10)

/* recv.lock held; NULL for an id that is not open. */
static struct fe_data *
data_find(struct fe_receive *r, uint32_t data)
{
    uint32_t index = data & 0xffff;
    struct fe_data *d;

    if (index >= r->data_used)
        return NULL;
    d = &r->chunks[index / FE_DATA_CHUNK][index % FE_DATA_CHUNK];
    return d->open && d->generation == data >> 16 ? d : NULL;
}

/* A thread that waits for an id to come free; on its stack. */
struct fe_data_wanted {
    struct fe_done done;
    struct fe_data_wanted *next; /* guarded by recv.lock */
};

/* Frees the id; recv.lock, which is held, is free on return. True: somebody waited for it. */
static bool
data_free_unlock(struct fe_receive *r, struct fe_data *d)
{
    struct fe_data_wanted *wanted = r->data_wanted;

    d->open = false;
    d->next_free = r->free_data;
    r->free_data = d;
    if (wanted == NULL) {
        pthread_mutex_unlock(&r->lock);
        return false;
    }
    r->data_wanted = wanted->next;
    fe_receive_set_unlock(r, &wanted->done);
    return true;
}

/* The same by another thread than the reader, which may be the one that waits. */
static void
data_give_back_unlock(struct fe_line *l, struct fe_data *d)
{
    if (data_free_unlock(&l->recv, d))
        tp_wake(l->lane);
}

static bool
data_all_used(const struct fe_receive *r)
{
    return r->free_data == NULL && r->data_used == FE_DATA_CHUNK * FE_DATA_CHUNKS;
}

/* recv.lock held; NULL: no memory. */
static struct fe_data *
data_take(struct fe_receive *r)
{
    struct fe_data *d = r->free_data, **chunk;

    if (d != NULL) {
        r->free_data = d->next_free;
        return d;
    }
    chunk = &r->chunks[r->data_used / FE_DATA_CHUNK];
    if (*chunk == NULL)
        *chunk = calloc(FE_DATA_CHUNK, sizeof(**chunk));
    if (*chunk == NULL)
        return NULL;
    d = &(*chunk)[r->data_used % FE_DATA_CHUNK];
    d->index = r->data_used++;
    return d;
}

/* recv.lock is held, and given away meanwhile: wait until one of very many copies has come. */
static CUresult
data_wait_free(struct fe_call *call)
{
    struct fe_line *l = call->session->line;
    struct fe_receive *r = &l->recv;
    struct fe_data_wanted wanted = {0}, **at;

    for (at = &r->data_wanted; *at != NULL; at = &(*at)->next)
        ;
    *at = &wanted;
    pthread_mutex_unlock(&r->lock);
    fe_submit_flush(l); /* what would free one may not be sent yet */
    fe_receive_wait(l, &wanted.done);
    pthread_mutex_lock(&r->lock);
    if (atomic_load_explicit(&wanted.done.set, memory_order_acquire) != 0)
        return CUDA_SUCCESS;
    for (at = &r->data_wanted; *at != NULL && *at != &wanted; at = &(*at)->next)
        ;
    if (*at != NULL)
        *at = wanted.next;
    return fe_lost(call);
}

CUresult
fe_data_open(struct fe_call *call, const struct fe_data_shape *shape, enum fe_data_mode mode,
             uint32_t *data_p)
{
    struct fe_receive *r = &call->session->line->recv;
    uint64_t rows;
    struct fe_data *d;

    CUresult cr = CUDA_SUCCESS;

    pthread_mutex_lock(&r->lock);
    while (cr == CUDA_SUCCESS && data_all_used(r))
        cr = data_wait_free(call);
    d = cr == CUDA_SUCCESS ? data_take(r) : NULL;
    if (d == NULL) {
        pthread_mutex_unlock(&r->lock);
        return cr != CUDA_SUCCESS ? cr : CUDA_ERROR_OUT_OF_MEMORY;
    }
    rows = shape->rows * shape->slices;
    d->shape = *shape;
    d->total = shape->row_bytes * rows;
    d->received = 0;
    d->result = CUDA_SUCCESS;
    d->async = mode == FE_DATA_ASYNC;
    d->kept = mode == FE_DATA_KEPT;
    d->busy = false;
    d->generation = (uint16_t)(d->generation + 1);
    if (d->generation == 0)
        d->generation = 1;
    atomic_store_explicit(&d->done.set, 0, memory_order_relaxed);
    d->open = true;
    *data_p = (uint32_t)d->generation << 16 | d->index;
    pthread_mutex_unlock(&r->lock);
    if (mode == FE_DATA_ASYNC)
        fe_receive_expect(call->session->line, 1);
    return CUDA_SUCCESS;
}

CUresult
fe_data_open_linear(struct fe_call *call, void *dst, uint64_t bytes, enum fe_data_mode mode,
                    uint32_t *data_p)
{
    const struct fe_data_shape shape = {
        .dst = dst,
        .row_bytes = bytes,
        .row_pitch = bytes,
        .rows = 1,
        .slices = 1,
    };

    return fe_data_open(call, &shape, mode, data_p);
}

void
fe_data_drop(struct fe_call *call, uint32_t data)
{
    struct fe_line *l = call->session->line;
    struct fe_data *d;
    bool async = false;

    pthread_mutex_lock(&l->recv.lock);
    d = data_find(&l->recv, data);
    if (d != NULL) {
        async = d->async;
        data_give_back_unlock(l, d);
    } else {
        pthread_mutex_unlock(&l->recv.lock);
    }
    if (async)
        fe_receive_expect(l, -1);
}

CUresult
fe_data_wait(struct fe_call *call, uint32_t data)
{
    struct fe_line *l = call->session->line;
    struct fe_data *d;
    CUresult cr;

    pthread_mutex_lock(&l->recv.lock);
    d = data_find(&l->recv, data);
    pthread_mutex_unlock(&l->recv.lock);
    if (d == NULL)
        return fe_lost(call);

    fe_submit_flush(l);
    fe_receive_wait(l, &d->done);

    pthread_mutex_lock(&l->recv.lock);
    while (d->busy) { /* only when the session ended: the reader is about to notice */
        pthread_mutex_unlock(&l->recv.lock);
        sched_yield();
        pthread_mutex_lock(&l->recv.lock);
    }
    cr = atomic_load_explicit(&d->done.set, memory_order_acquire) != 0 ? d->result : fe_lost(call);
    data_give_back_unlock(l, d);
    return cr;
}

/* --- the reader's side ------------------------------------------------------- */

static uint8_t *
row_at(const struct fe_data_shape *shape, uint64_t row)
{
    return (uint8_t *)shape->dst + row / shape->rows * shape->slice_pitch +
           row % shape->rows * shape->row_pitch;
}

/* Packed rows to where they belong. */
static void
put_rows(const struct fe_data_shape *shape, uint64_t offset, const uint8_t *from, size_t bytes)
{
    while (bytes > 0) {
        uint64_t in_row = offset % shape->row_bytes;
        size_t n = (size_t)gp_min_u64(shape->row_bytes - in_row, bytes);

        memcpy(row_at(shape, offset / shape->row_bytes) + in_row, from, n);
        from += n;
        offset += n;
        bytes -= n;
    }
}

/* Short rows: several with one read. */
static bool
take_by_bounce(struct fe_line *l, const struct fe_data_shape *shape, uint64_t offset,
               uint64_t bytes)
{
    uint8_t bounce[BOUNCE_BYTES];

    while (bytes > 0) {
        size_t have = (size_t)gp_min_u64(bytes, sizeof(bounce));

        if (!fe_receive_bytes(l, bounce, have))
            return false;
        put_rows(shape, offset, bounce, have);
        offset += have;
        bytes -= have;
    }
    return true;
}

/* What comes out is bounded by plain, which lies within the copy. */
static bool
take_packed(struct fe_line *l, const struct fe_data_shape *shape, uint64_t offset, uint32_t bytes,
            size_t plain)
{
    const uint8_t *packed = fe_receive_payload(l, bytes);
    GP_AUTO_FREE uint8_t *room = NULL;
    uint8_t *to = (uint8_t *)shape->dst + offset;
    size_t got;

    if (packed == NULL)
        return false;
    if (shape->rows != 1 || shape->slices != 1)
        to = room = malloc(plain);
    if (to == NULL) {
        fe_session_failf(l->session, CUDA_ERROR_OUT_OF_MEMORY, "no memory for packed data");
        return false;
    }
    if (gp_zstd_decompress(packed, bytes, to, plain, &got) != GP_OK || got != plain)
        return false;
    if (room != NULL)
        put_rows(shape, offset, room, plain);
    return true;
}

static bool
take_in_place(struct fe_line *l, const struct fe_data_shape *shape, uint64_t offset, uint64_t bytes)
{
    if (shape->rows == 1 && shape->slices == 1)
        return fe_receive_bytes(l, (uint8_t *)shape->dst + offset, bytes);
    if (shape->row_bytes < ROW_DIRECT)
        return take_by_bounce(l, shape, offset, bytes);
    while (bytes > 0) {
        uint64_t in_row = offset % shape->row_bytes;
        uint64_t n = gp_min_u64(shape->row_bytes - in_row, bytes);

        if (!fe_receive_bytes(l, row_at(shape, offset / shape->row_bytes) + in_row, n))
            return false;
        offset += n;
        bytes -= n;
    }
    return true;
}

/* What ends a copy: its last piece, or its failure. */
static void
data_end(struct fe_line *l, struct fe_data *d, CUresult result)
{
    struct fe_receive *r = &l->recv;

    if (!d->async) {
        d->result = result; /* seen by who acquires done */
        fe_receive_set(l, &d->done);
        return;
    }
    if (result != CUDA_SUCCESS)
        fe_defer(l, result);
    pthread_mutex_lock(&r->lock);
    r->expected--;
    (void)data_free_unlock(r, d);
}

bool
fe_data_frame(struct fe_line *l, uint32_t data, uint32_t payload_bytes)
{
    struct fe_receive *r = &l->recv;
    struct wire_data head;
    uint64_t bytes, packed, begin_ns;
    struct fe_data *d;
    bool whole;

    if (payload_bytes < sizeof(head) || !fe_receive_bytes(l, &head, sizeof(head)))
        return false;
    bytes = packed = payload_bytes - sizeof(head);
    if (head.flags & WIRE_DATA_PACKED) {
        bytes = (uint64_t)(int64_t)head.result;
        if (bytes == 0 || bytes > GP_PACK_PIECE_MAX || packed > GP_PACK_PIECE_MAX ||
            (head.flags & WIRE_DATA_FAILED) != 0 ||
            (l->session->features & WIRE_FEATURE_COMPRESS) == 0)
            return false;
    }

    pthread_mutex_lock(&r->lock);
    d = data_find(r, data);
    if (d == NULL || d->busy || atomic_load_explicit(&d->done.set, memory_order_relaxed) != 0 ||
        head.offset > d->total || bytes > d->total - head.offset ||
        (!d->kept && bytes > d->total - d->received)) {
        pthread_mutex_unlock(&r->lock);
        return false;
    }
    d->busy = true;
    pthread_mutex_unlock(&r->lock);

    begin_ns = fe_trace_now();
    whole = head.flags & WIRE_DATA_PACKED
                ? take_packed(l, &d->shape, head.offset, (uint32_t)packed, bytes)
                : take_in_place(l, &d->shape, head.offset, bytes);
    fe_trace_add("data", "line", begin_ns, packed);

    pthread_mutex_lock(&r->lock);
    d->busy = false;
    d->received += bytes;
    pthread_mutex_unlock(&r->lock);
    if (!whole)
        return false;
    if (packed >= FE_TAIL_MIN)
        fe_resume_bulk(l);
    if (d->kept)
        return (head.flags & (WIRE_DATA_LAST | WIRE_DATA_FAILED)) == 0;
    if (head.flags & WIRE_DATA_FAILED)
        data_end(l, d, head.result != CUDA_SUCCESS ? (CUresult)head.result : CUDA_ERROR_UNKNOWN);
    else if ((head.flags & WIRE_DATA_LAST) && d->received == d->total)
        data_end(l, d, CUDA_SUCCESS);
    else if (head.flags & WIRE_DATA_LAST)
        return false;
    return true;
}
