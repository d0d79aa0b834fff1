/* backend/driver/soft/dev/work.h -- one piece of device work: what a stream holds and what a graph
 * node is
 *
 * A work is a value: it owns what its comments say and is finished with sd_work_fini.
 */
#ifndef SD_WORK_H
#define SD_WORK_H

#include "backend/driver/soft/dev/dev.h"

struct CUfunc_st;
struct sd_graph_mem;
struct sd_plan;
struct sd_mark;
struct sd_bound;

enum sd_work_kind {
    SD_WORK_NOTHING, /* empty nodes, event waits: only order */
    SD_WORK_KERNEL,
    SD_WORK_COPY,
    SD_WORK_FILL,
    SD_WORK_HOST,
    SD_WORK_CALLBACK, /* cuStreamAddCallback: runs after failures too */
    SD_WORK_RECORD,
    SD_WORK_VALUES,
    SD_WORK_FREE, /* of pool memory, in stream order */
    SD_WORK_GRAPH,
    SD_WORK_UNPACK,
};

/* A kernel launch; params is owned. */
struct sd_kernel_work {
    struct CUfunc_st *fn;
    unsigned grid[3];
    unsigned block[3];
    unsigned cluster[3];
    unsigned shared_bytes;
    bool explicit_cluster;
    bool cooperative;
    const struct CUdevResourceDesc_st *sms; /* on which SMs; NULL: all */
    uint8_t *params;
    uint32_t param_bytes;
    struct sd_bound *bound; /* owned: the module's references, as they were at the launch */
    uint32_t bound_count;
};

/* A box of bytes from one place in the address space to another; rows of width bytes. Arrays
 * are places too. staging (owned, may be NULL) holds the captured source. */
struct sd_copy_work {
    uint64_t src;
    uint64_t dst;
    uint64_t width;
    uint64_t height;
    uint64_t depth;
    uint64_t src_pitch;
    uint64_t src_slice;
    uint64_t dst_pitch;
    uint64_t dst_slice;
    void *staging;
};

struct sd_fill_work {
    uint64_t dst;
    uint64_t pitch;
    uint64_t width; /* in elements */
    uint64_t height;
    uint32_t value;
    unsigned element; /* 1, 2 or 4 bytes */
};

struct sd_host_work {
    CUhostFn fn;
    CUstreamCallback callback;
    void *user;
    CUstream stream; /* as the program named it; given to the callback */
};

struct sd_values_work {
    CUstreamBatchMemOpParams *ops; /* owned */
    unsigned count;
    unsigned next; /* how far it came */
};

struct sd_unpack_work {
    CUmemDecompressParams *params; /* owned */
    size_t count;
};

/* A launch of a graph. */
struct sd_graph_work {
    struct sd_plan *plan;        /* a reference */
    struct sd_graph_mem **freed; /* memory that it frees: owned, with a reference to each */
    size_t freed_count;
};

struct sd_work {
    enum sd_work_kind kind;
    struct CUctx_st *ctx;
    union {
        struct sd_kernel_work kernel;
        struct sd_copy_work copy;
        struct sd_fill_work fill;
        struct sd_host_work host;
        struct sd_values_work values;
        struct sd_mark *mark; /* RECORD: a reference */
        uint64_t address;     /* FREE */
        struct sd_graph_work graph;
        struct sd_unpack_work unpack;
    };
};

/* Runs on any thread, without locks. Host functions and pending waits included: a values work
 * is only run when sd_work_ready. The result is the context's failure, if any. */
CUresult sd_work_run(struct sd_work *work);
/* Takes a modelled time: nothing asynchronous may be done at once then. */
bool sd_work_is_timed(const struct sd_work *work);
/* True where the device has a timing model at all. */
bool sd_work_has_clock(const struct CUctx_st *ctx);
bool sd_profile_has_clock(const struct sd_profile *p);
/* The modelled time of the stream that this thread runs: when its last work was over, 0 where there
 * is no model. */
uint64_t sd_work_clock_get(void);
void sd_work_clock_set(uint64_t ns);
/* Its next work cannot begin before. */
void sd_work_clock_reach(uint64_t ns);
/* False while a values work waits for memory to change; advances it. */
bool sd_work_ready(struct sd_work *work);
void sd_work_fini(struct sd_work *work);

void sd_copy_run(const struct sd_copy_work *copy);
void sd_fill_run(const struct sd_fill_work *fill);
CUresult sd_kernel_run(struct sd_work *work);
CUresult sd_graph_run(struct sd_work *work);
void sd_graph_work_fini(struct sd_graph_work *graph);

/* True on a thread that runs a host function: it may not call the API. */
bool sd_in_host_function(void);

#endif
