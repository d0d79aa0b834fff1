/* transport/transport.c -- the public functions: find the scheme, check, pass on */
#include "transport/transport.h"

#include "protocol/base/log.h"
#include "transport/lane.h"
#include "transport/local.h"
#include "transport/socket.h"

#include <sys/socket.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const struct tp_scheme *
find_scheme(const char *name)
{
    static const struct tp_scheme *const schemes[] = {&tp_scheme_tls, &tp_scheme_tcp,
                                                      &tp_scheme_shm, &tp_scheme_rdma};

    if (strcmp(name, TP_SCHEME_BEST) == 0)
        return &tp_scheme_tls;
    for (size_t i = 0; i < GP_ARRAY_LEN(schemes); i++)
        if (strcmp(name, schemes[i]->name) == 0)
            return schemes[i];
    return NULL;
}

enum gp_status
tp_fail(const struct tp_opts *opts, enum gp_status status, const char *fmt, ...)
{
    char text[TP_WHY_BYTES];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    if (opts->why != NULL)
        memcpy(opts->why, text, sizeof(text));
    else
        log_error("%s", text);
    return status;
}

uint64_t
tp_opts_deadline(const struct tp_opts *opts)
{
    if (opts->deadline_ns != 0)
        return opts->deadline_ns;
    return gp_deadline_after(gp_now_ns(), TP_CONNECT_DEFAULT_NS);
}

void
tp_lane_init(struct tp_lane *lane, const struct tp_ops *ops, const struct tp_opts *opts)
{
    lane->ops = ops;
    lane->framing = opts->framing;
    lane->max_payload_bytes =
        opts->max_payload_bytes != 0 ? opts->max_payload_bytes : TP_PAYLOAD_MAX_DEFAULT;
    atomic_store_explicit(&lane->spin_us, opts->spin_us, memory_order_relaxed);
}

static bool
framing_ok(const struct tp_opts *opts)
{
    return opts->framing != NULL && opts->framing->measure != NULL &&
           opts->framing->header_bytes > 0 && opts->framing->header_bytes <= GP_FRAMING_HEADER_MAX;
}

static enum gp_status
get_scheme(const char *name, const struct tp_opts *opts, const struct tp_scheme **scheme_p)
{
    const struct tp_scheme *scheme = find_scheme(name);

    if (scheme == NULL)
        return tp_fail(opts, GP_ERR_INVALID, "%s://: no such transport: use tls://host:port", name);
    if (scheme->refusal != NULL)
        return tp_fail(opts, GP_ERR_NOT_SUPPORTED, "%s", scheme->refusal);
    *scheme_p = scheme;
    return GP_OK;
}

static enum gp_status
get_url(const char *text, const struct tp_opts *opts, struct gp_url *url_p,
        const struct tp_scheme **scheme_p)
{
    enum gp_status status;

    if (gp_url_parse(text, url_p) != GP_OK)
        return tp_fail(opts, GP_ERR_INVALID, "\"%s\" is no address: use tls://host:port", text);
    if (!url_p->has_port && !url_p->is_path) {
        url_p->port = TP_PORT_DEFAULT;
        url_p->has_port = true;
    }
    status = get_scheme(url_p->scheme, opts, scheme_p);
    if (status == GP_OK && (*scheme_p)->is_path != url_p->is_path)
        return tp_fail(opts, GP_ERR_INVALID, "\"%s\" is no address: use %s", text,
                       (*scheme_p)->is_path ? "shm:///path/of/socket" : "tls://host:port");
    return status;
}

enum gp_status
tp_connect(const char *text, const struct tp_opts *opts, struct tp_lane **lane_p)
{
    struct tp_opts with_deadline = *opts;
    const struct tp_scheme *scheme;
    enum gp_status status;
    struct gp_url url;
    int fd;

    if (!framing_ok(opts))
        return tp_fail(opts, GP_ERR_INVALID, "transport: no framing given");
    with_deadline.deadline_ns = tp_opts_deadline(opts);
    status = get_url(text, opts, &url, &scheme);
    if (status != GP_OK)
        return status;
    if (!url.is_path && (url.port == 0 || strcmp(url.host, "*") == 0))
        return tp_fail(opts, GP_ERR_INVALID, "%s: nothing to connect to", text);

    if (url.is_path)
        status = tp_local_connect(&url, &with_deadline, &fd);
    else
        status = tp_socket_connect(&url, scheme->loopback_only, &with_deadline, &fd);
    if (status != GP_OK)
        return status;
    /* A fresh socket takes so little at once. */
    if (opts->preface_bytes > 0 &&
        (opts->preface_bytes > TP_PREFACE_MAX ||
         send(fd, opts->preface, opts->preface_bytes, MSG_NOSIGNAL | MSG_DONTWAIT) !=
             (ssize_t)opts->preface_bytes)) {
        status = tp_fail(opts, GP_ERR_IO, "%s: cannot begin: %s", text, strerror(errno));
        close(fd);
        return status;
    }
    return scheme->adopt(fd, TP_CLIENT, &url, &with_deadline, lane_p);
}

