/* tests/unit/transport/test_shm.c -- shared memory: hostile peers, killed peers, paths, identities
 */
#include "tests/unit/transport/pair.h"

#include "tests/support/shm_raw.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>

struct adoption {
    int fd;
    struct tp_lane *lane;
    enum gp_status status;
    char why[TP_WHY_BYTES];
};

static void *
adopt(void *arg)
{
    struct adoption *a = arg;
    struct tp_opts opts = {.framing = &wire_framing, .why = a->why};

    opts.deadline_ns = test_soon();
    a->status = tp_adopt("shm", a->fd, TP_SERVER, &opts, &a->lane);
    return NULL;
}

/* A server's lane, and what a client that keeps to no rules has of it. */
static struct tp_lane *
hostile_make(struct shm_raw *raw)
{
    struct adoption a = {.status = GP_ERR_IO};
    pthread_t thread;
    int fds[2];

    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    a.fd = fds[1];
    cr_assert(shm_raw_hello(fds[0]));
    pthread_create(&thread, NULL, adopt, &a);
    pthread_join(thread, NULL);
    cr_assert_eq(a.status, GP_OK, "%s", a.why);
    cr_assert(shm_raw_take(fds[0], raw));
    return a.lane;
}

static struct tp_shm_head *
head_of(const struct shm_raw *raw)
{
    return (struct tp_shm_head *)raw->memory;
}

/* -- hostile -------------------------------------------------------------------------------------
 */

Test(shm, impossible_counts_end_the_lane_and_nothing_else, .timeout = 60)
{
    static const uint64_t tails[] = {TP_SHM_RING_BYTES + 1, UINT64_MAX, 1ull << 63};
    static const uint64_t heads[] = {2 * TP_SHM_RING_BYTES, UINT64_MAX, 1ull << 63};
    struct tp_frame frame;
    struct tp_lane *lane;
    struct shm_raw raw;

    for (size_t i = 0; i < GP_ARRAY_LEN(tails); i++) {
        lane = hostile_make(&raw);
        atomic_store(&head_of(&raw)->to_server.tail, tails[i]);
        cr_assert_eq(tp_recv_frame(lane, &frame, test_soon()), GP_ERR_PROTOCOL);
        cr_assert_eq(tp_recv_frame(lane, &frame, test_soon()), GP_ERR_PROTOCOL);
        tp_close(lane);
        shm_raw_close(&raw);
    }
    for (size_t i = 0; i < GP_ARRAY_LEN(heads); i++) {
        enum gp_status status = GP_OK;

        lane = hostile_make(&raw);
        atomic_store(&head_of(&raw)->to_client.head, heads[i]);
        for (int n = 0; n < 500 && status == GP_OK; n++) {
            static const uint8_t payload[TP_SHM_RING_BYTES / 256];

            /* Before the ring is full nobody asks what was taken out of it. */
            status = test_send(lane, 1, payload, sizeof(payload));
        }
        cr_assert_eq(status, GP_ERR_PROTOCOL, "head %llx: %s", (unsigned long long)heads[i],
                     gp_status_text(status));
        tp_close(lane);
        shm_raw_close(&raw);
    }
}

/* Told that the whole ring is full of frames, over and over: it reads what is there, within it. */
Test(shm, a_ring_of_rubbish_is_refused_as_no_frame, .timeout = 60)
{
    struct tp_frame frame;
    struct tp_lane *lane;
    struct shm_raw raw;

    lane = hostile_make(&raw);
    memset(raw.memory + TP_SHM_HEAD_BYTES, 0xa5, TP_SHM_RING_BYTES);
    atomic_store(&head_of(&raw)->to_server.tail, TP_SHM_RING_BYTES);
    cr_assert_eq(tp_recv_frame(lane, &frame, test_soon()), GP_ERR_PROTOCOL);
    tp_close(lane);
    shm_raw_close(&raw);
}

Test(shm, the_memory_cannot_be_cut_or_grown, .timeout = 60)
{
    struct tp_lane *lane;
    struct shm_raw raw;

    lane = hostile_make(&raw);
    cr_assert_neq(ftruncate(raw.memory_fd, 0), 0);
    cr_assert_neq(ftruncate(raw.memory_fd, 1 << 30), 0);
    cr_assert_neq(fcntl(raw.memory_fd, F_ADD_SEALS, F_SEAL_WRITE), 0);
    /* Holes are allowed: what was there is zeros then, and no frame. */
    (void)fallocate(raw.memory_fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0,
                    (off_t)tp_shm_bytes(TP_SHM_RING_BYTES));
    cr_assert_eq(test_send(lane, 1, "x", 1), GP_OK);
    tp_close(lane);
    shm_raw_close(&raw);
}

