/* tests/unit/soft/test_rows.c -- whole warps whose lanes read and write in patterns
 *
 * Patterns have ways of their own in the interpreter: all lanes the same or one after the other,
 * and the same for each half of a warp, as blocks of 16 threads in a row have them. Each is tried
 * with every type and vector, and with one lane that breaks it.
 */
#include "tests/unit/soft/soft_test.h"

#include <stdio.h>
#include <string.h>

#define ITEMS 96u /* vectors in the source */

static const struct type {
    const char *name, *reg, *widen, *narrow;
    unsigned bytes;
    bool is_signed;
} types[] = {
    {"u8", "b16", "cvt.u64.u16", "cvt.u16.u64", 1, false},
    {"s8", "b32", "cvt.s64.s32", "cvt.u32.u64", 1, true},
    {"u16", "b16", "cvt.u64.u16", "cvt.u16.u64", 2, false},
    {"s16", "b32", "cvt.s64.s32", "cvt.u32.u64", 2, true},
    {"u32", "b32", "cvt.u64.u32", "cvt.u32.u64", 4, false},
    {"s32", "b64", "mov.b64", "mov.b64", 4, true},
    {"u64", "b64", "mov.b64", "mov.b64", 8, false},
};

/* Index of a lane's vector: the first half's start and step, the second's. */
static const struct pattern {
    unsigned first, first_step, second, second_step;
} patterns[] = {
    {3, 0, 3, 0},  {3, 1, 19, 1}, {3, 0, 20, 0}, {7, 0, 40, 1},
    {40, 1, 7, 0}, {5, 1, 50, 1}, {5, 1, 5, 1},  {2, 2, 50, 1},
};

static unsigned
index_of(const struct pattern *p, unsigned lane, unsigned odd_one)
{
    unsigned i =
        lane < 16 ? p->first + p->first_step * lane : p->second + p->second_step * (lane - 16);

    return lane == odd_one ? i + 5 : i;
}

/* The source comes to shared memory first, or is used where it is. */
static void
write_kernels(char *to, size_t size, const struct type *t, unsigned n, bool shared)
{
    static const char *const lists[] = {"", "%e0", "{%e0, %e1}", "", "{%e0, %e1, %e2, %e3}"};
    static const char *const vectors[] = {"", "", ".v2", "", ".v4"};
    unsigned bytes = t->bytes * n;
    int at = snprintf(
        to, size,
        PTX_HEAD
        ".visible .entry rows(.param .u64 from, .param .u64 index, .param .u64 to) {\n"
        "  .shared .align 64 .b8 sh[%u]; .reg .pred %%p; .reg .b32 %%r<9>; .reg .b64 %%rd<12>;\n"
        "  .reg .%s %%e<4>;\n"
        "  ld.param.u64 %%rd1, [from]; ld.param.u64 %%rd2, [index]; ld.param.u64 %%rd3, [to];\n"
        "  mov.u32 %%r1, %%tid.x; mul.wide.u32 %%rd4, %%r1, 4; add.u64 %%rd5, %%rd2, %%rd4;\n"
        "  ld.global.u32 %%r2, [%%rd5]; mov.u32 %%r3, sh; mov.u32 %%r4, 0;\n"
        "COPY: add.u32 %%r5, %%r3, %%r4; cvt.u64.u32 %%rd6, %%r4; add.u64 %%rd6, %%rd6, %%rd1;\n"
        "  ld.global.u8 %%r6, [%%rd6]; st.shared.u8 [%%r5], %%r6; add.u32 %%r4, %%r4, 1;\n"
        "  setp.lt.u32 %%p, %%r4, %u; @%%p bra COPY; bar.sync 0;\n",
        ITEMS * bytes, t->reg, ITEMS * bytes);

    at += snprintf(to + at, size - (size_t)at,
                   "  mad.lo.u32 %%r5, %%r2, %u, %%r3; mul.wide.u32 %%rd6, %%r2, %u;\n"
                   "  add.u64 %%rd6, %%rd6, %%rd1; mul.wide.u32 %%rd7, %%r1, 32; add.u64 %%rd7, "
                   "%%rd7, %%rd3;\n"
                   "  ld.%s%s.%s %s, [%s];\n",
                   bytes, bytes, shared ? "shared" : "global", vectors[n], t->name, lists[n],
                   shared ? "%r5" : "%rd6");
    for (unsigned k = 0; k < n; k++)
        at += snprintf(to + at, size - (size_t)at,
                       "  %s %%rd8, %%e%u; st.global.u64 [%%rd7+%u], %%rd8;\n", t->widen, k, 8 * k);
    /* Then each lane writes what tells it and the element, over what it read. */
    at += snprintf(to + at, size - (size_t)at, "  bar.sync 0;\n");
    for (unsigned k = 0; k < n; k++)
        at +=
            snprintf(to + at, size - (size_t)at,
                     "  mad.lo.u32 %%r6, %%r1, 7, %u; cvt.u64.u32 %%rd8, %%r6; %s %%e%u, %%rd8;\n",
                     100 + k, t->narrow, k);
    at += snprintf(
        to + at, size - (size_t)at, "  st.%s%s.%s [%s], %s; bar.sync 0; mov.u32 %%r4, 0;\n",
        shared ? "shared" : "global", vectors[n], t->name, shared ? "%r5" : "%rd6", lists[n]);
    if (shared)
        at += snprintf(to + at, size - (size_t)at,
                       "BACK: add.u32 %%r5, %%r3, %%r4; cvt.u64.u32 %%rd6, %%r4; add.u64 %%rd6, "
                       "%%rd6, %%rd1;\n"
                       "  ld.shared.u8 %%r6, [%%r5]; st.global.u8 [%%rd6], %%r6; add.u32 %%r4, "
                       "%%r4, 1;\n"
                       "  setp.lt.u32 %%p, %%r4, %u; @%%p bra BACK;\n",
                       ITEMS * bytes);
    at += snprintf(to + at, size - (size_t)at, "  ret;\n}\n");
    cr_assert_lt((size_t)at, size);
}

