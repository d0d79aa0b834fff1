/* backend/memory/granules.c -- extents by granule, allocations by address */
#include "backend/memory/granules.h"

#include "protocol/base/util.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

struct be_granules {
    uint64_t base, bytes, granule;
    unsigned shift;
    struct be_extent **extents; /* by granule; mmapped, so that an unused TiB costs nothing */
    size_t extents_bytes;
    struct be_allocation *slots; /* open addressing by address, linear probing */
    size_t slot_count;           /* a power of two */
    size_t used;
    uint64_t end; /* no granule from here on ever had an extent */
};

enum gp_status
be_granules_create(uint64_t base, uint64_t bytes, uint64_t granule_bytes,
                   struct be_granules **map_p)
{
    struct be_granules *map;
    void *extents;

    if (granule_bytes < BE_UNIT_BYTES || (granule_bytes & (granule_bytes - 1)) != 0 ||
        base % granule_bytes != 0 || bytes % granule_bytes != 0 || bytes == 0 ||
        base + bytes < base)
        return GP_ERR_INVALID;
    map = calloc(1, sizeof(*map));
    if (map == NULL)
        return GP_ERR_NO_MEMORY;
    map->base = base;
    map->bytes = bytes;
    map->granule = granule_bytes;
    map->shift = (unsigned)__builtin_ctzll(granule_bytes);
    map->slot_count = 64;
    map->slots = calloc(map->slot_count, sizeof(*map->slots));
    map->extents_bytes = (bytes >> map->shift) * sizeof(*map->extents);
    extents = mmap(NULL, map->extents_bytes, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (map->slots == NULL || extents == MAP_FAILED) {
        if (extents != MAP_FAILED)
            munmap(extents, map->extents_bytes);
        free(map->slots);
        free(map);
        return GP_ERR_NO_MEMORY;
    }
    map->extents = extents;
    *map_p = map;
    return GP_OK;
}

static void
extent_free(struct be_extent *extent)
{
    free(extent->taken);
    free(extent);
}

static uint64_t
granule_of(const struct be_granules *map, uint64_t address)
{
    return (address - map->base) >> map->shift;
}

static uint64_t
granule_address(const struct be_granules *map, uint64_t granule)
{
    return map->base + (granule << map->shift);
}

static uint64_t
last_granule(const struct be_granules *map, uint64_t address, uint64_t bytes)
{
    return granule_of(map, address + bytes - 1);
}

void
be_granules_destroy(struct be_granules *map)
{
    if (map == NULL)
        return;
    for (size_t i = 0; i < map->slot_count; i++) {
        struct be_allocation *a = &map->slots[i];

        if (a->address == 0)
            continue;
        for (uint64_t g = granule_of(map, a->address); g <= last_granule(map, a->address, a->bytes);
             g++) {
            struct be_extent *extent = map->extents[g];

            if (extent == NULL)
                continue;
            for (uint32_t k = 0; k < extent->count; k++)
                map->extents[extent->first + k] = NULL;
            extent_free(extent);
        }
    }
    munmap(map->extents, map->extents_bytes);
    free(map->slots);
    free(map);
}

bool
be_granules_inside(const struct be_granules *map, uint64_t address, uint64_t bytes)
{
    return address >= map->base && address - map->base <= map->bytes &&
           bytes <= map->bytes - (address - map->base);
}

bool
be_granules_mapped(const struct be_granules *map, uint64_t address, uint64_t bytes)
{
    uint64_t g, last;

    if (!be_granules_inside(map, address, bytes))
        return false;
    if (bytes == 0)
        return true;
    last = last_granule(map, address, bytes);
    for (g = granule_of(map, address); g <= last;) {
        const struct be_extent *extent = map->extents[g];

        if (extent == NULL || !extent->mapped)
            return false;
        g = extent->first + extent->count;
    }
    return true;
}

size_t
be_granules_count(const struct be_granules *map)
{
    return map->used;
}

/* -- allocations by address ------------------------------------------------------------------ */

static size_t
slot_home(size_t slot_count, uint64_t address)
{
    return (size_t)((address >> 8) * 0x9e3779b97f4a7c15ull >> 20) & (slot_count - 1);
}

struct be_allocation *
be_granules_find(struct be_granules *map, uint64_t address)
{
    if (address == 0)
        return NULL;
    for (size_t i = slot_home(map->slot_count, address);; i = (i + 1) & (map->slot_count - 1)) {
        if (map->slots[i].address == address)
            return &map->slots[i];
        if (map->slots[i].address == 0)
            return NULL;
    }
}

static enum gp_status
slots_grow(struct be_granules *map)
{
    size_t count = map->slot_count * 2;
    struct be_allocation *slots;

    if (map->used * 2 < map->slot_count)
        return GP_OK;
    if (map->used >= BE_ALLOCATIONS_MAX)
        return GP_ERR_LIMIT;
    slots = calloc(count, sizeof(*slots));
    if (slots == NULL)
        return GP_ERR_NO_MEMORY;
    for (size_t i = 0; i < map->slot_count; i++) {
        size_t to;

        if (map->slots[i].address == 0)
            continue;
        for (to = slot_home(count, map->slots[i].address); slots[to].address != 0;)
            to = (to + 1) & (count - 1);
        slots[to] = map->slots[i];
    }
    free(map->slots);
    map->slots = slots;
    map->slot_count = count;
    return GP_OK;
}

static void
slot_add(struct be_granules *map, const struct be_allocation *allocation)
{
    size_t i = slot_home(map->slot_count, allocation->address);

    while (map->slots[i].address != 0)
        i = (i + 1) & (map->slot_count - 1);
    map->slots[i] = *allocation;
    map->used++;
}

/* Closes the gap so that probing needs no tombstones. */
static void
slot_remove(struct be_granules *map, struct be_allocation *slot)
{
    size_t mask = map->slot_count - 1;
    size_t hole = (size_t)(slot - map->slots);

    for (size_t i = (hole + 1) & mask; map->slots[i].address != 0; i = (i + 1) & mask) {
        size_t home = slot_home(map->slot_count, map->slots[i].address);

        if (((i - home) & mask) >= ((i - hole) & mask)) {
            map->slots[hole] = map->slots[i];
            hole = i;
        }
    }
    memset(&map->slots[hole], 0, sizeof(map->slots[hole]));
    map->used--;
}

void
be_granules_each(struct be_granules *map, be_allocation_fn fn, void *user)
{
    for (size_t i = 0; i < map->slot_count; i++)
        if (map->slots[i].address != 0)
            fn(user, &map->slots[i]);
}

/* -- taking and dropping ---------------------------------------------------------------------- */

/* Units [*from_p, *to_p) of granule g that [address, address + bytes) covers. */
static void
units_of(const struct be_granules *map, uint64_t g, uint64_t address, uint64_t bytes,
         uint32_t *from_p, uint32_t *to_p)
{
    uint64_t begin = gp_max_u64(address, granule_address(map, g));
    uint64_t end = gp_min_u64(address + bytes, granule_address(map, g) + map->granule);

    *from_p = (uint32_t)((begin - granule_address(map, g)) / BE_UNIT_BYTES);
    *to_p = (uint32_t)((end - granule_address(map, g) + BE_UNIT_BYTES - 1) / BE_UNIT_BYTES);
}

/* Bits [from, to) of one word's 32, as far as they are in the range. */
static uint32_t
units_mask(uint32_t word, uint32_t from, uint32_t to)
{
    uint32_t mask = UINT32_MAX;

    if (word == from / 32)
        mask &= UINT32_MAX << (from % 32);
    if (word == (to - 1) / 32)
        mask &= UINT32_MAX >> (31 - (to - 1) % 32);
    return mask;
}

/* from < to in both: an allocation has at least one unit of each granule it touches. */
static bool
units_any(const uint32_t *taken, uint32_t from, uint32_t to)
{
    for (uint32_t word = from / 32; word <= (to - 1) / 32; word++)
        if ((taken[word] & units_mask(word, from, to)) != 0)
            return true;
    return false;
}

static void
units_set(uint32_t *taken, uint32_t from, uint32_t to, bool on)
{
    for (uint32_t word = from / 32; word <= (to - 1) / 32; word++) {
        if (on)
            taken[word] |= units_mask(word, from, to);
        else
            taken[word] &= ~units_mask(word, from, to);
    }
}

static bool
covers_whole(const struct be_granules *map, uint64_t g, uint64_t address, uint64_t bytes)
{
    return address <= granule_address(map, g) &&
           address + bytes >= granule_address(map, g) + map->granule;
}

/* Whether the allocation may have granule g; counts the fresh ones. */
static enum gp_status
granule_check(const struct be_granules *map, uint64_t g, const struct be_allocation *a,
              uint64_t *fresh_p)
{
    const struct be_extent *extent = map->extents[g];
    uint32_t from, to;

    if (extent == NULL) {
        (*fresh_p)++;
        return GP_OK;
    }
    if (extent->taken == NULL || extent->device != a->device || /* also a mapping */
        covers_whole(map, g, a->address, a->bytes))
        return GP_ERR_INVALID;
    units_of(map, g, a->address, a->bytes, &from, &to);
    return units_any(extent->taken, from, to) ? GP_ERR_INVALID : GP_OK;
}

static struct be_extent *
extent_create(struct be_granules *map, uint64_t first, uint32_t count, bool shared, int32_t device)
{
    struct be_extent *extent = calloc(1, sizeof(*extent));

    if (extent == NULL)
        return NULL;
    extent->first = first;
    extent->count = count;
    extent->device = device;
    if (shared) {
        size_t words = (map->granule / BE_UNIT_BYTES + 31) / 32;

        extent->taken = calloc(words, sizeof(uint32_t));
        if (extent->taken == NULL) {
            free(extent);
            return NULL;
        }
    }
    for (uint32_t k = 0; k < count; k++)
        map->extents[first + k] = extent;
    map->end = gp_max_u64(map->end, first + count);
    return extent;
}

/* Make the extents of granules [g, last] and count the allocation in; false without memory, and
 * then *done_p says how far it came. */
static bool
extents_hold(struct be_granules *map, const struct be_allocation *a, uint64_t g, uint64_t last,
             uint64_t *done_p)
{
    while (g <= last) {
        struct be_extent *extent = map->extents[g];
        bool whole = covers_whole(map, g, a->address, a->bytes);
        uint32_t from, to;

        if (extent == NULL) {
            uint64_t count = 1;

            while (whole && g + count <= last && (count + 1) << map->shift <= BE_EXTENT_BYTES_MAX &&
                   covers_whole(map, g + count, a->address, a->bytes))
                count++;
            extent = extent_create(map, g, (uint32_t)count, !whole, a->device);
            if (extent == NULL) {
                *done_p = g;
                return false;
            }
        }
        if (extent->taken != NULL) {
            units_of(map, g, a->address, a->bytes, &from, &to);
            units_set(extent->taken, from, to, true);
        }
        extent->refs++;
        g = extent->first + extent->count;
    }
    *done_p = g;
    return true;
}

static void
extents_release(struct be_granules *map, const struct be_allocation *a, uint64_t end,
                be_extent_gone_fn gone, void *user)
{
    for (uint64_t g = granule_of(map, a->address); g < end;) {
        struct be_extent *extent = map->extents[g];
        uint64_t next = extent->first + extent->count;
        uint32_t from, to;

        if (extent->taken != NULL) {
            units_of(map, g, a->address, a->bytes, &from, &to);
            units_set(extent->taken, from, to, false);
        }
        if (--extent->refs == 0) {
            if (gone != NULL)
                gone(user, extent);
            for (uint32_t k = 0; k < extent->count; k++)
                map->extents[extent->first + k] = NULL;
            extent_free(extent);
        }
        g = next;
    }
}

enum gp_status
be_granules_take(struct be_granules *map, uint64_t address, uint64_t bytes, int32_t device,
                 uint32_t context, uint64_t limit_bytes, uint64_t *fresh_bytes_p)
{
    struct be_allocation a = {
        .address = address, .bytes = bytes, .device = device, .context = context};
    uint64_t fresh = 0, last, done;
    enum gp_status status;

    if (bytes == 0 || address == 0 || address % BE_UNIT_BYTES != 0 ||
        !be_granules_inside(map, address, bytes) || be_granules_find(map, address) != NULL)
        return GP_ERR_INVALID;
    last = last_granule(map, address, bytes);
    /* All but the first and last must be fresh: no walk over what cannot be had. */
    if (last - granule_of(map, address) > 1 &&
        (last - granule_of(map, address) - 1) << map->shift > limit_bytes)
        return GP_ERR_LIMIT;
    for (uint64_t g = granule_of(map, address); g <= last; g++) {
        status = granule_check(map, g, &a, &fresh);
        if (status != GP_OK)
            return status;
    }
    if (fresh << map->shift > limit_bytes)
        return GP_ERR_LIMIT;
    status = slots_grow(map);
    if (status != GP_OK)
        return status;
    if (!extents_hold(map, &a, granule_of(map, address), last, &done)) {
        extents_release(map, &a, done, NULL, NULL);
        return GP_ERR_NO_MEMORY;
    }
    slot_add(map, &a);
    *fresh_bytes_p = fresh << map->shift;
    return GP_OK;
}

/* The granules that extents of these lengths cover, if they end where the bytes do; 0: not. */
static uint64_t
extents_fit(const struct be_granules *map, uint64_t address, uint64_t bytes,
            const uint64_t *extent_bytes, uint32_t extents)
{
    uint64_t granules = 0;

    if (bytes == 0 || address % BE_UNIT_BYTES != 0 || !be_granules_inside(map, address, bytes))
        return 0;
    for (uint32_t i = 0; i < extents; i++) {
        if (extent_bytes[i] == 0 || extent_bytes[i] % map->granule != 0 ||
            extent_bytes[i] > map->bytes)
            return 0;
        granules += extent_bytes[i] >> map->shift;
    }
    return granules == last_granule(map, address, bytes) - granule_of(map, address) + 1 ? granules
                                                                                        : 0;
}

enum gp_status
be_granules_adopt(struct be_granules *map, uint64_t address, uint64_t bytes, int32_t device,
                  uint32_t context, const uint64_t *extent_bytes, uint32_t extents)
{
    struct be_allocation a = {
        .address = address, .bytes = bytes, .device = device, .context = context};
    uint64_t count = extents_fit(map, address, bytes, extent_bytes, extents), g;
    enum gp_status status;

    if (count == 0 || be_granules_find(map, address) != NULL)
        return GP_ERR_INVALID;
    g = granule_of(map, address);
    for (uint64_t k = 0; k < count; k++)
        if (map->extents[g + k] != NULL)
            return GP_ERR_INVALID;
    status = slots_grow(map);
    for (uint32_t i = 0; i < extents && status == GP_OK; i++) {
        struct be_extent *extent =
            extent_create(map, g, (uint32_t)(extent_bytes[i] >> map->shift), false, device);

        if (extent == NULL) {
            extents_release(map, &a, g, NULL, NULL);
            status = GP_ERR_NO_MEMORY;
        } else {
            extent->refs = 1;
            g += extent->count;
        }
    }
    if (status == GP_OK)
        slot_add(map, &a);
    return status;
}

struct be_extent *
be_granules_next_extent(struct be_granules *map, uint64_t address, uint64_t *at_p)
{
    const struct be_allocation *a = be_granules_find(map, address);
    struct be_extent *extent;
    uint64_t g;

    if (a == NULL)
        return NULL;
    g = granule_of(map, address) + *at_p;
    if (g > last_granule(map, a->address, a->bytes))
        return NULL;
    extent = map->extents[g];
    *at_p += extent->first + extent->count - g;
    return extent;
}

enum gp_status
be_granules_drop(struct be_granules *map, uint64_t address, be_extent_gone_fn gone, void *user)
{
    struct be_allocation *slot = be_granules_find(map, address);
    struct be_allocation a;

    if (slot == NULL)
        return GP_ERR_NOT_FOUND;
    a = *slot;
    extents_release(map, &a, last_granule(map, a.address, a.bytes) + 1, gone, user);
    slot_remove(map, slot);
    return GP_OK;
}

/* -- mappings by the client itself ------------------------------------------------------------- */

enum gp_status
be_granules_map(struct be_granules *map, uint64_t address, uint64_t bytes, struct be_phys *phys,
                struct be_extent **extent_p)
{
    struct be_extent *extent;
    uint64_t first, count;

