/* transport/tcp/tcp.c -- plain TCP, loopback only: there is nobody in between to hide from */
#include "protocol/base/log.h"
#include "transport/socket.h"
#include "transport/stream.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

struct tcp_lane {
    struct tp_stream s; /* first */
    int fd;
};

static int
fd_of(const struct tp_stream *s)
{
    return ((const struct tcp_lane *)s)->fd;
}

static enum gp_status
receive_failed(const struct tp_stream *s)
{
    if (errno == EAGAIN || errno == EINTR)
        return GP_ERR_AGAIN;
    log_info("lane %s: receive: %m", s->lane.peer.address);
    return GP_ERR_IO;
}

static enum gp_status
tcp_read(struct tp_stream *s, const struct iovec *iov, int iovcnt, size_t *got_p)
{
    struct msghdr msg = {.msg_iov = (struct iovec *)iov, .msg_iovlen = (size_t)iovcnt};
    ssize_t got = recvmsg(fd_of(s), &msg, MSG_DONTWAIT);

    if (got < 0)
        return receive_failed(s);
    if (got == 0)
        return GP_ERR_CLOSED;
    *got_p = (size_t)got;
    return GP_OK;
}

static enum gp_status
tcp_write(struct tp_stream *s, const struct iovec *iov, int iovcnt, size_t *put_p)
{
    return tp_socket_send(fd_of(s), iov, iovcnt, s->lane.peer.address, put_p);
}

static void
tcp_shutdown(struct tp_stream *s)
{
    (void)shutdown(fd_of(s), SHUT_RDWR); /* fails only if the line is gone already */
}

static void
tcp_finish(struct tp_stream *s)
{
    (void)shutdown(fd_of(s), SHUT_WR);
}

static void
tcp_end(struct tp_stream *s)
{
    close(fd_of(s));
}

static const struct tp_stream_ops tcp_bytes = {
    .read = tcp_read,
    .write = tcp_write,
    .shutdown = tcp_shutdown,
    .finish = tcp_finish,
    .destroy = tcp_end,
    .abandon = tcp_end,
};

static const struct tp_ops tcp_ops = {
    .scheme = "tcp",
    .caps = TP_CAP_LOCAL | TP_CAP_POLL,
    TP_STREAM_OPS,
};

static enum gp_status
tcp_adopt(int fd, enum tp_role role, const struct gp_url *url, const struct tp_opts *opts,
          struct tp_lane **lane_p)
{
    struct tcp_lane *t = calloc(1, sizeof(*t));
    enum gp_status status = GP_ERR_NO_MEMORY;

    (void)role; /* both ends are alike */
    (void)url;
    if (t != NULL)
        status = tp_stream_init(&t->s, &tcp_ops, &tcp_bytes, opts);
    if (status != GP_OK) {
        free(t);
        close(fd);
        return status;
    }
    t->fd = t->s.read_fd = t->s.write_fd = fd;
    tp_socket_peer_text(fd, t->s.lane.peer.address, sizeof(t->s.lane.peer.address));
    *lane_p = &t->s.lane;
    return GP_OK;
}

const struct tp_scheme tp_scheme_tcp = {
    .name = "tcp",
    .loopback_only = true,
    .adopt = tcp_adopt,
};
