/* tests/programs/c/drv_fault.c -- a kernel that goes wrong poisons its context and nothing else
 *
 * Each case runs in a process of its own, forked before CUDA was touched. */
#include "drv.h"
#include "misc_ptx.h"

#include <unistd.h>

/* What every call says from now on. */
static void
context_is_poisoned(CUresult want, CUkernel kernel)
{
    CUfunction f;
    CUdeviceptr p;
    CUevent e;

    EXPECT_CU(want, cuCtxSynchronize());
    EXPECT_CU(want, cuMemAlloc(&p, 16));
    EXPECT_CU(want, cuStreamSynchronize(NULL));
    EXPECT_CU(want, cuEventCreate(&e, 0));
    EXPECT_CU(want, cuKernelGetFunction(&f, kernel));
}

static int
fault(const char *kernel, CUdeviceptr where, CUresult want)
{
    CUdevice dev = drv_open();
    uint32_t value = 1;
    void *params[] = {&where, &value};
    CUlibrary library;
    CUkernel of_library;

    CU(cuLibraryLoadData(&library, misc_ptx, NULL, NULL, 0, NULL, NULL, 0));
    CU(cuLibraryGetKernel(&of_library, library, kernel));
    CU(cuLaunchKernel(drv_kernel(misc_ptx, kernel), 1, 1, 1, 1, 1, 1, 0, NULL, params, NULL));
    context_is_poisoned(want, of_library);

    /* a reset of the primary context heals it */
    CU(cuDevicePrimaryCtxReset(dev));
    CUcontext ctx;
    CUdeviceptr p;
    uint32_t got = 0;
    CU(cuDevicePrimaryCtxRetain(&ctx, dev));
    CU(cuCtxSetCurrent(ctx));
    CU(cuMemAlloc(&p, 16));
    CU(cuMemsetD32(p, 77, 4));
    CU(cuMemcpyDtoH(&got, p, 4));
    EXPECT(got == 77);
    return drv_result(kernel);
}

static int
null_store(void)
{
    return fault("store_at", 0, CUDA_ERROR_ILLEGAL_ADDRESS);
}

static int
misaligned_store(void)
{
    return fault("store_at", 0x1001, CUDA_ERROR_MISALIGNED_ADDRESS);
}

static int
freed_store(void)
{
    CUdevice dev = drv_open();
    CUdeviceptr big;

    /* its middle is far from anything that may be allocated in its place */
    CU(cuMemAlloc(&big, 64ul << 20));
    CU(cuMemFree(big));
    drv_close(dev);
    return fault("store_at", big + (32ul << 20), CUDA_ERROR_ILLEGAL_ADDRESS);
}

static int
trap(void)
{
    return fault("trap_now", 0, CUDA_ERROR_LAUNCH_FAILED);
}

/* What no context is needed for goes on: an allocation of a pool is told to other programs. */
static int
exported(void)
{
    CUmemPoolProps props = {.allocType = CU_MEM_ALLOCATION_TYPE_PINNED,
                            .handleTypes = CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR,
                            .location = {CU_MEM_LOCATION_TYPE_DEVICE, 0}};
    CUmemPoolPtrExportData before, after;
    CUdeviceptr memory, word, nowhere = 0;
    uint32_t value = 1;
    void *params[] = {&nowhere, &value};
    CUipcMemHandle handle;
    CUmemoryPool pool;
    int fd = -1;

    drv_open();
    CU(cuMemPoolCreate(&pool, &props));
    CU(cuMemAllocFromPoolAsync(&memory, 4096, pool, NULL));
    CU(cuMemAlloc(&word, 4));
    CU(cuCtxSynchronize());
    CU(cuMemPoolExportPointer(&before, memory));
    CU(cuMemcpyHtoD(memory, &value, 4)); /* something to wait for, had it not failed */
    CU(cuLaunchKernel(drv_kernel(misc_ptx, "store_at"), 1, 1, 1, 1, 1, 1, 0, NULL, params, NULL));
    EXPECT_CU(CUDA_ERROR_ILLEGAL_ADDRESS, cuCtxSynchronize());
    CU(cuMemPoolExportPointer(&after, memory));
    EXPECT(memcmp(&before, &after, sizeof(before)) == 0);
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuMemPoolExportPointer(&after, memory + 4));
    CU(cuMemPoolExportToShareableHandle(&fd, pool, CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR, 0));
    close(fd);
    EXPECT_CU(CUDA_ERROR_ILLEGAL_ADDRESS, cuIpcGetMemHandle(&handle, word));
    return drv_result("exported");
}

/* A stream of a green context goes as any other does, and no other context hears of it; the green
 * context says what happened where it is named. */
