/* backend/driver/soft/ptx/lower_alu.c -- arithmetic, logic, comparison, selection, moves
 *
 * Most opcodes are their name in ops.def after normalising: words that change nothing are left
 * out, types that mean the same are replaced. The result is kept in the opcode.
 */
#include "backend/driver/soft/ptx/lower.h"

#include "backend/driver/soft/math/sd_round.h"

#include <stdio.h>
#include <string.h>


static unsigned
mode_flags(const struct ptx_opcode *op)
{
    if (ptx_has(op, W_rz) || ptx_has(op, W_rzi))
        return SD_FL_MODE(SD_RZ);
    if (ptx_has(op, W_rm) || ptx_has(op, W_rmi))
        return SD_FL_MODE(SD_RM);
    if (ptx_has(op, W_rp) || ptx_has(op, W_rpi))
        return SD_FL_MODE(SD_RP);
    if (ptx_has(op, W_rna))
        return SD_FL_MODE(SD_RNA);
    return SD_FL_MODE(SD_RN);
}

static unsigned
modifier_flags(const struct ptx_opcode *op)
{
    return (ptx_has(op, W_ftz) ? SD_FL_FTZ : 0u) | (ptx_has(op, W_sat) ? SD_FL_SAT : 0u) |
           (ptx_has(op, W_relu) ? SD_FL_RELU : 0u) |
           (ptx_has(op, W_satfinite) ? SD_FL_SATFINITE : 0u);
}

/* Try the type itself, then types of the same bits with fewer meanings. */
static const struct lower_op *
find_typed(const char *stem, enum ptx_type type)
{
    static const uint8_t fallback[PT_COUNT] = {
        [PT_S8] = PT_U8,   [PT_U8] = PT_B8,   [PT_S16] = PT_U16, [PT_U16] = PT_B16,
        [PT_F16] = PT_B16, [PT_BF16] = PT_F16, [PT_S32] = PT_U32, [PT_U32] = PT_B32,
        [PT_F32] = PT_B32, [PT_F16X2] = PT_B32, [PT_BF16X2] = PT_F16X2, [PT_S64] = PT_U64,
        [PT_U64] = PT_B64, [PT_F64] = PT_B64, [PT_S16X2] = PT_U16X2,
    };
    static const uint8_t unsigned_of[PT_COUNT] = {
        [PT_B16] = PT_U16, [PT_B32] = PT_U32, [PT_B64] = PT_U64,
    };
    const struct lower_op *op;
    enum ptx_type t = type;
    char name[96];

    do {
        snprintf(name, sizeof(name), "%s.%s", stem, ptx_type_text(t));
        op = lower_op_find(name);
        t = (enum ptx_type)fallback[t];
    } while (op == NULL && t != PT_NONE);
    if (op == NULL && unsigned_of[type] != 0) {
        snprintf(name, sizeof(name), "%s.%s", stem, ptx_type_text(unsigned_of[type]));
        op = lower_op_find(name);
    }
    return op;
}

/* Emit op with operands 1 .. n of in; flush: subnormal sources become zero first. */
static bool
emit_op(struct lower *lw, const struct ptx_insn *in, const struct lower_op *op, unsigned flags,
        bool flush)
{
    uint32_t row[4] = {0}, dst;
    unsigned i;

    if (!lower_count(lw, in, op->n + 1, op->n + 1))
        return false;
    for (i = 0; i < op->n; i++) {
        row[i] = lower_src(lw, in, lower_opnd(lw, in, i + 1), op->size[i + 1]);
        if (row[i] == ROW_NONE)
            return false;
        if (flush && op->size[i + 1] <= 4) {
            uint32_t t = lower_temp(lw, op->size[i + 1]);
            char name[16];

            snprintf(name, sizeof(name), "ftz.%s",
                     ptx_type_text((enum ptx_type)in->op->types[0]));
            lower_emit_op(lw, name, 0, t, row[i], 0, 0);
            row[i] = t;
        }
    }
    if (op->n == 1)
        row[1] = row[0];
    dst = op->compare ? lower_pred_dst(lw, in, lower_opnd(lw, in, 0))
                      : lower_dst(lw, in, lower_opnd(lw, in, 0), op->size[0]);
    return dst != ROW_NONE &&
           lower_emit(lw, op->op, flags, dst, row[0], row[1], row[2], row[3]) != NULL;
}

/* The words of an opcode that are part of its name in ops.def. */
static void
stem_of(const struct ptx_opcode *op, const enum ptx_word *keep, char *stem, size_t size)
{
    static const char *const text[W_COUNT] = {
#define W(id, t) [W_##id] = t,
#include "backend/driver/soft/ptx/words.def"
#undef W
    };
    size_t n = (size_t)snprintf(stem, size, "%.*s", (int)op->root.len, op->root.text);
    unsigned i, k;

    for (i = 0; i < op->nwords; i++)
        for (k = 0; keep[k] != W_NONE; k++)
            if (op->words[i] == keep[k] && n < size)
                n += (size_t)snprintf(stem + n, size - n, ".%s", text[op->words[i]]);
}

