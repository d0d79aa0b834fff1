/* tests/integration/test_hostile_turns.c -- streams that wait for the client, beside other tenants
 *
 * A stream may wait for a host function, for a value in memory, or for the client to read what it
 * asked for. Nobody else shall wait for that, and neither shall the session itself, whose answer
 * comes by a later call. bob has such streams, alice wants to work.
 */
#include "tests/support/paging.h"
#include "tests/support/tenants.h"

#include "protocol/base/clock.h"
#include "protocol/wire/kernel_table.h"

#include <criterion/criterion.h>

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static const char kernel[] = ".version 7.0\n.target sm_70\n.address_size 64\n"
                             ".visible .entry k()\n{\nret;\n}\n";

static const char equals[] = "[tenant \"a\"]\nmatch = cn:alice\nshare = 50\n"
                             "[tenant \"b\"]\nmatch = cn:bob\nshare = 50\n";
static const char classes[] = "[tenant \"a\"]\nmatch = cn:alice\npriority = high\n"
                              "[tenant \"b\"]\nmatch = cn:bob\npriority = low\nfloor = 0\n";

static uint32_t row; /* of the kernel, alike in all sessions */

static struct test_server
server_start(const char *config)
{
    test_tenants_share_device();
    setenv("GPUPOOL_SOFT_THREAD_RATE", "1000000", 1); /* of a kernel: microseconds */
    setenv("GPUPOOL_SOFT_INSTANT", "yes", 1);
    return test_tenants_start(config);
}

static void
begin(struct test_client *c, const struct test_server *server, const char *name)
{
    test_tenants_open(c, server, name);
    TEST_ADD(c, cuStreamCreateWithPriority, .phStream = ID(1), .flags = 1);
    cr_assert_eq(test_client_module(c, ID(1), kernel), CUDA_SUCCESS);
    row = (uint32_t)test_client_kernel(c, "k");
}

static void
launch(struct test_client *c, uint64_t stream, uint32_t us)
{
    TEST_ADD(c, cuLaunchKernelEx, .function = wire_function_id(false, ID(1), row),
             .grid = {us / 100, 1, 1}, .block = {100, 1, 1}, .stream = stream);
}

static void
settle(struct test_client *c)
{
    TEST_ADD(c, cuStreamSynchronize, .stream = ID(1));
    cr_assert_eq(test_client_call(c), CUDA_SUCCESS);
}

/* Its work is known, and bob is not alone. */
static void
work_a_little(struct test_client *c)
{
    for (int i = 0; i < 4; i++) {
        launch(c, ID(1), 2000);
        settle(c);
    }
}

/* A worker that waits for room in the low class's window would never hear that the function is
 * done. */
Test(hostile_turns, work_behind_a_host_function_does_not_hold_up_its_answer)
{
    struct test_server server = server_start(classes);
    struct wire_record record;
    struct test_client alice, bob;

    begin(&alice, &server, "alice");
    begin(&bob, &server, "bob");
    work_a_little(&bob);
    TEST_ADD(&bob, cuLaunchHostFunc, .callback = 5, .stream = ID(1));
    for (int i = 0; i < 16; i++)
        launch(&bob, ID(1), 2000);
    test_client_send(&bob);
    while (bob.notices.len == 0)
        cr_assert(test_client_receive(&bob, gp_now_ns() + 20 * GP_NS_PER_S));
    memcpy(&record, bob.notices.data, sizeof(record));
    TEST_ADD(&bob, gpHostDone, .tag = record.tag);
    settle(&bob);
    work_a_little(&alice);
    test_client_close(&alice);
    test_client_close(&bob);
    test_tenants_stop(&server);
}

#define STREAMS 64

/* bob's streams wait for a word that nobody writes, kernels behind. */
static void
wait_for_a_word(struct test_client *bob)
{
    const uint64_t word = bob->answer.device_range.base;
    const uint64_t wait[4] = {CU_STREAM_MEM_OP_WAIT_VALUE_32, word, 1};

    TEST_ADD(bob, cuMemAlloc_v2, .address = word, .bytes = 4096);
    TEST_ADD(bob, cuMemsetD32Async, .dst = word, .value = 0, .count = 1, .stream = ID(1));
    settle(bob);
    for (unsigned i = 0; i < STREAMS; i++)
        TEST_ADD(bob, cuStreamCreateWithPriority, .phStream = ID(2 + i), .flags = 1);
    cr_assert_eq(test_client_deferred(bob), CUDA_SUCCESS);
    for (unsigned i = 0; i < STREAMS; i++) {
        TEST_ADD(bob, cuStreamBatchMemOp_v2, .stream = ID(2 + i), .ops = wait, .ops_len = 4);
        launch(bob, ID(2 + i), 2000);
    }
    test_client_send(bob);
}

