/* tests/unit/math/test_fp.c -- f32 and f64 arithmetic in all modes, min, max, classes */
#include "backend/driver/soft/math/sd_fp.h"

#include "tests/unit/math/values.h"

#include <criterion/criterion.h>
#include <fenv.h>

static const enum sd_round modes[] = {SD_RN, SD_RZ, SD_RM, SD_RP};
static const int host_modes[] = {FE_TONEAREST, FE_TOWARDZERO, FE_DOWNWARD, FE_UPWARD};

/* The processor's own f32 operation in mode m, on values the compiler cannot see. */
static float
host_f32(char op, float x, float y, float z, size_t m)
{
    volatile float a = x, b = y, c = z, r = 0;

    fesetround(host_modes[m]);
    switch (op) {
    case '+':
        r = a + b;
        break;
    case '-':
        r = a - b;
        break;
    case '*':
        r = a * b;
        break;
    case '/':
        r = a / b;
        break;
    case 'f':
        r = fmaf(a, b, c);
        break;
    case 's':
        r = sqrtf(a);
        break;
    }
    fesetround(FE_TONEAREST);
    return r;
}

static float
ours_f32(char op, float a, float b, float c, enum sd_round mode)
{
    switch (op) {
    case '+':
        return sd_add_f32(a, b, mode);
    case '-':
        return sd_sub_f32(a, b, mode);
    case '*':
        return sd_mul_f32(a, b, mode);
    case '/':
        return sd_div_f32(a, b, mode);
    case 'f':
        return sd_fma_f32(a, b, c, mode);
    default:
        return sd_sqrt_f32(a, mode);
    }
}

static void
check_f32(float a, float b, float c)
{
    static const char ops[] = "+-*/fs";
    size_t m, o;

    for (o = 0; ops[o] != '\0'; o++) {
        for (m = 0; m < GP_ARRAY_LEN(modes); m++) {
            float want = host_f32(ops[o], a, b, c, m), got = ours_f32(ops[o], a, b, c, modes[m]);

            cr_assert(same_f32(got, want), "%c mode %zu of %a %a %a: %a, not %a", ops[o], m,
                      (double)a, (double)b, (double)c, (double)got, (double)want);
        }
    }
}

Test(fp, f32_edge_values_agree_with_the_processor_in_every_mode)
{
    uint64_t state = 11, i, j;

    for (i = 0; i < N_EDGES_F32; i++)
        for (j = 0; j < N_EDGES_F32; j++)
            check_f32(value_f32(i, &state), value_f32(j, &state),
                      value_f32((i * 7 + j * 3) % N_EDGES_F32, &state));
}

Test(fp, f32_random_values_agree_with_the_processor_in_every_mode)
{
    uint64_t state = 12, i;

    for (i = 0; i < 60000; i++) {
        float a = value_f32(N_EDGES_F32 + i, &state), b = value_f32(N_EDGES_F32 + i, &state);

        check_f32(a, b, value_f32(N_EDGES_F32 + i, &state));
        check_f32(a, b, -a * b); /* cancellation */
    }
}

/* -- f64: the references are exact in __float128 ------------------------------------------- */

static double
round_f128(__float128 x, enum sd_round mode)
{
    double r = (double)x; /* nearest */
    __float128 back = r;

    if (mode == SD_RN || back == x || x != x)
        return r;
    if (mode == SD_RM || (mode == SD_RZ && x > 0))
        return back > x ? nextafter(r, -INFINITY) : r;
    return back < x ? nextafter(r, INFINITY) : r;
}

/* Values within 2^+-8, so that sums and fused products are exact in 113 bits. */
static double
near_one(uint64_t *state)
{
    uint64_t r = next_random(state);

    return sd_f64_bits((r & 0x800fffffffffffffull) | (0x3f7ull + (r >> 52 & 7)) << 52);
}

static double
short_one(uint64_t *state)
{
    return sd_f64_bits(sd_bits_f64(near_one(state)) & 0xffffffffff000000ull);
}

Test(fp, f64_directed_modes_agree_with_wider_arithmetic)
{
    uint64_t state = 21;
    int i;
    size_t m;

    for (i = 0; i < 20000; i++) {
        double a = near_one(&state), b = near_one(&state), s = short_one(&state);
        double t = short_one(&state), root = fabs(a);

        for (m = 0; m < GP_ARRAY_LEN(modes); m++) {
            enum sd_round mode = modes[m];
            __float128 wa = a, wb = b;
            double r;

            cr_assert(same_f64(sd_add_f64(a, b, mode), round_f128(wa + wb, mode)));
            cr_assert(same_f64(sd_sub_f64(a, b, mode), round_f128(wa - wb, mode)));
            cr_assert(same_f64(sd_mul_f64(a, b, mode), round_f128(wa * wb, mode)));
            cr_assert(same_f64(sd_div_f64(a, b, mode), round_f128(wa / wb, mode)));
            cr_assert(
                same_f64(sd_fma_f64(s, t, a, mode), round_f128((__float128)s * t + wa, mode)));
            r = sd_sqrt_f64(root, mode);
            if (mode == SD_RM || mode == SD_RZ) {
                double up = nextafter(r, INFINITY);

                cr_assert((__float128)r * r <= root && (__float128)up * up > root);
            }
            if (mode == SD_RP) {
                double down = nextafter(r, 0);

                cr_assert((__float128)r * r >= root && (__float128)down * down < root);
            }
        }
    }
}

