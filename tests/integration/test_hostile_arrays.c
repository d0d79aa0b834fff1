/* tests/integration/test_hostile_arrays.c -- arrays, textures and links that are not the client's
 *
 * The client speaks the protocol itself and checks nothing; the server must.
 */
#include "tests/support/client.h"
#include "tests/support/server.h"

#include <criterion/criterion.h>

#include <string.h>

#define G (2ull << 20)

static struct test_server server;
static struct test_client c;
static uint64_t base;

static void
begin(void)
{
    server = test_server_start(NULL);
    test_client_start(&c, server.url[0]);
    base = c.answer.device_range.base;
}

static void
finish(void)
{
    test_client_close(&c);
    test_server_stop(&server);
}

TestSuite(hostile_arrays, .init = begin, .fini = finish);

/* A call with a reply. */
#define ASKED(want, name, ...)                                                                     \
    do {                                                                                           \
        TEST_ADD(&c, name, __VA_ARGS__);                                                           \
        cr_assert_eq(test_client_call(&c), want);                                                  \
    } while (0)

/* One without; its failure comes with the next reply. */
#define TOLD(want, name, ...)                                                                      \
    do {                                                                                           \
        TEST_ADD(&c, name, __VA_ARGS__);                                                           \
        TEST_ADD(&c, gpBarrier, 0);                                                                \
        cr_assert_eq(test_client_call(&c), CUDA_SUCCESS);                                          \
        cr_assert_eq(c.result.deferred, want);                                                     \
    } while (0)

static const CUDA_ARRAY3D_DESCRIPTOR small = {
    64, 32, 0, CU_AD_FORMAT_FLOAT, 1, CUDA_ARRAY3D_SURFACE_LDST};

Test(hostile_arrays, extents_that_wrap_or_exceed_the_lease_are_out_of_memory)
{
    CUDA_ARRAY3D_DESCRIPTOR d = small;

    d.Width = d.Height = d.Depth = UINT64_MAX;
    ASKED(CUDA_ERROR_OUT_OF_MEMORY, cuArray3DCreate_v2, .array = ID(1), .desc = d);
    ASKED(CUDA_ERROR_OUT_OF_MEMORY, cuMipmappedArrayCreate, .array = ID(1), .desc = d,
          .levels = UINT32_MAX);
    d = small;
    d.Width = 1ull << 17;
    d.Height = 1ull << 17;
    ASKED(CUDA_ERROR_OUT_OF_MEMORY, cuArray3DCreate_v2, .array = ID(1), .desc = d);
    d.NumChannels = UINT32_MAX;
    cr_assert_neq(c.result.result, CUDA_SUCCESS);
    TEST_ADD(&c, cuArray3DCreate_v2, .array = ID(1), .desc = d);
    cr_assert_neq(test_client_call(&c), CUDA_SUCCESS);
    ASKED(CUDA_ERROR_INVALID_HANDLE, cuArray3DCreate_v2, .array = 0, .desc = small);
    ASKED(CUDA_SUCCESS, cuArray3DCreate_v2, .array = ID(1), .desc = small);
    ASKED(CUDA_ERROR_INVALID_HANDLE, cuArray3DCreate_v2, .array = ID(1), .desc = small);
}

/* A box of an array, onto memory of the session. */
static CUDA_MEMCPY3D
box(uint64_t array, size_t x, size_t y, size_t z, size_t width, size_t height, size_t depth)
{
    return (CUDA_MEMCPY3D){.srcMemoryType = CU_MEMORYTYPE_ARRAY,
                           .srcArray = (CUarray)(uintptr_t)array,
                           .srcXInBytes = x,
                           .srcY = y,
                           .srcZ = z,
                           .dstMemoryType = CU_MEMORYTYPE_DEVICE,
                           .dstDevice = base,
                           .dstPitch = 256,
                           .dstHeight = 32,
                           .WidthInBytes = width,
                           .Height = height,
                           .Depth = depth};
}

