/* tests/unit/soft/test_meet.c -- *.sync: lanes meet at different instructions of the same kind */
#include "tests/unit/soft/soft_test.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* ---- each operation, by lanes at three instructions and four depths ---- */

/* $d $p: results (32 bits, predicate); $a $b $l $q: operands (32, 32, 64 bits, predicate);
 * $m: members. PTX for an operation, and what a lane gets of its members' operands. */
struct op {
    const char *ptx;
    uint64_t (*want)(unsigned lane, uint32_t members); /* p << 32 | d */
};

static uint32_t
a_of(unsigned lane)
{
    return lane * 37 + 11;
}

static uint32_t
key_of(unsigned lane)
{
    return lane * 5 & 3;
}

static bool
q_of(unsigned lane)
{
    return lane % 5 == 1;
}

/* All shuffles here stay inside of halves of the warp. */
static uint64_t
take_from(unsigned lane, unsigned from)
{
    bool in = from < 32 && from / 16 == lane / 16;

    return (uint64_t)in << 32 | a_of(in ? from : lane);
}

static uint64_t
shfl_idx(unsigned lane, uint32_t members)
{
    (void)members;
    return take_from(lane, (lane & 16) + ((lane * 7 + 3) & 15));
}

static uint64_t
shfl_up(unsigned lane, uint32_t members)
{
    (void)members;
    return take_from(lane, lane - 3);
}

static uint64_t
shfl_down(unsigned lane, uint32_t members)
{
    (void)members;
    return take_from(lane, lane + 5);
}

static uint64_t
shfl_bfly(unsigned lane, uint32_t members)
{
    (void)members;
    return take_from(lane, lane ^ 9);
}

static uint32_t
ballot_of(bool (*f)(unsigned lane), uint32_t members)
{
    uint32_t set = 0;

    for (unsigned i = 0; i < 32; i++)
        set |= (members >> i & 1) != 0 && f(i) ? 1u << i : 0;
    return set;
}

static uint64_t
vote_any(unsigned lane, uint32_t members)
{
    (void)lane;
    return (uint64_t)(ballot_of(q_of, members) != 0) << 32;
}

static uint64_t
vote_all(unsigned lane, uint32_t members)
{
    (void)lane;
    return (uint64_t)(ballot_of(q_of, members) == members) << 32;
}

static uint64_t
vote_uni(unsigned lane, uint32_t members)
{
    return vote_all(lane, members) | (vote_any(lane, members) ^ 1ull << 32);
}

static uint64_t
low_all(unsigned lane, uint32_t members)
{
    (void)lane;
    return (uint64_t)(members == 0xffff) << 32;
}

static uint64_t
half_uni(unsigned lane, uint32_t members)
{
    (void)lane;
    return (uint64_t)(members != 0xffffffff) << 32;
}

static uint64_t
vote_ballot(unsigned lane, uint32_t members)
{
    (void)lane;
    return ballot_of(q_of, members);
}

static uint64_t
match_any(unsigned lane, uint32_t members)
{
    uint32_t set = 0;

    for (unsigned i = 0; i < 32; i++)
        set |= (members >> i & 1) != 0 && key_of(i) == key_of(lane) ? 1u << i : 0;
    return set;
}

static uint64_t
match_all(unsigned lane, uint32_t members)
{
    return match_any(lane, members) == members ? 1ull << 32 | members : 0;
}

static uint64_t
match_all_half(unsigned lane, uint32_t members)
{
    (void)lane;
    return members != 0xffffffff ? 1ull << 32 | members : 0;
}

static uint64_t
redux_add(unsigned lane, uint32_t members)
{
    uint32_t sum = 0;

    (void)lane;
    for (unsigned i = 0; i < 32; i++)
        sum += (members >> i & 1) != 0 ? a_of(i) : 0;
    return sum;
}

static uint64_t
first_a(unsigned lane, uint32_t members)
{
    (void)lane;
    return a_of((unsigned)__builtin_ctz(members));
}

static uint64_t
elect(unsigned lane, uint32_t members)
{
    unsigned leader = (unsigned)__builtin_ctz(members);

    return (uint64_t)(lane == leader) << 32 | leader;
}

