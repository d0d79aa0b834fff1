/* tests/unit/soft/test_faults.c -- kernels that must not get away with it */
#include "tests/unit/soft/soft_test.h"

#include <string.h>

#define KERNEL(name, body)                                                                         \
    ".visible .entry " name "(.param .u64 a, .param .u64 b) {\n"                                   \
    "  .reg .pred %p<4>; .reg .b32 %r<8>; .reg .b64 %rd<8>; .reg .b16 %h<4>;\n"                    \
    "  ld.param.u64 %rd1, [a]; ld.param.u64 %rd2, [b]; cvt.u32.u64 %r1, %rd1; mov.u32 %r2, 1;\n"   \
    body "\n  ret; }\n"

static const char accesses[] = PTX_HEAD
    KERNEL("ld_global", "ld.global.u32 %r3, [%rd1]; st.global.u32 [%rd2], %r3;")
    KERNEL("st_global", "st.global.u32 [%rd1], %r2;")
    KERNEL("ld_generic", "ld.u32 %r3, [%rd1]; st.global.u32 [%rd2], %r3;")
    KERNEL("st_generic", "st.u32 [%rd1], %r2;")
    KERNEL("v4_global", "ld.global.v4.u32 {%r3, %r4, %r5, %r6}, [%rd1];"
                        "st.global.u32 [%rd2], %r6;")
    KERNEL("atom_global", "atom.global.add.u32 %r3, [%rd1], 1;")
    KERNEL("atom_generic", "atom.add.u32 %r3, [%rd1], 1;")
    KERNEL("red_shared", ".shared .align 4 .b8 sh[64]; red.shared.add.u32 [%r1], 1;")
    KERNEL("ld_shared", ".shared .align 4 .b8 sh[64]; mov.u32 %r4, sh;"
                        "ld.shared.u32 %r3, [%r1]; st.global.u32 [%rd2], %r3;")
    KERNEL("st_shared", ".shared .align 4 .b8 sh[64]; mov.u32 %r4, sh; st.shared.u32 [%r1], %r2;")
    KERNEL("ld_local", ".local .align 4 .b8 lo[64]; ld.local.u32 %r3, [%rd1];"
                       "st.global.u32 [%rd2], %r3;")
    KERNEL("st_local", ".local .align 4 .b8 lo[64]; st.local.u32 [%rd1], %r2;")
    KERNEL("red_global", "red.global.add.u32 [%rd1], 1;")
    KERNEL("cp_async", ".shared .align 16 .b8 sh[64]; mov.u32 %r4, sh;"
                       "cp.async.ca.shared.global [%r4], [%rd1], 8;")
    KERNEL("cp_async_to_shared", ".shared .align 16 .b8 sh[64]; mov.u32 %r4, sh;"
                                 "cp.async.ca.shared.global [%r1], [%rd2], 4;")
    KERNEL("bulk_from", ".shared .align 16 .b8 sh[64]; .shared .align 8 .b64 bar;"
                        "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [sh], [%rd1], 32, [bar];")
    KERNEL("bulk_to", ".shared .align 16 .b8 sh[64];"
                      "cp.async.bulk.global.shared::cta.bulk_group [%rd1], [sh], 32;")
    KERNEL("bulk_from_shared", ".shared .align 16 .b8 sh[64];"
                               "cp.async.bulk.global.shared::cta.bulk_group [%rd2], [%r1], 16;")
    KERNEL("bulk_shared_barrier", ".shared .align 16 .b8 sh[64];"
                                  "cp.async.bulk.shared::cta.global.mbarrier::complete_tx::bytes [sh], [%rd2], 16, [%r1];")
    KERNEL("mbarrier_shared", ".shared .align 16 .b8 sh[64]; mov.u32 %r4, sh; mbarrier.init.shared.b64 [%r1], 1;")
    KERNEL("mbarrier_generic", "mbarrier.arrive.b64 %rd3, [%rd1];")
    KERNEL("ldmatrix_shared", ".shared .align 16 .b8 sh[64]; mov.u32 %r4, sh;"
                              "ldmatrix.sync.aligned.m8n8.x1.shared.b16 {%r3}, [%r1];")
    KERNEL("ld_const", "ld.const.u32 %r3, [%rd1]; st.global.u32 [%rd2], %r3;")
    KERNEL("ld_param", "ld.param.u32 %r3, [%rd1]; st.global.u32 [%rd2], %r3;");

