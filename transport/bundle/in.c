/* transport/bundle/in.c -- the row put together again */
#include "transport/bundle/bundle_priv.h"

#include "protocol/base/log.h"
#include "transport/walk.h"

#include <string.h>
#include <sys/epoll.h>

static enum gp_status
alien(const struct tp_bundle *b)
{
    log_warn("lane %s: what its connections bring does not fit together", b->s.lane.peer.address);
    return GP_ERR_PROTOCOL;
}

/* Between two runs on the main lane: take the next one's header, if it is here whole. */
static void
main_header(struct tp_bundle *b)
{
    struct tp_stream *lane = b->main;

    while (b->main_left == 0 && b->main_status == GP_OK) {
        size_t have = lane->tail - lane->head, got;
        enum gp_status status;

        if (have >= TP_RUN_HEADER_BYTES) {
            status = tp_run_decode(lane->buf + lane->head, b->main_end, &b->main_at, &b->main_left);
            lane->head += TP_RUN_HEADER_BYTES;
            b->main_end = b->main_at + b->main_left;
            if (status != GP_OK)
                b->main_status = alien(b);
            return;
        }
        if (have > 0)
            memmove(lane->buf, lane->buf + lane->head, have);
        lane->head = 0;
        lane->tail = have;

        struct iovec iov = {lane->buf + have, TP_STREAM_BUFFER - have};

        status = lane->bytes->read(lane, &iov, 1, &got);
        if (status == GP_ERR_AGAIN)
            return;
        if (status == GP_OK)
            lane->tail += got;
        else
            b->main_status = status == GP_ERR_CLOSED && have > 0 ? GP_ERR_IO : status;
    }
}

static bool
main_due(const struct tp_bundle *b)
{
    return b->main_left > 0 && b->main_at == b->in_at;
}

static enum gp_status
main_take(struct tp_bundle *b, uint8_t *to, size_t bytes, size_t *got_p)
{
    enum gp_status status = tp_way_take(b->main, to, gp_min_u64(bytes, b->main_left), got_p);

    if (status == GP_OK) {
        b->main_left -= (uint32_t)*got_p;
        b->main_at += *got_p;
    } else if (status != GP_ERR_AGAIN) {
        b->main_status = status == GP_ERR_CLOSED ? GP_ERR_IO : status;
    }
    return status;
}

/* The further lane that the next byte has come by. */
static struct tp_way *
way_due(const struct tp_bundle *b, struct tp_run **run_p)
{
    for (unsigned i = 0; i < b->way_count; i++) {
        struct tp_way *way = (struct tp_way *)(uintptr_t)&b->ways[i];
        struct tp_run *run = tp_runs_next(&way->in);

        if (run != NULL && run->at + run->taken <= b->in_at) {
            *run_p = run;
            return way;
        }
    }
    return NULL;
}

/* Some of what is due, without waiting. GP_ERR_AGAIN: nothing is. */
static enum gp_status
take_some(struct tp_bundle *b, uint8_t *to, size_t bytes, size_t *got_p)
{
    struct tp_run *run;
    struct tp_way *way;

    main_header(b);
    if (main_due(b))
        return main_take(b, to, bytes, got_p);
    if (b->main_left > 0 && b->main_at < b->in_at)
        return alien(b);
    way = way_due(b, &run);
    if (way == NULL)
        return GP_ERR_AGAIN;
    if (run->at + run->taken != b->in_at)
        return alien(b);
    *got_p = gp_min_u64(bytes, run->bytes - run->taken);
    memcpy(to, run->data + run->taken, *got_p);
    run->taken += (uint32_t)*got_p;
    if (run->taken == run->bytes)
        tp_runs_emptied(&way->in);
    return GP_OK;
}

/* Runs on a lane come in their order: one that is further on, or has ended, fills no gap. */
static bool
may_fill(const struct tp_way *way, bool *rest)
{
    bool ended = atomic_load_explicit(&way->ended, memory_order_acquire);
    bool next = tp_runs_next((struct tp_runs *)(uintptr_t)&way->in) != NULL;

    *rest = *rest || next;
    return !ended && !next;
}

