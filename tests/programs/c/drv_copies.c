/* tests/programs/c/drv_copies.c -- copies of linear memory in all directions and shapes, and fills
 * of all widths */
#include "drv.h"

#define W 37u /* bytes in a row */
#define H 11u
#define D 5u

static void
fill(unsigned char *p, size_t n, unsigned seed)
{
    for (size_t i = 0; i < n; i++)
        p[i] = (unsigned char)(drv_lcg((uint32_t)(seed + i), 1) >> 24);
}

static void
one_dimension(void)
{
    static unsigned char in[70001], out[70001];
    CUdeviceptr a, b;

    fill(in, sizeof(in), 1);
    CU(cuMemAlloc(&a, sizeof(in)));
    CU(cuMemAlloc(&b, sizeof(in)));
    CU(cuMemcpyHtoD(a, in, sizeof(in)));
    CU(cuMemcpyDtoD(b, a, sizeof(in)));
    CU(cuMemcpyDtoH(out, b, sizeof(in)));
    EXPECT(memcmp(in, out, sizeof(in)) == 0);

    /* odd offsets and lengths inside an allocation */
    CU(cuMemcpyHtoD(a + 13, in, 1001));
    CU(cuMemcpyDtoDAsync(b + 7, a + 13, 1001, NULL));
    memset(out, 0, sizeof(out));
    CU(cuMemcpyDtoH(out, b + 7, 1001));
    EXPECT(memcmp(in, out, 1001) == 0);

    /* cuMemcpy finds out by itself what its addresses are */
    memset(out, 0, sizeof(out));
    CU(cuMemcpy(a, (CUdeviceptr)(uintptr_t)in, 5000));
    CU(cuMemcpy(b, a, 5000));
    CU(cuMemcpy((CUdeviceptr)(uintptr_t)out, b, 5000));
    EXPECT(memcmp(in, out, 5000) == 0);

    CU(cuMemcpyHtoD(a, in, 0)); /* nothing is a legal amount */
    CU(cuMemFree(a));
    CU(cuMemFree(b));
    printf("one dimension: done\n");
}

static CUDA_MEMCPY2D
from_host_2d(const void *src, CUdeviceptr dst, size_t pitch)
{
    CUDA_MEMCPY2D c = {
        .srcMemoryType = CU_MEMORYTYPE_HOST, .srcHost = src, .srcPitch = W,
        .dstMemoryType = CU_MEMORYTYPE_DEVICE, .dstDevice = dst, .dstPitch = pitch,
        .WidthInBytes = W, .Height = H,
    };
    return c;
}

static void
two_dimensions(void)
{
    unsigned char in[W * H], out[W * H], want[W * H];
    CUdeviceptr a, b;
    size_t pitch;

    fill(in, sizeof(in), 2);
    CU(cuMemAllocPitch(&a, &pitch, W, H, 4));
    EXPECT(pitch >= W && pitch % 4 == 0);
    CU(cuMemAlloc(&b, W * H));
    CUDA_MEMCPY2D c = from_host_2d(in, a, pitch);
    CU(cuMemcpy2D(&c));

    /* the inner 20 x 6 rectangle, from (5, 2) to (3, 1) of a packed copy */
    CU(cuMemsetD8(b, 0, W * H));
    CUDA_MEMCPY2D inner = {
        .srcXInBytes = 5, .srcY = 2,
        .srcMemoryType = CU_MEMORYTYPE_DEVICE, .srcDevice = a, .srcPitch = pitch,
        .dstXInBytes = 3, .dstY = 1,
        .dstMemoryType = CU_MEMORYTYPE_DEVICE, .dstDevice = b, .dstPitch = W,
        .WidthInBytes = 20, .Height = 6,
    };
    CU(cuMemcpy2DUnaligned(&inner));
    CUDA_MEMCPY2D back = {
        .srcMemoryType = CU_MEMORYTYPE_DEVICE, .srcDevice = b, .srcPitch = W,
        .dstMemoryType = CU_MEMORYTYPE_HOST, .dstHost = out, .dstPitch = W,
        .WidthInBytes = W, .Height = H,
    };
    CU(cuMemcpy2DAsync(&back, NULL));
    CU(cuCtxSynchronize());

    memset(want, 0, sizeof(want));
    for (unsigned y = 0; y < 6; y++)
        memcpy(want + (y + 1) * W + 3, in + (y + 2) * W + 5, 20);
    EXPECT(memcmp(want, out, sizeof(want)) == 0);
    CU(cuMemFree(a));
    CU(cuMemFree(b));
    printf("two dimensions: done\n");
}

