/* backend/driver/soft/ptx/vars.c -- variables, parameters, initialisers, constant expressions */
#include "backend/driver/soft/ptx/parse_priv.h"

#include <stdio.h>
#include <string.h>

#define VAR_BYTES_MAX   (1ull << 36)
#define PARAM_BYTES_MAX 32764u
#define EXPR_DEPTH_MAX  64u

enum ptx_space
ptx_space_of(const struct ptx_tok *t)
{
    static const struct {
        const char *text;
        enum ptx_space space;
    } spaces[] = {
        {".reg", SPACE_REG},       {".global", SPACE_GLOBAL}, {".const", SPACE_CONST},
        {".shared", SPACE_SHARED}, {".local", SPACE_LOCAL},   {".param", SPACE_PARAM},
    };
    unsigned i;

    if (t->kind != TOK_DOT)
        return SPACE_NONE;
    for (i = 0; i < GP_ARRAY_LEN(spaces); i++)
        if (ptx_tok_eq(t, spaces[i].text))
            return spaces[i].space;
    return SPACE_NONE;
}

/* ---- constant expressions: C's, on 64 bits ---- */

static bool expr(struct ptx_parser *ps, unsigned min_prec, unsigned depth, int64_t *value_p);

static bool
expr_primary(struct ptx_parser *ps, unsigned depth, int64_t *value_p)
{
    struct ptx_tok *t = &ps->lx.tok;
    char c;

    if (depth > EXPR_DEPTH_MAX)
        return ptx_fail(ps, "expression nested too deeply");
    if (t->kind == TOK_INT) {
        *value_p = (int64_t)t->u64;
        ptx_lex_next(&ps->lx);
        return true;
    }
    if (t->kind == TOK_NAME && ptx_tok_eq(t, "WARP_SZ")) {
        *value_p = 32;
        ptx_lex_next(&ps->lx);
        return true;
    }
    if (t->kind != TOK_PUNCT || strchr("-+~!(", t->text[0]) == NULL)
        return ptx_fail(ps, "expected a constant, found '%.*s'", (int)t->len, t->text);
    c = t->text[0];
    ptx_lex_next(&ps->lx);
    if (c == '(') {
        if (t->kind == TOK_DOT) { /* a cast: (.u64) or (.s64) */
            ptx_lex_next(&ps->lx);
            return ptx_expect(ps, ')') && expr_primary(ps, depth + 1, value_p);
        }
        return expr(ps, 0, depth + 1, value_p) && ptx_expect(ps, ')');
    }
    if (!expr_primary(ps, depth + 1, value_p))
        return false;
    if (c == '-')
        *value_p = (int64_t)(0 - (uint64_t)*value_p);
    else if (c == '~')
        *value_p = ~*value_p;
    else if (c == '!')
        *value_p = !*value_p;
    return true;
}

static const struct {
    const char *text;
    uint8_t prec;
} binary_ops[] = {
    {"<<", 8}, {">>", 8}, {"<=", 7}, {">=", 7}, {"==", 6}, {"!=", 6}, {"&&", 2}, {"||", 1},
    {"*", 10}, {"/", 10}, {"%", 10}, {"+", 9},  {"-", 9},  {"<", 7},  {">", 7},  {"&", 5},
    {"^", 4},  {"|", 3},
};

static int
binary_op(const char *p)
{
    unsigned i;

    for (i = 0; i < GP_ARRAY_LEN(binary_ops); i++)
        if (strncmp(p, binary_ops[i].text, strlen(binary_ops[i].text)) == 0)
            return (int)i;
    return -1;
}

static int64_t
apply(int op, int64_t a, int64_t b)
{
    uint64_t ua = (uint64_t)a;
    uint64_t ub = (uint64_t)b;

    switch (op) {
    case 0: return (int64_t)(ub > 63 ? 0 : ua << ub);
    case 1: return ub > 63 ? (a < 0 ? -1 : 0) : a >> ub;
    case 2: return a <= b;
    case 3: return a >= b;
    case 4: return a == b;
    case 5: return a != b;
    case 6: return a && b;
    case 7: return a || b;
    case 8: return (int64_t)(ua * ub);
    case 9: return b == 0 ? 0 : b == -1 ? (int64_t)(0 - ua) : a / b;
    case 10: return b == 0 || b == -1 ? 0 : a % b;
    case 11: return (int64_t)(ua + ub);
    case 12: return (int64_t)(ua - ub);
    case 13: return a < b;
    case 14: return a > b;
    case 15: return a & b;
    case 16: return a ^ b;
    default: return a | b;
    }
}

