/* tests/programs/c/drv_context_events.c -- events of all a context's streams, and waits of all of
 * them */
#include "drv.h"
#include "vector_ptx.h"

#include <semaphore.h>

#define STREAMS 4
#define N       2048u

static CUfunction burn, mul_add;

static void
wait_gate(void *gate)
{
    sem_wait(gate);
}

/* The event is there when the work of each stream is. */
static void
record(CUcontext ctx)
{
    static uint32_t words[STREAMS + 1][N];
    uint32_t n = N, rounds = 2000, wrong = 0;
    CUstream streams[STREAMS], at;
    CUdeviceptr a[STREAMS + 1];
    CUevent all;
    sem_t gate;

    sem_init(&gate, 0, 0);
    CU(cuEventCreate(&all, CU_EVENT_DEFAULT));
    CU(cuCtxRecordEvent(ctx, all)); /* nothing is under way */
    CU(cuEventSynchronize(all));
    for (int s = 0; s <= STREAMS; s++) {
        void *params[] = {&a[s], &rounds, &n};

        CU(cuMemAlloc(&a[s], sizeof(words[s])));
        if (s < STREAMS)
            CU(cuStreamCreate(&streams[s], s % 2 ? CU_STREAM_NON_BLOCKING : CU_STREAM_DEFAULT));
        at = s < STREAMS ? streams[s] : CU_STREAM_PER_THREAD;
        CU(cuMemsetD32Async(a[s], (uint32_t)s, N, at));
        drv_launch(burn, N, at, params);
    }
    CU(cuLaunchHostFunc(streams[1], wait_gate, &gate));
    CU(cuCtxRecordEvent(ctx, all));
    EXPECT_CU(CUDA_ERROR_NOT_READY, cuEventQuery(all));
    sem_post(&gate);
    CU(cuEventSynchronize(all));
    for (int s = 0; s <= STREAMS; s++) {
        at = s < STREAMS ? streams[s] : CU_STREAM_PER_THREAD;
        EXPECT_CU(CUDA_SUCCESS, cuStreamQuery(at));
        CU(cuMemcpyDtoHAsync(words[s], a[s], sizeof(words[s]), at));
        CU(cuStreamSynchronize(at));
        for (uint32_t i = 0; i < N; i++)
            wrong += words[s][i] != drv_lcg((uint32_t)s, rounds);
        CU(cuMemFree(a[s]));
        if (s < STREAMS)
            CU(cuStreamDestroy(streams[s]));
    }
    CU(cuEventDestroy(all));
    sem_destroy(&gate);
    EXPECT(wrong == 0);
    printf("record: %u wrong\n", wrong);
}

/* Work of old streams, a new one and the default one comes behind what another context does. */
static void
wait_for_other(CUdevice dev, CUcontext mine)
{
    uint32_t n = N, factor = 3, addend = 1, wrong = 0;
    CUstream old, young, foreign;
    CUdeviceptr a[3];
    CUcontext other;
    CUevent event;
    sem_t gate;

    sem_init(&gate, 0, 0);
    CU(cuStreamCreate(&old, CU_STREAM_NON_BLOCKING));
    for (int i = 0; i < 3; i++)
        CU(cuMemAlloc(&a[i], N * 4));
    CU(cuCtxCreate_v2(&other, 0, dev));
    CU(cuStreamCreate(&foreign, CU_STREAM_NON_BLOCKING));
    CU(cuEventCreate(&event, CU_EVENT_DISABLE_TIMING));
    CU(cuLaunchHostFunc(foreign, wait_gate, &gate));
    for (int i = 0; i < 3; i++)
        CU(cuMemsetD32Async(a[i], 7, N, foreign));
    CU(cuCtxRecordEvent(other, event));
    EXPECT_CU(CUDA_ERROR_INVALID_HANDLE, cuCtxRecordEvent(mine, event));
    CU(cuCtxSetCurrent(mine));
    CU(cuCtxWaitEvent(mine, event));
    CU(cuStreamCreate(&young, CU_STREAM_NON_BLOCKING));
    for (int i = 0; i < 3; i++) {
        void *params[] = {&a[i], &factor, &addend, &n};

        drv_launch(mul_add, N, i == 0 ? old : i == 1 ? young : NULL, params);
    }
    EXPECT_CU(CUDA_ERROR_NOT_READY, cuStreamQuery(old));
    EXPECT_CU(CUDA_ERROR_NOT_READY, cuStreamQuery(young));
    EXPECT_CU(CUDA_ERROR_NOT_READY, cuStreamQuery(NULL));
    sem_post(&gate);
    CU(cuCtxSynchronize());
    for (int i = 0; i < 3; i++) {
        wrong += drv_word_at(a[i]) != 22 || drv_word_at(a[i] + N * 4 - 4) != 22;
        CU(cuMemFree(a[i]));
    }
    CU(cuStreamDestroy(old));
    CU(cuStreamDestroy(young));
    CU(cuCtxPushCurrent(other));
    CU(cuCtxDestroy(other));
    CU(cuCtxSetCurrent(mine));
    sem_destroy(&gate);
    EXPECT(wrong == 0);
    printf("wait: %u wrong\n", wrong);
}

static void
captures(CUcontext ctx)
{
    CUstream s, by_event;
    CUgraph graph = NULL;
    CUevent event, captured;

    CU(cuStreamCreate(&s, CU_STREAM_NON_BLOCKING));
    CU(cuStreamCreate(&by_event, CU_STREAM_NON_BLOCKING));
    CU(cuEventCreate(&event, CU_EVENT_DISABLE_TIMING));
    CU(cuEventCreate(&captured, CU_EVENT_DISABLE_TIMING));
    CU(cuStreamBeginCapture_v2(s, CU_STREAM_CAPTURE_MODE_RELAXED));
    EXPECT_CU(CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED, cuCtxRecordEvent(ctx, event));
    EXPECT_CU(CUDA_ERROR_STREAM_CAPTURE_INVALIDATED, cuStreamEndCapture(s, &graph));
    CU(cuStreamBeginCapture_v2(s, CU_STREAM_CAPTURE_MODE_RELAXED));
    CU(cuEventRecord(captured, s));
    EXPECT_CU(CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED, cuCtxWaitEvent(ctx, captured));
    EXPECT_CU(CUDA_ERROR_STREAM_CAPTURE_INVALIDATED, cuStreamEndCapture(s, &graph));
    EXPECT_CU(CUDA_ERROR_INVALID_CONTEXT, cuCtxRecordEvent(NULL, event));
    EXPECT_CU(CUDA_ERROR_INVALID_HANDLE, cuCtxRecordEvent(ctx, (CUevent)s));
    EXPECT_CU(CUDA_ERROR_INVALID_HANDLE, cuCtxWaitEvent(ctx, NULL));
    CU(cuCtxWaitEvent(ctx, event)); /* never recorded */
    CU(cuStreamSynchronize(s));
    CU(cuEventDestroy(event));
    CU(cuEventDestroy(captured));
    CU(cuStreamDestroy(s));
    CU(cuStreamDestroy(by_event));
    printf("captures: done\n");
}

int
main(void)
{
    CUdevice dev = drv_open();
    CUcontext ctx;

    CU(cuCtxGetCurrent(&ctx));
    burn = drv_kernel(vector_ptx, "burn");
    mul_add = drv_kernel(vector_ptx, "mul_add_u32");
    record(ctx);
    wait_for_other(dev, ctx);
    record(ctx);
    captures(ctx);
    drv_close(dev);
    return drv_result("drv_context_events");
}
