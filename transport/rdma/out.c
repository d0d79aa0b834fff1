/* transport/rdma/out.c -- the sender: bytes into staging, staging into the peer's ring */
#include "protocol/base/clock.h"
#include "protocol/base/log.h"
#include "transport/rdma/rdma_priv.h"
#include "transport/walk.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <string.h>

/* One message at most: the device works on it while the next is copied. */
#define PIECE_BYTES (128u << 10)
/* Of staging and of messages: so often the device tells how far it is. */
#define TOLD_SHARE 8u
/* Of the peer's ring: a sleeping reader is woken for so much, and at the end of what there is. */
#define WAKE_SHARE 4u
/* For the last words to arrive. */
#define END_NS (1 * GP_NS_PER_S)

static enum gp_status
fail(struct tp_rdma *r, enum gp_status status)
{
    if (r->out.status == GP_OK)
        r->out.status = status;
    return r->out.status;
}

static enum gp_status
failed_work(struct tp_rdma *r, const struct ibv_wc *wc)
{
    if (r->out.status == GP_OK)
        log_info("lane %s: send: %s", r->s.lane.peer.address, r->verbs->wc_status_str(wc->status));
    return fail(r, GP_ERR_IO);
}

/* -- how far it is ------------------------------------------------------------------------------
 */

/* What the peer says it has read: never less than before, never more than was sent. */
static enum gp_status
take_credit(struct tp_rdma *r, const struct ibv_wc *wc)
{
    struct tp_rdma_out *o = &r->out;
    uint64_t read;

    if (wc->status != IBV_WC_SUCCESS)
        return failed_work(r, wc);
    read = tp_rdma_count(o->read, ntohl(wc->imm_data));
    if (wc->opcode != IBV_WC_RECV || (wc->wc_flags & IBV_WC_WITH_IMM) == 0 || read > o->at) {
        log_warn("lane %s: the peer has read bytes that were not sent", r->s.lane.peer.address);
        return fail(r, GP_ERR_PROTOCOL);
    }
    o->read = read;
    while (o->taken < o->posted && o->ends[o->taken % TP_RDMA_MESSAGES] <= read)
        o->taken++;
    return tp_rdma_pair_expect(&o->pair, 1) == GP_OK ? GP_OK : fail(r, GP_ERR_IO);
}

static enum gp_status
take_done(struct tp_rdma *r, const struct ibv_wc *wc)
{
    struct tp_rdma_out *o = &r->out;

    if (wc->status != IBV_WC_SUCCESS)
        return failed_work(r, wc);
    o->completed = wc->wr_id;
    o->done = o->ends[(wc->wr_id - 1) % TP_RDMA_MESSAGES];
    return GP_OK;
}

static enum gp_status
look(struct tp_rdma *r)
{
    struct tp_rdma_out *o = &r->out;
    struct ibv_wc wc;

    while (o->status == GP_OK && ibv_poll_cq(o->pair.came, 1, &wc) > 0)
        (void)take_credit(r, &wc);
    while (o->status == GP_OK && ibv_poll_cq(o->pair.sent, 1, &wc) > 0)
        (void)take_done(r, &wc);
    return o->status;
}

static uint64_t
messages_left(const struct tp_rdma_out *o)
{
    return o->messages - (o->posted - gp_min_u64(o->taken, o->completed));
}

/* How many bytes may go as one message, 0 for none; one message is kept for the end. */
static size_t
room(const struct tp_rdma_out *o)
{
    uint64_t staging_at = tp_rdma_place(o->at, o->staging_bytes);
    uint64_t ring_at = tp_rdma_place(o->at, o->ring_bytes);
    uint64_t n = PIECE_BYTES;

    if (messages_left(o) <= 1)
        return 0;
    n = gp_min_u64(n, o->staging_bytes - (o->at - o->done));
    n = gp_min_u64(n, o->ring_bytes - (o->at - o->read));
    n = gp_min_u64(n, o->staging_bytes - staging_at);
    return gp_min_u64(n, o->ring_bytes - ring_at);
}

