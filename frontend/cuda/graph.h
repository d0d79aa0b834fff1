/* frontend/cuda/graph.h -- graphs, which live here until they are instantiated
 *
 * A graph, its nodes, edges and parameters are this process's own: making, changing, cloning and
 * asking costs no message, nor does capturing (capture.c), which only makes nodes. Instantiation
 * describes the graph to the server (protocol/wire/graph.h) and keeps a list of steps, by which
 * later calls are checked.
 *
 * What a launch reads or writes in this process, and the functions that it calls, are tokens: they
 * belong to the executable graph and stay until the server says that its last launch is over.
 *
 * Handles: graphs, nodes, executable graphs and user objects in slabs (frontend/core/object.h).
 * Threads: any; one lock (fe_graph_lock), never held while waiting for the server.
 */
#ifndef FE_GRAPH_H
#define FE_GRAPH_H

#include "frontend/cuda/geometry.h"
#include "frontend/cuda/host.h"
#include "frontend/cuda/kernels.h"
#include "frontend/cuda/objects.h"
#include "frontend/cuda/relay.h"
#include "protocol/base/buf.h"
#include "protocol/wire/graph.h"

#define FE_NODE_ATTRIBUTES CU_LAUNCH_ATTRIBUTE_MAX

/* Device memory of an allocation node: taken when the node is made, given back when neither node,
 * nor executable graph, nor the program has it any more. */
struct fe_graph_block {
    struct fe_graph_block *next; /* of all */
    uint64_t address, bytes;
    struct fe_context *ctx;
    uint64_t ctx_wire;
    int device;
    unsigned refs;  /* nodes and executable graphs */
    bool allocated; /* a launch allocated it, nothing freed it since */
};

struct fe_dep {
    struct fe_node *from;
    CUgraphEdgeData data;
};

struct fe_node_kernel {
    struct fe_function *function;
    uint64_t function_wire;
    uint64_t green_wire; /* of the green context it runs in; 0: none */
    CUfunction named;    /* as the program did */
    uint32_t grid[3], block[3], shared_bytes;
    bool extra; /* values are the buffer of the extra form */
    uint32_t bytes;
    uint8_t *values; /* owned; one after the other */
    void **pointers; /* owned; into values, for those who ask */
    uint32_t attributes_set;
    CUlaunchAttributeValue *attributes; /* owned; FE_NODE_ATTRIBUTES, or NULL */
};

struct fe_node_copy {
    CUDA_MEMCPY3D params;
    struct fe_copy copy; /* sides settled: HOST or DEVICE */
    bool between;        /* servers: this process makes it, by these sides */
    struct fe_relay_side dst, src;
};

struct fe_node_values {
    unsigned count, flags;
    CUstreamBatchMemOpParams *ops; /* owned */
};

struct fe_node_alloc {
    CUDA_MEM_ALLOC_NODE_PARAMS params;
    struct fe_graph_block *block; /* a reference */
};

/* A condition of a graph; guarded by the lock. */
struct fe_cond {
    CUgraphConditionalHandle handle;
    struct fe_context *ctx;
    unsigned value, flags; /* at the begin of a launch */
    unsigned refs;         /* its graph, nodes, executable graphs */
    uint64_t exec;         /* the executable graph that has it, its wire id; 0: none */
    bool used;             /* scratch */
};

struct fe_node_cond {
    struct fe_cond *cond; /* a reference */
    CUgraphConditionalNodeType type;
    unsigned size;
    struct fe_graph **bodies; /* owned; the program gets this array */
};

/* What a node does, by its type. */
union fe_node_body {
    struct fe_node_kernel kernel;
    struct fe_node_copy copy;
    CUDA_MEMSET_NODE_PARAMS fill;
    CUDA_HOST_NODE_PARAMS host;
    struct fe_graph *child; /* owned */
    struct fe_node_cond cond;
    struct fe_event *event;
    struct fe_node_values values;
    struct fe_node_alloc alloc;
    CUdeviceptr freed;
};