static const uint64_t wild[] = {
    0, 4, 0x1000, 0x7fffffffffffu & ~3ull, 0x8000000000000000u, UINT64_MAX - 3,
    0x800000000000u + 64, 0x800000fffffcu, 0x800001000000u + 65536, 0x800002000000u + 64,
    0x800003000000u, 0x800004000000u, 1ull << 32, (1ull << 32) + 4, 0xfffffffcu, 0x10000u,
};

static uint32_t secret = 0x5ec4e7; /* the process's own memory */

Test(soft_faults, wild_pointers_of_every_space_fault_and_read_nothing)
{
    static const char *const kernels[] = {
        "ld_global", "st_global", "ld_generic", "st_generic", "v4_global", "atom_global",
        "atom_generic", "red_shared", "ld_shared", "st_shared", "ld_local", "st_local",
        "red_global", "cp_async", "cp_async_to_shared", "bulk_from", "bulk_to", "bulk_from_shared",
        "bulk_shared_barrier", "mbarrier_shared", "mbarrier_generic", "ldmatrix_shared",
        "ld_const", "ld_param"};
    struct soft *s = soft_open(accesses, 1);
    uint32_t *out = soft_alloc(s, 16);
    unsigned i, k;

    for (k = 0; k < GP_ARRAY_LEN(kernels); k++) {
        bool small = strstr(kernels[k], "shared") || strstr(kernels[k], "local") ||
                     strstr(kernels[k], "param");

        for (i = 0; i <= GP_ARRAY_LEN(wild); i++) {
            uint64_t addr = i == GP_ARRAY_LEN(wild) ? SOFT_PTR(&secret) & ~3ull : wild[i];
            CUresult cr;

            /* Small addresses are good ones there; shared addresses have 32 bits. */
            if (small && (uint32_t)addr < 64)
                continue;
            if (strcmp(kernels[k], "ld_param") == 0 && addr < 16)
                continue;
            cr = soft_launch(s, kernels[k], (struct soft_shape){.grid = 1, .block = 32},
                             SOFT_ARGS(addr, SOFT_PTR(out)));
            cr_assert(cr == CUDA_ERROR_ILLEGAL_ADDRESS || cr == CUDA_ERROR_MISALIGNED_ADDRESS,
                      "%s of %llx gave %d", kernels[k], (unsigned long long)addr, cr);
            cr_assert_neq(s->fault.ptx_line, 0);
            cr_assert_eq(*out, 0);
        }
    }
    cr_assert_eq(secret, 0x5ec4e7);
    soft_close(s);
}

Test(soft_faults, the_last_bytes_of_an_allocation_are_good_and_the_next_are_not)
{
    struct soft *s = soft_open(accesses, 1);
    uint32_t *out = soft_alloc(s, 4);
    uint8_t *mem = soft_alloc(s, 100);

    cr_assert_eq(soft_launch(s, "ld_global", (struct soft_shape){.grid = 1, .block = 32},
                             SOFT_ARGS(SOFT_PTR(mem + 96), SOFT_PTR(out))), CUDA_SUCCESS);
    cr_assert_eq(soft_launch(s, "v4_global", (struct soft_shape){.grid = 1, .block = 32},
                             SOFT_ARGS(SOFT_PTR(mem + 96), SOFT_PTR(out))),
                 CUDA_ERROR_ILLEGAL_ADDRESS);
    cr_assert_eq(soft_launch(s, "ld_global", (struct soft_shape){.grid = 1, .block = 32},
                             SOFT_ARGS(SOFT_PTR(mem + 100), SOFT_PTR(out))),
                 CUDA_ERROR_ILLEGAL_ADDRESS);
    cr_assert_eq(soft_launch(s, "ld_global", (struct soft_shape){.grid = 1, .block = 32},
                             SOFT_ARGS(SOFT_PTR(mem + 2), SOFT_PTR(out))),
                 CUDA_ERROR_MISALIGNED_ADDRESS);
    cr_assert_eq(s->fault.address, SOFT_PTR(mem + 2));
    soft_close(s);
}

