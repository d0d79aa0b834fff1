/* backend/session/session.c -- frames in, calls out to the driver */
#include "backend/session/session.h"

#include "backend/cuda/callback.h"
#include "backend/cuda/jobs.h"
#include "backend/cuda/module.h"
#include "backend/cuda/pace.h"
#include "backend/cuda/put.h"
#include "backend/cuda/relay.h"
#include "backend/cuda/stay.h"
#include "backend/cuda/trace.h"
#include "backend/memory/swap.h"
#include "backend/session/agent.h"
#include "backend/session/bulk.h"
#include "backend/session/count.h"
#include "be_hooks.h"
#include "protocol/base/log.h"
#include "protocol/base/util.h"
#include "protocol/wire/codec.h"

#include <sched.h>
#include <stdlib.h>
#include <string.h>

#define BE_WAITERS_MAX 256

/* -- what the reaper tells ------------------------------------------------------------------------
 */

static void
memory_freed(void *user, int32_t device, const uint64_t *addresses, uint32_t count)
{
    struct be_session *session = user;
    struct wire_gpNoticeFreed_args args = {
        .device = device, .addresses = addresses, .addresses_len = count};

    BE_NOTICE(session, gpNoticeFreed, 0, &args);
}

static void
lease_answer(const struct be_call *call, CUresult cr, const struct be_space_answer *answer)
{
    struct wire_gpLease_reply reply = {.granted = answer->granted_bytes};
    uint8_t *to = be_reply_begin(call, cr, wire_size_gpLease_reply(&reply));

    if (to == NULL)
        return;
    wire_put_gpLease_reply(to, &reply);
    be_reply_end(call);
}

static void
info_answer(const struct be_call *call, CUresult cr, const struct be_space_answer *answer)
{
    struct wire_cuMemGetInfo_v2_reply reply = {.free = answer->free_bytes,
                                               .total = answer->total_bytes};
    uint8_t *to = be_reply_begin(call, cr, wire_size_cuMemGetInfo_v2_reply(&reply));

    if (to == NULL)
        return;
    wire_put_cuMemGetInfo_v2_reply(to, &reply);
    be_reply_end(call);
}

static void
memory_answered(void *user, uint64_t ticket, CUresult cr, const struct be_space_answer *answer)
{
    struct be_session *session = user;
    struct be_call call = {.session = session,
                           .driver = &session->driver->table,
                           .id = (uint16_t)(ticket >> 32),
                           .tag = (uint32_t)ticket};

    if (call.id == WIRE_CALL_gpLease)
        lease_answer(&call, cr, answer);
    else
        info_answer(&call, cr, answer);
}

/* -- life
 * ------------------------------------------------------------------------------------------ */

/* Addresses for sixteen times the memory there is: holes do not matter, and a program may reserve
 * more than it has several times over (an allocator with segments that grow does, for each of its
 * streams). */
static uint64_t
range_bytes(const struct be_driver *driver)
{
    uint64_t bytes = 0;

    for (int i = 0; i < driver->device_count; i++) {
        size_t total = 0;
        CUdevice device;

        if (driver->table.cuDeviceGet(&device, i) == CUDA_SUCCESS &&
            driver->table.cuDeviceTotalMem_v2(&total, device) == CUDA_SUCCESS)
            bytes += total;
    }
    bytes = gp_align_up_u64(bytes * 16, 1ull << 30);
    return gp_min_u64(gp_max_u64(bytes, 256ull << 30), 6ull << 40);
}

static void
session_free(struct be_session *session)
{
    be_promises_close(session);
    be_agent_stop(session->agent);
    be_waits_destroy(session->notices);
    be_waits_destroy(session->waits);
    be_share_destroy(session->share);
    be_puts_destroy(session->puts);
    be_space_destroy(session->space);
    be_handles_fini(&session->handles);
    be_uploads_destroy(session);
    free(session->globals);
    free(session->frame);
    gp_buf_fini(&session->scratch);
    free(session->trace);
    gp_buf_fini(&session->scratch_text);
    be_jobs_destroy(session);
    pthread_mutex_destroy(&session->callbacks_lock);
    pthread_cond_destroy(&session->callbacks_done);
    pthread_mutex_destroy(&session->graphs_lock);
    pthread_mutex_destroy(&session->print_lock);
    be_tail_fini(&session->printed);
    free(session);
}

enum gp_status
be_session_create(const struct be_session_config *config, struct be_line *line,
                  struct be_session **session_p)
{
    struct be_session *session = calloc(1, sizeof(*session));
    struct be_space_events events = {
        .user = session, .freed = memory_freed, .answered = memory_answered};
    enum gp_status status;

