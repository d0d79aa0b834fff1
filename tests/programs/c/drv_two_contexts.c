/* tests/programs/c/drv_two_contexts.c -- one library, pools and faults over several contexts */
#include "drv.h"
#include "misc_ptx.h"
#include "vector_ptx.h"

static CUcontext first, second; /* device 0's primary one, one of device 1 */

static void
store(CUfunction f, CUdeviceptr where, uint32_t value, CUstream stream)
{
    void *params[] = {&where, &value};

    CU(cuLaunchKernel(f, 1, 1, 1, 1, 1, 1, 0, stream, params, NULL));
}

/* A library loaded while device 1 is current: its kernels' tables are asked for there. */
static void
on_the_second_device(void)
{
    CUlibrary library;
    CUkernel kernel;
    CUdeviceptr p;
    size_t offset, size;

    CU(cuCtxSetCurrent(second));
    CU(cuLibraryLoadData(&library, misc_ptx, NULL, NULL, 0, NULL, NULL, 0));
    CU(cuLibraryGetKernel(&kernel, library, "store_at"));
    CU(cuMemAlloc(&p, 4));
    store((CUfunction)kernel, p, 11, NULL);
    EXPECT(drv_word_at(p) == 11);
    CU(cuKernelGetParamInfo(kernel, 1, &offset, &size));
    EXPECT(offset == 8 && size == 4);
    CU(cuMemFree(p));
    CU(cuLibraryUnload(library));
    printf("on the second device: done\n");
}

/* A module for each context, the same one each time it is asked for. */
static void
modules_of_a_library(void)
{
    CUmodule in_first, in_second, again;
    CUlibrary library;
    CUfunction f;
    CUdeviceptr p;

    CU(cuLibraryLoadData(&library, misc_ptx, NULL, NULL, 0, NULL, NULL, 0));
    CU(cuCtxSetCurrent(first));
    CU(cuLibraryGetModule(&in_first, library));
    CU(cuModuleGetFunction(&f, in_first, "store_at"));
    CU(cuCtxSetCurrent(second));
    CU(cuLibraryGetModule(&in_second, library));
    EXPECT(in_second != in_first);
    CU(cuCtxSetCurrent(first));
    CU(cuLibraryGetModule(&again, library));
    EXPECT(again == in_first);
    EXPECT_CU(CUDA_ERROR_NOT_PERMITTED, cuModuleUnload(in_first));
    CU(cuMemAlloc(&p, 4));
    store(f, p, 12, NULL);
    EXPECT(drv_word_at(p) == 12);
    CU(cuMemFree(p));
    CU(cuLibraryUnload(library));
    EXPECT_CU(CUDA_ERROR_INVALID_HANDLE, cuModuleGetFunction(&f, in_second, "store_at"));
    printf("modules of a library: done\n");
}

/* The pool's device may be another one than the stream's. */
static void
pool_of_another_device(void)
{
    unsigned char back[4096], want[4096];
    CUmemoryPool pool;
    CUdeviceptr p;

    CU(cuCtxSetCurrent(first));
    CU(cuDeviceGetDefaultMemPool(&pool, 1));
    CU(cuMemAllocFromPoolAsync(&p, sizeof(back), pool, NULL));
    CU(cuStreamSynchronize(NULL));
    CU(cuCtxSetCurrent(second));
    CU(cuMemsetD8(p, 0x6b, sizeof(back)));
    CU(cuMemcpyDtoH(back, p, sizeof(back)));
    memset(want, 0x6b, sizeof(want));
    EXPECT(memcmp(back, want, sizeof(back)) == 0);
    CU(cuCtxSetCurrent(first));
    CU(cuMemFreeAsync(p, NULL));
    CU(cuStreamSynchronize(NULL));
    printf("a pool of another device: done\n");
}

/* Managed memory is every device's. */
static void
managed_everywhere(void)
{
    CUfunction f;
    CUmodule mod;
    CUdeviceptr p;

    CU(cuCtxSetCurrent(first));
    CU(cuMemAllocManaged(&p, 4096, CU_MEM_ATTACH_GLOBAL));
    CU(cuCtxSetCurrent(second));
    CU(cuModuleLoadData(&mod, misc_ptx));
    CU(cuModuleGetFunction(&f, mod, "store_at"));
    store(f, p + 8, 14, NULL);
    CU(cuCtxSynchronize());
    EXPECT(((volatile uint32_t *)(uintptr_t)p)[2] == 14);
    CU(cuModuleUnload(mod));
    CU(cuMemFree(p));
    printf("managed memory: done\n");
}

