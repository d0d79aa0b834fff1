/* backend/driver/soft/exec/tex.c -- texture and surface instructions, lane by lane
 *
 * A handle is looked up with the driver half; what its description says is believed for no access:
 * each texel is resolved like any other address.
 */
#include "backend/driver/soft/exec/tex.h"

#include "backend/driver/soft/exec/atom.h"
#include "backend/driver/soft/exec/tex_sample.h"
#include "backend/driver/soft/exec/warp.h"

#include <stddef.h>
#include <string.h>

struct lane {
    struct sd_warp *w;
    const struct sd_insn *ip;
    const uint32_t *x;
    uint8_t *regs;
    unsigned lane;
    struct sd_tex_reader reader;
};

static uint32_t
word(const struct lane *l, uint32_t row)
{
    return ((const uint32_t *)(const void *)(l->regs + row))[l->lane];
}

static float
real(const struct lane *l, uint32_t row)
{
    return ((const float *)(const void *)(l->regs + row))[l->lane];
}

static uint64_t
data_get(const struct lane *l, unsigned i)
{
    return sd_lane_get(l->regs + l->x[SD_TEX_X_DATA + i], l->lane, l->x[SD_TEX_X_WIDTH]);
}

static void
data_put(const struct lane *l, unsigned i, uint64_t v)
{
    uint32_t row = l->x[SD_TEX_X_DATA + i];

    if (row != UINT32_MAX)
        sd_lane_put(l->regs + row, l->lane, l->x[SD_TEX_X_WIDTH], v);
}

static const void *
lane_read(void *opaque, uint64_t address, uint32_t bytes)
{
    const struct lane *l = opaque;

    return sd_resolve(l->w, l->lane, address, bytes, false, l->x[SD_TEX_X_SITE]);
}

static bool
layered(uint32_t geometry)
{
    return geometry == SD_TEX_A1D || geometry == SD_TEX_A2D || geometry == SD_TEX_ACUBE;
}

/* What a reference stands for: the launch says, or the variable. */
static uint64_t
reference_handle(const struct lane *l, uint64_t var)
{
    const struct sd_launch *launch = l->w->block->grid->launch;
    const uint64_t *p;

    for (uint32_t i = 0; i < launch->bound_count; i++)
        if (launch->bound[i].var == var)
            return launch->bound[i].handle;
    p = var % 8 == 0 ? sd_resolve(l->w, l->lane, var, 8, false, l->x[SD_TEX_X_SITE]) : NULL;
    return p != NULL && *p < SD_TEXTURE_HANDLE_END ? *p : 0;
}

/* The handle's description, or that of the reference that it is the address of. */
static bool
texture_copy(const struct lane *l, struct sd_texture *to)
{
    const struct sd_env *env = l->w->block->grid->env;
    uint64_t handle = ((const uint64_t *)(const void *)(l->regs + l->ip->a))[l->lane];
    const struct sd_texture *t;

    if (env->texture == NULL)
        return false;
    if (handle >= SD_TEXTURE_HANDLE_END)
        handle = reference_handle(l, handle);
    t = env->texture(env->opaque, handle);
    if (t == NULL)
        return false;
    memcpy(to, t, offsetof(struct sd_texture, levels));
    if (to->nlevels - 1 >= SD_TEXTURE_LEVELS_MAX || to->channels - 1 >= 4)
        return false;
    memcpy(to->levels, t->levels, to->nlevels * sizeof(to->levels[0]));
    return true;
}

/* -- textures ------------------------------------------------------------------------------- */

static void
coordinates(const struct lane *l, const struct sd_texture *t, struct sd_tex_at *at)
{
    const uint32_t *row = l->x + SD_TEX_X_COORD;
    uint32_t flags = l->x[SD_TEX_X_FLAGS];

    memset(at, 0, sizeof(*at));
    if (layered(l->x[SD_TEX_X_GEOMETRY]))
        at->layer = word(l, *row++);
    at->whole = (flags & SD_TEX_INT) != 0;
    if (at->whole) {
        at->ix = (int32_t)word(l, row[0]);
        at->iy = (int32_t)word(l, row[1]);
        at->iz = (int32_t)word(l, row[2]);
    } else {
        at->x = real(l, row[0]);
        at->y = real(l, row[1]);
        at->z = real(l, row[2]);
    }
    row = l->x + SD_TEX_X_MORE;
    if ((flags & SD_TEX_LEVEL) != 0) {
        at->lod = at->whole ? (float)(int32_t)word(l, row[0]) : real(l, row[0]);
    } else if ((flags & SD_TEX_GRAD) != 0) {
        const float dx[3] = {real(l, row[0]), real(l, row[1]), real(l, row[2])};
        const float dy[3] = {real(l, row[3]), real(l, row[4]), real(l, row[5])};

        at->lod = sd_tex_lod(t, dx, dy);
    }
}

