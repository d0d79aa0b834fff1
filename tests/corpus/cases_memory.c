/* tests/corpus/cases_memory.c -- loads, stores and atomics of all types on a lane's own slot */
#include "tests/corpus/corpus.h"

#include "backend/driver/soft/math/sd_half.h"

#define U32(x) ((uint32_t)(x))
#define S32(x) ((int32_t)(x))
#define S64(x) ((int64_t)(x))

static uint64_t
add_f32(uint64_t a, uint64_t b)
{
    return sd_bits_f32(sd_f32_bits((uint32_t)a) + sd_f32_bits((uint32_t)b));
}

static uint64_t
add_f16x2(uint64_t a, uint64_t b)
{
    uint64_t r = 0;
    int i;

    for (i = 0; i < 32; i += 16) {
        double x = sd_small_to_f64(a >> i & 0xffff, SD_F16);
        double y = sd_small_to_f64(b >> i & 0xffff, SD_F16);

        r |= (uint64_t)sd_small_from_f64(x + y, SD_F16, SD_RN, 0) << i;
    }
    return r;
}

/* The value returned, and the value left behind by atom and by red. */
#define ATOM(X, op, t, W, sm, cmp, expr)                                                           \
    X(atom_##op##_##t##_old, "atom.global." #op "." #t " d, [pa], b;", W, W, W, NO, sm, CANON, a)  \
    X(atom_##op##_##t##_new,                                                                       \
      "atom.global." #op "." #t " t, [pa], b; ld.global." LOAD_##W " d, [pa];", W, W, W, NO, sm,   \
      cmp, expr)
#define RED(X, op, t, W, sm, cmp, expr)                                                            \
    X(red_##op##_##t, "red.global." #op "." #t " [pa], b; ld.global." LOAD_##W " d, [pa];", W, W,  \
      W, NO, sm, cmp, expr)
#define BOTH(X, op, t, W, sm, cmp, expr)                                                           \
    ATOM(X, op, t, W, sm, cmp, expr)                                                               \
    RED(X, op, t, W, sm, cmp, expr)

#define LOAD_I32 "u32"
#define LOAD_I64 "u64"
#define LOAD_F32 "f32"
#define LOAD_F64 "f64"
#define LOAD_H32 "b32"

#define ATOMICS(X)                                                                                 \
    BOTH(X, add, u32, I32, 75, EXACT, U32(a + b))                                                  \
    BOTH(X, add, s32, I32, 75, EXACT, U32(a + b))                                                  \
    BOTH(X, add, u64, I64, 75, EXACT, a + b)                                                       \
    BOTH(X, add, f32, F32, 75, EXACT, add_f32_ftz(a, b))                                           \
    BOTH(X, add, f64, F64, 75, EXACT, sd_bits_f64(sd_f64_bits(a) + sd_f64_bits(b)))                \
    BOTH(X, min, u32, I32, 75, EXACT, a < b ? a : b)                                               \
    BOTH(X, max, u32, I32, 75, EXACT, a > b ? a : b)                                               \
    BOTH(X, min, s32, I32, 75, EXACT, S32(a) < S32(b) ? a : b)                                     \
    BOTH(X, max, s32, I32, 75, EXACT, S32(a) > S32(b) ? a : b)                                     \
    BOTH(X, min, u64, I64, 75, EXACT, a < b ? a : b)                                               \
    BOTH(X, max, u64, I64, 75, EXACT, a > b ? a : b)                                               \
    BOTH(X, min, s64, I64, 75, EXACT, S64(a) < S64(b) ? a : b)                                     \
    BOTH(X, max, s64, I64, 75, EXACT, S64(a) > S64(b) ? a : b)                                     \
    BOTH(X, and, b32, I32, 75, EXACT, a &b)                                                        \
    BOTH(X, or, b32, I32, 75, EXACT, a | b)                                                        \
    BOTH(X, xor, b32, I32, 75, EXACT, a ^ b)                                                       \
    BOTH(X, and, b64, I64, 75, EXACT, a &b)                                                        \
    BOTH(X, or, b64, I64, 75, EXACT, a | b)                                                        \
    BOTH(X, xor, b64, I64, 75, EXACT, a ^ b)                                                       \
    BOTH(X, inc, u32, I32, 75, EXACT, a >= b ? 0 : a + 1)                                          \
    BOTH(X, dec, u32, I32, 75, EXACT, a == 0 || a > b ? b : a - 1)                                 \
    ATOM(X, exch, b32, I32, 75, EXACT, b)                                                          \
    ATOM(X, exch, b64, I64, 75, EXACT, b)                                                          \
    X(atom_cas_b32_old, "atom.global.cas.b32 d, [pa], b, c;", I32, I32, I32, I32, 75, EXACT, a)    \
    X(atom_cas_b32_new, "atom.global.cas.b32 t, [pa], b, c; ld.global.u32 d, [pa];", I32, I32,     \
      I32, I32, 75, EXACT, a == b ? c : a)                                                         \
    X(atom_cas_b64_new, "atom.global.cas.b64 t, [pa], b, c; ld.global.u64 d, [pa];", I64, I64,     \
      I64, I64, 75, EXACT, a == b ? c : a)                                                         \
    X(atom_cas_b16_new, "atom.global.cas.b16 t, [pa], b, c; ld.global.u16 d, [pa];", I16, I16,     \
      I16, I16, 75, EXACT, a == b ? c : a)                                                         \
    X(atom_add_f16x2_new, "atom.global.add.noftz.f16x2 t, [pa], b; ld.global.b32 d, [pa];", H32,   \
      H32, H32, NO, 75, CANON, add_f16x2(a, b))                                                    \
    X(atom_add_v2_f32_new,                                                                         \
      "mov.b64 {x32, y32}, 0x3f80000040000000; atom.global.add.v2.f32 {x32, y32}, [pa], "          \
      "{x32, y32}; ld.global.f32 d, [pa+4];",                                                      \
      F32, I64, NO, NO, 90, EXACT, add_f32_ftz(a >> 32, 0x3f800000))                               \
    X(red_add_bf16x2, "red.global.add.noftz.bf16x2 [pa], b; ld.global.b32 d, [pa];", BH32, BH32,   \
      BH32, NO, 90, CANON,                                                                         \
      sd_fma_bf16((uint16_t)a, 0x3f80, (uint16_t)b) |                                              \
          (uint64_t)sd_fma_bf16((uint16_t)(a >> 16), 0x3f80, (uint16_t)(b >> 16)) << 16)           \
    X(atom_generic_relaxed_sys,                                                                    \
      "cvta.global.u64 x64, pa; atom.relaxed.sys.add.u32 t, [x64], b; ld.global.u32 d, [pa];",     \
      I32, I32, I32, NO, 75, EXACT, U32(a + b))                                                    \
    X(atom_shared_add,                                                                             \
      ".shared .align 8 .b8 s[1024]; mov.u32 x32, s; mov.u32 y32, %tid.x; shl.b32 y32, y32, 3; "   \
      "add.s32 x32, x32, y32; st.shared.u32 [x32], a; atom.shared.add.u32 t, [x32], b; "           \
      "ld.shared.u32 d, [x32];",                                                                   \
      I32, I32, I32, NO, 75, EXACT, U32(a + b))

/* atom.add.f32 on global memory flushes subnormals, as the manual says. */
static uint64_t
add_f32_ftz(uint64_t a, uint64_t b)
{
    float x = sd_ftz_f32(sd_f32_bits((uint32_t)a)), y = sd_ftz_f32(sd_f32_bits((uint32_t)b));

    return sd_bits_f32(sd_ftz_f32(sd_f32_bits((uint32_t)add_f32(sd_bits_f32(x), sd_bits_f32(y)))));
}

#define LOADS(X)                                                                                   \
    X(ld_s8_b32, "ld.global.s8 d, [pa];", I32, I64, NO, NO, 75, EXACT, U32((int8_t)a))             \
    X(ld_u8_b64, "ld.global.u8 d, [pa+1];", I64, I64, NO, NO, 75, EXACT, a >> 8 & 0xff)            \
    X(ld_s16_b64, "ld.global.s16 d, [pa+2];", I64, I64, NO, NO, 75, EXACT,                         \
      S64((int16_t)(a >> 16)))                                                                     \
    X(ld_s32_b64, "ld.global.s32 d, [pa+4];", I64, I64, NO, NO, 75, EXACT, S64(S32(a >> 32)))      \
    X(ld_v2_u32, "ld.global.v2.u32 {x32, y32}, [pa]; mov.b64 d, {y32, x32};", I64, I64, NO, NO,    \
      75, EXACT, a >> 32 | a << 32)                                                                \
    X(ld_v4_u16, "ld.global.v4.u16 {x16, y16, z16, x16}, [pa]; mov.b32 d, {z16, x16};", I32, I64,  \
      NO, NO, 75, EXACT, a >> 32)                                                                  \
    X(ld_nc, "ld.global.nc.u64 d, [pb];", I64, I64, I64, NO, 75, EXACT, b)                         \
    X(ld_volatile, "ld.volatile.global.u32 d, [pa];", I32, I64, NO, NO, 75, EXACT, U32(a))         \
    X(ld_acquire_st_release,                                                                       \
      "st.release.gpu.global.u32 [pa], b; ld.acquire.gpu.global.u32 d, [pa];", I32, I32, I32, NO,  \
      75, EXACT, b)                                                                                \
    X(st_u8, "cvt.u16.u64 x16, b; st.global.u8 [pa+3], x16; ld.global.u64 d, [pa];", I64, I64,     \
      I64, NO, 75, EXACT, (a & ~0xff000000ull) | (b & 0xff) << 24)                                 \
    X(st_u16, "cvt.u16.u64 x16, b; st.global.u16 [pa+6], x16; ld.global.u64 d, [pa];", I64, I64,   \
      I64, NO, 75, EXACT, (a << 16 >> 16) | b << 48)                                               \
    X(st_v2, "mov.b64 {x32, y32}, b; st.global.v2.u32 [pa], {y32, x32}; ld.global.u64 d, [pa];",   \
      I64, I64, I64, NO, 75, EXACT, b >> 32 | b << 32)                                             \
    X(st_v4_u8,                                                                                    \
      "cvt.u16.u64 x16, b; shr.u16 y16, x16, 8; st.global.v4.u8 [pa], {y16, x16, y16, x16}; "      \
      "ld.global.u32 d, [pa];",                                                                    \
      I32, I64, I64, NO, 75, EXACT,                                                                \
      (b & 0xff) << 24 | (b & 0xff00) << 8 | (b & 0xff) << 8 | (b >> 8 & 0xff))                    \
    X(local_memory,                                                                                \
      ".local .align 8 .b8 l[32]; mov.u64 x64, l; cvta.local.u64 y64, x64; st.local.u64 [l+8], "   \
      "a; "                                                                                        \
      "st.local.u32 [l+12], 77; ld.u64 d, [y64+8];",                                               \
      I64, I64, NO, NO, 75, EXACT, (a & 0xffffffff) | 77ull << 32)                                 \
    X(generic_load, "cvta.global.u64 x64, pa; ld.u64 d, [x64];", I64, I64, NO, NO, 75, EXACT, a)   \
    X(isspacep,                                                                                    \
      ".shared .b32 s; cvta.global.u64 x64, pa; mov.u64 y64, s; cvta.shared.u64 y64, y64; "        \
      "isspacep.global p, x64; isspacep.shared q, y64; selp.u32 x32, 1, 0, p; "                    \
      "selp.u32 y32, 2, 0, q; or.b32 d, x32, y32;",                                                \
      I32, NO, NO, NO, 75, EXACT, 3)

/* The neighbour's value arrives through shared memory and a barrier. */
static void
exchange(const uint64_t *a, const uint64_t *b, const uint64_t *c, uint64_t *d)
{
    int i;

    (void)b, (void)c;
    for (i = 0; i < 32; i++)
        d[i] = a[31 - i];
}

#define ALL(X)                                                                                     \
    ATOMICS(X)                                                                                     \
    LOADS(X)

ALL(CORPUS_REF)

const struct corpus_case corpus_memory[] = {
    ALL(CORPUS_ROW){
        "shared_memory_exchange",
        ".shared .align 8 .b64 s[128]; mov.u32 x32, %tid.x; shl.b32 y32, x32, 3; mov.u32 z32, s; "
        "add.s32 y32, y32, z32; st.shared.u64 [y32], a; bar.sync 0; mov.u32 x32, %tid.x; "
        "xor.b32 x32, x32, 31; shl.b32 x32, x32, 3; add.s32 x32, x32, z32; ld.shared.u64 d, [x32];",
        I64, I64, NO, NO, 75, EXACT, NULL, exchange},
    {.name = NULL},
};
