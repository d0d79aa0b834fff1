/* tests/programs/c/drv_capture_errors.c -- what a capture refuses, and what it leaves behind */
#include "drv.h"

#include <pthread.h>

/* Behind macros in NVIDIA's header. */
CUresult cuMemcpy_ptds(CUdeviceptr, CUdeviceptr, size_t);
CUresult cuMemcpyDtoD_v2_ptds(CUdeviceptr, CUdeviceptr, size_t);
CUresult cuMemcpyPeer_ptds(CUdeviceptr, CUcontext, CUdeviceptr, CUcontext, size_t);
CUresult cuMemcpyHtoD_v2_ptds(CUdeviceptr, const void *, size_t);
CUresult cuMemcpyDtoH_v2_ptds(void *, CUdeviceptr, size_t);
CUresult cuMemcpy2D_v2_ptds(const CUDA_MEMCPY2D *);
CUresult cuMemcpy2DUnaligned_v2_ptds(const CUDA_MEMCPY2D *);
CUresult cuMemcpy3D_v2_ptds(const CUDA_MEMCPY3D *);
CUresult cuMemcpy3DPeer_ptds(const CUDA_MEMCPY3D_PEER *);
CUresult cuMemsetD8_v2_ptds(CUdeviceptr, unsigned char, size_t);
CUresult cuMemsetD2D32_v2_ptds(CUdeviceptr, size_t, unsigned, size_t, size_t);
CUresult cuMemcpyPeerAsync_ptsz(CUdeviceptr, CUcontext, CUdeviceptr, CUcontext, size_t, CUstream);
CUresult cuMemcpy3DPeerAsync_ptsz(const CUDA_MEMCPY3D_PEER *, CUstream);
CUresult cuMemsetD8Async_ptsz(CUdeviceptr, unsigned char, size_t, CUstream);
CUresult cuMemcpy2DAsync_v2_ptsz(const CUDA_MEMCPY2D *, CUstream);

static CUstream stream;
static CUdeviceptr a, b;

static void
begin(CUstream s, CUstreamCaptureMode mode)
{
    CU(cuStreamBeginCapture_v2(s, mode));
}

/* The capture is lost, and its end says so. */
static void
lost(CUstream s)
{
    CUgraph graph;

    EXPECT_CU(CUDA_ERROR_STREAM_CAPTURE_INVALIDATED, cuStreamEndCapture(s, &graph));
}

/* No capture holds a synchronous copy, also not one that does not make the host wait. */
static void
synchronous_copies(void)
{
    CUcontext ctx;

    CU(cuCtxGetCurrent(&ctx));
    begin(CU_STREAM_PER_THREAD, CU_STREAM_CAPTURE_MODE_RELAXED);
    EXPECT_CU(CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED, cuMemcpyDtoD_v2_ptds(a, b, 64));
    lost(CU_STREAM_PER_THREAD);
    begin(CU_STREAM_PER_THREAD, CU_STREAM_CAPTURE_MODE_RELAXED);
    EXPECT_CU(CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED, cuMemcpyPeer_ptds(a, ctx, b, ctx, 64));
    lost(CU_STREAM_PER_THREAD);
    printf("synchronous copies: done\n");
}

/* Boxes with one side that is none, between two contexts. */
static void
empty_boxes(CUcontext ctx, CUcontext other, int side)
{
    CUDA_MEMCPY3D_PEER peer = {.srcMemoryType = CU_MEMORYTYPE_DEVICE,
                               .srcDevice = a,
                               .srcContext = ctx,
                               .srcPitch = 64,
                               .srcHeight = 4,
                               .dstMemoryType = CU_MEMORYTYPE_DEVICE,
                               .dstDevice = b,
                               .dstContext = other,
                               .dstPitch = 64,
                               .dstHeight = 4,
                               .WidthInBytes = side == 0 ? 0 : 16,
                               .Height = side == 1 ? 0 : 4,
                               .Depth = side == 2 ? 0 : 2};
    CUDA_MEMCPY2D flat = {.srcMemoryType = CU_MEMORYTYPE_DEVICE,
                          .srcDevice = a,
                          .srcPitch = 64,
                          .dstMemoryType = CU_MEMORYTYPE_DEVICE,
                          .dstDevice = b,
                          .dstPitch = 64,
                          .WidthInBytes = peer.WidthInBytes,
                          .Height = side == 2 ? 0 : peer.Height};
    CUDA_MEMCPY3D box;

    CU(cuMemcpy3DPeer_ptds(&peer));
    CU(cuMemcpy3DPeerAsync_ptsz(&peer, NULL));
    memcpy(&box, &peer, sizeof(box));
    box.reserved0 = box.reserved1 = NULL;
    CU(cuMemcpy3D_v2_ptds(&box));
    CU(cuMemcpy2D_v2_ptds(&flat));
    CU(cuMemcpy2DUnaligned_v2_ptds(&flat));
    CU(cuMemcpy2DAsync_v2_ptsz(&flat, NULL));
    CU(cuMemsetD2D32_v2_ptds(a, 64, 1, peer.WidthInBytes / 4, flat.Height));
}

