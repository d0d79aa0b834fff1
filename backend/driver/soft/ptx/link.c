/* backend/driver/soft/ptx/link.c
 *
 * The modules stay as they are, each with its own names and text; declarations are only pointed
 * at the definitions in other modules, and a new root module lists what is left: all functions
 * that are defined, under new numbers, and all variables.
 */
#include "backend/driver/soft/ptx/link.h"

#include <string.h>

struct linker {
    struct ptx_module *root;
    struct sd_text *log;
    CUresult cr;
};

static void
twice(struct linker *ln, struct ptx_name name)
{
    sd_text_add(ln->log, "'%.*s' is defined in more than one module\n", (int)name.len, name.text);
    ln->cr = CUDA_ERROR_INVALID_PTX;
}

/* The common entry of a name; made if it is new. */
static struct ptx_sym *
common(struct linker *ln, struct ptx_name name, enum ptx_sym_kind kind, void *object)
{
    struct ptx_sym *s = ptx_sym_find(&ln->root->symbols, name);

    if (s != NULL && s->kind != (uint32_t)kind) {
        twice(ln, name);
        return NULL;
    }
    if (s == NULL) {
        s = ptx_sym_add(&ln->root->arena, &ln->root->symbols, name, kind, object);
        if (s == NULL)
            ln->cr = CUDA_ERROR_OUT_OF_MEMORY;
    }
    return s;
}

static void
enter_func(struct linker *ln, struct ptx_func *f)
{
    struct ptx_sym *s;
    struct ptx_func *old;

    if (f->alias_of != NULL || f->linkage == LINK_INTERNAL)
        return;
    s = common(ln, f->name, SYM_FUNC, f);
    if (s == NULL || s->object == f)
        return;
    old = s->object;
    if (!old->defined || (f->defined && old->linkage == LINK_WEAK && f->linkage != LINK_WEAK)) {
        old->alias_of = f;
        s->object = f;
    } else {
        if (f->defined && old->linkage != LINK_WEAK && f->linkage != LINK_WEAK)
            twice(ln, f->name);
        f->alias_of = old;
    }
}

static void
enter_var(struct linker *ln, struct ptx_var *v)
{
    struct ptx_sym *s;
    struct ptx_var *old;
    bool replaces;

    if (v->linkage == LINK_INTERNAL)
        return;
    s = common(ln, v->name, SYM_VAR, v);
    if (s == NULL || s->object == v)
        return;
    old = s->object;
    if (old->space != v->space) {
        twice(ln, v->name);
        return;
    }
    if (v->linkage == LINK_VISIBLE && old->linkage == LINK_VISIBLE)
        twice(ln, v->name);
    /* visible beats weak beats common beats extern; of two common ones the larger stays. */
    replaces = old->linkage == LINK_EXTERN
                   ? v->linkage != LINK_EXTERN || v->bytes > old->bytes
                   : v->linkage != LINK_EXTERN && (v->linkage < old->linkage ||
                                                   (v->linkage == old->linkage &&
                                                    v->bytes > old->bytes));
    if (replaces) {
        old->alias_of = v;
        s->object = v;
    } else {
        v->alias_of = old;
    }
}

static void
list_module(struct linker *ln, struct ptx_module *m)
{
    struct ptx_module *root = ln->root;
    uint32_t i;

    for (i = 0; i < m->nfuncs; i++) {
        struct ptx_func *f = m->funcs[i];

        if (f->alias_of != NULL)
            continue;
        if (!ptx_grow(&root->funcs, root->nfuncs, &root->funcs_cap, sizeof(*root->funcs))) {
            ln->cr = CUDA_ERROR_OUT_OF_MEMORY;
            return;
        }
        f->index = root->nfuncs;
        root->funcs[root->nfuncs++] = f;
    }
    for (i = 0; i < m->nvars; i++) {
        if (m->vars[i]->alias_of != NULL)
            continue;
        if (!ptx_grow(&root->vars, root->nvars, &root->vars_cap, sizeof(*root->vars))) {
            ln->cr = CUDA_ERROR_OUT_OF_MEMORY;
            return;
        }
        root->vars[root->nvars++] = m->vars[i];
    }
    m->root = root;
    if (m->target > root->target)
        root->target = m->target;
    if (m->version > root->version)
        root->version = m->version;
}

/* Many small modules are a large one: they were parsed to find their errors, that was all. */
static void
drop_bodies(struct linker *ln)
{
    const struct ptx_module *m;
    size_t len = 0;
    uint32_t i;

    for (m = ln->root->linked; m != NULL; m = m->linked)
        len += m->len;
    ln->root->large = len > PTX_LARGE_TEXT;
    for (i = 0; i < ln->root->nfuncs && ln->root->large; i++)
        ptx_body_drop(ln->root->funcs[i]);
}

CUresult
ptx_link(struct ptx_module **modules, size_t count, struct sd_text *log_p,
         struct ptx_module **module_p)
{
    struct linker ln = {.root = calloc(1, sizeof(*ln.root)), .log = log_p};
    size_t i;
    uint32_t k;

    if (ln.root == NULL) {
        for (i = 0; i < count; i++)
            ptx_module_destroy(modules[i]);
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    /* The root owns the others from here on. */
    for (i = count; i-- > 0;) {
        modules[i]->linked = ln.root->linked;
        ln.root->linked = modules[i];
    }
    for (i = 0; i < count; i++) {
        for (k = 0; k < modules[i]->nfuncs; k++)
            enter_func(&ln, modules[i]->funcs[k]);
        for (k = 0; k < modules[i]->nvars; k++)
            enter_var(&ln, modules[i]->vars[k]);
    }
    for (i = 0; i < count && ln.cr == CUDA_SUCCESS; i++)
        list_module(&ln, modules[i]);
    if (ln.cr == CUDA_SUCCESS)
        drop_bodies(&ln);
    if (ln.cr != CUDA_SUCCESS) {
        ptx_module_destroy(ln.root);
        return ln.cr;
    }
    *module_p = ln.root;
    return CUDA_SUCCESS;
}
