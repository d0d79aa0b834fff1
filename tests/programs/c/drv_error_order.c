/* tests/programs/c/drv_error_order.c -- which of several errors a call reports
 *
 * The driver's usual order: initialised, a usable context, handles (a stream's capture with it),
 * then values. A remote library that checks in another order gives other codes.
 */
#include "drv.h"
#include "misc_ptx.h"

static CUfunction store_at, small_blocks;

/* No context, and everything else wrong too. */
static void
context_comes_first(void)
{
    CUipcEventHandle ipc;
    CUlaunchConfig config = {0};
    CUfunctionLoadingState state;
    CUstreamCaptureStatus status;
    CUcontext ctx;
    size_t offset;
    int value;

    CU(cuCtxGetCurrent(&ctx));
    CU(cuCtxSetCurrent(NULL));
    EXPECT_CU(CUDA_ERROR_INVALID_CONTEXT, cuEventRecord(NULL, CU_STREAM_LEGACY));
    EXPECT_CU(CUDA_ERROR_INVALID_CONTEXT, cuStreamWaitEvent(NULL, NULL, 77));
    EXPECT_CU(CUDA_ERROR_INVALID_CONTEXT, cuStreamBeginCapture_v2(NULL, (CUstreamCaptureMode)35));
    EXPECT_CU(CUDA_ERROR_INVALID_CONTEXT, cuLaunchKernelEx(&config, NULL, NULL, NULL));
    EXPECT_CU(CUDA_ERROR_INVALID_CONTEXT,
              cuFuncGetAttribute(&value, CU_FUNC_ATTRIBUTE_NUM_REGS, store_at));
    EXPECT_CU(CUDA_ERROR_INVALID_CONTEXT,
              cuOccupancyMaxActiveBlocksPerMultiprocessor(&value, store_at, 32, 0));
    EXPECT_CU(CUDA_ERROR_INVALID_CONTEXT, cuProfilerStart());
    EXPECT_CU(CUDA_ERROR_INVALID_CONTEXT, cuMemHostUnregister(NULL));
    EXPECT_CU(CUDA_ERROR_INVALID_CONTEXT, cuIpcGetEventHandle(&ipc, NULL));
    EXPECT_CU(CUDA_ERROR_INVALID_CONTEXT, cuMemcpyPeerAsync(0, NULL, 0, NULL, 4, NULL));
    EXPECT_CU(CUDA_ERROR_INVALID_CONTEXT, cuStreamIsCapturing(NULL, &status));
    /* A module's function knows its context; what is none is none without a context too. */
    CU(cuFuncGetParamInfo(store_at, 1, &offset, NULL));
    EXPECT(offset == 8);
    CU(cuFuncIsLoaded(&state, store_at));
    EXPECT_CU(CUDA_ERROR_INVALID_HANDLE, cuFuncIsLoaded(&state, NULL));
    CU(cuCtxSetCurrent(ctx));
    printf("without a context: done\n");
}

static void
arrays(void)
{
    CUDA_ARRAY_DESCRIPTOR desc = {0, 64, (CUarray_format)77, 3};
    CUDA_ARRAY_MEMORY_REQUIREMENTS needs;
    CUDA_ARRAY_SPARSE_PROPERTIES sparse;
    CUarray array, plane;

    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuArrayCreate(&array, &desc));
    EXPECT_CU(CUDA_ERROR_INVALID_HANDLE, cuArrayGetPlane(&plane, NULL, 0));
    EXPECT_CU(CUDA_ERROR_INVALID_HANDLE, cuArrayGetSparseProperties(NULL, NULL));
    EXPECT_CU(CUDA_ERROR_INVALID_HANDLE, cuArrayGetMemoryRequirements(NULL, NULL, 99));
    desc = (CUDA_ARRAY_DESCRIPTOR){64, 64, CU_AD_FORMAT_FLOAT, 1};
    CU(cuArrayCreate(&array, &desc));
    /* Neither planes nor sparse: that is an argument out of range, not a missing feature. */
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuArrayGetPlane(&plane, array, 0));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuArrayGetSparseProperties(&sparse, array));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuArrayGetMemoryRequirements(&needs, array, 99));
    CU(cuArrayDestroy(array));
    printf("arrays: done\n");
}

static void
launches(void)
{
    CUdeviceptr p = 0;
    void *params[] = {&p, &p};
    size_t bytes = 8;
    void *extra[] = {CU_LAUNCH_PARAM_BUFFER_POINTER, &p, CU_LAUNCH_PARAM_BUFFER_SIZE, &bytes,
                     CU_LAUNCH_PARAM_END};

    /* Too much shared memory comes before too many threads. */
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE,
              cuLaunchKernel(small_blocks, 1, 1, 1, 512, 1, 1, 1u << 20, NULL, params, NULL));
    /* The buffer ends before the last parameter does. */
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE,
              cuLaunchKernel(store_at, 1, 1, 1, 1, 1, 1, 0, NULL, NULL, extra));
    CU(cuFuncSetAttribute(store_at, CU_FUNC_ATTRIBUTE_REQUIRED_CLUSTER_WIDTH, 2));
    EXPECT_CU(CUDA_ERROR_INVALID_CLUSTER_SIZE,
              cuLaunchKernel(store_at, 3, 1, 1, 1, 1, 1, 0, NULL, params, NULL));
    CU(cuFuncSetAttribute(store_at, CU_FUNC_ATTRIBUTE_REQUIRED_CLUSTER_WIDTH, 0));
    printf("launches: done\n");
}

