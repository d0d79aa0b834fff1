/* frontend/cuda/pointer.c -- what a pointer is, from the client's own maps */
#include "cuda_api.h"
#include "frontend/core/stats.h"
#include "frontend/cuda/displaced.h"
#include "frontend/cuda/host.h"
#include "frontend/cuda/managed.h"
#include "frontend/cuda/state.h"
#include "frontend/cuda/unpack.h"
#include "frontend/cuda/vmm.h"
#include "protocol/base/util.h"

#include <string.h>

/* One of the program's pointers, as far as it is known. */
struct what {
    CUmemorytype type; /* 0: nothing that CUDA knows */
    uint64_t base, bytes, id;
    struct fe_context *owner;
    int device;
    bool sync_memops;
    unsigned access;       /* CU_POINTER_ATTRIBUTE_ACCESS_FLAG_* */
    uint64_t handle_types; /* it may be exported as */
    void *pool;            /* that it is of */
    bool plain;            /* cuMemAlloc made it: others may open it */
    bool managed;
    bool unpacks; /* fe_unpack_capable() */
};

/* What is more to say of a mapping by the program itself. */
static void
describe_mapping(const struct fe_block *block, struct what *w)
{
    const struct fe_phys *phys = block->object;

    w->handle_types = phys->prop.requestedHandleTypes;
    w->access = block->writable != 0   ? CU_POINTER_ATTRIBUTE_ACCESS_FLAG_READWRITE
                : block->readable != 0 ? CU_POINTER_ATTRIBUTE_ACCESS_FLAG_READ
                                       : CU_POINTER_ATTRIBUTE_ACCESS_FLAG_NONE;
}

static void
look_up(struct fe_state *state, CUdeviceptr address, struct what *w)
{
    struct fe_alloc *alloc = fe_alloc_around(NULL, address);
    struct fe_host_region region;
    struct fe_managed managed;
    struct fe_block block;

    memset(w, 0, sizeof(*w));
    if (fe_managed_find(address, &managed)) {
        *w = (struct what){.type = CU_MEMORYTYPE_DEVICE,
                           .managed = true,
                           .base = managed.base,
                           .bytes = managed.bytes,
                           .id = managed.id,
                           .device = managed.device,
                           .access = CU_POINTER_ATTRIBUTE_ACCESS_FLAG_READWRITE,
                           .owner = managed.owner != NULL ? managed.owner
                                                          : state->primary[managed.device],
                           .sync_memops = managed.sync_memops};
    } else if (fe_managed_block(address)) {
        return;
    } else if (fe_alloc_find(alloc, address, &block)) {
        *w = (struct what){.type = CU_MEMORYTYPE_DEVICE,
                           .base = block.base,
                           .bytes = block.bytes,
                           .id = block.id,
                           .device = block.device,
                           .owner = (struct fe_context *)(uintptr_t)block.owner,
                           .access = CU_POINTER_ATTRIBUTE_ACCESS_FLAG_READWRITE,
                           .sync_memops = block.sync_memops};
        if (block.kind == FE_BLOCK_MAPPED)
            describe_mapping(&block, w);
        else if (block.kind == FE_BLOCK_POOL)
            w->pool = block.object;
        w->unpacks = fe_unpack_capable(state, &block);
        w->plain = block.kind == FE_BLOCK_PLAIN && fe_alloc_in_range(alloc, block.base);
    } else if (fe_host_find(address, &region)) {
        *w = (struct what){.type = CU_MEMORYTYPE_HOST,
                           .base = region.base,
                           .bytes = region.bytes,
                           .id = region.id,
                           .access = CU_POINTER_ATTRIBUTE_ACCESS_FLAG_READWRITE,
                           .owner = region.owner,
                           .sync_memops = region.sync_memops,
                           .device = region.owner->device};
    }
}

