/* backend/driver/soft/dev/memcpy.c -- the copy entry points
 *
 * When a copy runs: a pageable source is captured before the call returns; a copy into pageable
 * memory is done when the call returns; what is asynchronous and small runs at once if nothing
 * is before it. Synchronous copies between device places return early, as CUDA documents.
 */
#include "backend/driver/soft/dev/copy.h"
#include "cuda_api.h"

#include <string.h>

#define SMALL_BYTES (16u << 10)

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
            return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
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
    device_only = src->type != CU_MEMORYTYPE_HOST && dst->type != CU_MEMORYTYPE_HOST &&
                  !pageable[0] && !pageable[1];
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
cuMemcpyHtoDAsync_v2(CUdeviceptr dstDevice, const void *srcHost, size_t ByteCount,
                     CUstream hStream)
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

GP_EXPORT CUresult
cuMemcpyPeer(CUdeviceptr dstDevice, CUcontext dstContext, CUdeviceptr srcDevice,
             CUcontext srcContext, size_t ByteCount)
{
    if (!sd_object_is(dstContext, SD_CTX) || !sd_object_is(srcContext, SD_CTX))
        return CUDA_ERROR_INVALID_CONTEXT;
    return copy_line(device_side(srcDevice), device_side(dstDevice), ByteCount, NULL, COPY_SYNC);
}

GP_EXPORT CUresult
cuMemcpyPeerAsync(CUdeviceptr dstDevice, CUcontext dstContext, CUdeviceptr srcDevice,
                  CUcontext srcContext, size_t ByteCount, CUstream hStream)
{
    if (!sd_object_is(dstContext, SD_CTX) || !sd_object_is(srcContext, SD_CTX))
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

    if (p == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    src = (struct sd_side){p->srcMemoryType, p->srcHost, p->srcDevice, p->srcArray,
                           p->srcXInBytes,   p->srcY,    0,            p->srcPitch,
                           0};
    dst = (struct sd_side){p->dstMemoryType, p->dstHost, p->dstDevice, p->dstArray,
                           p->dstXInBytes,   p->dstY,    0,            p->dstPitch,
                           0};
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

    if (p == NULL || p->srcLOD != 0 || p->dstLOD != 0)
        return CUDA_ERROR_INVALID_VALUE;
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
    CUDA_MEMCPY3D q;

    if (p == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    /* The two structs differ only in the contexts, which stand where the other is reserved. */
    _Static_assert(sizeof(q) == sizeof(*p), "same shape");
    memcpy(&q, p, sizeof(q));
    return copy_3d(&q, hStream, mode);
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

GP_EXPORT CUresult
cuMemcpyBatchAsync_v2(CUdeviceptr *dsts, CUdeviceptr *srcs, size_t *sizes, size_t count,
                      CUmemcpyAttributes *attrs, size_t *attrsIdxs, size_t numAttrs,
                      CUstream hStream)
{
    if (dsts == NULL || srcs == NULL || sizes == NULL || count == 0 || attrs == NULL ||
        attrsIdxs == NULL || numAttrs == 0 || numAttrs > count || attrsIdxs[0] != 0 ||
        hStream == NULL || hStream == CU_STREAM_LEGACY)
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

/* Rows and layers of an operand in memory are counted in bytes: elements are unknown there. */
static struct sd_side
operand_side(const CUmemcpy3DOperand *op, const CUextent3D *extent)
{
    if (op->type == CU_MEMCPY_OPERAND_TYPE_ARRAY)
        return (struct sd_side){.type = CU_MEMORYTYPE_ARRAY,
                                .array = op->op.array.array,
                                .x = op->op.array.offset.x,
                                .y = op->op.array.offset.y,
                                .z = op->op.array.offset.z};
    return (struct sd_side){
        .type = CU_MEMORYTYPE_UNIFIED,
        .device = op->op.ptr.ptr,
        .pitch = op->op.ptr.rowLength != 0 ? op->op.ptr.rowLength : extent->width,
        .height = op->op.ptr.layerHeight != 0 ? op->op.ptr.layerHeight : extent->height,
    };
}

GP_EXPORT CUresult
cuMemcpy3DBatchAsync_v2(size_t numOps, CUDA_MEMCPY3D_BATCH_OP *opList, unsigned long long flags,
                        CUstream hStream)
{
    if (opList == NULL || numOps == 0 || flags != 0 || hStream == NULL ||
        hStream == CU_STREAM_LEGACY)
        return CUDA_ERROR_INVALID_VALUE;
    for (size_t i = 0; i < numOps; i++) {
        const CUDA_MEMCPY3D_BATCH_OP *op = &opList[i];
        struct sd_side src, dst;
        struct sd_box box = {op->extent.width, op->extent.height, op->extent.depth};
        CUresult cr;

        if (op->src.type == CU_MEMCPY_OPERAND_TYPE_ARRAY ||
            op->dst.type == CU_MEMCPY_OPERAND_TYPE_ARRAY)
            return sd_refuse("cuMemcpy3DBatchAsync with arrays");
        src = operand_side(&op->src, &op->extent);
        dst = operand_side(&op->dst, &op->extent);
        cr = copy_box(&src, &dst, &box, hStream, COPY_ASYNC);
        if (cr != CUDA_SUCCESS)
            return cr;
    }
    return CUDA_SUCCESS;
}

GP_EXPORT CUresult
cuMemcpy3DBatchAsync(size_t numOps, CUDA_MEMCPY3D_BATCH_OP *opList, size_t *failIdx,
                     unsigned long long flags, CUstream hStream)
{
    if (failIdx != NULL)
        *failIdx = SIZE_MAX;
    return cuMemcpy3DBatchAsync_v2(numOps, opList, flags, hStream);
}