Test(fp, f64_edge_values_behave_in_directed_modes)
{
    const double max = 0x1.fffffffffffffp1023, min = 0x1p-1074;

    cr_assert_eq(sd_add_f64(max, max, SD_RZ), max);
    cr_assert_eq(sd_add_f64(max, max, SD_RM), max);
    cr_assert_eq(sd_add_f64(max, max, SD_RP), INFINITY);
    cr_assert_eq(sd_mul_f64(min, min, SD_RP), min);
    cr_assert(same_f64(sd_mul_f64(-min, min, SD_RP), -0.0));
    cr_assert_eq(sd_mul_f64(-min, min, SD_RM), -min);
    cr_assert(same_f64(sd_add_f64(1.0, -1.0, SD_RM), -0.0));
    cr_assert(same_f64(sd_add_f64(1.0, -1.0, SD_RZ), 0.0));
    cr_assert(same_f64(sd_sub_f64(1.0, 1.0, SD_RM), -0.0));
    cr_assert_eq(sd_div_f64(1.0, 3.0, SD_RP), 0x1.5555555555556p-2);
    cr_assert_eq(sd_div_f64(1.0, 3.0, SD_RM), 0x1.5555555555555p-2);
    cr_assert_eq(sd_fma_f64(0x1p-600, 0x1p-600, 1.0, SD_RP), nextafter(1.0, 2.0));
    cr_assert_eq(sd_fma_f64(0x1p-600, -0x1p-600, 1.0, SD_RZ), nextafter(1.0, 0.0));
    cr_assert(isnan(sd_sqrt_f64(-1.0, SD_RZ)));
}

Test(fp, whole_warps_give_the_same_as_single_lanes_and_restore_the_mode)
{
    double a[SD_LANES], b[SD_LANES], c[SD_LANES], r[SD_LANES];
    uint64_t state = 31;
    size_t m;
    int i;

    for (i = 0; i < SD_LANES; i++) {
        a[i] = near_one(&state);
        b[i] = near_one(&state);
        c[i] = near_one(&state);
    }
    for (m = 0; m < GP_ARRAY_LEN(modes); m++) {
        enum sd_round mode = modes[m];

#define SAME(call, single)                                                                         \
    do {                                                                                           \
        call;                                                                                      \
        cr_assert_eq(fegetround(), FE_TONEAREST);                                                  \
        for (i = 0; i < SD_LANES; i++)                                                             \
            cr_assert(same_f64(r[i], single));                                                     \
    } while (0)
        SAME(sd_add_f64_v(r, a, b, mode), sd_add_f64(a[i], b[i], mode));
        SAME(sd_sub_f64_v(r, a, b, mode), sd_sub_f64(a[i], b[i], mode));
        SAME(sd_mul_f64_v(r, a, b, mode), sd_mul_f64(a[i], b[i], mode));
        SAME(sd_div_f64_v(r, a, b, mode), sd_div_f64(a[i], b[i], mode));
        SAME(sd_fma_f64_v(r, a, b, c, mode), sd_fma_f64(a[i], b[i], c[i], mode));
        SAME(sd_sqrt_f64_v(r, a, mode), sd_sqrt_f64(a[i], mode));
    }
    for (i = 0; i < SD_LANES; i++)
        c[i] = a[i];
    sd_add_f64_v(c, c, b, SD_RZ); /* in place */
    for (i = 0; i < SD_LANES; i++)
        cr_assert(same_f64(c[i], sd_add_f64(a[i], b[i], SD_RZ)));
}

Test(fp, narrowing_f64_to_f32_rounds_in_every_mode)
{
    uint64_t state = 41, i;
    size_t m;

    for (i = 0; i < 200000; i++) {
        double x = value_f64(i, &state);

        for (m = 0; m < GP_ARRAY_LEN(modes); m++) {
            volatile double v = x;
            volatile float want;

            fesetround(host_modes[m]);
            want = (float)v;
            fesetround(FE_TONEAREST);
            cr_assert(same_f32(sd_f64_to_f32(x, modes[m]), want), "%a mode %zu", x, m);
        }
    }
}

