/* tests/programs/c/drv_mapped.c -- host memory that kernels reach: pinned, mapped, registered */
#include "drv.h"
#include "coherent_ptx.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <unistd.h>

#define N (1u << 16)

static CUfunction add_to, walk, publish, await_flag;

static void
add(CUdeviceptr p, uint32_t n, uint32_t k, CUstream s)
{
    void *params[] = {&p, &n, &k};

    drv_launch(add_to, n, s, params);
}

static CUdeviceptr
address(const void *p)
{
    return (CUdeviceptr)(uintptr_t)p;
}

/* Each kind of pinned memory is reached by kernels at its own address, without any asking. */
static void
pinned_kinds(void)
{
    static const unsigned flags[] = {0, CU_MEMHOSTALLOC_PORTABLE, CU_MEMHOSTALLOC_DEVICEMAP,
                                     CU_MEMHOSTALLOC_WRITECOMBINED | CU_MEMHOSTALLOC_DEVICEMAP};
    uint32_t wrong = 0;

    for (size_t f = 0; f < COUNT_OF(flags); f++) {
        CUdeviceptr device = 0;
        uint32_t *p;

        CU(cuMemHostAlloc((void **)&p, N * 4 + 20, flags[f]));
        for (uint32_t i = 0; i < N; i++)
            p[i] = i;
        for (uint32_t round = 1; round < 4; round++) {
            add(address(p), N, 1, NULL);
            CU(cuStreamSynchronize(NULL));
            for (uint32_t i = 0; i < N; i += 3)
                wrong += p[i] != i + round;
        }
        CU(cuMemHostGetDevicePointer(&device, p, 0));
        EXPECT(device == address(p));
        CU(cuMemFreeHost(p));
    }
    EXPECT(wrong == 0);
    printf("pinned kinds: %u wrong\n", wrong);
}

struct node {
    struct node *next;
    uint32_t value, pad;
};

/* The kernel learns the address from device memory, and from other host memory, only. */
static void
hidden_pointers(void)
{
    struct node *a, *b, *c;
    CUdeviceptr head, out;
    uint32_t sum = 0;
    void *params[] = {&head, &out};

    CU(cuMemHostAlloc((void **)&a, sizeof(*a), 0));
    CU(cuMemHostAlloc((void **)&b, sizeof(*b), 0));
    c = malloc(sizeof(*c));
    CU(cuMemHostRegister(c, sizeof(*c), 0));
    *a = (struct node){b, 1, 5};
    *b = (struct node){c, 10, 6};
    *c = (struct node){NULL, 100, 7};
    CU(cuMemAlloc(&head, 8));
    CU(cuMemAlloc(&out, 4));
    CU(cuMemcpyHtoD(head, &a, 8));
    CU(cuLaunchKernel(walk, 1, 1, 1, 1, 1, 1, 0, NULL, params, NULL));
    CU(cuMemcpyDtoH(&sum, out, 4));
    EXPECT(sum == 111 && a->value == 2 && b->value == 20 && c->value == 200 && b->pad == 6);
    printf("hidden pointers: %u, %u %u %u\n", sum, a->value, b->value, c->value);
    CU(cuMemFree(head));
    CU(cuMemFree(out));
    CU(cuMemFreeHost(a));
    CU(cuMemFreeHost(b));
    CU(cuMemHostUnregister(c));
    free(c);
}

/* The sum of the values that a kernel finds from the pointer at head on. */
static uint32_t
walked(CUdeviceptr head)
{
    CUdeviceptr out;
    uint32_t sum = 0;
    void *params[] = {&head, &out};

    CU(cuMemAlloc(&out, 4));
    CU(cuLaunchKernel(walk, 1, 1, 1, 1, 1, 1, 0, NULL, params, NULL));
    CU(cuMemcpyDtoH(&sum, out, 4));
    CU(cuMemFree(out));
    return sum;
}

/* Addresses far behind in long copies: of two other pieces of pinned memory, from pageable memory,
 * then of the pinned source's own, at its end. All of each copy is there. */
