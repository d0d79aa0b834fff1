/* drv_arrays.c -- arrays: what they are, and every copy that touches one */
#include "drv.h"

#define W     37u /* texels of two floats in a row */
#define H     11u
#define D     5u
#define TEXEL 8u

static void
fill(unsigned char *p, size_t n, unsigned seed)
{
    for (size_t i = 0; i < n; i++)
        p[i] = (unsigned char)(drv_lcg((uint32_t)(seed + i), 1) >> 24);
}

static CUarray
make(size_t w, size_t h, size_t d, unsigned flags)
{
    CUDA_ARRAY3D_DESCRIPTOR desc = {w, h, d, CU_AD_FORMAT_FLOAT, 2, flags}, got;
    CUarray array;

    CU(cuArray3DCreate(&array, &desc));
    CU(cuArray3DGetDescriptor(&got, array));
    EXPECT(got.Width == w && got.Height == h && got.Depth == d && got.Flags == flags &&
           got.Format == CU_AD_FORMAT_FLOAT && got.NumChannels == 2);
    return array;
}

static CUDA_MEMCPY3D
box(size_t w, size_t h, size_t d)
{
    CUDA_MEMCPY3D c = {.WidthInBytes = w * TEXEL, .Height = h, .Depth = d};

    return c;
}

static void
source_host(CUDA_MEMCPY3D *c, const void *p, size_t w, size_t h)
{
    c->srcMemoryType = CU_MEMORYTYPE_HOST;
    c->srcHost = p;
    c->srcPitch = w * TEXEL;
    c->srcHeight = h;
}

static void
target_host(CUDA_MEMCPY3D *c, void *p, size_t w, size_t h)
{
    c->dstMemoryType = CU_MEMORYTYPE_HOST;
    c->dstHost = p;
    c->dstPitch = w * TEXEL;
    c->dstHeight = h;
}

static void
source_array(CUDA_MEMCPY3D *c, CUarray a, size_t x, size_t y, size_t z)
{
    c->srcMemoryType = CU_MEMORYTYPE_ARRAY;
    c->srcArray = a;
    c->srcXInBytes = x * TEXEL;
    c->srcY = y;
    c->srcZ = z;
}

static void
target_array(CUDA_MEMCPY3D *c, CUarray a, size_t x, size_t y, size_t z)
{
    c->dstMemoryType = CU_MEMORYTYPE_ARRAY;
    c->dstArray = a;
    c->dstXInBytes = x * TEXEL;
    c->dstY = y;
    c->dstZ = z;
}

/* A box goes in whole, an inner part moves to another array, that comes back. */
static void
boxes(size_t depth, unsigned flags, const char *what)
{
    size_t bytes = (size_t)W * H * depth * TEXEL;
    unsigned char *in = malloc(bytes), *out = malloc(bytes), *want = calloc(1, bytes);
    size_t layers = flags & CUDA_ARRAY3D_LAYERED ? depth : depth == 1 ? 0 : depth;
    CUarray a = make(W, H, layers, flags), b = make(W, H, layers, flags);
    size_t d = depth > 2 ? depth - 2 : 1, z = depth > 2 ? 1 : 0;
    CUDA_MEMCPY3D c;

    fill(in, bytes, (unsigned)depth + flags);
    c = box(W, H, depth);
    source_host(&c, in, W, H);
    target_array(&c, a, 0, 0, 0);
    CU(cuMemcpy3D(&c));
    c = box(W, H, depth);
    source_host(&c, want, W, H);
    target_array(&c, b, 0, 0, 0);
    CU(cuMemcpy3DAsync(&c, NULL));
    c = box(20, 6, d);
    source_array(&c, a, 5, 2, z);
    target_array(&c, b, 3, 1, 0);
    CU(cuMemcpy3D(&c));
    for (size_t k = 0; k < d; k++)
        for (size_t y = 0; y < 6; y++)
            memcpy(want + ((k * H + y + 1) * W + 3) * TEXEL,
                   in + (((k + z) * H + y + 2) * W + 5) * TEXEL, 20 * TEXEL);
    c = box(W, H, depth);
    source_array(&c, b, 0, 0, 0);
    target_host(&c, out, W, H);
    CU(cuMemcpy3D(&c));
    EXPECT(memcmp(want, out, bytes) == 0);
    CU(cuArrayDestroy(a));
    CU(cuArrayDestroy(b));
    free(in);
    free(out);
    free(want);
    printf("%s: done\n", what);
}