static uint64_t
element(const uint8_t *from, const struct type *t, unsigned i)
{
    uint64_t v = 0;

    memcpy(&v, from + (size_t)i * t->bytes, t->bytes);
    if (t->is_signed)
        v = (uint64_t)((int64_t)(v << (64 - 8 * t->bytes)) >> (64 - 8 * t->bytes));
    return v;
}

static void
try_pattern(struct soft *s, const struct type *t, unsigned n, const struct pattern *p,
            unsigned odd_one)
{
    uint8_t *from = soft_alloc(s, (size_t)ITEMS * 32), before[ITEMS * 32], after[ITEMS * 32];
    uint32_t *index = soft_alloc(s, 32 * 4);
    uint64_t(*got)[4] = soft_alloc(s, 32 * 32);

    for (unsigned i = 0; i < ITEMS * 32; i++)
        before[i] = after[i] = from[i] = (uint8_t)(i * 197 + i / 31 + 11);
    for (unsigned lane = 0; lane < 32; lane++)
        index[lane] = index_of(p, lane, odd_one);
    cr_assert_eq(soft_launch(s, "rows", (struct soft_shape){.grid = 1, .block = 32},
                             SOFT_ARGS(SOFT_PTR(from), SOFT_PTR(index), SOFT_PTR(got))),
                 CUDA_SUCCESS, "%s", s->fault.what);
    for (unsigned lane = 0; lane < 32; lane++) {
        for (unsigned k = 0; k < n; k++) {
            uint64_t value = lane * 7 + 100 + k;

            cr_expect_eq(got[lane][k], element(before, t, index[lane] * n + k),
                         "%s x %u: lane %u, element %u", t->name, n, lane, k);
            memcpy(after + (size_t)(index[lane] * n + k) * t->bytes, &value, t->bytes);
        }
    }
    cr_expect_arr_eq(from, after, (size_t)ITEMS * n * t->bytes, "stores of %s x %u", t->name, n);
}

static void
try_type(const struct type *t, unsigned n, bool shared)
{
    static char text[8192];

    for (size_t i = 0; i < GP_ARRAY_LEN(patterns); i++) {
        struct soft *s; /* one for a pattern: allocations are few */

        write_kernels(text, sizeof(text), t, n, shared);
        s = soft_open(text, 1);
        try_pattern(s, t, n, &patterns[i], UINT32_MAX);
        try_pattern(s, t, n, &patterns[i], 9);
        try_pattern(s, t, n, &patterns[i], 31);
        soft_close(s);
    }
}

Test(soft_rows, of_every_type_are_read_and_written_in_patterns)
{
    for (size_t i = 0; i < GP_ARRAY_LEN(types); i++) {
        for (unsigned n = 1; n <= 4; n *= 2) {
            if (n * types[i].bytes > 16)
                continue;
            try_type(&types[i], n, false);
            try_type(&types[i], n, true);
        }
    }
}
