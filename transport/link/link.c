/* transport/link/link.c -- a link as a byte stream for those who send and receive */
#include "transport/link/link.h"

#include "protocol/base/log.h"
#include "protocol/base/util.h"
#include "transport/link/link_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* Of one write: what is copied into the store before the line says how much it took. */
#define PART_BYTES (256u << 10)
#define PART_MAX   64
/* Lent bytes in shorter rows are copied nevertheless. */
#define LEND_MIN (16u << 10)

static struct tp_link *
link_of(const struct tp_stream *s)
{
    return (struct tp_link *)(uintptr_t)s;
}

/* -- receiving ------------------------------------------------------------------------------------
 */

/* rx_lock held. */
static size_t
take_from_ahead(struct tp_link *l, const struct iovec *iov, int iovcnt)
{
    size_t total = 0;

    for (int i = 0; i < iovcnt && l->ahead_at < l->ahead.len; i++) {
        size_t n = gp_min_u64(iov[i].iov_len, l->ahead.len - l->ahead_at);

        if (n > 0)
            memcpy(iov[i].iov_base, l->ahead.data + l->ahead_at, n);
        l->ahead_at += n;
        total += n;
    }
    if (l->ahead_at == l->ahead.len) {
        if (l->ahead.cap > TP_LINK_WINDOW_DEFAULT)
            gp_buf_fini(&l->ahead);
        gp_buf_reset(&l->ahead);
        l->ahead_at = 0;
    }
    return total;
}

/* Whoever waits for something to read must also see when a stuck acknowledgement may go on. */
static void
show_room(struct tp_link *l)
{
    bool stuck = atomic_load_explicit(&l->ack_stuck, memory_order_relaxed);

    /* A lane that is told shows room by POLLIN, and by POLLOUT nothing. */
    l->s.read_events =
        stuck && atomic_load_explicit(&l->s.write_events, memory_order_relaxed) == POLLOUT
            ? (short)(POLLIN | POLLOUT)
            : (short)POLLIN;
    if (GP_LIKELY(stuck == atomic_load_explicit(&l->room_shown, memory_order_relaxed)))
        return;
    pthread_mutex_lock(&l->rx_lock);
    if (l->state == TP_LINK_LIVE && l->inner->bytes->show_room != NULL)
        l->inner->bytes->show_room(l->inner, stuck);
    atomic_store_explicit(&l->room_shown, stuck, memory_order_relaxed);
    pthread_mutex_unlock(&l->rx_lock);
}

/* After a read by a lane of this generation, if it was live. */
static enum gp_status
read_ended(struct tp_link *l, bool live, unsigned generation, enum gp_status status)
{
    if (live && status != GP_OK && status != GP_ERR_AGAIN) {
        tp_link_lose(l, generation, status, NULL);
        return GP_ERR_AGAIN; /* how it ended the next read says */
    }
    tp_link_ack_if_due(l);
    show_room(l);
    return status;
}

static enum gp_status
link_read(struct tp_stream *s, const struct iovec *iov, int iovcnt, size_t *got_p)
{
    struct tp_link *l = link_of(s);
    unsigned generation;
    enum gp_status status = GP_ERR_AGAIN;
    bool live;

    pthread_mutex_lock(&l->rx_lock);
    generation = l->generation;
    live = l->state == TP_LINK_LIVE;
    *got_p = l->ahead_at < l->ahead.len ? take_from_ahead(l, iov, iovcnt) : 0;
    if (*got_p > 0)
        status = GP_OK;
    else if (live)
        status = tp_link_take(l, iov, iovcnt, got_p);
    else if (l->state == TP_LINK_OVER)
        status = l->over_status;
    pthread_mutex_unlock(&l->rx_lock);
    return read_ended(l, live, generation, status);
}

static enum gp_status
link_read_direct(struct tp_stream *s, const struct iovec *to, size_t *got_p, size_t *others_p)
{
    struct tp_link *l = link_of(s);
    enum gp_status status = GP_ERR_AGAIN;
    unsigned generation;
    bool live;

    pthread_mutex_lock(&l->rx_lock);
    generation = l->generation;
    live = l->state == TP_LINK_LIVE;
    *got_p = 0;
    *others_p = gp_min_u64(l->ahead.len - l->ahead_at, to->iov_len);
    if (l->ahead_at < l->ahead.len)
        status = GP_OK;
    else if (live)
        status = tp_link_take_direct(l, to, got_p, others_p);
    else if (l->state == TP_LINK_OVER)
        status = l->over_status;
    pthread_mutex_unlock(&l->rx_lock);
    return read_ended(l, live, generation, status);
}

