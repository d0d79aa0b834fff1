/* backend/driver/soft/ptx/lower.c -- one function: presets, operands, emission */
#include "backend/driver/soft/ptx/lower.h"
#include "backend/driver/soft/ptx/lower_priv.h"

#include <stdio.h>
#include <string.h>

/* ---- errors ---- */

static bool
fail(struct lower *lw, CUresult cr, const struct ptx_insn *in, const char *text)
{
    const struct ptx_func *kernel = lw->k->funcs[0];

    if (lw->cr != CUDA_SUCCESS)
        return false;
    lw->cr = cr;
    sd_text_add(lw->k->log, "kernel %.*s: line %u: %.*s: %s\n", (int)kernel->name.len,
                kernel->name.text, in != NULL ? in->line : lw->f->line,
                in != NULL ? (int)in->op->text.len : (int)lw->f->name.len,
                in != NULL ? in->op->text.text : lw->f->name.text, text);
    return false;
}

bool
lower_fail(struct lower *lw, const struct ptx_insn *in, const char *fmt, ...)
{
    char text[200];
    va_list va;

    va_start(va, fmt);
    vsnprintf(text, sizeof(text), fmt, va);
    va_end(va);
    return fail(lw, CUDA_ERROR_INVALID_PTX, in, text);
}

bool
lower_unsupported(struct lower *lw, const struct ptx_insn *in)
{
    return fail(lw, CUDA_ERROR_NOT_SUPPORTED, in, "opcode is not supported");
}

bool
lower_no_memory(struct lower *lw)
{
    if (lw->cr == CUDA_SUCCESS)
        lw->cr = CUDA_ERROR_OUT_OF_MEMORY;
    return false;
}

/* ---- rules ---- */

const struct lower_rule *
lower_rule_of(struct ptx_opcode *op)
{
    static const struct lower_rule *const tables[] = {
        lower_alu_rules, lower_cvt_rules,  lower_mem_rules,
        lower_ctl_rules, lower_warp_rules, lower_mma_rules,
        lower_video_rules, lower_async_rules, lower_cluster_rules, lower_tex_rules,
    };
    static const struct lower_rule none = {"", NULL, 0};
    const struct lower_rule *r;
    unsigned i;

    if (op->rule == NULL) {
        op->rule = &none;
        for (i = 0; i < GP_ARRAY_LEN(tables); i++)
            for (r = tables[i]; r->root != NULL; r++)
                if (ptx_root_is(op, r->root))
                    op->rule = r;
    }
    r = op->rule;
    return r->lower == NULL ? NULL : r;
}

/* ---- emission ---- */

struct sd_insn *
lower_emit(struct lower *lw, unsigned op, unsigned flags, uint32_t dst, uint32_t a, uint32_t b,
           uint32_t c, uint32_t d)
{
    struct sd_insn *o;

    if (!ptx_grow(&lw->out, lw->nout, &lw->out_cap, sizeof(*lw->out)) ||
        !ptx_grow(&lw->lines, lw->nout, &lw->lines_cap, sizeof(*lw->lines))) {
        lower_no_memory(lw);
        return NULL;
    }
    lw->lines[lw->nout] = lw->line;
    if (op < SD_OP_LANE_WISE && dst >= lw->quiet_rows && dst < lw->quiet_end)
        flags |= SD_FL_QUIET;
    o = &lw->out[lw->nout++];
    *o = (struct sd_insn){.fn = sd_core_get()->full[op], .op = (uint16_t)op,
                          .flags = (uint16_t)flags, .dst = dst, .a = a, .b = b, .c = c, .d = d};
    return o;
}

bool
lower_emit_op(struct lower *lw, const char *name, unsigned flags, uint32_t dst, uint32_t a,
              uint32_t b, uint32_t c)
{
    const struct lower_op *op = lower_op_find(name);

    if (op == NULL)
        return fail(lw, CUDA_ERROR_NOT_SUPPORTED, NULL, name);
    return lower_emit(lw, op->op, flags, dst, a, op->n < 2 ? a : b, c, 0) != NULL;
}

static uint32_t
new_row(struct lower *lw, unsigned bytes)
{
    uint32_t row = lw->rows_end;

    if (lw->rows_end > 1u << 30) {
        lower_no_memory(lw);
        return ROW_NONE;
    }
    lw->rows_end += bytes == 0 ? 64 : bytes * 32;
    return row;
}

