/* backend/memory/staging.c -- slabs of pinned memory, cut into blocks */
#include "backend/memory/staging.h"

#include "protocol/base/log.h"
#include "protocol/base/util.h"
#include "transport/kept.h"

#include <pthread.h>
#include <stdlib.h>

#define BE_SIZE_CLASSES 4

static const struct {
    uint32_t block_bytes, slab_bytes;
} be_classes[BE_SIZE_CLASSES] = {
    {4u << 10, 256u << 10},
    {64u << 10, 1u << 20},
    {256u << 10, 1u << 20},
    {BE_STAGING_BLOCK_MAX, 4u << 20},
};

struct be_slab {
    void *memory;
    size_t bytes;
    struct be_block *blocks;
    uint32_t count;
    struct be_slab *next;
};

struct be_queue {
    struct be_block *head, **tail;
};

struct be_staging {
    const struct be_driver *driver;
    size_t soft_bytes, hard_bytes;
    atomic_size_t *all_bytes; /* of all pools together, hard_bytes at most */

    pthread_mutex_t lock; /* rank 40 */
    /* Guarded by lock. */
    size_t bytes;
    struct be_slab *slabs;
    struct be_block *free[BE_SIZE_CLASSES];
    struct be_queue busy[BE_SIZE_CLASSES]; /* by age */
};

