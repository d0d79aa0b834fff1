/* backend/driver/soft/exec/bc_wide.c -- BC6H and BC7: blocks of several modes and subsets */
#include "backend/driver/soft/exec/bc_priv.h"
#include "backend/driver/soft/math/sd_half.h"

#include <stddef.h>

/* -- what both have ------------------------------------------------------------------------- */

/* Which of two subsets a texel is in, by partition: a bit for each texel. */
static const uint16_t halves[64] = {
    0xcccc, 0x8888, 0xeeee, 0xecc8, 0xc880, 0xfeec, 0xfec8, 0xec80, 0xc800, 0xffec, 0xfe80,
    0xe800, 0xffe8, 0xff00, 0xfff0, 0xf000, 0xf710, 0x008e, 0x7100, 0x08ce, 0x008c, 0x7310,
    0x3100, 0x8cce, 0x088c, 0x3110, 0x6666, 0x366c, 0x17e8, 0x0ff0, 0x718e, 0x399c, 0xaaaa,
    0xf0f0, 0x5a5a, 0x33cc, 0x3c3c, 0x55aa, 0x9696, 0xa55a, 0x73ce, 0x13c8, 0x324c, 0x3bdc,
    0x6996, 0xc33c, 0x9966, 0x0660, 0x0272, 0x04e4, 0x4e40, 0x2720, 0xc936, 0x936c, 0x39c6,
    0x639c, 0x9336, 0x9cc6, 0x817e, 0xe718, 0xccf0, 0x0fcc, 0x7744, 0xee22,
};

/* Which of three: two bits for each texel. */
static const uint32_t thirds[64] = {
    0xaa685050, 0x6a5a5040, 0x5a5a4200, 0x5450a0a8, 0xa5a50000, 0xa0a05050, 0x5555a0a0, 0x5a5a5050,
    0xaa550000, 0xaa555500, 0xaaaa5500, 0x90909090, 0x94949494, 0xa4a4a4a4, 0xa9a59450, 0x2a0a4250,
    0xa5945040, 0x0a425054, 0xa5a5a500, 0x55a0a0a0, 0xa8a85454, 0x6a6a4040, 0xa4a45000, 0x1a1a0500,
    0x0050a4a4, 0xaaa59090, 0x14696914, 0x69691400, 0xa08585a0, 0xaa821414, 0x50a4a450, 0x6a5a0200,
    0xa9a58000, 0x5090a0a8, 0xa8a09050, 0x24242424, 0x00aa5500, 0x24924924, 0x24499224, 0x50a50a50,
    0x500aa550, 0xaaaa4444, 0x66660000, 0xa5a0a5a0, 0x50a050a0, 0x69286928, 0x44aaaa44, 0x66666600,
    0xaa444444, 0x54a854a8, 0x95809580, 0x96969600, 0xa85454a8, 0x80959580, 0xaa141414, 0x96960000,
    0xaaaa1414, 0xa05050a0, 0xa0a5a5a0, 0x96000000, 0x40804080, 0xa9a8a9a8, 0xaaaaaa44, 0x2a4a5254,
};

/* A subset's anchor: the texel whose weight has its highest bit left out, for it is 0. The first
 * subset's is texel 0. Two subsets; three: the second's and the third's. */
static const uint8_t anchors2[64] = {
    15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 2,  8, 2,  2, 8,
    8,  15, 2,  8,  2,  2,  8,  8,  2,  2,  15, 15, 6,  8,  2,  8,  15, 15, 2, 8,  2, 2,
    2,  15, 15, 6,  6,  2,  6,  8,  15, 15, 2,  2,  15, 15, 15, 15, 15, 2,  2, 15,
};
static const uint8_t anchors3[64][2] = {
    {3, 15},  {3, 8},   {15, 8}, {15, 3}, {8, 15}, {3, 15},  {15, 3}, {15, 8},  {8, 15}, {8, 15},
    {6, 15},  {6, 15},  {6, 15}, {5, 15}, {3, 15}, {3, 8},   {3, 15}, {3, 8},   {8, 15}, {15, 3},
    {3, 15},  {3, 8},   {6, 15}, {10, 8}, {5, 3},  {8, 15},  {8, 6},  {6, 10},  {8, 15}, {5, 15},
    {15, 10}, {15, 8},  {8, 15}, {15, 3}, {3, 15}, {5, 10},  {6, 10}, {10, 8},  {8, 9},  {15, 10},
    {15, 6},  {3, 15},  {15, 8}, {5, 15}, {15, 3}, {15, 6},  {15, 6}, {15, 8},  {3, 15}, {15, 3},
    {5, 15},  {5, 15},  {5, 15}, {8, 15}, {5, 15}, {10, 15}, {5, 15}, {10, 15}, {8, 15}, {13, 15},
    {15, 3},  {12, 15}, {3, 15}, {3, 8},
};

