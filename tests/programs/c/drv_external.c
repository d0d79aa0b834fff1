/* tests/programs/c/drv_external.c -- external memory: descriptors of memory that was made
 * exportable */
#include "drv.h"

#include <fcntl.h>
#include <unistd.h>

static CUmemGenericAllocationHandle memory;
static CUdeviceptr own;
static size_t granule;

static int
exported(void)
{
    int fd = -1;

    CU(cuMemExportToShareableHandle(&fd, memory, CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR, 0));
    return fd;
}

static void
make(void)
{
    CUmemAllocationProp prop = {.type = CU_MEM_ALLOCATION_TYPE_PINNED,
                                .requestedHandleTypes = CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR,
                                .location = {CU_MEM_LOCATION_TYPE_DEVICE, 0}};
    CUmemAccessDesc access = {{CU_MEM_LOCATION_TYPE_DEVICE, 0}, CU_MEM_ACCESS_FLAGS_PROT_READWRITE};

    CU(cuMemGetAllocationGranularity(&granule, &prop, CU_MEM_ALLOC_GRANULARITY_MINIMUM));
    CU(cuMemCreate(&memory, granule, &prop, 0));
    CU(cuMemAddressReserve(&own, granule, 0, 0, 0));
    CU(cuMemMap(own, granule, 0, memory, 0));
    CU(cuMemSetAccess(own, granule, &access, 1));
    CU(cuMemsetD32(own, 7, granule / 4));
}

static void
refused(void)
{
    CUDA_EXTERNAL_MEMORY_HANDLE_DESC desc = {.type = CU_EXTERNAL_MEMORY_HANDLE_TYPE_OPAQUE_FD,
                                             .size = 4096};
    CUexternalMemory external;
    int null = open("/dev/null", O_RDWR | O_CLOEXEC), fd = exported();

    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuImportExternalMemory(&external, NULL));
    desc.handle.fd = null;
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuImportExternalMemory(&external, &desc)); /* none at all */
    desc.handle.fd = fd;
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuImportExternalMemory(NULL, &desc));
    desc.size = 0;
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuImportExternalMemory(&external, &desc));
    desc.size = 2 * granule; /* more than there is */
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuImportExternalMemory(&external, &desc));
    desc.size = 4096;
    desc.type = CU_EXTERNAL_MEMORY_HANDLE_TYPE_D3D12_HEAP;
    EXPECT_CU(CUDA_ERROR_NOT_SUPPORTED, cuImportExternalMemory(&external, &desc));
    EXPECT_CU(CUDA_ERROR_INVALID_HANDLE, cuDestroyExternalMemory(NULL));
    /* Who was refused still has the descriptor. */
    EXPECT(close(fd) == 0 && close(null) == 0);
    printf("refused what it should\n");
}

static void
buffers(void)
{
    CUDA_EXTERNAL_MEMORY_HANDLE_DESC desc = {.type = CU_EXTERNAL_MEMORY_HANDLE_TYPE_OPAQUE_FD,
                                             .size = 65536,
                                             .flags = CUDA_EXTERNAL_MEMORY_DEDICATED};
    CUDA_EXTERNAL_MEMORY_BUFFER_DESC whole = {.size = 65536}, part = {.offset = 4096, .size = 4096};
    CUDA_EXTERNAL_MEMORY_BUFFER_DESC behind = {.offset = 65536, .size = 1};
    CUdeviceptr all, some;
    CUexternalMemory external;

    desc.handle.fd = exported();
    CU(cuImportExternalMemory(&external, &desc));
    EXPECT(fcntl(desc.handle.fd, F_GETFD) == -1); /* it is the driver's now */
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuExternalMemoryGetMappedBuffer(&all, external, NULL));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuExternalMemoryGetMappedBuffer(&all, external, &behind));
    EXPECT_CU(CUDA_ERROR_INVALID_HANDLE, cuExternalMemoryGetMappedBuffer(&all, NULL, &whole));
    CU(cuExternalMemoryGetMappedBuffer(&all, external, &whole));
    CU(cuExternalMemoryGetMappedBuffer(&some, external, &part));
    EXPECT(all != own && drv_word_at(all) == 7);
    CU(cuMemsetD32(some, 9, 1));
    CU(cuCtxSynchronize());
    EXPECT(drv_word_at(own + 4096) == 9 && drv_word_at(all + 4096) == 9);
    CU(cuMemFree(all));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuMemFree(all));
    CU(cuDestroyExternalMemory(external));
    EXPECT_CU(CUDA_ERROR_INVALID_HANDLE, cuDestroyExternalMemory(external));
    EXPECT(drv_word_at(some) == 9); /* a buffer outlives the handle */
    CU(cuMemFree(some));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuMemsetD32(some, 1, 1));
    EXPECT(drv_word_at(own + 4096) == 9);
    printf("buffers of imported memory\n");
}

int
main(void)
{
    CUexternalMemory external;
    CUdevice dev;

    EXPECT_CU(CUDA_ERROR_NOT_INITIALIZED, cuImportExternalMemory(&external, NULL));
    dev = drv_open();
    make();
    refused();
    buffers();
    CU(cuMemUnmap(own, granule));
    CU(cuMemRelease(memory));
    CU(cuMemAddressFree(own, granule));
    drv_close(dev);
    return drv_result("drv_external");
}
