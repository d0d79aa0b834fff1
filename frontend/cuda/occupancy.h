/* frontend/cuda/occupancy.h -- how many blocks fit, asked once for each shape
 */
#ifndef FE_OCCUPANCY_H
#define FE_OCCUPANCY_H

#include "frontend/cuda/kernels.h"

/* Blocks that fit one multiprocessor; the id of call is restored. */
CUresult fe_occupancy_blocks(struct fe_call *call, struct fe_function *f, int block_size,
                             size_t shared_bytes, unsigned flags, int *blocks_p);

#endif
