/* transport/rdma/straight.c -- bulk from memory to memory, past the rings: the sender
 *
 * The sender says where a piece lies and what opens it; the receiver reads it and gives a credit
 * for what told it, so that the sender knows that the memory is its owner's again, and that the
 * peer has all that was sent before. The key opens the piece to the byte, until then.
 */
#include "protocol/base/log.h"
#include "transport/rdma/rdma_priv.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* What a lane's device may hold of this machine's memory. */
#define MEMORY_SHARE 4u

/* -- what the device knows ----------------------------------------------------------------------
 */

static void *
key_add(void *user, void *base, size_t bytes, bool peer)
{
    const struct tp_rdma_nic *nic = user;

    return tp_verbs(NULL)->reg_mr(nic->pd, base, bytes,
                                  peer ? IBV_ACCESS_REMOTE_READ : IBV_ACCESS_LOCAL_WRITE);
}

/* By a dma-buf where there is one and this device takes it, else as memory of this process: that is
 * what a module of the kernel's may make of it (nvidia-peermem), and the software device's is. */
static void *
key_add_device(void *user, const struct tp_device_memory *device, void *base, size_t bytes)
{
    const int access = IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_READ;
    const struct tp_verbs *verbs = tp_verbs(NULL);
    struct tp_rdma_nic *nic = user;
    struct ibv_mr *mr = NULL;
    uint64_t offset = 0;
    int fd = -1;

    nic->dmabuf_error = EOPNOTSUPP;
    if (verbs->reg_dmabuf_mr != NULL)
        fd = device->dmabuf(device->user, base, bytes, &offset);
    if (fd >= 0) {
        mr = verbs->reg_dmabuf_mr(nic->pd, offset, bytes, (uintptr_t)base, fd, access);
        nic->dmabuf_error = mr == NULL ? errno : 0;
        close(fd);
    }
    nic->by_dmabuf = mr != NULL;
    if (mr == NULL)
        mr = verbs->reg_mr(nic->pd, base, bytes, access);
    nic->address_error = mr == NULL ? errno : 0;
    return mr;
}

static void
key_remove(void *user, void *key)
{
    const struct tp_rdma_nic *nic = user;

    if (tp_verbs(NULL)->dereg_mr(key) != 0)
        log_warn("rdma: memory is not given back by %s", nic->port.device);
}

static const struct tp_cache_ops keys = {
    .add = key_add, .add_device = key_add_device, .remove = key_remove};

static struct ibv_mr *
mr_of(const struct tp_cache_hold *hold)
{
    return hold->entry->key;
}

uint32_t
tp_rdma_reads_at_once(const struct tp_verbs *verbs, struct ibv_context *context)
{
    struct ibv_device_attr attr = {0};

    if (verbs->query_device(context, &attr) != 0 || attr.max_qp_rd_atom < 1 ||
        attr.max_qp_init_rd_atom < 1)
        return 0;
    return (uint32_t)gp_min_u64(TP_RDMA_READS, gp_min_u64((uint64_t)attr.max_qp_rd_atom,
                                                          (uint64_t)attr.max_qp_init_rd_atom));
}

bool
tp_rdma_straight_possible(const struct tp_rdma *r, uint32_t *reads_p)
{
    bool possible =
        !tp_rdma_reads_are_broken() && r->verbs->copies_on_fork && r->in.bounce_mr != NULL;

    *reads_p = possible ? tp_rdma_reads_at_once(r->verbs, r->nic.context) : 0;
    return *reads_p > 0;
}

static uint64_t
memory_most(void)
{
    return (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE) / MEMORY_SHARE;
}

void
tp_rdma_straight_begin(struct tp_rdma *r)
{
    tp_cache_init(&r->cache, &keys, &r->nic, memory_most());
}

/* In its place for good. */
void
tp_rdma_rail_begin(struct tp_rdma_rail *rail)
{
    tp_cache_init(&rail->cache, &keys, &rail->nic, memory_most());
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
    if (s->total_device + r->in.straight_device > 0)
        log_info("lane %s: rdma: %llu KiB of these from and %llu KiB to device memory by %s alone",
                 r->s.lane.peer.address, (unsigned long long)s->total_device >> 10,
                 (unsigned long long)r->in.straight_device >> 10, r->nic.port.device);
}

