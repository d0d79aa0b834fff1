/* tests/integration/test_session.c -- a session over tcp: open, memory, copies, launches, waits */
#include "tests/support/client.h"
#include "tests/support/server.h"

#include "protocol/base/compress.h"
#include "protocol/wire/kernel_table.h"

#include <criterion/criterion.h>

#include <stdlib.h>
#include <string.h>

static const char vector_add[] =
    ".version 7.0\n.target sm_70\n.address_size 64\n"
    ".visible .entry vector_add(.param .u64 p_a, .param .u64 p_b, .param .u64 p_c, .param .u32 "
    "p_n)\n"
    "{\n.reg .pred %p;\n.reg .b32 %r<5>;\n.reg .f32 %f<4>;\n.reg .b64 %rd<8>;\n"
    "ld.param.u32 %r1, [p_n];\nmov.u32 %r2, %ctaid.x;\nmov.u32 %r3, %ntid.x;\nmov.u32 %r4, "
    "%tid.x;\n"
    "mad.lo.s32 %r2, %r2, %r3, %r4;\nsetp.ge.u32 %p, %r2, %r1;\n@%p bra DONE;\n"
    "ld.param.u64 %rd1, [p_a];\nld.param.u64 %rd2, [p_b];\nld.param.u64 %rd3, [p_c];\n"
    "mul.wide.u32 %rd4, %r2, 4;\nadd.s64 %rd5, %rd1, %rd4;\nadd.s64 %rd6, %rd2, %rd4;\n"
    "add.s64 %rd7, %rd3, %rd4;\nld.global.f32 %f1, [%rd5];\nld.global.f32 %f2, [%rd6];\n"
    "add.rn.f32 %f3, %f1, %f2;\nst.global.f32 [%rd7], %f3;\nDONE:\nret;\n}\n";

Test(session, opens_and_closes_with_the_device_table)
{
    struct test_server server = test_server_start(NULL);
    struct test_client c;

    cr_assert(test_client_open(&c, server.url[0], NULL));
    cr_assert_geq(c.answer.device_count, 1);
    cr_assert_gt(strlen(c.answer.devices[0].name), 0);
    cr_assert_gt(c.answer.devices[0].lease_bytes, 0);
    cr_assert_eq(c.answer.device_range.base % c.answer.devices[0].granularity_bytes, 0);
    cr_assert_geq(c.answer.device_range.bytes, c.answer.devices[0].total_bytes);
    cr_assert(wire_call_set_has(&c.server.calls, WIRE_CALL_cuLaunchKernelEx));
    cr_assert(!wire_call_set_has(&c.server.calls, WIRE_CALL_gpNoticeHost));
    test_client_close(&c);
    test_server_stop(&server);
}

/* Small numbers: they shrink. */
static void
fill_thin(uint8_t *bytes, size_t count)
{
    for (size_t i = 0; i < count; i++)
        bytes[i] = (uint8_t)(i * i % 7);
}

static void
copy_packed(struct test_client *c, uint32_t says, const uint8_t *packed, size_t len)
{
    TEST_ADD(c, cuMemAlloc_v2, .address = c->answer.device_range.base, .bytes = 1u << 20,
             .device = 0);
    TEST_ADD(c, gpCopyPacked, .dst = c->answer.device_range.base, .bytes = says, .data = packed,
             .data_len = (uint32_t)len);
}

Test(session, unpacks_what_fits_and_ends_otherwise)
{
    static const struct {
        uint32_t says;
        size_t cut;
        bool good;
    } rows[] = {{1u << 20, 0, true},
                {(1u << 20) - 1, 0, false},  /* it is more */
                {1u << 20, 5, false},        /* it is cut */
                {1u << 20, 1 << 20, false}}; /* nothing */
    struct test_server server = test_server_start(NULL);
    static uint8_t plain[1u << 20], packed[1u << 20];
    struct test_client c;
    size_t len;

    fill_thin(plain, sizeof(plain));
    cr_assert_eq(gp_zstd_compress(plain, sizeof(plain), packed, sizeof(packed), 1, &len), GP_OK);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        test_client_start(&c, server.url[0]);
        copy_packed(&c, rows[i].says, packed, rows[i].cut < len ? len - rows[i].cut : 0);
        TEST_ADD(&c, cuMemcpyDtoH_v2, .src = c.answer.device_range.base, .bytes = sizeof(plain),
                 .data = 9);
        if (rows[i].good) {
            cr_assert_eq(test_client_call(&c), CUDA_SUCCESS);
            cr_assert_eq(c.data.len, sizeof(plain));
            cr_assert_eq(memcmp(c.data.data, plain, sizeof(plain)), 0);
            /* More than a piece, or outside of memory: refused, and the session goes on. */
            copy_packed(&c, (1u << 20) + 1, packed, len);
            cr_assert_eq(test_client_deferred(&c), CUDA_ERROR_INVALID_VALUE);
            test_client_close(&c);
        } else {
            (void)test_client_call(&c);
            while (!c.bye && test_client_receive(&c, gp_now_ns() + 10 * GP_NS_PER_S))
                ;
            cr_assert(c.bye, "row %zu", i);
            test_client_abandon(&c);
        }
    }
    test_server_stop(&server);
}