/* So much that it is no use to look first how far the peer is. */
static bool
plenty(const struct tp_rdma_out *o)
{
    return o->status == GP_OK && !o->straight.posted && messages_left(o) > o->messages / 2 &&
           o->at - o->done <= o->staging_bytes / 2 && o->at - o->read <= o->ring_bytes / 2;
}

/* -- sending ------------------------------------------------------------------------------------
 */

/* told: the device tells when it is done; wake: the peer's reader is woken, if it sleeps. */
static enum gp_status
post(struct tp_rdma *r, size_t bytes, uint32_t word, bool told, bool wake)
{
    struct tp_rdma_out *o = &r->out;
    struct ibv_sge sge = {
        .addr = (uintptr_t)(o->staging + tp_rdma_place(o->at, o->staging_bytes)),
        .length = (uint32_t)bytes,
        .lkey = o->mr->lkey,
    };
    struct ibv_send_wr wr = {
        .wr_id = o->posted + 1,
        .sg_list = &sge,
        .num_sge = bytes > 0,
        .opcode = IBV_WR_RDMA_WRITE_WITH_IMM,
        .imm_data = htonl(word),
        .wr.rdma = {.remote_addr = o->ring_address + tp_rdma_place(o->at, o->ring_bytes),
                    .rkey = o->ring_key},
    };
    struct ibv_send_wr *bad;

    o->ends[o->posted % TP_RDMA_MESSAGES] = o->at + bytes;
    o->at += bytes;
    o->posted++;
    if (bytes <= o->inline_bytes)
        wr.send_flags |= IBV_SEND_INLINE;
    if (wake || o->at - o->woken_at >= o->ring_bytes / WAKE_SHARE || room(o) == 0) {
        wr.send_flags |= IBV_SEND_SOLICITED;
        o->woken_at = o->at;
    }
    if (told || o->at - o->told_at >= o->staging_bytes / TOLD_SHARE ||
        o->posted - o->told_posted >= o->messages / TOLD_SHARE) {
        wr.send_flags |= IBV_SEND_SIGNALED;
        o->told_at = o->at;
        o->told_posted = o->posted;
    }
    if (ibv_post_send(o->pair.qp, &wr, &bad) == 0)
        return GP_OK;
    log_info("lane %s: send: %m", r->s.lane.peer.address);
    return fail(r, GP_ERR_IO);
}

/* Up to most bytes into to; how many. */
static size_t
gather(struct tp_iov_walk *walk, uint8_t *to, size_t most)
{
    size_t total = 0, n;
    uint8_t *from;

    while (total < most && (n = tp_iov_next(walk, most - total, &from)) > 0) {
        memcpy(to + total, from, n);
        total += n;
    }
    return total;
}

/* Nothing fits: have the channel show when something does. */
static enum gp_status
wait_for_room(struct tp_rdma *r)
{
    tp_rdma_pair_arm(r, &r->out.pair, true, true);
    if (look(r) != GP_OK || room(&r->out) > 0)
        return r->out.status;
    return tp_rdma_is_gone(r) ? fail(r, GP_ERR_IO) : GP_ERR_AGAIN;
}

/* How much of what is told fits now. */
static uint64_t
room_for_telling(const struct tp_rdma_out *o)
{
    return messages_left(o) <= 3 ? 0
                                 : gp_min_u64(o->staging_bytes - (o->at - o->done),
                                              o->ring_bytes - (o->at - o->read));
}

/* In two messages where the ring ends in between. */
static enum gp_status
tell(struct tp_rdma *r)
{
    struct tp_rdma_out *o = &r->out;
    uint8_t bytes[TP_RDMA_PIECE_MOST];
    size_t all = tp_rdma_piece_bytes(r->rail_count), at = 0, n;
    enum gp_status status = GP_OK;

    tp_rdma_straight_tell(r, bytes);
    for (; at < all && status == GP_OK; at += n) {
        n = gp_min_u64(all - at, room(o));
        memcpy(o->staging + tp_rdma_place(o->at, o->staging_bytes), bytes + at, n);
        status = post(r, n, (uint32_t)n | TP_RDMA_STRAIGHT, true, at + n == all);
    }
    o->straight.posted = true;
    o->straight.end_at = o->at;
    o->straight.end_posted = o->posted;
    return status;
}

