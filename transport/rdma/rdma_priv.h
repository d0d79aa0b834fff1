/* transport/rdma/rdma_priv.h -- an RDMA lane from inside, for transport/rdma only
 *
 * Two queue pairs, one for each direction of bytes, so that sender and receiver share nothing:
 *
 *   out: the sender writes pieces of its staging ring into the peer's ring, each with how many
 *        bytes they are (a message); what comes on this pair are credits: how far the peer has read
 *   in:  the peer's messages come; what goes on this pair are credits
 *
 * A message is there when its completion says so. Small ones (small.h) are found in memory too,
 * which is earlier; their completions are matched with that when they come, and only then count for
 * credits.
 *
 * Both rings are registered once for the lane's life and belong to it alone, so nothing that the
 * program maps, unmaps or forks concerns the device. Large pieces of memory whose owner says when
 * it ends (transport/kept.h) do not pass the rings: the receiver reads them straight out of the
 * sender's memory, which stays as it is until that is done, and where its own is kept too, straight
 * to where they belong. Nobody ever writes into memory but the peer's ring.
 *
 * Where both ends have further ports each pair of them is a rail: one more queue pair, by which
 * either receiver reads its share of such pieces. A rail that fails is left out and what was under
 * way by it read again by the others, which does no harm: reading changes nothing.
 */
#ifndef TP_RDMA_PRIV_H
#define TP_RDMA_PRIV_H

#include "protocol/base/util.h"
#include "transport/rdma/cache.h"
#include "transport/rdma/offer.h"
#include "transport/rdma/port.h"
#include "transport/rdma/small.h"
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
/* Small messages that were read before their completions were seen, at most. */
#define TP_RDMA_AHEAD 16u
/* Pieces of less go by one port: each more is told of them, which takes time too. */
#define TP_RDMA_SPREAD_MIN (256u << 10)

/* A port, opened. */
struct tp_rdma_nic {
    struct tp_rdma_port port;
    struct ibv_context *context;
    struct ibv_pd *pd;
    /* How another device's memory was told of last, or why it could not be: errno, 0 for what was
     * not tried or went well. Under tp_kept_lock. */
    int dmabuf_error, address_error;
    bool by_dmabuf;
};

/* A queue pair and what becomes of its work. */
struct tp_rdma_pair {
    struct ibv_comp_channel *channel;
    struct ibv_cq *sent, *came;
    struct ibv_qp *qp;
    uint32_t psn;
};

/* What is read at once by one queue pair, the oldest first, as it is done. */
struct tp_rdma_span {
    uint64_t offset;
    uint32_t bytes;
};
struct tp_rdma_line {
    struct ibv_qp *qp;
    uint32_t lkey, rkey; /* of the piece that is read */
    unsigned most;       /* 0: not by this one */
    struct tp_rdma_span spans[TP_RDMA_READS];
    unsigned first, count;
};

enum tp_rdma_rail_state {
    TP_RDMA_RAIL_NEW,
    TP_RDMA_RAIL_TRIED, /* an empty read is on its way */
    TP_RDMA_RAIL_GOOD,
    TP_RDMA_RAIL_BAD,
};

/* A port of ours and one of the peer's. */
struct tp_rdma_rail {
    struct tp_rdma_nic nic;
    struct tp_rdma_pair pair; /* came is sent's too: nothing comes */
    struct tp_cache cache;
    atomic_bool bad; /* the sender's hint: relaxed */

    /* The receiver's. */
    enum tp_rdma_rail_state state;
    struct tp_rdma_line line;
    unsigned reads_max;
    uint64_t bytes;

    /* The sender's. */
    struct tp_cache_hold hold;
    bool refused; /* its device takes no memory */
};

/* A piece that the peer reads where it lies. */
struct tp_rdma_straight {
    bool off; /* set before the lane is handed out, or when a device refuses memory */
    const uint8_t *at;
    size_t bytes;                /* 0: none is at hand */
    struct tp_cache_hold hold;   /* while there is one */
    bool posted;                 /* the peer is told */
    uint64_t end_at, end_posted; /* where what tells it ends, by bytes and messages */
    uint64_t total, total_device;
    bool apart_said;
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
    bool seals; /* the peer looks for small messages, which are sealed with its key */
    struct tp_rdma_key key;

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
    uint64_t key_word; /* offered to the peer; not 0 */
    struct tp_rdma_key key;
    bool seeks; /* the peer seals small messages */

