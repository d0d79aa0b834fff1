/* tests/unit/dev/test_profile.c -- the profile: what the INI file says of each device, and holds */
#include "tests/unit/dev/dev_test.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

/* The process's profile is this text. */
static void
profile(const char *text)
{
    char path[] = "/tmp/gpupool-profile-XXXXXX";
    int fd = mkstemp(path);

    cr_assert_geq(fd, 0);
    cr_assert_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
    setenv("GPUPOOL_SOFT_PROFILE", path, 1);
    /* It is read once, by cuInit, whose outcome the caller looks at. */
    (void)cuInit(0);
    unlink(path);
}

static int
attribute(CUdevice_attribute what, CUdevice device)
{
    int value = -1;

    ok(cuDeviceGetAttribute(&value, what, device));
    return value;
}

Test(profile, says_what_each_device_is)
{
    char name[64];
    size_t bytes;
    int count;

    profile("[device]\ndevices = 3\nname = Plain\nmemory = 64m\ncompute_capability = 9.0\n"
            "multiprocessors = 7\n"
            "[device 1] ; the second one is another\nname = Other\nmemory = 32m\n"
            "compute_capability = 12.1\nmultiprocessors = 2\n");
    ok(cuInit(0));
    ok(cuDeviceGetCount(&count));
    cr_assert_eq(count, 3);
    for (int device = 0; device < 3; device++) {
        bool other = device == 1;

        ok(cuDeviceGetName(name, sizeof(name), device));
        cr_expect_str_eq(name, other ? "Other" : "Plain");
        ok(cuDeviceTotalMem_v2(&bytes, device));
        cr_expect_eq(bytes, (other ? 32 : 64) * (size_t)MIB);
        cr_expect_eq(attribute(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, device),
                     other ? 12 : 9);
        cr_expect_eq(attribute(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR, device),
                     other ? 1 : 0);
        cr_expect_eq(attribute(CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT, device), other ? 2 : 7);
    }
}

Test(profile, of_the_environment_goes_first)
{
    size_t bytes;

    setenv("GPUPOOL_SOFT_MEMORY", "16m", 1);
    profile("[device]\nmemory = 64m\n");
    ok(cuInit(0));
    ok(cuDeviceTotalMem_v2(&bytes, 0));
    cr_expect_eq(bytes, 16 * (size_t)MIB);
}

Test(profile, without_a_word_is_above_all_machine_code)
{
    ok(cuInit(0));
    cr_expect_eq(attribute(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, 0), 13);
    cr_expect_eq(attribute(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR, 0), 0);
}

/* A wrong line is no device, not a device that was not asked for. */
static void
refuses(const char *text)
{
    profile(text);
    cr_expect_neq(cuInit(0), CUDA_SUCCESS, "%s", text);
}

Test(profile, with_an_unknown_key_is_no_device)
{
    refuses("[device]\ncores = 7\n");
}

Test(profile, with_an_unknown_section_is_no_device)
{
    refuses("[gpu]\nmemory = 64m\n");
}

Test(profile, with_a_wrong_number_is_no_device)
{
    refuses("[device]\nmultiprocessors = 0\n");
}

Test(profile, that_is_not_there_is_no_device)
{
    setenv("GPUPOOL_SOFT_PROFILE", "/nonexistent/profile.ini", 1);
    cr_expect_neq(cuInit(0), CUDA_SUCCESS);
}

/* A kernel of PTX for 9.0 is none for a device of 7.5. */
Test(profile, bounds_the_code_that_runs)
{
    static const char text[] = ".version 8.0\n.target sm_90\n.address_size 64\n"
                               ".visible .entry nothing() { ret; }\n";
    CUmodule module;
    CUcontext ctx;

    profile("[device]\ncompute_capability = 7.5\n");
    ok(cuInit(0));
    ok(cuDevicePrimaryCtxRetain(&ctx, 0));
    ok(cuCtxSetCurrent(ctx));
    cr_expect_neq(cuModuleLoadData(&module, text), CUDA_SUCCESS);
}

