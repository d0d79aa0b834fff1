/* tests/programs/c/drv_green.c -- green contexts: SMs are split, kernels run on the part they have,
 * streams and events belong to it, and it can be current like a context */
#include "drv.h"
#include "green_ptx.h"

#include <semaphore.h>

#define BLOCKS 256u

static CUdevice dev;
static CUfunction where;
static CUdeviceptr out;
static unsigned sms; /* of the device */

static void
resources(CUdevResource *parts, CUdevResource *rest)
{
    CUdevResource all, none[2];
    unsigned groups = 0, most;
    CUdevResourceDesc desc;
    CUcontext primary;

    CU(cuCtxGetCurrent(&primary));
    CU(cuDeviceGetDevResource(dev, &all, CU_DEV_RESOURCE_TYPE_SM));
    EXPECT(all.type == CU_DEV_RESOURCE_TYPE_SM && all.sm.smCount == sms);
    EXPECT(all.sm.minSmPartitionSize > 0 && all.sm.smCoscheduledAlignment > 0);
    CU(cuCtxGetDevResource(primary, &none[0], CU_DEV_RESOURCE_TYPE_SM));
    EXPECT(none[0].sm.smCount == sms);
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuDeviceGetDevResource(dev, NULL, CU_DEV_RESOURCE_TYPE_SM));
    EXPECT_CU(CUDA_ERROR_INVALID_RESOURCE_TYPE,
              cuDeviceGetDevResource(dev, &none[0], CU_DEV_RESOURCE_TYPE_INVALID));
    EXPECT_CU(CUDA_ERROR_INVALID_DEVICE,
              cuDeviceGetDevResource(99, &none[0], CU_DEV_RESOURCE_TYPE_SM));

    CU(cuDevSmResourceSplitByCount(NULL, &groups, &all, NULL, 0, 1));
    EXPECT(groups == sms / all.sm.minSmPartitionSize);
    most = groups;
    groups = 2;
    CU(cuDevSmResourceSplitByCount(parts, &groups, &all, rest, 0, 1));
    EXPECT(groups == 2 && parts[0].sm.smCount == all.sm.minSmPartitionSize &&
           parts[1].sm.smCount == parts[0].sm.smCount);
    EXPECT(rest->type == (most > 2 ? CU_DEV_RESOURCE_TYPE_SM : CU_DEV_RESOURCE_TYPE_INVALID));
    CU(cuDevSmResourceSplitByCount(NULL, &groups, &all, NULL,
                                   CU_DEV_SM_RESOURCE_SPLIT_IGNORE_SM_COSCHEDULING, 1));
    EXPECT(groups >= most);

    groups = 0;
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE,
              cuDevSmResourceSplitByCount(none, &groups, &all, NULL, 0, 1));
    groups = 1;
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuDevSmResourceSplitByCount(none, NULL, &all, NULL, 0, 1));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE,
              cuDevSmResourceSplitByCount(none, &groups, NULL, NULL, 0, 1));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE,
              cuDevSmResourceSplitByCount(none, &groups, &all, NULL, 0, sms + 1));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE,
              cuDevSmResourceSplitByCount(none, &groups, &all, NULL, 0x100, 1));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, /* before what is split is looked at */
              cuDevSmResourceSplitByCount(none, &groups, &parts[0], NULL, 0x100, 1));
    EXPECT_CU(CUDA_ERROR_INVALID_RESOURCE_CONFIGURATION,
              cuDevSmResourceSplitByCount(none, &groups, &parts[0], NULL, 0, 1));
    memset(&none[0], 0, sizeof(none[0]));
    EXPECT_CU(CUDA_ERROR_INVALID_RESOURCE_TYPE,
              cuDevSmResourceSplitByCount(parts, &groups, &none[0], NULL, 0, 1));

    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuDevResourceGenerateDesc(&desc, parts, 0));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuDevResourceGenerateDesc(NULL, parts, 1));
    EXPECT_CU(CUDA_ERROR_INVALID_RESOURCE_TYPE, cuDevResourceGenerateDesc(&desc, none, 1));
    groups = 1;
    CU(cuDevSmResourceSplitByCount(&none[1], &groups, &all, NULL, 0, 1));
    none[0] = parts[1]; /* of another split */
    EXPECT_CU(CUDA_ERROR_INVALID_RESOURCE_CONFIGURATION, cuDevResourceGenerateDesc(&desc, none, 2));
    none[1] = parts[1]; /* twice */
    EXPECT_CU(CUDA_ERROR_INVALID_RESOURCE_CONFIGURATION, cuDevResourceGenerateDesc(&desc, none, 2));
    printf("resources: done\n");
}

