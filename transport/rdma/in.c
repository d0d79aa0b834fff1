/* transport/rdma/in.c -- the receiver: messages into the ring, the ring to whoever reads
 *
 * The peer writes into the ring whenever it likes and says in each message what it likes. So the
 * counts are kept here, a message is believed only if they allow it, and bytes are looked at only
 * after they were copied out.
 *
 * Small messages that come when nothing else is here are found in memory, before their completions:
 * these must then be as memory was. The peer learns only of what both have told, so that no queue
 * can run over or dry while completions are not looked at.
 */
#include "protocol/base/log.h"
#include "transport/rdma/rdma_priv.h"

#include <arpa/inet.h>
#include <stdatomic.h>
#include <string.h>

#define LOOK_AT_ONCE 16
/* While small messages are expected: looks at memory, which cost less, for one at the queue. */
#define LOOKS_PER_POLL 4u
/* Of the ring and of the messages: so often the peer is told how far we are. */
#define CREDIT_SHARE 4u

static void
fail(struct tp_rdma_in *in, enum gp_status status)
{
    if (in->status == GP_OK)
        in->status = status;
}

static void
broke(struct tp_rdma *r, const char *what)
{
    log_warn("lane %s: the peer broke the rules of the ring: %s", r->s.lane.peer.address, what);
    fail(&r->in, GP_ERR_PROTOCOL);
}

static void
failed_work(struct tp_rdma *r, const struct ibv_wc *wc)
{
    log_info("lane %s: receive: %s", r->s.lane.peer.address, r->verbs->wc_status_str(wc->status));
    fail(&r->in, GP_ERR_IO);
}

/* -- messages -----------------------------------------------------------------------------------
 */

/* (Part of) what tells a piece has come, and is copied out before it is looked at. */
static bool
take_piece(struct tp_rdma *r, uint32_t bytes)
{
    struct tp_rdma_in *in = &r->in;
    uint32_t all = tp_rdma_piece_bytes(r->rail_count);
    uint64_t at = tp_rdma_place(in->tail, in->ring_bytes);

    if (in->bounce_mr == NULL || in->reads_max == 0 || bytes == 0 || bytes > all - in->told_bytes ||
        bytes > in->ring_bytes - at)
        return false;
    if (in->told_bytes == 0)
        in->edge = in->tail;
    memcpy(in->told_piece + in->told_bytes, in->ring + at, bytes);
    in->told_bytes += bytes;
    return in->told_bytes < all ||
           tp_rdma_piece_decode(in->told_piece, r->rail_count, &in->piece) == GP_OK;
}

void
tp_rdma_in_pass(struct tp_rdma_in *in)
{
    while (in->taken < in->came && in->ends[in->taken % TP_RDMA_MESSAGES] <= in->head) {
        in->taken++;
        in->found = false;
        if (in->taken < in->came && in->sealed[in->taken % TP_RDMA_MESSAGES])
            in->head += TP_RDMA_HEAD_BYTES;
    }
}

/* One more is here. */
static void
add_message(struct tp_rdma_in *in, uint32_t bytes, bool sealed)
{
    bool next = in->taken == in->came;

    in->tail += bytes;
    in->ends[in->came % TP_RDMA_MESSAGES] = in->tail;
    in->sealed[in->came++ % TP_RDMA_MESSAGES] = sealed;
    if (next && sealed)
        in->head += TP_RDMA_HEAD_BYTES;
    else if (next)
        tp_rdma_in_pass(in);
}

/* It was found, and nothing else is here. */
static void
add_found(struct tp_rdma_in *in)
{
    in->head = in->tail + TP_RDMA_HEAD_BYTES;
    in->tail = in->head + in->small_bytes;
    in->ends[in->came++ % TP_RDMA_MESSAGES] = in->tail;
}

static bool
could_be_sealed(const struct tp_rdma_in *in, uint32_t word, uint32_t bytes)
{
    return in->seeks && (word & (TP_RDMA_END | TP_RDMA_STRAIGHT)) == 0 &&
           bytes > TP_RDMA_HEAD_BYTES && bytes <= TP_RDMA_HEAD_BYTES + TP_RDMA_SMALL_MOST;
}

