/* transport/rdma/reads.c -- the receiver's bulk: reading a piece of the peer's memory
 *
 * By the port of the rings, and where the piece and its destination are known there by each rail
 * too: whoever has room takes the next part, so that each carries what it can.
 */
#include "protocol/base/clock.h"
#include "protocol/base/log.h"
#include "transport/rdma/rdma_priv.h"

#include <poll.h>
#include <sched.h>
#include <string.h>

/* One read: several are under way, and a lost packet costs no more than this. */
#define READ_BYTES       (256u << 10)
#define READ_BYTES_LEAST (64u << 10)
/* Of a read's destination at once, so that whoever waits sees it move. */
#define TURN_BYTES (8u << 20)
/* Longer than a device tries. */
#define READ_NS (10 * GP_NS_PER_S)
/* A rail that stands still for so long is left out; not every device gives up by itself. */
#define RAIL_NS (4 * GP_NS_PER_S)
#define END_NS  (2 * GP_NS_PER_S)
/* Beside TP_RDMA_READ_ID: the first, empty one by a rail. */
#define TRY_ID 2u

/* What went wrong once with a device or its driver would with each lane: set for good. */
static atomic_bool broken;

bool
tp_rdma_reads_are_broken(void)
{
    return atomic_load_explicit(&broken, memory_order_relaxed);
}

/* -- one queue pair -----------------------------------------------------------------------------
 */

static bool
line_post(struct tp_rdma *r, struct tp_rdma_line *line, uint8_t *to, struct tp_rdma_span span)
{
    struct ibv_sge sge = {
        .addr = (uintptr_t)(to + span.offset), .length = span.bytes, .lkey = line->lkey};
    struct ibv_send_wr wr = {
        .wr_id = TP_RDMA_READ_ID,
        .sg_list = &sge,
        .num_sge = 1,
        .opcode = IBV_WR_RDMA_READ,
        .send_flags = IBV_SEND_SIGNALED,
        .wr.rdma = {.remote_addr = r->in.piece.address + span.offset, .rkey = line->rkey},
    };
    struct ibv_send_wr *bad;

    if (ibv_post_send(line->qp, &wr, &bad) != 0)
        return false;
    line->spans[(line->first + line->count++) % TP_RDMA_READS] = span;
    return true;
}

static struct tp_rdma_span
line_pop(struct tp_rdma_line *line)
{
    struct tp_rdma_span span = line->spans[line->first];

    line->first = (line->first + 1) % TP_RDMA_READS;
    line->count--;
    return span;
}

/* A line that is cut says nothing of reads; anything else would be the same on the next lane. */
void
tp_rdma_read_ended(struct tp_rdma *r, const struct ibv_wc *wc)
{
    (void)line_pop(&r->in.line);
    if (wc->status == IBV_WC_SUCCESS || wc->status == IBV_WC_WR_FLUSH_ERR ||
        wc->status == IBV_WC_RETRY_EXC_ERR || atomic_exchange(&broken, true))
        return;
    log_warn("lane %s: rdma: reading the peer's memory fails (%s): bulk goes through the rings "
             "from now on",
             r->s.lane.peer.address, r->verbs->wc_status_str(wc->status));
}

/* -- rails --------------------------------------------------------------------------------------
 */

/* Whether there is a way by it shows while the first pieces go without. */
static void
rail_try(struct tp_rdma *r, struct tp_rdma_rail *rail)
{
    struct ibv_send_wr wr = {
        .wr_id = TRY_ID, .opcode = IBV_WR_RDMA_READ, .send_flags = IBV_SEND_SIGNALED};
    struct ibv_send_wr *bad;

    rail->state = TP_RDMA_RAIL_TRIED;
    if (ibv_post_send(rail->pair.qp, &wr, &bad) != 0)
        tp_rdma_rail_fail(r, rail, "no empty read");
}

/* What is done; false if nothing is. What fails is read again, by whichever line has room. */
static bool
rail_look(struct tp_rdma *r, struct tp_rdma_rail *rail)
{
    struct tp_rdma_in *in = &r->in;
    struct tp_rdma_span span;
    struct ibv_wc wc;
    bool any = false;

    while (ibv_poll_cq(rail->pair.sent, 1, &wc) > 0) {
        any = true;
        if (wc.status == IBV_WC_SUCCESS && rail->state == TP_RDMA_RAIL_TRIED)
            rail->state = TP_RDMA_RAIL_GOOD;
        if (wc.status != IBV_WC_SUCCESS)
            tp_rdma_rail_fail(r, rail, r->verbs->wc_status_str(wc.status));
        if (wc.wr_id == TRY_ID)
            continue;
        span = line_pop(&rail->line);
        if (wc.status == IBV_WC_SUCCESS)
            rail->bytes += span.bytes;
        else
            in->redo[in->redos++] = span;
    }
    return any;
}

