/* backend/memory/staging.h -- pinned host memory through which copies go, one pool a context
 *
 * Blocks come in four sizes. A block is in use until its owner gives it back, or until the event
 * that it was given back with has happened.
 *
 * Threads: any; the context is current in the caller. Lock: staging.lock (rank 40).
 */
#ifndef BE_STAGING_H
#define BE_STAGING_H

#include "backend/driver/driver.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BE_STAGING_BLOCK_MAX (1u << 20)

struct be_staging;

struct be_block {
    uint8_t *data;
    uint32_t size_class;
    struct be_slab *slab;
    CUevent busy;          /* with it the block is in use; borrowed by the pool until reused */
    struct be_block *next; /* the pool's */
};

/* soft_bytes: above it _get says CUDA_ERROR_NOT_READY unless pressed; hard_bytes: the end, also of
 * all pools that count in *all_bytes, which is borrowed. */
CUresult be_staging_create(const struct be_driver *driver, size_t soft_bytes, size_t hard_bytes,
                           atomic_size_t *all_bytes, struct be_staging **pool_p);
/* With the context current and nothing of it running. */
void be_staging_destroy(struct be_staging *pool);

/* A block of at least bytes (<= BE_STAGING_BLOCK_MAX). NOT_READY: over the soft limit, and what is
 * in use is not done yet; OUT_OF_MEMORY: over the hard limit. */
CUresult be_staging_get(struct be_staging *pool, size_t bytes, bool pressed,
                        struct be_block **block_p);
/* Back at once. */
void be_staging_put(struct be_staging *pool, struct be_block *block);
/* Back when what is queued on stream now is done. */
void be_staging_put_after(struct be_staging *pool, struct be_block *block, CUstream stream);
/* Wait until the oldest block that is given back by event is free; false if there is none. */
bool be_staging_wait(struct be_staging *pool);

#endif
