/* backend/driver/soft/exec/machine.c -- modules as the driver half sees them */
#include "backend/driver/soft/exec/exec.h"
#include "backend/driver/soft/exec/insn.h"

#include "backend/driver/soft/ptx/link.h"
#include "backend/driver/soft/ptx/lower.h"
#include "backend/driver/soft/ptx/module.h"
#include "protocol/base/log.h"

#include <pthread.h>
#include <string.h>

struct kernel {
    struct sd_kernel pub;
    struct ptx_func *func;
    struct sd_param *params;
    CUresult failed;       /* of an earlier attempt to lower; guarded by the module's lock */
};

struct sd_module {
    struct ptx_module *ptx;
    struct sd_var *vars;
    struct ptx_var **var_of; /* vars[i] is var_of[i] */
    size_t nvars;
    struct kernel *kernels;
    size_t nkernels;
    /* Taken while a kernel is lowered; code of a prepared kernel is read without it. */
    pthread_mutex_t lock;
};

uint64_t
ptx_var_address(const struct ptx_var *v)
{
    return v->address;
}

/* ---- from a parsed module ---- */

static bool
is_device_var(const struct ptx_var *v)
{
    return v->space == SPACE_GLOBAL || v->space == SPACE_CONST;
}

static CUresult
list_vars(struct sd_module *m)
{
    uint32_t i;

    m->vars = calloc((size_t)m->ptx->nvars + 1, sizeof(*m->vars));
    m->var_of = calloc((size_t)m->ptx->nvars + 1, sizeof(struct ptx_var *));
    if (m->vars == NULL || m->var_of == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    for (i = 0; i < m->ptx->nvars; i++) {
        struct ptx_var *v = m->ptx->vars[i];
        struct sd_var *s = &m->vars[m->nvars];

        if (!is_device_var(v))
            continue;
        s->name = ptx_strdup(&m->ptx->arena, v->name);
        if (s->name == NULL)
            return CUDA_ERROR_OUT_OF_MEMORY;
        s->space = v->space == SPACE_CONST ? SD_VAR_CONST : SD_VAR_GLOBAL;
        s->bytes = v->bytes;
        s->align = v->align;
        s->reference = v->type == PT_TEXREF    ? SD_VAR_TEXREF
                       : v->type == PT_SURFREF ? SD_VAR_SURFREF
                                               : SD_VAR_PLAIN;
        s->managed = v->managed;
        s->defined = v->linkage != LINK_EXTERN;
        m->var_of[m->nvars++] = v;
    }
    return CUDA_SUCCESS;
}

static CUresult
init_kernel(struct sd_module *m, struct kernel *k, struct ptx_func *f)
{
    uint32_t i;

    k->func = f;
    k->params = calloc((size_t)f->nparams + 1, sizeof(*k->params));
    k->pub.name = ptx_strdup(&m->ptx->arena, f->name);
    if (k->params == NULL || k->pub.name == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    for (i = 0; i < f->nparams; i++)
        k->params[i] = (struct sd_param){f->params[i].offset, f->params[i].bytes,
                                         f->params[i].align};
    k->pub.module = m;
    k->pub.params = k->params;
    k->pub.nparams = f->nparams;
    k->pub.param_bytes = f->param_bytes;
    memcpy(k->pub.max_ntid, f->max_ntid, sizeof(f->max_ntid));
    memcpy(k->pub.req_ntid, f->req_ntid, sizeof(f->req_ntid));
    memcpy(k->pub.req_cluster, f->req_cluster, sizeof(f->req_cluster));
    k->pub.max_cluster = f->max_cluster;
    k->pub.explicit_cluster = f->explicit_cluster;
    k->pub.min_nctapersm = f->min_nctapersm;
    k->pub.target = f->module->target;
    k->pub.ptx_version = f->module->version;
    return CUDA_SUCCESS;
}

static CUresult
list_kernels(struct sd_module *m)
{
    CUresult cr = CUDA_SUCCESS;
    uint32_t i;

    m->kernels = calloc((size_t)m->ptx->nfuncs + 1, sizeof(*m->kernels));
    if (m->kernels == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    for (i = 0; i < m->ptx->nfuncs && cr == CUDA_SUCCESS; i++)
        if (m->ptx->funcs[i]->entry && m->ptx->funcs[i]->defined)
            cr = init_kernel(m, &m->kernels[m->nkernels++], m->ptx->funcs[i]);
    return cr;
}

static CUresult
module_create(struct ptx_module *ptx, struct sd_module **module_p)
{
    struct sd_module *m = calloc(1, sizeof(*m));
    CUresult cr;

    if (m == NULL) {
        ptx_module_destroy(ptx);
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    m->ptx = ptx;
    pthread_mutex_init(&m->lock, NULL);
    cr = list_vars(m);
    if (cr == CUDA_SUCCESS)
        cr = list_kernels(m);
    if (cr != CUDA_SUCCESS) {
        sd_module_destroy(m);
        return cr;
    }
    *module_p = m;
    return CUDA_SUCCESS;
}

CUresult
sd_module_parse(const char *text, size_t len, struct sd_text *log_p, struct sd_module **module_p)
{
    struct ptx_module *ptx;
    CUresult cr = ptx_module_parse(text, len, log_p, &ptx);

    return cr != CUDA_SUCCESS ? cr : module_create(ptx, module_p);
}

CUresult
sd_module_link(struct sd_module **modules, size_t count, struct sd_text *log_p,
               struct sd_module **module_p)
{
    struct ptx_module **list = calloc(count + 1, sizeof(struct ptx_module *));
    struct ptx_module *linked = NULL;
    CUresult cr;
    size_t i;

    for (i = 0; i < count; i++) {
        if (list != NULL) {
            list[i] = modules[i]->ptx;
            modules[i]->ptx = NULL;
        }
        sd_module_destroy(modules[i]);
        modules[i] = NULL;
    }
    if (list == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    cr = ptx_link(list, count, log_p, &linked);
    free(list);
    return cr != CUDA_SUCCESS ? cr : module_create(linked, module_p);
}

void
sd_module_destroy(struct sd_module *m)
{
    size_t i;

    if (m == NULL)
        return;
    for (i = 0; i < m->nkernels; i++) {
        free(m->kernels[i].params);
        sd_kernel_code_destroy((struct sd_kernel_code *)(uintptr_t)m->kernels[i].pub.code);
    }
    free(m->kernels);
    free(m->vars);
    free(m->var_of);
    ptx_module_destroy(m->ptx);
    pthread_mutex_destroy(&m->lock);
    free(m);
}

/* ---- variables ---- */

size_t
sd_module_var_count(const struct sd_module *m)
{
    return m->nvars;
}

const struct sd_var *
sd_module_var(const struct sd_module *m, size_t index)
{
    return &m->vars[index];
}

void
sd_module_place(struct sd_module *m, size_t index, uint64_t address)
{
    m->vars[index].address = address;
    m->var_of[index]->address = address;
}

/* What a name in an initialiser stands for; false if nothing does. */
static bool
reloc_value(const struct ptx_var *in, const struct ptx_reloc *r, uint64_t *value_p)
{
    struct ptx_sym *s = ptx_sym_find(&in->module->symbols, r->name);
    uint64_t v;

    if (s == NULL)
        return false;
    if (s->kind == SYM_FUNC) {
        struct ptx_func *f = ptx_func_final(s->object);

        f->address_taken = true;
        v = ptx_func_address(f);
    } else if (s->kind == SYM_VAR && is_device_var(s->object)) {
        v = ptx_var_final(s->object)->address;
        if (v == 0)
            return false;
    } else {
        return false;
    }
    v = (v + (uint64_t)r->addend) & r->mask;
    *value_p = v >> r->shift;
    return true;
}

static CUresult
write_initial(const struct ptx_var *v, struct sd_text *log_p)
{
    uint8_t *p = (uint8_t *)(uintptr_t)v->address;
    uint64_t value;
    uint32_t i;

    if (v->linkage == LINK_EXTERN || v->bytes == 0)
        return CUDA_SUCCESS;
    if (p == NULL)
        return CUDA_ERROR_INVALID_VALUE; /* the driver half forgot to place it */
    memset(p, 0, v->bytes);
    if (v->init != NULL)
        memcpy(p, v->init, v->init_bytes < v->bytes ? v->init_bytes : v->bytes);
    for (i = 0; i < v->nrelocs; i++) {
        const struct ptx_reloc *r = &v->relocs[i];

        if (!reloc_value(v, r, &value)) {
            sd_text_add(log_p, "line %u: unresolved name '%.*s'\n", v->line, (int)r->name.len,
                        r->name.text);
            return CUDA_ERROR_INVALID_PTX;
        }
        if (r->offset + r->bytes <= v->bytes)
            memcpy(p + r->offset, &value, r->bytes);
    }
    return CUDA_SUCCESS;
}

CUresult
sd_module_finish(struct sd_module *m, struct sd_text *log_p)
{
    CUresult cr = CUDA_SUCCESS;
    size_t i;

    for (i = 0; i < m->nvars && cr == CUDA_SUCCESS; i++)
        cr = write_initial(m->var_of[i], log_p);
    return cr;
}

/* ---- kernels ---- */

size_t
sd_module_kernel_count(const struct sd_module *m)
{
    return m->nkernels;
}

const struct sd_kernel *
sd_module_kernel(const struct sd_module *m, size_t index)
{
    return &m->kernels[index].pub;
}

const struct sd_kernel *
sd_module_kernel_at(const struct sd_module *m, uint64_t address)
{
    for (size_t i = 0; i < m->nkernels; i++)
        if (ptx_func_address(m->kernels[i].func) == address)
            return &m->kernels[i].pub;
    return NULL;
}

/* Of what is lowered: functions left for later count nothing. */
static uint32_t
most_registers(const struct sd_kernel_code *code)
{
    uint32_t i, most = 1;

    for (i = 0; i < code->nfns; i++)
        if (code->fns[i] != NULL && code->fns[i]->registers > most)
            most = code->fns[i]->registers;
    return most;
}

static CUresult
prepare_locked(struct kernel *k, struct sd_text *log_p)
{
    struct sd_kernel_code *code = NULL;
    struct sd_text local = {0};
    CUresult cr;

    if (k->pub.code != NULL)
        return CUDA_SUCCESS;
    cr = ptx_lower_kernel(k->func, &local, &code);
    if (cr != CUDA_SUCCESS) {
        if (k->failed == CUDA_SUCCESS)
            log_error("soft device: %s", local.data != NULL ? local.data : "out of memory");
        k->failed = cr;
        if (local.data != NULL)
            sd_text_add(log_p, "%s", local.data);
    } else {
        k->pub.registers = most_registers(code);
        k->pub.static_shared_bytes = code->static_shared_bytes;
        k->pub.local_bytes = code->local_bytes;
        __atomic_store_n(&k->pub.code, code, __ATOMIC_RELEASE);
    }
    free(local.data);
    return cr;
}

CUresult
sd_kernel_prepare(const struct sd_kernel *kernel, struct sd_text *log_p)
{
    struct kernel *k = GP_CONTAINER_OF(kernel, struct kernel, pub);
    struct sd_module *m = kernel->module;
    CUresult cr;

    if (__atomic_load_n(&k->pub.code, __ATOMIC_ACQUIRE) != NULL)
        return CUDA_SUCCESS;
    pthread_mutex_lock(&m->lock);
    cr = prepare_locked(k, log_p);
    pthread_mutex_unlock(&m->lock);
    return cr;
}

CUresult
sd_kernel_complete(const struct sd_kernel *kernel, uint32_t function, struct sd_text *log_p)
{
    struct sd_module *m = kernel->module;
    CUresult cr;

    pthread_mutex_lock(&m->lock);
    cr = ptx_lower_late(kernel->code, function, log_p);
    pthread_mutex_unlock(&m->lock);
    if (cr != CUDA_SUCCESS)
        log_error("soft device: %s", log_p->data != NULL ? log_p->data : "out of memory");
    return cr;
}
