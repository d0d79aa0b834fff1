/* backend/session/bulk.c */
#include "backend/session/bulk.h"

#include "backend/cuda/copy_in.h"
#include "backend/cuda/jobs.h"
#include "backend/cuda/pace.h"
#include "backend/cuda/stay.h"
#include "backend/cuda/trace.h"
#include "protocol/base/clock.h"
#include "protocol/base/log.h"
#include "protocol/base/util.h"

#include <stdlib.h>
#include <string.h>

/* Bytes that lie where the client wrote them are handed over from there in rows of at least this
 * much; less is read, or waited for, by way of a block. */
#define NEAR_MIN   (16u << 10)
#define WAIT_BYTES (4u << 10)
/* Of one read: what the device copies while the next is on its way. Of a lane that reads the
 * client's memory itself, by several requests at once, so much that it has to wait less often. */
#define BLOCK_BYTES     (256u << 10)
#define BLOCK_BYTES_FAR BE_STAGING_BLOCK_MAX
/* Of one read to where it belongs. */
#define STRAIGHT_BYTES (1u << 20)

static void
busy(struct be_session *session, bool is)
{
    atomic_store_explicit(&session->line->busy_since_ns, is ? gp_now_ns() : 0,
                          memory_order_relaxed);
}

/* The next bytes of the payload; false: the line is over. */
static bool
take(struct be_session *session, uint8_t *to, size_t bytes)
{
    enum gp_status status = GP_ERR_AGAIN;

    busy(session, false);
    while (bytes > 0 && (status == GP_ERR_AGAIN || status == GP_ERR_TIMEOUT)) {
        size_t got = 0;

        status = tp_recv_payload(session->line->lane, to, bytes, GP_FOREVER, &got);
        to += got;
        bytes -= got;
    }
    busy(session, true);
    return bytes == 0;
}

bool
be_bulk_is_copy(const uint8_t head[BE_BULK_HEAD_BYTES], uint32_t bytes,
                struct wire_record *record_p, struct wire_cuMemcpyHtoDAsync_v2_args *args_p)
{
    const uint8_t *fixed = head + sizeof(*record_p);

    memcpy(record_p, head, sizeof(*record_p));
    if (record_p->bytes != bytes || record_p->call != WIRE_CALL_cuMemcpyHtoDAsync_v2 ||
        record_p->flags != 0 || record_p->tag != 0)
        return false;
    return wire_unhead_cuMemcpyHtoDAsync_v2_args(fixed, args_p) &&
           BE_BULK_HEAD_BYTES + WIRE_PAD(args_p->data_len) == bytes;
}

/* A block is there, or bytes at near: their copy, in the session's turn. */
static CUresult
block_run(struct be_call *call, const struct wire_record *record, const uint8_t *fixed,
          struct be_copy_in *in, const void *near, uint32_t bytes)
{
    struct be_session *session = call->session;
    size_t len = WIRE_HEAD_cuMemcpyHtoDAsync_v2_args + bytes; /* of arguments as long as this */
    struct be_pace_pass pass;
    enum be_stay_verdict verdict = be_pace_enter(call, record, fixed, len, &pass);
    CUresult cr;

    if (verdict != BE_STAY_GO) {
        if (near == NULL)
            be_staging_put(in->staging, in->block);
        /* Or nobody is there any more to hear of it. */
        return verdict == BE_STAY_REFUSED ? CUDA_ERROR_OUT_OF_MEMORY
                                          : CUDA_ERROR_DEVICE_UNAVAILABLE;
    }
    cr = near != NULL ? be_copy_in_near(call, in, near, bytes) : be_copy_in_go(call, in, bytes);
    be_pace_leave(&pass);
    be_pace_flush(session);
    be_stay_leave(session); /* the next block may be long in coming */
    return cr;
}

/* Nothing of the context runs, so that the copy may be made now, and the device's memory is ours.
 * Only this thread queues more. */
static bool
goes_straight(struct be_session *session, struct be_call *call,
              const struct wire_cuMemcpyHtoDAsync_v2_args *args)
{
    return be_data_plain(session) && be_memory_near(session, args->dst, args->data_len) &&
           be_context_query(session, call->context) == CUDA_SUCCESS;
}

static void
straight_run(struct be_session *session, const struct wire_cuMemcpyHtoDAsync_v2_args *args)
{
    uint8_t *to = (uint8_t *)(uintptr_t)args->dst;

    for (uint32_t left = args->data_len; left > 0;) {
        uint32_t bytes = (uint32_t)gp_min_u64(left, STRAIGHT_BYTES);

        if (!take(session, to, bytes))
            break;
        to += bytes;
        left -= bytes;
    }
}

/* Wait until the next bytes are there; true: they come where they belong by themselves. False too
 * where the line is over. */
static bool
direct_comes(struct be_session *session, void *to)
{
    enum gp_status status;
    size_t got, others;

    busy(session, false);
    do
        status = tp_recv_direct(session->line->lane, to, 0, GP_FOREVER, &got, &others);
    while (status == GP_ERR_AGAIN || status == GP_ERR_TIMEOUT);
    busy(session, true);
    return status == GP_OK && others == 0;
}

/* By the line's device alone, as far as the bytes come that way: what is left is its sender's to
 * stage. Memory may be paged out while they are long in coming. */
static CUresult
direct_run(struct be_session *session, const struct wire_record *record, const uint8_t *fixed,
           struct be_copy_in *in, uint32_t *left_p)
{
    struct tp_lane *lane = session->line->lane;
    CUresult cr = CUDA_SUCCESS;
    bool goes = true;

