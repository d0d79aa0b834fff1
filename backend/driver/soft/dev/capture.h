/* backend/driver/soft/dev/capture.h -- what streams and events ask of capture
 *
 * Threads: any; all take the graphs' lock (rank 15).
 */
#ifndef SD_CAPTURE_H
#define SD_CAPTURE_H

#include "backend/driver/soft/dev/sched.h"

/* Invalidates the stream's capture and returns cr. */
CUresult sd_capture_break(CUstream stream, CUresult cr);
/* Whether a wait for the stream, or a query, is an error because of captures; invalidates. */
CUresult sd_capture_blocks_wait(CUstream stream);
/* Invalidates the captures of streams of ctx, or of a green one of it: STREAM_CAPTURE_UNSUPPORTED
 * if there were. */
CUresult sd_capture_break_ctx(CUcontext ctx, CUgreenCtx green);
/* Whether the legacy stream may be used while streams of ctx capture; invalidates them if not. */
CUresult sd_capture_legacy(CUcontext ctx);
/* cuEventRecord and cuStreamWaitEvent where a capture takes part. */
CUresult sd_capture_record(CUstream stream, CUevent event, bool external);
CUresult sd_capture_wait(CUstream stream, CUevent event, bool external);
/* cuMemAllocAsync and cuMemFreeAsync in a capturing stream: nodes. pool NULL: the current one. */
CUresult sd_capture_alloc(CUstream stream, CUmemoryPool pool, size_t bytes, CUdeviceptr *dptr);
CUresult sd_capture_free(CUstream stream, CUdeviceptr dptr);
/* CAPTURED_EVENT: nobody can wait for it; invalidates. */
CUresult sd_capture_event_asked(CUevent event);
/* The event's state of capture is forgotten. */
void sd_capture_event_gone(CUevent event);
void sd_capture_stream_gone(CUstream stream);
/* The same of all streams of ctx, or of a green one of it. */
void sd_capture_ctx_gone(CUcontext ctx, CUgreenCtx green);
/* With the graphs' lock held: what is captured into it is invalid; it is behind no capture's next
 * node any more. */
void sd_capture_graph_gone(CUgraph graph);
void sd_capture_node_gone(CUgraphNode node);

#endif
