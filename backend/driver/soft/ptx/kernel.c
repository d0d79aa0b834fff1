/* backend/driver/soft/ptx/kernel.c -- everything that one kernel can reach, lowered together */
#include "backend/driver/soft/ptx/lower_priv.h"

#include <string.h>

#define SHARED_MAX (1u << 20)

uint64_t
ptx_func_address(const struct ptx_func *f)
{
    while (f->alias_of != NULL)
        f = f->alias_of;
    return SD_WINDOW_FUNC + (uint64_t)f->index * SD_FUNC_STRIDE;
}

enum lower_builtin
lower_builtin_of(const struct ptx_func *f)
{
    static const struct {
        const char *name;
        enum lower_builtin builtin;
        uint32_t nparams;
    } names[] = {{"vprintf", BUILTIN_VPRINTF, 2},
                 {"__assertfail", BUILTIN_ASSERT, 5},
                 {"malloc", BUILTIN_MALLOC, 1},
                 {"free", BUILTIN_FREE, 1},
                 /* What NVIDIA's device run time calls to launch kernels from kernels. */
                 {"__cuda_syscall_cnpv2GetParameterBufferV2", BUILTIN_LAUNCH_BUFFER, 4},
                 {"__cuda_syscall_cnpv2LaunchDeviceV2", BUILTIN_LAUNCH, 2},
                 {"__cuda_syscall_cnpv2StreamCreate", BUILTIN_STREAM_CREATE, 2},
                 {"__cuda_syscall_cnpv2StreamDestroy", BUILTIN_STREAM_DESTROY, 1},
                 {"__cuda_syscall_cnpv2GetLastError", BUILTIN_LAST_ERROR, 0},
                 {"__cuda_syscall_cnpv2SetLastError", BUILTIN_SET_ERROR, 1},
                 {"cudaGraphSetConditional", BUILTIN_SET_CONDITION, 2}};
    unsigned i;

    if (f->defined)
        return BUILTIN_NONE;
    for (i = 0; i < GP_ARRAY_LEN(names); i++)
        if (ptx_name_is(f->name, names[i].name) && f->nparams == names[i].nparams)
            return names[i].builtin;
    return BUILTIN_NONE;
}

int64_t
lower_fn_index(const struct lower_kernel *k, const struct ptx_func *f)
{
    while (f->alias_of != NULL)
        f = f->alias_of;
    if (f->index >= k->code->nby_ptx || k->code->by_ptx[f->index] == 0)
        return -1;
    return (int64_t)k->code->by_ptx[f->index] - 1;
}

static CUresult
reach(struct lower_kernel *k, struct ptx_func *f)
{
    f = ptx_func_final(f);
    /* A kernel whose address is taken is launched, not called. */
    if (f->entry && k->nfuncs > 0)
        return CUDA_SUCCESS;
    if (!f->defined || f->index >= k->code->nby_ptx || k->code->by_ptx[f->index] != 0)
        return CUDA_SUCCESS;
    if (!ptx_grow(&k->funcs, k->nfuncs, &k->funcs_cap, sizeof(*k->funcs)))
        return CUDA_ERROR_OUT_OF_MEMORY;
    k->funcs[k->nfuncs++] = f;
    k->code->by_ptx[f->index] = k->nfuncs;
    return CUDA_SUCCESS;
}

/* All that f names is part of the kernel. */
static CUresult
scan(struct lower_kernel *k, struct ptx_func *f)
{
    const struct ptx_body *b;
    CUresult cr = ptx_body_parse(f, k->log);
    uint32_t i;

    if (cr != CUDA_SUCCESS)
        return cr;
    b = f->body;
    for (i = 0; i < b->noperands && cr == CUDA_SUCCESS; i++)
        if (b->operands[i].kind == OPND_FUNC)
            cr = reach(k, b->operands[i].func);
    for (i = 0; i < b->ninsns && cr == CUDA_SUCCESS && !k->indirect; i++) {
        const struct ptx_insn *in = &b->insns[i];
        unsigned j;

        if (!ptx_root_is(in->op, "call"))
            continue;
        for (j = 0; j < in->count; j++)
            if (b->operands[in->first + j].kind == OPND_REG)
                k->indirect = true;
    }
    return cr;
}

/* The same of a function that is lowered when it is called. */
static CUresult
look(struct lower_kernel *k, struct ptx_func *f)
{
    const struct ptx_names *names;
    CUresult cr = ptx_names_of(f, &names);
    uint32_t i;

    if (cr != CUDA_SUCCESS)
        return cr;
    for (i = 0; i < names->nfuncs && cr == CUDA_SUCCESS; i++)
        cr = reach(k, names->funcs[i]);
    if (cr == CUDA_SUCCESS && names->own_shared) { /* these are placed now */
        f->keep_body = true;
        cr = ptx_body_parse(f, k->log);
    }
    return cr;
}

