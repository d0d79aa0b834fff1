/* tests/programs/c/drv_stream_attributes.c -- attributes of streams: what a new one has, what is
 * refused, copies, and what kernels take from a stream that captures them */
#include "drv.h"
#include "vector_ptx.h"

static CUstreamAttrValue
get(CUstream s, CUstreamAttrID attr)
{
    CUstreamAttrValue value;

    memset(&value, 0xee, sizeof(value));
    CU(cuStreamGetAttribute(s, attr, &value));
    return value;
}

static void
new_ones(CUstream s, const char *what)
{
    CUstreamAttrValue window = get(s, CU_LAUNCH_ATTRIBUTE_ACCESS_POLICY_WINDOW);
    CUlaunchMemSyncDomainMap map = get(s, CU_LAUNCH_ATTRIBUTE_MEM_SYNC_DOMAIN_MAP).memSyncDomainMap;

    EXPECT(window.accessPolicyWindow.num_bytes == 0);
    EXPECT(get(s, CU_LAUNCH_ATTRIBUTE_SYNCHRONIZATION_POLICY).syncPolicy == CU_SYNC_POLICY_AUTO);
    EXPECT(get(s, CU_LAUNCH_ATTRIBUTE_PRIORITY).priority == 0);
    EXPECT(map.default_ == 0 && map.remote == 1);
    EXPECT(get(s, CU_LAUNCH_ATTRIBUTE_MEM_SYNC_DOMAIN).memSyncDomain ==
           CU_LAUNCH_MEM_SYNC_DOMAIN_DEFAULT);
    printf("%s: as new\n", what);
}

static void
set_all(CUstream s, CUdeviceptr memory, int priority)
{
    CUstreamAttrValue value = {.accessPolicyWindow = {.base_ptr = (void *)(uintptr_t)memory,
                                                      .num_bytes = 4096,
                                                      .hitRatio = 0.5f,
                                                      .hitProp = CU_ACCESS_PROPERTY_PERSISTING,
                                                      .missProp = CU_ACCESS_PROPERTY_STREAMING}};

    CU(cuStreamSetAttribute(s, CU_LAUNCH_ATTRIBUTE_ACCESS_POLICY_WINDOW, &value));
    value = (CUstreamAttrValue){.syncPolicy = CU_SYNC_POLICY_YIELD};
    CU(cuStreamSetAttribute(s, CU_LAUNCH_ATTRIBUTE_SYNCHRONIZATION_POLICY, &value));
    value = (CUstreamAttrValue){.memSyncDomainMap = {1, 2}};
    CU(cuStreamSetAttribute(s, CU_LAUNCH_ATTRIBUTE_MEM_SYNC_DOMAIN_MAP, &value));
    value = (CUstreamAttrValue){.memSyncDomain = CU_LAUNCH_MEM_SYNC_DOMAIN_REMOTE};
    CU(cuStreamSetAttribute(s, CU_LAUNCH_ATTRIBUTE_MEM_SYNC_DOMAIN, &value));
    value = (CUstreamAttrValue){.priority = priority};
    CU(cuStreamSetAttribute(s, CU_LAUNCH_ATTRIBUTE_PRIORITY, &value));
}

static void
check_all(CUstream s, CUdeviceptr memory, int priority, const char *what)
{
    CUaccessPolicyWindow w = get(s, CU_LAUNCH_ATTRIBUTE_ACCESS_POLICY_WINDOW).accessPolicyWindow;
    CUlaunchMemSyncDomainMap map = get(s, CU_LAUNCH_ATTRIBUTE_MEM_SYNC_DOMAIN_MAP).memSyncDomainMap;
    int got = 1;

    EXPECT(w.base_ptr == (void *)(uintptr_t)memory && w.num_bytes == 4096 && w.hitRatio == 0.5f);
    EXPECT(w.hitProp == CU_ACCESS_PROPERTY_PERSISTING &&
           w.missProp == CU_ACCESS_PROPERTY_STREAMING);
    EXPECT(get(s, CU_LAUNCH_ATTRIBUTE_SYNCHRONIZATION_POLICY).syncPolicy == CU_SYNC_POLICY_YIELD);
    EXPECT(map.default_ == 1 && map.remote == 2);
    EXPECT(get(s, CU_LAUNCH_ATTRIBUTE_MEM_SYNC_DOMAIN).memSyncDomain ==
           CU_LAUNCH_MEM_SYNC_DOMAIN_REMOTE);
    EXPECT(get(s, CU_LAUNCH_ATTRIBUTE_PRIORITY).priority == priority);
    CU(cuStreamGetPriority(s, &got));
    EXPECT(got == priority);
    printf("%s: as set\n", what);
}