enum gp_status
tp_adopt(const char *name, int fd, enum tp_role role, const struct tp_opts *opts,
         struct tp_lane **lane_p)
{
    struct tp_opts with_deadline = *opts;
    const struct tp_scheme *scheme;
    enum gp_status status;

    with_deadline.deadline_ns = tp_opts_deadline(opts);
    status = get_scheme(name, opts, &scheme);
    if (status == GP_OK && !framing_ok(opts))
        status = tp_fail(opts, GP_ERR_INVALID, "transport: no framing given");
    if (status == GP_OK)
        status = tp_socket_prepare(fd, scheme->loopback_only, &with_deadline);
    if (status != GP_OK) {
        close(fd);
        return status;
    }
    return scheme->adopt(fd, role, NULL, &with_deadline, lane_p);
}

struct tp_listener {
    const struct tp_scheme *scheme;
    int fd;
    struct gp_url at;
    char url[GP_URL_TEXT_MAX + 1];
};

/* One that does not listen yet. */
static enum gp_status
listener_create(const char *text, const struct tp_opts *opts, struct tp_listener **listener_p)
{
    struct tp_listener *listener;
    const struct tp_scheme *scheme;
    enum gp_status status;
    struct gp_url url;

    status = get_url(text, opts, &url, &scheme);
    if (status == GP_OK && strcmp(url.scheme, scheme->name) != 0)
        status = tp_fail(opts, GP_ERR_INVALID, "%s: %s:// is for clients: listen on tls://", text,
                         url.scheme);
    if (status != GP_OK)
        return status;
    listener = calloc(1, sizeof(*listener));
    if (listener == NULL)
        return GP_ERR_NO_MEMORY;
    listener->scheme = scheme;
    listener->at = url;
    *listener_p = listener;
    return GP_OK;
}

enum gp_status
tp_listen(const char *text, const struct tp_opts *opts, struct tp_listener **listener_p)
{
    struct tp_listener *listener;
    enum gp_status status = listener_create(text, opts, &listener);

    if (status != GP_OK)
        return status;
    if (listener->at.is_path)
        status = tp_local_listen(&listener->at, opts, &listener->fd);
    else
        status =
            tp_socket_listen(&listener->at, listener->scheme->loopback_only, opts, &listener->fd);
    if (status != GP_OK) {
        free(listener);
        return status;
    }
    gp_url_format(&listener->at, listener->url, sizeof(listener->url));
    *listener_p = listener;
    return GP_OK;
}

/* It listens, and where its scheme says so on loopback only. */
static bool
listens(int fd, bool loopback_only)
{
    struct sockaddr_storage address;
    socklen_t bytes = sizeof(address), size = sizeof(int);
    int on = 0;

    return getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &on, &size) == 0 && on == 1 &&
           getsockname(fd, (struct sockaddr *)&address, &bytes) == 0 &&
           (!loopback_only || tp_socket_is_loopback((struct sockaddr *)&address));
}

enum gp_status
tp_listen_inherited(const char *text, int fd, const struct tp_opts *opts,
                    struct tp_listener **listener_p)
{
    struct tp_listener *listener;
    enum gp_status status = listener_create(text, opts, &listener);

    if (status != GP_OK)
        return status;
    if (!listens(fd, listener->scheme->loopback_only) || fcntl(fd, F_SETFD, FD_CLOEXEC) != 0 ||
        fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK) != 0) {
        free(listener);
        return tp_fail(opts, GP_ERR_INVALID, "%s: descriptor %d does not listen", text, fd);
    }
    listener->fd = fd;
    gp_url_format(&listener->at, listener->url, sizeof(listener->url));
    *listener_p = listener;
    return GP_OK;
}

int
tp_listener_fd(const struct tp_listener *listener)
{
    return listener->fd;
}

