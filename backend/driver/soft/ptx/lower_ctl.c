/* backend/driver/soft/ptx/lower_ctl.c -- branches, calls, barriers, fences */
#include "backend/driver/soft/ptx/lower_priv.h"

#include <string.h>

static bool
lower_bra(struct lower *lw, const struct ptx_insn *in)
{
    const struct ptx_operand *o = lower_opnd(lw, in, 0);

    if (!lower_count(lw, in, 1, 1))
        return false;
    return lower_jump(lw, lw->label_block[o->reg],
                      in->guard < 0 ? -1 : (int32_t)lw->reg_row[in->guard], in->guard_neg);
}

static bool
lower_brx(struct lower *lw, const struct ptx_insn *in)
{
    const struct ptx_table *table = &lw->b->tables[lower_opnd(lw, in, 1)->reg];
    uint32_t index = lower_src(lw, in, lower_opnd(lw, in, 0), 4);
    uint32_t i, at = lw->nextra;

    if (index == ROW_NONE)
        return false;
    /* A jump block: one branch per target, and the table holds the distances to them. */
    if (lower_emit(lw, SD_OP_brx, 0, 0, index, table->count, at, 0) == NULL)
        return false;
    for (i = 0; i < table->count; i++) {
        uint32_t distance = i + 1;
        uint32_t ignored;

        if (!lower_extra(lw, &distance, 1, &ignored) ||
            !lower_jump(lw, lw->label_block[lw->b->operands[table->first + i].reg], -1, false))
            return false;
    }
    return true;
}

/* ---- calls ---- */

static bool
add_copy(struct lower *lw, uint32_t caller_row, uint32_t callee_word, uint32_t words)
{
    if (!ptx_grow(&lw->copies, lw->ncopies, &lw->copies_cap, sizeof(*lw->copies)))
        return lower_no_memory(lw);
    lw->copies[lw->ncopies++] = (struct sd_call_copy){caller_row, callee_word, words};
    return true;
}

static uint32_t
words_of(uint32_t bytes)
{
    return (bytes + 3) / 4;
}

/* A register argument as rows of words. */
static uint32_t
reg_arg(struct lower *lw, const struct ptx_insn *in, const struct ptx_operand *o, unsigned bytes)
{
    uint32_t src, t;

    if (bytes == 8) {
        src = lower_src(lw, in, o, 8);
        t = lower_temp(lw, 8);
        if (src == ROW_NONE)
            return src;
        lower_emit_op(lw, "lo.64", 0, t, src, 0, 0);
        lower_emit_op(lw, "hi.64", 0, t + 128, src, 0, 0);
        return t;
    }
    return lower_src_as(lw, in, o, 4);
}

struct call_parts {
    const struct ptx_operand *rets, *callee, *args, *proto;
    uint32_t nrets, nargs;
};

static bool
split_call(struct lower *lw, const struct ptx_insn *in, struct call_parts *p)
{
    unsigned i = 0;

    memset(p, 0, sizeof(*p));
    if (in->count == 0)
        return lower_fail(lw, in, "call of nothing");
    if (lower_opnd(lw, in, 0)->kind == OPND_LIST) {
        p->nrets = lower_opnd(lw, in, 0)->count;
        p->rets = &lw->b->operands[lower_opnd(lw, in, 0)->reg];
        i++;
    }
    if (i < in->count)
        p->callee = lower_opnd(lw, in, i++);
    if (i < in->count && lower_opnd(lw, in, i)->kind == OPND_LIST) {
        p->nargs = lower_opnd(lw, in, i)->count;
        p->args = &lw->b->operands[lower_opnd(lw, in, i)->reg];
        i++;
    }
    if (i < in->count)
        p->proto = lower_opnd(lw, in, i++);
    if (p->callee == NULL || i != in->count)
        return lower_fail(lw, in, "malformed call");
    return true;
}

static uint32_t
call_row(const struct lower *lw, const struct ptx_operand *o)
{
    return lw->call_row + lw->b->pvars[o->reg].offset / 4 * 128;
}

static uint32_t
opnd_size(const struct lower *lw, const struct ptx_operand *o, uint32_t fallback)
{
    return o->kind == OPND_PARAM ? lw->b->pvars[o->reg].bytes
           : o->kind == OPND_REG ? lower_reg_bytes(lw, o->reg) : fallback;
}

