/* frontend/cuda/graph_mem.c -- memory of allocation nodes
 *
 * The address is named when the node is made, and the memory behind it is there from then on until
 * nobody has it any more: launches only mark it as allocated or free. So pointers inside kernel
 * parameters are right without asking the server, and the bytes are counted in the lease.
 */
#include "cuda_api.h"
#include "frontend/core/stats.h"
#include "frontend/cuda/graph.h"
#include "frontend/cuda/memory.h"
#include "frontend/cuda/state.h"
#include "protocol/base/util.h"

#include <stdlib.h>

/* Guarded by the graphs' lock. */
static struct fe_graph_block *blocks;
static struct {
    uint64_t used, used_high, reserved, reserved_high;
} devices[WIRE_DEVICES_MAX];

/* Atomic: so that frees of other memory take no lock. */
static _Atomic size_t block_count;

CUresult
fe_graph_block_new(struct fe_context *ctx, uint64_t bytes, struct fe_graph_block **block_p)
{
    struct fe_graph_block *block = calloc(1, sizeof(*block));
    struct fe_block memory = {.bytes = bytes, .device = ctx->device, .owner = ctx};
    struct fe_call call;
    CUresult cr;

    if (block == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    cr = fe_enter_in(&call, WIRE_CALL_cuMemAlloc_v2, ctx);
    if (cr == CUDA_SUCCESS)
        cr = fe_leave(&call, fe_memory_alloc(&call, &memory));
    if (cr != CUDA_SUCCESS) {
        free(block);
        return cr;
    }
    block->address = memory.base;
    block->bytes = bytes;
    block->ctx = ctx;
    block->ctx_wire = ctx->head.object.wire;
    block->device = ctx->device;
    block->refs = 1;
    fe_graph_lock();
    block->next = blocks;
    blocks = block;
    atomic_fetch_add(&block_count, 1);
    devices[block->device].reserved += bytes;
    devices[block->device].reserved_high =
        gp_max_u64(devices[block->device].reserved_high, devices[block->device].reserved);
    fe_graph_unlock();
    *block_p = block;
    return CUDA_SUCCESS;
}

void
fe_graph_block_put(struct fe_graph_block *block)
{
    if (block != NULL)
        block->refs--; /* flushed later */
}

struct fe_graph_block *
fe_graph_block_find(uint64_t address)
{
    struct fe_graph_block *block = blocks;

    while (block != NULL && block->address != address)
        block = block->next;
    return block;
}

void
fe_graph_block_used(struct fe_graph_block *block, bool allocated)
{
    if (block->allocated == allocated)
        return;
    block->allocated = allocated;
    devices[block->device].used += allocated ? block->bytes : -block->bytes;
    devices[block->device].used_high =
        gp_max_u64(devices[block->device].used_high, devices[block->device].used);
}

/* Gone with its context, if that is gone. */
static void
give_back(struct fe_graph_block *block)
{
    struct fe_call call;

    if (fe_object_state(block->ctx) == FE_OBJECT_LIVE &&
        block->ctx->head.object.wire == block->ctx_wire &&
        fe_enter_in(&call, WIRE_CALL_cuMemFree_v2, block->ctx) == CUDA_SUCCESS)
        (void)fe_leave(&call, fe_memory_free(&call, block->address));
    free(block);
}

void
fe_graph_mem_flush(void)
{
    struct fe_graph_block *gone = NULL, **at = &blocks;

    if (atomic_load(&block_count) == 0)
        return;
    fe_graph_lock();
    while (*at != NULL) {
        struct fe_graph_block *block = *at;

        if (block->refs > 0 || block->allocated) {
            at = &block->next;
            continue;
        }
        *at = block->next;
        devices[block->device].reserved -= block->bytes;
        atomic_fetch_sub(&block_count, 1);
        block->next = gone;
        gone = block;
    }
    fe_graph_unlock();
    while (gone != NULL) {
        struct fe_graph_block *block = gone;

        gone = block->next;
        give_back(block);
    }
}

void
fe_graph_flush(void)
{
    fe_graph_mem_flush();
    fe_users_bury();
}

bool
fe_graph_mem_is(uint64_t address)
{
    bool is;

    if (GP_LIKELY(atomic_load(&block_count) == 0))
        return false;
    fe_graph_lock();
    is = fe_graph_block_find(address) != NULL;
    fe_graph_unlock();
    return is;
}

bool
fe_graph_mem_free(uint64_t address, CUresult *cr_p)
{
    struct fe_graph_block *block;

    if (GP_LIKELY(atomic_load(&block_count) == 0))
        return false;
    fe_graph_lock();
    block = fe_graph_block_find(address);
    if (block != NULL) {
        *cr_p = block->allocated ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
        fe_graph_block_used(block, false);
    }
    fe_graph_unlock();
    if (block != NULL)
        fe_graph_mem_flush();
    return block != NULL;
}

/* -- what programs ask ------------------------------------------------------------------ */

GP_EXPORT CUresult
cuDeviceGetGraphMemAttribute(CUdevice dev, CUgraphMem_attribute attribute, void *value)
{
    CUresult cr = fe_device_get(dev, NULL, NULL);

    if (cr != CUDA_SUCCESS)
        return cr;
    if (value == NULL || (unsigned)attribute > CU_GRAPH_MEM_ATTR_RESERVED_MEM_HIGH)
        return CUDA_ERROR_INVALID_VALUE;
    fe_graph_lock();
    *(cuuint64_t *)value = attribute == CU_GRAPH_MEM_ATTR_USED_MEM_CURRENT ? devices[dev].used
                           : attribute == CU_GRAPH_MEM_ATTR_USED_MEM_HIGH  ? devices[dev].used_high
                           : attribute == CU_GRAPH_MEM_ATTR_RESERVED_MEM_CURRENT
                               ? devices[dev].reserved
                               : devices[dev].reserved_high;
    fe_graph_unlock();
    return CUDA_SUCCESS;
}

/* High-water marks can be put back to 0 and nothing else. */
GP_EXPORT CUresult
cuDeviceSetGraphMemAttribute(CUdevice dev, CUgraphMem_attribute attribute, void *value)
{
    CUresult cr = fe_device_get(dev, NULL, NULL);

    if (cr != CUDA_SUCCESS)
        return cr;
    if (value == NULL || *(cuuint64_t *)value != 0 ||
        (attribute != CU_GRAPH_MEM_ATTR_USED_MEM_HIGH &&
         attribute != CU_GRAPH_MEM_ATTR_RESERVED_MEM_HIGH))
        return CUDA_ERROR_INVALID_VALUE;
    fe_graph_lock();
    if (attribute == CU_GRAPH_MEM_ATTR_USED_MEM_HIGH)
        devices[dev].used_high = devices[dev].used;
    else
        devices[dev].reserved_high = devices[dev].reserved;
    fe_graph_unlock();
    return CUDA_SUCCESS;
}

/* What is not used any more goes back at once anyway. */
GP_EXPORT CUresult
cuDeviceGraphMemTrim(CUdevice dev)
{
    return fe_device_get(dev, NULL, NULL);
}