/* Copies and fills of nothing are no work: a capture neither holds nor refuses them. */
static void
nothing_in_a_capture(void)
{
    CUcontext ctx, other;
    CUgraph graph;
    size_t nodes;
    char word[4];

    CU(cuCtxGetCurrent(&ctx));
    CU(cuCtxCreate_v2(&other, 0, 0));
    CU(cuCtxSetCurrent(ctx));
    begin(CU_STREAM_PER_THREAD, CU_STREAM_CAPTURE_MODE_GLOBAL);
    for (int side = 0; side < 3; side++)
        empty_boxes(ctx, other, side);
    CU(cuMemcpyPeer_ptds(a, other, b, ctx, 0));
    CU(cuMemcpyPeer_ptds(a, ctx, b, ctx, 0));
    CU(cuMemcpyPeerAsync_ptsz(a, other, b, ctx, 0, NULL));
    CU(cuMemcpy_ptds(a, b, 0));
    CU(cuMemcpyDtoD_v2_ptds(a, b, 0));
    CU(cuMemcpyHtoD_v2_ptds(a, word, 0));
    CU(cuMemcpyDtoH_v2_ptds(word, a, 0));
    CU(cuMemsetD8_v2_ptds(a, 1, 0));
    CU(cuMemsetD8Async_ptsz(a, 1, 0, NULL));
    CU(cuStreamEndCapture(CU_STREAM_PER_THREAD, &graph));
    CU(cuGraphGetNodes(graph, NULL, &nodes));
    EXPECT(nodes == 0);
    CU(cuGraphDestroy(graph));
    CU(cuCtxDestroy(other));
    CU(cuCtxSetCurrent(ctx));
    printf("nothing in a capture: done\n");
}

/* What cannot be captured is refused before its arguments are looked at. */
static void
refused_first(void)
{
    CUmemLocation nowhere = {.type = CU_MEM_LOCATION_TYPE_DEVICE, .id = 99};
    CUgraphExec exec;
    CUgraph graph;

    begin(stream, CU_STREAM_CAPTURE_MODE_RELAXED);
    EXPECT_CU(CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED,
              cuMemPrefetchAsync_v2(0x10, 0, nowhere, 7, stream));
    EXPECT_CU(CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED, cuStreamAttachMemAsync(stream, 0x10, 3, 77));
    EXPECT_CU(CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED, cuStreamAddCallback(stream, NULL, NULL, 5));
    lost(stream);
    CU(cuGraphCreate(&graph, 0));
    CU(cuGraphInstantiateWithFlags(&exec, graph, 0));
    begin(stream, CU_STREAM_CAPTURE_MODE_RELAXED);
    EXPECT_CU(CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED, cuGraphUpload(exec, stream));
    CUdeviceptr p;
    EXPECT_CU(CUDA_ERROR_STREAM_CAPTURE_INVALIDATED, cuMemAllocAsync(&p, (size_t)1 << 50, stream));
    lost(stream);
    CU(cuGraphExecDestroy(exec));
    CUgraphNode none = NULL;
    EXPECT_CU(
        CUDA_ERROR_INVALID_VALUE,
        cuStreamBeginCaptureToGraph(stream, graph, &none, NULL, 1, CU_STREAM_CAPTURE_MODE_RELAXED));
    CU(cuGraphDestroy(graph));
    printf("refused first: done\n");
}

