/* tests/unit/backend/test_granules.c -- who has which bytes of the reserved range */
#include "backend/memory/granules.h"

#include <criterion/criterion.h>

#include <stdlib.h>
#include <string.h>

#define BASE    0x300000000000ull
#define GRANULE (2ull << 20)

static struct be_granules *
make(uint64_t granules)
{
    struct be_granules *map;
    enum gp_status status = be_granules_create(BASE, granules * GRANULE, GRANULE, &map);

    cr_assert_eq(status, GP_OK);
    return map;
}

static enum gp_status
take(struct be_granules *map, uint64_t offset, uint64_t bytes, uint64_t *fresh)
{
    return be_granules_take(map, BASE + offset, bytes, 0, 1, UINT64_MAX, fresh);
}

static void
count_gone(void *user, struct be_extent *extent)
{
    *(uint64_t *)user += extent->count;
}

Test(granules, small_allocations_share_a_granule_until_the_last_is_gone)
{
    struct be_granules *map = make(16);
    uint64_t fresh = 0, gone = 0;

    cr_assert_eq(take(map, 0, 1000, &fresh), GP_OK);
    cr_assert_eq(fresh, GRANULE);
    cr_assert_eq(take(map, 1024, 1, &fresh), GP_OK);
    cr_assert_eq(fresh, 0);
    cr_assert_eq(be_granules_drop(map, BASE, count_gone, &gone), GP_OK);
    cr_assert_eq(gone, 0);
    cr_assert_eq(be_granules_drop(map, BASE + 1024, count_gone, &gone), GP_OK);
    cr_assert_eq(gone, 1);
    cr_assert_eq(be_granules_drop(map, BASE, count_gone, &gone), GP_ERR_NOT_FOUND);
    be_granules_destroy(map);
}

Test(granules, large_allocations_fall_into_extents_of_64_mib)
{
    struct be_granules *map = make(1024);
    uint64_t fresh, at = 0, bytes = 0;
    struct be_extent *extent;
    unsigned count = 0;

    cr_assert_eq(take(map, 0, 200 * GRANULE + 5, &fresh), GP_OK);
    cr_assert_eq(fresh, 201 * GRANULE);
    while ((extent = be_granules_next_extent(map, BASE, &at)) != NULL) {
        cr_assert_leq(extent->count * GRANULE, BE_EXTENT_BYTES_MAX);
        cr_assert_eq(extent->first, bytes / GRANULE);
        bytes += extent->count * GRANULE;
        count++;
    }
    cr_assert_eq(bytes, 201 * GRANULE);
    cr_assert_eq(count, 8); /* six of 64 MiB, the rest, the shared tail */
    be_granules_destroy(map);
}

Test(granules, refuses_what_is_not_to_be_had)
{
    struct be_granules *map = make(16);
    uint64_t fresh, end = 16 * GRANULE;

    cr_assert_eq(take(map, 4096, 8192, &fresh), GP_OK);
    cr_assert_eq(take(map, 4096, 8192, &fresh), GP_ERR_INVALID); /* the same */
    cr_assert_eq(take(map, 0, 4352, &fresh), GP_ERR_INVALID);    /* overlaps its head */
    cr_assert_eq(take(map, 12032, 256, &fresh), GP_ERR_INVALID); /* its last unit */
    cr_assert_eq(take(map, 0, GRANULE, &fresh), GP_ERR_INVALID); /* all of a shared granule */
    cr_assert_eq(take(map, 12288, 1, &fresh), GP_OK);            /* right behind it */
    cr_assert_eq(take(map, 0, 0, &fresh), GP_ERR_INVALID);
    cr_assert_eq(take(map, 13000, 4, &fresh), GP_ERR_INVALID); /* misaligned */
    cr_assert_eq(take(map, end, 1, &fresh), GP_ERR_INVALID);
    cr_assert_eq(take(map, end - 256, 512, &fresh), GP_ERR_INVALID);
    cr_assert_eq(take(map, GRANULE, UINT64_MAX - 5, &fresh), GP_ERR_INVALID);
    cr_assert_eq(take(map, -4096ull, 4096, &fresh), GP_ERR_INVALID);
    cr_assert_eq(be_granules_take(map, BASE + 20480, 256, 1, 1, UINT64_MAX, &fresh),
                 GP_ERR_INVALID); /* another device's granule */
    cr_assert_eq(be_granules_take(map, BASE + GRANULE, 3 * GRANULE, 0, 1, 2 * GRANULE, &fresh),
                 GP_ERR_LIMIT);
    cr_assert_null(be_granules_find(map, BASE + GRANULE));
    cr_assert_eq(be_granules_count(map), 2);
    be_granules_destroy(map);
}

