/* tests/programs/c/drv_managed.c -- managed memory, touched by host and device in turn */
#include "drv.h"
#include "coherent_ptx.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#define N (1u << 18)

static CUfunction add_to, walk, add_shared;
static CUmodule mod;

static void
add(CUdeviceptr p, uint32_t n, uint32_t k, CUstream s)
{
    void *params[] = {&p, &n, &k};

    drv_launch(add_to, n, s, params);
}

static uint32_t *
host(CUdeviceptr p)
{
    return (uint32_t *)(uintptr_t)p;
}

static void
in_turn(void)
{
    uint32_t wrong = 0;
    CUdeviceptr p;

    CU(cuMemAllocManaged(&p, N * 4, CU_MEM_ATTACH_GLOBAL));
    for (uint32_t i = 0; i < N; i++)
        host(p)[i] = i;
    for (uint32_t round = 1; round <= 5; round++) {
        add(p, N, round, NULL);
        CU(cuCtxSynchronize());
        for (uint32_t i = 0; i < N; i++) {
            wrong += host(p)[i] != i + round * (round + 1) - 1;
            host(p)[i] += round + 1;
        }
    }
    EXPECT(wrong == 0);
    printf("in turn: %u wrong\n", wrong);
    CU(cuMemFree(p));
}

/* Only some words, from both sides, also in one page; backwards; at random. */
static void
here_and_there(void)
{
    uint32_t wrong = 0, *mirror = calloc(N, 4), seed = 1;
    CUdeviceptr p;

    CU(cuMemAllocManaged(&p, N * 4, CU_MEM_ATTACH_GLOBAL));
    memset(host(p), 0, N * 4);
    for (uint32_t round = 0; round < 20; round++) {
        for (int i = 0; i < 50; i++) {
            uint32_t at = (seed = drv_lcg(seed, 1)) % N;

            host(p)[at] += at;
            mirror[at] += at;
        }
        uint32_t from = (seed = drv_lcg(seed, 1)) % (N - 1000);

        add(p + from * 4, 1000, 3, NULL);
        for (uint32_t i = 0; i < 1000; i++)
            mirror[from + i] += 3;
        CU(cuStreamSynchronize(NULL));
        for (uint32_t i = N; i-- > 0;)
            wrong += round % 5 == 4 && host(p)[i] != mirror[i];
    }
    EXPECT(wrong == 0);
    printf("here and there: %u wrong\n", wrong);
    CU(cuMemFree(p));
    free(mirror);
}

