/* backend/driver/soft/dev/thread.h -- what belongs to a thread: its stack of contexts, its
 * default streams, the meaning of a NULL stream
 */
#ifndef SD_THREAD_H
#define SD_THREAD_H

#include "backend/driver/soft/dev/ctx.h"

/* False without memory. */
bool sd_thread_push(CUcontext ctx);
/* NULL if the stack is empty. */
CUcontext sd_thread_pop(void);
/* Replaces the top; NULL takes it away. */
bool sd_thread_set(CUcontext ctx);
void sd_thread_pop_if_top(CUcontext ctx);

/* CU_STREAM_PER_THREAD of the calling thread in ctx; made at the first use. */
CUresult sd_thread_stream(CUcontext ctx, CUstream *stream_p);

/* Counts how deep the thread is in host functions. */
void sd_thread_host_function(int change);

CUstreamCaptureMode sd_thread_capture_mode(void);
CUstreamCaptureMode sd_thread_capture_mode_swap(CUstreamCaptureMode mode);

#endif
