/* tests/unit/soft/test_mma.c -- matrix instructions against plain loops */
#include "tests/unit/soft/soft_test.h"

#include <math.h>
#include <string.h>

#define REGS8(p) "{" p "0, " p "1, " p "2, " p "3, " p "4, " p "5, " p "6, " p "7}"

#define HEAD(name)                                                                                 \
    ".visible .entry " name "(.param .u64 a, .param .u64 b, .param .u64 c) {\n"                    \
    "  .reg .b32 %a<8>; .reg .b32 %b<8>; .reg .b32 %c<8>; .reg .f32 %f<8>; .reg .f64 %d<8>;\n"     \
    "  .reg .b64 %rd<9>; .reg .b32 %r<9>;\n"                                                       \
    "  ld.param.u64 %rd1, [a]; ld.param.u64 %rd2, [b]; ld.param.u64 %rd3, [c]; mov.u32 %r1, 16;\n"

static const char ptx[] = PTX_HEAD
    HEAD("f16")
    "  wmma.load.a.sync.aligned.row.m16n16k16.global.f16 " REGS8("%a") ", [%rd1], %r1;\n"
    "  wmma.load.b.sync.aligned.col.m16n16k16.global.f16 " REGS8("%b") ", [%rd2], %r1;\n"
    "  wmma.load.c.sync.aligned.row.m16n16k16.global.f32 " REGS8("%f") ", [%rd3], %r1;\n"
    "  wmma.mma.sync.aligned.row.col.m16n16k16.f32.f32 " REGS8("%f") ", " REGS8("%a") ", "
    REGS8("%b") ", " REGS8("%f") ";\n"
    "  wmma.store.d.sync.aligned.row.m16n16k16.global.f32 [%rd3], " REGS8("%f") ", %r1; ret; }\n"
    HEAD("s8")
    "  wmma.load.a.sync.aligned.row.m16n16k16.global.s8 {%a0, %a1}, [%rd1], %r1;\n"
    "  wmma.load.b.sync.aligned.col.m16n16k16.global.s8 {%b0, %b1}, [%rd2], %r1;\n"
    "  wmma.load.c.sync.aligned.row.m16n16k16.global.s32 " REGS8("%c") ", [%rd3], %r1;\n"
    "  wmma.mma.sync.aligned.row.col.m16n16k16.s32.s8.s8.s32 " REGS8("%c") ", {%a0, %a1}, "
    "{%b0, %b1}, " REGS8("%c") ";\n"
    "  wmma.store.d.sync.aligned.row.m16n16k16.global.s32 [%rd3], " REGS8("%c") ", %r1; ret; }\n"
    HEAD("bf16")
    "  wmma.load.a.sync.aligned.row.m16n16k16.bf16 {%a0, %a1, %a2, %a3}, [%rd1], %r1;\n"
    "  wmma.load.b.sync.aligned.col.m16n16k16.bf16 {%b0, %b1, %b2, %b3}, [%rd2], %r1;\n"
    "  wmma.load.c.sync.aligned.row.m16n16k16.f32 " REGS8("%f") ", [%rd3], %r1;\n"
    "  wmma.mma.sync.aligned.row.col.m16n16k16.f32.bf16.bf16.f32 " REGS8("%f") ", "
    "{%a0, %a1, %a2, %a3}, {%b0, %b1, %b2, %b3}, " REGS8("%f") ";\n"
    "  wmma.store.d.sync.aligned.row.m16n16k16.f32 [%rd3], " REGS8("%f") ", %r1; ret; }\n"
    HEAD("tf32")
    "  mov.u32 %r2, 8;\n"
    "  wmma.load.a.sync.aligned.row.m16n16k8.tf32 {%a0, %a1, %a2, %a3}, [%rd1], %r2;\n"
    "  wmma.load.b.sync.aligned.col.m16n16k8.tf32 {%b0, %b1, %b2, %b3}, [%rd2], %r2;\n"
    "  wmma.load.c.sync.aligned.row.m16n16k8.f32 " REGS8("%f") ", [%rd3], %r1;\n"
    "  wmma.mma.sync.aligned.row.col.m16n16k8.f32.tf32.tf32.f32 " REGS8("%f") ", "
    "{%a0, %a1, %a2, %a3}, {%b0, %b1, %b2, %b3}, " REGS8("%f") ";\n"
    "  wmma.store.d.sync.aligned.row.m16n16k8.f32 [%rd3], " REGS8("%f") ", %r1; ret; }\n"
    /* Bytes that come to shared memory first, and the result leaves it last. */
    HEAD("u8")
    "  .shared .align 16 .b8 sa[256]; .shared .align 16 .b8 sb[256]; .shared .align 16 .b8 sc[1024];\n"
    "  .reg .b32 %t; mov.u32 %t, %tid.x; mul.wide.u32 %rd4, %t, 8; mul.wide.u32 %rd5, %t, 32;\n"
    "  add.u64 %rd1, %rd1, %rd4; add.u64 %rd2, %rd2, %rd4; add.u64 %rd3, %rd3, %rd5;\n"
    "  shl.b32 %r2, %t, 3; shl.b32 %r3, %t, 5; mov.u32 %r4, sa; add.u32 %r4, %r4, %r2;\n"
    "  mov.u32 %r5, sb; add.u32 %r5, %r5, %r2; mov.u32 %r6, sc; add.u32 %r6, %r6, %r3;\n"
    "  ld.global.u64 %rd6, [%rd1]; st.shared.u64 [%r4], %rd6; ld.global.u64 %rd6, [%rd2];\n"
    "  st.shared.u64 [%r5], %rd6; ld.global.v2.u64 {%rd6, %rd7}, [%rd3];\n"
    "  st.shared.v2.u64 [%r6], {%rd6, %rd7}; ld.global.v2.u64 {%rd6, %rd7}, [%rd3+16];\n"
    "  st.shared.v2.u64 [%r6+16], {%rd6, %rd7}; bar.warp.sync -1; mov.u32 %r4, sa;\n"
    "  mov.u32 %r5, sb; mov.u32 %r7, sc;\n"
    "  wmma.load.a.sync.aligned.row.m16n16k16.shared.u8 {%a0, %a1}, [%r4], %r1;\n"
    "  wmma.load.b.sync.aligned.col.m16n16k16.shared.u8 {%b0, %b1}, [%r5], %r1;\n"
    "  wmma.load.c.sync.aligned.row.m16n16k16.shared.s32 " REGS8("%c") ", [%r7], %r1;\n"
    "  wmma.mma.sync.aligned.row.col.m16n16k16.s32.u8.u8.s32 " REGS8("%c") ", {%a0, %a1}, "
    "{%b0, %b1}, " REGS8("%c") ";\n"
    "  wmma.store.d.sync.aligned.row.m16n16k16.shared.s32 [%r7], " REGS8("%c") ", %r1;\n"
    "  bar.warp.sync -1; ld.shared.v2.u64 {%rd6, %rd7}, [%r6]; st.global.v2.u64 [%rd3], {%rd6, %rd7};\n"
    "  ld.shared.v2.u64 {%rd6, %rd7}, [%r6+16]; st.global.v2.u64 [%rd3+16], {%rd6, %rd7}; ret; }\n"
    HEAD("f64")
    "  mov.u32 %r2, 4; mov.u32 %r3, 8;\n"
    "  wmma.load.a.sync.aligned.row.m8n8k4.global.f64 {%d0}, [%rd1], %r2;\n"
    "  wmma.load.b.sync.aligned.row.m8n8k4.global.f64 {%d1}, [%rd2], %r3;\n"
    "  wmma.load.c.sync.aligned.col.m8n8k4.global.f64 {%d2, %d3}, [%rd3], %r3;\n"
    "  wmma.mma.sync.aligned.row.row.m8n8k4.f64.f64.f64.f64.rn {%d2, %d3}, {%d0}, {%d1}, "
    "{%d2, %d3};\n"
    "  wmma.store.d.sync.aligned.col.m8n8k4.global.f64 [%rd3], {%d2, %d3}, %r3; ret; }\n"
    /* A by ldmatrix from rows, B by ldmatrix.trans from rows of k: as every hand-written gemm. */
    ".visible .entry gemm(.param .u64 a, .param .u64 b, .param .u64 c) {\n"
    "  .shared .align 16 .b8 sa[512]; .shared .align 16 .b8 sb[256];\n"
    "  .reg .b32 %a<8>; .reg .b32 %b<8>; .reg .f32 %f<8>; .reg .b64 %rd<12>; .reg .b32 %r<20>;\n"
    "  ld.param.u64 %rd1, [a]; ld.param.u64 %rd2, [b]; ld.param.u64 %rd3, [c];\n"
    "  mov.u32 %r1, %tid.x; shl.b32 %r2, %r1, 4; cvt.u64.u32 %rd4, %r2; add.u64 %rd5, %rd1, %rd4;\n"
    "  mov.u32 %r3, sa; add.u32 %r4, %r3, %r2; mov.u32 %r5, sb; shl.b32 %r6, %r1, 3;\n"
    "  add.u32 %r7, %r5, %r6; cvt.u64.u32 %rd6, %r6; add.u64 %rd7, %rd2, %rd6;\n"
    "  cp.async.cg.shared.global [%r4], [%rd5], 16;\n"
    "  cp.async.ca.shared.global [%r7], [%rd7], 8; cp.async.commit_group;\n"
    "  cp.async.wait_group 0; bar.warp.sync -1;\n"
    /* Row r of matrix i of A: row (i & 1) * 8 + r, column (i >> 1) * 8. */
    "  and.b32 %r8, %r1, 15; shl.b32 %r9, %r8, 5; shr.u32 %r10, %r1, 4; shl.b32 %r10, %r10, 4;\n"
    "  add.u32 %r11, %r3, %r9; add.u32 %r11, %r11, %r10;\n"
    "  ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%a0, %a1, %a2, %a3}, [%r11];\n"
    "  shl.b32 %r12, %r8, 4; add.u32 %r13, %r5, %r12;\n"
    "  ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%b0, %b1}, [%r13];\n"
    "  mov.f32 %f0, 0f00000000; mov.f32 %f1, %f0; mov.f32 %f2, %f0; mov.f32 %f3, %f0;\n"
    "  mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%f0, %f1, %f2, %f3},"
    " {%a0, %a1, %a2, %a3}, {%b0, %b1}, {%f0, %f1, %f2, %f3};\n"
    /* c0, c1 at row lane / 4, columns 2 * (lane % 4); c2, c3 eight rows below */
    "  shl.b32 %r14, %r1, 3; cvt.u64.u32 %rd8, %r14; add.u64 %rd9, %rd3, %rd8;\n"
    "  st.global.v2.f32 [%rd9], {%f0, %f1}; st.global.v2.f32 [%rd9+256], {%f2, %f3}; ret; }\n";

