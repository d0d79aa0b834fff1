/* protocol/legacy/narrow.c -- entry points from before CUDA 3.2, with sizes and addresses of 32
 * bits, in terms of today's
 *
 * No device address of a 64-bit process fits into 32 bits: what would have to return one fails with
 * CUDA_ERROR_OUT_OF_MEMORY, what is given one names no memory. Arrays and host memory work.
 */
#include "cuda_api.h"
#include "protocol/base/util.h"

#include <stdint.h>

static unsigned
narrow(size_t n)
{
    return n > UINT32_MAX ? UINT32_MAX : (unsigned)n;
}

/* -- memory --------------------------------------------------------------------------------- */

GP_EXPORT CUresult
cuMemAlloc(CUdeviceptr_v1 *address, unsigned int bytes)
{
    CUdeviceptr wide = 0;
    CUresult cr = cuMemAlloc_v2(address != NULL ? &wide : NULL, bytes);

    if (cr != CUDA_SUCCESS)
        return cr;
    if (wide > UINT32_MAX) {
        (void)cuMemFree_v2(wide);
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    *address = (CUdeviceptr_v1)wide;
    return CUDA_SUCCESS;
}

GP_EXPORT CUresult
cuMemAllocPitch(CUdeviceptr_v1 *address, unsigned int *pitch, unsigned int width,
                unsigned int height, unsigned int element)
{
    CUdeviceptr wide = 0;
    size_t wide_pitch = 0;
    CUresult cr = cuMemAllocPitch_v2(address != NULL ? &wide : NULL,
                                     pitch != NULL ? &wide_pitch : NULL, width, height, element);

    if (cr != CUDA_SUCCESS)
        return cr;
    if (wide > UINT32_MAX || wide_pitch > UINT32_MAX) {
        (void)cuMemFree_v2(wide);
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    *address = (CUdeviceptr_v1)wide;
    *pitch = (unsigned)wide_pitch;
    return CUDA_SUCCESS;
}

GP_EXPORT CUresult
cuMemFree(CUdeviceptr_v1 address)
{
    return cuMemFree_v2(address);
}

GP_EXPORT CUresult
cuMemGetAddressRange(CUdeviceptr_v1 *base, unsigned int *size, CUdeviceptr_v1 address)
{
    CUdeviceptr wide = 0;
    size_t wide_size = 0;
    CUresult cr = cuMemGetAddressRange_v2(&wide, &wide_size, address);

    if (cr != CUDA_SUCCESS)
        return cr;
    if (wide > UINT32_MAX)
        return CUDA_ERROR_NOT_FOUND;
    if (base != NULL)
        *base = (CUdeviceptr_v1)wide;
    if (size != NULL)
        *size = narrow(wide_size);
    return CUDA_SUCCESS;
}

/* What does not fit is the most that can be said. */
GP_EXPORT CUresult
cuMemGetInfo(unsigned int *free_bytes, unsigned int *total_bytes)
{
    size_t wide_free = 0, wide_total = 0;
    CUresult cr = cuMemGetInfo_v2(free_bytes != NULL ? &wide_free : NULL,
                                  total_bytes != NULL ? &wide_total : NULL);

    if (cr == CUDA_SUCCESS && free_bytes != NULL)
        *free_bytes = narrow(wide_free);
    if (cr == CUDA_SUCCESS && total_bytes != NULL)
        *total_bytes = narrow(wide_total);
    return cr;
}

GP_EXPORT CUresult
cuModuleGetGlobal(CUdeviceptr_v1 *address, unsigned int *bytes, CUmodule module, const char *name)
{
    CUdeviceptr wide = 0;
    size_t wide_bytes = 0;
    CUresult cr = cuModuleGetGlobal_v2(address != NULL ? &wide : NULL,
                                       bytes != NULL ? &wide_bytes : NULL, module, name);

    if (cr != CUDA_SUCCESS)
        return cr;
    if (wide > UINT32_MAX)
        return CUDA_ERROR_OUT_OF_MEMORY;
    if (address != NULL)
        *address = (CUdeviceptr_v1)wide;
    if (bytes != NULL)
        *bytes = narrow(wide_bytes);
    return CUDA_SUCCESS;
}

/* -- fills ---------------------------------------------------------------------------------- */

GP_EXPORT CUresult
cuMemsetD8(CUdeviceptr_v1 dst, unsigned char value, unsigned int n)
{
    return cuMemsetD8_v2(dst, value, n);
}

GP_EXPORT CUresult
cuMemsetD16(CUdeviceptr_v1 dst, unsigned short value, unsigned int n)
{
    return cuMemsetD16_v2(dst, value, n);
}

GP_EXPORT CUresult
cuMemsetD32(CUdeviceptr_v1 dst, unsigned int value, unsigned int n)
{
    return cuMemsetD32_v2(dst, value, n);
}

GP_EXPORT CUresult
cuMemsetD2D8(CUdeviceptr_v1 dst, unsigned int pitch, unsigned char value, unsigned int width,
             unsigned int height)
{
    return cuMemsetD2D8_v2(dst, pitch, value, width, height);
}

GP_EXPORT CUresult
cuMemsetD2D16(CUdeviceptr_v1 dst, unsigned int pitch, unsigned short value, unsigned int width,
              unsigned int height)
{
    return cuMemsetD2D16_v2(dst, pitch, value, width, height);
}

GP_EXPORT CUresult
cuMemsetD2D32(CUdeviceptr_v1 dst, unsigned int pitch, unsigned int value, unsigned int width,
              unsigned int height)
{
    return cuMemsetD2D32_v2(dst, pitch, value, width, height);
}

/* -- lines ---------------------------------------------------------------------------------- */

GP_EXPORT CUresult
cuMemcpyHtoD(CUdeviceptr_v1 dst, const void *src, unsigned int bytes)
{
    return cuMemcpyHtoD_v2(dst, src, bytes);
}

GP_EXPORT CUresult
cuMemcpyHtoDAsync(CUdeviceptr_v1 dst, const void *src, unsigned int bytes, CUstream stream)
{
    return cuMemcpyHtoDAsync_v2(dst, src, bytes, stream);
}

GP_EXPORT CUresult
cuMemcpyDtoH(void *dst, CUdeviceptr_v1 src, unsigned int bytes)
{
    return cuMemcpyDtoH_v2(dst, src, bytes);
}

GP_EXPORT CUresult
cuMemcpyDtoHAsync(void *dst, CUdeviceptr_v1 src, unsigned int bytes, CUstream stream)
{
    return cuMemcpyDtoHAsync_v2(dst, src, bytes, stream);
}

GP_EXPORT CUresult
cuMemcpyDtoD(CUdeviceptr_v1 dst, CUdeviceptr_v1 src, unsigned int bytes)
{
    return cuMemcpyDtoD_v2(dst, src, bytes);
}

GP_EXPORT CUresult
cuMemcpyDtoDAsync(CUdeviceptr_v1 dst, CUdeviceptr_v1 src, unsigned int bytes, CUstream stream)
{
    return cuMemcpyDtoDAsync_v2(dst, src, bytes, stream);
}

GP_EXPORT CUresult
cuMemcpyDtoA(CUarray dst, unsigned int offset, CUdeviceptr_v1 src, unsigned int bytes)
{
    return cuMemcpyDtoA_v2(dst, offset, src, bytes);
}

GP_EXPORT CUresult
cuMemcpyAtoD(CUdeviceptr_v1 dst, CUarray src, unsigned int offset, unsigned int bytes)
{
    return cuMemcpyAtoD_v2(dst, src, offset, bytes);
}

GP_EXPORT CUresult
cuMemcpyHtoA(CUarray dst, unsigned int offset, const void *src, unsigned int bytes)
{
    return cuMemcpyHtoA_v2(dst, offset, src, bytes);
}

GP_EXPORT CUresult
cuMemcpyHtoAAsync(CUarray dst, unsigned int offset, const void *src, unsigned int bytes,
                  CUstream stream)
{
    return cuMemcpyHtoAAsync_v2(dst, offset, src, bytes, stream);
}

GP_EXPORT CUresult
cuMemcpyAtoH(void *dst, CUarray src, unsigned int offset, unsigned int bytes)
{
    return cuMemcpyAtoH_v2(dst, src, offset, bytes);
}

GP_EXPORT CUresult
cuMemcpyAtoHAsync(void *dst, CUarray src, unsigned int offset, unsigned int bytes, CUstream stream)
{
    return cuMemcpyAtoHAsync_v2(dst, src, offset, bytes, stream);
}

GP_EXPORT CUresult
cuMemcpyAtoA(CUarray dst, unsigned int dst_offset, CUarray src, unsigned int src_offset,
             unsigned int bytes)
{
    return cuMemcpyAtoA_v2(dst, dst_offset, src, src_offset, bytes);
}

/* -- boxes ---------------------------------------------------------------------------------- */

static CUDA_MEMCPY2D
wide_2d(const CUDA_MEMCPY2D_v1 *c)
{
    return (CUDA_MEMCPY2D){
        .srcXInBytes = c->srcXInBytes,
        .srcY = c->srcY,
        .srcMemoryType = c->srcMemoryType,
        .srcHost = c->srcHost,
        .srcDevice = c->srcDevice,
        .srcArray = c->srcArray,
        .srcPitch = c->srcPitch,
        .dstXInBytes = c->dstXInBytes,
        .dstY = c->dstY,
        .dstMemoryType = c->dstMemoryType,
        .dstHost = c->dstHost,
        .dstDevice = c->dstDevice,
        .dstArray = c->dstArray,
        .dstPitch = c->dstPitch,
        .WidthInBytes = c->WidthInBytes,
        .Height = c->Height,
    };
}

static CUDA_MEMCPY3D
wide_3d(const CUDA_MEMCPY3D_v1 *c)
{
    return (CUDA_MEMCPY3D){
        .srcXInBytes = c->srcXInBytes,
        .srcY = c->srcY,
        .srcZ = c->srcZ,
        .srcLOD = c->srcLOD,
        .srcMemoryType = c->srcMemoryType,
        .srcHost = c->srcHost,
        .srcDevice = c->srcDevice,
        .srcArray = c->srcArray,
        .srcPitch = c->srcPitch,
        .srcHeight = c->srcHeight,
        .dstXInBytes = c->dstXInBytes,
        .dstY = c->dstY,
        .dstZ = c->dstZ,
        .dstLOD = c->dstLOD,
        .dstMemoryType = c->dstMemoryType,
        .dstHost = c->dstHost,
        .dstDevice = c->dstDevice,
        .dstArray = c->dstArray,
        .dstPitch = c->dstPitch,
        .dstHeight = c->dstHeight,
        .WidthInBytes = c->WidthInBytes,
        .Height = c->Height,
        .Depth = c->Depth,
    };
}

GP_EXPORT CUresult
cuMemcpy2D(const CUDA_MEMCPY2D_v1 *copy)
{
    CUDA_MEMCPY2D wide;

    if (copy != NULL)
        wide = wide_2d(copy);
    return cuMemcpy2D_v2(copy != NULL ? &wide : NULL);
}

GP_EXPORT CUresult
cuMemcpy2DUnaligned(const CUDA_MEMCPY2D_v1 *copy)
{
    CUDA_MEMCPY2D wide;

    if (copy != NULL)
        wide = wide_2d(copy);
    return cuMemcpy2DUnaligned_v2(copy != NULL ? &wide : NULL);
}

GP_EXPORT CUresult
cuMemcpy2DAsync(const CUDA_MEMCPY2D_v1 *copy, CUstream stream)
{
    CUDA_MEMCPY2D wide;

    if (copy != NULL)
        wide = wide_2d(copy);
    return cuMemcpy2DAsync_v2(copy != NULL ? &wide : NULL, stream);
}

GP_EXPORT CUresult
cuMemcpy3D(const CUDA_MEMCPY3D_v1 *copy)
{
    CUDA_MEMCPY3D wide;

    if (copy != NULL)
        wide = wide_3d(copy);
    return cuMemcpy3D_v2(copy != NULL ? &wide : NULL);
}

GP_EXPORT CUresult
cuMemcpy3DAsync(const CUDA_MEMCPY3D_v1 *copy, CUstream stream)
{
    CUDA_MEMCPY3D wide;

    if (copy != NULL)
        wide = wide_3d(copy);
    return cuMemcpy3DAsync_v2(copy != NULL ? &wide : NULL, stream);
}

/* -- texture references --------------------------------------------------------------------- */

GP_EXPORT CUresult
cuTexRefSetAddress(unsigned int *offset, CUtexref ref, CUdeviceptr_v1 address, unsigned int bytes)
{
    size_t wide = 0;
    CUresult cr = cuTexRefSetAddress_v2(offset != NULL ? &wide : NULL, ref, address, bytes);

    if (cr == CUDA_SUCCESS && offset != NULL)
        *offset = (unsigned)wide;
    return cr;
}

GP_EXPORT CUresult
cuTexRefSetAddress2D(CUtexref ref, const CUDA_ARRAY_DESCRIPTOR_v1 *desc, CUdeviceptr_v1 address,
                     unsigned int pitch)
{
    CUDA_ARRAY_DESCRIPTOR wide;

    if (desc != NULL)
        wide = (CUDA_ARRAY_DESCRIPTOR){desc->Width, desc->Height, desc->Format, desc->NumChannels};
    return cuTexRefSetAddress2D_v3(ref, desc != NULL ? &wide : NULL, address, pitch);
}

GP_EXPORT CUresult
cuTexRefSetAddress2D_v2(CUtexref ref, const CUDA_ARRAY_DESCRIPTOR *desc, CUdeviceptr address,
                        size_t pitch)
{
    return cuTexRefSetAddress2D_v3(ref, desc, address, pitch);
}

GP_EXPORT CUresult
cuTexRefGetAddress(CUdeviceptr_v1 *address, CUtexref ref)
{
    CUdeviceptr wide = 0;
    CUresult cr = cuTexRefGetAddress_v2(address != NULL ? &wide : NULL, ref);

    if (cr == CUDA_SUCCESS && wide > UINT32_MAX)
        cr = CUDA_ERROR_INVALID_VALUE;
    if (cr == CUDA_SUCCESS)
        *address = (CUdeviceptr_v1)wide;
    return cr;
}