static void
write_the_word(struct test_client *bob)
{
    TEST_ADD(bob, cuMemsetD32Async, .dst = bob->answer.device_range.base, .value = 1, .count = 1,
             .stream = ID(1));
    TEST_ADD(bob, cuCtxSynchronize, 0);
    cr_assert_eq(test_client_call(bob), CUDA_SUCCESS);
}

/* 400 ms of her work take 800 beside another tenant; with turns of 4 ms between such of 100 ms it
 * was ten seconds. */
Test(hostile_turns, who_takes_turns_in_vain_has_no_more_of_them_than_its_share)
{
    struct test_server server = server_start(equals);
    struct test_client alice, bob;
    uint64_t began;

    begin(&alice, &server, "alice");
    begin(&bob, &server, "bob");
    work_a_little(&bob);
    work_a_little(&alice);
    wait_for_a_word(&bob);
    began = gp_now_ns();
    for (int i = 0; i < 200; i++)
        launch(&alice, ID(1), 2000);
    settle(&alice);
    cr_assert_lt(gp_now_ns() - began, 5 * GP_NS_PER_S, "%llu ms",
                 (unsigned long long)((gp_now_ns() - began) / GP_NS_PER_MS));
    write_the_word(&bob);
    test_client_close(&alice);
    test_client_close(&bob);
    test_tenants_stop(&server);
}

/* Other streams of the session are measured meanwhile: what bob gets done, he has paid for. */
Test(hostile_turns, a_stream_that_waits_hides_no_work_of_others)
{
    struct test_server server = server_start(equals);
    struct test_client alice, bob;
    uint64_t began;
    uint32_t tag;

    begin(&alice, &server, "alice");
    begin(&bob, &server, "bob");
    work_a_little(&bob);
    work_a_little(&alice);
    wait_for_a_word(&bob);
    for (int i = 0; i < 1000; i++)
        launch(&bob, ID(1), 2000);
    TEST_ADD(&bob, gpBarrier, 0);
    tag = bob.tags;
    test_client_send(&bob);
    began = gp_now_ns();
    for (int i = 0; i < 200; i++)
        launch(&alice, ID(1), 2000);
    settle(&alice);
    cr_assert_lt(gp_now_ns() - began, 5 * GP_NS_PER_S);
    cr_assert_eq(test_client_wait(&bob, tag), CUDA_SUCCESS);
    write_the_word(&bob);
    test_client_close(&alice);
    test_client_close(&bob);
    test_tenants_stop(&server);
}

/* Alone, too: what is queued behind the wait is not waited for, for 8 s at each call. */
Test(hostile_turns, who_is_alone_may_queue_behind_a_value)
{
    struct test_server server = server_start(equals);
    struct test_client bob;
    uint64_t began;

    begin(&bob, &server, "bob");
    work_a_little(&bob);
    began = gp_now_ns();
    wait_for_a_word(&bob);
    write_the_word(&bob);
    cr_assert_lt(gp_now_ns() - began, 7 * GP_NS_PER_S);
    test_client_close(&bob);
    test_tenants_stop(&server);
}

/* bob asks for more than fits pinned memory and reads nothing of it. */
Test(hostile_turns, nobody_waits_for_who_does_not_read)
{
    enum {
        BYTES = 96 << 20
    };
    struct test_server server = server_start(classes);
    struct test_client alice, bob;
    uint64_t began;

    begin(&alice, &server, "alice");
    begin(&bob, &server, "bob");
    work_a_little(&alice);
    TEST_ADD(&bob, gpLease, .device = 0, .bytes = BYTES);
    cr_assert_eq(test_client_call(&bob), CUDA_SUCCESS);
    TEST_ADD(&bob, cuMemAlloc_v2, .address = bob.answer.device_range.base, .bytes = BYTES);
    TEST_ADD(&bob, cuMemcpyDtoHAsync_v2, .src = bob.answer.device_range.base, .bytes = BYTES,
             .data = 7, .stream = ID(1));
    TEST_ADD(&bob, gpBarrier, 0);
    test_client_send(&bob);
    while (bob.data.len == 0)
        cr_assert(test_client_receive(&bob, gp_now_ns() + 20 * GP_NS_PER_S));
    began = gp_now_ns();
    work_a_little(&alice);
    cr_assert_lt(gp_now_ns() - began, 3 * GP_NS_PER_S / 2, "as long as a turn may last");
    cr_assert_eq(test_client_wait(&bob, 0), CUDA_SUCCESS);
    settle(&bob);
    cr_assert_eq(bob.data.len, BYTES);
    test_client_close(&alice);
    test_client_close(&bob);
    test_tenants_stop(&server);
}

/* carol works for a minute, bob may not meanwhile, and alice needs his memory: she has it in a
 * second or two, on a busy machine in some more. */
