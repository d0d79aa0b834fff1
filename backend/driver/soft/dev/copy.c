/* backend/driver/soft/dev/copy.c -- what copies and fills are: checks, and the bytes themselves */
#include "backend/driver/soft/dev/copy.h"

#include "backend/driver/soft/dev/array.h"
#include "backend/driver/soft/dev/span.h"
#include "backend/driver/soft/dev/vmm.h"

#include <string.h>

void
sd_copy_run(const struct sd_copy_work *c)
{
    bool dense = c->height <= 1 || (c->src_pitch == c->width && c->dst_pitch == c->width);

    for (uint64_t z = 0; z < c->depth; z++) {
        char *dst = (char *)(uintptr_t)(c->dst + z * c->dst_slice);
        const char *src = (const char *)(uintptr_t)(c->src + z * c->src_slice);

        if (dense) {
            memmove(dst, src, c->width * c->height);
            continue;
        }
        for (uint64_t y = 0; y < c->height; y++)
            memmove(dst + y * c->dst_pitch, src + y * c->src_pitch, c->width);
    }
}

/* Kernels and streams that wait for a value read it whole, and what came before it. */
static bool
fill_word(char *dst, const struct sd_fill_work *f)
{
    if (f->width != 1 || f->element != 4 || (uintptr_t)dst % 4 != 0)
        return false;
    __atomic_store_n((uint32_t *)(void *)dst, f->value, __ATOMIC_RELEASE);
    return true;
}

static void
fill_row(char *dst, const struct sd_fill_work *f)
{
    if (fill_word(dst, f))
        return;
    switch (f->element) {
    case 1:
        memset(dst, (int)(f->value & 0xff), f->width);
        break;
    case 2:
        for (uint64_t i = 0; i < f->width; i++)
            ((uint16_t *)(void *)dst)[i] = (uint16_t)f->value;
        break;
    default:
        for (uint64_t i = 0; i < f->width; i++)
            ((uint32_t *)(void *)dst)[i] = f->value;
        break;
    }
}

void
sd_fill_run(const struct sd_fill_work *f)
{
    for (uint64_t y = 0; y < f->height; y++)
        fill_row((char *)(uintptr_t)(f->dst + y * f->pitch), f);
}

/* Bytes from the first to the last of a box; false if that overflows. */
static bool
box_span(const struct sd_box *box, uint64_t pitch, uint64_t slice, uint64_t *span_p)
{
    uint64_t rows, slices, span;

    if (__builtin_mul_overflow(box->height - 1, pitch, &rows) ||
        __builtin_mul_overflow(box->depth - 1, slice, &slices) ||
        __builtin_add_overflow(rows, slices, &span) ||
        __builtin_add_overflow(span, box->width, &span))
        return false;
    *span_p = span;
    return true;
}

/* A side in linear memory. */
static CUresult
linear_place(const struct sd_side *side, uint64_t base, const struct sd_box *box, uint64_t *addr_p,
             uint64_t *pitch_p, uint64_t *slice_p)
{
    uint64_t pitch = side->pitch, height = side->height, slice, y_off, z_off, addr;

    if (pitch == 0 && box->height == 1 && box->depth == 1 && side->y == 0 && side->z == 0)
        pitch = side->x + box->width;
    if (height == 0 && box->depth == 1 && side->z == 0)
        height = side->y + box->height;
    if (pitch < box->width || pitch - box->width < side->x || height < box->height ||
        height - box->height < side->y)
        return CUDA_ERROR_INVALID_VALUE;
    if (__builtin_mul_overflow(pitch, height, &slice) ||
        __builtin_mul_overflow(pitch, (uint64_t)side->y, &y_off) ||
        __builtin_mul_overflow(slice, (uint64_t)side->z, &z_off) ||
        __builtin_add_overflow(base, (uint64_t)side->x, &addr) ||
        __builtin_add_overflow(addr, y_off, &addr) || __builtin_add_overflow(addr, z_off, &addr))
        return CUDA_ERROR_INVALID_VALUE;
    *addr_p = addr;
    *pitch_p = pitch;
    *slice_p = slice;
    return CUDA_SUCCESS;
}

/* Whether the box at addr may be read (or written), and whether it is pageable host memory. */
static CUresult
linear_check(CUmemorytype type, uint64_t addr, uint64_t span, bool write, bool *pageable_p)
{
    struct sd_alloc first;
    enum sd_reach reach = sd_map_reach(addr, span, &first);

    if (type == CU_MEMORYTYPE_HOST || (type == CU_MEMORYTYPE_UNIFIED && reach == SD_REACH_NONE)) {
        /* Ordinary memory, or pinned if it is pinned as a whole; an address of a device that has
         * nothing behind it is neither. */
        if (reach == SD_REACH_NONE && sd_address_is_device(addr))
            return CUDA_ERROR_INVALID_VALUE;
        *pageable_p = reach < SD_REACH_READ;
        /* Registered as read-only for devices: no copy writes it. */
        if (write && reach == SD_REACH_READ)
            return CUDA_ERROR_INVALID_VALUE;
        return addr == 0 || reach == SD_REACH_NO_READ ? CUDA_ERROR_INVALID_VALUE : CUDA_SUCCESS;
    }
    *pageable_p = false;
    return reach >= (write ? SD_REACH_WRITE : SD_REACH_READ) ? CUDA_SUCCESS
                                                             : CUDA_ERROR_INVALID_VALUE;
}

