/* tests/programs/c/drv_graph_capture.c -- captured streams: what is recorded, in what order it runs
 * at each launch, and what a capture forbids */
#include "drv.h"
#include "vector_ptx.h"

#include <pthread.h>

#define N 1024u

static CUfunction mul_add, burn;

struct heard {
    const uint32_t *words; /* looked at by the host function */
    uint32_t *source;      /* changed by it */
    uint32_t want, wrong, calls;
};

static void
on_host(void *data)
{
    struct heard *h = data;

    h->calls++;
    for (uint32_t i = 0; h->words != NULL && i < N; i++)
        h->wrong += h->words[i] != h->want;
    for (uint32_t i = 0; h->source != NULL && i < N; i++)
        h->source[i] += 1000;
}

static uint32_t
count_wrong(const uint32_t *words, uint32_t want)
{
    uint32_t wrong = 0;

    for (uint32_t i = 0; i < N; i++)
        wrong += words[i] != want;
    return wrong;
}

static void
fill(uint32_t *words, uint32_t value)
{
    for (uint32_t i = 0; i < N; i++)
        words[i] = value;
}

static void
launch_mul_add(CUdeviceptr a, uint32_t factor, uint32_t addend, CUstream stream)
{
    uint32_t n = N;
    void *params[] = {&a, &factor, &addend, &n};

    drv_launch(mul_add, N, stream, params);
    factor = addend = n = 0; /* captured by value */
    a = 0;
}