/* Between arrays and linear device memory, with pitches and with pinned memory, asynchronously. */
static void
linear(void)
{
    size_t bytes = (size_t)W * H * TEXEL, pitch;
    unsigned char *in, *out;
    CUdeviceptr mem;
    CUarray a = make(W, H, 0, 0), b = make(W, H, 0, 0);
    CUstream stream;

    CU(cuMemAllocHost((void **)&in, bytes));
    CU(cuMemAllocHost((void **)&out, bytes));
    CU(cuMemAllocPitch(&mem, &pitch, W * TEXEL, H, 8));
    CU(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
    fill(in, bytes, 7);
    memset(out, 0, bytes);
    CUDA_MEMCPY2D up = {.srcMemoryType = CU_MEMORYTYPE_HOST,
                        .srcHost = in,
                        .srcPitch = W * TEXEL,
                        .dstMemoryType = CU_MEMORYTYPE_ARRAY,
                        .dstArray = a,
                        .WidthInBytes = W * TEXEL,
                        .Height = H};
    CU(cuMemcpy2DAsync(&up, stream));
    CUDA_MEMCPY2D over = {.srcMemoryType = CU_MEMORYTYPE_ARRAY,
                          .srcArray = a,
                          .dstMemoryType = CU_MEMORYTYPE_DEVICE,
                          .dstDevice = mem,
                          .dstPitch = pitch,
                          .WidthInBytes = W * TEXEL,
                          .Height = H};
    CU(cuMemcpy2DAsync(&over, stream));
    CUDA_MEMCPY2D back = {.srcMemoryType = CU_MEMORYTYPE_UNIFIED,
                          .srcDevice = mem,
                          .srcPitch = pitch,
                          .dstMemoryType = CU_MEMORYTYPE_ARRAY,
                          .dstArray = b,
                          .WidthInBytes = W * TEXEL,
                          .Height = H};
    CU(cuMemcpy2DAsync(&back, stream));
    CUDA_MEMCPY2D down = {.srcMemoryType = CU_MEMORYTYPE_ARRAY,
                          .srcArray = b,
                          .dstMemoryType = CU_MEMORYTYPE_HOST,
                          .dstHost = out,
                          .dstPitch = W * TEXEL,
                          .WidthInBytes = W * TEXEL,
                          .Height = H};
    CU(cuMemcpy2DAsync(&down, stream));
    CU(cuStreamSynchronize(stream));
    EXPECT(memcmp(in, out, bytes) == 0);
    CU(cuStreamDestroy(stream));
    CU(cuArrayDestroy(a));
    CU(cuArrayDestroy(b));
    CU(cuMemFree(mem));
    CU(cuMemFreeHost(in));
    CU(cuMemFreeHost(out));
    printf("linear memory: done\n");
}

static void
rows(void)
{
    enum {
        N = 300
    };
    unsigned char in[N * TEXEL], out[N * TEXEL], want[N * TEXEL];
    CUarray a = make(N, 0, 0, 0), b = make(N, 0, 0, 0);
    CUdeviceptr mem;

    fill(in, sizeof(in), 3);
    CU(cuMemAlloc(&mem, sizeof(in)));
    CU(cuMemsetD8(mem, 9, sizeof(in)));
    CU(cuMemcpyDtoA(b, 0, mem, sizeof(in)));
    CU(cuMemcpyHtoA(a, 0, in, sizeof(in)));
    CU(cuMemcpyAtoA(b, 10 * TEXEL, a, 20 * TEXEL, 100 * TEXEL));
    CU(cuMemcpyAtoD(mem + 5, b, 0, sizeof(in) - TEXEL));
    CU(cuMemcpyAtoH(out, b, 0, sizeof(out)));
    memset(want, 9, sizeof(want));
    memcpy(want + 10 * TEXEL, in + 20 * TEXEL, 100 * TEXEL);
    EXPECT(memcmp(out, want, sizeof(out)) == 0);
    CU(cuMemcpyDtoH(out, mem + 5, sizeof(in) - TEXEL));
    EXPECT(memcmp(out, want, sizeof(in) - TEXEL) == 0);
    CU(cuMemcpyHtoAAsync(a, 8, in, 16, NULL));
    CU(cuMemcpyAtoHAsync(out, a, 8, 16, NULL));
    CU(cuCtxSynchronize());
    EXPECT(memcmp(out, in, 16) == 0);
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuMemcpyHtoA(a, 4, in, 16)); /* not a whole texel */
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuMemcpyHtoA(a, (N - 1) * TEXEL, in, 16));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuMemcpyAtoH(out, a, (size_t)0 - 8, 16));
    EXPECT_CU(CUDA_ERROR_INVALID_HANDLE, cuMemcpyAtoH(out, NULL, 0, 16));
    /* Shapes count before arrays. */
    CUDA_MEMCPY2D box = {.srcMemoryType = CU_MEMORYTYPE_ARRAY,
                         .dstMemoryType = CU_MEMORYTYPE_HOST,
                         .dstHost = out,
                         .WidthInBytes = 4,
                         .Height = 2};
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuMemcpy2D(&box));
    box.dstMemoryType = (CUmemorytype)7;
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuMemcpy2D(&box));
    box.dstMemoryType = CU_MEMORYTYPE_HOST;
    box.dstPitch = 4;
    EXPECT_CU(CUDA_ERROR_INVALID_HANDLE, cuMemcpy2D(&box));
    CU(cuMemcpyHtoA(a, 0, in, 0));
    CU(cuArrayDestroy(a));
    CU(cuArrayDestroy(b));
    CU(cuMemFree(mem));
    printf("rows: done\n");
}

