/* transport/link/line.c -- a link and the lane underneath: taking, pushing, losing, changing */
#include "transport/link/link_priv.h"

#include "protocol/base/log.h"
#include "protocol/base/util.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define PUSH_PIECES 32
#define PUSH_BYTES  (TP_STRAIGHT_MIN / 2)
#define LOOK_BYTES  (64u << 10)
/* More than a window and the longest frame that may be in front of an acknowledgement. */
#define AHEAD_MAX (64u << 20)
/* Silent receivers acknowledge after this share of a window. */
#define ACK_SHARE 4

void
tp_link_signal(int fd)
{
    uint64_t one = 1;

    if (write(fd, &one, sizeof(one)) < 0)
        log_debug("link: signal: %m"); /* full: it is readable anyway */
}

/* -- taking ---------------------------------------------------------------------------------------
 */

static void
heard(struct tp_link *l, const uint8_t *header)
{
    const struct gp_framing *framing = l->s.lane.framing;
    uint64_t ack = framing->acknowledged(header);

    if (framing->is_last(header))
        l->walk.last = true;
    if (ack <= atomic_load_explicit(&l->peer_ack, memory_order_relaxed))
        return;
    atomic_store(&l->peer_ack, ack);
    if (atomic_load(&l->room_wanted))
        tp_link_signal(l->room_fd);
}

static void
walk(struct tp_link *l, const uint8_t *bytes, size_t n)
{
    const struct gp_framing *framing = l->s.lane.framing;
    struct tp_walk *w = &l->walk;

    while (n > 0 && !w->lost) {
        size_t step = w->skip;

        if (step > 0) {
            step = gp_min_u64(step, n);
            w->skip -= (uint32_t)step;
        } else {
            step = gp_min_u64(framing->header_bytes - w->have, n);
            memcpy(w->header + w->have, bytes, step);
            w->have += step;
            if (w->have == framing->header_bytes) {
                w->have = 0;
                if (framing->measure(w->header, UINT32_MAX, &w->skip) == GP_OK)
                    heard(l, w->header);
                else
                    w->lost = true;
            }
        }
        bytes += step;
        n -= step;
    }
}

static void
walk_all(struct tp_link *l, const struct iovec *iov, size_t n)
{
    for (; n > 0; iov++) {
        size_t part = gp_min_u64(n, iov->iov_len);

        walk(l, iov->iov_base, part);
        n -= part;
    }
}

static void
count_received(struct tp_link *l, size_t n)
{
    atomic_store_explicit(&l->received,
                          atomic_load_explicit(&l->received, memory_order_relaxed) + n,
                          memory_order_relaxed);
}

enum gp_status
tp_link_take(struct tp_link *l, const struct iovec *iov, int iovcnt, size_t *got_p)
{
    enum gp_status status = l->inner->bytes->read(l->inner, iov, iovcnt, got_p);

    if (status == GP_OK) {
        walk_all(l, iov, *got_p);
        count_received(l, *got_p);
    }
    return status;
}

enum gp_status
tp_link_take_direct(struct tp_link *l, const struct iovec *to, size_t *got_p, size_t *others_p)
{
    enum gp_status status = GP_OK;

    *got_p = 0;
    *others_p = to->iov_len;
    if (l->inner->bytes->read_direct != NULL)
        status = l->inner->bytes->read_direct(l->inner, to, got_p, others_p);
    if (status == GP_OK && *got_p > 0) {
        walk_all(l, to, *got_p); /* of a payload, which it only counts */
        count_received(l, *got_p);
    }
    return status;
}

static bool
ahead_full(const struct tp_link *l)
{
    return l->ahead.len - l->ahead_at >= AHEAD_MAX;
}

bool
tp_link_arm(struct tp_link *l)
{
    return l->state == TP_LINK_LIVE && l->inner->bytes->arm != NULL &&
           l->inner->bytes->arm(l->inner);
}

enum gp_status
tp_link_take_ahead(struct tp_link *l, size_t *got_p)
{
    struct iovec iov = {NULL, LOOK_BYTES};
    enum gp_status status;

    if (ahead_full(l))
        return GP_ERR_AGAIN;
    if (l->ahead_at > AHEAD_MAX / 4) {
        gp_buf_consume(&l->ahead, l->ahead_at);
        l->ahead_at = 0;
    }
    iov.iov_base = gp_buf_reserve(&l->ahead, LOOK_BYTES);
    if (iov.iov_base == NULL)
        return GP_ERR_AGAIN; /* whoever receives has memory of his own */
    status = tp_link_take(l, &iov, 1, got_p);
    if (status == GP_OK)
        l->ahead.len += *got_p;
    return status;
}

