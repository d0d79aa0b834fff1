/* tests/integration/test_hostile.c -- a client that obeys the format and nothing else
 *
 * What it asks for must be refused before the driver sees it, and the session goes on.
 */
#include "tests/support/client.h"
#include "tests/support/server.h"

#include "protocol/base/clock.h"
#include "protocol/wire/kernel_table.h"

#include <criterion/criterion.h>

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PENDING_MAX (256u << 10) /* backend/cuda/state.h */

static const char plain[] = ".version 7.0\n.target sm_70\n.address_size 64\n"
                            ".visible .global .align 4 .b8 variable[64];\n"
                            ".visible .entry plain()\n{\nret;\n}\n";

static void
begin(struct test_client *c, struct test_server *server)
{
    *server = test_server_start(NULL);
    test_client_start(c, server->url[0]);
}

static void
end(struct test_client *c, struct test_server *server)
{
    test_client_close(c);
    test_server_stop(server);
}

static char *
many_parameters(unsigned count)
{
    char *text = NULL;
    size_t len;
    FILE *f = open_memstream(&text, &len);

    fprintf(f, ".version 8.1\n.target sm_70\n.address_size 64\n.visible .entry many(");
    for (unsigned i = 0; i < count; i++)
        fprintf(f, "%s.param .u8 p%u", i != 0 ? "," : "", i);
    fprintf(f, ")\n{\nret;\n}\n");
    fclose(f);
    return text;
}

/* The driver would take the pointers beyond the last one that the server has made. */
Test(hostile, a_kernel_with_more_parameters_than_the_server_knows_is_not_launched)
{
    static const uint8_t params[WIRE_KERNEL_PARAMS_MAX];
    struct test_server server;
    struct test_client c;
    char *text = many_parameters(WIRE_KERNEL_PARAMS_MAX + 904);
    int row;

    begin(&c, &server);
    cr_assert_eq(test_client_module(&c, ID(1), text), CUDA_SUCCESS);
    row = test_client_kernel(&c, "many");
    cr_assert_eq(row, 0);
    TEST_ADD(&c, cuLaunchKernelEx, .function = wire_function_id(false, ID(1), 0), .grid = {1, 1, 1},
             .block = {1, 1, 1}, .params = params, .params_len = sizeof(params));
    cr_assert_eq(test_client_deferred(&c), CUDA_ERROR_NOT_SUPPORTED);
    /* Nor out of one buffer, which may be as short as the client likes. */
    TEST_ADD(&c, cuLaunchKernelEx, .function = wire_function_id(false, ID(1), 0), .grid = {1, 1, 1},
             .block = {1, 1, 1}, .flags = 1, .params = params, .params_len = 8);
    cr_assert_eq(test_client_deferred(&c), CUDA_ERROR_NOT_SUPPORTED);
    end(&c, &server);
    free(text);
}

Test(hostile, a_launch_attribute_that_nobody_knows_does_not_reach_the_driver)
{
    CUlaunchAttribute attribute = {0};
    struct test_server server;
    struct test_client c;

    begin(&c, &server);
    cr_assert_eq(test_client_module(&c, ID(1), plain), CUDA_SUCCESS);
    for (int id = 0; id < 64; id++) {
        memset(&attribute.value, 0xee, sizeof(attribute.value));
        attribute.id = (CUlaunchAttributeID)id;
        TEST_ADD(&c, cuLaunchKernelEx, .function = wire_function_id(false, ID(1), 0),
                 .grid = {1, 1, 1}, .block = {1, 1, 1}, .attributes = &attribute,
                 .attributes_len = 1);
        if (id == CU_LAUNCH_ATTRIBUTE_DEVICE_UPDATABLE_KERNEL_NODE || id == 15 || id > 16)
            cr_assert_eq(test_client_deferred(&c), CUDA_ERROR_NOT_SUPPORTED, "attribute %d", id);
        else
            (void)test_client_deferred(&c); /* the driver's own answer */
    }
    end(&c, &server);
}

