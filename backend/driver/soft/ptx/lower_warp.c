/* backend/driver/soft/ptx/lower_warp.c -- instructions across the lanes of a warp */
#include "backend/driver/soft/ptx/lower.h"

#include "backend/driver/soft/exec/lanes.h"

/* The optional second result of "d|p". */
static bool
split_pair(struct lower *lw, const struct ptx_insn *in, const struct ptx_operand **d_p,
           uint32_t *pred_p)
{
    const struct ptx_operand *d = lower_opnd(lw, in, 0);

    *pred_p = ROW_NONE;
    if (d->kind == OPND_PAIR) {
        *pred_p = lower_pred_dst(lw, in, &lw->b->operands[d->reg + 1]);
        if (*pred_p == ROW_NONE)
            return false;
        d = &lw->b->operands[d->reg];
    }
    *d_p = d;
    return true;
}

/* Members of an instruction without .sync: whoever comes. */
static uint32_t
members_row(struct lower *lw, const struct ptx_insn *in, unsigned index)
{
    if (index >= in->count) {
        uint32_t t = lower_temp(lw, 4);

        lower_emit(lw, SD_OP_activemask, 0, t, 0, 0, 0, 0);
        return t;
    }
    return lower_src(lw, in, lower_opnd(lw, in, index), 4);
}

/* shfl.sync.mode.b32 d{|p}, a, b, c, members */
static bool
lower_shfl(struct lower *lw, const struct ptx_insn *in)
{
    const struct ptx_opcode *op = in->op;
    unsigned mode = ptx_has(op, W_up) ? SD_SHFL_UP : ptx_has(op, W_down) ? SD_SHFL_DOWN
                    : ptx_has(op, W_bfly) ? SD_SHFL_BFLY : SD_SHFL_IDX;
    const struct ptx_operand *d;
    uint32_t a, b, c, members, dst, pred;

    if (op->unknown || op->ntypes != 1 || lower_type_bytes(op->types[0]) != 4 ||
        !lower_count(lw, in, ptx_has(op, W_sync) ? 5 : 4, ptx_has(op, W_sync) ? 5 : 4))
        return lower_unsupported(lw, in);
    if (!split_pair(lw, in, &d, &pred))
        return false;
    a = lower_src(lw, in, lower_opnd(lw, in, 1), 4);
    b = lower_src(lw, in, lower_opnd(lw, in, 2), 4);
    c = lower_src(lw, in, lower_opnd(lw, in, 3), 4);
    members = members_row(lw, in, 4);
    dst = lower_dst(lw, in, d, 4);
    if (a == ROW_NONE || b == ROW_NONE || c == ROW_NONE || members == ROW_NONE || dst == ROW_NONE)
        return false;
    if (pred != ROW_NONE)
        mode |= SD_SHFL_PRED;
    if (lower_emit(lw, SD_OP_shfl, mode, dst, a, b, c, members) == NULL)
        return false;
    /* The handler takes the predicate's place from here and steps over it. */
    return pred == ROW_NONE || lower_emit(lw, SD_OP_nop, 0, pred, 0, 0, 0, 0) != NULL;
}

/* vote.sync.{all,any,uni}.pred p, {!}a, members; vote.sync.ballot.b32 d, {!}a, members */
static bool
lower_vote(struct lower *lw, const struct ptx_insn *in)
{
    const struct ptx_opcode *op = in->op;
    bool ballot = ptx_has(op, W_ballot);
    unsigned n = ptx_has(op, W_sync) ? 3 : 2;
    uint32_t a, members, dst;
    unsigned kind = ptx_has(op, W_all) ? SD_VOTE_ALL : ptx_has(op, W_any) ? SD_VOTE_ANY
                                                                         : SD_VOTE_UNI;

    if (op->unknown || !lower_count(lw, in, n, n))
        return lower_unsupported(lw, in);
    a = lower_pred_src(lw, in, lower_opnd(lw, in, 1));
    members = members_row(lw, in, 2);
    dst = ballot ? lower_dst(lw, in, lower_opnd(lw, in, 0), 4)
                 : lower_pred_dst(lw, in, lower_opnd(lw, in, 0));
    if (a == ROW_NONE || members == ROW_NONE || dst == ROW_NONE)
        return false;
    return lower_emit(lw, ballot ? SD_OP_vote_ballot : SD_OP_vote, ballot ? 0 : kind, dst, a, 0, 0,
                      members) != NULL;
}

