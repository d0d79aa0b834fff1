/* transport/socket.c */
#include "transport/socket.h"

#include "transport/lane.h"
#include "transport/resolve.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

#define BACKLOG             1024
#define KEEPALIVE_DEFAULT_S 30
#define KEEPALIVE_EVERY_S   10
#define KEEPALIVE_PROBES    4

bool
tp_socket_is_loopback(const struct sockaddr *addr)
{
    if (addr->sa_family == AF_INET) {
        const struct sockaddr_in *in = (const struct sockaddr_in *)(const void *)addr;

        return ntohl(in->sin_addr.s_addr) >> 24 == 127;
    }
    if (addr->sa_family == AF_INET6) {
        const struct in6_addr *in6 = &((const struct sockaddr_in6 *)(const void *)addr)->sin6_addr;

        return IN6_IS_ADDR_LOOPBACK(in6) || (IN6_IS_ADDR_V4MAPPED(in6) && in6->s6_addr[12] == 127);
    }
    return addr->sa_family == AF_UNIX; /* socketpair(2), where a test or a launcher made one */
}

void
tp_socket_address_text(const struct sockaddr *addr, socklen_t len, char *out, size_t out_bytes)
{
    char host[NI_MAXHOST], port[NI_MAXSERV];

    if (addr->sa_family == AF_UNIX)
        snprintf(out, out_bytes, "unix");
    else if (getnameinfo(addr, len, host, sizeof(host), port, sizeof(port),
                         NI_NUMERICHOST | NI_NUMERICSERV) != 0)
        snprintf(out, out_bytes, "?");
    else
        snprintf(out, out_bytes, strchr(host, ':') != NULL ? "[%.64s]:%s" : "%.64s:%s", host, port);
}

void
tp_socket_peer_text(int fd, char *out, size_t out_bytes)
{
    struct sockaddr_storage addr = {0};
    socklen_t len = sizeof(addr);

    if (getpeername(fd, (struct sockaddr *)&addr, &len) != 0)
        addr.ss_family = AF_UNSPEC;
    tp_socket_address_text((struct sockaddr *)&addr, len, out, out_bytes);
}

static void
set_int(int fd, int level, int option, int value)
{
    /* A unix socket has no TCP options; a lane works without any of them, only less well. */
    (void)setsockopt(fd, level, option, &value, sizeof(value));
}

static enum gp_status
tune(int fd, const struct tp_opts *opts)
{
    struct sockaddr_storage own = {0};
    socklen_t len = sizeof(own);
    uint32_t idle = opts->keepalive_s != 0 ? opts->keepalive_s : KEEPALIVE_DEFAULT_S;

    set_int(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    set_int(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
    set_int(fd, IPPROTO_TCP, TCP_KEEPIDLE, (int)idle);
    set_int(fd, IPPROTO_TCP, TCP_KEEPINTVL, KEEPALIVE_EVERY_S);
    set_int(fd, IPPROTO_TCP, TCP_KEEPCNT, KEEPALIVE_PROBES);
    if (opts->send_buffer_bytes != 0)
        set_int(fd, SOL_SOCKET, SO_SNDBUF, (int)opts->send_buffer_bytes);
    if (opts->recv_buffer_bytes != 0)
        set_int(fd, SOL_SOCKET, SO_RCVBUF, (int)opts->recv_buffer_bytes);
    if (getsockname(fd, (struct sockaddr *)&own, &len) == 0 && own.ss_family == AF_UNIX)
        return GP_OK; /* nothing to be congested */
    if (opts->congestion != NULL && setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, opts->congestion,
                                               (socklen_t)strlen(opts->congestion)) != 0)
        return tp_fail(opts, GP_ERR_INVALID, "congestion control \"%s\": %s", opts->congestion,
                       strerror(errno));
    return GP_OK;
}

enum gp_status
tp_socket_prepare(int fd, bool loopback_only, const struct tp_opts *opts)
{
    struct sockaddr_storage addr = {0};
    socklen_t len = sizeof(addr);
    char text[TP_ADDRESS_MAX + 1];
    int flags = fcntl(fd, F_GETFL);

    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0 ||
        fcntl(fd, F_SETFD, FD_CLOEXEC) != 0 || getpeername(fd, (struct sockaddr *)&addr, &len) != 0)
        return tp_fail(opts, GP_ERR_IO, "connection is gone: %s", strerror(errno));
    if (loopback_only && !tp_socket_is_loopback((struct sockaddr *)&addr)) {
        tp_socket_address_text((struct sockaddr *)&addr, len, text, sizeof(text));
        return tp_fail(opts, GP_ERR_INVALID,
                       "connection from %s refused: tcp:// is for loopback only, use tls://", text);
    }
    return tune(fd, opts);
}

/* Wait for a connect in progress; 0 or an errno. */
static int
await_connect(int fd, uint64_t deadline_ns)
{
    struct pollfd p = {.fd = fd, .events = POLLOUT};
    socklen_t len = sizeof(int);
    int error = 0, rc;

    do
        rc = poll(&p, 1, gp_deadline_poll_ms(gp_now_ns(), deadline_ns));
    while (rc < 0 && errno == EINTR);
    if (rc == 0)
        return ETIMEDOUT;
    if (rc < 0 || getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) != 0)
        return errno;
    return error;
}