/* They would be files on the server. */
Test(hostile, contexts_that_dump_core_are_refused)
{
    struct test_server server;
    struct test_client c;

    begin(&c, &server);
    TEST_ADD(&c, cuCtxCreate_v2, .context = ID(2), .flags = CU_CTX_COREDUMP_ENABLE);
    cr_assert_eq(test_client_call(&c), CUDA_ERROR_NOT_SUPPORTED);
    TEST_ADD(&c, cuCtxCreate_v2, .context = ID(2), .flags = CU_CTX_USER_COREDUMP_ENABLE | 1);
    cr_assert_eq(test_client_call(&c), CUDA_ERROR_NOT_SUPPORTED);
    TEST_ADD(&c, cuDevicePrimaryCtxSetFlags_v2, .device = 0, .flags = CU_CTX_COREDUMP_ENABLE);
    cr_assert_eq(test_client_call(&c), CUDA_ERROR_NOT_SUPPORTED);
    TEST_ADD(&c, cuCtxCreate_v2, .context = ID(2), .flags = CU_CTX_SCHED_BLOCKING_SYNC);
    cr_assert_eq(test_client_call(&c), CUDA_SUCCESS);
    end(&c, &server);
}

/* The address may be the server's own memory by then. */
Test(hostile, a_librarys_variable_cannot_be_named_when_its_context_is_gone)
{
    struct wire_cuLibraryGetGlobal_reply variable;
    struct test_server server;
    struct test_client c;

    begin(&c, &server);
    TEST_ADD(&c, cuCtxCreate_v2, .context = ID(2));
    cr_assert_eq(test_client_call(&c), CUDA_SUCCESS);
    TEST_ADD(&c, gpUpload, .upload = 7, .total = sizeof(plain), .data = (const uint8_t *)plain,
             .data_len = sizeof(plain));
    TEST_ADD(&c, cuLibraryLoadData, .library = ID(1), .upload = 7, .kind = 4);
    cr_assert_eq(test_client_call(&c), CUDA_SUCCESS);
    c.context = 2;
    TEST_ADD(&c, cuLibraryGetGlobal, .library = ID(1), .name = "variable", .name_len = 8);
    cr_assert_eq(test_client_call(&c), CUDA_SUCCESS);
    cr_assert(wire_get_cuLibraryGetGlobal_reply(c.reply, c.reply_len, &variable));
    cr_assert_eq(variable.bytes, 64);
    TEST_ADD(&c, cuMemsetD8Async, .dst = variable.address, .count = 64);
    cr_assert_eq(test_client_deferred(&c), CUDA_SUCCESS);
    TEST_ADD(&c, cuCtxDestroy_v2, .ctx = ID(2));
    c.context = 1;
    cr_assert_eq(test_client_deferred(&c), CUDA_SUCCESS);
    TEST_ADD(&c, cuMemsetD8Async, .dst = variable.address, .count = 64);
    cr_assert_eq(test_client_deferred(&c), CUDA_ERROR_INVALID_VALUE);
    end(&c, &server);
}

/* The copy would still read a block of the first context when that is gone. */
Test(hostile, work_of_one_context_does_not_go_to_a_stream_of_another)
{
    struct test_server server;
    struct test_client c;
    uint64_t base;

    begin(&c, &server);
    base = c.answer.device_range.base;
    TEST_ADD(&c, cuMemAlloc_v2, .address = base, .bytes = 4096);
    TEST_ADD(&c, cuCtxCreate_v2, .context = ID(2));
    cr_assert_eq(test_client_call(&c), CUDA_SUCCESS);
    c.context = 2;
    TEST_ADD(&c, cuStreamCreateWithPriority, .phStream = ID(5), .flags = 1);
    cr_assert_eq(test_client_deferred(&c), CUDA_SUCCESS);
    TEST_ADD(&c, cuMemsetD8Async, .dst = base, .count = 16, .stream = ID(5));
    cr_assert_eq(test_client_deferred(&c), CUDA_SUCCESS);
    c.context = 1;
    TEST_ADD(&c, cuMemcpyHtoDAsync_v2, .dst = base, .stream = ID(5), .data = (const uint8_t *)"xy",
             .data_len = 2);
    cr_assert_eq(test_client_deferred(&c), CUDA_ERROR_INVALID_HANDLE);
    TEST_ADD(&c, cuStreamDestroy_v2, .stream = ID(5));
    cr_assert_eq(test_client_deferred(&c), CUDA_SUCCESS, "from any context");
    end(&c, &server);
}

