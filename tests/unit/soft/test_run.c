/* tests/unit/soft/test_run.c -- what kernels compute */
#include "tests/unit/soft/soft_test.h"

#include <string.h>

static const char vector_add[] = PTX_HEAD
    ".visible .entry add(.param .u64 pa, .param .u64 pb, .param .u64 pc, .param .u32 n) {\n"
    "  .reg .pred %p<2>; .reg .f32 %f<4>; .reg .b32 %r<6>; .reg .b64 %rd<11>;\n"
    "  ld.param.u64 %rd1, [pa]; ld.param.u64 %rd2, [pb]; ld.param.u64 %rd3, [pc];\n"
    "  ld.param.u32 %r2, [n];\n"
    "  mov.u32 %r3, %ctaid.x; mov.u32 %r4, %ntid.x; mov.u32 %r5, %tid.x;\n"
    "  mad.lo.s32 %r1, %r3, %r4, %r5;\n"
    "  setp.ge.s32 %p1, %r1, %r2; @%p1 bra DONE;\n"
    "  cvta.to.global.u64 %rd4, %rd1; mul.wide.s32 %rd5, %r1, 4; add.s64 %rd6, %rd4, %rd5;\n"
    "  cvta.to.global.u64 %rd7, %rd2; add.s64 %rd8, %rd7, %rd5;\n"
    "  ld.global.f32 %f1, [%rd8]; ld.global.f32 %f2, [%rd6]; add.f32 %f3, %f2, %f1;\n"
    "  cvta.to.global.u64 %rd9, %rd3; add.s64 %rd10, %rd9, %rd5; st.global.f32 [%rd10], %f3;\n"
    "DONE: ret;\n}\n";

Test(soft_run, vector_add_stops_at_its_bound_in_every_thread_count)
{
    unsigned threads;

    for (threads = 1; threads <= 3; threads++) {
        struct soft *s = soft_open(vector_add, threads);
        unsigned n = 1000, i;
        float *a = soft_alloc(s, 4 * n), *b = soft_alloc(s, 4 * n), *c = soft_alloc(s, 4 * 1024);

        for (i = 0; i < n; i++) {
            a[i] = (float)i * 0.5f;
            b[i] = (float)(n - i) * 3.0f;
        }
        cr_assert_eq(soft_launch(s, "add", (struct soft_shape){.grid = 8, .block = 128},
                                 SOFT_ARGS(SOFT_PTR(a), SOFT_PTR(b), SOFT_PTR(c), n)),
                     CUDA_SUCCESS, "%s", s->fault.what);
        for (i = 0; i < 1024; i++)
            cr_assert_eq(c[i], i < n ? a[i] + b[i] : 0.0f, "element %u", i);
        soft_close(s);
    }
}

/* Lanes take 3 * lane + 1 turns, some leave by the other exit; all meet behind the loop. */
static const char loops[] = PTX_HEAD
    ".visible .entry turns(.param .u64 out) {\n"
    "  .reg .pred %p<3>; .reg .b32 %r<9>; .reg .b64 %rd<4>;\n"
    "  ld.param.u64 %rd1, [out]; mov.u32 %r1, %tid.x; mad.lo.u32 %r2, %r1, 3, 1; mov.u32 %r3, 0;\n"
    "L: add.u32 %r3, %r3, %r2; sub.u32 %r2, %r2, 1;\n"
    "  setp.eq.u32 %p2, %r2, 17; @%p2 bra BREAK;\n"
    "  setp.ne.u32 %p1, %r2, 0; @%p1 bra L; bra OUT;\n"
    "BREAK: add.u32 %r3, %r3, 1000000;\n"
    "OUT: activemask.b32 %r4; mul.wide.u32 %rd2, %r1, 8; add.u64 %rd3, %rd1, %rd2;\n"
    "  st.global.v2.u32 [%rd3], {%r3, %r4}; ret;\n}\n";

