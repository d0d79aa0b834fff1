/* transport/socket.c */
#include "transport/socket.h"

#include "protocol/base/log.h"
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
#define PAGE_BYTES          4096u
/* Of connections within the machine, unless told otherwise: there is nobody to share the line with,
 * and what paces (bbr) only leaves it idle meanwhile. Every kernel has it, for everybody. */
#define LOCAL_CONGESTION "reno"

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
congestion_set(int fd, const struct sockaddr *peer, const struct tp_opts *opts)
{
    const char *name = opts->congestion;

    if (peer->sa_family == AF_UNIX || (name == NULL && !tp_socket_is_loopback(peer)))
        return GP_OK;
    if (name == NULL)
        name = LOCAL_CONGESTION;
    if (setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, name, (socklen_t)strlen(name)) != 0 &&
        opts->congestion != NULL)
        return tp_fail(opts, GP_ERR_INVALID, "congestion control \"%s\": %s", name,
                       strerror(errno));
    return GP_OK;
}

static enum gp_status
tune(int fd, const struct sockaddr *peer, const struct tp_opts *opts)
{
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
    return congestion_set(fd, peer, opts);
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
    return tune(fd, (struct sockaddr *)&addr, opts);
}

/* -- connecting -----------------------------------------------------------------------------------
 */

#define RACERS_MAX 8
/* An address that says nothing for so long has company from the next one (RFC 8305). */
#define HEAD_START_NS (250 * GP_NS_PER_MS)

/* Connects on their way, to several addresses of one name. */
struct race {
    const struct tp_opts *opts;
    const struct addrinfo *next; /* whom to try next */
    uint64_t next_ns;            /* and when, at the latest once nobody is on his way */
    unsigned count;
    struct pollfd polls[RACERS_MAX];
    const struct addrinfo *who[RACERS_MAX];
    int error; /* of who failed last */
    const struct addrinfo *failed;
};

static void
race_failed(struct race *race, const struct addrinfo *ai, int error)
{
    race->error = error;
    race->failed = ai;
    race->next_ns = 0; /* no reason to wait any longer */
}

/* One more; GP_OK if it is there already. */
static enum gp_status
race_start(struct race *race, int *fd_p)
{
    const struct addrinfo *ai = race->next;
    int fd = socket(ai->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int error = fd < 0 ? errno : 0;

    race->next = ai->ai_next;
    race->next_ns = gp_deadline_after(gp_now_ns(), HEAD_START_NS);
    if (error == 0 &&
        tune(fd, ai->ai_addr, race->opts) != GP_OK) /* before the window's scale is fixed */
        error = EINVAL;
    if (error == 0 && connect(fd, ai->ai_addr, ai->ai_addrlen) != 0)
        error = errno;
    if (error == 0) {
        *fd_p = fd;
        return GP_OK;
    }
    if (error == EINPROGRESS || error == EINTR) {
        race->polls[race->count] = (struct pollfd){.fd = fd, .events = POLLOUT};
        race->who[race->count++] = ai;
        return GP_ERR_AGAIN;
    }
    if (fd >= 0)
        close(fd);
    race_failed(race, ai, error);
    return GP_ERR_AGAIN;
}

/* Who has arrived; those who failed are out. */
static enum gp_status
race_look(struct race *race, int *fd_p)
{
    unsigned kept = 0;

    *fd_p = -1;
    for (unsigned i = 0; i < race->count; i++) {
        socklen_t len = sizeof(int);
        int error = 0, fd = race->polls[i].fd;

        if (race->polls[i].revents == 0 || *fd_p >= 0) {
            race->who[kept] = race->who[i];
            race->polls[kept++] = race->polls[i];
            continue;
        }
        if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) != 0)
            error = errno;
        if (error == 0) {
            *fd_p = fd;
            continue;
        }
        race_failed(race, race->who[i], error);
        close(fd);
    }
    race->count = kept;
    return *fd_p >= 0 ? GP_OK : GP_ERR_AGAIN;
}