/* -- losing ---------------------------------------------------------------------------------------
 */

static void
state_set(struct tp_link *l, enum tp_link_state state)
{
    l->state = state;
    atomic_store_explicit(&l->state_seen, (int)state, memory_order_release);
    tp_link_signal(l->room_fd);
}

static bool
stand_for(int read_fd, int write_fd, int end_fd, struct tp_link *l)
{
    if (dup3(read_fd, l->event_fd, O_CLOEXEC) >= 0 && dup3(write_fd, l->out_fd, O_CLOEXEC) >= 0 &&
        dup3(end_fd, l->s.end_fd, O_CLOEXEC) >= 0)
        return true;
    log_error("link: dup3: %m");
    return false;
}

/* Whoever polls the old descriptor sees it end, whoever asks from now on sees nothing. A new one
 * each time: who sleeps on the last one must find it readable whenever he is woken. */
static void
show_nothing(struct tp_link *l)
{
    int idle = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    uint64_t count;

    if (idle >= 0) {
        close(l->idle_fd);
        l->idle_fd = idle;
    } else if (read(l->idle_fd, &count, sizeof(count)) < 0 && errno != EAGAIN) {
        log_debug("link: idle: %m");
    }
    (void)stand_for(l->idle_fd, l->idle_fd, l->idle_fd, l);
}

void
tp_link_end(struct tp_link *l, enum gp_status status)
{
    if (l->state == TP_LINK_OVER)
        return;
    l->over_status = status;
    if (l->inner != NULL)
        l->inner->bytes->shutdown(l->inner);
    state_set(l, TP_LINK_OVER);
    tp_link_signal(l->idle_fd);
}

void
tp_link_free_inner(struct tp_link *l)
{
    struct tp_stream *inner = l->inner;

    if (inner == NULL)
        return;
    l->inner = NULL;
    inner->bytes->destroy(inner);
    tp_stream_fini(inner);
    free(inner);
}

static void
tell_changed(struct tp_link *l)
{
    if (l->changed != NULL)
        l->changed(l->user);
}

enum gp_status
tp_link_keep_direct(struct tp_link *l, const struct tp_direct *direct, const void *from,
                    size_t bytes)
{
    GP_AUTO_FREE uint8_t *room = malloc(bytes);
    struct iovec iov = {room, bytes};

    if (room == NULL)
        return GP_ERR_NO_MEMORY;
    direct->fetch(direct->user, room, from, bytes);
    return tp_store_add(&l->store, &iov, 1, bytes);
}

/* Both locks held. The sender still waits with it, and the peer may have all of it. */
static bool
keep_straight(struct tp_link *l)
{
    const struct iovec *straight = &l->straight;
    enum gp_status status;

    if (straight->iov_len == 0)
        return true;
    l->inner->bytes->take_back(l->inner);
    status = l->direct != NULL
                 ? tp_link_keep_direct(l, l->direct, straight->iov_base, straight->iov_len)
                 : tp_store_add(&l->store, straight, 1, straight->iov_len);
    if (status != GP_OK)
        return false;
    l->straight_kept = l->straight.iov_len;
    l->straight.iov_len = 0;
    return true;
}

/* Both locks held. What the peer said before it went is not lost with the line. */
static void
lose(struct tp_link *l, enum gp_status status, const char *why)
{
    size_t got;

    while (!l->walk.lost && tp_link_take_ahead(l, &got) == GP_OK)
        ;
    if (l->walk.last) {
        tp_link_end(l, GP_ERR_CLOSED);
        return;
    }
    log_info("lane %s: line lost: %s", l->s.lane.peer.address,
             why != NULL ? why : gp_status_text(status));
    if (tp_link_is_steady(l)) {
        tp_link_end(l, GP_ERR_IO);
        return;
    }
    l->inner->bytes->shutdown(l->inner);
    if (!keep_straight(l)) {
        tp_link_end(l, GP_ERR_NO_MEMORY);
        return;
    }
    show_nothing(l);
    state_set(l, TP_LINK_BROKEN);
}

void
tp_link_lose(struct tp_link *l, unsigned generation, enum gp_status status, const char *why)
{
    bool lost;

    pthread_mutex_lock(&l->rx_lock);
    pthread_mutex_lock(&l->tx_lock);
    lost = l->state == TP_LINK_LIVE && l->generation == generation;
    if (lost)
        lose(l, status, why);
    pthread_mutex_unlock(&l->tx_lock);
    pthread_mutex_unlock(&l->rx_lock);
    tp_link_signal(l->s.wake_fd); /* what was taken in does not show in poll() */
    if (lost)
        tell_changed(l);
}

