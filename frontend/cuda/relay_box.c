/* frontend/cuda/relay_box.c -- boxes and arrays between servers
 *
 * What goes from one server to another is packed there first, and unpacked where it comes: between
 * them only bytes one after the other travel. In slabs, so that little memory is needed for that.
 */
#include "cuda_api.h"
#include "frontend/cuda/objects.h"
#include "frontend/cuda/relay_priv.h"
#include "protocol/base/util.h"

#include <stdlib.h>

#define SLAB_BYTES ((size_t)8 << 20)

/* One step on one server, or between it and us. */
static CUresult
step(const struct fe_relay_side *side, const struct fe_copy *box)
{
    struct fe_copy own = *box;
    struct fe_where where;
    struct fe_call call;
    CUstream stream;
    CUresult cr = fe_relay_enter(side, &stream);

    if (cr == CUDA_SUCCESS)
        cr = fe_enter_in(&call, WIRE_CALL_cuMemcpy3DAsync_v2, side->ctx);
    if (cr != CUDA_SUCCESS)
        return cr;
    where.stream = (struct fe_stream *)stream;
    where.wire = where.stream->object.wire;
    return fe_leave(&call, fe_copy_any(&call, &own, &where, false));
}

static CUresult
wait_there(const struct fe_relay_side *side)
{
    CUstream stream;
    CUresult cr = fe_relay_enter(side, &stream);

    return cr == CUDA_SUCCESS ? cuStreamSynchronize(stream) : cr;
}

/* Where the bytes of a slab lie one after the other, in that order of servers. */
struct staging {
    struct fe_relay_side src, dst; /* address 0: nothing there, they go by room */
    uint8_t *room;
};

static CUdeviceptr
take(const struct fe_relay_side *side, size_t bytes)
{
    CUdeviceptr address = 0;
    CUstream stream;

    if (fe_relay_enter(side, &stream) != CUDA_SUCCESS ||
        cuMemAllocAsync(&address, bytes, stream) != CUDA_SUCCESS)
        return 0;
    return address;
}

static void
give(const struct fe_relay_side *side)
{
    CUstream stream;

    if (side->address != 0 && fe_relay_enter(side, &stream) == CUDA_SUCCESS)
        (void)cuMemFreeAsync(side->address, stream);
}

static CUresult
staging_make(const struct fe_relay_side *dst, const struct fe_relay_side *src, size_t bytes,
             struct staging *s)
{
    *s = (struct staging){.src = *src, .dst = *dst};
    s->src.address = take(src, bytes);
    s->dst.address = s->src.address != 0 ? take(dst, bytes) : 0;
    if (s->dst.address != 0)
        return CUDA_SUCCESS;
    s->room = malloc(bytes); /* the tenant has no memory left there */
    return s->room != NULL ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
}

static void
staging_drop(struct staging *s)
{
    give(&s->src);
    give(&s->dst);
    free(s->room);
}

static struct fe_side
packed_at(CUmemorytype type, uint64_t base, const struct fe_shape *shape)
{
    return (struct fe_side){
        .type = type, .base = base, .pitch = shape->width, .slice = shape->width * shape->height};
}

static CUresult
slab_move(const struct staging *s, const struct fe_copy *slab)
{
    bool straight = s->dst.address != 0;
    CUmemorytype type = straight ? CU_MEMORYTYPE_DEVICE : CU_MEMORYTYPE_HOST;
    uint64_t room = (uint64_t)(uintptr_t)s->room;
    struct fe_copy out = *slab, in = *slab;
    CUresult cr;

    out.dst = packed_at(type, straight ? s->src.address : room, &slab->shape);
    in.src = packed_at(type, straight ? s->dst.address : room, &slab->shape);
    cr = step(&s->src, &out);
    if (cr == CUDA_SUCCESS && straight)
        cr = wait_there(&s->src); /* bytes go from there in no stream's order */
    if (cr == CUDA_SUCCESS && straight)
        cr = fe_relay_bytes(&s->dst, &s->src, NULL, fe_shape_bytes(&slab->shape));
    return cr == CUDA_SUCCESS ? step(&s->dst, &in) : cr;
}

/* As much of a box as a slab has: whole planes, else whole rows of one, else a part of one. */
static struct fe_shape
slab_of(const struct fe_shape *box)
{
    struct fe_shape s = {.width = gp_min_u64(box->width, SLAB_BYTES), .height = 1, .depth = 1};

    if (s.width == box->width)
        s.height = gp_min_u64(box->height, SLAB_BYTES / s.width);
    if (s.height == box->height)
        s.depth = gp_min_u64(box->depth, SLAB_BYTES / (s.width * s.height));
    return s;
}

static struct fe_side
side_at(const struct fe_side *side, size_t z, size_t y, size_t x)
{
    struct fe_side at = fe_side_at(side, z, y);

    if (at.type == CU_MEMORYTYPE_ARRAY)
        at.x += x;
    else
        at.base += x;
    return at;
}

static CUresult
between(const struct fe_relay_side *dst, const struct fe_relay_side *src, const struct fe_copy *box)
{
    const struct fe_shape *all = &box->shape, most = slab_of(all);
    struct staging s;
    CUresult cr = staging_make(dst, src, fe_shape_bytes(&most), &s);

    for (size_t z = 0; z < all->depth && cr == CUDA_SUCCESS; z += most.depth)
        for (size_t y = 0; y < all->height && cr == CUDA_SUCCESS; y += most.height)
            for (size_t x = 0; x < all->width && cr == CUDA_SUCCESS; x += most.width) {
                const struct fe_copy slab = {
                    .shape = {gp_min_u64(most.width, all->width - x),
                              gp_min_u64(most.height, all->height - y),
                              gp_min_u64(most.depth, all->depth - z)},
                    .src = side_at(&box->src, z, y, x),
                    .dst = side_at(&box->dst, z, y, x),
                };

                cr = slab_move(&s, &slab);
            }
    staging_drop(&s);
    return cr == CUDA_SUCCESS ? wait_there(dst) : cr;
}

CUresult
fe_relay_box(const struct fe_relay_side *dst, const struct fe_relay_side *src,
             const struct fe_copy *box)
{
    const struct fe_relay_side *one = dst->ctx != NULL ? dst : src;
    CUstream stream;
    CUresult cr = CUDA_SUCCESS;

    if (one->ctx == NULL) {
        fe_copy_host(box);
        return CUDA_SUCCESS;
    }
    if (dst->ctx != NULL && src->ctx != NULL) {
        if (dst->ctx->head.session != src->ctx->head.session)
            return between(dst, src, box);
        cr = fe_relay_enter(src, &stream); /* it must be there still */
    }
    if (cr == CUDA_SUCCESS)
        cr = step(one, box);
    return cr == CUDA_SUCCESS ? wait_there(one) : cr;
}
