/* frontend/cuda/graph_exec.c -- executable graphs: instantiated, launched and changed without an
 * answer, but for updates, whose result is one */
#include "cuda_api.h"
#include "frontend/core/notice.h"
#include "frontend/core/stats.h"
#include "frontend/cuda/ask.h"
#include "frontend/cuda/coherent.h"
#include "frontend/cuda/capture.h"
#include "frontend/cuda/graph.h"
#include "frontend/cuda/host.h"
#include "frontend/cuda/image.h"
#include "frontend/cuda/order.h"
#include "frontend/cuda/state.h"
#include "protocol/base/util.h"

#include <stdlib.h>
#include <string.h>

#define EXEC_FLAGS                                                                                 \
    (CUDA_GRAPH_INSTANTIATE_FLAG_AUTO_FREE_ON_LAUNCH | CUDA_GRAPH_INSTANTIATE_FLAG_UPLOAD |        \
     CUDA_GRAPH_INSTANTIATE_FLAG_DEVICE_LAUNCH | CUDA_GRAPH_INSTANTIATE_FLAG_USE_NODE_PRIORITY)

/* What outlives the handle, until the last launch is over. */
struct life {
    struct life *next;
    _Atomic unsigned refs; /* the handle's, and that of the list */
    uint64_t wire;
    bool counted; /* the server tells when the last launch is over */
    struct fe_plan plan;
    /* The last launch; ctx NULL: none. */
    struct fe_context *ctx;
    struct fe_stream *stream;
    uint64_t stream_wire, n;
    bool expected; /* the server may speak unasked */
};

struct fe_exec {
    struct fe_object object;
    cuuint64_t flags;
    struct life *life;
};

/* Guarded by the graphs' lock: those that the server speaks of unasked. */
static struct life *lives;
static _Atomic size_t life_count;

void
fe_exec_define(void)
{
    fe_slab_define(WIRE_HANDLE_GRAPH_EXEC, sizeof(struct fe_exec), 1u << 20);
}

/* -- life ------------------------------------------------------------------------------- */

/* The lock is held. */
static bool
over(const struct life *life)
{
    return life->ctx == NULL || fe_work_proven(life->ctx, life->stream, life->stream_wire, life->n);
}

static void
expect(struct fe_session *s, struct life *life, bool on)
{
    if (life->expected != on)
        fe_notice_expect(s, on ? 1 : -1);
    life->expected = on;
}

bool
fe_graphs_pending(void)
{
    bool pending = false;

    if (GP_LIKELY(atomic_load(&life_count) == 0))
        return false;
    fe_graph_lock();
    for (const struct life *life = lives; life != NULL && !pending; life = life->next)
        pending = life->plan.tokens != NULL && !over(life);
    fe_graph_unlock();
    return pending;
}

/* The lock is held. */
static void
life_enter(struct life *life)
{
    atomic_fetch_add(&life->refs, 1);
    life->next = lives;
    lives = life;
    atomic_fetch_add(&life_count, 1);
}

static void
life_put(struct life *life)
{
    if (atomic_fetch_sub(&life->refs, 1) == 1)
        free(life);
}

/* Without the lock: destructors run. The life is not in the list any more; a reference goes. */
static void
life_end(struct fe_call *call, struct life *life)
{
    expect(call->session, life, false);
    fe_graph_lock();
    fe_conds_release(&life->plan, life->wire);
    fe_plan_free(call, &life->plan);
    fe_graph_unlock();
    fe_graph_flush();
    life_put(life);
}

static struct life *
life_take(uint64_t wire)
{
    struct life **at, *life;

    fe_graph_lock();
    for (at = &lives; *at != NULL && (*at)->wire != wire;)
        at = &(*at)->next;
    life = *at;
    if (life != NULL) {
        *at = life->next;
        atomic_fetch_sub(&life_count, 1);
    }
    fe_graph_unlock();
    return life;
}

/* On the thread of host functions. */
void
fe_graph_gone(struct fe_session *s, uint64_t wire)
{
    struct life *life = life_take(wire);
    struct fe_call call;

    if (life == NULL)
        return;
    if (fe_enter_on(&call, WIRE_CALL_cuGraphExecDestroy, s) != CUDA_SUCCESS)
        return; /* the session is over, and all of this with it */
    life_end(&call, life);
    (void)fe_leave(&call, CUDA_SUCCESS);
}