    /* Bytes: arrived; as completions say; taken by the reader; told to the peer. What stands in
     * front of a small message is taken with what was read before it. */
    uint64_t tail, sure, head, told;
    /* Messages, likewise. */
    uint64_t came, completed, taken, told_messages;
    uint64_t ends[TP_RDMA_MESSAGES];
    bool sealed[TP_RDMA_MESSAGES];
    /* The message that is being read was found in memory and copied out before it was checked. */
    bool found;
    uint32_t small_bytes;
    uint8_t small[TP_RDMA_HEAD_BYTES + TP_RDMA_SMALL_MOST];
    bool by_memory; /* the last message was found so, and the next is likely to be */
    unsigned looks; /* since then */
    uint64_t founds;
    uint64_t credits, credits_done; /* posted, completed */
    uint32_t spent; /* places for messages that were used: given back before the peer is told */
    bool armed;     /* the next message shows on the channel */
    bool owing;     /* a credit is due that there was no room for */
    bool ended;     /* the peer said that nothing follows */
    bool gone;      /* and is not there any more */
    /* A piece of the peer's memory that comes next, told by what is in the ring from edge on. */
    uint8_t told_piece[TP_RDMA_PIECE_MOST];
    uint32_t told_bytes; /* of those that have come; 0: none is due */
    uint64_t edge;
    struct tp_rdma_piece piece; /* what is left of it; bytes 0: not all told yet */
    uint8_t *bounce;            /* for what belongs to memory that is not kept */
    struct ibv_mr *bounce_mr;
    struct tp_rdma_line line; /* by which it is read; line.count are under way */
    unsigned reads_max;       /* at once */
    struct tp_rdma_span redo[TP_RDMA_RAILS * TP_RDMA_READS + 1]; /* what a rail has lost */
    unsigned redos;
    uint64_t straight, straight_device;
    enum gp_status status; /* what follows the bytes that are here */
};

struct tp_rdma {
    struct tp_stream s; /* first */

    /* Set once. */
    const struct tp_verbs *verbs;
    struct tp_lane *control; /* the tls lane that it began as */
    int control_fd;
    struct tp_rdma_nic nic;
    struct tp_rdma_rail *rails; /* rail_count of them */
    unsigned rail_count;
    uint8_t *memory; /* both rings, and the bounce */
    size_t memory_bytes;
    struct tp_cache cache;

    struct tp_rdma_out out;
    struct tp_rdma_in in;
};

/* Where the at-th byte of a row lies in a ring, whose length is a power of two. */
static inline uint64_t
tp_rdma_place(uint64_t at, uint32_t ring_bytes)
{
    return at & (ring_bytes - 1);
}

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
/* A device's queue pair and what belongs to it, to be joined. */
GP_CHECK enum gp_status tp_rdma_nic_open(struct tp_rdma_nic *nic, const struct tp_verbs *verbs);
void tp_rdma_nic_close(struct tp_rdma_nic *nic, const struct tp_verbs *verbs);
GP_CHECK enum gp_status tp_rdma_pair_for_reads(struct tp_rdma_pair *pair,
                                               const struct tp_verbs *verbs,
                                               const struct tp_rdma_nic *nic);
void tp_rdma_pair_destroy(const struct tp_verbs *v, struct tp_rdma_pair *pair);
/* peer: where its port is; serves, reads: at once, for the peer and from it. */
bool tp_rdma_pair_join(const struct tp_verbs *verbs, const struct tp_rdma_nic *nic,
                       struct tp_rdma_pair *pair, const struct tp_rdma_offer *peer, uint32_t qpn,
                       uint32_t psn, uint8_t serves, uint8_t reads);
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
/* The peer reads nothing any more of a piece that it was told, if it was; that ends sending. */
void tp_rdma_out_take_back(struct tp_rdma *r);
/* Say that nothing follows, and wait briefly until the peer's device has all of it. */
void tp_rdma_out_end(struct tp_rdma *r);

/* -- in.c ----------------------------------------------------------------------------------------
 */

enum gp_status tp_rdma_in_read(struct tp_rdma *r, const struct iovec *iov, int iovcnt,
                               size_t *got_p);
