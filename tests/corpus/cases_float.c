/* tests/corpus/cases_float.c -- f32 and f64 arithmetic, min, max, approximations */
#include "tests/corpus/corpus.h"

#include <math.h>
#include <string.h>

static float
F(uint64_t u)
{
    uint32_t w = (uint32_t)u;
    float x;

    memcpy(&x, &w, sizeof(x));
    return x;
}

static uint64_t
f(float x)
{
    uint32_t u;

    memcpy(&u, &x, sizeof(u));
    return u;
}

static double
D(uint64_t u)
{
    double x;

    memcpy(&x, &u, sizeof(x));
    return x;
}

static uint64_t
d64(double x)
{
    uint64_t u;

    memcpy(&u, &x, sizeof(u));
    return u;
}

/* .ftz and .sat as the manual words them. */
static float
ftz(float x)
{
    return fabsf(x) < 0x1p-126f ? copysignf(0.0f, x) : x;
}

static float
sat(float x)
{
    return x > 0.0f ? fminf(x, 1.0f) : 0.0f;
}

/* IEEE 754-2019 minimumNumber: -0 below +0. */
static float
lesser(float a, float b)
{
    if (a != a || b != b)
        return a != a ? b : a;
    return a < b || (a == b && signbit(a)) ? a : b;
}

static float
greater(float a, float b)
{
    return -lesser(-a, -b);
}

static double
lesser64(double a, double b)
{
    if (a != a || b != b)
        return a != a ? b : a;
    return a < b || (a == b && signbit(a)) ? a : b;
}

static float
xorsign(float r, float a, float b)
{
    return copysignf(r, !signbit(a) != !signbit(b) ? -1.0f : 1.0f);
}

