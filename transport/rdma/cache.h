/* transport/rdma/cache.h -- what a lane's device has been told of memory, to be told once
 *
 * Memory of its owner's (transport/kept.h) is registered in granules and stays so until it is
 * forgotten or others need the place. A program's own, which it may map anew without a word, is
 * registered for one use and to the byte. Memory of a device is registered in granules for reading
 * by the peer too, since to tell a device of it takes long and all of it is the session's.
 * Everything else is not registered at all.
 *
 * Threads: any; all under tp_kept_lock. Pure but for ops.
 */
#ifndef TP_RDMA_CACHE_H
#define TP_RDMA_CACHE_H

#include "transport/kept.h"

/* Of kept memory, counted from its beginning. */
#define TP_CACHE_GRANULE (16u << 20)
/* Of a device's, which is told of by larger pieces of its own. */
#define TP_CACHE_DEVICE_GRANULE (64u << 20)
#define TP_CACHE_ENTRIES        256u

struct tp_cache_ops {
    /* NULL: it cannot be; errno says why. peer: the peer may read it, which lasts for one use. */
    void *(*add)(void *user, void *base, size_t bytes, bool peer);
    /* The same of a device's memory, for both; NULL: that is refused. */
    void *(*add_device)(void *user, const struct tp_device_memory *device, void *base,
                        size_t bytes);
    void (*remove)(void *user, void *key);
};

struct tp_cache_entry {
    uint8_t *base;
    size_t bytes;
    void *key;
    uint64_t used_at; /* by the cache's own count */
    unsigned holds;
    bool once;   /* nobody else finds it, and it goes with its last hold */
    bool device; /* its memory is a device's */
};

struct tp_cache {
    struct tp_kept_user kept; /* first */
    const struct tp_cache_ops *ops;
    void *user;
    uint64_t bytes_max;
    uint64_t bytes;
    uint64_t now;
    struct tp_cache_entry *entries[TP_CACHE_ENTRIES];
    unsigned count;
};

struct tp_cache_hold {
    struct tp_cache_entry *entry;
    size_t bytes; /* of those asked for, from their beginning */
};

void tp_cache_init(struct tp_cache *cache, const struct tp_cache_ops *ops, void *user,
                   uint64_t bytes_max);
/* With nothing held. */
void tp_cache_fini(struct tp_cache *cache);

enum tp_cache_answer {
    TP_CACHE_HELD,
    TP_CACHE_NOT_KEPT, /* nobody says when this memory ends */
    TP_CACHE_REFUSED,  /* by the device; errno says why */
    TP_CACHE_APART,    /* it is another device's, and this one does not take it; errno says why */
};

/* For this lane's device to read or write, or its peer to read; it stays until tp_cache_put(). */
enum tp_cache_answer tp_cache_get(struct tp_cache *cache, const void *at, size_t bytes, bool peer,
                                  struct tp_cache_hold *hold_p);
/* Twice is fine. */
void tp_cache_put(struct tp_cache *cache, struct tp_cache_hold *hold);

#endif
