/* backend/driver/soft/ptx/lower_video.c -- vadd .. vset, scalar and SIMD
 *
 * The opcode becomes one struct sd_video in the function's extra words; the handler gives it the
 * three sources of each lane.
 */
#include "backend/driver/soft/ptx/lower.h"

#include "backend/driver/soft/math/sd_video.h"

#include <string.h>

static const struct {
    const char *name;
    enum sd_video_kind kind;
} kinds[] = {
    {"vadd", SD_VADD}, {"vsub", SD_VSUB}, {"vabsdiff", SD_VABSDIFF}, {"vmin", SD_VMIN},
    {"vmax", SD_VMAX}, {"vavrg", SD_VAVRG}, {"vshl", SD_VSHL}, {"vshr", SD_VSHR},
    {"vmad", SD_VMAD}, {"vset", SD_VSET},
};

static bool
parse_root(const struct ptx_opcode *op, struct sd_video *v)
{
    struct ptx_name n = op->root;
    unsigned i;

    v->lanes = 1;
    if (n.text[n.len - 1] == '2' || n.text[n.len - 1] == '4') {
        v->lanes = (uint8_t)(n.text[n.len - 1] - '0');
        n.len--;
    }
    for (i = 0; i < GP_ARRAY_LEN(kinds); i++)
        if (ptx_name_is(n, kinds[i].name)) {
            v->kind = kinds[i].kind;
            return true;
        }
    return false;
}

/* ".b2", ".h0" */
static bool
selector(const struct ptx_operand *o, enum sd_video_sel *sel_p)
{
    const struct ptx_name *n = o->kind == OPND_REG ? o->name : NULL;

    *sel_p = SD_VSEL_WORD;
    if (n == NULL)
        return true;
    if (n->len != 3)
        return false;
    if (n->text[1] == 'b' && n->text[2] >= '0' && n->text[2] <= '3')
        *sel_p = (enum sd_video_sel)(SD_VSEL_B0 + (n->text[2] - '0'));
    else if (n->text[1] == 'h' && n->text[2] >= '0' && n->text[2] <= '1')
        *sel_p = (enum sd_video_sel)(SD_VSEL_H0 + (n->text[2] - '0'));
    else
        return false;
    return true;
}

/* ".b7654": most significant lane first */
static bool
picks(const struct ptx_operand *o, unsigned lanes, uint8_t pick[4])
{
    const struct ptx_name *n = o->kind == OPND_REG ? o->name : NULL;
    unsigned i;

    if (n == NULL)
        return true;
    if (n->len != 2 + lanes)
        return false;
    for (i = 0; i < lanes; i++) {
        char c = n->text[n->len - 1 - i];

        if (c < '0' || c >= (char)('0' + 2 * lanes))
            return false;
        pick[i] = (uint8_t)(c - '0');
    }
    return true;
}

/* ".b31": the lanes that are computed */
static bool
lane_mask(const struct ptx_operand *o, unsigned lanes, uint8_t *mask_p)
{
    const struct ptx_name *n = o->kind == OPND_REG ? o->name : NULL;
    unsigned i;

    if (n == NULL)
        return true;
    *mask_p = 0;
    for (i = 2; i < n->len; i++) {
        if (n->text[i] < '0' || n->text[i] >= (char)('0' + lanes))
            return false;
        *mask_p |= (uint8_t)(1u << (n->text[i] - '0'));
    }
    return true;
}

static void
parse_words(const struct ptx_opcode *op, struct sd_video *v, unsigned operands)
{
    static const enum ptx_word compares[] = {W_eq, W_ne, W_lt, W_le, W_gt, W_ge};
    unsigned i;

    for (i = 0; i < GP_ARRAY_LEN(compares); i++)
        if (ptx_has(op, compares[i]))
            v->cmp = (enum sd_video_cmp)i;
    v->sat = ptx_has(op, W_sat);
    v->wrap = ptx_has(op, W_wrap);
    v->scale = ptx_has(op, W_shr7) ? 7 : ptx_has(op, W_shr15) ? 15 : 0;
    v->plus_one = ptx_has(op, W_po);
    if (ptx_has(op, W_add))
        v->merge = SD_VMERGE_ADD;
    else if (ptx_has(op, W_min))
        v->merge = SD_VMERGE_MIN;
    else if (ptx_has(op, W_max))
        v->merge = SD_VMERGE_MAX;
    else if (operands == 4 && v->kind != SD_VMAD)
        v->merge = SD_VMERGE_INSERT;
}

static bool
lower_video(struct lower *lw, const struct ptx_insn *in)
{
    const struct ptx_opcode *op = in->op;
    struct sd_video v = {.lanes = 0};
    uint32_t words[(sizeof(v) + 3) / 4] = {0}, row[3], dst, at;
    struct ptx_operand opnd[4];
    unsigned i, first_type;

    if (op->unknown || !parse_root(op, &v) || op->ntypes < 2 || !lower_count(lw, in, 3, 4))
        return lower_unsupported(lw, in);
    for (i = 0; i < in->count; i++)
        opnd[i] = *lower_opnd(lw, in, i);
    if (v.lanes > 1)
        sd_video_defaults(&v);
    parse_words(op, &v, in->count);
    /* vset names no type for its result */
    first_type = op->ntypes == 3 ? 1 : 0;
    v.d_signed = first_type == 1 && op->types[0] == PT_S32;
    v.a_signed = op->types[first_type] == PT_S32;
    v.b_signed = op->types[first_type + 1] == PT_S32;
    if (v.kind == SD_VMAD) {
        bool neg_a = opnd[1].neg, neg_b = opnd[2].neg;

        v.neg_ab = neg_a != neg_b;
        v.neg_c = opnd[3].neg;
        opnd[1].neg = opnd[2].neg = opnd[3].neg = 0;
    }
    if (v.lanes == 1 ? !selector(&opnd[0], &v.d_sel) || !selector(&opnd[1], &v.a_sel) ||
                           !selector(&opnd[2], &v.b_sel)
                     : !lane_mask(&opnd[0], v.lanes, &v.mask) ||
                           !picks(&opnd[1], v.lanes, v.a_pick) ||
                           !picks(&opnd[2], v.lanes, v.b_pick))
        return lower_unsupported(lw, in);
    for (i = 0; i < 3; i++) {
        row[i] = i + 1u < in->count ? lower_src(lw, in, &opnd[i + 1], 4) : lower_const(lw, 0, 4);
        if (row[i] == ROW_NONE)
            return false;
    }
    dst = lower_dst(lw, in, &opnd[0], 4);
    memcpy(words, &v, sizeof(v));
    return dst != ROW_NONE && lower_extra(lw, words, GP_ARRAY_LEN(words), &at) &&
           lower_emit(lw, SD_OP_video, 0, dst, row[0], row[1], row[2], at) != NULL;
}

#define BOTH(name)                                                                                 \
    {name, lower_video, 0}, {name "2", lower_video, 0}, {name "4", lower_video, 0}

const struct lower_rule lower_video_rules[] = {
    BOTH("vadd"), BOTH("vsub"), BOTH("vabsdiff"), BOTH("vmin"), BOTH("vmax"), BOTH("vavrg"),
    BOTH("vset"), {"vshl", lower_video, 0}, {"vshr", lower_video, 0}, {"vmad", lower_video, 0},
    {NULL, NULL, 0},
};
