/* tests/programs/c/drv_streams.c -- streams, events, priorities, waits between streams, and the
 * order of host callbacks */
#include "drv.h"
#include "vector_ptx.h"

#include <pthread.h>
#include <semaphore.h>

#define N      4096u
#define STREAMS 4

static CUfunction burn, mul_add;

static void
check_words(const uint32_t *words, uint32_t (*want)(uint32_t), const char *what)
{
    uint32_t wrong = 0;

    for (uint32_t i = 0; i < N; i++)
        wrong += words[i] != want(i);
    EXPECT(wrong == 0);
    printf("%s: %u wrong\n", what, wrong);
}

static uint32_t
want_chain(uint32_t i)
{
    return drv_lcg(i, 3000) * 3 + 5;
}

/* One stream fills and burns, the other continues where an event allows it. */
static void
wait_between_streams(void)
{
    static uint32_t words[N];
    uint32_t n = N, rounds = 3000, factor = 3, addend = 5;
    CUstream first, second;
    CUdeviceptr a;
    CUevent half;

    CU(cuMemAlloc(&a, sizeof(words)));
    CU(cuStreamCreate(&first, CU_STREAM_NON_BLOCKING));
    CU(cuStreamCreate(&second, CU_STREAM_NON_BLOCKING));
    CU(cuEventCreate(&half, CU_EVENT_DISABLE_TIMING));
    for (uint32_t i = 0; i < N; i++)
        words[i] = i;

    void *burn_params[] = {&a, &rounds, &n};
    void *mul_params[] = {&a, &factor, &addend, &n};
    CU(cuMemcpyHtoDAsync(a, words, sizeof(words), first));
    drv_launch(burn, N, first, burn_params);
    CU(cuEventRecord(half, first));
    CU(cuStreamWaitEvent(second, half, 0));
    drv_launch(mul_add, N, second, mul_params);
    CU(cuMemcpyDtoHAsync(words, a, sizeof(words), second));
    CU(cuStreamSynchronize(second));
    check_words(words, want_chain, "wait between streams");

    CU(cuStreamDestroy(first));
    CU(cuStreamDestroy(second));
    CU(cuEventDestroy(half));
    CU(cuMemFree(a));
}

static uint32_t
want_legacy(uint32_t i)
{
    return (drv_lcg(i, 2000) * 2 + 1) * 10 + 3;
}

/* The legacy stream joins all blocking streams, in both directions. */
static void
legacy_stream_joins(void)
{
    static uint32_t words[N];
    uint32_t n = N, rounds = 2000, two = 2, one = 1, ten = 10, three = 3;
    CUstream before, after;
    CUdeviceptr a;

    CU(cuMemAlloc(&a, sizeof(words)));
    CU(cuStreamCreate(&before, CU_STREAM_DEFAULT));
    CU(cuStreamCreate(&after, CU_STREAM_DEFAULT));
    for (uint32_t i = 0; i < N; i++)
        words[i] = i;
    CU(cuMemcpyHtoD(a, words, sizeof(words)));

    void *burn_params[] = {&a, &rounds, &n};
    void *legacy_params[] = {&a, &two, &one, &n};
    void *after_params[] = {&a, &ten, &three, &n};
    drv_launch(burn, N, before, burn_params);
    drv_launch(mul_add, N, CU_STREAM_LEGACY, legacy_params);
    drv_launch(mul_add, N, after, after_params);
    CU(cuMemcpyDtoH(words, a, sizeof(words)));
    check_words(words, want_legacy, "legacy stream");

    CU(cuStreamDestroy(before));
    CU(cuStreamDestroy(after));
    CU(cuMemFree(a));
}