    if (bytes == 0 || address % map->granule != 0 || bytes % map->granule != 0 ||
        !be_granules_inside(map, address, bytes) || bytes >> map->shift > UINT32_MAX)
        return GP_ERR_INVALID;
    first = granule_of(map, address);
    count = bytes >> map->shift;
    for (uint64_t g = first; g < first + count; g++)
        if (map->extents[g] != NULL)
            return GP_ERR_INVALID;
    extent = extent_create(map, first, (uint32_t)count, false, 0);
    if (extent == NULL)
        return GP_ERR_NO_MEMORY;
    extent->refs = 1;
    extent->phys = phys;
    *extent_p = extent;
    return GP_OK;
}

bool
be_granules_tiled(const struct be_granules *map, uint64_t address, uint64_t bytes)
{
    uint64_t g, end;

    if (bytes == 0 || address % map->granule != 0 || bytes % map->granule != 0 ||
        !be_granules_inside(map, address, bytes))
        return false;
    end = granule_of(map, address) + (bytes >> map->shift);
    for (g = granule_of(map, address); g < end;) {
        const struct be_extent *extent = map->extents[g];

        if (extent == NULL || extent->phys == NULL || extent->first != g || extent->count > end - g)
            return false;
        g += extent->count;
    }
    return true;
}

struct be_extent *
be_granules_at(const struct be_granules *map, uint64_t address)
{
    return be_granules_inside(map, address, 1) ? map->extents[granule_of(map, address)] : NULL;
}

struct be_extent *
be_granules_walk(const struct be_granules *map, uint64_t *granule_p)
{
    for (uint64_t g = *granule_p; g < map->end; g++) {
        struct be_extent *extent = map->extents[g];

        if (extent == NULL)
            continue;
        *granule_p = extent->first + extent->count;
        return extent;
    }
    return NULL;
}

void
be_granules_unmap(struct be_granules *map, struct be_extent *mapping)
{
    for (uint32_t k = 0; k < mapping->count; k++)
        map->extents[mapping->first + k] = NULL;
    extent_free(mapping);
}
