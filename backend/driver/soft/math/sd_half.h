/* backend/driver/soft/math/sd_half.h -- f16, bf16, tf32 and the 8, 6 and 4 bit floats
 *
 * Values of small formats travel as bit patterns: uint16_t for f16 and bf16, uint8_t for the
 * rest (low bits), uint32_t for tf32 and for packed pairs (element 0 in the low half).
 * Rounding is exact: a conversion or operation rounds once, also into subnormals.
 * NaN results are the canonical 0x7fff (f16, bf16) and 0x7fffffff (f32).
 */
#ifndef SD_HALF_H
#define SD_HALF_H

#include "backend/driver/soft/math/sd_round.h"

enum sd_small {
    SD_F16,
    SD_BF16,
    SD_TF32,  /* 19 significant bits of an f32; result has 13 zero bits below */
    SD_E4M3,  /* no infinities; NaN 0x7f; largest 448 */
    SD_E5M2,  /* IEEE-like; NaN 0x7f; largest 57344 */
    SD_E2M3,  /* 6 bits, finite only; largest 7.5 */
    SD_E3M2,  /* 6 bits, finite only; largest 28 */
    SD_E2M1,  /* 4 bits, finite only; largest 6 */
    SD_UE8M0, /* 2^(x - 127); 0xff is NaN; modes SD_RZ and SD_RP only */
    SD_SMALL_COUNT,
};

/* Modifiers of sd_small_from_f64. */
#define SD_SATFINITE 1u /* overflow and infinity become the largest finite value */
#define SD_RELU      2u /* negative results become +0, NaN stays the canonical NaN */
#define SD_SAT01     4u /* .sat: clamp to [0, 1], NaN becomes +0 */

/*
 * Any f64 (so also any f32 or f16) to a small format, rounded once. E4M3 and the finite
 * formats always saturate; a NaN becomes the format's NaN, and the largest positive value
 * in formats without NaN (as the instruction defines).
 */
uint32_t sd_small_from_f64(double x, enum sd_small format, enum sd_round mode, unsigned modifiers);
/* Exact. Upper bits of v beyond the format are ignored. */
double sd_small_to_f64(uint32_t v, enum sd_small format);

/* Whole warps; the arrays may not overlap. */
void sd_f16_to_f32_v(float dst[SD_LANES], const uint16_t src[SD_LANES]);
void sd_f32_to_f16_v(uint16_t dst[SD_LANES], const float src[SD_LANES]);

SD_INLINE float
sd_f16_to_f32(uint16_t h)
{
    uint32_t mag = (uint32_t)(h & 0x7fffu) << 13;
    /* 2^112 rebiases the exponent and normalises subnormals; exact. */
    uint32_t u = sd_bits_f32(sd_f32_bits(mag) * 0x1p112f);

    u = mag >= 0x0f800000u ? u | 0x7f800000u : u;
    u = mag > 0x0f800000u ? SD_NAN_F32 : u | (uint32_t)(h & 0x8000u) << 16;
    return sd_f32_bits(u);
}

SD_INLINE float
sd_bf16_to_f32(uint16_t h)
{
    uint32_t u = (uint32_t)h << 16;

    return sd_f32_bits((u & 0x7fffffffu) > 0x7f800000u ? SD_NAN_F32 : u);
}

/* Round to nearest even. */
SD_INLINE uint16_t
sd_f32_to_f16_rn(float x)
{
    uint32_t u = sd_bits_f32(x);
    uint32_t sign = u >> 16 & 0x8000u;
    uint32_t mag = u & 0x7fffffffu;
    /* Normal results: add half an ulp (minus one when even) and rebias. */
    uint32_t normal = (mag + 0xfffu + (mag >> 13 & 1u) - 0x38000000u) >> 13;
    /* Subnormal results: adding 0.5 leaves the rounded fraction in the low bits. */
    uint32_t tiny = sd_bits_f32(sd_f32_bits(mag) + 0.5f) - 0x3f000000u;
    uint32_t r = mag < 0x38800000u ? tiny : normal;

    r = mag >= 0x477ff000u ? 0x7c00u : r;
    return (uint16_t)(mag > 0x7f800000u ? SD_NAN_F16 : r | sign);
}

SD_INLINE uint16_t
sd_f32_to_bf16_rn(float x)
{
    uint32_t u = sd_bits_f32(x);
    uint32_t r = (u + 0x7fffu + (u >> 16 & 1u)) >> 16;

    return (uint16_t)((u & 0x7fffffffu) > 0x7f800000u ? SD_NAN_BF16 : r);
}

SD_INLINE uint16_t
sd_f32_to_f16(float x, enum sd_round mode)
{
    if (mode == SD_RN)
        return sd_f32_to_f16_rn(x);
    return (uint16_t)sd_small_from_f64((double)x, SD_F16, mode, 0);
}

SD_INLINE uint16_t
sd_f32_to_bf16(float x, enum sd_round mode)
{
    if (mode == SD_RN)
        return sd_f32_to_bf16_rn(x);
    return (uint16_t)sd_small_from_f64((double)x, SD_BF16, mode, 0);
}

SD_INLINE uint16_t
sd_f64_to_f16(double x, enum sd_round mode)
{
    return (uint16_t)sd_small_from_f64(x, SD_F16, mode, 0);
}

