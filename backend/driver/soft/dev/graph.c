/* backend/driver/soft/dev/graph.c -- graphs, nodes and edges */
#include "backend/driver/soft/dev/graph.h"

#include "backend/driver/soft/dev/capture.h"
#include "backend/driver/soft/dev/mem.h"
#include "cuda_api.h"

#include <stdio.h>
#include <string.h>

/* Rank 15. */
static pthread_mutex_t graph_mutex = PTHREAD_MUTEX_INITIALIZER;

void
sd_graph_lock(void)
{
    pthread_mutex_lock(&graph_mutex);
}

void
sd_graph_unlock(void)
{
    pthread_mutex_unlock(&graph_mutex);
}

/* --- copies of works --- */

static void *
duplicate(const void *data, size_t bytes)
{
    void *copy = malloc(bytes != 0 ? bytes : 1);

    if (copy != NULL && bytes != 0)
        memcpy(copy, data, bytes);
    return copy;
}

CUresult
sd_work_copy(struct sd_work *to, const struct sd_work *from)
{
    *to = *from;
    switch (from->kind) {
    case SD_WORK_KERNEL:
        to->kernel.bound = NULL; /* as they are at the launch */
        to->kernel.bound_count = 0;
        if (from->kernel.params == NULL)
            return CUDA_SUCCESS;
        to->kernel.params =
            duplicate(from->kernel.params, gp_align_up_u64(from->kernel.param_bytes, 16));
        if (to->kernel.params != NULL)
            return CUDA_SUCCESS;
        break;
    case SD_WORK_VALUES:
        to->values.next = 0;
        to->values.ops =
            duplicate(from->values.ops, from->values.count * sizeof(*from->values.ops));
        if (to->values.ops != NULL)
            return CUDA_SUCCESS;
        break;
    case SD_WORK_COPY:
        to->copy.staging = NULL; /* nodes never have one */
        return CUDA_SUCCESS;
    default:
        return CUDA_SUCCESS;
    }
    to->kind = SD_WORK_NOTHING;
    return CUDA_ERROR_OUT_OF_MEMORY;
}

/* --- memory of allocation nodes --- */

CUresult
sd_graph_mem_map(const struct sd_graph_mem *mem)
{
    struct sd_alloc alloc = {
        .base = mem->address,
        .end = mem->address + gp_align_up_u64(mem->bytes, 512),
        .bytes = mem->bytes,
        .kind = SD_MEM_GRAPH,
        .device = mem->dev->ordinal,
        .readable = 1ull << mem->dev->ordinal,
        .writable = 1ull << mem->dev->ordinal,
        .ctx = mem->ctx,
        .owner = (void *)mem,
    };
    CUresult cr = sd_map_add(&alloc);

    /* Still allocated from an earlier launch: the same memory again. */
    return cr == CUDA_ERROR_ALREADY_MAPPED ? CUDA_SUCCESS : cr;
}

/* Bytes of graphs' memory, and the most that they were; the lock is held. */
struct amount {
    uint64_t now, high;
};
static struct amount used[SD_DEVICES_MAX], reserved[SD_DEVICES_MAX];

static void
amount_change(struct amount *a, uint64_t bytes, bool more)
{
    a->now += more ? bytes : -bytes;
    a->high = gp_max_u64(a->high, a->now);
}

void
sd_graph_mem_count(const struct sd_graph_mem *mem, bool more)
{
    amount_change(&used[mem->dev->ordinal], mem->bytes, more);
}

