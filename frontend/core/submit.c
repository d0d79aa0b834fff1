/* frontend/core/submit.c -- one sequence of calls out of many threads
 *
 * Records gather in one of two buffers while the other one is on its way. Who finds the line idle
 * rings the sending thread, or, if it is about to wait for an answer anyway, sends by itself.
 */
#include "frontend/core/futex.h"
#include "frontend/core/line.h"
#include "frontend/core/perf.h"
#include "frontend/core/trace.h"

#include "protocol/base/log.h"
#include "protocol/base/util.h"

#include <sched.h>
#include <string.h>
#include <sys/mman.h>

#define SLOT_BITS    10
#define SPIN_MIN_NS  (2 * GP_NS_PER_US)
#define CONTROLS_MAX 3
#define BATCH_PIECES 3
#define PONG_NONE    UINT32_MAX
/* Where so many waits in a row each followed on so few records, the sending thread is not woken
 * for the first of them: the call that waits would send them before it got up. It looks by itself
 * after a nap, longer ones while that goes on, since on few cores each of its wake-ups holds up
 * the wait that it meets. */
#define BRIEF_WAITS   4u
#define BRIEF_RECORDS 16u
#define NAP_MIN_NS    (50 * GP_NS_PER_US)
#define NAP_MAX_NS    (8 * GP_NS_PER_MS)
/* Records that lay longer than a wake-up takes, because no wait followed, have cost that time: the
 * thread naps again once so many waits have brought it in, each so much. */
#define HELD_NS (50 * GP_NS_PER_US)
#define PAID_NS (1 * GP_NS_PER_US)

_Static_assert(FE_SLOTS == 1u << SLOT_BITS, "a tag is generation and slot");

/* PING, PONG and BYE, that go before the next batch. */
struct controls {
    uint8_t bytes[CONTROLS_MAX][WIRE_FRAME_HEADER_BYTES + FE_PONG_BYTES_MAX];
    size_t len[CONTROLS_MAX];
    int count;
};

static void
control_add(struct controls *c, enum wire_frame_kind kind, uint32_t tag, const void *payload,
            uint32_t len)
{
    struct wire_frame_header header = {.payload_bytes = len, .kind = (uint8_t)kind, .tag = tag};
    uint8_t *to = c->bytes[c->count];

    wire_frame_encode(&header, to);
    if (len > 0)
        memcpy(to + WIRE_FRAME_HEADER_BYTES, payload, len);
    c->len[c->count++] = WIRE_FRAME_HEADER_BYTES + len;
}

/* submit.lock held. */
static void
controls_take(struct fe_submit *sub, struct controls *c)
{
    c->count = 0;
    if (sub->ping_due)
        control_add(c, WIRE_FRAME_PING, 0, NULL, 0);
    if (sub->pong_len != PONG_NONE)
        control_add(c, WIRE_FRAME_PONG, sub->pong_tag, sub->pong, sub->pong_len);
    sub->ping_due = false;
    sub->pong_len = PONG_NONE;
}

/* submit.lock held. */
static bool
anything_due(const struct fe_submit *sub)
{
    return sub->batch[sub->fill].records > 0 || sub->ping_due || sub->pong_len != PONG_NONE;
}

/* The pieces of memory that make the batch's frame. */
static int
batch_iov(struct fe_batch *b, struct iovec iov[BATCH_PIECES])
{
    int n = 0;

    if (b->tail.iov_len == 0) {
        iov[n++] = (struct iovec){b->bytes, b->len};
        return n;
    }
    iov[n++] = (struct iovec){b->bytes, b->tail_at};
    iov[n++] = b->tail;
    if (b->len > b->tail_at)
        iov[n++] = (struct iovec){b->bytes + b->tail_at, b->len - b->tail_at};
    return n;
}

static void
batch_reset(struct fe_batch *b)
{
    if (b->len > FE_BATCH_KEEP)
        (void)madvise(b->bytes + FE_BATCH_KEEP, FE_BATCH_BYTES - FE_BATCH_KEEP, MADV_DONTNEED);
    b->len = WIRE_FRAME_HEADER_BYTES;
    b->payload = 0;
    b->records = 0;
    b->tail = (struct iovec){0};
}

