/* tests/integration/test_endless.c -- kernels without an end go with their session */
#include "tests/support/client.h"
#include "tests/support/server.h"

#include "protocol/wire/kernel_table.h"

#include <criterion/criterion.h>

#include <signal.h>
#include <string.h>
#include <unistd.h>

/* Says that it runs, then never ends. Two warps wait for each other at a barrier for ever after. */
static const char endless[] =
    ".version 8.0\n.target sm_75\n.address_size 64\n"
    ".visible .entry endless(.param .u64 flag) {\n"
    "  .reg .b32 %r<2>; .reg .b64 %rd<2>;\n"
    "  ld.param.u64 %rd1, [flag]; mov.u32 %r1, 1; st.volatile.global.u32 [%rd1], %r1;\n"
    "L: add.u32 %r1, %r1, 1; bra L;\n}\n"
    ".visible .entry barriers(.param .u64 flag) {\n"
    "  .reg .b32 %r<2>; .reg .b64 %rd<2>;\n"
    "  ld.param.u64 %rd1, [flag]; mov.u32 %r1, 1; st.volatile.global.u32 [%rd1], %r1;\n"
    "L: bar.sync 0; bra L;\n}\n"
    ".visible .entry sleeping(.param .u64 flag) {\n"
    "  .reg .b32 %r<2>; .reg .b64 %rd<2>;\n"
    "  ld.param.u64 %rd1, [flag]; mov.u32 %r1, 1; st.volatile.global.u32 [%rd1], %r1;\n"
    "L: nanosleep.u32 1000000; bra L;\n}\n";

static uint32_t
read_flag(struct test_client *c, uint64_t flag)
{
    uint32_t value = 0;

    gp_buf_reset(&c->data);
    TEST_ADD(c, cuMemcpyDtoHAsync_v2, .src = flag, .bytes = 4, .data = 7, .stream = ID(6));
    TEST_ADD(c, cuStreamSynchronize, .stream = ID(6));
    cr_assert_eq(test_client_call(c), CUDA_SUCCESS);
    cr_assert_eq(c->data.len, 4);
    memcpy(&value, c->data.data, 4);
    return value;
}

/* The kernel runs when this returns; the host waits for its end. */
static void
start(struct test_client *c, const char *kernel)
{
    uint64_t flag, until = gp_now_ns() + 20 * GP_NS_PER_S;
    uint8_t params[8];
    int row;

    cr_assert_eq(test_client_module(c, ID(3), endless), CUDA_SUCCESS);
    row = test_client_kernel(c, kernel);
    cr_assert_geq(row, 0);
    flag = c->answer.device_range.base;
    memcpy(params, &flag, 8);
    TEST_ADD(c, cuMemAlloc_v2, .address = flag, .bytes = 4096, .device = 0);
    TEST_ADD(c, cuMemsetD32Async, .dst = flag, .value = 0, .count = 1024);
    TEST_ADD(c, cuCtxSynchronize, 0);
    TEST_ADD(c, cuStreamCreateWithPriority, .phStream = ID(5), .flags = 1);
    TEST_ADD(c, cuStreamCreateWithPriority, .phStream = ID(6), .flags = 1);
    TEST_ADD(c, cuLaunchKernelEx, .function = wire_function_id(false, ID(3), (uint32_t)row),
             .grid = {3, 1, 1}, .block = {96, 1, 1}, .stream = ID(5), .params = params,
             .params_len = sizeof(params));
    TEST_ADD(c, gpBarrier, 0);
    cr_assert_eq(test_client_call(c), CUDA_SUCCESS);
    while (read_flag(c, flag) == 0)
        cr_assert_lt(gp_now_ns(), until, "the kernel does not start");
    TEST_ADD(c, cuStreamSynchronize, .stream = ID(5));
    test_client_send(c);
}

/* One of the workers, whichever had the session, is no more; the others stay. */
static void
await_one_gone(const pid_t *workers, size_t count)
{
    uint64_t until = gp_now_ns() + 20 * GP_NS_PER_S;
    size_t gone = 0;

    while (gone == 0) {
        cr_assert_lt(gp_now_ns(), until, "the worker goes on with its kernel");
        usleep(1000);
        for (size_t i = 0; i < count; i++)
            gone += kill(workers[i], 0) != 0;
    }
    cr_assert_eq(gone, 1);
}

static void
a_session_takes_its_kernel_along(const char *kernel, bool politely)
{
    struct test_server server = test_server_start(NULL);
    struct test_client good, bad;
    pid_t workers[16];
    size_t count;

    test_client_start(&bad, server.url[0]);
    test_client_start(&good, server.url[0]);
    start(&bad, kernel);
    count = test_server_workers(&server, workers, 16);
    cr_assert_geq(count, 2);
    if (politely)
        test_client_close(&bad);
    else
        test_client_abandon(&bad);
    await_one_gone(workers, count);
    TEST_ADD(&good, gpBarrier, 0);
    cr_assert_eq(test_client_call(&good), CUDA_SUCCESS);
    cr_assert_eq(good.result.deferred, 0);
    test_client_close(&good);
    test_server_stop(&server);
}

Test(endless, a_loop_ends_when_its_client_is_gone)
{
    a_session_takes_its_kernel_along("endless", false);
}

Test(endless, barriers_in_a_loop_end_when_their_client_is_gone)
{
    a_session_takes_its_kernel_along("barriers", false);
}

Test(endless, a_sleeping_loop_ends_when_its_client_says_goodbye)
{
    a_session_takes_its_kernel_along("sleeping", true);
}
