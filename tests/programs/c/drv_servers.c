/* tests/programs/c/drv_servers.c -- six devices, wherever they are
 *
 * Straight, and through one server, or through three with two devices each: the same lines. With
 * "lost" the second of three servers ends meanwhile (tests/ops/test_servers.py). */
#include "drv.h"
#include "misc_ptx.h"
#include "vector_ptx.h"

#include <unistd.h>

#define DEVICES 6
#define N       (4096u + 3)
#define BYTES   (N * 4ul)
#define BIG     ((9ul << 20) + 4) /* more than a piece of a copy between servers */
#define ROUNDS  3u

static CUcontext ctx[DEVICES];
static CUfunction burn[DEVICES];
static CUstream stream[DEVICES];
static CUdeviceptr at[DEVICES];
static uint32_t words[BIG / 4 + 1];

static void
use(int d)
{
    CU(cuCtxSetCurrent(ctx[d]));
}

static void
open_all(void)
{
    int count = 0;

    CU(cuInit(0));
    CU(cuDeviceGetCount(&count));
    EXPECT(count == DEVICES);
    for (int d = 0; d < DEVICES; d++) {
        CU(cuDevicePrimaryCtxRetain(&ctx[d], d));
        use(d);
        burn[d] = drv_kernel(vector_ptx, "burn");
        CU(cuStreamCreate(&stream[d], d % 2 != 0 ? CU_STREAM_NON_BLOCKING : CU_STREAM_DEFAULT));
        CU(cuMemAlloc(&at[d], BIG));
    }
}

/* -- the list --------------------------------------------------------------------------- */

static void
list(void)
{
    char id[DEVICES][32];
    CUuuid uuid[DEVICES];
    CUdevice back = -1;
    int ordinal = -1, domain, can;

    for (int d = 0; d < DEVICES; d++) {
        CU(cuDeviceGetUuid_v2(&uuid[d], d));
        CU(cuDeviceGetPCIBusId(id[d], sizeof(id[d]), d));
        CU(cuDeviceGetByPCIBusId(&back, id[d]));
        EXPECT(back == d);
        CU(cuDeviceGetAttribute(&domain, CU_DEVICE_ATTRIBUTE_PCI_DOMAIN_ID, d));
        EXPECT((unsigned long)domain == strtoul(id[d], NULL, 16));
        CU(cuPointerGetAttribute(&ordinal, CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL, at[d]));
        EXPECT(ordinal == d);
        CU(cuDeviceCanAccessPeer(&can, d, d));
        EXPECT(can == 0);
        for (int e = 0; e < d; e++)
            EXPECT(memcmp(&uuid[d], &uuid[e], sizeof(uuid[d])) != 0 && strcmp(id[d], id[e]) != 0 &&
                   at[d] != at[e]);
    }
    printf("list: %d devices\n", DEVICES);
}

/* Access is where it is said to be. */
static void
access_is_told(void)
{
    for (int d = 1; d < DEVICES; d++) {
        int can = 9;
        CUresult cr;

        CU(cuDeviceCanAccessPeer(&can, 0, d));
        use(0);
        cr = cuCtxEnablePeerAccess(ctx[d], 0);
        EXPECT(cr == (can ? CUDA_SUCCESS : CUDA_ERROR_PEER_ACCESS_UNSUPPORTED));
        if (cr == CUDA_SUCCESS)
            CU(cuCtxDisablePeerAccess(ctx[d]));
    }
    printf("access: done\n");
}

/* -- kernels ---------------------------------------------------------------------------- */

static void
fill(int d, uint32_t seed, size_t bytes)
{
    for (size_t i = 0; i < bytes / 4; i++)
        words[i] = seed + (uint32_t)i;
    use(d);
    CU(cuMemcpyHtoD(at[d], words, bytes));
}

/* What is wrong of what a device has, after so many rounds of burn. */
static uint32_t
wrong(int d, uint32_t seed, uint32_t rounds, size_t bytes)
{
    uint32_t bad = 0;

    memset(words, 0, bytes);
    use(d);
    CU(cuMemcpyDtoH(words, at[d], bytes));
    for (size_t i = 0; i < bytes / 4; i++)
        bad += words[i] != drv_lcg(seed + (uint32_t)i, rounds);
    return bad;
}

static void
launch(CUfunction f, int d, uint32_t rounds, CUstream s)
{
    uint32_t n = N;
    void *params[] = {&at[d], &rounds, &n};

    drv_launch(f, N, s, params);
}