static bool
expr(struct ptx_parser *ps, unsigned min_prec, unsigned depth, int64_t *value_p)
{
    int64_t rhs;

    if (!expr_primary(ps, depth, value_p))
        return false;
    for (;;) {
        int op = ps->lx.tok.kind == TOK_PUNCT ? binary_op(ps->lx.tok.text) : -1;

        if (op < 0 || binary_ops[op].prec <= min_prec)
            return true;
        if (binary_ops[op].text[1] != '\0')
            ptx_lex_next(&ps->lx);
        ptx_lex_next(&ps->lx);
        if (!expr(ps, binary_ops[op].prec, depth + 1, &rhs))
            return false;
        *value_p = apply(op, *value_p, rhs);
    }
}

bool
ptx_const_int(struct ptx_parser *ps, int64_t *value_p)
{
    return expr(ps, 0, 0, value_p);
}

/* ---- initialisers ---- */

struct init {
    struct ptx_var *var;
    unsigned element;  /* bytes */
    uint64_t at;       /* next byte */
    uint64_t cap;      /* of var->init */
    uint64_t dims[4];
    unsigned ndims;
    uint32_t relocs_cap;
    struct ptx_reloc *relocs; /* heap; copied into the arena at the end */
};

static bool
init_room(struct ptx_parser *ps, struct init *in, uint64_t end)
{
    uint64_t cap;
    uint8_t *p;

    if (in->var->bytes != 0 && end > in->var->bytes)
        return ptx_fail(ps, "too many initialisers for %.*s", (int)in->var->name.len,
                        in->var->name.text);
    if (end <= in->cap)
        return true;
    cap = in->cap == 0 ? 64 : in->cap;
    while (cap < end)
        cap *= 2;
    p = realloc(in->var->init, cap);
    if (p == NULL)
        return ptx_fail_memory(ps);
    memset(p + in->cap, 0, cap - in->cap);
    in->var->init = p;
    in->cap = cap;
    return true;
}

static bool
init_float(struct ptx_parser *ps, struct init *in, bool negative)
{
    struct ptx_tok *t = &ps->lx.tok;
    uint64_t bits = t->u64;
    double d;
    float f;

    if (t->kind == TOK_F32) {
        uint32_t low = (uint32_t)bits;

        memcpy(&f, &low, sizeof(f));
        d = (double)f;
    } else {
        memcpy(&d, &bits, sizeof(d));
    }
    if (negative)
        d = -d;
    if (in->element == 4) {
        f = (float)d;
        memcpy(in->var->init + in->at, &f, sizeof(f));
        if (t->kind == TOK_F32 && !negative) /* keep NaN payloads */
            memcpy(in->var->init + in->at, &bits, sizeof(f));
    } else if (in->element == 8) {
        memcpy(in->var->init + in->at, &d, sizeof(d));
    } else {
        return ptx_fail(ps, "floating-point initialiser for a variable of %u-byte elements",
                        in->element);
    }
    ptx_lex_next(&ps->lx);
    return true;
}

/* name, name+8, generic(name)+8, 0xFF00(name) */
static bool
init_address(struct ptx_parser *ps, struct init *in, uint64_t mask)
{
    struct ptx_tok *t = &ps->lx.tok;
    struct ptx_reloc r = {.offset = in->at, .bytes = (uint8_t)in->element, .mask = mask};
    unsigned parens = 0;
    int64_t sign;

    if (mask != UINT64_MAX)
        r.shift = (uint8_t)__builtin_ctzll(mask);
    for (;;) {
        if (t->kind == TOK_NAME && ptx_tok_eq(t, "generic")) {
            r.generic = true;
            ptx_lex_next(&ps->lx);
        } else if (ptx_accept(ps, '(')) {
            parens++;
        } else {
            break;
        }
    }
    if (!ptx_expect_name(ps, &r.name))
        return false;
    for (;;) {
        if (parens > 0 && ptx_accept(ps, ')')) {
            parens--;
        } else if (ptx_tok_is(t, '+') || ptx_tok_is(t, '-')) {
            int64_t v;

            sign = t->text[0] == '-' ? -1 : 1;
            ptx_lex_next(&ps->lx);
            if (!expr_primary(ps, 0, &v))
                return false;
            r.addend = (int64_t)((uint64_t)r.addend + (uint64_t)(sign * v));
        } else {
            break;
        }
    }
    if (parens > 0)
        return ptx_fail(ps, "expected ')' in an initialiser");
    if (!ptx_grow(&in->relocs, in->var->nrelocs, &in->relocs_cap, sizeof(r)))
        return ptx_fail_memory(ps);
    in->relocs[in->var->nrelocs++] = r;
    return true;
}

