/* tests/integration/test_stuck.c -- who waits for memory while its own work waits for its next call
 *
 * A stream that waits for a value in memory ends by a later call only. A session that is stopped
 * before that call, for it lacks memory, can neither go on nor let its memory go.
 *
 * GPUPOOL_TEST_LONG=1 runs what takes longer than ten seconds.
 */
#include "tests/support/tenants.h"

#include "protocol/base/clock.h"
#include "protocol/base/util.h"
#include "protocol/wire/control.h"
#include "protocol/wire/kernel_table.h"

#include <criterion/criterion.h>

#include <stdlib.h>

#define MIB    (1ull << 20)
#define PIECE  (2 * MIB)
#define PIECES 19 /* 38 MiB of 40 */
#define WAITS  ID(5)

static const char two[] = "[tenant \"a\"]\nmatch = cn:alice\nmemory = 38m\n"
                          "[tenant \"b\"]\nmatch = cn:bob\nmemory = 38m\n";

static uint64_t
address_of(const struct test_client *c, unsigned piece)
{
    return c->answer.device_range.base + piece * PIECE;
}

static void
take(struct test_client *c, unsigned from, unsigned to)
{
    for (unsigned p = from; p < to; p++)
        TEST_ADD(c, cuMemAlloc_v2, .address = address_of(c, p), .bytes = PIECE);
    cr_assert_eq(test_client_deferred(c), CUDA_SUCCESS);
}

static void
set(struct test_client *c, unsigned piece, uint32_t value)
{
    TEST_ADD(c, cuMemsetD32Async, .dst = address_of(c, piece), .value = value, .count = 1);
}

static void
begin(struct test_client *c, const struct test_server *server, const char *name)
{
    test_tenants_open(c, server, name);
    TEST_ADD(c, gpLease, .device = 0, .bytes = PIECES * PIECE);
    cr_assert_eq(test_client_call(c), CUDA_SUCCESS);
}

/* A stream of it waits until its first word is 1. */
static void
wait_for_one(struct test_client *c)
{
    const uint64_t wait[4] = {CU_STREAM_MEM_OP_WAIT_VALUE_32, address_of(c, 0), 1};

    set(c, 0, 0);
    TEST_ADD(c, cuCtxSynchronize, 0);
    cr_assert_eq(test_client_call(c), CUDA_SUCCESS);
    TEST_ADD(c, cuStreamCreateWithPriority, .phStream = WAITS, .flags = 1);
    TEST_ADD(c, cuStreamBatchMemOp_v2, .stream = WAITS, .ops = wait, .ops_len = 4);
    cr_assert_eq(test_client_deferred(c), CUDA_SUCCESS);
}

static struct test_server
server_start(void)
{
    test_tenants_share_device();
    setenv("GPUPOOL_SOFT_MEMORY", "40m", 1);
    return test_tenants_start_with(two, (const char *const[]){"--oversubscribe=2.0", NULL});
}

/* Something in a piece that is not on the device, and its end. The answer to what comes before it
 * in the frame says that the session has begun to wait for memory. */
static void
touch(struct test_client *c, unsigned piece, uint32_t value)
{
    uint32_t before;

    TEST_ADD(c, gpMemoryLimits, .device = 0);
    before = c->tags;
    set(c, piece, value);
    TEST_ADD(c, cuStreamSynchronize, 0);
    test_client_send(c);
    cr_assert_eq(test_client_wait(c, before), CUDA_SUCCESS);
}

static uint32_t
word_of(struct test_client *c, unsigned piece)
{
    uint32_t word;

    gp_buf_reset(&c->data);
    TEST_ADD(c, cuMemcpyDtoH_v2, .src = address_of(c, piece), .bytes = sizeof(word), .data = 1);
    cr_assert_eq(test_client_call(c), CUDA_SUCCESS);
    memcpy(&word, c->data.data, sizeof(word));
    return word;
}

/* alice waits for bob's memory; bob cannot let it go before he has more of it. */
Test(stuck, who_cannot_leave_is_served_first)
{
    struct test_server server = server_start();
    struct test_client alice, bob;

    begin(&bob, &server, "bob");
    take(&bob, 0, 5);
    wait_for_one(&bob);
    begin(&alice, &server, "alice");
    take(&alice, 0, PIECES);
    touch(&alice, PIECES - 1, 7);
    take(&bob, 5, 10);
    touch(&bob, 9, 8);
    cr_assert_eq(test_client_wait(&bob, 0), CUDA_SUCCESS, "bob lacks memory, alice gave him hers");
    set(&bob, 0, 1);
    TEST_ADD(&bob, cuCtxSynchronize, 0);
    cr_assert_eq(test_client_call(&bob), CUDA_SUCCESS);
    cr_assert_eq(test_client_wait(&alice, 0), CUDA_SUCCESS);
    cr_assert_eq(word_of(&alice, PIECES - 1), 7);
    cr_assert_eq(word_of(&bob, 9), 8);
    test_client_close(&alice);
    test_client_close(&bob);
    test_tenants_stop(&server);
}

/* -- who never lets go ------------------------------------------------------------------------- */

static const char bounded[] = "[tenant \"a\"]\nmatch = cn:alice\nmemory = 38m\n"
                              "[tenant \"b\"]\nmatch = cn:bob\nmemory = 38m\n"
                              "max-hold-time = 500ms\n";

static const char kernels[] = ".version 7.0\n.target sm_70\n.address_size 64\n"
                              ".visible .entry endless()\n{\nL:\nbra L;\n}\n"
                              ".visible .entry nothing()\n{\nret;\n}\n";