static uint32_t
opnd_align(const struct lower *lw, const struct ptx_operand *o, uint32_t fallback)
{
    return o->kind == OPND_PARAM ? lw->b->pvars[o->reg].align : opnd_size(lw, o, fallback);
}

/* Copies of one side of a call; offsets follow the common layout. */
static bool
copy_side(struct lower *lw, const struct ptx_insn *in, const struct ptx_operand *o, uint32_t n,
          const struct ptx_param *params, bool results, uint32_t *bytes_p)
{
    uint32_t i, at = 0;

    for (i = 0; i < n; i++, o++) {
        uint32_t size = opnd_size(lw, o, params != NULL ? params[i].bytes : 4);
        uint32_t align = params != NULL ? params[i].align : opnd_align(lw, o, size);
        uint32_t row;

        if (align == 0 || size == 0)
            return lower_fail(lw, in, "bad argument");
        if (params != NULL && params[i].bytes != size)
            return lower_fail(lw, in, "argument %u of %u bytes where %u are expected", i, size,
                              params[i].bytes);
        at = (uint32_t)gp_align_up_u64(at, align > 4 ? align : 4); /* as ptx_params_layout */
        if (o->kind == OPND_PARAM) {
            if (lw->b->pvars[o->reg].klass != 2 && !(results && lw->b->pvars[o->reg].klass == 1))
                return lower_unsupported(lw, in);
            row = lw->b->pvars[o->reg].klass == 2 ? call_row(lw, o)
                  : lw->ret_row + lw->b->pvars[o->reg].offset / 4 * 128;
        } else {
            row = results ? lower_temp(lw, size == 8 ? 8 : 4) : reg_arg(lw, in, o, size);
        }
        if (row == ROW_NONE)
            return lower_unsupported(lw, in);
        if (!add_copy(lw, row, at / 4, words_of(size)))
            return false;
        at += size;
    }
    *bytes_p = at;
    return true;
}

/* Results that go to registers come back in temporaries. */
static bool
fetch_results(struct lower *lw, const struct ptx_insn *in, const struct call_parts *p,
              const struct sd_call_site *site)
{
    uint32_t i;

    for (i = 0; i < p->nrets; i++) {
        const struct ptx_operand *o = &p->rets[i];
        uint32_t row = lw->copies[site->first + site->ncopies + i].caller_row, dst;
        unsigned bytes;

        if (o->kind == OPND_PARAM || o->kind == OPND_SINK)
            continue;
        bytes = lower_opnd_bytes(lw, o, 4);
        dst = lower_dst(lw, in, o, bytes);
        if (dst == ROW_NONE)
            return false;
        if (bytes == 8)
            lower_emit_op(lw, "pack.64", 0, dst, row, row + 128, 0);
        else
            lower_emit_op(lw, bytes == 2 ? "lo.32" : "mov.b32", 0, dst, row, 0, 0);
    }
    return true;
}

/* An argument of a run-time function, as one row; 12 bytes are three rows of words. */
static uint32_t
builtin_arg(struct lower *lw, const struct ptx_insn *in, const struct call_parts *p, uint32_t i,
            unsigned bytes)
{
    const struct ptx_operand *o = &p->args[i];
    uint32_t t;

    if (o->kind != OPND_PARAM && bytes != 12)
        return lower_src_as(lw, in, o, bytes);
    if (o->kind != OPND_PARAM) {
        lower_fail(lw, in, "bad argument of a run-time function");
        return ROW_NONE;
    }
    if (lw->b->pvars[o->reg].klass != 2 || lw->b->pvars[o->reg].bytes != bytes) {
        lower_fail(lw, in, "bad argument of a run-time function");
        return ROW_NONE;
    }
    if (bytes != 8)
        return call_row(lw, o);
    t = lower_temp(lw, 8);
    lower_emit_op(lw, "pack.64", 0, t, call_row(lw, o), call_row(lw, o) + 128, 0);
    return t;
}