uint32_t
lower_temp(struct lower *lw, unsigned bytes)
{
    unsigned k = bytes == 0 ? 0 : bytes == 2 ? 1 : bytes == 4 ? 2 : 3;

    if (lw->used_temps[k] == lw->ntemps[k]) {
        if (lw->ntemps[k] == GP_ARRAY_LEN(lw->temps[k])) {
            lower_no_memory(lw);
            return ROW_NONE;
        }
        lw->temps[k][lw->ntemps[k]++] = new_row(lw, bytes);
    }
    return lw->temps[k][lw->used_temps[k]++];
}

bool
lower_extra(struct lower *lw, const uint32_t *rows, uint32_t n, uint32_t *at_p)
{
    uint32_t i;

    *at_p = lw->nextra;
    for (i = 0; i < n; i++) {
        if (!ptx_grow(&lw->extra, lw->nextra, &lw->extra_cap, sizeof(uint32_t)))
            return lower_no_memory(lw);
        lw->extra[lw->nextra++] = rows[i];
    }
    return true;
}

/* ---- presets ---- */

static bool
grow_preset_table(struct lower *lw)
{
    uint32_t size = lw->preset_table_size == 0 ? 64 : lw->preset_table_size * 2;
    uint32_t *table = calloc(size, sizeof(uint32_t));
    uint32_t i;

    if (table == NULL)
        return lower_no_memory(lw);
    for (i = 0; i < lw->npresets; i++) {
        const struct sd_preset *p = &lw->presets[i].p;
        uint64_t key[2] = {p->value, (uint64_t)p->kind << 24 | (uint64_t)p->bytes << 16 |
                                         (uint64_t)p->load_bytes << 8 | p->is_signed};
        uint32_t h = ptx_hash((const char *)key, sizeof(key)) & (size - 1);

        while (table[h] != 0)
            h = (h + 1) & (size - 1);
        table[h] = i + 1;
    }
    free(lw->preset_table);
    lw->preset_table = table;
    lw->preset_table_size = size;
    return true;
}

/* Index + 1 of a preset, made if there is none like it; 0 when out of memory. */
static uint32_t
get_preset(struct lower *lw, struct sd_preset want)
{
    uint64_t key[2] = {want.value, (uint64_t)want.kind << 24 | (uint64_t)want.bytes << 16 |
                                       (uint64_t)want.load_bytes << 8 | want.is_signed};
    uint32_t h;

    if (lw->npresets * 2 >= lw->preset_table_size && !grow_preset_table(lw))
        return 0;
    h = ptx_hash((const char *)key, sizeof(key)) & (lw->preset_table_size - 1);
    for (; lw->preset_table[h] != 0; h = (h + 1) & (lw->preset_table_size - 1)) {
        const struct sd_preset *p = &lw->presets[lw->preset_table[h] - 1].p;

        if (p->value == want.value && p->kind == want.kind && p->bytes == want.bytes &&
            p->load_bytes == want.load_bytes && p->is_signed == want.is_signed)
            return lw->preset_table[h];
    }
    if (!ptx_grow(&lw->presets, lw->npresets, &lw->presets_cap, sizeof(*lw->presets))) {
        lower_no_memory(lw);
        return 0;
    }
    lw->presets[lw->npresets] = (struct lower_preset){.p = want};
    lw->preset_table[h] = ++lw->npresets;
    return lw->npresets;
}

static uint32_t
preset_row(struct lower *lw, uint32_t preset)
{
    struct lower_preset *p;

    if (preset == 0)
        return ROW_NONE;
    p = &lw->presets[preset - 1];
    if (!p->used) {
        p->used = true;
        p->p.row = new_row(lw, p->p.bytes);
    }
    return p->p.row;
}

uint32_t
lower_const(struct lower *lw, uint64_t value, unsigned bytes)
{
    if (bytes < 8)
        value &= (1ull << (8 * bytes)) - 1;
    return preset_row(
        lw, get_preset(lw, (struct sd_preset){.kind = SD_PRE_VALUE, .bytes = (uint8_t)bytes,
                                              .value = value}));
}

enum sreg_class { SREG_DYNAMIC, SREG_LAUNCH, SREG_WARP, SREG_BLOCK };