static const struct sd_insn *
lane_sample(struct lane *l, const struct sd_texture *t)
{
    enum sd_tex_geometry geometry = l->x[SD_TEX_X_GEOMETRY];
    struct sd_tex_at at;
    uint32_t out[4];
    bool ok;

    coordinates(l, t, &at);
    ok = l->x[SD_TEX_X_OP] == SD_TEX_GATHER
             ? sd_tex_gather(t, geometry, &at, l->x[SD_TEX_X_AUX], &l->reader, out)
             : sd_tex_sample(t, geometry, &at, &l->reader, out);
    if (!ok)
        return sd_fault_access(l->w, l->ip, l->lane, l->reader.refused, 1, false);
    for (unsigned i = 0; i < l->x[SD_TEX_X_NDATA]; i++)
        data_put(l, i, out[i]);
    return l->ip + 1;
}

static uint32_t
answer(const struct sd_texture *t, enum sd_tex_query what, const struct sd_tex_level *level)
{
    switch (what) {
    case SD_TEX_ASK_WIDTH:
        return level->width;
    case SD_TEX_ASK_HEIGHT:
        return level->height;
    case SD_TEX_ASK_DEPTH:
        return level->depth;
    case SD_TEX_ASK_LAYERS:
        return t->layers;
    case SD_TEX_ASK_LEVELS:
        return t->nlevels;
    case SD_TEX_ASK_NORMALIZED:
        return t->normalized;
    default:
        return 0;
    }
}

static const struct sd_insn *
lane_query(struct lane *l, const struct sd_texture *t)
{
    uint32_t level = 0;

    if ((l->x[SD_TEX_X_FLAGS] & SD_TEX_LEVEL) != 0)
        level = word(l, l->x[SD_TEX_X_MORE]);
    if (level >= t->nlevels)
        level = t->nlevels - 1;
    data_put(l, 0, answer(t, l->x[SD_TEX_X_AUX], &t->levels[level]));
    return l->ip + 1;
}

/* -- surfaces ------------------------------------------------------------------------------- */

/* i inside [0, n), or what the instruction does about it: false with *skip_p, or a trap. */
static bool
surface_index(const struct lane *l, int64_t i, uint64_t n, uint64_t *at_p, bool *skip_p)
{
    uint32_t flags = l->x[SD_TEX_X_FLAGS];

    *skip_p = false;
    if (i >= 0 && (uint64_t)i < n) {
        *at_p = (uint64_t)i;
        return true;
    }
    *skip_p = (flags & SD_SURF_ZERO) != 0;
    if ((flags & (SD_SURF_ZERO | SD_SURF_TRAP)) != 0)
        return false;
    *at_p = i < 0 ? 0 : n - 1;
    return true;
}

/* Where an access of bytes begins; x counts bytes, or elements of unit bytes. */
static bool
surface_place(const struct lane *l, const struct sd_texture *t, uint32_t unit, uint32_t bytes,
              uint64_t *address_p, bool *skip_p)
{
    const struct sd_tex_level *s = &t->levels[0];
    const uint32_t *row = l->x + SD_TEX_X_COORD;
    uint32_t geometry = l->x[SD_TEX_X_GEOMETRY];
    uint64_t row_bytes = (uint64_t)s->width * t->channels * sd_tex_channel_bytes(t->format);
    uint64_t places = row_bytes >= bytes ? (row_bytes - bytes) / unit + 1 : 0, x, y = 0, z = 0;
    int64_t layer = 0;

    if (layered(geometry))
        layer = (int32_t)word(l, *row++);
    *skip_p = false;
    if (places == 0)
        return false;
    if (!surface_index(l, (int32_t)word(l, row[0]), places, &x, skip_p))
        return false;
    if (geometry != SD_TEX_1D && geometry != SD_TEX_A1D &&
        !surface_index(l, (int32_t)word(l, row[1]), s->height, &y, skip_p))
        return false;
    if (geometry == SD_TEX_3D && !surface_index(l, (int32_t)word(l, row[2]), s->depth, &z, skip_p))
        return false;
    if (layered(geometry) &&
        !surface_index(l, layer, (uint64_t)(t->layers != 0 ? t->layers : 1) * (t->cube ? 6 : 1), &z,
                       skip_p))
        return false;
    *address_p = s->base + z * s->slice + y * s->pitch + x * unit;
    return true;
}

