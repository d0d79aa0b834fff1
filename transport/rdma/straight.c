/* transport/rdma/straight.c -- bulk from memory to memory, past the rings
 *
 * The sender says where a piece lies and what opens it; the receiver reads it and gives a credit
 * for what told it, so that the sender knows that the memory is its owner's again, and that the
 * peer has all that was sent before. The key opens the piece to the byte, until then.
 */
#include "protocol/base/clock.h"
#include "protocol/base/log.h"
#include "transport/rdma/rdma_priv.h"

#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <string.h>
#include <unistd.h>

/* One read: several are under way, and a lost packet costs no more than this. */
#define READ_BYTES (256u << 10)
/* Of a read's destination at once, so that whoever waits sees it move. */
#define TURN_BYTES (8u << 20)
/* Longer than a device tries. */
#define READ_NS (10 * GP_NS_PER_S)
#define END_NS  (2 * GP_NS_PER_S)
/* What a lane's device may hold of this machine's memory. */
#define MEMORY_SHARE 4u

/* What went wrong once with a device or its driver would with each lane: set for good. */
static atomic_bool broken;

/* -- what the device knows ----------------------------------------------------------------------
 */

static void *
key_add(void *user, void *base, size_t bytes, bool peer)
{
    const struct tp_rdma *r = user;

    return r->verbs->reg_mr(r->pd, base, bytes,
                            peer ? IBV_ACCESS_REMOTE_READ : IBV_ACCESS_LOCAL_WRITE);
}

static void
key_remove(void *user, void *key)
{
    const struct tp_rdma *r = user;

    if (r->verbs->dereg_mr(key) != 0)
        log_warn("lane %s: memory is not given back by the device", r->s.lane.peer.address);
}

static const struct tp_cache_ops keys = {.add = key_add, .remove = key_remove};

static struct ibv_mr *
mr_of(const struct tp_cache_hold *hold)
{
    return hold->entry->key;
}

bool
tp_rdma_straight_possible(const struct tp_rdma *r, uint32_t *reads_p)
{
    struct ibv_device_attr attr = {0};

    *reads_p = 0;
    if (atomic_load_explicit(&broken, memory_order_relaxed) || !r->verbs->copies_on_fork ||
        r->in.bounce_mr == NULL || r->verbs->query_device(r->context, &attr) != 0 ||
        attr.max_qp_rd_atom < 1 || attr.max_qp_init_rd_atom < 1)
        return false;
    *reads_p = (uint32_t)gp_min_u64(TP_RDMA_READS, gp_min_u64((uint64_t)attr.max_qp_rd_atom,
                                                              (uint64_t)attr.max_qp_init_rd_atom));
    return true;
}

void
tp_rdma_straight_begin(struct tp_rdma *r)
{
    uint64_t pages = (uint64_t)sysconf(_SC_PHYS_PAGES), page = (uint64_t)sysconf(_SC_PAGESIZE);

    tp_cache_init(&r->cache, &keys, r, pages * page / MEMORY_SHARE);
}

/* With the queue pairs gone, so that nothing is under way. */
void
tp_rdma_straight_end(struct tp_rdma *r)
{
    struct tp_rdma_straight *s = &r->out.straight;

    if (r->cache.ops == NULL)
        return;
    tp_cache_put(&r->cache, &s->hold);
    tp_cache_fini(&r->cache);
    if (s->total + r->in.straight > 0)
        log_info("lane %s: rdma: %llu KiB sent and %llu KiB received past the rings",
                 r->s.lane.peer.address, (unsigned long long)s->total >> 10,
                 (unsigned long long)r->in.straight >> 10);
}