CUresult
be_staging_create(const struct be_driver *driver, size_t soft_bytes, size_t hard_bytes,
                  atomic_size_t *all_bytes, struct be_staging **pool_p)
{
    struct be_staging *pool = calloc(1, sizeof(*pool));

    if (pool == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    pool->driver = driver;
    pool->soft_bytes = soft_bytes;
    pool->hard_bytes = hard_bytes;
    pool->all_bytes = all_bytes;
    for (int i = 0; i < BE_SIZE_CLASSES; i++)
        pool->busy[i].tail = &pool->busy[i].head;
    pthread_mutex_init(&pool->lock, NULL);
    *pool_p = pool;
    return CUDA_SUCCESS;
}

/* The lock is held, or nobody else has the pool. */
static void
bytes_count(struct be_staging *pool, size_t bytes, bool more)
{
    if (more) {
        pool->bytes += bytes;
        atomic_fetch_add_explicit(pool->all_bytes, bytes, memory_order_relaxed);
    } else {
        pool->bytes -= bytes;
        atomic_fetch_sub_explicit(pool->all_bytes, bytes, memory_order_relaxed);
    }
}

/* Several threads at once may go over the limit of all pools by a slab each. */
static bool
bytes_fit(const struct be_staging *pool, size_t bytes, bool pressed)
{
    return pool->bytes + bytes <= (pressed ? pool->hard_bytes : pool->soft_bytes) &&
           atomic_load_explicit(pool->all_bytes, memory_order_relaxed) + bytes <= pool->hard_bytes;
}

void
be_staging_destroy(struct be_staging *pool)
{
    if (pool == NULL)
        return;
    while (pool->slabs != NULL) {
        struct be_slab *slab = pool->slabs;

        for (uint32_t i = 0; i < slab->count; i++)
            if (slab->blocks[i].busy != NULL)
                (void)pool->driver->table.cuEventDestroy_v2(slab->blocks[i].busy);
        tp_memory_forget(slab->memory, slab->bytes);
        (void)pool->driver->table.cuMemFreeHost(slab->memory);
        pool->slabs = slab->next;
        free(slab->blocks);
        free(slab);
    }
    bytes_count(pool, pool->bytes, false);
    pthread_mutex_destroy(&pool->lock);
    free(pool);
}

/* Called without the lock: pinning is slow. */
static CUresult
slab_create(struct be_staging *pool, uint32_t size_class)
{
    uint32_t count = be_classes[size_class].slab_bytes / be_classes[size_class].block_bytes;
    struct be_slab *slab = calloc(1, sizeof(*slab));
    struct be_block *blocks = calloc(count, sizeof(*blocks));
    CUresult cr = CUDA_ERROR_OUT_OF_MEMORY;

    if (slab != NULL && blocks != NULL)
        cr = pool->driver->table.cuMemHostAlloc(&slab->memory, be_classes[size_class].slab_bytes,
                                                CU_MEMHOSTALLOC_PORTABLE);
    if (cr != CUDA_SUCCESS) {
        free(blocks);
        free(slab);
        return cr;
    }
    slab->blocks = blocks;
    slab->count = count;
    slab->bytes = be_classes[size_class].slab_bytes;
    tp_memory_keep(slab->memory, slab->bytes, TP_KEPT_OWN);
    pthread_mutex_lock(&pool->lock);
    for (uint32_t i = 0; i < count; i++) {
        blocks[i].data = (uint8_t *)slab->memory + (size_t)i * be_classes[size_class].block_bytes;
        blocks[i].size_class = size_class;
        blocks[i].slab = slab;
        blocks[i].next = pool->free[size_class];
        pool->free[size_class] = &blocks[i];
    }
    slab->next = pool->slabs;
    pool->slabs = slab;
    pthread_mutex_unlock(&pool->lock);
    return CUDA_SUCCESS;
}

/* Blocks whose event has happened become free; they queue by age, so the first one not done ends
 * the look. An event that failed is done too: nothing of that context runs any more. */
static void
reclaim_locked(struct be_staging *pool, uint32_t size_class)
{
    struct be_queue *queue = &pool->busy[size_class];

    while (queue->head != NULL) {
        struct be_block *block = queue->head;

        if (pool->driver->table.cuEventQuery(block->busy) == CUDA_ERROR_NOT_READY)
            break;
        queue->head = block->next;
        if (queue->head == NULL)
            queue->tail = &queue->head;
        block->next = pool->free[size_class];
        pool->free[size_class] = block;
    }
}

CUresult
be_staging_get(struct be_staging *pool, size_t bytes, bool pressed, struct be_block **block_p)
{
    uint32_t size_class = 0;
    struct be_block *block;
    CUresult cr;

    while (be_classes[size_class].block_bytes < bytes)
        size_class++;
    for (;;) {
        bool room;

        pthread_mutex_lock(&pool->lock);
        if (pool->free[size_class] == NULL)
            reclaim_locked(pool, size_class);
        block = pool->free[size_class];
        if (block != NULL)
            pool->free[size_class] = block->next;
        room = bytes_fit(pool, be_classes[size_class].slab_bytes, pressed);
        if (block == NULL && room)
            bytes_count(pool, be_classes[size_class].slab_bytes, true);
        pthread_mutex_unlock(&pool->lock);
        if (block != NULL)
            break;
        if (!room)
            return pressed ? CUDA_ERROR_OUT_OF_MEMORY : CUDA_ERROR_NOT_READY;
        cr = slab_create(pool, size_class);
        if (cr != CUDA_SUCCESS) {
            pthread_mutex_lock(&pool->lock);
            bytes_count(pool, be_classes[size_class].slab_bytes, false);
            pthread_mutex_unlock(&pool->lock);
            return cr;
        }
    }
    block->next = NULL;
    *block_p = block;
    return CUDA_SUCCESS;
}

void
be_staging_put(struct be_staging *pool, struct be_block *block)
{
    pthread_mutex_lock(&pool->lock);
    block->next = pool->free[block->size_class];
    pool->free[block->size_class] = block;
    pthread_mutex_unlock(&pool->lock);
}

void
be_staging_put_after(struct be_staging *pool, struct be_block *block, CUstream stream)
{
    const struct be_driver_table *t = &pool->driver->table;
    struct be_queue *queue = &pool->busy[block->size_class];
    CUresult cr = CUDA_SUCCESS;

    if (block->busy == NULL)
        cr = t->cuEventCreate(&block->busy, CU_EVENT_DISABLE_TIMING);
    if (cr == CUDA_SUCCESS)
        cr = t->cuEventRecord(block->busy, stream);
    if (cr != CUDA_SUCCESS) {
        /* The context is broken or out of events: the block may still be read, so it is lost to
         * the pool until the context ends. */
        log_debug("staging: block of %u bytes lost: %s", be_classes[block->size_class].block_bytes,
                  be_driver_error(pool->driver, cr));
        return;
    }
    pthread_mutex_lock(&pool->lock);
    block->next = NULL;
    *queue->tail = block;
    queue->tail = &block->next;
    pthread_mutex_unlock(&pool->lock);
}

bool
be_staging_wait(struct be_staging *pool)
{
    CUevent oldest = NULL;

    pthread_mutex_lock(&pool->lock);
    for (int i = BE_SIZE_CLASSES - 1; i >= 0 && oldest == NULL; i--)
        if (pool->busy[i].head != NULL)
            oldest = pool->busy[i].head->busy;
    pthread_mutex_unlock(&pool->lock);
    if (oldest == NULL)
        return false;
    (void)pool->driver->table.cuEventSynchronize(oldest);
    return true;
}