static enum sreg_class
sreg_class(uint32_t sreg)
{
    switch (sreg / 4) {
    case SD_SREG_TID:
    case SD_SREG_WARPID:
        return SREG_WARP;
    case SD_SREG_CTAID:
    case SD_SREG_CLUSTERID:
    case SD_SREG_CLUSTER_CTAID:
    case SD_SREG_CLUSTER_CTARANK:
    case SD_SREG_SMID:
        return SREG_BLOCK;
    case SD_SREG_CLOCK:
    case SD_SREG_CLOCK_HI:
    case SD_SREG_CLOCK64:
    case SD_SREG_GLOBALTIMER:
    case SD_SREG_GLOBALTIMER_LO:
    case SD_SREG_GLOBALTIMER_HI:
        return SREG_DYNAMIC;
    default:
        return SREG_LAUNCH;
    }
}

static unsigned
sreg_bytes(uint32_t sreg)
{
    static const uint8_t bytes[] = {
#define S(id, name, n, comps) n,
        SD_SREGS(S)
#undef S
    };

    return bytes[sreg / 4];
}

/* May the register file hold it before the function starts? */
static bool
sreg_is_preset(const struct lower *lw, uint32_t sreg)
{
    enum sreg_class c = sreg_class(sreg);

    return c == SREG_LAUNCH || (c != SREG_DYNAMIC && lw->f->entry);
}

static uint32_t
sreg_preset(struct lower *lw, uint32_t sreg, unsigned bytes)
{
    return get_preset(lw, (struct sd_preset){.kind = SD_PRE_SREG, .bytes = (uint8_t)bytes,
                                             .value = sreg});
}

/* ---- registers that are only another name of a preset ---- */

static uint32_t
alias_of_param(struct lower *lw, const struct ptx_insn *in, const struct ptx_operand *from,
               uint32_t reg, unsigned element)
{
    enum ptx_type type = (enum ptx_type)in->op->types[0];
    unsigned bytes = ptx_type_bytes(type);
    unsigned width = lower_reg_bytes(lw, reg);
    const struct ptx_pvar *pv = &lw->b->pvars[from->reg];
    uint64_t offset = pv->offset + (uint64_t)from->imm + (uint64_t)element * bytes;

    if (bytes == 0 || bytes > 8 || width == 0 || width > 8 || width < bytes || pv->klass != 0 ||
        from->imm < 0 || offset + bytes > lw->f->param_bytes)
        return 0;
    return get_preset(lw, (struct sd_preset){.kind = SD_PRE_PARAM, .bytes = (uint8_t)width,
                                             .load_bytes = (uint8_t)bytes,
                                             .is_signed = ptx_type_signed(type),
                                             .value = offset});
}

static uint32_t
alias_of_mov(struct lower *lw, const struct ptx_operand *from, unsigned width)
{
    uint64_t value;

    if (from->kind == OPND_SREG && sreg_is_preset(lw, from->reg) &&
        sreg_bytes(from->reg) == width && width >= 4)
        return sreg_preset(lw, from->reg, width);
    if (from->kind == OPND_REG && !from->neg && lw->reg_alias[from->reg] != 0 &&
        lower_reg_bytes(lw, from->reg) == width)
        return lw->reg_alias[from->reg];
    if (width > 0 && width <= 8 && lower_const_value(lw, from, &value)) {
        if (width < 8)
            value &= (1ull << (8 * width)) - 1;
        return get_preset(lw, (struct sd_preset){.kind = SD_PRE_VALUE, .bytes = (uint8_t)width,
                                                 .value = value});
    }
    return 0;
}

/* cvta of a constant address or of an alias in global memory */
static uint32_t
alias_of_cvta(struct lower *lw, const struct ptx_insn *in, const struct ptx_operand *from,
              unsigned width)
{
    enum ptx_space space = lower_space(in->op);
    uint64_t value;

    if (space == SPACE_GLOBAL || space == SPACE_CONST)
        return alias_of_mov(lw, from, width);
    if (width != 8 || ptx_has(in->op, W_to))
        return 0;
    if (from->kind == OPND_REG && lw->reg_alias[from->reg] != 0) {
        const struct sd_preset *p = &lw->presets[lw->reg_alias[from->reg] - 1].p;

        if (p->kind != SD_PRE_VALUE)
            return 0;
        value = p->value;
    } else if (!lower_const_value(lw, from, &value)) {
        return 0;
    }
    if (space == SPACE_SHARED)
        value += SD_WINDOW_SHARED;
    else if (space == SPACE_LOCAL)
        value += SD_WINDOW_LOCAL;
    else
        return 0;
    return get_preset(lw, (struct sd_preset){.kind = SD_PRE_VALUE, .bytes = 8, .value = value});
}

