/* tests/unit/math/test_half.c -- small float formats against a search over all their values */
#include "backend/driver/soft/math/sd_half.h"

#include "backend/driver/soft/math/sd_approx.h"
#include "tests/unit/math/values.h"

#include <criterion/criterion.h>

static const enum sd_round modes[] = {SD_RN, SD_RZ, SD_RM, SD_RP, SD_RNA};

/* A format as its definition gives it; the reference shares nothing with the code tested. */
struct reference {
    enum sd_small format;
    int exp_bits, man_bits, bias;
    bool inf;
    uint32_t max; /* pattern of the largest finite value */
};

static const struct reference references[] = {
    {SD_F16, 5, 10, 15, true, 0x7bff}, {SD_BF16, 8, 7, 127, true, 0x7f7f},
    {SD_E5M2, 5, 2, 15, true, 0x7b},   {SD_E4M3, 4, 3, 7, false, 0x7e},
    {SD_E2M3, 2, 3, 1, false, 0x1f},   {SD_E3M2, 3, 2, 3, false, 0x1f},
    {SD_E2M1, 2, 1, 1, false, 0x7},
};

static double
reference_value(const struct reference *f, uint32_t mag)
{
    int e = (int)(mag >> f->man_bits), m = (int)(mag & ((1u << f->man_bits) - 1));

    if (e == 0)
        return ldexp(m, 1 - f->bias - f->man_bits);
    return ldexp(m + (1 << f->man_bits), e - f->bias - f->man_bits);
}

/* Largest pattern whose value is not above x, by bisection over the patterns. */
static uint32_t
reference_floor(const struct reference *f, __float128 x)
{
    uint32_t low = 0, high = f->max;

    while (low < high) {
        uint32_t mid = (low + high + 1) / 2;

        if (reference_value(f, mid) <= x)
            low = mid;
        else
            high = mid - 1;
    }
    return low;
}

static uint32_t
reference_round(const struct reference *f, __float128 x, enum sd_round mode)
{
    bool neg = signbit((double)x) != 0;
    __float128 mag = neg ? -x : x, v, next;
    uint32_t r = reference_floor(f, mag), sign = neg ? 1u << (f->exp_bits + f->man_bits) : 0;
    bool up = false;

    v = reference_value(f, r);
    next = reference_value(f, r + 1); /* past the top: the step that would follow */
    if (mag != v) {
        /* Both differences are exact where it matters: neighbours of few bits. */
        __float128 below = mag - v, above = next - mag;

        if (mode == SD_RN)
            up = below > above || (below == above && (r & 1) != 0);
        else if (mode == SD_RNA)
            up = below >= above;
        else
            up = mode == (neg ? SD_RM : SD_RP);
    }
    if (r == f->max && mag > v && !f->inf)
        up = false; /* formats without infinity saturate */
    return (r + up) | sign;
}

static void
check_format(const struct reference *f, double x)
{
    size_t m;

    if (x != x || isinf(x))
        return;
    for (m = 0; m < GP_ARRAY_LEN(modes); m++) {
        uint32_t want = reference_round(f, x, modes[m]);
        uint32_t got = sd_small_from_f64(x, f->format, modes[m], 0);

        cr_assert_eq(got, want, "format %d mode %d of %a: %x, not %x", f->format, modes[m], x, got,
                     want);
    }
}

Test(half, every_format_rounds_as_its_definition_says_in_all_modes)
{
    uint64_t state = 1, i;
    size_t f;

    for (f = 0; f < GP_ARRAY_LEN(references); f++) {
        for (i = 0; i < 6000; i++)
            check_format(&references[f], value_f64(i, &state));
        for (i = 0; i < 6000; i++)
            check_format(&references[f], (double)value_f32(i, &state));
    }
}

Test(half, every_value_midpoint_and_neighbour_rounds_right)
{
    size_t f;
    uint32_t p;

    for (f = 0; f < GP_ARRAY_LEN(references); f++) {
        const struct reference *ref = &references[f];
        uint32_t step = ref->max > 4096 ? 7 : 1;

        for (p = 0; p <= ref->max; p += step) {
            double v = reference_value(ref, p), mid = (v + reference_value(ref, p + 1)) / 2;
            const double tries[] = {v,
                                    mid,
                                    nextafter(mid, 0),
                                    nextafter(mid, INFINITY),
                                    nextafter(v, 0),
                                    nextafter(v, INFINITY)};
            size_t t;

            for (t = 0; t < GP_ARRAY_LEN(tries); t++) {
                check_format(ref, tries[t]);
                check_format(ref, -tries[t]);
            }
        }
    }
}

