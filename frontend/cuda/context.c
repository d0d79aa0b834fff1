/* frontend/cuda/context.c -- contexts: primary ones, created ones, and what is current
 *
 * What is current is a matter of the thread and never travels: each record names its context.
 * A primary context has one handle for ever; it is dormant while nobody retains it, and gets a
 * new wire id with each activation.
 *
 * Lock: context_lock guards retained, flags and attached of every context. Nothing waits for the
 *       server under it but the calls that change a primary context themselves.
 */
#include "cuda_api.h"
#include "frontend/core/stats.h"
#include "frontend/cuda/array.h"
#include "frontend/cuda/capture.h"
#include "frontend/cuda/context_event.h"
#include "frontend/cuda/graph.h"
#include "frontend/cuda/green.h"
#include "frontend/cuda/kernels.h"
#include "frontend/cuda/managed.h"
#include "frontend/cuda/pool.h"
#include "frontend/cuda/state.h"
#include "frontend/cuda/texture.h"
#include "protocol/base/util.h"
#include "protocol/cudart/export_tables.h"

#include <pthread.h>
#include <string.h>

#define STACK_MAX  256
#define STACK_HERE 4

static pthread_mutex_t context_lock = PTHREAD_MUTEX_INITIALIZER;
static _Atomic uint64_t next_id;

/* Contexts below the current one. The library's thread storage is static, and of that a program
 * that loads us late has little left: what few threads need lies on the heap while they need it. */
static __thread struct {
    int depth;
    void *below[STACK_HERE]; /* struct fe_context or struct fe_green */
    void **deeper;           /* STACK_MAX - STACK_HERE places; NULL while depth <= STACK_HERE */
} stack;

static bool
stack_push(void *ctx)
{
    if (stack.depth == STACK_MAX)
        return false;
    if (stack.depth < STACK_HERE) {
        stack.below[stack.depth++] = ctx;
        return true;
    }
    if (stack.deeper == NULL)
        stack.deeper = calloc(STACK_MAX - STACK_HERE, sizeof(*stack.deeper));
    if (stack.deeper == NULL)
        return false;
    stack.deeper[stack.depth++ - STACK_HERE] = ctx;
    return true;
}

/* NULL if there is none. */
static void *
stack_pop(void)
{
    void *ctx;

    if (stack.depth == 0)
        return NULL;
    if (--stack.depth < STACK_HERE)
        return stack.below[stack.depth];
    ctx = stack.deeper[stack.depth - STACK_HERE];
    if (stack.depth == STACK_HERE) {
        free(stack.deeper);
        stack.deeper = NULL;
    }
    return ctx;
}

/* What is current, as the program named it. */
static void *
top(void)
{
    return fe_thread.green != NULL ? (void *)fe_thread.green : fe_thread.context;
}

static void
make_current(void *object)
{
    struct fe_green *green = object;

    if (object == NULL || green->object.kind != WIRE_HANDLE_GREEN_CONTEXT)
        green = NULL;
    fe_thread.green = green;
    fe_thread.context = green != NULL ? green->object.context : object;
}

void
fe_context_unset_green(struct fe_green *green)
{
    if (fe_thread.green == green)
        make_current(stack_pop());
}

/* What a CUcontext can be: a context, or a green one that was given out as one. */
static CUresult
named(CUcontext handle, void **object_p)
{
    struct fe_green *green = NULL;
    CUresult cr = CUDA_SUCCESS;

    *object_p = fe_object_get(WIRE_HANDLE_CONTEXT, handle);
    if (*object_p == NULL) {
        cr = fe_green_of_context(handle, &green);
        *object_p = green;
    }
    return cr;
}

struct fe_context *
fe_context_current(void)
{
    return fe_thread.context;
}

CUresult
fe_context_get(CUcontext handle, struct fe_context **ctx_p)
{
    struct fe_context *ctx =
        handle == NULL ? fe_thread.context : fe_object_get(WIRE_HANDLE_CONTEXT, handle);
    struct fe_green *green = NULL;
    CUresult cr;

    if (ctx == NULL && handle != NULL) {
        cr = fe_green_of_context(handle, &green);
        if (cr != CUDA_SUCCESS)
            return cr;
        ctx = green->object.context;
    }
    if (ctx == NULL)
        return CUDA_ERROR_INVALID_CONTEXT;
    *ctx_p = ctx;
    return CUDA_SUCCESS;
}

