/* tests/programs/c/drv_pinned.c -- pinned host memory: its order with queued work, its kinds, its
 * addresses */
#include "drv.h"
#include "vector_ptx.h"

#define N (1u << 16)

static CUfunction burn;

/* A copy out of a pinned buffer must see what a queued copy into it brings. */
static void
read_after_queued_write(void)
{
    uint32_t n = N, rounds = 300, wrong = 0;
    CUdeviceptr a, b, c;
    uint32_t *pinned, *pinned2;
    CUstream s;

    CU(cuMemAlloc(&a, N * 4));
    CU(cuMemAlloc(&b, N * 4));
    CU(cuMemAlloc(&c, N * 4));
    CU(cuMemAllocHost((void **)&pinned, N * 4));
    CU(cuMemHostAlloc((void **)&pinned2, N * 4, CU_MEMHOSTALLOC_PORTABLE));
    CU(cuStreamCreate(&s, CU_STREAM_NON_BLOCKING));
    for (uint32_t round = 0; round < 5; round++) {
        void *params[] = {&a, &rounds, &n};

        memset(pinned, 0, N * 4);
        memset(pinned2, 0, N * 4);
        CU(cuMemsetD32Async(a, round + 1, N, s));
        drv_launch(burn, N, s, params);
        CU(cuMemcpyDtoHAsync(pinned, a, N * 4, s));
        CU(cuMemcpyHtoDAsync(b, pinned, N * 4, s));         /* reads what the line above writes */
        CU(cuMemcpyDtoHAsync(pinned + 1, b, N * 4 - 4, s)); /* overlaps, one word further */
        CU(cuMemcpyHtoDAsync(c, pinned, N * 4, s));
        CU(cuMemcpyDtoHAsync(pinned2, c, N * 4, s));
        CU(cuStreamSynchronize(s));
        for (uint32_t i = 0; i < N; i++)
            wrong += pinned2[i] != drv_lcg(round + 1, rounds);
    }
    EXPECT(wrong == 0);
    printf("queued write, then read: %u wrong\n", wrong);
    CU(cuStreamDestroy(s));
    CU(cuMemFreeHost(pinned));
    CU(cuMemFreeHost(pinned2));
    CU(cuMemFree(a));
    CU(cuMemFree(b));
    CU(cuMemFree(c));
}

static void
double_words(void *p)
{
    uint32_t *words = p;

    for (uint32_t i = 0; i < N; i++)
        words[i] *= 2;
}

/* The same with a host function as the writer. */
static void
read_after_host_function(void)
{
    uint32_t n = N, rounds = 100, wrong = 0;
    CUdeviceptr a;
    uint32_t *pinned;
    CUstream s;

    CU(cuMemAlloc(&a, N * 4));
    CU(cuMemAllocHost((void **)&pinned, N * 4));
    CU(cuStreamCreate(&s, CU_STREAM_NON_BLOCKING));
    void *params[] = {&a, &rounds, &n};
    for (uint32_t i = 0; i < N; i++)
        pinned[i] = i;
    CU(cuMemcpyHtoDAsync(a, pinned, N * 4, s));
    drv_launch(burn, N, s, params);
    CU(cuMemcpyDtoHAsync(pinned, a, N * 4, s));
    CU(cuLaunchHostFunc(s, double_words, pinned));
    CU(cuMemcpyHtoDAsync(a, pinned, N * 4, s));
    CU(cuMemcpyDtoHAsync(pinned, a, N * 4, s));
    CU(cuStreamSynchronize(s));
    for (uint32_t i = 0; i < N; i++)
        wrong += pinned[i] != drv_lcg(i, rounds) * 2;
    EXPECT(wrong == 0);
    printf("host function, then read: %u wrong\n", wrong);
    CU(cuStreamDestroy(s));
    CU(cuMemFreeHost(pinned));
    CU(cuMemFree(a));
}

/* Two streams move data in opposite directions at once, in pieces. */
static void
both_directions(void)
{
    enum { PIECES = 16 };
    uint32_t *up, *down, wrong = 0;
    CUdeviceptr a, b;
    CUstream s, t;

    CU(cuMemAllocHost((void **)&up, PIECES * N * 4ul));
    CU(cuMemAllocHost((void **)&down, PIECES * N * 4ul));
    CU(cuMemAlloc(&a, PIECES * N * 4ul));
    CU(cuMemAlloc(&b, PIECES * N * 4ul));
    CU(cuStreamCreate(&s, CU_STREAM_NON_BLOCKING));
    CU(cuStreamCreate(&t, CU_STREAM_NON_BLOCKING));
    for (uint32_t i = 0; i < PIECES * N; i++)
        up[i] = i ^ 0x5a5a5a5a;
    CU(cuMemsetD32(b, 0xcafef00d, PIECES * N));
    CU(cuCtxSynchronize()); /* a fill does not wait, and the streams do not wait for it */
    for (uint32_t p = 0; p < PIECES; p++) {
        CU(cuMemcpyHtoDAsync(a + p * N * 4ul, up + p * N, N * 4, s));
        CU(cuMemcpyDtoHAsync(down + p * N, b + p * N * 4ul, N * 4, t));
    }
    CU(cuCtxSynchronize());
    for (uint32_t i = 0; i < PIECES * N; i++)
        wrong += down[i] != 0xcafef00d;
    CU(cuMemcpyDtoH(down, a, PIECES * N * 4ul));
    for (uint32_t i = 0; i < PIECES * N; i++)
        wrong += down[i] != (i ^ 0x5a5a5a5a);
    EXPECT(wrong == 0);
    printf("both directions at once: %u wrong\n", wrong);
    CU(cuStreamDestroy(s));
    CU(cuStreamDestroy(t));
    CU(cuMemFreeHost(up));
    CU(cuMemFreeHost(down));
    CU(cuMemFree(a));
    CU(cuMemFree(b));
}

static void
kinds(void)
{
    unsigned flags, type;
    CUdeviceptr dp;
    CUresult cr;
    void *p;

    CU(cuMemHostAlloc(&p, 12345, CU_MEMHOSTALLOC_DEVICEMAP));
    CU(cuMemHostGetFlags(&flags, p));
    EXPECT((flags & CU_MEMHOSTALLOC_DEVICEMAP) != 0);
    /* a pool keeps mapped memory coherent or refuses it, never something between */
    cr = cuMemHostGetDevicePointer(&dp, p, 0);
    EXPECT(cr == CUDA_ERROR_NOT_SUPPORTED || (cr == CUDA_SUCCESS && dp != 0));
    CU(cuPointerGetAttribute(&type, CU_POINTER_ATTRIBUTE_MEMORY_TYPE, (CUdeviceptr)(uintptr_t)p));
    EXPECT(type == CU_MEMORYTYPE_HOST);
    CU(cuMemFreeHost(p));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuMemFreeHost(p));
    printf("kinds: done\n");
}

int
main(void)
{
    CUdevice dev = drv_open();

    burn = drv_kernel(vector_ptx, "burn");
    read_after_queued_write();
    read_after_host_function();
    both_directions();
    kinds();
    drv_close(dev);
    return drv_result("drv_pinned");
}
