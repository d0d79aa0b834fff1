/* backend/cuda/memcpy.c -- copies to, from and on the device */
#include "backend/cuda/array.h"
#include "backend/cuda/callback.h"
#include "backend/cuda/copy_in.h"
#include "backend/cuda/jobs.h"
#include "be_hooks.h"
#include "protocol/base/compress.h"
#include "protocol/base/pack.h"
#include "protocol/base/util.h"

#include <string.h>

_Static_assert(GP_PACK_PIECE_MAX <= BE_STAGING_BLOCK_MAX, "a piece fits into a block");

/* A block for bytes that go to the device. Over the soft limit it waits for an earlier copy, but
 * not where that could in the end wait for the client. */
static CUresult
block_get(struct be_call *call, struct be_staging *staging, size_t bytes, struct be_block **block_p)
{
    CUresult cr;

    while ((cr = be_staging_get(staging, bytes, false, block_p)) == CUDA_ERROR_NOT_READY) {
        if (be_callbacks_pending(call->session) || !be_staging_wait(staging))
            return be_staging_get(staging, bytes, true, block_p);
    }
    return cr;
}

CUresult
be_copy_in_begin(struct be_call *call, const struct wire_cuMemcpyHtoDAsync_v2_args *args,
                 struct be_copy_in *in)
{
    CUresult cr;

    in->dst = args->dst;
    cr = be_handle_get(call->session, WIRE_HANDLE_STREAM, args->stream, true, &in->stream);
    if (cr == CUDA_SUCCESS)
        cr = be_check_device(call->session, args->dst, args->data_len);
    if (cr == CUDA_SUCCESS)
        cr = be_context_staging(call->context, &in->staging);
    return cr;
}

CUresult
be_copy_in_get(struct be_call *call, struct be_copy_in *in, uint32_t bytes)
{
    return block_get(call, in->staging, bytes, &in->block);
}

CUresult
be_copy_in_go(struct be_call *call, struct be_copy_in *in, uint32_t bytes)
{
    CUresult cr = call->driver->cuMemcpyHtoDAsync_v2(in->dst, in->block->data, bytes, in->stream);

    be_staging_put_after(in->staging, in->block, in->stream);
    in->dst += bytes;
    return cr;
}

CUresult
be_copy_in_near(struct be_call *call, struct be_copy_in *in, const void *from, uint32_t bytes)
{
    /* Not pinned: the driver captures it before it returns. */
    CUresult cr = call->driver->cuMemcpyHtoDAsync_v2(in->dst, from, bytes, in->stream);

    in->dst += bytes;
    return cr;
}

CUresult
be_hook_cuMemcpyHtoDAsync_v2(struct be_call *call,
                             const struct wire_cuMemcpyHtoDAsync_v2_args *args)
{
    struct be_copy_in in;
    CUresult cr = be_copy_in_begin(call, args, &in);

    for (uint32_t at = 0; at < args->data_len && cr == CUDA_SUCCESS;) {
        uint32_t bytes = (uint32_t)gp_min_u64(args->data_len - at, BE_STAGING_BLOCK_MAX);

        cr = be_copy_in_get(call, &in, bytes);
        if (cr != CUDA_SUCCESS)
            break;
        memcpy(in.block->data, args->data + at, bytes);
        cr = be_copy_in_go(call, &in, bytes);
        at += bytes;
    }
    return cr;
}

/* What comes out is bounded by the block, whatever the bytes say. */
CUresult
be_hook_gpCopyPacked(struct be_call *call, const struct wire_gpCopyPacked_args *args)
{
    struct be_staging *staging;
    struct be_block *block;
    CUstream stream;
    size_t got = 0;
    CUresult cr;

    if (args->bytes == 0 || args->bytes > GP_PACK_PIECE_MAX)
        return CUDA_ERROR_INVALID_VALUE;
    cr = be_handle_get(call->session, WIRE_HANDLE_STREAM, args->stream, true, &stream);
    if (cr == CUDA_SUCCESS)
        cr = be_check_device(call->session, args->dst, args->bytes);
    if (cr == CUDA_SUCCESS)
        cr = be_context_staging(call->context, &staging);
    if (cr == CUDA_SUCCESS)
        cr = block_get(call, staging, args->bytes, &block);
    if (cr != CUDA_SUCCESS)
        return cr;
    if (gp_zstd_decompress(args->data, args->data_len, block->data, args->bytes, &got) != GP_OK ||
        got != args->bytes) {
        be_staging_put(staging, block);
        be_malformed(call);
        return CUDA_ERROR_INVALID_VALUE;
    }
    cr = call->driver->cuMemcpyHtoDAsync_v2(args->dst, block->data, args->bytes, stream);
    be_staging_put_after(staging, block, stream);
    return cr;
}

