/* tests/unit/soft/test_wmma.c -- every form of wmma: shapes, types, layouts, where matrices lie
 *
 * D = A * B + C in small whole numbers, which every type holds. Matrices have 32 elements from a
 * row (or column) to the next. Kernels that use shared memory bring all there first, and C back.
 */
#include "tests/unit/soft/soft_test.h"

#include <stdio.h>
#include <string.h>

#define STRIDE 32u
#define PLACE  (STRIDE * 32 * 8) /* bytes kept for a matrix */

static const struct shape {
    const char *name;
    unsigned m, n, k;
} shapes[] = {
    {"m16n16k16", 16, 16, 16}, {"m32n8k16", 32, 8, 16}, {"m8n32k16", 8, 32, 16},
    {"m16n16k8", 16, 16, 8},   {"m8n8k4", 8, 8, 4},
};

enum kind {
    F16,
    BF16,
    TF32,
    F32,
    F64,
    S32,
    S8,
    U8
};

static const struct kind_info {
    const char *name, *reg;
    unsigned bytes;
} kinds[] = {
    [F16] = {"f16", "b32", 2}, [BF16] = {"bf16", "b32", 2}, [TF32] = {"tf32", "b32", 4},
    [F32] = {"f32", "f32", 4}, [F64] = {"f64", "f64", 8},   [S32] = {"s32", "b32", 4},
    [S8] = {"s8", "b32", 1},   [U8] = {"u8", "b32", 1},
};

/* What may be multiplied: registers of a, b and c in the first three shapes, or the one it has. */
static const struct product {
    enum kind ab, c, d;
    unsigned first, count; /* in shapes */
    unsigned char a[3], b[3], nc, nd;
} products[] = {
    {F16, F32, F32, 0, 3, {8, 8, 8}, {8, 8, 8}, 8, 8},
    {F16, F16, F16, 0, 3, {8, 8, 8}, {8, 8, 8}, 4, 4},
    {F16, F16, F32, 0, 3, {8, 8, 8}, {8, 8, 8}, 4, 8},
    {F16, F32, F16, 0, 3, {8, 8, 8}, {8, 8, 8}, 8, 4},
    {BF16, F32, F32, 0, 3, {4, 8, 2}, {4, 2, 8}, 8, 8},
    {S8, S32, S32, 0, 3, {2, 4, 1}, {2, 1, 4}, 8, 8},
    {U8, S32, S32, 0, 3, {2, 4, 1}, {2, 1, 4}, 8, 8},
    {TF32, F32, F32, 3, 1, {4, 0, 0}, {4, 0, 0}, 8, 8},
    {F64, F64, F64, 4, 1, {1, 0, 0}, {1, 0, 0}, 2, 2},
};

struct form {
    const struct product *p;
    unsigned shape; /* in the product's */
    const char *layout_a, *layout_b, *layout_c, *layout_d, *space;
};

static void
put(uint8_t *to, enum kind kind, int v)
{
    float f = (float)v;
    double d = v;
    uint32_t u;

    memcpy(&u, &f, sizeof(u));
    switch (kind) {
    case F16:
        u = v == 0 ? 0 : (u >> 16 & 0x8000) | ((u >> 23 & 255) - 112) << 10 | (u >> 13 & 0x3ff);
        memcpy(to, &u, 2);
        break;
    case BF16:
        u >>= 16;
        memcpy(to, &u, 2);
        break;
    case F64:
        memcpy(to, &d, 8);
        break;
    case S32:
    case S8:
    case U8:
        memcpy(to, &v, kinds[kind].bytes);
        break;
    default:
        memcpy(to, &u, 4);
        break;
    }
}

/* Element (i, j) of a matrix. */
static uint8_t *
element(uint8_t *matrix, enum kind kind, const char *layout, unsigned i, unsigned j)
{
    return matrix +
           (size_t)(layout[0] == 'r' ? i * STRIDE + j : j * STRIDE + i) * kinds[kind].bytes;
}

static int
value(enum kind kind, unsigned i, unsigned j, unsigned seed)
{
    int v = (int)((i * 7 + j * 11 + i * j + seed) % 7) - 3;

    return kind == U8 ? v + 3 : v;
}

