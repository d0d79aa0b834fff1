/* tests/unit/soft/test_cluster.c -- blocks of a cluster: ranks, barrier, each other's shared memory
 */
#include "tests/unit/soft/soft_test.h"

#include <stdio.h>
#include <string.h>

#undef PTX_HEAD
#define PTX_HEAD ".version 8.0\n.target sm_90\n.address_size 64\n"

/* out[4 * rank-in-grid ...] = clusterid, ctarank, nctarank, nclusterid; as a cluster of 2 x 2. */
Test(soft_cluster, blocks_know_their_place)
{
    static const char ptx[] = PTX_HEAD
        ".visible .entry k(.param .u64 out) {\n"
        "  .reg .pred %p<2>; .reg .b32 %r<20>; .reg .b64 %rd<4>;\n"
        "  ld.param.u64 %rd1, [out]; mov.u32 %r1, %ctaid.x; mov.u32 %r2, %ctaid.y;\n"
        "  mov.u32 %r3, %nctaid.x; mad.lo.u32 %r4, %r2, %r3, %r1; mul.wide.u32 %rd2, %r4, 16;\n"
        "  add.u64 %rd3, %rd1, %rd2; mov.u32 %r5, %clusterid.x; mov.u32 %r6, %clusterid.y;\n"
        "  mad.lo.u32 %r5, %r6, 100, %r5; mov.u32 %r7, %cluster_ctarank;\n"
        "  mov.u32 %r8, %cluster_nctarank; mov.u32 %r9, %nclusterid.x; mov.u32 %r10, "
        "%nclusterid.y;\n"
        "  mad.lo.u32 %r9, %r10, 100, %r9; mov.u32 %r11, %cluster_ctaid.x;\n"
        "  mov.u32 %r12, %cluster_ctaid.y; mad.lo.u32 %r11, %r12, 2, %r11;\n"
        "  setp.ne.u32 %p1, %r11, %r7; @%p1 trap; mov.pred %p1, %is_explicit_cluster;\n"
        "  @!%p1 trap;\n"
        "  st.global.v4.u32 [%rd3], {%r5, %r7, %r8, %r9}; ret; }\n";
    struct soft *s = soft_open(ptx, 2);
    uint32_t *out = soft_alloc(s, 6 * 4 * 16);

    cr_assert_eq(soft_launch(s, "k",
                             (struct soft_shape){
                                 .grid = 6, .grid_y = 4, .block = 1, .cluster = 2, .cluster_y = 2},
                             SOFT_ARGS(SOFT_PTR(out))),
                 CUDA_SUCCESS, "%s", s->fault.what);
    for (uint32_t y = 0; y < 4; y++)
        for (uint32_t x = 0; x < 6; x++) {
            const uint32_t *o = out + 4 * (y * 6 + x);

            cr_assert_eq(o[0], y / 2 * 100 + x / 2);
            cr_assert_eq(o[1], y % 2 * 2 + x % 2);
            cr_assert_eq(o[2], 4);
            cr_assert_eq(o[3], 203);
        }
    soft_close(s);
}

/* Each thread adds what its neighbour block holds, a hundred rounds of write, barrier, read. */
#define ROUNDS                                                                                     \
    ".visible .entry k(.param .u64 out) {\n"                                                       \
    "  .shared .align 4 .b8 s[256]; .reg .pred %p<4>; .reg .b32 %r<30>; .reg .b64 %rd<8>;\n"       \
    "  ld.param.u64 %rd1, [out]; mov.u32 %r1, %tid.x; mov.u32 %r2, %cluster_ctarank;\n"            \
    "  mov.u32 %r3, %cluster_nctarank; shl.b32 %r4, %r1, 2; mov.u32 %r5, s; add.u32 %r6, %r5, "    \
    "%r4;\n"                                                                                       \
    "  add.u32 %r7, %r2, 1; rem.u32 %r8, %r7, %r3; mapa.shared::cluster.u32 %r9, %r6, %r8;\n"      \
    "  mov.u32 %r10, 0; mad.lo.u32 %r11, %r2, 1000, %r1;\n"                                        \
    "ROUND: st.shared.u32 [%r6], %r11; barrier.cluster.arrive.release; barrier.cluster.wait;\n"    \
    "  ld.shared::cluster.u32 %r12, [%r9]; add.u32 %r11, %r12, 1;\n"                               \
    "  barrier.cluster.arrive.aligned; barrier.cluster.wait.acquire.aligned;\n"                    \
    "  add.u32 %r10, %r10, 1; setp.lt.u32 %p1, %r10, 100; @%p1 bra ROUND;\n"                       \
    "  mov.u32 %r13, %ctaid.x; mad.lo.u32 %r14, %r13, 64, %r1; mul.wide.u32 %rd2, %r14, 4;\n"      \
    "  add.u64 %rd3, %rd1, %rd2; st.global.u32 [%rd3], %r11; ret; }\n"