CUresult
sd_graph_mem_attribute(int device, CUgraphMem_attribute attribute, uint64_t *value)
{
    CUresult cr = CUDA_SUCCESS;

    sd_graph_lock();
    switch (attribute) {
    case CU_GRAPH_MEM_ATTR_USED_MEM_CURRENT:
        *value = used[device].now;
        break;
    case CU_GRAPH_MEM_ATTR_RESERVED_MEM_CURRENT:
        *value = reserved[device].now;
        break;
    case CU_GRAPH_MEM_ATTR_USED_MEM_HIGH:
        *value = used[device].high;
        break;
    case CU_GRAPH_MEM_ATTR_RESERVED_MEM_HIGH:
        *value = reserved[device].high;
        break;
    default:
        cr = CUDA_ERROR_INVALID_VALUE;
    }
    sd_graph_unlock();
    return cr;
}

CUresult
sd_graph_mem_reset(int device, CUgraphMem_attribute attribute)
{
    struct amount *a;

    if (attribute != CU_GRAPH_MEM_ATTR_USED_MEM_HIGH &&
        attribute != CU_GRAPH_MEM_ATTR_RESERVED_MEM_HIGH)
        return CUDA_ERROR_INVALID_VALUE;
    a = attribute == CU_GRAPH_MEM_ATTR_USED_MEM_HIGH ? &used[device] : &reserved[device];
    sd_graph_lock();
    a->high = a->now;
    sd_graph_unlock();
    return CUDA_SUCCESS;
}

