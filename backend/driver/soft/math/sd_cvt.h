/* backend/driver/soft/math/sd_cvt.h -- cvt between integers and f32, f64; rounding to integral
 *
 * Float to integer: rounded by mode (.rni .rzi .rmi .rpi), clamped to the target's range. A NaN
 * gives 0 from f16/bf16/f32 to at most 32 bits, otherwise only the target's top bit.
 * f16 and bf16 sources: widen to f32 first. Integer to f16: through sd_s64_to_f64 and
 * sd_small_from_f64 with SD_RN only for up to 53 bits; sd_s64_to_small does all.
 */
#ifndef SD_CVT_H
#define SD_CVT_H

#include "backend/driver/soft/math/sd_half.h"

/* -- rounding to an integral value, keeping the sign of zero ------------------------------ */

/* The magnitude trick: adding 2^52 leaves no fraction bits; nearest even. */
SD_INLINE double
sd_integral_f64(double x, enum sd_round mode)
{
    uint64_t sign = sd_bits_f64(x) & 0x8000000000000000ull;
    double mag = sd_f64_bits(sd_bits_f64(x) ^ sign);
    double r = (mag + 0x1p52) - 0x1p52;
    bool down = mode == SD_RZ || (mode == SD_RM && sign == 0) || (mode == SD_RP && sign != 0);
    bool up = (mode == SD_RM && sign != 0) || (mode == SD_RP && sign == 0);

    r = down && r > mag ? r - 1.0 : r;
    r = up && r < mag ? r + 1.0 : r;
    r = mode == SD_RNA && mag - r == 0.5 ? r + 1.0 : r;
    r = mag < 0x1p52 ? r : mag; /* already integral, infinite or NaN */
    return sd_f64_bits(sd_bits_f64(r) | sign);
}

SD_INLINE float
sd_integral_f32(float x, enum sd_round mode)
{
    return (float)sd_integral_f64((double)x, mode);
}

/* -- to integers of up to 32 bits; vectorise ----------------------------------------------- */

/* x rounded and clamped, as the low 32 bits of a magic sum. */
SD_INLINE uint32_t
sd_f64_to_i32_clamped(double x, double min, double max, enum sd_round mode)
{
    x = x > min ? x : min; /* a NaN becomes min: the caller replaces it */
    x = x < max ? x : max;
    return (uint32_t)sd_bits_f64(sd_integral_f64(x, mode) + 0x1.8p52);
}

SD_INLINE uint32_t
sd_f32_to_s32(float x, enum sd_round mode)
{
    uint32_t r = sd_f64_to_i32_clamped((double)x, -0x1p31, 0x1.fffffffcp30, mode);

    return x != x ? 0 : r;
}

SD_INLINE uint32_t
sd_f32_to_u32(float x, enum sd_round mode)
{
    uint32_t r = sd_f64_to_i32_clamped((double)x, 0.0, 0x1.fffffffep31, mode);

    return x != x ? 0 : r;
}

SD_INLINE uint32_t
sd_f64_to_s32(double x, enum sd_round mode)
{
    uint32_t r = sd_f64_to_i32_clamped(x, -0x1p31, 0x1.fffffffcp30, mode);

    return x != x ? 0x80000000u : r;
}

SD_INLINE uint32_t
sd_f64_to_u32(double x, enum sd_round mode)
{
    uint32_t r = sd_f64_to_i32_clamped(x, 0.0, 0x1.fffffffep31, mode);

    return x != x ? 0x80000000u : r;
}

/* Any target: bits 8, 16, 32, 64; the result is sign- or zero-extended to 64 bits.
 * from_f64 selects the NaN rule. */
uint64_t sd_float_to_int(double x, enum sd_round mode, unsigned bits, bool is_signed,
                         bool from_f64);

/* A NaN gives the top bit from f32 as well as from f64. */
SD_INLINE uint64_t
sd_f64_to_s64(double x, enum sd_round mode)
{
    double r = sd_integral_f64(x, mode);
    bool fits = r >= -0x1p63 && r < 0x1p63;
    uint64_t far = r >= 0x1p63 ? INT64_MAX : (uint64_t)INT64_MIN;

    return fits ? (uint64_t)(int64_t)r : far;
}

SD_INLINE uint64_t
sd_f64_to_u64(double x, enum sd_round mode)
{
    double r = sd_integral_f64(x, mode);

    if (r < 0x1p63)
        return r > 0.0 ? (uint64_t)(int64_t)r : 0;
    if (r < 0x1p64)
        return (uint64_t)(int64_t)(r - 0x1p63) + (1ull << 63);
    return r != r ? 1ull << 63 : UINT64_MAX;
}

SD_INLINE uint64_t
sd_f32_to_s64(float x, enum sd_round mode)
{
    return sd_f64_to_s64((double)x, mode);
}

SD_INLINE uint64_t
sd_f32_to_u64(float x, enum sd_round mode)
{
    return sd_f64_to_u64((double)x, mode);
}

/* -- from integers -------------------------------------------------------------------------- */

SD_INLINE float
sd_s32_to_f32(uint32_t v, enum sd_round mode)
{
    return sd_f64_to_f32((double)(int32_t)v, mode);
}

SD_INLINE float
sd_u32_to_f32(uint32_t v, enum sd_round mode)
{
    /* The pattern trick vectorises where a u32 conversion does not. */
    return sd_f64_to_f32(sd_f64_bits(0x4330000000000000ull | v) - 0x1p52, mode);
}

SD_INLINE double
sd_s32_to_f64(uint32_t v)
{
    return (double)(int32_t)v;
}

SD_INLINE double
sd_u32_to_f64(uint32_t v)
{
    return sd_f64_bits(0x4330000000000000ull | v) - 0x1p52;
}

double sd_s64_to_f64(uint64_t v, enum sd_round mode);
double sd_u64_to_f64(uint64_t v, enum sd_round mode);
float sd_s64_to_f32(uint64_t v, enum sd_round mode);
float sd_u64_to_f32(uint64_t v, enum sd_round mode);
uint32_t sd_s64_to_small(uint64_t v, enum sd_small format, enum sd_round mode, unsigned modifiers);
uint32_t sd_u64_to_small(uint64_t v, enum sd_small format, enum sd_round mode, unsigned modifiers);

#endif
