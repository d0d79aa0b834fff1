/* frontend/cuda/graph_dot.c -- a graph as text for Graphviz, written where the program runs */
#include "cuda_api.h"
#include "frontend/core/stats.h"
#include "frontend/cuda/graph.h"
#include "frontend/cuda/state.h"
#include "protocol/base/util.h"

#include <stdio.h>

static void
write_graph(FILE *file, struct fe_graph *graph)
{
    static const char *const names[] = {"kernel",    "memcpy",   "memset", "host",       "graph",
                                        "empty",     "wait",     "record", "signal",     "semwait",
                                        "mem alloc", "mem free", "mem op", "conditional"};

    fprintf(file, "digraph dot {\n");
    for (size_t i = 0; i < graph->count; i++) {
        struct fe_node *node = graph->nodes[i];

        node->index = i;
        fprintf(file, "  n%zu [label=\"%zu %s", i, i, names[node->type]);
        if (node->type == CU_GRAPH_NODE_TYPE_KERNEL)
            fprintf(file, " %s", node->body->kernel.function->name);
        fprintf(file, "\"];\n");
    }
    for (size_t i = 0; i < graph->count; i++)
        for (size_t k = 0; k < graph->nodes[i]->dep_count; k++)
            fprintf(file, "  n%zu -> n%zu;\n", graph->nodes[i]->deps[k].from->index, i);
    fprintf(file, "}\n");
}

GP_EXPORT CUresult
cuGraphDebugDotPrint(CUgraph handle, const char *path, unsigned int flags)
{
    CUresult cr = CUDA_SUCCESS;
    struct fe_graph *graph;
    FILE *file;

    FE_COUNT_LOCAL();
    (void)flags;
    if (fe_state_get(&cr) == NULL)
        return cr;
    if (path == NULL || fe_graph_get(handle) == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    file = fopen(path, "we");
    if (file == NULL)
        return CUDA_ERROR_OPERATING_SYSTEM;
    fe_graph_lock();
    graph = fe_graph_get(handle);
    if (graph != NULL)
        write_graph(file, graph);
    fe_graph_unlock();
    return fclose(file) == 0 ? CUDA_SUCCESS : CUDA_ERROR_OPERATING_SYSTEM;
}
