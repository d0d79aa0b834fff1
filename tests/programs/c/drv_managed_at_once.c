/* tests/programs/c/drv_managed_at_once.c -- managed memory that host and kernels change at once
 *
 * Nobody says that the host has to wait for a kernel that it launched: straight on the device both
 * reach the same words. What both did must be there in the end.
 */
#include "drv.h"
#include "coherent_ptx.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    SUMS = 8,
    KERNELS = 256, /* threads on the device, each with a word of its own */
    OFTEN = 2000,
    HOSTS = 4, /* threads of the program */
    OWN = SUMS + HOSTS,
    WORDS = OWN + KERNELS,
};

static CUfunction add_often, await, publish;

static uint32_t *
host(CUdeviceptr p)
{
    return (uint32_t *)(uintptr_t)p;
}

static void
launch_often(CUdeviceptr p, CUstream s)
{
    CUdeviceptr own = p + OWN * 4;
    uint32_t k = OFTEN;
    void *params[] = {&p, &own, &k};

    drv_launch(add_often, KERNELS, s, params);
}

struct part {
    CUdeviceptr p;
    uint32_t at;
};

static void *
count(void *arg)
{
    const struct part *part = arg;

    for (uint32_t i = 0; i < 100; i++)
        for (uint32_t k = 0; k < SUMS; k++)
            __atomic_fetch_add(&host(part->p)[k], 3, __ATOMIC_SEQ_CST);
    host(part->p)[SUMS + part->at] += 1;
    return NULL;
}

/* Words that both change, words of each side, all in one page. */
static void
at_once(CUdeviceptr p, const char *what)
{
    uint32_t wrong = 0, rounds = 3;
    struct part part[HOSTS];
    pthread_t thread[HOSTS];

    for (uint32_t i = 0; i < WORDS; i++)
        host(p)[i] = 0;
    for (uint32_t round = 0; round < rounds; round++) {
        launch_often(p, NULL);
        for (uint32_t t = 0; t < HOSTS; t++) {
            part[t] = (struct part){p, t};
            pthread_create(&thread[t], NULL, count, &part[t]);
        }
        for (uint32_t t = 0; t < HOSTS; t++)
            pthread_join(thread[t], NULL);
    }
    CU(cuCtxSynchronize());
    for (uint32_t i = 0; i < SUMS; i++)
        wrong += host(p)[i] != rounds * (KERNELS / SUMS * OFTEN + HOSTS * 300);
    for (uint32_t i = 0; i < HOSTS; i++)
        wrong += host(p)[SUMS + i] != rounds;
    for (uint32_t i = 0; i < KERNELS; i++)
        wrong += host(p)[OWN + i] != rounds * OFTEN;
    EXPECT(wrong == 0);
    printf("%s at once: %u wrong\n", what, wrong);
}

static void
launch_await(uint32_t *flag, CUdeviceptr value, CUdeviceptr out, CUstream s)
{
    uint32_t k = 1;
    CUdeviceptr at;
    void *params[] = {&at, &k, &value, &out};

    CU(cuMemHostGetDevicePointer(&at, flag, 0));
    CU(cuLaunchKernel(await, 1, 1, 1, 1, 1, 1, 0, s, params, NULL));
}

/* The kernel waits for what the program does after its touch: that goes on, and what either side
 * changed of a page stays. */
static void
in_vain(void)
{
    uint32_t *flag, wrong = 0, n = 8, k = 5;
    CUdeviceptr p, data, own;
    CUstream s;

    CU(cuStreamCreate(&s, CU_STREAM_NON_BLOCKING));
    CU(cuMemHostAlloc((void **)&flag, 4096, CU_MEMHOSTALLOC_DEVICEMAP));
    CU(cuMemAllocManaged(&p, 4096, CU_MEM_ATTACH_GLOBAL));
    for (uint32_t i = 0; i < 1024; i++)
        host(p)[i] = i;
    *flag = 0;
    data = p + 400;
    own = p + 4000;
    launch_await(flag, p + 4, p + 2000, s);
    void *params[] = {&data, &n, &own, &k};
    CU(cuLaunchKernel(publish, 1, 1, 1, 1, 1, 1, 0, s, params, NULL));
    for (uint32_t i = 0; i < 8; i++)
        host(p)[200 + i] = 77;
    host(p)[999] = 78;
    __atomic_store_n(flag, 1, __ATOMIC_RELEASE);
    CU(cuStreamSynchronize(s));
    for (uint32_t i = 0; i < 1024; i++) {
        uint32_t want = i >= 100 && i < 108 ? 5 : i == 500 ? 1 : i == 1000 ? 5 : i;

        want = i >= 200 && i < 208 ? 77 : i == 999 ? 78 : want;
        wrong += host(p)[i] != want;
    }
    EXPECT(wrong == 0);
    printf("in vain: %u wrong\n", wrong);
    CU(cuMemFree(p));
    CU(cuMemFreeHost(flag));
    CU(cuStreamDestroy(s));
}

