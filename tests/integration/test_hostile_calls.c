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
