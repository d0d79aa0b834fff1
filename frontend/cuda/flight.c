/* frontend/cuda/flight.c */
#include "frontend/cuda/flight.h"

#include "frontend/cuda/ask.h"

#include <stdlib.h>

static struct {
    /* Guarded by the lock of coherent.c. */
    struct fe_flight *list;
    size_t count, room;
    bool given_up; /* the kernels under way were waited for in vain */
} all;

static bool
done(const struct fe_flight *b)
{
    return fe_object_state(b->ctx) != FE_OBJECT_LIVE || b->ctx->head.object.wire != b->ctx_wire ||
           fe_work_proven(b->ctx, b->stream, b->stream_wire, b->n);
}

/* Whether such work may touch the region (NULL: any). */
static bool
is_near(const struct fe_region *r, const struct fe_flight *b)
{
    return r == NULL ||
           (r->info.session == b->ctx->head.session && r->attach != CU_MEM_ATTACH_HOST &&
            (r->attach != CU_MEM_ATTACH_SINGLE ||
             (r->stream == b->stream && r->stream_wire == b->stream_wire)));
}

bool
fe_flight_has(const struct fe_region *r)
{
    bool found = false;

    for (size_t i = 0; i < all.count;) {
        if (done(&all.list[i])) {
            all.list[i] = all.list[--all.count];
            continue;
        }
        found |= is_near(r, &all.list[i]);
        i++;
    }
    all.given_up &= all.count > 0;
    return found;
}

bool
fe_flight_kernels(const struct fe_region *r, struct fe_flight *flight_p)
{
    if (!fe_flight_has(r) || all.given_up)
        return false;
    for (size_t i = 0; i < all.count; i++) {
        const struct fe_flight *b = &all.list[i];

        if (b->kernels != 0 && is_near(r, b) &&
            !fe_work_proven(b->ctx, b->stream, b->stream_wire, b->kernels)) {
            *flight_p = *b;
            return true;
        }
    }
    return false;
}

void
fe_flight_give_up(void)
{
    all.given_up = fe_flight_has(NULL);
}

void
fe_flight_note(struct fe_call *call, const struct fe_where *where, bool anything)
{
    struct fe_flight now = {.ctx = call->context,
                            .stream = where->stream,
                            .ctx_wire = call->context->head.object.wire,
                            .stream_wire = where->wire,
                            .n = atomic_load_explicit(&where->stream->last, memory_order_acquire)};
    size_t i;

    for (i = 0; i < all.count; i++)
        if (all.list[i].stream == now.stream && all.list[i].stream_wire == now.stream_wire)
            break;
    if (i == all.room) {
        size_t room = all.room == 0 ? 16 : 2 * all.room;
        struct fe_flight *list = realloc(all.list, room * sizeof(*list));

        if (list == NULL)
            i = 0; /* pages come once too seldom for the stream that is forgotten */
        else {
            all.list = list;
            all.room = room;
        }
    }
    if (all.room == 0)
        return;
    if (anything)
        now.kernels = now.n;
    else if (i < all.count)
        now.kernels = all.list[i].kernels;
    if (i == all.count)
        all.count++;
    all.list[i] = now;
}

void
fe_flight_forget(const struct fe_flight *then)
{
    for (size_t i = 0; i < all.count; i++) {
        struct fe_flight *b = &all.list[i];

        if (b->stream != then->stream || b->stream_wire != then->stream_wire)
            continue;
        if (b->kernels <= then->kernels)
            b->kernels = 0;
        if (b->n <= then->n)
            *b = all.list[--all.count];
        return;
    }
}

bool
fe_flight_ended(const struct fe_flight *b)
{
    struct wire_cuStreamQuery_args args = {.stream = b->stream_wire};
    struct fe_call call;
    const uint8_t *bytes;
    CUresult cr = fe_enter_in(&call, WIRE_CALL_cuStreamQuery, b->ctx), left;
    size_t len;

    if (cr != CUDA_SUCCESS)
        return true;
    FE_ASK_BYTES(cr, &call, cuStreamQuery, &args, &bytes, &len);
    left = fe_leave(&call, cr);
    /* What came along of earlier calls. A fault stays with its context. */
    if (left != cr && left != CUDA_SUCCESS &&
        (CUresult)atomic_load_explicit(&b->ctx->head.sticky, memory_order_relaxed) != left)
        fe_call_defer(call.session, left);
    return cr != CUDA_ERROR_NOT_READY;
}
