/* tests/integration/test_tenants.c -- who gets in, and how much memory of whom */
#include "tests/support/tenants.h"

#include "protocol/base/clock.h"
#include "protocol/wire/kernel_table.h"

#include <criterion/criterion.h>

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MIB (1ull << 20)

static void
is_refused(const struct test_server *server, const char *name, uint32_t code, const char *says)
{
    struct test_client c;

    cr_assert_not(test_tenants_try(&c, server, name));
    cr_assert_eq(c.refused.code, code, "%u: %s", c.refused.code, c.refused.reason);
    cr_assert_not_null(strstr(c.refused.reason, says), "%s", c.refused.reason);
    test_client_abandon(&c);
}

static uint64_t
lease(struct test_client *c, uint64_t bytes)
{
    struct wire_gpLease_reply reply;

    TEST_ADD(c, gpLease, .device = 0, .bytes = bytes);
    cr_assert_eq(test_client_call(c), CUDA_SUCCESS);
    cr_assert(wire_get_gpLease_reply(c->reply, c->reply_len, &reply));
    return reply.granted;
}

static void
give_back(struct test_client *c, uint64_t bytes)
{
    TEST_ADD(c, gpLeaseReturn, .device = 0, .bytes = bytes);
    TEST_ADD(c, gpBarrier, 0);
    cr_assert_eq(test_client_call(c), CUDA_SUCCESS);
}

/* The result of an allocation at the range's offset. */
static int
alloc(struct test_client *c, uint64_t offset, uint64_t bytes)
{
    TEST_ADD(c, cuMemAlloc_v2, .address = c->answer.device_range.base + offset, .bytes = bytes);
    TEST_ADD(c, gpBarrier, 0);
    cr_assert_eq(test_client_call(c), CUDA_SUCCESS);
    return c->result.deferred;
}

#define TWO                                                                                        \
    "[tenant \"red\"]\nmatch = cn:alice\nmemory = 512m\nsessions = 3\n"                            \
    "[tenant \"blue\"]\nmatch = cn:bob\nmemory = 256m\n"

Test(tenants, only_tenants_get_in_and_no_more_than_they_may)
{
    struct test_server server = test_tenants_start(TWO);
    struct test_client c[3];

    is_refused(&server, "eve", WIRE_CODE_NOT_ALLOWED, "eve");
    for (int i = 0; i < 3; i++)
        test_tenants_open(&c[i], &server, "alice");
    is_refused(&server, "alice", WIRE_CODE_QUOTA, "tenant red has 3 sessions");
    test_client_close(&c[0]);
    /* The place is free when the worker is reaped. */
    for (int i = 0; !test_tenants_try(&c[0], &server, "alice"); i++) {
        cr_assert_lt(i, 1000);
        test_client_abandon(&c[0]);
        poll(NULL, 0, 5);
    }
    for (int i = 0; i < 3; i++)
        test_client_close(&c[i]);
    test_tenants_stop(&server);
}

Test(tenants, a_quota_is_all_the_memory_there_is)
{
    struct test_server server = test_tenants_start(TWO);
    struct wire_gpMemoryLimits_reply limits;
    uint64_t have, free_bytes, total;
    struct test_client a, b;

    test_tenants_open(&a, &server, "alice");
    test_tenants_open(&b, &server, "bob");
    cr_assert_eq(a.answer.devices[0].total_bytes, 512 * MIB);
    cr_assert_eq(b.answer.devices[0].total_bytes, 256 * MIB);
    have = a.answer.devices[0].lease_bytes;
    cr_assert_leq(have, 512 * MIB);
    have += lease(&a, 8192 * MIB);
    cr_assert_eq(have, 512 * MIB);
    cr_assert_eq(lease(&a, 2 * MIB), 0);
    cr_assert_eq(alloc(&a, 0, 400 * MIB), CUDA_SUCCESS);
    test_tenants_memory(&a, &free_bytes, &total);
    cr_assert_eq(total, 512 * MIB);
    cr_assert_eq(free_bytes, 112 * MIB);
    cr_assert_eq(alloc(&a, 1024 * MIB, 113 * MIB), CUDA_ERROR_OUT_OF_MEMORY);
    cr_assert_eq(alloc(&a, 1024 * MIB, 112 * MIB), CUDA_SUCCESS);
    TEST_ADD(&a, gpMemoryLimits, .device = 0);
    cr_assert_eq(test_client_call(&a), CUDA_SUCCESS);
    cr_assert(wire_get_gpMemoryLimits_reply(a.reply, a.reply_len, &limits));
    cr_assert_not_null(strstr(limits.text, "tenant red may have 512m"), "%s", limits.text);
    /* The other one's is untouched. */
    cr_assert_eq(b.answer.devices[0].lease_bytes + lease(&b, 8192 * MIB), 256 * MIB);
    /* Nothing left: one more session would be of no use. */
    is_refused(&server, "alice", WIRE_CODE_QUOTA, "tenant red");
    test_client_close(&a);
    test_client_close(&b);
    test_tenants_stop(&server);
}

