/* frontend/cuda/attributes.h -- launch attributes in the form in which they travel
 */
#ifndef FE_ATTRIBUTES_H
#define FE_ATTRIBUTES_H

#include "frontend/cuda/objects.h"

#define FE_ATTRIBUTES_MAX 32

struct fe_attributes {
    CUlaunchAttribute list[FE_ATTRIBUTES_MAX];
    struct fe_event *events[FE_ATTRIBUTES_MAX]; /* recorded by the launch */
    uint32_t count;
    bool cooperative;
};

/*
 * Copy, check, replace event handles by wire ids.
 * Errors: CUDA_ERROR_INVALID_VALUE, CUDA_ERROR_INVALID_HANDLE, CUDA_ERROR_NOT_SUPPORTED.
 */
CUresult fe_attributes_read(struct fe_attributes *a, const CUlaunchAttribute *from, unsigned count);
/* The launch with work number n records the events. */
void fe_attributes_mark(const struct fe_attributes *a, struct fe_context *ctx,
                        struct fe_stream *stream, uint64_t stream_wire, uint64_t n);

#endif
