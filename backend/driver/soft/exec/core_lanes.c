/* backend/driver/soft/exec/core_lanes.c -- shuffles, votes, barriers, special registers
 *
 * d is the row of the lanes that take part. Instructions that need lanes which are elsewhere park
 * their group, and are executed again when those have come, here or in meet.c: what they use but for
 * the rows of operands that meet.c names they cannot count on.
 */
#include "backend/driver/soft/exec/core.h"
#include "backend/driver/soft/exec/lanes.h"

/* All lanes are there, and all name the same. */
static inline bool
all_meet(const struct sd_warp *w, const uint32_t *members)
{
    return GP_LIKELY(w->mask == w->live) && GP_LIKELY(sd_follow32(members, 0));
}

/* Are those there whom the lanes wait for? Lanes for whom they are not leave the group. */
static inline bool
meet(struct sd_warp *w, const struct sd_insn *ip, const uint8_t *regs)
{
    const uint32_t *members = SD_ROW(const uint32_t, ip->d);

    return all_meet(w, members) || sd_group_meet_each(w, ip, members);
}

/*
 * The lanes that take part may be several sets, each with members of its own: the tiles of a
 * cooperative group. Lanes of *left_p that have the members of its first, out of it.
 */
static inline uint32_t
take_set(const uint32_t *row, uint32_t *left_p, uint32_t *members_p)
{
    const uint32_t first = row[sd_first_lane(*left_p)];
    int32_t truth[SD_LANES] __attribute__((aligned(64)));
    uint32_t set;

    SD_EACH_LANE(i)
        truth[i] = row[i] == first ? -1 : 0;
    set = sd_signs32(truth) & *left_p;
    *left_p &= ~set;
    *members_p = first;
    return set;
}

/* in: the members of a set that are there. */
#define EACH_SET_OF_LANES(set, in)                                                                 \
    for (uint32_t left_ = w->mask, set, in;                                                        \
         left_ != 0 && (set = take_set(SD_ROW(const uint32_t, ip->d), &left_, &in),                \
                        in &= w->mask, true);)

static inline void
broadcast32(uint8_t *regs, uint32_t row, uint32_t v, uint32_t lanes)
{
    uint32_t tmp[SD_LANES] __attribute__((aligned(64)));

    SD_EACH_LANE(i)
        tmp[i] = v;
    sd_blend32(SD_ROW(uint32_t, row), tmp, lanes);
}

/* ---- shfl ---- */

SD_HANDLER(h_shfl)
{
    const uint32_t *a = SD_ROW(const uint32_t, ip->a);
    const uint32_t *b = SD_ROW(const uint32_t, ip->b);
    const uint32_t *c = SD_ROW(const uint32_t, ip->c);
    const unsigned mode = ip->flags & 7;
    uint32_t out[SD_LANES] __attribute__((aligned(64)));
    uint32_t from[SD_LANES] __attribute__((aligned(64)));
    uint32_t in_range = 0;

    if (!meet(w, ip, regs))
        return NULL;
#define SHFL(expr, test)                                                                           \
    SD_EACH_LANE(i)                                                                                \
    {                                                                                              \
        const uint32_t seg = c[i] >> 8 & 31, clamp = c[i] & 31, off = b[i] & 31;                   \
        const int32_t max = (int32_t)((i & seg) | (clamp & ~seg));                                 \
        const int32_t j = (int32_t)(expr);                                                         \
        const bool ok = (test);                                                                    \
        from[i] = ok ? (uint32_t)j : i;                                                            \
        in_range |= ok ? sd_lane_bits[i] : 0;                                                      \
        (void)off;                                                                                 \
    }
    switch (mode) {
    case SD_SHFL_UP: SHFL(i - off, j >= max) break;
    case SD_SHFL_DOWN: SHFL(i + off, j <= max) break;
    case SD_SHFL_BFLY: SHFL(i ^ off, j <= max) break;
    default: SHFL((i & seg) | (off & ~seg), j <= max) break;
    }
    for (unsigned i = 0; i < SD_LANES; i++)
        out[i] = a[from[i] & 31];
    sd_blend32(SD_ROW(uint32_t, ip->dst), out, w->mask);
    if ((ip->flags & SD_SHFL_PRED) == 0)
        return ip + 1;
    sd_pred_set(&SD_PRED(ip[1].dst), in_range, w->mask);
    return ip + 2;
}