/* -- pushing --------------------------------------------------------------------------------------
 */

/*
 * Never so much at once that a lane would have the peer fetch it from where it lies: what was lent
 * may be settled while the peer is still to fetch, and would then go a second time from where its
 * copy lies.
 */
static int
push_entries(struct iovec *iov, int n)
{
    for (int i = 0; i < n; i++) {
        if (iov[i].iov_len > PUSH_BYTES) {
            iov[i].iov_len = PUSH_BYTES;
            return i + 1;
        }
    }
    return n;
}

enum gp_status
tp_link_push(struct tp_link *l)
{
    const struct tp_stream_ops *bytes = l->inner->bytes;
    struct iovec iov[PUSH_PIECES];
    enum gp_status status;

    while (l->sent_at < l->store.end) {
        size_t put;
        int n = push_entries(iov, tp_store_find(&l->store, l->sent_at, iov, PUSH_PIECES));

        status = bytes->write(l->inner, iov, n, &put);
        if (status != GP_OK)
            return status;
        l->sent_at += put;
    }
    return bytes->flush != NULL ? bytes->flush(l->inner) : GP_OK;
}

/* tx_lock held, nobody in the middle of frames. */
static enum gp_status
ack_now(struct tp_link *l)
{
    uint8_t header[GP_FRAMING_HEADER_MAX];
    struct iovec iov = {header, l->s.lane.framing->header_bytes};
    uint64_t received = atomic_load_explicit(&l->received, memory_order_relaxed);
    enum gp_status status;

    l->s.lane.framing->make_ack(header, received);
    status = tp_store_add(&l->store, &iov, 1, iov.iov_len);
    if (status != GP_OK)
        return status;
    atomic_store_explicit(&l->ack_sent, received, memory_order_relaxed);
    return tp_link_push(l);
}

void
tp_link_ack_if_due(struct tp_link *l)
{
    uint64_t owed = atomic_load_explicit(&l->received, memory_order_relaxed) -
                    atomic_load_explicit(&l->ack_sent, memory_order_relaxed);
    bool due = owed >= l->window_bytes / ACK_SHARE && owed <= INT64_MAX; /* more: one overtook us */
    bool stuck = atomic_load_explicit(&l->ack_stuck, memory_order_relaxed);
    enum gp_status status = GP_OK;
    unsigned generation;

    if (GP_LIKELY(!due && !stuck))
        return;
    pthread_mutex_lock(&l->tx_lock);
    generation = l->generation;
    if (l->state == TP_LINK_LIVE && !atomic_load_explicit(&l->in_send, memory_order_relaxed)) {
        status = due ? ack_now(l) : tp_link_push(l);
        atomic_store_explicit(&l->ack_stuck, status == GP_ERR_AGAIN, memory_order_relaxed);
    }
    pthread_mutex_unlock(&l->tx_lock);
    if (status != GP_OK && status != GP_ERR_AGAIN)
        tp_link_lose(l, generation, status, NULL);
}

/* -- changing -------------------------------------------------------------------------------------
 */

void
tp_link_break(struct tp_lane *link, const char *why)
{
    struct tp_link *l = tp_link_of(link);
    unsigned generation;
    bool steady;

    pthread_mutex_lock(&l->rx_lock);
    generation = l->generation;
    steady = l->state == TP_LINK_LIVE && tp_link_is_steady(l);
    pthread_mutex_unlock(&l->rx_lock);
    if (!steady)
        tp_link_lose(l, generation, GP_ERR_TIMEOUT, why);
}

void
tp_link_look(struct tp_lane *link)
{
    struct tp_link *l = tp_link_of(link);
    enum gp_status status = GP_ERR_AGAIN;
    unsigned generation;
    bool took = false;
    size_t got;

    pthread_mutex_lock(&l->rx_lock);
    generation = l->generation;
    if (l->state == TP_LINK_LIVE)
        do
            while ((status = tp_link_take_ahead(l, &got)) == GP_OK)
                took = true;
        while (status == GP_ERR_AGAIN && !ahead_full(l) && tp_link_arm(l));
    pthread_mutex_unlock(&l->rx_lock);
    if (status != GP_OK && status != GP_ERR_AGAIN)
        tp_link_lose(l, generation, status, NULL);
    else if (took)
        tp_link_signal(l->s.wake_fd);
}

