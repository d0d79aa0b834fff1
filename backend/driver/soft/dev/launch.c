/* backend/driver/soft/dev/launch.c -- kernel launches */
#include "backend/driver/soft/dev/launch.h"

#include "backend/driver/soft/dev/children.h"
#include "backend/driver/soft/dev/graph.h"
#include "backend/driver/soft/dev/green.h"
#include "backend/driver/soft/dev/heap.h"
#include "backend/driver/soft/dev/multicast.h"
#include "backend/driver/soft/dev/span.h"
#include "backend/driver/soft/dev/texref.h"
#include "backend/driver/soft/dev/texture.h"
#include "cuda_api.h"
#include "protocol/base/clock.h"

#include <string.h>

/* --- what the machine asks while it runs --- */

static bool
env_span_of(void *opaque, uint64_t addr, struct sd_span *span)
{
    const struct CUctx_st *ctx = opaque;

    return sd_map_span(addr, ctx->dev->ordinal, atomic_load(&ctx->peers), &span->base, &span->end,
                       &span->writable);
}

static unsigned
env_team_places(void *opaque, uint64_t addr, uint64_t bytes, bool write,
                uint64_t places[SD_TEAM_MAX])
{
    const struct CUctx_st *ctx = opaque;

    return sd_team_places(addr, bytes, ctx->dev->ordinal, write, places);
}

static void
env_print(void *opaque, const char *text, size_t len)
{
    sd_ctx_print(opaque, text, len);
}

static uint64_t
env_heap_alloc(void *opaque, uint64_t bytes)
{
    return sd_heap_alloc(opaque, bytes);
}

static void
env_heap_free(void *opaque, uint64_t address)
{
    sd_heap_free(opaque, address);
}

static const struct sd_texture *
env_texture(void *opaque, uint64_t handle)
{
    return sd_texture_find(opaque, handle);
}

static bool
env_set_condition(void *opaque, uint64_t handle, uint32_t value)
{
    return sd_cond_set(opaque, handle, value);
}

static uint64_t
env_globaltimer(void *opaque)
{
    (void)opaque;
    return gp_now_ns();
}

/* A context that failed ends all its kernels. */
static bool
env_cancelled(void *opaque)
{
    return atomic_load_explicit(&((struct CUctx_st *)opaque)->error, memory_order_relaxed) != 0;
}

static void
log_fault(const struct sd_kernel *kernel, const struct sd_fault *f)
{
    log_error("kernel %s: %s (CUDA error %d) at PTX line %u, block (%u,%u,%u) thread (%u,%u,%u), "
              "address 0x%llx",
              kernel->name, f->what, (int)f->code, f->ptx_line, f->block[0], f->block[1],
              f->block[2], f->thread[0], f->thread[1], f->thread[2],
              (unsigned long long)f->address);
}

