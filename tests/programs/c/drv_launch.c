/* tests/programs/c/drv_launch.c -- what can be said with a launch: big and mixed parameters, three
 * dimensions, shared memory, cooperative grids, launch attributes */
#include "drv.h"
#include "misc_ptx.h"

static CUmodule mod;

static CUfunction
kernel(const char *name)
{
    CUfunction f;

    CU(cuModuleGetFunction(&f, mod, name));
    return f;
}

static void
big_parameters(CUdeviceptr out)
{
    struct {
        CUdeviceptr out;
        uint32_t words[1022];
    } p = {.out = out};
    uint32_t got, want = 0;
    void *params[] = {&p.out, p.words};

    for (uint32_t i = 0; i < COUNT_OF(p.words); i++) {
        p.words[i] = drv_lcg(i, 2);
        want += p.words[i] * (i + 1);
    }
    CU(cuLaunchKernel(kernel("big_params"), 1, 1, 1, 1, 1, 1, 0, NULL, params, NULL));
    memset(p.words, 0, sizeof(p.words)); /* captured by the call */
    CU(cuMemcpyDtoH(&got, out, 4));
    EXPECT(got == want);
    printf("4,096 bytes of parameters: sum %u\n", got);
}

static void
mixed_parameters(CUdeviceptr out)
{
    struct {
        uint64_t a, b, c;
    } s = {1, 2, 0x123456789abcdef0};
    uint8_t byte = 200, byte2 = 7;
    uint16_t half = 60000;
    float single = 0.1f;
    double twice = -1e300, d[2];
    uint64_t got[6];
    void *params[] = {&out, &byte, &half, &single, &byte2, &twice, &s};
    CUfunction f = kernel("mixed_params");
    size_t offset, size;

    CU(cuLaunchKernel(f, 1, 1, 1, 1, 1, 1, 0, NULL, params, NULL));
    CU(cuMemcpyDtoH(got, out, sizeof(got)));
    memcpy(&d[0], &got[2], 8);
    memcpy(&d[1], &got[4], 8);
    EXPECT(got[0] == byte && got[1] == half && got[3] == byte2 && got[5] == s.c);
    EXPECT(d[0] == (double)single && d[1] == twice);
    CU(cuFuncGetParamInfo(f, 5, &offset, &size));
    EXPECT(offset == 24 && size == 8);
    CU(cuFuncGetParamInfo(f, 6, &offset, &size));
    EXPECT(offset == 32 && size == 24);
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuFuncGetParamInfo(f, 7, &offset, &size));
    printf("mixed parameters: done\n");
}

static void
pointer_parameters(CUdeviceptr out)
{
    static const size_t offsets[] = {0, 8, 16, 24};
    uint32_t first = 0x12345678, got[2];
    CUdeviceptr second = out + 4;
    uint16_t half = 0xabcd;
    void *params[] = {&first, &out, &half, &second};
    CUfunction f = kernel("pointer_params");
    size_t offset, size;

    for (size_t i = 0; i < COUNT_OF(offsets); i++) {
        CU(cuFuncGetParamInfo(f, i, &offset, &size));
        EXPECT(offset == offsets[i]);
    }
    CU(cuLaunchKernel(f, 1, 1, 1, 1, 1, 1, 0, NULL, params, NULL));
    CU(cuMemcpyDtoH(got, out, sizeof(got)));
    EXPECT(got[0] == first && got[1] == half);
    printf("parameters that say where they point: done\n");
}

static void
check_geometry(CUdeviceptr out, const char *how)
{
    static uint32_t got[3 * 4 * 5 * 2 * 3 * 7];
    uint32_t wrong = 0;

    CU(cuMemcpyDtoH(got, out, sizeof(got)));
    for (uint32_t i = 0; i < COUNT_OF(got); i++)
        wrong += got[i] != ((i / 42) << 16 | i % 42);
    EXPECT(wrong == 0);
    printf("three dimensions by %s: %u wrong\n", how, wrong);
}