Test(session, adds_vectors)
{
    struct test_server server = test_server_start(NULL);
    enum {
        COUNT = 100000
    };
    float *host = malloc(COUNT * sizeof(float));
    struct test_client c;
    uint64_t base, stride;
    uint8_t params[28];
    uint32_t count = COUNT;
    const float *out;
    int row;

    test_client_start(&c, server.url[0]);
    base = c.answer.device_range.base;
    stride = 2u << 20;
    cr_assert_eq(test_client_module(&c, ID(3), vector_add), CUDA_SUCCESS);
    row = test_client_kernel(&c, "vector_add");
    cr_assert_eq(row, 0);
    for (int i = 0; i < 3; i++) {
        uint64_t address = base + (uint64_t)i * stride;

        TEST_ADD(&c, cuMemAlloc_v2, .address = address, .bytes = COUNT * 4, .device = 0);
        memcpy(params + i * 8, &address, 8);
    }
    memcpy(params + 24, &count, 4);
    for (int i = 0; i < COUNT; i++)
        host[i] = (float)i;
    TEST_ADD(&c, cuStreamCreateWithPriority, .phStream = ID(5), .flags = 1);
    for (int i = 0; i < 2; i++)
        TEST_ADD(&c, cuMemcpyHtoDAsync_v2, .dst = base + (uint64_t)i * stride, .stream = ID(5),
                 .data = (const uint8_t *)host, .data_len = COUNT * 4);
    TEST_ADD(&c, cuLaunchKernelEx, .function = wire_function_id(false, ID(3), (uint32_t)row),
             .grid = {(COUNT + 255) / 256, 1, 1}, .block = {256, 1, 1}, .stream = ID(5),
             .params = params, .params_len = sizeof(params));
    TEST_ADD(&c, cuMemcpyDtoHAsync_v2, .src = base + 2 * stride, .bytes = COUNT * 4, .data = 77,
             .stream = ID(5));
    TEST_ADD(&c, cuStreamSynchronize, .stream = ID(5));
    cr_assert_eq(test_client_call(&c), CUDA_SUCCESS);
    cr_assert_eq(c.result.deferred, 0, "deferred %d of call 0x%x", c.result.deferred,
                 c.result.deferred_call);
    cr_assert_eq(c.data.len, COUNT * 4, "the data came before the proof");
    cr_assert_eq(c.data_last, 1);
    cr_assert_eq(c.data_id, 77);
    out = (const float *)(const void *)c.data.data;
    for (int i = 0; i < COUNT; i++)
        cr_assert_eq(out[i], 2 * host[i], "at %d", i);
    test_client_close(&c);
    test_server_stop(&server);
    free(host);
}

