/* backend/driver/soft/ptx/parse.c -- module-level directives
 *
 * Bodies of functions are skipped here by their braces and parsed when first needed; small
 * modules are parsed whole at once, so that a syntax error shows when the module is loaded.
 */
#include "backend/driver/soft/ptx/parse_priv.h"

#include <stdio.h>
#include <string.h>

#define PTX_TEXT_MAX     (1ull << 31)
#define VERSION_MAX      99u
#define FUNC_PARAMS_MAX  8192u

bool
ptx_fail(struct ptx_parser *ps, const char *fmt, ...)
{
    char text[256];
    va_list va;

    if (ps->cr != CUDA_SUCCESS)
        return false;
    va_start(va, fmt);
    vsnprintf(text, sizeof(text), fmt, va);
    va_end(va);
    sd_text_add(ps->log, "line %u: %s\n", ps->lx.tok.line, text);
    ps->cr = CUDA_ERROR_INVALID_PTX;
    return false;
}

bool
ptx_fail_memory(struct ptx_parser *ps)
{
    if (ps->cr == CUDA_SUCCESS)
        ps->cr = CUDA_ERROR_OUT_OF_MEMORY;
    return false;
}

bool
ptx_accept(struct ptx_parser *ps, char c)
{
    if (!ptx_tok_is(&ps->lx.tok, c))
        return false;
    ptx_lex_next(&ps->lx);
    return true;
}

bool
ptx_expect(struct ptx_parser *ps, char c)
{
    if (ptx_accept(ps, c))
        return true;
    return ptx_fail(ps, "expected '%c', found '%.*s'", c, (int)ps->lx.tok.len, ps->lx.tok.text);
}

struct ptx_name
ptx_tok_name(const struct ptx_tok *t)
{
    return (struct ptx_name){t->text, t->len};
}

bool
ptx_expect_name(struct ptx_parser *ps, struct ptx_name *name_p)
{
    if (ps->lx.tok.kind != TOK_NAME)
        return ptx_fail(ps, "expected a name, found '%.*s'", (int)ps->lx.tok.len,
                        ps->lx.tok.text);
    *name_p = ptx_tok_name(&ps->lx.tok);
    ptx_lex_next(&ps->lx);
    return true;
}

/* To behind the next ';' on this level. */
bool
ptx_skip_statement(struct ptx_parser *ps)
{
    while (!ptx_accept(ps, ';')) {
        if (ps->lx.tok.kind == TOK_END || ptx_tok_is(&ps->lx.tok, '}'))
            return ptx_fail(ps, "expected ';'");
        ptx_lex_next(&ps->lx);
    }
    return true;
}

/* ---- .version, .target and friends ---- */

static bool
parse_version(struct ptx_parser *ps)
{
    struct ptx_tok *t = &ps->lx.tok;
    unsigned major, minor;

    ptx_lex_next(&ps->lx);
    if ((t->kind != TOK_F64 && t->kind != TOK_INT) ||
        sscanf(t->text, "%3u.%3u", &major, &minor) != 2)
        return ptx_fail(ps, "bad .version");
    ps->m->version = major * 10 + (minor > 9 ? 9 : minor);
    ps->m->seen_version = true;
    if (ps->m->version > VERSION_MAX) {
        ptx_fail(ps, "PTX version %u.%u is newer than this device", major, minor);
        ps->cr = CUDA_ERROR_UNSUPPORTED_PTX_VERSION;
        return false;
    }
    ptx_lex_next(&ps->lx);
    return true;
}

static bool
parse_target(struct ptx_parser *ps)
{
    struct ptx_tok *t = &ps->lx.tok;

    ptx_lex_next(&ps->lx);
    for (;;) {
        struct ptx_name n = {0};

        if (!ptx_expect_name(ps, &n))
            return false;
        if (n.len > 3 && memcmp(n.text, "sm_", 3) == 0)
            ps->m->target = (uint32_t)strtoul(n.text + 3, NULL, 10);
        if (!ptx_tok_is(t, ','))
            return true;
        ptx_lex_next(&ps->lx);
    }
}

