/* backend/driver/soft/ptx/lower_mem.c -- ld, st, atom, red, prefetch */
#include "backend/driver/soft/ptx/lower.h"

#include "backend/driver/soft/exec/async.h"
#include "backend/driver/soft/exec/atom.h"
#include "backend/driver/soft/exec/multimem.h"

#include <stdio.h>
#include <string.h>

/* What an access that programs may wait with takes from the budget. */
#define HINT_ATOM   1500u
#define HINT_GLOBAL 500u
#define HINT_SHARED 100u

enum ptx_space
lower_space(const struct ptx_opcode *op)
{
    if (ptx_has(op, W_global))
        return SPACE_GLOBAL;
    if (ptx_has(op, W_shared) || ptx_has(op, W_shared_cta) || ptx_has(op, W_shared_cluster))
        return SPACE_SHARED;
    if (ptx_has(op, W_local))
        return SPACE_LOCAL;
    if (ptx_has(op, W_const))
        return SPACE_CONST;
    if (ptx_has(op, W_param) || ptx_has(op, W_param_entry) || ptx_has(op, W_param_func))
        return SPACE_PARAM;
    return SPACE_NONE;
}

bool
lower_address(struct lower *lw, const struct ptx_insn *in, const struct ptx_operand *o,
              enum ptx_space space, uint32_t *row_p, int32_t *offset_p)
{
    struct ptx_operand base = *o;
    bool shared = space == SPACE_SHARED;
    int64_t offset = o->imm;
    uint32_t row, t;

    if (!o->address)
        return lower_fail(lw, in, "operand that is no address");
    base.address = 0;
    base.imm = 0;
    if (o->kind == OPND_INT) {
        base.imm = o->imm;
        offset = 0;
    }
    if (o->kind == OPND_VAR) {
        base.imm = o->imm;
        offset = 0;
    }
    if (shared && lower_opnd_bytes(lw, &base, 4) == 8) {
        row = lower_src(lw, in, &base, 8);
        t = lower_temp(lw, 4);
        lower_emit_op(lw, "clamp32", 0, t, row, 0, 0);
        row = t;
    } else {
        row = lower_src_as(lw, in, &base, shared ? 4 : 8);
    }
    if (row == ROW_NONE)
        return false;
    if (space == SPACE_PARAM) { /* an address in the kernel's parameters */
        t = lower_temp(lw, 8);
        lower_emit_op(lw, "add.u64", 0, t, row, lower_const(lw, SD_WINDOW_PARAM, 8), 0);
        row = t;
    }
    if (offset != (int32_t)offset) {
        t = lower_temp(lw, shared ? 4 : 8);
        lower_emit_op(lw, shared ? "add.u32" : "add.u64", 0, t, row,
                      lower_const(lw, (uint64_t)offset, shared ? 4 : 8), 0);
        row = t;
        offset = 0;
    }
    *row_p = row;
    *offset_p = (int32_t)offset;
    return true;
}

static int
space_index(enum ptx_space space)
{
    switch (space) {
    case SPACE_GLOBAL:
    case SPACE_CONST: return 0;
    case SPACE_SHARED: return 1;
    case SPACE_LOCAL: return 2;
    default: return 3;
    }
}

/* The operation of an element of `bytes` (signed or not) and a register of `width` bytes; -1. */
static int
load_op(unsigned bytes, bool is_signed, unsigned width)
{
    switch (bytes * 100 + width * 10 + (is_signed && width > bytes)) {
    case 120: return SD_OP_ld_g_u8_16;
    case 140: return SD_OP_ld_g_u8_32;
    case 180: return SD_OP_ld_g_u8_64;
    case 121: return SD_OP_ld_g_s8_16;
    case 141: return SD_OP_ld_g_s8_32;
    case 181: return SD_OP_ld_g_s8_64;
    case 220: return SD_OP_ld_g_u16_16;
    case 240: return SD_OP_ld_g_u16_32;
    case 280: return SD_OP_ld_g_u16_64;
    case 241: return SD_OP_ld_g_s16_32;
    case 281: return SD_OP_ld_g_s16_64;
    case 440: return SD_OP_ld_g_u32_32;
    case 480: return SD_OP_ld_g_u32_64;
    case 481: return SD_OP_ld_g_s32_64;
    case 880: return SD_OP_ld_g_u64_64;
    default: return -1;
    }
}

