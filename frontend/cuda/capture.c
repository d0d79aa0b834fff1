/* frontend/cuda/capture.c -- questions about stream capture; capture itself is refused, so no
 * stream ever captures */
#include "cuda_api.h"
#include "frontend/core/stats.h"
#include "frontend/cuda/state.h"
#include "protocol/base/util.h"

/* The stream is checked as if it mattered. */
static CUresult
not_capturing(CUstream handle, CUstreamCaptureStatus *status)
{
    struct fe_stream *stream = NULL;
    struct fe_call call;
    uint64_t wire;
    CUresult cr = fe_enter(&call, WIRE_CALL_cuStreamCreateWithPriority);

    FE_COUNT_LOCAL();
    if (cr != CUDA_SUCCESS)
        return cr;
    cr = fe_leave(&call, fe_stream_resolve(&call, handle, &stream, &wire));
    if (cr == CUDA_SUCCESS && status == NULL)
        cr = CUDA_ERROR_INVALID_VALUE;
    if (cr == CUDA_SUCCESS)
        *status = CU_STREAM_CAPTURE_STATUS_NONE;
    return cr;
}

GP_EXPORT CUresult
cuStreamIsCapturing(CUstream stream, CUstreamCaptureStatus *status)
{
    return not_capturing(stream, status);
}

/* With status NONE the other outputs are left as they are. */
GP_EXPORT CUresult
cuStreamGetCaptureInfo(CUstream stream, CUstreamCaptureStatus *status, cuuint64_t *id)
{
    (void)id;
    return not_capturing(stream, status);
}

GP_EXPORT CUresult
cuStreamGetCaptureInfo_v2(CUstream stream, CUstreamCaptureStatus *status, cuuint64_t *id,
                          CUgraph *graph, const CUgraphNode **dependencies, size_t *count)
{
    (void)id;
    (void)graph;
    (void)dependencies;
    (void)count;
    return not_capturing(stream, status);
}

GP_EXPORT CUresult
cuStreamGetCaptureInfo_v3(CUstream stream, CUstreamCaptureStatus *status, cuuint64_t *id,
                          CUgraph *graph, const CUgraphNode **dependencies,
                          const CUgraphEdgeData **edges, size_t *count)
{
    (void)id;
    (void)graph;
    (void)dependencies;
    (void)edges;
    (void)count;
    return not_capturing(stream, status);
}

GP_EXPORT CUresult
cuThreadExchangeStreamCaptureMode(CUstreamCaptureMode *mode)
{
    static __thread CUstreamCaptureMode mine = CU_STREAM_CAPTURE_MODE_GLOBAL;
    CUstreamCaptureMode before = mine;
    CUresult cr = CUDA_SUCCESS;

    FE_COUNT_LOCAL();
    if (fe_state_get(&cr) == NULL)
        return cr;
    if (mode == NULL || (int)*mode < 0 || *mode > CU_STREAM_CAPTURE_MODE_RELAXED)
        return CUDA_ERROR_INVALID_VALUE;
    mine = *mode;
    *mode = before;
    return CUDA_SUCCESS;
}
