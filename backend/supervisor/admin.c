/* backend/supervisor/admin.c */
#include "backend/supervisor/admin.h"

#include "protocol/base/clock.h"
#include "protocol/base/log.h"
#include "protocol/base/util.h"
#include "protocol/wire/frame.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define SILENCE_NS  (300 * GP_NS_PER_S)
#define READ_BYTES  4096
#define GROUPS_MAX  256
#define LISTEN_ROOM 16
#define NEW_SUFFIX  ".new"

/* -- who may ----------------------------------------------------------------------------------- */

static bool
in_group(int fd, gid_t group)
{
    gid_t groups[GROUPS_MAX];
    socklen_t bytes = sizeof(groups);

    if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &bytes) != 0)
        return false;
    for (size_t i = 0; i < bytes / sizeof(groups[0]); i++)
        if (groups[i] == group)
            return true;
    return false;
}

static bool
is_operator(int fd, char *who, size_t who_bytes)
{
    struct ucred peer;
    socklen_t bytes = sizeof(peer);

    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &bytes) != 0)
        return false;
    snprintf(who, who_bytes, "uid %u, pid %d", (unsigned)peer.uid, (int)peer.pid);
    if (peer.uid == 0 || peer.uid == geteuid() || peer.gid == getegid() || in_group(fd, getegid()))
        return true;
    log_warn("admin: %s is neither root nor of the service's user or group", who);
    return false;
}

/* -- the socket -------------------------------------------------------------------------------- */

/* What a server that was killed has left is removed; a server that is there keeps its socket. */
static bool
path_free(const struct sockaddr_un *address)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool taken = fd >= 0 &&
                 connect(fd, (const struct sockaddr *)(const void *)address, sizeof(*address)) == 0;
    struct stat st;

    if (fd >= 0)
        close(fd);
    if (taken)
        return false;
    if (lstat(address->sun_path, &st) == 0 && S_ISSOCK(st.st_mode))
        unlink(address->sun_path);
    return true;
}

static enum gp_status
socket_open(struct be_admin *admin, const char *path, bool replace)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
    mode_t mask;
    int rc;

    if (strlen(path) + sizeof(NEW_SUFFIX) > sizeof(address.sun_path)) {
        log_error("--admin-socket %s: longer than %zu characters", path,
                  sizeof(address.sun_path) - sizeof(NEW_SUFFIX));
        return GP_ERR_INVALID;
    }
    /* A name of its own first: the old one is replaced at once, and never missing. */
    snprintf(address.sun_path, sizeof(address.sun_path), "%s%s", path, replace ? NEW_SUFFIX : "");
    if (!path_free(&address)) {
        log_error("--admin-socket %s: another server listens there", path);
        return GP_ERR_INVALID;
    }
    admin->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    mask = umask(0117); /* owner and group may connect */
    rc = admin->listen_fd < 0
             ? -1
             : bind(admin->listen_fd, (struct sockaddr *)(void *)&address, sizeof(address));
    umask(mask);
    if (rc != 0 || listen(admin->listen_fd, LISTEN_ROOM) != 0 ||
        (replace && rename(address.sun_path, path) != 0) ||
        epoll_ctl(admin->epoll_fd, EPOLL_CTL_ADD, admin->listen_fd, &event) != 0) {
        log_error("--admin-socket %s: %m", path);
        return GP_ERR_IO;
    }
    snprintf(admin->path, sizeof(admin->path), "%s", path);
    log_info("operators are served at %s", path);
    return GP_OK;
}

enum gp_status
be_admin_open(struct be_admin *admin, const char *path, bool replace)
{
    admin->listen_fd = -1;
    for (int i = 0; i < BE_ADMIN_LINES_MAX; i++)
        admin->lines[i].fd = -1;
    admin->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (admin->epoll_fd < 0) {
        log_error("admin: epoll: %m");
        return GP_ERR_LIMIT;
    }
    return path != NULL ? socket_open(admin, path, replace) : GP_OK;
}

static void
line_end(struct be_admin_line *line)
{
    close(line->fd);
    line->fd = -1;
    gp_buf_fini(&line->in);
    gp_buf_fini(&line->out);
}

void
be_admin_close(struct be_admin *admin, bool keep)
{
    if (admin->epoll_fd < 0)
        return;
    for (int i = 0; i < BE_ADMIN_LINES_MAX; i++)
        if (admin->lines[i].fd >= 0)
            line_end(&admin->lines[i]);
    if (admin->listen_fd >= 0) {
        close(admin->listen_fd);
        if (!keep && admin->path[0] != '\0')
            unlink(admin->path);
    }
    close(admin->epoll_fd);
    admin->epoll_fd = admin->listen_fd = -1;
}

