/* backend/driver/soft/ptx/lower_tex.c -- textures and surfaces */
#include "backend/driver/soft/ptx/lower.h"

#include "backend/driver/soft/exec/atom.h"
#include "backend/driver/soft/exec/tex.h"

#include <string.h>

static bool
geometry_of(const struct ptx_opcode *op, uint32_t *geometry_p)
{
    static const struct {
        enum ptx_word word;
        uint32_t geometry;
    } table[] = {
        {W_1d, SD_TEX_1D},     {W_2d, SD_TEX_2D},     {W_3d, SD_TEX_3D},       {W_a1d, SD_TEX_A1D},
        {W_a2d, SD_TEX_A2D},   {W_cube, SD_TEX_CUBE}, {W_acube, SD_TEX_ACUBE},
    };

    for (size_t i = 0; i < GP_ARRAY_LEN(table); i++) {
        if (ptx_has(op, table[i].word)) {
            *geometry_p = table[i].geometry;
            return true;
        }
    }
    return false;
}

/* The 64-bit handle: a register, or what stands in the variable of a reference. */
static uint32_t
handle_row(struct lower *lw, const struct ptx_insn *in, const struct ptx_operand *o)
{
    struct ptx_operand plain = *o;

    plain.address = 0;
    return lower_src_as(lw, in, &plain, 8); /* of a reference: its address */
}

/* Rows of up to max values of 4 bytes; the rest is zero. */
static bool
value_rows(struct lower *lw, const struct ptx_insn *in, const struct ptx_operand *o, uint32_t *rows,
           unsigned max)
{
    const struct ptx_operand *e = o->kind == OPND_LIST ? &lw->b->operands[o->reg] : o;
    unsigned n = o->kind == OPND_LIST ? o->count : 1;

    if (n > max)
        n = max;
    for (unsigned i = 0; i < max; i++) {
        rows[i] = i < n && e[i].kind != OPND_SINK ? lower_src(lw, in, &e[i], 4)
                                                  : lower_const(lw, 0, 4);
        if (rows[i] == ROW_NONE)
            return false;
    }
    return true;
}

/* [handle, {coordinates}] or [handle, sampler, {coordinates}] */
static bool
place(struct lower *lw, const struct ptx_insn *in, const struct ptx_operand *o, uint32_t *handle_p,
      uint32_t *x)
{
    const struct ptx_operand *e;

    if (!o->address || o->kind != OPND_LIST || o->count < 2 || o->count > 3)
        return lower_unsupported(lw, in);
    e = &lw->b->operands[o->reg];
    if (o->count == 3) /* a sampler of its own: nothing makes one without a texture here */
        return lower_unsupported(lw, in);
    *handle_p = handle_row(lw, in, &e[0]);
    return *handle_p != ROW_NONE && value_rows(lw, in, &e[1], x + SD_TEX_X_COORD, 4);
}

/* Result registers. */
static bool
result_rows(struct lower *lw, const struct ptx_insn *in, const struct ptx_operand *o, uint32_t *x,
            unsigned fallback)
{
    const struct ptx_operand *e = o->kind == OPND_LIST ? &lw->b->operands[o->reg] : o;
    unsigned n = o->kind == OPND_LIST ? o->count : 1, width = 0;

    if (n > 4 || n == 0 || o->kind == OPND_PAIR)
        return lower_unsupported(lw, in);
    for (unsigned i = 0; i < n; i++) {
        if (e[i].kind == OPND_SINK) {
            x[SD_TEX_X_DATA + i] = UINT32_MAX;
            continue;
        }
        width = lower_opnd_bytes(lw, &e[i], fallback);
        x[SD_TEX_X_DATA + i] = lower_dst(lw, in, &e[i], width);
        if (x[SD_TEX_X_DATA + i] == ROW_NONE)
            return false;
        if (x[SD_TEX_X_WIDTH] != 0 && x[SD_TEX_X_WIDTH] != width)
            return lower_fail(lw, in, "registers of different sizes");
        x[SD_TEX_X_WIDTH] = width;
    }
    x[SD_TEX_X_NDATA] = n;
    if (x[SD_TEX_X_WIDTH] == 0)
        x[SD_TEX_X_WIDTH] = fallback;
    return true;
}

static bool
emit(struct lower *lw, uint32_t handle, uint32_t *x)
{
    uint32_t at;

    x[SD_TEX_X_SITE] = lw->k->code->nsites++;
    return lower_extra(lw, x, SD_TEX_X_COUNT, &at) &&
           lower_emit(lw, SD_OP_tex, 0, 0, handle, 0, 0, at) != NULL;
}

