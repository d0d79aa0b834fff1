/* backend/cuda/cut.h -- a region of device memory, cut into pieces that fit a block of staging
 *
 * Pure but for be_cut_copy(). A region was checked before it comes here: none of its products
 * overflows.
 */
#ifndef BE_CUT_H
#define BE_CUT_H

#include "backend/driver/driver.h"
#include "backend/memory/staging.h"

#include <stdint.h>

#define BE_PIECE_BYTES BE_STAGING_BLOCK_MAX

struct be_array;

/* Where a copy to the client reads, or one from it writes. The data travels packed: rows of width
 * bytes. */
struct be_region {
    CUdeviceptr base;
    uint64_t width, height, depth; /* bytes, rows, slices; 1 each for a plain copy */
    uint64_t pitch, slice;         /* bytes from row to row and from slice to slice */

    struct be_array *array; /* not NULL: in it, from here; base, pitch and slice are nothing then */
    uint64_t x, y, z;

    uint64_t piece; /* bytes of its pieces at most; 0: BE_PIECE_BYTES */
};

/* The side of a copy that is this place, counted from the region's corner. */
void be_region_source(const struct be_region *region, uint64_t x, uint64_t y, uint64_t z,
                      CUDA_MEMCPY3D *copy);
void be_region_target(const struct be_region *region, uint64_t x, uint64_t y, uint64_t z,
                      CUDA_MEMCPY3D *copy);

/* A piece, from its first corner. */
struct be_cut {
    uint64_t x, y, z;
    uint64_t bytes, rows; /* of a row, rows */
};

uint64_t be_region_bytes(const struct be_region *r);
/* Rows and slices without gaps are one long row: fewer pieces. */
struct be_region be_region_joined(const struct be_region *from);

/* Bytes of a piece at most. */
uint64_t be_cut_most(const struct be_region *r);
uint64_t be_cut_count(const struct be_region *r);
/* The piece that begins at cut's place: part of a row, or whole rows of one slice. */
void be_cut_here(const struct be_region *r, struct be_cut *cut);
void be_cut_next(const struct be_region *r, struct be_cut *cut);
/* Where it lies in the packed data. */
uint64_t be_cut_offset(const struct be_region *r, const struct be_cut *cut);
CUresult be_cut_copy(const struct be_driver_table *t, const struct be_region *r,
                     const struct be_cut *cut, void *to, CUstream stream);

#endif
