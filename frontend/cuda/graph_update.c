/* frontend/cuda/graph_update.c -- changes of executable graphs
 *
 * A change is checked against what was instantiated and sent without waiting. Launches that are
 * under way keep what they were launched with.
 */
#include "cuda_api.h"
#include "frontend/core/stats.h"
#include "frontend/cuda/ask.h"
#include "frontend/cuda/graph.h"
#include "frontend/cuda/image.h"
#include "frontend/cuda/state.h"
#include "protocol/base/util.h"

#include <stdlib.h>
#include <string.h>

#define CHANGE_MAX 131072u /* of cuGraphExecNodeSetParams on the wire */

/* The lock is held. The step that a node of the instantiated graph became. */
static struct fe_step *
step_of(struct fe_plan *plan, CUgraphNode handle)
{
    const struct fe_node *node = fe_node_get(handle);

    for (size_t i = 0; node != NULL && i < plan->count; i++)
        if (plan->steps[i].node == node && plan->steps[i].node_wire == node->object.wire)
            return &plan->steps[i];
    return NULL;
}

/* -- one node --------------------------------------------------------------------------- */

/* The lock is held. */
static CUresult
may_become(const struct fe_step *step, CUgraphNodeType type, const struct fe_context *ctx,
           const union fe_node_body *body)
{
    const struct fe_copy *c;

    if (step == NULL || step->type != type || step->hollow)
        return CUDA_ERROR_INVALID_VALUE;
    if (type == CU_GRAPH_NODE_TYPE_KERNEL && ctx != step->ctx)
        return CUDA_ERROR_INVALID_VALUE;
    if (type == CU_GRAPH_NODE_TYPE_MEMCPY) {
        c = &body->copy.copy;
        if (fe_shape_empty(&c->shape) || (c->src.type == CU_MEMORYTYPE_HOST) != step->host_src ||
            (c->dst.type == CU_MEMORYTYPE_HOST) != step->host_dst ||
            body->copy.between != step->between)
            return CUDA_ERROR_INVALID_VALUE;
    }
    if (type == CU_GRAPH_NODE_TYPE_MEMSET && body->fill.width == 0)
        return CUDA_ERROR_INVALID_VALUE;
    return CUDA_SUCCESS;
}

static CUresult
post_change(struct fe_call *call, uint64_t exec, uint32_t number, const struct gp_buf *buf)
{
    struct wire_cuGraphExecNodeSetParams_args args = {
        .exec = exec, .node = number, .params = buf->data, .params_len = (uint32_t)buf->len};
    CUresult cr;

    if (buf->len > CHANGE_MAX)
        return CUDA_ERROR_NOT_SUPPORTED;
    FE_TELL(cr, call, cuGraphExecNodeSetParams, &args);
    return cr;
}

/* The tokens of a step out of the plan's list. */
static struct fe_token *
take_tokens(struct fe_plan *plan, uint32_t first, uint32_t end)
{
    struct fe_token **at = &plan->tokens, *taken = NULL;

    while (*at != NULL) {
        struct fe_token *token = *at;

        if (token->step < first || token->step >= end) {
            at = &token->next;
            continue;
        }
        *at = token->next;
        token->next = taken;
        taken = token;
    }
    return taken;
}

/* An event that is recorded now, or is not any more. */
static void
change_event(struct fe_plan *plan, struct fe_step *step, struct fe_plan *fresh)
{
    for (size_t i = 0; i < plan->event_count && fresh->event_count > 0; i++)
        if (plan->events[i].number == step->number)
            plan->events[i] = fresh->events[0];
}

/* The lock is held; takes over what fresh holds. */
static void
adopt(struct fe_call *call, CUgraphExec handle, struct fe_plan *plan, struct fe_step *step,
      struct fe_plan *fresh)
{
    uint32_t end = step->number + 1 + step->children;
    struct fe_token *old = take_tokens(plan, step->number, end), **tail;
    struct fe_users *users;

    for (tail = &plan->tokens; *tail != NULL;)
        tail = &(*tail)->next;
    *tail = fresh->tokens;
    fresh->tokens = NULL;
    change_event(plan, step, fresh);
    for (struct fe_token *t = old; t != NULL; t = t->next)
        t->step = UINT32_MAX; /* of no step any more */
    users = fe_users_take(&plan->users, step->number, end);
    fe_users_join(&plan->users, fresh->users);
    fresh->users = NULL;
    fe_exec_retire(call, handle, old, users);
}