/* Copies, fills and parameters that lie in managed memory. */
static void
calls_on_it(void)
{
    uint32_t plain[1000], wrong = 0;
    CUdeviceptr p, q, d;
    void **params;

    CU(cuMemAllocManaged(&p, 1 << 20, CU_MEM_ATTACH_GLOBAL));
    CU(cuMemAllocManaged(&q, 4096, CU_MEM_ATTACH_GLOBAL));
    memset(host(q), 0, 4096);
    CU(cuMemAlloc(&d, 1 << 20));
    for (uint32_t i = 0; i < 1000; i++)
        host(p)[i] = i;
    CU(cuMemcpyHtoD(d, host(p), 4000));
    add(d, 1000, 1, NULL);
    CU(cuMemcpyDtoH(host(p) + 2000, d, 4000));
    for (uint32_t i = 0; i < 1000; i++)
        wrong += host(p)[2000 + i] != i + 1;
    CU(cuMemcpyDtoH(plain, p + 8000, 4000));
    for (uint32_t i = 0; i < 1000; i++)
        wrong += plain[i] != i + 1;
    CU(cuMemsetD32(p + 4000, 5, 1000));
    CU(cuCtxSynchronize());
    for (uint32_t i = 0; i < 1000; i++)
        wrong += host(p)[i] != i || host(p)[1000 + i] != 5;
    host(p)[1500] = 6;
    CU(cuMemcpy(p, p + 4000, 4000));
    for (uint32_t i = 0; i < 1000; i++)
        wrong += host(p)[i] != (i == 500 ? 6 : 5);
    CUDA_MEMCPY2D rows = {.srcMemoryType = CU_MEMORYTYPE_HOST,
                          .srcHost = host(p),
                          .srcPitch = 400,
                          .dstMemoryType = CU_MEMORYTYPE_DEVICE,
                          .dstDevice = d,
                          .dstPitch = 512,
                          .WidthInBytes = 400,
                          .Height = 10};
    host(p)[7] = 77;
    CU(cuMemcpy2D(&rows));
    CU(cuMemcpyDtoH(plain, d, 400));
    wrong += plain[7] != 77 || plain[6] != 5;
    /* What a launch is told lies where the last kernel wrote. */
    params = (void **)(uintptr_t)q;
    params[0] = &params[8];
    params[1] = &params[9];
    params[2] = &params[10];
    memcpy(&params[8], &p, 8);
    memcpy(&params[9], &(uint32_t){1000}, 4);
    memcpy(&params[10], &(uint32_t){10}, 4);
    add(q + 2048, 8, 1, NULL);
    CU(cuLaunchKernel(add_to, 8, 1, 1, 128, 1, 1, 0, NULL, params, NULL));
    CU(cuCtxSynchronize());
    wrong += host(p)[0] != 15 || host(p)[999] != 15 || host(q)[512] != 1;
    EXPECT(wrong == 0);
    printf("copies, fills, parameters: %u wrong\n", wrong);
    CU(cuMemFree(p));
    CU(cuMemFree(q));
    CU(cuMemFree(d));
}

/* The kernel does not wait for a page that a handler would bring. */
static void
system_calls(void)
{
    uint32_t n = 100000, wrong = 0;
    char name[] = "/tmp/gpupool-managed-XXXXXX";
    int fd = mkstemp(name);
    struct iovec iov[2];
    CUdeviceptr p;
    FILE *file;

    unlink(name);
    CU(cuMemAllocManaged(&p, 2 * n * 4, CU_MEM_ATTACH_GLOBAL));
    for (uint32_t i = 0; i < 2 * n; i++)
        host(p)[i] = i;
    add(p, n, 1, NULL);
    CU(cuCtxSynchronize());
    EXPECT(write(fd, host(p), n * 4) == (ssize_t)(n * 4)); /* stale here */
    add(p, 2 * n, 1, NULL);
    CU(cuCtxSynchronize());
    EXPECT(pread(fd, host(p) + n, n * 4, 0) == (ssize_t)(n * 4)); /* stale too */
    for (uint32_t i = 0; i < n; i++)
        wrong += host(p)[i] != i + 2 || host(p)[n + i] != i + 1;
    add(p, 2 * n, 1, NULL);
    CU(cuCtxSynchronize());
    iov[0] = (struct iovec){host(p) + n, n * 2};
    iov[1] = (struct iovec){host(p), n * 2};
    EXPECT(pwritev(fd, iov, 2, 0) == (ssize_t)(n * 4));
    add(p, 2 * n, 1, NULL);
    CU(cuCtxSynchronize());
    file = fdopen(fd, "r+");
    rewind(file);
    EXPECT(fread(host(p), 1, n * 4, file) == n * 4);
    for (uint32_t i = 0; i < n / 2; i++)
        wrong += host(p)[i] != i + 2 || host(p)[n / 2 + i] != i + 3;
    add(p, 2 * n, 1, NULL);
    CU(cuCtxSynchronize());
    rewind(file);
    EXPECT(fwrite(host(p), 4, n, file) == n);
    fclose(file);
    EXPECT(wrong == 0);
    printf("system calls: %u wrong\n", wrong);
    CU(cuMemFree(p));
}

struct node {
    struct node *next;
    uint32_t value;
};

