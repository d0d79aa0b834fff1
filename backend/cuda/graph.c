/* backend/cuda/graph.c -- executable graphs: made, launched, changed, and gone when the last launch
 * is over */
#include "backend/cuda/graph.h"

#include "backend/cuda/account.h"
#include "backend/cuda/module.h"
#include "be_hooks.h"
#include "protocol/base/log.h"
#include "protocol/base/util.h"

#include <stdlib.h>
#include <string.h>

/* -- life ---------------------------------------------------------------------------------------
 */

static bool
array_room(struct be_exec *exec, size_t more)
{
    struct be_array **arrays =
        realloc(exec->arrays, (exec->array_count + more) * sizeof(struct be_array *));

    if (arrays == NULL)
        return false;
    exec->arrays = arrays;
    return true;
}

CUresult
be_exec_keep_array(struct be_exec *exec, struct be_array *array)
{
    for (size_t i = 0; i < exec->array_count; i++)
        if (exec->arrays[i] == array)
            return CUDA_SUCCESS;
    if (!array_room(exec, 1))
        return CUDA_ERROR_OUT_OF_MEMORY;
    exec->arrays[exec->array_count++] = be_array_get(array);
    return CUDA_SUCCESS;
}

static void
arrays_put(struct be_exec *exec)
{
    for (size_t i = 0; i < exec->array_count; i++)
        be_array_put(exec->arrays[i]);
    free(exec->arrays);
    exec->arrays = NULL;
    exec->array_count = 0;
}

CUresult
be_exec_keep_arrays(struct be_exec *exec, struct be_exec *from)
{
    CUresult cr = CUDA_SUCCESS;

    for (size_t i = 0; i < from->array_count && cr == CUDA_SUCCESS; i++)
        cr = be_exec_keep_array(exec, from->arrays[i]);
    arrays_put(from);
    return cr;
}

void
be_exec_keep_hosts(struct be_exec *exec, struct be_exec *from)
{
    struct be_graph_host **end = &from->hosts;

    while (*end != NULL)
        end = &(*end)->next;
    *end = exec->hosts;
    exec->hosts = from->hosts;
    from->hosts = NULL;
}

static void
exec_free(struct be_exec *exec)
{
    while (exec->hosts != NULL) {
        struct be_graph_host *host = exec->hosts;

        exec->hosts = host->next;
        be_graph_host_destroy(host);
    }
    atomic_fetch_sub(&exec->session->graph_execs, 1);
    arrays_put(exec);
    free(exec->nodes);
    free(exec->conds);
    free(exec);
}

/* The client may forget what it kept for the launches. */
static void
exec_tell(struct be_exec *exec)
{
    struct wire_gpNoticeGraphGone_args args = {.execs = &exec->id, .execs_len = 1};

    if (!exec->counted)
        return;
    BE_NOTICE(exec->session, gpNoticeGraphGone, 0, &args);
    be_flush(exec->session);
}

static void
exec_unlink_locked(struct be_exec *exec)
{
    struct be_exec **at = &exec->session->execs;

    while (*at != exec)
        at = &(*at)->next;
    *at = exec->next;
}

/* The driver's halves, where they were made. */
static void
exec_close(struct be_exec *exec)
{
    const struct be_driver_table *t = &exec->session->driver->table;

    if (exec->exec != NULL)
        (void)t->cuGraphExecDestroy(exec->exec);
    if (exec->graph != NULL)
        (void)t->cuGraphDestroy(exec->graph);
    exec->exec = NULL;
    exec->graph = NULL;
    be_account_uncharge(exec->session, exec->context->device, exec->charged);
    exec->charged = 0;
}

/* On a waiter: the last launch of a destroyed one is over. */
static void
exec_gone(struct be_wait *wait, CUresult cr)
{
    struct be_exec *exec = GP_CONTAINER_OF(wait, struct be_exec, gone);

    (void)cr;
    exec_tell(exec);
    exec_free(exec);
}

/* CUhostFn behind each launch of a graph that uses the client's memory or functions. */
static void
launch_over(void *arg)
{
    struct be_exec *exec = arg;
    struct be_session *session = exec->session;
    bool last;

    pthread_mutex_lock(&session->graphs_lock);
    last = --exec->running == 0 && exec->destroyed;
    if (last)
        exec_unlink_locked(exec);
    pthread_mutex_unlock(&session->graphs_lock);
    if (last)
        be_waits_submit(session->waits, &exec->gone);
}

/* -- making -------------------------------------------------------------------------------------
 */