static bool
straight_over(const struct tp_rdma_out *o)
{
    return o->read >= o->straight.end_at && o->completed >= o->straight.end_posted;
}

/* GP_OK when the peer has read it, and with it all that was sent before. */
static enum gp_status
write_straight(struct tp_rdma *r, size_t *put_p)
{
    struct tp_rdma_out *o = &r->out;
    enum gp_status status = GP_OK;
    bool waited = false;

    *put_p = 0;
    for (; status == GP_OK; waited = true) {
        if (!o->straight.posted && room_for_telling(o) >= tp_rdma_piece_bytes(r->rail_count))
            status = tell(r);
        if (status == GP_OK && o->straight.posted && straight_over(o)) {
            *put_p = o->straight.bytes;
            tp_rdma_straight_done(r);
            return GP_OK;
        }
        if (status == GP_OK && waited)
            return tp_rdma_is_gone(r) ? fail(r, GP_ERR_IO) : GP_ERR_AGAIN;
        if (status == GP_OK) {
            tp_rdma_pair_arm(r, &o->pair, true, true);
            status = look(r);
        }
    }
    return status;
}

/*
 * What was told cannot be untold: the peer may read it just now, and must not succeed once the
 * memory is its owner's again, who changes it. So its reads find nobody here (which it takes for a
 * line that is cut), and then nothing that they were allowed.
 */
void
tp_rdma_out_take_back(struct tp_rdma *r)
{
    struct ibv_qp_attr attr = {.qp_state = IBV_QPS_ERR};

    if (!r->out.straight.posted)
        return;
    (void)fail(r, GP_ERR_IO);
    if (r->verbs->modify_qp(r->out.pair.qp, &attr, IBV_QP_STATE) != 0)
        log_debug("lane %s: take back: %m", r->s.lane.peer.address);
    /* What is opened for this piece only is closed with it; a device's memory stays open. */
    for (unsigned i = 0; i < r->rail_count; i++) {
        struct tp_rdma_rail *rail = &r->rails[i];

        if (rail->hold.entry == NULL || !rail->hold.entry->device)
            continue;
        atomic_store_explicit(&rail->bad, true, memory_order_relaxed);
        if (r->verbs->modify_qp(rail->pair.qp, &attr, IBV_QP_STATE) != 0)
            log_debug("lane %s: take back: %m", r->s.lane.peer.address);
    }
    tp_rdma_straight_drop(r);
}

/* Entries before the first one that goes straight. */
static int
staged_entries(struct tp_rdma *r, const struct iovec *iov, int iovcnt)
{
    int n = 0;

    while (n < iovcnt && tp_rdma_straight_bytes(r, iov[n].iov_base, iov[n].iov_len) == 0)
        n++;
    return n;
}

/* All of it is small: how many bytes, else 0. */
static size_t
small_bytes(const struct tp_rdma_out *o, const struct iovec *iov, int iovcnt)
{
    size_t total = 0;

    if (!o->seals || o->straight.posted)
        return 0;
    for (; iovcnt > 0; iovcnt--, iov++) {
        if (iov->iov_len > TP_RDMA_SMALL_MOST - total)
            return 0;
        total += iov->iov_len;
    }
    return total;
}

/* With plenty of room: whether it stands in a row there. */
static bool
in_a_row(const struct tp_rdma_out *o, size_t bytes)
{
    return tp_rdma_place(o->at, o->staging_bytes) + bytes <= o->staging_bytes &&
           tp_rdma_place(o->at, o->ring_bytes) + bytes <= o->ring_bytes;
}

/* As one message with a head, by which the peer finds it sooner. */
static enum gp_status
post_sealed(struct tp_rdma *r, const struct iovec *iov, int iovcnt, size_t bytes)
{
    struct tp_rdma_out *o = &r->out;
    uint8_t *message = o->staging + tp_rdma_place(o->at, o->staging_bytes);
    uint8_t *to = message + TP_RDMA_HEAD_BYTES;
    size_t all = TP_RDMA_HEAD_BYTES + bytes;

    for (; iovcnt > 0; to += iov->iov_len, iovcnt--, iov++)
        if (iov->iov_len > 0)
            memcpy(to, iov->iov_base, iov->iov_len);
    tp_rdma_small_seal(&o->key, o->at, message, (uint32_t)bytes);
    return post(r, all, (uint32_t)all | TP_RDMA_SEALED, false, true);
}

