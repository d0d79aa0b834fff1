/* backend/driver/soft/dev/memset.c -- the fill entry points; all are asynchronous to the host */
#include "backend/driver/soft/dev/copy.h"
#include "cuda_api.h"

#define SMALL_BYTES (64u << 10)

static CUresult
fill(CUdeviceptr dst, size_t pitch, unsigned element, uint32_t value, size_t width, size_t height,
     CUstream hStream)
{
    struct sd_op *op;
    CUstream stream;
    CUresult cr = sd_stream_get(hStream, &stream);

    if (cr != CUDA_SUCCESS)
        return cr;
    op = sd_op_new(SD_WORK_FILL, stream->ctx);
    if (op == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    cr = sd_fill_make(dst, pitch, element, value, width, height, &op->work.fill);
    if (cr != CUDA_SUCCESS || op->work.fill.height == 0) {
        sd_op_free(op);
        return cr;
    }
    if (width * element * height <= SMALL_BYTES && sd_stream_try_now(stream, op))
        return CUDA_SUCCESS;
    return sd_stream_submit(stream, op, NULL);
}

GP_EXPORT CUresult
cuMemsetD8_v2(CUdeviceptr dstDevice, unsigned char uc, size_t N)
{
    return fill(dstDevice, 0, 1, uc, N, 1, NULL);
}

GP_EXPORT CUresult
cuMemsetD16_v2(CUdeviceptr dstDevice, unsigned short us, size_t N)
{
    return fill(dstDevice, 0, 2, us, N, 1, NULL);
}

GP_EXPORT CUresult
cuMemsetD32_v2(CUdeviceptr dstDevice, unsigned int ui, size_t N)
{
    return fill(dstDevice, 0, 4, ui, N, 1, NULL);
}

GP_EXPORT CUresult
cuMemsetD2D8_v2(CUdeviceptr dstDevice, size_t dstPitch, unsigned char uc, size_t Width,
                size_t Height)
{
    return fill(dstDevice, dstPitch, 1, uc, Width, Height, NULL);
}

GP_EXPORT CUresult
cuMemsetD2D16_v2(CUdeviceptr dstDevice, size_t dstPitch, unsigned short us, size_t Width,
                 size_t Height)
{
    return fill(dstDevice, dstPitch, 2, us, Width, Height, NULL);
}

GP_EXPORT CUresult
cuMemsetD2D32_v2(CUdeviceptr dstDevice, size_t dstPitch, unsigned int ui, size_t Width,
                 size_t Height)
{
    return fill(dstDevice, dstPitch, 4, ui, Width, Height, NULL);
}

GP_EXPORT CUresult
cuMemsetD8Async(CUdeviceptr dstDevice, unsigned char uc, size_t N, CUstream hStream)
{
    return fill(dstDevice, 0, 1, uc, N, 1, hStream);
}

GP_EXPORT CUresult
cuMemsetD16Async(CUdeviceptr dstDevice, unsigned short us, size_t N, CUstream hStream)
{
    return fill(dstDevice, 0, 2, us, N, 1, hStream);
}

GP_EXPORT CUresult
cuMemsetD32Async(CUdeviceptr dstDevice, unsigned int ui, size_t N, CUstream hStream)
{
    return fill(dstDevice, 0, 4, ui, N, 1, hStream);
}

GP_EXPORT CUresult
cuMemsetD2D8Async(CUdeviceptr dstDevice, size_t dstPitch, unsigned char uc, size_t Width,
                  size_t Height, CUstream hStream)
{
    return fill(dstDevice, dstPitch, 1, uc, Width, Height, hStream);
}

GP_EXPORT CUresult
cuMemsetD2D16Async(CUdeviceptr dstDevice, size_t dstPitch, unsigned short us, size_t Width,
                   size_t Height, CUstream hStream)
{
    return fill(dstDevice, dstPitch, 2, us, Width, Height, hStream);
}

GP_EXPORT CUresult
cuMemsetD2D32Async(CUdeviceptr dstDevice, size_t dstPitch, unsigned int ui, size_t Width,
                   size_t Height, CUstream hStream)
{
    return fill(dstDevice, dstPitch, 4, ui, Width, Height, hStream);
}
