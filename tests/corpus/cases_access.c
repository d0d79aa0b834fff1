/* tests/corpus/cases_access.c -- ld, st, atom and red of every space, type, vector and qualifier
 *
 * Each lane has 32 bytes of the space. Loads: the bytes are a, b, ~a, a ^ b, and d is a weighted
 * sum of what the elements are as 64-bit numbers. Stores: elements cut from a are written over
 * zeros, and d is a weighted sum of the four words.
 */
#include "tests/corpus/corpus.h"

static uint64_t
word(uint64_t a, uint64_t b, unsigned i)
{
    return i == 0 ? a : i == 1 ? b : i == 2 ? ~a : a ^ b;
}

static uint64_t
loaded(uint64_t a, uint64_t b, unsigned bits, int is_signed, unsigned n)
{
    uint64_t sum = 0;
    unsigned i;

    for (i = 0; i < n; i++) {
        uint64_t v = word(a, b, i * bits / 64) >> i * bits % 64 << (64 - bits);

        v = is_signed ? (uint64_t)((int64_t)v >> (64 - bits)) : v >> (64 - bits);
        sum += v * (2 * i + 1);
    }
    return sum;
}

/* Element i of a store is a rotated by 8 * i bits, cut. */
static uint64_t
stored(uint64_t a, unsigned bits, unsigned n)
{
    uint64_t words[4] = {0};
    unsigned i;

    for (i = 0; i < n; i++) {
        uint64_t v = i == 0 ? a : a >> 8 * i | a << (64 - 8 * i);

        words[i * bits / 64] |= v << (64 - bits) >> (64 - bits) << i * bits % 64;
    }
    return words[0] + 3 * words[1] + 5 * words[2] + 7 * words[3];
}

/* The same elements as numbers, weighted. */
static uint64_t
packed(uint64_t a, unsigned bits, int is_signed, unsigned n)
{
    uint64_t sum = 0;
    unsigned i;

    for (i = 0; i < n; i++) {
        uint64_t v = (i == 0 ? a : a >> 8 * i | a << (64 - 8 * i)) << (64 - bits);

        v = is_signed ? (uint64_t)((int64_t)v >> (64 - bits)) : v >> (64 - bits);
        sum += v * (2 * i + 1);
    }
    return sum;
}

/* ---- where: text that leaves the lane's address in A, a register of that space ---- */

#define AT_global  ".reg .b64 A; mov.u64 A, gbuf; shl.b64 x64, slot, 2; add.s64 A, A, x64; "
#define AT_generic AT_global "cvta.global.u64 A, A; "
#define AT_shared                                                                                  \
    ".reg .b32 A; .shared .align 32 .b8 sbuf[4096]; mov.u32 A, sbuf; mov.u32 y32, %tid.x; "        \
    "shl.b32 y32, y32, 5; add.s32 A, A, y32; "
#define AT_local ".reg .b64 A; .local .align 32 .b8 lbuf[32]; mov.u64 A, lbuf; "
#define AT_generic_shared                                                                          \
    ".reg .b64 A; .shared .align 32 .b8 sbuf[4096]; mov.u64 A, sbuf; mov.u32 y32, %tid.x; "        \
    "mul.wide.u32 x64, y32, 32; add.s64 A, A, x64; cvta.shared.u64 A, A; "
#define AT_generic_local     AT_local "cvta.local.u64 A, A; "
#define SPACE_global         ".global"
#define SPACE_generic        ""
#define SPACE_shared         ".shared"
#define SPACE_local          ".local"
#define SPACE_generic_shared ""
#define SPACE_generic_local  ""

/* ---- elements: registers of a width, and their sum in d ---- */

#define REGS_8  ".reg .b16 e<4>; "
#define REGS_16 REGS_8
#define REGS_32 ".reg .b32 e<4>; "
#define REGS_64 ".reg .b64 e<4>; "
#define LIST_1  "e0"
#define LIST_2  "{e0, e1}"
#define LIST_4  "{e0, e1, e2, e3}"
#define VEC_1   ""
#define VEC_2   ".v2"
#define VEC_4   ".v4"