static void
say_refused(const struct tp_rdma *r, size_t bytes)
{
    if (errno == ENOMEM || errno == EAGAIN || errno == EPERM)
        log_warn("lane %s: rdma: %zu KiB of pinned memory may not be locked, bulk goes through the "
                 "rings: raise the limit by ulimit -l, or LimitMEMLOCK= of the service",
                 r->s.lane.peer.address, bytes >> 10);
    else
        log_info("lane %s: rdma: memory cannot be registered, bulk goes through the rings: %m",
                 r->s.lane.peer.address);
}

/* -- the sender -----------------------------------------------------------------------------------
 */

size_t
tp_rdma_straight_bytes(struct tp_rdma *r, const void *at, size_t bytes)
{
    struct tp_rdma_straight *s = &r->out.straight;
    struct tp_cache_hold hold;

    if (GP_LIKELY(bytes < TP_STRAIGHT_MIN || s->off))
        return s->bytes > 0 && s->at == at ? gp_min_u64(s->bytes, bytes) : 0;
    if (s->bytes > 0 && (s->at == at || s->posted))
        return s->at == at ? s->bytes : 0;
    tp_cache_put(&r->cache, &s->hold); /* of one that was not sent */
    s->bytes = 0;
    switch (tp_cache_get(&r->cache, at, bytes, true, &hold)) {
    case TP_CACHE_HELD:
        s->hold = hold;
        s->at = at;
        s->bytes = hold.bytes;
        return s->bytes;
    case TP_CACHE_REFUSED:
        s->off = true;
        say_refused(r, bytes);
        return 0;
    case TP_CACHE_NOT_KEPT:
        break;
    }
    return 0;
}

void
tp_rdma_straight_tell(const struct tp_rdma *r, uint8_t out[TP_RDMA_PIECE_BYTES])
{
    const struct tp_rdma_straight *s = &r->out.straight;
    struct tp_rdma_piece piece = {
        .address = (uintptr_t)s->at, .bytes = s->bytes, .key = mr_of(&s->hold)->rkey};

    tp_rdma_piece_encode(&piece, out);
}

void
tp_rdma_straight_done(struct tp_rdma *r)
{
    struct tp_rdma_straight *s = &r->out.straight;

    tp_cache_put(&r->cache, &s->hold);
    s->total += s->bytes;
    s->bytes = 0;
    s->posted = false;
}

/* -- the receiver ---------------------------------------------------------------------------------
 */

static bool
read_post(struct tp_rdma *r, uint8_t *to, uint32_t lkey, uint64_t offset, size_t bytes)
{
    struct tp_rdma_in *in = &r->in;
    struct ibv_sge sge = {
        .addr = (uintptr_t)(to + offset), .length = (uint32_t)bytes, .lkey = lkey};
    struct ibv_send_wr wr = {
        .wr_id = TP_RDMA_READ_ID,
        .sg_list = &sge,
        .num_sge = 1,
        .opcode = IBV_WR_RDMA_READ,
        .send_flags = IBV_SEND_SIGNALED,
        .wr.rdma = {.remote_addr = in->piece.address + offset, .rkey = in->piece.key},
    };
    struct ibv_send_wr *bad;

    if (ibv_post_send(in->pair.qp, &wr, &bad) != 0)
        return false;
    in->reads++;
    return true;
}

/* A line that is cut says nothing of reads; anything else would be the same on the next lane. */
void
tp_rdma_straight_ended(struct tp_rdma *r, const struct ibv_wc *wc)
{
    r->in.reads--;
    if (wc->status == IBV_WC_SUCCESS || wc->status == IBV_WC_WR_FLUSH_ERR ||
        wc->status == IBV_WC_RETRY_EXC_ERR || atomic_exchange(&broken, true))
        return;
    log_warn("lane %s: rdma: reading the peer's memory fails (%s): bulk goes through the rings "
             "from now on",
             r->s.lane.peer.address, r->verbs->wc_status_str(wc->status));
}