static void
batches(void)
{
    enum {
        N = 64
    };
    unsigned char in[2][N * TEXEL], out[2][N * TEXEL];
    CUmemcpyAttributes attrs[2] = {{.srcAccessOrder = CU_MEMCPY_SRC_ACCESS_ORDER_DURING_API_CALL},
                                   {.srcAccessOrder = CU_MEMCPY_SRC_ACCESS_ORDER_STREAM}};
    CUdeviceptr mem[2], host_in[2], host_out[2];
    size_t sizes[2] = {N * TEXEL, N * TEXEL / 2}, first[2] = {0, 1};
    CUarray a = make(8, 4, 2, 0);
    CUstream stream;

    CU(cuStreamCreate(&stream, 0));
    for (int i = 0; i < 2; i++) {
        fill(in[i], sizeof(in[i]), 40 + (unsigned)i);
        CU(cuMemAlloc(&mem[i], N * TEXEL));
        CU(cuMemsetD8(mem[i], 0, N * TEXEL));
        host_in[i] = (CUdeviceptr)(uintptr_t)in[i];
        host_out[i] = (CUdeviceptr)(uintptr_t)out[i];
    }
    CU(cuMemcpyBatchAsync(mem, host_in, sizes, 2, attrs, first, 2, stream));
    CU(cuMemcpyBatchAsync(host_out, mem, sizes, 2, &attrs[1], first, 1, stream));
    CU(cuStreamSynchronize(stream));
    EXPECT(memcmp(in[0], out[0], sizes[0]) == 0 && memcmp(in[1], out[1], sizes[1]) == 0);

    /* A pointer's rows are counted in texels where the other side is an array. */
    CUDA_MEMCPY3D_BATCH_OP ops[2] = {
        {.src = {.type = CU_MEMCPY_OPERAND_TYPE_POINTER, .op.ptr = {.ptr = host_in[0]}},
         .dst = {.type = CU_MEMCPY_OPERAND_TYPE_ARRAY, .op.array = {a, {0, 0, 0}}},
         .extent = {8, 4, 2},
         .srcAccessOrder = CU_MEMCPY_SRC_ACCESS_ORDER_STREAM},
        {.src = {.type = CU_MEMCPY_OPERAND_TYPE_POINTER,
                 .op.ptr = {.ptr = host_in[1], .rowLength = 4, .layerHeight = 2}},
         .dst = {.type = CU_MEMCPY_OPERAND_TYPE_POINTER,
                 .op.ptr = {.ptr = mem[1], .rowLength = 3, .layerHeight = 2}},
         .extent = {3, 2, 2},
         .srcAccessOrder = CU_MEMCPY_SRC_ACCESS_ORDER_ANY}};
    CU(cuMemcpy3DBatchAsync(2, ops, 0, stream));
    CUDA_MEMCPY3D_BATCH_OP back = {
        .src = {.type = CU_MEMCPY_OPERAND_TYPE_ARRAY, .op.array = {a, {2, 1, 1}}},
        .dst = {.type = CU_MEMCPY_OPERAND_TYPE_POINTER,
                .op.ptr = {.ptr = host_out[0], .rowLength = 6}},
        .extent = {5, 3, 1},
        .srcAccessOrder = CU_MEMCPY_SRC_ACCESS_ORDER_STREAM};
    CU(cuMemcpy3DBatchAsync(1, &back, 0, stream));
    CU(cuStreamSynchronize(stream));
    for (int y = 0; y < 3; y++)
        EXPECT(memcmp(out[0] + y * 6 * TEXEL, in[0] + ((4 + y + 1) * 8 + 2) * TEXEL, 5 * TEXEL) ==
               0);
    CU(cuMemcpyDtoH(out[1], mem[1], 12));
    EXPECT(memcmp(out[1], in[1], 3) == 0 && memcmp(out[1] + 3, in[1] + 4, 3) == 0 &&
           memcmp(out[1] + 6, in[1] + 8, 3) == 0);

    attrs[1].srcAccessOrder = CU_MEMCPY_SRC_ACCESS_ORDER_INVALID;
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE,
              cuMemcpyBatchAsync(mem, host_in, sizes, 2, attrs, first, 2, stream));
    attrs[1].srcAccessOrder = CU_MEMCPY_SRC_ACCESS_ORDER_ANY;
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE,
              cuMemcpyBatchAsync(mem, host_in, sizes, 2, attrs, first, 2, NULL));
    first[1] = 0;
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE,
              cuMemcpyBatchAsync(mem, host_in, sizes, 2, attrs, first, 2, stream));
    back.extent.depth = 0;
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuMemcpy3DBatchAsync(1, &back, 0, stream));
    CU(cuArrayDestroy(a));
    CU(cuStreamDestroy(stream));
    CU(cuMemFree(mem[0]));
    CU(cuMemFree(mem[1]));
    printf("batches: done\n");
}

