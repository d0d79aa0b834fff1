/* frontend/cuda/launch.c -- launches: checked against cached limits, values packed straight into
 * the line's buffer, no answer
 */
#include "cuda_api.h"
#include "frontend/cuda/attributes.h"
#include "frontend/cuda/capture.h"
#include "frontend/cuda/check.h"
#include "frontend/cuda/coherent.h"
#include "frontend/cuda/copy.h"
#include "frontend/cuda/graph.h"
#include "frontend/cuda/green.h"
#include "frontend/cuda/host.h"
#include "frontend/cuda/kernels.h"
#include "frontend/cuda/occupancy.h"
#include "frontend/cuda/order.h"
#include "frontend/cuda/state.h"
#include "protocol/base/util.h"

#include <stdlib.h>
#include <string.h>

#define PARAMS_MAX  32768u
#define FLAG_BUFFER 1u /* params hold the buffer of the extra form */

struct launch {
    struct fe_function *f;
    struct fe_stream *stream;
    struct fe_launch_shape shape;
    const struct fe_attributes *attributes; /* NULL: none */
    void *const *values;
    const void *buffer; /* the extra form */
    size_t bytes;       /* of all values, or of buffer */
    uint8_t *packed;    /* the values, where they were packed ahead */
};

/* Parameters come in exactly one of two forms, unless there are none. */
static CUresult
read_params(struct launch *l, void **values, void **extra)
{
    l->values = values;
    l->buffer = NULL;
    l->bytes = 0;
    if (extra != NULL) {
        CUresult cr = values != NULL ? CUDA_ERROR_INVALID_VALUE
                                     : fe_params_extra(extra, PARAMS_MAX, &l->buffer, &l->bytes);

        if (cr != CUDA_SUCCESS)
            return cr;
        return l->bytes < fe_params_end(l->f->params, l->f->nparams) ? CUDA_ERROR_INVALID_VALUE
                                                                     : CUDA_SUCCESS;
    }
    if (l->f->nparams == 0)
        return CUDA_SUCCESS;
    if (values == NULL || l->f->param_bytes > PARAMS_MAX)
        return CUDA_ERROR_INVALID_VALUE;
    l->bytes = l->f->param_bytes;
    return CUDA_SUCCESS;
}

/* All blocks of a cooperative launch must be resident at once. */
static CUresult
check_cooperative(struct fe_call *call, const struct launch *l)
{
    const struct fe_launch_shape *s = &l->shape;
    uint64_t threads = (uint64_t)s->block[0] * s->block[1] * s->block[2];
    unsigned __int128 grid = (unsigned __int128)s->grid[0] * s->grid[1] * s->grid[2];
    const struct fe_launch_limits *limits;
    int blocks = 0;
    CUresult cr;

    cr = fe_occupancy_blocks(call, l->f, (int)threads, s->shared_bytes, 0, &blocks);
    if (cr != CUDA_SUCCESS)
        return cr;
    limits = &fe_state_of(call)->limits[call->context->device];
    return grid > (uint64_t)blocks * fe_green_sms(l->stream, limits->multiprocessors)
               ? CUDA_ERROR_COOPERATIVE_LAUNCH_TOO_LARGE
               : CUDA_SUCCESS;
}

/* The blocks of a cluster, by the launch or else by the function, divide the grid. */
static CUresult
check_cluster(const struct launch *l)
{
    const CUlaunchAttribute *named = NULL;

    for (uint32_t i = 0; l->attributes != NULL && i < l->attributes->count; i++)
        if (l->attributes->list[i].id == CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION)
            named = &l->attributes->list[i];
    return fe_cluster_check(
        l->f->attributes, atomic_load_explicit(&l->f->mask, memory_order_acquire),
        named != NULL ? (const uint32_t[3]){named->value.clusterDim.x, named->value.clusterDim.y,
                                            named->value.clusterDim.z}
                      : NULL,
        l->shape.grid);
}

static CUresult
post(struct fe_call *call, const struct launch *l, uint64_t stream_wire)
{
    struct wire_cuLaunchKernelEx_args args = {
        .function = l->f->object.wire,
        .grid = {l->shape.grid[0], l->shape.grid[1], l->shape.grid[2]},
        .block = {l->shape.block[0], l->shape.block[1], l->shape.block[2]},
        .shared_bytes = l->shape.shared_bytes,
        .flags = l->buffer != NULL ? FLAG_BUFFER : 0,
        .stream = stream_wire,
        .params = l->buffer, /* NULL: the values are packed behind it below */
        .params_len = (uint32_t)l->bytes,
    };
    size_t size;
    uint64_t n;
    void *to;

    if (l->attributes != NULL) {
        args.attributes = l->attributes->list;
        args.attributes_len = l->attributes->count;
    }
    size = wire_size_cuLaunchKernelEx_args(&args);
    to = fe_post(call, size);
    if (to == NULL)
        return fe_lost(call);
    wire_put_cuLaunchKernelEx_args(to, &args);
    if (l->packed != NULL)
        memcpy((uint8_t *)to + size - WIRE_PAD(l->bytes), l->packed, l->bytes);
    else if (l->buffer == NULL && l->bytes > 0)
        fe_params_pack((uint8_t *)to + size - WIRE_PAD(l->bytes), l->f->params, l->f->nparams,
                       l->values);
    n = fe_stream_mark(call, l->stream);
    if (l->attributes != NULL)
        fe_attributes_mark(l->attributes, call->context, l->stream, stream_wire, n);
    fe_post_done(call);
    return CUDA_SUCCESS;
}

