/* backend/driver/soft/ptx/body.c -- statements and operands of one function */
#include "backend/driver/soft/ptx/parse_priv.h"
#include "backend/driver/soft/ptx/sregs.h"

#include <string.h>

#define REGS_MAX      (1u << 22)
#define SCOPES_MAX    (1u << 16)
#define DEPTH_MAX     200u
#define CALL_AREA_MAX (1u << 20)

struct body_parser {
    struct ptx_parser ps;
    struct ptx_body *b;
    struct ptx_arena arena;     /* local symbols */
    struct ptx_symtab locals;
    struct ptx_sym **added;     /* local symbols in order of entry, to leave scopes */
    uint32_t nadded, added_cap;
    struct ptx_symtab labels;   /* first: scope, count: label */
    uint32_t *parents;          /* of scopes */
    uint32_t nscopes, scopes_cap;
    uint32_t scope;
    uint32_t call_at;           /* next byte of the area of call parameters */
    struct ptx_operand *tmp;    /* operands being collected */
    uint32_t ntmp, tmp_cap;
    uint32_t pending_from;      /* labels from here on wait for the next instruction */
};

static bool
add_local(struct body_parser *bp, struct ptx_name name, enum ptx_sym_kind kind, uint32_t first,
          uint32_t count, void *object)
{
    struct ptx_sym *s = ptx_sym_add(&bp->arena, &bp->locals, name, kind, object);

    if (s == NULL || !ptx_grow(&bp->added, bp->nadded, &bp->added_cap, sizeof(*bp->added)))
        return ptx_fail_memory(&bp->ps);
    s->first = first;
    s->count = count;
    bp->added[bp->nadded++] = s;
    return true;
}

/* Forget local names entered after the first n; the newest is first in its bucket. */
static void
leave_names(struct body_parser *bp, uint32_t n)
{
    while (bp->nadded > n) {
        struct ptx_sym *s = bp->added[--bp->nadded];

        bp->locals.buckets[s->hash & (bp->locals.nbuckets - 1)] = s->next;
    }
}

static bool
add_regs(struct body_parser *bp, enum ptx_type type, uint32_t n, uint32_t *first_p)
{
    struct ptx_body *b = bp->b;
    uint32_t i;

    if (n > REGS_MAX - b->nregs)
        return ptx_fail(&bp->ps, "too many registers");
    *first_p = b->nregs;
    for (i = 0; i < n; i++) {
        if (!ptx_grow(&b->regs, b->nregs, &b->regs_cap, sizeof(*b->regs)))
            return ptx_fail_memory(&bp->ps);
        b->regs[b->nregs++].type = (uint8_t)type;
    }
    return true;
}

static bool
add_pvar(struct body_parser *bp, const struct ptx_param *p, unsigned klass, uint32_t offset)
{
    struct ptx_body *b = bp->b;
    struct ptx_pvar v = {.bytes = p->bytes, .align = p->align, .offset = offset,
                         .klass = (uint8_t)klass, .type = (uint8_t)p->type, .reg = -1};
    uint32_t reg = 0;

    if (!ptx_grow(&b->pvars, b->npvars, &b->pvars_cap, sizeof(*b->pvars)))
        return ptx_fail_memory(&bp->ps);
    if (p->in_register) {
        if (!add_regs(bp, p->type, 1, &reg) || !add_local(bp, p->name, SYM_REG, reg, 1, NULL))
            return false;
        v.reg = (int32_t)reg;
    } else if (p->name.len > 0 && !add_local(bp, p->name, SYM_PVAR, b->npvars, 1, NULL)) {
        return false;
    }
    b->pvars[b->npvars++] = v;
    return true;
}

/* ---- declarations ---- */

