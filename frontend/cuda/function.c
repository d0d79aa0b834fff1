/* frontend/cuda/function.c -- attributes and parameters of functions
 *
 * A module's function is asked by the cuFunc calls, a library's kernel, also under the name of its
 * CUfunction, by the cuKernel calls. What a set call may change is forgotten then.
 */
#include "frontend/cuda/function.h"

#include "cuda_api.h"
#include "frontend/core/perf.h"
#include "frontend/core/stats.h"
#include "frontend/cuda/state.h"
#include "protocol/base/util.h"

/* Attributes of a library's kernel are kept for one device of a server only: the first. */
static bool
cacheable(const struct fe_function *f, CUdevice dev)
{
    return fe_perf(FE_PERF_CACHE) &&
           (!fe_kernels_of_library(f->owner) || dev == fe_device_first(f->session));
}

static bool
cached(const struct fe_function *f, CUfunction_attribute attribute, int *value)
{
    uint32_t mask = atomic_load_explicit(&f->mask, memory_order_acquire);

    if ((int)attribute >= WIRE_KERNEL_ATTRIBUTES || !(mask >> (int)attribute & 1))
        return false;
    *value = f->attributes[attribute];
    return true;
}

CUresult
fe_function_enter(struct fe_call *call, enum wire_call id, CUfunction handle,
                  struct fe_function **f_p)
{
    CUresult cr = fe_enter(call, id);
    const struct fe_context *ctx;

    if (cr != CUDA_SUCCESS)
        return cr;
    *f_p = fe_function_get(handle);
    if (*f_p == NULL)
        return fe_leave(call, CUDA_ERROR_INVALID_HANDLE);
    ctx = (*f_p)->object.context;
    if (ctx == NULL)
        cr = fe_function_here(call, f_p);
    else if (ctx != call->context)
        cr = (CUresult)atomic_load_explicit(&ctx->head.sticky, memory_order_relaxed);
    return cr == CUDA_SUCCESS ? cr : fe_leave(call, cr);
}

/* The current context, if it is one of this server's. */
static struct fe_context *
context_on(const struct fe_session *session)
{
    struct fe_context *ctx = fe_context_current();

    return ctx != NULL && ctx->head.session == session ? ctx : NULL;
}

/* The kernel as the device's server knows it. */
static CUresult
there(CUdevice dev, struct fe_function **kernel_p)
{
    struct fe_session *session = fe_device_session(dev);

    return (*kernel_p)->session == session ? CUDA_SUCCESS : fe_kernel_there(session, kernel_p);
}

/* The parameters are there after this; a module's function asks in its own context. */
static CUresult
have_details(struct fe_function *f)
{
    struct fe_context *ctx = f->object.context;
    struct fe_call call;
    CUresult cr;

    if (atomic_load_explicit(&f->ready, memory_order_acquire))
        return CUDA_SUCCESS;
    cr = fe_enter_in(&call, WIRE_CALL_gpKernelInfo, ctx != NULL ? ctx : context_on(f->session));
    return cr == CUDA_SUCCESS ? fe_leave(&call, fe_function_fetch(&call, f)) : cr;
}

/* The answer of either get call; their replies are one number. */
static CUresult
answer(struct fe_call *call, struct fe_function *f, CUfunction_attribute attribute, bool keep,
       int *value)
{
    struct wire_cuFuncGetAttribute_reply reply;
    const uint8_t *bytes;
    size_t len;
    CUresult cr = fe_wait(call, &bytes, &len);

    if (cr == CUDA_SUCCESS && !wire_get_cuFuncGetAttribute_reply(bytes, len, &reply))
        cr = fe_malformed(call);
    if (cr != CUDA_SUCCESS)
        return cr;
    if (keep && (int)attribute < WIRE_KERNEL_ATTRIBUTES)
        fe_function_learn(f, (int)attribute, reply.value);
    *value = reply.value;
    return CUDA_SUCCESS;
}