/* ---- plain operations ---- */

/* Shifts and products of 64 bits by a constant have quicker forms. NULL: op has none. */
static const struct lower_op *
by_constant(unsigned op, uint64_t v, uint32_t *imm_p)
{
    static const struct {
        uint16_t op, bits;
        const char *name;
    } shifts[] = {
        {SD_OP_shl_b32, 32, "shl.i.b32"}, {SD_OP_shl_b64, 64, "shl.i.b64"},
        {SD_OP_shr_u32, 32, "shr.i.u32"}, {SD_OP_shr_u64, 64, "shr.i.u64"},
        {SD_OP_shr_s32, 32, "shr.i.s32"}, {SD_OP_shr_s64, 64, "shr.i.s64"},
    };
    unsigned i;

    for (i = 0; i < GP_ARRAY_LEN(shifts); i++)
        if (shifts[i].op == op && v < shifts[i].bits) {
            *imm_p = (uint32_t)v;
            return lower_op_find(shifts[i].name);
        }
    if (op != SD_OP_mul_lo_u64 || v < 2)
        return NULL;
    for (i = 0; i < 3; i++) { /* 2^k, 2^k + 1, 2^k - 1 */
        uint64_t power = i == 0 ? v : i == 1 ? v - 1 : v + 1;

        if (power != 0 && (power & (power - 1)) == 0) {
            *imm_p = (uint32_t)__builtin_ctzll(power);
            return lower_op_find(i == 0 ? "shl.i.b64" : i == 1 ? "up.i.u64" : "down.i.u64");
        }
    }
    return NULL;
}

static bool
emit_by_constant(struct lower *lw, const struct ptx_insn *in, const struct lower_op *o,
                 uint32_t imm)
{
    uint32_t a = lower_src(lw, in, lower_opnd(lw, in, 1), o->size[1]);
    uint32_t dst = lower_dst(lw, in, lower_opnd(lw, in, 0), o->size[0]);

    return a != ROW_NONE && dst != ROW_NONE &&
           lower_emit(lw, o->op, 0, dst, a, imm, 0, 0) != NULL;
}

static bool
lower_plain(struct lower *lw, const struct ptx_insn *in)
{
    static const enum ptx_word keep[] = {W_lo, W_hi, W_wide, W_sat, W_l, W_r, W_clamp, W_wrap,
                                         W_f4e, W_b4e, W_rc8, W_ecl, W_ecr, W_rc16, W_finite,
                                         W_infinite, W_number, W_notanumber, W_normal,
                                         W_subnormal, W_NONE};
    struct ptx_opcode *op = in->op;
    const struct lower_op *o;
    uint64_t value;
    uint32_t imm;
    char stem[64];

    if (op->unknown || op->ntypes == 0)
        return lower_unsupported(lw, in);
    stem_of(op, keep, stem, sizeof(stem));
    o = find_typed(stem, (enum ptx_type)op->types[0]);
    if (o == NULL)
        return lower_unsupported(lw, in);
    if (in->count == 3 && o->n == 2 &&
        lower_known_value(lw, lower_opnd(lw, in, 2), o->size[2], &value)) {
        const struct lower_op *quick = by_constant(o->op, value, &imm);

        if (quick != NULL)
            return emit_by_constant(lw, in, quick, imm);
    }
    return emit_op(lw, in, o, 0, ptx_has(op, W_ftz));
}

/* prmt's mode stands behind its type. */
static bool
lower_prmt(struct lower *lw, const struct ptx_insn *in)
{
    char name[32];
    const struct lower_op *o;

    snprintf(name, sizeof(name), "%.*s", (int)in->op->text.len, in->op->text.text);
    o = lower_op_find(name);
    return o == NULL ? lower_unsupported(lw, in) : emit_op(lw, in, o, 0, false);
}

static bool
lower_flagged(struct lower *lw, const struct ptx_insn *in)
{
    const struct ptx_opcode *op = in->op;
    const struct lower_op *o;
    char stem[32];
    bool alt = ptx_has(op, W_shiftamt) || ptx_has(op, W_clamp) || ptx_has(op, W_hi);

    if (op->unknown || op->ntypes == 0)
        return lower_unsupported(lw, in);
    snprintf(stem, sizeof(stem), "%.*s", (int)op->root.len, op->root.text);
    if (op->ntypes == 2) { /* dp4a, dp2a */
        char name[64];

        snprintf(name, sizeof(name), "%s.%s.%s", stem, ptx_type_text(op->types[0]),
                 ptx_type_text(op->types[1]));
        o = lower_op_find(name);
    } else {
        o = find_typed(stem, (enum ptx_type)op->types[0]);
    }
    return o == NULL ? lower_unsupported(lw, in) : emit_op(lw, in, o, alt ? SD_FL_ALT : 0, false);
}