Test(soft_run, divergent_loops_converge_behind_the_loop)
{
    struct soft *s = soft_open(loops, 1);
    uint32_t(*out)[2] = soft_alloc(s, 32 * 8);
    unsigned lane;

    cr_assert_eq(soft_launch(s, "turns", (struct soft_shape){.grid = 1, .block = 32},
                             SOFT_ARGS(SOFT_PTR(out))),
                 CUDA_SUCCESS, "%s", s->fault.what);
    for (lane = 0; lane < 32; lane++) {
        uint32_t left = 3 * lane + 1, sum = 0;

        do {
            sum += left--;
            if (left == 17) {
                sum += 1000000;
                break;
            }
        } while (left != 0);
        cr_assert_eq(out[lane][0], sum, "lane %u", lane);
        cr_assert_eq(out[lane][1], 0xffffffffu, "lane %u ran with %x", lane, out[lane][1]);
    }
    soft_close(s);
}

static const char calls[] = PTX_HEAD
    ".func (.param .b32 ret) fib(.param .b32 n) {\n"
    "  .reg .pred %p<2>; .reg .b32 %r<9>;\n"
    "  ld.param.u32 %r8, [n]; setp.lt.s32 %p1, %r8, 2; @%p1 bra OUT;\n"
    "  add.s32 %r4, %r8, -1;\n"
    "  { .param .b32 p0; st.param.b32 [p0+0], %r4; .param .b32 q; call.uni (q), fib, (p0);\n"
    "    ld.param.b32 %r5, [q+0]; }\n"
    "  add.s32 %r6, %r8, -2;\n"
    "  { .param .b32 p0; st.param.b32 [p0+0], %r6; .param .b32 q; call.uni (q), fib, (p0);\n"
    "    ld.param.b32 %r7, [q+0]; }\n"
    "  add.s32 %r8, %r7, %r5;\n"
    "OUT: st.param.b32 [ret+0], %r8; ret; }\n"
    ".func (.param .b32 ret) twice(.param .b32 n) { .reg .b32 %r<3>;\n"
    "  ld.param.u32 %r1, [n]; shl.b32 %r2, %r1, 1; st.param.b32 [ret], %r2; ret; }\n"
    ".func (.param .b32 ret) plus(.param .b32 n) { .reg .b32 %r<3>;\n"
    "  ld.param.u32 %r1, [n]; add.u32 %r2, %r1, 100; st.param.b32 [ret], %r2; ret; }\n"
    ".global .u64 table[2] = {twice, plus};\n"
    ".visible .entry fibs(.param .u64 out) { .reg .b32 %r<4>; .reg .b64 %rd<4>;\n"
    "  ld.param.u64 %rd1, [out]; mov.u32 %r1, %tid.x;\n"
    "  { .param .b32 p0; st.param.b32 [p0], %r1; .param .b32 q; call (q), fib, (p0);\n"
    "    ld.param.b32 %r2, [q]; }\n"
    "  mul.wide.u32 %rd2, %r1, 4; add.u64 %rd3, %rd1, %rd2; st.global.u32 [%rd3], %r2; ret; }\n"
    ".visible .entry through(.param .u64 out) { .reg .b32 %r<6>; .reg .b64 %rd<9>;\n"
    "  ld.param.u64 %rd1, [out]; mov.u32 %r1, %tid.x; and.b32 %r2, %r1, 1;\n"
    "  mul.wide.u32 %rd2, %r2, 8; mov.u64 %rd3, table; add.u64 %rd4, %rd3, %rd2;\n"
    "  ld.global.u64 %rd5, [%rd4];\n"
    "  { .param .b32 p0; st.param.b32 [p0], %r1; .param .b32 q;\n"
    "    proto: .callprototype (.param .b32 _) _ (.param .b32 _);\n"
    "    call (q), %rd5, (p0), proto; ld.param.b32 %r3, [q]; }\n"
    "  mul.wide.u32 %rd6, %r1, 4; add.u64 %rd7, %rd1, %rd6; st.global.u32 [%rd7], %r3; ret; }\n"
    ".visible .entry nowhere(.param .u64 f) { .reg .b64 %rd<2>; ld.param.u64 %rd1, [f];\n"
    "  proto: .callprototype _ (); call %rd1, (), proto; ret; }\n";