static enum gp_status
send_now(struct fe_line *l, struct fe_batch *b, struct controls *c, uint64_t seq,
         uint64_t deadline_ns)
{
    struct iovec iov[CONTROLS_MAX + BATCH_PIECES];
    int i, n = 0;

    for (i = 0; i < c->count; i++)
        iov[n++] = (struct iovec){c->bytes[i], c->len[i]};
    if (b->records > 0) {
        struct wire_frame_header header = {
            .payload_bytes = (uint32_t)b->payload,
            .kind = WIRE_FRAME_CALLS,
            .tag = b->records,
            .seq = seq,
            .ack = tp_received(l->lane),
        };

        wire_frame_encode(&header, b->bytes);
        n += batch_iov(b, iov + n);
    }
    if (b->tail.iov_len >= FE_TAIL_MIN)
        fe_resume_bulk(l);
    return n > 0 ? tp_send_lent(l->lane, iov, n, &b->tail, 1, deadline_ns) : GP_OK;
}

/* submit.lock held and nobody sending; unlocks meanwhile. What gathered before is then sent. */
static void
send_gathered(struct fe_line *l)
{
    struct fe_submit *sub = &l->submit;
    struct fe_batch *b = &sub->batch[sub->fill];
    struct controls c;
    uint64_t begin_ns = fe_trace_now();
    enum gp_status status;
    uint64_t seq;

    controls_take(sub, &c);
    seq = b->records > 0 ? ++sub->next_seq : 0;
    sub->fill ^= 1;
    sub->filling++;
    sub->sending = true;
    sub->held_ns = 0;
    pthread_mutex_unlock(&sub->lock);

    status = send_now(l, b, &c, seq, GP_FOREVER);
    fe_trace_add("send", "line", begin_ns, b->payload);
    batch_reset(b);
    if (GP_UNLIKELY(status != GP_OK))
        fe_session_failf(l->session, CUDA_ERROR_DEVICE_UNAVAILABLE, "sending: %s",
                         gp_status_text(status));

    pthread_mutex_lock(&sub->lock);
    sub->sending = false;
    if (sub->room_waiters > 0)
        pthread_cond_broadcast(&sub->room);
}

/* submit.lock held. */
static void
wait_room(struct fe_submit *sub)
{
    sub->room_waiters++;
    pthread_cond_wait(&sub->room, &sub->lock);
    sub->room_waiters--;
}

static bool
line_over(const struct fe_line *l)
{
    return atomic_load_explicit(&l->over, memory_order_acquire);
}

/* submit.lock held: true if the sending thread must be woken once it is released. */
static bool
ring_needed(struct fe_submit *sub)
{
    if (sub->sending || !anything_due(sub))
        return false;
    if (!sub->sleeping && !(sub->napping && sub->batch[sub->fill].records > BRIEF_RECORDS))
        return false;
    sub->sleeping = false;
    sub->napping = false;
    atomic_fetch_add_explicit(&sub->bell, 1, memory_order_relaxed);
    return true;
}

static void
unlock_and_ring(struct fe_submit *sub)
{
    bool ring = ring_needed(sub);

    pthread_mutex_unlock(&sub->lock);
    if (ring)
        fe_futex_wake(&sub->bell);
}

/* submit.lock held: send, or see it sent, up to the batch that gathers now. */
static void
send_through(struct fe_line *l)
{
    struct fe_submit *sub = &l->submit;
    uint64_t mine = sub->filling;

    while (!line_over(l) && (sub->filling == mine || (sub->sending && sub->filling == mine + 1))) {
        if (sub->sending)
            wait_room(sub);
        else
            send_gathered(l);
    }
}

/* submit.lock held; false when the session ended meanwhile. A record with a tail is alone in its
 * frame, so that the server can read the tail to where it belongs. */
static bool
make_room(struct fe_line *l, size_t bytes, size_t payload, bool tail)
{
    struct fe_submit *sub = &l->submit;

    while (!line_over(l)) {
        struct fe_batch *b = &sub->batch[sub->fill];

        if (b->records == 0 || (!tail && b->tail.iov_len == 0 && b->len + bytes <= FE_BATCH_SOFT &&
                                b->payload + payload <= sub->payload_max))
            return true;
        if (sub->sending)
            wait_room(sub);
        else
            send_gathered(l);
    }
    return false;
}

