/* backend/driver/soft/dev/graph_exec.c -- instantiation and launch of graphs
 *
 * A launch runs its nodes one after the other in one executor: correct for every order that
 * the edges allow, without overlap inside a graph.
 */
#include "backend/driver/soft/dev/capture.h"
#include "backend/driver/soft/dev/graph.h"
#include "backend/driver/soft/dev/mempool.h"
#include "backend/driver/soft/dev/span.h"
#include "cuda_api.h"
#include "protocol/base/clock.h"

#include <string.h>
#include <time.h>

#define EXEC_FLAGS                                                                                 \
    (CUDA_GRAPH_INSTANTIATE_FLAG_AUTO_FREE_ON_LAUNCH | CUDA_GRAPH_INSTANTIATE_FLAG_UPLOAD |        \
     CUDA_GRAPH_INSTANTIATE_FLAG_USE_NODE_PRIORITY)

/* --- plans --- */

static void
plan_node_fini(struct sd_plan_node *n)
{
    sd_work_fini(&n->work);
    sd_graph_mem_put(n->mem);
    if (n->child != NULL)
        sd_plan_put(n->child);
    for (unsigned i = 0; i < n->body_count; i++)
        if (n->bodies[i] != NULL)
            sd_plan_put(n->bodies[i]);
    free(n->bodies);
    if (n->cond != NULL)
        sd_cond_put(n->cond);
    free(n->deps);
}

/* The graphs' lock is held: memory of nodes is counted under it. */
void
sd_plan_put(struct sd_plan *plan)
{
    if (plan == NULL || atomic_fetch_sub(&plan->refs, 1) != 1)
        return;
    for (size_t i = 0; i < plan->count; i++)
        plan_node_fini(&plan->nodes[i]);
    free(plan->nodes);
    for (size_t i = 0; i < plan->cond_count; i++)
        sd_cond_put(plan->conds[i]);
    free(plan->conds);
    sd_users_drop(plan->users);
    free(plan);
}

static struct sd_plan *
plan_get(struct sd_plan *plan)
{
    atomic_fetch_add(&plan->refs, 1);
    return plan;
}

static struct sd_plan *
plan_new(size_t count)
{
    struct sd_plan *plan = calloc(1, sizeof(*plan));

    if (plan == NULL)
        return NULL;
    plan->nodes = calloc(count != 0 ? count : 1, sizeof(*plan->nodes));
    if (plan->nodes == NULL) {
        free(plan);
        return NULL;
    }
    atomic_init(&plan->refs, 1);
    return plan;
}

