/* frontend/core/data.h -- bytes on their way from the device to host memory
 *
 * A copy is opened with its destination, its id travels as the `data` argument of the call, DATA
 * frames are read from the line straight into the destination, and its last piece ends it. A copy
 * whose call was never posted is dropped with fe_data_drop().
 *
 *   fe_data_open(&call, &shape, FE_DATA_WAIT, &args.data);
 *   to = fe_post(&call, size); ... fe_post_done_wait(&call);
 *   cr = fe_data_wait(&call, args.data);       pageable destination: one round trip
 *
 *   fe_data_open(&call, &shape, FE_DATA_ASYNC, &args.data);
 *   to = fe_post(&call, size); ... fe_post_done(&call);
 *   pinned destination: arrives by itself, before the reply of any call that proves it; a failure
 *   becomes the session's deferred error
 *
 * Threads: any. The destination must stay writable until the copy ended.
 */
#ifndef FE_DATA_H
#define FE_DATA_H

#include "frontend/core/call.h"

/* Rows of row_bytes, rows_per_slice rows a slice; arriving bytes are packed. A linear copy has one
 * row and one slice. */
struct fe_data_shape {
    void *dst;
    uint64_t row_bytes;
    uint64_t row_pitch; /* bytes from row to row in dst */
    uint64_t rows;      /* in a slice, >= 1 */
    uint64_t slice_pitch;
    uint64_t slices; /* >= 1 */
};

enum fe_data_mode {
    FE_DATA_WAIT,
    FE_DATA_ASYNC,
    /* Of a graph: arrives any number of times, nothing ends it but fe_data_drop(), when the server
     * has said that it sends no more. */
    FE_DATA_KEPT,
};

/* Errors: OUT_OF_MEMORY; the session's. May wait while very many copies are under way. */
CUresult fe_data_open(struct fe_call *call, const struct fe_data_shape *shape,
                      enum fe_data_mode mode, uint32_t *data_p);
CUresult fe_data_open_linear(struct fe_call *call, void *dst, uint64_t bytes,
                             enum fe_data_mode mode, uint32_t *data_p);
/* Send what is queued and wait for the last piece: the copy's result. Frees the id. */
CUresult fe_data_wait(struct fe_call *call, uint32_t data);
void fe_data_drop(struct fe_call *call, uint32_t data);

#endif
