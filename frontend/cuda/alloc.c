/* frontend/cuda/alloc.c -- addresses of device memory, chosen by the client */
#include "frontend/cuda/alloc.h"

#include "frontend/cuda/alloc_priv.h"
#include "protocol/base/util.h"

#include <string.h>
#include <sys/mman.h>

bool
fe_alloc_in_range(const struct fe_alloc *a, uint64_t address)
{
    return address - a->base < a->bytes;
}

struct fe_alloc *
fe_alloc_create(uint64_t base, uint64_t bytes, uint64_t granule)
{
    struct fe_alloc *a = calloc(1, sizeof(*a));

    if (a == NULL)
        return NULL;
    a->granule = gp_max_u64(granule, FE_ALLOC_GRANULE_MIN);
    a->base = gp_align_up_u64(base, a->granule);
    a->bytes = base + bytes < a->base ? 0 : (base + bytes - a->base) / a->granule * a->granule;
    a->units = (uint32_t)(a->granule / FE_ALLOC_UNIT);
    a->gaps = malloc(16 * sizeof(*a->gaps));
    a->granules = mmap(NULL, a->bytes / a->granule * sizeof(*a->granules) + 1,
                       PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (a->gaps == NULL || a->granules == MAP_FAILED) {
        free(a->gaps);
        free(a);
        return NULL;
    }
    a->gap_room = 16;
    if (a->bytes > 0)
        a->gaps[a->gap_count++] = (struct gap){0, a->bytes / a->granule};
    pthread_mutex_init(&a->lock, NULL);
    return a;
}

static void
free_slabs(struct slab *slab)
{
    while (slab != NULL) {
        struct slab *next = slab->next;

        free(slab->owner);
        free(slab);
        slab = next;
    }
}

void
fe_alloc_destroy(struct fe_alloc *a)
{
    if (a == NULL)
        return;
    for (uint64_t g = 0; g < a->bytes / a->granule; g++) {
        struct slab *slab;

        if (a->granules[g] == 0 || a->granules[g] == RESERVED_WORD)
            continue;
        if (!(a->granules[g] & SLAB_TAG)) {
            struct block *b = (struct block *)a->granules[g];
            uint64_t count = gp_align_up_u64(b->pub.capacity, a->granule) / a->granule;

            free(b);
            g += count - 1;
            continue;
        }
        slab = (struct slab *)(a->granules[g] - SLAB_TAG);
        for (uint32_t u = 0; u < a->units; u++)
            if (slab->owner[u] != NULL && (u == 0 || slab->owner[u] != slab->owner[u - 1]))
                free(slab->owner[u]);
    }
    for (int d = 0; d < FE_ALLOC_DEVICES_MAX; d++)
        free_slabs(a->device[d].slabs);
    munmap(a->granules, a->bytes / a->granule * sizeof(*a->granules) + 1);
    free(a->gaps);
    free(a->foreign);
    free(a->reservations);
    pthread_mutex_destroy(&a->lock);
    free(a);
}

void
fe_alloc_grant(struct fe_alloc *a, int device, uint64_t bytes)
{
    pthread_mutex_lock(&a->lock);
    if (bytes <= UINT64_MAX - a->device[device].lease)
        a->device[device].lease += bytes;
    pthread_mutex_unlock(&a->lock);
}

uint64_t
fe_alloc_shrink(struct fe_alloc *a, int device)
{
    uint64_t unused;

    pthread_mutex_lock(&a->lock);
    unused = a->device[device].lease - a->device[device].charged;
    a->device[device].lease = a->device[device].charged;
    pthread_mutex_unlock(&a->lock);
    return unused;
}

/* Room for one more gap; without it addresses may get lost, nothing else. */
static bool
gap_room(struct fe_alloc *a)
{
    struct gap *gaps;

    if (a->gap_count < a->gap_room)
        return true;
    gaps = realloc(a->gaps, 2 * a->gap_room * sizeof(*gaps));
    if (gaps == NULL)
        return false;
    a->gaps = gaps;
    a->gap_room *= 2;
    return true;
}

/* [first, first + count) lies in gap i: what is before and behind stays. */
static bool
gap_cut(struct fe_alloc *a, size_t i, uint64_t first, uint64_t count)
{
    struct gap *g = &a->gaps[i];
    uint64_t end = g->first + g->count;

    if (first > g->first && first + count < end) {
        if (!gap_room(a))
            return false;
        g = &a->gaps[i];
        memmove(g + 2, g + 1, (a->gap_count++ - i - 1) * sizeof(*g));
        g[1] = (struct gap){first + count, end - first - count};
        g->count = first - g->first;
    } else if (first > g->first) {
        g->count = first - g->first;
    } else {
        g->first += count;
        g->count -= count;
        if (g->count == 0)
            memmove(g, g + 1, (--a->gap_count - i) * sizeof(*g));
    }
    return true;
}

uint64_t
fe_gap_take(struct fe_alloc *a, uint64_t count, uint64_t align)
{
    for (size_t i = 0; i < a->gap_count; i++) {
        uint64_t base = a->base / a->granule; /* alignment is the address's */
        uint64_t first = gp_align_up_u64(base + a->gaps[i].first, align) - base;
        uint64_t skip = first - a->gaps[i].first;

        if (skip <= a->gaps[i].count && a->gaps[i].count - skip >= count)
            return gap_cut(a, i, first, count) ? first : UINT64_MAX;
    }
    return UINT64_MAX;
}

bool
fe_gap_take_at(struct fe_alloc *a, uint64_t first, uint64_t count)
{
    for (size_t i = 0; i < a->gap_count; i++) {
        const struct gap *g = &a->gaps[i];

        if (first >= g->first && first - g->first <= g->count &&
            count <= g->count - (first - g->first))
            return gap_cut(a, i, first, count);
    }
    return false;
}

/* Without memory for a new gap the addresses are lost, nothing else. */
void
fe_gap_give(struct fe_alloc *a, uint64_t first, uint64_t count)
{
    size_t lo = 0, hi = a->gap_count;
    bool left, right;

    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;

        if (a->gaps[mid].first < first)
            lo = mid + 1;
        else
            hi = mid;
    }
    left = lo > 0 && a->gaps[lo - 1].first + a->gaps[lo - 1].count == first;
    right = lo < a->gap_count && first + count == a->gaps[lo].first;
    if (left) {
        a->gaps[lo - 1].count += count;
        if (right) {
            a->gaps[lo - 1].count += a->gaps[lo].count;
            memmove(&a->gaps[lo], &a->gaps[lo + 1], (--a->gap_count - lo) * sizeof(*a->gaps));
        }
    } else if (right) {
        a->gaps[lo].first = first;
        a->gaps[lo].count += count;
    } else {
        if (!gap_room(a))
            return;
        memmove(&a->gaps[lo + 1], &a->gaps[lo], (a->gap_count++ - lo) * sizeof(*a->gaps));
        a->gaps[lo] = (struct gap){first, count};
    }
}

