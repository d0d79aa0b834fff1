/* tests/integration/test_hostile_memory.c -- addresses, objects and sizes that are not the client's
 *
 * The client speaks the protocol itself and checks nothing; the server must.
 */
#include "tests/support/client.h"
#include "tests/support/server.h"

#include "protocol/base/clock.h"

#include <criterion/criterion.h>

#include <stdlib.h>
#include <string.h>

#define G (2ull << 20)

static struct test_server server;
static struct test_client c;
static uint64_t base, end;

static void
begin(void)
{
    server = test_server_start(NULL);
    test_client_start(&c, server.url[0]);
    base = c.answer.device_range.base;
    end = base + c.answer.device_range.bytes;
    cr_assert_eq(c.answer.devices[0].granularity_bytes, G);
}

static void
finish(void)
{
    test_client_close(&c);
    test_server_stop(&server);
}

TestSuite(hostile_memory, .init = begin, .fini = finish);

#define REFUSED(want, name, ...)                                                                   \
    do {                                                                                           \
        TEST_ADD(&c, name, __VA_ARGS__);                                                           \
        cr_assert_eq(test_client_deferred(&c), want);                                              \
    } while (0)

Test(hostile_memory, objects_that_cannot_be_are_not_made)
{
    REFUSED(CUDA_ERROR_INVALID_VALUE, cuMemCreate, .handle = ID(1), .bytes = 0);
    REFUSED(CUDA_ERROR_INVALID_VALUE, cuMemCreate, .handle = ID(1), .bytes = G + 1);
    REFUSED(CUDA_ERROR_OUT_OF_MEMORY, cuMemCreate, .handle = ID(1), .bytes = UINT64_MAX / G * G);
    REFUSED(CUDA_ERROR_INVALID_DEVICE, cuMemCreate, .handle = ID(1), .bytes = G, .device = -1);
    REFUSED(CUDA_ERROR_INVALID_DEVICE, cuMemCreate, .handle = ID(1), .bytes = G, .device = 64);
    REFUSED(CUDA_ERROR_NOT_SUPPORTED, cuMemCreate, .handle = ID(1), .bytes = G, .handle_types = 8);
    REFUSED(CUDA_ERROR_INVALID_HANDLE, cuMemCreate, .handle = 0, .bytes = G);
    REFUSED(CUDA_ERROR_INVALID_HANDLE, cuMemRelease, .handle = ID(1));
    REFUSED(CUDA_SUCCESS, cuMemCreate, .handle = ID(1), .bytes = G);
    REFUSED(CUDA_ERROR_INVALID_HANDLE, cuMemCreate, .handle = ID(1), .bytes = G);
    REFUSED(CUDA_ERROR_INVALID_HANDLE, cuMemRelease, .handle = 2ull << 32 | 1);
    REFUSED(CUDA_SUCCESS, cuMemRelease, .handle = ID(1));
    REFUSED(CUDA_ERROR_INVALID_HANDLE, cuMemRelease, .handle = ID(1));
}

Test(hostile_memory, objects_count_against_the_lease_until_nothing_holds_them)
{
    uint64_t lease = c.answer.devices[0].lease_bytes;

    REFUSED(CUDA_SUCCESS, cuMemCreate, .handle = ID(1), .bytes = lease);
    REFUSED(CUDA_ERROR_OUT_OF_MEMORY, cuMemCreate, .handle = ID(2), .bytes = G);
    REFUSED(CUDA_ERROR_OUT_OF_MEMORY, cuMemAlloc_v2, .address = base, .bytes = G);
    REFUSED(CUDA_SUCCESS, cuMemMap, .address = base + G, .bytes = G, .handle = ID(1));
    REFUSED(CUDA_SUCCESS, cuMemRelease, .handle = ID(1));
    REFUSED(CUDA_ERROR_OUT_OF_MEMORY, cuMemCreate, .handle = ID(3), .bytes = G);
    REFUSED(CUDA_SUCCESS, cuMemUnmap, .address = base + G, .bytes = G);
    REFUSED(CUDA_SUCCESS, cuMemCreate, .handle = ID(4), .bytes = lease);
}

