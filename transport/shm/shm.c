/* transport/shm/shm.c -- the lane: rings as a byte stream, bells, hang-ups */
#include "transport/shm/shm.h"

#include "protocol/base/log.h"
#include "protocol/base/util.h"
#include "transport/shm/meet.h"
#include "transport/stream.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>

/* About two microseconds: a round trip, the peer's work included. */
#define FIRST_LOOKS 200u
/* Fruitless looks at a ring between two looks at the socket, where whoever receives never sleeps.
 */
#define LOOKS_PER_HANGUP 4096u

struct shm_lane {
    struct tp_stream s; /* first */
    struct tp_shm_meeting m;
    struct tp_ring in, out;
    /* The receiver's. */
    unsigned looks;
    bool hung_up;
};

static struct shm_lane *
shm_of(struct tp_stream *s)
{
    return (struct shm_lane *)s;
}

/* A full socket has bells enough. */
static void
ring_bell(int fd)
{
    if (send(fd, "", 1, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 && errno != EAGAIN)
        log_debug("shm: bell: %m");
}

/* Empty a socket of bells; false: the other end is gone. */
static bool
take_bells(int fd)
{
    char bells[256];
    ssize_t n;

    do
        n = recv(fd, bells, sizeof(bells), MSG_DONTWAIT);
    while (n == (ssize_t)sizeof(bells));
    return n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR));
}

/* With the bells left in. */
static bool
is_hung_up(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLRDHUP};

    return poll(&p, 1, 0) > 0;
}

static bool
ended_here(const struct shm_lane *l)
{
    return atomic_load_explicit(&l->s.ended, memory_order_relaxed);
}

static enum gp_status
say_impossible(const struct shm_lane *l)
{
    log_warn("lane %s: the peer's count of bytes is impossible", l->s.lane.peer.address);
    return GP_ERR_PROTOCOL;
}

/* -- receiving ------------------------------------------------------------------------------------
 */

/* What an empty ring means; looks once more, because what was put in before the end counts. */
static enum gp_status
read_end(struct shm_lane *l, const struct iovec *iov, int iovcnt, size_t *got_p)
{
    bool orderly = atomic_load_explicit(&l->in.shared->ended, memory_order_acquire) != 0;
    enum gp_status status;

    if (!orderly && !l->hung_up && ++l->looks % LOOKS_PER_HANGUP == 0)
        l->hung_up = is_hung_up(l->m.fd);
    if (!orderly && !l->hung_up)
        return GP_ERR_AGAIN;
    status = tp_ring_get(&l->in, iov, iovcnt, got_p);
    if (status != GP_ERR_AGAIN)
        return status;
    if (orderly || ended_here(l))
        return GP_ERR_CLOSED;
    log_info("lane %s: the peer is gone", l->s.lane.peer.address);
    return GP_ERR_IO;
}

/* Bytes were taken out. */
static void
tell_room(struct shm_lane *l)
{
    uint32_t want = tp_ring_room_wanted(&l->in);

    if (want != 0)
        ring_bell(l->m.room_fd);
    if (want != 0 && want != TP_RING_WANT_SENDER)
        ring_bell(l->m.fd);
}

static enum gp_status
shm_read(struct tp_stream *s, const struct iovec *iov, int iovcnt, size_t *got_p)
{
    struct shm_lane *l = shm_of(s);
    enum gp_status status = tp_ring_get(&l->in, iov, iovcnt, got_p);

    if (status == GP_ERR_AGAIN)
        status = read_end(l, iov, iovcnt, got_p);
    if (status == GP_ERR_PROTOCOL)
        return say_impossible(l);
    if (status == GP_OK)
        tell_room(l);
    return status;
}

static const void *
shm_peek(struct tp_stream *s, size_t most, size_t *bytes_p)
{
    return tp_ring_peek(&shm_of(s)->in, most, bytes_p);
}

static void
shm_skip(struct tp_stream *s, size_t bytes)
{
    struct shm_lane *l = shm_of(s);

    tp_ring_skip(&l->in, bytes);
    tell_room(l);
}

static bool
shm_arm(struct tp_stream *s)
{
    struct shm_lane *l = shm_of(s);

    /* First the bells: one that is rung from here on is for the sleep that follows. */
    if (!take_bells(l->m.fd))
        l->hung_up = true;
    return tp_ring_await_data(&l->in) || l->hung_up;
}

/* Room is told by both bells where a receiver may wait for it. */
static void
shm_show_room(struct tp_stream *s, bool on)
{
    (void)s;
    (void)on;
}

static bool
shm_buffered(const struct tp_stream *s)
{
    return tp_ring_has_data(&((const struct shm_lane *)s)->in);
}

/* -- sending --------------------------------------------------------------------------------------
 */

static enum gp_status
write_full(struct shm_lane *l, const struct iovec *iov, int iovcnt, size_t *put_p)
{
    enum tp_ring_want want = l->s.linked ? TP_RING_WANT_BOTH : TP_RING_WANT_SENDER;

    if (!take_bells(l->m.room_fd))
        return GP_ERR_IO;
    return tp_ring_await_room(&l->out, want) ? tp_ring_put(&l->out, iov, iovcnt, put_p)
                                             : GP_ERR_AGAIN;
}

