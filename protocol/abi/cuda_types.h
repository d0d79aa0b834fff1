/* protocol/abi/cuda_types.h -- all types of the CUDA driver API as observed on x86-64 Linux: our
 * own declarations of names, values and layouts, so that no CUDA toolkit is needed to build.
 * tests/abi compares them with a real cuda.h where one is installed. */
#ifndef GP_ABI_CUDA_TYPES_H
#define GP_ABI_CUDA_TYPES_H

#include "protocol/abi/structs_more.h"

#endif
