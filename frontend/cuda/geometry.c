/* frontend/cuda/geometry.c -- the shapes of 2D and 3D copies, without any call */
#include "frontend/cuda/geometry.h"

#include <string.h>

bool
fe_shape_empty(const struct fe_shape *shape)
{
    return shape->width == 0 || shape->height == 0 || shape->depth == 0;
}

size_t
fe_shape_bytes(const struct fe_shape *shape)
{
    return shape->width * shape->height * shape->depth;
}

bool
fe_side_span(const struct fe_side *side, const struct fe_shape *shape, size_t *span_p)
{
    size_t planes, rows, span;

    if (fe_shape_empty(shape)) {
        *span_p = 0;
        return true;
    }
    if (__builtin_mul_overflow(shape->depth - 1, side->slice, &planes) ||
        __builtin_mul_overflow(shape->height - 1, side->pitch, &rows) ||
        __builtin_add_overflow(planes, rows, &span) ||
        __builtin_add_overflow(span, shape->width, &span) || side->base + span < side->base)
        return false;
    *span_p = span;
    return true;
}

bool
fe_side_packed(const struct fe_side *side, const struct fe_shape *shape)
{
    return (shape->height == 1 || side->pitch == shape->width) &&
           (shape->depth == 1 || side->slice == shape->width * shape->height);
}

struct fe_side
fe_side_at(const struct fe_side *side, size_t plane, size_t row)
{
    struct fe_side at = *side;

    if (side->type == CU_MEMORYTYPE_ARRAY) {
        at.z += plane;
        at.y += row;
        return at;
    }
    at.base += plane * side->slice + row * side->pitch;
    return at;
}

/* What one side of a description says. */
struct spec {
    CUmemorytype type;
    uint64_t base, array;
    size_t x, y, z;
    size_t pitch, height;
    bool flat; /* of a 2D copy: there is no height */
};

static CUresult
side_of(const struct spec *s, const struct fe_shape *shape, struct fe_side *side_p)
{
    size_t row_end, skip, start, span, pitch = s->pitch, height = s->height;
    struct fe_side side = {.type = s->type};

    if (s->type == CU_MEMORYTYPE_ARRAY) {
        side.base = s->array;
        side.x = s->x;
        side.y = s->y;
        side.z = s->z;
        *side_p = side;
        return CUDA_SUCCESS;
    }
    if (s->type != CU_MEMORYTYPE_HOST && s->type != CU_MEMORYTYPE_DEVICE &&
        s->type != CU_MEMORYTYPE_UNIFIED)
        return CUDA_ERROR_INVALID_VALUE;
    if (__builtin_add_overflow(s->x, shape->width, &row_end))
        return CUDA_ERROR_INVALID_VALUE;
    if (pitch == 0 && s->y == 0 && s->z == 0 && shape->height == 1 && shape->depth == 1)
        pitch = row_end;
    if (pitch < row_end)
        return CUDA_ERROR_INVALID_VALUE;
    if (__builtin_add_overflow(s->y, shape->height, &skip))
        return CUDA_ERROR_INVALID_VALUE;
    if (s->flat || (shape->depth == 1 && s->z == 0)) /* one slice: its height counts nothing */
        height = skip;
    if (height < skip)
        return CUDA_ERROR_INVALID_VALUE;
    side.pitch = pitch;
    if (__builtin_mul_overflow(pitch, height, &side.slice) ||
        __builtin_mul_overflow(side.slice, s->z, &start) ||
        __builtin_mul_overflow(pitch, s->y, &skip) || __builtin_add_overflow(start, skip, &start) ||
        __builtin_add_overflow(start, s->x, &start) || s->base + start < s->base)
        return CUDA_ERROR_INVALID_VALUE;
    side.base = s->base + start;
    if (!fe_side_span(&side, shape, &span))
        return CUDA_ERROR_INVALID_VALUE;
    *side_p = side;
    return CUDA_SUCCESS;
}

static uint64_t
base_of(CUmemorytype type, const void *host, CUdeviceptr device)
{
    return type == CU_MEMORYTYPE_HOST ? (uint64_t)(uintptr_t)host : device;
}

static CUresult
copy_of(const struct spec *src, const struct spec *dst, const struct fe_shape *shape,
        struct fe_copy *copy_p)
{
    struct fe_copy copy = {.shape = *shape};
    size_t bytes;
    CUresult cr;

    if (fe_shape_empty(shape)) {
        *copy_p = copy;
        return CUDA_SUCCESS;
    }
    if (__builtin_mul_overflow(shape->width, shape->height, &bytes) ||
        __builtin_mul_overflow(bytes, shape->depth, &bytes))
        return CUDA_ERROR_INVALID_VALUE;
    cr = side_of(src, shape, &copy.src);
    if (cr == CUDA_SUCCESS)
        cr = side_of(dst, shape, &copy.dst);
    if (cr == CUDA_SUCCESS)
        *copy_p = copy;
    return cr;
}