/* Memory of an access, NULL after a fault or (skip) if there is nothing to do. */
static uint8_t *
surface_memory(const struct lane *l, const struct sd_texture *t, uint32_t unit, uint32_t bytes,
               bool write, bool *skip_p)
{
    uint64_t address = 0;
    uint8_t *p;

    if (!surface_place(l, t, unit, bytes, &address, skip_p)) {
        if (!*skip_p)
            (void)sd_fault(l->w, l->ip, l->lane, CUDA_ERROR_LAUNCH_FAILED, 0,
                           "surface access out of bounds");
        return NULL;
    }
    p = address % bytes == 0 ? sd_resolve(l->w, l->lane, address, bytes, write, l->x[SD_TEX_X_SITE])
                             : NULL;
    if (p == NULL)
        (void)sd_fault_access(l->w, l->ip, l->lane, address, bytes, write);
    return p;
}

static const struct sd_insn *
lane_surface(struct lane *l, const struct sd_texture *t)
{
    uint32_t element = l->x[SD_TEX_X_AUX], n = l->x[SD_TEX_X_NDATA], bytes = element * n;
    bool store = l->x[SD_TEX_X_OP] == SD_SURF_STORE, skip;
    uint8_t *p = surface_memory(l, t, 1, bytes, store, &skip);

    if (p == NULL && !skip)
        return NULL;
    for (unsigned i = 0; i < n; i++) {
        uint64_t v = 0;

        if (store && p != NULL) {
            v = data_get(l, i);
            memcpy(p + (size_t)i * element, &v, element);
        } else if (!store) {
            if (p != NULL)
                memcpy(&v, p + (size_t)i * element, element);
            data_put(l, i, v);
        }
    }
    return l->ip + 1;
}

static const struct sd_insn *
lane_surface_format(struct lane *l, const struct sd_texture *t)
{
    uint32_t channel = sd_tex_channel_bytes(t->format), bytes = channel * t->channels;
    bool skip;
    uint8_t *p = surface_memory(l, t, bytes, bytes, true, &skip);

    if (p == NULL)
        return skip ? l->ip + 1 : NULL;
    for (unsigned i = 0; i < t->channels; i++) {
        uint32_t v = i < l->x[SD_TEX_X_NDATA] ? (uint32_t)data_get(l, i) : 0;

        v = sd_tex_channel_encode(t->format, v);
        memcpy(p + (size_t)i * channel, &v, channel);
    }
    return l->ip + 1;
}

static const struct sd_insn *
lane_reduce(struct lane *l, const struct sd_texture *t)
{
    uint32_t flags = l->x[SD_TEX_X_FLAGS], bytes = (flags & SD_SURF_WIDE) != 0 ? 8 : 4;
    bool is_signed = (flags & SD_SURF_SIGNED) != 0, skip;
    uint8_t *p = surface_memory(l, t, 1, bytes, true, &skip);
    enum sd_atom_type type;

    if (p == NULL)
        return skip ? l->ip + 1 : NULL;
    if (bytes == 8)
        type = is_signed ? SD_ATOM_S64 : SD_ATOM_U64;
    else
        type = is_signed ? SD_ATOM_S32 : SD_ATOM_U32;
    (void)sd_atom_apply(l->x[SD_TEX_X_AUX], type, p, data_get(l, 0));
    return l->ip + 1;
}

/* Texels of the allocation that the first level lies in need no further look. */
static void
reader_start(struct lane *l, const struct sd_texture *t)
{
    const struct sd_cached_span *span = &l->w->cpu->spans[l->x[SD_TEX_X_SITE] % SD_SPAN_CACHE];

    l->reader = (struct sd_tex_reader){.opaque = l, .read = lane_read};
    if (t->levels[0].base < SD_WINDOW_SHARED && lane_read(l, t->levels[0].base, 1) != NULL) {
        l->reader.low = span->base;
        l->reader.high = span->end;
    }
}

/* One 32-bit channel, not repeated: what most kernels that only look things up do. */
static bool
is_plain(const struct lane *l, const struct sd_texture *t)
{
    uint32_t geometry = l->x[SD_TEX_X_GEOMETRY], flags = l->x[SD_TEX_X_FLAGS];

    return l->x[SD_TEX_X_OP] == SD_TEX_SAMPLE && (geometry == SD_TEX_1D || geometry == SD_TEX_2D) &&
           t->nlevels == 1 && t->bc == SD_BC_NONE && t->channels == 1 &&
           sd_tex_channel_bytes(t->format) == 4 && (!t->normalized || (flags & SD_TEX_INT) != 0);
}