/* What was found in memory. */
static void
match_message(struct tp_rdma *r, uint32_t word)
{
    struct tp_rdma_in *in = &r->in;
    uint64_t end = in->ends[in->completed % TP_RDMA_MESSAGES];

    if (word != ((uint32_t)(end - in->sure) | TP_RDMA_SEALED)) {
        broke(r, "a message that is not as it was in memory");
        return;
    }
    in->sure = end;
    in->completed++;
}

static void
take_message(struct tp_rdma *r, const struct ibv_wc *wc)
{
    struct tp_rdma_in *in = &r->in;
    uint32_t word = ntohl(wc->imm_data);
    uint32_t bytes = word & ~(TP_RDMA_END | TP_RDMA_STRAIGHT | TP_RDMA_SEALED);

    if (wc->status != IBV_WC_SUCCESS) {
        failed_work(r, wc);
        return;
    }
    if (wc->opcode != IBV_WC_RECV_RDMA_WITH_IMM || (wc->wc_flags & IBV_WC_WITH_IMM) == 0)
        broke(r, "a message that is none");
    else if (in->told_bytes > 0 && (in->piece.bytes > 0 || (word & TP_RDMA_STRAIGHT) == 0))
        broke(r, "something behind a piece that was not read yet");
    else if (in->ended)
        broke(r, "something after the end");
    else if (word == 0)
        return; /* it shows that there is a way */
    else if (in->completed < in->came)
        match_message(r, word);
    else if (bytes > in->ring_bytes - (in->tail - in->head))
        broke(r, "more bytes than there is room for");
    else if (in->came - in->taken >= TP_RDMA_MESSAGES)
        broke(r, "more messages than there is room for");
    else if ((word & TP_RDMA_SEALED) != 0 && !could_be_sealed(in, word, bytes))
        broke(r, "a small message that is none");
    else if ((word & TP_RDMA_STRAIGHT) != 0 && !take_piece(r, bytes))
        broke(r, "a piece of memory that is none");
    else {
        add_message(in, bytes, (word & TP_RDMA_SEALED) != 0);
        in->sure = in->tail;
        in->completed++;
        in->ended = (word & TP_RDMA_END) != 0;
        if (bytes > 0)
            in->by_memory = (word & TP_RDMA_SEALED) != 0;
    }
}

static void
poll_queue(struct tp_rdma *r)
{
    struct tp_rdma_in *in = &r->in;
    struct ibv_wc wc[LOOK_AT_ONCE];
    int n = LOOK_AT_ONCE;

    while (n == LOOK_AT_ONCE && in->status == GP_OK &&
           (n = ibv_poll_cq(in->pair.came, LOOK_AT_ONCE, wc)) > 0) {
        in->armed = false;
        for (int i = 0; i < n && in->status == GP_OK; i++)
            take_message(r, &wc[i]);
        in->spent += (uint32_t)n;
    }
}

/* The next message is small and in memory, whole, and now in->small has it. */
static bool
find_message(struct tp_rdma_in *in)
{
    uint64_t at = tp_rdma_place(in->tail, in->ring_bytes), room = in->ring_bytes - at, word;
    uint32_t bytes;

    if (GP_UNLIKELY(room <= TP_RDMA_HEAD_BYTES))
        return false;
    atomic_signal_fence(memory_order_seq_cst); /* at memory, each time */
    bytes = tp_rdma_small_glance(in->tail, in->ring + at, &word);
    if (GP_LIKELY(bytes == 0) || bytes > room - TP_RDMA_HEAD_BYTES)
        return false;
    memcpy(in->small, in->ring + at, TP_RDMA_HEAD_BYTES + bytes);
    memcpy(in->small + 8, &word, sizeof(word));
    atomic_signal_fence(memory_order_seq_cst); /* nobody else writes there */
    if (!tp_rdma_small_whole(&in->key, in->tail, in->small, bytes))
        return false;
    in->small_bytes = bytes;
    in->found = true;
    in->by_memory = true;
    in->looks = 0;
    in->founds++;
    add_found(in);
    return true;
}

