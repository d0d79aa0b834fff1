/* tests/unit/soft/test_large.c -- kernels of many lines and many registers */
#include "tests/unit/soft/soft_test.h"

#include <stdio.h>
#include <string.h>

struct text {
    char *data;
    size_t len;
    FILE *out;
};

static void
text_open(struct text *t)
{
    t->out = open_memstream(&t->data, &t->len);
    cr_assert_not_null(t->out);
    fputs(PTX_HEAD ".visible .entry k(.param .u64 out) {\n", t->out);
}

static struct soft *
text_load(struct text *t)
{
    struct soft *s;

    cr_assert_eq(fclose(t->out), 0);
    s = soft_open(t->data, 1);
    free(t->data);
    return s;
}

static void
launch(struct soft *s, uint32_t *out)
{
    cr_assert_eq(
        soft_launch(s, "k", (struct soft_shape){.grid = 2, .block = 64}, SOFT_ARGS(SOFT_PTR(out))),
        CUDA_SUCCESS, "%s", s->fault.what);
}

static const char store[] =
    "  mov.u32 %t, %ctaid.x; mov.u32 %n, %ntid.x; mov.u32 %v, %tid.x; mad.lo.u32 %t, %t, %n, %v;\n"
    "  mul.wide.u32 %rd2, %t, 4; ld.param.u64 %rd1, [out]; add.u64 %rd1, %rd1, %rd2;\n"
    "  st.global.u32 [%rd1], %s; ret; }\n";

/* 146 KB of registers that all live at once, more than any real kernel was seen to have. */
Test(soft_large, a_lane_may_have_146_kb_of_registers)
{
    enum {
        REGISTERS = 146 * 1024 / 4
    };
    struct text t;
    struct soft *s;
    uint32_t *out, i, lane;

    text_open(&t);
    fprintf(t.out, "  .reg .b32 %%r<%d>, %%t, %%n, %%v, %%s; .reg .b64 %%rd<3>;\n", REGISTERS);
    fputs("  mov.u32 %t, %tid.x; mov.u32 %s, 0;\n", t.out);
    for (i = 0; i < REGISTERS; i++)
        fprintf(t.out, "  mad.lo.u32 %%r%u, %%t, %u, %u;\n", i, i * 2654435761u, i);
    for (i = REGISTERS; i-- > 0;) /* the first is read last */
        fprintf(t.out, "  xor.b32 %%s, %%s, %%r%u; add.u32 %%s, %%s, %u;\n", i, i);
    fputs(store, t.out);
    s = text_load(&t);
    out = soft_alloc(s, 128 * 4);
    launch(s, out);
    cr_assert_eq(soft_kernel(s, "k")->registers, 255, "what occupancy counts is bounded");
    for (lane = 0; lane < 128; lane++) {
        uint32_t sum = 0;

        for (i = REGISTERS; i-- > 0;)
            sum = (sum ^ (lane % 64 * (i * 2654435761u) + i)) + i;
        cr_assert_eq(out[lane], sum, "lane %u", lane);
    }
    soft_close(s);
}

/* 5,000 lines, a branch every ten, which some lanes take. */
Test(soft_large, kernels_of_five_thousand_lines_run)
{
    enum {
        PARTS = 500
    };
    struct text t;
    struct soft *s;
    uint32_t *out, i, lane;

    text_open(&t);
    fputs("  .reg .b32 %t, %n, %v, %s, %b; .reg .b64 %rd<3>; .reg .pred %p;\n"
          "  mov.u32 %s, %tid.x;\n",
          t.out);
    for (i = 0; i < PARTS; i++)
        fprintf(t.out,
                "  mul.lo.u32 %%s, %%s, 1664525;\n  add.u32 %%s, %%s, %u;\n"
                "  shr.u32 %%b, %%s, 7;\n  and.b32 %%b, %%b, 3;\n  setp.ne.u32 %%p, %%b, 0;\n"
                "  @%%p bra L%u;\n  xor.b32 %%s, %%s, 0x%x;\n  add.u32 %%s, %%s, 1;\n"
                "L%u:\n  add.u32 %%s, %%s, %%b;\n",
                i, i, i * 40503u, i);
    fputs(store, t.out);
    s = text_load(&t);
    out = soft_alloc(s, 128 * 4);
    launch(s, out);
    for (lane = 0; lane < 128; lane++) {
        uint32_t v = lane % 64, b;

        for (i = 0; i < PARTS; i++) {
            v = v * 1664525 + i;
            b = v >> 7 & 3;
            if (b == 0)
                v = (v ^ i * 40503u) + 1;
            v += b;
        }
        cr_assert_eq(out[lane], v, "lane %u", lane);
    }
    soft_close(s);
}