static enum fe_alloc_result
charge(struct fe_alloc *a, int device, uint64_t bytes, uint64_t *need_p)
{
    uint64_t left = a->device[device].lease - a->device[device].charged;

    if (bytes > left) {
        *need_p = bytes - left;
        return FE_ALLOC_LEASE;
    }
    a->device[device].charged += bytes;
    return FE_ALLOC_OK;
}

/* Charged and named in one step, so that either both happen or neither. */
static enum fe_alloc_result
granules_take(struct fe_alloc *a, int device, uint64_t count, uint64_t *first_p, uint64_t *need_p)
{
    enum fe_alloc_result result = charge(a, device, count * a->granule, need_p);

    if (result != FE_ALLOC_OK)
        return result;
    *first_p = fe_gap_take(a, count, 1);
    if (*first_p != UINT64_MAX)
        return FE_ALLOC_OK;
    a->device[device].charged -= count * a->granule;
    return FE_ALLOC_ADDRESSES;
}

static void
granules_give(struct fe_alloc *a, int device, uint64_t first, uint64_t count, uint64_t charged)
{
    memset(&a->granules[first], 0, count * sizeof(*a->granules));
    a->device[device].charged -= charged;
    fe_gap_give(a, first, count);
}

static enum fe_alloc_result
take_large(struct fe_alloc *a, struct block *b, uint64_t *need_p)
{
    uint64_t count, first = 0;
    enum fe_alloc_result result;

    if (b->pub.bytes > UINT64_MAX / 2)
        return FE_ALLOC_ADDRESSES;
    count = gp_align_up_u64(b->pub.capacity, a->granule) / a->granule;
    result = granules_take(a, b->pub.device, count, &first, need_p);
    if (result != FE_ALLOC_OK)
        return result;
    for (uint64_t i = 0; i < count; i++)
        a->granules[first + i] = (uintptr_t)b;
    b->pub.base = a->base + first * a->granule;
    return FE_ALLOC_OK;
}