static void
kernels(void)
{
    uint32_t bad = 0;

    for (int d = 0; d < DEVICES; d++) {
        fill(d, 100u * (uint32_t)d, BYTES);
        launch(burn[d], d, 5, stream[d]);
    }
    for (int d = 0; d < DEVICES; d++) {
        use(d);
        CU(cuStreamSynchronize(stream[d]));
        bad += wrong(d, 100u * (uint32_t)d, 5, BYTES);
    }
    EXPECT(bad == 0);
    printf("kernels: %u wrong\n", bad);
}

/* A library belongs to no device; the image may go once it is loaded. */
static void
libraries(void)
{
    char *image = strdup(vector_ptx);
    CUdeviceptr counter[2];
    CUlibrary library, other;
    CUkernel kernel;
    CUmodule module;
    uint32_t bad = 0;
    size_t size;
    int value;

    use(1);
    CU(cuLibraryLoadData(&library, image, NULL, NULL, 0, NULL, NULL, 0));
    memset(image, 0, strlen(vector_ptx));
    free(image);
    CU(cuLibraryGetKernel(&kernel, library, "burn"));
    for (int d = DEVICES - 1; d >= 0; d--) {
        fill(d, 7, BYTES);
        launch((CUfunction)kernel, d, 2, NULL);
        bad += wrong(d, 7, 2, BYTES);
        CU(cuKernelGetAttribute(&value, CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK, kernel, d));
        EXPECT(value >= 128);
        CU(cuLibraryGetModule(&module, library));
    }
    EXPECT(bad == 0);
    CU(cuLibraryLoadData(&other, misc_ptx, NULL, NULL, 0, NULL, NULL, 0));
    for (int i = 0; i < 2; i++) {
        use(i * 5);
        CU(cuLibraryGetGlobal(&counter[i], &size, other, "counter"));
        value = 50 + i;
        CU(cuMemcpyHtoD(counter[i], &value, 4));
    }
    for (int i = 0; i < 2; i++) { /* one in each context, wherever it lies */
        use(i * 5);
        CU(cuMemcpyDtoH(&value, counter[i], 4));
        EXPECT(value == 50 + i);
    }
    CU(cuLibraryUnload(other));
    CU(cuLibraryUnload(library));
    printf("libraries: %u wrong\n", bad);
}

/* A module's kernel is its context's. */
static void
mistakes(void)
{
    uint32_t rounds = 1, n = N;
    void *params[] = {&at[4], &rounds, &n};
    CUevent here, there;
    float ms;

    use(4);
    EXPECT_CU(CUDA_ERROR_INVALID_HANDLE,
              cuLaunchKernel(burn[0], 1, 1, 1, 1, 1, 1, 0, stream[4], params, NULL));
    CU(cuEventCreate(&here, 0));
    EXPECT_CU(CUDA_ERROR_INVALID_HANDLE, cuEventRecord(here, stream[0]));
    CU(cuEventRecord(here, stream[4]));
    use(0);
    CU(cuEventCreate(&there, 0));
    CU(cuEventRecord(there, stream[0]));
    CU(cuEventSynchronize(here));
    CU(cuEventSynchronize(there));
    EXPECT_CU(CUDA_ERROR_INVALID_HANDLE, cuEventElapsedTime(&ms, here, there));
    CU(cuEventDestroy(here)); /* from whatever context */
    CU(cuEventDestroy(there));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuMemcpyPeer(at[0], ctx[0], at[4] + BIG, ctx[4], BIG));
    printf("mistakes: done\n");
}

/* -- copies ----------------------------------------------------------------------------- */