CUresult
be_hook_cuMemcpyDtoDAsync_v2(struct be_call *call,
                             const struct wire_cuMemcpyDtoDAsync_v2_args *args)
{
    CUstream stream;
    CUresult cr;

    cr = be_handle_get(call->session, WIRE_HANDLE_STREAM, args->stream, true, &stream);
    if (cr == CUDA_SUCCESS)
        cr = be_check_device(call->session, args->dst, args->bytes);
    if (cr == CUDA_SUCCESS)
        cr = be_check_device(call->session, args->src, args->bytes);
    if (cr == CUDA_SUCCESS)
        cr = call->driver->cuMemcpyDtoDAsync_v2(args->dst, args->src, args->bytes, stream);
    return cr;
}

static CUresult
copy_out_linear(struct be_call *call, uint64_t src, uint64_t bytes, uint32_t data,
                uint64_t stream_id)
{
    struct be_region from = {
        .base = src, .width = bytes, .height = 1, .depth = 1, .pitch = bytes, .slice = bytes};
    CUstream stream;
    CUresult cr;

    cr = be_handle_get(call->session, WIRE_HANDLE_STREAM, stream_id, true, &stream);
    if (cr == CUDA_SUCCESS)
        cr = be_check_device(call->session, src, bytes);
    if (cr != CUDA_SUCCESS) {
        be_copy_refuse(call, data, cr);
        return cr;
    }
    return be_copy_out(call, &from, data, stream);
}

CUresult
be_hook_cuMemcpyDtoHAsync_v2(struct be_call *call,
                             const struct wire_cuMemcpyDtoHAsync_v2_args *args)
{
    return copy_out_linear(call, args->src, args->bytes, args->data, args->stream);
}

CUresult
be_hook_cuMemcpyDtoH_v2(struct be_call *call, const struct wire_cuMemcpyDtoH_v2_args *args,
                        struct wire_cuMemcpyDtoH_v2_reply *reply)
{
    (void)reply;
    return copy_out_linear(call, args->src, args->bytes, args->data, args->stream);
}

/* -- three dimensions
 * -------------------------------------------------------------------------------- */

/* A side in an array, named by its id. */
static CUresult
side_array(struct be_call *call, const CUDA_MEMCPY3D *c, bool source, struct be_region *r)
{
    struct be_array *array = NULL;
    uint64_t id = (uintptr_t)(source ? c->srcArray : c->dstArray);
    CUresult cr = be_array_find(call->session, WIRE_HANDLE_ARRAY, id, &array);

    if (cr != CUDA_SUCCESS)
        return cr;
    *r = (struct be_region){.width = c->WidthInBytes,
                            .height = c->Height,
                            .depth = c->Depth,
                            .array = array,
                            .x = source ? c->srcXInBytes : c->dstXInBytes,
                            .y = source ? c->srcY : c->dstY,
                            .z = source ? c->srcZ : c->dstZ};
    return be_array_check(array, r->x, r->y, r->z, r->width, r->height, r->depth);
}

