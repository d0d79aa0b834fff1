/* backend/driver/soft/exec/rt.c -- what kernels call in the run time: printf, assert, malloc, free
 */
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

static uint32_t *
row32(uint8_t *regs, uint32_t row)
{
    return (uint32_t *)(void *)(regs + row);
}

/* a: the kernel's address, b and c: rows of the grid's and the block's three words, d: bytes. */
static const struct sd_insn *
rt_launch_buffer(struct sd_warp *w, const struct sd_insn *ip, uint8_t *regs)
{
    const struct sd_grid *g = w->block->grid;
    uint32_t m;

    for (m = w->mask; m != 0; m &= m - 1) {
        unsigned lane = sd_first_lane(m);
        const struct sd_kernel *kernel =
            sd_module_kernel_at(g->launch->kernel->module, row64(regs, ip->a)[lane]);
        uint32_t grid[3], block[3];
        uint64_t to = 0;

        for (unsigned i = 0; i < 3; i++) {
            grid[i] = row32(regs, ip->b + i * 128)[lane];
            block[i] = row32(regs, ip->c + i * 128)[lane];
        }
        if (kernel != NULL && g->env->launch_buffer != NULL)
            to = g->env->launch_buffer(g->env->launches, kernel, grid, block,
                                       row32(regs, ip->d)[lane]);
        ((uint64_t *)(void *)(regs + ip->dst))[lane] = to;
    }
    return ip + 1;
}

static const struct sd_insn *
rt_launch(struct sd_warp *w, const struct sd_insn *ip, uint8_t *regs)
{
    const struct sd_env *env = w->block->grid->env;
    uint32_t m;

    for (m = w->mask; m != 0; m &= m - 1) {
        unsigned lane = sd_first_lane(m);

        row32(regs, ip->dst)[lane] =
            env->launch == NULL ? CUDA_ERROR_NOT_SUPPORTED
                                : (uint32_t)env->launch(env->launches, row64(regs, ip->a)[lane],
                                                        row64(regs, ip->b)[lane]);
    }
    return ip + 1;
}

/* Launches of a grid run one after the other, so all streams are alike; a handle is a number that
 * is none of the named streams. */
static const struct sd_insn *
rt_stream_create(struct sd_warp *w, const struct sd_insn *ip, uint8_t *regs)
{
    static const uint64_t handle = 0x100;
    uint32_t m;

    for (m = w->mask; m != 0; m &= m - 1) {
        unsigned lane = sd_first_lane(m);
        uint64_t address = row64(regs, ip->a)[lane];
        void *to = address % 8 == 0 ? sd_resolve(w, lane, address, 8, true, 0) : NULL;

        if (to == NULL)
            return sd_fault_access(w, ip, lane, address, 8, true);
        memcpy(to, &handle, 8);
        row32(regs, ip->dst)[lane] = 0;
    }
    return ip + 1;
}

static const struct sd_insn *
rt_set_condition(struct sd_warp *w, const struct sd_insn *ip, uint8_t *regs)
{
    const struct sd_env *env = w->block->grid->env;
    uint32_t m;

    for (m = w->mask; m != 0; m &= m - 1) {
        unsigned lane = sd_first_lane(m);
        uint64_t handle = row64(regs, ip->a)[lane];

        if (env->set_condition == NULL ||
            !env->set_condition(env->opaque, handle, row32(regs, ip->b)[lane]))
            return sd_fault(w, ip, lane, CUDA_ERROR_ILLEGAL_ADDRESS, handle,
                            "no condition of a graph has this handle");
    }
    return ip + 1;
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
    case SD_OP_rt_launch_buffer:
        return rt_launch_buffer(w, ip, regs);
    case SD_OP_rt_launch:
        return rt_launch(w, ip, regs);
    case SD_OP_rt_stream_create:
        return rt_stream_create(w, ip, regs);
    case SD_OP_rt_set_condition:
        return rt_set_condition(w, ip, regs);
    case SD_OP_rt_zero:
        for (m = w->mask; m != 0; m &= m - 1)
            row32(regs, ip->dst)[sd_first_lane(m)] = 0;
        return ip + 1;
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