#define WIDEN_u8     "cvt.u64.u16 "
#define WIDEN_b8     "cvt.u64.u16 "
#define WIDEN_s8     "cvt.s64.s16 "
#define WIDEN_u16    "cvt.u64.u16 "
#define WIDEN_b16    "cvt.u64.u16 "
#define WIDEN_s16    "cvt.s64.s16 "
#define WIDEN_u32    "cvt.u64.u32 "
#define WIDEN_b32    "cvt.u64.u32 "
#define WIDEN_f32    "cvt.u64.u32 "
#define WIDEN_s32    "cvt.s64.s32 "
#define WIDEN_u64    "mov.b64 "
#define WIDEN_b64    "mov.b64 "
#define WIDEN_s64    "mov.b64 "
#define WIDEN_f64    "mov.b64 "
#define ADD(t, i, k) WIDEN_##t "x64, e" #i "; mad.lo.u64 d, x64, " #k ", d; "
#define SUM_1(t)     "mov.b64 d, 0; " ADD(t, 0, 1)
#define SUM_2(t)     SUM_1(t) ADD(t, 1, 3)
#define SUM_4(t)     SUM_2(t) ADD(t, 2, 5) ADD(t, 3, 7)

#define NARROW_8  "cvt.u16.u64 "
#define NARROW_16 "cvt.u16.u64 "
#define NARROW_32 "cvt.u32.u64 "
#define NARROW_64 "mov.b64 "
#define CUT(bits, i)                                                                               \
    NARROW_##bits "e" #i ", x64; shr.b64 y64, x64, 8; shl.b64 x64, x64, 56; or.b64 x64, x64, "     \
                  "y64; "
#define CUT_1(bits) "mov.b64 x64, a; " CUT(bits, 0)
#define CUT_2(bits) CUT_1(bits) CUT(bits, 1)
#define CUT_4(bits) CUT_2(bits) CUT(bits, 2) CUT(bits, 3)

#define FILL(space)                                                                                \
    "st" space ".u64 [A], a; st" space ".u64 [A+8], b; not.b64 x64, a; st" space                   \
    ".u64 [A+16], x64; xor.b64 x64, a, b; st" space ".u64 [A+24], x64; "
#define CLEAR(space)                                                                               \
    "mov.b64 x64, 0; st" space ".u64 [A], x64; st" space ".u64 [A+8], x64; st" space               \
    ".u64 [A+16], x64; st" space ".u64 [A+24], x64; "
#define READ(space)                                                                                \
    "ld" space ".u64 d, [A]; ld" space ".u64 x64, [A+8]; mad.lo.u64 d, x64, 3, d; ld" space        \
    ".u64 x64, [A+16]; mad.lo.u64 d, x64, 5, d; ld" space                                          \
    ".u64 x64, [A+24]; mad.lo.u64 d, x64, 7, d;"

/* One load and one store. q: what stands between "ld" and the space. */
#define LOAD(X, name, q, where, t, bits, sign, n, sm)                                              \
    X(ld_##name##_##where##_v##n##_##t,                                                            \
      AT_##where REGS_##bits FILL(SPACE_##where) "ld" q SPACE_##where VEC_##n "." #t " " LIST_##n  \
      ", [A]; " SUM_##n(t),                                                                        \
      I64, I64, I64, NO, sm, EXACT, loaded(a, b, bits, sign, n))
#define STORE(X, name, q, where, t, bits, sign, n, sm)                                             \
    X(st_##name##_##where##_v##n##_##t,                                                            \
      AT_##where REGS_##bits CLEAR(SPACE_##where) CUT_##n(bits) "st" q SPACE_##where VEC_##n       \
      "." #t " [A], " LIST_##n "; " READ(SPACE_##where),                                           \
      I64, I64, I64, NO, sm, EXACT, stored(a, bits, n))

