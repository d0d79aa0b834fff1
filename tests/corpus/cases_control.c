/* tests/corpus/cases_control.c -- branches, loops, calls, constants, barriers that compute */
#include "tests/corpus/corpus.h"

static uint64_t
collatz(uint64_t a, uint64_t b, uint64_t c)
{
    uint32_t n = (uint32_t)(a & 0xffff) + 1, steps = 0;

    (void)b, (void)c;
    for (; n != 1; steps++)
        n = (n & 1) != 0 ? 3 * n + 1 : n / 2;
    return steps;
}

static uint64_t
nested(uint64_t a, uint64_t b, uint64_t c)
{
    uint32_t sum = 0, i, j;

    (void)c;
    for (i = 0; i < (a & 7); i++)
        for (j = 0; j < (b & 7); j++)
            sum += (i ^ j) == 3 ? 100 : i * 8 + j;
    return sum;
}

static uint64_t
table(uint64_t a, uint64_t b, uint64_t c)
{
    switch (a & 3) {
    case 0:
        return (uint32_t)(b + c);
    case 1:
        return (uint32_t)(b - c);
    case 2:
        return (uint32_t)(b * c);
    default:
        return b ^ c;
    }
}

static uint64_t
gcd(uint64_t a, uint64_t b, uint64_t c)
{
    (void)c;
    a &= 0xffff;
    b &= 0xffff;
    while (b != 0) {
        uint64_t t = a % b;

        a = b;
        b = t;
    }
    return a;
}

/* f(n) = n < 2 ? n : f(n - 1) + f(n - 2) */
static uint64_t
fibonacci(uint64_t a, uint64_t b, uint64_t c)
{
    uint64_t x = 0, y = 1, n;

    (void)b, (void)c;
    for (n = a & 7; n > 0; n--) {
        uint64_t t = x + y;

        x = y;
        y = t;
    }
    return x;
}

static uint64_t
constant(uint64_t a, uint64_t b, uint64_t c)
{
    static const uint32_t squares[] = {0, 1, 4, 9, 16, 25, 36, 49};

    (void)b, (void)c;
    return squares[a & 7] + 1000;
}

static uint64_t
indirect(uint64_t a, uint64_t b, uint64_t c)
{
    (void)c;
    return (uint32_t)((a & 1) != 0 ? b * 3 : b + 7);
}

static uint64_t
bytes_swapped(uint64_t a, uint64_t b, uint64_t c)
{
    (void)b, (void)c;
    return __builtin_bswap64(a);
}

/* Of the 128 threads of a block, 64 are even. */
static uint64_t
counted(uint64_t a, uint64_t b, uint64_t c)
{
    (void)a, (void)b, (void)c;
    return 64;
}

/* Lanes below 5 keep a, multiples of 3 leave without storing, the other 18 vote. */
static void
uneven_exit(const uint64_t *a, const uint64_t *b, const uint64_t *c, uint64_t *d)
{
    int i;

    (void)b, (void)c;
    for (i = 0; i < 32; i++)
        d[i] = i < 5 ? a[i] : i % 3 == 0 ? 0 : 18;
}

#define GCD                                                                                        \
    ".func (.param .b32 r) gcd(.param .b32 x, .param .b32 y)\n{ .reg .b32 a, b, t; "               \
    ".reg .pred p; ld.param.b32 a, [x]; ld.param.b32 b, [y]; loop: setp.eq.u32 p, b, 0; "          \
    "@p bra done; rem.u32 t, a, b; mov.b32 a, b; mov.b32 b, t; bra loop; "                         \
    "done: st.param.b32 [r], a; ret; }\n"
#define FIB                                                                                        \
    ".func (.param .b32 r) fib(.param .b32 n);\n"                                                  \
    ".func (.param .b32 r) fib(.param .b32 n)\n{ .reg .b32 a, x, y; .reg .pred p; "                \
    "ld.param.b32 a, [n]; setp.lt.u32 p, a, 2; @p bra low; "                                       \
    "{ .param .b32 i; .param .b32 o; sub.u32 x, a, 1; st.param.b32 [i], x; "                       \
    "call.uni (o), fib, (i); ld.param.b32 x, [o]; } "                                              \
    "{ .param .b32 i; .param .b32 o; sub.u32 y, a, 2; st.param.b32 [i], y; "                       \
    "call.uni (o), fib, (i); ld.param.b32 y, [o]; } "                                              \
    "add.u32 a, x, y; low: st.param.b32 [r], a; ret; }\n"
#define FUNCTIONS                                                                                  \
    ".func (.param .b32 r) triple(.param .b32 x)\n{ .reg .b32 a; ld.param.b32 a, [x]; "            \
    "mul.lo.u32 a, a, 3; st.param.b32 [r], a; ret; }\n"                                            \
    ".func (.param .b32 r) plus7(.param .b32 x)\n{ .reg .b32 a; ld.param.b32 a, [x]; "             \
    "add.u32 a, a, 7; st.param.b32 [r], a; ret; }\n"