Test(hostile_memory, nothing_is_mapped_where_something_is_or_beyond)
{
    REFUSED(CUDA_SUCCESS, cuMemAlloc_v2, .address = base, .bytes = 100);
    REFUSED(CUDA_SUCCESS, cuMemCreate, .handle = ID(1), .bytes = 2 * G);
    REFUSED(CUDA_ERROR_INVALID_VALUE, cuMemMap, .address = base, .bytes = G, .handle = ID(1));
    REFUSED(CUDA_ERROR_INVALID_HANDLE, cuMemMap, .address = base + G, .bytes = G, .handle = ID(9));
    REFUSED(CUDA_ERROR_INVALID_VALUE, cuMemMap, .address = base - G, .bytes = G, .handle = ID(1));
    REFUSED(CUDA_ERROR_INVALID_VALUE, cuMemMap, .address = end - G, .bytes = 2 * G,
            .handle = ID(1));
    REFUSED(CUDA_ERROR_INVALID_VALUE, cuMemMap, .address = end, .bytes = G, .handle = ID(1));
    REFUSED(CUDA_ERROR_INVALID_VALUE, cuMemMap, .address = 0, .bytes = G, .handle = ID(1));
    REFUSED(CUDA_ERROR_INVALID_VALUE, cuMemMap, .address = base + G + 1, .bytes = G,
            .handle = ID(1));
    REFUSED(CUDA_ERROR_INVALID_VALUE, cuMemMap, .address = base + G, .bytes = 0, .handle = ID(1));
    REFUSED(CUDA_ERROR_INVALID_VALUE, cuMemMap, .address = base + G, .bytes = 3 * G,
            .handle = ID(1));
    REFUSED(CUDA_ERROR_INVALID_VALUE, cuMemMap, .address = base + G, .bytes = 2 * G, .offset = G,
            .handle = ID(1));
    REFUSED(CUDA_ERROR_INVALID_VALUE, cuMemMap, .address = base + G, .bytes = G,
            .offset = UINT64_MAX / G * G, .handle = ID(1));
    REFUSED(CUDA_ERROR_INVALID_VALUE, cuMemMap, .address = base + G, .bytes = G, .offset = 1,
            .handle = ID(1));
    REFUSED(CUDA_SUCCESS, cuMemMap, .address = base + G, .bytes = 2 * G, .handle = ID(1));
    REFUSED(CUDA_ERROR_INVALID_VALUE, cuMemMap, .address = base + 2 * G, .bytes = G,
            .handle = ID(1));
    REFUSED(CUDA_ERROR_INVALID_VALUE, cuMemAlloc_v2, .address = base + G, .bytes = 100);
    REFUSED(CUDA_ERROR_INVALID_VALUE, cuMemAlloc_v2, .address = base + 3 * G - 512, .bytes = 1024);
    REFUSED(CUDA_ERROR_INVALID_VALUE, cuMemFree_v2, .address = base + G);
    REFUSED(CUDA_SUCCESS, cuMemMap, .address = end - G, .bytes = G, .handle = ID(1));
    test_client_abandon(&c); /* and a session that ends with mappings ends */
    memset(&c, 0, sizeof(c));
    cr_assert(test_client_open(&c, server.url[0], NULL), "%s", c.refused.reason);
}