static bool
call_builtin(struct lower *lw, const struct ptx_insn *in, const struct call_parts *p,
             enum lower_builtin which)
{
    static const struct {
        unsigned op;
        uint8_t nargs, result; /* bytes; 0: none */
        uint8_t args[5];       /* bytes */
    } shapes[] = {[BUILTIN_VPRINTF] = {SD_OP_rt_vprintf, 2, 4, {8, 8}},
                  [BUILTIN_ASSERT] = {SD_OP_rt_assert, 5, 0, {8, 8, 4, 8, 8}},
                  [BUILTIN_MALLOC] = {SD_OP_rt_malloc, 1, 8, {8}},
                  [BUILTIN_FREE] = {SD_OP_rt_free, 1, 0, {8}},
                  [BUILTIN_LAUNCH_BUFFER] = {SD_OP_rt_launch_buffer, 4, 8, {8, 12, 12, 4}},
                  [BUILTIN_LAUNCH] = {SD_OP_rt_launch, 2, 4, {8, 8}},
                  [BUILTIN_STREAM_CREATE] = {SD_OP_rt_stream_create, 2, 4, {8, 4}},
                  [BUILTIN_STREAM_DESTROY] = {SD_OP_rt_zero, 1, 4, {8}},
                  [BUILTIN_LAST_ERROR] = {SD_OP_rt_zero, 0, 4, {0}},
                  [BUILTIN_SET_ERROR] = {SD_OP_rt_zero, 1, 4, {4}},
                  [BUILTIN_SET_CONDITION] = {SD_OP_rt_set_condition, 2, 0, {8, 4}}};
    uint32_t arg[4] = {0}, result = 0, to = 0;
    bool wide = shapes[which].result == 8;
    uint32_t i;

    if (p->nargs != shapes[which].nargs || p->nrets > (shapes[which].result != 0))
        return lower_fail(lw, in, "run-time function called with other arguments than it has");
    for (i = 0; i < p->nargs && i < 4; i++) {
        arg[i] = builtin_arg(lw, in, p, i, shapes[which].args[i]);
        if (arg[i] == ROW_NONE)
            return false;
    }
    if (shapes[which].result > 0)
        result = lower_temp(lw, shapes[which].result);
    lower_emit(lw, shapes[which].op, 0, result, arg[0], arg[1], arg[2], arg[3]);
    if (p->nrets == 0)
        return true;
    if (p->rets[0].kind != OPND_PARAM) {
        to = lower_dst(lw, in, &p->rets[0], wide ? 8 : 4);
        return to != ROW_NONE &&
               lower_emit_op(lw, wide ? "mov.b64" : "mov.b32", 0, to, result, 0, 0);
    }
    if (lw->b->pvars[p->rets[0].reg].klass != 2)
        return lower_unsupported(lw, in);
    to = call_row(lw, &p->rets[0]);
    if (wide && lw->b->pvars[p->rets[0].reg].bytes == 8)
        return lower_emit_op(lw, "lo.64", 0, to, result, 0, 0) &&
               lower_emit_op(lw, "hi.64", 0, to + 128, result, 0, 0);
    return lower_emit_op(lw, "mov.b32", 0, to, result, 0, 0);
}

static bool
lower_call(struct lower *lw, const struct ptx_insn *in)
{
    struct sd_call_site site = {.first = 0};
    struct call_parts p;
    const struct ptx_func *f = NULL;
    uint32_t target = 0;
    int64_t index = -1;

    if (!split_call(lw, in, &p))
        return false;
    if (p.callee->kind == OPND_FUNC) {
        f = p.callee->func;
        while (f->alias_of != NULL)
            f = f->alias_of;
        if (lower_builtin_of(f) != BUILTIN_NONE)
            return call_builtin(lw, in, &p, lower_builtin_of(f));
        index = lower_fn_index(lw->k, f);
        if (index < 0) {
            lower_unsupported(lw, in);
            sd_text_add(lw->k->log, "line %u: unresolved function %.*s\n", in->line,
                        (int)f->name.len, f->name.text);
            return false;
        }
        if (p.nargs != f->nparams || (p.nrets != f->nrets && p.nrets != 0))
            return lower_fail(lw, in, "call with %u arguments of a function of %u", p.nargs,
                              f->nparams);
        site.callee = (uint32_t)index;
    } else {
        target = lower_src(lw, in, p.callee, 8);
        if (target == ROW_NONE)
            return false;
    }
    site.first = lw->ncopies;
    site.ncopies = p.nargs;
    site.nresults = p.nrets;
    if (!copy_side(lw, in, p.args, p.nargs, f != NULL ? f->params : NULL, false,
                   &site.param_bytes) ||
        !copy_side(lw, in, p.rets, p.nrets, f != NULL ? f->rets : NULL, true, &site.ret_bytes))
        return false;
    if (p.proto != NULL && p.proto->kind == OPND_TABLE && f == NULL &&
        lw->b->tables[p.proto->reg].kind == 2) {
        site.param_bytes = lw->b->tables[p.proto->reg].param_bytes;
        site.ret_bytes = lw->b->tables[p.proto->reg].ret_bytes;
    }
    if (!ptx_grow(&lw->sites, lw->nsites, &lw->sites_cap, sizeof(site)))
        return lower_no_memory(lw);
    lw->sites[lw->nsites++] = site;
    if (lower_emit(lw, f != NULL ? SD_OP_call : SD_OP_call_indirect, 0, 0, lw->nsites - 1, target,
                   0, 0) == NULL)
        return false;
    return fetch_results(lw, in, &p, &site);
}