/* submit.lock held; NULL when the session ended meanwhile. */
static struct fe_slot *
take_slot(struct fe_line *l)
{
    struct fe_submit *sub = &l->submit;
    struct fe_slot *slot;

    while (sub->free_slots == NULL && sub->slots_used == FE_SLOTS) {
        if (line_over(l))
            return NULL;
        wait_room(sub);
    }
    slot = sub->free_slots;
    if (slot != NULL)
        sub->free_slots = slot->next_free;
    else
        slot = &sub->slots[sub->slots_used++];

    slot->generation = (slot->generation + 1) & (UINT32_MAX >> SLOT_BITS);
    if (slot->generation == 0)
        slot->generation = 1;
    slot->bytes = NULL;
    slot->len = 0;
    atomic_store_explicit(&slot->done.set, 0, memory_order_relaxed);
    atomic_store_explicit(&slot->tag, slot->generation << SLOT_BITS | (uint32_t)(slot - sub->slots),
                          memory_order_release);
    return slot;
}

void
fe_submit_free_slot(struct fe_line *l, struct fe_slot *slot)
{
    struct fe_submit *sub = &l->submit;

    if (slot->bytes != slot->inline_bytes)
        free(slot->bytes);
    pthread_mutex_lock(&sub->lock);
    atomic_store_explicit(&slot->tag, 0, memory_order_relaxed);
    slot->next_free = sub->free_slots;
    sub->free_slots = slot;
    if (sub->room_waiters > 0)
        pthread_cond_broadcast(&sub->room);
    pthread_mutex_unlock(&sub->lock);
}

/* submit.lock held: no other writer, so no locked instruction is needed. */
static void
bump(_Atomic uint64_t *counter)
{
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + 1,
                          memory_order_relaxed);
}

void *
fe_submit_begin(struct fe_line *l, struct fe_call *call, size_t head_bytes, const void *tail,
                size_t tail_bytes)
{
    struct fe_submit *sub = &l->submit;
    size_t whole = sizeof(struct wire_record) + head_bytes + WIRE_PAD(tail_bytes);
    bool by_reference = tail_bytes >= FE_TAIL_MIN && fe_perf(FE_PERF_ZERO_COPY);
    size_t pad = WIRE_PAD(tail_bytes) - tail_bytes;
    size_t bytes = by_reference ? whole - tail_bytes : whole;
    struct wire_record record;
    struct fe_batch *b;
    uint8_t *to;

    if (GP_UNLIKELY(whole > WIRE_RECORD_BYTES_MAX || head_bytes % 8 != 0))
        return NULL;
    pthread_mutex_lock(&sub->lock);
    if (wire_calls[call->id].sync) {
        call->slot = take_slot(l);
        if (call->slot == NULL)
            goto err_unlock;
    }
    if (!make_room(l, bytes, whole, by_reference))
        goto err_free_slot;

    record = (struct wire_record){
        .bytes = (uint32_t)whole,
        .call = call->id,
        .tag =
            call->slot != NULL ? atomic_load_explicit(&call->slot->tag, memory_order_relaxed) : 0,
        .context = call->context != NULL ? fe_object_index(call->context) : 0,
    };
    call->tag = record.tag;
    call->bytes += whole;
    bump(record.tag != 0 ? &sub->calls_sync : &sub->calls_async);
    b = &sub->batch[sub->fill];
    to = b->bytes + b->len;
    memcpy(to, &record, sizeof(record));
    to += sizeof(record);
    if (by_reference) {
        b->tail_at = (size_t)(to + head_bytes - b->bytes);
        b->tail = (struct iovec){(void *)(uintptr_t)tail, tail_bytes};
        call->lent = b->tail;
        memset(to + head_bytes, 0, pad);
    } else if (tail_bytes > 0) {
        memcpy(to + head_bytes, tail, tail_bytes);
        memset(to + head_bytes + tail_bytes, 0, pad);
    }
    sub->open_bytes = bytes;
    sub->open_payload = whole;
    sub->open_flush = by_reference || !fe_perf(FE_PERF_BATCH);
    return to;

err_free_slot:
    if (call->slot != NULL) {
        call->slot->next_free = sub->free_slots;
        sub->free_slots = call->slot;
        call->slot = NULL;
    }
err_unlock:
    pthread_mutex_unlock(&sub->lock);
    return NULL;
}

