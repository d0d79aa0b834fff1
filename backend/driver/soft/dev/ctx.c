/* backend/driver/soft/dev/ctx.c -- life of contexts, sticky errors, device printf */
#include "backend/driver/soft/dev/ctx.h"

#include "backend/driver/soft/dev/array.h"
#include "backend/driver/soft/dev/capture.h"
#include "backend/driver/soft/dev/texture.h"
#include "backend/driver/soft/dev/heap.h"
#include "backend/driver/soft/dev/mem.h"
#include "backend/driver/soft/dev/module.h"
#include "backend/driver/soft/dev/sched.h"
#include "backend/driver/soft/dev/thread.h"
#include "cuda_api.h"
#include "protocol/cudart/export_tables.h"

#include <stdio.h>
#include <string.h>

/* Rank 10. */
static pthread_mutex_t ctx_lock = PTHREAD_MUTEX_INITIALIZER;
static CUcontext dead_first, dead_last;
static unsigned dead_count;

static _Atomic unsigned long long ctx_next_id = 1;

#define DEAD_KEPT 1024u

#define CTX_SCHED_BAD(flags)                                                                       \
    (((flags)&CU_CTX_SCHED_MASK) != 0 &&                                                           \
     (((flags)&CU_CTX_SCHED_MASK) & (((flags)&CU_CTX_SCHED_MASK) - 1)) != 0)

bool
sd_ctx_flags_valid(unsigned flags)
{
    return (flags & ~(unsigned)CU_CTX_FLAGS_MASK) == 0 && !CTX_SCHED_BAD(flags);
}

void
sd_ctx_fail(CUcontext ctx, CUresult cr)
{
    int none = 0;

    if (cr != CUDA_SUCCESS)
        atomic_compare_exchange_strong(&ctx->error, &none, (int)cr);
}

bool
sd_ctx_named(CUcontext ctx)
{
    return sd_object_is(ctx, SD_CTX) && atomic_load_explicit(&ctx->active, memory_order_acquire);
}

CUresult
sd_ctx_check(CUcontext ctx)
{
    CUresult cr;

    if (!sd_object_is(ctx, SD_CTX))
        return CUDA_ERROR_INVALID_CONTEXT;
    if (!atomic_load_explicit(&ctx->active, memory_order_acquire))
        return CUDA_ERROR_CONTEXT_IS_DESTROYED;
    cr = (CUresult)atomic_load_explicit(&ctx->error, memory_order_acquire);
    if (cr != CUDA_SUCCESS) /* what a kernel said before it failed is seen with the error */
        sd_ctx_print_flush(ctx);
    return cr;
}

size_t
sd_ctx_limit(CUcontext ctx, CUlimit limit)
{
    size_t value;

    pthread_mutex_lock(&ctx_lock);
    value = ctx->limits[limit];
    pthread_mutex_unlock(&ctx_lock);
    return value;
}

void
sd_ctx_print(CUcontext ctx, const char *text, size_t len)
{
    size_t limit = sd_ctx_limit(ctx, CU_LIMIT_PRINTF_FIFO_SIZE);

    pthread_mutex_lock(&ctx->print_lock);
    if (ctx->print_len + len > limit) {
        ctx->print_lost += len;
    } else {
        if (ctx->print_len + len > ctx->print_size) {
            size_t size = 2 * (ctx->print_len + len) + 4096;
            char *bigger = realloc(ctx->print_text, size);

            if (bigger != NULL) {
                ctx->print_text = bigger;
                ctx->print_size = size;
            }
        }
        if (ctx->print_len + len <= ctx->print_size) {
            memcpy(ctx->print_text + ctx->print_len, text, len);
            ctx->print_len += len;
        }
    }
    pthread_mutex_unlock(&ctx->print_lock);
}

void
sd_ctx_print_flush(CUcontext ctx)
{
    char *text;
    size_t len, lost;

    pthread_mutex_lock(&ctx->print_lock);
    text = ctx->print_text;
    len = ctx->print_len;
    lost = ctx->print_lost;
    if (len != 0) {
        ctx->print_text = NULL;
        ctx->print_len = 0;
        ctx->print_size = 0;
    }
    ctx->print_lost = 0;
    pthread_mutex_unlock(&ctx->print_lock);
    if (lost != 0)
        log_warn("device printf: %zu bytes lost, the FIFO of %zu bytes was full", lost,
                 sd_ctx_limit(ctx, CU_LIMIT_PRINTF_FIFO_SIZE));
    if (len != 0) {
        /* Through stdio, so that it keeps its place among what the program prints. */
        (void)fwrite(text, 1, len, stdout);
        (void)fflush(stdout);
        free(text);
    }
}