Test(soft_faults, a_read_only_allocation_can_be_read_but_not_written)
{
    struct soft *s = soft_open(accesses, 1);
    uint32_t *out = soft_alloc(s, 4);
    uint32_t *mem = soft_alloc(s, 64);

    s->spans[1].writable = false;
    mem[0] = 9;
    cr_assert_eq(soft_launch(s, "ld_generic", (struct soft_shape){.grid = 1, .block = 1},
                             SOFT_ARGS(SOFT_PTR(mem), SOFT_PTR(out))), CUDA_SUCCESS);
    cr_assert_eq(*out, 9);
    cr_assert_eq(soft_launch(s, "st_global", (struct soft_shape){.grid = 1, .block = 1},
                             SOFT_ARGS(SOFT_PTR(mem), SOFT_PTR(out))),
                 CUDA_ERROR_ILLEGAL_ADDRESS);
    cr_assert_eq(soft_launch(s, "atom_generic", (struct soft_shape){.grid = 1, .block = 1},
                             SOFT_ARGS(SOFT_PTR(mem), SOFT_PTR(out))),
                 CUDA_ERROR_ILLEGAL_ADDRESS);
    cr_assert_eq(mem[0], 9);
    soft_close(s);
}

Test(soft_faults, a_fault_names_line_block_thread_and_address)
{
    static const char ptx[] = PTX_HEAD
        ".visible .entry k(.param .u64 a) {\n"
        "  .reg .pred %p<3>; .reg .b32 %r<4>; .reg .b64 %rd<2>;\n"
        "  ld.param.u64 %rd1, [a]; mov.u32 %r1, %tid.x; mov.u32 %r2, %ctaid.x;\n"
        "  setp.ne.u32 %p1, %r1, 37; @%p1 bra OUT;\n"
        "  setp.ne.u32 %p2, %r2, 2; @%p2 bra OUT;\n"
        "  st.global.u32 [%rd1+4], %r1;\n"
        "OUT: ret;\n}\n";
    struct soft *s = soft_open(ptx, 1);
    uint32_t *mem = soft_alloc(s, 4);

    cr_assert_eq(soft_launch(s, "k", (struct soft_shape){.grid = 4, .block = 64},
                             SOFT_ARGS(SOFT_PTR(mem))),
                 CUDA_ERROR_ILLEGAL_ADDRESS);
    cr_assert_eq(s->fault.ptx_line, 9);
    cr_assert_eq(s->fault.block[0], 2);
    cr_assert_eq(s->fault.thread[0], 37);
    cr_assert_eq(s->fault.address, SOFT_PTR(mem) + 4);
    soft_close(s);
}

