/* frontend/cuda/memcpy_batch.c -- batches of copies
 *
 * The copies of a batch go one after the other, which is an order that CUDA allows. Everything is
 * checked before the first is sent.
 */
#include "cuda_api.h"
#include "frontend/core/call.h"
#include "frontend/cuda/copy.h"
#include "frontend/cuda/state.h"
#include "protocol/base/util.h"
#include "protocol/wire/array.h"

#include <string.h>

/* The context that a batch is made in comes before all that it is made of. */
static CUresult
current(void)
{
    struct fe_call call;
    CUresult cr = fe_enter(&call, WIRE_CALL_cuMemcpyDtoDAsync_v2);

    return cr == CUDA_SUCCESS ? fe_leave(&call, cr) : cr;
}

/* Neither kind of batch goes to the legacy stream. */
static bool
stream_is_legacy(CUstream stream)
{
    if (stream == NULL)
        stream = fe_default_stream();
    return stream == NULL || stream == CU_STREAM_LEGACY;
}

static bool
order_known(CUmemcpySrcAccessOrder order)
{
    return order == CU_MEMCPY_SRC_ACCESS_ORDER_STREAM ||
           order == CU_MEMCPY_SRC_ACCESS_ORDER_DURING_API_CALL ||
           order == CU_MEMCPY_SRC_ACCESS_ORDER_ANY;
}

static bool
attributes_ok(const CUmemcpyAttributes *attrs, const size_t *first, size_t n, size_t count)
{
    if (attrs == NULL || first == NULL || n == 0 || n > count || first[0] != 0)
        return false;
    for (size_t i = 0; i < n; i++)
        if (first[i] >= count || (i > 0 && first[i] <= first[i - 1]) ||
            !order_known(attrs[i].srcAccessOrder) ||
            attrs[i].flags > CU_MEMCPY_FLAG_PREFER_OVERLAP_WITH_COMPUTE)
            return false;
    return true;
}

static struct fe_side
any_at(CUdeviceptr address, size_t pitch, size_t slice)
{
    return (struct fe_side){
        .type = CU_MEMORYTYPE_UNIFIED, .base = address, .pitch = pitch, .slice = slice};
}

GP_EXPORT CUresult
cuMemcpyBatchAsync_v2(CUdeviceptr *dsts, CUdeviceptr *srcs, size_t *sizes, size_t count,
                      CUmemcpyAttributes *attrs, size_t *first, size_t attr_count, CUstream stream)
{
    CUresult cr = current();

    if (cr != CUDA_SUCCESS)
        return cr;
    if (dsts == NULL || srcs == NULL || sizes == NULL || count == 0 ||
        !attributes_ok(attrs, first, attr_count, count) || stream_is_legacy(stream))
        return CUDA_ERROR_INVALID_VALUE;
    for (size_t i = 0, a = 0; i < count && cr == CUDA_SUCCESS; i++) {
        struct fe_copy copy = {.shape = {sizes[i], 1, 1},
                               .src = any_at(srcs[i], sizes[i], sizes[i]),
                               .dst = any_at(dsts[i], sizes[i], sizes[i])};

        if (a + 1 < attr_count && i >= first[a + 1])
            a++;
        /* A box's source is never read later. */
        cr = attrs[a].srcAccessOrder == CU_MEMCPY_SRC_ACCESS_ORDER_DURING_API_CALL
                 ? fe_copy_box(CUDA_SUCCESS, &copy, stream, false)
                 : cuMemcpyAsync(dsts[i], srcs[i], sizes[i], stream);
    }
    return cr;
}

GP_EXPORT CUresult
cuMemcpyBatchAsync(CUdeviceptr *dsts, CUdeviceptr *srcs, size_t *sizes, size_t count,
                   CUmemcpyAttributes *attrs, size_t *first, size_t attr_count, size_t *fail,
                   CUstream stream)
{
    if (fail != NULL)
        *fail = SIZE_MAX;
    return cuMemcpyBatchAsync_v2(dsts, srcs, sizes, count, attrs, first, attr_count, stream);
}

/* -- boxes -------------------------------------------------------------------------------- */