CUresult
sd_ctx_drain(CUcontext ctx)
{
    sd_ctx_wait_all(ctx);
    sd_ctx_print_flush(ctx);
    return (CUresult)atomic_load(&ctx->error);
}

static CUcontext
ctx_new(struct sd_device *dev, bool primary)
{
    CUcontext ctx = sd_object_new(SD_CTX, sizeof(*ctx));

    if (ctx == NULL)
        return NULL;
    ctx->dev = dev;
    ctx->primary = primary;
    pthread_mutex_init(&ctx->print_lock, NULL);
    pthread_mutex_init(&ctx->heap_lock, NULL);
    return ctx;
}

static void
ctx_delete(CUcontext ctx)
{
    pthread_mutex_destroy(&ctx->print_lock);
    pthread_mutex_destroy(&ctx->heap_lock);
    sd_object_free(ctx);
}

/* ctx_lock is held. */
static CUresult
ctx_activate(CUcontext ctx, unsigned flags)
{
    static const size_t limits[SD_LIMITS] = {
        [CU_LIMIT_STACK_SIZE] = 1024,
        [CU_LIMIT_PRINTF_FIFO_SIZE] = 1 << 20,
        [CU_LIMIT_MALLOC_HEAP_SIZE] = 8 << 20,
        [CU_LIMIT_DEV_RUNTIME_SYNC_DEPTH] = 2,
        [CU_LIMIT_DEV_RUNTIME_PENDING_LAUNCH_COUNT] = 2048,
        [CU_LIMIT_MAX_L2_FETCH_GRANULARITY] = 128,
    };
    CUresult cr;

    cr = sd_stream_create(ctx, CU_STREAM_DEFAULT, 0, &ctx->legacy);
    if (cr != CUDA_SUCCESS)
        return cr;
    ctx->legacy->legacy = true;
    memcpy(ctx->limits, limits, sizeof(limits));
    atomic_store(&ctx->id, atomic_fetch_add(&ctx_next_id, 1));
    atomic_store(&ctx->flags, flags | CU_CTX_MAP_HOST);
    atomic_store(&ctx->error, 0);
    atomic_store(&ctx->peers, 0);
    atomic_store(&ctx->cache_config, CU_FUNC_CACHE_PREFER_NONE);
    ctx->attached = 1;
    atomic_store_explicit(&ctx->active, true, memory_order_release);
    return CUDA_SUCCESS;
}

/* Everything of the context goes, as far as possible while it still counts as alive. No lock
 * is held: the runtime's destructors and the machine are called. */
static void
ctx_teardown(CUcontext ctx)
{
    (void)sd_ctx_drain(ctx);
    gp_cudart_ctx_gone(ctx);
    atomic_store_explicit(&ctx->active, false, memory_order_release);
    (void)sd_ctx_drain(ctx);
    sd_capture_ctx_gone(ctx, NULL);
    sd_modules_of_ctx_gone(ctx);
    sd_textures_of_ctx_gone(ctx);
    sd_arrays_of_ctx_gone(ctx);
    sd_mipmaps_of_ctx_gone(ctx);
    sd_heap_destroy(ctx);
    sd_mem_release_all(ctx, NULL);
    sd_ctx_free_streams(ctx);
    free(ctx->print_text);
    ctx->print_text = NULL;
    ctx->print_size = 0;
}

CUresult
sd_ctx_create_objects(void)
{
    for (int i = 0; i < sd_device_count(); i++) {
        struct sd_device *dev = sd_device_get(i);

        dev->primary = ctx_new(dev, true);
        if (dev->primary == NULL)
            return CUDA_ERROR_OUT_OF_MEMORY;
    }
    return CUDA_SUCCESS;
}

/* --- primary contexts --- */

