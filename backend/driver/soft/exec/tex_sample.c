/* backend/driver/soft/exec/tex_sample.c -- what a texture gives for coordinates */
#include "backend/driver/soft/exec/tex_sample.h"

#include "backend/driver/soft/math/sd_half.h"

#include <math.h>
#include <string.h>

/* -- formats -------------------------------------------------------------------------------- */

static inline unsigned
channel_bytes(CUarray_format format)
{
    switch (format) {
    case CU_AD_FORMAT_UNSIGNED_INT8:
    case CU_AD_FORMAT_SIGNED_INT8:
        return 1;
    case CU_AD_FORMAT_UNSIGNED_INT16:
    case CU_AD_FORMAT_SIGNED_INT16:
    case CU_AD_FORMAT_HALF:
        return 2;
    case CU_AD_FORMAT_UNSIGNED_INT32:
    case CU_AD_FORMAT_SIGNED_INT32:
    case CU_AD_FORMAT_FLOAT:
        return 4;
    default:
        return 0;
    }
}

unsigned
sd_tex_channel_bytes(CUarray_format format)
{
    return channel_bytes(format);
}

/* As the register has it: whole numbers extended, others as single precision. */
static uint32_t
channel_bits(CUarray_format format, const uint8_t *p)
{
    uint16_t h;
    uint32_t w;

    switch (format) {
    case CU_AD_FORMAT_UNSIGNED_INT8:
        return *p;
    case CU_AD_FORMAT_SIGNED_INT8:
        return (uint32_t)(int32_t)(int8_t)*p;
    case CU_AD_FORMAT_UNSIGNED_INT16:
        memcpy(&h, p, 2);
        return h;
    case CU_AD_FORMAT_SIGNED_INT16:
        memcpy(&h, p, 2);
        return (uint32_t)(int32_t)(int16_t)h;
    case CU_AD_FORMAT_HALF:
        memcpy(&h, p, 2);
        return sd_bits_f32(sd_f16_to_f32(h));
    default:
        memcpy(&w, p, 4);
        return w;
    }
}

uint32_t
sd_tex_channel_encode(CUarray_format format, uint32_t value)
{
    int32_t s = (int32_t)value;

    switch (format) {
    case CU_AD_FORMAT_UNSIGNED_INT8:
        return value > 0xff ? 0xff : value;
    case CU_AD_FORMAT_UNSIGNED_INT16:
        return value > 0xffff ? 0xffff : value;
    case CU_AD_FORMAT_SIGNED_INT8:
        return (uint32_t)(s < -128 ? -128 : s > 127 ? 127 : s);
    case CU_AD_FORMAT_SIGNED_INT16:
        return (uint32_t)(s < -32768 ? -32768 : s > 32767 ? 32767 : s);
    case CU_AD_FORMAT_HALF:
        return sd_f32_to_f16_rn(sd_f32_bits(value));
    default:
        return value;
    }
}

static bool
is_float(CUarray_format format)
{
    return format == CU_AD_FORMAT_HALF || format == CU_AD_FORMAT_FLOAT;
}

/* Whether texels come as floats: floats, and small integers that are to be read as fractions. */
static bool
reads_float(const struct sd_texture *t)
{
    return t->bc != SD_BC_NONE || is_float(t->format) ||
           (!t->as_integer && channel_bytes(t->format) < 4);
}

/* sRGB to linear. */
static float
srgb(float c)
{
    return c <= 0.04045f ? c / 12.92f : powf((c + 0.055f) / 1.055f, 2.4f);
}

static uint32_t
fraction(const struct sd_texture *t, unsigned channel, uint32_t bits)
{
    float f;

    switch (t->format) {
    case CU_AD_FORMAT_UNSIGNED_INT8:
        f = (float)bits / 255.0f;
        return sd_bits_f32(t->srgb && channel < 3 ? srgb(f) : f);
    case CU_AD_FORMAT_UNSIGNED_INT16:
        return sd_bits_f32((float)bits / 65535.0f);
    case CU_AD_FORMAT_SIGNED_INT8:
        return sd_bits_f32(fmaxf((float)(int32_t)bits / 127.0f, -1.0f));
    case CU_AD_FORMAT_SIGNED_INT16:
        return sd_bits_f32(fmaxf((float)(int32_t)bits / 32767.0f, -1.0f));
    default:
        return bits;
    }
}

/* -- texels --------------------------------------------------------------------------------- */