static const char big_module[] = ".version 7.0\n.target sm_70\n.address_size 64\n"
                                 ".visible .global .align 4 .b8 big[%u];\n"
                                 ".visible .entry k()\n{\nret;\n}\n";

Test(tenants, a_modules_variables_count)
{
    struct test_server server = test_tenants_start(TWO);
    uint64_t free_bytes, after, total;
    struct test_client b;
    char text[512];

    test_tenants_open(&b, &server, "bob");
    test_tenants_memory(&b, &free_bytes, &total);
    snprintf(text, sizeof(text), big_module, (unsigned)(300 * MIB));
    cr_assert_eq(test_client_module(&b, ID(1), text), CUDA_ERROR_OUT_OF_MEMORY);
    test_tenants_memory(&b, &after, &total);
    cr_assert_eq(after, free_bytes, "what was refused is not there");
    snprintf(text, sizeof(text), big_module, (unsigned)(100 * MIB));
    cr_assert_eq(test_client_module(&b, ID(2), text), CUDA_SUCCESS);
    test_tenants_memory(&b, &after, &total);
    cr_assert_leq(after, free_bytes - 100 * MIB);
    cr_assert_leq(b.answer.devices[0].lease_bytes + lease(&b, 8192 * MIB), 156 * MIB);
    TEST_ADD(&b, cuModuleUnload, .module = ID(2));
    TEST_ADD(&b, gpBarrier, 0);
    cr_assert_eq(test_client_call(&b), CUDA_SUCCESS);
    test_tenants_memory(&b, &after, &total);
    cr_assert_eq(after, free_bytes);
    test_client_close(&b);
    test_tenants_stop(&server);
}

Test(tenants, an_unused_lease_goes_to_who_needs_it)
{
    struct test_server server = test_tenants_start(TWO);
    struct wire_gpNoticeLease_args wanted;
    struct wire_gpLease_reply reply;
    struct wire_record record;
    struct test_client a, b;
    uint64_t have, other;

    test_tenants_open(&a, &server, "alice");
    have = a.answer.devices[0].lease_bytes + lease(&a, 8192 * MIB);
    cr_assert_eq(have, 512 * MIB);
    cr_assert_eq(alloc(&a, 0, 100 * MIB), CUDA_SUCCESS);
    test_tenants_open(&b, &server, "alice");
    other = b.answer.devices[0].lease_bytes;
    cr_assert_eq(other, 0);
    TEST_ADD(&b, gpLease, .device = 0, .bytes = 300 * MIB);
    test_client_send(&b);
    while (a.notices.len == 0)
        cr_assert(test_client_receive(&a, gp_now_ns() + 10 * GP_NS_PER_S));
    memcpy(&record, a.notices.data, sizeof(record));
    cr_assert_eq(record.call, WIRE_CALL_gpNoticeLease);
    cr_assert(wire_get_gpNoticeLease_args(a.notices.data + sizeof(record),
                                          record.bytes - sizeof(record), &wanted));
    cr_assert_eq(wanted.device, 0);
    give_back(&a, 413 * MIB);
    cr_assert_eq(a.result.deferred, CUDA_ERROR_INVALID_VALUE, "that is in use");
    give_back(&a, 412 * MIB);
    cr_assert_eq(a.result.deferred, 0);
    cr_assert_eq(test_client_wait(&b, 0), CUDA_SUCCESS);
    cr_assert(wire_get_gpLease_reply(b.reply, b.reply_len, &reply));
    cr_assert_eq(reply.granted, 300 * MIB);
    cr_assert_eq(alloc(&a, 512 * MIB, 2 * MIB), CUDA_ERROR_OUT_OF_MEMORY);
    cr_assert_eq(lease(&a, 8192 * MIB), 112 * MIB);
    test_client_close(&a);
    test_client_close(&b);
    test_tenants_stop(&server);
}

