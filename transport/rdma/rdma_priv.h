/* transport/rdma/rdma_priv.h -- an RDMA lane from inside, for transport/rdma only
 *
 * Two queue pairs, one for each direction of bytes, so that sender and receiver share nothing:
 *
 *   out: the sender writes pieces of its staging ring into the peer's ring, each with how many
 *        bytes they are (a message); what comes on this pair are credits: how far the peer has read
 *   in:  the peer's messages come; what goes on this pair are credits
 *
 * Both rings are registered once for the lane's life and belong to it alone, so nothing that the
 * program maps, unmaps or forks concerns the device. Large pieces of memory whose owner says when
 * it ends (transport/kept.h) do not pass the rings: the receiver reads them straight out of the
 * sender's memory, which stays as it is until that is done, and where its own is kept too, straight
 * to where they belong. Nobody ever writes into memory but the peer's ring.
 */
#ifndef TP_RDMA_PRIV_H
#define TP_RDMA_PRIV_H

#include "protocol/base/util.h"
#include "transport/rdma/cache.h"
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
/* What is read by way of memory of ours. */
#define TP_RDMA_BOUNCE_BYTES (256u << 10)
/* The receiver's pair sends credits, by the number 0, and reads. */
#define TP_RDMA_READ_ID 1u

/* A queue pair and what becomes of its work. */
struct tp_rdma_pair {
    struct ibv_comp_channel *channel;
    struct ibv_cq *sent, *came;
    struct ibv_qp *qp;
    uint32_t psn;
};

/* A piece that the peer reads where it lies. */
struct tp_rdma_straight {
    bool off; /* set before the lane is handed out, or when a device refuses memory */
    const uint8_t *at;
    size_t bytes;                /* 0: none is at hand */
    struct tp_cache_hold hold;   /* while there is one */
    bool posted;                 /* the peer is told */
    uint64_t end_at, end_posted; /* where what tells it ends, by bytes and messages */
    uint64_t total;
};

/* The sender's. */
struct tp_rdma_out {
    struct tp_rdma_pair pair;
    struct tp_rdma_straight straight;
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
    uint32_t spent; /* places for messages that were used: given back before the peer is told */
    bool armed;     /* the next message shows on the channel */
    bool owing;     /* a credit is due that there was no room for */
    bool ended;     /* the peer said that nothing follows */
    bool gone;      /* and is not there any more */
    /* A piece of the peer's memory that comes next, told by what is in the ring from edge on. */
    uint8_t told_piece[TP_RDMA_PIECE_BYTES];
    uint32_t told_bytes; /* of those that have come; 0: none is due */
    uint64_t edge;
    struct tp_rdma_piece piece; /* what is left of it; bytes 0: not all told yet */
    uint8_t *bounce;            /* for what belongs to memory that is not kept */
    struct ibv_mr *bounce_mr;
    unsigned reads, reads_max; /* under way; at once */
    uint64_t straight;
    enum gp_status status; /* what follows the bytes that are here */
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
    uint8_t *memory; /* both rings, and the bounce */
    size_t memory_bytes;
    struct tp_cache cache;

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
/* Give the pair's queue places for count more messages without bytes of their own. */
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
/* A message or a piece can be read. */
bool tp_rdma_in_has(const struct tp_rdma_in *in);
/* Something else than a message is done, if any: false if nothing is. */
bool tp_rdma_in_sent(struct tp_rdma *r);

/* -- straight.c ----------------------------------------------------------------------------------
 */

/* Whether this process may register memory that a child could get too, and the device can read. */
bool tp_rdma_straight_possible(const struct tp_rdma *r, uint32_t *reads_p);
void tp_rdma_straight_begin(struct tp_rdma *r);
void tp_rdma_straight_end(struct tp_rdma *r);

/* How many of these bytes the next write will have the peer read, none of them or at least some. */
size_t tp_rdma_straight_bytes(struct tp_rdma *r, const void *at, size_t bytes);
/* What tells the peer; tp_rdma_straight_bytes() said so. */
void tp_rdma_straight_tell(const struct tp_rdma *r, uint8_t out[TP_RDMA_PIECE_BYTES]);
/* The peer has read it: the memory is its owner's. */
void tp_rdma_straight_done(struct tp_rdma *r);

/* in->piece is due: read some of it, into the first piece of iov. When it returns the device writes
 * nowhere. May wait for the devices, not for the peer's program. */
size_t tp_rdma_straight_read(struct tp_rdma *r, const struct iovec *iov, int iovcnt);
void tp_rdma_straight_ended(struct tp_rdma *r, const struct ibv_wc *wc);

#endif
