/* backend/driver/soft/math/sd_fp.h -- f32 and f64 arithmetic in all rounding modes, min, max, tests
 *
 * f32 in a directed mode goes through f64 without touching the MXCSR: products of two f32 are
 * exact there, sums are rounded to odd, quotients and roots cannot come close enough to an f32
 * to be misjudged. f64 in a directed mode sets the MXCSR inside the out-of-line functions.
 * Results may be NaNs of any payload: apply sd_canon_f32 where the pattern can be seen.
 * .ftz: apply sd_ftz_f32 to inputs and to the result. .sat: apply sd_sat_f32 to the result.
 */
#ifndef SD_FP_H
#define SD_FP_H

#include "backend/driver/soft/math/sd_round.h"

#include <math.h>

/* e of a + b = s + e, exact unless s overflows. */
SD_INLINE double
sd_sum_error_f64(double a, double b, double s)
{
    double bb = s - a;

    return (a - (s - bb)) + (b - bb);
}

/* a + b of f64 values that came from f32 operands, rounded once to f32. */
SD_INLINE float
sd_round_sum_f32(double a, double b, enum sd_round mode)
{
    double s = a + b;
    double odd = sd_odd_f64(s, sd_sum_error_f64(a, b, s));

    /* An exact zero of operands with a minus sign among them is -0 when rounding down. */
    if (mode == SD_RM && s == 0.0)
        return sd_f32_bits((uint32_t)((sd_bits_f64(a) | sd_bits_f64(b)) >> 32 & 0x80000000u));
    return sd_f64_to_f32(odd, mode);
}

SD_INLINE float
sd_add_f32(float a, float b, enum sd_round mode)
{
    return mode == SD_RN ? a + b : sd_round_sum_f32((double)a, (double)b, mode);
}

SD_INLINE float
sd_sub_f32(float a, float b, enum sd_round mode)
{
    return mode == SD_RN ? a - b : sd_round_sum_f32((double)a, -(double)b, mode);
}

SD_INLINE float
sd_mul_f32(float a, float b, enum sd_round mode)
{
    return mode == SD_RN ? a * b : sd_f64_to_f32((double)a * (double)b, mode);
}

/* Also in the baseline build this vectorises, where fmaf() would be a call per lane. */
SD_INLINE float
sd_fma_f32(float a, float b, float c, enum sd_round mode)
{
#ifdef __FMA__
    if (mode == SD_RN)
        return __builtin_fmaf(a, b, c);
#endif
    return sd_round_sum_f32((double)a * (double)b, (double)c, mode);
}

SD_INLINE float
sd_div_f32(float a, float b, enum sd_round mode)
{
    return mode == SD_RN ? a / b : sd_f64_to_f32((double)a / (double)b, mode);
}

SD_INLINE float
sd_rcp_f32(float a, enum sd_round mode)
{
    return sd_div_f32(1.0f, a, mode);
}

SD_INLINE float
sd_sqrt_f32(float a, enum sd_round mode)
{
    return mode == SD_RN ? __builtin_sqrtf(a) : sd_f64_to_f32(__builtin_sqrt((double)a), mode);
}

/* One lane in any mode. SD_RN costs a call; use the plain operators for it. */
double sd_add_f64(double a, double b, enum sd_round mode);
double sd_sub_f64(double a, double b, enum sd_round mode);
double sd_mul_f64(double a, double b, enum sd_round mode);
double sd_fma_f64(double a, double b, double c, enum sd_round mode);
double sd_div_f64(double a, double b, enum sd_round mode);
double sd_sqrt_f64(double a, enum sd_round mode);

/* Whole warps in any mode, the MXCSR is switched once. dst may be one of the sources. */
void sd_add_f64_v(double *dst, const double *a, const double *b, enum sd_round mode);
void sd_sub_f64_v(double *dst, const double *a, const double *b, enum sd_round mode);
void sd_mul_f64_v(double *dst, const double *a, const double *b, enum sd_round mode);
void sd_fma_f64_v(double *dst, const double *a, const double *b, const double *c,
                  enum sd_round mode);
void sd_div_f64_v(double *dst, const double *a, const double *b, enum sd_round mode);
void sd_sqrt_f64_v(double *dst, const double *a, enum sd_round mode);

/* -- min and max: a number wins over a NaN, -0 < +0, two NaNs give the canonical one ------ */

SD_INLINE float
sd_min_f32(float a, float b)
{
    float r = a < b ? a : b;
    uint32_t zero = sd_bits_f32(a) | sd_bits_f32(b);

    r = a == b ? sd_f32_bits(zero) : r;
    r = a != a ? b : r;
    r = b != b ? a : r;
    return sd_canon_f32(r);
}

