/* frontend/cuda/graph_body.c -- what nodes do: CUDA's parameter structs, checked and copied */
#include "cuda_api.h"
#include "frontend/cuda/displaced.h"
#include "frontend/cuda/green.h"
#include "frontend/cuda/host.h"
#include "frontend/cuda/managed.h"
#include "frontend/cuda/array.h"
#include "frontend/cuda/check.h"
#include "frontend/cuda/copy.h"
#include "frontend/cuda/graph.h"
#include "frontend/cuda/state.h"
#include "protocol/base/util.h"

#include <stdlib.h>
#include <string.h>

static void *
duplicate(const void *data, size_t bytes)
{
    void *copy = malloc(bytes != 0 ? bytes : 1);

    if (copy != NULL && bytes != 0)
        memcpy(copy, data, bytes);
    return copy;
}

void
fe_body_free(CUgraphNodeType type, union fe_node_body *body)
{
    if (body == NULL)
        return;
    switch (type) {
    case CU_GRAPH_NODE_TYPE_KERNEL:
        free(body->kernel.values);
        free(body->kernel.pointers);
        free(body->kernel.attributes);
        break;
    case CU_GRAPH_NODE_TYPE_GRAPH:
        if (body->child != NULL)
            fe_graph_delete(body->child);
        break;
    case CU_GRAPH_NODE_TYPE_CONDITIONAL:
        for (unsigned i = 0; i < body->cond.size; i++)
            fe_graph_delete(body->cond.bodies[i]);
        free(body->cond.bodies);
        fe_cond_put(body->cond.cond);
        break;
    case CU_GRAPH_NODE_TYPE_BATCH_MEM_OP:
        free(body->values.ops);
        break;
    case CU_GRAPH_NODE_TYPE_MEM_ALLOC:
        fe_graph_block_put(body->alloc.block);
        break;
    default:
        break;
    }
    free(body);
}

/* What body points to is copied too; false without memory, and then body owns nothing. */
static CUresult
copy_owned(CUgraphNodeType type, const union fe_node_body *from, union fe_node_body *body)
{
    struct fe_node_kernel *k = &body->kernel;

    switch (type) {
    case CU_GRAPH_NODE_TYPE_KERNEL:
        k->pointers = NULL;
        k->values = duplicate(from->kernel.values, k->bytes);
        k->attributes = NULL;
        if (from->kernel.attributes != NULL)
            k->attributes =
                duplicate(from->kernel.attributes, FE_NODE_ATTRIBUTES * sizeof(*k->attributes));
        return k->values == NULL || (from->kernel.attributes != NULL && k->attributes == NULL)
                   ? CUDA_ERROR_OUT_OF_MEMORY
                   : CUDA_SUCCESS;
    case CU_GRAPH_NODE_TYPE_GRAPH:
        body->child = NULL;
        return fe_graph_clone(from->child, &body->child);
    case CU_GRAPH_NODE_TYPE_BATCH_MEM_OP:
        body->values.ops =
            duplicate(from->values.ops, from->values.count * sizeof(*from->values.ops));
        return body->values.ops != NULL ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
    case CU_GRAPH_NODE_TYPE_MEM_ALLOC:
        body->alloc.block->refs++;
        return CUDA_SUCCESS;
    default:
        return CUDA_SUCCESS;
    }
}