/* The attributes of a captured launch become the node's; that on the order of kernels becomes the
 * kind of its edges. */
static CUresult
capture_attributes(const struct launch *l, union fe_node_body *body, bool *programmatic_p)
{
    CUresult cr = CUDA_SUCCESS;

    for (uint32_t i = 0; l->attributes != NULL && i < l->attributes->count && cr == CUDA_SUCCESS;
         i++) {
        const CUlaunchAttribute *a = &l->attributes->list[i];

        if (a->id == CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_EVENT ||
            a->id == CU_LAUNCH_ATTRIBUTE_LAUNCH_COMPLETION_EVENT)
            cr = fe_refuse("a captured launch that records an event by attribute");
        else if (a->id == CU_LAUNCH_ATTRIBUTE_SYNCHRONIZATION_POLICY)
            continue; /* a matter of streams */
        else if (a->id == CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION)
            *programmatic_p = a->value.programmaticStreamSerializationAllowed != 0;
        else
            cr = fe_kernel_attribute_set(&body->kernel, a->id, &a->value);
    }
    return cr;
}

static CUresult
capture(struct fe_call *call, const struct launch *l, CUfunction handle, void **values,
        void **extra)
{
    const CUDA_KERNEL_NODE_PARAMS params = {
        .func = handle,
        .gridDimX = l->shape.grid[0],
        .gridDimY = l->shape.grid[1],
        .gridDimZ = l->shape.grid[2],
        .blockDimX = l->shape.block[0],
        .blockDimY = l->shape.block[1],
        .blockDimZ = l->shape.block[2],
        .sharedMemBytes = l->shape.shared_bytes,
        .kernelParams = values,
        .extra = extra,
    };
    struct fe_context *ctx = call->context;
    union fe_node_body *body = NULL;
    bool programmatic = false;
    CUresult cr = fe_body_kernel(&params, &ctx, &body);

    if (cr == CUDA_SUCCESS && l->stream->green != NULL)
        body->kernel.green_wire = l->stream->green_wire;
    if (cr == CUDA_SUCCESS)
        cr = fe_stream_inherit(l->stream, &body->kernel);
    if (cr == CUDA_SUCCESS)
        cr = capture_attributes(l, body, &programmatic);
    if (cr != CUDA_SUCCESS) {
        fe_body_free(CU_GRAPH_NODE_TYPE_KERNEL, body);
        return cr;
    }
    return fe_capture_add(l->stream, CU_GRAPH_NODE_TYPE_KERNEL, ctx, body, programmatic);
}

/* The program and the kernel may share memory: what the program has changed goes first, and its
 * pages are stale from here on. Values are packed ahead, for they may lie in such memory. */
static CUresult
post_coherent(struct fe_call *call, struct launch *l, uint64_t stream_wire)
{
    const struct fe_where where = {l->stream, stream_wire};
    uint8_t small[512];
    CUresult cr;

    if (l->bytes > 0) {
        l->packed = l->bytes <= sizeof(small) ? small : malloc(l->bytes);
        if (l->packed == NULL)
            return CUDA_ERROR_OUT_OF_MEMORY;
        if (l->buffer != NULL) {
            l->buffer = memcpy(l->packed, l->buffer, l->bytes);
            fe_host_look(0, l->packed, l->bytes);
        } else {
            fe_params_pack(l->packed, l->f->params, l->f->nparams, l->values);
            fe_host_look_values(l->f->params, l->f->nparams, l->packed);
        }
    }
    cr = fe_coherent_begin(&where, NULL, 0);
    if (cr == CUDA_SUCCESS) {
        cr = post(call, l, stream_wire);
        fe_coherent_end(call, &where);
    }
    if (l->packed != small)
        free(l->packed);
    l->packed = NULL;
    return cr;
}

/* call is entered, and left here; l->f is what handle names. The order of the checks is the
 * driver's. */
