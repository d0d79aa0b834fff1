/* tests/unit/math/test_video.c -- video instructions */
#include "backend/driver/soft/math/sd_video.h"

#include "tests/unit/math/values.h"

#include <criterion/criterion.h>

/* vabsdiff4.u32.u32.u32.add: what the samples use. */
Test(video, vabsdiff4_add_sums_four_bytes)
{
    struct sd_video v = {.kind = SD_VABSDIFF, .lanes = 4, .merge = SD_VMERGE_ADD};
    uint64_t state = 1;
    int i, k;

    sd_video_defaults(&v);
    for (i = 0; i < 20000; i++) {
        uint32_t a = (uint32_t)next_random(&state), b = (uint32_t)next_random(&state), want = 7;

        for (k = 0; k < 32; k += 8)
            want += (uint32_t)abs((int)(a >> k & 255) - (int)(b >> k & 255));
        cr_assert_eq(sd_video(&v, a, b, 7), want);
    }
}

Test(video, simd_lanes_wrap_or_saturate)
{
    struct sd_video v = {
        .kind = SD_VADD, .lanes = 4, .a_signed = true, .b_signed = true, .d_signed = true};

    sd_video_defaults(&v);
    cr_assert_eq(sd_video(&v, 0x7f80ff01, 0x0180ff01, 0), 0x8000fe02);
    v.sat = true;
    cr_assert_eq(sd_video(&v, 0x7f80ff01, 0x0180ff01, 0), 0x7f80fe02);
    v = (struct sd_video){.kind = SD_VSUB, .lanes = 2, .sat = true};
    sd_video_defaults(&v);
    cr_assert_eq(sd_video(&v, 0x0001ffff, 0x00020001, 0), 0x0000fffe);
}

Test(video, simd_masked_lanes_come_from_c)
{
    struct sd_video v = {.kind = SD_VMAX, .lanes = 2, .merge = SD_VMERGE_INSERT};

    sd_video_defaults(&v);
    v.mask = 2;
    cr_assert_eq(sd_video(&v, 0x00050001, 0x00040002, 0xaaaabbbb), 0x0005bbbb);
}

Test(video, simd_selectors_pick_from_both_registers)
{
    struct sd_video v = {.kind = SD_VSUB, .lanes = 2};

    sd_video_defaults(&v);
    v.a_pick[0] = 3; /* b's upper half */
    v.a_pick[1] = 2;
    v.b_pick[0] = v.b_pick[1] = 0; /* a's lower half */
    cr_assert_eq(sd_video(&v, 0x00090001, 0x00070005, 0), 0x00040006);
}

Test(video, simd_average_rounds_away_from_zero)
{
    struct sd_video v = {
        .kind = SD_VAVRG, .lanes = 4, .a_signed = true, .b_signed = true, .d_signed = true};

    sd_video_defaults(&v);
    cr_assert_eq(sd_video(&v, 0x010203ff, 0x020304fe, 0), 0x020304fe);
}

Test(video, simd_set_counts_lanes_with_add)
{
    struct sd_video v = {.kind = SD_VSET, .lanes = 4, .cmp = SD_VCMP_GE, .merge = SD_VMERGE_ADD};

    sd_video_defaults(&v);
    cr_assert_eq(sd_video(&v, 0x05060708, 0x06060606, 100), 103);
    v.merge = SD_VMERGE_NONE;
    cr_assert_eq(sd_video(&v, 0x05060708, 0x06060606, 0), 0x00010101);
}