static void
write_list(char *to, size_t size, const char *prefix, unsigned n)
{
    int at = snprintf(to, size, "{");

    for (unsigned i = 0; i < n; i++)
        at += snprintf(to + at, size - (size_t)at, "%s%s%u", i == 0 ? "" : ", ", prefix, i);
    snprintf(to + at, size - (size_t)at, "}");
}

static void
write_form(char *text, size_t size, const struct form *f)
{
    const struct product *p = f->p;
    const char *shape = shapes[p->first + f->shape].name, *ab = kinds[p->ab].name;
    const char *c = kinds[p->c].name, *d = kinds[p->d].name;
    bool shared = strcmp(f->space, ".shared") == 0, plain = p->ab == F16;
    char a_list[128], b_list[128], c_list[128], d_list[128], types[64];
    int at;

    write_list(a_list, sizeof(a_list), "%a", p->a[f->shape]);
    write_list(b_list, sizeof(b_list), "%b", p->b[f->shape]);
    write_list(c_list, sizeof(c_list), "%c", p->nc);
    write_list(d_list, sizeof(d_list), "%d", p->nd);
    if (plain)
        snprintf(types, sizeof(types), "%s.%s", d, c);
    else
        snprintf(types, sizeof(types), "%s.%s.%s.%s", d, ab, ab, c);
    at = snprintf(text, size,
                  PTX_HEAD ".visible .entry form(.param .u64 p) {\n"
                           "  .shared .align 32 .b8 sh[%u]; .reg .b64 %%rd<9>; .reg .b32 %%r<9>;\n"
                           "  .reg .pred %%p; .reg .%s %%a<8>; .reg .%s %%b<8>; .reg .%s %%c<8>;\n"
                           "  .reg .%s %%d<8>;\n"
                           "  ld.param.u64 %%rd1, [p]; mov.u32 %%r1, %u; mov.u32 %%r2, 0;\n",
                  shared ? 4 * PLACE : 4, kinds[p->ab].reg, kinds[p->ab].reg,
                  p->c == F16 ? "b32" : kinds[p->c].reg, p->d == F16 ? "b32" : kinds[p->d].reg,
                  STRIDE);
    if (shared)
        at +=
            snprintf(text + at, size - (size_t)at,
                     "  mov.u32 %%r4, sh;\n"
                     "IN: add.u32 %%r3, %%r4, %%r2; cvt.u64.u32 %%rd2, %%r2;\n"
                     "  add.u64 %%rd2, %%rd2, %%rd1; ld.global.u64 %%rd3, [%%rd2];\n"
                     "  st.shared.u64 [%%r3], %%rd3; add.u32 %%r2, %%r2, 8;\n"
                     "  setp.lt.u32 %%p, %%r2, %u; @%%p bra IN; bar.warp.sync -1;\n"
                     "  cvt.u64.u32 %%rd4, %%r4; add.u32 %%r5, %%r4, %u; add.u32 %%r6, %%r4, %u;\n"
                     "  add.u32 %%r7, %%r4, %u;\n",
                     4 * PLACE, PLACE, 2 * PLACE, 3 * PLACE);
    else
        at += snprintf(text + at, size - (size_t)at,
                       "  add.u64 %%rd5, %%rd1, %u; add.u64 %%rd6, %%rd1, %u;\n"
                       "  add.u64 %%rd7, %%rd1, %u; mov.u64 %%rd4, %%rd1;\n",
                       PLACE, 2 * PLACE, 3 * PLACE);
    at += snprintf(text + at, size - (size_t)at,
                   "  wmma.load.a.sync.aligned.%s.%s%s.%s %s, [%s], %%r1;\n"
                   "  wmma.load.b.sync.aligned.%s.%s%s.%s %s, [%s], %%r1;\n"
                   "  wmma.load.c.sync.aligned.%s.%s%s.%s %s, [%s], %%r1;\n"
                   "  wmma.mma.sync.aligned.%s.%s.%s.%s%s %s, %s, %s, %s;\n"
                   "  wmma.store.d.sync.aligned.%s.%s%s.%s [%s], %s, %%r1;\n",
                   f->layout_a, shape, f->space, ab, a_list, shared ? "%r4" : "%rd4", f->layout_b,
                   shape, f->space, ab, b_list, shared ? "%r5" : "%rd5", f->layout_c, shape,
                   f->space, c, c_list, shared ? "%r6" : "%rd6", f->layout_a, f->layout_b, shape,
                   types, p->ab == F64 ? ".rn" : "", d_list, a_list, b_list, c_list, f->layout_d,
                   shape, f->space, d, shared ? "%r7" : "%rd7", d_list);
    if (shared)
        at += snprintf(text + at, size - (size_t)at,
                       "  bar.warp.sync -1; mov.u32 %%r2, %u;\n"
                       "OUT: add.u32 %%r3, %%r4, %%r2; cvt.u64.u32 %%rd2, %%r2;\n"
                       "  add.u64 %%rd2, %%rd2, %%rd1; ld.shared.u64 %%rd3, [%%r3];\n"
                       "  st.global.u64 [%%rd2], %%rd3; add.u32 %%r2, %%r2, 8;\n"
                       "  setp.lt.u32 %%p, %%r2, %u; @%%p bra OUT;\n",
                       3 * PLACE, 4 * PLACE);
    at += snprintf(text + at, size - (size_t)at, "  ret;\n}\n");
    cr_assert_lt((size_t)at, size);
}

