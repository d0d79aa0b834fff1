/* transport/rdma/pair.c -- memory, queue pairs, and joining them with the peer's */
#include "protocol/base/log.h"
#include "protocol/base/random.h"
#include "transport/rdma/rdma_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>

/* What a line of 100 Gbit/s has on its way in 160 us. */
#define RING_BYTES (2u << 20)
/* Rings shrink to this where less may be locked. */
#define RING_BYTES_LEAST (128u << 10)
/* Queues of a lane, roughly; drivers account for them as for rings. */
#define QUEUE_BYTES  (256u << 10)
#define INLINE_BYTES 220u

/* The device tries again for TIMEOUT * (RETRIES + 1), 2.1 s, before it gives the line up; the
 * software device of Linux takes 7 for without end. */
#define TIMEOUT     16 /* 4.096 us << 16 */
#define RETRIES     7
#define RNR_FOREVER 7
#define RNR_TIMER   12 /* 0.64 ms */
#define HOPS        64

/* -- memory -------------------------------------------------------------------------------------
 */

static bool
may_lock_anything(void)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2] = {0};

    return syscall(SYS_capget, &header, data) == 0 &&
           (data[CAP_IPC_LOCK / 32].effective >> CAP_IPC_LOCK % 32 & 1) != 0;
}

static void
say_locked(char *why, uint64_t limit)
{
    snprintf(why, TP_WHY_BYTES,
             "rdma: a session needs %u KiB of locked memory, best %u KiB, and the limit is %llu "
             "KiB: raise it by ulimit -l, or LimitMEMLOCK= of the service",
             (2 * RING_BYTES_LEAST + QUEUE_BYTES) >> 10,
             (2 * RING_BYTES + TP_RDMA_BOUNCE_BYTES + QUEUE_BYTES) >> 10,
             (unsigned long long)limit >> 10);
}

bool
tp_rdma_memory_ok(char *why)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_MEMLOCK, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY ||
        limit.rlim_cur >= 2 * RING_BYTES_LEAST + QUEUE_BYTES || may_lock_anything())
        return true;
    say_locked(why, limit.rlim_cur);
    return false;
}

static enum gp_status
memory_refused(const struct tp_opts *opts)
{
    struct rlimit limit = {0};
    char why[TP_WHY_BYTES];

    if (errno != ENOMEM && errno != EPERM && errno != EAGAIN)
        return tp_fail(opts, GP_ERR_IO, "rdma: memory cannot be registered: %s", strerror(errno));
    (void)getrlimit(RLIMIT_MEMLOCK, &limit);
    say_locked(why, limit.rlim_cur);
    return tp_fail(opts, GP_ERR_LIMIT, "%s", why);
}