bool
lower_entry(struct lower *lw)
{
    uint32_t i;

    for (i = 0; i < lw->b->npvars; i++) {
        const struct ptx_pvar *v = &lw->b->pvars[i];
        uint32_t row = lw->param_row + v->offset / 4 * 128, dst;

        if (v->klass != 0 || v->reg < 0 || lw->f->entry)
            continue;
        dst = lw->reg_row[v->reg];
        if (dst == ROW_NONE)
            continue;
        if (v->bytes == 8)
            lower_emit_op(lw, "pack.64", 0, dst, row, row + 128, 0);
        else if (lower_reg_bytes(lw, (uint32_t)v->reg) == 4)
            lower_emit_op(lw, "mov.b32", 0, dst, row, 0, 0);
        else if (lower_reg_bytes(lw, (uint32_t)v->reg) == 2)
            lower_emit_op(lw, "lo.32", 0, dst, row, 0, 0);
        else
            lower_emit(lw, SD_OP_pset, 0, dst, row, 0, 0, 0);
    }
    return lw->cr == CUDA_SUCCESS;
}

static bool
lower_ret(struct lower *lw, const struct ptx_insn *in)
{
    uint32_t i;

    (void)in;
    for (i = 0; i < lw->b->npvars; i++) {
        const struct ptx_pvar *v = &lw->b->pvars[i];
        uint32_t row = lw->ret_row + v->offset / 4 * 128, src;

        if (v->klass != 1 || v->reg < 0)
            continue;
        src = lw->reg_row[v->reg];
        if (v->bytes == 8) {
            lower_emit_op(lw, "lo.64", 0, row, src, 0, 0);
            lower_emit_op(lw, "hi.64", 0, row + 128, src, 0, 0);
        } else if (lower_reg_bytes(lw, (uint32_t)v->reg) == 4) {
            lower_emit_op(lw, "mov.b32", 0, row, src, 0, 0);
        } else if (lower_reg_bytes(lw, (uint32_t)v->reg) == 2) {
            lower_emit_op(lw, "x.u16.16.32", 0, row, src, 0, 0);
        } else {
            lower_emit(lw, SD_OP_pget, 0, row, src, 0, 0, 0);
        }
    }
    return lower_emit(lw, SD_OP_ret, 0, 0, 0, 0, 0, 0) != NULL;
}

static bool
lower_exit(struct lower *lw, const struct ptx_insn *in)
{
    (void)in;
    return lower_emit(lw, SD_OP_exit, 0, 0, 0, 0, 0, 0) != NULL;
}

static bool
lower_trap(struct lower *lw, const struct ptx_insn *in)
{
    return lower_emit(lw, ptx_root_is(in->op, "trap") ? SD_OP_trap : SD_OP_brkpt, 0, 0, 0, 0, 0,
                      0) != NULL;
}

/* ---- barriers and fences ---- */

/* bar.warp.sync mask */
static bool
bar_warp(struct lower *lw, const struct ptx_insn *in)
{
    uint32_t mask;

    if (!lower_count(lw, in, 1, 1))
        return false;
    mask = lower_src(lw, in, lower_opnd(lw, in, 0), 4);
    return mask != ROW_NONE && lower_emit(lw, SD_OP_syncwarp, 0, 0, mask, 0, 0, 0) != NULL;
}

