/* frontend/cuda/memcpy_array.c -- copies of one row of an array */
#include "cuda_api.h"
#include "frontend/cuda/copy.h"

static struct fe_side
row_of(CUarray array, size_t offset)
{
    return (struct fe_side){
        .type = CU_MEMORYTYPE_ARRAY, .base = (uint64_t)(uintptr_t)array, .x = offset};
}

static struct fe_side
line_at(CUmemorytype type, uint64_t address, size_t bytes)
{
    return (struct fe_side){.type = type, .base = address, .pitch = bytes, .slice = bytes};
}

static CUresult
copy_row(struct fe_side dst, struct fe_side src, size_t bytes, CUstream stream, bool wait)
{
    struct fe_copy copy = {.shape = {bytes, 1, 1}, .src = src, .dst = dst};

    return fe_copy_box(CUDA_SUCCESS, &copy, stream, wait);
}

GP_EXPORT CUresult
cuMemcpyDtoA_v2(CUarray dst, size_t offset, CUdeviceptr src, size_t bytes)
{
    return copy_row(row_of(dst, offset), line_at(CU_MEMORYTYPE_DEVICE, src, bytes), bytes, NULL,
                    true);
}

GP_EXPORT CUresult
cuMemcpyAtoD_v2(CUdeviceptr dst, CUarray src, size_t offset, size_t bytes)
{
    return copy_row(line_at(CU_MEMORYTYPE_DEVICE, dst, bytes), row_of(src, offset), bytes, NULL,
                    true);
}

GP_EXPORT CUresult
cuMemcpyHtoA_v2(CUarray dst, size_t offset, const void *src, size_t bytes)
{
    return copy_row(row_of(dst, offset),
                    line_at(CU_MEMORYTYPE_HOST, (uint64_t)(uintptr_t)src, bytes), bytes, NULL,
                    true);
}

GP_EXPORT CUresult
cuMemcpyHtoAAsync_v2(CUarray dst, size_t offset, const void *src, size_t bytes, CUstream stream)
{
    return copy_row(row_of(dst, offset),
                    line_at(CU_MEMORYTYPE_HOST, (uint64_t)(uintptr_t)src, bytes), bytes, stream,
                    false);
}

GP_EXPORT CUresult
cuMemcpyAtoH_v2(void *dst, CUarray src, size_t offset, size_t bytes)
{
    return copy_row(line_at(CU_MEMORYTYPE_HOST, (uint64_t)(uintptr_t)dst, bytes),
                    row_of(src, offset), bytes, NULL, true);
}

GP_EXPORT CUresult
cuMemcpyAtoHAsync_v2(void *dst, CUarray src, size_t offset, size_t bytes, CUstream stream)
{
    return copy_row(line_at(CU_MEMORYTYPE_HOST, (uint64_t)(uintptr_t)dst, bytes),
                    row_of(src, offset), bytes, stream, false);
}

GP_EXPORT CUresult
cuMemcpyAtoA_v2(CUarray dst, size_t dst_offset, CUarray src, size_t src_offset, size_t bytes)
{
    return copy_row(row_of(dst, dst_offset), row_of(src, src_offset), bytes, NULL, true);
}
