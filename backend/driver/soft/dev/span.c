/* backend/driver/soft/dev/span.c -- the address map: entries sorted by address */
#include "backend/driver/soft/dev/span.h"

#include <string.h>

_Atomic uint64_t sd_map_epoch = 1;

/* Rank 40; guards the rest. */
static pthread_rwlock_t map_lock = PTHREAD_RWLOCK_INITIALIZER;
static struct sd_alloc **map_entries;
static size_t map_count;
static size_t map_size;
static unsigned long long map_next_id = 1;

/* The first entry that ends behind addr. */
static size_t
map_lower(uint64_t addr)
{
    size_t lo = 0, hi = map_count;

    while (lo < hi) {
        size_t mid = (lo + hi) / 2;

        if (map_entries[mid]->end <= addr)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

static struct sd_alloc *
map_at(uint64_t addr)
{
    size_t i = map_lower(addr);

    return i < map_count && map_entries[i]->base <= addr ? map_entries[i] : NULL;
}

static bool
map_grow(void)
{
    size_t size = map_size != 0 ? 2 * map_size : 256;
    struct sd_alloc **entries;

    if (map_count < map_size)
        return true;
    entries = realloc(map_entries, size * sizeof(*entries));
    if (entries == NULL)
        return false;
    map_entries = entries;
    map_size = size;
    return true;
}

CUresult
sd_map_add(struct sd_alloc *alloc)
{
    struct sd_alloc *entry = malloc(sizeof(*entry));
    CUresult cr = CUDA_ERROR_OUT_OF_MEMORY;
    size_t i;

    if (entry == NULL)
        return cr;
    pthread_rwlock_wrlock(&map_lock);
    i = map_lower(alloc->base);
    if (i < map_count && map_entries[i]->base < alloc->end) {
        cr = CUDA_ERROR_ALREADY_MAPPED;
    } else if (map_grow()) {
        alloc->id = map_next_id++;
        *entry = *alloc;
        memmove(map_entries + i + 1, map_entries + i, (map_count - i) * sizeof(*map_entries));
        map_entries[i] = entry;
        map_count++;
        entry = NULL;
        cr = CUDA_SUCCESS;
    }
    pthread_rwlock_unlock(&map_lock);
    free(entry);
    return cr;
}

bool
sd_map_find(uint64_t addr, struct sd_alloc *out)
{
    const struct sd_alloc *entry;

    pthread_rwlock_rdlock(&map_lock);
    entry = map_at(addr);
    if (entry != NULL)
        *out = *entry;
    pthread_rwlock_unlock(&map_lock);
    return entry != NULL;
}

/* The lock is held for writing. */
static void
map_remove(size_t i, struct sd_alloc *out)
{
    *out = *map_entries[i];
    free(map_entries[i]);
    map_count--;
    memmove(map_entries + i, map_entries + i + 1, (map_count - i) * sizeof(*map_entries));
    atomic_fetch_add_explicit(&sd_map_epoch, 1, memory_order_release);
}

bool
sd_map_take(uint64_t base, unsigned kinds, struct sd_alloc *out)
{
    bool found;
    size_t i;

    pthread_rwlock_wrlock(&map_lock);
    i = map_lower(base);
    found = i < map_count && map_entries[i]->base == base &&
            (kinds & (1u << map_entries[i]->kind)) != 0;
    if (found)
        map_remove(i, out);
    pthread_rwlock_unlock(&map_lock);
    return found;
}

bool
sd_map_take_of(const struct CUctx_st *ctx, const void *owner, struct sd_alloc *out)
{
    bool found = false;

    pthread_rwlock_wrlock(&map_lock);
    for (size_t i = map_count; i-- > 0 && !found;) {
        const struct sd_alloc *e = map_entries[i];

        found = owner != NULL ? e->owner == owner
                              : e->ctx == ctx && (e->owner == NULL || e->kind == SD_MEM_POOL);
        if (found)
            map_remove(i, out);
    }
    pthread_rwlock_unlock(&map_lock);
    return found;
}

uint64_t
sd_map_change(uint64_t base, uint64_t bytes, void (*change)(struct sd_alloc *, void *), void *user)
{
    uint64_t covered = 0;

    pthread_rwlock_wrlock(&map_lock);
    for (size_t i = map_lower(base); i < map_count && map_entries[i]->base < base + bytes; i++) {
        struct sd_alloc *e = map_entries[i];
        uint64_t from = gp_max_u64(e->base, base), to = gp_min_u64(e->end, base + bytes);

        covered += to - from;
        if (change != NULL)
            change(e, user);
    }
    atomic_fetch_add_explicit(&sd_map_epoch, 1, memory_order_release);
    pthread_rwlock_unlock(&map_lock);
    return covered;
}

static enum sd_reach
entry_reach(const struct sd_alloc *e)
{
    if (e->readable == 0 || e->kind == SD_MEM_MULTICAST)
        return SD_REACH_NO_READ;
    return e->writable != 0 ? SD_REACH_WRITE : SD_REACH_READ;
}

enum sd_reach
sd_map_reach(uint64_t addr, uint64_t bytes, struct sd_alloc *first_p)
{
    enum sd_reach reach = SD_REACH_NONE;
    uint64_t end = addr + bytes;
    size_t i;

    if (end < addr)
        return SD_REACH_BEYOND;
    pthread_rwlock_rdlock(&map_lock);
    i = map_lower(addr);
    if (i < map_count && map_entries[i]->base <= addr) {
        const struct sd_alloc *e = map_entries[i];

        if (first_p != NULL)
            *first_p = *e;
        reach = entry_reach(e);
        while (end > e->end) {
            const struct sd_alloc *next = ++i < map_count ? map_entries[i] : NULL;

            if (next == NULL || next->base != e->end || e->kind != SD_MEM_VMM ||
                next->kind != SD_MEM_VMM) {
                reach = SD_REACH_BEYOND;
                break;
            }
            e = next;
            reach = entry_reach(e) < reach ? entry_reach(e) : reach;
        }
    }
    pthread_rwlock_unlock(&map_lock);
    return reach;
}

/* Access of device to e: 0 none, 1 read, 3 read and write. */
static unsigned
entry_access(const struct sd_alloc *e, int device, uint64_t peers)
{
    uint64_t self = 1ull << device;
    /* Mappings say themselves who may come in; other memory opens to contexts with peer access. */
    bool peer = e->kind != SD_MEM_VMM && (peers & (1ull << e->device)) != 0;

    if (e->kind == SD_MEM_MULTICAST)
        return 0;
    if ((e->writable & self) != 0 || (peer && e->writable != 0))
        return 3;
    return (e->readable & self) != 0 || (peer && e->readable != 0) ? 1 : 0;
}

bool
sd_map_span(uint64_t addr, int device, uint64_t peers, uint64_t *base_p, uint64_t *end_p,
            bool *writable_p)
{
    const struct sd_alloc *e;
    unsigned access = 0;

    pthread_rwlock_rdlock(&map_lock);
    e = map_at(addr);
    if (e != NULL)
        access = entry_access(e, device, peers);
    if (access != 0) {
        size_t at = map_lower(addr), lo = at, hi = at;

        /* Bounded, so that one look-up stays cheap. */
        while (e->kind == SD_MEM_VMM && hi + 1 < map_count && hi < at + 64 &&
               map_entries[hi + 1]->base == map_entries[hi]->end &&
               map_entries[hi + 1]->kind == SD_MEM_VMM &&
               entry_access(map_entries[hi + 1], device, peers) == access)
            hi++;
        while (e->kind == SD_MEM_VMM && lo > 0 && lo + 64 > at &&
               map_entries[lo - 1]->end == map_entries[lo]->base &&
               map_entries[lo - 1]->kind == SD_MEM_VMM &&
               entry_access(map_entries[lo - 1], device, peers) == access)
            lo--;
        *base_p = map_entries[lo]->base;
        *end_p = map_entries[hi]->end;
        *writable_p = access == 3;
    }
    pthread_rwlock_unlock(&map_lock);
    return access != 0;
}
