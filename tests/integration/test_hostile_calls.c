/* tests/integration/test_hostile_calls.c -- settings that name what is not the client's, or nothing
 *
 * The client speaks the protocol itself and checks nothing; the server must.
 */
#include "tests/support/client.h"
#include "tests/support/server.h"

#include "protocol/abi/cuda_types.h"

#include <criterion/criterion.h>

static struct test_server server;
static struct test_client c;

static void
begin(void)
{
    server = test_server_start(NULL);
    test_client_start(&c, server.url[0]);
}

static void
finish(void)
{
    test_client_close(&c);
    test_server_stop(&server);
}

TestSuite(hostile_calls, .init = begin, .fini = finish);

static int
set_attribute(uint64_t stream, uint32_t attr)
{
    TEST_ADD(&c, cuStreamSetAttribute, .stream = stream, .attr = attr);
    return test_client_call(&c);
}

Test(hostile_calls, attributes_of_streams_are_of_a_list_and_streams_of_the_session)
{
    struct wire_cuStreamGetAttribute_reply got;

    TEST_ADD(&c, cuStreamCreateWithPriority, .phStream = ID(5), .flags = 1);
    cr_assert_eq(test_client_deferred(&c), CUDA_SUCCESS);
    for (uint32_t attr = 0; attr < 64; attr++) {
        bool known = attr == 1 || (attr >= 8 && attr <= 10) || attr == 16;

        if (attr == 3) /* a policy of 0 is none */
            continue;
        cr_assert_eq(set_attribute(ID(5), attr), known ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE,
                     "attribute %u", attr);
        TEST_ADD(&c, cuStreamGetAttribute, .stream = ID(5), .attr = attr);
        cr_assert_eq(test_client_call(&c), known ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE);
    }
    cr_assert_eq(set_attribute(ID(5), 0xffffffff), CUDA_ERROR_INVALID_VALUE);
    cr_assert_eq(set_attribute(ID(6), 8), CUDA_ERROR_INVALID_HANDLE);
    TEST_ADD(&c, cuStreamGetAttribute, .stream = ID(5) + (1ull << 32), .attr = 8);
    cr_assert_eq(test_client_call(&c), CUDA_ERROR_INVALID_HANDLE, "a later generation");
    TEST_ADD(&c, cuStreamCopyAttributes, .dst = ID(5), .src = ID(6));
    cr_assert_eq(test_client_call(&c), CUDA_ERROR_INVALID_HANDLE);
    TEST_ADD(&c, cuStreamCopyAttributes, .dst = 0xffffffff, .src = ID(5));
    cr_assert_eq(test_client_call(&c), CUDA_ERROR_INVALID_HANDLE);
    TEST_ADD(&c, cuStreamGetAttribute, .stream = ID(5), .attr = CU_LAUNCH_ATTRIBUTE_PRIORITY);
    cr_assert_eq(test_client_call(&c), CUDA_SUCCESS);
    cr_assert(wire_get_cuStreamGetAttribute_reply(c.reply, c.reply_len, &got));
    cr_assert_eq(got.value.priority, 0);
}

static int
green(uint64_t id, uint64_t of, uint32_t groups, const uint32_t *parts, uint32_t count)
{
    TEST_ADD(&c, cuGreenCtxCreate, .green = id, .of = of, .groups = groups, .min_count = 1,
             .parts = parts, .parts_len = count);
    return test_client_call(&c);
}

static int
split(int32_t device, uint64_t of, uint32_t groups, uint32_t min_count)
{
    TEST_ADD(&c, cuDevSmResourceSplitByCount, .device = device, .of = of, .groups = groups,
             .min_count = min_count);
    return test_client_call(&c);
}