static uint64_t
nothing(unsigned lane, uint32_t members)
{
    (void)lane;
    (void)members;
    return 0;
}

static const struct op ops[] = {
    {"shfl.sync.idx.b32 $d|$p, $a, $b, 0x101f, $m;", shfl_idx},
    {"shfl.sync.up.b32 $d|$p, $a, 3, 0x1000, $m;", shfl_up},
    {"shfl.sync.down.b32 $d|$p, $a, 5, 0x101f, $m;", shfl_down},
    {"shfl.sync.bfly.b32 $d|$p, $a, 9, 0x101f, $m;", shfl_bfly},
    {"vote.sync.any.pred $p, $q, $m;", vote_any},
    {"vote.sync.all.pred $p, $q, $m;", vote_all},
    {"vote.sync.uni.pred $p, $q, $m;", vote_uni},
    {"vote.sync.ballot.b32 $d, $q, $m;", vote_ballot},
    {"setp.lt.u32 $q, $t, 16; vote.sync.all.pred $p, $q, $m;", low_all},
    {"setp.lt.u32 $q, $t, 16; vote.sync.uni.pred $p, !$q, $m;", half_uni},
    {"match.any.sync.b32 $d, $k, $m;", match_any},
    {"match.any.sync.b64 $d, $l, $m;", match_any},
    {"match.all.sync.b32 $d|$p, $k, $m;", match_all},
    {"and.b32 $d, $t, 16; match.all.sync.b32 $d|$p, $d, $m;", match_all_half},
    {"redux.sync.add.u32 $d, $a, $m;", redux_add},
    {"redux.sync.min.s32 $d, $a, $m;", first_a},
    {"redux.sync.min.f32 $d, $a, $m;", first_a}, /* small positive numbers: ordered as their bits */
    {"elect.sync $d|$p, $m;", elect},
    {"bar.warp.sync $m;", nothing},
};

/* The operands have different registers in each of the places. */
static void
write_op(char *text, size_t bytes, const char *ptx, const char *place)
{
    size_t n = 0;

    for (; *ptx != '\0' && n + 16 < bytes; ptx++) {
        if (*ptx == '$')
            n += (size_t)snprintf(text + n, bytes - n, "%%%c%s", *++ptx, place);
        else
            text[n++] = *ptx;
    }
    text[n] = '\0';
}

/* $t: lane, $a = 37 t + 11, $k = 5 t & 3, $l = k in both halves, $b: source, $q */
#define OPERANDS(place, lane)                                                                      \
    "mov.u32 %t" place ", " lane "; mad.lo.u32 %a" place ", %t" place ", 37, 11;\n"                \
    "mul.lo.u32 %k" place ", %t" place ", 5; and.b32 %k" place ", %k" place ", 3;\n"               \
    "mov.b64 %l" place ", {%k" place ", %k" place "};\n"                                           \
    "mad.lo.u32 %b" place ", %t" place ", 7, 3; rem.u32 %q32, %t" place ", 5;\n"                   \
    "setp.eq.u32 %q" place ", %q32, 1; mov.u32 %d" place ", 0;\n"                                  \
    "setp.ne.u32 %p" place ", %t" place ", %t" place ";\n"
#define REGISTERS                                                                                  \
    ".reg .pred %p<9>, %q<9>, %x<9>; .reg .b32 %t<9>, %a<9>, %b<9>, %d<9>, %k<9>, %m<9>, %r<9>, "  \
    "%q32; .reg .b64 %l<9>, %rd<9>;\n"
#define RESULT(place) "selp.u32 %r8, 1, 0, %p" place "; mov.b64 %rd8, {%d" place ", %r8};\n"

