/* tests/corpus/cases_forms.c -- spellings that compilers emit beside those of the other tables,
 * fences and hints, asynchronous copies and barriers in memory
 */
#include "tests/corpus/corpus.h"

#include "backend/driver/soft/math/sd_half.h"

#define U32(x) ((uint32_t)(x))

static uint64_t
mul_f16x2(uint64_t a, uint64_t b)
{
    uint64_t r = 0;
    int i;

    for (i = 0; i < 32; i += 16) {
        double x = sd_small_to_f64(a >> i & 0xffff, SD_F16);
        double y = sd_small_to_f64(b >> i & 0xffff, SD_F16);

        r |= (uint64_t)sd_small_from_f64(x * y, SD_F16, SD_RN, 0) << i;
    }
    return r;
}

static uint64_t
f32_op(char op, uint64_t a, uint64_t b)
{
    return sd_bits_f32(host_f32(op, 'n', sd_f32_bits((uint32_t)a), sd_f32_bits((uint32_t)b), 0));
}

static uint64_t
f64_op(char op, uint64_t a, uint64_t b)
{
    return sd_bits_f64(host_f64(op, 'n', sd_f64_bits(a), sd_f64_bits(b), 0));
}

static uint64_t
rsqrt_f64(uint64_t a)
{
    return sd_bits_f64(1 / host_f64('s', 'n', sd_f64_bits(a), 0, 0));
}

/* Where only the rounding is not written. */
#define ARITHMETIC(X)                                                                              \
    X(add_f32_plain, "add.f32 d, a, b;", F32, F32, F32, NO, 75, EXACT, f32_op('+', a, b))          \
    X(sub_f32_plain, "sub.f32 d, a, b;", F32, F32, F32, NO, 75, EXACT, f32_op('-', a, b))          \
    X(mul_f32_plain, "mul.f32 d, a, b;", F32, F32, F32, NO, 75, EXACT, f32_op('*', a, b))          \
    X(add_f64_plain, "add.f64 d, a, b;", F64, F64, F64, NO, 75, EXACT, f64_op('+', a, b))          \
    X(sub_f64_plain, "sub.f64 d, a, b;", F64, F64, F64, NO, 75, EXACT, f64_op('-', a, b))          \
    X(mul_f64_plain, "mul.f64 d, a, b;", F64, F64, F64, NO, 75, EXACT, f64_op('*', a, b))          \
    X(mul_f16x2_plain, "mul.f16x2 d, a, b;", H32, H32, H32, NO, 75, CANON, mul_f16x2(a, b))        \
    X(rsqrt_approx_f64_plain, "rsqrt.approx.f64 d, a;", F64, F64, NO, NO, 75, ULP2, rsqrt_f64(a))