/* ---- floating point ---- */

static bool
is_float(unsigned t)
{
    return t == PT_F32 || t == PT_F64;
}

static bool
is_half(unsigned t)
{
    return t == PT_F16 || t == PT_F16X2 || t == PT_BF16 || t == PT_BF16X2;
}

/* add sub mul fma .f32x2: the halves one after the other. */
static bool
lower_f32x2(struct lower *lw, const struct ptx_insn *in)
{
    const struct ptx_opcode *op = in->op;
    unsigned flags = mode_flags(op) | modifier_flags(op), n = in->count - 1u, i, half;
    uint32_t part[3][2] = {{0}}, out[2], dst;
    char name[32];

    snprintf(name, sizeof(name), "%.*sx.f32", (int)op->root.len, op->root.text);
    if (lower_op_find(name) == NULL || lower_op_find(name)->n != n || n > 3)
        return lower_unsupported(lw, in);
    for (i = 0; i < n; i++) {
        uint32_t row = lower_src(lw, in, lower_opnd(lw, in, i + 1), 8);

        if (row == ROW_NONE)
            return false;
        for (half = 0; half < 2; half++) {
            part[i][half] = lower_temp(lw, 4);
            lower_emit_op(lw, half == 0 ? "lo.64" : "hi.64", 0, part[i][half], row, 0, 0);
        }
    }
    for (half = 0; half < 2; half++) {
        out[half] = lower_temp(lw, 4);
        lower_emit_op(lw, name, flags, out[half], part[0][half], part[1][half], part[2][half]);
    }
    dst = lower_dst(lw, in, lower_opnd(lw, in, 0), 8);
    return dst != ROW_NONE && lower_emit_op(lw, "pack.64", 0, dst, out[0], out[1], 0);
}

/* add sub mul fma div rcp sqrt and the approximate functions */
static bool
lower_float(struct lower *lw, const struct ptx_insn *in)
{
    const struct ptx_opcode *op = in->op;
    enum ptx_type type = (enum ptx_type)op->types[0];
    unsigned flags = mode_flags(op) | modifier_flags(op);
    const struct lower_op *o = NULL;
    char root[16], name[48];

    snprintf(root, sizeof(root), "%.*s", (int)op->root.len, op->root.text);
    if (strcmp(root, "mad") == 0)
        strcpy(root, "fma");
    if (op->ntypes > 1 && is_half(op->types[op->ntypes - 1]))
        return lower_unsupported(lw, in); /* mixed precision */
    if (is_half(type)) {
        o = find_typed(root, type);
        return o == NULL ? lower_unsupported(lw, in)
                         : emit_op(lw, in, o, flags, (flags & SD_FL_FTZ) != 0);
    }
    if (ptx_has(op, W_approx) || ptx_has(op, W_full)) {
        snprintf(name, sizeof(name), "%s.%s.%s%s", root, ptx_has(op, W_full) ? "full" : "approx",
                 type == PT_F64 && ptx_has(op, W_ftz) ? "ftz." : "", ptx_type_text(type));
        o = lower_op_find(name);
        return o == NULL ? lower_unsupported(lw, in) : emit_op(lw, in, o, flags, false);
    }
    if ((flags & ~SD_FL_FTZ) == 0) {
        snprintf(name, sizeof(name), "%s%s.%s", root, (flags & SD_FL_FTZ) != 0 ? ".ftz" : "",
                 ptx_type_text(type));
        o = lower_op_find(name);
    }
    if (o == NULL) {
        snprintf(name, sizeof(name), "%sx.%s", root, ptx_type_text(type));
        o = lower_op_find(name);
    }
    return o == NULL ? lower_unsupported(lw, in) : emit_op(lw, in, o, flags, false);
}

static bool lower_carry(struct lower *lw, const struct ptx_insn *in);

static bool
lower_arith(struct lower *lw, const struct ptx_insn *in)
{
    const struct ptx_opcode *op = in->op;

    if (op->unknown || op->ntypes == 0)
        return lower_unsupported(lw, in);
    if (ptx_has(op, W_cc))
        return lower_carry(lw, in);
    if (op->types[0] == PT_F32X2)
        return lower_f32x2(lw, in);
    if (is_float(op->types[0]) || is_half(op->types[0]))
        return lower_float(lw, in);
    return lower_plain(lw, in);
}