static CUresult
change_locked(struct fe_call *call, CUgraphExec handle, CUgraphNode node, CUgraphNodeType type,
              struct fe_context *ctx, union fe_node_body *body)
{
    GP_AUTO_BUF struct gp_buf buf = {0};
    struct fe_plan fresh = {0}, *plan;
    struct fe_step *step;
    uint64_t wire = 0;
    CUresult cr = fe_exec_get(handle, &wire, &plan);

    if (cr != CUDA_SUCCESS)
        return cr;
    step = step_of(plan, node);
    cr = may_become(step, type, ctx, body);
    if (cr == CUDA_SUCCESS && type == CU_GRAPH_NODE_TYPE_GRAPH &&
        body->child->count != step->inside)
        cr = CUDA_ERROR_INVALID_VALUE;
    if (cr == CUDA_SUCCESS)
        cr = fe_node_describe(call, type, ctx != NULL ? ctx : step->ctx, body, step->number, &buf,
                              &fresh);
    if (cr == CUDA_SUCCESS)
        cr = post_change(call, wire, step->number, &buf);
    if (cr == CUDA_SUCCESS)
        adopt(call, handle, plan, step, &fresh);
    fe_plan_free(call, &fresh);
    return cr;
}

/* The context of the step, where the caller names none. */
static CUresult
context_for(CUgraphExec handle, CUgraphNode node, CUgraphNodeType type, CUcontext named,
            struct fe_context **ctx_p)
{
    struct fe_step *step = NULL;
    struct fe_plan *plan;
    uint64_t wire;
    CUresult cr;

    fe_graph_lock();
    cr = fe_exec_get(handle, &wire, &plan);
    if (cr == CUDA_SUCCESS)
        step = step_of(plan, node);
    *ctx_p = step != NULL ? step->ctx : NULL;
    fe_graph_unlock();
    if (cr == CUDA_SUCCESS && (step == NULL || step->type != type))
        cr = CUDA_ERROR_INVALID_VALUE;
    if (cr == CUDA_SUCCESS && named != NULL && fe_context_get(named, ctx_p) != CUDA_SUCCESS)
        cr = CUDA_ERROR_INVALID_VALUE;
    return cr;
}

/* body is used up. The call runs in the context of what was instantiated. */
static CUresult
change(CUgraphExec handle, CUgraphNode node, CUgraphNodeType type, struct fe_context *ctx,
       CUresult cr, union fe_node_body *body)
{
    struct fe_object *exec = fe_object_get(WIRE_HANDLE_GRAPH_EXEC, handle);
    struct fe_context *of_step = NULL;
    struct fe_call call;

    if (cr == CUDA_SUCCESS && exec == NULL)
        cr = CUDA_ERROR_INVALID_VALUE;
    if (cr == CUDA_SUCCESS) /* before the context, which may have failed */
        cr = context_for(handle, node, type, NULL, &of_step);
    if (cr == CUDA_SUCCESS)
        cr = fe_enter_in(&call, WIRE_CALL_cuGraphExecNodeSetParams, exec->context);
    if (cr == CUDA_SUCCESS) {
        fe_graph_lock();
        cr = change_locked(&call, handle, node, type, ctx, body);
        fe_graph_unlock();
        cr = fe_leave(&call, cr);
    }
    fe_graph_lock();
    fe_body_free(type, body);
    fe_graph_unlock();
    fe_graph_flush();
    fe_users_settle();
    return cr;
}

GP_EXPORT CUresult
cuGraphExecKernelNodeSetParams_v2(CUgraphExec exec, CUgraphNode node,
                                  const CUDA_KERNEL_NODE_PARAMS *params)
{
    union fe_node_body *body = NULL;
    struct fe_context *ctx = NULL;
    CUresult cr = context_for(exec, node, CU_GRAPH_NODE_TYPE_KERNEL, NULL, &ctx);

    if (cr == CUDA_SUCCESS)
        cr = params != NULL ? fe_body_kernel(params, &ctx, &body) : CUDA_ERROR_INVALID_VALUE;
    return change(exec, node, CU_GRAPH_NODE_TYPE_KERNEL, ctx, cr, body);
}