Test(half, every_pattern_converts_to_its_value_and_back)
{
    size_t f;
    uint32_t p;

    for (f = 0; f < GP_ARRAY_LEN(references); f++) {
        const struct reference *ref = &references[f];
        uint32_t sign = 1u << (ref->exp_bits + ref->man_bits);

        for (p = 0; p <= ref->max; p++) {
            double v = reference_value(ref, p);

            cr_assert(same_f64(sd_small_to_f64(p, ref->format), v));
            cr_assert(same_f64(sd_small_to_f64(p | sign, ref->format), -v));
            cr_assert_eq(sd_small_from_f64(-v, ref->format, SD_RN, 0), p | sign);
        }
    }
}

Test(half, quick_f16_and_bf16_paths_agree_with_the_table_for_all_patterns)
{
    uint32_t p;

    for (p = 0; p < 0x10000; p++) {
        double f16 = sd_small_to_f64(p, SD_F16), bf16 = sd_small_to_f64(p, SD_BF16);

        cr_assert(same_f32(sd_f16_to_f32((uint16_t)p), (float)f16), "f16 %x", p);
        cr_assert(same_f32(sd_bf16_to_f32((uint16_t)p), (float)bf16), "bf16 %x", p);
        if (f16 != f16)
            cr_assert_eq(sd_bits_f32(sd_f16_to_f32((uint16_t)p)), SD_NAN_F32);
    }
}

Test(half, quick_rounding_agrees_with_the_table_for_f32_values)
{
    uint64_t state = 7, i;
    uint32_t u;

    for (i = 0; i < 300000; i++) {
        float x = value_f32(i, &state);

        cr_assert_eq(sd_f32_to_f16_rn(x), sd_small_from_f64((double)x, SD_F16, SD_RN, 0), "%a",
                     (double)x);
        cr_assert_eq(sd_f32_to_bf16_rn(x), sd_small_from_f64((double)x, SD_BF16, SD_RN, 0), "%a",
                     (double)x);
    }
    /* All exponents, fractions around every rounding boundary. */
    for (u = 0; u < 0xffff0000u; u += 0x0ff1) {
        float x = sd_f32_bits(u);

        cr_assert_eq(sd_f32_to_f16_rn(x), sd_small_from_f64((double)x, SD_F16, SD_RN, 0));
        cr_assert_eq(sd_f32_to_bf16_rn(x), sd_small_from_f64((double)x, SD_BF16, SD_RN, 0));
    }
}

Test(half, infinities_and_nans_follow_the_format)
{
    static const struct {
        enum sd_small format;
        unsigned modifiers;
        uint32_t inf, nan;
    } rows[] = {
        {SD_F16, 0, 0x7c00, 0x7fff},
        {SD_F16, SD_SATFINITE, 0x7bff, 0x7fff},
        {SD_BF16, 0, 0x7f80, 0x7fff},
        {SD_BF16, SD_SATFINITE, 0x7f7f, 0x7fff},
        {SD_E4M3, SD_SATFINITE, 0x7e, 0x7f},
        {SD_E5M2, SD_SATFINITE, 0x7b, 0x7f},
        {SD_E5M2, 0, 0x7c, 0x7f},
        {SD_E2M1, SD_SATFINITE, 0x7, 0x7},
        {SD_E2M3, SD_SATFINITE, 0x1f, 0x1f},
        {SD_E3M2, SD_SATFINITE, 0x1f, 0x1f},
        {SD_TF32, 0, 0x7f800000, 0x7fffffff},
    };
    size_t i;

    for (i = 0; i < GP_ARRAY_LEN(rows); i++) {
        unsigned m = rows[i].modifiers;

        cr_assert_eq(sd_small_from_f64(INFINITY, rows[i].format, SD_RN, m), rows[i].inf);
        cr_assert_eq(sd_small_from_f64((double)NAN, rows[i].format, SD_RN, m), rows[i].nan);
        cr_assert_eq(sd_small_from_f64(-(double)NAN, rows[i].format, SD_RN, m), rows[i].nan);
        if ((m & SD_SATFINITE) != 0)
            cr_assert_eq(sd_small_from_f64(1e300, rows[i].format, SD_RN, m), rows[i].inf);
    }
    cr_assert_eq(sd_small_from_f64(1e6, SD_F16, SD_RZ, 0), 0x7bff);
    cr_assert_eq(sd_small_from_f64(-1e6, SD_F16, SD_RP, 0), 0xfbff);
    cr_assert_eq(sd_small_from_f64(-1e6, SD_F16, SD_RM, 0), 0xfc00);
}