static uint32_t
fib(uint32_t n)
{
    return n < 2 ? n : fib(n - 1) + fib(n - 2);
}

Test(soft_run, recursion_gives_each_lane_its_own_frames)
{
    struct soft *s = soft_open(calls, 1);
    uint32_t *out = soft_alloc(s, 32 * 4), i;

    /* Lane 15 calls itself 15 deep, its neighbours less. */
    cr_assert_eq(soft_launch(s, "fibs", (struct soft_shape){.grid = 1, .block = 16},
                             SOFT_ARGS(SOFT_PTR(out))),
                 CUDA_SUCCESS, "%s", s->fault.what);
    for (i = 0; i < 16; i++)
        cr_assert_eq(out[i], fib(i), "fib(%u) is %u", i, out[i]);
    soft_close(s);
}

Test(soft_run, indirect_calls_go_where_each_lane_points)
{
    struct soft *s = soft_open(calls, 1);
    uint32_t *out = soft_alloc(s, 64 * 4), i;

    cr_assert_eq(soft_launch(s, "through", (struct soft_shape){.grid = 1, .block = 64},
                             SOFT_ARGS(SOFT_PTR(out))),
                 CUDA_SUCCESS, "%s", s->fault.what);
    for (i = 0; i < 64; i++)
        cr_assert_eq(out[i], i % 2 ? i + 100 : 2 * i, "lane %u: %u", i, out[i]);
    soft_close(s);
}

Test(soft_run, a_function_pointer_from_nowhere_is_refused)
{
    struct soft *s = soft_open(calls, 1);
    const uint64_t wild[] = {0, 8, SOFT_PTR(&fib), UINT64_MAX, 0x800003000004u, 0x800003ffff00u};
    unsigned i;

    for (i = 0; i < GP_ARRAY_LEN(wild); i++)
        cr_assert_eq(soft_launch(s, "nowhere", (struct soft_shape){.grid = 1, .block = 1},
                                 SOFT_ARGS(wild[i])),
                     CUDA_ERROR_INVALID_PC, "%llx", (unsigned long long)wild[i]);
    soft_close(s);
}

Test(soft_run, linked_modules_call_and_see_each_other)
{
    static const char *const parts[] = {
        PTX_HEAD ".extern .func (.param .b32 r) other(.param .b32 n);\n"
                 ".visible .global .u32 shared_var = 7;\n"
                 ".func (.param .b32 r) local(.param .b32 n) { .reg .b32 %r<3>;\n"
                 "  ld.param.u32 %r1, [n]; add.u32 %r2, %r1, 1; st.param.b32 [r], %r2; ret; }\n"
                 ".visible .entry k(.param .u64 out) { .reg .b32 %r<3>; .reg .b64 %rd<2>;\n"
                 "  ld.param.u64 %rd1, [out]; mov.u32 %r1, 5;\n"
                 "  { .param .b32 p; st.param.b32 [p], %r1; .param .b32 q; call (q), other, (p);\n"
                 "    ld.param.b32 %r2, [q]; }\n"
                 "  { .param .b32 p; st.param.b32 [p], %r2; .param .b32 q; call (q), local, (p);\n"
                 "    ld.param.b32 %r2, [q]; }\n"
                 "  st.global.u32 [%rd1], %r2; ret; }\n",
        PTX_HEAD ".extern .global .u32 shared_var;\n"
                 ".func (.param .b32 r) local(.param .b32 n) { .reg .b32 %r<3>;\n"
                 "  ld.param.u32 %r1, [n]; mul.lo.u32 %r2, %r1, 1000; st.param.b32 [r], %r2; ret; }\n"
                 ".visible .func (.param .b32 r) other(.param .b32 n) { .reg .b32 %r<5>;\n"
                 "  ld.param.u32 %r1, [n]; ld.global.u32 %r2, [shared_var];\n"
                 "  { .param .b32 p; st.param.b32 [p], %r1; .param .b32 q; call (q), local, (p);\n"
                 "    ld.param.b32 %r3, [q]; }\n"
                 "  add.u32 %r4, %r3, %r2; st.param.b32 [r], %r4; ret; }\n",
    };
    struct soft *s = soft_open_linked(parts, 2, 1);
    uint32_t *out = soft_alloc(s, 4);

    cr_assert_eq(soft_launch(s, "k", (struct soft_shape){.grid = 1, .block = 1},
                             SOFT_ARGS(SOFT_PTR(out))),
                 CUDA_SUCCESS, "%s", s->fault.what);
    cr_assert_eq(*out, 5 * 1000 + 7 + 1);
    soft_close(s);
}

