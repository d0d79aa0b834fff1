/* transport/link/link_priv.h -- a link from inside, for transport/link only */
#ifndef TP_LINK_PRIV_H
#define TP_LINK_PRIV_H

#include "protocol/base/buf.h"
#include "transport/link/link.h"
#include "transport/link/store.h"
#include "transport/stream.h"

#include <pthread.h>

/* Where the next header of what arrives begins. */
struct tp_walk {
    uint8_t header[GP_FRAMING_HEADER_MAX];
    size_t have;
    uint32_t skip; /* bytes of payload before it */
    bool lost;     /* what came is no frame of ours: whoever receives will say so */
    bool last;     /* the peer said that nothing follows */
};

struct tp_link {
    struct tp_stream s; /* first: frames are cut from the bytes that survive */
    struct tp_ops ops;  /* set once: the lane's own scheme and capabilities */

    /* Set once. room_fd wakes a sender, s.wake_fd a receiver, for both of them each change of the
     * lane underneath: poll(2) that sleeps on event_fd's old file does not see the new one.
     * event_fd stands for whatever descriptor the lane underneath has, so that a number once asked
     * for stays right: the socket's, or idle_fd's while there is none. out_fd and
     * s.end_fd are the same for those that show whether there is room to write, and the end. */
    int event_fd, out_fd, room_fd;
    uint64_t window_bytes;
    bool take_in;
    void (*changed)(void *user);
    void *user;

    pthread_mutex_t rx_lock, tx_lock; /* in this order */

    /* Written under both locks, read under either. */
    enum tp_link_state state;
    enum gp_status over_status;
    struct tp_stream *inner; /* NULL after detach */
    int idle_fd;             /* of this break, or signalled */
    unsigned generation;     /* of inner: counts those there were */

    /* Under rx_lock. */
    struct gp_buf ahead; /* [ahead_at, len) was received and not asked for yet */
    size_t ahead_at;
    struct tp_walk walk;
    _Atomic bool room_shown; /* by event_fd, where the lane underneath must be told; written under
                              * rx_lock, read by the receiver without; relaxed */

    /* Under tx_lock. */
    struct tp_store store;
    uint64_t sent_at; /* what is before it was given to the lane underneath */
    /* What the peer takes from where it lies just now, and when the lane was lost meanwhile: how
     * much of it is kept, so that it counts as sent. */
    struct iovec straight;
    size_t straight_kept;
    const struct tp_direct *direct; /* what straight is of; NULL: memory that we reach */
    /* Between a frame's first and last byte: nothing else may be put in. Relaxed: the sender takes
     * tx_lock between setting it and its first byte, and between its last byte and clearing it. */
    _Atomic bool in_send;
    /* The sender's, while it is in_send: what of its bytes is kept without a copy. */
    const struct iovec *lent;
    int lents;

    /* Written by whoever reads, under rx_lock; read anywhere. Relaxed: counters that only grow. */
    _Atomic uint64_t received, peer_ack;
    /* Written when an acknowledgement is put on its way; relaxed. */
    _Atomic uint64_t ack_sent;
    _Atomic bool ack_stuck; /* one did not fit into the line */
    /* The sender waits on room_fd; sequentially consistent with peer_ack. */
    _Atomic bool room_wanted;
    _Atomic int state_seen;       /* state, for tp_link_state() */
    _Atomic(const char *) scheme; /* of the lane underneath, or of the last one */
};

static inline struct tp_link *
tp_link_of(const struct tp_lane *lane)
{
    return (struct tp_link *)(uintptr_t)lane;
}

/* line.c: rx_lock held but for lose; never wait. */
/* Have event_fd show what comes; true: something is here already. */
bool tp_link_arm(struct tp_link *l);
enum gp_status tp_link_take(struct tp_link *l, const struct iovec *iov, int iovcnt, size_t *got_p);
/* The same into a device's memory, where the lane underneath can. */
enum gp_status tp_link_take_direct(struct tp_link *l, const struct iovec *to, size_t *got_p,
                                   size_t *others_p);
/* tx_lock held: keep what lies in a device's memory. All or nothing. */
enum gp_status tp_link_keep_direct(struct tp_link *l, const struct tp_direct *direct,
                                   const void *from, size_t bytes);
enum gp_status tp_link_take_ahead(struct tp_link *l, size_t *got_p);
/* No lock held: the lane of this generation failed; whoever comes second finds it done. */
void tp_link_lose(struct tp_link *l, unsigned generation, enum gp_status status, const char *why);
/* Both locks held: nothing goes on from here. */
void tp_link_end(struct tp_link *l, enum gp_status status);
void tp_link_free_inner(struct tp_link *l);
/* A byte stream whose receiver can see that there is room, between two frames. */
bool tp_link_fits(const struct tp_lane *lane);
/* Both locks held, or nobody knows the link yet. */
enum gp_status tp_link_use(struct tp_link *l, struct tp_stream *inner);
/* tx_lock held, live: send what is kept and not sent. */
enum gp_status tp_link_push(struct tp_link *l);
/* No lock held: tell the peer how much has arrived, if that is due. */
void tp_link_ack_if_due(struct tp_link *l);
void tp_link_signal(int fd);

/* Under either lock: what such a lane took the peer has or will never ask for. */
static inline bool
tp_link_is_steady(const struct tp_link *l)
{
    return (l->inner->lane.ops->caps & TP_CAP_STEADY) != 0;
}

#endif