CUresult
sd_graph_mem_new(CUcontext ctx, uint64_t bytes, struct sd_graph_mem **mem_p)
{
    uint64_t rounded = gp_align_up_u64(bytes, SD_MEM_ALIGN), place;
    struct sd_graph_mem *mem = calloc(1, sizeof(*mem));
    CUresult cr;

    if (mem == NULL || rounded < bytes) {
        free(mem);
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    cr = sd_arena_take(ctx->dev, rounded, 65536, &place);
    if (cr != CUDA_SUCCESS) {
        free(mem);
        return cr;
    }
    *mem = (struct sd_graph_mem){1, ctx->dev, ctx, sd_arena_base(ctx->dev) + place, bytes};
    amount_change(&reserved[mem->dev->ordinal], mem->bytes, true);
    /* The address is valid from now on: further nodes are checked against it. */
    cr = sd_graph_mem_map(mem);
    if (cr != CUDA_SUCCESS) {
        sd_graph_mem_put(mem);
        return cr;
    }
    *mem_p = mem;
    return CUDA_SUCCESS;
}

void
sd_graph_mem_put(struct sd_graph_mem *mem)
{
    struct sd_alloc alloc;

    if (mem == NULL || --mem->refs != 0)
        return;
    (void)sd_map_take(mem->address, 1u << SD_MEM_GRAPH, &alloc);
    sd_arena_give(mem->dev, mem->address - sd_arena_base(mem->dev),
                  gp_align_up_u64(mem->bytes, SD_MEM_ALIGN));
    amount_change(&reserved[mem->dev->ordinal], mem->bytes, false);
    free(mem);
}

/* It is free for launches from now on; the reference stays with the queued operation. */
bool
sd_graph_mem_freeing(struct sd_graph_mem *mem)
{
    bool was;

    sd_graph_lock();
    was = mem->allocated;
    if (was)
        sd_graph_mem_count(mem, false);
    mem->allocated = false;
    sd_graph_unlock();
    return was;
}

/* A launch that allocates it again may have been queued meanwhile: then it stays. */
void
sd_graph_mem_unmap(struct sd_graph_mem *mem)
{
    struct sd_alloc alloc;

    sd_graph_lock();
    if (!mem->allocated)
        (void)sd_map_take(mem->address, 1u << SD_MEM_GRAPH, &alloc);
    sd_graph_unlock();
}

void
sd_graph_mem_unref(struct sd_graph_mem *mem)
{
    sd_graph_lock();
    sd_graph_mem_put(mem);
    sd_graph_unlock();
}

/* --- nodes --- */

static void
node_free(CUgraphNode node)
{
    sd_work_fini(&node->work);
    sd_graph_mem_put(node->mem);
    if (node->child != NULL)
        sd_graph_delete(node->child);
    sd_node_conditional_fini(node);
    free(node->kernel_params);
    free(node->deps);
    sd_object_free(node);
}

CUresult
sd_node_depend(CUgraphNode node, CUgraphNode from, const CUgraphEdgeData *data)
{
    struct sd_edge *deps;

    if (!sd_object_is(from, SD_NODE) || from->graph != node->graph || from == node)
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

CUresult
sd_graph_add(CUgraph graph, CUgraphNodeType type, const CUgraphNode *deps,
             const CUgraphEdgeData *data, size_t count, CUgraphNode *node_p)
{
    CUgraphNode node;
    CUresult cr = CUDA_SUCCESS;

    if (count != 0 && deps == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    if (graph->count == graph->size) {
        size_t size = graph->size != 0 ? 2 * graph->size : 16;
        CUgraphNode *nodes = realloc(graph->nodes, size * sizeof(*nodes));

        if (nodes == NULL)
            return CUDA_ERROR_OUT_OF_MEMORY;
        graph->nodes = nodes;
        graph->size = size;
    }
    node = sd_object_new(SD_NODE, sizeof(*node));
    if (node == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    node->graph = graph;
    node->type = type;
    for (size_t i = 0; i < count && cr == CUDA_SUCCESS; i++)
        cr = sd_node_depend(node, deps[i], data != NULL ? &data[i] : NULL);
    if (cr != CUDA_SUCCESS) {
        node_free(node);
        return cr;
    }
    graph->nodes[graph->count++] = node;
    *node_p = node;
    return CUDA_SUCCESS;
}

static void
remove_dep(CUgraphNode node, CUgraphNode from)
{
    for (size_t i = 0; i < node->dep_count; i++) {
        if (node->deps[i].from != from)
            continue;
        node->dep_count--;
        memmove(&node->deps[i], &node->deps[i + 1], (node->dep_count - i) * sizeof(*node->deps));
        return;
    }
}

void
sd_graph_drop(CUgraphNode node)
{
    CUgraph graph = node->graph;
    size_t at = 0;

    sd_capture_node_gone(node);
    for (size_t i = 0; i < graph->count; i++) {
        if (graph->nodes[i] == node)
            at = i;
        remove_dep(graph->nodes[i], node);
    }
    graph->count--;
    memmove(&graph->nodes[at], &graph->nodes[at + 1], (graph->count - at) * sizeof(*graph->nodes));
    node_free(node);
}

/* --- graphs --- */

bool
sd_graph_valid(CUgraph graph)
{
    return sd_object_is(graph, SD_GRAPH);
}

CUresult
sd_graph_new(CUgraph *graph_p)
{
    CUgraph graph = sd_object_new(SD_GRAPH, sizeof(*graph));

    if (graph == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    *graph_p = graph;
    return CUDA_SUCCESS;
}

void
sd_graph_delete(CUgraph graph)
{
    sd_capture_graph_gone(graph);
    for (size_t i = 0; i < graph->count; i++)
        node_free(graph->nodes[i]);
    free(graph->nodes);
    for (size_t i = 0; i < graph->cond_count; i++)
        sd_cond_put(graph->conds[i]);
    free(graph->conds);
    sd_users_drop(graph->users);
    sd_object_free(graph);
}

bool
sd_graph_may_clone(const struct CUgraph_st *graph)
{
    return !sd_graph_has_memory(graph) && !sd_graph_has_conditions(graph);
}

bool
sd_graph_has_memory(const struct CUgraph_st *graph)
{
    for (size_t i = 0; i < graph->count; i++) {
        const struct CUgraphNode_st *node = graph->nodes[i];

        if (node->type == CU_GRAPH_NODE_TYPE_MEM_ALLOC ||
            node->type == CU_GRAPH_NODE_TYPE_MEM_FREE ||
            (node->child != NULL && sd_graph_has_memory(node->child)))
            return true;
    }
    return false;
}

/* What node has beside its edges, into a fresh copy. */
static CUresult
node_copy(CUgraphNode to, const struct CUgraphNode_st *from)
{
    CUresult cr = sd_work_copy(&to->work, &from->work);

    to->ctx = from->ctx;
    to->function = from->function;
    to->memcpy_params = from->memcpy_params;
    to->memset_params = from->memset_params;
    to->alloc_params = from->alloc_params;
    to->event = from->event;
    to->freed = from->freed;
    to->mem = from->mem;
    if (to->mem != NULL)
        to->mem->refs++;
    memcpy(to->attributes, from->attributes, sizeof(to->attributes));
    to->attributes_set = from->attributes_set;
    if (cr == CUDA_SUCCESS && from->child != NULL) {
        cr = sd_graph_clone(from->child, &to->child);
        if (cr == CUDA_SUCCESS)
            to->child->owner = to;
    }
    return cr;
}

CUresult
sd_graph_clone(CUgraph graph, CUgraph *clone_p)
{
    CUgraph clone = NULL;
    CUgraphNode node;
    CUresult cr = sd_graph_new(&clone);

    if (cr == CUDA_SUCCESS)
        cr = sd_users_copy(graph->users, &clone->users);
    for (size_t i = 0; i < graph->count && cr == CUDA_SUCCESS; i++) {
        graph->nodes[i]->index = i;
        cr = sd_graph_add(clone, graph->nodes[i]->type, NULL, NULL, 0, &node);
        if (cr == CUDA_SUCCESS) {
            node->origin = graph->nodes[i];
            cr = node_copy(node, graph->nodes[i]);
        }
    }
    for (size_t i = 0; i < graph->count && cr == CUDA_SUCCESS; i++)
        for (size_t k = 0; k < graph->nodes[i]->dep_count && cr == CUDA_SUCCESS; k++)
            cr = sd_node_depend(clone->nodes[i], clone->nodes[graph->nodes[i]->deps[k].from->index],
                                &graph->nodes[i]->deps[k].data);
    if (cr != CUDA_SUCCESS) {
        if (clone != NULL)
            sd_graph_delete(clone);
        return cr;
    }
    *clone_p = clone;
    return CUDA_SUCCESS;
}

GP_EXPORT CUresult
cuGraphCreate(CUgraph *phGraph, unsigned int flags)
{
    CUresult cr;

    SD_ENTER_READY();
    if (phGraph == NULL || flags != 0)
        return CUDA_ERROR_INVALID_VALUE;
    sd_graph_lock();
    cr = sd_graph_new(phGraph);
    sd_graph_unlock();
    return cr;
}

GP_EXPORT CUresult
cuGraphDestroy(CUgraph hGraph)
{
    CUresult cr = CUDA_SUCCESS;

    SD_ENTER_READY();
    sd_graph_lock();
    if (!sd_graph_valid(hGraph) || hGraph->owner != NULL)
        cr = CUDA_ERROR_INVALID_VALUE;
    else
        sd_graph_delete(hGraph);
    sd_graph_unlock();
    sd_users_bury();
    return cr;
}

GP_EXPORT CUresult
cuGraphClone(CUgraph *phGraphClone, CUgraph originalGraph)
{
    CUresult cr = CUDA_ERROR_INVALID_VALUE;

    SD_ENTER_READY();
    sd_graph_lock();
    if (phGraphClone != NULL && sd_graph_valid(originalGraph) && !sd_graph_may_clone(originalGraph))
        cr = CUDA_ERROR_NOT_SUPPORTED; /* as the driver says */
    else if (phGraphClone != NULL && sd_graph_valid(originalGraph))
        cr = sd_graph_clone(originalGraph, phGraphClone);
    sd_graph_unlock();
    sd_users_bury(); /* of a clone that failed */
    return cr;
}

GP_EXPORT CUresult
cuGraphNodeFindInClone(CUgraphNode *phNode, CUgraphNode hOriginalNode, CUgraph hClonedGraph)
{
    CUresult cr = CUDA_ERROR_INVALID_VALUE;

    SD_ENTER_READY();
    sd_graph_lock();
    if (phNode != NULL && sd_graph_valid(hClonedGraph) && sd_object_is(hOriginalNode, SD_NODE)) {
        for (size_t i = 0; i < hClonedGraph->count && cr != CUDA_SUCCESS; i++) {
            if (hClonedGraph->nodes[i]->origin != hOriginalNode)
                continue;
            *phNode = hClonedGraph->nodes[i];
            cr = CUDA_SUCCESS;
        }
    }
    sd_graph_unlock();
    return cr;
}

GP_EXPORT CUresult
cuGraphDestroyNode(CUgraphNode hNode)
{
    CUresult cr = CUDA_SUCCESS;

    SD_ENTER_READY();
    sd_graph_lock();
    if (!sd_object_is(hNode, SD_NODE))
        cr = CUDA_ERROR_INVALID_VALUE;
    else if (hNode->type == CU_GRAPH_NODE_TYPE_MEM_ALLOC ||
             hNode->type == CU_GRAPH_NODE_TYPE_MEM_FREE)
        cr = CUDA_ERROR_NOT_SUPPORTED; /* as the driver says */
    else
        sd_graph_drop(hNode);
    sd_graph_unlock();
    sd_users_bury();
    return cr;
}

/* --- edges --- */

GP_EXPORT CUresult
cuGraphAddDependencies_v2(CUgraph hGraph, const CUgraphNode *from, const CUgraphNode *to,
                          const CUgraphEdgeData *edgeData, size_t numDependencies)
{
    CUresult cr = CUDA_SUCCESS;

    SD_ENTER_READY();
    if (numDependencies != 0 && (from == NULL || to == NULL))
        return CUDA_ERROR_INVALID_VALUE;
    sd_graph_lock();
    if (!sd_graph_valid(hGraph))
        cr = CUDA_ERROR_INVALID_VALUE;
    for (size_t i = 0; i < numDependencies && cr == CUDA_SUCCESS; i++) {
        if (!sd_object_is(to[i], SD_NODE) || to[i]->graph != hGraph)
            cr = CUDA_ERROR_INVALID_VALUE;
        else
            cr = sd_node_depend(to[i], from[i], edgeData != NULL ? &edgeData[i] : NULL);
    }
    sd_graph_unlock();
    return cr;
}

GP_EXPORT CUresult
cuGraphAddDependencies(CUgraph hGraph, const CUgraphNode *from, const CUgraphNode *to,
                       size_t numDependencies)
{
    return cuGraphAddDependencies_v2(hGraph, from, to, NULL, numDependencies);
}

GP_EXPORT CUresult
cuGraphRemoveDependencies_v2(CUgraph hGraph, const CUgraphNode *from, const CUgraphNode *to,
                             const CUgraphEdgeData *edgeData, size_t numDependencies)
{
    CUresult cr = CUDA_SUCCESS;

    SD_ENTER_READY();
    (void)edgeData;
    if (numDependencies != 0 && (from == NULL || to == NULL))
        return CUDA_ERROR_INVALID_VALUE;
    sd_graph_lock();
    if (!sd_graph_valid(hGraph))
        cr = CUDA_ERROR_INVALID_VALUE;
    for (size_t i = 0; i < numDependencies && cr == CUDA_SUCCESS; i++) {
        size_t before;

        if (!sd_object_is(to[i], SD_NODE) || to[i]->graph != hGraph) {
            cr = CUDA_ERROR_INVALID_VALUE;
            break;
        }
        before = to[i]->dep_count;
        remove_dep(to[i], from[i]);
        if (to[i]->dep_count == before)
            cr = CUDA_ERROR_INVALID_VALUE;
    }
    sd_graph_unlock();
    return cr;
}

GP_EXPORT CUresult
cuGraphRemoveDependencies(CUgraph hGraph, const CUgraphNode *from, const CUgraphNode *to,
                          size_t numDependencies)
{
    return cuGraphRemoveDependencies_v2(hGraph, from, to, NULL, numDependencies);
}

/* --- lists: with a NULL list the count is asked; a longer list is filled up with NULL --- */

struct node_list {
    CUgraphNode *nodes;
    CUgraphNode *others; /* second column of edges */
    CUgraphEdgeData *data;
    size_t room;
    size_t count;
};

static void
list_put(struct node_list *list, CUgraphNode node, CUgraphNode other, const CUgraphEdgeData *data)
{
    if (list->nodes != NULL && list->count < list->room) {
        list->nodes[list->count] = node;
        if (list->others != NULL)
            list->others[list->count] = other;
        if (list->data != NULL && data != NULL)
            list->data[list->count] = *data;
    }
    list->count++;
}

static CUresult
list_finish(struct node_list *list, size_t *count_p)
{
    if (list->nodes == NULL) {
        *count_p = list->count;
        return CUDA_SUCCESS;
    }
    for (size_t i = list->count; i < list->room; i++) {
        list->nodes[i] = NULL;
        if (list->others != NULL)
            list->others[i] = NULL;
    }
    *count_p = gp_min_u64(list->count, list->room);
    return CUDA_SUCCESS;
}

enum list_what {
    LIST_NODES,
    LIST_ROOTS,
    LIST_EDGES,
};

static CUresult
list_graph(CUgraph graph, enum list_what what, struct node_list *list, size_t *count_p)
{
    SD_ENTER_READY();
    if (count_p == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    sd_graph_lock();
    if (!sd_graph_valid(graph)) {
        sd_graph_unlock();
        return CUDA_ERROR_INVALID_VALUE;
    }
    list->room = *count_p;
    for (size_t i = 0; i < graph->count; i++) {
        CUgraphNode node = graph->nodes[i];

        if (what == LIST_NODES || (what == LIST_ROOTS && node->dep_count == 0))
            list_put(list, node, NULL, NULL);
        for (size_t k = 0; what == LIST_EDGES && k < node->dep_count; k++)
            list_put(list, node->deps[k].from, node, &node->deps[k].data);
    }
    sd_graph_unlock();
    return list_finish(list, count_p);
}

GP_EXPORT CUresult
cuGraphGetNodes(CUgraph hGraph, CUgraphNode *nodes, size_t *numNodes)
{
    return list_graph(hGraph, LIST_NODES, &(struct node_list){.nodes = nodes}, numNodes);
}

GP_EXPORT CUresult
cuGraphGetRootNodes(CUgraph hGraph, CUgraphNode *rootNodes, size_t *numRootNodes)
{
    return list_graph(hGraph, LIST_ROOTS, &(struct node_list){.nodes = rootNodes}, numRootNodes);
}

GP_EXPORT CUresult
cuGraphGetEdges_v2(CUgraph hGraph, CUgraphNode *from, CUgraphNode *to, CUgraphEdgeData *edgeData,
                   size_t *numEdges)
{
    if ((from == NULL) != (to == NULL))
        return CUDA_ERROR_INVALID_VALUE;
    return list_graph(hGraph, LIST_EDGES,
                      &(struct node_list){.nodes = from, .others = to, .data = edgeData}, numEdges);
}

GP_EXPORT CUresult
cuGraphGetEdges(CUgraph hGraph, CUgraphNode *from, CUgraphNode *to, size_t *numEdges)
{
    return cuGraphGetEdges_v2(hGraph, from, to, NULL, numEdges);
}

static CUresult
list_node(CUgraphNode node, bool dependents, struct node_list *list, size_t *count_p)
{
    SD_ENTER_READY();
    if (count_p == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    sd_graph_lock();
    if (!sd_object_is(node, SD_NODE)) {
        sd_graph_unlock();
        return CUDA_ERROR_INVALID_VALUE;
    }
    list->room = *count_p;
    for (size_t i = 0; !dependents && i < node->dep_count; i++)
        list_put(list, node->deps[i].from, NULL, &node->deps[i].data);
    for (size_t i = 0; dependents && i < node->graph->count; i++) {
        CUgraphNode other = node->graph->nodes[i];

        for (size_t k = 0; k < other->dep_count; k++)
            if (other->deps[k].from == node)
                list_put(list, other, NULL, &other->deps[k].data);
    }
    sd_graph_unlock();
    return list_finish(list, count_p);
}

GP_EXPORT CUresult
cuGraphNodeGetDependencies_v2(CUgraphNode hNode, CUgraphNode *dependencies,
                              CUgraphEdgeData *edgeData, size_t *numDependencies)
{
    return list_node(hNode, false, &(struct node_list){.nodes = dependencies, .data = edgeData},
                     numDependencies);
}

GP_EXPORT CUresult
cuGraphNodeGetDependencies(CUgraphNode hNode, CUgraphNode *dependencies, size_t *numDependencies)
{
    return cuGraphNodeGetDependencies_v2(hNode, dependencies, NULL, numDependencies);
}

GP_EXPORT CUresult
cuGraphNodeGetDependentNodes_v2(CUgraphNode hNode, CUgraphNode *dependentNodes,
                                CUgraphEdgeData *edgeData, size_t *numDependentNodes)
{
    return list_node(hNode, true, &(struct node_list){.nodes = dependentNodes, .data = edgeData},
                     numDependentNodes);
}

GP_EXPORT CUresult
cuGraphNodeGetDependentNodes(CUgraphNode hNode, CUgraphNode *dependentNodes,
                             size_t *numDependentNodes)
{
    return cuGraphNodeGetDependentNodes_v2(hNode, dependentNodes, NULL, numDependentNodes);
}

GP_EXPORT CUresult
cuGraphNodeGetType(CUgraphNode hNode, CUgraphNodeType *type)
{
    SD_ENTER_READY();
    if (type == NULL || !sd_object_is(hNode, SD_NODE))
        return CUDA_ERROR_INVALID_VALUE;
    *type = hNode->type;
    return CUDA_SUCCESS;
}

GP_EXPORT CUresult
cuGraphDebugDotPrint(CUgraph hGraph, const char *path, unsigned int flags)
{
    static const char *const names[] = {"kernel",    "memcpy",   "memset", "host",       "graph",
                                        "empty",     "wait",     "record", "signal",     "semwait",
                                        "mem alloc", "mem free", "mem op", "conditional"};
    FILE *file;

    SD_ENTER_READY();
    (void)flags;
    if (path == NULL || !sd_graph_valid(hGraph))
        return CUDA_ERROR_INVALID_VALUE;
    file = fopen(path, "we");
    if (file == NULL)
        return CUDA_ERROR_OPERATING_SYSTEM;
    sd_graph_lock();
    fprintf(file, "digraph dot {\n");
    for (size_t i = 0; i < hGraph->count; i++) {
        CUgraphNode node = hGraph->nodes[i];

        node->index = i;
        fprintf(file, "  n%zu [label=\"%zu %s", i, i, names[node->type]);
        if (node->work.kind == SD_WORK_KERNEL)
            fprintf(file, " %s", node->work.kernel.fn->kernel->name);
        fprintf(file, "\"];\n");
    }
    for (size_t i = 0; i < hGraph->count; i++)
        for (size_t k = 0; k < hGraph->nodes[i]->dep_count; k++)
            fprintf(file, "  n%zu -> n%zu;\n", hGraph->nodes[i]->deps[k].from->index, i);
    fprintf(file, "}\n");
    sd_graph_unlock();
    return fclose(file) == 0 ? CUDA_SUCCESS : CUDA_ERROR_OPERATING_SYSTEM;
}