static bool
init_scalar(struct ptx_parser *ps, struct init *in)
{
    struct ptx_tok *t = &ps->lx.tok;
    bool negative = false;
    int64_t v;

    if (!init_room(ps, in, in->at + in->element))
        return false;
    if (ptx_tok_is(t, '-') && (ps->lx.p[0] == '0' || ps->lx.p[0] == ' ')) {
        struct ptx_lexer saved = ps->lx;

        ptx_lex_next(&ps->lx);
        if (t->kind == TOK_F32 || t->kind == TOK_F64)
            negative = true;
        else
            ps->lx = saved;
    }
    if (t->kind == TOK_F32 || t->kind == TOK_F64) {
        if (!init_float(ps, in, negative))
            return false;
    } else if (t->kind == TOK_NAME && !ptx_tok_eq(t, "WARP_SZ")) {
        if (!init_address(ps, in, UINT64_MAX))
            return false;
    } else {
        if (!ptx_const_int(ps, &v))
            return false;
        if (ptx_tok_is(t, '(') && v != 0) { /* mask(name) */
            if (!init_address(ps, in, (uint64_t)v))
                return false;
        } else {
            memcpy(in->var->init + in->at, &v, in->element < 8 ? in->element : 8);
        }
    }
    in->at += in->element;
    return true;
}

static bool
init_list(struct ptx_parser *ps, struct init *in, unsigned level)
{
    uint64_t stride = in->element;
    uint64_t start = in->at;
    unsigned i;

    if (!ptx_tok_is(&ps->lx.tok, '{'))
        return init_scalar(ps, in);
    if (level > in->ndims + 1)
        return ptx_fail(ps, "initialiser nested too deeply");
    ptx_lex_next(&ps->lx);
    for (i = level; i < in->ndims; i++)
        stride *= in->dims[i];
    while (!ptx_tok_is(&ps->lx.tok, '}')) {
        if (!init_list(ps, in, level + 1))
            return false;
        if (!ptx_accept(ps, ','))
            break;
    }
    if (level > 0 && stride > in->at - start) /* missing inner elements are zero */
        in->at = start + stride;
    return ptx_expect(ps, '}');
}

static bool
parse_initialiser(struct ptx_parser *ps, struct init *in)
{
    struct ptx_var *v = in->var;
    bool ok = init_list(ps, in, 0);
    uint8_t *heap = v->init;

    /* Into the arena, so that one free is enough. */
    v->init = NULL;
    if (ok) {
        v->init_bytes = in->at < in->cap ? in->at : in->cap;
        v->init = ptx_alloc(ps->arena, v->init_bytes + 1);
        v->relocs = ptx_alloc(ps->arena, v->nrelocs * sizeof(*v->relocs) + 1);
        if (v->init == NULL || v->relocs == NULL)
            ok = ptx_fail_memory(ps);
        else {
            if (v->init_bytes > 0)
                memcpy(v->init, heap, v->init_bytes);
            if (v->nrelocs > 0)
                memcpy(v->relocs, in->relocs, v->nrelocs * sizeof(*v->relocs));
            if (v->bytes == 0)
                v->bytes = in->at;
        }
    }
    free(heap);
    free(in->relocs);
    return ok;
}

/* ---- declarations ---- */