Test(soft_run, linking_refuses_a_name_defined_twice)
{
    const char *text = PTX_HEAD ".visible .func f() { ret; }\n";
    struct sd_module *m[2], *linked = NULL;
    struct sd_text log = {0};
    unsigned i;

    for (i = 0; i < 2; i++)
        cr_assert_eq(sd_module_parse(text, strlen(text), NULL, &m[i]), CUDA_SUCCESS);
    cr_assert_eq(sd_module_link(m, 2, &log, &linked), CUDA_ERROR_INVALID_PTX);
    cr_assert_not_null(strstr(log.data, "'f' is defined"), "%s", log.data);
    free(log.data);
}

Test(soft_run, initialisers_hold_numbers_addresses_and_masked_addresses)
{
    static const char ptx[] = PTX_HEAD
        ".global .u32 target = 42;\n"
        ".global .align 8 .u64 pointer[2] = {target, generic(target)+4};\n"
        ".global .align 1 .b8 bytes[8] = {0xFF(target), 0xFF00(target), 1, -1, 'x'-'x'+3};\n";
    static const char good[] = PTX_HEAD
        ".global .u32 target = (1 << 5) | 2 * 5;\n"
        ".global .align 8 .u64 pointer[2] = {target, generic(target)+4};\n"
        ".global .align 1 .b8 bytes[8] = {0xFF(target), 0xFF00(target), 1, -1};\n"
        ".const .f32 f[2][2] = {{0f3F800000, 2.0}, {-0f3F800000}};\n";
    struct sd_module *bad = NULL;
    struct soft *s;
    const uint64_t *pointer;
    const uint8_t *bytes;
    const float *f;
    uint64_t target;

    cr_assert_eq(sd_module_parse(ptx, sizeof(ptx), NULL, &bad), CUDA_ERROR_INVALID_PTX);
    s = soft_open(good, 1);
    target = sd_module_var(s->module, 0)->address;
    pointer = (const uint64_t *)(uintptr_t)sd_module_var(s->module, 1)->address;
    bytes = (const uint8_t *)(uintptr_t)sd_module_var(s->module, 2)->address;
    f = (const float *)(uintptr_t)sd_module_var(s->module, 3)->address;
    cr_assert_eq(*(const uint32_t *)(uintptr_t)target, 42);
    cr_assert_eq(pointer[0], target);
    cr_assert_eq(pointer[1], target + 4);
    cr_assert_eq(bytes[0], target & 0xff);
    cr_assert_eq(bytes[1], target >> 8 & 0xff);
    cr_assert_eq(bytes[2], 1);
    cr_assert_eq(bytes[3], 0xff);
    cr_assert(f[0] == 1.0f && f[1] == 2.0f && f[2] == -1.0f && f[3] == 0.0f);
    soft_close(s);
}