static const char places[] =
    PTX_HEAD ".func (.reg .b64 %ret) f(.reg .b32 %lane, .reg .b32 %members) {\n" REGISTERS
             "  mov.u32 %m3, %members;\n" OPERANDS("3", "%lane") "@3\n" RESULT(
                 "3") "  mov.u64 %ret, %rd8; ret; }\n"
                      ".func (.reg .b64 %ret) g(.reg .b32 %lane, .reg .b32 %members) {\n" REGISTERS
                      "  call (%ret), f, (%lane, %members); ret; }\n"
                      ".visible .entry k(.param .u64 out, .param .u32 half) {\n" REGISTERS
                      "  ld.param.u64 %rd1, [out]; ld.param.u32 %r1, [half]; mov.u32 %r2, %tid.x;\n"
                      "  mul.wide.u32 %rd2, %r2, 8; add.u64 %rd3, %rd1, %rd2; mov.u32 %m1, -1;\n"
                      "  setp.eq.u32 %x1, %r1, 0; @%x1 bra GO; and.b32 %r3, %r2, 16; shl.b32 %m1, "
                      "0xffff, %r3;\n"
                      "GO: mov.u32 %m2, %m1; and.b32 %r4, %r2, 3; setp.eq.u32 %x2, %r4, 1; @%x2 "
                      "bra SECOND;\n"
                      "  setp.eq.u32 %x3, %r4, 2; @%x3 bra CALL; setp.eq.u32 %x4, %r4, 3; @%x4 bra "
                      "DEEPER;\n" OPERANDS("1", "%r2") "@1\n" RESULT(
                          "1") "bra OUT;\n"
                               "SECOND:\n" OPERANDS("2", "%r2") "@2\n" RESULT(
                                   "2") "bra OUT;\n"
                                        "CALL: call (%rd8), f, (%r2, %m1); bra OUT;\n"
                                        "DEEPER: call (%rd8), g, (%r2, %m1);\n"
                                        "OUT: st.global.u64 [%rd3], %rd8; ret; }\n";

static void
write_module(char *text, size_t bytes, const char *ptx)
{
    const char *at;
    size_t n = 0;

    for (at = places; *at != '\0' && n + 512 < bytes; at++) {
        if (*at == '@' && at[1] >= '1' && at[1] <= '3' && at[2] == '\n') {
            char place[2] = {*++at, '\0'}, op[256];

            write_op(op, sizeof(op), ptx, place);
            n += (size_t)snprintf(text + n, bytes - n, "%s", op);
        } else {
            text[n++] = *at;
        }
    }
    text[n] = '\0';
}

static void
run_op(const struct op *op, unsigned half)
{
    char text[8192];
    struct soft *s;
    uint64_t *out;

    write_module(text, sizeof(text), op->ptx);
    s = soft_open(text, 1);
    out = soft_alloc(s, 32 * sizeof(*out));
    cr_assert_eq(soft_launch(s, "k", (struct soft_shape){.grid = 1, .block = 32},
                             SOFT_ARGS(SOFT_PTR(out), half)),
                 CUDA_SUCCESS, "%s: %s", op->ptx, s->fault.what);
    for (unsigned i = 0; i < 32; i++) {
        const uint32_t members = half == 0 ? 0xffffffff : 0xffffu << (i & 16);
        const uint64_t want = op->want(i, members);

        cr_assert_eq(out[i], want, "%s members %x lane %u: %" PRIx64 ", not %" PRIx64, op->ptx,
                     members, i, out[i], want);
    }
    soft_close(s);
}

Test(soft_meet, every_operation_is_one_at_several_places_and_depths)
{
    for (unsigned i = 0; i < GP_ARRAY_LEN(ops); i++) {
        run_op(&ops[i], 0);
        run_op(&ops[i], 1);
    }
}

/* ---- programs ---- */

#define HEAD                                                                                       \
    ".visible .entry k(.param .u64 out) {\n"                                                       \
    "  .reg .pred %p<9>; .reg .b32 %r<20>; .reg .b64 %rd<4>;\n"                                    \
    "  ld.param.u64 %rd1, [out]; mov.u32 %r1, %tid.x; mul.wide.u32 %rd2, %r1, 4;\n"                \
    "  add.u64 %rd3, %rd1, %rd2; mov.u32 %r2, 0; mov.u32 %r10, 0;\n"