static void
copies(void)
{
    uint32_t bad = 0;

    for (int d = 0; d < DEVICES; d++) {
        int e = (d + 1) % DEVICES, f = (d + 3) % DEVICES;

        fill(d, 31u * (uint32_t)d, BIG);
        use(e); /* in the stream of the source, the destination, somebody else */
        CU(cuMemsetD32(at[e], 0, BIG / 4));
        CU(cuCtxSynchronize());
        CU(cuMemcpyPeerAsync(at[e], ctx[e], at[d], ctx[d], BIG, stream[d]));
        CU(cuStreamSynchronize(stream[d]));
        bad += wrong(e, 31u * (uint32_t)d, 0, BIG);
        fill(d, 5, BYTES);
        CU(cuMemcpyAsync(at[e], at[d], BYTES, stream[e]));
        CU(cuStreamSynchronize(stream[e]));
        bad += wrong(e, 5, 0, BYTES);
        fill(d, 6, BYTES);
        CU(cuMemcpyDtoDAsync(at[e], at[d], BYTES, stream[f]));
        CU(cuStreamSynchronize(stream[f]));
        bad += wrong(e, 6, 0, BYTES);
        fill(d, 8, BYTES);
        use(e);
        CU(cuMemcpyPeer(at[e], ctx[e], at[d], ctx[d], BYTES));
        bad += wrong(e, 8, 0, BYTES);
        fill(d, 9, BYTES);
        use(f);
        CU(cuMemcpy(at[e], at[d], BYTES));
        CU(cuCtxSynchronize());
        bad += wrong(e, 9, 0, BYTES);
    }
    EXPECT(bad == 0);
    printf("copies: %u wrong\n", bad);
}

/* Memory of one device, and the context of another. */
static void
from_afar(void)
{
    uint32_t bad = 0, *pinned;
    CUdeviceptr p;

    use(0);
    CU(cuMemHostAlloc((void **)&pinned, BYTES, CU_MEMHOSTALLOC_PORTABLE));
    for (int d = 1; d < DEVICES; d++) {
        use(0);
        for (uint32_t i = 0; i < N; i++)
            pinned[i] = 3 + i;
        CU(cuMemcpyHtoDAsync(at[d], pinned, BYTES, stream[0]));
        CU(cuStreamSynchronize(stream[0]));
        bad += wrong(d, 3, 0, BYTES);
        use(d); /* pinned under another context, in our own stream */
        CU(cuMemsetD32Async(at[d], 0, N, stream[d]));
        CU(cuMemcpyHtoDAsync(at[d], pinned, BYTES, stream[d]));
        CU(cuMemsetD32Async(at[d], 21, 1, stream[d]));
        CU(cuMemcpyDtoHAsync(pinned, at[d], BYTES, stream[d]));
        CU(cuStreamSynchronize(stream[d]));
        bad += (pinned[0] != 21) + (pinned[1] != 4) + (pinned[N - 1] != 3 + N - 1);
        use(0);
        memset(pinned, 0, BYTES);
        CU(cuMemcpyDtoH(pinned, at[d], BYTES));
        bad += (pinned[0] != 21) + (pinned[N - 1] != 3 + N - 1);
        CU(cuMemsetD32(at[d], 77, N));
        CU(cuMemsetD8Async(at[d], 1, 4, stream[0]));
        CU(cuCtxSynchronize());
        CU(cuMemcpyDtoHAsync(pinned, at[d], BYTES, stream[0]));
        CU(cuStreamSynchronize(stream[0]));
        bad += (pinned[0] != 0x01010101) + (pinned[1] != 77) + (pinned[N - 1] != 77);
        use(d);
        CU(cuMemAlloc(&p, 1 << 20));
        use(0);
        CU(cuMemFree(p)); /* whose context is current does not matter */
        EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuMemFree(p));
    }
    CU(cuMemFreeHost(pinned));
    EXPECT(bad == 0);
    printf("from afar: %u wrong\n", bad);
}

/* -- order ------------------------------------------------------------------------------ */

/* Three times around all devices, all of it queued before anything is waited for. */
static void
ring(void)
{
    CUevent done[DEVICES];
    uint32_t bad;

    for (int d = 0; d < DEVICES; d++) {
        use(d);
        CU(cuEventCreate(&done[d], CU_EVENT_DISABLE_TIMING));
    }
    fill(0, 1, BYTES);
    for (uint32_t round = 0; round < ROUNDS; round++) {
        for (int d = 0; d < DEVICES; d++) {
            int e = (d + 1) % DEVICES;

            use(d);
            if (round > 0 || d > 0)
                CU(cuStreamWaitEvent(stream[d], done[(d + DEVICES - 1) % DEVICES], 0));
            launch(burn[d], d, 1000, stream[d]);
            CU(cuMemcpyPeerAsync(at[e], ctx[e], at[d], ctx[d], BYTES, stream[d]));
            CU(cuEventRecord(done[d], stream[d]));
        }
    }
    use(0);
    CU(cuStreamWaitEvent(stream[0], done[DEVICES - 1], 0));
    CU(cuStreamSynchronize(stream[0]));
    bad = wrong(0, 1, 1000 * DEVICES * ROUNDS, BYTES);
    EXPECT(bad == 0);
    for (int d = 0; d < DEVICES; d++)
        CU(cuEventDestroy(done[d]));
    printf("ring: %u wrong\n", bad);
}

