/* backend/driver/soft/exec/core.h -- inside the interpreter's handlers
 *
 * The core_*.c files are compiled once per instruction set with SD_CORE set to its name. Loops
 * over lanes are written so that the compiler vectorises them: rows of operands are either the
 * same or disjoint.
 */
#ifndef SD_CORE_H
#define SD_CORE_H

#include "backend/driver/soft/exec/warp.h"
#include "backend/driver/soft/math/sd_math.h"

#ifndef SD_CORE
#error "SD_CORE must name the instruction set"
#endif
#define SD_PASTE2(a, b) a##_##b
#define SD_PASTE(a, b)  SD_PASTE2(a, b)
#define SD_NAME(x)      SD_PASTE(x, SD_CORE)

#ifdef __clang__
#define SD_LOOP _Pragma("clang loop vectorize(assume_safety)")
#else
#define SD_LOOP _Pragma("GCC ivdep")
#endif
#define SD_EACH_LANE(i) SD_LOOP for (unsigned i = 0; i < SD_LANES; i++)
#define SD_EACH_SET(i, m)                                                                          \
    for (uint32_t m_##i = (m), i; m_##i != 0 && (i = (uint32_t)__builtin_ctz(m_##i), 1);           \
         m_##i &= m_##i - 1)

#define SD_ROW(T, off)  ((T *)__builtin_assume_aligned(regs + (off), 64))
#define SD_PRED(off)    (*(uint32_t *)(regs + (off)))
#define SD_HANDLER(n)                                                                              \
    static const struct sd_insn *n(struct sd_warp *w, const struct sd_insn *ip, uint8_t *regs)

extern const uint32_t sd_lane_bits[32];

/* Copy the rows' lanes of mask m. */
static inline void
sd_blend16(uint16_t *dst, const uint16_t *src, uint32_t m)
{
    SD_EACH_LANE(i)
        dst[i] = (sd_lane_bits[i] & m) != 0 ? src[i] : dst[i];
}

static inline void
sd_blend32(uint32_t *dst, const uint32_t *src, uint32_t m)
{
    SD_EACH_LANE(i)
        dst[i] = (sd_lane_bits[i] & m) != 0 ? src[i] : dst[i];
}

static inline void
sd_blend64(uint64_t *dst, const uint64_t *src, uint32_t m)
{
    SD_EACH_LANE(i)
        dst[i] = (sd_lane_bits[i] & m) != 0 ? src[i] : dst[i];
}

#define SD_BLEND(T, dst, src, m)                                                                   \
    do {                                                                                           \
        if (sizeof(T) == 2)                                                                        \
            sd_blend16((uint16_t *)(void *)(dst), (const uint16_t *)(const void *)(src), (m));      \
        else if (sizeof(T) == 4)                                                                   \
            sd_blend32((uint32_t *)(void *)(dst), (const uint32_t *)(const void *)(src), (m));      \
        else                                                                                       \
            sd_blend64((uint64_t *)(void *)(dst), (const uint64_t *)(const void *)(src), (m));      \
    } while (0)

/* Write a predicate's lanes of mask m. */
static inline void
sd_pred_set(uint32_t *p, uint32_t value, uint32_t m)
{
    *p = (*p & ~m) | (value & m);
}

void SD_NAME(sd_fill_alu)(struct sd_core *core);
void SD_NAME(sd_fill_ctl)(struct sd_core *core);
void SD_NAME(sd_fill_mem)(struct sd_core *core);
void SD_NAME(sd_fill_lanes)(struct sd_core *core);
void SD_NAME(sd_fill_mma)(struct sd_core *core);
void SD_NAME(sd_core_run)(struct sd_warp *w);

#endif
