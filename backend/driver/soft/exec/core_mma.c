/* backend/driver/soft/exec/core_mma.c -- mma.sync, wmma, ldmatrix, stmatrix, movmatrix
 *
 * The warp's fragments are gathered into whole matrices, multiplied, and spread again.
 */
#include "backend/driver/soft/exec/core.h"
#include "backend/driver/soft/exec/mma.h"

union matrix {
    float f32[SD_MMA_ELEMENTS_MAX];
    double f64[SD_MMA_ELEMENTS_MAX / 2];
    int32_t s32[SD_MMA_ELEMENTS_MAX];
};

static unsigned
type_bits(unsigned type)
{
    switch (type) {
    case SD_MMA_F16:
    case SD_MMA_BF16:
        return 16;
    case SD_MMA_U8:
    case SD_MMA_S8:
    case SD_MMA_E4M3:
    case SD_MMA_E5M2:
        return 8;
    case SD_MMA_U4:
    case SD_MMA_S4:
        return 4;
    case SD_MMA_B1:
        return 1;
    case SD_MMA_F64:
        return 64;
    default:
        return 32;
    }
}

/* Elements in a register; f64 has registers of 64 bits. */
static unsigned
per_reg(unsigned type)
{
    return type == SD_MMA_F64 ? 1 : 32 / type_bits(type);
}

struct place {
    unsigned row, col;
};

/* Where element i of register r of a lane stands; r counts within the unique ones. */
static inline struct place
place_of(const struct sd_mma *d, unsigned matrix, unsigned e, unsigned lane, unsigned r, unsigned i)
{
    unsigned g = lane / 4, t = lane % 4;

    if (matrix == SD_MMA_A) {
        unsigned blocks = d->k / (4 * e), in;

        if (d->m == 8)
            return (struct place){g, r * 4 * e + t * e + i};
        in = r % (2 * blocks);
        return (struct place){r / (2 * blocks) * 16 + g + 8 * (in & 1),
                              (in >> 1) * 4 * e + t * e + i};
    }
    if (matrix == SD_MMA_B) {
        unsigned blocks = d->k / (4 * e);

        return (struct place){r % blocks * 4 * e + t * e + i, r / blocks * 8 + g};
    }
    unsigned rows = d->m == 8 ? 1 : 2, each = 2 / e * rows, in = r % each, b = r / each;
    unsigned nblocks = d->n / 8u;

    return (struct place){b / nblocks * 16 + g + 8 * (e == 2 ? in : in >> 1),
                          b % nblocks * 8 + 2 * t + (e == 2 ? i : in & 1)};
}

static unsigned
unique_regs(const struct sd_mma *d, unsigned matrix, unsigned e)
{
    unsigned rows = matrix == SD_MMA_B ? d->k : d->m;
    unsigned cols = matrix == SD_MMA_A ? d->k : d->n;

    return rows * cols / (32 * e);
}

static float
to_f32(unsigned type, uint32_t v)
{
    switch (type) {
    case SD_MMA_F16:
        return sd_f16_to_f32((uint16_t)v);
    case SD_MMA_BF16:
        return sd_bf16_to_f32((uint16_t)v);
    case SD_MMA_TF32:
        return sd_tf32_operand(v);
    case SD_MMA_E4M3:
        return (float)sd_small_to_f64(v, SD_E4M3);
    case SD_MMA_E5M2:
        return (float)sd_small_to_f64(v, SD_E5M2);
    default:
        return sd_f32_bits(v);
    }
}

static int32_t
to_s32(unsigned type, uint32_t v)
{
    switch (type) {
    case SD_MMA_S8:
        return (int8_t)v;
    case SD_MMA_U8:
        return (uint8_t)v;
    case SD_MMA_S4:
        return (int32_t)(v << 28) >> 28;
    case SD_MMA_U4:
        return (int32_t)(v & 15);
    case SD_MMA_B1:
        return (int32_t)(v & 1);
    default:
        return (int32_t)v;
    }
}

static bool
is_int(unsigned type)
{
    return type == SD_MMA_U8 || type == SD_MMA_S8 || type == SD_MMA_U4 || type == SD_MMA_S4 ||
           type == SD_MMA_B1 || type == SD_MMA_S32;
}

