/* frontend/cuda/unpack.h -- memory for the engine that decompresses */
#ifndef FE_UNPACK_H
#define FE_UNPACK_H

#include "frontend/cuda/state.h"

/* CU_POINTER_ATTRIBUTE_IS_HW_DECOMPRESS_CAPABLE. */
bool fe_unpack_capable(const struct fe_state *state, const struct fe_block *block);

#endif