/* Connect to one address; 0 or an errno. */
static int
try_address(const struct addrinfo *ai, const struct tp_opts *opts, uint64_t deadline_ns, int *fd_p)
{
    int fd = socket(ai->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int error = 0;

    if (fd < 0)
        return errno;
    if (tune(fd, opts) != GP_OK) /* before the handshake, which fixes the window's scale */
        error = EINVAL;
    else if (connect(fd, ai->ai_addr, ai->ai_addrlen) != 0)
        error = errno == EINPROGRESS || errno == EINTR ? await_connect(fd, deadline_ns) : errno;
    if (error != 0) {
        close(fd);
        return error;
    }
    *fd_p = fd;
    return 0;
}

static unsigned
count_addresses(const struct addrinfo *ai)
{
    unsigned n = 0;

    for (; ai != NULL; ai = ai->ai_next)
        n++;
    return n;
}

static enum gp_status
say_unreachable(const struct gp_url *url, const struct tp_opts *opts, int error,
                const char *address)
{
    char text[GP_URL_TEXT_MAX + 1];

    gp_url_format(url, text, sizeof(text));
    if (error == ECONNREFUSED)
        return tp_fail(opts, GP_ERR_REFUSED,
                       "%s: nobody listens at %s: start gpupoold there or correct the address",
                       text, address);
    if (error == ETIMEDOUT)
        return tp_fail(opts, GP_ERR_TIMEOUT,
                       "%s: %s does not answer: check the address, the network and firewalls", text,
                       address);
    return tp_fail(opts, GP_ERR_IO, "%s: connect to %s: %s", text, address, strerror(error));
}

enum gp_status
tp_socket_connect(const struct gp_url *url, bool loopback_only, const struct tp_opts *opts,
                  int *fd_p)
{
    char address[TP_ADDRESS_MAX + 1] = "?", text[GP_URL_TEXT_MAX + 1];
    struct tp_addresses found;
    const struct addrinfo *ai;
    enum gp_status status;
    unsigned left;
    int error = ETIMEDOUT;

    status = tp_resolve(url, false, opts, &found);
    if (status != GP_OK)
        return status;
    gp_url_format(url, text, sizeof(text));
    left = count_addresses(found.list);
    for (ai = found.list; ai != NULL; ai = ai->ai_next, left--) {
        uint64_t now = gp_now_ns();
        uint64_t share = opts->deadline_ns > now ? (opts->deadline_ns - now) / left : 0;

        tp_socket_address_text(ai->ai_addr, ai->ai_addrlen, address, sizeof(address));
        if (loopback_only && !tp_socket_is_loopback(ai->ai_addr)) {
            status = tp_fail(opts, GP_ERR_INVALID,
                             "%s: %s is not loopback, tcp:// is for loopback only: use tls://",
                             text, address);
            goto out;
        }
        /* An address that swallows packets must not eat the time of those after it. */
        error = try_address(ai, opts, gp_deadline_after(now, share), fd_p);
        if (error == 0)
            goto out;
    }
    status = say_unreachable(url, opts, error, address);
out:
    tp_addresses_free(&found);
    return status;
}

static int
bind_address(const struct addrinfo *ai, bool both_families, const struct tp_opts *opts, int *fd_p)
{
    int fd = socket(ai->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int error = 0;

    if (fd < 0)
        return errno;
    set_int(fd, SOL_SOCKET, SO_REUSEADDR, 1);
    if (ai->ai_family == AF_INET6)
        set_int(fd, IPPROTO_IPV6, IPV6_V6ONLY, !both_families);
    if (opts->recv_buffer_bytes != 0) /* accepted sockets inherit it, in time for the window */
        set_int(fd, SOL_SOCKET, SO_RCVBUF, (int)opts->recv_buffer_bytes);
    if (bind(fd, ai->ai_addr, ai->ai_addrlen) != 0 || listen(fd, BACKLOG) != 0) {
        error = errno;
        close(fd);
        return error;
    }
    *fd_p = fd;
    return 0;
}

static uint16_t
bound_port(int fd)
{
    union {
        struct sockaddr_storage any;
        struct sockaddr_in in;
        struct sockaddr_in6 in6;
    } addr = {0};
    socklen_t len = sizeof(addr);

    if (getsockname(fd, (struct sockaddr *)&addr, &len) != 0)
        return 0;
    return ntohs(addr.any.ss_family == AF_INET6 ? addr.in6.sin6_port : addr.in.sin_port);
}

enum gp_status
tp_socket_listen(struct gp_url *url, bool loopback_only, const struct tp_opts *opts, int *fd_p)
{
    char text[GP_URL_TEXT_MAX + 1];
    struct tp_opts with_deadline = *opts;
    struct tp_addresses found;
    const struct addrinfo *ai;
    enum gp_status status;
    int error = EADDRNOTAVAIL;

    with_deadline.deadline_ns = tp_opts_deadline(opts);
    status = tp_resolve(url, true, &with_deadline, &found);
    if (status != GP_OK)
        return status;
    gp_url_format(url, text, sizeof(text));
    for (ai = found.list; ai != NULL && error != 0; ai = ai->ai_next) {
        if (loopback_only && !tp_socket_is_loopback(ai->ai_addr)) {
            status = tp_fail(opts, GP_ERR_INVALID,
                             "%s: tcp:// listens on loopback only: use 127.0.0.1, or tls://", text);
            goto out;
        }
        error = bind_address(ai, strcmp(url->host, "*") == 0, opts, fd_p);
    }
    if (error == EAFNOSUPPORT && strcmp(url->host, "*") == 0) { /* a host without IPv6 */
        struct gp_url v4 = *url;

        snprintf(v4.host, sizeof(v4.host), "0.0.0.0");
        status = tp_socket_listen(&v4, loopback_only, opts, fd_p);
        url->port = v4.port;
        goto out;
    }
    if (error != 0)
        status = tp_fail(opts, GP_ERR_IO, "listen on %s: %s", text, strerror(error));
    else
        url->port = bound_port(*fd_p);
out:
    tp_addresses_free(&found);
    return status;
}
