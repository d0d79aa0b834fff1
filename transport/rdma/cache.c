/* transport/rdma/cache.c */
#include "transport/rdma/cache.h"

#include "protocol/base/util.h"

#include <errno.h>
#include <stdlib.h>

static struct tp_cache *
cache_of(struct tp_kept_user *user)
{
    return (struct tp_cache *)user;
}

static void
entry_free(struct tp_cache *cache, struct tp_cache_entry *entry)
{
    cache->ops->remove(cache->user, entry->key);
    cache->bytes -= entry->bytes;
    free(entry);
}

/* Nobody finds it any more; it goes now or with its last hold. */
static void
drop(struct tp_cache *cache, unsigned i)
{
    struct tp_cache_entry *entry = cache->entries[i];

    cache->entries[i] = cache->entries[--cache->count];
    entry->once = true;
    if (entry->holds == 0)
        entry_free(cache, entry);
}

static void
forget(struct tp_kept_user *user, const uint8_t *base, size_t bytes)
{
    struct tp_cache *cache = cache_of(user);

    for (unsigned i = cache->count; i-- > 0;)
        if (cache->entries[i]->base < base + bytes &&
            cache->entries[i]->base + cache->entries[i]->bytes > base)
            drop(cache, i);
}

void
tp_cache_init(struct tp_cache *cache, const struct tp_cache_ops *ops, void *user,
              uint64_t bytes_max)
{
    *cache = (struct tp_cache){
        .kept = {.forget = forget}, .ops = ops, .user = user, .bytes_max = bytes_max};
    pthread_mutex_lock(&tp_kept_lock);
    tp_kept_join(&cache->kept);
    pthread_mutex_unlock(&tp_kept_lock);
}

void
tp_cache_fini(struct tp_cache *cache)
{
    pthread_mutex_lock(&tp_kept_lock);
    tp_kept_leave(&cache->kept);
    while (cache->count > 0)
        drop(cache, cache->count - 1);
    pthread_mutex_unlock(&tp_kept_lock);
}

/* Of all, or of a device's memory only. False if everything is held. */
static bool
drop_oldest(struct tp_cache *cache, bool device)
{
    unsigned oldest = cache->count;

    for (unsigned i = 0; i < cache->count; i++)
        if (cache->entries[i]->holds == 0 && (cache->entries[i]->device || !device) &&
            (oldest == cache->count ||
             cache->entries[i]->used_at < cache->entries[oldest]->used_at))
            oldest = i;
    if (oldest == cache->count)
        return false;
    drop(cache, oldest);
    return true;
}

/* Older ones make room for it where the device or our own limit wants that. */
static struct tp_cache_entry *
entry_make(struct tp_cache *cache, const struct tp_kept *kept, uint8_t *base, size_t bytes,
           bool peer)
{
    struct tp_cache_entry *entry = calloc(1, sizeof(*entry));
    bool device = kept->kind == TP_KEPT_DEVICE;
    int error;

    if (entry == NULL)
        return NULL;
    while (cache->bytes + bytes > cache->bytes_max && drop_oldest(cache, false))
        ;
    do {
        entry->key = device ? cache->ops->add_device(cache->user, kept->device, base, bytes)
                            : cache->ops->add(cache->user, base, bytes, peer);
        error = errno;
    } while (entry->key == NULL && (error == ENOMEM || error == EAGAIN) &&
             drop_oldest(cache, device));
    if (entry->key == NULL) {
        free(entry);
        errno = error;
        return NULL;
    }
    entry->base = base;
    entry->bytes = bytes;
    entry->device = device;
    cache->bytes += bytes;
    return entry;
}

static struct tp_cache_entry *
entry_find(const struct tp_cache *cache, const uint8_t *at)
{
    for (unsigned i = 0; i < cache->count; i++)
        if (at >= cache->entries[i]->base &&
            at < cache->entries[i]->base + cache->entries[i]->bytes)
            return cache->entries[i];
    return NULL;
}

/* The granule around at. */
static struct tp_cache_entry *
granule_get(struct tp_cache *cache, const struct tp_kept *kept, const uint8_t *at)
{
    struct tp_cache_entry *entry = entry_find(cache, at);
    uint64_t most = kept->kind == TP_KEPT_DEVICE ? TP_CACHE_DEVICE_GRANULE : TP_CACHE_GRANULE;
    uint64_t from;

    if (entry != NULL)
        return entry;
    if (cache->count == TP_CACHE_ENTRIES && !drop_oldest(cache, false))
        return NULL;
    from = (uint64_t)(at - kept->base) / most * most;
    entry = entry_make(cache, kept, kept->base + from, gp_min_u64(most, kept->bytes - from), false);
    if (entry != NULL)
        cache->entries[cache->count++] = entry;
    return entry;
}

static enum tp_cache_answer
get_locked(struct tp_cache *cache, uint8_t *at, size_t bytes, bool peer,
           struct tp_cache_hold *hold_p)
{
    struct tp_cache_entry *entry;
    struct tp_kept kept;

    if (bytes == 0 || !tp_kept_find(at, &kept))
        return TP_CACHE_NOT_KEPT;
    bytes = gp_min_u64(bytes, (uint64_t)(kept.base + kept.bytes - at));
    errno = ENOMEM;
    if (kept.kind == TP_KEPT_DEVICE) {
        entry = cache->ops->add_device != NULL ? granule_get(cache, &kept, at) : NULL;
        if (entry == NULL)
            return TP_CACHE_APART;
    } else if (peer || kept.kind == TP_KEPT_LENT) {
        entry = entry_make(cache, &kept, at, gp_min_u64(bytes, TP_CACHE_GRANULE), peer);
        if (entry != NULL)
            entry->once = true;
    } else {
        entry = granule_get(cache, &kept, at);
    }
    if (entry == NULL)
        return TP_CACHE_REFUSED;
    entry->holds++;
    entry->used_at = ++cache->now;
    hold_p->entry = entry;
    hold_p->bytes = gp_min_u64(bytes, (uint64_t)(entry->base + entry->bytes - at));
    return TP_CACHE_HELD;
}

enum tp_cache_answer
tp_cache_get(struct tp_cache *cache, const void *at, size_t bytes, bool peer,
             struct tp_cache_hold *hold_p)
{
    enum tp_cache_answer answer;

    pthread_mutex_lock(&tp_kept_lock);
    answer = get_locked(cache, (uint8_t *)(uintptr_t)at, bytes, peer, hold_p);
    pthread_mutex_unlock(&tp_kept_lock);
    return answer;
}

void
tp_cache_put(struct tp_cache *cache, struct tp_cache_hold *hold)
{
    struct tp_cache_entry *entry = hold->entry;

    hold->entry = NULL;
    if (entry == NULL)
        return;
    pthread_mutex_lock(&tp_kept_lock);
    if (--entry->holds == 0 && entry->once)
        entry_free(cache, entry);
    pthread_mutex_unlock(&tp_kept_lock);
}