#define TYPES_8_TO_32(OP, X, name, q, where, n, sm)                                                \
    OP(X, name, q, where, u8, 8, 0, n, sm)                                                         \
    OP(X, name, q, where, s8, 8, 1, n, sm)                                                         \
    OP(X, name, q, where, b8, 8, 0, n, sm) OP(X, name, q, where, u16, 16, 0, n, sm)                \
        OP(X, name, q, where, s16, 16, 1, n, sm) OP(X, name, q, where, b16, 16, 0, n, sm)          \
            OP(X, name, q, where, u32, 32, 0, n, sm) OP(X, name, q, where, s32, 32, 1, n, sm)      \
                OP(X, name, q, where, b32, 32, 0, n, sm) OP(X, name, q, where, f32, 32, 0, n, sm)
#define TYPES_64(OP, X, name, q, where, n, sm)                                                     \
    OP(X, name, q, where, u64, 64, 0, n, sm)                                                       \
    OP(X, name, q, where, s64, 64, 0, n, sm)                                                       \
    OP(X, name, q, where, b64, 64, 0, n, sm) OP(X, name, q, where, f64, 64, 0, n, sm)
#define VECTORS(OP, X, where)                                                                      \
    TYPES_8_TO_32(OP, X, plain, "", where, 1, 75)                                                  \
    TYPES_8_TO_32(OP, X, plain, "", where, 2, 75)                                                  \
    TYPES_8_TO_32(OP, X, plain, "", where, 4, 75) TYPES_64(OP, X, plain, "", where, 1, 75)         \
        TYPES_64(OP, X, plain, "", where, 2, 75)

/* A few types with each qualifier. */
#define SOME(OP, X, name, q, where, sm)                                                            \
    OP(X, name, q, where, u8, 8, 0, 1, sm)                                                         \
    OP(X, name, q, where, u16, 16, 0, 1, sm)                                                       \
    OP(X, name, q, where, u32, 32, 0, 1, sm) OP(X, name, q, where, f32, 32, 0, 1, sm)              \
        OP(X, name, q, where, b64, 64, 0, 1, sm) OP(X, name, q, where, u32, 32, 0, 2, sm)          \
            OP(X, name, q, where, u64, 64, 0, 2, sm) OP(X, name, q, where, u32, 32, 0, 4, sm)

#define STRONG_LOADS(X, where)                                                                     \
    SOME(LOAD, X, volatile, ".volatile", where, 75)                                                \
    SOME(LOAD, X, relaxed_cta, ".relaxed.cta", where, 75)                                          \
    SOME(LOAD, X, acquire_cta, ".acquire.cta", where, 75)                                          \
    SOME(LOAD, X, relaxed_gpu, ".relaxed.gpu", where, 75)                                          \
    SOME(LOAD, X, acquire_gpu, ".acquire.gpu", where, 75)                                          \
    SOME(LOAD, X, acquire_sys, ".acquire.sys", where, 75)                                          \
    SOME(LOAD, X, weak, ".weak", where, 75)
#define STRONG_STORES(X, where)                                                                    \
    SOME(STORE, X, volatile, ".volatile", where, 75)                                               \
    SOME(STORE, X, relaxed_cta, ".relaxed.cta", where, 75)                                         \
    SOME(STORE, X, relaxed_gpu, ".relaxed.gpu", where, 75)                                         \
    SOME(STORE, X, release_gpu, ".release.gpu", where, 75)                                         \
    SOME(STORE, X, release_sys, ".release.sys", where, 75)                                         \
    SOME(STORE, X, weak, ".weak", where, 75)

/* Cache operators, which stand behind the space; constants; the read-only path. */
#define LOAD_NC(X, t, bits, sign, n)                                                               \
    X(ld_nc_v##n##_##t,                                                                            \
      AT_global REGS_##bits FILL(".global") "ld.global.nc" VEC_##n "." #t " " LIST_##n             \
      ", [A]; " SUM_##n(t),                                                                        \
      I64, I64, I64, NO, 75, EXACT, loaded(a, b, bits, sign, n))