/* More than goes through one piece, one block, or the server's pinned memory at once. */
static void
large(void)
{
    size_t w = 2000, h = 1500, bytes = w * h * TEXEL;
    unsigned char *in = malloc(bytes), *out = malloc(bytes);
    CUDA_ARRAY_DESCRIPTOR desc = {w, h, CU_AD_FORMAT_FLOAT, 2}, got;
    CUDA_MEMCPY3D c;
    CUarray a;

    CU(cuArrayCreate(&a, &desc));
    CU(cuArrayGetDescriptor(&got, a));
    EXPECT(got.Width == w && got.Height == h && got.NumChannels == 2);
    fill(in, bytes, 5);
    c = box(w, h, 1);
    source_host(&c, in, w, h);
    target_array(&c, a, 0, 0, 0);
    CU(cuMemcpy3D(&c));
    c = box(w, h, 1);
    source_array(&c, a, 0, 0, 0);
    target_host(&c, out, w, h);
    CU(cuMemcpy3D(&c));
    EXPECT(memcmp(in, out, bytes) == 0);
    CU(cuArrayDestroy(a));

    CU(cuArray3DCreate(&a, &(CUDA_ARRAY3D_DESCRIPTOR){512, 512, 24, CU_AD_FORMAT_FLOAT, 2, 0}));
    bytes = (size_t)512 * 512 * 24 * TEXEL; /* 48 MiB */
    in = realloc(in, bytes);
    out = realloc(out, bytes);
    fill(in, bytes, 6);
    c = box(512, 512, 24);
    source_host(&c, in, 512, 512);
    target_array(&c, a, 0, 0, 0);
    CU(cuMemcpy3D(&c));
    c = box(512, 512, 24);
    source_array(&c, a, 0, 0, 0);
    target_host(&c, out, 512, 512);
    CU(cuMemcpy3D(&c));
    EXPECT(memcmp(in, out, bytes) == 0);
    CU(cuArrayDestroy(a));
    free(in);
    free(out);
    printf("large: done\n");
}

static void
mistakes(void)
{
    unsigned char bytes[W * TEXEL] = {0};
    CUDA_ARRAY3D_DESCRIPTOR desc = {8, 8, 0, CU_AD_FORMAT_FLOAT, 3, 0}, got;
    CUarray a = NULL;
    CUDA_MEMCPY3D c;

    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuArray3DCreate(&a, &desc)); /* three channels */
    desc.NumChannels = 1;
    desc.Width = 0;
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuArray3DCreate(&a, &desc));
    desc.Width = 8;
    desc.Flags = CUDA_ARRAY3D_LAYERED; /* without layers */
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuArray3DCreate(&a, &desc));
    desc.Flags = CUDA_ARRAY3D_CUBEMAP;
    desc.Depth = 5; /* a cube has six */
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuArray3DCreate(&a, &desc));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuArray3DCreate(NULL, &desc));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuArray3DCreate(&a, NULL));
    EXPECT_CU(CUDA_ERROR_INVALID_HANDLE, cuArrayDestroy(NULL));
    EXPECT_CU(CUDA_ERROR_INVALID_HANDLE, cuArray3DGetDescriptor(&got, NULL));
    a = make(W, H, 0, 0);
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuArray3DGetDescriptor(NULL, a));
    c = box(W, 1, 1);
    source_host(&c, bytes, W, 1);
    target_array(&c, a, 0, H, 0); /* below the last row */
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuMemcpy3D(&c));
    target_array(&c, a, 1, 0, 0); /* beyond the end of one */
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuMemcpy3D(&c));
    target_array(&c, a, 0, 0, 1);
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuMemcpy3D(&c));
    CU(cuArrayDestroy(a));
    EXPECT_CU(CUDA_ERROR_INVALID_HANDLE, cuArrayDestroy(a));
    target_array(&c, a, 0, 0, 0);
    EXPECT_CU(CUDA_ERROR_INVALID_HANDLE, cuMemcpy3D(&c));
    printf("mistakes: done\n");
}