/* .reg .b32 %r<5>, %x; */
static bool
parse_regs(struct body_parser *bp)
{
    struct ptx_parser *ps = &bp->ps;
    struct ptx_var_head head = {.space = SPACE_REG};
    struct ptx_name name;
    uint32_t first = 0;
    int64_t n;

    ptx_lex_next(&ps->lx);
    if (!ptx_parse_var_head(ps, &head))
        return false;
    if (head.vec != 1)
        return ptx_fail(ps, "vector registers are not supported");
    do {
        if (!ptx_expect_name(ps, &name))
            return false;
        n = 1;
        if (ptx_accept(ps, '<')) {
            if (ps->lx.tok.kind != TOK_INT)
                return ptx_fail(ps, "expected a number of registers");
            n = (int64_t)ps->lx.tok.u64;
            ptx_lex_next(&ps->lx);
            if (n < 0 || n > REGS_MAX)
                return ptx_fail(ps, "too many registers");
            if (!ptx_expect(ps, '>') || !add_regs(bp, head.type, (uint32_t)n, &first) ||
                !add_local(bp, name, SYM_REG_RANGE, first, (uint32_t)n, NULL))
                return false;
        } else if (!add_regs(bp, head.type, 1, &first) ||
                   !add_local(bp, name, SYM_REG, first, 1, NULL)) {
            return false;
        }
    } while (ptx_accept(ps, ','));
    return ptx_expect(ps, ';');
}

static bool
parse_call_params(struct body_parser *bp)
{
    struct ptx_parser *ps = &bp->ps;
    struct ptx_param p = {0};

    if (!ptx_parse_param(ps, &p))
        return false;
    bp->call_at = (uint32_t)gp_align_up_u64(bp->call_at, p.align < 4 ? 4 : p.align);
    if (!add_pvar(bp, &p, 2, bp->call_at))
        return false;
    bp->call_at = (uint32_t)gp_align_up_u64(bp->call_at + p.bytes, 4);
    if (bp->call_at > CALL_AREA_MAX)
        return ptx_fail(ps, "too many bytes of call parameters");
    if (bp->call_at > bp->b->call_param_bytes)
        bp->b->call_param_bytes = bp->call_at;
    return ptx_expect(ps, ';');
}

static bool
parse_body_vars(struct body_parser *bp)
{
    struct ptx_parser *ps = &bp->ps;
    struct ptx_var_head head = {.space = ptx_space_of(&ps->lx.tok)};
    struct ptx_body *b = bp->b;
    struct ptx_var *v;

    ptx_lex_next(&ps->lx);
    if (!ptx_parse_var_head(ps, &head))
        return false;
    do {
        if (!ptx_parse_var(ps, &head, &v))
            return false;
        if (head.space == SPACE_GLOBAL || head.space == SPACE_CONST)
            return ptx_fail(ps, "device variables inside of functions are not supported");
        if (!ptx_grow(&b->vars, b->nvars, &b->vars_cap, sizeof(*b->vars)))
            return ptx_fail_memory(ps);
        b->vars[b->nvars++] = v;
        if (!add_local(bp, v->name, SYM_VAR, 0, 0, v))
            return false;
    } while (ptx_accept(ps, ','));
    return ptx_expect(ps, ';');
}

/* ---- operands ---- */

static bool parse_operand(struct body_parser *bp, struct ptx_operand *o, unsigned depth);

static bool
find_sreg(struct ptx_name n, struct ptx_operand *o)
{
    static const struct {
        const char *name;
        uint8_t kind;
    } names[] = {
#define S(id, name, bytes, comps) {name, SD_SREG_##id},
        SD_SREGS(S)
#undef S
    };
    unsigned i;

    for (i = 0; i < GP_ARRAY_LEN(names); i++)
        if (ptx_name_is(n, names[i].name))
            break;
    if (i == GP_ARRAY_LEN(names)) {
        if (n.len <= 7 || memcmp(n.text, "%envreg", 7) != 0)
            return false;
        i = SD_SREG_ZERO;
    }
    o->kind = OPND_SREG;
    o->reg = SD_SREG(names[i].kind, 0);
    return true;
}

static struct ptx_sym *
find_local(struct body_parser *bp, struct ptx_name n, uint32_t *index_p)
{
    uint32_t digits = 0, value = 0, scale = 1;
    struct ptx_sym *s;

    while (digits < n.len && digits < 7 && n.text[n.len - 1 - digits] >= '0' &&
           n.text[n.len - 1 - digits] <= '9') {
        value += (uint32_t)(n.text[n.len - 1 - digits] - '0') * scale;
        scale *= 10;
        digits++;
    }
    *index_p = 0;
    if (digits > 0 && digits < n.len && (digits == 1 || n.text[n.len - digits] != '0')) {
        s = ptx_sym_find(&bp->locals, (struct ptx_name){n.text, n.len - digits});
        if (s != NULL && s->kind == SYM_REG_RANGE && value < s->count) {
            *index_p = value;
            return s;
        }
    }
    s = ptx_sym_find(&bp->locals, n);
    if (s == NULL)
        s = ptx_sym_find(&bp->ps.m->symbols, n);
    return s != NULL && s->kind == SYM_REG_RANGE ? NULL : s;
}