static void
far_pointers(void)
{
    enum {
        WORDS = (9u << 20) / 8,
        FIRST = (3u << 20) / 8,
        SECOND = (6u << 20) / 8 + 5
    };
    uint64_t *table = malloc(WORDS * 8), *back = malloc(WORDS * 8), *pinned;
    struct node *a, *b, *own;
    uint32_t sums[3];
    CUdeviceptr d;

    CU(cuMemAlloc(&d, WORDS * 8));
    CU(cuMemHostAlloc((void **)&a, sizeof(*a), 0));
    CU(cuMemHostAlloc((void **)&b, sizeof(*b), 0));
    *a = (struct node){NULL, 1, 0};
    *b = (struct node){NULL, 10, 0};
    for (uint64_t i = 0; i < WORDS; i++)
        table[i] = i * 3;
    table[FIRST] = address(a);
    table[SECOND] = address(b);
    CU(cuMemcpyHtoD(d, table, WORDS * 8));
    CU(cuMemcpyDtoH(back, d, WORDS * 8));
    EXPECT(memcmp(table, back, WORDS * 8) == 0);
    sums[0] = walked(d + FIRST * 8);
    sums[1] = walked(d + SECOND * 8);
    CU(cuMemFreeHost(a));
    CU(cuMemFreeHost(b));

    CU(cuMemHostAlloc((void **)&pinned, WORDS * 8, 0));
    memcpy(pinned, table, WORDS * 8);
    own = (struct node *)(pinned + FIRST);
    *own = (struct node){NULL, 100, 0};
    pinned[WORDS - 1] = address(own);
    memcpy(table, pinned, WORDS * 8);
    CU(cuMemcpyHtoDAsync(d, pinned, WORDS * 8, NULL));
    CU(cuMemcpyDtoH(back, d, WORDS * 8));
    EXPECT(memcmp(table, back, WORDS * 8) == 0);
    sums[2] = walked(d + (WORDS - 1) * 8);
    EXPECT(sums[0] == 1 && sums[1] == 10 && sums[2] == 100 && own->value == 200);
    printf("far pointers: %u %u %u\n", sums[0], sums[1], sums[2]);
    CU(cuMemFreeHost(pinned));
    CU(cuMemFree(d));
    free(table);
    free(back);
}

/* Registrations of the program's own memory: begin and end in the midst of pages, share one, and
 * what lies beside them on a page is not theirs. */
static void
registered(void)
{
    enum {
        BYTES = 3 * 4096
    };
    uint8_t *block = aligned_alloc(4096, 2 * BYTES);
    uint32_t *first = (uint32_t *)(block + 64), *second = (uint32_t *)(block + BYTES + 256);
    uint32_t nf = (BYTES - 64 - 128) / 4, ns = 1500, wrong = 0;
    CUdeviceptr df, ds;

    memset(block, 0x11, 2 * BYTES);
    CU(cuMemHostRegister(first, nf * 4, CU_MEMHOSTREGISTER_DEVICEMAP));
    /* The last page of the first is not touched by the second, but the second's first page is ours
     * to use as well. */
    CU(cuMemHostRegister(second, ns * 4, CU_MEMHOSTREGISTER_PORTABLE));
    EXPECT_CU(CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED, cuMemHostRegister(first + 4, 64, 0));
    CU(cuMemHostGetDevicePointer(&df, first, 0));
    CU(cuMemHostGetDevicePointer(&ds, second, 0));
    for (uint32_t round = 0; round < 5; round++) {
        for (uint32_t i = 0; i < nf; i++)
            first[i] = i + round;
        for (uint32_t i = 0; i < ns; i++)
            second[i] = 3 * i;
        memset(block, 0x22 + (int)round, 64);
        memset(first + nf, 0x33, 128);
        add(df, nf, 5, NULL);
        add(ds, ns, 7, NULL);
        memset(block + BYTES, 0x44 + (int)round, 256);
        CU(cuCtxSynchronize());
        for (uint32_t i = 0; i < nf; i++)
            wrong += first[i] != i + round + 5;
        for (uint32_t i = 0; i < ns; i++)
            wrong += second[i] != 3 * i + 7;
        for (uint32_t i = 0; i < 64; i++)
            wrong += block[i] != 0x22 + round || block[BYTES + i] != 0x44 + round;
    }
    /* What the last kernel wrote is there after the memory is the program's alone. */
    add(df, nf, 1, NULL);
    CU(cuMemHostUnregister(first));
    for (uint32_t i = 0; i < nf; i++)
        wrong += first[i] != i + 10;
    CU(cuMemHostUnregister(second));
    EXPECT_CU(CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED, cuMemHostUnregister(second));
    EXPECT(wrong == 0);
    printf("registered: %u wrong\n", wrong);
    free(block);
}

