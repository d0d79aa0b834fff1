/* backend/driver/soft/exec/core_ctl.c -- predicates, selection, carries, control; the main loop */
#include "backend/driver/soft/exec/core.h"

static const struct sd_core *this_core;

/* ---- predicates ---- */

#define PRED_OP(id, value)                                                                         \
    SD_HANDLER(p_##id)                                                                             \
    {                                                                                              \
        const uint32_t a __attribute__((unused)) = SD_PRED(ip->a);                                 \
        const uint32_t b __attribute__((unused)) = SD_PRED(ip->b);                                 \
        sd_pred_set(&SD_PRED(ip->dst), (value), w->mask);                                          \
        return ip + 1;                                                                             \
    }
PRED_OP(pmov, a)
PRED_OP(pnot, ~a)
PRED_OP(pand, a & b)
PRED_OP(pandn, a & ~b)
PRED_OP(por, a | b)
PRED_OP(pxor, a ^ b)

SD_HANDLER(h_pconst)
{
    sd_pred_set(&SD_PRED(ip->dst), 0 - ip->a, w->mask);
    return ip + 1;
}

/* A predicate as 0 or 1 in a row of 32 bits, and back. */
SD_HANDLER(h_pget)
{
    const uint32_t p = SD_PRED(ip->a);
    uint32_t tmp[SD_LANES] __attribute__((aligned(64)));

    SD_EACH_LANE(i)
        tmp[i] = (p & sd_lane_bits[i]) != 0;
    sd_blend32(SD_ROW(uint32_t, ip->dst), tmp, w->mask);
    return ip + 1;
}

SD_HANDLER(h_pset)
{
    const uint32_t *a = SD_ROW(const uint32_t, ip->a);
    int32_t truth[SD_LANES] __attribute__((aligned(64)));

    SD_EACH_LANE(i)
        truth[i] = a[i] != 0 ? -1 : 0;
    sd_pred_set(&SD_PRED(ip->dst), sd_signs32(truth), w->mask);
    return ip + 1;
}

/* dst = predicate c ? a : b */
#define SELP(n, T, BITS)                                                                           \
    SD_HANDLER(f_selp##n)                                                                          \
    {                                                                                              \
        T *d = SD_ROW(T, ip->dst);                                                                 \
        const T *a = SD_ROW(const T, ip->a);                                                       \
        const T *b = SD_ROW(const T, ip->b);                                                       \
        const uint32_t p = SD_PRED(ip->c);                                                         \
        (void)w;                                                                                   \
        SD_EACH_LANE(i)                                                                            \
        {                                                                                          \
            const T no = SD_UNLESS(T, BITS[i] & p);                                                \
            d[i] = (T)((a[i] & (T)~no) | (b[i] & no));                                             \
        }                                                                                          \
        SD_GO(ip + 1);                                                                             \
    }                                                                                              \
    SD_HANDLER(m_selp##n)                                                                          \
    {                                                                                              \
        T *d = SD_ROW(T, ip->dst);                                                                 \
        const T *a = SD_ROW(const T, ip->a);                                                       \
        const T *b = SD_ROW(const T, ip->b);                                                       \
        const uint32_t p = SD_PRED(ip->c);                                                         \
        const uint32_t m = w->mask;                                                                \
        SD_EACH_LANE(i)                                                                            \
        {                                                                                          \
            const T no = SD_UNLESS(T, BITS[i] & p), keep = SD_UNLESS(T, BITS[i] & m);              \
            const T v = (T)((a[i] & (T)~no) | (b[i] & no));                                        \
            d[i] = (T)((d[i] & keep) | (v & (T)~keep));                                            \
        }                                                                                          \
        return ip + 1;                                                                             \
    }
SELP(16, uint16_t, sd_lane_bits)
SELP(32, uint32_t, sd_lane_bits)
SELP(64, uint64_t, sd_lane_bits64)

/* ---- carries: flags bit 0: take the carry in, bit 1: give it out ---- */

#define CARRY(id, T, call)                                                                         \
    SD_HANDLER(h_##id)                                                                             \
    {                                                                                              \
        T *d = SD_ROW(T, ip->dst);                                                                 \
        const T *pa = SD_ROW(const T, ip->a);                                                      \
        const T *pb = SD_ROW(const T, ip->b);                                                      \
        SD_EACH_SET(i, w->mask)                                                                    \
        {                                                                                          \
            const T in = (ip->flags & 1) != 0 ? w->cc[i] : 0;                                      \
            T out;                                                                                 \
            d[i] = call(pa[i], pb[i], in, &out);                                                   \
            if ((ip->flags & 2) != 0)                                                              \
                w->cc[i] = (uint32_t)out;                                                          \
        }                                                                                          \
        return ip + 1;                                                                             \
    }
CARRY(addc32, uint32_t, sd_addc_u32)
CARRY(addc64, uint64_t, sd_addc_u64)
CARRY(subc32, uint32_t, sd_subc_u32)
CARRY(subc64, uint64_t, sd_subc_u64)

/* SD_FL_ALT: signed */
#define MAD_CARRY(id, T, product, addc)                                                            \
    SD_HANDLER(h_##id)                                                                             \
    {                                                                                              \
        T *d = SD_ROW(T, ip->dst);                                                                 \
        const T *pa = SD_ROW(const T, ip->a);                                                      \
        const T *pb = SD_ROW(const T, ip->b);                                                      \
        const T *pc = SD_ROW(const T, ip->c);                                                      \
        SD_EACH_SET(i, w->mask)                                                                    \
        {                                                                                          \
            const T a = pa[i], b = pb[i];                                                          \
            const T in = (ip->flags & 1) != 0 ? w->cc[i] : 0;                                      \
            T out;                                                                                 \
            d[i] = addc((product), pc[i], in, &out);                                               \
            if ((ip->flags & 2) != 0)                                                              \
                w->cc[i] = (uint32_t)out;                                                          \
        }                                                                                          \
        return ip + 1;                                                                             \
    }
#define IS_SIGNED ((ip->flags & SD_FL_ALT) != 0)
MAD_CARRY(mad_lo_cc32, uint32_t, a *b, sd_addc_u32)
MAD_CARRY(mad_hi_cc32, uint32_t, IS_SIGNED ? sd_mulhi_s32(a, b) : sd_mulhi_u32(a, b), sd_addc_u32)
MAD_CARRY(mad_lo_cc64, uint64_t, a *b, sd_addc_u64)
MAD_CARRY(mad_hi_cc64, uint64_t, IS_SIGNED ? sd_mulhi_s64(a, b) : sd_mulhi_u64(a, b), sd_addc_u64)

/* ---- branches: a is the distance to the target (its join, if it has one) ---- */

static inline const struct sd_insn *
target_of(const struct sd_insn *ip, uint32_t distance)
{
    return ip + (int32_t)distance;
}

/* The only group of its warp need not stop at a join. */
static inline const struct sd_insn *
past_join(const struct sd_insn *ip)
{
    return ip->op == SD_OP_join ? ip + 1 : ip;
}

/* Nor need a group that is ahead of all that wait. */
static inline const struct sd_insn *
past_early_join(const struct sd_warp *w, const struct sd_insn *ip)
{
    return ip->op == SD_OP_join && ip < w->wait_ip ? ip + 1 : ip;
}

static const struct sd_insn *
yield(struct sd_warp *w, const struct sd_insn *ip)
{
    w->ip = ip;
    w->event = SD_EV_YIELD;
    return NULL;
}

SD_HANDLER(f_join)
{
    SD_GO(ip + 1);
}

SD_HANDLER(m_join)
{
    (void)regs;
    if (ip < w->wait_ip)
        return ip + 1;
    return sd_group_join(w, ip);
}

SD_HANDLER(f_bra)
{
    SD_GO(past_join(target_of(ip, ip->a)));
}

SD_HANDLER(m_bra)
{
    (void)w;
    (void)regs;
    return target_of(ip, ip->a);
}

SD_HANDLER(f_bra_back)
{
    w->budget += (int32_t)ip->a - 2;
    if (GP_UNLIKELY(w->budget < 0))
        return yield(w, target_of(ip, ip->a));
    SD_GO(past_join(target_of(ip, ip->a)));
}

SD_HANDLER(m_bra_back)
{
    (void)regs;
    w->budget += (int32_t)ip->a - 2;
    if (GP_UNLIKELY(w->budget < 0))
        return yield(w, target_of(ip, ip->a));
    return past_early_join(w, target_of(ip, ip->a));
}

static inline uint32_t
taken_lanes(const struct sd_warp *w, const struct sd_insn *ip, const uint8_t *regs)
{
    uint32_t p = *(const uint32_t *)(regs + ip->b);

    return w->mask & ((ip->flags & SD_FL_NEG) != 0 ? ~p : p);
}

SD_HANDLER(f_cbra)
{
    uint32_t taken = taken_lanes(w, ip, regs);

    if (taken == 0)
        SD_GO(ip + 1);
    if (taken == w->mask)
        SD_GO(past_join(target_of(ip, ip->a)));
    return sd_group_split(w, taken, target_of(ip, ip->a), ip + 1);
}

SD_HANDLER(m_cbra)
{
    uint32_t taken = taken_lanes(w, ip, regs);

    if (taken == 0)
        return ip + 1;
    if (taken == w->mask)
        return target_of(ip, ip->a);
    return sd_group_split(w, taken, target_of(ip, ip->a), ip + 1);
}

/* Some lanes go back, the others on. */
static __attribute__((noinline)) const struct sd_insn *
split_back(struct sd_warp *w, const struct sd_insn *ip, uint32_t taken)
{
    const struct sd_insn *next = sd_group_split(w, taken, target_of(ip, ip->a), ip + 1);

    if (GP_LIKELY(w->budget >= 0))
        return next;
    if (next != NULL)
        w->ip = next;
    w->event = SD_EV_YIELD;
    return NULL;
}

SD_HANDLER(f_cbra_back)
{
    uint32_t taken = taken_lanes(w, ip, regs);

    if (taken == 0)
        SD_GO(ip + 1);
    w->budget += (int32_t)ip->a - 2;
    if (taken != w->mask)
        return split_back(w, ip, taken);
    if (GP_UNLIKELY(w->budget < 0))
        return yield(w, target_of(ip, ip->a));
    SD_GO(past_join(target_of(ip, ip->a)));
}

SD_HANDLER(m_cbra_back)
{
    uint32_t taken = taken_lanes(w, ip, regs);

    if (taken == 0)
        return ip + 1;
    w->budget += (int32_t)ip->a - 2;
    if (taken != w->mask)
        return split_back(w, ip, taken);
    if (GP_UNLIKELY(w->budget < 0))
        return yield(w, target_of(ip, ip->a));
    return past_early_join(w, target_of(ip, ip->a));
}

/* brx.idx: a is the index row, extra[c ..] holds b distances to targets. */
SD_HANDLER(h_brx)
{
    const uint32_t *index = SD_ROW(const uint32_t, ip->a);
    const uint32_t *table = w->frame->fn->extra + ip->c;
    uint32_t lanes = w->mask;
    const struct sd_insn *target = NULL;

    w->budget -= 64;
    while (lanes != 0) {
        unsigned lane = sd_first_lane(lanes);
        uint32_t same = 0;

        if (index[lane] >= ip->b)
            return sd_fault(w, ip, lane, CUDA_ERROR_INVALID_PC, index[lane],
                            "brx.idx past the end of its table");
        SD_EACH_SET(i, lanes)
        {
            if (table[index[i] < ip->b ? index[i] : 0] == table[index[lane]])
                same |= 1u << i;
        }
        target = target_of(ip, table[index[lane]]);
        if (same == w->mask && w->budget >= 0)
            return target;
        sd_group_add(w, w->frame, target, same);
        lanes &= ~same;
    }
    w->mask = 0;
    if (w->budget < 0)
        w->event = SD_EV_YIELD;
    else
        sd_group_pick(w);
    return NULL;
}

/* The next instruction happens only for lanes of a predicate. */
SD_HANDLER(h_guard)
{
    uint32_t all = w->mask;
    uint32_t m = taken_lanes(w, ip, regs);
    const struct sd_insn *next;

    if (m == 0)
        return ip + 2;
    if (m == all)
        return ip + 1;
    w->mask = m;
    next = this_core->masked[ip[1].op](w, ip + 1, regs);
    if (GP_LIKELY(next != NULL))
        w->mask = all;
    return next;
}

static inline const struct sd_fn *
function_of(struct sd_warp *w, const struct sd_insn *ip, const struct sd_kernel_code *code,
            uint32_t index)
{
    const struct sd_fn *fn = __atomic_load_n(&code->fns[index], __ATOMIC_ACQUIRE);

    return GP_LIKELY(fn != NULL) ? fn : sd_late_fn(w, ip, index);
}

SD_HANDLER(h_call)
{
    const struct sd_fn *fn = w->frame->fn;
    const struct sd_call_site *site = &fn->sites[ip->a];
    const struct sd_fn *callee = function_of(w, ip, fn->code, site->callee);

    (void)regs;
    return callee != NULL ? sd_group_call(w, ip, callee, site, w->mask, ip + 1) : NULL;
}

SD_HANDLER(h_call_indirect)
{
    const uint64_t *target = SD_ROW(const uint64_t, ip->b);
    const struct sd_kernel_code *code = w->frame->fn->code;
    const struct sd_call_site *site = &w->frame->fn->sites[ip->a];
    unsigned lane = sd_first_lane(w->mask);
    uint64_t value = target[lane];
    uint64_t number = (value - SD_WINDOW_FUNC) / SD_FUNC_STRIDE;
    const struct sd_fn *fn;
    uint32_t same = 0;

    if (value < SD_WINDOW_FUNC || value % SD_FUNC_STRIDE != 0 || number >= code->nby_ptx ||
        code->by_ptx[number] == 0)
        return sd_fault(w, ip, lane, CUDA_ERROR_INVALID_PC, value,
                        "call of an address that is no function");
    fn = function_of(w, ip, code, code->by_ptx[number] - 1);
    if (fn == NULL)
        return NULL;
    if (fn->param_bytes != site->param_bytes || fn->ret_bytes != site->ret_bytes)
        return sd_fault(w, ip, lane, CUDA_ERROR_INVALID_PC, value,
                        "indirect call of %s with other parameters than it has", fn->name);
    SD_EACH_SET(i, w->mask)
    {
        if (target[i] == value)
            same |= 1u << i;
    }
    /* The others come back to this instruction. */
    if (same != w->mask) {
        uint32_t rest = w->mask & ~same;

        w->mask = same;
        sd_group_add(w, w->frame, ip, rest);
    }
    return sd_group_call(w, ip, fn, site, same, ip + 1);
}

SD_HANDLER(h_ret)
{
    (void)regs;
    return sd_group_return(w, w->mask, ip + 1);
}

SD_HANDLER(h_exit)
{
    (void)regs;
    return sd_group_exit(w, w->mask, ip + 1);
}

SD_HANDLER(h_trap)
{
    (void)regs;
    return sd_fault(w, ip, sd_first_lane(w->mask), CUDA_ERROR_LAUNCH_FAILED, 0, "trap");
}

SD_HANDLER(h_nop)
{
    (void)w;
    (void)regs;
    return ip + 1;
}

/* Something that programs wait with: let others run soon. */
SD_HANDLER(h_hint)
{
    (void)regs;
    /* More so when lanes of the same warp may be what this one waits for. */
    w->budget -= (int64_t)ip->a << (w->nwait > 0 ? 3 : 0);
    w->spun += w->spun < 255;
    if (w->budget < 0)
        return yield(w, ip + 1);
    return ip + 1;
}

SD_HANDLER(h_fence)
{
    (void)w;
    (void)regs;
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    return ip + 1;
}

SD_HANDLER(h_unsupported)
{
    (void)regs;
    return sd_fault(w, ip, sd_first_lane(w->mask), CUDA_ERROR_NOT_SUPPORTED, 0,
                    "instruction that this device does not have");
}

/* ---- the main loop ---- */

void
SD_NAME(sd_core_run)(struct sd_warp *w)
{
    const sd_handler *masked = this_core->masked;

    w->event = SD_EV_NONE;
    while (w->event == SD_EV_NONE) {
        const struct sd_insn *ip = w->ip;
        uint8_t *regs = w->frame->regs;

        if (w->nwait == 0) {
            do
                ip = ip->fn(w, ip, regs);
            while (ip != NULL);
        } else {
            do
                ip = masked[ip->op](w, ip, regs);
            while (ip != NULL);
        }
    }
}

void
SD_NAME(sd_fill_ctl)(struct sd_core *core)
{
#define BOTH(id)                                                                                   \
    core->full[SD_OP_##id] = f_##id;                                                               \
    core->masked[SD_OP_##id] = m_##id;
#define ONE(id) core->full[SD_OP_##id] = core->masked[SD_OP_##id] = h_##id;
#define P(id)   core->full[SD_OP_##id] = core->masked[SD_OP_##id] = p_##id;
    this_core = core;
    core->run = SD_NAME(sd_core_run);
    P(pmov) P(pnot) P(pand) P(pandn) P(por) P(pxor)
    ONE(pconst) ONE(pget) ONE(pset)
    BOTH(selp16) BOTH(selp32) BOTH(selp64)
    ONE(addc32) ONE(addc64) ONE(subc32) ONE(subc64)
    ONE(mad_lo_cc32) ONE(mad_hi_cc32) ONE(mad_lo_cc64) ONE(mad_hi_cc64)
    BOTH(join) BOTH(bra) BOTH(bra_back) BOTH(cbra) BOTH(cbra_back)
    ONE(brx) ONE(guard) ONE(call) ONE(call_indirect) ONE(ret) ONE(exit) ONE(trap) ONE(nop)
    ONE(hint) ONE(fence) ONE(unsupported)
    core->full[SD_OP_brkpt] = core->masked[SD_OP_brkpt] = h_trap;
}