/* A stream's capture counts before the shape of a copy. */
static void
legacy_first(void)
{
    CUDA_MEMCPY2D shapeless = {.srcMemoryType = CU_MEMORYTYPE_DEVICE,
                               .srcDevice = a,
                               .dstMemoryType = CU_MEMORYTYPE_DEVICE,
                               .dstDevice = b,
                               .WidthInBytes = 64,
                               .Height = 4};

    begin(stream, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL);
    EXPECT_CU(CUDA_ERROR_STREAM_CAPTURE_IMPLICIT, cuMemcpy2D(&shapeless));
    EXPECT_CU(CUDA_ERROR_STREAM_CAPTURE_IMPLICIT, cuStreamAddCallback(NULL, NULL, NULL, 5));
    lost(stream);
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuMemcpy2D(&shapeless));
    printf("the legacy stream first: done\n");
}

static void *
capture_and_go(void *ctx)
{
    CU(cuCtxSetCurrent(ctx));
    begin(CU_STREAM_PER_THREAD, CU_STREAM_CAPTURE_MODE_GLOBAL);
    CU(cuMemsetD8Async(a, 1, 64, CU_STREAM_PER_THREAD));
    return NULL;
}

/* A thread that ends takes its stream's capture with it. */
static void
thread_ends(void)
{
    pthread_t thread;
    CUcontext ctx;

    CU(cuCtxGetCurrent(&ctx));
    pthread_create(&thread, NULL, capture_and_go, ctx);
    pthread_join(thread, NULL);
    CU(cuMemsetD8(a, 3, 64));
    CU(cuCtxSynchronize());
    EXPECT(drv_word_at(a) == 0x03030303);
    printf("a thread that ends: done\n");
}

/* Pinned memory that was just made is memory like any other to a captured fill. */
static void
pinned_fill(void)
{
    unsigned char *host;
    CUdeviceptr seen;
    CUgraphExec exec;
    CUgraph graph;

    CU(cuMemHostAlloc((void **)&host, 64, 0));
    CU(cuMemHostGetDevicePointer(&seen, host, 0));
    memset(host, 0, 64);
    host[40] = 9;
    CU(cuMemcpyHtoD(seen + 48, host + 40, 1)); /* its first use as device memory */
    CU(cuCtxSynchronize());
    EXPECT(host[48] == 9);
    begin(stream, CU_STREAM_CAPTURE_MODE_RELAXED);
    CU(cuMemsetD8Async(seen + 3, 0x5b, 7, stream));
    CU(cuStreamEndCapture(stream, &graph));
    begin(CU_STREAM_PER_THREAD, CU_STREAM_CAPTURE_MODE_RELAXED);
    EXPECT_CU(CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED, cuMemcpy_ptds(a, seen, 8));
    lost(CU_STREAM_PER_THREAD);
    CU(cuGraphInstantiateWithFlags(&exec, graph, 0));
    CU(cuGraphLaunch(exec, stream));
    CU(cuStreamSynchronize(stream));
    EXPECT(host[2] == 0 && host[3] == 0x5b && host[9] == 0x5b && host[10] == 0);
    CU(cuGraphExecDestroy(exec));
    CU(cuGraphDestroy(graph));
    CU(cuMemFreeHost(host));
    printf("a fill of pinned memory: done\n");
}

/* Memory of a graph: counted, and not to be shared. */
static void
graph_memory(void)
{
    cuuint64_t reserved = 1, used = 1, zero = 0;
    CUipcMemHandle handle;
    CUgraphExec exec;
    CUdeviceptr p;
    CUgraph graph;

    begin(stream, CU_STREAM_CAPTURE_MODE_RELAXED);
    CU(cuMemAllocAsync(&p, 65536, stream));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuIpcGetMemHandle(&handle, p));
    CU(cuMemsetD8Async(p, 7, 65536, stream));
    CU(cuStreamEndCapture(stream, &graph));
    CU(cuDeviceGetGraphMemAttribute(0, CU_GRAPH_MEM_ATTR_USED_MEM_CURRENT, &used));
    EXPECT(used == 0);
    CU(cuGraphInstantiateWithFlags(&exec, graph, 0));
    CU(cuGraphLaunch(exec, stream));
    CU(cuStreamSynchronize(stream));
    CU(cuDeviceGetGraphMemAttribute(0, CU_GRAPH_MEM_ATTR_USED_MEM_CURRENT, &used));
    CU(cuDeviceGetGraphMemAttribute(0, CU_GRAPH_MEM_ATTR_RESERVED_MEM_CURRENT, &reserved));
    EXPECT(used >= 65536 && reserved >= used);
    CU(cuMemFreeAsync(p, stream));
    CU(cuStreamSynchronize(stream));
    CU(cuDeviceGetGraphMemAttribute(0, CU_GRAPH_MEM_ATTR_USED_MEM_CURRENT, &used));
    EXPECT(used == 0);
    CU(cuDeviceGetGraphMemAttribute(0, CU_GRAPH_MEM_ATTR_USED_MEM_HIGH, &used));
    EXPECT(used >= 65536);
    CU(cuDeviceSetGraphMemAttribute(0, CU_GRAPH_MEM_ATTR_USED_MEM_HIGH, &zero));
    CU(cuDeviceGetGraphMemAttribute(0, CU_GRAPH_MEM_ATTR_USED_MEM_HIGH, &used));
    EXPECT(used == 0);
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE,
              cuDeviceSetGraphMemAttribute(0, CU_GRAPH_MEM_ATTR_USED_MEM_CURRENT, &zero));
    CU(cuGraphExecDestroy(exec));
    CU(cuGraphDestroy(graph));
    printf("memory of a graph: done\n");
}

