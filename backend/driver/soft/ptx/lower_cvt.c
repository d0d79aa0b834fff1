/* backend/driver/soft/ptx/lower_cvt.c -- cvt, cvta, isspacep */
#include "backend/driver/soft/ptx/lower.h"

#include "backend/driver/soft/exec/cluster.h"
#include "backend/driver/soft/math/sd_round.h"

#include <stdio.h>
#include <string.h>

static bool
is_int(unsigned t)
{
    switch (t) {
    case PT_U8:
    case PT_S8:
    case PT_B8:
    case PT_U16:
    case PT_S16:
    case PT_B16:
    case PT_U32:
    case PT_S32:
    case PT_B32:
    case PT_U64:
    case PT_S64:
    case PT_B64:
        return true;
    default:
        return false;
    }
}

static const char *
move_name(unsigned bytes)
{
    return bytes == 2 ? "mov.b16" : bytes == 4 ? "mov.b32" : "mov.b64";
}

/* The bits of an integer type in a register of `from` bytes, extended to one of `to` bytes. */
static bool
emit_extend(struct lower *lw, unsigned type, unsigned from, unsigned to, uint32_t dst, uint32_t src)
{
    unsigned bytes = ptx_type_bytes((enum ptx_type)type);
    char name[32];

    if (bytes > to)
        bytes = to;
    if (bytes > from)
        bytes = from;
    if (bytes == from && from == to)
        return lower_emit_op(lw, move_name(to), 0, dst, src, 0, 0);
    snprintf(name, sizeof(name), "x.%c%u.%u.%u",
             ptx_type_signed((enum ptx_type)type) && bytes < to ? 's' : 'u', 8 * bytes, 8 * from,
             8 * to);
    return lower_emit_op(lw, name, 0, dst, src, 0, 0);
}

static unsigned
round_of(const struct ptx_opcode *op)
{
    if (ptx_has(op, W_rz) || ptx_has(op, W_rzi))
        return SD_RZ;
    if (ptx_has(op, W_rm) || ptx_has(op, W_rmi))
        return SD_RM;
    if (ptx_has(op, W_rp) || ptx_has(op, W_rpi))
        return SD_RP;
    return ptx_has(op, W_rna) ? SD_RNA : SD_RN;
}

static bool
has_integral_round(const struct ptx_opcode *op)
{
    return ptx_has(op, W_rni) || ptx_has(op, W_rzi) || ptx_has(op, W_rmi) || ptx_has(op, W_rpi);
}

static unsigned
flags_of(const struct ptx_opcode *op)
{
    return SD_FL_MODE(round_of(op)) | (ptx_has(op, W_ftz) ? SD_FL_FTZ : 0u) |
           (ptx_has(op, W_sat) ? SD_FL_SAT : 0u) | (ptx_has(op, W_relu) ? SD_FL_RELU : 0u) |
           (ptx_has(op, W_satfinite) ? SD_FL_SATFINITE : 0u);
}

/* One conversion in progress. */
struct cvt {
    struct lower *lw;
    const struct ptx_insn *in;
    unsigned dtype, stype;
    unsigned dbytes; /* of the result's register */
    unsigned sbytes; /* of the source's register */
    uint32_t dst, src;
    unsigned flags;
};

static bool
int_to_int(struct cvt *c)
{
    struct lower *lw = c->lw;
    unsigned dsize = ptx_type_bytes((enum ptx_type)c->dtype);
    unsigned ssize = ptx_type_bytes((enum ptx_type)c->stype);
    bool ssigned = ptx_type_signed((enum ptx_type)c->stype);
    char name[32];

    if (ptx_has(c->in->op, W_sat)) {
        uint32_t wide = lower_temp(lw, 8);

        emit_extend(lw, c->stype, c->sbytes, 8, wide, c->src);
        snprintf(name, sizeof(name), "sat.%s.%c", ptx_type_text((enum ptx_type)c->dtype),
                 ssigned ? 's' : 'u');
        if (lower_op_find(name) != NULL)
            lower_emit_op(lw, name, 0, wide, wide, 0, 0);
        return emit_extend(lw, c->dtype, 8, c->dbytes, c->dst, wide);
    }
    if (dsize <= ssize)
        return emit_extend(lw, c->dtype, c->sbytes, c->dbytes, c->dst, c->src);
    if (dsize == c->dbytes || !ssigned || ptx_type_signed((enum ptx_type)c->dtype))
        return emit_extend(lw, c->stype, c->sbytes, c->dbytes, c->dst, c->src);
    return emit_extend(lw, c->stype, c->sbytes, c->dbytes, c->dst, c->src) &&
           emit_extend(lw, c->dtype, c->dbytes, c->dbytes, c->dst, c->dst);
}

