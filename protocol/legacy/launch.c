/* protocol/legacy/launch.c -- launches as before CUDA 4
 *
 * What is set for a function is kept beside it, in a table by its handle, and handed to
 * cuLaunchKernel as one buffer of parameters.
 */
#include "cuda_api.h"
#include "protocol/base/util.h"
#include "protocol/legacy/settings.h"

#include <string.h>

/* The function's setting with the lock held; nothing is held on error. */
static CUresult
begin(CUfunction function, struct gp_legacy_setting **setting_p)
{
    int threads;
    /* Whether there is such a function, and whether calls are possible at all. */
    CUresult cr = cuFuncGetAttribute(&threads, CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK, function);

    if (cr != CUDA_SUCCESS)
        return cr;
    *setting_p = gp_legacy_begin(function);
    return *setting_p != NULL ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
}

static CUresult
end(CUresult cr)
{
    gp_legacy_end();
    return cr;
}

GP_EXPORT CUresult
cuFuncSetBlockShape(CUfunction function, int x, int y, int z)
{
    struct gp_legacy_setting *s = NULL;
    CUresult cr = begin(function, &s);

    if (cr != CUDA_SUCCESS)
        return cr;
    if (x <= 0 || y <= 0 || z <= 0)
        return end(CUDA_ERROR_INVALID_VALUE);
    s->block[0] = (unsigned)x;
    s->block[1] = (unsigned)y;
    s->block[2] = (unsigned)z;
    return end(CUDA_SUCCESS);
}

GP_EXPORT CUresult
cuFuncSetSharedSize(CUfunction function, unsigned int bytes)
{
    struct gp_legacy_setting *s = NULL;
    CUresult cr = begin(function, &s);

    if (cr != CUDA_SUCCESS)
        return cr;
    s->shared_bytes = bytes;
    return end(CUDA_SUCCESS);
}

GP_EXPORT CUresult
cuParamSetSize(CUfunction function, unsigned int bytes)
{
    struct gp_legacy_setting *s = NULL;
    CUresult cr = begin(function, &s);

    if (cr != CUDA_SUCCESS)
        return cr;
    if (bytes > GP_LEGACY_PARAMS_MAX)
        return end(CUDA_ERROR_INVALID_VALUE);
    s->param_bytes = bytes;
    return end(CUDA_SUCCESS);
}

GP_EXPORT CUresult
cuParamSetv(CUfunction function, int offset, void *from, unsigned int bytes)
{
    struct gp_legacy_setting *s = NULL;
    CUresult cr = begin(function, &s);

    if (cr != CUDA_SUCCESS)
        return cr;
    if (from == NULL || offset < 0 || (unsigned)offset > GP_LEGACY_PARAMS_MAX ||
        bytes > GP_LEGACY_PARAMS_MAX - (unsigned)offset)
        return end(CUDA_ERROR_INVALID_VALUE);
    memcpy(s->params + offset, from, bytes);
    return end(CUDA_SUCCESS);
}

GP_EXPORT CUresult
cuParamSeti(CUfunction function, int offset, unsigned int value)
{
    return cuParamSetv(function, offset, &value, sizeof(value));
}

GP_EXPORT CUresult
cuParamSetf(CUfunction function, int offset, float value)
{
    return cuParamSetv(function, offset, &value, sizeof(value));
}

/* References of modules are there for every kernel of theirs; only that place may be named. */
GP_EXPORT CUresult
cuParamSetTexRef(CUfunction function, int unit, CUtexref ref)
{
    struct gp_legacy_setting *s = NULL;
    unsigned int flags;
    CUresult cr = begin(function, &s);

    if (cr != CUDA_SUCCESS)
        return cr;
    cr = end(unit == CU_PARAM_TR_DEFAULT ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE);
    return cr == CUDA_SUCCESS ? cuTexRefGetFlags(&flags, ref) : cr;
}

GP_EXPORT CUresult
cuLaunchGridAsync(CUfunction function, int width, int height, CUstream stream)
{
    struct gp_legacy_setting copy, *s = NULL;
    size_t bytes;
    void *extra[] = {CU_LAUNCH_PARAM_BUFFER_POINTER, copy.params, CU_LAUNCH_PARAM_BUFFER_SIZE,
                     &bytes, CU_LAUNCH_PARAM_END};
    CUresult cr = begin(function, &s);

    if (cr != CUDA_SUCCESS)
        return cr;
    copy = *s;
    (void)end(CUDA_SUCCESS);
    if (width <= 0 || height <= 0)
        return CUDA_ERROR_INVALID_VALUE;
    bytes = copy.param_bytes;
    return cuLaunchKernel(function, (unsigned)width, (unsigned)height, 1, copy.block[0],
                          copy.block[1], copy.block[2], copy.shared_bytes, stream, NULL,
                          bytes > 0 ? extra : NULL);
}

GP_EXPORT CUresult
cuLaunchGrid(CUfunction function, int width, int height)
{
    return cuLaunchGridAsync(function, width, height, NULL);
}

GP_EXPORT CUresult
cuLaunch(CUfunction function)
{
    return cuLaunchGridAsync(function, 1, 1, NULL);
}

/* A grid over several devices would have to meet across them. */
GP_EXPORT CUresult
cuLaunchCooperativeKernelMultiDevice(CUDA_LAUNCH_PARAMS *list, unsigned int n, unsigned int flags)
{
    const unsigned known = CUDA_COOPERATIVE_LAUNCH_MULTI_DEVICE_NO_PRE_LAUNCH_SYNC |
                           CUDA_COOPERATIVE_LAUNCH_MULTI_DEVICE_NO_POST_LAUNCH_SYNC;

    if (list == NULL || n == 0 || (flags & ~known) != 0)
        return CUDA_ERROR_INVALID_VALUE;
    if (n > 1)
        return CUDA_ERROR_NOT_SUPPORTED;
    return cuLaunchCooperativeKernel(list->function, list->gridDimX, list->gridDimY, list->gridDimZ,
                                     list->blockDimX, list->blockDimY, list->blockDimZ,
                                     list->sharedMemBytes, list->hStream, list->kernelParams);
}
