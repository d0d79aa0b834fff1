/* backend/supervisor/handoff.c */
#include "backend/supervisor/handoff.h"

#include "protocol/base/log.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

union be_control {
    struct cmsghdr align;
    char bytes[CMSG_SPACE(sizeof(int))];
};

enum gp_status
be_handoff_send(int socket, const struct be_handoff *what, int fd)
{
    struct iovec iov = {(void *)(uintptr_t)what, sizeof(*what)};
    union be_control control;
    struct msghdr message = {.msg_iov = &iov,
                             .msg_iovlen = 1,
                             .msg_control = control.bytes,
                             .msg_controllen = sizeof(control.bytes)};
    struct cmsghdr *header;

    memset(&control, 0, sizeof(control));
    header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(fd));
    memcpy(CMSG_DATA(header), &fd, sizeof(fd));
    if (sendmsg(socket, &message, MSG_NOSIGNAL | MSG_DONTWAIT) != (ssize_t)sizeof(*what))
        return GP_ERR_IO;
    return GP_OK;
}

enum gp_status
be_handoff_receive(int socket, struct be_handoff *what_p, int *fd_p)
{
    struct be_handoff what;
    struct iovec iov = {&what, sizeof(what)};
    union be_control control;
    struct msghdr message = {.msg_iov = &iov,
                             .msg_iovlen = 1,
                             .msg_control = control.bytes,
                             .msg_controllen = sizeof(control.bytes)};
    struct cmsghdr *header;
    ssize_t n;

    do
        n = recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
    while (n < 0 && errno == EINTR);
    if (n == 0 || (n < 0 && errno == ECONNRESET))
        return GP_ERR_CLOSED;
    header = n > 0 ? CMSG_FIRSTHDR(&message) : NULL;
    if (n != (ssize_t)sizeof(what) || header == NULL || header->cmsg_level != SOL_SOCKET ||
        header->cmsg_type != SCM_RIGHTS || header->cmsg_len != CMSG_LEN(sizeof(int))) {
        log_error("worker: no connection in the supervisor's message: %m");
        return GP_ERR_IO;
    }
    memcpy(fd_p, CMSG_DATA(header), sizeof(*fd_p));
    what.scheme[sizeof(what.scheme) - 1] = 0;
    for (int i = 0; i < BE_LANES_MAX; i++)
        what.lanes[i][sizeof(what.lanes[i]) - 1] = 0;
    *what_p = what;
    return GP_OK;
}

void
be_handoff_tell(int socket, const struct be_word *word)
{
    (void)!send(socket, word, sizeof(*word), MSG_NOSIGNAL | MSG_DONTWAIT);
}

enum gp_status
be_handoff_hear(int socket, struct be_word *word_p)
{
    struct be_word word;
    ssize_t n = recv(socket, &word, sizeof(word), MSG_DONTWAIT);

    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return GP_ERR_AGAIN;
    if (n != (ssize_t)sizeof(word) || word.state > BE_WORKER_ADMIN)
        return GP_ERR_CLOSED;
    *word_p = word;
    return GP_OK;
}