static bool
may_find(const struct tp_rdma_in *in)
{
    return in->seeks && in->taken == in->came && in->came - in->completed < TP_RDMA_AHEAD &&
           !in->ended && in->status == GP_OK;
}

/* At memory each time, at the queue whenever something may be there that memory does not show. */
static void
look(struct tp_rdma *r)
{
    struct tp_rdma_in *in = &r->in;

    if (GP_UNLIKELY(in->came - in->completed >= TP_RDMA_AHEAD))
        poll_queue(r);
    if (may_find(in) && find_message(in))
        return;
    if (!in->by_memory || in->looks++ % LOOKS_PER_POLL == 0 || tp_rdma_in_has(in))
        poll_queue(r);
}

/* -- credits ------------------------------------------------------------------------------------
 */

static bool
credit_due(const struct tp_rdma_in *in)
{
    return gp_min_u64(in->head, in->sure) - in->told >= in->ring_bytes / CREDIT_SHARE ||
           gp_min_u64(in->taken, in->completed) - in->told_messages >=
               TP_RDMA_MESSAGES / CREDIT_SHARE;
}

bool
tp_rdma_in_sent(struct tp_rdma *r)
{
    struct tp_rdma_in *in = &r->in;
    struct ibv_wc wc;

    if (ibv_poll_cq(in->pair.sent, 1, &wc) <= 0)
        return false;
    if (wc.wr_id == TP_RDMA_READ_ID)
        tp_rdma_read_ended(r, &wc);
    else
        in->credits_done++;
    if (wc.status != IBV_WC_SUCCESS)
        failed_work(r, &wc);
    return true;
}

static bool
credit_fits(struct tp_rdma *r)
{
    struct tp_rdma_in *in = &r->in;

    while (in->credits - in->credits_done >= TP_RDMA_CREDITS / 2 && tp_rdma_in_sent(r))
        ;
    return in->credits - in->credits_done < TP_RDMA_CREDITS && in->status == GP_OK;
}

static void
credit_send(struct tp_rdma *r)
{
    struct tp_rdma_in *in = &r->in;
    uint64_t read = gp_min_u64(in->head, in->sure);
    struct ibv_send_wr wr = {
        .opcode = IBV_WR_SEND_WITH_IMM,
        .imm_data = htonl((uint32_t)read),
        .send_flags = IBV_SEND_SIGNALED | IBV_SEND_SOLICITED,
    };
    struct ibv_send_wr *bad;

    in->owing = !credit_fits(r);
    /* The peer uses no more places than it was told of: so they are given back all at once. */
    if (!in->owing && tp_rdma_pair_expect(&in->pair, in->spent) != GP_OK)
        fail(in, GP_ERR_IO);
    if (in->owing || in->status != GP_OK)
        return;
    in->spent = 0;
    in->credits++;
    in->told = read;
    in->told_messages = gp_min_u64(in->taken, in->completed);
    if (ibv_post_send(in->pair.qp, &wr, &bad) == 0)
        return;
    log_info("lane %s: credit: %m", r->s.lane.peer.address);
    fail(in, GP_ERR_IO);
}

/* -- reading ------------------------------------------------------------------------------------
 */

/* How many of the next message are. */
static uint64_t
bytes_here(const struct tp_rdma_in *in)
{
    if (in->head >= (in->told_bytes > 0 ? in->edge : in->tail))
        return 0;
    return in->ends[in->taken % TP_RDMA_MESSAGES] - in->head;
}

static size_t
copy_out(struct tp_rdma_in *in, uint8_t *to, size_t most)
{
    size_t total = 0, here, n;

    while (total < most && (here = bytes_here(in)) > 0) {
        uint64_t at = tp_rdma_place(in->head, in->ring_bytes);

        n = gp_min_u64(most - total, here);
        if (in->found) {
            memcpy(to + total, in->small + TP_RDMA_HEAD_BYTES + in->small_bytes - here, n);
        } else {
            n = gp_min_u64(n, in->ring_bytes - at);
            memcpy(to + total, in->ring + at, n);
        }
        in->head += n;
        total += n;
        tp_rdma_in_pass(in);
    }
    return total;
}

