/* tests/unit/math/test_int.c -- integer instructions against bit-by-bit references */
#include "backend/driver/soft/math/sd_int.h"

#include "tests/unit/math/values.h"

#include <criterion/criterion.h>

static const uint64_t edges[] = {
    0,
    1,
    2,
    7,
    8,
    15,
    16,
    31,
    32,
    33,
    63,
    64,
    65,
    127,
    128,
    255,
    256,
    0x7fff,
    0x8000,
    0xffff,
    0x7fffff,
    0x800000,
    0xffffff,
    0x7fffffff,
    0x80000000,
    0xffffffff,
    0x100000000,
    0x7fffffffffffffff,
    0x8000000000000000,
    0xfffffffffffffffe,
    0xffffffffffffffff,
};

static uint64_t
value(uint64_t i, uint64_t *state)
{
    uint64_t r = next_random(state);

    return (i & 3) == 0 ? edges[r % GP_ARRAY_LEN(edges)] : r >> r % 61;
}

enum {
    ROUNDS = 100000
};

Test(int, high_products_come_from_the_wide_product)
{
    uint64_t state = 1, i;

    for (i = 0; i < ROUNDS; i++) {
        uint64_t a = value(i, &state), b = value(i + 1, &state);
        int64_t sa = (int32_t)a, sb = (int32_t)b;
        __int128 wide = (__int128)(int64_t)a * (int64_t)b;
        int64_t a24 = (int64_t)(a << 40) >> 40, b24 = (int64_t)(b << 40) >> 40;

        cr_assert_eq(sd_mulhi_s16((uint16_t)a, (uint16_t)b),
                     (uint16_t)((int16_t)a * (int16_t)b >> 16));
        cr_assert_eq(sd_mulhi_u16((uint16_t)a, (uint16_t)b),
                     (uint16_t)((uint64_t)(uint16_t)a * (uint16_t)b >> 16));
        cr_assert_eq(sd_mulhi_s32((uint32_t)a, (uint32_t)b), (uint32_t)(sa * sb >> 32));
        cr_assert_eq(sd_mulhi_s64(a, b), (uint64_t)(wide >> 64));
        cr_assert_eq(sd_mulhi_u64(a, b), (uint64_t)((unsigned __int128)a * b >> 64));
        cr_assert_eq(sd_mul24lo_s32((uint32_t)a, (uint32_t)b), (uint32_t)(a24 * b24));
        cr_assert_eq(sd_mul24hi_s32((uint32_t)a, (uint32_t)b), (uint32_t)(a24 * b24 >> 16));
        cr_assert_eq(sd_mul24hi_u32((uint32_t)a, (uint32_t)b),
                     (uint32_t)((a & 0xffffff) * (b & 0xffffff) >> 16));
    }
    cr_assert_eq(sd_mulhi_s16(0x8000, 0x8000), 0x4000);
    cr_assert_eq(sd_mulhi_s64(1ull << 63, 1ull << 63), 1ull << 62);
}

Test(int, division_by_zero_gives_all_ones_and_min_wraps)
{
    uint64_t state = 2, i;

    cr_assert_eq(sd_div_u32(5, 0), UINT32_MAX);
    cr_assert_eq(sd_div_s32(5, 0), UINT32_MAX);
    cr_assert_eq(sd_rem_s32(5, 0), UINT32_MAX);
    cr_assert_eq(sd_div_s32(0x80000000u, (uint32_t)-1), 0x80000000u);
    cr_assert_eq(sd_rem_s32(0x80000000u, (uint32_t)-1), 0);
    cr_assert_eq(sd_div_s64(1ull << 63, ~0ull), 1ull << 63);
    cr_assert_eq(sd_rem_u64(7, 0), ~0ull);
    cr_assert_eq(sd_div_u16(7, 0), 0xffff);
    cr_assert_eq(sd_div_s16(0x8000, 0xffff), 0x8000);
    for (i = 0; i < ROUNDS; i++) {
        uint64_t a = value(i, &state), b = value(i + 1, &state);

        if ((int32_t)b == 0 || (int32_t)b == -1 || (int16_t)b == 0)
            continue;
        cr_assert_eq((int32_t)sd_div_s32((uint32_t)a, (uint32_t)b), (int32_t)a / (int32_t)b);
        cr_assert_eq((int32_t)sd_rem_s32((uint32_t)a, (uint32_t)b), (int32_t)a % (int32_t)b);
        cr_assert_eq((int16_t)sd_div_s16((uint16_t)a, (uint16_t)b),
                     (int16_t)((int16_t)a / (int16_t)b));
    }
}

