/* backend/driver/soft/dev/graph_add.c -- new nodes of each type */
#include "backend/driver/soft/dev/graph.h"
#include "backend/driver/soft/dev/green.h"
#include "backend/driver/soft/dev/mem.h"
#include "backend/driver/soft/dev/mempool.h"
#include "backend/driver/soft/dev/span.h"
#include "cuda_api.h"

#include <string.h>

/* What one of the cuGraphAdd...Node functions was called with. */
struct add {
    CUgraphNode *node_p;
    CUgraph graph;
    const CUgraphNode *deps;
    const CUgraphEdgeData *data;
    size_t count;
};

/* Takes the lock and adds an empty node; the lock is to be released by add_end. */
static CUresult
add_begin(const struct add *a, CUgraphNodeType type, CUgraphNode *node_p)
{
    CUresult cr = sd_ready();

    sd_graph_lock();
    if (cr != CUDA_SUCCESS)
        return cr;
    if (a->node_p == NULL || !sd_graph_valid(a->graph))
        return CUDA_ERROR_INVALID_VALUE;
    cr = sd_graph_add(a->graph, type, a->deps, a->data, a->count, node_p);
    if (cr == CUDA_SUCCESS)
        (*node_p)->ctx = sd_ctx_current();
    return cr;
}

/* Keeps the node if cr is success. */
static CUresult
add_end(const struct add *a, CUgraphNode node, CUresult cr)
{
    if (cr == CUDA_SUCCESS)
        *a->node_p = node;
    else if (node != NULL)
        sd_graph_drop(node);
    sd_graph_unlock();
    sd_users_bury();
    return cr;
}

#define ADD(...) (&(const struct add){__VA_ARGS__})

static CUresult
add_kernel(const struct add *a, const CUDA_KERNEL_NODE_PARAMS *p)
{
    CUgraphNode node = NULL;
    CUresult cr = add_begin(a, CU_GRAPH_NODE_TYPE_KERNEL, &node);

    if (cr == CUDA_SUCCESS)
        cr = p != NULL ? sd_node_set_kernel(node, p) : CUDA_ERROR_INVALID_VALUE;
    return add_end(a, node, cr);
}

GP_EXPORT CUresult
cuGraphAddKernelNode_v2(CUgraphNode *phGraphNode, CUgraph hGraph, const CUgraphNode *dependencies,
                        size_t numDependencies, const CUDA_KERNEL_NODE_PARAMS *nodeParams)
{
    return add_kernel(ADD(phGraphNode, hGraph, dependencies, NULL, numDependencies), nodeParams);
}

