/* transport/bundle/bundle.c -- making, ending */
#include "transport/bundle/bundle_priv.h"

#include "protocol/base/log.h"
#include "protocol/base/util.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* What a close waits for runs that are on their way to the system. */
#define FINISH_NS (1 * GP_NS_PER_S)

static struct tp_bundle *
bundle_of(const struct tp_stream *s)
{
    return (struct tp_bundle *)(uintptr_t)s;
}

void
tp_bundle_signal(int fd)
{
    uint64_t one = 1;

    if (write(fd, &one, sizeof(one)) < 0)
        log_debug("bundle: signal: %m"); /* full: it is readable anyway */
}

void
tp_bundle_quiet(int fd)
{
    uint64_t count;

    if (read(fd, &count, sizeof(count)) < 0 && errno != EAGAIN)
        log_debug("bundle: quiet: %m");
}

void
tp_bundle_fail(struct tp_bundle *b, enum gp_status status)
{
    int none = GP_OK;

    (void)atomic_compare_exchange_strong(&b->failed, &none, (int)status);
    tp_bundle_signal(b->come_fd);
    tp_bundle_signal(b->room_fd);
}

/* -- the end --------------------------------------------------------------------------------------
 */

/* No thread of ours is left after this. */
static void
halt(struct tp_bundle *b)
{
    atomic_store_explicit(&b->stopping, true, memory_order_relaxed);
    tp_bundle_signal(b->stop_fd);
    for (unsigned i = 0; i < b->way_count; i++)
        tp_way_wake(&b->ways[i]);
    pthread_mutex_lock(&b->lock);
    while (b->threads > 0)
        pthread_cond_wait(&b->halted, &b->lock);
    pthread_mutex_unlock(&b->lock);
}

static void
bundle_shutdown(struct tp_stream *s)
{
    struct tp_bundle *b = bundle_of(s);

    b->main->bytes->shutdown(b->main);
    for (unsigned i = 0; i < b->way_count; i++)
        b->ways[i].lane->bytes->shutdown(b->ways[i].lane);
}

/* What was taken goes before the end that follows it. */
static void
await_sent(struct tp_bundle *b)
{
    const struct timespec until = gp_timespec(gp_now_ns() + FINISH_NS);

    for (unsigned i = 0; i < b->way_count; i++) {
        struct tp_runs *out = &b->ways[i].out;

        pthread_mutex_lock(&out->lock);
        while (out->count > 0 && tp_bundle_failed(b) == GP_OK &&
               pthread_cond_clockwait(&out->changed, &out->lock, CLOCK_MONOTONIC, &until) == 0)
            ;
        pthread_mutex_unlock(&out->lock);
    }
}

static void
bundle_finish(struct tp_stream *s)
{
    struct tp_bundle *b = bundle_of(s);

    await_sent(b);
    halt(b);
    if (tp_bundle_flush(s) != GP_OK)
        return;
    b->main->bytes->finish(b->main);
    for (unsigned i = 0; i < b->way_count; i++)
        b->ways[i].lane->bytes->finish(b->ways[i].lane);
}

static void
runs_fini(struct tp_runs *runs)
{
    for (unsigned i = 0; i < TP_RUNS; i++)
        free(runs->runs[i].data);
    pthread_mutex_destroy(&runs->lock);
    pthread_cond_destroy(&runs->changed);
}

static void
stream_free(struct tp_stream *lane)
{
    lane->bytes->destroy(lane);
    tp_stream_fini(lane);
    free(lane);
}

static void
fds_close(struct tp_bundle *b)
{
    const int fds[] = {b->come_fd, b->room_fd, b->stop_fd, b->in_fd, b->out_fd};

    for (unsigned i = 0; i < GP_ARRAY_LEN(fds); i++)
        if (fds[i] >= 0)
            close(fds[i]);
}

static void
bundle_destroy(struct tp_stream *s)
{
    struct tp_bundle *b = bundle_of(s);

    halt(b);
    stream_free(b->main);
    for (unsigned i = 0; i < b->way_count; i++) {
        stream_free(b->ways[i].lane);
        runs_fini(&b->ways[i].in);
        runs_fini(&b->ways[i].out);
    }
    pthread_mutex_destroy(&b->lock);
    pthread_cond_destroy(&b->halted);
    gp_buf_fini(&b->leaving);
    fds_close(b);
}

static void
bundle_abandon(struct tp_stream *s)
{
    struct tp_bundle *b = bundle_of(s);

    tp_stream_abandon(&b->main->lane);
    for (unsigned i = 0; i < b->way_count; i++)
        tp_stream_abandon(&b->ways[i].lane->lane);
    fds_close(b);
}

static const struct tp_stream_ops bundle_bytes = {
    .read = tp_bundle_read,
    .write = tp_bundle_write,
    .flush = tp_bundle_flush,
    .buffered = tp_bundle_buffered,
    .arm = tp_bundle_arm,
    .show_room = tp_bundle_show_room,
    .shutdown = bundle_shutdown,
    .finish = bundle_finish,
    .destroy = bundle_destroy,
    .abandon = bundle_abandon,
};

/* -- the beginning --------------------------------------------------------------------------------
 */