Test(soft_cluster, rounds_of_the_barrier_pass_values_round_the_blocks)
{
    for (unsigned threads = 1; threads <= 2; threads++) {
        struct soft *s = soft_open(PTX_HEAD ROUNDS, threads);
        uint32_t *out = soft_alloc(s, 48 * 64 * 4);

        for (uint32_t size = 1; size <= 16; size *= 2) {
            cr_assert_eq(soft_launch(s, "k",
                                     (struct soft_shape){.grid = 48, .block = 64, .cluster = size},
                                     SOFT_ARGS(SOFT_PTR(out))),
                         CUDA_SUCCESS, "%s", s->fault.what);
            for (uint32_t i = 0; i < 48 * 64; i++)
                cr_assert_eq(out[i], (i / 64 + 100) % size * 1000 + i % 64 + 100, "%u of %u: %u", i,
                             size, out[i]);
        }
        soft_close(s);
    }
}

/* The same addresses in generic form, atomics on them, and what the address questions say. */
Test(soft_cluster, generic_addresses_and_atomics_reach_other_blocks)
{
    static const char ptx[] = PTX_HEAD
        ".visible .entry k(.param .u64 out) {\n"
        "  .shared .align 8 .b8 s[16]; .reg .pred %p<6>; .reg .b32 %r<30>; .reg .b64 %rd<16>;\n"
        "  ld.param.u64 %rd1, [out]; mov.u64 %rd2, s; cvta.shared.u64 %rd3, %rd2;\n"
        "  mov.u32 %r1, %cluster_ctarank; mov.u32 %r2, %tid.x; mov.u32 %r20, 0;\n"
        "  mov.u32 %r3, s; st.shared.v2.u32 [%r3], {%r20, %r20};\n"
        "  barrier.cluster.arrive; barrier.cluster.wait;\n"
        "  mapa.u64 %rd4, %rd3, 0; atom.add.u32 %r4, [%rd4], 1;\n" /* generic */
        "  mapa.shared::cluster.u32 %r5, %r3, 0;\n"
        "  atom.shared::cluster.add.u32 %r6, [%r5+4], %r1;\n"
        "  red.shared::cluster.add.u32 [%r5+4], 1;\n"
        "  isspacep.shared::cluster %p1, %rd4; @!%p1 trap;\n"
        "  isspacep.shared %p2, %rd4; setp.eq.u32 %p3, %r1, 0; xor.pred %p4, %p2, %p3; @%p4 trap;\n"
        "  isspacep.shared::cta %p2, %rd3; @!%p2 trap; isspacep.global %p2, %rd4; @%p2 trap;\n"
        "  isspacep.shared::cluster %p1, %rd1; @%p1 trap;\n"
        "  getctarank.u64 %r7, %rd4; setp.ne.u32 %p5, %r7, 0; @%p5 trap;\n"
        "  getctarank.shared::cluster.u32 %r7, %r3; setp.ne.u32 %p5, %r7, %r1; @%p5 trap;\n"
        "  getctarank.u64 %r7, %rd3; setp.ne.u32 %p5, %r7, %r1; @%p5 trap;\n"
        "  cvta.to.shared::cluster.u64 %rd5, %rd4; cvt.u32.u64 %r8, %rd5;\n"
        "  setp.ne.u32 %p5, %r8, %r5; @%p5 trap;\n"
        "  barrier.cluster.arrive; barrier.cluster.wait;\n"
        "  ld.u32 %r9, [%rd4]; ld.u32 %r10, [%rd4+4];\n"
        "  barrier.cluster.arrive; barrier.cluster.wait;\n"
        "  mov.u32 %r11, %ctaid.x; mad.lo.u32 %r12, %r11, 64, %r2; mul.wide.u32 %rd6, %r12, 8;\n"
        "  add.u64 %rd7, %rd1, %rd6; st.global.v2.u32 [%rd7], {%r9, %r10}; ret; }\n";
    struct soft *s = soft_open(ptx, 2);
    uint32_t *out = soft_alloc(s, 16 * 64 * 8);

    cr_assert_eq(soft_launch(s, "k", (struct soft_shape){.grid = 16, .block = 64, .cluster = 4},
                             SOFT_ARGS(SOFT_PTR(out))),
                 CUDA_SUCCESS, "%s line %u", s->fault.what, s->fault.ptx_line);
    for (uint32_t i = 0; i < 16 * 64; i++) {
        cr_assert_eq(out[2 * i], 4 * 64);
        cr_assert_eq(out[2 * i + 1], 64 * (1 + 2 + 3) + 4 * 64);
    }
    soft_close(s);
}