#define MOVES(X)                                                                                   \
    X(mov_u16, "mov.u16 d, a;", I16, I16, NO, NO, 75, EXACT, a)                                    \
    X(mov_s32, "mov.s32 d, a;", I32, I32, NO, NO, 75, EXACT, a)                                    \
    X(mov_f32, "mov.f32 d, a;", F32, F32, NO, NO, 75, CANON, a)                                    \
    X(mov_f64, "mov.f64 d, a;", F64, F64, NO, NO, 75, CANON, a)                                    \
    X(mov_f32_imm, "mov.f32 d, 0f3F800000;", F32, NO, NO, NO, 75, CANON, 0x3f800000)               \
    X(mov_pred, "setp.lt.u32 p, a, b; mov.pred q, p; selp.u32 d, 1, 0, q;", I32, I32, I32, NO, 75, \
      EXACT, U32(a) < U32(b))                                                                      \
    X(mov_pred_imm, "mov.pred q, -1; selp.u32 d, a, 0, q;", I32, I32, NO, NO, 75, EXACT, a)        \
    X(or_pred, "setp.lt.u32 p, a, b; setp.eq.u32 q, a, b; or.pred p, p, q; selp.u32 d, 1, 0, p;",  \
      I32, I32, I32, NO, 75, EXACT, U32(a) <= U32(b))                                              \
    X(selp_u16, "setp.lt.u16 p, a, b; selp.u16 d, a, b, p;", I16, I16, I16, NO, 75, EXACT,         \
      a < b ? a : b)                                                                               \
    X(selp_u64, "setp.lt.u64 p, a, b; selp.u64 d, a, b, p;", I64, I64, I64, NO, 75, EXACT,         \
      a < b ? a : b)                                                                               \
    X(selp_f64, "setp.lt.f64 p, a, b; selp.f64 d, a, b, p;", F64, F64, F64, NO, 75, CANON,         \
      sd_f64_bits(a) < sd_f64_bits(b) ? a : b)                                                     \
    X(setp_eq_b32, "setp.eq.b32 p, a, b; selp.u32 d, 1, 0, p;", I32, I32, I32, NO, 75, EXACT,      \
      a == b)                                                                                      \
    X(setp_eq_b64, "setp.eq.b64 p, a, b; selp.u32 d, 1, 0, p;", I32, I64, I64, NO, 75, EXACT,      \
      a == b)                                                                                      \
    X(shr_b32, "shr.b32 d, a, b;", I32, I32, AMOUNT, NO, 75, EXACT, b > 31 ? 0 : a >> b)           \
    X(cvta_to_local,                                                                               \
      ".local .align 8 .b8 l[16]; mov.u64 x64, l; cvta.local.u64 x64, x64; cvta.to.local.u64 "     \
      "y64, x64; st.local.u64 [y64+8], a; ld.local.u64 d, [l+8];",                                 \
      I64, I64, NO, NO, 75, EXACT, a)