static enum gp_status
bundle_export_key(struct tp_lane *lane, uint8_t out[TP_KEY_BYTES])
{
    return tp_export_key(&bundle_of(tp_stream_of(lane))->main->lane, out);
}

static bool
watch(int epoll_fd, int fd, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.fd = fd};

    return epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) == 0;
}

static bool
fds_open(struct tp_bundle *b)
{
    b->come_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    b->room_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    b->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    b->in_fd = epoll_create1(EPOLL_CLOEXEC);
    b->out_fd = epoll_create1(EPOLL_CLOEXEC);
    b->in_events = EPOLLIN;
    if (b->come_fd >= 0 && b->room_fd >= 0 && b->stop_fd >= 0 && b->in_fd >= 0 && b->out_fd >= 0 &&
        watch(b->in_fd, b->come_fd, EPOLLIN) && watch(b->in_fd, b->main->read_fd, EPOLLIN) &&
        watch(b->out_fd, b->room_fd, EPOLLIN) && watch(b->out_fd, b->main->write_fd, EPOLLOUT))
        return true;
    log_error("bundle: no descriptors: %m");
    return false;
}

static bool
runs_init(struct tp_runs *runs)
{
    bool ok = true;

    pthread_mutex_init(&runs->lock, NULL);
    pthread_cond_init(&runs->changed, NULL);
    for (unsigned i = 0; i < TP_RUNS; i++) {
        runs->runs[i].data = malloc(TP_RUN_HEADER_BYTES + TP_RUN_BYTES_MAX);
        ok = ok && runs->runs[i].data != NULL;
    }
    return ok;
}

/* Takes the lanes in every case. */
static enum gp_status
fill(struct tp_bundle *b, struct tp_lane *const *lanes, unsigned count)
{
    enum gp_status status = GP_OK;
    bool memory = true;

    pthread_mutex_init(&b->lock, NULL);
    pthread_cond_init(&b->halted, NULL);
    b->main = tp_stream_of(lanes[0]);
    b->s.lane.peer = lanes[0]->peer;
    for (unsigned i = 1; i < count; i++) {
        struct tp_way *way = &b->ways[b->way_count++];

        way->bundle = b;
        way->lane = tp_stream_of(lanes[i]);
        memory = runs_init(&way->in) && memory;
        memory = runs_init(&way->out) && memory;
    }
    if (!memory)
        return GP_ERR_NO_MEMORY;
    if (!fds_open(b))
        return GP_ERR_LIMIT;
    b->s.read_fd = b->in_fd;
    b->s.write_fd = b->out_fd;
    b->s.write_events = POLLIN;
    b->s.end_fd = tp_stream_end_fd(lanes[0]);
    b->s.looks_per_yield = b->main->looks_per_yield;
    for (unsigned i = 0; status == GP_OK && i < b->way_count; i++)
        status = tp_way_start(&b->ways[i]);
    return status;
}

/* A socket between two frames, with nothing of the receiver's own left over. */
static bool
fits(const struct tp_lane *lane)
{
    const struct tp_stream *s = (const struct tp_stream *)lane;

    return lane->ops->send == tp_stream_send && s->bytes->arm == NULL && s->read_fd >= 0 &&
           s->read_fd == s->write_fd && s->send_status == GP_OK && s->recv_status == GP_OK &&
           !s->partial && lane->payload_left == 0;
}

static enum gp_status
create(struct tp_lane *const *lanes, unsigned count, struct tp_bundle **bundle_p)
{
    const struct tp_lane *main = lanes[0];
    struct tp_opts as_lane = {
        .framing = main->framing,
        .max_payload_bytes = main->max_payload_bytes,
        .spin_us = atomic_load_explicit(&main->spin_us, memory_order_relaxed),
    };
    struct tp_bundle *b;
    enum gp_status status;

    for (unsigned i = 0; i < count; i++)
        if (!fits(lanes[i]))
            return GP_ERR_NOT_SUPPORTED;
    b = calloc(1, sizeof(*b));
    if (b == NULL)
        return GP_ERR_NO_MEMORY;
    b->ops = (struct tp_ops){.scheme = main->ops->scheme,
                             .caps = main->ops->caps,
                             TP_STREAM_OPS,
                             .export_key = bundle_export_key};
    b->come_fd = b->room_fd = b->stop_fd = b->in_fd = b->out_fd = -1;
    status = tp_stream_init(&b->s, &b->ops, &bundle_bytes, &as_lane);
    if (status != GP_OK) {
        free(b);
        return status;
    }
    *bundle_p = b;
    return GP_OK;
}

enum gp_status
tp_bundle_make(struct tp_lane *const *lanes, unsigned count, struct tp_lane **bundle_p)
{
    struct tp_bundle *b;
    enum gp_status status = GP_ERR_INVALID;

    if (count >= 2 && count <= TP_BUNDLE_MAX)
        status = create(lanes, count, &b);

    if (status != GP_OK) {
        for (unsigned i = 0; i < count; i++)
            tp_close(lanes[i]);
        return status;
    }
    status = fill(b, lanes, count);
    if (status != GP_OK) {
        bundle_destroy(&b->s);
        tp_stream_fini(&b->s);
        free(b);
        return status;
    }
    *bundle_p = &b->s.lane;
    return GP_OK;
}