static bool
int_to_float(struct cvt *c)
{
    struct lower *lw = c->lw;
    unsigned ssize = ptx_type_bytes((enum ptx_type)c->stype);
    bool ssigned = ptx_type_signed((enum ptx_type)c->stype);
    bool half = c->dtype == PT_F16 || c->dtype == PT_BF16;
    unsigned wide = ssize == 8 || half ? 8 : 4;
    const char *d = ptx_type_text((enum ptx_type)c->dtype);
    uint32_t src = c->src;
    char name[32];
    char sign = ssigned ? 's' : 'u';

    if (c->sbytes != wide || ssize != wide) {
        src = lower_temp(lw, wide);
        emit_extend(lw, c->stype, c->sbytes, wide, src, c->src);
    }
    snprintf(name, sizeof(name), "cvt.%s.%c%u", d, sign, 8 * wide);
    if (lower_op_find(name) == NULL || (c->dtype == PT_F32 && round_of(c->in->op) != SD_RN))
        snprintf(name, sizeof(name), "cvtx.%s.%c%u", d, sign, 8 * wide);
    if (!lower_emit_op(lw, name, c->flags, c->dst, src, 0, 0))
        return false;
    if (!half && ptx_has(c->in->op, W_sat))
        return lower_emit_op(lw, c->dtype == PT_F32 ? "sat.f32" : "sat.f64", 0, c->dst, c->dst, 0,
                             0);
    return true;
}

/* Halves as sources: exactly an f32. */
static bool
widen_source(struct cvt *c)
{
    uint32_t t;

    if (c->stype != PT_F16 && c->stype != PT_BF16)
        return true;
    t = lower_temp(c->lw, 4);
    lower_emit_op(c->lw, c->stype == PT_F16 ? "cvt.f32.f16" : "cvt.f32.bf16", 0, t, c->src, 0, 0);
    c->src = t;
    c->stype = PT_F32;
    c->flags &= ~SD_FL_FTZ;
    return true;
}

static bool
float_to_int(struct cvt *c)
{
    struct lower *lw = c->lw;
    unsigned dsize = ptx_type_bytes((enum ptx_type)c->dtype);
    unsigned bytes = dsize < 4 ? 4 : dsize;
    uint32_t to = c->dbytes == bytes && dsize >= 4 ? c->dst : lower_temp(lw, bytes);
    char kind = ptx_type_signed((enum ptx_type)c->dtype) ? 's' : 'u';
    char name[32];

    widen_source(c);
    if ((c->flags & SD_FL_FTZ) != 0 && c->stype == PT_F32) {
        uint32_t t = lower_temp(lw, 4);

        lower_emit_op(lw, "ftz.f32", 0, t, c->src, 0, 0);
        c->src = t;
    }
    snprintf(name, sizeof(name), "cvt.rzi.%c%u.%s", kind, 8 * dsize,
             ptx_type_text((enum ptx_type)c->stype));
    if (round_of(c->in->op) != SD_RZ || lower_op_find(name) == NULL)
        snprintf(name, sizeof(name), "cvtx.%c%u.%s", kind, 8 * dsize,
                 ptx_type_text((enum ptx_type)c->stype));
    if (!lower_emit_op(lw, name, c->flags, to, c->src, 0, 0))
        return false;
    return to == c->dst || emit_extend(lw, c->dtype, bytes, c->dbytes, c->dst, to);
}

static bool
to_half(struct cvt *c)
{
    const char *d = ptx_type_text((enum ptx_type)c->dtype);
    const char *s = ptx_type_text((enum ptx_type)c->stype);
    bool plain = c->flags == 0 && c->stype == PT_F32;
    char name[32];

    snprintf(name, sizeof(name), "%s.%s.%s", plain ? "cvt" : "cvtx", d, s);
    return lower_emit_op(c->lw, name, c->flags, c->dst, c->src, 0, 0);
}

static bool
finish_float(struct cvt *c)
{
    bool f32 = c->dtype == PT_F32;

    if (f32 && (c->flags & SD_FL_FTZ) != 0)
        lower_emit_op(c->lw, "ftz.f32", 0, c->dst, c->dst, 0, 0);
    if ((c->flags & SD_FL_RELU) != 0 && f32)
        lower_emit_op(c->lw, "relu.f32", 0, c->dst, c->dst, 0, 0);
    if ((c->flags & SD_FL_SAT) != 0)
        lower_emit_op(c->lw, f32 ? "sat.f32" : "sat.f64", 0, c->dst, c->dst, 0, 0);
    return true;
}

