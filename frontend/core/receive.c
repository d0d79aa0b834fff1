/* frontend/core/receive.c -- who waits reads
 *
 * One thread at a time reads the lane: the first that waits for something leads and reads until its
 * own answer is there, without a hand-over; others that wait follow, and one of them leads next.
 * When nobody waits the background thread reads what the server says unasked. It looks for that
 * with poll(), so that a waiting thread can take the lead from it at any time, and stays away while
 * waiting threads come and go.
 */
#include "frontend/core/futex.h"
#include "frontend/core/line.h"
#include "frontend/core/trace.h"

#include "protocol/base/log.h"
#include "protocol/base/util.h"
#include "transport/link/link.h"

#include <poll.h>
#include <string.h>
#include <unistd.h>

#define PARK_MIN_NS (1 * GP_NS_PER_MS)
#define PARK_MAX_NS (16 * GP_NS_PER_MS)
#define PINGS_LOST  3 /* unanswered, after which the server is given up */
#define SCRATCH_MIN (16u << 10)

static bool
line_over(const struct fe_line *l)
{
    return atomic_load_explicit(&l->over, memory_order_acquire);
}

static bool
is_set(struct fe_done *done)
{
    return atomic_load_explicit(&done->set, memory_order_acquire) != 0;
}

/* --- frames ---------------------------------------------------------------- */

static void
lost(struct fe_line *l, const char *doing, enum gp_status status)
{
    fe_session_failf(l->session, CUDA_ERROR_DEVICE_UNAVAILABLE, "%s: %s", doing,
                     gp_status_text(status));
}

static void
broken(struct fe_line *l, const char *what)
{
    fe_session_failf(l->session, CUDA_ERROR_DEVICE_UNAVAILABLE, "it broke the protocol: %s", what);
}

static uint64_t
next_beat(const struct fe_line *l)
{
    return l->heartbeat_ns != 0 ? gp_now_ns() + l->heartbeat_ns : GP_FOREVER;
}

/* Leader only: something came. */
static void
heard(struct fe_line *l)
{
    l->recv.heard_ns = gp_now_ns();
    l->recv.pings = 0;
}

/* Leader only. Nothing came for a beat: ask, and give up when some questions stay unanswered. What
 * counts is not the time alone, so that a process that was stopped for a while finds its session.
 */
static void
check_heart(struct fe_line *l)
{
    struct fe_receive *r = &l->recv;
    uint64_t now = gp_now_ns();

    if (l->heartbeat_ns == 0 || now - r->heard_ns < l->heartbeat_ns ||
        now - r->ping_ns < l->heartbeat_ns)
        return;
    if (r->pings >= PINGS_LOST && tp_link_is(l->lane)) {
        r->pings = 0;
        tp_link_break(l->lane, "silence"); /* of no harm where it is lost already */
        return;
    }
    if (r->pings >= PINGS_LOST && (tp_caps(l->lane) & TP_CAP_STEADY) != 0) {
        r->pings = 0; /* it is there, or the line would have ended */
        return;
    }
    if (r->pings == PINGS_LOST) {
        fe_session_failf(l->session, CUDA_ERROR_DEVICE_UNAVAILABLE, "silent for %llu ms",
                         (unsigned long long)((now - r->heard_ns) / GP_NS_PER_MS));
        return;
    }
    r->pings++;
    r->ping_ns = now;
    fe_submit_ping(l);
}

bool
fe_receive_bytes(struct fe_line *l, void *to, size_t bytes)
{
    uint8_t *at = to;

    while (bytes > 0) {
        size_t got = 0;
        enum gp_status status = tp_recv_payload(l->lane, at, bytes, next_beat(l), &got);

        if (status == GP_OK)
            break;
        at += got;
        bytes -= got;
        if (got > 0)
            heard(l);
        if (status == GP_ERR_TIMEOUT)
            check_heart(l);
        else if (status != GP_ERR_AGAIN)
            lost(l, "receiving", status);
        if (line_over(l))
            return false;
    }
    return true;
}

