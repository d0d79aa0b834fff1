/* tests/unit/frontend_cuda/test_alloc.c -- addresses that the client chooses */
#include "frontend/cuda/alloc.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#define MIB     (1u << 20)
#define BASE    0x600000000000ull
#define GRANULE (2ull * MIB)

static struct fe_alloc *a;

static void
setup(void)
{
    a = fe_alloc_create(BASE, 64 * GRANULE, GRANULE);
    cr_assert_not_null(a);
    fe_alloc_grant(a, 0, 16 * GRANULE);
    fe_alloc_grant(a, 1, 4 * GRANULE);
}

static void
teardown(void)
{
    fe_alloc_destroy(a);
}

static enum fe_alloc_result
raw_take(int device, uint64_t bytes, const void *owner, uint64_t *base_p, uint64_t *need_p)
{
    struct fe_block b = {.device = device, .bytes = bytes, .owner = owner};
    enum fe_alloc_result result = fe_alloc_take(a, &b, need_p);

    if (result == FE_ALLOC_OK)
        *base_p = b.base;
    return result;
}

static uint64_t
take(int device, uint64_t bytes)
{
    uint64_t base = 0, need;

    cr_assert_eq(raw_take(device, bytes, &a, &base, &need), FE_ALLOC_OK);
    return base;
}

static uint64_t
charged(int device)
{
    struct fe_alloc_usage usage;

    fe_alloc_usage(a, device, &usage);
    return usage.charged;
}

TestSuite(alloc, .init = setup, .fini = teardown);

Test(alloc, small_blocks_share_a_granule_and_are_aligned_to_512)
{
    uint64_t one = take(0, 1), two = take(0, 513), three = take(0, 512);

    cr_expect_eq(one % 512, 0);
    cr_expect_eq(two, one + 512);
    cr_expect_eq(three, two + 1024);
    cr_expect_eq(charged(0), GRANULE);
}

Test(alloc, devices_never_share_a_granule)
{
    uint64_t one = take(0, 256), two = take(1, 256);

    cr_expect_neq((one - BASE) / GRANULE, (two - BASE) / GRANULE);
    cr_expect_eq(charged(0), GRANULE);
    cr_expect_eq(charged(1), GRANULE);
}

Test(alloc, large_blocks_get_whole_granules)
{
    uint64_t big = take(0, GRANULE + 1);

    cr_expect_eq(big % GRANULE, 0);
    cr_expect_eq(charged(0), 2 * GRANULE);
}

Test(alloc, a_freed_block_is_neither_found_nor_reused_before_the_server_says_so)
{
    uint64_t one = take(0, 4 * GRANULE), two;
    struct fe_block block;

    cr_expect(fe_alloc_find(a, one + 5, &block));
    cr_expect_eq(block.base, one);
    cr_expect_eq(block.bytes, 4 * GRANULE);
    cr_expect(fe_alloc_free(a, one));
    cr_expect_not(fe_alloc_find(a, one, &block));
    cr_expect_not(fe_alloc_free(a, one), "freed twice");
    cr_expect_eq(charged(0), 4 * GRANULE);
    two = take(0, 4 * GRANULE);
    cr_expect_neq(two, one);
    fe_alloc_reuse(a, one);
    cr_expect_eq(charged(0), 4 * GRANULE);
    cr_expect_eq(take(0, 4 * GRANULE), one);
}

Test(alloc, what_only_freed_blocks_hold_is_pending)
{
    uint64_t one = take(0, 4 * GRANULE), two = take(0, 100), three = take(0, 100);
    struct fe_alloc_usage usage;

    fe_alloc_free(a, one);
    fe_alloc_free(a, two);
    fe_alloc_usage(a, 0, &usage);
    cr_expect_eq(usage.pending, 4 * GRANULE);
    fe_alloc_free(a, three);
    fe_alloc_usage(a, 0, &usage);
    cr_expect_eq(usage.pending, 5 * GRANULE);
    fe_alloc_reuse(a, one);
    fe_alloc_reuse(a, two);
    fe_alloc_reuse(a, three);
    fe_alloc_usage(a, 0, &usage);
    cr_expect_eq(usage.pending, 0);
    cr_expect_eq(usage.charged, 0);
}

Test(alloc, foreign_memory_is_found_until_its_module_goes)
{
    struct fe_block global = {.base = 0x10000, .bytes = 256, .owner = &global}, found;
    int module = 0;

    fe_alloc_add_foreign(a, &global, &module);
    cr_expect(fe_alloc_find(a, 0x100ff, &found));
    cr_expect_eq(found.base, 0x10000);
    cr_expect_not(fe_alloc_find(a, 0x10100, &found));
    cr_expect_not(fe_alloc_find(a, 0xffff, &found));
    cr_expect_not(fe_alloc_free(a, 0x10000));
    fe_alloc_drop_foreign(a, &module);
    cr_expect_not(fe_alloc_find(a, 0x10000, &found));
}