Test(int, shifts_clamp_at_the_width)
{
    uint32_t n;

    for (n = 0; n < 300; n++) {
        uint64_t a = 0xf123456789abcdefull;

        cr_assert_eq(sd_shl_b64(a, n), n > 63 ? 0 : a << n);
        cr_assert_eq(sd_shr_u64(a, n), n > 63 ? 0 : a >> n);
        cr_assert_eq(sd_shr_s64(a, n), n > 63 ? ~0ull : (uint64_t)((int64_t)a >> n));
        cr_assert_eq(sd_shl_b32(0x89abcdefu, n), n > 31 ? 0 : 0x89abcdefu << n);
        cr_assert_eq(sd_shr_s32(0x89abcdefu, n),
                     n > 31 ? ~0u : (uint32_t)((int32_t)0x89abcdefu >> n));
        cr_assert_eq(sd_shl_b16(0x8001, n), n > 15 ? 0 : (uint16_t)(0x8001u << n));
        cr_assert_eq(sd_shr_s16(0x8001, n), n > 15 ? 0xffff : (uint16_t)((int16_t)0x8001 >> n));
        cr_assert_eq(sd_shr_u16(0x8001, n), n > 15 ? 0 : 0x8001u >> n);
    }
    cr_assert_eq(sd_shl_b32(1, UINT32_MAX), 0);
    cr_assert_eq(sd_shr_s32(0x80000000u, UINT32_MAX), UINT32_MAX);
}

Test(int, funnel_shifts_clamp_or_wrap)
{
    cr_assert_eq(sd_shf_l(0x89abcdef, 0x01234567, 8, true), 0x23456789);
    cr_assert_eq(sd_shf_l(0x89abcdef, 0x01234567, 32, true), 0x01234567);
    cr_assert_eq(sd_shf_l(0x89abcdef, 0x01234567, 32, false), 0x89abcdef);
    cr_assert_eq(sd_shf_l(0x89abcdef, 0x01234567, 99, false), 0x89abcdef);
    cr_assert_eq(sd_shf_r(0x89abcdef, 0x01234567, 8, true), 0x6789abcd);
    cr_assert_eq(sd_shf_r(0x89abcdef, 0x01234567, 40, true), 0x6789abcd);
    cr_assert_eq(sd_shf_r(0x89abcdef, 0x01234567, 40, false), 0x01234567);
    cr_assert_eq(sd_shf_r(0x89abcdef, 0x01234567, 0, false), 0x89abcdef);
}

/* The manual's own definition, bit by bit. */
static uint64_t
reference_bfe(uint64_t a, uint32_t b, uint32_t c, int width, bool is_signed)
{
    int msb = width - 1, pos = b & 0xff, len = c & 0xff, i;
    int top = pos + len - 1 < msb ? pos + len - 1 : msb;
    uint64_t sbit = !is_signed || len == 0 ? 0 : a >> top & 1, d = 0;

    for (i = 0; i <= msb; i++)
        d |= (i < len && pos + i <= msb ? a >> (pos + i) & 1 : sbit) << i;
    return d;
}

static uint64_t
reference_bfi(uint64_t a, uint64_t b, uint32_t c, uint32_t d, int width)
{
    int msb = width - 1, pos = c & 0xff, len = d & 0xff, i;
    uint64_t f = b;

    for (i = 0; i < len && pos + i <= msb; i++)
        f = (f & ~(1ull << (pos + i))) | (a >> i & 1) << (pos + i);
    return f;
}

Test(int, bit_fields_follow_the_manual_for_all_positions_and_lengths)
{
    uint64_t state = 3;
    uint32_t pos, len;

    for (pos = 0; pos < 130; pos++) {
        for (len = 0; len < 130; len++) {
            uint64_t a = next_random(&state), b = next_random(&state);
            uint32_t a32 = (uint32_t)a, b32 = (uint32_t)b;

            cr_assert_eq(sd_bfe_u32(a32, pos, len),
                         (uint32_t)reference_bfe(a32, pos, len, 32, false));
            cr_assert_eq(sd_bfe_s32(a32, pos, len),
                         (uint32_t)reference_bfe(a32, pos, len, 32, true));
            cr_assert_eq(sd_bfe_u64(a, pos, len), reference_bfe(a, pos, len, 64, false));
            cr_assert_eq(sd_bfe_s64(a, pos, len), reference_bfe(a, pos, len, 64, true));
            cr_assert_eq(sd_bfi_b32(a32, b32, pos, len),
                         (uint32_t)reference_bfi(a32, b32, pos, len, 32));
            cr_assert_eq(sd_bfi_b64(a, b, pos, len), reference_bfi(a, b, pos, len, 64));
        }
    }
    cr_assert_eq(sd_bfe_u32(0xff00, 0x108, 0x108), 0xff); /* only the low bytes count */
}