Test(half, relu_and_sat_modify_the_result)
{
    cr_assert_eq(sd_small_from_f64(-3.0, SD_F16, SD_RN, SD_RELU), 0);
    cr_assert_eq(sd_small_from_f64(-0.0, SD_BF16, SD_RN, SD_RELU), 0);
    cr_assert_eq(sd_small_from_f64((double)NAN, SD_F16, SD_RN, SD_RELU), 0x7fff);
    cr_assert_eq(sd_small_from_f64(-INFINITY, SD_F16, SD_RN, SD_RELU), 0);
    cr_assert_eq(sd_small_from_f64(3.0, SD_F16, SD_RN, SD_SAT01), 0x3c00);
    cr_assert_eq(sd_small_from_f64(-3.0, SD_F16, SD_RN, SD_SAT01), 0);
    cr_assert_eq(sd_small_from_f64((double)NAN, SD_F16, SD_RN, SD_SAT01), 0);
    cr_assert_eq(sd_sat_f16(0x3c01), 0x3c00);
    cr_assert_eq(sd_sat_f16(0x7e00), 0);
    cr_assert_eq(sd_sat_f16(0x8001), 0);
    cr_assert_eq(sd_sat_f16(0x7c00), 0x3c00);
    cr_assert_eq(sd_sat_bf16(0x4000), 0x3f80);
    cr_assert_eq(sd_relu_f16(0x8000), 0);
    cr_assert_eq(sd_relu_f16(0xfe00), 0x7fff);
    cr_assert_eq(sd_relu_bf16(0xff80), 0);
    cr_assert_eq(sd_ftz_f16(0x83ff), 0x8000);
    cr_assert_eq(sd_ftz_f16(0x0400), 0x0400);
    cr_assert_eq(sd_ftz_bf16(0x807f), 0x8000);
}

Test(half, tf32_keeps_ten_bits_and_rounds_ties_away_with_rna)
{
    cr_assert_eq(sd_f32_to_tf32(1.0f, SD_RNA, 0), 0x3f800000);
    cr_assert_eq(sd_f32_to_tf32(sd_f32_bits(0x3f801000), SD_RNA, 0), 0x3f802000);
    cr_assert_eq(sd_f32_to_tf32(sd_f32_bits(0x3f801000), SD_RN, 0), 0x3f800000);
    cr_assert_eq(sd_f32_to_tf32(sd_f32_bits(0x3f803000), SD_RN, 0), 0x3f804000);
    cr_assert_eq(sd_f32_to_tf32(sd_f32_bits(0xbf800fff), SD_RZ, 0), 0xbf800000);
    cr_assert_eq(sd_f32_to_tf32(-2.0f, SD_RN, SD_RELU), 0);
    cr_assert_eq(sd_bits_f32(sd_tf32_operand(0x3f801fff)), 0x3f800000);
}

Test(half, ue8m0_holds_powers_of_two)
{
    cr_assert_eq(sd_small_from_f64(1.0, SD_UE8M0, SD_RZ, 0), 127);
    cr_assert_eq(sd_small_from_f64(1.5, SD_UE8M0, SD_RZ, 0), 127);
    cr_assert_eq(sd_small_from_f64(1.5, SD_UE8M0, SD_RP, 0), 128);
    cr_assert_eq(sd_small_from_f64(-1.5, SD_UE8M0, SD_RP, 0), 128);
    cr_assert_eq(sd_small_from_f64(0.0, SD_UE8M0, SD_RP, 0), 0);
    cr_assert_eq(sd_small_from_f64(1e300, SD_UE8M0, SD_RZ, 0), 254);
    cr_assert_eq(sd_small_from_f64((double)NAN, SD_UE8M0, SD_RZ, 0), 255);
    cr_assert_eq(sd_small_to_f64(130, SD_UE8M0), 8.0);
    cr_assert(isnan(sd_small_to_f64(255, SD_UE8M0)));
}

