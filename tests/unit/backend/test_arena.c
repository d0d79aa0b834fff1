/* tests/unit/backend/test_arena.c -- blocks of host memory; the driver here cannot pin */
#include "backend/memory/arena.h"

#include <criterion/criterion.h>

#include <string.h>

#define MIB (1ull << 20)

static struct be_driver driver;

Test(arena, blocks_do_not_overlap_and_are_used_again)
{
    struct be_arena *arena = be_arena_create(&driver, 2 * MIB);
    uint8_t *blocks[96];

    cr_assert_not_null(arena);
    for (unsigned i = 0; i < 96; i++) {
        blocks[i] = be_arena_take(arena, 2 * MIB);
        cr_assert_not_null(blocks[i]);
        memset(blocks[i], (int)i, 4096);
    }
    cr_assert_eq(be_arena_bytes(arena), 3 * BE_ARENA_SLAB);
    for (unsigned i = 0; i < 96; i++) {
        cr_assert_eq(blocks[i][0], i);
        cr_assert_eq(blocks[i][4095], i);
    }
    for (unsigned i = 0; i < 96; i += 2)
        be_arena_give(arena, blocks[i], 2 * MIB);
    for (unsigned i = 0; i < 96; i += 2)
        blocks[i] = be_arena_take(arena, 2 * MIB);
    cr_assert_eq(be_arena_bytes(arena), 3 * BE_ARENA_SLAB, "the holes are filled first");
    for (unsigned i = 0; i < 96; i++)
        be_arena_give(arena, blocks[i], 2 * MIB);
    be_arena_destroy(arena);
}

Test(arena, a_block_lies_in_one_slab)
{
    struct be_arena *arena = be_arena_create(&driver, 2 * MIB);
    void *half = be_arena_take(arena, 40 * MIB), *other = be_arena_take(arena, 40 * MIB);

    cr_assert_not_null(half);
    cr_assert_not_null(other);
    cr_assert_eq(be_arena_bytes(arena), 2 * BE_ARENA_SLAB);
    cr_assert_not_null(be_arena_take(arena, 24 * MIB));
    cr_assert_eq(be_arena_bytes(arena), 2 * BE_ARENA_SLAB);
    cr_assert_null(be_arena_take(arena, 0));
    cr_assert_null(be_arena_take(arena, BE_ARENA_SLAB + 1));
    be_arena_give(arena, half, 40 * MIB);
    be_arena_give(arena, other, 40 * MIB);
    be_arena_trim(arena, 0);
    cr_assert_eq(be_arena_bytes(arena), BE_ARENA_SLAB, "what is used stays");
    be_arena_destroy(arena);
}

Test(arena, units_are_of_a_kind)
{
    cr_assert_null(be_arena_create(&driver, 4096));
    cr_assert_null(be_arena_create(&driver, 3 * MIB));
    cr_assert_null(be_arena_create(&driver, 2 * BE_ARENA_SLAB));
}
