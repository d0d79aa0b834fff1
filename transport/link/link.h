/* transport/link/link.h -- a lane that survives its line
 *
 * A link is a lane around another one, which it may lose and get a new one for. Both directions are
 * rows of bytes, numbered from 0 at the wrapping; what the peer has not acknowledged is kept. When
 * the lane underneath fails the link is broken: it takes what is sent up to its window, receives
 * nothing, and waits. With a new lane both ends tell each other how many bytes they have received,
 * and each sends again exactly what the other lacks, from the middle of a frame if need be: those
 * who send and receive through the link notice nothing. The new lane may be of another kind. While
 * it is one that only a process's end ends (TP_CAP_STEADY), nothing is kept, and its end is the
 * link's.
 *
 * Acknowledgements travel in the frames' headers (gp_framing) and, where one direction is silent,
 * in frames of their own, which the receiver must ignore.
 *
 * Threads: as any lane's; break, look, detach, attach and catch_up from any other at any time.
 * Locks:   two for each link, receive before send; each is held over at most one call of the lane
 *          underneath that does not wait. changed() is called without either.
 */
#ifndef TP_LINK_H
#define TP_LINK_H

#include "transport/transport.h"

#define TP_LINK_WINDOW_DEFAULT (16u << 20)

enum tp_link_state {
    TP_LINK_LIVE,
    TP_LINK_BROKEN, /* waits for a lane */
    TP_LINK_OVER,   /* the peer said its last frame and went, or tp_shutdown() */
};

struct tp_link_opts {
    uint64_t window_bytes; /* a send waits while more than this is kept; 0: 16 MiB */
    /* A send that waits takes in what arrives, so that acknowledgements are seen although whoever
     * receives is busy. Where a receiver that waits in poll(2) by itself must see it: false. */
    bool take_in;
    /* The line is lost, or there is one again; may be NULL. Any thread, must not wait, and may only
     * ask for the state. */
    void (*changed)(void *user);
    void *user;
};

/*
 * Make a link of a lane in a moment when both ends have sent and received the same frames whole.
 *
 * Ownership: takes lane in every case.
 * Errors:    GP_ERR_NOT_SUPPORTED for a lane without a byte stream, or in the process alone,
 *            GP_ERR_NO_MEMORY, GP_ERR_LIMIT.
 */
GP_CHECK enum gp_status tp_link_wrap(struct tp_lane *lane, const struct tp_link_opts *opts,
                                     struct tp_lane **link_p);
/* True if this lane is one; the functions below take no other. */
bool tp_link_is(const struct tp_lane *lane);
enum tp_link_state tp_link_state(const struct tp_lane *link);

/* Give up the lane underneath: the peer is silent, or is here with a new one. why: for the log.
 * Nothing is done with a steady one. */
void tp_link_break(struct tp_lane *link, const char *why);
/* Take in what has arrived, without waiting, to find out whether the peer has gone and how. */
void tp_link_look(struct tp_lane *link);

/*
 * Let go of the lane underneath and say how much has arrived: nothing more will before
 * tp_link_attach(). GP_ERR_CLOSED if the link is over, GP_ERR_NOT_SUPPORTED and nothing done if its
 * lane is a steady one.
 */
GP_CHECK enum gp_status tp_link_detach(struct tp_lane *link, uint64_t *received_p);
/*
 * Go on with a new lane, after the peer said how much it has received; tp_link_catch_up() follows.
 * Does not wait.
 *
 * Ownership: takes lane in every case.
 * Errors:    GP_ERR_INVALID if peer_received is not what a peer of ours could have (the link stays
 *            broken), GP_ERR_NOT_SUPPORTED, GP_ERR_CLOSED.
 */
GP_CHECK enum gp_status tp_link_attach(struct tp_lane *link, struct tp_lane *lane,
                                       uint64_t peer_received);

/* Send what the peer lacks, if nobody else does; returns when it has left or the lane is lost. */
void tp_link_catch_up(struct tp_lane *link);

/* Bytes kept for the peer. Any thread. */
uint64_t tp_link_kept(struct tp_lane *link);

/* -- who may go on with a session ---------------------------------------------------------------
 */

/*
 * The key of a session that was opened over lane: of what only the two ends of its handshake know
 * (nothing on tcp) and the secret that the server told. Both ends compute it, neither sends it.
 */
GP_CHECK enum gp_status tp_link_key(struct tp_lane *lane, uint64_t session_id,
                                    const uint8_t secret[32], uint8_t key[TP_KEY_BYTES]);
/* What is said with a further connection; its place among several that come together (line of
 * lines) is 0 of 0 for one alone. */
struct tp_link_claim {
    uint64_t session_id, attempt, received;
    uint32_t line, lines;
};

/* What proves the key for one attempt, so that it is of no use for another. */
GP_CHECK enum gp_status tp_link_proof(const uint8_t key[TP_KEY_BYTES],
                                      const struct tp_link_claim *claim, uint8_t proof[32]);

#endif