/* What the kernel calls by name, then, if it calls by address, whatever has its address taken: of
 * a large module only when it is called. */
static CUresult
reach_all(struct lower_kernel *k, struct ptx_func *kernel)
{
    CUresult cr = reach(k, kernel);
    uint32_t i;

    for (i = 0; i < k->nfuncs && cr == CUDA_SUCCESS; i++)
        cr = scan(k, k->funcs[i]);
    k->nnow = k->nfuncs;
    for (i = 0; i < k->m->nfuncs && k->indirect && cr == CUDA_SUCCESS; i++)
        if (k->m->funcs[i]->address_taken)
            cr = reach(k, k->m->funcs[i]);
    for (i = k->nnow; i < k->nfuncs && cr == CUDA_SUCCESS; i++)
        cr = k->m->large ? look(k, k->funcs[i]) : scan(k, k->funcs[i]);
    if (!k->m->large)
        k->nnow = k->nfuncs;
    return cr;
}

uint32_t
lower_shared_offset(const struct lower *lw, const struct ptx_var *v)
{
    const struct lower_kernel *k = lw->k;
    uint64_t at;
    uint32_t i;

    v = ptx_var_final(v);
    for (i = 0; i < k->nshared; i++)
        if (k->shared[i].var == v)
            return k->shared[i].offset;
    /* Sized ones were placed before; dynamic shared memory starts behind them. */
    at = gp_align_up_u64(k->shared_bytes, v->align < 16 ? 16 : v->align);
    return (uint32_t)at;
}

static CUresult
place_shared(struct lower_kernel *k, const struct ptx_var *v)
{
    uint32_t i;
    uint64_t at;

    v = ptx_var_final(v);
    if (v->space != SPACE_SHARED || v->bytes == 0)
        return CUDA_SUCCESS;
    for (i = 0; i < k->nshared; i++)
        if (k->shared[i].var == v)
            return CUDA_SUCCESS;
    if (!ptx_grow(&k->shared, k->nshared, &k->shared_cap, sizeof(*k->shared)))
        return CUDA_ERROR_OUT_OF_MEMORY;
    at = gp_align_up_u64(k->shared_bytes, v->align);
    k->shared[k->nshared++] = (struct lower_var){v, (uint32_t)at};
    if (v->bytes > SHARED_MAX || at + v->bytes > SHARED_MAX) {
        sd_text_add(k->log, "kernel %.*s: too much shared memory\n", (int)k->funcs[0]->name.len,
                    k->funcs[0]->name.text);
        return CUDA_ERROR_INVALID_PTX;
    }
    k->shared_bytes = (uint32_t)(at + v->bytes);
    return CUDA_SUCCESS;
}

/* Variables that f names or declares, parsed or not. */
static CUresult
place_shared_of(struct lower_kernel *k, const struct ptx_func *f)
{
    const struct ptx_body *b = f->body;
    CUresult cr = CUDA_SUCCESS;
    uint32_t i;

    for (i = 0; b == NULL && i < f->names->nshared && cr == CUDA_SUCCESS; i++)
        cr = place_shared(k, f->names->shared[i]);
    for (i = 0; b != NULL && i < b->noperands && cr == CUDA_SUCCESS; i++)
        if (b->operands[i].kind == OPND_VAR)
            cr = place_shared(k, b->operands[i].var);
    for (i = 0; b != NULL && i < b->nvars && cr == CUDA_SUCCESS; i++)
        cr = place_shared(k, b->vars[i]);
    return cr;
}

static bool
is_dynamic(const struct ptx_var *v)
{
    return v->space == SPACE_SHARED && ptx_var_final(v)->bytes == 0;
}

static bool
uses_dynamic(const struct lower_kernel *k)
{
    uint32_t i, j;

    for (i = 0; i < k->nfuncs; i++) {
        const struct ptx_body *b = k->funcs[i]->body;
        const struct ptx_names *names = k->funcs[i]->names;

        for (j = 0; b == NULL && j < names->nshared; j++)
            if (is_dynamic(names->shared[j]))
                return true;
        for (j = 0; b != NULL && j < b->noperands; j++)
            if (b->operands[j].kind == OPND_VAR && is_dynamic(b->operands[j].var))
                return true;
    }
    return false;
}

static CUresult
place_all_shared(struct lower_kernel *k)
{
    CUresult cr = CUDA_SUCCESS;
    uint32_t i;

    for (i = 0; i < k->nfuncs && cr == CUDA_SUCCESS; i++)
        cr = place_shared_of(k, k->funcs[i]);
    if (cr == CUDA_SUCCESS && uses_dynamic(k))
        k->shared_bytes = (uint32_t)gp_align_up_u64(k->shared_bytes, 16);
    return cr;
}

static void
destroy_fn(struct sd_fn *fn)
{
    if (fn == NULL)
        return;
    free(fn->insns);
    free(fn->lines);
    free(fn->presets);
    free(fn->extra);
    free(fn->sites);
    free(fn->copies);
    free(fn);
}