Test(hostile_turns, who_waits_for_its_turn_keeps_nobody_from_memory)
{
    static const char three[] =
        "[tenant \"a\"]\nmatch = cn:alice\nmemory = 36m\nsessions = 1\n"
        "[tenant \"c\"]\nmatch = cn:carol\nmemory = 2m\n"
        "[tenant \"b\"]\nmatch = cn:bob\nmemory = 36m\npriority = low\nfloor = 0\n";
    struct test_client alice, bob, carol;
    struct test_server server;
    uint64_t began;
    uint32_t tag;

    test_tenants_share_device();
    setenv("GPUPOOL_SOFT_THREAD_RATE", "1000000", 1);
    setenv("GPUPOOL_SOFT_INSTANT", "yes", 1);
    setenv("GPUPOOL_SOFT_MEMORY", "40m", 1);
    server = test_tenants_start_with(
        three, (const char *const[]){"--oversubscribe=2.0", "--paging-eager", NULL});
    begin(&carol, &server, "carol");
    begin(&bob, &server, "bob");
    begin(&alice, &server, "alice");
    for (int i = 0; i < 2; i++) {
        struct test_client *c = i == 0 ? &bob : &alice;

        TEST_ADD(c, gpLease, .device = 0, .bytes = 32 * MIB);
        cr_assert_eq(test_client_call(c), CUDA_SUCCESS);
        TEST_ADD(c, cuMemAlloc_v2, .address = c->answer.device_range.base, .bytes = 32 * MIB);
        launch(c, ID(1), 1000);
        settle(c);
    }
    launch(&bob, ID(1), 1000); /* he holds his now */
    settle(&bob);
    launch(&carol, ID(1), 400000); /* so that it is known how long they take */
    settle(&carol);
    for (int i = 0; i < 150; i++)
        launch(&carol, ID(1), 400000);
    test_client_send(&carol);
    TEST_ADD(&bob, cuMemGetInfo_v2, 0);
    tag = bob.tags;
    for (int i = 0; i < 100; i++)
        launch(&bob, ID(1), 1000);
    test_client_send(&bob);
    cr_assert_eq(test_client_wait(&bob, tag), CUDA_SUCCESS);
    began = gp_now_ns();
    TEST_ADD(&alice, cuFlushGPUDirectRDMAWrites, 0); /* of no turn, but of all memory */
    (void)test_client_call(&alice);
    cr_assert_lt(gp_now_ns() - began, 40 * GP_NS_PER_S, "%llu ms",
                 (unsigned long long)((gp_now_ns() - began) / GP_NS_PER_MS));
    test_client_abandon(&carol);
    test_client_abandon(&bob);
    test_client_close(&alice);
    test_tenants_stop(&server);
}

/* -- what is charged -------------------------------------------------------------- */

static const char spins[] =
    ".version 7.0\n.target sm_70\n.address_size 64\n"
    ".visible .entry k(.param .u64 word) {\n"
    "  .reg .b32 %r<2>; .reg .b64 %rd<2>; .reg .pred %p<2>;\n"
    "  ld.param.u64 %rd1, [word];\n"
    "L: ld.volatile.global.u32 %r1, [%rd1]; setp.eq.u32 %p1, %r1, 0; @%p1 bra L;\n  ret;\n}\n";

/* Nanoseconds of turns that the only tenant was charged for. */
static uint64_t
charged(const char *path)
{
    struct wire_admin_answer answer;
    uint64_t ns = 0;

    paging_admin(path, &answer);
    cr_assert_eq(answer.tenant_count, 1);
    for (uint32_t i = 0; i < answer.tenants[0].use_count; i++)
        ns += answer.tenants[0].uses[i].turn_ns;
    wire_admin_answer_fini(&answer);
    return ns;
}

/* So much more is charged than before, soon: what was asked for is over. */
static void
is_charged(struct test_client *c, const char *path, uint64_t *before, uint64_t least_ns,
           const char *what)
{
    const uint64_t until = gp_now_ns() + 20 * GP_NS_PER_S;
    uint64_t now;

    settle(c);
    while ((now = charged(path)) < *before + least_ns) {
        cr_assert_lt(gp_now_ns(), until, "%s is free", what);
        usleep(1000);
    }
    *before = now;
}