static void
alias_insn(struct lower *lw, const struct ptx_insn *in)
{
    const struct ptx_operand *dst, *src;
    uint32_t alias = 0;
    unsigned i;

    if (in->count != 2)
        return;
    dst = lower_opnd(lw, in, 0);
    src = lower_opnd(lw, in, 1);
    if (lw->f->entry && ptx_root_is(in->op, "ld") && src->address && src->kind == OPND_PARAM) {
        if (dst->kind == OPND_LIST) {
            for (i = 0; i < dst->count; i++) {
                const struct ptx_operand *o = &lw->b->operands[dst->reg + i];

                if (o->kind == OPND_REG && lw->reg_defs[o->reg] == 1)
                    lw->reg_alias[o->reg] = alias_of_param(lw, in, src, o->reg, i);
            }
            return;
        }
        if (dst->kind == OPND_REG && lw->reg_defs[dst->reg] == 1)
            lw->reg_alias[dst->reg] = alias_of_param(lw, in, src, dst->reg, 0);
        return;
    }
    if (dst->kind != OPND_REG || lw->reg_defs[dst->reg] != 1 || src->address)
        return;
    if (ptx_root_is(in->op, "mov"))
        alias = alias_of_mov(lw, src, lower_reg_bytes(lw, dst->reg));
    else if (ptx_root_is(in->op, "cvta"))
        alias = alias_of_cvta(lw, in, src, lower_reg_bytes(lw, dst->reg));
    lw->reg_alias[dst->reg] = alias;
}

/* Is everything that the instruction defines only an alias? Then it is nothing to do. */
static bool
is_alias_insn(const struct lower *lw, const struct ptx_insn *in)
{
    const struct ptx_operand *dst;
    unsigned i;

    if (in->count != 2 || (!ptx_root_is(in->op, "mov") && !ptx_root_is(in->op, "cvta") &&
                           !ptx_root_is(in->op, "ld")))
        return false;
    dst = lower_opnd(lw, in, 0);
    if (dst->kind == OPND_REG)
        return lw->reg_alias[dst->reg] != 0;
    if (dst->kind != OPND_LIST)
        return false;
    for (i = 0; i < dst->count; i++) {
        const struct ptx_operand *o = &lw->b->operands[dst->reg + i];

        if (o->kind == OPND_REG ? lw->reg_alias[o->reg] == 0 : o->kind != OPND_SINK)
            return false;
    }
    return true;
}

/* ---- operands ---- */

bool
lower_const_value(const struct lower *lw, const struct ptx_operand *o, uint64_t *value_p)
{
    uint32_t i;

    switch (o->kind) {
    case OPND_INT:
    case OPND_F32:
    case OPND_F64:
        *value_p = o->bits;
        return true;
    case OPND_FUNC:
        *value_p = ptx_func_address(o->func);
        return true;
    case OPND_VAR:
        if (o->var->space == SPACE_SHARED) {
            *value_p = lower_shared_offset(lw, o->var) + (uint64_t)o->imm;
            return true;
        }
        if (o->var->space == SPACE_LOCAL) {
            if (!lw->f->entry)
                return false;
            for (i = 0; i < lw->nlocals && lw->locals[i].var != o->var; i++)
                ;
            *value_p = lw->locals[i].offset + (uint64_t)o->imm;
            return true;
        }
        *value_p = ptx_var_address(ptx_var_final(o->var)) + (uint64_t)o->imm;
        return true;
    case OPND_PARAM:
        if (!lw->f->entry || lw->b->pvars[o->reg].klass != 0 || o->address)
            return false;
        *value_p = lw->b->pvars[o->reg].offset + (uint64_t)o->imm;
        return true;
    default:
        return false;
    }
}