/* A library goes when its kernels have ended, in a context that is nobody's primary one too. */
static void
unloaded_while_it_runs(void)
{
    uint32_t rounds = 3000000, n = 32, got[32], wrong = 0;
    CUlibrary library;
    CUkernel kernel;
    CUdeviceptr p;
    void *params[] = {&p, &rounds, &n};

    CU(cuCtxSetCurrent(second));
    CU(cuMemAlloc(&p, sizeof(got)));
    CU(cuMemsetD32(p, 5, n));
    CU(cuLibraryLoadData(&library, vector_ptx, NULL, NULL, 0, NULL, NULL, 0));
    CU(cuLibraryGetKernel(&kernel, library, "burn"));
    CU(cuLaunchKernel((CUfunction)kernel, 1, 1, 1, 32, 1, 1, 0, NULL, params, NULL));
    CU(cuLibraryUnload(library));
    EXPECT_CU(CUDA_SUCCESS, cuStreamQuery(NULL));
    CU(cuMemcpyDtoH(got, p, sizeof(got)));
    for (uint32_t i = 0; i < n; i++)
        wrong += got[i] != drv_lcg(5, rounds);
    EXPECT(wrong == 0);
    CU(cuMemFree(p));
    printf("unloaded while it runs: %u wrong\n", wrong);
}

/* What belongs to a context that failed says so wherever it is used. */
static void
faulted(void)
{
    CUstream stream;
    CUmodule mod;
    CUfunction f;
    CUevent event;
    int value;

    CU(cuCtxSetCurrent(second));
    CU(cuStreamCreate(&stream, 0));
    CU(cuEventCreate(&event, 0));
    CU(cuModuleLoadData(&mod, misc_ptx));
    CU(cuModuleGetFunction(&f, mod, "store_at"));
    store(f, 0x10, 1, stream);
    EXPECT_CU(CUDA_ERROR_ILLEGAL_ADDRESS, cuCtxSynchronize());
    CU(cuCtxSetCurrent(first));
    EXPECT_CU(CUDA_ERROR_ILLEGAL_ADDRESS, cuStreamGetPriority(stream, &value));
    EXPECT_CU(CUDA_ERROR_ILLEGAL_ADDRESS, cuMemsetD8Async(0x10, 0, 1, stream));
    EXPECT_CU(CUDA_ERROR_ILLEGAL_ADDRESS,
              cuFuncSetAttribute(f, CU_FUNC_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT, 777));
    EXPECT_CU(CUDA_ERROR_ILLEGAL_ADDRESS, cuModuleGetFunction(&f, mod, "nobody"));
    /* They end all the same, and that concerns no other context. */
    EXPECT_CU(CUDA_ERROR_ILLEGAL_ADDRESS, cuStreamDestroy(stream));
    EXPECT_CU(CUDA_ERROR_ILLEGAL_ADDRESS, cuEventDestroy(event));
    CU(cuCtxSynchronize());
    CU(cuModuleLoadData(&mod, misc_ptx));
    CU(cuModuleUnload(mod));
    printf("faulted: done\n");
}

/* Parameters of a kernel while no context of device 0 is there; none comes by it. */
static void
without_a_context(void)
{
    CUlibrary library;
    CUkernel kernel;
    CUcontext ctx;
    size_t offset, size, before, after, total;

    CU(cuInit(0));
    CU(cuCtxCreate_v2(&ctx, 0, 1));
    CU(cuMemGetInfo(&before, &total));
    CU(cuLibraryLoadData(&library, misc_ptx, NULL, NULL, 0, NULL, NULL, 0));
    CU(cuLibraryGetKernel(&kernel, library, "store_at"));
    CU(cuKernelGetParamInfo(kernel, 1, &offset, &size));
    EXPECT(offset == 8 && size == 4);
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuKernelGetParamInfo(kernel, 2, &offset, &size));
    CU(cuMemGetInfo(&after, &total));
    EXPECT(before == after);
    CU(cuCtxDestroy(ctx));
    CU(cuKernelGetParamInfo(kernel, 0, &offset, &size));
    EXPECT(offset == 0 && size == 8);
    CU(cuLibraryUnload(library));
    printf("without a context: done\n");
}

/* What belongs to a context that failed says so, by whatever context it is asked; and the one that
 * asks has not failed for that. */
static void
asked_by_another(void)
{
    const CUDA_ARRAY_DESCRIPTOR desc = {
        .Width = 16, .Height = 16, .Format = CU_AD_FORMAT_UNSIGNED_INT8, .NumChannels = 1};
    const CUDA_ARRAY3D_DESCRIPTOR levels = {
        .Width = 16, .Height = 16, .Format = CU_AD_FORMAT_UNSIGNED_INT8, .NumChannels = 1};
    CUDA_ARRAY_MEMORY_REQUIREMENTS room;
    CUDA_ARRAY_SPARSE_PROPERTIES sparse;
    CUmipmappedArray mipmap;
    CUdevResource resource;
    CUcontext failed;
    CUmodule module;
    CUfunction trap;
    CUevent event;
    CUarray array;
    CUdeviceptr p;
    size_t pitch;

    CU(cuCtxCreate_v2(&failed, 0, 0));
    CU(cuModuleLoadData(&module, misc_ptx));
    CU(cuModuleGetFunction(&trap, module, "trap_now"));
    CU(cuArrayCreate(&array, &desc));
    CU(cuMipmappedArrayCreate(&mipmap, &levels, 2));
    CU(cuEventCreate(&event, 0));
    CU(cuLaunchKernel(trap, 1, 1, 1, 1, 1, 1, 0, NULL, NULL, NULL));
    EXPECT_CU(CUDA_ERROR_LAUNCH_FAILED, cuCtxSynchronize());
    CU(cuCtxSetCurrent(first));
    EXPECT_CU(CUDA_ERROR_LAUNCH_FAILED, cuArrayGetSparseProperties(&sparse, array));
    EXPECT_CU(CUDA_ERROR_LAUNCH_FAILED, cuMipmappedArrayGetMemoryRequirements(&room, mipmap, -1));
    EXPECT_CU(CUDA_ERROR_LAUNCH_FAILED, cuCtxWaitEvent(first, event));
    EXPECT_CU(CUDA_ERROR_LAUNCH_FAILED, cuModuleUnload(module));
    EXPECT_CU(CUDA_ERROR_OUT_OF_MEMORY, cuMemAllocPitch(&p, &pitch, 1ull << 40, 1024, 16));
    CU(cuCtxSynchronize());
    CU(cuCtxDestroy(failed));
    EXPECT_CU(CUDA_ERROR_INVALID_CONTEXT, cuCtxWaitEvent(failed, NULL));
    EXPECT_CU(CUDA_ERROR_INVALID_CONTEXT,
              cuCtxGetDevResource(failed, &resource, CU_DEV_RESOURCE_TYPE_SM));
    printf("asked by another context: done\n");
}