GP_EXPORT CUresult
cuGraphExecKernelNodeSetParams(CUgraphExec exec, CUgraphNode node,
                               const CUDA_KERNEL_NODE_PARAMS_v1 *params)
{
    CUDA_KERNEL_NODE_PARAMS p = {0};

    if (params == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    memcpy(&p, params, sizeof(*params));
    return cuGraphExecKernelNodeSetParams_v2(exec, node, &p);
}

GP_EXPORT CUresult
cuGraphExecMemcpyNodeSetParams(CUgraphExec exec, CUgraphNode node, const CUDA_MEMCPY3D *params,
                               CUcontext named)
{
    union fe_node_body *body = NULL;
    struct fe_context *ctx = NULL;
    CUresult cr = context_for(exec, node, CU_GRAPH_NODE_TYPE_MEMCPY, named, &ctx);

    if (cr == CUDA_SUCCESS)
        cr = fe_body_copy_params(params, &ctx, &body);
    return change(exec, node, CU_GRAPH_NODE_TYPE_MEMCPY, ctx, cr, body);
}

GP_EXPORT CUresult
cuGraphExecMemsetNodeSetParams(CUgraphExec exec, CUgraphNode node,
                               const CUDA_MEMSET_NODE_PARAMS *params, CUcontext named)
{
    union fe_node_body *body = NULL;
    struct fe_context *ctx = NULL;
    CUresult cr = context_for(exec, node, CU_GRAPH_NODE_TYPE_MEMSET, named, &ctx);

    if (cr == CUDA_SUCCESS)
        cr = fe_body_fill(params, &ctx, &body);
    return change(exec, node, CU_GRAPH_NODE_TYPE_MEMSET, ctx, cr, body);
}

GP_EXPORT CUresult
cuGraphExecHostNodeSetParams(CUgraphExec exec, CUgraphNode node,
                             const CUDA_HOST_NODE_PARAMS *params)
{
    union fe_node_body *body = NULL;
    CUresult cr = fe_body_host(params, &body);

    return change(exec, node, CU_GRAPH_NODE_TYPE_HOST, NULL, cr, body);
}

GP_EXPORT CUresult
cuGraphExecBatchMemOpNodeSetParams(CUgraphExec exec, CUgraphNode node,
                                   const CUDA_BATCH_MEM_OP_NODE_PARAMS *params)
{
    union fe_node_body *body = NULL;
    struct fe_context *ctx = NULL;
    CUresult cr = context_for(exec, node, CU_GRAPH_NODE_TYPE_BATCH_MEM_OP, NULL, &ctx);

    if (cr == CUDA_SUCCESS)
        cr = fe_body_values(params, &ctx, &body);
    return change(exec, node, CU_GRAPH_NODE_TYPE_BATCH_MEM_OP, ctx, cr, body);
}

GP_EXPORT CUresult
cuGraphExecEventRecordNodeSetEvent(CUgraphExec exec, CUgraphNode node, CUevent event)
{
    union fe_node_body *body = NULL;
    CUresult cr = fe_body_event(event, &body);

    return change(exec, node, CU_GRAPH_NODE_TYPE_EVENT_RECORD, NULL, cr, body);
}

GP_EXPORT CUresult
cuGraphExecEventWaitNodeSetEvent(CUgraphExec exec, CUgraphNode node, CUevent event)
{
    union fe_node_body *body = NULL;
    CUresult cr = fe_body_event(event, &body);

    return change(exec, node, CU_GRAPH_NODE_TYPE_WAIT_EVENT, NULL, cr, body);
}

GP_EXPORT CUresult
cuGraphExecChildGraphNodeSetParams(CUgraphExec exec, CUgraphNode node, CUgraph handle)
{
    union fe_node_body *body = calloc(1, sizeof(*body));
    struct fe_graph *child;
    CUresult cr = CUDA_ERROR_INVALID_VALUE;

    if (body == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    fe_graph_lock();
    child = fe_graph_get(handle);
    if (child != NULL && fe_graph_may_clone(child))
        cr = fe_graph_clone(child, &body->child);
    fe_graph_unlock();
    return change(exec, node, CU_GRAPH_NODE_TYPE_GRAPH, NULL, cr, body);
}

GP_EXPORT CUresult
cuGraphExecNodeSetParams(CUgraphExec exec, CUgraphNode node, CUgraphNodeParams *params)
{
    CUDA_KERNEL_NODE_PARAMS kernel;
    CUDA_MEMSET_NODE_PARAMS fill;
    CUDA_HOST_NODE_PARAMS host;

    if (params == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    switch (params->type) {
    case CU_GRAPH_NODE_TYPE_KERNEL:
        memcpy(&kernel, &params->kernel, sizeof(kernel));
        return cuGraphExecKernelNodeSetParams_v2(exec, node, &kernel);
    case CU_GRAPH_NODE_TYPE_MEMCPY:
        return cuGraphExecMemcpyNodeSetParams(exec, node, &params->memcpy.copyParams,
                                              params->memcpy.copyCtx);
    case CU_GRAPH_NODE_TYPE_MEMSET:
        memcpy(&fill, &params->memset, sizeof(fill));
        return cuGraphExecMemsetNodeSetParams(exec, node, &fill, params->memset.ctx);
    case CU_GRAPH_NODE_TYPE_HOST:
        host = (CUDA_HOST_NODE_PARAMS){params->host.fn, params->host.userData};
        return cuGraphExecHostNodeSetParams(exec, node, &host);
    case CU_GRAPH_NODE_TYPE_GRAPH:
        return cuGraphExecChildGraphNodeSetParams(exec, node, params->graph.graph);
    case CU_GRAPH_NODE_TYPE_EVENT_RECORD:
        return cuGraphExecEventRecordNodeSetEvent(exec, node, params->eventRecord.event);
    case CU_GRAPH_NODE_TYPE_WAIT_EVENT:
        return cuGraphExecEventWaitNodeSetEvent(exec, node, params->eventWait.event);
    default:
        return CUDA_ERROR_NOT_SUPPORTED;
    }
}

/* -- on and off ------------------------------------------------------------------------- */

static bool
may_be_disabled(CUgraphNodeType type)
{
    return type == CU_GRAPH_NODE_TYPE_KERNEL || type == CU_GRAPH_NODE_TYPE_MEMCPY ||
           type == CU_GRAPH_NODE_TYPE_MEMSET;
}

/* Takes the lock whatever comes back. */
static CUresult
enter_step(CUgraphExec exec, CUgraphNode node, uint64_t *wire_p, struct fe_step **step_p)
{
    struct fe_plan *plan;
    CUresult cr;

    fe_graph_lock();
    cr = fe_exec_get(exec, wire_p, &plan);
    if (cr != CUDA_SUCCESS)
        return cr;
    *step_p = step_of(plan, node);
    return *step_p != NULL && may_be_disabled((*step_p)->type) ? CUDA_SUCCESS
                                                               : CUDA_ERROR_INVALID_VALUE;
}

GP_EXPORT CUresult
cuGraphNodeSetEnabled(CUgraphExec handle, CUgraphNode node, unsigned int enabled)
{
    struct wire_cuGraphNodeSetEnabled_args args = {.enabled = enabled != 0};
    struct fe_object *exec = fe_object_get(WIRE_HANDLE_GRAPH_EXEC, handle);
    struct fe_step *step = NULL;
    struct fe_call call;
    const struct fe_node *named;
    bool may;
    CUresult cr;

    fe_graph_lock();
    named = fe_node_get(node);
    may = named != NULL && may_be_disabled(named->type);
    fe_graph_unlock();
    if (exec == NULL || !may)
        return CUDA_ERROR_INVALID_VALUE;
    cr = fe_enter_in(&call, WIRE_CALL_cuGraphNodeSetEnabled, exec->context);
    if (cr != CUDA_SUCCESS)
        return cr;
    cr = enter_step(handle, node, &args.exec, &step);
    if (cr == CUDA_SUCCESS && !step->hollow) {
        args.node = step->number;
        FE_TELL(cr, &call, cuGraphNodeSetEnabled, &args);
    }
    if (cr == CUDA_SUCCESS)
        step->disabled = enabled == 0;
    fe_graph_unlock();
    return fe_leave(&call, cr);
}

GP_EXPORT CUresult
cuGraphNodeGetEnabled(CUgraphExec exec, CUgraphNode node, unsigned int *enabled)
{
    struct fe_step *step = NULL;
    uint64_t wire;
    CUresult cr;

    FE_COUNT_LOCAL();
    cr = enter_step(exec, node, &wire, &step);
    if (cr == CUDA_SUCCESS && enabled == NULL)
        cr = CUDA_ERROR_INVALID_VALUE;
    if (cr == CUDA_SUCCESS)
        *enabled = !step->disabled;
    fe_graph_unlock();
    return cr;
}

/* -- all nodes -------------------------------------------------------------------------- */

/* Steps are paired by their place in the order of creation, with the same edges. */
static CUgraphExecUpdateResult
compare_step(const struct fe_plan *a, const struct fe_step *x, const struct fe_plan *b,
             const struct fe_step *y)
{
    if (x->type != y->type)
        return CU_GRAPH_EXEC_UPDATE_ERROR_NODE_TYPE_CHANGED;
    if (x->created != y->created || x->dep_count != y->dep_count || x->inside != y->inside ||
        memcmp(a->deps + x->dep_first, b->deps + y->dep_first, x->dep_count * sizeof(*a->deps)) !=
            0)
        return CU_GRAPH_EXEC_UPDATE_ERROR_TOPOLOGY_CHANGED;
    if (x->type == CU_GRAPH_NODE_TYPE_MEM_ALLOC || x->type == CU_GRAPH_NODE_TYPE_MEM_FREE)
        return CU_GRAPH_EXEC_UPDATE_ERROR_NOT_SUPPORTED;
    if (x->type == CU_GRAPH_NODE_TYPE_KERNEL && x->ctx != y->ctx)
        return CU_GRAPH_EXEC_UPDATE_ERROR_UNSUPPORTED_FUNCTION_CHANGE;
    if (x->type == CU_GRAPH_NODE_TYPE_KERNEL && x->cooperative != y->cooperative)
        return CU_GRAPH_EXEC_UPDATE_ERROR_ATTRIBUTES_CHANGED;
    if (x->hollow != y->hollow || x->host_src != y->host_src || x->host_dst != y->host_dst ||
        x->between != y->between)
        return CU_GRAPH_EXEC_UPDATE_ERROR_PARAMETERS_CHANGED;
    return CU_GRAPH_EXEC_UPDATE_SUCCESS;
}

static void
compare(const struct fe_plan *a, const struct fe_plan *b, CUgraphExecUpdateResultInfo *info)
{
    if (a->count != b->count)
        info->result = CU_GRAPH_EXEC_UPDATE_ERROR_TOPOLOGY_CHANGED;
    for (size_t i = 0; i < a->count && info->result == CU_GRAPH_EXEC_UPDATE_SUCCESS; i++) {
        info->result = compare_step(a, &a->steps[i], b, &b->steps[i]);
        if (info->result != CU_GRAPH_EXEC_UPDATE_SUCCESS)
            info->errorNode = (CUgraphNode)b->steps[i].node;
    }
}

/* One round trip: whether the driver took it is the answer. */
static CUresult
ask_update(struct fe_call *call, uint64_t exec, const struct gp_buf *buf,
           const struct fe_plan *plan, CUgraphExecUpdateResultInfo *info)
{
    struct wire_cuGraphExecUpdate_v2_args args = {.exec = exec};
    struct wire_cuGraphExecUpdate_v2_reply reply;
    const uint8_t *bytes;
    size_t len;
    CUresult cr = fe_bytes_send(call, buf->data, buf->len, &args.upload);
    void *to;

    if (cr != CUDA_SUCCESS)
        return cr;
    to = fe_post(call, wire_size_cuGraphExecUpdate_v2_args(&args));
    if (to == NULL)
        return fe_lost(call);
    wire_put_cuGraphExecUpdate_v2_args(to, &args);
    fe_post_done(call);
    cr = fe_wait(call, &bytes, &len);
    if (cr != CUDA_SUCCESS && cr != CUDA_ERROR_GRAPH_EXEC_UPDATE_FAILURE) {
        info->result = CU_GRAPH_EXEC_UPDATE_ERROR;
        return cr;
    }
    if (!wire_get_cuGraphExecUpdate_v2_reply(bytes, len, &reply))
        return fe_malformed(call);
    info->result = (CUgraphExecUpdateResult)reply.result;
    for (size_t i = 0; i < plan->count; i++)
        if (plan->steps[i].number == reply.node)
            info->errorNode = (CUgraphNode)plan->steps[i].node;
    return cr;
}

/* Those of before that it has no more. */
static void
conds_leave(const struct fe_plan *now, struct fe_plan *before)
{
    for (size_t i = 0; i < before->cond_count; i++) {
        bool kept = false;

        for (size_t k = 0; k < now->cond_count && !kept; k++)
            kept = now->conds[k] == before->conds[i];
        if (!kept)
            before->conds[i]->exec = 0;
    }
}

/* Handles of the nodes that it was made from stay valid for its setters. */
static void
adopt_all(struct fe_call *call, CUgraphExec handle, struct fe_plan *plan, struct fe_plan *fresh)
{
    struct fe_token *old = plan->tokens;
    struct fe_cond **conds = plan->conds;
    size_t cond_count = plan->cond_count;
    void *events = plan->events;
    struct fe_users *users = plan->users;

    plan->tokens = fresh->tokens;
    plan->events = fresh->events;
    plan->event_count = fresh->event_count;
    plan->users = fresh->users;
    fresh->tokens = NULL;
    fresh->users = NULL;
    fresh->events = events;
    plan->conds = fresh->conds;
    plan->cond_count = fresh->cond_count;
    fresh->conds = conds;
    fresh->cond_count = cond_count;
    conds_leave(plan, fresh);
    for (struct fe_token *t = old; t != NULL; t = t->next)
        t->step = UINT32_MAX;
    fe_exec_retire(call, handle, old, users);
}

static CUresult
update(struct fe_call *call, CUgraphExec handle, CUgraph graph_handle,
       CUgraphExecUpdateResultInfo *info)
{
    GP_AUTO_BUF struct gp_buf buf = {0};
    struct fe_plan fresh = {0}, *plan;
    CUgraphInstantiateResult result;
    struct fe_node *error_node;
    struct fe_graph *graph;
    uint64_t wire = 0;
    CUresult cr;

    fe_graph_lock();
    cr = fe_exec_get(handle, &wire, &plan);
    graph = fe_graph_get(graph_handle);
    if (cr == CUDA_SUCCESS)
        cr = graph != NULL && !graph->moved ? fe_graph_describe(call, graph, &buf, &fresh)
                                            : CUDA_ERROR_INVALID_VALUE;
    if (cr == CUDA_SUCCESS)
        compare(plan, &fresh, info);
    if (cr == CUDA_SUCCESS && info->result == CU_GRAPH_EXEC_UPDATE_SUCCESS)
        cr = fe_conds_claim(graph, wire, &fresh, &result, &error_node);
    fe_graph_unlock();
    if (cr == CUDA_SUCCESS)
        cr = info->result == CU_GRAPH_EXEC_UPDATE_SUCCESS
                 ? ask_update(call, wire, &buf, &fresh, info)
                 : CUDA_ERROR_GRAPH_EXEC_UPDATE_FAILURE;
    fe_graph_lock();
    if (cr == CUDA_SUCCESS && fe_exec_get(handle, &wire, &plan) == CUDA_SUCCESS)
        adopt_all(call, handle, plan, &fresh);
    else
        fe_conds_release(&fresh, wire);
    fe_plan_free(call, &fresh);
    fe_graph_unlock();
    fe_users_bury();
    fe_users_settle();
    return cr;
}

GP_EXPORT CUresult
cuGraphExecUpdate_v2(CUgraphExec handle, CUgraph graph, CUgraphExecUpdateResultInfo *info)
{
    struct fe_object *exec = fe_object_get(WIRE_HANDLE_GRAPH_EXEC, handle);
    struct fe_call call;
    CUresult cr = CUDA_SUCCESS;
    bool known;

    if (fe_state_get(&cr) == NULL)
        return cr;
    if (exec == NULL || info == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    memset(info, 0, sizeof(*info));
    fe_graph_lock();
    known = fe_graph_get(graph) != NULL;
    fe_graph_unlock();
    if (!known)
        return CUDA_ERROR_INVALID_VALUE;
    cr = fe_enter_in(&call, WIRE_CALL_cuGraphExecUpdate_v2, exec->context);
    if (cr != CUDA_SUCCESS)
        return cr;
    return fe_leave(&call, update(&call, handle, graph, info));
}

GP_EXPORT CUresult
cuGraphExecUpdate(CUgraphExec exec, CUgraph graph, CUgraphNode *error_node,
                  CUgraphExecUpdateResult *result)
{
    CUgraphExecUpdateResultInfo info = {0};
    CUresult cr = cuGraphExecUpdate_v2(exec, graph, &info);

    if (error_node != NULL)
        *error_node = info.errorNode;
    if (result != NULL)
        *result = info.result;
    return cr;
}