bool
lower_known_value(const struct lower *lw, const struct ptx_operand *o, unsigned bytes,
                  uint64_t *value_p)
{
    uint64_t v;

    if (o->address || o->neg)
        return false;
    if (o->kind == OPND_REG) {
        const struct sd_preset *p;

        if (lw->reg_alias[o->reg] == 0 || lower_reg_bytes(lw, o->reg) != bytes)
            return false;
        p = &lw->presets[lw->reg_alias[o->reg] - 1].p;
        if (p->kind != SD_PRE_VALUE)
            return false;
        v = p->value;
    } else if (o->kind != OPND_INT) {
        return false;
    } else {
        v = o->bits;
    }
    *value_p = bytes < 8 ? v & ((1ull << (8 * bytes)) - 1) : v;
    return true;
}

unsigned
lower_opnd_bytes(const struct lower *lw, const struct ptx_operand *o, unsigned fallback)
{
    return o->kind == OPND_REG ? lower_reg_bytes(lw, o->reg) : fallback;
}

static uint32_t
reg_row(struct lower *lw, uint32_t reg)
{
    if (lw->reg_alias[reg] != 0)
        return preset_row(lw, lw->reg_alias[reg]);
    return lw->reg_row[reg];
}

static uint32_t
sreg_row(struct lower *lw, uint32_t sreg, unsigned bytes)
{
    uint32_t row;

    if (bytes < 4)
        bytes = 4;
    if (sreg_is_preset(lw, sreg))
        return preset_row(lw, sreg_preset(lw, sreg, bytes));
    row = lower_temp(lw, bytes);
    lower_emit(lw, SD_OP_sreg, bytes, row, sreg, sreg / 4 == SD_SREG_TID, 0, 0);
    return row;
}

/* Immediates are written once and used at the width that the instruction wants. */
static uint64_t
convert_imm(const struct ptx_operand *o, unsigned bytes)
{
    uint64_t v = o->bits;
    double d;
    float f;

    if (o->kind == OPND_F64 && bytes == 4) {
        memcpy(&d, &v, sizeof(d));
        f = (float)d;
        v = 0;
        memcpy(&v, &f, sizeof(f));
    } else if (o->kind == OPND_F32 && bytes == 8) {
        uint32_t low = (uint32_t)v;

        memcpy(&f, &low, sizeof(f));
        d = (double)f;
        memcpy(&v, &d, sizeof(d));
    }
    return v;
}

/* The address of a local variable of a function: it depends on the frame. */
static uint32_t
local_row(struct lower *lw, const struct ptx_operand *o, unsigned bytes)
{
    uint32_t i, row = lower_temp(lw, 8), low;

    for (i = 0; i < lw->nlocals && lw->locals[i].var != o->var; i++)
        ;
    lower_emit(lw, SD_OP_local_addr, 0, row, lw->locals[i].offset + (uint32_t)o->imm, 0, 0, 0);
    if (bytes == 8)
        return row;
    low = lower_temp(lw, 4);
    lower_emit_op(lw, "lo.64", 0, low, row, 0, 0);
    return low;
}

uint32_t
lower_src(struct lower *lw, const struct ptx_insn *in, const struct ptx_operand *o, unsigned bytes)
{
    uint64_t value;
    unsigned width;

    switch (o->kind) {
    case OPND_REG:
        width = lower_reg_bytes(lw, o->reg);
        if (width != bytes || o->neg) {
            lower_fail(lw, in, "operand of %u bytes where %u are needed", width, bytes);
            return ROW_NONE;
        }
        return reg_row(lw, o->reg);
    case OPND_SREG:
        return sreg_row(lw, o->reg, bytes);
    case OPND_VAR:
        if (o->var->space == SPACE_LOCAL && !lw->f->entry)
            return local_row(lw, o, bytes);
        break;
    case OPND_F32:
    case OPND_F64:
    case OPND_INT:
        return lower_const(lw, convert_imm(o, bytes), bytes);
    default:
        break;
    }
    if (lower_const_value(lw, o, &value))
        return lower_const(lw, value, bytes);
    lower_fail(lw, in, "operand that is no value");
    return ROW_NONE;
}