/* First unit of a free run of count units in [from, units), or UINT32_MAX; the longest on a miss.
 * Whole blocks are stepped over, so a full slab costs a step a block. */
static uint32_t
slab_search_from(const struct fe_alloc *a, const struct slab *slab, uint32_t from, uint32_t count,
                 uint32_t *longest_p)
{
    uint32_t run = 0, longest = 0;

    for (uint32_t u = from; u < a->units;) {
        const struct block *b = slab->owner[u];

        if (b != NULL) {
            run = 0;
            u = (uint32_t)((b->pub.base - slab->base + b->pub.capacity + FE_ALLOC_UNIT - 1) /
                           FE_ALLOC_UNIT);
            continue;
        }
        u++;
        if (++run == count)
            return u - count;
        if (run > longest)
            longest = run;
    }
    *longest_p = longest;
    return UINT32_MAX;
}

/* Looks first behind the block that was taken last: in a burst the free units are there. */
static uint32_t
slab_search(const struct fe_alloc *a, struct slab *slab, uint32_t count)
{
    uint32_t longest = 0, at = UINT32_MAX;

    if (slab->search_from > 0)
        at = slab_search_from(a, slab, slab->search_from, count, &longest);
    if (at == UINT32_MAX) {
        at = slab_search_from(a, slab, 0, count, &longest);
        if (at == UINT32_MAX)
            slab->longest_max = longest;
    }
    if (at != UINT32_MAX)
        slab->search_from = at + count;
    return at;
}

static enum fe_alloc_result
slab_create(struct fe_alloc *a, int device, struct slab **slab_p, uint64_t *need_p)
{
    struct slab *slab = calloc(1, sizeof(*slab));
    enum fe_alloc_result result;
    uint64_t first = 0;

    if (slab == NULL)
        return FE_ALLOC_MEMORY;
    slab->owner = calloc(a->units, sizeof(struct block *));
    if (slab->owner == NULL) {
        free(slab);
        return FE_ALLOC_MEMORY;
    }
    result = granules_take(a, device, 1, &first, need_p);
    if (result != FE_ALLOC_OK) {
        free(slab->owner);
        free(slab);
        return result;
    }
    slab->base = a->base + first * a->granule;
    slab->device = device;
    slab->longest_max = a->units;
    slab->next = a->device[device].slabs;
    if (slab->next != NULL)
        slab->next->prev = slab;
    a->device[device].slabs = slab;
    a->granules[first] = (uintptr_t)slab | SLAB_TAG;
    *slab_p = slab;
    return FE_ALLOC_OK;
}

static void
slab_destroy(struct fe_alloc *a, struct slab *slab)
{
    if (slab->prev != NULL)
        slab->prev->next = slab->next;
    else
        a->device[slab->device].slabs = slab->next;
    if (slab->next != NULL)
        slab->next->prev = slab->prev;
    granules_give(a, slab->device, granule_of(a, slab->base), 1, a->granule);
    free(slab->owner);
    free(slab);
}

static enum fe_alloc_result
take_small(struct fe_alloc *a, struct block *b, uint64_t *need_p)
{
    uint32_t count = (uint32_t)(b->pub.capacity / FE_ALLOC_UNIT);
    uint32_t at = UINT32_MAX;
    struct slab *slab;

    for (slab = a->device[b->pub.device].slabs; slab != NULL; slab = slab->next) {
        if (slab->longest_max >= count)
            at = slab_search(a, slab, count);
        if (at != UINT32_MAX)
            break;
    }
    if (slab == NULL) {
        enum fe_alloc_result result = slab_create(a, b->pub.device, &slab, need_p);

        if (result != FE_ALLOC_OK)
            return result;
        at = 0;
    }
    for (uint32_t u = at; u < at + count; u++)
        slab->owner[u] = b;
    slab->used_units += count;
    b->pub.base = slab->base + (uint64_t)at * FE_ALLOC_UNIT;
    return FE_ALLOC_OK;
}

/* The slab that a block lies in, or NULL. */
static struct slab *
slab_of(const struct fe_alloc *a, const struct block *b)
{
    uintptr_t word = a->granules[granule_of(a, b->pub.base)];

    return word & SLAB_TAG ? (struct slab *)(word - SLAB_TAG) : NULL;
}

