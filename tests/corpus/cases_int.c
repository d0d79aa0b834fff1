/* tests/corpus/cases_int.c -- integer arithmetic of all widths */
#include "tests/corpus/corpus.h"

#define S16(x) ((int16_t)(x))
#define S32(x) ((int32_t)(x))
#define S64(x) ((int64_t)(x))
#define U32(x) ((uint32_t)(x))

static uint64_t
clamp_s32(int64_t v)
{
    return (uint32_t)(v > INT32_MAX ? INT32_MAX : v < INT32_MIN ? INT32_MIN : v);
}

/* Division by zero gives all ones; the most negative number by -1 wraps. */
static uint64_t
div_s(int64_t a, int64_t b)
{
    return b == 0 ? ~0ull : b == -1 ? 0 - (uint64_t)a : (uint64_t)(a / b);
}

static uint64_t
rem_s(int64_t a, int64_t b)
{
    return b == 0 ? ~0ull : b == -1 ? 0 : (uint64_t)(a % b);
}

static uint64_t
sad(int64_t a, int64_t b, uint64_t c)
{
    return c + (a > b ? (uint64_t)a - (uint64_t)b : (uint64_t)b - (uint64_t)a);
}

static int64_t
sext24(uint64_t a)
{
    return (int64_t)(a << 40) >> 40;
}

