/* backend/driver/soft/dev/module.c -- modules and their entry points */
#include "backend/driver/soft/dev/module.h"

#include "backend/driver/soft/dev/texref.h"

#include "backend/driver/soft/dev/mem.h"
#include "backend/driver/soft/dev/sched.h"
#include "cuda_api.h"
#include "protocol/legacy/settings.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

/* Rank 20: lists of modules and libraries. */
static pthread_mutex_t modules_mutex = PTHREAD_MUTEX_INITIALIZER;

void
sd_modules_lock(void)
{
    pthread_mutex_lock(&modules_mutex);
}

void
sd_modules_unlock(void)
{
    pthread_mutex_unlock(&modules_mutex);
}

void
sd_settings_init(struct sd_settings *set)
{
    atomic_init(&set->max_dynamic_shared, -1);
    atomic_init(&set->carveout, CU_SHAREDMEM_CARVEOUT_DEFAULT);
}

static CUresult
place_variables(struct CUmod_st *mod)
{
    for (size_t i = 0; i < sd_module_var_count(mod->code); i++) {
        const struct sd_var *var = sd_module_var(mod->code, i);
        uint64_t bytes = var->bytes != 0 ? var->bytes : 1;
        uint64_t addr;
        CUresult cr;

        if (!var->defined)
            continue;
        if (var->managed && mod->lib != NULL)
            cr = sd_library_managed(mod->lib, mod->ctx, var, &addr);
        else
            cr = sd_mem_alloc(mod->ctx->dev, mod->ctx, mod,
                              var->managed ? SD_MEM_MANAGED : SD_MEM_VARIABLE, bytes,
                              CU_MEM_ATTACH_GLOBAL, &addr);
        if (cr != CUDA_SUCCESS)
            return cr;
        sd_module_place(mod->code, i, addr);
    }
    return CUDA_SUCCESS;
}