static CUresult
execute(struct sd_work *work)
{
    const struct sd_kernel_work *k = &work->kernel;
    struct sd_env env = {
        .opaque = work->ctx,
        .span_of = env_span_of,
        .span_epoch = &sd_map_epoch,
        .print = env_print,
        .heap_alloc = env_heap_alloc,
        .heap_free = env_heap_free,
        .texture = env_texture,
        .globaltimer_ns = env_globaltimer,
        .set_condition = env_set_condition,
        .team_places = env_team_places,
        .cancelled = env_cancelled,
        .sm_count = (uint32_t)work->ctx->dev->profile.multiprocessors,
    };
    struct sd_launch launch = {
        .kernel = k->fn->kernel,
        .dynamic_shared_bytes = k->shared_bytes,
        .params = k->params,
        .explicit_cluster = k->explicit_cluster,
        .cooperative = k->cooperative,
        .bound = k->bound,
        .bound_count = k->bound_count,
        .sms = k->sms != NULL ? k->sms->sms : NULL,
        .sm_count = k->sms != NULL ? k->sms->count : 0,
        .env = &env,
    };
    const struct sd_kernel *failed = NULL;
    struct sd_pool *machine;
    struct sd_fault fault;
    CUresult cr;

    machine = sd_machine();
    if (machine == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    memcpy(launch.grid, k->grid, sizeof(launch.grid));
    memcpy(launch.block, k->block, sizeof(launch.block));
    memcpy(launch.cluster, k->cluster, sizeof(launch.cluster));
    memset(&fault, 0, sizeof(fault));
    cr = sd_children_run(work->ctx, machine, &env, &launch, &failed, &fault);
    if (cr != CUDA_SUCCESS && !env_cancelled(work->ctx))
        log_fault(failed, &fault);
    return cr;
}

CUresult
sd_kernel_run(struct sd_work *work)
{
    return work->ctx->dev->profile.instant ? CUDA_SUCCESS : execute(work);
}

/* --- checks --- */

bool
sd_shape_valid(const struct sd_kernel *kernel, const unsigned grid[3], const unsigned block[3])
{
    static const unsigned grid_max[3] = {0x7fffffff, 65535, 65535};
    static const unsigned block_max[3] = {1024, 1024, 64};
    uint64_t threads = 1;

    for (int i = 0; i < 3; i++) {
        if (grid[i] == 0 || grid[i] > grid_max[i] || block[i] == 0 || block[i] > block_max[i])
            return false;
        if (kernel->req_ntid[0] != 0 &&
            block[i] != (kernel->req_ntid[i] != 0 ? kernel->req_ntid[i] : 1))
            return false;
        threads *= block[i];
    }
    return threads <= 1024;
}

static CUresult
check_shape(const struct CUfunc_st *fn, const struct sd_launch_dims *d)
{
    if (!sd_shape_valid(fn->kernel, d->grid, d->block))
        return CUDA_ERROR_INVALID_VALUE;
    if (d->shared_bytes > sd_function_max_dynamic(fn))
        return CUDA_ERROR_INVALID_VALUE;
    if (d->block[0] * d->block[1] * d->block[2] > sd_function_max_threads(fn))
        return CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES;
    return CUDA_SUCCESS;
}

/* The cluster of a launch, by its attribute or else by the function. */
static CUresult
check_cluster(struct CUfunc_st *fn, const struct sd_launch_dims *d, struct sd_kernel_work *work)
{
    unsigned *cluster = work->cluster;
    unsigned blocks = 1;

    work->explicit_cluster = d->cluster[0] != 0;

    for (int i = 0; i < 3; i++) {
        int set;

        cluster[i] = d->cluster[i];
        if (cluster[i] == 0) {
            set = sd_function_cluster(fn, i);
            cluster[i] = set > 0 ? (unsigned)set : 1;
            work->explicit_cluster = work->explicit_cluster || set > 0;
        } else if (fn->kernel->req_cluster[0] != 0 &&
                   cluster[i] != (fn->kernel->req_cluster[i] != 0 ? fn->kernel->req_cluster[i] : 1))
            return CUDA_ERROR_INVALID_CLUSTER_SIZE;
        if (cluster[i] > SD_CLUSTER_MAX || d->grid[i] % cluster[i] != 0)
            return CUDA_ERROR_INVALID_CLUSTER_SIZE;
        blocks *= cluster[i];
    }
    if (fn->kernel->explicit_cluster && !work->explicit_cluster)
        return CUDA_ERROR_INVALID_CLUSTER_SIZE;
    if (blocks <= 1)
        return CUDA_SUCCESS;
    if (fn->mod->ctx->dev->profile.cc_major < 9)
        return CUDA_ERROR_NOT_SUPPORTED;
    return blocks > sd_function_max_cluster(fn) ? CUDA_ERROR_INVALID_CLUSTER_SIZE : CUDA_SUCCESS;
}

static CUresult
check_cooperative(const struct CUfunc_st *fn, const struct sd_launch_dims *d)
{
    uint64_t blocks = (uint64_t)d->grid[0] * d->grid[1] * d->grid[2], room;

    if (!d->cooperative)
        return CUDA_SUCCESS;
    room = (uint64_t)sd_occupancy_blocks(fn, d->block[0] * d->block[1] * d->block[2],
                                         d->shared_bytes) *
           sd_sm_count(fn->mod->ctx, d->sms);
    return blocks > room || blocks > SD_COOPERATIVE_BLOCKS_MAX
               ? CUDA_ERROR_COOPERATIVE_LAUNCH_TOO_LARGE
               : CUDA_SUCCESS;
}

/* The pair list that stands in extra. */
static CUresult
extra_parse(void **extra, const void **data_p, size_t *bytes_p)
{
    const size_t *size = NULL;

    *data_p = NULL;
    for (int i = 0; extra[i] != CU_LAUNCH_PARAM_END; i += 2) {
        if (extra[i] == CU_LAUNCH_PARAM_BUFFER_POINTER)
            *data_p = extra[i + 1];
        else if (extra[i] == CU_LAUNCH_PARAM_BUFFER_SIZE)
            size = extra[i + 1];
        else
            return CUDA_ERROR_INVALID_VALUE;
        if (i >= 8)
            return CUDA_ERROR_INVALID_VALUE;
    }
    if (size == NULL || (*data_p == NULL && *size != 0))
        return CUDA_ERROR_INVALID_VALUE;
    *bytes_p = *size;
    return CUDA_SUCCESS;
}

static CUresult
pack_params(const struct sd_kernel *k, void **kernel_params, void **extra,
            struct sd_kernel_work *work)
{
    const void *data;
    size_t bytes, room, end = 0;
    CUresult cr;

    if (kernel_params != NULL && extra != NULL)
        return CUDA_ERROR_INVALID_VALUE;
    work->param_bytes = k->param_bytes;
    if (k->nparams == 0)
        return CUDA_SUCCESS;
    if (kernel_params == NULL && extra == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    if (extra != NULL) {
        cr = extra_parse(extra, &data, &bytes);
        if (cr != CUDA_SUCCESS)
            return cr;
        if (bytes < k->params[k->nparams - 1].offset + k->params[k->nparams - 1].bytes)
            return CUDA_ERROR_INVALID_VALUE;
    }
    room = gp_align_up_u64(k->param_bytes, 16);
    work->params = malloc(room);
    if (work->params == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    if (extra != NULL) {
        bytes = gp_min_u64(bytes, k->param_bytes);
        memcpy(work->params, data, bytes);
        memset(work->params + bytes, 0, room - bytes);
        return CUDA_SUCCESS;
    }
    for (uint32_t i = 0; i < k->nparams; i++) {
        if (kernel_params[i] == NULL) {
            free(work->params);
            work->params = NULL;
            return CUDA_ERROR_INVALID_VALUE;
        }
        /* Zeros between them; all of it zeroed at once would be calloc(), which is slower. */
        memset(work->params + end, 0, k->params[i].offset - end);
        memcpy(work->params + k->params[i].offset, kernel_params[i], k->params[i].bytes);
        end = k->params[i].offset + k->params[i].bytes;
    }
    memset(work->params + end, 0, room - end);
    return CUDA_SUCCESS;
}

CUresult
sd_launch_make(struct CUfunc_st *fn, const struct sd_launch_dims *d, void **kernel_params,
               void **extra, struct sd_kernel_work *work)
{
    CUresult cr = sd_function_prepare(fn);

    memset(work, 0, sizeof(*work));
    if (cr == CUDA_SUCCESS)
        cr = check_shape(fn, d);
    if (cr == CUDA_SUCCESS)
        cr = check_cluster(fn, d, work);
    if (cr == CUDA_SUCCESS)
        cr = check_cooperative(fn, d);
    if (cr != CUDA_SUCCESS)
        return cr;
    work->fn = fn;
    memcpy(work->grid, d->grid, sizeof(work->grid));
    memcpy(work->block, d->block, sizeof(work->block));
    work->shared_bytes = d->shared_bytes;
    work->cooperative = d->cooperative;
    work->sms = d->sms;
    return pack_params(fn->kernel, kernel_params, extra, work);
}

/* --- entry points --- */

/* Queues op, or makes a node of it. */
static CUresult
submit(CUstream stream, struct sd_op *op, const CUlaunchConfig *config)
{
    if (atomic_load_explicit(&stream->capture, memory_order_acquire) != NULL && config != NULL)
        return sd_capture_launch(stream, op, config->attrs, config->numAttrs);
    /* What takes no time is done at once: a thread's wake-up would be all that it costs. */
    if (stream->ctx->dev->profile.instant && sd_stream_try_now(stream, op))
        return CUDA_SUCCESS;
    return sd_stream_submit(stream, op, NULL);
}

/* The caller works, as in a driver; it does not sleep. */
static void
submit_take_time(uint64_t ns)
{
    uint64_t until = gp_now_ns() + ns;

    while (gp_now_ns() < until)
        ;
}

/* config is where the attributes stand, or NULL. */
static CUresult
launch(CUfunction f, struct sd_launch_dims *dims, CUstream hStream, void **kernel_params,
       void **extra, const CUlaunchConfig *config, CUevent after)
{
    GP_USE();
    struct CUfunc_st *fn;
    struct sd_op *op;
    CUcontext ctx;
    CUstream stream;
    CUresult cr;

    SD_ENTER(ctx);
    if (!sd_object_is(f, SD_FUNCTION) && !sd_object_is(f, SD_KERNEL))
        return CUDA_ERROR_INVALID_HANDLE;
    cr = sd_stream_get(hStream, &stream);
    if (cr != CUDA_SUCCESS)
        return cr;
    cr = sd_function_get(f, stream->ctx, &fn);
    if (cr != CUDA_SUCCESS)
        return cr;
    if (fn->mod->ctx != stream->ctx)
        return CUDA_ERROR_INVALID_HANDLE;
    if (GP_UNLIKELY(stream->ctx->dev->profile.submit_ns != 0))
        submit_take_time(stream->ctx->dev->profile.submit_ns);
    dims->sms = stream->green != NULL ? stream->green->desc : NULL;
    op = sd_op_new(SD_WORK_KERNEL, stream->ctx);
    if (op == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    cr = sd_launch_make(fn, dims, kernel_params, extra, &op->work.kernel);
    if (cr == CUDA_SUCCESS && atomic_load(&stream->capture) == NULL)
        cr = sd_texrefs_snapshot(&op->work.kernel);
    if (cr != CUDA_SUCCESS) {
        sd_op_free(op);
        return cr;
    }
    cr = submit(stream, op, config);
    if (cr == CUDA_SUCCESS && after != NULL)
        cr = cuEventRecord(after, hStream);
    return cr;
}

GP_EXPORT CUresult
cuLaunchKernel(CUfunction f, unsigned int gridDimX, unsigned int gridDimY, unsigned int gridDimZ,
               unsigned int blockDimX, unsigned int blockDimY, unsigned int blockDimZ,
               unsigned int sharedMemBytes, CUstream hStream, void **kernelParams, void **extra)
{
    struct sd_launch_dims dims = {.grid = {gridDimX, gridDimY, gridDimZ},
                                  .block = {blockDimX, blockDimY, blockDimZ},
                                  .shared_bytes = sharedMemBytes};

    return launch(f, &dims, hStream, kernelParams, extra, NULL, NULL);
}

GP_EXPORT CUresult
cuLaunchCooperativeKernel(CUfunction f, unsigned int gridDimX, unsigned int gridDimY,
                          unsigned int gridDimZ, unsigned int blockDimX, unsigned int blockDimY,
                          unsigned int blockDimZ, unsigned int sharedMemBytes, CUstream hStream,
                          void **kernelParams)
{
    struct sd_launch_dims dims = {.grid = {gridDimX, gridDimY, gridDimZ},
                                  .block = {blockDimX, blockDimY, blockDimZ},
                                  .shared_bytes = sharedMemBytes,
                                  .cooperative = true};

    return launch(f, &dims, hStream, kernelParams, NULL, NULL, NULL);
}

/* What an attribute changes; hints change nothing. */
static CUresult
apply_attribute(const CUlaunchAttribute *attr, struct sd_launch_dims *dims, CUevent *after_p)
{
    switch (attr->id) {
    case CU_LAUNCH_ATTRIBUTE_IGNORE:
    case CU_LAUNCH_ATTRIBUTE_ACCESS_POLICY_WINDOW:
    case CU_LAUNCH_ATTRIBUTE_SYNCHRONIZATION_POLICY:
    case CU_LAUNCH_ATTRIBUTE_CLUSTER_SCHEDULING_POLICY_PREFERENCE:
    case CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION: /* full order satisfies it */
    case CU_LAUNCH_ATTRIBUTE_PRIORITY:
    case CU_LAUNCH_ATTRIBUTE_MEM_SYNC_DOMAIN_MAP:
    case CU_LAUNCH_ATTRIBUTE_MEM_SYNC_DOMAIN:
    case CU_LAUNCH_ATTRIBUTE_PREFERRED_CLUSTER_DIMENSION:
    case CU_LAUNCH_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT:
    case CU_LAUNCH_ATTRIBUTE_NVLINK_UTIL_CENTRIC_SCHEDULING:
        return CUDA_SUCCESS;
    case CU_LAUNCH_ATTRIBUTE_COOPERATIVE:
        dims->cooperative = attr->value.cooperative != 0;
        return CUDA_SUCCESS;
    case CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION:
        dims->cluster[0] = attr->value.clusterDim.x;
        dims->cluster[1] = attr->value.clusterDim.y;
        dims->cluster[2] = attr->value.clusterDim.z;
        if (dims->cluster[0] == 0 || dims->cluster[1] == 0 || dims->cluster[2] == 0)
            return CUDA_ERROR_INVALID_VALUE;
        return CUDA_SUCCESS;
    case CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_EVENT:
        *after_p = attr->value.programmaticEvent.event;
        return sd_object_is(*after_p, SD_EVENT) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
    case CU_LAUNCH_ATTRIBUTE_LAUNCH_COMPLETION_EVENT:
        *after_p = attr->value.launchCompletionEvent.event;
        return sd_object_is(*after_p, SD_EVENT) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
    case CU_LAUNCH_ATTRIBUTE_DEVICE_UPDATABLE_KERNEL_NODE:
        return sd_refuse("cuLaunchKernelEx of a node that the device may update");
    default:
        return CUDA_ERROR_INVALID_VALUE;
    }
}

CUresult
sd_launch_config(const CUlaunchConfig *config, struct sd_launch_dims *dims, CUevent *after_p)
{
    CUresult cr = CUDA_SUCCESS;

    if (config->numAttrs != 0 && config->attrs == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    *dims = (struct sd_launch_dims){
        .grid = {config->gridDimX, config->gridDimY, config->gridDimZ},
        .block = {config->blockDimX, config->blockDimY, config->blockDimZ},
        .shared_bytes = config->sharedMemBytes,
    };
    for (unsigned i = 0; i < config->numAttrs && cr == CUDA_SUCCESS; i++)
        cr = apply_attribute(&config->attrs[i], dims, after_p);
    return cr;
}

GP_EXPORT CUresult
cuLaunchKernelEx(const CUlaunchConfig *config, CUfunction f, void **kernelParams, void **extra)
{
    struct sd_launch_dims dims;
    CUevent after = NULL;
    CUcontext ctx;
    CUresult cr;

    SD_ENTER(ctx);
    if (config == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    if (!sd_object_is(f, SD_FUNCTION) && !sd_object_is(f, SD_KERNEL))
        return CUDA_ERROR_INVALID_HANDLE;
    cr = sd_launch_config(config, &dims, &after);
    if (cr != CUDA_SUCCESS)
        return cr;
    return launch(f, &dims, config->hStream, kernelParams, extra, config, after);
}