/* Written as a whole: what follows reads it as a whole, and waits for single words. */
typedef uint32_t channels4 __attribute__((vector_size(16)));

static void
texel_put(uint32_t out[4], channels4 v)
{
    memcpy(out, &v, sizeof(v));
}

static uint32_t
channel_value(const struct sd_texture *t, const uint8_t *p, unsigned bytes, unsigned c, bool floats)
{
    uint32_t v = channel_bits(t->format, p + (size_t)c * bytes);

    return floats ? fraction(t, c, v) : v;
}

/* Bytes of memory, NULL after a refusal. */
static const uint8_t *
reader_at(struct sd_tex_reader *reader, uint64_t address, unsigned bytes)
{
    const uint8_t *p = (const uint8_t *)(uintptr_t)address;

    if (address < reader->low || reader->high - address < bytes || address >= reader->high)
        p = reader->read(reader->opaque, address, bytes);
    if (p == NULL)
        reader->refused = address;
    return p;
}

/* One texel of a block. */
static bool
block_read(const struct sd_texture *t, const struct sd_tex_level *l, uint32_t x, uint32_t y,
           uint32_t z, struct sd_tex_reader *reader, uint32_t out[4])
{
    unsigned bytes = sd_bc_bytes(t->bc);
    uint64_t address = l->base + z * l->slice + y / 4 * l->pitch + (uint64_t)(x / 4) * bytes;
    const uint8_t *p = reader_at(reader, address, bytes);
    float v[4];

    if (p == NULL)
        return false;
    sd_bc_texel(t->bc, p, x % 4, y % 4, v);
    for (unsigned c = 0; c < 4; c++)
        out[c] = sd_bits_f32(t->srgb && c < 3 && sd_bc_may_be_srgb(t->bc) ? srgb(v[c]) : v[c]);
    return true;
}

/* One texel of a level, which exists. */
static bool
texel_read(const struct sd_texture *t, const struct sd_tex_level *l, uint32_t x, uint32_t y,
           uint32_t z, struct sd_tex_reader *reader, uint32_t out[4])
{
    unsigned bytes = channel_bytes(t->format), all = bytes * t->channels;
    uint64_t address = l->base + z * l->slice + y * l->pitch + (uint64_t)x * all;
    bool floats = reads_float(t);
    const uint8_t *p;

    if (t->bc != SD_BC_NONE)
        return block_read(t, l, x, y, z, reader, out);
    p = reader_at(reader, address, all);
    if (p == NULL)
        return false;
    switch (t->channels) {
    case 1:
        texel_put(out, (channels4){channel_value(t, p, bytes, 0, floats)});
        break;
    case 2:
        texel_put(out, (channels4){channel_value(t, p, bytes, 0, floats),
                                   channel_value(t, p, bytes, 1, floats)});
        break;
    default:
        texel_put(out, (channels4){channel_value(t, p, bytes, 0, floats),
                                   channel_value(t, p, bytes, 1, floats),
                                   channel_value(t, p, bytes, 2, floats),
                                   channel_value(t, p, bytes, 3, floats)});
        break;
    }
    return true;
}

/* i brought into [0, n) as the mode says; false: it is the border. */
static bool
index_fold(enum CUaddress_mode_enum mode, int64_t i, uint32_t n, uint32_t *at_p)
{
    int64_t period = 2 * (int64_t)n;

    if (i >= 0 && i < n) {
        *at_p = (uint32_t)i;
        return true;
    }
    switch (mode) {
    case CU_TR_ADDRESS_MODE_WRAP:
        *at_p = (uint32_t)((i % n + n) % n);
        return true;
    case CU_TR_ADDRESS_MODE_MIRROR:
        i = (i % period + period) % period;
        *at_p = (uint32_t)(i < n ? i : period - 1 - i);
        return true;
    case CU_TR_ADDRESS_MODE_BORDER:
        return false;
    default:
        *at_p = i < 0 ? 0 : n - 1;
        return true;
    }
}

static enum CUaddress_mode_enum
mode_of(const struct sd_texture *t, unsigned axis)
{
    enum CUaddress_mode_enum mode = t->address[axis];

    /* Without normalised coordinates there is nothing to repeat. */
    if (!t->normalized && (mode == CU_TR_ADDRESS_MODE_WRAP || mode == CU_TR_ADDRESS_MODE_MIRROR))
        return CU_TR_ADDRESS_MODE_CLAMP;
    return mode;
}

