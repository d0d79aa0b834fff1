/* frontend/cuda/memset.c -- fills of device memory: never waited for
 *
 * The synchronous forms are asynchronous for the host with the driver too, where the target is
 * device memory.
 */
#include "cuda_api.h"
#include "frontend/cuda/capture.h"
#include "frontend/cuda/copy.h"
#include "frontend/cuda/displaced.h"
#include "frontend/cuda/host.h"
#include "frontend/cuda/order.h"
#include "frontend/cuda/relay.h"
#include "frontend/cuda/state.h"
#include "protocol/base/util.h"

/* What all fills have in common: enter, stream, address. */
static CUresult
begin(struct fe_call *call, enum wire_call id, CUstream stream, struct fe_where *where)
{
    CUresult cr = fe_enter(call, id);

    if (cr != CUDA_SUCCESS)
        return cr;
    cr = fe_stream_resolve_capture(call, stream, &where->stream, &where->wire);
    if (cr == CUDA_SUCCESS && !fe_capturing(where->stream))
        cr = fe_order(call, where->stream, where->wire);
    return cr == CUDA_SUCCESS ? cr : fe_leave(call, cr);
}

/* Rows of width elements, pitch bytes apart; one row has no pitch. */
static CUresult
check(const struct fe_call *call, CUdeviceptr dst, size_t pitch, size_t element, size_t width,
      size_t height)
{
    size_t row, span;

    if (dst % element != 0)
        return CUDA_ERROR_INVALID_VALUE;
    if (__builtin_mul_overflow(width, element, &row))
        return CUDA_ERROR_INVALID_VALUE;
    if (height > 1 && (pitch < row || pitch % element != 0))
        return CUDA_ERROR_INVALID_VALUE;
    if (__builtin_mul_overflow(pitch, height - 1, &span) ||
        __builtin_add_overflow(span, row, &span))
        return CUDA_ERROR_INVALID_VALUE;
    return fe_check_target(call, dst, span);
}

