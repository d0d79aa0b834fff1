/* tests/unit/math/test_approx.c -- the approximate instructions within the manual's error */
#include "backend/driver/soft/math/sd_approx.h"

#include "tests/unit/math/values.h"

#include <criterion/criterion.h>

enum {
    RANDOM_VALUES = 200000
};

Test(approx, ex2_is_within_two_ulps_everywhere)
{
    uint64_t state = 1, i;

    for (i = 0; i < RANDOM_VALUES; i++) {
        float x = value_f32(i, &state);

        cr_assert_leq(ulps_f32(sd_ex2_f32(x), exp2((double)x)), 1.0, "%a", (double)x);
    }
    for (i = 0; i < 40000; i++) { /* through all exponents of the result */
        float x = -155.0f + (float)i * 0.0075f;

        cr_assert_leq(ulps_f32(sd_ex2_f32(x), exp2((double)x)), 0.6, "%a", (double)x);
    }
    cr_assert(same_f32(sd_ex2_f32(-INFINITY), 0.0f));
    cr_assert_eq(sd_ex2_f32(INFINITY), INFINITY);
    cr_assert_eq(sd_ex2_f32(-0x1p-149f), 1.0f);
    cr_assert_eq(sd_ex2_f32(-149.0f), 0x1p-149f);
    cr_assert_eq(sd_ex2_f32(127.0f), 0x1p127f);
    cr_assert_eq(sd_ex2_f32(128.0f), INFINITY);
    cr_assert(isnan(sd_ex2_f32(NAN)));
}

Test(approx, lg2_is_within_2_to_the_minus_22)
{
    uint64_t state = 2, i;

    for (i = 0; i < RANDOM_VALUES; i++) {
        float x = sd_abs_f32(value_f32(i, &state));
        double want = log2((double)x);

        if (!(x > 0) || isinf(x))
            continue;
        cr_assert_leq(fabs((double)sd_lg2_f32(x) - want), fabs(want) * 0x1p-23, "%a", (double)x);
    }
    for (i = 0; i < 1000; i++) { /* next to one the result must not lose its digits */
        float x = sd_f32_bits(0x3f800000u - 500u + (uint32_t)i);

        cr_assert_leq(ulps_f32(sd_lg2_f32(x), log2((double)x)), 0.51, "%a", (double)x);
    }
    cr_assert_eq(sd_lg2_f32(0.0f), -INFINITY);
    cr_assert_eq(sd_lg2_f32(-0.0f), -INFINITY);
    cr_assert(isnan(sd_lg2_f32(-1.0f)));
    cr_assert(isnan(sd_lg2_f32(-INFINITY)));
    cr_assert(isnan(sd_lg2_f32(NAN)));
    cr_assert_eq(sd_lg2_f32(INFINITY), INFINITY);
    cr_assert_eq(sd_lg2_f32(0x1p-149f), -149.0f);
    cr_assert(same_f32(sd_lg2_f32(1.0f), 0.0f));
}

Test(approx, sin_and_cos_are_within_the_absolute_error)
{
    uint64_t state = 3, i;

    for (i = 0; i < RANDOM_VALUES; i++) {
        float x = (float)((double)(int64_t)next_random(&state) * 0x1p-63 *
                          (i % 3 == 0   ? 3.2
                           : i % 3 == 1 ? 400.0
                                        : 1e6));

        cr_assert_leq(fabs((double)sd_sin_f32(x) - sin((double)x)), 0x1p-24, "%a", (double)x);
        cr_assert_leq(fabs((double)sd_cos_f32(x) - cos((double)x)), 0x1p-24, "%a", (double)x);
    }
    cr_assert(same_f32(sd_sin_f32(-0.0f), -0.0f));
    cr_assert(same_f32(sd_sin_f32(0x1p-149f), 0x1p-149f));
    cr_assert_eq(sd_cos_f32(0.0f), 1.0f);
    cr_assert(isnan(sd_sin_f32(INFINITY)) && isnan(sd_cos_f32(-INFINITY)));
    cr_assert(isnan(sd_sin_f32(NAN)) && isnan(sd_cos_f32(NAN)));
    for (i = 0; i < 10000; i++) { /* any angle at all stays on the circle */
        float x = value_f32(i, &state);

        cr_assert(!isfinite(x) || (fabsf(sd_sin_f32(x)) <= 1.0f && fabsf(sd_cos_f32(x)) <= 1.0f));
    }
}