/* Each device waits for all others, many times. */
static void
barriers(void)
{
    CUevent here[DEVICES];

    for (int d = 0; d < DEVICES; d++) {
        use(d);
        CU(cuEventCreate(&here[d], CU_EVENT_DISABLE_TIMING));
        fill(d, 2, BYTES);
    }
    for (int round = 0; round < 10; round++) {
        for (int d = 0; d < DEVICES; d++) {
            use(d);
            launch(burn[d], d, 10, stream[d]);
            CU(cuEventRecord(here[d], stream[d]));
        }
        for (int d = 0; d < DEVICES; d++) {
            use(d);
            for (int e = 0; e < DEVICES; e++)
                CU(cuStreamWaitEvent(stream[d], here[e], 0));
        }
    }
    for (int d = 0; d < DEVICES; d++) {
        use(d);
        CU(cuStreamSynchronize(stream[d]));
        EXPECT(wrong(d, 2, 100, BYTES) == 0);
        CU(cuEventDestroy(here[d]));
    }
    printf("barriers: done\n");
}

/* All give to all others at once, each way between each two: nobody waits for who waits for him. */
static void
exchange(void)
{
    const size_t part = BIG / 4 / DEVICES * 4;
    CUdeviceptr to[DEVICES];
    uint32_t bad = 0;

    for (int d = 0; d < DEVICES; d++) {
        fill(d, 1000u * (uint32_t)d, BIG);
        CU(cuMemAlloc(&to[d], BIG));
        CU(cuCtxSynchronize());
    }
    for (int d = 0; d < DEVICES; d++) {
        for (int e = 0; e < DEVICES; e++) {
            use(d);
            CU(cuMemcpyPeerAsync(to[e] + (size_t)d * part, ctx[e], at[d], ctx[d], part, stream[d]));
        }
    }
    for (int d = 0; d < DEVICES; d++)
        CU(cuStreamSynchronize(stream[d]));
    for (int e = 0; e < DEVICES; e++) {
        use(e);
        CU(cuMemcpyDtoH(words, to[e], part * DEVICES));
        for (uint32_t d = 0; d < DEVICES; d++)
            for (uint32_t i = 0; i < part / 4; i++)
                bad += words[d * (part / 4) + i] != 1000u * d + i;
        CU(cuMemFree(to[e]));
    }
    EXPECT(bad == 0);
    printf("exchange: %u wrong\n", bad);
}

/* -- graphs ----------------------------------------------------------------------------- */

/* Copies to another device, captured: with the word that the program's memory has at the launch. */
static CUgraph
capture_copies(int d, int e, const uint32_t *word)
{
    CUgraphNode nodes[4];
    CUgraphNodeType type;
    size_t count = 4;
    int copies = 0;
    CUgraph graph;

    use(d);
    CU(cuStreamBeginCapture_v2(stream[d], CU_STREAM_CAPTURE_MODE_RELAXED));
    launch(burn[d], d, 3, stream[d]);
    CU(cuMemcpyPeerAsync(at[e], ctx[e], at[d], ctx[d], BYTES, stream[d]));
    CU(cuMemcpyHtoDAsync(at[e] + BIG - 4, word, 4, stream[d]));
    launch(burn[d], d, 4, stream[d]);
    CU(cuStreamEndCapture(stream[d], &graph));
    CU(cuGraphGetNodes(graph, nodes, &count));
    EXPECT(count == 4);
    for (size_t i = 0; i < count; i++) {
        CU(cuGraphNodeGetType(nodes[i], &type));
        copies += type == CU_GRAPH_NODE_TYPE_MEMCPY;
    }
    EXPECT(copies == 2);
    return graph;
}