/* Many small allocations that point to each other. */
static void
list(void)
{
    struct node **head, *node;
    CUdeviceptr h, out, n[64];
    uint32_t sum = 0;
    void *params[] = {&h, &out};

    CU(cuMemAllocManaged(&h, 8, CU_MEM_ATTACH_GLOBAL));
    CU(cuMemAllocManaged(&out, 4, CU_MEM_ATTACH_GLOBAL));
    head = (struct node **)(uintptr_t)h;
    *head = NULL;
    for (uint32_t i = 0; i < COUNT_OF(n); i++) {
        CU(cuMemAllocManaged(&n[i], sizeof(struct node), CU_MEM_ATTACH_GLOBAL));
        node = (struct node *)(uintptr_t)n[i];
        node->value = i;
        node->next = *head;
        *head = node;
    }
    CU(cuLaunchKernel(walk, 1, 1, 1, 1, 1, 1, 0, NULL, params, NULL));
    CU(cuCtxSynchronize());
    for (node = *head; node != NULL; node = node->next)
        sum += node->value;
    EXPECT(*host(out) == 64 * 63 / 2 && sum == 64 * 63);
    printf("list: %u, %u\n", *host(out), sum);
    for (uint32_t i = 0; i < COUNT_OF(n); i++)
        CU(cuMemFree(n[i]));
    CU(cuMemFree(h));
    CU(cuMemFree(out));
}

struct part {
    CUdeviceptr p;
    uint32_t from, count, wrong, base;
};

static void *
touch(void *arg)
{
    struct part *part = arg;

    for (uint32_t i = part->from; i < part->from + part->count; i++) {
        part->wrong += host(part->p)[i] != i + part->base;
        host(part->p)[i]++;
    }
    return NULL;
}

/* Threads that touch one memory at once, some of them the same pages. */
static void
threads(void)
{
    enum {
        THREADS = 8
    };
    struct part part[THREADS];
    pthread_t thread[THREADS];
    uint32_t wrong = 0;
    CUdeviceptr p;

    CU(cuMemAllocManaged(&p, N * 4, CU_MEM_ATTACH_GLOBAL));
    for (uint32_t i = 0; i < N; i++)
        host(p)[i] = i;
    for (uint32_t round = 0; round < 4; round++) {
        add(p, N, 1, NULL);
        CU(cuCtxSynchronize());
        for (uint32_t t = 0; t < THREADS; t++) {
            /* Borders in the midst of pages. */
            uint32_t from = t * (N / THREADS) + (t == 0 ? 0 : 100);
            uint32_t to = t == THREADS - 1 ? N : (t + 1) * (N / THREADS) + 100;

            part[t] = (struct part){p, from, to - from, 0, round * 2 + 1};
            pthread_create(&thread[t], NULL, touch, &part[t]);
        }
        for (uint32_t t = 0; t < THREADS; t++) {
            pthread_join(thread[t], NULL);
            wrong += part[t].wrong;
        }
    }
    EXPECT(wrong == 0);
    printf("threads: %u wrong\n", wrong);
    CU(cuMemFree(p));
}

static volatile sig_atomic_t own_faults;
static void *page;

static void
own_handler(int number, siginfo_t *info, void *context)
{
    (void)number;
    (void)context;
    own_faults += info->si_addr == page;
    mprotect(page, 4096, PROT_READ | PROT_WRITE);
}

/* The program has a handler of its own, set before and after; a thread that blocks every signal
 * touches managed memory too. */
static void *
blocked(void *arg)
{
    sigset_t all;

    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, NULL);
    return touch(arg);
}

