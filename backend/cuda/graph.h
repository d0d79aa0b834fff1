/* backend/cuda/graph.h -- executable graphs
 *
 * Graphs live with the client; what it instantiates comes as a description and is built once, as a
 * graph of the driver. That graph is kept for as long as the executable one, for its nodes are how
 * the executable one is changed.
 *
 * A copy with a side in the client's memory is two nodes: the driver's copy to or from pinned
 * memory of ours, and a host function of ours behind or before it that sends or asks for the bytes.
 * All that such functions use belongs to the executable graph and stays until its last launch is
 * over.
 *
 * Threads: the executor; host functions and the end of launches on the driver's threads.
 * Lock:    session.graphs_lock (rank 37).
 */
#ifndef BE_GRAPH_H
#define BE_GRAPH_H

#include "backend/cuda/array.h"
#include "backend/cuda/state.h"
#include "protocol/wire/graph.h"

#define BE_GRAPH_HOST_MAX  (1ull << 30) /* pinned memory of all graphs of a session */
#define BE_GRAPH_EXECS_MAX (1u << 16)

enum be_graph_host_kind {
    BE_GRAPH_CALL, /* a function of the client */
    BE_GRAPH_PULL, /* bytes from the client, before a copy to the device */
    BE_GRAPH_PUSH, /* bytes to the client, behind a copy from the device */
};

/* What a host function of ours in a graph works on. Constant once its node is there, but for
 * disabled and used. */
struct be_graph_host {
    struct be_session *session;
    struct be_context *context;
    enum be_graph_host_kind kind;
    uint64_t token; /* or the data id */
    uint8_t *bytes; /* pinned; NULL for functions */
    uint64_t len;
    atomic_bool disabled; /* the copy is, so nothing travels */
    bool used;            /* the executor's, while it sweeps */
    struct be_graph_host *next;
};

/* A node of the description, by its number. */
struct be_graph_node {
    CUgraphNode first, last; /* who depends on it, depends on last */
    CUgraphNode node;        /* the one with the parameters */
    CUgraphNode host_node;   /* the host function beside a copy, or NULL */
    struct be_graph_host *host;
    struct be_context *context;
    uint32_t type;
};

/* What the client and what the driver call a condition. */
struct be_cond {
    uint64_t client;
    CUgraphConditionalHandle handle;
};

struct be_exec {
    struct be_session *session;
    struct be_context *context;
    uint64_t id;
    CUgraphExec exec;
    CUgraph graph;
    struct be_graph_node *nodes;
    uint32_t count;
    struct be_cond *conds; /* of all its graphs */
    uint32_t cond_count;
    struct be_graph_host *hosts; /* all that its nodes use, or used */
    struct be_array **arrays;    /* of its copies, or earlier ones; owned, references */
    size_t array_count;
    uint64_t charged; /* device memory that instantiating it took */
    bool counted;     /* the client wants to know its end */
    bool halts;       /* some node may wait for more than the device */
    struct be_wait gone;

    /* Guarded by graphs_lock. */
    uint32_t running; /* launches that are not over */
    bool destroyed;
    struct be_exec *next; /* of the session */
};

/* graph_build.c: nodes of a checked description into graph. exec->nodes has room for all. */
CUresult be_graph_build(struct be_call *call, struct be_exec *exec, const uint8_t *data,
                        size_t len);
/* New parameters for one node of an executable graph. */
CUresult be_graph_change(struct be_call *call, struct be_exec *exec, uint32_t number,
                         const struct wire_graph_item *item);

/* graph_cond.c: the driver's handles for all conditions of a checked description, before it is
 * built; values of a kernel that are the client's handles become the driver's. */
CUresult be_graph_conds(struct be_call *call, struct be_exec *exec, const uint8_t *data,
                        size_t len);
CUgraphConditionalHandle be_graph_cond(const struct be_exec *exec, uint64_t client);
void be_graph_conds_put(const struct be_exec *exec, uint8_t *value, size_t bytes);

/* graph_host.c */
CUresult be_graph_host_create(struct be_exec *exec, struct be_context *context,
                              enum be_graph_host_kind kind, uint64_t token, uint64_t len,
                              struct be_graph_host **host_p);
void be_graph_host_destroy(struct be_graph_host *host);
/* CUhostFn of all of them. */
void be_graph_host_run(void *host);

/* graph.c: a reference until exec is gone; those of another one too, which loses them, and what
 * its functions work on. */
CUresult be_exec_keep_array(struct be_exec *exec, struct be_array *array);
CUresult be_exec_keep_arrays(struct be_exec *exec, struct be_exec *from);
void be_exec_keep_hosts(struct be_exec *exec, struct be_exec *from);
/* With a context that ends. */
void be_execs_drop_context(struct be_session *session, const struct be_context *context);
/* callback.c: on the driver's thread, in a host function: tell the client, wait for its answer. */
void be_callback_call(struct be_session *session, struct be_context *context, uint64_t token);
void be_callback_pull(struct be_session *session, struct be_context *context, uint64_t token,
                      uint8_t *to, uint64_t bytes);
/* The same thread sends bytes to the client, behind all that is proven by now. */
void be_callback_push(struct be_session *session, struct be_context *context, uint32_t data,
                      const uint8_t *from, uint64_t bytes);

#endif
