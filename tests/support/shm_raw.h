/* tests/support/shm_raw.h -- a client of shared memory that keeps to no rules */
#ifndef TEST_SHM_RAW_H
#define TEST_SHM_RAW_H

#include "transport/shm/shm.h"

#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

/* What the server gave. */
struct shm_raw {
    int fd, memory_fd, room_fd;
    uint8_t *memory;
};

static inline bool
shm_raw_hello(int fd)
{
    struct tp_shm_hello hello = {.version = TP_SHM_VERSION, .ring_bytes = TP_SHM_RING_BYTES};

    memcpy(hello.magic, TP_SHM_MAGIC, sizeof(hello.magic));
    return send(fd, &hello, sizeof(hello), MSG_NOSIGNAL) == (ssize_t)sizeof(hello);
}

static inline bool
shm_raw_take(int fd, struct shm_raw *raw)
{
    struct tp_shm_hello hello;
    struct iovec iov = {&hello, sizeof(hello)};
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(2 * sizeof(int))];
    } control;
    struct msghdr msg = {.msg_iov = &iov,
                         .msg_iovlen = 1,
                         .msg_control = control.bytes,
                         .msg_controllen = sizeof(control.bytes)};
    int fds[2];

    if (recvmsg(fd, &msg, MSG_CMSG_CLOEXEC) != (ssize_t)sizeof(hello) ||
        msg.msg_controllen < CMSG_LEN(sizeof(fds)))
        return false;
    memcpy(fds, CMSG_DATA(CMSG_FIRSTHDR(&msg)), sizeof(fds));
    *raw = (struct shm_raw){.fd = fd, .memory_fd = fds[0], .room_fd = fds[1]};
    raw->memory =
        mmap(NULL, tp_shm_bytes(TP_SHM_RING_BYTES), PROT_READ | PROT_WRITE, MAP_SHARED, fds[0], 0);
    return raw->memory != MAP_FAILED;
}

static inline void
shm_raw_close(struct shm_raw *raw)
{
    munmap(raw->memory, tp_shm_bytes(TP_SHM_RING_BYTES));
    close(raw->memory_fd);
    close(raw->room_fd);
    close(raw->fd);
}

#endif