static CUgreenCtx
make(CUdevResource *resource)
{
    CUdevResourceDesc desc;
    CUdevResource has;
    CUgreenCtx green;

    CU(cuDevResourceGenerateDesc(&desc, resource, 1));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuGreenCtxCreate(&green, desc, dev, 0));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE,
              cuGreenCtxCreate(NULL, desc, dev, CU_GREEN_CTX_DEFAULT_STREAM));
    CU(cuGreenCtxCreate(&green, desc, dev, CU_GREEN_CTX_DEFAULT_STREAM));
    CU(cuGreenCtxGetDevResource(green, &has, CU_DEV_RESOURCE_TYPE_SM));
    EXPECT(has.sm.smCount == resource->sm.smCount);
    return green;
}

/* Adds the SMs of blocks that ran to a set; how many there are in it. */
static unsigned
collect(uint64_t *set)
{
    uint32_t at[BLOCKS];
    unsigned n = 0;

    CU(cuMemcpyDtoH(at, out, sizeof(at)));
    for (unsigned i = 0; i < BLOCKS; i++)
        set[at[i] / 64 % 16] |= 1ull << at[i] % 64;
    for (int i = 0; i < 16; i++)
        n += (unsigned)__builtin_popcountll(set[i]);
    return n;
}

static void
launch(CUstream s)
{
    void *params[] = {&out};

    CU(cuLaunchKernel(where, BLOCKS, 1, 1, 32, 1, 1, 0, s, params, NULL));
}

static void
kernels(CUgreenCtx *green, CUstream *streams, unsigned each)
{
    uint64_t set[2][16] = {{0}};
    void *params[] = {&out};
    int per_sm = 0, common = 0;
    CUgraphExec exec;
    CUgraph graph;

    for (int g = 0; g < 2; g++) {
        EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuGreenCtxStreamCreate(&streams[g], green[g], 0, 0));
        CU(cuGreenCtxStreamCreate(&streams[g], green[g], CU_STREAM_NON_BLOCKING, 0));
        launch(streams[g]);
        CU(cuStreamSynchronize(streams[g]));
        EXPECT(collect(set[g]) <= each);
    }
    for (int i = 0; i < 16; i++)
        common += (set[0][i] & set[1][i]) != 0;
    EXPECT(common == 0);

    CU(cuStreamBeginCapture_v2(streams[1], CU_STREAM_CAPTURE_MODE_RELAXED));
    launch(streams[1]);
    CU(cuStreamEndCapture(streams[1], &graph));
    CU(cuGraphInstantiateWithFlags(&exec, graph, 0));
    CU(cuMemsetD32(out, 0, BLOCKS));
    CU(cuGraphLaunch(exec, NULL));
    CU(cuStreamSynchronize(NULL));
    EXPECT(collect(set[1]) <= each); /* its nodes run where they were captured */
    CU(cuGraphExecDestroy(exec));
    CU(cuGraphDestroy(graph));

    /* What is resident on a part of the device is less than on all of it. */
    CU(cuOccupancyMaxActiveBlocksPerMultiprocessor(&per_sm, where, 1024, 0));
    EXPECT(per_sm > 0);
    if (each < sms && (unsigned)per_sm * (each + 1) <= BLOCKS) {
        EXPECT_CU(CUDA_ERROR_COOPERATIVE_LAUNCH_TOO_LARGE,
                  cuLaunchCooperativeKernel(where, (unsigned)per_sm * (each + 1), 1, 1, 1024, 1, 1,
                                            0, streams[0], params));
        CU(cuLaunchCooperativeKernel(where, (unsigned)per_sm * (each + 1), 1, 1, 1024, 1, 1, 0,
                                     NULL, params));
    }
    CU(cuLaunchCooperativeKernel(where, (unsigned)per_sm, 1, 1, 1024, 1, 1, 0, streams[0], params));
    CU(cuCtxSynchronize());
    printf("kernels: %d SMs in common\n", common);
}

