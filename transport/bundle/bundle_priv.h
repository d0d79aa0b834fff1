/* transport/bundle/bundle_priv.h -- a bundle from inside, for transport/bundle only
 *
 * On each lane: runs, which are a header and bytes of the row. Header, little endian: number of
 * the first byte (8), how many there are (4), zeros (4).
 */
#ifndef TP_BUNDLE_PRIV_H
#define TP_BUNDLE_PRIV_H

#include "protocol/base/buf.h"
#include "transport/bundle/bundle.h"
#include "transport/stream.h"

#include <pthread.h>

#define TP_RUN_HEADER_BYTES 16u
#define TP_RUN_BYTES_MAX    (256u << 10)
/* Runs that wait in each direction of a further lane. */
#define TP_RUNS 4u

struct tp_run {
    uint64_t at;
    uint32_t bytes;
    uint32_t taken;
    uint8_t *data; /* TP_RUN_HEADER_BYTES and TP_RUN_BYTES_MAX more */
};

/* A row of runs between two threads; of runs[head ...] count are filled. */
struct tp_runs {
    pthread_mutex_t lock; /* a leaf */
    pthread_cond_t changed;
    struct tp_run runs[TP_RUNS];
    unsigned head, count; /* guarded by lock; head is moved by who empties */
};

/* A further lane. */
struct tp_way {
    struct tp_bundle *bundle;
    struct tp_stream *lane;
    struct tp_runs out, in;
    uint64_t in_end;   /* the receiving thread's: runs on a lane come in their order */
    atomic_bool ended; /* the peer said the end; release behind the last run, acquire */
};

struct tp_bundle {
    struct tp_stream s; /* first */
    struct tp_ops ops;

    /* Set once. */
    struct tp_stream *main;
    struct tp_way ways[TP_BUNDLE_MAX - 1];
    unsigned way_count;
    int come_fd;       /* eventfd: a run has come, or a lane has failed or ended */
    int room_fd;       /* eventfd: a run has left, or a lane has failed */
    int stop_fd;       /* eventfd: the threads end */
    int in_fd, out_fd; /* epoll: of come_fd, room_fd and the main lane's */

    pthread_mutex_t lock;  /* a leaf */
    pthread_cond_t halted; /* no thread is left */
    unsigned threads;      /* guarded by lock */

    atomic_bool stopping; /* relaxed, stop_fd follows */
    _Atomic int failed;   /* enum gp_status of the first lane that did; release, acquire */

    /* The sender's. */
    uint64_t out_at;
    struct gp_buf leaving; /* on the main lane; [left_at, len) is not sent yet */
    size_t left_at;
    unsigned next_way; /* who is asked for room first */

    /* The receiver's. */
    uint64_t in_at;
    uint64_t main_at;   /* of the run that the main lane is in */
    uint32_t main_left; /* of that */
    uint64_t main_end;
    enum gp_status main_status; /* how reading from it ended */
    uint32_t in_events;         /* what in_fd waits for at the main lane; 0: not in it */
    bool room_shown;
};

void tp_run_encode(uint64_t at, uint32_t bytes, uint8_t header[TP_RUN_HEADER_BYTES]);
/* GP_ERR_PROTOCOL for one that does not begin at end or after, is empty or too long. */
GP_CHECK enum gp_status tp_run_decode(const uint8_t header[TP_RUN_HEADER_BYTES], uint64_t end,
                                      uint64_t *at_p, uint32_t *bytes_p);

/* At most bytes of what the lane has, without waiting; what was read behind them is kept in the
 * lane's own buffer. */
GP_CHECK enum gp_status tp_way_take(struct tp_stream *lane, void *to, size_t bytes, size_t *got_p);
/* way.c: the threads of a further lane. */
GP_CHECK enum gp_status tp_way_start(struct tp_way *way);
void tp_way_wake(struct tp_way *way); /* once bundle's stopping is set and stop_fd signalled */
/* A place to be filled, or NULL; then it is filled. */
struct tp_run *tp_runs_room(struct tp_runs *runs);
void tp_runs_filled(struct tp_runs *runs);
/* The next run, or NULL; then it is emptied. */
struct tp_run *tp_runs_next(struct tp_runs *runs);
void tp_runs_emptied(struct tp_runs *runs);

/* in.c, out.c: struct tp_stream_ops. */
enum gp_status tp_bundle_read(struct tp_stream *s, const struct iovec *iov, int iovcnt,
                              size_t *got_p);
bool tp_bundle_buffered(const struct tp_stream *s);
bool tp_bundle_arm(struct tp_stream *s);
void tp_bundle_show_room(struct tp_stream *s, bool on);
enum gp_status tp_bundle_write(struct tp_stream *s, const struct iovec *iov, int iovcnt,
                               size_t *put_p);
enum gp_status tp_bundle_flush(struct tp_stream *s);

void tp_bundle_fail(struct tp_bundle *b, enum gp_status status);
void tp_bundle_signal(int fd);
void tp_bundle_quiet(int fd);

static inline enum gp_status
tp_bundle_failed(const struct tp_bundle *b)
{
    return (enum gp_status)atomic_load_explicit(&b->failed, memory_order_acquire);
}

#endif
