/* backend/driver/soft/math/sd_round.h -- rounding modes and bit views shared by the math headers
 *
 * Everything in backend/driver/soft/math is pure: no state, any thread. All of it expects the
 * caller's MXCSR at its default (round to nearest, no FTZ, no DAZ) and is written without
 * relying on contraction (-ffp-contract=off).
 *
 * Functions marked SD_INLINE are branch-free where that matters, so that a plain loop over
 * 32 lanes vectorises in each of the three builds of the interpreter. Their callers should be
 * compiled with -O3 -fno-math-errno -fno-trapping-math: without the last gcc keeps selections
 * between floats as branches, three times slower. Pass enum sd_round as a constant where
 * speed matters: the switch then folds away.
 */
#ifndef SD_ROUND_H
#define SD_ROUND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define SD_INLINE static inline __attribute__((always_inline))
#define SD_LANES  32

/* PTX .rn .rz .rm .rp, also for .rni .rzi .rmi .rpi; SD_RNA is .rna: ties away from zero. */
enum sd_round {
    SD_RN,
    SD_RZ,
    SD_RM,
    SD_RP,
    SD_RNA,
};

#define SD_NAN_F32  0x7fffffffu
#define SD_NAN_F64  0x7fffffffffffffffull
#define SD_NAN_F16  0x7fffu
#define SD_NAN_BF16 0x7fffu

SD_INLINE uint32_t
sd_bits_f32(float x)
{
    uint32_t u;

    memcpy(&u, &x, sizeof(u));
    return u;
}

SD_INLINE float
sd_f32_bits(uint32_t u)
{
    float x;

    memcpy(&x, &u, sizeof(x));
    return x;
}

SD_INLINE uint64_t
sd_bits_f64(double x)
{
    uint64_t u;

    memcpy(&u, &x, sizeof(u));
    return u;
}

SD_INLINE double
sd_f64_bits(uint64_t u)
{
    double x;

    memcpy(&x, &u, sizeof(x));
    return x;
}

/* Subnormals become a zero of the same sign; everything else is unchanged. */
SD_INLINE float
sd_ftz_f32(float x)
{
    uint32_t u = sd_bits_f32(x);

    return sd_f32_bits((u & 0x7f800000u) == 0 ? u & 0x80000000u : u);
}

SD_INLINE double
sd_ftz_f64(double x)
{
    uint64_t u = sd_bits_f64(x);

    return sd_f64_bits((u & 0x7ff0000000000000ull) == 0 ? u & 0x8000000000000000ull : u);
}

/* f32 arithmetic returns this one NaN; x86 would return a negative or an operand's one. */
SD_INLINE float
sd_canon_f32(float x)
{
    return x != x ? sd_f32_bits(SD_NAN_F32) : x;
}

SD_INLINE double
sd_canon_f64(double x)
{
    return x != x ? sd_f64_bits(SD_NAN_F64) : x;
}

/* .sat: clamp to [0.0, 1.0], NaN becomes +0.0, also -0.0 does. */
SD_INLINE float
sd_sat_f32(float x)
{
    x = x > 0.0f ? x : 0.0f;
    return x < 1.0f ? x : 1.0f;
}

SD_INLINE double
sd_sat_f64(double x)
{
    x = x > 0.0 ? x : 0.0;
    return x < 1.0 ? x : 1.0;
}

/* The next value away from (up) or towards (down) zero by one step of the bit pattern;
 * the caller keeps zero, infinity and NaN out. */
SD_INLINE double
sd_step_f64(double x, int64_t step)
{
    return sd_f64_bits(sd_bits_f64(x) + (uint64_t)step);
}

/* s is the rounded-to-nearest sum, e its exact error: returns the sum rounded to odd, which
 * can be rounded once more to a much narrower format in any mode without double rounding. */
SD_INLINE double
sd_odd_f64(double s, double e)
{
    uint64_t u = sd_bits_f64(s);
    /* +1 if the exact value lies on the far side of s from zero, else -1. */
    uint64_t step = 1 - ((u ^ sd_bits_f64(e)) >> 63) * 2;
    /* e is NaN where s is not finite. */
    uint64_t inexact = e > 0.0 || e < 0.0 ? ~u & 1 : 0;

    return sd_f64_bits(u + ((0 - inexact) & step));
}

/* f64 -> f32 in a given mode; exact also for subnormal results and at overflow. NaNs keep
 * their sign and top payload bits, quieted. */
SD_INLINE float
sd_f64_to_f32(double x, enum sd_round mode)
{
    float f = (float)x; /* nearest */
    double back = (double)f;
    uint32_t u = sd_bits_f32(f);
    bool neg = (sd_bits_f64(x) >> 63) != 0;
    bool big = sd_bits_f64(back) << 1 > sd_bits_f64(x) << 1; /* |f| > |x| */
    bool small = sd_bits_f64(back) << 1 < sd_bits_f64(x) << 1;
    bool shrink = mode == SD_RZ || (mode == SD_RM && !neg) || (mode == SD_RP && neg);
    bool grow = (mode == SD_RM && neg) || (mode == SD_RP && !neg);

    if (mode == SD_RN || mode == SD_RNA)
        return f;
    u = x == x && big && shrink ? u - 1 : u;
    u = x == x && small && grow ? u + 1 : u;
    return sd_f32_bits(u);
}

#endif
