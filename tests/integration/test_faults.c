/* tests/integration/test_faults.c -- clients that break the protocol, die, or are too many */
#include "tests/support/client.h"
#include "tests/support/server.h"

#include "protocol/wire/negotiate.h"

#include <criterion/criterion.h>

#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* A client that the server must be rid of, and another one that must not notice. */
struct pair {
    struct test_server server;
    struct test_client good, bad;
};

static void
pair_open(struct pair *p)
{
    p->server = test_server_start(NULL);
    test_client_start(&p->good, p->server.url[0]);
    test_client_start(&p->bad, p->server.url[0]);
}

static void
good_works(struct pair *p)
{
    TEST_ADD(&p->good, gpBarrier, 0);
    cr_assert_eq(test_client_call(&p->good), CUDA_SUCCESS);
    cr_assert_eq(p->good.result.deferred, 0);
}

static void
bad_is_ended(struct pair *p)
{
    while (test_client_receive(&p->bad, gp_now_ns() + 10 * GP_NS_PER_S))
        ;
    cr_assert(p->bad.bye);
    cr_assert_eq(p->bad.bye_code, WIRE_CODE_PROTOCOL);
    good_works(p);
    test_client_abandon(&p->bad);
    test_client_close(&p->good);
    test_server_stop(&p->server);
}

/* One record of a call with these bytes as arguments, behind a good one that must not run. */
static void
send_record(struct test_client *c, uint16_t call, uint16_t flags, uint32_t tag, const void *args,
            size_t bytes, uint32_t claimed)
{
    uint8_t row[4096] = {0};
    struct wire_record good = {.bytes = sizeof(good), .call = WIRE_CALL_gpBarrier, .tag = 4711};
    struct wire_record record = {.bytes = claimed, .call = call, .flags = flags, .tag = tag};

    memcpy(row, &good, sizeof(good));
    memcpy(row + sizeof(good), &record, sizeof(record));
    memcpy(row + sizeof(good) + sizeof(record), args, bytes);
    test_client_frame(c, WIRE_FRAME_CALLS, 2, row, sizeof(good) + sizeof(record) + bytes);
}

Test(faults, a_malformed_row_runs_nothing_and_ends_its_session_only)
{
    static const struct {
        uint16_t call, flags;
        uint32_t tag, bytes, claimed;
    } cases[] = {
        {WIRE_CALL_gpBarrier, 0, 1, 0, 8},              /* shorter than a header */
        {WIRE_CALL_gpBarrier, 0, 1, 0, 4096},           /* longer than the row */
        {WIRE_CALL_gpBarrier, 0, 1, 4, 20},             /* not a multiple of 8 */
        {WIRE_CALL_gpBarrier, 0, 0, 0, 16},             /* no tag where one is owed */
        {WIRE_CALL_cuMemFree_v2, 0, 9, 8, 24},          /* a tag where none is */
        {WIRE_CALL_cuMemFree_v2, 0, 0, 0, 16},          /* no arguments */
        {WIRE_CALL_cuMemFree_v2, 1, 0, 8, 24},          /* flags */
        {WIRE_CALL_gpNoticeHost, 0, 0, 16, 32},         /* the server's to say */
        {0xffff, 0, 0, 0, 16},                          /* nobody's */
        {WIRE_CALL_cuMemcpyHtoDAsync_v2, 0, 0, 24, 40}, /* bytes that are not there */
    };
    uint8_t args[64];

    memset(args, 0xff, sizeof(args));
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct pair p;

        pair_open(&p);
        p.bad.reply_tag = 0;
        send_record(&p.bad, cases[i].call, cases[i].flags, cases[i].tag, args, cases[i].bytes,
                    cases[i].claimed);
        bad_is_ended(&p);
        cr_assert_neq(p.bad.reply_tag, 4711, "case %zu ran its first record", i);
    }
}

Test(faults, a_frame_of_the_wrong_kind_ends_its_session_only)
{
    struct pair p;

    pair_open(&p);
    test_client_frame(&p.bad, WIRE_FRAME_REPLY, 1, "12345678", 8);
    bad_is_ended(&p);
}

Test(faults, an_oversized_frame_is_refused_unread)
{
    struct pair p;
    uint8_t head[WIRE_FRAME_HEADER_BYTES];
    struct wire_frame_header header = {.payload_bytes = 60u << 20, .kind = WIRE_FRAME_CALLS};
    struct iovec iov = {head, sizeof(head)};
    enum gp_status status;

    pair_open(&p);
    wire_frame_encode(&header, head);
    status = tp_send(p.bad.lane, &iov, 1);
    cr_assert_eq(status, GP_OK);
    bad_is_ended(&p);
}

