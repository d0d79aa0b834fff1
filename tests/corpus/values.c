/* tests/corpus/values.c -- operands: edge values crossed, then random ones */
#include "tests/corpus/corpus.h"

#include <string.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static const uint64_t ints[] = {
    0,
    1,
    2,
    3,
    7,
    8,
    15,
    16,
    31,
    32,
    33,
    63,
    64,
    127,
    128,
    129,
    255,
    256,
    0x7ffe,
    0x7fff,
    0x8000,
    0x8001,
    0xfffe,
    0xffff,
    0x10000,
    0x7fffff,
    0x800000,
    0xffffff,
    0x7ffffffe,
    0x7fffffff,
    0x80000000,
    0x80000001,
    0xfffffffe,
    0xffffffff,
    0x100000000,
    0x7fffffffffffffff,
    0x8000000000000000,
    0x8000000000000001,
    0xfffffffffffffffe,
    0xffffffffffffffff,
};
static const uint64_t amounts[] = {0,  1,  2,  7,  8,  15, 16,  17,  24,  31,         32,
                                   33, 40, 47, 63, 64, 65, 100, 128, 255, 0x80000000, 0xffffffff};
static const uint64_t f32s[] = {
    0x00000000, 0x00000001, 0x007fffff, 0x00800000, 0x00800001, 0x00ffffff, 0x33800000, 0x34000000,
    0x3effffff, 0x3f000000, 0x3f000001, 0x3f7fffff, 0x3f800000, 0x3f800001, 0x3fc00000, 0x40000000,
    0x40200000, 0x40490fdb, 0x42fe0000, 0x43000000, 0x437f8000, 0x477fe000, 0x477ff000, 0x4b000000,
    0x4b7fffff, 0x4effffff, 0x4f000000, 0x4f7fffff, 0x4f800000, 0x5effffff, 0x5f000000, 0x5f800000,
    0x7e800000, 0x7f000000, 0x7f7fffff, 0x7f800000, 0x7f800001, 0x7fc00000, 0x7fffffff,
};
static const uint64_t f64s[] = {
    0x0000000000000000, 0x0000000000000001, 0x000fffffffffffff, 0x0010000000000000,
    0x36a0000000000001, 0x380fffffe0000000, 0x3810000000000000, 0x3fdfffffffffffff,
    0x3fe0000000000000, 0x3fe0000000000001, 0x3fefffffffffffff, 0x3ff0000000000000,
    0x3ff0000000000001, 0x3ff0000010000000, 0x3ff0000030000000, 0x3ff8000000000000,
    0x4004000000000000, 0x41dfffffffc00000, 0x41e0000000000000, 0x41efffffffe00000,
    0x41f0000000000000, 0x4330000000000000, 0x433fffffffffffff, 0x43e0000000000000,
    0x43f0000000000000, 0x47efffffe0000000, 0x47effffff0000000, 0x7fefffffffffffff,
    0x7ff0000000000000, 0x7ff0000000000001, 0x7ff8000000000000,
};
static const uint64_t f16s[] = {0x0000, 0x0001, 0x03ff, 0x0400, 0x0401, 0x3800,
                                0x3bff, 0x3c00, 0x3c01, 0x4000, 0x4200, 0x6400,
                                0x6800, 0x7800, 0x7bff, 0x7c00, 0x7c01, 0x7e00};
static const uint64_t bf16s[] = {0x0000, 0x0001, 0x007f, 0x0080, 0x0081, 0x3f00,
                                 0x3f7f, 0x3f80, 0x3f81, 0x4000, 0x4040, 0x4380,
                                 0x4700, 0x7f00, 0x7f7f, 0x7f80, 0x7f81, 0x7fc0};
/* Powers of two apart by quarters, multiples of pi/4, and the tiny. */
static const uint64_t angles[] = {0x00000000, 0x00000001, 0x33800000, 0x3f490fdb, 0x3fc90fdb,
                                  0x40490fdb, 0x40c90fdb, 0x42c80000, 0x439d1463};