static size_t
reserved_by_graphs(void)
{
    cuuint64_t bytes;

    CU(cuDeviceGetGraphMemAttribute(0, CU_GRAPH_MEM_ATTR_RESERVED_MEM_CURRENT, &bytes));
    return bytes;
}

static void
capture_memory(CUstream s)
{
    CUdeviceptr p;

    begin(s, CU_STREAM_CAPTURE_MODE_RELAXED);
    CU(cuMemAllocAsync(&p, 1 << 20, s));
    EXPECT(reserved_by_graphs() >= 1 << 20);
}

static void *
capture_memory_and_go(void *ctx)
{
    CU(cuCtxSetCurrent(ctx));
    capture_memory(CU_STREAM_PER_THREAD);
    return NULL;
}

/* A capture that ends with its stream, thread, green context or context keeps no memory. */
static void
memory_of_lost_captures(void)
{
    CUdevResourceDesc desc;
    CUcontext ctx, other;
    CUdevResource sms;
    CUgreenCtx green;
    pthread_t thread;
    CUstream s;

    CU(cuCtxGetCurrent(&ctx));
    EXPECT(reserved_by_graphs() == 0);
    CU(cuStreamCreate(&s, CU_STREAM_NON_BLOCKING));
    capture_memory(s);
    CU(cuStreamDestroy(s));
    EXPECT(reserved_by_graphs() == 0);

    pthread_create(&thread, NULL, capture_memory_and_go, ctx);
    pthread_join(thread, NULL);
    EXPECT(reserved_by_graphs() == 0);

    CU(cuDeviceGetDevResource(0, &sms, CU_DEV_RESOURCE_TYPE_SM));
    CU(cuDevResourceGenerateDesc(&desc, &sms, 1));
    CU(cuGreenCtxCreate(&green, desc, 0, CU_GREEN_CTX_DEFAULT_STREAM));
    CU(cuGreenCtxStreamCreate(&s, green, CU_STREAM_NON_BLOCKING, 0));
    capture_memory(s);
    CU(cuGreenCtxDestroy(green));
    EXPECT(reserved_by_graphs() == 0);

    CU(cuCtxCreate_v2(&other, 0, 0));
    CU(cuStreamCreate(&s, CU_STREAM_NON_BLOCKING));
    capture_memory(s);
    CU(cuCtxDestroy(other));
    EXPECT(reserved_by_graphs() == 0);
    CU(cuCtxSetCurrent(ctx));
    printf("memory of captures that are lost: done\n");
}

/* A stream that joined a capture goes with its context. */
static void
joined_context_ends(void)
{
    CUcontext ctx, other;
    CUstream joined;
    CUevent event;

    CU(cuCtxGetCurrent(&ctx));
    CU(cuEventCreate(&event, CU_EVENT_DISABLE_TIMING));
    CU(cuCtxCreate_v2(&other, 0, 0));
    CU(cuStreamCreate(&joined, CU_STREAM_NON_BLOCKING));
    begin(stream, CU_STREAM_CAPTURE_MODE_RELAXED);
    CU(cuEventRecord(event, stream));
    CU(cuStreamWaitEvent(joined, event, 0));
    CU(cuCtxDestroy(other));
    CU(cuCtxSetCurrent(ctx));
    EXPECT_CU(CUDA_ERROR_STREAM_CAPTURE_INVALIDATED, cuMemsetD8Async(a, 1, 16, stream));
    lost(stream);
    CU(cuMemsetD8Async(a, 1, 16, stream));
    CU(cuStreamSynchronize(stream));
    CU(cuEventDestroy(event));
    printf("a context that ends with a stream that joined: done\n");
}

