/* tests/corpus/cases_cvt.c -- cvt between all types, in all modes, with saturation */
#include "tests/corpus/corpus.h"

#include "backend/driver/soft/math/sd_half.h"

#include <math.h>

#define U32(x) ((uint32_t)(x))

static enum sd_round
mode_of(char m)
{
    return m == 'n' ? SD_RN : m == 'z' ? SD_RZ : m == 'm' ? SD_RM : SD_RP;
}

static double
F(uint64_t u)
{
    return (double)sd_f32_bits((uint32_t)u);
}

static uint64_t
f(float x)
{
    return sd_bits_f32(x);
}

static double
integral(double x, char m)
{
    return m == 'n' ? nearbyint(x) : m == 'z' ? trunc(x) : m == 'm' ? floor(x) : ceil(x);
}

/* NaN: 0 from up to f32 to up to 32 bits, else the top bit. */
static uint64_t
to_int(double x, char m, int bits, int is_signed, int from_f64)
{
    __int128 min = is_signed ? -((__int128)1 << (bits - 1)) : 0;
    __int128 max = ((__int128)1 << (bits - is_signed)) - 1, v;

    if (x != x && !from_f64 && bits <= 32)
        return 0;
    if (x != x)
        return is_signed ? (uint64_t)min : 1ull << (bits - 1);
    x = integral(x, m);
    v = x > 1e30 ? max : x < -1e30 ? min : (__int128)x;
    return (uint64_t)(v > max ? max : v < min ? min : v);
}

/* Exact in 113 bits, then moved to the neighbour that the mode wants. */
static uint64_t
to_f64(__float128 x, char m)
{
    double r = (double)x;

    if ((__float128)r > x && (m == 'm' || (m == 'z' && x > 0)))
        r = nextafter(r, -INFINITY);
    else if ((__float128)r < x && (m == 'p' || (m == 'z' && x < 0)))
        r = nextafter(r, INFINITY);
    return sd_bits_f64(r);
}

static uint64_t
to_f32(__float128 x, char m)
{
    float r = (float)x;

    if ((__float128)r > x && (m == 'm' || (m == 'z' && x > 0)))
        r = nextafterf(r, -INFINITY);
    else if ((__float128)r < x && (m == 'p' || (m == 'z' && x < 0)))
        r = nextafterf(r, INFINITY);
    return f(r);
}

/* Integers beyond 2^53 overflow f16 whatever their last bits. */
static uint64_t
to_f16(__float128 x, char m)
{
    return sd_small_from_f64((double)x, SD_F16, mode_of(m), 0);
}

static uint64_t
clamp(__int128 v, int bits, int is_signed)
{
    __int128 min = is_signed ? -((__int128)1 << (bits - 1)) : 0;
    __int128 max = ((__int128)1 << (bits - is_signed)) - 1;

    return (uint64_t)(v > max ? max : v < min ? min : v);
}

static float
ftz(float x)
{
    return fabsf(x) < 0x1p-126f ? copysignf(0.0f, x) : x;
}

/* Result registers of 8-bit targets have 16 bits; st drops what the class does not hold. */
#define R_I16 (uint16_t)
#define R_I32 (uint32_t)
#define R_I64 (uint64_t)