static int
store_op(unsigned bytes, unsigned width)
{
    switch (bytes * 100 + width * 10) {
    case 120: return SD_OP_st_g_u8_16;
    case 140: return SD_OP_st_g_u8_32;
    case 180: return SD_OP_st_g_u8_64;
    case 220: return SD_OP_st_g_u16_16;
    case 240: return SD_OP_st_g_u16_32;
    case 280: return SD_OP_st_g_u16_64;
    case 440: return SD_OP_st_g_u32_32;
    case 480: return SD_OP_st_g_u32_64;
    case 880: return SD_OP_st_g_u64_64;
    default: return -1;
    }
}

static bool
is_strong(const struct ptx_opcode *op)
{
    return ptx_has(op, W_volatile) || ptx_has(op, W_relaxed) || ptx_has(op, W_acquire) ||
           ptx_has(op, W_release) || ptx_has(op, W_mmio);
}

static unsigned
access_flags(const struct ptx_opcode *op)
{
    return (is_strong(op) ? SD_FL_STRONG : 0) | (lower_in_cluster(op) ? SD_FL_CLUSTER : 0);
}

/* ---- parameters of functions and calls: rows of 32-bit words ---- */

static uint32_t
pvar_row(const struct lower *lw, const struct ptx_pvar *v, uint64_t at)
{
    uint32_t base = v->klass == 0 ? lw->param_row : v->klass == 1 ? lw->ret_row : lw->call_row;

    return base + (uint32_t)((v->offset + at) / 4 * 128);
}

/* Byte at of a variable holds an element of a type that must not cross a word, or be whole words. */
static bool
pvar_check(struct lower *lw, const struct ptx_insn *in, const struct ptx_pvar *v, int64_t at,
           unsigned bytes)
{
    if (at < 0 || (uint64_t)at + bytes > v->bytes)
        return lower_fail(lw, in, "access outside of a parameter");
    if (bytes >= 4 ? (v->offset + (uint64_t)at) % 4 != 0
                   : (v->offset + (uint64_t)at) % 4 + bytes > 4)
        return lower_fail(lw, in, "misaligned access to a parameter");
    return true;
}

static bool
pvar_load(struct lower *lw, const struct ptx_insn *in, const struct ptx_pvar *v, int64_t at,
          unsigned type, uint32_t dst, unsigned width)
{
    unsigned bytes = ptx_type_bytes((enum ptx_type)type);
    uint32_t row, t;
    char name[32];
    unsigned shift;

    if (!pvar_check(lw, in, v, at, bytes))
        return false;
    row = pvar_row(lw, v, (uint64_t)at);
    if (bytes == 8 && width == 8)
        return lower_emit_op(lw, "pack.64", 0, dst, row, row + 128, 0);
    if (bytes == 4 && width == 4)
        return lower_emit_op(lw, "mov.b32", 0, dst, row, 0, 0);
    if (bytes > 4 || width > 8 || width < 2)
        return lower_unsupported(lw, in);
    shift = (unsigned)((v->offset + (uint64_t)at) % 4) * 8;
    if (shift != 0) {
        t = lower_temp(lw, 4);
        lower_emit_op(lw, "shr.u32", 0, t, row, lower_const(lw, shift, 4), 0);
        row = t;
    }
    snprintf(name, sizeof(name), "x.%c%u.32.%u",
             ptx_type_signed((enum ptx_type)type) && width > bytes ? 's' : 'u', 8 * bytes,
             8 * width);
    return lower_emit_op(lw, name, 0, dst, row, 0, 0);
}