/* -- arithmetic: exact in 113 bits, rounded once by the reference -------------------------- */

static void
check_arithmetic(const struct reference *f, uint16_t a, uint16_t b, uint16_t c)
{
    __float128 x = sd_small_to_f64(a, f->format), y = sd_small_to_f64(b, f->format);
    __float128 z = sd_small_to_f64(c, f->format);
    bool f16 = f->format == SD_F16;

    cr_assert_eq(f16 ? sd_add_f16(a, b) : sd_add_bf16(a, b), reference_round(f, x + y, SD_RN));
    cr_assert_eq(f16 ? sd_sub_f16(a, b) : sd_sub_bf16(a, b), reference_round(f, x - y, SD_RN));
    cr_assert_eq(f16 ? sd_mul_f16(a, b) : sd_mul_bf16(a, b), reference_round(f, x * y, SD_RN));
    cr_assert_eq(f16 ? sd_fma_f16(a, b, c) : sd_fma_bf16(a, b, c),
                 reference_round(f, x * y + z, SD_RN), "fma %x %x %x", a, b, c);
}

static bool
is_finite(const struct reference *f, uint16_t h)
{
    return (h & 0x7fffu) <= f->max;
}

Test(half, f16_arithmetic_rounds_once)
{
    uint64_t state = 3, i;

    for (i = 0; i < 100000; i++) {
        uint64_t r = next_random(&state);
        uint16_t a = (uint16_t)r, b = (uint16_t)(r >> 16), c = (uint16_t)(r >> 32);

        /* Every other product is a tie whose last bit the addend decides. */
        if ((i & 1) != 0) {
            a = (uint16_t)((a & 0x801f) | 0x6400);
            b = (uint16_t)((b & 0x803f) | 0x5400);
            c &= 0x83ff;
        }
        if (is_finite(&references[0], a) && is_finite(&references[0], b) &&
            is_finite(&references[0], c))
            check_arithmetic(&references[0], a, b, c);
    }
}

Test(half, bf16_arithmetic_rounds_once)
{
    uint64_t state = 4, i;

    for (i = 0; i < 100000; i++) {
        uint64_t r = next_random(&state);
        /* Exponents within 2^+-20: sums and fused products fit the 113 bits. */
        uint16_t a = (uint16_t)((r & 0x87ff) + 0x3b80);
        uint16_t b = (uint16_t)((r >> 16 & 0x87ff) + 0x3b80);
        uint16_t c = (uint16_t)((r >> 32 & 0x87ff) + 0x3b80);

        if ((i & 1) != 0)
            c = (uint16_t)((c & 0x87ff) + 0x1f80); /* below the 53 bits of f64 */
        check_arithmetic(&references[1], a, b, c);
    }
}

Test(half, fused_halves_are_not_rounded_twice)
{
    /* 1 * tie plus the least positive number: f32 or f64 in between would lose it. */
    cr_assert_eq(sd_fma_f16(0x6801, 0x3800, 0x0001), 0x6401); /* exact but for 2^-24: stays */
    /* 2049 is a tie between 2048 and 2050; the tiny addend decides. */
    cr_assert_eq(sd_fma_f16(0x1081 /* 2049 * 2^-22 */, 0x3c00, 0x0000), 0x1081);
    cr_assert_eq(sd_fma_f16(0x6800, 0x3c00, 0x3c00), 0x6800); /* 2048 + 1: tie to even */
    cr_assert_eq(sd_fma_f16(0x6801, 0x3c00, 0x3c00), 0x6802); /* 2050 + 1: tie to even */
    /* (1 + 2^-10)^2 * 2^11 + tie breaker of the smallest subnormal. */
    cr_assert_eq(sd_fma_bf16(0x3f81, 0x3f80, 0x0001), 0x3f81);
    /* 257 is a tie between 256 and 258 in bf16: the smallest subnormal breaks it. */
    cr_assert_eq(sd_fma_bf16(0x4380, 0x3f80, 0x3f80), 0x4380); /* 256 + 1 */
    cr_assert_eq(sd_fma_bf16(0x3f81 /* 1.0078125 */, 0x3f81, 0x0001), 0x3f82);
    /* 1.01171875 = 1.0078125 + 2^-8: tie plus epsilon goes up, minus epsilon down. */
    cr_assert_eq(sd_fma_bf16(0x3b80 /* 2^-8 */, 0x3f80, 0x3f81), 0x3f82);
}

