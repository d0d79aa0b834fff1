/* backend/session/line.h -- the way to the client: replies, notices and data become frames
 *
 * Records gather in an open frame; frames in a buffer. One thread at a time sends, without the
 * lock; what others add meanwhile it sends next. The executor's own records wait until the end of
 * the frame that caused them, so that answers travel together.
 *
 * Lock: line.lock (rank 50), the last of all; never held across a send.
 */
#ifndef BE_LINE_H
#define BE_LINE_H

#include "backend/cuda/call.h"
#include "protocol/base/buf.h"
#include "protocol/base/pack.h"
#include "protocol/wire/frame.h"
#include "transport/transport.h"

#include <pthread.h>
#include <stdatomic.h>

struct be_line {
    /* Set once. */
    struct tp_lane *lane; /* borrowed; NULL: what is sent goes nowhere */
    uint32_t max_payload_bytes;
    pthread_t executor;

    bool packs; /* set once: the client agreed to packed data */

    /* Held over the sending of what was packed; who does not get it at once sends plain bytes. */
    pthread_mutex_t pack_lock; /* rank 45 */
    struct gp_pack pack;       /* guarded by pack_lock */
    uint8_t *pack_room;        /* made when first needed */

    uint64_t received_seq; /* the executor's: of the last numbered frame */
    /* When the executor went to work on what it had received; 0: it receives. Relaxed: a hint. */
    _Atomic uint64_t busy_since_ns;
    atomic_bool hopeless; /* what runs for the session will not end by itself */

    pthread_mutex_t lock; /* rank 50 */
    pthread_cond_t turn;  /* nobody sends any more */

    /* Guarded by lock; back belongs to the sender while sending. */
    struct gp_buf front, back;
    size_t open_at;    /* where the open frame's header lies */
    uint8_t open_kind; /* 0: none is open */
    uint32_t open_records;
    size_t record_at; /* of the record that is being written */
    uint64_t seq;
    bool sending, closed;
    int32_t deferred;
    uint16_t deferred_call;
    uint32_t deferred_context;
};

void be_line_init(struct be_line *line, struct tp_lane *lane, uint32_t max_payload_bytes);
void be_line_fini(struct be_line *line);

/* A frame without records: HELLO, PONG, BYE. */
void be_line_frame(struct be_line *line, enum wire_frame_kind kind, uint32_t tag,
                   const void *payload, size_t bytes);
void be_line_flush(struct be_line *line);
/* Any thread. The session ends: its client is told by say(), if it listens within half a second;
 * after then() (or NULL) the lane is shut, so that nobody waits for it any more. */
void be_line_farewell(struct be_line *line, void (*say)(void *user), void (*then)(void *user),
                      void *user);
/* Nobody listens any more: what is said from now on goes nowhere. */
void be_line_end(struct be_line *line);
bool be_line_closed(struct be_line *line);

#endif