/* bar.red.popc.u32 d, a{, b}, {!}c; bar.red.and.pred p, a{, b}, {!}c */
static bool
bar_red(struct lower *lw, const struct ptx_insn *in)
{
    unsigned kind = ptx_has(in->op, W_popc) ? 2 : ptx_has(in->op, W_and) ? 1 : 0;
    uint32_t id, count = 0, p, dst;

    if (!lower_count(lw, in, 3, 4))
        return false;
    id = lower_src(lw, in, lower_opnd(lw, in, 1), 4);
    if (in->count == 4)
        count = lower_src(lw, in, lower_opnd(lw, in, 2), 4);
    p = lower_pred_src(lw, in, lower_opnd(lw, in, in->count - 1u));
    dst = kind == 2 ? lower_dst(lw, in, lower_opnd(lw, in, 0), 4)
                    : lower_pred_dst(lw, in, lower_opnd(lw, in, 0));
    if (id == ROW_NONE || count == ROW_NONE || p == ROW_NONE || dst == ROW_NONE)
        return false;
    return lower_emit(lw, SD_OP_bar, (in->count == 4 ? 1u : 0) | 2u, 0, id, count, p, 0) != NULL &&
           lower_emit(lw, SD_OP_bar_result, kind, dst, id, 0, 0, 0) != NULL;
}

static bool
lower_bar(struct lower *lw, const struct ptx_insn *in)
{
    const struct ptx_opcode *op = in->op;
    uint32_t id, count = 0;

    if (op->unknown)
        return lower_unsupported(lw, in);
    if (ptx_has(op, W_cluster))
        return lower_barrier_cluster(lw, in);
    if (ptx_has(op, W_warp))
        return bar_warp(lw, in);
    if (ptx_has(op, W_red))
        return bar_red(lw, in);
    if (!lower_count(lw, in, 1, 2))
        return false;
    id = lower_src(lw, in, lower_opnd(lw, in, 0), 4);
    if (in->count == 2)
        count = lower_src(lw, in, lower_opnd(lw, in, 1), 4);
    if (id == ROW_NONE || count == ROW_NONE)
        return false;
    return lower_emit(lw, ptx_has(op, W_arrive) ? SD_OP_bar_arrive : SD_OP_bar,
                      in->count == 2 ? 1 : 0, 0, id, count, 0, 0) != NULL;
}

static bool
lower_fence(struct lower *lw, const struct ptx_insn *in)
{
    (void)in;
    return lower_emit(lw, SD_OP_fence, 0, 0, 0, 0, 0, 0) != NULL;
}

static bool
lower_nanosleep(struct lower *lw, const struct ptx_insn *in)
{
    (void)in;
    return lower_emit(lw, SD_OP_hint, 0, 0, 20000, 0, 0, 0) != NULL;
}

static bool
lower_nothing(struct lower *lw, const struct ptx_insn *in)
{
    (void)in;
    return lw->cr == CUDA_SUCCESS;
}

const struct lower_rule lower_ctl_rules[] = {
    {"bra", lower_bra, RULE_NO_DST | RULE_CONTROL | RULE_ENDS},
    {"brx", lower_brx, RULE_NO_DST | RULE_CONTROL | RULE_ENDS},
    {"ret", lower_ret, RULE_NO_DST | RULE_CONTROL | RULE_ENDS},
    {"exit", lower_exit, RULE_NO_DST | RULE_CONTROL | RULE_ENDS},
    {"call", lower_call, RULE_CONTROL},
    {"trap", lower_trap, RULE_NO_DST | RULE_CONTROL},
    {"brkpt", lower_trap, RULE_NO_DST | RULE_CONTROL},
    {"bar", lower_bar, RULE_NO_DST | RULE_CONTROL},
    {"barrier", lower_bar, RULE_NO_DST | RULE_CONTROL},
    {"membar", lower_fence, RULE_NO_DST},
    {"fence", lower_fence, RULE_NO_DST},
    {"nanosleep", lower_nanosleep, RULE_NO_DST | RULE_CONTROL},
    {"griddepcontrol", lower_nothing, RULE_NO_DST},
    {"pmevent", lower_nothing, RULE_NO_DST},
    {"setmaxnreg", lower_nothing, RULE_NO_DST},
    {NULL, NULL, 0},
};
