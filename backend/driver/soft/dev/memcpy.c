/* backend/driver/soft/dev/memcpy.c -- the copy entry points
 *
 * When a copy runs: a pageable source is captured before the call returns; a copy into pageable
 * memory is done when the call returns; what is asynchronous and small runs at once if nothing
 * is before it. Synchronous copies between device places return early, as CUDA documents.
 */
#include "backend/driver/soft/dev/capture.h"
#include "backend/driver/soft/dev/copy.h"

#include "backend/driver/soft/dev/array.h"
#include "backend/driver/soft/dev/span.h"
#include "cuda_api.h"

#include <string.h>

#define SMALL_BYTES (256u << 10)

enum copy_mode {
    COPY_SYNC,
    COPY_ASYNC,
};

/* Packs the source into memory of our own; false without memory. */
static bool
capture_source(struct sd_copy_work *c)
{
    uint64_t bytes = c->width * c->height * c->depth;
    struct sd_copy_work pack = *c;
    void *staging = malloc(bytes != 0 ? bytes : 1);

    if (staging == NULL)
        return false;
    pack.dst = (uintptr_t)staging;
    pack.dst_pitch = c->width;
    pack.dst_slice = c->width * c->height;
    sd_copy_run(&pack);
    c->src = (uintptr_t)staging;
    c->src_pitch = pack.dst_pitch;
    c->src_slice = pack.dst_slice;
    c->staging = staging;
    return true;
}

