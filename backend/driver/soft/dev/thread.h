/* backend/driver/soft/dev/thread.h -- what belongs to a thread: its stack of contexts, its
 * default streams, the meaning of a NULL stream
 */
#ifndef SD_THREAD_H
#define SD_THREAD_H

#include "backend/driver/soft/dev/ctx.h"
#include "backend/driver/soft/dev/green.h"

/* False without memory. green: the one that ctx is current as, or NULL. */
bool sd_thread_push(CUcontext ctx, CUgreenCtx green);
/* As the program named it; NULL if the stack is empty. */
CUcontext sd_thread_pop(void);
/* Replaces the top; ctx NULL takes it away. */
bool sd_thread_set(CUcontext ctx, CUgreenCtx green);
void sd_thread_pop_if_top(CUcontext ctx);
void sd_thread_pop_green(CUgreenCtx green);
/* The current one as the program named it. */
CUcontext sd_thread_handle(void);

/* CU_STREAM_PER_THREAD of the calling thread in ctx; made at the first use. */
CUresult sd_thread_stream(CUcontext ctx, CUstream *stream_p);

/* A thread of the device's own, that never ends; false (logged): it could not be made. */
bool sd_thread_start(void *(*body)(void *));

/* Counts how deep the thread is in host functions. */
void sd_thread_host_function(int change);

CUstreamCaptureMode sd_thread_capture_mode(void);
CUstreamCaptureMode sd_thread_capture_mode_swap(CUstreamCaptureMode mode);

#endif