/* Registers to a matrix with cols columns, stored by rows. */
static void
gather(const struct sd_mma *d, unsigned matrix, unsigned type, const uint32_t *rows, unsigned cols,
       const uint8_t *regs, union matrix *out)
{
    unsigned e = per_reg(type), bits = type_bits(type), n = unique_regs(d, matrix, e);
    unsigned r, lane, i;

    for (r = 0; r < n; r++) {
        const uint32_t *row = SD_ROW(const uint32_t, rows[r]);

        for (lane = 0; lane < 32; lane++) {
            for (i = 0; i < e; i++) {
                struct place p = place_of(d, matrix, e, lane, r, i);
                unsigned at = p.row * cols + p.col;

                if (type == SD_MMA_F64)
                    out->f64[at] = ((const double *)(const void *)row)[lane];
                else if (is_int(type))
                    out->s32[at] = to_s32(type, row[lane] >> (bits * i) % 32);
                else
                    out->f32[at] = to_f32(type, row[lane] >> (bits * i) % 32);
            }
        }
    }
}

/* The result's registers are 32 bits, pairs of f16, or f64. */
static void
spread(const struct sd_mma *d, const uint32_t *rows, const union matrix *in, uint8_t *regs)
{
    unsigned type = d->type[0], e = per_reg(type), n = unique_regs(d, SD_MMA_C, e);
    unsigned r, lane;

    for (r = 0; r < d->regs[0] && n > 0; r++) {
        uint32_t *row = SD_ROW(uint32_t, rows[r]);

        for (lane = 0; lane < 32; lane++) {
            struct place p = place_of(d, SD_MMA_C, e, lane, r % n, 0);
            unsigned at = p.row * d->n + p.col;

            if (type == SD_MMA_F64)
                ((double *)(void *)row)[lane] = in->f64[at];
            else if (type == SD_MMA_S32)
                row[lane] = (uint32_t)in->s32[at];
            else if (type == SD_MMA_F16)
                row[lane] = sd_f32_to_f16_rn(in->f32[at]) |
                            (uint32_t)sd_f32_to_f16_rn(in->f32[at + 1]) << 16;
            else
                row[lane] = sd_bits_f32(sd_canon_f32(in->f32[at]));
        }
    }
}

#define MULTIPLY(T, field, step)                                                                   \
    for (unsigned i = 0; i < d->m; i++)                                                            \
        for (unsigned k = 0; k < d->k; k++) {                                                      \
            const T x = a->field[i * d->k + k];                                                    \
            const T *y = &b->field[k * d->n];                                                      \
            T *z = &c->field[i * d->n];                                                            \
            SD_LOOP for (unsigned j = 0; j < d->n; j++) z[j] = (step);                             \
        }

static void
multiply(const struct sd_mma *d, const union matrix *a, const union matrix *b, union matrix *c)
{
    unsigned type = d->type[1];

    if (type == SD_MMA_F64) {
        MULTIPLY(double, f64, __builtin_fma(x, y[j], z[j]))
    } else if (type == SD_MMA_B1) {
        if (d->and_popc) {
            MULTIPLY(int32_t, s32, z[j] + (x & y[j]))
        } else {
            MULTIPLY(int32_t, s32, z[j] + (x ^ y[j]))
        }
    } else if (is_int(type) && d->satfinite) {
        for (unsigned i = 0; i < d->m; i++)
            for (unsigned j = 0; j < d->n; j++) {
                int64_t s = c->s32[i * d->n + j];

                for (unsigned k = 0; k < d->k; k++)
                    s += (int64_t)a->s32[i * d->k + k] * b->s32[k * d->n + j];
                c->s32[i * d->n + j] = (int32_t)(s > INT32_MAX   ? INT32_MAX
                                                 : s < INT32_MIN ? INT32_MIN
                                                                 : s);
            }
    } else if (is_int(type)) {
        MULTIPLY(int32_t, s32, (int32_t)((uint32_t)z[j] + (uint32_t)x * (uint32_t)y[j]))
    } else {
        MULTIPLY(float, f32, z[j] + x * y[j])
    }
}

SD_HANDLER(h_mma)
{
    const uint32_t *x = w->frame->fn->extra + ip->d;
    const uint32_t *rows = x + SD_MMA_WORDS;
    union matrix a, b, c;
    struct sd_mma d;

    if (!sd_group_meet(w, ip, SD_LANES_ALL))
        return NULL;
    memcpy(&d, x, sizeof(d));
    gather(&d, SD_MMA_A, d.type[1], rows + d.regs[0], d.k, regs, &a);
    gather(&d, SD_MMA_B, d.type[2], rows + d.regs[0] + d.regs[1], d.n, regs, &b);
    gather(&d, SD_MMA_C, d.type[3], rows + d.regs[0] + d.regs[1] + d.regs[2], d.n, regs, &c);
    multiply(&d, &a, &b, &c);
    spread(&d, rows, &c, regs);
    return ip + 1;
}

