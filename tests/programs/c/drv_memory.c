/* tests/programs/c/drv_memory.c -- allocations: how many, how much is left, what an address says */
#include "drv.h"

#define BLOCKS 500

static size_t
free_bytes(void)
{
    size_t left, total;

    CU(cuMemGetInfo(&left, &total));
    EXPECT(left <= total);
    return left;
}

/* Many sizes, freed in another order; nothing overlaps, nothing is lost. */
static void
many(void)
{
    static CUdeviceptr p[BLOCKS];
    static size_t size[BLOCKS];
    uint32_t wrong = 0;

    for (unsigned round = 0; round < 3; round++) {
        for (unsigned i = 0; i < BLOCKS; i++) {
            size[i] = 4 + drv_lcg(i + round * BLOCKS, 3) % 70000 / 4 * 4;
            CU(cuMemAlloc(&p[i], size[i]));
            EXPECT(p[i] % 256 == 0);
            CU(cuMemsetD32Async(p[i], i, size[i] / 4, NULL));
        }
        for (unsigned i = 0; i < BLOCKS; i++) {
            uint32_t first, last;

            CU(cuMemcpyDtoH(&first, p[i], 4));
            CU(cuMemcpyDtoH(&last, p[i] + size[i] - 4, 4));
            wrong += first != i || last != i;
        }
        for (unsigned i = 0; i < BLOCKS; i++)
            CU(cuMemFree(p[(i * 7) % BLOCKS]));
    }
    EXPECT(wrong == 0);
    printf("%d allocations: %u wrong\n", BLOCKS, wrong);
}

static void
accounting(void)
{
    size_t before = free_bytes(), with;
    CUdeviceptr p;

    CU(cuMemAlloc(&p, 64ul << 20));
    with = free_bytes();
    EXPECT(before - with >= 64ul << 20 && before - with < 80ul << 20);
    CU(cuMemFree(p));
    EXPECT(free_bytes() >= with + (64ul << 20));
    printf("accounting: done\n");
}

/* Out of memory comes at the call, and memory given back can be had again. */
static void
exhaust(void)
{
    enum { MOST = 4096 };
    static CUdeviceptr p[MOST];
    size_t chunk = free_bytes() / 16 & ~(size_t)0x1fffff;
    unsigned n = 0, again = 0;
    CUresult cr = CUDA_SUCCESS;

    while (n < MOST && (cr = cuMemAlloc(&p[n], chunk)) == CUDA_SUCCESS)
        n++;
    EXPECT_CU(CUDA_ERROR_OUT_OF_MEMORY, cr);
    EXPECT(n >= 14 && n <= 17);
    for (unsigned i = 0; i < n; i++)
        CU(cuMemFree(p[i]));
    while (again < n && cuMemAlloc(&p[again], chunk) == CUDA_SUCCESS)
        again++;
    EXPECT(again == n);
    for (unsigned i = 0; i < again; i++)
        CU(cuMemFree(p[i]));
    printf("exhaust: done\n");
}

static void
pointers(void)
{
    CUpointer_attribute which[] = {CU_POINTER_ATTRIBUTE_MEMORY_TYPE,
                                   CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL};
    unsigned type = 0;
    int ordinal = -1, on_stack = 0;
    void *values[] = {&type, &ordinal};
    CUdeviceptr p, start;
    size_t size;

    CU(cuMemAlloc(&p, 10000));
    CU(cuPointerGetAttributes(2, which, values, p + 5000));
    EXPECT(type == CU_MEMORYTYPE_DEVICE && ordinal == 0);
    CU(cuPointerGetAttribute(&start, CU_POINTER_ATTRIBUTE_RANGE_START_ADDR, p + 5000));
    CU(cuPointerGetAttribute(&size, CU_POINTER_ATTRIBUTE_RANGE_SIZE, p + 5000));
    EXPECT(start == p && size == 10000);
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE,
              cuPointerGetAttribute(&type, CU_POINTER_ATTRIBUTE_MEMORY_TYPE,
                                    (CUdeviceptr)(uintptr_t)&on_stack));
    CU(cuMemFree(p));
    printf("pointers: done\n");
}

int
main(void)
{
    CUdevice dev = drv_open();

    many();
    accounting();
    exhaust();
    pointers();
    drv_close(dev);
    return drv_result("drv_memory");
}