/* As long as there is room. */
static enum gp_status
write_staged(struct tp_rdma *r, struct tp_iov_walk walk, bool wake, size_t *put_p)
{
    struct tp_rdma_out *o = &r->out;
    enum gp_status status = room(o) > 0 ? GP_OK : wait_for_room(r);
    bool ended = false;
    size_t most, n;

    while (status == GP_OK && !ended && (most = room(o)) > 0) {
        n = gather(&walk, o->staging + tp_rdma_place(o->at, o->staging_bytes), most);
        ended = tp_iov_ended(&walk);
        if (n == 0)
            break;
        status = post(r, n, (uint32_t)n, false, ended && wake);
        *put_p += n;
        if (status == GP_OK && n == PIECE_BYTES)
            status = look(r);
    }
    return status;
}

/* What is not small: up to what goes straight, or that. */
static __attribute__((noinline)) enum gp_status
write_long(struct tp_rdma *r, const struct iovec *iov, int iovcnt, size_t *put_p)
{
    int staged = staged_entries(r, iov, iovcnt);

    if (iovcnt > 0 && staged == 0)
        return write_straight(r, put_p);
    return write_staged(r, (struct tp_iov_walk){iov, staged, 0}, staged == iovcnt, put_p);
}

enum gp_status
tp_rdma_out_write(struct tp_rdma *r, const struct iovec *iov, int iovcnt, size_t *put_p)
{
    struct tp_rdma_out *o = &r->out;
    bool much = plenty(o);
    enum gp_status status = much ? GP_OK : look(r);
    size_t small = small_bytes(o, iov, iovcnt), all = TP_RDMA_HEAD_BYTES + small;

    *put_p = 0;
    if (status == GP_OK && atomic_load_explicit(&r->s.ended, memory_order_relaxed))
        status = fail(r, GP_ERR_CLOSED);
    if (status != GP_OK)
        return status;
    if (small > 0 && (much ? in_a_row(o, all) : room(o) >= all)) {
        status = post_sealed(r, iov, iovcnt, small);
        *put_p = small;
    } else {
        status = write_long(r, iov, iovcnt, put_p);
    }
    if (status == GP_OK && *put_p > 0)
        (void)look(r); /* now that it is on its way */
    return status;
}

/* -- by itself ----------------------------------------------------------------------------------
 */

/* Until the peer's device has everything. */
static enum gp_status
await_done(struct tp_rdma *r, uint64_t deadline_ns)
{
    struct tp_rdma_out *o = &r->out;

    while (look(r) == GP_OK && o->completed < o->posted) {
        struct pollfd p[2] = {
            {.fd = o->pair.channel->fd, .events = POLLIN},
            {.fd = r->control_fd, .events = POLLRDHUP},
        };

        tp_rdma_pair_arm(r, &o->pair, true, true);
        if (look(r) != GP_OK || o->completed >= o->posted)
            break;
        if (poll(p, 2, gp_deadline_poll_ms(gp_now_ns(), deadline_ns)) == 0)
            return GP_ERR_TIMEOUT;
        if (p[1].revents != 0)
            return fail(r, GP_ERR_IO);
    }
    return o->status;
}

enum gp_status
tp_rdma_out_probe(struct tp_rdma *r, uint64_t deadline_ns)
{
    enum gp_status status = post(r, 0, 0, true, true);

    return status == GP_OK ? await_done(r, deadline_ns) : status;
}

void
tp_rdma_out_end(struct tp_rdma *r)
{
    uint64_t deadline_ns = gp_now_ns() + END_NS;

    if (look(r) != GP_OK || messages_left(&r->out) == 0 || tp_rdma_is_gone(r))
        return;
    if (post(r, 0, TP_RDMA_END, true, true) == GP_OK && await_done(r, deadline_ns) != GP_OK)
        log_debug("lane %s: closed without a word", r->s.lane.peer.address);
}
