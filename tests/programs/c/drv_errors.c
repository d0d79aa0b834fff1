/* tests/programs/c/drv_errors.c -- wrong arguments get the driver's codes, at the call, and do no
 * harm to what comes after */
#include "drv.h"
#include "misc_ptx.h"

static CUfunction store_at, small_blocks;

static void
launch(CUresult want, CUfunction f, unsigned grid, unsigned block, unsigned shared, int line)
{
    CUdeviceptr p = 0;
    void *params[] = {&p, &p};

    drv_expect_cu(want, cuLaunchKernel(f, grid, 1, 1, block, 1, 1, shared, NULL, params, NULL),
                  "cuLaunchKernel", __FILE__, line);
}

static void
launches(void)
{
    CUdeviceptr p = 0;
    void *params[] = {&p, &p};

    launch(CUDA_ERROR_INVALID_VALUE, store_at, 1, 0, 0, __LINE__);
    launch(CUDA_ERROR_INVALID_VALUE, store_at, 0, 1, 0, __LINE__);
    launch(CUDA_ERROR_INVALID_VALUE, store_at, 1, 1025, 0, __LINE__);
    launch(CUDA_ERROR_INVALID_VALUE, store_at, 1, 1, 1u << 30, __LINE__);
    launch(CUDA_ERROR_INVALID_HANDLE, NULL, 1, 1, 0, __LINE__);
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE,
              cuLaunchKernel(store_at, 1, 65536, 1, 1, 1, 1, 0, NULL, params, NULL));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE,
              cuLaunchKernel(store_at, 1, 1, 1, 1, 1, 65, 0, NULL, params, NULL));
    CUresult cr = cuLaunchKernel(small_blocks, 1, 1, 1, 129, 1, 1, 0, NULL, params, NULL);
    EXPECT(cr == CUDA_ERROR_INVALID_VALUE || cr == CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES);
    printf("launches: done\n");
}

static void
memory(void)
{
    CUdeviceptr p, q;
    size_t size, free_bytes, total;
    char host[16];

    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuMemAlloc(&p, 0));
    CU(cuMemGetInfo(&free_bytes, &total));
    EXPECT_CU(CUDA_ERROR_OUT_OF_MEMORY, cuMemAlloc(&p, total * 2));
    EXPECT_CU(CUDA_ERROR_OUT_OF_MEMORY, cuMemAlloc(&p, (size_t)1 << 60));

    CU(cuMemAlloc(&p, 1000));
    CU(cuMemGetAddressRange(&q, &size, p + 999));
    EXPECT(q == p && size == 1000);
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuMemFree(p + 8));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuMemcpyHtoD(p, host, (size_t)1 << 40));
    CU(cuMemFree(p));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuMemFree(p));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuMemsetD8(16, 0, 16));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuMemcpyDtoH(host, 16, 16));
    CU(cuMemFree(0)); /* like free(NULL) */
    printf("memory: done\n");
}

static void
null_arguments(void)
{
    CUdevice dev;
    CUmodule mod;

    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuDeviceGetCount(NULL));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuDeviceGet(NULL, 0));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuMemAlloc(NULL, 16));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuStreamCreate(NULL, 0));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuEventCreate(NULL, 0));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuModuleLoadData(NULL, misc_ptx));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuModuleLoadData(&mod, NULL));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuInit(1));
    /* As every driver answers. */
    EXPECT_CU(CUDA_ERROR_NOT_SUPPORTED, cuProfilerInitialize("in", "out", CU_OUT_CSV));
    CU(cuDeviceGet(&dev, 0));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE,
              cuDeviceGetAttribute(NULL, CU_DEVICE_ATTRIBUTE_WARP_SIZE, dev));
    int value;
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE,
              cuDeviceGetAttribute(&value, (CUdevice_attribute)9999, dev));
    EXPECT_CU(CUDA_ERROR_INVALID_DEVICE,
              cuDeviceGetAttribute(&value, CU_DEVICE_ATTRIBUTE_WARP_SIZE, 4711));
    printf("null arguments: done\n");
}

static void
images(void)
{
    static const char noise[64] = "\x01\x02this is neither PTX nor an ELF file";
    CUresult cr;
    CUmodule mod;

    cr = cuModuleLoadData(&mod, noise);
    EXPECT(cr == CUDA_ERROR_INVALID_IMAGE || cr == CUDA_ERROR_INVALID_PTX);
    EXPECT_CU(CUDA_ERROR_INVALID_PTX,
              cuModuleLoadData(&mod, ".version 7.0\n.target sm_70\n.address_size 64\nnonsense\n"));
    printf("images: done\n");
}

static void
without_context(void)
{
    CUcontext ctx;
    CUdeviceptr p;
    CUstream s;

    CU(cuCtxGetCurrent(&ctx));
    CU(cuCtxSetCurrent(NULL));
    EXPECT_CU(CUDA_ERROR_INVALID_CONTEXT, cuMemAlloc(&p, 16));
    EXPECT_CU(CUDA_ERROR_INVALID_CONTEXT, cuStreamCreate(&s, 0));
    EXPECT_CU(CUDA_ERROR_INVALID_CONTEXT, cuCtxSynchronize());
    CU(cuCtxSetCurrent(ctx));
    printf("without a context: done\n");
}

static void
before_init(void)
{
    CUdevice dev;
    int count;

    EXPECT_CU(CUDA_ERROR_NOT_INITIALIZED, cuDeviceGetCount(&count));
    EXPECT_CU(CUDA_ERROR_NOT_INITIALIZED, cuDeviceGet(&dev, 0));
    EXPECT_CU(CUDA_ERROR_NOT_INITIALIZED, cuProfilerInitialize("in", "out", CU_OUT_CSV));
    EXPECT_CU(CUDA_ERROR_NOT_INITIALIZED, cuMemBatchDecompressAsync(NULL, 0, 0, NULL, NULL));
    printf("before cuInit: done\n");
}

/* After all these refusals the device still works. */
static void
still_works(void)
{
    CUdeviceptr p;
    uint32_t value = 4711, got = 0;
    void *params[] = {&p, &value};

    CU(cuMemAlloc(&p, 4));
    CU(cuLaunchKernel(store_at, 1, 1, 1, 1, 1, 1, 0, NULL, params, NULL));
    CU(cuMemcpyDtoH(&got, p, 4));
    EXPECT(got == 4711);
    CU(cuMemFree(p));
    printf("still works: %u\n", got);
}

int
main(void)
{
    before_init();
    CUdevice dev = drv_open();

    store_at = drv_kernel(misc_ptx, "store_at");
    small_blocks = drv_kernel(misc_ptx, "small_blocks");
    launches();
    memory();
    null_arguments();
    images();
    without_context();
    still_works();
    drv_close(dev);
    return drv_result("drv_errors");
}
