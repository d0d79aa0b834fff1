/* backend/session/line.c */
#include "backend/session/line.h"

#include "backend/cuda/state.h"
#include "protocol/base/clock.h"
#include "protocol/base/log.h"
#include "protocol/base/util.h"
#include "protocol/wire/codec.h"
#include "protocol/wire/data.h"
#include "transport/link/link.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>

#define BE_LINE_EAGER_BYTES  (64u << 10) /* the executor sends when this much has gathered */
#define BE_LINE_FULL_BYTES   (8u << 20)  /* nobody adds more before some is sent */
#define BE_LINE_COPIED_BYTES (16u << 10) /* data up to here travels with the records */
#define BE_BEAT_NS           (5 * GP_NS_PER_S)
#define BE_FAREWELL_NS       500000000 /* to say why a session ends */

void
be_line_init(struct be_line *line, struct tp_lane *lane, uint32_t max_payload_bytes)
{
    memset(line, 0, sizeof(*line));
    line->lane = lane;
    line->max_payload_bytes = max_payload_bytes;
    line->executor = pthread_self();
    pthread_mutex_init(&line->lock, NULL);
    pthread_mutex_init(&line->pack_lock, NULL);
    pthread_cond_init(&line->turn, NULL);
}

void
be_line_fini(struct be_line *line)
{
    pthread_cond_destroy(&line->turn);
    pthread_mutex_destroy(&line->lock);
    pthread_mutex_destroy(&line->pack_lock);
    free(line->pack_room);
    gp_buf_fini(&line->front);
    gp_buf_fini(&line->back);
}

static bool
on_executor(const struct be_line *line)
{
    return pthread_equal(pthread_self(), line->executor) != 0;
}

static void
header_make(struct be_line *line, uint8_t kind, uint32_t tag, size_t bytes, uint8_t *to)
{
    struct wire_frame_header header = {
        .payload_bytes = (uint32_t)bytes,
        .kind = kind,
        .tag = tag,
        .seq = ++line->seq,
        .ack = line->lane != NULL ? tp_received(line->lane) : 0,
    };

    wire_frame_encode(&header, to);
}

static void
frame_close(struct be_line *line)
{
    if (line->open_kind == 0)
        return;
    header_make(line, line->open_kind, line->open_records,
                line->front.len - line->open_at - WIRE_FRAME_HEADER_BYTES,
                line->front.data + line->open_at);
    line->open_kind = 0;
}

/* With the lock held and nobody sending; gives the lock away meanwhile. */
static void
flush_locked(struct be_line *line)
{
    while (line->front.len != 0 && !line->closed) {
        struct gp_buf full;
        struct iovec iov;
        enum gp_status status = GP_OK;

        frame_close(line);
        full = line->front;
        line->front = line->back;
        line->back = full;
        line->sending = true;
        pthread_mutex_unlock(&line->lock);
        iov.iov_base = line->back.data;
        iov.iov_len = line->back.len;
        if (line->lane != NULL)
            status = tp_send(line->lane, &iov, 1);
        pthread_mutex_lock(&line->lock);
        line->sending = false;
        gp_buf_reset(&line->back);
        if (status != GP_OK)
            line->closed = true;
    }
    pthread_cond_broadcast(&line->turn);
}

void
be_line_flush(struct be_line *line)
{
    pthread_mutex_lock(&line->lock);
    if (!line->sending)
        flush_locked(line);
    pthread_mutex_unlock(&line->lock);
}

struct farewell {
    struct be_line *line;
    void (*say)(void *user);
    void *user;
    bool said; /* guarded by line.lock */
};

static void *
farewell_main(void *arg)
{
    struct farewell *f = arg;

    f->say(f->user);
    be_line_flush(f->line);
    pthread_mutex_lock(&f->line->lock);
    f->said = true;
    pthread_cond_broadcast(&f->line->turn);
    pthread_mutex_unlock(&f->line->lock);
    return NULL;
}