Test(soft_run, printf_malloc_and_free_work_per_lane)
{
    static const char ptx[] = PTX_HEAD
        ".extern .func (.param .b32 r) vprintf(.param .b64 f, .param .b64 a);\n"
        ".extern .func (.param .b64 r) malloc(.param .b64 n);\n"
        ".extern .func free(.param .b64 p);\n"
        ".global .align 1 .b8 text[8] = {116, 37, 100, 32, 37, 115, 10, 0};\n"
        ".global .align 1 .b8 word[4] = {111, 107, 33, 0};\n"
        ".visible .entry k() {\n"
        "  .local .align 8 .b8 args[16]; .reg .b32 %r<4>; .reg .b64 %rd<9>;\n"
        "  mov.u32 %r1, %tid.x; mov.u64 %rd1, args; cvta.local.u64 %rd2, %rd1;\n"
        "  { .param .b64 n; st.param.b64 [n], 16; .param .b64 q; call.uni (q), malloc, (n);\n"
        "    ld.param.b64 %rd6, [q]; }\n"
        "  st.u32 [%rd6], %r1; ld.u32 %r2, [%rd6];\n"
        "  mov.u64 %rd3, word; cvta.global.u64 %rd4, %rd3;\n"
        "  st.local.u32 [%rd1], %r2; st.local.u64 [%rd1+8], %rd4;\n"
        "  mov.u64 %rd5, text;\n"
        "  { .param .b64 f; st.param.b64 [f], %rd5; .param .b64 a; st.param.b64 [a], %rd2;\n"
        "    .param .b32 q; call.uni (q), vprintf, (f, a); ld.param.b32 %r3, [q]; }\n"
        "  { .param .b64 p; st.param.b64 [p], %rd6; call.uni free, (p); }\n"
        "  ret; }\n";
    struct soft *s = soft_open(ptx, 1);
    unsigned before = s->nspans;

    cr_assert_eq(soft_launch(s, "k", (struct soft_shape){.grid = 1, .block = 3}, SOFT_ARGS(0)),
                 CUDA_SUCCESS, "%s", s->fault.what);
    cr_assert_str_eq(s->printed, "t0 ok!\nt1 ok!\nt2 ok!\n");
    cr_assert_eq(s->nspans, before);
    soft_close(s);
}

Test(soft_run, threads_are_numbered_in_blocks_of_every_shape)
{
    static const char ptx[] = PTX_HEAD
        ".visible .entry k(.param .u64 out) {\n"
        "  .reg .b32 %r<12>; .reg .b64 %rd<4>;\n"
        "  ld.param.u64 %rd1, [out]; mov.u32 %r1, %tid.x; mov.u32 %r2, %tid.y;\n"
        "  mov.u32 %r3, %tid.z; mov.u32 %r4, %ntid.x; mov.u32 %r5, %ntid.y;\n"
        "  mad.lo.u32 %r6, %r3, %r5, %r2; mad.lo.u32 %r6, %r6, %r4, %r1;\n"
        "  mul.wide.u32 %rd2, %r6, 4; add.u64 %rd1, %rd1, %rd2;\n"
        "  shl.b32 %r2, %r2, 10; shl.b32 %r3, %r3, 20; or.b32 %r1, %r1, %r2; or.b32 %r1, %r1, %r3;\n"
        "  st.global.u32 [%rd1], %r1; ret; }\n";
    static const uint32_t shapes[][3] = {{1, 1, 1}, {32, 1, 1}, {33, 1, 1}, {1024, 1, 1},
                                         {32, 32, 1}, {16, 16, 4}, {5, 3, 2}, {40, 2, 3},
                                         {1, 64, 1}, {1, 1, 64}, {31, 33, 1}, {64, 4, 4}};
    unsigned i;

    for (i = 0; i < GP_ARRAY_LEN(shapes); i++) {
        const uint32_t *n = shapes[i];
        struct soft *s = soft_open(ptx, 1);
        uint32_t *out = soft_alloc(s, 4096), x, y, z;

        memset(out, 0xff, 4096);
        cr_assert_eq(soft_launch(s, "k", (struct soft_shape){.grid = 1, .block = n[0],
                                                             .block_y = n[1], .block_z = n[2]},
                                 SOFT_ARGS(SOFT_PTR(out))), CUDA_SUCCESS);
        for (z = 0; z < n[2]; z++)
            for (y = 0; y < n[1]; y++)
                for (x = 0; x < n[0]; x++)
                    cr_assert_eq(out[(z * n[1] + y) * n[0] + x], z << 20 | y << 10 | x,
                                 "%u x %u x %u at %u %u %u", n[0], n[1], n[2], x, y, z);
        soft_close(s);
    }
}