static bool
link_takes_device(struct tp_stream *s, const void *at, size_t bytes, char *why)
{
    struct tp_link *l = link_of(s);
    bool takes = false;

    snprintf(why, TP_WHY_BYTES, "%s has no device of its own", tp_scheme(&s->lane));
    pthread_mutex_lock(&l->rx_lock);
    if (l->state == TP_LINK_LIVE && l->inner->bytes->takes_device != NULL)
        takes = l->inner->bytes->takes_device(l->inner, at, bytes, why);
    pthread_mutex_unlock(&l->rx_lock);
    return takes;
}

static bool
link_buffered(const struct tp_stream *s)
{
    struct tp_link *l = link_of(s);
    bool buffered;

    pthread_mutex_lock(&l->rx_lock);
    buffered = l->ahead_at < l->ahead.len ||
               (l->state == TP_LINK_LIVE && l->inner->bytes->buffered != NULL &&
                l->inner->bytes->buffered(l->inner));
    pthread_mutex_unlock(&l->rx_lock);
    return buffered;
}

static bool
link_arm(struct tp_stream *s)
{
    struct tp_link *l = link_of(s);
    bool here;

    pthread_mutex_lock(&l->rx_lock);
    here = tp_link_arm(l);
    pthread_mutex_unlock(&l->rx_lock);
    return here;
}

static short
link_event_mask(const struct tp_lane *lane)
{
    return ((const struct tp_stream *)lane)->read_events;
}

static const char *
link_scheme(const struct tp_lane *lane)
{
    return atomic_load_explicit(&tp_link_of(lane)->scheme, memory_order_relaxed);
}

static uint64_t
link_received(struct tp_lane *lane)
{
    struct tp_link *l = tp_link_of(lane);
    uint64_t received = atomic_load_explicit(&l->received, memory_order_relaxed);

    atomic_store_explicit(&l->ack_sent, received, memory_order_relaxed);
    return received;
}

/* -- sending --------------------------------------------------------------------------------------
 */

/* tx_lock held. A peer that acknowledges what it cannot have is no peer of ours. */
static enum gp_status
drop_acknowledged(struct tp_link *l)
{
    uint64_t ack = atomic_load_explicit(&l->peer_ack, memory_order_relaxed);

    if (GP_LIKELY(ack <= l->store.end + l->straight.iov_len)) {
        ack = gp_min_u64(ack, l->store.end); /* what is beyond was not kept */
        if (ack > l->store.start)
            tp_store_drop(&l->store, ack);
        l->sent_at = gp_max_u64(l->sent_at, ack);
        return GP_OK;
    }
    log_warn("lane %s: the peer acknowledges bytes that were not sent", l->s.lane.peer.address);
    return GP_ERR_PROTOCOL;
}

/* Whether these bytes stay where they are until they are settled. Short ones are not worth it. */
static bool
is_lent(const struct tp_link *l, const struct iovec *bytes)
{
    uintptr_t from = (uintptr_t)bytes->iov_base;

    for (int i = 0; i < l->lents && bytes->iov_len >= LEND_MIN; i++) {
        uintptr_t base = (uintptr_t)l->lent[i].iov_base;

        if (from >= base && from + bytes->iov_len <= base + l->lent[i].iov_len)
            return true;
    }
    return false;
}

/* tx_lock held: all or nothing. */
static enum gp_status
keep(struct tp_link *l, const struct iovec *iov, int iovcnt)
{
    uint64_t at = l->store.end;
    enum gp_status status = GP_OK;

    for (int i = 0; i < iovcnt && status == GP_OK; i++)
        status = is_lent(l, &iov[i]) ? tp_store_lend(&l->store, iov[i].iov_base, iov[i].iov_len)
                                     : tp_store_add(&l->store, &iov[i], 1, iov[i].iov_len);
    if (status != GP_OK && l->store.end > at)
        tp_store_trim(&l->store, at);
    return status;
}

/* tx_lock held: keep all of iov. */
static enum gp_status
write_kept(struct tp_link *l, const struct iovec *iov, int iovcnt, size_t *put_p)
{
    size_t total = 0;

    for (int i = 0; i < iovcnt; i++)
        total += iov[i].iov_len;
    *put_p = total;
    return keep(l, iov, iovcnt);
}