Test(int, bit_counts_and_positions_are_right)
{
    uint64_t state = 4, i;

    for (i = 0; i < ROUNDS; i++) {
        uint64_t a = value(i, &state), back = 0;
        int highest = -1, top, k, ones = 0;

        for (k = 0; k < 64; k++) {
            back |= (a >> k & 1) << (63 - k);
            ones += (int)(a >> k & 1);
            if ((a >> k & 1) != 0)
                highest = k;
        }
        for (top = 62; top >= 0 && (a >> top & 1) == a >> 63; top--)
            ;
        cr_assert_eq(sd_brev_b64(a), back);
        cr_assert_eq(sd_popc_b64(a), (uint32_t)ones);
        cr_assert_eq(sd_clz_b64(a), (uint32_t)(63 - highest));
        cr_assert_eq(sd_bfind_u64(a, false), (uint32_t)highest);
        cr_assert_eq(sd_bfind_u64(a, true), highest < 0 ? ~0u : (uint32_t)(63 - highest));
        cr_assert_eq(sd_bfind_s64(a, false), (uint32_t)top);
    }
    cr_assert_eq(sd_brev_b32(0x00000001), 0x80000000);
    cr_assert_eq(sd_clz_b32(0), 32);
    cr_assert_eq(sd_popc_b32(0xf0f0f0f1), 17);
    cr_assert_eq(sd_bfind_s32((uint32_t)-1, false), ~0u);
    cr_assert_eq(sd_bfind_s32((uint32_t)-2, true), 31);
    cr_assert_eq(sd_bfind_u32(0x00010000, true), 15);
}

Test(int, fns_walks_both_ways)
{
    cr_assert_eq(sd_fns_b32(0xaaaaaaaa, 0, 1), 1);
    cr_assert_eq(sd_fns_b32(0xaaaaaaaa, 0, 3), 5);
    cr_assert_eq(sd_fns_b32(0xaaaaaaaa, 31, -2), 29);
    cr_assert_eq(sd_fns_b32(0xaaaaaaaa, 1, 0), 1);
    cr_assert_eq(sd_fns_b32(0xaaaaaaaa, 0, 0), ~0u);
    cr_assert_eq(sd_fns_b32(0xaaaaaaaa, 0, 17), ~0u);
    cr_assert_eq(sd_fns_b32(0xffffffff, 3, INT32_MIN), ~0u);
    cr_assert_eq(sd_fns_b32(0xffffffff, 32, 1), ~0u);
}

Test(int, masks_and_extensions_clamp_or_wrap)
{
    cr_assert_eq(sd_bmsk_b32(4, 8, true), 0xff0);
    cr_assert_eq(sd_bmsk_b32(4, 0, true), 0);
    cr_assert_eq(sd_bmsk_b32(0, 32, true), ~0u);
    cr_assert_eq(sd_bmsk_b32(0, 32, false), 0);
    cr_assert_eq(sd_bmsk_b32(28, 9, false), 0xf0000000);
    cr_assert_eq(sd_bmsk_b32(32, 4, true), 0);
    cr_assert_eq(sd_bmsk_b32(36, 4, false), 0xf0);
    cr_assert_eq(sd_szext_32(0x80, 8, true, true), 0xffffff80);
    cr_assert_eq(sd_szext_32(0x1ff, 8, true, false), 0xff);
    cr_assert_eq(sd_szext_32(0xdeadbeef, 32, true, true), 0xdeadbeef);
    cr_assert_eq(sd_szext_32(0xdeadbeef, 32, false, true), 0);
    cr_assert_eq(sd_szext_32(0xdeadbeef, 40, false, true), 0xffffffef);
}

Test(int, lop3_is_its_lookup_table)
{
    uint64_t state = 5;
    uint32_t lut;
    int k;

    for (lut = 0; lut < 256; lut++) {
        uint32_t a = (uint32_t)next_random(&state), b = (uint32_t)next_random(&state);
        uint32_t c = (uint32_t)next_random(&state), r = sd_lop3_b32(a, b, c, lut);

        for (k = 0; k < 32; k++) {
            uint32_t index = (a >> k & 1) << 2 | (b >> k & 1) << 1 | (c >> k & 1);

            cr_assert_eq(r >> k & 1, lut >> index & 1);
        }
    }
}

