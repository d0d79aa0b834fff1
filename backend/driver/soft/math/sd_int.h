/* backend/driver/soft/math/sd_int.h -- integer instructions with exactly PTX's semantics
 *
 * All inline, no undefined behaviour for any input. Registers are unsigned patterns; the
 * suffix names the type the instruction interprets them as.
 */
#ifndef SD_INT_H
#define SD_INT_H

#include "backend/driver/soft/math/sd_round.h"

/* -- multiply ------------------------------------------------------------------------ */

SD_INLINE uint16_t
sd_mulhi_u16(uint16_t a, uint16_t b)
{
    return (uint16_t)((uint32_t)a * b >> 16);
}

SD_INLINE uint16_t
sd_mulhi_s16(uint16_t a, uint16_t b)
{
    return (uint16_t)((uint32_t)((int16_t)a * (int16_t)b) >> 16);
}

SD_INLINE uint32_t
sd_mulhi_u32(uint32_t a, uint32_t b)
{
    return (uint32_t)((uint64_t)a * b >> 32);
}

SD_INLINE uint32_t
sd_mulhi_s32(uint32_t a, uint32_t b)
{
    return (uint32_t)((uint64_t)((int64_t)(int32_t)a * (int32_t)b) >> 32);
}

SD_INLINE uint64_t
sd_mulhi_u64(uint64_t a, uint64_t b)
{
    return (uint64_t)((unsigned __int128)a * b >> 64);
}

SD_INLINE uint64_t
sd_mulhi_s64(uint64_t a, uint64_t b)
{
    return (uint64_t)((unsigned __int128)((__int128)(int64_t)a * (int64_t)b) >> 64);
}

SD_INLINE int64_t
sd_sext24(uint32_t a)
{
    return (int32_t)(a << 8) >> 8;
}

/* 24 x 24 -> 48 bits; lo is bits 31..0, hi is bits 47..16. */
SD_INLINE uint32_t
sd_mul24lo_u32(uint32_t a, uint32_t b)
{
    return (a & 0xffffffu) * (b & 0xffffffu);
}

SD_INLINE uint32_t
sd_mul24lo_s32(uint32_t a, uint32_t b)
{
    return (uint32_t)(sd_sext24(a) * sd_sext24(b));
}

SD_INLINE uint32_t
sd_mul24hi_u32(uint32_t a, uint32_t b)
{
    return (uint32_t)((uint64_t)(a & 0xffffffu) * (b & 0xffffffu) >> 16);
}

SD_INLINE uint32_t
sd_mul24hi_s32(uint32_t a, uint32_t b)
{
    return (uint32_t)((uint64_t)(sd_sext24(a) * sd_sext24(b)) >> 16);
}

/* -- add, subtract -------------------------------------------------------------------- */

/* add.sat.s32; mad.hi.sat and mad24.hi.sat end in it too. */
SD_INLINE uint32_t
sd_addsat_s32(uint32_t a, uint32_t b)
{
    int64_t s = (int64_t)(int32_t)a + (int32_t)b;

    s = s > INT32_MAX ? INT32_MAX : s;
    return (uint32_t)(s < INT32_MIN ? INT32_MIN : s);
}

SD_INLINE uint32_t
sd_subsat_s32(uint32_t a, uint32_t b)
{
    int64_t s = (int64_t)(int32_t)a - (int32_t)b;

    s = s > INT32_MAX ? INT32_MAX : s;
    return (uint32_t)(s < INT32_MIN ? INT32_MIN : s);
}

/* The condition code is 0 or 1: the carry of add.cc and mad.cc, the borrow of sub.cc. */
SD_INLINE uint32_t
sd_addc_u32(uint32_t a, uint32_t b, uint32_t cc_in, uint32_t *cc_out)
{
    uint64_t s = (uint64_t)a + b + cc_in;

    *cc_out = (uint32_t)(s >> 32);
    return (uint32_t)s;
}

SD_INLINE uint32_t
sd_subc_u32(uint32_t a, uint32_t b, uint32_t borrow_in, uint32_t *borrow_out)
{
    uint64_t s = (uint64_t)a - b - borrow_in;

    *borrow_out = (uint32_t)(s >> 63);
    return (uint32_t)s;
}

SD_INLINE uint64_t
sd_addc_u64(uint64_t a, uint64_t b, uint64_t cc_in, uint64_t *cc_out)
{
    unsigned __int128 s = (unsigned __int128)a + b + cc_in;

    *cc_out = (uint64_t)(s >> 64);
    return (uint64_t)s;
}