Test(hostile_arrays, copies_stay_inside_of_arrays_of_the_session)
{
    ASKED(CUDA_SUCCESS, cuArray3DCreate_v2, .array = ID(1), .desc = small);
    TOLD(CUDA_SUCCESS, cuMemAlloc_v2, .address = base, .bytes = G);
    TOLD(CUDA_SUCCESS, cuMemcpy3DAsync_v2, .copy = box(ID(1), 0, 0, 0, 256, 32, 1));
    TOLD(CUDA_ERROR_INVALID_HANDLE, cuMemcpy3DAsync_v2, .copy = box(ID(2), 0, 0, 0, 256, 32, 1));
    TOLD(CUDA_ERROR_INVALID_HANDLE, cuMemcpy3DAsync_v2,
         .copy = box((uintptr_t)&server, 0, 0, 0, 256, 32, 1));
    TOLD(CUDA_ERROR_INVALID_VALUE, cuMemcpy3DAsync_v2, .copy = box(ID(1), 4, 0, 0, 256, 32, 1));
    TOLD(CUDA_ERROR_INVALID_VALUE, cuMemcpy3DAsync_v2, .copy = box(ID(1), 0, 1, 0, 256, 32, 1));
    TOLD(CUDA_ERROR_INVALID_VALUE, cuMemcpy3DAsync_v2, .copy = box(ID(1), 0, 0, 1, 256, 32, 1));
    TOLD(CUDA_ERROR_INVALID_VALUE, cuMemcpy3DAsync_v2, .copy = box(ID(1), 0, 0, 0, 256, 32, 2));
    TOLD(CUDA_ERROR_INVALID_VALUE, cuMemcpy3DAsync_v2,
         .copy = box(ID(1), SIZE_MAX - 255, 0, 0, 256, 32, 1));
    TOLD(CUDA_ERROR_INVALID_VALUE, cuMemcpy3DAsync_v2,
         .copy = box(ID(1), 0, SIZE_MAX, 0, 256, 1, 1));
    TOLD(CUDA_ERROR_INVALID_VALUE, gpCopyIn3D,
         .copy = {.dstMemoryType = CU_MEMORYTYPE_ARRAY,
                  .dstArray = (CUarray)(uintptr_t)ID(1),
                  .dstY = 32,
                  .WidthInBytes = 16,
                  .Height = 1,
                  .Depth = 1},
         .data = (const uint8_t *)"0123456789abcdef", .data_len = 16);
    ASKED(CUDA_SUCCESS, cuArrayDestroy, .array = ID(1));
    ASKED(CUDA_ERROR_INVALID_HANDLE, cuArrayDestroy, .array = ID(1));
    TOLD(CUDA_ERROR_INVALID_HANDLE, cuMemcpy3DAsync_v2, .copy = box(ID(1), 0, 0, 0, 256, 32, 1));
}

Test(hostile_arrays, levels_go_with_their_array)
{
    ASKED(CUDA_SUCCESS, cuMipmappedArrayCreate, .array = ID(1), .desc = small, .levels = 3);
    ASKED(CUDA_ERROR_INVALID_VALUE, cuMipmappedArrayGetLevel, .array = ID(1), .level = ID(1),
          .index = 3);
    ASKED(CUDA_SUCCESS, cuMipmappedArrayGetLevel, .array = ID(1), .level = ID(1), .index = 2);
    ASKED(CUDA_ERROR_INVALID_HANDLE, cuMipmappedArrayGetLevel, .array = ID(1), .level = ID(1),
          .index = 1);
    ASKED(CUDA_ERROR_INVALID_HANDLE, cuArrayDestroy, .array = ID(1)); /* it is the parent's */
    ASKED(CUDA_SUCCESS, cuMipmappedArrayDestroy, .array = ID(1));
    TOLD(CUDA_ERROR_INVALID_HANDLE, cuMemcpy3DAsync_v2, .copy = box(ID(1), 0, 0, 0, 4, 1, 1));
}

