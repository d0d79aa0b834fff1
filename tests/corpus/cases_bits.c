/* tests/corpus/cases_bits.c -- logic, shifts, bit fields, permutations, moves */
#include "tests/corpus/corpus.h"

#define S16(x) ((int16_t)(x))
#define S32(x) ((int32_t)(x))
#define S64(x) ((int64_t)(x))
#define U32(x) ((uint32_t)(x))

/* The definitions of the PTX manual, bit by bit. */
static uint64_t
bfe(uint64_t a, uint64_t b, uint64_t c, int width, int is_signed)
{
    int msb = width - 1, pos = (int)(b & 0xff), len = (int)(c & 0xff), i;
    int top = pos + len - 1 < msb ? pos + len - 1 : msb;
    uint64_t sign = !is_signed || len == 0 ? 0 : a >> top & 1, d = 0;

    for (i = 0; i <= msb; i++)
        d |= (i < len && pos + i <= msb ? a >> (pos + i) & 1 : sign) << i;
    return d;
}

/* 16 low bits of c: position, then length. */
static uint64_t
bfi(uint64_t a, uint64_t b, uint64_t pos64, uint64_t len64, int width)
{
    int pos = (int)(pos64 & 0xff), len = (int)(len64 & 0xff), i;
    uint64_t d = b;

    for (i = 0; i < len && pos + i < width; i++)
        d = (d & ~(1ull << (pos + i))) | (a >> i & 1) << (pos + i);
    return d;
}

static uint64_t
bfind(uint64_t a, int width, int is_signed, int shiftamt)
{
    int i;

    if (is_signed && (a >> (width - 1) & 1) != 0)
        a = ~a;
    for (i = width - 1; i >= 0; i--)
        if ((a >> i & 1) != 0)
            return (uint64_t)(shiftamt ? width - 1 - i : i);
    return 0xffffffff;
}

static uint64_t
reverse(uint64_t a, int width)
{
    uint64_t d = 0;
    int i;

    for (i = 0; i < width; i++)
        d |= (a >> i & 1) << (width - 1 - i);
    return d;
}

static uint64_t
count(uint64_t a)
{
    uint64_t n = 0;

    for (; a != 0; a &= a - 1)
        n++;
    return n;
}

static uint64_t
fns(uint64_t mask, uint64_t base, uint64_t offset)
{
    int32_t n = (int32_t)offset;
    int pos = (int)base, step = n < 0 ? -1 : 1;
    int64_t left = (n < 0 ? -(int64_t)n : n) - 1;

    if (n == 0)
        return (mask >> base & 1) != 0 ? base : 0xffffffff;
    for (; pos >= 0 && pos < 32; pos += step)
        if ((mask >> pos & 1) != 0 && left-- == 0)
            return (uint64_t)pos;
    return 0xffffffff;
}

static uint64_t
bmsk(uint64_t a, uint64_t b, int clamp)
{
    uint64_t pos = clamp && a > 32 ? 32 : clamp ? a : a & 31;
    uint64_t len = clamp && b > 32 ? 32 : clamp ? b : b & 31;

    return U32(((1ull << len) - 1) << pos);
}

static uint64_t
szext(uint64_t a, uint64_t b, int clamp, int is_signed)
{
    uint64_t n = clamp ? (b > 32 ? 32 : b) : b & 31, mask = (1ull << n) - 1;

    if (n != 0 && is_signed && (a >> (n - 1) & 1) != 0)
        return U32(a | ~mask);
    return a & mask;
}

static uint64_t
lop3(uint64_t a, uint64_t b, uint64_t c, unsigned lut)
{
    uint64_t d = 0;
    int i;

    for (i = 0; i < 32; i++)
        d |= (uint64_t)(lut >> ((a >> i & 1) * 4 + (b >> i & 1) * 2 + (c >> i & 1)) & 1) << i;
    return d;
}

/* selectors: one nibble per result byte; bit 3 replicates the byte's sign. */
static uint64_t
prmt(uint64_t a, uint64_t b, uint64_t selectors)
{
    uint64_t pair = b << 32 | a, d = 0;
    int i;

    for (i = 0; i < 4; i++) {
        uint64_t s = selectors >> 4 * i & 15, v = pair >> 8 * (s & 7) & 0xff;

        d |= (s < 8 ? v : (v & 0x80) != 0 ? 0xff : 0) << 8 * i;
    }
    return d;
}

static const uint16_t f4e[] = {0x3210, 0x4321, 0x5432, 0x6543};
static const uint16_t b4e[] = {0x5670, 0x6701, 0x7012, 0x0123};
static const uint16_t rc8[] = {0x0000, 0x1111, 0x2222, 0x3333};
static const uint16_t ecl[] = {0x3210, 0x3211, 0x3222, 0x3333};
static const uint16_t ecr[] = {0x0000, 0x1110, 0x2210, 0x3210};
static const uint16_t rc16[] = {0x1010, 0x3232, 0x1010, 0x3232};