Test(hostile_memory, only_whole_mappings_are_unmapped_or_opened)
{
    REFUSED(CUDA_SUCCESS, cuMemCreate, .handle = ID(1), .bytes = 2 * G);
    REFUSED(CUDA_SUCCESS, cuMemAlloc_v2, .address = base, .bytes = G);
    REFUSED(CUDA_SUCCESS, cuMemMap, .address = base + G, .bytes = 2 * G, .handle = ID(1));
    REFUSED(CUDA_ERROR_INVALID_VALUE, cuMemUnmap, .address = base, .bytes = G);
    REFUSED(CUDA_ERROR_INVALID_VALUE, cuMemUnmap, .address = base, .bytes = 3 * G);
    REFUSED(CUDA_ERROR_INVALID_VALUE, cuMemUnmap, .address = base + G, .bytes = G);
    REFUSED(CUDA_ERROR_INVALID_VALUE, cuMemUnmap, .address = base + 2 * G, .bytes = G);
    REFUSED(CUDA_ERROR_INVALID_VALUE, cuMemUnmap, .address = base + G, .bytes = 4 * G);
    REFUSED(CUDA_ERROR_INVALID_VALUE, cuMemUnmap, .address = base + G, .bytes = 0);
    REFUSED(CUDA_ERROR_INVALID_VALUE, cuMemUnmap, .address = 0, .bytes = UINT64_MAX / G * G);
    REFUSED(CUDA_ERROR_INVALID_VALUE, cuMemSetAccess, .address = base + G, .bytes = G, .named = 1);
    REFUSED(CUDA_ERROR_INVALID_VALUE, cuMemSetAccess, .address = base, .bytes = G, .named = 1);
    REFUSED(CUDA_ERROR_INVALID_VALUE, cuMemSetAccess, .address = base + G, .bytes = 2 * G);
    REFUSED(CUDA_ERROR_INVALID_DEVICE, cuMemSetAccess, .address = base + G, .bytes = 2 * G,
            .named = 1ull << 63);
    REFUSED(CUDA_ERROR_INVALID_VALUE, cuMemSetAccess, .address = base + G, .bytes = 2 * G,
            .named = 1, .readable = 2);
    REFUSED(CUDA_ERROR_INVALID_VALUE, cuMemSetAccess, .address = base + G, .bytes = 2 * G,
            .named = 1, .writable = 1);
    /* Memory without access is none to the driver: it says so. */
    REFUSED(CUDA_ERROR_INVALID_VALUE, cuMemsetD8Async, .dst = base + G, .count = 16);
    REFUSED(CUDA_SUCCESS, cuMemSetAccess, .address = base + G, .bytes = 2 * G, .named = 1,
            .readable = 1, .writable = 1);
    REFUSED(CUDA_SUCCESS, cuMemsetD8Async, .dst = base + G, .count = 16);
    REFUSED(CUDA_SUCCESS, cuMemUnmap, .address = base + G, .bytes = 2 * G);
    REFUSED(CUDA_ERROR_INVALID_VALUE, cuMemUnmap, .address = base + G, .bytes = 2 * G);
    REFUSED(CUDA_ERROR_INVALID_VALUE, cuMemsetD8Async, .dst = base + G, .count = 16);
}

Test(hostile_memory, only_allocations_and_devices_that_are_there_are_opened)
{
    REFUSED(CUDA_ERROR_INVALID_VALUE, gpMemAccess, .address = base, .readable = 1);
    REFUSED(CUDA_SUCCESS, cuMemAlloc_v2, .address = base, .bytes = 3 * G);
    REFUSED(CUDA_ERROR_INVALID_VALUE, gpMemAccess, .address = base + G, .readable = 1);
    REFUSED(CUDA_ERROR_INVALID_DEVICE, gpMemAccess, .address = base, .readable = 1ull << 63);
    REFUSED(CUDA_ERROR_INVALID_DEVICE, gpMemAccess, .address = base, .readable = 3);
    REFUSED(CUDA_ERROR_INVALID_VALUE, gpMemAccess, .address = base, .writable = 1);
    REFUSED(CUDA_SUCCESS, gpMemAccess, .address = base, .readable = 1);
    REFUSED(CUDA_SUCCESS, gpMemAccess, .address = base);
    /* What is its own it keeps. */
    REFUSED(CUDA_SUCCESS, cuMemsetD8Async, .dst = base, .count = 3 * G);
    REFUSED(CUDA_SUCCESS, cuMemFree_v2, .address = base);
}

Test(hostile_memory, contexts_of_copies_and_peers_are_the_clients_own)
{
    REFUSED(CUDA_SUCCESS, cuMemAlloc_v2, .address = base, .bytes = G);
    REFUSED(CUDA_ERROR_INVALID_CONTEXT, cuMemcpyPeerAsync, .dst = base, .src = base, .bytes = 4,
            .dst_context = ID(1), .src_context = ID(7));
    REFUSED(CUDA_ERROR_INVALID_CONTEXT, cuMemcpyPeerAsync, .dst = base, .src = base, .bytes = 4,
            .dst_context = 2ull << 32 | 1, .src_context = ID(1));
    REFUSED(CUDA_ERROR_INVALID_VALUE, cuMemcpyPeerAsync, .dst = base, .src = base + G, .bytes = 4,
            .dst_context = ID(1), .src_context = ID(1));
    REFUSED(CUDA_ERROR_INVALID_VALUE, cuMemcpyPeerAsync, .dst = base, .src = base,
            .bytes = UINT64_MAX, .dst_context = ID(1), .src_context = ID(1));
    REFUSED(CUDA_SUCCESS, cuMemcpyPeerAsync, .dst = base, .src = base + 4096, .bytes = 64,
            .dst_context = ID(1), .src_context = ID(1));
    TEST_ADD(&c, cuCtxEnablePeerAccess, .peer = ID(1));
    cr_assert_eq(test_client_call(&c), CUDA_ERROR_INVALID_CONTEXT);
    TEST_ADD(&c, cuCtxEnablePeerAccess, .peer = ID(9));
    cr_assert_eq(test_client_call(&c), CUDA_ERROR_INVALID_CONTEXT);
    TEST_ADD(&c, cuCtxDisablePeerAccess, .peer = 0);
    cr_assert_eq(test_client_call(&c), CUDA_ERROR_INVALID_CONTEXT);
}

