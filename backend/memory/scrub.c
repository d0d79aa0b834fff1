/* backend/memory/scrub.c */
#include "backend/memory/scrub.h"

#include "protocol/base/log.h"

#include <string.h>

CUresult
be_scrub_range(const struct be_driver *driver, uint64_t address, uint64_t bytes)
{
    const struct be_driver_table *t = &driver->table;
    CUstream stream = NULL;
    CUresult cr;

    cr = t->cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING);
    if (cr != CUDA_SUCCESS)
        return cr;
    cr = t->cuMemsetD8Async(address, 0, bytes, stream);
    if (cr == CUDA_SUCCESS)
        cr = t->cuStreamSynchronize(stream);
    (void)t->cuStreamDestroy_v2(stream);
    return cr;
}

/* With a context of device current: through a window of addresses of its own. */
static CUresult
scrub_window(const struct be_driver *driver, CUmemGenericAllocationHandle handle, uint64_t bytes,
             int32_t device)
{
    const struct be_driver_table *t = &driver->table;
    CUmemAccessDesc access;
    CUdeviceptr at = 0;
    CUresult cr;

    cr = t->cuMemAddressReserve(&at, bytes, 0, 0, 0);
    if (cr != CUDA_SUCCESS)
        return cr;
    cr = t->cuMemMap(at, bytes, 0, handle, 0);
    if (cr == CUDA_SUCCESS) {
        memset(&access, 0, sizeof(access));
        access.location.type = CU_MEM_LOCATION_TYPE_DEVICE;
        access.location.id = device;
        access.flags = CU_MEM_ACCESS_FLAGS_PROT_READWRITE;
        cr = t->cuMemSetAccess(at, bytes, &access, 1);
        if (cr == CUDA_SUCCESS)
            cr = be_scrub_range(driver, at, bytes);
        if (t->cuMemUnmap(at, bytes) != CUDA_SUCCESS)
            log_warn("memory: a window of %llu bytes stays mapped", (unsigned long long)bytes);
    }
    (void)t->cuMemAddressFree(at, bytes);
    return cr;
}

CUresult
be_scrub_handle(const struct be_driver *driver, CUmemGenericAllocationHandle handle, uint64_t bytes,
                int32_t device)
{
    const struct be_driver_table *t = &driver->table;
    CUcontext context, out;
    CUresult cr;

    /* Memory can be made without a context, filled it cannot be. */
    cr = t->cuDevicePrimaryCtxRetain(&context, device);
    if (cr != CUDA_SUCCESS)
        return cr;
    cr = t->cuCtxPushCurrent_v2(context);
    if (cr == CUDA_SUCCESS) {
        cr = scrub_window(driver, handle, bytes, device);
        (void)t->cuCtxPopCurrent_v2(&out);
    }
    (void)t->cuDevicePrimaryCtxRelease_v2(device);
    return cr;
}
