/* frontend/cuda/callback.h -- host functions in stream order, and reads of host memory that the
 * server asks for when a stream gets there
 */
#ifndef FE_CALLBACK_H
#define FE_CALLBACK_H

#include "frontend/cuda/objects.h"

/* Whether a host function was queued and did not return yet: it may write any host memory. */
bool fe_callbacks_pending(void);

/* The calling thread, which is ours, runs a function of the program: calls are refused in it, and
 * it may look at what came before. */
void fe_host_begin(void);

/* Host to device from memory that queued work may still write: read when the stream gets there.
 * The bytes must stay valid until then; the caller entered with call, in any call id. */
CUresult fe_pull(struct fe_call *call, uint64_t dst, const void *src, uint64_t bytes,
                 struct fe_stream *stream, uint64_t stream_wire);
/* A context whose work has yet to read some of the range so; NULL: there is none. */
struct fe_context *fe_pull_pending(uint64_t address, uint64_t bytes);

#endif
