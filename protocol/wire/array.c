/* protocol/wire/array.c -- what an array is made of, as both sides count it */
#include "protocol/wire/array.h"

#include "protocol/base/util.h"

#define CHARGE_UNIT     65536u /* drivers round at least to this */
#define VIDEO_TEXEL_MAX 8u     /* bytes of a texel of any video format, all planes together */

/* Bytes of one channel of the formats that have them, else 0. */
static uint32_t
channel_bytes(CUarray_format format)
{
    switch (format) {
    case CU_AD_FORMAT_UNSIGNED_INT8:
    case CU_AD_FORMAT_SIGNED_INT8: return 1;
    case CU_AD_FORMAT_UNSIGNED_INT16:
    case CU_AD_FORMAT_SIGNED_INT16:
    case CU_AD_FORMAT_HALF: return 2;
    case CU_AD_FORMAT_UNSIGNED_INT32:
    case CU_AD_FORMAT_SIGNED_INT32:
    case CU_AD_FORMAT_FLOAT: return 4;
    default: return 0;
    }
}

/* Bytes of an element whose channels are part of the format, and texels along its edge. */
static uint32_t
whole_bytes(CUarray_format format, uint32_t *edge_p)
{
    *edge_p = 1;
    switch (format) {
    case CU_AD_FORMAT_UNORM_INT8X1:
    case CU_AD_FORMAT_SNORM_INT8X1: return 1;
    case CU_AD_FORMAT_UNORM_INT8X2:
    case CU_AD_FORMAT_SNORM_INT8X2:
    case CU_AD_FORMAT_UNORM_INT16X1:
    case CU_AD_FORMAT_SNORM_INT16X1: return 2;
    case CU_AD_FORMAT_UNORM_INT8X4:
    case CU_AD_FORMAT_SNORM_INT8X4:
    case CU_AD_FORMAT_UNORM_INT16X2:
    case CU_AD_FORMAT_SNORM_INT16X2:
    case CU_AD_FORMAT_UNORM_INT_101010_2: return 4;
    case CU_AD_FORMAT_UNORM_INT16X4:
    case CU_AD_FORMAT_SNORM_INT16X4: return 8;
    case CU_AD_FORMAT_BC1_UNORM:
    case CU_AD_FORMAT_BC1_UNORM_SRGB:
    case CU_AD_FORMAT_BC4_UNORM:
    case CU_AD_FORMAT_BC4_SNORM: *edge_p = 4; return 8;
    case CU_AD_FORMAT_BC2_UNORM:
    case CU_AD_FORMAT_BC2_UNORM_SRGB:
    case CU_AD_FORMAT_BC3_UNORM:
    case CU_AD_FORMAT_BC3_UNORM_SRGB:
    case CU_AD_FORMAT_BC5_UNORM:
    case CU_AD_FORMAT_BC5_SNORM:
    case CU_AD_FORMAT_BC6H_UF16:
    case CU_AD_FORMAT_BC6H_SF16:
    case CU_AD_FORMAT_BC7_UNORM:
    case CU_AD_FORMAT_BC7_UNORM_SRGB: *edge_p = 4; return 16;
    default: return 0;
    }
}

static uint64_t
at_least_1(uint64_t n)
{
    return n != 0 ? n : 1;
}

bool
wire_array_shape(const CUDA_ARRAY3D_DESCRIPTOR *desc, struct wire_array_shape *shape_p)
{
    uint32_t edge = 1, bytes = channel_bytes(desc->Format);
    struct wire_array_shape s;
    uint64_t total;

    if (bytes != 0 && desc->NumChannels <= 4)
        bytes *= desc->NumChannels;
    else
        bytes = whole_bytes(desc->Format, &edge);
    if (bytes == 0 || desc->Width > UINT64_MAX - edge || desc->Height > UINT64_MAX - edge)
        return false;
    s.element_bytes = bytes;
    s.rows = (at_least_1(desc->Height) + edge - 1) / edge;
    s.slices = at_least_1(desc->Depth);
    if (__builtin_mul_overflow((at_least_1(desc->Width) + edge - 1) / edge, bytes, &s.row_bytes) ||
        __builtin_mul_overflow(s.row_bytes, s.rows, &total) ||
        __builtin_mul_overflow(total, s.slices, &total))
        return false;
    *shape_p = s;
    return true;
}

/* One level; UINT64_MAX if that overflows. */
static uint64_t
level_bytes(const CUDA_ARRAY3D_DESCRIPTOR *desc)
{
    struct wire_array_shape s;
    uint64_t bytes;

    if (wire_array_shape(desc, &s))
        return s.row_bytes * s.rows * s.slices;
    if (__builtin_mul_overflow(at_least_1(desc->Width), at_least_1(desc->Height), &bytes) ||
        __builtin_mul_overflow(bytes, at_least_1(desc->Depth), &bytes) ||
        __builtin_mul_overflow(bytes, VIDEO_TEXEL_MAX, &bytes))
        return UINT64_MAX;
    return bytes;
}

uint64_t
wire_array_bytes(const CUDA_ARRAY3D_DESCRIPTOR *desc, uint32_t levels)
{
    CUDA_ARRAY3D_DESCRIPTOR d = *desc;
    bool layers = (d.Flags & (CUDA_ARRAY3D_LAYERED | CUDA_ARRAY3D_CUBEMAP)) != 0;
    uint64_t bytes = 0;

    if ((d.Flags & (CUDA_ARRAY3D_SPARSE | CUDA_ARRAY3D_DEFERRED_MAPPING)) != 0)
        return 0; /* the program maps memory into it that was charged already */
    for (uint32_t i = 0; i < levels && i < WIRE_ARRAY_LEVELS_MAX; i++) {
        if (__builtin_add_overflow(bytes, level_bytes(&d), &bytes))
            return UINT64_MAX;
        d.Width = at_least_1(d.Width / 2);
        d.Height = d.Height != 0 ? at_least_1(d.Height / 2) : 0;
        if (!layers && d.Depth != 0)
            d.Depth = at_least_1(d.Depth / 2);
    }
    return bytes > UINT64_MAX - CHARGE_UNIT ? UINT64_MAX : gp_align_up_u64(bytes, CHARGE_UNIT);
}