static CUresult
current(struct fe_context **ctx_p)
{
    CUresult cr = CUDA_SUCCESS;

    FE_COUNT_LOCAL();
    if (fe_state_get(&cr) == NULL)
        return cr;
    return fe_context_get(NULL, ctx_p);
}

static void
activate(struct fe_context *ctx)
{
    atomic_store(&ctx->id, ++next_id);
    atomic_store(&ctx->head.sticky, CUDA_SUCCESS);
    atomic_store(&ctx->proven, ctx->submitted);
    ctx->legacy.id = ctx->id << 24;
    atomic_store(&ctx->peers, 0);
    atomic_store(&ctx->copied, 0);
    atomic_store(&ctx->loose_streams, 0);
    ctx->copied_recorded = 0;
    ctx->copied_in = &ctx->legacy;
    ctx->order_event = NULL;
    fe_gates_reset(&ctx->gates);
    atomic_store(&ctx->cache_config, CU_FUNC_CACHE_PREFER_NONE);
    atomic_store(&ctx->shared_config, CU_SHARED_MEM_CONFIG_DEFAULT_BANK_SIZE);
}

/* -- what goes with a context ----------------------------------------------------------- */

static bool
drop_if_inside(void *object, void *ctx)
{
    if (((struct fe_object *)object)->context == ctx)
        fe_object_destroy(object);
    return true;
}

static bool
drop_event(void *object, void *ctx)
{
    if (((struct fe_object *)object)->context == ctx)
        fe_capture_event_gone(object);
    return drop_if_inside(object, ctx);
}

static bool
drop_module(void *object, void *ctx)
{
    if (((struct fe_object *)object)->context == ctx)
        (void)fe_module_drop(object);
    return true;
}

void
fe_context_drop_objects(struct fe_context *ctx)
{
    fe_capture_drop_context(ctx);
    fe_graph_drop_context(ctx);
    fe_graph_flush();
    fe_object_each(WIRE_HANDLE_STREAM, drop_if_inside, ctx);
    fe_object_each(WIRE_HANDLE_EVENT, drop_event, ctx);
    fe_object_each(WIRE_HANDLE_MODULE, drop_module, ctx);
    fe_host_drop_context(ctx);
    fe_pools_forget(ctx);
    fe_managed_drop(ctx);
}

/* After the end was sent. */
static void
drop_memory(struct fe_context *ctx)
{
    struct fe_state *state = fe_state_get(NULL);

    if (state == NULL)
        return;
    fe_textures_drop_context(ctx);
    fe_links_drop_context(ctx);
    fe_arrays_drop_context(ctx);
    fe_pools_lock();
    fe_alloc_drop_owner(fe_alloc_of_device(ctx->device), ctx, fe_pools_block_gone, NULL);
    fe_pools_unlock();
    fe_alloc_drop_foreign(fe_alloc_of_device(ctx->device), ctx);
}

/* -- the thread's stack ----------------------------------------------------------------- */