static bool
pvar_store(struct lower *lw, const struct ptx_insn *in, const struct ptx_pvar *v, int64_t at,
           unsigned type, uint32_t src, unsigned width)
{
    unsigned bytes = ptx_type_bytes((enum ptx_type)type);
    const struct lower_op *bfi = lower_op_find("bfi.b32");
    uint32_t row, t = src;
    char name[32];
    unsigned shift;

    if (!pvar_check(lw, in, v, at, bytes))
        return false;
    row = pvar_row(lw, v, (uint64_t)at);
    if (bytes == 8 && width == 8)
        return lower_emit_op(lw, "lo.64", 0, row, src, 0, 0) &&
               lower_emit_op(lw, "hi.64", 0, row + 128, src, 0, 0);
    if (bytes == 4 && width == 4)
        return lower_emit_op(lw, "mov.b32", 0, row, src, 0, 0);
    if (bytes > 4 || width > 8 || width < 2)
        return lower_unsupported(lw, in);
    if (width != 4) {
        t = lower_temp(lw, 4);
        snprintf(name, sizeof(name), "x.u%u.%u.32", width < 4 ? 8 * width : 32, 8 * width);
        lower_emit_op(lw, name, 0, t, src, 0, 0);
    }
    if (bytes == 4)
        return lower_emit_op(lw, "mov.b32", 0, row, t, 0, 0);
    shift = (unsigned)((v->offset + (uint64_t)at) % 4) * 8;
    return lower_emit(lw, bfi->op, 0, row, t, row, lower_const(lw, shift, 4),
                      lower_const(lw, 8 * bytes, 4)) != NULL;
}

/* Elements of a value operand: one register, a list, or the halves of a b128. */
static unsigned
elements(const struct lower *lw, const struct ptx_operand *o, const struct ptx_operand **first_p)
{
    *first_p = o->kind == OPND_LIST ? &lw->b->operands[o->reg] : o;
    return o->kind == OPND_LIST ? o->count : 1;
}

static bool
param_access(struct lower *lw, const struct ptx_insn *in, bool load)
{
    const struct ptx_operand *addr = lower_opnd(lw, in, load ? 1 : 0);
    const struct ptx_operand *value = lower_opnd(lw, in, load ? 0 : 1), *e;
    unsigned type = in->op->types[0], bytes = ptx_type_bytes((enum ptx_type)type);
    const struct ptx_pvar *v = &lw->b->pvars[addr->reg];
    unsigned n = elements(lw, value, &e), i;

    if (bytes == 16) /* as two halves is not needed by any compiler */
        return lower_unsupported(lw, in);
    for (i = 0; i < n; i++, e++) {
        unsigned width = lower_opnd_bytes(lw, e, lower_type_bytes(type));
        int64_t at = addr->imm + (int64_t)i * bytes;
        uint32_t row;

        if (load && e->kind == OPND_SINK)
            continue;
        row = load ? lower_dst(lw, in, e, width) : lower_src(lw, in, e, width);
        if (row == ROW_NONE)
            return false;
        if (!(load ? pvar_load(lw, in, v, at, type, row, width)
                   : pvar_store(lw, in, v, at, type, row, width)))
            return false;
    }
    return true;
}

/* A kernel's own parameter at a constant place: as a generic load from its window. */
static bool
entry_param(const struct lower *lw, const struct ptx_operand *addr)
{
    return lw->f->entry && addr->kind == OPND_PARAM && lw->b->pvars[addr->reg].klass == 0;
}

/* ---- ld and st ---- */

/* Rows of the elements; false after an error. A b128 counts as two elements. */
static bool
value_rows(struct lower *lw, const struct ptx_insn *in, const struct ptx_operand *value, bool load,
           uint32_t rows[16], unsigned *n_p, unsigned *width_p)
{
    unsigned type = in->op->types[0];
    const struct ptx_operand *e;
    unsigned n = elements(lw, value, &e), i, total = 0;
    unsigned width = 0;

    for (i = 0; i < n; i++, e++) {
        unsigned w = lower_opnd_bytes(lw, e, lower_type_bytes(type));
        uint32_t row;

        if (w == 0 || n > 8)
            return lower_fail(lw, in, "bad operands");
        if (e->kind == OPND_SINK && load && n > 1) {
            rows[total++] = UINT32_MAX;
            continue;
        }
        row = load ? lower_dst(lw, in, e, w) : lower_src(lw, in, e, w);
        if (row == ROW_NONE)
            return false;
        if (width == 0)
            width = w;
        if (width != w) /* constants and registers of one size */
            return lower_fail(lw, in, "vector elements of different sizes");
        rows[total++] = row;
        if (w == 16)
            rows[total++] = row + 256;
    }
    *n_p = total;
    *width_p = width == 16 || width == 0 ? 8 : width;
    return true;
}