static void
copy_there_and_back(struct test_client *c, uint64_t address, uint64_t bytes, bool async)
{
    uint8_t *host = malloc(bytes);
    const uint64_t most = 4u << 20;

    for (uint64_t i = 0; i < bytes; i++)
        host[i] = (uint8_t)(i * 131 + (i >> 12));
    gp_buf_reset(&c->data);
    c->data_last = 0;
    TEST_ADD(c, cuMemAlloc_v2, .address = address, .bytes = bytes, .device = 0);
    for (uint64_t at = 0; at < bytes; at += most) {
        TEST_ADD(c, cuMemcpyHtoDAsync_v2, .dst = address + at, .stream = 0, .data = host + at,
                 .data_len = (uint32_t)(bytes - at < most ? bytes - at : most));
        test_client_send(c);
    }
    if (async) {
        TEST_ADD(c, cuMemcpyDtoHAsync_v2, .src = address, .bytes = bytes, .data = 5, .stream = 0);
        /* What comes behind in the stream must not overtake it. */
        TEST_ADD(c, cuMemsetD8Async, .dst = address, .value = 0xee, .count = bytes, .stream = 0);
        TEST_ADD(c, cuCtxSynchronize, 0);
    } else {
        TEST_ADD(c, cuMemcpyDtoH_v2, .src = address, .bytes = bytes, .data = 5, .stream = 0);
    }
    cr_assert_eq(test_client_call(c), CUDA_SUCCESS);
    cr_assert_eq(c->result.deferred, 0, "deferred %d of call 0x%x", c->result.deferred,
                 c->result.deferred_call);
    cr_assert_eq(c->data.len, bytes);
    cr_assert_eq(c->data_last, 1);
    cr_assert_eq(memcmp(c->data.data, host, bytes), 0);
    TEST_ADD(c, cuMemFree_v2, .address = address);
    TEST_ADD(c, gpLease, .device = 0, .bytes = 2u << 20);
    cr_assert_eq(test_client_call(c), CUDA_SUCCESS);
    cr_assert_eq(c->freed.len, 8, "told that the address is free again, before the lease");
    gp_buf_reset(&c->freed);
    free(host);
}

Test(session, copies_of_every_size_arrive_whole)
{
    static const uint64_t sizes[] = {1, 7, 4096, 65537, 1u << 20, (3u << 20) + 5, 70u << 20};
    struct test_server server = test_server_start(NULL);
    struct test_client c;

    test_client_start(&c, server.url[0]);
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        copy_there_and_back(&c, c.answer.device_range.base, sizes[i], false);
        copy_there_and_back(&c, c.answer.device_range.base, sizes[i], true);
    }
    test_client_close(&c);
    test_server_stop(&server);
}

Test(session, copies_boxes_with_pitch)
{
    struct test_server server = test_server_start(NULL);
    CUDA_MEMCPY3D copy = {.dstMemoryType = CU_MEMORYTYPE_DEVICE,
                          .srcMemoryType = CU_MEMORYTYPE_HOST,
                          .dstPitch = 128,
                          .dstHeight = 9,
                          .dstXInBytes = 3,
                          .dstY = 2,
                          .dstZ = 1,
                          .WidthInBytes = 50,
                          .Height = 5,
                          .Depth = 3};
    uint8_t box[50 * 5 * 3], plane[128 * 9 * 4];
    struct test_client c;
    uint64_t base;

    test_client_start(&c, server.url[0]);
    base = c.answer.device_range.base;
    for (size_t i = 0; i < sizeof(box); i++)
        box[i] = (uint8_t)(i + 1);
    TEST_ADD(&c, cuMemAlloc_v2, .address = base, .bytes = sizeof(plane), .device = 0);
    TEST_ADD(&c, cuMemsetD8Async, .dst = base, .value = 0, .count = sizeof(plane), .stream = 0);
    copy.dstDevice = base;
    TEST_ADD(&c, gpCopyIn3D, .copy = copy, .stream = 0, .data = box, .data_len = sizeof(box));
    TEST_ADD(&c, cuMemcpyDtoH_v2, .src = base, .bytes = sizeof(plane), .data = 1, .stream = 0);
    cr_assert_eq(test_client_call(&c), CUDA_SUCCESS);
    cr_assert_eq(c.result.deferred, 0);
    memset(plane, 0, sizeof(plane));
    for (int z = 0; z < 3; z++)
        for (int y = 0; y < 5; y++)
            memcpy(plane + ((z + 1) * 9 + y + 2) * 128 + 3, box + (z * 5 + y) * 50, 50);
    cr_assert_eq(memcmp(c.data.data, plane, sizeof(plane)), 0);

    gp_buf_reset(&c.data);
    memset(&copy, 0, sizeof(copy));
    copy.srcMemoryType = CU_MEMORYTYPE_DEVICE;
    copy.srcDevice = base;
    copy.srcPitch = 128;
    copy.srcHeight = 9;
    copy.srcXInBytes = 3;
    copy.srcY = 2;
    copy.srcZ = 1;
    copy.dstMemoryType = CU_MEMORYTYPE_HOST;
    copy.WidthInBytes = 50;
    copy.Height = 5;
    copy.Depth = 3;
    TEST_ADD(&c, gpCopyOut3D, .copy = copy, .stream = 0, .data = 2);
    TEST_ADD(&c, cuCtxSynchronize, 0);
    cr_assert_eq(test_client_call(&c), CUDA_SUCCESS);
    cr_assert_eq(c.data.len, sizeof(box));
    cr_assert_eq(memcmp(c.data.data, box, sizeof(box)), 0);
    test_client_close(&c);
    test_server_stop(&server);
}