static void
memory(void)
{
    CUmemAccessDesc access = {{.type = CU_MEM_LOCATION_TYPE_DEVICE, .id = 99},
                              CU_MEM_ACCESS_FLAGS_PROT_READWRITE};
    CUmemPoolProps props = {.allocType = CU_MEM_ALLOCATION_TYPE_PINNED,
                            .location = {.type = CU_MEM_LOCATION_TYPE_DEVICE, .id = 0}};
    CUmemoryPool pool;
    CUdeviceptr word;
    unsigned flags;
    int active;
    void *host;

    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuMemSetAccess(0x1001, 1, &access, 1));
    CU(cuMemPoolCreate(&pool, &props));
    access =
        (CUmemAccessDesc){{.type = CU_MEM_LOCATION_TYPE_DEVICE, .id = 0}, (CUmemAccess_flags)2};
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuMemPoolSetAccess(pool, &access, 1));
    CU(cuMemPoolDestroy(pool));
    EXPECT_CU(CUDA_ERROR_OUT_OF_MEMORY, cuMemHostAlloc(&host, (size_t)1 << 44, 0));
    CU(cuMemAlloc(&word, 8));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuStreamWriteValue64(NULL, word, 1, 0x80));
    CU(cuMemFree(word));
    CU(cuDevicePrimaryCtxSetFlags_v2(0, CU_CTX_MAP_HOST)); /* always on, never shown */
    CU(cuDevicePrimaryCtxGetState(0, &flags, &active));
    EXPECT(flags == 0 && active == 1);
    printf("memory: done\n");
}

/* A source that begins in registered memory and ends behind it is the program's own. */
static void
half_registered(void)
{
    unsigned char *block, back[8192];
    CUdeviceptr device, seen;

    block = aligned_alloc(4096, 8192);
    for (int i = 0; i < 8192; i++)
        block[i] = (unsigned char)(i * 31 >> 3);
    CU(cuMemHostRegister_v2(block, 4096, CU_MEMHOSTREGISTER_DEVICEMAP));
    CU(cuMemHostGetDevicePointer(&seen, block, 0));
    CU(cuMemAlloc(&device, 8192));
    CU(cuMemcpyHtoD(device, block, 8192));
    CU(cuMemcpyDtoH(back, device, 8192));
    EXPECT(memcmp(block, back, 8192) == 0);
    CU(cuMemHostUnregister(block));
    CU(cuMemFree(device));
    free(block);
    printf("half registered: done\n");
}

static void
graphs(void)
{
    CUDA_KERNEL_NODE_PARAMS wrong = {0};
    CUgraphNode node, twice[2];
    CUmodule mod;
    CUgraph graph;
    CUlinkState link;
    CUlibrary library;
    char noise[] = "this is no machine code";

    CU(cuGraphCreate(&graph, 0));
    CU(cuGraphAddEmptyNode(&node, graph, NULL, 0));
    twice[0] = twice[1] = node;
    /* One node twice comes before a function that is none. */
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuGraphAddKernelNode_v2(&node, graph, twice, 2, &wrong));
    CU(cuGraphDestroy(graph));
    CU(cuModuleLoadData(&mod, misc_ptx));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuModuleEnumerateFunctions(NULL, 0, mod));
    CU(cuModuleUnload(mod));
    CU(cuLibraryLoadData(&library, misc_ptx, NULL, NULL, 0, NULL, NULL, 0));
    CUkernel kernel;
    CU(cuLibraryEnumerateKernels(&kernel, 0, library));
    CU(cuLibraryUnload(library));
    CU(cuLinkCreate(0, NULL, NULL, &link));
    EXPECT_CU(CUDA_ERROR_INVALID_IMAGE, cuLinkAddData(link, CU_JIT_INPUT_CUBIN, noise,
                                                      sizeof(noise), "noise", 0, NULL, NULL));
    CU(cuLinkDestroy(link));
    printf("graphs and code: done\n");
}

static void
textures(void)
{
    CUDA_RESOURCE_DESC res = {.resType = CU_RESOURCE_TYPE_LINEAR};
    CUaddress_mode mode;
    CUsurfObject surface;
    CUtexref ref;

    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuSurfObjectCreate(&surface, &res));
    EXPECT_CU(CUDA_ERROR_INVALID_HANDLE, cuTexRefGetAddressMode(NULL, NULL, 0));
    EXPECT_CU(CUDA_ERROR_INVALID_HANDLE, cuTexRefGetAddressMode(&mode, NULL, 0));
    CU(cuTexRefCreate(&ref));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuTexRefGetAddressMode(NULL, ref, 0));
    EXPECT_CU(CUDA_ERROR_INVALID_HANDLE, cuTexRefSetArray(ref, NULL, 77));
    CU(cuTexRefDestroy(ref));
    printf("textures: done\n");
}

int
main(void)
{
    CUdevice dev = drv_open();

    store_at = drv_kernel(misc_ptx, "store_at");
    small_blocks = drv_kernel(misc_ptx, "small_blocks");
    context_comes_first();
    arrays();
    launches();
    memory();
    half_registered();
    graphs();
    textures();
    drv_close(dev);
    return drv_result("drv_error_order");
}
