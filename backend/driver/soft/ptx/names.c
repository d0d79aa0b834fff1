/* backend/driver/soft/ptx/names.c -- what a function names, found without parsing it
 *
 * Libraries hold hundreds of functions that any kernel might call by their addresses, and a
 * kernel's shared memory has one layout: before it runs, all that its functions may call and share
 * must be known. Their text is only looked through; a name of the function's own that hides one of
 * the module makes it known without need, no more.
 */
#include "backend/driver/soft/ptx/parse_priv.h"

static bool
add_func(struct ptx_names *names, struct ptx_func *f, const struct ptx_func *by)
{
    if (f->named_by == by)
        return true;
    if (!ptx_grow(&names->funcs, names->nfuncs, &names->funcs_cap, sizeof(struct ptx_func *)))
        return false;
    f->named_by = by;
    names->funcs[names->nfuncs++] = f;
    return true;
}

static bool
add_shared(struct ptx_names *names, struct ptx_var *v, const struct ptx_func *by)
{
    if (v->named_by == by || v->space != SPACE_SHARED)
        return true;
    if (!ptx_grow(&names->shared, names->nshared, &names->shared_cap, sizeof(struct ptx_var *)))
        return false;
    v->named_by = by;
    names->shared[names->nshared++] = v;
    return true;
}

static bool
add_name(struct ptx_names *names, const struct ptx_func *by, struct ptx_name name)
{
    const struct ptx_sym *s = ptx_sym_find(&by->module->symbols, name);

    if (s != NULL && s->kind == SYM_FUNC)
        return add_func(names, s->object, by);
    return s == NULL || s->kind != SYM_VAR || add_shared(names, s->object, by);
}

/* The text of a body has been seen to have an end. */
static bool
look_through(struct ptx_names *names, const struct ptx_func *f)
{
    struct ptx_lexer lx = {0};
    const struct ptx_tok *t = &lx.tok;
    unsigned depth = 0;

    ptx_lex_start(&lx, f->body_text, f->body_line);
    for (; t->kind != TOK_END; ptx_lex_next(&lx)) {
        if (t->kind == TOK_NAME && *lx.p == '.') { /* an opcode, or %tid.x */
            ptx_lex_extend_opcode(&lx);
        } else if (t->kind == TOK_NAME) {
            if (!add_name(names, f, ptx_tok_name(t)))
                return false;
        } else if (t->kind == TOK_DOT && ptx_space_of(t) == SPACE_SHARED) {
            names->own_shared = true;
        } else if (ptx_tok_is(t, '{')) {
            depth++;
        } else if (ptx_tok_is(t, '}') && --depth == 0) {
            break;
        }
    }
    return true;
}

CUresult
ptx_names_of(struct ptx_func *f, const struct ptx_names **names_p)
{
    if (f->names == NULL) {
        struct ptx_names *names = calloc(1, sizeof(*names));

        if (names == NULL || !look_through(names, f)) {
            ptx_names_destroy(names);
            return CUDA_ERROR_OUT_OF_MEMORY;
        }
        f->names = names;
    }
    *names_p = f->names;
    return CUDA_SUCCESS;
}

void
ptx_names_destroy(struct ptx_names *names)
{
    if (names == NULL)
        return;
    free(names->funcs);
    free(names->shared);
    free(names);
}