bool
tp_rdma_takes_device(struct tp_rdma *r, const void *at, size_t bytes, char *why)
{
    const char *device = r->nic.port.device;
    struct tp_cache_hold hold = {0};
    enum tp_cache_answer answer;

    if (r->in.reads_max == 0) {
        snprintf(why, TP_WHY_BYTES, "nothing goes past the rings");
        return false;
    }
    answer = tp_cache_get(&r->cache, at, bytes, false, &hold);
    tp_cache_put(&r->cache, &hold);
    pthread_mutex_lock(&tp_kept_lock);
    if (answer == TP_CACHE_HELD)
        snprintf(why, TP_WHY_BYTES, "%s takes it by %s", device,
                 r->nic.by_dmabuf ? "dma-buf" : "address");
    else if (answer == TP_CACHE_APART)
        snprintf(why, TP_WHY_BYTES, "%s takes it neither by dma-buf (%s) nor by address (%s)",
                 device, strerror(r->nic.dmabuf_error), strerror(r->nic.address_error));
    else
        snprintf(why, TP_WHY_BYTES, "it is not listed");
    pthread_mutex_unlock(&tp_kept_lock);
    return answer == TP_CACHE_HELD;
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

static void
rails_put(struct tp_rdma *r)
{
    for (unsigned i = 0; i < r->rail_count; i++)
        tp_cache_put(&r->rails[i].cache, &r->rails[i].hold);
}

/* The same piece for each rail that can, so that the peer may read by it too. */
static void
rails_hold(struct tp_rdma *r, const void *at, size_t bytes)
{
    for (unsigned i = 0; i < r->rail_count && bytes >= TP_RDMA_SPREAD_MIN; i++) {
        struct tp_rdma_rail *rail = &r->rails[i];
        enum tp_cache_answer answer;

        if (rail->refused || atomic_load_explicit(&rail->bad, memory_order_relaxed))
            continue;
        answer = tp_cache_get(&rail->cache, at, bytes, true, &rail->hold);
        if (answer == TP_CACHE_REFUSED) {
            rail->refused = true;
            log_info("lane %s: rdma: %s:%u takes no memory: %m", r->s.lane.peer.address,
                     rail->nic.port.device, rail->nic.port.port);
        } else if (answer == TP_CACHE_HELD && rail->hold.bytes < bytes) {
            tp_cache_put(&rail->cache, &rail->hold);
        }
    }
}

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
    rails_put(r);
    s->bytes = 0;
    switch (tp_cache_get(&r->cache, at, bytes, true, &hold)) {
    case TP_CACHE_HELD:
        s->hold = hold;
        s->at = at;
        s->bytes = hold.bytes;
        rails_hold(r, at, s->bytes);
        return s->bytes;
    case TP_CACHE_APART:
        if (!s->apart_said)
            log_info("lane %s: rdma: %s takes no more device memory, what lies there is copied: %m",
                     r->s.lane.peer.address, r->nic.port.device);
        s->apart_said = true;
        break;
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
tp_rdma_straight_tell(const struct tp_rdma *r, uint8_t out[TP_RDMA_PIECE_MOST])
{
    const struct tp_rdma_straight *s = &r->out.straight;
    struct tp_rdma_piece piece = {
        .address = (uintptr_t)s->at, .bytes = s->bytes, .key = mr_of(&s->hold)->rkey};

    for (unsigned i = 0; i < r->rail_count; i++) {
        if (r->rails[i].hold.entry == NULL)
            continue;
        piece.by |= 1u << i;
        piece.keys[i] = mr_of(&r->rails[i].hold)->rkey;
    }
    tp_rdma_piece_encode(&piece, r->rail_count, out);
}

void
tp_rdma_straight_drop(struct tp_rdma *r)
{
    struct tp_rdma_straight *s = &r->out.straight;

    tp_cache_put(&r->cache, &s->hold);
    rails_put(r);
    s->bytes = 0;
    s->posted = false;
}

void
tp_rdma_straight_done(struct tp_rdma *r)
{
    struct tp_rdma_straight *s = &r->out.straight;

    s->total += s->bytes;
    if (s->hold.entry->device)
        s->total_device += s->bytes;
    tp_rdma_straight_drop(r);
}
