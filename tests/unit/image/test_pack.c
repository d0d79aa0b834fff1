/* tests/unit/image/test_pack.c -- when packing pays, and that it does not do it otherwise */
#include "protocol/base/compress.h"
#include "protocol/base/pack.h"

#include <criterion/criterion.h>

#include <stdlib.h>
#include <string.h>

#define MB 1000000ull
#define S  1000000000ull

Test(pack, pays_where_the_line_is_slower_than_the_compressor)
{
    static const struct {
        uint64_t line, compressor, plain, packed;
        bool pays;
    } rows[] = {
        {100 * MB, 400 * MB, 4 * MB, 1 * MB, true},
        {290 * MB, 400 * MB, 4 * MB, 1 * MB, true}, /* 400 * (1 - 1/4) = 300 */
        {310 * MB, 400 * MB, 4 * MB, 1 * MB, false},
        {1 * MB, 400 * MB, 3 * MB, 2 * MB, true},      /* exactly 1.5 */
        {1 * MB, 400 * MB, 3 * MB, 2 * MB + 1, false}, /* less */
        {0, 400 * MB, 4 * MB, 1 * MB, false},          /* nobody knows the line */
        {1 * MB, 0, 4 * MB, 1 * MB, false},
        {1 * MB, 400 * MB, 0, 0, false},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct gp_pack pack = {.line_rate = rows[i].line, .compressor_rate = rows[i].compressor};

        cr_expect_eq(gp_pack_pays(&pack, rows[i].plain, rows[i].packed), rows[i].pays, "row %zu",
                     i);
    }
}

Test(pack, learns_the_line_from_what_was_sent)
{
    struct gp_pack pack = {0};

    gp_pack_sent(&pack, 8u << 20, S);
    cr_assert_not(gp_pack_slow(&pack), "too little to know");
    gp_pack_sent(&pack, 8u << 20, S);
    cr_assert_eq(pack.line_rate, 8u << 20);
    cr_assert(gp_pack_slow(&pack));
    gp_pack_sent(&pack, 1ull << 40, S);
    cr_assert_not(gp_pack_slow(&pack));
    gp_pack_sent(&pack, 1ull << 30, 0); /* a clock that stands still */
    cr_assert_not(gp_pack_slow(&pack));
}

Test(pack, leaves_alone_what_does_not_shrink)
{
    static uint8_t bytes[GP_PACK_PIECE_MAX], room[GP_PACK_PIECE_MAX], back[GP_PACK_PIECE_MAX];
    struct gp_pack pack = {.line_rate = 1}; /* slower than any compressor */
    uint64_t x = 0x9e3779b97f4a7c15u;
    size_t packed = 0, got = 0;

    for (size_t i = 0; i < sizeof(bytes); i++) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        bytes[i] = (uint8_t)x;
    }
    cr_assert_not(gp_pack_probe(&pack, bytes, sizeof(bytes)));
    cr_assert_eq(gp_pack_piece(&pack, bytes, sizeof(bytes), room, sizeof(room), &packed),
                 GP_ERR_LIMIT);
    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] &= 0x11;
    cr_assert_not(gp_pack_probe(&pack, bytes, sizeof(bytes)), "looked at again too soon");
    for (int i = 0; i < 20 && pack.unprobed > sizeof(bytes); i++)
        (void)gp_pack_probe(&pack, bytes, sizeof(bytes));
    cr_assert(gp_pack_probe(&pack, bytes, sizeof(bytes)));
    cr_assert_not(gp_pack_probe(&pack, bytes, 1000), "a few bytes");
    cr_assert_eq(gp_pack_piece(&pack, bytes, sizeof(bytes), room, sizeof(room), &packed), GP_OK);
    cr_assert_leq(packed, sizeof(bytes) / 3 * 2);
    cr_assert_eq(gp_zstd_decompress(room, packed, back, sizeof(back), &got), GP_OK);
    cr_assert_eq(got, sizeof(back));
    cr_assert_eq(memcmp(back, bytes, sizeof(back)), 0);
    cr_assert_neq(gp_zstd_decompress(room, packed, back, sizeof(back) - 1, &got), GP_OK,
                  "more than there is room for");
}
