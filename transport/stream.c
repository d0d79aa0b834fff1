/* transport/stream.c -- waiting, waking, sending */
#include "transport/stream.h"

#include "protocol/base/log.h"
#include "transport/kept.h"
#include "transport/stream_priv.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>

/* Pieces handed to one write; a batch of more goes in several. */
#define WRITE_PIECES 256
/* Of a device's memory that is sent by way of ours. */
#define FETCH_BYTES (256u << 10)
/* Fruitless looking shrinks to this share of spin_us. */
#define SPIN_SHARE_MIN 32
/* What a sleep and a wake-up at both ends add to a wait that looking would have made short. */
#define SLEEP_COST_NS (100 * GP_NS_PER_US)
/* A yield that took so long let somebody run who did little, as a peer does that answers. */
#define PEER_MIN_NS 700u
#define PEER_MAX_NS (50 * GP_NS_PER_US)
/* After so many waits in a row that ended with such a yield the peer runs on our core. */
#define PEER_HERE 4u

enum gp_status
tp_stream_init(struct tp_stream *s, const struct tp_ops *ops, const struct tp_stream_ops *bytes,
               const struct tp_opts *opts)
{
    tp_lane_init(&s->lane, ops, opts);
    s->bytes = bytes;
    s->read_fd = -1;
    s->write_fd = -1;
    s->change_fd = -1;
    s->end_fd = -1;
    s->read_events = POLLIN;
    s->write_events = POLLOUT;
    s->looks_per_yield = TP_STREAM_LOOKS;
    s->spin_ns = opts->spin_us * GP_NS_PER_US;
    s->buf = aligned_alloc(64, TP_STREAM_BUFFER);
    if (s->buf == NULL)
        return GP_ERR_NO_MEMORY;
    s->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (s->wake_fd < 0) {
        free(s->buf);
        return tp_fail(opts, GP_ERR_LIMIT, "lane: eventfd: %s", strerror(errno));
    }
    return GP_OK;
}

void
tp_stream_fini(struct tp_stream *s)
{
    close(s->wake_fd);
    free(s->buf);
    tp_memory_forget(s->big, s->big_bytes);
    free(s->big);
}

/* Sleep until the line can be written. */
static enum gp_status
wait_writable(struct tp_stream *s, uint64_t deadline_ns)
{
    struct pollfd p[2] = {
        {.fd = s->write_fd, .events = s->write_events},
        {.fd = s->change_fd, .events = POLLIN},
    };
    int rc = poll(p, 2, gp_deadline_poll_ms(gp_now_ns(), deadline_ns));
    uint64_t count;

    if (rc < 0 && errno != EINTR)
        return GP_ERR_IO;
    if (rc > 0 && p[1].revents != 0 && read(s->change_fd, &count, sizeof(count)) < 0 &&
        errno != EAGAIN)
        return GP_ERR_IO;
    if (rc == 0)
        return GP_ERR_TIMEOUT;
    return GP_OK;
}

/* A window of iov behind the first skip bytes. */
static int
window(const struct iovec *iov, int iovcnt, size_t skip, struct iovec out[WRITE_PIECES])
{
    int n = 0;

    for (int i = 0; i < iovcnt && n < WRITE_PIECES; i++) {
        if (skip >= iov[i].iov_len) {
            skip -= iov[i].iov_len;
            continue;
        }
        out[n].iov_base = (char *)iov[i].iov_base + skip;
        out[n++].iov_len = iov[i].iov_len - skip;
        skip = 0;
    }
    return n;
}

/* From the done-th byte on. */
static __attribute__((noinline)) enum gp_status
write_rest(struct tp_stream *s, const struct iovec *iov, int iovcnt, size_t done,
           uint64_t deadline_ns)
{
    struct iovec part[WRITE_PIECES];
    enum gp_status status;
    size_t put;
    int parts;

    /* iov is walked on from the piece that was reached, so long batches cost no square. */
    while ((parts = window(iov, iovcnt, done, part)) > 0) {
        status = s->bytes->write(s, part, parts, &put);
        if (status == GP_ERR_AGAIN)
            status = wait_writable(s, deadline_ns);
        else if (status == GP_OK) {
            tp_count(&s->lane.bytes_sent, put);
            for (done += put; iovcnt > 0 && done >= iov->iov_len; iovcnt--, iov++)
                done -= iov->iov_len;
        }
        if (status != GP_OK)
            return status;
    }
    while (s->bytes->flush != NULL && (status = s->bytes->flush(s)) != GP_OK) {
        if (status == GP_ERR_AGAIN)
            status = wait_writable(s, deadline_ns);
        if (status != GP_OK)
            return status;
    }
    return GP_OK;
}