/* What it counts where it does not share a granule. */
static uint64_t
granules_bytes(const struct fe_alloc *a, const struct block *b)
{
    if (b->pub.kind == FE_BLOCK_IPC)
        return 0;
    return gp_align_up_u64(b->pub.capacity, a->granule);
}

static void
list_add(struct block **list, struct block *b)
{
    b->prev = NULL;
    b->next = *list;
    if (b->next != NULL)
        b->next->prev = b;
    *list = b;
}

static void
list_remove(struct block **list, struct block *b)
{
    if (b->prev != NULL)
        b->prev->next = b->next;
    else
        *list = b->next;
    if (b->next != NULL)
        b->next->prev = b->prev;
}

static void
live_add(struct fe_alloc *a, struct block *b)
{
    struct slab *slab = slab_of(a, b);

    if (slab != NULL && slab->live_blocks++ == 0)
        a->device[b->pub.device].live += a->granule;
    if (slab == NULL)
        a->device[b->pub.device].live += granules_bytes(a, b);
    b->pub.id = ++a->next_id;
    list_add(&a->live, b);
    a->device[b->pub.device].blocks++;
}

static void
live_remove(struct fe_alloc *a, struct block *b)
{
    struct slab *slab = slab_of(a, b);

    if (slab != NULL && --slab->live_blocks == 0)
        a->device[b->pub.device].live -= a->granule;
    if (slab == NULL)
        a->device[b->pub.device].live -= granules_bytes(a, b);
    list_remove(&a->live, b);
    list_add(&a->resting, b);
    b->freed = true;
    a->device[b->pub.device].blocks--;
}

enum fe_alloc_result
fe_alloc_take(struct fe_alloc *a, struct fe_block *block, uint64_t *need_p)
{
    struct block *b = calloc(1, sizeof(*b));
    enum fe_alloc_result result;

    if (b == NULL)
        return FE_ALLOC_MEMORY;
    b->pub = *block;
    b->pub.capacity = gp_align_up_u64(b->pub.bytes, FE_ALLOC_UNIT);

    pthread_mutex_lock(&a->lock);
    if (b->pub.bytes >= a->granule / 2)
        result = take_large(a, b, need_p);
    else
        result = take_small(a, b, need_p);
    if (result == FE_ALLOC_OK) {
        live_add(a, b);
        *block = b->pub;
    }
    pthread_mutex_unlock(&a->lock);
    if (result != FE_ALLOC_OK)
        free(b);
    return result;
}

enum fe_alloc_result
fe_alloc_take_run(struct fe_alloc *a, struct fe_block *block, uint64_t granules, uint64_t offset)
{
    struct block *b = calloc(1, sizeof(*b));
    uint64_t first = UINT64_MAX;

    if (b == NULL)
        return FE_ALLOC_MEMORY;
    pthread_mutex_lock(&a->lock);
    if (granules <= a->bytes / a->granule)
        first = fe_gap_take(a, granules, 1);
    if (first != UINT64_MAX) {
        for (uint64_t g = first; g < first + granules; g++)
            a->granules[g] = (uintptr_t)b;
        block->base = a->base + first * a->granule + offset;
        block->capacity = granules * a->granule;
        b->pub = *block;
        live_add(a, b);
        block->id = b->pub.id;
    }
    pthread_mutex_unlock(&a->lock);
    if (first == UINT64_MAX)
        free(b);
    return first == UINT64_MAX ? FE_ALLOC_ADDRESSES : FE_ALLOC_OK;
}

/* What a block really takes. As with the driver, its end is known to a unit only. */
static uint64_t
padded(const struct fe_block *b)
{
    return gp_align_up_u64(b->bytes, FE_ALLOC_UNIT);
}

/* The block that has address, freed, idle, or beyond its end even. */
static struct block *
find_any(const struct fe_alloc *a, uint64_t address)
{
    const struct slab *slab;
    struct block *b;
    uintptr_t word;

    if (!fe_alloc_in_range(a, address))
        return NULL;
    word = a->granules[granule_of(a, address)];
    if (word == RESERVED_WORD)
        return NULL;
    if (word & SLAB_TAG) {
        slab = (const struct slab *)(word - SLAB_TAG);
        b = slab->owner[(address - slab->base) / FE_ALLOC_UNIT];
    } else {
        b = (struct block *)word;
    }
    return b;
}

/* The block around address, freed or not. */
static struct block *
find(const struct fe_alloc *a, uint64_t address)
{
    struct block *b = find_any(a, address);

    return b == NULL || address - b->pub.base >= padded(&b->pub) ? NULL : b;
}

