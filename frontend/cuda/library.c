/* frontend/cuda/library.c -- libraries and kernels: objects without a context
 *
 * One round trip at the load brings the table of kernels; handles are made from it.
 */
#include "cuda_api.h"
#include "frontend/core/notice.h"
#include "frontend/core/perf.h"
#include "frontend/core/stats.h"
#include "frontend/cuda/ask.h"
#include "frontend/cuda/image.h"
#include "frontend/cuda/kernels.h"
#include "frontend/cuda/managed.h"
#include "frontend/cuda/state.h"
#include "protocol/base/util.h"
#include "protocol/wire/negotiate.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define NAME_MAX_BYTES 4095

/* A library as other servers than the first will be asked to load it: the image in its flat form.
 */
struct fe_library_image {
    uint8_t *flat;
    size_t len;
    uint32_t kind;
    uint32_t count; /* of JIT options; logs go nowhere */
    uint32_t options[FE_JIT_OPTIONS_MAX];
    uint64_t values[FE_JIT_OPTIONS_MAX];
};

/* Held while another server loads a library. */
static pthread_mutex_t there_lock = PTHREAD_MUTEX_INITIALIZER;

static struct fe_library *
library_new(struct fe_session *session)
{
    struct fe_library *library = fe_object_create(WIRE_HANDLE_LIBRARY, NULL);

    if (library != NULL)
        library->session = session;
    return library;
}

/* Post the load of what fe_image_send() has sent, and wait: all but the library. */
static CUresult
load_sent(struct fe_call *call, const struct wire_cuLibraryLoadData_args *args,
          struct fe_library *library, const struct fe_jit *jit)
{
    struct wire_cuLibraryLoadData_reply reply;
    const uint8_t *bytes;
    size_t len = 0;
    CUresult cr;
    void *to;

    to = fe_post(call, wire_size_cuLibraryLoadData_args(args));
    if (to == NULL)
        return fe_lost(call);
    wire_put_cuLibraryLoadData_args(to, args);
    fe_post_done(call);
    cr = fe_wait(call, &bytes, &len);
    if (len == 0 && cr != CUDA_SUCCESS)
        return cr;
    if (!wire_get_cuLibraryLoadData_reply(bytes, len, &reply))
        return fe_malformed(call);
    fe_jit_answer(jit, reply.info, reply.error);
    if (cr == CUDA_SUCCESS)
        cr = fe_kernels_create(reply.table, reply.table_len, WIRE_HANDLE_KERNEL,
                               library->object.wire, &library->object, &library->kernels);
    return cr;
}

static CUresult
load(struct fe_call *call, const void *image, struct fe_jit *jit, struct fe_library **library_p)
{
    struct wire_cuLibraryLoadData_args args = {
        .jit_options = jit->options,
        .jit_options_len = jit->count,
        .jit_values = jit->values,
        .jit_values_len = jit->count,
        .info_bytes = jit->info_bytes,
        .error_bytes = jit->error_bytes,
    };
    struct fe_library *library = NULL;
    struct fe_image way = {0};
    CUresult cr;

    do {
        cr = fe_image_send(call, image, &way);
        if (cr == CUDA_SUCCESS && library == NULL) {
            library = library_new(call->session);
            cr = library != NULL ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
        }
        if (cr != CUDA_SUCCESS)
            break;
        args.library = library->object.wire;
        args.upload = way.upload;
        args.kind = way.kind;
        cr = load_sent(call, &args, library, jit);
    } while (fe_image_wanted(&way, cr));
    if (cr == CUDA_SUCCESS)
        *library_p = library;
    else if (library != NULL)
        fe_object_destroy(library);
    return cr;
}