/* The function's body is parsed. */
static CUresult
lower_one(struct lower_kernel *k, uint32_t index)
{
    struct sd_fn *fn = calloc(1, sizeof(*fn));
    CUresult cr = CUDA_ERROR_OUT_OF_MEMORY;

    if (fn == NULL)
        return cr;
    fn->code = k->code;
    fn->index = index;
    fn->name = ptx_strdup(&k->m->arena, k->funcs[index]->name);
    if (fn->name == NULL || !lower_function(k, k->funcs[index], fn, &cr)) {
        destroy_fn(fn);
        return cr;
    }
    /* A kernel that runs may be looking for it. */
    __atomic_store_n(&k->code->fns[index], fn, __ATOMIC_RELEASE);
    return CUDA_SUCCESS;
}

static CUresult
lower_functions(struct lower_kernel *k)
{
    struct sd_kernel_code *code = k->code;
    CUresult cr = CUDA_SUCCESS;
    uint32_t i;

    code->fns = calloc((size_t)k->nfuncs + 1, sizeof(struct sd_fn *));
    if (code->fns == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    code->nfns = k->nfuncs;
    for (i = 0; i < k->nnow && cr == CUDA_SUCCESS; i++)
        cr = lower_one(k, i);
    return cr;
}

/* Nobody lowers a kernel twice, and of a large module what several kernels call is parsed again. */
static void
drop_bodies(struct lower_kernel *k)
{
    uint32_t i;

    for (i = 0; i < k->nnow; i++)
        if (k->m->large || k->funcs[i]->entry)
            ptx_body_drop(k->funcs[i]);
}

/* What was left for later needs to know all this. */
static CUresult
keep_for_later(struct lower_kernel *k)
{
    struct lower_kernel *late = k->nnow < k->nfuncs ? malloc(sizeof(*late)) : NULL;

    if (late == NULL)
        return k->nnow < k->nfuncs ? CUDA_ERROR_OUT_OF_MEMORY : CUDA_SUCCESS;
    *late = *k;
    late->log = NULL;
    k->code->late = late;
    k->funcs = NULL;
    k->shared = NULL;
    return CUDA_SUCCESS;
}

CUresult
ptx_lower_kernel(struct ptx_func *kernel, struct sd_text *log_p, struct sd_kernel_code **code_p)
{
    struct lower_kernel k = {.m = ptx_root(kernel->module), .log = log_p};
    CUresult cr;
    uint32_t i;

    if (kernel
            ->blocks_are_clusters) { /* launches would count clusters, where clients count blocks */
        sd_text_add(log_p, "kernel %.*s: .blocksareclusters is not supported\n",
                    (int)kernel->name.len, kernel->name.text);
        return CUDA_ERROR_NOT_SUPPORTED;
    }
    k.code = calloc(1, sizeof(*k.code));
    if (k.code == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    k.code->by_ptx = calloc((size_t)k.m->nfuncs + 1, sizeof(uint32_t));
    k.code->nby_ptx = k.m->nfuncs;
    cr = k.code->by_ptx == NULL ? CUDA_ERROR_OUT_OF_MEMORY : reach_all(&k, kernel);
    if (cr == CUDA_SUCCESS)
        cr = place_all_shared(&k);
    if (cr == CUDA_SUCCESS)
        cr = lower_functions(&k);
    drop_bodies(&k);
    if (cr == CUDA_SUCCESS) {
        k.code->param_bytes = kernel->param_bytes;
        k.code->static_shared_bytes = k.shared_bytes;
        for (i = 0; i < k.nnow; i++)
            k.code->local_bytes += k.code->fns[i]->local_bytes;
        cr = keep_for_later(&k);
    }
    if (cr == CUDA_SUCCESS)
        *code_p = k.code;
    else
        sd_kernel_code_destroy(k.code);
    free(k.funcs);
    free(k.shared);
    return cr;
}

CUresult
ptx_lower_late(const struct sd_kernel_code *code, uint32_t index, struct sd_text *log_p)
{
    struct lower_kernel *k = code->late;
    CUresult cr;

    if (code->fns[index] != NULL)
        return CUDA_SUCCESS;
    k->log = log_p;
    cr = ptx_body_parse(k->funcs[index], log_p);
    if (cr == CUDA_SUCCESS)
        cr = lower_one(k, index);
    ptx_body_drop(k->funcs[index]);
    k->log = NULL;
    return cr;
}

void
sd_kernel_code_destroy(struct sd_kernel_code *code)
{
    uint32_t i;

    if (code == NULL)
        return;
    for (i = 0; i < code->nfns; i++)
        destroy_fn(code->fns[i]);
    if (code->late != NULL) {
        free(code->late->funcs);
        free(code->late->shared);
        free(code->late);
    }
    free(code->fns);
    free(code->by_ptx);
    free(code);
}