/* What both signednesses have, for one width: t is the type's name, T its C type. */
#define ARITHMETIC(X, t, T, W, WIDE)                                                               \
    X(add_##t, "add." #t " d, a, b;", W, W, W, NO, 75, EXACT, (T)(a + b))                          \
    X(sub_##t, "sub." #t " d, a, b;", W, W, W, NO, 75, EXACT, (T)(a - b))                          \
    X(mul_lo_##t, "mul.lo." #t " d, a, b;", W, W, W, NO, 75, EXACT, (T)(a * b))                    \
    X(mul_hi_##t, "mul.hi." #t " d, a, b;", W, W, W, NO, 75, EXACT,                                \
      (T)((WIDE)(T)a * (WIDE)(T)b >> sizeof(T) * 8))                                               \
    X(mad_lo_##t, "mad.lo." #t " d, a, b, c;", W, W, W, W, 75, EXACT, (T)(a * b + c))              \
    X(mad_hi_##t, "mad.hi." #t " d, a, b, c;", W, W, W, W, 75, EXACT,                              \
      (T)((uint64_t)((WIDE)(T)a * (WIDE)(T)b >> sizeof(T) * 8) + c))                               \
    X(min_##t, "min." #t " d, a, b;", W, W, W, NO, 75, EXACT, (T)a < (T)b ? (T)a : (T)b)           \
    X(max_##t, "max." #t " d, a, b;", W, W, W, NO, 75, EXACT, (T)a > (T)b ? (T)a : (T)b)

#define SIGNED(X, t, T, W)                                                                         \
    X(div_##t, "div." #t " d, a, b;", W, W, W, NO, 75, EXACT, (T)div_s((T)a, (T)b))                \
    X(rem_##t, "rem." #t " d, a, b;", W, W, W, NO, 75, EXACT, (T)rem_s((T)a, (T)b))                \
    X(abs_##t, "abs." #t " d, a;", W, W, NO, NO, 75, EXACT, (T)a < 0 ? (T)(0 - a) : (T)a)          \
    X(neg_##t, "neg." #t " d, a;", W, W, NO, NO, 75, EXACT, (T)(0 - a))                            \
    X(sad_##t, "sad." #t " d, a, b, c;", W, W, W, W, 75, EXACT, (T)sad((T)a, (T)b, c))

#define UNSIGNED(X, t, T, W)                                                                       \
    X(div_##t, "div." #t " d, a, b;", W, W, W, NO, 75, EXACT,                                      \
      (T)b == 0 ? (T)~0ull : (T)((T)a / (T)b))                                                     \
    X(rem_##t, "rem." #t " d, a, b;", W, W, W, NO, 75, EXACT,                                      \
      (T)b == 0 ? (T)~0ull : (T)((T)a % (T)b))                                                     \
    X(sad_##t, "sad." #t " d, a, b, c;", W, W, W, W, 75, EXACT,                                    \
      (T)(c + ((T)a > (T)b ? (T)a - (T)b : (T)b - (T)a)))

/* By one number in all lanes. */
#define DIVIDED_BY(X, name, k)                                                                     \
    X(div_u32_by_##name, "div.u32 d, a, " #k ";", I32, I32, NO, NO, 75, EXACT,                     \
      U32(k) == 0 ? ~0u : U32(a) / (U32(k) | (U32(k) == 0)))                                       \
    X(rem_u32_by_##name, "rem.u32 d, a, " #k ";", I32, I32, NO, NO, 75, EXACT,                     \
      U32(k) == 0 ? ~0u : U32(a) % (U32(k) | (U32(k) == 0)))                                       \
    X(div_s32_by_##name, "div.s32 d, a, " #k ";", I32, I32, NO, NO, 75, EXACT,                     \
      U32(div_s(S32(a), S32(k))))                                                                  \
    X(rem_s32_by_##name, "rem.s32 d, a, " #k ";", I32, I32, NO, NO, 75, EXACT,                     \
      U32(rem_s(S32(a), S32(k))))                                                                  \
    X(rem_u32_multiple_##name, "mul.lo.u32 x32, a, " #k "; rem.u32 d, x32, " #k ";", I32, I32, NO, \
      NO, 75, EXACT, U32(k) == 0 ? ~0u : U32(U32(a) * U32(k)) % (U32(k) | (U32(k) == 0)))

#define DIVIDED(X)                                                                                 \
    DIVIDED_BY(X, 0, 0)                                                                            \
    DIVIDED_BY(X, 1, 1)                                                                            \
    DIVIDED_BY(X, 2, 2)                                                                            \
    DIVIDED_BY(X, 3, 3)                                                                            \
    DIVIDED_BY(X, 10, 10)                                                                          \
    DIVIDED_BY(X, 641, 641)                                                                        \
    DIVIDED_BY(X, 524288, 524288)                                                                  \
    DIVIDED_BY(X, max, 0x7fffffff)                                                                 \
    DIVIDED_BY(X, min, 0x80000000)                                                                 \
    DIVIDED_BY(X, above, 0x80000001)                                                               \
    DIVIDED_BY(X, all, 0xffffffff)

/* Results are compared as stored: truncated to the width. */
#define WIDE(X)                                                                                    \
    X(mul_wide_u16, "mul.wide.u16 d, a, b;", I32, I16, I16, NO, 75, EXACT, (uint32_t)(a * b))      \
    X(mul_wide_s16, "mul.wide.s16 d, a, b;", I32, I16, I16, NO, 75, EXACT, U32(S16(a) * S16(b)))   \
    X(mul_wide_u32, "mul.wide.u32 d, a, b;", I64, I32, I32, NO, 75, EXACT, a *b)                   \
    X(mul_wide_s32, "mul.wide.s32 d, a, b;", I64, I32, I32, NO, 75, EXACT, S64(S32(a)) * S32(b))   \
    X(mad_wide_u16, "mad.wide.u16 d, a, b, c;", I32, I16, I16, I32, 75, EXACT, U32(a *b + c))      \
    X(mad_wide_s16, "mad.wide.s16 d, a, b, c;", I32, I16, I16, I32, 75, EXACT,                     \
      U32(U32(S16(a) * S16(b)) + c))                                                               \
    X(mad_wide_u32, "mad.wide.u32 d, a, b, c;", I64, I32, I32, I64, 75, EXACT, a *b + c)           \
    X(mad_wide_s32, "mad.wide.s32 d, a, b, c;", I64, I32, I32, I64, 75, EXACT,                     \
      (uint64_t)(S64(S32(a)) * S32(b)) + c)

#define SATURATED(X)                                                                               \
    X(add_sat_s32, "add.sat.s32 d, a, b;", I32, I32, I32, NO, 75, EXACT,                           \
      clamp_s32(S64(S32(a)) + S32(b)))                                                             \
    X(sub_sat_s32, "sub.sat.s32 d, a, b;", I32, I32, I32, NO, 75, EXACT,                           \
      clamp_s32(S64(S32(a)) - S32(b)))                                                             \
    X(mad_hi_sat_s32, "mad.hi.sat.s32 d, a, b, c;", I32, I32, I32, I32, 75, EXACT,                 \
      clamp_s32((S64(S32(a)) * S32(b) >> 32) + S32(c)))                                            \
    X(mad24_hi_sat_s32, "mad24.hi.sat.s32 d, a, b, c;", I32, I32, I32, I32, 75, EXACT,             \
      clamp_s32(S64(S32(sext24(a) * sext24(b) >> 16)) + S32(c)))

#define PRODUCTS_24(X)                                                                             \
    X(mul24_lo_u32, "mul24.lo.u32 d, a, b;", I32, I32, I32, NO, 75, EXACT,                         \
      U32((a & 0xffffff) * (b & 0xffffff)))                                                        \
    X(mul24_lo_s32, "mul24.lo.s32 d, a, b;", I32, I32, I32, NO, 75, EXACT,                         \
      U32(sext24(a) * sext24(b)))                                                                  \
    X(mul24_hi_u32, "mul24.hi.u32 d, a, b;", I32, I32, I32, NO, 75, EXACT,                         \
      U32((a & 0xffffff) * (b & 0xffffff) >> 16))                                                  \
    X(mul24_hi_s32, "mul24.hi.s32 d, a, b;", I32, I32, I32, NO, 75, EXACT,                         \
      U32(sext24(a) * sext24(b) >> 16))                                                            \
    X(mad24_lo_u32, "mad24.lo.u32 d, a, b, c;", I32, I32, I32, I32, 75, EXACT,                     \
      U32((a & 0xffffff) * (b & 0xffffff) + c))                                                    \
    X(mad24_lo_s32, "mad24.lo.s32 d, a, b, c;", I32, I32, I32, I32, 75, EXACT,                     \
      U32((uint64_t)(sext24(a) * sext24(b)) + c))                                                  \
    X(mad24_hi_u32, "mad24.hi.u32 d, a, b, c;", I32, I32, I32, I32, 75, EXACT,                     \
      U32(((a & 0xffffff) * (b & 0xffffff) >> 16) + c))

/* The carry flag through pairs of instructions. */
#define CARRIES(X)                                                                                 \
    X(addc_32, "add.cc.u32 t, a, b; addc.u32 d, c, 0;", I32, I32, I32, I32, 75, EXACT,             \
      U32(c + (a + b >> 32)))                                                                      \
    X(addc_cc_32, "add.cc.u32 t, a, b; addc.cc.u32 t, c, b; addc.u32 d, 0, 0;", I32, I32, I32,     \
      I32, 75, EXACT, c + b + (a + b >> 32) >> 32)                                                 \
    X(subc_32, "sub.cc.u32 t, a, b; subc.u32 d, c, 0;", I32, I32, I32, I32, 75, EXACT,             \
      U32(c - (a < b)))                                                                            \
    X(subc_cc_32, "sub.cc.u32 t, a, b; subc.cc.u32 t, c, b; subc.u32 d, 0, 0;", I32, I32, I32,     \
      I32, 75, EXACT, U32(0u - (c < b + (a < b))))                                                 \
    X(madc_32, "mad.lo.cc.u32 t, a, b, c; madc.hi.u32 d, a, b, 0;", I32, I32, I32, I32, 75, EXACT, \
      U32(a *b + c >> 32))                                                                         \
    X(madc_lo_32, "mad.lo.cc.u32 t, a, b, c; madc.lo.u32 d, a, b, t;", I32, I32, I32, I32, 75,     \
      EXACT, U32(2 * U32(a * b) + c + (U32(a * b) + c >> 32)))                                     \
    X(addc_64, "add.cc.u64 t, a, b; addc.u64 d, c, 0;", I64, I64, I64, I64, 75, EXACT,             \
      c + (a + b < a))                                                                             \
    X(subc_64, "sub.cc.u64 t, a, b; subc.u64 d, c, 0;", I64, I64, I64, I64, 75, EXACT, c - (a < b))

/* Packed pairs of 16 bits, sm_90. */
#define LO(x)        ((x)&0xffff)
#define HI(x)        ((x) >> 16 & 0xffff)
#define PAIR(lo, hi) ((uint64_t)((uint32_t)(uint16_t)(hi) << 16 | (uint16_t)(lo)))
#define MIN_(a, b)   ((a) < (b) ? (a) : (b))
#define MAX_(a, b)   ((a) > (b) ? (a) : (b))
#define PACKED(X)                                                                                  \
    X(add_u16x2, "add.u16x2 d, a, b;", I32, I32, I32, NO, 90, EXACT,                               \
      PAIR(LO(a) + LO(b), HI(a) + HI(b)))                                                          \
    X(min_u16x2, "min.u16x2 d, a, b;", I32, I32, I32, NO, 90, EXACT,                               \
      PAIR(MIN_(LO(a), LO(b)), MIN_(HI(a), HI(b))))                                                \
    X(max_s16x2, "max.s16x2 d, a, b;", I32, I32, I32, NO, 90, EXACT,                               \
      PAIR(MAX_(S16(LO(a)), S16(LO(b))), MAX_(S16(HI(a)), S16(HI(b)))))                            \
    X(min_relu_s16x2, "min.relu.s16x2 d, a, b;", I32, I32, I32, NO, 90, EXACT,                     \
      PAIR(MAX_(0, MIN_(S16(LO(a)), S16(LO(b)))), MAX_(0, MIN_(S16(HI(a)), S16(HI(b))))))          \
    X(max_relu_s32, "max.relu.s32 d, a, b;", I32, I32, I32, NO, 90, EXACT,                         \
      U32(MAX_(0, MAX_(S32(a), S32(b)))))

static uint32_t
byte(uint64_t v, int i)
{
    return (uint32_t)(v >> 8 * i & 0xff);
}

static uint64_t
dp4a(uint64_t a, uint64_t b, uint64_t c, int sa, int sb)
{
    int64_t sum = (int64_t)c;
    int i;

    for (i = 0; i < 4; i++)
        sum += (sa ? (int8_t)byte(a, i) : (int)byte(a, i)) *
               (int64_t)(sb ? (int8_t)byte(b, i) : (int)byte(b, i));
    return (uint32_t)sum;
}

static uint64_t
dp2a(uint64_t a, uint64_t b, uint64_t c, int sa, int sb, int first)
{
    int64_t sum = (int64_t)c;
    int i;

    for (i = 0; i < 2; i++) {
        uint16_t half = (uint16_t)(a >> 16 * i);

        sum += (int64_t)(sa ? (int16_t)half : (int)half) *
               (sb ? (int8_t)byte(b, first + i) : (int)byte(b, first + i));
    }
    return (uint32_t)sum;
}

#define DOTS(X)                                                                                    \
    X(dp4a_u_u, "dp4a.u32.u32 d, a, b, c;", I32, I32, I32, I32, 75, EXACT, dp4a(a, b, c, 0, 0))    \
    X(dp4a_u_s, "dp4a.u32.s32 d, a, b, c;", I32, I32, I32, I32, 75, EXACT, dp4a(a, b, c, 0, 1))    \
    X(dp4a_s_u, "dp4a.s32.u32 d, a, b, c;", I32, I32, I32, I32, 75, EXACT, dp4a(a, b, c, 1, 0))    \
    X(dp4a_s_s, "dp4a.s32.s32 d, a, b, c;", I32, I32, I32, I32, 75, EXACT, dp4a(a, b, c, 1, 1))    \
    X(dp2a_lo_u_u, "dp2a.lo.u32.u32 d, a, b, c;", I32, I32, I32, I32, 75, EXACT,                   \
      dp2a(a, b, c, 0, 0, 0))                                                                      \
    X(dp2a_hi_u_s, "dp2a.hi.u32.s32 d, a, b, c;", I32, I32, I32, I32, 75, EXACT,                   \
      dp2a(a, b, c, 0, 1, 2))                                                                      \
    X(dp2a_lo_s_s, "dp2a.lo.s32.s32 d, a, b, c;", I32, I32, I32, I32, 75, EXACT,                   \
      dp2a(a, b, c, 1, 1, 0))                                                                      \
    X(dp2a_hi_s_u, "dp2a.hi.s32.u32 d, a, b, c;", I32, I32, I32, I32, 75, EXACT,                   \
      dp2a(a, b, c, 1, 0, 2))

/* Byte differences and their kin; the helper does one lane of n bits. */
static uint64_t
absdiff4(uint64_t a, uint64_t b, uint64_t sum)
{
    int i;

    for (i = 0; i < 4; i++)
        sum += byte(a, i) > byte(b, i) ? byte(a, i) - byte(b, i) : byte(b, i) - byte(a, i);
    return (uint32_t)sum;
}

static uint64_t
add4_sat_s(uint64_t a, uint64_t b)
{
    uint32_t r = 0;
    int i;

    for (i = 0; i < 4; i++) {
        int s = (int8_t)byte(a, i) + (int8_t)byte(b, i);

        s = s > 127 ? 127 : s < -128 ? -128 : s;
        r |= (uint32_t)(uint8_t)s << 8 * i;
    }
    return r;
}

#define VIDEO(X)                                                                                   \
    X(vabsdiff4_add, "vabsdiff4.u32.u32.u32.add d, a, b, c;", I32, I32, I32, I32, 75, EXACT,       \
      absdiff4(a, b, c))                                                                           \
    X(vadd4_sat, "vadd4.s32.s32.s32.sat d, a, b, c;", I32, I32, I32, I32, 75, EXACT,               \
      add4_sat_s(a, b))                                                                            \
    X(vmax2, "vmax2.u32.u32.u32 d, a, b, c;", I32, I32, I32, I32, 75, EXACT,                       \
      PAIR(MAX_(LO(a), LO(b)), MAX_(HI(a), HI(b))))                                                \
    X(vadd, "vadd.s32.u32.s32.sat d, a.b1, b.h1;", I32, I32, I32, NO, 75, EXACT,                   \
      U32((int)byte(a, 1) + S16(HI(b))))                                                           \
    X(vabsdiff_add, "vabsdiff.u32.u32.u32.add d, a, b, c;", I32, I32, I32, I32, 75, EXACT,         \
      U32((a > b ? a - b : b - a) + c))                                                            \
    X(vset_lt, "vset.s32.s32.lt d, a, b;", I32, I32, I32, NO, 75, EXACT, S32(a) < S32(b))          \
    X(vshl_clamp, "vshl.u32.u32.u32.clamp d, a, b;", I32, I32, AMOUNT, NO, 75, EXACT,              \
      b > 31 ? 0 : U32(a << b))                                                                    \
    X(vmad, "vmad.s32.s32.s32 d, a.h0, b.h1, c;", I32, I32, I32, I32, 75, EXACT,                   \
      U32((uint64_t)(S16(LO(a)) * (int64_t)S16(HI(b))) + c))

#define ALL(X)                                                                                     \
    ARITHMETIC(X, u16, uint16_t, I16, unsigned __int128)                                           \
    ARITHMETIC(X, s16, int16_t, I16, __int128)                                                     \
    ARITHMETIC(X, u32, uint32_t, I32, unsigned __int128)                                           \
    ARITHMETIC(X, s32, int32_t, I32, __int128)                                                     \
    ARITHMETIC(X, u64, uint64_t, I64, unsigned __int128)                                           \
    ARITHMETIC(X, s64, int64_t, I64, __int128)                                                     \
    SIGNED(X, s16, int16_t, I16)                                                                   \
    SIGNED(X, s32, int32_t, I32)                                                                   \
    SIGNED(X, s64, int64_t, I64)                                                                   \
    UNSIGNED(X, u16, uint16_t, I16)                                                                \
    UNSIGNED(X, u32, uint32_t, I32)                                                                \
    UNSIGNED(X, u64, uint64_t, I64)                                                                \
    DIVIDED(X)                                                                                     \
    WIDE(X)                                                                                        \
    SATURATED(X)                                                                                   \
    PRODUCTS_24(X)                                                                                 \
    CARRIES(X)                                                                                     \
    PACKED(X)                                                                                      \
    DOTS(X)                                                                                        \
    VIDEO(X)

ALL(CORPUS_REF)

const struct corpus_case corpus_int[] = {ALL(CORPUS_ROW){.name = NULL}};
