/* protocol/wire/pool.c */
#include "protocol/wire/pool.h"

#include <stdalign.h>
#include <stdlib.h>
#include <string.h>

struct wire_pool_block {
    struct wire_pool_block *next;
    size_t bytes;
    alignas(16) unsigned char data[];
};

void *
wire_pool_alloc(struct wire_pool *pool, size_t bytes)
{
    struct wire_pool_block *block;

    /* The head counts too, so that many tiny pieces reach the limit as well. */
    if (bytes > pool->limit_bytes || pool->limit_bytes - bytes < pool->used_bytes + sizeof(*block))
        return NULL;
    block = calloc(1, sizeof(*block) + bytes);
    if (block == NULL)
        return NULL;
    pool->used_bytes += bytes + sizeof(*block);
    block->bytes = bytes;
    block->next = pool->blocks;
    pool->blocks = block;
    return block->data;
}

void
wire_pool_fini(struct wire_pool *pool)
{
    while (pool->blocks != NULL) {
        struct wire_pool_block *block = pool->blocks;

        pool->blocks = block->next;
        explicit_bzero(block->data, block->bytes); /* it may have held a secret */
        free(block);
    }
    pool->used_bytes = 0;
}