/* An event that was recorded in a capture, in another context than where that began, is one that
 * was never recorded when the capture is over; also if it goes before the capture, with its
 * context. */
static void
event_of_another_context(void)
{
    CUstream joined;
    CUevent event, back, kept;
    CUcontext ctx, other;
    CUgraph graph;

    CU(cuCtxGetCurrent(&ctx));
    CU(cuEventCreate(&event, CU_EVENT_DISABLE_TIMING));
    for (int round = 0; round < 3; round++) {
        CU(cuCtxCreate_v2(&other, 0, 0));
        CU(cuStreamCreate(&joined, CU_STREAM_NON_BLOCKING));
        CU(cuEventCreate(&back, CU_EVENT_DISABLE_TIMING));
        CU(cuEventCreate(&kept, CU_EVENT_DISABLE_TIMING));
        begin(stream, CU_STREAM_CAPTURE_MODE_RELAXED);
        CU(cuEventRecord(event, stream));
        CU(cuStreamWaitEvent(joined, event, 0));
        CU(cuEventRecord(back, joined));
        CU(cuEventRecord(kept, joined));
        CU(cuStreamWaitEvent(stream, back, 0));
        if (round == 1)
            CU(cuEventDestroy(kept));
        if (round == 2) {
            CU(cuCtxDestroy(other));
            CU(cuCtxSetCurrent(ctx));
            lost(stream);
            break;
        }
        CU(cuStreamEndCapture(stream, &graph));
        CU(cuGraphDestroy(graph));
        CU(cuEventQuery(back));
        CU(cuStreamWaitEvent(joined, back, 0));
        CU(cuMemsetD8Async(a, 1, 16, joined));
        CU(cuStreamSynchronize(joined));
        CU(cuCtxDestroy(other));
        CU(cuCtxSetCurrent(ctx));
    }
    CU(cuEventQuery(event));
    CU(cuEventDestroy(event));
    printf("an event of another context: done\n");
}

/* A primary context that was reset while its stream captured knows of no capture afterwards. */
static void
reset_while_capturing(CUdevice dev)
{
    CUcontext ctx;
    CUdeviceptr p;
    CUstream s;

    CU(cuStreamCreate(&s, CU_STREAM_DEFAULT));
    begin(s, CU_STREAM_CAPTURE_MODE_GLOBAL);
    CU(cuDevicePrimaryCtxReset(dev));
    CU(cuDevicePrimaryCtxRetain(&ctx, dev));
    CU(cuCtxSetCurrent(ctx));
    CU(cuMemAlloc(&p, 64));
    CU(cuMemsetD8(p, 3, 64));
    CU(cuCtxSynchronize());
    EXPECT(drv_word_at(p) == 0x03030303);
    printf("a reset while a stream captures: done\n");
}

/* The graph is destroyed that a stream captures into. */
static void
graph_ends(void)
{
    CUgraph graph, ended;

    CU(cuGraphCreate(&graph, 0));
    CU(cuStreamBeginCaptureToGraph(stream, graph, NULL, NULL, 0, CU_STREAM_CAPTURE_MODE_RELAXED));
    CU(cuMemsetD8Async(a, 1, 16, stream));
    CU(cuGraphDestroy(graph));
    EXPECT_CU(CUDA_ERROR_STREAM_CAPTURE_INVALIDATED, cuMemsetD8Async(a, 2, 16, stream));
    EXPECT_CU(CUDA_ERROR_STREAM_CAPTURE_INVALIDATED, cuStreamEndCapture(stream, &ended));
    CU(cuMemsetD8Async(a, 3, 16, stream));
    CU(cuStreamSynchronize(stream));
    printf("a graph destroyed while it is captured into: done\n");
}

int
main(void)
{
    CUdevice dev = drv_open();

    CU(cuStreamCreate(&stream, CU_STREAM_DEFAULT));
    CU(cuMemAlloc(&a, 4096));
    CU(cuMemAlloc(&b, 4096));
    synchronous_copies();
    nothing_in_a_capture();
    refused_first();
    legacy_first();
    thread_ends();
    pinned_fill();
    graph_memory();
    memory_of_lost_captures();
    joined_context_ends();
    event_of_another_context();
    graph_ends();
    CU(cuStreamDestroy(stream));
    reset_while_capturing(dev);
    drv_close(dev);
    return drv_result("drv_capture_errors");
}