static CUresult
exec_prepare(struct be_call *call, size_t len, struct be_exec **exec_p)
{
    struct be_exec *exec = calloc(1, sizeof(*exec));

    if (exec == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    exec->session = call->session;
    exec->context = call->context;
    exec->gone.kind = BE_WAIT_NOTHING;
    exec->gone.context = call->context;
    exec->gone.run = exec_gone;
    exec->nodes = calloc(len / sizeof(struct wire_graph_node) + 1, sizeof(*exec->nodes));
    if (exec->nodes == NULL) {
        free(exec);
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    if (atomic_fetch_add(&call->session->graph_execs, 1) >= BE_GRAPH_EXECS_MAX) {
        exec_free(exec);
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    *exec_p = exec;
    return CUDA_SUCCESS;
}

/* The uploaded description, built. */
static CUresult
exec_build(struct be_call *call, uint64_t graph, uint32_t upload, struct be_exec **exec_p)
{
    const struct be_driver_table *t = call->driver;
    struct be_exec *exec = NULL;
    uint8_t *data = NULL;
    size_t len = 0;
    CUresult cr;

    cr = be_upload_take(call->session, upload, &data, &len);
    if (cr != CUDA_SUCCESS)
        return cr;
    if (graph != 0 || t->cuGraphCreate == NULL || t->cuGraphAddKernelNode_v2 == NULL)
        cr = CUDA_ERROR_NOT_SUPPORTED;
    else if (!wire_graph_check(data, len))
        cr = CUDA_ERROR_INVALID_VALUE;
    if (cr == CUDA_SUCCESS)
        cr = exec_prepare(call, len, &exec);
    if (cr == CUDA_SUCCESS)
        cr = t->cuGraphCreate(&exec->graph, 0);
    if (cr == CUDA_SUCCESS)
        cr = be_graph_build(call, exec, data, len);
    free(data);
    if (cr != CUDA_SUCCESS && exec != NULL) {
        exec_close(exec);
        exec_free(exec);
        return cr;
    }
    *exec_p = exec;
    return cr;
}

static CUresult
exec_instantiate(struct be_call *call, struct be_exec *exec, uint64_t flags)
{
    const struct be_driver_table *t = call->driver;
    struct be_meter meter;
    CUresult cr;

    /* Launches from the device would name a handle of the client. */
    if ((flags & CUDA_GRAPH_INSTANTIATE_FLAG_DEVICE_LAUNCH) != 0)
        return CUDA_ERROR_NOT_SUPPORTED;
    be_meter_begin(call->session, call->context->device, &meter);
    if (t->cuGraphInstantiateWithFlags != NULL)
        cr = t->cuGraphInstantiateWithFlags(&exec->exec, exec->graph, flags);
    else if (flags == 0 && t->cuGraphInstantiate_v2 != NULL)
        cr = t->cuGraphInstantiate_v2(&exec->exec, exec->graph, NULL, NULL, 0);
    else
        cr = CUDA_ERROR_NOT_SUPPORTED;
    return cr == CUDA_SUCCESS ? be_meter_end(call->session, &meter, &exec->charged) : cr;
}

CUresult
be_hook_cuGraphInstantiateWithFlags(struct be_call *call,
                                    const struct wire_cuGraphInstantiateWithFlags_args *args)
{
    struct be_session *session = call->session;
    struct be_exec *exec = NULL;
    CUresult cr = exec_build(call, args->graph, args->upload, &exec);

    if (cr != CUDA_SUCCESS)
        return cr;
    exec->id = args->exec;
    exec->counted = args->counted != 0;
    cr = exec_instantiate(call, exec, args->flags);
    if (cr == CUDA_SUCCESS && be_handles_add(&session->handles, WIRE_HANDLE_GRAPH_EXEC, args->exec,
                                             exec, call->context->index) != GP_OK)
        cr = CUDA_ERROR_INVALID_HANDLE;
    if (cr != CUDA_SUCCESS) {
        exec_close(exec);
        exec_free(exec);
        return cr;
    }
    pthread_mutex_lock(&session->graphs_lock);
    exec->next = session->execs;
    session->execs = exec;
    pthread_mutex_unlock(&session->graphs_lock);
    return CUDA_SUCCESS;
}

CUresult
be_hook_cuGraphExecDestroy(struct be_call *call, const struct wire_cuGraphExecDestroy_args *args)
{
    struct be_session *session = call->session;
    struct be_exec *exec;
    bool over;
    CUresult cr = be_handle_take(session, WIRE_HANDLE_GRAPH_EXEC, args->exec, &exec);

    if (cr != CUDA_SUCCESS)
        return cr;
    (void)be_use_context(session, exec->context);
    exec_close(exec);
    pthread_mutex_lock(&session->graphs_lock);
    exec->destroyed = true;
    over = exec->running == 0;
    if (over)
        exec_unlink_locked(exec);
    pthread_mutex_unlock(&session->graphs_lock);
    if (over)
        exec_gone(&exec->gone, CUDA_SUCCESS);
    return CUDA_SUCCESS;
}

/* -- launching ----------------------------------------------------------------------------------
 */

static CUresult
exec_get(struct be_call *call, uint64_t id, struct be_exec **exec_p)
{
    return be_handle_get(call->session, WIRE_HANDLE_GRAPH_EXEC, id, false, exec_p);
}

/* Our functions in the graph use what belongs to exec; know when they are over. */
static CUresult
launch_counted(struct be_call *call, struct be_exec *exec, CUstream stream)
{
    CUresult cr;

    pthread_mutex_lock(&call->session->graphs_lock);
    exec->running++;
    pthread_mutex_unlock(&call->session->graphs_lock);
    cr = call->driver->cuGraphLaunch(exec->exec, stream);
    if (cr == CUDA_SUCCESS &&
        call->driver->cuLaunchHostFunc(stream, launch_over, exec) == CUDA_SUCCESS)
        return CUDA_SUCCESS;
    /* Not started; or its end will never be known, and it stays until the context ends. */
    if (cr != CUDA_SUCCESS)
        launch_over(exec);
    return cr;
}

CUresult
be_hook_cuGraphLaunch(struct be_call *call, const struct wire_cuGraphLaunch_args *args)
{
    struct be_exec *exec = NULL;
    CUstream stream;
    CUresult cr = exec_get(call, args->exec, &exec);

    if (cr == CUDA_SUCCESS)
        cr = be_handle_get(call->session, WIRE_HANDLE_STREAM, args->stream, true, &stream);
    if (cr != CUDA_SUCCESS)
        return cr;
    if (!exec->counted && exec->hosts == NULL)
        return call->driver->cuGraphLaunch(exec->exec, stream);
    return launch_counted(call, exec, stream);
}

CUresult
be_hook_cuGraphUpload(struct be_call *call, const struct wire_cuGraphUpload_args *args)
{
    struct be_exec *exec = NULL;
    CUstream stream;
    CUresult cr = exec_get(call, args->exec, &exec);

    if (cr == CUDA_SUCCESS)
        cr = be_handle_get(call->session, WIRE_HANDLE_STREAM, args->stream, true, &stream);
    if (cr == CUDA_SUCCESS && call->driver->cuGraphUpload == NULL)
        cr = CUDA_ERROR_NOT_SUPPORTED;
    return cr == CUDA_SUCCESS ? call->driver->cuGraphUpload(exec->exec, stream) : cr;
}

/* -- changing -----------------------------------------------------------------------------------
 */

/* What earlier changes replaced, once nothing runs that could use it. Inside of child graphs it is
 * not known what is used: nothing goes then. */
static void
exec_sweep(struct be_exec *exec)
{
    struct be_graph_host **at = &exec->hosts;
    bool idle;

    pthread_mutex_lock(&exec->session->graphs_lock);
    idle = exec->running == 0;
    pthread_mutex_unlock(&exec->session->graphs_lock);
    for (uint32_t i = 0; i < exec->count; i++)
        idle = idle && exec->nodes[i].type != CU_GRAPH_NODE_TYPE_GRAPH;
    for (uint32_t i = 0; idle && i < exec->count; i++)
        if (exec->nodes[i].host != NULL)
            exec->nodes[i].host->used = true;
    while (idle && *at != NULL) {
        struct be_graph_host *host = *at;

        if (host->used) {
            host->used = false;
            at = &host->next;
            continue;
        }
        *at = host->next;
        be_graph_host_destroy(host);
    }
}

CUresult
be_hook_cuGraphExecNodeSetParams(struct be_call *call,
                                 const struct wire_cuGraphExecNodeSetParams_args *args)
{
    struct be_exec *exec = NULL;
    struct wire_graph_reader r;
    struct wire_graph_item item;
    bool bad = false;
    CUresult cr = exec_get(call, args->exec, &exec);

    if (cr != CUDA_SUCCESS)
        return cr;
    if (!wire_graph_check(args->params, args->params_len) ||
        !wire_graph_open(&r, args->params, args->params_len) || r.nodes != 1 ||
        !wire_graph_next(&r, &item, &bad))
        return CUDA_ERROR_INVALID_VALUE;
    cr = be_graph_change(call, exec, args->node, &item);
    if (exec->hosts != NULL)
        exec_sweep(exec);
    return cr;
}

CUresult
be_hook_cuGraphNodeSetEnabled(struct be_call *call,
                              const struct wire_cuGraphNodeSetEnabled_args *args)
{
    struct be_exec *exec = NULL;
    struct be_graph_node *n;
    CUresult cr = exec_get(call, args->exec, &exec);

    if (cr != CUDA_SUCCESS)
        return cr;
    if (args->node >= exec->count)
        return CUDA_ERROR_INVALID_VALUE;
    if (call->driver->cuGraphNodeSetEnabled == NULL)
        return CUDA_ERROR_NOT_SUPPORTED;
    n = &exec->nodes[args->node];
    if (n->type == CU_GRAPH_NODE_TYPE_HOST) /* a copy inside the client's memory */
        cr = CUDA_SUCCESS;
    else
        cr = call->driver->cuGraphNodeSetEnabled(exec->exec, n->node, args->enabled);
    if (cr == CUDA_SUCCESS && n->host != NULL)
        atomic_store(&n->host->disabled, args->enabled == 0);
    return cr;
}

/* What the new graph's functions work on is the executable graph's from now on. */
static void
exec_adopt(struct be_exec *exec, struct be_exec *from)
{
    struct be_cond *conds = exec->conds;

    be_exec_keep_hosts(exec, from);
    exec->halts = exec->halts || from->halts;
    exec->conds = from->conds;
    exec->cond_count = from->cond_count;
    from->conds = conds;
    for (uint32_t i = 0; i < exec->count && i < from->count; i++) {
        if (exec->nodes[i].host != NULL && from->nodes[i].host != NULL)
            atomic_store(&from->nodes[i].host->disabled, exec->nodes[i].host->disabled);
        exec->nodes[i].host = from->nodes[i].host;
    }
}

static uint32_t
number_of(const struct be_exec *exec, CUgraphNode node)
{
    for (uint32_t i = 0; i < exec->count && node != NULL; i++)
        if (exec->nodes[i].node == node || exec->nodes[i].host_node == node)
            return i;
    return UINT32_MAX;
}

CUresult
be_hook_cuGraphExecUpdate_v2(struct be_call *call,
                             const struct wire_cuGraphExecUpdate_v2_args *args,
                             struct wire_cuGraphExecUpdate_v2_reply *reply)
{
    CUgraphExecUpdateResultInfo info = {0};
    struct be_exec *exec = NULL, *from = NULL;
    CUresult cr = exec_get(call, args->exec, &exec);

    reply->result = CU_GRAPH_EXEC_UPDATE_ERROR;
    reply->node = UINT32_MAX;
    if (cr == CUDA_SUCCESS && call->driver->cuGraphExecUpdate_v2 == NULL)
        cr = CUDA_ERROR_NOT_SUPPORTED;
    if (cr == CUDA_SUCCESS)
        cr = exec_build(call, 0, args->upload, &from);
    if (cr != CUDA_SUCCESS)
        return cr;
    cr = call->driver->cuGraphExecUpdate_v2(exec->exec, from->graph, &info);
    reply->result = info.result;
    reply->node = number_of(from, info.errorNode);
    if (cr == CUDA_SUCCESS) {
        exec_adopt(exec, from);
        cr = be_exec_keep_arrays(exec, from);
    }
    exec_close(from);
    exec_free(from);
    if (exec->hosts != NULL)
        exec_sweep(exec);
    return cr;
}

/* -- the end ------------------------------------------------------------------------------------
 */

static bool
exec_uses(const struct be_exec *exec, const struct be_context *context)
{
    if (exec->context == context)
        return true;
    for (uint32_t i = 0; i < exec->count; i++)
        if (exec->nodes[i].context == context)
            return true;
    for (const struct be_graph_host *host = exec->hosts; host != NULL; host = host->next)
        if (host->context == context)
            return true;
    return false;
}

/* All work of the context is over, or will never go on. */
void
be_execs_drop_context(struct be_session *session, const struct be_context *context)
{
    uint32_t highest = be_handles_highest(&session->handles, WIRE_HANDLE_GRAPH_EXEC);
    struct be_exec *gone = NULL, **at;

    for (uint32_t i = 1; i <= highest; i++) {
        struct be_handle_slot *slot = be_handles_at(&session->handles, WIRE_HANDLE_GRAPH_EXEC, i);

        if (slot != NULL && exec_uses(slot->object, context))
            be_handles_remove(slot);
    }
    pthread_mutex_lock(&session->graphs_lock);
    for (at = &session->execs; *at != NULL;) {
        struct be_exec *exec = *at;

        if (!exec_uses(exec, context)) {
            at = &exec->next;
            continue;
        }
        *at = exec->next;
        exec->next = gone;
        gone = exec;
    }
    pthread_mutex_unlock(&session->graphs_lock);
    while (gone != NULL) {
        struct be_exec *exec = gone;

        gone = exec->next;
        exec_close(exec);
        exec_tell(exec);
        exec_free(exec);
    }
}