/* Constants that have quicker forms than registers; 31, 63 and beyond. */
#define BY_CONSTANT(X, op, t, W, k, expr)                                                          \
    X(op##_##t##_by_##k, #op "." #t " d, a, " #k ";", W, W, NO, NO, 75, EXACT, expr)
#define SHIFTS(X, k)                                                                               \
    BY_CONSTANT(X, shl, b32, I32, k, k > 31 ? 0 : U32(a << (k & 31)))                              \
    BY_CONSTANT(X, shr, u32, I32, k, k > 31 ? 0 : a >> (k & 31))                                   \
    BY_CONSTANT(X, shr, s32, I32, k, U32((int32_t)a >> (k > 31 ? 31 : k)))                         \
    BY_CONSTANT(X, shl, b64, I64, k, k > 63 ? 0 : a << (k & 63))                                   \
    BY_CONSTANT(X, shr, u64, I64, k, k > 63 ? 0 : a >> (k & 63))                                   \
    BY_CONSTANT(X, shr, s64, I64, k, (int64_t)a >> (k > 63 ? 63 : k))
#define PRODUCT(X, k)                                                                              \
    X(mul_lo_s64_by_##k, "mul.lo.s64 d, a, " #k ";", I64, I64, NO, NO, 75, EXACT, a *(uint64_t)k)  \
    X(mul_lo_u64_by_reg_##k, "mov.b64 x64, " #k "; mul.lo.u64 d, a, x64;", I64, I64, NO, NO, 75,   \
      EXACT, a *(uint64_t)k)
#define CONSTANTS(X)                                                                               \
    SHIFTS(X, 0)                                                                                   \
    SHIFTS(X, 1) SHIFTS(X, 7) SHIFTS(X, 31) SHIFTS(X, 32) SHIFTS(X, 63) SHIFTS(X, 64)              \
        SHIFTS(X, 4294967295) PRODUCT(X, 0) PRODUCT(X, 1) PRODUCT(X, 2) PRODUCT(X, 3)              \
            PRODUCT(X, 5) PRODUCT(X, 6) PRODUCT(X, 7) PRODUCT(X, 8) PRODUCT(X, 12)                 \
                PRODUCT(X, 4294967295) PRODUCT(X, 4294967297) PRODUCT(X, 9223372036854775807)      \
                    X(mul_lo_s64_by_minus_1, "mul.lo.s64 d, a, -1;", I64, I64, NO, NO, 75, EXACT,  \
                      0 - a) X(mul_lo_u64_by_top, "mul.lo.u64 d, a, 0x8000000000000000;", I64,     \
                               I64, NO, NO, 75, EXACT, a << 63)                                    \
                        X(mul_lo_u64_by_all, "mul.lo.u64 d, a, 0xffffffffffffffff;", I64, I64, NO, \
                          NO, 75, EXACT, 0 - a)

/* Semantics and scopes behind the operation, as compilers write them, on generic addresses. */
#define GENERIC "cvta.global.u64 x64, pa; "
#define ORDERED(X)                                                                                 \
    X(atom_add_release_gpu, GENERIC "atom.add.release.gpu.u32 t, [x64], b; ld.u32 d, [x64];", I32, \
      I32, I32, NO, 75, EXACT, U32(a + b))                                                         \
    X(atom_add_acquire_cta, GENERIC "atom.add.acquire.cta.u32 t, [x64], b; ld.u32 d, [x64];", I32, \
      I32, I32, NO, 75, EXACT, U32(a + b))                                                         \
    X(atom_add_relaxed_cta, GENERIC "atom.add.relaxed.cta.u32 t, [x64], b; ld.u32 d, [x64];", I32, \
      I32, I32, NO, 75, EXACT, U32(a + b))                                                         \
    X(atom_add_acq_rel_cta, GENERIC "atom.add.acq_rel.cta.u64 t, [x64], b; ld.u64 d, [x64];", I64, \
      I64, I64, NO, 75, EXACT, a + b)                                                              \
    X(atom_add_relaxed_u64, GENERIC "atom.add.relaxed.cta.u64 t, [x64], b; ld.u64 d, [x64];", I64, \
      I64, I64, NO, 75, EXACT, a + b)                                                              \
    X(atom_or_acq_rel_cta, GENERIC "atom.or.acq_rel.cta.b32 t, [x64], b; ld.u32 d, [x64];", I32,   \
      I32, I32, NO, 75, EXACT, a | b)                                                              \
    X(red_and_release_cta, GENERIC "red.and.release.cta.b32 [x64], b; ld.u32 d, [x64];", I32, I32, \
      I32, NO, 75, EXACT, a &b)                                                                    \
    X(atom_sys_add_f64, "atom.global.sys.add.f64 t, [pa], b; ld.global.f64 d, [pa];", F64, F64,    \
      F64, NO, 75, EXACT, f64_op('+', a, b))                                                       \
    X(atom_shared_add_f64,                                                                         \
      ".shared .align 8 .b8 s[1024]; mov.u32 x32, s; mov.u32 y32, %tid.x; shl.b32 y32, y32, 3; "   \
      "add.s32 x32, x32, y32; st.shared.f64 [x32], a; atom.shared.add.f64 t, [x32], b; "           \
      "ld.shared.f64 d, [x32];",                                                                   \
      F64, F64, F64, NO, 75, EXACT, f64_op('+', a, b))                                             \
    X(generic_ca, GENERIC "ld.ca.u32 d, [x64];", I32, I32, NO, NO, 75, EXACT, a)                   \
    X(generic_cg, GENERIC "st.cg.u32 [x64], b; ld.cg.u32 d, [x64];", I32, I32, I32, NO, 75, EXACT, \
      b)                                                                                           \
    X(generic_relaxed_cta, GENERIC "st.relaxed.cta.b32 [x64], b; ld.relaxed.cta.b32 d, [x64];",    \
      I32, I32, I32, NO, 75, EXACT, b)

/* Nothing that a single lane could see, and the value comes through. */
#define FENCES(X)                                                                                  \
    X(fences,                                                                                      \
      "membar.cta; membar.gl; membar.sys; fence.sc.cta; fence.sc.gpu; fence.sc.sys; "              \
      "fence.acq_rel.cta; fence.acq_rel.gpu; fence.acq_rel.sys; mov.b32 d, a;",                    \
      I32, I32, NO, NO, 75, EXACT, a)                                                              \
    X(nanosleep, "nanosleep.u32 20; mov.b32 d, a;", I32, I32, NO, NO, 75, EXACT, a)                \
    X(griddepcontrol, "griddepcontrol.wait; griddepcontrol.launch_dependents; mov.b32 d, a;", I32, \
      I32, NO, NO, 90, EXACT, a)                                                                   \
    X(trap_not_taken, "setp.ne.u32 p, a, a; @p trap; mov.b32 d, a;", I32, I32, NO, NO, 75, EXACT,  \
      a)                                                                                           \
    X(bra_uni, "mov.b32 d, a; bra.uni over; mov.b32 d, 0; over:", I32, I32, NO, NO, 75, EXACT, a)

/* A warp's part of the copies: 16 bytes of pa's array for each pair of lanes, read crosswise. */
#define SLOT "mov.u32 y32, %tid.x; shl.b32 z32, y32, 3; mov.u32 x32, s; add.s32 x32, x32, z32; "
#define COPIES(X)                                                                                  \
    X(cp_async_ca_8,                                                                               \
      ".shared .align 16 .b8 s[1024]; " SLOT "cp.async.ca.shared.global [x32], [pa], 8; "          \
      "cp.async.commit_group; cp.async.wait_group 0; ld.shared.u64 d, [x32];",                     \
      I64, I64, NO, NO, 80, EXACT, a)                                                              \
    X(cp_async_ca_4_zero_filled,                                                                   \
      ".shared .align 16 .b8 s[1024]; " SLOT "st.shared.u64 [x32], b; "                            \
      "cp.async.ca.shared.global [x32], [pa], 4, 2; cp.async.wait_all; ld.shared.u64 d, [x32];",   \
      I64, I64, I64, NO, 80, EXACT, (a & 0xffff) | (b >> 32 << 32))                                \
    X(cp_async_cg_16,                                                                              \
      ".shared .align 16 .b8 s[2048]; mov.u32 y32, %tid.x; shl.b32 z32, y32, 4; mov.u32 x32, s; "  \
      "add.s32 x32, x32, z32; and.b64 x64, pa, -16; cp.async.cg.shared.global [x32], [x64], 16; "  \
      "cp.async.commit_group; cp.async.wait_group 0; and.b64 x64, pa, 8; cvt.u32.u64 z32, x64; "   \
      "add.s32 x32, x32, z32; ld.shared.u64 d, [x32];",                                            \
      I64, I64, NO, NO, 80, EXACT, a)

ARITHMETIC(CORPUS_REF)
MOVES(CORPUS_REF)
CONSTANTS(CORPUS_REF)
ORDERED(CORPUS_REF)
FENCES(CORPUS_REF)
COPIES(CORPUS_REF)

static void
reversed(const uint64_t *a, const uint64_t *b, const uint64_t *c, uint64_t *d)
{
    (void)b, (void)c;
    for (int i = 0; i < 32; i++)
        d[i] = a[31 - i];
}

static void
same(const uint64_t *a, const uint64_t *b, const uint64_t *c, uint64_t *d)
{
    (void)b, (void)c;
    for (int i = 0; i < 32; i++)
        d[i] = a[i];
}

static void
negative(const uint64_t *a, const uint64_t *b, const uint64_t *c, uint64_t *d)
{
    uint32_t lanes = 0;

    (void)b, (void)c;
    for (int i = 0; i < 32; i++)
        lanes |= U32(a[i]) >> 31 << i;
    for (int i = 0; i < 32; i++)
        d[i] = lanes;
}

static void
sum(const uint64_t *a, const uint64_t *b, const uint64_t *c, uint64_t *d)
{
    uint32_t total = 0;

    (void)b, (void)c;
    for (int i = 0; i < 32; i++)
        total += U32(a[i]);
    for (int i = 0; i < 32; i++)
        d[i] = total;
}

static void
ones(const uint64_t *a, const uint64_t *b, const uint64_t *c, uint64_t *d)
{
    (void)a, (void)b, (void)c;
    for (int i = 0; i < 32; i++)
        d[i] = 1;
}

#define CROSS                                                                                      \
    "mov.u32 y32, %tid.x; xor.b32 y32, y32, 31; shl.b32 y32, y32, 3; mov.u32 x32, s; "             \
    "add.s32 x32, x32, y32; ld.shared.u64 d, [x32];"
/* All 128 threads arrive; each waits for the end of the phase that it arrived in. */
#define ARRIVE_AND_WAIT                                                                            \
    "mbarrier.arrive.shared::cta.b64 y64, [bar]; "                                                 \
    "again: mbarrier.try_wait.shared.b64 p, [bar], y64; @!p bra again; "
#define ONE_STARTS(count)                                                                          \
    "mov.u32 y32, %tid.x; setp.eq.u32 q, y32, 0; @q mbarrier.init.shared.b64 [bar], " #count "; "  \
    "bar.sync 0; "
/* Thread 0 copies the block's KiB of a; all wait for the bytes. */
#define BULK(to)                                                                                   \
    ".shared .align 16 .b8 s[1024]; .shared .align 8 .b64 bar; " ONE_STARTS(                       \
        1) "@!q bra wait; mbarrier.expect_tx.relaxed.cta.shared::cta.b64 [bar], 1024; "            \
           "cp.async.bulk." to ".global.mbarrier::complete_tx::bytes [s], [pa], 1024, [bar]; "     \
           "mbarrier.arrive.shared::cta.b64 _, [bar]; wait: "                                      \
           "mbarrier.try_wait.parity.shared.b64 p, [bar], 0; @!p bra wait; " CROSS

#define ROW(name, text, d, a, b, sm, fn) {#name, text, d, a, b, NO, sm, EXACT, NULL, fn, NULL},

const struct corpus_case corpus_forms[] = {
    ARITHMETIC(CORPUS_ROW) MOVES(CORPUS_ROW) CONSTANTS(CORPUS_ROW) ORDERED(CORPUS_ROW) FENCES(
        CORPUS_ROW) COPIES(CORPUS_ROW) ROW(vote_ballot_old_order,
                                           "setp.lt.s32 p, a, 0; vote.ballot.sync.b32 d, p, -1;",
                                           I32, I32, NO, 75, negative)
        ROW(redux_add_s32, "redux.sync.add.s32 d, a, -1;", I32, I32, NO, 80, sum) ROW(
            barrier_sync_0,
            ".shared .align 8 .b64 s[128]; " SLOT "st.shared.u64 [x32], a; barrier.sync 0; " CROSS,
            I64, I64, NO, 75,
            reversed) ROW(bar_red_or,
                          "mov.u32 x32, %tid.x; setp.eq.u32 p, x32, 77; bar.red.or.pred q, 0, p; "
                          "selp.u32 d, 1, 0, q;",
                          I32, NO, NO, 75, ones)
            ROW(mbarrier_phases,
                ".shared .align 8 .b64 s[128]; .shared .align 8 .b64 bar; " ONE_STARTS(128) SLOT
                "st.shared.u64 [x32], a; " ARRIVE_AND_WAIT CROSS,
                I64, I64, NO, 90, reversed)
                ROW(mbarrier_after_copies,
                    ".shared .align 16 .b8 s[1024]; .shared .align 8 .b64 bar; " ONE_STARTS(128)
                        SLOT
                    "cp.async.ca.shared.global [x32], [pa], 8; cp.async.mbarrier.arrive.shared.b64 "
                    "[bar]; " ARRIVE_AND_WAIT CROSS,
                    I64, I64, NO, 90,
                    reversed) ROW(mbarrier_inval,
                                  ".shared .align 8 .b64 bar; " ONE_STARTS(128) ARRIVE_AND_WAIT
                                  "bar.sync 0; "
                                  "@q mbarrier.inval.shared.b64 [bar]; mov.b32 d, a;",
                                  I32, I32, NO, 90, same) ROW(cp_async_bulk_cluster,
                                                              BULK("shared::cluster"), I64, I64, NO,
                                                              90, reversed)
                    ROW(cp_async_bulk_store,
                        ".shared .align 16 .b8 s[1024]; " SLOT "st.shared.u64 [x32], a; "
                        "fence.proxy.async.shared::cta; bar.sync 0; setp.ne.u32 p, y32, 0; @p bra "
                        "done; "
                        "cp.async.bulk.global.shared::cta.bulk_group [pb], [s], 1024; "
                        "cp.async.bulk.commit_group; cp.async.bulk.wait_group 0; done: bar.sync 0; "
                        "ld.global.u64 d, [pb];",
                        I64, I64, I64, 90, same){.name = NULL},
};