Test(approx, tanh_is_relatively_exact_also_near_zero)
{
    uint64_t state = 4, i;

    for (i = 0; i < RANDOM_VALUES; i++) {
        float x = value_f32(i, &state);

        cr_assert_leq(ulps_f32(sd_tanh_f32(x), tanh((double)x)), 8.0, "%a", (double)x);
    }
    cr_assert(same_f32(sd_tanh_f32(-0.0f), -0.0f));
    cr_assert_eq(sd_tanh_f32(-INFINITY), -1.0f);
    cr_assert(isnan(sd_tanh_f32(NAN)));
}

Test(approx, reciprocals_and_roots_round_right_and_have_ptx_specials)
{
    uint64_t state = 5, i;

    for (i = 0; i < RANDOM_VALUES; i++) {
        float x = value_f32(i, &state), y = value_f32(i ^ 1, &state);

        cr_assert(same_f32(sd_rcp_approx_f32(x), (float)(1.0 / (double)x)));
        cr_assert_leq(ulps_f32(sd_rsqrt_f32(x), 1.0 / sqrt((double)x)), 0.501);
        if (fabsf(y) >= 0x1p-126f && fabsf(y) <= 0x1p126f)
            cr_assert_leq(ulps_f32(sd_div_approx_f32(x, y), (double)x / (double)y), 0.51);
    }
    cr_assert_eq(sd_rcp_approx_f32(-0.0f), -INFINITY);
    cr_assert_eq(sd_rsqrt_f32(-0.0f), -INFINITY);
    cr_assert_eq(sd_rsqrt_f32(INFINITY), 0.0f);
    cr_assert(isnan(sd_rsqrt_f32(-1.0f)));
    cr_assert(same_f32(sd_sqrt_approx_f32(-0.0f), -0.0f));
    cr_assert(same_f32(sd_div_approx_f32(-3.0f, 0x1.8p126f), -0.0f));
    cr_assert(isnan(sd_div_approx_f32(INFINITY, 0x1p127f)));
    cr_assert(same_f32(sd_div_approx_f32(1.0f, -INFINITY), -0.0f));
}

Test(approx, coarse_f64_pair_uses_the_upper_words_only)
{
    uint64_t state = 6, i;

    for (i = 0; i < RANDOM_VALUES; i++) {
        double x = value_f64(i, &state), r = sd_rcp_approx_f64(x), q = sd_rsqrt_approx_f64(x);

        cr_assert_eq(sd_bits_f64(r) & 0xffffffff, 0);
        cr_assert_eq(sd_bits_f64(q) & 0xffffffff, 0);
        if (fabs(x) > 0x1p-1020 && fabs(x) < 0x1p1020)
            cr_assert_leq(fabs(r * x - 1), 0x1.8p-20, "%a", x);
        if (x > 0x1p-1020 && x < 0x1p1020)
            cr_assert_leq(fabs(q * q * x - 1), 0x1.9p-19, "%a", x);
        cr_assert(
            same_f64(sd_rcp_approx_f64(sd_f64_bits(sd_bits_f64(x) & 0xffffffff00000000ull)), r) ||
            (sd_bits_f64(x) << 1 > 0xffe0000000000000ull));
    }
    cr_assert_eq(sd_rcp_approx_f64(-0.0), -INFINITY);
    cr_assert_eq(sd_rcp_approx_f64(0x1p-1030), INFINITY);
    cr_assert(same_f64(sd_rcp_approx_f64(-INFINITY), -0.0));
    cr_assert(same_f64(sd_rcp_approx_f64(0x1p1023), 0.0)); /* 2^-1023 is flushed */
    cr_assert(isnan(sd_rcp_approx_f64(sd_f64_bits(0x7ff0000000000001ull))));
    cr_assert_eq(sd_rsqrt_approx_f64(0.0), INFINITY);
    cr_assert_eq(sd_rsqrt_approx_f64(-0x1p-1030), -INFINITY);
    cr_assert(isnan(sd_rsqrt_approx_f64(-4.0)));
}
