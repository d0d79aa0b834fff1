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

#if defined(__x86_64__)
#include <immintrin.h>
#endif

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

/*
 * The end of a handler for whole warps: the next one is jumped to, the main loop is not passed.
 * Only where the compiler makes a jump of it (meson.build knows; test_chain.c checks), and not in
 * handlers that serve partial warps too: h_guard calls those and wants to come back.
 */
#ifndef SD_THREADED
#define SD_GO(next)                                                                                \
    do {                                                                                           \
        (void)w;                                                                                   \
        (void)regs;                                                                                \
        return (next);                                                                             \
    } while (0)
#elif defined(__clang__)
#define SD_GO(next)                                                                                \
    do {                                                                                           \
        const struct sd_insn *go_ = (next);                                                        \
        __attribute__((musttail)) return go_->fn(w, go_, regs);                                    \
    } while (0)
#else
#define SD_GO(next)                                                                                \
    do {                                                                                           \
        const struct sd_insn *go_ = (next);                                                        \
        return go_->fn(w, go_, regs);                                                              \
    } while (0)
#endif

extern const uint32_t sd_lane_bits[32];
extern const uint64_t sd_lane_bits64[32];

/* Which of 32 lanes have their highest bit set: comparisons are made as lanes of all ones or
 * zero, so that compilers keep them in vectors. */
static inline uint32_t
sd_signs16(const int16_t *t)
{
    uint32_t bits = 0;

#ifdef __AVX512BW__
    bits = _mm512_movepi16_mask(*(const __m512i *)t);
#elif defined(__AVX2__)
    bits = (uint32_t)_mm256_movemask_epi8(_mm256_permute4x64_epi64(
        _mm256_packs_epi16(*(const __m256i *)t, *(const __m256i *)(t + 16)), 0xd8));
#elif defined(__SSE2__)
    for (unsigned i = 0; i < SD_LANES; i += 16)
        bits |= (uint32_t)_mm_movemask_epi8(
                    _mm_packs_epi16(*(const __m128i *)(t + i), *(const __m128i *)(t + i + 8)))
                << i;
#else
    for (unsigned i = 0; i < SD_LANES; i++)
        bits |= (uint32_t)(t[i] < 0) << i;
#endif
    return bits;
}

static inline uint32_t
sd_signs32(const int32_t *t)
{
    uint32_t bits = 0;

#ifdef __AVX512DQ__
    bits = _mm512_movepi32_mask(*(const __m512i *)t) |
           (uint32_t)_mm512_movepi32_mask(*(const __m512i *)(t + 16)) << 16;
#elif defined(__AVX2__)
    for (unsigned i = 0; i < SD_LANES; i += 8)
        bits |= (uint32_t)_mm256_movemask_ps(*(const __m256 *)(const void *)(t + i)) << i;
#elif defined(__SSE2__)
    for (unsigned i = 0; i < SD_LANES; i += 4)
        bits |= (uint32_t)_mm_movemask_ps(*(const __m128 *)(const void *)(t + i)) << i;
#else
    for (unsigned i = 0; i < SD_LANES; i++)
        bits |= (uint32_t)(t[i] < 0) << i;
#endif
    return bits;
}

static inline uint32_t
sd_signs64(const int64_t *t)
{
    uint32_t bits = 0;

#ifdef __AVX512DQ__
    for (unsigned i = 0; i < SD_LANES; i += 8)
        bits |= (uint32_t)_mm512_movepi64_mask(*(const __m512i *)(t + i)) << i;
#elif defined(__AVX2__)
    for (unsigned i = 0; i < SD_LANES; i += 4)
        bits |= (uint32_t)_mm256_movemask_pd(*(const __m256d *)(const void *)(t + i)) << i;
#elif defined(__SSE2__)
    for (unsigned i = 0; i < SD_LANES; i += 2)
        bits |= (uint32_t)_mm_movemask_pd(*(const __m128d *)(const void *)(t + i)) << i;
#else
    for (unsigned i = 0; i < SD_LANES; i++)
        bits |= (uint32_t)(t[i] < 0) << i;
#endif
    return bits;
}

/* A signed integer as wide as T, for lanes of all ones or zero beside lanes of T. */
#define SD_TRUTH(T)                                                                                \
    __typeof__(__builtin_choose_expr(                                                              \
        sizeof(T) == 8, (int64_t)0,                                                                \
        __builtin_choose_expr(sizeof(T) == 4, (int32_t)0, (int16_t)0)))