/* Sleep until something of this pair is done. False if the peer has gone instead. */
static bool
read_sleep(struct tp_rdma *r)
{
    struct tp_rdma_in *in = &r->in;
    struct pollfd p[2] = {
        {.fd = in->pair.channel->fd, .events = POLLIN},
        {.fd = r->control_fd, .events = POLLRDHUP},
    };

    tp_rdma_pair_arm(r, &in->pair, true, true);
    in->armed = false; /* what shows that a message came is taken here */
    if (tp_rdma_in_sent(r) || poll(p, 2, 1000) <= 0)
        return true;
    return p[0].revents != 0 || p[1].revents == 0;
}

/* The device lets go of all that is under way, and says so. */
static void
reads_end(struct tp_rdma *r)
{
    struct ibv_qp_attr attr = {.qp_state = IBV_QPS_ERR};
    uint64_t deadline_ns = gp_now_ns() + END_NS;

    r->in.status = GP_ERR_IO;
    if (r->verbs->modify_qp(r->in.pair.qp, &attr, IBV_QP_STATE) != 0)
        log_debug("lane %s: read: %m", r->s.lane.peer.address);
    while (r->in.reads > 0 && gp_now_ns() < deadline_ns)
        if (!tp_rdma_in_sent(r))
            sched_yield();
    if (r->in.reads > 0)
        log_error("lane %s: the device does not end a read", r->s.lane.peer.address);
}

/* Until less than most are under way. */
static void
reads_await(struct tp_rdma *r, unsigned most)
{
    struct tp_rdma_in *in = &r->in;
    uint64_t begin = gp_now_ns(), waited;
    uint64_t spin_ns =
        atomic_load_explicit(&r->s.lane.spin_us, memory_order_relaxed) * GP_NS_PER_US;

    while (in->reads >= most) {
        if (tp_rdma_in_sent(r))
            continue;
        waited = gp_now_ns() - begin;
        if (waited > READ_NS || (waited >= spin_ns && !read_sleep(r))) {
            reads_end(r);
            return;
        }
    }
}

static bool
read_all(struct tp_rdma *r, uint8_t *to, uint32_t lkey, size_t bytes)
{
    struct tp_rdma_in *in = &r->in;
    size_t at = 0;

    while (at < bytes && in->status == GP_OK) {
        size_t n = gp_min_u64(READ_BYTES, bytes - at);

        if (!read_post(r, to, lkey, at, n)) {
            log_info("lane %s: read: %m", r->s.lane.peer.address);
            in->status = GP_ERR_IO;
            break;
        }
        at += n;
        reads_await(r, in->reads_max);
    }
    reads_await(r, 1);
    return in->status == GP_OK;
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
    in->owing = true; /* the sender waits for it */
}

size_t
tp_rdma_straight_read(struct tp_rdma *r, const struct iovec *iov, int iovcnt)
{
    struct tp_rdma_in *in = &r->in;
    struct tp_cache_hold hold = {0};
    uint8_t *to = in->bounce;
    size_t bytes;
    bool ok, kept;

    for (; iovcnt > 0 && iov->iov_len == 0; iovcnt--)
        iov++;
    if (iovcnt == 0)
        return 0;
    bytes = gp_min_u64(gp_min_u64(iov->iov_len, in->piece.bytes), TURN_BYTES);
    kept = bytes >= TP_STRAIGHT_MIN &&
           tp_cache_get(&r->cache, iov->iov_base, bytes, false, &hold) == TP_CACHE_HELD;
    if (kept) {
        to = iov->iov_base;
        bytes = hold.bytes;
        ok = read_all(r, to, mr_of(&hold)->lkey, bytes);
        tp_cache_put(&r->cache, &hold);
    } else {
        bytes = gp_min_u64(bytes, TP_RDMA_BOUNCE_BYTES);
        ok = read_all(r, to, in->bounce_mr->lkey, bytes);
        if (ok)
            memcpy(iov->iov_base, to, bytes);
    }
    if (!ok)
        return 0;
    took(in, bytes);
    return bytes;
}