static inline bool
texel_at(const struct sd_texture *t, const struct sd_tex_level *l, const int64_t i[3],
         unsigned axes, uint32_t layer, struct sd_tex_reader *reader, uint32_t out[4])
{
    const uint32_t n[3] = {l->width, l->height, l->depth};
    uint32_t at[3] = {0, 0, layer};

    for (unsigned a = 0; a < axes; a++) {
        if (!index_fold(mode_of(t, a), i[a], n[a], &at[a])) {
            memcpy(out, t->border, sizeof(t->border));
            return true;
        }
    }
    return texel_read(t, l, at[0], at[1], at[2], reader, out);
}

/* A coordinate in texels, repeated while it is still exact. */
static inline float
coordinate(const struct sd_texture *t, unsigned axis, float x, uint32_t n)
{
    enum CUaddress_mode_enum mode;

    if (isnan(x))
        return 0;
    if (!t->normalized)
        return x;
    mode = mode_of(t, axis);
    if (mode == CU_TR_ADDRESS_MODE_WRAP) {
        x = x - floorf(x);
    } else if (mode == CU_TR_ADDRESS_MODE_MIRROR) {
        float whole = floorf(x);

        x = fmodf(fabsf(whole), 2.0f) == 0.0f ? x - whole : 1.0f - (x - whole);
    }
    return x * (float)n;
}

/* Rounded down, inside of +-10^9. */
static int64_t
whole(float x)
{
    int32_t i;

    if (isnan(x)) /* an infinite coordinate that repeats */
        return 0;
    if (x < -1e9f || x > 1e9f)
        return x < 0 ? -1000000000 : 1000000000;
    i = (int32_t)x;
    return i - (x < (float)i);
}

/* -- filtering ------------------------------------------------------------------------------ */

/* The weight of the texel behind. */
static float
weight(float x)
{
    return fabsf(x) < 1e9f ? sd_tex_weight(x - (float)whole(x)) : 0;
}

static inline bool
filter(const struct sd_texture *t, const struct sd_tex_level *l, const float x[3], unsigned axes,
       uint32_t layer, struct sd_tex_reader *reader, uint32_t out[4])
{
    int64_t first[3] = {0, 0, 0};
    float w[3] = {0, 0, 0}, sum[4] = {0, 0, 0, 0};

    for (unsigned a = 0; a < axes; a++) {
        float b = x[a] - 0.5f;

        first[a] = whole(b);
        w[a] = weight(b);
    }
    for (unsigned corner = 0; corner < 1u << axes; corner++) {
        int64_t i[3] = {first[0], first[1], first[2]};
        uint32_t texel[4];
        float part = 1;

        for (unsigned a = 0; a < axes; a++) {
            bool behind = (corner >> a & 1) != 0;

            i[a] += behind;
            part *= behind ? w[a] : 1 - w[a];
        }
        if (part == 0)
            continue;
        if (!texel_at(t, l, i, axes, layer, reader, texel))
            return false;
        for (unsigned c = 0; c < 4; c++)
            sum[c] += part * sd_f32_bits(texel[c]);
    }
    for (unsigned c = 0; c < 4; c++)
        out[c] = sd_bits_f32(sum[c]);
    return true;
}

/* -- cubes ---------------------------------------------------------------------------------- */

/* The face a direction meets, and where: 0 .. 1 across it. */
static unsigned
cube_face(const float d[3], float *s_p, float *t_p)
{
    float ax = fabsf(d[0]), ay = fabsf(d[1]), az = fabsf(d[2]), m, s, t;
    unsigned face;

    if (ax >= ay && ax >= az) {
        face = d[0] >= 0 ? 0 : 1;
        m = ax;
        s = d[0] >= 0 ? -d[2] : d[2];
        t = -d[1];
    } else if (ay >= az) {
        face = d[1] >= 0 ? 2 : 3;
        m = ay;
        s = d[0];
        t = d[1] >= 0 ? d[2] : -d[2];
    } else {
        face = d[2] >= 0 ? 4 : 5;
        m = az;
        s = d[2] >= 0 ? d[0] : -d[0];
        t = -d[1];
    }
    if (m == 0)
        m = 1;
    *s_p = (s / m + 1) / 2;
    *t_p = (t / m + 1) / 2;
    return face;
}

