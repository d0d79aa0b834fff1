/* backend/driver/soft/dev/sched.h -- streams and the threads that run them
 *
 * A stream is a queue of operations, numbered from 1. Its timeline tells how far it came;
 * everything that waits (other streams, events, host threads) waits for a number on a
 * timeline. The legacy stream's operations depend on the last operation of each blocking stream
 * and the other way round. Executor threads take streams whose first operation can run. A thread
 * that waits for a stream which no executor has taken yet runs it itself.
 */
#ifndef SD_SCHED_H
#define SD_SCHED_H

#include "backend/driver/soft/dev/ctx.h"
#include "backend/driver/soft/dev/work.h"

struct sd_capture;
struct sd_shared_event;
struct sd_stream_attributes;

struct sd_timeline {
    _Atomic uint64_t completed; /* number of the last finished operation */
    _Atomic uint32_t wake;      /* futex of sleeping host threads */
    _Atomic uint32_t sleepers;
    _Atomic uint32_t refs;
    struct CUstream_st *waiting; /* scheduler's lock: parked streams, linked by park_next */
};

/* What an event remembers of its last record. */
struct sd_mark {
    _Atomic uint32_t refs;
    _Atomic uint64_t ns;          /* when it was reached; 0 before */
    struct sd_timeline *timeline; /* a reference */
    uint64_t seq;
    struct sd_shared_event *shared; /* told too, that record number shared_record is done */
    uint64_t shared_record;
};

struct sd_dep {
    struct sd_timeline *timeline; /* a reference */
    uint64_t seq;
};

struct sd_op {
    struct sd_op *next;
    uint64_t seq;
    uint64_t queued_ns;  /* by the timing model's clock; 0: the device has none */
    struct sd_dep *deps; /* owned */
    unsigned dep_count;
    unsigned dep_next; /* the ones before are known to be reached */
    bool launches;     /* KERNEL and GRAPH, when it was made: textures and code stay */
    unsigned textures; /* sd_textures_enter's */
    unsigned use;      /* gp_use_begin's */
    struct sd_work work;
};

enum sd_stream_state {
    SD_STREAM_IDLE,    /* nothing queued */
    SD_STREAM_QUEUED,  /* waits for an executor */
    SD_STREAM_RUNNING, /* an executor or a waiting thread has it */
    SD_STREAM_PARKED,  /* waits for a timeline */
    SD_STREAM_POLLING, /* waits for memory to change */
};

struct CUstream_st {
    struct sd_object obj;

    /* Written once. */
    struct CUctx_st *ctx;
    unsigned flags;
    unsigned long long id;
    struct sd_timeline *timeline;
    bool legacy;
    bool per_thread;
    bool inside; /* the device's own: ctx_event.c */
    CUgreenCtx green;
    unsigned long long green_id; /* whether it is still the same */

    /* Scheduler's lock. */
    enum sd_stream_state state;
    struct sd_op *head;
    struct sd_op *tail;
    uint64_t submitted;
    uint64_t over_ns;  /* when its last work was over, by the timing model */
    bool busy;         /* counted in ctx->busy_blocking */
    _Atomic bool gone; /* destroyed by the program: freed when idle */
    struct CUstream_st *queue_next;
    struct CUstream_st *queue_prev;
    struct CUstream_st *park_next;
    uint64_t park_seq;
    struct CUstream_st *ctx_next;
    _Atomic int priority;                    /* cuStreamSetAttribute */
    struct sd_stream_attributes *attributes; /* stream_attr.c; NULL: as a new stream has them */

    /* Graphs' lock; also read with an atomic load to see whether it captures. */
    _Atomic(struct sd_capture *) capture;
};

struct CUevent_st {
    struct sd_object obj;
    struct CUctx_st *ctx;
    unsigned flags;
    struct sd_shared_event *shared; /* of several processes; NULL: of this one */

    /* Scheduler's lock. */
    struct sd_mark *mark;
    struct CUevent_st *ctx_next;
    struct CUevent_st *ctx_prev;

    /* Graphs' lock: set while its last record was in a capture. */
    _Atomic(struct sd_capture *) capture;
    struct CUevent_st *capture_next;       /* of the same capture */
    struct CUgraphNode_st **capture_nodes; /* owned */
    size_t capture_count;
};

