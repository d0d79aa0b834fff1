/* backend/driver/soft/dev/array.c -- arrays; textures over them are the machine's part */
#include "backend/driver/soft/dev/array.h"

#include "backend/driver/soft/dev/mem.h"
#include "backend/driver/soft/dev/module.h"
#include "backend/driver/soft/dev/sched.h"
#include "backend/driver/soft/exec/tex_sample.h"
#include "cuda_api.h"

#include <string.h>

#define ARRAY_FLAGS                                                                                \
    (CUDA_ARRAY3D_LAYERED | CUDA_ARRAY3D_SURFACE_LDST | CUDA_ARRAY3D_CUBEMAP |                     \
     CUDA_ARRAY3D_TEXTURE_GATHER | CUDA_ARRAY3D_COLOR_ATTACHMENT)
#define DIM_MAX 131072u
/* Block-compressed and video formats have numbers from here on. */
#define FORMATS_OTHER 0x90u

CUresult
sd_array_check(const CUDA_ARRAY3D_DESCRIPTOR *d, unsigned *element_p)
{
    bool layered = (d->Flags & CUDA_ARRAY3D_LAYERED) != 0;
    bool cube = (d->Flags & CUDA_ARRAY3D_CUBEMAP) != 0;
    unsigned bytes = sd_tex_channel_bytes(d->Format);

    if (d->Width == 0 || d->Width > DIM_MAX || d->Height > DIM_MAX || d->Depth > DIM_MAX ||
        (d->NumChannels != 1 && d->NumChannels != 2 && d->NumChannels != 4))
        return CUDA_ERROR_INVALID_VALUE;
    if ((layered && d->Depth == 0) || (!layered && d->Depth != 0 && d->Height == 0))
        return CUDA_ERROR_INVALID_VALUE;
    if (cube && (d->Width != d->Height || d->Depth % 6 != 0 || d->Depth == 0 ||
                 (!layered && d->Depth != 6)))
        return CUDA_ERROR_INVALID_VALUE;
    if (bytes == 0 && (unsigned)d->Format < FORMATS_OTHER)
        return CUDA_ERROR_INVALID_VALUE;
    if ((d->Flags & ~(unsigned)ARRAY_FLAGS) != 0)
        return sd_refuse("cuArray3DCreate of a sparse, deferred or depth array");
    if (bytes == 0)
        return sd_refuse("cuArray3DCreate of a block-compressed or video format");
    *element_p = bytes * d->NumChannels;
    return CUDA_SUCCESS;
}

bool
sd_array_shape(CUarray array, CUcontext ctx, const CUDA_ARRAY3D_DESCRIPTOR *desc,
               unsigned element_bytes, uint64_t *bytes_p)
{
    array->ctx = ctx;
    array->desc = *desc;
    array->element_bytes = element_bytes;
    array->rows = desc->Height != 0 ? desc->Height : 1;
    array->slices = desc->Depth != 0 ? desc->Depth : 1;
    array->pitch = desc->Width * element_bytes;
    array->slice = array->pitch * array->rows;
    return !__builtin_mul_overflow(array->slice, array->slices, bytes_p);
}