static void
own_faults_too(void)
{
    struct sigaction act = {.sa_sigaction = own_handler, .sa_flags = SA_SIGINFO}, got;
    struct part part;
    pthread_t thread;
    CUdeviceptr p;

    page = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    EXPECT(sigaction(SIGSEGV, &act, NULL) == 0);
    CU(cuMemAllocManaged(&p, 1 << 20, CU_MEM_ATTACH_GLOBAL));
    for (uint32_t i = 0; i < 1000; i++)
        host(p)[i] = i;
    add(p, 1000, 1, NULL);
    CU(cuCtxSynchronize());
    *(volatile char *)page = 1;
    EXPECT(own_faults == 1);
    EXPECT(sigaction(SIGSEGV, NULL, &got) == 0 && got.sa_sigaction == own_handler);
    part = (struct part){p, 0, 1000, 0, 1};
    pthread_create(&thread, NULL, blocked, &part);
    pthread_join(thread, NULL);
    EXPECT(part.wrong == 0);
    printf("own faults: %d, thread without signals: %u wrong\n", (int)own_faults, part.wrong);
    CU(cuMemFree(p));
    act.sa_handler = SIG_DFL;
    act.sa_flags = 0;
    sigaction(SIGSEGV, &act, NULL);
    munmap(page, 4096);
}

static void
questions(void)
{
    CUdeviceptr p, base;
    unsigned managed = 0, type = 0;
    CUipcMemHandle handle;
    void *at = NULL;
    size_t size;
    int value = -7;

    CU(cuMemAllocManaged(&p, 5000, CU_MEM_ATTACH_GLOBAL));
    CU(cuPointerGetAttribute(&managed, CU_POINTER_ATTRIBUTE_IS_MANAGED, p + 5));
    CU(cuPointerGetAttribute(&type, CU_POINTER_ATTRIBUTE_MEMORY_TYPE, p));
    CU(cuPointerGetAttribute(&at, CU_POINTER_ATTRIBUTE_HOST_POINTER, p + 5));
    CU(cuMemGetAddressRange(&base, &size, p + 100));
    EXPECT(managed == 1 && type == CU_MEMORYTYPE_DEVICE && at == (void *)(uintptr_t)(p + 5));
    EXPECT(base == p && size == 5000);
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuMemAllocManaged(&base, 0, CU_MEM_ATTACH_GLOBAL));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuMemAllocManaged(&base, 5, CU_MEM_ATTACH_SINGLE));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuMemFree(p + 64));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuIpcGetMemHandle(&handle, p));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuIpcGetMemHandle(&handle, p + 64));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuMemsetD8(p, 0, 1 << 20));
    CU(cuMemAdvise(p, 5000, CU_MEM_ADVISE_SET_READ_MOSTLY, 0));
    CU(cuMemRangeGetAttribute(&value, 4, CU_MEM_RANGE_ATTRIBUTE_READ_MOSTLY, p, 5000));
    EXPECT(value == 1);
    CU(cuMemAdvise(p, 5000, CU_MEM_ADVISE_SET_PREFERRED_LOCATION, CU_DEVICE_CPU));
    CU(cuMemRangeGetAttribute(&value, 4, CU_MEM_RANGE_ATTRIBUTE_PREFERRED_LOCATION, p, 5000));
    EXPECT(value == CU_DEVICE_CPU);
    host(p)[3] = 30;
    host(p)[999] = 0;
    CU(cuMemPrefetchAsync(p, 5000, 0, NULL));
    CU(cuMemRangeGetAttribute(&value, 4, CU_MEM_RANGE_ATTRIBUTE_LAST_PREFETCH_LOCATION, p, 4));
    EXPECT(value == 0);
    add(p, 1000, 1, NULL);
    CU(cuMemPrefetchAsync(p, 5000, CU_DEVICE_CPU, NULL));
    CU(cuStreamSynchronize(NULL));
    EXPECT(host(p)[3] == 31 && host(p)[999] == 1);
    EXPECT_CU(CUDA_ERROR_INVALID_DEVICE, cuMemPrefetchAsync(p, 5000, 77, NULL));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuMemPrefetchAsync(p, 50000, 0, NULL));
    CU(cuMemFree(p));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuMemAdvise(p, 1, CU_MEM_ADVISE_SET_READ_MOSTLY, 0));
    printf("questions: managed %u type %u\n", managed, type);
}

