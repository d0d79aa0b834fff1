/* frontend/cuda/graph_add.c -- new nodes of each type */
#include "cuda_api.h"
#include "frontend/core/stats.h"
#include "frontend/cuda/graph.h"
#include "frontend/cuda/state.h"
#include "protocol/base/util.h"

#include <stdlib.h>
#include <string.h>

/* What one of the cuGraphAdd...Node functions was called with. */
struct add {
    CUgraphNode *node_p;
    CUgraph graph;
    const CUgraphNode *deps;
    const CUgraphEdgeData *data;
    size_t count;
};

#define ADD(...) (&(const struct add){__VA_ARGS__})

static bool
names_twice(const struct add *a, size_t at)
{
    for (size_t i = 0; i < at; i++)
        if (a->deps[i] == a->deps[at])
            return true;
    return false;
}

/* Graph and dependencies, before the parameters are looked at. */
static CUresult
check(const struct add *a)
{
    struct fe_graph *graph;
    CUresult cr = CUDA_SUCCESS;

    FE_COUNT_LOCAL();
    if (fe_state_get(&cr) == NULL)
        return cr;
    fe_graph_lock();
    graph = fe_graph_get(a->graph);
    if (a->node_p == NULL || graph == NULL || (a->count != 0 && a->deps == NULL))
        cr = CUDA_ERROR_INVALID_VALUE;
    for (size_t i = 0; i < a->count && cr == CUDA_SUCCESS; i++) {
        const struct fe_node *dep = fe_node_get(a->deps[i]);

        if (dep == NULL || dep->graph != graph || names_twice(a, i))
            cr = CUDA_ERROR_INVALID_VALUE;
    }
    fe_graph_unlock();
    return cr;
}

/* The node, if cr is success; body is used up. */
static CUresult
finish(const struct add *a, CUgraphNodeType type, struct fe_context *ctx, CUresult cr,
       union fe_node_body *body)
{
    struct fe_graph *graph;
    struct fe_node *node;

    fe_graph_lock();
    graph = fe_graph_get(a->graph);
    if (cr == CUDA_SUCCESS)
        cr = graph != NULL ? fe_graph_add(graph, type, ctx, a->deps, a->data, a->count, body, &node)
                           : CUDA_ERROR_INVALID_VALUE;
    if (cr == CUDA_SUCCESS)
        *a->node_p = (CUgraphNode)node;
    else
        fe_body_free(type, body);
    fe_graph_unlock();
    return cr;
}

static CUresult
add_kernel(const struct add *a, const CUDA_KERNEL_NODE_PARAMS *p)
{
    struct fe_context *ctx = fe_context_current();
    union fe_node_body *body = NULL;
    CUresult cr = check(a);

    if (cr == CUDA_SUCCESS)
        cr = p != NULL ? fe_body_kernel(p, &ctx, &body) : CUDA_ERROR_INVALID_VALUE;
    return finish(a, CU_GRAPH_NODE_TYPE_KERNEL, ctx, cr, body);
}

GP_EXPORT CUresult
cuGraphAddKernelNode_v2(CUgraphNode *node, CUgraph graph, const CUgraphNode *deps, size_t count,
                        const CUDA_KERNEL_NODE_PARAMS *params)
{
    return add_kernel(ADD(node, graph, deps, NULL, count), params);
}

