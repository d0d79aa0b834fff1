/* tests/programs/c/drv_sync_copy.c -- what a synchronous copy brought to the device is there for
 * all later work, also in streams that nothing else orders behind it */
#include "drv.h"
#include "vector_ptx.h"

#include <pthread.h>

/* The per-thread variant has no name of its own in cuda.h. */
extern CUresult cuMemcpyHtoD_v2_ptds(CUdeviceptr dst, const void *src, size_t bytes);

enum {
    N = 4096,
    ROUNDS = 20000, /* keeps the copy's own stream busy for a while */
};

static CUcontext ctx;
static CUdeviceptr slow, words;
static CUfunction burn, mul_add;

/* words = words * 3 + 1 in a stream of this thread. */
static void *
use(void *stream)
{
    uint32_t n = N, factor = 3, addend = 1;
    void *params[] = {&words, &factor, &addend, &n};

    CU(cuCtxSetCurrent(ctx));
    drv_launch(mul_add, N, stream, params);
    CU(cuStreamSynchronize(stream));
    return NULL;
}

static void
use_elsewhere(CUstream stream)
{
    pthread_t t;

    EXPECT(pthread_create(&t, NULL, use, stream) == 0);
    pthread_join(t, NULL);
}

static void
check(const uint32_t *sent, const char *how)
{
    static uint32_t got[N];
    uint32_t wrong = 0;

    CU(cuMemcpyDtoH(got, words, sizeof(got)));
    for (unsigned i = 0; i < N; i++)
        wrong += got[i] != sent[i] * 3 + 1;
    EXPECT(wrong == 0);
    printf("%s: %u wrong\n", how, wrong);
}

/* A copy into memory of the host is there when cuMemcpy, which takes any address, returns; so is
 * one out of it read. */
static void
any_address(void **params)
{
    static uint32_t sent[N];
    uint32_t *host;
    CUdeviceptr managed;

    CU(cuMemHostAlloc((void **)&host, sizeof(sent), CU_MEMHOSTALLOC_PORTABLE));
    CU(cuMemAllocManaged(&managed, sizeof(sent), CU_MEM_ATTACH_GLOBAL));
    for (unsigned round = 1; round <= 3; round++) {
        for (unsigned i = 0; i < N; i++)
            sent[i] = i + round * N;
        CU(cuMemcpyHtoD(words, sent, sizeof(sent)));
        drv_launch(burn, N, NULL, params);
        CU(cuMemcpy((CUdeviceptr)(uintptr_t)host, words, sizeof(sent)));
        EXPECT(memcmp(host, sent, sizeof(sent)) == 0);
        drv_launch(burn, N, NULL, params);
        CU(cuMemcpy(managed, words, sizeof(sent)));
        EXPECT(memcmp((void *)(uintptr_t)managed, sent, sizeof(sent)) == 0);
        host[0] = 77;
        drv_launch(burn, N, NULL, params);
        CU(cuMemcpy(words, (CUdeviceptr)(uintptr_t)host, sizeof(sent)));
        host[0] = 78;
        CU(cuMemcpyDtoH(sent, words, 4));
        EXPECT(sent[0] == 77);
    }
    CU(cuMemFreeHost(host));
    CU(cuMemFree(managed));
    printf("any address: done\n");
}

int
main(void)
{
    static uint32_t sent[N];
    uint32_t n = N, rounds = ROUNDS;
    void *params[] = {&slow, &rounds, &n};
    CUdevice dev = drv_open();
    CUstream apart;

    CU(cuCtxGetCurrent(&ctx));
    burn = drv_kernel(vector_ptx, "burn");
    mul_add = drv_kernel(vector_ptx, "mul_add_u32");
    CU(cuMemAlloc(&slow, N * 4));
    CU(cuMemAlloc(&words, N * 4));
    CU(cuStreamCreate(&apart, CU_STREAM_NON_BLOCKING));
    for (unsigned round = 0; round < 3; round++) {
        for (unsigned i = 0; i < N; i++)
            sent[i] = i * 7 + round;
        drv_launch(burn, N, NULL, params);
        CU(cuMemcpyHtoD(words, sent, sizeof(sent)));
        use(apart);
        check(sent, "a non-blocking stream");

        drv_launch(burn, N, NULL, params);
        CU(cuMemcpyHtoD(words, sent, sizeof(sent)));
        use_elsewhere(apart);
        check(sent, "a non-blocking stream of another thread");

        drv_launch(burn, N, CU_STREAM_PER_THREAD, params);
        CU(cuMemcpyHtoD_v2_ptds(words, sent, sizeof(sent)));
        use_elsewhere(CU_STREAM_PER_THREAD);
        check(sent, "another thread's own stream");
    }
    any_address(params);
    CU(cuStreamDestroy(apart));
    CU(cuMemFree(slow));
    CU(cuMemFree(words));
    drv_close(dev);
    return drv_result("drv_sync_copy");
}
