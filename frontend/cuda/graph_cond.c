/* frontend/cuda/graph_cond.c -- conditions: their handles, and which graphs may have them
 *
 * A handle is a number of ours, made up at random. What the server's driver calls the condition is
 * put in its place there, in the values of kernels, when the graph is instantiated.
 */
#include "cuda_api.h"
#include "frontend/core/stats.h"
#include "frontend/cuda/graph.h"
#include "frontend/cuda/state.h"
#include "protocol/base/random.h"
#include "protocol/base/util.h"

#include <stdlib.h>
#include <string.h>

static struct fe_cond *
cond_new(struct fe_context *ctx, unsigned value, unsigned flags)
{
    struct fe_cond *cond = calloc(1, sizeof(*cond));

    if (cond == NULL || gp_random_bytes(&cond->handle, sizeof(cond->handle)) != GP_OK) {
        free(cond);
        return NULL;
    }
    cond->handle |= 1ull << 63; /* no address, no small number */
    cond->ctx = ctx;
    cond->value = value;
    cond->flags = flags;
    cond->refs = 1;
    return cond;
}

void
fe_cond_put(struct fe_cond *cond)
{
    if (cond != NULL && --cond->refs == 0)
        free(cond);
}

/* The lock is held. */
static CUresult
handle_create(CUgraph handle, struct fe_context *ctx, unsigned value, unsigned flags,
              CUgraphConditionalHandle *handle_p)
{
    struct fe_graph *graph = fe_graph_get(handle);
    struct fe_cond **conds, *cond;

    if (graph == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    conds = realloc(graph->conds, (graph->cond_count + 1) * sizeof(struct fe_cond *));
    if (conds == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    graph->conds = conds;
    cond = cond_new(ctx, value, flags);
    if (cond == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    conds[graph->cond_count++] = cond;
    *handle_p = cond->handle;
    return CUDA_SUCCESS;
}

GP_EXPORT CUresult
cuGraphConditionalHandleCreate(CUgraphConditionalHandle *handle_p, CUgraph graph, CUcontext named,
                               unsigned int value, unsigned int flags)
{
    struct fe_context *ctx = NULL;
    CUresult cr = CUDA_SUCCESS;

    FE_COUNT_LOCAL();
    if (fe_state_get(&cr) == NULL)
        return cr;
    if (handle_p == NULL || (flags & ~(unsigned)CU_GRAPH_COND_ASSIGN_DEFAULT) != 0)
        return CUDA_ERROR_INVALID_VALUE;
    cr = fe_context_get(named, &ctx);
    if (cr != CUDA_SUCCESS)
        return cr;
    fe_graph_lock();
    cr = handle_create(graph, ctx, value, flags, handle_p);
    fe_graph_unlock();
    return cr;
}

/* Of the graph, or of one that it is inside of. */
static struct fe_cond *
find(const struct fe_graph *graph, CUgraphConditionalHandle handle)
{
    for (; graph != NULL; graph = graph->owner != NULL ? graph->owner->graph : NULL)
        for (size_t i = 0; i < graph->cond_count; i++)
            if (graph->conds[i]->handle == handle)
                return graph->conds[i];
    return NULL;
}

/* -- nodes ------------------------------------------------------------------------------ */

static bool
size_valid(const CUDA_CONDITIONAL_NODE_PARAMS *p)
{
    switch (p->type) {
    case CU_GRAPH_COND_TYPE_IF:
        return p->size == 1 || p->size == 2;
    case CU_GRAPH_COND_TYPE_WHILE:
        return p->size == 1;
    case CU_GRAPH_COND_TYPE_SWITCH:
        return p->size != 0 && p->size <= WIRE_GRAPH_BODIES_MAX;
    default:
        return false;
    }
}

CUresult
fe_body_conditional(struct fe_graph *graph, const CUDA_CONDITIONAL_NODE_PARAMS *p,
                    struct fe_context **ctx_p, union fe_node_body **body_p)
{
    struct fe_cond *cond = find(graph, p->handle);
    struct fe_context *ctx = *ctx_p;
    union fe_node_body *body;
    CUresult cr = CUDA_SUCCESS;

    if (p->ctx != NULL && fe_context_get(p->ctx, &ctx) != CUDA_SUCCESS)
        return CUDA_ERROR_INVALID_VALUE;
    if (cond == NULL || !size_valid(p) || ctx != cond->ctx)
        return CUDA_ERROR_INVALID_VALUE;
    body = calloc(1, sizeof(*body));
    if (body == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    body->cond.type = p->type;
    body->cond.bodies = calloc(p->size, sizeof(struct fe_graph *));
    if (body->cond.bodies == NULL)
        cr = CUDA_ERROR_OUT_OF_MEMORY;
    while (cr == CUDA_SUCCESS && body->cond.size < p->size) {
        cr = fe_graph_new(&body->cond.bodies[body->cond.size]);
        body->cond.size += cr == CUDA_SUCCESS;
    }
    if (cr != CUDA_SUCCESS) {
        fe_body_free(CU_GRAPH_NODE_TYPE_CONDITIONAL, body);
        return cr;
    }
    body->cond.cond = cond;
    cond->refs++;
    *ctx_p = ctx;
    *body_p = body;
    return CUDA_SUCCESS;
}

/* -- what may be instantiated ----------------------------------------------------------- */

/* A body's nodes, also in its children. Copies have no other side than the device: that is CUDA's
 * rule, and nothing can be asked of this process while a loop goes round. */
static bool
may_be_inside(const struct fe_node *node)
{
    const struct fe_copy *c;

    switch (node->type) {
    case CU_GRAPH_NODE_TYPE_MEMCPY:
        c = &node->body->copy.copy;
        return c->src.type != CU_MEMORYTYPE_HOST && c->dst.type != CU_MEMORYTYPE_HOST;
    case CU_GRAPH_NODE_TYPE_KERNEL:
    case CU_GRAPH_NODE_TYPE_MEMSET:
    case CU_GRAPH_NODE_TYPE_EMPTY:
    case CU_GRAPH_NODE_TYPE_GRAPH:
    case CU_GRAPH_NODE_TYPE_CONDITIONAL:
        return true;
    default:
        return false;
    }
}

/* ctx: of the condition whose body this is inside of; NULL outside of all. */
static CUresult
check_nodes(const struct fe_graph *graph, const struct fe_context *ctx, struct fe_node **error_p)
{
    CUresult cr = CUDA_SUCCESS;

    for (size_t i = 0; i < graph->count && cr == CUDA_SUCCESS; i++) {
        const struct fe_node *node = graph->nodes[i];

        *error_p = graph->nodes[i];
        if (ctx != NULL && !may_be_inside(node))
            return CUDA_ERROR_NOT_SUPPORTED;
        if (ctx != NULL && node->type == CU_GRAPH_NODE_TYPE_KERNEL && node->ctx != ctx)
            return CUDA_ERROR_INVALID_VALUE;
        if (node->type == CU_GRAPH_NODE_TYPE_GRAPH)
            cr = check_nodes(node->body->child, ctx, error_p);
        if (node->type != CU_GRAPH_NODE_TYPE_CONDITIONAL)
            continue;
        node->body->cond.cond->used = true;
        for (unsigned k = 0; k < node->body->cond.size && cr == CUDA_SUCCESS; k++)
            cr = check_nodes(node->body->cond.bodies[k], node->ctx, error_p);
    }
    return cr;
}

/* Does what with the conditions of the graph and all inside of it, until that is false. */
static bool
each_cond(const struct fe_graph *graph, bool (*what)(struct fe_cond *, void *), void *user)
{
    bool good = true;

    for (size_t i = 0; i < graph->cond_count && good; i++)
        good = what(graph->conds[i], user);
    for (size_t i = 0; i < graph->count && good; i++) {
        const struct fe_node *node = graph->nodes[i];

        if (node->type == CU_GRAPH_NODE_TYPE_GRAPH)
            good = each_cond(node->body->child, what, user);
        for (unsigned k = 0;
             node->type == CU_GRAPH_NODE_TYPE_CONDITIONAL && k < node->body->cond.size && good; k++)
            good = each_cond(node->body->cond.bodies[k], what, user);
    }
    return good;
}

static bool
mark_unused(struct fe_cond *cond, void *user)
{
    (void)user;
    cond->used = false;
    return true;
}

static bool
is_used(struct fe_cond *cond, void *user)
{
    (void)user;
    return cond->used;
}

static bool
is_free_for(struct fe_cond *cond, void *exec)
{
    return cond->exec == 0 || cond->exec == *(const uint64_t *)exec;
}

/* For whom a plan takes conditions. */
struct taking {
    struct fe_plan *plan;
    uint64_t exec;
};

static bool
take(struct fe_cond *cond, void *user)
{
    struct taking *t = user;
    struct fe_plan *plan = t->plan;
    struct fe_cond **conds = realloc(plan->conds, (plan->cond_count + 1) * sizeof(*conds));

    if (conds == NULL)
        return false;
    plan->conds = conds;
    conds[plan->cond_count++] = cond;
    cond->refs++;
    cond->exec = t->exec;
    return true;
}

CUresult
fe_conds_claim(const struct fe_graph *graph, uint64_t exec, struct fe_plan *plan,
               CUgraphInstantiateResult *result_p, struct fe_node **error_p)
{
    struct taking t = {plan, exec};
    CUresult cr;

    *result_p = CUDA_GRAPH_INSTANTIATE_ERROR;
    *error_p = NULL;
    if (!each_cond(graph, is_free_for, &exec))
        return CUDA_ERROR_NOT_SUPPORTED; /* one at a time */
    each_cond(graph, mark_unused, NULL);
    cr = check_nodes(graph, NULL, error_p);
    if (cr == CUDA_ERROR_NOT_SUPPORTED)
        *result_p = CUDA_GRAPH_INSTANTIATE_NODE_OPERATION_NOT_SUPPORTED;
    if (cr != CUDA_SUCCESS)
        return cr;
    *error_p = NULL;
    if (!each_cond(graph, is_used, NULL)) {
        *result_p = CUDA_GRAPH_INSTANTIATE_CONDITIONAL_HANDLE_UNUSED;
        return CUDA_ERROR_INVALID_VALUE;
    }
    if (!each_cond(graph, take, &t))
        return CUDA_ERROR_OUT_OF_MEMORY;
    *result_p = CUDA_GRAPH_INSTANTIATE_SUCCESS;
    return CUDA_SUCCESS;
}

void
fe_conds_release(struct fe_plan *plan, uint64_t exec)
{
    for (size_t i = 0; i < plan->cond_count; i++)
        if (plan->conds[i]->exec == exec)
            plan->conds[i]->exec = 0;
}