static void
refused(CUstream s)
{
    CUstreamAttrValue value = {.priority = 0};
    CUstream none;
    CUevent event;

    CU(cuEventCreate(&event, 0));
    none = (CUstream)event;
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE,
              cuStreamGetAttribute(s, CU_LAUNCH_ATTRIBUTE_PRIORITY, NULL));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE,
              cuStreamSetAttribute(s, CU_LAUNCH_ATTRIBUTE_PRIORITY, NULL));
    for (int attr = 0; attr < 40; attr++) {
        if (attr == 1 || attr == 3 || (attr >= 8 && attr <= 10) || attr == 16)
            continue;
        EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuStreamGetAttribute(s, (CUstreamAttrID)attr, &value));
        EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuStreamSetAttribute(s, (CUstreamAttrID)attr, &value));
    }
    EXPECT_CU(CUDA_ERROR_INVALID_HANDLE,
              cuStreamGetAttribute(none, CU_LAUNCH_ATTRIBUTE_PRIORITY, &value));
    EXPECT_CU(CUDA_ERROR_INVALID_HANDLE, cuStreamCopyAttributes(s, none));
    EXPECT_CU(CUDA_ERROR_INVALID_HANDLE, cuStreamCopyAttributes(none, s));
    CU(cuEventDestroy(event));

    value = (CUstreamAttrValue){.accessPolicyWindow = {.hitRatio = 1.5f}};
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE,
              cuStreamSetAttribute(s, CU_LAUNCH_ATTRIBUTE_ACCESS_POLICY_WINDOW, &value));
    value = (CUstreamAttrValue){
        .accessPolicyWindow = {.hitRatio = 1.0f, .missProp = CU_ACCESS_PROPERTY_PERSISTING}};
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE,
              cuStreamSetAttribute(s, CU_LAUNCH_ATTRIBUTE_ACCESS_POLICY_WINDOW, &value));
    value = (CUstreamAttrValue){.memSyncDomainMap = {0, 200}};
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE,
              cuStreamSetAttribute(s, CU_LAUNCH_ATTRIBUTE_MEM_SYNC_DOMAIN_MAP, &value));
    value = (CUstreamAttrValue){.syncPolicy = (CUsynchronizationPolicy)9};
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE,
              cuStreamSetAttribute(s, CU_LAUNCH_ATTRIBUTE_SYNCHRONIZATION_POLICY, &value));
}

static CUkernelNodeAttrValue
of_node(CUgraphNode node, CUkernelNodeAttrID attr)
{
    CUkernelNodeAttrValue value;

    CU(cuGraphKernelNodeGetAttribute(node, attr, &value));
    return value;
}

/* What the captured kernels of s say, and that the graph runs. */
static void
captured(CUstream s, CUfunction f, CUdeviceptr memory, int priority, int own)
{
    uint32_t n = 64, factor = 3, addend = 1;
    void *params[] = {&memory, &factor, &addend, &n};
    CUlaunchAttribute attribute = {.id = CU_LAUNCH_ATTRIBUTE_PRIORITY, .value.priority = own};
    CUlaunchConfig config = {.gridDimX = 1,
                             .gridDimY = 1,
                             .gridDimZ = 1,
                             .blockDimX = 64,
                             .blockDimY = 1,
                             .blockDimZ = 1,
                             .hStream = s,
                             .attrs = &attribute,
                             .numAttrs = 1};
    CUgraphNode nodes[2] = {NULL, NULL};
    CUgraphExec exec;
    CUgraph graph;
    size_t count = 2;

    CU(cuMemsetD32(memory, 5, n));
    CU(cuStreamBeginCapture_v2(s, CU_STREAM_CAPTURE_MODE_RELAXED));
    CU(cuLaunchKernel(f, 1, 1, 1, 64, 1, 1, 0, s, params, NULL));
    CU(cuLaunchKernelEx(&config, f, params, NULL));
    CU(cuStreamEndCapture(s, &graph));
    CU(cuGraphGetNodes(graph, nodes, &count));
    EXPECT(count == 2);
    EXPECT(of_node(nodes[0], CU_LAUNCH_ATTRIBUTE_PRIORITY).priority == priority);
    EXPECT(of_node(nodes[1], CU_LAUNCH_ATTRIBUTE_PRIORITY).priority == own);
    for (int i = 0; i < 2; i++) {
        EXPECT(of_node(nodes[i], CU_LAUNCH_ATTRIBUTE_ACCESS_POLICY_WINDOW)
                   .accessPolicyWindow.num_bytes == 4096);
        EXPECT(of_node(nodes[i], CU_LAUNCH_ATTRIBUTE_MEM_SYNC_DOMAIN_MAP).memSyncDomainMap.remote ==
               2);
        EXPECT(of_node(nodes[i], CU_LAUNCH_ATTRIBUTE_MEM_SYNC_DOMAIN).memSyncDomain ==
               CU_LAUNCH_MEM_SYNC_DOMAIN_REMOTE);
    }
    CU(cuGraphInstantiateWithFlags(&exec, graph, 0));
    CU(cuGraphLaunch(exec, s));
    CU(cuStreamSynchronize(s));
    EXPECT(drv_word_at(memory) == 49);
    CU(cuGraphExecDestroy(exec));
    CU(cuGraphDestroy(graph));
    printf("captured: inherited\n");
}

