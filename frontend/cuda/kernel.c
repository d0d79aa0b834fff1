/* frontend/cuda/kernel.c -- questions about kernels (CUkernel) and their settings */
#include "cuda_api.h"
#include "frontend/core/perf.h"
#include "frontend/core/stats.h"
#include "frontend/cuda/function.h"
#include "frontend/cuda/kernels.h"
#include "frontend/cuda/state.h"
#include "protocol/base/util.h"

/* A kernel for a call that stays here. */
static CUresult
local(CUkernel handle, struct fe_function **kernel_p)
{
    CUresult cr = CUDA_SUCCESS;

    FE_COUNT_LOCAL();
    if (fe_state_get(&cr) == NULL)
        return cr;
    *kernel_p = fe_object_get(WIRE_HANDLE_KERNEL, handle);
    return *kernel_p != NULL ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
}

GP_EXPORT CUresult
cuKernelGetFunction(CUfunction *function, CUkernel handle)
{
    GP_USE();
    struct fe_function *kernel = NULL, *f;
    CUresult cr = local(handle, &kernel);

    if (cr != CUDA_SUCCESS)
        return cr;
    if (function == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    cr = fe_context_usable(fe_context_current());
    if (cr != CUDA_SUCCESS)
        return cr;
    fe_kernels_lock(kernel->owner);
    f = kernel->function;
    if (f == NULL) {
        f = fe_object_create(WIRE_HANDLE_FUNCTION, NULL);
        if (f != NULL) {
            f->object.wire = kernel->object.wire;
            f->session = kernel->session;
            f->owner = kernel->owner;
            f->name = kernel->name;
            f->row = kernel->row;
            f->kernel = kernel;
            kernel->function = f;
        }
    }
    fe_kernels_unlock(kernel->owner);
    if (f == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    *function = (CUfunction)f;
    return CUDA_SUCCESS;
}

GP_EXPORT CUresult
cuKernelGetLibrary(CUlibrary *library, CUkernel handle)
{
    GP_USE();
    struct fe_function *kernel = NULL;
    CUresult cr = local(handle, &kernel);

    if (cr == CUDA_SUCCESS && library == NULL)
        cr = CUDA_ERROR_INVALID_VALUE;
    if (cr == CUDA_SUCCESS)
        *library = (CUlibrary)fe_kernels_owner(kernel->owner);
    return cr;
}

GP_EXPORT CUresult
cuKernelGetName(const char **name, CUkernel handle)
{
    GP_USE();
    struct fe_function *kernel = NULL;
    CUresult cr = local(handle, &kernel);

    if (cr == CUDA_SUCCESS && name == NULL)
        cr = CUDA_ERROR_INVALID_VALUE;
    if (cr == CUDA_SUCCESS)
        *name = kernel->name;
    return cr;
}

GP_EXPORT CUresult
cuKernelGetParamInfo(CUkernel handle, size_t index, size_t *offset, size_t *size)
{
    GP_USE();
    struct fe_function *kernel = NULL;
    CUresult cr = local(handle, &kernel);

    return cr == CUDA_SUCCESS ? fe_function_param(kernel, index, offset, size) : cr;
}

GP_EXPORT CUresult
cuKernelGetAttribute(int *value, CUfunction_attribute attribute, CUkernel handle, CUdevice dev)
{
    GP_USE();
    struct fe_function *kernel = NULL;
    CUresult cr = local(handle, &kernel);

    if (cr != CUDA_SUCCESS)
        return cr;
    if (value == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    if (fe_state_device(fe_state_get(NULL), dev) == NULL)
        return CUDA_ERROR_INVALID_DEVICE;
    if ((int)attribute < 0 || attribute >= CU_FUNC_ATTRIBUTE_MAX)
        return CUDA_ERROR_INVALID_VALUE;
    return fe_kernel_attribute(kernel, attribute, dev, value);
}

GP_EXPORT CUresult
cuKernelSetAttribute(CUfunction_attribute attribute, int value, CUkernel handle, CUdevice dev)
{
    GP_USE();
    struct fe_function *kernel = NULL;
    CUresult cr = local(handle, &kernel);

    if (cr != CUDA_SUCCESS)
        return cr;
    if (fe_state_device(fe_state_get(NULL), dev) == NULL)
        return CUDA_ERROR_INVALID_DEVICE;
    return fe_kernel_set_attribute(kernel, attribute, value, dev);
}

GP_EXPORT CUresult
cuKernelSetCacheConfig(CUkernel handle, CUfunc_cache config, CUdevice dev)
{
    GP_USE();
    struct fe_function *kernel = NULL;
    CUresult cr = local(handle, &kernel);

    if (cr != CUDA_SUCCESS)
        return cr;
    if (fe_state_device(fe_state_get(NULL), dev) == NULL)
        return CUDA_ERROR_INVALID_DEVICE;
    return fe_kernel_set_cache(kernel, config, dev);
}