static bool
is_confined(pid_t worker)
{
    char path[64], text[8192] = "";
    FILE *file;

    snprintf(path, sizeof(path), "/proc/%d/status", (int)worker);
    file = fopen(path, "r");
    cr_assert_not_null(file);
    cr_assert_gt(fread(text, 1, sizeof(text) - 1, file), 0);
    fclose(file);
    return strstr(text, "Seccomp:\t0") == NULL;
}

Test(faults, limits_are_those_that_were_set, .timeout = 60)
{
    static const char *const args[] = {"--frame-max=1m",   "--lease-max=256m",
                                       "--pending-max=3",  "--heartbeat=7s",
                                       "--grace=9s",       "--sandbox=no",
                                       "--image-max=64k",  "--tcp-keepalive=7s",
                                       "--warm-workers=1", NULL};
    struct pair p = {.server = test_server_start(args)};
    uint8_t head[WIRE_FRAME_HEADER_BYTES];
    struct wire_frame_header header = {.payload_bytes = 2u << 20, .kind = WIRE_FRAME_CALLS};
    struct iovec iov = {head, sizeof(head)};
    pid_t worker;
    int silent[4];

    cr_assert(test_client_open_with(&p.bad, p.server.url[0], NULL, WIRE_FEATURE_RESUME));
    cr_assert_eq(test_server_workers(&p.server, &worker, 1), 1);
    cr_assert(!is_confined(worker));
    cr_assert_eq(p.bad.answer.devices[0].lease_bytes, 256u << 20);
    cr_assert_eq(p.bad.answer.heartbeat_ms, 7000);
    cr_assert_eq(p.bad.answer.grace_ms, 9000);
    TEST_ADD(&p.bad, gpUpload, .upload = 3, .total = 1 << 20, .data = (const uint8_t *)"12345678",
             .data_len = 8);
    test_client_send(&p.bad);
    test_server_await_log(&p.server, "an image of 1048576 bytes is refused: --image-max is less");
    for (int i = 0; i < 4; i++)
        silent[i] = test_server_connect(&p.server);
    test_server_await_log(&p.server, "more than 3 at once");
    for (int i = 0; i < 4; i++)
        close(silent[i]);
    test_client_start(&p.good, p.server.url[0]);
    wire_frame_encode(&header, head);
    cr_assert_eq((int)tp_send(p.bad.lane, &iov, 1), (int)GP_OK);
    bad_is_ended(&p);
}

Test(faults, the_death_of_a_client_ends_its_worker_only)
{
    pid_t workers[16];
    struct pair p;
    size_t count;

    pair_open(&p);
    /* In the middle of everything: a held stream, a parked wait, memory, a half upload. */
    TEST_ADD(&p.bad, cuMemAlloc_v2, .address = p.bad.answer.device_range.base, .bytes = 8 << 20);
    TEST_ADD(&p.bad, cuStreamCreateWithPriority, .phStream = ID(1), .flags = 1);
    TEST_ADD(&p.bad, cuLaunchHostFunc, .stream = ID(1), .callback = 1);
    TEST_ADD(&p.bad, gpUpload, .upload = 3, .total = 1 << 20, .data = (const uint8_t *)"12345678",
             .data_len = 8);
    TEST_ADD(&p.bad, cuStreamSynchronize, .stream = ID(1));
    test_client_send(&p.bad);
    while (p.bad.notices.len == 0)
        cr_assert(test_client_receive(&p.bad, gp_now_ns() + 10 * GP_NS_PER_S));
    count = test_server_workers(&p.server, workers, 16);
    cr_assert_geq(count, 2);
    test_client_abandon(&p.bad);
    /* One of them ends; which one is the server's business. */
    test_server_await_log(&p.server, "session ended");
    cr_assert(!test_server_logged(&p.server, "died"));
    good_works(&p);
    test_client_close(&p.good);
    test_server_stop(&p.server);
}

