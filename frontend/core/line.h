/* frontend/core/line.h -- the inside of a session's line; private to frontend/core
 *
 * Two halves that share nothing but the lane: submission (any thread appends records to one
 * sequence, one thread at a time sends) and reception (one thread at a time reads).
 *
 * Lock ranks, taken in ascending order only:
 *   10 fe_start's lock
 *   20 line.submit.lock
 *   30 line.recv.lock
 *   35 queues of the notice threads
 *   40 a slab's lock
 * submit.lock and recv.lock are never held across a send, a receive or a handler. What a program's
 * thread does between fe_post() and fe_post_done() happens under submit.lock.
 */
#ifndef FE_LINE_H
#define FE_LINE_H

#include "frontend/core/call.h"
#include "frontend/core/data.h"
#include "frontend/core/session.h"
#include "frontend/core/stats.h"
#include "protocol/base/url.h"
#include "protocol/wire/frame.h"
#include "transport/transport.h"

#include <pthread.h>
#include <stdatomic.h>

#define FE_BATCH_BYTES    (WIRE_RECORD_BYTES_MAX + (64u << 10)) /* addresses, touched as needed */
#define FE_BATCH_SOFT     (1u << 20)  /* records gather up to here before posting waits */
#define FE_BATCH_SELF     (60u << 10) /* so much is not sent: who posts does it */
#define FE_BATCH_KEEP     (2u << 20)  /* touched memory beyond it is given back */
#define FE_TAIL_MIN       (64u << 10) /* shorter tails are copied */
#define FE_SLOTS          1024u
#define FE_SLOT_INLINE    256
#define FE_DATA_CHUNK     512u
#define FE_DATA_CHUNKS    127u /* ids are 16 bits of index, 16 of generation */
#define FE_PONG_BYTES_MAX 64

/* A thread that waits for somebody else to read; on its stack. Guarded by recv.lock but for word.
 */
struct fe_waiter {
    _Atomic uint32_t word; /* futex: 1 once there is something to look at */
    struct fe_waiter *next, *prev;
};

/* Something that the reader will set. */
struct fe_done {
    _Atomic uint32_t set;     /* release by the reader, acquire by who waits */
    struct fe_waiter *waiter; /* guarded by recv.lock */
};

/* Where one sync call's reply arrives. */
struct fe_slot {
    struct fe_done done;
    _Atomic uint32_t tag; /* of the call it serves, 0: none; release by it, acquire by the reader */
    /* Guarded by submit.lock. */
    uint32_t generation;
    struct fe_slot *next_free;
    /* The reader's until done is set, then the caller's. */
    struct wire_result result;
    uint8_t *bytes; /* inline_bytes or malloc'ed */
    size_t len;
    _Alignas(8) uint8_t inline_bytes[FE_SLOT_INLINE];
};

/* A copy to the host. Guarded by recv.lock but for done.set; shape is constant while open. */
struct fe_data {
    struct fe_done done;
    struct fe_data_shape shape;
    uint64_t total, received;
    CUresult result;
    uint32_t index;
    uint16_t generation;
    bool open, async;
    bool kept; /* FE_DATA_KEPT */
    bool busy; /* the reader writes to the destination just now */
    struct fe_data *next_free;
};

/* Records that gather, or are being sent; or one alone that ends with memory of the program's. */
struct fe_batch {
    uint8_t *bytes; /* FE_BATCH_BYTES; the frame's header, then the records */
    size_t len;     /* header included */
    size_t payload; /* of the frame: records and tails */
    uint32_t records;
    struct iovec tail; /* before the record's padding; none if it is empty */
    size_t tail_at;    /* how many of bytes come before it */
};

struct fe_submit {
    pthread_mutex_t lock; /* rank 20 */
    pthread_cond_t room;  /* a batch was sent, a slot came free, or the session ended */