void
be_line_farewell(struct be_line *line, void (*say)(void *user), void (*then)(void *user),
                 void *user)
{
    struct farewell f = {.line = line, .say = say, .user = user};
    const struct timespec until = gp_timespec(gp_now_ns() + BE_FAREWELL_NS);
    pthread_t thread;
    bool there;

    there = pthread_create(&thread, NULL, farewell_main, &f) == 0;
    pthread_mutex_lock(&line->lock);
    while (there && (!f.said || line->sending) && !line->closed &&
           pthread_cond_clockwait(&line->turn, &line->lock, CLOCK_MONOTONIC, &until) == 0)
        ;
    pthread_mutex_unlock(&line->lock);
    if (then != NULL)
        then(user);
    if (line->lane != NULL)
        tp_shutdown(line->lane);
    be_line_end(line);
    if (there)
        pthread_join(thread, NULL);
}

void
be_line_end(struct be_line *line)
{
    pthread_mutex_lock(&line->lock);
    line->closed = true;
    pthread_cond_broadcast(&line->turn);
    pthread_mutex_unlock(&line->lock);
}

bool
be_line_closed(struct be_line *line)
{
    bool closed;

    pthread_mutex_lock(&line->lock);
    closed = line->closed;
    pthread_mutex_unlock(&line->lock);
    return closed;
}

void
be_line_frame(struct be_line *line, enum wire_frame_kind kind, uint32_t tag, const void *payload,
              size_t bytes)
{
    uint8_t header[WIRE_FRAME_HEADER_BYTES];

    pthread_mutex_lock(&line->lock);
    /* Who asks without reading is not listened to; the watch, which ends sessions, never waits. */
    while (on_executor(line) && line->sending && line->front.len > BE_LINE_FULL_BYTES &&
           !line->closed)
        pthread_cond_wait(&line->turn, &line->lock);
    frame_close(line);
    header_make(line, (uint8_t)kind, tag, bytes, header);
    gp_buf_append(&line->front, header, sizeof(header));
    gp_buf_append(&line->front, payload, bytes);
    if (gp_buf_status(&line->front) != GP_OK)
        line->closed = true;
    pthread_mutex_unlock(&line->lock);
}

/* -- records
 * --------------------------------------------------------------------------------------- */

/* Room for a record in a frame of kind; the lock is held on return, but on NULL. */
static uint8_t *
record_begin(struct be_line *line, enum wire_frame_kind kind, const struct wire_record *record)
{
    uint8_t *to;

    pthread_mutex_lock(&line->lock);
    while (line->sending && line->front.len > BE_LINE_FULL_BYTES && !line->closed)
        pthread_cond_wait(&line->turn, &line->lock);
    if (line->closed || record->bytes > line->max_payload_bytes) {
        pthread_mutex_unlock(&line->lock);
        return NULL;
    }
    if (line->open_kind != kind ||
        line->front.len - line->open_at - WIRE_FRAME_HEADER_BYTES + record->bytes >
            line->max_payload_bytes) {
        frame_close(line);
        if (gp_buf_reserve(&line->front, WIRE_FRAME_HEADER_BYTES) != NULL) {
            line->open_at = line->front.len;
            line->front.len += WIRE_FRAME_HEADER_BYTES;
            line->open_kind = (uint8_t)kind;
            line->open_records = 0;
        }
    }
    to = gp_buf_reserve(&line->front, record->bytes);
    if (to == NULL) {
        line->closed = true;
        pthread_mutex_unlock(&line->lock);
        log_error("session: no memory for an answer");
        return NULL;
    }
    memcpy(to, record, sizeof(*record));
    line->record_at = line->front.len;
    line->front.len += record->bytes;
    line->open_records++;
    return to + sizeof(*record);
}

static void
record_end(struct be_line *line)
{
    bool eager = !on_executor(line) || line->front.len > BE_LINE_EAGER_BYTES;

    if (eager && !line->sending)
        flush_locked(line);
    pthread_mutex_unlock(&line->lock);
}

