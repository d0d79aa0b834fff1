/* backend/cuda/tensor_map.c -- tensor maps, encoded by the driver */
#include "backend/cuda/state.h"
#include "be_hooks.h"

#include <string.h>

#define RANK_MAX 5u

/* Copies for the driver: it reads as many as the rank says, not more than came. */
struct shape {
    cuuint32_t rank;
    cuuint64_t dim[RANK_MAX], strides[RANK_MAX];
    cuuint32_t element_strides[RANK_MAX];
};

static CUresult
shape_read(struct be_call *call, uint64_t address, const uint64_t *dim, uint32_t dim_len,
           const uint64_t *strides, uint32_t strides_len, const uint32_t *element_strides,
           uint32_t element_strides_len, struct shape *s)
{
    memset(s, 0, sizeof(*s));
    if (dim_len < 1 || dim_len > RANK_MAX || strides_len != dim_len - 1 ||
        element_strides_len != dim_len)
        return CUDA_ERROR_INVALID_VALUE;
    s->rank = dim_len;
    memcpy(s->dim, dim, dim_len * sizeof(*dim));
    memcpy(s->strides, strides, strides_len * sizeof(*strides));
    memcpy(s->element_strides, element_strides, element_strides_len * sizeof(*element_strides));
    return be_check_device(call->session, address, 1);
}

CUresult
be_hook_cuTensorMapEncodeTiled(struct be_call *call,
                               const struct wire_cuTensorMapEncodeTiled_args *a,
                               struct wire_cuTensorMapEncodeTiled_reply *reply)
{
    cuuint32_t box[RANK_MAX] = {0};
    struct shape s;
    CUresult cr = shape_read(call, a->address, a->dim, a->dim_len, a->strides, a->strides_len,
                             a->element_strides, a->element_strides_len, &s);

    if (cr == CUDA_SUCCESS && a->box_len != s.rank)
        cr = CUDA_ERROR_INVALID_VALUE;
    if (cr == CUDA_SUCCESS && call->driver->cuTensorMapEncodeTiled == NULL)
        cr = CUDA_ERROR_NOT_SUPPORTED;
    if (cr != CUDA_SUCCESS)
        return cr;
    memcpy(box, a->box, a->box_len * sizeof(*box));
    return call->driver->cuTensorMapEncodeTiled(
        &reply->map, (CUtensorMapDataType)a->type, s.rank, (void *)(uintptr_t)a->address, s.dim,
        s.strides, box, s.element_strides, (CUtensorMapInterleave)a->interleave,
        (CUtensorMapSwizzle)a->swizzle, (CUtensorMapL2promotion)a->l2,
        (CUtensorMapFloatOOBfill)a->fill);
}

CUresult
be_hook_cuTensorMapEncodeIm2col(struct be_call *call,
                                const struct wire_cuTensorMapEncodeIm2col_args *a,
                                struct wire_cuTensorMapEncodeIm2col_reply *reply)
{
    int lower[RANK_MAX] = {0}, upper[RANK_MAX] = {0};
    struct shape s;
    CUresult cr = shape_read(call, a->address, a->dim, a->dim_len, a->strides, a->strides_len,
                             a->element_strides, a->element_strides_len, &s);

    if (cr == CUDA_SUCCESS &&
        (s.rank < 3 || a->lower_len != s.rank - 2 || a->upper_len != s.rank - 2))
        cr = CUDA_ERROR_INVALID_VALUE;
    if (cr == CUDA_SUCCESS && call->driver->cuTensorMapEncodeIm2col == NULL)
        cr = CUDA_ERROR_NOT_SUPPORTED;
    if (cr != CUDA_SUCCESS)
        return cr;
    memcpy(lower, a->lower, a->lower_len * sizeof(*lower));
    memcpy(upper, a->upper, a->upper_len * sizeof(*upper));
    return call->driver->cuTensorMapEncodeIm2col(
        &reply->map, (CUtensorMapDataType)a->type, s.rank, (void *)(uintptr_t)a->address, s.dim,
        s.strides, lower, upper, a->channels, a->pixels, s.element_strides,
        (CUtensorMapInterleave)a->interleave, (CUtensorMapSwizzle)a->swizzle,
        (CUtensorMapL2promotion)a->l2, (CUtensorMapFloatOOBfill)a->fill);
}

CUresult
be_hook_cuTensorMapEncodeIm2colWide(struct be_call *call,
                                    const struct wire_cuTensorMapEncodeIm2colWide_args *a,
                                    struct wire_cuTensorMapEncodeIm2colWide_reply *reply)
{
    struct shape s;
    CUresult cr = shape_read(call, a->address, a->dim, a->dim_len, a->strides, a->strides_len,
                             a->element_strides, a->element_strides_len, &s);

    if (cr == CUDA_SUCCESS && s.rank < 3)
        cr = CUDA_ERROR_INVALID_VALUE;
    if (cr == CUDA_SUCCESS && call->driver->cuTensorMapEncodeIm2colWide == NULL)
        cr = CUDA_ERROR_NOT_SUPPORTED;
    if (cr != CUDA_SUCCESS)
        return cr;
    return call->driver->cuTensorMapEncodeIm2colWide(
        &reply->map, (CUtensorMapDataType)a->type, s.rank, (void *)(uintptr_t)a->address, s.dim,
        s.strides, a->lower, a->upper, a->channels, a->pixels, s.element_strides,
        (CUtensorMapInterleave)a->interleave, (CUtensorMapIm2ColWideMode)a->mode,
        (CUtensorMapSwizzle)a->swizzle, (CUtensorMapL2promotion)a->l2,
        (CUtensorMapFloatOOBfill)a->fill);
}

CUresult
be_hook_cuTensorMapReplaceAddress(struct be_call *call,
                                  const struct wire_cuTensorMapReplaceAddress_args *args,
                                  struct wire_cuTensorMapReplaceAddress_reply *reply)
{
    CUtensorMap map = args->map;
    CUresult cr = be_check_device(call->session, args->address, 1);

    if (cr == CUDA_SUCCESS && call->driver->cuTensorMapReplaceAddress == NULL)
        cr = CUDA_ERROR_NOT_SUPPORTED;
    if (cr == CUDA_SUCCESS)
        cr = call->driver->cuTensorMapReplaceAddress(&map, (void *)(uintptr_t)args->address);
    reply->replaced = map;
    return cr;
}