const uint8_t *
fe_receive_payload(struct fe_line *l, uint32_t bytes)
{
    struct fe_receive *r = &l->recv;

    if (bytes > r->scratch_bytes) {
        size_t want = bytes > SCRATCH_MIN ? bytes : SCRATCH_MIN;
        uint8_t *more = realloc(r->scratch, want);

        if (more == NULL) {
            fe_session_failf(l->session, CUDA_ERROR_OUT_OF_MEMORY,
                             "no memory for an answer of %u bytes", bytes);
            return NULL;
        }
        r->scratch = more;
        r->scratch_bytes = want;
    }
    return fe_receive_bytes(l, r->scratch, bytes) ? r->scratch : NULL;
}

static bool
reply_record(struct fe_line *l, const struct wire_record *record, const uint8_t *body, size_t len)
{
    struct fe_slot *slot = &l->submit.slots[record->tag % FE_SLOTS];
    struct wire_result result;

    if (record->tag == 0 || len < sizeof(result) || is_set(&slot->done) ||
        atomic_load_explicit(&slot->tag, memory_order_acquire) != record->tag)
        return false;
    memcpy(&result, body, sizeof(result));
    len -= sizeof(result);
    slot->bytes = len <= FE_SLOT_INLINE ? slot->inline_bytes : malloc(len);
    if (slot->bytes == NULL) {
        result.result = CUDA_ERROR_OUT_OF_MEMORY;
        len = 0;
    }
    if (len > 0)
        memcpy(slot->bytes, body + sizeof(result), len);
    slot->len = len;
    slot->result = result;
    if (result.deferred != CUDA_SUCCESS)
        fe_defer_in(l, result.deferred_context, (CUresult)result.deferred);
    fe_receive_set(l, &slot->done);
    return true;
}

/* A row of records, each given to one(). */
static void
take_records(struct fe_line *l, uint32_t bytes, const char *what,
             bool (*one)(struct fe_line *, const struct wire_record *, const uint8_t *, size_t))
{
    const uint8_t *row = fe_receive_payload(l, bytes), *body;
    struct wire_record record;
    size_t left = bytes, len;
    bool bad = false;

    if (row == NULL)
        return;
    while (!bad && wire_next_record(&row, &left, &record, &body, &len, &bad))
        bad = !one(l, &record, body, len);
    if (bad)
        broken(l, what);
}

static void
take_ping(struct fe_line *l, const struct wire_frame_header *header)
{
    uint8_t bytes[FE_PONG_BYTES_MAX];

    if (header->payload_bytes > sizeof(bytes)) {
        broken(l, "a long ping");
        return;
    }
    if (fe_receive_bytes(l, bytes, header->payload_bytes))
        fe_submit_pong(l, header->tag, bytes, header->payload_bytes);
}

static void
take_frame(struct fe_line *l, const struct wire_frame_header *header)
{
    heard(l);
    if (header->seq != 0 && header->seq <= l->recv.last_seq) {
        broken(l, "a frame that was there before");
        return;
    }
    l->recv.last_seq = header->seq != 0 ? header->seq : l->recv.last_seq;

    switch (header->kind) {
    case WIRE_FRAME_REPLY:
        take_records(l, header->payload_bytes, "a reply that nobody waits for", reply_record);
        break;
    case WIRE_FRAME_NOTICE:
        take_records(l, header->payload_bytes, "a malformed notice", fe_notice_record);
        break;
    case WIRE_FRAME_DATA:
        if (!fe_data_frame(l, header->tag, header->payload_bytes) && !line_over(l))
            broken(l, "data that nobody asked for");
        break;
    case WIRE_FRAME_PING:
        take_ping(l, header);
        break;
    case WIRE_FRAME_PONG:
    case WIRE_FRAME_ACK:
        break; /* having been heard is all it is for; the payload is skipped */
    case WIRE_FRAME_BYE:
        fe_session_failf(l->session, CUDA_ERROR_DEVICE_UNAVAILABLE, "%s",
                         header->tag == WIRE_CODE_OK ? "it closed the session"
                                                     : wire_control_code_text(header->tag));
        break;
    default:
        broken(l, wire_frame_kind_text(header->kind));
        break;
    }
}