/* Block 0 waits at its mbarrier for what the others send: st.async, red.async, copies, an arrival.
 */
Test(soft_cluster, bytes_and_arrivals_complete_the_barrier_of_another_block)
{
    static const char ptx[] = PTX_HEAD
        ".visible .entry k(.param .u64 out) {\n"
        "  .shared .align 16 .b8 s[128]; .shared .align 8 .b64 bar; .reg .pred %p<6>;\n"
        "  .reg .b32 %r<30>; .reg .b64 %rd<16>;\n"
        "  ld.param.u64 %rd1, [out]; mov.u32 %r1, %cluster_ctarank;\n"
        "  mov.u32 %r2, s; mov.u32 %r3, bar; mov.u32 %r4, 5; mov.u32 %r20, 0;\n"
        "  st.shared.v2.u32 [%r2+64], {%r4, %r4}; st.shared.v4.u32 [%r2+80], {%r20, %r4, %r20, "
        "%r20};\n"
        "  mbarrier.init.shared.b64 [%r3], 2; fence.mbarrier_init.release.cluster;\n"
        "  barrier.cluster.arrive; barrier.cluster.wait;\n"
        "  mapa.shared::cluster.u32 %r5, %r2, 0; mapa.shared::cluster.u32 %r6, %r3, 0;\n"
        "  setp.eq.u32 %p2, %r1, 1; @%p2 bra ONE; setp.eq.u32 %p2, %r1, 2; @%p2 bra TWO;\n"
        "  setp.eq.u32 %p2, %r1, 3; @%p2 bra THREE;\n"
        "  mbarrier.arrive.expect_tx.shared.b64 _, [%r3], 56;\n"
        "W: mbarrier.try_wait.parity.acquire.cluster.shared::cta.b64 %p1, [%r3], 0; @!%p1 bra W;\n"
        "  ld.shared.v4.u32 {%r10, %r11, %r12, %r13}, [%r2];\n"
        "  st.global.v4.u32 [%rd1], {%r10, %r11, %r12, %r13};\n"
        "  ld.shared.v4.u32 {%r10, %r11, %r12, %r13}, [%r2+32];\n"
        "  st.global.v4.u32 [%rd1+16], {%r10, %r11, %r12, %r13};\n"
        "  ld.shared.v2.u32 {%r10, %r11}, [%r2+64]; st.global.v2.u32 [%rd1+32], {%r10, %r11};\n"
        "  ld.shared.v2.u64 {%rd7, %rd8}, [%r2+80]; st.global.v2.u64 [%rd1+48], {%rd7, %rd8};\n"
        "  bra END;\n"
        "ONE: mov.u32 %r14, 11; mov.u32 %r15, 22;\n"
        "  st.async.weak.shared::cluster.mbarrier::complete_tx::bytes.v2.b32 [%r5], {%r14, %r15}, "
        "[%r6];\n"
        "  red.async.relaxed.cluster.shared::cluster.mbarrier::complete_tx::bytes.add.u32 "
        "[%r5+64], "
        "%r14, [%r6];\n"
        "  red.async.relaxed.cluster.shared::cluster.mbarrier::complete_tx::bytes.max.s32 "
        "[%r5+68], "
        "%r15, [%r6];\n"
        "  bra END;\n"
        "TWO: mov.u64 %rd5, 0x4400000033; mov.u64 %rd6, 0x6600000055;\n"
        "  st.shared.v2.u64 [%r2], {%rd5, %rd6}; fence.proxy.async.shared::cta;\n"
        "  add.u32 %r16, %r5, 32;\n"
        "  cp.async.bulk.shared::cluster.shared::cta.mbarrier::complete_tx::bytes [%r16], [%r2], "
        "16, "
        "[%r6];\n"
        "  mov.u32 %r17, 33; mov.u32 %r18, 44;\n"
        "  st.async.shared::cluster.mbarrier::complete_tx::bytes.u32 [%r5+8], %r17, [%r6];\n"
        "  st.async.shared::cluster.mbarrier::complete_tx::bytes.u32 [%r5+12], %r18, [%r6];\n"
        "  bra END;\n"
        "THREE: mov.u64 %rd5, 7; mov.u64 %rd6, 9; st.shared.v2.u64 [%r2], {%rd5, %rd6};\n"
        "  cp.reduce.async.bulk.shared::cluster.shared::cta.mbarrier::complete_tx::bytes.add.u64 "
        "[%r5+80], [%r2], 16, [%r6];\n"
        "  mbarrier.arrive.release.cluster.shared::cluster.b64 _, [%r6];\n"
        "END: barrier.cluster.arrive; barrier.cluster.wait; ret; }\n";
    static const uint32_t want[] = {11, 22, 33, 44, 0x33, 0x44, 0x55, 0x66,
                                    16, 22, 0,  0,  7,    5,    9,    0};
    struct soft *s = soft_open(ptx, 1);
    uint32_t *out = soft_alloc(s, 64);

    cr_assert_eq(soft_launch(s, "k", (struct soft_shape){.grid = 4, .block = 1, .cluster = 4},
                             SOFT_ARGS(SOFT_PTR(out))),
                 CUDA_SUCCESS, "%s line %u", s->fault.what, s->fault.ptx_line);
    for (unsigned i = 0; i < GP_ARRAY_LEN(want); i++)
        cr_assert_eq(out[i], want[i], "%u: %u", i, out[i]);
    soft_close(s);
}

