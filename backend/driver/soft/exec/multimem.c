/* backend/driver/soft/exec/multimem.c -- multimem instructions, lane by lane */
#include "backend/driver/soft/exec/multimem.h"

#include "backend/driver/soft/exec/atom.h"
#include "backend/driver/soft/exec/warp.h"
#include "backend/driver/soft/math/sd_half.h"

static uint64_t
load(uint64_t at, unsigned bytes)
{
    switch (bytes) {
    case 2:
        return __atomic_load_n((const uint16_t *)(uintptr_t)at, __ATOMIC_ACQUIRE);
    case 4:
        return __atomic_load_n((const uint32_t *)(uintptr_t)at, __ATOMIC_ACQUIRE);
    default:
        return __atomic_load_n((const uint64_t *)(uintptr_t)at, __ATOMIC_ACQUIRE);
    }
}

static void
store(uint64_t at, unsigned bytes, uint64_t v)
{
    switch (bytes) {
    case 2:
        __atomic_store_n((uint16_t *)(uintptr_t)at, (uint16_t)v, __ATOMIC_RELEASE);
        break;
    case 4:
        __atomic_store_n((uint32_t *)(uintptr_t)at, (uint32_t)v, __ATOMIC_RELEASE);
        break;
    default:
        __atomic_store_n((uint64_t *)(uintptr_t)at, v, __ATOMIC_RELEASE);
        break;
    }
}

/* One or two halves, each added up as f32 and rounded once. */
static uint64_t
sum_wide(const uint64_t *places, unsigned count, uint64_t at, const uint32_t *x)
{
    bool bf16 = x[SD_MM_TYPE] == SD_ATOM_BF16 || x[SD_MM_TYPE] == SD_ATOM_BF16X2;
    uint64_t result = 0;

    for (unsigned half = 0; half < x[SD_MM_BYTES] / 2; half++) {
        float sum = 0;

        for (unsigned i = 0; i < count; i++) {
            uint16_t v = (uint16_t)(load(places[i] + at, x[SD_MM_BYTES]) >> 16 * half);

            float f = bf16 ? sd_bf16_to_f32(v) : sd_f16_to_f32(v);

            sum = i == 0 ? f : sum + f;
        }
        result |= (uint64_t)(bf16 ? sd_f32_to_bf16_rn(sum) : sd_f32_to_f16_rn(sum)) << 16 * half;
    }
    return result;
}

static uint64_t
reduce(const uint64_t *places, unsigned count, uint64_t at, const uint32_t *x)
{
    uint64_t result;

    if (x[SD_MM_WIDE] != 0)
        return sum_wide(places, count, at, x);
    result = load(places[0] + at, x[SD_MM_BYTES]);
    for (unsigned i = 1; i < count; i++)
        (void)sd_atom_apply((enum sd_atom_op)x[SD_MM_OP], (enum sd_atom_type)x[SD_MM_TYPE], &result,
                            load(places[i] + at, x[SD_MM_BYTES]));
    return result;
}

static void
one_lane(const uint64_t *places, unsigned count, const uint32_t *x, uint8_t *regs, unsigned lane)
{
    unsigned bytes = x[SD_MM_BYTES];

    for (uint32_t e = 0; e < x[SD_MM_COUNT]; e++) {
        uint8_t *row = regs + x[SD_MM_ROWS + e];
        uint64_t at = (uint64_t)e * bytes;

        if (x[SD_MM_KIND] == SD_MULTIMEM_LD_REDUCE) {
            sd_lane_put(row, lane, bytes, reduce(places, count, at, x));
            continue;
        }
        for (unsigned i = 0; i < count; i++)
            if (x[SD_MM_KIND] == SD_MULTIMEM_ST)
                store(places[i] + at, bytes, sd_lane_get(row, lane, bytes));
            else
                (void)sd_atom_apply((enum sd_atom_op)x[SD_MM_OP], (enum sd_atom_type)x[SD_MM_TYPE],
                                    (void *)(uintptr_t)(places[i] + at),
                                    sd_lane_get(row, lane, bytes));
    }
}

const struct sd_insn *
sd_multimem(struct sd_warp *w, const struct sd_insn *ip, uint8_t *regs)
{
    const uint32_t *x = w->frame->fn->extra + ip->d;
    const struct sd_env *env = w->block->grid->env;
    uint32_t total = x[SD_MM_COUNT] * x[SD_MM_BYTES];
    bool write = x[SD_MM_KIND] != SD_MULTIMEM_LD_REDUCE;

    for (uint32_t m = w->mask; m != 0; m &= m - 1) {
        unsigned lane = sd_first_lane(m), count = 0;
        uint64_t addr =
            sd_lane_get(regs + ip->a, lane, 8) + (uint64_t)(int64_t)(int32_t)ip->c;
        uint64_t places[SD_TEAM_MAX];

        if (addr % total == 0 && env->team_places != NULL)
            count = env->team_places(env->opaque, addr, total, write, places);
        if (count == 0)
            return sd_fault_access(w, ip, lane, addr, total, write);
        one_lane(places, count, x, regs, lane);
    }
    return ip + 1;
}
