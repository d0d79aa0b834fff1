/* frontend/cuda/alloc_vmm.c -- what the program reserves and maps itself, inside the same range */
#include "frontend/cuda/alloc_priv.h"
#include "protocol/base/util.h"

#include <string.h>

uint64_t
fe_alloc_granule(const struct fe_alloc *a)
{
    return a->granule;
}

/* -- reservations ------------------------------------------------------------------------- */

/* Index of the first reservation that begins above the granule. */
static size_t
reservation_above(const struct fe_alloc *a, uint64_t granule)
{
    size_t lo = 0, hi = a->reservation_count;

    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;

        if (a->reservations[mid].first <= granule)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

static bool
reservation_room(struct fe_alloc *a)
{
    size_t room = a->reservation_room == 0 ? 16 : 2 * a->reservation_room;
    struct gap *list;

    if (a->reservation_count < a->reservation_room)
        return true;
    list = realloc(a->reservations, room * sizeof(*list));
    if (list == NULL)
        return false;
    a->reservations = list;
    a->reservation_room = room;
    return true;
}

/* At the wish, else where there is room; UINT64_MAX without any. */
static uint64_t
place(struct fe_alloc *a, uint64_t count, uint64_t align, uint64_t wish)
{
    uint64_t first;

    if (wish % align == 0 && wish % a->granule == 0 && fe_alloc_in_range(a, wish)) {
        first = granule_of(a, wish);
        if (fe_gap_take_at(a, first, count))
            return first;
    }
    return fe_gap_take(a, count, gp_max_u64(align / a->granule, 1));
}

uint64_t
fe_alloc_reserve(struct fe_alloc *a, uint64_t bytes, uint64_t align, uint64_t wish)
{
    uint64_t count = bytes / a->granule, first = UINT64_MAX;
    size_t at;

    pthread_mutex_lock(&a->lock);
    if (bytes <= a->bytes && reservation_room(a))
        first = place(a, count, gp_max_u64(align, a->granule), wish);
    if (first != UINT64_MAX) {
        at = reservation_above(a, first);
        memmove(&a->reservations[at + 1], &a->reservations[at],
                (a->reservation_count++ - at) * sizeof(*a->reservations));
        a->reservations[at] = (struct gap){first, count};
        for (uint64_t g = first; g < first + count; g++)
            a->granules[g] = RESERVED_WORD;
    }
    pthread_mutex_unlock(&a->lock);
    return first == UINT64_MAX ? 0 : a->base + first * a->granule;
}

bool
fe_alloc_unreserve(struct fe_alloc *a, uint64_t base, uint64_t bytes)
{
    uint64_t first = granule_of(a, base), count = bytes / a->granule;
    bool good = fe_alloc_in_range(a, base) && base % a->granule == 0 && bytes % a->granule == 0;
    size_t at;

    pthread_mutex_lock(&a->lock);
    at = reservation_above(a, first);
    good = good && at > 0 && a->reservations[at - 1].first == first &&
           a->reservations[at - 1].count == count;
    for (uint64_t g = first; good && g < first + count; g++)
        good = a->granules[g] == RESERVED_WORD;
    if (good) {
        memset(&a->granules[first], 0, count * sizeof(*a->granules));
        memmove(&a->reservations[at - 1], &a->reservations[at],
                (a->reservation_count-- - at) * sizeof(*a->reservations));
        fe_gap_give(a, first, count);
    }
    pthread_mutex_unlock(&a->lock);
    return good;
}

/* -- mappings ----------------------------------------------------------------------------- */

/* The mapping at a granule, or NULL; the lock is held. */
static struct block *
mapping_at(const struct fe_alloc *a, uint64_t granule)
{
    uintptr_t word = a->granules[granule];
    struct block *b;

    if (word == 0 || word == RESERVED_WORD || (word & SLAB_TAG))
        return NULL;
    b = (struct block *)word;
    return b->pub.kind == FE_BLOCK_MAPPED ? b : NULL;
}

static bool
whole_granules(const struct fe_alloc *a, uint64_t base, uint64_t bytes)
{
    return bytes > 0 && base % a->granule == 0 && bytes % a->granule == 0 &&
           fe_alloc_in_range(a, base) && bytes <= a->bytes - (base - a->base);
}

/* Whether the granules are reserved as one, and free; the lock is held. */
static bool
mappable(const struct fe_alloc *a, uint64_t first, uint64_t count)
{
    size_t at = reservation_above(a, first);
    const struct gap *r = at > 0 ? &a->reservations[at - 1] : NULL;

    if (r == NULL || first - r->first >= r->count || count > r->count - (first - r->first))
        return false;
    for (uint64_t g = first; g < first + count; g++)
        if (a->granules[g] != RESERVED_WORD)
            return false;
    return true;
}

enum fe_alloc_result
fe_alloc_map(struct fe_alloc *a, const struct fe_block *block)
{
    uint64_t first, count;
    struct block *b;

    if (!whole_granules(a, block->base, block->bytes))
        return FE_ALLOC_ADDRESSES;
    b = calloc(1, sizeof(*b));
    if (b == NULL)
        return FE_ALLOC_MEMORY;
    b->pub = *block;
    b->pub.kind = FE_BLOCK_MAPPED;
    b->pub.capacity = b->pub.bytes;
    first = granule_of(a, block->base);
    count = block->bytes / a->granule;
    pthread_mutex_lock(&a->lock);
    if (!mappable(a, first, count)) {
        pthread_mutex_unlock(&a->lock);
        free(b);
        return FE_ALLOC_ADDRESSES;
    }
    b->pub.id = ++a->next_id;
    for (uint64_t g = first; g < first + count; g++)
        a->granules[g] = (uintptr_t)b;
    pthread_mutex_unlock(&a->lock);
    return FE_ALLOC_OK;
}

/* The lock is held. */
static bool
tiled(const struct fe_alloc *a, uint64_t base, uint64_t bytes)
{
    uint64_t at = base, end = base + bytes;

    if (!whole_granules(a, base, bytes))
        return false;
    while (at < end) {
        const struct block *b = mapping_at(a, granule_of(a, at));

        if (b == NULL || b->pub.base != at || b->pub.bytes > end - at)
            return false;
        at += b->pub.bytes;
    }
    return true;
}

bool
fe_alloc_tiled(struct fe_alloc *a, uint64_t base, uint64_t bytes)
{
    bool good;

    pthread_mutex_lock(&a->lock);
    good = tiled(a, base, bytes);
    pthread_mutex_unlock(&a->lock);
    return good;
}

bool
fe_alloc_unmap(struct fe_alloc *a, uint64_t base, uint64_t bytes, fe_block_fn gone, void *user)
{
    bool good;

    pthread_mutex_lock(&a->lock);
    good = tiled(a, base, bytes);
    for (uint64_t at = base; good && at < base + bytes;) {
        uint64_t first = granule_of(a, at);
        struct block *b = mapping_at(a, first);

        for (uint64_t g = first; g < first + b->pub.bytes / a->granule; g++)
            a->granules[g] = RESERVED_WORD;
        at += b->pub.bytes;
        gone(user, &b->pub);
        free(b);
    }
    pthread_mutex_unlock(&a->lock);
    return good;
}

bool
fe_alloc_set_access(struct fe_alloc *a, uint64_t base, uint64_t bytes, uint64_t named,
                    uint64_t readable, uint64_t writable)
{
    bool good;

    pthread_mutex_lock(&a->lock);
    good = tiled(a, base, bytes);
    for (uint64_t at = base; good && at < base + bytes;) {
        struct fe_block *b = &mapping_at(a, granule_of(a, at))->pub;

        b->readable = (b->readable & ~named) | readable;
        b->writable = (b->writable & ~named) | writable;
        at += b->bytes;
    }
    pthread_mutex_unlock(&a->lock);
    return good;
}