/* One side of a 3D copy on the device, checked: its corner and its strides. */
static CUresult
side_check(struct be_call *call, const CUDA_MEMCPY3D *c, bool source, struct be_region *r)
{
    uint64_t base = source ? c->srcDevice : c->dstDevice;
    uint64_t x = source ? c->srcXInBytes : c->dstXInBytes;
    uint64_t y = source ? c->srcY : c->dstY;
    uint64_t z = source ? c->srcZ : c->dstZ;
    uint64_t pitch = source ? c->srcPitch : c->dstPitch;
    uint64_t height = source ? c->srcHeight : c->dstHeight;
    uint64_t slice, skip, reach, rows, from;
    CUmemorytype type = source ? c->srcMemoryType : c->dstMemoryType;

    if (type == CU_MEMORYTYPE_ARRAY)
        return side_array(call, c, source, r);
    if (type != CU_MEMORYTYPE_DEVICE && type != CU_MEMORYTYPE_UNIFIED)
        return CUDA_ERROR_INVALID_VALUE;
    if (pitch == 0)
        pitch = c->WidthInBytes + x;
    if (height == 0)
        height = c->Height + y;
    if (c->WidthInBytes > pitch || x > pitch - c->WidthInBytes)
        return CUDA_ERROR_INVALID_VALUE;
    /* Slices that overlap would make more bytes than there is memory. */
    if (c->Depth > 1 && (c->Height > height || y > height - c->Height))
        return CUDA_ERROR_INVALID_VALUE;
    /* Checked: base + z * slice + y * pitch + x, and from there to the last byte. */
    if (__builtin_mul_overflow(pitch, height, &slice) || __builtin_mul_overflow(z, slice, &skip) ||
        __builtin_mul_overflow(y, pitch, &rows) || __builtin_add_overflow(skip, rows, &skip) ||
        __builtin_add_overflow(skip, x, &skip) || __builtin_add_overflow(base, skip, &from))
        return CUDA_ERROR_INVALID_VALUE;
    if (__builtin_mul_overflow(slice, c->Depth - 1, &reach) ||
        __builtin_mul_overflow(pitch, c->Height - 1, &rows) ||
        __builtin_add_overflow(reach, rows, &reach) ||
        __builtin_add_overflow(reach, c->WidthInBytes, &reach))
        return CUDA_ERROR_INVALID_VALUE;
    *r = (struct be_region){.base = from,
                            .width = c->WidthInBytes,
                            .height = c->Height,
                            .depth = c->Depth,
                            .pitch = pitch,
                            .slice = slice};
    return be_check_device(call->session, from, reach);
}

/* Bytes of the packed rows; false if that is more than anything could be. */
static bool
copy_bytes(const CUDA_MEMCPY3D *c, uint64_t *bytes_p)
{
    uint64_t bytes;

    return !__builtin_mul_overflow(c->WidthInBytes, c->Height, &bytes) &&
           !__builtin_mul_overflow(bytes, c->Depth, bytes_p);
}

CUresult
be_hook_cuMemcpy3DAsync_v2(struct be_call *call, const struct wire_cuMemcpy3DAsync_v2_args *args)
{
    struct be_region from, to;
    CUDA_MEMCPY3D copy;
    CUstream stream;
    uint64_t bytes;
    CUresult cr;

    cr = be_handle_get(call->session, WIRE_HANDLE_STREAM, args->stream, true, &stream);
    if (cr == CUDA_SUCCESS && !copy_bytes(&args->copy, &bytes))
        cr = CUDA_ERROR_INVALID_VALUE;
    if (cr != CUDA_SUCCESS || bytes == 0)
        return cr;
    cr = side_check(call, &args->copy, true, &from);
    if (cr == CUDA_SUCCESS)
        cr = side_check(call, &args->copy, false, &to);
    if (cr != CUDA_SUCCESS)
        return cr;
    /* Nothing of the client's struct is left in it but checked numbers. */
    memset(&copy, 0, sizeof(copy));
    be_region_source(&from, 0, 0, 0, &copy);
    be_region_target(&to, 0, 0, 0, &copy);
    copy.WidthInBytes = args->copy.WidthInBytes;
    copy.Height = args->copy.Height;
    copy.Depth = args->copy.Depth;
    if (copy.Depth == 1)
        copy.srcHeight = copy.dstHeight = copy.Height;
    return call->driver->cuMemcpy3DAsync_v2(&copy, stream);
}

/* Rows of one slice, or a part of one row, through one block: width bytes of each from (x, y, z).
 */