static void
events(void)
{
    uint32_t n = N, rounds = 20000;
    CUevent start, end, never, untimed;
    CUdeviceptr a;
    CUstream s;
    float ms;

    CU(cuMemAlloc(&a, N * 4));
    CU(cuMemsetD32(a, 1, N));
    CU(cuStreamCreate(&s, CU_STREAM_NON_BLOCKING));
    CU(cuEventCreate(&start, CU_EVENT_DEFAULT));
    CU(cuEventCreate(&end, CU_EVENT_BLOCKING_SYNC));
    CU(cuEventCreate(&never, CU_EVENT_DEFAULT));
    CU(cuEventCreate(&untimed, CU_EVENT_DISABLE_TIMING));

    void *params[] = {&a, &rounds, &n};
    CU(cuEventRecord(start, s));
    drv_launch(burn, N, s, params);
    CU(cuEventRecord(end, s));
    CU(cuEventRecord(untimed, s));
    CU(cuEventSynchronize(end));
    EXPECT_CU(CUDA_SUCCESS, cuEventQuery(start));
    EXPECT_CU(CUDA_SUCCESS, cuEventQuery(end));
    EXPECT_CU(CUDA_SUCCESS, cuEventQuery(never)); /* nothing recorded is complete */
    CU(cuStreamSynchronize(s));
    EXPECT_CU(CUDA_SUCCESS, cuStreamQuery(s));
    CU(cuEventElapsedTime(&ms, start, end));
    EXPECT(ms > 0.0f && ms < 60000.0f);
    EXPECT_CU(CUDA_ERROR_INVALID_HANDLE, cuEventElapsedTime(&ms, start, never));
    EXPECT_CU(CUDA_ERROR_INVALID_HANDLE, cuEventElapsedTime(&ms, start, untimed));

    CU(cuEventDestroy(start));
    CU(cuEventDestroy(end));
    CU(cuEventDestroy(never));
    CU(cuEventDestroy(untimed));
    CU(cuStreamDestroy(s));
    CU(cuMemFree(a));
    printf("events: done\n");
}

static void
priorities(void)
{
    int least, greatest, got;
    unsigned flags;
    CUcontext mine, ctx;
    CUstream s;

    CU(cuCtxGetStreamPriorityRange(&least, &greatest));
    EXPECT(greatest <= least);
    CU(cuCtxGetCurrent(&mine));
    CU(cuStreamCreateWithPriority(&s, CU_STREAM_NON_BLOCKING, greatest));
    CU(cuStreamGetPriority(s, &got));
    EXPECT(got == greatest);
    CU(cuStreamGetFlags(s, &flags));
    EXPECT(flags == CU_STREAM_NON_BLOCKING);
    CU(cuStreamGetCtx(s, &ctx));
    EXPECT(ctx == mine);
    CU(cuStreamDestroy(s));

    CU(cuStreamCreateWithPriority(&s, CU_STREAM_DEFAULT, greatest - 100));
    CU(cuStreamGetPriority(s, &got));
    EXPECT(got == greatest); /* clamped, not refused */
    CU(cuStreamDestroy(s));
    printf("priorities: %d to %d\n", least, greatest);
}

struct call_log {
    unsigned count;
    unsigned order[64];
    CUresult bad_status;
    CUresult nested; /* what a driver call inside a host function gave */
};

struct call_note {
    struct call_log *log;
    unsigned number;
};

static void
host_function(void *p)
{
    struct call_note *note = p;
    CUdeviceptr tmp;

    note->log->order[note->log->count++] = note->number;
    note->log->nested = cuMemAlloc(&tmp, 16);
}

static void
stream_callback(CUstream s, CUresult status, void *p)
{
    struct call_note *note = p;

    (void)s;
    note->log->order[note->log->count++] = note->number;
    if (status != CUDA_SUCCESS)
        note->log->bad_status = status;
}