/* The direction of a place on a face, which may lie beyond its edge. */
static void
cube_direction(unsigned face, float s, float t, float d[3])
{
    float u = 2 * s - 1, v = 2 * t - 1;

    switch (face) {
    case 0:
        d[0] = 1;
        d[1] = -v;
        d[2] = -u;
        break;
    case 1:
        d[0] = -1;
        d[1] = -v;
        d[2] = u;
        break;
    case 2:
        d[0] = u;
        d[1] = 1;
        d[2] = v;
        break;
    case 3:
        d[0] = u;
        d[1] = -1;
        d[2] = -v;
        break;
    case 4:
        d[0] = u;
        d[1] = -v;
        d[2] = 1;
        break;
    default:
        d[0] = -u;
        d[1] = -v;
        d[2] = -1;
        break;
    }
}

/* A texel of a face; one beyond its edge is the neighbour's. */
static bool
cube_texel(const struct sd_texture *t, const struct sd_tex_level *l, unsigned face, int64_t x,
           int64_t y, uint32_t layer, struct sd_tex_reader *reader, uint32_t out[4])
{
    int64_t n = l->width;

    if ((x < 0 || x >= n || y < 0 || y >= n) && t->seamless) {
        float d[3], s, v;

        cube_direction(face, ((float)x + 0.5f) / (float)n, ((float)y + 0.5f) / (float)n, d);
        face = cube_face(d, &s, &v);
        x = whole(s * (float)n);
        y = whole(v * (float)n);
    }
    x = x < 0 ? 0 : x >= n ? n - 1 : x;
    y = y < 0 ? 0 : y >= n ? n - 1 : y;
    return texel_read(t, l, (uint32_t)x, (uint32_t)y, layer * 6 + face, reader, out);
}

static bool
cube_sample(const struct sd_texture *t, const struct sd_tex_level *l, const struct sd_tex_at *at,
            uint32_t layer, struct sd_tex_reader *reader, uint32_t out[4])
{
    const float d[3] = {at->x, at->y, at->z};
    float s, v, x, y, wx, wy, sum[4] = {0, 0, 0, 0};
    unsigned face = cube_face(d, &s, &v);

    x = s * (float)l->width;
    y = v * (float)l->width;
    if (!t->linear || !reads_float(t))
        return cube_texel(t, l, face, whole(x), whole(y), layer, reader, out);
    x -= 0.5f;
    y -= 0.5f;
    wx = weight(x);
    wy = weight(y);
    for (unsigned corner = 0; corner < 4; corner++) {
        float part = (corner & 1 ? wx : 1 - wx) * (corner & 2 ? wy : 1 - wy);
        uint32_t texel[4];

        if (part == 0)
            continue;
        if (!cube_texel(t, l, face, whole(x) + (corner & 1), whole(y) + (corner >> 1), layer,
                        reader, texel))
            return false;
        for (unsigned c = 0; c < 4; c++)
            sum[c] += part * sd_f32_bits(texel[c]);
    }
    for (unsigned c = 0; c < 4; c++)
        out[c] = sd_bits_f32(sum[c]);
    return true;
}

/* -- levels --------------------------------------------------------------------------------- */

static uint32_t
layer_of(const struct sd_texture *t, enum sd_tex_geometry geometry, uint32_t layer)
{
    uint32_t n = t->layers != 0 ? t->layers : 1;

    if (geometry != SD_TEX_A1D && geometry != SD_TEX_A2D && geometry != SD_TEX_ACUBE)
        return 0;
    return (int32_t)layer < 0 ? 0 : layer >= n ? n - 1 : layer;
}

/* Textures without faces. axes is a constant where this is used. */
static inline bool
flat_sample(const struct sd_texture *t, const struct sd_tex_level *l, const struct sd_tex_at *at,
            unsigned axes, uint32_t layer, struct sd_tex_reader *reader, uint32_t out[4])
{
    const int64_t whole_at[3] = {at->ix, at->iy, at->iz};
    const uint32_t n[3] = {l->width, l->height, l->depth};
    const float real_at[3] = {at->x, at->y, at->z};
    int64_t i[3] = {0, 0, 0};
    float x[3] = {0, 0, 0};

    if (at->whole)
        return texel_at(t, l, whole_at, axes, layer, reader, out);
    for (unsigned a = 0; a < axes; a++)
        x[a] = coordinate(t, a, real_at[a], n[a]);
    if (t->linear && reads_float(t))
        return filter(t, l, x, axes, layer, reader, out);
    for (unsigned a = 0; a < axes; a++)
        i[a] = whole(x[a]);
    return texel_at(t, l, i, axes, layer, reader, out);
}