/* .file 1 "a.cu", 0, 0: no ';' ends it. */
static bool
skip_file(struct ptx_parser *ps)
{
    struct ptx_tok *t = &ps->lx.tok;

    ptx_lex_next(&ps->lx);
    while (t->kind == TOK_INT || t->kind == TOK_STRING || ptx_tok_is(t, ','))
        ptx_lex_next(&ps->lx);
    return true;
}

static bool
skip_section(struct ptx_parser *ps)
{
    struct ptx_tok *t = &ps->lx.tok;

    while (t->kind != TOK_END && !ptx_tok_is(t, '{'))
        ptx_lex_next(&ps->lx);
    if (!ptx_lex_skip_braces(&ps->lx))
        return ptx_fail(ps, ".section without an end");
    return true;
}

static bool
parse_alias(struct ptx_parser *ps)
{
    struct ptx_name a, b;
    struct ptx_sym *sa, *sb;

    ptx_lex_next(&ps->lx);
    if (!ptx_expect_name(ps, &a) || !ptx_expect(ps, ',') || !ptx_expect_name(ps, &b) ||
        !ptx_expect(ps, ';'))
        return false;
    sa = ptx_sym_find(&ps->m->symbols, a);
    sb = ptx_sym_find(&ps->m->symbols, b);
    if (sa == NULL || sb == NULL || sa->kind != SYM_FUNC || sb->kind != SYM_FUNC ||
        ptx_func_final(sb->object) == sa->object)
        return ptx_fail(ps, ".alias of unknown functions");
    ((struct ptx_func *)sa->object)->alias_of = sb->object;
    return true;
}

/* ---- variables ---- */

/* A second declaration of a name: keep the one that defines it. */
static bool
merge_var(struct ptx_parser *ps, struct ptx_sym *old, struct ptx_var *v)
{
    struct ptx_var *o = old->object;

    if (old->kind != SYM_VAR || o->space != v->space)
        return ptx_fail(ps, "'%.*s' declared twice", (int)v->name.len, v->name.text);
    if (v->linkage == LINK_EXTERN)
        return true;
    if (o->linkage == LINK_EXTERN || (o->linkage == LINK_COMMON && v->bytes >= o->bytes)) {
        uint32_t index = o->index;

        *o = *v;
        o->index = index;
        return true;
    }
    if (o->linkage == LINK_WEAK || v->linkage == LINK_COMMON)
        return true;
    return ptx_fail(ps, "'%.*s' defined twice", (int)v->name.len, v->name.text);
}

static bool
parse_module_vars(struct ptx_parser *ps, enum ptx_linkage linkage)
{
    struct ptx_var_head head = {.space = ptx_space_of(&ps->lx.tok), .linkage = linkage};
    struct ptx_module *m = ps->m;
    struct ptx_sym *old;
    struct ptx_var *v;

    ptx_lex_next(&ps->lx);
    if (!ptx_parse_var_head(ps, &head))
        return false;
    do {
        if (!ptx_parse_var(ps, &head, &v))
            return false;
        old = ptx_sym_find(&m->symbols, v->name);
        if (old != NULL) {
            if (!merge_var(ps, old, v))
                return false;
            continue;
        }
        if (!ptx_grow(&m->vars, m->nvars, &m->vars_cap, sizeof(*m->vars)) ||
            ptx_sym_add(&m->arena, &m->symbols, v->name, SYM_VAR, v) == NULL)
            return ptx_fail_memory(ps);
        m->vars[m->nvars++] = v;
    } while (ptx_accept(ps, ','));
    return ptx_expect(ps, ';');
}

/* ---- functions ---- */

void
ptx_params_layout(struct ptx_param *params, uint32_t n, bool kernel, uint32_t *bytes_p)
{
    uint32_t at = 0;
    uint32_t i;

    for (i = 0; i < n; i++) {
        at = (uint32_t)gp_align_up_u64(at, kernel || params[i].align > 4 ? params[i].align : 4);
        params[i].offset = at;
        at += params[i].bytes;
    }
    *bytes_p = at;
}