/* Bytes of the L2 cache that shall persist: a hint, clamped to what the device says. */
static void
persisting(CUdevice dev)
{
    int most = 0, window = 0;
    size_t value = 1;

    CU(cuDeviceGetAttribute(&most, CU_DEVICE_ATTRIBUTE_MAX_PERSISTING_L2_CACHE_SIZE, dev));
    CU(cuDeviceGetAttribute(&window, CU_DEVICE_ATTRIBUTE_MAX_ACCESS_POLICY_WINDOW_SIZE, dev));
    EXPECT(most > 0 && window > 0);
    CU(cuCtxGetLimit(&value, CU_LIMIT_PERSISTING_L2_CACHE_SIZE));
    EXPECT(value == 0);
    CU(cuCtxSetLimit(CU_LIMIT_PERSISTING_L2_CACHE_SIZE, 4096));
    CU(cuCtxGetLimit(&value, CU_LIMIT_PERSISTING_L2_CACHE_SIZE));
    EXPECT(value == 4096);
    CU(cuCtxSetLimit(CU_LIMIT_PERSISTING_L2_CACHE_SIZE, (size_t)most + 1));
    CU(cuCtxGetLimit(&value, CU_LIMIT_PERSISTING_L2_CACHE_SIZE));
    EXPECT(value == (size_t)most);
    CU(cuCtxResetPersistingL2Cache());
    CU(cuCtxSetLimit(CU_LIMIT_PERSISTING_L2_CACHE_SIZE, 0));
    printf("persisting: %d of a window of %d\n", most, window);
}

int
main(void)
{
    CUdevice dev = drv_open();
    CUstreamAttrValue value = {.priority = -1000};
    CUfunction f = drv_kernel(vector_ptx, "mul_add_u32");
    CUcontext current, other;
    CUstream a, b, foreign;
    CUdeviceptr memory;
    int least, greatest;

    CU(cuCtxGetCurrent(&current));
    CU(cuCtxGetStreamPriorityRange(&least, &greatest));
    persisting(dev);
    CU(cuMemAlloc(&memory, 4096));
    CU(cuStreamCreate(&a, CU_STREAM_NON_BLOCKING));
    CU(cuStreamCreate(&b, CU_STREAM_DEFAULT));
    new_ones(a, "created");
    new_ones(NULL, "default");
    new_ones(CU_STREAM_PER_THREAD, "per thread");
    set_all(a, memory, greatest);
    check_all(a, memory, greatest, "first");
    new_ones(b, "second");
    refused(a);
    check_all(a, memory, greatest, "first still");
    CU(cuStreamCopyAttributes(b, a));
    check_all(b, memory, greatest, "copy");
    CU(cuStreamCopyAttributes(b, NULL));
    new_ones(b, "copy of the default");
    CU(cuStreamSetAttribute(b, CU_LAUNCH_ATTRIBUTE_PRIORITY, &value));
    EXPECT(get(b, CU_LAUNCH_ATTRIBUTE_PRIORITY).priority == greatest); /* as at creation */
    captured(a, f, memory, greatest, greatest + 1);

    CU(cuCtxCreate_v2(&other, 0, dev));
    CU(cuStreamCreate(&foreign, 0));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuStreamCopyAttributes(foreign, a));
    CU(cuCtxDestroy(other));
    CU(cuCtxSetCurrent(current));
    CU(cuStreamDestroy(a));
    CU(cuStreamDestroy(b));
    CU(cuMemFree(memory));
    drv_close(dev);
    return drv_result("drv_stream_attributes");
}