static bool
level_sample(const struct sd_texture *t, enum sd_tex_geometry geometry, const struct sd_tex_at *at,
             unsigned level, struct sd_tex_reader *reader, uint32_t out[4])
{
    const struct sd_tex_level *l = &t->levels[level];
    uint32_t layer = layer_of(t, geometry, at->layer);

    switch (geometry) {
    case SD_TEX_CUBE:
    case SD_TEX_ACUBE:
        return cube_sample(t, l, at, layer, reader, out);
    case SD_TEX_1D:
    case SD_TEX_A1D:
        return flat_sample(t, l, at, 1, layer, reader, out);
    case SD_TEX_3D:
        return flat_sample(t, l, at, 3, layer, reader, out);
    default:
        return flat_sample(t, l, at, 2, layer, reader, out);
    }
}

bool
sd_tex_sample(const struct sd_texture *t, enum sd_tex_geometry geometry, const struct sd_tex_at *at,
              struct sd_tex_reader *reader, uint32_t out[4])
{
    float last = (float)(t->nlevels - 1), lod = at->lod + t->lod_bias, w;
    uint32_t below[4];
    unsigned level;

    if (t->nlevels == 1)
        return level_sample(t, geometry, at, 0, reader, out);
    if (isnan(lod))
        lod = 0;
    lod = fminf(fmaxf(lod, t->lod_min), fmaxf(t->lod_max, t->lod_min));
    lod = fminf(fmaxf(lod, 0), last);
    if (!t->level_linear)
        return level_sample(t, geometry, at, (unsigned)floorf(lod + 0.5f), reader, out);
    level = (unsigned)lod;
    w = weight(lod);
    if (!level_sample(t, geometry, at, level, reader, out))
        return false;
    if (w == 0 || level + 1 >= t->nlevels || !reads_float(t))
        return true;
    if (!level_sample(t, geometry, at, level + 1, reader, below))
        return false;
    for (unsigned c = 0; c < 4; c++)
        out[c] = sd_bits_f32((1 - w) * sd_f32_bits(out[c]) + w * sd_f32_bits(below[c]));
    return true;
}

bool
sd_tex_gather(const struct sd_texture *t, enum sd_tex_geometry geometry, const struct sd_tex_at *at,
              unsigned component, struct sd_tex_reader *reader, uint32_t out[4])
{
    static const uint8_t place[4][2] = {{0, 1}, {1, 1}, {1, 0}, {0, 0}};
    const struct sd_tex_level *l = &t->levels[0];
    uint32_t layer = layer_of(t, geometry, at->layer);
    float x, y, s = 0, v = 0;
    unsigned face = 0;
    bool cube = geometry == SD_TEX_CUBE || geometry == SD_TEX_ACUBE;

    if (cube) {
        face = cube_face((const float[3]){at->x, at->y, at->z}, &s, &v);
        x = s * (float)l->width - 0.5f;
        y = v * (float)l->width - 0.5f;
    } else {
        x = coordinate(t, 0, at->x, l->width) - 0.5f;
        y = coordinate(t, 1, at->y, l->height) - 0.5f;
    }
    for (unsigned n = 0; n < 4; n++) {
        const int64_t i[3] = {whole(x) + place[n][0], whole(y) + place[n][1], 0};
        uint32_t texel[4];
        bool ok = cube ? cube_texel(t, l, face, i[0], i[1], layer, reader, texel)
                       : texel_at(t, l, i, 2, layer, reader, texel);

        if (!ok)
            return false;
        out[n] = texel[component];
    }
    return true;
}

float
sd_tex_lod(const struct sd_texture *t, const float dx[3], const float dy[3])
{
    const struct sd_tex_level *l = &t->levels[0];
    const float n[3] = {t->normalized ? (float)l->width : 1, t->normalized ? (float)l->height : 1,
                        t->normalized ? (float)l->depth : 1};
    float a = 0, b = 0, most;

    for (unsigned i = 0; i < 3; i++) {
        a += dx[i] * n[i] * dx[i] * n[i];
        b += dy[i] * n[i] * dy[i] * n[i];
    }
    most = fmaxf(a, b);
    return most > 0 ? 0.5f * log2f(most) : -126.0f;
}
