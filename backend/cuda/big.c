/* backend/cuda/big.c -- copies to the client that do not fit into pinned memory
 *
 * Such a copy runs on a stream of ours, a few pieces ahead of the line, while a gate holds the
 * client's stream: what follows there may change the memory. Only a few are copied at a time, the
 * line is one anyway; they need nothing but the line and our stream, so each comes to its end.
 */
#include "backend/cuda/array.h"
#include "backend/cuda/jobs.h"
#include "backend/cuda/pace.h"

#include "protocol/base/util.h"
#include "protocol/wire/data.h"
#include "transport/transport.h"

#include <stdlib.h>

#define BE_BIG_DEPTH 4 /* pieces under way from the device */
/* And those that the client has not acknowledged. Where the line keeps nothing there is one that is
 * being sent, and pieces are small: all of them fit the cache of the core that copies and sends. */
#define BE_BIG_SLOTS      8
#define BE_BIG_NEAR_SLOTS (BE_BIG_DEPTH + 1)
#define BE_BIG_NEAR_BYTES (256u << 10)
#define BE_BIG_LEND_BYTES (1u << 20) /* of a frame that is sent from the device's memory */
#define BE_BIG_DIRECT_BYTES                                                                        \
    (8u << 20) /* of one that the line's device reads in the device's memory */
#define BE_BIG_FILL_BYTES (1u << 20) /* of a frame that is written to where the client reads it */
#define BE_BIG_COPYING    4          /* copies at a time, of a session */

struct be_big {
    struct be_wait wait;
    struct be_call call; /* tag != 0: answer when all is sent */
    struct be_region from;
    uint32_t data;
    bool near;   /* the device's memory is ours */
    bool direct; /* the line's device reads it */
    uint64_t number;
    CUstream copier;
    struct be_staging *staging;
    struct be_gates *gates;
    struct be_gate *gate;
};

struct be_big_slot {
    struct be_block *block;
    struct be_cut cut;
    CUevent event;
    struct be_pace_apart apart;
};

static void
big_free(struct be_big *big)
{
    be_array_put(big->from.array);
    be_pending_put(big->call.session);
    free(big);
}

static CUresult
big_issue(struct be_big *big, struct be_cut *cut, struct be_big_slot *slot)
{
    CUresult cr = CUDA_SUCCESS;

    be_cut_here(&big->from, cut);
    slot->cut = *cut;
    if (slot->block == NULL)
        cr = be_staging_get(big->staging, be_cut_most(&big->from), true, &slot->block);
    else
        be_data_settle(big->call.session, slot->block->data, be_cut_most(&big->from));
    if (cr == CUDA_SUCCESS) {
        be_pace_apart_begin(big->call.session, big->wait.context, big->copier, &slot->apart);
        cr = be_cut_copy(big->call.driver, &big->from, cut, slot->block->data, big->copier);
        be_pace_apart_end(&slot->apart, big->copier);
    }
    if (cr == CUDA_SUCCESS)
        cr = be_context_mark(big->wait.context, big->copier, &slot->event);
    be_cut_next(&big->from, cut);
    return cr;
}

static CUresult
big_copy(struct be_big *big)
{
    struct be_session *session = big->call.session;
    struct be_big_slot slots[BE_BIG_SLOTS] = {{0}};
    unsigned used = big->from.piece == 0 ? BE_BIG_SLOTS : BE_BIG_NEAR_SLOTS;
    uint64_t count = be_cut_count(&big->from), issued = 0;
    struct be_cut cut = {0};
    CUresult cr = CUDA_SUCCESS;

    for (uint64_t i = 0; i < count && cr == CUDA_SUCCESS; i++) {
        struct be_big_slot *slot = &slots[i % used];
        struct wire_data head = {.flags = i + 1 == count ? WIRE_DATA_LAST : 0};

        while (issued < count && issued < i + BE_BIG_DEPTH && cr == CUDA_SUCCESS)
            cr = big_issue(big, &cut, &slots[issued++ % used]);
        if (cr == CUDA_SUCCESS)
            cr = session->driver->table.cuEventSynchronize(slot->event);
        be_context_event_put(big->wait.context, slot->event);
        slot->event = NULL;
        be_pace_apart_charge(&slot->apart, big->wait.context);
        head.offset = be_cut_offset(&big->from, &slot->cut);
        if (cr == CUDA_SUCCESS && !be_data_send_lent(session, big->data, &head, slot->block->data,
                                                     slot->cut.bytes * slot->cut.rows))
            break;
    }
    (void)session->driver->table.cuStreamSynchronize(big->copier);
    for (unsigned i = 0; i < used; i++) {
        if (slots[i].block != NULL) {
            be_data_settle(session, slots[i].block->data, be_cut_most(&big->from));
            be_staging_put(big->staging, slots[i].block);
        }
        be_context_event_put(big->wait.context, slots[i].event);
        be_pace_apart_charge(&slots[i].apart, big->wait.context);
    }
    return cr;
}

