/* tests/unit/math/values.h -- edge values, random values, references for the math tests */
#ifndef VALUES_H
#define VALUES_H

#include "backend/driver/soft/math/sd_round.h"
#include "protocol/base/util.h"

#include <math.h>

/* xorshift64*; seeds are fixed, so a failure repeats. */
static inline uint64_t
next_random(uint64_t *state)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * 0x2545f4914f6cdd1dull;
}

static const uint32_t edges_f32[] = {
    0x00000000, 0x00000001, 0x00000002, 0x007fffff, 0x00800000, 0x00800001, 0x00ffffff, 0x33800000,
    0x33800001, 0x34000000, 0x3effffff, 0x3f000000, 0x3f000001, 0x3f7fffff, 0x3f800000, 0x3f800001,
    0x3fc00000, 0x40000000, 0x40200000, 0x40490fdb, 0x42fe0000, 0x43000000, 0x437f0000, 0x437f8000,
    0x47000000, 0x477fe000, 0x477ff000, 0x4b000000, 0x4b000001, 0x4b7fffff, 0x4b800000, 0x4effffff,
    0x4f000000, 0x4f7fffff, 0x4f800000, 0x5effffff, 0x5f000000, 0x5f7fffff, 0x5f800000, 0x7e800000,
    0x7f000000, 0x7f7fffff, 0x7f800000, 0x7f800001, 0x7fc00000, 0x7fffffff,
};

static const uint64_t edges_f64[] = {
    0x0000000000000000, 0x0000000000000001, 0x000fffffffffffff, 0x0010000000000000,
    0x0010000000000001, 0x36a0000000000000, 0x36a0000000000001, 0x380fffffe0000000,
    0x3810000000000000, 0x3e60000000000000, 0x3fdfffffffffffff, 0x3fe0000000000000,
    0x3fe0000000000001, 0x3fefffffffffffff, 0x3ff0000000000000, 0x3ff0000000000001,
    0x3ff0000010000000, 0x3ff0000030000000, 0x3ff8000000000000, 0x4004000000000000,
    0x41dfffffffc00000, 0x41dfffffffe00000, 0x41e0000000000000, 0x41efffffffe00000,
    0x41effffffff00000, 0x41f0000000000000, 0x4330000000000000, 0x433fffffffffffff,
    0x4340000000000000, 0x43dfffffffffffff, 0x43e0000000000000, 0x43efffffffffffff,
    0x43f0000000000000, 0x47efffffe0000000, 0x47efffffefffffff, 0x47effffff0000000,
    0x47f0000000000000, 0x7fefffffffffffff, 0x7ff0000000000000, 0x7ff0000000000001,
    0x7ff8000000000000, 0x7fffffffffffffff,
};

#define N_EDGES_F32 (2 * GP_ARRAY_LEN(edges_f32))
#define N_EDGES_F64 (2 * GP_ARRAY_LEN(edges_f64))

/* Edge values of both signs first, then random patterns, half of them near 1. */
static inline float
value_f32(uint64_t i, uint64_t *state)
{
    uint32_t r = (uint32_t)(next_random(state) >> 32);

    if (i < N_EDGES_F32)
        return sd_f32_bits(edges_f32[i / 2] | (uint32_t)(i & 1) << 31);
    return sd_f32_bits((i & 1) != 0 ? r : (r & 0x83ffffffu) + 0x3c000000u);
}

static inline double
value_f64(uint64_t i, uint64_t *state)
{
    uint64_t r = next_random(state);

    if (i < N_EDGES_F64)
        return sd_f64_bits(edges_f64[i / 2] | (i & 1) << 63);
    return sd_f64_bits((i & 1) != 0 ? r : (r & 0x80ffffffffffffffull) + 0x3fa0000000000000ull);
}

static inline bool
same_f32(float a, float b)
{
    return (a != a && b != b) || sd_bits_f32(a) == sd_bits_f32(b);
}

static inline bool
same_f64(double a, double b)
{
    return (a != a && b != b) || sd_bits_f64(a) == sd_bits_f64(b);
}

/* Distance in units of the last place of the exact value; 0 for equal or both NaN. */
static inline double
ulps_f32(float got, double exact)
{
    double step;
    int exp;

    if (same_f32(got, (float)exact))
        return 0;
    if (!isfinite((double)got) || !isfinite(exact))
        return INFINITY;
    frexp(exact, &exp);
    step = ldexp(1.0, (exp < -125 ? -125 : exp) - 24);
    return fabs((double)got - exact) / step;
}

#endif