static void
current(CUgreenCtx *green, CUstream stream, unsigned each)
{
    CUcontext primary, ctx, got = NULL;
    unsigned long long id[2], same;
    uint64_t set[16] = {0};
    CUgreenCtx of = NULL;
    CUdevResource has;
    CUstream made;
    CUdevice on;

    CU(cuCtxGetCurrent(&primary));
    EXPECT_CU(CUDA_ERROR_INVALID_CONTEXT, cuCtxSetCurrent((CUcontext)green[1]));
    CU(cuCtxFromGreenCtx(&ctx, green[0]));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuCtxFromGreenCtx(NULL, green[0]));
    CU(cuGreenCtxGetId(green[0], &id[0]));
    CU(cuGreenCtxGetId(green[1], &id[1]));
    EXPECT(id[0] != id[1]);
    EXPECT_CU(CUDA_ERROR_INVALID_CONTEXT, cuGreenCtxGetId(NULL, &same));
    CU(cuCtxPushCurrent(ctx));
    CU(cuCtxGetCurrent(&got));
    EXPECT(got == ctx && got != primary);
    CU(cuGreenCtxGetId(NULL, &same));
    EXPECT(same == id[0]);
    CU(cuCtxGetDevice(&on));
    EXPECT(on == dev);
    CU(cuCtxGetDevResource(ctx, &has, CU_DEV_RESOURCE_TYPE_SM));
    EXPECT(has.sm.smCount == each);

    launch(NULL); /* its default stream */
    CU(cuCtxSynchronize());
    EXPECT(collect(set) <= each);
    CU(cuStreamGetCtx_v2(NULL, &got, &of));
    EXPECT(got == primary && of == green[0]);
    EXPECT_CU(CUDA_ERROR_INVALID_HANDLE, cuStreamGetCtx_v2(CU_STREAM_PER_THREAD, &got, &of));
    CU(cuStreamGetGreenCtx(NULL, &of));
    EXPECT(of == green[0]);
    CU(cuStreamCreate(&made, CU_STREAM_NON_BLOCKING));
    CU(cuStreamGetGreenCtx(made, &of));
    EXPECT(of == green[0]);
    CU(cuStreamGetCtx(made, &got));
    EXPECT(got == ctx);
    CU(cuStreamDestroy(made));
    CU(cuCtxPopCurrent(&got));
    EXPECT(got == ctx);
    CU(cuCtxGetCurrent(&got));
    EXPECT(got == primary);
    CU(cuStreamGetGreenCtx(stream, &of));
    EXPECT(of == green[0]);
    CU(cuStreamGetGreenCtx(NULL, &of));
    EXPECT(of == NULL);
    EXPECT_CU(CUDA_ERROR_INVALID_CONTEXT, cuCtxDestroy(ctx));
    printf("current: done\n");
}

static void
wait_gate(void *gate)
{
    sem_wait(gate);
}

