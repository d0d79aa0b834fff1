/* frontend/cuda/relay.c -- what passes between servers */
#include "frontend/cuda/relay.h"

#include "cuda_api.h"
#include "frontend/core/line.h"
#include "frontend/core/notice.h"
#include "frontend/core/stats.h"
#include "frontend/cuda/array.h"
#include "frontend/cuda/ask.h"
#include "frontend/cuda/capture.h"
#include "frontend/cuda/coherent.h"
#include "frontend/cuda/host.h"
#include "frontend/cuda/order.h"
#include "frontend/cuda/relay_priv.h"
#include "frontend/cuda/state.h"
#include "frontend/cuda/stream.h"
#include "protocol/base/log.h"
#include "protocol/base/util.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define PIECE_BYTES ((size_t)4 << 20)
#define COPIERS_MAX 4

struct relay {
    struct relay *next;
    uint64_t number;
    struct fe_session *held;  /* whose stream is at the gate */
    struct fe_session *tells; /* who says when it goes on */
    bool is_copy;
    struct fe_relay_side dst, src;
    size_t bytes;
    struct fe_copy *box; /* owned; NULL: bytes one after the other */
    uint8_t *captured;   /* what the source was; owned */
};

static struct {
    pthread_mutex_t lock;
    pthread_cond_t came;
    /* Guarded by lock. */
    struct relay *waiting; /* for a notice */
    struct relay *ready, **ready_end;
    unsigned copiers, idle;
    uint64_t next_number;
} relays = {.lock = PTHREAD_MUTEX_INITIALIZER, .came = PTHREAD_COND_INITIALIZER};

static pthread_mutex_t streams_lock = PTHREAD_MUTEX_INITIALIZER; /* held while one is made */

/* -- streams of our own in each context -------------------------------------------------- */

static CUresult
stream_make(struct fe_context *ctx, struct fe_stream **stream_p)
{
    struct fe_stream *stream = NULL;
    struct fe_call call;
    CUresult cr = fe_enter_in(&call, WIRE_CALL_cuStreamCreateWithPriority, ctx);

    if (cr == CUDA_SUCCESS)
        cr = fe_leave(&call, fe_stream_make(&call, CU_STREAM_NON_BLOCKING, 0, &stream));
    if (cr != CUDA_SUCCESS)
        return cr;
    stream->inside = true;
    /* Never behind a copy of the program's (order.h), which may come behind a gate. */
    atomic_store(&stream->passed, UINT64_MAX);
    *stream_p = stream;
    return CUDA_SUCCESS;
}

/* Behind no stream of the program's, and before none. Bytes that go to another server hold their
 * stream until that one has them, which may be after it gave us some: so what comes has another. */
static CUresult
stream_get(struct fe_context *ctx, bool goes, CUstream *stream_p)
{
    CUresult cr = CUDA_SUCCESS;

    pthread_mutex_lock(&streams_lock);
    if (ctx->relay_ctx_wire != ctx->head.object.wire)
        ctx->relay[0] = ctx->relay[1] = NULL;
    ctx->relay_ctx_wire = ctx->head.object.wire;
    if (ctx->relay[goes] == NULL)
        cr = stream_make(ctx, &ctx->relay[goes]);
    if (cr == CUDA_SUCCESS)
        *stream_p = (CUstream)ctx->relay[goes];
    pthread_mutex_unlock(&streams_lock);
    return cr;
}

static CUresult
enter_for(const struct fe_relay_side *side, bool goes, CUstream *stream_p)
{
    if (fe_object_state(side->ctx) != FE_OBJECT_LIVE ||
        side->ctx->head.object.wire != side->ctx_wire)
        return CUDA_ERROR_CONTEXT_IS_DESTROYED;
    fe_thread.context = side->ctx;
    fe_thread.green = NULL;
    return stream_get(side->ctx, goes, stream_p);
}

CUresult
fe_relay_enter(const struct fe_relay_side *side, CUstream *stream_p)
{
    return enter_for(side, false, stream_p);
}

CUresult
fe_relay_enter_to_go(const struct fe_relay_side *side, CUstream *stream_p)
{
    return enter_for(side, true, stream_p);
}

/* -- bytes ------------------------------------------------------------------------------ */