Test(alloc, the_lease_is_the_limit_and_names_what_lacks)
{
    uint64_t base, need = 0;

    take(1, 3 * GRANULE);
    cr_assert_eq(raw_take(1, 2 * GRANULE, NULL, &base, &need), FE_ALLOC_LEASE);
    cr_expect_eq(need, GRANULE);
    fe_alloc_grant(a, 1, need);
    cr_assert_eq(raw_take(1, 2 * GRANULE, NULL, &base, &need), FE_ALLOC_OK);
}

Test(alloc, what_does_not_fit_the_range_is_said_so)
{
    uint64_t base, need;

    fe_alloc_grant(a, 0, 1ull << 60);
    cr_expect_eq(raw_take(0, 65 * GRANULE, NULL, &base, &need), FE_ALLOC_ADDRESSES);
    cr_expect_eq(raw_take(0, UINT64_MAX, NULL, &base, &need), FE_ALLOC_ADDRESSES);
    cr_expect_eq(charged(0), 0);
}

Test(alloc, an_inner_or_foreign_address_cannot_be_freed)
{
    uint64_t one = take(0, 4096);

    cr_expect_not(fe_alloc_free(a, one + 512));
    cr_expect_not(fe_alloc_free(a, BASE + 50 * GRANULE));
    cr_expect_not(fe_alloc_free(a, 16));
    fe_alloc_reuse(a, one); /* still live: ignored */
    cr_expect(fe_alloc_free(a, one));
}

Test(alloc, a_range_is_covered_only_inside_one_block)
{
    uint64_t one = take(0, 1000);

    take(0, 1000);
    cr_expect(fe_alloc_covers(a, one, 1000));
    cr_expect(fe_alloc_covers(a, one + 999, 1));
    cr_expect(fe_alloc_covers(a, one, 1024), "the end is known to a unit");
    cr_expect_not(fe_alloc_covers(a, one, 1025));
    cr_expect_not(fe_alloc_covers(a, one + 2048, 0), "the gap belongs to nobody");
    cr_expect_not(fe_alloc_covers(a, one, UINT64_MAX));
}

Test(alloc, what_a_context_had_goes_with_it)
{
    struct fe_alloc_usage usage;
    uint64_t base, need;
    int x, y;

    for (int i = 0; i < 10; i++)
        cr_assert_eq(raw_take(0, i % 3 == 0 ? 3 * GRANULE / 2 : 100,
                              i % 2 ? (void *)&x : (void *)&y, &base, &need),
                     0);
    fe_alloc_drop_owner(a, &x, NULL, NULL);
    fe_alloc_usage(a, 0, &usage);
    cr_expect_eq(usage.blocks, 5);
    cr_expect_eq(usage.pending, 0);
    fe_alloc_drop_owner(a, &y, NULL, NULL);
    fe_alloc_usage(a, 0, &usage);
    cr_expect_eq(usage.blocks, 0);
    cr_expect_eq(usage.charged, 0);
}

Test(alloc, random_use_never_hands_out_an_address_twice_and_gives_everything_back)
{
    static struct {
        uint64_t base, bytes;
    } held[256];
    struct fe_alloc_usage usage;
    uint64_t need;

    fe_alloc_grant(a, 0, 48 * GRANULE);
    srand(7);
    for (int step = 0; step < 20000; step++) {
        int i = rand() % 256;

        if (held[i].base != 0) {
            cr_assert(fe_alloc_free(a, held[i].base));
            fe_alloc_reuse(a, held[i].base);
            held[i].base = 0;
            continue;
        }
        held[i].bytes =
            rand() % 8 == 0 ? (uint64_t)rand() % (3 * GRANULE) + 1 : (uint64_t)rand() % 60000 + 1;
        if (raw_take(0, held[i].bytes, NULL, &held[i].base, &need) != FE_ALLOC_OK) {
            held[i].base = 0;
            continue;
        }
        for (int j = 0; j < 256; j++)
            cr_assert(j == i || held[j].base == 0 || held[i].base + held[i].bytes <= held[j].base ||
                      held[j].base + held[j].bytes <= held[i].base);
    }
    for (int i = 0; i < 256; i++)
        if (held[i].base != 0) {
            cr_assert(fe_alloc_free(a, held[i].base));
            fe_alloc_reuse(a, held[i].base);
        }
    fe_alloc_usage(a, 0, &usage);
    cr_expect_eq(usage.charged, 0);
    cr_expect_eq(usage.blocks, 0);
    cr_expect_eq(take(0, 60 * GRANULE), BASE);
}

Test(alloc, an_unused_lease_goes_back_and_what_is_charged_stays)
{
    uint64_t base = take(0, 3 * GRANULE), need;

    cr_assert(fe_alloc_free(a, base));
    cr_expect_eq(fe_alloc_shrink(a, 0), 13 * GRANULE, "the server still has the freed block");
    cr_expect_eq(fe_alloc_shrink(a, 0), 0);
    cr_expect_eq(raw_take(0, GRANULE, &a, &base, &need), FE_ALLOC_LEASE);
    cr_expect_eq(need, GRANULE);
    fe_alloc_reuse(a, base);
    cr_expect_eq(fe_alloc_shrink(a, 0), 3 * GRANULE);
    cr_expect_eq(fe_alloc_shrink(a, 1), 4 * GRANULE);
}