static uint32_t
captured(int d, int e)
{
    uint32_t bad = 0, got, word = 0;
    CUgraph graph = capture_copies(d, e, &word);
    CUgraphExec exec;

    use(0); /* whichever context is current */
    CU(cuGraphInstantiateWithFlags(&exec, graph, 0));
    fill(d, 100, BYTES);
    for (uint32_t round = 0; round < ROUNDS; round++) {
        word = 40 + round;
        use(d);
        CU(cuGraphLaunch(exec, stream[d]));
        CU(cuStreamSynchronize(stream[d]));
        bad += wrong(e, 100, 7 * round + 3, BYTES);
        CU(cuMemcpyDtoH(&got, at[e] + BIG - 4, 4));
        bad += got != word;
    }
    use(d);
    for (uint32_t round = 0; round < ROUNDS; round++) /* one behind the other */
        CU(cuGraphLaunch(exec, stream[d]));
    CU(cuStreamSynchronize(stream[d]));
    bad += wrong(e, 100, 7 * (2 * ROUNDS - 1) + 3, BYTES);
    bad += wrong(d, 100, 7 * 2 * ROUNDS, BYTES);
    CU(cuGraphExecDestroy(exec));
    CU(cuGraphDestroy(graph));
    return bad;
}

/* A node that was described, and then has other parameters: rows of a box. */
static uint32_t
described(int d, int e)
{
    CUDA_MEMCPY3D box = {.srcMemoryType = CU_MEMORYTYPE_DEVICE,
                         .srcDevice = at[d],
                         .srcPitch = 256,
                         .dstMemoryType = CU_MEMORYTYPE_DEVICE,
                         .dstDevice = at[e],
                         .dstPitch = 128,
                         .WidthInBytes = 100,
                         .Height = 7,
                         .Depth = 1};
    uint32_t bad = 0;
    CUgraphExec exec;
    CUgraphNode node;
    CUgraph graph;

    CU(cuGraphCreate(&graph, 0));
    CU(cuGraphAddMemcpyNode(&node, graph, NULL, 0, &box, ctx[d]));
    CU(cuGraphInstantiateWithFlags(&exec, graph, 0));
    for (int round = 0; round < 2; round++) {
        fill(d, 9, BYTES);
        use(e);
        CU(cuMemsetD32(at[e], 0, N));
        CU(cuCtxSynchronize());
        use(d);
        CU(cuGraphLaunch(exec, stream[d]));
        CU(cuStreamSynchronize(stream[d]));
        use(e);
        CU(cuMemcpyDtoH(words, at[e], BYTES));
        for (uint32_t i = 0; i < N; i++) {
            uint32_t y = i * 4 / (uint32_t)box.dstPitch, x = i * 4 % (uint32_t)box.dstPitch / 4;

            bad += words[i] != (x < 25 && y < 7 ? 9 + y * 64 + x : 0);
        }
        box.dstPitch = 512;
        CU(cuGraphExecMemcpyNodeSetParams(exec, node, &box, ctx[d]));
    }
    CU(cuGraphExecDestroy(exec));
    CU(cuGraphDestroy(graph));
    return bad;
}

static void
graphs(void)
{
    uint32_t bad = captured(1, 2) + captured(5, 0) + captured(2, 3) + described(3, 4);

    EXPECT(bad == 0);
    printf("graphs: %u wrong\n", bad);
}

/* -- boxes ------------------------------------------------------------------------------ */

static uint32_t
word_at(uint32_t seed, size_t z, size_t y, size_t x)
{
    return seed + (uint32_t)(z * 7919 + y * 104729 + x);
}

/* A box of words in memory of d, at pitch and height; around it zeros. */
static CUdeviceptr
box_make(int d, uint32_t seed, size_t w, size_t h, size_t depth, size_t pitch, size_t height)
{
    uint32_t *host = calloc(pitch / 4, height * depth * 4);
    CUdeviceptr p;

    for (size_t z = 0; z < depth; z++)
        for (size_t y = 0; y < h; y++)
            for (size_t x = 0; x < w; x++)
                host[(z * height + y) * (pitch / 4) + x] = word_at(seed, z, y, x);
    use(d);
    CU(cuMemAlloc(&p, pitch * height * depth));
    if (seed == 0)
        CU(cuMemsetD8(p, 0, pitch * height * depth));
    else
        CU(cuMemcpyHtoD(p, host, pitch * height * depth));
    CU(cuCtxSynchronize());
    free(host);
    return p;
}

/* What is not as box_make() would have made it; frees it. */
static uint32_t
box_wrong(int d, CUdeviceptr p, uint32_t seed, size_t w, size_t h, size_t depth, size_t pitch,
          size_t height)
{
    uint32_t *host = malloc(pitch * height * depth), bad = 0;

    use(d);
    CU(cuMemcpyDtoH(host, p, pitch * height * depth));
    for (size_t z = 0; z < depth; z++)
        for (size_t y = 0; y < height; y++)
            for (size_t x = 0; x < pitch / 4; x++)
                bad += host[(z * height + y) * (pitch / 4) + x] !=
                       (x < w && y < h ? word_at(seed, z, y, x) : 0);
    CU(cuMemFree(p));
    free(host);
    return bad;
}

