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

/* All that f names is part of the kernel; an indirect call adds whatever has its address taken. */
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
    if (k->indirect)
        for (i = 0; i < k->m->nfuncs && cr == CUDA_SUCCESS; i++)
            if (k->m->funcs[i]->address_taken)
                cr = reach(k, k->m->funcs[i]);
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

static CUresult
place_all_shared(struct lower_kernel *k)
{
    CUresult cr = CUDA_SUCCESS;
    uint32_t i, j;

    for (i = 0; i < k->nfuncs && cr == CUDA_SUCCESS; i++) {
        const struct ptx_body *b = k->funcs[i]->body;

        for (j = 0; j < b->noperands && cr == CUDA_SUCCESS; j++)
            if (b->operands[j].kind == OPND_VAR)
                cr = place_shared(k, b->operands[j].var);
        for (j = 0; j < b->nvars && cr == CUDA_SUCCESS; j++)
            cr = place_shared(k, b->vars[j]);
    }
    return cr;
}

static bool
uses_dynamic(const struct lower_kernel *k)
{
    uint32_t i, j;

    for (i = 0; i < k->nfuncs; i++) {
        const struct ptx_body *b = k->funcs[i]->body;

        for (j = 0; j < b->noperands; j++)
            if (b->operands[j].kind == OPND_VAR && b->operands[j].var->space == SPACE_SHARED &&
                ptx_var_final(b->operands[j].var)->bytes == 0)
                return true;
    }
    return false;
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
    for (i = 0; i < k->nfuncs; i++) {
        struct sd_fn *fn = calloc(1, sizeof(*fn));

        if (fn == NULL)
            return CUDA_ERROR_OUT_OF_MEMORY;
        fn->code = code;
        fn->index = i;
        fn->name = ptx_strdup(&k->m->arena, k->funcs[i]->name);
        code->fns[code->nfns++] = fn;
        if (!lower_function(k, k->funcs[i], fn, &cr))
            return cr;
    }
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
    cr = k.code->by_ptx == NULL ? CUDA_ERROR_OUT_OF_MEMORY : reach(&k, kernel);
    for (i = 0; i < k.nfuncs && cr == CUDA_SUCCESS; i++)
        cr = scan(&k, k.funcs[i]);
    if (cr == CUDA_SUCCESS)
        cr = place_all_shared(&k);
    if (cr == CUDA_SUCCESS) {
        if (uses_dynamic(&k))
            k.shared_bytes = (uint32_t)gp_align_up_u64(k.shared_bytes, 16);
        cr = lower_functions(&k);
    }
    if (cr == CUDA_SUCCESS) {
        k.code->param_bytes = kernel->param_bytes;
        k.code->static_shared_bytes = k.shared_bytes;
        for (i = 0; i < k.code->nfns; i++)
            k.code->local_bytes += k.code->fns[i]->local_bytes;
        *code_p = k.code;
    } else {
        sd_kernel_code_destroy(k.code);
    }
    free(k.funcs);
    free(k.shared);
    return cr;
}

void
sd_kernel_code_destroy(struct sd_kernel_code *code)
{
    uint32_t i;

    if (code == NULL)
        return;
    for (i = 0; i < code->nfns; i++) {
        struct sd_fn *fn = code->fns[i];

        free(fn->insns);
        free(fn->lines);
        free(fn->presets);
        free(fn->extra);
        free(fn->sites);
        free(fn->copies);
        free(fn);
    }
    free(code->fns);
    free(code->by_ptx);
    free(code);
}