static void
geometry(CUdeviceptr out)
{
    void *params[] = {&out};
    CUlaunchAttribute attr = {.id = CU_LAUNCH_ATTRIBUTE_PRIORITY};
    CUlaunchConfig config = {
        .gridDimX = 3,
        .gridDimY = 4,
        .gridDimZ = 5,
        .blockDimX = 2,
        .blockDimY = 3,
        .blockDimZ = 7,
        .attrs = &attr,
        .numAttrs = 1,
    };
    CUfunction f = kernel("geometry");

    CU(cuMemsetD8(out, 0, 65536));
    CU(cuLaunchKernel(f, 3, 4, 5, 2, 3, 7, 0, NULL, params, NULL));
    check_geometry(out, "cuLaunchKernel");
    CU(cuMemsetD8(out, 0, 65536));
    CU(cuLaunchKernelEx(&config, f, params, NULL));
    check_geometry(out, "cuLaunchKernelEx");
}

static void
check_grid_sum(CUdeviceptr sums, uint32_t blocks, const char *how)
{
    uint32_t got[64], want = 0, wrong = 0;

    CU(cuMemcpyDtoH(got, sums, blocks * 4));
    for (uint32_t b = 0; b < blocks; b++)
        want += b * b + 1;
    for (uint32_t b = 0; b < blocks; b++)
        wrong += got[b] != want;
    EXPECT(wrong == 0);
    printf("cooperative by %s: %u wrong\n", how, wrong);
}

static void
cooperative(CUdevice dev, CUdeviceptr out)
{
    CUdeviceptr barrier = out, slots = out + 4096, sums = out + 8192;
    void *params[] = {&barrier, &slots, &sums};
    CUfunction f = kernel("grid_sum");
    int per_sm, sms, allowed;
    uint32_t blocks;

    CU(cuDeviceGetAttribute(&allowed, CU_DEVICE_ATTRIBUTE_COOPERATIVE_LAUNCH, dev));
    CU(cuDeviceGetAttribute(&sms, CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT, dev));
    EXPECT(allowed == 1);
    CU(cuOccupancyMaxActiveBlocksPerMultiprocessor(&per_sm, f, 64, 0));
    EXPECT(per_sm >= 1);
    blocks = (uint32_t)(per_sm * sms) < 64 ? (uint32_t)(per_sm * sms) : 64;

    CU(cuMemsetD8(out, 0, 16384));
    CU(cuLaunchCooperativeKernel(f, blocks, 1, 1, 64, 1, 1, 0, NULL, params));
    check_grid_sum(sums, blocks, "cuLaunchCooperativeKernel");

    CUlaunchAttribute attr = {.id = CU_LAUNCH_ATTRIBUTE_COOPERATIVE, .value.cooperative = 1};
    CUlaunchConfig config = {
        .gridDimX = blocks,
        .gridDimY = 1,
        .gridDimZ = 1,
        .blockDimX = 64,
        .blockDimY = 1,
        .blockDimZ = 1,
        .attrs = &attr,
        .numAttrs = 1,
    };
    CU(cuMemsetD8(out, 0, 16384));
    CU(cuLaunchKernelEx(&config, f, params, NULL));
    check_grid_sum(sums, blocks, "cuLaunchKernelEx");

    EXPECT_CU(CUDA_ERROR_COOPERATIVE_LAUNCH_TOO_LARGE,
              cuLaunchCooperativeKernel(f, (unsigned)(per_sm * sms) + 1, 1, 1, 64, 1, 1, 0, NULL,
                                        params));
}

static void
shared_memory(CUdeviceptr out)
{
    uint32_t words[1024], wrong = 0;
    void *params[] = {&out};

    for (uint32_t i = 0; i < 1024; i++)
        words[i] = i * i;
    CU(cuMemcpyHtoD(out, words, sizeof(words)));
    CU(cuLaunchKernel(kernel("reverse"), 1, 1, 1, 1024, 1, 1, 0, NULL, params, NULL));
    CU(cuMemcpyDtoH(words, out, sizeof(words)));
    for (uint32_t i = 0; i < 1024; i++)
        wrong += words[i] != (1023 - i) * (1023 - i);
    EXPECT(wrong == 0);
    printf("shared memory: %u wrong\n", wrong);
}

int
main(void)
{
    CUdevice dev = drv_open();
    CUdeviceptr out;

    CU(cuModuleLoadData(&mod, misc_ptx));
    CU(cuMemAlloc(&out, 65536));
    big_parameters(out);
    mixed_parameters(out);
    pointer_parameters(out);
    geometry(out);
    shared_memory(out);
    cooperative(dev, out);
    CU(cuMemFree(out));
    CU(cuModuleUnload(mod));
    drv_close(dev);
    return drv_result("drv_launch");
}