static bool
plain_texel(const struct lane *l, const struct sd_texture *t, uint32_t x, uint32_t y, void *to)
{
    const struct sd_tex_level *level = &t->levels[0];
    uint64_t address = level->base + y * level->pitch + (uint64_t)x * 4;

    if (address < l->reader.low || address >= l->reader.high || l->reader.high - address < 4)
        return false;
    memcpy(to, (const void *)(uintptr_t)address, 4);
    return true;
}

/* A coordinate as a texel and the weight of the next one; false: beyond the edge, or no number. */
static bool
plain_coordinate(const struct lane *l, uint32_t row, bool filtered, uint32_t n, uint32_t *i_p,
                 float *w_p)
{
    float x;

    *w_p = 0;
    if ((l->x[SD_TEX_X_FLAGS] & SD_TEX_INT) != 0) {
        *i_p = word(l, row);
        return *i_p < n;
    }
    x = real(l, row) - (filtered ? 0.5f : 0);
    if (!(x >= 0 && x < 1e9f))
        return false;
    *i_p = (uint32_t)x;
    if (filtered)
        *w_p = sd_tex_weight(x - (float)*i_p);
    return *i_p < n && (*w_p == 0 || *i_p + 1 < n);
}

/* The lane's texel or mean, as sd_tex_sample would give it; false if that takes more thought. */
static bool
plain_sample(const struct lane *l, const struct sd_texture *t)
{
    const uint32_t *row = l->x + SD_TEX_X_COORD;
    bool filtered = t->linear && t->format == CU_AD_FORMAT_FLOAT;
    uint32_t i[2] = {0, 0}, v;
    float w[2] = {0, 0}, sum = 0, texel;

    if (!plain_coordinate(l, row[0], filtered, t->levels[0].width, &i[0], &w[0]) ||
        (l->x[SD_TEX_X_GEOMETRY] == SD_TEX_2D &&
         !plain_coordinate(l, row[1], filtered, t->levels[0].height, &i[1], &w[1])))
        return false;
    if (!filtered || (l->x[SD_TEX_X_FLAGS] & SD_TEX_INT) != 0) {
        if (!plain_texel(l, t, i[0], i[1], &v))
            return false;
    } else {
        for (unsigned corner = 0; corner < 4; corner++) {
            float part =
                ((corner & 1) != 0 ? w[0] : 1 - w[0]) * ((corner & 2) != 0 ? w[1] : 1 - w[1]);

            if (part == 0)
                continue;
            if (!plain_texel(l, t, i[0] + (corner & 1), i[1] + (corner >> 1), &texel))
                return false;
            sum += part * texel;
        }
        memcpy(&v, &sum, 4);
    }
    data_put(l, 0, v);
    for (unsigned k = 1; k < l->x[SD_TEX_X_NDATA]; k++)
        data_put(l, k, 0);
    return true;
}

const struct sd_insn *
sd_tex(struct sd_warp *w, const struct sd_insn *ip, uint8_t *regs)
{
    struct lane l = {.w = w, .ip = ip, .x = w->frame->fn->extra + ip->d, .regs = regs};
    const uint64_t *handles = (const uint64_t *)(const void *)(regs + ip->a);
    const struct sd_insn *next = ip + 1;
    struct sd_texture t; /* a copy: the object may just be going */
    uint64_t copied = 0;
    bool plain = false;
    uint32_t m;

    for (m = w->mask; m != 0 && next != NULL; m &= m - 1) {
        l.lane = sd_first_lane(m);
        if (copied == 0 || handles[l.lane] != copied) {
            if (!texture_copy(&l, &t))
                return sd_fault(w, ip, l.lane, CUDA_ERROR_LAUNCH_FAILED, 0,
                                "no texture or surface has this handle");
            if (t.surface != (l.x[SD_TEX_X_OP] >= SD_SURF_LOAD) && l.x[SD_TEX_X_OP] != SD_TEX_QUERY)
                return sd_fault(w, ip, l.lane, CUDA_ERROR_LAUNCH_FAILED, 0,
                                "a texture is no surface");
            reader_start(&l, &t);
            plain = is_plain(&l, &t);
        }
        copied = handles[l.lane];
        if (plain && plain_sample(&l, &t))
            continue;
        switch (l.x[SD_TEX_X_OP]) {
        case SD_TEX_SAMPLE:
        case SD_TEX_GATHER:
            next = lane_sample(&l, &t);
            break;
        case SD_TEX_QUERY:
            next = lane_query(&l, &t);
            break;
        case SD_SURF_FORMAT:
            next = lane_surface_format(&l, &t);
            break;
        case SD_SURF_REDUCE:
            next = lane_reduce(&l, &t);
            break;
        default:
            next = lane_surface(&l, &t);
            break;
        }
    }
    return next;
}