/* tex{.level|.grad}.geom.v4.dtype.ctype d, [a, c]{, lod | dx, dy} */
static bool
lower_tex(struct lower *lw, const struct ptx_insn *in)
{
    const struct ptx_opcode *op = in->op;
    uint32_t x[SD_TEX_X_COUNT] = {0}, handle;
    unsigned extra = ptx_has(op, W_level) ? 1 : ptx_has(op, W_grad) ? 2 : 0;

    x[SD_TEX_X_OP] = SD_TEX_SAMPLE;
    if (op->unknown || op->ntypes != 2 || !geometry_of(op, &x[SD_TEX_X_GEOMETRY]) ||
        ptx_type_bytes(op->types[0]) != 4 || ptx_type_bytes(op->types[1]) != 4 ||
        in->count != 2 + extra) /* offsets and comparisons are not there */
        return lower_unsupported(lw, in);
    if (op->types[1] != PT_F32)
        x[SD_TEX_X_FLAGS] |= SD_TEX_INT;
    if (!place(lw, in, lower_opnd(lw, in, 1), &handle, x))
        return false;
    if (extra == 1) {
        x[SD_TEX_X_FLAGS] |= SD_TEX_LEVEL;
        if (!value_rows(lw, in, lower_opnd(lw, in, 2), x + SD_TEX_X_MORE, 1))
            return false;
    } else if (extra == 2) {
        x[SD_TEX_X_FLAGS] |= SD_TEX_GRAD;
        if (!value_rows(lw, in, lower_opnd(lw, in, 2), x + SD_TEX_X_MORE, 3) ||
            !value_rows(lw, in, lower_opnd(lw, in, 3), x + SD_TEX_X_MORE + 3, 3))
            return false;
    }
    return result_rows(lw, in, lower_opnd(lw, in, 0), x, 4) && emit(lw, handle, x);
}

/* tld4.{r,g,b,a}.geom.v4.dtype.f32 d, [a, c] */
static bool
lower_tld4(struct lower *lw, const struct ptx_insn *in)
{
    const struct ptx_opcode *op = in->op;
    uint32_t x[SD_TEX_X_COUNT] = {0}, handle;

    x[SD_TEX_X_OP] = SD_TEX_GATHER;
    x[SD_TEX_X_AUX] = ptx_has(op, W_r) ? 0 : ptx_has(op, W_g) ? 1 : ptx_has(op, W_b) ? 2 : 3;
    if (op->unknown || op->ntypes != 2 || !geometry_of(op, &x[SD_TEX_X_GEOMETRY]) ||
        op->types[1] != PT_F32 || in->count != 2)
        return lower_unsupported(lw, in);
    return place(lw, in, lower_opnd(lw, in, 1), &handle, x) &&
           result_rows(lw, in, lower_opnd(lw, in, 0), x, 4) && emit(lw, handle, x);
}

/* txq{.level}.what.b32 d, [a]{, level}; suq.what.b32 d, [a] */
static bool
lower_query(struct lower *lw, const struct ptx_insn *in)
{
    static const struct {
        enum ptx_word word;
        uint32_t what;
    } table[] = {
        {W_width, SD_TEX_ASK_WIDTH},
        {W_height, SD_TEX_ASK_HEIGHT},
        {W_depth, SD_TEX_ASK_DEPTH},
        {W_array_size, SD_TEX_ASK_LAYERS},
        {W_num_mipmap_levels, SD_TEX_ASK_LEVELS},
        {W_normalized_coords, SD_TEX_ASK_NORMALIZED},
    };
    const struct ptx_opcode *op = in->op;
    uint32_t x[SD_TEX_X_COUNT] = {0}, handle;
    const struct ptx_operand *o;
    size_t i;

    x[SD_TEX_X_OP] = SD_TEX_QUERY;
    for (i = 0; i < GP_ARRAY_LEN(table) && !ptx_has(op, table[i].word); i++)
        ;
    if (op->unknown || i == GP_ARRAY_LEN(table) || in->count != (ptx_has(op, W_level) ? 3 : 2))
        return lower_unsupported(lw, in);
    x[SD_TEX_X_AUX] = table[i].what;
    o = lower_opnd(lw, in, 1);
    if (!o->address || o->kind == OPND_LIST)
        return lower_unsupported(lw, in);
    handle = handle_row(lw, in, o);
    if (handle == ROW_NONE)
        return false;
    if (in->count == 3) {
        x[SD_TEX_X_FLAGS] |= SD_TEX_LEVEL;
        if (!value_rows(lw, in, lower_opnd(lw, in, 2), x + SD_TEX_X_MORE, 1))
            return false;
    }
    return result_rows(lw, in, lower_opnd(lw, in, 0), x, 4) && emit(lw, handle, x);
}

/* What happens out of bounds. */
static uint32_t
bounds(const struct ptx_opcode *op)
{
    return ptx_has(op, W_zero) ? SD_SURF_ZERO : ptx_has(op, W_clamp) ? 0 : SD_SURF_TRAP;
}

