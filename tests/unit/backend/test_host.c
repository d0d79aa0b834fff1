/* tests/unit/backend/test_host.c -- host memory of the worker that stands for the client's */
#include "backend/memory/host.h"

#include <criterion/criterion.h>
#include <string.h>
#include <sys/mman.h>

#define PAGE 4096ull
#define BASE 0x440000000000ull /* nothing lies there */

static unsigned registered;

static CUresult
fake_register(void *p, size_t bytes, unsigned flags)
{
    (void)p;
    (void)bytes;
    cr_assert_eq(flags, CU_MEMHOSTREGISTER_PORTABLE | CU_MEMHOSTREGISTER_DEVICEMAP);
    registered++;
    return CUDA_SUCCESS;
}

static CUresult
fake_unregister(void *p)
{
    (void)p;
    registered--;
    return CUDA_SUCCESS;
}

static CUresult
fake_pointer(CUdeviceptr *device, void *p, unsigned flags)
{
    (void)flags;
    *device = (CUdeviceptr)(uintptr_t)p;
    return CUDA_SUCCESS;
}

static const struct be_driver_table table = {
    .cuMemHostRegister_v2 = fake_register,
    .cuMemHostUnregister = fake_unregister,
    .cuMemHostGetDevicePointer_v2 = fake_pointer,
};

static struct be_host host;

static void
setup(void)
{
    host = (struct be_host){.driver = &table, .bytes_max = 64 * PAGE};
    registered = 0;
}

static void
teardown(void)
{
    be_host_destroy(&host);
    cr_assert_eq(registered, 0);
}

TestSuite(host, .init = setup, .fini = teardown);

static bool
mapped(uint64_t address)
{
    unsigned char there;

    return mincore((void *)(uintptr_t)(address / PAGE * PAGE), PAGE, &there) == 0;
}

Test(host, memory_lies_at_the_clients_address_and_is_zero)
{
    uint64_t local = 0, device = 0;

    cr_assert_eq(be_host_map(&host, BASE + 100, 3 * PAGE, &local, &device), CUDA_SUCCESS);
    cr_assert_eq(local, BASE + 100);
    cr_assert_eq(device, BASE + 100);
    cr_assert_eq(host.bytes, 4 * PAGE);
    cr_assert_eq(*(volatile uint64_t *)(uintptr_t)(BASE + 3 * PAGE), 0);
    be_host_unmap(&host, local, 3 * PAGE);
    cr_assert_eq(host.bytes, 0);
    cr_assert_not(mapped(BASE));
}

Test(host, ranges_that_share_a_page_share_its_memory)
{
    uint64_t a, b, c, device;

    cr_assert_eq(be_host_map(&host, BASE + 10, 100, &a, &device), CUDA_SUCCESS);
    cr_assert_eq(be_host_map(&host, BASE + 2 * PAGE + 5, PAGE, &b, &device), CUDA_SUCCESS);
    /* Around and between both. */
    cr_assert_eq(be_host_map(&host, BASE + 500, 4 * PAGE, &c, &device), CUDA_SUCCESS);
    cr_assert_eq(c, BASE + 500);
    cr_assert_eq(device, BASE + 500);
    cr_assert_eq(host.bytes, 5 * PAGE);
    be_host_unmap(&host, a, 100);
    be_host_unmap(&host, b, PAGE);
    cr_assert_eq(host.bytes, 5 * PAGE);
    cr_assert(mapped(BASE) && mapped(BASE + 2 * PAGE));
    be_host_unmap(&host, c, 4 * PAGE);
    cr_assert_eq(host.bytes, 0);
    cr_assert_not(mapped(BASE) || mapped(BASE + PAGE) || mapped(BASE + 4 * PAGE));
}

Test(host, where_the_address_is_taken_it_lies_elsewhere)
{
    uint64_t local, device, other;
    void *taken = mmap((void *)BASE, PAGE, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);

    cr_assert_eq(taken, (void *)BASE);
    *(uint64_t *)taken = 77;
    cr_assert_eq(be_host_map(&host, BASE - PAGE, 3 * PAGE, &local, &device), CUDA_SUCCESS);
    cr_assert_neq(local, BASE - PAGE);
    cr_assert_eq(device, local);
    cr_assert_eq(host.bytes, 3 * PAGE);
    cr_assert_eq(*(uint64_t *)taken, 77);
    cr_assert_not(mapped(BASE - PAGE)); /* nothing is left of the attempt */
    cr_assert_eq(be_host_map(&host, BASE + PAGE, PAGE, &other, &device), CUDA_SUCCESS);
    cr_assert_eq(other, BASE + PAGE);
    be_host_unmap(&host, local, 3 * PAGE);
    cr_assert_eq(host.bytes, PAGE);
    munmap(taken, PAGE);
}

Test(host, there_is_a_limit_and_nonsense_is_refused)
{
    uint64_t local, device;

    cr_assert_eq(be_host_map(&host, BASE, 65 * PAGE, &local, &device), CUDA_ERROR_OUT_OF_MEMORY);
    cr_assert_eq(host.bytes, 0);
    cr_assert_eq(be_host_map(&host, BASE, 64 * PAGE, &local, &device), CUDA_SUCCESS);
    cr_assert_eq(be_host_map(&host, BASE + 100 * PAGE, 1, &local, &device),
                 CUDA_ERROR_OUT_OF_MEMORY);
    cr_assert_eq(be_host_map(&host, BASE, 0, &local, &device), CUDA_ERROR_INVALID_VALUE);
    cr_assert_eq(be_host_map(&host, 100, 10, &local, &device), CUDA_ERROR_INVALID_VALUE);
    cr_assert_eq(be_host_map(&host, UINT64_MAX - 5, 10, &local, &device),
                 CUDA_ERROR_INVALID_VALUE);
    cr_assert_eq(be_host_map(&host, BASE, UINT64_MAX, &local, &device), CUDA_ERROR_INVALID_VALUE);
    cr_assert_eq(be_host_map(&host, 0xffff800000000000ull, PAGE, &local, &device),
                 CUDA_ERROR_INVALID_VALUE);
}