/* Addresses, charge and memory of a block that is not live go back. */
static void
give_back(struct fe_alloc *a, struct block *b)
{
    uint64_t granule = granule_of(a, b->pub.base);
    struct slab *slab;

    list_remove(&a->resting, b);
    if (!(a->granules[granule] & SLAB_TAG)) {
        uint64_t count = gp_align_up_u64(b->pub.capacity, a->granule) / a->granule;

        granules_give(a, b->pub.device, granule, count, granules_bytes(a, b));
        free(b);
        return;
    }
    slab = (struct slab *)(a->granules[granule] - SLAB_TAG);
    for (uint32_t u = (uint32_t)((b->pub.base - slab->base) / FE_ALLOC_UNIT);
         u < a->units && slab->owner[u] == b; u++) {
        slab->owner[u] = NULL;
        slab->used_units--;
    }
    slab->longest_max = a->units;
    if (slab->used_units == 0)
        slab_destroy(a, slab);
    free(b);
}

void
fe_alloc_untake(struct fe_alloc *a, uint64_t base)
{
    struct block *b;

    pthread_mutex_lock(&a->lock);
    b = find(a, base);
    if (b != NULL && !b->freed) {
        live_remove(a, b);
        give_back(a, b);
    }
    pthread_mutex_unlock(&a->lock);
}

bool
fe_alloc_free(struct fe_alloc *a, uint64_t base)
{
    struct block *b;
    bool found;

    pthread_mutex_lock(&a->lock);
    b = find(a, base);
    found = b != NULL && !b->freed && b->pub.base == base && b->pub.kind != FE_BLOCK_MAPPED;
    if (found)
        live_remove(a, b);
    pthread_mutex_unlock(&a->lock);
    return found;
}

void
fe_alloc_reuse(struct fe_alloc *a, uint64_t base)
{
    struct block *b;

    pthread_mutex_lock(&a->lock);
    b = find(a, base);
    if (b != NULL && b->freed && b->pub.base == base)
        give_back(a, b);
    pthread_mutex_unlock(&a->lock);
}

void
fe_alloc_drop_owner(struct fe_alloc *a, const void *owner, fe_block_fn gone, void *user)
{
    struct block *next;

    pthread_mutex_lock(&a->lock);
    for (struct block *b = a->live; b != NULL; b = next) {
        next = b->next;
        if (b->pub.owner != owner)
            continue;
        if (gone != NULL)
            gone(user, &b->pub);
        live_remove(a, b);
        give_back(a, b);
    }
    pthread_mutex_unlock(&a->lock);
}

void
fe_alloc_each(struct fe_alloc *a, fe_block_fn fn, void *user)
{
    pthread_mutex_lock(&a->lock);
    for (const struct block *b = a->live; b != NULL; b = b->next)
        fn(user, &b->pub);
    pthread_mutex_unlock(&a->lock);
}

bool
fe_alloc_set_idle(struct fe_alloc *a, uint64_t base, bool idle, uint64_t bytes)
{
    struct block *b;
    bool good;

    pthread_mutex_lock(&a->lock);
    b = find_any(a, base);
    good = b != NULL && !b->freed && b->pub.base == base && b->pub.idle != idle &&
           (idle || bytes <= b->pub.capacity);
    if (good) {
        b->pub.idle = idle;
        if (!idle) {
            b->pub.bytes = bytes;
            b->pub.id = ++a->next_id;
            b->pub.sync_memops = false;
        }
    }
    pthread_mutex_unlock(&a->lock);
    return good;
}

