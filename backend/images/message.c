/* backend/images/message.c */
#include "backend/images/message.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

union be_control {
    struct cmsghdr align;
    char bytes[CMSG_SPACE(sizeof(int))];
};

enum gp_status
be_image_send(int socket, const struct be_image_message *message, int fd)
{
    struct iovec iov = {(void *)(uintptr_t)message, sizeof(*message)};
    union be_control control;
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
    return sendmsg(socket, &msg, MSG_NOSIGNAL | MSG_DONTWAIT) == (ssize_t)sizeof(*message)
               ? GP_OK
               : GP_ERR_IO;
}

enum gp_status
be_image_receive(int socket, struct be_image_message *message_p, int *fd_p, int flags)
{
    struct be_image_message message;
    struct iovec iov = {&message, sizeof(message)};
    union be_control control;
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
    if (n != (ssize_t)sizeof(message)) {
        if (fd >= 0)
            close(fd);
        return n == 0 ? GP_ERR_CLOSED : GP_ERR_PROTOCOL;
    }
    *message_p = message;
    *fd_p = fd;
    return GP_OK;
}