const char *
tp_listener_url(const struct tp_listener *listener)
{
    return listener->url;
}

const char *
tp_listener_scheme(const struct tp_listener *listener)
{
    return listener->scheme->name;
}

void
tp_listener_close(struct tp_listener *listener)
{
    if (listener == NULL)
        return;
    close(listener->fd);
    if (listener->at.is_path)
        tp_local_forget(&listener->at);
    free(listener);
}

enum gp_status
tp_accept(struct tp_listener *listener, int *fd_p)
{
    int fd = accept4(listener->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

    if (fd >= 0) {
        *fd_p = fd;
        return GP_OK;
    }
    switch (errno) {
    case EMFILE:
    case ENFILE:
    case ENOBUFS:
    case ENOMEM:
        log_error("%s: accept: %m", listener->url);
        return GP_ERR_LIMIT;
    case EBADF:
    case EINVAL:
    case ENOTSOCK:
    case EFAULT:
        log_error("%s: accept: %m", listener->url);
        return GP_ERR_IO;
    default: /* nobody there, or gone again before we looked; accept(2) lists network errors too */
        return GP_ERR_AGAIN;
    }
}

void
tp_close(struct tp_lane *lane)
{
    if (lane != NULL)
        lane->ops->close(lane);
}

void
tp_abandon(struct tp_lane *lane)
{
    if (lane != NULL)
        lane->ops->abandon(lane);
}

void
tp_shutdown(struct tp_lane *lane)
{
    lane->ops->shutdown(lane);
}

void
tp_wake(struct tp_lane *lane)
{
    lane->ops->wake(lane);
}

enum gp_status
tp_send(struct tp_lane *lane, const struct iovec *iov, int iovcnt)
{
    return tp_send_by(lane, iov, iovcnt, GP_FOREVER);
}

enum gp_status
tp_send_by(struct tp_lane *lane, const struct iovec *iov, int iovcnt, uint64_t deadline_ns)
{
    if (iovcnt < 0)
        return GP_ERR_INVALID;
    return lane->ops->send(lane, iov, iovcnt, deadline_ns);
}

enum gp_status
tp_send_lent(struct tp_lane *lane, const struct iovec *iov, int iovcnt, const struct iovec *lent,
             int lents, uint64_t deadline_ns)
{
    if (iovcnt < 0 || lents < 0)
        return GP_ERR_INVALID;
    if (lane->ops->send_lent == NULL)
        return lane->ops->send(lane, iov, iovcnt, deadline_ns);
    return lane->ops->send_lent(lane, iov, iovcnt, lent, lents, deadline_ns);
}

enum gp_status
tp_settle(struct tp_lane *lane, const void *base, size_t bytes)
{
    return lane->ops->settle != NULL ? lane->ops->settle(lane, base, bytes) : GP_OK;
}

bool
tp_takes_device(struct tp_lane *lane, const void *at, size_t bytes, char *why)
{
    if (lane->ops->takes_device != NULL && bytes > 0)
        return lane->ops->takes_device(lane, at, bytes, why);
    snprintf(why, TP_WHY_BYTES, "%s has no device of its own", tp_scheme(lane));
    return false;
}

enum gp_status
tp_send_direct(struct tp_lane *lane, const struct iovec *iov, int iovcnt,
               const struct tp_direct *direct, uint64_t deadline_ns)
{
    if (iovcnt < 0)
        return GP_ERR_INVALID;
    if (lane->ops->send_direct == NULL)
        return GP_ERR_NOT_SUPPORTED;
    return lane->ops->send_direct(lane, iov, iovcnt, direct, deadline_ns);
}

enum gp_status
tp_recv_direct(struct tp_lane *lane, void *dst, size_t bytes, uint64_t deadline_ns, size_t *got_p,
               size_t *others_p)
{
    *got_p = *others_p = 0;
    if (bytes > lane->payload_left)
        return GP_ERR_INVALID;
    if (lane->ops->recv_direct != NULL)
        return lane->ops->recv_direct(lane, dst, bytes, deadline_ns, got_p, others_p);
    *others_p = bytes;
    return GP_OK;
}

bool
tp_fills(const struct tp_lane *lane)
{
    return lane->ops->fills != NULL && lane->ops->fills(lane);
}

enum gp_status
tp_send_filled(struct tp_lane *lane, const struct iovec *iov, int iovcnt,
               const struct tp_fill *fill, uint64_t deadline_ns)
{
    if (iovcnt < 0)
        return GP_ERR_INVALID;
    if (!tp_fills(lane))
        return GP_ERR_NOT_SUPPORTED;
    return lane->ops->send_filled(lane, iov, iovcnt, fill, deadline_ns);
}

enum gp_status
tp_recv_frame(struct tp_lane *lane, struct tp_frame *frame_p, uint64_t deadline_ns)
{
    return lane->ops->recv_frame(lane, frame_p, UINT32_MAX, deadline_ns);
}

enum gp_status
tp_recv_frame_upto(struct tp_lane *lane, struct tp_frame *frame_p, uint32_t whole_bytes,
                   uint64_t deadline_ns)
{
    return lane->ops->recv_frame(lane, frame_p, whole_bytes, deadline_ns);
}

enum gp_status
tp_recv_header(struct tp_lane *lane, struct tp_frame *frame_p, uint64_t deadline_ns)
{
    return lane->ops->recv_header(lane, frame_p, deadline_ns);
}

const void *
tp_peek_payload(struct tp_lane *lane, size_t most, size_t *bytes_p)
{
    *bytes_p = 0;
    if (lane->ops->peek_payload == NULL)
        return NULL;
    return lane->ops->peek_payload(lane, gp_min_u64(most, lane->payload_left), bytes_p);
}

bool
tp_peeks(const struct tp_lane *lane)
{
    return lane->ops->peek_payload != NULL;
}

void
tp_skip_payload(struct tp_lane *lane, size_t bytes)
{
    lane->ops->skip_payload(lane, bytes);
}

enum gp_status
tp_recv_payload(struct tp_lane *lane, void *dst, size_t bytes, uint64_t deadline_ns, size_t *got_p)
{
    size_t got = 0;
    enum gp_status status;

    if (bytes > lane->payload_left)
        return GP_ERR_INVALID;
    status = lane->ops->recv_payload(lane, dst, bytes, deadline_ns, &got);
    if (got_p != NULL)
        *got_p = got;
    return status;
}

uint32_t
tp_payload_left(const struct tp_lane *lane)
{
    return lane->payload_left;
}

int
tp_event_fd(const struct tp_lane *lane)
{
    return lane->ops->event_fd(lane);
}

bool
tp_pending(const struct tp_lane *lane)
{
    return lane->ops->pending(lane);
}

int
tp_end_fd(const struct tp_lane *lane)
{
    return lane->ops->end_fd != NULL ? lane->ops->end_fd(lane) : lane->ops->event_fd(lane);
}

short
tp_event_mask(const struct tp_lane *lane)
{
    return lane->ops->event_mask != NULL ? lane->ops->event_mask(lane) : POLLIN;
}

uint64_t
tp_received(struct tp_lane *lane)
{
    return lane->ops->received != NULL ? lane->ops->received(lane) : 0;
}

enum gp_status
tp_export_key(struct tp_lane *lane, uint8_t out[TP_KEY_BYTES])
{
    if (lane->ops->export_key != NULL)
        return lane->ops->export_key(lane, out);
    memset(out, 0, TP_KEY_BYTES); /* who can listen on loopback can do anything */
    return GP_OK;
}

void
tp_set_spin(struct tp_lane *lane, uint32_t spin_us)
{
    atomic_store_explicit(&lane->spin_us, spin_us, memory_order_relaxed);
}

void
tp_set_max_payload(struct tp_lane *lane, uint32_t max_payload_bytes)
{
    lane->max_payload_bytes = max_payload_bytes;
}

uint32_t
tp_caps(const struct tp_lane *lane)
{
    return lane->ops->caps;
}

const char *
tp_scheme(const struct tp_lane *lane)
{
    return lane->ops->scheme_now != NULL ? lane->ops->scheme_now(lane) : lane->ops->scheme;
}

const struct tp_peer *
tp_peer(const struct tp_lane *lane)
{
    return &lane->peer;
}

void
tp_stats(const struct tp_lane *lane, struct tp_stats *stats_p)
{
    *stats_p = (struct tp_stats){
        .bytes_sent = atomic_load_explicit(&lane->bytes_sent, memory_order_relaxed),
        .bytes_received = atomic_load_explicit(&lane->bytes_received, memory_order_relaxed),
        .sends = atomic_load_explicit(&lane->sends, memory_order_relaxed),
        .frames_received = atomic_load_explicit(&lane->frames_received, memory_order_relaxed),
        .sleeps = atomic_load_explicit(&lane->sleeps, memory_order_relaxed),
    };
}