static uint16_t
half_of(int v) /* small integers only */
{
    float f = (float)v;
    uint32_t u;

    memcpy(&u, &f, sizeof(u));
    return (uint16_t)(v == 0 ? 0 : (u >> 16 & 0x8000) | (((u >> 23 & 255) - 112) << 10) |
                                       (u >> 13 & 0x3ff));
}

static int
value(unsigned i, unsigned j)
{
    return (int)((i * 7 + j * 13) % 17) - 8;
}

Test(soft_mma, wmma_multiplies_halves)
{
    struct soft *s = soft_open(ptx, 1);
    uint16_t *a = soft_alloc(s, 512), *b = soft_alloc(s, 512);
    float *c = soft_alloc(s, 1024);
    unsigned i, j, k;

    for (i = 0; i < 16; i++)
        for (j = 0; j < 16; j++) {
            a[i * 16 + j] = half_of(value(i, j));
            b[j * 16 + i] = half_of(value(i + 3, j)); /* by columns */
            c[i * 16 + j] = (float)(100 * i + j);
        }
    cr_assert_eq(soft_launch(s, "f16", (struct soft_shape){.grid = 1, .block = 32},
                             SOFT_ARGS(SOFT_PTR(a), SOFT_PTR(b), SOFT_PTR(c))),
                 CUDA_SUCCESS, "%s", s->fault.what);
    for (i = 0; i < 16; i++)
        for (j = 0; j < 16; j++) {
            int sum = (int)(100 * i + j);

            for (k = 0; k < 16; k++)
                sum += value(i, k) * value(k + 3, j);
            cr_assert_eq(c[i * 16 + j], (float)sum, "%u,%u: %f", i, j, (double)c[i * 16 + j]);
        }
    soft_close(s);
}

