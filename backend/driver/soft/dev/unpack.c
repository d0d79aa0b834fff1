/* backend/driver/soft/dev/unpack.c -- the engine that decompresses: cuMemBatchDecompressAsync
 *
 * Deflate comes raw, LZ4 and Snappy as blocks without frames, as nvCOMP makes them.
 */
#include "backend/driver/soft/dev/unpack.h"

#include "backend/driver/soft/dev/ctx.h"
#include "backend/driver/soft/dev/mempool.h"
#include "backend/driver/soft/dev/sched.h"
#include "backend/driver/soft/dev/span.h"
#include "backend/driver/soft/dev/vmm.h"
#include "cuda_api.h"
#include "protocol/base/compress.h"

#include <string.h>
#include <zlib.h>

bool
sd_unpack_capable(const struct sd_alloc *alloc)
{
    switch (alloc->kind) {
    case SD_MEM_DEVICE:
        return true;
    case SD_MEM_VMM:
        return (sd_phys_usage(alloc->owner) & CU_MEM_CREATE_USAGE_HW_DECOMPRESS) != 0;
    case SD_MEM_POOL:
        return (sd_mempool_usage(alloc->owner) & CU_MEM_POOL_CREATE_USAGE_HW_DECOMPRESS) != 0;
    default:
        return false;
    }
}

/* Memory that was made for it and that the context's device reaches. */
static bool
reaches(const struct CUctx_st *ctx, const void *p, uint64_t bytes, bool write)
{
    uint64_t addr = (uintptr_t)p, base, end;
    struct sd_alloc alloc;
    bool writable;

    return sd_map_find(addr, &alloc) && sd_unpack_capable(&alloc) &&
           sd_map_span(addr, ctx->dev->ordinal, atomic_load(&ctx->peers), &base, &end, &writable) &&
           bytes <= end - addr && (writable || !write);
}

static CUresult
check(const struct CUctx_st *ctx, const CUmemDecompressParams *p)
{
    static const unsigned char zeros[sizeof(p->padding)];

    if ((p->algo & ~SD_UNPACK_ALGORITHMS) != 0 || __builtin_popcount(p->algo) != 1 ||
        memcmp(p->padding, zeros, sizeof(zeros)) != 0)
        return CUDA_ERROR_INVALID_VALUE;
    if (p->srcNumBytes == 0 || p->srcNumBytes > SD_UNPACK_BYTES_MAX ||
        p->dstNumBytes > SD_UNPACK_BYTES_MAX)
        return CUDA_ERROR_INVALID_VALUE;
    if (!reaches(ctx, p->src, p->srcNumBytes, false) ||
        !reaches(ctx, p->dst, gp_max_u64(p->dstNumBytes, 1), true) ||
        !reaches(ctx, p->dstActBytes, sizeof(*p->dstActBytes), true))
        return CUDA_ERROR_INVALID_VALUE;
    return CUDA_SUCCESS;
}

GP_EXPORT CUresult
cuMemBatchDecompressAsync(CUmemDecompressParams *paramsArray, size_t count, unsigned int flags,
                          size_t *errorIndex, CUstream stream)
{
    CUresult cr = sd_stream_get_running(stream, &stream);
    size_t index = SIZE_MAX;
    struct sd_op *op;

    if (cr == CUDA_SUCCESS && (paramsArray == NULL || count == 0 || flags != 0))
        cr = CUDA_ERROR_INVALID_VALUE;
    for (size_t i = 0; i < count && cr == CUDA_SUCCESS; i++) {
        cr = check(stream->ctx, &paramsArray[i]);
        index = cr == CUDA_SUCCESS ? SIZE_MAX : i;
    }
    if (cr != CUDA_SUCCESS) {
        if (errorIndex != NULL && cr != CUDA_ERROR_NOT_INITIALIZED)
            *errorIndex = index;
        return cr;
    }
    op = sd_op_new(SD_WORK_UNPACK, stream->ctx);
    if (op == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    op->work.unpack.count = count;
    op->work.unpack.params = calloc(count, sizeof(*paramsArray));
    if (op->work.unpack.params == NULL) {
        sd_op_free(op);
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    memcpy(op->work.unpack.params, paramsArray, count * sizeof(*paramsArray));
    return sd_stream_submit(stream, op, NULL);
}

static bool
inflate_raw(const void *src, size_t src_bytes, void *dst, size_t room, size_t *bytes_p)
{
    z_stream z = {.next_in = (Bytef *)(uintptr_t)src,
                  .avail_in = (uInt)src_bytes,
                  .next_out = dst,
                  .avail_out = (uInt)room};
    int rc;

    if (inflateInit2(&z, -MAX_WBITS) != Z_OK)
        return false;
    rc = inflate(&z, Z_FINISH);
    *bytes_p = z.total_out;
    (void)inflateEnd(&z);
    return rc == Z_STREAM_END;
}

static bool
unpack(const CUmemDecompressParams *p, size_t room, size_t *bytes_p)
{
    switch (p->algo) {
    case CU_MEM_DECOMPRESS_ALGORITHM_DEFLATE:
        return inflate_raw(p->src, p->srcNumBytes, p->dst, room, bytes_p);
    case CU_MEM_DECOMPRESS_ALGORITHM_LZ4:
        return gp_lz4_decompress(p->src, p->srcNumBytes, p->dst, room, bytes_p) == GP_OK;
    default:
        return sd_snappy_unpack(p->src, p->srcNumBytes, p->dst, room, bytes_p);
    }
}

CUresult
sd_unpack_run(const struct sd_unpack_work *work, const struct CUctx_st *ctx)
{
    for (size_t i = 0; i < work->count; i++) {
        const CUmemDecompressParams *p = &work->params[i];
        uint64_t dst = (uintptr_t)p->dst, base, end;
        bool writable;
        size_t bytes = 0;

        /* The memory may have gone since the call. */
        if (!sd_map_span(dst, ctx->dev->ordinal, atomic_load(&ctx->peers), &base, &end,
                         &writable) ||
            !writable || !reaches(ctx, p->src, p->srcNumBytes, false) ||
            !reaches(ctx, p->dstActBytes, sizeof(*p->dstActBytes), true))
            return CUDA_ERROR_ILLEGAL_ADDRESS;
        if (!unpack(p, gp_min_u64(end - dst, SD_UNPACK_BYTES_MAX), &bytes))
            return CUDA_ERROR_LAUNCH_FAILED;
        __atomic_store_n(p->dstActBytes, (cuuint32_t)bytes, __ATOMIC_RELEASE);
    }
    return CUDA_SUCCESS;
}