SD_INLINE float
sd_max_f32(float a, float b)
{
    float r = a > b ? a : b;
    uint32_t zero = sd_bits_f32(a) & sd_bits_f32(b);

    r = a == b ? sd_f32_bits(zero) : r;
    r = a != a ? b : r;
    r = b != b ? a : r;
    return sd_canon_f32(r);
}

/* .NaN: any NaN gives the canonical NaN. */
SD_INLINE float
sd_min_nan_f32(float a, float b)
{
    return a != a || b != b ? sd_f32_bits(SD_NAN_F32) : sd_min_f32(a, b);
}

SD_INLINE float
sd_max_nan_f32(float a, float b)
{
    return a != a || b != b ? sd_f32_bits(SD_NAN_F32) : sd_max_f32(a, b);
}

/* .xorsign.abs: r = min or max of the magnitudes; its sign becomes sign(a) ^ sign(b). */
SD_INLINE float
sd_xorsign_f32(float r, float a, float b)
{
    uint32_t sign = (sd_bits_f32(a) ^ sd_bits_f32(b)) & 0x80000000u;

    return r != r ? r : sd_f32_bits((sd_bits_f32(r) & 0x7fffffffu) | sign);
}

SD_INLINE double
sd_min_f64(double a, double b)
{
    double r = a < b ? a : b;
    uint64_t zero = sd_bits_f64(a) | sd_bits_f64(b);

    r = a == b ? sd_f64_bits(zero) : r;
    r = a != a ? b : r;
    r = b != b ? a : r;
    return sd_canon_f64(r);
}

SD_INLINE double
sd_max_f64(double a, double b)
{
    double r = a > b ? a : b;
    uint64_t zero = sd_bits_f64(a) & sd_bits_f64(b);

    r = a == b ? sd_f64_bits(zero) : r;
    r = a != a ? b : r;
    r = b != b ? a : r;
    return sd_canon_f64(r);
}

/* -- signs and classes ------------------------------------------------------------------------ */

/* PTX order: the sign of a, the magnitude of b. */
SD_INLINE float
sd_copysign_f32(float a, float b)
{
    return sd_f32_bits((sd_bits_f32(a) & 0x80000000u) | (sd_bits_f32(b) & 0x7fffffffu));
}

SD_INLINE double
sd_copysign_f64(double a, double b)
{
    return sd_f64_bits((sd_bits_f64(a) & 0x8000000000000000ull) |
                       (sd_bits_f64(b) & 0x7fffffffffffffffull));
}

SD_INLINE float
sd_abs_f32(float a)
{
    return sd_f32_bits(sd_bits_f32(a) & 0x7fffffffu);
}

SD_INLINE double
sd_abs_f64(double a)
{
    return sd_f64_bits(sd_bits_f64(a) & 0x7fffffffffffffffull);
}

SD_INLINE float
sd_neg_f32(float a)
{
    return sd_f32_bits(sd_bits_f32(a) ^ 0x80000000u);
}

SD_INLINE double
sd_neg_f64(double a)
{
    return sd_f64_bits(sd_bits_f64(a) ^ 0x8000000000000000ull);
}

enum sd_testp {
    SD_TESTP_FINITE,
    SD_TESTP_INFINITE,
    SD_TESTP_NUMBER,
    SD_TESTP_NOTANUMBER,
    SD_TESTP_NORMAL, /* neither NaN, infinity, subnormal; zero counts as normal */
    SD_TESTP_SUBNORMAL,
};

/* mag is the pattern without its sign; inf and min_normal are those of the format. */
SD_INLINE bool
sd_testp_bits(uint64_t mag, uint64_t inf, uint64_t min_normal, enum sd_testp op)
{
    switch (op) {
    case SD_TESTP_FINITE:
        return mag < inf;
    case SD_TESTP_INFINITE:
        return mag == inf;
    case SD_TESTP_NUMBER:
        return mag <= inf;
    case SD_TESTP_NOTANUMBER:
        return mag > inf;
    case SD_TESTP_NORMAL:
        return mag < inf && (mag == 0 || mag >= min_normal);
    case SD_TESTP_SUBNORMAL:
        return mag != 0 && mag < min_normal;
    }
    return false;
}

SD_INLINE bool
sd_testp_f32(float a, enum sd_testp op)
{
    return sd_testp_bits(sd_bits_f32(a) & 0x7fffffffu, 0x7f800000u, 0x00800000u, op);
}

SD_INLINE bool
sd_testp_f64(double a, enum sd_testp op)
{
    return sd_testp_bits(sd_bits_f64(a) & 0x7fffffffffffffffull, 0x7ff0000000000000ull,
                         0x0010000000000000ull, op);
}

#endif