static CUresult
launch(struct fe_call *call, struct launch *l, CUfunction handle, CUstream stream, void **values,
       void **extra)
{
    uint64_t stream_wire;
    CUresult cr;

    cr = fe_stream_resolve_capture(call, stream, &l->stream, &stream_wire);
    if (cr == CUDA_SUCCESS && l->f->object.context != NULL && l->f->object.context != call->context)
        cr = CUDA_ERROR_INVALID_HANDLE; /* function and stream must be of one context */
    if (cr == CUDA_SUCCESS)
        cr = fe_function_here(call, &l->f);
    if (cr == CUDA_SUCCESS)
        cr = fe_function_ready(call, l->f);
    if (cr == CUDA_SUCCESS)
        cr = fe_launch_check(&fe_state_of(call)->limits[call->context->device], l->f->attributes,
                             atomic_load_explicit(&l->f->mask, memory_order_acquire), &l->shape);
    if (cr == CUDA_SUCCESS)
        cr = check_cluster(l);
    if (cr == CUDA_SUCCESS && l->attributes != NULL && l->attributes->cooperative)
        cr = check_cooperative(call, l);
    if (cr == CUDA_SUCCESS)
        cr = read_params(l, values, extra);
    if (cr == CUDA_SUCCESS && fe_capturing(l->stream))
        return fe_leave(call, capture(call, l, handle, values, extra));
    if (cr == CUDA_SUCCESS)
        cr = fe_order(call, l->stream, stream_wire);
    if (GP_LIKELY(cr == CUDA_SUCCESS))
        cr = GP_UNLIKELY(fe_coherent_active()) ? post_coherent(call, l, stream_wire)
                                               : post(call, l, stream_wire);
    if (GP_UNLIKELY(fe_state_of(call)->launch_blocking) && cr == CUDA_SUCCESS)
        cr = fe_copy_drain(call, &(struct fe_where){l->stream, stream_wire});
    return fe_leave(call, cr);
}

GP_EXPORT CUresult
cuLaunchKernel(CUfunction f, unsigned int gx, unsigned int gy, unsigned int gz, unsigned int bx,
               unsigned int by, unsigned int bz, unsigned int shared_bytes, CUstream stream,
               void **values, void **extra)
{
    GP_USE();
    struct launch l = {.shape = {{gx, gy, gz}, {bx, by, bz}, shared_bytes}};
    struct fe_call call;
    CUresult cr = fe_enter(&call, WIRE_CALL_cuLaunchKernelEx);

    if (GP_UNLIKELY(cr != CUDA_SUCCESS))
        return cr;
    l.f = fe_function_get(f);
    if (GP_UNLIKELY(l.f == NULL))
        return fe_leave(&call, CUDA_ERROR_INVALID_HANDLE);
    return launch(&call, &l, f, stream, values, extra);
}

GP_EXPORT CUresult
cuLaunchKernelEx(const CUlaunchConfig *config, CUfunction f, void **values, void **extra)
{
    GP_USE();
    struct fe_attributes attributes;
    struct fe_function *function;
    struct fe_call call;
    struct launch l;
    CUresult cr = fe_enter(&call, WIRE_CALL_cuLaunchKernelEx);

    if (cr != CUDA_SUCCESS)
        return cr;
    if (config == NULL)
        return fe_leave(&call, CUDA_ERROR_INVALID_VALUE);
    function = fe_function_get(f);
    if (function == NULL)
        return fe_leave(&call, CUDA_ERROR_INVALID_HANDLE);
    cr = fe_attributes_read(&attributes, config->attrs, config->numAttrs);
    if (cr != CUDA_SUCCESS)
        return fe_leave(&call, cr);
    l = (struct launch){
        .f = function,
        .shape = {{config->gridDimX, config->gridDimY, config->gridDimZ},
                  {config->blockDimX, config->blockDimY, config->blockDimZ},
                  config->sharedMemBytes},
        .attributes = attributes.count > 0 ? &attributes : NULL,
    };
    return launch(&call, &l, f, config->hStream, values, extra);
}

GP_EXPORT CUresult
cuLaunchCooperativeKernel(CUfunction f, unsigned int gx, unsigned int gy, unsigned int gz,
                          unsigned int bx, unsigned int by, unsigned int bz,
                          unsigned int shared_bytes, CUstream stream, void **values)
{
    CUlaunchAttribute cooperative = {.id = CU_LAUNCH_ATTRIBUTE_COOPERATIVE, .value.cooperative = 1};
    CUlaunchConfig config = {
        .gridDimX = gx,
        .gridDimY = gy,
        .gridDimZ = gz,
        .blockDimX = bx,
        .blockDimY = by,
        .blockDimZ = bz,
        .sharedMemBytes = shared_bytes,
        .hStream = stream,
        .attrs = &cooperative,
        .numAttrs = 1,
    };

    return cuLaunchKernelEx(&config, f, values, NULL);
}