/* Where no piece is empty and there are few: it can be written as it is. Else 0. */
static size_t
bytes_as_they_are(const struct iovec *iov, int iovcnt)
{
    size_t total = 0;

    for (; iovcnt > 0 && iovcnt <= WRITE_PIECES; iovcnt--, iov++) {
        if (iov->iov_len == 0)
            return 0;
        total += iov->iov_len;
    }
    return iovcnt == 0 ? total : 0;
}

static enum gp_status
write_all(struct tp_stream *s, const struct iovec *iov, int iovcnt, uint64_t deadline_ns)
{
    size_t all = bytes_as_they_are(iov, iovcnt), put = 0;
    enum gp_status status;

    if (all > 0) {
        status = s->bytes->write(s, iov, iovcnt, &put);
        if (status == GP_ERR_AGAIN) {
            status = wait_writable(s, deadline_ns);
            put = 0;
        }
        if (status != GP_OK)
            return status;
        tp_count(&s->lane.bytes_sent, put);
        if (put == all && s->bytes->flush == NULL)
            return GP_OK;
    }
    return write_rest(s, iov, iovcnt, put, deadline_ns);
}

static enum gp_status
fill_all(struct tp_stream *s, const struct tp_fill *fill, uint64_t deadline_ns)
{
    enum gp_status status = GP_OK;
    size_t bytes;
    void *to;

    for (size_t at = 0; at < fill->bytes && status == GP_OK;) {
        status = s->bytes->room(s, fill->bytes - at, &to, &bytes);
        if (status == GP_ERR_AGAIN) {
            status = wait_writable(s, deadline_ns);
        } else if (status == GP_OK) {
            fill->put(fill->user, at, to, bytes);
            s->bytes->filled(s, bytes);
            tp_count(&s->lane.bytes_sent, bytes);
            at += bytes;
        }
    }
    return status;
}

/* Through memory of ours, some at a time. */
static enum gp_status
write_fetched(struct tp_stream *s, const struct tp_direct *direct, size_t from, size_t *put_p)
{
    GP_AUTO_FREE uint8_t *room = malloc(FETCH_BYTES);
    struct iovec iov = {room, gp_min_u64(direct->bytes - from, FETCH_BYTES)};

    if (room == NULL)
        return GP_ERR_NO_MEMORY;
    direct->fetch(direct->user, room, (const uint8_t *)direct->at + from, iov.iov_len);
    return s->bytes->write(s, &iov, 1, put_p);
}

static enum gp_status
write_direct(struct tp_stream *s, const struct tp_direct *direct, size_t from, size_t *put_p)
{
    struct iovec iov = {(uint8_t *)(uintptr_t)direct->at + from, direct->bytes - from};
    size_t straight = 0;

    if (s->bytes->write_direct != NULL)
        return s->bytes->write_direct(s, direct, from, put_p);
    if (s->bytes->straight_bytes != NULL)
        straight = s->bytes->straight_bytes(s, iov.iov_base, iov.iov_len);
    if (straight == 0)
        return write_fetched(s, direct, from, put_p);
    iov.iov_len = straight;
    return s->bytes->write(s, &iov, 1, put_p);
}

static enum gp_status
direct_all(struct tp_stream *s, const struct tp_direct *direct, uint64_t deadline_ns)
{
    enum gp_status status = GP_OK;
    size_t put;

    for (size_t at = 0; at < direct->bytes && status == GP_OK;) {
        status = write_direct(s, direct, at, &put);
        if (status == GP_ERR_AGAIN) {
            status = wait_writable(s, deadline_ns);
        } else if (status == GP_OK) {
            tp_count(&s->lane.bytes_sent, put);
            at += put;
        }
    }
    return status == GP_OK ? write_all(s, NULL, 0, deadline_ns) : status; /* what is to be pushed */
}

static enum gp_status
send_ended(struct tp_stream *s, enum gp_status status)
{
    if (status != GP_OK) {
        if (atomic_load_explicit(&s->ended, memory_order_relaxed))
            status = GP_ERR_CLOSED;
        s->send_status = status;
        if (s->bytes->take_back != NULL)
            s->bytes->take_back(s);
    }
    return status;
}

enum gp_status
tp_stream_send_direct(struct tp_lane *lane, const struct iovec *iov, int iovcnt,
                      const struct tp_direct *direct, uint64_t deadline_ns)
{
    struct tp_stream *s = tp_stream_of(lane);
    enum gp_status status = s->send_status;

    if (status != GP_OK)
        return status;
    tp_count(&lane->sends, 1);
    status = write_all(s, iov, iovcnt, deadline_ns);
    if (status == GP_OK)
        status = direct_all(s, direct, deadline_ns);
    return send_ended(s, status);
}

bool
tp_stream_takes_device(struct tp_lane *lane, const void *at, size_t bytes, char *why)
{
    struct tp_stream *s = tp_stream_of(lane);

    if (s->bytes->takes_device != NULL)
        return s->bytes->takes_device(s, at, bytes, why);
    snprintf(why, TP_WHY_BYTES, "%s has no device of its own", tp_scheme(lane));
    return false;
}