/* A chain of kernels with a fill in front and a copy on the device behind. */
static void
chain(void)
{
    static uint32_t words[N];
    CUstreamCaptureStatus status;
    CUgraphExec exec;
    CUdeviceptr a, b;
    CUstream stream;
    size_t count = 0;
    CUgraph graph;

    CU(cuMemAlloc(&a, sizeof(words)));
    CU(cuMemAlloc(&b, sizeof(words)));
    CU(cuMemsetD32(b, 0, N));
    CU(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
    CU(cuStreamSynchronize(0));

    CU(cuStreamBeginCapture_v2(stream, CU_STREAM_CAPTURE_MODE_GLOBAL));
    CU(cuMemsetD32Async(a, 1, N, stream));
    for (uint32_t i = 0; i < 20; i++)
        launch_mul_add(a, 3, i, stream);
    CU(cuMemcpyDtoDAsync(b, a, sizeof(words), stream));
    CU(cuStreamIsCapturing(stream, &status));
    EXPECT(status == CU_STREAM_CAPTURE_STATUS_ACTIVE);
    CU(cuStreamEndCapture(stream, &graph));
    CU(cuStreamIsCapturing(stream, &status));
    EXPECT(status == CU_STREAM_CAPTURE_STATUS_NONE);
    CU(cuGraphGetNodes(graph, NULL, &count));
    printf("chain: %zu nodes", count);
    CU(cuGraphGetEdges_v2(graph, NULL, NULL, NULL, &count));
    printf(", %zu edges\n", count);

    CU(cuMemcpyDtoH(words, b, sizeof(words)));
    EXPECT(count_wrong(words, 0) == 0); /* nothing ran while it was captured */
    CU(cuGraphInstantiateWithFlags(&exec, graph, 0));
    CU(cuGraphDestroy(graph));
    for (int i = 0; i < 3; i++) {
        CU(cuMemsetD32Async(b, 0, N, stream));
        CU(cuGraphLaunch(exec, stream));
    }
    CU(cuStreamSynchronize(stream));
    CU(cuMemcpyDtoH(words, b, sizeof(words)));
    printf("chain: %u\n", words[0]);
    EXPECT(count_wrong(words, words[0]) == 0);
    CU(cuGraphExecDestroy(exec));
    CU(cuStreamDestroy(stream));
    CU(cuMemFree(a));
    CU(cuMemFree(b));
}

/* Host memory is read and written by each launch, in the graph's order; host functions see what was
 * copied before them, and what they write is what is copied behind them. */
static void
host_memory(bool pinned)
{
    static uint32_t plain_in[N], plain_out[N];
    uint32_t *in = plain_in, *out = plain_out;
    struct heard heard = {0};
    CUgraphExec exec;
    CUdeviceptr a;
    CUstream stream;
    CUgraph graph;

    if (pinned) {
        CU(cuMemHostAlloc((void **)&in, sizeof(plain_in), 0));
        CU(cuMemHostAlloc((void **)&out, sizeof(plain_out), 0));
    }
    CU(cuMemAlloc(&a, sizeof(plain_in)));
    CU(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
    CU(cuStreamBeginCapture_v2(stream, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL));
    CU(cuMemcpyHtoDAsync(a, in, sizeof(plain_in), stream));
    launch_mul_add(a, 2, 1, stream);
    CU(cuMemcpyDtoHAsync(out, a, sizeof(plain_in), stream));
    CU(cuLaunchHostFunc(stream, on_host, &heard));
    CU(cuMemcpyHtoDAsync(a, in, sizeof(plain_in), stream));
    launch_mul_add(a, 1, 7, stream);
    CU(cuMemcpyDtoHAsync(out, a, sizeof(plain_in), stream));
    CU(cuStreamEndCapture(stream, &graph));
    CU(cuGraphInstantiateWithFlags(&exec, graph, 0));
    CU(cuGraphDestroy(graph));
    heard.words = out;
    heard.source = in;
    for (uint32_t i = 0; i < 5; i++) {
        fill(in, i);
        fill(out, 0);
        heard.want = 2 * i + 1;
        CU(cuGraphLaunch(exec, stream));
        CU(cuStreamSynchronize(stream));
        EXPECT(count_wrong(out, i + 1000 + 7) == 0);
    }
    printf("host memory, %s: %u calls, %u wrong\n", pinned ? "pinned" : "pageable", heard.calls,
           heard.wrong);
    EXPECT(heard.wrong == 0 && heard.calls == 5);

    /* Several launches under way; one delivery each, none later. */
    heard.source = NULL;
    heard.words = NULL;
    fill(in, 5);
    for (int i = 0; i < 10; i++)
        CU(cuGraphLaunch(exec, stream));
    CU(cuGraphExecDestroy(exec)); /* they go on */
    CU(cuStreamSynchronize(stream));
    EXPECT(heard.calls == 15);
    EXPECT(count_wrong(out, 12) == 0);
    fill(out, 77);
    CU(cuStreamSynchronize(stream));
    CU(cuCtxSynchronize());
    EXPECT(count_wrong(out, 77) == 0); /* nothing is delivered again */
    CU(cuStreamDestroy(stream));
    CU(cuMemFree(a));
    if (pinned) {
        CU(cuMemFreeHost(in));
        CU(cuMemFreeHost(out));
    }
}

/* A second stream joins by an event, works beside the first, and comes back by another. */
static void
join(void)
{
    static uint32_t x[N], y[N];
    const CUgraphNode *deps;
    CUstreamCaptureStatus status;
    cuuint64_t id_a = 0, id_b = 0;
    CUstream first, second;
    CUevent fork, back;
    CUgraph graph, inside;
    CUgraphExec exec;
    CUdeviceptr a, b;
    size_t count = 0;

    CU(cuMemAlloc(&a, sizeof(x)));
    CU(cuMemAlloc(&b, sizeof(x)));
    CU(cuStreamCreate(&first, CU_STREAM_NON_BLOCKING));
    CU(cuStreamCreate(&second, CU_STREAM_DEFAULT));
    CU(cuEventCreate(&fork, CU_EVENT_DISABLE_TIMING));
    CU(cuEventCreate(&back, CU_EVENT_DISABLE_TIMING));
    CU(cuStreamBeginCapture_v2(first, CU_STREAM_CAPTURE_MODE_RELAXED));
    CU(cuMemsetD32Async(a, 4, N, first));
    CU(cuEventRecord(fork, first));
    CU(cuStreamWaitEvent(second, fork, 0));
    CU(cuMemcpyDtoDAsync(b, a, sizeof(x), second));
    launch_mul_add(a, 2, 0, first);
    launch_mul_add(b, 3, 0, second);
    CU(cuStreamGetCaptureInfo_v2(first, &status, &id_a, &inside, &deps, &count));
    EXPECT(status == CU_STREAM_CAPTURE_STATUS_ACTIVE && count == 1 && inside != NULL);
    CU(cuStreamGetCaptureInfo_v2(second, &status, &id_b, NULL, NULL, NULL));
    EXPECT(id_a == id_b && id_a != 0);
    CU(cuEventRecord(back, second));
    CU(cuStreamWaitEvent(first, back, 0));
    CU(cuStreamGetCaptureInfo_v2(first, &status, NULL, NULL, &deps, &count));
    EXPECT(count == 2);
    CU(cuMemcpyDtoHAsync(x, a, sizeof(x), first));
    CU(cuMemcpyDtoHAsync(y, b, sizeof(y), first));
    EXPECT_CU(CUDA_ERROR_STREAM_CAPTURE_UNMATCHED, cuStreamEndCapture(second, &graph));
    CU(cuStreamEndCapture(first, &graph));
    EXPECT(graph == inside);
    CU(cuStreamIsCapturing(second, &status));
    EXPECT(status == CU_STREAM_CAPTURE_STATUS_NONE);
    CU(cuGraphInstantiateWithFlags(&exec, graph, 0));
    CU(cuGraphLaunch(exec, second));
    CU(cuStreamSynchronize(second));
    EXPECT(count_wrong(x, 8) == 0 && count_wrong(y, 12) == 0);
    CU(cuGraphGetNodes(graph, NULL, &count));
    printf("join: %u %u, %zu nodes\n", x[0], y[0], count);
    CU(cuGraphExecDestroy(exec));
    CU(cuGraphDestroy(graph));
    CU(cuEventDestroy(fork));
    CU(cuEventDestroy(back));
    CU(cuStreamDestroy(first));
    CU(cuStreamDestroy(second));
    CU(cuMemFree(a));
    CU(cuMemFree(b));
}

static void
into_a_graph(void)
{
    static uint32_t x[N];
    CUgraphNode set, more;
    CUstreamCaptureStatus status;
    CUgraph graph, same;
    CUgraphExec exec;
    CUdeviceptr a;
    CUstream stream;
    size_t count = 0;

    CU(cuMemAlloc(&a, sizeof(x)));
    CU(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
    CU(cuGraphCreate(&graph, 0));
    CUDA_MEMSET_NODE_PARAMS p = {a, 0, 6, 4, N, 1};
    CUcontext ctx;
    CU(cuCtxGetCurrent(&ctx));
    CU(cuGraphAddMemsetNode(&set, graph, NULL, 0, &p, ctx));
    CU(cuStreamBeginCaptureToGraph(stream, graph, &set, NULL, 1, CU_STREAM_CAPTURE_MODE_GLOBAL));
    launch_mul_add(a, 5, 5, stream);
    CU(cuGraphAddEmptyNode(&more, graph, &set, 1));
    CU(cuStreamUpdateCaptureDependencies_v2(stream, &more, NULL, 1,
                                            CU_STREAM_ADD_CAPTURE_DEPENDENCIES));
    CU(cuStreamGetCaptureInfo_v2(stream, &status, NULL, NULL, NULL, &count));
    EXPECT(count == 2);
    CU(cuMemcpyDtoHAsync(x, a, sizeof(x), stream));
    CU(cuStreamEndCapture(stream, &same));
    EXPECT(same == graph);
    CU(cuStreamBeginCaptureToGraph(stream, graph, NULL, NULL, 0, CU_STREAM_CAPTURE_MODE_GLOBAL));
    CU(cuStreamEndCapture(stream, NULL)); /* it is known */
    CU(cuStreamBeginCapture_v2(stream, CU_STREAM_CAPTURE_MODE_GLOBAL));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuStreamEndCapture(stream, NULL));
    CU(cuStreamEndCapture(stream, &same));
    CU(cuGraphDestroy(same));
    CU(cuGraphInstantiateWithFlags(&exec, graph, 0));
    CU(cuGraphLaunch(exec, stream));
    CU(cuStreamSynchronize(stream));
    EXPECT(count_wrong(x, 35) == 0);
    CU(cuGraphGetEdges_v2(graph, NULL, NULL, NULL, &count));
    printf("into a graph: %u, %zu edges\n", x[0], count);
    CU(cuGraphExecDestroy(exec));
    CU(cuGraphDestroy(graph));
    CU(cuStreamDestroy(stream));
    CU(cuMemFree(a));
}

static void *
end_elsewhere(void *arg)
{
    CUgraph graph = NULL;
    CUcontext ctx;

    CU(cuDevicePrimaryCtxRetain(&ctx, 0));
    CU(cuCtxSetCurrent(ctx));
    EXPECT_CU(CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD, cuStreamEndCapture(arg, &graph));
    CU(cuDevicePrimaryCtxRelease(0));
    return NULL;
}

static void
forbidden(void)
{
    static uint32_t x[N];
    CUstreamCaptureMode mode = CU_STREAM_CAPTURE_MODE_RELAXED;
    CUstreamCaptureStatus status;
    CUstream stream, other, blocking;
    CUgraph graph = NULL;
    CUdeviceptr a, b;
    CUevent event, before;
    pthread_t thread;

    CU(cuMemAlloc(&a, sizeof(x)));
    CU(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
    CU(cuStreamCreate(&other, CU_STREAM_NON_BLOCKING));
    CU(cuStreamCreate(&blocking, CU_STREAM_DEFAULT));
    CU(cuEventCreate(&event, CU_EVENT_DISABLE_TIMING));
    CU(cuEventCreate(&before, CU_EVENT_DISABLE_TIMING));
    CU(cuEventRecord(before, other));

    EXPECT_CU(CUDA_ERROR_ILLEGAL_STATE, cuStreamEndCapture(stream, &graph));
    EXPECT_CU(CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED,
              cuStreamBeginCapture_v2(NULL, CU_STREAM_CAPTURE_MODE_GLOBAL));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuStreamBeginCapture_v2(stream, 7));

    /* Waiting for it. */
    CU(cuStreamBeginCapture_v2(stream, CU_STREAM_CAPTURE_MODE_GLOBAL));
    EXPECT_CU(CUDA_ERROR_ILLEGAL_STATE,
              cuStreamBeginCapture_v2(stream, CU_STREAM_CAPTURE_MODE_GLOBAL));
    EXPECT_CU(CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED, cuStreamSynchronize(stream));
    CU(cuStreamIsCapturing(stream, &status));
    EXPECT(status == CU_STREAM_CAPTURE_STATUS_INVALIDATED);
    EXPECT_CU(CUDA_ERROR_STREAM_CAPTURE_INVALIDATED, cuMemsetD32Async(a, 1, N, stream));
    EXPECT_CU(CUDA_ERROR_STREAM_CAPTURE_INVALIDATED, cuStreamEndCapture(stream, &graph));
    EXPECT(graph == NULL);
    CU(cuStreamSynchronize(stream));

    /* Allocating, unless the mode or the thread allows it. */
    CU(cuStreamBeginCapture_v2(stream, CU_STREAM_CAPTURE_MODE_GLOBAL));
    EXPECT_CU(CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED, cuMemAlloc(&b, 64));
    EXPECT_CU(CUDA_ERROR_STREAM_CAPTURE_INVALIDATED, cuStreamEndCapture(stream, &graph));
    CU(cuStreamBeginCapture_v2(stream, CU_STREAM_CAPTURE_MODE_RELAXED));
    CU(cuMemAlloc(&b, 64));
    CU(cuMemFree(b));
    CU(cuStreamEndCapture(stream, &graph));
    CU(cuGraphDestroy(graph));
    CU(cuThreadExchangeStreamCaptureMode(&mode));
    EXPECT(mode == CU_STREAM_CAPTURE_MODE_GLOBAL);
    CU(cuStreamBeginCapture_v2(stream, CU_STREAM_CAPTURE_MODE_GLOBAL));
    CU(cuMemAlloc(&b, 64));
    CU(cuMemFree(b));
    CU(cuThreadExchangeStreamCaptureMode(&mode));
    EXPECT(mode == CU_STREAM_CAPTURE_MODE_RELAXED);
    EXPECT_CU(CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED, cuCtxSynchronize());
    EXPECT_CU(CUDA_ERROR_STREAM_CAPTURE_INVALIDATED, cuStreamEndCapture(stream, &graph));

    /* The legacy stream would wait for a blocking one. */
    CU(cuStreamBeginCapture_v2(blocking, CU_STREAM_CAPTURE_MODE_GLOBAL));
    EXPECT_CU(CUDA_ERROR_STREAM_CAPTURE_IMPLICIT, cuMemsetD32Async(a, 1, N, NULL));
    EXPECT_CU(CUDA_ERROR_STREAM_CAPTURE_INVALIDATED, cuStreamEndCapture(blocking, &graph));
    CU(cuStreamBeginCapture_v2(stream, CU_STREAM_CAPTURE_MODE_GLOBAL));
    CU(cuMemsetD32Async(a, 1, N, NULL));
    CU(cuStreamEndCapture(stream, &graph));
    CU(cuGraphDestroy(graph));

    /* Work outside, other captures, and streams that do not come back. */
    CU(cuStreamBeginCapture_v2(stream, CU_STREAM_CAPTURE_MODE_RELAXED));
    EXPECT_CU(CUDA_ERROR_STREAM_CAPTURE_ISOLATION, cuStreamWaitEvent(stream, before, 0));
    EXPECT_CU(CUDA_ERROR_STREAM_CAPTURE_INVALIDATED, cuStreamEndCapture(stream, &graph));
    CU(cuStreamBeginCapture_v2(stream, CU_STREAM_CAPTURE_MODE_RELAXED));
    CU(cuStreamBeginCapture_v2(other, CU_STREAM_CAPTURE_MODE_RELAXED));
    CU(cuEventRecord(event, stream));
    EXPECT_CU(CUDA_ERROR_STREAM_CAPTURE_MERGE, cuStreamWaitEvent(other, event, 0));
    EXPECT_CU(CUDA_ERROR_STREAM_CAPTURE_INVALIDATED, cuStreamEndCapture(stream, &graph));
    EXPECT_CU(CUDA_ERROR_STREAM_CAPTURE_INVALIDATED, cuStreamEndCapture(other, &graph));
    CU(cuStreamBeginCapture_v2(stream, CU_STREAM_CAPTURE_MODE_RELAXED));
    CU(cuEventRecord(event, stream));
    CU(cuStreamWaitEvent(other, event, 0));
    CU(cuMemsetD32Async(a, 1, N, other));
    EXPECT_CU(CUDA_ERROR_STREAM_CAPTURE_UNJOINED, cuStreamEndCapture(stream, &graph));
    CU(cuStreamIsCapturing(other, &status));
    EXPECT(status == CU_STREAM_CAPTURE_STATUS_NONE);

    /* A captured event is nothing to wait for. */
    CU(cuStreamBeginCapture_v2(stream, CU_STREAM_CAPTURE_MODE_RELAXED));
    CU(cuEventRecord(event, stream));
    EXPECT_CU(CUDA_ERROR_CAPTURED_EVENT, cuEventSynchronize(event));
    EXPECT_CU(CUDA_ERROR_STREAM_CAPTURE_INVALIDATED, cuStreamEndCapture(stream, &graph));

    /* The thread that began it ends it. */
    CU(cuStreamBeginCapture_v2(stream, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL));
    pthread_create(&thread, NULL, end_elsewhere, stream);
    pthread_join(thread, NULL);
    CU(cuStreamEndCapture(stream, &graph));
    CU(cuGraphDestroy(graph));

    /* A stream that goes takes its capture with it. */
    CU(cuStreamBeginCapture_v2(other, CU_STREAM_CAPTURE_MODE_RELAXED));
    CU(cuStreamDestroy(other));
    CU(cuStreamDestroy(stream));
    CU(cuStreamDestroy(blocking));
    CU(cuEventDestroy(event));
    CU(cuEventDestroy(before));
    CU(cuMemFree(a));
    printf("forbidden: done\n");
}

/* A pinned buffer that a launch writes is the source of a later copy: read in stream order. */
static void
written_source(void)
{
    static uint32_t out[N];
    CUdeviceptr a, b;
    CUgraphExec exec;
    uint32_t *middle;
    CUstream stream;
    CUgraph graph;
    uint32_t n = N, rounds = 20000;

    CU(cuMemAlloc(&a, sizeof(out)));
    CU(cuMemAlloc(&b, sizeof(out)));
    CU(cuMemHostAlloc((void **)&middle, sizeof(out), 0));
    fill(middle, 1);
    CU(cuMemsetD32(a, 9, N));
    CU(cuMemsetD32(b, 0, N));
    CU(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
    CU(cuStreamSynchronize(NULL));
    CU(cuStreamBeginCapture_v2(stream, CU_STREAM_CAPTURE_MODE_GLOBAL));
    void *params[] = {&b, &rounds, &n};
    drv_launch(burn, N, stream, params);
    CU(cuMemcpyDtoHAsync(middle, a, sizeof(out), stream));
    CU(cuStreamEndCapture(stream, &graph));
    CU(cuGraphInstantiateWithFlags(&exec, graph, 0));
    CU(cuGraphLaunch(exec, stream));
    CU(cuMemcpyHtoDAsync(b, middle, sizeof(out), stream));
    CU(cuMemcpyDtoHAsync(out, b, sizeof(out), stream));
    CU(cuStreamSynchronize(stream));
    EXPECT(count_wrong(out, 9) == 0);
    printf("written source: %u\n", out[0]);
    CU(cuGraphExecDestroy(exec));
    CU(cuGraphDestroy(graph));
    CU(cuStreamDestroy(stream));
    CU(cuMemFreeHost(middle));
    CU(cuMemFree(a));
    CU(cuMemFree(b));
}

/* Values that a captured stream writes and waits for, in memory of the device and of the host: two
 * streams that meet by them at each launch. */
static void
values(void)
{
    CUstreamBatchMemOpParams ops[2];
    volatile uint64_t *pinned;
    CUdeviceptr d, h;
    uint32_t back[2] = {0, 0};
    CUgraphExec exec;
    CUstream stream;
    CUgraph graph;
    CUgraphNode nodes[4];
    CUgraphNodeType type[2];
    size_t count = 4;

    CU(cuMemAlloc(&d, 64));
    CU(cuMemsetD8(d, 0, 64));
    CU(cuMemHostAlloc((void **)&pinned, 4096, 0));
    pinned[0] = 0;
    CU(cuMemHostGetDevicePointer(&h, (void *)(uintptr_t)pinned, 0));
    CU(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
    CU(cuStreamSynchronize(0));
    memset(ops, 0, sizeof(ops));
    ops[0].operation = CU_STREAM_MEM_OP_WAIT_VALUE_32;
    ops[0].waitValue.address = d;
    ops[0].waitValue.value = 5;
    ops[0].waitValue.flags = CU_STREAM_WAIT_VALUE_EQ;
    ops[1].operation = CU_STREAM_MEM_OP_WRITE_VALUE_32;
    ops[1].writeValue.address = d + 4;
    ops[1].writeValue.value = 6;

    CU(cuStreamBeginCapture_v2(stream, CU_STREAM_CAPTURE_MODE_GLOBAL));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuStreamBatchMemOp(stream, 0, ops, 0));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuStreamWriteValue32(stream, d + 2, 1, 0));
    CU(cuStreamBatchMemOp(stream, 2, ops, 0));
    CU(cuStreamWriteValue64(stream, h, 7, 0));
    memset(ops, 0, sizeof(ops));
    CU(cuStreamEndCapture(stream, &graph));
    CU(cuGraphGetNodes(graph, nodes, &count));
    EXPECT(count == 2);
    for (unsigned i = 0; i < 2; i++) {
        CU(cuGraphNodeGetType(nodes[i], &type[i]));
        EXPECT(type[i] == CU_GRAPH_NODE_TYPE_BATCH_MEM_OP);
    }
    CU(cuGraphInstantiateWithFlags(&exec, graph, 0));
    CU(cuGraphLaunch(exec, stream));
    EXPECT_CU(CUDA_ERROR_NOT_READY, cuStreamQuery(stream));
    CU(cuMemsetD32(d, 5, 1));
    CU(cuStreamSynchronize(stream));
    CU(cuMemcpyDtoH(back, d, sizeof(back)));
    EXPECT(back[0] == 5 && back[1] == 6 && pinned[0] == 7);
    printf("values: %u %u %u\n", back[0], back[1], (unsigned)pinned[0]);
    CU(cuGraphExecDestroy(exec));
    CU(cuGraphDestroy(graph));
    CU(cuStreamDestroy(stream));
    CU(cuMemFree(d));
    CU(cuMemFreeHost((void *)(uintptr_t)pinned));
}

int
main(void)
{
    CUdevice dev = drv_open();

    mul_add = drv_kernel(vector_ptx, "mul_add_u32");
    burn = drv_kernel(vector_ptx, "burn");
    chain();
    host_memory(false);
    host_memory(true);
    join();
    into_a_graph();
    forbidden();
    written_source();
    values();
    drv_close(dev);
    return drv_result("drv_graph_capture");
}