static enum gp_status
nothing_here(struct tp_rdma_in *in)
{
    if (in->status != GP_OK)
        return in->status;
    if (in->ended)
        return GP_ERR_CLOSED;
    return in->gone ? GP_ERR_IO : GP_ERR_AGAIN;
}

static size_t
copy_into(struct tp_rdma_in *in, const struct iovec *iov, int iovcnt)
{
    size_t total = 0;

    for (; iovcnt > 0 && tp_rdma_in_has(in); iovcnt--, iov++)
        total += copy_out(in, iov->iov_base, iov->iov_len);
    return total;
}

/* What was found in memory, at once: 0 where it does not fit, or some of it was read. */
static size_t
copy_found(struct tp_rdma_in *in, const struct iovec *to)
{
    uint32_t bytes = in->small_bytes;

    if (bytes > to->iov_len || in->ends[in->taken % TP_RDMA_MESSAGES] - in->head != bytes)
        return 0;
    memcpy(to->iov_base, in->small + TP_RDMA_HEAD_BYTES, bytes);
    in->head += bytes;
    tp_rdma_in_pass(in);
    return bytes;
}

enum gp_status
tp_rdma_in_read(struct tp_rdma *r, const struct iovec *iov, int iovcnt, size_t *got_p)
{
    struct tp_rdma_in *in = &r->in;
    size_t total;

    look(r);
    *got_p = 0;
    if (!tp_rdma_in_has(in) && !in->owing) /* what there is to look for most of the time */
        return nothing_here(in);
    total = in->found && iovcnt > 0 ? copy_found(in, iov) : 0;
    if (total == 0)
        total = copy_into(in, iov, iovcnt);
    if (total == 0 && in->piece.bytes > 0 && in->status == GP_OK)
        total = tp_rdma_straight_read(r, iov, iovcnt);
    if (in->status == GP_OK && (in->owing || credit_due(in)))
        credit_send(r);
    *got_p = total;
    return total > 0 ? GP_OK : nothing_here(in);
}

enum gp_status
tp_rdma_in_read_direct(struct tp_rdma *r, const struct iovec *to, size_t *got_p, size_t *others_p)
{
    struct tp_rdma_in *in = &r->in;
    enum gp_status status = GP_OK;
    uint64_t here;

    look(r);
    here = bytes_here(in);
    *got_p = 0;
    *others_p = gp_min_u64(here, to->iov_len);
    if (here == 0 && in->piece.bytes == 0) {
        status = nothing_here(in);
    } else if (here == 0 && in->status == GP_OK && to->iov_len > 0) {
        *got_p = tp_rdma_direct_read(r, to);
        *others_p = *got_p == 0 ? gp_min_u64(in->piece.bytes, to->iov_len) : 0;
        if (*got_p == 0 && in->status != GP_OK)
            status = in->status;
    }
    if (in->status == GP_OK && (in->owing || credit_due(in)))
        credit_send(r);
    return status;
}

bool
tp_rdma_in_has(const struct tp_rdma_in *in)
{
    return in->piece.bytes > 0 || in->head < (in->told_bytes > 0 ? in->edge : in->tail);
}

bool
tp_rdma_in_arm(struct tp_rdma *r)
{
    struct tp_rdma_in *in = &r->in;

    in->looks = 0;
    poll_queue(r);
    if (in->status == GP_OK && credit_due(in))
        credit_send(r);
    if (!in->armed || in->owing) {
        tp_rdma_pair_arm(r, &in->pair, in->owing, true);
        in->armed = true;
        poll_queue(r);
        if (in->owing)
            credit_send(r);
    }
    if (!in->gone && tp_rdma_is_gone(r)) {
        in->gone = true; /* what it sent before has come by now */
        poll_queue(r);
        return true;
    }
    return tp_rdma_in_has(in) || in->ended || in->status != GP_OK;
}