/* It is not freed in stream order: neither what lies alone nor what others may lie beside, whatever
 * their context. */
static void
not_in_stream_order(CUdevice dev)
{
    uint32_t wrong = 0;
    CUdeviceptr p[3];
    CUcontext ctx;

    CU(cuCtxCreate_v2(&ctx, 0, dev));
    for (uint32_t i = 0; i < COUNT_OF(p); i++) {
        CU(cuMemAllocManaged(&p[i], i == 0 ? 3 << 20 : 5000, CU_MEM_ATTACH_GLOBAL));
        host(p[i])[10] = i;
    }
    for (uint32_t i = 0; i < COUNT_OF(p); i++)
        EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuMemFreeAsync(p[i], NULL));
    CU(cuMemsetD32(p[1], 7, 8));
    CU(cuMemsetD32(p[2], 7, 8));
    CU(cuMemsetD32(p[0], 7, 8));
    CU(cuCtxSynchronize());
    for (uint32_t i = 0; i < COUNT_OF(p); i++)
        wrong += host(p[i])[10] != i || host(p[i])[7] != 7;
    EXPECT(wrong == 0);
    for (uint32_t i = 0; i < COUNT_OF(p); i++)
        CU(cuMemFree(p[i]));
    CU(cuCtxDestroy(ctx));
    printf("not in stream order: %u wrong\n", wrong);
}

/* Batches of CUDA 13: prefetch and discard. */
static void
batches(void)
{
    CUmemLocation places[2] = {{CU_MEM_LOCATION_TYPE_DEVICE, 0}, {CU_MEM_LOCATION_TYPE_HOST, 0}};
    CUdeviceptr p[2];
    size_t sizes[2] = {8192, 4096}, starts[2] = {0, 1}, late[2] = {1, 1};
    CUstream s;
    int value = -7;

    CU(cuStreamCreate(&s, 0));
    CU(cuMemAllocManaged(&p[0], sizes[0], CU_MEM_ATTACH_GLOBAL));
    CU(cuMemAllocManaged(&p[1], sizes[1], CU_MEM_ATTACH_GLOBAL));
    host(p[0])[5] = 50;
    host(p[0])[6] = 60;
    CU(cuMemPrefetchBatchAsync(p, sizes, 2, places, starts, 2, 0, s));
    CU(cuMemRangeGetAttribute(&value, 4, CU_MEM_RANGE_ATTRIBUTE_LAST_PREFETCH_LOCATION, p[1], 4));
    EXPECT(value == CU_DEVICE_CPU);
    add(p[0], 100, 2, s);
    CU(cuStreamSynchronize(s));
    EXPECT(host(p[0])[5] == 52 && host(p[0])[6] == 62);
    CU(cuMemDiscardBatchAsync(p, sizes, 1, 0, s));
    CU(cuMemDiscardAndPrefetchBatchAsync(p, sizes, 2, places, starts, 1, 0, s));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE,
              cuMemPrefetchBatchAsync(p, sizes, 2, places, late, 2, 0, s));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE,
              cuMemPrefetchBatchAsync(p, sizes, 2, places, starts, 2, 1, s));
    CU(cuStreamSynchronize(s));
    CU(cuMemFree(p[0]));
    CU(cuMemFree(p[1]));
    CU(cuStreamDestroy(s));
    printf("batches: done\n");
}