Test(hostile_turns, no_kind_of_work_is_free)
{
    enum {
        LARGE = 40 * (int)MIB, /* more than is staged in the stream */
        SMALL = (int)MIB
    };
    static uint8_t data[SMALL];
    char path[64], option[96];
    struct test_server server;
    struct test_client bob;
    uint64_t base, before;

    snprintf(path, sizeof(path), "/tmp/gpupool-turns-%d.sock", (int)getpid());
    snprintf(option, sizeof(option), "--admin-socket=%s", path);
    server = test_tenants_start_with("[tenant \"b\"]\nmatch = cn:bob\nmax-kernel-time = 60s\n",
                                     (const char *const[]){option, NULL});
    begin(&bob, &server, "bob");
    base = bob.answer.device_range.base;
    TEST_ADD(&bob, gpLease, .device = 0, .bytes = 2 * LARGE);
    cr_assert_eq(test_client_call(&bob), CUDA_SUCCESS);
    TEST_ADD(&bob, cuMemAlloc_v2, .address = base, .bytes = LARGE);
    settle(&bob);
    before = charged(path);
    launch(&bob, ID(1), 2000);
    is_charged(&bob, path, &before, 1, "a kernel");
    TEST_ADD(&bob, cuMemsetD8Async, .dst = base, .value = 1, .count = SMALL, .stream = ID(1));
    is_charged(&bob, path, &before, 1, "a fill");
    TEST_ADD(&bob, cuMemcpyHtoDAsync_v2, .dst = base, .data = data, .data_len = SMALL / 32,
             .stream = ID(1));
    is_charged(&bob, path, &before, 1, "a copy to the device");
    TEST_ADD(&bob, cuMemcpyDtoDAsync_v2, .dst = base, .src = base + LARGE / 2, .bytes = SMALL,
             .stream = ID(1));
    is_charged(&bob, path, &before, 1, "a copy on the device");
    TEST_ADD(&bob, cuMemcpyDtoHAsync_v2, .src = base, .bytes = SMALL, .data = 1, .stream = ID(1));
    is_charged(&bob, path, &before, 1, "a copy to the host");
    gp_buf_reset(&bob.data);
    TEST_ADD(&bob, cuMemcpyDtoHAsync_v2, .src = base, .bytes = LARGE, .data = 2, .stream = ID(1));
    is_charged(&bob, path, &before, GP_NS_PER_MS / 2, "a long copy to the host");
    test_client_close(&bob);
    test_tenants_stop(&server);
    unlink(path);
}

/* Its other streams are measured meanwhile, and what it takes itself by their ends. */
Test(hostile_turns, a_kernel_without_an_end_hides_no_work_of_other_streams)
{
    char path[64], option[96];
    const uint64_t until = gp_now_ns() + 20 * GP_NS_PER_S;
    struct test_server server;
    uint64_t word, before, beside;
    struct test_client bob;
    uint8_t params[8];

    snprintf(path, sizeof(path), "/tmp/gpupool-turns-%d.sock", (int)getpid());
    snprintf(option, sizeof(option), "--admin-socket=%s", path);
    /* So that it is measured though it is alone. */
    server = test_tenants_start_with("[tenant \"b\"]\nmatch = cn:bob\nmax-kernel-time = 60s\n",
                                     (const char *const[]){option, NULL});
    test_tenants_open(&bob, &server, "bob");
    word = bob.answer.device_range.base;
    memcpy(params, &word, sizeof(params));
    TEST_ADD(&bob, cuMemAlloc_v2, .address = word, .bytes = 4096);
    TEST_ADD(&bob, cuMemsetD32Async, .dst = word, .value = 0, .count = 1024);
    TEST_ADD(&bob, cuCtxSynchronize, 0);
    for (unsigned i = 1; i <= 2; i++)
        TEST_ADD(&bob, cuStreamCreateWithPriority, .phStream = ID(i), .flags = 1);
    cr_assert_eq(test_client_module(&bob, ID(1), spins), CUDA_SUCCESS);
    TEST_ADD(&bob, cuLaunchKernelEx, .function = wire_function_id(false, ID(1), 0),
             .grid = {1, 1, 1}, .block = {1, 1, 1}, .stream = ID(2), .params = params,
             .params_len = sizeof(params));
    cr_assert_eq(test_client_deferred(&bob), CUDA_SUCCESS);
    before = charged(path);
    do {
        cr_assert_lt(gp_now_ns(), until, "%llu ns", (unsigned long long)charged(path));
        TEST_ADD(&bob, cuMemsetD32Async, .dst = word + 8, .value = 1, .count = 1, .stream = ID(1));
        settle(&bob);
        beside = charged(path) - before;
    } while (beside < 300 * GP_NS_PER_MS);
    TEST_ADD(&bob, cuMemsetD32Async, .dst = word, .value = 1, .count = 1, .stream = ID(1));
    TEST_ADD(&bob, cuCtxSynchronize, 0);
    cr_assert_eq(test_client_call(&bob), CUDA_SUCCESS);
    cr_assert_lt(charged(path) - before, gp_now_ns() - (until - 20 * GP_NS_PER_S),
                 "no more than there was");
    test_client_close(&bob);
    test_tenants_stop(&server);
    unlink(path);
}
