/* tests/programs/c/drv_vmm.c -- a program that manages its address space itself
 *
 * As allocators with segments that grow do: one reservation, pieces of memory mapped behind one
 * another in it, used as one array, unmapped and mapped elsewhere with their bytes. */
#include "drv.h"
#include "vector_ptx.h"

#define PIECES 8
#define ROUNDS 100

static CUmemAllocationProp prop = {
    .type = CU_MEM_ALLOCATION_TYPE_PINNED,
    .location = {CU_MEM_LOCATION_TYPE_DEVICE, 0},
};
static CUmemAccessDesc both = {{CU_MEM_LOCATION_TYPE_DEVICE, 0},
                               CU_MEM_ACCESS_FLAGS_PROT_READWRITE};
static size_t g;

/* One array over several objects: a kernel and copies run across their borders. */
static void
grown_segment(void)
{
    CUfunction mul_add = drv_kernel(vector_ptx, "mul_add_u32");
    CUmemGenericAllocationHandle h[PIECES];
    uint32_t n = (uint32_t)(PIECES * g / 4), three = 3, five = 5, wrong = 0;
    uint32_t *words = calloc(n, 4);
    CUdeviceptr va;
    void *params[] = {&va, &three, &five, &n};

    CU(cuMemAddressReserve(&va, 64 * g, 0, 0, 0));
    for (unsigned i = 0; i < PIECES; i++) {
        CU(cuMemCreate(&h[i], g, &prop, 0));
        CU(cuMemMap(va + i * g, g, 0, h[i], 0));
        CU(cuMemSetAccess(va + i * g, g, &both, 1));
    }
    for (uint32_t i = 0; i < n; i++)
        words[i] = i;
    CU(cuMemcpyHtoD(va, words, (size_t)n * 4));
    drv_launch(mul_add, n, NULL, params);
    memset(words, 0, (size_t)n * 4);
    CU(cuMemcpyDtoH(words, va, (size_t)n * 4));
    for (uint32_t i = 0; i < n; i++)
        wrong += words[i] != i * 3 + 5;
    EXPECT(wrong == 0);
    CU(cuMemsetD32(va + g - 16, 7, 8));
    EXPECT(drv_word_at(va + g - 4) == 7 && drv_word_at(va + g + 12) == 7);
    EXPECT(drv_word_at(va + g + 16) == (g / 4 + 4) * 3 + 5);
    /* the copy on the device too */
    CU(cuMemcpyDtoD(va + 2 * g - 8, va + 5 * g - 8, 16));
    EXPECT(drv_word_at(va + 2 * g) == (5 * g / 4) * 3 + 5);
    CU(cuCtxSynchronize());
    for (unsigned i = 0; i < PIECES; i++)
        CU(cuMemRelease(h[i])); /* the mappings hold them */
    EXPECT(drv_word_at(va + 16) == 4 * 3 + 5);
    CU(cuMemUnmap(va, PIECES * g));
    CU(cuMemAddressFree(va, 64 * g));
    free(words);
    printf("grown segment: %u wrong\n", wrong);
}

/* The same bytes under two addresses, and under a third after the first is gone. */
static void
aliases(void)
{
    CUmemGenericAllocationHandle h, again;
    CUmemAllocationProp got;
    CUdeviceptr va;

    CU(cuMemAddressReserve(&va, 16 * g, 4 * g, 0, 0));
    EXPECT(va % (4 * g) == 0);
    CU(cuMemCreate(&h, 2 * g, &prop, 0));
    CU(cuMemMap(va, 2 * g, 0, h, 0));
    CU(cuMemMap(va + 4 * g, g, g, h, 0)); /* its second half */
    CU(cuMemSetAccess(va, 2 * g, &both, 1));
    CU(cuMemSetAccess(va + 4 * g, g, &both, 1));
    CU(cuMemsetD32(va + g, 0x1234, 4));
    EXPECT(drv_word_at(va + 4 * g + 12) == 0x1234);
    CU(cuMemRelease(h));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuMemRelease(h));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuMemMap(va + 8 * g, g, 0, h, 0));
    CU(cuMemRetainAllocationHandle(&again, (void *)(uintptr_t)(va + 4 * g + 100)));
    EXPECT(again == h);
    CU(cuMemGetAllocationPropertiesFromHandle(&got, again));
    EXPECT(got.type == prop.type && got.location.id == 0);
    CU(cuCtxSynchronize());
    CU(cuMemUnmap(va, 2 * g));
    CU(cuMemMap(va + 8 * g, 2 * g, 0, again, 0));
    CU(cuMemSetAccess(va + 8 * g, 2 * g, &both, 1));
    EXPECT(drv_word_at(va + 9 * g) == 0x1234);
    CU(cuCtxSynchronize());
    CU(cuMemUnmap(va + 4 * g, g));
    CU(cuMemUnmap(va + 8 * g, 2 * g));
    CU(cuMemRelease(again));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE,
              cuMemRetainAllocationHandle(&again, (void *)(uintptr_t)(va + 8 * g)));
    CU(cuMemAddressFree(va, 16 * g));
    printf("aliases: done\n");
}

