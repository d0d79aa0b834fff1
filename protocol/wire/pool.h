/* protocol/wire/pool.h -- memory for one message, capped and freed as a whole */
#ifndef WIRE_POOL_H
#define WIRE_POOL_H

#include <stddef.h>

struct wire_pool_block;

struct wire_pool {
    struct wire_pool_block *blocks;
    size_t used_bytes, limit_bytes;
};

/* Zeroed memory, 16-byte aligned; NULL when the limit or the machine's memory is reached. */
void *wire_pool_alloc(struct wire_pool *pool, size_t bytes);
void wire_pool_fini(struct wire_pool *pool);

#endif
