/* transport/shm/meet.c
 *
 * The server makes all that is shared, so it never has a descriptor of a client's making: its
 * memory cannot be cut under it, and no call on a socket of its own can be made to wait.
 */
#include "transport/shm/meet.h"

#include "protocol/base/clock.h"
#include "protocol/base/log.h"
#include "protocol/base/util.h"
#include "transport/lane.h"
#include "transport/shm/shm.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>

#define SEALS (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)

/* All but the caller's socket. */
static void
give_back(const struct tp_shm_meeting *m)
{
    if (m->memory != NULL)
        munmap(m->memory, tp_shm_bytes(m->ring_bytes));
    close(m->room_fd);
}

void
tp_shm_part(struct tp_shm_meeting *m)
{
    give_back(m);
    close(m->fd);
}

static enum gp_status
map(int memory_fd, struct tp_shm_meeting *m)
{
    void *memory =
        mmap(NULL, tp_shm_bytes(m->ring_bytes), PROT_READ | PROT_WRITE, MAP_SHARED, memory_fd, 0);

    if (memory == MAP_FAILED)
        return GP_ERR_NO_MEMORY;
    m->memory = memory;
    return GP_OK;
}

/* Wait until the socket has something; what else may be wrong, the receive says. */
static enum gp_status
await(int fd, const struct tp_opts *opts)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    int rc;

    do
        rc = poll(&p, 1, gp_deadline_poll_ms(gp_now_ns(), opts->deadline_ns));
    while (rc < 0 && errno == EINTR);
    if (rc == 0)
        return tp_fail(opts, GP_ERR_TIMEOUT, "shm: the other end says nothing");
    return rc > 0 ? GP_OK : GP_ERR_IO;
}

static struct tp_shm_hello
hello_make(void)
{
    struct tp_shm_hello hello = {.version = TP_SHM_VERSION, .ring_bytes = TP_SHM_RING_BYTES};

    memcpy(hello.magic, TP_SHM_MAGIC, sizeof(hello.magic));
    return hello;
}

static enum gp_status
hello_check(const struct tp_shm_hello *hello, ssize_t bytes, const struct tp_opts *opts)
{
    if (bytes < 0)
        return tp_fail(opts, GP_ERR_IO, "shm: %s", strerror(errno));
    if (bytes == 0)
        return tp_fail(opts, GP_ERR_IO, "shm: the other end hung up: see its log");
    if (bytes != (ssize_t)sizeof(*hello) ||
        memcmp(hello->magic, TP_SHM_MAGIC, sizeof(hello->magic)) != 0)
        return tp_fail(opts, GP_ERR_PROTOCOL, "shm: the other end does not speak this protocol");
    if (hello->version != TP_SHM_VERSION)
        return tp_fail(opts, GP_ERR_VERSION, "shm: the other end speaks version %u, this one %d",
                       hello->version, TP_SHM_VERSION);
    return GP_OK;
}

/* -- the server -----------------------------------------------------------------------------------
 */

/* Memory that nobody can make shorter, with both rings empty and both readers asleep. */
static enum gp_status
memory_make(const struct tp_opts *opts, struct tp_shm_meeting *m, int *fd_p)
{
    int fd = memfd_create("gpupool-lane", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    struct tp_shm_head *head;
    enum gp_status status;

    if (fd < 0)
        return tp_fail(opts, GP_ERR_LIMIT, "shm: memory: %s", strerror(errno));
    if (ftruncate(fd, (off_t)tp_shm_bytes(m->ring_bytes)) != 0 ||
        fcntl(fd, F_ADD_SEALS, SEALS) != 0) {
        status = tp_fail(opts, GP_ERR_NOT_SUPPORTED, "shm: sealed memory: %s", strerror(errno));
        close(fd);
        return status;
    }
    status = map(fd, m);
    if (status != GP_OK) {
        close(fd);
        return status;
    }
    head = (struct tp_shm_head *)m->memory;
    atomic_store(&head->to_server.want_data, 1);
    atomic_store(&head->to_client.want_data, 1);
    *fd_p = fd;
    return GP_OK;
}

static enum gp_status
answer(int fd, int memory_fd, int room_fd, const struct tp_opts *opts)
{
    struct tp_shm_hello hello = hello_make();
    struct iovec iov = {&hello, sizeof(hello)};
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(2 * sizeof(int))];
    } control = {0};
    struct msghdr msg = {.msg_iov = &iov,
                         .msg_iovlen = 1,
                         .msg_control = control.bytes,
                         .msg_controllen = sizeof(control.bytes)};
    const int fds[2] = {memory_fd, room_fd};
    struct cmsghdr *cmsg = CMSG_FIRSTHDR(&msg);

    cmsg->cmsg_level = SOL_SOCKET;
    cmsg->cmsg_type = SCM_RIGHTS;
    cmsg->cmsg_len = CMSG_LEN(sizeof(fds));
    memcpy(CMSG_DATA(cmsg), fds, sizeof(fds));
    if (sendmsg(fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT) == (ssize_t)sizeof(hello))
        return GP_OK;
    return tp_fail(opts, GP_ERR_IO, "shm: answer: %s", strerror(errno));
}