static bool
add_selector(struct body_parser *bp, struct ptx_operand *o)
{
    o->name = ptx_alloc(bp->ps.arena, sizeof(*o->name));
    if (o->name == NULL)
        return ptx_fail_memory(&bp->ps);
    *o->name = ptx_tok_name(&bp->ps.lx.tok);
    ptx_lex_next(&bp->ps.lx);
    return true;
}

static bool
name_operand(struct body_parser *bp, struct ptx_operand *o)
{
    struct ptx_name n = ptx_tok_name(&bp->ps.lx.tok);
    struct ptx_sym *s;
    uint32_t index;

    ptx_lex_next(&bp->ps.lx);
    if (n.len == 1 && n.text[0] == '_') {
        o->kind = OPND_SINK;
        return true;
    }
    s = find_local(bp, n, &index);
    if (s != NULL) {
        o->reg = s->first + index;
        if (s->kind == SYM_REG || s->kind == SYM_REG_RANGE) {
            o->kind = OPND_REG;
            if (bp->ps.lx.tok.kind == TOK_DOT) /* part of a register: video instructions */
                return add_selector(bp, o);
        } else if (s->kind == SYM_VAR) {
            o->kind = OPND_VAR;
            o->var = s->object;
        } else if (s->kind == SYM_FUNC) {
            o->kind = OPND_FUNC;
            o->func = s->object;
        } else {
            o->kind = s->kind == SYM_PVAR ? OPND_PARAM : OPND_TABLE;
        }
        return true;
    }
    if ((n.text[0] == '%' || n.text[0] == 'W') && find_sreg(n, o)) {
        struct ptx_tok *t = &bp->ps.lx.tok;

        if (t->kind == TOK_DOT && t->len == 2 && t->text[1] >= 'w' && t->text[1] <= 'z') {
            o->reg += t->text[1] == 'w' ? 3u : (uint32_t)(t->text[1] - 'x');
            ptx_lex_next(&bp->ps.lx);
        }
        return true;
    }
    o->kind = OPND_LABEL;
    o->reg = bp->scope;
    o->name = ptx_alloc(&bp->arena, sizeof(n));
    if (o->name == NULL)
        return ptx_fail_memory(&bp->ps);
    *o->name = n;
    return true;
}

/* Collect up to the closing character; the elements end up side by side in body->operands. */
static bool
parse_list(struct body_parser *bp, struct ptx_operand *o, char close, unsigned depth)
{
    struct ptx_body *b = bp->b;
    uint32_t start = bp->ntmp;
    uint32_t i;

    while (!ptx_tok_is(&bp->ps.lx.tok, close)) {
        struct ptx_operand element = {0};

        if (!parse_operand(bp, &element, depth + 1))
            return false;
        if (bp->ntmp - start >= 255)
            return ptx_fail(&bp->ps, "list of more than 255 operands");
        if (!ptx_grow(&bp->tmp, bp->ntmp, &bp->tmp_cap, sizeof(*bp->tmp)))
            return ptx_fail_memory(&bp->ps);
        bp->tmp[bp->ntmp++] = element;
        if (!ptx_accept(&bp->ps, ','))
            break;
    }
    o->kind = OPND_LIST;
    o->reg = b->noperands;
    o->count = (uint8_t)(bp->ntmp - start);
    for (i = start; i < bp->ntmp; i++) {
        if (!ptx_grow(&b->operands, b->noperands, &b->operands_cap, sizeof(*b->operands)))
            return ptx_fail_memory(&bp->ps);
        b->operands[b->noperands++] = bp->tmp[i];
    }
    bp->ntmp = start;
    return ptx_expect(&bp->ps, close);
}

static bool
add_offset(struct body_parser *bp, struct ptx_operand *o)
{
    struct ptx_tok *t = &bp->ps.lx.tok;
    int64_t v;

    if (!ptx_tok_is(t, '+') && !ptx_tok_is(t, '-'))
        return true;
    if (o->kind == OPND_LABEL)
        return ptx_fail(&bp->ps, "unknown name '%.*s'", (int)o->name->len, o->name->text);
    if (ptx_tok_is(t, '+'))
        ptx_lex_next(&bp->ps.lx);
    if (!ptx_const_int(&bp->ps, &v))
        return false;
    o->imm = (int64_t)((uint64_t)o->imm + (uint64_t)v);
    return true;
}