static bool
check_vector(struct lower *lw, const struct ptx_insn *in, unsigned n, unsigned bytes)
{
    unsigned vec = ptx_has(in->op, W_v2) ? 2 : ptx_has(in->op, W_v4) ? 4
                   : ptx_has(in->op, W_v8) ? 8 : 1;

    if (ptx_type_bytes((enum ptx_type)in->op->types[0]) == 16)
        vec *= 2;
    if (n != vec || n * bytes > 32)
        return lower_fail(lw, in, "%u elements of %u bytes", n, bytes);
    return true;
}

static bool
emit_hint(struct lower *lw, uint32_t cost)
{
    return lower_emit(lw, SD_OP_hint, 0, 0, cost, 0, 0, 0) != NULL;
}

static bool
lower_ld(struct lower *lw, const struct ptx_insn *in)
{
    const struct ptx_opcode *op = in->op;
    enum ptx_space space = lower_space(op);
    const struct ptx_operand *addr;
    unsigned bytes, n, width, i;
    uint32_t rows[16], row, at = 0, site;
    int32_t offset;
    int code;

    if (op->unknown || op->ntypes != 1 || op->types[0] == PT_PRED || in->count < 2)
        return lower_unsupported(lw, in);
    addr = lower_opnd(lw, in, 1);
    if (space == SPACE_PARAM && addr->kind == OPND_PARAM && !entry_param(lw, addr))
        return param_access(lw, in, true);
    bytes = ptx_type_bytes((enum ptx_type)op->types[0]);
    if (bytes == 16)
        bytes = 8;
    if (!value_rows(lw, in, lower_opnd(lw, in, 0), true, rows, &n, &width) ||
        !check_vector(lw, in, n, bytes) || !lower_address(lw, in, addr, space, &row, &offset))
        return false;
    code = load_op(bytes, ptx_type_signed((enum ptx_type)op->types[0]), width);
    if (code < 0)
        return lower_fail(lw, in, "register of the wrong size");
    /* A vector's first elements must not destroy the address. */
    for (i = 0; n > 1 && i < n; i++)
        if (rows[i] == row) {
            uint32_t t = lower_temp(lw, 8);

            lower_emit_op(lw, "mov.b64", 0, t, row, 0, 0);
            row = t;
        }
    if (n > 1 && !lower_extra(lw, rows, n, &at))
        return false;
    site = lw->k->code->nsites++;
    if (lower_emit(lw, (unsigned)(code + space_index(space)),
                   n | access_flags(op), n > 1 ? at : rows[0], row, 0,
                   (uint32_t)offset, site) == NULL)
        return false;
    return !is_strong(op) ||
           emit_hint(lw, space == SPACE_SHARED ? HINT_SHARED : HINT_GLOBAL);
}

static bool
lower_st(struct lower *lw, const struct ptx_insn *in)
{
    const struct ptx_opcode *op = in->op;
    enum ptx_space space = lower_space(op);
    const struct ptx_operand *addr;
    unsigned bytes, n, width;
    uint32_t rows[16], row, at = 0, site;
    int32_t offset;
    int code;

    if (op->unknown || op->ntypes != 1 || op->types[0] == PT_PRED || in->count < 2)
        return lower_unsupported(lw, in);
    if (ptx_has(op, W_async))
        return lower_store_async(lw, in, SD_ASYNC_STORE, 0);
    addr = lower_opnd(lw, in, 0);
    if (space == SPACE_PARAM) {
        if (addr->kind != OPND_PARAM || entry_param(lw, addr))
            return lower_unsupported(lw, in);
        return param_access(lw, in, false);
    }
    bytes = ptx_type_bytes((enum ptx_type)op->types[0]);
    if (bytes == 16)
        bytes = 8;
    if (!value_rows(lw, in, lower_opnd(lw, in, 1), false, rows, &n, &width) ||
        !check_vector(lw, in, n, bytes) || !lower_address(lw, in, addr, space, &row, &offset))
        return false;
    code = store_op(bytes, width);
    if (code < 0 || space == SPACE_CONST)
        return lower_fail(lw, in, "store of the wrong kind");
    if (n > 1 && !lower_extra(lw, rows, n, &at))
        return false;
    site = lw->k->code->nsites++;
    return lower_emit(lw, (unsigned)(code + space_index(space)),
                      n | access_flags(op), 0, row, n > 1 ? at : rows[0],
                      (uint32_t)offset, site) != NULL;
}

/* ---- atom and red ---- */