#define LOAD_CACHED(X, op, t, bits, sign, n)                                                       \
    X(ld_##op##_v##n##_##t,                                                                        \
      AT_global REGS_##bits FILL(".global") "ld.global." #op VEC_##n "." #t " " LIST_##n           \
      ", [A]; " SUM_##n(t),                                                                        \
      I64, I64, I64, NO, 75, EXACT, loaded(a, b, bits, sign, n))
#define STORE_CACHED(X, op, t, bits, n)                                                            \
    X(st_##op##_v##n##_##t,                                                                        \
      AT_global REGS_##bits CLEAR(".global") CUT_##n(bits) "st.global." #op VEC_##n                \
      "." #t " [A], " LIST_##n "; " READ(".global"),                                               \
      I64, I64, I64, NO, 75, EXACT, stored(a, bits, n))
#define LOADS_CACHED(X, op)                                                                        \
    LOAD_CACHED(X, op, u8, 8, 0, 1)                                                                \
    LOAD_CACHED(X, op, u32, 32, 0, 1)                                                              \
    LOAD_CACHED(X, op, f64, 64, 0, 1) LOAD_CACHED(X, op, u32, 32, 0, 4)
#define STORES_CACHED(X, op)                                                                       \
    STORE_CACHED(X, op, u8, 8, 1)                                                                  \
    STORE_CACHED(X, op, u32, 32, 1) STORE_CACHED(X, op, f64, 64, 1) STORE_CACHED(X, op, u32, 32, 4)

#define WORD0 0x8899aabbccddeeffull
#define WORD1 0x0123456789abcdefull
#define LOAD_CONST(X, t, bits, sign, n)                                                            \
    X(ld_const_v##n##_##t,                                                                         \
      REGS_##bits "ld.const" VEC_##n "." #t " " LIST_##n ", [cbuf]; " SUM_##n(t), I64, NO, NO, NO, \
      75, EXACT, loaded(WORD0, WORD1, bits, sign, n))
/* A kernel's parameter: what is read in parts is what is read whole. */
#define LOAD_PARAM(X, t, bits, sign, n)                                                            \
    X(ld_param_v##n##_##t,                                                                         \
      REGS_##bits ".reg .b64 whole; ld.param" VEC_##n "." #t " " LIST_##n                          \
      ", [kb]; " SUM_##n(t) "mov.b64 whole, d; " LOAD_WHOLE AT_global                              \
                            "st.global.u64 [A], y64; ld.global" VEC_##n "." #t " " LIST_##n        \
      ", [A]; " SUM_##n(t) "sub.u64 d, d, whole;",                                                 \
      I64, NO, NO, NO, 75, EXACT, 0)
#define LOAD_WHOLE "ld.param.u64 y64, [kb]; "

#define EACH_TYPE(OP, X, n)                                                                        \
    OP(X, u8, 8, 0, n)                                                                             \
    OP(X, s8, 8, 1, n)                                                                             \
    OP(X, b8, 8, 0, n) OP(X, u16, 16, 0, n) OP(X, s16, 16, 1, n) OP(X, b16, 16, 0, n)              \
        OP(X, u32, 32, 0, n) OP(X, s32, 32, 1, n) OP(X, b32, 32, 0, n) OP(X, f32, 32, 0, n)
#define EACH_64(OP, X, n)                                                                          \
    OP(X, u64, 64, 0, n) OP(X, s64, 64, 0, n) OP(X, b64, 64, 0, n) OP(X, f64, 64, 0, n)

/* Through a function: the argument is stored, loaded, stored as the result and loaded again. */
#define THROUGH(X, t, bits, sign)                                                                  \
    X(param_##t,                                                                                   \
      REGS_##bits CUT_1(bits) "{ .param .b" #bits " in; .param .b" #bits " out; st.param." #t      \
                              " [in], e0; call.uni (out), through_" #t ", (in); ld.param." #t      \
                              " e0, [out]; } " SUM_1(t),                                           \
      I64, I64, NO, NO, 75, EXACT, loaded(a, 0, bits, sign, 1))
