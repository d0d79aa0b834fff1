/* tests/unit/soft/test_sync.c -- threads that wait for each other */
#include "tests/unit/soft/soft_test.h"

#include <stdio.h>
#include <string.h>

#define LOCKS_PTX PTX_HEAD                                                                         \
    ".visible .entry count(.param .u64 lock, .param .u64 counter) {\n"                             \
    "  .reg .pred %p<2>; .reg .b32 %r<4>; .reg .b64 %rd<3>;\n"                                     \
    "  ld.param.u64 %rd1, [lock]; ld.param.u64 %rd2, [counter];\n"                                 \
    "SPIN: atom.global.cas.b32 %r1, [%rd1], 0, 1; setp.ne.u32 %p1, %r1, 0; @%p1 bra SPIN;\n"       \
    "  membar.gl; ld.volatile.global.u32 %r2, [%rd2]; add.u32 %r3, %r2, 1;\n"                      \
    "  st.volatile.global.u32 [%rd2], %r3; membar.gl; atom.global.exch.b32 %r1, [%rd1], 0; ret; }\n"

Test(soft_sync, spin_locks_between_threads_of_a_warp_and_blocks_make_progress)
{
    unsigned threads;

    for (threads = 1; threads <= 2; threads++) {
        struct soft *s = soft_open(LOCKS_PTX, threads);
        uint32_t *mem = soft_alloc(s, 8);

        cr_assert_eq(soft_launch(s, "count", (struct soft_shape){.grid = 4, .block = 64},
                                 SOFT_ARGS(SOFT_PTR(mem), SOFT_PTR(mem + 1))),
                     CUDA_SUCCESS, "%s", s->fault.what);
        cr_assert_eq(mem[1], 4 * 64);
        soft_close(s);
    }
}

/* Lanes that wait keep what they have while others compute, in registers of one block too. */
Test(soft_sync, lanes_that_wait_keep_their_registers)
{
    static const char ptx[] = PTX_HEAD
        ".visible .entry k(.param .u64 out) {\n"
        "  .reg .pred %p<3>; .reg .b32 %r<32>; .reg .b64 %rd<4>;\n"
        "  ld.param.u64 %rd1, [out]; mov.u32 %r1, %tid.x; and.b32 %r9, %r1, 1;\n"
        "  setp.ne.u32 %p1, %r9, 0; @%p1 bra ODD;\n"
        "  mul.lo.u32 %r2, %r1, 5; add.u32 %r3, %r2, 1; shl.b32 %r4, %r3, 2;\n"
        "  bar.warp.sync 0xffffffff;\n"
        "  add.u32 %r5, %r2, %r3; add.u32 %r20, %r5, %r4; bra STORE;\n"
        "ODD: mov.u32 %r10, %r1; mov.u32 %r11, 0;\n"
        "LOOP: mul.lo.u32 %r12, %r10, 3; add.u32 %r13, %r12, 7; xor.b32 %r14, %r13, %r12;\n"
        "  shr.u32 %r15, %r14, 1; add.u32 %r16, %r15, %r13; and.b32 %r10, %r16, 1023;\n"
        "  add.u32 %r11, %r11, 1; setp.lt.u32 %p2, %r11, %r1; @%p2 bra LOOP;\n"
        "  mul.lo.u32 %r17, %r10, 9; add.u32 %r18, %r17, 3; bar.warp.sync 0xffffffff;\n"
        "  add.u32 %r20, %r17, %r18;\n"
        "STORE: mul.wide.u32 %rd2, %r1, 4; add.u64 %rd3, %rd1, %rd2;\n"
        "  st.global.u32 [%rd3], %r20; ret; }\n";
    struct soft *s = soft_open(ptx, 1);
    uint32_t *out = soft_alloc(s, 32 * 4);

    cr_assert_eq(soft_launch(s, "k", (struct soft_shape){.grid = 1, .block = 32},
                             SOFT_ARGS(SOFT_PTR(out))),
                 CUDA_SUCCESS, "%s", s->fault.what);
    for (uint32_t i = 0; i < 32; i++) {
        uint32_t want = i * 5 + (i * 5 + 1) * 5, v = i;

        if (i % 2 != 0) {
            for (uint32_t k = 0; k < i; k++)
                v = ((((v * 3 + 7) ^ v * 3) >> 1) + v * 3 + 7) & 1023;
            want = v * 18 + 3;
        }
        cr_assert_eq(out[i], want, "lane %u: %u, not %u", i, out[i], want);
    }
    soft_close(s);
}

