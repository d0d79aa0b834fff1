/* backend/cuda/graph_cond.c -- conditions of graphs: what the client and what the driver call them
 *
 * The client makes handles up when it has no graph here yet. They stand in the values of kernels,
 * which set the conditions: there the driver's handle is put, wherever a word is the client's.
 */
#include "backend/cuda/graph.h"

#include <stdlib.h>
#include <string.h>

CUgraphConditionalHandle
be_graph_cond(const struct be_exec *exec, uint64_t client)
{
    for (uint32_t i = 0; i < exec->cond_count; i++)
        if (exec->conds[i].client == client)
            return exec->conds[i].handle;
    return 0;
}

void
be_graph_conds_put(const struct be_exec *exec, uint8_t *value, size_t bytes)
{
    for (size_t at = 0; exec->cond_count != 0 && at + 8 <= bytes; at += 8) {
        CUgraphConditionalHandle handle;
        uint64_t word;

        memcpy(&word, value + at, sizeof(word));
        handle = be_graph_cond(exec, word);
        if (handle != 0)
            memcpy(value + at, &handle, sizeof(handle));
    }
}

static CUresult
add(struct be_call *call, struct be_exec *exec, const struct wire_graph_item *item,
    const struct wire_graph_cond *head)
{
    struct be_handle_slot *slot =
        be_handles_find(&call->session->handles, WIRE_HANDLE_CONTEXT, item->node.context);
    CUgraphConditionalHandle handle = 0;
    struct be_cond *conds;
    CUresult cr;

    if (slot == NULL)
        return CUDA_ERROR_INVALID_CONTEXT;
    if (head->handle == 0)
        return CUDA_ERROR_INVALID_VALUE;
    if (be_graph_cond(exec, head->handle) != 0)
        return CUDA_SUCCESS; /* of an earlier node */
    if (call->driver->cuGraphConditionalHandleCreate == NULL ||
        call->driver->cuGraphAddNode_v2 == NULL)
        return CUDA_ERROR_NOT_SUPPORTED;
    conds = realloc(exec->conds, (exec->cond_count + 1) * sizeof(*conds));
    if (conds == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    exec->conds = conds;
    cr = call->driver->cuGraphConditionalHandleCreate(
        &handle, exec->graph, be_context_handle(slot->object), head->value, head->flags);
    if (cr == CUDA_SUCCESS && handle == 0)
        cr = CUDA_ERROR_UNKNOWN;
    if (cr == CUDA_SUCCESS)
        conds[exec->cond_count++] = (struct be_cond){head->handle, handle};
    return cr;
}

/* One description of several; *used_p is its length. It was checked, so depth is bounded. */
static CUresult
collect(struct be_call *call, struct be_exec *exec, const uint8_t *data, size_t len, size_t *used_p)
{
    struct wire_graph_reader r;
    struct wire_graph_item item;
    CUresult cr = CUDA_SUCCESS;
    bool bad = false;

    if (!wire_graph_open(&r, data, len))
        return CUDA_ERROR_INVALID_VALUE;
    while (cr == CUDA_SUCCESS && wire_graph_next(&r, &item, &bad)) {
        const uint8_t *at = item.body;
        struct wire_graph_cond head = {.bodies = 1};
        size_t left = item.body_len, used = 0;

        if (item.node.type == CU_GRAPH_NODE_TYPE_CONDITIONAL) {
            if (!wire_graph_body(&item, &head, sizeof(head), false))
                return CUDA_ERROR_INVALID_VALUE;
            at += sizeof(head);
            left -= sizeof(head);
            cr = add(call, exec, &item, &head);
        } else if (item.node.type != CU_GRAPH_NODE_TYPE_GRAPH) {
            continue;
        }
        for (uint32_t i = 0; i < head.bodies && cr == CUDA_SUCCESS; i++) {
            cr = collect(call, exec, at, left, &used);
            at += used;
            left -= used;
        }
    }
    *used_p = len - r.left;
    return bad ? CUDA_ERROR_INVALID_VALUE : cr;
}

CUresult
be_graph_conds(struct be_call *call, struct be_exec *exec, const uint8_t *data, size_t len)
{
    size_t used = 0;

    return collect(call, exec, data, len, &used);
}