/* A bulk copy is of any length: all of it must lie in one allocation and in the block's memory. */
Test(soft_faults, bulk_copies_stay_in_their_allocations)
{
    static const char ptx[] = PTX_HEAD
        ".visible .entry k(.param .u64 a, .param .u32 size) {\n"
        "  .shared .align 16 .b8 sh[256]; .shared .align 8 .b64 bar;\n"
        "  .reg .b64 %rd1; .reg .b32 %r1; ld.param.u64 %rd1, [a]; ld.param.u32 %r1, [size];\n"
        "  cp.async.bulk.shared::cta.global.mbarrier::complete_tx::bytes [sh], [%rd1], %r1, [bar];\n"
        "  cp.async.bulk.global.shared::cta.bulk_group [%rd1], [sh], %r1; ret; }\n";
    static const struct {
        uint32_t at, bytes;
        CUresult cr;
    } all[] = {
        {0, 0, CUDA_SUCCESS}, {0, 128, CUDA_SUCCESS}, {112, 16, CUDA_SUCCESS},
        {112, 32, CUDA_ERROR_ILLEGAL_ADDRESS}, {0, 144, CUDA_ERROR_ILLEGAL_ADDRESS},
        {0, 272, CUDA_ERROR_ILLEGAL_ADDRESS}, {0, 0xfffffff0, CUDA_ERROR_ILLEGAL_ADDRESS},
        {8, 16, CUDA_ERROR_MISALIGNED_ADDRESS}, {0, 24, CUDA_ERROR_ILLEGAL_INSTRUCTION},
    };
    struct soft *s = soft_open(ptx, 1);
    uint8_t *mem = soft_alloc(s, 128);
    struct soft_shape shape = {.grid = 1, .block = 1};
    unsigned i;

    for (i = 0; i < GP_ARRAY_LEN(all); i++)
        cr_assert_eq(soft_launch(s, "k", shape, SOFT_ARGS(SOFT_PTR(mem + all[i].at), all[i].bytes)),
                     all[i].cr, "%u bytes at %u: %s", all[i].bytes, all[i].at, s->fault.what);
    /* The words that a cooperative grid synchronises by are the process's own memory too. */
    shape.cooperative = true;
    cr_assert_eq(soft_launch(s, "k", shape, SOFT_ARGS(0x7ffffffff000, 128)),
                 CUDA_ERROR_ILLEGAL_ADDRESS);
    soft_close(s);
}

static const char misuse[] = PTX_HEAD
    KERNEL("never", "mov.u32 %r3, %tid.x; setp.lt.u32 %p1, %r3, 32; @%p1 bar.sync 1, 96;")
    KERNEL("number", "bar.sync %r1;")
    KERNEL("count", "mov.u32 %r3, 33; bar.sync 0, %r3;")
    KERNEL("trap", "trap;")
    KERNEL("endless", "L: add.u32 %r2, %r2, 1; bra L;")
    KERNEL("half_endless", "mov.u32 %r3, %tid.x; and.b32 %r3, %r3, 1; setp.eq.u32 %p1, %r3, 0;\n"
                           "@%p1 ret; L: bra L;");

Test(soft_faults, misused_barriers_are_faults_and_no_hang)
{
    struct soft *s = soft_open(misuse, 1);

    cr_assert_eq(soft_launch(s, "never", (struct soft_shape){.grid = 1, .block = 64},
                             SOFT_ARGS(0, 0)), CUDA_ERROR_LAUNCH_FAILED);
    cr_assert_not_null(strstr(s->fault.what, "deadlock"), "%s", s->fault.what);
    cr_assert_eq(soft_launch(s, "number", (struct soft_shape){.grid = 1, .block = 64},
                             SOFT_ARGS(16, 0)), CUDA_ERROR_ILLEGAL_INSTRUCTION);
    cr_assert_eq(soft_launch(s, "count", (struct soft_shape){.grid = 1, .block = 64},
                             SOFT_ARGS(0, 0)), CUDA_ERROR_ILLEGAL_INSTRUCTION);
    cr_assert_eq(soft_launch(s, "trap", (struct soft_shape){.grid = 1, .block = 64},
                             SOFT_ARGS(0, 0)), CUDA_ERROR_LAUNCH_FAILED);
    soft_close(s);
}

Test(soft_faults, an_endless_kernel_ends_when_it_is_cancelled)
{
    struct soft *s = soft_open(misuse, 2);

    s->cancel_after = 20;
    cr_assert_neq(soft_launch(s, "endless", (struct soft_shape){.grid = 5, .block = 96},
                              SOFT_ARGS(0, 0)), CUDA_SUCCESS);
    s->polls = 0;
    cr_assert_neq(soft_launch(s, "half_endless", (struct soft_shape){.grid = 1, .block = 32},
                              SOFT_ARGS(0, 0)), CUDA_SUCCESS);
    /* The pool is as good as before. */
    s->cancel_after = 0;
    cr_assert_eq(soft_launch(s, "number", (struct soft_shape){.grid = 4, .block = 64},
                             SOFT_ARGS(3, 0)), CUDA_SUCCESS);
    soft_close(s);
}