/* Makes a stream of ctx. priority is clamped. Errors: CUDA_ERROR_OUT_OF_MEMORY. */
CUresult sd_stream_create(struct CUctx_st *ctx, unsigned flags, int priority, CUstream *stream_p);
/* A non-blocking one of a green context. */
CUresult sd_stream_create_green(struct CUctx_st *ctx, CUgreenCtx green, int priority,
                                CUstream *stream_p);
/* The work of all streams of a green context so far. */
void sd_green_wait_all(CUgreenCtx green);
/* Those that it has itself go when their work is done; the program's stay. */
void sd_green_drop_streams(CUgreenCtx green);
/* For the work that is not taken yet; clamped. */
void sd_stream_set_priority(CUstream stream, int priority);
/* The program gives it up; work that is queued still runs. False: another thread was first. */
bool sd_stream_destroy(CUstream stream);

/*
 * What a handle means here: NULL, 1 and 2 are resolved for the current context. The context is
 * checked as sd_enter does.
 */
CUresult sd_stream_get(CUstream handle, CUstream *stream_p);
/* The same for a call that no capture can hold: a capturing stream's capture is invalidated. */
CUresult sd_stream_get_running(CUstream handle, CUstream *stream_p);

/* A value that is written or waited for: INVALID_VALUE if it cannot be. */
CUresult sd_value_op_check(const CUstreamBatchMemOpParams *op);

/* NULL without memory. */
struct sd_op *sd_op_new(enum sd_work_kind kind, struct CUctx_st *ctx);
void sd_op_free(struct sd_op *op);
CUresult sd_op_depend(struct sd_op *op, struct sd_timeline *timeline, uint64_t seq);

/* Behind all that was submitted to the op's context, or to a green one of it. */
CUresult sd_op_depend_all(struct sd_op *op, CUgreenCtx green);
/* *place, a stream of the device's own in ctx or green, made when first asked for. */
CUresult sd_ctx_inside(struct CUctx_st *ctx, CUgreenCtx green, CUstream *place, CUstream *stream_p);

/* event.c: op records the event in stream and is used up; stream waits for it. Not in captures. */
CUresult sd_event_record_op(CUevent event, CUstream stream, struct sd_op *op);
CUresult sd_event_wait_in(CUevent event, CUstream stream);

/* Queues op, consuming it; in a capturing stream it becomes a node. place_p (may be NULL) is where
 * it is in the stream, with a reference; its timeline is NULL for a node. */
CUresult sd_stream_submit(CUstream stream, struct sd_op *op, struct sd_dep *place_p);
/* Runs op in stream order and returns when it is done; at once in this thread if nothing is
 * before it. Returns the context's sticky error. Not for capturing streams. */
CUresult sd_stream_execute(CUstream stream, struct sd_op *op);
/* Runs op in this thread if nothing is before it and it takes no modelled time, and true; otherwise
 * false and op is untouched. */
bool sd_stream_try_now(CUstream stream, struct sd_op *op);

bool sd_timeline_reached(struct sd_timeline *timeline, uint64_t seq);
/* stream (may be NULL) is run by this thread if nobody else has it. */
void sd_timeline_wait(struct sd_timeline *timeline, uint64_t seq, CUstream stream);
struct sd_timeline *sd_timeline_get(struct sd_timeline *timeline);
void sd_timeline_put(struct sd_timeline *timeline);
struct sd_mark *sd_mark_new(void);
struct sd_mark *sd_mark_get(struct sd_mark *mark);
void sd_mark_put(struct sd_mark *mark);

/* Waits until all that was submitted to the stream is done, including what the legacy
 * stream's rule makes it depend on. */
void sd_stream_wait_all(CUstream stream);
bool sd_stream_all_done(CUstream stream);
/* All streams of ctx. */
void sd_ctx_wait_all(struct CUctx_st *ctx);
/* After sd_ctx_wait_all: frees streams and events of a context that ends. */
void sd_ctx_free_streams(struct CUctx_st *ctx);

void sd_sched_lock(void);
void sd_sched_unlock(void);

/* Graph side of capture (capture.c). */
CUresult sd_capture_op(CUstream stream, struct sd_op *op);
/* The same for a launch with attributes, which become the node's. */
CUresult sd_capture_launch(CUstream stream, struct sd_op *op, const CUlaunchAttribute *attrs,
                           unsigned count);
/* Whether the capture mode of this thread and of running captures forbids calls that might
 * synchronise; the captures are then invalidated. */
bool sd_capture_forbids(void);

#endif
