/* frontend/cuda/geometry.h -- the shapes of 2D and 3D copies, without any call
 *
 * A copy becomes two sides and one shape: rows of width bytes, height rows a plane, depth
 * planes. "Packed" means rows one after the other without gaps, as they travel.
 *
 * Threads: pure.
 */
#ifndef FE_GEOMETRY_H
#define FE_GEOMETRY_H

#include "protocol/abi/cuda_types.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct fe_shape {
    size_t width, height, depth; /* bytes, rows, planes */
};

struct fe_side {
    CUmemorytype type; /* HOST, DEVICE or ARRAY; UNIFIED until resolved */
    uint64_t base;     /* of the first byte that is copied; the handle of an array */
    size_t pitch;      /* bytes from row to row */
    size_t slice;      /* bytes from plane to plane */

    /* Of an array; there are no pitch and slice then. */
    size_t x, y, z;      /* where the box begins; x in bytes */
    uint64_t array_wire; /* set by fe_array_settle() */
};

struct fe_copy {
    struct fe_shape shape;
    struct fe_side src, dst;
};

/*
 * What the program described, checked as the driver does.
 * Errors: CUDA_ERROR_INVALID_VALUE (NULL, unknown memory type, pitch below the row, planes
 *         that overlap, a range that wraps). A shape with a zero is fine: nothing is copied.
 *         What an array holds is for fe_array_settle().
 */
CUresult fe_copy_from_2d(const CUDA_MEMCPY2D *from, struct fe_copy *copy_p);
CUresult fe_copy_from_3d(const CUDA_MEMCPY3D *from, struct fe_copy *copy_p);

bool fe_shape_empty(const struct fe_shape *shape);
/* Bytes that travel; shapes of a checked copy do not wrap. */
size_t fe_shape_bytes(const struct fe_shape *shape);
/* Bytes from a side's base to the end of its last row; false if that wraps. */
bool fe_side_span(const struct fe_side *side, const struct fe_shape *shape, size_t *span_p);
/* No gaps between the rows of this side. */
bool fe_side_packed(const struct fe_side *side, const struct fe_shape *shape);

/* The part of a shape that is rows [first, first + count) of one plane. */
struct fe_side fe_side_at(const struct fe_side *side, size_t plane, size_t row);

/* All rows of host memory, packed into to. */
void fe_gather(uint8_t *to, const struct fe_side *side, const struct fe_shape *shape);
/* Packed bytes [offset, offset + len) of the copy into host memory. */
void fe_scatter(const struct fe_side *side, const struct fe_shape *shape, size_t offset,
                const uint8_t *from, size_t len);
/* Both in host memory. */
void fe_copy_host(const struct fe_copy *copy);

/* The form in which a copy is sent: offsets are in the addresses. */
void fe_copy_to_3d(const struct fe_copy *copy, CUDA_MEMCPY3D *to);

#endif