/* What an address and a handle say. */
static void
questions(void)
{
    CUmemAccessDesc read = {both.location, CU_MEM_ACCESS_FLAGS_PROT_READ};
    CUmemAccessDesc none = {both.location, CU_MEM_ACCESS_FLAGS_PROT_NONE};
    CUmemGenericAllocationHandle h;
    unsigned long long flags = 9;
    CUmemorytype type = 0;
    CUdeviceptr va, base = 0;
    size_t size = 0;
    uint32_t value = 1;
    int ordinal = 9, access = 9;

    CU(cuMemAddressReserve(&va, 4 * g, 0, 0, 0));
    CU(cuMemCreate(&h, 2 * g, &prop, 0));
    CU(cuMemMap(va + g, 2 * g, 0, h, 0));
    CU(cuMemGetAccess(&flags, &both.location, va + g));
    EXPECT(flags == CU_MEM_ACCESS_FLAGS_PROT_NONE);
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuMemcpyHtoD(va + g, &value, 4));
    CU(cuMemSetAccess(va + g, 2 * g, &read, 1));
    CU(cuMemGetAccess(&flags, &both.location, va + 2 * g));
    EXPECT(flags == CU_MEM_ACCESS_FLAGS_PROT_READ);
    EXPECT(drv_word_at(va + g) == 0);
    CU(cuMemSetAccess(va + g, 2 * g, &both, 1));
    CU(cuMemGetAccess(&flags, &both.location, va + g));
    EXPECT(flags == CU_MEM_ACCESS_FLAGS_PROT_READWRITE);
    CU(cuPointerGetAttribute(&type, CU_POINTER_ATTRIBUTE_MEMORY_TYPE, va + g));
    EXPECT(type == CU_MEMORYTYPE_DEVICE);
    CU(cuPointerGetAttribute(&ordinal, CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL, va + g + 5));
    EXPECT(ordinal == 0);
    CU(cuPointerGetAttribute(&access, CU_POINTER_ATTRIBUTE_ACCESS_FLAGS, va + g));
    EXPECT(access == CU_POINTER_ATTRIBUTE_ACCESS_FLAG_READWRITE);
    CU(cuMemGetAddressRange(&base, &size, va + g + 8));
    EXPECT(base == va + g && size == 2 * g);
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE,
              cuPointerGetAttribute(&type, CU_POINTER_ATTRIBUTE_MEMORY_TYPE, va));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuMemFree(va + g));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuMemGetAccess(&flags, &both.location, va));
    CU(cuMemSetAccess(va + g, 2 * g, &none, 1));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuMemcpyDtoH(&value, va + g, 4));
    CU(cuMemUnmap(va + g, 2 * g));
    CU(cuMemRelease(h));
    CU(cuMemAddressFree(va, 4 * g));
    printf("questions: done\n");
}

