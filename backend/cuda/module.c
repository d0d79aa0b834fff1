/* backend/cuda/module.c -- modules and libraries: loading, variables, unloading */
#include "backend/cuda/module.h"

#include "backend/cuda/account.h"
#include "backend/cuda/callback.h"
#include "backend/cuda/texture.h"
#include "be_hooks.h"
#include "protocol/base/log.h"
#include "protocol/base/util.h"

#include <stdlib.h>
#include <string.h>

#define BE_LOG_BYTES_MAX 65535u

/* Options whose value is a number; those that point into the program cannot come this way. */
static bool
jit_plain(uint32_t option)
{
    switch (option) {
    case CU_JIT_MAX_REGISTERS:
    case CU_JIT_THREADS_PER_BLOCK:
    case CU_JIT_WALL_TIME:
    case CU_JIT_OPTIMIZATION_LEVEL:
    case CU_JIT_TARGET_FROM_CUCONTEXT:
    case CU_JIT_TARGET:
    case CU_JIT_FALLBACK_STRATEGY:
    case CU_JIT_GENERATE_DEBUG_INFO:
    case CU_JIT_LOG_VERBOSE:
    case CU_JIT_GENERATE_LINE_INFO:
    case CU_JIT_CACHE_MODE:
    case CU_JIT_NEW_SM3X_OPT:
    case CU_JIT_FAST_COMPILE:
    case CU_JIT_LTO:
    case CU_JIT_FTZ:
    case CU_JIT_PREC_DIV:
    case CU_JIT_PREC_SQRT:
    case CU_JIT_FMA:
    case CU_JIT_OPTIMIZE_UNUSED_DEVICE_VARIABLES:
    case CU_JIT_POSITION_INDEPENDENT_CODE:
    case CU_JIT_MIN_CTA_PER_SM:
    case CU_JIT_MAX_THREADS_PER_BLOCK:
    case CU_JIT_OVERRIDE_DIRECTIVE_VALUES:
    case CU_JIT_SPLIT_COMPILE:
        return true;
    default:
        return false;
    }
}

static bool
jit_log_option(uint32_t option)
{
    return option >= CU_JIT_INFO_LOG_BUFFER && option <= CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES;
}

