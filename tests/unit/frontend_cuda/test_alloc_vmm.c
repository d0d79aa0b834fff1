/* tests/unit/frontend_cuda/test_alloc_vmm.c -- ranges and mappings of the program's own */
#include "frontend/cuda/alloc.h"

#include <criterion/criterion.h>
#include <stdlib.h>

#define G    (2ull << 20)
#define BASE 0x600000000000ull

static struct fe_alloc *a;
static int object;

static void
setup(void)
{
    a = fe_alloc_create(BASE, 64 * G, G);
    cr_assert_not_null(a);
    fe_alloc_grant(a, 0, 16 * G);
}

static void
teardown(void)
{
    fe_alloc_destroy(a);
}

TestSuite(alloc_vmm, .init = setup, .fini = teardown);

static enum fe_alloc_result
map(uint64_t base, uint64_t bytes)
{
    struct fe_block b = {.base = base, .bytes = bytes, .object = &object};

    return fe_alloc_map(a, &b);
}

static void
count_gone(void *user, const struct fe_block *mapping)
{
    cr_assert_eq(mapping->object, &object);
    ++*(int *)user;
}

static uint64_t
charged(void)
{
    struct fe_alloc_usage usage;

    fe_alloc_usage(a, 0, &usage);
    return usage.charged;
}

Test(alloc_vmm, a_reservation_costs_addresses_and_no_lease)
{
    uint64_t one = fe_alloc_reserve(a, 60 * G, 0, 0), need = 0;
    struct fe_block b = {.bytes = 5 * G};

    cr_assert_neq(one, 0);
    cr_assert_eq(charged(), 0);
    cr_assert_eq(fe_alloc_reserve(a, 5 * G, 0, 0), 0);
    cr_assert_eq(fe_alloc_take(a, &b, &need), FE_ALLOC_ADDRESSES);
    cr_assert(fe_alloc_unreserve(a, one, 60 * G));
    cr_assert_not(fe_alloc_unreserve(a, one, 60 * G));
    cr_assert_eq(fe_alloc_take(a, &b, &need), FE_ALLOC_OK);
    cr_assert_eq(fe_alloc_reserve(a, UINT64_MAX / G * G, 0, 0), 0);
}

Test(alloc_vmm, a_wish_is_granted_where_it_is_free_and_alignment_always)
{
    uint64_t at = BASE + 10 * G, big = 16 * G;

    cr_assert_eq(fe_alloc_reserve(a, 2 * G, 0, at), at);
    cr_assert_neq(fe_alloc_reserve(a, 2 * G, 0, at), at);
    cr_assert_neq(fe_alloc_reserve(a, 2 * G, 0, at + G), at + G);
    cr_assert_eq(fe_alloc_reserve(a, 2 * G, 0, at + 2 * G), at + 2 * G);
    cr_assert_eq(fe_alloc_reserve(a, G, big, 0) % big, 0);
    cr_assert_eq(fe_alloc_reserve(a, G, big, BASE + G) % big, 0);
    cr_assert_neq(fe_alloc_reserve(a, G, 0, 0xdead0000000ull), 0);
}

Test(alloc_vmm, mappings_stay_inside_one_reservation)
{
    uint64_t one = fe_alloc_reserve(a, 4 * G, 0, BASE);
    uint64_t two = fe_alloc_reserve(a, 4 * G, 0, BASE + 4 * G);

    cr_assert_eq(one + 4 * G, two);
    cr_assert_eq(map(one + 3 * G, 2 * G), FE_ALLOC_ADDRESSES);
    cr_assert_eq(map(two + 4 * G, G), FE_ALLOC_ADDRESSES);
    cr_assert_eq(map(one, 0), FE_ALLOC_ADDRESSES);
    cr_assert_eq(map(one + 1, G), FE_ALLOC_ADDRESSES);
    cr_assert_eq(map(one, G + 1), FE_ALLOC_ADDRESSES);
    cr_assert_eq(map(BASE - G, G), FE_ALLOC_ADDRESSES);
    cr_assert_eq(map(one, UINT64_MAX / G * G), FE_ALLOC_ADDRESSES);
    cr_assert_eq(map(one + 2 * G, 2 * G), FE_ALLOC_OK);
    cr_assert_eq(map(one + 3 * G, G), FE_ALLOC_ADDRESSES);
    cr_assert_not(fe_alloc_unreserve(a, one, 4 * G), "something is mapped in it");
    cr_assert(fe_alloc_unreserve(a, two, 4 * G));
}