/* What the server said first that the session has too much. */
static uint64_t
told_over(const struct test_client *c)
{
    const uint8_t *row = c->notices.data, *body;
    size_t len = c->notices.len, body_len;
    struct wire_gpNoticeOver_args over = {0};
    struct wire_record record;
    bool bad;

    while (wire_next_record(&row, &len, &record, &body, &body_len, &bad))
        if (record.call == WIRE_CALL_gpNoticeOver && over.bytes == 0)
            cr_assert(wire_get_gpNoticeOver_args(body, body_len, &over));
    return over.bytes;
}

static void
reload(struct test_server *server, const char *config, const char *logged)
{
    test_tenants_config(config);
    test_server_kill(server, SIGHUP);
    test_server_await_log(server, logged);
}

Test(tenants, a_reload_changes_running_sessions)
{
    struct test_server server = test_tenants_start(TWO);
    uint64_t free_bytes, total;
    struct test_client b;

    test_tenants_open(&b, &server, "bob");
    cr_assert_eq(b.answer.devices[0].lease_bytes + lease(&b, 8192 * MIB), 256 * MIB);
    cr_assert_eq(alloc(&b, 0, 64 * MIB), CUDA_SUCCESS);
    reload(&server, "[tenant \"blue\"]\nmatch = cn:bob\nmemory = much\n", "tenants stay");
    test_tenants_memory(&b, &free_bytes, &total);
    cr_assert_eq(total, 256 * MIB, "a mistake changes nothing");
    reload(&server, "[tenant \"blue\"]\nmatch = cn:bob\nmemory = 1g\n", "SIGHUP: 1 tenants");
    cr_assert_eq(lease(&b, 8192 * MIB), 768 * MIB);
    is_refused(&server, "alice", WIRE_CODE_NOT_ALLOWED, "alice");
    reload(&server,
           "[tenant \"blue\"]\nmatch = cn:bob\nmemory = 32m\n"
           "[tenant \"red\"]\nmatch = cn:alice\n",
           "SIGHUP: 2 tenants");
    test_tenants_memory(&b, &free_bytes, &total);
    cr_assert_eq(total, 32 * MIB);
    cr_assert_eq(free_bytes, 0);
    cr_assert_eq(lease(&b, 2 * MIB), 0);
    /* A client that does not give back what the quota no longer leaves loses it. */
    for (int i = 0; alloc(&b, (1024 + 4 * (uint64_t)i) * MIB, 2 * MIB) == CUDA_SUCCESS; i++) {
        cr_assert_lt(i, 300);
        poll(NULL, 0, 20);
    }
    cr_assert_eq(b.result.deferred, CUDA_ERROR_OUT_OF_MEMORY);
    cr_assert(told_over(&b) >= 32 * MIB && told_over(&b) <= 64 * MIB, "of 64 it may have 32");
    /* What it has goes on. */
    TEST_ADD(&b, cuMemsetD8Async, .dst = b.answer.device_range.base, .value = 1, .count = 64 * MIB);
    TEST_ADD(&b, cuCtxSynchronize, 0);
    cr_assert_eq(test_client_call(&b), CUDA_SUCCESS);
    test_client_close(&b);
    test_tenants_stop(&server);
}