/* Block 0 waits for what the last block gives: also with one thread for all blocks. */
Test(soft_sync, a_block_may_wait_for_a_later_one)
{
    static const char ptx[] = PTX_HEAD
        ".visible .entry k(.param .u64 flag) {\n"
        "  .reg .pred %p<3>; .reg .b32 %r<5>; .reg .b64 %rd<2>;\n"
        "  ld.param.u64 %rd1, [flag]; mov.u32 %r1, %ctaid.x; setp.ne.u32 %p1, %r1, 0;\n"
        "  @%p1 bra GIVE;\n"
        "WAIT: ld.acquire.gpu.global.u32 %r2, [%rd1]; setp.ne.u32 %p2, %r2, 7; @%p2 bra WAIT;\n"
        "  st.global.u32 [%rd1+4], %r2; ret;\n"
        "GIVE: red.release.gpu.global.add.u32 [%rd1], 1; ret; }\n";
    struct soft *s = soft_open(ptx, 1);
    uint32_t *mem = soft_alloc(s, 8);

    cr_assert_eq(soft_launch(s, "k", (struct soft_shape){.grid = 8, .block = 1},
                             SOFT_ARGS(SOFT_PTR(mem))),
                 CUDA_SUCCESS, "%s", s->fault.what);
    cr_assert_eq(mem[1], 7);
    soft_close(s);
}

/* The same where one thread looks and a barrier tells the others. */
Test(soft_sync, a_block_may_wait_for_a_later_one_at_barriers)
{
    static const char ptx[] = PTX_HEAD
        ".visible .entry k(.param .u64 flag) {\n"
        "  .shared .align 4 .b32 seen;\n"
        "  .reg .pred %p<4>; .reg .b32 %r<5>; .reg .b64 %rd<2>;\n"
        "  ld.param.u64 %rd1, [flag]; mov.u32 %r1, %ctaid.x; mov.u32 %r3, %tid.x;\n"
        "  setp.ne.u32 %p1, %r1, 0; setp.ne.u32 %p2, %r3, 0; @%p1 bra GIVE;\n"
        "WAIT: @%p2 bra ASK; ld.acquire.gpu.global.u32 %r2, [%rd1]; st.shared.u32 [seen], %r2;\n"
        "ASK: bar.sync 0; ld.shared.u32 %r2, [seen]; bar.sync 0;\n"
        "  setp.ne.u32 %p3, %r2, 7; @%p3 bra WAIT;\n"
        "  st.global.u32 [%rd1+4], %r2; ret;\n"
        "GIVE: @%p2 ret; red.release.gpu.global.add.u32 [%rd1], 1; ret; }\n";
    struct soft *s = soft_open(ptx, 1);
    uint32_t *mem = soft_alloc(s, 8);

    cr_assert_eq(soft_launch(s, "k", (struct soft_shape){.grid = 8, .block = 64},
                             SOFT_ARGS(SOFT_PTR(mem))),
                 CUDA_SUCCESS, "%s", s->fault.what);
    cr_assert_eq(mem[1], 7);
    soft_close(s);
}

