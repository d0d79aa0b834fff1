/* backend/driver/soft/ptx/lower_mma.c -- wmma, mma, ldmatrix, stmatrix, movmatrix */
#include "backend/driver/soft/ptx/lower.h"

#include "backend/driver/soft/exec/mma.h"

#include <stdio.h>
#include <string.h>

static int
matrix_type(unsigned t)
{
    switch (t) {
    case PT_F16: case PT_F16X2: return SD_MMA_F16;
    case PT_BF16: return SD_MMA_BF16;
    case PT_TF32: return SD_MMA_TF32;
    case PT_F32: return SD_MMA_F32;
    case PT_F64: return SD_MMA_F64;
    case PT_U8: return SD_MMA_U8;
    case PT_S8: return SD_MMA_S8;
    case PT_U4: return SD_MMA_U4;
    case PT_S4: return SD_MMA_S4;
    case PT_B1: return SD_MMA_B1;
    case PT_S32: return SD_MMA_S32;
    case PT_E4M3: return SD_MMA_E4M3;
    case PT_E5M2: return SD_MMA_E5M2;
    default: return -1;
    }
}

/* ".m16n8k16" in the opcode's text. */
static bool
parse_shape(const struct ptx_opcode *op, struct sd_mma *d)
{
    uint32_t i;

    for (i = 0; i + 6 < op->text.len; i++) {
        unsigned m, n, k;
        char buf[20] = {0};

        if (op->text.text[i] != '.' || op->text.text[i + 1] != 'm')
            continue;
        memcpy(buf, op->text.text + i,
               op->text.len - i < sizeof(buf) - 1 ? op->text.len - i : sizeof(buf) - 1);
        if (sscanf(buf, ".m%2un%2uk%3u", &m, &n, &k) != 3)
            continue;
        if ((m != 8 && m != 16 && m != 32) || (n != 8 && n != 16 && n != 32) || k > 256 ||
            k < 4 || m * n > 256 || m * k > SD_MMA_ELEMENTS_MAX || k * n > SD_MMA_ELEMENTS_MAX)
            return false;
        d->m = (uint8_t)m;
        d->n = (uint8_t)n;
        d->k = (uint16_t)k;
        return true;
    }
    return false;
}

static unsigned
bits_of(unsigned type)
{
    static const uint8_t bits[] = {
        [SD_MMA_F16] = 16, [SD_MMA_BF16] = 16, [SD_MMA_TF32] = 32, [SD_MMA_F32] = 32,
        [SD_MMA_F64] = 64, [SD_MMA_U8] = 8, [SD_MMA_S8] = 8, [SD_MMA_U4] = 4, [SD_MMA_S4] = 4,
        [SD_MMA_B1] = 1, [SD_MMA_S32] = 32, [SD_MMA_E4M3] = 8, [SD_MMA_E5M2] = 8,
    };

    return bits[type];
}

/* Registers that a fragment needs at least; 0: no such fragment. */
static unsigned
needed(const struct sd_mma *d, unsigned matrix, unsigned type)
{
    unsigned e = type == SD_MMA_F64 ? 1 : 32 / bits_of(type);
    unsigned rows = matrix == SD_MMA_B ? d->k : d->m, cols = matrix == SD_MMA_A ? d->k : d->n;

    if (matrix == SD_MMA_C ? e > 2 : d->k % (4 * e) != 0)
        return 0;
    return rows * cols % (32 * e) == 0 ? rows * cols / (32 * e) : 0;
}

/* Rows of a fragment's registers, checked against what the shape needs. */
static bool
fragment(struct lower *lw, const struct ptx_insn *in, const struct ptx_operand *o,
         struct sd_mma *d, unsigned which, unsigned matrix, bool result, uint32_t *rows,
         uint32_t *n_p)
{
    unsigned type = d->type[which], bytes = type == SD_MMA_F64 ? 8 : 4, i;
    const struct ptx_operand *e = o->kind == OPND_LIST ? &lw->b->operands[o->reg] : o;
    unsigned n = o->kind == OPND_LIST ? o->count : 1, least = needed(d, matrix, type);

    if (least == 0 || n < least || n > 16 || n % least != 0)
        return lower_fail(lw, in, "fragment of %u registers where %u are needed", n, least);
    d->regs[which] = (uint8_t)n;
    for (i = 0; i < n; i++) {
        uint32_t row = result ? lower_dst(lw, in, &e[i], bytes) : lower_src(lw, in, &e[i], bytes);

        if (row == ROW_NONE)
            return false;
        rows[(*n_p)++] = row;
    }
    return true;
}