static CUresult
submit(CUstream stream, struct sd_op *op, enum copy_mode mode, const bool pageable[2])
{
    struct sd_copy_work *c = &op->work.copy;
    uint64_t bytes = c->width * c->height * c->depth;

    if (atomic_load(&stream->capture) != NULL) {
        /* A graph reads and writes when it runs; the driver refuses what it cannot do late. */
        if (mode == COPY_SYNC) {
            sd_op_free(op);
            return sd_capture_break(stream, CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
        }
        return sd_stream_submit(stream, op, NULL);
    }
    if (pageable[1] || (mode == COPY_SYNC && pageable[0]))
        return sd_stream_execute(stream, op);
    if ((pageable[0] || bytes <= SMALL_BYTES) && sd_stream_try_now(stream, op))
        return CUDA_SUCCESS;
    if (pageable[0] && !capture_source(c))
        return sd_stream_execute(stream, op);
    return sd_stream_submit(stream, op, NULL);
}

/* Whether a side whose memory begins at address is a device's alone: cuMemcpy takes any. */
static bool
on_device(const struct sd_side *side, uint64_t address)
{
    struct sd_alloc alloc;

    if (side->type != CU_MEMORYTYPE_UNIFIED)
        return side->type != CU_MEMORYTYPE_HOST;
    return sd_map_find(address, &alloc) && !sd_mem_is_host(alloc.kind) &&
           alloc.kind != SD_MEM_MANAGED;
}

static CUresult
copy_box(const struct sd_side *src, const struct sd_side *dst, const struct sd_box *box,
         CUstream hStream, enum copy_mode mode)
{
    bool pageable[2], device_only;
    struct sd_op *op;
    CUstream stream;
    CUresult cr = sd_stream_get(hStream, &stream);

    if (cr != CUDA_SUCCESS)
        return cr;
    op = sd_op_new(SD_WORK_COPY, stream->ctx);
    if (op == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    cr = sd_copy_make(src, dst, box, &op->work.copy, pageable);
    if (cr != CUDA_SUCCESS || op->work.copy.depth == 0) {
        sd_op_free(op);
        return cr;
    }
    /* A synchronous copy with pinned host memory waits; one between device places does not. */
    device_only = on_device(src, op->work.copy.src) && on_device(dst, op->work.copy.dst);
    if (mode == COPY_SYNC && !device_only)
        pageable[1] = true;
    cr = submit(stream, op, mode, pageable);
    if (cr == CUDA_SUCCESS && mode == COPY_SYNC)
        sd_ctx_print_flush(stream->ctx);
    return cr;
}

static CUresult
copy_line(struct sd_side src, struct sd_side dst, size_t bytes, CUstream hStream,
          enum copy_mode mode)
{
    struct sd_box box = {bytes, 1, 1};

    return copy_box(&src, &dst, &box, hStream, mode);
}

static struct sd_side
host_side(const void *host)
{
    return (struct sd_side){.type = CU_MEMORYTYPE_HOST, .host = host};
}

static struct sd_side
device_side(CUdeviceptr device)
{
    return (struct sd_side){.type = CU_MEMORYTYPE_DEVICE, .device = device};
}

static struct sd_side
any_side(CUdeviceptr address)
{
    return (struct sd_side){.type = CU_MEMORYTYPE_UNIFIED, .device = address};
}

static struct sd_side
array_side(CUarray array, size_t offset)
{
    return (struct sd_side){.type = CU_MEMORYTYPE_ARRAY, .array = array, .x = offset};
}

/* --- lines --- */

GP_EXPORT CUresult
cuMemcpy(CUdeviceptr dst, CUdeviceptr src, size_t ByteCount)
{
    return copy_line(any_side(src), any_side(dst), ByteCount, NULL, COPY_SYNC);
}

GP_EXPORT CUresult
cuMemcpyAsync(CUdeviceptr dst, CUdeviceptr src, size_t ByteCount, CUstream hStream)
{
    return copy_line(any_side(src), any_side(dst), ByteCount, hStream, COPY_ASYNC);
}

GP_EXPORT CUresult
cuMemcpyHtoD_v2(CUdeviceptr dstDevice, const void *srcHost, size_t ByteCount)
{
    return copy_line(host_side(srcHost), device_side(dstDevice), ByteCount, NULL, COPY_SYNC);
}

GP_EXPORT CUresult
cuMemcpyHtoDAsync_v2(CUdeviceptr dstDevice, const void *srcHost, size_t ByteCount, CUstream hStream)
{
    return copy_line(host_side(srcHost), device_side(dstDevice), ByteCount, hStream, COPY_ASYNC);
}

GP_EXPORT CUresult
cuMemcpyDtoH_v2(void *dstHost, CUdeviceptr srcDevice, size_t ByteCount)
{
    return copy_line(device_side(srcDevice), host_side(dstHost), ByteCount, NULL, COPY_SYNC);
}

GP_EXPORT CUresult
cuMemcpyDtoHAsync_v2(void *dstHost, CUdeviceptr srcDevice, size_t ByteCount, CUstream hStream)
{
    return copy_line(device_side(srcDevice), host_side(dstHost), ByteCount, hStream, COPY_ASYNC);
}

GP_EXPORT CUresult
cuMemcpyDtoD_v2(CUdeviceptr dstDevice, CUdeviceptr srcDevice, size_t ByteCount)
{
    return copy_line(device_side(srcDevice), device_side(dstDevice), ByteCount, NULL, COPY_SYNC);
}

GP_EXPORT CUresult
cuMemcpyDtoDAsync_v2(CUdeviceptr dstDevice, CUdeviceptr srcDevice, size_t ByteCount,
                     CUstream hStream)
{
    return copy_line(device_side(srcDevice), device_side(dstDevice), ByteCount, hStream,
                     COPY_ASYNC);
}

/* A synchronous copy between contexts comes behind all work of both; that of the current one is
 * before it anyway. */
static CUresult
wait_for_contexts(CUcontext dst, CUcontext src)
{
    CUcontext now = sd_ctx_current();
    CUresult cr = CUDA_SUCCESS;

    if (dst != now)
        cr = cuCtxSynchronize_v2(dst);
    if (cr == CUDA_SUCCESS && src != now && src != dst)
        cr = cuCtxSynchronize_v2(src);
    return cr;
}

GP_EXPORT CUresult
cuMemcpyPeer(CUdeviceptr dstDevice, CUcontext dstContext, CUdeviceptr srcDevice,
             CUcontext srcContext, size_t ByteCount)
{
    CUcontext ctx;
    CUresult cr;

    SD_ENTER(ctx);
    if (!sd_ctx_named(dstContext) || !sd_ctx_named(srcContext))
        return CUDA_ERROR_INVALID_CONTEXT;
    cr = wait_for_contexts(dstContext, srcContext);
    if (cr == CUDA_SUCCESS)
        cr = copy_line(device_side(srcDevice), device_side(dstDevice), ByteCount, NULL, COPY_SYNC);
    if (cr == CUDA_SUCCESS && ByteCount != 0 && (dstContext != ctx || srcContext != ctx))
        cr = cuStreamSynchronize(NULL);
    return cr;
}

GP_EXPORT CUresult
cuMemcpyPeerAsync(CUdeviceptr dstDevice, CUcontext dstContext, CUdeviceptr srcDevice,
                  CUcontext srcContext, size_t ByteCount, CUstream hStream)
{
    CUcontext ctx;

    SD_ENTER(ctx);
    if (!sd_ctx_named(dstContext) || !sd_ctx_named(srcContext))
        return CUDA_ERROR_INVALID_CONTEXT;
    return copy_line(device_side(srcDevice), device_side(dstDevice), ByteCount, hStream,
                     COPY_ASYNC);
}

/* --- lines and arrays --- */

GP_EXPORT CUresult
cuMemcpyDtoA_v2(CUarray dstArray, size_t dstOffset, CUdeviceptr srcDevice, size_t ByteCount)
{
    return copy_line(device_side(srcDevice), array_side(dstArray, dstOffset), ByteCount, NULL,
                     COPY_SYNC);
}

GP_EXPORT CUresult
cuMemcpyAtoD_v2(CUdeviceptr dstDevice, CUarray srcArray, size_t srcOffset, size_t ByteCount)
{
    return copy_line(array_side(srcArray, srcOffset), device_side(dstDevice), ByteCount, NULL,
                     COPY_SYNC);
}

GP_EXPORT CUresult
cuMemcpyHtoA_v2(CUarray dstArray, size_t dstOffset, const void *srcHost, size_t ByteCount)
{
    return copy_line(host_side(srcHost), array_side(dstArray, dstOffset), ByteCount, NULL,
                     COPY_SYNC);
}

GP_EXPORT CUresult
cuMemcpyHtoAAsync_v2(CUarray dstArray, size_t dstOffset, const void *srcHost, size_t ByteCount,
                     CUstream hStream)
{
    return copy_line(host_side(srcHost), array_side(dstArray, dstOffset), ByteCount, hStream,
                     COPY_ASYNC);
}

GP_EXPORT CUresult
cuMemcpyAtoH_v2(void *dstHost, CUarray srcArray, size_t srcOffset, size_t ByteCount)
{
    return copy_line(array_side(srcArray, srcOffset), host_side(dstHost), ByteCount, NULL,
                     COPY_SYNC);
}

GP_EXPORT CUresult
cuMemcpyAtoHAsync_v2(void *dstHost, CUarray srcArray, size_t srcOffset, size_t ByteCount,
                     CUstream hStream)
{
    return copy_line(array_side(srcArray, srcOffset), host_side(dstHost), ByteCount, hStream,
                     COPY_ASYNC);
}

GP_EXPORT CUresult
cuMemcpyAtoA_v2(CUarray dstArray, size_t dstOffset, CUarray srcArray, size_t srcOffset,
                size_t ByteCount)
{
    return copy_line(array_side(srcArray, srcOffset), array_side(dstArray, dstOffset), ByteCount,
                     NULL, COPY_SYNC);
}

/* --- boxes --- */

static CUresult
copy_2d(const CUDA_MEMCPY2D *p, CUstream hStream, enum copy_mode mode)
{
    struct sd_side src, dst;
    struct sd_box box;
    CUstream stream;
    CUresult cr;

    if (p == NULL) {
        cr = sd_stream_get(hStream, &stream);
        return cr != CUDA_SUCCESS ? cr : CUDA_ERROR_INVALID_VALUE;
    }
    src = (struct sd_side){
        p->srcMemoryType, p->srcHost, p->srcDevice, p->srcArray, p->srcXInBytes, p->srcY, 0,
        p->srcPitch,      0};
    dst = (struct sd_side){
        p->dstMemoryType, p->dstHost, p->dstDevice, p->dstArray, p->dstXInBytes, p->dstY, 0,
        p->dstPitch,      0};
    box = (struct sd_box){p->WidthInBytes, p->Height, 1};
    return copy_box(&src, &dst, &box, hStream, mode);
}

GP_EXPORT CUresult
cuMemcpy2D_v2(const CUDA_MEMCPY2D *pCopy)
{
    return copy_2d(pCopy, NULL, COPY_SYNC);
}

GP_EXPORT CUresult
cuMemcpy2DUnaligned_v2(const CUDA_MEMCPY2D *pCopy)
{
    return copy_2d(pCopy, NULL, COPY_SYNC);
}

GP_EXPORT CUresult
cuMemcpy2DAsync_v2(const CUDA_MEMCPY2D *pCopy, CUstream hStream)
{
    return copy_2d(pCopy, hStream, COPY_ASYNC);
}

static CUresult
copy_3d(const CUDA_MEMCPY3D *p, CUstream hStream, enum copy_mode mode)
{
    struct sd_side src, dst;
    struct sd_box box;
    CUstream stream;
    CUresult cr;

    if (p == NULL || p->srcLOD != 0 || p->dstLOD != 0) {
        cr = sd_stream_get(hStream, &stream);
        return cr != CUDA_SUCCESS ? cr : CUDA_ERROR_INVALID_VALUE;
    }
    sd_copy_sides(p, &src, &dst, &box);
    return copy_box(&src, &dst, &box, hStream, mode);
}

GP_EXPORT CUresult
cuMemcpy3D_v2(const CUDA_MEMCPY3D *pCopy)
{
    return copy_3d(pCopy, NULL, COPY_SYNC);
}

GP_EXPORT CUresult
cuMemcpy3DAsync_v2(const CUDA_MEMCPY3D *pCopy, CUstream hStream)
{
    return copy_3d(pCopy, hStream, COPY_ASYNC);
}

static CUresult
copy_3d_peer(const CUDA_MEMCPY3D_PEER *p, CUstream hStream, enum copy_mode mode)
{
    CUcontext ctx, to, from;
    CUDA_MEMCPY3D q;
    CUresult cr;

    SD_ENTER(ctx);
    if (p == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    if ((p->srcMemoryType != CU_MEMORYTYPE_HOST && !sd_ctx_named(p->srcContext)) ||
        (p->dstMemoryType != CU_MEMORYTYPE_HOST && !sd_ctx_named(p->dstContext)))
        return CUDA_ERROR_INVALID_CONTEXT;
    /* The two structs differ only in the contexts, which stand where the other is reserved. */
    _Static_assert(sizeof(q) == sizeof(*p), "same shape");
    memcpy(&q, p, sizeof(q));
    if (mode == COPY_ASYNC)
        return copy_3d(&q, hStream, mode);
    to = p->dstMemoryType != CU_MEMORYTYPE_HOST ? p->dstContext : ctx;
    from = p->srcMemoryType != CU_MEMORYTYPE_HOST ? p->srcContext : ctx;
    cr = wait_for_contexts(to, from);
    if (cr == CUDA_SUCCESS)
        cr = copy_3d(&q, hStream, mode);
    if (cr == CUDA_SUCCESS && q.WidthInBytes != 0 && q.Height != 0 && q.Depth != 0 &&
        (to != ctx || from != ctx))
        cr = cuStreamSynchronize(NULL);
    return cr;
}

GP_EXPORT CUresult
cuMemcpy3DPeer(const CUDA_MEMCPY3D_PEER *pCopy)
{
    return copy_3d_peer(pCopy, NULL, COPY_SYNC);
}

GP_EXPORT CUresult
cuMemcpy3DPeerAsync(const CUDA_MEMCPY3D_PEER *pCopy, CUstream hStream)
{
    return copy_3d_peer(pCopy, hStream, COPY_ASYNC);
}

/* --- batches: in the order of the list, which is one of those that CUDA allows --- */

static bool
stream_is_legacy(CUstream stream)
{
    if (stream == NULL)
        stream = sd_default_stream();
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

GP_EXPORT CUresult
cuMemcpyBatchAsync_v2(CUdeviceptr *dsts, CUdeviceptr *srcs, size_t *sizes, size_t count,
                      CUmemcpyAttributes *attrs, size_t *attrsIdxs, size_t numAttrs,
                      CUstream hStream)
{
    CUcontext ctx;

    SD_ENTER(ctx);
    (void)ctx;
    if (dsts == NULL || srcs == NULL || sizes == NULL || count == 0 ||
        !attributes_ok(attrs, attrsIdxs, numAttrs, count) || stream_is_legacy(hStream))
        return CUDA_ERROR_INVALID_VALUE;
    for (size_t i = 0; i < count; i++) {
        CUresult cr = cuMemcpyAsync(dsts[i], srcs[i], sizes[i], hStream);

        if (cr != CUDA_SUCCESS)
            return cr;
    }
    return CUDA_SUCCESS;
}

GP_EXPORT CUresult
cuMemcpyBatchAsync(CUdeviceptr *dsts, CUdeviceptr *srcs, size_t *sizes, size_t count,
                   CUmemcpyAttributes *attrs, size_t *attrsIdxs, size_t numAttrs, size_t *failIdx,
                   CUstream hStream)
{
    if (failIdx != NULL)
        *failIdx = SIZE_MAX;
    return cuMemcpyBatchAsync_v2(dsts, srcs, sizes, count, attrs, attrsIdxs, numAttrs, hStream);
}

/* Bytes of an element: 1 between pointers, else the arrays' own; 0 if they differ. */
static size_t
element_bytes(const CUDA_MEMCPY3D_BATCH_OP *op)
{
    const CUmemcpy3DOperand *sides[2] = {&op->src, &op->dst};
    size_t bytes = 0;

    for (int i = 0; i < 2; i++) {
        CUarray array = sides[i]->op.array.array;

        if (sides[i]->type != CU_MEMCPY_OPERAND_TYPE_ARRAY)
            continue;
        if (!sd_object_is(array, SD_ARRAY) || (bytes != 0 && bytes != array->element_bytes))
            return 0;
        bytes = array->element_bytes;
    }
    return bytes != 0 ? bytes : 1;
}

static CUresult
operand_side(const CUmemcpy3DOperand *op, const CUextent3D *extent, size_t element,
             struct sd_side *side)
{
    size_t row = extent->width, rows = extent->height;

    *side = (struct sd_side){0};
    if (op->type == CU_MEMCPY_OPERAND_TYPE_ARRAY) {
        side->type = CU_MEMORYTYPE_ARRAY;
        side->array = op->op.array.array;
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
    side->device = op->op.ptr.ptr;
    side->height = rows;
    if (row < extent->width || rows < extent->height ||
        __builtin_mul_overflow(row, element, &side->pitch))
        return CUDA_ERROR_INVALID_VALUE;
    return CUDA_SUCCESS;
}

static CUresult
batch_box(const CUDA_MEMCPY3D_BATCH_OP *op, struct sd_side *src, struct sd_side *dst,
          struct sd_box *box)
{
    size_t element = element_bytes(op);
    CUresult cr;

    if (element == 0 || op->extent.width == 0 || op->extent.height == 0 || op->extent.depth == 0 ||
        !order_known(op->srcAccessOrder) || op->flags > CU_MEMCPY_FLAG_PREFER_OVERLAP_WITH_COMPUTE)
        return CUDA_ERROR_INVALID_VALUE;
    *box = (struct sd_box){0, op->extent.height, op->extent.depth};
    if (__builtin_mul_overflow(op->extent.width, element, &box->width))
        return CUDA_ERROR_INVALID_VALUE;
    cr = operand_side(&op->src, &op->extent, element, src);
    return cr == CUDA_SUCCESS ? operand_side(&op->dst, &op->extent, element, dst) : cr;
}

GP_EXPORT CUresult
cuMemcpy3DBatchAsync_v2(size_t numOps, CUDA_MEMCPY3D_BATCH_OP *opList, unsigned long long flags,
                        CUstream hStream)
{
    struct sd_side src, dst;
    struct sd_box box;
    CUcontext ctx;
    CUresult cr = CUDA_SUCCESS;

    SD_ENTER(ctx);
    (void)ctx;
    if (opList == NULL || numOps == 0 || flags != 0 || stream_is_legacy(hStream))
        return CUDA_ERROR_INVALID_VALUE;
    for (size_t i = 0; i < numOps && cr == CUDA_SUCCESS; i++)
        cr = batch_box(&opList[i], &src, &dst, &box);
    for (size_t i = 0; i < numOps && cr == CUDA_SUCCESS; i++) {
        cr = batch_box(&opList[i], &src, &dst, &box);
        if (cr == CUDA_SUCCESS)
            cr = copy_box(&src, &dst, &box, hStream, COPY_ASYNC);
    }
    return cr;
}

GP_EXPORT CUresult
cuMemcpy3DBatchAsync(size_t numOps, CUDA_MEMCPY3D_BATCH_OP *opList, size_t *failIdx,
                     unsigned long long flags, CUstream hStream)
{
    if (failIdx != NULL)
        *failIdx = SIZE_MAX;
    return cuMemcpy3DBatchAsync_v2(numOps, opList, flags, hStream);
}
