/* backend/driver/soft/dev/copy.h -- boxes of bytes */
#ifndef SD_COPY_H
#define SD_COPY_H

#include "backend/driver/soft/dev/sched.h"

/* One side of a copy, as the parameter structs of CUDA have it. */
struct sd_side {
    CUmemorytype type;
    const void *host;
    CUdeviceptr device;
    CUarray array;
    size_t x; /* in bytes */
    size_t y;
    size_t z;
    size_t pitch;
    size_t height; /* rows per slice */
};

struct sd_box {
    size_t width; /* in bytes */
    size_t height;
    size_t depth;
};

/*
 * Checks both sides and makes work of them. pageable_p[0], [1]: whether source and
 * destination are host memory that is not pinned.
 * Errors: CUDA_ERROR_INVALID_VALUE.
 */
CUresult sd_copy_make(const struct sd_side *src, const struct sd_side *dst,
                      const struct sd_box *box, struct sd_copy_work *work, bool pageable_p[2]);

/* The sides and the box of CUDA's struct. */
void sd_copy_sides(const CUDA_MEMCPY3D *p, struct sd_side *src, struct sd_side *dst,
                   struct sd_box *box);

/* Checks dst and makes work; errors as above. */
CUresult sd_fill_make(CUdeviceptr dst, size_t pitch, unsigned element, uint32_t value,
                      size_t width, size_t height, struct sd_fill_work *work);

#endif