/* Those that this destination and this piece are known by. */
static void
rails_take_part(struct tp_rdma *r, uint8_t *to, size_t bytes,
                struct tp_cache_hold holds[TP_RDMA_RAILS])
{
    for (unsigned i = 0; i < r->rail_count; i++) {
        struct tp_rdma_rail *rail = &r->rails[i];
        struct tp_rdma_line *line = &rail->line;

        if (rail->state == TP_RDMA_RAIL_NEW)
            rail_try(r, rail);
        else
            (void)rail_look(r, rail);
        if (bytes < TP_RDMA_SPREAD_MIN || rail->state != TP_RDMA_RAIL_GOOD ||
            (r->in.piece.by >> i & 1) == 0 ||
            tp_cache_get(&rail->cache, to, bytes, false, &holds[i]) != TP_CACHE_HELD ||
            holds[i].bytes < bytes)
            continue;
        line->qp = rail->pair.qp;
        line->lkey = ((struct ibv_mr *)holds[i].entry->key)->lkey;
        line->rkey = r->in.piece.keys[i];
        line->most = rail->reads_max;
    }
}

static void
rails_let_go(struct tp_rdma *r, struct tp_cache_hold holds[TP_RDMA_RAILS])
{
    for (unsigned i = 0; i < r->rail_count; i++) {
        r->rails[i].line.most = 0;
        tp_cache_put(&r->rails[i].cache, &holds[i]);
    }
}

/* -- all of them --------------------------------------------------------------------------------
 */

static unsigned
under_way(const struct tp_rdma *r)
{
    unsigned n = r->in.line.count;

    for (unsigned i = 0; i < r->rail_count; i++)
        n += r->rails[i].line.count;
    return n;
}

static bool
look_all(struct tp_rdma *r)
{
    bool any = tp_rdma_in_sent(r);

    for (unsigned i = 0; i < r->rail_count; i++)
        if (r->rails[i].line.count > 0)
            any |= rail_look(r, &r->rails[i]);
    return any;
}

/* Sleep until something is done. False if the peer has gone instead. */
static bool
read_sleep(struct tp_rdma *r)
{
    struct tp_rdma_in *in = &r->in;
    struct pollfd p[2 + TP_RDMA_RAILS] = {
        {.fd = r->control_fd, .events = POLLRDHUP},
        {.fd = in->pair.channel->fd, .events = POLLIN},
    };
    nfds_t n = 2;
    bool shown = false;

    tp_rdma_pair_arm(r, &in->pair, true, true);
    in->armed = false; /* what shows that a message came is taken here */
    for (unsigned i = 0; i < r->rail_count; i++) {
        if (r->rails[i].line.count == 0)
            continue;
        tp_rdma_pair_arm(r, &r->rails[i].pair, true, false);
        p[n++] = (struct pollfd){.fd = r->rails[i].pair.channel->fd, .events = POLLIN};
    }
    if (look_all(r) || poll(p, n, 1000) <= 0)
        return true;
    for (nfds_t i = 1; i < n; i++)
        shown |= p[i].revents != 0;
    return shown || p[0].revents == 0;
}

/* The devices let go of all that is under way, and say so. */
static void
reads_end(struct tp_rdma *r)
{
    struct ibv_qp_attr attr = {.qp_state = IBV_QPS_ERR};
    uint64_t deadline_ns = gp_now_ns() + END_NS;

    if (r->in.status == GP_OK)
        r->in.status = GP_ERR_IO;
    if (r->verbs->modify_qp(r->in.pair.qp, &attr, IBV_QP_STATE) != 0)
        log_debug("lane %s: read: %m", r->s.lane.peer.address);
    for (unsigned i = 0; i < r->rail_count; i++)
        if (r->rails[i].line.count > 0)
            (void)tp_rdma_rail_stop(r, &r->rails[i]);
    while (under_way(r) > 0 && gp_now_ns() < deadline_ns)
        if (!look_all(r))
            sched_yield();
    if (under_way(r) > 0)
        log_error("lane %s: the device does not end a read", r->s.lane.peer.address);
}

static void
rails_give_up(struct tp_rdma *r)
{
    for (unsigned i = 0; i < r->rail_count; i++)
        if (r->rails[i].line.count > 0)
            tp_rdma_rail_fail(r, &r->rails[i], "it stands still");
}

/* Until one of those that are under way is over. */
static void
reads_await(struct tp_rdma *r)
{
    uint64_t begin = gp_now_ns(), waited;
    unsigned before = under_way(r);
    uint64_t spin_ns =
        atomic_load_explicit(&r->s.lane.spin_us, memory_order_relaxed) * GP_NS_PER_US;

    while (under_way(r) == before) {
        if (look_all(r))
            continue;
        waited = gp_now_ns() - begin;
        if (waited > RAIL_NS)
            rails_give_up(r);
        if (waited > READ_NS || (waited >= spin_ns && !read_sleep(r))) {
            r->in.status = GP_ERR_IO;
            return;
        }
    }
}

/* What is not under way yet. */
struct left {
    uint64_t next, bytes;
    uint32_t span; /* of a read */
};

