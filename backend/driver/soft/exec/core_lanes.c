/* backend/driver/soft/exec/core_lanes.c -- shuffles, votes, barriers, special registers
 *
 * d is the row of the lanes that take part. Instructions that need lanes which are elsewhere
 * park their group and are executed again when those have come.
 */
#include "backend/driver/soft/exec/core.h"
#include "backend/driver/soft/exec/lanes.h"

static inline uint32_t
members_of(const struct sd_warp *w, const uint8_t *regs, uint32_t row)
{
    return ((const uint32_t *)(const void *)(regs + row))[sd_first_lane(w->mask)];
}

static inline void
broadcast32(const struct sd_warp *w, uint8_t *regs, uint32_t row, uint32_t v)
{
    uint32_t tmp[SD_LANES] __attribute__((aligned(64)));

    SD_EACH_LANE(i)
        tmp[i] = v;
    sd_blend32(SD_ROW(uint32_t, row), tmp, w->mask);
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

    if (!sd_group_meet(w, ip, members_of(w, regs, ip->d)))
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
    uint32_t members = members_of(w, regs, ip->d);

    if (!sd_group_meet(w, ip, members))
        return NULL;
    broadcast32(w, regs, ip->dst, SD_PRED(ip->a) & w->mask & members);
    return ip + 1;
}

SD_HANDLER(h_vote)
{
    uint32_t members = members_of(w, regs, ip->d);
    uint32_t in, yes;
    bool v;

    if (!sd_group_meet(w, ip, members))
        return NULL;
    in = w->mask & members;
    yes = SD_PRED(ip->a) & in;
    v = ip->flags == SD_VOTE_ALL ? yes == in : ip->flags == SD_VOTE_ANY ? yes != 0
                                                                       : yes == in || yes == 0;
    sd_pred_set(&SD_PRED(ip->dst), v ? SD_LANES_ALL : 0, w->mask);
    return ip + 1;
}

#define MATCH(n, T)                                                                                \
    SD_HANDLER(h_match##n)                                                                         \
    {                                                                                              \
        const T *a = SD_ROW(const T, ip->a);                                                       \
        uint32_t *d = SD_ROW(uint32_t, ip->dst);                                                   \
        uint32_t members = members_of(w, regs, ip->d), left, first = 0;                            \
        if (!sd_group_meet(w, ip, members))                                                        \
            return NULL;                                                                           \
        for (left = w->mask & members; left != 0;) {                                               \
            const T v = a[sd_first_lane(left)];                                                    \
            uint32_t same = 0;                                                                     \
            SD_EACH_SET(i, left)                                                                   \
                same |= a[i] == v ? 1u << i : 0;                                                   \
            if (first == 0)                                                                        \
                first = same;                                                                      \
            left &= ~same;                                                                         \
            if (ip->flags == 0)                                                                    \
                SD_EACH_SET(k, same)                                                               \
                    d[k] = same;                                                                   \
        }                                                                                          \
        if (ip->flags != 0) {                                                                      \
            bool all = first == (w->mask & members);                                               \
            SD_EACH_SET(k, w->mask & members)                                                      \
                d[k] = all ? first : 0;                                                            \
            sd_pred_set(&SD_PRED(ip->b), all ? SD_LANES_ALL : 0, w->mask);                         \
        }                                                                                          \
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
    uint32_t members = members_of(w, regs, ip->d), v;
    uint32_t in;

    if (!sd_group_meet(w, ip, members))
        return NULL;
    in = w->mask & members;
    v = a[sd_first_lane(in != 0 ? in : w->mask)];
    SD_EACH_SET(i, in & (in - 1))
        v = redux_step(ip->flags, v, a[i]);
    broadcast32(w, regs, ip->dst, v);
    return ip + 1;
}

SD_HANDLER(h_redux_f32)
{
    const float *a = SD_ROW(const float, ip->a);
    uint32_t members = members_of(w, regs, ip->d), in;
    bool nan = (ip->flags & SD_REDUX_NAN) != 0;
    float v = 0;
    bool any = false;

    if (!sd_group_meet(w, ip, members))
        return NULL;
    in = w->mask & members;
    SD_EACH_SET(i, in)
    {
        float x = (ip->flags & SD_REDUX_ABS) != 0 ? sd_abs_f32(a[i]) : a[i];

        if (!any)
            v = sd_canon_f32(x);
        else if ((ip->flags & 7) == SD_REDUX_MIN)
            v = nan ? sd_min_nan_f32(v, x) : sd_min_f32(v, x);
        else
            v = nan ? sd_max_nan_f32(v, x) : sd_max_f32(v, x);
        any = true;
    }
    broadcast32(w, regs, ip->dst, sd_bits_f32(v));
    return ip + 1;
}

SD_HANDLER(h_activemask)
{
    broadcast32(w, regs, ip->dst, w->mask);
    return ip + 1;
}

SD_HANDLER(h_elect)
{
    uint32_t members = members_of(w, regs, ip->d), in;

    if (!sd_group_meet(w, ip, members))
        return NULL;
    in = w->mask & members;
    in = in != 0 ? in : w->mask;
    broadcast32(w, regs, ip->dst, sd_first_lane(in));
    sd_pred_set(&SD_PRED(ip->b), 1u << sd_first_lane(in), w->mask);
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
    const struct sd_barrier *bar =
        &w->block->bars[SD_ROW(const uint32_t, ip->a)[sd_first_lane(w->mask)] % SD_BARRIERS];
    bool v;

    if (ip->flags == 2) {
        broadcast32(w, regs, ip->dst, bar->result_popc);
        return ip + 1;
    }
    v = ip->flags == 1 ? bar->result_popc == bar->result_n : bar->result_popc != 0;
    sd_pred_set(&SD_PRED(ip->dst), v ? SD_LANES_ALL : 0, w->mask);
    return ip + 1;
}

SD_HANDLER(h_syncwarp)
{
    uint32_t members = members_of(w, regs, ip->a);

    if ((members & w->live & ~w->mask) == 0)
        return ip + 1;
    sd_group_park(w, ip + 1, SD_AT_WARP, members);
    sd_group_pick(w);
    return NULL;
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
