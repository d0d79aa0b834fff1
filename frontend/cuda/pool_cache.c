/* frontend/cuda/pool_cache.c -- memory that a pool keeps for what comes next */
#include "frontend/cuda/pool_cache.h"

#include <stddef.h>

static unsigned
class_of(uint64_t bytes)
{
    return 63u - (unsigned)__builtin_clzll(bytes | 1);
}

void
fe_pool_cache_put(struct fe_pool_cache *cache, struct fe_cached *block)
{
    struct fe_cached **list = &cache->by_size[class_of(block->bytes)];

    block->next = *list;
    *list = block;
    cache->count++;
}

static struct fe_cached *
unlink_at(struct fe_pool_cache *cache, struct fe_cached **link)
{
    struct fe_cached *block = *link;

    *link = block->next;
    block->next = NULL;
    cache->count--;
    return block;
}

struct fe_cached *
fe_pool_cache_take(struct fe_pool_cache *cache, uint64_t bytes, fe_cached_fn may, void *user)
{
    unsigned first = class_of(bytes);

    for (unsigned c = first; c <= first + 1 && c < FE_CACHE_CLASSES; c++) {
        struct fe_cached **best = NULL;

        for (struct fe_cached **at = &cache->by_size[c]; *at != NULL; at = &(*at)->next) {
            if ((*at)->bytes < bytes || (*at)->bytes / 2 > bytes ||
                (best != NULL && (*at)->bytes >= (*best)->bytes) || !may(user, *at))
                continue;
            best = at;
            if ((*at)->bytes == bytes)
                break;
        }
        if (best != NULL)
            return unlink_at(cache, best);
    }
    return NULL;
}

struct fe_cached *
fe_pool_cache_pop(struct fe_pool_cache *cache, fe_cached_fn may, void *user)
{
    for (unsigned c = FE_CACHE_CLASSES; c-- > 0 && cache->count > 0;)
        for (struct fe_cached **at = &cache->by_size[c]; *at != NULL; at = &(*at)->next)
            if (may == NULL || may(user, *at))
                return unlink_at(cache, at);
    return NULL;
}