#define INT_INT(X, dt, DT, W, st, ST, SW)                                                          \
    X(cvt_##dt##_##st, "cvt." #dt "." #st " d, a;", W, SW, NO, NO, 75, EXACT, R_##W(DT)(ST) a)

#define FROM_ALL(X, dt, DT, W)                                                                     \
    INT_INT(X, dt, DT, W, u8, uint8_t, I8)                                                         \
    INT_INT(X, dt, DT, W, s8, int8_t, I8)                                                          \
    INT_INT(X, dt, DT, W, u16, uint16_t, I16)                                                      \
    INT_INT(X, dt, DT, W, s16, int16_t, I16)                                                       \
    INT_INT(X, dt, DT, W, u32, uint32_t, I32)                                                      \
    INT_INT(X, dt, DT, W, s32, int32_t, I32)                                                       \
    INT_INT(X, dt, DT, W, u64, uint64_t, I64)                                                      \
    INT_INT(X, dt, DT, W, s64, int64_t, I64)

/* .sat exists only where the source's range is not within the target's. */
#define SAT(X, dt, W, bits, sg, st, ST, SW)                                                        \
    X(cvt_sat_##dt##_##st, "cvt.sat." #dt "." #st " d, a;", W, SW, NO, NO, 75, EXACT,              \
      R_##W clamp((ST)a, bits, sg))
#define SAT_U8(X, dt, W, bits, sg)  SAT(X, dt, W, bits, sg, u8, uint8_t, I8)
#define SAT_S8(X, dt, W, bits, sg)  SAT(X, dt, W, bits, sg, s8, int8_t, I8)
#define SAT_U16(X, dt, W, bits, sg) SAT(X, dt, W, bits, sg, u16, uint16_t, I16)
#define SAT_S16(X, dt, W, bits, sg) SAT(X, dt, W, bits, sg, s16, int16_t, I16)
#define SAT_32(X, dt, W, bits, sg)                                                                 \
    SAT(X, dt, W, bits, sg, u32, uint32_t, I32)                                                    \
    SAT(X, dt, W, bits, sg, s32, int32_t, I32)
#define SAT_64(X, dt, W, bits, sg)                                                                 \
    SAT(X, dt, W, bits, sg, u64, uint64_t, I64)                                                    \
    SAT(X, dt, W, bits, sg, s64, int64_t, I64)
#define SATURATED(X)                                                                               \
    SAT_S8(X, u8, I16, 8, 0)                                                                       \
    SAT_U16(X, u8, I16, 8, 0)                                                                      \
    SAT_S16(X, u8, I16, 8, 0)                                                                      \
    SAT_32(X, u8, I16, 8, 0)                                                                       \
    SAT_64(X, u8, I16, 8, 0)                                                                       \
    SAT_U8(X, s8, I16, 8, 1)                                                                       \
    SAT_U16(X, s8, I16, 8, 1)                                                                      \
    SAT_S16(X, s8, I16, 8, 1)                                                                      \
    SAT_32(X, s8, I16, 8, 1)                                                                       \
    SAT_64(X, s8, I16, 8, 1)                                                                       \
    SAT_S8(X, u16, I16, 16, 0)                                                                     \
    SAT_S16(X, u16, I16, 16, 0)                                                                    \
    SAT_32(X, u16, I16, 16, 0)                                                                     \
    SAT_64(X, u16, I16, 16, 0)                                                                     \
    SAT_U16(X, s16, I16, 16, 1)                                                                    \
    SAT_32(X, s16, I16, 16, 1)                                                                     \
    SAT_64(X, s16, I16, 16, 1)                                                                     \
    SAT_S8(X, u32, I32, 32, 0)                                                                     \
    SAT_S16(X, u32, I32, 32, 0)                                                                    \
    SAT(X, u32, I32, 32, 0, s32, int32_t, I32)                                                     \
    SAT_64(X, u32, I32, 32, 0)                                                                     \
    SAT(X, s32, I32, 32, 1, u32, uint32_t, I32)                                                    \
    SAT_64(X, s32, I32, 32, 1)                                                                     \
    SAT_S8(X, u64, I64, 64, 0)                                                                     \
    SAT_S16(X, u64, I64, 64, 0)                                                                    \
    SAT(X, u64, I64, 64, 0, s32, int32_t, I32)                                                     \
    SAT(X, u64, I64, 64, 0, s64, int64_t, I64)                                                     \
    SAT(X, s64, I64, 64, 1, u64, uint64_t, I64)

/* One integer type with one mode: from and to the three float types. */
#define INT_FLOAT(X, t, T, W, SW, bits, sg, m)                                                     \
    X(cvt_r##m##i_##t##_f32, "cvt.r" #m "i." #t ".f32 d, a;", W, F32, NO, NO, 75, EXACT,           \
      R_##W to_int(F(a), #m[0], bits, sg, 0))                                                      \
    X(cvt_r##m##i_ftz_##t##_f32, "cvt.r" #m "i.ftz." #t ".f32 d, a;", W, F32, NO, NO, 75, EXACT,   \
      R_##W to_int((double)ftz((float)F(a)), #m[0], bits, sg, 0))                                  \
    X(cvt_r##m##i_##t##_f64, "cvt.r" #m "i." #t ".f64 d, a;", W, F64, NO, NO, 75, EXACT,           \
      R_##W to_int(sd_f64_bits(a), #m[0], bits, sg, 1))                                            \
    X(cvt_r##m##i_##t##_f16, "cvt.r" #m "i." #t ".f16 d, a;", W, H16, NO, NO, 75, EXACT,           \
      R_##W to_int(sd_small_to_f64(U32(a), SD_F16), #m[0], bits, sg, 0))                           \
    X(cvt_r##m##_f32_##t, "cvt.r" #m ".f32." #t " d, a;", F32, SW, NO, NO, 75, EXACT,              \
      to_f32((T)a, #m[0]))                                                                         \
    X(cvt_r##m##_f64_##t, "cvt.r" #m ".f64." #t " d, a;", F64, SW, NO, NO, 75, EXACT,              \
      to_f64((T)a, #m[0]))                                                                         \
    X(cvt_r##m##_f16_##t, "cvt.r" #m ".f16." #t " d, a;", H16, SW, NO, NO, 75, EXACT,              \
      to_f16((T)a, #m[0]))

#define ALL_INTS(X, m)                                                                             \
    INT_FLOAT(X, u8, uint8_t, I16, I8, 8, 0, m)                                                    \
    INT_FLOAT(X, s8, int8_t, I16, I8, 8, 1, m)                                                     \
    INT_FLOAT(X, u16, uint16_t, I16, I16, 16, 0, m)                                                \
    INT_FLOAT(X, s16, int16_t, I16, I16, 16, 1, m)                                                 \
    INT_FLOAT(X, u32, uint32_t, I32, I32, 32, 0, m)                                                \
    INT_FLOAT(X, s32, int32_t, I32, I32, 32, 1, m)                                                 \
    INT_FLOAT(X, u64, uint64_t, I64, I64, 64, 0, m)                                                \
    INT_FLOAT(X, s64, int64_t, I64, I64, 64, 1, m)

#define FLOAT_FLOAT(X, m)                                                                          \
    X(cvt_r##m##_f32_f64, "cvt.r" #m ".f32.f64 d, a;", F32, F64, NO, NO, 75, EXACT,                \
      to_f32(sd_f64_bits(a), #m[0]))                                                               \
    X(cvt_r##m##_ftz_f32_f64, "cvt.r" #m ".ftz.f32.f64 d, a;", F32, F64, NO, NO, 75, EXACT,        \
      f(ftz(sd_f32_bits(U32(to_f32(sd_f64_bits(a), #m[0]))))))                                     \
    X(cvt_r##m##_f16_f32, "cvt.r" #m ".f16.f32 d, a;", H16, F32, NO, NO, 75, CANON,                \
      sd_small_from_f64(F(a), SD_F16, mode_of(#m[0]), 0))                                          \
    X(cvt_r##m##_f16_f64, "cvt.r" #m ".f16.f64 d, a;", H16, F64, NO, NO, 75, CANON,                \
      sd_small_from_f64(sd_f64_bits(a), SD_F16, mode_of(#m[0]), 0))                                \
    X(cvt_r##m##i_f32_f32, "cvt.r" #m "i.f32.f32 d, a;", F32, F32, NO, NO, 75, EXACT,              \
      f((float)integral(F(a), #m[0])))                                                             \
    X(cvt_r##m##i_f64_f64, "cvt.r" #m "i.f64.f64 d, a;", F64, F64, NO, NO, 75, EXACT,              \
      sd_bits_f64(integral(sd_f64_bits(a), #m[0])))                                                \
    X(cvt_r##m##i_f16_f16, "cvt.r" #m "i.f16.f16 d, a;", H16, H16, NO, NO, 75, CANON,              \
      sd_small_from_f64(integral(sd_small_to_f64(U32(a), SD_F16), #m[0]), SD_F16, SD_RN, 0))

#define SMALL(x, format, mods) ((uint64_t)sd_small_from_f64(x, format, SD_RN, mods))
#define HB(x, format)          sd_small_to_f64((uint32_t)(x), format)
#define TWO(x, y, format, m)   (SMALL(F(x), format, m) << 16 | SMALL(F(y), format, m))
#define TWO8(x, y, format, m)  (SMALL(F(x), format, m) << 8 | SMALL(F(y), format, m))
#define WIDE8(a, format)                                                                           \
    (SMALL(HB(a >> 8 & 0xff, format), SD_F16, 0) << 16 | SMALL(HB(a & 0xff, format), SD_F16, 0))

#define OTHERS(X)                                                                                  \
    X(cvt_f64_f32, "cvt.f64.f32 d, a;", F64, F32, NO, NO, 75, EXACT, sd_bits_f64(F(a)))            \
    X(cvt_ftz_f64_f32, "cvt.ftz.f64.f32 d, a;", F64, F32, NO, NO, 75, EXACT,                       \
      sd_bits_f64((double)ftz((float)F(a))))                                                       \
    X(cvt_f32_f16, "cvt.f32.f16 d, a;", F32, H16, NO, NO, 75, EXACT, f((float)HB(a, SD_F16)))      \
    X(cvt_f64_f16, "cvt.f64.f16 d, a;", F64, H16, NO, NO, 75, EXACT, sd_bits_f64(HB(a, SD_F16)))   \
    X(cvt_sat_f32_f32, "cvt.sat.f32.f32 d, a;", F32, F32, NO, NO, 75, EXACT,                       \
      f(F(a) > 0 ? (float)fmin(F(a), 1) : 0))                                                      \
    X(cvt_rn_sat_f32_f64, "cvt.rn.sat.f32.f64 d, a;", F32, F64, NO, NO, 75, EXACT,                 \
      f(sd_f64_bits(a) > 0 ? (float)fmin(sd_f64_bits(a), 1) : 0))                                  \
    X(cvt_rn_bf16_f32, "cvt.rn.bf16.f32 d, a;", BF16, F32, NO, NO, 80, CANON,                      \
      SMALL(F(a), SD_BF16, 0))                                                                     \
    X(cvt_rz_bf16_f32, "cvt.rz.bf16.f32 d, a;", BF16, F32, NO, NO, 80, CANON,                      \
      sd_small_from_f64(F(a), SD_BF16, SD_RZ, 0))                                                  \
    X(cvt_rn_relu_bf16_f32, "cvt.rn.relu.bf16.f32 d, a;", BF16, F32, NO, NO, 80, CANON,            \
      SMALL(F(a), SD_BF16, SD_RELU))                                                               \
    X(cvt_f32_bf16, "cvt.f32.bf16 d, a;", F32, BF16, NO, NO, 90, EXACT, f((float)HB(a, SD_BF16)))  \
    X(cvt_rn_f16x2_f32, "cvt.rn.f16x2.f32 d, a, b;", H32, F32, F32, NO, 80, CANON,                 \
      TWO(a, b, SD_F16, 0))                                                                        \
    X(cvt_rn_relu_f16x2_f32, "cvt.rn.relu.f16x2.f32 d, a, b;", H32, F32, F32, NO, 80, CANON,       \
      TWO(a, b, SD_F16, SD_RELU))                                                                  \
    X(cvt_rn_bf16x2_f32, "cvt.rn.bf16x2.f32 d, a, b;", BH32, F32, F32, NO, 80, CANON,              \
      TWO(a, b, SD_BF16, 0))                                                                       \
    X(cvt_rna_tf32_f32, "cvt.rna.tf32.f32 d, a;", I32, F32, NO, NO, 80, CANON,                     \
      sd_small_from_f64(F(a), SD_TF32, SD_RNA, 0))                                                 \
    X(cvt_rn_tf32_f32, "cvt.rn.tf32.f32 d, a;", I32, F32, NO, NO, 90, CANON,                       \
      sd_small_from_f64(F(a), SD_TF32, SD_RN, 0))                                                  \
    X(cvt_e4m3x2_f32, "cvt.rn.satfinite.e4m3x2.f32 d, a, b;", I16, F32, F32, NO, 89, CANON,        \
      TWO8(a, b, SD_E4M3, SD_SATFINITE))                                                           \
    X(cvt_e5m2x2_f32, "cvt.rn.satfinite.e5m2x2.f32 d, a, b;", I16, F32, F32, NO, 89, CANON,        \
      TWO8(a, b, SD_E5M2, SD_SATFINITE))                                                           \
    X(cvt_relu_e4m3x2_f32, "cvt.rn.satfinite.relu.e4m3x2.f32 d, a, b;", I16, F32, F32, NO, 89,     \
      CANON, TWO8(a, b, SD_E4M3, SD_SATFINITE | SD_RELU))                                          \
    X(cvt_e4m3x2_f16x2, "cvt.rn.satfinite.e4m3x2.f16x2 d, a;", I16, H32, NO, NO, 89, CANON,        \
      SMALL(HB(a >> 16, SD_F16), SD_E4M3, SD_SATFINITE) << 8 |                                     \
          SMALL(HB(a & 0xffff, SD_F16), SD_E4M3, SD_SATFINITE))                                    \
    X(cvt_f16x2_e4m3x2, "cvt.rn.f16x2.e4m3x2 d, a;", H32, I16, NO, NO, 89, CANON,                  \
      WIDE8(a, SD_E4M3))                                                                           \
    X(cvt_f16x2_e5m2x2, "cvt.rn.f16x2.e5m2x2 d, a;", H32, I16, NO, NO, 89, CANON, WIDE8(a, SD_E5M2))

#define INTS(X)                                                                                    \
    FROM_ALL(X, u8, uint8_t, I16)                                                                  \
    FROM_ALL(X, s8, int8_t, I16)                                                                   \
    FROM_ALL(X, u16, uint16_t, I16)                                                                \
    FROM_ALL(X, s16, int16_t, I16)                                                                 \
    FROM_ALL(X, u32, uint32_t, I32)                                                                \
    FROM_ALL(X, s32, int32_t, I32)                                                                 \
    FROM_ALL(X, u64, uint64_t, I64)                                                                \
    FROM_ALL(X, s64, int64_t, I64)                                                                 \
    SATURATED(X)

#define FLOATS(X)                                                                                  \
    ALL_INTS(X, n)                                                                                 \
    ALL_INTS(X, z)                                                                                 \
    ALL_INTS(X, m)                                                                                 \
    ALL_INTS(X, p)                                                                                 \
    FLOAT_FLOAT(X, n)                                                                              \
    FLOAT_FLOAT(X, z)                                                                              \
    FLOAT_FLOAT(X, m)                                                                              \
    FLOAT_FLOAT(X, p)                                                                              \
    OTHERS(X)

INTS(CORPUS_REF)
FLOATS(CORPUS_REF)

const struct corpus_case corpus_cvt[] = {INTS(CORPUS_ROW) FLOATS(CORPUS_ROW){.name = NULL}};
