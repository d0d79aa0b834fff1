/* backend/driver/soft/dev/graph_change.c -- changes of executable graphs */
#include "backend/driver/soft/dev/graph.h"
#include "backend/driver/soft/dev/green.h"
#include "cuda_api.h"

#include <string.h>

/* The step of the node of that type; the lock is held. */
static CUresult
step_find(CUgraphExec exec, CUgraphNode node, CUgraphNodeType type, struct sd_plan_node **step_p)
{
    for (size_t i = 0; i < exec->plan->count; i++) {
        if (exec->plan->nodes[i].origin != node)
            continue;
        if (exec->plan->nodes[i].type != type)
            return CUDA_ERROR_INVALID_VALUE;
        *step_p = &exec->plan->nodes[i];
        return CUDA_SUCCESS;
    }
    return CUDA_ERROR_INVALID_VALUE;
}

/* Takes the lock, also on error; the step may be changed. */
static CUresult
step_enter(CUgraphExec exec, CUgraphNode node, CUgraphNodeType type, struct sd_plan_node **step_p)
{
    CUresult cr;

    sd_graph_lock();
    cr = sd_exec_get(exec);
    if (cr == CUDA_SUCCESS)
        cr = sd_plan_own(exec);
    return cr == CUDA_SUCCESS ? step_find(exec, node, type, step_p) : cr;
}

/* Why no further work of its context will be done, if so: nothing is prepared for that. */
static CUresult
failed(CUgraphExec exec)
{
    return (CUresult)atomic_load(&exec->ctx->error);
}

/* The end of a call that made work for the step, or failed to. */
static CUresult
step_leave(struct sd_plan_node *step, const struct sd_work *work, CUresult cr)
{
    if (cr == CUDA_SUCCESS) {
        sd_work_fini(&step->work);
        step->work = *work;
    }
    sd_graph_unlock();
    return cr;
}

GP_EXPORT CUresult
cuGraphExecKernelNodeSetParams_v2(CUgraphExec hGraphExec, CUgraphNode hNode,
                                  const CUDA_KERNEL_NODE_PARAMS *nodeParams)
{
    struct sd_plan_node *step = NULL;
    struct sd_work work;
    CUresult cr = step_enter(hGraphExec, hNode, CU_GRAPH_NODE_TYPE_KERNEL, &step);

    if (cr == CUDA_SUCCESS)
        cr = nodeParams != NULL ? sd_kernel_params_work(nodeParams, step->work.ctx, &work)
                                : CUDA_ERROR_INVALID_VALUE;
    if (cr == CUDA_SUCCESS) {
        work.kernel.cooperative = step->work.kernel.cooperative;
        work.kernel.explicit_cluster = step->work.kernel.explicit_cluster;
        memcpy(work.kernel.cluster, step->work.kernel.cluster, sizeof(work.kernel.cluster));
    }
    return step_leave(step, &work, cr);
}