/* A function is no kernel: what is known before one starts is not before a function does. */
Test(soft_run, threads_have_their_numbers_inside_of_functions)
{
    static const char ptx[] = PTX_HEAD
        ".func (.param .b32 ret) number() { .reg .b32 %r<9>;\n"
        "  mov.u32 %r1, %tid.z; mov.u32 %r2, %ntid.y; mov.u32 %r3, %tid.y;\n"
        "  mad.lo.u32 %r4, %r1, %r2, %r3; mov.u32 %r5, %ntid.x; mov.u32 %r6, %tid.x;\n"
        "  mad.lo.u32 %r7, %r4, %r5, %r6; mov.u32 %r8, %ctaid.x;\n"
        "  mad.lo.u32 %r7, %r8, 1000, %r7; st.param.b32 [ret], %r7; ret; }\n"
        ".visible .entry k(.param .u64 out) { .reg .b32 %r<9>; .reg .b64 %rd<4>;\n"
        "  { .param .b32 q; call (q), number, (); ld.param.b32 %r1, [q]; }\n"
        "  mov.u32 %r2, %ctaid.x; rem.u32 %r3, %r1, 1000; mad.lo.u32 %r3, %r2, 48, %r3;\n"
        "  ld.param.u64 %rd1, [out]; mul.wide.u32 %rd2, %r3, 4; add.u64 %rd3, %rd1, %rd2;\n"
        "  st.global.u32 [%rd3], %r1; ret; }\n";
    struct soft *s = soft_open(ptx, 1);
    uint32_t *out = soft_alloc(s, 2 * 48 * 4), i;

    cr_assert_eq(
        soft_launch(s, "k",
                    (struct soft_shape){.grid = 2, .block = 4, .block_y = 3, .block_z = 4},
                    SOFT_ARGS(SOFT_PTR(out))),
        CUDA_SUCCESS, "%s", s->fault.what);
    for (i = 0; i < 2 * 48; i++)
        cr_assert_eq(out[i], i / 48 * 1000 + i % 48, "thread %u: %u", i, out[i]);
    soft_close(s);
}

