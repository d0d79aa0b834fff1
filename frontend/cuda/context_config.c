/* frontend/cuda/context_config.c -- limits and preferences of a context, and waiting for all of it
 */
#include "cuda_api.h"
#include "frontend/core/perf.h"
#include "frontend/core/stats.h"
#include "frontend/cuda/ask.h"
#include "frontend/cuda/capture.h"
#include "frontend/cuda/context_event.h"
#include "frontend/cuda/graph.h"
#include "frontend/cuda/pool.h"
#include "frontend/cuda/state.h"
#include "protocol/base/util.h"

#include <pthread.h>

static pthread_mutex_t limits_lock = PTHREAD_MUTEX_INITIALIZER; /* a leaf */

/* False where it is not known, or may have changed since. */
static bool
limit_remembered(struct fe_context *ctx, CUlimit limit, size_t *value, CUresult *cr_p)
{
    bool known;

    if (!fe_perf(FE_PERF_CACHE) || (unsigned)limit >= FE_LIMITS)
        return false;
    pthread_mutex_lock(&limits_lock);
    known = ctx->limits_at == atomic_load(&ctx->submitted) && ctx->limits_known;
    if (known) {
        *cr_p = (CUresult)ctx->limit_results[limit];
        if (*cr_p == CUDA_SUCCESS)
            *value = ctx->limits[limit];
    }
    pthread_mutex_unlock(&limits_lock);
    return known;
}

static void
limits_forget(struct fe_context *ctx)
{
    pthread_mutex_lock(&limits_lock);
    ctx->limits_known = false;
    pthread_mutex_unlock(&limits_lock);
}

/* All at once: who asks for one mostly asks for more. */
static CUresult
limits_ask(struct fe_call *call)
{
    struct fe_context *ctx = call->context;
    uint64_t before = atomic_load(&ctx->submitted);
    struct wire_gpLimits_reply reply;
    const uint8_t *bytes;
    size_t len;
    CUresult cr = fe_call_next(call, WIRE_CALL_gpLimits);

    if (cr != CUDA_SUCCESS)
        return cr;
    if (fe_post(call, 0) == NULL)
        return fe_lost(call);
    fe_post_done(call);
    cr = fe_wait(call, &bytes, &len);
    if (cr != CUDA_SUCCESS)
        return cr;
    if (!wire_get_gpLimits_reply(bytes, len, &reply) || reply.values_len != reply.results_len)
        return fe_malformed(call);
    pthread_mutex_lock(&limits_lock);
    for (uint32_t i = 0; i < FE_LIMITS; i++) {
        bool there = i < reply.values_len;

        ctx->limits[i] = there ? reply.values[i] : 0;
        ctx->limit_results[i] = there ? reply.results[i] : CUDA_ERROR_UNSUPPORTED_LIMIT;
    }
    ctx->limits_at = before;
    ctx->limits_known = true;
    pthread_mutex_unlock(&limits_lock);
    return CUDA_SUCCESS;
}

GP_EXPORT CUresult
cuCtxGetLimit(size_t *value, CUlimit limit)
{
    struct wire_cuCtxGetLimit_args args = {.limit = (uint32_t)limit};
    struct wire_cuCtxGetLimit_reply reply;
    struct fe_call call;
    CUresult cr, told;

    cr = fe_enter(&call, WIRE_CALL_cuCtxGetLimit);
    if (cr != CUDA_SUCCESS)
        return cr;
    if (value == NULL)
        return fe_leave(&call, CUDA_ERROR_INVALID_VALUE);
    if ((int)limit < 0 || limit >= CU_LIMIT_MAX)
        return fe_leave(&call, CUDA_ERROR_UNSUPPORTED_LIMIT);
    if (limit_remembered(call.context, limit, value, &told)) {
        FE_COUNT_LOCAL();
        return fe_leave(&call, told);
    }
    if (fe_perf(FE_PERF_CACHE) && wire_call_set_has(&call.session->calls, WIRE_CALL_gpLimits)) {
        cr = limits_ask(&call);
        if (cr != CUDA_SUCCESS)
            return fe_leave(&call, cr);
        if (limit_remembered(call.context, limit, value, &told))
            return fe_leave(&call, told);
        cr = fe_call_next(&call, WIRE_CALL_cuCtxGetLimit); /* others work in it meanwhile */
        if (cr != CUDA_SUCCESS)
            return fe_leave(&call, cr);
    }
    FE_ASK(cr, &call, cuCtxGetLimit, &args, &reply);
    if (cr == CUDA_SUCCESS)
        *value = reply.pvalue;
    return fe_leave(&call, cr);
}