/* The one waits for the other; neither is held by itself. */
static void
events(CUgreenCtx *green, CUstream *streams)
{
    CUevent event;
    CUstream late;
    sem_t gate;

    sem_init(&gate, 0, 0);
    CU(cuEventCreate(&event, CU_EVENT_DISABLE_TIMING));
    CU(cuLaunchHostFunc(streams[0], wait_gate, &gate));
    CU(cuMemsetD32Async(out, 5, BLOCKS, streams[0]));
    CU(cuGreenCtxRecordEvent(green[1], event));
    CU(cuEventSynchronize(event)); /* there is nothing in it */
    CU(cuGreenCtxRecordEvent(green[0], event));
    EXPECT_CU(CUDA_ERROR_NOT_READY, cuEventQuery(event));
    CU(cuGreenCtxWaitEvent(green[1], event));
    CU(cuGreenCtxStreamCreate(&late, green[1], CU_STREAM_NON_BLOCKING, 0));
    CU(cuMemsetD32Async(out + 4, 6, 1, late));
    CU(cuMemsetD32Async(out + 8, 7, 1, streams[1]));
    EXPECT_CU(CUDA_ERROR_NOT_READY, cuStreamQuery(late));
    EXPECT_CU(CUDA_ERROR_NOT_READY, cuStreamQuery(streams[1]));
    CU(cuMemsetD32(out + 12, 8, 1)); /* the primary context goes on */
    CU(cuStreamSynchronize(NULL));
    sem_post(&gate);
    CU(cuCtxSynchronize());
    EXPECT(drv_word_at(out) == 5 && drv_word_at(out + 4) == 6 && drv_word_at(out + 8) == 7);
    EXPECT_CU(CUDA_ERROR_INVALID_HANDLE, cuGreenCtxRecordEvent(green[0], NULL));
    EXPECT_CU(CUDA_ERROR_INVALID_CONTEXT, cuGreenCtxWaitEvent(NULL, event));
    CU(cuStreamDestroy(late));
    CU(cuEventDestroy(event));
    sem_destroy(&gate);
    printf("events: done\n");
}

/* Asked about while another context, or none, is current; its streams' captures count by mode. */
static void
from_elsewhere(CUgreenCtx green, CUstream stream)
{
    const CUDA_MEMSET_NODE_PARAMS fill = {
        .dst = out, .value = 9, .elementSize = 4, .width = 1, .height = 1};
    CUgraphConditionalHandle handle;
    CUcontext primary, other, ctx, got;
    CUgraphExec exec;
    CUgraphNode node;
    CUgraph graph;

    CU(cuCtxGetCurrent(&primary));
    CU(cuCtxFromGreenCtx(&ctx, green));
    CU(cuCtxCreate_v2(&other, 0, dev));
    CU(cuMemsetD32Async(out, 8, 1, stream));
    CU(cuCtxSynchronize_v2(ctx));
    EXPECT_CU(CUDA_SUCCESS, cuStreamQuery(stream));
    CU(cuCtxPopCurrent(&got));
    CU(cuCtxPopCurrent(&got));
    CU(cuCtxSynchronize_v2(ctx));
    CU(cuCtxSetCurrent(primary));

    CU(cuStreamBeginCapture_v2(stream, CU_STREAM_CAPTURE_MODE_RELAXED));
    CU(cuCtxSynchronize_v2(ctx));
    CU(cuStreamEndCapture(stream, &graph));
    CU(cuGraphAddMemsetNode(&node, graph, NULL, 0, &fill, ctx));
    CU(cuGraphInstantiateWithFlags(&exec, graph, 0));
    CU(cuGraphExecMemsetNodeSetParams(exec, node, &fill, ctx));
    CU(cuGraphLaunch(exec, stream));
    CU(cuStreamSynchronize(stream));
    EXPECT(drv_word_at(out) == 9);
    CU(cuGraphExecDestroy(exec));
    CU(cuGraphConditionalHandleCreate(&handle, graph, ctx, 0, 0));
    CU(cuGraphDestroy(graph));
    CU(cuStreamBeginCapture_v2(stream, CU_STREAM_CAPTURE_MODE_GLOBAL));
    EXPECT_CU(CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED, cuCtxSynchronize_v2(ctx));
    EXPECT_CU(CUDA_ERROR_STREAM_CAPTURE_INVALIDATED, cuStreamEndCapture(stream, &graph));
    CU(cuCtxDestroy(other));
    printf("from elsewhere: done\n");
}