/* ---- wmma.load and wmma.store ---- */

struct tile {
    uint64_t addr;
    uint64_t stride; /* elements between rows (or columns) */
    unsigned bits;
    uint8_t *whole; /* host address of addr when all of it lies in one place, else NULL */
};

/* The address is the same in all lanes. */
static const struct sd_insn *
find_tile(struct sd_warp *w, const struct sd_insn *ip, const uint8_t *regs, const struct sd_mma *d,
          bool write, struct tile *t)
{
    unsigned lane = sd_first_lane(w->mask);
    unsigned type = d->type[0];
    unsigned rows = d->matrix == SD_MMA_B ? d->k : d->m;
    unsigned cols = d->matrix == SD_MMA_A ? d->k : d->n;
    unsigned major = d->col_major ? cols : rows, minor = d->col_major ? rows : cols;
    uint64_t bytes;

    t->bits = type_bits(type);
    t->stride = d->has_stride ? SD_ROW(const uint32_t, d->stride_row)[lane] : minor;
    if (d->space == 1)
        t->addr = sd_shared_address(
            w, SD_ROW(const uint32_t, ip->a)[lane] + (uint64_t)(int64_t)d->offset, false);
    else
        t->addr = SD_ROW(const uint64_t, ip->a)[lane] + (uint64_t)(int64_t)d->offset;
    if (d->space == 0 && t->addr >= SD_WINDOW_SHARED)
        return sd_fault_access(w, ip, lane, t->addr, 1, write);
    bytes = ((major - 1) * t->stride + minor) * t->bits / 8;
    t->whole = bytes < 1u << 31 && t->addr % (t->bits < 8 ? 1 : t->bits / 8) == 0
                   ? sd_resolve(w, lane, t->addr, (uint32_t)bytes, write, d->site)
                   : NULL;
    return ip;
}

static inline uint64_t
tile_offset(const struct sd_mma *d, const struct tile *t, struct place p)
{
    return (d->col_major ? p.col * t->stride + p.row : p.row * t->stride + p.col) * t->bits / 8;
}

/* Bytes of one element or more at an offset. */
static uint8_t *
tile_at(struct sd_warp *w, const struct sd_mma *d, const struct tile *t, uint64_t offset,
        unsigned bytes, bool write)
{
    if (t->whole != NULL)
        return t->whole + offset;
    if ((t->addr + offset) % bytes != 0)
        return NULL;
    return sd_resolve(w, sd_first_lane(w->mask), t->addr + offset, bytes, write, d->site);
}

SD_HANDLER(h_wmma_load)
{
    const uint32_t *x = w->frame->fn->extra + ip->d, *rows = x + SD_MMA_WORDS;
    struct sd_mma d;
    struct tile t;
    unsigned e, n, r, lane, i;

    if (!sd_group_meet(w, ip, SD_LANES_ALL))
        return NULL;
    memcpy(&d, x, sizeof(d));
    if (find_tile(w, ip, regs, &d, false, &t) == NULL)
        return NULL;
    e = per_reg(d.type[0]);
    n = unique_regs(&d, d.matrix, e);
    for (r = 0; r < d.regs[0] && n > 0; r++) {
        for (lane = 0; lane < 32; lane++) {
            uint64_t v = 0;
            /* Sub-byte elements always lie side by side. */
            unsigned steps = t.bits < 8 ? 1 : e, size = t.bits < 8 ? 4 : t.bits / 8;

            for (i = 0; i < steps; i++) {
                uint64_t offset = tile_offset(&d, &t, place_of(&d, d.matrix, e, lane, r % n, i));
                const uint8_t *p = tile_at(w, &d, &t, offset, size, false);
                uint64_t part = 0;

                if (p == NULL)
                    return sd_fault_access(w, ip, lane, t.addr + offset, size, false);
                memcpy(&part, p, size);
                v |= part << 8 * size * i % 64;
            }
            if (d.type[0] == SD_MMA_F64)
                SD_ROW(uint64_t, rows[r])[lane] = v;
            else
                SD_ROW(uint32_t, rows[r])[lane] = (uint32_t)v;
        }
    }
    return ip + 1;
}