GP_EXPORT CUresult
cuDevicePrimaryCtxRetain(CUcontext *pctx, CUdevice dev)
{
    struct sd_device *device;
    CUresult cr = CUDA_SUCCESS;

    SD_ENTER_READY();
    if (pctx == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    device = sd_device_get(dev);
    if (device == NULL)
        return CUDA_ERROR_INVALID_DEVICE;
    pthread_mutex_lock(&ctx_lock);
    if (device->primary->retained == 0)
        cr = ctx_activate(device->primary, atomic_load(&device->primary->flags));
    if (cr == CUDA_SUCCESS) {
        device->primary->retained++;
        *pctx = device->primary;
    }
    pthread_mutex_unlock(&ctx_lock);
    return cr;
}

/* count: how many retains to take back; all for a reset. */
static CUresult
primary_release(CUdevice dev, bool all)
{
    struct sd_device *device;
    bool last;

    SD_ENTER_READY();
    device = sd_device_get(dev);
    if (device == NULL)
        return CUDA_ERROR_INVALID_DEVICE;
    pthread_mutex_lock(&ctx_lock);
    if (device->primary->retained == 0) {
        pthread_mutex_unlock(&ctx_lock);
        return all ? CUDA_SUCCESS : CUDA_ERROR_INVALID_CONTEXT;
    }
    device->primary->retained = all ? 0 : device->primary->retained - 1;
    last = device->primary->retained == 0;
    pthread_mutex_unlock(&ctx_lock);
    if (last)
        ctx_teardown(device->primary);
    return CUDA_SUCCESS;
}

GP_EXPORT CUresult
cuDevicePrimaryCtxRelease(CUdevice dev)
{
    return primary_release(dev, false);
}

GP_EXPORT CUresult
cuDevicePrimaryCtxRelease_v2(CUdevice dev)
{
    return primary_release(dev, false);
}

GP_EXPORT CUresult
cuDevicePrimaryCtxReset(CUdevice dev)
{
    return primary_release(dev, true);
}

GP_EXPORT CUresult
cuDevicePrimaryCtxReset_v2(CUdevice dev)
{
    return primary_release(dev, true);
}

GP_EXPORT CUresult
cuDevicePrimaryCtxGetState(CUdevice dev, unsigned int *flags, int *active)
{
    struct sd_device *device;

    SD_ENTER_READY();
    device = sd_device_get(dev);
    if (device == NULL)
        return CUDA_ERROR_INVALID_DEVICE;
    if (flags == NULL || active == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    pthread_mutex_lock(&ctx_lock);
    *active = device->primary->retained != 0;
    *flags = atomic_load(&device->primary->flags) & ~(unsigned)CU_CTX_MAP_HOST;
    pthread_mutex_unlock(&ctx_lock);
    return CUDA_SUCCESS;
}

GP_EXPORT CUresult
cuDevicePrimaryCtxSetFlags_v2(CUdevice dev, unsigned int flags)
{
    struct sd_device *device;

    SD_ENTER_READY();
    device = sd_device_get(dev);
    if (device == NULL)
        return CUDA_ERROR_INVALID_DEVICE;
    if (!sd_ctx_flags_valid(flags))
        return CUDA_ERROR_INVALID_VALUE;
    atomic_store(&device->primary->flags, flags | CU_CTX_MAP_HOST);
    return CUDA_SUCCESS;
}

GP_EXPORT CUresult
cuDevicePrimaryCtxSetFlags(CUdevice dev, unsigned int flags)
{
    return cuDevicePrimaryCtxSetFlags_v2(dev, flags);
}

/* --- created contexts --- */

static CUresult
ctx_create(CUcontext *pctx, unsigned flags, CUdevice dev)
{
    struct sd_device *device;
    CUcontext ctx;
    CUresult cr;

    SD_ENTER_READY();
    if (pctx == NULL || !sd_ctx_flags_valid(flags))
        return CUDA_ERROR_INVALID_VALUE;
    device = sd_device_get(dev);
    if (device == NULL)
        return CUDA_ERROR_INVALID_DEVICE;
    ctx = ctx_new(device, false);
    if (ctx == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    pthread_mutex_lock(&ctx_lock);
    cr = ctx_activate(ctx, flags);
    pthread_mutex_unlock(&ctx_lock);
    if (cr == CUDA_SUCCESS && !sd_thread_push(ctx, NULL)) {
        ctx_teardown(ctx);
        cr = CUDA_ERROR_OUT_OF_MEMORY;
    }
    if (cr != CUDA_SUCCESS) {
        ctx_delete(ctx);
        return cr;
    }
    *pctx = ctx;
    return CUDA_SUCCESS;
}

GP_EXPORT CUresult
cuCtxCreate_v2(CUcontext *pctx, unsigned int flags, CUdevice dev)
{
    return ctx_create(pctx, flags, dev);
}

GP_EXPORT CUresult
cuCtxCreate(CUcontext *pctx, unsigned int flags, CUdevice dev)
{
    return ctx_create(pctx, flags, dev);
}

GP_EXPORT CUresult
cuCtxCreate_v3(CUcontext *pctx, CUexecAffinityParam *paramsArray, int numParams,
               unsigned int flags, CUdevice dev)
{
    if (numParams != 0)
        return paramsArray == NULL ? CUDA_ERROR_INVALID_VALUE
                                   : CUDA_ERROR_UNSUPPORTED_EXEC_AFFINITY;
    return ctx_create(pctx, flags, dev);
}

GP_EXPORT CUresult
cuCtxCreate_v4(CUcontext *pctx, CUctxCreateParams *ctxCreateParams, unsigned int flags,
               CUdevice dev)
{
    if (ctxCreateParams != NULL && ctxCreateParams->numExecAffinityParams != 0)
        return CUDA_ERROR_UNSUPPORTED_EXEC_AFFINITY;
    if (ctxCreateParams != NULL && ctxCreateParams->cigParams != NULL)
        return sd_refuse("cuCtxCreate_v4 with graphics sharing");
    return ctx_create(pctx, flags, dev);
}

/* On other threads' stacks a destroyed context stays and answers CONTEXT_IS_DESTROYED, so its
 * object is not used again before many others. */
static void
ctx_bury(CUcontext ctx)
{
    CUcontext oldest = NULL;

    pthread_mutex_lock(&ctx_lock);
    ctx->dead_next = NULL;
    if (dead_last != NULL)
        dead_last->dead_next = ctx;
    else
        dead_first = ctx;
    dead_last = ctx;
    if (++dead_count > DEAD_KEPT) {
        oldest = dead_first;
        dead_first = oldest->dead_next;
        dead_count--;
    }
    pthread_mutex_unlock(&ctx_lock);
    if (oldest != NULL)
        ctx_delete(oldest);
}

GP_EXPORT CUresult
cuCtxDestroy_v2(CUcontext ctx)
{
    bool was_active;

    SD_ENTER_READY();
    if (!sd_object_is(ctx, SD_CTX) || ctx->primary)
        return CUDA_ERROR_INVALID_CONTEXT;
    pthread_mutex_lock(&ctx_lock);
    was_active = ctx->attached != 0;
    ctx->attached = 0;
    pthread_mutex_unlock(&ctx_lock);
    if (!was_active)
        return CUDA_ERROR_INVALID_CONTEXT;
    ctx_teardown(ctx);
    sd_thread_pop_if_top(ctx);
    ctx_bury(ctx);
    return CUDA_SUCCESS;
}

GP_EXPORT CUresult
cuCtxDestroy(CUcontext ctx)
{
    return cuCtxDestroy_v2(ctx);
}

GP_EXPORT CUresult
cuCtxAttach(CUcontext *pctx, unsigned int flags)
{
    CUcontext ctx;

    SD_ENTER(ctx);
    if (pctx == NULL || flags != 0)
        return CUDA_ERROR_INVALID_VALUE;
    pthread_mutex_lock(&ctx_lock);
    ctx->attached++;
    pthread_mutex_unlock(&ctx_lock);
    *pctx = ctx;
    return CUDA_SUCCESS;
}

GP_EXPORT CUresult
cuCtxDetach(CUcontext ctx)
{
    bool last;

    SD_ENTER_READY();
    if (!sd_object_is(ctx, SD_CTX))
        return CUDA_ERROR_INVALID_CONTEXT;
    pthread_mutex_lock(&ctx_lock);
    last = ctx->attached <= 1;
    if (!last)
        ctx->attached--;
    pthread_mutex_unlock(&ctx_lock);
    return last ? cuCtxDestroy_v2(ctx) : CUDA_SUCCESS;
}

unsigned long long
sd_ctx_id(CUcontext ctx)
{
    return atomic_load_explicit(&ctx->id, memory_order_relaxed);
}

CUresult
sd_ctx_limit_set(CUcontext ctx, CUlimit limit, size_t value)
{
    pthread_mutex_lock(&ctx_lock);
    ctx->limits[limit] = value;
    pthread_mutex_unlock(&ctx_lock);
    return CUDA_SUCCESS;
}