/* A fault is the answer of whoever waits for it. */
static int
faulted(void)
{
    CUdeviceptr nowhere = 0;
    void *params[] = {&nowhere};
    CUdevResource all;
    CUdevResourceDesc desc;
    CUcontext ctx, other;
    CUgreenCtx green, another;
    CUstream stream;

    dev = drv_open();
    where = drv_kernel(green_ptx, "where");
    CU(cuDeviceGetDevResource(dev, &all, CU_DEV_RESOURCE_TYPE_SM));
    CU(cuDevResourceGenerateDesc(&desc, &all, 1));
    CU(cuGreenCtxCreate(&green, desc, dev, CU_GREEN_CTX_DEFAULT_STREAM));
    CU(cuGreenCtxStreamCreate(&stream, green, CU_STREAM_NON_BLOCKING, 0));
    CU(cuCtxFromGreenCtx(&ctx, green));
    CU(cuCtxCreate_v2(&other, 0, dev));
    CU(cuLaunchKernel(where, 1, 1, 1, 1, 1, 1, 0, stream, params, NULL));
    EXPECT_CU(CUDA_ERROR_ILLEGAL_ADDRESS, cuCtxSynchronize_v2(ctx));
    EXPECT_CU(CUDA_ERROR_ILLEGAL_ADDRESS, cuCtxFromGreenCtx(&ctx, green));
    EXPECT_CU(CUDA_ERROR_ILLEGAL_ADDRESS, cuGreenCtxStreamCreate(&stream, green, 0, 0));
    EXPECT_CU(CUDA_ERROR_ILLEGAL_ADDRESS, cuGreenCtxRecordEvent(green, NULL));
    EXPECT_CU(CUDA_ERROR_ILLEGAL_ADDRESS,
              cuGreenCtxGetDevResource(green, &all, CU_DEV_RESOURCE_TYPE_SM));
    EXPECT_CU(CUDA_ERROR_ILLEGAL_ADDRESS,
              cuGreenCtxCreate(&another, desc, dev, CU_GREEN_CTX_DEFAULT_STREAM));
    CU(cuGreenCtxDestroy(green));
    EXPECT_CU(CUDA_ERROR_INVALID_CONTEXT, cuGreenCtxDestroy(green));
    return drv_result("faulted");
}

int
main(void)
{
    CUdevResource parts[2], rest;
    CUstream streams[2];
    CUgreenCtx green[2];
    int count = 0, status = drv_in_child(faulted);

    EXPECT(status == 0);
    printf("faulted: status %d\n", status);
    dev = drv_open();
    CU(cuDeviceGetAttribute(&count, CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT, dev));
    sms = (unsigned)count;
    where = drv_kernel(green_ptx, "where");
    CU(cuMemAlloc(&out, BLOCKS * 4));
    resources(parts, &rest);
    for (int g = 0; g < 2; g++)
        green[g] = make(&parts[g]);
    kernels(green, streams, parts[0].sm.smCount);
    current(green, streams[0], parts[0].sm.smCount);
    events(green, streams);
    from_elsewhere(green[0], streams[0]);

    CU(cuStreamDestroy(streams[1]));
    CU(cuGreenCtxDestroy(green[1]));
    EXPECT_CU(CUDA_ERROR_INVALID_CONTEXT, cuGreenCtxDestroy(green[1]));
    CU(cuGreenCtxDestroy(green[0]));
    EXPECT_CU(CUDA_ERROR_CONTEXT_IS_DESTROYED, cuStreamQuery(streams[0]));
    EXPECT_CU(CUDA_ERROR_CONTEXT_IS_DESTROYED, cuStreamDestroy(streams[0]));
    CU(cuMemFree(out));
    drv_close(dev);
    return drv_result("drv_green");
}