static CUresult
side_place(const struct sd_side *side, const struct sd_box *box, bool write, uint64_t *addr_p,
           uint64_t *pitch_p, uint64_t *slice_p, bool *pageable_p)
{
    uint64_t base, span;
    CUresult cr;

    *pageable_p = false;
    switch (side->type) {
    case CU_MEMORYTYPE_ARRAY:
        return sd_array_place(side->array, side->x, side->y, side->z, box->width, box->height,
                              box->depth, addr_p, pitch_p, slice_p);
    case CU_MEMORYTYPE_HOST:
        base = (uintptr_t)side->host;
        break;
    case CU_MEMORYTYPE_DEVICE:
    case CU_MEMORYTYPE_UNIFIED:
        base = side->device;
        break;
    default:
        return CUDA_ERROR_INVALID_VALUE;
    }
    cr = linear_place(side, base, box, addr_p, pitch_p, slice_p);
    if (cr != CUDA_SUCCESS)
        return cr;
    if (!box_span(box, *pitch_p, *slice_p, &span))
        return CUDA_ERROR_INVALID_VALUE;
    return linear_check(side->type, *addr_p, span, write, pageable_p);
}

/* Whether the box fits the pitch and height of a side in linear memory; of an array's place the
 * array decides. */
static CUresult
side_fits(const struct sd_side *side, const struct sd_box *box)
{
    uint64_t addr, pitch, slice;

    if (side->type == CU_MEMORYTYPE_ARRAY)
        return CUDA_SUCCESS;
    if (side->type != CU_MEMORYTYPE_HOST && side->type != CU_MEMORYTYPE_DEVICE &&
        side->type != CU_MEMORYTYPE_UNIFIED)
        return CUDA_ERROR_INVALID_VALUE;
    return linear_place(side, 0, box, &addr, &pitch, &slice);
}

CUresult
sd_copy_make(const struct sd_side *src, const struct sd_side *dst, const struct sd_box *box,
             struct sd_copy_work *work, bool pageable_p[2])
{
    CUresult cr;

    memset(work, 0, sizeof(*work));
    work->width = box->width;
    work->height = box->height;
    work->depth = box->depth;
    pageable_p[0] = pageable_p[1] = false;
    if (box->width == 0 || box->height == 0 || box->depth == 0) {
        work->depth = 0; /* nothing to do */
        return CUDA_SUCCESS;
    }
    cr = side_fits(src, box);
    if (cr == CUDA_SUCCESS)
        cr = side_fits(dst, box);
    if (cr == CUDA_SUCCESS)
        cr = side_place(src, box, false, &work->src, &work->src_pitch, &work->src_slice,
                        &pageable_p[0]);
    if (cr == CUDA_SUCCESS)
        cr = side_place(dst, box, true, &work->dst, &work->dst_pitch, &work->dst_slice,
                        &pageable_p[1]);
    return cr;
}

void
sd_copy_sides(const CUDA_MEMCPY3D *p, struct sd_side *src, struct sd_side *dst, struct sd_box *box)
{
    *src = (struct sd_side){p->srcMemoryType, p->srcHost, p->srcDevice, p->srcArray, p->srcXInBytes,
                            p->srcY,          p->srcZ,    p->srcPitch,  p->srcHeight};
    *dst = (struct sd_side){p->dstMemoryType, p->dstHost, p->dstDevice, p->dstArray, p->dstXInBytes,
                            p->dstY,          p->dstZ,    p->dstPitch,  p->dstHeight};
    *box = (struct sd_box){p->WidthInBytes, p->Height, p->Depth};
}

CUresult
sd_fill_make(CUdeviceptr dst, size_t pitch, unsigned element, uint32_t value, size_t width,
             size_t height, struct sd_fill_work *work)
{
    uint64_t row, span = 0;

    if (__builtin_mul_overflow((uint64_t)width, element, &row) || dst % element != 0)
        return CUDA_ERROR_INVALID_VALUE;
    *work = (struct sd_fill_work){dst, pitch, width, height, value, element};
    if (width == 0 || height == 0) {
        work->height = 0;
        return CUDA_SUCCESS;
    }
    if (height > 1 && (pitch < row || pitch % element != 0))
        return CUDA_ERROR_INVALID_VALUE;
    if (!box_span(&(struct sd_box){row, height, 1}, pitch, 0, &span) ||
        sd_map_reach(dst, span, NULL) != SD_REACH_WRITE)
        return CUDA_ERROR_INVALID_VALUE;
    return CUDA_SUCCESS;
}
