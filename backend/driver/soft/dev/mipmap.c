/* backend/driver/soft/dev/mipmap.c -- mipmapped arrays: levels one behind the other in one piece */
#include "backend/driver/soft/dev/array.h"

#include "backend/driver/soft/dev/mem.h"
#include "backend/driver/soft/dev/module.h"
#include "backend/driver/soft/dev/sched.h"
#include "cuda_api.h"

#include <string.h>

static size_t
halved(size_t n)
{
    return n > 1 ? n / 2 : n;
}

/* How many levels there are until all that shrinks is one texel. */
static unsigned
levels_max(const CUDA_ARRAY3D_DESCRIPTOR *d)
{
    bool layers = (d->Flags & (CUDA_ARRAY3D_LAYERED | CUDA_ARRAY3D_CUBEMAP)) != 0;
    size_t n = d->Width > d->Height ? d->Width : d->Height;
    unsigned levels = 1;

    if (!layers && d->Depth > n)
        n = d->Depth;
    for (; n > 1; n /= 2)
        levels++;
    return levels;
}

static void
mipmap_free(CUmipmappedArray mip)
{
    for (unsigned i = 0; i < mip->count; i++)
        if (mip->levels[i] != NULL)
            sd_object_free(mip->levels[i]);
    sd_mem_release_all(NULL, mip);
    sd_object_free(mip);
}

/* Shapes of all levels; their bytes in *bytes_p. */
static CUresult
mipmap_shape(CUmipmappedArray mip, CUcontext ctx, const CUDA_ARRAY3D_DESCRIPTOR *desc,
             unsigned element, uint64_t *bytes_p)
{
    bool layers = (desc->Flags & (CUDA_ARRAY3D_LAYERED | CUDA_ARRAY3D_CUBEMAP)) != 0;
    CUDA_ARRAY3D_DESCRIPTOR d = *desc;
    uint64_t at = 0;

    for (unsigned i = 0; i < mip->count; i++) {
        CUarray level = sd_object_new(SD_ARRAY, sizeof(*level));
        uint64_t bytes;

        if (level == NULL)
            return CUDA_ERROR_OUT_OF_MEMORY;
        mip->levels[i] = level;
        if (!sd_array_shape(level, ctx, &d, element, &bytes))
            return CUDA_ERROR_OUT_OF_MEMORY;
        level->level = true;
        level->base = at;
        at += gp_align_up_u64(bytes, SD_MEM_ALIGN);
        d.Width = halved(d.Width);
        d.Height = halved(d.Height);
        if (!layers)
            d.Depth = halved(d.Depth);
    }
    *bytes_p = at;
    return CUDA_SUCCESS;
}

