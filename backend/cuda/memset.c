/* backend/cuda/memset.c -- filling device memory */
#include "backend/cuda/state.h"
#include "be_hooks.h"

/* The stream, once width elements of size bytes in each of height rows are ours to write. */
static CUresult
fill_check(struct be_call *call, uint64_t dst, uint64_t pitch, uint64_t size, uint64_t width,
           uint64_t height, uint64_t stream_id, CUstream *stream_p)
{
    uint64_t row, reach;
    CUresult cr;

    cr = be_handle_get(call->session, WIRE_HANDLE_STREAM, stream_id, true, stream_p);
    if (cr != CUDA_SUCCESS || width == 0 || height == 0)
        return cr;
    if (__builtin_mul_overflow(width, size, &row) ||
        __builtin_mul_overflow(pitch, height - 1, &reach) ||
        __builtin_add_overflow(reach, row, &reach))
        return CUDA_ERROR_INVALID_VALUE;
    /* Rows that overlap: no driver may find its own pitch for them. */
    if (height > 1 && pitch < row)
        return CUDA_ERROR_INVALID_VALUE;
    return be_check_device(call->session, dst, reach);
}

#define BE_FILL(bits)                                                                              \
    CUresult be_hook_cuMemsetD##bits##Async(struct be_call *call,                                  \
                                            const struct wire_cuMemsetD##bits##Async_args *a)      \
    {                                                                                              \
        CUstream stream;                                                                           \
        CUresult cr = fill_check(call, a->dst, 0, bits / 8, a->count, 1, a->stream, &stream);      \
                                                                                                   \
        if (cr != CUDA_SUCCESS)                                                                    \
            return cr;                                                                             \
        return call->driver->cuMemsetD##bits##Async(a->dst, a->value, a->count, stream);           \
    }                                                                                              \
                                                                                                   \
    CUresult be_hook_cuMemsetD2D##bits##Async(struct be_call *call,                                \
                                              const struct wire_cuMemsetD2D##bits##Async_args *a)  \
    {                                                                                              \
        CUstream stream;                                                                           \
        CUresult cr =                                                                              \
            fill_check(call, a->dst, a->pitch, bits / 8, a->width, a->height, a->stream, &stream); \
                                                                                                   \
        if (cr != CUDA_SUCCESS)                                                                    \
            return cr;                                                                             \
        return call->driver->cuMemsetD2D##bits##Async(a->dst, a->pitch, a->value, a->width,        \
                                                      a->height, stream);                          \
    }

BE_FILL(8)
BE_FILL(16)
BE_FILL(32)
