/* backend/driver/soft/math/sd_approx.h -- the .approx and .full instructions
 *
 * Evaluated in f64 without tables or calls, so that loops over 32 lanes vectorise in every
 * build and all builds return the same bits. Errors stay within half an ulp and a little
 * (2^-23.9 relative; sin and cos 2^-24 absolute up to |x| = 2^20), inside what the PTX manual
 * allows. Special values are those of the manual. NaN results: see sd_canon_f32.
 * .ftz variants: sd_ftz_f32 on inputs and result.
 */
#ifndef SD_APPROX_H
#define SD_APPROX_H

#include "backend/driver/soft/math/sd_fp.h"

/* 2^x for |x| <= 1000, relative error 2.6e-9. */
SD_INLINE double
sd_exp2_core(double x)
{
    double t = x + 0x1.8p52; /* the low bits of t are rint(x) */
    double f = x - (t - 0x1.8p52);
    double p = 0.0001546144469646172;
    uint64_t scale = (sd_bits_f64(t) + 1023) << 52;

    p = p * f + 0.0013400428177419153;
    p = p * f + 0.00961805667852609;
    p = p * f + 0.05550327226670944;
    p = p * f + 0.24022650922288827;
    p = p * f + 0.6931472067028321;
    p = p * f + 1.0;
    return p * sd_f64_bits(scale);
}

/* 2^x; -inf gives +0, +inf gives +inf. */
SD_INLINE float
sd_ex2_f32(float x)
{
    double d = (double)x;

    d = d < -200.0 ? -200.0 : d;
    d = d > 200.0 ? 200.0 : d; /* a NaN passes both */
    return (float)sd_exp2_core(d);
}

/* log2 of a positive normal f64, relative error 1e-11. */
SD_INLINE double
sd_log2_core(double x)
{
    uint64_t u = sd_bits_f64(x);
    /* Exponent after scaling the significand into [sqrt(1/2), sqrt(2)). */
    uint64_t e = (u - 0x3fe6a09e667f3bcdull) >> 52; /* 12 bits, two's complement */
    double m = sd_f64_bits(u - (e << 52));
    double n = sd_f64_bits(0x4338000000000000ull + (e ^ 0x800)) - (0x1.8p52 + 2048.0);
    double s = (m - 1.0) / (m + 1.0);
    double z = s * s;
    double p = 0.34071208669078235;

    p = p * z + 0.4116737633789286;
    p = p * z + 0.5770835660616949;
    p = p * z + 0.9617966734511922;
    p = p * z + 2.8853900817899873;
    return n + s * p;
}

/* -0 and +0 give -inf, negative gives NaN. Subnormals are exact here (normal in f64). */
SD_INLINE float
sd_lg2_f32(float x)
{
    double d = (double)x;
    float r = (float)sd_log2_core(d);

    r = d == 0.0 ? -__builtin_inff() : r;
    r = d == (double)__builtin_inff() ? __builtin_inff() : r;
    return d >= 0.0 ? r : sd_f32_bits(SD_NAN_F32);
}

/* x minus the nearest multiple of pi/2; *quadrant_p is that multiple mod 4 in its low bits.
 * Beyond 2^45 the hardware has no fraction left either: the angle counts as zero. */
SD_INLINE double
sd_reduce_angle(double x, uint64_t *quadrant_p)
{
    double big = sd_abs_f64(x) < 0x1p45 ? x : 0.0;
    double t = big * 0x1.45f306dc9c883p-1 + 0x1.8p52;
    double q = t - 0x1.8p52;

    *quadrant_p = sd_bits_f64(t);
    return ((big - q * 0x1.921fb54p+0) - q * 0x1.10b461p-30) - q * 0x1.a62633145c06ep-58;
}

SD_INLINE float
sd_sincos_core(double x, uint64_t add)
{
    uint64_t q;
    double r = sd_reduce_angle(x, &q);
    double z = r * r;
    double s = 2.717345699409155e-06, c = 2.43798312351096e-05, v;

    s = s * z - 0.00019839202213939604;
    s = s * z + 0.0083333287824646;
    s = s * z - 0.16666666631591223;
    s = (s * z + 0.9999999999956731) * r;
    c = c * z - 0.0013886617999487431;
    c = c * z + 0.04166661669252817;
    c = c * z - 0.4999999961485757;
    c = c * z + 0.9999999999524894;
    q += add;
    v = (q & 1) != 0 ? c : s;
    v = sd_f64_bits(sd_bits_f64(v) ^ (q & 2) << 62);
    /* An infinity or NaN gives NaN. */
    return sd_abs_f64(x) <= 0x1p1000 ? (float)v : sd_f32_bits(SD_NAN_F32);
}

SD_INLINE float
sd_sin_f32(float x)
{
    return sd_sincos_core((double)x, 0);
}

SD_INLINE float
sd_cos_f32(float x)
{
    return sd_sincos_core((double)x, 1);
}

SD_INLINE float
sd_tanh_f32(float x)
{
    double mag = sd_abs_f64((double)x);
    double z = mag * mag;
    double few = mag - mag * z * (1.0 / 3.0 - z * (2.0 / 15.0));
    double e = sd_exp2_core((mag < 20.0 ? mag : 20.0) * 2.8853900817779268);
    double r = mag < 0x1p-6 ? few : 1.0 - 2.0 / (e + 1.0);

    r = sd_copysign_f64((double)x, r);
    return x != x ? sd_f32_bits(SD_NAN_F32) : (float)r;
}

/* -- reciprocal, roots, quotient: correctly rounded ----------------------------------------- */

SD_INLINE float
sd_rcp_approx_f32(float x)
{
    return 1.0f / x;
}

SD_INLINE float
sd_sqrt_approx_f32(float x)
{
    return __builtin_sqrtf(x);
}

/* -0 gives -inf. */
SD_INLINE float
sd_rsqrt_f32(float x)
{
    return (float)(1.0 / __builtin_sqrt((double)x));
}

/* div.approx: a divisor above 2^126 has a reciprocal that flushes to zero. */
SD_INLINE float
sd_div_approx_f32(float a, float b)
{
    float big = sd_abs_f32(b);
    float zero = sd_f32_bits(sd_bits_f32(b) & 0x80000000u);

    return big > 0x1p126f && big <= 0x1.fffffep127f ? a * zero : a / b;
}

SD_INLINE float
sd_div_full_f32(float a, float b)
{
    return a / b;
}

/* -- the coarse f64 pair: upper 32 bits in, upper 32 bits out, 20 bits of significand ------- */

/* Keeps the upper word, rounded to nearest; x is finite or infinite, not NaN. */
SD_INLINE double
sd_coarse_f64(double x)
{
    return sd_f64_bits((sd_bits_f64(x) + 0x80000000ull) & 0xffffffff00000000ull);
}

SD_INLINE double
sd_rcp_approx_f64(double x)
{
    double in = sd_ftz_f64(sd_f64_bits(sd_bits_f64(x) & 0xffffffff00000000ull));
    double r = sd_coarse_f64(sd_ftz_f64(1.0 / in));

    return x != x ? sd_f64_bits(SD_NAN_F64 & 0xffffffff00000000ull) : r;
}

SD_INLINE double
sd_rsqrt_approx_f64(double x)
{
    double in = sd_ftz_f64(sd_f64_bits(sd_bits_f64(x) & 0xffffffff00000000ull));
    double r = 1.0 / __builtin_sqrt(in);

    return r != r || x != x ? sd_f64_bits(SD_NAN_F64 & 0xffffffff00000000ull) : sd_coarse_f64(r);
}

#endif