static const uint8_t weights2[] = {0, 21, 43, 64};
static const uint8_t weights3[] = {0, 9, 18, 27, 37, 46, 55, 64};
static const uint8_t weights4[] = {0, 4, 9, 13, 17, 21, 26, 30, 34, 38, 43, 47, 51, 55, 60, 64};

static int
mix(int a, int b, unsigned bits, unsigned code)
{
    const uint8_t *weights = bits == 2 ? weights2 : bits == 3 ? weights3 : weights4;
    int w = weights[code];

    return (a * (64 - w) + b * w + 32) >> 6;
}

/* The block as a stream of bits, lowest first. */
struct bits {
    const uint8_t *block;
    unsigned at;
};

static unsigned
take(struct bits *b, unsigned n)
{
    unsigned v = 0;

    for (unsigned i = 0; i < n; i++, b->at++)
        v |= (unsigned)(b->block[b->at / 8] >> b->at % 8 & 1) << i;
    return v;
}

static unsigned
subset_of(unsigned subsets, unsigned partition, unsigned texel)
{
    if (subsets == 2)
        return halves[partition] >> texel & 1;
    return subsets == 3 ? thirds[partition] >> 2 * texel & 3 : 0;
}

static bool
is_anchor(unsigned subsets, unsigned partition, unsigned texel)
{
    if (texel == 0)
        return true;
    if (subsets == 2)
        return texel == anchors2[partition];
    return subsets == 3 && (texel == anchors3[partition][0] || texel == anchors3[partition][1]);
}

/* The texel's code in a list of n bits each that begins at b and is passed. */
static unsigned
take_code(struct bits *b, unsigned n, unsigned subsets, unsigned partition, unsigned texel)
{
    unsigned code = 0;

    for (unsigned i = 0; i < 16; i++) {
        unsigned v = take(b, n - (is_anchor(subsets, partition, i) ? 1 : 0));

        if (i == texel)
            code = v;
    }
    return code;
}

/* -- BC7 ------------------------------------------------------------------------------------ */

static const struct bc7_mode {
    uint8_t subsets, partition, rotation, selection, color, alpha, own_p, shared_p, codes, codes2;
} bc7_modes[8] = {
    {3, 4, 0, 0, 4, 0, 1, 0, 3, 0}, {2, 6, 0, 0, 6, 0, 0, 1, 3, 0}, {3, 6, 0, 0, 5, 0, 0, 0, 2, 0},
    {2, 6, 0, 0, 7, 0, 1, 0, 2, 0}, {1, 0, 2, 1, 5, 6, 0, 0, 2, 3}, {1, 0, 2, 0, 7, 8, 0, 0, 2, 2},
    {1, 0, 0, 0, 7, 7, 1, 0, 4, 0}, {2, 6, 0, 0, 5, 5, 1, 0, 2, 0},
};

/* To 8 bits, the highest ones repeated below. */
static int
to_byte(unsigned v, unsigned bits)
{
    v <<= 8 - bits;
    return (int)(v | v >> bits);
}

/* Endpoints [2 * subset + which][channel], as bytes. */
static void
bc7_endpoints(struct bits *b, const struct bc7_mode *m, int ends[6][4])
{
    unsigned n = 2u * m->subsets, p[6] = {0}, has_p = m->own_p | m->shared_p, raw[6][4];

    for (unsigned c = 0; c < 4; c++)
        for (unsigned e = 0; e < n; e++)
            raw[e][c] = take(b, c < 3 ? m->color : m->alpha);
    for (unsigned e = 0; has_p && e < n; e++)
        p[e] = m->own_p || e % 2 == 0 ? take(b, 1) : p[e - 1];
    for (unsigned e = 0; e < n; e++) {
        for (unsigned c = 0; c < 4; c++) {
            unsigned bits = c < 3 ? m->color : m->alpha;

            if (bits == 0)
                ends[e][c] = 255;
            else if (has_p)
                ends[e][c] = to_byte(raw[e][c] << 1 | p[e], bits + 1);
            else
                ends[e][c] = to_byte(raw[e][c], bits);
        }
    }
}

