/* tests/unit/soft/test_late.c -- functions of large modules, which are lowered when they are called
 *
 * Libraries hold hundreds of functions that a kernel might call by their addresses; all but the few
 * that it does call are left alone.
 */
#include "tests/unit/soft/soft_test.h"

#include <string.h>

#define LARGE (1u << 20) /* module.h: from here on bodies are parsed when they are needed */

/* The text, made large by a comment. */
static char *
enlarge(const char *ptx, size_t to)
{
    size_t len = strlen(ptx);
    char *text = malloc(len + to + 4);

    cr_assert_not_null(text);
    memcpy(text, ptx, len);
    memcpy(text + len, "//", 2);
    memset(text + len + 2, 'x', to);
    memcpy(text + len + 2 + to, "\n", 2);
    return text;
}

static struct soft *
open_large(const char *ptx, unsigned threads)
{
    char *text = enlarge(ptx, LARGE);
    struct soft *s = soft_open(text, threads);

    free(text);
    return s;
}

/* Each leaves its number plus what it read of shared memory that is its own. */
#define HEAD                                                                                       \
    ".shared .align 4 .b8 of_kernel[128];\n.shared .align 4 .b8 of_first[256];\n"                  \
    ".shared .align 4 .b8 of_inner[512];\n.extern .shared .align 16 .b8 dynamic[];\n"
#define FUNC(name) ".func (.param .b32 ret) " name "(.param .b32 n) {\n"
#define REGS       "  .reg .pred %p<3>; .reg .b32 %r<9>; .reg .b64 %rd<5>; ld.param.u32 %r1, [n];\n"
/* %r2 = *(uint32_t *)(var + 4 * %tid.x) after it was set to %r1 */
#define THROUGH(var)                                                                               \
    "  mov.u32 %r3, %tid.x; shl.b32 %r3, %r3, 2; mov.u32 %r4, " var "; add.u32 %r4, %r4, %r3;\n"   \
    "  st.shared.u32 [%r4], %r1; bar.warp.sync -1; ld.shared.u32 %r2, [%r4];\n"
#define RETURN "  st.param.b32 [ret], %r2; ret; }\n"
#define CALL(name, args)                                                                           \
    "  { .param .b32 p; st.param.b32 [p], %r1; .param .b32 q; call (q), " name ", (p)" args ";\n"  \
    "    ld.param.b32 %r2, [q]; }\n"

static const char plugin[] = PTX_HEAD HEAD FUNC("inner")
    REGS THROUGH("of_inner") "  add.u32 %r2, %r2, 1;\n" RETURN FUNC("first") REGS CALL(
        "inner", "") "  mov.u32 %r1, %r2;\n" THROUGH("of_first") "  add.u32 %r2, %r2, 10;\n" RETURN
        FUNC("own") "  .shared .align 4 .b8 mine[1024];\n" REGS THROUGH(
            "mine") "  add.u32 %r2, %r2, 100;\n" RETURN FUNC("behind")
            REGS THROUGH("dynamic") "  add.u32 %r2, %r2, 1000;\n" RETURN FUNC("unknown") REGS
    "\n\n  frobnicate.u32 %r2, %r1;\n" RETURN FUNC("malformed") "  this is no statement;\n}\n" FUNC(
        "unnamed") "  this is no statement either;\n}\n"
                   ".global .u64 table[6] = {first, own, behind, unknown, malformed, 0};\n"
                   ".visible .entry k(.param .u64 out, .param .u32 which) {\n"
                   "  .reg .pred %p<3>; .reg .b32 %r<9>; .reg .b64 %rd<9>;\n"
                   "  ld.param.u64 %rd1, [out]; ld.param.u32 %r8, [which]; mov.u32 %r1, "
                   "%tid.x;\n" THROUGH(
                       "of_kernel") "  mul.wide.u32 %rd2, %r8, 8; mov.u64 %rd3, table; add.u64 "
                                    "%rd4, %rd3, %rd2;\n"
                                    "  ld.global.u64 %rd5, [%rd4];\n"
                                    "  proto: .callprototype (.param .b32 _) _ (.param .b32 "
                                    "_);\n" CALL(
                                        "%rd5",
                                        ", proto") "  mov.u32 %r3, %ctaid.x; mov.u32 %r4, %ntid.x; "
                                                   "mad.lo.u32 %r3, %r3, %r4, %r1;\n"
                                                   "  mul.wide.u32 %rd6, %r3, 4; add.u64 %rd7, "
                                                   "%rd1, %rd6; st.global.u32 [%rd7], %r2; ret; "
                                                   "}\n";

enum {
    BLOCKS = 40
};

static CUresult
launch(struct soft *s, uint32_t *out, uint32_t which)
{
    memset(out, 0, BLOCKS * 32 * 4);
    return soft_launch(s, "k", (struct soft_shape){.grid = BLOCKS, .block = 32, .shared = 128},
                       SOFT_ARGS(SOFT_PTR(out), which));
}

