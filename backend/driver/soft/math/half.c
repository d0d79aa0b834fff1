/* backend/driver/soft/math/half.c -- small float formats by table, narrow arithmetic */
#include "backend/driver/soft/math/sd_half.h"

#include "backend/driver/soft/math/sd_approx.h"

#include <math.h>

struct format {
    int man_bits;   /* stored significand bits */
    int exp_min;    /* exponent of the smallest normal, 2^exp_min */
    uint32_t max;   /* pattern of the largest finite value */
    uint32_t inf;   /* 0 if none: overflow saturates */
    uint32_t nan;   /* what a NaN becomes */
    uint32_t sign;  /* sign bit, 0 if none */
    unsigned shift; /* pattern << shift is the register's (tf32) */
};

static const struct format formats[SD_SMALL_COUNT] = {
    [SD_F16] = {10, -14, 0x7bff, 0x7c00, SD_NAN_F16, 0x8000, 0},
    [SD_BF16] = {7, -126, 0x7f7f, 0x7f80, SD_NAN_BF16, 0x8000, 0},
    [SD_TF32] = {10, -126, 0x3fbff, 0x3fc00, 0x3ffff, 0x40000, 13},
    [SD_E4M3] = {3, -6, 0x7e, 0, 0x7f, 0x80, 0},
    [SD_E5M2] = {2, -14, 0x7b, 0x7c, 0x7f, 0x80, 0},
    [SD_E2M3] = {3, 0, 0x1f, 0, 0x1f, 0x20, 0},
    [SD_E3M2] = {2, -2, 0x1f, 0, 0x1f, 0x20, 0},
    [SD_E2M1] = {1, 0, 0x7, 0, 0x7, 0x8, 0},
};

/* Does the magnitude grow by one, given the cut-off bits? rest is relative to half. */
static bool
rounds_up(enum sd_round mode, bool neg, bool odd, uint64_t rest, uint64_t half)
{
    switch (mode) {
    case SD_RN:
        return rest > half || (rest == half && odd);
    case SD_RNA:
        return rest >= half;
    case SD_RZ:
        return false;
    case SD_RM:
        return neg && rest != 0;
    case SD_RP:
        return !neg && rest != 0;
    }
    return false;
}

/* The rounded pattern of a finite positive magnitude; may run past f->max. */
static uint64_t
round_magnitude(const struct format *f, uint64_t mag, enum sd_round mode, bool neg)
{
    int exp = (int)(mag >> 52) - 1023;
    uint64_t man = (mag & 0xfffffffffffffull) | 0x10000000000000ull;
    /* Bits to cut: more of them below the smallest normal. */
    int cut = 52 - f->man_bits + (exp < f->exp_min ? f->exp_min - exp : 0);
    uint64_t kept, rest, half;

    if (mag < 0x10000000000000ull) { /* zero, or an f64 subnormal: far below every format */
        exp = -1023;
        cut = 63;
        man = mag != 0;
    }
    cut = cut > 62 ? 62 : cut; /* man < 2^53, so the rest stays below half */
    half = 1ull << (cut - 1);
    kept = man >> cut;
    rest = man & ((1ull << cut) - 1);
    if (exp >= f->exp_min) /* drop the hidden bit into the exponent field */
        kept += (uint64_t)(exp - f->exp_min) << f->man_bits;
    return kept + rounds_up(mode, neg, (kept & 1) != 0, rest, half);
}

static bool
overflows_to_max(const struct format *f, enum sd_round mode, bool neg, unsigned modifiers)
{
    if (f->inf == 0 || (modifiers & SD_SATFINITE) != 0)
        return true;
    return mode == SD_RZ || (mode == SD_RM && !neg) || (mode == SD_RP && neg);
}

/* 2^(x - 127), sign ignored: only SD_RZ and SD_RP (away from zero) exist. */
static uint32_t
ue8m0_from_f64(double x, enum sd_round mode)
{
    uint64_t mag = sd_bits_f64(x) & 0x7fffffffffffffffull;
    int64_t biased = (int64_t)(mag >> 52) - 1023 + 127;

    if (mag > 0x7ff0000000000000ull)
        return 0xff;
    if (mode == SD_RP && (mag & 0xfffffffffffffull) != 0)
        biased++;
    if (biased < 0)
        return 0;
    return biased > 0xfe ? 0xfe : (uint32_t)biased;
}

uint32_t
sd_small_from_f64(double x, enum sd_small format, enum sd_round mode, unsigned modifiers)
{
    const struct format *f = &formats[format];
    uint64_t mag = sd_bits_f64(x) & 0x7fffffffffffffffull, r;
    bool neg = sd_bits_f64(x) >> 63 != 0;

    if (format == SD_UE8M0)
        return ue8m0_from_f64(x, mode);
    if ((modifiers & SD_SAT01) != 0) {
        x = sd_sat_f64(x);
        mag = sd_bits_f64(x);
        neg = false;
    }
    if (mag > 0x7ff0000000000000ull)
        return f->nan << f->shift | (f->shift != 0 ? (1u << f->shift) - 1 : 0);
    if (neg && (modifiers & SD_RELU) != 0)
        return 0;
    if (mag == 0x7ff0000000000000ull) {
        r = f->inf == 0 || (modifiers & SD_SATFINITE) != 0 ? f->max : f->inf;
    } else {
        r = round_magnitude(f, mag, mode, neg);
        if (r > f->max)
            r = overflows_to_max(f, mode, neg, modifiers) ? f->max : f->inf;
    }
    return ((uint32_t)r | (neg ? f->sign : 0)) << f->shift;
}