/* Two that share a page. */
static void
neighbours(void)
{
    uint32_t *block = aligned_alloc(4096, 4096), wrong = 0;
    CUdeviceptr a, b;

    memset(block, 0, 4096);
    CU(cuMemHostRegister(block + 10, 400, CU_MEMHOSTREGISTER_DEVICEMAP));
    CU(cuMemHostRegister(block + 200, 400, CU_MEMHOSTREGISTER_DEVICEMAP));
    CU(cuMemHostGetDevicePointer(&a, block + 10, 0));
    CU(cuMemHostGetDevicePointer(&b, block + 200, 0));
    block[9] = 9;
    block[110] = 110;
    for (uint32_t round = 0; round < 3; round++) {
        add(a, 100, 1, NULL);
        add(b, 100, 2, NULL);
        CU(cuCtxSynchronize());
        block[10] += 10;
    }
    for (uint32_t i = 0; i < 1024; i++) {
        uint32_t want = i >= 10 && i < 110 ? 3 : i >= 200 && i < 300 ? 6 : 0;

        want += i == 10 ? 30 : i == 9 || i == 110 ? i : 0;
        wrong += block[i] != want;
    }
    EXPECT(wrong == 0);
    printf("neighbours: %u wrong\n", wrong);
    CU(cuMemHostUnregister(block + 10));
    CU(cuMemHostUnregister(block + 200));
    free(block);
}

/* Copies and fills that name host memory by its device address, and by its own once kernels use
 * it. */
static void
copies(void)
{
    uint32_t *p, *q, plain[1000], wrong = 0;
    CUdeviceptr d;

    CU(cuMemAllocHost((void **)&p, 8000));
    CU(cuMemAllocHost((void **)&q, 8000));
    CU(cuMemAlloc(&d, 8000));
    memset(p, 0, 8000);
    memset(q, 0, 8000);
    add(address(p), 1000, 3, NULL);
    CU(cuMemcpyHtoDAsync(d, p, 4000, NULL)); /* after the kernel */
    CU(cuMemcpyDtoH(plain, d, 4000));
    for (uint32_t i = 0; i < 1000; i++)
        wrong += plain[i] != 3;
    CU(cuMemsetD32(address(p) + 4000, 8, 1000));
    CU(cuMemcpyDtoHAsync(q + 500, address(p) + 2000, 6000, NULL));
    CU(cuStreamSynchronize(NULL));
    for (uint32_t i = 0; i < 2000; i++)
        wrong += p[i] != (i < 1000 ? 3 : 8) || q[i] != (i < 500 ? 0 : i < 1000 ? 3 : 8);
    q[600] = 60;
    CU(cuMemcpyDtoD(address(p), address(q), 8000));
    CU(cuCtxSynchronize());
    wrong += p[600] != 60 || p[499] != 0 || p[1999] != 8;
    add(address(q), 1000, 1, NULL);
    CU(cuMemcpyDtoH(q, d, 4)); /* synchronous */
    wrong += q[0] != 3 || q[1] != 1;
    EXPECT(wrong == 0);
    printf("copies: %u wrong\n", wrong);
    CU(cuMemFreeHost(p));
    CU(cuMemFreeHost(q));
    CU(cuMemFree(d));
}