Test(granules, says_what_is_mapped)
{
    struct be_granules *map = make(16);
    uint64_t fresh, at = 0;

    cr_assert_eq(take(map, GRANULE, 2 * GRANULE, &fresh), GP_OK);
    cr_assert(!be_granules_mapped(map, BASE + GRANULE, 1));
    be_granules_next_extent(map, BASE + GRANULE, &at)->mapped = true;
    cr_assert(be_granules_mapped(map, BASE + GRANULE, 2 * GRANULE));
    cr_assert(!be_granules_mapped(map, BASE + GRANULE, 2 * GRANULE + 1));
    cr_assert(!be_granules_mapped(map, BASE + GRANULE - 1, 2));
    cr_assert(!be_granules_mapped(map, BASE + GRANULE, UINT64_MAX));
    cr_assert(!be_granules_mapped(map, 0, 1));
    cr_assert(be_granules_mapped(map, BASE, 0));
    be_granules_destroy(map);
}

/* Every answer against a flat model: one owner for each unit. */
Test(granules, agrees_with_a_flat_model)
{
    enum {
        GRANULES = 24,
        UNITS = GRANULES * (int)(GRANULE / BE_UNIT_BYTES),
        LIVE = 200
    };
    struct be_granules *map = make(GRANULES);
    uint16_t *owner = calloc(UNITS, sizeof(*owner));
    uint64_t live[LIVE][2] = {{0}}, seed = 12345, mapped = 0;

    for (int step = 0; step < 20000; step++) {
        int slot;
        uint64_t fresh, gone = 0, offset, bytes;
        bool free_there = true;
        enum gp_status status;

        seed = seed * 6364136223846793005ull + 1442695040888963407ull;
        slot = (int)(seed >> 33) % LIVE;
        if (live[slot][1] != 0) {
            cr_assert_eq(be_granules_drop(map, BASE + live[slot][0], count_gone, &gone), GP_OK);
            for (uint64_t u = live[slot][0] / 256; u <= (live[slot][0] + live[slot][1] - 1) / 256;
                 u++)
                owner[u] = 0;
            mapped -= gone;
            live[slot][1] = 0;
            continue;
        }
        offset = (seed >> 20) % UNITS * 256;
        bytes = (seed >> 7) % 4 == 0 ? (seed >> 40) % (3 * GRANULE) + 1 : (seed >> 40) % 5000 + 1;
        if (offset + bytes > GRANULES * GRANULE)
            continue;
        for (uint64_t u = offset / 256; u <= (offset + bytes - 1) / 256; u++)
            free_there = free_there && owner[u] == 0;
        status = take(map, offset, bytes, &fresh);
        if (!free_there) {
            cr_assert_eq(status, GP_ERR_INVALID, "step %d", step);
            continue;
        }
        cr_assert_eq(status, GP_OK, "step %d", step);
        for (uint64_t u = offset / 256; u <= (offset + bytes - 1) / 256; u++)
            owner[u] = (uint16_t)(slot + 1);
        live[slot][0] = offset;
        live[slot][1] = bytes;
        mapped += fresh / GRANULE;
    }
    /* What is counted as mapped is what some allocation touches. */
    for (uint64_t g = 0; g < GRANULES; g++) {
        bool touched = false;

        for (uint64_t u = 0; u < GRANULE / 256; u++)
            touched = touched || owner[g * (GRANULE / 256) + u] != 0;
        mapped -= touched;
    }
    cr_assert_eq(mapped, 0);
    free(owner);
    be_granules_destroy(map);
}

