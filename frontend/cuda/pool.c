/* frontend/cuda/pool.c -- memory pools: stream-ordered allocation, decided by the client */
#include "frontend/cuda/pool.h"

#include "frontend/cuda/ask.h"
#include "protocol/base/util.h"

#include <pthread.h>
#include <stdlib.h>

static struct {
    pthread_mutex_t lock;
    /* Set once. */
    struct fe_pool *standard[WIRE_DEVICES_MAX];
    /* Guarded by lock. */
    struct fe_pool *current[WIRE_DEVICES_MAX];
    /* Atomic: blocks in the hands of all pools; moves under lock. */
    _Atomic uint64_t cached;
} pools = {.lock = PTHREAD_MUTEX_INITIALIZER};

void
fe_pools_lock(void)
{
    pthread_mutex_lock(&pools.lock);
}

void
fe_pools_unlock(void)
{
    pthread_mutex_unlock(&pools.lock);
}

/* -- pools ------------------------------------------------------------------------------ */

struct fe_pool *
fe_pool_create(int device, uint64_t max_bytes)
{
    struct fe_pool *pool = fe_object_create(WIRE_HANDLE_MEMPOOL, NULL);

    if (pool == NULL)
        return NULL;
    pool->device = device;
    pool->max_bytes = max_bytes;
    pool->readable = pool->writable = 1ull << device;
    for (size_t i = 0; i < GP_ARRAY_LEN(pool->reuse); i++)
        pool->reuse[i] = 1;
    return pool;
}

bool
fe_pools_start(struct fe_state *state)
{
    for (unsigned d = 0; d < state->device_count; d++) {
        struct fe_pool *pool = fe_pool_create((int)d, 0);

        if (pool == NULL)
            return false;
        pool->is_default = true;
        pools.standard[d] = pools.current[d] = pool;
    }
    return true;
}

struct fe_pool *
fe_pool_default(int device)
{
    return pools.standard[device];
}

struct fe_pool *
fe_pool_current(int device)
{
    struct fe_pool *pool;

    fe_pools_lock();
    pool = pools.current[device];
    fe_pools_unlock();
    return pool;
}

void
fe_pool_set_current(struct fe_pool *pool)
{
    fe_pools_lock();
    pools.current[pool->device] = pool;
    fe_pools_unlock();
}

struct fe_pool *
fe_pool_of(CUmemoryPool handle)
{
    struct fe_pool *pool = fe_object_get(WIRE_HANDLE_MEMPOOL, handle);

    return pool != NULL && !pool->gone ? pool : NULL;
}

/* The lock is held. */
static void
count_used(struct fe_pool *pool, uint64_t bytes)
{
    pool->used += bytes;
    pool->used_high = gp_max_u64(pool->used_high, pool->used);
}

static void
count_reserved(struct fe_pool *pool, uint64_t bytes)
{
    pool->reserved += bytes;
    pool->reserved_high = gp_max_u64(pool->reserved_high, pool->reserved);
}

static struct fe_cached *
cache_pop(struct fe_pool *pool, fe_cached_fn may, void *user)
{
    struct fe_cached *block = fe_pool_cache_pop(&pool->cache, may, user);

    if (block != NULL)
        atomic_fetch_sub_explicit(&pools.cached, 1, memory_order_relaxed);
    return block;
}

/* -- access ----------------------------------------------------------------------------- */

/* The lock is held. */
static CUresult
open_block(struct fe_call *call, const struct fe_pool *pool, uint64_t base)
{
    struct wire_gpMemAccess_args args = {
        .address = base,
        .readable = fe_server_devices(call->session, pool->readable),
        .writable = fe_server_devices(call->session, pool->writable),
    };
    CUresult cr = fe_call_next(call, WIRE_CALL_gpMemAccess);

    if (cr == CUDA_SUCCESS)
        FE_TELL(cr, call, gpMemAccess, &args);
    return cr;
}

struct opening {
    const struct fe_pool *pool;
    uint64_t *bases;
    size_t count, room;
};