/* What cooperative groups do in grid.sync(), a hundred times. */
Test(soft_sync, all_blocks_of_a_cooperative_grid_meet)
{
    static const char ptx[] = PTX_HEAD
        ".visible .entry k(.param .u64 out) {\n"
        "  .reg .pred %p<5>; .reg .b32 %r<24>; .reg .b64 %rd<9>;\n"
        "  ld.param.u64 %rd1, [out]; mov.u32 %r1, %ctaid.x; mov.u32 %r2, %nctaid.x;\n"
        "  mov.u32 %r3, %envreg2; cvt.u64.u32 %rd2, %r3; mov.u32 %r4, %envreg1;\n"
        "  cvt.u64.u32 %rd3, %r4; bfi.b64 %rd4, %rd3, %rd2, 32, 32; mov.u32 %r20, 0;\n"
        "  mov.u32 %r15, %tid.x;\n"
        "ROUND: mul.wide.u32 %rd5, %r1, 4; add.u64 %rd6, %rd1, %rd5; setp.ne.u32 %p3, %r15, 0;\n"
        "  @%p3 bra SYNC; ld.global.u32 %r5, [%rd6]; add.u32 %r5, %r5, 1;\n"
        "  st.global.u32 [%rd6], %r5;\n"
        "SYNC: barrier.sync 0; @%p3 bra MET; sub.u32 %r6, -2147483647, %r2;\n"
        "  setp.eq.u32 %p1, %r1, 0; selp.b32 %r7, %r6, 1, %p1;\n"
        "  atom.add.release.gpu.u32 %r8, [%rd4+4], %r7;\n"
        "W: ld.acquire.gpu.u32 %r9, [%rd4+4]; xor.b32 %r10, %r9, %r8; setp.gt.s32 %p2, %r10, -1;\n"
        "  @%p2 bra W;\n"
        "MET: barrier.sync 0;\n"
        "  add.u32 %r11, %r1, 1; rem.u32 %r12, %r11, %r2; mul.wide.u32 %rd7, %r12, 4;\n"
        "  add.u64 %rd8, %rd1, %rd7; ld.volatile.global.u32 %r13, [%rd8];\n"
        "  add.u32 %r20, %r20, 1; setp.lt.u32 %p4, %r13, %r20; @%p4 trap;\n"
        "  setp.lt.u32 %p4, %r20, 100; @%p4 bra ROUND; ret; }\n";
    unsigned threads, i;

    for (threads = 1; threads <= 2; threads++) {
        struct soft *s = soft_open(ptx, threads);
        uint32_t *out = soft_alloc(s, 12 * 4);

        cr_assert_eq(soft_launch(s, "k",
                                 (struct soft_shape){.grid = 12, .block = 64, .cooperative = true},
                                 SOFT_ARGS(SOFT_PTR(out))),
                     CUDA_SUCCESS, "%s", s->fault.what);
        for (i = 0; i < 12; i++)
            cr_assert_eq(out[i], 100);
        soft_close(s);
    }
}

/* Two producers fill, two consumers empty: named barriers with counts, arrive and sync. */
Test(soft_sync, named_barriers_pass_data_between_warps)
{
    static const char ptx[] = PTX_HEAD
        ".visible .entry k(.param .u64 out) {\n"
        "  .shared .align 4 .b8 buf[128];\n"
        "  .reg .pred %p<4>; .reg .b32 %r<12>; .reg .b64 %rd<4>;\n"
        "  ld.param.u64 %rd1, [out]; mov.u32 %r1, %tid.x; and.b32 %r2, %r1, 31;\n"
        "  shl.b32 %r3, %r2, 2; mov.u32 %r4, buf; add.u32 %r5, %r4, %r3; mov.u32 %r6, 0;\n"
        "  mov.u32 %r9, 0; setp.ge.u32 %p1, %r1, 32; @%p1 bra CONSUME;\n"
        "PRODUCE: bar.sync 2, 64; mad.lo.u32 %r7, %r6, 100, %r2; st.shared.u32 [%r5], %r7;\n"
        "  bar.arrive 1, 64; add.u32 %r6, %r6, 1; setp.lt.u32 %p2, %r6, 50; @%p2 bra PRODUCE; ret;\n"
        "CONSUME: bar.arrive 2, 64; bar.sync 1, 64; ld.shared.u32 %r8, [%r5];\n"
        "  add.u32 %r9, %r9, %r8; add.u32 %r6, %r6, 1; setp.lt.u32 %p2, %r6, 50;\n"
        "  @%p2 bra CONSUME; mul.wide.u32 %rd2, %r2, 4; add.u64 %rd3, %rd1, %rd2;\n"
        "  st.global.u32 [%rd3], %r9; ret; }\n";
    struct soft *s = soft_open(ptx, 1);
    uint32_t *out = soft_alloc(s, 128);
    unsigned i;

    cr_assert_eq(soft_launch(s, "k", (struct soft_shape){.grid = 1, .block = 64},
                             SOFT_ARGS(SOFT_PTR(out))),
                 CUDA_SUCCESS, "%s", s->fault.what);
    for (i = 0; i < 32; i++)
        cr_assert_eq(out[i], 100 * (49 * 50 / 2) + 50 * i);
    soft_close(s);
}