Test(soft_mma, wmma_multiplies_bytes)
{
    struct soft *s = soft_open(ptx, 1);
    int8_t *a = soft_alloc(s, 256), *b = soft_alloc(s, 256);
    int32_t *c = soft_alloc(s, 1024);
    unsigned i, j, k;

    for (i = 0; i < 16; i++)
        for (j = 0; j < 16; j++) {
            a[i * 16 + j] = (int8_t)(value(i, j) * 15);
            b[j * 16 + i] = (int8_t)(value(i + 1, j) * 16);
            c[i * 16 + j] = (int32_t)(i - j);
        }
    cr_assert_eq(soft_launch(s, "s8", (struct soft_shape){.grid = 1, .block = 32},
                             SOFT_ARGS(SOFT_PTR(a), SOFT_PTR(b), SOFT_PTR(c))),
                 CUDA_SUCCESS, "%s", s->fault.what);
    for (i = 0; i < 16; i++)
        for (j = 0; j < 16; j++) {
            int sum = (int)(i - j);

            for (k = 0; k < 16; k++)
                sum += (int8_t)(value(i, k) * 15) * (int8_t)(value(k + 1, j) * 16);
            cr_assert_eq(c[i * 16 + j], sum);
        }
    soft_close(s);
}

/* Integers of a few bits are exact in every format. */
static uint32_t
float_bits(int v)
{
    float f = (float)v;
    uint32_t u;

    memcpy(&u, &f, sizeof(u));
    return u;
}