/* -- straight to where the client reads ----------------------------------------------------------
 */

struct big_fill {
    struct be_big *big;
    uint64_t from;
    CUresult cr;
};

/* tp_fill; what follows a failure is whatever lay there, and the client is told. */
static void
fill_put(void *user, size_t at, void *to, size_t bytes)
{
    struct big_fill *f = user;
    const struct be_driver_table *t = f->big->call.driver;
    struct be_context *context = f->big->wait.context;
    struct be_pace_apart apart;

    if (f->cr != CUDA_SUCCESS)
        return;
    be_pace_apart_begin(f->big->call.session, context, f->big->copier, &apart);
    f->cr = t->cuMemcpyDtoHAsync_v2(to, f->from + at, bytes, f->big->copier);
    be_pace_apart_end(&apart, f->big->copier);
    if (f->cr == CUDA_SUCCESS)
        f->cr = t->cuStreamSynchronize(f->big->copier);
    be_pace_apart_charge(&apart, context);
}

bool
be_big_fills(const struct be_session *session, const struct be_region *from)
{
    /* The line's memory is not pinned: a GPU would copy to it by way of such memory of its own. */
    return session->driver->software && from->array == NULL && from->height == 1 &&
           from->depth == 1 && be_data_fills(session);
}

/* A copy that fails ends by the caller's word, behind a frame that was not its last. */
static CUresult
big_fill(struct be_big *big)
{
    struct be_session *session = big->call.session;
    uint64_t most = gp_min_u64(BE_BIG_FILL_BYTES, be_data_most(session)), left = big->from.width;
    struct big_fill f = {.big = big, .from = big->from.base};
    struct tp_fill fill = {.put = fill_put, .user = &f};
    struct wire_data head = {0};

    while (left > 0 && f.cr == CUDA_SUCCESS) {
        fill.bytes = gp_min_u64(left, most);
        if (!be_data_fill(session, big->data, &head, &fill))
            break;
        head.offset += fill.bytes;
        f.from += fill.bytes;
        left -= fill.bytes;
    }
    /* Told apart: by this the client knows that all of it is right. */
    head = (struct wire_data){.flags = WIRE_DATA_LAST, .offset = big->from.width};
    if (left == 0 && f.cr == CUDA_SUCCESS)
        (void)be_data_send(session, big->data, &head, NULL, 0); /* false: nobody is there */
    return f.cr;
}

/* -- straight from the device's memory ----------------------------------------------------------
 */

bool
be_big_near(struct be_session *session, const struct be_region *from)
{
    return from->array == NULL && from->height == 1 && from->depth == 1 && be_data_plain(session) &&
           be_memory_near(session, from->base, from->width);
}

/* The gate holds the stream: until it opens the memory is the line's. */
static CUresult
big_lend(struct be_big *big)
{
    struct be_session *session = big->call.session;
    const uint8_t *base = (const uint8_t *)(uintptr_t)big->from.base;
    uint64_t left = big->from.width;
    struct wire_data head = {0};
    bool ok = true;

    while (left > 0 && ok) {
        uint64_t bytes = gp_min_u64(left, BE_BIG_LEND_BYTES);

        head.flags = bytes == left ? WIRE_DATA_LAST : 0;
        ok = be_data_send_lent(session, big->data, &head, base + head.offset, bytes);
        head.offset += bytes;
        left -= bytes;
    }
    be_data_settle(session, base, big->from.width);
    return CUDA_SUCCESS;
}

/* -- by the line's device ------------------------------------------------------------------------
 */

struct big_fetch {
    struct be_big *big;
    CUresult cr;
};

/* tp_direct: what that device does not read, or has not read when its line was lost. */
static void
direct_fetch(void *user, void *to, const void *from, size_t bytes)
{
    struct big_fetch *f = user;
    const struct be_driver_table *t = f->big->call.driver;
    CUcontext popped;

    if (f->cr == CUDA_SUCCESS)
        f->cr = t->cuCtxPushCurrent_v2(f->big->wait.context->handle);
    if (f->cr != CUDA_SUCCESS)
        return;
    f->cr = t->cuMemcpyDtoHAsync_v2(to, (CUdeviceptr)(uintptr_t)from, bytes, f->big->copier);
    if (f->cr == CUDA_SUCCESS)
        f->cr = t->cuStreamSynchronize(f->big->copier);
    (void)t->cuCtxPopCurrent_v2(&popped);
}

