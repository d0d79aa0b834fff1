/* backend/driver/soft/dev/mempool_share.c -- pools that other processes import allocations from
 *
 * What is shared is memory of the device's file, as for IPC handles (ipc.c). A pool's descriptor is
 * a small sealed memory file that tells which pool it is; by that an imported pool knows the
 * allocations that may come through it.
 */
#include "backend/driver/soft/dev/ipc.h"
#include "backend/driver/soft/dev/mempool.h"
#include "cuda_api.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define POOL_MAGIC 0x67706f6cu

struct ticket {
    uint32_t magic;
    int32_t device;
    uint64_t number;
};

GP_EXPORT CUresult
cuMemPoolExportToShareableHandle(void *handle_out, CUmemoryPool pool,
                                 CUmemAllocationHandleType handleType, unsigned long long flags)
{
    const int seals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL;
    struct ticket ticket = {.magic = POOL_MAGIC};
    int fd;

    SD_ENTER_READY();
    if (handle_out == NULL || flags != 0 ||
        handleType != CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR ||
        !sd_mempool_number(pool, SD_POOL_EXPORTS, &ticket.number, &ticket.device))
        return CUDA_ERROR_INVALID_VALUE;
    fd = memfd_create("gpupool memory pool", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0)
        return CUDA_ERROR_OPERATING_SYSTEM;
    if (write(fd, &ticket, sizeof(ticket)) != (ssize_t)sizeof(ticket) ||
        fcntl(fd, F_ADD_SEALS, seals) != 0) {
        close(fd);
        return CUDA_ERROR_OPERATING_SYSTEM;
    }
    memcpy(handle_out, &fd, sizeof(fd));
    return CUDA_SUCCESS;
}

GP_EXPORT CUresult
cuMemPoolImportFromShareableHandle(CUmemoryPool *pool_out, void *handle,
                                   CUmemAllocationHandleType handleType, unsigned long long flags)
{
    struct ticket ticket = {0};
    struct sd_device *dev;

    SD_ENTER_READY();
    if (pool_out == NULL || flags != 0 || handleType != CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR ||
        pread((int)(intptr_t)handle, &ticket, sizeof(ticket), 0) != (ssize_t)sizeof(ticket) ||
        ticket.magic != POOL_MAGIC)
        return CUDA_ERROR_INVALID_VALUE;
    dev = sd_device_get(ticket.device);
    return dev != NULL ? sd_mempool_import(dev, ticket.number, pool_out)
                       : CUDA_ERROR_INVALID_DEVICE;
}

GP_EXPORT CUresult
cuMemPoolExportPointer(CUmemPoolPtrExportData *shareData_out, CUdeviceptr ptr)
{
    struct sd_alloc alloc;
    uint64_t number;
    int device;

    SD_ENTER_READY();
    if (shareData_out == NULL || !sd_map_find(ptr, &alloc) || alloc.kind != SD_MEM_POOL ||
        alloc.base != ptr || !sd_mempool_number(alloc.owner, SD_POOL_EXPORTS, &number, &device))
        return CUDA_ERROR_INVALID_VALUE;
    return sd_ipc_export(&alloc, number, shareData_out);
}

GP_EXPORT CUresult
cuMemPoolImportPointer(CUdeviceptr *ptr_out, CUmemoryPool pool, CUmemPoolPtrExportData *shareData)
{
    CUcontext ctx;
    uint64_t number;
    int device;

    SD_ENTER(ctx);
    if (ptr_out == NULL || shareData == NULL ||
        !sd_mempool_number(pool, SD_POOL_IMPORTED, &number, &device))
        return CUDA_ERROR_INVALID_VALUE;
    return sd_ipc_import(ctx, shareData, number, ptr_out);
}
