/* tests/programs/c/drv_cluster.c -- clusters of blocks: launches by attribute and by function,
 * in graphs, what is refused, occupancy, and a fault in another block's memory */
#include "drv.h"

#include "cluster_ptx.h"

#define BLOCKS  32u
#define THREADS 32u
#define N       (BLOCKS * THREADS)

static CUdeviceptr in, out;

static CUlaunchConfig
config_of(unsigned blocks, CUlaunchAttribute *attr, unsigned x, unsigned y)
{
    memset(attr, 0, sizeof(*attr));
    attr->id = CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION;
    attr->value.clusterDim.x = x;
    attr->value.clusterDim.y = y;
    attr->value.clusterDim.z = 1;
    return (CUlaunchConfig){.gridDimX = blocks,
                            .gridDimY = 1,
                            .gridDimZ = 1,
                            .blockDimX = THREADS,
                            .blockDimY = 1,
                            .blockDimZ = 1,
                            .attrs = attr,
                            .numAttrs = x != 0};
}

/* What neighbour left, for clusters of that size. */
static unsigned
wrong_words(unsigned size)
{
    static uint32_t got[N];
    unsigned wrong = 0;

    CU(cuMemcpyDtoH(got, out, sizeof(got)));
    CU(cuMemsetD32(out, 0, N));
    for (unsigned i = 0; i < N; i++) {
        unsigned block = i / THREADS, next = block / size * size + (block + 1) % size;

        wrong += got[i] != 7 * i + 7 * (next * THREADS + i % THREADS) + 1000 * size;
    }
    return wrong;
}

static void
launches(CUfunction f)
{
    void *params[] = {&out, &in};
    CUlaunchAttribute attr;
    CUlaunchConfig config;
    int width;

    for (unsigned size = 1; size <= 8; size *= 2) {
        config = config_of(BLOCKS, &attr, size, 1);
        CU(cuLaunchKernelEx(&config, f, params, NULL));
        printf("clusters of %u: %u wrong\n", size, wrong_words(size));
    }
    config = config_of(BLOCKS, &attr, 16, 1);
    EXPECT_CU(CUDA_ERROR_INVALID_CLUSTER_SIZE, cuLaunchKernelEx(&config, f, params, NULL));
    CU(cuFuncSetAttribute(f, CU_FUNC_ATTRIBUTE_NON_PORTABLE_CLUSTER_SIZE_ALLOWED, 1));
    CU(cuLaunchKernelEx(&config, f, params, NULL));
    printf("clusters of 16: %u wrong\n", wrong_words(16));
    config = config_of(BLOCKS, &attr, 5, 1);
    EXPECT_CU(CUDA_ERROR_INVALID_CLUSTER_SIZE, cuLaunchKernelEx(&config, f, params, NULL));
    config = config_of(BLOCKS, &attr, 1, 2);
    EXPECT_CU(CUDA_ERROR_INVALID_CLUSTER_SIZE, cuLaunchKernelEx(&config, f, params, NULL));
    config = config_of(BLOCKS, &attr, 1, 0);
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuLaunchKernelEx(&config, f, params, NULL));
    /* The function's own dimensions count where the launch has none. */
    CU(cuFuncSetAttribute(f, CU_FUNC_ATTRIBUTE_REQUIRED_CLUSTER_WIDTH, 4));
    CU(cuFuncGetAttribute(&width, CU_FUNC_ATTRIBUTE_REQUIRED_CLUSTER_WIDTH, f));
    EXPECT(width == 4);
    CU(cuLaunchKernel(f, BLOCKS, 1, 1, THREADS, 1, 1, 0, NULL, params, NULL));
    printf("by the function: %u wrong\n", wrong_words(4));
    CU(cuFuncSetAttribute(f, CU_FUNC_ATTRIBUTE_REQUIRED_CLUSTER_WIDTH, 0));
}

/* Clusters that the kernel's text names. */
static void
compiled(CUmodule mod)
{
    CUfunction pairs, told;
    void *params[] = {&out};
    CUlaunchAttribute attr;
    CUlaunchConfig config;
    uint32_t got[6];
    int value;

    CU(cuModuleGetFunction(&pairs, mod, "pairs"));
    CU(cuModuleGetFunction(&told, mod, "told"));
    CU(cuLaunchKernel(pairs, 6, 1, 1, 1, 1, 1, 0, NULL, params, NULL));
    CU(cuMemcpyDtoH(got, out, sizeof(got)));
    for (unsigned i = 0; i < 6; i++)
        EXPECT(got[i] == 2);
    EXPECT_CU(CUDA_ERROR_INVALID_CLUSTER_SIZE,
              cuLaunchKernel(pairs, 5, 1, 1, 1, 1, 1, 0, NULL, params, NULL));
    CU(cuFuncGetAttribute(&value, CU_FUNC_ATTRIBUTE_REQUIRED_CLUSTER_WIDTH, pairs));
    printf("pairs: %d blocks\n", value);
    CU(cuFuncGetAttribute(&value, CU_FUNC_ATTRIBUTE_CLUSTER_SIZE_MUST_BE_SET, told));
    EXPECT(value == 1);
    EXPECT_CU(CUDA_ERROR_INVALID_CLUSTER_SIZE,
              cuLaunchKernel(told, 4, 1, 1, 1, 1, 1, 0, NULL, params, NULL));
    config = config_of(4, &attr, 2, 1);
    CU(cuLaunchKernelEx(&config, told, params, NULL));
    CU(cuCtxSynchronize());
}