/* The reply of the last call is a token. */
static void
keep_token(uint8_t token[32])
{
    struct wire_cuIpcGetMemHandle_reply reply;

    cr_assert(wire_get_cuIpcGetMemHandle_reply(c.reply, c.reply_len, &reply));
    cr_assert_eq(reply.token_len, 32);
    memcpy(token, reply.token, 32);
}

Test(hostile_memory, tokens_are_not_guessed_and_open_where_they_fit_only)
{
    uint8_t memory[32], object[32], forged[32];
    struct test_client maker;

    REFUSED(CUDA_SUCCESS, cuMemAlloc_v2, .address = base, .bytes = G + 512);
    TEST_ADD(&c, cuIpcGetMemHandle, .address = base + 512);
    cr_assert_eq(test_client_call(&c), CUDA_ERROR_INVALID_VALUE);
    TEST_ADD(&c, cuIpcGetMemHandle, .address = base);
    cr_assert_eq(test_client_call(&c), CUDA_SUCCESS);
    keep_token(memory);
    TEST_ADD(&c, cuIpcOpenMemHandle_v2, .address = base + 8 * G, .token = memory, .token_len = 32);
    cr_assert_eq(test_client_call(&c), CUDA_ERROR_INVALID_CONTEXT, "its own");
    REFUSED(CUDA_SUCCESS, cuMemCreate, .handle = ID(1), .bytes = G);
    TEST_ADD(&c, cuMemExportToShareableHandle, .handle = ID(1));
    cr_assert_eq(test_client_call(&c), CUDA_ERROR_INVALID_VALUE, "not made for it");
    TEST_ADD(&c, cuMemExportToShareableHandle, .handle = ID(9));
    cr_assert_eq(test_client_call(&c), CUDA_ERROR_INVALID_HANDLE);
    REFUSED(CUDA_SUCCESS, cuMemCreate, .handle = ID(2), .bytes = G, .handle_types = 1);
    TEST_ADD(&c, cuMemExportToShareableHandle, .handle = ID(2));
    cr_assert_eq(test_client_call(&c), CUDA_SUCCESS);
    keep_token(object);
    maker = c;

    /* Another session of the same tenant. */
    memset(&c, 0, sizeof(c));
    cr_assert(test_client_open(&c, server.url[0], NULL), "%s", c.refused.reason);
    base = c.answer.device_range.base;
    end = base + c.answer.device_range.bytes;
    TEST_ADD(&c, cuDevicePrimaryCtxRetain, .device = 0, .context = ID(1));
    c.context = 1;
#define OPENED(want, at, bytes, len)                                                               \
    do {                                                                                           \
        TEST_ADD(&c, cuIpcOpenMemHandle_v2, .address = (at), .token = (bytes),                     \
                 .token_len = (len));                                                              \
        cr_assert_eq(test_client_call(&c), want);                                                  \
    } while (0)
    OPENED(CUDA_ERROR_INVALID_VALUE, base, memory, 31);
    OPENED(CUDA_ERROR_INVALID_VALUE, base, memory, 0);
    OPENED(CUDA_ERROR_INVALID_VALUE, base, object, 32);
    OPENED(CUDA_ERROR_INVALID_VALUE, base + 512, memory, 32);
    OPENED(CUDA_ERROR_INVALID_VALUE, end - G, memory, 32);
    OPENED(CUDA_ERROR_INVALID_VALUE, end, memory, 32);
    OPENED(CUDA_ERROR_INVALID_VALUE, 0, memory, 32);
    for (unsigned i = 0; i < 32; i++) {
        memcpy(forged, memory, 32);
        forged[i] ^= 0x80;
        OPENED(CUDA_ERROR_INVALID_VALUE, base, forged, 32);
    }
    REFUSED(CUDA_SUCCESS, cuMemAlloc_v2, .address = base + G, .bytes = 64);
    OPENED(CUDA_ERROR_INVALID_VALUE, base, memory, 32);
    OPENED(CUDA_SUCCESS, base + 2 * G, memory, 32);
    OPENED(CUDA_ERROR_INVALID_VALUE, base + 2 * G, memory, 32);
    TEST_ADD(&c, cuMemImportFromShareableHandle, .handle = ID(1), .token = memory, .token_len = 32);
    cr_assert_eq(test_client_call(&c), CUDA_ERROR_INVALID_VALUE);
    TEST_ADD(&c, cuMemImportFromShareableHandle, .handle = ID(1), .token = object, .token_len = 32);
    cr_assert_eq(test_client_call(&c), CUDA_SUCCESS);
    TEST_ADD(&c, cuMemImportFromShareableHandle, .handle = ID(1), .token = object, .token_len = 32);
    cr_assert_eq(test_client_call(&c), CUDA_ERROR_INVALID_HANDLE);
    TEST_ADD(&c, cuIpcOpenEventHandle, .event = ID(1), .token = memory, .token_len = 32);
    cr_assert_eq(test_client_call(&c), CUDA_ERROR_INVALID_VALUE);
    TEST_ADD(&c, cuIpcOpenEventHandle, .event = ID(1), .token = object, .token_len = 3);
    cr_assert_eq(test_client_call(&c), CUDA_ERROR_INVALID_VALUE);
    TEST_ADD(&c, cuIpcGetEventHandle, .event = ID(1));
    cr_assert_eq(test_client_call(&c), CUDA_ERROR_INVALID_HANDLE);
    TEST_ADD(&c, cuEventCreate, .phEvent = ID(1), .Flags = CU_EVENT_DISABLE_TIMING);
    TEST_ADD(&c, cuIpcGetEventHandle, .event = ID(1));
    cr_assert_eq(test_client_call(&c), CUDA_ERROR_INVALID_HANDLE, "not made for it");
    /* What its maker freed is offered no more; what is open stays. */
    test_client_abandon(&maker);
    REFUSED(CUDA_SUCCESS, cuMemsetD8Async, .dst = base + 2 * G, .count = G + 512);
    REFUSED(CUDA_SUCCESS, cuMemFree_v2, .address = base + 2 * G);
    REFUSED(CUDA_SUCCESS, cuMemRelease, .handle = ID(1));
}