Test(session, host_function_holds_its_stream_and_nothing_else)
{
    struct test_server server = test_server_start(NULL);
    struct wire_gpNoticeHost_args notice;
    struct wire_record record;
    struct test_client c;
    uint32_t sync;

    test_client_start(&c, server.url[0]);
    TEST_ADD(&c, cuStreamCreateWithPriority, .phStream = ID(1), .flags = 1);
    TEST_ADD(&c, cuStreamCreateWithPriority, .phStream = ID(2), .flags = 1);
    TEST_ADD(&c, cuLaunchHostFunc, .stream = ID(1), .callback = 0xabcdef);
    TEST_ADD(&c, cuStreamSynchronize, .stream = ID(1));
    test_client_send(&c);
    sync = c.tags;
    while (c.notices.len == 0)
        cr_assert(test_client_receive(&c, gp_now_ns() + 10 * GP_NS_PER_S));
    memcpy(&record, c.notices.data, sizeof(record));
    cr_assert_eq(record.call, WIRE_CALL_gpNoticeHost);
    cr_assert_neq(record.tag, 0);
    cr_assert(wire_get_gpNoticeHost_args(c.notices.data + sizeof(record),
                                         record.bytes - sizeof(record), &notice));
    cr_assert_eq(notice.callback, 0xabcdef);

    TEST_ADD(&c, cuStreamQuery, .stream = ID(1));
    cr_assert_eq(test_client_call(&c), CUDA_ERROR_NOT_READY);
    TEST_ADD(&c, cuStreamSynchronize, .stream = ID(2));
    cr_assert_eq(test_client_call(&c), CUDA_SUCCESS, "another stream is not held");
    TEST_ADD(&c, gpHostDone, .tag = record.tag + 1000);
    TEST_ADD(&c, gpBarrier, 0);
    cr_assert_eq(test_client_call(&c), CUDA_SUCCESS);
    cr_assert_eq(c.result.deferred, CUDA_ERROR_INVALID_VALUE, "a tag that nobody gave");
    TEST_ADD(&c, gpHostDone, .tag = record.tag);
    test_client_send(&c);
    cr_assert_eq(test_client_wait(&c, sync), CUDA_SUCCESS);
    test_client_close(&c);
    test_server_stop(&server);
}

Test(session, pulls_bytes_when_the_stream_gets_there)
{
    struct test_server server = test_server_start(NULL);
    enum {
        BYTES = (2 << 20) + 100
    };
    uint8_t *host = malloc(BYTES);
    struct test_client c;
    uint64_t asked = 0;
    uint32_t sync;

    test_client_start(&c, server.url[0]);
    for (int i = 0; i < BYTES; i++)
        host[i] = (uint8_t)(i * 7 + (i >> 9));
    TEST_ADD(&c, cuMemAlloc_v2, .address = c.answer.device_range.base, .bytes = BYTES, .device = 0);
    TEST_ADD(&c, gpPullAsync, .dst = c.answer.device_range.base, .bytes = BYTES, .source = 1000,
             .stream = 0);
    TEST_ADD(&c, cuMemcpyDtoH_v2, .src = c.answer.device_range.base, .bytes = BYTES, .data = 9,
             .stream = 0);
    test_client_send(&c);
    sync = c.tags;
    while (asked < BYTES) {
        struct wire_gpNoticePull_args pull;
        struct wire_record record;

        while (c.notices.len == 0)
            cr_assert(test_client_receive(&c, gp_now_ns() + 10 * GP_NS_PER_S));
        memcpy(&record, c.notices.data, sizeof(record));
        cr_assert(wire_get_gpNoticePull_args(c.notices.data + sizeof(record),
                                             record.bytes - sizeof(record), &pull));
        gp_buf_reset(&c.notices);
        cr_assert_eq(pull.source, 1000 + asked);
        TEST_ADD(&c, gpPulled, .tag = record.tag, .offset = 0, .data = host + asked,
                 .data_len = (uint32_t)pull.bytes);
        test_client_send(&c);
        asked += pull.bytes;
    }
    cr_assert_eq(test_client_wait(&c, sync), CUDA_SUCCESS);
    cr_assert_eq(memcmp(c.data.data, host, BYTES), 0);
    test_client_close(&c);
    test_server_stop(&server);
    free(host);
}