static struct soft *
run(const char *ptx, unsigned block, CUresult want, uint32_t **out_p)
{
    struct soft *s = soft_open(ptx, 1);
    CUresult cr;

    *out_p = soft_alloc(s, 64 * 4);
    s->cancel_after = 2000;
    cr = soft_launch(s, "k", (struct soft_shape){.grid = 1, .block = block},
                     SOFT_ARGS(SOFT_PTR(*out_p)));
    cr_assert_eq(cr, want, "%d: %s", cr, s->fault.what);
    return s;
}

static void
three_lanes_give(const char *ptx, const uint32_t want[3])
{
    uint32_t *out;
    struct soft *s = run(ptx, 3, CUDA_SUCCESS, &out);

    for (unsigned i = 0; i < 3; i++)
        cr_assert_eq(out[i], want[i], "lane %u: %u", i, out[i]);
    soft_close(s);
}

/* A hundred turns, in each of which the lanes part in another way; one way takes the second result
 * and the other does not. */
Test(soft_meet, a_loop_whose_lanes_change_places)
{
    static const char ptx[] = PTX_HEAD HEAD
        "  mov.u32 %r3, %r1;\n"
        "TURN: mad.lo.u32 %r4, %r1, 5, %r2; and.b32 %r5, %r4, 2; setp.eq.u32 %p1, %r5, 0;\n"
        "  @%p1 bra OTHER; add.u32 %r6, %r2, %r1; shfl.sync.idx.b32 %r7, %r3, %r6, 31, -1;\n"
        "  add.u32 %r3, %r7, 1; bra NEXT;\n"
        "OTHER: mul.lo.u32 %r8, %r3, 3; add.u32 %r6, %r2, 1;\n"
        "  shfl.sync.idx.b32 %r8|%p2, %r8, %r6, 31, -1; selp.u32 %r9, 2, 0, %p2;\n"
        "  add.u32 %r3, %r8, %r9;\n"
        "NEXT: add.u32 %r2, %r2, 1; setp.lt.u32 %p3, %r2, 100; @%p3 bra TURN;\n"
        "  st.global.u32 [%rd3], %r3; ret; }\n";
    uint32_t *out, v[32], given[32], next[32];
    struct soft *s = run(ptx, 32, CUDA_SUCCESS, &out);

    for (unsigned i = 0; i < 32; i++)
        v[i] = i;
    for (unsigned turn = 0; turn < 100; turn++) {
        for (unsigned i = 0; i < 32; i++)
            given[i] = ((i * 5 + turn) & 2) == 0 ? v[i] * 3 : v[i];
        for (unsigned i = 0; i < 32; i++)
            next[i] =
                ((i * 5 + turn) & 2) == 0 ? given[(turn + 1) % 32] + 2 : given[(turn + i) % 32] + 1;
        memcpy(v, next, sizeof(v));
    }
    for (unsigned i = 0; i < 32; i++)
        cr_assert_eq(out[i], v[i], "lane %u: %u, not %u", i, out[i], v[i]);
    soft_close(s);
}

/* Each lane calls itself another number of times before it meets the others: 1 + lane % 8 deep. */
Test(soft_meet, recursion_meets_at_any_depth)
{
    static const char ptx[] = PTX_HEAD
        ".func (.reg .b32 %ret) f(.reg .b32 %n, .reg .b32 %v) {\n"
        "  .reg .pred %p<2>; .reg .b32 %r<9>;\n"
        "  setp.eq.u32 %p1, %n, 0; @%p1 bra MEET; sub.u32 %r1, %n, 1; add.u32 %r2, %v, 100;\n"
        "  call (%r3), f, (%r1, %r2); mad.lo.u32 %ret, %r3, 3, %n; ret;\n"
        "MEET: shfl.sync.bfly.b32 %ret, %v, 1, 31, -1; ret; }\n" HEAD
        "  and.b32 %r3, %r1, 7; call (%r4), f, (%r3, %r1); st.global.u32 [%rd3], %r4; ret; }\n";
    uint32_t *out;
    struct soft *s = run(ptx, 32, CUDA_SUCCESS, &out);

    for (unsigned i = 0; i < 32; i++) {
        uint32_t want = (i ^ 1) + 100 * ((i ^ 1) % 8);

        for (unsigned n = 1; n <= i % 8; n++)
            want = want * 3 + n;
        cr_assert_eq(out[i], want, "lane %u: %u, not %u", i, out[i], want);
    }
    soft_close(s);
}

