/* tests/programs/c/drv_mempool.c -- allocation in stream order, and what pools say and keep */
#include "drv.h"
#include "vector_ptx.h"

#include <pthread.h>

#define MIB 1048576ul
#define N   4096u

static CUfunction burn, mul_add;
static CUdevice dev;

static cuuint64_t
asked(CUmemoryPool pool, CUmemPool_attribute attribute)
{
    cuuint64_t value = 0;

    CU(cuMemPoolGetAttribute(pool, attribute, &value));
    return value;
}

static void
set(CUmemoryPool pool, CUmemPool_attribute attribute, cuuint64_t value)
{
    CU(cuMemPoolSetAttribute(pool, attribute, &value));
}

static CUmemoryPool
make(size_t max)
{
    CUmemPoolProps props = {.allocType = CU_MEM_ALLOCATION_TYPE_PINNED,
                            .location = {CU_MEM_LOCATION_TYPE_DEVICE, 0},
                            .maxSize = max};
    CUmemoryPool pool;

    CU(cuMemPoolCreate(&pool, &props));
    return pool;
}

/* Work, free, and the next allocation's work in one stream: no wait between them. */
static void
in_stream_order(void)
{
    uint32_t n = N, rounds = 500, one = 1, zero = 0, wrong = 0;
    static uint32_t words[16][N];
    CUstream s;

    CU(cuStreamCreate(&s, CU_STREAM_NON_BLOCKING));
    for (uint32_t i = 0; i < 16; i++) {
        CUdeviceptr p, q;
        void *burn_params[] = {&p, &rounds, &n};
        void *mul_params[] = {&q, &one, &zero, &n};

        CU(cuMemAllocAsync(&p, N * 4, s));
        CU(cuMemsetD32Async(p, i, N, s));
        drv_launch(burn, N, s, burn_params);
        CU(cuMemcpyDtoHAsync(words[i], p, N * 4, s));
        CU(cuMemFreeAsync(p, s));
        CU(cuMemAllocAsync(&q, N * 4, s));
        CU(cuMemsetD32Async(q, 0xabcd, N, s));
        drv_launch(mul_add, N, s, mul_params);
        CU(cuMemFreeAsync(q, s));
    }
    CU(cuStreamSynchronize(s));
    for (uint32_t i = 0; i < 16; i++)
        for (uint32_t k = 0; k < N; k++)
            wrong += words[i][k] != drv_lcg(i, rounds);
    EXPECT(wrong == 0);
    CU(cuStreamDestroy(s));
    printf("in stream order: %u wrong\n", wrong);
}

/* Memory that a stream still uses is not given to another stream that runs ahead. */
static void
streams_do_not_share(void)
{
    uint32_t n = N, rounds = 20000, wrong = 0;
    CUmemoryPool pool = make(0);
    static uint32_t words[N];
    CUstream slow, fast;

    set(pool, CU_MEMPOOL_ATTR_RELEASE_THRESHOLD, UINT64_MAX);
    CU(cuStreamCreate(&slow, CU_STREAM_NON_BLOCKING));
    CU(cuStreamCreate(&fast, CU_STREAM_NON_BLOCKING));
    for (unsigned round = 0; round < 4; round++) {
        CUdeviceptr p, q;
        void *params[] = {&p, &rounds, &n};

        CU(cuMemAllocFromPoolAsync(&p, N * 4, pool, slow));
        CU(cuMemsetD32Async(p, 5, N, slow));
        drv_launch(burn, N, slow, params);
        CU(cuMemcpyDtoHAsync(words, p, N * 4, slow));
        CU(cuMemFreeAsync(p, slow));
        CU(cuMemAllocFromPoolAsync(&q, N * 4, pool, fast));
        CU(cuMemsetD32Async(q, 0, N, fast));
        CU(cuMemFreeAsync(q, fast));
        CU(cuStreamSynchronize(slow));
        for (uint32_t k = 0; k < N; k++)
            wrong += words[k] != drv_lcg(5, rounds);
    }
    EXPECT(wrong == 0);
    CU(cuStreamSynchronize(fast));
    CU(cuStreamDestroy(slow));
    CU(cuStreamDestroy(fast));
    CU(cuMemPoolDestroy(pool));
    printf("streams do not share: %u wrong\n", wrong);
}