uint8_t *
be_reply_begin(const struct be_call *call, CUresult cr, size_t bytes)
{
    struct be_line *line = call->session->line;
    struct wire_result result = {.result = (int32_t)cr};
    struct wire_record record = {
        .bytes = (uint32_t)(sizeof(struct wire_record) + sizeof(struct wire_result) + bytes),
        .call = call->id,
        .tag = call->tag,
    };
    uint8_t *to;

    if (bytes > WIRE_RECORD_BYTES_MAX)
        return NULL;
    if (cr != CUDA_SUCCESS && cr != CUDA_ERROR_NOT_READY)
        be_count(call->session->row, BE_COUNT_ERRORS, 1);
    if (record.bytes > line->max_payload_bytes) {
        /* The client said that it cannot take frames as long as this answer. */
        be_reply_plain(call, CUDA_ERROR_NOT_SUPPORTED);
        return NULL;
    }
    to = record_begin(line, WIRE_FRAME_REPLY, &record);
    if (to == NULL)
        return NULL;
    result.deferred = line->deferred;
    result.deferred_call = line->deferred_call;
    result.deferred_context = line->deferred_context;
    line->deferred = 0;
    line->deferred_call = 0;
    memcpy(to, &result, sizeof(result));
    return to + sizeof(result);
}

void
be_reply_end(const struct be_call *call)
{
    record_end(call->session->line);
}

void
be_reply_plain(const struct be_call *call, CUresult cr)
{
    if (be_reply_begin(call, cr, 0) != NULL)
        be_reply_end(call);
}

uint8_t *
be_notice_begin(struct be_session *session, uint16_t id, uint32_t tag, size_t bytes)
{
    struct wire_record record = {
        .bytes = (uint32_t)(sizeof(record) + bytes), .call = id, .tag = tag};

    return record_begin(session->line, WIRE_FRAME_NOTICE, &record);
}

void
be_notice_end(struct be_session *session)
{
    record_end(session->line);
}

void
be_flush(struct be_session *session)
{
    be_line_flush(session->line);
}

void
be_defer(const struct be_call *call, CUresult cr)
{
    struct be_line *line = call->session->line;

    be_count(call->session->row, BE_COUNT_ERRORS, 1);
    pthread_mutex_lock(&line->lock);
    if (line->deferred == 0) {
        line->deferred = (int32_t)cr;
        line->deferred_call = call->id;
        line->deferred_context = call->context != NULL ? call->context->index : 0;
    }
    pthread_mutex_unlock(&line->lock);
}

/* Errors that break a context until it is destroyed. */
static bool
is_sticky(int32_t result)
{
    switch (result) {
    case CUDA_ERROR_ILLEGAL_ADDRESS:
    case CUDA_ERROR_ASSERT:
    case CUDA_ERROR_HARDWARE_STACK_ERROR:
    case CUDA_ERROR_ILLEGAL_INSTRUCTION:
    case CUDA_ERROR_MISALIGNED_ADDRESS:
    case CUDA_ERROR_INVALID_ADDRESS_SPACE:
    case CUDA_ERROR_INVALID_PC:
    case CUDA_ERROR_LAUNCH_FAILED:
    case CUDA_ERROR_LAUNCH_TIMEOUT:
    case CUDA_ERROR_ECC_UNCORRECTABLE:
        return true;
    default:
        return false;
    }
}

CUresult
be_ended(CUresult cr)
{
    return is_sticky((int32_t)cr) ? CUDA_SUCCESS : cr;
}

void
be_defer_forget_sticky(struct be_session *session)
{
    struct be_line *line = session->line;

    pthread_mutex_lock(&line->lock);
    if (is_sticky(line->deferred)) {
        line->deferred = 0;
        line->deferred_call = 0;
    }
    pthread_mutex_unlock(&line->lock);
}

bool
be_client_look(struct be_session *session, uint64_t *beat_ns_p)
{
    struct be_line *line = session->line;
    struct pollfd polled = {.events = POLLRDHUP};
    uint64_t now = gp_now_ns();

    if (now - *beat_ns_p > BE_BEAT_NS) {
        *beat_ns_p = now;
        be_line_frame(line, WIRE_FRAME_PONG, 0, NULL, 0);
        be_line_flush(line);
    }

    if (be_line_closed(line))
        return false;
    if (line->lane == NULL)
        return true;
    polled.fd = tp_end_fd(line->lane);
    return poll(&polled, 1, 0) <= 0 || polled.revents == 0;
}

/* -- data
 * ------------------------------------------------------------------------------------------- */