static bool
span_next(struct tp_rdma_in *in, struct left *left, struct tp_rdma_span *span_p)
{
    if (in->redos > 0) {
        *span_p = in->redo[--in->redos];
        return true;
    }
    *span_p = (struct tp_rdma_span){left->next,
                                    (uint32_t)gp_min_u64(left->span, left->bytes - left->next)};
    left->next += span_p->bytes;
    return span_p->bytes > 0;
}

/* One more by each line that has room; false when none has or nothing is left. */
static bool
post_round(struct tp_rdma *r, uint8_t *to, struct left *left)
{
    struct tp_rdma_in *in = &r->in;
    struct tp_rdma_span span;
    bool posted = false;

    for (unsigned i = 0; i <= r->rail_count && in->status == GP_OK; i++) {
        struct tp_rdma_line *line = i == 0 ? &in->line : &r->rails[i - 1].line;

        if (line->count >= line->most || !span_next(in, left, &span))
            continue;
        posted = true;
        if (line_post(r, line, to, span))
            continue;
        in->redo[in->redos++] = span;
        if (i > 0) {
            tp_rdma_rail_fail(r, &r->rails[i - 1], "no read can be posted");
            continue;
        }
        log_info("lane %s: read: %m", r->s.lane.peer.address);
        in->status = GP_ERR_IO;
    }
    return posted;
}

/* So that each line has its share of what is short. */
static uint32_t
span_choose(const struct tp_rdma *r, size_t bytes)
{
    unsigned lines = 1;

    for (unsigned i = 0; i < r->rail_count; i++)
        lines += r->rails[i].line.most > 0;
    return lines == 1
               ? READ_BYTES
               : (uint32_t)gp_min_u64(READ_BYTES, gp_max_u64(READ_BYTES_LEAST, bytes / lines / 2));
}

static bool
read_all(struct tp_rdma *r, uint8_t *to, uint32_t lkey, size_t bytes)
{
    struct tp_rdma_in *in = &r->in;
    struct left left = {0, bytes, span_choose(r, bytes)};

    in->redos = 0;
    in->line.qp = in->pair.qp;
    in->line.lkey = lkey;
    in->line.rkey = in->piece.key;
    in->line.most = in->reads_max;
    for (;;) {
        while (in->status == GP_OK && post_round(r, to, &left))
            ;
        if (in->status != GP_OK)
            break;
        if (under_way(r) == 0)
            return true; /* the first line has room: so nothing is left */
        reads_await(r);
    }
    reads_end(r);
    return false;
}

static void
took(struct tp_rdma_in *in, size_t bytes)
{
    in->straight += bytes;
    in->piece.address += bytes;
    in->piece.bytes -= bytes;
    if (in->piece.bytes > 0)
        return;
    in->head = in->tail;
    in->told_bytes = 0;
    tp_rdma_in_pass(in);
    in->owing = true; /* the sender waits for it */
}

/* To where it belongs, which is kept. */
static bool
read_kept(struct tp_rdma *r, uint8_t *to, const struct tp_cache_hold *hold)
{
    struct tp_cache_hold holds[TP_RDMA_RAILS] = {0};
    bool ok;

    rails_take_part(r, to, hold->bytes, holds);
    ok = read_all(r, to, ((struct ibv_mr *)hold->entry->key)->lkey, hold->bytes);
    rails_let_go(r, holds);
    return ok;
}

size_t
tp_rdma_straight_read(struct tp_rdma *r, const struct iovec *iov, int iovcnt)
{
    struct tp_rdma_in *in = &r->in;
    struct tp_cache_hold hold = {0};
    size_t bytes;
    bool ok;

    for (; iovcnt > 0 && iov->iov_len == 0; iovcnt--)
        iov++;
    if (iovcnt == 0)
        return 0;
    bytes = gp_min_u64(gp_min_u64(iov->iov_len, in->piece.bytes), TURN_BYTES);
    if (bytes >= TP_STRAIGHT_MIN &&
        tp_cache_get(&r->cache, iov->iov_base, bytes, false, &hold) == TP_CACHE_HELD) {
        bytes = hold.bytes;
        ok = read_kept(r, iov->iov_base, &hold);
        tp_cache_put(&r->cache, &hold);
    } else {
        bytes = gp_min_u64(bytes, TP_RDMA_BOUNCE_BYTES);
        ok = read_all(r, in->bounce, in->bounce_mr->lkey, bytes);
        if (ok)
            memcpy(iov->iov_base, in->bounce, bytes);
    }
    if (!ok)
        return 0;
    took(in, bytes);
    return bytes;
}

size_t
tp_rdma_direct_read(struct tp_rdma *r, const struct iovec *to)
{
    size_t bytes = gp_min_u64(gp_min_u64(to->iov_len, r->in.piece.bytes), TURN_BYTES);
    struct tp_cache_hold hold = {0};
    bool ok;

    if (tp_cache_get(&r->cache, to->iov_base, bytes, false, &hold) != TP_CACHE_HELD)
        return 0;
    bytes = hold.bytes;
    ok = read_kept(r, to->iov_base, &hold);
    tp_cache_put(&r->cache, &hold);
    if (!ok)
        return 0;
    took(&r->in, bytes);
    r->in.straight_device += bytes;
    return bytes;
}