void
fe_submit_end(struct fe_line *l, bool wake)
{
    struct fe_submit *sub = &l->submit;
    struct fe_batch *b = &sub->batch[sub->fill];

    b->len += sub->open_bytes;
    b->payload += sub->open_payload;
    b->records++;
    atomic_store_explicit(&sub->posted,
                          atomic_load_explicit(&sub->posted, memory_order_relaxed) + 1,
                          memory_order_relaxed);
    if (GP_UNLIKELY(sub->open_flush))
        send_through(l);
    else if (GP_UNLIKELY(b->len >= FE_BATCH_SELF) && /* the thread gets no core, the server idles */
             !sub->sending && !line_over(l))
        send_gathered(l);
    if (!wake) {
        pthread_mutex_unlock(&sub->lock);
        return;
    }
    if (sub->napping && sub->held_ns == 0 && sub->batch[sub->fill].records > 0)
        sub->held_ns = gp_now_ns();
    unlock_and_ring(sub);
}

/* submit.lock held: true if what gathers was held back for a wait that did not come in time. */
static bool
held_long(struct fe_submit *sub)
{
    uint64_t held_ns = sub->held_ns != 0 ? gp_now_ns() - sub->held_ns : 0;

    if (held_ns < HELD_NS)
        return false;
    sub->brief = 0;
    sub->owed_ns += held_ns;
    atomic_store_explicit(&sub->held, atomic_load_explicit(&sub->held, memory_order_relaxed) + 1,
                          memory_order_relaxed);
    return true;
}

/* submit.lock held: a call is about to wait. */
static void
note_wait(struct fe_submit *sub)
{
    uint32_t now = atomic_load_explicit(&sub->posted, memory_order_relaxed);
    uint32_t records = now - sub->waited;

    sub->waited = now;
    if (records > BRIEF_RECORDS) {
        sub->brief = 0;
    } else if (records > 0 && !held_long(sub)) {
        sub->brief += sub->brief < BRIEF_WAITS;
        sub->owed_ns -= gp_min_u64(sub->owed_ns, PAID_NS);
    }
}

/* submit.lock held: waits follow on what is posted. */
static bool
waits_follow(const struct fe_submit *sub)
{
    return sub->brief == BRIEF_WAITS && sub->owed_ns == 0;
}

void
fe_submit_flush(struct fe_line *l)
{
    struct fe_submit *sub = &l->submit;

    pthread_mutex_lock(&sub->lock);
    note_wait(sub);
    if (!sub->sending && anything_due(sub) && !line_over(l))
        send_gathered(l);
    unlock_and_ring(sub); /* for what others posted meanwhile */
}

void
fe_submit_ping(struct fe_line *l)
{
    pthread_mutex_lock(&l->submit.lock);
    l->submit.ping_due = true;
    unlock_and_ring(&l->submit);
}

void
fe_submit_pong(struct fe_line *l, uint32_t tag, const void *bytes, uint32_t len)
{
    struct fe_submit *sub = &l->submit;

    pthread_mutex_lock(&sub->lock);
    sub->pong_tag = tag;
    sub->pong_len = len;
    memcpy(sub->pong, bytes, len);
    unlock_and_ring(sub);
}

void
fe_submit_finish(struct fe_line *l, uint64_t deadline_ns)
{
    struct fe_submit *sub = &l->submit;
    struct timespec until = gp_timespec(deadline_ns);
    struct controls none = {.count = 0}, bye = {.count = 0};
    struct fe_batch nothing = {.records = 0};
    int rc = 0;

    pthread_mutex_lock(&sub->lock);
    sub->room_waiters++;
    while (sub->sending && rc == 0)
        rc = pthread_cond_clockwait(&sub->room, &sub->lock, CLOCK_MONOTONIC, &until);
    sub->room_waiters--;
    if (!sub->sending && !line_over(l)) {
        struct fe_batch *b = &sub->batch[sub->fill];

        /* For ever: nothing follows the BYE. What a late thread still posts gathers elsewhere. */
        sub->sending = true;
        sub->fill ^= 1;
        sub->filling++;
        control_add(&bye, WIRE_FRAME_BYE, WIRE_CODE_OK, NULL, 0);
        pthread_mutex_unlock(&sub->lock);
        if (send_now(l, b, &none, b->records > 0 ? sub->next_seq + 1 : 0, deadline_ns) == GP_OK)
            (void)!send_now(l, &nothing, &bye, 0, deadline_ns);
        return;
    }
    pthread_mutex_unlock(&sub->lock);
}