    while (*left_p > 0 && goes && cr == CUDA_SUCCESS &&
           direct_comes(session, (void *)(uintptr_t)in->dst)) {
        enum be_stay_verdict verdict = be_stay_enter(session, record->call, fixed,
                                                     WIRE_HEAD_cuMemcpyHtoDAsync_v2_args + *left_p);
        enum gp_status status = GP_ERR_NOT_SUPPORTED;
        size_t got = 0, others = 0;

        if (verdict != BE_STAY_GO)
            return verdict == BE_STAY_REFUSED ? CUDA_ERROR_OUT_OF_MEMORY
                                              : CUDA_ERROR_DEVICE_UNAVAILABLE;
        if (be_direct_ready(session, in->dst, *left_p, true))
            status =
                tp_recv_direct(lane, (void *)(uintptr_t)in->dst, *left_p, TP_NOW, &got, &others);
        goes = status == GP_ERR_AGAIN || (status == GP_OK && got > 0);
        if (got > 0)
            cr = be_direct_seal(session, in->dst);
        be_count(session->row, BE_COUNT_DIRECT_BYTES, got);
        in->dst += got;
        *left_p -= (uint32_t)got;
        be_stay_leave(session);
    }
    return cr;
}

/* What is not taken of the payload the next receive skips. */
static void
copy_run(struct be_session *session, const struct wire_record *record, const uint8_t *fixed,
         const struct wire_cuMemcpyHtoDAsync_v2_args *args)
{
    uint64_t begin_ns = GP_UNLIKELY(session->trace != NULL) ? gp_now_ns() : 0;
    struct tp_lane *lane = session->line->lane;
    uint32_t left = args->data_len;
    struct be_copy_in in;
    struct be_call call;
    CUresult cr = be_record_enter(session, record, &call);
    uint32_t block = strcmp(tp_scheme(lane), "rdma") == 0 ? BLOCK_BYTES_FAR : BLOCK_BYTES;
    bool near_ok = false;

    if (cr == CUDA_SUCCESS)
        cr = be_copy_in_begin(&call, args, &in);
    if (cr == CUDA_SUCCESS && goes_straight(session, &call, args)) {
        straight_run(session, args);
        left = 0;
    }
    if (cr == CUDA_SUCCESS && be_direct_wanted(session, left) &&
        be_context_query_stream(session, call.context, in.stream) == CUDA_SUCCESS)
        cr = direct_run(session, record, fixed, &in, &left);
    if (cr == CUDA_SUCCESS && left > 0 && tp_peeks(lane))
        near_ok = be_context_query(session, call.context) == CUDA_SUCCESS;
    while (left > 0 && cr == CUDA_SUCCESS) {
        uint32_t bytes = (uint32_t)gp_min_u64(left, block);
        size_t there = 0;
        const void *near = near_ok ? tp_peek_payload(lane, bytes, &there) : NULL;

        if (near != NULL && there >= gp_min_u64(NEAR_MIN, left)) {
            cr = block_run(&call, record, fixed, &in, near, (uint32_t)there);
            tp_skip_payload(lane, there);
            left -= (uint32_t)there;
            continue;
        }
        if (near_ok)
            bytes = (uint32_t)gp_min_u64(bytes, near != NULL ? there : WAIT_BYTES);
        cr = be_copy_in_get(&call, &in, bytes);
        if (cr != CUDA_SUCCESS)
            break;
        if (!take(session, in.block->data, bytes)) {
            be_staging_put(in.staging, in.block);
            return;
        }
        cr = block_run(&call, record, fixed, &in, NULL, bytes);
        left -= bytes;
    }
    if (cr != CUDA_SUCCESS)
        be_defer(&call, cr);
    if (GP_UNLIKELY(session->trace != NULL) && begin_ns != 0)
        be_trace_add(session, record->call, begin_ns);
}

/* The rest of a frame behind its head, and all of it to the dispatcher. */
static enum gp_status
take_whole(struct be_session *session, const uint8_t head[BE_BULK_HEAD_BYTES], uint32_t bytes,
           const char **why_p)
{
    if (session->frame_bytes < bytes) {
        free(session->frame);
        session->frame = malloc(bytes);
        session->frame_bytes = session->frame != NULL ? bytes : 0;
    }
    if (session->frame == NULL) {
        log_error("session: no memory for a frame of %u bytes", bytes);
        *why_p = "a frame for which there is no memory";
        return GP_ERR_NO_MEMORY;
    }
    memcpy(session->frame, head, BE_BULK_HEAD_BYTES);
    if (!take(session, session->frame + BE_BULK_HEAD_BYTES, bytes - BE_BULK_HEAD_BYTES))
        return GP_OK;
    return be_session_feed(session, session->frame, bytes, why_p);
}

enum gp_status
be_bulk_take(struct be_session *session, uint32_t bytes, const char **why_p)
{
    struct wire_cuMemcpyHtoDAsync_v2_args args;
    uint8_t head[BE_BULK_HEAD_BYTES];
    struct wire_record record;

    /* The bytes may be long in coming: nobody waits for them. */
    be_parked_hand_over(session);
    be_line_flush(session->line);
    if (!take(session, head, sizeof(head)))
        return GP_OK;
    if (!be_bulk_is_copy(head, bytes, &record, &args))
        return take_whole(session, head, bytes, why_p);
    copy_run(session, &record, head + sizeof(record), &args);
    return GP_OK;
}