static void
three_dimensions(void)
{
    unsigned char in[W * H * D], out[W * H * D], want[W * H * D];
    CUdeviceptr a;

    fill(in, sizeof(in), 3);
    memset(out, 0xee, sizeof(out));
    memcpy(want, out, sizeof(want));
    CU(cuMemAlloc(&a, 64 * 16 * D));
    CUDA_MEMCPY3D up = {
        .srcMemoryType = CU_MEMORYTYPE_HOST, .srcHost = in, .srcPitch = W, .srcHeight = H,
        .dstMemoryType = CU_MEMORYTYPE_DEVICE, .dstDevice = a, .dstPitch = 64, .dstHeight = 16,
        .WidthInBytes = W, .Height = H, .Depth = D,
    };
    CU(cuMemcpy3D(&up));
    CUDA_MEMCPY3D down = {
        .srcXInBytes = 4, .srcY = 3, .srcZ = 1,
        .srcMemoryType = CU_MEMORYTYPE_DEVICE, .srcDevice = a, .srcPitch = 64, .srcHeight = 16,
        .dstXInBytes = 1, .dstY = 2, .dstZ = 2,
        .dstMemoryType = CU_MEMORYTYPE_HOST, .dstHost = out, .dstPitch = W, .dstHeight = H,
        .WidthInBytes = 30, .Height = 7, .Depth = 3,
    };
    CU(cuMemcpy3DAsync(&down, NULL));
    CU(cuCtxSynchronize());
    for (unsigned z = 0; z < 3; z++)
        for (unsigned y = 0; y < 7; y++)
            memcpy(want + ((z + 2) * H + y + 2) * W + 1, in + ((z + 1) * H + y + 3) * W + 4, 30);
    EXPECT(memcmp(want, out, sizeof(want)) == 0);
    CU(cuMemFree(a));
    printf("three dimensions: done\n");
}

static void
fills(void)
{
    unsigned char out[4096];
    unsigned wrong = 0;
    CUdeviceptr a;

    CU(cuMemAlloc(&a, sizeof(out)));
    CU(cuMemsetD8(a, 0x11, sizeof(out)));
    CU(cuMemsetD16(a + 2, 0x2233, 100));
    CU(cuMemsetD32(a + 256, 0x44556677, 50));
    CU(cuMemsetD8Async(a + 1001, 0x88, 3, NULL));
    CU(cuMemsetD16Async(a + 1100, 0x99aa, 1, NULL));
    CU(cuMemsetD32Async(a + 1200, 0xbbccddee, 1, NULL));
    CU(cuMemsetD2D8(a + 2048, 64, 0xf1, 5, 4));
    CU(cuMemsetD2D16(a + 2304, 64, 0xf2f3, 5, 4));
    CU(cuMemsetD2D32Async(a + 2560, 64, 0xf4f5f6f7, 5, 4, NULL));
    CU(cuMemcpyDtoH(out, a, sizeof(out)));

    for (unsigned i = 0; i < sizeof(out); i++) {
        unsigned char want = 0x11;
        unsigned x = i % 64;

        if (i >= 2 && i < 202)
            want = i % 2 ? 0x22 : 0x33;
        else if (i >= 256 && i < 456)
            want = (unsigned char)(0x44556677u >> (8 * (i % 4)));
        else if (i >= 1001 && i < 1004)
            want = 0x88;
        else if (i == 1100 || i == 1101)
            want = i % 2 ? 0x99 : 0xaa;
        else if (i >= 1200 && i < 1204)
            want = (unsigned char)(0xbbccddeeu >> (8 * (i % 4)));
        else if (i >= 2048 && i < 2304)
            want = x < 5 ? 0xf1 : 0x11;
        else if (i >= 2304 && i < 2560)
            want = x < 10 ? (i % 2 ? 0xf2 : 0xf3) : 0x11;
        else if (i >= 2560 && i < 2816)
            want = x < 20 ? (unsigned char)(0xf4f5f6f7u >> (8 * (i % 4))) : 0x11;
        wrong += out[i] != want;
    }
    EXPECT(wrong == 0);
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuMemsetD16(a + 1, 0, 1));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuMemsetD32(a + 2, 0, 1));
    CU(cuMemFree(a));
    printf("fills: %u wrong\n", wrong);
}

/* A source may be changed as soon as the call has returned. */
static void
source_is_captured(void)
{
    static uint32_t in[1u << 18], out[1u << 18];
    CUdeviceptr a;
    CUstream s;

    CU(cuMemAlloc(&a, sizeof(in)));
    CU(cuStreamCreate(&s, CU_STREAM_NON_BLOCKING));
    for (uint32_t i = 0; i < COUNT_OF(in); i++)
        in[i] = i * 7;
    CU(cuMemcpyHtoDAsync(a, in, sizeof(in), s));
    memset(in, 0xff, sizeof(in));
    CU(cuStreamSynchronize(s));
    CU(cuMemcpyDtoH(out, a, sizeof(out)));
    uint32_t wrong = 0;
    for (uint32_t i = 0; i < COUNT_OF(out); i++)
        wrong += out[i] != i * 7;
    EXPECT(wrong == 0);
    CU(cuStreamDestroy(s));
    CU(cuMemFree(a));
    printf("pageable source: %u wrong\n", wrong);
}

int
main(void)
{
    CUdevice dev = drv_open();

    one_dimension();
    two_dimensions();
    three_dimensions();
    fills();
    source_is_captured();
    drv_close(dev);
    return drv_result("drv_copies");
}
