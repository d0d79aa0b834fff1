/* frontend/cuda/capture.h -- streams that make a graph instead of running
 *
 * A capture is kept here and nothing of it reaches the server: a call on a capturing stream becomes
 * a node (graph.h). So what the server does for its own ends can never slip into a graph, and
 * asking about a capture costs nothing.
 *
 * A capturing stream holds the nodes that its next node will depend on; events carry such sets to
 * other streams, which thereby join. fe_stream_resolve() refuses capturing streams; calls that can
 * be captured resolve with fe_stream_resolve_capture() and look at fe_capturing().
 *
 * Threads: any; all take the graphs' lock.
 */
#ifndef FE_CAPTURE_H
#define FE_CAPTURE_H

#include "frontend/cuda/geometry.h"
#include "frontend/cuda/objects.h"

struct fe_graph;
struct fe_node;
union fe_node_body;

static inline bool
fe_capturing(const struct fe_stream *stream)
{
    return __builtin_expect(atomic_load_explicit(&stream->capture, memory_order_acquire) != NULL,
                            0);
}

/* As fe_stream_resolve(), for calls that can be captured. */
CUresult fe_stream_resolve_capture(struct fe_call *call, CUstream handle,
                                   struct fe_stream **stream_p, uint64_t *wire_p);

/* A stream of the current context for a call that stays here: the call is over. */
CUresult fe_stream_local(struct fe_call *call, CUstream handle, struct fe_stream **stream_p);

/* Invalidates the stream's capture: STREAM_CAPTURE_UNSUPPORTED, or INVALIDATED if it was. */
CUresult fe_capture_refuse(struct fe_stream *stream);
/* STREAM_CAPTURE_UNSUPPORTED where captures forbid calls that could wait for all work, such as
 * allocating: by their modes and the thread's. Those captures are invalid then. */
CUresult fe_capture_unsafe(void);
/* Invalidates captures of streams of ctx, or of a green one of it: STREAM_CAPTURE_UNSUPPORTED if
 * there were. */
CUresult fe_capture_break_context(struct fe_context *ctx, const struct fe_green *green);
/* STREAM_CAPTURE_IMPLICIT if the legacy stream would wait for streams of ctx that capture. */
CUresult fe_capture_legacy(struct fe_context *ctx);

static inline CUresult
fe_capture_check_unsafe(const struct fe_context *ctx)
{
    if (__builtin_expect(atomic_load_explicit(&ctx->captures, memory_order_acquire) == 0, 1))
        return CUDA_SUCCESS;
    return fe_capture_unsafe();
}

/* Nodes of a capturing stream. body is used up; programmatic: behind kernels, by a programmatic
 * edge. */
CUresult fe_capture_add(struct fe_stream *stream, CUgraphNodeType type, struct fe_context *ctx,
                        union fe_node_body *body, bool programmatic);
CUresult fe_capture_linear(struct fe_call *call, struct fe_stream *stream, uint64_t dst,
                           CUmemorytype dst_type, uint64_t src, CUmemorytype src_type,
                           size_t bytes);
CUresult fe_capture_copy(struct fe_call *call, struct fe_stream *stream,
                         const struct fe_copy *copy);
struct fe_relay_copy;
CUresult fe_capture_between(struct fe_call *call, struct fe_stream *stream,
                            const struct fe_relay_copy *copy);
CUresult fe_capture_fill(struct fe_call *call, struct fe_stream *stream,
                         const CUDA_MEMSET_NODE_PARAMS *fill);
CUresult fe_capture_host(struct fe_stream *stream, CUhostFn fn, void *data);
CUresult fe_capture_values(struct fe_call *call, struct fe_stream *stream,
                           const CUDA_BATCH_MEM_OP_NODE_PARAMS *values);
/* Stream-ordered allocation: nodes. */
CUresult fe_capture_alloc(struct fe_call *call, struct fe_stream *stream, size_t bytes,
                          uint64_t *address_p);
CUresult fe_capture_free(struct fe_stream *stream, uint64_t address);

/* cuEventRecord and cuStreamWaitEvent where a capture takes part. */
CUresult fe_capture_record(struct fe_stream *stream, struct fe_event *event, bool external);
CUresult fe_capture_wait(struct fe_context *ctx, struct fe_stream *stream, struct fe_event *event,
                         bool external);

static inline bool
fe_captured_event(const struct fe_event *event)
{
    return __builtin_expect(atomic_load_explicit(&event->capture, memory_order_acquire) != NULL, 0);
}

/* CAPTURED_EVENT: nobody can wait for it; its capture is invalid then. */
CUresult fe_capture_event_asked(struct fe_event *event);
/* The event's state of capture is forgotten: it is recorded again, or destroyed. */
void fe_capture_event_gone(struct fe_event *event);
/* What it captured is left to fe_graph_flush: the caller may hold locks. */
void fe_capture_stream_gone(struct fe_stream *stream);
/* With the graphs' lock held: what is captured into it is invalid; it is behind no capture's next
 * node any more. */
void fe_capture_graph_gone(const struct fe_graph *graph);
void fe_capture_node_gone(const struct fe_node *node);
void fe_capture_drop_context(struct fe_context *ctx);

#endif