/* Leader only. GP_OK: a frame was taken; everything else: none is there yet, or the end. */
static enum gp_status
receive_one(struct fe_line *l, uint64_t deadline_ns)
{
    struct wire_frame_header header;
    struct tp_frame frame;
    enum gp_status status;

    status = tp_recv_header(l->lane, &frame, deadline_ns);
    if (status == GP_ERR_AGAIN)
        return status;
    if (status == GP_ERR_TIMEOUT) {
        check_heart(l);
        return status;
    }
    if (status == GP_OK)
        status = wire_frame_decode(frame.header, UINT32_MAX, &header);
    if (status != GP_OK) {
        lost(l, "receiving", status);
        return status;
    }
    take_frame(l, &header);
    return GP_OK;
}

/* --- leading and following -------------------------------------------------- */

/* recv.lock held: the waiter to be woken by the caller once the lock is free, or NULL. */
static struct fe_waiter *
wake_first(struct fe_receive *r)
{
    struct fe_waiter *w = r->first;

    while (w != NULL && atomic_load_explicit(&w->word, memory_order_relaxed) != 0)
        w = w->next;
    if (w != NULL)
        atomic_store_explicit(&w->word, 1, memory_order_release);
    return w;
}

/* The leader goes: somebody who waits leads next, or the background thread if the server is
 * expected to speak, else it looks by itself before long. */
static void
stop_leading(struct fe_line *l, bool background)
{
    struct fe_receive *r = &l->recv;
    struct fe_waiter *next;
    bool ring = false;

    pthread_mutex_lock(&r->lock);
    r->leader = false;
    next = wake_first(r);
    if (!background) {
        r->activity++;
        if (next == NULL && r->parked && r->expected > 0) {
            r->parked = false;
            ring = true;
        }
    }
    pthread_mutex_unlock(&r->lock);
    if (next != NULL)
        fe_futex_wake(&next->word);
    if (ring) {
        atomic_fetch_add_explicit(&r->bell, 1, memory_order_relaxed);
        fe_futex_wake(&r->bell);
    }
}

/* From now on; returns about when it ended. */
static uint64_t
lead(struct fe_line *l, struct fe_done *done, uint64_t now)
{
    while (!is_set(done) && !line_over(l)) {
        (void)receive_one(l, l->heartbeat_ns != 0 ? now + l->heartbeat_ns : GP_FOREVER);
        now = is_set(done) ? gp_max_u64(now, l->recv.heard_ns) : gp_now_ns();
    }
    /* What is here already does not show in poll(). */
    while (!line_over(l) && tp_pending(l->lane) && receive_one(l, TP_NOW) == GP_OK)
        ;
    stop_leading(l, false);
    return now;
}

static void
unlink_waiter(struct fe_receive *r, struct fe_waiter *w)
{
    if (w->prev != NULL)
        w->prev->next = w->next;
    else
        r->first = w->next;
    if (w->next != NULL)
        w->next->prev = w->prev;
    else
        r->last = w->prev;
}

/* recv.lock held, somebody else leads; unlocks. Returns when there is something to look at. */
static void
follow(struct fe_line *l, struct fe_done *done)
{
    struct fe_receive *r = &l->recv;
    struct fe_waiter w = {.prev = r->last};
    bool next_leads;

    if (r->last != NULL)
        r->last->next = &w;
    else
        r->first = &w;
    r->last = &w;
    done->waiter = &w;
    pthread_mutex_unlock(&r->lock);

    while (atomic_load_explicit(&w.word, memory_order_acquire) == 0)
        fe_futex_wait(&w.word, 0, 0);

    pthread_mutex_lock(&r->lock);
    unlink_waiter(r, &w);
    done->waiter = NULL;
    /* Woken to lead, but the answer came too: somebody else must lead. */
    next_leads = !r->leader && is_set(done) && r->first != NULL;
    if (next_leads) {
        struct fe_waiter *next = wake_first(r);

        pthread_mutex_unlock(&r->lock);
        if (next != NULL)
            fe_futex_wake(&next->word);
        return;
    }
    pthread_mutex_unlock(&r->lock);
}

void
fe_receive_wait(struct fe_line *l, struct fe_done *done)
{
    struct fe_receive *r = &l->recv;
    uint64_t begin = gp_now_ns(), end = begin;

    while (!is_set(done) && !line_over(l)) {
        pthread_mutex_lock(&r->lock);
        if (is_set(done) || line_over(l)) {
            pthread_mutex_unlock(&r->lock);
        } else if (!r->leader) {
            r->leader = true;
            pthread_mutex_unlock(&r->lock);
            end = lead(l, done, end);
        } else {
            follow(l, done);
            end = gp_now_ns();
        }
    }
    atomic_fetch_add_explicit(&r->round_trips, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&r->waited_ns, end - begin, memory_order_relaxed);
    fe_trace_add("wait", "wait", begin, 0);
}