/* used and reserved, now and at most; what a threshold keeps; what trimming gives back. */
static void
books(void)
{
    CUmemoryPool pool = make(0);
    CUdeviceptr p, q;
    CUstream s;

    CU(cuStreamCreate(&s, CU_STREAM_DEFAULT));
    EXPECT(asked(pool, CU_MEMPOOL_ATTR_RELEASE_THRESHOLD) == 0);
    EXPECT(asked(pool, CU_MEMPOOL_ATTR_USED_MEM_CURRENT) == 0);
    set(pool, CU_MEMPOOL_ATTR_RELEASE_THRESHOLD, 8 * MIB);
    CU(cuMemAllocFromPoolAsync(&p, 3 * MIB, pool, s));
    CU(cuMemAllocFromPoolAsync(&q, 5 * MIB, pool, s));
    EXPECT(asked(pool, CU_MEMPOOL_ATTR_USED_MEM_CURRENT) == 8 * MIB);
    EXPECT(asked(pool, CU_MEMPOOL_ATTR_RESERVED_MEM_CURRENT) >= 8 * MIB);
    CU(cuMemFreeAsync(p, s));
    CU(cuMemFreeAsync(q, s));
    CU(cuStreamSynchronize(s));
    EXPECT(asked(pool, CU_MEMPOOL_ATTR_USED_MEM_CURRENT) == 0);
    EXPECT(asked(pool, CU_MEMPOOL_ATTR_USED_MEM_HIGH) == 8 * MIB);
    EXPECT(asked(pool, CU_MEMPOOL_ATTR_RESERVED_MEM_CURRENT) == 8 * MIB);
    CU(cuMemPoolTrimTo(pool, 5 * MIB));
    EXPECT(asked(pool, CU_MEMPOOL_ATTR_RESERVED_MEM_CURRENT) <= 5 * MIB);
    CU(cuMemPoolTrimTo(pool, 0));
    EXPECT(asked(pool, CU_MEMPOOL_ATTR_RESERVED_MEM_CURRENT) == 0);
    EXPECT(asked(pool, CU_MEMPOOL_ATTR_RESERVED_MEM_HIGH) >= 8 * MIB);
    set(pool, CU_MEMPOOL_ATTR_USED_MEM_HIGH, 0);
    set(pool, CU_MEMPOOL_ATTR_RESERVED_MEM_HIGH, 0);
    EXPECT(asked(pool, CU_MEMPOOL_ATTR_USED_MEM_HIGH) == 0);
    EXPECT(asked(pool, CU_MEMPOOL_ATTR_RESERVED_MEM_HIGH) == 0);

    set(pool, CU_MEMPOOL_ATTR_RELEASE_THRESHOLD, 0);
    CU(cuMemAllocFromPoolAsync(&p, 3 * MIB, pool, s));
    CU(cuMemFreeAsync(p, s));
    CU(cuStreamSynchronize(s));
    EXPECT(asked(pool, CU_MEMPOOL_ATTR_RESERVED_MEM_CURRENT) == 0);
    CU(cuMemPoolDestroy(pool));
    CU(cuStreamDestroy(s));
    printf("books: done\n");
}