/* -- instantiation ---------------------------------------------------------------------- */

static CUresult
post_instantiate(struct fe_call *call, const struct fe_exec *exec, const struct gp_buf *buf)
{
    struct wire_cuGraphInstantiateWithFlags_args args = {
        .exec = exec->object.wire,
        .flags = exec->flags & ~(cuuint64_t)CUDA_GRAPH_INSTANTIATE_FLAG_UPLOAD &
                 ~(cuuint64_t)CUDA_GRAPH_INSTANTIATE_FLAG_AUTO_FREE_ON_LAUNCH,
        .counted = exec->life->counted,
    };
    CUresult cr = fe_bytes_send(call, buf->data, buf->len, &args.upload);

    if (cr == CUDA_SUCCESS)
        FE_TELL(cr, call, cuGraphInstantiateWithFlags, &args);
    return cr;
}

/* What cuGraphInstantiateWithParams says of a failure. */
struct outcome {
    CUgraphInstantiateResult result;
    struct fe_node *node;
};

/* What is known of the graph now, under the lock. */
static CUresult
describe(struct fe_call *call, CUgraph handle, struct gp_buf *buf, struct life *life,
         struct outcome *o)
{
    struct fe_graph *graph;
    CUresult cr = CUDA_ERROR_INVALID_VALUE;

    fe_graph_lock();
    graph = fe_graph_get(handle);
    if (graph != NULL && !graph->moved)
        cr = fe_conds_claim(graph, life->wire, &life->plan, &o->result, &o->node);
    if (cr == CUDA_SUCCESS)
        cr = fe_graph_describe(call, graph, buf, &life->plan);
    /* Tokens may come later only into graphs inside. */
    life->counted = life->plan.tokens != NULL || life->plan.users != NULL ||
                    (graph != NULL && fe_graph_has(graph, CU_GRAPH_NODE_TYPE_GRAPH));
    fe_graph_unlock();
    return cr;
}

static CUresult
instantiate_in(struct fe_call *call, CUgraph graph, cuuint64_t flags, struct fe_exec **exec_p,
               struct outcome *o)
{
    struct fe_exec *exec = fe_object_create(WIRE_HANDLE_GRAPH_EXEC, call->context);
    struct life *life = calloc(1, sizeof(*life));
    GP_AUTO_BUF struct gp_buf buf = {0};
    CUresult cr;