static int
green_stream(void)
{
    CUdeviceptr nowhere = 0, word;
    uint32_t value = 7, got = 0;
    void *params[] = {&nowhere, &value};
    CUgraphConditionalHandle condition;
    CUcontext failed, other, as_plain;
    CUdevResourceDesc desc;
    CUfunction store;
    CUdevResource sms;
    CUgreenCtx green;
    CUgraph graph;
    CUstream s;

    drv_open();
    CU(cuCtxGetCurrent(&failed));
    store = drv_kernel(misc_ptx, "store_at");
    CU(cuDeviceGetDevResource(0, &sms, CU_DEV_RESOURCE_TYPE_SM));
    CU(cuDevResourceGenerateDesc(&desc, &sms, 1));
    CU(cuGreenCtxCreate(&green, desc, 0, CU_GREEN_CTX_DEFAULT_STREAM));
    CU(cuGreenCtxStreamCreate(&s, green, CU_STREAM_NON_BLOCKING, 0));
    CU(cuCtxFromGreenCtx(&as_plain, green));
    CU(cuGraphCreate(&graph, 0));
    CU(cuCtxCreate_v2(&other, 0, 0));
    CU(cuMemAlloc(&word, 4));
    CU(cuMemsetD32(word, 7, 1));
    CU(cuCtxSetCurrent(failed));
    CU(cuLaunchKernel(store, 1, 1, 1, 1, 1, 1, 0, s, params, NULL));
    EXPECT_CU(CUDA_ERROR_ILLEGAL_ADDRESS, cuStreamSynchronize(s));
    EXPECT_CU(CUDA_ERROR_ILLEGAL_ADDRESS, cuStreamDestroy(s));
    EXPECT_CU(CUDA_ERROR_INVALID_HANDLE, cuStreamDestroy(s));
    EXPECT_CU(CUDA_ERROR_ILLEGAL_ADDRESS,
              cuGraphConditionalHandleCreate(&condition, graph, as_plain, 0, 0));
    CU(cuGraphDestroy(graph));
    CU(cuCtxSetCurrent(other));
    CU(cuMemcpyDtoH(&got, word, 4));
    CU(cuCtxSynchronize());
    EXPECT(got == 7);
    return drv_result("green stream");
}

/* An executable graph of a context that has failed is not changed any more. */
static int
executable(void)
{
    CUDA_MEMSET_NODE_PARAMS fill = {.elementSize = 4, .width = 1, .height = 1};
    CUgraphExecUpdateResultInfo info;
    CUdeviceptr nowhere = 0;
    uint32_t value = 7;
    void *params[] = {&nowhere, &value};
    CUgraph graph, empty;
    CUgraphNode node;
    CUgraphExec exec;
    CUcontext ctx;

    drv_open();
    CU(cuCtxGetCurrent(&ctx));
    CU(cuMemAlloc(&fill.dst, 4));
    CU(cuGraphCreate(&graph, 0));
    CU(cuGraphCreate(&empty, 0));
    CU(cuGraphAddMemsetNode(&node, graph, NULL, 0, &fill, ctx));
    CU(cuGraphInstantiateWithFlags(&exec, graph, 0));
    CU(cuGraphExecUpdate_v2(exec, graph, &info));
    CU(cuGraphNodeSetEnabled(exec, node, 0));
    CU(cuLaunchKernel(drv_kernel(misc_ptx, "store_at"), 1, 1, 1, 1, 1, 1, 0, NULL, params, NULL));
    EXPECT_CU(CUDA_ERROR_ILLEGAL_ADDRESS, cuCtxSynchronize());
    EXPECT_CU(CUDA_ERROR_ILLEGAL_ADDRESS, cuGraphExecUpdate_v2(exec, graph, &info));
    EXPECT_CU(CUDA_ERROR_ILLEGAL_ADDRESS, cuGraphExecUpdate_v2(exec, empty, &info));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuGraphExecUpdate_v2(exec, NULL, &info));
    EXPECT_CU(CUDA_ERROR_ILLEGAL_ADDRESS, cuGraphNodeSetEnabled(exec, node, 1));
    return drv_result("executable");
}

int
main(void)
{
    static const struct {
        const char *name;
        int (*body)(void);
    } cases[] = {
        {"null store", null_store},
        {"misaligned store", misaligned_store},
        {"store to freed memory", freed_store},
        {"trap", trap},
        {"exported", exported},
        {"a green context's stream", green_stream},
        {"an executable graph", executable},
    };

    int status[COUNT_OF(cases)];

    for (size_t i = 0; i < COUNT_OF(cases); i++)
        status[i] = drv_in_child(cases[i].body);
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        EXPECT(status[i] == 0);
        printf("%s: status %d\n", cases[i].name, status[i]);
    }
    return drv_result("drv_fault");
}