static bool
parse_address(struct body_parser *bp, struct ptx_operand *o, unsigned depth)
{
    struct ptx_parser *ps = &bp->ps;

    if (!parse_operand(bp, o, depth + 1))
        return false;
    if (ptx_tok_is(&ps->lx.tok, ',')) { /* [texture, {x, y}] */
        struct ptx_operand first = *o;
        uint32_t at;

        ptx_lex_next(&ps->lx);
        if (!parse_list(bp, o, ']', depth))
            return false;
        /* Put the first element before the others. */
        at = bp->b->noperands;
        if (!ptx_grow(&bp->b->operands, at, &bp->b->operands_cap, sizeof(*bp->b->operands)))
            return ptx_fail_memory(ps);
        memmove(&bp->b->operands[o->reg + 1], &bp->b->operands[o->reg],
                o->count * sizeof(*bp->b->operands));
        bp->b->operands[o->reg] = first;
        bp->b->noperands++;
        o->count++;
    } else if (!ptx_expect(ps, ']')) {
        return false;
    }
    o->address = 1;
    return true;
}

static bool
parse_number(struct body_parser *bp, struct ptx_operand *o)
{
    struct ptx_tok *t = &bp->ps.lx.tok;
    bool negative = false;

    if (ptx_tok_is(t, '-')) {
        struct ptx_lexer saved = bp->ps.lx;

        ptx_lex_next(&bp->ps.lx);
        if (t->kind == TOK_F32 || t->kind == TOK_F64)
            negative = true;
        else
            bp->ps.lx = saved;
    }
    if (t->kind == TOK_F32 || t->kind == TOK_F64) {
        o->kind = t->kind == TOK_F32 ? OPND_F32 : OPND_F64;
        o->bits = t->u64;
        if (negative)
            o->bits ^= t->kind == TOK_F32 ? 1ull << 31 : 1ull << 63;
        ptx_lex_next(&bp->ps.lx);
        return true;
    }
    o->kind = OPND_INT;
    return ptx_const_int(&bp->ps, &o->imm);
}

static bool
make_pair(struct body_parser *bp, struct ptx_operand *o, unsigned depth)
{
    struct ptx_body *b = bp->b;
    struct ptx_operand second = {0};
    unsigned i;

    ptx_lex_next(&bp->ps.lx);
    if (!parse_operand(bp, &second, depth + 1))
        return false;
    for (i = 0; i < 2; i++) {
        if (!ptx_grow(&b->operands, b->noperands, &b->operands_cap, sizeof(*b->operands)))
            return ptx_fail_memory(&bp->ps);
        b->operands[b->noperands++] = i == 0 ? *o : second;
    }
    memset(o, 0, sizeof(*o));
    o->kind = OPND_PAIR;
    o->reg = b->noperands - 2;
    o->count = 2;
    return true;
}

static bool
parse_operand(struct body_parser *bp, struct ptx_operand *o, unsigned depth)
{
    struct ptx_parser *ps = &bp->ps;
    struct ptx_tok *t = &ps->lx.tok;

    if (depth > 8)
        return ptx_fail(ps, "operand nested too deeply");
    if (t->kind == TOK_NAME) {
        if (!name_operand(bp, o))
            return false;
        if (ptx_tok_is(t, '|'))
            return make_pair(bp, o, depth);
        return add_offset(bp, o);
    }
    if (ptx_accept(ps, '['))
        return parse_address(bp, o, depth);
    if (ptx_accept(ps, '{'))
        return parse_list(bp, o, '}', depth);
    if (ptx_tok_is(t, '(')) {
        ptx_lex_next(&ps->lx);
        return parse_list(bp, o, ')', depth);
    }
    if (ptx_tok_is(t, '!') || ptx_tok_is(t, '-')) {
        struct ptx_lexer saved = ps->lx;

        ptx_lex_next(&ps->lx);
        if (t->kind == TOK_NAME) {
            o->neg = 1;
            return name_operand(bp, o);
        }
        ps->lx = saved;
    }
    return parse_number(bp, o);
}

/* ---- statements ---- */