bool tp_rdma_in_arm(struct tp_rdma *r);
/* The same into memory of a device; *others_p: so many of the bytes come another way. */
enum gp_status tp_rdma_in_read_direct(struct tp_rdma *r, const struct iovec *to, size_t *got_p,
                                      size_t *others_p);
/* The message that head stands at the end of is read. */
void tp_rdma_in_pass(struct tp_rdma_in *in);
/* A message or a piece can be read. */
bool tp_rdma_in_has(const struct tp_rdma_in *in);
/* Something else than a message is done, if any: false if nothing is. */
bool tp_rdma_in_sent(struct tp_rdma *r);

/* -- rails.c -------------------------------------------------------------------------------------
 */

/* So many beside the one that the rings go by. */
static inline size_t
tp_rdma_rails_most(const struct tp_rdma_opts *opts)
{
    return opts->ports_max == 0 ? TP_RDMA_RAILS : gp_min_u64(opts->ports_max - 1, TP_RDMA_RAILS);
}
/* With these further addresses of ours, once both have offered some: agree on rails. What cannot be
 * is left out; not GP_OK only where the peer or the line fails. */
GP_CHECK enum gp_status tp_rdma_rails_agree(struct tp_rdma *r, enum tp_role role,
                                            struct tp_rdma_port *others, size_t count,
                                            const struct tp_opts *opts);
void tp_rdma_rails_destroy(struct tp_rdma *r);
/* The lane's words inside TLS (rdma.c). */
GP_CHECK enum gp_status tp_rdma_say(struct tp_rdma *r, enum tp_rdma_kind kind, const void *payload,
                                    size_t bytes, uint64_t deadline_ns);
GP_CHECK enum gp_status tp_rdma_hear(struct tp_rdma *r, enum tp_rdma_kind kind,
                                     const struct tp_opts *opts, struct tp_frame *frame);
/* It carries nothing from now on, and what is under way ends; false if it is so already. fail says
 * why. The receiver's. */
bool tp_rdma_rail_stop(const struct tp_rdma *r, struct tp_rdma_rail *rail);
void tp_rdma_rail_fail(const struct tp_rdma *r, struct tp_rdma_rail *rail, const char *why);

/* -- straight.c ----------------------------------------------------------------------------------
 */

/* Whether this process may register memory that a child could get too, and the device can read. */
bool tp_rdma_straight_possible(const struct tp_rdma *r, uint32_t *reads_p);
uint32_t tp_rdma_reads_at_once(const struct tp_verbs *verbs, struct ibv_context *context);
void tp_rdma_straight_begin(struct tp_rdma *r);
void tp_rdma_rail_begin(struct tp_rdma_rail *rail);
void tp_rdma_straight_end(struct tp_rdma *r);

/* Whether the lane's device takes memory of another device: why (TP_WHY_BYTES) says how, or why
 * not. */
bool tp_rdma_takes_device(struct tp_rdma *r, const void *at, size_t bytes, char *why);

/* How many of these bytes the next write will have the peer read, none of them or at least some. */
size_t tp_rdma_straight_bytes(struct tp_rdma *r, const void *at, size_t bytes);
/* What tells the peer, tp_rdma_piece_bytes() of it; tp_rdma_straight_bytes() said so. */
void tp_rdma_straight_tell(const struct tp_rdma *r, uint8_t out[TP_RDMA_PIECE_MOST]);
/* The peer has read it: the memory is its owner's. */
void tp_rdma_straight_done(struct tp_rdma *r);
/* Or it never will: devices let nobody read it any more. */
void tp_rdma_straight_drop(struct tp_rdma *r);

/* -- reads.c -------------------------------------------------------------------------------------
 */

/* in->piece is due: read some of it, into the first piece of iov. When it returns the device writes
 * nowhere. May wait for the devices, not for the peer's program. */
size_t tp_rdma_straight_read(struct tp_rdma *r, const struct iovec *iov, int iovcnt);
/* The same into memory of a device; 0 also where it does not come there. */
size_t tp_rdma_direct_read(struct tp_rdma *r, const struct iovec *to);
/* Of this process: something was wrong that would be so on each lane. */
bool tp_rdma_reads_are_broken(void);
/* One of the reads by the port of the rings has ended. */
void tp_rdma_read_ended(struct tp_rdma *r, const struct ibv_wc *wc);

#endif