bool
be_big_direct(struct be_session *session, const struct be_region *from)
{
    return from->array == NULL && from->height == 1 && from->depth == 1 &&
           be_direct_wanted(session, from->width) &&
           be_direct_ready(session, from->base, from->width, false);
}

/* As big_fill(): that all of it is right is told apart. */
static CUresult
big_direct(struct be_big *big)
{
    struct be_session *session = big->call.session;
    const uint8_t *base = (const uint8_t *)(uintptr_t)big->from.base;
    uint64_t most = gp_min_u64(BE_BIG_DIRECT_BYTES, be_data_most(session)), left = big->from.width;
    struct big_fetch f = {.big = big};
    struct tp_direct direct = {.fetch = direct_fetch, .user = &f};
    struct wire_data head = {0};

    while (left > 0 && f.cr == CUDA_SUCCESS) {
        direct.at = base + head.offset;
        direct.bytes = gp_min_u64(left, most);
        if (!be_data_send_direct(session, big->data, &head, &direct))
            break;
        be_count(session->row, BE_COUNT_DIRECT_BYTES, direct.bytes);
        head.offset += direct.bytes;
        left -= direct.bytes;
    }
    head = (struct wire_data){.flags = WIRE_DATA_LAST, .offset = big->from.width};
    if (left == 0 && f.cr == CUDA_SUCCESS)
        (void)be_data_send(session, big->data, &head, NULL, 0); /* false: nobody is there */
    return f.cr;
}

static void
turn_take(struct be_session *session)
{
    pthread_mutex_lock(&session->jobs_lock);
    while (session->bigs_copying == BE_BIG_COPYING)
        pthread_cond_wait(&session->jobs_sent, &session->jobs_lock);
    session->bigs_copying++;
    pthread_mutex_unlock(&session->jobs_lock);
}

static void
turn_give(struct be_session *session)
{
    pthread_mutex_lock(&session->jobs_lock);
    session->bigs_copying--;
    pthread_cond_broadcast(&session->jobs_sent);
    pthread_mutex_unlock(&session->jobs_lock);
}

static void
big_run(struct be_wait *wait, CUresult cr)
{
    struct be_big *big = GP_CONTAINER_OF(wait, struct be_big, wait);
    struct be_session *session = big->call.session;

    be_copies_send(session, big->number);
    if (cr == CUDA_SUCCESS) {
        turn_take(session);
        cr = big->near                           ? big_lend(big)
             : big->direct                       ? big_direct(big)
             : be_big_fills(session, &big->from) ? big_fill(big)
                                                 : big_copy(big);
        turn_give(session);
    }
    if (cr != CUDA_SUCCESS)
        be_copy_refuse(&big->call, big->data, cr);
    be_context_event_put(wait->context, wait->event);
    if (big->call.tag != 0) {
        be_print_drain(session);
        be_reply_plain(&big->call, cr);
    } else {
        be_flush(session);
    }
    be_gate_open(big->gates, big->gate);
    big_free(big);
}

CUresult
be_big_start(struct be_call *call, const struct be_region *from, uint32_t data, CUstream stream)
{
    struct be_big *big = be_pending_new(call->session, sizeof(*big));
    CUresult cr;

    if (big == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    big->call = *call;
    big->from = *from;
    big->from.piece = be_data_kept(call->session) ? 0 : BE_BIG_NEAR_BYTES;
    if (from->array != NULL)
        (void)be_array_get(from->array);
    big->data = data;
    big->near = be_big_near(call->session, from);
    big->direct = !big->near && be_big_direct(call->session, from);
    big->number = call->session->next_job++;
    big->wait.kind = BE_WAIT_EVENT;
    big->wait.context = call->context;
    big->wait.lane = be_lane_key(call->context, stream);
    big->wait.run = big_run;
    cr = be_context_staging(call->context, &big->staging);
    if (cr == CUDA_SUCCESS)
        cr = be_context_copier(call->context, &big->copier);
    if (cr == CUDA_SUCCESS)
        cr = be_context_gates(call->context, &big->gates);
    if (cr == CUDA_SUCCESS)
        cr = be_context_mark(call->context, stream, &big->wait.event);
    if (cr == CUDA_SUCCESS) {
        be_pace_cut(call, stream); /* the client may read as slowly as it likes */
        cr = be_gate_close(big->gates, stream, &big->gate);
        if (cr != CUDA_SUCCESS)
            be_context_event_put(call->context, big->wait.event);
    }
    if (cr != CUDA_SUCCESS) {
        big_free(big);
        return cr;
    }
    /* Not left to the executor: sending takes long. */
    be_waits_submit(call->session->waits, &big->wait);
    return call->tag != 0 ? BE_PARKED : CUDA_SUCCESS;
}