GP_EXPORT CUresult
cuArray3DCreate_v2(CUarray *pHandle, const CUDA_ARRAY3D_DESCRIPTOR *pAllocateArray)
{
    unsigned element = 0;
    uint64_t bytes;
    CUcontext ctx;
    CUarray array;
    CUresult cr;

    SD_ENTER(ctx);
    if (pHandle == NULL || pAllocateArray == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    cr = sd_array_check(pAllocateArray, &element);
    if (cr != CUDA_SUCCESS)
        return cr;
    array = sd_object_new(SD_ARRAY, sizeof(*array));
    if (array == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    if (!sd_array_shape(array, ctx, pAllocateArray, element, &bytes))
        cr = CUDA_ERROR_OUT_OF_MEMORY;
    else /* owned by the array: it is no address that a program may use */
        cr = sd_mem_alloc(ctx->dev, ctx, array, SD_MEM_VARIABLE, bytes, 0, &array->base);
    if (cr != CUDA_SUCCESS) {
        sd_object_free(array);
        return cr;
    }
    sd_modules_lock();
    array->ctx_next = ctx->arrays;
    ctx->arrays = array;
    sd_modules_unlock();
    *pHandle = array;
    return CUDA_SUCCESS;
}

void
sd_arrays_of_ctx_gone(CUcontext ctx)
{
    sd_modules_lock();
    while (ctx->arrays != NULL) {
        CUarray array = ctx->arrays;

        ctx->arrays = array->ctx_next;
        sd_mem_release_all(NULL, array);
        sd_object_free(array);
    }
    sd_modules_unlock();
}

GP_EXPORT CUresult
cuArrayCreate_v2(CUarray *pHandle, const CUDA_ARRAY_DESCRIPTOR *pAllocateArray)
{
    CUDA_ARRAY3D_DESCRIPTOR d = {0};

    if (pAllocateArray == NULL)
        return cuArray3DCreate_v2(pHandle, NULL);
    d.Width = pAllocateArray->Width;
    d.Height = pAllocateArray->Height;
    d.Format = pAllocateArray->Format;
    d.NumChannels = pAllocateArray->NumChannels;
    return cuArray3DCreate_v2(pHandle, &d);
}

GP_EXPORT CUresult
cuArray3DCreate(CUarray *pHandle, const CUDA_ARRAY3D_DESCRIPTOR_v1 *pAllocateArray)
{
    CUDA_ARRAY3D_DESCRIPTOR d = {0};

    if (pAllocateArray == NULL)
        return cuArray3DCreate_v2(pHandle, NULL);
    d.Width = pAllocateArray->Width;
    d.Height = pAllocateArray->Height;
    d.Depth = pAllocateArray->Depth;
    d.Format = pAllocateArray->Format;
    d.NumChannels = pAllocateArray->NumChannels;
    d.Flags = pAllocateArray->Flags;
    return cuArray3DCreate_v2(pHandle, &d);
}

GP_EXPORT CUresult
cuArrayCreate(CUarray *pHandle, const CUDA_ARRAY_DESCRIPTOR_v1 *pAllocateArray)
{
    CUDA_ARRAY3D_DESCRIPTOR d = {0};

    if (pAllocateArray == NULL)
        return cuArray3DCreate_v2(pHandle, NULL);
    d.Width = pAllocateArray->Width;
    d.Height = pAllocateArray->Height;
    d.Format = pAllocateArray->Format;
    d.NumChannels = pAllocateArray->NumChannels;
    return cuArray3DCreate_v2(pHandle, &d);
}

static CUresult
array_get(CUarray array)
{
    SD_ENTER_READY();
    if (!sd_object_is(array, SD_ARRAY))
        return CUDA_ERROR_INVALID_HANDLE;
    return sd_ctx_check(array->ctx);
}

GP_EXPORT CUresult
cuArrayDestroy(CUarray hArray)
{
    CUresult cr = array_get(hArray);
    CUarray *link;

    if (cr != CUDA_SUCCESS)
        return cr;
    if (hArray->level)
        return CUDA_ERROR_INVALID_HANDLE; /* goes with its mipmapped array */
    sd_ctx_wait_all(hArray->ctx);
    sd_modules_lock();
    for (link = &hArray->ctx->arrays; *link != NULL && *link != hArray;)
        link = &(*link)->ctx_next;
    if (*link == hArray) {
        *link = hArray->ctx_next;
        sd_mem_release_all(NULL, hArray);
        sd_object_free(hArray);
    } else {
        cr = CUDA_ERROR_INVALID_HANDLE; /* another thread was first */
    }
    sd_modules_unlock();
    return cr;
}

GP_EXPORT CUresult
cuArray3DGetDescriptor_v2(CUDA_ARRAY3D_DESCRIPTOR *pArrayDescriptor, CUarray hArray)
{
    CUresult cr = array_get(hArray);

    if (cr != CUDA_SUCCESS)
        return cr;
    if (pArrayDescriptor == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    *pArrayDescriptor = hArray->desc;
    return CUDA_SUCCESS;
}

GP_EXPORT CUresult
cuArrayGetDescriptor_v2(CUDA_ARRAY_DESCRIPTOR *pArrayDescriptor, CUarray hArray)
{
    CUresult cr = array_get(hArray);

    if (cr != CUDA_SUCCESS)
        return cr;
    if (pArrayDescriptor == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    *pArrayDescriptor = (CUDA_ARRAY_DESCRIPTOR){hArray->desc.Width, hArray->desc.Height,
                                                hArray->desc.Format, hArray->desc.NumChannels};
    return CUDA_SUCCESS;
}

GP_EXPORT CUresult
cuArray3DGetDescriptor(CUDA_ARRAY3D_DESCRIPTOR_v1 *pArrayDescriptor, CUarray hArray)
{
    CUresult cr = array_get(hArray);

    if (cr != CUDA_SUCCESS)
        return cr;
    if (pArrayDescriptor == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    *pArrayDescriptor = (CUDA_ARRAY3D_DESCRIPTOR_v1){
        (unsigned)hArray->desc.Width, (unsigned)hArray->desc.Height, (unsigned)hArray->desc.Depth,
        hArray->desc.Format,          hArray->desc.NumChannels,      hArray->desc.Flags};
    return CUDA_SUCCESS;
}

GP_EXPORT CUresult
cuArrayGetDescriptor(CUDA_ARRAY_DESCRIPTOR_v1 *pArrayDescriptor, CUarray hArray)
{
    CUresult cr = array_get(hArray);

    if (cr != CUDA_SUCCESS)
        return cr;
    if (pArrayDescriptor == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    *pArrayDescriptor =
        (CUDA_ARRAY_DESCRIPTOR_v1){(unsigned)hArray->desc.Width, (unsigned)hArray->desc.Height,
                                   hArray->desc.Format, hArray->desc.NumChannels};
    return CUDA_SUCCESS;
}

/* No array here is sparse or has planes: what these two say of any other one is documented. */
GP_EXPORT CUresult
cuArrayGetSparseProperties(CUDA_ARRAY_SPARSE_PROPERTIES *sparseProperties, CUarray array)
{
    CUcontext ctx;
    CUresult cr;

    SD_ENTER(ctx);
    (void)sparseProperties;
    cr = array_get(array);
    return cr != CUDA_SUCCESS ? cr : CUDA_ERROR_INVALID_VALUE;
}

GP_EXPORT CUresult
cuArrayGetPlane(CUarray *pPlaneArray, CUarray hArray, unsigned int planeIdx)
{
    CUresult cr = array_get(hArray);

    (void)pPlaneArray;
    (void)planeIdx;
    return cr != CUDA_SUCCESS ? cr : CUDA_ERROR_INVALID_VALUE;
}

GP_EXPORT CUresult
cuArrayGetMemoryRequirements(CUDA_ARRAY_MEMORY_REQUIREMENTS *memoryRequirements, CUarray array,
                             CUdevice device)
{
    CUresult cr = array_get(array);

    if (cr != CUDA_SUCCESS)
        return cr;
    if (memoryRequirements == NULL || sd_device_get(device) == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    memset(memoryRequirements, 0, sizeof(*memoryRequirements));
    memoryRequirements->size = gp_align_up_u64(array->slice * array->slices, SD_GRANULARITY);
    memoryRequirements->alignment = SD_GRANULARITY;
    return CUDA_SUCCESS;
}

CUresult
sd_array_place(CUarray array, uint64_t x, uint64_t y, uint64_t z, uint64_t width, uint64_t height,
               uint64_t depth, uint64_t *addr_p, uint64_t *pitch_p, uint64_t *slice_p)
{
    CUresult cr = array_get(array);

    if (cr != CUDA_SUCCESS)
        return cr;
    if (array->element_bytes == 0) /* not ready: another thread makes it where one was destroyed */
        return CUDA_ERROR_INVALID_HANDLE;
    if (x % array->element_bytes != 0 || width % array->element_bytes != 0 ||
        width > array->pitch || x > array->pitch - width || height > array->rows ||
        y > array->rows - height || depth > array->slices || z > array->slices - depth)
        return CUDA_ERROR_INVALID_VALUE;
    *addr_p = array->base + z * array->slice + y * array->pitch + x;
    *pitch_p = array->pitch;
    *slice_p = array->slice;
    return CUDA_SUCCESS;
}
