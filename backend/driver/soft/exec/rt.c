/* backend/driver/soft/exec/rt.c -- what kernels call in the run time: printf, assert, malloc, free */
#include "backend/driver/soft/exec/warp.h"

#include "backend/driver/soft/math/sd_rt.h"

#include <string.h>

/* Reads as one lane does. */
struct lane_reader {
    struct sd_warp *w;
    unsigned lane;
};

static bool
read_lane(void *opaque, uint64_t address, void *dst, size_t len)
{
    const struct lane_reader *r = opaque;
    size_t i;

    /* Byte by byte: what is asked for may end where memory ends. */
    for (i = 0; i < len; i++) {
        const uint8_t *p = sd_resolve(r->w, r->lane, address + i, 1, false, 0);

        if (p == NULL)
            return false;
        ((uint8_t *)dst)[i] = *p;
    }
    return true;
}

static const uint64_t *
row64(const uint8_t *regs, uint32_t row)
{
    return (const uint64_t *)(const void *)(regs + row);
}

static const struct sd_insn *
rt_printf(struct sd_warp *w, const struct sd_insn *ip, uint8_t *regs)
{
    const struct sd_env *env = w->block->grid->env;
    struct sd_rt_text text = {0};
    uint32_t m;

    for (m = w->mask; m != 0; m &= m - 1) {
        unsigned lane = sd_first_lane(m);
        struct lane_reader lr = {w, lane};
        struct sd_rt_reader reader = {&lr, read_lane};
        uint64_t fault = UINT64_MAX;
        int n;

        text.len = 0;
        n = sd_rt_printf(&reader, row64(regs, ip->a)[lane], row64(regs, ip->b)[lane], &text,
                         &fault);
        if (fault != UINT64_MAX) {
            sd_rt_text_fini(&text);
            return sd_fault_access(w, ip, lane, fault, 1, false);
        }
        if (text.len > 0)
            env->print(env->opaque, text.data, text.len);
        ((int32_t *)(void *)(regs + ip->dst))[lane] = n;
    }
    sd_rt_text_fini(&text);
    return ip + 1;
}

static const struct sd_insn *
rt_assert(struct sd_warp *w, const struct sd_insn *ip, uint8_t *regs)
{
    const struct sd_env *env = w->block->grid->env;
    const uint32_t *dim = w->block->grid->launch->block;
    struct sd_rt_text text = {0};
    uint32_t m;

    for (m = w->mask; m != 0; m &= m - 1) {
        unsigned lane = sd_first_lane(m);
        struct lane_reader lr = {w, lane};
        struct sd_rt_reader reader = {&lr, read_lane};
        uint32_t t = w->index * 32 + lane;
        uint32_t thread[3] = {t % dim[0], t / dim[0] % dim[1], t / dim[0] / dim[1]};

        text.len = 0;
        if (sd_rt_assert(&reader, row64(regs, ip->a)[lane], row64(regs, ip->b)[lane],
                         ((const uint32_t *)(const void *)(regs + ip->c))[lane],
                         row64(regs, ip->d)[lane], w->block->id, thread, &text))
            env->print(env->opaque, text.data, text.len);
    }
    sd_rt_text_fini(&text);
    return sd_fault(w, ip, sd_first_lane(w->mask), CUDA_ERROR_ASSERT, 0, "assertion failed");
}

const struct sd_insn *
sd_rt_call(struct sd_warp *w, const struct sd_insn *ip, uint8_t *regs)
{
    const struct sd_env *env = w->block->grid->env;
    uint32_t m;

    switch (ip->op) {
    case SD_OP_rt_vprintf:
        return rt_printf(w, ip, regs);
    case SD_OP_rt_assert:
        return rt_assert(w, ip, regs);
    case SD_OP_rt_malloc:
        for (m = w->mask; m != 0; m &= m - 1) {
            unsigned lane = sd_first_lane(m);

            ((uint64_t *)(void *)(regs + ip->dst))[lane] =
                env->heap_alloc(env->opaque, row64(regs, ip->a)[lane]);
        }
        return ip + 1;
    default:
        for (m = w->mask; m != 0; m &= m - 1)
            if (row64(regs, ip->a)[sd_first_lane(m)] != 0)
                env->heap_free(env->opaque, row64(regs, ip->a)[sd_first_lane(m)]);
        return ip + 1;
    }
}