static bool
float_to_float(struct cvt *c)
{
    struct lower *lw = c->lw;
    bool integral = has_integral_round(c->in->op);

    if (c->dtype == PT_TF32)
        return lower_emit_op(lw, "cvtx.tf32.f32", c->flags, c->dst, c->src, 0, 0);
    if (c->stype == PT_F16 && c->dtype == PT_F16 && !integral && c->flags == 0)
        return lower_emit_op(lw, "mov.b16", 0, c->dst, c->src, 0, 0);
    widen_source(c);
    if (c->dtype == PT_F16 || c->dtype == PT_BF16) {
        if (integral) {
            uint32_t t = lower_temp(lw, 4);

            lower_emit_op(lw, "integral.f32", c->flags, t, c->src, 0, 0);
            c->src = t;
            c->flags &= ~(unsigned)SD_FL_MODE(7);
        }
        return to_half(c);
    }
    if ((c->flags & SD_FL_FTZ) != 0 && c->stype == PT_F32) {
        uint32_t t = lower_temp(lw, 4);

        lower_emit_op(lw, "ftz.f32", 0, t, c->src, 0, 0);
        c->src = t;
    }
    if (c->stype == c->dtype) {
        if (integral)
            lower_emit_op(lw, c->dtype == PT_F32 ? "integral.f32" : "integral.f64", c->flags,
                          c->dst, c->src, 0, 0);
        else
            lower_emit_op(lw, c->dtype == PT_F32 ? "mov.b32" : "mov.b64", 0, c->dst, c->src, 0, 0);
    } else if (c->dtype == PT_F64) {
        lower_emit_op(lw, "cvt.f64.f32", 0, c->dst, c->src, 0, 0);
    } else if (round_of(c->in->op) == SD_RN) {
        lower_emit_op(lw, "cvt.f32.f64", 0, c->dst, c->src, 0, 0);
    } else {
        lower_emit_op(lw, "cvtx.f32.f64", c->flags, c->dst, c->src, 0, 0);
    }
    return finish_float(c);
}

static bool
is_float(unsigned t)
{
    return t == PT_F32 || t == PT_F64 || t == PT_F16 || t == PT_BF16;
}

/* Pairs and small formats stand in ops.def under their own names. */
static bool
packed(struct lower *lw, const struct ptx_insn *in)
{
    const struct ptx_opcode *op = in->op;
    const struct lower_op *o;
    uint32_t row[3] = {0}, dst;
    char name[48];
    unsigned i;

    if (ptx_has(op, W_pack) && op->types[1] == PT_S32) /* cvt.pack.sat.u8.s32.b32 */
        snprintf(name, sizeof(name), "cvt.pack.%s", ptx_type_text((enum ptx_type)op->types[0]));
    else
        snprintf(name, sizeof(name), "cvt.%s.%s", ptx_type_text((enum ptx_type)op->types[0]),
                 ptx_type_text((enum ptx_type)op->types[1]));
    o = lower_op_find(name);
    if (o == NULL || in->count != o->n + 1u)
        return lower_unsupported(lw, in);
    for (i = 0; i < o->n; i++) {
        row[i] = lower_src(lw, in, lower_opnd(lw, in, i + 1), o->size[i + 1]);
        if (row[i] == ROW_NONE)
            return false;
    }
    dst = lower_dst(lw, in, lower_opnd(lw, in, 0), o->size[0]);
    return dst != ROW_NONE && lower_emit(lw, o->op, flags_of(op), dst, row[0],
                                         o->n > 1 ? row[1] : row[0], row[2], 0) != NULL;
}