/* Two rings of bytes each, registered. */
static bool
memory_try(struct tp_rdma *r, uint32_t bytes)
{
    size_t all = 2 * (size_t)bytes + TP_RDMA_BOUNCE_BYTES;
    void *memory = mmap(NULL, all, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (memory == MAP_FAILED)
        return false;
    /* A child has no use for it, and must not get the pages that the device writes to. */
    (void)madvise(memory, all, MADV_DONTFORK);
    r->memory = memory;
    r->memory_bytes = all;
    r->in.ring = memory;
    r->out.staging = r->in.ring + bytes;
    r->in.bounce = r->out.staging + bytes;
    r->in.ring_bytes = r->out.staging_bytes = bytes;
    r->in.mr = r->verbs->reg_mr(r->nic.pd, r->in.ring, bytes,
                                IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE);
    if (r->in.mr != NULL)
        r->out.mr = r->verbs->reg_mr(r->nic.pd, r->out.staging, bytes, IBV_ACCESS_LOCAL_WRITE);
    return r->out.mr != NULL;
}

static void
memory_free(struct tp_rdma *r)
{
    if (r->in.mr != NULL)
        r->verbs->dereg_mr(r->in.mr);
    if (r->out.mr != NULL)
        r->verbs->dereg_mr(r->out.mr);
    if (r->in.bounce_mr != NULL)
        r->verbs->dereg_mr(r->in.bounce_mr);
    r->in.mr = r->out.mr = r->in.bounce_mr = NULL;
    if (r->memory != NULL)
        munmap(r->memory, r->memory_bytes);
    r->memory = NULL;
}

static enum gp_status
memory_create(struct tp_rdma *r, const struct tp_opts *opts)
{
    uint32_t bytes = RING_BYTES;

    while (!memory_try(r, bytes)) {
        int error = errno;

        memory_free(r);
        errno = error;
        if (bytes == RING_BYTES_LEAST)
            return memory_refused(opts);
        bytes /= 2;
    }
    /* Without it nothing goes past the rings. */
    r->in.bounce_mr =
        r->verbs->reg_mr(r->nic.pd, r->in.bounce, TP_RDMA_BOUNCE_BYTES, IBV_ACCESS_LOCAL_WRITE);
    if (bytes < RING_BYTES)
        log_warn("rdma: rings of %u KiB only: a larger limit of locked memory makes it faster",
                 bytes >> 10);
    return GP_OK;
}

/* -- pairs --------------------------------------------------------------------------------------
 */

static struct ibv_qp *
qp_create(const struct tp_verbs *v, struct ibv_pd *pd, const struct tp_rdma_pair *pair,
          uint32_t sends, uint32_t receives, uint32_t *inline_bytes_p)
{
    struct ibv_qp_init_attr attr = {
        .send_cq = pair->sent,
        .recv_cq = pair->came,
        .qp_type = IBV_QPT_RC,
        .cap = {.max_send_wr = sends,
                .max_recv_wr = receives,
                .max_send_sge = 1,
                .max_recv_sge = 1,
                .max_inline_data = INLINE_BYTES},
    };
    struct ibv_qp *qp = v->create_qp(pd, &attr);

    if (qp == NULL) { /* a device without inline data */
        attr.cap.max_inline_data = 0;
        qp = v->create_qp(pd, &attr);
    }
    *inline_bytes_p = attr.cap.max_inline_data;
    return qp;
}

/* Without receives: for reads. */
static enum gp_status
pair_create(const struct tp_verbs *v, const struct tp_rdma_nic *nic, struct tp_rdma_pair *pair,
            uint32_t sends, uint32_t receives, bool written, uint32_t *inline_bytes_p)
{
    struct ibv_qp_attr attr = {
        .qp_state = IBV_QPS_INIT,
        .port_num = nic->port.port,
        .qp_access_flags = written ? IBV_ACCESS_REMOTE_WRITE : IBV_ACCESS_REMOTE_READ,
    };

    pair->channel = v->create_comp_channel(nic->context);
    if (pair->channel == NULL || fcntl(pair->channel->fd, F_SETFL, O_NONBLOCK) != 0)
        return GP_ERR_LIMIT;
    pair->sent = v->create_cq(nic->context, (int)sends, NULL, pair->channel, 0);
    pair->came = receives > 0 ? v->create_cq(nic->context, (int)receives, NULL, pair->channel, 0)
                              : pair->sent;
    if (pair->sent == NULL || pair->came == NULL)
        return GP_ERR_LIMIT;
    pair->qp = qp_create(v, nic->pd, pair, sends, receives, inline_bytes_p);
    if (pair->qp == NULL)
        return GP_ERR_LIMIT;
    if (gp_random_bytes(&pair->psn, sizeof(pair->psn)) != GP_OK)
        return GP_ERR_IO;
    pair->psn &= 0xffffff;
    if (v->modify_qp(pair->qp, &attr,
                     IBV_QP_STATE | IBV_QP_PKEY_INDEX | IBV_QP_PORT | IBV_QP_ACCESS_FLAGS) != 0)
        return GP_ERR_IO;
    return tp_rdma_pair_expect(pair, receives);
}

enum gp_status
tp_rdma_pair_for_reads(struct tp_rdma_pair *pair, const struct tp_verbs *verbs,
                       const struct tp_rdma_nic *nic)
{
    uint32_t unused;

    return pair_create(verbs, nic, pair, TP_RDMA_READS + 1, 0, false, &unused);
}

void
tp_rdma_pair_destroy(const struct tp_verbs *v, struct tp_rdma_pair *pair)
{
    if (pair->qp != NULL)
        v->destroy_qp(pair->qp);
    if (pair->sent != NULL)
        v->destroy_cq(pair->sent);
    if (pair->came != NULL && pair->came != pair->sent)
        v->destroy_cq(pair->came);
    if (pair->channel != NULL)
        v->destroy_comp_channel(pair->channel);
    *pair = (struct tp_rdma_pair){0};
}

enum gp_status
tp_rdma_pair_expect(struct tp_rdma_pair *pair, uint32_t count)
{
    struct ibv_recv_wr wr = {0}, *bad;

    for (; count > 0; count--)
        if (ibv_post_recv(pair->qp, &wr, &bad) != 0)
            return GP_ERR_IO;
    return GP_OK;
}

void
tp_rdma_pair_arm(const struct tp_rdma *r, struct tp_rdma_pair *pair, bool sent, bool came)
{
    struct ibv_cq *cq;
    void *user;

    while (r->verbs->get_cq_event(pair->channel, &cq, &user) == 0)
        r->verbs->ack_cq_events(cq, 1);
    if ((sent && ibv_req_notify_cq(pair->sent, 0) != 0) ||
        (came && ibv_req_notify_cq(pair->came, 1) != 0))
        log_warn("lane %s: the device does not tell when something happens: %m",
                 r->s.lane.peer.address);
}

/* -- both ---------------------------------------------------------------------------------------
 */

enum gp_status
tp_rdma_nic_open(struct tp_rdma_nic *nic, const struct tp_verbs *verbs)
{
    nic->context = tp_rdma_open(verbs, nic->port.device);
    if (nic->context != NULL)
        nic->pd = verbs->alloc_pd(nic->context);
    return nic->pd != NULL ? GP_OK : GP_ERR_IO;
}

void
tp_rdma_nic_close(struct tp_rdma_nic *nic, const struct tp_verbs *verbs)
{
    if (nic->pd != NULL)
        verbs->dealloc_pd(nic->pd);
    if (nic->context != NULL)
        verbs->close_device(nic->context);
    nic->pd = NULL;
    nic->context = NULL;
}

enum gp_status
tp_rdma_resources_create(struct tp_rdma *r, const struct tp_opts *opts)
{
    uint32_t unused;
    enum gp_status status;

    if (tp_rdma_nic_open(&r->nic, r->verbs) != GP_OK)
        return tp_fail(opts, GP_ERR_IO, "rdma: %s cannot be opened: %s", r->nic.port.device,
                       strerror(errno));
    status = memory_create(r, opts);
    if (status != GP_OK)
        return status; /* said */
    status = pair_create(r->verbs, &r->nic, &r->out.pair, TP_RDMA_MESSAGES + 1, TP_RDMA_CREDITS,
                         false, &r->out.inline_bytes);
    if (status == GP_OK)
        status = pair_create(r->verbs, &r->nic, &r->in.pair, TP_RDMA_CREDITS + TP_RDMA_READS + 1,
                             TP_RDMA_MESSAGES + TP_RDMA_SPARE_MESSAGES, true, &unused);
    if (status != GP_OK && errno == ENOMEM)
        return memory_refused(opts); /* queues are locked memory too */
    if (status != GP_OK)
        return tp_fail(opts, status, "rdma: %s: no queue pairs: %s", r->nic.port.device,
                       strerror(errno));
    while (r->in.key_word == 0)
        if (gp_random_bytes(&r->in.key_word, sizeof(r->in.key_word)) != GP_OK)
            return tp_fail(opts, GP_ERR_IO, "rdma: no key for small messages");
    tp_rdma_pair_arm(r, &r->in.pair, false, true);
    r->in.armed = true;
    tp_rdma_straight_begin(r);
    return GP_OK;
}

void
tp_rdma_resources_destroy(struct tp_rdma *r)
{
    tp_rdma_pair_destroy(r->verbs, &r->out.pair);
    tp_rdma_pair_destroy(r->verbs, &r->in.pair);
    tp_rdma_rails_destroy(r);
    tp_rdma_straight_end(r);
    memory_free(r);
    tp_rdma_nic_close(&r->nic, r->verbs);
}

void
tp_rdma_offer_fill(const struct tp_rdma *r, struct tp_rdma_offer *offer)
{
    uint32_t reads;

    (void)tp_rdma_straight_possible(r, &reads);
    *offer = (struct tp_rdma_offer){
        .layer = r->nic.port.layer,
        .mtu = r->nic.port.mtu,
        .lid = r->nic.port.lid,
        .out_qpn = r->out.pair.qp->qp_num,
        .out_psn = r->out.pair.psn,
        .in_qpn = r->in.pair.qp->qp_num,
        .in_psn = r->in.pair.psn,
        .ring_address = (uintptr_t)r->in.ring,
        .ring_key = r->in.mr->rkey,
        .ring_bytes = r->in.ring_bytes,
        .messages = TP_RDMA_MESSAGES,
        .reads = reads,
        .key_word = r->in.key_word,
    };
    memcpy(offer->gid, r->nic.port.gid, sizeof(offer->gid));
}

/* The global header says where to; on InfiniBand it is needed only beyond the own subnet. */
static struct ibv_ah_attr
way_to(const struct tp_rdma_port *port, const struct tp_rdma_offer *peer)
{
    struct ibv_ah_attr way = {
        .dlid = peer->lid,
        .port_num = port->port,
        .is_global = port->layer == TP_RDMA_LAYER_ETHERNET || peer->lid == 0 ||
                     memcmp(peer->gid, port->gid, 8) != 0,
        .grh = {.sgid_index = port->gid_index, .hop_limit = HOPS},
    };

    memcpy(way.grh.dgid.raw, peer->gid, sizeof(way.grh.dgid.raw));
    return way;
}

bool
tp_rdma_pair_join(const struct tp_verbs *verbs, const struct tp_rdma_nic *nic,
                  struct tp_rdma_pair *pair, const struct tp_rdma_offer *peer, uint32_t qpn,
                  uint32_t psn, uint8_t serves, uint8_t reads)
{
    struct ibv_qp_attr receive = {
        .qp_state = IBV_QPS_RTR,
        .path_mtu = (enum ibv_mtu)gp_min_u64(peer->mtu, nic->port.mtu),
        .dest_qp_num = qpn,
        .rq_psn = psn,
        .max_dest_rd_atomic = serves,
        .min_rnr_timer = RNR_TIMER,
        .ah_attr = way_to(&nic->port, peer),
    };
    struct ibv_qp_attr send = {
        .qp_state = IBV_QPS_RTS,
        .sq_psn = pair->psn,
        .timeout = TIMEOUT,
        .retry_cnt = RETRIES,
        .rnr_retry = RNR_FOREVER,
        .max_rd_atomic = reads,
    };

    return verbs->modify_qp(pair->qp, &receive,
                            IBV_QP_STATE | IBV_QP_AV | IBV_QP_PATH_MTU | IBV_QP_DEST_QPN |
                                IBV_QP_RQ_PSN | IBV_QP_MAX_DEST_RD_ATOMIC | IBV_QP_MIN_RNR_TIMER) ==
               0 &&
           verbs->modify_qp(pair->qp, &send,
                            IBV_QP_STATE | IBV_QP_TIMEOUT | IBV_QP_RETRY_CNT | IBV_QP_RNR_RETRY |
                                IBV_QP_SQ_PSN | IBV_QP_MAX_QP_RD_ATOMIC) == 0;
}

enum gp_status
tp_rdma_join(struct tp_rdma *r, const struct tp_rdma_offer *peer, const struct tp_opts *opts)
{
    struct tp_rdma_out *o = &r->out;
    uint32_t serves;
    uint8_t reads;

    if (peer->layer != r->nic.port.layer)
        return tp_fail(opts, GP_ERR_NOT_SUPPORTED,
                       "rdma: the peer's port is %s, %s here is %s: no way between them",
                       peer->layer == TP_RDMA_LAYER_ETHERNET ? "Ethernet" : "InfiniBand",
                       r->nic.port.device,
                       r->nic.port.layer == TP_RDMA_LAYER_ETHERNET ? "Ethernet" : "InfiniBand");
    o->ring_address = peer->ring_address;
    o->ring_key = peer->ring_key;
    o->ring_bytes = peer->ring_bytes;
    o->messages = (uint32_t)gp_min_u64(peer->messages, TP_RDMA_MESSAGES);
    o->seals = r->in.seeks = peer->key_word != 0;
    o->key = tp_rdma_key_make(peer->key_word);
    r->in.key = tp_rdma_key_make(r->in.key_word);
    /* Both or neither, each of them what the other's device serves. */
    (void)tp_rdma_straight_possible(r, &serves);
    reads = (uint8_t)gp_min_u64(serves, peer->reads);
    o->straight.off = reads == 0;
    r->in.reads_max = reads;
    if (tp_rdma_pair_join(r->verbs, &r->nic, &o->pair, peer, peer->in_qpn, peer->in_psn,
                          reads > 0 ? (uint8_t)serves : 0, 0) &&
        tp_rdma_pair_join(r->verbs, &r->nic, &r->in.pair, peer, peer->out_qpn, peer->out_psn, 0,
                          reads))
        return GP_OK;
    return tp_fail(opts, GP_ERR_IO, "rdma: %s: no way to the peer's address: %s",
                   r->nic.port.device, strerror(errno));
}

bool
tp_rdma_is_gone(const struct tp_rdma *r)
{
    struct pollfd p = {.fd = r->control_fd, .events = POLLRDHUP};

    return poll(&p, 1, 0) > 0 && p.revents != 0;
}