static void
mistakes(void)
{
    CUmemAllocationProp bad = prop;
    CUmemAccessDesc where = both;
    CUmemGenericAllocationHandle h, none;
    CUdeviceptr va, other;
    size_t bytes;

    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuMemAddressReserve(NULL, g, 0, 0, 0));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuMemAddressReserve(&va, 0, 0, 0, 0));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuMemAddressReserve(&va, g + 1, 0, 0, 0));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuMemAddressReserve(&va, g, 3 * g, 0, 0));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuMemAddressReserve(&va, g, 0, 0, 1));
    EXPECT_CU(CUDA_ERROR_OUT_OF_MEMORY, cuMemAddressReserve(&va, 1ul << 60, 0, 0, 0));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuMemCreate(NULL, g, &prop, 0));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuMemCreate(&h, g, NULL, 0));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuMemCreate(&h, 0, &prop, 0));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuMemCreate(&h, g / 2, &prop, 0));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuMemCreate(&h, g, &prop, 1));
    EXPECT_CU(CUDA_ERROR_OUT_OF_MEMORY, cuMemCreate(&h, 1ul << 50, &prop, 0));
    bad.type = CU_MEM_ALLOCATION_TYPE_INVALID;
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuMemCreate(&h, g, &bad, 0));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE,
              cuMemGetAllocationGranularity(&bytes, &bad, CU_MEM_ALLOC_GRANULARITY_MINIMUM));
    bad = prop;
    bad.location.id = 99;
    EXPECT_CU(CUDA_ERROR_INVALID_DEVICE, cuMemCreate(&h, g, &bad, 0));
    bad = prop;
    bad.location.type = CU_MEM_LOCATION_TYPE_INVALID;
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuMemCreate(&h, g, &bad, 0));

    CU(cuMemAddressReserve(&va, 4 * g, 0, 0, 0));
    /* Nothing is behind it: it is no host memory either. */
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuMemcpy(va, va + g, 16));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuMemcpyAsync(va, va + g, 16, NULL));
    CU(cuMemAddressReserve(&other, 4 * g, 0, 0, 0));
    CU(cuMemCreate(&h, 2 * g, &prop, 0));
    none = h + 8;
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuMemRelease(none));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuMemRelease(0));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuMemMap(va, 2 * g, 0, none, 0));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuMemMap(va, 3 * g, 0, h, 0)); /* more than it has */
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuMemMap(va, 2 * g, g, h, 0));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuMemMap(va + 3 * g, 2 * g, 0, h, 0)); /* beyond */
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuMemMap(va + 1, g, 0, h, 0));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuMemMap(va, g, 1, h, 0));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuMemMap(va, 0, 0, h, 0));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuMemMap(va, g, 0, h, 1));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuMemSetAccess(va, 2 * g, &both, 1)); /* nothing there */
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuMemUnmap(va, 2 * g));
    CU(cuMemMap(va, 2 * g, 0, h, 0));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuMemMap(va + g, g, 0, h, 0)); /* twice */
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuMemUnmap(va, g));            /* half of it */
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuMemUnmap(va, 3 * g));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuMemSetAccess(va, 3 * g, &both, 1));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuMemSetAccess(va, g, &both, 1));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuMemSetAccess(va, 2 * g, NULL, 1));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuMemSetAccess(va, 2 * g, &both, 0));
    where.location.id = 99;
    EXPECT_CU(CUDA_ERROR_INVALID_DEVICE, cuMemSetAccess(va, 2 * g, &where, 1));
    where = both;
    where.flags = (CUmemAccess_flags)2;
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuMemSetAccess(va, 2 * g, &where, 1));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuMemAddressFree(va, 4 * g)); /* in use */
    CU(cuMemUnmap(va, 2 * g));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuMemAddressFree(va, 2 * g)); /* not what was reserved */
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuMemAddressFree(va + g, 3 * g));
    CU(cuMemAddressFree(va, 4 * g));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuMemAddressFree(va, 4 * g));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuMemMap(va, 2 * g, 0, h, 0));
    CU(cuMemAddressFree(other, 4 * g));
    CU(cuMemRelease(h));
    printf("mistakes: done\n");
}

/* Nothing is lost, and what was given back can be had again. */
static void
many_rounds(void)
{
    size_t before, after, total;
    CUmemGenericAllocationHandle h;
    CUdeviceptr va;
    uint32_t wrong = 0;

    CU(cuMemGetInfo(&before, &total));
    CU(cuMemAddressReserve(&va, 4 * g, 0, 0, 0));
    for (uint32_t i = 0; i < ROUNDS; i++) {
        CU(cuMemCreate(&h, g, &prop, 0));
        CU(cuMemMap(va + i % 4 * g, g, 0, h, 0));
        CU(cuMemSetAccess(va + i % 4 * g, g, &both, 1));
        CU(cuMemRelease(h));
        CU(cuMemsetD32Async(va + i % 4 * g, i, g / 4, NULL));
        if (i % 4 != 3)
            continue;
        for (uint32_t k = 0; k < 4; k++)
            wrong += drv_word_at(va + k * g + 4096) != i - 3 + k;
        CU(cuMemUnmap(va, 4 * g));
    }
    EXPECT(wrong == 0);
    CU(cuMemAddressFree(va, 4 * g));
    CU(cuMemGetInfo(&after, &total));
    EXPECT(after == before);
    printf("%d rounds: %u wrong\n", ROUNDS, wrong);
}

int
main(void)
{
    CUdevice dev = drv_open();
    int supported = 0;

    CU(cuDeviceGetAttribute(&supported, CU_DEVICE_ATTRIBUTE_VIRTUAL_MEMORY_MANAGEMENT_SUPPORTED,
                            dev));
    EXPECT(supported == 1);
    CU(cuMemGetAllocationGranularity(&g, &prop, CU_MEM_ALLOC_GRANULARITY_RECOMMENDED));
    printf("granularity: %zu\n", g);
    grown_segment();
    aliases();
    questions();
    mistakes();
    many_rounds();
    drv_close(dev);
    return drv_result("vmm");
}