/* Lanes that come to a shuffle by different ways meet there. */
Test(soft_sync, a_shuffle_waits_for_all_its_members)
{
    static const char ptx[] = PTX_HEAD
        ".visible .entry k(.param .u64 out) {\n"
        "  .reg .pred %p<4>; .reg .b32 %r<12>; .reg .b64 %rd<4>;\n"
        "  ld.param.u64 %rd1, [out]; mov.u32 %r1, %tid.x; and.b32 %r2, %r1, 1; mov.u32 %r3, 7;\n"
        "  setp.eq.u32 %p1, %r2, 0; @%p1 bra EVEN;\n"
        "  mul.lo.u32 %r3, %r1, 10; bra MEET;\n"
        "EVEN: mul.lo.u32 %r3, %r1, 1000; bar.warp.sync 0x55555555;\n"
        "MEET: shfl.sync.bfly.b32 %r4, %r3, 1, 31, -1;\n"
        "  mul.wide.u32 %rd2, %r1, 4; add.u64 %rd3, %rd1, %rd2; st.global.u32 [%rd3], %r4; ret; }\n";
    struct soft *s = soft_open(ptx, 1);
    uint32_t *out = soft_alloc(s, 128);
    unsigned i;

    cr_assert_eq(soft_launch(s, "k", (struct soft_shape){.grid = 1, .block = 32},
                             SOFT_ARGS(SOFT_PTR(out))),
                 CUDA_SUCCESS, "%s", s->fault.what);
    for (i = 0; i < 32; i++)
        cr_assert_eq(out[i], i % 2 ? (i - 1) * 1000 : (i + 1) * 10, "lane %u: %u", i, out[i]);
    soft_close(s);
}

/* __syncwarp() in both ways of a branch: different instructions, one meeting. */
Test(soft_sync, warp_barriers_meet_across_different_instructions)
{
    static const char ptx[] = PTX_HEAD
        ".visible .entry k(.param .u64 out) {\n"
        "  .shared .align 4 .b8 buf[128];\n"
        "  .reg .pred %p<4>; .reg .b32 %r<12>; .reg .b64 %rd<4>;\n"
        "  ld.param.u64 %rd1, [out]; mov.u32 %r1, %tid.x; shl.b32 %r2, %r1, 2; mov.u32 %r3, buf;\n"
        "  add.u32 %r4, %r3, %r2; xor.b32 %r5, %r2, 64; add.u32 %r6, %r3, %r5;\n"
        "  setp.lt.u32 %p1, %r1, 16; @%p1 bra LOW;\n"
        "  st.shared.u32 [%r4], %r1; bar.warp.sync -1; ld.shared.u32 %r7, [%r6]; bra OUT;\n"
        "LOW: add.u32 %r8, %r1, 500; st.shared.u32 [%r4], %r8; bar.warp.sync -1;\n"
        "  ld.shared.u32 %r7, [%r6];\n"
        "OUT: mul.wide.u32 %rd2, %r1, 4; add.u64 %rd3, %rd1, %rd2; st.global.u32 [%rd3], %r7;\n"
        "  ret; }\n";
    struct soft *s = soft_open(ptx, 1);
    uint32_t *out = soft_alloc(s, 128);
    unsigned i;

    cr_assert_eq(soft_launch(s, "k", (struct soft_shape){.grid = 1, .block = 32},
                             SOFT_ARGS(SOFT_PTR(out))),
                 CUDA_SUCCESS, "%s", s->fault.what);
    for (i = 0; i < 32; i++)
        cr_assert_eq(out[i], i < 16 ? i + 16 : i - 16 + 500, "lane %u: %u", i, out[i]);
    soft_close(s);
}

