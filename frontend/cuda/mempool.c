/* frontend/cuda/mempool.c -- memory pools as the program calls them */
#include "cuda_api.h"
#include "frontend/core/stats.h"
#include "frontend/cuda/capture.h"
#include "frontend/cuda/graph.h"
#include "frontend/cuda/ipc.h"
#include "frontend/cuda/pool.h"
#include "frontend/cuda/vmm.h"

#include "protocol/base/util.h"

#include <string.h>

/* -- pools ------------------------------------------------------------------------------ */

/* The server that has the pool's device; NULL: any, for the call will fail. */
static struct fe_session *
session_of(CUmemoryPool handle)
{
    const struct fe_pool *pool = fe_session_any(NULL) ? fe_pool_of(handle) : NULL;

    return pool != NULL ? fe_device_session(pool->device) : NULL;
}

GP_EXPORT CUresult
cuMemPoolCreate(CUmemoryPool *handle, const CUmemPoolProps *props)
{
    CUresult cr = CUDA_SUCCESS;
    struct fe_pool *pool;
    int device;

    FE_COUNT_LOCAL();
    if (fe_state_get(&cr) == NULL)
        return cr;
    if (handle == NULL || props == NULL || props->allocType != CU_MEM_ALLOCATION_TYPE_PINNED)
        return CUDA_ERROR_INVALID_VALUE;
    if ((props->handleTypes & ~CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR) != 0)
        return fe_refuse("cuMemPoolCreate of a pool that is exported otherwise than by descriptor");
    if (props->location.type != CU_MEM_LOCATION_TYPE_DEVICE)
        return fe_refuse("cuMemPoolCreate of host memory");
    cr = fe_location_device(&props->location, &device);
    if (cr != CUDA_SUCCESS)
        return cr;
    pool = fe_pool_create(device, props->maxSize);
    if (pool == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    pool->usage = props->usage;
    pool->exports = props->handleTypes != CU_MEM_HANDLE_TYPE_NONE;
    if (pool->exports && !fe_pool_share(pool)) {
        fe_object_destroy(pool);
        return CUDA_ERROR_OPERATING_SYSTEM;
    }
    *handle = (CUmemoryPool)pool;
    return CUDA_SUCCESS;
}

GP_EXPORT CUresult
cuMemPoolDestroy(CUmemoryPool handle)
{
    struct fe_pool *pool;
    struct fe_call call;
    CUresult cr = fe_enter_on(&call, WIRE_CALL_cuMemFree_v2, session_of(handle));

    if (cr != CUDA_SUCCESS)
        return cr;
    pool = fe_pool_of(handle);
    if (pool == NULL || pool->is_default)
        return fe_leave(&call, CUDA_ERROR_INVALID_VALUE);
    fe_pool_destroy(&call, pool);
    return fe_leave(&call, CUDA_SUCCESS);
}

GP_EXPORT CUresult
cuMemPoolTrimTo(CUmemoryPool handle, size_t keep_bytes)
{
    struct fe_pool *pool;
    struct fe_call call;
    CUresult cr = fe_enter_on(&call, WIRE_CALL_cuMemFree_v2, session_of(handle));

    if (cr != CUDA_SUCCESS)
        return cr;
    pool = fe_pool_of(handle);
    if (pool == NULL)
        return fe_leave(&call, CUDA_ERROR_INVALID_VALUE);
    fe_pool_trim(&call, pool, keep_bytes);
    return fe_leave(&call, CUDA_SUCCESS);
}

/* -- attributes ------------------------------------------------------------------------- */

static CUresult
attribute_set(struct fe_pool *pool, CUmemPool_attribute attribute, const void *value)
{
    uint64_t wide;
    int narrow;

    switch (attribute) {
    case CU_MEMPOOL_ATTR_REUSE_FOLLOW_EVENT_DEPENDENCIES:
    case CU_MEMPOOL_ATTR_REUSE_ALLOW_OPPORTUNISTIC:
    case CU_MEMPOOL_ATTR_REUSE_ALLOW_INTERNAL_DEPENDENCIES:
        memcpy(&narrow, value, sizeof(narrow));
        pool->reuse[attribute - CU_MEMPOOL_ATTR_REUSE_FOLLOW_EVENT_DEPENDENCIES] = narrow != 0;
        return CUDA_SUCCESS;
    case CU_MEMPOOL_ATTR_RELEASE_THRESHOLD:
        memcpy(&pool->threshold, value, sizeof(pool->threshold));
        return CUDA_SUCCESS;
    case CU_MEMPOOL_ATTR_RESERVED_MEM_HIGH:
    case CU_MEMPOOL_ATTR_USED_MEM_HIGH:
        memcpy(&wide, value, sizeof(wide));
        if (wide != 0) /* it can only be reset */
            return CUDA_ERROR_INVALID_VALUE;
        if (attribute == CU_MEMPOOL_ATTR_USED_MEM_HIGH)
            pool->used_high = pool->used;
        else
            pool->reserved_high = pool->reserved;
        return CUDA_SUCCESS;
    default:
        return CUDA_ERROR_INVALID_VALUE;
    }
}

GP_EXPORT CUresult
cuMemPoolSetAttribute(CUmemoryPool handle, CUmemPool_attribute attribute, void *value)
{
    CUresult cr = CUDA_SUCCESS;
    struct fe_pool *pool;

    FE_COUNT_LOCAL();
    if (fe_state_get(&cr) == NULL)
        return cr;
    pool = fe_pool_of(handle);
    if (pool == NULL || value == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    fe_pools_lock();
    cr = attribute_set(pool, attribute, value);
    fe_pools_unlock();
    return cr;
}

static CUresult
attribute_get(const struct fe_pool *pool, CUmemPool_attribute attribute, void *value)
{
    uint64_t wide;

    switch (attribute) {
    case CU_MEMPOOL_ATTR_REUSE_FOLLOW_EVENT_DEPENDENCIES:
    case CU_MEMPOOL_ATTR_REUSE_ALLOW_OPPORTUNISTIC:
    case CU_MEMPOOL_ATTR_REUSE_ALLOW_INTERNAL_DEPENDENCIES:
        memcpy(value, &pool->reuse[attribute - CU_MEMPOOL_ATTR_REUSE_FOLLOW_EVENT_DEPENDENCIES],
               sizeof(int));
        return CUDA_SUCCESS;
    case CU_MEMPOOL_ATTR_RELEASE_THRESHOLD:
        wide = pool->threshold;
        break;
    case CU_MEMPOOL_ATTR_RESERVED_MEM_CURRENT:
        wide = pool->reserved;
        break;
    case CU_MEMPOOL_ATTR_RESERVED_MEM_HIGH:
        wide = pool->reserved_high;
        break;
    case CU_MEMPOOL_ATTR_USED_MEM_CURRENT:
        wide = pool->used;
        break;
    case CU_MEMPOOL_ATTR_USED_MEM_HIGH:
        wide = pool->used_high;
        break;
    default:
        return CUDA_ERROR_INVALID_VALUE;
    }
    memcpy(value, &wide, sizeof(wide));
    return CUDA_SUCCESS;
}

GP_EXPORT CUresult
cuMemPoolGetAttribute(CUmemoryPool handle, CUmemPool_attribute attribute, void *value)
{
    struct fe_pool *pool;
    struct fe_call call;
    CUresult cr = fe_enter_on(&call, WIRE_CALL_cuMemFree_v2, session_of(handle));

    if (cr != CUDA_SUCCESS)
        return cr;
    FE_COUNT_LOCAL();
    pool = fe_pool_of(handle);
    if (pool == NULL || value == NULL)
        return fe_leave(&call, CUDA_ERROR_INVALID_VALUE);
    fe_pools_settle(&call);
    fe_pools_lock();
    cr = attribute_get(pool, attribute, value);
    fe_pools_unlock();
    return fe_leave(&call, cr);
}

/* -- the pools of a device -------------------------------------------------------------- */

GP_EXPORT CUresult
cuDeviceGetDefaultMemPool(CUmemoryPool *handle, CUdevice dev)
{
    CUresult cr = fe_device_get(dev, NULL, NULL);

    if (cr == CUDA_SUCCESS && handle == NULL)
        cr = CUDA_ERROR_INVALID_VALUE;
    if (cr == CUDA_SUCCESS)
        *handle = (CUmemoryPool)fe_pool_default(dev);
    return cr;
}

GP_EXPORT CUresult
cuDeviceGetMemPool(CUmemoryPool *handle, CUdevice dev)
{
    CUresult cr = fe_device_get(dev, NULL, NULL);

    if (cr == CUDA_SUCCESS && handle == NULL)
        cr = CUDA_ERROR_INVALID_VALUE;
    if (cr == CUDA_SUCCESS)
        *handle = (CUmemoryPool)fe_pool_current(dev);
    return cr;
}

GP_EXPORT CUresult
cuDeviceSetMemPool(CUdevice dev, CUmemoryPool handle)
{
    CUresult cr = fe_device_get(dev, NULL, NULL);
    struct fe_pool *pool;

    if (cr != CUDA_SUCCESS)
        return cr;
    pool = fe_pool_of(handle);
    if (pool == NULL || pool->device != dev || pool->imported)
        return CUDA_ERROR_INVALID_VALUE;
    fe_pool_set_current(pool);
    return CUDA_SUCCESS;
}

static CUresult
location_check(const CUmemLocation *location, CUmemAllocationType type)
{
    if (location == NULL || type != CU_MEM_ALLOCATION_TYPE_PINNED)
        return CUDA_ERROR_INVALID_VALUE;
    return location->type == CU_MEM_LOCATION_TYPE_DEVICE ? CUDA_SUCCESS : CUDA_ERROR_NOT_SUPPORTED;
}

GP_EXPORT CUresult
cuMemGetDefaultMemPool(CUmemoryPool *handle, CUmemLocation *location, CUmemAllocationType type)
{
    CUresult cr = location_check(location, type);

    return cr != CUDA_SUCCESS ? cr : cuDeviceGetDefaultMemPool(handle, location->id);
}

GP_EXPORT CUresult
cuMemGetMemPool(CUmemoryPool *handle, CUmemLocation *location, CUmemAllocationType type)
{
    CUresult cr = location_check(location, type);

    return cr != CUDA_SUCCESS ? cr : cuDeviceGetMemPool(handle, location->id);
}

GP_EXPORT CUresult
cuMemSetMemPool(CUmemLocation *location, CUmemAllocationType type, CUmemoryPool handle)
{
    CUresult cr = location_check(location, type);

    return cr != CUDA_SUCCESS ? cr : cuDeviceSetMemPool(location->id, handle);
}

/* -- access ----------------------------------------------------------------------------- */

GP_EXPORT CUresult
cuMemPoolSetAccess(CUmemoryPool handle, const CUmemAccessDesc *map, size_t count)
{
    struct fe_access access = {0};
    struct fe_pool *pool;
    struct fe_call call;
    CUresult cr = fe_enter_on(&call, WIRE_CALL_gpMemAccess, session_of(handle));

    if (cr != CUDA_SUCCESS)
        return cr;
    pool = fe_pool_of(handle);
    if (pool == NULL || (map == NULL && count != 0))
        return fe_leave(&call, CUDA_ERROR_INVALID_VALUE);
    for (size_t i = 0; i < count; i++) {
        int device;

        if (fe_location_device(&map[i].location, &device) != CUDA_SUCCESS ||
            fe_device_session(device) != call.session)
            return fe_leave(&call, CUDA_ERROR_INVALID_DEVICE);
        if (map[i].flags != CU_MEM_ACCESS_FLAGS_PROT_NONE &&
            map[i].flags != CU_MEM_ACCESS_FLAGS_PROT_READ &&
            map[i].flags != CU_MEM_ACCESS_FLAGS_PROT_READWRITE)
            return fe_leave(&call, CUDA_ERROR_INVALID_VALUE);
        if (device == pool->device && map[i].flags == CU_MEM_ACCESS_FLAGS_PROT_NONE)
            return fe_leave(&call, CUDA_ERROR_INVALID_VALUE);
        fe_access_name(&access, device, map[i].flags);
    }
    return fe_leave(&call, fe_pool_set_access(&call, pool, &access));
}

GP_EXPORT CUresult
cuMemPoolGetAccess(CUmemAccess_flags *flags, CUmemoryPool handle, CUmemLocation *location)
{
    CUresult cr = CUDA_SUCCESS;
    struct fe_pool *pool;
    int device;

    FE_COUNT_LOCAL();
    if (fe_state_get(&cr) == NULL)
        return cr;
    pool = fe_pool_of(handle);
    if (pool == NULL || flags == NULL || location == NULL ||
        fe_location_device(location, &device) != CUDA_SUCCESS)
        return CUDA_ERROR_INVALID_VALUE;
    fe_pools_lock();
    *flags = fe_access_flags(pool->readable, pool->writable, device);
    fe_pools_unlock();
    return CUDA_SUCCESS;
}

/* -- allocation in stream order --------------------------------------------------------- */

static CUresult
alloc_async(CUdeviceptr *address, size_t bytes, struct fe_pool *pool, CUstream handle)
{
    struct fe_stream *stream = NULL;
    struct fe_call call;
    uint64_t wire, base;
    CUresult cr = fe_enter(&call, WIRE_CALL_cuMemAlloc_v2);

    if (cr != CUDA_SUCCESS)
        return cr;
    cr = fe_stream_resolve_capture(&call, handle, &stream, &wire);
    if (cr == CUDA_SUCCESS && (address == NULL || bytes == 0))
        cr = CUDA_ERROR_INVALID_VALUE;
    if (cr == CUDA_SUCCESS)
        cr = fe_capturing(stream) ? fe_capture_alloc(&call, stream, bytes, &base)
                                  : fe_pool_alloc(&call, pool, bytes, stream, wire, &base);
    if (cr == CUDA_SUCCESS)
        *address = base;
    return fe_leave(&call, cr);
}

GP_EXPORT CUresult
cuMemAllocAsync(CUdeviceptr *address, size_t bytes, CUstream stream)
{
    return alloc_async(address, bytes, NULL, stream);
}

GP_EXPORT CUresult
cuMemAllocFromPoolAsync(CUdeviceptr *address, size_t bytes, CUmemoryPool handle, CUstream stream)
{
    CUresult cr = CUDA_SUCCESS;
    struct fe_pool *pool;

    if (fe_state_get(&cr) == NULL)
        return cr;
    pool = fe_pool_of(handle);
    return pool == NULL || pool->imported ? CUDA_ERROR_INVALID_VALUE
                                          : alloc_async(address, bytes, pool, stream);
}

/* Memory of another server than the stream's: no work there is ordered by it, so the stream is
 * waited for. */
static CUresult
free_elsewhere(struct fe_call *call, uint64_t address, CUstream handle)
{
    CUresult cr = fe_leave(call, CUDA_SUCCESS);

    if (cr == CUDA_SUCCESS)
        cr = cuStreamSynchronize(handle);
    return cr == CUDA_SUCCESS ? cuMemFree_v2(address) : cr;
}

GP_EXPORT CUresult
cuMemFreeAsync(CUdeviceptr address, CUstream handle)
{
    struct fe_stream *stream = NULL;
    struct fe_managed managed;
    struct fe_call call;
    uint64_t wire;
    CUresult cr = fe_enter(&call, WIRE_CALL_cuMemFree_v2);

    if (cr != CUDA_SUCCESS)
        return cr;
    cr = fe_stream_resolve_capture(&call, handle, &stream, &wire);
    if (cr != CUDA_SUCCESS || address == 0)
        return fe_leave(&call, cr);
    if (fe_capturing(stream))
        return fe_leave(&call, fe_capture_free(stream, address));
    if (fe_graph_mem_free(address, &cr))
        return fe_leave(&call, cr);
    if (GP_UNLIKELY(fe_sessions()->count > 1) &&
        fe_address_session(call.session, address) != call.session)
        return free_elsewhere(&call, address, handle);
    switch (fe_memory_kind(&call, address, &managed)) {
    case FE_MEMORY_PLAIN: /* behind all work, as cuMemFree does */
        return fe_leave(&call, fe_memory_free(&call, address));
    case FE_MEMORY_POOL:
        return fe_leave(&call, fe_pool_free(&call, address, stream, wire));
    default: /* or of a pool of another program */
        return fe_leave(&call, fe_ipc_free(&call, address));
    }
}