/* Without waiting, where the server has told what comes of it; *library_p stays NULL where not. */
static CUresult
adopt(struct fe_call *call, const void *image, struct fe_library **library_p)
{
    struct wire_gpLibraryAdopt_args args = {0};
    enum wire_call before = (enum wire_call)call->id;
    GP_AUTO_FREE uint8_t *table = NULL;
    uint8_t digest[FE_PROMISE_HASH_BYTES];
    struct fe_library *library;
    size_t len;
    CUresult cr;

    if ((call->session->features & WIRE_FEATURE_PROMISE) == 0)
        return CUDA_SUCCESS;
    fe_notice_hear(call->session);
    cr = fe_image_promised(call->session, image, digest, &args.total, &table, &len);
    if (cr != CUDA_SUCCESS || table == NULL)
        return cr;
    library = library_new(call->session);
    if (library == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    cr = fe_kernels_create(table, len, WIRE_HANDLE_KERNEL, library->object.wire, &library->object,
                           &library->kernels);
    if (cr == CUDA_SUCCESS)
        cr = fe_call_next(call, WIRE_CALL_gpLibraryAdopt);
    args.library = library->object.wire;
    memcpy(args.sha256, digest, sizeof(args.sha256));
    if (cr == CUDA_SUCCESS)
        FE_TELL(cr, call, gpLibraryAdopt, &args);
    if (cr == CUDA_SUCCESS)
        cr = fe_call_next(call, before);
    if (cr != CUDA_SUCCESS) {
        (void)fe_object_close(library);
        fe_kernels_destroy(library->kernels, &library->object);
        return cr;
    }
    *library_p = library;
    return CUDA_SUCCESS;
}

/* Options of the library itself: that the program keeps the image means nothing here, for it
 * was sent. */
static CUresult
check_options(const CUlibraryOption *options, void **values, unsigned count)
{
    if (count > 0 && (options == NULL || values == NULL))
        return CUDA_ERROR_INVALID_VALUE;
    for (unsigned i = 0; i < count; i++) {
        if (options[i] == CU_LIBRARY_HOST_UNIVERSAL_FUNCTION_AND_DATA_TABLE)
            return fe_refuse("cuLibraryLoadData with a host function table");
        if (options[i] != CU_LIBRARY_BINARY_IS_PRESERVED)
            return CUDA_ERROR_INVALID_VALUE;
    }
    return CUDA_SUCCESS;
}

/* -- on other servers ------------------------------------------------------------------- */

static void
image_free(struct fe_library_image *kept)
{
    if (kept != NULL)
        free(kept->flat);
    free(kept);
}

/* The program may free the image after the load. */
static CUresult
image_keep(struct fe_library *library, const void *image, const struct fe_jit *jit)
{
    struct fe_library_image *kept = calloc(1, sizeof(*kept));

    if (kept == NULL ||
        fe_image_flatten(image, &kept->kind, &kept->flat, &kept->len) != CUDA_SUCCESS) {
        image_free(kept);
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    kept->count = jit->count;
    memcpy(kept->options, jit->options, sizeof(kept->options));
    memcpy(kept->values, jit->values, sizeof(kept->values));
    library->image = kept;
    return CUDA_SUCCESS;
}

/* there_lock is held. */
static CUresult
load_there(struct fe_session *session, struct fe_library *first, struct fe_library **library_p)
{
    const struct fe_library_image *kept = first->image;
    struct fe_jit jit = {.count = 0};
    struct wire_cuLibraryLoadData_args args = {
        .jit_options = kept->options,
        .jit_options_len = kept->count,
        .jit_values = kept->values,
        .jit_values_len = kept->count,
        .kind = kept->kind,
    };
    struct fe_library *library = library_new(session);
    struct fe_call call;
    CUresult cr;

    if (library == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    library->first = first;
    args.library = library->object.wire;
    cr = fe_enter_on(&call, WIRE_CALL_cuLibraryLoadData, session);
    if (cr == CUDA_SUCCESS) {
        cr = fe_bytes_send(&call, kept->flat, kept->len, &args.upload);
        if (cr == CUDA_SUCCESS)
            cr = load_sent(&call, &args, library, &jit);
        cr = fe_leave(&call, cr);
    }
    if (cr == CUDA_SUCCESS)
        *library_p = library;
    else
        fe_object_destroy(library);
    return cr;
}

/* The library as a server knows it. */
static CUresult
library_there(struct fe_session *session, struct fe_library **library_p)
{
    struct fe_library *first = *library_p;
    CUresult cr = CUDA_SUCCESS;

    if (GP_LIKELY(first->session == session))
        return CUDA_SUCCESS;
    if (first->first != NULL)
        first = first->first;
    if (first->session != session) {
        pthread_mutex_lock(&there_lock);
        if (first->there[session->index] == NULL)
            cr = load_there(session, first, &first->there[session->index]);
        *library_p = first->there[session->index];
        pthread_mutex_unlock(&there_lock);
    } else {
        *library_p = first;
    }
    return cr;
}

/* there_lock is held. */
static void
kernel_remember(struct fe_function *f, unsigned server, struct fe_function *there)
{
    _Atomic(struct fe_function *) *list = atomic_load(&f->there);

    if (list == NULL) {
        list = calloc(FE_SESSIONS_MAX, sizeof(*list));
        if (list == NULL)
            return; /* it is looked for again */
        atomic_store(&f->there, list);
    }
    atomic_store(&list[server], there);
}

CUresult
fe_kernel_there(struct fe_session *session, struct fe_function **f_p)
{
    struct fe_function *f = *f_p, *there = NULL;
    _Atomic(struct fe_function *) *list = atomic_load(&f->there);
    struct fe_library *library;
    CUresult cr;

    if (!fe_kernels_of_library(f->owner))
        return CUDA_ERROR_INVALID_HANDLE;
    if (list != NULL)
        there = atomic_load(&list[session->index]);
    if (there == NULL) {
        library = (struct fe_library *)fe_kernels_owner(f->owner);
        cr = library_there(session, &library);
        if (cr == CUDA_SUCCESS)
            cr = fe_kernels_by_name(library->kernels, f->name, &there);
        if (cr != CUDA_SUCCESS)
            return cr;
        pthread_mutex_lock(&there_lock);
        kernel_remember(f, session->index, there);
        pthread_mutex_unlock(&there_lock);
    }
    *f_p = there;
    return CUDA_SUCCESS;
}

GP_EXPORT CUresult
cuLibraryLoadData(CUlibrary *handle, const void *image, CUjit_option *jit_options,
                  void **jit_values, unsigned int jit_count, CUlibraryOption *options,
                  void **values, unsigned int count)
{
    struct fe_library *library = NULL;
    struct fe_call call;
    struct fe_jit jit;
    CUresult cr;

    cr = fe_enter_on(&call, WIRE_CALL_cuLibraryLoadData, NULL);
    if (cr != CUDA_SUCCESS)
        return cr;
    if (handle == NULL || image == NULL)
        return fe_leave(&call, CUDA_ERROR_INVALID_VALUE);
    cr = check_options(options, values, count);
    if (cr == CUDA_SUCCESS)
        cr = fe_jit_read(&jit, jit_count, jit_options, jit_values);
    if (cr == CUDA_SUCCESS && jit.count + jit.info_bytes + jit.error_bytes == 0)
        cr = adopt(&call, image, &library);
    if (cr == CUDA_SUCCESS && library == NULL)
        cr = load(&call, image, &jit, &library);
    if (cr == CUDA_SUCCESS && GP_UNLIKELY(fe_several))
        cr = image_keep(library, image, &jit);
    if (cr == CUDA_SUCCESS)
        *handle = (CUlibrary)library;
    return fe_leave(&call, cr);
}

GP_EXPORT CUresult
cuLibraryLoadFromFile(CUlibrary *handle, const char *path, CUjit_option *jit_options,
                      void **jit_values, unsigned int jit_count, CUlibraryOption *options,
                      void **values, unsigned int count)
{
    GP_AUTO_FREE void *image = NULL;
    CUresult cr = CUDA_SUCCESS;

    if (fe_state_get(&cr) == NULL)
        return cr;
    if (handle == NULL || path == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    cr = fe_image_read(path, &image);
    if (cr != CUDA_SUCCESS)
        return cr;
    return cuLibraryLoadData(handle, image, jit_options, jit_values, jit_count, options, values,
                             count);
}

/* -- modules: one in each context, the same each time ------------------------------------ */

struct module_want {
    uint64_t library_wire;
    const struct fe_context *context;
    struct fe_module *found;
};

static bool
find_module(void *object, void *user)
{
    struct fe_module *module = object;
    struct module_want *want = user;

    if (module->library_wire != want->library_wire || module->object.context != want->context ||
        fe_object_state(module) != FE_OBJECT_LIVE)
        return true;
    want->found = module;
    return false;
}

static bool
drop_module(void *object, void *library)
{
    struct fe_module *module = object;

    if (module->library_wire == ((struct fe_library *)library)->object.wire)
        (void)fe_module_drop(module);
    return true;
}

/* On one server. */
static CUresult
unload(struct fe_library *library)
{
    struct wire_cuLibraryUnload_args args = {.library = library->object.wire};
    struct fe_call call;
    CUresult cr = fe_enter_on(&call, WIRE_CALL_cuLibraryUnload, library->session);

    if (cr != CUDA_SUCCESS)
        return cr;
    if (!fe_object_close(library)) /* another thread was first */
        return fe_leave(&call, CUDA_ERROR_INVALID_HANDLE);
    FE_TELL(cr, &call, cuLibraryUnload, &args);
    fe_object_each(WIRE_HANDLE_MODULE, drop_module, library);
    fe_managed_drop(library);
    fe_alloc_drop_foreign(fe_alloc_of(&call), library);
    fe_kernels_destroy(library->kernels, &library->object);
    return fe_leave(&call, cr);
}

/* What another server has of it; one that is lost has nothing any more. */
static void
unload_there(struct fe_library *library)
{
    for (unsigned i = 0; i < FE_SESSIONS_MAX; i++)
        if (library->there[i] != NULL)
            (void)unload(library->there[i]);
    image_free(library->image);
    library->image = NULL;
}

GP_EXPORT CUresult
cuLibraryUnload(CUlibrary handle)
{
    GP_USE();
    struct fe_library *library = NULL;
    CUresult cr = CUDA_SUCCESS;

    if (!fe_session_any(&cr))
        return cr;
    library = fe_object_get(WIRE_HANDLE_LIBRARY, handle);
    if (library == NULL || library->kernels == NULL)
        return CUDA_ERROR_INVALID_HANDLE;
    if (GP_UNLIKELY(fe_several))
        unload_there(library);
    return unload(library);
}

/* A library for a call that stays here. */
static CUresult
local(CUlibrary handle, struct fe_library **library_p)
{
    CUresult cr = CUDA_SUCCESS;

    FE_COUNT_LOCAL();
    if (fe_state_get(&cr) == NULL)
        return cr;
    *library_p = fe_object_get(WIRE_HANDLE_LIBRARY, handle);
    return *library_p != NULL ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
}

GP_EXPORT CUresult
cuLibraryGetKernel(CUkernel *kernel, CUlibrary handle, const char *name)
{
    GP_USE();
    struct fe_library *library = NULL;
    struct fe_function *f = NULL;
    CUresult cr = local(handle, &library);

    if (cr == CUDA_SUCCESS && (kernel == NULL || name == NULL))
        cr = CUDA_ERROR_INVALID_VALUE;
    if (cr == CUDA_SUCCESS)
        cr = fe_kernels_by_name(library->kernels, name, &f);
    if (cr == CUDA_SUCCESS)
        *kernel = (CUkernel)f;
    return cr;
}

GP_EXPORT CUresult
cuLibraryGetKernelCount(unsigned int *count, CUlibrary handle)
{
    GP_USE();
    struct fe_library *library = NULL;
    CUresult cr = local(handle, &library);

    if (cr == CUDA_SUCCESS && count == NULL)
        cr = CUDA_ERROR_INVALID_VALUE;
    if (cr == CUDA_SUCCESS)
        *count = fe_kernels_count(library->kernels);
    return cr;
}

GP_EXPORT CUresult
cuLibraryEnumerateKernels(CUkernel *kernels, unsigned int count, CUlibrary handle)
{
    GP_USE();
    struct fe_library *library = NULL;
    struct fe_function *f = NULL;
    CUresult cr = local(handle, &library);

    if (cr == CUDA_SUCCESS && kernels == NULL)
        cr = CUDA_ERROR_INVALID_VALUE;
    for (unsigned i = 0; cr == CUDA_SUCCESS && i < count; i++) {
        if (i >= fe_kernels_count(library->kernels))
            break;
        cr = fe_kernels_at(library->kernels, i, &f);
        if (cr == CUDA_SUCCESS)
            kernels[i] = (CUkernel)f;
    }
    return cr;
}

/* cuLibraryGetGlobal in the current context, remembered; the runtime asks at each symbol copy. */
static CUresult
global(struct fe_call *call, struct fe_library *library, const char *name, uint64_t *address_p,
       uint64_t *bytes_p)
{
    struct wire_cuLibraryGetGlobal_args args = {.library = library->object.wire, .name = name};
    struct wire_cuLibraryGetGlobal_reply reply;
    CUresult cr;

    if (fe_perf(FE_PERF_CACHE) &&
        fe_kernels_global_get(library->kernels, call->context, name, address_p, bytes_p))
        return CUDA_SUCCESS;
    args.name_len = (uint32_t)strlen(name);
    FE_ASK(cr, call, cuLibraryGetGlobal, &args, &reply);
    if (cr != CUDA_SUCCESS)
        return cr;
    fe_global_learn(library->kernels, call->context, library, name, reply.address, reply.bytes);
    *address_p = reply.address;
    *bytes_p = reply.bytes;
    return CUDA_SUCCESS;
}

GP_EXPORT CUresult
cuLibraryGetGlobal(CUdeviceptr *address, size_t *size, CUlibrary handle, const char *name)
{
    GP_USE();
    uint64_t at = 0, bytes = 0;
    struct fe_library *library = NULL;
    struct fe_call call;
    CUresult cr;

    cr = fe_enter(&call, WIRE_CALL_cuLibraryGetGlobal);
    if (cr != CUDA_SUCCESS)
        return cr;
    library = fe_object_get(WIRE_HANDLE_LIBRARY, handle);
    if (library == NULL)
        return fe_leave(&call, CUDA_ERROR_INVALID_HANDLE);
    if (name == NULL || (address == NULL && size == NULL) || strlen(name) > NAME_MAX_BYTES)
        return fe_leave(&call, CUDA_ERROR_INVALID_VALUE);
    cr = library_there(call.session, &library);
    if (cr == CUDA_SUCCESS)
        cr = global(&call, library, name, &at, &bytes);
    if (cr == CUDA_SUCCESS && address != NULL)
        *address = at;
    if (cr == CUDA_SUCCESS && size != NULL)
        *size = bytes;
    return fe_leave(&call, cr);
}

/* The host follows the pointer it gets: memory is mapped here at the server's address. */
static CUresult
managed(struct fe_call *call, struct fe_library *library, const char *name, uint64_t *address_p,
        uint64_t *bytes_p)
{
    struct wire_cuLibraryGetManaged_args args = {.library = library->object.wire, .name = name};
    struct wire_cuLibraryGetManaged_reply reply;
    struct fe_context *ctx = fe_context_current();
    struct fe_block block = {.device = ctx != NULL ? ctx->device : fe_device_first(call->session)};
    CUresult cr;

    args.name_len = (uint32_t)strlen(name);
    FE_ASK(cr, call, cuLibraryGetManaged, &args, &reply);
    if (cr != CUDA_SUCCESS)
        return cr;
    if (!fe_managed_find(reply.address, NULL)) {
        cr = fe_managed_variable(reply.address, reply.bytes, block.device, call->session, library);
        if (cr != CUDA_SUCCESS)
            return cr;
        block.base = reply.address;
        block.bytes = reply.bytes;
        block.owner = ctx;
        fe_alloc_add_foreign(fe_alloc_of(call), &block, library);
    }
    *address_p = reply.address;
    *bytes_p = reply.bytes;
    return CUDA_SUCCESS;
}

GP_EXPORT CUresult
cuLibraryGetManaged(CUdeviceptr *address, size_t *size, CUlibrary handle, const char *name)
{
    GP_USE();
    uint64_t at = 0, bytes = 0;
    struct fe_library *library = NULL;
    struct fe_call call;
    CUresult cr;

    cr = fe_enter_on(&call, WIRE_CALL_cuLibraryGetManaged, NULL);
    if (cr != CUDA_SUCCESS)
        return cr;
    library = fe_object_get(WIRE_HANDLE_LIBRARY, handle);
    if (library == NULL)
        return fe_leave(&call, CUDA_ERROR_INVALID_HANDLE);
    if (name == NULL || (address == NULL && size == NULL) || strlen(name) > NAME_MAX_BYTES)
        return fe_leave(&call, CUDA_ERROR_INVALID_VALUE);
    cr = library_there(call.session, &library);
    if (cr == CUDA_SUCCESS)
        cr = managed(&call, library, name, &at, &bytes);
    if (cr == CUDA_SUCCESS && address != NULL)
        *address = at;
    if (cr == CUDA_SUCCESS && size != NULL)
        *size = bytes;
    return fe_leave(&call, cr);
}

static CUresult
module_of(struct fe_call *call, struct fe_library *library, struct fe_module **module_p)
{
    struct wire_cuLibraryGetModule_args args = {.library = library->object.wire};
    struct wire_cuLibraryGetModule_reply reply;
    struct fe_module *module = NULL;
    const uint8_t *bytes;
    size_t len;
    CUresult cr;
    void *to;

    module = fe_object_create(WIRE_HANDLE_MODULE, call->context);
    if (module == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    args.module = module->object.wire;
    to = fe_post(call, wire_size_cuLibraryGetModule_args(&args));
    if (to == NULL) {
        cr = fe_lost(call);
    } else {
        wire_put_cuLibraryGetModule_args(to, &args);
        fe_post_done(call);
        cr = fe_wait(call, &bytes, &len);
    }
    if (cr == CUDA_SUCCESS && !wire_get_cuLibraryGetModule_reply(bytes, len, &reply))
        cr = fe_malformed(call);
    if (cr == CUDA_SUCCESS)
        cr = fe_kernels_create(reply.table, reply.table_len, WIRE_HANDLE_FUNCTION,
                               module->object.wire, &module->object, &module->kernels);
    if (cr == CUDA_SUCCESS) {
        module->library_wire = library->object.wire;
        *module_p = module;
    } else {
        fe_object_destroy(module);
    }
    return cr;
}

GP_EXPORT CUresult
cuLibraryGetModule(CUmodule *handle, CUlibrary library_handle)
{
    GP_USE();
    struct fe_library *library = NULL;
    struct module_want want;
    struct fe_call call;
    CUresult cr;

    cr = fe_enter_on(&call, WIRE_CALL_cuLibraryGetModule, NULL);
    if (cr != CUDA_SUCCESS)
        return cr;
    library = fe_object_get(WIRE_HANDLE_LIBRARY, library_handle);
    if (library == NULL)
        return fe_leave(&call, CUDA_ERROR_INVALID_HANDLE);
    if (handle == NULL)
        return fe_leave(&call, CUDA_ERROR_INVALID_VALUE);
    cr = fe_enter(&call, WIRE_CALL_cuLibraryGetModule);
    if (cr != CUDA_SUCCESS)
        return cr;
    cr = library_there(call.session, &library);
    if (cr != CUDA_SUCCESS)
        return fe_leave(&call, cr);
    want = (struct module_want){library->object.wire, call.context, NULL};
    fe_object_each(WIRE_HANDLE_MODULE, find_module, &want);
    if (want.found == NULL)
        cr = module_of(&call, library, &want.found);
    if (cr == CUDA_SUCCESS)
        *handle = (CUmodule)want.found;
    return fe_leave(&call, cr);
}

/* They would be functions of this process that a device can call: no device here can, as the
 * attribute says. */
GP_EXPORT CUresult
cuLibraryGetUnifiedFunction(void **function, CUlibrary handle, const char *name)
{
    GP_USE();
    CUresult cr = CUDA_SUCCESS;

    FE_COUNT_LOCAL();
    if (fe_state_get(&cr) == NULL)
        return cr;
    (void)function;
    (void)name;
    return fe_object_get(WIRE_HANDLE_LIBRARY, handle) != NULL ? CUDA_ERROR_NOT_FOUND
                                                              : CUDA_ERROR_INVALID_HANDLE;
}