/* suld.b.geom{.cop}.vec.dtype.clamp d, [a, b] */
static bool
lower_suld(struct lower *lw, const struct ptx_insn *in)
{
    const struct ptx_opcode *op = in->op;
    uint32_t x[SD_TEX_X_COUNT] = {0}, handle;

    x[SD_TEX_X_OP] = SD_SURF_LOAD;
    x[SD_TEX_X_FLAGS] = bounds(op);
    if (op->unknown || op->ntypes != 1 || !ptx_has(op, W_b) || in->count != 2 ||
        !geometry_of(op, &x[SD_TEX_X_GEOMETRY]))
        return lower_unsupported(lw, in);
    x[SD_TEX_X_AUX] = ptx_type_bytes(op->types[0]);
    return place(lw, in, lower_opnd(lw, in, 1), &handle, x) &&
           result_rows(lw, in, lower_opnd(lw, in, 0), x, lower_type_bytes(op->types[0])) &&
           emit(lw, handle, x);
}

/* Registers to be stored. */
static bool
source_rows(struct lower *lw, const struct ptx_insn *in, const struct ptx_operand *o, uint32_t *x,
            unsigned fallback)
{
    const struct ptx_operand *e = o->kind == OPND_LIST ? &lw->b->operands[o->reg] : o;
    unsigned n = o->kind == OPND_LIST ? o->count : 1;

    if (n > 4 || n == 0)
        return lower_unsupported(lw, in);
    for (unsigned i = 0; i < n; i++) {
        unsigned width = lower_opnd_bytes(lw, &e[i], fallback);

        x[SD_TEX_X_DATA + i] = lower_src(lw, in, &e[i], width);
        if (x[SD_TEX_X_DATA + i] == ROW_NONE)
            return false;
        if (i > 0 && x[SD_TEX_X_WIDTH] != width)
            return lower_fail(lw, in, "registers of different sizes");
        x[SD_TEX_X_WIDTH] = width;
    }
    x[SD_TEX_X_NDATA] = n;
    return true;
}

/* sust.b.geom.vec.ctype.clamp [a, b], c; sust.p.geom.vec.b32.clamp [a, b], c */
static bool
lower_sust(struct lower *lw, const struct ptx_insn *in)
{
    const struct ptx_opcode *op = in->op;
    uint32_t x[SD_TEX_X_COUNT] = {0}, handle;

    x[SD_TEX_X_OP] = ptx_has(op, W_p) ? SD_SURF_FORMAT : SD_SURF_STORE;
    x[SD_TEX_X_FLAGS] = bounds(op);
    if (op->unknown || op->ntypes != 1 || in->count != 2 || (!ptx_has(op, W_p) && !ptx_has(op, W_b)) ||
        !geometry_of(op, &x[SD_TEX_X_GEOMETRY]))
        return lower_unsupported(lw, in);
    x[SD_TEX_X_AUX] = ptx_type_bytes(op->types[0]);
    if (ptx_has(op, W_p) && x[SD_TEX_X_AUX] != 4)
        return lower_unsupported(lw, in);
    return place(lw, in, lower_opnd(lw, in, 0), &handle, x) &&
           source_rows(lw, in, lower_opnd(lw, in, 1), x, lower_type_bytes(op->types[0])) &&
           emit(lw, handle, x);
}

/* sured.b.op.geom.ctype.clamp [a, b], c */
static bool
lower_sured(struct lower *lw, const struct ptx_insn *in)
{
    const struct ptx_opcode *op = in->op;
    uint32_t x[SD_TEX_X_COUNT] = {0}, handle;

    x[SD_TEX_X_OP] = SD_SURF_REDUCE;
    x[SD_TEX_X_FLAGS] = bounds(op);
    x[SD_TEX_X_AUX] = ptx_has(op, W_add)   ? SD_ATOM_ADD
                      : ptx_has(op, W_min) ? SD_ATOM_MIN
                      : ptx_has(op, W_max) ? SD_ATOM_MAX
                      : ptx_has(op, W_and) ? SD_ATOM_AND
                                           : SD_ATOM_OR;
    if (op->unknown || op->ntypes != 1 || in->count != 2 || !ptx_has(op, W_b) ||
        !geometry_of(op, &x[SD_TEX_X_GEOMETRY]))
        return lower_unsupported(lw, in);
    if (ptx_type_bytes(op->types[0]) == 8)
        x[SD_TEX_X_FLAGS] |= SD_SURF_WIDE;
    if (ptx_type_signed(op->types[0]))
        x[SD_TEX_X_FLAGS] |= SD_SURF_SIGNED;
    return place(lw, in, lower_opnd(lw, in, 0), &handle, x) &&
           source_rows(lw, in, lower_opnd(lw, in, 1), x, lower_type_bytes(op->types[0])) &&
           emit(lw, handle, x);
}

const struct lower_rule lower_tex_rules[] = {
    {"tex", lower_tex, 0},     {"tld4", lower_tld4, 0},  {"txq", lower_query, 0},
    {"suq", lower_query, 0},   {"suld", lower_suld, 0},  {"sust", lower_sust, RULE_NO_DST},
    {"sured", lower_sured, RULE_NO_DST},
    {NULL, NULL, 0},
};