/* add.cc addc sub.cc subc mad.lo.cc madc.hi ... */
static bool
lower_carry(struct lower *lw, const struct ptx_insn *in)
{
    const struct ptx_opcode *op = in->op;
    bool takes = op->root.text[op->root.len - 1] == 'c' && op->root.len == 4;
    bool wide = ptx_type_bytes((enum ptx_type)op->types[0]) == 8;
    unsigned flags = (takes ? 1u : 0) | (ptx_has(op, W_cc) ? 2u : 0);
    unsigned bytes = wide ? 8 : 4, n, code, i;
    uint32_t row[3] = {0}, dst;

    if (op->text.text[0] == 'm') {
        n = 3;
        if (ptx_has(op, W_hi))
            code = wide ? SD_OP_mad_hi_cc64 : SD_OP_mad_hi_cc32;
        else
            code = wide ? SD_OP_mad_lo_cc64 : SD_OP_mad_lo_cc32;
        if (ptx_type_signed((enum ptx_type)op->types[0]))
            flags |= SD_FL_ALT;
    } else {
        n = 2;
        if (op->text.text[0] == 'a')
            code = wide ? SD_OP_addc64 : SD_OP_addc32;
        else
            code = wide ? SD_OP_subc64 : SD_OP_subc32;
    }
    if (op->unknown || !lower_count(lw, in, n + 1, n + 1))
        return lower_unsupported(lw, in);
    for (i = 0; i < n; i++) {
        row[i] = lower_src(lw, in, lower_opnd(lw, in, i + 1), bytes);
        if (row[i] == ROW_NONE)
            return false;
    }
    dst = lower_dst(lw, in, lower_opnd(lw, in, 0), bytes);
    return dst != ROW_NONE && lower_emit(lw, code, flags, dst, row[0], row[1], row[2], 0) != NULL;
}

/* min and max, also of three operands */
static bool
lower_minmax(struct lower *lw, const struct ptx_insn *in)
{
    static const enum ptx_word keep[] = {W_relu, W_NONE};
    static const enum ptx_word keep_f32[] = {W_nan, W_xorsign, W_abs, W_NONE};
    const struct ptx_opcode *op = in->op;
    enum ptx_type type = (enum ptx_type)op->types[0];
    unsigned flags = 0;
    const struct lower_op *o;
    char stem[48];

    if (op->unknown || op->ntypes != 1)
        return lower_unsupported(lw, in);
    stem_of(op, is_float(type) ? keep_f32 : keep, stem, sizeof(stem));
    if (is_half(type)) {
        stem[3] = '\0';
        flags = modifier_flags(op) | (ptx_has(op, W_nan) ? SD_FL_ALT : 0u) |
                (ptx_has(op, W_xorsign) ? SD_FL_ALT2 : 0u);
        if (type == PT_BF16 || type == PT_BF16X2) {
            snprintf(stem + 3, sizeof(stem) - 3, ".%s", ptx_type_text(type));
            o = lower_op_find(stem);
            return o == NULL ? lower_unsupported(lw, in) : emit_op(lw, in, o, flags, false);
        }
    }
    if (type == PT_S16X2)
        stem[3] = '\0';
    o = find_typed(stem, type);
    if (o == NULL)
        return lower_unsupported(lw, in);
    if (type == PT_S16X2 && ptx_has(op, W_relu)) {
        uint32_t dst;

        if (!emit_op(lw, in, o, 0, false))
            return false;
        dst = lower_dst(lw, in, lower_opnd(lw, in, 0), 4);
        return lower_emit_op(lw, "relu.s16x2", 0, dst, dst, 0, 0);
    }
    if (in->count == 4) {
        uint32_t a = lower_src(lw, in, lower_opnd(lw, in, 1), o->size[1]);
        uint32_t b = lower_src(lw, in, lower_opnd(lw, in, 2), o->size[1]);
        uint32_t c = lower_src(lw, in, lower_opnd(lw, in, 3), o->size[1]);
        uint32_t dst = lower_dst(lw, in, lower_opnd(lw, in, 0), o->size[0]);
        uint32_t t = lower_temp(lw, o->size[0]);

        if (a == ROW_NONE || b == ROW_NONE || c == ROW_NONE || dst == ROW_NONE ||
            ptx_has(op, W_ftz))
            return lower_unsupported(lw, in);
        return lower_emit(lw, o->op, flags, t, a, b, 0, 0) != NULL &&
               lower_emit(lw, o->op, flags, dst, t, c, 0, 0) != NULL;
    }
    return emit_op(lw, in, o, flags, ptx_has(op, W_ftz) && type == PT_F32);
}

/* ---- logic: also on predicates ---- */

