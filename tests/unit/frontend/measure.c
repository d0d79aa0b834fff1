/* tests/unit/frontend/measure.c -- what the engine adds to its transport; not a test
 *
 * The fake server runs in a process of its own. The floor is one frame there and back over the same
 * transport to the same server with nothing of the engine between.
 */
#include "fake.h"

#include "frontend/core/call.h"
#include "frontend/core/stats.h"
#include "protocol/base/clock.h"
#include "transport/transport.h"

#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <signal.h>
#include <unistd.h>

#define ROUNDS 5000
#define BURSTS 300
#define BURST  1000
#define STREAM 2000000

static int
by_size(const void *x, const void *y)
{
    const uint64_t *a = x, *b = y;

    return (*a > *b) - (*a < *b);
}

static void
print_times(const char *what, uint64_t *ns, size_t n, double per)
{
    qsort(ns, n, sizeof(*ns), by_size);
    printf("%-28s median %8.3f us   p99 %8.3f us\n", what, (double)ns[n / 2] / per / 1e3,
           (double)ns[n * 99 / 100] / per / 1e3);
}

/* The server's process: prints its URL to fd and serves until the parent dies. */
static void
serve_in_child(int fd)
{
    struct fake f;

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    fake_start(&f, NULL);
    FAKE_NEED(write(fd, f.url, sizeof(f.url)) == (ssize_t)sizeof(f.url));
    for (;;)
        pause();
}

static void
floor_latency(const char *url, uint32_t spin_us)
{
    static uint64_t ns[ROUNDS];
    struct tp_opts opts = {.framing = &wire_framing, .spin_us = spin_us};
    struct wire_record record = {.bytes = sizeof(record), .call = WIRE_CALL_gpBarrier, .tag = 1};
    uint8_t bytes[WIRE_FRAME_HEADER_BYTES + sizeof(record)];
    struct iovec iov = {bytes, sizeof(bytes)};
    struct tp_lane *lane;
    struct tp_frame frame;
    uint64_t i;

    FAKE_NEED(tp_connect(url, &opts, &lane) == GP_OK);
    for (i = 0; i < ROUNDS; i++) {
        struct wire_frame_header header = {
            .payload_bytes = sizeof(record),
            .kind = WIRE_FRAME_CALLS,
            .tag = 1,
            .seq = i + 1,
        };
        uint64_t begin = gp_now_ns();

        wire_frame_encode(&header, bytes);
        memcpy(bytes + WIRE_FRAME_HEADER_BYTES, &record, sizeof(record));
        FAKE_NEED(tp_send(lane, &iov, 1) == GP_OK);
        FAKE_NEED(tp_recv_frame(lane, &frame, GP_FOREVER) == GP_OK);
        ns[i] = gp_now_ns() - begin;
    }
    tp_close(lane);
    printf("spin %u us: ", spin_us);
    print_times("floor", ns, ROUNDS, 1);
}

static void
barrier(void)
{
    const uint8_t *bytes;
    struct fe_call call;
    size_t len;

    FAKE_NEED(fe_enter(&call, WIRE_CALL_gpBarrier) == CUDA_SUCCESS);
    FAKE_NEED(fe_post(&call, 0) != NULL);
    fe_post_done(&call);
    FAKE_NEED(fe_leave(&call, fe_wait(&call, &bytes, &len)) == CUDA_SUCCESS);
}

/* About the size of a launch with four parameters. */
static void
post_one(void)
{
    static const uint8_t params[32];
    struct wire_gpUpload_args args = {.data = params, .data_len = sizeof(params)};
    struct fe_call call;
    void *to;

    FAKE_NEED(fe_enter(&call, WIRE_CALL_gpUpload) == CUDA_SUCCESS);
    to = fe_post(&call, wire_size_gpUpload_args(&args));
    FAKE_NEED(to != NULL);
    wire_put_gpUpload_args(to, &args);
    fe_post_done(&call);
    FAKE_NEED(fe_leave(&call, CUDA_SUCCESS) == CUDA_SUCCESS);
}

static void
measure(void)
{
    static uint64_t ns[ROUNDS];
    struct fe_stats before, after;
    uint64_t begin;
    int i, k;

    for (i = 0; i < ROUNDS; i++) {
        begin = gp_now_ns();
        barrier();
        ns[i] = gp_now_ns() - begin;
    }
    print_times("call that waits", ns, ROUNDS, 1);
    for (i = 0; i < ROUNDS; i++) {
        begin = gp_now_ns();
        post_one();
        barrier();
        ns[i] = gp_now_ns() - begin;
    }
    print_times("post, then wait", ns, ROUNDS, 1);
    for (i = 0; i < BURSTS; i++) {
        begin = gp_now_ns();
        for (k = 0; k < BURST; k++)
            post_one();
        ns[i] = gp_now_ns() - begin;
        barrier();
    }
    print_times("post, in a burst of 1,000", ns, BURSTS, BURST);
    fe_stats_get(&before);
    begin = gp_now_ns();
    for (i = 0; i < STREAM; i++)
        post_one();
    barrier();
    begin = gp_now_ns() - begin;
    fe_stats_get(&after);
    printf("%-28s %.2f million/s, %.0f records a batch\n", "posts, sustained",
           (double)STREAM / (double)begin * 1e3,
           (double)STREAM / (double)(after.batches - before.batches));
}