static int
atom_operation(const struct ptx_opcode *op)
{
    static const struct {
        enum ptx_word word;
        enum sd_atom_op op;
    } words[] = {
        {W_cas, SD_ATOM_CAS}, {W_exch, SD_ATOM_EXCH}, {W_add, SD_ATOM_ADD}, {W_and, SD_ATOM_AND},
        {W_or, SD_ATOM_OR},   {W_xor, SD_ATOM_XOR},   {W_min, SD_ATOM_MIN}, {W_max, SD_ATOM_MAX},
        {W_inc, SD_ATOM_INC}, {W_dec, SD_ATOM_DEC},
    };
    unsigned i;

    for (i = 0; i < GP_ARRAY_LEN(words); i++)
        if (ptx_has(op, words[i].word))
            return (int)words[i].op;
    return -1;
}

static int
atom_type(unsigned type)
{
    switch (type) {
    case PT_B16: case PT_U16: return SD_ATOM_B16;
    case PT_B32: case PT_U32: return SD_ATOM_U32;
    case PT_S32: return SD_ATOM_S32;
    case PT_B64: case PT_U64: return SD_ATOM_U64;
    case PT_S64: return SD_ATOM_S64;
    case PT_F32: return SD_ATOM_F32;
    case PT_F64: return SD_ATOM_F64;
    case PT_F16: return SD_ATOM_F16;
    case PT_F16X2: return SD_ATOM_F16X2;
    case PT_BF16: return SD_ATOM_BF16;
    case PT_BF16X2: return SD_ATOM_BF16X2;
    case PT_B128: return SD_ATOM_B128;
    default: return -1;
    }
}

bool
lower_atom_kind(const struct ptx_opcode *op, unsigned *op_p, unsigned *type_p)
{
    int operation = atom_operation(op), type = op->ntypes == 1 ? atom_type(op->types[0]) : -1;

    if (operation < 0 || type < 0 ||
        !sd_atom_known((enum sd_atom_op)operation, (enum sd_atom_type)type))
        return false;
    *op_p = (unsigned)operation;
    *type_p = (unsigned)type;
    return true;
}

/* One element: value and result (NULL: none wanted) at byte `at` behind the address. */
static bool
atom_element(struct lower *lw, const struct ptx_insn *in, unsigned first, unsigned at,
             const struct ptx_operand *value_o, const struct ptx_operand *dst_o)
{
    const struct ptx_opcode *op = in->op;
    enum ptx_space space = lower_space(op);
    int operation = atom_operation(op), type = atom_type(op->types[0]);
    unsigned bytes = lower_type_bytes(op->types[0]);
    uint32_t extra[6] = {0}, row, value, where, dst = 0, compare = 0;
    struct ptx_operand address = *lower_opnd(lw, in, first);
    int32_t offset;

    address.imm += at;
    if (!lower_address(lw, in, &address, space, &row, &offset))
        return false;
    value = lower_src(lw, in, value_o, bytes);
    if (operation == SD_ATOM_CAS) {
        compare = value;
        value = lower_src(lw, in, lower_opnd(lw, in, first + 2), bytes);
    }
    if (dst_o != NULL)
        dst = dst_o->kind == OPND_SINK ? lower_temp(lw, bytes) : lower_dst(lw, in, dst_o, bytes);
    if (value == ROW_NONE || compare == ROW_NONE || dst == ROW_NONE)
        return false;
    extra[0] = (uint32_t)operation;
    extra[1] = (uint32_t)type;
    extra[2] = lower_in_cluster(op) ? 4 : (uint32_t)space_index(space);
    extra[3] = compare;
    extra[4] = lw->k->code->nsites++;
    extra[5] = dst_o != NULL;
    return lower_extra(lw, extra, 6, &where) &&
           lower_emit(lw, SD_OP_atom, 0, dst, row, value, (uint32_t)offset, where) != NULL;
}