CUresult
fe_kernel_attribute(struct fe_function *kernel, CUfunction_attribute attribute, CUdevice dev,
                    int *value)
{
    struct wire_cuKernelGetAttribute_args args = {.attribute = (int32_t)attribute};
    struct fe_call call;
    CUresult cr;
    void *to;

    cr = there(dev, &kernel);
    if (cr != CUDA_SUCCESS)
        return cr;
    /* One question brings them all, where there is a context to ask it in. */
    if (cacheable(kernel, dev) && !kernel->ready && context_on(kernel->session) != NULL)
        (void)have_details(kernel);
    if (cacheable(kernel, dev) && cached(kernel, attribute, value))
        return CUDA_SUCCESS;
    cr = fe_enter_on(&call, WIRE_CALL_cuKernelGetAttribute, kernel->session);
    if (cr != CUDA_SUCCESS)
        return cr;
    args.kernel = kernel->object.wire;
    args.device = fe_state_of(&call)->devices[dev].server_ordinal;
    to = fe_post(&call, wire_size_cuKernelGetAttribute_args(&args));
    if (to == NULL)
        return fe_leave(&call, fe_lost(&call));
    wire_put_cuKernelGetAttribute_args(to, &args);
    fe_post_done(&call);
    return fe_leave(&call, answer(&call, kernel, attribute, cacheable(kernel, dev), value));
}

GP_EXPORT CUresult
cuFuncGetAttribute(int *value, CUfunction_attribute attribute, CUfunction handle)
{
    GP_USE();
    struct wire_cuFuncGetAttribute_args args = {.attribute = (int32_t)attribute};
    struct fe_function *f = NULL;
    struct fe_call call;
    CUresult cr;
    void *to;

    cr = fe_function_enter(&call, WIRE_CALL_cuFuncGetAttribute, handle, &f);
    if (cr != CUDA_SUCCESS)
        return cr;
    if (value == NULL || (int)attribute < 0 || attribute >= CU_FUNC_ATTRIBUTE_MAX)
        return fe_leave(&call, CUDA_ERROR_INVALID_VALUE);
    if (cacheable(f, call.context->device)) {
        cr = fe_function_ready(&call, f);
        if (cr != CUDA_SUCCESS || cached(f, attribute, value))
            return fe_leave(&call, cr);
    }
    if (fe_kernels_of_library(f->owner)) {
        cr = fe_leave(&call, CUDA_SUCCESS);
        return cr != CUDA_SUCCESS ? cr
                                  : fe_kernel_attribute(f, attribute, call.context->device, value);
    }
    args.function = f->object.wire;
    to = fe_post(&call, wire_size_cuFuncGetAttribute_args(&args));
    if (to == NULL)
        return fe_leave(&call, fe_lost(&call));
    wire_put_cuFuncGetAttribute_args(to, &args);
    fe_post_done(&call);
    return fe_leave(&call, answer(&call, f, attribute, cacheable(f, call.context->device), value));
}

/* -- setting ---------------------------------------------------------------------------- */

/* What the driver refuses at the call. */
static CUresult
check_set(const struct fe_function *f, CUfunction_attribute attribute, int value, CUdevice dev)
{
    struct fe_state *state = fe_state_get(NULL);
    int used = 0, most;

    switch (attribute) {
    case CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES:
        most =
            fe_device_attribute(state, dev, CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN);
        (void)cached(f, CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES, &used);
        return value < 0 || value > most - used ? CUDA_ERROR_INVALID_VALUE : CUDA_SUCCESS;
    case CU_FUNC_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT:
        return value < -1 || value > 100 ? CUDA_ERROR_INVALID_VALUE : CUDA_SUCCESS;
    case CU_FUNC_ATTRIBUTE_REQUIRED_CLUSTER_WIDTH:
    case CU_FUNC_ATTRIBUTE_REQUIRED_CLUSTER_HEIGHT:
    case CU_FUNC_ATTRIBUTE_REQUIRED_CLUSTER_DEPTH:
        return value < 0 ? CUDA_ERROR_INVALID_VALUE : CUDA_SUCCESS;
    case CU_FUNC_ATTRIBUTE_NON_PORTABLE_CLUSTER_SIZE_ALLOWED:
        return CUDA_SUCCESS; /* any number but 0 is leave */
    case CU_FUNC_ATTRIBUTE_CLUSTER_SCHEDULING_POLICY_PREFERENCE:
        return value < 0 || value > CU_CLUSTER_SCHEDULING_POLICY_LOAD_BALANCING
                   ? CUDA_ERROR_INVALID_VALUE
                   : CUDA_SUCCESS;
    default:
        return CUDA_ERROR_INVALID_VALUE; /* the others cannot be set */
    }
}