static CUresult
copy_in_block(struct be_call *call, struct be_staging *staging, const struct be_region *to,
              const uint64_t at[3], uint64_t width, uint64_t rows, const uint8_t *data,
              CUstream stream)
{
    struct be_block *block;
    CUDA_MEMCPY3D copy;
    CUresult cr;

    cr = block_get(call, staging, width * rows, &block);
    if (cr != CUDA_SUCCESS)
        return cr;
    memcpy(block->data, data, width * rows);
    memset(&copy, 0, sizeof(copy));
    copy.srcMemoryType = CU_MEMORYTYPE_HOST;
    copy.srcHost = block->data;
    copy.srcPitch = width;
    copy.srcHeight = rows;
    be_region_target(to, at[0], at[1], at[2], &copy);
    copy.WidthInBytes = width;
    copy.Height = copy.dstHeight = rows; /* one slice, however high they are */
    copy.Depth = 1;
    cr = call->driver->cuMemcpy3DAsync_v2(&copy, stream);
    be_staging_put_after(staging, block, stream);
    return cr;
}

/* A row longer than a block. */
static CUresult
copy_in_long(struct be_call *call, struct be_staging *staging, const struct be_region *to,
             uint64_t y, uint64_t z, const uint8_t *data, CUstream stream)
{
    CUresult cr = CUDA_SUCCESS;

    for (uint64_t x = 0; x < to->width && cr == CUDA_SUCCESS; x += BE_STAGING_BLOCK_MAX) {
        uint64_t bytes = gp_min_u64(to->width - x, BE_STAGING_BLOCK_MAX);

        cr = copy_in_block(call, staging, to, (uint64_t[3]){x, y, z}, bytes, 1, data + x, stream);
    }
    return cr;
}

static CUresult
copy_in(struct be_call *call, const struct be_region *to, const uint8_t *data, CUstream stream)
{
    struct be_staging *staging;
    CUresult cr;

    cr = be_context_staging(call->context, &staging);
    for (uint64_t z = 0; z < to->depth && cr == CUDA_SUCCESS; z++) {
        for (uint64_t y = 0; y < to->height && cr == CUDA_SUCCESS;) {
            uint64_t rows = 1;

            if (to->width > BE_STAGING_BLOCK_MAX) {
                cr = copy_in_long(call, staging, to, y, z, data, stream);
            } else {
                rows = gp_min_u64(to->height - y, BE_STAGING_BLOCK_MAX / to->width);
                cr = copy_in_block(call, staging, to, (uint64_t[3]){0, y, z}, to->width, rows, data,
                                   stream);
            }
            data += rows * to->width;
            y += rows;
        }
    }
    return cr;
}

CUresult
be_hook_gpCopyIn3D(struct be_call *call, const struct wire_gpCopyIn3D_args *args)
{
    struct be_region to;
    CUstream stream;
    uint64_t bytes;
    CUresult cr;

    cr = be_handle_get(call->session, WIRE_HANDLE_STREAM, args->stream, true, &stream);
    if (cr == CUDA_SUCCESS && (!copy_bytes(&args->copy, &bytes) || bytes != args->data_len))
        cr = CUDA_ERROR_INVALID_VALUE;
    if (cr != CUDA_SUCCESS || bytes == 0)
        return cr;
    cr = side_check(call, &args->copy, false, &to);
    if (cr == CUDA_SUCCESS)
        cr = copy_in(call, &to, args->data, stream);
    return cr;
}

CUresult
be_hook_gpCopyOut3D(struct be_call *call, const struct wire_gpCopyOut3D_args *args)
{
    struct be_region from = {0};
    CUstream stream;
    uint64_t bytes = 0;
    CUresult cr;

    cr = be_handle_get(call->session, WIRE_HANDLE_STREAM, args->stream, true, &stream);
    if (cr == CUDA_SUCCESS && !copy_bytes(&args->copy, &bytes))
        cr = CUDA_ERROR_INVALID_VALUE;
    if (cr == CUDA_SUCCESS && bytes != 0)
        cr = side_check(call, &args->copy, true, &from);
    if (cr != CUDA_SUCCESS) {
        be_copy_refuse(call, args->data, cr);
        return cr;
    }
    return be_copy_out(call, &from, args->data, stream);
}