Test(tenants, who_does_nothing_is_told_and_then_ended)
{
    struct test_server server =
        test_tenants_start("[tenant \"red\"]\nmatch = cn:alice\nidle = 300ms\nidle-grace = 1500ms\n"
                           "[tenant \"blue\"]\nmatch = cn:bob\n");
    uint64_t free_bytes, total, until;
    struct test_client a, b;

    test_tenants_open(&a, &server, "alice");
    test_tenants_open(&b, &server, "bob");
    cr_assert_eq(alloc(&a, 0, 2 * MIB), CUDA_SUCCESS);
    /* Work counts: it is told once, and works in time. */
    test_server_await_log(&server, "told that it will be ended");
    TEST_ADD(&a, cuMemsetD8Async, .dst = a.answer.device_range.base, .value = 1, .count = 64);
    TEST_ADD(&a, cuCtxSynchronize, 0);
    cr_assert_eq(test_client_call(&a), CUDA_SUCCESS);
    test_server_kill(&server, SIGUSR1);
    test_server_await_log(&server, "session of tenant red");
    test_server_await_log(&server, "session of tenant blue: cold");
    /* Questions are no work. */
    until = gp_now_ns() + 20 * GP_NS_PER_S;
    for (;;) {
        cr_assert_lt(gp_now_ns(), until, "it is not ended");
        TEST_ADD(&a, cuMemGetInfo_v2, 0);
        if (test_client_call(&a) != CUDA_SUCCESS)
            break;
        poll(NULL, 0, 20);
    }
    cr_assert(test_server_logged(&server, "ended because it was idle"));
    cr_assert(test_server_logged(&server, "works again"));
    test_tenants_memory(&b, &free_bytes, &total);
    test_client_abandon(&a);
    test_client_close(&b);
    test_tenants_stop(&server);
}

Test(tenants, devices_of_others_are_not_there)
{
    struct test_server server;
    struct test_client a, b;

    setenv("GPUPOOL_SOFT_DEVICES", "2", 1);
    server = test_tenants_start("[tenant \"red\"]\nmatch = cn:alice\ndevices = 1\n"
                                "[tenant \"blue\"]\nmatch = cn:bob\nmodels = h200\n"
                                "[tenant \"rest\"]\nmatch = cn:e*\nmodels = *software*\n");
    is_refused(&server, "bob", WIRE_CODE_NO_DEVICE, "tenant blue");
    cr_assert(test_tenants_try(&a, &server, "alice"));
    cr_assert_eq(a.answer.device_count, 2);
    cr_assert(a.answer.devices[0].hidden);
    cr_assert_eq(a.answer.devices[0].total_bytes, 0);
    cr_assert_eq(a.answer.devices[0].name[0], 0);
    cr_assert_not(a.answer.devices[1].hidden);
    TEST_ADD(&a, gpLease, .device = 0, .bytes = MIB);
    cr_assert_eq(test_client_call(&a), CUDA_ERROR_INVALID_DEVICE);
    TEST_ADD(&a, cuDevicePrimaryCtxRetain, .device = 0, .context = ID(1));
    TEST_ADD(&a, gpBarrier, 0);
    cr_assert_eq(test_client_call(&a), CUDA_SUCCESS);
    cr_assert_eq(a.result.deferred, CUDA_ERROR_INVALID_DEVICE);
    TEST_ADD(&a, cuDevicePrimaryCtxRetain, .device = 1, .context = ID(2));
    a.context = 2;
    TEST_ADD(&a, cuMemAlloc_v2, .address = a.answer.device_range.base, .bytes = MIB, .device = 0);
    TEST_ADD(&a, gpBarrier, 0);
    cr_assert_eq(test_client_call(&a), CUDA_SUCCESS);
    cr_assert_eq(a.result.deferred, CUDA_ERROR_INVALID_DEVICE);
    cr_assert(test_tenants_try(&b, &server, "eve"));
    cr_assert_not(b.answer.devices[0].hidden);
    test_client_close(&a);
    test_client_close(&b);
    test_tenants_stop(&server);
}

static const char endless[] = ".version 7.0\n.target sm_70\n.address_size 64\n"
                              ".visible .entry k()\n{\nL:\nbra L;\n}\n";