    if (exec == NULL || life == NULL) {
        free(life);
        fe_object_destroy(exec);
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    exec->flags = flags;
    exec->life = life;
    atomic_init(&life->refs, 1);
    life->wire = exec->object.wire;
    cr = describe(call, graph, &buf, life, o);
    if (cr == CUDA_SUCCESS)
        cr = post_instantiate(call, exec, &buf);
    if (cr != CUDA_SUCCESS) {
        fe_object_destroy(exec);
        life_end(call, life);
        return cr;
    }
    if (life->counted) {
        fe_graph_lock();
        life_enter(life);
        fe_graph_unlock();
    }
    *exec_p = exec;
    return CUDA_SUCCESS;
}

/* The lock is held. Of the first node, here or inside, that has one. */
static struct fe_context *
context_of(const struct fe_graph *graph)
{
    struct fe_context *ctx = NULL;

    for (size_t i = 0; i < graph->count && ctx == NULL; i++) {
        const struct fe_node *node = graph->nodes[i];

        ctx = node->ctx;
        if (ctx == NULL && node->type == CU_GRAPH_NODE_TYPE_GRAPH)
            ctx = context_of(node->body->child);
        for (unsigned k = 0; ctx == NULL && node->type == CU_GRAPH_NODE_TYPE_CONDITIONAL &&
                             k < node->body->cond.size;
             k++)
            ctx = context_of(node->body->cond.bodies[k]);
    }
    return ctx;
}

/* A graph's work is of one server, whichever context is current. */
static CUresult
enter_graph(struct fe_call *call, CUgraph handle)
{
    const struct fe_context *current = fe_context_current();
    struct fe_context *ctx = NULL;
    const struct fe_graph *graph;

    if (GP_UNLIKELY(fe_several) && current != NULL) {
        fe_graph_lock();
        graph = fe_graph_get(handle);
        ctx = graph != NULL ? context_of(graph) : NULL;
        fe_graph_unlock();
    }
    if (ctx != NULL && ctx->head.session != current->head.session)
        return fe_enter_in(call, WIRE_CALL_cuGraphInstantiateWithFlags, ctx);
    return fe_enter(call, WIRE_CALL_cuGraphInstantiateWithFlags);
}

static CUresult
instantiate(CUgraphExec *handle, CUgraph graph, cuuint64_t flags, struct outcome *o)
{
    struct fe_exec *exec = NULL;
    struct fe_call call;
    CUresult cr = enter_graph(&call, graph);

    if (cr != CUDA_SUCCESS)
        return cr;
    if (handle == NULL || (flags & ~(cuuint64_t)EXEC_FLAGS) != 0)
        return fe_leave(&call, CUDA_ERROR_INVALID_VALUE);
    if ((flags & CUDA_GRAPH_INSTANTIATE_FLAG_DEVICE_LAUNCH) != 0)
        return fe_leave(&call, fe_refuse("cuGraphInstantiate for launches from the device"));
    cr = instantiate_in(&call, graph, flags, &exec, o);
    if (cr == CUDA_SUCCESS)
        *handle = (CUgraphExec)exec;
    return fe_leave(&call, cr);
}

GP_EXPORT CUresult
cuGraphInstantiateWithFlags(CUgraphExec *exec, CUgraph graph, unsigned long long flags)
{
    struct outcome o;

    return instantiate(exec, graph, flags, &o);
}

GP_EXPORT CUresult
cuGraphInstantiateWithParams(CUgraphExec *exec, CUgraph graph,
                             CUDA_GRAPH_INSTANTIATE_PARAMS *params)
{
    struct outcome o = {CUDA_GRAPH_INSTANTIATE_ERROR, NULL};
    CUresult cr;

    if (params == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    cr = instantiate(exec, graph, params->flags, &o);
    params->hErrNode_out = cr == CUDA_SUCCESS ? NULL : (CUgraphNode)o.node;
    params->result_out = cr == CUDA_SUCCESS ? CUDA_GRAPH_INSTANTIATE_SUCCESS
                         : o.result == CUDA_GRAPH_INSTANTIATE_SUCCESS ? CUDA_GRAPH_INSTANTIATE_ERROR
                                                                      : o.result;
    if (cr == CUDA_SUCCESS && (params->flags & CUDA_GRAPH_INSTANTIATE_FLAG_UPLOAD) != 0)
        cr = cuGraphUpload(*exec, params->hUploadStream);
    return cr;
}

GP_EXPORT CUresult
cuGraphInstantiate_v2(CUgraphExec *exec, CUgraph graph, CUgraphNode *error_node, char *log,
                      size_t log_bytes)
{
    struct outcome o = {CUDA_GRAPH_INSTANTIATE_ERROR, NULL};
    CUresult cr;

    if (error_node != NULL)
        *error_node = NULL;
    if (log != NULL && log_bytes != 0)
        log[0] = '\0';
    cr = instantiate(exec, graph, 0, &o);
    if (cr != CUDA_SUCCESS && error_node != NULL)
        *error_node = (CUgraphNode)o.node;
    return cr;
}

GP_EXPORT CUresult
cuGraphInstantiate(CUgraphExec *exec, CUgraph graph, CUgraphNode *error_node, char *log,
                   size_t log_bytes)
{
    return cuGraphInstantiate_v2(exec, graph, error_node, log, log_bytes);
}

/* -- the handle ------------------------------------------------------------------------- */

static CUresult
exec_get(CUgraphExec handle, struct fe_exec **exec_p)
{
    CUresult cr = CUDA_SUCCESS;

    if (fe_state_get(&cr) == NULL)
        return cr;
    *exec_p = fe_object_get(WIRE_HANDLE_GRAPH_EXEC, handle);
    return *exec_p != NULL ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

/* The lock is held. Another thread may have destroyed it since its handle was looked at. */
static bool
there(const struct fe_exec *exec)
{
    return fe_object_get(WIRE_HANDLE_GRAPH_EXEC, exec) != NULL;
}

/* Its handle ends; what it has is freed when nothing runs any more. The server may have told that
 * already. */
static void
exec_end(struct fe_call *call, struct fe_exec *exec)
{
    struct life *life = NULL;

    fe_graph_lock();
    if (there(exec)) { /* else another thread was first */
        life = exec->life;
        fe_conds_release(&life->plan, life->wire);
        if (!life->counted) { /* they came by an update */
            fe_users_retire(life->plan.users, life->ctx, life->stream, life->stream_wire, life->n);
            life->plan.users = NULL;
        }
        fe_object_destroy(exec);
    }
    fe_graph_unlock();
    if (life == NULL)
        return;
    if (life->counted)
        life_put(life);
    else
        life_end(call, life);
    fe_users_settle();
}

GP_EXPORT CUresult
cuGraphExecDestroy(CUgraphExec handle)
{
    struct wire_cuGraphExecDestroy_args args;
    struct fe_exec *exec = NULL;
    struct fe_call call;
    CUresult cr = exec_get(handle, &exec);

    if (cr != CUDA_SUCCESS)
        return cr;
    cr = fe_enter_on(&call, WIRE_CALL_cuGraphExecDestroy, exec->object.context->head.session);
    if (cr != CUDA_SUCCESS)
        return cr;
    args.exec = exec->object.wire;
    FE_TELL(cr, &call, cuGraphExecDestroy, &args);
    if (cr == CUDA_SUCCESS)
        exec_end(&call, exec);
    return fe_leave(&call, cr);
}

static bool
drop_exec(void *object, void *user)
{
    struct fe_exec *exec = object;
    struct fe_call call;

    if (exec->object.context == user &&
        fe_enter_on(&call, WIRE_CALL_cuGraphExecDestroy, exec->object.context->head.session) ==
            CUDA_SUCCESS) {
        exec_end(&call, exec);
        (void)fe_leave(&call, CUDA_SUCCESS);
    }
    return true;
}

void
fe_graph_drop_context(struct fe_context *ctx)
{
    fe_object_each(WIRE_HANDLE_GRAPH_EXEC, drop_exec, ctx);
}

GP_EXPORT CUresult
cuGraphExecGetFlags(CUgraphExec handle, cuuint64_t *flags)
{
    struct fe_exec *exec = NULL;
    CUresult cr = exec_get(handle, &exec);

    FE_COUNT_LOCAL();
    if (cr != CUDA_SUCCESS)
        return cr;
    if (flags == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    *flags = exec->flags;
    return CUDA_SUCCESS;
}

/* -- launch ----------------------------------------------------------------------------- */

/* The lock is held. What the launch allocates must be free, unless it frees by itself. */
static bool
launch_fits(const struct fe_exec *exec)
{
    const struct fe_plan *plan = &exec->life->plan;
    bool again = (exec->flags & CUDA_GRAPH_INSTANTIATE_FLAG_AUTO_FREE_ON_LAUNCH) != 0;

    for (size_t i = 0; i < plan->alloc_count; i++)
        if (plan->allocs[i]->allocated && !again)
            return false;
    return true;
}

/* The lock is held. */
static void
launch_memory(struct fe_exec *exec)
{
    struct fe_plan *plan = &exec->life->plan;

    for (size_t i = 0; i < plan->alloc_count; i++)
        fe_graph_block_used(plan->allocs[i], true);
    for (size_t i = 0; i < plan->free_count; i++) {
        struct fe_graph_block *block = fe_graph_block_find(plan->frees[i]);

        if (block != NULL)
            fe_graph_block_used(block, false);
    }
}

/* Between the post and its end: what the launch with number n writes and records. */
static void
launch_mark(struct fe_call *call, struct fe_exec *exec, struct fe_stream *stream,
            uint64_t stream_wire, uint64_t n)
{
    struct life *life = exec->life;

    for (size_t i = 0; i < life->plan.event_count; i++) {
        struct fe_event *event = life->plan.events[i].event;

        if (event->object.wire != life->plan.events[i].wire)
            continue;
        event->context = call->context;
        event->stream = stream;
        event->stream_wire = stream_wire;
        event->recorded = n;
    }
    for (const struct fe_token *t = life->plan.tokens; t != NULL; t = t->next)
        if (t->kind == FE_TOKEN_PUSH)
            fe_host_written(t->copy.dst.base, fe_token_span(t), call->context, stream, stream_wire,
                            n);
    life->ctx = call->context;
    life->stream = stream;
    life->stream_wire = stream_wire;
    life->n = n;
}

/* The lock is held. Memory that the launch writes here, as the line brings it, is the program's
 * alone until the launch is noted there. *again_p: it is being made reachable for kernels. */
static CUresult
launch_hold(struct fe_exec *exec, bool *again_p)
{
    struct fe_token *t, *tokens = exec->life->plan.tokens;
    enum fe_host_held held = FE_HOST_HELD;

    for (t = tokens; t != NULL && held == FE_HOST_HELD; t = t->next)
        if (t->kind == FE_TOKEN_PUSH)
            held = fe_host_hold(&t->hold, t->copy.dst.base, fe_token_span(t));
    if (held == FE_HOST_HELD)
        return CUDA_SUCCESS;
    for (; tokens != t; tokens = tokens->next)
        if (tokens->kind == FE_TOKEN_PUSH)
            fe_host_release(&tokens->hold);
    *again_p = held == FE_HOST_AGAIN;
    return *again_p ? CUDA_SUCCESS
                    : fe_refuse("a graph's copy into memory that kernels came to reach since");
}

static void
launch_release(struct fe_exec *exec)
{
    for (struct fe_token *t = exec->life->plan.tokens; t != NULL; t = t->next)
        if (t->kind == FE_TOKEN_PUSH)
            fe_host_release(&t->hold);
}

/* *again_p: nothing was done, and is to be once what is wanted is shown. */
static CUresult
launch_post(struct fe_call *call, struct fe_exec *exec, struct fe_stream *stream,
            uint64_t stream_wire, bool *again_p)
{
    struct wire_cuGraphLaunch_args args = {.exec = exec->object.wire, .stream = stream_wire};
    bool held = false;
    CUresult cr;
    void *to;

    *again_p = false;
    fe_graph_lock();
    cr = there(exec) && launch_fits(exec) ? launch_hold(exec, again_p) : CUDA_ERROR_INVALID_VALUE;
    held = cr == CUDA_SUCCESS && !*again_p;
    if (*again_p) {
        fe_graph_unlock();
        return cr;
    }
    if (cr == CUDA_SUCCESS)
        launch_memory(exec);
    if (cr == CUDA_SUCCESS && exec->life->plan.tokens != NULL)
        expect(call->session, exec->life, true);
    to = cr == CUDA_SUCCESS ? fe_post(call, wire_size_cuGraphLaunch_args(&args)) : NULL;
    if (to != NULL) {
        wire_put_cuGraphLaunch_args(to, &args);
        launch_mark(call, exec, stream, stream_wire, fe_stream_mark(call, stream));
        fe_post_done(call);
    } else if (cr == CUDA_SUCCESS) {
        cr = fe_lost(call);
    }
    if (held)
        launch_release(exec);
    fe_graph_unlock();
    return cr;
}

/* An executable graph is of one server, and runs in its streams. */
static CUresult
check_server(const struct fe_call *call, const struct fe_exec *exec)
{
    return exec->object.context->head.session == call->session
               ? CUDA_SUCCESS
               : fe_refuse("a graph's launch in a stream of another server");
}

/* Copies between servers that a launch makes; as many as fit, and how many there are. */
static size_t
between_of(const struct fe_exec *exec, struct fe_relay_copy *copies, size_t room)
{
    size_t count = 0;

    fe_graph_lock();
    for (const struct fe_token *t = there(exec) ? exec->life->plan.tokens : NULL; t != NULL;
         t = t->next) {
        if (t->kind != FE_TOKEN_RELAY)
            continue;
        if (count < room)
            copies[count] = (struct fe_relay_copy){t->dst, t->src, t->copy};
        count++;
    }
    fe_graph_unlock();
    return count;
}

/* Their other servers know nothing of this launch: what the program did there before is waited for.
 */
static CUresult
settle_between(struct fe_call *call, const struct fe_exec *exec)
{
    size_t count = between_of(exec, NULL, 0);
    GP_AUTO_FREE struct fe_relay_copy *copies = NULL;
    CUresult cr = CUDA_SUCCESS;

    if (count == 0)
        return CUDA_SUCCESS;
    copies = malloc(count * sizeof(*copies));
    if (copies == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    count = gp_min_u64(count, between_of(exec, copies, count));
    for (size_t i = 0; i < count && cr == CUDA_SUCCESS; i++)
        cr = fe_relay_settle(call, &copies[i]);
    return cr;
}

/* Around it, what kernels of the graph may reach. */
static CUresult
launch(struct fe_call *call, struct fe_exec *exec, const struct fe_where *where)
{
    CUresult cr;
    bool again;

    do {
        bool active = fe_coherent_active();

        cr = active ? fe_coherent_begin(where, NULL, 0) : CUDA_SUCCESS;
        if (cr != CUDA_SUCCESS)
            break;
        cr = launch_post(call, exec, where->stream, where->wire, &again);
        if (active)
            fe_coherent_end(call, where);
    } while (again);
    return cr;
}

GP_EXPORT CUresult
cuGraphLaunch(CUgraphExec handle, CUstream stream_handle)
{
    struct fe_stream *stream = NULL;
    struct fe_exec *exec = NULL;
    uint64_t stream_wire = 0;
    struct fe_call call;
    CUresult cr = exec_get(handle, &exec);

    if (cr != CUDA_SUCCESS)
        return cr;
    cr = fe_enter(&call, WIRE_CALL_cuGraphLaunch);
    if (cr != CUDA_SUCCESS)
        return cr;
    cr = fe_stream_resolve_capture(&call, stream_handle, &stream, &stream_wire);
    if (cr == CUDA_SUCCESS && fe_capturing(stream)) {
        (void)fe_capture_refuse(stream);
        cr = fe_refuse("cuGraphLaunch into a capturing stream");
    }
    if (cr == CUDA_SUCCESS)
        cr = check_server(&call, exec);
    if (cr == CUDA_SUCCESS)
        cr = fe_order(&call, stream, stream_wire);
    if (cr == CUDA_SUCCESS && GP_UNLIKELY(fe_several))
        cr = settle_between(&call, exec);
    if (cr == CUDA_SUCCESS)
        cr = launch(&call, exec, &(struct fe_where){stream, stream_wire});
    return fe_leave(&call, cr);
}

GP_EXPORT CUresult
cuGraphUpload(CUgraphExec handle, CUstream stream_handle)
{
    struct wire_cuGraphUpload_args args;
    struct fe_stream *stream = NULL;
    struct fe_exec *exec = NULL;
    struct fe_call call;
    CUresult cr = exec_get(handle, &exec);
    void *to;

    if (cr != CUDA_SUCCESS)
        return cr;
    cr = fe_enter(&call, WIRE_CALL_cuGraphUpload);
    if (cr != CUDA_SUCCESS)
        return cr;
    cr = fe_stream_resolve(&call, stream_handle, &stream, &args.stream);
    if (cr == CUDA_SUCCESS)
        cr = check_server(&call, exec);
    if (cr != CUDA_SUCCESS)
        return fe_leave(&call, cr);
    args.exec = exec->object.wire;
    to = fe_post(&call, wire_size_cuGraphUpload_args(&args));
    if (to == NULL)
        return fe_leave(&call, fe_lost(&call));
    wire_put_cuGraphUpload_args(to, &args);
    (void)fe_stream_mark(&call, stream);
    fe_post_done(&call);
    return fe_leave(&call, CUDA_SUCCESS);
}

/* -- for changes, graph_update.c -------------------------------------------------------- */

CUresult
fe_exec_get(CUgraphExec handle, uint64_t *wire_p, struct fe_plan **plan_p)
{
    struct fe_exec *exec = NULL;
    CUresult cr = exec_get(handle, &exec);

    if (cr == CUDA_SUCCESS) {
        *wire_p = exec->object.wire;
        *plan_p = &exec->life->plan;
    }
    return cr;
}

/* The lock is held. */
void
fe_exec_retire(struct fe_call *call, CUgraphExec handle, struct fe_token *old,
               struct fe_users *users)
{
    struct fe_exec *exec = fe_object_get(WIRE_HANDLE_GRAPH_EXEC, handle);
    const struct life *life = exec != NULL ? exec->life : &(const struct life){.ctx = NULL};
    struct fe_token **end;

    fe_users_retire(users, life->ctx, life->stream, life->stream_wire, life->n);
    if (exec == NULL || over(exec->life)) {
        fe_tokens_free(call, old);
        return;
    }
    for (end = &exec->life->plan.tokens; *end != NULL;)
        end = &(*end)->next;
    *end = old;
}