static CUresult
jit_log(struct be_jit *jit, uint32_t bytes, CUjit_option buffer, CUjit_option size, char **text_p,
        int *at_p)
{
    *at_p = -1;
    if (bytes == 0)
        return CUDA_SUCCESS;
    bytes = (uint32_t)gp_min_u64(bytes, BE_LOG_BYTES_MAX);
    *text_p = calloc(1, bytes + 1);
    if (*text_p == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    jit->options[jit->count] = buffer;
    jit->values[jit->count++] = *text_p;
    *at_p = (int)jit->count;
    jit->options[jit->count] = size;
    jit->values[jit->count++] = (void *)(uintptr_t)bytes;
    return CUDA_SUCCESS;
}

void
be_jit_fini(struct be_jit *jit)
{
    free(jit->info);
    free(jit->error);
}

CUresult
be_jit_init(struct be_jit *jit, const uint32_t *options, uint32_t count, const uint64_t *values,
            uint32_t value_count, uint32_t info_bytes, uint32_t error_bytes)
{
    CUresult cr;

    memset(jit, 0, sizeof(*jit));
    if (count != value_count)
        return CUDA_ERROR_INVALID_VALUE;
    for (uint32_t i = 0; i < count; i++) {
        if (jit_log_option(options[i]))
            continue;
        if (!jit_plain(options[i])) {
            log_warn("module: JIT option %u is not carried", options[i]);
            return CUDA_ERROR_NOT_SUPPORTED;
        }
        jit->options[jit->count] = (CUjit_option)options[i];
        jit->values[jit->count++] = (void *)(uintptr_t)values[i];
    }
    cr = jit_log(jit, info_bytes, CU_JIT_INFO_LOG_BUFFER, CU_JIT_INFO_LOG_BUFFER_SIZE_BYTES,
                 &jit->info, &jit->info_at);
    if (cr == CUDA_SUCCESS)
        cr = jit_log(jit, error_bytes, CU_JIT_ERROR_LOG_BUFFER, CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES,
                     &jit->error, &jit->error_at);
    if (cr != CUDA_SUCCESS)
        be_jit_fini(jit);
    return cr;
}

/* The driver's text, kept until the reply is written. */
void
be_jit_text(struct be_session *session, const char *text, const char **text_p, uint32_t *len_p)
{
    struct gp_buf *strings = &session->scratch_text;
    size_t len = text != NULL ? strlen(text) : 0, at = strings->len;

    *text_p = "";
    *len_p = 0;
    if (len == 0)
        return;
    len = gp_min_u64(len, BE_LOG_BYTES_MAX);
    /* Room for both texts of a reply at once, so that the first does not move. */
    if (gp_buf_reserve(strings, 2 * (BE_LOG_BYTES_MAX + 1) - at) == NULL)
        return;
    gp_buf_append(strings, text, len);
    gp_buf_append(strings, "", 1);
    *text_p = (const char *)strings->data + at;
    *len_p = (uint32_t)len;
}

/* -- owners -------------------------------------------------------------------------------------
 */

static void
owner_free(struct be_session *session, struct be_owner *owner)
{
    be_globals_drop(session, owner);
    be_pages_drop(session, owner);
    for (int32_t d = 0; d < session->driver->device_count; d++)
        be_account_uncharge(session, d, owner->charged[d]);
    be_texrefs_drop(session, owner);
    for (uint32_t i = 0; i < owner->count; i++)
        free(owner->kernels[i].params);
    free(owner->kernels);
    free(owner);
}

static CUresult
unload(const struct be_driver_table *driver, CUmodule module, CUlibrary library)
{
    return module != NULL ? driver->cuModuleUnload(module) : driver->cuLibraryUnload(library);
}

void
be_owner_destroy(struct be_session *session, struct be_owner *owner)
{
    if (owner->parent == NULL)
        (void)unload(&session->driver->table, owner->library ? NULL : owner->module, owner->lib);
    owner_free(session, owner);
}

void
be_owners_forget_context(struct be_session *session, struct be_context *context)
{
    uint32_t highest = be_handles_highest(&session->handles, WIRE_HANDLE_LIBRARY);

    /* A library's variables in it: their addresses may soon be anything, memory of ours too. */
    be_globals_drop(session, context);
    for (uint32_t i = 1; i <= highest; i++) {
        struct be_handle_slot *slot = be_handles_at(&session->handles, WIRE_HANDLE_LIBRARY, i);
        struct be_owner *owner = slot != NULL ? slot->object : NULL;

        for (uint32_t k = 0; owner != NULL && k < owner->count; k++) {
            if (owner->kernels[k].function_context == context) {
                owner->kernels[k].function = NULL;
                owner->kernels[k].function_context = NULL;
            }
        }
    }
}

/* List, bind, and write the table: what modules and libraries have in common. */
static CUresult
owner_enter(struct be_call *call, struct be_owner *owner, const uint8_t **table_p,
            uint32_t *table_len_p)
{
    struct gp_buf *table = be_scratch(call->session);
    unsigned kind = owner->library ? WIRE_HANDLE_LIBRARY : WIRE_HANDLE_MODULE;
    uint32_t context = owner->context != NULL ? owner->context->index : 0;
    CUresult cr;

    cr = be_kernels_list(call, owner);
    if (cr == CUDA_SUCCESS)
        cr = be_kernels_table(call, owner, table);
    if (cr != CUDA_SUCCESS)
        return cr;
    if (be_handles_add(&call->session->handles, kind, owner->id, owner, context) != GP_OK)
        return CUDA_ERROR_INVALID_HANDLE;
    *table_p = table->data;
    *table_len_p = (uint32_t)table->len;
    return CUDA_SUCCESS;
}

/* -- modules --------------------------------------------------------------------------------------
 */

CUresult
be_hook_cuModuleLoadDataEx(struct be_call *call, const struct wire_cuModuleLoadDataEx_args *args,
                           struct wire_cuModuleLoadDataEx_reply *reply)
{
    int32_t device = call->context->device;
    struct be_owner *owner = NULL;
    struct be_image *image = NULL;
    struct be_meter meter;
    struct be_jit jit;
    CUresult cr;

    gp_buf_reset(&call->session->scratch_text);
    reply->info = reply->error = "";
    cr = be_image_open(call->session, args->upload, &image);
    if (cr != CUDA_SUCCESS)
        return cr;
    be_meter_begin(call->session, device, &meter);
    cr = be_jit_init(&jit, args->options, args->options_len, args->values, args->values_len,
                     args->info_bytes, args->error_bytes);
    if (cr != CUDA_SUCCESS) {
        be_image_close(call->session, image, false);
        return cr;
    }
    owner = calloc(1, sizeof(*owner));
    cr = CUDA_ERROR_OUT_OF_MEMORY;
    if (owner != NULL) {
        owner->id = args->module;
        owner->context = call->context;
        cr = call->driver->cuModuleLoadDataEx(&owner->module, be_image_driver(image), jit.count,
                                              jit.options, jit.values);
    }
    be_image_close(call->session, image, cr == CUDA_SUCCESS);
    be_jit_text(call->session, jit.info, &reply->info, &reply->info_len);
    be_jit_text(call->session, jit.error, &reply->error, &reply->error_len);
    be_jit_fini(&jit);
    if (cr != CUDA_SUCCESS) {
        free(owner);
        return cr;
    }
    cr = be_meter_end(call->session, &meter, &owner->charged[device]);
    if (cr == CUDA_SUCCESS)
        cr = owner_enter(call, owner, &reply->table, &reply->table_len);
    if (cr != CUDA_SUCCESS)
        be_owner_destroy(call->session, owner);
    return cr;
}

/* --- the end of a module or library --- */

/* The driver's part of it, where a waiter does that. */
struct unload {
    struct be_wait wait;
    struct be_session *session;
    CUmodule module; /* or */
    CUlibrary library;
    uint64_t charged[BE_DRIVER_DEVICES_MAX]; /* till then: what is loaded off is not free yet */
};

static void
unload_run(struct be_wait *wait, CUresult cr)
{
    struct unload *u = GP_CONTAINER_OF(wait, struct unload, wait);

    (void)cr; /* a context that failed loads off what it has, too */
    (void)unload(&u->session->driver->table, u->module, u->library);
    for (int32_t d = 0; d < u->session->driver->device_count; d++)
        be_account_uncharge(u->session, d, u->charged[d]);
    free(u);
}

/*
 * The driver waits for work of the context first. Where a stream waits for the client, whose answer
 * is behind this record, a waiter's thread does it: the executor must go on to hear that.
 */
static CUresult
owner_unload(struct be_call *call, struct be_owner *owner)
{
    CUmodule module = owner->library ? NULL : owner->module;
    CUlibrary library = owner->library ? owner->lib : NULL;
    struct unload *u;

    if (!be_callbacks_pending(call->session))
        return unload(call->driver, module, library);
    u = malloc(sizeof(*u));
    if (u == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    *u = (struct unload){
        .wait = {.kind = BE_WAIT_NOTHING, .context = call->context, .run = unload_run},
        .session = call->session,
        .module = module,
        .library = library,
    };
    memcpy(u->charged, owner->charged, sizeof(u->charged));
    memset(owner->charged, 0, sizeof(owner->charged));
    be_waits_submit(call->session->waits, &u->wait);
    return CUDA_SUCCESS;
}

CUresult
be_hook_cuModuleUnload(struct be_call *call, const struct wire_cuModuleUnload_args *args)
{
    struct be_owner *owner;
    CUresult cr;

    cr = be_handle_take(call->session, WIRE_HANDLE_MODULE, args->module, &owner);
    if (cr != CUDA_SUCCESS)
        return cr;
    if (owner->parent == NULL)
        cr = owner_unload(call, owner);
    owner_free(call->session, owner);
    return cr;
}

static CUresult
global_find(struct be_call *call, uint64_t module, const char *name, struct be_owner **owner_p,
            CUdeviceptr *address_p, size_t *bytes_p)
{
    struct be_handle_slot *slot =
        be_handles_find(&call->session->handles, WIRE_HANDLE_MODULE, module);
    CUresult cr;

    if (slot == NULL)
        return CUDA_ERROR_INVALID_HANDLE;
    *owner_p = slot->object;
    cr = call->driver->cuModuleGetGlobal_v2(address_p, bytes_p, (*owner_p)->module, name);
    return cr == CUDA_SUCCESS ? be_global_add(call, *address_p, *bytes_p, *owner_p) : cr;
}

CUresult
be_hook_cuModuleGetGlobal_v2(struct be_call *call,
                             const struct wire_cuModuleGetGlobal_v2_args *args,
                             struct wire_cuModuleGetGlobal_v2_reply *reply)
{
    struct be_owner *owner;
    CUdeviceptr address = 0;
    size_t bytes = 0;
    CUresult cr = global_find(call, args->module, args->name, &owner, &address, &bytes);

    if (cr != CUDA_SUCCESS)
        return cr;
    reply->address = address;
    reply->bytes = bytes;
    return CUDA_SUCCESS;
}

CUresult
be_hook_gpModuleGlobal(struct be_call *call, const struct wire_gpModuleGlobal_args *args,
                       struct wire_gpModuleGlobal_reply *reply)
{
    struct be_owner *owner;
    CUdeviceptr address = 0;
    size_t bytes = 0;
    int managed = 0;
    CUresult cr = global_find(call, args->module, args->name, &owner, &address, &bytes);

    if (cr != CUDA_SUCCESS)
        return cr;
    if (bytes == 0 || call->driver->cuPointerGetAttribute(&managed, CU_POINTER_ATTRIBUTE_IS_MANAGED,
                                                          address) != CUDA_SUCCESS)
        managed = 0;
    if (managed != 0) /* of a library's module: it goes with the library */
        cr = be_pages_variable(call, address, bytes, owner->parent != NULL ? owner->parent : owner);
    reply->address = address;
    reply->bytes = bytes;
    reply->managed = managed != 0;
    return cr;
}

/* -- libraries
 * -------------------------------------------------------------------------------------- */

/* What the client asks of a library beside JIT options: the code is ours to keep or not, so that
 * it stays where it is promises nothing here; tables of pointers cannot come. */
static CUresult
library_options(const struct wire_cuLibraryLoadData_args *args)
{
    if (args->library_options_len != args->library_values_len)
        return CUDA_ERROR_INVALID_VALUE;
    for (uint32_t i = 0; i < args->library_options_len; i++)
        if (args->library_options[i] != CU_LIBRARY_BINARY_IS_PRESERVED)
            return CUDA_ERROR_NOT_SUPPORTED;
    return CUDA_SUCCESS;
}

/* Have the driver load an image as library id, and write its table; jit may be NULL. */
static CUresult
library_load(struct be_call *call, const struct be_image *image, struct be_jit *jit, uint64_t id,
             const uint8_t **table_p, uint32_t *table_len_p)
{
    struct be_meter meter = {0};
    struct be_owner *owner;
    CUresult cr;

    if (call->driver->cuLibraryLoadData == NULL)
        return CUDA_ERROR_NOT_SUPPORTED;
    owner = calloc(1, sizeof(*owner));
    if (owner == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    /* Mostly it loads when a kernel of it is first asked for: see be_kernel_function(). */
    if (call->session->current != NULL)
        be_meter_begin(call->session, call->session->current->device, &meter);
    owner->id = id;
    owner->library = true;
    cr = call->driver->cuLibraryLoadData(
        &owner->lib, be_image_driver(image), jit != NULL ? jit->options : NULL,
        jit != NULL ? jit->values : NULL, jit != NULL ? jit->count : 0, NULL, NULL, 0);
    if (cr != CUDA_SUCCESS) {
        free(owner);
        return cr;
    }
    cr = be_meter_end(call->session, &meter, &owner->charged[meter.device]);
    if (cr == CUDA_SUCCESS)
        cr = owner_enter(call, owner, table_p, table_len_p);
    if (cr != CUDA_SUCCESS)
        be_owner_destroy(call->session, owner);
    return cr;
}

/* For the next session of this program, if nothing but the image decides what comes of it. */
static void
library_learn(struct be_session *session, struct be_image *image, const void *table,
              uint32_t table_len)
{
    const uint8_t *digest;
    uint64_t bytes;

    if (session->promises.wanted && be_image_name(image, &digest, &bytes))
        be_promises_learn(session, digest, bytes, table, table_len);
}

CUresult
be_hook_cuLibraryLoadData(struct be_call *call, const struct wire_cuLibraryLoadData_args *args,
                          struct wire_cuLibraryLoadData_reply *reply)
{
    struct be_image *image = NULL;
    struct be_jit jit;
    CUresult cr;

    gp_buf_reset(&call->session->scratch_text);
    reply->info = reply->error = "";
    cr = be_image_open(call->session, args->upload, &image);
    if (cr != CUDA_SUCCESS)
        return cr;
    cr = library_options(args);
    if (cr == CUDA_SUCCESS)
        cr = be_jit_init(&jit, args->jit_options, args->jit_options_len, args->jit_values,
                         args->jit_values_len, args->info_bytes, args->error_bytes);
    if (cr != CUDA_SUCCESS) {
        be_image_close(call->session, image, false);
        return cr;
    }
    cr = library_load(call, image, &jit, args->library, &reply->table, &reply->table_len);
    be_jit_text(call->session, jit.info, &reply->info, &reply->info_len);
    be_jit_text(call->session, jit.error, &reply->error, &reply->error_len);
    if (cr == CUDA_SUCCESS && jit.count == 0)
        library_learn(call->session, image, reply->table, reply->table_len);
    be_jit_fini(&jit);
    be_image_close(call->session, image, cr == CUDA_SUCCESS);
    return cr;
}

/* The client goes on as if this had happened already, so it must. */
static CUresult
library_adopt(struct be_call *call, uint64_t id, const struct be_promise *promise)
{
    struct be_image *image = NULL;
    const uint8_t *table;
    uint32_t table_len;
    CUresult cr = be_image_promised(promise, &image);

    if (cr != CUDA_SUCCESS)
        return cr;
    cr = library_load(call, image, NULL, id, &table, &table_len);
    if (cr == CUDA_SUCCESS && !be_promise_kept(promise, table, table_len))
        cr = CUDA_ERROR_UNKNOWN; /* it is the session's and goes with it */
    if (cr == CUDA_SUCCESS)
        library_learn(call->session, image, table, table_len);
    be_image_close(call->session, image, false);
    return cr;
}

CUresult
be_hook_gpLibraryAdopt(struct be_call *call, const struct wire_gpLibraryAdopt_args *args)
{
    uint8_t digest[BE_IMAGE_HASH_BYTES];
    struct be_promise promise;
    CUresult cr;

    memcpy(digest, args->sha256, sizeof(digest));
    if (!be_promises_take(call->session, digest, args->total, &promise))
        return CUDA_ERROR_INVALID_VALUE;
    cr = library_adopt(call, args->library, &promise);
    close(promise.fd);
    if (cr != CUDA_SUCCESS)
        be_client_end(call->session, CUDA_ERROR_DEVICE_UNAVAILABLE,
                      "a library that was promised cannot be loaded as it was");
    return cr;
}

/* Modules that came from the library go with it. */
static void
library_modules_drop(struct be_session *session, const struct be_owner *library)
{
    uint32_t highest = be_handles_highest(&session->handles, WIRE_HANDLE_MODULE);

    for (uint32_t i = 1; i <= highest; i++) {
        struct be_handle_slot *slot = be_handles_at(&session->handles, WIRE_HANDLE_MODULE, i);

        if (slot == NULL || ((struct be_owner *)slot->object)->parent != library)
            continue;
        owner_free(session, slot->object);
        be_handles_remove(slot);
    }
}

CUresult
be_hook_cuLibraryUnload(struct be_call *call, const struct wire_cuLibraryUnload_args *args)
{
    struct be_owner *owner;
    CUresult cr;

    cr = be_handle_take(call->session, WIRE_HANDLE_LIBRARY, args->library, &owner);
    if (cr != CUDA_SUCCESS)
        return cr;
    library_modules_drop(call->session, owner);
    cr = owner_unload(call, owner);
    owner_free(call->session, owner);
    return cr;
}

static CUresult
library_find(struct be_call *call, uint64_t id, struct be_owner **owner_p)
{
    struct be_handle_slot *slot = be_handles_find(&call->session->handles, WIRE_HANDLE_LIBRARY, id);

    if (slot == NULL)
        return CUDA_ERROR_INVALID_HANDLE;
    *owner_p = slot->object;
    return CUDA_SUCCESS;
}

CUresult
be_hook_cuLibraryGetModule(struct be_call *call, const struct wire_cuLibraryGetModule_args *args,
                           struct wire_cuLibraryGetModule_reply *reply)
{
    struct be_owner *library, *owner;
    struct be_meter meter;
    CUresult cr = library_find(call, args->library, &library);

    if (cr != CUDA_SUCCESS)
        return cr;
    owner = calloc(1, sizeof(*owner));
    if (owner == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    owner->id = args->module;
    owner->context = call->context;
    owner->parent = library;
    be_meter_begin(call->session, call->context->device, &meter);
    cr = call->driver->cuLibraryGetModule(&owner->module, library->lib);
    be_meter_end_anyway(call->session, &meter, &library->charged[meter.device]);
    if (cr == CUDA_SUCCESS)
        cr = owner_enter(call, owner, &reply->table, &reply->table_len);
    if (cr != CUDA_SUCCESS)
        owner_free(call->session, owner);
    return cr;
}

CUresult
be_hook_cuLibraryGetGlobal(struct be_call *call, const struct wire_cuLibraryGetGlobal_args *args,
                           struct wire_cuLibraryGetGlobal_reply *reply)
{
    struct be_owner *library;
    CUdeviceptr address = 0;
    struct be_meter meter;
    size_t bytes = 0;
    CUresult cr = library_find(call, args->library, &library);

    if (cr != CUDA_SUCCESS)
        return cr;
    be_meter_begin(call->session, call->context->device, &meter);
    cr = call->driver->cuLibraryGetGlobal(&address, &bytes, library->lib, args->name);
    be_meter_end_anyway(call->session, &meter, &library->charged[meter.device]);
    if (cr == CUDA_SUCCESS)
        cr = be_global_add(call, address, bytes, library);
    if (cr != CUDA_SUCCESS)
        return cr;
    reply->address = address;
    reply->bytes = bytes;
    return CUDA_SUCCESS;
}

CUresult
be_hook_cuLibraryGetManaged(struct be_call *call, const struct wire_cuLibraryGetManaged_args *args,
                            struct wire_cuLibraryGetManaged_reply *reply)
{
    struct be_owner *library;
    CUdeviceptr address = 0;
    size_t bytes = 0;
    CUresult cr = library_find(call, args->library, &library);

    if (cr == CUDA_SUCCESS)
        cr = call->driver->cuLibraryGetManaged(&address, &bytes, library->lib, args->name);
    if (cr == CUDA_SUCCESS)
        cr = be_pages_variable(call, address, bytes, library);
    if (cr != CUDA_SUCCESS)
        return cr;
    reply->address = address;
    reply->bytes = bytes;
    return CUDA_SUCCESS;
}