bool
tp_stream_fills(const struct tp_lane *lane)
{
    return ((const struct tp_stream *)lane)->bytes->room != NULL;
}

enum gp_status
tp_stream_send_filled(struct tp_lane *lane, const struct iovec *iov, int iovcnt,
                      const struct tp_fill *fill, uint64_t deadline_ns)
{
    struct tp_stream *s = tp_stream_of(lane);
    enum gp_status status = s->send_status;

    if (status != GP_OK)
        return status;
    tp_count(&lane->sends, 1);
    status = write_all(s, iov, iovcnt, deadline_ns);
    if (status == GP_OK)
        status = fill_all(s, fill, deadline_ns);
    return send_ended(s, status);
}

enum gp_status
tp_stream_send(struct tp_lane *lane, const struct iovec *iov, int iovcnt, uint64_t deadline_ns)
{
    struct tp_stream *s = tp_stream_of(lane);
    enum gp_status status = s->send_status;

    if (status != GP_OK)
        return status;
    tp_count(&lane->sends, 1);
    return send_ended(s, write_all(s, iov, iovcnt, deadline_ns));
}

static bool
take_wake(struct tp_stream *s)
{
    return atomic_exchange_explicit(&s->woken, false, memory_order_acquire);
}

/* GP_OK: bytes, or where they are to be put into a device's memory that others come. */
static enum gp_status
read_once(struct tp_stream *s, const struct iovec *iov, int iovcnt, size_t *got_p)
{
    return s->others == NULL ? s->bytes->read(s, iov, iovcnt, got_p)
                             : s->bytes->read_direct(s, iov, got_p, s->others);
}

/* How long the core was somebody else's. */
static uint64_t
offer_core(void)
{
    uint64_t begin = gp_now_ns();

    sched_yield();
    return gp_now_ns() - begin;
}

/* What we waited for was there, right after a yield of so long; 0: without one. */
static void
note_peer(struct tp_stream *s, uint64_t gone_ns)
{
    if (gone_ns < PEER_MIN_NS || gone_ns > PEER_MAX_NS)
        s->peer_here = 0;
    else if (s->peer_here < PEER_HERE)
        s->peer_here++;
}

/* Look at the line without sleeping, from now on. GP_ERR_TIMEOUT: looked long enough. */
static enum gp_status
spin(struct tp_stream *s, const struct iovec *iov, int iovcnt, uint64_t now, uint64_t deadline_ns,
     size_t *got_p)
{
    uint64_t most = atomic_load_explicit(&s->lane.spin_us, memory_order_relaxed) * GP_NS_PER_US;
    unsigned per_yield = atomic_load_explicit(&s->looks_per_yield, memory_order_relaxed);
    unsigned first = atomic_load_explicit(&s->first_looks, memory_order_relaxed);
    uint64_t end, gone_ns = 0;
    enum gp_status status;

    if (most == 0)
        return GP_ERR_TIMEOUT;
    if (s->peer_here == PEER_HERE && per_yield <= TP_STREAM_LOOKS) {
        first = 0; /* while we look it cannot answer */
        per_yield = 1;
    }
    s->spin_ns = gp_min_u64(gp_max_u64(s->spin_ns, most / SPIN_SHARE_MIN), most);
    end = gp_min_u64(gp_deadline_after(now, s->spin_ns), deadline_ns);
    for (unsigned looks = 1; now < end; looks++) {
        status = read_once(s, iov, iovcnt, got_p);
        if (status != GP_ERR_AGAIN) {
            note_peer(s, gone_ns);
            return status;
        }
        if (atomic_load_explicit(&s->woken, memory_order_relaxed) && take_wake(s))
            return GP_ERR_AGAIN;
        if (looks <= first)
            continue;
        gone_ns = 0;
        if (looks % per_yield == 0)
            gone_ns = offer_core();
        else if (per_yield <= TP_STREAM_LOOKS)
            __builtin_ia32_pause(); /* to ask a device takes as long by itself */
        now = gp_now_ns();
    }
    return GP_ERR_TIMEOUT;
}

/* Looking failed and sleep followed: was it the next moment's or a long wait? Short waits make us
 * look longer the next time, long ones less. */
static void
learn(struct tp_stream *s, uint64_t waited_ns)
{
    uint64_t most = atomic_load_explicit(&s->lane.spin_us, memory_order_relaxed) * GP_NS_PER_US;

    if (waited_ns < 2 * most + SLEEP_COST_NS)
        s->spin_ns = gp_min_u64(s->spin_ns * 2, most);
    else
        s->spin_ns = gp_max_u64(s->spin_ns / 2, most / SPIN_SHARE_MIN);
}

