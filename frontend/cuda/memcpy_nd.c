/* frontend/cuda/memcpy_nd.c -- copies of rectangles and boxes, linear memory and arrays
 *
 * Between device memory the shape travels as it is. With a host side the rows travel packed: in
 * pieces of whole rows to the device, in DATA frames from it. An array is named by its id, and
 * where the box begins in it.
 */
#include "cuda_api.h"
#include "frontend/core/data.h"
#include "frontend/cuda/array.h"
#include "frontend/cuda/capture.h"
#include "frontend/cuda/coherent.h"
#include "frontend/cuda/copy.h"
#include "frontend/cuda/displaced.h"
#include "frontend/cuda/geometry.h"
#include "frontend/cuda/host.h"
#include "frontend/cuda/order.h"
#include "frontend/cuda/relay.h"
#include "frontend/cuda/state.h"
#include "protocol/base/util.h"

#include <stdlib.h>
#include <string.h>

#define PIECE_BYTES ((size_t)4 << 20)

/* The device sides' memory may be the program's too. */
static CUresult
guard(const struct fe_where *where, const struct fe_copy *copy)
{
    bool in = copy->dst.type == CU_MEMORYTYPE_DEVICE, out = copy->src.type == CU_MEMORYTYPE_DEVICE;
    size_t from = 0, to = 0;

    if (GP_LIKELY(!fe_coherent_active()))
        return CUDA_SUCCESS;
    (void)fe_side_span(&copy->src, &copy->shape, &from);
    (void)fe_side_span(&copy->dst, &copy->shape, &to);
    return fe_copy_guard(where, in ? copy->dst.base : 0, in ? to : 0, out ? copy->src.base : 0,
                         out ? from : 0);
}

/* As it travels: by the addresses that kernels know. */
static void
to_3d(const struct fe_copy *copy, CUDA_MEMCPY3D *out)
{
    struct fe_copy c = *copy;

    if (c.src.type == CU_MEMORYTYPE_DEVICE)
        c.src.base = fe_host_device(c.src.base);
    if (c.dst.type == CU_MEMORYTYPE_DEVICE)
        c.dst.base = fe_host_device(c.dst.base);
    fe_copy_to_3d(&c, out);
}

static CUresult
post_on_device(struct fe_call *call, const struct fe_copy *copy, const struct fe_where *where)
{
    struct wire_cuMemcpy3DAsync_v2_args args = {.stream = where->wire};
    CUresult cr = fe_call_next(call, WIRE_CALL_cuMemcpy3DAsync_v2);
    void *to;

    if (cr == CUDA_SUCCESS)
        cr = guard(where, copy);
    if (cr != CUDA_SUCCESS)
        return cr;
    to_3d(copy, &args.copy);
    to = fe_post(call, wire_size_cuMemcpy3DAsync_v2_args(&args));
    if (to == NULL) {
        cr = fe_lost(call);
    } else {
        wire_put_cuMemcpy3DAsync_v2_args(to, &args);
        (void)fe_stream_mark(call, where->stream);
        fe_post_done(call);
    }
    fe_copy_unguard(call, where);
    return cr;
}

static enum fe_host_held
hold(struct fe_host_hold *h, const struct fe_side *side, const struct fe_shape *shape)
{
    size_t span = 0;

    (void)fe_side_span(side, shape, &span);
    return fe_host_hold(h, side->base, span);
}

/* Under the guard; the rows are held. */
static CUresult
post_rows(struct fe_call *call, const struct fe_copy *copy, const struct fe_where *where)
{
    struct wire_gpCopyIn3D_args args = {.stream = where->wire};
    size_t size;
    void *to;

    to_3d(copy, &args.copy);
    args.data_len = (uint32_t)fe_shape_bytes(&copy->shape);
    size = wire_size_gpCopyIn3D_args(&args);
    to = fe_post(call, size);
    if (to == NULL)
        return fe_lost(call);
    wire_put_gpCopyIn3D_args(to, &args);
    fe_gather((uint8_t *)to + size - WIRE_PAD(args.data_len), &copy->src, &copy->shape);
    (void)fe_stream_mark(call, where->stream);
    fe_post_done(call);
    return CUDA_SUCCESS;
}