Test(tenants, a_kernel_that_runs_for_ever_ends_its_session_only)
{
    struct test_server server =
        test_tenants_start("[tenant \"red\"]\nmatch = cn:alice\nmax-kernel-time = 500ms\n"
                           "[tenant \"blue\"]\nmatch = cn:bob\n");
    struct wire_gpNoticeLost_args lost;
    struct wire_record record;
    struct test_client a, b;
    pid_t workers[64];
    size_t count;

    test_tenants_open(&a, &server, "alice");
    cr_assert_eq(test_client_module(&a, ID(1), endless), CUDA_SUCCESS);
    TEST_ADD(&a, cuLaunchKernelEx, .function = wire_function_id(false, ID(1), 0), .grid = {1, 1, 1},
             .block = {1, 1, 1});
    TEST_ADD(&a, cuCtxSynchronize, 0);
    test_client_send(&a);
    while (test_client_receive(&a, gp_now_ns() + 20 * GP_NS_PER_S))
        ;
    cr_assert_geq(a.notices.len, sizeof(record));
    memcpy(&record, a.notices.data, sizeof(record));
    cr_assert_eq(record.call, WIRE_CALL_gpNoticeLost);
    cr_assert(wire_get_gpNoticeLost_args(a.notices.data + sizeof(record),
                                         record.bytes - sizeof(record), &lost));
    cr_assert_eq(lost.result, CUDA_ERROR_LAUNCH_TIMEOUT);
    test_tenants_open(&b, &server, "bob");
    cr_assert_eq(alloc(&b, 0, MIB), CUDA_SUCCESS);
    TEST_ADD(&b, cuMemsetD8Async, .dst = b.answer.device_range.base, .value = 1, .count = MIB);
    TEST_ADD(&b, cuCtxSynchronize, 0);
    cr_assert_eq(test_client_call(&b), CUDA_SUCCESS);
    test_client_close(&b);
    test_client_abandon(&a);
    /* The worker with the kernel ends by force. */
    count = test_server_workers(&server, workers, 64);
    cr_assert_gt(count, 0);
    test_tenants_stop(&server);
}

/* Copies that the client asks for and does not read, so that whoever has something to tell it
 * waits; behind them stands the kernel without an end. */
Test(tenants, who_does_not_listen_is_ended_all_the_same)
{
    enum {
        BIG = 96 * (int)MIB,
        SMALL = 16384
    };
    struct test_server server =
        test_tenants_start("[tenant \"red\"]\nmatch = cn:alice\nmax-kernel-time = 1s\n");
    struct test_client a;
    uint64_t until;

    test_tenants_open(&a, &server, "alice");
    TEST_ADD(&a, gpLease, .device = 0, .bytes = BIG);
    cr_assert_eq(test_client_call(&a), CUDA_SUCCESS);
    TEST_ADD(&a, cuMemAlloc_v2, .address = a.answer.device_range.base, .bytes = BIG);
    cr_assert_eq(test_client_module(&a, ID(1), endless), CUDA_SUCCESS);
    for (unsigned s = 1; s <= 3; s++)
        TEST_ADD(&a, cuStreamCreateWithPriority, .phStream = ID(s), .flags = 1);
    TEST_ADD(&a, cuMemcpyDtoHAsync_v2, .src = a.answer.device_range.base, .bytes = BIG, .data = 1,
             .stream = ID(1));
    test_client_send(&a);
    while (a.data.len == 0)
        cr_assert(test_client_receive(&a, gp_now_ns() + 20 * GP_NS_PER_S));
    for (uint32_t i = 0; i < 1000; i++)
        TEST_ADD(&a, cuMemcpyDtoHAsync_v2, .src = a.answer.device_range.base, .bytes = SMALL,
                 .data = 2 + i, .stream = ID(2));
    TEST_ADD(&a, cuLaunchKernelEx, .function = wire_function_id(false, ID(1), 0), .grid = {1, 1, 1},
             .block = {1, 1, 1}, .stream = ID(3));
    test_client_send(&a);
    until = gp_now_ns() + 20 * GP_NS_PER_S;
    while (!test_server_logged(&server, "the process does")) {
        cr_assert_lt(gp_now_ns(), until, "it goes on");
        usleep(10000);
    }
    test_client_abandon(&a);
    test_tenants_stop(&server);
}

