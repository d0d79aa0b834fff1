/* tests/programs/c/drv_shown.c -- pinned memory that kernels may come to reach while it is copied
 *
 * Eight threads copy between pinned memory and the device, in all the ways there are, and launch
 * kernels in between. What they copy holds addresses of each other's pinned memory: a pool must see
 * them, and so what one thread copies becomes memory of the others' kernels at any moment, also
 * while it is freed. argv[1]: rounds, 6 when absent; each has new memory. */
#include "drv.h"
#include "vector_ptx.h"

#include <pthread.h>
#include <string.h>

#define THREADS 8
#define N       100000u
#define HALF    (N / 2 * 4)

struct worker {
    pthread_t thread;
    CUcontext ctx;
    CUfunction mul_add;
    CUstream streams[2];
    CUdeviceptr a;
    unsigned number, rounds;
    uint64_t wrong;
    uint32_t held[N]; /* what went to the device */
};

static uint64_t shared[THREADS]; /* atomic: where each one's memory lies, or lay */

static void
fill(struct worker *w, uint32_t *host)
{
    for (uint32_t i = 0; i < N; i++)
        host[i] = i + w->number;
    for (unsigned t = 0; t < THREADS; t++) {
        uint64_t address = __atomic_load_n(&shared[t], __ATOMIC_RELAXED);

        if (t != w->number)
            memcpy(&host[t * (N / THREADS) / 2 * 2], &address, sizeof(address));
    }
    memcpy(w->held, host, sizeof(w->held));
}

static CUDA_MEMCPY2D
rows(void *host, CUdeviceptr a, bool in)
{
    CUDA_MEMCPY2D box = {.srcMemoryType = CU_MEMORYTYPE_HOST,
                         .srcHost = host,
                         .srcPitch = 400,
                         .dstMemoryType = CU_MEMORYTYPE_DEVICE,
                         .dstDevice = a,
                         .dstPitch = 400,
                         .WidthInBytes = 400,
                         .Height = N / 100};

    if (!in) {
        box.srcMemoryType = CU_MEMORYTYPE_DEVICE;
        box.srcDevice = a;
        box.dstMemoryType = CU_MEMORYTYPE_HOST;
        box.dstHost = host;
    }
    return box;
}

static void
copy_in(struct worker *w, uint32_t *host)
{
    CUDA_MEMCPY2D box = rows(host, w->a, true);

    if (w->number % 4 == 3)
        CU(cuMemcpy2DAsync(&box, w->streams[0]));
    else
        CU(cuMemcpyHtoDAsync(w->a, host, N * 4, w->streams[0]));
}

/* Also in halves, by two streams, of which the last one is done first. */
static void
copy_out(struct worker *w, uint32_t *host)
{
    CUDA_MEMCPY2D box = rows(host, w->a, false);
    uint8_t *upper = (uint8_t *)host + HALF;

    switch (w->number % 4) {
    case 0:
        CU(cuMemcpyDtoHAsync(host, w->a, N * 4, w->streams[0]));
        break;
    case 1:
        CU(cuStreamSynchronize(w->streams[0]));
        CU(cuMemcpyDtoH(host, w->a, N * 4));
        break;
    case 2:
        CU(cuStreamSynchronize(w->streams[0]));
        CU(cuMemcpyDtoHAsync(host, w->a, HALF, w->streams[0]));
        CU(cuMemcpyDtoHAsync(upper, w->a + HALF, N * 4 - HALF, w->streams[1]));
        CU(cuStreamSynchronize(w->streams[1]));
        break;
    default:
        CU(cuMemcpy2DAsync(&box, w->streams[0]));
    }
    CU(cuStreamSynchronize(w->streams[0]));
}

static void
one_round(struct worker *w, uint32_t *host)
{
    uint32_t n = N, factor = 3, addend = w->number;
    void *params[] = {&w->a, &factor, &addend, &n};

    fill(w, host);
    copy_in(w, host);
    drv_launch(w->mul_add, N, w->streams[0], params);
    copy_out(w, host);
    for (uint32_t i = 0; i < N; i++)
        w->wrong += host[i] != w->held[i] * factor + addend;
}

static void *
work(void *p)
{
    struct worker *w = p;
    void *host;

    CU(cuCtxSetCurrent(w->ctx));
    for (int i = 0; i < 2; i++)
        CU(cuStreamCreate(&w->streams[i], CU_STREAM_NON_BLOCKING));
    CU(cuMemAlloc(&w->a, N * 4));
    for (unsigned round = 0; round < w->rounds; round++) {
        CU(cuMemHostAlloc(&host, N * 4, CU_MEMHOSTALLOC_PORTABLE));
        __atomic_store_n(&shared[w->number], (uint64_t)(uintptr_t)host, __ATOMIC_RELAXED);
        one_round(w, host);
        CU(cuMemFreeHost(host));
    }
    CU(cuMemFree(w->a));
    for (int i = 0; i < 2; i++)
        CU(cuStreamDestroy(w->streams[i]));
    return NULL;
}

int
main(int argc, char **argv)
{
    static struct worker workers[THREADS];
    unsigned rounds = argc > 1 ? (unsigned)atoi(argv[1]) : 6;
    CUdevice dev = drv_open();
    uint64_t wrong = 0;
    CUcontext ctx;
    CUmodule mod;

    CU(cuCtxGetCurrent(&ctx));
    CU(cuModuleLoadData(&mod, vector_ptx));
    for (unsigned t = 0; t < THREADS; t++) {
        workers[t].ctx = ctx;
        workers[t].number = t;
        workers[t].rounds = rounds;
        CU(cuModuleGetFunction(&workers[t].mul_add, mod, "mul_add_u32"));
        EXPECT(pthread_create(&workers[t].thread, NULL, work, &workers[t]) == 0);
    }
    for (unsigned t = 0; t < THREADS; t++) {
        EXPECT(pthread_join(workers[t].thread, NULL) == 0);
        wrong += workers[t].wrong;
    }
    EXPECT(wrong == 0);
    printf("%u threads, %u rounds: %s\n", THREADS, rounds, wrong == 0 ? "exact" : "wrong");
    CU(cuModuleUnload(mod));
    drv_close(dev);
    return drv_result("drv_shown");
}