static enum gp_status
shm_write(struct tp_stream *s, const struct iovec *iov, int iovcnt, size_t *put_p)
{
    struct shm_lane *l = shm_of(s);
    enum gp_status status;

    if (ended_here(l) || atomic_load_explicit(&l->out.shared->gone, memory_order_relaxed) != 0)
        return GP_ERR_IO;
    status = tp_ring_put(&l->out, iov, iovcnt, put_p);
    if (status == GP_ERR_AGAIN)
        status = write_full(l, iov, iovcnt, put_p);
    if (status == GP_ERR_PROTOCOL)
        return say_impossible(l);
    if (status == GP_OK && tp_ring_data_wanted(&l->out))
        ring_bell(l->m.fd);
    return status;
}

static enum gp_status
shm_room(struct tp_stream *s, size_t most, void **to_p, size_t *bytes_p)
{
    struct shm_lane *l = shm_of(s);
    enum gp_status status;

    if (ended_here(l) || atomic_load_explicit(&l->out.shared->gone, memory_order_relaxed) != 0)
        return GP_ERR_IO;
    status = tp_ring_room(&l->out, most, to_p, bytes_p);
    if (status == GP_ERR_AGAIN && !take_bells(l->m.room_fd))
        return GP_ERR_IO;
    if (status == GP_ERR_AGAIN &&
        tp_ring_await_room(&l->out, l->s.linked ? TP_RING_WANT_BOTH : TP_RING_WANT_SENDER))
        status = tp_ring_room(&l->out, most, to_p, bytes_p);
    return status == GP_ERR_PROTOCOL ? say_impossible(l) : status;
}

static void
shm_filled(struct tp_stream *s, size_t bytes)
{
    struct shm_lane *l = shm_of(s);

    tp_ring_filled(&l->out, bytes);
    if (tp_ring_data_wanted(&l->out))
        ring_bell(l->m.fd);
}

/* -- the end --------------------------------------------------------------------------------------
 */

static void
shm_finish(struct tp_stream *s)
{
    struct shm_lane *l = shm_of(s);

    atomic_store_explicit(&l->out.shared->ended, 1, memory_order_release);
    ring_bell(l->m.fd);
}

static void
shm_shutdown(struct tp_stream *s)
{
    struct shm_lane *l = shm_of(s);

    atomic_store_explicit(&l->out.shared->ended, 1, memory_order_release);
    atomic_store_explicit(&l->in.shared->gone, 1, memory_order_relaxed);
    (void)shutdown(l->m.fd, SHUT_RDWR); /* fails only if the line is gone already */
    (void)shutdown(l->m.room_fd, SHUT_RDWR);
}

static void
shm_destroy(struct tp_stream *s)
{
    struct shm_lane *l = shm_of(s);

    atomic_store_explicit(&l->in.shared->gone, 1, memory_order_relaxed);
    tp_shm_part(&l->m);
}

static void
shm_abandon(struct tp_stream *s)
{
    tp_shm_part(&shm_of(s)->m);
}

static const struct tp_stream_ops shm_bytes = {
    .read = shm_read,
    .write = shm_write,
    .peek = shm_peek,
    .skip = shm_skip,
    .room = shm_room,
    .filled = shm_filled,
    .arm = shm_arm,
    .show_room = shm_show_room,
    .buffered = shm_buffered,
    .shutdown = shm_shutdown,
    .finish = shm_finish,
    .destroy = shm_destroy,
    .abandon = shm_abandon,
};

static const struct tp_ops shm_ops = {
    .scheme = "shm",
    .caps = TP_CAP_LOCAL | TP_CAP_POLL | TP_CAP_STEADY,
    TP_STREAM_OPS,
    .peek_payload = tp_stream_peek_payload,
    .skip_payload = tp_stream_skip_payload,
    .fills = tp_stream_fills,
    .send_filled = tp_stream_send_filled,
};

/* -- the beginning --------------------------------------------------------------------------------
 */

static void
rings_join(struct shm_lane *l, enum tp_role role)
{
    struct tp_shm_head *head = (struct tp_shm_head *)l->m.memory;
    uint8_t *data = l->m.memory + TP_SHM_HEAD_BYTES;
    struct tp_ring to_server = {&head->to_server, data, l->m.ring_bytes, 0, 0};
    struct tp_ring to_client = {&head->to_client, data + l->m.ring_bytes, l->m.ring_bytes, 0, 0};

    l->in = role == TP_SERVER ? to_server : to_client;
    l->out = role == TP_SERVER ? to_client : to_server;
}

static enum gp_status
shm_adopt(int fd, enum tp_role role, const struct gp_url *url, const struct tp_opts *opts,
          struct tp_lane **lane_p)
{
    struct shm_lane *l = calloc(1, sizeof(*l));
    enum gp_status status = GP_ERR_NO_MEMORY;

    (void)url;
    if (l != NULL)
        status = tp_stream_init(&l->s, &shm_ops, &shm_bytes, opts);
    if (status != GP_OK) {
        free(l);
        close(fd);
        return status;
    }
    status = role == TP_SERVER ? tp_shm_receive_client(fd, opts, &l->m)
                               : tp_shm_meet_server(fd, opts, &l->m);
    if (status != GP_OK) {
        tp_stream_fini(&l->s);
        free(l);
        close(fd);
        return status;
    }
    rings_join(l, role);
    l->s.read_fd = fd;
    l->s.write_fd = l->m.room_fd;
    l->s.write_events = POLLIN;
    l->s.first_looks = FIRST_LOOKS;
    tp_local_peer(fd, &l->s.lane.peer);
    *lane_p = &l->s.lane;
    return GP_OK;
}

const struct tp_scheme tp_scheme_shm = {
    .name = "shm",
    .loopback_only = true,
    .is_path = true,
    .adopt = shm_adopt,
};