static uint8_t bytes[300000];

/* A frame of one long copy, which the server reads piece by piece to where it goes. */
static int
long_copy(uint64_t dst, uint64_t stream)
{
    TEST_ADD(&c, cuMemcpyHtoDAsync_v2, .dst = dst, .stream = stream, .data = bytes,
             .data_len = sizeof(bytes));
    test_client_send(&c);
    return test_client_deferred(&c);
}

Test(hostile_memory, a_long_copy_that_is_refused_is_skipped)
{
    uint32_t context = c.context;

    memset(bytes, 7, sizeof(bytes));
    cr_assert_eq(long_copy(base, 0), CUDA_ERROR_INVALID_VALUE);
    REFUSED(CUDA_SUCCESS, cuMemAlloc_v2, .address = base, .bytes = G);
    cr_assert_eq(long_copy(base + G - sizeof(bytes) + 1, 0), CUDA_ERROR_INVALID_VALUE);
    cr_assert_eq(long_copy(base, ID(9)), CUDA_ERROR_INVALID_HANDLE);
    c.context = 9;
    TEST_ADD(&c, cuMemcpyHtoDAsync_v2, .dst = base, .data = bytes, .data_len = sizeof(bytes));
    test_client_send(&c);
    c.context = context;
    cr_assert_eq(test_client_deferred(&c), CUDA_ERROR_INVALID_CONTEXT);
    cr_assert_eq(long_copy(base + G - sizeof(bytes), 0), CUDA_SUCCESS);
    TEST_ADD(&c, cuMemcpyDtoH_v2, .src = base + G - sizeof(bytes), .bytes = sizeof(bytes),
             .data = 1);
    cr_assert_eq(test_client_call(&c), CUDA_SUCCESS);
    cr_assert_eq(c.data.len, sizeof(bytes));
    cr_assert_eq(memcmp(c.data.data, bytes, sizeof(bytes)), 0);
}