/* Kernels do not run, grids and copies are all the same checked, ordered and done. */
Test(profile, of_instant_runs_no_kernel)
{
    uint32_t words[2] = {5, 6};
    struct dev d;
    CUdeviceptr p;

    profile("[device]\ninstant = yes\n");
    d = dev_open();
    ok(cuMemAlloc_v2(&p, 1024));
    ok(cuMemcpyHtoD_v2(p, words, sizeof(words)));
    ok(dev_launch(d.fill, p, 2, 99, NULL));
    ok(dev_launch(d.fill, 64, 2, 99, NULL)); /* nor does a wild one fault */
    ok(cuCtxSynchronize());
    cr_expect_eq(dev_word(p, 0), 5);
    ok(cuMemsetD32_v2(p, 8, 1));
    cr_expect_eq(dev_word(p, 0), 8);
    cr_expect_eq(dev_word(p, 1), 6);
    fails(cuLaunchKernel(d.fill, 1, 1, 1, 2048, 1, 1, 0, NULL, NULL, NULL),
          CUDA_ERROR_INVALID_VALUE);
    dev_close(&d);
}

/* The bytes between what was asked for and 512 are there, or not. */
static CUresult
beyond_the_end(const char *text)
{
    struct dev d;
    CUdeviceptr p;

    profile(text);
    d = dev_open();
    ok(cuMemAlloc_v2(&p, 100));
    ok(dev_launch(d.fill, p, 25, 1, NULL));
    ok(cuCtxSynchronize());
    ok(dev_launch(d.fill, p + 4, 25, 1, NULL));
    return cuCtxSynchronize();
}

Test(profile, of_strict_ends_an_allocation_where_it_ends)
{
    fails(beyond_the_end("[device]\nstrict = yes\n"), CUDA_ERROR_ILLEGAL_ADDRESS);
}

Test(profile, without_strict_ends_it_at_the_next_512_bytes)
{
    ok(beyond_the_end("[device]\nstrict = no\n"));
}

/* Work takes its modelled time, not less and, by events, hardly more: the machine's load is no part
 * of it. */
static float
milliseconds(struct dev *d, CUdeviceptr p, uint32_t threads, unsigned launches)
{
    CUevent from, to;
    float ms = 0;

    ok(cuEventCreate(&from, 0));
    ok(cuEventCreate(&to, 0));
    ok(cuEventRecord(from, NULL));
    for (unsigned i = 0; i < launches; i++)
        ok(dev_launch(d->fill, p, threads, 1, NULL));
    ok(cuEventRecord(to, NULL));
    ok(cuEventSynchronize(to));
    ok(cuEventElapsedTime_v2(&ms, from, to));
    ok(cuEventDestroy_v2(from));
    ok(cuEventDestroy_v2(to));
    return ms;
}

/* A driver works for a launch; whoever launches waits for it, and nobody else does. */
Test(profile, of_a_submit_cost_has_launches_take_it)
{
    struct timespec from, to;
    struct dev d;
    CUdeviceptr p;

    profile("[device]\ninstant = yes\nsubmit_cost = 3ms\n");
    d = dev_open();
    ok(cuMemAlloc_v2(&p, 1024));
    ok(cuCtxSynchronize());
    clock_gettime(CLOCK_MONOTONIC, &from);
    for (int i = 0; i < 10; i++)
        ok(dev_launch(d.fill, p, 2, 1, NULL));
    clock_gettime(CLOCK_MONOTONIC, &to);
    cr_expect_geq((to.tv_sec - from.tv_sec) * 1e3 + (to.tv_nsec - from.tv_nsec) / 1e6, 30.0);
    dev_close(&d);
}

Test(profile, models_the_time_of_kernels)
{
    struct dev d;
    CUdeviceptr p;

    profile("[device]\ninstant = yes\nlaunch_cost = 2ms\nthread_rate = 1000000\n");
    d = dev_open();
    ok(cuMemAlloc_v2(&p, 1 << 20));
    /* A launch is 2 ms, 25,600 threads 25.6 ms, 128 an eighth of one. */
    cr_expect_float_eq(milliseconds(&d, p, 25600, 2), 55.2f, 1.0f);
    cr_expect_float_eq(milliseconds(&d, p, 128, 10), 21.28f, 1.0f);
    dev_close(&d);
}