static bool
data_copied(struct be_line *line, uint32_t data, const struct wire_data *head, const void *payload,
            size_t bytes)
{
    uint8_t header[WIRE_FRAME_HEADER_BYTES];
    bool ok;

    pthread_mutex_lock(&line->lock);
    while (line->sending && line->front.len > BE_LINE_FULL_BYTES && !line->closed)
        pthread_cond_wait(&line->turn, &line->lock);
    frame_close(line);
    header_make(line, WIRE_FRAME_DATA, data, sizeof(*head) + bytes, header);
    gp_buf_append(&line->front, header, sizeof(header));
    gp_buf_append(&line->front, head, sizeof(*head));
    gp_buf_append(&line->front, payload, bytes);
    if (gp_buf_status(&line->front) != GP_OK)
        line->closed = true;
    ok = !line->closed;
    if (line->front.len > BE_LINE_EAGER_BYTES && !line->sending)
        flush_locked(line);
    pthread_mutex_unlock(&line->lock);
    return ok;
}

/* A frame's bytes, one of these. */
struct data_from {
    const struct iovec *lent; /* to be settled */
    const struct tp_fill *fill;
    const struct tp_direct *direct;
};

static size_t
data_bytes(const struct data_from *from)
{
    return from->fill != NULL     ? from->fill->bytes
           : from->direct != NULL ? from->direct->bytes
                                  : from->lent->iov_len;
}

/* With sending set: what was gathered before, and the frame. */
static enum gp_status
data_frame(struct be_line *line, const uint8_t *header, const struct wire_data *head,
           const struct data_from *from)
{
    struct iovec iov[4] = {
        {line->back.data, line->back.len},
        {(void *)(uintptr_t)header, WIRE_FRAME_HEADER_BYTES},
        {(void *)(uintptr_t)head, sizeof(*head)},
    };
    int skip = line->back.len == 0;

    if (line->lane == NULL)
        return GP_OK;
    if (from->fill != NULL)
        return tp_send_filled(line->lane, iov + skip, 3 - skip, from->fill, GP_FOREVER);
    if (from->direct != NULL)
        return tp_send_direct(line->lane, iov + skip, 3 - skip, from->direct, GP_FOREVER);
    iov[3] = *from->lent;
    return tp_send_lent(line->lane, iov + skip, 4 - skip, from->lent, 1, GP_FOREVER);
}

static bool
data_direct(struct be_line *line, uint32_t data, const struct wire_data *head,
            const struct data_from *from)
{
    size_t bytes = data_bytes(from);
    uint8_t header[WIRE_FRAME_HEADER_BYTES];
    enum gp_status status;
    struct gp_buf full;

    pthread_mutex_lock(&line->lock);
    while (line->sending)
        pthread_cond_wait(&line->turn, &line->lock);
    if (line->closed) {
        pthread_mutex_unlock(&line->lock);
        return false;
    }
    frame_close(line);
    full = line->front;
    line->front = line->back;
    line->back = full;
    header_make(line, WIRE_FRAME_DATA, data, sizeof(*head) + bytes, header);
    line->sending = true;
    pthread_mutex_unlock(&line->lock);

    status = data_frame(line, header, head, from);

    pthread_mutex_lock(&line->lock);
    line->sending = false;
    gp_buf_reset(&line->back);
    if (status != GP_OK)
        line->closed = true;
    flush_locked(line);
    pthread_mutex_unlock(&line->lock);
    return status == GP_OK;
}

static bool
data_piece(struct be_line *line, uint32_t data, const struct wire_data *head, const void *payload,
           size_t bytes)
{
    const struct iovec lent = {(void *)(uintptr_t)payload, bytes};

    return bytes <= BE_LINE_COPIED_BYTES
               ? data_copied(line, data, head, payload, bytes)
               : data_direct(line, data, head, &(struct data_from){.lent = &lent});
}

/* pack_lock held. Packed bytes in pack_room; false where that does not pay. */
static bool
data_pack(struct be_line *line, const void *payload, size_t bytes, size_t *packed_p)
{
    if (bytes > GP_PACK_PIECE_MAX || !gp_pack_probe(&line->pack, payload, bytes))
        return false;
    if (line->pack_room == NULL)
        line->pack_room = malloc(GP_PACK_PIECE_MAX);
    return line->pack_room != NULL && gp_pack_piece(&line->pack, payload, bytes, line->pack_room,
                                                    GP_PACK_PIECE_MAX, packed_p) == GP_OK;
}

