/* tests/programs/c/drv_contexts.c -- primary and created contexts, the stack of a thread, flags,
 * limits, reset */
#include "drv.h"
#include "vector_ptx.h"

#include <pthread.h>

static CUdevice dev;

static void
primary(void)
{
    CUcontext a, b, now;
    unsigned flags;
    int active;

    CU(cuDevicePrimaryCtxGetState(dev, &flags, &active));
    EXPECT(active == 0);
    CU(cuDevicePrimaryCtxRetain(&a, dev));
    CU(cuDevicePrimaryCtxRetain(&b, dev));
    EXPECT(a == b);
    CU(cuCtxGetCurrent(&now));
    EXPECT(now == NULL); /* retaining makes nothing current */
    CU(cuDevicePrimaryCtxGetState(dev, &flags, &active));
    EXPECT(active == 1);
    CU(cuDevicePrimaryCtxRelease(dev));
    CU(cuDevicePrimaryCtxRelease(dev));
    CU(cuDevicePrimaryCtxGetState(dev, &flags, &active));
    EXPECT(active == 0);
    EXPECT_CU(CUDA_ERROR_INVALID_CONTEXT, cuDevicePrimaryCtxRelease(dev));
    printf("primary context: done\n");
}

static void
stack(void)
{
    CUcontext a, b, got;
    CUdevice where;
    unsigned version;

    CU(cuCtxCreate_v2(&a, 0, dev));
    CU(cuCtxCreate_v2(&b, CU_CTX_SCHED_BLOCKING_SYNC, dev));
    EXPECT(a != b);
    CU(cuCtxGetCurrent(&got));
    EXPECT(got == b);
    unsigned flags;
    CU(cuCtxGetFlags(&flags));
    EXPECT((flags & CU_CTX_SCHED_MASK) == CU_CTX_SCHED_BLOCKING_SYNC);
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, /* two ways to wait */
              cuCtxSetFlags(CU_CTX_SCHED_YIELD | CU_CTX_SCHED_BLOCKING_SYNC));
    CU(cuCtxPopCurrent(&got));
    EXPECT(got == b);
    CU(cuCtxGetCurrent(&got));
    EXPECT(got == a);
    CU(cuCtxPushCurrent(b));
    CU(cuCtxPushCurrent(a));
    CU(cuCtxGetDevice(&where));
    EXPECT(where == dev);
    CU(cuCtxGetApiVersion(a, &version));
    EXPECT(version >= 3020);
    CU(cuCtxPopCurrent(&got));
    CU(cuCtxPopCurrent(&got));
    CU(cuCtxPopCurrent(&got));
    EXPECT(got == a);
    EXPECT_CU(CUDA_ERROR_INVALID_CONTEXT, cuCtxPopCurrent(&got));
    CU(cuCtxDestroy(a));
    CU(cuCtxDestroy(b));
    printf("stack: done\n");
}

static void
limits(void)
{
    CUcontext ctx;
    size_t value;

    CU(cuCtxCreate_v2(&ctx, 0, dev));
    CU(cuCtxGetLimit(&value, CU_LIMIT_STACK_SIZE));
    EXPECT(value >= 1024);
    CU(cuCtxGetLimit(&value, CU_LIMIT_PRINTF_FIFO_SIZE));
    EXPECT(value >= 65536);
    CU(cuCtxSetLimit(CU_LIMIT_PRINTF_FIFO_SIZE, 2 << 20));
    CU(cuCtxGetLimit(&value, CU_LIMIT_PRINTF_FIFO_SIZE));
    EXPECT(value >= 2 << 20);
    EXPECT_CU(CUDA_ERROR_UNSUPPORTED_LIMIT, cuCtxSetLimit((CUlimit)1000, 1));
    CU(cuCtxDestroy(ctx));
    printf("limits: done\n");
}

/* Memory of one context can be used in another of the same device. */
static void
two_contexts(void)
{
    uint32_t words[64], n = 64, factor = 5, addend = 1, wrong = 0;
    CUdeviceptr p;
    CUcontext a, b;
    void *params[] = {&p, &factor, &addend, &n};

    CU(cuCtxCreate_v2(&a, 0, dev));
    CU(cuMemAlloc(&p, sizeof(words)));
    CU(cuMemsetD32(p, 2, 64));
    CU(cuCtxSynchronize());
    CU(cuCtxCreate_v2(&b, 0, dev));
    drv_launch(drv_kernel(vector_ptx, "mul_add_u32"), 64, NULL, params);
    CU(cuMemcpyDtoH(words, p, sizeof(words)));
    for (unsigned i = 0; i < 64; i++)
        wrong += words[i] != 11;
    EXPECT(wrong == 0);
    CU(cuCtxDestroy(b));
    CU(cuCtxSetCurrent(a));
    CU(cuMemcpyDtoH(words, p, sizeof(words)));
    EXPECT(words[0] == 11); /* outlives b */
    CU(cuCtxDestroy(a));
    printf("two contexts: %u wrong\n", wrong);
}

static void *
other_thread(void *p)
{
    CUcontext now = p;

    CU(cuCtxGetCurrent(&now));
    EXPECT(now == NULL); /* the current context belongs to a thread */
    CU(cuCtxSetCurrent(p));
    CU(cuCtxSynchronize());
    return NULL;
}

static void
threads(void)
{
    CUcontext ctx;
    pthread_t t;

    CU(cuCtxCreate_v2(&ctx, 0, dev));
    EXPECT(pthread_create(&t, NULL, other_thread, ctx) == 0);
    pthread_join(t, NULL);
    CU(cuCtxDestroy(ctx));
    printf("threads: done\n");
}

static void
reset(void)
{
    CUcontext ctx;
    CUdeviceptr p;

    for (int i = 0; i < 3; i++) {
        uint32_t got = 0;

        CU(cuDevicePrimaryCtxRetain(&ctx, dev));
        CU(cuCtxSetCurrent(ctx));
        CU(cuMemAlloc(&p, 4096));
        CU(cuMemsetD32(p, 42, 1024));
        CU(cuMemcpyDtoH(&got, p, 4));
        EXPECT(got == 42);
        CU(cuDevicePrimaryCtxReset(dev));
    }
    printf("reset: done\n");
}

int
main(void)
{
    CU(cuInit(0));
    CU(cuDeviceGet(&dev, 0));
    primary();
    stack();
    limits();
    two_contexts();
    threads();
    reset();
    return drv_result("drv_contexts");
}