bool
ptx_parse_params(struct ptx_parser *ps, struct ptx_param **params_p, uint32_t *n_p)
{
    struct ptx_param *list = NULL;
    uint32_t n = 0, cap = 0;
    uint64_t total = 0;
    bool ok = true;

    *n_p = 0;
    if (!ptx_expect(ps, '('))
        return false;
    while (ok && !ptx_tok_is(&ps->lx.tok, ')')) {
        if (ptx_tok_eq(&ps->lx.tok, ".param") || ptx_tok_eq(&ps->lx.tok, ".reg")) {
            if (n == FUNC_PARAMS_MAX || !ptx_grow(&list, n, &cap, sizeof(*list))) {
                ok = ptx_fail_memory(ps);
                break;
            }
            memset(&list[n], 0, sizeof(list[n]));
            ok = ptx_parse_param(ps, &list[n]);
            total += list[n].bytes;
            n++;
            if (ok && total > 1u << 20)
                ok = ptx_fail(ps, "too many bytes of parameters");
        } else {
            ok = ptx_fail(ps, "expected a parameter, found '%.*s'", (int)ps->lx.tok.len,
                          ps->lx.tok.text);
        }
        if (!ptx_accept(ps, ','))
            break;
    }
    if (ok)
        ok = ptx_expect(ps, ')');
    if (ok && n > 0) {
        *params_p = ptx_alloc(ps->arena, n * sizeof(*list));
        if (*params_p == NULL)
            ok = ptx_fail_memory(ps);
        else
            memcpy(*params_p, list, n * sizeof(*list));
        *n_p = n;
    }
    free(list);
    return ok;
}

static bool
parse_three(struct ptx_parser *ps, uint32_t out[3])
{
    int64_t v;
    unsigned i;

    out[0] = out[1] = out[2] = 1;
    for (i = 0; i < 3; i++) {
        if (!ptx_const_int(ps, &v))
            return false;
        if (v < 0 || v > 1 << 20)
            return ptx_fail(ps, "bad number of threads");
        out[i] = (uint32_t)v;
        if (!ptx_accept(ps, ','))
            break;
    }
    return true;
}

/* .maxntid and its like, between the head of a function and its body. */
static bool
parse_directives(struct ptx_parser *ps, struct ptx_func *f)
{
    struct ptx_tok *t = &ps->lx.tok;
    uint32_t ignored[3];

    while (t->kind == TOK_DOT) {
        struct ptx_name d = ptx_tok_name(t);

        ptx_lex_next(&ps->lx);
        if (ptx_name_is(d, ".maxntid")) {
            if (!parse_three(ps, f->max_ntid))
                return false;
        } else if (ptx_name_is(d, ".reqntid")) {
            if (!parse_three(ps, f->req_ntid))
                return false;
        } else if (ptx_name_is(d, ".reqnctapercluster")) {
            if (!parse_three(ps, f->req_cluster))
                return false;
        } else if (ptx_name_is(d, ".minnctapersm") || ptx_name_is(d, ".maxnctapersm")) {
            if (!parse_three(ps, ignored))
                return false;
            f->min_nctapersm = ignored[0];
        } else if (ptx_name_is(d, ".maxclusterrank")) {
            if (!parse_three(ps, ignored))
                return false;
            f->max_cluster = ignored[0];
        } else if (ptx_name_is(d, ".explicitcluster")) {
            f->explicit_cluster = true;
        } else if (ptx_name_is(d, ".blocksareclusters")) {
            f->blocks_are_clusters = true;
        } else if (ptx_name_is(d, ".maxnreg")) {
            if (!parse_three(ps, ignored))
                return false;
        } else if (ptx_name_is(d, ".noreturn")) {
            f->noreturn = true;
        } else if (ptx_name_is(d, ".pragma")) {
            if (!ptx_skip_statement(ps))
                return false;
        } else if (ptx_name_is(d, ".abi_preserve") || ptx_name_is(d, ".abi_preserve_control")) {
            if (!parse_three(ps, ignored))
                return false;
        } else if (ptx_name_is(d, ".attribute")) {
            while (t->kind != TOK_END && !ptx_accept(ps, ')'))
                ptx_lex_next(&ps->lx);
        } else if (!ptx_name_is(d, ".unified")) {
            return ptx_fail(ps, "unknown directive '%.*s'", (int)d.len, d.text);
        }
    }
    return true;
}