static bool
add_label(struct body_parser *bp, struct ptx_name name)
{
    struct ptx_body *b = bp->b;
    struct ptx_label l = {.insn = b->ninsns, .scope = bp->scope, .name = name};
    struct ptx_sym *s;

    if (!ptx_grow(&b->labels, b->nlabels, &b->labels_cap, sizeof(l)))
        return ptx_fail_memory(&bp->ps);
    s = ptx_sym_add(&bp->arena, &bp->labels, name, SYM_NONE, NULL);
    if (s == NULL)
        return ptx_fail_memory(&bp->ps);
    s->first = bp->scope;
    s->count = b->nlabels;
    b->labels[b->nlabels++] = l;
    return true;
}

/* Label of a name as seen from a scope; -1 if there is none. */
static int64_t
find_label(struct body_parser *bp, struct ptx_name name, uint32_t scope)
{
    uint32_t hash = ptx_hash(name.text, name.len);

    if (bp->labels.nbuckets == 0)
        return -1;
    for (;;) {
        struct ptx_sym *s = bp->labels.buckets[hash & (bp->labels.nbuckets - 1)];

        for (; s != NULL; s = s->next)
            if (s->hash == hash && s->first == scope && ptx_name_eq(s->name, name))
                return s->count;
        if (scope == 0)
            return -1;
        scope = bp->parents[scope];
    }
}

static bool
parse_prototype(struct body_parser *bp, struct ptx_table *table)
{
    struct ptx_parser *ps = &bp->ps;
    struct ptx_param *params = NULL;
    struct ptx_name ignored;

    table->kind = 2;
    if (ptx_tok_is(&ps->lx.tok, '(')) {
        if (!ptx_parse_params(ps, &params, &table->nrets))
            return false;
        ptx_params_layout(params, table->nrets, false, &table->ret_bytes);
    }
    if (!ptx_expect_name(ps, &ignored))
        return false;
    if (ptx_tok_is(&ps->lx.tok, '(')) {
        if (!ptx_parse_params(ps, &params, &table->nparams))
            return false;
        ptx_params_layout(params, table->nparams, false, &table->param_bytes);
    }
    return ptx_skip_statement(ps);
}

/* name: .branchtargets L1, L2; -- the labels are resolved at the end of the function */
static bool
parse_table(struct body_parser *bp, struct ptx_name name)
{
    struct ptx_parser *ps = &bp->ps;
    struct ptx_body *b = bp->b;
    struct ptx_table table = {.name = name, .scope = bp->scope, .kind = 1};
    bool branch = ptx_tok_eq(&ps->lx.tok, ".branchtargets");
    bool prototype = ptx_tok_eq(&ps->lx.tok, ".callprototype");

    ptx_lex_next(&ps->lx);
    if (prototype) {
        if (!parse_prototype(bp, &table))
            return false;
    } else if (branch) {
        struct ptx_operand list = {0};

        if (!parse_list(bp, &list, ';', 0))
            return false;
        table.kind = 0;
        table.first = list.reg;
        table.count = list.count;
    } else if (!ptx_skip_statement(ps)) {
        return false;
    }
    if (!ptx_grow(&b->tables, b->ntables, &b->tables_cap, sizeof(table)))
        return ptx_fail_memory(ps);
    if (!add_local(bp, name, SYM_TABLE, b->ntables, 1, NULL))
        return false;
    b->tables[b->ntables++] = table;
    return true;
}

static bool
parse_guard(struct body_parser *bp, struct ptx_insn *in)
{
    struct ptx_operand o = {0};

    ptx_lex_next(&bp->ps.lx);
    in->guard_neg = ptx_accept(&bp->ps, '!');
    if (bp->ps.lx.tok.kind != TOK_NAME)
        return ptx_fail(&bp->ps, "expected a predicate");
    if (!name_operand(bp, &o))
        return false;
    if (o.kind != OPND_REG || bp->b->regs[o.reg].type != PT_PRED)
        return ptx_fail(&bp->ps, "the guard is no predicate");
    in->guard = (int32_t)o.reg;
    return true;
}