/* Bytes of an attribute's value; 0 for an attribute that does not exist. */
static size_t
value_bytes(CUpointer_attribute attribute)
{
    switch (attribute) {
    case CU_POINTER_ATTRIBUTE_MEMORY_TYPE:
    case CU_POINTER_ATTRIBUTE_SYNC_MEMOPS:
    case CU_POINTER_ATTRIBUTE_IS_MANAGED:
    case CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL:
    case CU_POINTER_ATTRIBUTE_IS_LEGACY_CUDA_IPC_CAPABLE:
    case CU_POINTER_ATTRIBUTE_MAPPED:
    case CU_POINTER_ATTRIBUTE_IS_GPU_DIRECT_RDMA_CAPABLE:
    case CU_POINTER_ATTRIBUTE_ACCESS_FLAGS:
    case CU_POINTER_ATTRIBUTE_IS_HW_DECOMPRESS_CAPABLE:
        return 4;
    case CU_POINTER_ATTRIBUTE_CONTEXT:
    case CU_POINTER_ATTRIBUTE_DEVICE_POINTER:
    case CU_POINTER_ATTRIBUTE_HOST_POINTER:
    case CU_POINTER_ATTRIBUTE_BUFFER_ID:
    case CU_POINTER_ATTRIBUTE_RANGE_START_ADDR:
    case CU_POINTER_ATTRIBUTE_RANGE_SIZE:
    case CU_POINTER_ATTRIBUTE_ALLOWED_HANDLE_TYPES:
    case CU_POINTER_ATTRIBUTE_MEMPOOL_HANDLE:
    case CU_POINTER_ATTRIBUTE_MAPPING_SIZE:
    case CU_POINTER_ATTRIBUTE_MAPPING_BASE_ADDR:
    case CU_POINTER_ATTRIBUTE_MEMORY_BLOCK_ID:
        return 8;
    default:
        return 0;
    }
}

/* False where this pointer has no such attribute. */
static bool
value_of(const struct what *w, CUpointer_attribute attribute, CUdeviceptr address, uint64_t *value)
{
    bool device = w->type == CU_MEMORYTYPE_DEVICE;

    *value = 0;
    if (w->type == 0)
        return false;
    switch (attribute) {
    case CU_POINTER_ATTRIBUTE_CONTEXT:
        *value = (uint64_t)(uintptr_t)w->owner;
        return true;
    case CU_POINTER_ATTRIBUTE_MEMORY_TYPE:
        *value = w->type;
        return true;
    case CU_POINTER_ATTRIBUTE_DEVICE_POINTER:
        *value = fe_host_device(address);
        return true;
    case CU_POINTER_ATTRIBUTE_HOST_POINTER:
        *value = address;
        return !device || w->managed;
    case CU_POINTER_ATTRIBUTE_SYNC_MEMOPS:
        *value = w->sync_memops;
        return true;
    case CU_POINTER_ATTRIBUTE_BUFFER_ID:
    case CU_POINTER_ATTRIBUTE_MEMORY_BLOCK_ID:
        *value = w->id;
        return true;
    case CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL:
        *value = (uint64_t)w->device;
        return true;
    case CU_POINTER_ATTRIBUTE_RANGE_START_ADDR:
    case CU_POINTER_ATTRIBUTE_MAPPING_BASE_ADDR:
        *value = w->base;
        return true;
    case CU_POINTER_ATTRIBUTE_RANGE_SIZE:
    case CU_POINTER_ATTRIBUTE_MAPPING_SIZE:
        *value = w->bytes;
        return true;
    case CU_POINTER_ATTRIBUTE_MAPPED:
        *value = 1; /* unified addressing maps all of it */
        return true;
    case CU_POINTER_ATTRIBUTE_IS_MANAGED:
        *value = w->managed;
        return true;
    case CU_POINTER_ATTRIBUTE_ACCESS_FLAGS:
        *value = w->access;
        return true;
    case CU_POINTER_ATTRIBUTE_ALLOWED_HANDLE_TYPES:
        *value = w->handle_types;
        return true;
    case CU_POINTER_ATTRIBUTE_IS_GPU_DIRECT_RDMA_CAPABLE:
        return true;
    case CU_POINTER_ATTRIBUTE_IS_HW_DECOMPRESS_CAPABLE:
        *value = w->unpacks;
        return true;
    case CU_POINTER_ATTRIBUTE_IS_LEGACY_CUDA_IPC_CAPABLE:
        *value = w->plain;
        return true;
    case CU_POINTER_ATTRIBUTE_MEMPOOL_HANDLE:
        *value = (uint64_t)(uintptr_t)w->pool;
        return true;
    default:
        return false;
    }
}

