/* backend/driver/soft/math/rounding.c -- f64 arithmetic in directed modes, f64 <-> integers
 *
 * The MXCSR is switched around loops that read and write memory: the barriers make the loads
 * come after the switch and the stores before it is undone, so the compiler can neither move
 * nor fold an operation out of the fence, whatever it believes about rounding.
 */
#include "backend/driver/soft/math/sd_cvt.h"
#include "backend/driver/soft/math/sd_fp.h"

#include <immintrin.h>

/* Enters a mode; the result undoes it. */
static inline unsigned
mode_enter(enum sd_round mode)
{
    static const unsigned bits[] = {
        [SD_RN] = _MM_ROUND_NEAREST, [SD_RZ] = _MM_ROUND_TOWARD_ZERO, [SD_RM] = _MM_ROUND_DOWN,
        [SD_RP] = _MM_ROUND_UP,      [SD_RNA] = _MM_ROUND_NEAREST,
    };
    unsigned old = _mm_getcsr();

    _mm_setcsr((old & ~(unsigned)_MM_ROUND_MASK) | bits[mode]);
    __asm__ volatile("" ::: "memory");
    return old;
}

static inline void
mode_leave(unsigned old)
{
    __asm__ volatile("" ::: "memory");
    _mm_setcsr(old);
}

/* The operands and results of one call, opaque to the optimiser. */
#define VECTOR_2(name, expression)                                                                 \
    __attribute__((noinline)) void name##_v(double *dst, const double *a, const double *b,         \
                                            enum sd_round mode)                                    \
    {                                                                                              \
        unsigned old = mode_enter(mode);                                                           \
        int i;                                                                                     \
                                                                                                   \
        for (i = 0; i < SD_LANES; i++)                                                             \
            dst[i] = (expression);                                                                 \
        mode_leave(old);                                                                           \
    }                                                                                              \
    double name(double x, double y, enum sd_round mode)                                            \
    {                                                                                              \
        volatile double vx = x, vy = y, vr;                                                        \
        const volatile double *a = &vx, *b = &vy;                                                  \
        unsigned old = mode_enter(mode);                                                           \
        const int i = 0;                                                                           \
                                                                                                   \
        vr = (expression);                                                                         \
        mode_leave(old);                                                                           \
        return vr;                                                                                 \
    }

VECTOR_2(sd_add_f64, a[i] + b[i])
VECTOR_2(sd_sub_f64, a[i] - b[i])
VECTOR_2(sd_mul_f64, a[i] * b[i])
VECTOR_2(sd_div_f64, a[i] / b[i])

__attribute__((noinline)) void
sd_sqrt_f64_v(double *dst, const double *a, enum sd_round mode)
{
    unsigned old = mode_enter(mode);
    int i;

    /* The intrinsic, because sqrt() may become a call that is no barrier's business. */
    for (i = 0; i < SD_LANES; i += 2)
        _mm_storeu_pd(dst + i, _mm_sqrt_pd(_mm_loadu_pd(a + i)));
    mode_leave(old);
}

double
sd_sqrt_f64(double a, enum sd_round mode)
{
    volatile double va = a, vr;
    unsigned old = mode_enter(mode);

    vr = _mm_cvtsd_f64(_mm_sqrt_sd(_mm_setzero_pd(), _mm_set_sd(va)));
    mode_leave(old);
    return vr;
}

/* libm's fma obeys the dynamic mode, in hardware or in its software form. */
__attribute__((noinline)) void
sd_fma_f64_v(double *dst, const double *a, const double *b, const double *c, enum sd_round mode)
{
    unsigned old = mode_enter(mode);
    int i;

    for (i = 0; i < SD_LANES; i++)
        dst[i] = fma(a[i], b[i], c[i]);
    mode_leave(old);
}

double
sd_fma_f64(double a, double b, double c, enum sd_round mode)
{
    volatile double va = a, vb = b, vc = c, vr;
    unsigned old = mode_enter(mode);

    vr = fma(va, vb, vc);
    mode_leave(old);
    return vr;
}

/* -- float to integer of any width --------------------------------------------------------- */

uint64_t
sd_float_to_int(double x, enum sd_round mode, unsigned bits, bool is_signed, bool from_f64)
{
    uint64_t top = 1ull << (bits - 1);
    double low = is_signed ? -(double)top : 0.0;
    double over = is_signed ? (double)top : 2.0 * (double)top; /* the first value too large */
    double r;

    if (x != x) {
        if (!from_f64 && bits <= 32)
            return 0;
        return is_signed ? (uint64_t)((int64_t)(top << (64 - bits)) >> (64 - bits)) : top;
    }
    r = sd_integral_f64(x, mode);
    if (r >= over)
        return is_signed ? top - 1 : (top - 1) << 1 | 1;
    if (r <= low)
        return is_signed ? (uint64_t)((int64_t)(top << (64 - bits)) >> (64 - bits)) : 0;
    if (r >= 0x1p63)
        return (uint64_t)(int64_t)(r - 0x1p63) + (1ull << 63);
    return (uint64_t)(int64_t)r;
}

/* -- 64-bit integer to float ----------------------------------------------------------------- */

/* Rounds r, the nearest to the exact value, in a mode; below and above say where exact is. */
static double
redirect(double r, bool below, bool above, enum sd_round mode)
{
    bool neg = r < 0.0;

    if (below && (mode == SD_RM || (mode == SD_RZ && !neg)))
        return neg ? sd_step_f64(r, 1) : sd_step_f64(r, -1);
    if (above && (mode == SD_RP || (mode == SD_RZ && neg)))
        return neg ? sd_step_f64(r, -1) : sd_step_f64(r, 1);
    return r;
}

double
sd_s64_to_f64(uint64_t v, enum sd_round mode)
{
    double r = (double)(int64_t)v;
    __int128 back = (__int128)r, exact = (int64_t)v;

    return redirect(r, exact < back, exact > back, mode);
}

double
sd_u64_to_f64(uint64_t v, enum sd_round mode)
{
    double r = (double)v;
    __int128 back = (__int128)r, exact = v;

    return redirect(r, exact < back, exact > back, mode);
}

/* The top 53 bits, the last one sticky: rounds once more without harm. */
static double
odd_u64(uint64_t v)
{
    uint64_t sticky = (v & 0x7ff) != 0;

    return v < 1ull << 53 ? (double)v : (double)((v & ~0x7ffull) | sticky << 11);
}

static double
odd_s64(uint64_t v)
{
    return (int64_t)v < 0 ? -odd_u64(0 - v) : odd_u64(v);
}

float
sd_s64_to_f32(uint64_t v, enum sd_round mode)
{
    return sd_f64_to_f32(odd_s64(v), mode);
}

float
sd_u64_to_f32(uint64_t v, enum sd_round mode)
{
    return sd_f64_to_f32(odd_u64(v), mode);
}

uint32_t
sd_s64_to_small(uint64_t v, enum sd_small format, enum sd_round mode, unsigned modifiers)
{
    return sd_small_from_f64(odd_s64(v), format, mode, modifiers);
}

uint32_t
sd_u64_to_small(uint64_t v, enum sd_small format, enum sd_round mode, unsigned modifiers)
{
    return sd_small_from_f64(odd_u64(v), format, mode, modifiers);
}