/* One operation in one mode, plain, .ftz, .sat, .ftz.sat. */
#define SUMS(X, op, sign, m)                                                                       \
    X(op##_r##m##_f32, #op ".r" #m ".f32 d, a, b;", F32, F32, F32, NO, 75, EXACT,                  \
      f(host_f32(sign, #m[0], F(a), F(b), 0)))                                                     \
    X(op##_r##m##_ftz_f32, #op ".r" #m ".ftz.f32 d, a, b;", F32, F32, F32, NO, 75, EXACT,          \
      f(ftz(host_f32(sign, #m[0], ftz(F(a)), ftz(F(b)), 0))))                                      \
    X(op##_r##m##_sat_f32, #op ".r" #m ".sat.f32 d, a, b;", F32, F32, F32, NO, 75, EXACT,          \
      f(sat(host_f32(sign, #m[0], F(a), F(b), 0))))                                                \
    X(op##_r##m##_ftz_sat_f32, #op ".r" #m ".ftz.sat.f32 d, a, b;", F32, F32, F32, NO, 75, EXACT,  \
      f(sat(ftz(host_f32(sign, #m[0], ftz(F(a)), ftz(F(b)), 0)))))                                 \
    X(op##_r##m##_f64, #op ".r" #m ".f64 d, a, b;", F64, F64, F64, NO, 75, EXACT,                  \
      d64(host_f64(sign, #m[0], D(a), D(b), 0)))

#define FUSED(X, m)                                                                                \
    X(fma_r##m##_f32, "fma.r" #m ".f32 d, a, b, c;", F32, F32, F32, F32, 75, EXACT,                \
      f(host_f32('f', #m[0], F(a), F(b), F(c))))                                                   \
    X(fma_r##m##_ftz_sat_f32, "fma.r" #m ".ftz.sat.f32 d, a, b, c;", F32, F32, F32, F32, 75,       \
      EXACT, f(sat(ftz(host_f32('f', #m[0], ftz(F(a)), ftz(F(b)), ftz(F(c)))))))                   \
    X(mad_r##m##_f32, "mad.r" #m ".f32 d, a, b, c;", F32, F32, F32, F32, 75, EXACT,                \
      f(host_f32('f', #m[0], F(a), F(b), F(c))))                                                   \
    X(fma_r##m##_f64, "fma.r" #m ".f64 d, a, b, c;", F64, F64, F64, F64, 75, EXACT,                \
      d64(host_f64('f', #m[0], D(a), D(b), D(c))))                                                 \
    X(div_r##m##_f32, "div.r" #m ".f32 d, a, b;", F32, F32, F32, NO, 75, EXACT,                    \
      f(host_f32('/', #m[0], F(a), F(b), 0)))                                                      \
    X(div_r##m##_ftz_f32, "div.r" #m ".ftz.f32 d, a, b;", F32, F32, F32, NO, 75, EXACT,            \
      f(ftz(host_f32('/', #m[0], ftz(F(a)), ftz(F(b)), 0))))                                       \
    X(div_r##m##_f64, "div.r" #m ".f64 d, a, b;", F64, F64, F64, NO, 75, EXACT,                    \
      d64(host_f64('/', #m[0], D(a), D(b), 0)))                                                    \
    X(rcp_r##m##_f32, "rcp.r" #m ".f32 d, a;", F32, F32, NO, NO, 75, EXACT,                        \
      f(host_f32('/', #m[0], 1, F(a), 0)))                                                         \
    X(rcp_r##m##_f64, "rcp.r" #m ".f64 d, a;", F64, F64, NO, NO, 75, EXACT,                        \
      d64(host_f64('/', #m[0], 1, D(a), 0)))                                                       \
    X(sqrt_r##m##_f32, "sqrt.r" #m ".f32 d, a;", F32, F32, NO, NO, 75, EXACT,                      \
      f(host_f32('s', #m[0], F(a), 0, 0)))                                                         \
    X(sqrt_r##m##_f64, "sqrt.r" #m ".f64 d, a;", F64, F64, NO, NO, 75, EXACT,                      \
      d64(host_f64('s', #m[0], D(a), 0, 0)))

#define IN_MODES(X, m)                                                                             \
    SUMS(X, add, '+', m)                                                                           \
    SUMS(X, sub, '-', m)                                                                           \
    SUMS(X, mul, '*', m)                                                                           \
    FUSED(X, m)

#define SIGNS_F32(X)                                                                               \
    X(abs_f32, "abs.f32 d, a;", F32, F32, NO, NO, 75, EXACT, a & 0x7fffffff)                       \
    X(abs_ftz_f32, "abs.ftz.f32 d, a;", F32, F32, NO, NO, 75, EXACT, f(ftz(fabsf(F(a)))))          \
    X(neg_f32, "neg.f32 d, a;", F32, F32, NO, NO, 75, EXACT, a ^ 0x80000000)                       \
    X(neg_ftz_f32, "neg.ftz.f32 d, a;", F32, F32, NO, NO, 75, EXACT, f(ftz(-F(a))))                \
    X(copysign_f32, "copysign.f32 d, a, b;", F32, F32, F32, NO, 75, CANON,                         \
      (a & 0x80000000) | (b & 0x7fffffff))                                                         \
    X(min_f32, "min.f32 d, a, b;", F32, F32, F32, NO, 75, EXACT, f(lesser(F(a), F(b))))            \
    X(max_f32, "max.f32 d, a, b;", F32, F32, F32, NO, 75, EXACT, f(greater(F(a), F(b))))           \
    X(min_ftz_f32, "min.ftz.f32 d, a, b;", F32, F32, F32, NO, 75, EXACT,                           \
      f(lesser(ftz(F(a)), ftz(F(b)))))                                                             \
    X(max_nan_f32, "max.NaN.f32 d, a, b;", F32, F32, F32, NO, 80, EXACT,                           \
      F(a) != F(a) || F(b) != F(b) ? 0x7fffffff : f(greater(F(a), F(b))))                          \
    X(min_xorsign_f32, "min.xorsign.abs.f32 d, a, b;", F32, F32, F32, NO, 86, EXACT,               \
      f(xorsign(lesser(fabsf(F(a)), fabsf(F(b))), F(a), F(b))))                                    \
    X(max_nan_xorsign_f32, "max.NaN.xorsign.abs.f32 d, a, b;", F32, F32, F32, NO, 86, EXACT,       \
      F(a) != F(a) || F(b) != F(b) ? 0x7fffffff                                                    \
                                   : f(xorsign(greater(fabsf(F(a)), fabsf(F(b))), F(a), F(b))))    \
    X(add_nan_is_canonical_f32, "add.f32 d, a, b;", F32, F32, F32, NO, 75, CANON,                  \
      F(a) + F(b) != F(a) + F(b) ? 0x7fffffff : f(F(a) + F(b)))

#define SIGNS_F64(X)                                                                               \
    X(abs_f64, "abs.f64 d, a;", F64, F64, NO, NO, 75, EXACT, a & 0x7fffffffffffffff)               \
    X(neg_f64, "neg.f64 d, a;", F64, F64, NO, NO, 75, EXACT, a ^ 0x8000000000000000)               \
    X(copysign_f64, "copysign.f64 d, a, b;", F64, F64, F64, NO, 75, CANON,                         \
      (a & 0x8000000000000000) | (b & 0x7fffffffffffffff))                                         \
    X(min_f64, "min.f64 d, a, b;", F64, F64, F64, NO, 75, EXACT, d64(lesser64(D(a), D(b))))        \
    X(max_f64, "max.f64 d, a, b;", F64, F64, F64, NO, 75, EXACT, d64(-lesser64(-D(a), -D(b))))

/* Quotients that the manual calls 2 ulps hold it for divisors within 2^+-126 only. */
static uint64_t
div_approx(float a, float b)
{
    if (fabsf(b) > 0x1p126f && !isinf(b))
        return f(a * copysignf(0.0f, b));
    return f(a / b);
}

#define APPROX(X)                                                                                  \
    X(ex2_approx_f32, "ex2.approx.f32 d, a;", F32, POW, NO, NO, 75, REL22,                         \
      f((float)exp2((double)F(a))))                                                                \
    X(ex2_approx_any_f32, "ex2.approx.ftz.f32 d, a;", F32, F32, NO, NO, 75, REL22,                 \
      f(ftz((float)exp2((double)ftz(F(a))))))                                                      \
    X(lg2_approx_f32, "lg2.approx.f32 d, a;", F32, F32, NO, NO, 75, LG2,                           \
      f((float)log2((double)F(a))))                                                                \
    X(lg2_approx_ftz_f32, "lg2.approx.ftz.f32 d, a;", F32, F32, NO, NO, 75, LG2,                   \
      f((float)log2((double)ftz(F(a)))))                                                           \
    X(sin_approx_f32, "sin.approx.f32 d, a;", F32, ANGLE, NO, NO, 75, ABS20,                       \
      f((float)sin((double)F(a))))                                                                 \
    X(cos_approx_f32, "cos.approx.f32 d, a;", F32, ANGLE, NO, NO, 75, ABS20,                       \
      f((float)cos((double)F(a))))                                                                 \
    X(tanh_approx_f32, "tanh.approx.f32 d, a;", F32, F32, NO, NO, 75, REL11,                       \
      f((float)tanh((double)F(a))))                                                                \
    X(rcp_approx_f32, "rcp.approx.f32 d, a;", F32, F32, NO, NO, 75, ULP2, f(1.0f / F(a)))          \
    X(rcp_approx_ftz_f32, "rcp.approx.ftz.f32 d, a;", F32, F32, NO, NO, 75, ULP2,                  \
      f(ftz(1.0f / ftz(F(a)))))                                                                    \
    X(sqrt_approx_f32, "sqrt.approx.f32 d, a;", F32, F32, NO, NO, 75, ULP2, f(sqrtf(F(a))))        \
    X(sqrt_approx_ftz_f32, "sqrt.approx.ftz.f32 d, a;", F32, F32, NO, NO, 75, ULP2,                \
      f(sqrtf(ftz(F(a)))))                                                                         \
    X(rsqrt_approx_f32, "rsqrt.approx.f32 d, a;", F32, F32, NO, NO, 75, REL22,                     \
      f((float)(1.0 / sqrt((double)F(a)))))                                                        \
    X(rsqrt_approx_ftz_f32, "rsqrt.approx.ftz.f32 d, a;", F32, F32, NO, NO, 75, REL22,             \
      f((float)(1.0 / sqrt((double)ftz(F(a))))))                                                   \
    X(div_approx_f32, "div.approx.f32 d, a, b;", F32, F32, F32, NO, 75, ULP2,                      \
      div_approx(F(a), F(b)))                                                                      \
    X(div_full_f32, "div.full.f32 d, a, b;", F32, F32, F32, NO, 75, ULP2, f(F(a) / F(b)))          \
    X(rcp_approx_ftz_f64, "rcp.approx.ftz.f64 d, a;", F64, F64, NO, NO, 75, REL20,                 \
      coarse(1.0 / coarse_in(a)))                                                                  \
    X(rsqrt_approx_ftz_f64, "rsqrt.approx.ftz.f64 d, a;", F64, F64, NO, NO, 75, REL20,             \
      coarse(1.0 / sqrt(coarse_in(a))))

static double
ftz64(double x)
{
    return fabs(x) < 0x1p-1022 ? copysign(0.0, x) : x;
}

/* The lower word is ignored on the way in, except that a NaN stays one. */
static double
coarse_in(uint64_t a)
{
    double x = D(a);

    return x != x ? x : ftz64(D(a & 0xffffffff00000000));
}

static uint64_t
coarse(double x)
{
    return d64(ftz64(x));
}

/* Pairs of f32 in a 64-bit register, and minima of three: sm_100. */
static uint64_t
pair(char op, char mode, uint64_t a, uint64_t b, uint64_t c)
{
    uint64_t low = f(host_f32(op, mode, F(a), F(b), F(c)));

    return f(host_f32(op, mode, F(a >> 32), F(b >> 32), F(c >> 32))) << 32 | low;
}

/* NaN payloads of packed pairs are compared, so the inputs are made numbers first. */
#define NUMBERS "and.b64 t, a, 0xbfffffffbfffffff; and.b64 u, b, 0xbfffffffbfffffff; "
#define N_(x)   ((x)&0xbfffffffbfffffff)
#define SM_100(X)                                                                                  \
    X(add_rn_f32x2, NUMBERS "add.rn.f32x2 d, t, u;", I64, I64, I64, NO, 100, EXACT,                \
      pair('+', 'n', N_(a), N_(b), 0))                                                             \
    X(sub_rz_f32x2, NUMBERS "sub.rz.f32x2 d, t, u;", I64, I64, I64, NO, 100, EXACT,                \
      pair('-', 'z', N_(a), N_(b), 0))                                                             \
    X(mul_rp_f32x2, NUMBERS "mul.rp.f32x2 d, t, u;", I64, I64, I64, NO, 100, EXACT,                \
      pair('*', 'p', N_(a), N_(b), 0))                                                             \
    X(fma_rn_f32x2, NUMBERS "and.b64 v, c, 0xbfffffffbfffffff; fma.rn.f32x2 d, t, u, v;", I64,     \
      I64, I64, I64, 100, EXACT, pair('f', 'n', N_(a), N_(b), N_(c)))                              \
    X(min3_f32, "min.f32 d, a, b, c;", F32, F32, F32, F32, 100, EXACT,                             \
      f(lesser(lesser(F(a), F(b)), F(c))))                                                         \
    X(max3_nan_f32, "max.NaN.f32 d, a, b, c;", F32, F32, F32, F32, 100, EXACT,                     \
      F(a) != F(a) || F(b) != F(b) || F(c) != F(c) ? 0x7fffffff                                    \
                                                   : f(greater(greater(F(a), F(b)), F(c))))

#define ALL_F32(X)                                                                                 \
    IN_MODES(X, n)                                                                                 \
    IN_MODES(X, z)                                                                                 \
    IN_MODES(X, m)                                                                                 \
    IN_MODES(X, p)

#define ALL_OTHER(X)                                                                               \
    SIGNS_F32(X)                                                                                   \
    SIGNS_F64(X)                                                                                   \
    SM_100(X)                                                                                      \
    APPROX(X)

ALL_F32(CORPUS_REF)
ALL_OTHER(CORPUS_REF)

const struct corpus_case corpus_arithmetic[] = {ALL_F32(CORPUS_ROW){.name = NULL}};
const struct corpus_case corpus_functions[] = {ALL_OTHER(CORPUS_ROW){.name = NULL}};