Test(fp, min_and_max_prefer_numbers_and_order_zeros)
{
    const float nan = sd_f32_bits(0xffc12345u);

    cr_assert_eq(sd_min_f32(nan, 1.0f), 1.0f);
    cr_assert_eq(sd_min_f32(1.0f, nan), 1.0f);
    cr_assert_eq(sd_max_f32(nan, -1.0f), -1.0f);
    cr_assert_eq(sd_bits_f32(sd_min_f32(nan, nan)), SD_NAN_F32);
    cr_assert_eq(sd_bits_f32(sd_min_nan_f32(nan, 1.0f)), SD_NAN_F32);
    cr_assert_eq(sd_bits_f32(sd_max_nan_f32(1.0f, nan)), SD_NAN_F32);
    cr_assert(same_f32(sd_min_f32(0.0f, -0.0f), -0.0f));
    cr_assert(same_f32(sd_min_f32(-0.0f, 0.0f), -0.0f));
    cr_assert(same_f32(sd_max_f32(0.0f, -0.0f), 0.0f));
    cr_assert(same_f32(sd_max_f32(-0.0f, 0.0f), 0.0f));
    cr_assert_eq(sd_min_f32(-INFINITY, 3.0f), -INFINITY);
    cr_assert(same_f32(sd_xorsign_f32(2.0f, -1.0f, 2.0f), -2.0f));
    cr_assert(same_f32(sd_xorsign_f32(2.0f, -1.0f, -2.0f), 2.0f));
    cr_assert(same_f64(sd_min_f64(0.0, -0.0), -0.0));
    cr_assert(same_f64(sd_max_f64(-0.0, 0.0), 0.0));
    cr_assert_eq(sd_max_f64((double)nan, 4.0), 4.0);
    cr_assert_eq(sd_bits_f64(sd_max_f64((double)nan, (double)nan)), SD_NAN_F64);
}

Test(fp, saturation_and_flushing_follow_ptx)
{
    cr_assert(same_f32(sd_sat_f32(-0.0f), 0.0f));
    cr_assert(same_f32(sd_sat_f32(NAN), 0.0f));
    cr_assert_eq(sd_sat_f32(INFINITY), 1.0f);
    cr_assert_eq(sd_sat_f32(0.25f), 0.25f);
    cr_assert(same_f64(sd_sat_f64((double)-NAN), 0.0));
    cr_assert(same_f32(sd_ftz_f32(-0x1p-149f), -0.0f));
    cr_assert(same_f32(sd_ftz_f32(0x1.fffffcp-127f), 0.0f));
    cr_assert_eq(sd_ftz_f32(0x1p-126f), 0x1p-126f);
    cr_assert(same_f64(sd_ftz_f64(-0x1p-1074), -0.0));
    cr_assert_eq(sd_bits_f32(sd_canon_f32(-NAN)), SD_NAN_F32);
}

Test(fp, testp_sorts_every_class)
{
    static const struct {
        uint32_t bits;
        bool finite, infinite, number, nan, normal, subnormal;
    } rows[] = {
        {0x00000000, 1, 0, 1, 0, 1, 0}, {0x80000001, 1, 0, 1, 0, 0, 1},
        {0x007fffff, 1, 0, 1, 0, 0, 1}, {0x00800000, 1, 0, 1, 0, 1, 0},
        {0xff7fffff, 1, 0, 1, 0, 1, 0}, {0x7f800000, 0, 1, 1, 0, 0, 0},
        {0xff800001, 0, 0, 0, 1, 0, 0}, {0x7fc00000, 0, 0, 0, 1, 0, 0},
    };
    size_t i;

    for (i = 0; i < GP_ARRAY_LEN(rows); i++) {
        float x = sd_f32_bits(rows[i].bits);

        cr_assert_eq(sd_testp_f32(x, SD_TESTP_FINITE), rows[i].finite);
        cr_assert_eq(sd_testp_f32(x, SD_TESTP_INFINITE), rows[i].infinite);
        cr_assert_eq(sd_testp_f32(x, SD_TESTP_NUMBER), rows[i].number);
        cr_assert_eq(sd_testp_f32(x, SD_TESTP_NOTANUMBER), rows[i].nan);
        cr_assert_eq(sd_testp_f32(x, SD_TESTP_NORMAL), rows[i].normal);
        cr_assert_eq(sd_testp_f32(x, SD_TESTP_SUBNORMAL), rows[i].subnormal);
    }
    cr_assert(sd_testp_f64(0x1p-1074, SD_TESTP_SUBNORMAL));
    cr_assert(sd_testp_f64(0x1p-1022, SD_TESTP_NORMAL));
}

Test(fp, copysign_takes_the_sign_of_its_first_operand)
{
    cr_assert(same_f32(sd_copysign_f32(-1.0f, 5.0f), -5.0f));
    cr_assert(same_f64(sd_copysign_f64(1.0, -5.0), 5.0));
    cr_assert(same_f32(sd_abs_f32(-0.0f), 0.0f));
    cr_assert_eq(sd_bits_f32(sd_neg_f32(sd_f32_bits(0x7fc00000))), 0xffc00000);
}