static CUresult
read_piece(const struct fe_relay_side *src, size_t at, uint8_t *to, size_t bytes)
{
    CUstream stream;
    CUresult cr;

    if (src->ctx == NULL) { /* may lie in pages that another server has, too */
        memcpy(to, (const uint8_t *)(uintptr_t)src->address + at, bytes);
        return CUDA_SUCCESS;
    }
    cr = fe_relay_enter(src, &stream);
    return cr == CUDA_SUCCESS ? cuMemcpyDtoHAsync_v2(to, src->address + at, bytes, stream) : cr;
}

static CUresult
write_piece(const struct fe_relay_side *dst, size_t at, const uint8_t *from, size_t bytes)
{
    CUstream stream;
    CUresult cr;

    if (dst->ctx == NULL) {
        memcpy((uint8_t *)(uintptr_t)dst->address + at, from, bytes);
        return CUDA_SUCCESS;
    }
    cr = fe_relay_enter(dst, &stream);
    return cr == CUDA_SUCCESS ? cuMemcpyHtoDAsync_v2(dst->address + at, from, bytes, stream) : cr;
}

static CUresult
settle(const struct fe_relay_side *dst)
{
    CUstream stream;
    CUresult cr;

    if (dst->ctx == NULL)
        return CUDA_SUCCESS;
    cr = fe_relay_enter(dst, &stream);
    return cr == CUDA_SUCCESS ? cuStreamSynchronize(stream) : cr;
}

/* Both ends are on one server, and the stream that waits is on another. */
static CUresult
copy_on_server(const struct fe_relay_side *dst, const struct fe_relay_side *src, size_t bytes)
{
    CUstream stream;
    CUresult cr = fe_relay_enter(src, &stream); /* it must be there still */

    if (cr == CUDA_SUCCESS)
        cr = fe_relay_enter(dst, &stream);
    if (cr == CUDA_SUCCESS)
        cr = cuMemcpyPeerAsync(dst->address, (CUcontext)dst->ctx, src->address, (CUcontext)src->ctx,
                               bytes, stream);
    return cr == CUDA_SUCCESS ? cuStreamSynchronize(stream) : cr;
}