/* A fill of nothing wants an aligned address all the same. */
static CUresult
nothing(CUdeviceptr dst, size_t element)
{
    return dst % element == 0 ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

/* args, where and call as in the two below; the guard is held. */
#define POST_FILL(call_name)                                                                       \
    args.stream = where.wire;                                                                      \
    args.dst = fe_host_device(dst);                                                                \
    to = fe_post(&call, wire_size_##call_name##_args(&args));                                      \
    if (to != NULL) {                                                                              \
        wire_put_##call_name##_args(to, &args);                                                    \
        (void)fe_stream_mark(&call, where.stream);                                                 \
        fe_post_done(&call);                                                                       \
    } else {                                                                                       \
        cr = fe_lost(&call);                                                                       \
    }                                                                                              \
    fe_copy_unguard(&call, &where);                                                                \
    return fe_leave(&call, cr);

/* The memory is of another server: filled there, in a stream of ours, while this one waits. */
#define GO_THERE(fill)                                                                             \
    {                                                                                              \
        struct fe_away away;                                                                       \
                                                                                                   \
        cr = fe_relay_go(&call, &where, dst, &away);                                               \
        if (cr == CUDA_SUCCESS)                                                                    \
            cr = fe_relay_return(&away, fill);                                                     \
        return fe_leave(&call, cr);                                                                \
    }

#define FILL(call_name, ctype, element)                                                            \
    GP_EXPORT CUresult call_name(CUdeviceptr dst, ctype value, size_t count, CUstream stream)      \
    {                                                                                              \
        struct wire_##call_name##_args args = {.dst = dst, .value = value, .count = count};        \
        struct fe_where where;                                                                     \
        struct fe_call call;                                                                       \
        CUresult cr = begin(&call, WIRE_CALL_##call_name, stream, &where);                         \
        void *to;                                                                                  \
                                                                                                   \
        if (cr != CUDA_SUCCESS)                                                                    \
            return cr;                                                                             \
        dst = fe_device_named(dst);                                                                \
        if (count == 0)                                                                            \
            return fe_leave(&call, nothing(dst, element));                                         \
        if (fe_elsewhere(&call, dst))                                                              \
            GO_THERE(call_name(dst, value, count, away.stream))                                    \
        cr = check(&call, dst, 0, element, count, 1);                                              \
        if (cr == CUDA_SUCCESS && fe_capturing(where.stream))                                      \
            return fe_leave(&call, fe_capture_fill(&call, where.stream,                            \
                                                   &(const CUDA_MEMSET_NODE_PARAMS){               \
                                                       dst, 0, value, element, count, 1}));        \
        if (cr == CUDA_SUCCESS)                                                                    \
            cr = fe_copy_guard(&where, dst, count * (element), 0, 0);                              \
        if (cr != CUDA_SUCCESS)                                                                    \
            return fe_leave(&call, cr);                                                            \
        POST_FILL(call_name)                                                                       \
    }

#define FILL_2D(call_name, ctype, element)                                                         \
    GP_EXPORT CUresult call_name(CUdeviceptr dst, size_t pitch, ctype value, size_t width,         \
                                 size_t height, CUstream stream)                                   \
    {                                                                                              \
        struct wire_##call_name##_args args = {                                                    \
            .dst = dst, .pitch = pitch, .value = value, .width = width, .height = height};         \
        struct fe_where where;                                                                     \
        struct fe_call call;                                                                       \
        CUresult cr = begin(&call, WIRE_CALL_##call_name, stream, &where);                         \
        void *to;                                                                                  \
                                                                                                   \
        if (cr != CUDA_SUCCESS)                                                                    \
            return cr;                                                                             \
        dst = fe_device_named(dst);                                                                \
        if (width == 0 || height == 0)                                                             \
            return fe_leave(&call, nothing(dst, element));                                         \
        if (fe_elsewhere(&call, dst))                                                              \
            GO_THERE(call_name(dst, pitch, value, width, height, away.stream))                     \
        cr = check(&call, dst, pitch, element, width, height);                                     \
        if (cr == CUDA_SUCCESS && fe_capturing(where.stream))                                      \
            return fe_leave(                                                                       \
                &call, fe_capture_fill(&call, where.stream,                                        \
                                       &(const CUDA_MEMSET_NODE_PARAMS){dst, pitch, value,         \
                                                                        element, width, height})); \
        if (cr == CUDA_SUCCESS)                                                                    \
            cr = fe_copy_guard(&where, dst, pitch * (height - 1) + width * (element), 0, 0);       \
        if (cr != CUDA_SUCCESS)                                                                    \
            return fe_leave(&call, cr);                                                            \
        POST_FILL(call_name)                                                                       \
    }

FILL(cuMemsetD8Async, unsigned char, 1)
FILL(cuMemsetD16Async, unsigned short, 2)
FILL(cuMemsetD32Async, unsigned int, 4)
FILL_2D(cuMemsetD2D8Async, unsigned char, 1)
FILL_2D(cuMemsetD2D16Async, unsigned short, 2)
FILL_2D(cuMemsetD2D32Async, unsigned int, 4)

GP_EXPORT CUresult
cuMemsetD8_v2(CUdeviceptr dst, unsigned char value, size_t count)
{
    return cuMemsetD8Async(dst, value, count, NULL);
}

GP_EXPORT CUresult
cuMemsetD16_v2(CUdeviceptr dst, unsigned short value, size_t count)
{
    return cuMemsetD16Async(dst, value, count, NULL);
}

GP_EXPORT CUresult
cuMemsetD32_v2(CUdeviceptr dst, unsigned int value, size_t count)
{
    return cuMemsetD32Async(dst, value, count, NULL);
}

GP_EXPORT CUresult
cuMemsetD2D8_v2(CUdeviceptr dst, size_t pitch, unsigned char value, size_t width, size_t height)
{
    return cuMemsetD2D8Async(dst, pitch, value, width, height, NULL);
}

GP_EXPORT CUresult
cuMemsetD2D16_v2(CUdeviceptr dst, size_t pitch, unsigned short value, size_t width, size_t height)
{
    return cuMemsetD2D16Async(dst, pitch, value, width, height, NULL);
}

GP_EXPORT CUresult
cuMemsetD2D32_v2(CUdeviceptr dst, size_t pitch, unsigned int value, size_t width, size_t height)
{
    return cuMemsetD2D32Async(dst, pitch, value, width, height, NULL);
}
