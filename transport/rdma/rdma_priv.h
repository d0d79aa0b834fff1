/* transport/rdma/rdma_priv.h -- an RDMA lane from inside, for transport/rdma only
 *
 * Two queue pairs, one for each direction of bytes, so that sender and receiver share nothing:
 *
 *   out: the sender writes pieces of its staging ring into the peer's ring, each with how many
 *        bytes they are (a message); what comes on this pair are credits: how far the peer has read
 *   in:  the peer's messages come; what goes on this pair are credits
 *
 * Both rings are registered once for the lane's life and belong to it alone, so nothing that the
 * program maps, unmaps or forks concerns the device.
 */
#ifndef TP_RDMA_PRIV_H
#define TP_RDMA_PRIV_H

#include "protocol/base/util.h"
#include "transport/rdma/offer.h"
#include "transport/rdma/port.h"
#include "transport/stream.h"

/* Messages on their way in one direction, of which the last is kept for the end. */
#define TP_RDMA_MESSAGES 256u
/* What a peer may send before it knows how far its earlier messages got. */
#define TP_RDMA_SPARE_MESSAGES 8u
/* Credits that come while the sender does not look: one for each quarter of a ring or of the
 * messages, so never more than some. */
#define TP_RDMA_CREDITS 32u

/* A queue pair and what becomes of its work. */
struct tp_rdma_pair {
    struct ibv_comp_channel *channel;
    struct ibv_cq *sent, *came;
    struct ibv_qp *qp;
    uint32_t psn;
};

/* The sender's. */
struct tp_rdma_out {
    struct tp_rdma_pair pair;
    uint8_t *staging;
    struct ibv_mr *mr;
    uint32_t staging_bytes;
    uint32_t inline_bytes;
    /* The peer's. */
    uint64_t ring_address;
    uint32_t ring_key, ring_bytes;
    uint32_t messages;

    /* Bytes: handed to the device; read by the peer; no longer needed by the device. */
    uint64_t at, read, done;
    /* Messages, likewise. ends: where each ends in the row of bytes. */
    uint64_t posted, taken, completed;
    uint64_t ends[TP_RDMA_MESSAGES];
    /* The last one whose completion is told, and that wakes the reader. */
    uint64_t told_at, told_posted, woken_at;
    enum gp_status status;
};

/* The receiver's. */
struct tp_rdma_in {
    struct tp_rdma_pair pair;
    uint8_t *ring;
    struct ibv_mr *mr;
    uint32_t ring_bytes;

    /* Bytes: arrived; taken by the reader; told to the peer. */
    uint64_t tail, head, told;
    /* Messages, likewise. */
    uint64_t came, taken, told_messages;
    uint64_t ends[TP_RDMA_MESSAGES];
    uint64_t credits, credits_done; /* posted, completed */
    bool armed;                     /* the next message shows on the channel */
    bool owing;                     /* a credit is due that there was no room for */
    bool ended;                     /* the peer said that nothing follows */
    bool gone;                      /* and is not there any more */
    enum gp_status status;          /* what follows the bytes that are here */
};

struct tp_rdma {
    struct tp_stream s; /* first */

    /* Set once. */
    const struct tp_verbs *verbs;
    struct tp_lane *control; /* the tls lane that it began as */
    int control_fd;
    struct tp_rdma_port port;
    struct ibv_context *context;
    struct ibv_pd *pd;
    uint8_t *memory; /* both rings */
    size_t memory_bytes;

    struct tp_rdma_out out;
    struct tp_rdma_in in;
};

static inline struct tp_rdma *
tp_rdma_of(const struct tp_stream *s)
{
    return (struct tp_rdma *)(uintptr_t)s;
}

/* -- pair.c: making and joining ------------------------------------------------------------------
 */

/* Everything that opts->why or the log needs to know of a failure is said. */
GP_CHECK enum gp_status tp_rdma_resources_create(struct tp_rdma *r, const struct tp_opts *opts);
void tp_rdma_resources_destroy(struct tp_rdma *r);
void tp_rdma_offer_fill(const struct tp_rdma *r, struct tp_rdma_offer *offer);
/* With what the peer offered: both pairs can receive and send from here on. */
GP_CHECK enum gp_status tp_rdma_join(struct tp_rdma *r, const struct tp_rdma_offer *peer,
                                     const struct tp_opts *opts);
/* Forget what the channel has shown, and have it show the next thing that happens. */
void tp_rdma_pair_arm(const struct tp_rdma *r, struct tp_rdma_pair *pair, bool sent, bool came);
/* Give the pair's queue room for count more messages without bytes of their own. */
GP_CHECK enum gp_status tp_rdma_pair_expect(struct tp_rdma_pair *pair, uint32_t count);
/* The peer has ended the line that the lane began on, or we have. */
bool tp_rdma_is_gone(const struct tp_rdma *r);

/* -- out.c ---------------------------------------------------------------------------------------
 */

enum gp_status tp_rdma_out_write(struct tp_rdma *r, const struct iovec *iov, int iovcnt,
                                 size_t *put_p);
/* An empty message, to see whether there is a way; GP_ERR_TIMEOUT, GP_ERR_IO. */
enum gp_status tp_rdma_out_probe(struct tp_rdma *r, uint64_t deadline_ns);
/* Say that nothing follows, and wait briefly until the peer's device has all of it. */
void tp_rdma_out_end(struct tp_rdma *r);

/* -- in.c ----------------------------------------------------------------------------------------
 */

enum gp_status tp_rdma_in_read(struct tp_rdma *r, const struct iovec *iov, int iovcnt,
                               size_t *got_p);
bool tp_rdma_in_arm(struct tp_rdma *r);

#endif