/* A sum in shared memory as it was written before warps could diverge: no barrier in the last
 * warp, each step reads what the step before wrote in other lanes. */
Test(soft_sync, lanes_of_a_warp_step_together_without_a_barrier)
{
    static const char ptx[] = PTX_HEAD
#define STEP(bytes)                                                                                \
    "  ld.volatile.shared.u32 %r5, [%r4]; ld.volatile.shared.u32 %r6, [%r4+" #bytes "];\n"         \
    "  add.u32 %r5, %r5, %r6; st.volatile.shared.u32 [%r4], %r5;\n"
        ".visible .entry k(.param .u64 out) {\n"
        "  .shared .align 4 .b8 s[512];\n"
        "  .reg .pred %p<4>; .reg .b32 %r<12>; .reg .b64 %rd<4>;\n"
        "  ld.param.u64 %rd1, [out]; mov.u32 %r1, %tid.x; shl.b32 %r2, %r1, 2; mov.u32 %r3, s;\n"
        "  add.u32 %r4, %r3, %r2; mul.lo.u32 %r5, %r1, %r1; st.shared.u32 [%r4], %r5;\n"
        "  bar.sync 0; setp.gt.u32 %p1, %r1, 31; @%p1 bra OUT;\n"
        STEP(128) STEP(64) STEP(32) STEP(16) STEP(8) STEP(4)
        "  setp.ne.u32 %p2, %r1, 0; @%p2 bra OUT; ld.shared.u32 %r7, [s];\n"
        "  mov.u32 %r8, %ctaid.x; mul.wide.u32 %rd2, %r8, 4; add.u64 %rd1, %rd1, %rd2;\n"
        "  st.global.u32 [%rd1], %r7;\nOUT: ret; }\n";
#undef STEP
    struct soft *s = soft_open(ptx, 2);
    uint32_t *out = soft_alloc(s, 32), sum = 0;
    unsigned i;

    for (i = 0; i < 64; i++)
        sum += i * i;
    cr_assert_eq(soft_launch(s, "k", (struct soft_shape){.grid = 8, .block = 64},
                             SOFT_ARGS(SOFT_PTR(out))),
                 CUDA_SUCCESS, "%s", s->fault.what);
    for (i = 0; i < 8; i++)
        cr_assert_eq(out[i], sum, "block %u: %u", i, out[i]);
    soft_close(s);
}

/* Block 0 fills a ring of four places, block 1 empties it: 500 numbers, full and empty many times. */
Test(soft_sync, a_ring_carries_numbers_from_block_to_block)
{
    static const char ptx[] = PTX_HEAD
        ".visible .entry k(.param .u64 ring) {\n" /* 0: put, 4: taken, 8: sum, 16 ...: places */
        "  .reg .pred %p<4>; .reg .b32 %r<12>; .reg .b64 %rd<6>;\n"
        "  ld.param.u64 %rd1, [ring]; mov.u32 %r1, %ctaid.x; mov.u32 %r2, 0; mov.u32 %r9, 0;\n"
        "  setp.ne.u32 %p1, %r1, 0; @%p1 bra TAKE;\n"
        "FULL: ld.acquire.gpu.global.u32 %r3, [%rd1+4]; sub.u32 %r4, %r2, %r3;\n"
        "  setp.ge.u32 %p2, %r4, 4; @%p2 bra FULL;\n"
        "  and.b32 %r5, %r2, 3; mul.wide.u32 %rd2, %r5, 4; add.u64 %rd3, %rd1, %rd2;\n"
        "  mul.lo.u32 %r6, %r2, 3; st.global.u32 [%rd3+16], %r6; add.u32 %r2, %r2, 1;\n"
        "  st.release.gpu.global.u32 [%rd1], %r2; setp.lt.u32 %p3, %r2, 500; @%p3 bra FULL; ret;\n"
        "TAKE: ld.volatile.global.u32 %r3, [%rd1]; setp.eq.u32 %p2, %r3, %r2; @%p2 bra TAKE;\n"
        "  membar.gl; and.b32 %r5, %r2, 3; mul.wide.u32 %rd2, %r5, 4; add.u64 %rd3, %rd1, %rd2;\n"
        "  ld.global.u32 %r6, [%rd3+16]; mad.lo.u32 %r9, %r9, 7, %r6; add.u32 %r2, %r2, 1;\n"
        "  membar.gl; st.volatile.global.u32 [%rd1+4], %r2;\n"
        "  setp.lt.u32 %p3, %r2, 500; @%p3 bra TAKE; st.global.u32 [%rd1+8], %r9; ret; }\n";
    unsigned threads, i;

    for (threads = 1; threads <= 2; threads++) {
        struct soft *s = soft_open(ptx, threads);
        uint32_t *ring = soft_alloc(s, 64), sum = 0;

        for (i = 0; i < 500; i++)
            sum = sum * 7 + i * 3;
        cr_assert_eq(soft_launch(s, "k", (struct soft_shape){.grid = 2, .block = 1},
                                 SOFT_ARGS(SOFT_PTR(ring))),
                     CUDA_SUCCESS, "%s", s->fault.what);
        cr_assert_eq(ring[2], sum);
        soft_close(s);
    }
}