#define LOGIC(X, w, T, W)                                                                          \
    X(and_b##w, "and.b" #w " d, a, b;", W, W, W, NO, 75, EXACT, a &b)                              \
    X(or_b##w, "or.b" #w " d, a, b;", W, W, W, NO, 75, EXACT, a | b)                               \
    X(xor_b##w, "xor.b" #w " d, a, b;", W, W, W, NO, 75, EXACT, a ^ b)                             \
    X(not_b##w, "not.b" #w " d, a;", W, W, NO, NO, 75, EXACT, (T)~a)                               \
    X(cnot_b##w, "cnot.b" #w " d, a;", W, W, NO, NO, 75, EXACT, a == 0)                            \
    X(shl_b##w, "shl.b" #w " d, a, b;", W, W, AMOUNT, NO, 75, EXACT, b >= w ? 0 : (T)(a << b))     \
    X(shr_u##w, "shr.u" #w " d, a, b;", W, W, AMOUNT, NO, 75, EXACT, b >= w ? 0 : (T)(a >> b))     \
    X(shr_s##w, "shr.s" #w " d, a, b;", W, W, AMOUNT, NO, 75, EXACT,                               \
      (T)(S##w(a) >> (b >= w ? w - 1 : b)))

#define FIELDS(X, w, W)                                                                            \
    X(bfe_u##w, "bfe.u" #w " d, a, b, c;", W, W, AMOUNT, AMOUNT, 75, EXACT, bfe(a, b, c, w, 0))    \
    X(bfe_s##w, "bfe.s" #w " d, a, b, c;", W, W, AMOUNT, AMOUNT, 75, EXACT, bfe(a, b, c, w, 1))    \
    X(bfi_b##w, "bfi.b" #w " d, a, b, c, 9;", W, W, W, AMOUNT, 75, EXACT, bfi(a, b, c, 9, w))      \
    X(bfi_len_b##w, "bfi.b" #w " d, a, b, 5, c;", W, W, W, AMOUNT, 75, EXACT, bfi(a, b, 5, c, w))  \
    X(bfind_u##w, "bfind.u" #w " d, a;", I32, W, NO, NO, 75, EXACT, bfind(a, w, 0, 0))             \
    X(bfind_s##w, "bfind.s" #w " d, a;", I32, W, NO, NO, 75, EXACT, bfind(a, w, 1, 0))             \
    X(bfind_shiftamt_u##w, "bfind.shiftamt.u" #w " d, a;", I32, W, NO, NO, 75, EXACT,              \
      bfind(a, w, 0, 1))                                                                           \
    X(bfind_shiftamt_s##w, "bfind.shiftamt.s" #w " d, a;", I32, W, NO, NO, 75, EXACT,              \
      bfind(a, w, 1, 1))                                                                           \
    X(brev_b##w, "brev.b" #w " d, a;", W, W, NO, NO, 75, EXACT, reverse(a, w))                     \
    X(clz_b##w, "clz.b" #w " d, a;", I32, W, NO, NO, 75, EXACT,                                    \
      a == 0 ? w : w - 1 - bfind(a, w, 0, 0))                                                      \
    X(popc_b##w, "popc.b" #w " d, a;", I32, W, NO, NO, 75, EXACT, count(a))

#define FUNNEL(a, b) ((uint64_t)(b) << 32 | (a))
#define SHUFFLES(X)                                                                                \
    X(shf_l_wrap, "shf.l.wrap.b32 d, a, b, c;", I32, I32, I32, AMOUNT, 75, EXACT,                  \
      U32(FUNNEL(a, b) << (c & 31) >> 32))                                                         \
    X(shf_l_clamp, "shf.l.clamp.b32 d, a, b, c;", I32, I32, I32, AMOUNT, 75, EXACT,                \
      U32(FUNNEL(a, b) << (c > 32 ? 32 : c) >> 32))                                                \
    X(shf_r_wrap, "shf.r.wrap.b32 d, a, b, c;", I32, I32, I32, AMOUNT, 75, EXACT,                  \
      U32(FUNNEL(a, b) >> (c & 31)))                                                               \
    X(shf_r_clamp, "shf.r.clamp.b32 d, a, b, c;", I32, I32, I32, AMOUNT, 75, EXACT,                \
      U32(FUNNEL(a, b) >> (c > 32 ? 32 : c)))                                                      \
    X(prmt_b32, "prmt.b32 d, a, b, c;", I32, I32, I32, I32, 75, EXACT, prmt(a, b, c))              \
    X(prmt_f4e, "prmt.b32.f4e d, a, b, c;", I32, I32, I32, I32, 75, EXACT, prmt(a, b, f4e[c & 3])) \
    X(prmt_b4e, "prmt.b32.b4e d, a, b, c;", I32, I32, I32, I32, 75, EXACT, prmt(a, b, b4e[c & 3])) \
    X(prmt_rc8, "prmt.b32.rc8 d, a, b, c;", I32, I32, I32, I32, 75, EXACT, prmt(a, b, rc8[c & 3])) \
    X(prmt_ecl, "prmt.b32.ecl d, a, b, c;", I32, I32, I32, I32, 75, EXACT, prmt(a, b, ecl[c & 3])) \
    X(prmt_ecr, "prmt.b32.ecr d, a, b, c;", I32, I32, I32, I32, 75, EXACT, prmt(a, b, ecr[c & 3])) \
    X(prmt_rc16, "prmt.b32.rc16 d, a, b, c;", I32, I32, I32, I32, 75, EXACT,                       \
      prmt(a, b, rc16[c & 3]))                                                                     \
    X(lop3_96, "lop3.b32 d, a, b, c, 0x96;", I32, I32, I32, I32, 75, EXACT, a ^ b ^ c)             \
    X(lop3_e8, "lop3.b32 d, a, b, c, 0xe8;", I32, I32, I32, I32, 75, EXACT, lop3(a, b, c, 0xe8))   \
    X(lop3_1b, "lop3.b32 d, a, b, c, 0x1b;", I32, I32, I32, I32, 75, EXACT, lop3(a, b, c, 0x1b))   \
    X(lop3_35, "lop3.b32 d, a, b, c, 53;", I32, I32, I32, I32, 75, EXACT, lop3(a, b, c, 53))       \
    X(fns_up, "and.b32 t, b, 31; and.b32 u, c, 7; fns.b32 d, a, t, u;", I32, I32, I32, I32, 75,    \
      EXACT, fns(a, b & 31, c & 7))                                                                \
    X(fns_down, "and.b32 t, b, 31; and.b32 u, c, 7; neg.s32 u, u; fns.b32 d, a, t, u;", I32, I32,  \
      I32, I32, 75, EXACT, fns(a, b & 31, 0 - (c & 7)))                                            \
    X(bmsk_clamp, "bmsk.clamp.b32 d, a, b;", I32, AMOUNT, AMOUNT, NO, 75, EXACT, bmsk(a, b, 1))    \
    X(bmsk_wrap, "bmsk.wrap.b32 d, a, b;", I32, AMOUNT, AMOUNT, NO, 75, EXACT, bmsk(a, b, 0))      \
    X(szext_clamp_s32, "szext.clamp.s32 d, a, b;", I32, I32, AMOUNT, NO, 75, EXACT,                \
      szext(a, b, 1, 1))                                                                           \
    X(szext_wrap_s32, "szext.wrap.s32 d, a, b;", I32, I32, AMOUNT, NO, 75, EXACT,                  \
      szext(a, b, 0, 1))                                                                           \
    X(szext_clamp_u32, "szext.clamp.u32 d, a, b;", I32, I32, AMOUNT, NO, 75, EXACT,                \
      szext(a, b, 1, 0))

/* Moves that pack and unpack vectors. */
#define MOVES(X)                                                                                   \
    X(mov_pack_b32, "mov.b32 d, {a, b};", I32, I16, I16, NO, 75, EXACT, b << 16 | a)               \
    X(mov_pack_b64, "mov.b64 d, {a, b};", I64, I32, I32, NO, 75, EXACT, b << 32 | a)               \
    X(mov_unpack_b32, "mov.b32 {x16, y16}, a; mov.b32 d, {y16, x16};", I32, I32, NO, NO, 75,       \
      EXACT, U32(a << 16 | a >> 16))                                                               \
    X(mov_unpack_b64, "mov.b64 {x32, y32}, a; mov.b64 d, {y32, x32};", I64, I64, NO, NO, 75,       \
      EXACT, a << 32 | a >> 32)                                                                    \
    X(mov_pack4_b64, "mov.b32 {x16, y16}, a; mov.b64 d, {x16, y16, y16, x16};", I64, I32, NO, NO,  \
      75, EXACT, a | (a >> 16) << 32 | a << 48)                                                    \
    X(mov_f32_bits, "mov.b32 d, a;", F32, I32, NO, NO, 75, CANON, a)                               \
    X(mov_f64_bits, "mov.b64 d, a;", F64, I64, NO, NO, 75, CANON, a)

#define ALL(X)                                                                                     \
    LOGIC(X, 16, uint16_t, I16)                                                                    \
    LOGIC(X, 32, uint32_t, I32)                                                                    \
    LOGIC(X, 64, uint64_t, I64)                                                                    \
    FIELDS(X, 32, I32)                                                                             \
    FIELDS(X, 64, I64)                                                                             \
    SHUFFLES(X)                                                                                    \
    MOVES(X)

ALL(CORPUS_REF)

const struct corpus_case corpus_bits[] = {ALL(CORPUS_ROW){.name = NULL}};
