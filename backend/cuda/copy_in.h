/* backend/cuda/copy_in.h -- a copy to the device, block by block through pinned memory
 *
 * Threads: the executor; the call's context is current.
 */
#ifndef BE_COPY_IN_H
#define BE_COPY_IN_H

#include "backend/cuda/call.h"
#include "backend/memory/staging.h"
#include "wire_calls.h"

struct be_copy_in {
    uint64_t dst; /* of the next block */
    CUstream stream;
    struct be_staging *staging;
    struct be_block *block; /* to be filled; between _get and _go, or be_staging_put() */
};

/* Checked as a whole; nothing is held. */
CUresult be_copy_in_begin(struct be_call *call, const struct wire_cuMemcpyHtoDAsync_v2_args *args,
                          struct be_copy_in *in);
/* A block for the next bytes, BE_STAGING_BLOCK_MAX at most; may wait for an earlier copy. */
CUresult be_copy_in_get(struct be_call *call, struct be_copy_in *in, uint32_t bytes);
/* Its bytes are there: have them copied. The block is the stream's from then on. */
CUresult be_copy_in_go(struct be_call *call, struct be_copy_in *in, uint32_t bytes);
/* The next bytes lie where the device may take them from now: they are read when this returns. Only
 * where nothing of the context runs, or the driver may wait for what waits for the client. */
CUresult be_copy_in_near(struct be_call *call, struct be_copy_in *in, const void *from,
                         uint32_t bytes);

#endif