static bool
lower_logic(struct lower *lw, const struct ptx_insn *in)
{
    const struct ptx_opcode *op = in->op;
    uint32_t a, b = 0, dst;
    unsigned code;

    if (op->ntypes != 1 || op->types[0] != PT_PRED)
        return lower_plain(lw, in);
    code = ptx_root_is(op, "and") ? SD_OP_pand : ptx_root_is(op, "or") ? SD_OP_por
           : ptx_root_is(op, "xor") ? SD_OP_pxor : SD_OP_pnot;
    if (!lower_count(lw, in, code == SD_OP_pnot ? 2 : 3, code == SD_OP_pnot ? 2 : 3))
        return false;
    a = lower_pred_src(lw, in, lower_opnd(lw, in, 1));
    if (code != SD_OP_pnot)
        b = lower_pred_src(lw, in, lower_opnd(lw, in, 2));
    dst = lower_pred_dst(lw, in, lower_opnd(lw, in, 0));
    if (a == ROW_NONE || b == ROW_NONE || dst == ROW_NONE)
        return false;
    return lower_emit(lw, code, 0, dst, a, b, 0, 0) != NULL;
}

/* lop3.b32, or lop3.BoolOp.b32 d|p, a, b, c, immLut, q */
static bool
lower_lop3(struct lower *lw, const struct ptx_insn *in)
{
    const struct lower_op *o = lower_op_find("lop3.b32");

    if (in->op->nwords > 0)
        return lower_unsupported(lw, in);
    return emit_op(lw, in, o, 0, false);
}

/* ---- comparison ---- */

static const enum ptx_word compare_words[] = {
    W_eq, W_ne, W_lt, W_le, W_gt, W_ge, W_lo, W_ls, W_hi, W_hs, W_equ, W_neu, W_ltu, W_leu,
    W_gtu, W_geu, W_num, W_isnan, W_NONE,
};

static const struct lower_op *
compare_op(const struct ptx_opcode *op, enum ptx_type type)
{
    static const char *const names[] = {
        "setp.eq", "setp.ne",  "setp.lt",  "setp.le",  "setp.gt",  "setp.ge",
        "setp.lt", "setp.le",  "setp.gt",  "setp.ge",  "setp.equ", "setp.neu",
        "setp.ltu", "setp.leu", "setp.gtu", "setp.geu", "setp.num", "setp.nan",
    };
    unsigned i;

    if (type == PT_B16 || type == PT_B32 || type == PT_B64)
        type = type == PT_B16 ? PT_U16 : type == PT_B32 ? PT_U32 : PT_U64;
    for (i = 0; compare_words[i] != W_NONE; i++)
        if (ptx_has(op, compare_words[i])) {
            char name[32];

            snprintf(name, sizeof(name), "%s.%s", names[i], ptx_type_text(type));
            return lower_op_find(name);
        }
    return NULL;
}

/* Sources of a comparison; halves are compared as f32. */
static bool
compare_rows(struct lower *lw, const struct ptx_insn *in, enum ptx_type *type_p, uint32_t row[2])
{
    unsigned i, bytes = lower_type_bytes(*type_p);
    bool half = *type_p == PT_F16 || *type_p == PT_BF16;

    for (i = 0; i < 2; i++) {
        row[i] = lower_src(lw, in, lower_opnd(lw, in, i + 1), bytes);
        if (row[i] == ROW_NONE)
            return false;
        if (half || (ptx_has(in->op, W_ftz) && *type_p == PT_F32)) {
            uint32_t t = lower_temp(lw, 4);

            lower_emit_op(lw, half ? *type_p == PT_F16 ? "cvt.f32.f16" : "cvt.f32.bf16" : "ftz.f32",
                          0, t, row[i], 0, 0);
            row[i] = t;
        }
    }
    if (half)
        *type_p = PT_F32;
    return true;
}

/* Combine with a third predicate: p = cmp op c, q = !cmp op c. */
static bool
combine(struct lower *lw, const struct ptx_insn *in, uint32_t cmp, uint32_t dst, uint32_t inverse)
{
    const struct ptx_opcode *op = in->op;
    unsigned code = ptx_has(op, W_and) ? SD_OP_pand : ptx_has(op, W_or) ? SD_OP_por
                    : ptx_has(op, W_xor) ? SD_OP_pxor : SD_OP_NONE;
    uint32_t c = 0, not_cmp = 0;

    if (inverse != ROW_NONE) {
        not_cmp = lower_temp(lw, 0);
        lower_emit(lw, SD_OP_pnot, 0, not_cmp, cmp, cmp, 0, 0);
    }
    if (code == SD_OP_NONE) {
        if (inverse != ROW_NONE)
            lower_emit(lw, SD_OP_pmov, 0, inverse, not_cmp, not_cmp, 0, 0);
        return cmp == dst || lower_emit(lw, SD_OP_pmov, 0, dst, cmp, cmp, 0, 0) != NULL;
    }
    c = lower_pred_src(lw, in, lower_opnd(lw, in, 3));
    if (c == ROW_NONE)
        return false;
    if (inverse != ROW_NONE) {
        /* c may be one of the results */
        uint32_t keep = lower_temp(lw, 0);

        lower_emit(lw, SD_OP_pmov, 0, keep, c, c, 0, 0);
        c = keep;
        lower_emit(lw, code, 0, inverse, not_cmp, c, 0, 0);
    }
    return lower_emit(lw, code, 0, dst, cmp, c, 0, 0) != NULL;
}