bool
ptx_parse_var_head(struct ptx_parser *ps, struct ptx_var_head *head)
{
    struct ptx_tok *t = &ps->lx.tok;
    bool pointed = false; /* what follows says where the parameter points */
    int64_t v;

    head->vec = 1;
    while (t->kind == TOK_DOT) {
        if (ptx_tok_eq(t, ".align")) {
            ptx_lex_next(&ps->lx);
            if (!ptx_const_int(ps, &v))
                return false;
            if (v < 1 || v > 4096 || (v & (v - 1)) != 0)
                return ptx_fail(ps, "alignment %lld is no power of two up to 4096", (long long)v);
            if (!pointed)
                head->align = (uint32_t)v;
            continue;
        }
        if (ptx_tok_eq(t, ".attribute")) {
            ptx_lex_next(&ps->lx);
            if (!ptx_expect(ps, '('))
                return false;
            while (!ptx_tok_is(t, ')') && t->kind != TOK_END) {
                if (ptx_tok_eq(t, ".managed"))
                    head->managed = true;
                ptx_lex_next(&ps->lx);
            }
        } else if (ptx_tok_eq(t, ".v2")) {
            head->vec = 2;
        } else if (ptx_tok_eq(t, ".v4")) {
            head->vec = 4;
        } else if (ptx_tok_eq(t, ".ptr")) {
            pointed = true;
        } else if (head->type == PT_NONE && ptx_type_find(t->text + 1, t->len - 1) != PT_NONE) {
            head->type = ptx_type_find(t->text + 1, t->len - 1);
        } else if (ptx_space_of(t) == SPACE_NONE) {
            return ptx_fail(ps, "unknown word '%.*s' in a declaration", (int)t->len, t->text);
        }
        ptx_lex_next(&ps->lx);
    }
    if (head->type == PT_NONE)
        return ptx_fail(ps, "declaration without a type");
    return true;
}

/* "[4][8]" or "[]": the product in *count_p, 0 when unsized. */
static bool
parse_dims(struct ptx_parser *ps, struct init *in, uint64_t *count_p)
{
    uint64_t count = 1;
    int64_t v;

    while (ptx_accept(ps, '[')) {
        if (in->ndims == GP_ARRAY_LEN(in->dims))
            return ptx_fail(ps, "array of more than 4 dimensions");
        if (ptx_accept(ps, ']')) {
            in->dims[in->ndims++] = 0;
            count = 0;
            continue;
        }
        if (!ptx_const_int(ps, &v) || !ptx_expect(ps, ']'))
            return false;
        if (v < 0 || (v > 0 && count > VAR_BYTES_MAX / (uint64_t)v))
            return ptx_fail(ps, "array too large");
        in->dims[in->ndims++] = (uint64_t)v;
        count *= (uint64_t)v;
    }
    *count_p = count;
    return true;
}

bool
ptx_parse_var(struct ptx_parser *ps, const struct ptx_var_head *head, struct ptx_var **var_p)
{
    struct ptx_var *var = ptx_alloc(ps->arena, sizeof(*var));
    struct init in = {.var = var};
    uint64_t count;

    if (var == NULL)
        return ptx_fail_memory(ps);
    var->line = ps->lx.tok.line;
    if (!ptx_expect_name(ps, &var->name))
        return false;
    var->module = ps->m;
    var->space = head->space;
    var->linkage = head->linkage;
    var->type = head->type;
    var->managed = head->managed;
    in.element = ptx_type_bytes(head->type);
    if (in.element == 0)
        return ptx_fail(ps, "variable of type .%s", ptx_type_text(head->type));
    var->align = head->align != 0 ? head->align : in.element * head->vec;
    if (!parse_dims(ps, &in, &count))
        return false;
    if (count > VAR_BYTES_MAX / (in.element * head->vec))
        return ptx_fail(ps, "variable too large");
    var->bytes = count * in.element * head->vec;
    if (ptx_accept(ps, '=') && !parse_initialiser(ps, &in))
        return false;
    *var_p = var;
    return true;
}

bool
ptx_parse_param(struct ptx_parser *ps, struct ptx_param *param_p)
{
    struct ptx_var_head head = {0};
    struct init in = {0};
    uint64_t count;
    unsigned element;

    head.space = ptx_space_of(&ps->lx.tok);
    if (head.space != SPACE_PARAM && head.space != SPACE_REG)
        return ptx_fail(ps, "expected .param, found '%.*s'", (int)ps->lx.tok.len,
                        ps->lx.tok.text);
    ptx_lex_next(&ps->lx);
    if (!ptx_parse_var_head(ps, &head))
        return false;
    if (!ptx_expect_name(ps, &param_p->name))
        return false;
    if (!parse_dims(ps, &in, &count))
        return false;
    element = head.type == PT_PRED ? 4 : ptx_type_bytes(head.type);
    if (element == 0 || count > PARAM_BYTES_MAX / (element * head.vec))
        return ptx_fail(ps, "parameter of a bad size");
    param_p->type = head.type;
    param_p->bytes = (uint32_t)count * element * head.vec;
    param_p->align = head.align != 0 ? head.align : element * head.vec;
    param_p->in_register = head.space == SPACE_REG;
    return true;
}