static void
check_floats(const float *c, unsigned depth)
{
    unsigned i, j, k;

    for (i = 0; i < 16; i++)
        for (j = 0; j < 16; j++) {
            int sum = (int)(100 * i + j);

            for (k = 0; k < depth; k++)
                sum += value(i, k) * value(k + 3, j);
            cr_assert_eq(c[i * 16 + j], (float)sum, "%u,%u: %f", i, j, (double)c[i * 16 + j]);
        }
}

Test(soft_mma, wmma_multiplies_bf16_and_tf32)
{
    static const char *const kernels[] = {"bf16", "tf32"};
    unsigned kind, i, j;

    for (kind = 0; kind < 2; kind++) {
        struct soft *s = soft_open(ptx, 1);
        unsigned depth = kind == 0 ? 16 : 8;
        void *a = soft_alloc(s, 512), *b = soft_alloc(s, 512);
        float *c = soft_alloc(s, 1024);

        for (i = 0; i < 16; i++)
            for (j = 0; j < 16; j++)
                c[i * 16 + j] = (float)(100 * i + j);
        for (i = 0; i < 16; i++)
            for (j = 0; j < depth; j++) {
                uint32_t va = float_bits(value(i, j)), vb = float_bits(value(j + 3, i));

                if (kind == 0) {
                    ((uint16_t *)a)[i * 16 + j] = (uint16_t)(va >> 16);
                    ((uint16_t *)b)[i * 16 + j] = (uint16_t)(vb >> 16);
                } else {
                    ((uint32_t *)a)[i * 8 + j] = va;
                    ((uint32_t *)b)[i * 8 + j] = vb;
                }
            }
        cr_assert_eq(soft_launch(s, kernels[kind], (struct soft_shape){.grid = 1, .block = 32},
                                 SOFT_ARGS(SOFT_PTR(a), SOFT_PTR(b), SOFT_PTR(c))),
                     CUDA_SUCCESS, "%s", s->fault.what);
        check_floats(c, depth);
        soft_close(s);
    }
}