/* After a set: its value is known, what depends on it is not. */
static void
was_set(struct fe_function *f, CUfunction_attribute attribute, int value, bool keep)
{
    if (keep && (attribute == CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES ||
                 (attribute >= CU_FUNC_ATTRIBUTE_REQUIRED_CLUSTER_WIDTH &&
                  attribute <= CU_FUNC_ATTRIBUTE_NON_PORTABLE_CLUSTER_SIZE_ALLOWED)))
        fe_function_learn(f, (int)attribute, value);
    else
        fe_function_forget(f, (int)attribute);
    atomic_fetch_add(&f->version, 1);
}

CUresult
fe_kernel_set_attribute(struct fe_function *kernel, CUfunction_attribute attribute, int value,
                        CUdevice dev)
{
    struct wire_cuKernelSetAttribute_args args = {.attribute = (int32_t)attribute, .value = value};
    struct fe_call call;
    CUresult cr = there(dev, &kernel);
    void *to;

    if (cr == CUDA_SUCCESS)
        cr = fe_enter_on(&call, WIRE_CALL_cuKernelSetAttribute, kernel->session);
    if (cr != CUDA_SUCCESS)
        return cr;
    args.kernel = kernel->object.wire;
    cr = check_set(kernel, attribute, value, dev);
    if (cr != CUDA_SUCCESS)
        return fe_leave(&call, cr);
    args.device = fe_state_of(&call)->devices[dev].server_ordinal;
    to = fe_post(&call, wire_size_cuKernelSetAttribute_args(&args));
    if (to == NULL)
        return fe_leave(&call, fe_lost(&call));
    wire_put_cuKernelSetAttribute_args(to, &args);
    fe_post_done(&call);
    was_set(kernel, attribute, value, cacheable(kernel, dev));
    return fe_leave(&call, CUDA_SUCCESS);
}

GP_EXPORT CUresult
cuFuncSetAttribute(CUfunction handle, CUfunction_attribute attribute, int value)
{
    GP_USE();
    struct wire_cuFuncSetAttribute_args args = {.attribute = (int32_t)attribute, .value = value};
    struct fe_function *f = NULL;
    struct fe_call call;
    CUresult cr;
    void *to;

    cr = fe_function_enter(&call, WIRE_CALL_cuFuncSetAttribute, handle, &f);
    if (cr != CUDA_SUCCESS)
        return cr;
    if (fe_kernels_of_library(f->owner)) {
        cr = fe_leave(&call, CUDA_SUCCESS);
        return cr != CUDA_SUCCESS
                   ? cr
                   : fe_kernel_set_attribute(f, attribute, value, call.context->device);
    }
    cr = check_set(f, attribute, value, call.context->device);
    if (cr != CUDA_SUCCESS)
        return fe_leave(&call, cr);
    args.function = f->object.wire;
    to = fe_post(&call, wire_size_cuFuncSetAttribute_args(&args));
    if (to == NULL)
        return fe_leave(&call, fe_lost(&call));
    wire_put_cuFuncSetAttribute_args(to, &args);
    fe_post_done(&call);
    was_set(f, attribute, value, true);
    return fe_leave(&call, CUDA_SUCCESS);
}