Test(tenants, memory_comes_without_what_was_in_it)
{
    struct test_server server = test_tenants_start(TWO);
    static uint8_t zeros[4096];
    struct test_client a;

    test_tenants_open(&a, &server, "alice");
    for (int round = 0; round < 3; round++) {
        uint64_t base = a.answer.device_range.base + (uint64_t)round * 64 * MIB;

        cr_assert_eq(alloc(&a, (uint64_t)round * 64 * MIB, 32 * MIB), CUDA_SUCCESS);
        gp_buf_reset(&a.data);
        TEST_ADD(&a, cuMemcpyDtoH_v2, .src = base + 17 * MIB, .bytes = sizeof(zeros),
                 .data = (uint32_t)round + 1);
        cr_assert_eq(test_client_call(&a), CUDA_SUCCESS);
        cr_assert_eq(a.data.len, sizeof(zeros));
        cr_assert_eq(memcmp(a.data.data, zeros, sizeof(zeros)), 0, "round %d", round);
        TEST_ADD(&a, cuMemsetD8Async, .dst = base, .value = 0xee, .count = 32 * MIB);
        TEST_ADD(&a, cuMemFree_v2, .address = base);
        TEST_ADD(&a, cuMemGetInfo_v2, 0); /* after the free */
        cr_assert_eq(test_client_call(&a), CUDA_SUCCESS);
    }
    test_client_close(&a);
    test_tenants_stop(&server);
}

Test(tenants, workers_are_confined)
{
    struct test_server server =
        test_tenants_start_with(TWO, (const char *const[]){"--warm-workers=1", NULL});
    char path[64], text[8192] = "";
    struct test_client a;
    pid_t workers[64];
    size_t count;
    FILE *file;

    test_tenants_open(&a, &server, "alice");
    count = test_server_workers(&server, workers, 64);
    cr_assert_gt(count, 0);
    /* The first to be started serves: it was the only one. */
    snprintf(path, sizeof(path), "/proc/%d/status", (int)workers[0]);
    file = fopen(path, "r");
    cr_assert_not_null(file);
    cr_assert_gt(fread(text, 1, sizeof(text) - 1, file), 0);
    fclose(file);
    cr_assert_not_null(strstr(text, "NoNewPrivs:\t1"));
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
    cr_assert_not_null(strstr(text, "Seccomp:\t2"), "%s", text);
#endif
    test_client_close(&a);
    test_tenants_stop(&server);
}

/* -- eight sessions, killed in the middle of allocating ---------------------------------------- */

#define SESSIONS 8

static void
churn(struct test_client *c, unsigned *seed)
{
    for (int i = 0; i < 20; i++) {
        uint64_t at = (uint64_t)(rand_r(seed) % 16) * 64 * MIB;

        if (rand_r(seed) % 3 == 0)
            TEST_ADD(c, gpLease, .device = 0, .bytes = (uint64_t)(rand_r(seed) % 64) * MIB);
        TEST_ADD(c, cuMemAlloc_v2, .address = c->answer.device_range.base + at,
                 .bytes = 1 + (uint64_t)(rand_r(seed) % 48) * MIB);
        if (rand_r(seed) % 2 == 0)
            TEST_ADD(c, cuMemFree_v2, .address = c->answer.device_range.base + at);
    }
    test_client_send(c);
}

Test(tenants, killed_workers_return_everything)
{
    struct test_server server =
        test_tenants_start("[tenant \"red\"]\nmatch = cn:alice\nmemory = 512m\n"
                           "[tenant \"blue\"]\nmatch = cn:bob\nmemory = 256m\n");
    struct test_client c[SESSIONS];
    pid_t workers[64];
    unsigned seed = 5;
    size_t count;

    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < SESSIONS; i++)
            test_tenants_open(&c[i], &server, i % 2 == 0 ? "alice" : "bob");
        for (int i = 0; i < SESSIONS; i++)
            churn(&c[i], &seed);
        count = test_server_workers(&server, workers, 64);
        for (size_t i = 0; i < count; i++)
            kill(workers[i], SIGKILL);
        for (size_t i = 0; i < count; i++)
            test_server_await_gone(&server, workers[i]);
        for (int i = 0; i < SESSIONS; i++)
            test_client_abandon(&c[i]);
    }
    test_tenants_open(&c[0], &server, "alice");
    test_tenants_open(&c[1], &server, "bob");
    cr_assert_eq(c[0].answer.devices[0].lease_bytes + lease(&c[0], 8192 * MIB), 512 * MIB);
    cr_assert_eq(c[1].answer.devices[0].lease_bytes + lease(&c[1], 8192 * MIB), 256 * MIB);
    test_client_close(&c[0]);
    test_client_close(&c[1]);
    test_tenants_stop(&server);
}