#define SD_SIGNS(t) _Generic((t), int16_t * : sd_signs16, int32_t * : sd_signs32, int64_t * : sd_signs64)(t)

/* All ones where none of the bits is set. (The other way round costs an instruction more.) */
#define SD_UNLESS(T, bits) ((bits) == 0 ? (T) ~(T)0 : (T)0)

/* Copy the rows' lanes of mask m. The choice is made of bits, not of ?:, because compilers turn
 * that into loads under a mask. */
#define SD_BLEND_OF(n, T, BITS)                                                                    \
    static inline void sd_blend##n(T *dst, const T *src, uint32_t m)                               \
    {                                                                                              \
        SD_EACH_LANE(i)                                                                            \
        {                                                                                          \
            const T keep = SD_UNLESS(T, BITS[i] & m);                                              \
                                                                                                   \
            dst[i] = (T)((dst[i] & keep) | (src[i] & (T)~keep));                                   \
        }                                                                                          \
    }
SD_BLEND_OF(16, uint16_t, sd_lane_bits)
SD_BLEND_OF(32, uint32_t, sd_lane_bits)
SD_BLEND_OF(64, uint64_t, sd_lane_bits64)

#define SD_BLEND(T, dst, src, m)                                                                   \
    do {                                                                                           \
        if (sizeof(T) == 2)                                                                        \
            sd_blend16((uint16_t *)(void *)(dst), (const uint16_t *)(const void *)(src), (m));      \
        else if (sizeof(T) == 4)                                                                   \
            sd_blend32((uint32_t *)(void *)(dst), (const uint32_t *)(const void *)(src), (m));      \
        else                                                                                       \
            sd_blend64((uint64_t *)(void *)(dst), (const uint64_t *)(const void *)(src), (m));      \
    } while (0)

/* ---- addresses that follow each other ---- */

#ifdef __AVX512F__
#define SD_VEC_BYTES 64
#elif defined(__AVX2__)
#define SD_VEC_BYTES 32
#else
#define SD_VEC_BYTES 16
#endif
typedef uint32_t sd_vec32 __attribute__((vector_size(SD_VEC_BYTES), may_alias));
typedef uint64_t sd_vec64 __attribute__((vector_size(SD_VEC_BYTES), may_alias));

static inline bool
sd_vec_is_zero(sd_vec64 v)
{
#ifdef __AVX512F__
    return _mm512_test_epi64_mask((__m512i)v, (__m512i)v) == 0;
#elif defined(__AVX2__)
    return _mm256_testz_si256((__m256i)v, (__m256i)v);
#else
    return (v[0] | v[1]) == 0;
#endif
}

/* Here and not in core.c, so that compilers can fold their multiples. */
#define SD_NUMBER4(n)  (n), (n) + 1, (n) + 2, (n) + 3
#define SD_NUMBER16(n) SD_NUMBER4(n), SD_NUMBER4((n) + 4), SD_NUMBER4((n) + 8), SD_NUMBER4((n) + 12)
static const uint32_t sd_lane_numbers[SD_LANES] __attribute__((aligned(64))) = {
    SD_NUMBER16(0), SD_NUMBER16(16)};
static const uint64_t sd_lane_numbers64[SD_LANES] __attribute__((aligned(64))) = {
    SD_NUMBER16(0), SD_NUMBER16(16)};

/* Is a[i] = a[0] + i * step for all lanes? */
#define SD_FOLLOW_OF(n, T, V, NUMBERS)                                                             \
    static inline bool sd_follow##n(const T *a, T step)                                            \
    {                                                                                              \
        const unsigned lanes = sizeof(V) / sizeof(T);                                              \
        const T first = a[0];                                                                      \
        V all = {0};                                                                               \
                                                                                                   \
        for (unsigned i = 0; i < SD_LANES; i += lanes)                                             \
            all |= *(const V *)(a + i) ^ (*(const V *)(NUMBERS + i) * step + first);               \
        return sd_vec_is_zero((sd_vec64)all);                                                      \
    }
SD_FOLLOW_OF(32, uint32_t, sd_vec32, sd_lane_numbers)
SD_FOLLOW_OF(64, uint64_t, sd_vec64, sd_lane_numbers64)

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
