/* backend/driver/soft/dev/graph_cond.c -- conditions: their handles, and which graphs may have them
 */
#include "backend/driver/soft/dev/graph.h"
#include "backend/driver/soft/dev/green.h"
#include "cuda_api.h"

#include <string.h>

/* --- handles; a number is never used again --- */

#define BUCKETS 64u

/* Rank 47, a leaf: guards the table, which kernels look into. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct sd_cond *buckets[BUCKETS];
static CUgraphConditionalHandle last_handle = 0x100000;

static struct sd_cond *
cond_new(CUcontext ctx, unsigned value, unsigned flags)
{
    struct sd_cond *cond = calloc(1, sizeof(*cond));

    if (cond == NULL)
        return NULL;
    cond->ctx = ctx;
    cond->ctx_id = atomic_load(&ctx->id);
    cond->value = value;
    cond->flags = flags;
    cond->refs = 1;
    atomic_init(&cond->now, value);
    pthread_mutex_lock(&lock);
    cond->handle = ++last_handle;
    cond->next = buckets[cond->handle % BUCKETS];
    buckets[cond->handle % BUCKETS] = cond;
    pthread_mutex_unlock(&lock);
    return cond;
}

struct sd_cond *
sd_cond_get(struct sd_cond *cond)
{
    cond->refs++;
    return cond;
}

void
sd_cond_put(struct sd_cond *cond)
{
    struct sd_cond **at = &buckets[cond->handle % BUCKETS];

    if (--cond->refs != 0)
        return;
    pthread_mutex_lock(&lock);
    while (*at != cond)
        at = &(*at)->next;
    *at = cond->next;
    pthread_mutex_unlock(&lock);
    free(cond);
}

bool
sd_cond_set(struct CUctx_st *ctx, CUgraphConditionalHandle handle, uint32_t value)
{
    struct sd_cond *cond;
    bool found;

    pthread_mutex_lock(&lock);
    cond = buckets[handle % BUCKETS];
    while (cond != NULL && cond->handle != handle)
        cond = cond->next;
    found = cond != NULL && cond->ctx == ctx && cond->ctx_id == atomic_load(&ctx->id);
    if (found)
        atomic_store(&cond->now, value);
    pthread_mutex_unlock(&lock);
    return found;
}

GP_EXPORT CUresult
cuGraphConditionalHandleCreate(CUgraphConditionalHandle *pHandle_out, CUgraph hGraph, CUcontext ctx,
                               unsigned int defaultLaunchValue, unsigned int flags)
{
    struct sd_cond **conds, *cond = NULL;
    CUresult cr = CUDA_SUCCESS;

    SD_ENTER_READY();
    if (ctx == NULL)
        ctx = sd_ctx_current();
    if (pHandle_out == NULL || (flags & ~(unsigned)CU_GRAPH_COND_ASSIGN_DEFAULT) != 0)
        return CUDA_ERROR_INVALID_VALUE;
    cr = sd_green_plain(&ctx);
    if (cr != CUDA_SUCCESS)
        return cr;
    sd_graph_lock();
    if (!sd_graph_valid(hGraph)) {
        cr = CUDA_ERROR_INVALID_VALUE;
    } else {
        conds = realloc(hGraph->conds, (hGraph->cond_count + 1) * sizeof(struct sd_cond *));
        hGraph->conds = conds != NULL ? conds : hGraph->conds;
        cond = conds != NULL ? cond_new(ctx, defaultLaunchValue, flags) : NULL;
        cr = cond != NULL ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
    }
    if (cr == CUDA_SUCCESS) {
        hGraph->conds[hGraph->cond_count++] = cond;
        *pHandle_out = cond->handle;
    }
    sd_graph_unlock();
    return cr;
}

struct sd_cond *
sd_cond_find(const struct CUgraph_st *graph, CUgraphConditionalHandle handle)
{
    for (; graph != NULL; graph = graph->owner != NULL ? graph->owner->graph : NULL)
        for (size_t i = 0; i < graph->cond_count; i++)
            if (graph->conds[i]->handle == handle)
                return graph->conds[i];
    return NULL;
}

/* --- nodes --- */

static bool
size_valid(const CUDA_CONDITIONAL_NODE_PARAMS *p)
{
    switch (p->type) {
    case CU_GRAPH_COND_TYPE_IF:
        return p->size == 1 || p->size == 2;
    case CU_GRAPH_COND_TYPE_WHILE:
        return p->size == 1;
    case CU_GRAPH_COND_TYPE_SWITCH:
        return p->size != 0 && p->size <= SD_COND_BODIES_MAX;
    default:
        return false;
    }
}

