/* backend/driver/soft/exec/core_alu.c -- handlers of the lane-wise operations, from ops.def */
#include "backend/driver/soft/exec/core_div.h"

#include <math.h>

/* ---- results of the less used forms ---- */

static inline float
sd_finish_f32(float x, unsigned fl)
{
    if (fl & SD_FL_FTZ)
        x = sd_ftz_f32(x);
    if (fl & SD_FL_SAT)
        x = sd_sat_f32(x);
    return sd_canon_f32(x);
}

static inline uint16_t
sd_finish_f16(uint16_t h, unsigned fl)
{
    if (fl & SD_FL_FTZ)
        h = sd_ftz_f16(h);
    if (fl & SD_FL_SAT)
        h = sd_sat_f16(h);
    if (fl & SD_FL_RELU)
        h = sd_relu_f16(h);
    return h;
}

static inline uint16_t
sd_finish_bf16(uint16_t h, unsigned fl)
{
    if (fl & SD_FL_SAT)
        h = sd_sat_bf16(h);
    if (fl & SD_FL_RELU)
        h = sd_relu_bf16(h);
    return h;
}

static inline uint32_t
sd_finish_f16x2(uint32_t v, unsigned fl)
{
    return sd_finish_f16((uint16_t)v, fl) | (uint32_t)sd_finish_f16((uint16_t)(v >> 16), fl) << 16;
}

static inline uint32_t
sd_finish_bf16x2(uint32_t v, unsigned fl)
{
    return sd_finish_bf16((uint16_t)v, fl) | (uint32_t)sd_finish_bf16((uint16_t)(v >> 16), fl) << 16;
}

static inline unsigned
sd_small_mods(unsigned fl)
{
    return (fl & SD_FL_SATFINITE ? SD_SATFINITE : 0u) | (fl & SD_FL_RELU ? SD_RELU : 0u) |
           (fl & SD_FL_SAT ? SD_SAT01 : 0u);
}

/* ---- shapes: "f_" for whole warps, "m_" for partial ones ---- */

#define ROWS_U(D, A)       D *d = SD_ROW(D, ip->dst); const A *pa = SD_ROW(const A, ip->a);
#define ROWS_B(D, A, B)    ROWS_U(D, A) const B *pb = SD_ROW(const B, ip->b);
#define ROWS_T(D, A, B, C) ROWS_B(D, A, B) const C *pc = SD_ROW(const C, ip->c);
#define ROWS_Q(D, A, B, C, E) ROWS_T(D, A, B, C) const E *pe = SD_ROW(const E, ip->d);

#define LANES_U(A, out, expr)    SD_EACH_LANE(i) { const A a = pa[i]; out[i] = (expr); }
#define LANES_B(A, B, out, expr)                                                                   \
    SD_EACH_LANE(i) { const A a = pa[i]; const B b = pb[i]; out[i] = (expr); }
#define LANES_T(A, B, C, out, expr)                                                                \
    SD_EACH_LANE(i) { const A a = pa[i]; const B b = pb[i]; const C c = pc[i]; out[i] = (expr); }
#define LANES_Q(A, B, C, E, out, expr)                                                             \
    SD_EACH_LANE(i)                                                                                \
    { const A a = pa[i]; const B b = pb[i]; const C c = pc[i]; const E e = pe[i]; out[i] = (expr); }