Test(alloc_vmm, neighbours_are_one_range_to_copies_once_they_are_open)
{
    uint64_t at = fe_alloc_reserve(a, 8 * G, 0, 0);
    struct fe_block b;

    cr_assert_eq(map(at, G), FE_ALLOC_OK);
    cr_assert_eq(map(at + G, 2 * G), FE_ALLOC_OK);
    cr_assert_not(fe_alloc_covers(a, at, 16), "without access it is nothing");
    cr_assert(fe_alloc_set_access(a, at, 3 * G, 1, 1, 1));
    cr_assert(fe_alloc_covers(a, at, 3 * G));
    cr_assert(fe_alloc_covers(a, at + G - 1, 2));
    cr_assert_not(fe_alloc_covers(a, at, 3 * G + 1));
    cr_assert(fe_alloc_find(a, at + 2 * G, &b));
    cr_assert_eq(b.base, at + G);
    cr_assert_eq(b.kind, FE_BLOCK_MAPPED);
    cr_assert(fe_alloc_set_access(a, at + G, 2 * G, 1, 0, 0));
    cr_assert_not(fe_alloc_covers(a, at + G - 1, 2));
    cr_assert_not(fe_alloc_set_access(a, at, 2 * G, 1, 1, 1), "half of a mapping");
    cr_assert_not(fe_alloc_free(a, at), "cuMemFree is not for mappings");
}

Test(alloc_vmm, whole_mappings_are_unmapped_and_may_come_back)
{
    uint64_t at = fe_alloc_reserve(a, 8 * G, 0, 0);
    int gone = 0;

    cr_assert_eq(map(at, G), FE_ALLOC_OK);
    cr_assert_eq(map(at + G, 2 * G), FE_ALLOC_OK);
    cr_assert_not(fe_alloc_unmap(a, at, 2 * G, count_gone, &gone));
    cr_assert_not(fe_alloc_unmap(a, at, 4 * G, count_gone, &gone));
    cr_assert_not(fe_alloc_unmap(a, at + 2 * G, G, count_gone, &gone));
    cr_assert_eq(gone, 0);
    cr_assert(fe_alloc_unmap(a, at, 3 * G, count_gone, &gone));
    cr_assert_eq(gone, 2);
    cr_assert_not(fe_alloc_unmap(a, at, 3 * G, count_gone, &gone));
    cr_assert_eq(map(at + G, 4 * G), FE_ALLOC_OK);
}

Test(alloc_vmm, objects_without_address_count_against_the_lease)
{
    uint64_t need = 0;

    cr_assert_eq(fe_alloc_charge(a, 0, 15 * G, &need), FE_ALLOC_OK);
    cr_assert_eq(fe_alloc_charge(a, 0, 2 * G, &need), FE_ALLOC_LEASE);
    cr_assert_eq(need, G);
    fe_alloc_uncharge(a, 0, 15 * G);
    cr_assert_eq(charged(), 0);
}

Test(alloc_vmm, an_idle_block_is_no_address_and_comes_back_as_another)
{
    struct fe_block b = {.bytes = 3000, .kind = FE_BLOCK_POOL}, found;
    uint64_t need = 0, id;

    cr_assert_eq(fe_alloc_take(a, &b, &need), FE_ALLOC_OK);
    cr_assert_eq(b.capacity, 3072);
    id = b.id;
    cr_assert(fe_alloc_set_idle(a, b.base, true, 0));
    cr_assert_not(fe_alloc_set_idle(a, b.base, true, 0));
    cr_assert_not(fe_alloc_find(a, b.base, &found));
    cr_assert_not(fe_alloc_covers(a, b.base, 1));
    cr_assert_not(fe_alloc_set_idle(a, b.base, false, 3073));
    cr_assert(fe_alloc_set_idle(a, b.base, false, 100));
    cr_assert(fe_alloc_find(a, b.base, &found));
    cr_assert_eq(found.bytes, 100);
    cr_assert_neq(found.id, id);
    cr_assert(fe_alloc_set_idle(a, b.base, true, 0));
    cr_assert(fe_alloc_set_idle(a, b.base, false, 3072), "its capacity stays");
    cr_assert(fe_alloc_free(a, b.base));
}
