/* backend/driver/soft/dev/module.h -- modules, libraries, kernels, functions
 *
 * A module is code with its variables in one context. A library is code without a context: it
 * makes an instance, a module, in each context that uses it. A kernel is a library's, a function
 * an instance's; programs pass either where a function is wanted.
 */
#ifndef SD_MODULE_H
#define SD_MODULE_H

#include "backend/driver/soft/dev/ctx.h"
#include "protocol/base/use.h"
#include "backend/driver/soft/exec/exec.h"

struct CUlib_st;
struct CUkern_st;

/* Every entry point that is handed one of these says GP_USE() before it looks at it. */

/* What a program may set on a function or kernel. */
struct sd_settings {
    _Atomic int max_dynamic_shared; /* -1: not set */
    _Atomic int carveout;
    _Atomic int cache_config;
    _Atomic int cluster[3];
    _Atomic int non_portable_cluster;
    _Atomic int cluster_policy;
};

struct CUfunc_st {
    struct sd_object obj;
    struct CUmod_st *mod;
    const struct sd_kernel *kernel;
    struct CUkern_st *kern; /* NULL in a plain module */
    struct sd_settings set;
};

struct CUmod_st {
    struct sd_object obj;
    struct CUctx_st *ctx;
    struct CUlib_st *lib; /* NULL for a plain module */
    struct sd_module *code;
    struct CUfunc_st **functions; /* in the order of the code's kernels */
    size_t function_count;
    struct CUmod_st *ctx_next; /* modules' lock */
    struct CUmod_st *lib_next;
    _Atomic unsigned references; /* those below; they go with the module */
    struct CUtexref_st *texrefs; /* modules' lock */
    struct CUsurfref_st *surfrefs;
    struct gp_retired retired; /* unloaded: functions and code go when nobody uses them */
};

struct CUkern_st {
    struct sd_object obj;
    struct CUlib_st *lib;
    size_t index; /* among the kernels of each instance */
    const char *name;
    struct sd_param *params; /* owned */
    uint32_t nparams;
    struct sd_settings set;
};

/* PTX texts of an image, ready to parse; several are to be linked. */
struct sd_ptx {
    struct sd_ptx_text {
        char *text;
        size_t len;
    } * texts;
    size_t count;
    bool link;
};

/*
 * The PTX that a device of capability cc (121 for 12.1) runs of an image of any kind.
 * Errors: CUDA_ERROR_NO_BINARY_FOR_GPU (logged with what the image holds), INVALID_IMAGE,
 *         OUT_OF_MEMORY.
 */
CUresult sd_ptx_of_image(const void *image, unsigned cc, struct sd_ptx *ptx);
void sd_ptx_fini(struct sd_ptx *ptx);
/* Parses and links; log_p as in sd_module_parse. */
CUresult sd_ptx_build(const struct sd_ptx *ptx, unsigned cc, struct sd_text *log_p,
                      struct sd_module **code_p);

/* Of fatbin entries that belong together; see link.c. */
#define SD_LINKED_NAME "gpupool.linked"

/* A regular file's bytes with eight NUL behind them; *data_p is malloc'ed.
 * Errors: CUDA_ERROR_FILE_NOT_FOUND, OUT_OF_MEMORY. */
CUresult sd_read_file(const char *path, char **data_p, size_t *size_p);

unsigned sd_ctx_capability(const struct CUctx_st *ctx);

/* Options of cuModuleLoadDataEx and cuLink*: where logs go. */
struct sd_jit_logs {
    char *info;
    size_t info_size;
    char *error;
    size_t error_size;
    void **info_written; /* the option values that take the bytes written */
    void **error_written;
    void **wall_time;
};

CUresult sd_jit_parse(unsigned count, CUjit_option *options, void **values,
                      struct sd_jit_logs *logs);
void sd_jit_report(const struct sd_jit_logs *logs, const struct sd_text *text, CUresult cr);

/* A module of ctx from parsed code, which is consumed. */
CUresult sd_module_create(struct CUctx_st *ctx, struct CUlib_st *lib, struct sd_module *code,
                          struct sd_text *log_p, struct CUmod_st **mod_p);
/* Modules' lock held; no work that was queued before uses it any more. */
void sd_module_delete(struct CUmod_st *mod);
void sd_modules_lock(void);
void sd_modules_unlock(void);
void sd_modules_of_ctx_gone(struct CUctx_st *ctx);

/* The library's module in ctx; made at the first use. Takes the lock. */
CUresult sd_library_instance(struct CUlib_st *lib, struct CUctx_st *ctx, struct CUmod_st **mod_p);
/* An instance goes away: the library forgets it. Modules' lock held. */
void sd_library_forget(struct CUmod_st *mod);
/* The address of a managed variable, the same in all contexts. Modules' lock held. */
CUresult sd_library_managed(struct CUlib_st *lib, struct CUctx_st *ctx, const struct sd_var *var,
                            uint64_t *addr_p);

/* What the program means by a function handle: a function, or a kernel in ctx. */
CUresult sd_function_get(CUfunction handle, struct CUctx_st *ctx, struct CUfunc_st **fn_p);
void sd_settings_init(struct sd_settings *set);
/* Lowered code and figures of the function's kernel. */
CUresult sd_function_prepare(struct CUfunc_st *fn);
/* Most threads of a block that its registers and directives allow. */
unsigned sd_function_max_threads(const struct CUfunc_st *fn);
unsigned sd_function_max_dynamic(const struct CUfunc_st *fn);
/* Blocks of a cluster, at most. */
unsigned sd_function_max_cluster(const struct CUfunc_st *fn);
/* The body of cuFuncGetAttribute and cuKernelGetAttribute, likewise of their setters. */
CUresult sd_param_info(const struct sd_param *params, size_t count, size_t index, size_t *offset,
                       size_t *size);
/* The cluster's size that the kernel or its user asked for along one axis; 0: none. Prepared only.
 */
int sd_function_cluster(const struct CUfunc_st *fn, int at);
CUresult sd_function_attribute(struct CUfunc_st *fn, CUfunction_attribute attrib, int *value_p);
CUresult sd_settings_change(struct sd_settings *set, const struct CUfunc_st *fn,
                            CUfunction_attribute attrib, int value);

/* Blocks of a launch that one multiprocessor holds at once; 0 if none. */
unsigned sd_occupancy_blocks(const struct CUfunc_st *fn, unsigned threads, uint64_t dynamic_bytes);

#endif