/* Memory that belongs to one stream is the host's while others work. */
static void
attached(void)
{
    CUdeviceptr p[2];
    CUstream s[2];
    uint32_t wrong = 0;

    for (int i = 0; i < 2; i++) {
        CU(cuStreamCreate(&s[i], CU_STREAM_NON_BLOCKING));
        CU(cuMemAllocManaged(&p[i], N, CU_MEM_ATTACH_HOST));
        memset(host(p[i]), 0, N);
        CU(cuStreamAttachMemAsync(s[i], p[i], 0, CU_MEM_ATTACH_SINGLE));
        CU(cuStreamSynchronize(s[i]));
    }
    for (uint32_t round = 0; round < 10; round++) {
        for (int i = 0; i < 2; i++) {
            for (uint32_t k = 0; k < N / 4; k++)
                host(p[i])[k] += k;
            add(p[i], N / 4, 1, s[i]);
        }
        for (int i = 0; i < 2; i++) {
            CU(cuStreamSynchronize(s[i]));
            for (uint32_t k = 0; k < N / 4; k++)
                wrong += host(p[i])[k] != (round + 1) * (k + 1);
        }
    }
    EXPECT(wrong == 0);
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE,
              cuStreamAttachMemAsync(NULL, p[0], 0, CU_MEM_ATTACH_SINGLE));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE,
              cuStreamAttachMemAsync(s[0], p[0], 5, CU_MEM_ATTACH_GLOBAL));
    printf("attached: %u wrong\n", wrong);
    for (int i = 0; i < 2; i++) {
        CU(cuMemFree(p[i]));
        CU(cuStreamDestroy(s[i]));
    }
}

struct seen {
    CUdeviceptr p;
    uint32_t sum;
};

static void
look(void *arg)
{
    struct seen *seen = arg;

    for (uint32_t i = 0; i < 1000; i++)
        seen->sum += host(seen->p)[i];
    host(seen->p)[0] = 100;
}

/* A host function sees what came before, and what comes after sees its work. */
static void
host_function(void)
{
    struct seen seen = {0};
    CUstream s;

    CU(cuStreamCreate(&s, CU_STREAM_NON_BLOCKING));
    CU(cuMemAllocManaged(&seen.p, 4000, CU_MEM_ATTACH_GLOBAL));
    for (uint32_t i = 0; i < 1000; i++)
        host(seen.p)[i] = 1;
    add(seen.p, 1000, 1, s);
    CU(cuLaunchHostFunc(s, look, &seen));
    CU(cuStreamSynchronize(s));
    add(seen.p, 1000, 1, s);
    CU(cuStreamSynchronize(s));
    EXPECT(seen.sum == 2000 && host(seen.p)[0] == 101 && host(seen.p)[1] == 3);
    printf("host function: %u %u\n", seen.sum, host(seen.p)[0]);
    CU(cuMemFree(seen.p));
    CU(cuStreamDestroy(s));
}

static void
variables(void)
{
    uint32_t n = 10000, k = 7, wrong = 0;
    CUdeviceptr words, one, words2;
    void *params[] = {&n};
    CUlibrary lib;
    CUkernel kernel;
    CUmodule m;
    CUfunction f;
    size_t size;

    CU(cuLibraryLoadData(&lib, coherent_ptx, NULL, NULL, 0, NULL, NULL, 0));
    CU(cuLibraryGetManaged(&words, &size, lib, "shared_words"));
    EXPECT(size == 40000);
    CU(cuLibraryGetManaged(&one, &size, lib, "shared_one"));
    EXPECT(size == 4);
    EXPECT_CU(CUDA_ERROR_NOT_FOUND, cuLibraryGetManaged(&one, &size, lib, "device_only"));
    CU(cuLibraryGetManaged(&one, &size, lib, "shared_one"));
    EXPECT(*host(one) == 7);
    for (uint32_t i = 0; i < n; i++)
        host(words)[i] = i;
    CU(cuLibraryGetKernel(&kernel, lib, "add_shared"));
    CU(cuLibraryGetModule(&m, lib));
    CU(cuModuleGetFunction(&f, m, "add_shared"));
    for (uint32_t round = 1; round < 4; round++) {
        drv_launch(f, n, NULL, params);
        CU(cuCtxSynchronize());
        for (uint32_t i = 0; i < n; i++)
            wrong += host(words)[i] != i + k;
        *host(one) = round;
        k += round;
    }
    CU(cuModuleGetGlobal(&words2, &size, m, "shared_words"));
    EXPECT(words2 == words);
    EXPECT(wrong == 0);
    printf("variables: %u wrong\n", wrong);
    CU(cuLibraryUnload(lib));
}

