/* transport/local.c */
#include "transport/local.h"

#include "protocol/base/clock.h"
#include "protocol/base/log.h"
#include "protocol/base/util.h"
#include "transport/lane.h"

#include <errno.h>
#include <poll.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#define BACKLOG 1024
/* A full backlog says EAGAIN and cannot be waited for. */
#define PAUSE_MS 5
/* How often we look whether somebody else listens at a path that we leave. */
#define FORGET_LOOKS 60

static socklen_t
address_make(const struct gp_url *url, struct sockaddr_un *addr)
{
    size_t n = strlen(url->host);

    *addr = (struct sockaddr_un){.sun_family = AF_UNIX};
    memcpy(addr->sun_path, url->host, n); /* at most GP_URL_PATH_MAX */
    if (url->host[0] != '@')
        return (socklen_t)sizeof(*addr);
    addr->sun_path[0] = '\0';
    return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n);
}

static int
socket_make(void)
{
    return socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
}

/* 0 or an errno. */
static int
connect_by(int fd, const struct sockaddr_un *addr, socklen_t len, uint64_t deadline_ns)
{
    while (connect(fd, (const struct sockaddr *)addr, len) != 0) {
        if (errno != EAGAIN && errno != EINTR)
            return errno;
        if (gp_now_ns() >= deadline_ns)
            return ETIMEDOUT;
        (void)poll(NULL, 0, PAUSE_MS);
    }
    return 0;
}

enum gp_status
tp_local_connect(const struct gp_url *url, const struct tp_opts *opts, int *fd_p)
{
    struct sockaddr_un addr;
    socklen_t len = address_make(url, &addr);
    int fd = socket_make(), error;

    if (fd < 0)
        return tp_fail(opts, GP_ERR_LIMIT, "%s: socket: %s", url->host, strerror(errno));
    error = connect_by(fd, &addr, len, opts->deadline_ns);
    if (error == 0) {
        *fd_p = fd;
        return GP_OK;
    }
    close(fd);
    if (error == ECONNREFUSED || error == ENOENT)
        return tp_fail(opts, GP_ERR_REFUSED,
                       "%s://%s: nobody listens there: start gpupoold or correct the path",
                       url->scheme, url->host);
    return tp_fail(opts, error == ETIMEDOUT ? GP_ERR_TIMEOUT : GP_ERR_IO, "%s://%s: connect: %s",
                   url->scheme, url->host, strerror(error));
}

/* Nobody answers there any more. */
static bool
is_left_behind(const struct sockaddr_un *addr, socklen_t len)
{
    struct stat st;
    GP_AUTO_CLOSE int fd = socket_make();

    return fd >= 0 && lstat(addr->sun_path, &st) == 0 && S_ISSOCK(st.st_mode) &&
           connect(fd, (const struct sockaddr *)addr, len) != 0 && errno == ECONNREFUSED;
}

enum gp_status
tp_local_listen(const struct gp_url *url, const struct tp_opts *opts, int *fd_p)
{
    struct sockaddr_un addr;
    socklen_t len = address_make(url, &addr);
    bool has_file = url->host[0] != '@';
    int fd = socket_make(), error = 0;

    if (fd < 0)
        return tp_fail(opts, GP_ERR_LIMIT, "%s: socket: %s", url->host, strerror(errno));
    if (bind(fd, (const struct sockaddr *)&addr, len) != 0) {
        error = errno;
        if (error == EADDRINUSE && has_file && is_left_behind(&addr, len) &&
            unlink(addr.sun_path) == 0)
            error = bind(fd, (const struct sockaddr *)&addr, len) == 0 ? 0 : errno;
    }
    if (error == 0 && ((has_file && chmod(addr.sun_path, 0666) != 0) || listen(fd, BACKLOG) != 0))
        error = errno;
    if (error != 0) {
        close(fd);
        return tp_fail(opts, GP_ERR_IO, "listen on %s://%s: %s", url->scheme, url->host,
                       strerror(error));
    }
    *fd_p = fd;
    return GP_OK;
}

void
tp_local_forget(const struct gp_url *url)
{
    struct sockaddr_un addr;
    socklen_t len = address_make(url, &addr);

    if (url->host[0] == '@')
        return;
    /* A child between fork and exec has the socket for a moment too. */
    for (int i = 0; i < FORGET_LOOKS; i++) {
        if (is_left_behind(&addr, len)) {
            if (unlink(url->host) != 0)
                log_debug("%s: %m", url->host);
            return;
        }
        (void)poll(NULL, 0, PAUSE_MS);
    }
}

void
tp_local_peer(int fd, struct tp_peer *peer)
{
    socklen_t len = sizeof(struct ucred);
    struct ucred who;
    gid_t groups[TP_GROUPS_MAX];

    snprintf(peer->address, sizeof(peer->address), "unix");
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &len) != 0)
        return;
    peer->has_ids = true;
    peer->pid = (uint32_t)who.pid;
    peer->uid = who.uid;
    peer->gids[peer->gid_count++] = who.gid;
    snprintf(peer->address, sizeof(peer->address), "pid %d of uid %u", (int)who.pid,
             (unsigned)who.uid);
    len = sizeof(groups);
    /* More than that are not listed at all: then only the first one counts. */
    if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &len) != 0)
        return;
    for (size_t i = 0; i < len / sizeof(gid_t) && peer->gid_count < TP_GROUPS_MAX; i++)
        peer->gids[peer->gid_count++] = groups[i];
}