/* tx_lock held, live: how many bytes the lane underneath takes from where they lie. */
static size_t
straight_bytes(const struct tp_link *l, const struct iovec *iov)
{
    struct tp_stream *inner = l->inner;

    return inner->bytes->straight_bytes != NULL
               ? inner->bytes->straight_bytes(inner, iov->iov_base, iov->iov_len)
               : 0;
}

/* The first of iov, PART_BYTES at most of what must be copied. Returns how many entries. */
static int
part_of(const struct tp_link *l, const struct iovec *iov, int iovcnt, struct iovec part[PART_MAX])
{
    size_t bytes = 0;
    int n = 0;

    for (; n < iovcnt && n < PART_MAX && bytes < PART_BYTES; n++) {
        if (n > 0 && straight_bytes(l, &iov[n]) > 0)
            break;
        part[n] = iov[n];
        if (is_lent(l, &part[n]))
            continue;
        part[n].iov_len = gp_min_u64(iov[n].iov_len, PART_BYTES - bytes);
        bytes += part[n].iov_len;
        if (part[n].iov_len < iov[n].iov_len)
            return n + 1;
    }
    return n;
}

/* tx_lock held, live. Not kept: when it is sent the peer has it. Should the lane be lost before
 * that, whoever loses it keeps it (tp_link_lose), or we do. */
static enum gp_status
write_straight(struct tp_link *l, const struct iovec *iov, int iovcnt, size_t bytes, size_t *put_p,
               enum gp_status *failed_p)
{
    enum gp_status status;

    l->straight = (struct iovec){iov->iov_base, bytes};
    status = l->inner->bytes->write(l->inner, &l->straight, 1, put_p);
    if (status == GP_ERR_AGAIN)
        return status;
    l->straight.iov_len = 0;
    if (status != GP_OK) {
        l->inner->bytes->take_back(l->inner);
        *failed_p = status;
        return write_kept(l, iov, iovcnt, put_p);
    }
    tp_store_drop(&l->store, l->store.end);
    tp_store_pass(&l->store, *put_p);
    l->sent_at = l->store.end;
    return GP_OK;
}

/* The same from a device's memory, where what is kept must be fetched. */
static enum gp_status
write_through_direct(struct tp_link *l, const struct tp_direct *direct, const struct iovec *iov,
                     size_t *put_p, enum gp_status *failed_p)
{
    enum gp_status status = l->sent_at < l->store.end ? tp_link_push(l) : GP_OK;
    size_t bytes = status == GP_OK ? straight_bytes(l, iov) : 0;

    if (status == GP_ERR_AGAIN)
        return status;
    if (bytes > 0) {
        l->straight = (struct iovec){iov->iov_base, bytes};
        l->direct = direct;
        status = l->inner->bytes->write(l->inner, &l->straight, 1, put_p);
        if (status == GP_ERR_AGAIN)
            return status;
        l->straight.iov_len = 0;
        if (status == GP_OK) {
            tp_store_drop(&l->store, l->store.end);
            tp_store_pass(&l->store, *put_p);
            l->sent_at = l->store.end;
            return GP_OK;
        }
        l->inner->bytes->take_back(l->inner);
    }
    *failed_p = status; /* GP_OK: it comes another way, and is pushed */
    *put_p = bytes > 0 ? bytes : gp_min_u64(iov->iov_len, PART_BYTES);
    return tp_link_keep_direct(l, direct, iov->iov_base, *put_p);
}

/* tx_lock held, live: kept, then sent from iov. In this order, because what iov points at may be
 * the program's own memory, which it may change once the peer has said that it has the bytes. What
 * is kept is a copy, but of what is lent.
 * *failed_p: how the lane failed, if it did; a part may have left nevertheless, so all is kept
 * before anybody can ask the peer what it has. */
static enum gp_status
write_through(struct tp_link *l, const struct iovec *iov, int iovcnt, size_t *put_p,
              enum gp_status *failed_p)
{
    enum gp_status status = l->sent_at < l->store.end ? tp_link_push(l) : GP_OK;
    uint64_t at = l->store.end;
    size_t put = 0, straight;