/* The same by modules alone, as CUDA 11's runtime asks. */
static void
module_variables(void)
{
    uint32_t n = 10000, wrong = 0;
    CUdeviceptr words, one, words2;
    void *params[] = {&n};
    int is_managed = 0;
    CUmodule m;
    CUfunction f;
    size_t size;

    CU(cuModuleLoadData(&m, coherent_ptx));
    CU(cuModuleGetGlobal(&words, &size, m, "shared_words"));
    EXPECT(size == 40000);
    CU(cuModuleGetGlobal(&one, &size, m, "shared_one"));
    EXPECT(size == 4 && *host(one) == 7);
    CU(cuPointerGetAttribute(&is_managed, CU_POINTER_ATTRIBUTE_IS_MANAGED, words));
    EXPECT(is_managed == 1);
    for (uint32_t i = 0; i < n; i++)
        host(words)[i] = 2 * i;
    *host(one) = 5;
    CU(cuModuleGetFunction(&f, m, "add_shared"));
    drv_launch(f, n, NULL, params);
    CU(cuCtxSynchronize());
    for (uint32_t i = 0; i < n; i++)
        wrong += host(words)[i] != 2 * i + 5;
    CU(cuMemsetD32(words, 3, n));
    CU(cuModuleGetGlobal(&words2, &size, m, "shared_words"));
    EXPECT(words2 == words && host(words)[n - 1] == 3);
    EXPECT(wrong == 0);
    printf("module's variables: %u wrong\n", wrong);
    CU(cuModuleUnload(m));
}

/* Memory of a context that ends, and a child of the process. */
static void
ends(CUdevice dev)
{
    CUcontext ctx;
    CUdeviceptr p, q;
    pid_t child;
    int status = -1;

    CU(cuMemAllocManaged(&q, 8192, CU_MEM_ATTACH_GLOBAL));
    host(q)[0] = 11;
    CU(cuCtxCreate_v2(&ctx, 0, dev));
    CU(cuMemAllocManaged(&p, 1 << 20, CU_MEM_ATTACH_GLOBAL));
    host(p)[0] = 1;
    CU(cuMemAllocManaged(&p, 10, CU_MEM_ATTACH_GLOBAL));
    host(p)[0] = 1;
    CU(cuCtxDestroy(ctx));
    EXPECT(host(q)[0] == 11);
    fflush(stdout);
    child = fork();
    if (child == 0)
        _exit(host(q)[0] == 11 ? 3 : 4);
    waitpid(child, &status, 0);
    EXPECT(WIFEXITED(status) && WEXITSTATUS(status) == 3);
    add(q, 1, 1, NULL);
    CU(cuCtxSynchronize());
    EXPECT(host(q)[0] == 12);
    printf("ends: %u\n", host(q)[0]);
    CU(cuMemFree(q));
}

int
main(void)
{
    CUdevice dev = drv_open();

    CU(cuModuleLoadData(&mod, coherent_ptx));
    CU(cuModuleGetFunction(&add_to, mod, "add_to"));
    CU(cuModuleGetFunction(&walk, mod, "walk"));
    CU(cuModuleGetFunction(&add_shared, mod, "add_shared"));
    in_turn();
    here_and_there();
    calls_on_it();
    system_calls();
    list();
    threads();
    own_faults_too();
    questions();
    not_in_stream_order(dev);
    batches();
    attached();
    host_function();
    variables();
    module_variables();
    ends(dev);
    drv_close(dev);
    return drv_result("drv_managed");
}
