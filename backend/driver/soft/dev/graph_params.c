/* backend/driver/soft/dev/graph_params.c -- parameters of nodes, as CUDA's structs have them */
#include "backend/driver/soft/dev/graph.h"
#include "backend/driver/soft/dev/green.h"

#include "backend/driver/soft/dev/span.h"
#include "cuda_api.h"

#include <string.h>

/* --- structs to works --- */

static CUresult
kernel_dims_work(CUcontext ctx, CUfunction func, const struct sd_launch_dims *dims, void **params,
                 void **extra, struct sd_work *work)
{
    GP_USE();
    struct CUfunc_st *fn;
    CUresult cr = sd_function_get(func, ctx, &fn);

    if (cr == CUDA_SUCCESS)
        cr = sd_ctx_check(fn->mod->ctx);
    if (cr != CUDA_SUCCESS)
        return cr;
    memset(work, 0, sizeof(*work));
    work->ctx = fn->mod->ctx;
    cr = sd_launch_make(fn, dims, params, extra, &work->kernel);
    if (cr == CUDA_SUCCESS)
        work->kind = SD_WORK_KERNEL;
    return cr;
}

CUresult
sd_kernel_params_work(const CUDA_KERNEL_NODE_PARAMS *p, CUcontext ctx, struct sd_work *work)
{
    struct sd_launch_dims dims = {
        .grid = {p->gridDimX, p->gridDimY, p->gridDimZ},
        .block = {p->blockDimX, p->blockDimY, p->blockDimZ},
        .shared_bytes = p->sharedMemBytes,
    };
    CUfunction func = p->func != NULL ? p->func : (CUfunction)p->kern;

    if (p->ctx != NULL) {
        CUgreenCtx green;
        CUresult cr = sd_green_resolve(p->ctx, &ctx, &green);

        if (cr != CUDA_SUCCESS)
            return cr;
        dims.sms = green != NULL ? green->desc : NULL;
    }
    return kernel_dims_work(ctx, func, &dims, p->kernelParams, p->extra, work);
}

CUresult
sd_memcpy_params_work(const CUDA_MEMCPY3D *p, CUcontext ctx, struct sd_work *work)
{
    struct sd_side src, dst;
    struct sd_box box;
    bool pageable[2];

    if (p->srcLOD != 0 || p->dstLOD != 0)
        return CUDA_ERROR_INVALID_VALUE;
    memset(work, 0, sizeof(*work));
    work->ctx = ctx;
    sd_copy_sides(p, &src, &dst, &box);
    work->kind = SD_WORK_COPY;
    return sd_copy_make(&src, &dst, &box, &work->copy, pageable);
}

CUresult
sd_memset_params_work(const CUDA_MEMSET_NODE_PARAMS *p, CUcontext ctx, struct sd_work *work)
{
    if ((p->elementSize != 1 && p->elementSize != 2 && p->elementSize != 4) || p->height == 0)
        return CUDA_ERROR_INVALID_VALUE;
    memset(work, 0, sizeof(*work));
    work->ctx = ctx;
    work->kind = SD_WORK_FILL;
    return sd_fill_make(p->dst, p->pitch, p->elementSize, p->value, p->width, p->height,
                        &work->fill);
}

