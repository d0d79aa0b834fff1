/* frontend/cuda/array.h -- arrays and mipmapped arrays */
#ifndef FE_ARRAY_H
#define FE_ARRAY_H

#include "frontend/cuda/objects.h"

struct fe_side;
struct fe_shape;

/* Whether the box of a copy that begins at side's place lies inside the array; sets the array's
 * wire id. Errors: CUDA_ERROR_INVALID_HANDLE, CUDA_ERROR_INVALID_VALUE. */
CUresult fe_array_settle(struct fe_side *side, const struct fe_shape *shape);

/* Everything of a context that goes; nothing is sent. */
void fe_arrays_drop_context(struct fe_context *ctx);

#endif