#define THROUGH_TEXT(t, bits)                                                                      \
    ".func (.param .b" #bits " out) through_" #t "(.param .b" #bits " in)\n{ " REGS_##bits         \
        "ld.param." #t " e0, [in]; st.param." #t " [out], e0; ret; }\n"

/* ---- lanes that follow each other without gaps: vector against scalar accesses ---- */

#define PACKED_global(n, bits)                                                                     \
    ".reg .b64 A, B; mov.u64 A, gbuf; mul.lo.u64 x64, slot, " #n "; mul.lo.u64 x64, x64, " #bits   \
    "; shr.u64 x64, x64, 6; add.s64 A, A, x64; mov.b64 B, A; "
#define PACKED_shared(n, bits)                                                                     \
    ".reg .b32 A, B; .shared .align 32 .b8 sbuf[4096]; mov.u32 A, sbuf; mov.u32 y32, %tid.x; "     \
    "mul.lo.u32 y32, y32, " #n "; mul.lo.u32 y32, y32, " #bits                                     \
    "; shr.u32 y32, y32, 3; add.s32 A, A, y32; mov.b32 B, A; "
#define BYTES_8    "1"
#define BYTES_16   "2"
#define BYTES_32   "4"
#define BYTES_64   "8"
#define ADD_global "add.s64 B, B, "
#define ADD_shared "add.s32 B, B, "
#define ONE_ST(where, t, bits, i)                                                                  \
    "st." #where "." #t " [B], e" #i "; " ADD_##where BYTES_##bits "; "
#define ONE_LD(where, t, bits, i)                                                                  \
    "ld." #where "." #t " e" #i ", [B]; " ADD_##where BYTES_##bits "; "
#define EACH_2(ONE, where, t, bits) ONE(where, t, bits, 0) ONE(where, t, bits, 1)
#define EACH_4(ONE, where, t, bits)                                                                \
    EACH_2(ONE, where, t, bits) ONE(where, t, bits, 2) ONE(where, t, bits, 3)
#define PACKED(X, where, t, bits, sign, n)                                                         \
    X(ld_packed_##where##_v##n##_##t,                                                              \
      PACKED_##where(n, bits) REGS_##bits CUT_##n(bits)                                            \
          EACH_##n(ONE_ST, where, t, bits) "ld." #where VEC_##n "." #t " " LIST_##n                \
      ", [A]; " SUM_##n(t),                                                                        \
      I64, I64, NO, NO, 75, EXACT, packed(a, bits, sign, n))                                       \
    X(st_packed_##where##_v##n##_##t,                                                              \
      PACKED_##where(n, bits) REGS_##bits CUT_##n(bits) "st." #where VEC_##n                       \
      "." #t " [A], " LIST_##n "; " EACH_##n(ONE_LD, where, t, bits) SUM_##n(t),                   \
      I64, I64, NO, NO, 75, EXACT, packed(a, bits, sign, n))
#define PACKED_AT(X, where)                                                                        \
    PACKED(X, where, u8, 8, 0, 2)                                                                  \
    PACKED(X, where, s8, 8, 1, 4) PACKED(X, where, u16, 16, 0, 2) PACKED(X, where, s16, 16, 1, 4)  \
        PACKED(X, where, u32, 32, 0, 2) PACKED(X, where, s32, 32, 1, 4)                            \
            PACKED(X, where, f32, 32, 0, 4) PACKED(X, where, u64, 64, 0, 2)                        \
                PACKED(X, where, f64, 64, 0, 2)

/* ---- atom and red: spaces, semantics and scopes ---- */