/* Nothing is due: does something still come? */
static enum gp_status
how_it_ends(const struct tp_bundle *b)
{
    enum gp_status status = tp_bundle_failed(b);
    bool rest = b->main_left > 0;
    bool comes = b->main_status == GP_OK && (!rest || main_due(b));

    if (status != GP_OK)
        return status;
    if (b->main_status != GP_OK && b->main_status != GP_ERR_CLOSED)
        return b->main_status;
    for (unsigned i = 0; i < b->way_count; i++)
        comes = may_fill(&b->ways[i], &rest) || comes;
    if (comes)
        return GP_ERR_AGAIN;
    return rest ? GP_ERR_IO : GP_ERR_CLOSED;
}

static enum gp_status
read_due(struct tp_bundle *b, const struct iovec *iov, int iovcnt, size_t *got_p)
{
    struct tp_iov_walk walk = {.iov = iov, .left = iovcnt};
    enum gp_status status = GP_OK;
    size_t total = 0, got;

    while (!tp_iov_ended(&walk)) {
        uint8_t *to = (uint8_t *)walk.iov->iov_base + walk.at;

        status = take_some(b, to, walk.iov->iov_len - walk.at, &got);
        if (status != GP_OK)
            break;
        walk.at += got;
        b->in_at += got;
        total += got;
    }
    *got_p = total;
    return total > 0 ? GP_OK : status;
}

enum gp_status
tp_bundle_read(struct tp_stream *s, const struct iovec *iov, int iovcnt, size_t *got_p)
{
    struct tp_bundle *b = (struct tp_bundle *)s;
    enum gp_status status = read_due(b, iov, iovcnt, got_p);

    if (status != GP_ERR_AGAIN || how_it_ends(b) == GP_ERR_AGAIN)
        return status;
    /* What the peer said before it failed comes first, and one look may find nothing yet: tls was
     * asked for what it had, not the socket. */
    status = read_due(b, iov, iovcnt, got_p);
    return status == GP_ERR_AGAIN ? how_it_ends(b) : status;
}

/* Something is here that the descriptors do not show. */
static bool
here(const struct tp_bundle *b)
{
    const struct tp_stream *lane = b->main;
    bool more = lane->bytes->buffered != NULL && lane->bytes->buffered(lane);
    struct tp_run *run;

    if (main_due(b))
        return b->main_status == GP_OK && (lane->head < lane->tail || more);
    if (b->main_left == 0 && b->main_status == GP_OK &&
        (more || lane->tail - lane->head >= TP_RUN_HEADER_BYTES))
        return true;
    return way_due(b, &run) != NULL;
}

bool
tp_bundle_buffered(const struct tp_stream *s)
{
    return here((const struct tp_bundle *)s);
}

static void
set_events(struct tp_bundle *b, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.fd = b->main->read_fd};
    int op = b->in_events == 0 ? EPOLL_CTL_ADD : events == 0 ? EPOLL_CTL_DEL : EPOLL_CTL_MOD;

    if (events == b->in_events)
        return;
    if (epoll_ctl(b->in_fd, op, b->main->read_fd, &event) != 0)
        log_debug("bundle: epoll: %m");
    b->in_events = events;
}

/* The main lane's bytes are of no interest while others are due. */
static void
show(struct tp_bundle *b)
{
    bool waits = (b->main_left == 0 || main_due(b)) && b->main_status == GP_OK;

    set_events(b, (waits ? EPOLLIN : 0u) | (b->room_shown ? EPOLLOUT : 0u));
}

bool
tp_bundle_arm(struct tp_stream *s)
{
    struct tp_bundle *b = (struct tp_bundle *)s;

    tp_bundle_quiet(b->come_fd);
    main_header(b);
    show(b);
    return here(b) || how_it_ends(b) != GP_ERR_AGAIN;
}

void
tp_bundle_show_room(struct tp_stream *s, bool on)
{
    struct tp_bundle *b = (struct tp_bundle *)s;

    b->room_shown = on;
    show(b);
}