GP_EXPORT CUresult
cuGraphExecKernelNodeSetParams(CUgraphExec hGraphExec, CUgraphNode hNode,
                               const CUDA_KERNEL_NODE_PARAMS_v1 *nodeParams)
{
    CUDA_KERNEL_NODE_PARAMS p = {0};

    if (nodeParams == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    memcpy(&p, nodeParams, sizeof(*nodeParams));
    return cuGraphExecKernelNodeSetParams_v2(hGraphExec, hNode, &p);
}

/* A copy or a fill of no bytes. */
static bool
hollow(const struct sd_work *work)
{
    const struct sd_copy_work *c = &work->copy;

    return work->kind == SD_WORK_FILL ? work->fill.height == 0
                                      : c->width == 0 || c->height == 0 || c->depth == 0;
}

GP_EXPORT CUresult
cuGraphExecMemcpyNodeSetParams(CUgraphExec hGraphExec, CUgraphNode hNode,
                               const CUDA_MEMCPY3D *copyParams, CUcontext ctx)
{
    struct sd_plan_node *step = NULL;
    struct sd_work work;
    CUresult cr = step_enter(hGraphExec, hNode, CU_GRAPH_NODE_TYPE_MEMCPY, &step);

    if (cr == CUDA_SUCCESS)
        cr = copyParams != NULL && (ctx == NULL || sd_green_plain(&ctx) == CUDA_SUCCESS)
                 ? sd_memcpy_params_work(copyParams, ctx != NULL ? ctx : step->work.ctx, &work)
                 : CUDA_ERROR_INVALID_VALUE;
    if (cr == CUDA_SUCCESS && (hollow(&step->work) || hollow(&work))) {
        sd_work_fini(&work);
        cr = CUDA_ERROR_INVALID_VALUE;
    }
    return step_leave(step, &work, cr);
}

GP_EXPORT CUresult
cuGraphExecMemsetNodeSetParams(CUgraphExec hGraphExec, CUgraphNode hNode,
                               const CUDA_MEMSET_NODE_PARAMS *memsetParams, CUcontext ctx)
{
    struct sd_plan_node *step = NULL;
    struct sd_work work;
    CUresult cr = step_enter(hGraphExec, hNode, CU_GRAPH_NODE_TYPE_MEMSET, &step);

    if (cr == CUDA_SUCCESS)
        cr = memsetParams != NULL && (ctx == NULL || sd_green_plain(&ctx) == CUDA_SUCCESS)
                 ? sd_memset_params_work(memsetParams, ctx != NULL ? ctx : step->work.ctx, &work)
                 : CUDA_ERROR_INVALID_VALUE;
    if (cr == CUDA_SUCCESS && (hollow(&step->work) || hollow(&work)))
        cr = CUDA_ERROR_INVALID_VALUE;
    return step_leave(step, &work, cr);
}

GP_EXPORT CUresult
cuGraphExecHostNodeSetParams(CUgraphExec hGraphExec, CUgraphNode hNode,
                             const CUDA_HOST_NODE_PARAMS *nodeParams)
{
    struct sd_plan_node *step;
    CUresult cr = step_enter(hGraphExec, hNode, CU_GRAPH_NODE_TYPE_HOST, &step);

    if (cr == CUDA_SUCCESS && (nodeParams == NULL || nodeParams->fn == NULL))
        cr = CUDA_ERROR_INVALID_VALUE;
    if (cr == CUDA_SUCCESS) {
        step->work.host.fn = nodeParams->fn;
        step->work.host.user = nodeParams->userData;
    }
    sd_graph_unlock();
    return cr;
}

GP_EXPORT CUresult
cuGraphExecBatchMemOpNodeSetParams(CUgraphExec hGraphExec, CUgraphNode hNode,
                                   const CUDA_BATCH_MEM_OP_NODE_PARAMS *nodeParams)
{
    struct sd_plan_node *step = NULL;
    struct sd_work work;
    CUresult cr = step_enter(hGraphExec, hNode, CU_GRAPH_NODE_TYPE_BATCH_MEM_OP, &step);

    if (cr == CUDA_SUCCESS)
        cr = nodeParams != NULL ? sd_values_params_work(nodeParams, step->work.ctx, &work)
                                : CUDA_ERROR_INVALID_VALUE;
    return step_leave(step, &work, cr);
}

static CUresult
exec_set_event(CUgraphExec exec, CUgraphNode node, CUgraphNodeType type, CUevent event)
{
    struct sd_plan_node *step;
    CUresult cr = step_enter(exec, node, type, &step);

    if (cr == CUDA_SUCCESS && !sd_object_is(event, SD_EVENT))
        cr = CUDA_ERROR_INVALID_VALUE;
    if (cr == CUDA_SUCCESS)
        step->event = event;
    sd_graph_unlock();
    return cr;
}

GP_EXPORT CUresult
cuGraphExecEventRecordNodeSetEvent(CUgraphExec hGraphExec, CUgraphNode hNode, CUevent event)
{
    return exec_set_event(hGraphExec, hNode, CU_GRAPH_NODE_TYPE_EVENT_RECORD, event);
}

GP_EXPORT CUresult
cuGraphExecEventWaitNodeSetEvent(CUgraphExec hGraphExec, CUgraphNode hNode, CUevent event)
{
    return exec_set_event(hGraphExec, hNode, CU_GRAPH_NODE_TYPE_WAIT_EVENT, event);
}

GP_EXPORT CUresult
cuGraphExecChildGraphNodeSetParams(CUgraphExec hGraphExec, CUgraphNode hNode, CUgraph childGraph)
{
    struct sd_plan_node *step;
    struct sd_plan *child = NULL;
    CUresult cr = step_enter(hGraphExec, hNode, CU_GRAPH_NODE_TYPE_GRAPH, &step);

    if (cr == CUDA_SUCCESS)
        cr = sd_graph_valid(childGraph) ? sd_plan_make(childGraph, &child)
                                        : CUDA_ERROR_INVALID_VALUE;
    if (cr == CUDA_SUCCESS && child->count != step->child->count) {
        sd_plan_put(child);
        cr = CUDA_ERROR_INVALID_VALUE;
    } else if (cr == CUDA_SUCCESS) {
        sd_plan_put(step->child);
        step->child = child;
        hGraphExec->plan->has_memory |= child->has_memory;
    }
    sd_graph_unlock();
    sd_users_bury();
    return cr;
}

GP_EXPORT CUresult
cuGraphExecNodeSetParams(CUgraphExec hGraphExec, CUgraphNode hNode, CUgraphNodeParams *nodeParams)
{
    CUDA_KERNEL_NODE_PARAMS kernel;
    CUDA_MEMSET_NODE_PARAMS set;
    CUDA_HOST_NODE_PARAMS host;

    if (nodeParams == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    switch (nodeParams->type) {
    case CU_GRAPH_NODE_TYPE_KERNEL:
        memcpy(&kernel, &nodeParams->kernel, sizeof(kernel));
        return cuGraphExecKernelNodeSetParams_v2(hGraphExec, hNode, &kernel);
    case CU_GRAPH_NODE_TYPE_MEMCPY:
        return cuGraphExecMemcpyNodeSetParams(hGraphExec, hNode, &nodeParams->memcpy.copyParams,
                                              nodeParams->memcpy.copyCtx);
    case CU_GRAPH_NODE_TYPE_MEMSET:
        memcpy(&set, &nodeParams->memset, sizeof(set));
        return cuGraphExecMemsetNodeSetParams(hGraphExec, hNode, &set, nodeParams->memset.ctx);
    case CU_GRAPH_NODE_TYPE_HOST:
        host = (CUDA_HOST_NODE_PARAMS){nodeParams->host.fn, nodeParams->host.userData};
        return cuGraphExecHostNodeSetParams(hGraphExec, hNode, &host);
    case CU_GRAPH_NODE_TYPE_GRAPH:
        return cuGraphExecChildGraphNodeSetParams(hGraphExec, hNode, nodeParams->graph.graph);
    case CU_GRAPH_NODE_TYPE_EVENT_RECORD:
        return cuGraphExecEventRecordNodeSetEvent(hGraphExec, hNode, nodeParams->eventRecord.event);
    case CU_GRAPH_NODE_TYPE_WAIT_EVENT:
        return cuGraphExecEventWaitNodeSetEvent(hGraphExec, hNode, nodeParams->eventWait.event);
    default:
        return CUDA_ERROR_NOT_SUPPORTED;
    }
}

static bool
may_be_disabled(CUgraphNodeType type)
{
    return type == CU_GRAPH_NODE_TYPE_KERNEL || type == CU_GRAPH_NODE_TYPE_MEMCPY ||
           type == CU_GRAPH_NODE_TYPE_MEMSET;
}

GP_EXPORT CUresult
cuGraphNodeSetEnabled(CUgraphExec hGraphExec, CUgraphNode hNode, unsigned int isEnabled)
{
    struct sd_plan_node *step;
    CUresult cr;

    if (!sd_object_is(hNode, SD_NODE) || !may_be_disabled(hNode->type))
        return CUDA_ERROR_INVALID_VALUE;
    cr = step_enter(hGraphExec, hNode, hNode->type, &step);
    if (cr == CUDA_SUCCESS)
        cr = failed(hGraphExec);
    if (cr == CUDA_SUCCESS)
        step->disabled = isEnabled == 0;
    sd_graph_unlock();
    return cr;
}

GP_EXPORT CUresult
cuGraphNodeGetEnabled(CUgraphExec hGraphExec, CUgraphNode hNode, unsigned int *isEnabled)
{
    struct sd_plan_node *step;
    CUresult cr;

    if (isEnabled == NULL || !sd_object_is(hNode, SD_NODE) || !may_be_disabled(hNode->type))
        return CUDA_ERROR_INVALID_VALUE;
    sd_graph_lock();
    cr = sd_exec_get(hGraphExec);
    if (cr == CUDA_SUCCESS)
        cr = step_find(hGraphExec, hNode, hNode->type, &step);
    if (cr == CUDA_SUCCESS)
        *isEnabled = !step->disabled;
    sd_graph_unlock();
    return cr;
}

static CUgraphExecUpdateResult compare_plans(const struct sd_plan *a, const struct sd_plan *b,
                                             CUgraphNode *node_p);

/* What hangs below two steps of the same type. */
static CUgraphExecUpdateResult
compare_inner(const struct sd_plan_node *x, const struct sd_plan_node *y, CUgraphNode *node_p)
{
    CUgraphExecUpdateResult result = CU_GRAPH_EXEC_UPDATE_SUCCESS;

    if (x->type == CU_GRAPH_NODE_TYPE_GRAPH)
        return compare_plans(x->child, y->child, node_p);
    if (x->cond_type != y->cond_type || x->body_count != y->body_count)
        return CU_GRAPH_EXEC_UPDATE_ERROR_PARAMETERS_CHANGED;
    for (unsigned k = 0; k < x->body_count && result == CU_GRAPH_EXEC_UPDATE_SUCCESS; k++)
        result = compare_plans(x->bodies[k], y->bodies[k], node_p);
    return result;
}

static CUgraphExecUpdateResult
compare_steps(const struct sd_plan_node *x, const struct sd_plan_node *y, CUgraphNode *node_p)
{
    *node_p = y->origin;
    if (x->type != y->type)
        return CU_GRAPH_EXEC_UPDATE_ERROR_NODE_TYPE_CHANGED;
    if (x->created != y->created || x->dep_count != y->dep_count ||
        memcmp(x->deps, y->deps, x->dep_count * sizeof(*x->deps)) != 0)
        return CU_GRAPH_EXEC_UPDATE_ERROR_TOPOLOGY_CHANGED;
    switch (x->type) {
    case CU_GRAPH_NODE_TYPE_MEM_ALLOC:
    case CU_GRAPH_NODE_TYPE_MEM_FREE:
        return CU_GRAPH_EXEC_UPDATE_ERROR_NOT_SUPPORTED;
    case CU_GRAPH_NODE_TYPE_KERNEL:
        if (x->work.ctx != y->work.ctx)
            return CU_GRAPH_EXEC_UPDATE_ERROR_UNSUPPORTED_FUNCTION_CHANGE;
        return x->work.kernel.cooperative != y->work.kernel.cooperative
                   ? CU_GRAPH_EXEC_UPDATE_ERROR_ATTRIBUTES_CHANGED
                   : CU_GRAPH_EXEC_UPDATE_SUCCESS;
    case CU_GRAPH_NODE_TYPE_GRAPH:
    case CU_GRAPH_NODE_TYPE_CONDITIONAL:
        return compare_inner(x, y, node_p);
    default:
        return CU_GRAPH_EXEC_UPDATE_SUCCESS;
    }
}

/* Steps are paired by their place in the order of creation, with the same edges. */
static CUgraphExecUpdateResult
compare_plans(const struct sd_plan *a, const struct sd_plan *b, CUgraphNode *node_p)
{
    *node_p = NULL;
    if (a->count != b->count)
        return CU_GRAPH_EXEC_UPDATE_ERROR_TOPOLOGY_CHANGED;
    for (size_t i = 0; i < a->count; i++) {
        CUgraphExecUpdateResult result = compare_steps(&a->nodes[i], &b->nodes[i], node_p);

        if (result != CU_GRAPH_EXEC_UPDATE_SUCCESS)
            return result;
    }
    *node_p = NULL;
    return CU_GRAPH_EXEC_UPDATE_SUCCESS;
}

/* Plan instead of the one that exec has, which is left in its place. */
static CUresult
plan_exchange(CUgraphExec exec, CUgraph graph, struct sd_plan **plan_p)
{
    struct sd_plan *before = exec->plan, *plan = *plan_p;
    CUgraphInstantiateResult result;
    CUgraphNode node;
    CUresult cr = sd_conds_claim(graph, plan, exec, &result, &node);

    if (cr != CUDA_SUCCESS)
        return cr;
    /* Handles of the nodes that it was made from stay valid for its setters. */
    for (size_t i = 0; i < plan->count; i++) {
        plan->nodes[i].origin = before->nodes[i].origin;
        plan->nodes[i].disabled = before->nodes[i].disabled;
    }
    sd_conds_release(before, exec);
    sd_conds_take(plan, exec); /* they may be the same */
    exec->plan = plan;
    *plan_p = before;
    return CUDA_SUCCESS;
}

GP_EXPORT CUresult
cuGraphExecUpdate_v2(CUgraphExec hGraphExec, CUgraph hGraph,
                     CUgraphExecUpdateResultInfo *resultInfo)
{
    struct sd_plan *plan = NULL;
    CUresult cr = sd_exec_get(hGraphExec);

    if (cr != CUDA_SUCCESS)
        return cr;
    if (resultInfo == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    memset(resultInfo, 0, sizeof(*resultInfo));
    sd_graph_lock();
    cr = sd_exec_get(hGraphExec); /* another thread may have destroyed it */
    if (cr == CUDA_SUCCESS)
        cr = sd_graph_valid(hGraph) ? failed(hGraphExec) : CUDA_ERROR_INVALID_VALUE;
    if (cr == CUDA_SUCCESS)
        cr = !hGraph->moved ? sd_plan_make(hGraph, &plan) : CUDA_ERROR_INVALID_VALUE;
    if (cr == CUDA_SUCCESS) {
        resultInfo->result = compare_plans(hGraphExec->plan, plan, &resultInfo->errorNode);
        cr = resultInfo->result == CU_GRAPH_EXEC_UPDATE_SUCCESS
                 ? plan_exchange(hGraphExec, hGraph, &plan)
                 : CUDA_ERROR_GRAPH_EXEC_UPDATE_FAILURE;
        sd_plan_put(plan);
    }
    sd_graph_unlock();
    sd_users_bury();
    return cr;
}

GP_EXPORT CUresult
cuGraphExecUpdate(CUgraphExec hGraphExec, CUgraph hGraph, CUgraphNode *hErrorNode_out,
                  CUgraphExecUpdateResult *updateResult_out)
{
    CUgraphExecUpdateResultInfo info = {0};
    CUresult cr = cuGraphExecUpdate_v2(hGraphExec, hGraph, &info);

    if (hErrorNode_out != NULL)
        *hErrorNode_out = info.errorNode;
    if (updateResult_out != NULL)
        *updateResult_out = info.result;
    return cr;
}
