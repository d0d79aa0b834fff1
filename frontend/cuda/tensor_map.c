/* frontend/cuda/tensor_map.c -- tensor maps: 128 bytes that only the server's driver can write */
#include "cuda_api.h"
#include "frontend/cuda/ask.h"
#include "protocol/base/util.h"

#define RANK_MAX 5u

static bool
lists_ok(cuuint32_t rank, const void *map, const void *dim, const void *strides,
         const void *element_strides)
{
    return rank >= 1 && rank <= RANK_MAX && map != NULL && dim != NULL &&
           (strides != NULL || rank == 1) && element_strides != NULL;
}

GP_EXPORT CUresult
cuTensorMapEncodeTiled(CUtensorMap *map, CUtensorMapDataType type, cuuint32_t rank, void *address,
                       const cuuint64_t *dim, const cuuint64_t *strides, const cuuint32_t *box,
                       const cuuint32_t *element_strides, CUtensorMapInterleave interleave,
                       CUtensorMapSwizzle swizzle, CUtensorMapL2promotion l2,
                       CUtensorMapFloatOOBfill fill)
{
    struct wire_cuTensorMapEncodeTiled_args args = {
        .type = (uint32_t)type,
        .address = (uint64_t)(uintptr_t)address,
        .dim = dim,
        .dim_len = rank,
        .strides = strides,
        .strides_len = rank - 1,
        .box = box,
        .box_len = rank,
        .element_strides = element_strides,
        .element_strides_len = rank,
        .interleave = (uint32_t)interleave,
        .swizzle = (uint32_t)swizzle,
        .l2 = (uint32_t)l2,
        .fill = (uint32_t)fill,
    };
    struct wire_cuTensorMapEncodeTiled_reply reply;
    struct fe_call call;
    CUresult cr = fe_enter(&call, WIRE_CALL_cuTensorMapEncodeTiled);

    if (cr != CUDA_SUCCESS)
        return cr;
    if (!lists_ok(rank, map, dim, strides, element_strides) || box == NULL)
        return fe_leave(&call, CUDA_ERROR_INVALID_VALUE);
    FE_ASK(cr, &call, cuTensorMapEncodeTiled, &args, &reply);
    if (cr == CUDA_SUCCESS)
        *map = reply.map;
    return fe_leave(&call, cr);
}

GP_EXPORT CUresult
cuTensorMapEncodeIm2col(CUtensorMap *map, CUtensorMapDataType type, cuuint32_t rank, void *address,
                        const cuuint64_t *dim, const cuuint64_t *strides, const int *lower,
                        const int *upper, cuuint32_t channels, cuuint32_t pixels,
                        const cuuint32_t *element_strides, CUtensorMapInterleave interleave,
                        CUtensorMapSwizzle swizzle, CUtensorMapL2promotion l2,
                        CUtensorMapFloatOOBfill fill)
{
    struct wire_cuTensorMapEncodeIm2col_args args = {
        .type = (uint32_t)type,
        .address = (uint64_t)(uintptr_t)address,
        .dim = dim,
        .dim_len = rank,
        .strides = strides,
        .strides_len = rank - 1,
        .lower = lower,
        .lower_len = rank - 2,
        .upper = upper,
        .upper_len = rank - 2,
        .channels = channels,
        .pixels = pixels,
        .element_strides = element_strides,
        .element_strides_len = rank,
        .interleave = (uint32_t)interleave,
        .swizzle = (uint32_t)swizzle,
        .l2 = (uint32_t)l2,
        .fill = (uint32_t)fill,
    };
    struct wire_cuTensorMapEncodeIm2col_reply reply;
    struct fe_call call;
    CUresult cr = fe_enter(&call, WIRE_CALL_cuTensorMapEncodeIm2col);

    if (cr != CUDA_SUCCESS)
        return cr;
    if (!lists_ok(rank, map, dim, strides, element_strides) || rank < 3 || lower == NULL ||
        upper == NULL)
        return fe_leave(&call, CUDA_ERROR_INVALID_VALUE);
    FE_ASK(cr, &call, cuTensorMapEncodeIm2col, &args, &reply);
    if (cr == CUDA_SUCCESS)
        *map = reply.map;
    return fe_leave(&call, cr);
}

GP_EXPORT CUresult
cuTensorMapEncodeIm2colWide(CUtensorMap *map, CUtensorMapDataType type, cuuint32_t rank,
                            void *address, const cuuint64_t *dim, const cuuint64_t *strides,
                            int lower, int upper, cuuint32_t channels, cuuint32_t pixels,
                            const cuuint32_t *element_strides, CUtensorMapInterleave interleave,
                            CUtensorMapIm2ColWideMode mode, CUtensorMapSwizzle swizzle,
                            CUtensorMapL2promotion l2, CUtensorMapFloatOOBfill fill)
{
    struct wire_cuTensorMapEncodeIm2colWide_args args = {
        .type = (uint32_t)type,
        .address = (uint64_t)(uintptr_t)address,
        .dim = dim,
        .dim_len = rank,
        .strides = strides,
        .strides_len = rank - 1,
        .lower = lower,
        .upper = upper,
        .channels = channels,
        .pixels = pixels,
        .element_strides = element_strides,
        .element_strides_len = rank,
        .interleave = (uint32_t)interleave,
        .mode = (uint32_t)mode,
        .swizzle = (uint32_t)swizzle,
        .l2 = (uint32_t)l2,
        .fill = (uint32_t)fill,
    };
    struct wire_cuTensorMapEncodeIm2colWide_reply reply;
    struct fe_call call;
    CUresult cr = fe_enter(&call, WIRE_CALL_cuTensorMapEncodeIm2colWide);

    if (cr != CUDA_SUCCESS)
        return cr;
    if (!lists_ok(rank, map, dim, strides, element_strides) || rank < 3)
        return fe_leave(&call, CUDA_ERROR_INVALID_VALUE);
    FE_ASK(cr, &call, cuTensorMapEncodeIm2colWide, &args, &reply);
    if (cr == CUDA_SUCCESS)
        *map = reply.map;
    return fe_leave(&call, cr);
}

GP_EXPORT CUresult
cuTensorMapReplaceAddress(CUtensorMap *map, void *address)
{
    struct wire_cuTensorMapReplaceAddress_args args = {.address = (uint64_t)(uintptr_t)address};
    struct wire_cuTensorMapReplaceAddress_reply reply;
    struct fe_call call;
    CUresult cr = fe_enter(&call, WIRE_CALL_cuTensorMapReplaceAddress);

    if (cr != CUDA_SUCCESS)
        return cr;
    if (map == NULL)
        return fe_leave(&call, CUDA_ERROR_INVALID_VALUE);
    args.map = *map;
    FE_ASK(cr, &call, cuTensorMapReplaceAddress, &args, &reply);
    if (cr == CUDA_SUCCESS)
        *map = reply.replaced;
    return fe_leave(&call, cr);
}