void
fe_receive_look(struct fe_line *l)
{
    struct fe_receive *r = &l->recv;
    bool lead_now;

    pthread_mutex_lock(&r->lock);
    lead_now = !r->leader && !line_over(l);
    r->leader = r->leader || lead_now;
    pthread_mutex_unlock(&r->lock);
    if (!lead_now)
        return; /* somebody reads */
    while (!line_over(l) && receive_one(l, TP_NOW) == GP_OK)
        ;
    stop_leading(l, false);
}

void
fe_receive_set(struct fe_line *l, struct fe_done *done)
{
    pthread_mutex_lock(&l->recv.lock);
    fe_receive_set_unlock(&l->recv, done);
}

void
fe_receive_set_unlock(struct fe_receive *r, struct fe_done *done)
{
    struct fe_waiter *w;

    atomic_store_explicit(&done->set, 1, memory_order_release);
    w = done->waiter;
    if (w != NULL)
        atomic_store_explicit(&w->word, 1, memory_order_release);
    pthread_mutex_unlock(&r->lock);
    if (w != NULL)
        fe_futex_wake(&w->word); /* harmless if it has gone meanwhile */
}

void
fe_receive_expect(struct fe_line *l, int change)
{
    struct fe_receive *r = &l->recv;
    bool ring = false;

    pthread_mutex_lock(&r->lock);
    r->expected += change;
    if (r->expected > 0 && r->parked && !r->leader) {
        r->parked = false;
        ring = true;
    }
    pthread_mutex_unlock(&r->lock);
    if (ring) {
        atomic_fetch_add_explicit(&r->bell, 1, memory_order_relaxed);
        fe_futex_wake(&r->bell);
    }
}

/* --- the background thread --------------------------------------------------- */

/* recv.lock held, a waiting thread leads; unlocks. Stays away until no such thread came for a
 * while, or the bell rings. */
static void
park(struct fe_line *l)
{
    struct fe_receive *r = &l->recv;
    uint64_t nap_ns = PARK_MIN_NS;
    bool leader;

    do {
        uint64_t seen = r->activity;
        uint32_t bell = atomic_load_explicit(&r->bell, memory_order_relaxed);

        r->parked = true;
        pthread_mutex_unlock(&r->lock);
        fe_futex_wait(&r->bell, bell, nap_ns);
        pthread_mutex_lock(&r->lock);
        if (!r->parked)
            break; /* somebody rang */
        leader = r->leader || seen != r->activity;
        nap_ns = gp_min_u64(nap_ns * 2, PARK_MAX_NS);
    } while (leader && !line_over(l));
    r->parked = false;
    pthread_mutex_unlock(&r->lock);
}

void
fe_receive_poke(struct fe_line *l)
{
    uint64_t one = 1;

    (void)!write(l->recv.poke_fd, &one, sizeof(one)); /* full: it is readable anyway */
}

void *
fe_receive_thread(void *line)
{
    struct fe_line *l = line;
    struct fe_receive *r = &l->recv;
    struct pollfd p[2] = {
        {.fd = tp_event_fd(l->lane)},
        {.fd = r->poke_fd, .events = POLLIN},
    };
    uint64_t count;

    while (!line_over(l)) {
        p[1].revents = 0;
        p[0].events = tp_event_mask(l->lane);
        (void)poll(p, 2, gp_deadline_poll_ms(gp_now_ns(), next_beat(l)));
        if (p[1].revents != 0)
            (void)!read(r->poke_fd, &count, sizeof(count));
        pthread_mutex_lock(&r->lock);
        if (r->leader) {
            park(l);
            continue;
        }
        r->leader = true;
        pthread_mutex_unlock(&r->lock);
        while (!line_over(l) && receive_one(l, TP_NOW) == GP_OK)
            ;
        if (!line_over(l))
            check_heart(l);
        stop_leading(l, true);
    }
    return NULL;
}