/* Index of the first foreign block that begins above address. */
static size_t
foreign_above(const struct fe_alloc *a, uint64_t address)
{
    size_t lo = 0, hi = a->foreign_count;

    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;

        if (a->foreign[mid].pub.base <= address)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

void
fe_alloc_add_foreign(struct fe_alloc *a, const struct fe_block *block, const void *key)
{
    size_t at;

    pthread_mutex_lock(&a->lock);
    if (a->foreign_count == a->foreign_room) {
        size_t room = a->foreign_room == 0 ? 16 : 2 * a->foreign_room;
        void *list = realloc(a->foreign, room * sizeof(*a->foreign));

        if (list != NULL) {
            a->foreign = list;
            a->foreign_room = room;
        }
    }
    at = foreign_above(a, block->base);
    if (a->foreign_count < a->foreign_room &&
        (at == 0 || a->foreign[at - 1].pub.base != block->base)) {
        memmove(&a->foreign[at + 1], &a->foreign[at],
                (a->foreign_count++ - at) * sizeof(*a->foreign));
        a->foreign[at] = (struct foreign){*block, key};
        a->foreign[at].pub.id = ++a->next_id;
    }
    pthread_mutex_unlock(&a->lock);
}

void
fe_alloc_drop_foreign(struct fe_alloc *a, const void *key_or_owner)
{
    size_t kept = 0;

    pthread_mutex_lock(&a->lock);
    for (size_t i = 0; i < a->foreign_count; i++)
        if (a->foreign[i].key != key_or_owner && a->foreign[i].pub.owner != key_or_owner)
            a->foreign[kept++] = a->foreign[i];
    a->foreign_count = kept;
    pthread_mutex_unlock(&a->lock);
}

/* The live block or the foreign memory around address; the lock is held. */
static struct fe_block *
around(struct fe_alloc *a, uint64_t address)
{
    struct block *b = find(a, address);
    size_t above;

    if (b != NULL && !b->freed && !b->pub.idle)
        return &b->pub;
    if (fe_alloc_in_range(a, address) || a->foreign_count == 0)
        return NULL;
    above = foreign_above(a, address);
    return above > 0 && address - a->foreign[above - 1].pub.base < a->foreign[above - 1].pub.bytes
               ? &a->foreign[above - 1].pub
               : NULL;
}

bool
fe_alloc_find(struct fe_alloc *a, uint64_t address, struct fe_block *block_p)
{
    const struct fe_block *found;

    pthread_mutex_lock(&a->lock);
    found = around(a, address);
    if (found != NULL)
        *block_p = *found;
    pthread_mutex_unlock(&a->lock);
    return found != NULL;
}

/* What a block really takes up to, from its base. */
static uint64_t
reach(const struct fe_alloc *a, const struct fe_block *b)
{
    return fe_alloc_in_range(a, b->base) ? padded(b) : b->bytes;
}

static bool
covers(struct fe_alloc *a, uint64_t address, uint64_t bytes, bool write)
{
    bool first = true;
    struct fe_block b;

    for (; fe_alloc_find(a, address, &b); first = false) {
        uint64_t here = reach(a, &b) - (address - b.base);

        if (b.kind != FE_BLOCK_MAPPED)
            return first && bytes <= here;
        if (b.multicast || (write ? b.writable : b.readable) == 0)
            return false;
        if (bytes <= here)
            return true;
        /* Mappings that lie side by side are one range. */
        address += here;
        bytes -= here;
    }
    return false;
}

bool
fe_alloc_covers(struct fe_alloc *a, uint64_t address, uint64_t bytes)
{
    return covers(a, address, bytes, false);
}

bool
fe_alloc_writable(struct fe_alloc *a, uint64_t address, uint64_t bytes)
{
    return covers(a, address, bytes, true);
}

bool
fe_alloc_set_sync_memops(struct fe_alloc *a, uint64_t address, bool on)
{
    struct fe_block *b;

    pthread_mutex_lock(&a->lock);
    b = around(a, address);
    if (b != NULL)
        b->sync_memops = on;
    pthread_mutex_unlock(&a->lock);
    return b != NULL;
}

enum fe_alloc_result
fe_alloc_charge(struct fe_alloc *a, int device, uint64_t bytes, uint64_t *need_p)
{
    enum fe_alloc_result result;

    pthread_mutex_lock(&a->lock);
    result = charge(a, device, bytes, need_p);
    if (result == FE_ALLOC_OK)
        a->device[device].live += bytes;
    pthread_mutex_unlock(&a->lock);
    return result;
}

void
fe_alloc_uncharge(struct fe_alloc *a, int device, uint64_t bytes)
{
    pthread_mutex_lock(&a->lock);
    a->device[device].charged -= bytes;
    a->device[device].live -= bytes;
    pthread_mutex_unlock(&a->lock);
}

void
fe_alloc_usage(struct fe_alloc *a, int device, struct fe_alloc_usage *usage_p)
{
    pthread_mutex_lock(&a->lock);
    usage_p->charged = a->device[device].charged;
    usage_p->pending = a->device[device].charged - a->device[device].live;
    usage_p->lease = a->device[device].lease;
    usage_p->blocks = a->device[device].blocks;
    pthread_mutex_unlock(&a->lock);
}
