/* frontend/cuda/graph.c -- graphs, nodes and edges */
#include "frontend/cuda/graph.h"

#include "cuda_api.h"
#include "frontend/core/stats.h"
#include "frontend/cuda/capture.h"
#include "frontend/cuda/state.h"
#include "protocol/base/util.h"

#include <stdlib.h>
#include <string.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

void
fe_graph_lock(void)
{
    pthread_mutex_lock(&lock);
}

void
fe_graph_unlock(void)
{
    pthread_mutex_unlock(&lock);
}

struct fe_graph *
fe_graph_get(CUgraph handle)
{
    return fe_object_get(WIRE_HANDLE_GRAPH, handle);
}

struct fe_node *
fe_node_get(CUgraphNode handle)
{
    return fe_object_get(WIRE_HANDLE_GRAPH_NODE, handle);
}

/* -- nodes ------------------------------------------------------------------------------ */

static void
node_free(struct fe_node *node)
{
    fe_body_free(node->type, node->body);
    free(node->deps);
    fe_object_destroy(node);
}

CUresult
fe_node_depend(struct fe_node *node, struct fe_node *from, const CUgraphEdgeData *data)
{
    struct fe_dep *deps;

    if (from == NULL || from->graph != node->graph || from == node)
        return CUDA_ERROR_INVALID_VALUE;
    for (size_t i = 0; i < node->dep_count; i++)
        if (node->deps[i].from == from)
            return CUDA_ERROR_INVALID_VALUE;
    deps = realloc(node->deps, (node->dep_count + 1) * sizeof(*deps));
    if (deps == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    node->deps = deps;
    memset(&deps[node->dep_count], 0, sizeof(*deps));
    deps[node->dep_count].from = from;
    if (data != NULL)
        deps[node->dep_count].data = *data;
    node->dep_count++;
    return CUDA_SUCCESS;
}

static bool
graph_room(struct fe_graph *graph)
{
    size_t room = graph->room != 0 ? 2 * graph->room : 16;
    struct fe_node **nodes;

    if (graph->count < graph->room)
        return true;
    nodes = realloc(graph->nodes, room * sizeof(*nodes));
    if (nodes == NULL)
        return false;
    graph->nodes = nodes;
    graph->room = room;
    return true;
}

CUresult
fe_graph_add(struct fe_graph *graph, CUgraphNodeType type, struct fe_context *ctx,
             const CUgraphNode *deps, const CUgraphEdgeData *data, size_t count,
             union fe_node_body *body, struct fe_node **node_p)
{
    struct fe_node *node;
    CUresult cr = CUDA_SUCCESS;

    if (count != 0 && deps == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    if (!graph_room(graph))
        return CUDA_ERROR_OUT_OF_MEMORY;
    node = fe_object_create(WIRE_HANDLE_GRAPH_NODE, NULL);
    if (node == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    node->graph = graph;
    node->type = type;
    node->ctx = ctx;
    node->ctx_wire = ctx != NULL ? ctx->head.object.wire : 0;
    for (size_t i = 0; i < count && cr == CUDA_SUCCESS; i++)
        cr = fe_node_depend(node, fe_node_get(deps[i]), data != NULL ? &data[i] : NULL);
    if (cr != CUDA_SUCCESS) {
        node_free(node);
        return cr;
    }
    node->body = body;
    if (type == CU_GRAPH_NODE_TYPE_GRAPH)
        body->child->owner = node;
    for (unsigned i = 0; type == CU_GRAPH_NODE_TYPE_CONDITIONAL && i < body->cond.size; i++)
        body->cond.bodies[i]->owner = node;
    graph->nodes[graph->count++] = node;
    *node_p = node;
    return CUDA_SUCCESS;
}

static bool
remove_dep(struct fe_node *node, const struct fe_node *from)
{
    for (size_t i = 0; i < node->dep_count; i++) {
        if (node->deps[i].from != from)
            continue;
        node->dep_count--;
        memmove(&node->deps[i], &node->deps[i + 1], (node->dep_count - i) * sizeof(*node->deps));
        return true;
    }
    return false;
}

void
fe_graph_drop(struct fe_node *node)
{
    struct fe_graph *graph = node->graph;
    size_t at = 0;

    fe_capture_node_gone(node);
    for (size_t i = 0; i < graph->count; i++) {
        if (graph->nodes[i] == node)
            at = i;
        (void)remove_dep(graph->nodes[i], node);
    }
    graph->count--;
    memmove(&graph->nodes[at], &graph->nodes[at + 1], (graph->count - at) * sizeof(*graph->nodes));
    node_free(node);
}

/* -- graphs ----------------------------------------------------------------------------- */

CUresult
fe_graph_new(struct fe_graph **graph_p)
{
    struct fe_graph *graph = fe_object_create(WIRE_HANDLE_GRAPH, NULL);

    if (graph == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    *graph_p = graph;
    return CUDA_SUCCESS;
}

void
fe_graph_delete(struct fe_graph *graph)
{
    fe_capture_graph_gone(graph);
    for (size_t i = 0; i < graph->count; i++)
        node_free(graph->nodes[i]);
    for (size_t i = 0; i < graph->cond_count; i++)
        fe_cond_put(graph->conds[i]);
    free(graph->conds);
    free(graph->nodes);
    fe_users_drop(graph->users);
    fe_object_destroy(graph);
}

bool
fe_graph_has(const struct fe_graph *graph, CUgraphNodeType type)
{
    for (size_t i = 0; i < graph->count; i++) {
        const struct fe_node *node = graph->nodes[i];

        if (node->type == type ||
            (node->type == CU_GRAPH_NODE_TYPE_GRAPH && fe_graph_has(node->body->child, type)))
            return true;
        for (unsigned k = 0;
             node->type == CU_GRAPH_NODE_TYPE_CONDITIONAL && k < node->body->cond.size; k++)
            if (fe_graph_has(node->body->cond.bodies[k], type))
                return true;
    }
    return false;
}

static CUresult
clone_edges(const struct fe_graph *graph, struct fe_graph *clone)
{
    CUresult cr = CUDA_SUCCESS;

    for (size_t i = 0; i < graph->count; i++)
        for (size_t k = 0; k < graph->nodes[i]->dep_count && cr == CUDA_SUCCESS; k++)
            cr = fe_node_depend(clone->nodes[i], clone->nodes[graph->nodes[i]->deps[k].from->index],
                                &graph->nodes[i]->deps[k].data);
    return cr;
}

CUresult
fe_graph_clone(struct fe_graph *graph, struct fe_graph **clone_p)
{
    struct fe_graph *clone = NULL;
    CUresult cr = fe_graph_new(&clone);

    if (cr == CUDA_SUCCESS)
        cr = fe_users_copy(graph->users, FE_USERS_OF_GRAPH, &clone->users);
    for (size_t i = 0; i < graph->count && cr == CUDA_SUCCESS; i++) {
        const struct fe_node *from = graph->nodes[i];
        union fe_node_body *body = NULL;
        struct fe_node *node;

        cr = fe_body_copy(from->type, from->body, &body);
        if (cr == CUDA_SUCCESS)
            cr = fe_graph_add(clone, from->type, from->ctx, NULL, NULL, 0, body, &node);
        if (cr != CUDA_SUCCESS) {
            fe_body_free(from->type, body);
            break;
        }
        node->ctx_wire = from->ctx_wire;
        node->origin = graph->nodes[i];
        node->origin_wire = from->object.wire;
        graph->nodes[i]->index = i;
    }
    if (cr == CUDA_SUCCESS)
        cr = clone_edges(graph, clone);
    if (cr != CUDA_SUCCESS) {
        if (clone != NULL)
            fe_graph_delete(clone);
        return cr;
    }
    *clone_p = clone;
    return CUDA_SUCCESS;
}

/* All that node depends on is placed already. */
static bool
node_ready(const struct fe_node *node)
{
    for (size_t i = 0; i < node->dep_count; i++)
        if (!node->deps[i].from->mark)
            return false;
    return true;
}

bool
fe_graph_sort(const struct fe_graph *graph, struct fe_node **order)
{
    bool progress = true;
    size_t placed = 0;

    for (size_t i = 0; i < graph->count; i++)
        graph->nodes[i]->mark = false;
    /* Nodes are mostly made in a valid order: one or two rounds. */
    while (placed < graph->count && progress) {
        progress = false;
        for (size_t i = 0; i < graph->count; i++) {
            struct fe_node *node = graph->nodes[i];

            if (node->mark || !node_ready(node))
                continue;
            node->mark = true;
            node->index = placed;
            order[placed++] = node;
            progress = true;
        }
    }
    return placed == graph->count;
}

/* What most entry points here begin with. */
static CUresult
ready(void)
{
    CUresult cr = CUDA_SUCCESS;

    FE_COUNT_LOCAL();
    (void)fe_state_get(&cr);
    return cr;
}

GP_EXPORT CUresult
cuGraphCreate(CUgraph *graph, unsigned int flags)
{
    struct fe_graph *g;
    CUresult cr = ready();

    if (cr != CUDA_SUCCESS)
        return cr;
    if (graph == NULL || flags != 0)
        return CUDA_ERROR_INVALID_VALUE;
    cr = fe_graph_new(&g);
    if (cr == CUDA_SUCCESS)
        *graph = (CUgraph)g;
    return cr;
}

GP_EXPORT CUresult
cuGraphDestroy(CUgraph handle)
{
    struct fe_graph *graph;
    CUresult cr = ready();

    if (cr != CUDA_SUCCESS)
        return cr;
    fe_graph_lock();
    graph = fe_graph_get(handle);
    if (graph == NULL || graph->owner != NULL)
        cr = CUDA_ERROR_INVALID_VALUE;
    else
        fe_graph_delete(graph);
    fe_graph_unlock();
    fe_graph_flush();
    return cr;
}

bool
fe_graph_may_clone(const struct fe_graph *graph)
{
    return !fe_graph_has(graph, CU_GRAPH_NODE_TYPE_MEM_ALLOC) &&
           !fe_graph_has(graph, CU_GRAPH_NODE_TYPE_MEM_FREE) &&
           !fe_graph_has(graph, CU_GRAPH_NODE_TYPE_CONDITIONAL);
}

GP_EXPORT CUresult
cuGraphClone(CUgraph *clone_p, CUgraph original)
{
    struct fe_graph *graph, *clone = NULL;
    CUresult cr = ready();

    if (cr != CUDA_SUCCESS)
        return cr;
    fe_graph_lock();
    graph = fe_graph_get(original);
    if (clone_p == NULL || graph == NULL)
        cr = CUDA_ERROR_INVALID_VALUE;
    else if (!fe_graph_may_clone(graph))
        cr = CUDA_ERROR_NOT_SUPPORTED; /* as the driver says */
    else
        cr = fe_graph_clone(graph, &clone);
    if (cr == CUDA_SUCCESS)
        *clone_p = (CUgraph)clone;
    fe_graph_unlock();
    fe_users_bury(); /* of a clone that failed */
    return cr;
}

GP_EXPORT CUresult
cuGraphNodeFindInClone(CUgraphNode *node_p, CUgraphNode original, CUgraph clone)
{
    struct fe_graph *graph;
    struct fe_node *node;
    CUresult cr = ready();

    if (cr != CUDA_SUCCESS)
        return cr;
    cr = CUDA_ERROR_INVALID_VALUE;
    fe_graph_lock();
    graph = fe_graph_get(clone);
    node = fe_node_get(original);
    for (size_t i = 0; node_p != NULL && graph != NULL && node != NULL && i < graph->count; i++) {
        if (graph->nodes[i]->origin != node || graph->nodes[i]->origin_wire != node->object.wire)
            continue;
        *node_p = (CUgraphNode)graph->nodes[i];
        cr = CUDA_SUCCESS;
        break;
    }
    fe_graph_unlock();
    return cr;
}

GP_EXPORT CUresult
cuGraphDestroyNode(CUgraphNode handle)
{
    struct fe_node *node;
    CUresult cr = ready();

    if (cr != CUDA_SUCCESS)
        return cr;
    fe_graph_lock();
    node = fe_node_get(handle);
    if (node == NULL)
        cr = CUDA_ERROR_INVALID_VALUE;
    else if (node->type == CU_GRAPH_NODE_TYPE_MEM_ALLOC ||
             node->type == CU_GRAPH_NODE_TYPE_MEM_FREE)
        cr = CUDA_ERROR_NOT_SUPPORTED; /* as the driver says */
    else
        fe_graph_drop(node);
    fe_graph_unlock();
    fe_graph_flush();
    return cr;
}

/* -- edges ------------------------------------------------------------------------------ */

/* One edge more or less of a graph; the lock is held. */
static CUresult
change_edge(struct fe_graph *graph, CUgraphNode from, CUgraphNode to, const CUgraphEdgeData *data,
            bool add)
{
    struct fe_node *node = fe_node_get(to);

    if (node == NULL || node->graph != graph)
        return CUDA_ERROR_INVALID_VALUE;
    if (add)
        return fe_node_depend(node, fe_node_get(from), data);
    return remove_dep(node, fe_node_get(from)) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

static CUresult
change_edges(CUgraph handle, const CUgraphNode *from, const CUgraphNode *to,
             const CUgraphEdgeData *data, size_t count, bool add)
{
    struct fe_graph *graph;
    CUresult cr = ready();

    if (cr != CUDA_SUCCESS)
        return cr;
    if (count != 0 && (from == NULL || to == NULL))
        return CUDA_ERROR_INVALID_VALUE;
    fe_graph_lock();
    graph = fe_graph_get(handle);
    if (graph == NULL)
        cr = CUDA_ERROR_INVALID_VALUE;
    for (size_t i = 0; i < count && cr == CUDA_SUCCESS; i++)
        cr = change_edge(graph, from[i], to[i], data != NULL ? &data[i] : NULL, add);
    fe_graph_unlock();
    return cr;
}

GP_EXPORT CUresult
cuGraphAddDependencies_v2(CUgraph graph, const CUgraphNode *from, const CUgraphNode *to,
                          const CUgraphEdgeData *data, size_t count)
{
    return change_edges(graph, from, to, data, count, true);
}

GP_EXPORT CUresult
cuGraphAddDependencies(CUgraph graph, const CUgraphNode *from, const CUgraphNode *to, size_t count)
{
    return change_edges(graph, from, to, NULL, count, true);
}

GP_EXPORT CUresult
cuGraphRemoveDependencies_v2(CUgraph graph, const CUgraphNode *from, const CUgraphNode *to,
                             const CUgraphEdgeData *data, size_t count)
{
    return change_edges(graph, from, to, data, count, false);
}

GP_EXPORT CUresult
cuGraphRemoveDependencies(CUgraph graph, const CUgraphNode *from, const CUgraphNode *to,
                          size_t count)
{
    return change_edges(graph, from, to, NULL, count, false);
}

/* -- lists: with a NULL list the count is asked; a longer list is filled up with NULL ---- */

struct node_list {
    CUgraphNode *nodes;
    CUgraphNode *others; /* second column of edges */
    CUgraphEdgeData *data;
    size_t room;
    size_t count;
};

static void
list_put(struct node_list *list, struct fe_node *node, struct fe_node *other,
         const CUgraphEdgeData *data)
{
    if (list->nodes != NULL && list->count < list->room) {
        list->nodes[list->count] = (CUgraphNode)node;
        if (list->others != NULL)
            list->others[list->count] = (CUgraphNode)other;
        if (list->data != NULL && data != NULL)
            list->data[list->count] = *data;
    }
    list->count++;
}

static void
list_finish(struct node_list *list, size_t *count_p)
{
    if (list->nodes == NULL) {
        *count_p = list->count;
        return;
    }
    for (size_t i = list->count; i < list->room; i++) {
        list->nodes[i] = NULL;
        if (list->others != NULL)
            list->others[i] = NULL;
    }
    *count_p = gp_min_u64(list->count, list->room);
}

enum list_what {
    LIST_NODES,
    LIST_ROOTS,
    LIST_EDGES,
};

static CUresult
list_graph(CUgraph handle, enum list_what what, struct node_list *list, size_t *count_p)
{
    struct fe_graph *graph;
    CUresult cr = ready();

    if (cr != CUDA_SUCCESS)
        return cr;
    if (count_p == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    fe_graph_lock();
    graph = fe_graph_get(handle);
    list->room = *count_p;
    for (size_t i = 0; graph != NULL && i < graph->count; i++) {
        struct fe_node *node = graph->nodes[i];

        if (what == LIST_NODES || (what == LIST_ROOTS && node->dep_count == 0))
            list_put(list, node, NULL, NULL);
        for (size_t k = 0; what == LIST_EDGES && k < node->dep_count; k++)
            list_put(list, node->deps[k].from, node, &node->deps[k].data);
    }
    fe_graph_unlock();
    if (graph == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    list_finish(list, count_p);
    return CUDA_SUCCESS;
}

GP_EXPORT CUresult
cuGraphGetNodes(CUgraph graph, CUgraphNode *nodes, size_t *count)
{
    return list_graph(graph, LIST_NODES, &(struct node_list){.nodes = nodes}, count);
}

GP_EXPORT CUresult
cuGraphGetRootNodes(CUgraph graph, CUgraphNode *nodes, size_t *count)
{
    return list_graph(graph, LIST_ROOTS, &(struct node_list){.nodes = nodes}, count);
}

GP_EXPORT CUresult
cuGraphGetEdges_v2(CUgraph graph, CUgraphNode *from, CUgraphNode *to, CUgraphEdgeData *data,
                   size_t *count)
{
    if ((from == NULL) != (to == NULL))
        return CUDA_ERROR_INVALID_VALUE;
    return list_graph(graph, LIST_EDGES,
                      &(struct node_list){.nodes = from, .others = to, .data = data}, count);
}

GP_EXPORT CUresult
cuGraphGetEdges(CUgraph graph, CUgraphNode *from, CUgraphNode *to, size_t *count)
{
    return cuGraphGetEdges_v2(graph, from, to, NULL, count);
}

static void
list_dependents(struct node_list *list, const struct fe_node *node)
{
    for (size_t i = 0; i < node->graph->count; i++) {
        struct fe_node *other = node->graph->nodes[i];

        for (size_t k = 0; k < other->dep_count; k++)
            if (other->deps[k].from == node)
                list_put(list, other, NULL, &other->deps[k].data);
    }
}

static CUresult
list_node(CUgraphNode handle, bool dependents, struct node_list *list, size_t *count_p)
{
    struct fe_node *node;
    CUresult cr = ready();

    if (cr != CUDA_SUCCESS)
        return cr;
    if (count_p == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    fe_graph_lock();
    node = fe_node_get(handle);
    list->room = *count_p;
    if (node != NULL && dependents)
        list_dependents(list, node);
    for (size_t i = 0; node != NULL && !dependents && i < node->dep_count; i++)
        list_put(list, node->deps[i].from, NULL, &node->deps[i].data);
    fe_graph_unlock();
    if (node == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    list_finish(list, count_p);
    return CUDA_SUCCESS;
}

GP_EXPORT CUresult
cuGraphNodeGetDependencies_v2(CUgraphNode node, CUgraphNode *nodes, CUgraphEdgeData *data,
                              size_t *count)
{
    return list_node(node, false, &(struct node_list){.nodes = nodes, .data = data}, count);
}

GP_EXPORT CUresult
cuGraphNodeGetDependencies(CUgraphNode node, CUgraphNode *nodes, size_t *count)
{
    return cuGraphNodeGetDependencies_v2(node, nodes, NULL, count);
}

GP_EXPORT CUresult
cuGraphNodeGetDependentNodes_v2(CUgraphNode node, CUgraphNode *nodes, CUgraphEdgeData *data,
                                size_t *count)
{
    return list_node(node, true, &(struct node_list){.nodes = nodes, .data = data}, count);
}

GP_EXPORT CUresult
cuGraphNodeGetDependentNodes(CUgraphNode node, CUgraphNode *nodes, size_t *count)
{
    return cuGraphNodeGetDependentNodes_v2(node, nodes, NULL, count);
}

GP_EXPORT CUresult
cuGraphNodeGetType(CUgraphNode handle, CUgraphNodeType *type)
{
    struct fe_node *node;
    CUresult cr = ready();

    if (cr != CUDA_SUCCESS)
        return cr;
    node = fe_node_get(handle);
    if (type == NULL || node == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    *type = node->type;
    return CUDA_SUCCESS;
}
