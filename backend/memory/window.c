/* backend/memory/window.c */
#include "backend/memory/window.h"

#include "protocol/base/log.h"

#include <string.h>

CUresult
be_window_open(const struct be_driver *driver, CUmemGenericAllocationHandle handle, uint64_t bytes,
               int32_t device, CUdeviceptr *at_p)
{
    const struct be_driver_table *t = &driver->table;
    CUmemAccessDesc access;
    CUdeviceptr at = 0;
    CUresult cr;

    cr = t->cuMemAddressReserve(&at, bytes, 0, 0, 0);
    if (cr != CUDA_SUCCESS)
        return cr;
    cr = t->cuMemMap(at, bytes, 0, handle, 0);
    if (cr != CUDA_SUCCESS)
        goto err_free;
    memset(&access, 0, sizeof(access));
    access.location.type = CU_MEM_LOCATION_TYPE_DEVICE;
    access.location.id = device;
    access.flags = CU_MEM_ACCESS_FLAGS_PROT_READWRITE;
    cr = t->cuMemSetAccess(at, bytes, &access, 1);
    if (cr != CUDA_SUCCESS)
        goto err_unmap;
    *at_p = at;
    return CUDA_SUCCESS;

err_unmap:
    (void)t->cuMemUnmap(at, bytes);
err_free:
    (void)t->cuMemAddressFree(at, bytes);
    return cr;
}

void
be_window_close(const struct be_driver *driver, CUdeviceptr at, uint64_t bytes)
{
    if (driver->table.cuMemUnmap(at, bytes) != CUDA_SUCCESS ||
        driver->table.cuMemAddressFree(at, bytes) != CUDA_SUCCESS)
        log_warn("memory: a window of %llu bytes stays", (unsigned long long)bytes);
}