enum gp_status
tp_socket_race(const struct addrinfo *list, const struct tp_opts *opts, int *fd_p, int *error_p,
               const struct addrinfo **failed_p)
{
    struct race race = {.opts = opts, .next = list, .error = ETIMEDOUT, .failed = list};
    enum gp_status status = GP_ERR_AGAIN;

    while (status == GP_ERR_AGAIN) {
        uint64_t now = gp_now_ns(), until = opts->deadline_ns;

        if (race.next != NULL && race.count < RACERS_MAX &&
            (race.count == 0 || now >= race.next_ns)) {
            status = race_start(&race, fd_p);
            continue;
        }
        if (race.count == 0)
            break; /* everybody has failed */
        if (now >= opts->deadline_ns) {
            race_failed(&race, race.who[0], ETIMEDOUT);
            break;
        }
        if (race.next != NULL && race.count < RACERS_MAX)
            until = gp_min_u64(until, race.next_ns);
        if (poll(race.polls, race.count, gp_deadline_poll_ms(now, until)) > 0)
            status = race_look(&race, fd_p);
    }
    for (unsigned i = 0; i < race.count; i++)
        close(race.polls[i].fd);
    *error_p = race.error;
    *failed_p = race.failed;
    return status == GP_OK ? GP_OK : GP_ERR_IO;
}

/* By turns of the two families, each in its own order: one that leads nowhere holds up no other. */
static void
take_turns(struct addrinfo **list)
{
    for (struct addrinfo **at = list; *at != NULL && (*at)->ai_next != NULL; at = &(*at)->ai_next) {
        struct addrinfo **other = &(*at)->ai_next, *found;

        while (*other != NULL && (*other)->ai_family == (*at)->ai_family)
            other = &(*other)->ai_next;
        found = *other;
        if (found == NULL)
            return;
        *other = found->ai_next;
        found->ai_next = (*at)->ai_next;
        (*at)->ai_next = found;
    }
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
    const struct addrinfo *ai, *failed;
    struct tp_addresses found;
    enum gp_status status;
    int error;

    status = tp_resolve(url, false, opts, &found);
    if (status != GP_OK)
        return status;
    gp_url_format(url, text, sizeof(text));
    for (ai = found.list; ai != NULL && loopback_only; ai = ai->ai_next) {
        if (tp_socket_is_loopback(ai->ai_addr))
            continue;
        tp_socket_address_text(ai->ai_addr, ai->ai_addrlen, address, sizeof(address));
        status = tp_fail(opts, GP_ERR_INVALID,
                         "%s: %s is not loopback, tcp:// is for loopback only: use tls://", text,
                         address);
        goto out;
    }
    take_turns(&found.list);
    status = tp_socket_race(found.list, opts, fd_p, &error, &failed);
    if (status != GP_OK) {
        tp_socket_address_text(failed->ai_addr, failed->ai_addrlen, address, sizeof(address));
        status = say_unreachable(url, opts, error, address);
    }
out:
    tp_addresses_free(&found);
    return status;
}

/* -- listening ------------------------------------------------------------------------------------
 */

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

/* Memory of the program's that is none: it shall fail as it would in a copy, not end the line. */
static void
touch(const struct iovec *iov, int iovcnt)
{
    for (int i = 0; i < iovcnt; i++)
        for (size_t at = 0; at < iov[i].iov_len; at += PAGE_BYTES)
            (void)((const volatile char *)iov[i].iov_base)[at];
    errno = EFAULT;
}

enum gp_status
tp_socket_send(int fd, const struct iovec *iov, int iovcnt, const char *who, size_t *put_p)
{
    struct msghdr msg = {.msg_iov = (struct iovec *)(uintptr_t)iov, .msg_iovlen = (size_t)iovcnt};
    ssize_t put = sendmsg(fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);

    if (put < 0 && errno == EFAULT)
        touch(iov, iovcnt);
    if (put < 0 && (errno == EAGAIN || errno == EINTR))
        return GP_ERR_AGAIN;
    if (put < 0) {
        log_info("lane %s: send: %m", who);
        return GP_ERR_IO;
    }
    *put_p = (size_t)put;
    return GP_OK;
}

bool
tp_congestion_known(const char *name)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), error = 0;

    if (fd < 0)
        return true; /* whoever connects will see */
    if (setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, name, (socklen_t)strlen(name)) != 0)
        error = errno;
    close(fd);
    errno = error;
    return error == 0;
}