#define ROW(name, text, d, a, b, c, lane, before)                                                  \
    {#name, text, d, a, b, c, 75, EXACT, lane, NULL, before},

const struct corpus_case corpus_control[] = {
    ROW(divergent_loop,
        "and.b32 x32, a, 65535; add.u32 x32, x32, 1; mov.u32 d, 0; "
        "loop: setp.eq.u32 p, x32, 1; @p bra done; and.b32 y32, x32, 1; setp.ne.u32 q, y32, 0; "
        "@q bra odd; shr.u32 x32, x32, 1; bra next; odd: mad.lo.u32 x32, x32, 3, 1; "
        "next: add.u32 d, d, 1; bra loop; done:",
        I32, I32, NO, NO, collatz,
        NULL) ROW(nested_loops,
                  "mov.u32 d, 0; mov.u32 x32, 0; and.b32 t, a, 7; and.b32 u, b, 7; "
                  "outer: setp.ge.u32 p, x32, t; @p bra done; mov.u32 y32, 0; "
                  "inner: setp.ge.u32 p, y32, u; @p bra next; xor.b32 z32, x32, y32; "
                  "setp.ne.u32 q, z32, 3; @q bra plain; add.u32 d, d, 100; bra step; "
                  "plain: mad.lo.u32 z32, x32, 8, y32; add.u32 d, d, z32; "
                  "step: add.u32 y32, y32, 1; bra inner; next: add.u32 x32, x32, 1; bra outer; "
                  "done:",
                  I32, I32, I32, NO, nested, NULL)
        ROW(branch_table,
            "and.b32 t, a, 3; targets: .branchtargets zero, one, two, three; brx.idx t, targets; "
            "zero: add.u32 d, b, c; bra done; one: sub.u32 d, b, c; bra done; "
            "two: mul.lo.u32 d, b, c; bra done; three: xor.b32 d, b, c; done:",
            I32, I32, I32, I32, table,
            NULL) ROW(call_with_loop,
                      "and.b32 x32, a, 65535; and.b32 y32, b, 65535; "
                      "{ .param .b32 i; .param .b32 j; .param .b32 o; st.param.b32 [i], x32; "
                      "st.param.b32 [j], y32; call (o), gcd, (i, j); ld.param.b32 d, [o]; }",
                      I32, I32, I32, NO, gcd,
                      GCD) ROW(recursion,
                               "and.b32 x32, a, 7; { .param .b32 i; .param .b32 o; st.param.b32 "
                               "[i], x32; "
                               "call (o), fib, (i); ld.param.b32 d, [o]; }",
                               I32, I32, NO, NO, fibonacci,
                               FIB) ROW(indirect_call,
                                        "and.b32 x32, a, 1; setp.ne.u32 p, x32, 0; mov.u64 x64, "
                                        "triple; mov.u64 y64, plus7; "
                                        "selp.b64 x64, x64, y64, p; proto: .callprototype (.param "
                                        ".b32 _) _ (.param .b32 _); "
                                        "{ .param .b32 i; .param .b32 o; st.param.b32 [i], b; "
                                        "call (o), x64, (i), proto; ld.param.b32 d, [o]; }",
                                        I32, I32, I32, NO, indirect, FUNCTIONS)
            ROW(constant_and_global_tables,
                "and.b32 x32, a, 7; mul.wide.u32 x64, x32, 4; mov.u64 y64, squares; add.s64 y64, "
                "y64, x64; "
                "ld.const.u32 x32, [y64]; ld.global.u32 y32, [thousand]; add.u32 d, x32, y32;",
                I32, I32, NO, NO, constant,
                ".const .align 4 .u32 squares[8] = {0, 1, 4, 9, 16, 25, 36, 49};\n"
                ".global .align 4 .u32 thousand = 1000;\n")
                ROW(local_bytes,
                    ".local .align 8 .b8 l[8]; st.local.u64 [l], a; mov.u64 d, 0; mov.u32 x32, 0; "
                    "mov.u64 x64, l; loop: ld.local.u8 y64, [x64]; shl.b64 d, d, 8; or.b64 d, d, "
                    "y64; "
                    "add.s64 x64, x64, 1; add.u32 x32, x32, 1; setp.lt.u32 p, x32, 8; @p bra loop;",
                    I64, I64, NO, NO, bytes_swapped, NULL)
                    ROW(bar_red_popc,
                        "mov.u32 x32, %tid.x; and.b32 x32, x32, 1; setp.eq.u32 p, x32, 0; "
                        "bar.red.popc.u32 d, 0, p;",
                        I32, NO, NO, NO, counted, NULL){
                        "exits_before_a_vote",
                        "mov.u32 x32, %laneid; mov.b32 d, a; setp.lt.u32 p, x32, 5; @p bra done; "
                        "rem.u32 y32, x32, 3; setp.eq.u32 p, y32, 0; @p exit; "
                        "setp.eq.u32 q, x32, x32; vote.sync.ballot.b32 z32, q, 0xb6db6da0; "
                        "popc.b32 d, z32; done:",
                        I32, I32, NO, NO, 75, EXACT, NULL, uneven_exit, NULL},
    {.name = NULL},
};