uint32_t
lower_src_as(struct lower *lw, const struct ptx_insn *in, const struct ptx_operand *o,
             unsigned bytes)
{
    unsigned width = lower_opnd_bytes(lw, o, bytes);
    uint32_t row, to;
    char name[32];

    if (width == 0) {
        lower_fail(lw, in, "predicate where a number is needed");
        return ROW_NONE;
    }
    row = lower_src(lw, in, o, width);
    if (width == bytes || row == ROW_NONE)
        return row;
    to = lower_temp(lw, bytes);
    snprintf(name, sizeof(name), "x.u%u.%u.%u", 8 * (width < bytes ? width : bytes), 8 * width,
             8 * bytes);
    return lower_emit_op(lw, name, 0, to, row, 0, 0) ? to : ROW_NONE;
}

uint32_t
lower_dst(struct lower *lw, const struct ptx_insn *in, const struct ptx_operand *o, unsigned bytes)
{
    if (o->kind == OPND_SINK)
        return lower_temp(lw, bytes);
    if (o->kind != OPND_REG || o->neg || o->address) {
        lower_fail(lw, in, "result that is no register");
        return ROW_NONE;
    }
    if (lower_reg_bytes(lw, o->reg) != bytes) {
        lower_fail(lw, in, "result register of %u bytes where %u are needed",
                   lower_reg_bytes(lw, o->reg), bytes);
        return ROW_NONE;
    }
    return lw->reg_row[o->reg] != ROW_NONE ? lw->reg_row[o->reg] : lower_temp(lw, bytes);
}

uint32_t
lower_pred_src(struct lower *lw, const struct ptx_insn *in, const struct ptx_operand *o)
{
    uint32_t row;

    if (o->kind == OPND_INT) {
        row = lower_temp(lw, 0);
        lower_emit(lw, SD_OP_pconst, 0, row, o->imm != 0, 0, 0, 0);
        return row;
    }
    if (o->kind == OPND_SREG && sreg_bytes(o->reg) == 0) {
        uint32_t number = sreg_row(lw, o->reg, 4);

        row = lower_temp(lw, 0);
        return number != ROW_NONE && lower_emit(lw, SD_OP_pset, 0, row, number, 0, 0, 0) != NULL
                   ? row : ROW_NONE;
    }
    if (o->kind != OPND_REG || lower_reg_bytes(lw, o->reg) != 0) {
        lower_fail(lw, in, "operand that is no predicate");
        return ROW_NONE;
    }
    row = lw->reg_row[o->reg];
    if (o->neg) {
        uint32_t t = lower_temp(lw, 0);

        lower_emit(lw, SD_OP_pnot, 0, t, row, row, 0, 0);
        row = t;
    }
    return row;
}

uint32_t
lower_pred_dst(struct lower *lw, const struct ptx_insn *in, const struct ptx_operand *o)
{
    if (o->kind == OPND_SINK)
        return lower_temp(lw, 0);
    if (o->kind != OPND_REG || o->neg || lower_reg_bytes(lw, o->reg) != 0) {
        lower_fail(lw, in, "result that is no predicate");
        return ROW_NONE;
    }
    return lw->reg_row[o->reg];
}

bool
lower_count(struct lower *lw, const struct ptx_insn *in, unsigned min, unsigned max)
{
    if (in->count >= min && in->count <= max)
        return true;
    return lower_fail(lw, in, "%u operands", in->count);
}

/* ---- instructions ---- */

/* A guarded instruction that became one step: only its lanes; otherwise a branch around it. */
static bool
finish_guard(struct lower *lw, uint32_t at, const struct lower_rule *r)
{
    struct sd_insn *g = &lw->out[at];
    unsigned op;

    if (lw->nout == at + 2 && (r->flags & RULE_CONTROL) == 0)
        return true;
    op = SD_OP_cbra;
    g->op = (uint16_t)op;
    g->fn = sd_core_get()->full[op];
    g->flags ^= SD_FL_NEG;
    g->a = lw->nout - at;
    return lower_emit(lw, SD_OP_join, 0, 0, 0, 0, 0, 0) != NULL;
}