static bool
lower_setp(struct lower *lw, const struct ptx_insn *in)
{
    const struct ptx_opcode *op = in->op;
    const struct ptx_operand *d = lower_opnd(lw, in, 0);
    enum ptx_type type = op->ntypes > 0 ? (enum ptx_type)op->types[0] : PT_NONE;
    bool boolop = ptx_has(op, W_and) || ptx_has(op, W_or) || ptx_has(op, W_xor);
    const struct lower_op *o;
    uint32_t row[2], dst, inverse = ROW_NONE, cmp;

    if (op->unknown || op->ntypes != 1 || !lower_count(lw, in, boolop ? 4 : 3, boolop ? 4 : 3))
        return lower_unsupported(lw, in);
    if (!compare_rows(lw, in, &type, row))
        return lower_unsupported(lw, in);
    o = compare_op(op, type);
    if (o == NULL)
        return lower_unsupported(lw, in);
    if (d->kind == OPND_PAIR) {
        const struct ptx_operand *q = &lw->b->operands[d->reg + 1];

        d = &lw->b->operands[d->reg];
        inverse = lower_pred_dst(lw, in, q);
        if (inverse == ROW_NONE)
            return false;
    }
    dst = lower_pred_dst(lw, in, d);
    if (dst == ROW_NONE)
        return false;
    if (!boolop && inverse == ROW_NONE)
        return lower_emit(lw, o->op, 0, dst, row[0], row[1], 0, 0) != NULL;
    cmp = lower_temp(lw, 0);
    lower_emit(lw, o->op, 0, cmp, row[0], row[1], 0, 0);
    return combine(lw, in, cmp, dst, inverse);
}

/* set.CmpOp{.BoolOp}.dtype.stype: all ones or 1.0 where it holds */
static bool
lower_set(struct lower *lw, const struct ptx_insn *in)
{
    const struct ptx_opcode *op = in->op;
    enum ptx_type dtype, type;
    const struct lower_op *o;
    uint32_t row[2], dst, cmp, yes, no;
    bool boolop = ptx_has(op, W_and) || ptx_has(op, W_or) || ptx_has(op, W_xor);
    uint64_t one;

    if (op->unknown || op->ntypes != 2 || !lower_count(lw, in, boolop ? 4 : 3, boolop ? 4 : 3))
        return lower_unsupported(lw, in);
    dtype = (enum ptx_type)op->types[0];
    type = (enum ptx_type)op->types[1];
    if (type == PT_F16X2 || type == PT_BF16X2 || !compare_rows(lw, in, &type, row))
        return lower_unsupported(lw, in);
    o = compare_op(op, type);
    if (o == NULL)
        return lower_unsupported(lw, in);
    cmp = lower_temp(lw, 0);
    lower_emit(lw, o->op, 0, cmp, row[0], row[1], 0, 0);
    if (boolop && !combine(lw, in, cmp, cmp, ROW_NONE))
        return false;
    one = dtype == PT_F32 ? 0x3f800000u : dtype == PT_F16 ? 0x3c00u : dtype == PT_BF16 ? 0x3f80u
                                                                                     : 0xffffffffu;
    yes = lower_const(lw, one, lower_type_bytes(dtype));
    no = lower_const(lw, 0, lower_type_bytes(dtype));
    dst = lower_dst(lw, in, lower_opnd(lw, in, 0), lower_type_bytes(dtype));
    return dst != ROW_NONE &&
           lower_emit(lw, lower_type_bytes(dtype) == 2 ? SD_OP_selp16 : SD_OP_selp32, 0, dst, yes,
                      no, cmp, 0) != NULL;
}