GP_EXPORT CUresult
cuGraphAddKernelNode(CUgraphNode *node, CUgraph graph, const CUgraphNode *deps, size_t count,
                     const CUDA_KERNEL_NODE_PARAMS_v1 *params)
{
    CUDA_KERNEL_NODE_PARAMS p = {0};

    if (params == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    memcpy(&p, params, sizeof(*params)); /* the second version only added members */
    return cuGraphAddKernelNode_v2(node, graph, deps, count, &p);
}

static CUresult
add_memcpy(const struct add *a, const CUDA_MEMCPY3D *p, CUcontext handle)
{
    struct fe_context *ctx = NULL;
    union fe_node_body *body = NULL;
    CUresult cr = check(a);

    if (cr == CUDA_SUCCESS && fe_node_context(handle, &ctx) != CUDA_SUCCESS)
        cr = CUDA_ERROR_INVALID_VALUE;
    if (cr == CUDA_SUCCESS)
        cr = fe_body_copy_params(p, &ctx, &body);
    return finish(a, CU_GRAPH_NODE_TYPE_MEMCPY, ctx, cr, body);
}

GP_EXPORT CUresult
cuGraphAddMemcpyNode(CUgraphNode *node, CUgraph graph, const CUgraphNode *deps, size_t count,
                     const CUDA_MEMCPY3D *params, CUcontext ctx)
{
    return add_memcpy(ADD(node, graph, deps, NULL, count), params, ctx);
}

static CUresult
add_memset(const struct add *a, const CUDA_MEMSET_NODE_PARAMS *p, CUcontext handle)
{
    struct fe_context *ctx = NULL;
    union fe_node_body *body = NULL;
    CUresult cr = check(a);

    if (cr == CUDA_SUCCESS && fe_node_context(handle, &ctx) != CUDA_SUCCESS)
        cr = CUDA_ERROR_INVALID_VALUE;
    if (cr == CUDA_SUCCESS)
        cr = fe_body_fill(p, &ctx, &body);
    return finish(a, CU_GRAPH_NODE_TYPE_MEMSET, ctx, cr, body);
}

GP_EXPORT CUresult
cuGraphAddMemsetNode(CUgraphNode *node, CUgraph graph, const CUgraphNode *deps, size_t count,
                     const CUDA_MEMSET_NODE_PARAMS *params, CUcontext ctx)
{
    return add_memset(ADD(node, graph, deps, NULL, count), params, ctx);
}

static CUresult
add_host(const struct add *a, const CUDA_HOST_NODE_PARAMS *p)
{
    union fe_node_body *body = NULL;
    CUresult cr = check(a);

    if (cr == CUDA_SUCCESS)
        cr = fe_body_host(p, &body);
    return finish(a, CU_GRAPH_NODE_TYPE_HOST, NULL, cr, body);
}

GP_EXPORT CUresult
cuGraphAddHostNode(CUgraphNode *node, CUgraph graph, const CUgraphNode *deps, size_t count,
                   const CUDA_HOST_NODE_PARAMS *params)
{
    return add_host(ADD(node, graph, deps, NULL, count), params);
}

/* Whether graph is inner or around it; under the lock. */
static bool
is_around(const struct fe_graph *graph, const struct fe_graph *inner)
{
    while (inner != graph && inner->owner != NULL)
        inner = inner->owner->graph;
    return inner == graph;
}

/* The child as a copy, or itself; under the lock. */
static CUresult
child_body(const struct fe_graph *graph, CUgraph handle, bool move, union fe_node_body **body_p)
{
    struct fe_graph *child = fe_graph_get(handle);
    union fe_node_body *body;
    CUresult cr = CUDA_SUCCESS;

    if (child == NULL || graph == NULL || is_around(child, graph) || (move && child->owner != NULL))
        return CUDA_ERROR_INVALID_VALUE;
    if (!move && !fe_graph_may_clone(child))
        return CUDA_ERROR_NOT_SUPPORTED; /* as the driver says */
    body = calloc(1, sizeof(*body));
    if (body == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    if (move)
        body->child = child;
    else
        cr = fe_graph_clone(child, &body->child);
    if (cr != CUDA_SUCCESS) {
        free(body);
        return cr;
    }
    *body_p = body;
    return CUDA_SUCCESS;
}

static CUresult
add_child(const struct add *a, CUgraph child, bool move)
{
    union fe_node_body *body = NULL;
    struct fe_graph *graph;
    struct fe_node *node;
    CUresult cr = check(a);

    if (cr != CUDA_SUCCESS)
        return cr;
    fe_graph_lock();
    graph = fe_graph_get(a->graph);
    cr = child_body(graph, child, move, &body);
    if (cr == CUDA_SUCCESS)
        cr = fe_graph_add(graph, CU_GRAPH_NODE_TYPE_GRAPH, NULL, a->deps, a->data, a->count, body,
                          &node);
    if (cr == CUDA_SUCCESS) {
        *a->node_p = (CUgraphNode)node;
        body->child->moved = move;
    } else if (body != NULL && move) {
        free(body); /* the child is still the program's */
    } else {
        fe_body_free(CU_GRAPH_NODE_TYPE_GRAPH, body);
    }
    fe_graph_unlock();
    fe_users_bury(); /* of a copy that could not be added */
    return cr;
}

GP_EXPORT CUresult
cuGraphAddChildGraphNode(CUgraphNode *node, CUgraph graph, const CUgraphNode *deps, size_t count,
                         CUgraph child)
{
    return add_child(ADD(node, graph, deps, NULL, count), child, false);
}

static CUresult
add_empty(const struct add *a)
{
    return finish(a, CU_GRAPH_NODE_TYPE_EMPTY, NULL, check(a), NULL);
}

GP_EXPORT CUresult
cuGraphAddEmptyNode(CUgraphNode *node, CUgraph graph, const CUgraphNode *deps, size_t count)
{
    return add_empty(ADD(node, graph, deps, NULL, count));
}

static CUresult
add_event(const struct add *a, CUgraphNodeType type, CUevent event)
{
    union fe_node_body *body = NULL;
    CUresult cr = check(a);

    if (cr == CUDA_SUCCESS)
        cr = fe_body_event(event, &body);
    return finish(a, type, NULL, cr, body);
}

GP_EXPORT CUresult
cuGraphAddEventRecordNode(CUgraphNode *node, CUgraph graph, const CUgraphNode *deps, size_t count,
                          CUevent event)
{
    return add_event(ADD(node, graph, deps, NULL, count), CU_GRAPH_NODE_TYPE_EVENT_RECORD, event);
}

GP_EXPORT CUresult
cuGraphAddEventWaitNode(CUgraphNode *node, CUgraph graph, const CUgraphNode *deps, size_t count,
                        CUevent event)
{
    return add_event(ADD(node, graph, deps, NULL, count), CU_GRAPH_NODE_TYPE_WAIT_EVENT, event);
}

static CUresult
add_values(const struct add *a, const CUDA_BATCH_MEM_OP_NODE_PARAMS *p)
{
    struct fe_context *ctx = fe_context_current();
    union fe_node_body *body = NULL;
    CUresult cr = check(a);

    if (cr == CUDA_SUCCESS)
        cr = fe_body_values(p, &ctx, &body);
    return finish(a, CU_GRAPH_NODE_TYPE_BATCH_MEM_OP, ctx, cr, body);
}

GP_EXPORT CUresult
cuGraphAddBatchMemOpNode(CUgraphNode *node, CUgraph graph, const CUgraphNode *deps, size_t count,
                         const CUDA_BATCH_MEM_OP_NODE_PARAMS *params)
{
    return add_values(ADD(node, graph, deps, NULL, count), params);
}

/* -- memory ----------------------------------------------------------------------------- */

/* Graphs inside of others take no more of it. */
static CUresult
check_memory(const struct add *a)
{
    const struct fe_graph *graph;
    CUresult cr = check(a);

    if (cr != CUDA_SUCCESS)
        return cr;
    fe_graph_lock();
    graph = fe_graph_get(a->graph);
    if (graph != NULL && graph->owner != NULL)
        cr = CUDA_ERROR_NOT_SUPPORTED;
    fe_graph_unlock();
    return cr;
}

static CUresult
add_alloc(const struct add *a, CUDA_MEM_ALLOC_NODE_PARAMS *p)
{
    struct fe_context *ctx = fe_context_current();
    union fe_node_body *body = NULL;
    struct fe_state *state;
    CUresult cr = check_memory(a);

    if (cr != CUDA_SUCCESS)
        return cr;
    state = fe_state_get(NULL);
    if (p == NULL || p->bytesize == 0 || p->poolProps.location.type != CU_MEM_LOCATION_TYPE_DEVICE)
        return CUDA_ERROR_INVALID_VALUE;
    if (fe_state_device(state, p->poolProps.location.id) == NULL)
        return CUDA_ERROR_INVALID_DEVICE;
    if (ctx == NULL || ctx->device != p->poolProps.location.id)
        ctx = state->primary[p->poolProps.location.id];
    body = calloc(1, sizeof(*body));
    if (body == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    cr = fe_graph_block_new(ctx, p->bytesize, &body->alloc.block);
    if (cr != CUDA_SUCCESS) {
        free(body);
        return cr;
    }
    body->alloc.params = *p;
    body->alloc.params.dptr = body->alloc.block->address;
    body->alloc.params.accessDescs = NULL; /* the program's memory */
    body->alloc.params.accessDescCount = 0;
    p->dptr = body->alloc.params.dptr;
    cr = finish(a, CU_GRAPH_NODE_TYPE_MEM_ALLOC, ctx, CUDA_SUCCESS, body);
    if (cr != CUDA_SUCCESS)
        fe_graph_mem_flush();
    return cr;
}

GP_EXPORT CUresult
cuGraphAddMemAllocNode(CUgraphNode *node, CUgraph graph, const CUgraphNode *deps, size_t count,
                       CUDA_MEM_ALLOC_NODE_PARAMS *params)
{
    return add_alloc(ADD(node, graph, deps, NULL, count), params);
}

/* Memory of some graph, and not freed in this one before; under the lock. */
static bool
may_free(const struct fe_graph *graph, CUdeviceptr address)
{
    if (graph == NULL || fe_graph_block_find(address) == NULL)
        return false;
    for (size_t i = 0; i < graph->count; i++)
        if (graph->nodes[i]->type == CU_GRAPH_NODE_TYPE_MEM_FREE &&
            graph->nodes[i]->body->freed == address)
            return false;
    return true;
}

static CUresult
add_free(const struct add *a, CUdeviceptr address)
{
    union fe_node_body *body = NULL;
    CUresult cr = check_memory(a);

    if (cr != CUDA_SUCCESS)
        return cr;
    fe_graph_lock();
    if (!may_free(fe_graph_get(a->graph), address))
        cr = CUDA_ERROR_INVALID_VALUE;
    fe_graph_unlock();
    if (cr == CUDA_SUCCESS) {
        body = calloc(1, sizeof(*body));
        if (body == NULL)
            return CUDA_ERROR_OUT_OF_MEMORY;
        body->freed = address;
    }
    return finish(a, CU_GRAPH_NODE_TYPE_MEM_FREE, NULL, cr, body);
}

GP_EXPORT CUresult
cuGraphAddMemFreeNode(CUgraphNode *node, CUgraph graph, const CUgraphNode *deps, size_t count,
                      CUdeviceptr address)
{
    return add_free(ADD(node, graph, deps, NULL, count), address);
}

/* -- conditions ------------------------------------------------------------------------- */

static CUresult
add_conditional(const struct add *a, CUDA_CONDITIONAL_NODE_PARAMS *p)
{
    struct fe_context *ctx = fe_context_current();
    union fe_node_body *body = NULL;
    struct fe_graph *graph;
    struct fe_node *node;
    CUresult cr = check(a);

    if (cr != CUDA_SUCCESS)
        return cr;
    fe_graph_lock();
    graph = fe_graph_get(a->graph);
    cr = graph != NULL ? fe_body_conditional(graph, p, &ctx, &body) : CUDA_ERROR_INVALID_VALUE;
    if (cr == CUDA_SUCCESS)
        cr = fe_graph_add(graph, CU_GRAPH_NODE_TYPE_CONDITIONAL, ctx, a->deps, a->data, a->count,
                          body, &node);
    if (cr == CUDA_SUCCESS) {
        p->phGraph_out = (CUgraph *)body->cond.bodies;
        *a->node_p = (CUgraphNode)node;
    } else {
        fe_body_free(CU_GRAPH_NODE_TYPE_CONDITIONAL, body);
    }
    fe_graph_unlock();
    return cr;
}

/* -- any type --------------------------------------------------------------------------- */

static CUresult
add_any(const struct add *a, CUgraphNodeParams *p)
{
    CUDA_KERNEL_NODE_PARAMS kernel;
    CUDA_MEMSET_NODE_PARAMS fill;
    CUDA_MEM_ALLOC_NODE_PARAMS alloc;
    CUDA_BATCH_MEM_OP_NODE_PARAMS values;
    CUDA_HOST_NODE_PARAMS host;
    CUresult cr;

    switch (p->type) {
    case CU_GRAPH_NODE_TYPE_KERNEL:
        memcpy(&kernel, &p->kernel, sizeof(kernel));
        return add_kernel(a, &kernel);
    case CU_GRAPH_NODE_TYPE_MEMCPY:
        return add_memcpy(a, &p->memcpy.copyParams, p->memcpy.copyCtx);
    case CU_GRAPH_NODE_TYPE_MEMSET:
        memcpy(&fill, &p->memset, sizeof(fill));
        return add_memset(a, &fill, p->memset.ctx);
    case CU_GRAPH_NODE_TYPE_HOST:
        host = (CUDA_HOST_NODE_PARAMS){p->host.fn, p->host.userData};
        return add_host(a, &host);
    case CU_GRAPH_NODE_TYPE_GRAPH:
        return add_child(a, p->graph.graph,
                         p->graph.ownership == CU_GRAPH_CHILD_GRAPH_OWNERSHIP_MOVE);
    case CU_GRAPH_NODE_TYPE_EMPTY:
        return add_empty(a);
    case CU_GRAPH_NODE_TYPE_WAIT_EVENT:
        return add_event(a, p->type, p->eventWait.event);
    case CU_GRAPH_NODE_TYPE_EVENT_RECORD:
        return add_event(a, p->type, p->eventRecord.event);
    case CU_GRAPH_NODE_TYPE_MEM_ALLOC:
        memcpy(&alloc, &p->alloc, sizeof(alloc));
        cr = add_alloc(a, &alloc);
        p->alloc.dptr = alloc.dptr;
        return cr;
    case CU_GRAPH_NODE_TYPE_MEM_FREE:
        return add_free(a, p->free.dptr);
    case CU_GRAPH_NODE_TYPE_BATCH_MEM_OP:
        memcpy(&values, &p->memOp, sizeof(values));
        return add_values(a, &values);
    case CU_GRAPH_NODE_TYPE_CONDITIONAL:
        return add_conditional(a, &p->conditional);
    case CU_GRAPH_NODE_TYPE_EXT_SEMAS_SIGNAL:
    case CU_GRAPH_NODE_TYPE_EXT_SEMAS_WAIT:
        return fe_refuse("cuGraphAddNode of an external semaphore");
    default:
        return CUDA_ERROR_INVALID_VALUE;
    }
}

GP_EXPORT CUresult
cuGraphAddNode_v2(CUgraphNode *node, CUgraph graph, const CUgraphNode *deps,
                  const CUgraphEdgeData *data, size_t count, CUgraphNodeParams *params)
{
    CUresult cr = CUDA_SUCCESS;

    if (fe_state_get(&cr) == NULL)
        return cr;
    if (params == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    return add_any(ADD(node, graph, deps, data, count), params);
}

GP_EXPORT CUresult
cuGraphAddNode(CUgraphNode *node, CUgraph graph, const CUgraphNode *deps, size_t count,
               CUgraphNodeParams *params)
{
    return cuGraphAddNode_v2(node, graph, deps, NULL, count, params);
}
