/* tests/unit/soft/test_chain.c -- handlers jump to the next one and leave nothing on the stack */
#include "tests/unit/soft/soft_test.h"

#include "backend/driver/soft/exec/warp.h"

#include <string.h>

/* A return address for each of so many instructions would fill the stack several times. */
#define CHAIN 20000u
#define STACK (64u << 10)
#define ROW   512u

static const struct sd_insn *
stop(struct sd_warp *w, const struct sd_insn *ip, uint8_t *regs)
{
    (void)ip;
    (void)regs;
    w->event = SD_EV_YIELD;
    return NULL;
}

struct chain {
    struct sd_insn insns[CHAIN + 1];
    _Alignas(64) uint8_t regs[8 * ROW];
    _Alignas(64) uint8_t memory[4096];
    struct sd_cpu cpu;
    struct sd_warp warp;
    struct sd_frame frame;
};

/* Row 1 is the result, 2 .. 5 are operands; 2 holds addresses of 32 bits, 6 of 64 bits. */
static void
fill(struct chain *c, unsigned op, bool wide, unsigned bytes)
{
    unsigned i;

    memset(c->regs, 0, sizeof(c->regs));
    for (i = 0; i < 32; i++) {
        ((uint32_t *)(void *)(c->regs + 2 * ROW))[i] = i * bytes;
        ((uint64_t *)(void *)(c->regs + 6 * ROW))[i] = SOFT_PTR(c->memory) + (uint64_t)i * bytes;
    }
    for (i = 0; i < CHAIN; i++)
        c->insns[i] = (struct sd_insn){.fn = sd_core_get()->full[op],
                                       .op = (uint16_t)op,
                                       .flags = bytes != 0, /* elements of an access */
                                       .dst = ROW,
                                       .a = (wide ? 6 : 2) * ROW,
                                       .b = 0, /* a row, and no bit too far for a shift */
                                       .c = bytes != 0 ? 0 : 4 * ROW,
                                       .d = bytes != 0 ? 0 : 5 * ROW};
    c->insns[CHAIN] = (struct sd_insn){.fn = stop, .op = SD_OP_nop};
}

static void
run(struct chain *c)
{
    c->frame = (struct sd_frame){.regs = c->regs};
    c->cpu.spans[0] = (struct sd_cached_span){.base = SOFT_PTR(c->memory),
                                              .end = SOFT_PTR(c->memory) + sizeof(c->memory),
                                              .writable = true};
    c->warp = (struct sd_warp){.mask = SD_LANES_ALL,
                               .live = SD_LANES_ALL,
                               .frame = &c->frame,
                               .ip = c->insns,
                               .budget = 1 << 30,
                               .cpu = &c->cpu,
                               .shared = c->memory,
                               .shared_bytes = sizeof(c->memory)};
    sd_core_get()->run(&c->warp);
    cr_assert_eq(c->warp.event, SD_EV_YIELD);
}

static void *
run_all(void *arg)
{
    static const struct {
        uint16_t op;
        bool wide;
        uint8_t bytes;
    } accesses[] = {
        {SD_OP_ld_s_u32_32, false, 4}, {SD_OP_st_s_u32_32, false, 4}, {SD_OP_ld_g_u32_32, true, 4},
        {SD_OP_st_g_u32_32, true, 4},  {SD_OP_ld_s_u64_64, false, 8}, {SD_OP_ld_g_s8_64, true, 1},
        {SD_OP_ld_x_u64_64, true, 8},  {SD_OP_st_x_u16_32, true, 2},
    };
    static const uint16_t control[] = {SD_OP_selp16, SD_OP_selp32, SD_OP_selp64,
                                       SD_OP_join,   SD_OP_cbra,   SD_OP_cbra_back};
    struct chain *c = arg;
    unsigned op, i;

    for (op = SD_OP_NONE + 1; op < SD_OP_pmov; op++) { /* all of ops.def */
        fill(c, op, false, 0);
        run(c);
    }
    for (i = 0; i < GP_ARRAY_LEN(control); i++) {
        fill(c, control[i], false, 0);
        run(c);
    }
    for (i = 0; i < GP_ARRAY_LEN(accesses); i++) {
        fill(c, accesses[i].op, accesses[i].wide, accesses[i].bytes);
        run(c);
    }
    fill(c, SD_OP_bra, false, 0);
    for (i = 0; i < CHAIN; i++)
        c->insns[i].a = 1; /* to the next one */
    run(c);
    for (i = 0; i < CHAIN; i++)
        c->insns[i].fn = sd_core_get()->full[SD_OP_bra_back];
    run(c);
    return NULL;
}

Test(soft_chain, any_number_of_instructions_needs_no_more_stack)
{
    struct chain *c = aligned_alloc(64, gp_align_up_u64(sizeof(*c), 64));
    pthread_attr_t attr;
    pthread_t thread;

    cr_assert_not_null(c);
    memset(c, 0, sizeof(*c));
    cr_assert_eq(pthread_attr_init(&attr), 0);
    cr_assert_eq(pthread_attr_setstacksize(&attr, STACK), 0);
    cr_assert_eq(pthread_create(&thread, &attr, run_all, c), 0);
    cr_assert_eq(pthread_join(thread, NULL), 0);
    pthread_attr_destroy(&attr);
    free(c);
}