static bool
emit_select(struct lower *lw, const struct ptx_insn *in, unsigned bytes, uint32_t pred)
{
    uint32_t a = lower_src(lw, in, lower_opnd(lw, in, 1), bytes);
    uint32_t b = lower_src(lw, in, lower_opnd(lw, in, 2), bytes);
    uint32_t dst = lower_dst(lw, in, lower_opnd(lw, in, 0), bytes);
    unsigned code = bytes == 2 ? SD_OP_selp16 : bytes == 4 ? SD_OP_selp32 : SD_OP_selp64;

    if (a == ROW_NONE || b == ROW_NONE || dst == ROW_NONE || pred == ROW_NONE)
        return false;
    return lower_emit(lw, code, 0, dst, a, b, pred, 0) != NULL;
}

static bool
lower_selp(struct lower *lw, const struct ptx_insn *in)
{
    if (in->op->ntypes != 1 || !lower_count(lw, in, 4, 4))
        return lower_unsupported(lw, in);
    return emit_select(lw, in, lower_type_bytes(in->op->types[0]),
                       lower_pred_src(lw, in, lower_opnd(lw, in, 3)));
}

/* slct d, a, b, c: c >= 0 ? a : b */
static bool
lower_slct(struct lower *lw, const struct ptx_insn *in)
{
    const struct ptx_opcode *op = in->op;
    uint32_t c, p;
    bool f32;

    if (op->ntypes != 2 || !lower_count(lw, in, 4, 4))
        return lower_unsupported(lw, in);
    f32 = op->types[1] == PT_F32;
    c = lower_src(lw, in, lower_opnd(lw, in, 3), 4);
    p = lower_temp(lw, 0);
    if (c == ROW_NONE)
        return false;
    if (f32 && ptx_has(op, W_ftz)) {
        uint32_t t = lower_temp(lw, 4);

        lower_emit_op(lw, "ftz.f32", 0, t, c, 0, 0);
        c = t;
    }
    lower_emit_op(lw, f32 ? "setp.ge.f32" : "setp.ge.s32", 0, p, c, lower_const(lw, 0, 4), 0);
    return emit_select(lw, in, lower_type_bytes(op->types[0]), p);
}

/* ---- moves ---- */

/* mov.b64 {lo, hi}, d and back, also with 16-bit and four elements */
static bool
unpack(struct lower *lw, const struct ptx_insn *in, const struct ptx_operand *list,
       const struct ptx_operand *from, unsigned bytes)
{
    unsigned n = list->count, each = bytes / (n == 0 ? 1 : n), i;
    uint32_t row = lower_src(lw, in, from, bytes);

    if (row == ROW_NONE || (n != 2 && n != 4) || each < 2)
        return lower_unsupported(lw, in);
    for (i = 0; i < n; i++) {
        const struct ptx_operand *o = &lw->b->operands[list->reg + i];
        uint32_t part = row, dst;

        if (o->kind == OPND_SINK)
            continue;
        dst = lower_dst(lw, in, o, each);
        if (dst == ROW_NONE)
            return false;
        if (n == 4) {
            part = lower_temp(lw, 4);
            lower_emit_op(lw, i < 2 ? "lo.64" : "hi.64", 0, part, row, 0, 0);
        }
        lower_emit_op(lw, each == 2 ? (i % 2 ? "hi.32" : "lo.32") : i % 2 ? "hi.64" : "lo.64", 0,
                      dst, part, 0, 0);
    }
    return true;
}

static bool
pack(struct lower *lw, const struct ptx_insn *in, const struct ptx_operand *list, uint32_t dst,
     unsigned bytes)
{
    unsigned n = list->count, each = bytes / (n == 0 ? 1 : n), i;
    uint32_t row[4];

    if ((n != 2 && n != 4) || each < 2 || (n == 4 && each != 2))
        return lower_unsupported(lw, in);
    for (i = 0; i < n; i++) {
        row[i] = lower_src(lw, in, &lw->b->operands[list->reg + i], each);
        if (row[i] == ROW_NONE)
            return false;
    }
    if (n == 4) {
        uint32_t lo = lower_temp(lw, 4), hi = lower_temp(lw, 4);

        lower_emit_op(lw, "pack.32", 0, lo, row[0], row[1], 0);
        lower_emit_op(lw, "pack.32", 0, hi, row[2], row[3], 0);
        return lower_emit_op(lw, "pack.64", 0, dst, lo, hi, 0);
    }
    return lower_emit_op(lw, each == 2 ? "pack.32" : "pack.64", 0, dst, row[0], row[1], 0);
}