Test(faults, a_killed_worker_is_noticed_by_its_client_within_a_second)
{
    struct test_server server = test_server_start((const char *[]){"--warm-workers=1", NULL});
    struct test_client c;
    pid_t workers[16];
    uint64_t before;
    size_t count;

    test_client_start(&c, server.url[0]);
    count = test_server_workers(&server, workers, 16);
    before = gp_now_ns();
    for (size_t i = 0; i < count; i++)
        kill(workers[i], SIGKILL);
    while (test_client_receive(&c, gp_now_ns() + 10 * GP_NS_PER_S))
        ;
    cr_assert_lt(gp_now_ns() - before, GP_NS_PER_S);
    test_client_abandon(&c);
    /* The warm one died too, and there is another. */
    for (size_t i = 0; i < count; i++)
        test_server_await_gone(&server, workers[i]);
    test_client_start(&c, server.url[0]);
    cr_assert(test_server_logged(&server, "signal 9"));
    test_client_close(&c);
    test_server_stop(&server);
}

/* What makes the next one ready takes a core, which the session that begins needs. */
Test(faults, the_next_worker_starts_late_unless_none_is_left)
{
    struct test_server server =
        test_server_start((const char *[]){"--warm-workers=2", "--warm-delay=3600s", NULL});
    struct test_client a, b;
    pid_t workers[16];

    cr_assert_eq(test_server_workers(&server, workers, 16), 2);
    test_client_start(&a, server.url[0]);
    cr_assert_eq(test_server_workers(&server, workers, 16), 2);
    test_client_start(&b, server.url[0]);
    while (test_server_workers(&server, workers, 16) < 3)
        sched_yield();
    test_client_close(&a);
    test_client_close(&b);
    test_server_stop(&server);
}

Test(faults, the_supervisors_death_ends_its_workers)
{
    struct test_server server = test_server_start(NULL);
    struct test_client c;
    pid_t workers[16];
    size_t count;

    test_client_start(&c, server.url[0]);
    count = test_server_workers(&server, workers, 16);
    cr_assert_geq(count, 1);
    test_server_kill(&server, SIGKILL);
    (void)test_server_wait(&server);
    for (size_t i = 0; i < count; i++)
        test_server_await_gone(&server, workers[i]);
    while (test_client_receive(&c, gp_now_ns() + 10 * GP_NS_PER_S))
        ;
    test_client_abandon(&c);
}

Test(faults, sixty_four_sessions_at_once)
{
    struct test_server server = test_server_start(NULL);
    static struct test_client clients[64];

    for (int i = 0; i < 64; i++)
        test_client_start(&clients[i], server.url[0]);
    for (int i = 0; i < 64; i++) {
        struct test_client *c = &clients[i];
        uint32_t value = 0x01010101u * (unsigned)i;

        TEST_ADD(c, cuMemAlloc_v2, .address = c->answer.device_range.base, .bytes = 4096);
        TEST_ADD(c, cuMemsetD32Async, .dst = c->answer.device_range.base, .value = value,
                 .count = 1024);
        TEST_ADD(c, cuMemcpyDtoH_v2, .src = c->answer.device_range.base, .bytes = 4096, .data = 1);
        test_client_send(c);
    }
    for (int i = 0; i < 64; i++) {
        cr_assert_eq(test_client_wait(&clients[i], 0), CUDA_SUCCESS);
        cr_assert_eq(clients[i].data.len, 4096);
        for (int k = 0; k < 4096; k++)
            cr_assert_eq(clients[i].data.data[k], (uint8_t)i);
    }
    for (int i = 0; i < 64; i++)
        test_client_close(&clients[i]);
    test_server_stop(&server);
}

Test(faults, sessions_over_the_limit_are_told_so)
{
    struct test_server server = test_server_start((const char *[]){"--sessions-max=2", NULL});
    struct test_client a, b, c;

    test_client_start(&a, server.url[0]);
    test_client_start(&b, server.url[0]);
    cr_assert(!test_client_open(&c, server.url[0], NULL));
    cr_assert_eq(c.refused.code, WIRE_CODE_BUSY);
    test_client_close(&c);
    test_client_close(&a);
    test_client_close(&b);
    test_server_stop(&server);
}