/* The program waits for a flag that a kernel writes while it runs, behind its data. */
static void
kernel_tells(CUstream s)
{
    volatile uint32_t *flag;
    uint32_t *data, n = 3000, wrong = 0;
    CUdeviceptr df, dd;

    CU(cuMemHostAlloc((void **)&flag, 4096, CU_MEMHOSTALLOC_DEVICEMAP));
    CU(cuMemHostAlloc((void **)&data, n * 4, CU_MEMHOSTALLOC_DEVICEMAP));
    *flag = 0;
    df = address((const void *)flag);
    dd = address(data);
    for (uint32_t k = 1; k <= 20; k++) {
        void *params[] = {&dd, &n, &df, &k};

        CU(cuLaunchKernel(publish, 1, 1, 1, 1, 1, 1, 0, s, params, NULL));
        while (*flag != k)
            ;
        for (uint32_t i = 0; i < n; i++)
            wrong += data[i] != k;
    }
    CU(cuStreamSynchronize(s));
    EXPECT(wrong == 0);
    printf("kernel tells: %u wrong\n", wrong);
    CU(cuMemFreeHost((void *)(uintptr_t)flag));
    CU(cuMemFreeHost(data));
}

/* A kernel that runs waits for a flag that the program writes, behind its data. */
static void
program_tells(CUstream s)
{
    volatile uint32_t *words;
    uint32_t k = 5, got = 0;
    CUdeviceptr flag, value, out;
    void *params[] = {&flag, &k, &value, &out};

    CU(cuMemHostAlloc((void **)&words, 3 * 4096, CU_MEMHOSTALLOC_DEVICEMAP));
    flag = address((const void *)words);
    value = flag + 4096;
    out = flag + 8192;
    for (uint32_t round = 0; round < 10; round++) {
        words[0] = 0;
        CU(cuLaunchKernel(await_flag, 1, 1, 1, 1, 1, 1, 0, s, params, NULL));
        words[1024] = 1000 + round;
        __sync_synchronize();
        words[0] = k;
        CU(cuStreamSynchronize(s));
        got += words[2048] == 1000 + round;
    }
    EXPECT(got == 10);
    printf("program tells: %u right\n", got);
    CU(cuMemFreeHost((void *)(uintptr_t)words));
}

/* Streams that write values and wait for them, on memory of the device and of the host. */
static void
values(CUstream s)
{
    CUstreamBatchMemOpParams ops[3];
    volatile uint64_t *host;
    uint64_t back[2];
    CUdeviceptr d;
    CUstream t;

    CU(cuMemAlloc(&d, 64));
    CU(cuMemsetD8(d, 0, 64));
    CU(cuMemHostAlloc((void **)&host, 4096, 0));
    memset((void *)(uintptr_t)host, 0, 4096);
    CU(cuStreamCreate(&t, CU_STREAM_NON_BLOCKING));

    CU(cuStreamWaitValue32(s, d, 5, CU_STREAM_WAIT_VALUE_EQ));
    CU(cuStreamWriteValue64(s, d + 8, 77, 0));
    EXPECT_CU(CUDA_ERROR_NOT_READY, cuStreamQuery(s));
    CU(cuStreamWriteValue32(t, d, 5, 0));
    CU(cuStreamSynchronize(s));
    CU(cuMemcpyDtoH(back, d, 16));
    EXPECT((uint32_t)back[0] == 5 && back[1] == 77);

    /* The host writes what a stream waits for; the stream's answer is looked for meanwhile. */
    CU(cuStreamWaitValue64(s, address((const void *)host), 9, CU_STREAM_WAIT_VALUE_GEQ));
    CU(cuStreamWriteValue32(s, address((const void *)(host + 1)), 4, 0));
    EXPECT_CU(CUDA_ERROR_NOT_READY, cuStreamQuery(s));
    host[0] = 10;
    while (*(volatile uint32_t *)(host + 1) != 4)
        ;
    CU(cuStreamSynchronize(s));

    memset(ops, 0, sizeof(ops));
    ops[0].operation = CU_STREAM_MEM_OP_WRITE_VALUE_32;
    ops[0].writeValue.address = d + 16;
    ops[0].writeValue.value = 1;
    ops[1].operation = CU_STREAM_MEM_OP_WAIT_VALUE_32;
    ops[1].waitValue.address = d + 16;
    ops[1].waitValue.value = 1;
    ops[2].operation = CU_STREAM_MEM_OP_WRITE_VALUE_64;
    ops[2].writeValue.address = d + 24;
    ops[2].writeValue.value64 = 1ull << 40;
    CU(cuStreamBatchMemOp(t, 3, ops, 0));
    CU(cuStreamSynchronize(t));
    CU(cuMemcpyDtoH(back, d + 16, 16));
    EXPECT((uint32_t)back[0] == 1 && back[1] == 1ull << 40);

    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuStreamWriteValue32(t, d + 2, 1, 0));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuStreamWriteValue64(t, d + 4, 1, 0));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuStreamWaitValue32(t, 4096, 1, 0));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuStreamBatchMemOp(t, 0, ops, 0));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuStreamBatchMemOp(t, 300, ops, 0));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuStreamBatchMemOp(t, 1, ops, 1));
    printf("values: %u %u\n", (unsigned)host[1], (unsigned)back[0]);
    CU(cuStreamDestroy(t));
    CU(cuMemFree(d));
    CU(cuMemFreeHost((void *)(uintptr_t)host));
}