/* b128 registers are two rows of 64 bits. */
static bool
mov_128(struct lower *lw, const struct ptx_insn *in)
{
    const struct ptx_operand *d = lower_opnd(lw, in, 0), *s = lower_opnd(lw, in, 1);
    uint32_t from, to;
    unsigned i;

    if (d->kind == OPND_LIST && d->count == 2 && s->kind == OPND_REG) {
        from = lower_src(lw, in, s, 16);
        for (i = 0; i < 2 && from != ROW_NONE; i++) {
            to = lower_dst(lw, in, &lw->b->operands[d->reg + i], 8);
            if (to == ROW_NONE || !lower_emit_op(lw, "mov.b64", 0, to, from + 256 * i, 0, 0))
                return false;
        }
        return from != ROW_NONE;
    }
    to = lower_dst(lw, in, d, 16);
    if (to == ROW_NONE)
        return false;
    for (i = 0; i < 2; i++) {
        if (s->kind == OPND_LIST && s->count == 2) {
            from = lower_src(lw, in, &lw->b->operands[s->reg + i], 8);
        } else {
            from = s->kind == OPND_REG ? lower_src(lw, in, s, 16) : ROW_NONE;
            from = from == ROW_NONE ? from : from + 256 * i;
        }
        if (from == ROW_NONE || !lower_emit_op(lw, "mov.b64", 0, to + 256 * i, from, 0, 0))
            return lower_unsupported(lw, in);
    }
    return true;
}

static bool
lower_mov(struct lower *lw, const struct ptx_insn *in)
{
    const struct ptx_operand *d, *s;
    unsigned bytes;
    uint32_t dst, src;

    if (in->op->ntypes != 1 || !lower_count(lw, in, 2, 2))
        return lower_unsupported(lw, in);
    d = lower_opnd(lw, in, 0);
    s = lower_opnd(lw, in, 1);
    bytes = lower_type_bytes(in->op->types[0]);
    if (in->op->types[0] == PT_PRED) {
        src = lower_pred_src(lw, in, s);
        dst = lower_pred_dst(lw, in, d);
        return src != ROW_NONE && dst != ROW_NONE &&
               lower_emit(lw, SD_OP_pmov, 0, dst, src, src, 0, 0) != NULL;
    }
    if (bytes == 16)
        return mov_128(lw, in);
    if (d->kind == OPND_LIST)
        return unpack(lw, in, d, s, bytes);
    if (s->kind == OPND_PARAM && lower_opnd(lw, in, 1)->address == 0 && !lw->f->entry)
        return lower_unsupported(lw, in); /* address of a function's parameter */
    dst = lower_dst(lw, in, d, bytes);
    if (dst == ROW_NONE)
        return false;
    if (s->kind == OPND_LIST)
        return pack(lw, in, s, dst, bytes);
    src = lower_src(lw, in, s, bytes);
    return src != ROW_NONE &&
           lower_emit_op(lw, bytes == 2 ? "mov.b16" : bytes == 4 ? "mov.b32" : "mov.b64", 0, dst,
                         src, 0, 0);
}

const struct lower_rule lower_alu_rules[] = {
    {"add", lower_arith, 0},     {"sub", lower_arith, 0},       {"mul", lower_arith, 0},
    {"mad", lower_arith, 0},     {"fma", lower_arith, 0},       {"div", lower_arith, 0},
    {"rem", lower_plain, 0},     {"rcp", lower_arith, 0},       {"sqrt", lower_arith, 0},
    {"rsqrt", lower_arith, 0},   {"ex2", lower_arith, 0},       {"lg2", lower_arith, 0},
    {"sin", lower_arith, 0},     {"cos", lower_arith, 0},       {"tanh", lower_arith, 0},
    {"addc", lower_carry, 0},    {"subc", lower_carry, 0},      {"madc", lower_carry, 0},
    {"mul24", lower_plain, 0},   {"mad24", lower_plain, 0},     {"sad", lower_plain, 0},
    {"abs", lower_plain, 0},     {"neg", lower_plain, 0},       {"min", lower_minmax, 0},
    {"max", lower_minmax, 0},    {"and", lower_logic, 0},       {"or", lower_logic, 0},
    {"xor", lower_logic, 0},     {"not", lower_logic, 0},       {"cnot", lower_plain, 0},
    {"shl", lower_plain, 0},     {"shr", lower_plain, 0},       {"shf", lower_plain, 0},
    {"brev", lower_plain, 0},    {"clz", lower_plain, 0},       {"popc", lower_plain, 0},
    {"bfind", lower_flagged, 0}, {"bfe", lower_plain, 0},       {"bfi", lower_plain, 0},
    {"bmsk", lower_plain, 0},    {"szext", lower_flagged, 0},   {"fns", lower_plain, 0},
    {"lop3", lower_lop3, 0},     {"prmt", lower_prmt, 0},       {"dp4a", lower_flagged, 0},
    {"dp2a", lower_flagged, 0},  {"setp", lower_setp, 0},       {"set", lower_set, 0},
    {"selp", lower_selp, 0},     {"slct", lower_slct, 0},       {"mov", lower_mov, 0},
    {"testp", lower_plain, 0},   {"copysign", lower_plain, 0},  {NULL, NULL, 0},
};