/* Enter f in the module, or merge it with its earlier declaration. */
static bool
enter_func(struct ptx_parser *ps, struct ptx_func *f)
{
    struct ptx_module *m = ps->m;
    struct ptx_sym *sym = ptx_sym_find(&m->symbols, f->name);

    if (sym == NULL) {
        if (!ptx_grow(&m->funcs, m->nfuncs, &m->funcs_cap, sizeof(*m->funcs)) ||
            ptx_sym_add(&m->arena, &m->symbols, f->name, SYM_FUNC, f) == NULL)
            return ptx_fail_memory(ps);
        f->index = m->nfuncs;
        m->funcs[m->nfuncs++] = f;
        return true;
    }
    if (sym->kind != SYM_FUNC)
        return ptx_fail(ps, "'%.*s' declared twice", (int)f->name.len, f->name.text);
    if (f->defined) {
        struct ptx_func *old = sym->object;
        uint32_t index = old->index;

        if (old->defined)
            return ptx_fail(ps, "'%.*s' defined twice", (int)f->name.len, f->name.text);
        *old = *f;
        old->index = index;
    }
    return true;
}

static bool
parse_func(struct ptx_parser *ps, enum ptx_linkage linkage, bool entry)
{
    struct ptx_func *f = ptx_alloc(&ps->m->arena, sizeof(*f));

    if (f == NULL)
        return ptx_fail_memory(ps);
    f->module = ps->m;
    f->entry = entry;
    f->linkage = linkage;
    ptx_lex_next(&ps->lx);
    while (ptx_tok_eq(&ps->lx.tok, ".attribute")) {
        while (ps->lx.tok.kind != TOK_END && !ptx_accept(ps, ')'))
            ptx_lex_next(&ps->lx);
    }
    if (!entry && ptx_tok_is(&ps->lx.tok, '(') && !ptx_parse_params(ps, &f->rets, &f->nrets))
        return false;
    f->line = ps->lx.tok.line;
    if (!ptx_expect_name(ps, &f->name))
        return false;
    if (ptx_tok_is(&ps->lx.tok, '(') && !ptx_parse_params(ps, &f->params, &f->nparams))
        return false;
    ptx_params_layout(f->params, f->nparams, entry, &f->param_bytes);
    ptx_params_layout(f->rets, f->nrets, entry, &f->ret_bytes);
    if (entry && f->param_bytes > 32764)
        return ptx_fail(ps, "kernel with more than 32764 bytes of parameters");
    if (!parse_directives(ps, f))
        return false;
    if (ptx_tok_is(&ps->lx.tok, '{')) {
        f->defined = true;
        f->body_text = ps->lx.tok.text;
        f->body_line = ps->lx.tok.line;
        if (!ptx_lex_skip_braces(&ps->lx))
            return ptx_fail(ps, "body of '%.*s' without an end", (int)f->name.len, f->name.text);
    } else if (!ptx_expect(ps, ';')) {
        return false;
    }
    return enter_func(ps, f);
}

/* ---- the module ---- */

static bool
parse_linkage(struct ptx_parser *ps, enum ptx_linkage *linkage_p)
{
    static const struct {
        const char *text;
        enum ptx_linkage linkage;
    } linkages[] = {{".visible", LINK_VISIBLE},
                    {".weak", LINK_WEAK},
                    {".common", LINK_COMMON},
                    {".extern", LINK_EXTERN}};
    bool found = false;
    unsigned i;

again:
    for (i = 0; i < GP_ARRAY_LEN(linkages); i++) {
        if (ptx_tok_eq(&ps->lx.tok, linkages[i].text)) {
            *linkage_p = linkages[i].linkage;
            found = true;
            ptx_lex_next(&ps->lx);
            goto again;
        }
    }
    return found;
}