/* All that is left of a device's memory, or its end. */
static void
fill_up(int d, bool full)
{
    static CUdeviceptr taken[DEVICES][256];
    static unsigned count[DEVICES];
    size_t bytes, total;

    use(d);
    for (; !full && count[d] > 0; count[d]--)
        CU(cuMemFree(taken[d][count[d] - 1]));
    CU(cuMemGetInfo(&bytes, &total));
    for (; full && bytes >= 1u << 20 && count[d] < 256;)
        if (cuMemAlloc(&taken[d][count[d]], bytes) == CUDA_SUCCESS)
            count[d]++;
        else
            bytes /= 2;
}

static uint32_t
box_linear(int d, int e, int in, size_t w, size_t h, size_t depth, bool full)
{
    size_t pitch = (w + 24) * 4, height = h + 3, pitch2 = (w + 120) * 4, height2 = h + 1;
    CUdeviceptr from = box_make(d, 11, w, h, depth, pitch, height);
    CUdeviceptr to = box_make(e, 0, w, h, depth, pitch2, height2);
    CUDA_MEMCPY3D_PEER c = {.srcMemoryType = CU_MEMORYTYPE_DEVICE,
                            .srcDevice = from,
                            .srcContext = ctx[d],
                            .srcPitch = pitch,
                            .srcHeight = height,
                            .dstMemoryType = CU_MEMORYTYPE_DEVICE,
                            .dstDevice = to,
                            .dstContext = ctx[e],
                            .dstPitch = pitch2,
                            .dstHeight = height2,
                            .WidthInBytes = w * 4,
                            .Height = h,
                            .Depth = depth};

    fill_up(d, full);
    fill_up(e, full);
    use(in);
    CU(cuMemcpy3DPeerAsync(&c, stream[in]));
    CU(cuStreamSynchronize(stream[in]));
    fill_up(d, false);
    fill_up(e, false);
    use(d);
    CU(cuMemFree(from));
    return box_wrong(e, to, 11, w, h, depth, pitch2, height2);
}

/* Linear memory of d, an array of e, another of f, the program's memory. */
static uint32_t
box_arrays(int d, int e, int f)
{
    const CUDA_ARRAY3D_DESCRIPTOR desc = {.Width = 40,
                                          .Height = 20,
                                          .Depth = 6,
                                          .Format = CU_AD_FORMAT_UNSIGNED_INT32,
                                          .NumChannels = 1};
    size_t w = 33, h = 17, depth = 4;
    CUdeviceptr from = box_make(d, 21, w, h, depth, 256, h);
    CUDA_MEMCPY3D c = {.srcMemoryType = CU_MEMORYTYPE_DEVICE,
                       .srcDevice = from,
                       .srcPitch = 256,
                       .srcHeight = h,
                       .dstMemoryType = CU_MEMORYTYPE_ARRAY,
                       .dstXInBytes = 12,
                       .dstY = 2,
                       .dstZ = 1,
                       .WidthInBytes = w * 4,
                       .Height = h,
                       .Depth = depth};
    CUDA_MEMCPY2D flat = {.srcMemoryType = CU_MEMORYTYPE_HOST,
                          .srcHost = words,
                          .srcPitch = 64,
                          .dstMemoryType = CU_MEMORYTYPE_UNIFIED,
                          .dstPitch = 256,
                          .WidthInBytes = 64,
                          .Height = h};
    CUarray a, b;
    uint32_t bad = 0;

    use(e);
    CU(cuArray3DCreate(&a, &desc));
    use(f);
    CU(cuArray3DCreate(&b, &desc));
    use(d);
    c.dstArray = a;
    CU(cuMemcpy3DAsync(&c, stream[d])); /* pushed */
    CU(cuStreamSynchronize(stream[d]));
    use(f);
    c.srcMemoryType = CU_MEMORYTYPE_ARRAY;
    c.srcArray = a;
    c.srcXInBytes = 12;
    c.srcY = 2;
    c.srcZ = 1;
    c.dstArray = b;
    CU(cuMemcpy3DAsync(&c, stream[f])); /* fetched */
    CU(cuStreamSynchronize(stream[f]));
    use(d);
    c.srcArray = b;
    c.dstMemoryType = CU_MEMORYTYPE_HOST;
    c.dstHost = words;
    c.dstXInBytes = c.dstY = c.dstZ = 0;
    c.dstPitch = w * 4;
    c.dstHeight = h;
    CU(cuMemcpy3D(&c)); /* from somebody else's to here */
    for (size_t i = 0; i < w * h * depth; i++)
        bad += words[i] != word_at(21, i / (w * h), i / w % h, i % w);
    memset(words, 9, 64 * h);
    use(e); /* and from here to somebody else's */
    flat.dstDevice = from;
    CU(cuMemcpy2DAsync(&flat, stream[e]));
    memset(words, 0, 64 * h);
    CU(cuStreamSynchronize(stream[e]));
    use(d);
    CU(cuMemcpyDtoH(words, from, 256 * h));
    for (size_t i = 0; i < 64 * h; i++)
        bad += words[i] != (i % 64 < 16  ? 0x09090909
                            : i % 64 < w ? word_at(21, 0, i / 64, i % 64)
                                         : 0);
    CU(cuArrayDestroy(a));
    CU(cuArrayDestroy(b));
    CU(cuMemFree(from));
    return bad;
}