Test(session, keeps_the_first_deferred_error)
{
    struct test_server server = test_server_start(NULL);
    struct test_client c;

    test_client_start(&c, server.url[0]);
    TEST_ADD(&c, cuMemFree_v2, .address = c.answer.device_range.base);
    TEST_ADD(&c, cuStreamDestroy_v2, .stream = ID(9));
    TEST_ADD(&c, gpBarrier, 0);
    cr_assert_eq(test_client_call(&c), CUDA_SUCCESS);
    cr_assert_eq(c.result.deferred, CUDA_ERROR_INVALID_VALUE);
    cr_assert_eq(c.result.deferred_call, WIRE_CALL_cuMemFree_v2);
    TEST_ADD(&c, gpBarrier, 0);
    cr_assert_eq(test_client_call(&c), CUDA_SUCCESS);
    cr_assert_eq(c.result.deferred, 0, "told once");
    test_client_close(&c);
    test_server_stop(&server);
}

Test(session, refuses_addresses_that_are_not_the_clients)
{
    struct test_server server = test_server_start(NULL);
    struct test_client c;
    uint64_t base, end;
    struct {
        uint64_t address, bytes;
    } bad[8];

    test_client_start(&c, server.url[0]);
    base = c.answer.device_range.base;
    end = base + c.answer.device_range.bytes;
    TEST_ADD(&c, cuMemAlloc_v2, .address = base, .bytes = 4096, .device = 0);
    memcpy(bad,
           (uint64_t[8][2]){{0, 4096},
                            {base - 4096, 8192},
                            {end - 4096, 8192},
                            {base + 1, 4096},
                            {base, 4096},
                            {base + 256, 256},
                            {base + 8192, UINT64_MAX},
                            {base + (2u << 20), 1ull << 50}},
           sizeof(bad));
    TEST_ADD(&c, gpBarrier, 0);
    cr_assert_eq(test_client_call(&c), CUDA_SUCCESS);
    cr_assert_eq(c.result.deferred, 0);
    for (int i = 0; i < 8; i++) {
        TEST_ADD(&c, cuMemAlloc_v2, .address = bad[i].address, .bytes = bad[i].bytes, .device = 0);
        TEST_ADD(&c, gpBarrier, 0);
        cr_assert_eq(test_client_call(&c), CUDA_SUCCESS);
        cr_assert_neq(c.result.deferred, 0, "allocation %d", i);
    }
    TEST_ADD(&c, cuMemAlloc_v2, .address = base + (4u << 20), .bytes = 4096, .device = 7);
    TEST_ADD(&c, gpBarrier, 0);
    cr_assert_eq(test_client_call(&c), CUDA_SUCCESS);
    cr_assert_eq(c.result.deferred, CUDA_ERROR_INVALID_DEVICE);
    /* The server's own memory, by any copy. */
    TEST_ADD(&c, cuMemcpyDtoDAsync_v2, .dst = base, .src = (uint64_t)(uintptr_t)&server,
             .bytes = 64, .stream = 0);
    TEST_ADD(&c, gpBarrier, 0);
    cr_assert_eq(test_client_call(&c), CUDA_SUCCESS);
    cr_assert_eq(c.result.deferred, CUDA_ERROR_INVALID_VALUE);
    TEST_ADD(&c, cuMemcpyDtoH_v2, .src = 0x7f0000000000, .bytes = 64, .data = 3, .stream = 0);
    cr_assert_eq(test_client_call(&c), CUDA_ERROR_INVALID_VALUE);
    cr_assert_eq(c.data_failed, 1);
    test_client_close(&c);
    test_server_stop(&server);
}

Test(session, a_reset_primary_context_can_be_used_again)
{
    struct test_server server = test_server_start(NULL);
    struct test_client c;
    uint64_t base;

    test_client_start(&c, server.url[0]);
    base = c.answer.device_range.base;
    for (uint32_t generation = 1; generation < 5; generation++) {
        TEST_ADD(&c, cuMemAlloc_v2, .address = base, .bytes = 1 << 20, .device = 0);
        TEST_ADD(&c, cuStreamCreateWithPriority, .phStream = (uint64_t)generation << 32 | 4);
        TEST_ADD(&c, cuMemsetD32Async, .dst = base, .value = generation, .count = 1 << 18,
                 .stream = (uint64_t)generation << 32 | 4);
        TEST_ADD(&c, cuStreamSynchronize, .stream = (uint64_t)generation << 32 | 4);
        cr_assert_eq(test_client_call(&c), CUDA_SUCCESS);
        cr_assert_eq(c.result.deferred, 0);
        TEST_ADD(&c, cuDevicePrimaryCtxReset_v2, .device = 0);
        cr_assert_eq(test_client_call(&c), CUDA_SUCCESS);
        TEST_ADD(&c, cuDevicePrimaryCtxRetain, .device = 0,
                 .context = (uint64_t)(generation + 1) << 32 | 1);
    }
    TEST_ADD(&c, gpBarrier, 0);
    cr_assert_eq(test_client_call(&c), CUDA_SUCCESS);
    cr_assert_eq(c.result.deferred, 0);
    test_client_close(&c);
    test_server_stop(&server);
}