/* Every fourth lane works for a while and exits; the others wait for it at two instructions. */
Test(soft_meet, nobody_waits_for_lanes_that_exit)
{
    static const char ptx[] = PTX_HEAD HEAD
        "  and.b32 %r3, %r1, 3; setp.eq.u32 %p1, %r3, 3; @%p1 bra GO; setp.eq.u32 %p2, %r3, 0;\n"
        "  setp.ne.u32 %p3, %r3, 4; @%p2 bra LOW; vote.sync.ballot.b32 %r4, %p3, -1; bra OUT;\n"
        "LOW: vote.sync.ballot.b32 %r4, %p2, -1;\nOUT: st.global.u32 [%rd3], %r4; ret;\n"
        "GO: add.u32 %r2, %r2, 1; setp.lt.u32 %p4, %r2, 200000; @%p4 bra GO; exit; }\n";
    uint32_t *out;
    struct soft *s = run(ptx, 32, CUDA_SUCCESS, &out);

    for (unsigned i = 0; i < 32; i++)
        cr_assert_eq(out[i], i % 4 == 3 ? 0 : 0x77777777u, "lane %u: %x", i, out[i]);
    soft_close(s);
}

/* Lanes 1 and 2 meet at two instructions while lane 0 spins on what lane 1 stores behind that. */
Test(soft_meet, others_meet_while_a_lane_spins)
{
    static const char ptx[] =
        PTX_HEAD ".shared .align 4 .u32 flag;\n" HEAD
                 "  mov.u32 %r3, flag; st.shared.u32 [%r3], 0; bar.warp.sync -1;\n"
                 "  setp.eq.u32 %p1, %r1, 1; @%p1 bra ONE; setp.eq.u32 %p2, %r1, 2; @%p2 bra TWO;\n"
                 "SPIN: ld.volatile.shared.u32 %r4, [%r3]; setp.eq.u32 %p3, %r4, 0; @%p3 bra SPIN; "
                 "bra OUT;\n"
                 "ONE: shfl.sync.idx.b32 %r4, %r1, 2, 31, 6; add.u32 %r4, %r4, 40;\n"
                 "  st.volatile.shared.u32 [%r3], %r4; bra OUT;\n"
                 "TWO: add.u32 %r4, %r1, 50; shfl.sync.idx.b32 %r4, %r4, 1, 31, 6;\n"
                 "OUT: st.global.u32 [%rd3], %r4; ret; }\n";

    three_lanes_give(ptx, (const uint32_t[3]){92, 92, 1});
}

/* The members must be the same: lane 1 is at the instruction for lane 2 first, then for lane 0. */
Test(soft_meet, a_lane_that_is_there_for_others_is_not_met)
{
    static const char ptx[] = PTX_HEAD HEAD
        "  setp.eq.u32 %p1, %r1, 0; selp.b32 %r3, 3, 6, %p1; mov.u32 %r4, %r1;\n"
        "  setp.eq.u32 %p2, %r1, 1;\n"
        "TURN: xor.b32 %r6, %r3, 1; selp.b32 %r6, 1, 0, %p1; @!%p2 bra MEET;\n"
        "  selp.b32 %r6, 2, 0, %p2; setp.eq.u32 %p3, %r3, 3; @%p3 mov.u32 %r6, 0;\n"
        "MEET: setp.eq.u32 %p4, %r1, 2; @%p4 mov.u32 %r6, 1;\n"
        "  shfl.sync.idx.b32 %r5, %r4, %r6, 31, %r3; mad.lo.u32 %r10, %r10, 1000, %r5;\n"
        "  setp.ne.u32 %p5, %r3, 6; not.pred %p6, %p2; or.pred %p5, %p5, %p6; @%p5 bra OUT;\n"
        "  mov.u32 %r3, 3; add.u32 %r4, %r4, 500; bra TURN;\n"
        "OUT: st.global.u32 [%rd3], %r10; ret; }\n";

    three_lanes_give(ptx, (const uint32_t[3]){501, 2000, 1});
}

