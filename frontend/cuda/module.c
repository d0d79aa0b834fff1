/* frontend/cuda/module.c -- modules: loaded with one round trip, which brings all of their kernels
 */
#include "cuda_api.h"
#include "frontend/core/perf.h"
#include "frontend/core/stats.h"
#include "frontend/cuda/ask.h"
#include "frontend/cuda/image.h"
#include "frontend/cuda/kernels.h"
#include "frontend/cuda/managed.h"
#include "frontend/cuda/state.h"
#include "frontend/cuda/texture.h"
#include "protocol/base/util.h"

#include <stdlib.h>
#include <string.h>

#define NAME_MAX_BYTES 4095

bool
fe_module_drop(struct fe_module *module)
{
    struct fe_state *state = fe_state_get(NULL);

    if (!fe_object_close(module))
        return false;
    if (state != NULL)
        fe_alloc_drop_foreign(fe_alloc_of_device(module->object.context->device), module);
    fe_managed_drop(module);
    fe_texrefs_drop_module(module);
    fe_kernels_destroy(module->kernels, &module->object);
    return true;
}

/* Post the load of what fe_image_send() has sent, and wait: all but the module. */
static CUresult
load_sent(struct fe_call *call, const struct wire_cuModuleLoadDataEx_args *args,
          struct fe_module *module, const struct fe_jit *jit)
{
    struct wire_cuModuleLoadDataEx_reply reply;
    const uint8_t *bytes;
    size_t len = 0;
    CUresult cr;
    void *to;

    to = fe_post(call, wire_size_cuModuleLoadDataEx_args(args));
    if (to == NULL)
        return fe_lost(call);
    wire_put_cuModuleLoadDataEx_args(to, args);
    fe_post_done(call);
    cr = fe_wait(call, &bytes, &len);
    if (len == 0 && cr != CUDA_SUCCESS) /* the logs come with a failure too */
        return cr;
    if (!wire_get_cuModuleLoadDataEx_reply(bytes, len, &reply))
        return fe_malformed(call);
    fe_jit_answer(jit, reply.info, reply.error);
    if (cr == CUDA_SUCCESS)
        cr = fe_kernels_create(reply.table, reply.table_len, WIRE_HANDLE_FUNCTION,
                               module->object.wire, &module->object, &module->kernels);
    return cr;
}

static CUresult
load(struct fe_call *call, const void *image, struct fe_jit *jit, struct fe_module **module_p)
{
    struct wire_cuModuleLoadDataEx_args args = {
        .options = jit->options,
        .options_len = jit->count,
        .values = jit->values,
        .values_len = jit->count,
        .info_bytes = jit->info_bytes,
        .error_bytes = jit->error_bytes,
    };
    struct fe_module *module = NULL;
    struct fe_image way = {0};
    CUresult cr;

    do {
        cr = fe_image_send(call, image, &way);
        if (cr == CUDA_SUCCESS && module == NULL) {
            module = fe_object_create(WIRE_HANDLE_MODULE, call->context);
            cr = module != NULL ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
        }
        if (cr != CUDA_SUCCESS)
            break;
        args.module = module->object.wire;
        args.upload = way.upload;
        args.kind = way.kind;
        cr = load_sent(call, &args, module, jit);
    } while (fe_image_wanted(&way, cr));
    if (cr == CUDA_SUCCESS)
        *module_p = module;
    else if (module != NULL)
        fe_object_destroy(module);
    return cr;
}

GP_EXPORT CUresult
cuModuleLoadDataEx(CUmodule *handle, const void *image, unsigned int count, CUjit_option *options,
                   void **values)
{
    struct fe_module *module = NULL;
    struct fe_call call;
    struct fe_jit jit;
    CUresult cr;

    cr = fe_enter(&call, WIRE_CALL_cuModuleLoadDataEx);
    if (cr != CUDA_SUCCESS)
        return cr;
    if (handle == NULL || image == NULL)
        return fe_leave(&call, CUDA_ERROR_INVALID_VALUE);
    cr = fe_jit_read(&jit, count, options, values);
    if (cr == CUDA_SUCCESS)
        cr = load(&call, image, &jit, &module);
    if (cr == CUDA_SUCCESS)
        *handle = (CUmodule)module;
    return fe_leave(&call, cr);
}

