/* backend/driver/soft/dev/graph.h -- graphs, their nodes, and what is launched of them
 *
 * A node holds the work that it stands for. Instantiation copies all works, in an order that
 * respects the edges, into a plan; a launch runs the plan of its moment, so that later changes
 * of the executable graph do not reach launches that are queued.
 *
 * One lock (rank 15) guards graphs, nodes, executable graphs and captures.
 */
#ifndef SD_GRAPH_H
#define SD_GRAPH_H

#include "backend/driver/soft/dev/copy.h"
#include "backend/driver/soft/dev/launch.h"
#include "backend/driver/soft/dev/sched.h"

#define SD_NODE_ATTRIBUTES CU_LAUNCH_ATTRIBUTE_MAX

/* Memory of an allocation node: its place stays while a node or plan refers to it, whether it is
 * allocated at the moment or not. */
struct sd_graph_mem {
    unsigned refs;
    struct sd_device *dev;
    CUcontext ctx;
    uint64_t address;
    uint64_t bytes;
    bool allocated; /* a launch allocated it and nothing freed it since; holds a reference */
};

/* It was allocated or freed: counted as used; under the graphs' lock. */
void sd_graph_mem_count(const struct sd_graph_mem *mem, bool more);
/* Bytes of a device's graphs. */
CUresult sd_graph_mem_attribute(int device, CUgraphMem_attribute attribute, uint64_t *value);
/* Puts a high-water mark to what is now; CUDA_ERROR_INVALID_VALUE for the others. */
CUresult sd_graph_mem_reset(int device, CUgraphMem_attribute attribute);

struct sd_edge {
    CUgraphNode from;
    CUgraphEdgeData data;
};

struct CUgraphNode_st {
    struct sd_object obj;
    CUgraph graph;
    CUgraphNodeType type;
    CUcontext ctx;
    struct sd_edge *deps; /* owned */
    size_t dep_count;
    CUgraphNode origin; /* of which this is a copy; only compared */
    size_t index;       /* scratch: in the graph's order, of the plan, of a copy */
    bool mark;          /* scratch */

    struct sd_work work;  /* KERNEL, COPY, FILL, HOST, VALUES; NOTHING for the others */
    void **kernel_params; /* for those who ask; owned */
    CUfunction function;  /* as the program named it */
    CUDA_MEMCPY3D memcpy_params;
    CUDA_MEMSET_NODE_PARAMS memset_params;
    CUDA_MEM_ALLOC_NODE_PARAMS alloc_params;
    CUgraph child; /* owned */
    CUevent event;
    struct sd_graph_mem *mem; /* a reference */
    CUdeviceptr freed;
    struct {
        struct sd_cond *cond; /* a reference; NULL in other nodes */
        CUgraphConditionalNodeType type;
        unsigned size;
        CUgraph *bodies; /* owned; the program reads it */
    } cond;
    CUlaunchAttributeValue attributes[SD_NODE_ATTRIBUTES];
    uint32_t attributes_set; /* bit per attribute */
};

/* A word that kernels set and conditional nodes read. */
struct sd_cond {
    struct sd_cond *next; /* graph_cond.c's */

    /* Written once. */
    CUgraphConditionalHandle handle;
    CUcontext ctx; /* the only one whose kernels may set it */
    uint64_t ctx_id;
    unsigned value; /* of each launch, if flags say so */
    unsigned flags;

    _Atomic uint32_t now;
    unsigned refs;    /* graphs and plans */
    CUgraphExec exec; /* the one that has it; only compared */
    bool used;        /* scratch */
};

struct sd_users; /* graph_user.c: what a graph or plan keeps alive for the program */

struct CUgraph_st {
    struct sd_object obj;
    CUgraphNode *nodes; /* in order of creation */
    size_t count;
    size_t size;
    CUgraphNode owner;      /* the node that it is inside of: the program may not destroy it */
    bool moved;             /* into its owner; not a copy */
    struct sd_cond **conds; /* owned references */
    size_t cond_count;
    struct sd_users *users; /* owned; NULL: none */
};

struct sd_plan;

/* One step of a plan. */
struct sd_plan_node {
    CUgraphNode origin; /* only compared */
    CUgraphNodeType type;
    struct sd_work work;
    bool disabled;
    size_t *deps; /* positions in the order of creation; owned */
    size_t dep_count;
    size_t created;        /* position in the order of creation */
    struct sd_plan *child; /* a reference */
    CUevent event;
    struct sd_graph_mem *mem; /* a reference */
    CUdeviceptr freed;
    struct sd_cond *cond; /* a reference */
    CUgraphConditionalNodeType cond_type;
    struct sd_plan **bodies; /* owned references */
    unsigned body_count;
};

struct sd_plan {
    _Atomic unsigned refs;
    struct sd_plan_node *nodes;
    size_t count;
    bool has_memory;        /* steps that allocate or free, also in its children's plans */
    struct sd_cond **conds; /* owned references; also those of its bodies' plans */
    size_t cond_count;
    struct sd_users *users; /* owned: the program's objects live as long as launches do */
};

struct CUgraphExec_st {
    struct sd_object obj;
    CUcontext ctx;
    struct sd_plan *plan; /* a reference */
    cuuint64_t flags;
    /* The last launch, which the next one comes behind, in whatever stream; a reference. */
    struct sd_timeline *last_line;
    uint64_t last_seq;
};

void sd_graph_lock(void);
void sd_graph_unlock(void);