GP_EXPORT CUresult
cuCtxGetCurrent(CUcontext *ctx)
{
    CUresult cr = CUDA_SUCCESS;

    FE_COUNT_LOCAL();
    if (GP_UNLIKELY(fe_state_get(&cr) == NULL))
        return cr;
    if (ctx == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    *ctx = (CUcontext)top();
    return CUDA_SUCCESS;
}

GP_EXPORT CUresult
cuCtxSetCurrent(CUcontext handle)
{
    void *ctx = NULL;
    CUresult cr = CUDA_SUCCESS;

    FE_COUNT_LOCAL();
    if (fe_state_get(&cr) == NULL)
        return cr;
    if (handle != NULL && (cr = named(handle, &ctx)) != CUDA_SUCCESS)
        return cr;
    /* NULL pops; the one below then is current. */
    make_current(ctx != NULL ? ctx : stack_pop());
    return CUDA_SUCCESS;
}

GP_EXPORT CUresult
cuCtxPushCurrent_v2(CUcontext handle)
{
    void *ctx = NULL;
    CUresult cr = CUDA_SUCCESS;

    FE_COUNT_LOCAL();
    if (fe_state_get(&cr) == NULL)
        return cr;
    if (handle == NULL)
        return CUDA_ERROR_INVALID_CONTEXT;
    cr = named(handle, &ctx);
    if (cr != CUDA_SUCCESS)
        return cr;
    if (top() != NULL && !stack_push(top()))
        return CUDA_ERROR_OUT_OF_MEMORY;
    make_current(ctx);
    return CUDA_SUCCESS;
}

GP_EXPORT CUresult
cuCtxPushCurrent(CUcontext handle)
{
    return cuCtxPushCurrent_v2(handle);
}

GP_EXPORT CUresult
cuCtxPopCurrent_v2(CUcontext *handle)
{
    CUresult cr = CUDA_SUCCESS;

    FE_COUNT_LOCAL();
    if (fe_state_get(&cr) == NULL)
        return cr;
    if (fe_thread.context == NULL)
        return CUDA_ERROR_INVALID_CONTEXT;
    if (handle != NULL)
        *handle = (CUcontext)top();
    make_current(stack_pop());
    return CUDA_SUCCESS;
}

GP_EXPORT CUresult
cuCtxPopCurrent(CUcontext *handle)
{
    return cuCtxPopCurrent_v2(handle);
}

/* -- primary contexts ------------------------------------------------------------------- */

static CUresult
primary_get(CUdevice dev, struct fe_state **state_p, struct fe_context **ctx_p)
{
    CUresult cr = CUDA_SUCCESS;

    *state_p = fe_state_get(&cr);
    if (*state_p == NULL)
        return cr;
    if (fe_state_device(*state_p, dev) == NULL)
        return CUDA_ERROR_INVALID_DEVICE;
    *ctx_p = (*state_p)->primary[dev];
    return CUDA_SUCCESS;
}

static int32_t
server_ordinal(const struct fe_state *state, CUdevice dev)
{
    return state->devices[dev].server_ordinal;
}

/* Under context_lock: tell the server of the first retain. */
static CUresult
primary_activate(struct fe_state *state, struct fe_context *ctx)
{
    struct wire_cuDevicePrimaryCtxRetain_args args;
    struct fe_call call;
    CUresult cr = fe_enter_on(&call, WIRE_CALL_cuDevicePrimaryCtxRetain, ctx->head.session);
    void *to;

    if (cr != CUDA_SUCCESS)
        return cr;
    if (ctx->id != 0) /* not the first time: the old id stays dead */
        ctx->head.object.wire += 1ull << 32;
    args.device = server_ordinal(state, ctx->device);
    args.context = ctx->head.object.wire;
    to = fe_post(&call, wire_size_cuDevicePrimaryCtxRetain_args(&args));
    if (to == NULL)
        return fe_leave(&call, fe_lost(&call));
    wire_put_cuDevicePrimaryCtxRetain_args(to, &args);
    activate(ctx);
    fe_object_set_state(ctx, FE_OBJECT_LIVE);
    fe_post_done(&call);
    return fe_leave(&call, CUDA_SUCCESS);
}

GP_EXPORT CUresult
cuDevicePrimaryCtxRetain(CUcontext *handle, CUdevice dev)
{
    struct fe_context *ctx = NULL;
    struct fe_state *state = NULL;
    CUresult cr = CUDA_SUCCESS;

    FE_COUNT_LOCAL();
    if (fe_state_get(&cr) == NULL)
        return cr;
    if (handle == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    cr = primary_get(dev, &state, &ctx);
    if (cr != CUDA_SUCCESS)
        return cr;
    pthread_mutex_lock(&context_lock);
    if (ctx->retained == 0)
        cr = primary_activate(state, ctx);
    if (cr == CUDA_SUCCESS)
        ctx->retained++;
    pthread_mutex_unlock(&context_lock);
    if (cr == CUDA_SUCCESS)
        *handle = (CUcontext)ctx;
    return cr;
}

/* The last release and a reset: what was in the context goes, then the context. No lock is held,
 * for destructors of stored values call the API. */
static void
primary_empty(struct fe_context *ctx)
{
    gp_cudart_ctx_gone((CUcontext)ctx);
    fe_context_drop_objects(ctx);
}

GP_EXPORT CUresult
cuDevicePrimaryCtxRelease_v2(CUdevice dev)
{
    struct wire_cuDevicePrimaryCtxRelease_v2_args args;
    struct fe_context *ctx = NULL;
    struct fe_state *state = NULL;
    struct fe_call call;
    CUresult cr = primary_get(dev, &state, &ctx);
    bool last = false;
    void *to;

    if (cr != CUDA_SUCCESS)
        return cr;
    pthread_mutex_lock(&context_lock);
    if (ctx->retained == 0)
        cr = CUDA_ERROR_INVALID_CONTEXT;
    else
        last = --ctx->retained == 0;
    pthread_mutex_unlock(&context_lock);
    if (cr != CUDA_SUCCESS || !last)
        return cr;

    primary_empty(ctx);
    cr = fe_enter_on(&call, WIRE_CALL_cuDevicePrimaryCtxRelease_v2, ctx->head.session);
    if (cr != CUDA_SUCCESS)
        return cr;
    pthread_mutex_lock(&context_lock);
    if (ctx->retained == 0 && fe_object_state(ctx) == FE_OBJECT_LIVE) {
        fe_object_set_state(ctx, FE_OBJECT_DORMANT);
        args.device = server_ordinal(state, dev);
        to = fe_post(&call, wire_size_cuDevicePrimaryCtxRelease_v2_args(&args));
        if (to != NULL) {
            wire_put_cuDevicePrimaryCtxRelease_v2_args(to, &args);
            fe_post_done(&call);
            drop_memory(ctx);
        } else {
            cr = fe_lost(&call);
        }
    }
    pthread_mutex_unlock(&context_lock);
    cr = fe_leave(&call, cr);
    fe_users_settle();
    return cr;
}

GP_EXPORT CUresult
cuDevicePrimaryCtxRelease(CUdevice dev)
{
    return cuDevicePrimaryCtxRelease_v2(dev);
}

GP_EXPORT CUresult
cuDevicePrimaryCtxReset_v2(CUdevice dev)
{
    struct wire_cuDevicePrimaryCtxReset_v2_args args;
    const uint8_t *reply;
    size_t len;
    struct fe_context *ctx = NULL;
    struct fe_state *state = NULL;
    struct fe_call call;
    CUresult cr = primary_get(dev, &state, &ctx);
    void *to;

    if (cr != CUDA_SUCCESS)
        return cr;
    if (fe_object_state(ctx) == FE_OBJECT_DORMANT)
        return CUDA_SUCCESS; /* nothing there */
    primary_empty(ctx);
    cr = fe_enter_on(&call, WIRE_CALL_cuDevicePrimaryCtxReset_v2, ctx->head.session);
    if (cr != CUDA_SUCCESS)
        return cr;
    args.device = server_ordinal(state, dev);
    pthread_mutex_lock(&context_lock);
    to = fe_post(&call, wire_size_cuDevicePrimaryCtxReset_v2_args(&args));
    if (to != NULL) {
        wire_put_cuDevicePrimaryCtxReset_v2_args(to, &args);
        fe_object_set_state(ctx, FE_OBJECT_DORMANT);
        ctx->retained = 0;
        fe_post_done(&call);
        drop_memory(ctx);
        cr = fe_wait(&call, &reply, &len);
    } else {
        cr = fe_lost(&call);
    }
    pthread_mutex_unlock(&context_lock);
    cr = fe_leave(&call, cr);
    fe_users_settle();
    return cr;
}

GP_EXPORT CUresult
cuDevicePrimaryCtxReset(CUdevice dev)
{
    return cuDevicePrimaryCtxReset_v2(dev);
}

GP_EXPORT CUresult
cuDevicePrimaryCtxGetState(CUdevice dev, unsigned int *flags, int *active)
{
    struct fe_context *ctx = NULL;
    struct fe_state *state = NULL;
    CUresult cr = primary_get(dev, &state, &ctx);

    FE_COUNT_LOCAL();
    if (cr == CUDA_SUCCESS && (flags == NULL || active == NULL))
        cr = CUDA_ERROR_INVALID_VALUE;
    if (cr != CUDA_SUCCESS)
        return cr;
    pthread_mutex_lock(&context_lock);
    *flags = ctx->flags & ~(unsigned)CU_CTX_MAP_HOST; /* always on, never shown */
    *active = ctx->retained > 0;
    pthread_mutex_unlock(&context_lock);
    return CUDA_SUCCESS;
}

/* One way of scheduling at most, no unknown bits. */
static bool
flags_ok(unsigned flags)
{
    unsigned how = flags & CU_CTX_SCHED_MASK;

    return (flags & ~(unsigned)CU_CTX_FLAGS_MASK) == 0 && (how & (how - 1)) == 0;
}

GP_EXPORT CUresult
cuDevicePrimaryCtxSetFlags_v2(CUdevice dev, unsigned int flags)
{
    struct wire_cuDevicePrimaryCtxSetFlags_v2_args args = {.flags = flags};
    const uint8_t *reply;
    size_t len;
    struct fe_context *ctx = NULL;
    struct fe_state *state = NULL;
    struct fe_call call;
    CUresult cr = primary_get(dev, &state, &ctx);
    void *to;

    if (cr == CUDA_SUCCESS && !flags_ok(flags))
        cr = CUDA_ERROR_INVALID_VALUE;
    if (cr == CUDA_SUCCESS)
        cr = fe_enter_on(&call, WIRE_CALL_cuDevicePrimaryCtxSetFlags_v2, ctx->head.session);
    if (cr != CUDA_SUCCESS)
        return cr;
    args.device = server_ordinal(state, dev);
    to = fe_post(&call, wire_size_cuDevicePrimaryCtxSetFlags_v2_args(&args));
    if (to == NULL)
        return fe_leave(&call, fe_lost(&call));
    wire_put_cuDevicePrimaryCtxSetFlags_v2_args(to, &args);
    fe_post_done(&call);
    cr = fe_wait(&call, &reply, &len);
    if (cr == CUDA_SUCCESS) {
        pthread_mutex_lock(&context_lock);
        ctx->flags = flags;
        pthread_mutex_unlock(&context_lock);
    }
    return fe_leave(&call, cr);
}

GP_EXPORT CUresult
cuDevicePrimaryCtxSetFlags(CUdevice dev, unsigned int flags)
{
    return cuDevicePrimaryCtxSetFlags_v2(dev, flags);
}

/* -- created contexts ------------------------------------------------------------------- */

static CUresult
create(struct fe_call *call, struct fe_state *state, unsigned flags, CUdevice dev,
       struct fe_context **ctx_p)
{
    struct wire_cuCtxCreate_v2_args args = {.flags = flags};
    struct fe_context *ctx = fe_object_create(WIRE_HANDLE_CONTEXT, NULL);
    const uint8_t *reply;
    size_t len;
    CUresult cr;
    void *to;

    if (ctx == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    ctx->head.session = call->session;
    ctx->device = dev;
    ctx->flags = flags;
    ctx->legacy.object.context = ctx;
    ctx->attached = 1;
    activate(ctx);
    args.context = ctx->head.object.wire;
    args.device = server_ordinal(state, dev);
    to = fe_post(call, wire_size_cuCtxCreate_v2_args(&args));
    if (to == NULL) {
        cr = fe_lost(call);
    } else {
        wire_put_cuCtxCreate_v2_args(to, &args);
        fe_post_done(call);
        cr = fe_wait(call, &reply, &len);
    }
    if (cr == CUDA_SUCCESS)
        *ctx_p = ctx;
    else
        fe_object_destroy(ctx);
    return cr;
}

GP_EXPORT CUresult
cuCtxCreate_v2(CUcontext *handle, unsigned int flags, CUdevice dev)
{
    struct fe_context *ctx = NULL;
    struct fe_state *state = NULL;
    struct fe_call call;
    CUresult cr = CUDA_SUCCESS;

    state = fe_state_get(&cr);
    if (state == NULL)
        return cr;
    if (handle == NULL || !flags_ok(flags))
        return CUDA_ERROR_INVALID_VALUE;
    if (fe_state_device(state, dev) == NULL)
        return CUDA_ERROR_INVALID_DEVICE;
    if (fe_thread.context != NULL && stack.depth == STACK_MAX)
        return CUDA_ERROR_OUT_OF_MEMORY;
    cr = fe_enter_on(&call, WIRE_CALL_cuCtxCreate_v2, fe_device_session(dev));
    if (cr != CUDA_SUCCESS)
        return cr;
    cr = fe_leave(&call, create(&call, state, flags, dev, &ctx));
    if (ctx == NULL)
        return cr;
    *handle = (CUcontext)ctx;
    return cuCtxPushCurrent_v2(*handle);
}

GP_EXPORT CUresult
cuCtxCreate(CUcontext *ctx, unsigned int flags, CUdevice dev)
{
    return cuCtxCreate_v2(ctx, flags, dev);
}

GP_EXPORT CUresult
cuCtxCreate_v3(CUcontext *ctx, CUexecAffinityParam *params, int count, unsigned int flags,
               CUdevice dev)
{
    if (count != 0)
        return params == NULL ? CUDA_ERROR_INVALID_VALUE : CUDA_ERROR_UNSUPPORTED_EXEC_AFFINITY;
    return cuCtxCreate_v2(ctx, flags, dev);
}

GP_EXPORT CUresult
cuCtxCreate_v4(CUcontext *ctx, CUctxCreateParams *params, unsigned int flags, CUdevice dev)
{
    if (params != NULL && params->cigParams != NULL)
        return fe_refuse("cuCtxCreate_v4 with CIG parameters");
    if (params != NULL && params->numExecAffinityParams != 0)
        return CUDA_ERROR_UNSUPPORTED_EXEC_AFFINITY;
    return cuCtxCreate_v2(ctx, flags, dev);
}

GP_EXPORT CUresult
cuCtxDestroy_v2(CUcontext handle)
{
    struct wire_cuCtxDestroy_v2_args args;
    struct fe_context *ctx = NULL;
    struct fe_call call;
    CUresult cr = CUDA_SUCCESS;
    void *to;

    if (fe_state_get(&cr) == NULL)
        return cr;
    ctx = handle != NULL ? fe_object_get(WIRE_HANDLE_CONTEXT, handle) : NULL;
    if (ctx == NULL || ctx->primary)
        return CUDA_ERROR_INVALID_CONTEXT;
    gp_cudart_ctx_gone(handle);
    fe_context_drop_objects(ctx);
    cr = fe_enter_on(&call, WIRE_CALL_cuCtxDestroy_v2, ctx->head.session);
    if (cr != CUDA_SUCCESS)
        return cr;
    args.ctx = ctx->head.object.wire;
    to = fe_post(&call, wire_size_cuCtxDestroy_v2_args(&args));
    if (to != NULL) {
        wire_put_cuCtxDestroy_v2_args(to, &args);
        fe_post_done(&call);
        drop_memory(ctx);
    } else {
        cr = fe_lost(&call);
    }
    fe_object_destroy(ctx);
    /* As if popped; a context that is current elsewhere is left there, destroyed. */
    if (top() == ctx)
        make_current(stack_pop());
    cr = fe_leave(&call, cr);
    fe_users_settle();
    return cr;
}

GP_EXPORT CUresult
cuCtxDestroy(CUcontext handle)
{
    return cuCtxDestroy_v2(handle);
}

GP_EXPORT CUresult
cuCtxAttach(CUcontext *handle, unsigned int flags)
{
    struct fe_context *ctx = NULL;
    CUresult cr = current(&ctx);

    if (cr == CUDA_SUCCESS && (handle == NULL || flags != 0))
        cr = CUDA_ERROR_INVALID_VALUE;
    if (cr != CUDA_SUCCESS)
        return cr;
    pthread_mutex_lock(&context_lock);
    ctx->attached++;
    pthread_mutex_unlock(&context_lock);
    *handle = (CUcontext)ctx;
    return CUDA_SUCCESS;
}

GP_EXPORT CUresult
cuCtxDetach(CUcontext handle)
{
    struct fe_context *ctx = NULL;
    CUresult cr = current(&ctx);
    bool last;

    if (cr != CUDA_SUCCESS)
        return cr;
    if (handle != (CUcontext)ctx) /* only the current one can be detached */
        return CUDA_ERROR_INVALID_CONTEXT;
    pthread_mutex_lock(&context_lock);
    last = ctx->attached <= 1;
    if (!last)
        ctx->attached--;
    pthread_mutex_unlock(&context_lock);
    return last && !ctx->primary ? cuCtxDestroy_v2(handle) : CUDA_SUCCESS;
}

/* -- questions -------------------------------------------------------------------------- */

GP_EXPORT CUresult
cuCtxGetDevice_v2(CUdevice *dev, CUcontext handle)
{
    struct fe_context *ctx = NULL;
    CUresult cr = CUDA_SUCCESS;

    FE_COUNT_LOCAL();
    if (fe_state_get(&cr) == NULL)
        return cr;
    cr = fe_context_get(handle, &ctx);
    if (cr == CUDA_SUCCESS && dev == NULL)
        cr = CUDA_ERROR_INVALID_VALUE;
    if (cr == CUDA_SUCCESS)
        *dev = ctx->device;
    return cr;
}

GP_EXPORT CUresult
cuCtxGetDevice(CUdevice *dev)
{
    return cuCtxGetDevice_v2(dev, NULL);
}

GP_EXPORT CUresult
cuCtxGetFlags(unsigned int *flags)
{
    struct fe_context *ctx = NULL;
    CUresult cr = current(&ctx);

    if (cr == CUDA_SUCCESS && flags == NULL)
        cr = CUDA_ERROR_INVALID_VALUE;
    if (cr != CUDA_SUCCESS)
        return cr;
    pthread_mutex_lock(&context_lock);
    *flags = ctx->flags;
    pthread_mutex_unlock(&context_lock);
    return CUDA_SUCCESS;
}

GP_EXPORT CUresult
cuCtxSetFlags(unsigned int flags)
{
    struct fe_context *ctx = NULL;
    CUresult cr = current(&ctx);

    if (cr == CUDA_SUCCESS && fe_object_state(ctx) != FE_OBJECT_LIVE)
        cr = CUDA_ERROR_CONTEXT_IS_DESTROYED;
    if (cr == CUDA_SUCCESS)
        cr = (CUresult)atomic_load(&ctx->head.sticky);
    if (cr == CUDA_SUCCESS && !flags_ok(flags))
        cr = CUDA_ERROR_INVALID_VALUE;
    if (cr != CUDA_SUCCESS)
        return cr;
    /* How this process waits is the engine's matter; the flags are only remembered. */
    pthread_mutex_lock(&context_lock);
    ctx->flags = flags;
    pthread_mutex_unlock(&context_lock);
    return CUDA_SUCCESS;
}

GP_EXPORT CUresult
cuCtxGetId(CUcontext handle, unsigned long long *id)
{
    struct fe_context *ctx = NULL;
    CUresult cr = CUDA_SUCCESS;

    FE_COUNT_LOCAL();
    if (fe_state_get(&cr) == NULL)
        return cr;
    cr = fe_context_get(handle, &ctx);
    if (cr == CUDA_SUCCESS && id == NULL)
        cr = CUDA_ERROR_INVALID_VALUE;
    if (cr == CUDA_SUCCESS)
        *id = ctx->id;
    return cr;
}

GP_EXPORT CUresult
cuCtxGetApiVersion(CUcontext handle, unsigned int *version)
{
    struct fe_context *ctx = NULL;
    CUresult cr = CUDA_SUCCESS;

    FE_COUNT_LOCAL();
    if (fe_state_get(&cr) == NULL)
        return cr;
    cr = fe_context_get(handle, &ctx);
    if (cr == CUDA_SUCCESS && version == NULL)
        cr = CUDA_ERROR_INVALID_VALUE;
    if (cr == CUDA_SUCCESS)
        *version = 3020;
    return cr;
}

GP_EXPORT CUresult
cuCtxGetStreamPriorityRange(int *least, int *greatest)
{
    const struct wire_device *info = NULL;
    struct fe_context *ctx = NULL;
    CUresult cr = current(&ctx);

    if (cr == CUDA_SUCCESS)
        cr = fe_context_usable(ctx);
    if (cr != CUDA_SUCCESS)
        return cr;
    info = fe_state_get(NULL)->devices[ctx->device].info;
    if (least != NULL)
        *least = info->stream_priority_least;
    if (greatest != NULL)
        *greatest = info->stream_priority_greatest;
    return CUDA_SUCCESS;
}
