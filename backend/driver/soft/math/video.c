/* backend/driver/soft/math/video.c -- scalar and SIMD video instructions */
#include "backend/driver/soft/math/sd_video.h"

static int64_t
clamp(int64_t v, int64_t min, int64_t max)
{
    return v < min ? min : v > max ? max : v;
}

/* Bits [shift, shift + bits) of v as a number. */
static int64_t
field(uint64_t v, unsigned shift, unsigned bits, bool is_signed)
{
    uint64_t raw = v >> shift & ((1ull << bits) - 1);

    if (is_signed && (raw >> (bits - 1) & 1) != 0)
        return (int64_t)(raw | ~0ull << bits);
    return (int64_t)raw;
}

static int64_t
saturate(int64_t v, unsigned bits, bool is_signed)
{
    if (is_signed)
        return clamp(v, -(1ll << (bits - 1)), (1ll << (bits - 1)) - 1);
    return clamp(v, 0, (1ll << bits) - 1);
}

static bool
compare(enum sd_video_cmp cmp, int64_t a, int64_t b)
{
    switch (cmp) {
    case SD_VCMP_EQ:
        return a == b;
    case SD_VCMP_NE:
        return a != b;
    case SD_VCMP_LT:
        return a < b;
    case SD_VCMP_LE:
        return a <= b;
    case SD_VCMP_GT:
        return a > b;
    case SD_VCMP_GE:
        return a >= b;
    }
    return false;
}

/* b is unsigned for shifts; 34 bits hold every result of 32-bit operands but vmad's. */
static int64_t
shift(const struct sd_video *v, int64_t a, int64_t b)
{
    uint64_t n = (uint64_t)b & 0xffffffffu;

    n = v->wrap ? n & 31 : n > 32 ? 32 : n;
    if (v->kind == SD_VSHL)
        return (int64_t)((uint64_t)a << n);
    return a >> n;
}

static int64_t
multiply_add(const struct sd_video *v, int64_t a, int64_t b, int64_t c)
{
    __int128 r = (__int128)a * b;

    r = (v->neg_ab ? -r : r) + (v->neg_c ? -(__int128)c : c) + (v->plus_one ? 1 : 0);
    r >>= v->scale;
    /* The rest works on 64 bits; saturation only needs to know it is far out. */
    if (r > INT64_MAX)
        return INT64_MAX;
    return r < INT64_MIN ? INT64_MIN : (int64_t)r;
}

static int64_t
operate(const struct sd_video *v, int64_t a, int64_t b, int64_t c)
{
    switch (v->kind) {
    case SD_VADD:
        return a + b;
    case SD_VSUB:
        return a - b;
    case SD_VABSDIFF:
        return a > b ? a - b : b - a;
    case SD_VMIN:
        return a < b ? a : b;
    case SD_VMAX:
        return a > b ? a : b;
    case SD_VAVRG: /* rounded away from zero */
        return a + b >= 0 ? (a + b + 1) >> 1 : (a + b) >> 1;
    case SD_VSHL:
    case SD_VSHR:
        return shift(v, a, b);
    case SD_VMAD:
        return multiply_add(v, a, b, c);
    case SD_VSET:
        return compare(v->cmp, a, b);
    }
    return 0;
}

/* -- scalar ------------------------------------------------------------------------------- */

struct where {
    unsigned shift;
    unsigned bits;
};

static struct where
where_is(enum sd_video_sel sel)
{
    static const struct where table[] = {
        [SD_VSEL_WORD] = {0, 32}, [SD_VSEL_B0] = {0, 8},  [SD_VSEL_B1] = {8, 8},
        [SD_VSEL_B2] = {16, 8},   [SD_VSEL_B3] = {24, 8}, [SD_VSEL_H0] = {0, 16},
        [SD_VSEL_H1] = {16, 16},
    };

    return table[sel];
}

static uint32_t
scalar(const struct sd_video *v, uint32_t a, uint32_t b, uint32_t c)
{
    struct where wa = where_is(v->a_sel), wb = where_is(v->b_sel), wd = where_is(v->d_sel);
    int64_t x = field(a, wa.shift, wa.bits, v->a_signed);
    int64_t y = field(b, wb.shift, wb.bits, v->b_signed);
    int64_t z = field(c, 0, 32, v->d_signed);
    int64_t r = operate(v, x, y, z);
    uint32_t mask;

    if (v->sat && v->kind != SD_VSET)
        r = saturate(r, wd.bits, v->d_signed);
    r = field((uint64_t)r, 0, 32, v->d_signed);
    switch (v->merge) {
    case SD_VMERGE_ADD:
        return (uint32_t)(r + z);
    case SD_VMERGE_MIN:
        return (uint32_t)(r < z ? r : z);
    case SD_VMERGE_MAX:
        return (uint32_t)(r > z ? r : z);
    case SD_VMERGE_INSERT:
        mask = (uint32_t)(((1ull << wd.bits) - 1) << wd.shift);
        return (c & ~mask) | ((uint32_t)r << wd.shift & mask);
    case SD_VMERGE_NONE:
        break;
    }
    return (uint32_t)r;
}

/* -- SIMD ----------------------------------------------------------------------------------- */

void
sd_video_defaults(struct sd_video *v)
{
    unsigned i;

    for (i = 0; i < v->lanes && i < 4; i++) {
        v->a_pick[i] = (uint8_t)i;
        v->b_pick[i] = (uint8_t)(v->lanes + i);
    }
    v->mask = (uint8_t)((1u << v->lanes) - 1);
}

static uint32_t
simd(const struct sd_video *v, uint32_t a, uint32_t b, uint32_t c)
{
    unsigned bits = 32u / v->lanes, i;
    uint64_t pair = (uint64_t)b << 32 | a;
    uint32_t lane_mask = (1u << bits) - 1, out = 0, sum = c;

    for (i = 0; i < v->lanes; i++) {
        int64_t x = field(pair, v->a_pick[i] * bits, bits, v->a_signed);
        int64_t y = field(pair, v->b_pick[i] * bits, bits, v->b_signed);
        int64_t r = operate(v, x, y, 0);
        bool on = (v->mask >> i & 1) != 0;

        if (v->sat && v->kind != SD_VSET)
            r = saturate(r, bits, v->d_signed);
        if (on)
            sum += (uint32_t)field((uint64_t)r, 0, bits, v->d_signed && v->kind != SD_VSET);
        out |= on ? ((uint32_t)r & lane_mask) << bits * i : c & lane_mask << bits * i;
    }
    return v->merge == SD_VMERGE_ADD ? sum : out;
}

uint32_t
sd_video(const struct sd_video *v, uint32_t a, uint32_t b, uint32_t c)
{
    return v->lanes > 1 ? simd(v, a, b, c) : scalar(v, a, b, c);
}