static bool
lower_insn(struct lower *lw, const struct ptx_insn *in)
{
    const struct lower_rule *r = lower_rule_of(in->op);
    uint32_t at = lw->nout;

    lw->line = in->line;
    memset(lw->used_temps, 0, sizeof(lw->used_temps));
    if (r == NULL)
        return lower_unsupported(lw, in);
    if (is_alias_insn(lw, in))
        return true;
    if (in->guard >= 0 && !ptx_root_is(in->op, "bra")) {
        if (lower_emit(lw, SD_OP_guard, in->guard_neg ? SD_FL_NEG : 0, 0, 0,
                       lw->reg_row[in->guard], 0, 0) == NULL)
            return false;
        if (!r->lower(lw, in) || lw->cr != CUDA_SUCCESS)
            return false;
        if (lw->nout == at + 1) { /* nothing came of it */
            lw->nout = at;
            return true;
        }
        return finish_guard(lw, at, r);
    }
    return r->lower(lw, in) && lw->cr == CUDA_SUCCESS;
}

bool
lower_jump(struct lower *lw, uint32_t block, int32_t pred_row, bool neg)
{
    bool back = lw->blocks[block].order <= lw->cur_block;
    unsigned op = pred_row < 0 ? (back ? SD_OP_bra_back : SD_OP_bra)
                               : (back ? SD_OP_cbra_back : SD_OP_cbra);

    if (!ptx_grow(&lw->fixups, lw->nfixups, &lw->fixups_cap, sizeof(*lw->fixups)))
        return lower_no_memory(lw);
    lw->fixups[lw->nfixups].insn = lw->nout;
    lw->fixups[lw->nfixups++].block = block;
    return lower_emit(lw, op, neg ? SD_FL_NEG : 0, 0, 0, pred_row < 0 ? 0 : (uint32_t)pred_row, 0,
                      0) != NULL;
}

/* The end of a block: go to where it falls if that is not what comes next. */
static bool
finish_block(struct lower *lw, uint32_t index, uint32_t position)
{
    const struct flow_block *blk = &lw->blocks[index];
    const struct ptx_insn *last = blk->last > blk->first ? &lw->b->insns[blk->last - 1] : NULL;
    const struct lower_rule *r = last != NULL ? lower_rule_of(last->op) : NULL;

    if (r != NULL && (r->flags & RULE_ENDS) != 0 && last->guard < 0)
        return true;
    if (index + 1 == lw->nblocks)
        return lower_emit(lw, SD_OP_ret, 0, 0, 0, 0, 0, 0) != NULL;
    if (position + 1 < lw->norder && lw->order[position + 1] == index + 1)
        return true;
    return lower_jump(lw, index + 1, -1, false);
}

static bool
lower_blocks(struct lower *lw)
{
    uint32_t i, j;

    for (i = 0; i < lw->norder; i++) {
        struct flow_block *blk = &lw->blocks[lw->order[i]];

        lw->cur_block = i;
        blk->start = lw->nout;
        if (blk->first < lw->b->ninsns)
            lw->line = lw->b->insns[blk->first].line;
        if (blk->join && lower_emit(lw, SD_OP_join, 0, 0, 0, 0, 0, 0) == NULL)
            return false;
        if (i == 0 && !lower_entry(lw))
            return false;
        for (j = blk->first; j < blk->last; j++)
            if (!lower_insn(lw, &lw->b->insns[j]))
                return false;
        if (!finish_block(lw, lw->order[i], i))
            return false;
    }
    for (i = 0; i < lw->nfixups; i++) {
        struct sd_insn *o = &lw->out[lw->fixups[i].insn];
        uint32_t target = lw->blocks[lw->fixups[i].block].start;

        o->a = target - lw->fixups[i].insn;
    }
    return true;
}

/* ---- the function ---- */

static bool
place_locals(struct lower *lw)
{
    uint64_t at = 0;
    uint32_t i;

    for (i = 0; i < lw->b->nvars; i++) {
        const struct ptx_var *v = lw->b->vars[i];

        if (v->space != SPACE_LOCAL)
            continue;
        if (!ptx_grow(&lw->locals, lw->nlocals, &lw->locals_cap, sizeof(*lw->locals)))
            return lower_no_memory(lw);
        at = gp_align_up_u64(at, v->align);
        lw->locals[lw->nlocals++] = (struct lower_var){v, (uint32_t)at};
        at += v->bytes;
        if (at > 512u << 10)
            return fail(lw, CUDA_ERROR_INVALID_PTX, NULL, "more than 512 KiB of local memory");
    }
    lw->local_bytes = (uint32_t)gp_align_up_u64(at, 16);
    return true;
}