/* -- lines ------------------------------------------------------------------------------------- */

static enum gp_status
line_add(struct be_admin *admin, int fd, const char *who)
{
    struct epoll_event event = {.events = EPOLLIN};

    for (int i = 0; i < BE_ADMIN_LINES_MAX; i++) {
        struct be_admin_line *line = &admin->lines[i];

        if (line->fd >= 0)
            continue;
        event.data.ptr = line;
        if (epoll_ctl(admin->epoll_fd, EPOLL_CTL_ADD, fd, &event) != 0)
            return GP_ERR_LIMIT;
        line->fd = fd;
        line->sent = 0;
        line->until_ns = gp_deadline_after(gp_now_ns(), SILENCE_NS);
        snprintf(line->who, sizeof(line->who), "%s", who);
        gp_buf_init(&line->in, WIRE_FRAME_HEADER_BYTES + WIRE_ADMIN_REQUEST_MAX + READ_BYTES);
        gp_buf_init(&line->out, WIRE_FRAME_HEADER_BYTES + WIRE_ADMIN_ANSWER_MAX);
        return GP_OK;
    }
    return GP_ERR_LIMIT;
}

enum gp_status
be_admin_line_make(struct be_admin *admin, const char *who, int *fd_p)
{
    enum gp_status status;
    int pair[2];

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0)
        return GP_ERR_LIMIT;
    status = line_add(admin, pair[0], who);
    if (status != GP_OK) {
        close(pair[0]);
        close(pair[1]);
        return status;
    }
    *fd_p = pair[1];
    return GP_OK;
}

static bool
send_all(int fd, const void *data, size_t bytes)
{
    const char *at = data;

    while (bytes > 0) {
        ssize_t n = send(fd, at, bytes, MSG_NOSIGNAL);

        if (n <= 0)
            return false;
        at += n;
        bytes -= (size_t)n;
    }
    return true;
}

enum gp_status
be_admin_exchange(int fd, const void *request, size_t request_bytes, uint8_t **answer_p,
                  size_t *answer_bytes_p)
{
    struct wire_frame_header header = {.kind = WIRE_FRAME_HELLO,
                                       .tag = WIRE_CONTROL_ADMIN,
                                       .payload_bytes = (uint32_t)request_bytes};
    GP_AUTO_FREE uint8_t *answer = NULL;
    uint8_t head[WIRE_FRAME_HEADER_BYTES];

    wire_frame_encode(&header, head);
    if (!send_all(fd, head, sizeof(head)) || !send_all(fd, request, request_bytes) ||
        recv(fd, head, sizeof(head), MSG_WAITALL) != (ssize_t)sizeof(head) ||
        wire_frame_decode(head, WIRE_ADMIN_ANSWER_MAX, &header) != GP_OK)
        return GP_ERR_CLOSED;
    answer = malloc(header.payload_bytes + 1);
    if (answer == NULL)
        return GP_ERR_NO_MEMORY;
    if (recv(fd, answer, header.payload_bytes, MSG_WAITALL) != (ssize_t)header.payload_bytes)
        return GP_ERR_CLOSED;
    *answer_p = answer;
    *answer_bytes_p = header.payload_bytes;
    answer = NULL;
    return GP_OK;
}

static void
lines_accept(struct be_admin *admin)
{
    char who[64];
    int fd;

    while ((fd = accept4(admin->listen_fd, NULL, NULL, SOCK_CLOEXEC)) >= 0) {
        if (!is_operator(fd, who, sizeof(who)) || line_add(admin, fd, who) != GP_OK)
            close(fd);
    }
}

/* -- requests and answers ---------------------------------------------------------------------- */

/* False: the line is over. */
static bool
line_send(struct be_admin *admin, struct be_admin_line *line)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = line};

    while (line->sent < line->out.len) {
        ssize_t n = send(line->fd, line->out.data + line->sent, line->out.len - line->sent,
                         MSG_NOSIGNAL | MSG_DONTWAIT);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno != EAGAIN)
            return false;
        if (n < 0)
            break;
        line->sent += (size_t)n;
    }
    if (line->sent < line->out.len) {
        event.events = EPOLLOUT;
    } else {
        gp_buf_reset(&line->out);
        line->sent = 0;
    }
    return epoll_ctl(admin->epoll_fd, EPOLL_CTL_MOD, line->fd, &event) == 0;
}