    if (session == NULL)
        return GP_ERR_NO_MEMORY;
    session->driver = config->driver;
    session->limits = config->limits;
    session->line = line;
    session->ledger = config->ledger;
    session->row = config->row;
    session->hidden = config->hidden;
    be_tail_init(&session->printed, config->print_fd);
    session->images.socket = config->images_fd;
    session->fresh_tail = &session->fresh;
    be_handles_init(&session->handles);
    be_jobs_init(session);
    be_direct_init(session);
    be_pages_init(&session->pages, &config->driver->table);
    pthread_mutex_init(&session->callbacks_lock, NULL);
    pthread_cond_init(&session->callbacks_done, NULL);
    pthread_mutex_init(&session->graphs_lock, NULL);
    pthread_mutex_init(&session->print_lock, NULL);
    status = be_puts_create(session, &session->puts);
    if (status == GP_OK)
        status = be_waits_create(config->driver, BE_WAITERS_MAX, &session->waits);
    if (status == GP_OK)
        status = be_waits_create(config->driver, 1, &session->notices);
    if (status == GP_OK)
        status = be_space_create(config->driver, config->device_base_hint,
                                 config->range_bytes != 0 ? config->range_bytes
                                                          : range_bytes(config->driver),
                                 &events, &session->space);
    if (status == GP_OK) {
        be_space_set_ledger(session->space, session->ledger);
        be_space_set_direct(session->space, session->limits.direct);
        be_space_set_scrub(session->space, config->scrub && be_ledger_governed(session->ledger));
        if (be_ledger_paged(session->ledger)) {
            struct be_swap_opts swap = config->swap;

            swap.row = session->row;
            status = be_swap_on(session->space, &swap);
        }
    }
    if (status == GP_OK)
        status = be_stay_start(session, config->evict_every);
    if (status == GP_OK) {
        status = be_agent_start(session, &session->agent);
    }
    if (status != GP_OK) {
        be_stay_stop(session);
        session_free(session);
        return status;
    }
    *session_p = session;
    return GP_OK;
}

/* Libraries belong to no context, so they are left when the contexts are gone. */
static void
libraries_destroy(struct be_session *session)
{
    uint32_t highest = be_handles_highest(&session->handles, WIRE_HANDLE_LIBRARY);

    for (uint32_t i = 1; i <= highest; i++) {
        struct be_handle_slot *slot = be_handles_at(&session->handles, WIRE_HANDLE_LIBRARY, i);

        if (slot != NULL)
            be_owner_destroy(session, slot->object);
    }
}

void
be_session_destroy(struct be_session *session)
{
    if (session == NULL)
        return;
    be_callbacks_close(session);
    be_relays_end(session, NULL);
    be_puts_end(session, NULL);
    be_parked_hand_over(session);
    be_waits_drain(session->waits, NULL);
    be_agent_stop(session->agent);
    session->agent = NULL;
    be_stay_stop(session);
    be_contexts_destroy(session);
    libraries_destroy(session);
    be_pace_destroy(session);
    be_pages_destroy(session);
    be_waits_drain(session->notices, NULL);
    be_callbacks_destroy(session);
    be_events_destroy(session);
    session_free(session);
}

/* -- rows
 * ------------------------------------------------------------------------------------------ */

void
be_malformed(const struct be_call *call)
{
    atomic_store_explicit(&call->session->broken, true, memory_order_relaxed);
}

static const char *
record_check(const struct wire_record *record, const uint8_t *body, size_t len)
{
    const struct wire_call_info *info;

    if (record->call >= WIRE_CALL_COUNT || wire_calls[record->call].name == NULL ||
        wire_calls[record->call].notice || be_dispatch[record->call] == NULL)
        return "a call that is not in the server's set";
    info = &wire_calls[record->call];
    if (record->flags != 0)
        return "flags that nobody defined";
    if (info->sync != (record->tag != 0))
        return info->sync ? "a call without the tag that its reply needs"
                          : "a tag on a call without reply";
    if (!info->check(body, len))
        return "arguments that do not fit their call";
    return NULL;
}