static CUresult
plan_bodies(struct sd_plan_node *n, CUgraphNode node)
{
    CUresult cr = CUDA_SUCCESS;

    n->cond = sd_cond_get(node->cond.cond);
    n->cond_type = node->cond.type;
    n->bodies = calloc(node->cond.size, sizeof(*n->bodies));
    if (n->bodies == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    for (; n->body_count < node->cond.size && cr == CUDA_SUCCESS; n->body_count++)
        cr = sd_plan_make(node->cond.bodies[n->body_count], &n->bodies[n->body_count]);
    return cr;
}

static CUresult
plan_node_make(struct sd_plan_node *n, CUgraphNode node, size_t created)
{
    CUresult cr = sd_work_copy(&n->work, &node->work);

    n->origin = node;
    n->type = node->type;
    n->created = created;
    n->event = node->event;
    n->freed = node->freed;
    n->work.ctx = node->work.ctx != NULL ? node->work.ctx : node->ctx;
    n->mem = node->mem;
    if (n->mem != NULL)
        n->mem->refs++;
    n->deps = calloc(node->dep_count != 0 ? node->dep_count : 1, sizeof(*n->deps));
    if (n->deps == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    for (; n->dep_count < node->dep_count; n->dep_count++)
        n->deps[n->dep_count] = node->deps[n->dep_count].from->index;
    if (cr == CUDA_SUCCESS && node->child != NULL)
        cr = sd_plan_make(node->child, &n->child);
    if (cr == CUDA_SUCCESS && node->cond.bodies != NULL)
        cr = plan_bodies(n, node);
    return cr;
}

static CUresult
plan_add_conds(struct sd_plan *plan, struct sd_cond **from, size_t count)
{
    struct sd_cond **conds;

    if (count == 0)
        return CUDA_SUCCESS;
    conds = realloc(plan->conds, (plan->cond_count + count) * sizeof(*conds));
    if (conds == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    plan->conds = conds;
    for (size_t i = 0; i < count; i++)
        conds[plan->cond_count++] = sd_cond_get(from[i]);
    return CUDA_SUCCESS;
}

/* A launch sets all that are inside of it. */
static CUresult
plan_conds(struct sd_plan *plan, const struct CUgraph_st *graph)
{
    CUresult cr = plan_add_conds(plan, graph->conds, graph->cond_count);

    for (size_t i = 0; i < plan->count && cr == CUDA_SUCCESS; i++) {
        const struct sd_plan_node *n = &plan->nodes[i];

        if (n->child != NULL)
            cr = plan_add_conds(plan, n->child->conds, n->child->cond_count);
        for (unsigned k = 0; k < n->body_count && cr == CUDA_SUCCESS; k++)
            cr = plan_add_conds(plan, n->bodies[k]->conds, n->bodies[k]->cond_count);
    }
    return cr;
}

static bool
step_has_memory(const struct sd_plan_node *n)
{
    return n->type == CU_GRAPH_NODE_TYPE_MEM_ALLOC || n->type == CU_GRAPH_NODE_TYPE_MEM_FREE ||
           (n->child != NULL && n->child->has_memory);
}

/* True when all that node depends on is already in the plan. */
static bool
node_ready(const struct CUgraphNode_st *node)
{
    for (size_t i = 0; i < node->dep_count; i++)
        if (!node->deps[i].from->mark)
            return false;
    return true;
}

CUresult
sd_plan_make(CUgraph graph, struct sd_plan **plan_p)
{
    struct sd_plan *plan = plan_new(graph->count);
    CUresult cr = plan != NULL ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
    bool progress = true;

    for (size_t i = 0; i < graph->count; i++) {
        graph->nodes[i]->mark = false;
        graph->nodes[i]->index = i;
    }
    /* Nodes are mostly created in a valid order already: one or two rounds. */
    while (cr == CUDA_SUCCESS && plan->count < graph->count && progress) {
        progress = false;
        for (size_t i = 0; i < graph->count && cr == CUDA_SUCCESS; i++) {
            CUgraphNode node = graph->nodes[i];

            if (node->mark || !node_ready(node))
                continue;
            cr = plan_node_make(&plan->nodes[plan->count], node, i);
            plan->has_memory |= step_has_memory(&plan->nodes[plan->count++]);
            node->mark = true;
            progress = true;
        }
    }
    if (cr == CUDA_SUCCESS && plan->count < graph->count)
        cr = CUDA_ERROR_INVALID_VALUE; /* a cycle */
    if (cr == CUDA_SUCCESS)
        cr = plan_conds(plan, graph);
    if (cr == CUDA_SUCCESS)
        cr = sd_users_copy(graph->users, &plan->users);
    if (cr != CUDA_SUCCESS) {
        if (plan != NULL)
            sd_plan_put(plan);
        return cr;
    }
    *plan_p = plan;
    return CUDA_SUCCESS;
}

static CUresult
plan_node_copy(struct sd_plan_node *to, const struct sd_plan_node *from)
{
    CUresult cr;

    *to = *from;
    cr = sd_work_copy(&to->work, &from->work);
    if (to->mem != NULL)
        to->mem->refs++;
    if (to->child != NULL)
        plan_get(to->child);
    if (to->cond != NULL)
        sd_cond_get(to->cond);
    to->deps = malloc((from->dep_count + 1) * sizeof(*to->deps));
    to->bodies = calloc(from->body_count + 1, sizeof(struct sd_plan *));
    to->body_count = 0;
    if (to->deps == NULL || to->bodies == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    memcpy(to->deps, from->deps, from->dep_count * sizeof(*to->deps));
    for (; to->body_count < from->body_count; to->body_count++)
        to->bodies[to->body_count] = plan_get(from->bodies[to->body_count]);
    return cr;
}

CUresult
sd_plan_own(CUgraphExec exec)
{
    const struct sd_plan *from = exec->plan;
    struct sd_plan *plan;
    CUresult cr = CUDA_SUCCESS;

    if (atomic_load(&from->refs) == 1)
        return CUDA_SUCCESS;
    plan = plan_new(from->count);
    if (plan == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    plan->has_memory = from->has_memory;
    for (; plan->count < from->count && cr == CUDA_SUCCESS; plan->count++)
        cr = plan_node_copy(&plan->nodes[plan->count], &from->nodes[plan->count]);
    if (cr == CUDA_SUCCESS)
        cr = plan_add_conds(plan, from->conds, from->cond_count);
    if (cr == CUDA_SUCCESS)
        cr = sd_users_copy(from->users, &plan->users);
    if (cr != CUDA_SUCCESS) {
        sd_plan_put(plan);
        return cr;
    }
    sd_plan_put(exec->plan);
    exec->plan = plan;
    return CUDA_SUCCESS;
}

/* --- running --- */

static CUresult run_plan(const struct sd_plan *plan, struct CUctx_st *ctx);

static CUresult
run_values(struct sd_work *work)
{
    long ns = 20000;

    work->values.next = 0;
    while (!sd_work_ready(work)) {
        if (atomic_load(&work->ctx->error) != 0)
            return CUDA_SUCCESS;
        nanosleep(&(struct timespec){.tv_nsec = ns}, NULL);
        ns = ns < 1000000 ? ns + ns / 8 : ns;
    }
    return CUDA_SUCCESS;
}

static CUresult
run_while(const struct sd_plan_node *n, struct CUctx_st *ctx)
{
    CUresult cr = CUDA_SUCCESS;

    while (cr == CUDA_SUCCESS && atomic_load(&n->cond->now) != 0 && atomic_load(&ctx->error) == 0) {
        cr = run_plan(n->bodies[0], ctx);
        if (ctx->dev->profile.instant)
            break; /* kernels that do not run end no loop */
    }
    return cr;
}

static CUresult
run_conditional(const struct sd_plan_node *n, struct CUctx_st *ctx)
{
    uint32_t value = atomic_load(&n->cond->now);

    if (n->cond_type == CU_GRAPH_COND_TYPE_WHILE)
        return run_while(n, ctx);
    if (n->cond_type == CU_GRAPH_COND_TYPE_IF)
        value = value == 0; /* the second body is what else is done */
    return value < n->body_count ? run_plan(n->bodies[value], ctx) : CUDA_SUCCESS;
}

static CUresult
run_node(const struct sd_plan_node *n, struct CUctx_st *ctx)
{
    struct sd_work work;
    CUresult cr;

    switch (n->type) {
    case CU_GRAPH_NODE_TYPE_GRAPH:
        return run_plan(n->child, ctx);
    case CU_GRAPH_NODE_TYPE_CONDITIONAL:
        return run_conditional(n, ctx);
    case CU_GRAPH_NODE_TYPE_MEM_ALLOC:
        return sd_graph_mem_map(n->mem);
    case CU_GRAPH_NODE_TYPE_MEM_FREE:
        return sd_mempool_free_queued(n->freed, false);
    case CU_GRAPH_NODE_TYPE_BATCH_MEM_OP:
        cr = sd_work_copy(&work, &n->work); /* it counts its progress in itself */
        if (cr == CUDA_SUCCESS)
            cr = run_values(&work);
        sd_work_fini(&work);
        return cr;
    case CU_GRAPH_NODE_TYPE_KERNEL:
    case CU_GRAPH_NODE_TYPE_MEMCPY:
    case CU_GRAPH_NODE_TYPE_MEMSET:
    case CU_GRAPH_NODE_TYPE_HOST:
        work = n->work; /* borrowed: running changes nothing of these */
        if (n->type == CU_GRAPH_NODE_TYPE_HOST)
            work.ctx = ctx; /* it may have been made where none was current */
        return sd_work_run(&work);
    default:
        return CUDA_SUCCESS; /* empty; events are the launch's dependencies and marks */
    }
}

static CUresult
run_plan(const struct sd_plan *plan, struct CUctx_st *ctx)
{
    for (size_t i = 0; i < plan->count; i++) {
        CUresult cr;

        if (plan->nodes[i].disabled)
            continue;
        cr = run_node(&plan->nodes[i], ctx);
        if (cr != CUDA_SUCCESS)
            return cr;
    }
    return CUDA_SUCCESS;
}

static void
reset_conditions(const struct sd_plan *plan)
{
    for (size_t i = 0; i < plan->cond_count; i++)
        if ((plan->conds[i]->flags & CU_GRAPH_COND_ASSIGN_DEFAULT) != 0)
            atomic_store(&plan->conds[i]->now, plan->conds[i]->value);
}

/* The lock is held. */
static void
freed_put(struct sd_graph_work *graph)
{
    while (graph->freed_count != 0)
        sd_graph_mem_put(graph->freed[--graph->freed_count]);
}

CUresult
sd_graph_run(struct sd_work *work)
{
    CUresult cr;

    reset_conditions(work->graph.plan);
    cr = run_plan(work->graph.plan, work->ctx);
    if (work->graph.freed_count != 0) {
        /* Before anybody can see that the launch is done. */
        sd_graph_lock();
        freed_put(&work->graph);
        sd_graph_unlock();
    }
    return cr;
}

void
sd_graph_work_fini(struct sd_graph_work *graph)
{
    sd_graph_lock();
    freed_put(graph); /* of a launch that did not run */
    sd_plan_put(graph->plan);
    sd_graph_unlock();
    free(graph->freed);
    sd_users_bury();
}

/* --- instantiation --- */

/* How it went, for those who ask. */
struct outcome {
    CUgraphInstantiateResult result;
    CUgraphNode node;
};

/* The lock is held. */
static CUresult
exec_fill(CUgraphExec exec, CUgraph graph, struct outcome *o)
{
    CUresult cr;

    if (!sd_graph_valid(graph) || graph->moved)
        return CUDA_ERROR_INVALID_VALUE;
    cr = sd_plan_make(graph, &exec->plan);
    if (cr != CUDA_SUCCESS) {
        if (cr == CUDA_ERROR_INVALID_VALUE)
            o->result = CUDA_GRAPH_INSTANTIATE_INVALID_STRUCTURE;
        return cr;
    }
    cr = sd_conds_claim(graph, exec->plan, exec, &o->result, &o->node);
    if (cr != CUDA_SUCCESS)
        sd_plan_put(exec->plan);
    return cr;
}

static CUresult
instantiate(CUgraphExec *exec_p, CUgraph graph, cuuint64_t flags, struct outcome *o)
{
    CUgraphExec exec;
    CUcontext ctx;
    CUresult cr;

    *o = (struct outcome){CUDA_GRAPH_INSTANTIATE_ERROR, NULL};
    SD_ENTER(ctx);
    if (exec_p == NULL ||
        (flags & ~(cuuint64_t)(EXEC_FLAGS | CUDA_GRAPH_INSTANTIATE_FLAG_DEVICE_LAUNCH)) != 0)
        return CUDA_ERROR_INVALID_VALUE;
    if ((flags & CUDA_GRAPH_INSTANTIATE_FLAG_DEVICE_LAUNCH) != 0)
        return sd_refuse("cuGraphInstantiate for launches from the device");
    exec = sd_object_new(SD_GRAPH_EXEC, sizeof(*exec));
    if (exec == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    exec->ctx = ctx;
    exec->flags = flags;
    sd_graph_lock();
    cr = exec_fill(exec, graph, o);
    sd_graph_unlock();
    if (cr != CUDA_SUCCESS) {
        sd_object_free(exec);
        sd_users_bury();
        return cr;
    }
    *exec_p = exec;
    return CUDA_SUCCESS;
}

GP_EXPORT CUresult
cuGraphInstantiateWithFlags(CUgraphExec *phGraphExec, CUgraph hGraph, unsigned long long flags)
{
    struct outcome o;

    return instantiate(phGraphExec, hGraph, flags, &o);
}

GP_EXPORT CUresult
cuGraphInstantiateWithParams(CUgraphExec *phGraphExec, CUgraph hGraph,
                             CUDA_GRAPH_INSTANTIATE_PARAMS *instantiateParams)
{
    struct outcome o;
    CUresult cr;

    if (instantiateParams == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    cr = instantiate(phGraphExec, hGraph, instantiateParams->flags, &o);
    instantiateParams->hErrNode_out = o.node;
    instantiateParams->result_out = o.result;
    return cr;
}

GP_EXPORT CUresult
cuGraphInstantiate_v2(CUgraphExec *phGraphExec, CUgraph hGraph, CUgraphNode *phErrorNode,
                      char *logBuffer, size_t bufferSize)
{
    struct outcome o;
    CUresult cr = instantiate(phGraphExec, hGraph, 0, &o);

    if (phErrorNode != NULL)
        *phErrorNode = o.node;
    if (logBuffer != NULL && bufferSize != 0)
        logBuffer[0] = '\0';
    return cr;
}

GP_EXPORT CUresult
cuGraphInstantiate(CUgraphExec *phGraphExec, CUgraph hGraph, CUgraphNode *phErrorNode,
                   char *logBuffer, size_t bufferSize)
{
    return cuGraphInstantiate_v2(phGraphExec, hGraph, phErrorNode, logBuffer, bufferSize);
}

CUresult
sd_exec_get(CUgraphExec exec)
{
    SD_ENTER_READY();
    return sd_object_is(exec, SD_GRAPH_EXEC) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

GP_EXPORT CUresult
cuGraphExecDestroy(CUgraphExec hGraphExec)
{
    CUresult cr;

    sd_graph_lock();
    cr = sd_exec_get(hGraphExec);
    if (cr != CUDA_SUCCESS) {
        sd_graph_unlock();
        return cr;
    }
    if (hGraphExec->last_line != NULL)
        sd_timeline_put(hGraphExec->last_line);
    sd_conds_release(hGraphExec->plan, hGraphExec);
    sd_plan_put(hGraphExec->plan);
    sd_object_free(hGraphExec);
    sd_graph_unlock();
    sd_users_bury();
    return CUDA_SUCCESS;
}

GP_EXPORT CUresult
cuGraphExecGetFlags(CUgraphExec hGraphExec, cuuint64_t *flags)
{
    CUresult cr = sd_exec_get(hGraphExec);

    if (cr != CUDA_SUCCESS)
        return cr;
    if (flags == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    *flags = hGraphExec->flags;
    return CUDA_SUCCESS;
}

/* --- launch --- */

/* What the launch waits for: the events of its wait nodes, as they are now. */
static CUresult
wait_for_events(const struct sd_plan *plan, struct sd_op *op)
{
    CUresult cr = CUDA_SUCCESS;

    for (size_t i = 0; i < plan->count && cr == CUDA_SUCCESS; i++) {
        const struct sd_plan_node *n = &plan->nodes[i];
        struct sd_mark *mark = NULL;

        if (n->child != NULL)
            cr = wait_for_events(n->child, op);
        if (n->type != CU_GRAPH_NODE_TYPE_WAIT_EVENT || !sd_object_is(n->event, SD_EVENT))
            continue;
        sd_sched_lock();
        if (n->event->mark != NULL)
            mark = sd_mark_get(n->event->mark);
        sd_sched_unlock();
        cr = mark != NULL ? sd_op_depend(op, mark->timeline, mark->seq) : CUDA_SUCCESS;
        sd_mark_put(mark);
    }
    return cr;
}

/* In a stream of whatever context: nodes of a graph may be of several. */
static CUresult
record_event(CUevent event, CUstream stream)
{
    struct sd_op *op;

    if (!sd_object_is(event, SD_EVENT) || atomic_load(&stream->capture) != NULL)
        return cuEventRecord(event, stream);
    sd_capture_event_gone(event);
    op = sd_op_new(SD_WORK_RECORD, stream->ctx);
    return op != NULL ? sd_event_record_op(event, stream, op) : CUDA_ERROR_OUT_OF_MEMORY;
}

/* Events of record nodes are reached when the whole graph is. */
static CUresult
record_events(const struct sd_plan *plan, CUstream stream)
{
    CUresult cr = CUDA_SUCCESS;

    for (size_t i = 0; i < plan->count && cr == CUDA_SUCCESS; i++) {
        const struct sd_plan_node *n = &plan->nodes[i];

        if (n->child != NULL)
            cr = record_events(n->child, stream);
        else if (n->type == CU_GRAPH_NODE_TYPE_EVENT_RECORD)
            cr = record_event(n->event, stream);
    }
    return cr;
}

/* The lock is held. Whether anything that the plan allocates is allocated already. */
static bool
memory_in_use(const struct sd_plan *plan)
{
    for (size_t i = 0; i < plan->count; i++) {
        const struct sd_plan_node *n = &plan->nodes[i];

        if ((n->mem != NULL && n->mem->allocated) ||
            (n->child != NULL && n->child->has_memory && memory_in_use(n->child)))
            return true;
    }
    return false;
}

/* The lock is held. The program may name what the plan allocates from now on. */
static CUresult
memory_take(const struct sd_plan *plan)
{
    CUresult cr = CUDA_SUCCESS;

    for (size_t i = 0; i < plan->count && cr == CUDA_SUCCESS; i++) {
        const struct sd_plan_node *n = &plan->nodes[i];

        if (n->mem != NULL) {
            if (!n->mem->allocated) {
                n->mem->refs++;
                sd_graph_mem_count(n->mem, true);
            }
            n->mem->allocated = true;
            cr = sd_graph_mem_map(n->mem);
        } else if (n->child != NULL && n->child->has_memory) {
            cr = memory_take(n->child);
        }
    }
    return cr;
}

/* The lock is held. The next launch may allocate it again; until this one is done, it has the
 * reference. */
static CUresult
memory_free(struct sd_graph_work *work, CUdeviceptr address)
{
    struct sd_graph_mem *mem, **freed;
    struct sd_alloc alloc;

    if (!sd_map_find(address, &alloc) || alloc.kind != SD_MEM_GRAPH || alloc.base != address)
        return CUDA_SUCCESS;
    mem = alloc.owner;
    if (!mem->allocated)
        return CUDA_SUCCESS;
    freed = realloc(work->freed, (work->freed_count + 1) * sizeof(*freed));
    if (freed == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    work->freed = freed;
    freed[work->freed_count++] = mem;
    mem->allocated = false;
    sd_graph_mem_count(mem, false);
    return CUDA_SUCCESS;
}

static CUresult
memory_free_all(struct sd_graph_work *work, const struct sd_plan *plan)
{
    CUresult cr = CUDA_SUCCESS;

    for (size_t i = 0; i < plan->count && cr == CUDA_SUCCESS; i++) {
        const struct sd_plan_node *n = &plan->nodes[i];

        if (n->type == CU_GRAPH_NODE_TYPE_MEM_FREE)
            cr = memory_free(work, n->freed);
        else if (n->child != NULL && n->child->has_memory)
            cr = memory_free_all(work, n->child);
    }
    return cr;
}

/* The lock is held. What the launch allocates must be free, unless it frees by itself. */
static CUresult
launch_memory(struct sd_graph_work *work, cuuint64_t flags)
{
    const struct sd_plan *plan = work->plan;
    CUresult cr;

    if (!plan->has_memory)
        return CUDA_SUCCESS;
    if ((flags & CUDA_GRAPH_INSTANTIATE_FLAG_AUTO_FREE_ON_LAUNCH) == 0 && memory_in_use(plan))
        return CUDA_ERROR_INVALID_VALUE;
    cr = memory_take(plan);
    return cr == CUDA_SUCCESS ? memory_free_all(work, plan) : cr;
}

/* Launches of one executable graph follow each other. The reference is consumed. */
static void
remember_launch(CUgraphExec exec, const struct sd_dep *place)
{
    struct sd_timeline *before;

    sd_graph_lock();
    before = place->timeline;
    if (sd_object_is(exec, SD_GRAPH_EXEC)) { /* no other thread has destroyed it */
        before = exec->last_line;
        exec->last_line = place->timeline;
        exec->last_seq = place->seq;
    }
    sd_graph_unlock();
    if (before != NULL)
        sd_timeline_put(before);
}

GP_EXPORT CUresult
cuGraphLaunch(CUgraphExec hGraph, CUstream hStream)
{
    struct sd_dep place;
    struct sd_plan *plan;
    struct sd_op *op;
    CUstream stream;
    CUresult cr = sd_exec_get(hGraph);

    if (cr == CUDA_SUCCESS)
        cr = sd_stream_get(hStream, &stream);
    if (cr != CUDA_SUCCESS)
        return cr;
    op = sd_op_new(SD_WORK_GRAPH, stream->ctx);
    if (op == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    sd_graph_lock();
    cr = sd_exec_get(hGraph); /* another thread may have destroyed it */
    if (cr != CUDA_SUCCESS) {
        sd_graph_unlock();
        sd_op_free(op);
        return cr;
    }
    plan = plan_get(hGraph->plan);
    op->work.graph.plan = plan_get(plan);
    cr = launch_memory(&op->work.graph, hGraph->flags);
    if (cr == CUDA_SUCCESS && hGraph->last_line != NULL)
        cr = sd_op_depend(op, hGraph->last_line, hGraph->last_seq);
    sd_graph_unlock();
    if (cr == CUDA_SUCCESS)
        cr = wait_for_events(plan, op);
    if (cr == CUDA_SUCCESS) {
        cr = sd_stream_submit(stream, op, &place);
        if (cr == CUDA_SUCCESS && place.timeline != NULL)
            remember_launch(hGraph, &place);
        if (cr == CUDA_SUCCESS)
            cr = record_events(plan, stream);
    } else {
        sd_op_free(op);
    }
    sd_graph_lock();
    sd_plan_put(plan);
    sd_graph_unlock();
    sd_users_bury();
    return cr;
}

GP_EXPORT CUresult
cuGraphUpload(CUgraphExec hGraph, CUstream hStream)
{
    CUstream stream;
    CUresult cr = sd_exec_get(hGraph);

    return cr != CUDA_SUCCESS ? cr : sd_stream_get_running(hStream, &stream);
}