/* Launch-wide presets first, then those of a warp, then those of a block. */
static bool
collect_presets(struct lower *lw)
{
    struct sd_fn *fn = lw->fn;
    uint32_t i, n = 0;
    unsigned pass;

    for (i = 0; i < lw->npresets; i++)
        n += lw->presets[i].used;
    fn->presets = calloc((size_t)n + 1, sizeof(*fn->presets));
    if (fn->presets == NULL)
        return lower_no_memory(lw);
    for (n = 0, pass = 0; pass < 3; pass++) {
        for (i = 0; i < lw->npresets; i++) {
            const struct lower_preset *p = &lw->presets[i];
            unsigned when = 0;

            if (p->p.kind == SD_PRE_SREG) {
                enum sreg_class c = sreg_class((uint32_t)p->p.value);

                when = c == SREG_WARP ? 1 : c == SREG_BLOCK ? 2 : 0;
            }
            if (!p->used || when != pass)
                continue;
            fn->presets[n++] = p->p;
            if (pass == 0)
                fn->nlaunch++;
            else if (pass == 1)
                fn->nwarp++;
            else
                fn->nblock++;
        }
    }
    return true;
}

static bool
lower_all(struct lower *lw)
{
    const struct ptx_body *b = lw->b;
    uint32_t i;

    lw->reg_alias = calloc((size_t)b->nregs + 1, sizeof(uint32_t));
    if (lw->reg_alias == NULL)
        return lower_no_memory(lw);
    if (!lower_flow(lw) || !lower_refs(lw) || !place_locals(lw))
        return false;
    for (i = 0; i < b->ninsns; i++)
        alias_insn(lw, &b->insns[i]);
    lw->rows_end = 64; /* no row is 0 */
    /* Rows of the calling convention, one per 32-bit word. */
    lw->param_row = lw->rows_end;
    if (!lw->f->entry)
        lw->rows_end += (lw->f->param_bytes + 3) / 4 * 128;
    lw->ret_row = lw->rows_end;
    lw->rows_end += (lw->f->ret_bytes + 3) / 4 * 128;
    lw->call_row = lw->rows_end;
    lw->rows_end += (b->call_param_bytes + 3) / 4 * 128;
    return lower_rows(lw) && lower_blocks(lw) && collect_presets(lw);
}

static void
move_out(struct lower *lw)
{
    struct sd_fn *fn = lw->fn;
    uint32_t registers = lw->peak_words + 8;

    fn->insns = lw->out;
    fn->lines = lw->lines;
    fn->ninsns = lw->nout;
    fn->extra = lw->extra;
    fn->nextra = lw->nextra;
    fn->sites = lw->sites;
    fn->nsites = lw->nsites;
    fn->copies = lw->copies;
    fn->ncopies = lw->ncopies;
    fn->frame_bytes = lw->rows_end < 64 ? 64 : lw->rows_end;
    fn->param_row = lw->param_row;
    fn->ret_row = lw->ret_row;
    fn->param_bytes = lw->f->param_bytes;
    fn->ret_bytes = lw->f->ret_bytes;
    fn->local_bytes = lw->local_bytes;
    fn->registers = registers > 255 ? 255 : registers;
    fn->ptx_index = lw->f->index;
}

bool
lower_function(struct lower_kernel *k, struct ptx_func *f, struct sd_fn *fn, CUresult *cr_p)
{
    struct lower lw = {.k = k, .f = f, .b = f->body, .fn = fn};
    bool ok = lower_all(&lw);

    if (ok) {
        move_out(&lw);
    } else {
        free(lw.out);
        free(lw.lines);
        free(lw.extra);
        free(lw.sites);
        free(lw.copies);
        *cr_p = lw.cr != CUDA_SUCCESS ? lw.cr : CUDA_ERROR_INVALID_PTX;
    }
    free(lw.blocks);
    free(lw.succs);
    free(lw.order);
    free(lw.label_block);
    free(lw.refs);
    free(lw.refs_at);
    free(lw.reg_row);
    free(lw.reg_alias);
    free(lw.reg_defs);
    free(lw.presets);
    free(lw.preset_table);
    free(lw.fixups);
    free(lw.locals);
    return ok;
}
