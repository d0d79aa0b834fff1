/* tests/unit/math/test_cvt.c -- conversions between integers and floats */
#include "backend/driver/soft/math/sd_cvt.h"
#include "backend/driver/soft/math/sd_int.h"

#include "tests/unit/math/values.h"

#include <criterion/criterion.h>
#include <fenv.h>

static const enum sd_round modes[] = {SD_RN, SD_RZ, SD_RM, SD_RP};

static double
reference_integral(double x, enum sd_round mode)
{
    switch (mode) {
    case SD_RN:
        return nearbyint(x);
    case SD_RZ:
        return trunc(x);
    case SD_RM:
        return floor(x);
    case SD_RP:
        return ceil(x);
    case SD_RNA:
        return round(x);
    }
    return 0;
}

static uint64_t
reference_to_int(double x, enum sd_round mode, unsigned bits, bool is_signed, bool from_f64)
{
    __int128 min = is_signed ? -((__int128)1 << (bits - 1)) : 0;
    __int128 max = ((__int128)1 << (bits - is_signed)) - 1;
    __int128 v;

    if (x != x) {
        if (!from_f64 && bits <= 32)
            return 0;
        return is_signed ? (uint64_t)min : 1ull << (bits - 1);
    }
    x = reference_integral(x, mode);
    v = x > 1e30 ? max : x < -1e30 ? min : (__int128)x;
    v = v > max ? max : v;
    return (uint64_t)(v < min ? min : v);
}

static void
check_to_int(double x, bool from_f64)
{
    static const unsigned widths[] = {8, 16, 32, 64};
    size_t m, w;

    for (m = 0; m < GP_ARRAY_LEN(modes); m++) {
        enum sd_round mode = modes[m];

        for (w = 0; w < GP_ARRAY_LEN(widths); w++) {
            unsigned bits = widths[w];

            cr_assert_eq(sd_float_to_int(x, mode, bits, true, from_f64),
                         reference_to_int(x, mode, bits, true, from_f64), "s%u mode %zu of %a",
                         bits, m, x);
            cr_assert_eq(sd_float_to_int(x, mode, bits, false, from_f64),
                         reference_to_int(x, mode, bits, false, from_f64), "u%u mode %zu of %a",
                         bits, m, x);
        }
    }
}

Test(cvt, floats_become_integers_of_every_width_rounded_and_clamped)
{
    uint64_t state = 1, i;

    for (i = 0; i < 30000; i++) {
        check_to_int(value_f64(i, &state), true);
        check_to_int((double)value_f32(i, &state), false);
        /* Around the integers that matter. */
        check_to_int(ldexp((double)(int64_t)next_random(&state), -(int)(i % 64)), true);
    }
}

Test(cvt, quick_paths_agree_with_the_general_one)
{
    uint64_t state = 2, i;
    size_t m;

    for (i = 0; i < 60000; i++) {
        float f = value_f32(i, &state);
        double d = (i & 2) != 0 ? value_f64(i, &state)
                                : ldexp((double)(int64_t)next_random(&state), -20 - (int)(i % 40));

        for (m = 0; m < GP_ARRAY_LEN(modes); m++) {
            enum sd_round mode = modes[m];

            cr_assert_eq(sd_f32_to_s32(f, mode),
                         (uint32_t)reference_to_int((double)f, mode, 32, true, false));
            cr_assert_eq(sd_f32_to_u32(f, mode),
                         (uint32_t)reference_to_int((double)f, mode, 32, false, false));
            cr_assert_eq(sd_f64_to_s32(d, mode),
                         (uint32_t)reference_to_int(d, mode, 32, true, true));
            cr_assert_eq(sd_f64_to_u32(d, mode),
                         (uint32_t)reference_to_int(d, mode, 32, false, true));
            cr_assert_eq(sd_f64_to_s64(d, mode), reference_to_int(d, mode, 64, true, true));
            cr_assert_eq(sd_f64_to_u64(d, mode), reference_to_int(d, mode, 64, false, true));
            cr_assert_eq(sd_f32_to_s64(f, mode),
                         reference_to_int((double)f, mode, 64, true, false));
            cr_assert_eq(sd_f32_to_u64(f, mode),
                         reference_to_int((double)f, mode, 64, false, false));
        }
    }
}

Test(cvt, nan_is_zero_or_the_top_bit_as_ptx_says)
{
    cr_assert_eq(sd_f32_to_s32(NAN, SD_RZ), 0);
    cr_assert_eq(sd_f32_to_u64(NAN, SD_RZ), 1ull << 63);
    cr_assert_eq(sd_f32_to_s64(NAN, SD_RZ), 1ull << 63);
    cr_assert_eq(sd_f64_to_s32((double)NAN, SD_RZ), 1u << 31);
    cr_assert_eq(sd_f64_to_u32((double)NAN, SD_RZ), 1u << 31);
    cr_assert_eq(sd_f64_to_u64((double)NAN, SD_RZ), 1ull << 63);
    cr_assert_eq(sd_float_to_int((double)NAN, SD_RZ, 8, true, true), (uint64_t)-128);
}