CUresult
sd_node_set_conditional(CUgraphNode node, const CUDA_CONDITIONAL_NODE_PARAMS *p)
{
    struct sd_cond *cond = sd_cond_find(node->graph, p->handle);
    CUcontext ctx = p->ctx != NULL ? p->ctx : node->ctx;

    if (cond == NULL || !size_valid(p) || sd_green_plain(&ctx) != CUDA_SUCCESS || ctx != cond->ctx)
        return CUDA_ERROR_INVALID_VALUE;
    node->cond.bodies = calloc(p->size, sizeof(*node->cond.bodies));
    if (node->cond.bodies == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    node->cond.cond = sd_cond_get(cond);
    node->cond.type = p->type;
    node->ctx = ctx;
    node->work.ctx = ctx;
    for (; node->cond.size < p->size; node->cond.size++) {
        CUresult cr = sd_graph_new(&node->cond.bodies[node->cond.size]);

        if (cr != CUDA_SUCCESS)
            return cr;
        node->cond.bodies[node->cond.size]->owner = node;
    }
    return CUDA_SUCCESS;
}

void
sd_node_conditional_fini(CUgraphNode node)
{
    for (unsigned i = 0; i < node->cond.size; i++)
        sd_graph_delete(node->cond.bodies[i]);
    free(node->cond.bodies);
    if (node->cond.cond != NULL)
        sd_cond_put(node->cond.cond);
}

bool
sd_graph_has_conditions(const struct CUgraph_st *graph)
{
    for (size_t i = 0; i < graph->count; i++)
        if (graph->nodes[i]->cond.cond != NULL)
            return true;
    return false;
}

/* --- what may be instantiated --- */

/* A body's nodes, also in its children. */
static bool
may_be_inside(CUgraphNodeType type)
{
    switch (type) {
    case CU_GRAPH_NODE_TYPE_KERNEL:
    case CU_GRAPH_NODE_TYPE_MEMCPY:
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
check_nodes(const struct CUgraph_st *graph, CUcontext ctx, CUgraphNode *error_p)
{
    CUresult cr = CUDA_SUCCESS;

    for (size_t i = 0; i < graph->count && cr == CUDA_SUCCESS; i++) {
        const struct CUgraphNode_st *node = graph->nodes[i];

        *error_p = graph->nodes[i];
        if (ctx != NULL && !may_be_inside(node->type))
            return CUDA_ERROR_NOT_SUPPORTED;
        if (ctx != NULL && node->type == CU_GRAPH_NODE_TYPE_KERNEL && node->work.ctx != ctx)
            return CUDA_ERROR_INVALID_VALUE;
        if (node->child != NULL)
            cr = check_nodes(node->child, ctx, error_p);
        if (node->cond.cond != NULL)
            node->cond.cond->used = true;
        for (unsigned k = 0; k < node->cond.size && cr == CUDA_SUCCESS; k++)
            cr = check_nodes(node->cond.bodies[k], node->ctx, error_p);
    }
    return cr;
}

CUresult
sd_conds_claim(const struct CUgraph_st *graph, const struct sd_plan *plan, CUgraphExec exec,
               CUgraphInstantiateResult *result_p, CUgraphNode *error_p)
{
    CUresult cr;

    *result_p = CUDA_GRAPH_INSTANTIATE_ERROR;
    *error_p = NULL;
    for (size_t i = 0; i < plan->cond_count; i++) {
        if (plan->conds[i]->exec != NULL && plan->conds[i]->exec != exec)
            return CUDA_ERROR_NOT_SUPPORTED; /* one at a time */
        plan->conds[i]->used = false;
    }
    cr = check_nodes(graph, NULL, error_p);
    if (cr == CUDA_ERROR_NOT_SUPPORTED)
        *result_p = CUDA_GRAPH_INSTANTIATE_NODE_OPERATION_NOT_SUPPORTED;
    if (cr != CUDA_SUCCESS)
        return cr;
    *error_p = NULL;
    for (size_t i = 0; i < plan->cond_count; i++)
        if (!plan->conds[i]->used) {
            *result_p = CUDA_GRAPH_INSTANTIATE_CONDITIONAL_HANDLE_UNUSED;
            return CUDA_ERROR_INVALID_VALUE;
        }
    sd_conds_take(plan, exec);
    *result_p = CUDA_GRAPH_INSTANTIATE_SUCCESS;
    return CUDA_SUCCESS;
}

void
sd_conds_take(const struct sd_plan *plan, CUgraphExec exec)
{
    for (size_t i = 0; i < plan->cond_count; i++)
        plan->conds[i]->exec = exec;
}

void
sd_conds_release(const struct sd_plan *plan, CUgraphExec exec)
{
    for (size_t i = 0; i < plan->cond_count; i++)
        if (plan->conds[i]->exec == exec)
            plan->conds[i]->exec = NULL;
}