Test(granules, extents_of_given_lengths_are_taken_where_they_fit)
{
    const uint64_t parts[] = {2 * GRANULE, GRANULE}, odd[] = {GRANULE + 1}, none[] = {0};
    struct be_granules *map = make(16);
    struct be_extent *extent;
    uint64_t fresh = 0, gone = 0, at = 0, offset = GRANULE + 512;
    enum gp_status status;

    cr_assert_eq(take(map, 0, 100, &fresh), GP_OK);
#define ADOPT(offset, bytes, parts, n)                                                             \
    be_granules_adopt(map, BASE + (offset), bytes, 0, 1, parts, n)
    cr_assert_eq(ADOPT(offset, 2 * GRANULE, parts, 1), GP_ERR_INVALID, "longer than its extents");
    cr_assert_eq(ADOPT(offset, GRANULE, parts, 2), GP_ERR_INVALID, "shorter");
    cr_assert_eq(ADOPT(offset, 100, odd, 1), GP_ERR_INVALID);
    cr_assert_eq(ADOPT(offset, 100, none, 1), GP_ERR_INVALID);
    cr_assert_eq(ADOPT(offset, 100, parts, 0), GP_ERR_INVALID);
    cr_assert_eq(ADOPT(0, 2 * GRANULE, parts, 1), GP_ERR_INVALID, "something is there");
    cr_assert_eq(ADOPT(15 * GRANULE, 2 * GRANULE, parts, 1), GP_ERR_INVALID, "beyond the end");
    cr_assert_eq(ADOPT(offset, 2 * GRANULE + 8, parts, 2), GP_OK);
    cr_assert_eq(ADOPT(offset, 2 * GRANULE + 8, parts, 2), GP_ERR_INVALID);
    extent = be_granules_next_extent(map, BASE + offset, &at);
    cr_assert_eq(extent->count, 2);
    extent = be_granules_next_extent(map, BASE + offset, &at);
    cr_assert_eq(extent->count, 1);
    cr_assert_null(be_granules_next_extent(map, BASE + offset, &at));
    cr_assert_eq(take(map, 2 * GRANULE, 100, &fresh), GP_ERR_INVALID);
    status = be_granules_drop(map, BASE + offset, count_gone, &gone);
    cr_assert_eq(status, GP_OK);
    cr_assert_eq(gone, 3);
    cr_assert_eq(take(map, 2 * GRANULE, 100, &fresh), GP_OK);
    be_granules_destroy(map);
}

Test(granules, mappings_and_allocations_keep_apart)
{
    struct be_granules *map = make(16);
    struct be_phys *phys = (struct be_phys *)map; /* only compared */
    struct be_extent *mapping = NULL;
    uint64_t fresh = 0;

    cr_assert_eq(take(map, 0, 100, &fresh), GP_OK);
    cr_assert_eq(be_granules_map(map, BASE, GRANULE, phys, &mapping), GP_ERR_INVALID);
    cr_assert_eq(be_granules_map(map, BASE + GRANULE, 0, phys, &mapping), GP_ERR_INVALID);
    cr_assert_eq(be_granules_map(map, BASE + GRANULE + 1, GRANULE, phys, &mapping), GP_ERR_INVALID);
    cr_assert_eq(be_granules_map(map, BASE + 15 * GRANULE, 2 * GRANULE, phys, &mapping),
                 GP_ERR_INVALID);
    cr_assert_eq(be_granules_map(map, BASE + GRANULE, 2 * GRANULE, phys, &mapping), GP_OK);
    cr_assert_eq(be_granules_at(map, BASE + 2 * GRANULE), mapping);
    cr_assert(be_granules_tiled(map, BASE + GRANULE, 2 * GRANULE));
    cr_assert_not(be_granules_tiled(map, BASE + GRANULE, GRANULE));
    cr_assert_not(be_granules_tiled(map, BASE, 3 * GRANULE));
    cr_assert_not(be_granules_tiled(map, BASE + GRANULE, 3 * GRANULE));
    cr_assert_eq(take(map, GRANULE - 256, 512, &fresh), GP_ERR_INVALID);
    be_granules_unmap(map, mapping);
    cr_assert_eq(take(map, GRANULE - 256, 512, &fresh), GP_OK);
    be_granules_destroy(map);
}