struct fe_node {
    struct fe_object object;
    struct fe_graph *graph;
    CUgraphNodeType type;
    struct fe_context *ctx; /* NULL: whatever is current at instantiation */
    uint64_t ctx_wire;
    struct fe_dep *deps; /* owned */
    size_t dep_count;
    struct fe_node *origin; /* of which this is a copy; only compared */
    uint64_t origin_wire;
    size_t index;             /* scratch */
    bool mark;                /* scratch */
    union fe_node_body *body; /* owned; NULL for EMPTY */
};

struct fe_users; /* graph_user.c: what a graph or an executable one keeps alive for the program */

struct fe_graph {
    struct fe_object object;
    struct fe_node **nodes; /* in order of creation; owned */
    size_t count, room;
    struct fe_node *owner; /* the node that it is inside of: the program may not destroy it */
    bool moved;            /* into its owner; not a copy */
    struct fe_users *users; /* owned; NULL: none */
    struct fe_cond **conds; /* whose handles were made for it; owned, references */
    size_t cond_count;
};

void fe_graph_lock(void);
void fe_graph_unlock(void);

/* graph.c; with the lock held ------------------------------------------------------------ */

struct fe_graph *fe_graph_get(CUgraph handle);
struct fe_node *fe_node_get(CUgraphNode handle);
CUresult fe_graph_new(struct fe_graph **graph_p);
void fe_graph_delete(struct fe_graph *graph);
/* Nodes that allocate or free and conditional ones cannot be copied. */
bool fe_graph_may_clone(const struct fe_graph *graph);
CUresult fe_graph_clone(struct fe_graph *graph, struct fe_graph **clone_p);
/* deps may be NULL if count is 0; data may be NULL. body becomes the node's on success; ctx may be
 * NULL. */
CUresult fe_graph_add(struct fe_graph *graph, CUgraphNodeType type, struct fe_context *ctx,
                      const CUgraphNode *deps, const CUgraphEdgeData *data, size_t count,
                      union fe_node_body *body, struct fe_node **node_p);
void fe_graph_drop(struct fe_node *node);
CUresult fe_node_depend(struct fe_node *node, struct fe_node *from, const CUgraphEdgeData *data);
/* Whether the graph or one inside has such a node. */
bool fe_graph_has(const struct fe_graph *graph, CUgraphNodeType type);
/* The nodes in an order that respects the edges, their places in index; false for a cycle. */
bool fe_graph_sort(const struct fe_graph *graph, struct fe_node **order);

/* graph_body.c: what the parameter structs of CUDA say; checked --------------------------- */

void fe_body_free(CUgraphNodeType type, union fe_node_body *body);
CUresult fe_body_copy(CUgraphNodeType type, const union fe_node_body *from,
                      union fe_node_body **body_p);
/* Without the lock. *ctx_p: in, the context to use or NULL; out, the node's. */
CUresult fe_body_kernel(const CUDA_KERNEL_NODE_PARAMS *p, struct fe_context **ctx_p,
                        union fe_node_body **body_p);
CUresult fe_body_copy_params(const CUDA_MEMCPY3D *p, struct fe_context **ctx_p,
                             union fe_node_body **body_p);
/* Settled sides, as captures have them. */
CUresult fe_body_copy_sides(const struct fe_copy *copy, union fe_node_body **body_p);
CUresult fe_body_copy_between(const struct fe_relay_copy *copy, union fe_node_body **body_p);
CUresult fe_body_fill(const CUDA_MEMSET_NODE_PARAMS *p, struct fe_context **ctx_p,
                      union fe_node_body **body_p);
CUresult fe_body_values(const CUDA_BATCH_MEM_OP_NODE_PARAMS *p, struct fe_context **ctx_p,
                        union fe_node_body **body_p);