/* While a piece is written the next one is read. The thread's context changes. */
static CUresult
copy_through_here(const struct fe_relay_side *dst, const struct fe_relay_side *src,
                  const uint8_t *captured, size_t bytes)
{
    GP_AUTO_FREE uint8_t *room = captured == NULL ? malloc(gp_min_u64(bytes, PIECE_BYTES)) : NULL;
    CUresult cr = CUDA_SUCCESS;

    if (captured == NULL && room == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    for (size_t at = 0; at < bytes && cr == CUDA_SUCCESS; at += PIECE_BYTES) {
        size_t part = gp_min_u64(bytes - at, PIECE_BYTES);

        if (captured == NULL)
            cr = read_piece(src, at, room, part);
        if (cr == CUDA_SUCCESS)
            cr = write_piece(dst, at, captured != NULL ? captured + at : room, part);
    }
    return cr == CUDA_SUCCESS ? settle(dst) : cr;
}

/* The thread's context changes. */
CUresult
fe_relay_bytes(const struct fe_relay_side *dst, const struct fe_relay_side *src,
               const uint8_t *captured, size_t bytes)
{
    CUresult cr;

    if (captured == NULL && dst->ctx != NULL && src->ctx != NULL) {
        if (dst->ctx->head.session == src->ctx->head.session)
            return copy_on_server(dst, src, bytes);
        if (fe_relay_put(dst, src, bytes))
            return CUDA_SUCCESS;
    }
    cr = copy_through_here(dst, src, captured, bytes);
    if (cr == CUDA_SUCCESS && dst->ctx != NULL && src->ctx != NULL)
        fe_stats_count_between(bytes, FE_BETWEEN_RELAYED);
    return cr;
}

/* On a thread of the program, whose context stays. */
static CUresult
copy_here(const struct fe_relay_side *dst, const struct fe_relay_side *src, size_t bytes,
          const struct fe_copy *box)
{
    struct fe_thread before = fe_thread;
    CUresult cr;

    fe_thread.default_stream = NULL;
    cr = box != NULL ? fe_relay_box(dst, src, box) : fe_relay_bytes(dst, src, NULL, bytes);
    fe_thread.context = before.context;
    fe_thread.green = before.green;
    fe_thread.default_stream = before.default_stream;
    return cr;
}

/* -- gates ------------------------------------------------------------------------------ */

static void
gate_open(const struct relay *r, CUresult cr)
{
    struct wire_gpGateOpen_args args = {.gate = r->number};
    struct fe_call call;

    if (cr != CUDA_SUCCESS)
        fe_call_defer(r->held, cr);
    if (fe_enter_on(&call, WIRE_CALL_gpGateOpen, r->held) != CUDA_SUCCESS)
        return; /* with the server its streams are gone */
    FE_TELL(cr, &call, gpGateOpen, &args);
    (void)fe_leave(&call, CUDA_SUCCESS);
}

static void
relay_free(struct relay *r)
{
    free(r->captured);
    free(r->box);
    free(r);
}

static void *
copier_thread(void *unused)
{
    (void)unused;
    for (;;) {
        struct relay *r;

        pthread_mutex_lock(&relays.lock);
        relays.idle++;
        while (relays.ready == NULL)
            pthread_cond_wait(&relays.came, &relays.lock);
        relays.idle--;
        r = relays.ready;
        relays.ready = r->next;
        pthread_mutex_unlock(&relays.lock);
        gate_open(r, r->box != NULL ? fe_relay_box(&r->dst, &r->src, r->box)
                                    : fe_relay_bytes(&r->dst, &r->src, r->captured, r->bytes));
        relay_free(r);
    }
    return NULL;
}

/* False: there is no thread, nor can there be one. */
static bool
copier_push(struct relay *r)
{
    bool pushed;

    pthread_mutex_lock(&relays.lock);
    if (relays.idle == 0 && relays.copiers < COPIERS_MAX &&
        fe_thread_create("gpupool-copy", copier_thread, NULL) == GP_OK)
        relays.copiers++;
    pushed = relays.copiers > 0;
    if (pushed) {
        if (relays.ready == NULL)
            relays.ready_end = &relays.ready;
        r->next = NULL;
        *relays.ready_end = r;
        relays.ready_end = &r->next;
        pthread_cond_signal(&relays.came);
    }
    pthread_mutex_unlock(&relays.lock);
    return pushed;
}

static void
relay_add(struct relay *r)
{
    pthread_mutex_lock(&relays.lock);
    r->number = ++relays.next_number;
    r->next = relays.waiting;
    relays.waiting = r;
    pthread_mutex_unlock(&relays.lock);
    fe_notice_expect(r->tells, 1);
}

/* The first that the server (number 0: any) tells about. */
static struct relay *
relay_take(const struct fe_session *tells, uint64_t number)
{
    struct relay **at, *r;

    pthread_mutex_lock(&relays.lock);
    for (at = &relays.waiting; *at != NULL; at = &(*at)->next)
        if ((*at)->tells == tells && (number == 0 || (*at)->number == number))
            break;
    r = *at;
    if (r != NULL)
        *at = r->next;
    pthread_mutex_unlock(&relays.lock);
    if (r != NULL)
        fe_notice_expect(r->tells, -1);
    return r;
}

void
fe_relay_gate(struct fe_session *s, uint64_t number, CUresult status)
{
    struct relay *r = relay_take(s, number);

    if (r == NULL) { /* a gate of an event's that could not be closed */
        if (status != CUDA_SUCCESS)
            fe_call_defer(s, status);
        return;
    }
    if (r->is_copy && status == CUDA_SUCCESS) {
        if (copier_push(r))
            return;
        status = CUDA_ERROR_OUT_OF_MEMORY;
    }
    gate_open(r, status);
    relay_free(r);
}

void
fe_relay_lost(struct fe_session *s)
{
    struct relay *r;

    while ((r = relay_take(s, 0)) != NULL) {
        if (r->held != s)
            gate_open(r, fe_session_result(s));
        relay_free(r);
    }
}

/* The stream stops here; r is the relays' from then on, also on error. */
static CUresult
gate_close(struct fe_call *call, const struct fe_where *where, struct relay *r, uint64_t *number_p)
{
    struct wire_gpGateClose_args args = {.stream = where->wire, .tell = r->is_copy};
    CUresult cr = fe_call_next(call, WIRE_CALL_gpGateClose);
    void *to = NULL;

    if (cr == CUDA_SUCCESS) {
        relay_add(r);
        *number_p = args.gate = r->number;
        to = fe_post(call, wire_size_gpGateClose_args(&args));
        if (to == NULL) {
            fe_relay_lost(call->session);
            return fe_lost(call);
        }
        wire_put_gpGateClose_args(to, &args);
        (void)fe_stream_mark(call, where->stream);
        fe_post_done(call);
        return CUDA_SUCCESS;
    }
    relay_free(r);
    return cr;
}

/* -- copies ----------------------------------------------------------------------------- */

/* A synchronous copy that the program made there has not been waited for; here it must be. */
static CUresult
settle_copies(const struct fe_call *call, const struct fe_relay_side *side)
{
    struct fe_call own;
    CUresult cr;

    if (side->ctx == NULL || side->ctx == call->context)
        return CUDA_SUCCESS; /* the stream comes behind it already */
    cr = fe_enter_in(&own, WIRE_CALL_cuEventRecordWithFlags, side->ctx);
    return cr == CUDA_SUCCESS ? fe_leave(&own, fe_order_settle(&own)) : cr;
}

static struct fe_side
line_of(const struct fe_relay_side *side, size_t bytes)
{
    return (struct fe_side){.type = side->ctx != NULL ? CU_MEMORYTYPE_DEVICE : CU_MEMORYTYPE_HOST,
                            .base = side->address,
                            .pitch = bytes,
                            .slice = bytes};
}

/* What the program's memory is now: it is the program's again when the call returns. */
static CUresult
capture(struct fe_call *call, struct relay *r, const struct fe_where *where)
{
    CUresult cr;

    r->captured = malloc(r->bytes);
    if (r->captured == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    if (fe_host_may_change(r->src.address) && (cr = fe_copy_drain(call, where)) != CUDA_SUCCESS)
        return cr;
    if (r->box == NULL) {
        memcpy(r->captured, (const void *)(uintptr_t)r->src.address, r->bytes);
        return CUDA_SUCCESS;
    }
    fe_gather(r->captured, &r->box->src, &r->box->shape);
    r->box->src = (struct fe_side){.type = CU_MEMORYTYPE_HOST,
                                   .base = (uint64_t)(uintptr_t)r->captured,
                                   .pitch = r->box->shape.width,
                                   .slice = r->box->shape.width * r->box->shape.height};
    return CUDA_SUCCESS;
}

/* A node in place of the copy. */
static CUresult
capture_node(struct fe_call *call, const struct fe_relay_side *dst, const struct fe_relay_side *src,
             size_t bytes, const struct fe_copy *box, struct fe_stream *stream)
{
    struct fe_relay_copy node = {.dst = *dst, .src = *src};

    if (box != NULL)
        node.copy = *box;
    else
        node.copy = (struct fe_copy){
            .shape = {bytes, 1, 1}, .dst = line_of(dst, bytes), .src = line_of(src, bytes)};
    return fe_capture_between(call, stream, &node);
}

static CUresult
copy_in_order(struct fe_call *call, const struct fe_relay_side *dst,
              const struct fe_relay_side *src, size_t bytes, const struct fe_copy *box,
              const struct fe_where *where, bool wait)
{
    struct relay *r;
    uint64_t number;
    CUresult cr;

    if (fe_capturing(where->stream))
        return wait ? fe_capture_refuse(where->stream)
                    : capture_node(call, dst, src, bytes, box, where->stream);
    cr = settle_copies(call, src);
    if (cr == CUDA_SUCCESS)
        cr = settle_copies(call, dst);
    if (cr != CUDA_SUCCESS)
        return cr;
    if (wait || dst->ctx == NULL) {
        cr = fe_copy_drain(call, where);
        return cr == CUDA_SUCCESS ? copy_here(dst, src, bytes, box) : cr;
    }
    r = calloc(1, sizeof(*r));
    if (r == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    *r = (struct relay){.held = call->session,
                        .tells = call->session,
                        .is_copy = true,
                        .dst = *dst,
                        .src = *src,
                        .bytes = bytes};
    if (box != NULL && (r->box = malloc(sizeof(*box))) == NULL)
        cr = CUDA_ERROR_OUT_OF_MEMORY;
    else if (box != NULL)
        *r->box = *box;
    if (cr == CUDA_SUCCESS && src->ctx == NULL)
        cr = capture(call, r, where);
    if (cr == CUDA_SUCCESS)
        return gate_close(call, where, r, &number);
    relay_free(r);
    return cr;
}

static struct fe_relay_side
side_of(struct fe_context *ctx, uint64_t address)
{
    return (struct fe_relay_side){
        .ctx = ctx, .ctx_wire = ctx != NULL ? ctx->head.object.wire : 0, .address = address};
}

/* What an address is; device memory must be there as a whole. */
static CUresult
find_side(const struct fe_call *call, uint64_t address, size_t bytes, struct fe_relay_side *side_p)
{
    struct fe_alloc *alloc = fe_alloc_around(call->session, address);
    struct fe_context *owner;
    struct fe_block block;

    if (fe_address_session(call->session, address) == NULL) {
        if (address == 0)
            return CUDA_ERROR_INVALID_VALUE;
        *side_p = side_of(NULL, address);
        return CUDA_SUCCESS;
    }
    if (!fe_alloc_find(alloc, address, &block) || !fe_alloc_covers(alloc, address, bytes))
        return CUDA_ERROR_INVALID_VALUE;
    owner = block.owner != NULL ? (struct fe_context *)(uintptr_t)block.owner
                                : fe_state_of(call)->primary[block.device];
    *side_p = side_of(owner, address);
    return CUDA_SUCCESS;
}

CUresult
fe_relay_copy(struct fe_call *call, uint64_t dst, uint64_t src, size_t bytes,
              const struct fe_where *where, bool wait)
{
    struct fe_relay_side to, from;
    CUresult cr = find_side(call, dst, bytes, &to);

    if (cr == CUDA_SUCCESS)
        cr = find_side(call, src, bytes, &from);
    return cr == CUDA_SUCCESS ? copy_in_order(call, &to, &from, bytes, NULL, where, wait) : cr;
}

CUresult
fe_relay_copy_peer(struct fe_call *call, uint64_t dst, struct fe_context *to, uint64_t src,
                   struct fe_context *from, size_t bytes, const struct fe_where *where, bool wait)
{
    const struct fe_relay_side to_side = side_of(to, dst), from_side = side_of(from, src);

    if (!fe_alloc_covers(fe_alloc_of_device(to->device), dst, bytes) ||
        !fe_alloc_covers(fe_alloc_of_device(from->device), src, bytes))
        return CUDA_ERROR_INVALID_VALUE;
    return copy_in_order(call, &to_side, &from_side, bytes, NULL, where, wait);
}

/* -- boxes ------------------------------------------------------------------------------ */

static const struct fe_array *
array_of(const struct fe_side *side)
{
    return fe_object_get(WIRE_HANDLE_ARRAY, (void *)(uintptr_t)side->base);
}

static bool
is_elsewhere(const struct fe_call *call, const struct fe_side *side)
{
    const struct fe_array *array;

    if (side->type != CU_MEMORYTYPE_ARRAY)
        return fe_memory_elsewhere(call, side->base);
    array = array_of(side);
    return array != NULL && array->object.context->head.session != call->session;
}

bool
fe_relay_has_box(const struct fe_call *call, const struct fe_copy *box)
{
    return is_elsewhere(call, &box->dst) || is_elsewhere(call, &box->src);
}

/* Its side of a box becomes what it is: an array, device memory or the program's. */
static CUresult
find_box_side(struct fe_call *call, struct fe_side *box, const struct fe_shape *shape,
              struct fe_relay_side *side_p)
{
    CUresult cr;
    size_t span;

    if (box->type == CU_MEMORYTYPE_ARRAY) {
        cr = fe_array_settle(box, shape);
        if (cr == CUDA_SUCCESS)
            *side_p = side_of(array_of(box)->object.context, 0);
        return cr;
    }
    if (!fe_side_span(box, shape, &span) || box->base == 0)
        return CUDA_ERROR_INVALID_VALUE;
    if (box->type == CU_MEMORYTYPE_HOST) {
        *side_p = side_of(NULL, box->base);
        return CUDA_SUCCESS;
    }
    cr = find_side(call, box->base, span, side_p);
    if (cr == CUDA_SUCCESS && side_p->ctx == NULL && box->type == CU_MEMORYTYPE_DEVICE)
        cr = fe_check_device(call, box->base, span);
    box->type =
        cr == CUDA_SUCCESS && side_p->ctx == NULL ? CU_MEMORYTYPE_HOST : CU_MEMORYTYPE_DEVICE;
    return cr;
}

/* Both sides; those of out's copy become what they are. */
static CUresult
find_sides(struct fe_call *call, const struct fe_copy *box, struct fe_relay_copy *out)
{
    CUresult cr;

    out->copy = *box;
    cr = find_box_side(call, &out->copy.src, &box->shape, &out->src);
    if (cr == CUDA_SUCCESS)
        cr = find_box_side(call, &out->copy.dst, &box->shape, &out->dst);
    if (cr == CUDA_SUCCESS && out->dst.ctx == NULL && fe_host_read_only(out->copy.dst.base))
        cr = CUDA_ERROR_INVALID_VALUE;
    return cr;
}

CUresult
fe_relay_copy_box(struct fe_call *call, const struct fe_copy *box, const struct fe_where *where,
                  bool wait)
{
    struct fe_relay_copy own;
    CUresult cr = find_sides(call, box, &own);

    if (cr != CUDA_SUCCESS)
        return cr;
    return copy_in_order(call, &own.dst, &own.src, fe_shape_bytes(&box->shape), &own.copy, where,
                         wait);
}

/* -- nodes of graphs -------------------------------------------------------------------- */

bool
fe_relay_is_between(struct fe_context *ctx, const struct fe_copy *copy)
{
    const struct fe_call call = {.session = ctx->head.session, .context = ctx};

    return GP_UNLIKELY(fe_several) && fe_relay_has_box(&call, copy);
}

CUresult
fe_relay_describe(struct fe_context *ctx, const struct fe_copy *copy, struct fe_relay_copy *out_p)
{
    struct fe_call call;
    CUresult cr = fe_enter_in(&call, WIRE_CALL_cuMemcpy3DAsync_v2, ctx);

    return cr == CUDA_SUCCESS ? fe_leave(&call, find_sides(&call, copy, out_p)) : cr;
}

CUresult
fe_relay_settle(const struct fe_call *call, const struct fe_relay_copy *copy)
{
    CUresult cr = settle_copies(call, &copy->src);

    return cr == CUDA_SUCCESS ? settle_copies(call, &copy->dst) : cr;
}

static bool
is_line(const struct fe_copy *copy)
{
    return copy->shape.height == 1 && copy->shape.depth == 1 &&
           copy->src.type != CU_MEMORYTYPE_ARRAY && copy->dst.type != CU_MEMORYTYPE_ARRAY;
}

void
fe_relay_run(struct fe_session *s, const struct fe_relay_copy *copy)
{
    CUresult cr = copy_here(&copy->dst, &copy->src, copy->copy.shape.width,
                            is_line(&copy->copy) ? NULL : &copy->copy);

    if (cr != CUDA_SUCCESS)
        fe_call_defer(s, cr);
}

/* -- events ----------------------------------------------------------------------------- */

CUresult
fe_relay_wait_event(struct fe_call *call, const struct fe_where *where, struct fe_event *event)
{
    struct wire_gpEventTell_args args = {.event = event->object.wire};
    struct fe_session *tells = event->object.context->head.session;
    struct relay *r;
    struct fe_call own;
    CUresult cr = fe_enter_on(&own, WIRE_CALL_gpEventTell, tells);

    if (cr != CUDA_SUCCESS)
        return cr;
    r = calloc(1, sizeof(*r));
    if (r == NULL)
        return fe_leave(&own, CUDA_ERROR_OUT_OF_MEMORY);
    *r = (struct relay){.held = call->session, .tells = tells};
    cr = gate_close(call, where, r, &args.gate);
    if (cr != CUDA_SUCCESS)
        return fe_leave(&own, cr);
    FE_TELL(cr, &own, gpEventTell, &args);
    if (cr != CUDA_SUCCESS) /* lost while the gate was closed: nobody else opens it */
        fe_relay_lost(tells);
    (void)fe_leave(&own, CUDA_SUCCESS);
    return CUDA_SUCCESS;
}

/* -- other things ----------------------------------------------------------------------- */

CUresult
fe_relay_go(struct fe_call *call, const struct fe_where *where, uint64_t address,
            struct fe_away *away_p)
{
    struct fe_relay_side side;
    CUresult cr = find_side(call, address, 0, &side);

    if (cr == CUDA_SUCCESS && (side.ctx == NULL || fe_capturing(where->stream)))
        cr = fe_refuse("this on memory of another server");
    if (cr == CUDA_SUCCESS)
        cr = fe_copy_drain(call, where);
    if (cr != CUDA_SUCCESS)
        return cr;
    away_p->before = fe_thread.context;
    cr = fe_relay_enter(&side, &away_p->stream);
    if (cr != CUDA_SUCCESS)
        fe_thread.context = away_p->before;
    return cr;
}

CUresult
fe_relay_return(const struct fe_away *away, CUresult cr)
{
    if (cr == CUDA_SUCCESS)
        cr = cuStreamSynchronize(away->stream);
    fe_thread.context = away->before;
    return cr;
}