static void
launch(struct test_client *c, const char *kernel)
{
    int row;

    cr_assert_eq(test_client_module(c, ID(1), kernels), CUDA_SUCCESS);
    row = test_client_kernel(c, kernel);
    cr_assert_geq(row, 0);
    TEST_ADD(c, cuLaunchKernelEx, .function = wire_function_id(false, ID(1), (uint32_t)row),
             .grid = {1, 1, 1}, .block = {1, 1, 1});
}

/* bob is told why he is ended, and what he held is there for alice; then all are ended. */
static void
alice_gets_what_bob_held(struct test_server *server, struct test_client *bob)
{
    struct wire_gpNoticeLost_args lost;
    struct test_client alice;
    struct wire_record record;
    size_t at = 0;

    begin(&alice, server, "alice");
    take(&alice, 0, PIECES);
    for (unsigned p = 0; p < PIECES; p++)
        set(&alice, p, p);
    launch(&alice, "nothing"); /* which may reach all of it */
    TEST_ADD(&alice, cuCtxSynchronize, 0);
    cr_assert_eq(test_client_call(&alice), CUDA_SUCCESS);
    for (unsigned p = 0; p < PIECES; p++)
        cr_assert_eq(word_of(&alice, p), p);
    while (test_client_receive(bob, gp_now_ns() + 20 * GP_NS_PER_S))
        ;
    for (;;) { /* a warning came before */
        cr_assert_geq(bob->notices.len, at + sizeof(record));
        memcpy(&record, bob->notices.data + at, sizeof(record));
        if (record.call == WIRE_CALL_gpNoticeLost)
            break;
        at += record.bytes;
    }
    cr_assert(wire_get_gpNoticeLost_args(bob->notices.data + at + sizeof(record),
                                         record.bytes - sizeof(record), &lost));
    cr_assert_eq(lost.result, CUDA_ERROR_LAUNCH_TIMEOUT);
    test_client_abandon(bob);
    test_client_close(&alice);
    test_tenants_stop(server);
}

static struct test_server
bounded_start(void)
{
    test_tenants_share_device();
    setenv("GPUPOOL_SOFT_MEMORY", "40m", 1);
    return test_tenants_start_with(bounded, (const char *const[]){"--oversubscribe=2.0", NULL});
}

/* A value that nobody writes. bob may go on for as long as nobody wants his memory. */
Test(stuck, who_waits_for_ever_keeps_its_memory_from_nobody_for_ever)
{
    struct test_server server = bounded_start();
    struct test_client bob;
    uint64_t until;

    begin(&bob, &server, "bob");
    take(&bob, 0, PIECES);
    wait_for_one(&bob);
    until = gp_now_ns() + GP_NS_PER_S;
    while (gp_now_ns() < until) {
        TEST_ADD(&bob, cuMemGetInfo_v2, 0);
        cr_assert_eq(test_client_call(&bob), CUDA_SUCCESS, "nobody wants his memory");
    }
    alice_gets_what_bob_held(&server, &bob);
}

Test(stuck, a_kernel_without_an_end_keeps_memory_from_nobody_for_ever)
{
    struct test_server server = bounded_start();
    struct test_client bob;

    begin(&bob, &server, "bob");
    take(&bob, 0, PIECES);
    launch(&bob, "endless");
    TEST_ADD(&bob, cuCtxSynchronize, 0);
    test_client_send(&bob);
    alice_gets_what_bob_held(&server, &bob);
}

/* A host function that never returns; and bob goes on with other calls, as if he were at work. */
Test(stuck, a_host_function_without_an_end_keeps_memory_from_nobody_for_ever)
{
    struct test_server server = bounded_start();
    struct test_client bob;

    begin(&bob, &server, "bob");
    take(&bob, 0, PIECES);
    TEST_ADD(&bob, cuStreamCreateWithPriority, .phStream = WAITS, .flags = 1);
    TEST_ADD(&bob, cuLaunchHostFunc, .callback = 5, .stream = WAITS);
    cr_assert_eq(test_client_deferred(&bob), CUDA_SUCCESS);
    for (unsigned i = 0; i < 2000; i++)
        set(&bob, i % PIECES, i);
    test_client_send(&bob);
    alice_gets_what_bob_held(&server, &bob);
}

/* Neither can: one is refused, and when it is gone the other one goes on. */
Test(stuck, where_nobody_can_leave_one_is_refused, .timeout = 120)
{
    struct test_server server;
    struct test_client c[2];

    if (getenv("GPUPOOL_TEST_LONG") == NULL)
        cr_skip_test("takes longer than ten seconds; who is refused is in tests/unit/sched");
    server = server_start();
    for (unsigned i = 0; i < 2; i++) {
        begin(&c[i], &server, i == 0 ? "alice" : "bob");
        take(&c[i], 0, 8);
        wait_for_one(&c[i]);
    }
    for (unsigned i = 0; i < 2; i++) {
        take(&c[i], 8, 16);
        touch(&c[i], 15, i);
    }
    /* bob is asked first, as alice waits; so he is stuck first, and she is refused. */
    cr_assert_eq(test_client_wait(&c[0], 0), CUDA_SUCCESS);
    cr_assert_eq(c[0].result.deferred, CUDA_ERROR_OUT_OF_MEMORY);
    test_client_close(&c[0]);
    cr_assert_eq(test_client_wait(&c[1], 0), CUDA_SUCCESS);
    cr_assert_eq(c[1].result.deferred, CUDA_SUCCESS);
    set(&c[1], 0, 1);
    TEST_ADD(&c[1], cuCtxSynchronize, 0);
    cr_assert_eq(test_client_call(&c[1]), CUDA_SUCCESS);
    test_client_close(&c[1]);
    test_tenants_stop(&server);
}