CUresult
be_record_enter(struct be_session *session, const struct wire_record *record, struct be_call *call)
{
    struct be_handle_slot *slot;

    *call = (struct be_call){
        .session = session,
        .driver = &session->driver->table,
        .id = record->call,
        .tag = record->tag,
    };
    be_count(session->row, be_count_class(record->call), 1);
    if (record->tag != 0)
        be_count(session->row, BE_COUNT_WAITS, 1);
    if (!wire_calls[record->call].context)
        return CUDA_SUCCESS;
    slot = be_handles_at(&session->handles, WIRE_HANDLE_CONTEXT, record->context);
    if (slot == NULL)
        return CUDA_ERROR_INVALID_CONTEXT;
    call->context = slot->object;
    return be_use_context(session, call->context);
}

static void
record_refuse(const struct be_call *call, CUresult cr)
{
    if (call->tag != 0)
        be_reply_plain(call, cr);
    else
        be_defer(call, cr);
}

/* In the session's turn, with its memory there; false: nobody is there to hear of it. */
static bool
record_call(struct be_call *call, const struct wire_record *record, const uint8_t *body, size_t len)
{
    struct be_pace_pass pass;

    if (record->call == WIRE_CALL_cuLaunchKernelEx &&
        be_quick_pass(&call->session->quick, call->context)) {
        be_dispatch[record->call](call, body, len);
        return true;
    }
    switch (be_pace_enter(call, record, body, len, &pass)) {
    case BE_STAY_GONE:
        return false;
    case BE_STAY_REFUSED:
        record_refuse(call, CUDA_ERROR_OUT_OF_MEMORY);
        return true;
    default:
        break;
    }
    be_dispatch[record->call](call, body, len);
    be_pace_leave(&pass);
    return true;
}

static void
record_run(struct be_session *session, const struct wire_record *record, const uint8_t *body,
           size_t len)
{
    uint64_t begin_ns = GP_UNLIKELY(session->trace != NULL) ? gp_now_ns() : 0;
    struct be_call call;
    CUresult cr = be_record_enter(session, record, &call);

    if (cr != CUDA_SUCCESS)
        record_refuse(&call, cr);
    else if (!record_call(&call, record, body, len))
        return;
    if (GP_UNLIKELY(session->trace != NULL) && begin_ns != 0)
        be_trace_add(session, record->call, begin_ns);
}

enum gp_status
be_session_feed(struct be_session *session, const uint8_t *row, size_t bytes, const char **why_p)
{
    struct wire_record record;
    const uint8_t *at = row, *body;
    size_t left = bytes, len;
    bool bad = false;

    while (wire_next_record(&at, &left, &record, &body, &len, &bad)) {
        *why_p = record_check(&record, body, len);
        if (*why_p != NULL)
            return GP_ERR_PROTOCOL;
    }
    if (bad) {
        *why_p = "a row that is cut";
        return GP_ERR_PROTOCOL;
    }
    while (wire_next_record(&row, &bytes, &record, &body, &len, &bad))
        record_run(session, &record, body, len);
    be_pace_flush(session);
    be_stay_leave(session);
    if (atomic_load_explicit(&session->broken, memory_order_relaxed)) {
        *why_p = "arguments that do not fit their call";
        return GP_ERR_PROTOCOL;
    }
    return GP_OK;
}

/* -- frames
 * ---------------------------------------------------------------------------------------- */

static void
session_lost(struct be_session *session, CUresult cr, const char *why)
{
    struct wire_gpNoticeLost_args args = {
        .result = (int32_t)cr, .reason = why, .reason_len = (uint32_t)strlen(why)};

    BE_NOTICE(session, gpNoticeLost, 0, &args);
}

/* Numbered frames come once and in their order, whatever happened to the line; 0: not numbered. */
static bool
number_follows(struct be_line *line, uint64_t seq)
{
    if (seq == 0)
        return true;
    if (seq <= line->received_seq)
        return false;
    line->received_seq = seq;
    return true;
}

struct loss {
    struct be_session *session;
    CUresult cr;
    const char *why;
};

static void
loss_say(void *user)
{
    const struct loss *loss = user;

    session_lost(loss->session, loss->cr, loss->why);
}

void
be_client_end(struct be_session *session, CUresult cr, const char *why)
{
    struct loss loss = {session, cr, why};

    log_warn("session: %s", why);
    if (cr == CUDA_ERROR_LAUNCH_TIMEOUT)
        atomic_store(&session->line->hopeless, true);
    /* The watch sees that it is over, and ends the process if need be. */
    be_line_farewell(session->line, loss_say, NULL, &loss);
}

void
be_client_tell(struct be_session *session, const char *text)
{
    struct wire_gpNoticeText_args args = {.text = text, .text_len = (uint32_t)strlen(text)};

    BE_NOTICE(session, gpNoticeText, 0, &args);
    be_flush(session);
}