/* Quarters of a warp with masks of their own, as a cooperative group's tiles have: one instruction
 * for all of them, and each among its own lanes. */
#define TILE_HEAD                                                                                  \
    ".visible .entry k(.param .u64 out) {\n"                                                       \
    "  .reg .pred %p<9>; .reg .b32 %r<20>; .reg .b64 %rd<4>;\n"                                    \
    "  ld.param.u64 %rd1, [out]; mov.u32 %r1, %tid.x; shr.u32 %r2, %r1, 3; shl.b32 %r3, %r2, 3;\n" \
    "  shl.b32 %r4, 0xff, %r3; mul.wide.u32 %rd2, %r1, 32; add.u64 %rd3, %rd1, %rd2;\n"            \
    "  and.b32 %r5, %r1, 1;\n"

static void
check_tiles(const uint32_t (*out)[8])
{
    for (uint32_t i = 0; i < 32; i++) {
        const uint32_t shift = i & 24, odd = 0xaau << shift, sum = 8 * shift + 28;

        cr_assert_eq(out[i][0], odd, "lane %u: ballot %x", i, out[i][0]);
        cr_assert_eq(out[i][1], i >= 24, "lane %u: any", i);
        cr_assert_eq(out[i][2], i % 2 ? odd : 0x55u << shift, "lane %u: match %x", i, out[i][2]);
        cr_assert_eq(out[i][3], sum, "lane %u: redux %u", i, out[i][3]);
        cr_assert_eq(out[i][4], shift, "lane %u: elect %u", i, out[i][4]);
        cr_assert_eq(out[i][5], i < 8 ? 0xffu : 0, "lane %u: match.all %x", i, out[i][5]);
    }
}

static const char tiles[] = PTX_HEAD TILE_HEAD
    "  setp.eq.u32 %p1, %r5, 1; setp.ge.u32 %p2, %r1, 27; setp.lt.u32 %p7, %r1, 8;\n"
    "  selp.b32 %r11, 7, %r1, %p7;\n"
    /* Lanes of a tile come by different ways, and those of others at other times. */
    "  and.b32 %r6, %r1, 5; setp.eq.u32 %p3, %r6, 4; @%p3 bra LATE;\n"
    "  mov.u32 %r7, %r1; bra MEET;\n"
    "LATE: add.u32 %r7, %r1, 0; add.u32 %r7, %r7, 0;\n"
    "MEET: vote.sync.ballot.b32 %r8, %p1, %r4; vote.sync.any.pred %p4, %p2, %r4;\n"
    "  match.any.sync.b32 %r9, %r5, %r4; redux.sync.add.u32 %r10, %r7, %r4;\n"
    "  match.all.sync.b32 %r12|%p6, %r11, %r4;\n"
    "  elect.sync %r13|%p5, %r4; selp.u32 %r14, 1, 0, %p4;\n"
    "  st.global.u32 [%rd3], %r8; st.global.u32 [%rd3+4], %r14; st.global.u32 [%rd3+8], %r9;\n"
    "  st.global.u32 [%rd3+12], %r10; st.global.u32 [%rd3+16], %r13;\n"
    "  st.global.u32 [%rd3+20], %r12; ret; }\n";

