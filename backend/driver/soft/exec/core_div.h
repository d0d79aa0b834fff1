/* backend/driver/soft/exec/core_div.h -- division of 32-bit integers, all lanes at once
 *
 * By way of doubles: quotient and operands have 32 bits, so what is not a whole number lies further
 * from the next one than a double's rounding reaches. Where all lanes divide by the same, which
 * programs mostly do, the products with its reciprocal may come out just below a whole number: then
 * the remainder is as large as the divisor. Division by zero gives all ones.
 */
#ifndef SD_CORE_DIV_H
#define SD_CORE_DIV_H

#include "backend/driver/soft/exec/core.h"

enum sd_div_part {
    SD_QUOTIENT,
    SD_REMAINDER,
};

/* Exact; compilers have vectors for signed numbers. */
static inline double
sd_u32_as_f64(uint32_t v)
{
    return (double)(int32_t)(v ^ 0x80000000u) + 0x1p31;
}

/* n / d for d that is not below 2, given their quotient's estimate. */
static inline uint32_t
sd_div_finish(uint32_t n, uint32_t d, double estimate, enum sd_div_part part)
{
    uint32_t q = (uint32_t)(int32_t)estimate, r = n - q * d, over = r >= d;

    return part == SD_QUOTIENT ? q + over : r - (over ? d : 0);
}

static inline uint32_t
sd_div_lane(uint32_t a, uint32_t b, bool is_signed, enum sd_div_part part, double reciprocal)
{
    const uint32_t a_sign = is_signed ? (uint32_t)((int32_t)a >> 31) : 0;
    const uint32_t b_sign = is_signed ? (uint32_t)((int32_t)b >> 31) : 0;
    const uint32_t sign = part == SD_QUOTIENT ? a_sign ^ b_sign : a_sign;
    const uint32_t n = (a ^ a_sign) - a_sign, d = (b ^ b_sign) - b_sign;
    const uint32_t by = d < 2 ? 2 : d;
    const double estimate =
        reciprocal != 0 ? sd_u32_as_f64(n) * reciprocal : sd_u32_as_f64(n) / sd_u32_as_f64(by);
    const uint32_t most = sd_div_finish(n, by, estimate, part);
    const uint32_t magnitude = d == 1 ? (part == SD_QUOTIENT ? n : 0) : most;

    return b == 0 ? ~0u : (magnitude ^ sign) - sign;
}

static inline void
sd_div_lanes(uint32_t *d, const uint32_t *a, const uint32_t *b, bool is_signed,
             enum sd_div_part part)
{
    if (sd_follow32(b, 0)) {
        const uint32_t one = b[0];
        const uint32_t by = is_signed && (int32_t)one < 0 ? 0u - one : one;
        const double reciprocal = 1.0 / (double)(by < 2 ? 2 : by);

        SD_EACH_LANE(i)
        d[i] = sd_div_lane(a[i], one, is_signed, part, reciprocal);
    } else {
        SD_EACH_LANE(i)
        d[i] = sd_div_lane(a[i], b[i], is_signed, part, 0);
    }
}

#define SD_DIV_OP(id, is_signed, part)                                                             \
    SD_HANDLER(m_##id)                                                                             \
    {                                                                                              \
        const uint32_t *a = SD_ROW(const uint32_t, ip->a), *b = SD_ROW(const uint32_t, ip->b);     \
        uint32_t out[SD_LANES] __attribute__((aligned(64)));                                       \
                                                                                                   \
        sd_div_lanes(out, a, b, is_signed, part);                                                  \
        sd_blend32(SD_ROW(uint32_t, ip->dst), out, w->mask);                                       \
        return ip + 1;                                                                             \
    }
#define SD_DIV_OPS                                                                                 \
    SD_DIV_OP(div_u32, false, SD_QUOTIENT)                                                         \
    SD_DIV_OP(div_s32, true, SD_QUOTIENT)                                                          \
    SD_DIV_OP(rem_u32, false, SD_REMAINDER)                                                        \
    SD_DIV_OP(rem_s32, true, SD_REMAINDER)

#endif