Test(session, a_context_ends_though_a_stream_of_it_waits_for_the_client)
{
    struct test_server server = test_server_start(NULL);
    struct wire_record record;
    struct test_client c;

    test_client_start(&c, server.url[0]);
    TEST_ADD(&c, cuStreamCreateWithPriority, .phStream = ID(1), .flags = 1);
    TEST_ADD(&c, cuLaunchHostFunc, .stream = ID(1), .callback = 5);
    TEST_ADD(&c, cuMemAlloc_v2, .address = c.answer.device_range.base, .bytes = 4096);
    TEST_ADD(&c, cuMemFree_v2, .address = c.answer.device_range.base);
    test_client_send(&c);
    while (c.notices.len == 0)
        cr_assert(test_client_receive(&c, gp_now_ns() + 10 * GP_NS_PER_S));
    memcpy(&record, c.notices.data, sizeof(record));
    TEST_ADD(&c, cuDevicePrimaryCtxReset_v2, .device = 0);
    cr_assert_eq(test_client_call(&c), CUDA_SUCCESS);
    TEST_ADD(&c, gpHostDone, .tag = record.tag);
    TEST_ADD(&c, gpBarrier, 0);
    cr_assert_eq(test_client_call(&c), CUDA_SUCCESS);
    cr_assert_eq(c.result.deferred, 0, "a late answer is not wrong");
    test_client_close(&c);
    test_server_stop(&server);
}

static const char wild_store[] = ".version 7.0\n.target sm_70\n.address_size 64\n"
                                 ".visible .entry wild()\n{\n.reg .b64 %rd<2>;\n"
                                 "mov.u64 %rd1, 8;\nst.global.u64 [%rd1], %rd1;\nret;\n}\n";

Test(session, a_fault_sticks_to_its_context_and_goes_with_it)
{
    struct test_server server = test_server_start(NULL);
    struct test_client c;
    int row;

    test_client_start(&c, server.url[0]);
    cr_assert_eq(test_client_module(&c, ID(1), wild_store), CUDA_SUCCESS);
    row = test_client_kernel(&c, "wild");
    cr_assert_eq(row, 0);
    TEST_ADD(&c, cuMemAlloc_v2, .address = c.answer.device_range.base, .bytes = 4096);
    TEST_ADD(&c, cuLaunchKernelEx, .function = wire_function_id(false, ID(1), 0), .grid = {1, 1, 1},
             .block = {1, 1, 1});
    TEST_ADD(&c, cuCtxSynchronize, 0);
    cr_assert_eq(test_client_call(&c), CUDA_ERROR_ILLEGAL_ADDRESS);
    /* Nothing tells the client of this one before the context is gone. */
    TEST_ADD(&c, cuMemsetD8Async, .dst = c.answer.device_range.base, .value = 1, .count = 16);
    TEST_ADD(&c, cuDevicePrimaryCtxReset_v2, .device = 0);
    cr_assert_eq(test_client_call(&c), CUDA_SUCCESS);
    cr_assert_eq(c.result.deferred, 0);
    TEST_ADD(&c, cuDevicePrimaryCtxRetain, .device = 0, .context = 2ull << 32 | 1);
    TEST_ADD(&c, cuMemAlloc_v2, .address = c.answer.device_range.base, .bytes = 4096);
    TEST_ADD(&c, cuMemsetD8Async, .dst = c.answer.device_range.base, .value = 1, .count = 16);
    TEST_ADD(&c, cuCtxSynchronize, 0);
    cr_assert_eq(test_client_call(&c), CUDA_SUCCESS);
    cr_assert_eq(c.result.deferred, 0);
    test_client_close(&c);
    test_server_stop(&server);
}