Test(soft_sync, tiles_of_a_warp_vote_each_for_itself)
{
    struct soft *s = soft_open(tiles, 1);
    uint32_t (*out)[8] = soft_alloc(s, 32 * sizeof(*out));

    cr_assert_eq(soft_launch(s, "k", (struct soft_shape){.grid = 1, .block = 32},
                             SOFT_ARGS(SOFT_PTR(out))),
                 CUDA_SUCCESS, "%s", s->fault.what);
    check_tiles((const uint32_t(*)[8])out);
    soft_close(s);
}

/* A tile is complete while the rest of its warp waits for what it does next, at barriers of their
 * own or at the same one. */
Test(soft_sync, a_tile_goes_on_without_the_others)
{
    static const char ptx[] = PTX_HEAD
        ".shared .align 4 .u32 flag;\n" TILE_HEAD
        "  mov.u32 %r8, flag; st.shared.u32 [%r8], 0; bar.warp.sync -1;\n"
        /* Half of each other tile waits until the first tile has passed and set the flag. */
        "  setp.ge.u32 %p1, %r1, 8; and.b32 %r6, %r1, 4; setp.ne.u32 %p2, %r6, 0;\n"
        "  and.pred %p3, %p1, %p2; @!%p3 bra MEET;\n"
        "WAIT: ld.volatile.shared.u32 %r7, [%r8]; setp.eq.u32 %p4, %r7, 0; @%p4 bra WAIT;\n"
        "MEET: OP\n"
        "  @!%p1 st.volatile.shared.u32 [%r8], 1;\n"
        "  st.global.u32 [%rd3], %r9; ret; }\n";
    static const char *const ops[] = {
        "mov.u32 %r9, %r4; bar.warp.sync %r4;",
        "vote.sync.ballot.b32 %r9, 1, %r4;",
    };

    for (unsigned k = 0; k < GP_ARRAY_LEN(ops); k++) {
        char text[sizeof(ptx) + 64];
        const char *at = strstr(ptx, "OP\n");
        struct soft *s;
        uint32_t (*out)[8];

        snprintf(text, sizeof(text), "%.*s%s%s", (int)(at - ptx), ptx, ops[k], at + 2);
        s = soft_open(text, 1);
        out = soft_alloc(s, 32 * sizeof(*out));
        s->cancel_after = 2000;
        cr_assert_eq(soft_launch(s, "k", (struct soft_shape){.grid = 1, .block = 32},
                                 SOFT_ARGS(SOFT_PTR(out))),
                     CUDA_SUCCESS, "%s: %s", ops[k], s->fault.what);
        for (unsigned i = 0; i < 32; i++)
            cr_assert_eq(out[i][0], 0xffu << (i & 24), "%s: lane %u: %x", ops[k], i, out[i][0]);
        soft_close(s);
    }
}

/* PTX counts warps at a barrier, each once all of its threads that have not exited have come, in
 * however many parts: lanes that are gone, or were never there, count too. */