static bool
parse_insn(struct body_parser *bp, struct ptx_insn *in)
{
    struct ptx_parser *ps = &bp->ps;
    struct ptx_body *b = bp->b;
    uint32_t start = bp->ntmp;
    uint32_t i;

    if (ps->lx.tok.kind != TOK_NAME)
        return ptx_fail(ps, "expected an instruction, found '%.*s'", (int)ps->lx.tok.len,
                        ps->lx.tok.text);
    ptx_lex_extend_opcode(&ps->lx);
    in->line = ps->lx.tok.line;
    in->op = ptx_opcode_get(ps->m, ps->lx.tok.text, ps->lx.tok.len);
    if (in->op == NULL)
        return ptx_fail_memory(ps);
    ptx_lex_next(&ps->lx);
    while (!ptx_tok_is(&ps->lx.tok, ';')) {
        struct ptx_operand o = {0};

        if (!parse_operand(bp, &o, 0))
            return false;
        if (bp->ntmp - start >= 512)
            return ptx_fail(ps, "too many operands");
        if (!ptx_grow(&bp->tmp, bp->ntmp, &bp->tmp_cap, sizeof(o)))
            return ptx_fail_memory(ps);
        bp->tmp[bp->ntmp++] = o;
        if (!ptx_accept(ps, ','))
            break;
    }
    in->first = b->noperands;
    in->count = (uint16_t)(bp->ntmp - start);
    for (i = start; i < bp->ntmp; i++) {
        if (!ptx_grow(&b->operands, b->noperands, &b->operands_cap, sizeof(*b->operands)))
            return ptx_fail_memory(ps);
        b->operands[b->noperands++] = bp->tmp[i];
    }
    bp->ntmp = start;
    if (!ptx_grow(&b->insns, b->ninsns, &b->insns_cap, sizeof(*in)))
        return ptx_fail_memory(ps);
    b->insns[b->ninsns++] = *in;
    return ptx_expect(ps, ';');
}

static bool
parse_directive(struct body_parser *bp)
{
    struct ptx_parser *ps = &bp->ps;
    struct ptx_tok *t = &ps->lx.tok;
    enum ptx_space space = ptx_space_of(t);

    if (space == SPACE_REG)
        return parse_regs(bp);
    if (space == SPACE_PARAM)
        return parse_call_params(bp);
    if (space != SPACE_NONE)
        return parse_body_vars(bp);
    if (ptx_tok_eq(t, ".loc")) {
        /* .loc 1 2 3, function_name $L__info_string0, inlined_at 1 4 5 */
        ptx_lex_next(&ps->lx);
        for (;;) {
            while (t->kind == TOK_INT)
                ptx_lex_next(&ps->lx);
            if (!ptx_tok_is(t, ','))
                return true;
            ptx_lex_next(&ps->lx);
            while (t->kind == TOK_NAME || ptx_tok_is(t, '+')) {
                bool last = ptx_tok_eq(t, "inlined_at");

                ptx_lex_next(&ps->lx);
                if (last || t->kind == TOK_INT)
                    break;
                if (!ptx_tok_is(t, '+') && t->kind != TOK_NAME)
                    break;
            }
        }
    }
    if (ptx_tok_eq(t, ".pragma"))
        return ptx_skip_statement(ps);
    if (ptx_tok_eq(t, ".branchtargets") || ptx_tok_eq(t, ".calltargets"))
        return ptx_fail(ps, "table without a name");
    return ptx_fail(ps, "unknown directive '%.*s'", (int)t->len, t->text);
}

static bool parse_block(struct body_parser *bp, unsigned depth);

static bool
parse_statement(struct body_parser *bp, unsigned depth)
{
    struct ptx_parser *ps = &bp->ps;
    struct ptx_tok *t = &ps->lx.tok;
    struct ptx_insn in = {.guard = -1};
    const char *p;

    if (ptx_tok_is(t, '{'))
        return parse_block(bp, depth + 1);
    if (ptx_accept(ps, ';'))
        return true;
    if (t->kind == TOK_DOT)
        return parse_directive(bp);
    if (ptx_tok_is(t, '@')) {
        if (!parse_guard(bp, &in))
            return false;
        return parse_insn(bp, &in);
    }
    if (t->kind != TOK_NAME)
        return ptx_fail(ps, "expected a statement, found '%.*s'", (int)t->len, t->text);
    for (p = ps->lx.p; *p == ' ' || *p == '\t'; p++)
        ;
    if (*p == ':' && p[1] != ':') {
        struct ptx_name name = ptx_tok_name(t);

        ptx_lex_next(&ps->lx);
        ptx_lex_next(&ps->lx);
        if (t->kind == TOK_DOT &&
            (ptx_tok_eq(t, ".branchtargets") || ptx_tok_eq(t, ".calltargets") ||
             ptx_tok_eq(t, ".callprototype")))
            return parse_table(bp, name);
        return add_label(bp, name);
    }
    return parse_insn(bp, &in);
}