static bool
answer_put(struct be_admin_line *line, const struct wire_admin_answer *answer)
{
    GP_AUTO_BUF struct gp_buf message = {0};
    struct wire_frame_header header = {.kind = WIRE_FRAME_HELLO, .tag = WIRE_CONTROL_ADMIN};
    uint8_t *to;

    if (wire_admin_answer_encode(answer, &message) != GP_OK)
        return false;
    header.payload_bytes = (uint32_t)message.len;
    to = gp_buf_reserve(&line->out, WIRE_FRAME_HEADER_BYTES);
    if (to == NULL)
        return false;
    wire_frame_encode(&header, to);
    line->out.len += WIRE_FRAME_HEADER_BYTES;
    gp_buf_append(&line->out, message.data, message.len);
    return gp_buf_status(&line->out) == GP_OK;
}

static bool
request_take(struct be_admin *admin, struct be_admin_line *line, const uint8_t *data, size_t bytes)
{
    struct wire_admin_answer answer = {0};
    struct wire_admin_request request;
    bool put;

    if (wire_admin_request_decode(data, bytes, &request) != GP_OK) {
        log_warn("admin: %s: a malformed request", line->who);
        return false;
    }
    admin->answer(admin->user, line->who, &request, &answer);
    wire_admin_request_fini(&request);
    put = answer_put(line, &answer);
    wire_admin_answer_fini(&answer);
    return put;
}

/* At most one answer is under way for each line. */
static bool
line_take(struct be_admin *admin, struct be_admin_line *line)
{
    struct wire_frame_header header;

    if (line->out.len != 0 || line->in.len < WIRE_FRAME_HEADER_BYTES)
        return true;
    if (wire_frame_decode(line->in.data, WIRE_ADMIN_REQUEST_MAX, &header) != GP_OK ||
        header.kind != WIRE_FRAME_HELLO || header.tag != WIRE_CONTROL_ADMIN) {
        log_warn("admin: %s does not speak our language", line->who);
        return false;
    }
    if (line->in.len - WIRE_FRAME_HEADER_BYTES < header.payload_bytes)
        return true;
    if (!request_take(admin, line, line->in.data + WIRE_FRAME_HEADER_BYTES, header.payload_bytes))
        return false;
    gp_buf_consume(&line->in, WIRE_FRAME_HEADER_BYTES + header.payload_bytes);
    return line_send(admin, line);
}

/* Several may have come at once. */
static bool
lines_take(struct be_admin *admin, struct be_admin_line *line)
{
    size_t before;

    do {
        before = line->in.len;
        if (!line_take(admin, line))
            return false;
    } while (line->in.len != before);
    return true;
}

static bool
line_receive(struct be_admin *admin, struct be_admin_line *line)
{
    uint8_t *to = gp_buf_reserve(&line->in, READ_BYTES);
    ssize_t n;

    if (to == NULL) {
        log_warn("admin: %s says more than a request may have", line->who);
        return false;
    }
    n = recv(line->fd, to, READ_BYTES, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return true;
    if (n <= 0)
        return false;
    line->in.len += (size_t)n;
    line->until_ns = gp_deadline_after(gp_now_ns(), SILENCE_NS);
    return lines_take(admin, line);
}

void
be_admin_serve(struct be_admin *admin)
{
    struct epoll_event events[BE_ADMIN_LINES_MAX + 1];
    int count = epoll_wait(admin->epoll_fd, events, BE_ADMIN_LINES_MAX + 1, 0);

    for (int i = 0; i < count; i++) {
        struct be_admin_line *line = events[i].data.ptr;
        bool alive = true;

        if (line == NULL) {
            lines_accept(admin);
            continue;
        }
        if (events[i].events & EPOLLOUT)
            alive = line_send(admin, line) && lines_take(admin, line);
        else
            alive = line_receive(admin, line);
        if (!alive)
            line_end(line);
    }
}

uint64_t
be_admin_expire(struct be_admin *admin, uint64_t now_ns)
{
    uint64_t next = GP_FOREVER;

    for (int i = 0; i < BE_ADMIN_LINES_MAX; i++) {
        struct be_admin_line *line = &admin->lines[i];

        if (line->fd >= 0 && line->until_ns <= now_ns)
            line_end(line);
        else if (line->fd >= 0)
            next = gp_min_u64(next, line->until_ns);
    }
    return next;
}
