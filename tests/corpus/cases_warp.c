/* tests/corpus/cases_warp.c -- shuffles, votes, matches, reductions across a warp */
#include "tests/corpus/corpus.h"

#include <stdbool.h>

enum {
    LANES = 32
};

/* The manual's definition; c is clamp and segment mask. Result: value, predicate above. */
static uint64_t
shuffle(char mode, const uint64_t *a, int lane, uint64_t b, uint32_t c)
{
    int segment = (int)(c >> 8 & 31), clamp = (int)(c & 31), by = (int)(b & 31);
    int max = (lane & segment) | (clamp & ~segment), min = lane & segment, j;
    bool ok;

    switch (mode) {
    case 'u':
        j = lane - by;
        ok = j >= max;
        break;
    case 'd':
        j = lane + by;
        ok = j <= max;
        break;
    case 'b':
        j = lane ^ by;
        ok = j <= max;
        break;
    default:
        j = min | (by & ~segment);
        ok = j <= max;
        break;
    }
    return (uint64_t)ok << 32 | a[ok ? j : lane];
}

#define SHUFFLE(name, mode, control)                                                               \
    static void shfl_##name(const uint64_t *a, const uint64_t *b, const uint64_t *c, uint64_t *d)  \
    {                                                                                              \
        int i;                                                                                     \
                                                                                                   \
        (void)c;                                                                                   \
        for (i = 0; i < LANES; i++)                                                                \
            d[i] = shuffle(mode, a, i, b[i], control);                                             \
    }
SHUFFLE(up, 'u', 0)
SHUFFLE(up_8, 'u', 0x1800)
SHUFFLE(down, 'd', 0x1f)
SHUFFLE(down_16, 'd', 0x101f)
SHUFFLE(bfly, 'b', 0x1f)
SHUFFLE(bfly_4, 'b', 0x1c03)
SHUFFLE(idx, 'i', 0x1f)
SHUFFLE(idx_8, 'i', 0x181f)

