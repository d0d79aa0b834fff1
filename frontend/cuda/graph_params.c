/* frontend/cuda/graph_params.c -- parameters and attributes of existing nodes */
#include "cuda_api.h"
#include "frontend/core/stats.h"
#include "frontend/cuda/graph.h"
#include "frontend/cuda/state.h"
#include "protocol/base/util.h"

#include <stdlib.h>
#include <string.h>

/* Takes the lock whatever comes back; the node if it is of that type. */
static CUresult
enter(CUgraphNode handle, CUgraphNodeType type, struct fe_node **node_p)
{
    CUresult cr = CUDA_SUCCESS;

    FE_COUNT_LOCAL();
    (void)fe_state_get(&cr);
    fe_graph_lock();
    *node_p = fe_node_get(handle);
    if (cr == CUDA_SUCCESS && (*node_p == NULL || (*node_p)->type != type))
        cr = CUDA_ERROR_INVALID_VALUE;
    return cr;
}

static CUresult
leave(CUresult cr)
{
    fe_graph_unlock();
    return cr;
}

/* The node's context, for new parameters of it; NULL if there is no such node. */
static struct fe_context *
context_of(CUgraphNode handle)
{
    struct fe_node *node;
    struct fe_context *ctx = NULL;

    fe_graph_lock();
    node = fe_node_get(handle);
    if (node != NULL)
        ctx = node->ctx;
    fe_graph_unlock();
    return ctx != NULL ? ctx : fe_context_current();
}

/* The new body takes the place of the old one, if cr is success. */
static CUresult
replace(CUgraphNode handle, CUgraphNodeType type, struct fe_context *ctx, CUresult cr,
        union fe_node_body *body)
{
    struct fe_node *node;
    CUresult entered = enter(handle, type, &node);

    if (entered != CUDA_SUCCESS || cr != CUDA_SUCCESS) {
        fe_body_free(type, body);
        return leave(entered != CUDA_SUCCESS ? entered : cr);
    }
    if (type == CU_GRAPH_NODE_TYPE_KERNEL) { /* attributes stay */
        body->kernel.attributes = node->body->kernel.attributes;
        body->kernel.attributes_set = node->body->kernel.attributes_set;
        node->body->kernel.attributes = NULL;
    }
    fe_body_free(type, node->body);
    node->body = body;
    if (ctx != NULL) {
        node->ctx = ctx;
        node->ctx_wire = ctx->head.object.wire;
    }
    return leave(CUDA_SUCCESS);
}

/* -- kernels ---------------------------------------------------------------------------- */

