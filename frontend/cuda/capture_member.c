/* frontend/cuda/capture_member.c -- streams that take part in a capture, and what they come behind
 */
#include "frontend/cuda/capture_priv.h"

#include <stdlib.h>
#include <string.h>

struct fe_member *
fe_member_of(const struct fe_capture *capture, const struct fe_stream *stream)
{
    struct fe_member *m = capture->members;

    while (m != NULL && m->stream != stream)
        m = m->next;
    return m;
}

CUresult
fe_member_set(struct fe_member *m, const CUgraphNode *nodes, const CUgraphEdgeData *data,
              size_t count)
{
    CUgraphNode *deps = malloc((count + 1) * sizeof(CUgraphNode));
    CUgraphEdgeData *edges = calloc(count + 1, sizeof(*edges));

    if (deps == NULL || edges == NULL) {
        free(deps);
        free(edges);
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    if (count != 0)
        memcpy(deps, nodes, count * sizeof(CUgraphNode));
    if (count != 0 && data != NULL)
        memcpy(edges, data, count * sizeof(*edges));
    free(m->deps);
    free(m->data);
    m->deps = deps;
    m->data = edges;
    m->count = count;
    return CUDA_SUCCESS;
}

CUresult
fe_member_merge(struct fe_member *m, const CUgraphNode *nodes, const CUgraphEdgeData *data,
                size_t count)
{
    CUgraphNode *all = malloc((m->count + count + 1) * sizeof(CUgraphNode));
    CUgraphEdgeData *edges = calloc(m->count + count + 1, sizeof(*edges));
    size_t n = m->count;
    CUresult cr = CUDA_ERROR_OUT_OF_MEMORY;

    if (all != NULL && edges != NULL) {
        if (n != 0) {
            memcpy(all, m->deps, n * sizeof(CUgraphNode));
            memcpy(edges, m->data, n * sizeof(*edges));
        }
        for (size_t i = 0; i < count; i++) {
            bool known = false;

            for (size_t k = 0; k < n && !known; k++)
                known = all[k] == nodes[i];
            if (known)
                continue;
            if (data != NULL)
                edges[n] = data[i];
            all[n++] = nodes[i];
        }
        cr = fe_member_set(m, all, edges, n);
    }
    free(all);
    free(edges);
    return cr;
}

size_t
fe_nodes_without(CUgraphNode *nodes, CUgraphEdgeData *data, size_t count,
                 const struct fe_node *node)
{
    size_t kept = 0;

    for (size_t i = 0; i < count; i++) {
        if (nodes[i] == (CUgraphNode)node)
            continue;
        if (data != NULL)
            data[kept] = data[i];
        nodes[kept++] = nodes[i];
    }
    return kept;
}