/* Nearly one long copy: the row is refused whole, and with it the session. */
Test(hostile_memory, a_long_frame_that_is_no_row_of_calls_ends_its_session)
{
    static const struct {
        int32_t more; /* in the record's length than there is */
        uint32_t data_len, tag;
        uint16_t flags;
    } rows[] = {
        {8, sizeof(bytes), 0, 0}, {-8, sizeof(bytes), 0, 0},    {0, sizeof(bytes) + 8, 0, 0},
        {0, UINT32_MAX, 0, 0},    {0, sizeof(bytes) - 8, 0, 0}, {0, sizeof(bytes), 1, 0},
        {0, sizeof(bytes), 0, 1},
    };
    struct wire_cuMemcpyHtoDAsync_v2_args args = {.dst = base, .data = bytes};
    const size_t whole =
        sizeof(struct wire_record) + WIRE_HEAD_cuMemcpyHtoDAsync_v2_args + WIRE_PAD(sizeof(bytes));
    uint8_t *payload = calloc(1, whole);

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct wire_record record = {.bytes = (uint32_t)whole + (uint32_t)rows[i].more,
                                     .call = WIRE_CALL_cuMemcpyHtoDAsync_v2,
                                     .tag = rows[i].tag,
                                     .flags = rows[i].flags,
                                     .context = 1};
        struct test_client bad;

        test_client_start(&bad, server.url[0]);
        args.data_len = rows[i].data_len;
        memcpy(payload, &record, sizeof(record));
        wire_head_cuMemcpyHtoDAsync_v2_args(payload + sizeof(record), &args);
        test_client_frame(&bad, WIRE_FRAME_CALLS, 1, payload, whole);
        while (test_client_receive(&bad, gp_now_ns() + 10 * GP_NS_PER_S))
            ;
        cr_assert(bad.bye, "row %zu", i);
        cr_assert_eq(bad.bye_code, WIRE_CODE_PROTOCOL, "row %zu", i);
        test_client_abandon(&bad);
    }
    free(payload);
}

#define ASKED(want, name, ...)                                                                     \
    do {                                                                                           \
        TEST_ADD(&c, name, __VA_ARGS__);                                                           \
        cr_assert_eq(test_client_call(&c), want);                                                  \
    } while (0)