SD_INLINE uint16_t
sd_f64_to_bf16(double x, enum sd_round mode)
{
    return (uint16_t)sd_small_from_f64(x, SD_BF16, mode, 0);
}

/* Ties away (SD_RNA) is what .rna.tf32 and wmma/mma fragments of nvcc use. */
SD_INLINE uint32_t
sd_f32_to_tf32(float x, enum sd_round mode, unsigned modifiers)
{
    return sd_small_from_f64((double)x, SD_TF32, mode, modifiers);
}

/* What mma reads from a .tf32 operand register: the low 13 bits are ignored. */
SD_INLINE float
sd_tf32_operand(uint32_t v)
{
    return sd_f32_bits(v & 0xffffe000u);
}

/* -- modifiers of f16 and bf16 results ---------------------------------------------- */

SD_INLINE uint16_t
sd_ftz_f16(uint16_t h)
{
    return (uint16_t)((h & 0x7c00u) == 0 ? h & 0x8000u : h);
}

SD_INLINE uint16_t
sd_ftz_bf16(uint16_t h)
{
    return (uint16_t)((h & 0x7f80u) == 0 ? h & 0x8000u : h);
}

/* .sat: [0, 1], NaN becomes +0. */
SD_INLINE uint16_t
sd_sat_f16(uint16_t h)
{
    return (uint16_t)(h >= 0x8000u || h > 0x7c00u ? 0 : h > 0x3c00u ? 0x3c00u : h);
}

SD_INLINE uint16_t
sd_sat_bf16(uint16_t h)
{
    return (uint16_t)(h >= 0x8000u || h > 0x7f80u ? 0 : h > 0x3f80u ? 0x3f80u : h);
}

/* .relu: negative becomes +0, NaN becomes the canonical NaN. */
SD_INLINE uint16_t
sd_relu_f16(uint16_t h)
{
    return (uint16_t)((h & 0x7fffu) > 0x7c00u ? SD_NAN_F16 : h >= 0x8000u ? 0 : h);
}

SD_INLINE uint16_t
sd_relu_bf16(uint16_t h)
{
    return (uint16_t)((h & 0x7fffu) > 0x7f80u ? SD_NAN_BF16 : h >= 0x8000u ? 0 : h);
}

/* -- arithmetic, one rounding to nearest even ---------------------------------------- */

/* Sums of halves are exact in f32 or safely wider; products are exact. */
SD_INLINE uint16_t
sd_add_f16(uint16_t a, uint16_t b)
{
    return sd_f32_to_f16_rn(sd_f16_to_f32(a) + sd_f16_to_f32(b));
}

SD_INLINE uint16_t
sd_sub_f16(uint16_t a, uint16_t b)
{
    return sd_f32_to_f16_rn(sd_f16_to_f32(a) - sd_f16_to_f32(b));
}

SD_INLINE uint16_t
sd_mul_f16(uint16_t a, uint16_t b)
{
    return sd_f32_to_f16_rn(sd_f16_to_f32(a) * sd_f16_to_f32(b));
}

uint16_t sd_fma_f16(uint16_t a, uint16_t b, uint16_t c);
uint16_t sd_add_bf16(uint16_t a, uint16_t b);
uint16_t sd_sub_bf16(uint16_t a, uint16_t b);
uint16_t sd_mul_bf16(uint16_t a, uint16_t b);
uint16_t sd_fma_bf16(uint16_t a, uint16_t b, uint16_t c);

/* min and max: the number wins over a NaN unless nan_wins (.NaN); -0 < +0. xorsign:
 * magnitudes are compared and the result's sign is the xor of the inputs' signs. */
uint16_t sd_min_f16(uint16_t a, uint16_t b, bool nan_wins, bool xorsign);
uint16_t sd_max_f16(uint16_t a, uint16_t b, bool nan_wins, bool xorsign);
uint16_t sd_min_bf16(uint16_t a, uint16_t b, bool nan_wins, bool xorsign);
uint16_t sd_max_bf16(uint16_t a, uint16_t b, bool nan_wins, bool xorsign);

/* ex2.approx and tanh.approx of the narrow formats: correctly rounded from f32. */
uint16_t sd_ex2_f16(uint16_t a);
uint16_t sd_ex2_bf16(uint16_t a);
uint16_t sd_tanh_f16(uint16_t a);
uint16_t sd_tanh_bf16(uint16_t a);

/* Packed pairs: apply a scalar function to both halves. */
#define SD_X2_1(fn, a) ((uint32_t)fn((uint16_t)(a)) | (uint32_t)fn((uint16_t)((a) >> 16)) << 16)
#define SD_X2_2(fn, a, b)                                                                          \
    ((uint32_t)fn((uint16_t)(a), (uint16_t)(b)) |                                                  \
     (uint32_t)fn((uint16_t)((a) >> 16), (uint16_t)((b) >> 16)) << 16)
#define SD_X2_3(fn, a, b, c)                                                                       \
    ((uint32_t)fn((uint16_t)(a), (uint16_t)(b), (uint16_t)(c)) |                                   \
     (uint32_t)fn((uint16_t)((a) >> 16), (uint16_t)((b) >> 16), (uint16_t)((c) >> 16)) << 16)

#endif