void
sd_bc7_texel(const uint8_t *block, unsigned texel, float out[4])
{
    unsigned number = 0, partition, rotation, selection, subset, code, code2, bits, bits2;
    const struct bc7_mode *m;
    int ends[6][4], v[4], t;
    struct bits b = {block, 0};

    while (number < 8 && take(&b, 1) == 0)
        number++;
    if (number == 8) { /* reserved: nothing */
        out[0] = out[1] = out[2] = out[3] = 0;
        return;
    }
    m = &bc7_modes[number];
    partition = take(&b, m->partition);
    rotation = take(&b, m->rotation);
    selection = take(&b, m->selection);
    bc7_endpoints(&b, m, ends);
    subset = subset_of(m->subsets, partition, texel);
    bits = bits2 = m->codes;
    code = code2 = take_code(&b, bits, m->subsets, partition, texel);
    if (m->codes2 != 0) {
        bits2 = m->codes2;
        code2 = take_code(&b, bits2, 1, 0, texel);
    }
    for (unsigned c = 0; c < 4; c++) { /* colours by the first codes, alpha by the second, or not */
        bool second = (c == 3) != (selection != 0);

        v[c] = mix(ends[2 * subset][c], ends[2 * subset + 1][c], second ? bits2 : bits,
                   second ? code2 : code);
    }
    if (rotation != 0) {
        t = v[3];
        v[3] = v[rotation - 1];
        v[rotation - 1] = t;
    }
    for (unsigned c = 0; c < 4; c++)
        out[c] = (float)v[c] / 255.0f;
}

/* -- BC6H ----------------------------------------------------------------------------------- */

/* A run of bits in the header: of an endpoint (0 to 3: w, x, y, z) and colour, which bit of it
 * comes first, how many follow, and whether they go down. */
struct run {
    char endpoint, color;
    uint8_t first, count;
    bool down;
};

/* "ry" stands for red's endpoint y; an upper case W runs downwards. Modes in the order of their
 * numbers; without the mode's bits and the partition. */
static const struct bc6_mode {
    uint8_t code, code_bits, bits, delta[3]; /* delta 0: endpoints are not differences */
    bool two;
    const char *layout; /* endpoint, colour, first bit, count: two letters, two digits in base 36 */
} bc6_modes[14] = {
    {0x00,
     2,
     10,
     {5, 5, 5},
     true,
     "yg41yb41zb41wr0awg0awb0axr05zg41yg04xg05zb01zg04xb05zb11yb04yr05zb21zr05zb31"},
    {0x01,
     2,
     7,
     {6, 6, 6},
     true,
     "yg51zg41zg51wr07zb01zb11yb41wg07yb51zb21yg41wb07zb31zb51zb41xr06yg04xg06zg04xb06yb04yr06zr0"
     "6"},
    {0x02,
     5,
     11,
     {5, 4, 4},
     true,
     "wr0awg0awb0axr05wra1yg04xg04wga1zb01zg04xb04wba1zb11yb04yr05zb21zr05zb31"},
    {0x06,
     5,
     11,
     {4, 5, 4},
     true,
     "wr0awg0awb0axr04wra1zg41yg04xg05wga1zg04xb04wba1zb11yb04yr04zb01zb21zr04yg41zb31"},
    {0x0a,
     5,
     11,
     {4, 4, 5},
     true,
     "wr0awg0awb0axr04wra1yb41yg04xg04wga1zb01zg04xb05wba1yb04yr04zb11zb21zr04zb41zb31"},
    {0x0e,
     5,
     9,
     {5, 5, 5},
     true,
     "wr09yb41wg09yg41wb09zb41xr05zg41yg04xg05zb01zg04xb05zb11yb04yr05zb21zr05zb31"},
    {0x12,
     5,
     8,
     {6, 5, 5},
     true,
     "wr08zg41yb41wg08zb21yg41wb08zb31zb41xr06yg04xg05zb01zg04xb05zb11yb04yr06zr06"},
    {0x16,
     5,
     8,
     {5, 6, 5},
     true,
     "wr08zb01yb41wg08yg51yg41wb08zg51zb41xr05zg41yg04xg06zg04xb05zb11yb04yr05zb21zr05zb31"},
    {0x1a,
     5,
     8,
     {5, 5, 6},
     true,
     "wr08zb11yb41wg08yb51yg41wb08zb51zb41xr05zg41yg04xg05zb01zg04xb06yb04yr05zb21zr05zb31"},
    {0x1e,
     5,
     6,
     {0, 0, 0},
     true,
     "wr06zg41zb01zb11yb41wg06yg51yb51zb21yg41wb06zg51zb31zb51zb41xr06yg04xg06zg04xb06yb04yr06zr0"
     "6"},
    {0x03, 5, 10, {0, 0, 0}, false, "wr0awg0awb0axr0axg0axb0a"},
    {0x07, 5, 11, {9, 9, 9}, false, "wr0awg0awb0axr09wra1xg09wga1xb09wba1"},
    {0x0b, 5, 12, {8, 8, 8}, false, "wr0awg0awb0axr08Wrb2xg08Wgb2xb08Wbb2"},
    {0x0f, 5, 16, {4, 4, 4}, false, "wr0awg0awb0axr04Wrf6xg04Wgf6xb04Wbf6"},
};