/* __half and structs of a few bytes by value: each has a place of its own, whoever calls. */
Test(soft_run, functions_take_parameters_of_less_than_a_word)
{
    static const char ptx[] = PTX_HEAD
        ".func (.param .align 2 .b8 ret[2]) mix(.param .align 2 .b8 a[2], .param .align 2 .b8 b[2],\n"
        "  .param .align 1 .b8 c[3], .param .b8 d, .param .b64 e) {\n"
        "  .reg .b16 %rs<9>; .reg .b64 %rd<3>; ld.param.u16 %rs1, [a]; ld.param.u16 %rs2, [b];\n"
        "  ld.param.u8 %rs3, [c]; ld.param.u8 %rs4, [c+2]; ld.param.s8 %rs5, [d];\n"
        "  ld.param.u64 %rd1, [e]; cvt.u16.u64 %rs6, %rd1; mad.lo.u16 %rs1, %rs2, 3, %rs1;\n"
        "  mad.lo.u16 %rs1, %rs3, 5, %rs1; mad.lo.u16 %rs1, %rs4, 7, %rs1;\n"
        "  mad.lo.u16 %rs1, %rs5, 11, %rs1; mad.lo.u16 %rs1, %rs6, 13, %rs1;\n"
        "  st.param.b16 [ret], %rs1; ret; }\n"
        ".global .u64 table[1] = {mix};\n"
        ".visible .entry k(.param .u64 out) { .reg .b16 %rs<9>; .reg .b64 %rd<6>; .reg .b32 %r<4>;\n"
        "  ld.param.u64 %rd1, [out]; mov.u32 %r1, %tid.x; cvt.u16.u32 %rs1, %r1;\n"
        "  cvt.u64.u32 %rd2, %r1; ld.global.u64 %rd4, [table]; mul.wide.u32 %rd3, %r1, 4;\n"
        "  add.u64 %rd3, %rd1, %rd3;\n"
        "  proto: .callprototype (.param .align 2 .b8 _[2]) _ (.param .align 2 .b8 _[2],\n"
        "    .param .align 2 .b8 _[2], .param .align 1 .b8 _[3], .param .b8 _, .param .b64 _);\n"
#define CALL_MIX(how, to)                                                                          \
    "  { .param .align 2 .b8 p0[2]; st.param.b16 [p0], %rs1; .param .align 2 .b8 p1[2];\n"         \
    "    add.u16 %rs2, %rs1, 100; st.param.b16 [p1], %rs2; .param .align 1 .b8 p2[3];\n"           \
    "    st.param.b8 [p2], 1; st.param.b8 [p2+1], 99; st.param.b8 [p2+2], %rs1; .param .b8 p3;\n"  \
    "    neg.s16 %rs3, %rs1; st.param.b8 [p3], %rs3; .param .b64 p4; st.param.b64 [p4], %rd2;\n"   \
    "    .param .align 2 .b8 q[2]; call (q), " how ";\n"                                           \
    "    ld.param.b16 " to ", [q]; }\n"
        CALL_MIX("mix, (p0, p1, p2, p3, p4)", "%rs4")
        CALL_MIX("%rd4, (p0, p1, p2, p3, p4), proto", "%rs5")
        "  st.global.u16 [%rd3], %rs4; st.global.u16 [%rd3+2], %rs5; ret; }\n";
    struct soft *s = soft_open(ptx, 1);
    uint16_t (*out)[2] = soft_alloc(s, 32 * 4);

    cr_assert_eq(soft_launch(s, "k", (struct soft_shape){.grid = 1, .block = 32},
                             SOFT_ARGS(SOFT_PTR(out))),
                 CUDA_SUCCESS, "%s", s->fault.what);
    for (int i = 0; i < 32; i++) {
        const uint16_t want = (uint16_t)(i + 3 * (i + 100) + 5 + 7 * i - 11 * i + 13 * i);

        cr_assert_eq(out[i][0], want, "lane %d: %u", i, out[i][0]);
        cr_assert_eq(out[i][1], want, "lane %d, by its address: %u", i, out[i][1]);
    }
    soft_close(s);
}

Test(soft_run, blocks_go_round_the_multiprocessors_that_a_launch_has)
{
    static const char ptx[] = PTX_HEAD
        ".visible .entry k(.param .u64 out) {\n"
        "  .reg .b32 %r<4>; .reg .b64 %rd<4>;\n"
        "  ld.param.u64 %rd1, [out]; mov.u32 %r1, %ctaid.x; mul.wide.u32 %rd2, %r1, 8;\n"
        "  add.u64 %rd1, %rd1, %rd2; mov.u32 %r2, %smid; mov.u32 %r3, %nsmid;\n"
        "  st.global.v2.u32 [%rd1], {%r2, %r3}; ret; }\n";
    struct soft *s = soft_open(ptx, 1);
    uint32_t(*out)[2] = soft_alloc(s, 64 * sizeof(*out));

    s->env.sm_count = 20;
    cr_assert_eq(soft_launch(s, "k", (struct soft_shape){.grid = 64, .block = 1},
                             SOFT_ARGS(SOFT_PTR(out))), CUDA_SUCCESS);
    for (uint32_t i = 0; i < 64; i++) {
        cr_assert_eq(out[i][0], i % 20);
        cr_assert_eq(out[i][1], 20);
    }
    soft_close(s);
}