static void
boxes(void)
{
    uint32_t bad = 0;

    for (int d = 0; d < DEVICES; d++) {
        int e = (d + 1) % DEVICES, f = (d + 3) % DEVICES;

        bad += box_linear(d, e, d, 250, 31, 3, false);
        bad += box_linear(d, e, e, 250, 31, 1, false);
        bad += box_linear(d, f, e, 3, 2, 2, false);
        bad += box_arrays(d, e, f);
    }
    bad += box_linear(0, 5, 0, 600, 1000, 4, false); /* more than a slab: planes, rows, a row */
    bad += box_linear(0, 5, 5, 1500, 1500, 1, false);
    bad += box_linear(5, 0, 5, (9u << 18) + 5, 1, 1, false);
    bad += box_linear(0, 5, 0, 700, 1000, 1, true); /* nothing is left to pack it into */
    EXPECT(bad == 0);
    printf("boxes: %u wrong\n", bad);
}

/* -- faults ----------------------------------------------------------------------------- */

/* A context that broke is no other device's matter. */
static void
faults(void)
{
    CUfunction f;

    use(2);
    f = drv_kernel(misc_ptx, "trap_now");
    CU(cuLaunchKernel(f, 1, 1, 1, 1, 1, 1, 0, NULL, NULL, NULL));
    EXPECT(cuCtxSynchronize() != CUDA_SUCCESS);
    use(0);
    EXPECT_CU(CUDA_SUCCESS, cuCtxSynchronize());
    fill(0, 4, BYTES);
    launch(burn[0], 0, 1, stream[0]);
    CU(cuMemcpyPeerAsync(at[5], ctx[5], at[0], ctx[0], BYTES, stream[0]));
    CU(cuStreamSynchronize(stream[0]));
    EXPECT(wrong(5, 4, 1, BYTES) == 0);
    printf("faults: done\n");
}

/* -- a server that ends ------------------------------------------------------------------ */

static int
lost(void)
{
    CUevent never;
    uint32_t value;
    int c;

    open_all();
    use(2);
    CU(cuEventCreate(&never, CU_EVENT_DISABLE_TIMING));
    launch(burn[2], 2, 2000000, stream[2]); /* outlives its server */
    CU(cuEventRecord(never, stream[2]));
    use(0);
    CU(cuStreamWaitEvent(stream[0], never, 0));
    puts("ready");
    fflush(stdout);
    c = getchar(); /* the server is gone */
    EXPECT(c == '\n');
    use(2);
    EXPECT_CU(CUDA_ERROR_DEVICE_UNAVAILABLE, cuCtxSynchronize());
    EXPECT_CU(CUDA_ERROR_DEVICE_UNAVAILABLE, cuMemcpyDtoH(&value, at[3], 4));
    use(0);
    /* What waited for it goes on, and is told once. */
    EXPECT_CU(CUDA_ERROR_DEVICE_UNAVAILABLE, cuStreamSynchronize(stream[0]));
    EXPECT_CU(CUDA_SUCCESS, cuStreamSynchronize(stream[0]));
    EXPECT_CU(CUDA_ERROR_DEVICE_UNAVAILABLE,
              cuMemcpyPeerAsync(at[0], ctx[0], at[3], ctx[3], BYTES, stream[0]));
    EXPECT_CU(CUDA_SUCCESS, cuStreamSynchronize(stream[0]));
    fill(0, 4, BYTES);
    launch(burn[0], 0, 1, stream[0]);
    CU(cuMemcpyPeerAsync(at[5], ctx[5], at[0], ctx[0], BYTES, stream[0]));
    CU(cuStreamSynchronize(stream[0]));
    EXPECT(wrong(5, 4, 1, BYTES) == 0);
    return drv_result("servers");
}