double
sd_small_to_f64(uint32_t v, enum sd_small format)
{
    const struct format *f = &formats[format];
    uint32_t bits = v >> f->shift, mag;
    int exp;
    double r;

    if (format == SD_UE8M0)
        return (v & 0xff) == 0xff ? sd_f64_bits(SD_NAN_F64) : ldexp(1.0, (int)(v & 0xff) - 127);
    mag = bits & (f->sign - 1);
    if (f->inf != 0 ? mag > f->inf : format == SD_E4M3 && mag == f->nan)
        return sd_f64_bits(SD_NAN_F64);
    exp = (int)(mag >> f->man_bits);
    r = mag & ((1u << f->man_bits) - 1);
    if (f->inf != 0 && mag == f->inf)
        r = INFINITY;
    else if (exp == 0)
        r = ldexp(r, f->exp_min - f->man_bits);
    else
        r = ldexp(r + (1 << f->man_bits), f->exp_min - f->man_bits + exp - 1);
    return (bits & f->sign) != 0 ? -r : r;
}

void
sd_f16_to_f32_v(float dst[SD_LANES], const uint16_t src[SD_LANES])
{
    int i;

    for (i = 0; i < SD_LANES; i++)
        dst[i] = sd_f16_to_f32(src[i]);
}

void
sd_f32_to_f16_v(uint16_t dst[SD_LANES], const float src[SD_LANES])
{
    int i;

    for (i = 0; i < SD_LANES; i++)
        dst[i] = sd_f32_to_f16_rn(src[i]);
}

/* -- arithmetic ---------------------------------------------------------------------------- */

/* a * b + c in f64 rounded to odd; a * b is exact there for f16 and bf16. */
static double
fma_odd(double a, double b, double c)
{
    double p = a * b, s = p + c;

    return sd_odd_f64(s, sd_sum_error_f64(p, c, s));
}

uint16_t
sd_fma_f16(uint16_t a, uint16_t b, uint16_t c)
{
    double r =
        fma_odd((double)sd_f16_to_f32(a), (double)sd_f16_to_f32(b), (double)sd_f16_to_f32(c));

    return (uint16_t)sd_small_from_f64(r, SD_F16, SD_RN, 0);
}

uint16_t
sd_fma_bf16(uint16_t a, uint16_t b, uint16_t c)
{
    double r =
        fma_odd((double)sd_bf16_to_f32(a), (double)sd_bf16_to_f32(b), (double)sd_bf16_to_f32(c));

    return (uint16_t)sd_small_from_f64(r, SD_BF16, SD_RN, 0);
}

/* bf16 sums and products may be f32 subnormals: f64, rounded to odd, holds them all. */
uint16_t
sd_add_bf16(uint16_t a, uint16_t b)
{
    return sd_fma_bf16(a, 0x3f80, b);
}

uint16_t
sd_sub_bf16(uint16_t a, uint16_t b)
{
    return sd_fma_bf16(a, 0x3f80, b ^ 0x8000u);
}

uint16_t
sd_mul_bf16(uint16_t a, uint16_t b)
{
    double p = (double)sd_bf16_to_f32(a) * (double)sd_bf16_to_f32(b);

    return (uint16_t)sd_small_from_f64(p, SD_BF16, SD_RN, 0);
}

/* Both formats order like sign-magnitude integers; nan is the first NaN pattern. */
static uint16_t
pick(uint16_t a, uint16_t b, uint16_t inf, bool nan_wins, bool xorsign, bool want_max)
{
    bool a_nan = (a & 0x7fff) > inf, b_nan = (b & 0x7fff) > inf;
    uint16_t sign = (uint16_t)((a ^ b) & 0x8000), r;
    int x, y;

    if ((a_nan && b_nan) || (nan_wins && (a_nan || b_nan)))
        return 0x7fff;
    if (xorsign) {
        a &= 0x7fff;
        b &= 0x7fff;
    }
    x = (a & 0x8000) != 0 ? -(a & 0x7fff) - 1 : a;
    y = (b & 0x8000) != 0 ? -(b & 0x7fff) - 1 : b;
    r = a_nan ? b : b_nan ? a : (x < y) != want_max ? a : b;
    return xorsign ? (uint16_t)((r & 0x7fff) | sign) : r;
}

uint16_t
sd_min_f16(uint16_t a, uint16_t b, bool nan_wins, bool xorsign)
{
    return pick(a, b, 0x7c00, nan_wins, xorsign, false);
}

uint16_t
sd_max_f16(uint16_t a, uint16_t b, bool nan_wins, bool xorsign)
{
    return pick(a, b, 0x7c00, nan_wins, xorsign, true);
}

uint16_t
sd_min_bf16(uint16_t a, uint16_t b, bool nan_wins, bool xorsign)
{
    return pick(a, b, 0x7f80, nan_wins, xorsign, false);
}

uint16_t
sd_max_bf16(uint16_t a, uint16_t b, bool nan_wins, bool xorsign)
{
    return pick(a, b, 0x7f80, nan_wins, xorsign, true);
}

uint16_t
sd_ex2_f16(uint16_t a)
{
    return sd_f32_to_f16_rn(sd_ex2_f32(sd_f16_to_f32(a)));
}

uint16_t
sd_ex2_bf16(uint16_t a)
{
    return sd_f32_to_bf16_rn(sd_ex2_f32(sd_bf16_to_f32(a)));
}

uint16_t
sd_tanh_f16(uint16_t a)
{
    return sd_f32_to_f16_rn(sd_tanh_f32(sd_f16_to_f32(a)));
}

uint16_t
sd_tanh_bf16(uint16_t a)
{
    return sd_f32_to_bf16_rn(sd_tanh_f32(sd_bf16_to_f32(a)));
}