/* ---- vote, match, redux ---- */

SD_HANDLER(h_vote_ballot)
{
    if (!meet(w, ip, regs))
        return NULL;
    EACH_SET_OF_LANES(set, in)
        broadcast32(regs, ip->dst, SD_PRED(ip->a) & in, set);
    return ip + 1;
}

SD_HANDLER(h_vote)
{
    uint32_t result = 0;

    if (!meet(w, ip, regs))
        return NULL;
    EACH_SET_OF_LANES(set, in)
    {
        const uint32_t yes = SD_PRED(ip->a) & in;
        const bool v = ip->flags == SD_VOTE_ALL   ? yes == in
                       : ip->flags == SD_VOTE_ANY ? yes != 0
                                                  : yes == in || yes == 0;

        result |= v ? set : 0;
    }
    sd_pred_set(&SD_PRED(ip->dst), result, w->mask);
    return ip + 1;
}

/* flags: 0: any, 1: all */
#define MATCH(n, T)                                                                                \
    SD_HANDLER(h_match##n)                                                                         \
    {                                                                                              \
        const T *a = SD_ROW(const T, ip->a);                                                       \
        uint32_t *d = SD_ROW(uint32_t, ip->dst);                                                   \
        uint32_t agree = 0;                                                                        \
        if (!meet(w, ip, regs))                                                                    \
            return NULL;                                                                           \
        EACH_SET_OF_LANES(set, in)                                                                 \
        {                                                                                          \
            uint32_t left = in & set;                                                              \
            while (left != 0) {                                                                    \
                const T v = a[sd_first_lane(left)];                                                \
                uint32_t same = 0;                                                                 \
                SD_EACH_SET(i, left)                                                               \
                    same |= a[i] == v ? 1u << i : 0;                                               \
                if (ip->flags != 0) {                                                              \
                    const bool all = same == left;                                                 \
                    agree |= all ? set : 0;                                                        \
                    SD_EACH_SET(k, left)                                                           \
                        d[k] = all ? same : 0;                                                     \
                    break;                                                                         \
                }                                                                                  \
                left &= ~same;                                                                     \
                SD_EACH_SET(k, same)                                                               \
                    d[k] = same;                                                                   \
            }                                                                                      \
        }                                                                                          \
        if (ip->flags != 0)                                                                        \
            sd_pred_set(&SD_PRED(ip->b), agree, w->mask);                                          \
        return ip + 1;                                                                             \
    }
MATCH(32, uint32_t)
MATCH(64, uint64_t)

static uint32_t
redux_step(unsigned kind, uint32_t a, uint32_t b)
{
    switch (kind) {
    case SD_REDUX_ADD:
    case SD_REDUX_ADD | SD_REDUX_SIGNED: return a + b;
    case SD_REDUX_MIN: return a < b ? a : b;
    case SD_REDUX_MAX: return a > b ? a : b;
    case SD_REDUX_MIN | SD_REDUX_SIGNED: return (int32_t)a < (int32_t)b ? a : b;
    case SD_REDUX_MAX | SD_REDUX_SIGNED: return (int32_t)a > (int32_t)b ? a : b;
    case SD_REDUX_AND: return a & b;
    case SD_REDUX_OR: return a | b;
    default: return a ^ b;
    }
}

SD_HANDLER(h_redux)
{
    const uint32_t *a = SD_ROW(const uint32_t, ip->a);

    if (!meet(w, ip, regs))
        return NULL;
    EACH_SET_OF_LANES(set, in)
    {
        uint32_t v = a[sd_first_lane(in != 0 ? in : set)];

        SD_EACH_SET(i, in & (in - 1))
            v = redux_step(ip->flags, v, a[i]);
        broadcast32(regs, ip->dst, v, set);
    }
    return ip + 1;
}

static float
redux_f32(unsigned flags, const float *a, uint32_t in)
{
    bool nan = (flags & SD_REDUX_NAN) != 0, any = false;
    float v = 0;

    SD_EACH_SET(i, in)
    {
        float x = (flags & SD_REDUX_ABS) != 0 ? sd_abs_f32(a[i]) : a[i];

        if (!any)
            v = sd_canon_f32(x);
        else if ((flags & 7) == SD_REDUX_MIN)
            v = nan ? sd_min_nan_f32(v, x) : sd_min_f32(v, x);
        else
            v = nan ? sd_max_nan_f32(v, x) : sd_max_f32(v, x);
        any = true;
    }
    return v;
}

SD_HANDLER(h_redux_f32)
{
    if (!meet(w, ip, regs))
        return NULL;
    EACH_SET_OF_LANES(set, in)
    {
        const float v = redux_f32(ip->flags, SD_ROW(const float, ip->a), in);

        broadcast32(regs, ip->dst, sd_bits_f32(v), set);
    }
    return ip + 1;
}

SD_HANDLER(h_activemask)
{
    broadcast32(regs, ip->dst, w->mask, w->mask);
    return ip + 1;
}

SD_HANDLER(h_elect)
{
    uint32_t leaders = 0;

    if (!meet(w, ip, regs))
        return NULL;
    EACH_SET_OF_LANES(set, in)
    {
        const unsigned leader = sd_first_lane(in != 0 ? in : set);

        leaders |= 1u << leader;
        broadcast32(regs, ip->dst, leader, set);
    }
    sd_pred_set(&SD_PRED(ip->b), leaders, w->mask);
    return ip + 1;
}

/* ---- barriers ---- */

/* flags: 1: b is the number of threads, 2: reduce predicate c */
SD_HANDLER(h_bar)
{
    unsigned lane = sd_first_lane(w->mask);
    uint32_t id = SD_ROW(const uint32_t, ip->a)[lane];
    uint32_t count = (ip->flags & 1) != 0 ? SD_ROW(const uint32_t, ip->b)[lane] : 0;
    struct sd_barrier *bar;

    if (id >= SD_BARRIERS)
        return sd_fault(w, ip, lane, CUDA_ERROR_ILLEGAL_INSTRUCTION, 0, "barrier %u of 16", id);
    if ((ip->flags & 1) != 0 && (count == 0 || count % 32 != 0))
        return sd_fault(w, ip, lane, CUDA_ERROR_ILLEGAL_INSTRUCTION, 0,
                        "barrier %u for %u threads, not a multiple of 32", id, count);
    bar = &w->block->bars[id];
    if ((ip->flags & 2) != 0) {
        bar->popc += (uint32_t)__builtin_popcount(SD_PRED(ip->c) & w->mask);
        bar->nred += (uint32_t)__builtin_popcount(w->mask);
    }
    if (sd_barrier_arrive(w, id, count, w->mask)) {
        w->reduced[id] = (struct sd_reduced){bar->popc, bar->nred};
        sd_barrier_release(w->block, id);
        if (w->nwait == 0)
            return ip + 1;
        sd_group_park(w, ip + 1, SD_RUN, 0);
    } else {
        bar->waiting++;
        sd_group_park(w, ip + 1, SD_AT_BARRIER, id);
    }
    sd_group_pick(w);
    return NULL;
}

SD_HANDLER(h_bar_arrive)
{
    unsigned lane = sd_first_lane(w->mask);
    uint32_t id = SD_ROW(const uint32_t, ip->a)[lane];
    uint32_t count = (ip->flags & 1) != 0 ? SD_ROW(const uint32_t, ip->b)[lane] : 0;

    if (id >= SD_BARRIERS || count == 0 || count % 32 != 0)
        return sd_fault(w, ip, lane, CUDA_ERROR_ILLEGAL_INSTRUCTION, 0,
                        "arrival at barrier %u for %u threads", id, count);
    if (sd_barrier_arrive(w, id, count, w->mask)) {
        sd_barrier_release(w->block, id);
        if (w->nwait > 0) {
            sd_group_park(w, ip + 1, SD_RUN, 0);
            sd_group_pick(w);
            return NULL;
        }
    }
    return ip + 1;
}

/* flags: 0 or, 1 and, 2 popc */
SD_HANDLER(h_bar_result)
{
    const struct sd_reduced *r =
        &w->reduced[SD_ROW(const uint32_t, ip->a)[sd_first_lane(w->mask)] % SD_BARRIERS];
    bool v;

    if (ip->flags == 2) {
        broadcast32(regs, ip->dst, r->popc, w->mask);
        return ip + 1;
    }
    v = ip->flags == 1 ? r->popc == r->n : r->popc != 0;
    sd_pred_set(&SD_PRED(ip->dst), v ? SD_LANES_ALL : 0, w->mask);
    return ip + 1;
}

SD_HANDLER(h_syncwarp)
{
    const uint32_t *members = SD_ROW(const uint32_t, ip->a);

    return all_meet(w, members) || sd_group_sync_each(w, ip, members) ? ip + 1 : NULL;
}

/* ---- special registers; flags: bytes of a lane, b: lanes differ ---- */

SD_HANDLER(h_sreg)
{
    uint64_t first = sd_sreg_value(w, ip->a, sd_first_lane(w->mask));

    SD_EACH_SET(i, w->mask)
    {
        uint64_t v = ip->b != 0 ? sd_sreg_value(w, ip->a, i) : first;

        if (ip->flags == 8)
            SD_ROW(uint64_t, ip->dst)[i] = v;
        else
            SD_ROW(uint32_t, ip->dst)[i] = (uint32_t)v;
    }
    return ip + 1;
}

SD_HANDLER(h_local_addr)
{
    uint64_t *d = SD_ROW(uint64_t, ip->dst);
    const uint64_t v = w->frame->local_base + ip->a;

    SD_EACH_SET(i, w->mask)
        d[i] = v;
    return ip + 1;
}

/* d: a struct sd_video in extra */
SD_HANDLER(h_video)
{
    const uint32_t *a = SD_ROW(const uint32_t, ip->a);
    const uint32_t *b = SD_ROW(const uint32_t, ip->b);
    const uint32_t *c = SD_ROW(const uint32_t, ip->c);
    struct sd_video v;

    memcpy(&v, w->frame->fn->extra + ip->d, sizeof(v));
    SD_EACH_SET(i, w->mask)
        SD_ROW(uint32_t, ip->dst)[i] = sd_video(&v, a[i], b[i], c[i]);
    return ip + 1;
}

void
SD_NAME(sd_fill_lanes)(struct sd_core *core)
{
#define ONE(id) core->full[SD_OP_##id] = core->masked[SD_OP_##id] = h_##id;
#define RT(id)  core->full[SD_OP_##id] = core->masked[SD_OP_##id] = sd_rt_call;
    ONE(shfl) ONE(vote_ballot) ONE(vote) ONE(match32) ONE(match64) ONE(redux) ONE(redux_f32)
    ONE(activemask) ONE(elect) ONE(bar) ONE(bar_arrive) ONE(bar_result) ONE(syncwarp) ONE(sreg)
    ONE(local_addr) ONE(video)
    core->full[SD_OP_cp_async] = core->masked[SD_OP_cp_async] = sd_cp_async;
    core->full[SD_OP_cp_bulk] = core->masked[SD_OP_cp_bulk] = sd_cp_bulk;
#define FN(id, fn) core->full[SD_OP_##id] = core->masked[SD_OP_##id] = fn;
    FN(st_async, sd_st_async) FN(cluster_arrive, sd_cluster_arrive) FN(cluster_wait, sd_cluster_wait)
    FN(cluster_address, sd_cluster_address)
    core->full[SD_OP_mbarrier] = core->masked[SD_OP_mbarrier] = sd_mbarrier;
    core->full[SD_OP_tex] = core->masked[SD_OP_tex] = sd_tex;
    RT(rt_vprintf) RT(rt_assert) RT(rt_malloc) RT(rt_free)
    RT(rt_launch_buffer) RT(rt_launch) RT(rt_stream_create) RT(rt_zero)
    RT(rt_set_condition)
}