/* 2^40 bytes out of 2 MiB. */
Test(hostile, boxes_whose_rows_or_slices_overlap_are_refused)
{
    struct test_server server;
    struct test_client c;
    uint64_t base;

    begin(&c, &server);
    base = c.answer.device_range.base;
    TEST_ADD(&c, cuMemAlloc_v2, .address = base, .bytes = 2u << 20);
    cr_assert_eq(test_client_deferred(&c), CUDA_SUCCESS);
    TEST_ADD(&c, gpCopyOut3D,
             .copy = {.srcMemoryType = CU_MEMORYTYPE_DEVICE,
                      .srcDevice = base,
                      .srcPitch = 1,
                      .srcHeight = 1,
                      .WidthInBytes = 1,
                      .Height = 1u << 20,
                      .Depth = 1u << 20},
             .data = 9);
    cr_assert_eq(test_client_deferred(&c), CUDA_ERROR_INVALID_VALUE);
    cr_assert_eq(c.data_failed, 1);
    cr_assert_eq(c.data.len, 0);
    TEST_ADD(&c, cuMemsetD2D8Async, .dst = base, .pitch = 0, .width = 1u << 20, .height = 1u << 20);
    cr_assert_eq(test_client_deferred(&c), CUDA_ERROR_INVALID_VALUE);
    end(&c, &server);
}

/* A thread of the server is stuck in sending, so what the executor says gathers. */
Test(hostile, a_client_that_asks_and_never_reads_is_not_listened_to)
{
    static const uint8_t text[4096];
    struct pollfd room = {.events = POLLOUT};
    struct test_server server;
    struct test_client c;
    unsigned sent = 0;
    const unsigned most = 48000; /* 190 MiB */

    begin(&c, &server);
    TEST_ADD(&c, cuMemAlloc_v2, .address = c.answer.device_range.base, .bytes = 128u << 20);
    cr_assert_eq(test_client_deferred(&c), CUDA_SUCCESS);
    TEST_ADD(&c, cuMemcpyDtoHAsync_v2, .src = c.answer.device_range.base, .bytes = 128u << 20,
             .data = 3);
    test_client_send(&c);
    room.fd = tp_event_fd(c.lane);
    while (sent < most && poll(&room, 1, 1500) == 1)
        test_client_frame(&c, WIRE_FRAME_PING, sent++, text, sizeof(text));
    cr_assert_lt(sent, most, "the server took and kept it all");
    test_client_abandon(&c);
    test_server_stop(&server);
}

Test(hostile, calls_that_wait_are_counted)
{
    struct wire_record record;
    struct test_server server;
    struct test_client c;

    begin(&c, &server);
    TEST_ADD(&c, cuStreamCreateWithPriority, .phStream = ID(1), .flags = 1);
    TEST_ADD(&c, cuLaunchHostFunc, .stream = ID(1), .callback = 1);
    test_client_send(&c);
    while (c.notices.len == 0)
        cr_assert(test_client_receive(&c, gp_now_ns() + 20 * GP_NS_PER_S));
    memcpy(&record, c.notices.data, sizeof(record));
    for (unsigned i = 0; i <= PENDING_MAX; i++)
        TEST_ADD(&c, cuStreamSynchronize, .stream = ID(1));
    cr_assert_eq(test_client_call(&c), CUDA_ERROR_OUT_OF_MEMORY, "one too many");
    TEST_ADD(&c, gpHostDone, .tag = record.tag);
    test_client_send(&c);
    cr_assert_eq(test_client_wait(&c, c.tags - 1), CUDA_SUCCESS, "the last of the others");
    test_client_abandon(&c);
    test_server_stop(&server);
}