GP_EXPORT CUresult
cuCtxSetLimit(CUlimit limit, size_t value)
{
    struct wire_cuCtxSetLimit_args args = {.limit = (uint32_t)limit, .value = value};
    const uint8_t *bytes;
    struct fe_call call;
    size_t len;
    CUresult cr;
    void *to;

    cr = fe_enter(&call, WIRE_CALL_cuCtxSetLimit);
    if (cr != CUDA_SUCCESS)
        return cr;
    if ((int)limit < 0 || limit >= CU_LIMIT_MAX)
        return fe_leave(&call, CUDA_ERROR_UNSUPPORTED_LIMIT);
    to = fe_post(&call, wire_size_cuCtxSetLimit_args(&args));
    if (to == NULL)
        return fe_leave(&call, fe_lost(&call));
    wire_put_cuCtxSetLimit_args(to, &args);
    fe_post_done(&call);
    cr = fe_wait(&call, &bytes, &len);
    limits_forget(call.context);
    return fe_leave(&call, cr);
}

GP_EXPORT CUresult
cuCtxGetCacheConfig(CUfunc_cache *config)
{
    struct fe_context *ctx = fe_context_current();
    CUresult cr = CUDA_SUCCESS;

    FE_COUNT_LOCAL();
    if (fe_state_get(&cr) == NULL)
        return cr;
    cr = fe_context_usable(ctx);
    if (cr != CUDA_SUCCESS)
        return cr;
    if (config == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    *config = (CUfunc_cache)ctx->cache_config;
    return CUDA_SUCCESS;
}

GP_EXPORT CUresult
cuCtxSetCacheConfig(CUfunc_cache config)
{
    struct wire_cuCtxSetCacheConfig_args args = {.config = (uint32_t)config};
    struct fe_call call;
    CUresult cr;
    void *to;

    cr = fe_enter(&call, WIRE_CALL_cuCtxSetCacheConfig);
    if (cr != CUDA_SUCCESS)
        return cr;
    if ((int)config < 0 || config > CU_FUNC_CACHE_PREFER_EQUAL)
        return fe_leave(&call, CUDA_ERROR_INVALID_VALUE);
    to = fe_post(&call, wire_size_cuCtxSetCacheConfig_args(&args));
    if (to == NULL)
        return fe_leave(&call, fe_lost(&call));
    wire_put_cuCtxSetCacheConfig_args(to, &args);
    call.context->cache_config = (int)config;
    fe_post_done(&call);
    return fe_leave(&call, CUDA_SUCCESS);
}

GP_EXPORT CUresult
cuCtxGetSharedMemConfig(CUsharedconfig *config)
{
    struct fe_context *ctx = fe_context_current();
    CUresult cr = CUDA_SUCCESS;

    FE_COUNT_LOCAL();
    if (fe_state_get(&cr) == NULL)
        return cr;
    cr = fe_context_usable(ctx);
    if (cr != CUDA_SUCCESS)
        return cr;
    if (config == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    /* What devices since Maxwell answer, whatever was set: banks are four bytes wide. */
    *config = ctx->shared_config == CU_SHARED_MEM_CONFIG_DEFAULT_BANK_SIZE
                  ? CU_SHARED_MEM_CONFIG_FOUR_BYTE_BANK_SIZE
                  : (CUsharedconfig)ctx->shared_config;
    return CUDA_SUCCESS;
}

GP_EXPORT CUresult
cuCtxSetSharedMemConfig(CUsharedconfig config)
{
    struct wire_cuCtxSetSharedMemConfig_args args = {.config = (uint32_t)config};
    struct fe_call call;
    CUresult cr;
    void *to;

    cr = fe_enter(&call, WIRE_CALL_cuCtxSetSharedMemConfig);
    if (cr != CUDA_SUCCESS)
        return cr;
    if ((int)config < 0 || config > CU_SHARED_MEM_CONFIG_EIGHT_BYTE_BANK_SIZE)
        return fe_leave(&call, CUDA_ERROR_INVALID_VALUE);
    to = fe_post(&call, wire_size_cuCtxSetSharedMemConfig_args(&args));
    if (to == NULL)
        return fe_leave(&call, fe_lost(&call));
    wire_put_cuCtxSetSharedMemConfig_args(to, &args);
    fe_post_done(&call);
    return fe_leave(&call, CUDA_SUCCESS);
}

static CUresult
wait_all(struct fe_call *call)
{
    struct fe_context *ctx = call->context;
    const uint8_t *bytes;
    uint64_t now;
    size_t len;
    CUresult cr;
    void *to;

    if (fe_perf(FE_PERF_CACHE) && ctx->proven >= fe_context_now(ctx)) {
        fe_pools_settle(call);
        return CUDA_SUCCESS; /* nothing was submitted since the last proof */
    }
    to = fe_post(call, 0);
    if (to == NULL)
        return fe_lost(call);
    now = fe_context_now(ctx);
    fe_post_done(call);
    cr = fe_wait(call, &bytes, &len);
    if (cr == CUDA_SUCCESS) {
        fe_prove(&ctx->proven, now);
        fe_pools_settle(call);
    }
    return cr;
}

CUresult
fe_context_wait(struct fe_context *ctx)
{
    struct fe_call call;
    CUresult cr = fe_enter_in(&call, WIRE_CALL_cuCtxSynchronize, ctx);

    return cr != CUDA_SUCCESS ? cr : fe_leave(&call, wait_all(&call));
}

static CUresult
synchronize(struct fe_call *call)
{
    CUresult cr = fe_capture_check_unsafe(call->context);

    return cr == CUDA_SUCCESS ? wait_all(call) : cr;
}

static CUresult
synchronize_current(void)
{
    struct fe_call call;
    CUresult cr = fe_enter(&call, WIRE_CALL_cuCtxSynchronize);

    if (cr == CUDA_SUCCESS && fe_thread.green != NULL) {
        cr = fe_leave(&call, CUDA_SUCCESS);
        return cr == CUDA_SUCCESS ? fe_green_synchronize((CUcontext)fe_thread.green) : cr;
    }
    return cr != CUDA_SUCCESS ? cr : fe_leave(&call, synchronize(&call));
}

GP_EXPORT CUresult
cuCtxSynchronize(void)
{
    CUresult cr = synchronize_current();

    fe_users_settle();
    return cr;
}

static CUresult
synchronize_named(CUcontext handle)
{
    struct fe_context *ctx = NULL;
    struct fe_call call;
    CUresult cr = CUDA_SUCCESS;

    if (fe_state_get(&cr) == NULL)
        return cr;
    cr = fe_context_get(handle, &ctx);
    if (cr == CUDA_SUCCESS && handle != NULL && (void *)handle != (void *)ctx)
        return fe_green_synchronize(handle);
    if (cr == CUDA_SUCCESS && handle == NULL && fe_thread.green != NULL)
        return fe_green_synchronize((CUcontext)fe_thread.green);
    if (cr == CUDA_SUCCESS)
        cr = fe_enter_in(&call, WIRE_CALL_cuCtxSynchronize, ctx);
    return cr != CUDA_SUCCESS ? cr : fe_leave(&call, synchronize(&call));
}

GP_EXPORT CUresult
cuCtxSynchronize_v2(CUcontext handle)
{
    CUresult cr = synchronize_named(handle);

    fe_users_settle();
    return cr;
}
