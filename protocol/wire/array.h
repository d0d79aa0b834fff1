/* protocol/wire/array.h -- what an array is made of, as both sides count it
 *
 * The client keeps its copies inside arrays and counts their memory in its lease; the server does
 * the same and believes nobody.
 *
 * Threads: pure.
 */
#ifndef WIRE_ARRAY_H
#define WIRE_ARRAY_H

#include "protocol/abi/cuda_types.h"

#include <stdbool.h>
#include <stdint.h>

#define WIRE_ARRAY_LEVELS_MAX 32u

/* Rows of elements: texels, or blocks of 4 x 4 texels of a compressed format. */
struct wire_array_shape {
    uint64_t row_bytes, rows, slices; /* none is 0 */
    uint32_t element_bytes;
};

/* False for formats whose planes are no such rows (video), and for extents that overflow. */
bool wire_array_shape(const CUDA_ARRAY3D_DESCRIPTOR *desc, struct wire_array_shape *shape_p);

/* Bytes of device memory that an array of so many levels is charged, UINT64_MAX if they overflow;
 * 0 for one that has no memory of its own. */
uint64_t wire_array_bytes(const CUDA_ARRAY3D_DESCRIPTOR *desc, uint32_t levels);

#endif