CUresult
fe_body_copy(CUgraphNodeType type, const union fe_node_body *from, union fe_node_body **body_p)
{
    union fe_node_body *body;
    CUresult cr;

    if (from == NULL)
        return CUDA_SUCCESS;
    body = duplicate(from, sizeof(*from));
    if (body == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    cr = copy_owned(type, from, body);
    if (cr != CUDA_SUCCESS) {
        fe_body_free(type, body);
        return cr;
    }
    *body_p = body;
    return CUDA_SUCCESS;
}

CUresult
fe_node_context(CUcontext handle, struct fe_context **ctx_p)
{
    if (handle != NULL)
        return fe_context_get(handle, ctx_p);
    *ctx_p = fe_context_current();
    return CUDA_SUCCESS;
}

/* -- kernels ---------------------------------------------------------------------------- */

static CUresult
kernel_values(struct fe_node_kernel *k, void **values, void **extra)
{
    const struct fe_function *f = k->function;
    const void *buffer = NULL;
    size_t bytes = 0;
    CUresult cr;

    if (extra != NULL) {
        if (values != NULL)
            return CUDA_ERROR_INVALID_VALUE;
        cr = fe_params_extra(extra, WIRE_GRAPH_PARAMS_MAX, &buffer, &bytes);
        if (cr != CUDA_SUCCESS)
            return cr;
        k->extra = true;
        k->bytes = (uint32_t)bytes;
        k->values = duplicate(buffer, bytes);
        if (k->values == NULL)
            return CUDA_ERROR_OUT_OF_MEMORY;
        fe_host_look(0, k->values, bytes);
        return CUDA_SUCCESS;
    }
    if (f->nparams != 0 && (values == NULL || f->param_bytes > WIRE_GRAPH_PARAMS_MAX))
        return CUDA_ERROR_INVALID_VALUE;
    k->bytes = f->nparams != 0 ? f->param_bytes : 0;
    k->values = malloc(k->bytes != 0 ? k->bytes : 1);
    if (k->values == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    if (k->bytes != 0) {
        fe_params_pack(k->values, f->params, f->nparams, values);
        fe_host_look_values(f->params, f->nparams, k->values);
    }
    return CUDA_SUCCESS;
}

static CUresult
kernel_check(struct fe_node_kernel *k, struct fe_context *ctx)
{
    const struct fe_launch_shape shape = {{k->grid[0], k->grid[1], k->grid[2]},
                                          {k->block[0], k->block[1], k->block[2]},
                                          k->shared_bytes};
    struct fe_call call;
    CUresult cr = fe_enter_in(&call, WIRE_CALL_cuLaunchKernelEx, ctx);
    uint32_t mask;

    if (cr != CUDA_SUCCESS)
        return cr;
    cr = fe_function_ready(&call, k->function);
    mask = atomic_load_explicit(&k->function->mask, memory_order_acquire);
    if (cr == CUDA_SUCCESS)
        cr = fe_launch_check(&fe_state_of(&call)->limits[ctx->device], k->function->attributes,
                             mask, &shape);
    if (cr == CUDA_SUCCESS)
        cr = fe_cluster_check(k->function->attributes, mask, NULL, shape.grid);
    return fe_leave(&call, cr);
}

CUresult
fe_body_kernel(const CUDA_KERNEL_NODE_PARAMS *p, struct fe_context **ctx_p,
               union fe_node_body **body_p)
{
    GP_USE();
    CUfunction named = p->func != NULL ? p->func : (CUfunction)p->kern;
    struct fe_function *f = fe_function_get(named);
    struct fe_context *ctx = *ctx_p;
    union fe_node_body *body;
    struct fe_green *green = NULL;
    CUresult cr;

    if (f == NULL)
        return CUDA_ERROR_INVALID_HANDLE;
    if (p->ctx != NULL && (cr = fe_context_get(p->ctx, &ctx)) != CUDA_SUCCESS)
        return cr;
    if (p->ctx != NULL && (void *)p->ctx != (void *)ctx &&
        (cr = fe_green_of_context(p->ctx, &green)) != CUDA_SUCCESS)
        return cr;
    if (f->object.context != NULL) /* of a module: it runs where that is */
        ctx = f->object.context;
    if (ctx == NULL)
        return CUDA_ERROR_INVALID_CONTEXT;
    if (f->session != ctx->head.session &&
        (cr = fe_kernel_there(ctx->head.session, &f)) != CUDA_SUCCESS)
        return cr;
    body = calloc(1, sizeof(*body));
    if (body == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    body->kernel = (struct fe_node_kernel){
        .function = f,
        .function_wire = f->object.wire,
        .green_wire = green != NULL ? green->object.wire : 0,
        .named = named,
        .grid = {p->gridDimX, p->gridDimY, p->gridDimZ},
        .block = {p->blockDimX, p->blockDimY, p->blockDimZ},
        .shared_bytes = p->sharedMemBytes,
    };
    cr = kernel_check(&body->kernel, ctx);
    if (cr == CUDA_SUCCESS)
        cr = kernel_values(&body->kernel, p->kernelParams, p->extra);
    if (cr != CUDA_SUCCESS) {
        fe_body_free(CU_GRAPH_NODE_TYPE_KERNEL, body);
        return cr;
    }
    *ctx_p = ctx;
    *body_p = body;
    return CUDA_SUCCESS;
}

CUresult
fe_kernel_attribute_set(struct fe_node_kernel *k, unsigned id, const CUlaunchAttributeValue *value)
{
    if (id >= FE_NODE_ATTRIBUTES)
        return CUDA_ERROR_INVALID_VALUE;
    if (id == CU_LAUNCH_ATTRIBUTE_DEVICE_UPDATABLE_KERNEL_NODE)
        return fe_refuse("a graph node that the device may update");
    if (k->attributes == NULL) {
        k->attributes = calloc(FE_NODE_ATTRIBUTES, sizeof(*k->attributes));
        if (k->attributes == NULL)
            return CUDA_ERROR_OUT_OF_MEMORY;
    }
    k->attributes[id] = *value;
    k->attributes_set |= 1u << id;
    return CUDA_SUCCESS;
}

/* -- copies and fills ------------------------------------------------------------------- */

/* A side whose type is UNIFIED becomes what its address says; a device side must be memory of the
 * program. */
static CUresult
settle_side(const struct fe_session *session, struct fe_side *side, const struct fe_shape *shape,
            bool write)
{
    struct fe_alloc *alloc;
    bool shown, locked, device;
    size_t span;

    fe_side_named(side);
    alloc = fe_alloc_around(session, side->base);
    shown = fe_host_shown(side->base, 0);
    locked = write && fe_host_read_only(side->base);
    device = shown || fe_alloc_in_range(alloc, side->base) || fe_alloc_covers(alloc, side->base, 0);

    if (side->type == CU_MEMORYTYPE_ARRAY)
        return fe_array_settle(side, shape);
    /* The server has pages of this memory too (coherent.h). */
    if (side->type == CU_MEMORYTYPE_HOST && !locked && (shown || fe_managed_find(side->base, NULL)))
        side->type = CU_MEMORYTYPE_DEVICE;
    if (side->type != CU_MEMORYTYPE_DEVICE && locked && side->type != CU_MEMORYTYPE_ARRAY)
        return CUDA_ERROR_INVALID_VALUE;
    if (side->type == CU_MEMORYTYPE_UNIFIED)
        side->type = device ? CU_MEMORYTYPE_DEVICE : CU_MEMORYTYPE_HOST;
    if (!fe_side_span(side, shape, &span) || side->base == 0)
        return CUDA_ERROR_INVALID_VALUE;
    if (side->type != CU_MEMORYTYPE_DEVICE || (write ? fe_alloc_writable(alloc, side->base, span)
                                                     : fe_alloc_covers(alloc, side->base, span)))
        return CUDA_SUCCESS;
    return fe_host_shown(side->base, span) && !locked ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

/* A captured copy, as if it had been described. */
static void
describe_copy(const struct fe_copy *c, CUDA_MEMCPY3D *p)
{
    memset(p, 0, sizeof(*p));
    p->srcMemoryType = c->src.type;
    p->srcHost = (const void *)(uintptr_t)c->src.base;
    p->srcDevice = c->src.base;
    p->srcPitch = c->src.pitch;
    p->srcHeight = c->src.pitch != 0 ? c->src.slice / c->src.pitch : 0;
    p->dstMemoryType = c->dst.type;
    p->dstHost = (void *)(uintptr_t)c->dst.base;
    p->dstDevice = c->dst.base;
    p->dstPitch = c->dst.pitch;
    p->dstHeight = c->dst.pitch != 0 ? c->dst.slice / c->dst.pitch : 0;
    p->WidthInBytes = c->shape.width;
    p->Height = c->shape.height;
    p->Depth = c->shape.depth;
    if (c->src.type == CU_MEMORYTYPE_ARRAY) {
        p->srcHost = NULL;
        p->srcDevice = 0;
        p->srcArray = (CUarray)(uintptr_t)c->src.base;
        p->srcXInBytes = c->src.x;
        p->srcY = c->src.y;
        p->srcZ = c->src.z;
    }
    if (c->dst.type == CU_MEMORYTYPE_ARRAY) {
        p->dstHost = NULL;
        p->dstDevice = 0;
        p->dstArray = (CUarray)(uintptr_t)c->dst.base;
        p->dstXInBytes = c->dst.x;
        p->dstY = c->dst.y;
        p->dstZ = c->dst.z;
    }
}

CUresult
fe_body_copy_sides(const struct fe_copy *copy, union fe_node_body **body_p)
{
    *body_p = calloc(1, sizeof(**body_p));
    if (*body_p == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    (*body_p)->copy.copy = *copy;
    describe_copy(copy, &(*body_p)->copy.params);
    return CUDA_SUCCESS;
}

CUresult
fe_body_copy_between(const struct fe_relay_copy *copy, union fe_node_body **body_p)
{
    CUresult cr = fe_body_copy_sides(&copy->copy, body_p);

    if (cr != CUDA_SUCCESS)
        return cr;
    (*body_p)->copy.between = true;
    (*body_p)->copy.dst = copy->dst;
    (*body_p)->copy.src = copy->src;
    return CUDA_SUCCESS;
}

static CUresult
between_params(const CUDA_MEMCPY3D *p, struct fe_context *ctx, const struct fe_copy *copy,
               union fe_node_body **body_p)
{
    struct fe_relay_copy sides;
    CUresult cr = fe_relay_describe(ctx, copy, &sides);

    if (cr == CUDA_SUCCESS)
        cr = fe_body_copy_between(&sides, body_p);
    if (cr == CUDA_SUCCESS)
        (*body_p)->copy.params = *p;
    return cr;
}

CUresult
fe_body_copy_params(const CUDA_MEMCPY3D *p, struct fe_context **ctx_p, union fe_node_body **body_p)
{
    struct fe_state *state = NULL;
    union fe_node_body *body;
    struct fe_copy copy;
    CUresult cr = CUDA_SUCCESS;

    state = fe_state_get(&cr);
    if (state == NULL)
        return cr;
    if (p == NULL || p->srcLOD != 0 || p->dstLOD != 0 || *ctx_p == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    cr = fe_copy_from_3d(p, &copy);
    if (cr == CUDA_SUCCESS && !fe_shape_empty(&copy.shape)) {
        if (fe_relay_is_between(*ctx_p, &copy))
            return between_params(p, *ctx_p, &copy, body_p);
        cr = settle_side((*ctx_p)->head.session, &copy.src, &copy.shape, false);
        if (cr == CUDA_SUCCESS)
            cr = settle_side((*ctx_p)->head.session, &copy.dst, &copy.shape, true);
    }
    if (cr != CUDA_SUCCESS)
        return cr;
    body = calloc(1, sizeof(*body));
    if (body == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    body->copy.params = *p;
    body->copy.copy = copy;
    *body_p = body;
    return CUDA_SUCCESS;
}

/* Pinned memory is shown to the server now, for it looks when the graph is instantiated. */
static CUresult
may_fill(const struct fe_session *session, uint64_t dst, size_t bytes)
{
    const struct fe_call call = {.session = (struct fe_session *)(uintptr_t)session};

    if (fe_elsewhere(&call, dst))
        return fe_refuse("a graph's fill of memory of another server");
    if (fe_alloc_writable(fe_alloc_around(session, dst), dst, bytes))
        return CUDA_SUCCESS;
    if (!fe_host_pinned(dst, bytes) || fe_host_read_only(dst))
        return CUDA_ERROR_INVALID_VALUE;
    fe_host_want(dst);
    return fe_host_show_wanted();
}

CUresult
fe_body_fill(const CUDA_MEMSET_NODE_PARAMS *p, struct fe_context **ctx_p,
             union fe_node_body **body_p)
{
    struct fe_state *state = NULL;
    size_t row, span;
    CUresult cr = CUDA_SUCCESS;

    state = fe_state_get(&cr);
    if (state == NULL)
        return cr;
    if (p == NULL || *ctx_p == NULL ||
        (p->elementSize != 1 && p->elementSize != 2 && p->elementSize != 4) || p->height == 0 ||
        p->dst % p->elementSize != 0 || __builtin_mul_overflow(p->width, p->elementSize, &row))
        return CUDA_ERROR_INVALID_VALUE;
    if (p->width != 0) {
        if (p->height > 1 && (p->pitch < row || p->pitch % p->elementSize != 0))
            return CUDA_ERROR_INVALID_VALUE;
        if (__builtin_mul_overflow(p->pitch, p->height - 1, &span) ||
            __builtin_add_overflow(span, row, &span))
            return CUDA_ERROR_INVALID_VALUE;
        cr = may_fill((*ctx_p)->head.session, fe_device_named(p->dst), span);
        if (cr != CUDA_SUCCESS)
            return cr;
    }
    *body_p = calloc(1, sizeof(**body_p));
    if (*body_p == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    (*body_p)->fill = *p;
    (*body_p)->fill.dst = fe_device_named(p->dst);
    return CUDA_SUCCESS;
}

/* -- the rest --------------------------------------------------------------------------- */

/* As in a stream. Pinned memory is shown to the server now. */
static CUresult
values_there(const struct fe_context *ctx, const CUDA_BATCH_MEM_OP_NODE_PARAMS *p)
{
    const struct fe_call call = {.session =
                                     ctx != NULL ? ctx->head.session : fe_sessions()->list[0]};
    CUresult cr = CUDA_SUCCESS;

    for (unsigned i = 0; i < p->count && cr == CUDA_SUCCESS; i++)
        cr = fe_check_value(&call, &p->paramArray[i]);
    return cr == CUDA_SUCCESS ? fe_host_show_wanted() : cr;
}

CUresult
fe_body_values(const CUDA_BATCH_MEM_OP_NODE_PARAMS *p, struct fe_context **ctx_p,
               union fe_node_body **body_p)
{
    union fe_node_body *body;
    CUresult cr = CUDA_SUCCESS;

    if (p == NULL || p->paramArray == NULL || p->count == 0 || p->count > WIRE_GRAPH_VALUES_MAX ||
        p->flags != 0)
        return CUDA_ERROR_INVALID_VALUE;
    if (p->ctx != NULL)
        cr = fe_context_get(p->ctx, ctx_p);
    if (cr == CUDA_SUCCESS)
        cr = values_there(*ctx_p, p);
    if (cr != CUDA_SUCCESS)
        return cr;
    body = calloc(1, sizeof(*body));
    if (body == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    body->values.count = p->count;
    body->values.flags = p->flags;
    body->values.ops = duplicate(p->paramArray, p->count * sizeof(*p->paramArray));
    if (body->values.ops == NULL) {
        free(body);
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    *body_p = body;
    return CUDA_SUCCESS;
}

CUresult
fe_body_host(const CUDA_HOST_NODE_PARAMS *p, union fe_node_body **body_p)
{
    if (p == NULL || p->fn == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    *body_p = calloc(1, sizeof(**body_p));
    if (*body_p == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    (*body_p)->host = *p;
    return CUDA_SUCCESS;
}

CUresult
fe_body_event(CUevent handle, union fe_node_body **body_p)
{
    struct fe_event *event = fe_object_get(WIRE_HANDLE_EVENT, handle);

    if (event == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    *body_p = calloc(1, sizeof(**body_p));
    if (*body_p == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    (*body_p)->event = event;
    return CUDA_SUCCESS;
}