Test(half, bf16_sums_break_ties_by_far_smaller_addends)
{
    /* 1.00390625 would be a tie of 1 and 1.0078125: made of 1 * 2^-8 + (1 +- tiny). */
    cr_assert_eq(sd_fma_bf16(0x3b80, 0x3f80, 0x3f80), 0x3f80);
    cr_assert_eq(sd_fma_bf16(0x3b81, 0x3f80, 0x3f80), 0x3f81);
    cr_assert_eq(sd_add_bf16(0x3f80, 0x0001), 0x3f80);
    cr_assert_eq(sd_add_bf16(0x7f7f, 0x7f7f), 0x7f80);
    cr_assert_eq(sd_sub_bf16(0x3f80, 0x3f80), 0x0000);
    cr_assert_eq(sd_sub_bf16(0x7f80, 0x7f80), 0x7fff);
    cr_assert_eq(sd_mul_bf16(0x0001, 0x3f00), 0x0000); /* half the least: tie to even */
    cr_assert_eq(sd_mul_bf16(0x0003, 0x3f00), 0x0002);
    cr_assert_eq(sd_mul_bf16(0x7f80, 0x0000), 0x7fff);
}

Test(half, min_and_max_order_zeros_and_prefer_numbers)
{
    cr_assert_eq(sd_min_f16(0x0000, 0x8000, false, false), 0x8000);
    cr_assert_eq(sd_max_f16(0x8000, 0x0000, false, false), 0x0000);
    cr_assert_eq(sd_min_f16(0x7e00, 0x3c00, false, false), 0x3c00);
    cr_assert_eq(sd_max_f16(0x3c00, 0xfe00, false, false), 0x3c00);
    cr_assert_eq(sd_max_f16(0x3c00, 0xfe00, true, false), 0x7fff);
    cr_assert_eq(sd_min_f16(0x7e00, 0xfe00, false, false), 0x7fff);
    cr_assert_eq(sd_min_f16(0xbc00, 0x3800, false, false), 0xbc00);
    cr_assert_eq(sd_min_f16(0xbc00, 0x3800, false, true), 0xb800);
    cr_assert_eq(sd_max_f16(0xbc00, 0xb800, false, true), 0x3c00);
    cr_assert_eq(sd_max_bf16(0xff80, 0x0001, false, false), 0x0001);
    cr_assert_eq(sd_min_bf16(0xff80, 0x0001, false, false), 0xff80);
}

Test(half, packed_pairs_work_on_both_halves)
{
    cr_assert_eq(SD_X2_2(sd_add_f16, 0x3c004000u, 0x3c003c00u), 0x40004200u);
    cr_assert_eq(SD_X2_1(sd_relu_f16, 0xbc003c00u), 0x00003c00u);
    cr_assert_eq(SD_X2_3(sd_fma_f16, 0x40003c00u, 0x40004000u, 0x3c003c00u), 0x45004200u);
}

Test(half, narrow_ex2_and_tanh_stay_within_the_manual)
{
    uint32_t p;

    for (p = 0; p < 0x10000; p++) {
        double x = sd_small_to_f64(p, SD_F16);
        double e = sd_small_to_f64(sd_ex2_f16((uint16_t)p), SD_F16);
        double t = sd_small_to_f64(sd_tanh_f16((uint16_t)p), SD_F16);

        if (x != x) {
            cr_assert(e != e && t != t);
            continue;
        }
        cr_assert(fabs(t - tanh(x)) <= ldexp(1, -10) * 0.51, "tanh %a", x);
        if (exp2(x) < 65504 && exp2(x) > 6.2e-5)
            cr_assert(fabs(e / exp2(x) - 1) <= exp2(-9.9), "ex2 %a: %a", x, e);
    }
}