static bool
lower_cvt(struct lower *lw, const struct ptx_insn *in)
{
    const struct ptx_opcode *op = in->op;
    const struct ptx_operand *d, *s;
    struct cvt c = {.lw = lw, .in = in, .flags = flags_of(op)};

    if (op->unknown || op->ntypes < 2 || in->count < 2)
        return lower_unsupported(lw, in);
    if (ptx_has(op, W_pack))
        return packed(lw, in);
    if (op->ntypes != 2)
        return lower_unsupported(lw, in);
    c.dtype = op->types[0];
    c.stype = op->types[1];
    if (!(is_int(c.dtype) || is_float(c.dtype) || c.dtype == PT_TF32) ||
        !(is_int(c.stype) || is_float(c.stype)))
        return packed(lw, in);
    if (!lower_count(lw, in, 2, 2))
        return false;
    d = lower_opnd(lw, in, 0);
    s = lower_opnd(lw, in, 1);
    c.dbytes = lower_opnd_bytes(lw, d, lower_type_bytes(c.dtype));
    c.sbytes = lower_opnd_bytes(lw, s, lower_type_bytes(c.stype));
    if (c.dbytes == 0 || c.sbytes == 0 || c.dbytes > 8 || c.sbytes > 8 ||
        c.dbytes < ptx_type_bytes((enum ptx_type)c.dtype) ||
        c.sbytes < ptx_type_bytes((enum ptx_type)c.stype))
        return lower_fail(lw, in, "register of the wrong size");
    c.src = lower_src(lw, in, s, c.sbytes);
    c.dst = lower_dst(lw, in, d, c.dbytes);
    if (c.src == ROW_NONE || c.dst == ROW_NONE)
        return false;
    if (is_int(c.dtype))
        return is_int(c.stype) ? int_to_int(&c) : float_to_int(&c);
    if (c.dbytes != lower_type_bytes(c.dtype) ||
        (is_float(c.stype) && c.sbytes != lower_type_bytes(c.stype)))
        return lower_fail(lw, in, "register of the wrong size");
    return is_int(c.stype) ? int_to_float(&c) : float_to_float(&c);
}

/* ---- addresses ---- */

static uint64_t
window_of(enum ptx_space space)
{
    switch (space) {
    case SPACE_SHARED:
        return SD_WINDOW_SHARED;
    case SPACE_LOCAL:
        return SD_WINDOW_LOCAL;
    case SPACE_PARAM:
        return SD_WINDOW_PARAM;
    default:
        return 0;
    }
}

static bool
lower_cvta(struct lower *lw, const struct ptx_insn *in)
{
    uint64_t window = window_of(lower_space(in->op));
    const struct ptx_operand *s;
    uint32_t src, dst;

    if (in->op->unknown || in->op->ntypes != 1 || in->op->types[0] != PT_U64 ||
        !lower_count(lw, in, 2, 2))
        return lower_unsupported(lw, in);
    s = lower_opnd(lw, in, 1);
    src = lower_src_as(lw, in, s, 8);
    dst = lower_dst(lw, in, lower_opnd(lw, in, 0), 8);
    if (src == ROW_NONE || dst == ROW_NONE)
        return false;
    if (window == 0)
        return lower_emit_op(lw, "mov.b64", 0, dst, src, 0, 0);
    return lower_emit_op(lw, ptx_has(in->op, W_to) ? "sub.u64" : "add.u64", 0, dst, src,
                         lower_const(lw, window, 8), 0);
}

/* In a window: address - start < size. Not in any: global. */
static bool
lower_isspacep(struct lower *lw, const struct ptx_insn *in)
{
    uint64_t window = window_of(lower_space(in->op));
    uint64_t size = SD_WINDOW_BYTES;
    uint32_t src, dst, t = lower_temp(lw, 8);

    if (in->op->unknown || !lower_count(lw, in, 2, 2))
        return lower_unsupported(lw, in);
    if (lower_space(in->op) == SPACE_CONST) { /* constants are global memory here */
        dst = lower_pred_dst(lw, in, lower_opnd(lw, in, 0));
        return dst != ROW_NONE && lower_emit(lw, SD_OP_pconst, 0, dst, 0, 0, 0, 0) != NULL;
    }
    src = lower_src(lw, in, lower_opnd(lw, in, 1), 8);
    dst = lower_pred_dst(lw, in, lower_opnd(lw, in, 0));
    if (src == ROW_NONE || dst == ROW_NONE)
        return false;
    if (window == 0)
        return lower_emit_op(lw, "setp.lt.u64", 0, dst, src, lower_const(lw, SD_WINDOW_SHARED, 8),
                             0);
    if (lower_space(in->op) == SPACE_SHARED && !lower_in_cluster(in->op))
        return lower_emit(lw, SD_OP_cluster_address,
                          SD_CLUSTER_IS_OWN | SD_CLUSTER_GENERIC | SD_CLUSTER_WIDE, dst, src, 0, 0,
                          0) != NULL;
    if (lower_in_cluster(in->op))
        size = SD_WINDOW_SLOTS * SD_WINDOW_BYTES;
    lower_emit_op(lw, "sub.u64", 0, t, src, lower_const(lw, window, 8), 0);
    return lower_emit_op(lw, "setp.lt.u64", 0, dst, t, lower_const(lw, size, 8), 0);
}

const struct lower_rule lower_cvt_rules[] = {
    {"cvt", lower_cvt, 0},
    {"cvta", lower_cvta, 0},
    {"isspacep", lower_isspacep, 0},
    {NULL, NULL, 0},
};