/* Bytes of an element: 1 between pointers, else the arrays' own; 0 if they differ. */
static size_t
element_bytes(const CUDA_MEMCPY3D_BATCH_OP *op)
{
    const CUmemcpy3DOperand *sides[2] = {&op->src, &op->dst};
    size_t bytes = 0;

    for (int i = 0; i < 2; i++) {
        const struct fe_array *array;
        struct wire_array_shape shape;

        if (sides[i]->type != CU_MEMCPY_OPERAND_TYPE_ARRAY)
            continue;
        array = fe_object_get(WIRE_HANDLE_ARRAY, sides[i]->op.array.array);
        if (array == NULL || !wire_array_shape(&array->desc, &shape) ||
            (bytes != 0 && bytes != shape.element_bytes))
            return 0;
        bytes = shape.element_bytes;
    }
    return bytes != 0 ? bytes : 1;
}

static CUresult
operand(const CUmemcpy3DOperand *op, const CUextent3D *extent, size_t element, struct fe_side *side)
{
    size_t row = extent->width, rows = extent->height;

    *side = (struct fe_side){0};
    if (op->type == CU_MEMCPY_OPERAND_TYPE_ARRAY) {
        side->type = CU_MEMORYTYPE_ARRAY;
        side->base = (uint64_t)(uintptr_t)op->op.array.array;
        side->y = op->op.array.offset.y;
        side->z = op->op.array.offset.z;
        return __builtin_mul_overflow(op->op.array.offset.x, element, &side->x)
                   ? CUDA_ERROR_INVALID_VALUE
                   : CUDA_SUCCESS;
    }
    if (op->type != CU_MEMCPY_OPERAND_TYPE_POINTER)
        return CUDA_ERROR_INVALID_VALUE;
    if (op->op.ptr.rowLength != 0)
        row = op->op.ptr.rowLength;
    if (op->op.ptr.layerHeight != 0)
        rows = op->op.ptr.layerHeight;
    side->type = CU_MEMORYTYPE_UNIFIED;
    side->base = op->op.ptr.ptr;
    if (row < extent->width || rows < extent->height ||
        __builtin_mul_overflow(row, element, &side->pitch) ||
        __builtin_mul_overflow(side->pitch, rows, &side->slice))
        return CUDA_ERROR_INVALID_VALUE;
    return CUDA_SUCCESS;
}

static CUresult
box(const CUDA_MEMCPY3D_BATCH_OP *op, struct fe_copy *copy)
{
    size_t element = element_bytes(op), bytes;
    CUresult cr;

    if (element == 0 || op->extent.width == 0 || op->extent.height == 0 || op->extent.depth == 0 ||
        !order_known(op->srcAccessOrder) || op->flags > CU_MEMCPY_FLAG_PREFER_OVERLAP_WITH_COMPUTE)
        return CUDA_ERROR_INVALID_VALUE;
    *copy = (struct fe_copy){.shape = {0, op->extent.height, op->extent.depth}};
    if (__builtin_mul_overflow(op->extent.width, element, &copy->shape.width) ||
        __builtin_mul_overflow(copy->shape.width, copy->shape.height, &bytes) ||
        __builtin_mul_overflow(bytes, copy->shape.depth, &bytes))
        return CUDA_ERROR_INVALID_VALUE;
    cr = operand(&op->src, &op->extent, element, &copy->src);
    return cr == CUDA_SUCCESS ? operand(&op->dst, &op->extent, element, &copy->dst) : cr;
}

GP_EXPORT CUresult
cuMemcpy3DBatchAsync_v2(size_t count, CUDA_MEMCPY3D_BATCH_OP *ops, unsigned long long flags,
                        CUstream stream)
{
    struct fe_copy copy;
    CUresult cr = current();

    if (cr != CUDA_SUCCESS)
        return cr;
    if (ops == NULL || count == 0 || flags != 0 || stream_is_legacy(stream))
        return CUDA_ERROR_INVALID_VALUE;
    for (size_t i = 0; i < count && cr == CUDA_SUCCESS; i++)
        cr = box(&ops[i], &copy);
    for (size_t i = 0; i < count && cr == CUDA_SUCCESS; i++)
        cr = fe_copy_box(box(&ops[i], &copy), &copy, stream, false);
    return cr;
}

GP_EXPORT CUresult
cuMemcpy3DBatchAsync(size_t count, CUDA_MEMCPY3D_BATCH_OP *ops, size_t *fail,
                     unsigned long long flags, CUstream stream)
{
    if (fail != NULL)
        *fail = SIZE_MAX;
    return cuMemcpy3DBatchAsync_v2(count, ops, flags, stream);
}