    /* Guarded by lock. */
    struct fe_batch batch[2];
    unsigned fill;    /* which one gathers */
    bool sending;     /* the other one is on its way; its sender alone touches it */
    uint64_t filling; /* number of the batch that gathers */
    unsigned room_waiters;
    size_t open_bytes; /* of the record between fe_post and fe_post_done */
    size_t open_payload;
    bool open_flush; /* it must be sent before fe_post_done returns */
    struct fe_slot *free_slots;
    uint32_t slots_used;
    bool ping_due;
    uint32_t pong_len; /* UINT32_MAX: none due */
    uint32_t pong_tag;
    uint8_t pong[FE_PONG_BYTES_MAX];
    bool sleeping;     /* the sending thread sleeps on bell */
    bool napping;      /* so it does, for a moment: whoever waits sends by himself */
    unsigned brief;    /* waits in a row that followed on few records */
    uint32_t waited;   /* what posted was at the last of them */
    uint64_t held_ns;  /* since when what gathers is not sent because of the nap; 0: nothing is */
    uint64_t owed_ns;  /* what holding back has cost and waits have not brought in yet */
    uint64_t next_seq; /* of CALLS frames */

    /* Relaxed, written under lock: statistics, and a hint for the spinning sender. */
    _Atomic uint64_t calls_async, calls_sync;
    _Atomic uint64_t held; /* times that no wait followed in time on what was held back for it */
    _Atomic uint32_t posted;
    /* Futex of the sending thread. */
    _Atomic uint32_t bell;

    /* Set once. */
    struct fe_slot *slots;
    size_t payload_max;
};

struct fe_receive {
    pthread_mutex_t lock; /* rank 30 */

    /* Guarded by lock. */
    bool leader;                    /* somebody reads */
    struct fe_waiter *first, *last; /* who waits for the leader */
    uint64_t activity;              /* readings by waiting threads that ended */
    bool parked;                    /* the background thread stays away, on its bell */
    struct fe_data *chunks[FE_DATA_CHUNKS];
    uint32_t data_used;
    struct fe_data *free_data;
    struct fe_data_wanted *data_wanted; /* who waits for one, the first comes first */
    int expected;

    /* Futex of the background thread. */
    _Atomic uint32_t bell;
    int poke_fd; /* eventfd; set once: wakes the background thread where it polls */
    /* Relaxed. */
    _Atomic uint64_t round_trips, waited_ns;

    /* The leader's. */
    uint64_t last_seq; /* of the server's numbered frames */
    uint64_t heard_ns; /* when the last bytes came */
    uint64_t ping_ns;  /* when the last PING was asked for */
    unsigned pings;    /* since anything came */
    uint8_t *scratch;
    size_t scratch_bytes;
};

/* How the session goes on when its line is lost; resume.c. */
struct fe_resume {
    /* Set once. */
    uint64_t grace_ns; /* 0: it does not */
    uint64_t session_id;
    uint8_t key[TP_KEY_BYTES];
    char url[GP_URL_TEXT_MAX + 1]; /* the server's, by the address that it was met at */
    /* Where a session that asked for the best lane went over to RDMA; "": nowhere. */
    char rdma_url[GP_URL_TEXT_MAX + 1];
    /* Where the server says that it listens for RDMA; "": nowhere. */
    char rdma_offered[GP_URL_TEXT_MAX + 1];
    uint32_t lines; /* connections for bulk, TP_BUNDLE_MAX at most; less than 2: none but one */
    uint64_t lines_after; /* so many bytes, both ways together */

    _Atomic bool at_work; /* a thread looks for another line */
    /* That thread's. */
    uint64_t attempt;
    uint64_t wide_ns, wide_pause_ns; /* when several went on together; before the next try */
    /* Relaxed: hints for those who send and receive. */
    _Atomic bool wide; /* several go on together, or did until the line was lost */
    _Atomic uint64_t wide_not_before_ns;
    _Atomic uint32_t bell; /* futex: the session is over, or its line was lost once more */
};

struct fe_line {
    /* Set once. */
    struct tp_lane *lane; /* a link, if the session survives its line */
    struct fe_session *session;
    struct fe_resume resume;
    uint64_t heartbeat_ns; /* 0: none */
    uint32_t spin_us;      /* of who waits for something; 0 where cores are scarce */

    struct fe_submit submit;
    struct fe_receive recv;
    /* First deferred failure that no call has reported; CUresult. Relaxed. */
    _Atomic int32_t deferred;
    /* Release when the session ends, acquire by all. */
    _Atomic bool over;
};

/* --- line.c: made and started ---------------------------------------------- */