CUresult
sd_values_params_work(const CUDA_BATCH_MEM_OP_NODE_PARAMS *p, CUcontext ctx, struct sd_work *work)
{
    if (p->paramArray == NULL || p->count == 0 || p->count > 256 || p->flags != 0)
        return CUDA_ERROR_INVALID_VALUE;
    for (unsigned i = 0; i < p->count; i++)
        if (sd_value_op_check(&p->paramArray[i]) != CUDA_SUCCESS)
            return CUDA_ERROR_INVALID_VALUE;
    memset(work, 0, sizeof(*work));
    work->ctx = p->ctx != NULL ? p->ctx : ctx;
    work->values.ops = malloc(p->count * sizeof(*p->paramArray));
    if (work->values.ops == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    memcpy(work->values.ops, p->paramArray, p->count * sizeof(*p->paramArray));
    work->values.count = p->count;
    work->kind = SD_WORK_VALUES;
    return CUDA_SUCCESS;
}

/* --- works into nodes; the lock is held --- */

static void
node_take_work(CUgraphNode node, const struct sd_work *work)
{
    sd_work_fini(&node->work);
    node->work = *work;
    node->ctx = work->ctx;
    free(node->kernel_params);
    node->kernel_params = NULL;
}

CUresult
sd_node_apply_attribute(CUgraphNode node, unsigned id)
{
    const CUlaunchAttributeValue *value = &node->attributes[id];

    if (id == CU_LAUNCH_ATTRIBUTE_COOPERATIVE)
        node->work.kernel.cooperative = value->cooperative != 0;
    if (id == CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION) {
        node->work.kernel.explicit_cluster = true;
        node->work.kernel.cluster[0] = value->clusterDim.x;
        node->work.kernel.cluster[1] = value->clusterDim.y;
        node->work.kernel.cluster[2] = value->clusterDim.z;
    }
    return CUDA_SUCCESS;
}

CUresult
sd_node_take_attribute(CUgraphNode node, unsigned id, const CUlaunchAttributeValue *value)
{
    switch (id) {
    case CU_LAUNCH_ATTRIBUTE_IGNORE:
    case CU_LAUNCH_ATTRIBUTE_SYNCHRONIZATION_POLICY:
    case CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION: /* a matter of edges */
    case CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_EVENT:
    case CU_LAUNCH_ATTRIBUTE_LAUNCH_COMPLETION_EVENT:
        return CUDA_SUCCESS;
    default:
        node->attributes[id] = *value;
        node->attributes_set |= 1u << id;
        return sd_node_apply_attribute(node, id);
    }
}

CUresult
sd_node_set_kernel(CUgraphNode node, const CUDA_KERNEL_NODE_PARAMS *p)
{
    struct sd_work work;
    CUresult cr = sd_kernel_params_work(p, node->ctx, &work);

    if (cr != CUDA_SUCCESS)
        return cr;
    node_take_work(node, &work);
    node->function = p->func != NULL ? p->func : (CUfunction)p->kern;
    for (unsigned id = 0; id < SD_NODE_ATTRIBUTES; id++)
        if ((node->attributes_set & (1u << id)) != 0)
            (void)sd_node_apply_attribute(node, id);
    return CUDA_SUCCESS;
}

CUresult
sd_node_set_memcpy(CUgraphNode node, const CUDA_MEMCPY3D *p, CUcontext ctx)
{
    struct sd_work work;
    CUresult cr = sd_memcpy_params_work(p, ctx, &work);

    if (cr != CUDA_SUCCESS)
        return cr;
    node_take_work(node, &work);
    node->memcpy_params = *p;
    return CUDA_SUCCESS;
}

CUresult
sd_node_set_memset(CUgraphNode node, const CUDA_MEMSET_NODE_PARAMS *p, CUcontext ctx)
{
    struct sd_work work;
    CUresult cr = sd_memset_params_work(p, ctx, &work);

    if (cr != CUDA_SUCCESS)
        return cr;
    node_take_work(node, &work);
    node->memset_params = *p;
    return CUDA_SUCCESS;
}

CUresult
sd_node_set_values(CUgraphNode node, const CUDA_BATCH_MEM_OP_NODE_PARAMS *p)
{
    struct sd_work work;
    CUresult cr = sd_values_params_work(p, node->ctx, &work);

    if (cr == CUDA_SUCCESS)
        node_take_work(node, &work);
    return cr;
}

/* --- entry points: parameters of existing nodes --- */

/* Takes the lock; release it whatever comes back. */
static CUresult
node_enter(CUgraphNode node, CUgraphNodeType type)
{
    sd_graph_lock();
    if (sd_ready() != CUDA_SUCCESS)
        return CUDA_ERROR_NOT_INITIALIZED;
    return sd_object_is(node, SD_NODE) && node->type == type ? CUDA_SUCCESS
                                                             : CUDA_ERROR_INVALID_VALUE;
}

static CUresult
kernel_params_of(CUgraphNode node, CUDA_KERNEL_NODE_PARAMS *p)
{
    const struct sd_kernel_work *k = &node->work.kernel;
    const struct sd_kernel *kernel = k->fn->kernel;

    if (node->kernel_params == NULL && kernel->nparams != 0) {
        node->kernel_params = calloc(kernel->nparams, sizeof(*node->kernel_params));
        if (node->kernel_params == NULL)
            return CUDA_ERROR_OUT_OF_MEMORY;
        for (uint32_t i = 0; i < kernel->nparams; i++)
            node->kernel_params[i] = k->params + kernel->params[i].offset;
    }
    memset(p, 0, sizeof(*p));
    p->func = sd_object_is(node->function, SD_KERNEL) ? NULL : node->function;
    p->kern = sd_object_is(node->function, SD_KERNEL) ? (CUkernel)node->function : k->fn->kern;
    if (p->func == NULL)
        p->func = k->fn;
    p->gridDimX = k->grid[0];
    p->gridDimY = k->grid[1];
    p->gridDimZ = k->grid[2];
    p->blockDimX = k->block[0];
    p->blockDimY = k->block[1];
    p->blockDimZ = k->block[2];
    p->sharedMemBytes = k->shared_bytes;
    p->kernelParams = node->kernel_params;
    p->ctx = node->work.ctx;
    return CUDA_SUCCESS;
}

GP_EXPORT CUresult
cuGraphKernelNodeGetParams_v2(CUgraphNode hNode, CUDA_KERNEL_NODE_PARAMS *nodeParams)
{
    CUresult cr = node_enter(hNode, CU_GRAPH_NODE_TYPE_KERNEL);

    if (cr == CUDA_SUCCESS)
        cr = nodeParams != NULL ? kernel_params_of(hNode, nodeParams) : CUDA_ERROR_INVALID_VALUE;
    sd_graph_unlock();
    return cr;
}

GP_EXPORT CUresult
cuGraphKernelNodeGetParams(CUgraphNode hNode, CUDA_KERNEL_NODE_PARAMS_v1 *nodeParams)
{
    CUDA_KERNEL_NODE_PARAMS p;
    CUresult cr = cuGraphKernelNodeGetParams_v2(hNode, &p);

    if (cr != CUDA_SUCCESS)
        return cr;
    if (nodeParams == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    memcpy(nodeParams, &p, sizeof(*nodeParams)); /* the second version only added members */
    return CUDA_SUCCESS;
}

GP_EXPORT CUresult
cuGraphKernelNodeSetParams_v2(CUgraphNode hNode, const CUDA_KERNEL_NODE_PARAMS *nodeParams)
{
    CUresult cr = node_enter(hNode, CU_GRAPH_NODE_TYPE_KERNEL);

    if (cr == CUDA_SUCCESS)
        cr = nodeParams != NULL ? sd_node_set_kernel(hNode, nodeParams) : CUDA_ERROR_INVALID_VALUE;
    sd_graph_unlock();
    return cr;
}

GP_EXPORT CUresult
cuGraphKernelNodeSetParams(CUgraphNode hNode, const CUDA_KERNEL_NODE_PARAMS_v1 *nodeParams)
{
    CUDA_KERNEL_NODE_PARAMS p = {0};

    if (nodeParams == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    memcpy(&p, nodeParams, sizeof(*nodeParams));
    return cuGraphKernelNodeSetParams_v2(hNode, &p);
}

GP_EXPORT CUresult
cuGraphKernelNodeSetAttribute(CUgraphNode hNode, CUkernelNodeAttrID attr,
                              const CUkernelNodeAttrValue *value)
{
    CUresult cr = node_enter(hNode, CU_GRAPH_NODE_TYPE_KERNEL);

    if (cr == CUDA_SUCCESS && (value == NULL || (unsigned)attr >= SD_NODE_ATTRIBUTES))
        cr = CUDA_ERROR_INVALID_VALUE;
    if (cr == CUDA_SUCCESS && attr == CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION &&
        (value->clusterDim.x == 0 || value->clusterDim.y == 0 || value->clusterDim.z == 0))
        cr = CUDA_ERROR_INVALID_VALUE;
    if (cr == CUDA_SUCCESS && attr == CU_LAUNCH_ATTRIBUTE_DEVICE_UPDATABLE_KERNEL_NODE)
        cr = sd_refuse("cuGraphKernelNodeSetAttribute of a node that the device may update");
    if (cr == CUDA_SUCCESS) {
        hNode->attributes[attr] = *value;
        hNode->attributes_set |= 1u << attr;
        cr = sd_node_apply_attribute(hNode, attr);
    }
    sd_graph_unlock();
    return cr;
}

GP_EXPORT CUresult
cuGraphKernelNodeGetAttribute(CUgraphNode hNode, CUkernelNodeAttrID attr,
                              CUkernelNodeAttrValue *value_out)
{
    CUresult cr = node_enter(hNode, CU_GRAPH_NODE_TYPE_KERNEL);

    if (cr == CUDA_SUCCESS && (value_out == NULL || (unsigned)attr >= SD_NODE_ATTRIBUTES))
        cr = CUDA_ERROR_INVALID_VALUE;
    if (cr == CUDA_SUCCESS) {
        *value_out = hNode->attributes[attr];
        if (attr == CU_LAUNCH_ATTRIBUTE_COOPERATIVE)
            value_out->cooperative = hNode->work.kernel.cooperative;
    }
    sd_graph_unlock();
    return cr;
}

GP_EXPORT CUresult
cuGraphKernelNodeCopyAttributes(CUgraphNode dst, CUgraphNode src)
{
    CUresult cr = node_enter(dst, CU_GRAPH_NODE_TYPE_KERNEL);

    if (cr == CUDA_SUCCESS &&
        (!sd_object_is(src, SD_NODE) || src->type != CU_GRAPH_NODE_TYPE_KERNEL))
        cr = CUDA_ERROR_INVALID_VALUE;
    if (cr == CUDA_SUCCESS) {
        memcpy(dst->attributes, src->attributes, sizeof(dst->attributes));
        dst->attributes_set = src->attributes_set;
        for (unsigned id = 0; id < SD_NODE_ATTRIBUTES; id++)
            if ((dst->attributes_set & (1u << id)) != 0)
                (void)sd_node_apply_attribute(dst, id);
    }
    sd_graph_unlock();
    return cr;
}

GP_EXPORT CUresult
cuGraphMemcpyNodeGetParams(CUgraphNode hNode, CUDA_MEMCPY3D *nodeParams)
{
    CUresult cr = node_enter(hNode, CU_GRAPH_NODE_TYPE_MEMCPY);

    if (cr == CUDA_SUCCESS && nodeParams == NULL)
        cr = CUDA_ERROR_INVALID_VALUE;
    if (cr == CUDA_SUCCESS)
        *nodeParams = hNode->memcpy_params;
    sd_graph_unlock();
    return cr;
}

GP_EXPORT CUresult
cuGraphMemcpyNodeSetParams(CUgraphNode hNode, const CUDA_MEMCPY3D *nodeParams)
{
    CUresult cr = node_enter(hNode, CU_GRAPH_NODE_TYPE_MEMCPY);

    if (cr == CUDA_SUCCESS)
        cr = nodeParams != NULL ? sd_node_set_memcpy(hNode, nodeParams, hNode->ctx)
                                : CUDA_ERROR_INVALID_VALUE;
    sd_graph_unlock();
    return cr;
}

GP_EXPORT CUresult
cuGraphMemsetNodeGetParams(CUgraphNode hNode, CUDA_MEMSET_NODE_PARAMS *nodeParams)
{
    CUresult cr = node_enter(hNode, CU_GRAPH_NODE_TYPE_MEMSET);

    if (cr == CUDA_SUCCESS && nodeParams == NULL)
        cr = CUDA_ERROR_INVALID_VALUE;
    if (cr == CUDA_SUCCESS)
        *nodeParams = hNode->memset_params;
    sd_graph_unlock();
    return cr;
}

GP_EXPORT CUresult
cuGraphMemsetNodeSetParams(CUgraphNode hNode, const CUDA_MEMSET_NODE_PARAMS *nodeParams)
{
    CUresult cr = node_enter(hNode, CU_GRAPH_NODE_TYPE_MEMSET);

    if (cr == CUDA_SUCCESS)
        cr = nodeParams != NULL ? sd_node_set_memset(hNode, nodeParams, hNode->ctx)
                                : CUDA_ERROR_INVALID_VALUE;
    sd_graph_unlock();
    return cr;
}

GP_EXPORT CUresult
cuGraphHostNodeGetParams(CUgraphNode hNode, CUDA_HOST_NODE_PARAMS *nodeParams)
{
    CUresult cr = node_enter(hNode, CU_GRAPH_NODE_TYPE_HOST);

    if (cr == CUDA_SUCCESS && nodeParams == NULL)
        cr = CUDA_ERROR_INVALID_VALUE;
    if (cr == CUDA_SUCCESS) {
        nodeParams->fn = hNode->work.host.fn;
        nodeParams->userData = hNode->work.host.user;
    }
    sd_graph_unlock();
    return cr;
}

GP_EXPORT CUresult
cuGraphHostNodeSetParams(CUgraphNode hNode, const CUDA_HOST_NODE_PARAMS *nodeParams)
{
    CUresult cr = node_enter(hNode, CU_GRAPH_NODE_TYPE_HOST);

    if (cr == CUDA_SUCCESS && (nodeParams == NULL || nodeParams->fn == NULL))
        cr = CUDA_ERROR_INVALID_VALUE;
    if (cr == CUDA_SUCCESS) {
        hNode->work.host.fn = nodeParams->fn;
        hNode->work.host.user = nodeParams->userData;
    }
    sd_graph_unlock();
    return cr;
}

GP_EXPORT CUresult
cuGraphChildGraphNodeGetGraph(CUgraphNode hNode, CUgraph *phGraph)
{
    CUresult cr = node_enter(hNode, CU_GRAPH_NODE_TYPE_GRAPH);

    if (cr == CUDA_SUCCESS && phGraph == NULL)
        cr = CUDA_ERROR_INVALID_VALUE;
    if (cr == CUDA_SUCCESS)
        *phGraph = hNode->child;
    sd_graph_unlock();
    return cr;
}

static CUresult
event_node(CUgraphNode node, CUgraphNodeType type, CUevent *out, CUevent in)
{
    CUresult cr = node_enter(node, type);

    if (cr == CUDA_SUCCESS && out == NULL && !sd_object_is(in, SD_EVENT))
        cr = CUDA_ERROR_INVALID_VALUE;
    if (cr == CUDA_SUCCESS) {
        if (out != NULL)
            *out = node->event;
        else
            node->event = in;
    }
    sd_graph_unlock();
    return cr;
}

GP_EXPORT CUresult
cuGraphEventRecordNodeGetEvent(CUgraphNode hNode, CUevent *event_out)
{
    if (event_out == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    return event_node(hNode, CU_GRAPH_NODE_TYPE_EVENT_RECORD, event_out, NULL);
}

GP_EXPORT CUresult
cuGraphEventRecordNodeSetEvent(CUgraphNode hNode, CUevent event)
{
    return event_node(hNode, CU_GRAPH_NODE_TYPE_EVENT_RECORD, NULL, event);
}

GP_EXPORT CUresult
cuGraphEventWaitNodeGetEvent(CUgraphNode hNode, CUevent *event_out)
{
    if (event_out == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    return event_node(hNode, CU_GRAPH_NODE_TYPE_WAIT_EVENT, event_out, NULL);
}

GP_EXPORT CUresult
cuGraphEventWaitNodeSetEvent(CUgraphNode hNode, CUevent event)
{
    return event_node(hNode, CU_GRAPH_NODE_TYPE_WAIT_EVENT, NULL, event);
}

GP_EXPORT CUresult
cuGraphMemAllocNodeGetParams(CUgraphNode hNode, CUDA_MEM_ALLOC_NODE_PARAMS *params_out)
{
    CUresult cr = node_enter(hNode, CU_GRAPH_NODE_TYPE_MEM_ALLOC);

    if (cr == CUDA_SUCCESS && params_out == NULL)
        cr = CUDA_ERROR_INVALID_VALUE;
    if (cr == CUDA_SUCCESS)
        *params_out = hNode->alloc_params;
    sd_graph_unlock();
    return cr;
}

GP_EXPORT CUresult
cuGraphMemFreeNodeGetParams(CUgraphNode hNode, CUdeviceptr *dptr_out)
{
    CUresult cr = node_enter(hNode, CU_GRAPH_NODE_TYPE_MEM_FREE);

    if (cr == CUDA_SUCCESS && dptr_out == NULL)
        cr = CUDA_ERROR_INVALID_VALUE;
    if (cr == CUDA_SUCCESS)
        *dptr_out = hNode->freed;
    sd_graph_unlock();
    return cr;
}

GP_EXPORT CUresult
cuGraphBatchMemOpNodeGetParams(CUgraphNode hNode, CUDA_BATCH_MEM_OP_NODE_PARAMS *nodeParams_out)
{
    CUresult cr = node_enter(hNode, CU_GRAPH_NODE_TYPE_BATCH_MEM_OP);

    if (cr == CUDA_SUCCESS && nodeParams_out == NULL)
        cr = CUDA_ERROR_INVALID_VALUE;
    if (cr == CUDA_SUCCESS)
        *nodeParams_out = (CUDA_BATCH_MEM_OP_NODE_PARAMS){hNode->work.ctx, hNode->work.values.count,
                                                          hNode->work.values.ops, 0};
    sd_graph_unlock();
    return cr;
}

GP_EXPORT CUresult
cuGraphBatchMemOpNodeSetParams(CUgraphNode hNode, const CUDA_BATCH_MEM_OP_NODE_PARAMS *nodeParams)
{
    CUresult cr = node_enter(hNode, CU_GRAPH_NODE_TYPE_BATCH_MEM_OP);

    if (cr == CUDA_SUCCESS)
        cr = nodeParams != NULL ? sd_node_set_values(hNode, nodeParams) : CUDA_ERROR_INVALID_VALUE;
    sd_graph_unlock();
    return cr;
}

GP_EXPORT CUresult
cuGraphNodeSetParams(CUgraphNode hNode, CUgraphNodeParams *nodeParams)
{
    CUDA_MEMSET_NODE_PARAMS set;

    if (nodeParams == NULL || !sd_object_is(hNode, SD_NODE) || hNode->type != nodeParams->type)
        return CUDA_ERROR_INVALID_VALUE;
    switch (nodeParams->type) {
    case CU_GRAPH_NODE_TYPE_KERNEL: {
        CUDA_KERNEL_NODE_PARAMS p;

        memcpy(&p, &nodeParams->kernel, sizeof(p));
        return cuGraphKernelNodeSetParams_v2(hNode, &p);
    }
    case CU_GRAPH_NODE_TYPE_MEMCPY:
        return cuGraphMemcpyNodeSetParams(hNode, &nodeParams->memcpy.copyParams);
    case CU_GRAPH_NODE_TYPE_MEMSET:
        memcpy(&set, &nodeParams->memset, sizeof(set));
        return cuGraphMemsetNodeSetParams(hNode, &set);
    case CU_GRAPH_NODE_TYPE_HOST: {
        CUDA_HOST_NODE_PARAMS p = {nodeParams->host.fn, nodeParams->host.userData};

        return cuGraphHostNodeSetParams(hNode, &p);
    }
    case CU_GRAPH_NODE_TYPE_WAIT_EVENT:
        return cuGraphEventWaitNodeSetEvent(hNode, nodeParams->eventWait.event);
    case CU_GRAPH_NODE_TYPE_EVENT_RECORD:
        return cuGraphEventRecordNodeSetEvent(hNode, nodeParams->eventRecord.event);
    default:
        return CUDA_ERROR_NOT_SUPPORTED;
    }
}