CUresult
fe_kernel_set_cache(struct fe_function *kernel, CUfunc_cache config, CUdevice dev)
{
    struct wire_cuKernelSetCacheConfig_args args = {.config = (uint32_t)config};
    struct fe_call call;
    CUresult cr = there(dev, &kernel);
    void *to;

    if (cr == CUDA_SUCCESS)
        cr = fe_enter_on(&call, WIRE_CALL_cuKernelSetCacheConfig, kernel->session);
    if (cr != CUDA_SUCCESS)
        return cr;
    args.kernel = kernel->object.wire;
    if ((int)config < 0 || config > CU_FUNC_CACHE_PREFER_EQUAL)
        return fe_leave(&call, CUDA_ERROR_INVALID_VALUE);
    args.device = fe_state_of(&call)->devices[dev].server_ordinal;
    to = fe_post(&call, wire_size_cuKernelSetCacheConfig_args(&args));
    if (to == NULL)
        return fe_leave(&call, fe_lost(&call));
    wire_put_cuKernelSetCacheConfig_args(to, &args);
    fe_post_done(&call);
    atomic_fetch_add(&kernel->version, 1);
    return fe_leave(&call, CUDA_SUCCESS);
}

GP_EXPORT CUresult
cuFuncSetCacheConfig(CUfunction handle, CUfunc_cache config)
{
    GP_USE();
    struct wire_cuFuncSetCacheConfig_args args = {.config = (uint32_t)config};
    struct fe_function *f = NULL;
    struct fe_call call;
    CUresult cr;
    void *to;

    cr = fe_function_enter(&call, WIRE_CALL_cuFuncSetCacheConfig, handle, &f);
    if (cr != CUDA_SUCCESS)
        return cr;
    if ((int)config < 0 || config > CU_FUNC_CACHE_PREFER_EQUAL)
        return fe_leave(&call, CUDA_ERROR_INVALID_VALUE);
    if (fe_kernels_of_library(f->owner)) {
        cr = fe_leave(&call, CUDA_SUCCESS);
        return cr != CUDA_SUCCESS ? cr : fe_kernel_set_cache(f, config, call.context->device);
    }
    args.function = f->object.wire;
    to = fe_post(&call, wire_size_cuFuncSetCacheConfig_args(&args));
    if (to == NULL)
        return fe_leave(&call, fe_lost(&call));
    wire_put_cuFuncSetCacheConfig_args(to, &args);
    fe_post_done(&call);
    atomic_fetch_add(&f->version, 1);
    return fe_leave(&call, CUDA_SUCCESS);
}

/* Deprecated, and without effect on devices since Maxwell, whose banks have one width: a function
 * of a library is not told. */
GP_EXPORT CUresult
cuFuncSetSharedMemConfig(CUfunction handle, CUsharedconfig config)
{
    GP_USE();
    struct wire_cuFuncSetSharedMemConfig_args args = {.config = (uint32_t)config};
    struct fe_function *f = NULL;
    struct fe_call call;
    CUresult cr;
    void *to;

    cr = fe_function_enter(&call, WIRE_CALL_cuFuncSetSharedMemConfig, handle, &f);
    if (cr != CUDA_SUCCESS)
        return cr;
    if ((int)config < 0 || config > CU_SHARED_MEM_CONFIG_EIGHT_BYTE_BANK_SIZE)
        return fe_leave(&call, CUDA_ERROR_INVALID_VALUE);
    if (fe_kernels_of_library(f->owner))
        return fe_leave(&call, CUDA_SUCCESS);
    args.function = f->object.wire;
    to = fe_post(&call, wire_size_cuFuncSetSharedMemConfig_args(&args));
    if (to == NULL)
        return fe_leave(&call, fe_lost(&call));
    wire_put_cuFuncSetSharedMemConfig_args(to, &args);
    fe_post_done(&call);
    return fe_leave(&call, CUDA_SUCCESS);
}