/* With the lock held. */
bool sd_graph_valid(CUgraph graph);
CUresult sd_graph_new(CUgraph *graph_p);
void sd_graph_delete(CUgraph graph);
/* deps may be NULL if count is 0; data may be NULL. The node is of type NOTHING's work. */
CUresult sd_graph_add(CUgraph graph, CUgraphNodeType type, const CUgraphNode *deps,
                      const CUgraphEdgeData *data, size_t count, CUgraphNode *node_p);
void sd_graph_drop(CUgraphNode node);
CUresult sd_node_depend(CUgraphNode node, CUgraphNode from, const CUgraphEdgeData *data);
CUresult sd_graph_clone(CUgraph graph, CUgraph *clone_p);
/* A deep copy of a work. */
CUresult sd_work_copy(struct sd_work *to, const struct sd_work *from);
CUresult sd_graph_mem_new(CUcontext ctx, uint64_t bytes, struct sd_graph_mem **mem_p);
/* Makes it accessible, which it may be already. */
CUresult sd_graph_mem_map(const struct sd_graph_mem *mem);
void sd_graph_mem_put(struct sd_graph_mem *mem);
/* Without the lock: the program frees it, now or in stream order: false if it is not allocated,
 * else unref when that is done. */
bool sd_graph_mem_freeing(struct sd_graph_mem *mem);
void sd_graph_mem_unref(struct sd_graph_mem *mem);
void sd_graph_mem_unmap(struct sd_graph_mem *mem);
/* Nodes that allocate or free, also in its children. */
bool sd_graph_has_memory(const struct CUgraph_st *graph);
/* As the driver says. */
bool sd_graph_may_clone(const struct CUgraph_st *graph);
/* References of its own to the same; NULL of NULL. */
CUresult sd_users_copy(const struct sd_users *from, struct sd_users **to_p);
/* They are given up by the next sd_users_bury. NULL: none. */
void sd_users_drop(struct sd_users *users);
/* Without the lock, after graphs or plans may have gone: destructors of the program may run. */
void sd_users_bury(void);

/* graph_cond.c; the lock is held */
#define SD_COND_BODIES_MAX 4096u
struct sd_cond *sd_cond_get(struct sd_cond *cond);
void sd_cond_put(struct sd_cond *cond);
/* A condition of the graph or of one around it; NULL if there is none. */
struct sd_cond *sd_cond_find(const struct CUgraph_st *graph, CUgraphConditionalHandle handle);
/* Without the lock, by kernels of ctx: false if there is no such handle, or none of ctx. */
bool sd_cond_set(struct CUctx_st *ctx, CUgraphConditionalHandle handle, uint32_t value);
CUresult sd_node_set_conditional(CUgraphNode node, const CUDA_CONDITIONAL_NODE_PARAMS *p);
void sd_node_conditional_fini(CUgraphNode node);
bool sd_graph_has_conditions(const struct CUgraph_st *graph);
/* Whether the graph, of which plan was made, may be instantiated as exec, which then has its
 * conditions. */
CUresult sd_conds_claim(const struct CUgraph_st *graph, const struct sd_plan *plan,
                        CUgraphExec exec, CUgraphInstantiateResult *result_p, CUgraphNode *error_p);
/* Of a plan whose conditions may be had. */
void sd_conds_take(const struct sd_plan *plan, CUgraphExec exec);
void sd_conds_release(const struct sd_plan *plan, CUgraphExec exec);

CUresult sd_plan_make(CUgraph graph, struct sd_plan **plan_p);
void sd_plan_put(struct sd_plan *plan);
/* A plan of its own for an executable graph whose plan is queued somewhere. */
CUresult sd_plan_own(CUgraphExec exec);
/* Without the lock: CUDA is ready, and it is one. */
CUresult sd_exec_get(CUgraphExec exec);

/* What the parameter structs of CUDA say, as work of a node; checked. */
CUresult sd_node_set_kernel(CUgraphNode node, const CUDA_KERNEL_NODE_PARAMS *p);
CUresult sd_node_set_memcpy(CUgraphNode node, const CUDA_MEMCPY3D *p, CUcontext ctx);
CUresult sd_node_set_memset(CUgraphNode node, const CUDA_MEMSET_NODE_PARAMS *p, CUcontext ctx);
CUresult sd_node_set_values(CUgraphNode node, const CUDA_BATCH_MEM_OP_NODE_PARAMS *p);
/* The same in a work, for executable graphs. like: what the node has at the moment. */
CUresult sd_kernel_params_work(const CUDA_KERNEL_NODE_PARAMS *p, CUcontext ctx,
                               struct sd_work *work);
CUresult sd_memcpy_params_work(const CUDA_MEMCPY3D *p, CUcontext ctx, struct sd_work *work);
CUresult sd_memset_params_work(const CUDA_MEMSET_NODE_PARAMS *p, CUcontext ctx,
                               struct sd_work *work);
CUresult sd_values_params_work(const CUDA_BATCH_MEM_OP_NODE_PARAMS *p, CUcontext ctx,
                               struct sd_work *work);
/* The attributes that launches of the node obey: cooperative, cluster. */
CUresult sd_node_apply_attribute(CUgraphNode node, unsigned id);
/* An attribute of a captured launch; those that a node can't have are left out. */
CUresult sd_node_take_attribute(CUgraphNode node, unsigned id, const CUlaunchAttributeValue *value);
/* stream_attr.c: what kernels that the stream captures have from it. */
void sd_stream_attributes_inherit(CUstream stream, CUgraphNode node);

#endif