static void
questions(void)
{
    unsigned type = 0, flags = 0;
    CUdeviceptr device = 0;
    uint32_t *p, here;
    void *at = NULL;

    CU(cuMemHostAlloc((void **)&p, 100, CU_MEMHOSTALLOC_WRITECOMBINED));
    CU(cuPointerGetAttribute(&type, CU_POINTER_ATTRIBUTE_MEMORY_TYPE, address(p)));
    CU(cuPointerGetAttribute(&device, CU_POINTER_ATTRIBUTE_DEVICE_POINTER, address(p + 1)));
    CU(cuPointerGetAttribute(&at, CU_POINTER_ATTRIBUTE_HOST_POINTER, address(p + 1)));
    CU(cuMemHostGetFlags(&flags, p));
    EXPECT(type == CU_MEMORYTYPE_HOST && device == address(p + 1) && at == p + 1);
    EXPECT(flags == (CU_MEMHOSTALLOC_WRITECOMBINED | CU_MEMHOSTALLOC_DEVICEMAP));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuMemHostGetDevicePointer(&device, &here, 0));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuMemHostGetDevicePointer(&device, p, 1));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuMemHostGetDevicePointer(NULL, p, 0));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuMemHostRegister(NULL, 5, 0));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuMemHostRegister(p, 0, 0));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuMemsetD8(address(p), 0, 1 << 20));
    printf("questions: type %u flags %u\n", type, flags);
    CU(cuMemFreeHost(p));
}

/* Memory that the program may only read. */
static void
read_only(void)
{
    uint32_t *p = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    uint32_t back = 0;
    CUdeviceptr d, out;

    for (uint32_t i = 0; i < 2048; i++)
        p[i] = i;
    mprotect(p, 8192, PROT_READ);
    CU(cuMemHostRegister(p, 8192, CU_MEMHOSTREGISTER_READ_ONLY | CU_MEMHOSTREGISTER_DEVICEMAP));
    CU(cuMemHostGetDevicePointer(&d, p, 0));
    CU(cuMemAlloc(&out, 4));
    CU(cuMemcpyDtoD(out, d + 4000, 4));
    CU(cuMemcpyDtoH(&back, out, 4));
    EXPECT(back == 1000 && p[1000] == 1000);
    printf("read only: %u\n", back);
    CU(cuMemHostUnregister(p));
    EXPECT(p[2047] == 2047);
    CU(cuMemFree(out));
    munmap(p, 8192);
}

int
main(void)
{
    CUdevice dev = drv_open();
    CUmodule mod;
    CUstream s;

    CU(cuModuleLoadData(&mod, coherent_ptx));
    CU(cuModuleGetFunction(&add_to, mod, "add_to"));
    CU(cuModuleGetFunction(&walk, mod, "walk"));
    CU(cuModuleGetFunction(&publish, mod, "publish"));
    CU(cuModuleGetFunction(&await_flag, mod, "await"));
    CU(cuStreamCreate(&s, CU_STREAM_NON_BLOCKING));
    pinned_kinds();
    hidden_pointers();
    far_pointers();
    registered();
    neighbours();
    copies();
    kernel_tells(s);
    program_tells(s);
    values(s);
    questions();
    read_only();
    CU(cuStreamDestroy(s));
    drv_close(dev);
    return drv_result("drv_mapped");
}
