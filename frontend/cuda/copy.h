/* frontend/cuda/copy.h -- linear copies, for every call that copies
 *
 * The caller entered with call (in any call id) and resolved the stream. Addresses are checked by
 * the caller.
 */
#ifndef FE_COPY_H
#define FE_COPY_H

#include "frontend/cuda/geometry.h"
#include "frontend/cuda/objects.h"

#include <stddef.h>
#include <stdint.h>

struct fe_where {
    struct fe_stream *stream;
    uint64_t wire;
};

/* Bytes are captured, or will be read when the stream gets there if queued work may write them:
 * *pulled_p (may be NULL) tells. */
CUresult fe_copy_in(struct fe_call *call, uint64_t dst, const void *src, size_t bytes,
                    const struct fe_where *where, bool *pulled_p);
/* Returns when the bytes are there. */
CUresult fe_copy_out_wait(struct fe_call *call, void *dst, uint64_t src, size_t bytes,
                          const struct fe_where *where);
/* The bytes are there before any call that proves it returns; dst is pinned. */
CUresult fe_copy_out_async(struct fe_call *call, void *dst, uint64_t src, size_t bytes,
                           const struct fe_where *where);
CUresult fe_copy_on_device(struct fe_call *call, uint64_t dst, uint64_t src, size_t bytes,
                           const struct fe_where *where);
/* A box between any two places, as it was described; its sides are settled here. */
CUresult fe_copy_any(struct fe_call *call, struct fe_copy *copy, const struct fe_where *where,
                     bool wait);
/* The same as a whole call: described is what reading the program's struct gave. */
CUresult fe_copy_box(CUresult described, struct fe_copy *copy, CUstream stream, bool wait);
/* Wait until the stream is empty; for copies between host memory. */
CUresult fe_copy_drain(struct fe_call *call, const struct fe_where *where);

/* Around posting a copy or a fill (src_bytes 0) of memory that the program may reach too; undone by
 * fe_copy_unguard(). Nothing where there is no such memory. */
CUresult fe_copy_guard(const struct fe_where *where, uint64_t dst, uint64_t dst_bytes, uint64_t src,
                       uint64_t src_bytes);
void fe_copy_unguard(struct fe_call *call, const struct fe_where *where);

/* CUDA_ERROR_INVALID_VALUE unless [address, address + bytes) is device memory of the program. */
CUresult fe_check_device(const struct fe_call *call, uint64_t address, size_t bytes);
/* The same for memory that the device shall write: not what was registered as read-only, or mapped
 * so. */
CUresult fe_check_target(const struct fe_call *call, uint64_t address, size_t bytes);
/* memop.c: a value that is written or waited for there. */
CUresult fe_check_value(const struct fe_call *call, const CUstreamBatchMemOpParams *op);
/* Whether address is, or was, device memory. */
bool fe_is_device(const struct fe_call *call, uint64_t address);

#endif