static CUresult
kernel_pointers(struct fe_node_kernel *k)
{
    const struct fe_function *f = k->function;
    uint32_t at = 0;

    if (k->pointers != NULL || f->nparams == 0)
        return CUDA_SUCCESS;
    k->pointers = calloc(f->nparams, sizeof(*k->pointers));
    if (k->pointers == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    for (uint32_t i = 0; i < f->nparams; i++) {
        k->pointers[i] = k->values + (k->extra ? f->params[i].offset : at);
        at += f->params[i].bytes;
    }
    return CUDA_SUCCESS;
}

static CUresult
kernel_params(struct fe_node *node, CUDA_KERNEL_NODE_PARAMS *p)
{
    struct fe_node_kernel *k = &node->body->kernel;
    CUresult cr = kernel_pointers(k);

    if (cr != CUDA_SUCCESS)
        return cr;
    memset(p, 0, sizeof(*p));
    p->func = k->named;
    p->kern = fe_object_get(WIRE_HANDLE_KERNEL, k->function);
    if (p->kern != NULL && (void *)k->named == (void *)p->kern &&
        cuKernelGetFunction(&p->func, p->kern) != CUDA_SUCCESS)
        p->func = NULL;
    p->gridDimX = k->grid[0];
    p->gridDimY = k->grid[1];
    p->gridDimZ = k->grid[2];
    p->blockDimX = k->block[0];
    p->blockDimY = k->block[1];
    p->blockDimZ = k->block[2];
    p->sharedMemBytes = k->shared_bytes;
    p->kernelParams = k->pointers;
    p->ctx = (CUcontext)node->ctx;
    return CUDA_SUCCESS;
}

GP_EXPORT CUresult
cuGraphKernelNodeGetParams_v2(CUgraphNode handle, CUDA_KERNEL_NODE_PARAMS *params)
{
    struct fe_node *node;
    CUresult cr = enter(handle, CU_GRAPH_NODE_TYPE_KERNEL, &node);

    if (cr == CUDA_SUCCESS)
        cr = params != NULL ? kernel_params(node, params) : CUDA_ERROR_INVALID_VALUE;
    return leave(cr);
}

GP_EXPORT CUresult
cuGraphKernelNodeGetParams(CUgraphNode handle, CUDA_KERNEL_NODE_PARAMS_v1 *params)
{
    CUDA_KERNEL_NODE_PARAMS p;
    CUresult cr = cuGraphKernelNodeGetParams_v2(handle, &p);

    if (cr != CUDA_SUCCESS)
        return cr;
    if (params == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    memcpy(params, &p, sizeof(*params)); /* the second version only added members */
    return CUDA_SUCCESS;
}

GP_EXPORT CUresult
cuGraphKernelNodeSetParams_v2(CUgraphNode handle, const CUDA_KERNEL_NODE_PARAMS *params)
{
    struct fe_context *ctx = context_of(handle);
    union fe_node_body *body = NULL;
    CUresult cr = CUDA_SUCCESS;

    if (fe_state_get(&cr) == NULL)
        return cr;
    if (params == NULL || fe_node_get(handle) == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    cr = fe_body_kernel(params, &ctx, &body);
    return replace(handle, CU_GRAPH_NODE_TYPE_KERNEL, ctx, cr, body);
}

GP_EXPORT CUresult
cuGraphKernelNodeSetParams(CUgraphNode handle, const CUDA_KERNEL_NODE_PARAMS_v1 *params)
{
    CUDA_KERNEL_NODE_PARAMS p = {0};

    if (params == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    memcpy(&p, params, sizeof(*params));
    return cuGraphKernelNodeSetParams_v2(handle, &p);
}

GP_EXPORT CUresult
cuGraphKernelNodeSetAttribute(CUgraphNode handle, CUkernelNodeAttrID attribute,
                              const CUkernelNodeAttrValue *value)
{
    struct fe_node *node;
    CUresult cr = enter(handle, CU_GRAPH_NODE_TYPE_KERNEL, &node);

    if (cr == CUDA_SUCCESS && value == NULL)
        cr = CUDA_ERROR_INVALID_VALUE;
    if (cr == CUDA_SUCCESS)
        cr = fe_kernel_attribute_set(&node->body->kernel, (unsigned)attribute, value);
    return leave(cr);
}

GP_EXPORT CUresult
cuGraphKernelNodeGetAttribute(CUgraphNode handle, CUkernelNodeAttrID attribute,
                              CUkernelNodeAttrValue *value)
{
    struct fe_node *node;
    CUresult cr = enter(handle, CU_GRAPH_NODE_TYPE_KERNEL, &node);

    if (cr == CUDA_SUCCESS && (value == NULL || (unsigned)attribute >= FE_NODE_ATTRIBUTES))
        cr = CUDA_ERROR_INVALID_VALUE;
    if (cr == CUDA_SUCCESS && node->body->kernel.attributes != NULL)
        *value = node->body->kernel.attributes[attribute];
    else if (cr == CUDA_SUCCESS)
        memset(value, 0, sizeof(*value));
    return leave(cr);
}

GP_EXPORT CUresult
cuGraphKernelNodeCopyAttributes(CUgraphNode dst, CUgraphNode src)
{
    struct fe_node *to, *from;
    CUresult cr = enter(dst, CU_GRAPH_NODE_TYPE_KERNEL, &to);

    from = fe_node_get(src);
    if (cr == CUDA_SUCCESS && (from == NULL || from->type != CU_GRAPH_NODE_TYPE_KERNEL))
        cr = CUDA_ERROR_INVALID_VALUE;
    if (cr == CUDA_SUCCESS)
        to->body->kernel.attributes_set = 0;
    for (unsigned id = 0; cr == CUDA_SUCCESS && id < FE_NODE_ATTRIBUTES; id++)
        if ((from->body->kernel.attributes_set & (1u << id)) != 0)
            cr = fe_kernel_attribute_set(&to->body->kernel, id, &from->body->kernel.attributes[id]);
    return leave(cr);
}

/* -- the others ------------------------------------------------------------------------- */

GP_EXPORT CUresult
cuGraphMemcpyNodeGetParams(CUgraphNode handle, CUDA_MEMCPY3D *params)
{
    struct fe_node *node;
    CUresult cr = enter(handle, CU_GRAPH_NODE_TYPE_MEMCPY, &node);

    if (cr == CUDA_SUCCESS && params == NULL)
        cr = CUDA_ERROR_INVALID_VALUE;
    if (cr == CUDA_SUCCESS)
        *params = node->body->copy.params;
    return leave(cr);
}

GP_EXPORT CUresult
cuGraphMemcpyNodeSetParams(CUgraphNode handle, const CUDA_MEMCPY3D *params)
{
    struct fe_context *ctx = context_of(handle);
    union fe_node_body *body = NULL;
    CUresult cr = fe_body_copy_params(params, &ctx, &body);

    return replace(handle, CU_GRAPH_NODE_TYPE_MEMCPY, NULL, cr, body);
}

GP_EXPORT CUresult
cuGraphMemsetNodeGetParams(CUgraphNode handle, CUDA_MEMSET_NODE_PARAMS *params)
{
    struct fe_node *node;
    CUresult cr = enter(handle, CU_GRAPH_NODE_TYPE_MEMSET, &node);

    if (cr == CUDA_SUCCESS && params == NULL)
        cr = CUDA_ERROR_INVALID_VALUE;
    if (cr == CUDA_SUCCESS)
        *params = node->body->fill;
    return leave(cr);
}

GP_EXPORT CUresult
cuGraphMemsetNodeSetParams(CUgraphNode handle, const CUDA_MEMSET_NODE_PARAMS *params)
{
    struct fe_context *ctx = context_of(handle);
    union fe_node_body *body = NULL;
    CUresult cr = fe_body_fill(params, &ctx, &body);

    return replace(handle, CU_GRAPH_NODE_TYPE_MEMSET, NULL, cr, body);
}

GP_EXPORT CUresult
cuGraphHostNodeGetParams(CUgraphNode handle, CUDA_HOST_NODE_PARAMS *params)
{
    struct fe_node *node;
    CUresult cr = enter(handle, CU_GRAPH_NODE_TYPE_HOST, &node);

    if (cr == CUDA_SUCCESS && params == NULL)
        cr = CUDA_ERROR_INVALID_VALUE;
    if (cr == CUDA_SUCCESS)
        *params = node->body->host;
    return leave(cr);
}

GP_EXPORT CUresult
cuGraphHostNodeSetParams(CUgraphNode handle, const CUDA_HOST_NODE_PARAMS *params)
{
    union fe_node_body *body = NULL;
    CUresult cr = fe_body_host(params, &body);

    return replace(handle, CU_GRAPH_NODE_TYPE_HOST, NULL, cr, body);
}

GP_EXPORT CUresult
cuGraphChildGraphNodeGetGraph(CUgraphNode handle, CUgraph *graph)
{
    struct fe_node *node;
    CUresult cr = enter(handle, CU_GRAPH_NODE_TYPE_GRAPH, &node);

    if (cr == CUDA_SUCCESS && graph == NULL)
        cr = CUDA_ERROR_INVALID_VALUE;
    if (cr == CUDA_SUCCESS)
        *graph = (CUgraph)node->body->child;
    return leave(cr);
}

static CUresult
get_event(CUgraphNode handle, CUgraphNodeType type, CUevent *event)
{
    struct fe_node *node;
    CUresult cr = enter(handle, type, &node);

    if (cr == CUDA_SUCCESS && event == NULL)
        cr = CUDA_ERROR_INVALID_VALUE;
    if (cr == CUDA_SUCCESS)
        *event = (CUevent)node->body->event;
    return leave(cr);
}

static CUresult
set_event(CUgraphNode handle, CUgraphNodeType type, CUevent event)
{
    union fe_node_body *body = NULL;
    CUresult cr = fe_body_event(event, &body);

    return replace(handle, type, NULL, cr, body);
}

GP_EXPORT CUresult
cuGraphEventRecordNodeGetEvent(CUgraphNode node, CUevent *event)
{
    return get_event(node, CU_GRAPH_NODE_TYPE_EVENT_RECORD, event);
}

GP_EXPORT CUresult
cuGraphEventRecordNodeSetEvent(CUgraphNode node, CUevent event)
{
    return set_event(node, CU_GRAPH_NODE_TYPE_EVENT_RECORD, event);
}

GP_EXPORT CUresult
cuGraphEventWaitNodeGetEvent(CUgraphNode node, CUevent *event)
{
    return get_event(node, CU_GRAPH_NODE_TYPE_WAIT_EVENT, event);
}

GP_EXPORT CUresult
cuGraphEventWaitNodeSetEvent(CUgraphNode node, CUevent event)
{
    return set_event(node, CU_GRAPH_NODE_TYPE_WAIT_EVENT, event);
}

GP_EXPORT CUresult
cuGraphMemAllocNodeGetParams(CUgraphNode handle, CUDA_MEM_ALLOC_NODE_PARAMS *params)
{
    struct fe_node *node;
    CUresult cr = enter(handle, CU_GRAPH_NODE_TYPE_MEM_ALLOC, &node);

    if (cr == CUDA_SUCCESS && params == NULL)
        cr = CUDA_ERROR_INVALID_VALUE;
    if (cr == CUDA_SUCCESS)
        *params = node->body->alloc.params;
    return leave(cr);
}

GP_EXPORT CUresult
cuGraphMemFreeNodeGetParams(CUgraphNode handle, CUdeviceptr *address)
{
    struct fe_node *node;
    CUresult cr = enter(handle, CU_GRAPH_NODE_TYPE_MEM_FREE, &node);

    if (cr == CUDA_SUCCESS && address == NULL)
        cr = CUDA_ERROR_INVALID_VALUE;
    if (cr == CUDA_SUCCESS)
        *address = node->body->freed;
    return leave(cr);
}

GP_EXPORT CUresult
cuGraphBatchMemOpNodeGetParams(CUgraphNode handle, CUDA_BATCH_MEM_OP_NODE_PARAMS *params)
{
    struct fe_node *node;
    CUresult cr = enter(handle, CU_GRAPH_NODE_TYPE_BATCH_MEM_OP, &node);

    if (cr == CUDA_SUCCESS && params == NULL)
        cr = CUDA_ERROR_INVALID_VALUE;
    if (cr == CUDA_SUCCESS)
        *params = (CUDA_BATCH_MEM_OP_NODE_PARAMS){(CUcontext)node->ctx, node->body->values.count,
                                                  node->body->values.ops, node->body->values.flags};
    return leave(cr);
}

GP_EXPORT CUresult
cuGraphBatchMemOpNodeSetParams(CUgraphNode handle, const CUDA_BATCH_MEM_OP_NODE_PARAMS *params)
{
    struct fe_context *ctx = context_of(handle);
    union fe_node_body *body = NULL;
    CUresult cr = fe_body_values(params, &ctx, &body);

    return replace(handle, CU_GRAPH_NODE_TYPE_BATCH_MEM_OP, ctx, cr, body);
}

GP_EXPORT CUresult
cuGraphNodeSetParams(CUgraphNode node, CUgraphNodeParams *params)
{
    CUDA_KERNEL_NODE_PARAMS kernel;
    CUDA_MEMSET_NODE_PARAMS fill;
    CUDA_HOST_NODE_PARAMS host;
    const struct fe_node *n = fe_node_get(node);

    if (params == NULL || n == NULL || n->type != params->type)
        return CUDA_ERROR_INVALID_VALUE;
    switch (params->type) {
    case CU_GRAPH_NODE_TYPE_KERNEL:
        memcpy(&kernel, &params->kernel, sizeof(kernel));
        return cuGraphKernelNodeSetParams_v2(node, &kernel);
    case CU_GRAPH_NODE_TYPE_MEMCPY:
        return cuGraphMemcpyNodeSetParams(node, &params->memcpy.copyParams);
    case CU_GRAPH_NODE_TYPE_MEMSET:
        memcpy(&fill, &params->memset, sizeof(fill));
        return cuGraphMemsetNodeSetParams(node, &fill);
    case CU_GRAPH_NODE_TYPE_HOST:
        host = (CUDA_HOST_NODE_PARAMS){params->host.fn, params->host.userData};
        return cuGraphHostNodeSetParams(node, &host);
    case CU_GRAPH_NODE_TYPE_WAIT_EVENT:
        return cuGraphEventWaitNodeSetEvent(node, params->eventWait.event);
    case CU_GRAPH_NODE_TYPE_EVENT_RECORD:
        return cuGraphEventRecordNodeSetEvent(node, params->eventRecord.event);
    default:
        return CUDA_ERROR_NOT_SUPPORTED;
    }
}