CUresult fe_body_host(const CUDA_HOST_NODE_PARAMS *p, union fe_node_body **body_p);
CUresult fe_body_event(CUevent event, union fe_node_body **body_p);
/* A context's handle, NULL meaning the current one; *ctx_p may become NULL. */
CUresult fe_node_context(CUcontext handle, struct fe_context **ctx_p);
CUresult fe_kernel_attribute_set(struct fe_node_kernel *k, unsigned id,
                                 const CUlaunchAttributeValue *value);

/* graph_cond.c; with the lock held --------------------------------------------------------------
 */

/* *ctx_p: in, the context to use; out, the node's. */
CUresult fe_body_conditional(struct fe_graph *graph, const CUDA_CONDITIONAL_NODE_PARAMS *p,
                             struct fe_context **ctx_p, union fe_node_body **body_p);
void fe_cond_put(struct fe_cond *cond);
/* An executable graph has the conditions of graph from now on, and plan references to them: one
 * has them at a time. Or why graph cannot be instantiated, and a node that is to blame or NULL. */
struct fe_plan;
CUresult fe_conds_claim(const struct fe_graph *graph, uint64_t exec, struct fe_plan *plan,
                        CUgraphInstantiateResult *result_p, struct fe_node **error_p);
void fe_conds_release(struct fe_plan *plan, uint64_t exec);

/* graph_mem.c; with the lock held, where it is not said otherwise ---------------------------- */

/* Without the lock: takes memory, may wait for the server. */
CUresult fe_graph_block_new(struct fe_context *ctx, uint64_t bytes,
                            struct fe_graph_block **block_p);
void fe_graph_block_put(struct fe_graph_block *block);
/* The one that begins at address, or NULL. */
struct fe_graph_block *fe_graph_block_find(uint64_t address);
void fe_graph_block_used(struct fe_graph_block *block, bool allocated);
/* Without the lock: cuMemFree and cuMemFreeAsync of a block's address: true if it was one, with
 * *cr_p the call's result. */
bool fe_graph_mem_free(uint64_t address, CUresult *cr_p);
/* Whether an allocation node's memory begins there. Takes the graphs' lock. */
bool fe_graph_mem_is(uint64_t address);
/* Without the lock: memory that nobody has any more goes back. */
void fe_graph_mem_flush(void);
/* Without any lock, when graphs may have gone: that, and destructors of the program run. */
void fe_graph_flush(void);

/* graph_user.c -------------------------------------------------------------------------------- */

void fe_user_object_define(void); /* the slab */

/* With the lock held. step: of an executable graph's; FE_USERS_OF_GRAPH: of none. */
#define FE_USERS_OF_GRAPH UINT32_MAX
/* References of its own to the same, into *list. */
CUresult fe_users_copy(const struct fe_users *from, uint32_t step, struct fe_users **list);
/* Those of the steps from first to before end, out of the list. */
struct fe_users *fe_users_take(struct fe_users **list, uint32_t first, uint32_t end);
void fe_users_join(struct fe_users **list, struct fe_users *more);
/* They are given up by the next fe_users_bury. */
void fe_users_drop(struct fe_users *list);
/* The same, but not before the work with number n is over; ctx NULL: it is. */
void fe_users_retire(struct fe_users *list, struct fe_context *ctx, struct fe_stream *stream,
                     uint64_t stream_wire, uint64_t n);
/* Without any lock: destructors may run. */
void fe_users_bury(void);
/* Without any lock, when work was proven: the same for what was retired. */
void fe_users_settle(void);

/* graph_token.c ------------------------------------------------------------------------------- */

enum fe_token_kind {
    FE_TOKEN_CALL,  /* a host function */
    FE_TOKEN_MOVE,  /* a copy between host memory */
    FE_TOKEN_RELAY, /* a copy between servers */
    FE_TOKEN_PULL,  /* a source in host memory */
    FE_TOKEN_PUSH,  /* a destination in host memory */
};