void
be_frame_count(struct be_board_row *row, const struct tp_lane *lane, uint64_t now_ns)
{
    struct tp_stats stats;

    if (row == NULL)
        return;
    tp_stats(lane, &stats);
    be_board_row_frame(row, tp_scheme(lane), stats.bytes_received, stats.bytes_sent, now_ns);
}

/* False at the session's end, and then *code_p says why. */
static bool
frame_take(struct be_session *session, const struct tp_frame *frame, enum wire_control_code *code_p)
{
    struct wire_frame_header header;
    const char *why = NULL;

    if (wire_frame_decode(frame->header, WIRE_FRAME_PAYLOAD_MAX, &header) != GP_OK)
        why = "a header that is none";
    else if (!number_follows(session->line, header.seq))
        why = "a frame that was there before";
    if (why == NULL) {
        switch (header.kind) {
        case WIRE_FRAME_CALLS:
            if ((frame->payload_bytes > BE_BULK_MIN
                     ? be_bulk_take(session, frame->payload_bytes, &why)
                     : be_session_feed(session, frame->payload, frame->payload_bytes, &why)) ==
                GP_OK)
                return true;
            break;
        case WIRE_FRAME_PING:
            if (frame->payload_bytes <= WIRE_FRAME_PAYLOAD_MIN)
                be_line_frame(session->line, WIRE_FRAME_PONG, header.tag, frame->payload,
                              frame->payload_bytes);
            return true;
        case WIRE_FRAME_PONG:
        case WIRE_FRAME_ACK:
            return true;
        case WIRE_FRAME_BYE:
            *code_p = WIRE_CODE_OK;
            return false;
        default:
            why = "a frame of a kind that only the server sends";
            break;
        }
    }
    log_warn("session: the client broke the protocol: %s", why);
    session_lost(session, CUDA_ERROR_DEVICE_UNAVAILABLE, why);
    *code_p = WIRE_CODE_PROTOCOL;
    return false;
}

void
be_executor_wake(struct be_session *session)
{
    if (session->line->lane != NULL)
        tp_wake(session->line->lane);
}

/* Look at the line, at what other servers brought and at what is parked in turn, then leave what is
 * parked to the waiters. */
static enum gp_status
receive(struct be_session *session, struct tp_frame *frame)
{
    struct tp_lane *lane = session->line->lane;
    uint64_t give_up = gp_now_ns() + session->limits.spin_us * GP_NS_PER_US;
    enum gp_status status;

    for (;;) {
        bool parked = be_parked_poll(session), copied = be_puts_run(session);

        if (!parked && !copied)
            break;
        be_line_flush(session->line);
        status = tp_recv_frame_upto(lane, frame, BE_BULK_MIN, TP_NOW);
        if (status != GP_ERR_AGAIN && status != GP_ERR_TIMEOUT)
            return status;
        if (copied) /* the next block is there, or a wait for it is worth while */
            continue;
        if (gp_now_ns() > give_up)
            be_parked_hand_over(session); /* and once more: a wake-up may be past */
        else
            sched_yield();
    }
    be_line_flush(session->line);
    return tp_recv_frame_upto(lane, frame, BE_BULK_MIN, GP_FOREVER);
}

enum wire_control_code
be_session_run(struct be_session *session)
{
    enum wire_control_code code = WIRE_CODE_OK;
    struct tp_frame frame;
    enum gp_status status;
    uint64_t now_ns;

    session->line->executor = pthread_self();
    be_promises_tell(session);
    while (!be_line_closed(session->line)) {
        status = receive(session, &frame);
        if (status == GP_ERR_AGAIN || status == GP_ERR_TIMEOUT)
            continue;
        if (status == GP_ERR_PROTOCOL || status == GP_ERR_LIMIT)
            code = WIRE_CODE_PROTOCOL;
        now_ns = gp_now_ns();
        be_frame_count(session->row, session->line->lane, now_ns);
        if (status != GP_OK)
            break;
        atomic_store_explicit(&session->line->busy_since_ns, now_ns, memory_order_relaxed);
        if (!frame_take(session, &frame, &code))
            break;
        atomic_store_explicit(&session->line->busy_since_ns, 0, memory_order_relaxed);
    }
    be_frame_count(session->row, session->line->lane, gp_now_ns());
    if (code != WIRE_CODE_OK) {
        be_line_frame(session->line, WIRE_FRAME_BYE, code, NULL, 0);
        be_line_flush(session->line);
    }
    be_promises_close(session); /* the next session may begin as soon as the client hears the end */
    be_line_end(session->line);
    return code;
}
