/* backend/cuda/module.h -- modules and libraries, and the kernels in them
 *
 * Threads: the executor.
 */
#ifndef BE_MODULE_H
#define BE_MODULE_H

#include "backend/cuda/state.h"
#include "protocol/base/buf.h"

/* Above this many the table has names only; details come with gpKernelInfo or the first launch. */
#define BE_TABLE_DETAILS_MAX 256
#define BE_TABLE_BYTES_MAX   4194304u
#define BE_OWNER_KERNELS_MAX (1u << 20)

struct be_param {
    uint32_t offset, bytes;
};

struct be_kernel {
    CUfunction function; /* of a module, or of a library's kernel in function_context */
    CUkernel kernel;     /* of a library */
    struct be_context *function_context;
    struct be_param *params; /* NULL until asked for, or none */
    uint32_t param_count;
    uint32_t param_bytes; /* values one after the other */
    bool params_known;
};

/* A module or a library. */
struct be_owner {
    bool library;
    CUmodule module;
    CUlibrary lib;
    uint64_t id;
    struct be_context *context; /* of a module */
    struct be_owner *parent;    /* a library's module is not unloaded by itself */
    struct be_kernel *kernels;
    uint32_t count, cap;
    uint64_t charged[BE_DRIVER_DEVICES_MAX]; /* memory that the driver took for it */
};

void *be_owner_handle(struct be_owner *owner);
/* Unloads and frees; forgets its variables. */
void be_owner_destroy(struct be_session *session, struct be_owner *owner);
/* The context goes: functions of libraries in it, modules of libraries in it. */
void be_owners_forget_context(struct be_session *session, struct be_context *context);

/* Bring the kernels of a freshly loaded owner into its rows. */
CUresult be_kernels_list(struct be_call *call, struct be_owner *owner);
/* One more row, for a kernel found by name. */
CUresult be_kernels_add(struct be_owner *owner, CUfunction function, CUkernel kernel,
                        uint32_t *row_p);
/* The table of rows [0, count), or of one row, appended to out. */
CUresult be_kernels_table(struct be_call *call, struct be_owner *owner, struct gp_buf *out);
CUresult be_kernels_row(struct be_call *call, struct be_owner *owner, uint32_t row, bool details,
                        struct gp_buf *out);

/* By the ids of protocol/wire/kernel_table.h. */
CUresult be_kernel_find(struct be_session *session, uint64_t id, struct be_owner **owner_p,
                        struct be_kernel **kernel_p);
/* A function in the current context, whether the id names a function or a library's kernel. */
CUresult be_function_get(struct be_session *session, uint64_t id, CUfunction *function_p);
CUresult be_kernel_get(struct be_session *session, uint64_t id, CUkernel *kernel_p);
CUresult be_kernel_function(struct be_session *session, struct be_owner *owner,
                            struct be_kernel *kernel, CUfunction *function_p);
CUresult be_kernel_params(struct be_session *session, struct be_owner *owner,
                          struct be_kernel *kernel);

/* Options for the driver, made of the client's plain numbers and of log buffers of our own. */
#define BE_OPTIONS_MAX 68
struct be_jit {
    CUjit_option options[BE_OPTIONS_MAX];
    void *values[BE_OPTIONS_MAX];
    unsigned count;
    char *info, *error;
    int info_at, error_at; /* where the driver writes the sizes; -1: not asked for */
};

/* Nothing is held on error. */
CUresult be_jit_init(struct be_jit *jit, const uint32_t *options, uint32_t count,
                     const uint64_t *values, uint32_t value_count, uint32_t info_bytes,
                     uint32_t error_bytes);
void be_jit_fini(struct be_jit *jit);
/* The driver's text, kept until the reply is written: in session.scratch_text, which was reset. */
void be_jit_text(struct be_session *session, const char *text, const char **text_p,
                 uint32_t *len_p);

/* The bytes of an upload, with eight NUL behind them; free() them. Errors:
 * CUDA_ERROR_INVALID_VALUE. */
CUresult be_upload_take(struct be_session *session, uint32_t upload, uint8_t **data_p,
                        uint64_t *bytes_p);

/* The bytes of an upload as the driver takes them; be_image_close() ends it and the upload.
 * Errors: CUDA_ERROR_NOT_FOUND if it was offered by hash only and is not here: the upload waits. */
struct be_image;
CUresult be_image_open(struct be_session *session, uint32_t upload, struct be_image **image_p);
const void *be_image_driver(const struct be_image *image);
/* Its bytes and their hash, for promise.h; an image that was not offered is kept from now on too.
 */
bool be_image_name(struct be_image *image, const uint8_t **digest_p, uint64_t *bytes_p);
/* What was promised, ours to close. */
CUresult be_image_promised(const struct be_promise *promise, struct be_image **image_p);
/* loaded: the driver took it, so it may be kept for later sessions. */
void be_image_close(struct be_session *session, struct be_image *image, bool loaded);
void be_uploads_destroy(struct be_session *session);

#endif
