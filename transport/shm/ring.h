/* transport/shm/ring.h -- one direction of a lane in memory that two processes share
 *
 * The writer counts what it has put in (tail), the reader what it has taken out (head); both counts
 * only grow. Each side keeps its own count to itself and writes it down for the other, and takes
 * the other's for a claim: it is read once, and used only if the two of them can be true. So a
 * hostile peer can spoil the bytes it sends, and nothing else.
 *
 * Whoever is about to sleep says so in a word of its own (want); the other side takes that word
 * back when there is something to wake up for, and rings a bell, which is not the ring's affair.
 *
 * Threads: one on each side.
 */
#ifndef TP_RING_H
#define TP_RING_H

#include "protocol/base/status.h"

#include <stdalign.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

/* What both sides may write at any time; each group on a cache line of its own. */
struct tp_ring_shared {
    /* The writer's. */
    alignas(64) _Atomic uint64_t tail;
    _Atomic uint32_t ended; /* nothing follows, in an orderly way */
    /* The reader's. */
    alignas(64) _Atomic uint64_t head;
    _Atomic uint32_t gone; /* nobody reads any more */
    /* Set by one side before it sleeps, taken back by the other. */
    alignas(64) _Atomic uint32_t want_data;
    alignas(64) _Atomic uint32_t want_room;
};

/* One side's view. */
struct tp_ring {
    struct tp_ring_shared *shared;
    uint8_t *data;
    uint64_t size; /* a power of two */
    uint64_t pos;  /* own count: the reader's head or the writer's tail */
    uint64_t seen; /* the other's count, as it was last found */
};

/*
 * Take bytes out, as many as there are, iov holds and are good to take at once.
 *
 * Errors: GP_ERR_AGAIN: nothing is there. GP_ERR_PROTOCOL: the peer's count is impossible.
 */
GP_CHECK enum gp_status tp_ring_get(struct tp_ring *ring, const struct iovec *iov, int iovcnt,
                                    size_t *got_p);
/* The same without a copy: where the next bytes lie in a row, most at most; NULL: nothing is there,
 * or the peer's count is impossible, which the next get says. They are taken out by _skip. */
const uint8_t *tp_ring_peek(struct tp_ring *ring, size_t most, size_t *bytes_p);
void tp_ring_skip(struct tp_ring *ring, size_t bytes);
/* Put bytes in, as many as there is room for and are good to put at once; GP_ERR_AGAIN: none. */
GP_CHECK enum gp_status tp_ring_put(struct tp_ring *ring, const struct iovec *iov, int iovcnt,
                                    size_t *put_p);

/* The same without a copy: where the next bytes belong, most of them at most, in a row;
 * GP_ERR_AGAIN: no room. What has been written there is put in by _filled. */
GP_CHECK enum gp_status tp_ring_room(struct tp_ring *ring, size_t most, void **to_p,
                                     size_t *bytes_p);
void tp_ring_filled(struct tp_ring *ring, size_t bytes);

/* Who of the writer's side is to be woken when there is room. */
enum tp_ring_want {
    TP_RING_WANT_BOTH = 1, /* its sender, and its receiver, which has something to say too */
    TP_RING_WANT_SENDER = 2,
};

/* Reader: is there anything? An impossible count counts as something: the next get says so. */
bool tp_ring_has_data(const struct tp_ring *ring);

/* Say that we are about to sleep, then look: true if there is no need to. An impossible count
 * counts as room too. */
bool tp_ring_await_data(struct tp_ring *ring);
bool tp_ring_await_room(struct tp_ring *ring, enum tp_ring_want who);
/* After a put or a get: true, or not 0 but what the writer said, if the other side has to be woken.
 * A sleeping writer is, once there is room for a good part of what it has. */
bool tp_ring_data_wanted(struct tp_ring *ring);
uint32_t tp_ring_room_wanted(struct tp_ring *ring);

#endif