Test(hostile_arrays, textures_show_nothing_else)
{
    CUDA_RESOURCE_DESC r = {.resType = CU_RESOURCE_TYPE_LINEAR};

    r.res.linear.format = CU_AD_FORMAT_FLOAT;
    r.res.linear.numChannels = 1;
    r.res.linear.sizeInBytes = 4096;
    r.res.linear.devPtr = (uintptr_t)&server;
    ASKED(CUDA_ERROR_INVALID_VALUE, cuTexObjectCreate, .texture = ID(1), .resource = r);
    r.res.linear.devPtr = base;
    ASKED(CUDA_ERROR_INVALID_VALUE, cuTexObjectCreate, .texture = ID(1), .resource = r);
    TOLD(CUDA_SUCCESS, cuMemAlloc_v2, .address = base, .bytes = G);
    ASKED(CUDA_SUCCESS, cuTexObjectCreate, .texture = ID(1), .resource = r);
    ASKED(CUDA_ERROR_INVALID_HANDLE, cuTexObjectCreate, .texture = ID(1), .resource = r);
    r.res.linear.sizeInBytes = G + 512;
    ASKED(CUDA_ERROR_INVALID_VALUE, cuTexObjectCreate, .texture = ID(2), .resource = r);
    memset(&r, 0, sizeof(r));
    r.resType = CU_RESOURCE_TYPE_PITCH2D;
    r.res.pitch2D.devPtr = base;
    r.res.pitch2D.format = CU_AD_FORMAT_FLOAT;
    r.res.pitch2D.numChannels = 1;
    r.res.pitch2D.width = 64;
    r.res.pitch2D.height = SIZE_MAX;
    r.res.pitch2D.pitchInBytes = SIZE_MAX;
    ASKED(CUDA_ERROR_INVALID_VALUE, cuTexObjectCreate, .texture = ID(2), .resource = r);
    memset(&r, 0, sizeof(r));
    r.resType = CU_RESOURCE_TYPE_ARRAY;
    r.res.array.hArray = (CUarray)(void *)&server;
    ASKED(CUDA_ERROR_INVALID_HANDLE, cuTexObjectCreate, .texture = ID(2), .resource = r);
    ASKED(CUDA_ERROR_INVALID_HANDLE, cuSurfObjectCreate, .surface = ID(2), .resource = r);
    r.resType = (CUresourcetype)77;
    ASKED(CUDA_ERROR_INVALID_VALUE, cuTexObjectCreate, .texture = ID(2), .resource = r);
    TOLD(CUDA_ERROR_INVALID_HANDLE, cuSurfObjectDestroy, .surface = ID(1));
    TOLD(CUDA_SUCCESS, cuTexObjectDestroy, .texture = ID(1));
    TOLD(CUDA_ERROR_INVALID_HANDLE, cuTexObjectDestroy, .texture = ID(1));
    ASKED(CUDA_ERROR_INVALID_HANDLE, cuTexRefSetFlags, .hTexRef = ID(1));
    ASKED(CUDA_ERROR_INVALID_HANDLE, cuModuleGetTexRef, .texref = ID(1), .module = ID(1),
          .name = "t", .name_len = 1);
}