struct release {
    CUdeviceptr p;
    uint32_t *flag, saw;
};

static void
release(void *arg)
{
    struct release *r = arg;

    r->saw = host(r->p)[3];
    host(r->p)[4] = 44;
    __atomic_store_n(r->flag, 1, __ATOMIC_RELEASE);
}

/* A host function touches the memory, and the kernel in another stream waits for that function:
 * the function must not wait, while the program does. */
static void
by_function(void)
{
    struct release r = {0};
    CUstream s[2];

    for (int i = 0; i < 2; i++)
        CU(cuStreamCreate(&s[i], CU_STREAM_NON_BLOCKING));
    CU(cuMemHostAlloc((void **)&r.flag, 4096, CU_MEMHOSTALLOC_DEVICEMAP));
    CU(cuMemAllocManaged(&r.p, 8192, CU_MEM_ATTACH_GLOBAL));
    for (uint32_t i = 0; i < 2048; i++)
        host(r.p)[i] = i;
    *r.flag = 0;
    launch_await(r.flag, r.p + 12, r.p + 8000, s[0]);
    CU(cuLaunchHostFunc(s[1], release, &r));
    host(r.p)[5] += 50;
    CU(cuCtxSynchronize());
    EXPECT(r.saw == 3 && host(r.p)[4] == 44 && host(r.p)[5] == 55 && host(r.p)[2000] == 3);
    printf("by function: %u %u %u %u\n", r.saw, host(r.p)[4], host(r.p)[5], host(r.p)[2000]);
    CU(cuMemFree(r.p));
    CU(cuMemFreeHost(r.flag));
    for (int i = 0; i < 2; i++)
        CU(cuStreamDestroy(s[i]));
}

static CUdevice
begin(CUmodule *mod_p)
{
    CUdevice dev = drv_open();

    CU(cuModuleLoadData(mod_p, coherent_ptx));
    CU(cuModuleGetFunction(&add_often, *mod_p, "add_often"));
    CU(cuModuleGetFunction(&await, *mod_p, "await"));
    CU(cuModuleGetFunction(&publish, *mod_p, "publish"));
    return dev;
}

/* In a process of its own, for how long a touch waits is read once. */
static void
waiting(const char *wait, void (*test)(void))
{
    pid_t child = fork();
    int status = -1;

    if (child == 0) {
        CUmodule mod;
        CUdevice dev;

        setenv("GPUPOOL_MANAGED_WAIT", wait, 1);
        dev = begin(&mod);
        test();
        drv_close(dev);
        exit(drv_result("child"));
    }
    waitpid(child, &status, 0);
    EXPECT(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

int
main(void)
{
    CUdeviceptr p;
    CUlibrary lib;
    CUmodule mod;
    CUdevice dev;
    size_t size;

    waiting("100ms", in_vain);
    waiting("10m", by_function);
    dev = begin(&mod);
    CU(cuMemAllocManaged(&p, WORDS * 4, CU_MEM_ATTACH_GLOBAL));
    at_once(p, "memory");
    CU(cuMemFree(p));
    CU(cuLibraryLoadData(&lib, coherent_ptx, NULL, NULL, 0, NULL, NULL, 0));
    CU(cuLibraryGetManaged(&p, &size, lib, "shared_sums"));
    at_once(p, "variable");
    CU(cuLibraryUnload(lib));
    drv_close(dev);
    return drv_result("drv_managed_at_once");
}