/* -- two servers, as fast as it can be told --------------------------------------------------- */

/* The first and the last device: there, and both ways at once. */
static int
two(void)
{
    static const int ends[2] = {0, DEVICES - 1};
    const size_t half = BIG / 8 * 4;
    uint32_t bad;
    int count;

    CU(cuInit(0));
    CU(cuDeviceGetCount(&count));
    EXPECT(count == DEVICES);
    for (int i = 0; i < 2; i++) {
        CU(cuDevicePrimaryCtxRetain(&ctx[ends[i]], ends[i]));
        use(ends[i]);
        CU(cuStreamCreate(&stream[ends[i]], CU_STREAM_NON_BLOCKING));
        CU(cuMemAlloc(&at[ends[i]], BIG));
        fill(ends[i], 1000u * (uint32_t)i, BIG);
        CU(cuCtxSynchronize());
    }
    for (int i = 0; i < 2; i++) {
        int d = ends[i], e = ends[1 - i];

        use(d); /* the lower half there becomes the upper half here */
        CU(cuMemcpyPeerAsync(at[e] + half, ctx[e], at[d], ctx[d], half, stream[d]));
    }
    for (int i = 0; i < 2; i++)
        CU(cuStreamSynchronize(stream[ends[i]]));
    for (int i = 0; i < 2; i++) {
        use(ends[i]);
        CU(cuMemcpyDtoH(words, at[ends[i]] + half, half));
        bad = 0;
        for (size_t k = 0; k < half / 4; k++)
            bad += words[k] != 1000u * (uint32_t)(1 - i) + (uint32_t)k;
        EXPECT(bad == 0);
    }
    use(ends[0]);
    CU(cuMemcpyPeer(at[ends[1]], ctx[ends[1]], at[ends[0]], ctx[ends[0]], BIG));
    use(ends[1]);
    CU(cuMemcpyDtoH(words, at[ends[1]], half));
    bad = 0;
    for (size_t k = 0; k < half / 4; k++)
        bad += words[k] != (uint32_t)k;
    EXPECT(bad == 0);
    printf("two: copied\n");
    return drv_result("servers");
}

/* Streams stand at gates and copies behind them when the program ends. */
static int
leave(uint32_t rounds)
{
    uint32_t *pinned;
    CUevent late;

    open_all();
    use(2);
    CU(cuEventCreate(&late, CU_EVENT_DISABLE_TIMING));
    launch(burn[2], 2, rounds, stream[2]);
    CU(cuEventRecord(late, stream[2]));
    for (int d = 0; d < DEVICES; d++) {
        use(d);
        CU(cuMemHostAlloc((void **)&pinned, BYTES, 0));
        CU(cuStreamWaitEvent(stream[d], late, 0));
        CU(cuMemcpyDtoHAsync(pinned, at[d], BYTES, stream[d]));
        CU(cuMemcpyPeerAsync(at[(d + 2) % DEVICES], ctx[(d + 2) % DEVICES], at[d], ctx[d], BYTES,
                             stream[d]));
    }
    use(0);
    EXPECT_CU(CUDA_ERROR_NOT_READY, cuStreamQuery(stream[0]));
    _exit(drv_result("servers"));
}

int
main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "leave") == 0)
        return leave(argc > 2 ? (uint32_t)atoi(argv[2]) : 200000);
    if (argc > 1 && strcmp(argv[1], "lost") == 0)
        return lost();
    if (argc > 1 && strcmp(argv[1], "two") == 0)
        return two();
    open_all();
    list();
    access_is_told();
    kernels();
    libraries();
    mistakes();
    copies();
    from_afar();
    ring();
    barriers();
    exchange();
    boxes();
    graphs();
    faults();
    return drv_result("servers");
}