/* No warp uses up what it may run at a time: all stop at the barrier before. */
Test(soft_faults, an_endless_kernel_of_barriers_ends_when_it_is_cancelled)
{
    static const char ptx[] = PTX_HEAD ".visible .entry k() { L: bar.sync 0; bra L; }\n";
    struct soft *s = soft_open(ptx, 1);

    s->cancel_after = 20;
    cr_assert_neq(soft_launch(s, "k", (struct soft_shape){.grid = 3, .block = 96}, SOFT_ARGS(0)),
                  CUDA_SUCCESS);
    s->polls = 0;
    cr_assert_neq(soft_launch(s, "k", (struct soft_shape){.grid = 1, .block = 1}, SOFT_ARGS(0)),
                  CUDA_SUCCESS);
    soft_close(s);
}

Test(soft_faults, endless_recursion_is_a_stack_overflow)
{
    static const char ptx[] = PTX_HEAD
        ".func deeper() { .local .align 8 .b8 x[64]; .reg .b64 %rd<2>; mov.u64 %rd1, x;\n"
        "  st.local.u64 [%rd1], %rd1; call deeper; ret; }\n"
        ".visible .entry k() { call deeper; ret; }\n";
    struct soft *s = soft_open(ptx, 1);

    cr_assert_eq(soft_launch(s, "k", (struct soft_shape){.grid = 2, .block = 32}, SOFT_ARGS(0)),
                 CUDA_ERROR_LAUNCH_FAILED);
    cr_assert_not_null(strstr(s->fault.what, "stack"), "%s", s->fault.what);
    soft_close(s);
}

Test(soft_faults, an_assertion_prints_what_cuda_prints)
{
    static const char ptx[] = PTX_HEAD
        ".extern .func __assertfail(.param .b64 m, .param .b64 f, .param .b32 l, .param .b64 n,"
        " .param .b64 c);\n"
        ".global .align 1 .b8 m[6] = {120, 32, 62, 32, 48, 0};\n"
        ".global .align 1 .b8 f[5] = {97, 46, 99, 117, 0};\n"
        ".global .align 1 .b8 n[2] = {107, 0};\n"
        ".visible .entry k() { .reg .b64 %rd<4>; mov.u64 %rd1, m; mov.u64 %rd2, f;\n"
        "  mov.u64 %rd3, n;\n"
        "  { .param .b64 a; st.param.b64 [a], %rd1; .param .b64 b; st.param.b64 [b], %rd2;\n"
        "    .param .b32 c; st.param.b32 [c], 12; .param .b64 d; st.param.b64 [d], %rd3;\n"
        "    .param .b64 e; st.param.b64 [e], 1; call.uni __assertfail, (a, b, c, d, e); }\n"
        "  ret; }\n";
    struct soft *s = soft_open(ptx, 1);

    cr_assert_eq(soft_launch(s, "k", (struct soft_shape){.grid = 1, .block = 1}, SOFT_ARGS(0)),
                 CUDA_ERROR_ASSERT);
    cr_assert_str_eq(s->printed, "a.cu:12: k: block: [0,0,0], thread: [0,0,0] Assertion `x > 0` "
                                 "failed.\n");
    soft_close(s);
}