Test(int, prmt_knows_every_mode)
{
    const uint32_t a = 0x33221100, b = 0x776655f4;

    cr_assert_eq(sd_prmt_b32(a, b, 0x7531, SD_PRMT_INDEX), 0x77553311);
    cr_assert_eq(sd_prmt_b32(a, b, 0xc4c4, SD_PRMT_INDEX), 0xfff4fff4);
    cr_assert_eq(sd_prmt_b32(a, b, 0x8888, SD_PRMT_INDEX), 0);
    cr_assert_eq(sd_prmt_b32(a, b, 1, SD_PRMT_F4E), 0xf4332211);
    cr_assert_eq(sd_prmt_b32(a, b, 3, SD_PRMT_F4E), 0x6655f433);
    cr_assert_eq(sd_prmt_b32(a, b, 0, SD_PRMT_B4E), 0x55667700);
    cr_assert_eq(sd_prmt_b32(a, b, 3, SD_PRMT_B4E), 0x00112233);
    cr_assert_eq(sd_prmt_b32(a, b, 2, SD_PRMT_RC8), 0x22222222);
    cr_assert_eq(sd_prmt_b32(a, b, 1, SD_PRMT_ECL), 0x33221111);
    cr_assert_eq(sd_prmt_b32(a, b, 2, SD_PRMT_ECL), 0x33222222);
    cr_assert_eq(sd_prmt_b32(a, b, 1, SD_PRMT_ECR), 0x11111100);
    cr_assert_eq(sd_prmt_b32(a, b, 2, SD_PRMT_ECR), 0x22221100);
    cr_assert_eq(sd_prmt_b32(a, b, 1, SD_PRMT_RC16), 0x33223322);
    cr_assert_eq(sd_prmt_b32(a, b, 2, SD_PRMT_RC16), 0x11001100);
}

Test(int, dot_products_mix_signs)
{
    cr_assert_eq(sd_dp4a(0x01ff8002, 0x02ff7f03, 10, true, true),
                 (uint32_t)(10 + 1 * 2 + -1 * -1 + -128 * 127 + 2 * 3));
    cr_assert_eq(sd_dp4a(0x01ff8002, 0x02ff7f03, 10, false, true),
                 (uint32_t)(10 + 1 * 2 + 255 * -1 + 128 * 127 + 2 * 3));
    cr_assert_eq(sd_dp4a(0xffffffff, 0xffffffff, UINT32_MAX, false, false),
                 (uint32_t)(4 * 255 * 255 - 1));
    cr_assert_eq(sd_dp2a(0x80007fff, 0xff02fe03, 1, true, true, false),
                 (uint32_t)(1 + 32767 * 3 + -32768 * -2));
    cr_assert_eq(sd_dp2a(0x80007fff, 0xff02fe03, 1, false, false, true),
                 (uint32_t)(1 + 32767 * 2 + 32768 * 255));
}

Test(int, carries_saturation_and_absolute_differences)
{
    uint32_t cc;
    uint64_t cc64;

    cr_assert_eq(sd_addc_u32(UINT32_MAX, 0, 1, &cc), 0);
    cr_assert_eq(cc, 1);
    cr_assert_eq(sd_addc_u32(1, 2, 0, &cc), 3);
    cr_assert_eq(cc, 0);
    cr_assert_eq(sd_subc_u32(0, UINT32_MAX, 1, &cc), 0);
    cr_assert_eq(cc, 1);
    cr_assert_eq(sd_subc_u32(5, 3, 0, &cc), 2);
    cr_assert_eq(cc, 0);
    cr_assert_eq(sd_addc_u64(~0ull, ~0ull, 1, &cc64), ~0ull);
    cr_assert_eq(cc64, 1);
    cr_assert_eq(sd_subc_u64(0, 0, 1, &cc64), ~0ull);
    cr_assert_eq(cc64, 1);
    cr_assert_eq(sd_addsat_s32(0x7fffffff, 1), 0x7fffffff);
    cr_assert_eq(sd_addsat_s32(0x80000000, (uint32_t)-1), 0x80000000);
    cr_assert_eq(sd_subsat_s32(0x80000000, 1), 0x80000000);
    cr_assert_eq(sd_subsat_s32(5, 7), (uint32_t)-2);
    cr_assert_eq(sd_sad_s32((uint32_t)-3, 4, 10), 17);
    cr_assert_eq(sd_sad_u32((uint32_t)-3, 4, 10), (uint32_t)-7 + 10);
    cr_assert_eq(sd_sad_s16(0x8000, 0x7fff, 0), 0xffff);
    cr_assert_eq(sd_sad_s64(1ull << 63, 0, 1), (1ull << 63) + 1);
    cr_assert_eq(sd_abs_s32(0x80000000), 0x80000000);
    cr_assert_eq(sd_abs_s16(0xffff), 1);
    cr_assert_eq(sd_abs_s64((uint64_t)-5), 5);
    cr_assert_eq(sd_add_16x2(0xffff0001, 0x0001ffff), 0x00000000);
    cr_assert_eq(sd_max_s16(0x8000, 1), 1);
}