    if (status == GP_OK && tp_link_is_steady(l)) {
        tp_store_drop(&l->store, at);
        status = l->inner->bytes->write(l->inner, iov, iovcnt, &put);
        if (status == GP_OK)
            tp_store_pass(&l->store, put);
    } else if (status == GP_OK && iovcnt > 0 && (straight = straight_bytes(l, iov)) > 0) {
        return write_straight(l, iov, iovcnt, straight, put_p, failed_p);
    } else if (status == GP_OK) {
        struct iovec part[PART_MAX];
        int n = part_of(l, iov, iovcnt, part);
        enum gp_status stored = keep(l, part, n);

        if (stored != GP_OK)
            return stored;
        status = l->inner->bytes->write(l->inner, part, n, &put);
        tp_store_trim(&l->store, status == GP_OK ? at + put : at);
    }
    if (status == GP_ERR_AGAIN)
        return status;
    if (status != GP_OK) {
        *failed_p = status;
        return write_kept(l, iov, iovcnt, put_p);
    }
    l->sent_at = l->store.end;
    *put_p = put;
    return GP_OK;
}

static enum gp_status
link_write(struct tp_stream *s, const struct iovec *iov, int iovcnt, size_t *put_p)
{
    struct tp_link *l = link_of(s);
    enum gp_status status, failed = GP_OK;
    unsigned generation;

    pthread_mutex_lock(&l->tx_lock);
    generation = l->generation;
    status = l->state == TP_LINK_OVER ? l->over_status : drop_acknowledged(l);
    if (status == GP_OK && l->straight_kept > 0) {
        *put_p = l->straight_kept;
        l->straight_kept = 0;
    } else if (status == GP_OK && l->state == TP_LINK_LIVE)
        status = write_through(l, iov, iovcnt, put_p, &failed);
    else if (status == GP_OK)
        status = write_kept(l, iov, iovcnt, put_p);
    pthread_mutex_unlock(&l->tx_lock);
    if (failed != GP_OK)
        tp_link_lose(l, generation, failed, NULL);
    return status;
}

static enum gp_status
link_write_direct(struct tp_stream *s, const struct tp_direct *direct, size_t from, size_t *put_p)
{
    struct tp_link *l = link_of(s);
    struct iovec iov = {(uint8_t *)(uintptr_t)direct->at + from, direct->bytes - from};
    enum gp_status status, failed = GP_OK;
    unsigned generation;

    pthread_mutex_lock(&l->tx_lock);
    generation = l->generation;
    status = l->state == TP_LINK_OVER ? l->over_status : drop_acknowledged(l);
    if (status == GP_OK && l->straight_kept > 0) {
        *put_p = l->straight_kept;
        l->straight_kept = 0;
    } else if (status == GP_OK && l->state == TP_LINK_LIVE) {
        status = write_through_direct(l, direct, &iov, put_p, &failed);
    } else if (status == GP_OK) {
        *put_p = gp_min_u64(iov.iov_len, PART_BYTES);
        status = tp_link_keep_direct(l, direct, iov.iov_base, *put_p);
    }
    pthread_mutex_unlock(&l->tx_lock);
    if (failed != GP_OK)
        tp_link_lose(l, generation, failed, NULL);
    return status;
}

/* tx_lock held: a steady lane underneath, which is never left again, and memory with it. */
static bool
fills(const struct tp_link *l)
{
    return l->state == TP_LINK_LIVE && tp_link_is_steady(l) && l->inner->bytes->room != NULL;
}

static bool
link_fills(const struct tp_lane *lane)
{
    struct tp_link *l = tp_link_of(lane);
    bool yes;

    pthread_mutex_lock(&l->tx_lock);
    yes = fills(l);
    pthread_mutex_unlock(&l->tx_lock);
    return yes;
}

static enum gp_status
link_room(struct tp_stream *s, size_t most, void **to_p, size_t *bytes_p)
{
    struct tp_link *l = link_of(s);
    enum gp_status status;
    unsigned generation;

    pthread_mutex_lock(&l->tx_lock);
    generation = l->generation;
    status = l->state == TP_LINK_OVER ? l->over_status : fills(l) ? GP_OK : GP_ERR_IO;
    if (status == GP_OK && l->sent_at < l->store.end)
        status = tp_link_push(l);
    if (status == GP_OK)
        status = l->inner->bytes->room(l->inner, most, to_p, bytes_p);
    pthread_mutex_unlock(&l->tx_lock);
    if (status != GP_OK && status != GP_ERR_AGAIN)
        tp_link_lose(l, generation, status, NULL);
    return status;
}