/* -- questions -------------------------------------------------------------------------- */

static CUresult
local(CUfunction handle, struct fe_function **f_p)
{
    CUresult cr = CUDA_SUCCESS;

    struct fe_context *ctx;
    struct fe_call call;

    FE_COUNT_LOCAL();
    if (fe_state_get(&cr) == NULL)
        return cr;
    *f_p = fe_function_get(handle);
    if (*f_p == NULL)
        return CUDA_ERROR_INVALID_HANDLE;
    /* A module's function knows its context, a library's kernel is meant in the current one. */
    ctx = (*f_p)->object.context != NULL ? (*f_p)->object.context : fe_context_current();
    if (ctx == NULL)
        return CUDA_ERROR_INVALID_CONTEXT;
    cr = fe_enter_in(&call, WIRE_CALL_gpKernelInfo, ctx);
    return cr == CUDA_SUCCESS ? fe_leave(&call, cr) : cr;
}

CUresult
fe_function_param(struct fe_function *f, size_t index, size_t *offset, size_t *size)
{
    struct fe_context *now = fe_context_current();
    CUresult cr = CUDA_SUCCESS;

    /* A kernel may be asked about in any context. */
    if (f->object.context == NULL && now != NULL && now->head.session != f->session)
        cr = fe_kernel_there(now->head.session, &f);
    if (cr == CUDA_SUCCESS)
        cr = have_details(f);
    if (cr != CUDA_SUCCESS)
        return cr;
    if (offset == NULL || index >= f->nparams)
        return CUDA_ERROR_INVALID_VALUE;
    *offset = f->params[index].offset;
    if (size != NULL)
        *size = f->params[index].bytes;
    return CUDA_SUCCESS;
}

GP_EXPORT CUresult
cuFuncGetParamInfo(CUfunction handle, size_t index, size_t *offset, size_t *size)
{
    GP_USE();
    struct fe_function *f = NULL;
    CUresult cr = local(handle, &f);

    return cr == CUDA_SUCCESS ? fe_function_param(f, index, offset, size) : cr;
}

GP_EXPORT CUresult
cuFuncGetName(const char **name, CUfunction handle)
{
    GP_USE();
    struct fe_function *f = NULL;
    CUresult cr = local(handle, &f);

    if (cr == CUDA_SUCCESS && name == NULL)
        cr = CUDA_ERROR_INVALID_VALUE;
    if (cr == CUDA_SUCCESS)
        *name = f->name;
    return cr;
}

GP_EXPORT CUresult
cuFuncGetModule(CUmodule *module, CUfunction handle)
{
    GP_USE();
    struct fe_function *f = NULL;
    CUresult cr = local(handle, &f);

    if (cr != CUDA_SUCCESS)
        return cr;
    if (module == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    if (fe_kernels_of_library(f->owner))
        return cuLibraryGetModule(module, (CUlibrary)fe_kernels_owner(f->owner));
    *module = (CUmodule)fe_kernels_owner(f->owner);
    return CUDA_SUCCESS;
}

/* Whether it is loaded is the server's matter; here it can always be launched. */
GP_EXPORT CUresult
cuFuncIsLoaded(CUfunctionLoadingState *state, CUfunction handle)
{
    GP_USE();
    struct fe_function *f = NULL;
    CUresult cr = local(handle, &f);

    if (cr == CUDA_SUCCESS && state == NULL)
        cr = CUDA_ERROR_INVALID_VALUE;
    if (cr == CUDA_SUCCESS)
        *state = CU_FUNCTION_LOADING_STATE_LOADED;
    return cr;
}

GP_EXPORT CUresult
cuFuncLoad(CUfunction handle)
{
    GP_USE();
    struct fe_function *f = NULL;

    return local(handle, &f);
}