SD_HANDLER(h_wmma_store)
{
    const uint32_t *x = w->frame->fn->extra + ip->d, *rows = x + SD_MMA_WORDS;
    struct sd_mma d;
    struct tile t;
    unsigned e, n, r, lane, i;

    if (!sd_group_meet(w, ip, SD_LANES_ALL))
        return NULL;
    memcpy(&d, x, sizeof(d));
    if (find_tile(w, ip, regs, &d, true, &t) == NULL)
        return NULL;
    e = per_reg(d.type[0]);
    n = unique_regs(&d, d.matrix, e);
    for (r = 0; r < d.regs[0] && r < n; r++) {
        for (lane = 0; lane < 32; lane++) {
            uint64_t v = d.type[0] == SD_MMA_F64 ? SD_ROW(const uint64_t, rows[r])[lane]
                                                 : SD_ROW(const uint32_t, rows[r])[lane];
            unsigned size = t.bits / 8;

            for (i = 0; i < e; i++) {
                uint64_t offset = tile_offset(&d, &t, place_of(&d, d.matrix, e, lane, r, i));
                uint8_t *p = tile_at(w, &d, &t, offset, size, true);
                uint64_t part = v >> 8 * size * i % 64;

                if (p == NULL)
                    return sd_fault_access(w, ip, lane, t.addr + offset, size, true);
                memcpy(p, &part, size);
            }
        }
    }
    return ip + 1;
}

/* ---- ldmatrix, stmatrix, movmatrix: 8x8 matrices of 16-bit elements ---- */

/* extra[d]: number of matrices, trans, store, space, site, offset, rows of registers */
SD_HANDLER(h_ldmatrix)
{
    const uint32_t *x = w->frame->fn->extra + ip->d, *rows = x + 6;
    unsigned n = x[0], i, j, lane;
    bool trans = x[1] != 0, store = x[2] != 0;
    uint16_t *line[32];
    uint32_t out[4][SD_LANES];

    if (!sd_group_meet(w, ip, SD_LANES_ALL))
        return NULL;
    for (j = 0; j < 8 * n; j++) {
        uint64_t a =
            (x[3] == 1 ? SD_ROW(const uint32_t, ip->a)[j] : SD_ROW(const uint64_t, ip->a)[j]) +
            (uint64_t)(int64_t)(int32_t)x[5];

        if (x[3] == 1)
            a = sd_shared_address(w, a, false);
        line[j] =
            a % 16 == 0 && a >= SD_WINDOW_SHARED ? sd_resolve(w, j, a, 16, store, x[4]) : NULL;
        if (line[j] == NULL)
            return sd_fault_access(w, ip, j, a, 16, store);
    }
    for (i = 0; i < n; i++) {
        for (lane = 0; lane < 32; lane++) {
            unsigned row = trans ? 2 * (lane % 4) : lane / 4;
            unsigned col = trans ? lane / 4 : 2 * (lane % 4);
            uint16_t *p0 = &line[8 * i + row][col];
            uint16_t *p1 = trans ? &line[8 * i + row + 1][col] : p0 + 1;

            if (store) {
                uint32_t v = SD_ROW(const uint32_t, rows[i])[lane];

                *p0 = (uint16_t)v;
                *p1 = (uint16_t)(v >> 16);
            } else {
                out[i][lane] = *p0 | (uint32_t)*p1 << 16;
            }
        }
    }
    for (i = 0; i < n && !store; i++)
        sd_blend32(SD_ROW(uint32_t, rows[i]), out[i], w->mask);
    return ip + 1;
}

SD_HANDLER(h_movmatrix)
{
    const uint32_t *a = SD_ROW(const uint32_t, ip->a);
    uint32_t out[SD_LANES];
    uint16_t m[8][8];
    unsigned lane;

    if (!sd_group_meet(w, ip, SD_LANES_ALL))
        return NULL;
    for (lane = 0; lane < 32; lane++) {
        m[lane / 4][2 * (lane % 4)] = (uint16_t)a[lane];
        m[lane / 4][2 * (lane % 4) + 1] = (uint16_t)(a[lane] >> 16);
    }
    for (lane = 0; lane < 32; lane++)
        out[lane] = m[2 * (lane % 4)][lane / 4] | (uint32_t)m[2 * (lane % 4) + 1][lane / 4] << 16;
    sd_blend32(SD_ROW(uint32_t, ip->dst), out, w->mask);
    return ip + 1;
}

void
SD_NAME(sd_fill_mma)(struct sd_core *core)
{
#define ONE(id) core->full[SD_OP_##id] = core->masked[SD_OP_##id] = h_##id;
    ONE(mma) ONE(wmma_load) ONE(wmma_store) ONE(ldmatrix) ONE(movmatrix)
}