/* Memory of a lane that is over stays until the link goes. */
static void
link_filled(struct tp_stream *s, size_t bytes)
{
    struct tp_link *l = link_of(s);

    pthread_mutex_lock(&l->tx_lock);
    l->inner->bytes->filled(l->inner, bytes);
    tp_store_drop(&l->store, l->store.end);
    tp_store_pass(&l->store, bytes);
    l->sent_at = l->store.end;
    pthread_mutex_unlock(&l->tx_lock);
}

static enum gp_status
link_flush(struct tp_stream *s)
{
    struct tp_link *l = link_of(s);
    unsigned generation;
    enum gp_status status = GP_OK;

    pthread_mutex_lock(&l->tx_lock);
    generation = l->generation;
    if (l->state == TP_LINK_LIVE)
        status = tp_link_push(l);
    pthread_mutex_unlock(&l->tx_lock);
    if (status == GP_OK || status == GP_ERR_AGAIN)
        return status;
    tp_link_lose(l, generation, status, NULL);
    return GP_OK;
}

uint64_t
tp_link_kept(struct tp_lane *link)
{
    struct tp_link *l = tp_link_of(link);
    uint64_t start, end;

    pthread_mutex_lock(&l->tx_lock);
    start = l->store.start;
    end = l->store.end;
    pthread_mutex_unlock(&l->tx_lock);
    return end - gp_min_u64(end, gp_max_u64(start, atomic_load(&l->peer_ack)));
}

/* Wait for an acknowledgement or another state; take in what arrives meanwhile. */
static enum gp_status
room_sleep(struct tp_link *l, uint64_t deadline_ns)
{
    bool live = tp_link_state(&l->s.lane) == TP_LINK_LIVE;
    struct pollfd p[2] = {
        {.fd = l->room_fd, .events = POLLIN},
        {.fd = l->take_in && live ? l->event_fd : -1, .events = POLLIN},
    };
    uint64_t count;
    int rc;

    if (p[1].fd >= 0 && link_arm(&l->s)) {
        tp_link_look(&l->s.lane);
        return GP_OK;
    }
    rc = poll(p, 2, gp_deadline_poll_ms(gp_now_ns(), deadline_ns));
    if (rc == 0)
        return GP_ERR_TIMEOUT;
    if (p[0].revents != 0 && read(l->room_fd, &count, sizeof(count)) < 0 && errno != EAGAIN)
        return GP_ERR_IO;
    if (rc > 0 && p[1].revents != 0)
        tp_link_look(&l->s.lane);
    return GP_OK;
}

static enum gp_status
await_room(struct tp_link *l, uint64_t deadline_ns)
{
    enum gp_status status = GP_OK;

    if (GP_LIKELY(tp_link_kept(&l->s.lane) <= l->window_bytes))
        return GP_OK;
    atomic_store(&l->room_wanted, true);
    while (status == GP_OK && tp_link_kept(&l->s.lane) > l->window_bytes &&
           tp_link_state(&l->s.lane) != TP_LINK_OVER) {
        tp_link_ack_if_due(l);
        status = room_sleep(l, deadline_ns);
    }
    atomic_store(&l->room_wanted, false);
    return status;
}

/* The sender gives up: the memory is its owner's. */
static void
straight_end(struct tp_link *l)
{
    pthread_mutex_lock(&l->tx_lock);
    if (l->straight.iov_len > 0 && l->inner != NULL)
        l->inner->bytes->take_back(l->inner);
    l->straight.iov_len = 0;
    l->straight_kept = 0;
    l->direct = NULL;
    pthread_mutex_unlock(&l->tx_lock);
}

static enum gp_status
link_send(struct tp_lane *lane, const struct iovec *iov, int iovcnt, uint64_t deadline_ns)
{
    struct tp_link *l = tp_link_of(lane);
    enum gp_status status = await_room(l, deadline_ns);

    if (status != GP_OK)
        return status;
    atomic_store_explicit(&l->in_send, true, memory_order_relaxed);
    status = tp_stream_send(lane, iov, iovcnt, deadline_ns);
    if (status != GP_OK)
        straight_end(l);
    atomic_store_explicit(&l->in_send, false, memory_order_relaxed);
    tp_link_ack_if_due(l);
    return status;
}