/* ---- who does not meet ---- */

static const char apart[] = PTX_HEAD HEAD
    "  and.b32 %r3, %r1, 1; setp.eq.u32 %p1, %r3, 1; cvt.u64.u32 %rd2, %r1; mov.u32 %r4, -1;\n"
    "  @%p1 bra ODD; ";

/* Other operations, qualifiers or members: on a GPU these wait for ever. */
static const char *const pairs[][2] = {
    {"shfl.sync.idx.b32 %r5, %r1, 0, 31, -1;", "shfl.sync.up.b32 %r5, %r1, 0, 31, -1;"},
    {"shfl.sync.idx.b32 %r5, %r1, 0, 31, -1;", "shfl.sync.idx.b32 %r5, %r1, 0, 31, 0x7fffffff;"},
    {"vote.sync.any.pred %p2, %p1, -1;", "vote.sync.all.pred %p2, %p1, -1;"},
    {"vote.sync.any.pred %p2, %p1, -1;", "vote.sync.ballot.b32 %r5, %p1, -1;"},
    {"match.any.sync.b32 %r5, %r1, -1;", "match.any.sync.b64 %r5, %rd2, -1;"},
    {"match.any.sync.b32 %r5, %r1, -1;", "match.all.sync.b32 %r5, %r1, -1;"},
    {"redux.sync.add.u32 %r5, %r1, -1;", "redux.sync.add.s32 %r5, %r1, -1;"},
    {"bar.warp.sync -1;", "bar.warp.sync 0x7fffffff;"},
    {"bar.warp.sync -1;", "vote.sync.any.pred %p2, %p1, -1;"},
    {"bar.warp.sync -1;", "bar.sync 0;"},
};

Test(soft_meet, others_do_not_meet_and_the_log_names_them)
{
    for (unsigned i = 0; i < GP_ARRAY_LEN(pairs); i++) {
        char text[2048];
        struct soft *s;
        uint32_t *out;

        snprintf(text, sizeof(text), "%s\n%s\nbra OUT;\nODD: %s\nOUT: ret; }\n", apart, pairs[i][0],
                 pairs[i][1]);
        s = run(text, 32, CUDA_ERROR_LAUNCH_FAILED, &out);
        cr_assert_not_null(strstr(s->fault.what, "deadlock"), "%s", s->fault.what);
        if (strstr(pairs[i][1], "bar.sync") == NULL)
            cr_assert_not_null(strstr(s->fault.what, "wait for 0x"), "%s", s->fault.what);
        cr_assert(s->fault.ptx_line == 8 || s->fault.ptx_line == 10, "%s: line %u", text,
                  s->fault.ptx_line);
        soft_close(s);
    }
}

/* While another warp goes on, it is no deadlock of the block but waits, as on a GPU, and a kernel
 * that never ends can be cancelled. */
Test(soft_meet, a_warp_that_waits_for_ever_can_be_cancelled)
{
    static const char ptx[] = PTX_HEAD HEAD
        "  setp.ge.u32 %p1, %r1, 32; @%p1 bra SPIN; and.b32 %r3, %r1, 1;\n"
        "  setp.eq.u32 %p2, %r3, 1; @%p2 bra ODD; vote.sync.any.pred %p3, %p1, -1; ret;\n"
        "ODD: vote.sync.all.pred %p3, %p1, -1; ret;\n"
        "SPIN: ld.volatile.global.u32 %r4, [%rd1]; setp.eq.u32 %p4, %r4, 0; @%p4 bra SPIN; ret; "
        "}\n";
    struct soft *s = soft_open(ptx, 1);
    uint32_t *out = soft_alloc(s, 4);

    s->cancel_after = 20;
    cr_assert_neq(
        soft_launch(s, "k", (struct soft_shape){.grid = 1, .block = 64}, SOFT_ARGS(SOFT_PTR(out))),
        CUDA_SUCCESS);
    cr_assert_geq(s->polls, 20);
    soft_close(s);
}
