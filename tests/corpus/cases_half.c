/* tests/corpus/cases_half.c -- f16, bf16 and packed arithmetic */
#include "tests/corpus/corpus.h"

#include "backend/driver/soft/math/sd_half.h"

#include <math.h>

#define H(x)  sd_small_to_f64((uint32_t)((x)&0xffff), SD_F16)
#define B(x)  sd_small_to_f64((uint32_t)((x)&0xffff), SD_BF16)
#define h(x)  sd_small_from_f64(x, SD_F16, SD_RN, 0)
#define hs(x) sd_small_from_f64(x, SD_F16, SD_RN, SD_SAT01)
#define hr(x) sd_small_from_f64(x, SD_F16, SD_RN, SD_RELU)
#define bf(x) sd_small_from_f64(x, SD_BF16, SD_RN, 0)
#define br(x) sd_small_from_f64(x, SD_BF16, SD_RN, SD_RELU)

static uint64_t
ftz(uint64_t x)
{
    return (x & 0x7c00) == 0 ? x & 0x8000 : x;
}

static double
lesser(double a, double b)
{
    if (a != a || b != b)
        return a != a ? b : a;
    return a < b || (a == b && signbit(a)) ? a : b;
}

static double
greater(double a, double b)
{
    return -lesser(-a, -b);
}

static double
nan_or(double a, double b, double r)
{
    return a != a || b != b ? NAN : r;
}

/* Both halves through an expression over x, y, z. */
#define PAIR(one)                                                                                  \
    ((uint64_t)(one((a & 0xffff), (b & 0xffff), (c & 0xffff))) |                                   \
     (uint64_t)(one((a >> 16), (b >> 16), (c >> 16))) << 16)
#define ADD(x, y, z)   h(H(x) + H(y))
#define SUBS(x, y, z)  hs(H(x) - H(y))
#define MULF(x, y, z)  ftz(h(H(ftz(x)) * H(ftz(y))))
#define FMA(x, y, z)   h(H(x) * H(y) + H(z))
#define FMAR(x, y, z)  hr(H(x) * H(y) + H(z))
#define FMAB(x, y, z)  sd_fma_bf16((uint16_t)(x), (uint16_t)(y), (uint16_t)(z))
#define MIN(x, y, z)   h(lesser(H(x), H(y)))
#define MAXN(x, y, z)  h(nan_or(H(x), H(y), greater(H(x), H(y))))
#define MAXB(x, y, z)  bf(greater(B(x), B(y)))
#define MINXB(x, y, z) bf(copysign(lesser(fabs(B(x)), fabs(B(y))), (x ^ y) & 0x8000 ? -1.0 : 1.0))
#define NEG(x, y, z)   (H(x) != H(x) ? 0x7fff : x ^ 0x8000)
#define MULB(x, y, z)  bf(B(x) * B(y))