GP_EXPORT CUresult
cuGraphAddKernelNode(CUgraphNode *phGraphNode, CUgraph hGraph, const CUgraphNode *dependencies,
                     size_t numDependencies, const CUDA_KERNEL_NODE_PARAMS_v1 *nodeParams)
{
    CUDA_KERNEL_NODE_PARAMS p = {0};

    if (nodeParams == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    memcpy(&p, nodeParams, sizeof(*nodeParams));
    return cuGraphAddKernelNode_v2(phGraphNode, hGraph, dependencies, numDependencies, &p);
}

static CUresult
add_memcpy(const struct add *a, const CUDA_MEMCPY3D *p, CUcontext ctx)
{
    CUgraphNode node = NULL;
    CUresult cr = add_begin(a, CU_GRAPH_NODE_TYPE_MEMCPY, &node);

    if (cr == CUDA_SUCCESS && ctx == NULL)
        ctx = node->ctx;
    if (cr == CUDA_SUCCESS)
        cr = p != NULL && sd_green_plain(&ctx) == CUDA_SUCCESS ? sd_node_set_memcpy(node, p, ctx)
                                                               : CUDA_ERROR_INVALID_VALUE;
    return add_end(a, node, cr);
}

GP_EXPORT CUresult
cuGraphAddMemcpyNode(CUgraphNode *phGraphNode, CUgraph hGraph, const CUgraphNode *dependencies,
                     size_t numDependencies, const CUDA_MEMCPY3D *copyParams, CUcontext ctx)
{
    return add_memcpy(ADD(phGraphNode, hGraph, dependencies, NULL, numDependencies), copyParams,
                      ctx);
}

static CUresult
add_memset(const struct add *a, const CUDA_MEMSET_NODE_PARAMS *p, CUcontext ctx)
{
    CUgraphNode node = NULL;
    CUresult cr = add_begin(a, CU_GRAPH_NODE_TYPE_MEMSET, &node);

    if (cr == CUDA_SUCCESS && ctx == NULL)
        ctx = node->ctx;
    if (cr == CUDA_SUCCESS)
        cr = p != NULL && sd_green_plain(&ctx) == CUDA_SUCCESS ? sd_node_set_memset(node, p, ctx)
                                                               : CUDA_ERROR_INVALID_VALUE;
    return add_end(a, node, cr);
}

GP_EXPORT CUresult
cuGraphAddMemsetNode(CUgraphNode *phGraphNode, CUgraph hGraph, const CUgraphNode *dependencies,
                     size_t numDependencies, const CUDA_MEMSET_NODE_PARAMS *memsetParams,
                     CUcontext ctx)
{
    return add_memset(ADD(phGraphNode, hGraph, dependencies, NULL, numDependencies), memsetParams,
                      ctx);
}

static CUresult
add_host(const struct add *a, CUhostFn fn, void *user)
{
    CUgraphNode node = NULL;
    CUresult cr = add_begin(a, CU_GRAPH_NODE_TYPE_HOST, &node);

    if (cr == CUDA_SUCCESS && fn == NULL)
        cr = CUDA_ERROR_INVALID_VALUE;
    if (cr == CUDA_SUCCESS) {
        node->work.kind = SD_WORK_HOST;
        node->work.ctx = node->ctx;
        node->work.host.fn = fn;
        node->work.host.user = user;
    }
    return add_end(a, node, cr);
}

GP_EXPORT CUresult
cuGraphAddHostNode(CUgraphNode *phGraphNode, CUgraph hGraph, const CUgraphNode *dependencies,
                   size_t numDependencies, const CUDA_HOST_NODE_PARAMS *nodeParams)
{
    if (nodeParams == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    return add_host(ADD(phGraphNode, hGraph, dependencies, NULL, numDependencies), nodeParams->fn,
                    nodeParams->userData);
}

/* Whether graph is inner or around it. */
static bool
is_around(const struct CUgraph_st *graph, const struct CUgraph_st *inner)
{
    while (inner != graph && inner->owner != NULL)
        inner = inner->owner->graph;
    return inner == graph;
}

/* The child as a copy, or itself. */
static CUresult
add_child(const struct add *a, CUgraph child, bool move)
{
    CUgraphNode node = NULL;
    CUresult cr = add_begin(a, CU_GRAPH_NODE_TYPE_GRAPH, &node);

    if (cr == CUDA_SUCCESS &&
        (!sd_graph_valid(child) || is_around(child, a->graph) || (move && child->owner != NULL)))
        cr = CUDA_ERROR_INVALID_VALUE;
    if (cr == CUDA_SUCCESS && (move ? sd_graph_has_conditions(child) : !sd_graph_may_clone(child)))
        cr = CUDA_ERROR_NOT_SUPPORTED;
    if (cr == CUDA_SUCCESS && !move)
        cr = sd_graph_clone(child, &node->child);
    if (cr == CUDA_SUCCESS) {
        if (move)
            node->child = child;
        node->child->owner = node;
        node->child->moved = move;
    }
    return add_end(a, node, cr);
}

GP_EXPORT CUresult
cuGraphAddChildGraphNode(CUgraphNode *phGraphNode, CUgraph hGraph, const CUgraphNode *dependencies,
                         size_t numDependencies, CUgraph childGraph)
{
    return add_child(ADD(phGraphNode, hGraph, dependencies, NULL, numDependencies), childGraph,
                     false);
}

static CUresult
add_plain(const struct add *a, CUgraphNodeType type, CUevent event)
{
    CUgraphNode node = NULL;
    CUresult cr = add_begin(a, type, &node);

    if (cr == CUDA_SUCCESS && type != CU_GRAPH_NODE_TYPE_EMPTY && !sd_object_is(event, SD_EVENT))
        cr = CUDA_ERROR_INVALID_VALUE;
    if (cr == CUDA_SUCCESS)
        node->event = event;
    return add_end(a, node, cr);
}

GP_EXPORT CUresult
cuGraphAddEmptyNode(CUgraphNode *phGraphNode, CUgraph hGraph, const CUgraphNode *dependencies,
                    size_t numDependencies)
{
    return add_plain(ADD(phGraphNode, hGraph, dependencies, NULL, numDependencies),
                     CU_GRAPH_NODE_TYPE_EMPTY, NULL);
}

GP_EXPORT CUresult
cuGraphAddEventRecordNode(CUgraphNode *phGraphNode, CUgraph hGraph, const CUgraphNode *dependencies,
                          size_t numDependencies, CUevent event)
{
    return add_plain(ADD(phGraphNode, hGraph, dependencies, NULL, numDependencies),
                     CU_GRAPH_NODE_TYPE_EVENT_RECORD, event);
}

GP_EXPORT CUresult
cuGraphAddEventWaitNode(CUgraphNode *phGraphNode, CUgraph hGraph, const CUgraphNode *dependencies,
                        size_t numDependencies, CUevent event)
{
    return add_plain(ADD(phGraphNode, hGraph, dependencies, NULL, numDependencies),
                     CU_GRAPH_NODE_TYPE_WAIT_EVENT, event);
}

static CUresult
add_values(const struct add *a, const CUDA_BATCH_MEM_OP_NODE_PARAMS *p)
{
    CUgraphNode node = NULL;
    CUresult cr = add_begin(a, CU_GRAPH_NODE_TYPE_BATCH_MEM_OP, &node);

    if (cr == CUDA_SUCCESS)
        cr = p != NULL ? sd_node_set_values(node, p) : CUDA_ERROR_INVALID_VALUE;
    return add_end(a, node, cr);
}

GP_EXPORT CUresult
cuGraphAddBatchMemOpNode(CUgraphNode *phGraphNode, CUgraph hGraph, const CUgraphNode *dependencies,
                         size_t numDependencies, const CUDA_BATCH_MEM_OP_NODE_PARAMS *nodeParams)
{
    return add_values(ADD(phGraphNode, hGraph, dependencies, NULL, numDependencies), nodeParams);
}

/* --- memory --- */

static CUresult
add_alloc(const struct add *a, CUDA_MEM_ALLOC_NODE_PARAMS *p)
{
    struct sd_device *dev = NULL;
    CUgraphNode node = NULL;
    CUresult cr = add_begin(a, CU_GRAPH_NODE_TYPE_MEM_ALLOC, &node);

    if (cr == CUDA_SUCCESS && a->graph->owner != NULL)
        cr = CUDA_ERROR_NOT_SUPPORTED;
    if (cr == CUDA_SUCCESS && (p == NULL || p->bytesize == 0 ||
                               p->poolProps.location.type != CU_MEM_LOCATION_TYPE_DEVICE))
        cr = CUDA_ERROR_INVALID_VALUE;
    if (cr == CUDA_SUCCESS) {
        dev = sd_device_get(p->poolProps.location.id);
        cr = dev != NULL ? CUDA_SUCCESS : CUDA_ERROR_INVALID_DEVICE;
    }
    if (cr == CUDA_SUCCESS) {
        if (node->ctx == NULL || node->ctx->dev != dev)
            node->ctx = dev->primary;
        cr = sd_ctx_check(node->ctx);
    }
    if (cr == CUDA_SUCCESS)
        cr = sd_graph_mem_new(node->ctx, p->bytesize, &node->mem);
    if (cr == CUDA_SUCCESS) {
        p->dptr = node->mem->address;
        node->alloc_params = *p;
        node->alloc_params.accessDescs = NULL; /* the program's memory */
        node->alloc_params.accessDescCount = 0;
        node->work.ctx = node->ctx;
    }
    return add_end(a, node, cr);
}

GP_EXPORT CUresult
cuGraphAddMemAllocNode(CUgraphNode *phGraphNode, CUgraph hGraph, const CUgraphNode *dependencies,
                       size_t numDependencies, CUDA_MEM_ALLOC_NODE_PARAMS *nodeParams)
{
    return add_alloc(ADD(phGraphNode, hGraph, dependencies, NULL, numDependencies), nodeParams);
}

/* Memory of some graph, and not freed in this one before. */
static bool
may_free(const struct CUgraph_st *graph, CUdeviceptr dptr)
{
    struct sd_alloc alloc;
    bool known = sd_map_find(dptr, &alloc) && alloc.kind == SD_MEM_GRAPH && alloc.base == dptr;

    for (size_t i = 0; i < graph->count; i++) {
        if (graph->nodes[i]->mem != NULL && graph->nodes[i]->mem->address == dptr)
            known = true;
        if (graph->nodes[i]->type == CU_GRAPH_NODE_TYPE_MEM_FREE && graph->nodes[i]->freed == dptr)
            return false;
    }
    return known;
}

static CUresult
add_free(const struct add *a, CUdeviceptr dptr)
{
    CUgraphNode node = NULL;
    CUresult cr = add_begin(a, CU_GRAPH_NODE_TYPE_MEM_FREE, &node);

    if (cr == CUDA_SUCCESS && a->graph->owner != NULL)
        cr = CUDA_ERROR_NOT_SUPPORTED;
    if (cr == CUDA_SUCCESS && !may_free(a->graph, dptr))
        cr = CUDA_ERROR_INVALID_VALUE;
    if (cr == CUDA_SUCCESS) {
        node->freed = dptr;
        node->work.ctx = node->ctx;
    }
    return add_end(a, node, cr);
}

GP_EXPORT CUresult
cuGraphAddMemFreeNode(CUgraphNode *phGraphNode, CUgraph hGraph, const CUgraphNode *dependencies,
                      size_t numDependencies, CUdeviceptr dptr)
{
    return add_free(ADD(phGraphNode, hGraph, dependencies, NULL, numDependencies), dptr);
}

static CUresult
add_conditional(const struct add *a, CUDA_CONDITIONAL_NODE_PARAMS *p)
{
    CUgraphNode node = NULL;
    CUresult cr = add_begin(a, CU_GRAPH_NODE_TYPE_CONDITIONAL, &node);

    if (cr == CUDA_SUCCESS)
        cr = sd_node_set_conditional(node, p);
    if (cr == CUDA_SUCCESS)
        p->phGraph_out = node->cond.bodies;
    return add_end(a, node, cr);
}

/* --- any type --- */

static CUresult
add_any(const struct add *a, CUgraphNodeParams *p)
{
    CUDA_KERNEL_NODE_PARAMS kernel;
    CUDA_MEMSET_NODE_PARAMS set;
    CUDA_MEM_ALLOC_NODE_PARAMS alloc;
    CUDA_BATCH_MEM_OP_NODE_PARAMS values;
    CUDA_CONDITIONAL_NODE_PARAMS cond;
    CUresult cr;

    switch (p->type) {
    case CU_GRAPH_NODE_TYPE_KERNEL:
        memcpy(&kernel, &p->kernel, sizeof(kernel));
        return add_kernel(a, &kernel);
    case CU_GRAPH_NODE_TYPE_MEMCPY:
        return add_memcpy(a, &p->memcpy.copyParams, p->memcpy.copyCtx);
    case CU_GRAPH_NODE_TYPE_MEMSET:
        memcpy(&set, &p->memset, sizeof(set));
        return add_memset(a, &set, p->memset.ctx);
    case CU_GRAPH_NODE_TYPE_HOST:
        return add_host(a, p->host.fn, p->host.userData);
    case CU_GRAPH_NODE_TYPE_GRAPH:
        return add_child(a, p->graph.graph,
                         p->graph.ownership == CU_GRAPH_CHILD_GRAPH_OWNERSHIP_MOVE);
    case CU_GRAPH_NODE_TYPE_EMPTY:
        return add_plain(a, p->type, NULL);
    case CU_GRAPH_NODE_TYPE_WAIT_EVENT:
        return add_plain(a, p->type, p->eventWait.event);
    case CU_GRAPH_NODE_TYPE_EVENT_RECORD:
        return add_plain(a, p->type, p->eventRecord.event);
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
        cond = p->conditional;
        cr = add_conditional(a, &cond);
        if (cr == CUDA_SUCCESS)
            p->conditional.phGraph_out = cond.phGraph_out;
        return cr;
    default:
        return sd_refuse("cuGraphAddNode of an external semaphore");
    }
}

GP_EXPORT CUresult
cuGraphAddNode_v2(CUgraphNode *phGraphNode, CUgraph hGraph, const CUgraphNode *dependencies,
                  const CUgraphEdgeData *dependencyData, size_t numDependencies,
                  CUgraphNodeParams *nodeParams)
{
    SD_ENTER_READY();
    if (nodeParams == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    return add_any(ADD(phGraphNode, hGraph, dependencies, dependencyData, numDependencies),
                   nodeParams);
}

GP_EXPORT CUresult
cuGraphAddNode(CUgraphNode *phGraphNode, CUgraph hGraph, const CUgraphNode *dependencies,
               size_t numDependencies, CUgraphNodeParams *nodeParams)
{
    return cuGraphAddNode_v2(phGraphNode, hGraph, dependencies, NULL, numDependencies, nodeParams);
}