Test(soft_faults, bad_text_is_refused_with_its_line)
{
    static const struct {
        const char *text;
        CUresult cr;
        const char *says;
    } all[] = {
        {"hello", CUDA_ERROR_INVALID_PTX, "line 1"},
        {"", CUDA_ERROR_INVALID_PTX, "no .version"},
        {".version 99.0\n.target sm_90\n", CUDA_ERROR_UNSUPPORTED_PTX_VERSION, "newer"},
        {PTX_HEAD ".visible .entry k() {\n  add.u32 %r1, 1, 2;\n}", CUDA_ERROR_INVALID_PTX,
         "'%r1'"},
        {PTX_HEAD ".visible .entry k() {\n  bra NOWHERE;\n}", CUDA_ERROR_INVALID_PTX, "NOWHERE"},
        {PTX_HEAD ".visible .entry k() {\n  ret\n}", CUDA_ERROR_INVALID_PTX, "expected"},
        {PTX_HEAD ".visible .entry k() {", CUDA_ERROR_INVALID_PTX, "without an end"},
        {PTX_HEAD ".func f(.reg .b32 %a, .reg .b32) { ret; }\n"
                  ".visible .entry k() { call f, (1, 2); ret; }",
         CUDA_ERROR_INVALID_PTX, "name"},
        {PTX_HEAD ".global .u32 a[2] = {1, 2, 3};", CUDA_ERROR_INVALID_PTX, "too many"},
    };
    unsigned i;

    for (i = 0; i < GP_ARRAY_LEN(all); i++) {
        struct sd_text log = {0};
        struct sd_module *m = NULL;
        CUresult cr = sd_module_parse(all[i].text, strlen(all[i].text), &log, &m);

        cr_assert_eq(cr, all[i].cr, "text %u gave %d", i, cr);
        cr_assert(log.data != NULL && strstr(log.data, all[i].says) != NULL, "text %u: %s", i,
                  log.data);
        free(log.data);
    }
}

Test(soft_faults, an_unknown_opcode_is_found_when_its_kernel_is_prepared)
{
    static const char ptx[] = PTX_HEAD ".visible .entry good() { ret; }\n"
                                       ".visible .entry bad() {\n  frobnicate.u32 1;\n  ret; }\n";
    struct soft *s = soft_open(ptx, 1);
    struct sd_text log = {0};

    cr_assert_eq(sd_kernel_prepare(soft_kernel(s, "good"), &log), CUDA_SUCCESS);
    cr_assert_eq(sd_kernel_prepare(soft_kernel(s, "bad"), &log), CUDA_ERROR_NOT_SUPPORTED);
    cr_assert_not_null(strstr(log.data, "kernel bad: line 6: frobnicate.u32"), "%s", log.data);
    free(log.data);
    soft_close(s);
}

static struct sd_texture shown;

static const struct sd_texture *
texture_shown(void *opaque, uint64_t handle)
{
    (void)opaque;
    return handle == 1 ? &shown : NULL;
}

Test(soft_faults, a_surface_is_no_texture)
{
    static const char ptx[] = PTX_HEAD
        KERNEL("k", "tex.1d.v4.s32.s32 {%r2, %r3, %r4, %r5}, [%rd1, {%r2}];"
                    "st.global.u32 [%rd2], %r2;");
    struct soft *s = soft_open(ptx, 1);
    uint32_t *texels = soft_alloc(s, 16), *out = soft_alloc(s, 4);

    texels[1] = 7;
    shown = (struct sd_texture){
        .format = CU_AD_FORMAT_SIGNED_INT32,
        .channels = 1,
        .nlevels = 1,
        .levels = {{.base = SOFT_PTR(texels), .width = 4, .height = 1, .depth = 1}},
    };
    s->env.texture = texture_shown;
    cr_assert_eq(soft_launch(s, "k", (struct soft_shape){.grid = 1, .block = 1},
                             SOFT_ARGS(1, SOFT_PTR(out))), CUDA_SUCCESS, "%s", s->fault.what);
    cr_assert_eq(*out, 7);
    shown.surface = true;
    cr_assert_eq(soft_launch(s, "k", (struct soft_shape){.grid = 1, .block = 1},
                             SOFT_ARGS(1, SOFT_PTR(out))), CUDA_ERROR_LAUNCH_FAILED);
    soft_close(s);
}