/* fe_block_fn, of blocks that are there */
static void
collect_block(void *user, const struct fe_block *block)
{
    struct opening *o = user;

    if (block->kind != FE_BLOCK_POOL || block->object != o->pool)
        return;
    if (o->bases != NULL && o->count < o->room)
        o->bases[o->count] = block->base;
    o->count++;
}

CUresult
fe_pool_set_access(struct fe_call *call, struct fe_pool *pool, const struct fe_access *access)
{
    struct fe_alloc *alloc = fe_alloc_of_device(pool->device);
    struct opening o = {.pool = pool};
    CUresult cr = CUDA_SUCCESS;

    fe_pools_lock();
    pool->readable = (pool->readable & ~access->named) | access->readable;
    pool->writable = (pool->writable & ~access->named) | access->writable;
    fe_alloc_each(alloc, collect_block, &o);
    o.bases = calloc(o.count + 1, sizeof(*o.bases));
    o.room = o.count;
    o.count = 0;
    if (o.bases == NULL)
        cr = CUDA_ERROR_OUT_OF_MEMORY;
    else
        fe_alloc_each(alloc, collect_block, &o);
    for (size_t i = 0; cr == CUDA_SUCCESS && i < gp_min_u64(o.count, o.room); i++)
        cr = open_block(call, pool, o.bases[i]);
    fe_pools_unlock();
    free(o.bases);
    return cr;
}

/* -- giving memory back ----------------------------------------------------------------- */

/* The lock is held. An idle block leaves the pool; it is freed behind all work that was posted. */
static void
give_back(const struct fe_call *call, struct fe_pool *pool, struct fe_cached *block)
{
    /* The caller's call may be in the middle of something. */
    struct fe_call own = {.context = (struct fe_context *)(uintptr_t)block->owner};

    (void)call;
    own.session = own.context->head.session;

    /* In a broken context nothing can be freed: it goes with that. */
    if (fe_memory_free(&own, block->base) == CUDA_SUCCESS)
        pool->reserved -= block->bytes;
    free(block);
}

/* The lock is held. */
static void
trim(const struct fe_call *call, struct fe_pool *pool, uint64_t keep_bytes, fe_cached_fn may,
     void *user)
{
    struct fe_cached *block;

    while (pool->reserved > keep_bytes && (block = cache_pop(pool, may, user)) != NULL)
        give_back(call, pool, block);
}

/* The lock is held. */
static void
end_if_gone(const struct fe_call *call, struct fe_pool *pool)
{
    if (!pool->gone || pool->used != 0)
        return;
    trim(call, pool, 0, NULL, NULL);
    fe_object_destroy(pool);
}

void
fe_pool_destroy(const struct fe_call *call, struct fe_pool *pool)
{
    fe_pools_lock();
    pool->gone = true;
    if (pools.current[pool->device] == pool)
        pools.current[pool->device] = pools.standard[pool->device];
    end_if_gone(call, pool);
    fe_pools_unlock();
}

void
fe_pool_trim(const struct fe_call *call, struct fe_pool *pool, uint64_t keep_bytes)
{
    fe_pools_lock();
    trim(call, pool, keep_bytes, NULL, NULL);
    fe_pools_unlock();
}

struct walk {
    const struct fe_call *call;
    int device;
};

static bool
release_one(void *object, void *user)
{
    struct walk *walk = user;
    struct fe_pool *pool = object;

    if (pool->device == walk->device)
        trim(walk->call, pool, 0, NULL, NULL);
    return true;
}

void
fe_pools_release(const struct fe_call *call, int device)
{
    struct walk walk = {.call = call, .device = device};

    if (atomic_load_explicit(&pools.cached, memory_order_relaxed) == 0)
        return;
    fe_pools_lock();
    fe_object_each(WIRE_HANDLE_MEMPOOL, release_one, &walk);
    fe_pools_unlock();
}

/* fe_cached_fn */
static bool
is_proven(void *user, const struct fe_cached *block)
{
    (void)user;
    return fe_work_proven(block->context, block->stream, block->stream_wire, block->work);
}