/* Bytes out of the program's memory: the transport's own stream, then through the engine. */
#define BULK_PIECE (4u << 20)
#define BULK_COUNT 128

static uint8_t bulk[BULK_PIECE];

static void
print_rate(const char *what, uint64_t ns)
{
    printf("%-28s %.2f GB/s\n", what, (double)BULK_PIECE * BULK_COUNT / (double)ns);
}

static void
floor_stream(const char *url)
{
    struct tp_opts opts = {.framing = &wire_framing};
    struct wire_gpUpload_args args = {.data = bulk, .data_len = BULK_PIECE};
    struct wire_record record = {
        .bytes = (uint32_t)(sizeof(record) + wire_size_gpUpload_args(&args)),
        .call = WIRE_CALL_gpUpload,
    };
    struct wire_record last = {.bytes = sizeof(last), .call = WIRE_CALL_gpBarrier, .tag = 1};
    uint8_t head[WIRE_FRAME_HEADER_BYTES + sizeof(record) + WIRE_HEAD_gpUpload_args];
    uint8_t end[WIRE_FRAME_HEADER_BYTES + sizeof(last)];
    struct wire_frame_header header = {.kind = WIRE_FRAME_CALLS, .tag = 1};
    struct iovec iov[2] = {{head, sizeof(head)}, {bulk, sizeof(bulk)}},
                 end_iov = {end, sizeof(end)};
    struct tp_lane *lane;
    struct tp_frame frame;
    uint64_t begin;
    int i;

    FAKE_NEED(tp_connect(url, &opts, &lane) == GP_OK);
    begin = gp_now_ns();
    for (i = 0; i < BULK_COUNT; i++) {
        header.seq++;
        header.payload_bytes = record.bytes;
        wire_frame_encode(&header, head);
        memcpy(head + WIRE_FRAME_HEADER_BYTES, &record, sizeof(record));
        wire_head_gpUpload_args(head + WIRE_FRAME_HEADER_BYTES + sizeof(record), &args);
        FAKE_NEED(tp_send(lane, iov, 2) == GP_OK);
    }
    header.seq++;
    header.payload_bytes = sizeof(last);
    wire_frame_encode(&header, end);
    memcpy(end + WIRE_FRAME_HEADER_BYTES, &last, sizeof(last));
    FAKE_NEED(tp_send(lane, &end_iov, 1) == GP_OK);
    FAKE_NEED(tp_recv_frame(lane, &frame, GP_FOREVER) == GP_OK);
    print_rate("floor, 4 MiB out", gp_now_ns() - begin);
    tp_close(lane);
}

static void
engine_stream(void)
{
    struct wire_gpUpload_args args = {.data = bulk, .data_len = BULK_PIECE};
    uint64_t begin = gp_now_ns();
    struct fe_call call;
    void *to;
    int i;

    for (i = 0; i < BULK_COUNT; i++) {
        FAKE_NEED(fe_enter(&call, WIRE_CALL_gpUpload) == CUDA_SUCCESS);
        to = fe_post_tail(&call, WIRE_HEAD_gpUpload_args, bulk, BULK_PIECE);
        FAKE_NEED(to != NULL);
        wire_head_gpUpload_args(to, &args);
        fe_post_done(&call);
        FAKE_NEED(fe_leave(&call, CUDA_SUCCESS) == CUDA_SUCCESS);
    }
    barrier();
    print_rate("engine, 4 MiB out", gp_now_ns() - begin);
}

int
main(void)
{
    char url[64];
    int fds[2];
    pid_t pid;

    FAKE_NEED(pipe(fds) == 0);
    pid = fork();
    if (pid == 0)
        serve_in_child(fds[1]);
    FAKE_NEED(read(fds[0], url, sizeof(url)) == (ssize_t)sizeof(url));
    setenv("GPUPOOL_SERVER", url, 1);
    floor_latency(url, 0);
    floor_latency(url, 20);
    memset(bulk, 7, sizeof(bulk));
    floor_stream(url);
    FAKE_NEED(fe_start() == CUDA_SUCCESS);
    engine_stream();
    measure();
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    return 0;
}