/* Callbacks of one stream run in order, after what came before them. */
static void
callbacks(void)
{
    static struct call_log logs[STREAMS];
    static struct call_note notes[STREAMS][20];
    uint32_t n = N, rounds = 200, wrong = 0;
    CUstream streams[STREAMS];
    CUdeviceptr a[STREAMS];

    for (int s = 0; s < STREAMS; s++) {
        CU(cuStreamCreate(&streams[s], CU_STREAM_NON_BLOCKING));
        CU(cuMemAlloc(&a[s], N * 4));
        CU(cuMemsetD32(a[s], 0, N));
    }
    for (unsigned i = 0; i < 20; i++) {
        for (int s = 0; s < STREAMS; s++) {
            void *params[] = {&a[s], &rounds, &n};

            notes[s][i] = (struct call_note){&logs[s], i};
            drv_launch(burn, N, streams[s], params);
            if (i % 2 == 0)
                CU(cuLaunchHostFunc(streams[s], host_function, &notes[s][i]));
            else
                CU(cuStreamAddCallback(streams[s], stream_callback, &notes[s][i], 0));
        }
    }
    CU(cuCtxSynchronize());
    for (int s = 0; s < STREAMS; s++) {
        wrong += logs[s].count != 20 || logs[s].bad_status != CUDA_SUCCESS;
        for (unsigned i = 0; i < logs[s].count; i++)
            wrong += logs[s].order[i] != i;
        EXPECT_CU(CUDA_ERROR_NOT_PERMITTED, logs[s].nested);
        CU(cuStreamDestroy(streams[s]));
        CU(cuMemFree(a[s]));
    }
    EXPECT(wrong == 0);
    printf("callbacks: %u wrong\n", wrong);
}

/* What a stream belongs to. */
static void
owners(void)
{
    CUgreenCtx green = (CUgreenCtx)(uintptr_t)8;
    CUcontext mine, ctx = NULL;
    CUstream stream;

    CU(cuCtxGetCurrent(&mine));
    CU(cuStreamCreate(&stream, 0));
    CU(cuStreamGetCtx_v2(stream, &ctx, &green));
    EXPECT(ctx == mine && green == NULL);
    green = (CUgreenCtx)(uintptr_t)8;
    CU(cuStreamGetGreenCtx(stream, &green));
    EXPECT(green == NULL);
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuStreamGetCtx_v2(stream, NULL, &green));
    CU(cuStreamDestroy(stream));
    printf("owners: done\n");
}

static void
wait_gate(void *gate)
{
    sem_wait(gate);
}

static void *
synchronise(void *ctx)
{
    CU(cuCtxSetCurrent(ctx));
    CU(cuCtxSynchronize());
    return NULL;
}

/* While a host function of a stream that was destroyed still runs, one thread waits for the whole
 * context, and others' calls go on. */
static void
destroyed_while_it_calls(void)
{
    uint32_t answered = 0, word;
    CUcontext ctx;
    CUdeviceptr d;

    CU(cuCtxGetCurrent(&ctx));
    CU(cuMemAlloc(&d, 4));
    for (uint32_t round = 0; round < 50; round++) {
        pthread_t thread;
        CUstream s;
        sem_t gate;

        sem_init(&gate, 0, 0);
        CU(cuStreamCreate(&s, CU_STREAM_NON_BLOCKING));
        CU(cuLaunchHostFunc(s, wait_gate, &gate));
        CU(cuStreamDestroy(s));
        pthread_create(&thread, NULL, synchronise, ctx);
        for (int i = 0; i < 10; i++)
            answered += cuMemcpyDtoH(&word, d, 4) == CUDA_SUCCESS;
        sem_post(&gate);
        pthread_join(thread, NULL);
        sem_destroy(&gate);
    }
    CU(cuMemFree(d));
    EXPECT(answered == 500);
    printf("destroyed while it calls: %u answers\n", answered);
}

int
main(void)
{
    CUdevice dev = drv_open();
    CUmodule mod;

    CU(cuModuleLoadData(&mod, vector_ptx));
    CU(cuModuleGetFunction(&burn, mod, "burn"));
    CU(cuModuleGetFunction(&mul_add, mod, "mul_add_u32"));
    wait_between_streams();
    legacy_stream_joins();
    events();
    priorities();
    callbacks();
    owners();
    destroyed_while_it_calls();
    CU(cuModuleUnload(mod));
    drv_close(dev);
    return drv_result("drv_streams");
}