static uint64_t
mix(uint64_t x)
{
    x ^= x >> 33;
    x *= 0xff51afd7ed558ccdull;
    x ^= x >> 33;
    x *= 0xc4ceb9fe1a85ec53ull;
    return x ^ x >> 33;
}

static uint64_t
bits_of(float x)
{
    uint32_t u;

    memcpy(&u, &x, sizeof(u));
    return u;
}

/* An edge value of either sign; sign is the sign bit, 0 if the class has none. */
static uint64_t
edge(const uint64_t *list, size_t count, uint64_t r, uint64_t sign)
{
    return list[r % count] ^ ((r >> 32 & 1) != 0 ? sign : 0);
}

/* Exponents near 1 half of the time: otherwise nearly all sums are one of their operands. */
static uint64_t
random_float(uint64_t r, int man_bits, int bias, uint64_t sign)
{
    uint64_t man = r & ((1ull << man_bits) - 1);
    uint64_t exp = (uint64_t)(bias - 4) + (r >> 56 & 7);

    if ((r >> 55 & 1) != 0)
        return r & (sign << 1) - 1;
    return ((r >> 54 & 1) != 0 ? sign : 0) | exp << man_bits | man;
}

static uint64_t
half_value(const uint64_t *list, size_t count, uint64_t r, int man_bits, int bias)
{
    if ((r >> 62) < 2)
        return edge(list, count, r, 0x8000);
    return random_float(mix(r), man_bits, bias, 0x8000);
}

uint64_t
corpus_value(enum corpus_class class, int operand, uint32_t lane)
{
    /* In every eighth lane all operands of a class are equal. */
    uint64_t r = mix(lane * 4ull + (uint64_t)(lane % 8 == 5 ? 0 : operand) + 1), s = mix(r);
    int use_edge = (r >> 63) != 0;

    switch (class) {
    case NO:
    case CORPUS_CLASSES:
        return 0;
    case I8:
        return use_edge ? edge(ints, COUNT(ints), s, 0) & 0xff : s & 0xff;
    case I16:
        return use_edge ? edge(ints, COUNT(ints), s, 0) & 0xffff : (s >> s % 13) & 0xffff;
    case I32:
        return use_edge ? edge(ints, COUNT(ints), s, 0) & 0xffffffff : (s >> 32) >> s % 29;
    case I64:
        return use_edge ? edge(ints, COUNT(ints), s, 0) : s >> s % 61;
    case AMOUNT:
        return use_edge ? edge(amounts, COUNT(amounts), s, 0) : s % 70;
    case H16:
        return half_value(f16s, COUNT(f16s), s, 10, 15);
    case BF16:
        return half_value(bf16s, COUNT(bf16s), s, 7, 127);
    case H32:
        return half_value(f16s, COUNT(f16s), s, 10, 15) |
               half_value(f16s, COUNT(f16s), mix(s), 10, 15) << 16;
    case BH32:
        return half_value(bf16s, COUNT(bf16s), s, 7, 127) |
               half_value(bf16s, COUNT(bf16s), mix(s), 7, 127) << 16;
    case F32:
        return use_edge ? edge(f32s, COUNT(f32s), s, 1u << 31) : random_float(s, 23, 127, 1u << 31);
    case F64:
        return use_edge ? edge(f64s, COUNT(f64s), s, 1ull << 63)
                        : random_float(s, 52, 1023, 1ull << 63);
    case ANGLE:
        if (use_edge)
            return edge(angles, COUNT(angles), s, 1u << 31);
        return bits_of((float)((double)(int64_t)s * 0x1p-63 * ((r & 1) != 0 ? 3.15 : 314.0)));
    case POW:
        return bits_of((float)((double)(int64_t)s * 0x1p-63 * ((r & 1) != 0 ? 4.0 : 160.0)));
    }
    return 0;
}