static void
default_and_current(void)
{
    CUmemLocation here = {CU_MEM_LOCATION_TYPE_DEVICE, 0};
    CUmemAccess_flags flags = 0;
    CUmemoryPool standard, pool, got, of_p;
    CUdeviceptr p;
    int supported = 0;

    CU(cuDeviceGetAttribute(&supported, CU_DEVICE_ATTRIBUTE_MEMORY_POOLS_SUPPORTED, dev));
    EXPECT(supported == 1);
    CU(cuDeviceGetDefaultMemPool(&standard, dev));
    CU(cuDeviceGetMemPool(&got, dev));
    EXPECT(got == standard);
    CU(cuMemGetDefaultMemPool(&got, &here, CU_MEM_ALLOCATION_TYPE_PINNED));
    EXPECT(got == standard);
    pool = make(0);
    CU(cuDeviceSetMemPool(dev, pool));
    CU(cuMemGetMemPool(&got, &here, CU_MEM_ALLOCATION_TYPE_PINNED));
    EXPECT(got == pool);
    CU(cuMemAllocAsync(&p, 1000, NULL));
    CU(cuPointerGetAttribute(&of_p, CU_POINTER_ATTRIBUTE_MEMPOOL_HANDLE, p));
    EXPECT(of_p == pool);
    CU(cuMemPoolGetAccess(&flags, pool, &here));
    EXPECT(flags == CU_MEM_ACCESS_FLAGS_PROT_READWRITE);
    CU(cuMemSetMemPool(&here, CU_MEM_ALLOCATION_TYPE_PINNED, standard));
    CU(cuDeviceSetMemPool(dev, pool));
    CU(cuMemPoolDestroy(pool)); /* the current one: the default comes back */
    CU(cuDeviceGetMemPool(&got, dev));
    EXPECT(got == standard);
    CU(cuMemsetD32(p, 9, 250)); /* its memory lives on */
    EXPECT(drv_word_at(p + 996) == 9);
    CU(cuMemFree(p));
    printf("default and current: done\n");
}

static void
mistakes(void)
{
    CUmemPoolProps props = {.allocType = CU_MEM_ALLOCATION_TYPE_PINNED,
                            .location = {CU_MEM_LOCATION_TYPE_DEVICE, 99}};
    CUmemoryPool standard, pool = make(4 * MIB), none = (CUmemoryPool)((char *)pool + 8);
    cuuint64_t value = 1;
    CUdeviceptr p, q;

    CU(cuDeviceGetDefaultMemPool(&standard, dev));
    EXPECT_CU(CUDA_ERROR_INVALID_DEVICE, cuMemPoolCreate(&pool, &props));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuMemPoolCreate(NULL, &props));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuMemPoolCreate(&pool, NULL));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuMemPoolDestroy(none));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuMemPoolDestroy(standard));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuMemAllocFromPoolAsync(&p, 4, none, NULL));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuMemAllocAsync(NULL, 4, NULL));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuMemAllocAsync(&p, 0, NULL));
    EXPECT_CU(CUDA_ERROR_OUT_OF_MEMORY, cuMemAllocAsync(&p, 1ul << 50, NULL));
    EXPECT_CU(CUDA_ERROR_OUT_OF_MEMORY, cuMemAllocFromPoolAsync(&p, 5 * MIB, pool, NULL));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE,
              cuMemPoolSetAttribute(pool, CU_MEMPOOL_ATTR_USED_MEM_HIGH, &value));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE,
              cuMemPoolSetAttribute(pool, CU_MEMPOOL_ATTR_USED_MEM_CURRENT, &value));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE,
              cuMemPoolGetAttribute(pool, (CUmemPool_attribute)99, &value));
    EXPECT_CU(CUDA_ERROR_INVALID_DEVICE, cuDeviceSetMemPool(99, pool));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuDeviceSetMemPool(dev, none));
    CU(cuMemAllocFromPoolAsync(&p, 3 * MIB, pool, NULL));
    EXPECT_CU(CUDA_ERROR_OUT_OF_MEMORY, cuMemAllocFromPoolAsync(&q, 2 * MIB, pool, NULL));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuMemFreeAsync(p + 256, NULL));
    CU(cuMemFreeAsync(p, NULL));
    CU(cuCtxSynchronize());
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuMemFreeAsync(p, NULL));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuMemFree(p));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuMemcpyDtoH(&value, p, 8));
    CU(cuMemFreeAsync(0, NULL));
    CU(cuMemAlloc(&p, 4096));
    CU(cuMemFreeAsync(p, NULL)); /* memory of the other kind may be given back so too */
    CU(cuCtxSynchronize());
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuMemFree(p));
    CU(cuMemPoolDestroy(pool));
    printf("mistakes: done\n");
}