Test(shm, bad_hellos_are_refused, .timeout = 60)
{
    static const struct {
        const char *bytes;
        size_t n;
        enum gp_status status;
    } hellos[] = {
        {"", 0, GP_ERR_IO},
        {"GET / HTTP/1.1\r\n\r\n", 18, GP_ERR_PROTOCOL},
        {"gpshm\r\n", 7, GP_ERR_PROTOCOL},
        {"gpshm\r\n\0\x63\0\0\0\0\0\0\1", 16, GP_ERR_VERSION},
    };

    for (size_t i = 0; i < GP_ARRAY_LEN(hellos); i++) {
        struct adoption a = {.status = GP_OK};
        int fds[2];

        cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
        a.fd = fds[1];
        cr_assert_eq(send(fds[0], hellos[i].bytes, hellos[i].n, 0), (ssize_t)hellos[i].n);
        cr_assert_eq(shutdown(fds[0], SHUT_WR), 0);
        adopt(&a);
        cr_assert_eq(a.status, hellos[i].status, "%zu: %s", i, a.why);
        cr_assert_neq(a.why[0], '\0');
        close(fds[0]);
    }
}

/* A server that hands out memory which it could cut afterwards. */
Test(shm, a_client_takes_no_memory_that_is_not_sealed, .timeout = 60)
{
    struct tp_shm_hello hello = {.version = TP_SHM_VERSION, .ring_bytes = TP_SHM_RING_BYTES};
    char why[TP_WHY_BYTES] = "";
    struct tp_opts opts = {.framing = &wire_framing, .why = why, .deadline_ns = test_soon()};
    struct iovec iov = {&hello, sizeof(hello)};
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(2 * sizeof(int))];
    } control = {0};
    struct msghdr msg = {.msg_iov = &iov,
                         .msg_iovlen = 1,
                         .msg_control = control.bytes,
                         .msg_controllen = sizeof(control.bytes)};
    struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
    struct tp_lane *lane;
    int fds[2], given[2];

    memcpy(hello.magic, TP_SHM_MAGIC, sizeof(hello.magic));
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    given[0] = memfd_create("unsealed", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    given[1] = fcntl(fds[0], F_DUPFD_CLOEXEC, 0);
    cr_assert_eq(ftruncate(given[0], (off_t)tp_shm_bytes(TP_SHM_RING_BYTES)), 0);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof(given));
    memcpy(CMSG_DATA(c), given, sizeof(given));
    cr_assert_eq(sendmsg(fds[0], &msg, 0), (ssize_t)sizeof(hello));
    cr_assert_eq(tp_adopt("shm", fds[1], TP_CLIENT, &opts, &lane), GP_ERR_PROTOCOL);
    cr_assert_not_null(strstr(why, "memory"), "%s", why);
    close(given[0]);
    close(given[1]);
    close(fds[0]);
}

/* -- a peer that is killed ------------------------------------------------------------------------
 */

/* A process that connects, sends one frame, and does what it is told until it is killed. */
static pid_t
victim_start(const char *url, bool closes_parent_copy, struct tp_listener *listener)
{
    struct tp_opts opts = {.framing = &wire_framing};
    struct tp_lane *lane;
    pid_t pid = fork();

    if (pid != 0)
        return pid;
    if (closes_parent_copy)
        close(tp_listener_fd(listener));
    if (tp_connect(url, &opts, &lane) == GP_OK && test_send(lane, 7, "here", 4) == GP_OK)
        for (;;)
            pause();
    _exit(1);
}

static struct tp_lane *
accept_shm(struct tp_listener *listener)
{
    struct pollfd p = {.fd = tp_listener_fd(listener), .events = POLLIN};
    struct tp_opts opts = {.framing = &wire_framing};
    struct tp_lane *lane;
    int fd;

    do
        poll(&p, 1, -1);
    while (tp_accept(listener, &fd) != GP_OK);
    cr_assert_eq(tp_adopt("shm", fd, TP_SERVER, &opts, &lane), GP_OK);
    return lane;
}

static void *
kill_it(void *arg)
{
    kill(*(pid_t *)arg, SIGKILL);
    return NULL;
}