static bool
settle_one(void *object, void *user)
{
    struct walk *walk = user;
    struct fe_pool *pool = object;

    trim(walk->call, pool, pool->threshold, is_proven, NULL);
    return true;
}

void
fe_pools_settle(const struct fe_call *call)
{
    struct walk walk = {.call = call};

    if (GP_LIKELY(atomic_load_explicit(&pools.cached, memory_order_relaxed) == 0))
        return;
    fe_pools_lock();
    fe_object_each(WIRE_HANDLE_MEMPOOL, settle_one, &walk);
    fe_pools_unlock();
}

/* -- contexts that end ------------------------------------------------------------------ */

/* fe_cached_fn */
static bool
is_of_context(void *user, const struct fe_cached *block)
{
    return block->owner == user || block->context == user;
}

static bool
forget_one(void *object, void *user)
{
    struct fe_pool *pool = object;
    struct fe_cached *block;

    while ((block = cache_pop(pool, is_of_context, user)) != NULL)
        free(block); /* reserved falls when the block itself is dropped */
    return true;
}

void
fe_pools_forget(const struct fe_context *ctx)
{
    fe_pools_lock();
    fe_object_each(WIRE_HANDLE_MEMPOOL, forget_one, (void *)(uintptr_t)ctx);
    fe_pools_unlock();
}

void
fe_pools_block_gone(void *user, const struct fe_block *block)
{
    struct fe_pool *pool = block->object;

    (void)user;
    if (block->kind != FE_BLOCK_POOL)
        return;
    pool->reserved -= block->capacity;
    if (!block->idle)
        pool->used -= block->capacity;
}

/* -- allocation ------------------------------------------------------------------------- */

/* Where the work goes that the memory is for. */
struct taker {
    const struct fe_context *context;
    const struct fe_stream *stream;
    uint64_t stream_wire;
};

/* fe_cached_fn: in the stream it was freed in, or where nothing uses it any more. */
static bool
may_take(void *user, const struct fe_cached *block)
{
    const struct taker *t = user;

    return block->owner == t->context &&
           ((block->stream == t->stream && block->stream_wire == t->stream_wire &&
             block->context == t->context) ||
            is_proven(NULL, block));
}

/* The lock is held. 0: nothing that fits. */
static uint64_t
take_cached(struct fe_pool *pool, uint64_t bytes, struct taker *taker)
{
    struct fe_cached *block = fe_pool_cache_take(&pool->cache, bytes, may_take, taker);
    uint64_t base = 0;

    if (block == NULL)
        return 0;
    atomic_fetch_sub_explicit(&pools.cached, 1, memory_order_relaxed);
    if (fe_alloc_set_idle(fe_alloc_of_device(pool->device), block->base, false, bytes)) {
        base = block->base;
        count_used(pool, block->bytes);
    }
    free(block);
    return base;
}

/* The lock is held; it is not while memory is got. */
static CUresult
take_fresh(struct fe_call *call, struct fe_pool *pool, uint64_t bytes, uint64_t *address_p)
{
    uint64_t capacity = gp_align_up_u64(bytes, FE_ALLOC_UNIT);
    struct fe_block block = {
        .kind = FE_BLOCK_POOL,
        .bytes = bytes,
        .device = pool->device,
        .owner = call->context,
        .object = pool,
    };
    CUresult cr;

    if (capacity < bytes)
        return CUDA_ERROR_OUT_OF_MEMORY;
    if (pool->max_bytes != 0 &&
        (pool->reserved > pool->max_bytes || capacity > pool->max_bytes - pool->reserved)) {
        trim(call, pool, 0, NULL, NULL);
        if (pool->reserved > pool->max_bytes || capacity > pool->max_bytes - pool->reserved)
            return CUDA_ERROR_OUT_OF_MEMORY;
    }
    /* Counted first, so that the pool stays while the lock is open. */
    pool->used += capacity;
    pool->reserved += capacity;
    fe_pools_unlock();
    cr = fe_memory_alloc(call, &block);
    fe_pools_lock();
    pool->used -= capacity;
    pool->reserved -= capacity;
    if (cr == CUDA_SUCCESS) {
        count_reserved(pool, block.capacity);
        count_used(pool, block.capacity);
        *address_p = block.base;
        if (pool->readable != 1ull << pool->device)
            cr = open_block(call, pool, block.base);
    }
    end_if_gone(call, pool);
    return cr;
}

