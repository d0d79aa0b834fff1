/* backend/cuda/cut.c */
#include "backend/cuda/cut.h"

#include "backend/cuda/array.h"

#include "protocol/base/util.h"

#include <string.h>

/* Rows and slices without gaps are one long row: fewer pieces. */
struct be_region
be_region_joined(const struct be_region *from)
{
    struct be_region r = *from;

    if (r.array != NULL)
        return r;
    if (r.depth == 1 || r.slice == r.pitch * r.height) {
        r.height *= r.depth;
        r.depth = 1;
    }
    if (r.depth == 1 && (r.height == 1 || r.pitch == r.width)) {
        r.width *= r.height;
        r.height = 1;
    }
    return r;
}

uint64_t
be_region_bytes(const struct be_region *r)
{
    return r->width * r->height * r->depth;
}

uint64_t
be_cut_most(const struct be_region *r)
{
    return r->piece != 0 ? r->piece : BE_PIECE_BYTES;
}

/* The piece that begins at cut's place: part of a row, or whole rows of one slice; a slice that
 * lies packed goes as one long row. */
void
be_cut_here(const struct be_region *r, struct be_cut *cut)
{
    uint64_t most = be_cut_most(r);

    if (r->width > most || cut->x != 0) {
        cut->bytes = gp_min_u64(r->width - cut->x, most);
        cut->rows = 1;
        return;
    }
    cut->bytes = r->width;
    cut->rows = gp_min_u64(r->height - cut->y, most / r->width);
}

void
be_cut_next(const struct be_region *r, struct be_cut *cut)
{
    cut->x += cut->bytes;
    if (cut->x < r->width)
        return;
    cut->x = 0;
    cut->y += cut->rows;
    if (cut->y < r->height)
        return;
    cut->y = 0;
    cut->z++;
}

uint64_t
be_cut_offset(const struct be_region *r, const struct be_cut *cut)
{
    return (cut->z * r->height + cut->y) * r->width + cut->x;
}

CUresult
be_cut_copy(const struct be_driver_table *t, const struct be_region *r, const struct be_cut *cut,
            void *to, CUstream stream)
{
    CUdeviceptr from = r->base + cut->z * r->slice + cut->y * r->pitch + cut->x;
    CUDA_MEMCPY3D copy;

    if (r->array == NULL && (cut->rows == 1 || r->pitch == r->width))
        return t->cuMemcpyDtoHAsync_v2(to, from, cut->bytes * cut->rows, stream);
    memset(&copy, 0, sizeof(copy));
    be_region_source(r, cut->x, cut->y, cut->z, &copy);
    copy.dstMemoryType = CU_MEMORYTYPE_HOST;
    copy.dstHost = to;
    copy.dstPitch = cut->bytes;
    copy.dstHeight = cut->rows;
    copy.WidthInBytes = cut->bytes;
    copy.Height = copy.srcHeight = cut->rows; /* one slice, however high they are */
    copy.Depth = 1;
    return t->cuMemcpy3DAsync_v2(&copy, stream);
}

void
be_region_source(const struct be_region *region, uint64_t x, uint64_t y, uint64_t z,
                 CUDA_MEMCPY3D *copy)
{
    if (region->array != NULL) {
        copy->srcMemoryType = CU_MEMORYTYPE_ARRAY;
        copy->srcArray = region->array->array;
        copy->srcXInBytes = region->x + x;
        copy->srcY = region->y + y;
        copy->srcZ = region->z + z;
        return;
    }
    copy->srcMemoryType = CU_MEMORYTYPE_DEVICE;
    copy->srcDevice = region->base + z * region->slice + y * region->pitch + x;
    copy->srcPitch = region->pitch;
    copy->srcHeight = region->slice / region->pitch;
}

void
be_region_target(const struct be_region *region, uint64_t x, uint64_t y, uint64_t z,
                 CUDA_MEMCPY3D *copy)
{
    if (region->array != NULL) {
        copy->dstMemoryType = CU_MEMORYTYPE_ARRAY;
        copy->dstArray = region->array->array;
        copy->dstXInBytes = region->x + x;
        copy->dstY = region->y + y;
        copy->dstZ = region->z + z;
        return;
    }
    copy->dstMemoryType = CU_MEMORYTYPE_DEVICE;
    copy->dstDevice = region->base + z * region->slice + y * region->pitch + x;
    copy->dstPitch = region->pitch;
    copy->dstHeight = region->slice / region->pitch;
}

uint64_t
be_cut_count(const struct be_region *r)
{
    uint64_t per_row, rows_a_piece, most = be_cut_most(r);

    if (r->width > most) {
        per_row = (r->width + most - 1) / most;
        return per_row * r->height * r->depth;
    }
    rows_a_piece = most / r->width;
    return (r->height + rows_a_piece - 1) / rows_a_piece * r->depth;
}