struct fe_token {
    struct fe_token *next; /* of the executable graph */
    uint64_t id; /* on the wire: WIRE_GRAPH_TOKEN | generation << 32 | index, or data id */
    enum fe_token_kind kind;
    uint32_t step; /* number of its node in the description */
    CUhostFn fn;
    void *data;
    struct fe_copy copy;
    struct fe_relay_side dst, src; /* RELAY */
    struct fe_host_hold hold;      /* PUSH: while it is launched; guarded by the graphs' lock */
};

/* A copy of what, numbered; *list grows by it. */
CUresult fe_token_new(struct fe_call *call, const struct fe_token *what, struct fe_token **list,
                      struct fe_token **token_p);
/* Nothing of the server names them any more. */
void fe_tokens_free(struct fe_call *call, struct fe_token *list);

/* Notices of s that name a token. */
bool fe_token_call(struct fe_session *s, uint64_t id);
/* What a PULL reads; false if it is not one of so many bytes. */
bool fe_token_pull(uint64_t id, uint64_t bytes, struct fe_copy *copy_p);
/* Bytes from the first that a PUSH writes to the last. */
size_t fe_token_span(const struct fe_token *token);

/* graph_wire.c ----------------------------------------------------------------------------------
 */

/* A step is a node of the graph itself, not of those inside. */
struct fe_step {
    struct fe_node *node; /* only compared, with its wire id: it may be gone */
    uint64_t node_wire;
    CUgraphNodeType type;
    uint32_t number;               /* in the description */
    uint32_t created;              /* place in the order of creation */
    uint32_t dep_first, dep_count; /* in the list of all, places in the order of creation */
    struct fe_context *ctx;
    bool cooperative, host_src, host_dst, between, disabled;
    bool hollow;       /* described as an empty node: nothing to copy, fill or do */
    size_t inside;     /* GRAPH: nodes of the graph inside */
    uint32_t children; /* of these and all inside them */
};

/* Recorded by a launch. */
struct fe_plan_event {
    struct fe_event *event;
    uint64_t wire; /* its id then: a reused object is another event */
    uint32_t number;
};

/* What an executable graph must know of what was described. */
struct fe_plan {
    struct fe_step *steps; /* owned */
    size_t count;
    uint32_t *deps; /* owned */
    struct fe_token *tokens;
    struct fe_plan_event *events; /* owned */
    size_t event_count;
    struct fe_graph_block **allocs; /* owned, references; allocated by a launch */
    size_t alloc_count;
    uint64_t *frees; /* owned; freed by a launch */
    size_t free_count;
    struct fe_cond **conds; /* owned, references */
    size_t cond_count;
    struct fe_users *users; /* owned: those of the graph and of the graphs inside */
};

/* With the lock held; the tokens of call's session. plan is empty before; filled in part on error,
 * too. */
CUresult fe_graph_describe(struct fe_call *call, struct fe_graph *graph, struct gp_buf *out,
                           struct fe_plan *plan);
/* One node with this number without its edges. */
CUresult fe_node_describe(struct fe_call *call, CUgraphNodeType type, struct fe_context *ctx,
                          union fe_node_body *body, uint32_t number, struct gp_buf *out,
                          struct fe_plan *plan);
void fe_plan_free(struct fe_call *call, struct fe_plan *plan);

/* graph_exec.c ----------------------------------------------------------------------------------
 */

void fe_exec_define(void); /* the slab */
/* The server says that the last launch of a destroyed one is over; destructors may run. */
void fe_graph_gone(struct fe_session *s, uint64_t exec);
/* The context goes. */
void fe_graph_drop_context(struct fe_context *ctx);
/* With the lock held: the wire id and the plan of an executable graph. */
CUresult fe_exec_get(CUgraphExec handle, uint64_t *wire_p, struct fe_plan **plan_p);
/* With the lock held: free these tokens and users once launches that use them are over. */
void fe_exec_retire(struct fe_call *call, CUgraphExec handle, struct fe_token *old,
                    struct fe_users *users);
/* Whether a launch that calls host functions or writes host memory may still be under way. */
bool fe_graphs_pending(void);

#endif