enum gp_status
tp_shm_receive_client(int fd, const struct tp_opts *opts, struct tp_shm_meeting *m)
{
    struct tp_shm_hello hello;
    enum gp_status status = await(fd, opts);
    int memory_fd = -1, pair[2];

    *m = (struct tp_shm_meeting){.fd = fd, .room_fd = -1, .ring_bytes = TP_SHM_RING_BYTES};
    /* Descriptors that a client sends along are dropped by the kernel: there is no room for them.
     */
    if (status == GP_OK)
        status = hello_check(&hello, recv(fd, &hello, sizeof(hello), MSG_DONTWAIT), opts);
    if (status != GP_OK)
        return status;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) != 0)
        return tp_fail(opts, GP_ERR_LIMIT, "shm: socketpair: %s", strerror(errno));
    status = memory_make(opts, m, &memory_fd);
    if (status == GP_OK) {
        status = answer(fd, memory_fd, pair[1], opts);
        close(memory_fd);
    }
    close(pair[1]);
    m->room_fd = pair[0];
    if (status != GP_OK)
        give_back(m);
    return status;
}

/* -- the client -----------------------------------------------------------------------------------
 */

/* The descriptors that came along: exactly two, or none is kept. */
static bool
take_descriptors(struct msghdr *msg, int fds[2])
{
    int count = 0;

    for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c != NULL; c = CMSG_NXTHDR(msg, c)) {
        size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);

        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        for (size_t i = 0; i < n; i++) {
            int fd;

            memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(fd));
            if (count < 2)
                fds[count] = fd;
            else
                close(fd);
            count++;
        }
    }
    if (count == 2 && (msg->msg_flags & MSG_CTRUNC) == 0)
        return true;
    for (int i = 0; i < count && i < 2; i++)
        close(fds[i]);
    return false;
}

/* The server could do worse to us than cut our memory; but then by no accident. */
static bool
memory_fits(int fd, uint64_t ring_bytes)
{
    int seals = fcntl(fd, F_GET_SEALS);
    struct stat st;

    return seals >= 0 && (seals & F_SEAL_SHRINK) != 0 && fstat(fd, &st) == 0 &&
           ring_bytes >= TP_SHM_RING_MIN && ring_bytes <= TP_SHM_RING_MAX &&
           (ring_bytes & (ring_bytes - 1)) == 0 && (uint64_t)st.st_size == tp_shm_bytes(ring_bytes);
}

enum gp_status
tp_shm_meet_server(int fd, const struct tp_opts *opts, struct tp_shm_meeting *m)
{
    struct tp_shm_hello hello = hello_make();
    struct iovec iov = {&hello, sizeof(hello)};
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(4 * sizeof(int))];
    } control;
    struct msghdr msg = {.msg_iov = &iov,
                         .msg_iovlen = 1,
                         .msg_control = control.bytes,
                         .msg_controllen = sizeof(control.bytes)};
    enum gp_status status;
    int fds[2];
    ssize_t n;

    *m = (struct tp_shm_meeting){.fd = fd, .room_fd = -1};
    if (send(fd, &hello, sizeof(hello), MSG_NOSIGNAL | MSG_DONTWAIT) != (ssize_t)sizeof(hello))
        return tp_fail(opts, GP_ERR_IO, "shm: hello: %s", strerror(errno));
    status = await(fd, opts);
    if (status != GP_OK)
        return status;
    n = recvmsg(fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (n < 0 || !take_descriptors(&msg, fds)) {
        status = hello_check(&hello, n, opts);
        return status != GP_OK ? status
                               : tp_fail(opts, GP_ERR_PROTOCOL, "shm: no memory came along");
    }
    status = hello_check(&hello, n, opts);
    m->ring_bytes = hello.ring_bytes;
    m->room_fd = fds[1];
    if (status == GP_OK && !memory_fits(fds[0], hello.ring_bytes))
        status = tp_fail(opts, GP_ERR_PROTOCOL, "shm: the memory is not what was agreed");
    if (status == GP_OK)
        status = map(fds[0], m);
    close(fds[0]);
    if (status != GP_OK)
        give_back(m);
    return status;
}