static void
store(void *to, CUpointer_attribute attribute, uint64_t value)
{
    uint32_t half = (uint32_t)value;

    if (value_bytes(attribute) == 4)
        memcpy(to, &half, 4);
    else
        memcpy(to, &value, 8);
}

GP_EXPORT CUresult
cuPointerGetAttribute(void *data, CUpointer_attribute attribute, CUdeviceptr address)
{
    CUresult cr = CUDA_SUCCESS;
    struct fe_state *state = fe_state_get(&cr);
    struct what w;
    uint64_t value;

    FE_COUNT_LOCAL();
    if (state == NULL)
        return cr;
    address = fe_any_named(address);
    look_up(state, address, &w);
    if (attribute == CU_POINTER_ATTRIBUTE_P2P_TOKENS && w.type != 0 && data != NULL)
        return fe_refuse("cuPointerGetAttribute of P2P tokens");
    if (data == NULL || value_bytes(attribute) == 0)
        return CUDA_ERROR_INVALID_VALUE;
    if (!value_of(&w, attribute, address, &value))
        return CUDA_ERROR_INVALID_VALUE;
    store(data, attribute, value);
    return CUDA_SUCCESS;
}

/* Of an unknown pointer the answers are zeros and device -2, not an error. */
GP_EXPORT CUresult
cuPointerGetAttributes(unsigned int count, CUpointer_attribute *attributes, void **data,
                       CUdeviceptr address)
{
    CUresult cr = CUDA_SUCCESS;
    struct fe_state *state = fe_state_get(&cr);
    struct what w;
    uint64_t value;

    FE_COUNT_LOCAL();
    if (state == NULL)
        return cr;
    if (count == 0)
        return CUDA_SUCCESS;
    if (attributes == NULL || data == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    for (unsigned i = 0; i < count; i++)
        if (value_bytes(attributes[i]) == 0)
            return CUDA_ERROR_INVALID_VALUE;
    address = fe_any_named(address);
    look_up(state, address, &w);
    for (unsigned i = 0; i < count; i++) {
        if (!value_of(&w, attributes[i], address, &value))
            value = 0;
        if (w.type == 0 && attributes[i] == CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL)
            value = (uint64_t)(int64_t)CU_DEVICE_INVALID;
        if (data[i] != NULL)
            store(data[i], attributes[i], value);
    }
    return CUDA_SUCCESS;
}

GP_EXPORT CUresult
cuPointerSetAttribute(const void *value, CUpointer_attribute attribute, CUdeviceptr address)
{
    CUresult cr = CUDA_SUCCESS;
    struct fe_state *state = fe_state_get(&cr);
    unsigned on;

    FE_COUNT_LOCAL();
    if (state == NULL)
        return cr;
    if (value == NULL || attribute != CU_POINTER_ATTRIBUTE_SYNC_MEMOPS)
        return CUDA_ERROR_INVALID_VALUE;
    memcpy(&on, value, sizeof(on));
    if (!fe_managed_set_sync_memops(address, on != 0) &&
        !fe_alloc_set_sync_memops(fe_alloc_around(NULL, address), address, on != 0) &&
        !fe_host_set_sync_memops(address, on != 0))
        return CUDA_ERROR_INVALID_VALUE;
    return CUDA_SUCCESS;
}