Test(cvt, rounding_to_integral_keeps_the_sign_of_zero)
{
    uint64_t state = 3, i;
    size_t m;

    for (i = 0; i < 100000; i++) {
        double x = (i & 1) != 0 ? value_f64(i, &state)
                                : ldexp((double)(int64_t)next_random(&state), -(int)(i % 64));
        float f = value_f32(i, &state);

        for (m = 0; m < GP_ARRAY_LEN(modes); m++) {
            cr_assert(same_f64(sd_integral_f64(x, modes[m]), reference_integral(x, modes[m])),
                      "%a mode %zu", x, m);
            cr_assert(same_f32(sd_integral_f32(f, modes[m]),
                               (float)reference_integral((double)f, modes[m])));
        }
    }
    cr_assert(same_f64(sd_integral_f64(-0.25, SD_RN), -0.0));
    cr_assert(same_f64(sd_integral_f64(-0.25, SD_RP), -0.0));
    cr_assert(same_f64(sd_integral_f64(2.5, SD_RNA), 3.0));
}

/* The reference: an exact 128-bit float, rounded by comparing with its neighbours. */
static double
round_to_f64(__float128 x, enum sd_round mode)
{
    double r = (double)x;

    if ((__float128)r > x && (mode == SD_RM || (mode == SD_RZ && x > 0)))
        return nextafter(r, -INFINITY);
    if ((__float128)r < x && (mode == SD_RP || (mode == SD_RZ && x < 0)))
        return nextafter(r, INFINITY);
    return r;
}

static float
round_to_f32(__float128 x, enum sd_round mode)
{
    float r = (float)x;

    if ((__float128)r > x && (mode == SD_RM || (mode == SD_RZ && x > 0)))
        return nextafterf(r, -INFINITY);
    if ((__float128)r < x && (mode == SD_RP || (mode == SD_RZ && x < 0)))
        return nextafterf(r, INFINITY);
    return r;
}

static void
check_from_int(uint64_t v)
{
    size_t m;

    for (m = 0; m < GP_ARRAY_LEN(modes); m++) {
        enum sd_round mode = modes[m];
        __float128 s = (int64_t)v, u = v, s32 = (int32_t)v, u32 = (uint32_t)v;

        cr_assert(same_f64(sd_s64_to_f64(v, mode), round_to_f64(s, mode)), "%lx", v);
        cr_assert(same_f64(sd_u64_to_f64(v, mode), round_to_f64(u, mode)), "%lx", v);
        cr_assert(same_f32(sd_s64_to_f32(v, mode), round_to_f32(s, mode)), "%lx", v);
        cr_assert(same_f32(sd_u64_to_f32(v, mode), round_to_f32(u, mode)), "%lx", v);
        cr_assert(same_f32(sd_s32_to_f32((uint32_t)v, mode), round_to_f32(s32, mode)), "%lx", v);
        cr_assert(same_f32(sd_u32_to_f32((uint32_t)v, mode), round_to_f32(u32, mode)), "%lx", v);
    }
    cr_assert_eq(sd_s32_to_f64((uint32_t)v), (double)(int32_t)v);
    cr_assert_eq(sd_u32_to_f64((uint32_t)v), (double)(uint32_t)v);
}

Test(cvt, integers_become_floats_rounded_once_in_every_mode)
{
    uint64_t state = 4;
    int i, d;

    for (i = 0; i < 64; i++)
        for (d = -3; d <= 3; d++)
            check_from_int((1ull << i) + (uint64_t)(int64_t)d);
    for (i = 0; i < 40000; i++) {
        uint64_t r = next_random(&state);

        check_from_int(r >> i % 64);
        /* Ties of f32 and f64 with and without a last bit that breaks them. */
        check_from_int(1ull << 63 | (r & 0xff) << 40 | 1ull << 39 | (uint64_t)(i & 1));
        check_from_int(1ull << 62 | (r & 0xff) << 10 | 1ull << 9 | (uint64_t)(i & 1));
    }
}

Test(cvt, integers_become_halves_rounded_once)
{
    cr_assert_eq(sd_s64_to_small(2049, SD_F16, SD_RN, 0), 0x6800);
    cr_assert_eq(sd_s64_to_small(2051, SD_F16, SD_RN, 0), 0x6802);
    cr_assert_eq(sd_s64_to_small((uint64_t)-2049, SD_F16, SD_RM, 0), 0xe801);
    cr_assert_eq(sd_u64_to_small(65519, SD_F16, SD_RN, 0), 0x7bff);
    cr_assert_eq(sd_u64_to_small(65520, SD_F16, SD_RN, 0), 0x7c00);
    cr_assert_eq(sd_u64_to_small(65520, SD_F16, SD_RZ, 0), 0x7bff);
    /* A tie of bf16 that only the last of 64 bits breaks. */
    cr_assert_eq(sd_u64_to_small(0x8080000000000000ull, SD_BF16, SD_RN, 0), 0x5f00);
    cr_assert_eq(sd_u64_to_small(0x8080000000000001ull, SD_BF16, SD_RN, 0), 0x5f01);
}

Test(cvt, integer_saturation_clamps_to_the_target)
{
    cr_assert_eq(sd_sat_from_s64(300, 8, false), 255);
    cr_assert_eq(sd_sat_from_s64(-1, 8, false), 0);
    cr_assert_eq(sd_sat_from_s64(-200, 8, true), (uint64_t)-128);
    cr_assert_eq(sd_sat_from_s64(200, 8, true), 127);
    cr_assert_eq(sd_sat_from_s64(-5, 64, false), 0);
    cr_assert_eq(sd_sat_from_s64(INT64_MIN, 64, true), (uint64_t)INT64_MIN);
    cr_assert_eq(sd_sat_from_u64(~0ull, 64, true), INT64_MAX);
    cr_assert_eq(sd_sat_from_u64(~0ull, 64, false), ~0ull);
    cr_assert_eq(sd_sat_from_u64(1ull << 32, 32, false), UINT32_MAX);
    cr_assert_eq(sd_sat_from_u64(40000, 16, true), 32767);
}
