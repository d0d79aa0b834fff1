/* backend/driver/soft/dev/array.h -- arrays: memory with a shape and a format
 *
 * An array is stored row by row without padding; layers and cube faces follow each other.
 */
#ifndef SD_ARRAY_H
#define SD_ARRAY_H

#include "backend/driver/soft/dev/ctx.h"
#include "backend/driver/soft/exec/exec.h"

struct CUarray_st {
    struct sd_object obj;
    struct CUctx_st *ctx;
    CUDA_ARRAY3D_DESCRIPTOR desc;
    unsigned element_bytes;
    uint64_t base;
    uint64_t pitch;
    uint64_t slice;
    uint64_t rows;   /* at least 1 */
    uint64_t slices; /* depth or layers, at least 1 */
    bool level;      /* of a mipmapped array, which owns the memory */
    struct CUarray_st *ctx_next; /* modules' lock */
};

/* An array with levels; they are handles, but belong to it. */
struct CUmipmappedArray_st {
    struct sd_object obj;
    struct CUctx_st *ctx;
    unsigned count;
    struct CUarray_st *levels[SD_TEXTURE_LEVELS_MAX];
    struct CUmipmappedArray_st *ctx_next; /* modules' lock */
};

/* Errors: CUDA_ERROR_INVALID_VALUE, NOT_SUPPORTED (named). */
CUresult sd_array_check(const CUDA_ARRAY3D_DESCRIPTOR *desc, unsigned *element_bytes_p);
/* Fills in what a checked descriptor says; false if its bytes overflow. */
bool sd_array_shape(CUarray array, CUcontext ctx, const CUDA_ARRAY3D_DESCRIPTOR *desc,
                    unsigned element_bytes, uint64_t *bytes_p);

/* Where the box begins. Errors: CUDA_ERROR_INVALID_HANDLE, INVALID_VALUE if it sticks out. */
CUresult sd_array_place(CUarray array, uint64_t x, uint64_t y, uint64_t z, uint64_t width,
                        uint64_t height, uint64_t depth, uint64_t *addr_p, uint64_t *pitch_p,
                        uint64_t *slice_p);

/* A context ends. */
void sd_arrays_of_ctx_gone(struct CUctx_st *ctx);
void sd_mipmaps_of_ctx_gone(struct CUctx_st *ctx);

#endif