/* match.any.sync.b32 d, a, members; match.all.sync.b32 d{|p}, a, members */
static bool
lower_match(struct lower *lw, const struct ptx_insn *in)
{
    const struct ptx_opcode *op = in->op;
    const struct ptx_operand *d;
    uint32_t a, members, dst, pred;
    unsigned bytes;

    if (op->unknown || op->ntypes != 1 || !lower_count(lw, in, 3, 3) ||
        !split_pair(lw, in, &d, &pred))
        return lower_unsupported(lw, in);
    bytes = lower_type_bytes(op->types[0]);
    a = lower_src(lw, in, lower_opnd(lw, in, 1), bytes);
    members = members_row(lw, in, 2);
    dst = lower_dst(lw, in, d, 4);
    if (pred == ROW_NONE)
        pred = lower_temp(lw, 0);
    if (a == ROW_NONE || members == ROW_NONE || dst == ROW_NONE)
        return false;
    return lower_emit(lw, bytes == 8 ? SD_OP_match64 : SD_OP_match32, ptx_has(op, W_all), dst, a,
                      pred, 0, members) != NULL;
}

/* redux.sync.op.type d, a, members */
static bool
lower_redux(struct lower *lw, const struct ptx_insn *in)
{
    const struct ptx_opcode *op = in->op;
    unsigned kind = ptx_has(op, W_add) ? SD_REDUX_ADD : ptx_has(op, W_min) ? SD_REDUX_MIN
                    : ptx_has(op, W_max) ? SD_REDUX_MAX : ptx_has(op, W_and) ? SD_REDUX_AND
                    : ptx_has(op, W_or) ? SD_REDUX_OR : SD_REDUX_XOR;
    uint32_t a, members, dst;
    bool f32;

    if (op->unknown || op->ntypes != 1 || !lower_count(lw, in, 3, 3) ||
        lower_type_bytes(op->types[0]) != 4)
        return lower_unsupported(lw, in);
    f32 = op->types[0] == PT_F32;
    if (f32 && kind != SD_REDUX_MIN && kind != SD_REDUX_MAX)
        return lower_unsupported(lw, in);
    if (ptx_type_signed((enum ptx_type)op->types[0]))
        kind |= SD_REDUX_SIGNED;
    if (ptx_has(op, W_abs))
        kind |= SD_REDUX_ABS;
    if (ptx_has(op, W_nan))
        kind |= SD_REDUX_NAN;
    a = lower_src(lw, in, lower_opnd(lw, in, 1), 4);
    members = members_row(lw, in, 2);
    dst = lower_dst(lw, in, lower_opnd(lw, in, 0), 4);
    if (a == ROW_NONE || members == ROW_NONE || dst == ROW_NONE)
        return false;
    return lower_emit(lw, f32 ? SD_OP_redux_f32 : SD_OP_redux, kind, dst, a, 0, 0, members) != NULL;
}

static bool
lower_activemask(struct lower *lw, const struct ptx_insn *in)
{
    uint32_t dst;

    if (!lower_count(lw, in, 1, 1))
        return false;
    dst = lower_dst(lw, in, lower_opnd(lw, in, 0), 4);
    return dst != ROW_NONE && lower_emit(lw, SD_OP_activemask, 0, dst, 0, 0, 0, 0) != NULL;
}

/* elect.sync d|p, members */
static bool
lower_elect(struct lower *lw, const struct ptx_insn *in)
{
    const struct ptx_operand *d;
    uint32_t members, dst, pred;

    if (!lower_count(lw, in, 2, 2) || !split_pair(lw, in, &d, &pred) || pred == ROW_NONE)
        return lower_unsupported(lw, in);
    members = members_row(lw, in, 1);
    dst = lower_dst(lw, in, d, 4);
    if (members == ROW_NONE || dst == ROW_NONE)
        return false;
    return lower_emit(lw, SD_OP_elect, 0, dst, 0, pred, 0, members) != NULL;
}

const struct lower_rule lower_warp_rules[] = {
    {"shfl", lower_shfl, RULE_CONTROL},   {"vote", lower_vote, RULE_CONTROL},
    {"match", lower_match, RULE_CONTROL}, {"redux", lower_redux, RULE_CONTROL},
    {"activemask", lower_activemask, RULE_CONTROL}, {"elect", lower_elect, RULE_CONTROL},
    {NULL, NULL, 0},
};