/* A graph's event, recorded by a launch in a stream of another context. */
static void
graph_event_elsewhere(void)
{
    CUgraphExec exec;
    CUgraphNode node;
    CUcontext other;
    CUgraph graph;
    CUstream stream;
    CUevent event;

    CU(cuCtxSetCurrent(first));
    CU(cuEventCreate(&event, 0));
    CU(cuGraphCreate(&graph, 0));
    CU(cuGraphAddEventRecordNode(&node, graph, NULL, 0, event));
    CU(cuGraphInstantiateWithFlags(&exec, graph, 0));
    CU(cuCtxCreate_v2(&other, 0, 0));
    CU(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
    CU(cuGraphLaunch(exec, stream));
    CU(cuStreamSynchronize(stream));
    CU(cuCtxSetCurrent(first));
    CU(cuEventSynchronize(event));
    CU(cuGraphExecDestroy(exec));
    CU(cuGraphDestroy(graph));
    CU(cuCtxDestroy(other));
    CU(cuEventDestroy(event));
    printf("a graph's event, by another context's stream: done\n");
}

/* Host memory stays what it is when its context fails: others reach it, until that one ends. */
static void
host_memory_of_a_failed_one(void)
{
    static uint32_t words[4096] __attribute__((aligned(4096)));
    CUcontext failed, helper;
    CUdeviceptr p, host;
    CUmodule module;
    CUfunction trap;

    CU(cuCtxCreate_v2(&failed, 0, 0));
    CU(cuMemHostRegister(words, sizeof(words), 0));
    CU(cuModuleLoadData(&module, misc_ptx));
    CU(cuModuleGetFunction(&trap, module, "trap_now"));
    CU(cuLaunchKernel(trap, 1, 1, 1, 1, 1, 1, 0, NULL, NULL, NULL));
    EXPECT_CU(CUDA_ERROR_LAUNCH_FAILED, cuCtxSynchronize());
    /* Twice, for the first that reaches it goes. */
    for (uint32_t round = 1; round <= 2; round++) {
        CU(cuCtxCreate_v2(&helper, 0, 0));
        CU(cuMemAlloc(&p, sizeof(words)));
        CU(cuMemsetD32(p, 40 + round, 4096));
        CU(cuMemHostGetDevicePointer(&host, words, 0));
        CU(cuMemcpyDtoD(host, p, 64));
        CU(cuCtxSynchronize());
        EXPECT(words[0] == 40 + round && words[15] == 40 + round);
        words[20] = 7 * round;
        CU(cuMemcpyDtoD(p, host, 128));
        EXPECT(drv_word_at(p + 80) == 7 * round);
        CU(cuCtxSetCurrent(first));
        CU(cuMemsetD32(host, 60 + round, 8));
        CU(cuCtxSynchronize());
        EXPECT(words[7] == 60 + round && words[8] == 40 + round);
        CU(cuCtxDestroy(helper));
    }
    CU(cuCtxSetCurrent(first));
    CU(cuMemsetD32(host, 77, 8));
    CU(cuCtxSynchronize());
    EXPECT(words[7] == 77);
    CU(cuCtxDestroy(failed));
    EXPECT_CU(CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED, cuMemHostUnregister(words));
    EXPECT(words[7] == 77);
    printf("host memory of a context that failed: done\n");
}

int
main(void)
{
    CUdevice dev;

    without_a_context();
    dev = drv_open();
    CU(cuCtxGetCurrent(&first));
    CU(cuCtxCreate_v2(&second, 0, 1));
    on_the_second_device();
    modules_of_a_library();
    pool_of_another_device();
    managed_everywhere();
    unloaded_while_it_runs();
    asked_by_another();
    graph_event_elsewhere();
    host_memory_of_a_failed_one();
    faulted();
    drv_close(dev);
    return drv_result("drv_two_contexts");
}
