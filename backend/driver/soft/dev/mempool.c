/* backend/driver/soft/dev/mempool.c -- memory pools */
#include "backend/driver/soft/dev/mempool.h"

#include "backend/driver/soft/dev/capture.h"
#include "backend/driver/soft/dev/ctx.h"
#include "backend/driver/soft/dev/graph.h"
#include "backend/driver/soft/dev/sched.h"
#include "cuda_api.h"

#include <string.h>
#include <sys/random.h>

struct block {
    struct block *next;
    uint64_t place;
    uint64_t bytes;
};

struct CUmemPoolHandle_st {
    struct sd_object obj;

    /* Written once. */
    struct sd_device *dev;
    bool is_default;
    unsigned usage; /* CU_MEM_POOL_CREATE_USAGE_* */
    uint64_t max_bytes; /* 0: the device's memory */
    enum sd_pool_share share;
    uint64_t number; /* in all processes, if shared */

    /* Guarded by pool_lock. */
    struct block *cached;
    uint64_t threshold;
    uint64_t used;
    uint64_t used_high;
    uint64_t reserved;
    uint64_t reserved_high;
    uint64_t readable; /* bit per device */
    uint64_t writable;
    int reuse[3];
    bool gone; /* destroyed by the program: freed with its last allocation */
    struct CUmemPoolHandle_st *next;
};

/* Ranks before the address map. */
static pthread_mutex_t pool_lock = PTHREAD_MUTEX_INITIALIZER;
static struct CUmemPoolHandle_st *pools;