static enum gp_status
link_send_lent(struct tp_lane *lane, const struct iovec *iov, int iovcnt, const struct iovec *lent,
               int lents, uint64_t deadline_ns)
{
    struct tp_link *l = tp_link_of(lane);
    enum gp_status status;

    l->lent = lent;
    l->lents = lents;
    status = link_send(lane, iov, iovcnt, deadline_ns);
    l->lents = 0;
    return status;
}

static enum gp_status
link_send_direct(struct tp_lane *lane, const struct iovec *iov, int iovcnt,
                 const struct tp_direct *direct, uint64_t deadline_ns)
{
    struct tp_link *l = tp_link_of(lane);
    enum gp_status status = await_room(l, deadline_ns);

    if (status != GP_OK)
        return status;
    atomic_store_explicit(&l->in_send, true, memory_order_relaxed);
    status = tp_stream_send_direct(lane, iov, iovcnt, direct, deadline_ns);
    straight_end(l);
    atomic_store_explicit(&l->in_send, false, memory_order_relaxed);
    tp_link_ack_if_due(l);
    return status;
}

static enum gp_status
link_send_filled(struct tp_lane *lane, const struct iovec *iov, int iovcnt,
                 const struct tp_fill *fill, uint64_t deadline_ns)
{
    struct tp_link *l = tp_link_of(lane);
    enum gp_status status;

    atomic_store_explicit(&l->in_send, true, memory_order_relaxed);
    status = tp_stream_send_filled(lane, iov, iovcnt, fill, deadline_ns);
    atomic_store_explicit(&l->in_send, false, memory_order_relaxed);
    tp_link_ack_if_due(l);
    return status;
}

static enum gp_status
link_settle(struct tp_lane *lane, const void *base, size_t bytes)
{
    struct tp_link *l = tp_link_of(lane);
    enum gp_status status;

    pthread_mutex_lock(&l->tx_lock);
    (void)!drop_acknowledged(l); /* a peer that lies is found by whoever sends next */
    if (l->take_in && tp_store_lends(&l->store, base, bytes)) {
        pthread_mutex_unlock(&l->tx_lock);
        tp_link_look(lane); /* an acknowledgement may be here that nobody has read */
        pthread_mutex_lock(&l->tx_lock);
        (void)!drop_acknowledged(l);
    }
    status = tp_store_settle(&l->store, base, bytes);
    pthread_mutex_unlock(&l->tx_lock);
    return status;
}

/* -- the end --------------------------------------------------------------------------------------
 */

static void
link_shutdown(struct tp_stream *s)
{
    struct tp_link *l = link_of(s);

    pthread_mutex_lock(&l->rx_lock);
    pthread_mutex_lock(&l->tx_lock);
    tp_link_end(l, GP_ERR_CLOSED);
    pthread_mutex_unlock(&l->tx_lock);
    pthread_mutex_unlock(&l->rx_lock);
    tp_link_signal(s->wake_fd);
}

static void
link_finish(struct tp_stream *s)
{
    struct tp_link *l = link_of(s);

    if (l->inner != NULL && l->state != TP_LINK_BROKEN)
        l->inner->bytes->finish(l->inner);
}

static void
fds_close(struct tp_link *l)
{
    close(l->event_fd);
    close(l->out_fd);
    close(l->s.end_fd);
    close(l->idle_fd);
    close(l->room_fd);
}

static void
link_destroy(struct tp_stream *s)
{
    struct tp_link *l = link_of(s);

    tp_link_free_inner(l);
    tp_store_fini(&l->store);
    gp_buf_fini(&l->ahead);
    pthread_mutex_destroy(&l->rx_lock);
    pthread_mutex_destroy(&l->tx_lock);
    fds_close(l);
}

static void
link_abandon(struct tp_stream *s)
{
    struct tp_link *l = link_of(s);

    if (l->inner != NULL)
        tp_stream_abandon(&l->inner->lane);
    fds_close(l);
}

static const struct tp_stream_ops link_bytes = {
    .read = link_read,
    .write = link_write,
    .read_direct = link_read_direct,
    .takes_device = link_takes_device,
    .write_direct = link_write_direct,
    .flush = link_flush,
    .room = link_room,
    .filled = link_filled,
    .buffered = link_buffered,
    .arm = link_arm,
    .shutdown = link_shutdown,
    .finish = link_finish,
    .destroy = link_destroy,
    .abandon = link_abandon,
};

/* -- the beginning --------------------------------------------------------------------------------
 */

