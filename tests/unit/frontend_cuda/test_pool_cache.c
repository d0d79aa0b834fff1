/* tests/unit/frontend_cuda/test_pool_cache.c -- which kept block a new allocation gets */
#include "frontend/cuda/pool_cache.h"

#include <criterion/criterion.h>
#include <stdlib.h>

#define KIB 1024u

static struct fe_pool_cache cache;

static void
put(uint64_t base, uint64_t bytes)
{
    struct fe_cached *block = calloc(1, sizeof(*block));

    cr_assert_not_null(block);
    block->base = base;
    block->bytes = bytes;
    fe_pool_cache_put(&cache, block);
}

static bool
any(void *user, const struct fe_cached *block)
{
    (void)user;
    (void)block;
    return true;
}

static bool
odd(void *user, const struct fe_cached *block)
{
    (void)user;
    return block->base % 2 == 1;
}

/* The base of what is taken; 0: nothing. */
static uint64_t
take(uint64_t bytes, fe_cached_fn may)
{
    struct fe_cached *block = fe_pool_cache_take(&cache, bytes, may, NULL);
    uint64_t base = block != NULL ? block->base : 0;

    free(block);
    return base;
}

static uint64_t
pop(fe_cached_fn may)
{
    struct fe_cached *block = fe_pool_cache_pop(&cache, may, NULL);
    uint64_t base = block != NULL ? block->base : 0;

    free(block);
    return base;
}

static void
empty(void)
{
    while (pop(NULL) != 0)
        ;
    cr_assert_eq(cache.count, 0);
}

TestSuite(pool_cache, .fini = empty);

Test(pool_cache, the_smallest_that_fits_is_taken)
{
    put(1, 8 * KIB);
    put(2, 4 * KIB);
    put(3, 5 * KIB);
    cr_assert_eq(take(4 * KIB + 1, any), 3);
    cr_assert_eq(take(4 * KIB, any), 2);
    cr_assert_eq(take(4 * KIB, any), 1);
    cr_assert_eq(take(1, any), 0);
}

Test(pool_cache, half_is_wasted_at_most)
{
    put(1, 8 * KIB);
    cr_assert_eq(take(4 * KIB - 1, any), 0);
    cr_assert_eq(take(8 * KIB + 1, any), 0);
    cr_assert_eq(take(4 * KIB, any), 1);
    put(2, 6 * KIB); /* across a power of two */
    cr_assert_eq(take(3 * KIB, any), 2);
}

Test(pool_cache, who_may_not_does_not_get_it)
{
    put(2, 4 * KIB);
    put(3, 5 * KIB);
    cr_assert_eq(take(4 * KIB, odd), 3);
    cr_assert_eq(take(4 * KIB, odd), 0);
    cr_assert_eq(take(4 * KIB, any), 2);
}

Test(pool_cache, the_largest_goes_first_when_memory_is_short)
{
    put(1, KIB);
    put(2, 1u << 20);
    put(3, 1u << 12);
    cr_assert_eq(pop(odd), 3);
    cr_assert_eq(pop(NULL), 2);
    cr_assert_eq(pop(NULL), 1);
    cr_assert_eq(pop(NULL), 0);
    cr_assert_eq(cache.count, 0);
}