#define SHFL_ROW(name, mode, control)                                                              \
    {"shfl_" #name,                                                                                \
     "shfl.sync." mode ".b32 x32|p, a, b, " control ", 0xffffffff; selp.b32 y32, 1, 0, p; "        \
     "mov.b64 d, {x32, y32};",                                                                     \
     I64,                                                                                          \
     I32,                                                                                          \
     I32,                                                                                          \
     NO,                                                                                           \
     75,                                                                                           \
     EXACT,                                                                                        \
     NULL,                                                                                         \
     shfl_##name},

/* Folds a predicate or a value over the warp and gives all lanes the result. */
#define FOLD(name, start, step)                                                                    \
    static void name(const uint64_t *a, const uint64_t *b, const uint64_t *c, uint64_t *d)         \
    {                                                                                              \
        uint64_t r = start;                                                                        \
        int i;                                                                                     \
                                                                                                   \
        (void)a, (void)b, (void)c;                                                                 \
        for (i = 0; i < LANES; i++)                                                                \
            step;                                                                                  \
        for (i = 0; i < LANES; i++)                                                                \
            d[i] = r;                                                                              \
    }
FOLD(vote_all, 1, r &= a[i] != 0)
FOLD(vote_any, 0, r |= a[i] == 0)
FOLD(vote_ballot, 0, r |= (uint64_t)((int32_t)a[i] < 0) << i)
FOLD(redux_add, 0, r = (uint32_t)(r + a[i]))
FOLD(redux_and, 0xffffffff, r &= a[i] | b[i])
FOLD(redux_or, 0, r |= a[i] & b[i])
FOLD(redux_xor, 0, r ^= a[i])
FOLD(redux_min_u, 0xffffffff, r = a[i] < r ? a[i] : r)
FOLD(redux_max_s, 0x80000000, r = (int32_t)a[i] > (int32_t)r ? a[i] : r)
FOLD(redux_min_s, 0x7fffffff, r = (int32_t)a[i] < (int32_t)r ? a[i] : r)
FOLD(redux_max_u, 0, r = a[i] > r ? a[i] : r)
FOLD(everyone, 0, r |= 1ull << i)

static void
vote_uni(const uint64_t *a, const uint64_t *b, const uint64_t *c, uint64_t *d)
{
    int i, set = 0;

    (void)b, (void)c;
    for (i = 0; i < LANES; i++)
        set += a[i] != 0;
    for (i = 0; i < LANES; i++)
        d[i] = set == 0 || set == LANES;
}

static void
match_any(const uint64_t *a, const uint64_t *b, const uint64_t *c, uint64_t *d)
{
    int i, j;

    (void)b, (void)c;
    for (i = 0; i < LANES; i++)
        for (d[i] = 0, j = 0; j < LANES; j++)
            d[i] |= (uint64_t)((a[i] & 7) == (a[j] & 7)) << j;
}

static void
match_any_64(const uint64_t *a, const uint64_t *b, const uint64_t *c, uint64_t *d)
{
    int i, j;

    (void)b, (void)c;
    for (i = 0; i < LANES; i++)
        for (d[i] = 0, j = 0; j < LANES; j++)
            d[i] |= (uint64_t)(a[i] == a[j]) << j;
}

/* All equal: the whole mask and the predicate, else nothing. */
static void
match_all(const uint64_t *a, const uint64_t *b, const uint64_t *c, uint64_t *d)
{
    int i, set = 0;

    (void)b, (void)c;
    for (i = 0; i < LANES; i++)
        set += a[i] == 0;
    for (i = 0; i < LANES; i++)
        d[i] = set == 0 || set == LANES ? 0x1ffffffff : 0;
}

/* Odd lanes only: they shuffle among themselves with their own mask. */
static void
shfl_in_branch(const uint64_t *a, const uint64_t *b, const uint64_t *c, uint64_t *d)
{
    int i;

    (void)b, (void)c;
    for (i = 0; i < LANES; i++)
        d[i] = i % 2 == 0 ? a[i] : a[i ^ 2];
}

static void
ballot_in_branch(const uint64_t *a, const uint64_t *b, const uint64_t *c, uint64_t *d)
{
    uint64_t low = 0, high = 0;
    int i;

    (void)b, (void)c;
    for (i = 0; i < LANES; i++)
        *(i < 12 ? &low : &high) |= (uint64_t)(a[i] > 255) << i;
    for (i = 0; i < LANES; i++)
        d[i] = i < 12 ? low : high;
}

/* Odd and even lanes at instructions of their own, which are one all the same. */
static void
shfl_in_both(const uint64_t *a, const uint64_t *b, const uint64_t *c, uint64_t *d)
{
    int i;

    (void)b, (void)c;
    for (i = 0; i < LANES; i++)
        d[i] = (uint32_t)(i % 2 != 0 ? a[i ^ 1] * 5 : a[i ^ 1] + 3);
}

#define IN_BOTH(odd, even)                                                                         \
    "mov.u32 x32, %laneid; and.b32 x32, x32, 1; setp.eq.u32 p, x32, 0; setp.lt.s32 q, a, 0; "      \
    "@p bra even; " odd " bra done; even: " even " done: bar.warp.sync -1;"
#define APART                                                                                      \
    ROW(shfl_in_both_branches,                                                                     \
        IN_BOTH("add.u32 y32, a, 3; shfl.sync.bfly.b32 d, y32, 1, 0x1f, -1;",                      \
                "mul.lo.u32 z32, a, 5; shfl.sync.bfly.b32 d, z32, 1, 0x1f, -1;"),                  \
        I32, I32, NO, 75, shfl_in_both)                                                            \
    ROW(ballot_in_both_branches,                                                                   \
        IN_BOTH("vote.sync.ballot.b32 d, q, -1;", "not.pred q, q; not.pred q, q; "                 \
                "vote.sync.ballot.b32 d, q, -1;"),                                                 \
        I32, I32, NO, 75, vote_ballot)                                                             \
    ROW(match_in_both_branches,                                                                    \
        "and.b32 y32, a, 7; " IN_BOTH("match.any.sync.b32 d, y32, -1;",                            \
                                      "mov.b32 z32, y32; match.any.sync.b32 d, z32, -1;"),         \
        I32, I32, NO, 75, match_any)                                                               \
    ROW(redux_in_both_branches,                                                                    \
        IN_BOTH("redux.sync.add.u32 d, a, -1;", "mov.b32 z32, a; redux.sync.add.u32 d, z32, -1;"), \
        I32, I32, NO, 80, redux_add)

/* All lanes of a warp, or every other one, add to one place. */
FOLD(sum_64, 0, r += a[i])
FOLD(sum_odd, 0, r = (uint32_t)(r + (i % 2 != 0 ? a[i] : 0)))

#define PLACE                                                                                      \
    ".shared .align 8 .b8 s[512]; mov.u32 x32, %tid.x; shr.u32 x32, x32, 5; shl.b32 x32, x32, 4; " \
    "mov.u32 y32, s; add.u32 x32, x32, y32; "
#define CLEAR "st.shared.u64 [x32], 0; st.shared.u64 [x32+8], 0; bar.warp.sync -1; "
#define TOGETHER                                                                                   \
    ROW(red_together_add,                                                                          \
        PLACE CLEAR "red.shared.add.u32 [x32], a; bar.warp.sync -1; ld.shared.u32 d, [x32];", I32, \
        I32, NO, 75, redux_add)                                                                    \
    ROW(red_together_add_u64,                                                                      \
        PLACE CLEAR "red.shared.add.u64 [x32], a; bar.warp.sync -1; ld.shared.u64 d, [x32];", I64, \
        I64, NO, 75, sum_64)                                                                       \
    ROW(red_together_add_odd,                                                                      \
        PLACE CLEAR "mov.u32 y32, %laneid; and.b32 y32, y32, 1; setp.eq.u32 p, y32, 0; "           \
                    "@p bra done; red.shared.add.u32 [x32], a; done: bar.warp.sync -1; "           \
                    "ld.shared.u32 d, [x32];",                                                     \
        I32, I32, NO, 75, sum_odd)                                                                 \
    ROW(red_together_xor,                                                                          \
        PLACE CLEAR "red.shared.xor.b32 [x32], a; bar.warp.sync -1; ld.shared.u32 d, [x32];", I32, \
        I32, NO, 75, redux_xor)                                                                    \
    ROW(red_together_or,                                                                           \
        PLACE CLEAR "and.b32 y32, a, b; red.shared.or.b32 [x32+4], y32; bar.warp.sync -1; "        \
                    "ld.shared.u32 d, [x32+4];",                                                   \
        I32, I32, I32, 75, redux_or)                                                               \
    ROW(red_together_and,                                                                          \
        PLACE "st.shared.s32 [x32], -1; bar.warp.sync -1; or.b32 y32, a, b; "                      \
              "red.shared.and.b32 [x32], y32; bar.warp.sync -1; ld.shared.u32 d, [x32];",          \
        I32, I32, I32, 75, redux_and)                                                              \
    /* Each gets another number. */                                                                \
    ROW(atom_together_numbers,                                                                     \
        PLACE CLEAR "atom.shared.add.u32 z32, [x32], 1; mov.u32 y32, 1; shl.b32 y32, y32, z32; "   \
                    "atom.shared.or.b32 z32, [x32+4], y32; bar.warp.sync -1; "                     \
                    "ld.shared.u32 d, [x32+4];",                                                   \
        I32, NO, NO, 75, everyone)

#define ROW(name, text, d, a, b, sm, fn) {#name, text, d, a, b, NO, sm, EXACT, NULL, fn},

const struct corpus_case corpus_warp[] = {
    SHFL_ROW(up, "up", "0") SHFL_ROW(up_8, "up", "0x1800") SHFL_ROW(down, "down", "0x1f") SHFL_ROW(
        down_16, "down", "0x101f") SHFL_ROW(bfly, "bfly", "0x1f") SHFL_ROW(bfly_4, "bfly", "0x1c03")
        SHFL_ROW(idx, "idx", "0x1f") SHFL_ROW(idx_8, "idx", "0x181f") ROW(
            vote_all, "setp.ne.u32 p, a, 0; vote.sync.all.pred q, p, -1; selp.u32 d, 1, 0, q;", I32,
            I32, NO, 75,
            vote_all) ROW(vote_any,
                          "setp.ne.u32 p, a, 0; vote.sync.any.pred q, !p, -1; selp.u32 d, 1, 0, q;",
                          I32, I32, NO, 75, vote_any)
            ROW(vote_uni, "setp.ne.u32 p, a, 0; vote.sync.uni.pred q, p, -1; selp.u32 d, 1, 0, q;",
                I32, I32, NO, 75,
                vote_uni) ROW(vote_ballot, "setp.lt.s32 p, a, 0; vote.sync.ballot.b32 d, p, -1;",
                              I32, I32, NO, 75,
                              vote_ballot) ROW(match_any_b32,
                                               "and.b32 x32, a, 7; match.any.sync.b32 d, x32, -1;",
                                               I32, I32, NO, 75, match_any)
                ROW(match_any_b64, "match.any.sync.b64 d, a, -1;", I32, I64, NO, 75,
                    match_any_64) ROW(match_all_b32,
                                      "setp.eq.u32 p, a, 0; selp.u32 x32, 1, 0, p; "
                                      "match.all.sync.b32 y32|q, x32, -1; "
                                      "selp.u32 z32, 1, 0, q; mov.b64 d, {y32, z32};",
                                      I64, I32, NO, 75,
                                      match_all) ROW(redux_add_u32, "redux.sync.add.u32 d, a, -1;",
                                                     I32, I32, NO, 80, redux_add)
                    ROW(redux_min_u32, "redux.sync.min.u32 d, a, -1;", I32, I32, NO, 80,
                        redux_min_u) ROW(redux_max_u32, "redux.sync.max.u32 d, a, -1;",
                                         I32, I32, NO, 80, redux_max_u)
                        ROW(redux_min_s32, "redux.sync.min.s32 d, a, -1;", I32, I32, NO, 80,
                            redux_min_s) ROW(redux_max_s32, "redux.sync.max.s32 d, a, -1;",
                                             I32, I32, NO, 80, redux_max_s)
                            ROW(redux_and_b32, "or.b32 x32, a, b; redux.sync.and.b32 d, x32, -1;",
                                I32, I32, I32, 80,
                                redux_and) ROW(redux_or_b32,
                                               "and.b32 x32, a, b; redux.sync.or.b32 d, x32, -1;",
                                               I32, I32, I32, 80, redux_or)
                                ROW(redux_xor_b32, "redux.sync.xor.b32 d, a, -1;", I32, I32, NO, 80,
                                    redux_xor)
                                    ROW(activemask, "activemask.b32 d;", I32, NO, NO, 75, everyone)
                                        ROW(shfl_in_branch,
                                            "mov.u32 x32, %laneid; and.b32 x32, x32, 1; "
                                            "setp.eq.u32 p, x32, 0; mov.b32 d, a; "
                                            "@p bra done; shfl.sync.bfly.b32 d, a, 2, 0x1f, "
                                            "0xaaaaaaaa; done: bar.warp.sync -1;",
                                            I32, I32, NO, 75, shfl_in_branch)
                                            ROW(ballot_in_branch,
                                                "mov.u32 x32, %laneid; setp.gt.u32 q, a, 255; "
                                                "setp.lt.u32 p, x32, 12; @p bra low; "
                                                "vote.sync.ballot.b32 d, q, 0xfffff000; bra done; "
                                                "low: vote.sync.ballot.b32 d, q, 0xfff; done: "
                                                "bar.warp.sync -1;",
                                                I32, I32, NO, 75, ballot_in_branch) APART TOGETHER{.name = NULL},
};