/* Rows of which some may be guarded: gathered while nothing is held. */
static CUresult
post_parts(struct fe_call *call, const struct fe_copy *copy, const struct fe_where *where)
{
    const struct fe_shape *shape = &copy->shape;
    GP_AUTO_FREE uint8_t *room = malloc(fe_shape_bytes(shape));
    struct fe_copy own = *copy;
    CUresult cr;

    if (room == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    fe_gather(room, &copy->src, shape);
    own.src.base = (uint64_t)(uintptr_t)room;
    own.src.pitch = shape->width;
    own.src.slice = shape->width * shape->height;
    cr = guard(where, &own);
    if (cr == CUDA_SUCCESS) {
        cr = post_rows(call, &own, where);
        fe_copy_unguard(call, where);
    }
    return cr;
}

/* Rows that fit one piece, packed straight into the line's buffer. */
static CUresult
post_in(struct fe_call *call, const struct fe_copy *copy, const struct fe_where *where)
{
    CUresult cr = fe_call_next(call, WIRE_CALL_gpCopyIn3D);
    struct fe_copy there = *copy;
    struct fe_host_hold rows;
    enum fe_host_held held = FE_HOST_AGAIN;

    while (cr == CUDA_SUCCESS && held == FE_HOST_AGAIN) {
        cr = guard(where, copy);
        if (cr != CUDA_SUCCESS)
            break;
        held = hold(&rows, &copy->src, &copy->shape);
        if (held == FE_HOST_HELD)
            cr = post_rows(call, copy, where);
        fe_host_release(&rows);
        fe_copy_unguard(call, where);
    }
    if (cr == CUDA_SUCCESS && held == FE_HOST_PARTS)
        return post_parts(call, copy, where);
    if (cr != CUDA_SUCCESS || held == FE_HOST_HELD)
        return cr;
    /* Another thread's work got to reach them meanwhile: the server has them. */
    there.src.type = CU_MEMORYTYPE_DEVICE;
    cr = post_on_device(call, &there, where);
    return cr == CUDA_SUCCESS ? fe_copy_drain(call, where) : cr;
}

static CUresult
copy_in(struct fe_call *call, const struct fe_copy *copy, const struct fe_where *where)
{
    size_t rows = copy->shape.width < PIECE_BYTES ? PIECE_BYTES / copy->shape.width : 1;
    CUresult cr = CUDA_SUCCESS;

    if (fe_shape_bytes(&copy->shape) <= PIECE_BYTES)
        return post_in(call, copy, where);
    for (size_t z = 0; z < copy->shape.depth; z++) {
        for (size_t y = 0; y < copy->shape.height && cr == CUDA_SUCCESS; y += rows) {
            size_t left = copy->shape.height - y;
            struct fe_copy part = {
                .shape = {copy->shape.width, left < rows ? left : rows, 1},
                .src = fe_side_at(&copy->src, z, y),
                .dst = fe_side_at(&copy->dst, z, y),
            };

            if (part.shape.width > PIECE_BYTES && part.dst.type != CU_MEMORYTYPE_ARRAY)
                cr = fe_copy_in(call, part.dst.base, (const void *)(uintptr_t)part.src.base,
                                part.shape.width, where, NULL);
            else
                cr = post_in(call, &part, where);
        }
    }
    return cr;
}

/* A copy out whose destination is held; *n_p: the number of its work. */
static CUresult
post_out(struct fe_call *call, const struct fe_copy *copy, struct wire_gpCopyOut3D_args *args,
         bool wait, const struct fe_where *where, uint64_t *n_p)
{
    size_t span = 0;
    void *to;

    to_3d(copy, &args->copy);
    (void)fe_side_span(&copy->dst, &copy->shape, &span);
    to = fe_post(call, wire_size_gpCopyOut3D_args(args));
    if (to == NULL)
        return fe_lost(call);
    wire_put_gpCopyOut3D_args(to, args);
    *n_p = fe_stream_mark(call, where->stream);
    if (fe_coherent_active())
        fe_host_written(copy->dst.base, span, call->context, where->stream, where->wire, *n_p);
    if (wait)
        fe_post_done_wait(call);
    else
        fe_post_done(call);
    return CUDA_SUCCESS;
}

static CUresult copy_out(struct fe_call *call, const struct fe_copy *copy,
                         const struct fe_where *where, bool wait);

/* A destination that the server has pages of: all of it, or some. */
static CUresult
copy_out_shown(struct fe_call *call, const struct fe_copy *copy, const struct fe_where *where,
               bool wait, bool all)
{
    size_t bytes = fe_shape_bytes(&copy->shape);
    GP_AUTO_FREE uint8_t *room = NULL;
    struct fe_copy there = *copy;
    CUresult cr;

    if (all) {
        there.dst.type = CU_MEMORYTYPE_DEVICE;
        cr = post_on_device(call, &there, where);
        return cr == CUDA_SUCCESS && wait ? fe_copy_drain(call, where) : cr;
    }
    room = malloc(bytes);
    if (room == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    there.dst.base = (uint64_t)(uintptr_t)room;
    there.dst.pitch = copy->shape.width;
    there.dst.slice = copy->shape.width * copy->shape.height;
    cr = copy_out(call, &there, where, true);
    if (cr == CUDA_SUCCESS)
        fe_scatter(&copy->dst, &copy->shape, 0, room, bytes);
    return cr;
}

static CUresult
copy_out(struct fe_call *call, const struct fe_copy *copy, const struct fe_where *where, bool wait)
{
    const struct fe_data_shape shape = {
        .dst = (void *)(uintptr_t)copy->dst.base,
        .row_bytes = copy->shape.width,
        .row_pitch = copy->dst.pitch,
        .rows = copy->shape.height,
        .slice_pitch = copy->dst.slice,
        .slices = copy->shape.depth,
    };
    struct wire_gpCopyOut3D_args args = {.stream = where->wire};
    CUresult cr = guard(where, copy);
    struct fe_host_hold rows;
    enum fe_host_held held;
    uint64_t n = 0;

    if (cr == CUDA_SUCCESS) {
        fe_copy_unguard(call, where); /* what the program changed is on its way */
        cr = fe_call_next(call, WIRE_CALL_gpCopyOut3D);
    }
    if (cr == CUDA_SUCCESS)
        cr = fe_data_open(call, &shape, wait ? FE_DATA_WAIT : FE_DATA_ASYNC, &args.data);
    if (cr != CUDA_SUCCESS)
        return cr;
    while ((held = hold(&rows, &copy->dst, &copy->shape)) == FE_HOST_AGAIN && cr == CUDA_SUCCESS)
        cr = fe_host_show_wanted();
    if (cr == CUDA_SUCCESS && held == FE_HOST_HELD)
        cr = post_out(call, copy, &args, wait, where, &n);
    fe_host_release(&rows);
    if (cr != CUDA_SUCCESS || held != FE_HOST_HELD)
        fe_data_drop(call, args.data);
    if (cr == CUDA_SUCCESS && held != FE_HOST_HELD)
        return copy_out_shown(call, copy, where, wait, held == FE_HOST_SHOWN);
    if (cr != CUDA_SUCCESS || !wait)
        return cr;
    cr = fe_data_wait(call, args.data);
    if (cr == CUDA_SUCCESS)
        fe_prove(&where->stream->proven, n);
    return cr;
}

/* A side whose type is UNIFIED becomes what its address says; a device side must lie in one
 * allocation. */
static CUresult
settle_side(struct fe_call *call, struct fe_side *side, const struct fe_shape *shape, bool source,
            bool *host_p)
{
    bool locked;
    size_t span;

    fe_side_named(side);
    locked = !source && side->type != CU_MEMORYTYPE_ARRAY && fe_host_read_only(side->base);

    if (side->type == CU_MEMORYTYPE_ARRAY)
        return fe_array_settle(side, shape);
    /* The server has pages of this memory too: no need to bring them here, or take them there. */
    if (side->type == CU_MEMORYTYPE_HOST && GP_UNLIKELY(fe_coherent_active()) &&
        fe_is_device(call, side->base) && !locked &&
        (!fe_host_shown(side->base, 0) ||
         (fe_side_span(side, shape, &span) && fe_host_shown(side->base, span)))) {
        side->type = CU_MEMORYTYPE_DEVICE;
        *host_p = true;
    }
    if (side->type != CU_MEMORYTYPE_DEVICE && locked)
        return CUDA_ERROR_INVALID_VALUE;
    if (side->type == CU_MEMORYTYPE_UNIFIED)
        side->type = fe_is_device(call, side->base) ? CU_MEMORYTYPE_DEVICE : CU_MEMORYTYPE_HOST;
    if (!fe_side_span(side, shape, &span))
        return CUDA_ERROR_INVALID_VALUE;
    if (side->type == CU_MEMORYTYPE_DEVICE)
        return source ? fe_check_device(call, side->base, span)
                      : fe_check_target(call, side->base, span);
    return side->base == 0 ? CUDA_ERROR_INVALID_VALUE : CUDA_SUCCESS;
}

static bool
pinned(const struct fe_side *side, const struct fe_shape *shape)
{
    size_t span;

    return fe_side_span(side, shape, &span) && fe_host_pinned(side->base, span);
}

/* A host source that queued work may still write is read after that work. */
static CUresult
wait_for_source(struct fe_call *call, const struct fe_copy *copy, const struct fe_where *where)
{
    if (!pinned(&copy->src, &copy->shape) || !fe_host_may_change(copy->src.base))
        return CUDA_SUCCESS;
    return fe_copy_drain(call, where);
}

/* Addresses of host memory on their way to the device. */
static void
look_at_rows(const struct fe_copy *copy)
{
    if (GP_LIKELY(!fe_coherent_active()))
        return;
    for (size_t z = 0; z < copy->shape.depth; z++) {
        for (size_t y = 0; y < copy->shape.height; y++) {
            struct fe_side from = fe_side_at(&copy->src, z, y), to = fe_side_at(&copy->dst, z, y);

            fe_host_look(to.base, (const void *)(uintptr_t)from.base, copy->shape.width);
        }
    }
}

CUresult
fe_copy_any(struct fe_call *call, struct fe_copy *copy, const struct fe_where *where, bool wait)
{
    bool from_device, to_device, shared = false;
    CUresult cr;

    if (fe_shape_empty(&copy->shape))
        return CUDA_SUCCESS;
    if (GP_UNLIKELY(fe_several) && fe_relay_has_box(call, copy))
        return fe_relay_copy_box(call, copy, where, wait);
    cr = settle_side(call, &copy->src, &copy->shape, true, &shared);
    if (cr == CUDA_SUCCESS)
        cr = settle_side(call, &copy->dst, &copy->shape, false, &shared);
    if (cr != CUDA_SUCCESS)
        return cr;
    if (fe_capturing(where->stream))
        return wait ? fe_capture_refuse(where->stream) : fe_capture_copy(call, where->stream, copy);
    from_device = copy->src.type != CU_MEMORYTYPE_HOST;
    to_device = copy->dst.type != CU_MEMORYTYPE_HOST;
    if (from_device && to_device) {
        cr = post_on_device(call, copy, where);
        return cr == CUDA_SUCCESS && wait && shared ? fe_copy_drain(call, where) : cr;
    }
    if (to_device) {
        cr = wait_for_source(call, copy, where);
        look_at_rows(copy);
        if (cr == CUDA_SUCCESS)
            cr = copy_in(call, copy, where);
        if (cr == CUDA_SUCCESS && wait)
            cr = fe_order_copied(call, where->stream, where->wire);
        return cr;
    }
    if (from_device)
        return copy_out(call, copy, where, wait || !pinned(&copy->dst, &copy->shape));
    cr = fe_copy_drain(call, where);
    if (cr == CUDA_SUCCESS)
        fe_copy_host(copy);
    return cr;
}

CUresult
fe_copy_box(CUresult described, struct fe_copy *copy, CUstream stream, bool wait)
{
    struct fe_where where;
    struct fe_call call;
    CUresult cr = fe_enter(&call, WIRE_CALL_cuMemcpy3DAsync_v2);

    if (cr != CUDA_SUCCESS)
        return cr;
    cr = fe_stream_resolve_capture(&call, stream, &where.stream, &where.wire);
    if (cr == CUDA_SUCCESS)
        cr = described;
    if (cr == CUDA_SUCCESS && !fe_capturing(where.stream))
        cr = fe_order(&call, where.stream, where.wire);
    if (cr == CUDA_SUCCESS)
        cr = fe_copy_any(&call, copy, &where, wait);
    return fe_leave(&call, cr);
}

/* The aligned form is the stricter one: no row may be longer than the device's largest pitch. */
static CUresult
described_2d(const CUDA_MEMCPY2D *from, struct fe_copy *copy, bool strict)
{
    CUresult cr = fe_copy_from_2d(from, copy);
    struct fe_context *ctx = fe_context_current();
    struct fe_state *state = fe_state_get(NULL);
    size_t most;

    if (cr != CUDA_SUCCESS || !strict || state == NULL || ctx == NULL)
        return cr;
    most = (size_t)(unsigned)fe_device_attribute(state, ctx->device, CU_DEVICE_ATTRIBUTE_MAX_PITCH);
    return copy->src.pitch > most || copy->dst.pitch > most ? CUDA_ERROR_INVALID_VALUE : cr;
}

GP_EXPORT CUresult
cuMemcpy2D_v2(const CUDA_MEMCPY2D *copy)
{
    struct fe_copy c;

    return fe_copy_box(described_2d(copy, &c, true), &c, NULL, true);
}

GP_EXPORT CUresult
cuMemcpy2DUnaligned_v2(const CUDA_MEMCPY2D *copy)
{
    struct fe_copy c;

    return fe_copy_box(described_2d(copy, &c, false), &c, NULL, true);
}

GP_EXPORT CUresult
cuMemcpy2DAsync_v2(const CUDA_MEMCPY2D *copy, CUstream stream)
{
    struct fe_copy c;

    return fe_copy_box(described_2d(copy, &c, true), &c, stream, false);
}

GP_EXPORT CUresult
cuMemcpy3D_v2(const CUDA_MEMCPY3D *copy)
{
    struct fe_copy c;

    return fe_copy_box(fe_copy_from_3d(copy, &c), &c, NULL, true);
}

GP_EXPORT CUresult
cuMemcpy3DAsync_v2(const CUDA_MEMCPY3D *copy, CUstream stream)
{
    struct fe_copy c;

    return fe_copy_box(fe_copy_from_3d(copy, &c), &c, stream, false);
}