/* Sleep until the line can be read, somebody wakes us, or the deadline passes. */
static enum gp_status
wait_readable(struct tp_stream *s, uint64_t deadline_ns)
{
    struct pollfd p[2] = {
        {.fd = s->read_fd, .events = s->read_events},
        {.fd = s->wake_fd, .events = POLLIN},
    };
    uint64_t count;
    int rc;

    tp_count(&s->lane.sleeps, 1);
    rc = poll(p, 2, gp_deadline_poll_ms(gp_now_ns(), deadline_ns));
    if (rc < 0 && errno != EINTR)
        return GP_ERR_IO;
    if (rc == 0)
        return GP_ERR_TIMEOUT;
    if (rc > 0 && p[1].revents != 0) {
        /* Emptied before the flag is taken: tp_wake() sets them the other way round, so no wake
         * is lost, and one that was taken without sleeping leaves only an idle round here. */
        if (read(s->wake_fd, &count, sizeof(count)) < 0 && errno != EAGAIN)
            return GP_ERR_IO;
        if (take_wake(s))
            return GP_ERR_AGAIN;
    }
    return GP_OK;
}

/* True if something came before read_fd was made to show it. */
static bool
armed_late(struct tp_stream *s)
{
    return s->bytes->arm != NULL && s->bytes->arm(s);
}

static enum gp_status
read_waiting(struct tp_stream *s, const struct iovec *iov, int iovcnt, uint64_t deadline_ns,
             size_t *got_p)
{
    enum gp_status status = read_once(s, iov, iovcnt, got_p);
    uint64_t start;

    if (deadline_ns == TP_NOW)
        while (status == GP_ERR_AGAIN && armed_late(s))
            status = read_once(s, iov, iovcnt, got_p);
    if (status != GP_ERR_AGAIN || deadline_ns == TP_NOW || take_wake(s))
        return status;
    start = gp_now_ns();
    status = spin(s, iov, iovcnt, start, deadline_ns, got_p);
    if (status != GP_ERR_TIMEOUT)
        return status;
    do { /* a descriptor may be readable with nothing in it for us */
        status = armed_late(s) ? GP_OK : wait_readable(s, deadline_ns);
        if (status != GP_OK)
            break;
        status = read_once(s, iov, iovcnt, got_p);
    } while (status == GP_ERR_AGAIN);
    learn(s, gp_now_ns() - start);
    return status;
}

enum gp_status
tp_stream_read(struct tp_stream *s, const struct iovec *iov, int iovcnt, uint64_t deadline_ns,
               size_t *got_p)
{
    enum gp_status status;

    if (s->recv_status != GP_OK)
        return s->recv_status;
    status = read_waiting(s, iov, iovcnt, deadline_ns, got_p);
    s->dry = status == GP_ERR_AGAIN || status == GP_ERR_TIMEOUT;
    if (status == GP_OK)
        tp_count(&s->lane.bytes_received, *got_p);
    else if (!s->dry)
        s->recv_status = status;
    else if (armed_late(s)) /* for whoever polls now */
        s->dry = false;
    return status;
}

bool
tp_stream_pending(const struct tp_lane *lane)
{
    const struct tp_stream *s = (const struct tp_stream *)lane;

    if (s->dry || s->recv_status != GP_OK)
        return false;
    return s->head < s->tail || (s->bytes->buffered != NULL && s->bytes->buffered(s));
}

int
tp_stream_event_fd(const struct tp_lane *lane)
{
    return ((const struct tp_stream *)lane)->read_fd;
}

int
tp_stream_end_fd(const struct tp_lane *lane)
{
    const struct tp_stream *s = (const struct tp_stream *)lane;

    return s->end_fd >= 0 ? s->end_fd : s->read_fd;
}

void
tp_stream_wake(struct tp_lane *lane)
{
    struct tp_stream *s = tp_stream_of(lane);
    uint64_t one = 1;

    atomic_store_explicit(&s->woken, true, memory_order_release);
    if (write(s->wake_fd, &one, sizeof(one)) < 0)
        log_debug("lane %s: wake: %m", s->lane.peer.address); /* full: it is readable anyway */
}

void
tp_stream_shutdown(struct tp_lane *lane)
{
    struct tp_stream *s = tp_stream_of(lane);

    atomic_store_explicit(&s->ended, true, memory_order_relaxed);
    s->bytes->shutdown(s);
}

void
tp_stream_close(struct tp_lane *lane)
{
    struct tp_stream *s = tp_stream_of(lane);

    if (s->send_status == GP_OK)
        s->bytes->finish(s);
    s->bytes->destroy(s);
    tp_stream_fini(s);
    free(s);
}

void
tp_stream_abandon(struct tp_lane *lane)
{
    struct tp_stream *s = tp_stream_of(lane);

    s->bytes->abandon(s);
    close(s->wake_fd);
}