Test(hostile_memory, multicast_objects_bind_what_is_there_once_and_hold_it)
{
    ASKED(CUDA_ERROR_INVALID_VALUE, cuMulticastGetGranularity, .devices = 1, .bytes = G,
          .option = 7);
    ASKED(CUDA_ERROR_INVALID_VALUE, cuMulticastCreate, .handle = ID(1), .devices = 0, .bytes = G);
    ASKED(CUDA_ERROR_INVALID_VALUE, cuMulticastCreate, .handle = ID(1), .devices = 65, .bytes = G);
    ASKED(CUDA_ERROR_INVALID_VALUE, cuMulticastCreate, .handle = ID(1), .devices = 1,
          .bytes = G + 1);
    ASKED(CUDA_SUCCESS, cuMulticastCreate, .handle = ID(1), .devices = 1, .bytes = 2 * G);
    ASKED(CUDA_ERROR_INVALID_HANDLE, cuMulticastCreate, .handle = ID(1), .devices = 1, .bytes = G);
    REFUSED(CUDA_SUCCESS, cuMemCreate, .handle = ID(2), .bytes = G);
    /* Nothing waits for the rest of the team here. */
    ASKED(CUDA_ERROR_INVALID_VALUE, cuMulticastBindMem, .handle = ID(1), .memory = ID(2),
          .bytes = G);
    REFUSED(CUDA_ERROR_INVALID_VALUE, cuMemMap, .address = base, .bytes = G, .handle = ID(1));
    ASKED(CUDA_ERROR_INVALID_DEVICE, cuMulticastAddDevice, .handle = ID(1), .device = -1);
    ASKED(CUDA_ERROR_INVALID_DEVICE, cuMulticastAddDevice, .handle = ID(1), .device = 64);
    ASKED(CUDA_ERROR_INVALID_VALUE, cuMulticastAddDevice, .handle = ID(2), .device = 0);
    ASKED(CUDA_ERROR_INVALID_HANDLE, cuMulticastAddDevice, .handle = ID(9), .device = 0);
    ASKED(CUDA_SUCCESS, cuMulticastAddDevice, .handle = ID(1), .device = 0);
    ASKED(CUDA_ERROR_INVALID_VALUE, cuMulticastAddDevice, .handle = ID(1), .device = 0);
    ASKED(CUDA_ERROR_INVALID_HANDLE, cuMulticastBindMem, .handle = ID(1), .memory = ID(9),
          .bytes = G);
    ASKED(CUDA_ERROR_INVALID_VALUE, cuMulticastBindMem, .handle = ID(1), .memory = ID(1),
          .bytes = G);
    ASKED(CUDA_ERROR_INVALID_VALUE, cuMulticastBindMem, .handle = ID(2), .memory = ID(2),
          .bytes = G);
    ASKED(CUDA_ERROR_INVALID_VALUE, cuMulticastBindMem, .handle = ID(1), .memory = ID(2),
          .bytes = 2 * G);
    ASKED(CUDA_ERROR_INVALID_VALUE, cuMulticastBindMem, .handle = ID(1), .memory = ID(2),
          .memory_offset = UINT64_MAX / G * G, .bytes = G);
    ASKED(CUDA_ERROR_INVALID_VALUE, cuMulticastBindMem, .handle = ID(1), .memory = ID(2),
          .offset = UINT64_MAX / G * G, .bytes = G);
    ASKED(CUDA_ERROR_INVALID_VALUE, cuMulticastBindMem, .handle = ID(1), .memory = ID(2),
          .bytes = 0);
    ASKED(CUDA_SUCCESS, cuMulticastBindMem, .handle = ID(1), .memory = ID(2), .bytes = G);
    ASKED(CUDA_ERROR_INVALID_VALUE, cuMulticastUnbind, .handle = ID(1), .bytes = 2 * G);
    ASKED(CUDA_ERROR_INVALID_DEVICE, cuMulticastUnbind, .handle = ID(1), .device = 7, .bytes = G);
    TEST_ADD(&c, cuMemExportToShareableHandle, .handle = ID(1));
    cr_assert_eq(test_client_call(&c), CUDA_ERROR_INVALID_VALUE, "not made for it");
    REFUSED(CUDA_SUCCESS, cuMemMap, .address = base, .bytes = G, .offset = G, .handle = ID(1));
    /* Released while it is bound, and mapped while the session ends. */
    REFUSED(CUDA_SUCCESS, cuMemRelease, .handle = ID(2));
    REFUSED(CUDA_SUCCESS, cuMemRelease, .handle = ID(1));
    test_client_abandon(&c);
    memset(&c, 0, sizeof(c));
    cr_assert(test_client_open(&c, server.url[0], NULL), "%s", c.refused.reason);
}

Test(hostile_memory, batches_are_decompressed_in_memory_of_the_session_only)
{
    const uint64_t there = base, lz4 = CU_MEM_DECOMPRESS_ALGORITHM_LZ4;
    const uint64_t rows[][6] = {
        {lz4, 0x7000, 16, there + 4096, 16, there + 8192}, /* source, */
        {lz4, there, 16, end, 16, there + 8192},           /* destination, */
        {lz4, there, 16, there + 4096, 16, 0x7000},        /* and count elsewhere */
        {lz4, there, UINT64_MAX, there + 4096, 16, there + 8192},
        {lz4, there, 16, there + 4096, 2 * G, there + 8192},
        {UINT64_MAX, there, 16, there + 4096, 16, there + 8192},
        {0, there, 16, there + 4096, 16, there + 8192},
        {lz4, there, 0, there + 4096, 16, there + 8192},
    };

    REFUSED(CUDA_SUCCESS, cuMemAlloc_v2, .address = base, .bytes = 16384);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        REFUSED(CUDA_ERROR_INVALID_VALUE, cuMemBatchDecompressAsync, .operations = rows[i],
                .operations_len = 6);
    REFUSED(CUDA_ERROR_INVALID_VALUE, cuMemBatchDecompressAsync, .operations = rows[0],
            .operations_len = 5);
    REFUSED(CUDA_ERROR_INVALID_VALUE, cuMemBatchDecompressAsync, .operations = NULL,
            .operations_len = 0);
    REFUSED(CUDA_ERROR_INVALID_HANDLE, cuMemBatchDecompressAsync, .stream = ID(9),
            .operations = rows[0], .operations_len = 6);
}