/* One copy to two of three blocks; each completes its own barrier. */
Test(soft_cluster, a_multicast_reaches_the_blocks_of_its_mask)
{
    static const char ptx[] = PTX_HEAD
        ".visible .entry k(.param .u64 out, .param .u64 in) {\n"
        "  .shared .align 16 .b8 s[32]; .shared .align 8 .b64 bar; .reg .pred %p<6>;\n"
        "  .reg .b32 %r<30>; .reg .b64 %rd<16>; .reg .b16 %rs<2>;\n"
        "  ld.param.u64 %rd1, [out]; ld.param.u64 %rd2, [in]; mov.u32 %r1, %cluster_ctarank;\n"
        "  mov.u32 %r2, s; mov.u32 %r3, bar; mov.u64 %rd3, 0; st.shared.v2.u64 [%r2+16], {%rd3, "
        "%rd3};\n"
        "  mbarrier.init.shared.b64 [%r3], 1; fence.mbarrier_init.release.cluster;\n"
        "  mbarrier.arrive.expect_tx.shared.b64 _, [%r3], 16;\n"
        "  barrier.cluster.arrive; barrier.cluster.wait; setp.ne.u32 %p1, %r1, 1; @%p1 bra TO;\n"
        "  mov.u16 %rs1, 5;\n"
        "  cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes.multicast::cluster "
        "[%r2+16], [%rd2], 16, [%r3], %rs1;\n"
        "  bra STORE;\n"
        "TO: mbarrier.try_wait.parity.shared.b64 %p2, [%r3], 0; @!%p2 bra TO;\n"
        "STORE: ld.shared.v2.u64 {%rd4, %rd5}, [%r2+16]; mul.wide.u32 %rd6, %r1, 16;\n"
        "  add.u64 %rd7, %rd1, %rd6; st.global.v2.u64 [%rd7], {%rd4, %rd5};\n"
        "  barrier.cluster.arrive; barrier.cluster.wait; ret; }\n";
    struct soft *s = soft_open(ptx, 1);
    uint64_t *out = soft_alloc(s, 48), *in = soft_alloc(s, 16);

    in[0] = 0x1122334455667788;
    in[1] = 0x99aabbccddeeff00;
    cr_assert_eq(soft_launch(s, "k", (struct soft_shape){.grid = 3, .block = 1, .cluster = 3},
                             SOFT_ARGS(SOFT_PTR(out), SOFT_PTR(in))),
                 CUDA_SUCCESS, "%s line %u", s->fault.what, s->fault.ptx_line);
    for (unsigned i = 0; i < 6; i++)
        cr_assert_eq(out[i], i / 2 == 1 ? 0 : in[i % 2], "%u: %lx", i, (unsigned long)out[i]);
    soft_close(s);
}