GP_EXPORT CUresult
cuMipmappedArrayCreate(CUmipmappedArray *pHandle,
                       const CUDA_ARRAY3D_DESCRIPTOR *pMipmappedArrayDesc,
                       unsigned int numMipmapLevels)
{
    CUmipmappedArray mip;
    unsigned element = 0;
    uint64_t bytes, base;
    CUcontext ctx;
    CUresult cr;

    SD_ENTER(ctx);
    if (pHandle == NULL || pMipmappedArrayDesc == NULL || numMipmapLevels == 0)
        return CUDA_ERROR_INVALID_VALUE;
    cr = sd_array_check(pMipmappedArrayDesc, &element);
    if (cr != CUDA_SUCCESS)
        return cr;
    mip = sd_object_new(SD_MIPMAP, sizeof(*mip));
    if (mip == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    mip->ctx = ctx;
    mip->count = numMipmapLevels;
    if (mip->count > levels_max(pMipmappedArrayDesc)) /* more than there can be are left out */
        mip->count = levels_max(pMipmappedArrayDesc);
    cr = mipmap_shape(mip, ctx, pMipmappedArrayDesc, element, &bytes);
    if (cr == CUDA_SUCCESS)
        cr = sd_mem_alloc(ctx->dev, ctx, mip, SD_MEM_VARIABLE, bytes, 0, &base);
    if (cr != CUDA_SUCCESS) {
        mipmap_free(mip);
        return cr;
    }
    for (unsigned i = 0; i < mip->count; i++)
        mip->levels[i]->base += base;
    sd_modules_lock();
    mip->ctx_next = ctx->mipmaps;
    ctx->mipmaps = mip;
    sd_modules_unlock();
    *pHandle = mip;
    return CUDA_SUCCESS;
}

void
sd_mipmaps_of_ctx_gone(CUcontext ctx)
{
    sd_modules_lock();
    while (ctx->mipmaps != NULL) {
        CUmipmappedArray mip = ctx->mipmaps;

        ctx->mipmaps = mip->ctx_next;
        mipmap_free(mip);
    }
    sd_modules_unlock();
}

static CUresult
mipmap_get(CUmipmappedArray mip)
{
    SD_ENTER_READY();
    if (!sd_object_is(mip, SD_MIPMAP))
        return CUDA_ERROR_INVALID_HANDLE;
    return sd_ctx_check(mip->ctx);
}

GP_EXPORT CUresult
cuMipmappedArrayGetLevel(CUarray *pLevelArray, CUmipmappedArray hMipmappedArray, unsigned int level)
{
    CUresult cr = mipmap_get(hMipmappedArray);

    if (cr != CUDA_SUCCESS)
        return cr;
    if (pLevelArray == NULL || level >= hMipmappedArray->count)
        return CUDA_ERROR_INVALID_VALUE;
    *pLevelArray = hMipmappedArray->levels[level];
    return CUDA_SUCCESS;
}

GP_EXPORT CUresult
cuMipmappedArrayGetSparseProperties(CUDA_ARRAY_SPARSE_PROPERTIES *sparseProperties,
                                    CUmipmappedArray mipmap)
{
    CUcontext ctx;
    CUresult cr;

    SD_ENTER(ctx);
    (void)sparseProperties; /* none is sparse */
    cr = mipmap_get(mipmap);
    return cr != CUDA_SUCCESS ? cr : CUDA_ERROR_INVALID_VALUE;
}

GP_EXPORT CUresult
cuMipmappedArrayGetMemoryRequirements(CUDA_ARRAY_MEMORY_REQUIREMENTS *memoryRequirements,
                                      CUmipmappedArray mipmap, CUdevice device)
{
    CUresult cr = mipmap_get(mipmap);
    uint64_t bytes = 0;

    if (cr != CUDA_SUCCESS)
        return cr;
    if (memoryRequirements == NULL || sd_device_get(device) == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    for (unsigned i = 0; i < mipmap->count; i++)
        bytes +=
            gp_align_up_u64(mipmap->levels[i]->slice * mipmap->levels[i]->slices, SD_MEM_ALIGN);
    memset(memoryRequirements, 0, sizeof(*memoryRequirements));
    memoryRequirements->size = gp_align_up_u64(bytes, SD_GRANULARITY);
    memoryRequirements->alignment = SD_GRANULARITY;
    return CUDA_SUCCESS;
}

GP_EXPORT CUresult
cuMipmappedArrayDestroy(CUmipmappedArray hMipmappedArray)
{
    CUresult cr = mipmap_get(hMipmappedArray);
    CUmipmappedArray *link;

    if (cr != CUDA_SUCCESS)
        return cr;
    sd_ctx_wait_all(hMipmappedArray->ctx);
    sd_modules_lock();
    for (link = &hMipmappedArray->ctx->mipmaps; *link != NULL && *link != hMipmappedArray;)
        link = &(*link)->ctx_next;
    if (*link == hMipmappedArray) {
        *link = hMipmappedArray->ctx_next;
        mipmap_free(hMipmappedArray);
    } else {
        cr = CUDA_ERROR_INVALID_HANDLE; /* another thread was first */
    }
    sd_modules_unlock();
    return cr;
}