Test(faults, many_sessions_leave_nothing_behind)
{
    const char *text = getenv("GPUPOOL_TEST_SESSIONS");
    int rounds = text != NULL ? atoi(text) : 100;
    struct test_server server = test_server_start(NULL);
    unsigned fds_before = 0;
    long rss_before = 0;
    pid_t workers[64];

    for (int i = 0; i < rounds + 10; i++) {
        struct test_client c;

        if (i == 10) {
            fds_before = test_server_fds(&server);
            rss_before = test_server_rss_kib(&server);
        }
        test_client_start(&c, server.url[0]);
        if (i % 3 == 0)
            test_client_abandon(&c);
        else
            test_client_close(&c);
    }
    /* The last ones may still be on their way out. */
    for (uint64_t until = gp_now_ns() + 10 * GP_NS_PER_S;
         test_server_workers(&server, workers, 64) > 2 && gp_now_ns() < until;)
        usleep(1000);
    cr_assert_leq(test_server_workers(&server, workers, 64), 2);
    cr_assert_leq(test_server_fds(&server), fds_before + 2);
#ifndef __SANITIZE_ADDRESS__ /* which keeps what was freed */
    cr_assert_leq(test_server_rss_kib(&server), rss_before + 512);
#else
    (void)rss_before;
#endif
    cr_assert(!test_server_logged(&server, "died"));
    test_server_stop(&server);
}

Test(faults, another_wire_format_gets_a_clear_answer)
{
    static struct wire_hello hello = {.wire_format = WIRE_FORMAT + 1,
                                      .max_payload_bytes = 1u << 20,
                                      .build = "gpupool 9.9.9",
                                      .program = "test"};
    struct test_server server = test_server_start(NULL);
    struct test_client c;

    cr_assert(!test_client_hello(&c, server.url[0], &hello));
    cr_assert_eq(c.refused.code, WIRE_CODE_VERSION);
    cr_assert_not_null(strstr(c.refused.reason, "wire format"));
    test_client_close(&c);
    test_server_stop(&server);
}

Test(faults, an_old_server_gets_a_clear_answer_from_itself)
{
    struct test_server server = test_server_start((const char *[]){"--wire-format=0", NULL});
    struct test_client c;

    cr_assert(!test_client_open(&c, server.url[0], NULL));
    cr_assert_eq(c.refused.code, WIRE_CODE_VERSION);
    test_client_close(&c);
    test_server_stop(&server);
}

Test(faults, a_silent_client_is_cut_at_the_deadline)
{
    struct test_server server = test_server_start((const char *[]){"--handshake-time=200ms", NULL});
    struct tp_opts opts = {.framing = &wire_framing};
    struct tp_frame frame;
    struct tp_lane *lane;
    enum gp_status status;

    status = tp_connect(server.url[0], &opts, &lane);
    cr_assert_eq(status, GP_OK);
    do
        status = tp_recv_frame(lane, &frame, gp_now_ns() + 10 * GP_NS_PER_S);
    while (status == GP_OK || status == GP_ERR_AGAIN);
    cr_assert_neq(status, GP_ERR_TIMEOUT);
    tp_close(lane);
    test_server_stop(&server);
}

Test(faults, half_open_connections_do_not_keep_a_good_client_out)
{
    struct test_server server = test_server_start((const char *[]){"--handshakes-max=4", NULL});
    struct tp_opts opts = {.framing = &wire_framing};
    struct tp_lane *silent[24];
    struct test_client c;

    for (int i = 0; i < 24; i++)
        cr_assert_eq((int)tp_connect(server.url[0], &opts, &silent[i]), GP_OK);
    test_client_start(&c, server.url[0]);
    test_client_close(&c);
    for (int i = 0; i < 24; i++)
        tp_close(silent[i]);
    test_server_stop(&server);
}

Test(faults, sigterm_waits_for_sessions_and_then_ends_them)
{
    struct test_server server = test_server_start((const char *[]){"--drain-time=300ms", NULL});
    struct test_client c;
    int how;

    test_client_start(&c, server.url[0]);
    test_server_kill(&server, SIGTERM);
    TEST_ADD(&c, gpBarrier, 0);
    cr_assert_eq(test_client_call(&c), CUDA_SUCCESS, "a session goes on while the server drains");
    while (test_client_receive(&c, gp_now_ns() + 10 * GP_NS_PER_S))
        ;
    cr_assert(c.bye);
    cr_assert_eq(c.bye_code, WIRE_CODE_DRAINING);
    how = test_server_wait(&server);
    cr_assert(WIFEXITED(how) && WEXITSTATUS(how) == 0);
    test_client_abandon(&c);
}