/* Reductions from shared to global memory, of two types. */
Test(soft_cluster, a_bulk_copy_may_add)
{
    static const char ptx[] = PTX_HEAD
        ".visible .entry k(.param .u64 out) {\n"
        "  .shared .align 16 .b8 s[32]; .reg .b32 %r<9>; .reg .b64 %rd<3>;\n"
        "  ld.param.u64 %rd1, [out]; mov.u32 %r1, s; mov.u32 %r2, 0x40000000; mov.u32 %r3, 3;\n"
        "  st.shared.v4.u32 [%r1], {%r2, %r2, %r2, %r2};\n"
        "  st.shared.v4.u32 [%r1+16], {%r3, %r3, %r3, %r3};\n"
        "  cp.reduce.async.bulk.global.shared::cta.bulk_group.add.f32 [%rd1], [%r1], 16;\n"
        "  cp.reduce.async.bulk.global.shared::cta.bulk_group.or.b32 [%rd1+16], [%r1+16], 16;\n"
        "  cp.async.bulk.prefetch.L2.global [%rd1], 16;\n"
        "  cp.async.bulk.commit_group; cp.async.bulk.wait_group 0; ret; }\n";
    struct soft *s = soft_open(ptx, 1);
    union {
        float f[8];
        uint32_t u[8];
    } *out = soft_alloc(s, 32);

    for (unsigned i = 0; i < 4; i++) {
        out->f[i] = (float)i;
        out->u[i + 4] = i * 4;
    }
    cr_assert_eq(
        soft_launch(s, "k", (struct soft_shape){.grid = 1, .block = 1}, SOFT_ARGS(SOFT_PTR(out))),
        CUDA_SUCCESS, "%s line %u", s->fault.what, s->fault.ptx_line);
    for (unsigned i = 0; i < 4; i++) {
        cr_assert_eq(out->f[i], (float)i + 2);
        cr_assert_eq(out->u[i + 4], i * 4 + 3);
    }
    soft_close(s);
}

/* Threads that end count as arrived: half of each block leaves, one block altogether. */
Test(soft_cluster, the_barrier_waits_for_no_ended_thread)
{
    static const char ptx[] = PTX_HEAD
        ".visible .entry k(.param .u64 out) {\n"
        "  .reg .pred %p<3>; .reg .b32 %r<9>; .reg .b64 %rd<3>;\n"
        "  ld.param.u64 %rd1, [out]; mov.u32 %r1, %cluster_ctarank; setp.eq.u32 %p1, %r1, 2;\n"
        "  @%p1 exit; mov.u32 %r2, %tid.x; and.b32 %r3, %r2, 1; setp.ne.u32 %p2, %r3, 0;\n"
        "  barrier.cluster.arrive; @%p2 exit; barrier.cluster.wait;\n"
        "  barrier.cluster.arrive; barrier.cluster.wait; red.global.add.u32 [%rd1], 1; ret; }\n";
    struct soft *s = soft_open(ptx, 2);
    uint32_t *out = soft_alloc(s, 4);

    cr_assert_eq(soft_launch(s, "k", (struct soft_shape){.grid = 12, .block = 96, .cluster = 4},
                             SOFT_ARGS(SOFT_PTR(out))),
                 CUDA_SUCCESS, "%s", s->fault.what);
    cr_assert_eq(out[0], 9 * 48);
    soft_close(s);
}

/* A cluster whose blocks wait for each other in memory, and more of them than can be alive at once.
 */
Test(soft_cluster, blocks_of_a_cluster_are_alive_together)
{
    static const char ptx[] = PTX_HEAD
        ".visible .entry k(.param .u64 out) {\n"
        "  .shared .align 4 .b32 flag; .reg .pred %p<3>; .reg .b32 %r<9>; .reg .b64 %rd<3>;\n"
        "  ld.param.u64 %rd1, [out]; mov.u32 %r1, %cluster_ctarank; mov.u32 %r2, 0;\n"
        "  st.shared.u32 [flag], %r2; barrier.cluster.arrive; barrier.cluster.wait;\n"
        "  mov.u32 %r3, flag; mapa.shared::cluster.u32 %r4, %r3, 15;\n"
        "W: ld.acquire.cluster.shared::cluster.u32 %r5, [%r4]; setp.ne.u32 %p1, %r5, %r1; @%p1 bra "
        "W;\n"
        "  add.u32 %r6, %r1, 1; st.release.cluster.shared::cluster.u32 [%r4], %r6;\n"
        "  barrier.cluster.arrive; barrier.cluster.wait; red.global.add.u32 [%rd1], 1; ret; }\n";
    struct soft *s = soft_open(ptx, 2);
    uint32_t *out = soft_alloc(s, 4);

    cr_assert_eq(soft_launch(s, "k", (struct soft_shape){.grid = 160, .block = 1, .cluster = 16},
                             SOFT_ARGS(SOFT_PTR(out))),
                 CUDA_SUCCESS, "%s", s->fault.what);
    cr_assert_eq(out[0], 160);
    soft_close(s);
}