Test(shm, a_killed_peer_is_seen_by_receivers_and_senders_asleep_or_spinning, .timeout = 60)
{
    static uint8_t payload[1 << 20];
    struct tp_opts opts = {.framing = &wire_framing};
    struct tp_listener *listener;
    char url[64];

    snprintf(url, sizeof(url), "shm://@gpupool-test-kill-%d", (int)getpid());
    cr_assert_eq(tp_listen(url, &opts, &listener), GP_OK);
    for (int round = 0; round < 4; round++) {
        enum gp_status status = GP_OK;
        struct tp_frame frame;
        struct tp_lane *lane;
        pthread_t thread;
        pid_t pid = victim_start(url, true, listener);

        lane = accept_shm(listener);
        cr_assert_eq(tp_recv_frame(lane, &frame, test_soon()), GP_OK);
        cr_assert_eq(tp_peer(lane)->pid, (uint32_t)pid);
        if (round == 1)
            tp_set_spin(lane, 1000000);
        pthread_create(&thread, NULL, kill_it, &pid);
        if (round < 2)
            status = tp_recv_frame(lane, &frame, test_soon());
        else if (round == 2)
            while (status == GP_OK)
                status = test_send(lane, 1, payload, sizeof(payload));
        else
            do
                status = tp_recv_frame(lane, &frame, TP_NOW); /* never sleeps */
            while (status == GP_ERR_AGAIN);
        cr_assert_eq(status, GP_ERR_IO, "round %d: %s", round, gp_status_text(status));
        pthread_join(thread, NULL);
        waitpid(pid, NULL, 0);
        tp_close(lane);
    }
    tp_listener_close(listener);
}

/* -- who is it, and where -------------------------------------------------------------------------
 */

Test(shm, the_kernel_says_who_is_at_the_other_end, .timeout = 60)
{
    struct test_pair p;

    test_pair_open("shm", NULL, &p);
    cr_assert(tp_peer(p.server)->has_ids);
    cr_assert_eq(tp_peer(p.server)->uid, getuid());
    cr_assert_eq(tp_peer(p.server)->gids[0], getgid());
    cr_assert_eq(tp_peer(p.server)->pid, (uint32_t)getpid());
    cr_assert_eq(tp_caps(p.client) & (TP_CAP_LOCAL | TP_CAP_STEADY), TP_CAP_LOCAL | TP_CAP_STEADY);
    test_pair_close(&p);
    test_pair_open("tcp", NULL, &p);
    cr_assert_not(tp_peer(p.server)->has_ids);
    test_pair_close(&p);
}