enum gp_status
tp_link_detach(struct tp_lane *link, uint64_t *received_p)
{
    struct tp_link *l = tp_link_of(link);
    enum gp_status status = GP_OK;

    tp_link_break(link, "another lane takes its place");
    pthread_mutex_lock(&l->rx_lock);
    pthread_mutex_lock(&l->tx_lock);
    if (l->state == TP_LINK_OVER) {
        status = GP_ERR_CLOSED;
    } else if (l->state == TP_LINK_LIVE) {
        status = GP_ERR_NOT_SUPPORTED;
    } else {
        tp_link_free_inner(l);
        *received_p = atomic_load_explicit(&l->received, memory_order_relaxed);
    }
    pthread_mutex_unlock(&l->tx_lock);
    pthread_mutex_unlock(&l->rx_lock);
    return status;
}

/* Both locks held: what the new lane has read already comes first. */
static enum gp_status
adopt_buffered(struct tp_link *l, struct tp_stream *inner)
{
    const uint8_t *bytes = inner->buf + inner->head;
    size_t n = inner->tail - inner->head;

    if (n == 0)
        return GP_OK;
    gp_buf_append(&l->ahead, bytes, n);
    if (gp_buf_status(&l->ahead) != GP_OK)
        return GP_ERR_NO_MEMORY;
    inner->head = inner->tail;
    walk(l, bytes, n);
    count_received(l, n);
    return GP_OK;
}

bool
tp_link_fits(const struct tp_lane *lane)
{
    const struct tp_stream *inner = (const struct tp_stream *)lane;

    return lane->ops->send == tp_stream_send && !inner->partial && lane->payload_left == 0 &&
           (inner->read_fd == inner->write_fd || inner->bytes->show_room != NULL);
}

enum gp_status
tp_link_use(struct tp_link *l, struct tp_stream *inner)
{
    enum gp_status status = adopt_buffered(l, inner);

    if (status != GP_OK)
        return status;
    if (!stand_for(inner->read_fd, inner->write_fd, tp_stream_end_fd(&inner->lane), l))
        return GP_ERR_LIMIT;
    l->s.write_events = inner->write_events;
    l->s.looks_per_yield = inner->looks_per_yield;
    l->s.first_looks = inner->first_looks;
    atomic_store_explicit(&l->room_shown, false, memory_order_relaxed);
    inner->linked = true;
    l->inner = inner;
    atomic_store_explicit(&l->scheme, inner->lane.ops->scheme, memory_order_relaxed);
    l->generation++;
    state_set(l, TP_LINK_LIVE);
    tp_link_signal(l->idle_fd);
    tp_link_signal(l->s.wake_fd);
    return GP_OK;
}

/* Both locks held. */
static enum gp_status
attach_locked(struct tp_link *l, struct tp_lane *lane, uint64_t peer_received)
{
    struct tp_stream *inner = tp_stream_of(lane);

    if (l->state != TP_LINK_BROKEN || l->inner != NULL)
        return l->state == TP_LINK_OVER ? GP_ERR_CLOSED : GP_ERR_INVALID;
    if (!tp_link_fits(lane))
        return GP_ERR_NOT_SUPPORTED;
    if (peer_received < gp_max_u64(l->store.start, atomic_load(&l->peer_ack)) ||
        peer_received > l->store.end)
        return GP_ERR_INVALID;
    atomic_store(&l->peer_ack, peer_received);
    tp_store_drop(&l->store, peer_received);
    l->sent_at = peer_received;
    /* What the two ends told each other of what had arrived. */
    atomic_store(&l->ack_sent, atomic_load_explicit(&l->received, memory_order_relaxed));
    return tp_link_use(l, inner);
}

enum gp_status
tp_link_attach(struct tp_lane *link, struct tp_lane *lane, uint64_t peer_received)
{
    struct tp_link *l = tp_link_of(link);
    enum gp_status status;

    pthread_mutex_lock(&l->rx_lock);
    pthread_mutex_lock(&l->tx_lock);
    status = attach_locked(l, lane, peer_received);
    pthread_mutex_unlock(&l->tx_lock);
    pthread_mutex_unlock(&l->rx_lock);
    if (status != GP_OK)
        tp_close(lane);
    else
        tell_changed(l);
    return status;
}

void
tp_link_catch_up(struct tp_lane *link)
{
    struct tp_link *l = tp_link_of(link);
    enum gp_status status;
    unsigned generation = 0;
    bool first = true;

    for (;; first = false) {
        struct pollfd p = {.fd = l->out_fd};

        pthread_mutex_lock(&l->tx_lock);
        if (first)
            generation = l->generation;
        p.events = l->s.write_events;
        status = l->state == TP_LINK_LIVE && l->generation == generation ? tp_link_push(l) : GP_OK;
        pthread_mutex_unlock(&l->tx_lock);
        if (status != GP_ERR_AGAIN)
            break;
        (void)poll(&p, 1, 1000);
    }
    if (status != GP_OK)
        tp_link_lose(l, generation, status, NULL);
}