/* A server with this option ends with this status, and says why. */
static void
does_not_start(const char *option, int code, const char *words)
{
    char said[4096] = "";
    int status, pipes[2];
    size_t len = 0;
    ssize_t got;
    pid_t pid;

    cr_assert_eq(pipe(pipes), 0);
    pid = fork();
    if (pid == 0) {
        dup2(pipes[1], STDERR_FILENO);
        close(pipes[0]);
        execl(getenv("GPUPOOL_TEST_SERVER"), "gpupoold", "--listen=tcp://127.0.0.1:0", option,
              (char *)NULL);
        _exit(127);
    }
    close(pipes[1]);
    while ((got = read(pipes[0], said + len, sizeof(said) - 1 - len)) > 0)
        len += (size_t)got;
    said[len] = '\0';
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == code, "%s: %x", option, status);
    cr_assert_not_null(strstr(said, words), "%s: \"%s\" lacks \"%s\"", option, said, words);
    close(pipes[0]);
}

Test(faults, a_missing_driver_ends_the_server_with_a_reason, .timeout = 60)
{
    does_not_start("--driver=/nonexistent/libcuda.so.1", 1, "/nonexistent/libcuda.so.1");
}

Test(faults, settings_that_cannot_be_end_the_server_with_a_reason, .timeout = 60)
{
    does_not_start("--tcp-congestion=nosuch", 2, "--tcp-congestion nosuch");
    does_not_start("--rdma-fabric=a b", 2, "no device, port or network");
    does_not_start("--peer=10.9.0.0/99", 2, "no network, address or *");
    does_not_start("--listen=carrier://127.0.0.1:0", 1, "no such transport");
    does_not_start("--grace=soon", 2, "grace");
    does_not_start("--config=/nonexistent.ini", 2, "/nonexistent.ini");
    does_not_start("--speed=high", 2, "speed");
}

/* A text that takes the driver as long as wanted to compile. */
static char *
long_module(size_t kernels)
{
    char *text = malloc(kernels * 256 + 128), *at = text;

    cr_assert_not_null(text);
    at += sprintf(at, ".version 8.0\n.target sm_75\n.address_size 64\n");
    for (size_t i = 0; i < kernels; i++)
        at +=
            sprintf(at,
                    ".visible .entry k%zu(.param .u64 p) {\n.reg .b32 %%r<3>; .reg .b64 %%rd<2>;\n"
                    "ld.param.u64 %%rd1, [p];\nmov.u32 %%r1, %zu;\nst.global.u32 [%%rd1], %%r1;\n"
                    "ret;\n}\n",
                    i, i);
    return text;
}

/* As a big library's modules do: the executor is inside the driver for many heartbeats, and the
 * client hears that the server is there. */
Test(faults, a_busy_driver_is_not_a_lost_server, .timeout = 120)
{
    const char *args[] = {"--heartbeat=40ms", NULL};
    struct test_server server = test_server_start(args);
    unsigned slow = 0; /* first without a way back, then with one */

    for (size_t kernels = 2000; slow < 2;) {
        char *text = long_module(kernels);
        size_t len = strlen(text) + 1;
        struct test_client c;
        uint64_t begin, took_ns;

        cr_assert_lt(kernels, 1000000, "nothing takes the driver long enough");
        cr_assert(
            test_client_open_with(&c, server.url[0], NULL, slow != 0 ? WIRE_FEATURE_RESUME : 0));
        test_client_begin(&c);
        for (size_t at = 0; at < len; at += 1 << 20) {
            size_t n = gp_min_u64(len - at, 1 << 20);

            TEST_ADD(&c, gpUpload, .upload = 7, .total = len, .offset = at,
                     .data = (const uint8_t *)text + at, .data_len = (uint32_t)n);
            test_client_send(&c);
        }
        TEST_ADD(&c, gpBarrier, 0);
        cr_assert_eq(test_client_call(&c), CUDA_SUCCESS);
        c.pongs = 0;
        begin = gp_now_ns();
        TEST_ADD(&c, cuModuleLoadDataEx, .module = ID(3), .upload = 7, .kind = 4,
                 .error_bytes = 1024);
        cr_assert_eq(test_client_call(&c), CUDA_SUCCESS);
        took_ns = gp_now_ns() - begin;
        free(text);
        kernels *= took_ns < 400 * GP_NS_PER_MS ? 2 : 1;
        slow += took_ns >= 400 * GP_NS_PER_MS;
        if (took_ns >= 400 * GP_NS_PER_MS)
            cr_assert_geq(c.pongs, 3, "%u signs of life in %llu ms", c.pongs,
                          (unsigned long long)(took_ns / GP_NS_PER_MS));
        test_client_close(&c);
    }
    test_server_stop(&server);
}