/* While there is memory, a large allocation costs pools nothing. */
static void
enough_memory(void)
{
    CUmemoryPool pool = make(0);
    size_t left, total;
    CUdeviceptr p, q;

    set(pool, CU_MEMPOOL_ATTR_RELEASE_THRESHOLD, UINT64_MAX);
    CU(cuMemAllocFromPoolAsync(&p, 8 * MIB, pool, NULL));
    CU(cuMemFreeAsync(p, NULL));
    CU(cuCtxSynchronize());
    CU(cuMemGetInfo(&left, &total));
    CU(cuMemAlloc(&q, left / 2));
    EXPECT(asked(pool, CU_MEMPOOL_ATTR_RESERVED_MEM_CURRENT) == 8 * MIB);
    CU(cuMemFree(q));
    CU(cuMemPoolDestroy(pool));
    printf("enough memory: done\n");
}

/* When memory is short, what pools keep is used for others. */
static void
short_of_memory(void)
{
    CUmemoryPool pool = make(0);
    size_t left, total;
    CUdeviceptr p, q;

    set(pool, CU_MEMPOOL_ATTR_RELEASE_THRESHOLD, UINT64_MAX);
    CU(cuMemGetInfo(&left, &total));
    CU(cuMemAllocFromPoolAsync(&p, left / 4 * 3, pool, NULL));
    CU(cuMemFreeAsync(p, NULL));
    CU(cuCtxSynchronize());
    EXPECT(asked(pool, CU_MEMPOOL_ATTR_RESERVED_MEM_CURRENT) >= left / 4 * 3);
    CU(cuMemAlloc(&q, left / 2));
    EXPECT(asked(pool, CU_MEMPOOL_ATTR_RESERVED_MEM_CURRENT) == 0);
    CU(cuMemFree(q));
    CU(cuMemPoolDestroy(pool));
    printf("short of memory: done\n");
}

static void *
churn(void *arg)
{
    CUcontext ctx;
    CUstream s;
    uint32_t wrong = 0, seed = (uint32_t)(uintptr_t)arg;

    CU(cuDevicePrimaryCtxRetain(&ctx, dev));
    CU(cuCtxSetCurrent(ctx));
    CU(cuStreamCreate(&s, CU_STREAM_NON_BLOCKING));
    for (uint32_t i = 0; i < 200; i++) {
        size_t bytes = 256 + drv_lcg(seed + i, 3) % 100000 / 4 * 4;
        CUdeviceptr p;
        uint32_t got = 0;

        CU(cuMemAllocAsync(&p, bytes, s));
        CU(cuMemsetD32Async(p, seed + i, bytes / 4, s));
        if (i % 8 == 0)
            CU(cuMemcpyDtoHAsync(&got, p + bytes - 4, 4, s));
        CU(cuMemFreeAsync(p, s));
        if (i % 8 == 0) {
            CU(cuStreamSynchronize(s));
            wrong += got != seed + i;
        }
    }
    CU(cuStreamDestroy(s));
    CU(cuDevicePrimaryCtxRelease(dev));
    return (void *)(uintptr_t)wrong;
}

static void
threads(void)
{
    pthread_t t[4];
    CUmemoryPool standard;
    uintptr_t wrong = 0;

    for (uintptr_t i = 0; i < 4; i++)
        EXPECT(pthread_create(&t[i], NULL, churn, (void *)(i * 1000)) == 0);
    for (unsigned i = 0; i < 4; i++) {
        void *one;

        EXPECT(pthread_join(t[i], &one) == 0);
        wrong += (uintptr_t)one;
    }
    EXPECT(wrong == 0);
    CU(cuCtxSynchronize());
    CU(cuDeviceGetDefaultMemPool(&standard, dev));
    EXPECT(asked(standard, CU_MEMPOOL_ATTR_USED_MEM_CURRENT) == 0);
    EXPECT(asked(standard, CU_MEMPOOL_ATTR_RESERVED_MEM_CURRENT) == 0);
    printf("threads: %u wrong\n", (unsigned)wrong);
}

int
main(void)
{
    dev = drv_open();
    burn = drv_kernel(vector_ptx, "burn");
    mul_add = drv_kernel(vector_ptx, "mul_add_u32");
    enough_memory();
    in_stream_order();
    streams_do_not_share();
    books();
    default_and_current();
    mistakes();
    short_of_memory();
    threads();
    drv_close(dev);
    return drv_result("mempool");
}