static bool
emit_matrix(struct lower *lw, unsigned op, uint32_t a, const struct sd_mma *d,
            const uint32_t *rows, uint32_t n)
{
    uint32_t words[SD_MMA_WORDS] = {0}, at, ignored;

    memcpy(words, d, sizeof(*d));
    return lower_extra(lw, words, SD_MMA_WORDS, &at) && lower_extra(lw, rows, n, &ignored) &&
           lower_emit(lw, op, 0, 0, a, 0, 0, at) != NULL;
}

/* mma.sync and wmma.mma: d, a, b, c */
static bool
lower_product(struct lower *lw, const struct ptx_insn *in)
{
    const struct ptx_opcode *op = in->op;
    struct sd_mma d = {.satfinite = ptx_has(op, W_satfinite), .and_popc = ptx_has(op, W_and)};
    uint8_t types[4];
    uint32_t rows[64], n = 0;
    unsigned i;

    if (op->unknown || ptx_has(op, W_sp) || !parse_shape(op, &d) || in->count != 4)
        return lower_unsupported(lw, in);
    if (op->ntypes == 2) { /* wmma on f16 names only d and c */
        types[0] = op->types[0];
        types[1] = types[2] = PT_F16;
        types[3] = op->types[1];
    } else if (op->ntypes == 4) {
        memcpy(types, op->types, 4);
    } else {
        return lower_unsupported(lw, in);
    }
    for (i = 0; i < 4; i++) {
        int t = matrix_type(types[i]);

        if (t < 0)
            return lower_unsupported(lw, in);
        d.type[i] = (uint8_t)t;
    }
    for (i = 0; i < 4; i++)
        if ((d.type[i] == SD_MMA_F64) != (d.type[0] == SD_MMA_F64) || (d.k > 16 && d.type[i] == SD_MMA_F64))
            return lower_unsupported(lw, in);
    /* The first generation's m8n8k4 on halves spreads its fragments in its own way. */
    if (ptx_root_is(op, "mma") && d.m == 8 && d.type[1] == SD_MMA_F16)
        return lower_unsupported(lw, in);
    if ((d.type[1] == SD_MMA_B1 || bits_of(d.type[1]) < 16) && bits_of(d.type[0]) == 16 &&
        d.type[1] != SD_MMA_E4M3 && d.type[1] != SD_MMA_E5M2)
        return lower_unsupported(lw, in);
    if (!fragment(lw, in, lower_opnd(lw, in, 0), &d, 0, SD_MMA_C, true, rows, &n) ||
        !fragment(lw, in, lower_opnd(lw, in, 1), &d, 1, SD_MMA_A, false, rows, &n) ||
        !fragment(lw, in, lower_opnd(lw, in, 2), &d, 2, SD_MMA_B, false, rows, &n) ||
        !fragment(lw, in, lower_opnd(lw, in, 3), &d, 3, SD_MMA_C, false, rows, &n))
        return false;
    return emit_matrix(lw, SD_OP_mma, 0, &d, rows, n);
}

/* wmma.load.a r, [p]{, stride}; wmma.store.d [p], r{, stride} */
static bool
wmma_access(struct lower *lw, const struct ptx_insn *in, bool load)
{
    const struct ptx_opcode *op = in->op;
    enum ptx_space space = lower_space(op);
    struct sd_mma d = {.col_major = ptx_has(op, W_col)};
    uint32_t rows[16], n = 0, address;
    int type = op->ntypes == 1 ? matrix_type(op->types[0]) : -1;

    if (op->unknown || type < 0 || !parse_shape(op, &d) || !lower_count(lw, in, 2, 3))
        return lower_unsupported(lw, in);
    d.matrix = ptx_has(op, W_a) ? SD_MMA_A : ptx_has(op, W_b) ? SD_MMA_B : SD_MMA_C;
    d.type[0] = (uint8_t)type;
    if (bits_of(d.type[0]) < 8 && (d.matrix == SD_MMA_C || (d.matrix == SD_MMA_A) == d.col_major))
        return lower_unsupported(lw, in);
    if (!fragment(lw, in, lower_opnd(lw, in, load ? 0 : 1), &d, 0, d.matrix, load, rows, &n) ||
        !lower_address(lw, in, lower_opnd(lw, in, load ? 1 : 0), space, &address, &d.offset))
        return false;
    d.space = space == SPACE_GLOBAL ? 0 : space == SPACE_SHARED ? 1 : 3;
    d.site = lw->k->code->nsites++;
    if (in->count == 3) {
        d.has_stride = 1;
        d.stride_row = lower_src_as(lw, in, lower_opnd(lw, in, 2), 4);
        if (d.stride_row == ROW_NONE)
            return false;
    }
    return emit_matrix(lw, load ? SD_OP_wmma_load : SD_OP_wmma_store, address, &d, rows, n);
}

