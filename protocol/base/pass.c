/* protocol/base/pass.c */
#include "protocol/base/pass.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

union control {
    struct cmsghdr align;
    char bytes[CMSG_SPACE(sizeof(int))];
};

enum gp_status
gp_pass_send(int socket, const void *message, size_t bytes, int fd)
{
    struct iovec iov = {(void *)(uintptr_t)message, bytes};
    union control control;
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
    struct cmsghdr *header;

    if (fd >= 0) {
        memset(&control, 0, sizeof(control));
        msg.msg_control = control.bytes;
        msg.msg_controllen = sizeof(control.bytes);
        header = CMSG_FIRSTHDR(&msg);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(sizeof(fd));
        memcpy(CMSG_DATA(header), &fd, sizeof(fd));
    }
    return sendmsg(socket, &msg, MSG_NOSIGNAL | MSG_DONTWAIT) == (ssize_t)bytes ? GP_OK : GP_ERR_IO;
}

enum gp_status
gp_pass_receive(int socket, void *message, size_t bytes, int flags, int *fd_p)
{
    struct iovec iov = {message, bytes};
    union control control;
    struct msghdr msg = {.msg_iov = &iov,
                         .msg_iovlen = 1,
                         .msg_control = control.bytes,
                         .msg_controllen = sizeof(control.bytes)};
    struct cmsghdr *header;
    int fd = -1;
    ssize_t n;

    do
        n = recvmsg(socket, &msg, MSG_CMSG_CLOEXEC | flags);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return errno == EAGAIN ? GP_ERR_AGAIN : GP_ERR_CLOSED;
    header = CMSG_FIRSTHDR(&msg);
    if (n > 0 && header != NULL && header->cmsg_level == SOL_SOCKET &&
        header->cmsg_type == SCM_RIGHTS && header->cmsg_len == CMSG_LEN(sizeof(int)))
        memcpy(&fd, CMSG_DATA(header), sizeof(fd));
    if (n != (ssize_t)bytes) {
        if (fd >= 0)
            close(fd);
        return n == 0 ? GP_ERR_CLOSED : GP_ERR_PROTOCOL;
    }
    *fd_p = fd;
    return GP_OK;
}