static void
check_sums(struct soft *s, uint32_t *out, uint32_t which, uint32_t plus)
{
    cr_assert_eq(launch(s, out, which), CUDA_SUCCESS, "%u: %s", which, s->fault.what);
    for (uint32_t i = 0; i < BLOCKS * 32; i++)
        cr_assert_eq(out[i], i % 32 + plus, "%u: thread %u left %u", which, i, out[i]);
}

/* Several threads come to a function that is not lowered yet. */
Test(soft_late, what_is_called_by_its_address_is_lowered_then)
{
    struct soft *s = open_large(plugin, 4);
    uint32_t *out = soft_alloc(s, BLOCKS * 32 * 4);

    check_sums(s, out, 0, 11);
    check_sums(s, out, 1, 100);
    check_sums(s, out, 2, 1000);
    check_sums(s, out, 0, 11);
    cr_assert_eq(soft_kernel(s, "k")->static_shared_bytes, 128 + 256 + 512 + 1024,
                 "each function's shared memory has a place: %u bytes",
                 soft_kernel(s, "k")->static_shared_bytes);
    soft_close(s);
}

Test(soft_late, what_cannot_be_lowered_is_a_fault_where_it_is_called)
{
    struct soft *s = open_large(plugin, 2);
    uint32_t *out = soft_alloc(s, BLOCKS * 32 * 4);

    for (unsigned i = 0; i < 2; i++) {
        cr_assert_eq(launch(s, out, 3), CUDA_ERROR_NOT_SUPPORTED);
        cr_assert_not_null(strstr(s->fault.what, "frobnicate.u32"), "%s", s->fault.what);
        cr_assert_eq(launch(s, out, 4), CUDA_ERROR_INVALID_PTX);
        cr_assert_not_null(strstr(s->fault.what, "line "), "%s", s->fault.what);
        cr_assert_eq(launch(s, out, 5), CUDA_ERROR_INVALID_PC);
    }
    check_sums(s, out, 0, 11);
    soft_close(s);
}

/* In small modules all is known when a kernel is first used, bad text already at the load. */
Test(soft_late, small_modules_are_looked_at_whole)
{
    static const char ptx[] = PTX_HEAD ".func bad() { frobnicate.u32 1; ret; }\n"
                                       ".global .u64 table[1] = {bad};\n"
                                       ".visible .entry k(.param .u64 f) { .reg .b64 %rd<2>;\n"
                                       "  ld.param.u64 %rd1, [f];\n"
                                       "  p: .callprototype _ (); call %rd1, (), p; ret; }\n";
    struct soft *s = soft_open(ptx, 1);
    struct sd_module *m = NULL;
    struct sd_text log = {0};

    cr_assert_eq(sd_kernel_prepare(soft_kernel(s, "k"), &log), CUDA_ERROR_NOT_SUPPORTED);
    cr_assert_not_null(strstr(log.data, "frobnicate.u32"), "%s", log.data);
    cr_assert_eq(sd_module_parse(plugin, strlen(plugin), NULL, &m), CUDA_ERROR_INVALID_PTX);
    free(log.data);
    soft_close(s);
}

static const char caller[] =
    PTX_HEAD ".extern .func (.param .b32 r) add(.param .b32 n);\n"
             ".extern .func (.param .b32 r) spare(.param .b32 n);\n"
             ".global .u64 table[2] = {add, spare};\n"
             ".visible .entry k(.param .u64 out) { .reg .b32 %r<3>; .reg .b64 %rd<6>;\n"
             "  ld.param.u64 %rd1, [out]; mov.u32 %r1, %tid.x; ld.global.u64 %rd5, [table];\n"
             "  proto: .callprototype (.param .b32 _) _ (.param .b32 _);\n" CALL(
                 "%rd5", ", proto") "  mul.wide.u32 %rd2, %r1, 4; add.u64 %rd3, %rd1, %rd2;\n"
                                    "  st.global.u32 [%rd3], %r2; ret; }\n";
static const char callee[] =
    PTX_HEAD ".visible .func (.param .b32 ret) add(.param .b32 n) { .reg .b32 %r<3>;\n"
             "  ld.param.u32 %r1, [n]; add.u32 %r2, %r1, 7; st.param.b32 [ret], %r2; ret; }\n"
             ".visible .func (.param .b32 ret) spare(.param .b32 n) { .reg .b32 %r<3>;\n"
             "  ld.param.u32 %r1, [n]; frobnicate.u32 %r2, %r1; st.param.b32 [ret], %r2; ret; }\n";

/* None of them is large, together they are. */
Test(soft_late, modules_that_are_linked_count_together)
{
    char *parts[2];
    struct soft *s;
    uint32_t *out, i;

    parts[0] = enlarge(caller, LARGE * 2 / 3);
    parts[1] = enlarge(callee, LARGE * 2 / 3);
    s = soft_open_linked((const char *const *)parts, 2, 1);
    out = soft_alloc(s, 128);
    cr_assert_eq(
        soft_launch(s, "k", (struct soft_shape){.grid = 1, .block = 32}, SOFT_ARGS(SOFT_PTR(out))),
        CUDA_SUCCESS, "%s", s->fault.what);
    for (i = 0; i < 32; i++)
        cr_assert_eq(out[i], i + 7);
    soft_close(s);
    free(parts[0]);
    free(parts[1]);
}