/* Takes lane in every case; it becomes a link if resume's grace_ns is not 0. */
GP_CHECK enum gp_status fe_line_create(struct fe_session *s, struct tp_lane *lane,
                                       size_t payload_max, uint32_t heartbeat_ms,
                                       const struct fe_resume *resume, struct fe_line **line_p);
GP_CHECK enum gp_status fe_line_start(struct fe_line *l);
/* Everybody who waits looks up; nobody waits from now on. Any thread. */
void fe_line_end(struct fe_line *l);
/* A detached thread of ours, without signals. */
GP_CHECK enum gp_status fe_thread_create(const char *name, void *(*fn)(void *), void *arg);

/* --- submit.c --------------------------------------------------------------- */

/* Send what has gathered, from this thread if nobody is sending. */
void fe_submit_flush(struct fe_line *l);
/* The same and BYE, until the deadline at most; the last thing that is sent. */
void fe_submit_finish(struct fe_line *l, uint64_t deadline_ns);
void fe_submit_ping(struct fe_line *l);
void fe_submit_pong(struct fe_line *l, uint32_t tag, const void *bytes, uint32_t len);
/* submit.lock held, NULL unlocks: see fe_post(). */
void *fe_submit_begin(struct fe_line *l, struct fe_call *call, size_t head_bytes, const void *tail,
                      size_t tail_bytes);
void fe_submit_end(struct fe_line *l, bool wake);
void fe_submit_free_slot(struct fe_line *l, struct fe_slot *slot);
void *fe_submit_thread(void *line);

/* --- receive.c -------------------------------------------------------------- */

/* Returns when done is set or the session is over; reads if nobody else does. */
void fe_receive_wait(struct fe_line *l, struct fe_done *done);
/* Take in what is here already, if nobody else does. */
void fe_receive_look(struct fe_line *l);
/* By the reader: set and wake. */
void fe_receive_set(struct fe_line *l, struct fe_done *done);
/* The same with recv.lock held, which is free on return. */
void fe_receive_set_unlock(struct fe_receive *r, struct fe_done *done);
void fe_receive_expect(struct fe_line *l, int change);
void *fe_receive_thread(void *line);
/* All of the frame's payload that is left; false when the session ended. */
bool fe_receive_bytes(struct fe_line *l, void *to, size_t bytes);
/* So much of it in memory that is good until the next frame; NULL when the session ended. */
const uint8_t *fe_receive_payload(struct fe_line *l, uint32_t bytes);

/* --- resume.c --------------------------------------------------------------- */

/* The line is another one: whoever polls must look at that. */
void fe_receive_poke(struct fe_line *l);
/* For tp_link_opts.changed; user is the line. */
void fe_resume_changed(void *line);
/* With a URL that wants the best lane, and before the line is started: go over to the first of the
 * lanes that the server offers and both sides have. Whatever happens, the session goes on. */
void fe_resume_choose(struct fe_line *l, const struct wire_open_answer *answer);
/* Much has been sent or received: go on by several connections if that is wanted now. */
void fe_resume_bulk(struct fe_line *l);
/* Where a lane that is offered is; false if it is none that we would go to: a server may send us to
 * sockets of gpupool's only, and to ports of its own. For tests. */
bool fe_lane_url(const char *session_url, const char *offered, char *url, size_t bytes);

/* --- data.c ----------------------------------------------------------------- */

/* The leader has taken a DATA frame's header; false when the session ended. */
bool fe_data_frame(struct fe_line *l, uint32_t data, uint32_t payload_bytes);

/* --- notice.c --------------------------------------------------------------- */

/* One record; false when it is malformed. */
bool fe_notice_record(struct fe_line *l, const struct wire_record *record, const uint8_t *args,
                      size_t len);

/* The session has ended; heard where there are several. */
void fe_notice_lost(struct fe_session *s);

/* --- call.c ----------------------------------------------------------------- */

/* Keep the first deferred failure. */
void fe_defer(struct fe_line *l, CUresult cr);
/* The same of a context, by its wire index (0: not told): a fault is that context's alone. */
void fe_defer_in(struct fe_line *l, uint32_t context, CUresult cr);

/* --- session.c -------------------------------------------------------------- */

/* fe_session_fail() with printf's arguments. */
void fe_session_failf(struct fe_session *s, CUresult cr, const char *fmt, ...) GP_PRINTF(3, 4);

#endif