Test(video, scalar_operands_are_selected_and_extended)
{
    struct sd_video v = {.kind = SD_VADD,
                         .lanes = 1,
                         .a_signed = true,
                         .d_signed = true,
                         .a_sel = SD_VSEL_B3,
                         .b_sel = SD_VSEL_H1};

    cr_assert_eq(sd_video(&v, 0xff000000, 0x80000000, 0), 0x7fff); /* -1 + 32768 */
    v.merge = SD_VMERGE_ADD;
    cr_assert_eq(sd_video(&v, 0xff000000, 0x80000000, 1), 0x8000);
    v.merge = SD_VMERGE_MIN;
    cr_assert_eq(sd_video(&v, 0xff000000, 0x80000000, (uint32_t)-9), (uint32_t)-9);
    v.merge = SD_VMERGE_MAX;
    cr_assert_eq(sd_video(&v, 0xff000000, 0x80000000, (uint32_t)-9), 0x7fff);
    v.merge = SD_VMERGE_INSERT;
    v.d_sel = SD_VSEL_B1;
    cr_assert_eq(sd_video(&v, 0xff000000, 0x80000000, 0x11223344), 0x1122ff44);
    v.sat = true; /* 32767 in a signed byte */
    cr_assert_eq(sd_video(&v, 0xff000000, 0x80000000, 0x11223344), 0x11227f44);
}

Test(video, scalar_differences_need_more_than_32_bits)
{
    struct sd_video v = {.kind = SD_VABSDIFF,
                         .lanes = 1,
                         .a_signed = true,
                         .b_signed = true,
                         .d_signed = true,
                         .sat = true};

    cr_assert_eq(sd_video(&v, 0x80000000, 0x7fffffff, 0), 0x7fffffff);
    v.d_signed = false;
    cr_assert_eq(sd_video(&v, 0x80000000, 0x7fffffff, 0), 0xffffffff);
    v.kind = SD_VSUB;
    cr_assert_eq(sd_video(&v, 1, 2, 0), 0);
}

Test(video, scalar_shifts_clamp_or_wrap)
{
    struct sd_video v = {.kind = SD_VSHL, .lanes = 1};

    cr_assert_eq(sd_video(&v, 1, 40, 0), 0);
    v.wrap = true;
    cr_assert_eq(sd_video(&v, 1, 40, 0), 256);
    v = (struct sd_video){.kind = SD_VSHR, .lanes = 1, .a_signed = true, .d_signed = true};
    cr_assert_eq(sd_video(&v, 0x80000000, 40, 0), 0xffffffff);
    v.a_signed = false;
    cr_assert_eq(sd_video(&v, 0x80000000, 31, 0), 1);
}

Test(video, scalar_multiply_add_scales_and_negates)
{
    struct sd_video v = {
        .kind = SD_VMAD, .lanes = 1, .a_signed = true, .b_signed = true, .d_signed = true};

    cr_assert_eq(sd_video(&v, (uint32_t)-3, 5, 100), 85);
    v.neg_ab = true;
    cr_assert_eq(sd_video(&v, (uint32_t)-3, 5, 100), 115);
    v.neg_ab = false;
    v.neg_c = true;
    cr_assert_eq(sd_video(&v, 3, 5, 100), (uint32_t)-85);
    v.neg_c = false;
    v.plus_one = true;
    v.scale = 7;
    cr_assert_eq(sd_video(&v, 16, 16, 127), 3);
    v.sat = true;
    v.scale = 0;
    cr_assert_eq(sd_video(&v, 0x7fffffff, 0x7fffffff, 0), 0x7fffffff);
    cr_assert_eq(sd_video(&v, 0x7fffffff, 0x80000000, 0), 0x80000000);
}

Test(video, scalar_set_compares)
{
    struct sd_video v = {
        .kind = SD_VSET, .lanes = 1, .a_signed = true, .b_signed = true, .cmp = SD_VCMP_LT};

    cr_assert_eq(sd_video(&v, (uint32_t)-1, 0, 0), 1);
    v.a_signed = v.b_signed = false;
    cr_assert_eq(sd_video(&v, (uint32_t)-1, 0, 0), 0);
    v.merge = SD_VMERGE_ADD;
    v.cmp = SD_VCMP_NE;
    cr_assert_eq(sd_video(&v, 1, 0, 41), 42);
}