Test(soft_mma, wmma_multiplies_unsigned_bytes_in_shared_memory)
{
    struct soft *s = soft_open(ptx, 1);
    uint8_t *a = soft_alloc(s, 256), *b = soft_alloc(s, 256);
    int32_t *c = soft_alloc(s, 1024);
    unsigned i, j, k;

    for (i = 0; i < 16; i++)
        for (j = 0; j < 16; j++) {
            a[i * 16 + j] = (uint8_t)(value(i, j) * 15);
            b[j * 16 + i] = (uint8_t)(value(i + 1, j) * 16);
            c[i * 16 + j] = (int32_t)(i - j);
        }
    cr_assert_eq(soft_launch(s, "u8", (struct soft_shape){.grid = 1, .block = 32},
                             SOFT_ARGS(SOFT_PTR(a), SOFT_PTR(b), SOFT_PTR(c))),
                 CUDA_SUCCESS, "%s", s->fault.what);
    for (i = 0; i < 16; i++)
        for (j = 0; j < 16; j++) {
            int sum = (int)(i - j);

            for (k = 0; k < 16; k++)
                sum += (uint8_t)(value(i, k) * 15) * (uint8_t)(value(k + 1, j) * 16);
            cr_assert_eq(c[i * 16 + j], sum);
        }
    soft_close(s);
}

Test(soft_mma, wmma_multiplies_doubles_in_both_layouts)
{
    struct soft *s = soft_open(ptx, 1);
    double *a = soft_alloc(s, 256), *b = soft_alloc(s, 256), *c = soft_alloc(s, 512);
    unsigned i, j, k;

    for (i = 0; i < 8; i++)
        for (j = 0; j < 4; j++) {
            a[i * 4 + j] = value(i, j) * 0.125;
            b[j * 8 + i] = value(j, i + 5) * 0.5;
        }
    for (i = 0; i < 64; i++)
        c[i] = i;
    cr_assert_eq(soft_launch(s, "f64", (struct soft_shape){.grid = 1, .block = 32},
                             SOFT_ARGS(SOFT_PTR(a), SOFT_PTR(b), SOFT_PTR(c))),
                 CUDA_SUCCESS, "%s", s->fault.what);
    for (i = 0; i < 8; i++)
        for (j = 0; j < 8; j++) {
            double sum = j * 8 + i;

            for (k = 0; k < 4; k++)
                sum += value(i, k) * 0.125 * (value(k, j + 5) * 0.5);
            cr_assert_eq(c[j * 8 + i], sum);
        }
    soft_close(s);
}

Test(soft_mma, ldmatrix_feeds_mma_sync)
{
    struct soft *s = soft_open(ptx, 1);
    uint16_t *a = soft_alloc(s, 512), *b = soft_alloc(s, 256);
    float *c = soft_alloc(s, 512);
    unsigned i, j, k;

    for (i = 0; i < 16; i++) {
        for (k = 0; k < 16; k++)
            a[i * 16 + k] = half_of(value(i, k));
        for (j = 0; j < 8; j++)
            b[i * 8 + j] = half_of(value(i, j + 9)); /* row i is k = i */
    }
    cr_assert_eq(soft_launch(s, "gemm", (struct soft_shape){.grid = 1, .block = 32},
                             SOFT_ARGS(SOFT_PTR(a), SOFT_PTR(b), SOFT_PTR(c))),
                 CUDA_SUCCESS, "%s", s->fault.what);
    for (i = 0; i < 16; i++)
        for (j = 0; j < 8; j++) {
            int sum = 0;

            for (k = 0; k < 16; k++)
                sum += value(i, k) * value(k, j + 9);
            cr_assert_eq(c[i * 8 + j], (float)sum, "%u,%u: %f not %d", i, j,
                         (double)c[i * 8 + j], sum);
        }
    soft_close(s);
}