#define FULL(id, rows, lanes)                                                                      \
    SD_HANDLER(f_##id)                                                                             \
    {                                                                                              \
        rows (void)w;                                                                              \
        lanes                                                                                      \
        SD_GO(ip + 1);                                                                             \
    }
#define MASKED(id, D, rows, lanes)                                                                 \
    SD_HANDLER(m_##id)                                                                             \
    {                                                                                              \
        D aside[SD_LANES] __attribute__((aligned(64)));                                            \
        const unsigned fl __attribute__((unused)) = ip->flags;                                     \
        const bool quiet = (ip->flags & SD_FL_QUIET) != 0;                                         \
        rows                                                                                       \
        D *tmp = __builtin_assume_aligned(quiet ? d : aside, 64);                                  \
        lanes                                                                                      \
        if (!quiet)                                                                                \
            SD_BLEND(D, d, aside, w->mask);                                                        \
        return ip + 1;                                                                             \
    }

#define OP_U(id, name, D, A, expr)                                                                 \
    FULL(id, ROWS_U(D, A), LANES_U(A, d, expr)) MASKED(id, D, ROWS_U(D, A), LANES_U(A, tmp, expr))
#define OP_B(id, name, D, A, B, expr)                                                              \
    FULL(id, ROWS_B(D, A, B), LANES_B(A, B, d, expr))                                              \
    MASKED(id, D, ROWS_B(D, A, B), LANES_B(A, B, tmp, expr))
#define OP_T(id, name, D, A, B, C, expr)                                                           \
    FULL(id, ROWS_T(D, A, B, C), LANES_T(A, B, C, d, expr))                                        \
    MASKED(id, D, ROWS_T(D, A, B, C), LANES_T(A, B, C, tmp, expr))
#define OP_Q(id, name, D, A, B, C, E, expr)                                                        \
    FULL(id, ROWS_Q(D, A, B, C, E), LANES_Q(A, B, C, E, d, expr))                                  \
    MASKED(id, D, ROWS_Q(D, A, B, C, E), LANES_Q(A, B, C, E, tmp, expr))
#define OP_I(id, name, D, A, expr)                                                                 \
    FULL(id, const uint32_t imm = ip->b; ROWS_U(D, A), LANES_U(A, d, expr))                        \
    MASKED(id, D, const uint32_t imm = ip->b; ROWS_U(D, A), LANES_U(A, tmp, expr))
#define OP_SU(id, name, D, A, expr)       MASKED(id, D, ROWS_U(D, A), LANES_U(A, tmp, expr))
#define OP_SB(id, name, D, A, B, expr)    MASKED(id, D, ROWS_B(D, A, B), LANES_B(A, B, tmp, expr))
#define OP_ST(id, name, D, A, B, C, expr)                                                          \
    MASKED(id, D, ROWS_T(D, A, B, C), LANES_T(A, B, C, tmp, expr))

#define COMPARE(A, B, expr)                                                                        \
    const A *pa = SD_ROW(const A, ip->a);                                                          \
    const B *pb = SD_ROW(const B, ip->b);                                                          \
    SD_TRUTH(A) truth[SD_LANES] __attribute__((aligned(64)));                                      \
    uint32_t bits;                                                                                 \
    SD_EACH_LANE(i)                                                                                \
    {                                                                                              \
        const A a = pa[i];                                                                         \
        const B b __attribute__((unused)) = pb[i];                                                 \
        truth[i] = (expr) ? -1 : 0;                                                                \
    }                                                                                              \
    bits = SD_SIGNS(truth);
#define OP_C(id, name, A, B, expr)                                                                 \
    SD_HANDLER(f_##id)                                                                             \
    {                                                                                              \
        COMPARE(A, B, expr)(void) w;                                                               \
        SD_PRED(ip->dst) = bits;                                                                   \
        SD_GO(ip + 1);                                                                             \
    }                                                                                              \
    OP_SC(id, name, A, B, expr)
#define OP_SC(id, name, A, B, expr)                                                                \
    SD_HANDLER(m_##id)                                                                             \
    {                                                                                              \
        COMPARE(A, B, expr)                                                                        \
        sd_pred_set(&SD_PRED(ip->dst), bits, w->mask);                                             \
        return ip + 1;                                                                             \
    }

#define OP_D(id, name, D, A, B, expr)
SD_DIV_OPS

#include "backend/driver/soft/exec/ops.def"

void
SD_NAME(sd_fill_alu)(struct sd_core *core)
{
#define BOTH(id)                                                                                   \
    core->full[SD_OP_##id] = f_##id;                                                               \
    core->masked[SD_OP_##id] = m_##id;
#define ONE(id) core->full[SD_OP_##id] = core->masked[SD_OP_##id] = m_##id;
#define OP_U(id, name, D, A, expr)          BOTH(id)
#define OP_B(id, name, D, A, B, expr)       BOTH(id)
#define OP_T(id, name, D, A, B, C, expr)    BOTH(id)
#define OP_Q(id, name, D, A, B, C, E, expr) BOTH(id)
#define OP_C(id, name, A, B, expr)          BOTH(id)
#define OP_I(id, name, D, A, expr)          BOTH(id)
#define OP_SU(id, name, D, A, expr)         ONE(id)
#define OP_SB(id, name, D, A, B, expr)      ONE(id)
#define OP_D(id, name, D, A, B, expr)       ONE(id)
#define OP_ST(id, name, D, A, B, C, expr)   ONE(id)
#define OP_SC(id, name, A, B, expr)         ONE(id)
#include "backend/driver/soft/exec/ops.def"
}