#define ALL(X)                                                                                     \
    X(add_f16, "add.f16 d, a, b;", H16, H16, H16, NO, 75, CANON, h(H(a) + H(b)))                   \
    X(add_rn_ftz_f16, "add.rn.ftz.f16 d, a, b;", H16, H16, H16, NO, 75, CANON,                     \
      ftz(h(H(ftz(a)) + H(ftz(b)))))                                                               \
    X(add_sat_f16, "add.sat.f16 d, a, b;", H16, H16, H16, NO, 75, CANON, hs(H(a) + H(b)))          \
    X(sub_f16, "sub.f16 d, a, b;", H16, H16, H16, NO, 75, CANON, h(H(a) - H(b)))                   \
    X(mul_f16, "mul.f16 d, a, b;", H16, H16, H16, NO, 75, CANON, h(H(a) * H(b)))                   \
    X(fma_rn_f16, "fma.rn.f16 d, a, b, c;", H16, H16, H16, H16, 75, CANON, h(H(a) * H(b) + H(c)))  \
    X(fma_rn_sat_f16, "fma.rn.sat.f16 d, a, b, c;", H16, H16, H16, H16, 75, CANON,                 \
      hs(H(a) * H(b) + H(c)))                                                                      \
    X(fma_rn_relu_f16, "fma.rn.relu.f16 d, a, b, c;", H16, H16, H16, H16, 80, CANON,               \
      hr(H(a) * H(b) + H(c)))                                                                      \
    X(min_f16, "min.f16 d, a, b;", H16, H16, H16, NO, 80, CANON, h(lesser(H(a), H(b))))            \
    X(max_nan_f16, "max.NaN.f16 d, a, b;", H16, H16, H16, NO, 80, CANON,                           \
      h(nan_or(H(a), H(b), greater(H(a), H(b)))))                                                  \
    X(add_f16x2, "add.f16x2 d, a, b;", H32, H32, H32, NO, 75, CANON, PAIR(ADD))                    \
    X(sub_sat_f16x2, "sub.sat.f16x2 d, a, b;", H32, H32, H32, NO, 75, CANON, PAIR(SUBS))           \
    X(mul_ftz_f16x2, "mul.ftz.f16x2 d, a, b;", H32, H32, H32, NO, 75, CANON, PAIR(MULF))           \
    X(fma_rn_f16x2, "fma.rn.f16x2 d, a, b, c;", H32, H32, H32, H32, 75, CANON, PAIR(FMA))          \
    X(fma_rn_relu_f16x2, "fma.rn.relu.f16x2 d, a, b, c;", H32, H32, H32, H32, 80, CANON,           \
      PAIR(FMAR))                                                                                  \
    X(min_f16x2, "min.f16x2 d, a, b;", H32, H32, H32, NO, 80, CANON, PAIR(MIN))                    \
    X(max_nan_f16x2, "max.NaN.f16x2 d, a, b;", H32, H32, H32, NO, 80, CANON, PAIR(MAXN))           \
    X(fma_rn_bf16, "fma.rn.bf16 d, a, b, c;", BF16, BF16, BF16, BF16, 80, CANON, FMAB(a, b, c))    \
    X(fma_rn_bf16x2, "fma.rn.bf16x2 d, a, b, c;", BH32, BH32, BH32, BH32, 80, CANON, PAIR(FMAB))   \
    X(max_bf16, "max.bf16 d, a, b;", BF16, BF16, BF16, NO, 80, CANON, bf(greater(B(a), B(b))))     \
    X(max_bf16x2, "max.bf16x2 d, a, b;", BH32, BH32, BH32, NO, 80, CANON, PAIR(MAXB))              \
    X(min_xorsign_bf16x2, "min.xorsign.abs.bf16x2 d, a, b;", BH32, BH32, BH32, NO, 86, CANON,      \
      PAIR(MINXB))                                                                                 \
    X(add_bf16, "add.bf16 d, a, b;", BF16, BF16, BF16, NO, 90, CANON, FMAB(a, 0x3f80, b))          \
    X(sub_bf16, "sub.bf16 d, a, b;", BF16, BF16, BF16, NO, 90, CANON, FMAB(a, 0x3f80, b ^ 0x8000)) \
    X(mul_bf16, "mul.bf16 d, a, b;", BF16, BF16, BF16, NO, 90, CANON, bf(B(a) * B(b)))             \
    X(mul_bf16x2, "mul.bf16x2 d, a, b;", BH32, BH32, BH32, NO, 90, CANON, PAIR(MULB))              \
    X(neg_f16, "neg.f16 d, a;", H16, H16, NO, NO, 75, EXACT, a ^ 0x8000)                           \
    X(abs_f16, "abs.f16 d, a;", H16, H16, NO, NO, 75, EXACT, a & 0x7fff)                           \
    X(neg_bf16x2, "neg.bf16x2 d, a;", BH32, BH32, NO, NO, 80, EXACT, a ^ 0x80008000)               \
    X(ex2_approx_f16, "ex2.approx.f16 d, a;", H16, H16, NO, NO, 75, HALF10, h(exp2(H(a))))         \
    X(ex2_approx_f16x2, "ex2.approx.f16x2 x32, a; mov.b32 {x16, d}, x32;", H16, H32, NO, NO, 75,   \
      HALF10, h(exp2(H(a >> 16))))                                                                 \
    X(tanh_approx_f16x2, "tanh.approx.f16x2 x32, a; mov.b32 {d, x16}, x32;", H16, H32, NO, NO, 75, \
      HALF10, h(tanh(H(a))))                                                                       \
    X(tanh_approx_f16, "tanh.approx.f16 d, a;", H16, H16, NO, NO, 75, HALF10, h(tanh(H(a))))       \
    X(ex2_approx_ftz_bf16, "ex2.approx.ftz.bf16 d, a;", BF16, BF16, NO, NO, 90, BHALF7,            \
      bf(exp2(B(a))))                                                                              \
    X(tanh_approx_bf16, "tanh.approx.bf16 d, a;", BF16, BF16, NO, NO, 90, BHALF7, bf(tanh(B(a))))

ALL(CORPUS_REF)

const struct corpus_case corpus_half[] = {ALL(CORPUS_ROW){.name = NULL}};