CUresult
fe_copy_from_2d(const CUDA_MEMCPY2D *from, struct fe_copy *copy_p)
{
    struct fe_shape shape;
    struct spec src, dst;

    if (from == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    shape = (struct fe_shape){from->WidthInBytes, from->Height, 1};
    src = (struct spec){
        .type = from->srcMemoryType,
        .base = base_of(from->srcMemoryType, from->srcHost, from->srcDevice),
        .array = (uint64_t)(uintptr_t)from->srcArray,
        .x = from->srcXInBytes,
        .y = from->srcY,
        .pitch = from->srcPitch,
        .flat = true,
    };
    dst = (struct spec){
        .type = from->dstMemoryType,
        .base = base_of(from->dstMemoryType, from->dstHost, from->dstDevice),
        .array = (uint64_t)(uintptr_t)from->dstArray,
        .x = from->dstXInBytes,
        .y = from->dstY,
        .pitch = from->dstPitch,
        .flat = true,
    };
    return copy_of(&src, &dst, &shape, copy_p);
}

CUresult
fe_copy_from_3d(const CUDA_MEMCPY3D *from, struct fe_copy *copy_p)
{
    struct fe_shape shape;
    struct spec src, dst;

    if (from == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    shape = (struct fe_shape){from->WidthInBytes, from->Height, from->Depth};
    src = (struct spec){
        .type = from->srcMemoryType,
        .base = base_of(from->srcMemoryType, from->srcHost, from->srcDevice),
        .array = (uint64_t)(uintptr_t)from->srcArray,
        .x = from->srcXInBytes,
        .y = from->srcY,
        .z = from->srcZ,
        .pitch = from->srcPitch,
        .height = from->srcHeight,
    };
    dst = (struct spec){
        .type = from->dstMemoryType,
        .base = base_of(from->dstMemoryType, from->dstHost, from->dstDevice),
        .array = (uint64_t)(uintptr_t)from->dstArray,
        .x = from->dstXInBytes,
        .y = from->dstY,
        .z = from->dstZ,
        .pitch = from->dstPitch,
        .height = from->dstHeight,
    };
    if (from->srcLOD != 0 || from->dstLOD != 0)
        return CUDA_ERROR_INVALID_VALUE;
    return copy_of(&src, &dst, &shape, copy_p);
}

static uint8_t *
host(const struct fe_side *side, size_t plane, size_t row)
{
    return (uint8_t *)(uintptr_t)(side->base + plane * side->slice + row * side->pitch);
}

void
fe_gather(uint8_t *to, const struct fe_side *side, const struct fe_shape *shape)
{
    for (size_t z = 0; z < shape->depth; z++)
        for (size_t y = 0; y < shape->height; y++, to += shape->width)
            memcpy(to, host(side, z, y), shape->width);
}

void
fe_scatter(const struct fe_side *side, const struct fe_shape *shape, size_t offset,
           const uint8_t *from, size_t len)
{
    while (len > 0) {
        size_t row = offset / shape->width, x = offset % shape->width;
        size_t part = shape->width - x < len ? shape->width - x : len;

        memcpy(host(side, row / shape->height, row % shape->height) + x, from, part);
        offset += part;
        from += part;
        len -= part;
    }
}

void
fe_copy_host(const struct fe_copy *copy)
{
    for (size_t z = 0; z < copy->shape.depth; z++)
        for (size_t y = 0; y < copy->shape.height; y++)
            memmove(host(&copy->dst, z, y), host(&copy->src, z, y), copy->shape.width);
}

void
fe_copy_to_3d(const struct fe_copy *copy, CUDA_MEMCPY3D *to)
{
    size_t src_rows = copy->shape.height, dst_rows = copy->shape.height;

    if (copy->src.pitch > 0 && copy->shape.depth > 1)
        src_rows = copy->src.slice / copy->src.pitch;
    if (copy->dst.pitch > 0 && copy->shape.depth > 1)
        dst_rows = copy->dst.slice / copy->dst.pitch;
    *to = (CUDA_MEMCPY3D){
        .srcMemoryType = copy->src.type,
        .srcPitch = copy->src.pitch,
        .srcHeight = src_rows,
        .dstMemoryType = copy->dst.type,
        .dstPitch = copy->dst.pitch,
        .dstHeight = dst_rows,
        .WidthInBytes = copy->shape.width,
        .Height = copy->shape.height,
        .Depth = copy->shape.depth,
    };
    if (copy->src.type == CU_MEMORYTYPE_DEVICE)
        to->srcDevice = copy->src.base;
    if (copy->dst.type == CU_MEMORYTYPE_DEVICE)
        to->dstDevice = copy->dst.base;
    if (copy->src.type == CU_MEMORYTYPE_ARRAY) {
        to->srcArray = (CUarray)(uintptr_t)copy->src.array_wire;
        to->srcXInBytes = copy->src.x;
        to->srcY = copy->src.y;
        to->srcZ = copy->src.z;
    }
    if (copy->dst.type == CU_MEMORYTYPE_ARRAY) {
        to->dstArray = (CUarray)(uintptr_t)copy->dst.array_wire;
        to->dstXInBytes = copy->dst.x;
        to->dstY = copy->dst.y;
        to->dstZ = copy->dst.z;
    }
}