CUresult
fe_pool_alloc(struct fe_call *call, struct fe_pool *pool, uint64_t bytes, struct fe_stream *stream,
              uint64_t stream_wire, uint64_t *address_p)
{
    struct taker taker = {call->context, stream, stream_wire};
    CUresult cr = CUDA_SUCCESS;
    uint64_t base;

    fe_pools_lock();
    if (pool == NULL)
        pool = pools.current[call->context->device];
    if (pool->gone) { /* its device may be another one than the stream's */
        cr = CUDA_ERROR_INVALID_VALUE;
    } else if (fe_device_session(pool->device) != call->session) {
        cr = fe_refuse("memory of a pool of another server than the stream's");
    } else {
        base = take_cached(pool, bytes, &taker);
        if (base != 0)
            *address_p = base;
        else
            cr = take_fresh(call, pool, bytes, address_p);
    }
    fe_pools_unlock();
    return cr;
}

/* Up to here all work came before what is done in stream now. */
static uint64_t
work_before(const struct fe_context *ctx, const struct fe_stream *stream)
{
    uint64_t last = atomic_load_explicit(&stream->last, memory_order_acquire);

    if (stream == &ctx->legacy)
        return fe_context_now(ctx);
    if ((stream->flags & CU_STREAM_NON_BLOCKING) != 0)
        return last;
    return gp_max_u64(last, atomic_load_explicit(&ctx->legacy.last, memory_order_acquire));
}

/* The lock is held. */
static CUresult
cache_put(struct fe_call *call, const struct fe_block *b, struct fe_stream *stream,
          uint64_t stream_wire)
{
    struct fe_pool *pool = b->object;
    struct fe_cached *block = malloc(sizeof(*block));

    if (block == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    *block = (struct fe_cached){
        .base = b->base,
        .bytes = b->capacity,
        .owner = b->owner,
        .context = call->context,
        .stream = stream,
        .stream_wire = stream_wire,
        .work = work_before(call->context, stream),
    };
    (void)fe_alloc_set_idle(fe_alloc_of_device(pool->device), b->base, true, 0);
    fe_pool_cache_put(&pool->cache, block);
    atomic_fetch_add_explicit(&pools.cached, 1, memory_order_relaxed);
    pool->used -= b->capacity;
    end_if_gone(call, pool);
    return CUDA_SUCCESS;
}

CUresult
fe_pool_free(struct fe_call *call, uint64_t address, struct fe_stream *stream, uint64_t stream_wire)
{
    CUresult cr = CUDA_ERROR_INVALID_VALUE;
    struct fe_block b;

    fe_pools_lock();
    if (fe_alloc_find(fe_alloc_of(call), address, &b) && b.base == address &&
        b.kind == FE_BLOCK_POOL)
        cr = cache_put(call, &b, stream, stream_wire);
    fe_pools_unlock();
    return cr;
}

CUresult
fe_pool_take_out(struct fe_call *call, uint64_t address)
{
    CUresult cr = CUDA_ERROR_INVALID_VALUE;
    struct fe_pool *pool;
    struct fe_block b;

    fe_pools_lock();
    if (fe_alloc_find(fe_alloc_of(call), address, &b) && b.base == address &&
        b.kind == FE_BLOCK_POOL) {
        cr = fe_memory_free(call, address);
        pool = b.object;
        pool->used -= b.capacity;
        pool->reserved -= b.capacity;
        end_if_gone(call, pool);
    }
    fe_pools_unlock();
    return cr;
}