/* Arrays take the device's memory: too many are refused at the call, and what is destroyed can be
 * had again. */
static void
memory(void)
{
    CUDA_ARRAY_DESCRIPTOR desc = {16384, 16384, CU_AD_FORMAT_FLOAT, 1}; /* 1 GiB */
    CUarray arrays[300];
    CUdeviceptr mem;
    int n[2];

    for (int round = 0; round < 2; round++) {
        CUresult cr = CUDA_SUCCESS;

        for (n[round] = 0; n[round] < 300; n[round]++) {
            cr = cuArrayCreate(&arrays[n[round]], &desc);
            if (cr != CUDA_SUCCESS)
                break;
        }
        EXPECT(cr == CUDA_ERROR_OUT_OF_MEMORY);
        for (int i = 0; i < n[round]; i++)
            CU(cuArrayDestroy(arrays[i]));
    }
    EXPECT(n[0] > 0 && n[0] == n[1]);
    CU(cuMemAlloc(&mem, (size_t)1 << 30)); /* and by others */
    CU(cuMemFree(mem));
    printf("memory: done\n");
}

#ifndef TEST_REAL_CUDA_H
#undef cuArrayCreate
#undef cuArrayGetDescriptor
#undef cuMemcpyHtoA
#undef cuMemcpyAtoH
#undef cuMemAlloc
#undef cuMemcpyHtoD
#undef cuMemcpy2D
#endif

/* The forms of before CUDA 3.2. */
static void
narrow(void)
{
#ifndef TEST_REAL_CUDA_H
    unsigned char in[64], out[64] = {0};
    CUDA_ARRAY_DESCRIPTOR_v1 desc = {16, 0, CU_AD_FORMAT_UNSIGNED_INT32, 1}, got;
    CUDA_MEMCPY2D_v1 c = {.srcMemoryType = CU_MEMORYTYPE_ARRAY,
                          .dstMemoryType = CU_MEMORYTYPE_HOST,
                          .dstHost = out,
                          .dstPitch = 64,
                          .WidthInBytes = 64,
                          .Height = 1};
    CUdeviceptr_v1 address;
    CUarray a;

    fill(in, sizeof(in), 1);
    CU(cuArrayCreate(&a, &desc));
    CU(cuArrayGetDescriptor(&got, a));
    EXPECT(got.Width == 16 && got.Format == CU_AD_FORMAT_UNSIGNED_INT32);
    CU(cuMemcpyHtoA(a, 0, in, 64));
    c.srcArray = a;
    CU(cuMemcpy2D(&c));
    EXPECT(memcmp(in, out, 64) == 0);
    memset(out, 0, 64);
    CU(cuMemcpyAtoH(out, a, 0, 64));
    EXPECT(memcmp(in, out, 64) == 0);
    EXPECT_CU(CUDA_ERROR_OUT_OF_MEMORY, cuMemAlloc(&address, 64));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuMemcpyHtoD(64, in, 64));
    CU(cuArrayDestroy(a));
#endif
    printf("narrow: done\n");
}

int
main(void)
{
    CUdevice dev = drv_open();
    CUcontext ctx;

    boxes(1, 0, "two dimensions");
    boxes(D, 0, "three dimensions");
    boxes(D, CUDA_ARRAY3D_LAYERED, "layers");
    linear();
    rows();
    batches();
    large();
    mistakes();
    memory();
    narrow();
    /* What a context still has when it ends goes with it. */
    CU(cuCtxCreate_v2(&ctx, 0, dev));
    (void)make(64, 64, 0, 0);
    CU(cuCtxDestroy(ctx));
    drv_close(dev);
    return drv_result("drv_arrays");
}