static CUresult
make_functions(struct CUmod_st *mod)
{
    size_t count = sd_module_kernel_count(mod->code);

    mod->functions = calloc(count != 0 ? count : 1, sizeof(*mod->functions));
    if (mod->functions == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    for (; mod->function_count < count; mod->function_count++) {
        struct CUfunc_st *fn = sd_object_new(SD_FUNCTION, sizeof(*fn));

        if (fn == NULL)
            return CUDA_ERROR_OUT_OF_MEMORY;
        fn->mod = mod;
        fn->kernel = sd_module_kernel(mod->code, mod->function_count);
        sd_settings_init(&fn->set);
        mod->functions[mod->function_count] = fn;
    }
    return CUDA_SUCCESS;
}

static void
module_end(struct gp_retired *retired)
{
    struct CUmod_st *mod =
        (struct CUmod_st *)(void *)((char *)retired - offsetof(struct CUmod_st, retired));

    for (size_t i = 0; i < mod->function_count; i++)
        sd_object_rest(SD_FUNCTION, mod->functions[i]);
    free(mod->functions);
    sd_module_destroy(mod->code);
    sd_object_rest(SD_MODULE, mod);
}

void
sd_module_delete(struct CUmod_st *mod)
{
    for (size_t i = 0; i < mod->function_count; i++) {
        gp_legacy_forget(mod->functions[i]);
        sd_object_close(mod->functions[i]);
    }
    sd_texrefs_of_module_gone(mod);
    sd_mem_release_all(NULL, mod);
    sd_object_close(mod);
    mod->retired.end = module_end;
    gp_retire(&mod->retired);
}

CUresult
sd_module_create(CUcontext ctx, struct CUlib_st *lib, struct sd_module *code, struct sd_text *log_p,
                 struct CUmod_st **mod_p)
{
    struct CUmod_st *mod = sd_object_new(SD_MODULE, sizeof(*mod));
    CUresult cr;

    if (mod == NULL) {
        sd_module_destroy(code);
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    mod->ctx = ctx;
    mod->lib = lib;
    mod->code = code;
    cr = place_variables(mod);
    if (cr == CUDA_SUCCESS)
        cr = sd_module_finish(code, log_p);
    if (cr == CUDA_SUCCESS)
        cr = make_functions(mod);
    if (cr != CUDA_SUCCESS) {
        sd_module_delete(mod);
        return cr;
    }
    *mod_p = mod;
    return CUDA_SUCCESS;
}

void
sd_modules_of_ctx_gone(CUcontext ctx)
{
    sd_modules_lock();
    while (ctx->modules != NULL) {
        struct CUmod_st *mod = ctx->modules;

        ctx->modules = mod->ctx_next;
        if (mod->lib != NULL)
            sd_library_forget(mod);
        sd_module_delete(mod);
    }
    sd_modules_unlock();
}

/* --- loading --- */

GP_EXPORT CUresult
cuModuleLoadDataEx(CUmodule *module, const void *image, unsigned int numOptions,
                   CUjit_option *options, void **optionValues)
{
    struct sd_module *code = NULL;
    struct sd_jit_logs logs;
    struct sd_text text = {0};
    struct CUmod_st *mod = NULL;
    struct sd_ptx ptx;
    CUcontext ctx;
    CUresult cr;

    SD_ENTER(ctx);
    if (module == NULL || image == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    cr = sd_jit_parse(numOptions, options, optionValues, &logs);
    if (cr != CUDA_SUCCESS)
        return cr;
    cr = sd_ptx_of_image(image, sd_ctx_capability(ctx), &ptx);
    if (cr != CUDA_SUCCESS)
        return cr;
    cr = sd_ptx_build(&ptx, sd_ctx_capability(ctx), &text, &code);
    if (cr == CUDA_SUCCESS)
        cr = sd_module_create(ctx, NULL, code, &text, &mod);
    sd_jit_report(&logs, &text, cr);
    if (cr != CUDA_SUCCESS && text.len != 0)
        log_error("software device: module: %s", text.data);
    free(text.data);
    sd_ptx_fini(&ptx);
    if (cr != CUDA_SUCCESS)
        return cr;
    sd_modules_lock();
    mod->ctx_next = ctx->modules;
    ctx->modules = mod;
    sd_modules_unlock();
    *module = mod;
    return CUDA_SUCCESS;
}

GP_EXPORT CUresult
cuModuleLoadData(CUmodule *module, const void *image)
{
    return cuModuleLoadDataEx(module, image, 0, NULL, NULL);
}

GP_EXPORT CUresult
cuModuleLoadFatBinary(CUmodule *module, const void *fatCubin)
{
    return cuModuleLoadDataEx(module, fatCubin, 0, NULL, NULL);
}

CUresult
sd_read_file(const char *path, char **data_p, size_t *size_p)
{
    GP_AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;
    size_t done = 0;
    char *data;

    if (fd < 0 || fstat(fd, &st) != 0 || !S_ISREG(st.st_mode))
        return CUDA_ERROR_FILE_NOT_FOUND;
    data = malloc((size_t)st.st_size + 8);
    if (data == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    while (done < (size_t)st.st_size) {
        ssize_t n = read(fd, data + done, (size_t)st.st_size - done);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break;
        done += (size_t)n;
    }
    memset(data + done, 0, 8);
    *data_p = data;
    *size_p = done;
    return CUDA_SUCCESS;
}

GP_EXPORT CUresult
cuModuleLoad(CUmodule *module, const char *fname)
{
    GP_AUTO_FREE char *data = NULL;
    size_t size;
    CUcontext ctx;
    CUresult cr;

    SD_ENTER(ctx);
    if (module == NULL || fname == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    cr = sd_read_file(fname, &data, &size);
    return cr != CUDA_SUCCESS ? cr : cuModuleLoadData(module, data);
}

GP_EXPORT CUresult
cuLibraryLoadFromFile(CUlibrary *library, const char *fileName, CUjit_option *jitOptions,
                      void **jitOptionsValues, unsigned int numJitOptions,
                      CUlibraryOption *libraryOptions, void **libraryOptionValues,
                      unsigned int numLibraryOptions)
{
    GP_AUTO_FREE char *data = NULL;
    size_t size;
    CUresult cr;

    SD_ENTER_READY();
    if (library == NULL || fileName == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    cr = sd_read_file(fileName, &data, &size);
    if (cr != CUDA_SUCCESS)
        return cr;
    return cuLibraryLoadData(library, data, jitOptions, jitOptionsValues, numJitOptions,
                             libraryOptions, libraryOptionValues, numLibraryOptions);
}

static CUresult
module_get(CUmodule mod)
{
    SD_ENTER_READY();
    if (!sd_object_is(mod, SD_MODULE))
        return CUDA_ERROR_INVALID_HANDLE;
    return sd_ctx_check(mod->ctx);
}

GP_EXPORT CUresult
cuModuleUnload(CUmodule hmod)
{
    GP_USE();
    struct CUmod_st **link;
    CUcontext ctx;
    CUresult cr;

    SD_ENTER(ctx);
    cr = module_get(hmod);
    if (cr != CUDA_SUCCESS || hmod->lib != NULL)
        return cr != CUDA_SUCCESS ? cr : CUDA_ERROR_NOT_PERMITTED;
    (void)sd_ctx_drain(hmod->ctx);
    sd_modules_lock();
    for (link = &hmod->ctx->modules; *link != NULL && *link != hmod;)
        link = &(*link)->ctx_next;
    if (*link == hmod) {
        *link = hmod->ctx_next;
        sd_module_delete(hmod);
    } else {
        cr = CUDA_ERROR_INVALID_HANDLE; /* another thread was first */
    }
    sd_modules_unlock();
    return cr;
}

/* --- what is in a module --- */

GP_EXPORT CUresult
cuModuleGetFunction(CUfunction *hfunc, CUmodule hmod, const char *name)
{
    GP_USE();
    CUresult cr = module_get(hmod);

    if (cr != CUDA_SUCCESS)
        return cr;
    if (hfunc == NULL || name == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    for (size_t i = 0; i < hmod->function_count; i++) {
        struct CUfunc_st *fn = hmod->functions[i];

        if (strcmp(fn->kernel->name, name) != 0)
            continue;
        *hfunc = fn;
        return CUDA_SUCCESS;
    }
    return CUDA_ERROR_NOT_FOUND;
}

GP_EXPORT CUresult
cuModuleGetFunctionCount(unsigned int *count, CUmodule mod)
{
    GP_USE();
    CUresult cr = module_get(mod);

    if (cr != CUDA_SUCCESS)
        return cr;
    if (count == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    *count = (unsigned)mod->function_count;
    return CUDA_SUCCESS;
}

GP_EXPORT CUresult
cuModuleEnumerateFunctions(CUfunction *functions, unsigned int numFunctions, CUmodule mod)
{
    GP_USE();
    CUresult cr = module_get(mod);

    if (cr != CUDA_SUCCESS)
        return cr;
    if (functions == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    for (size_t i = 0; i < mod->function_count && i < numFunctions; i++)
        functions[i] = mod->functions[i];
    return CUDA_SUCCESS;
}

GP_EXPORT CUresult
cuModuleGetGlobal_v2(CUdeviceptr *dptr, size_t *bytes, CUmodule hmod, const char *name)
{
    GP_USE();
    CUresult cr = module_get(hmod);

    if (cr != CUDA_SUCCESS)
        return cr;
    if (name == NULL || (dptr == NULL && bytes == NULL))
        return CUDA_ERROR_INVALID_VALUE;
    for (size_t i = 0; i < sd_module_var_count(hmod->code); i++) {
        const struct sd_var *var = sd_module_var(hmod->code, i);

        if (var->address == 0 || strcmp(var->name, name) != 0)
            continue;
        if (dptr != NULL)
            *dptr = var->address;
        if (bytes != NULL)
            *bytes = var->bytes;
        return CUDA_SUCCESS;
    }
    return CUDA_ERROR_NOT_FOUND;
}