GP_EXPORT CUresult
cuModuleLoadData(CUmodule *handle, const void *image)
{
    return cuModuleLoadDataEx(handle, image, 0, NULL, NULL);
}

GP_EXPORT CUresult
cuModuleLoadFatBinary(CUmodule *handle, const void *image)
{
    return cuModuleLoadDataEx(handle, image, 0, NULL, NULL);
}

GP_EXPORT CUresult
cuModuleLoad(CUmodule *handle, const char *path)
{
    GP_AUTO_FREE void *image = NULL;
    CUresult cr = CUDA_SUCCESS;

    if (fe_state_get(&cr) == NULL)
        return cr;
    if (handle == NULL || path == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    if (fe_context_current() == NULL)
        return CUDA_ERROR_INVALID_CONTEXT;
    cr = fe_image_read(path, &image);
    return cr == CUDA_SUCCESS ? cuModuleLoadData(handle, image) : cr;
}

GP_EXPORT CUresult
cuModuleUnload(CUmodule handle)
{
    GP_USE();
    struct wire_cuModuleUnload_args args;
    struct fe_module *module = NULL;
    struct fe_call call;
    CUresult cr;
    void *to;

    cr = fe_enter(&call, WIRE_CALL_cuModuleUnload);
    if (cr != CUDA_SUCCESS)
        return cr;
    module = fe_object_get(WIRE_HANDLE_MODULE, handle);
    if (module == NULL || module->kernels == NULL)
        return fe_leave(&call, CUDA_ERROR_INVALID_HANDLE);
    cr = fe_context_usable(module->object.context);
    if (cr != CUDA_SUCCESS)
        return fe_leave(&call, cr);
    if (module->library_wire != 0) /* it goes with its library */
        return fe_leave(&call, CUDA_ERROR_NOT_PERMITTED);
    args.module = module->object.wire;
    if (!fe_module_drop(module))
        return fe_leave(&call, CUDA_ERROR_INVALID_HANDLE);
    to = fe_post(&call, wire_size_cuModuleUnload_args(&args));
    if (to == NULL)
        return fe_leave(&call, fe_lost(&call));
    wire_put_cuModuleUnload_args(to, &args);
    fe_post_done(&call);
    return fe_leave(&call, CUDA_SUCCESS);
}

/* A module for a call that stays here. */
static CUresult
local(CUmodule handle, struct fe_module **module_p)
{
    CUresult cr = CUDA_SUCCESS;

    FE_COUNT_LOCAL();
    if (fe_state_get(&cr) == NULL)
        return cr;
    *module_p = fe_object_get(WIRE_HANDLE_MODULE, handle);
    if (*module_p == NULL)
        return CUDA_ERROR_INVALID_HANDLE;
    return (CUresult)atomic_load_explicit(&(*module_p)->object.context->head.sticky,
                                          memory_order_relaxed);
}

GP_EXPORT CUresult
cuModuleGetFunction(CUfunction *handle, CUmodule module_handle, const char *name)
{
    GP_USE();
    struct fe_function *f = NULL;
    struct fe_module *module = NULL;
    CUresult cr = local(module_handle, &module);

    if (cr != CUDA_SUCCESS)
        return cr;
    if (handle == NULL || name == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    cr = fe_kernels_by_name(module->kernels, name, &f);
    if (cr == CUDA_SUCCESS)
        *handle = (CUfunction)f;
    return cr;
}

GP_EXPORT CUresult
cuModuleGetFunctionCount(unsigned int *count, CUmodule handle)
{
    GP_USE();
    struct fe_module *module = NULL;
    CUresult cr = local(handle, &module);

    if (cr == CUDA_SUCCESS && count == NULL)
        cr = CUDA_ERROR_INVALID_VALUE;
    if (cr == CUDA_SUCCESS)
        *count = fe_kernels_count(module->kernels);
    return cr;
}

GP_EXPORT CUresult
cuModuleEnumerateFunctions(CUfunction *functions, unsigned int count, CUmodule handle)
{
    GP_USE();
    struct fe_module *module = NULL;
    struct fe_function *f = NULL;
    CUresult cr = local(handle, &module);

    if (cr == CUDA_SUCCESS && functions == NULL)
        cr = CUDA_ERROR_INVALID_VALUE;
    for (unsigned i = 0; cr == CUDA_SUCCESS && i < count; i++) {
        if (i >= fe_kernels_count(module->kernels))
            break;
        cr = fe_kernels_at(module->kernels, i, &f);
        if (cr == CUDA_SUCCESS)
            functions[i] = (CUfunction)f;
    }
    return cr;
}

/* A managed variable is memory of the host's too: CUDA 11's runtime follows the pointer. */
static CUresult
global(struct fe_call *call, struct fe_module *module, const char *name, uint64_t *address_p,
       uint64_t *bytes_p)
{
    struct wire_gpModuleGlobal_args args = {.module = module->object.wire, .name = name};
    struct wire_gpModuleGlobal_reply reply;
    struct fe_context *ctx = module->object.context;
    CUresult cr;

    if (fe_perf(FE_PERF_CACHE) &&
        fe_kernels_global_get(module->kernels, ctx, name, address_p, bytes_p))
        return CUDA_SUCCESS;
    args.name_len = (uint32_t)strlen(name);
    FE_ASK(cr, call, gpModuleGlobal, &args, &reply);
    if (cr == CUDA_SUCCESS && reply.managed != 0 && !fe_managed_find(reply.address, NULL))
        cr = fe_managed_variable(reply.address, reply.bytes, ctx->device, call->session, module);
    if (cr != CUDA_SUCCESS)
        return cr;
    fe_global_learn(module->kernels, ctx, module, name, reply.address, reply.bytes);
    *address_p = reply.address;
    *bytes_p = reply.bytes;
    return CUDA_SUCCESS;
}

GP_EXPORT CUresult
cuModuleGetGlobal_v2(CUdeviceptr *address, size_t *size, CUmodule handle, const char *name)
{
    GP_USE();
    struct fe_module *module = NULL;
    uint64_t at = 0, bytes = 0;
    struct fe_call call;
    CUresult cr;

    cr = local(handle, &module);
    if (cr == CUDA_SUCCESS) /* a module's context is its own, whatever is current */
        cr = fe_enter_in(&call, WIRE_CALL_gpModuleGlobal, module->object.context);
    if (cr != CUDA_SUCCESS)
        return cr;
    if (name == NULL || (address == NULL && size == NULL) || strlen(name) > NAME_MAX_BYTES)
        return fe_leave(&call, CUDA_ERROR_INVALID_VALUE);
    cr = global(&call, module, name, &at, &bytes);
    if (cr == CUDA_SUCCESS && address != NULL)
        *address = at;
    if (cr == CUDA_SUCCESS && size != NULL)
        *size = bytes;
    return fe_leave(&call, cr);
}

void
fe_global_learn(struct fe_kernels *k, struct fe_context *ctx, const void *key, const char *name,
                uint64_t address, uint64_t bytes)
{
    struct fe_block block = {.base = address, .bytes = bytes, .owner = ctx, .device = ctx->device};
    struct fe_state *state = fe_state_get(NULL);

    fe_kernels_global_put(k, ctx, name, address, bytes);
    if (state != NULL && !fe_alloc_in_range(fe_alloc_of_device(ctx->device), address) && bytes > 0)
        fe_alloc_add_foreign(fe_alloc_of_device(ctx->device), &block, key);
}