Test(soft_sync, named_barriers_count_warps_whose_lanes_come_in_parts_or_have_gone)
{
    static const char ptx[] = PTX_HEAD
        ".visible .entry k(.param .u64 out, .param .u32 how) {\n"
        "  .reg .pred %p<6>; .reg .b32 %r<9>; .reg .b64 %rd<4>;\n"
        "  ld.param.u64 %rd1, [out]; mov.u32 %r1, %tid.x; mul.wide.u32 %rd2, %r1, 4;\n"
        "  add.u64 %rd3, %rd1, %rd2; ld.param.u32 %r2, [how];\n"
        "  setp.eq.u32 %p1, %r2, 1; @%p1 bra PARTS;\n"
        /* 0: the lower half of the first warp goes after the upper one has come. */
        "  setp.lt.u32 %p2, %r1, 16; @%p2 bra GONE;\n"
        "  barrier.sync 1, 64; mov.u32 %r3, 1; st.global.u32 [%rd3], %r3; ret;\n"
        "GONE: mov.u32 %r3, 2; st.global.u32 [%rd3], %r3; exit;\n"
        /* 1: odd lanes come later than even ones, at another instruction; one of them arrives. */
        "PARTS: and.b32 %r4, %r1, 1; setp.eq.u32 %p3, %r4, 1; @%p3 bra ODD;\n"
        "  barrier.sync 1, 64; mov.u32 %r3, 3; st.global.u32 [%rd3], %r3; ret;\n"
        "ODD: setp.gt.u32 %p4, %r1, 32; @%p4 bra ARRIVE;\n"
        "  barrier.sync 1, 64; mov.u32 %r3, 4; st.global.u32 [%rd3], %r3; ret;\n"
        "ARRIVE: barrier.arrive 1, 64; mov.u32 %r3, 5; st.global.u32 [%rd3], %r3; ret; }\n";
    struct soft *s = soft_open(ptx, 1);
    uint32_t *out = soft_alloc(s, 64 * 4);

    for (unsigned threads = 40; threads <= 64; threads += 8) {
        for (unsigned how = 0; how < 2; how++) {
            cr_assert_eq(soft_launch(s, "k", (struct soft_shape){.grid = 1, .block = threads},
                                     SOFT_ARGS(SOFT_PTR(out), how)),
                         CUDA_SUCCESS, "%u threads, %u: %s", threads, how, s->fault.what);
            for (unsigned i = 0; i < threads; i++)
                cr_assert_eq(out[i],
                             how == 0   ? (i < 16 ? 2 : 1)
                             : i % 2 == 0 ? 3
                             : i < 32     ? 4
                                          : 5,
                             "%u threads, %u: thread %u left %u", threads, how, i, out[i]);
        }
    }
    soft_close(s);
}

/* Two of three warps reduce, then the second and the third at the same barrier: what the first gets
 * is its own result, however late it looks. */
Test(soft_sync, a_reduction_is_not_overtaken_by_the_next_at_its_barrier)
{
    static const char ptx[] = PTX_HEAD
        ".visible .entry k(.param .u64 out) {\n"
        "  .reg .pred %p<6>; .reg .b32 %r<9>; .reg .b64 %rd<4>;\n"
        "  ld.param.u64 %rd1, [out]; mov.u32 %r1, %tid.x; mul.wide.u32 %rd2, %r1, 4;\n"
        "  add.u64 %rd3, %rd1, %rd2; setp.ge.u32 %p1, %r1, 64; setp.lt.u32 %p2, %r1, 32;\n"
        "  setp.lt.u32 %p3, %r1, 48; mov.u32 %r3, 0; @%p1 bra SECOND;\n"
        "  barrier.red.popc.u32 %r2, 1, 64, %p3; add.u32 %r3, %r3, %r2; @%p2 bra OUT;\n"
        "SECOND: barrier.red.popc.u32 %r2, 1, 64, %p1; mad.lo.u32 %r3, %r2, 100, %r3;\n"
        "OUT: st.global.u32 [%rd3], %r3; ret; }\n";
    struct soft *s = soft_open(ptx, 1);
    uint32_t *out = soft_alloc(s, 96 * 4);

    cr_assert_eq(soft_launch(s, "k", (struct soft_shape){.grid = 1, .block = 96},
                             SOFT_ARGS(SOFT_PTR(out))),
                 CUDA_SUCCESS, "%s", s->fault.what);
    for (unsigned i = 0; i < 96; i++)
        cr_assert_eq(out[i], i < 32 ? 48 : i < 64 ? 3248 : 3200, "thread %u: %u", i, out[i]);
    soft_close(s);
}
