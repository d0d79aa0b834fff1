/* backend/cuda/graph_host.c -- the host functions of graphs and what they work on */
#include "backend/cuda/graph.h"

#include "protocol/base/log.h"
#include "protocol/base/util.h"

#include <stdlib.h>

CUresult
be_graph_host_create(struct be_exec *exec, struct be_context *context, enum be_graph_host_kind kind,
                     uint64_t token, uint64_t len, struct be_graph_host **host_p)
{
    struct be_session *session = exec->session;
    struct be_graph_host *host = calloc(1, sizeof(*host));
    void *bytes = NULL;
    CUresult cr;

    if (host == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    if (kind != BE_GRAPH_CALL) {
        if (atomic_fetch_add(&session->graph_bytes, len) + len > BE_GRAPH_HOST_MAX)
            cr = CUDA_ERROR_OUT_OF_MEMORY;
        else
            cr = session->driver->table.cuMemHostAlloc(&bytes, len, CU_MEMHOSTALLOC_PORTABLE);
        if (cr != CUDA_SUCCESS) {
            atomic_fetch_sub(&session->graph_bytes, len);
            free(host);
            return cr;
        }
    }
    host->session = session;
    host->context = context;
    host->kind = kind;
    host->token = token;
    host->bytes = bytes;
    host->len = len;
    host->next = exec->hosts;
    exec->hosts = host;
    *host_p = host;
    return CUDA_SUCCESS;
}

/* Where the context is broken or gone, so is the memory. */
void
be_graph_host_destroy(struct be_graph_host *host)
{
    if (host->bytes != NULL) {
        (void)host->session->driver->table.cuMemFreeHost(host->bytes);
        atomic_fetch_sub(&host->session->graph_bytes, host->len);
    }
    free(host);
}

void
be_graph_host_run(void *arg)
{
    struct be_graph_host *host = arg;

    if (atomic_load(&host->disabled))
        return;
    switch (host->kind) {
    case BE_GRAPH_CALL:
        be_callback_call(host->session, host->context, host->token);
        break;
    case BE_GRAPH_PULL:
        be_callback_pull(host->session, host->context, host->token, host->bytes, host->len);
        break;
    case BE_GRAPH_PUSH:
        be_callback_push(host->session, host->context, (uint32_t)host->token, host->bytes,
                         host->len);
        break;
    }
}