static CUresult
pool_new(struct sd_device *dev, bool is_default, uint64_t max_bytes, CUmemoryPool *pool_p)
{
    CUmemoryPool pool = sd_object_new(SD_POOL, sizeof(*pool));

    if (pool == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    pool->dev = dev;
    pool->is_default = is_default;
    pool->max_bytes = max_bytes;
    pool->readable = pool->writable = 1ull << dev->ordinal;
    for (size_t i = 0; i < GP_ARRAY_LEN(pool->reuse); i++)
        pool->reuse[i] = 1;
    pthread_mutex_lock(&pool_lock);
    pool->next = pools;
    pools = pool;
    pthread_mutex_unlock(&pool_lock);
    *pool_p = pool;
    return CUDA_SUCCESS;
}

unsigned
sd_mempool_usage(const void *pool)
{
    return ((const struct CUmemPoolHandle_st *)pool)->usage;
}

CUresult
sd_mempool_create_defaults(void)
{
    for (int i = 0; i < sd_device_count(); i++) {
        struct sd_device *dev = sd_device_get(i);
        CUresult cr = pool_new(dev, true, 0, &dev->default_pool);

        if (cr != CUDA_SUCCESS)
            return cr;
        atomic_store(&dev->current_pool, dev->default_pool);
    }
    return CUDA_SUCCESS;
}

/* pool_lock is held. */
static bool
pool_trim(CUmemoryPool pool, uint64_t keep)
{
    bool any = false;

    while (pool->cached != NULL && pool->reserved > keep) {
        struct block *block = pool->cached;

        pool->cached = block->next;
        pool->reserved -= block->bytes;
        sd_arena_give(pool->dev, block->place, block->bytes);
        free(block);
        any = true;
    }
    return any;
}

/* pool_lock is held. */
static void
pool_free_if_gone(CUmemoryPool pool)
{
    CUmemoryPool *link = &pools;

    if (!pool->gone || pool->used != 0)
        return;
    pool_trim(pool, 0);
    while (*link != NULL && *link != pool)
        link = &(*link)->next;
    if (*link != NULL)
        *link = pool->next;
    sd_object_free(pool);
}

bool
sd_mempool_trim_all(struct sd_device *dev)
{
    bool any = false;

    pthread_mutex_lock(&pool_lock);
    for (CUmemoryPool pool = pools; pool != NULL; pool = pool->next)
        if (pool->dev == dev && pool_trim(pool, 0))
            any = true;
    pthread_mutex_unlock(&pool_lock);
    return any;
}

/* A cached block that fits without much waste, or a new one; pool_lock is held. */
static CUresult
pool_take(CUmemoryPool pool, uint64_t want, uint64_t *place_p, uint64_t *bytes_p)
{
    struct block **best = NULL;
    CUresult cr;

    for (struct block **link = &pool->cached; *link != NULL; link = &(*link)->next)
        if ((*link)->bytes >= want && (*link)->bytes / 2 <= want &&
            (best == NULL || (*link)->bytes < (*best)->bytes))
            best = link;
    if (best != NULL) {
        struct block *block = *best;

        *best = block->next;
        *place_p = block->place;
        *bytes_p = block->bytes;
        free(block);
        return CUDA_SUCCESS;
    }
    if (pool->max_bytes != 0 && pool->reserved + want > pool->max_bytes) {
        pool_trim(pool, 0);
        if (pool->reserved + want > pool->max_bytes)
            return CUDA_ERROR_OUT_OF_MEMORY;
    }
    cr = sd_arena_take(pool->dev, want, want >= 65536 ? 65536 : SD_MEM_ALIGN, place_p);
    if (cr == CUDA_ERROR_OUT_OF_MEMORY && pool_trim(pool, 0))
        cr = sd_arena_take(pool->dev, want, SD_MEM_ALIGN, place_p);
    if (cr != CUDA_SUCCESS)
        return cr;
    *bytes_p = want;
    pool->reserved += want;
    pool->reserved_high = gp_max_u64(pool->reserved_high, pool->reserved);
    return CUDA_SUCCESS;
}

CUresult
sd_mempool_alloc(CUmemoryPool pool, CUcontext ctx, uint64_t bytes, uint64_t *addr_p)
{
    uint64_t rounded = gp_align_up_u64(bytes, SD_MEM_ALIGN), place;
    struct sd_alloc alloc = {.bytes = bytes, .kind = SD_MEM_POOL, .ctx = ctx, .owner = pool};
    CUresult cr;

    if (rounded < bytes)
        return CUDA_ERROR_OUT_OF_MEMORY;
    pthread_mutex_lock(&pool_lock);
    cr = pool_take(pool, rounded, &place, &alloc.offset);
    if (cr == CUDA_SUCCESS) {
        alloc.base = sd_arena_base(pool->dev) + place;
        alloc.end = alloc.base + (pool->dev->profile.strict ? bytes : rounded);
        alloc.device = pool->dev->ordinal;
        alloc.readable = pool->readable;
        alloc.writable = pool->writable;
        cr = sd_map_add(&alloc);
        if (cr == CUDA_SUCCESS) {
            pool->used += alloc.offset;
            pool->used_high = gp_max_u64(pool->used_high, pool->used);
            *addr_p = alloc.base;
        } else {
            pool->reserved -= alloc.offset;
            sd_arena_give(pool->dev, place, alloc.offset);
        }
    }
    pthread_mutex_unlock(&pool_lock);
    return cr;
}

void
sd_mempool_give(const struct sd_alloc *alloc)
{
    CUmemoryPool pool = alloc->owner;
    struct block *block = malloc(sizeof(*block));
    uint64_t place = alloc->base - sd_arena_base(pool->dev);

    pthread_mutex_lock(&pool_lock);
    pool->used -= alloc->offset;
    if (block != NULL && pool->reserved <= pool->threshold) {
        *block = (struct block){pool->cached, place, alloc->offset};
        pool->cached = block;
        block = NULL;
    } else {
        pool->reserved -= alloc->offset;
        sd_arena_give(pool->dev, place, alloc->offset);
    }
    pool_free_if_gone(pool);
    pthread_mutex_unlock(&pool_lock);
    free(block);
}

CUresult
sd_mempool_free_now(uint64_t addr)
{
    struct sd_alloc alloc;

    if (!sd_map_take(addr, 1u << SD_MEM_POOL, &alloc))
        return CUDA_ERROR_INVALID_VALUE;
    sd_mem_release(&alloc);
    return CUDA_SUCCESS;
}

CUresult
sd_mempool_free_queued(uint64_t addr, bool unref)
{
    struct sd_alloc alloc;

    if (!sd_map_find(addr, &alloc) || alloc.kind != SD_MEM_GRAPH)
        return sd_mempool_free_now(addr);
    sd_graph_mem_unmap(alloc.owner);
    if (unref)
        sd_graph_mem_unref(alloc.owner);
    return CUDA_SUCCESS;
}

/* --- entry points --- */

static CUresult
pool_get(CUmemoryPool pool)
{
    SD_ENTER_READY();
    return sd_object_is(pool, SD_POOL) && !pool->gone ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

bool
sd_mempool_number(CUmemoryPool pool, enum sd_pool_share share, uint64_t *number_p, int *device_p)
{
    if (pool_get(pool) != CUDA_SUCCESS || pool->share != share)
        return false;
    *number_p = pool->number;
    *device_p = pool->dev->ordinal;
    return true;
}

CUresult
sd_mempool_import(struct sd_device *dev, uint64_t number, CUmemoryPool *pool_p)
{
    CUresult cr = pool_new(dev, false, 0, pool_p);

    if (cr != CUDA_SUCCESS)
        return cr;
    (*pool_p)->share = SD_POOL_IMPORTED;
    (*pool_p)->number = number;
    return CUDA_SUCCESS;
}

GP_EXPORT CUresult
cuMemPoolCreate(CUmemoryPool *pool, const CUmemPoolProps *poolProps)
{
    struct sd_device *dev;
    CUresult cr;

    SD_ENTER_READY();
    if (pool == NULL || poolProps == NULL || poolProps->allocType != CU_MEM_ALLOCATION_TYPE_PINNED)
        return CUDA_ERROR_INVALID_VALUE;
    if ((poolProps->handleTypes & ~CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR) != 0)
        return sd_refuse("cuMemPoolCreate of a pool that is exported otherwise than by descriptor");
    if (poolProps->location.type != CU_MEM_LOCATION_TYPE_DEVICE)
        return sd_refuse("cuMemPoolCreate of host memory");
    dev = sd_device_get(poolProps->location.id);
    if (dev == NULL)
        return CUDA_ERROR_INVALID_DEVICE;
    cr = pool_new(dev, false, poolProps->maxSize, pool);
    if (cr == CUDA_SUCCESS)
        (*pool)->usage = poolProps->usage;
    if (cr != CUDA_SUCCESS || poolProps->handleTypes == CU_MEM_HANDLE_TYPE_NONE)
        return cr;
    (*pool)->share = SD_POOL_EXPORTS;
    if (getrandom(&(*pool)->number, sizeof((*pool)->number), 0) == (ssize_t)sizeof((*pool)->number))
        return CUDA_SUCCESS;
    (void)cuMemPoolDestroy(*pool);
    return CUDA_ERROR_OPERATING_SYSTEM;
}

GP_EXPORT CUresult
cuMemPoolDestroy(CUmemoryPool pool)
{
    CUresult cr = pool_get(pool);
    CUmemoryPool current = pool;

    if (cr != CUDA_SUCCESS || pool->is_default)
        return CUDA_ERROR_INVALID_VALUE;
    atomic_compare_exchange_strong(&pool->dev->current_pool, &current, pool->dev->default_pool);
    pthread_mutex_lock(&pool_lock);
    pool->gone = true;
    pool_free_if_gone(pool);
    pthread_mutex_unlock(&pool_lock);
    return CUDA_SUCCESS;
}

GP_EXPORT CUresult
cuMemPoolTrimTo(CUmemoryPool pool, size_t minBytesToKeep)
{
    CUresult cr = pool_get(pool);

    if (cr != CUDA_SUCCESS)
        return cr;
    pthread_mutex_lock(&pool_lock);
    pool_trim(pool, minBytesToKeep);
    pthread_mutex_unlock(&pool_lock);
    return CUDA_SUCCESS;
}

GP_EXPORT CUresult
cuMemPoolSetAttribute(CUmemoryPool pool, CUmemPool_attribute attr, void *value)
{
    CUresult cr = pool_get(pool);
    uint64_t wide;
    int narrow;

    if (cr != CUDA_SUCCESS)
        return cr;
    if (value == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    pthread_mutex_lock(&pool_lock);
    switch (attr) {
    case CU_MEMPOOL_ATTR_REUSE_FOLLOW_EVENT_DEPENDENCIES:
    case CU_MEMPOOL_ATTR_REUSE_ALLOW_OPPORTUNISTIC:
    case CU_MEMPOOL_ATTR_REUSE_ALLOW_INTERNAL_DEPENDENCIES:
        memcpy(&narrow, value, sizeof(narrow));
        pool->reuse[attr - CU_MEMPOOL_ATTR_REUSE_FOLLOW_EVENT_DEPENDENCIES] = narrow != 0;
        break;
    case CU_MEMPOOL_ATTR_RELEASE_THRESHOLD:
        memcpy(&pool->threshold, value, sizeof(pool->threshold));
        break;
    case CU_MEMPOOL_ATTR_RESERVED_MEM_HIGH:
    case CU_MEMPOOL_ATTR_USED_MEM_HIGH:
        memcpy(&wide, value, sizeof(wide));
        if (wide != 0)
            cr = CUDA_ERROR_INVALID_VALUE; /* it can only be reset */
        else if (attr == CU_MEMPOOL_ATTR_USED_MEM_HIGH)
            pool->used_high = pool->used;
        else
            pool->reserved_high = pool->reserved;
        break;
    default:
        cr = CUDA_ERROR_INVALID_VALUE;
        break;
    }
    pthread_mutex_unlock(&pool_lock);
    return cr;
}

GP_EXPORT CUresult
cuMemPoolGetAttribute(CUmemoryPool pool, CUmemPool_attribute attr, void *value)
{
    CUresult cr = pool_get(pool);
    uint64_t wide = 0;

    if (cr != CUDA_SUCCESS)
        return cr;
    if (value == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    pthread_mutex_lock(&pool_lock);
    switch (attr) {
    case CU_MEMPOOL_ATTR_REUSE_FOLLOW_EVENT_DEPENDENCIES:
    case CU_MEMPOOL_ATTR_REUSE_ALLOW_OPPORTUNISTIC:
    case CU_MEMPOOL_ATTR_REUSE_ALLOW_INTERNAL_DEPENDENCIES:
        memcpy(value, &pool->reuse[attr - CU_MEMPOOL_ATTR_REUSE_FOLLOW_EVENT_DEPENDENCIES],
               sizeof(int));
        pthread_mutex_unlock(&pool_lock);
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
        cr = CUDA_ERROR_INVALID_VALUE;
        break;
    }
    pthread_mutex_unlock(&pool_lock);
    if (cr == CUDA_SUCCESS)
        memcpy(value, &wide, sizeof(wide));
    return cr;
}

struct pool_access {
    CUmemoryPool pool;
    uint64_t readable;
    uint64_t writable;
};

static void
change_pool_access(struct sd_alloc *alloc, void *user)
{
    const struct pool_access *a = user;

    if (alloc->kind == SD_MEM_POOL && alloc->owner == a->pool) {
        alloc->readable = a->readable;
        alloc->writable = a->writable;
    }
}

GP_EXPORT CUresult
cuMemPoolSetAccess(CUmemoryPool pool, const CUmemAccessDesc *map, size_t count)
{
    CUresult cr = pool_get(pool);
    struct pool_access a = {.pool = pool};

    if (cr != CUDA_SUCCESS)
        return cr;
    if (map == NULL && count != 0)
        return CUDA_ERROR_INVALID_VALUE;
    pthread_mutex_lock(&pool_lock);
    a.readable = pool->readable;
    a.writable = pool->writable;
    for (size_t i = 0; i < count && cr == CUDA_SUCCESS; i++) {
        uint64_t bit;

        if (map[i].location.type != CU_MEM_LOCATION_TYPE_DEVICE ||
            sd_device_get(map[i].location.id) == NULL) {
            cr = CUDA_ERROR_INVALID_DEVICE;
            break;
        }
        if (map[i].flags != CU_MEM_ACCESS_FLAGS_PROT_NONE &&
            map[i].flags != CU_MEM_ACCESS_FLAGS_PROT_READ &&
            map[i].flags != CU_MEM_ACCESS_FLAGS_PROT_READWRITE) {
            cr = CUDA_ERROR_INVALID_VALUE;
            break;
        }
        bit = 1ull << map[i].location.id;
        a.readable &= ~bit;
        a.writable &= ~bit;
        if (map[i].flags != CU_MEM_ACCESS_FLAGS_PROT_NONE)
            a.readable |= bit;
        else if (map[i].location.id == pool->dev->ordinal)
            cr = CUDA_ERROR_INVALID_VALUE;
        if (map[i].flags == CU_MEM_ACCESS_FLAGS_PROT_READWRITE)
            a.writable |= bit;
    }
    if (cr == CUDA_SUCCESS) {
        pool->readable = a.readable;
        pool->writable = a.writable;
        sd_map_change(0, UINT64_MAX, change_pool_access, &a);
    }
    pthread_mutex_unlock(&pool_lock);
    return cr;
}

GP_EXPORT CUresult
cuMemPoolGetAccess(CUmemAccess_flags *flags, CUmemoryPool memPool, CUmemLocation *location)
{
    CUresult cr = pool_get(memPool);
    uint64_t bit;

    if (cr != CUDA_SUCCESS)
        return cr;
    if (flags == NULL || location == NULL || location->type != CU_MEM_LOCATION_TYPE_DEVICE ||
        sd_device_get(location->id) == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    bit = 1ull << location->id;
    pthread_mutex_lock(&pool_lock);
    *flags = (memPool->writable & bit) != 0   ? CU_MEM_ACCESS_FLAGS_PROT_READWRITE
             : (memPool->readable & bit) != 0 ? CU_MEM_ACCESS_FLAGS_PROT_READ
                                              : CU_MEM_ACCESS_FLAGS_PROT_NONE;
    pthread_mutex_unlock(&pool_lock);
    return CUDA_SUCCESS;
}

static CUresult
device_pool(CUdevice dev, struct sd_device **device_p)
{
    SD_ENTER_READY();
    *device_p = sd_device_get(dev);
    return *device_p != NULL ? CUDA_SUCCESS : CUDA_ERROR_INVALID_DEVICE;
}

GP_EXPORT CUresult
cuDeviceGetDefaultMemPool(CUmemoryPool *pool_out, CUdevice dev)
{
    struct sd_device *device;
    CUresult cr = device_pool(dev, &device);

    if (cr != CUDA_SUCCESS)
        return cr;
    if (pool_out == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    *pool_out = device->default_pool;
    return CUDA_SUCCESS;
}

GP_EXPORT CUresult
cuDeviceGetMemPool(CUmemoryPool *pool, CUdevice dev)
{
    struct sd_device *device;
    CUresult cr = device_pool(dev, &device);

    if (cr != CUDA_SUCCESS)
        return cr;
    if (pool == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    *pool = atomic_load(&device->current_pool);
    return CUDA_SUCCESS;
}

GP_EXPORT CUresult
cuDeviceSetMemPool(CUdevice dev, CUmemoryPool pool)
{
    struct sd_device *device;
    CUresult cr = device_pool(dev, &device);

    if (cr == CUDA_SUCCESS)
        cr = pool_get(pool);
    if (cr != CUDA_SUCCESS)
        return cr;
    if (pool->dev != device || pool->share == SD_POOL_IMPORTED)
        return CUDA_ERROR_INVALID_VALUE;
    atomic_store(&device->current_pool, pool);
    return CUDA_SUCCESS;
}

static CUresult
location_device(const CUmemLocation *location, CUmemAllocationType type)
{
    if (location == NULL || type != CU_MEM_ALLOCATION_TYPE_PINNED)
        return CUDA_ERROR_INVALID_VALUE;
    return location->type == CU_MEM_LOCATION_TYPE_DEVICE ? CUDA_SUCCESS : CUDA_ERROR_NOT_SUPPORTED;
}

GP_EXPORT CUresult
cuMemGetDefaultMemPool(CUmemoryPool *pool_out, CUmemLocation *location, CUmemAllocationType type)
{
    CUresult cr = location_device(location, type);

    return cr != CUDA_SUCCESS ? cr : cuDeviceGetDefaultMemPool(pool_out, location->id);
}

GP_EXPORT CUresult
cuMemGetMemPool(CUmemoryPool *pool, CUmemLocation *location, CUmemAllocationType type)
{
    CUresult cr = location_device(location, type);

    return cr != CUDA_SUCCESS ? cr : cuDeviceGetMemPool(pool, location->id);
}

GP_EXPORT CUresult
cuMemSetMemPool(CUmemLocation *location, CUmemAllocationType type, CUmemoryPool pool)
{
    CUresult cr = location_device(location, type);

    return cr != CUDA_SUCCESS ? cr : cuDeviceSetMemPool(location->id, pool);
}

static CUresult
alloc_async(CUdeviceptr *dptr, size_t bytesize, CUmemoryPool pool, CUstream hStream)
{
    CUstream stream;
    uint64_t addr;
    CUresult cr = sd_stream_get(hStream, &stream);

    if (cr != CUDA_SUCCESS)
        return cr;
    if (dptr == NULL || bytesize == 0)
        return CUDA_ERROR_INVALID_VALUE;
    if (atomic_load(&stream->capture) != NULL)
        return sd_capture_alloc(stream, pool, bytesize, dptr);
    if (pool == NULL)
        pool = atomic_load(&stream->ctx->dev->current_pool);
    cr = sd_mempool_alloc(pool, stream->ctx, bytesize, &addr);
    if (cr == CUDA_ERROR_OUT_OF_MEMORY) {
        /* Frees may be queued. */
        sd_ctx_wait_all(stream->ctx);
        (void)sd_mempool_trim_all(stream->ctx->dev);
        cr = sd_mempool_alloc(pool, stream->ctx, bytesize, &addr);
    }
    if (cr == CUDA_SUCCESS)
        *dptr = addr;
    return cr;
}

GP_EXPORT CUresult
cuMemAllocAsync(CUdeviceptr *dptr, size_t bytesize, CUstream hStream)
{
    return alloc_async(dptr, bytesize, NULL, hStream);
}

GP_EXPORT CUresult
cuMemAllocFromPoolAsync(CUdeviceptr *dptr, size_t bytesize, CUmemoryPool pool, CUstream hStream)
{
    CUresult cr = pool_get(pool);

    if (cr == CUDA_SUCCESS && pool->share == SD_POOL_IMPORTED)
        cr = CUDA_ERROR_INVALID_VALUE;
    return cr != CUDA_SUCCESS ? cr : alloc_async(dptr, bytesize, pool, hStream);
}

GP_EXPORT CUresult
cuMemFreeAsync(CUdeviceptr dptr, CUstream hStream)
{
    const unsigned kinds =
        1u << SD_MEM_POOL | 1u << SD_MEM_DEVICE | 1u << SD_MEM_GRAPH | 1u << SD_MEM_IPC;
    struct sd_alloc alloc;
    struct sd_op *op;
    CUstream stream;
    CUresult cr = sd_stream_get(hStream, &stream);

    if (cr != CUDA_SUCCESS || dptr == 0)
        return cr;
    if (atomic_load(&stream->capture) != NULL)
        return sd_capture_free(stream, dptr);
    if (!sd_map_find(dptr, &alloc) || alloc.base != dptr || (kinds & (1u << alloc.kind)) == 0)
        return CUDA_ERROR_INVALID_VALUE;
    if (alloc.kind == SD_MEM_DEVICE || alloc.kind == SD_MEM_IPC)
        return sd_mem_free(stream->ctx, dptr);
    if (alloc.kind == SD_MEM_GRAPH && !sd_graph_mem_freeing(alloc.owner))
        return CUDA_ERROR_INVALID_VALUE;
    op = sd_op_new(SD_WORK_FREE, stream->ctx);
    if (op == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    op->work.address = dptr;
    if (sd_stream_try_now(stream, op))
        return CUDA_SUCCESS;
    return sd_stream_submit(stream, op, NULL);
}
