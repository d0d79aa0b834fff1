/* backend/driver/soft/dev/library.c -- libraries: code that belongs to no context */
#include "backend/driver/soft/dev/mem.h"
#include "backend/driver/soft/dev/module.h"
#include "backend/driver/soft/dev/sched.h"
#include "cuda_api.h"

#include <string.h>

struct managed_var {
    struct managed_var *next;
    char *name;
    uint64_t address;
    uint64_t bytes;
};

struct CUlib_st {
    struct sd_object obj;

    /* Written once. */
    struct sd_ptx ptx;
    unsigned cc;
    struct CUkern_st **kernels;
    size_t kernel_count;

    /* Modules' lock. */
    struct sd_module *spare; /* parsed at load, for the first instance */
    struct CUmod_st *instances;
    struct managed_var *managed;

    struct gp_retired retired;
};

static CUresult
make_kernels(struct CUlib_st *lib)
{
    size_t count = sd_module_kernel_count(lib->spare);

    lib->kernels = calloc(count != 0 ? count : 1, sizeof(*lib->kernels));
    if (lib->kernels == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    for (; lib->kernel_count < count; lib->kernel_count++) {
        const struct sd_kernel *kernel = sd_module_kernel(lib->spare, lib->kernel_count);
        struct CUkern_st *kern = sd_object_new(SD_KERNEL, sizeof(*kern));

        if (kern == NULL)
            return CUDA_ERROR_OUT_OF_MEMORY;
        lib->kernels[lib->kernel_count] = kern;
        kern->name = strdup(kernel->name);
        kern->lib = lib;
        kern->index = lib->kernel_count;
        sd_settings_init(&kern->set);
        kern->params = calloc((size_t)kernel->nparams + 1, sizeof(*kern->params));
        if (kern->name == NULL || kern->params == NULL)
            return CUDA_ERROR_OUT_OF_MEMORY;
        memcpy(kern->params, kernel->params, kernel->nparams * sizeof(*kern->params));
        kern->nparams = kernel->nparams;
    }
    return CUDA_SUCCESS;
}

static void
library_end(struct gp_retired *retired)
{
    struct CUlib_st *lib =
        (struct CUlib_st *)(void *)((char *)retired - offsetof(struct CUlib_st, retired));

    for (size_t i = 0; i < lib->kernel_count; i++) {
        free((char *)lib->kernels[i]->name);
        free(lib->kernels[i]->params);
        sd_object_rest(SD_KERNEL, lib->kernels[i]);
    }
    free(lib->kernels);
    while (lib->managed != NULL) {
        struct managed_var *var = lib->managed;

        lib->managed = var->next;
        free(var->name);
        free(var);
    }
    if (lib->spare != NULL)
        sd_module_destroy(lib->spare);
    sd_ptx_fini(&lib->ptx);
    sd_object_rest(SD_LIBRARY, lib);
}

/* The lock is held; instances are gone. */
static void
library_delete(struct CUlib_st *lib)
{
    for (size_t i = 0; i < lib->kernel_count; i++)
        sd_object_close(lib->kernels[i]);
    sd_mem_release_all(NULL, lib);
    sd_object_close(lib);
    lib->retired.end = library_end;
    gp_retire(&lib->retired);
}

GP_EXPORT CUresult
cuLibraryLoadData(CUlibrary *library, const void *code, CUjit_option *jitOptions,
                  void **jitOptionsValues, unsigned int numJitOptions,
                  CUlibraryOption *libraryOptions, void **libraryOptionValues,
                  unsigned int numLibraryOptions)
{
    struct sd_jit_logs logs;
    struct sd_text text = {0};
    struct CUlib_st *lib;
    CUresult cr;

    SD_ENTER_READY();
    (void)libraryOptions; /* the image is copied anyhow */
    (void)libraryOptionValues;
    (void)numLibraryOptions;
    if (library == NULL || code == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    cr = sd_jit_parse(numJitOptions, jitOptions, jitOptionsValues, &logs);
    if (cr != CUDA_SUCCESS)
        return cr;
    lib = sd_object_new(SD_LIBRARY, sizeof(*lib));
    if (lib == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    lib->cc = sd_ctx_capability(sd_device_get(0)->primary);
    cr = sd_ptx_of_image(code, lib->cc, &lib->ptx);
    if (cr == CUDA_SUCCESS)
        cr = sd_ptx_build(&lib->ptx, lib->cc, &text, &lib->spare);
    if (cr == CUDA_SUCCESS)
        cr = make_kernels(lib);
    sd_jit_report(&logs, &text, cr);
    if (cr != CUDA_SUCCESS && text.len != 0)
        log_error("software device: library: %s", text.data);
    free(text.data);
    if (cr != CUDA_SUCCESS) {
        sd_modules_lock();
        library_delete(lib);
        sd_modules_unlock();
        return cr;
    }
    *library = lib;
    return CUDA_SUCCESS;
}

/* Later instances must not set managed variables back: what they hold is kept aside while the
 * module writes its initial values. NULL: nothing to keep. */
static uint8_t *
managed_save(const struct CUlib_st *lib)
{
    uint64_t total = 0, at = 0;
    uint8_t *saved;

    for (const struct managed_var *m = lib->managed; m != NULL; m = m->next)
        total += m->bytes;
    saved = total != 0 ? malloc(total) : NULL;
    for (const struct managed_var *m = lib->managed; m != NULL && saved != NULL; m = m->next) {
        memcpy(saved + at, (const void *)(uintptr_t)m->address, m->bytes);
        at += m->bytes;
    }
    return saved;
}

static void
managed_restore(const struct CUlib_st *lib, uint8_t *saved)
{
    uint64_t at = 0;

    for (const struct managed_var *m = lib->managed; m != NULL && saved != NULL; m = m->next) {
        memcpy((void *)(uintptr_t)m->address, saved + at, m->bytes);
        at += m->bytes;
    }
    free(saved);
}

/* The lock is held. */
static CUresult
make_instance(struct CUlib_st *lib, CUcontext ctx, struct CUmod_st **mod_p)
{
    struct sd_text text = {0};
    struct sd_module *code = lib->spare;
    struct CUmod_st *mod = NULL;
    uint8_t *saved = managed_save(lib);
    CUresult cr = CUDA_SUCCESS;

    lib->spare = NULL;
    if (code == NULL)
        cr = sd_ptx_build(&lib->ptx, lib->cc, &text, &code);
    if (cr == CUDA_SUCCESS)
        cr = sd_module_create(ctx, lib, code, &text, &mod);
    managed_restore(lib, saved);
    if (cr != CUDA_SUCCESS && text.len != 0)
        log_error("software device: library: %s", text.data);
    free(text.data);
    if (cr != CUDA_SUCCESS)
        return cr;
    for (size_t i = 0; i < mod->function_count; i++)
        mod->functions[i]->kern = lib->kernels[i];
    mod->lib_next = lib->instances;
    lib->instances = mod;
    mod->ctx_next = ctx->modules;
    ctx->modules = mod;
    *mod_p = mod;
    return CUDA_SUCCESS;
}

CUresult
sd_library_instance(struct CUlib_st *lib, CUcontext ctx, struct CUmod_st **mod_p)
{
    struct CUmod_st *mod;
    CUresult cr = CUDA_SUCCESS;

    sd_modules_lock();
    if (!sd_object_is(lib, SD_LIBRARY)) { /* another thread has unloaded it */
        sd_modules_unlock();
        return CUDA_ERROR_INVALID_HANDLE;
    }
    for (mod = lib->instances; mod != NULL && mod->ctx != ctx;)
        mod = mod->lib_next;
    if (mod == NULL)
        cr = make_instance(lib, ctx, &mod);
    sd_modules_unlock();
    if (cr == CUDA_SUCCESS)
        *mod_p = mod;
    return cr;
}

void
sd_library_forget(struct CUmod_st *mod)
{
    struct CUmod_st **link = &mod->lib->instances;

    while (*link != NULL && *link != mod)
        link = &(*link)->lib_next;
    if (*link != NULL)
        *link = mod->lib_next;
}

CUresult
sd_library_managed(struct CUlib_st *lib, CUcontext ctx, const struct sd_var *var, uint64_t *addr_p)
{
    struct managed_var *m;
    CUresult cr;

    for (m = lib->managed; m != NULL; m = m->next) {
        if (strcmp(m->name, var->name) == 0) {
            *addr_p = m->address;
            return CUDA_SUCCESS;
        }
    }
    m = calloc(1, sizeof(*m));
    if (m == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    m->name = strdup(var->name);
    m->bytes = var->bytes;
    cr = m->name != NULL
             ? sd_mem_alloc(ctx->dev, NULL, lib, SD_MEM_MANAGED, var->bytes != 0 ? var->bytes : 1,
                            CU_MEM_ATTACH_GLOBAL, &m->address)
             : CUDA_ERROR_OUT_OF_MEMORY;
    if (cr != CUDA_SUCCESS) {
        free(m->name);
        free(m);
        return cr;
    }
    m->next = lib->managed;
    lib->managed = m;
    *addr_p = m->address;
    return CUDA_SUCCESS;
}

static CUresult
library_get(CUlibrary library)
{
    SD_ENTER_READY();
    return sd_object_is(library, SD_LIBRARY) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
}

/* What may still run its kernels ends first, in every context that has them. */
static void
drain_users(struct CUlib_st *lib)
{
    for (unsigned at = 0;; at++) {
        CUcontext ctx = NULL;
        struct CUmod_st *mod;
        unsigned i = 0;

        sd_modules_lock();
        if (sd_object_is(lib, SD_LIBRARY)) {
            for (mod = lib->instances; mod != NULL && i < at; i++)
                mod = mod->lib_next;
            ctx = mod != NULL ? mod->ctx : NULL;
        }
        sd_modules_unlock();
        if (ctx == NULL)
            return;
        (void)sd_ctx_drain(ctx);
    }
}

GP_EXPORT CUresult
cuLibraryUnload(CUlibrary library)
{
    GP_USE();
    CUresult cr = library_get(library);

    if (cr != CUDA_SUCCESS)
        return cr;
    drain_users(library);
    sd_modules_lock();
    if (!sd_object_is(library, SD_LIBRARY)) { /* another thread was first */
        sd_modules_unlock();
        return CUDA_ERROR_INVALID_HANDLE;
    }
    while (library->instances != NULL) {
        struct CUmod_st *mod = library->instances, **link = &mod->ctx->modules;

        library->instances = mod->lib_next;
        while (*link != NULL && *link != mod)
            link = &(*link)->ctx_next;
        if (*link != NULL)
            *link = mod->ctx_next;
        sd_module_delete(mod);
    }
    library_delete(library);
    sd_modules_unlock();
    return CUDA_SUCCESS;
}

GP_EXPORT CUresult
cuLibraryGetKernel(CUkernel *pKernel, CUlibrary library, const char *name)
{
    GP_USE();
    CUresult cr = library_get(library);

    if (cr != CUDA_SUCCESS)
        return cr;
    if (pKernel == NULL || name == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    for (size_t i = 0; i < library->kernel_count; i++) {
        if (strcmp(library->kernels[i]->name, name) != 0)
            continue;
        *pKernel = library->kernels[i];
        return CUDA_SUCCESS;
    }
    return CUDA_ERROR_NOT_FOUND;
}

GP_EXPORT CUresult
cuLibraryGetKernelCount(unsigned int *count, CUlibrary lib)
{
    GP_USE();
    CUresult cr = library_get(lib);

    if (cr != CUDA_SUCCESS)
        return cr;
    if (count == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    *count = (unsigned)lib->kernel_count;
    return CUDA_SUCCESS;
}

GP_EXPORT CUresult
cuLibraryEnumerateKernels(CUkernel *kernels, unsigned int numKernels, CUlibrary lib)
{
    GP_USE();
    CUresult cr = library_get(lib);

    if (cr != CUDA_SUCCESS)
        return cr;
    if (kernels == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    for (size_t i = 0; i < lib->kernel_count && i < numKernels; i++)
        kernels[i] = lib->kernels[i];
    return CUDA_SUCCESS;
}

GP_EXPORT CUresult
cuLibraryGetModule(CUmodule *pMod, CUlibrary library)
{
    GP_USE();
    CUcontext ctx;
    CUresult cr = library_get(library);

    if (cr != CUDA_SUCCESS)
        return cr;
    if (pMod == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    SD_ENTER(ctx);
    return sd_library_instance(library, ctx, pMod);
}

GP_EXPORT CUresult
cuLibraryGetGlobal(CUdeviceptr *dptr, size_t *bytes, CUlibrary library, const char *name)
{
    GP_USE();
    CUmodule mod;
    CUcontext ctx;
    CUresult cr;

    SD_ENTER(ctx);
    cr = cuLibraryGetModule(&mod, library);
    return cr != CUDA_SUCCESS ? cr : cuModuleGetGlobal_v2(dptr, bytes, mod, name);
}

GP_EXPORT CUresult
cuLibraryGetManaged(CUdeviceptr *dptr, size_t *bytes, CUlibrary library, const char *name)
{
    GP_USE();
    CUcontext ctx = sd_ctx_current();
    struct managed_var *m;
    struct CUmod_st *mod;
    CUresult cr = library_get(library);

    if (cr != CUDA_SUCCESS)
        return cr;
    if (name == NULL || (dptr == NULL && bytes == NULL))
        return CUDA_ERROR_INVALID_VALUE;
    /* Asked for before there is a context; an instance places and fills the variables. */
    if (ctx == NULL)
        ctx = sd_device_get(0)->primary;
    cr = sd_library_instance(library, ctx, &mod);
    if (cr != CUDA_SUCCESS)
        return cr;
    sd_modules_lock();
    for (m = library->managed; m != NULL && strcmp(m->name, name) != 0;)
        m = m->next;
    if (m == NULL) {
        cr = CUDA_ERROR_NOT_FOUND;
    } else {
        if (dptr != NULL)
            *dptr = m->address;
        if (bytes != NULL)
            *bytes = m->bytes;
    }
    sd_modules_unlock();
    return cr;
}

GP_EXPORT CUresult
cuLibraryGetUnifiedFunction(void **fptr, CUlibrary library, const char *symbol)
{
    GP_USE();
    (void)fptr;
    (void)symbol;
    return library_get(library) != CUDA_SUCCESS ? CUDA_ERROR_INVALID_HANDLE : CUDA_ERROR_NOT_FOUND;
}

/* --- kernels --- */

static CUresult
kernel_get(CUkernel kernel)
{
    SD_ENTER_READY();
    return sd_object_is(kernel, SD_KERNEL) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
}

/* The kernel's function in the context of device dev, the current one if it is of that device. */
static CUresult
kernel_function(CUkernel kernel, CUdevice dev, struct CUfunc_st **fn_p)
{
    struct sd_device *device = sd_device_get(dev);
    CUcontext ctx = sd_ctx_current();
    struct CUmod_st *mod;
    CUresult cr;

    if (device == NULL)
        return CUDA_ERROR_INVALID_DEVICE;
    if (ctx == NULL || ctx->dev != device || sd_ctx_check(ctx) != CUDA_SUCCESS)
        ctx = device->primary;
    cr = sd_library_instance(kernel->lib, ctx, &mod);
    if (cr == CUDA_SUCCESS)
        *fn_p = mod->functions[kernel->index];
    return cr;
}

CUresult
sd_function_get(CUfunction handle, CUcontext ctx, struct CUfunc_st **fn_p)
{
    struct CUkern_st *kernel = (struct CUkern_st *)handle;
    struct CUmod_st *mod;
    CUresult cr;

    if (sd_object_is(handle, SD_FUNCTION)) {
        *fn_p = handle;
        return CUDA_SUCCESS;
    }
    if (!sd_object_is(kernel, SD_KERNEL))
        return CUDA_ERROR_INVALID_HANDLE;
    cr = sd_library_instance(kernel->lib, ctx, &mod);
    if (cr == CUDA_SUCCESS)
        *fn_p = mod->functions[kernel->index];
    return cr;
}

GP_EXPORT CUresult
cuKernelGetFunction(CUfunction *pFunc, CUkernel kernel)
{
    GP_USE();
    CUcontext ctx;
    CUresult cr = kernel_get(kernel);

    if (cr != CUDA_SUCCESS)
        return cr;
    if (pFunc == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    SD_ENTER(ctx);
    return sd_function_get((CUfunction)kernel, ctx, pFunc);
}

GP_EXPORT CUresult
cuKernelGetLibrary(CUlibrary *pLib, CUkernel kernel)
{
    GP_USE();
    CUresult cr = kernel_get(kernel);

    if (cr != CUDA_SUCCESS)
        return cr;
    if (pLib == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    *pLib = kernel->lib;
    return CUDA_SUCCESS;
}

GP_EXPORT CUresult
cuKernelGetName(const char **name, CUkernel hfunc)
{
    GP_USE();
    CUresult cr = kernel_get(hfunc);

    if (cr != CUDA_SUCCESS)
        return cr;
    if (name == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    *name = hfunc->name;
    return CUDA_SUCCESS;
}

GP_EXPORT CUresult
cuKernelGetAttribute(int *pi, CUfunction_attribute attrib, CUkernel kernel, CUdevice dev)
{
    GP_USE();
    struct CUfunc_st *fn;
    CUresult cr = kernel_get(kernel);

    if (cr != CUDA_SUCCESS)
        return cr;
    if (pi == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    cr = kernel_function(kernel, dev, &fn);
    return cr != CUDA_SUCCESS ? cr : sd_function_attribute(fn, attrib, pi);
}

GP_EXPORT CUresult
cuKernelSetAttribute(CUfunction_attribute attrib, int val, CUkernel kernel, CUdevice dev)
{
    GP_USE();
    struct CUfunc_st *fn;
    CUresult cr = kernel_get(kernel);

    if (cr != CUDA_SUCCESS)
        return cr;
    cr = kernel_function(kernel, dev, &fn);
    return cr != CUDA_SUCCESS ? cr : sd_settings_change(&kernel->set, fn, attrib, val);
}

GP_EXPORT CUresult
cuKernelSetCacheConfig(CUkernel kernel, CUfunc_cache config, CUdevice dev)
{
    GP_USE();
    CUresult cr = kernel_get(kernel);

    if (cr != CUDA_SUCCESS)
        return cr;
    if (sd_device_get(dev) == NULL)
        return CUDA_ERROR_INVALID_DEVICE;
    if ((unsigned)config > CU_FUNC_CACHE_PREFER_EQUAL)
        return CUDA_ERROR_INVALID_VALUE;
    atomic_store(&kernel->set.cache_config, (int)config);
    return CUDA_SUCCESS;
}

GP_EXPORT CUresult
cuKernelGetParamInfo(CUkernel kernel, size_t paramIndex, size_t *paramOffset, size_t *paramSize)
{
    GP_USE();
    CUresult cr = kernel_get(kernel); /* in no context */

    return cr != CUDA_SUCCESS
               ? cr
               : sd_param_info(kernel->params, kernel->nparams, paramIndex, paramOffset, paramSize);
}