Test(hostile_arrays, links_take_what_was_uploaded_and_give_what_they_made)
{
    static const char ptx[] = ".version 7.0\n.target sm_70\n.address_size 64\n"
                              ".visible .entry k()\n{\nret;\n}\n";

    ASKED(CUDA_ERROR_INVALID_VALUE, cuLinkCreate_v2, .link = ID(1), .options = (uint32_t[]){0},
          .options_len = 1);
    ASKED(CUDA_SUCCESS, cuLinkCreate_v2, .link = ID(1), .error_bytes = UINT32_MAX);
    ASKED(CUDA_ERROR_INVALID_VALUE, cuLinkAddData_v2, .link = ID(1), .type = CU_JIT_INPUT_PTX,
          .upload = 5, .name = "");
    TOLD(CUDA_SUCCESS, gpUpload, .upload = 1, .total = 8,
         .data = (const uint8_t *)"\x50\xed\x55\xba\0\0\0", .data_len = 8);
    ASKED(CUDA_ERROR_INVALID_IMAGE, cuLinkAddData_v2, .link = ID(1), .type = CU_JIT_INPUT_FATBINARY,
          .upload = 1, .name = "");
    TOLD(CUDA_SUCCESS, gpUpload, .upload = 2, .total = sizeof(ptx), .data = (const uint8_t *)ptx,
         .data_len = sizeof(ptx));
    ASKED(CUDA_SUCCESS, cuLinkAddData_v2, .link = ID(1), .type = CU_JIT_INPUT_PTX, .upload = 2,
          .name = "");
    ASKED(CUDA_ERROR_INVALID_HANDLE, gpLinkRead, .link = ID(1), .bytes = 8);
    ASKED(CUDA_SUCCESS, cuLinkComplete, .link = ID(1));
    ASKED(CUDA_ERROR_INVALID_HANDLE, cuLinkComplete, .link = ID(1));
    ASKED(CUDA_SUCCESS, gpLinkRead, .link = ID(1), .bytes = 8);
    ASKED(CUDA_ERROR_INVALID_VALUE, gpLinkRead, .link = ID(1), .offset = UINT64_MAX, .bytes = 8);
    ASKED(CUDA_ERROR_INVALID_VALUE, gpLinkRead, .link = ID(1), .bytes = UINT32_MAX);
    TOLD(CUDA_SUCCESS, cuLinkDestroy, .link = ID(1));
    ASKED(CUDA_ERROR_INVALID_HANDLE, gpLinkRead, .link = ID(1), .bytes = 8);
    ASKED(CUDA_SUCCESS, cuLinkCreate_v2, .link = ID(2));
    ASKED(CUDA_SUCCESS, cuArray3DCreate_v2, .array = ID(1), .desc = small);
    test_client_abandon(&c); /* and a session that ends with all of them ends */
    memset(&c, 0, sizeof(c));
    cr_assert(test_client_open(&c, server.url[0], NULL), "%s", c.refused.reason);
}

/* What the driver keeps for links is the host's memory. */
Test(hostile_arrays, links_are_bounded_all_together)
{
    enum {
        BYTES = 4096
    };
    const char *args[] = {"--image-max=4096", NULL};
    static uint8_t spaces[BYTES];

    test_client_close(&c);
    test_server_stop(&server);
    server = test_server_start(args);
    test_client_start(&c, server.url[0]);
    memset(spaces, ' ', sizeof(spaces));
    for (unsigned i = 1; i <= 256; i++)
        ASKED(CUDA_SUCCESS, cuLinkCreate_v2, .link = ID(i));
    ASKED(CUDA_ERROR_OUT_OF_MEMORY, cuLinkCreate_v2, .link = ID(257));
    TOLD(CUDA_SUCCESS, cuLinkDestroy, .link = ID(256));
    ASKED(CUDA_SUCCESS, cuLinkCreate_v2, .link = ID(257));
    for (unsigned i = 1; i <= 5; i++) {
        TEST_ADD(&c, gpUpload, .upload = i, .total = BYTES, .data = spaces, .data_len = BYTES);
        TEST_ADD(&c, cuLinkAddData_v2, .link = ID(i), .type = CU_JIT_INPUT_PTX, .upload = i,
                 .name = "");
        if (i < 5)
            cr_assert_neq(test_client_call(&c), CUDA_ERROR_OUT_OF_MEMORY, "of link %u", i);
        else
            cr_assert_eq(test_client_call(&c), CUDA_ERROR_OUT_OF_MEMORY);
    }
}