static bool
lower_atom(struct lower *lw, const struct ptx_insn *in)
{
    const struct ptx_opcode *op = in->op;
    bool red = ptx_root_is(op, "red");
    unsigned first = red ? 0 : 1, i, n, need, operation, type;
    const struct ptx_operand *value, *dst = NULL;

    if (op->unknown || !lower_atom_kind(op, &operation, &type))
        return lower_unsupported(lw, in);
    if (ptx_has(op, W_async))
        return red && operation != SD_ATOM_EXCH && operation != SD_ATOM_CAS
                   ? lower_store_async(lw, in, operation, type) : lower_unsupported(lw, in);
    need = first + (operation == SD_ATOM_CAS ? 3 : 2);
    /* A cache policy may follow. */
    if (!lower_count(lw, in, need, need + ptx_has(op, W_l2_hint)))
        return false;
    n = elements(lw, lower_opnd(lw, in, first + 1), &value);
    if (!red && elements(lw, lower_opnd(lw, in, 0), &dst) != n &&
        lower_opnd(lw, in, 0)->kind != OPND_SINK)
        return lower_fail(lw, in, "vectors of different lengths");
    for (i = 0; i < n; i++)
        if (!atom_element(lw, in, first, i * lower_type_bytes(op->types[0]), &value[i],
                          dst == NULL || lower_opnd(lw, in, 0)->kind == OPND_SINK ? dst : &dst[i]))
            return false;
    return red || emit_hint(lw, HINT_ATOM);
}

/* ---- memory of several devices at once ---- */

/* multimem.ld_reduce d, [a]; multimem.st [a], b; multimem.red [a], b; vectors of them */
static bool
lower_multimem(struct lower *lw, const struct ptx_insn *in)
{
    const struct ptx_opcode *op = in->op;
    bool load = ptx_has(op, W_ld_reduce), st = ptx_has(op, W_op_st);
    int operation = atom_operation(op), type;
    uint32_t extra[SD_MM_ROWS + 8] = {0}, row, where;
    const struct ptx_operand *value;
    unsigned n, bytes;
    int32_t offset;

    if (op->unknown || op->ntypes != 1 || load + st + ptx_has(op, W_red) != 1 || st == (operation >= 0))
        return lower_unsupported(lw, in);
    type = atom_type(op->types[0]);
    bytes = lower_type_bytes(op->types[0]);
    if (type < 0 || bytes > 8 ||
        (!st && !sd_atom_known((enum sd_atom_op)operation, (enum sd_atom_type)type)))
        return lower_unsupported(lw, in);
    if (!lower_count(lw, in, 2, 2))
        return false;
    n = elements(lw, lower_opnd(lw, in, load ? 0 : 1), &value);
    if (n > 8 || n * bytes > 16 || (n & (n - 1)) != 0)
        return lower_unsupported(lw, in);
    if (!lower_address(lw, in, lower_opnd(lw, in, load ? 1 : 0), SPACE_GLOBAL, &row, &offset))
        return false;
    extra[SD_MM_KIND] = load ? SD_MULTIMEM_LD_REDUCE : st ? SD_MULTIMEM_ST : SD_MULTIMEM_RED;
    extra[SD_MM_OP] = (uint32_t)operation;
    extra[SD_MM_TYPE] = (uint32_t)type;
    extra[SD_MM_COUNT] = n;
    extra[SD_MM_BYTES] = bytes;
    extra[SD_MM_WIDE] = load && operation == SD_ATOM_ADD && ptx_has(op, W_acc_f32);
    for (unsigned i = 0; i < n; i++) {
        extra[SD_MM_ROWS + i] =
            load ? lower_dst(lw, in, &value[i], bytes) : lower_src(lw, in, &value[i], bytes);
        if (extra[SD_MM_ROWS + i] == ROW_NONE)
            return false;
    }
    return lower_extra(lw, extra, SD_MM_ROWS + n, &where) &&
           lower_emit(lw, SD_OP_multimem, 0, 0, row, 0, (uint32_t)offset, where) != NULL;
}

/* prefetch, discard, applypriority: nothing that a program can see */
static bool
lower_nothing(struct lower *lw, const struct ptx_insn *in)
{
    (void)in;
    return lw->cr == CUDA_SUCCESS;
}

const struct lower_rule lower_mem_rules[] = {
    {"ld", lower_ld, 0},
    {"ldu", lower_ld, 0},
    {"st", lower_st, RULE_NO_DST},
    {"atom", lower_atom, 0},
    {"red", lower_atom, RULE_NO_DST},
    {"multimem", lower_multimem, 0},
    {"prefetch", lower_nothing, RULE_NO_DST},
    {"prefetchu", lower_nothing, RULE_NO_DST},
    {"discard", lower_nothing, RULE_NO_DST},
    {"applypriority", lower_nothing, RULE_NO_DST},
    {NULL, NULL, 0},
};
