/* frontend/cuda/pool_cache.h -- memory that a pool keeps for what comes next
 *
 * Pure book-keeping: blocks by size, and in which stream each was freed. No locks: the pool's.
 */
#ifndef FE_POOL_CACHE_H
#define FE_POOL_CACHE_H

#include <stdbool.h>
#include <stdint.h>

struct fe_context;
struct fe_stream;

/* A block that was freed in a stream: whoever takes it comes behind that. */
struct fe_cached {
    uint64_t base, bytes;
    const struct fe_context *owner; /* it goes with this one */
    struct fe_context *context;     /* of the stream */
    struct fe_stream *stream;
    uint64_t stream_wire; /* its id then: a reused object is another stream */
    uint64_t work;        /* all work up to this number came before the free */
    struct fe_cached *next;
};

#define FE_CACHE_CLASSES 64

struct fe_pool_cache {
    struct fe_cached *by_size[FE_CACHE_CLASSES]; /* by the power of two at or below bytes */
    uint64_t count;
};

typedef bool (*fe_cached_fn)(void *user, const struct fe_cached *block);

/* The cache owns block, malloc'd. */
void fe_pool_cache_put(struct fe_pool_cache *cache, struct fe_cached *block);
/* The smallest block of bytes to twice as many that may says yes to; the caller's. NULL: none. */
struct fe_cached *fe_pool_cache_take(struct fe_pool_cache *cache, uint64_t bytes, fe_cached_fn may,
                                     void *user);
/* Any block that may (NULL: any at all) says yes to, the largest first; the caller's. */
struct fe_cached *fe_pool_cache_pop(struct fe_pool_cache *cache, fe_cached_fn may, void *user);

#endif