#define ATOM_AT(X, where, name, sem, op, t, bits, expr)                                            \
    X(atom_##where##_##name##_##op##_##t,                                                          \
      AT_##where REGS_##bits ".reg .b" #bits " f; " FILL(SPACE_##where) NARROW_##bits              \
      "e0, c; "                                                                                    \
      "atom" sem ATOM_##where "." #op "." #t " e1, [A], e0; ld" SPACE_##where                      \
      ".b" #bits " e2, [A]; mov.b64 d, 0; " ADD(b##bits, 1, 1) ADD(b##bits, 2, 3),                 \
      I64, I64, I64, I64, 75, EXACT, BITS_##bits(a) + 3 * BITS_##bits(expr))
#define RED_AT(X, where, name, sem, op, t, bits, expr)                                             \
    X(red_##where##_##name##_##op##_##t,                                                           \
      AT_##where REGS_##bits FILL(SPACE_##where) NARROW_##bits "e0, c; "                           \
                                                               "red" sem ATOM_##where              \
      "." #op "." #t " [A], e0; ld" SPACE_##where ".b" #bits                                       \
                                                  " e2, [A]; mov.b64 d, 0; " ADD(b##bits, 2, 3),   \
      I64, I64, I64, I64, 75, EXACT, 3 * BITS_##bits(expr))
#define CAS_AT(X, where, name, sem, bits)                                                          \
    X(atom_##where##_##name##_cas_b##bits,                                                         \
      AT_##where REGS_##bits FILL(SPACE_##where) NARROW_##bits "e0, b; " NARROW_##bits             \
      "e3, c; atom" sem ATOM_##where ".cas.b" #bits " e1, [A], e0, e3; ld" SPACE_##where           \
      ".b" #bits " e2, [A]; mov.b64 d, 0; " ADD(b##bits, 1, 1) ADD(b##bits, 2, 3),                 \
      I64, I64, I64, I64, 75, EXACT,                                                               \
      BITS_##bits(a) + 3 * (BITS_##bits(a) == BITS_##bits(b) ? BITS_##bits(c) : BITS_##bits(a)))
#define ATOM_global         ".global"
#define ATOM_shared         ".shared"
#define ATOM_generic        ""
#define ATOM_generic_shared ""
/* The order of old compilers: the scope behind the space. */
#define ATOM_global_sys  ".global.sys"
#define SPACE_global_sys ".global"
#define AT_global_sys    AT_global
#define BITS_16(x)       ((uint64_t)(uint16_t)(x))
#define BITS_32(x)       ((uint64_t)(uint32_t)(x))
#define BITS_64(x)       ((uint64_t)(x))
#define S32(x)           ((int32_t)(x))
#define S64(x)           ((int64_t)(x))

#define WHOLE_NUMBERS(OP, X, where, name, sem)                                                     \
    OP(X, where, name, sem, add, u32, 32, a + c)                                                   \
    OP(X, where, name, sem, add, s32, 32, a + c)                                                   \
    OP(X, where, name, sem, add, u64, 64, a + c) OP(X, where, name, sem, min, u32, 32,             \
                                                    BITS_32(a) < BITS_32(c) ? a : c)               \
        OP(X, where, name, sem, max, u32, 32, BITS_32(a) > BITS_32(c) ? a : c)                     \
            OP(X, where, name, sem, min, s32, 32, S32(a) < S32(c) ? a : c)                         \
                OP(X, where, name, sem, max, s32, 32,                                              \
                   S32(a) > S32(c) ? a : c) OP(X, where, name, sem, min, u64, 64, a < c ? a : c)   \
                    OP(X, where, name, sem, max, u64, 64, a > c ? a : c)                           \
                        OP(X, where, name, sem, min, s64, 64, S64(a) < S64(c) ? a : c)             \
                            OP(X, where, name, sem, max, s64, 64, S64(a) > S64(c) ? a : c)         \
                                OP(X, where, name, sem, and, b32, 32, a &c)                        \
                                    OP(X, where, name, sem, or, b32, 32, a | c)                    \
                                        OP(X, where, name, sem, xor, b32, 32, a ^ c)               \
                                            OP(X, where, name, sem, and, b64, 64, a &c)            \
                                                OP(X, where, name, sem, or, b64, 64, a | c)        \
                                                    OP(X, where, name, sem, xor, b64, 64, a ^ c)   \
                                                        OP(X, where, name, sem, inc, u32, 32,      \
                                                           BITS_32(a) >= BITS_32(c) ? 0 : a + 1)   \
                                                            OP(X, where, name, sem, dec, u32, 32,  \
                                                               BITS_32(a) == 0 ||                  \
                                                                       BITS_32(a) > BITS_32(c)     \
                                                                   ? c                             \
                                                                   : a - 1)
#define EXCHANGES(X, where, name, sem)                                                             \
    ATOM_AT(X, where, name, sem, exch, b32, 32, c)                                                 \
    ATOM_AT(X, where, name, sem, exch, b64, 64, c)                                                 \
    CAS_AT(X, where, name, sem, 16) CAS_AT(X, where, name, sem, 32)                                \
        CAS_AT(X, where, name, sem, 64)

#define ATOMS_AT(X, where)                                                                         \
    WHOLE_NUMBERS(ATOM_AT, X, where, plain, "")                                                    \
    WHOLE_NUMBERS(RED_AT, X, where, plain, "") EXCHANGES(X, where, plain, "")
#define SCOPED(X, where, name, sem)                                                                \
    ATOM_AT(X, where, name, sem, add, u32, 32, a + c)                                              \
    ATOM_AT(X, where, name, sem, add, u64, 64, a + c)                                              \
    ATOM_AT(X, where, name, sem, or, b32, 32, a | c) EXCHANGES(X, where, name, sem)

#define ACCESSES(X)                                                                                \
    VECTORS(LOAD, X, global)                                                                       \
    VECTORS(LOAD, X, shared)                                                                       \
    VECTORS(LOAD, X, local) VECTORS(LOAD, X, generic) VECTORS(LOAD, X, generic_shared)             \
        VECTORS(LOAD, X, generic_local) VECTORS(STORE, X, global) VECTORS(STORE, X, shared)        \
            VECTORS(STORE, X, local) VECTORS(STORE, X, generic) VECTORS(STORE, X, generic_shared)  \
                VECTORS(STORE, X, generic_local) STRONG_LOADS(X, global) STRONG_LOADS(X, shared)   \
                    STRONG_LOADS(X, generic) STRONG_STORES(X, global) STRONG_STORES(X, shared)     \
                        STRONG_STORES(X, generic) LOADS_CACHED(X, ca) LOADS_CACHED(X, cg)          \
                            LOADS_CACHED(X, cs) LOADS_CACHED(X, lu) LOADS_CACHED(X, cv)            \
                                STORES_CACHED(X, wb) STORES_CACHED(X, cg) STORES_CACHED(X, cs)     \
                                    STORES_CACHED(X, wt) EACH_TYPE(LOAD_NC, X, 1)                  \
                                        EACH_TYPE(LOAD_NC, X, 2) EACH_TYPE(LOAD_NC, X, 4)          \
                                            EACH_64(LOAD_NC, X, 1) EACH_64(LOAD_NC, X, 2)          \
                                                EACH_TYPE(LOAD_CONST, X, 1)                        \
                                                    EACH_TYPE(LOAD_CONST, X, 2)                    \
                                                        EACH_TYPE(LOAD_CONST, X, 4)                \
                                                            EACH_64(LOAD_CONST, X, 1)              \
                                                                EACH_64(LOAD_CONST, X, 2)
#define PACKS(X) PACKED_AT(X, global) PACKED_AT(X, shared)
#define PARAMETERS(X)                                                                              \
    EACH_TYPE(LOAD_PARAM, X, 1)                                                                    \
    EACH_64(LOAD_PARAM, X, 1)                                                                      \
    LOAD_PARAM(X, u8, 8, 0, 2) LOAD_PARAM(X, s16, 16, 1, 2) LOAD_PARAM(X, u32, 32, 0, 2)           \
        LOAD_PARAM(X, f32, 32, 0, 2) LOAD_PARAM(X, u8, 8, 0, 4) LOAD_PARAM(X, u16, 16, 0, 4)       \
            THROUGH(X, u8, 8, 0) THROUGH(X, s8, 8, 1) THROUGH(X, u16, 16, 0)                       \
                THROUGH(X, s16, 16, 1) THROUGH(X, b16, 16, 0) THROUGH(X, u32, 32, 0)               \
                    THROUGH(X, s32, 32, 1) THROUGH(X, b32, 32, 0) THROUGH(X, f32, 32, 0)           \
                        THROUGH(X, u64, 64, 0) THROUGH(X, b64, 64, 0) THROUGH(X, f64, 64, 0)
#define ATOMICS(X)                                                                                 \
    ATOMS_AT(X, global)                                                                            \
    ATOMS_AT(X, shared)                                                                            \
    ATOMS_AT(X, generic) ATOMS_AT(X, generic_shared) WHOLE_NUMBERS(                                \
        ATOM_AT, X, global_sys, old, "") WHOLE_NUMBERS(RED_AT, X, global_sys, old, "")             \
        EXCHANGES(X, global_sys, old, "") SCOPED(X, global, relaxed_gpu, ".relaxed.gpu")           \
            SCOPED(X, generic, relaxed_cta, ".relaxed.cta")                                        \
                SCOPED(X, generic, acquire_cta, ".acquire.cta")                                    \
                    SCOPED(X, global, acquire_gpu, ".acquire.gpu")                                 \
                        SCOPED(X, generic, release_gpu, ".release.gpu")                            \
                            SCOPED(X, shared, release_cta, ".release.cta")                         \
                                SCOPED(X, generic, acq_rel_cta, ".acq_rel.cta")                    \
                                    SCOPED(X, shared, acq_rel_cta, ".acq_rel.cta")                 \
                                        SCOPED(X, generic, acq_rel_sys, ".acq_rel.sys")            \
                                            SCOPED(X, shared, acquire_cta, ".acquire.cta")         \
                                                RED_AT(X, generic, release_cta, ".release.cta",    \
                                                       and, b32, 32, a &c)                         \
                                                    RED_AT(X, generic, relaxed_sys,                \
                                                           ".relaxed.sys", add, u64, 64, a + c)

ACCESSES(CORPUS_REF)
PACKS(CORPUS_REF)
PARAMETERS(CORPUS_REF)
ATOMICS(CORPUS_REF)

static const char buffers[] =
    ".global .align 32 .b8 gbuf[131072];\n"
    ".const .align 16 .b64 cbuf[4] = {0x8899aabbccddeeff, 0x0123456789abcdef, "
    "0x7766554433221100, 0x89bae7dc45762310};\n";
static const char functions[] = ".global .align 32 .b8 gbuf[131072];\n" THROUGH_TEXT(u8, 8)
    THROUGH_TEXT(s8, 8) THROUGH_TEXT(u16, 16) THROUGH_TEXT(s16, 16) THROUGH_TEXT(b16, 16)
        THROUGH_TEXT(u32, 32) THROUGH_TEXT(s32, 32) THROUGH_TEXT(b32, 32) THROUGH_TEXT(f32, 32)
            THROUGH_TEXT(u64, 64) THROUGH_TEXT(b64, 64) THROUGH_TEXT(f64, 64);

#define ROW_WITH(before, id, text, d, ta, tb, tc, sm, cmp)                                         \
    {#id, text, d, ta, tb, tc, sm, cmp, ref_##id, NULL, before},
#define ROW_BUFFERS(id, text, d, ta, tb, tc, sm, cmp, expr)                                        \
    ROW_WITH(buffers, id, text, d, ta, tb, tc, sm, cmp)
#define ROW_FUNCTIONS(id, text, d, ta, tb, tc, sm, cmp, expr)                                      \
    ROW_WITH(functions, id, text, d, ta, tb, tc, sm, cmp)

const struct corpus_case corpus_access[] = {
    ACCESSES(ROW_BUFFERS) PACKS(ROW_BUFFERS) PARAMETERS(ROW_FUNCTIONS)
        ATOMICS(ROW_BUFFERS){.name = NULL},
};
