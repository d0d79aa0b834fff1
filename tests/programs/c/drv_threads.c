/* tests/programs/c/drv_threads.c -- eight threads copy and launch at once, each result exact
 *
 * argv[1]: rounds, 100 when absent. Every thread has a stream of its own; half of
 * them share the default stream's calls as well. */
#include "drv.h"
#include "vector_ptx.h"

#include <pthread.h>

#define THREADS 8
#define N       5000u

struct worker {
    pthread_t thread;
    CUcontext ctx;
    CUfunction burn, mul_add;
    unsigned number, rounds;
    uint64_t wrong;
};

static void
one_round(struct worker *w, CUstream s, CUdeviceptr a, CUdeviceptr b, uint32_t *host, uint32_t seed)
{
    uint32_t n = N, steps = 3, factor = seed | 1, addend = w->number;
    void *burn_params[] = {&b, &steps, &n};
    void *mul_params[] = {&b, &factor, &addend, &n};

    for (uint32_t i = 0; i < N; i++)
        host[i] = i + seed;
    CU(cuMemcpyHtoDAsync(a, host, N * 4, s));
    memset(host, 0, N * 4);
    CU(cuMemcpyDtoDAsync(b, a, N * 4, s));
    drv_launch(w->burn, N, s, burn_params);
    drv_launch(w->mul_add, N, s, mul_params);
    CU(cuMemcpyDtoHAsync(host, b, N * 4, s));
    CU(cuStreamSynchronize(s));
    for (uint32_t i = 0; i < N; i++)
        w->wrong += host[i] != drv_lcg(i + seed, steps) * factor + addend;
}

static void *
work(void *p)
{
    struct worker *w = p;
    uint32_t host[N];
    CUstream s;

    CU(cuCtxSetCurrent(w->ctx));
    CU(cuStreamCreate(&s, CU_STREAM_NON_BLOCKING));
    for (unsigned round = 0; round < w->rounds; round++) {
        CUdeviceptr a, b;

        CU(cuMemAlloc(&a, N * 4));
        CU(cuMemAlloc(&b, N * 4));
        one_round(w, w->number % 2 && round % 4 == 0 ? NULL : s, a, b, host,
                  w->number * 1000 + round);
        CU(cuMemFree(b));
        CU(cuMemFree(a));
    }
    CU(cuStreamDestroy(s));
    return NULL;
}

int
main(int argc, char **argv)
{
    static struct worker workers[THREADS];
    unsigned rounds = argc > 1 ? (unsigned)atoi(argv[1]) : 100;
    CUdevice dev = drv_open();
    uint64_t wrong = 0;
    CUcontext ctx;
    CUmodule mod;

    CU(cuCtxGetCurrent(&ctx));
    CU(cuModuleLoadData(&mod, vector_ptx));
    for (unsigned t = 0; t < THREADS; t++) {
        workers[t] = (struct worker){.ctx = ctx, .number = t, .rounds = rounds};
        CU(cuModuleGetFunction(&workers[t].burn, mod, "burn"));
        CU(cuModuleGetFunction(&workers[t].mul_add, mod, "mul_add_u32"));
        EXPECT(pthread_create(&workers[t].thread, NULL, work, &workers[t]) == 0);
    }
    for (unsigned t = 0; t < THREADS; t++) {
        pthread_join(workers[t].thread, NULL);
        wrong += workers[t].wrong;
    }
    EXPECT(wrong == 0);
    printf("%d threads, %u rounds: %lu wrong\n", THREADS, rounds, (unsigned long)wrong);
    drv_close(dev);
    return drv_result("drv_threads");
}