static bool
parse_item(struct ptx_parser *ps)
{
    struct ptx_tok *t = &ps->lx.tok;
    enum ptx_linkage linkage = LINK_INTERNAL;

    if (t->kind == TOK_NAME && t->text[0] == '@') /* old debug lines */
        return ptx_skip_statement(ps);
    if (t->kind != TOK_DOT)
        return ptx_fail(ps, "expected a directive, found '%.*s'", (int)t->len, t->text);
    (void)parse_linkage(ps, &linkage);
    if (ptx_tok_eq(t, ".entry"))
        return parse_func(ps, linkage, true);
    if (ptx_tok_eq(t, ".func"))
        return parse_func(ps, linkage, false);
    if (ptx_space_of(t) >= SPACE_GLOBAL && ptx_space_of(t) <= SPACE_SHARED)
        return parse_module_vars(ps, linkage);
    if (ptx_tok_eq(t, ".version"))
        return parse_version(ps);
    if (ptx_tok_eq(t, ".target"))
        return parse_target(ps);
    if (ptx_tok_eq(t, ".address_size")) {
        ptx_lex_next(&ps->lx);
        if (t->kind != TOK_INT || t->u64 != 64)
            return ptx_fail(ps, "only .address_size 64 exists here");
        ptx_lex_next(&ps->lx);
        return true;
    }
    if (ptx_tok_eq(t, ".file"))
        return skip_file(ps);
    if (ptx_tok_eq(t, ".section"))
        return skip_section(ps);
    if (ptx_tok_eq(t, ".alias"))
        return parse_alias(ps);
    if (ptx_tok_eq(t, ".pragma"))
        return ptx_skip_statement(ps);
    if (ptx_tok_eq(t, ".loc")) {
        ptx_lex_next(&ps->lx);
        while (t->kind == TOK_INT)
            ptx_lex_next(&ps->lx);
        return true;
    }
    return ptx_fail(ps, "unknown directive '%.*s'", (int)t->len, t->text);
}

/* Number the device variables; module shared ones stay out of the list that sd_module_var shows. */
static CUresult
parse_all(struct ptx_parser *ps)
{
    struct ptx_module *m = ps->m;
    uint32_t i;

    ptx_lex_start(&ps->lx, m->text, 1);
    while (ps->cr == CUDA_SUCCESS && ps->lx.tok.kind != TOK_END)
        (void)parse_item(ps);
    if (ps->cr == CUDA_SUCCESS && !m->seen_version)
        ptx_fail(ps, "no .version");
    m->large = m->len > PTX_LARGE_TEXT;
    if (ps->cr != CUDA_SUCCESS || m->large)
        return ps->cr;
    for (i = 0; i < m->nfuncs; i++) {
        CUresult cr = m->funcs[i]->defined ? ptx_body_parse(m->funcs[i], ps->log) : CUDA_SUCCESS;

        if (cr != CUDA_SUCCESS)
            return cr;
    }
    return CUDA_SUCCESS;
}

CUresult
ptx_module_parse(const char *text, size_t len, struct sd_text *log_p, struct ptx_module **module_p)
{
    struct ptx_parser ps = {.log = log_p};
    struct ptx_module *m;
    CUresult cr;

    if (len > PTX_TEXT_MAX)
        return CUDA_ERROR_INVALID_PTX;
    m = calloc(1, sizeof(*m));
    if (m == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    /* The lexer looks a few bytes ahead of where it is. */
    m->text = calloc(1, len + 8);
    if (m->text == NULL) {
        free(m);
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    m->len = strnlen(text, len);
    memcpy(m->text, text, m->len);
    ps.m = m;
    ps.arena = &m->arena;
    cr = parse_all(&ps);
    if (cr != CUDA_SUCCESS) {
        ptx_module_destroy(m);
        return cr;
    }
    *module_p = m;
    return CUDA_SUCCESS;
}

static void
destroy_one(struct ptx_module *m)
{
    uint32_t i;

    for (i = 0; i < m->nfuncs; i++) {
        if (m->funcs[i]->module != m)
            continue;
        ptx_body_destroy(m->funcs[i]->body);
        ptx_names_destroy(m->funcs[i]->names);
    }
    ptx_arena_free(&m->arena);
    free(m->symbols.buckets);
    free(m->vars);
    free(m->funcs);
    free(m->opcodes);
    free(m->text);
    free(m);
}

void
ptx_module_destroy(struct ptx_module *m)
{
    while (m != NULL) {
        struct ptx_module *next = m->linked;

        destroy_one(m);
        m = next;
    }
}