static bool
lower_wmma(struct lower *lw, const struct ptx_insn *in)
{
    if (ptx_has(in->op, W_mma))
        return lower_product(lw, in);
    if (ptx_has(in->op, W_load) || ptx_has(in->op, W_store))
        return wmma_access(lw, in, ptx_has(in->op, W_load));
    return lower_unsupported(lw, in);
}

/* ldmatrix.sync.aligned.m8n8.x4{.trans}.shared.b16 r, [p]; stmatrix the other way round */
static bool
lower_ldmatrix(struct lower *lw, const struct ptx_insn *in)
{
    const struct ptx_opcode *op = in->op;
    bool store = ptx_root_is(op, "stmatrix");
    unsigned n = ptx_has(op, W_x4) ? 4 : ptx_has(op, W_x2) ? 2 : 1, i;
    enum ptx_space space = lower_space(op);
    const struct ptx_operand *o, *e;
    uint32_t extra[10] = {0}, address, at;
    int32_t offset;

    if (op->unknown || !ptx_has(op, W_m8n8) || op->ntypes != 1 || op->types[0] != PT_B16 ||
        !lower_count(lw, in, 2, 2) || (space != SPACE_SHARED && space != SPACE_NONE))
        return lower_unsupported(lw, in);
    o = lower_opnd(lw, in, store ? 1 : 0);
    e = o->kind == OPND_LIST ? &lw->b->operands[o->reg] : o;
    if ((o->kind == OPND_LIST ? o->count : 1) != n)
        return lower_fail(lw, in, "not %u registers", n);
    for (i = 0; i < n; i++) {
        extra[6 + i] = store ? lower_src(lw, in, &e[i], 4) : lower_dst(lw, in, &e[i], 4);
        if (extra[6 + i] == ROW_NONE)
            return false;
    }
    if (!lower_address(lw, in, lower_opnd(lw, in, store ? 0 : 1), space, &address, &offset))
        return false;
    extra[0] = n;
    extra[1] = ptx_has(op, W_trans);
    extra[2] = store;
    extra[3] = space == SPACE_SHARED ? 1 : 3;
    extra[4] = lw->k->code->nsites++;
    extra[5] = (uint32_t)offset;
    return lower_extra(lw, extra, 6 + n, &at) &&
           lower_emit(lw, SD_OP_ldmatrix, 0, 0, address, 0, 0, at) != NULL;
}

static bool
lower_movmatrix(struct lower *lw, const struct ptx_insn *in)
{
    uint32_t src, dst;

    if (in->op->unknown || !ptx_has(in->op, W_m8n8) || !lower_count(lw, in, 2, 2))
        return lower_unsupported(lw, in);
    src = lower_src(lw, in, lower_opnd(lw, in, 1), 4);
    dst = lower_dst(lw, in, lower_opnd(lw, in, 0), 4);
    return src != ROW_NONE && dst != ROW_NONE &&
           lower_emit(lw, SD_OP_movmatrix, 0, dst, src, 0, 0, 0) != NULL;
}

const struct lower_rule lower_mma_rules[] = {
    {"mma", lower_product, RULE_CONTROL},
    {"wmma", lower_wmma, RULE_CONTROL},
    {"ldmatrix", lower_ldmatrix, RULE_CONTROL},
    {"stmatrix", lower_ldmatrix, RULE_CONTROL | RULE_NO_DST},
    {"movmatrix", lower_movmatrix, RULE_CONTROL},
    {NULL, NULL, 0},
};