static enum gp_status
link_export_key(struct tp_lane *lane, uint8_t out[TP_KEY_BYTES])
{
    struct tp_link *l = tp_link_of(lane);

    return l->inner != NULL ? tp_export_key(&l->inner->lane, out) : GP_ERR_CLOSED;
}

static bool
fds_open(struct tp_link *l)
{
    l->idle_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    l->room_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    l->event_fd = fcntl(l->idle_fd, F_DUPFD_CLOEXEC, 0);
    l->out_fd = fcntl(l->idle_fd, F_DUPFD_CLOEXEC, 0);
    l->s.end_fd = fcntl(l->idle_fd, F_DUPFD_CLOEXEC, 0);
    if (l->idle_fd >= 0 && l->room_fd >= 0 && l->event_fd >= 0 && l->out_fd >= 0 &&
        l->s.end_fd >= 0)
        return true;
    log_error("link: no descriptors: %m");
    fds_close(l);
    return false;
}

static enum gp_status
link_create(struct tp_lane *lane, const struct tp_link_opts *opts, struct tp_link **link_p)
{
    struct tp_opts as_lane = {
        .framing = lane->framing,
        .max_payload_bytes = lane->max_payload_bytes,
        .spin_us = atomic_load_explicit(&lane->spin_us, memory_order_relaxed),
    };
    struct tp_link *l = calloc(1, sizeof(*l));
    enum gp_status status;

    if (l == NULL)
        return GP_ERR_NO_MEMORY;
    l->ops = (struct tp_ops){
        .scheme = lane->ops->scheme,
        .caps = lane->ops->caps,
        TP_STREAM_OPS,
        .event_mask = link_event_mask,
        .received = link_received,
        .scheme_now = link_scheme,
        .export_key = link_export_key,
    };
    l->ops.send = link_send;
    l->ops.send_lent = link_send_lent;
    l->ops.send_direct = link_send_direct;
    l->ops.settle = link_settle;
    l->ops.fills = link_fills;
    l->ops.send_filled = link_send_filled;
    status = tp_stream_init(&l->s, &l->ops, &link_bytes, &as_lane);
    if (status != GP_OK) {
        free(l);
        return status;
    }
    if (!fds_open(l)) {
        tp_stream_fini(&l->s);
        free(l);
        return GP_ERR_LIMIT;
    }
    l->s.read_fd = l->event_fd;
    l->s.write_fd = l->out_fd;
    l->s.change_fd = l->room_fd;
    l->s.lane.peer = lane->peer;
    l->window_bytes = opts->window_bytes != 0 ? opts->window_bytes : TP_LINK_WINDOW_DEFAULT;
    l->take_in = opts->take_in;
    l->changed = opts->changed;
    l->user = opts->user;
    pthread_mutex_init(&l->rx_lock, NULL);
    pthread_mutex_init(&l->tx_lock, NULL);
    *link_p = l;
    return GP_OK;
}

static bool
framing_fits(const struct gp_framing *framing)
{
    return framing->acknowledged != NULL && framing->is_last != NULL && framing->make_ack != NULL;
}

enum gp_status
tp_link_wrap(struct tp_lane *lane, const struct tp_link_opts *opts, struct tp_lane **link_p)
{
    struct tp_link *l;
    enum gp_status status = GP_ERR_NOT_SUPPORTED;

    if (framing_fits(lane->framing) && tp_link_fits(lane))
        status = link_create(lane, opts, &l);
    if (status != GP_OK) {
        tp_close(lane);
        return status;
    }
    /* Statistics go on as one lane's. */
    l->s.lane.bytes_sent = atomic_load(&lane->bytes_sent);
    l->s.lane.sends = atomic_load(&lane->sends);
    l->s.lane.bytes_received = atomic_load(&lane->bytes_received);
    l->s.lane.frames_received = atomic_load(&lane->frames_received);
    l->s.lane.sleeps = atomic_load(&lane->sleeps);
    status = tp_link_use(l, tp_stream_of(lane));
    if (status != GP_OK) {
        tp_close(&l->s.lane);
        tp_close(lane);
        return status;
    }
    *link_p = &l->s.lane;
    return GP_OK;
}

bool
tp_link_is(const struct tp_lane *lane)
{
    return lane->ops->send == link_send;
}

enum tp_link_state
tp_link_state(const struct tp_lane *link)
{
    return (enum tp_link_state)atomic_load_explicit(&tp_link_of(link)->state_seen,
                                                    memory_order_acquire);
}