Test(hostile_calls, a_split_of_multiprocessors_is_made_again_or_refused)
{
    static const uint32_t good[] = {1, 0}, beyond[] = {2}, rest[] = {0xffffffff}, twice[] = {0, 0};

    cr_assert_eq(split(0, 0, 2, 1), CUDA_SUCCESS);
    cr_assert_neq(split(77, 0, 2, 1), CUDA_SUCCESS);
    cr_assert_neq(split(-1, 0, 2, 1), CUDA_SUCCESS);
    cr_assert_neq(split(0, ID(9), 2, 1), CUDA_SUCCESS);
    cr_assert_eq(split(0, 0, 0xffffffff, 1), CUDA_ERROR_INVALID_VALUE);
    cr_assert_eq(split(0, 0, 1, 0xffffffff), CUDA_ERROR_INVALID_VALUE);
    cr_assert_eq(green(ID(1), 0, 2, good, 2), CUDA_SUCCESS);
    cr_assert_neq(green(ID(1), 0, 2, good, 2), CUDA_SUCCESS, "an id once");
    cr_assert_neq(green(ID(2), 0, 2, beyond, 1), CUDA_SUCCESS);
    cr_assert_neq(green(ID(3), 0, 2, rest, 1), CUDA_SUCCESS, "nothing is left");
    cr_assert_neq(green(ID(4), 0, 2, twice, 2), CUDA_SUCCESS);
    cr_assert_neq(green(ID(5), 0, 0, good, 1), CUDA_SUCCESS);
    cr_assert_neq(green(ID(6), 0, 0xffffffff, good, 1), CUDA_SUCCESS);
    cr_assert_neq(green(ID(7), ID(99), 2, good, 1), CUDA_SUCCESS);
    cr_assert_eq(green(ID(8), ID(1), 2, good, 1), CUDA_SUCCESS, "a part of a part");
}

Test(hostile_calls, green_contexts_are_counted_and_have_their_context)
{
    uint32_t n = 0;

    TEST_ADD(&c, cuGreenCtxStreamCreate, .stream = ID(5), .green = ID(1));
    cr_assert_eq(test_client_deferred(&c), CUDA_ERROR_INVALID_CONTEXT);
    while (n < 400 && green(ID(n + 1), 0, 0, NULL, 0) == CUDA_SUCCESS)
        n++;
    cr_assert_eq(n, 256);
    TEST_ADD(&c, cuGreenCtxStreamCreate, .stream = ID(5), .green = ID(1), .priority = 1 << 30);
    cr_assert_eq(test_client_deferred(&c), CUDA_SUCCESS);
    TEST_ADD(&c, cuCtxCreate_v2, .context = ID(2));
    cr_assert_eq(test_client_call(&c), CUDA_SUCCESS);
    TEST_ADD(&c, cuGreenCtxDestroy, .green = ID(256));
    c.context = 2;
    TEST_ADD(&c, cuGreenCtxStreamCreate, .stream = ID(6), .green = ID(1));
    cr_assert_eq(test_client_deferred(&c), CUDA_ERROR_INVALID_CONTEXT, "of another context");
    cr_assert_eq(green(ID(300), 0, 0, NULL, 0), CUDA_ERROR_INVALID_CONTEXT, "not a primary one");
    c.context = 1;
    TEST_ADD(&c, cuGreenCtxDestroy, .green = ID(1)); /* its stream is still there */
    cr_assert_eq(test_client_deferred(&c), CUDA_SUCCESS);
    TEST_ADD(&c, cuMemsetD8Async, .dst = c.answer.device_range.base, .count = 16, .stream = ID(5));
    cr_assert_neq(test_client_deferred(&c), CUDA_SUCCESS);
    TEST_ADD(&c, cuStreamSynchronize, .stream = ID(5));
    cr_assert_eq(test_client_call(&c), CUDA_ERROR_CONTEXT_IS_DESTROYED);
    TEST_ADD(&c, cuGreenCtxDestroy, .green = ID(1));
    cr_assert_eq(test_client_deferred(&c), CUDA_ERROR_INVALID_CONTEXT);
}