static void
occupancy(CUfunction f)
{
    CUlaunchAttribute attr;
    CUlaunchConfig config = config_of(BLOCKS, &attr, 4, 1);
    int clusters, size, pairs;

    CU(cuOccupancyMaxActiveClusters(&clusters, f, &config));
    config = config_of(BLOCKS, &attr, 2, 1);
    CU(cuOccupancyMaxActiveClusters(&pairs, f, &config));
    EXPECT(clusters > 0 && pairs == 2 * clusters);
    CU(cuFuncSetAttribute(f, CU_FUNC_ATTRIBUTE_NON_PORTABLE_CLUSTER_SIZE_ALLOWED, 0));
    config = config_of(BLOCKS, &attr, 0, 0);
    CU(cuOccupancyMaxPotentialClusterSize(&size, f, &config));
    EXPECT(size == 8);
    CU(cuFuncSetAttribute(f, CU_FUNC_ATTRIBUTE_NON_PORTABLE_CLUSTER_SIZE_ALLOWED, 1));
    CU(cuOccupancyMaxPotentialClusterSize(&size, f, &config));
    EXPECT(size == 16);
    /* Attributes are checked as at a launch. */
    config.numAttrs = 1;
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuOccupancyMaxPotentialClusterSize(&size, f, &config));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuOccupancyMaxActiveClusters(&clusters, f, &config));
    attr.id = (CUlaunchAttributeID)55;
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuOccupancyMaxPotentialClusterSize(&size, f, &config));
}

/* A captured launch, and the attribute of a node. */
static void
graphs(CUfunction f)
{
    void *params[] = {&out, &in};
    CUDA_KERNEL_NODE_PARAMS p = {.func = f,
                                 .gridDimX = BLOCKS,
                                 .gridDimY = 1,
                                 .gridDimZ = 1,
                                 .blockDimX = THREADS,
                                 .blockDimY = 1,
                                 .blockDimZ = 1,
                                 .kernelParams = params};
    CUlaunchAttributeValue value = {.clusterDim = {2, 1, 1}};
    CUlaunchAttribute attr;
    CUlaunchConfig config = config_of(BLOCKS, &attr, 4, 1);
    CUgraphNode node;
    CUgraphExec exec;
    CUstream stream;
    CUgraph graph;

    CU(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
    CU(cuStreamBeginCapture_v2(stream, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL));
    config.hStream = stream;
    CU(cuLaunchKernelEx(&config, f, params, NULL));
    CU(cuStreamEndCapture(stream, &graph));
    CU(cuGraphInstantiateWithFlags(&exec, graph, 0));
    CU(cuGraphLaunch(exec, stream));
    CU(cuStreamSynchronize(stream));
    printf("captured: %u wrong\n", wrong_words(4));
    CU(cuGraphExecDestroy(exec));
    CU(cuGraphDestroy(graph));
    CU(cuGraphCreate(&graph, 0));
    CU(cuGraphAddKernelNode_v2(&node, graph, NULL, 0, &p));
    CU(cuGraphKernelNodeSetAttribute(node, CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION, &value));
    CU(cuGraphInstantiateWithFlags(&exec, graph, 0));
    CU(cuGraphLaunch(exec, stream));
    CU(cuStreamSynchronize(stream));
    printf("node: %u wrong\n", wrong_words(2));
    CU(cuGraphExecDestroy(exec));
    CU(cuGraphDestroy(graph));
    CU(cuStreamDestroy(stream));
}

int
main(void)
{
    static uint32_t words[N];
    CUdevice dev = drv_open();
    CUlaunchAttribute attr;
    CUlaunchConfig config;
    CUfunction f, gone;
    CUmodule mod;
    int value;

    CU(cuDeviceGetAttribute(&value, CU_DEVICE_ATTRIBUTE_CLUSTER_LAUNCH, dev));
    EXPECT(value == 1);
    CU(cuModuleLoadData(&mod, cluster_ptx));
    CU(cuModuleGetFunction(&f, mod, "neighbour"));
    CU(cuModuleGetFunction(&gone, mod, "gone"));
    CU(cuMemAlloc(&in, sizeof(words)));
    CU(cuMemAlloc(&out, sizeof(words)));
    for (unsigned i = 0; i < N; i++)
        words[i] = 7 * i;
    CU(cuMemcpyHtoD(in, words, sizeof(words)));
    launches(f);
    compiled(mod);
    occupancy(f);
    graphs(f);
    config = config_of(2, &attr, 2, 1);
    CU(cuLaunchKernelEx(&config, gone, NULL, NULL));
    EXPECT_CU(CUDA_ERROR_ILLEGAL_ADDRESS, cuCtxSynchronize());
    return drv_result("drv_cluster");
}