/* What was lent is the caller's again. */
static bool
settle(struct be_line *line, const void *payload, size_t bytes)
{
    if (bytes <= BE_LINE_COPIED_BYTES || line->lane == NULL ||
        tp_settle(line->lane, payload, bytes) == GP_OK)
        return true;
    log_error("session: no memory to keep what is sent");
    be_line_end(line);
    tp_shutdown(line->lane); /* nothing of it is sent again */
    return false;
}

/* As data_piece(), packed where the line is slower than packing; learns how fast it is. */
static bool
data_piece_packed(struct be_line *line, uint32_t data, const struct wire_data *head,
                  const void *payload, size_t bytes)
{
    struct wire_data piece = *head;
    uint64_t begin;
    size_t packed;
    bool ok;

    if (pthread_mutex_trylock(&line->pack_lock) != 0)
        return data_piece(line, data, head, payload, bytes);
    if (data_pack(line, payload, bytes, &packed)) {
        piece.flags |= WIRE_DATA_PACKED;
        piece.result = (int32_t)bytes;
        payload = line->pack_room;
        bytes = packed;
    }
    begin = gp_now_ns();
    ok = data_piece(line, data, &piece, payload, bytes);
    gp_pack_sent(&line->pack, bytes, gp_now_ns() - begin);
    if (payload == line->pack_room && !settle(line, payload, bytes))
        ok = false;
    pthread_mutex_unlock(&line->pack_lock);
    return ok;
}

bool
be_data_kept(struct be_session *session)
{
    const struct tp_lane *lane = session->line->lane;

    return lane != NULL && tp_link_is(lane) && strcmp(tp_scheme(lane), "shm") != 0;
}

bool
be_data_plain(const struct be_session *session)
{
    const struct tp_lane *lane = session->line->lane;

    return lane != NULL && strcmp(tp_scheme(lane), "rdma") != 0;
}

bool
be_data_takes(struct be_session *session, const void *at, size_t bytes, char *why)
{
    const struct be_line *line = session->line;

    return line->lane != NULL && tp_takes_device(line->lane, at, bytes, why);
}

bool
be_data_fills(const struct be_session *session)
{
    const struct tp_lane *lane = session->line->lane;

    return lane != NULL && tp_fills(lane);
}

size_t
be_data_most(const struct be_session *session)
{
    return session->line->max_payload_bytes - sizeof(struct wire_data);
}

bool
be_data_fill(struct be_session *session, uint32_t data, const struct wire_data *head,
             const struct tp_fill *fill)
{
    return data_direct(session->line, data, head, &(struct data_from){.fill = fill});
}

bool
be_data_send_direct(struct be_session *session, uint32_t data, const struct wire_data *head,
                    const struct tp_direct *direct)
{
    return data_direct(session->line, data, head, &(struct data_from){.direct = direct});
}

void
be_data_settle(struct be_session *session, const void *payload, size_t bytes)
{
    (void)settle(session->line, payload, bytes);
}

bool
be_data_send(struct be_session *session, uint32_t data, const struct wire_data *head,
             const void *payload, size_t bytes)
{
    return be_data_send_lent(session, data, head, payload, bytes) &&
           settle(session->line, payload, bytes);
}

bool
be_data_send_lent(struct be_session *session, uint32_t data, const struct wire_data *head,
                  const void *payload, size_t bytes)
{
    struct be_line *line = session->line;
    size_t most = line->max_payload_bytes - sizeof(*head);
    const uint8_t *at = payload != NULL ? payload : (const uint8_t *)"";
    size_t done = 0;
    bool ok;

    do {
        struct wire_data piece = *head;
        size_t now = gp_min_u64(bytes - done, most);

        piece.offset += done;
        if (done + now < bytes)
            piece.flags &= ~WIRE_DATA_LAST;
        if (line->packs && now > BE_LINE_COPIED_BYTES)
            ok = data_piece_packed(line, data, &piece, at + done, now);
        else
            ok = data_piece(line, data, &piece, at + done, now);
        done += now;
    } while (ok && done < bytes);
    return ok;
}