/* Fills in the matrices, and in want what D will be; what lies between its rows stays. */
static void
fill(const struct form *f, uint8_t *at, uint8_t *want)
{
    const struct shape *s = &shapes[f->p->first + f->shape];
    const struct product *p = f->p;

    memset(at, 0, 3 * PLACE);
    memset(at + 3 * PLACE, 0x5a, PLACE);
    memset(want, 0x5a, PLACE);
    for (unsigned i = 0; i < s->m; i++)
        for (unsigned k = 0; k < s->k; k++)
            put(element(at, p->ab, f->layout_a, i, k), p->ab, value(p->ab, i, k, 1));
    for (unsigned k = 0; k < s->k; k++)
        for (unsigned j = 0; j < s->n; j++)
            put(element(at + PLACE, p->ab, f->layout_b, k, j), p->ab, value(p->ab, k, j, 2));
    for (unsigned i = 0; i < s->m; i++) {
        for (unsigned j = 0; j < s->n; j++) {
            int sum = value(p->c, i, j, 3);

            put(element(at + 2 * PLACE, p->c, f->layout_c, i, j), p->c, sum);
            for (unsigned k = 0; k < s->k; k++)
                sum += value(p->ab, i, k, 1) * value(p->ab, k, j, 2);
            put(element(want, p->d, f->layout_d, i, j), p->d, sum);
        }
    }
}

static void
try_form(const struct form *f)
{
    static uint8_t want[PLACE];
    static char text[8192];
    struct soft *s;
    uint8_t *at;

    write_form(text, sizeof(text), f);
    s = soft_open(text, 1);
    at = soft_alloc(s, 4 * PLACE);
    fill(f, at, want);
    cr_assert_eq(soft_launch(s, "form", (struct soft_shape){.grid = 1, .block = 32},
                             SOFT_ARGS(SOFT_PTR(at))),
                 CUDA_SUCCESS, "%s: %s", text, s->fault.what);
    cr_expect_arr_eq(at + 3 * PLACE, want, PLACE, "%s", text);
    soft_close(s);
}

Test(soft_wmma, of_every_shape_type_layout_and_space)
{
    static const char *const layouts[] = {"row", "col"}, *const spaces[] = {"", ".global",
                                                                            ".shared"};

    for (size_t i = 0; i < GP_ARRAY_LEN(products); i++) {
        for (unsigned shape = 0; shape < products[i].count; shape++) {
            for (unsigned form = 0; form < 48; form++) {
                const struct form f = {.p = &products[i],
                                       .shape = shape,
                                       .layout_a = layouts[form & 1],
                                       .layout_b = layouts[form >> 1 & 1],
                                       .layout_c = layouts[form >> 2 & 1],
                                       .layout_d = layouts[form >> 3 & 1],
                                       .space = spaces[form >> 4]};

                try_form(&f);
            }
        }
    }
}