SD_INLINE uint64_t
sd_subc_u64(uint64_t a, uint64_t b, uint64_t borrow_in, uint64_t *borrow_out)
{
    unsigned __int128 s = (unsigned __int128)a - b - borrow_in;

    *borrow_out = (uint64_t)(s >> 127);
    return (uint64_t)s;
}

/* c + |a - b|, wrapping. */
#define SD_SAD(width, sign, type)                                                                  \
    SD_INLINE uint##width##_t sd_sad_##sign##width(uint##width##_t a, uint##width##_t b,           \
                                                   uint##width##_t c)                              \
    {                                                                                              \
        uint##width##_t d =                                                                        \
            (type)a < (type)b ? (uint##width##_t)(b - a) : (uint##width##_t)(a - b);               \
                                                                                                   \
        return (uint##width##_t)(c + d);                                                           \
    }
SD_SAD(16, u, uint16_t)
SD_SAD(16, s, int16_t)
SD_SAD(32, u, uint32_t)
SD_SAD(32, s, int32_t)
SD_SAD(64, u, uint64_t)
SD_SAD(64, s, int64_t)
#undef SD_SAD

/* -- divide: by zero gives all ones for quotient and remainder; MIN / -1 wraps ----------- */

#define SD_DIV(width)                                                                              \
    SD_INLINE uint##width##_t sd_div_u##width(uint##width##_t a, uint##width##_t b)                \
    {                                                                                              \
        return b == 0 ? (uint##width##_t) ~0ull : (uint##width##_t)(a / b);                        \
    }                                                                                              \
    SD_INLINE uint##width##_t sd_rem_u##width(uint##width##_t a, uint##width##_t b)                \
    {                                                                                              \
        return b == 0 ? (uint##width##_t) ~0ull : (uint##width##_t)(a % b);                        \
    }                                                                                              \
    SD_INLINE uint##width##_t sd_div_s##width(uint##width##_t a, uint##width##_t b)                \
    {                                                                                              \
        if (b == 0)                                                                                \
            return (uint##width##_t) ~0ull;                                                        \
        if (b == (uint##width##_t) ~0ull)                                                          \
            return (uint##width##_t)(0 - a);                                                       \
        return (uint##width##_t)((int##width##_t)a / (int##width##_t)b);                           \
    }                                                                                              \
    SD_INLINE uint##width##_t sd_rem_s##width(uint##width##_t a, uint##width##_t b)                \
    {                                                                                              \
        if (b == 0)                                                                                \
            return (uint##width##_t) ~0ull;                                                        \
        if (b == (uint##width##_t) ~0ull)                                                          \
            return 0;                                                                              \
        return (uint##width##_t)((int##width##_t)a % (int##width##_t)b);                           \
    }
SD_DIV(16)
SD_DIV(32)
SD_DIV(64)
#undef SD_DIV

/* -- shifts: the amount is a full u32, clamped at the width ------------------------------ */

#define SD_SHIFT(width)                                                                            \
    SD_INLINE uint##width##_t sd_shl_b##width(uint##width##_t a, uint32_t n)                       \
    {                                                                                              \
        return (uint##width##_t)(n >= width ? 0 : (uint##width##_t)(a << (n & (width - 1))));      \
    }                                                                                              \
    SD_INLINE uint##width##_t sd_shr_u##width(uint##width##_t a, uint32_t n)                       \
    {                                                                                              \
        return (uint##width##_t)(n >= width ? 0 : a >> (n & (width - 1)));                         \
    }                                                                                              \
    SD_INLINE uint##width##_t sd_shr_s##width(uint##width##_t a, uint32_t n)                       \
    {                                                                                              \
        return (uint##width##_t)((int##width##_t)a >> (n >= width ? width - 1 : n));               \
    }
SD_SHIFT(16)
SD_SHIFT(32)
SD_SHIFT(64)
#undef SD_SHIFT

/* shf: the pair is {b, a} with b the high word; wrap masks the amount, clamp stops at 32. */
SD_INLINE uint32_t
sd_shf_l(uint32_t a, uint32_t b, uint32_t n, bool wrap)
{
    uint64_t pair = (uint64_t)b << 32 | a;

    n = wrap ? n & 31 : n > 32 ? 32 : n;
    return (uint32_t)(pair << n >> 32);
}

SD_INLINE uint32_t
sd_shf_r(uint32_t a, uint32_t b, uint32_t n, bool wrap)
{
    uint64_t pair = (uint64_t)b << 32 | a;

    n = wrap ? n & 31 : n > 32 ? 32 : n;
    return (uint32_t)(pair >> n);
}

/* -- bits ---------------------------------------------------------------------------------- */

SD_INLINE uint32_t
sd_brev_b32(uint32_t a)
{
    a = (a >> 1 & 0x55555555u) | (a & 0x55555555u) << 1;
    a = (a >> 2 & 0x33333333u) | (a & 0x33333333u) << 2;
    a = (a >> 4 & 0x0f0f0f0fu) | (a & 0x0f0f0f0fu) << 4;
    return __builtin_bswap32(a);
}

SD_INLINE uint64_t
sd_brev_b64(uint64_t a)
{
    return (uint64_t)sd_brev_b32((uint32_t)a) << 32 | sd_brev_b32((uint32_t)(a >> 32));
}

SD_INLINE uint32_t
sd_clz_b32(uint32_t a)
{
    return a == 0 ? 32 : (uint32_t)__builtin_clz(a);
}

SD_INLINE uint32_t
sd_clz_b64(uint64_t a)
{
    return a == 0 ? 64 : (uint32_t)__builtin_clzll(a);
}

SD_INLINE uint32_t
sd_popc_b32(uint32_t a)
{
    a -= a >> 1 & 0x55555555u;
    a = (a & 0x33333333u) + (a >> 2 & 0x33333333u);
    a = (a + (a >> 4)) & 0x0f0f0f0fu;
    return a * 0x01010101u >> 24;
}

SD_INLINE uint32_t
sd_popc_b64(uint64_t a)
{
    return sd_popc_b32((uint32_t)a) + sd_popc_b32((uint32_t)(a >> 32));
}

/* bfe: position and length are the low bytes of b and c; beyond the top the sign fills. */
SD_INLINE uint64_t
sd_bfe_any(uint64_t a, uint32_t b, uint32_t c, unsigned width, bool is_signed)
{
    uint32_t pos = b & 0xff, len = c & 0xff;
    uint32_t top = pos + len - 1 < width - 1 ? pos + len - 1 : width - 1;
    uint64_t field = pos < width ? a >> pos : 0;
    /* Bits that really come from a. */
    uint32_t have = pos >= width ? 0 : width - pos < len ? width - pos : len;
    uint64_t mask, fill;

    if (len == 0)
        return 0;
    mask = have >= 64 ? ~0ull : (1ull << have) - 1;
    fill = is_signed && (a >> top & 1) != 0 ? ~mask : 0;
    return (field & mask) | fill;
}

SD_INLINE uint32_t
sd_bfe_u32(uint32_t a, uint32_t b, uint32_t c)
{
    return (uint32_t)sd_bfe_any(a, b, c, 32, false);
}

SD_INLINE uint32_t
sd_bfe_s32(uint32_t a, uint32_t b, uint32_t c)
{
    return (uint32_t)sd_bfe_any(a, b, c, 32, true);
}

SD_INLINE uint64_t
sd_bfe_u64(uint64_t a, uint32_t b, uint32_t c)
{
    return sd_bfe_any(a, b, c, 64, false);
}

SD_INLINE uint64_t
sd_bfe_s64(uint64_t a, uint32_t b, uint32_t c)
{
    return sd_bfe_any(a, b, c, 64, true);
}

/* bfi d, a, b, c, d: insert the low len bits of a into b at pos. */
SD_INLINE uint64_t
sd_bfi_b64(uint64_t a, uint64_t b, uint32_t c, uint32_t d)
{
    uint32_t pos = c & 0xff, len = d & 0xff;
    uint64_t mask = len >= 64 ? ~0ull : (1ull << len) - 1;

    if (pos >= 64)
        return b;
    return (b & ~(mask << pos)) | (a & mask) << pos;
}

SD_INLINE uint32_t
sd_bfi_b32(uint32_t a, uint32_t b, uint32_t c, uint32_t d)
{
    uint32_t pos = c & 0xff, len = d & 0xff;
    uint32_t mask = len >= 32 ? ~0u : (1u << (len & 31)) - 1;

    if (pos >= 32)
        return b;
    return (b & ~(mask << pos)) | (a & mask) << pos;
}

/* Position of the highest bit that is not a sign bit, ~0 if none; shiftamt: as a left shift. */
SD_INLINE uint32_t
sd_bfind_u32(uint32_t a, bool shiftamt)
{
    uint32_t n = sd_clz_b32(a);

    return n == 32 ? ~0u : shiftamt ? n : 31 - n;
}

SD_INLINE uint32_t
sd_bfind_s32(uint32_t a, bool shiftamt)
{
    return sd_bfind_u32((int32_t)a < 0 ? ~a : a, shiftamt);
}

SD_INLINE uint32_t
sd_bfind_u64(uint64_t a, bool shiftamt)
{
    uint32_t n = sd_clz_b64(a);

    return n == 64 ? ~0u : shiftamt ? n : 63 - n;
}

SD_INLINE uint32_t
sd_bfind_s64(uint64_t a, bool shiftamt)
{
    return sd_bfind_u64((int64_t)a < 0 ? ~a : a, shiftamt);
}

SD_INLINE uint32_t
sd_bmsk_b32(uint32_t a, uint32_t b, bool clamp)
{
    uint32_t pos = a & 31, len = b & 31;
    uint32_t low = clamp && a >= 32 ? 0 : ~0u << pos;
    bool all = pos + len >= 32 || (clamp && (a >= 32 || b >= 32));
    uint32_t high = all ? 0 : len == 0 ? ~0u : ~0u << ((pos + len) & 31);

    return low & ~high;
}

SD_INLINE uint32_t
sd_szext_32(uint32_t a, uint32_t b, bool clamp, bool is_signed)
{
    uint32_t n = b & 31;
    bool whole = clamp && b >= 32;
    uint32_t mask = whole ? 0 : ~0u << n;
    bool sign = is_signed && n != 0 && !whole && (a >> ((n - 1) & 31) & 1) != 0;

    return (a & ~mask) | (sign ? mask : 0);
}

/* fns: the offset-th set bit from base, upwards or downwards; ~0 if there is none. */
SD_INLINE uint32_t
sd_fns_b32(uint32_t mask, uint32_t base, int32_t offset)
{
    int64_t left = offset < 0 ? -(int64_t)offset : offset;
    int step = offset < 0 ? -1 : 1;
    int pos;

    if (base > 31)
        return ~0u;
    if (offset == 0)
        return (mask >> base & 1) != 0 ? base : ~0u;
    for (pos = (int)base; pos >= 0 && pos < 32; pos += step)
        if ((mask >> pos & 1) != 0 && --left == 0)
            return (uint32_t)pos;
    return ~0u;
}

SD_INLINE uint32_t
sd_lop3_b32(uint32_t a, uint32_t b, uint32_t c, uint32_t lut)
{
    uint32_t r = 0;

    r |= (lut & 0x01) != 0 ? ~a & ~b & ~c : 0;
    r |= (lut & 0x02) != 0 ? ~a & ~b & c : 0;
    r |= (lut & 0x04) != 0 ? ~a & b & ~c : 0;
    r |= (lut & 0x08) != 0 ? ~a & b & c : 0;
    r |= (lut & 0x10) != 0 ? a & ~b & ~c : 0;
    r |= (lut & 0x20) != 0 ? a & ~b & c : 0;
    r |= (lut & 0x40) != 0 ? a & b & ~c : 0;
    r |= (lut & 0x80) != 0 ? a & b & c : 0;
    return r;
}

/* -- prmt -------------------------------------------------------------------------------- */

enum sd_prmt {
    SD_PRMT_INDEX, /* no mode suffix: four selectors in c, bit 3 of each replicates the sign */
    SD_PRMT_F4E,
    SD_PRMT_B4E,
    SD_PRMT_RC8,
    SD_PRMT_ECL,
    SD_PRMT_ECR,
    SD_PRMT_RC16,
};

SD_INLINE uint32_t
sd_prmt_b32(uint32_t a, uint32_t b, uint32_t c, enum sd_prmt mode)
{
    /* Selectors of the six named modes for c & 3 == 0 .. 3. */
    static const uint16_t named[7][4] = {
        [SD_PRMT_F4E] = {0x3210, 0x4321, 0x5432, 0x6543},
        [SD_PRMT_B4E] = {0x5670, 0x6701, 0x7012, 0x0123},
        [SD_PRMT_RC8] = {0x0000, 0x1111, 0x2222, 0x3333},
        [SD_PRMT_ECL] = {0x3210, 0x3211, 0x3222, 0x3333},
        [SD_PRMT_ECR] = {0x0000, 0x1110, 0x2210, 0x3210},
        [SD_PRMT_RC16] = {0x1010, 0x3232, 0x1010, 0x3232},
    };
    uint64_t pair = (uint64_t)b << 32 | a;
    uint32_t sel = mode == SD_PRMT_INDEX ? c : named[mode][c & 3];
    uint32_t r = 0;
    unsigned i;

    for (i = 0; i < 4; i++) {
        uint32_t s = sel >> 4 * i;
        uint32_t byte = (uint32_t)(pair >> 8 * (s & 7)) & 0xff;

        byte = (s & 8) != 0 ? ((byte & 0x80) != 0 ? 0xff : 0) : byte;
        r |= byte << 8 * i;
    }
    return r;
}

/* -- dot products ---------------------------------------------------------------------------- */

SD_INLINE int32_t
sd_byte_of(uint32_t v, unsigned index, bool is_signed)
{
    uint32_t byte = v >> 8 * index & 0xff;

    return is_signed ? (int8_t)byte : (int32_t)byte;
}

SD_INLINE uint32_t
sd_dp4a(uint32_t a, uint32_t b, uint32_t c, bool a_signed, bool b_signed)
{
    unsigned i;

    for (i = 0; i < 4; i++)
        c += (uint32_t)(sd_byte_of(a, i, a_signed) * sd_byte_of(b, i, b_signed));
    return c;
}

/* Two 16-bit elements of a times bytes 0 and 1 (lo) or 2 and 3 (hi) of b. */
SD_INLINE uint32_t
sd_dp2a(uint32_t a, uint32_t b, uint32_t c, bool a_signed, bool b_signed, bool hi)
{
    unsigned i;

    for (i = 0; i < 2; i++) {
        uint32_t half = a >> 16 * i & 0xffff;
        int32_t wide = a_signed ? (int16_t)half : (int32_t)half;

        c += (uint32_t)(wide * sd_byte_of(b, i + (hi ? 2 : 0), b_signed));
    }
    return c;
}

/* -- abs and neg wrap at MIN ------------------------------------------------------------------- */

SD_INLINE uint32_t
sd_abs_s32(uint32_t a)
{
    return (int32_t)a < 0 ? 0 - a : a;
}

SD_INLINE uint64_t
sd_abs_s64(uint64_t a)
{
    return (int64_t)a < 0 ? 0 - a : a;
}

SD_INLINE uint16_t
sd_abs_s16(uint16_t a)
{
    return (uint16_t)((int16_t)a < 0 ? 0 - a : a);
}

/* -- packed 16-bit integers (add, min, max .u16x2 .s16x2) -----------------------------------------
 */

SD_INLINE uint32_t
sd_add_16x2(uint32_t a, uint32_t b)
{
    return ((a + b) & 0xffffu) | ((a & 0xffff0000u) + (b & 0xffff0000u));
}

SD_INLINE uint16_t
sd_min_u16(uint16_t a, uint16_t b)
{
    return a < b ? a : b;
}

SD_INLINE uint16_t
sd_max_u16(uint16_t a, uint16_t b)
{
    return a > b ? a : b;
}

SD_INLINE uint16_t
sd_min_s16(uint16_t a, uint16_t b)
{
    return (int16_t)a < (int16_t)b ? a : b;
}

SD_INLINE uint16_t
sd_max_s16(uint16_t a, uint16_t b)
{
    return (int16_t)a > (int16_t)b ? a : b;
}

/* .relu of the packed and scalar signed forms. */
SD_INLINE uint16_t
sd_relu_s16(uint16_t a)
{
    return (uint16_t)((int16_t)a < 0 ? 0 : a);
}

SD_INLINE uint32_t
sd_relu_s32(uint32_t a)
{
    return (int32_t)a < 0 ? 0 : a;
}

/* -- cvt between integer widths: .sat clamps, without it the upper bits are dropped
 * ----------------- */

/* v is the sign-extended source; the result is the pattern in the low bits of the target. */
SD_INLINE uint64_t
sd_sat_from_s64(int64_t v, unsigned bits, bool to_signed)
{
    int64_t min = to_signed ? (int64_t)(~0ull << (bits - 1)) : 0;
    uint64_t max = to_signed ? ~0ull >> (65 - bits) : ~0ull >> (64 - bits);

    if (v < min)
        return (uint64_t)min;
    return v > 0 && (uint64_t)v > max ? max : (uint64_t)v;
}

/* v is the zero-extended source. */
SD_INLINE uint64_t
sd_sat_from_u64(uint64_t v, unsigned bits, bool to_signed)
{
    uint64_t max = to_signed ? ~0ull >> (65 - bits) : ~0ull >> (64 - bits);

    return v > max ? max : v;
}

#endif