static unsigned
digit(char c)
{
    return (unsigned)(c <= '9' ? c - '0' : c - 'a' + 10);
}

static struct run
run_at(const char *s)
{
    static const char colors[] = "rgb";
    struct run r = {.down = s[0] == 'W'};

    r.endpoint = r.down ? 0 : (char)((s[0] - 'w') & 3);
    while (r.color < 2 && colors[(unsigned)r.color] != s[1])
        r.color++;
    r.first = (uint8_t)digit(s[2]);
    r.count = (uint8_t)digit(s[3]);
    return r;
}

static int
extend(unsigned v, unsigned bits)
{
    return (int)((v & ((1u << bits) - 1)) ^ 1u << (bits - 1)) - (int)(1u << (bits - 1));
}

/* Endpoints as the header has them, then as numbers of the mode's bits. */
static void
bc6_endpoints(struct bits *b, const struct bc6_mode *m, bool is_signed, int ends[4][3])
{
    unsigned raw[4][3] = {{0}};

    for (const char *s = m->layout; *s != 0; s += 4) {
        struct run r = run_at(s);
        unsigned *to = &raw[(unsigned)r.endpoint][(unsigned)r.color];

        if (!r.down)
            *to |= take(b, r.count) << r.first;
        for (unsigned i = 0; r.down && i < r.count; i++)
            *to |= take(b, 1) << (r.first - i);
    }
    for (unsigned e = 0; e < 4; e++) {
        for (unsigned c = 0; c < 3; c++) {
            unsigned v = raw[e][c];

            if (e > 0 && m->delta[c] != 0)
                v = (raw[0][c] + (unsigned)extend(v, m->delta[c])) & ((1u << m->bits) - 1);
            ends[e][c] = is_signed ? extend(v, m->bits) : (int)v;
        }
    }
}

/* To the range of 16 bits, 0 and the largest to the ends of it. */
static int
unquantize(int v, unsigned bits, bool is_signed)
{
    int a = v < 0 ? -v : v, r;

    if (!is_signed) {
        if (bits >= 15 || v == 0)
            return v;
        return v == (1 << bits) - 1 ? 0xffff : ((v << 16) + 0x8000) >> bits;
    }
    if (bits >= 16 || v == 0)
        return v;
    r = a >= (1 << (bits - 1)) - 1 ? 0x7fff : ((a << 15) + 0x4000) >> (bits - 1);
    return v < 0 ? -r : r;
}

static float
bc6_value(int v, bool is_signed)
{
    unsigned bits;

    if (!is_signed)
        bits = (unsigned)(v * 31) >> 6;
    else
        bits = v < 0 ? 0x8000u | (unsigned)(-v * 31) >> 5 : (unsigned)(v * 31) >> 5;
    return sd_f16_to_f32((uint16_t)bits);
}

void
sd_bc6_texel(const uint8_t *block, unsigned texel, bool is_signed, float out[4])
{
    unsigned partition = 0, subset, subsets, code, bits;
    const struct bc6_mode *m = NULL;
    struct bits b = {block, 0};
    int ends[4][3];

    out[0] = out[1] = out[2] = 0;
    out[3] = 1;
    for (unsigned i = 0; i < 14 && m == NULL; i++)
        if ((block[0] & ((1u << bc6_modes[i].code_bits) - 1)) == bc6_modes[i].code)
            m = &bc6_modes[i];
    if (m == NULL) /* reserved: black */
        return;
    b.at = m->code_bits;
    bc6_endpoints(&b, m, is_signed, ends);
    subsets = m->two ? 2 : 1;
    if (m->two)
        partition = take(&b, 5);
    bits = m->two ? 3 : 4;
    code = take_code(&b, bits, subsets, partition, texel);
    subset = subset_of(subsets, partition, texel);
    for (unsigned c = 0; c < 3; c++) {
        int from = unquantize(ends[2 * subset][c], m->bits, is_signed);
        int to = unquantize(ends[2 * subset + 1][c], m->bits, is_signed);

        out[c] = bc6_value(mix(from, to, bits, code), is_signed);
    }
}
