/* tests/corpus/cases_predicates.c -- setp, set, selp, slct, testp */
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

static double
D(uint64_t u)
{
    double x;

    memcpy(&x, &u, sizeof(x));
    return x;
}

static float
ftz(float x)
{
    return fabsf(x) < 0x1p-126f ? copysignf(0.0f, x) : x;
}

#define DECIDED "; selp.u32 d, 1, 0, q;"

#define SETP(X, op, t, W, expr)                                                                    \
    X(setp_##op##_##t, "setp." #op "." #t " q, a, b" DECIDED, I32, W, W, NO, 75, EXACT, expr)

#define ORDERED(X, t, W, T)                                                                        \
    SETP(X, eq, t, W, (T)a == (T)b)                                                                \
    SETP(X, ne, t, W, (T)a != (T)b)                                                                \
    SETP(X, lt, t, W, (T)a < (T)b)                                                                 \
    SETP(X, le, t, W, (T)a <= (T)b)                                                                \
    SETP(X, gt, t, W, (T)a > (T)b)                                                                 \
    SETP(X, ge, t, W, (T)a >= (T)b)

#define UNSIGNED(X, t, W, T)                                                                       \
    ORDERED(X, t, W, T)                                                                            \
    SETP(X, lo, t, W, (T)a < (T)b)                                                                 \
    SETP(X, ls, t, W, (T)a <= (T)b)                                                                \
    SETP(X, hi, t, W, (T)a > (T)b)                                                                 \
    SETP(X, hs, t, W, (T)a >= (T)b)

#define FLOATING(X, t, W, V)                                                                       \
    SETP(X, eq, t, W, V(a) == V(b))                                                                \
    SETP(X, ne, t, W, V(a) < V(b) || V(a) > V(b))                                                  \
    SETP(X, lt, t, W, V(a) < V(b))                                                                 \
    SETP(X, le, t, W, V(a) <= V(b))                                                                \
    SETP(X, gt, t, W, V(a) > V(b))                                                                 \
    SETP(X, ge, t, W, V(a) >= V(b))                                                                \
    SETP(X, equ, t, W, !(V(a) < V(b) || V(a) > V(b)))                                              \
    SETP(X, neu, t, W, V(a) != V(b))                                                               \
    SETP(X, ltu, t, W, !(V(a) >= V(b)))                                                            \
    SETP(X, leu, t, W, !(V(a) > V(b)))                                                             \
    SETP(X, gtu, t, W, !(V(a) <= V(b)))                                                            \
    SETP(X, geu, t, W, !(V(a) < V(b)))                                                             \
    SETP(X, num, t, W, V(a) == V(a) && V(b) == V(b))                                               \
    SETP(X, nan, t, W, V(a) != V(a) || V(b) != V(b))

#define TESTP(X, op, expr32, expr64)                                                               \
    X(testp_##op##_f32, "testp." #op ".f32 q, a" DECIDED, I32, F32, NO, NO, 75, EXACT, expr32)     \
    X(testp_##op##_f64, "testp." #op ".f64 q, a" DECIDED, I32, F64, NO, NO, 75, EXACT, expr64)

#define CLASSES(X)                                                                                 \
    TESTP(X, finite, isfinite(F(a)), isfinite(D(a)))                                               \
    TESTP(X, infinite, !!isinf(F(a)), !!isinf(D(a)))                                               \
    TESTP(X, number, !isnan(F(a)), !isnan(D(a)))                                                   \
    TESTP(X, notanumber, !!isnan(F(a)), !!isnan(D(a)))                                             \
    TESTP(X, normal, isnormal(F(a)) || F(a) == 0, isnormal(D(a)) || D(a) == 0)                     \
    TESTP(X, subnormal, fpclassify(F(a)) == FP_SUBNORMAL, fpclassify(D(a)) == FP_SUBNORMAL)

#define OTHERS(X)                                                                                  \
    X(setp_ftz_lt_f32, "setp.lt.ftz.f32 q, a, b" DECIDED, I32, F32, F32, NO, 75, EXACT,            \
      ftz(F(a)) < ftz(F(b)))                                                                       \
    X(setp_eq_b16, "setp.eq.b16 q, a, b" DECIDED, I32, I16, I16, NO, 75, EXACT, a == b)            \
    X(setp_ne_b64, "setp.ne.b64 q, a, b" DECIDED, I32, I64, I64, NO, 75, EXACT, a != b)            \
    X(setp_and_both,                                                                               \
      "setp.ne.u32 p, c, 0; setp.lt.and.u32 p|q, a, b, p; selp.u32 x32, 1, 0, p; "                 \
      "selp.u32 y32, 2, 0, q; or.b32 d, x32, y32;",                                                \
      I32, I32, I32, I32, 75, EXACT, (a < b && c != 0) | (!(a < b) && c != 0) << 1)                \
    X(setp_or_not, "setp.ne.u32 p, c, 0; setp.ge.or.s32 q, a, b, !p" DECIDED, I32, I32, I32, I32,  \
      75, EXACT, (int32_t)a >= (int32_t)b || c == 0)                                               \
    X(setp_xor, "setp.ne.u32 p, c, 0; setp.eq.xor.u32 q, a, b, p" DECIDED, I32, I32, I32, I32, 75, \
      EXACT, (a == b) ^ (c != 0))                                                                  \
    X(setp_lt_f16, "setp.lt.f16 q, a, b" DECIDED, I32, H16, H16, NO, 75, EXACT, half(a) < half(b)) \
    X(setp_neu_f16, "setp.neu.f16 q, a, b" DECIDED, I32, H16, H16, NO, 75, EXACT,                  \
      half(a) != half(b))                                                                          \
    X(set_u32_f32, "set.lt.u32.f32 d, a, b;", I32, F32, F32, NO, 75, EXACT,                        \
      F(a) < F(b) ? 0xffffffff : 0)                                                                \
    X(set_f32_u32, "set.ge.f32.u32 d, a, b;", F32, I32, I32, NO, 75, EXACT,                        \
      a >= b ? 0x3f800000 : 0)                                                                     \
    X(set_s32_s64, "set.gt.s32.s64 d, a, b;", I32, I64, I64, NO, 75, EXACT,                        \
      (int64_t)a > (int64_t)b ? 0xffffffff : 0)                                                    \
    X(set_and_u32_u16, "setp.ne.u32 p, c, 0; set.eq.and.u32.u16 d, a, b, p;", I32, I16, I16, I32,  \
      75, EXACT, a == b && c != 0 ? 0xffffffff : 0)                                                \
    X(selp_b16, "setp.lt.s32 p, c, 0; selp.b16 d, a, b, p;", I16, I16, I16, I32, 75, EXACT,        \
      (int32_t)c < 0 ? a : b)                                                                      \
    X(selp_b64, "setp.lt.s32 p, c, 0; selp.b64 d, a, b, p;", I64, I64, I64, I32, 75, EXACT,        \
      (int32_t)c < 0 ? a : b)                                                                      \
    X(selp_f32, "setp.lt.s32 p, c, 0; selp.f32 d, a, b, p;", F32, F32, F32, I32, 75, CANON,        \
      (int32_t)c < 0 ? a : b)                                                                      \
    X(slct_u32_s32, "slct.u32.s32 d, a, b, c;", I32, I32, I32, I32, 75, EXACT,                     \
      (int32_t)c >= 0 ? a : b)                                                                     \
    X(slct_f64_f32, "slct.f64.f32 d, a, b, c;", F64, F64, F64, F32, 75, CANON, F(c) >= 0 ? a : b)  \
    X(slct_ftz_b64_f32, "slct.ftz.u64.f32 d, a, b, c;", I64, I64, I64, F32, 75, EXACT,             \
      ftz(F(c)) >= 0 ? a : b)                                                                      \
    X(predicate_logic,                                                                             \
      "setp.lt.u32 p, a, b; setp.lt.u32 q, b, c; and.pred p, p, q; not.pred q, p; "                \
      "xor.pred q, q, p; @p bra skip; mov.u32 d, 7; bra done; skip: selp.u32 d, 9, 5, q; done:",   \
      I32, I32, I32, I32, 75, EXACT, a < b && b < c ? 9 : 7)

static float
half(uint64_t x)
{
    int e = (int)(x >> 10 & 31), m = (int)(x & 1023);
    float v = e == 31  ? (m != 0 ? NAN : INFINITY)
              : e == 0 ? ldexpf((float)m, -24)
                       : ldexpf((float)(m + 1024), e - 25);

    return (x & 0x8000) != 0 ? -v : v;
}

#define ALL(X)                                                                                     \
    UNSIGNED(X, u16, I16, uint16_t)                                                                \
    UNSIGNED(X, u32, I32, uint32_t)                                                                \
    UNSIGNED(X, u64, I64, uint64_t)                                                                \
    ORDERED(X, s16, I16, int16_t)                                                                  \
    ORDERED(X, s32, I32, int32_t)                                                                  \
    ORDERED(X, s64, I64, int64_t)                                                                  \
    FLOATING(X, f32, F32, F)                                                                       \
    FLOATING(X, f64, F64, D)                                                                       \
    CLASSES(X)                                                                                     \
    OTHERS(X)

ALL(CORPUS_REF)

const struct corpus_case corpus_predicates[] = {ALL(CORPUS_ROW){.name = NULL}};