/* Look for new records for a while; true if some came. Shorter looks when they find nothing. */
static bool
look(struct fe_line *l, uint64_t *spin_ns)
{
    struct fe_submit *sub = &l->submit;
    uint32_t seen = atomic_load_explicit(&sub->posted, memory_order_relaxed);
    uint64_t most = (uint64_t)l->spin_us * GP_NS_PER_US;
    uint64_t until;
    int i;

    if (most == 0)
        return false;
    until = gp_now_ns() + *spin_ns;
    do {
        for (i = 0; i < 32; i++) {
            if (atomic_load_explicit(&sub->posted, memory_order_relaxed) != seen) {
                *spin_ns = gp_min_u64(*spin_ns * 2, most);
                return true;
            }
            __builtin_ia32_pause();
        }
        sched_yield();
    } while (gp_now_ns() < until);
    *spin_ns = gp_max_u64(*spin_ns / 2, SPIN_MIN_NS);
    return false;
}

/* submit.lock held, which is given away meanwhile. Naps as long as calls come and go; a record that
 * nobody has sent for a whole nap shows that waits do not follow any more. */
static void
nap(struct fe_line *l)
{
    struct fe_submit *sub = &l->submit;
    uint32_t bell = atomic_load_explicit(&sub->bell, memory_order_relaxed);
    uint64_t due = UINT64_MAX; /* the batch that was not sent when the last nap ended */
    uint64_t nap_ns = NAP_MIN_NS;
    uint32_t seen;

    sub->napping = true;
    do {
        seen = atomic_load_explicit(&sub->posted, memory_order_relaxed);
        pthread_mutex_unlock(&sub->lock);
        if (!line_over(l))
            fe_futex_wait(&sub->bell, bell, due == UINT64_MAX ? nap_ns : NAP_MIN_NS);
        pthread_mutex_lock(&sub->lock);
        nap_ns = gp_min_u64(nap_ns * 2, NAP_MAX_NS);
        if (sub->sending || !anything_due(sub))
            due = UINT64_MAX;
        else if (!held_long(sub) && due != sub->filling)
            due = sub->filling;
        else
            sub->brief = 0;
    } while (
        sub->napping && waits_follow(sub) && !line_over(l) &&
        (due == sub->filling || seen != atomic_load_explicit(&sub->posted, memory_order_relaxed)));
    sub->napping = false;
    sub->held_ns = 0;
}

/* submit.lock held, which is given away meanwhile: until somebody rings. */
static void
sleep_on_bell(struct fe_line *l)
{
    struct fe_submit *sub = &l->submit;
    uint32_t bell = atomic_load_explicit(&sub->bell, memory_order_relaxed);

    sub->sleeping = true;
    pthread_mutex_unlock(&sub->lock);
    if (!line_over(l))
        fe_futex_wait(&sub->bell, bell, 0);
    pthread_mutex_lock(&sub->lock);
    sub->sleeping = false;
}

void *
fe_submit_thread(void *line)
{
    struct fe_line *l = line;
    struct fe_submit *sub = &l->submit;
    uint64_t spin_ns = SPIN_MIN_NS;

    pthread_mutex_lock(&sub->lock);
    while (!line_over(l)) {
        bool found;

        if (!sub->sending && anything_due(sub)) {
            send_gathered(l);
            continue;
        }
        if (waits_follow(sub)) {
            nap(l);
        } else {
            pthread_mutex_unlock(&sub->lock);
            found = look(l, &spin_ns);
            pthread_mutex_lock(&sub->lock);
            if (found)
                continue;
        }
        if (sub->sending || !anything_due(sub))
            sleep_on_bell(l);
    }
    pthread_mutex_unlock(&sub->lock);
    return NULL;
}