Test(shm, a_path_is_taken_over_only_where_nobody_answers, .timeout = 60)
{
    char dir[] = "/tmp/gpupool-shm-XXXXXX", url[128], path[96], why[TP_WHY_BYTES];
    struct tp_opts opts = {.framing = &wire_framing, .why = why};
    struct tp_listener *first, *second;
    struct stat st;
    struct tp_lane *lane;
    int left;

    cr_assert_not_null(mkdtemp(dir));
    snprintf(path, sizeof(path), "%s/socket", dir);
    snprintf(url, sizeof(url), "shm://%s", path);
    cr_assert_eq(tp_connect(url, &opts, &lane), GP_ERR_REFUSED, "%s", why);
    cr_assert_eq(tp_listen(url, &opts, &first), GP_OK);
    cr_assert_str_eq(tp_listener_url(first), url);
    cr_assert_eq(stat(path, &st), 0);
    cr_assert_eq(st.st_mode & 0777, 0666, "whoever reaches the path may ask");
    cr_assert_eq(tp_listen(url, &opts, &second), GP_ERR_IO, "somebody listens");
    left = fcntl(tp_listener_fd(first), F_DUPFD_CLOEXEC, 0);
    tp_listener_close(first);
    cr_assert_eq(stat(path, &st), 0, "whoever got the socket goes on");
    close(left);
    cr_assert_eq(tp_listen(url, &opts, &first), GP_OK, "%s", why);
    tp_listener_close(first);
    cr_assert_neq(stat(path, &st), 0, "the file goes with its listener");

    /* A server that was killed leaves its file. */
    if (fork() == 0)
        _exit(tp_listen(url, &opts, &first) == GP_OK ? 0 : 1);
    wait(NULL);
    cr_assert_eq(stat(path, &st), 0);
    cr_assert_eq(tp_connect(url, &opts, &lane), GP_ERR_REFUSED, "%s", why);
    cr_assert_eq(tp_listen(url, &opts, &second), GP_OK, "%s", why);
    tp_listener_close(second);

    /* What is no socket stays. */
    close(open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
    cr_assert_eq(tp_listen(url, &opts, &second), GP_ERR_IO);
    cr_assert_eq(unlink(path), 0);
    cr_assert_eq(rmdir(dir), 0);
}

Test(shm, the_file_goes_with_the_last_who_inherited_the_socket, .timeout = 60)
{
    char dir[] = "/tmp/gpupool-shm-XXXXXX", url[128], path[96], why[TP_WHY_BYTES];
    struct tp_opts opts = {.framing = &wire_framing, .why = why};
    struct tp_listener *first, *second;
    struct stat st;
    int left;

    cr_assert_not_null(mkdtemp(dir));
    snprintf(path, sizeof(path), "%s/socket", dir);
    snprintf(url, sizeof(url), "shm://%s", path);
    cr_assert_eq(tp_listen(url, &opts, &first), GP_OK, "%s", why);
    left = fcntl(tp_listener_fd(first), F_DUPFD_CLOEXEC, 0);
    cr_assert_eq(tp_listen_inherited("gpupool://127.0.0.1:1", left, &opts, &second), GP_ERR_INVALID,
                 "for clients");
    cr_assert_eq(tp_listen_inherited(url, left, &opts, &second), GP_OK, "%s", why);
    cr_assert_str_eq(tp_listener_url(second), url);
    tp_listener_close(first);
    cr_assert_eq(stat(path, &st), 0);
    tp_listener_close(second);
    cr_assert_neq(stat(path, &st), 0);
    cr_assert_eq(rmdir(dir), 0);
}

/* -- sleeping -------------------------------------------------------------------------------------
 */

static void *
echo(void *arg)
{
    struct tp_lane *lane = arg;
    struct tp_frame frame;

    while (tp_recv_frame(lane, &frame, test_soon()) == GP_OK)
        if (test_send(lane, test_tag(&frame), frame.payload, frame.payload_bytes) != GP_OK)
            break;
    return NULL;
}

/* Each wait sleeps at both ends, with the bell rung between any two steps of going to sleep. */
Test(shm, no_bell_is_missed, .timeout = 120)
{
    uint8_t payload[2000];
    struct tp_frame frame;
    struct test_pair p;
    pthread_t thread;

    test_pair_open("shm", NULL, &p);
    pthread_create(&thread, NULL, echo, p.server);
    for (uint32_t i = 0; i < 10000; i++) {
        size_t bytes = i * 7 % sizeof(payload);

        cr_assert_eq(test_send(p.client, i, payload, bytes), GP_OK);
        cr_assert_eq(tp_recv_frame(p.client, &frame, test_soon()), GP_OK, "at %u", i);
        cr_assert_eq(test_tag(&frame), i);
    }
    tp_shutdown(p.client);
    pthread_join(thread, NULL);
    test_pair_close(&p);
}

/* -- bytes where they lie -------------------------------------------------------------------------
 */

#define PEEK_FRAMES 12

static size_t
peek_size(uint32_t tag)
{
    return tag * 190001u % (3 * TP_SHM_RING_BYTES);
}

static void *
send_to_peek(void *arg)
{
    uint8_t *payload = malloc(3 * TP_SHM_RING_BYTES);

    for (uint32_t tag = 0; tag < PEEK_FRAMES; tag++) {
        test_fill(payload, peek_size(tag), tag);
        cr_assert_eq(test_send(arg, tag, payload, peek_size(tag)), GP_OK);
    }
    free(payload);
    return NULL;
}

/* What is peeked at and what is read follow each other as they like. */
Test(shm, a_payload_can_be_taken_from_where_it_lies, .timeout = 60)
{
    struct tp_opts opts = {.framing = &wire_framing};
    uint8_t *got = malloc(3 * TP_SHM_RING_BYTES);
    struct test_pair p;
    pthread_t thread;
    unsigned peeked = 0;

    test_pair_open("shm", &opts, &p);
    cr_assert(tp_peeks(p.server));
    pthread_create(&thread, NULL, send_to_peek, p.client);
    for (uint32_t tag = 0; tag < PEEK_FRAMES; tag++) {
        struct tp_frame frame;
        size_t at = 0, n;

        cr_assert_eq(tp_recv_header(p.server, &frame, test_soon()), GP_OK);
        cr_assert_eq(frame.payload_bytes, peek_size(tag));
        while (at < frame.payload_bytes) {
            size_t left = frame.payload_bytes - at;
            const void *here = tp_peek_payload(p.server, 300000, &n);

            if (here != NULL) {
                cr_assert_gt(n, 0);
                cr_assert_leq(n, left < 300000 ? left : 300000);
                n = n > 3 && tag % 3 == 1 ? n / 3 : n;
                memcpy(got + at, here, n);
                tp_skip_payload(p.server, n);
                peeked++;
            } else {
                n = left < 1000 ? left : 1000;
                cr_assert_eq(tp_recv_payload(p.server, got + at, n, test_soon(), NULL), GP_OK);
            }
            at += n;
            cr_assert_eq(tp_payload_left(p.server), frame.payload_bytes - at);
        }
        cr_assert_null(tp_peek_payload(p.server, 1, &n), "what follows is no payload");
        cr_assert(test_is_filled(got, at, tag), "frame %u", tag);
    }
    pthread_join(thread, NULL);
    cr_assert_gt(peeked, PEEK_FRAMES);
    test_pair_close(&p);
    free(got);
}

/* -- bytes written to where they are read --------------------------------------------------------
 */

struct filling {
    const uint8_t *payload;
    size_t next;
    unsigned pieces;
};

static void
fill_piece(void *user, size_t at, void *to, size_t bytes)
{
    struct filling *f = user;

    cr_assert_eq(at, f->next, "in order");
    memcpy(to, f->payload + at, bytes);
    f->next = at + bytes;
    f->pieces++;
}

static void
send_filled(struct tp_lane *lane, uint32_t tag, const uint8_t *payload, size_t bytes, size_t before)
{
    struct wire_frame_header h = {
        .kind = WIRE_FRAME_DATA, .tag = tag, .payload_bytes = (uint32_t)bytes};
    struct filling f = {.payload = payload + before};
    const struct tp_fill fill = {fill_piece, &f, bytes - before};
    uint8_t head[WIRE_FRAME_HEADER_BYTES];
    struct iovec iov[2] = {{head, sizeof(head)}, {(void *)(uintptr_t)payload, before}};

    wire_frame_encode(&h, head);
    cr_assert_eq(tp_send_filled(lane, iov, 2, &fill, test_soon()), GP_OK);
    cr_assert_eq(f.next, bytes - before);
}

static void *
send_by_filling(void *arg)
{
    uint8_t *payload = malloc(3 * TP_SHM_RING_BYTES);

    for (uint32_t tag = 0; tag < PEEK_FRAMES; tag++) {
        size_t bytes = peek_size(tag);

        test_fill(payload, bytes, tag);
        if (tag % 3 == 2)
            cr_assert_eq(test_send(arg, tag, payload, bytes), GP_OK);
        else
            send_filled(arg, tag, payload, bytes, gp_min_u64(bytes, tag % 3 * 16));
    }
    free(payload);
    return NULL;
}

/* What is filled in and what is sent follow each other as they like, through a ring that is full.
 */
Test(shm, a_payload_can_be_written_to_where_it_is_read, .timeout = 60)
{
    struct tp_opts opts = {.framing = &wire_framing};
    struct test_pair p;
    pthread_t thread;

    test_pair_open("shm", &opts, &p);
    cr_assert(tp_fills(p.server));
    pthread_create(&thread, NULL, send_by_filling, p.server);
    for (uint32_t tag = 0; tag < PEEK_FRAMES; tag++) {
        struct tp_frame frame;

        cr_assert_eq(tp_recv_frame(p.client, &frame, test_soon()), GP_OK);
        cr_assert_eq(frame.payload_bytes, peek_size(tag));
        cr_assert(test_is_filled(frame.payload, frame.payload_bytes, tag), "frame %u", tag);
    }
    pthread_join(thread, NULL);
    test_pair_close(&p);
}

Test(shm, filling_ends_when_nobody_reads_any_more, .timeout = 60)
{
    struct tp_opts opts = {.framing = &wire_framing};
    uint8_t *payload = calloc(1, 3 * TP_SHM_RING_BYTES);
    struct wire_frame_header h = {.kind = WIRE_FRAME_DATA, .payload_bytes = 3 * TP_SHM_RING_BYTES};
    struct filling f = {.payload = payload};
    const struct tp_fill fill = {fill_piece, &f, 3 * TP_SHM_RING_BYTES};
    uint8_t head[WIRE_FRAME_HEADER_BYTES];
    struct iovec iov = {head, sizeof(head)};
    struct test_pair p;

    test_pair_open("shm", &opts, &p);
    wire_frame_encode(&h, head);
    tp_close(p.client);
    p.client = NULL;
    cr_assert_neq(tp_send_filled(p.server, &iov, 1, &fill, test_soon()), GP_OK);
    test_pair_close(&p);
    free(payload);
}

Test(shm, other_lanes_have_no_such_memory)
{
    struct tp_opts opts = {.framing = &wire_framing};
    const struct tp_fill fill = {fill_piece, NULL, 1};
    struct test_pair p;

    test_pair_open("loop", &opts, &p);
    cr_assert_not(tp_fills(p.server));
    cr_assert_eq(tp_send_filled(p.server, NULL, 0, &fill, test_soon()), GP_ERR_NOT_SUPPORTED);
    test_pair_close(&p);
}
