/* backend/memory/scrub.c */
#include "backend/memory/scrub.h"

#include "backend/memory/window.h"

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

CUresult
be_scrub_handle(const struct be_driver *driver, CUmemGenericAllocationHandle handle, uint64_t bytes,
                int32_t device)
{
    const struct be_driver_table *t = &driver->table;
    CUcontext context, out;
    CUdeviceptr at;
    CUresult cr;

    /* Memory can be made without a context, filled it cannot be. */
    cr = t->cuDevicePrimaryCtxRetain(&context, device);
    if (cr != CUDA_SUCCESS)
        return cr;
    cr = t->cuCtxPushCurrent_v2(context);
    if (cr == CUDA_SUCCESS) {
        cr = be_window_open(driver, handle, bytes, device, &at);
        if (cr == CUDA_SUCCESS) {
            cr = be_scrub_range(driver, at, bytes);
            be_window_close(driver, at, bytes);
        }
        (void)t->cuCtxPopCurrent_v2(&out);
    }
    (void)t->cuDevicePrimaryCtxRelease_v2(device);
    return cr;
}
