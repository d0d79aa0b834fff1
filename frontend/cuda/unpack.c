/* frontend/cuda/unpack.c -- batches that the device decompresses
 *
 * Nothing can ask for one operation of a batch, so a large batch may travel in pieces.
 */
#include "frontend/cuda/unpack.h"

#include "cuda_api.h"
#include "frontend/cuda/copy.h"
#include "frontend/cuda/managed.h"
#include "frontend/cuda/order.h"
#include "frontend/cuda/pool.h"
#include "frontend/cuda/vmm.h"
#include "protocol/base/util.h"

#include <string.h>

#define PIECE 512u
#define NUMBERS                                                                                    \
    6u /* algorithm, source, its bytes, destination, bytes expected, where they are told */

bool
fe_unpack_capable(const struct fe_state *state, const struct fe_block *block)
{
    if (fe_device_attribute(state, block->device,
                            CU_DEVICE_ATTRIBUTE_MEM_DECOMPRESS_ALGORITHM_MASK) == 0)
        return false;
    switch (block->kind) {
    case FE_BLOCK_PLAIN:
        return fe_alloc_in_range(fe_alloc_of_device(block->device), block->base) &&
               !fe_managed_block(block->base);
    case FE_BLOCK_MAPPED:
        return (((const struct fe_phys *)block->object)->prop.allocFlags.usage &
                CU_MEM_CREATE_USAGE_HW_DECOMPRESS) != 0;
    case FE_BLOCK_POOL:
        return (((const struct fe_pool *)block->object)->usage &
                CU_MEM_POOL_CREATE_USAGE_HW_DECOMPRESS) != 0;
    default:
        return false;
    }
}

static bool
reaches(const struct fe_call *call, const void *p, size_t bytes)
{
    uint64_t address = (uintptr_t)p;
    struct fe_block block;

    return fe_alloc_find(fe_alloc_of(call), address, &block) &&
           fe_unpack_capable(fe_state_of(call), &block) &&
           fe_check_device(call, address, bytes) == CUDA_SUCCESS;
}

static CUresult
check(const struct fe_call *call, const CUmemDecompressParams *p)
{
    static const unsigned char zeros[sizeof(p->padding)];
    const struct fe_state *state = fe_state_of(call);
    int device = call->context->device;
    unsigned mask = (unsigned)fe_device_attribute(
        state, device, CU_DEVICE_ATTRIBUTE_MEM_DECOMPRESS_ALGORITHM_MASK);
    size_t max = (unsigned)fe_device_attribute(state, device,
                                               CU_DEVICE_ATTRIBUTE_MEM_DECOMPRESS_MAXIMUM_LENGTH);

    if (((unsigned)p->algo & ~mask) != 0 || __builtin_popcount((unsigned)p->algo) != 1 ||
        memcmp(p->padding, zeros, sizeof(zeros)) != 0)
        return CUDA_ERROR_INVALID_VALUE;
    if (p->srcNumBytes == 0 || p->srcNumBytes > max || p->dstNumBytes > max)
        return CUDA_ERROR_INVALID_VALUE;
    if (!reaches(call, p->src, p->srcNumBytes) ||
        !reaches(call, p->dst, p->dstNumBytes != 0 ? p->dstNumBytes : 1) ||
        !reaches(call, p->dstActBytes, sizeof(*p->dstActBytes)))
        return CUDA_ERROR_INVALID_VALUE;
    return CUDA_SUCCESS;
}

static CUresult
post(struct fe_call *call, const struct fe_where *where, const CUmemDecompressParams *list,
     uint32_t count)
{
    uint64_t numbers[PIECE * NUMBERS];
    struct wire_cuMemBatchDecompressAsync_args args = {
        .stream = where->wire, .operations = numbers, .operations_len = count * NUMBERS};
    void *to;

    for (uint32_t i = 0; i < count; i++) {
        const CUmemDecompressParams *p = &list[i];
        const uint64_t row[NUMBERS] = {p->algo,        (uintptr_t)p->src,
                                       p->srcNumBytes, (uintptr_t)p->dst,
                                       p->dstNumBytes, (uintptr_t)p->dstActBytes};

        memcpy(&numbers[(size_t)i * NUMBERS], row, sizeof(row));
    }
    to = fe_post(call, wire_size_cuMemBatchDecompressAsync_args(&args));
    if (to == NULL)
        return fe_lost(call);
    wire_put_cuMemBatchDecompressAsync_args(to, &args);
    (void)fe_stream_mark(call, where->stream);
    fe_post_done(call);
    return CUDA_SUCCESS;
}

GP_EXPORT CUresult
cuMemBatchDecompressAsync(CUmemDecompressParams *list, size_t count, unsigned int flags,
                          size_t *error_index, CUstream stream)
{
    size_t index = SIZE_MAX;
    struct fe_where where;
    struct fe_call call;
    CUresult cr = fe_enter(&call, WIRE_CALL_cuMemBatchDecompressAsync);

    if (cr != CUDA_SUCCESS)
        return cr;
    cr = fe_stream_resolve(&call, stream, &where.stream, &where.wire);
    if (cr == CUDA_SUCCESS && (list == NULL || count == 0 || flags != 0))
        cr = CUDA_ERROR_INVALID_VALUE;
    for (size_t i = 0; i < count && cr == CUDA_SUCCESS; i++) {
        cr = check(&call, &list[i]);
        index = cr == CUDA_SUCCESS ? SIZE_MAX : i;
    }
    if (cr == CUDA_SUCCESS)
        cr = fe_order(&call, where.stream, where.wire);
    for (size_t at = 0; at < count && cr == CUDA_SUCCESS; at += PIECE)
        cr = post(&call, &where, list + at, (uint32_t)(count - at < PIECE ? count - at : PIECE));
    if (cr != CUDA_SUCCESS && error_index != NULL)
        *error_index = index;
    return fe_leave(&call, cr);
}