/* body runs in both blocks of a cluster; %r1 is the rank, %r2 a shared address, %r3 that in the
 * other */
static CUresult
fault_of(const char *body, struct sd_fault *fault)
{
    char ptx[2048];
    struct soft *s;
    CUresult cr;

    snprintf(
        ptx, sizeof(ptx),
        "%s.visible .entry k() {\n"
        "  .shared .align 4 .b8 s[16]; .reg .pred %%p<3>; .reg .b32 %%r<9>; .reg .b64 %%rd<3>;\n"
        "  mov.u32 %%r1, %%cluster_ctarank; xor.b32 %%r4, %%r1, 1; mov.u32 %%r2, s;\n"
        "  mapa.shared::cluster.u32 %%r3, %%r2, %%r4; setp.eq.u32 %%p1, %%r1, 0;\n%s\n"
        "  barrier.cluster.arrive; barrier.cluster.wait; ret; }\n",
        PTX_HEAD, body);
    s = soft_open(ptx, 1);
    cr = soft_launch(s, "k", (struct soft_shape){.grid = 2, .block = 32, .cluster = 2},
                     SOFT_ARGS(0));
    *fault = s->fault;
    soft_close(s);
    return cr;
}

Test(soft_cluster, only_what_there_is_can_be_reached)
{
    static const struct {
        const char *body;
        CUresult cr;
        const char *what;
    } cases[] = {
        {"ld.shared::cluster.u32 %r5, [%r3+12];", CUDA_SUCCESS, ""},
        {"mapa.shared::cluster.u32 %r3, %r2, %r1; ld.shared.u32 %r5, [%r3];", CUDA_SUCCESS, ""},
        {"ld.shared::cluster.u32 %r5, [%r3+16];", CUDA_ERROR_ILLEGAL_ADDRESS, "outside of shared"},
        {"st.shared::cluster.u32 [%r3-4], %r5;", CUDA_ERROR_ILLEGAL_ADDRESS, "outside of shared"},
        {"ld.shared.u32 %r5, [%r3];", CUDA_ERROR_ILLEGAL_ADDRESS, "outside of shared"},
        {"atom.shared::cta.add.u32 %r5, [%r3], 1;", CUDA_ERROR_ILLEGAL_ADDRESS, ""},
        {"st.shared::cluster.u32 [%r3+2], %r5;", CUDA_ERROR_MISALIGNED_ADDRESS, ""},
        {"mapa.shared::cluster.u32 %r3, %r2, 2; ld.shared::cluster.u32 %r5, [%r3];",
         CUDA_ERROR_ILLEGAL_ADDRESS, ""},
        {"mapa.shared::cluster.u32 %r3, %r2, -1; ld.shared::cluster.u32 %r5, [%r3];",
         CUDA_ERROR_ILLEGAL_ADDRESS, ""},
        {"add.u32 %r3, %r2, 0x03000000; ld.shared::cluster.u32 %r5, [%r3];",
         CUDA_ERROR_ILLEGAL_ADDRESS, "block that the cluster does not have"},
        {"cvt.u64.u32 %rd1, %r3; cvta.shared::cluster.u64 %rd2, %rd1; ld.u32 %r5, [%rd2+16];",
         CUDA_ERROR_ILLEGAL_ADDRESS, ""},
        {"@%p1 exit; ld.shared::cluster.u32 %r5, [%r3];", CUDA_ERROR_ILLEGAL_ADDRESS,
         "block that has ended"},
        {"@%p1 bra A; barrier.cluster.arrive; barrier.cluster.wait; ret; A: bar.sync 1, 64;",
         CUDA_ERROR_LAUNCH_FAILED, "deadlock"},
    };

    for (unsigned i = 0; i < GP_ARRAY_LEN(cases); i++) {
        struct sd_fault fault;

        cr_assert_eq(fault_of(cases[i].body, &fault), cases[i].cr, "%s: %s", cases[i].body,
                     fault.what);
        cr_assert_not_null(strstr(fault.what, cases[i].what), "%s: %s", cases[i].body, fault.what);
    }
}