static bool
parse_block(struct body_parser *bp, unsigned depth)
{
    uint32_t outer = bp->scope;
    uint32_t names = bp->nadded;
    uint32_t call_at = bp->call_at;

    if (depth > DEPTH_MAX || bp->nscopes >= SCOPES_MAX * 16)
        return ptx_fail(&bp->ps, "blocks nested too deeply");
    if (!ptx_grow(&bp->parents, bp->nscopes, &bp->scopes_cap, sizeof(*bp->parents)))
        return ptx_fail_memory(&bp->ps);
    bp->parents[bp->nscopes] = outer;
    bp->scope = bp->nscopes++;
    if (!ptx_expect(&bp->ps, '{'))
        return false;
    while (!ptx_tok_is(&bp->ps.lx.tok, '}')) {
        if (bp->ps.lx.tok.kind == TOK_END)
            return ptx_fail(&bp->ps, "text ends inside of a function");
        if (!parse_statement(bp, depth))
            return false;
    }
    leave_names(bp, names);
    bp->scope = outer;
    bp->call_at = call_at;
    /* The caller of the outermost block does not look behind it. */
    ptx_lex_next(&bp->ps.lx);
    return true;
}

static bool
resolve_labels(struct body_parser *bp)
{
    struct ptx_body *b = bp->b;
    uint32_t i, j;

    for (i = 0; i < b->noperands; i++) {
        struct ptx_operand *o = &b->operands[i];
        int64_t label;

        if (o->kind != OPND_LABEL || o->name == NULL)
            continue;
        label = find_label(bp, *o->name, o->reg);
        if (label < 0) {
            for (j = 0; j < b->ntables && !ptx_name_eq(b->tables[j].name, *o->name); j++)
                ;
            if (j == b->ntables)
                return ptx_fail(&bp->ps, "function '%.*s': unknown name '%.*s'",
                                (int)b->func->name.len, b->func->name.text, (int)o->name->len,
                                o->name->text);
            o->kind = OPND_TABLE;
            label = j;
        }
        o->reg = (uint32_t)label;
        o->name = NULL;
    }
    return true;
}

static bool
enter_params(struct body_parser *bp)
{
    const struct ptx_func *f = bp->b->func;
    uint32_t i;

    for (i = 0; i < f->nparams; i++)
        if (!add_pvar(bp, &f->params[i], 0, f->params[i].offset))
            return false;
    for (i = 0; i < f->nrets; i++)
        if (!add_pvar(bp, &f->rets[i], 1, f->rets[i].offset))
            return false;
    return true;
}

CUresult
ptx_body_parse(struct ptx_func *f, struct sd_text *log_p)
{
    struct body_parser bp = {.ps = {.m = f->module, .log = log_p}};
    bool ok;

    if (f->body != NULL)
        return CUDA_SUCCESS;
    bp.b = calloc(1, sizeof(*bp.b));
    if (bp.b == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    bp.b->func = f;
    bp.ps.arena = &bp.b->arena;
    ptx_lex_start(&bp.ps.lx, f->body_text, f->body_line);
    ok = enter_params(&bp) && parse_block(&bp, 0) && resolve_labels(&bp);
    ptx_arena_free(&bp.arena);
    free(bp.locals.buckets);
    free(bp.labels.buckets);
    free(bp.added);
    free(bp.parents);
    free(bp.tmp);
    if (!ok) {
        ptx_body_destroy(bp.b);
        return bp.ps.cr;
    }
    f->body = bp.b;
    return CUDA_SUCCESS;
}

void
ptx_body_drop(struct ptx_func *f)
{
    if (f->keep_body)
        return;
    ptx_body_destroy(f->body);
    f->body = NULL;
}

void
ptx_body_destroy(struct ptx_body *b)
{
    if (b == NULL)
        return;
    free(b->insns);
    free(b->operands);
    free(b->regs);
    free(b->labels);
    free(b->pvars);
    free(b->tables);
    free(b->targets);
    free(b->vars);
    ptx_arena_free(&b->arena);
    free(b);
}
