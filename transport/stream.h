/* transport/stream.h -- frames over a byte stream: what all lanes share
 *
 * A byte stream moves bytes without waiting; waiting, spinning, waking, cutting into frames and
 * placing payloads is done here once.
 */
#ifndef TP_STREAM_H
#define TP_STREAM_H

#include "transport/lane.h"

#include <poll.h>
#include <stdatomic.h>

/* Frames up to here are served from the buffer, whole and without a copy. */
#define TP_STREAM_BUFFER (64u << 10)
/* Of lanes whose peer may need our core. */
#define TP_STREAM_LOOKS 4u

struct tp_stream;

/* Less than this no lane takes from where it lies. */
#define TP_STRAIGHT_MIN (128u << 10)

/* None of these waits, but for devices, and a read for bytes that the peer has put ready. */
struct tp_stream_ops {
    /* GP_OK with *got_p > 0, GP_ERR_AGAIN, GP_ERR_CLOSED (orderly end), or what went wrong. */
    enum gp_status (*read)(struct tp_stream *s, const struct iovec *iov, int iovcnt, size_t *got_p);
    /* GP_OK with *put_p > 0 taken, GP_ERR_AGAIN, or what went wrong. */
    enum gp_status (*write)(struct tp_stream *s, const struct iovec *iov, int iovcnt,
                            size_t *put_p);
    /* NULL, or: how many of these bytes a write that begins with them would take from where they
     * lie, with nothing else. It says GP_ERR_AGAIN, with the same bytes to be offered again, until
     * the peer has them and all that was sent before; they may not change meanwhile. */
    size_t (*straight_bytes)(struct tp_stream *s, const void *at, size_t bytes);
    /* Where straight_bytes is: the peer can take nothing any more of what it was offered, which may
     * change from here on. Nothing is sent after it. */
    void (*take_back)(struct tp_stream *s);
    /* NULL, or: as read into memory of a device (struct tp_direct). Where other bytes come first,
     * or come another way, *others_p says how many, with GP_OK and *got_p 0. Of no bytes: whether
     * some are there. */
    enum gp_status (*read_direct)(struct tp_stream *s, const struct iovec *to, size_t *got_p,
                                  size_t *others_p);
    /* NULL, or: as tp_takes_device(). */
    bool (*takes_device)(struct tp_stream *s, const void *at, size_t bytes, char *why);
    /* NULL: by straight_bytes and write. Or: as write, of the next bytes of direct from `from` on.
     */
    enum gp_status (*write_direct)(struct tp_stream *s, const struct tp_direct *direct, size_t from,
                                   size_t *put_p);
    /* NULL, or: push out what write took. GP_ERR_AGAIN while something is left. */
    enum gp_status (*flush)(struct tp_stream *s);
    /* NULL, or: where the next bytes lie, most at most, that a read would copy; and have them read
     * with that. */
    const void *(*peek)(struct tp_stream *s, size_t most, size_t *bytes_p);
    void (*skip)(struct tp_stream *s, size_t bytes);
    /* NULL, or: where bytes that are sent belong, most at most, and have that many sent once they
     * are there. GP_ERR_AGAIN: no room, which write_fd will show. */
    enum gp_status (*room)(struct tp_stream *s, size_t most, void **to_p, size_t *bytes_p);
    void (*filled)(struct tp_stream *s, size_t bytes);
    /* NULL, or: a read would find bytes that the descriptor does not show. */
    bool (*buffered)(const struct tp_stream *s);
    /* NULL, or: have read_fd show what comes from now on, which it does not by itself. True:
     * something is here already. */
    bool (*arm)(struct tp_stream *s);
    /* NULL where read_fd shows by POLLOUT that a write may go on, or: have it show that by POLLIN.
     * Called by the receiver; write_fd shows it in either case. */
    void (*show_room)(struct tp_stream *s, bool on);
    void (*shutdown)(struct tp_stream *s);
    void (*finish)(struct tp_stream *s); /* say the orderly end as far as it goes */
    void (*destroy)(struct tp_stream *s);
    void (*abandon)(struct tp_stream *s);
};

struct tp_stream {
    struct tp_lane lane; /* first: a lane is cast to its stream */

    /* Set once. */
    const struct tp_stream_ops *bytes;
    int read_fd, write_fd;
    int end_fd;    /* what shows the peer's end by POLLRDHUP; -1: read_fd */
    int wake_fd;   /* eventfd */
    bool linked;   /* a link's: its receiver may wait for room too */
    int change_fd; /* eventfd that wakes a sender who sleeps, or -1 */

    /* Looks between two offers of the core to somebody else, who may be the one we wait for.
     * Relaxed, as write_events. */
    _Atomic unsigned looks_per_yield;
    /* Looks before the first of these, without a pause or a look at the clock: what is on its way
     * is not to come while we yield. Of lanes where one is no system call. */
    _Atomic unsigned first_looks;
    _Atomic short write_events; /* what to poll write_fd for; relaxed: a link's lane may change */

    /* Any thread. woken: acquire/release with tp_wake(); ended: relaxed, errors follow anyway. */
    atomic_bool woken, ended;

    /* The sender's. */
    enum gp_status send_status; /* not GP_OK: sending is over */

    /* The receiver's. */
    enum gp_status recv_status;
    _Atomic short read_events; /* what to poll read_fd for; relaxed: asked for anywhere */
    uint8_t header[GP_FRAMING_HEADER_MAX];
    uint32_t payload_bytes; /* of the frame whose header was taken last */
    bool partial;           /* tp_recv_frame() has taken a header and waits for its payload */
    bool dry;               /* the last read found nothing */
    size_t *others;         /* while it receives into a device's memory: read_direct's */
    uint8_t *buf;           /* TP_STREAM_BUFFER bytes; [head, tail) is unread */
    size_t head, tail;
    uint8_t *big; /* payloads that do not fit buf */
    size_t big_bytes, big_got;
    uint64_t spin_ns;   /* how long it pays to look, between a share of spin_us and all of it */
    unsigned peer_here; /* waits in a row that ended because we left the core to somebody */
};

/* Prepare everything but the bytes; on failure nothing is left to undo. */
GP_CHECK enum gp_status tp_stream_init(struct tp_stream *s, const struct tp_ops *ops,
                                       const struct tp_stream_ops *bytes,
                                       const struct tp_opts *opts);
/* Undo it, the lane's memory excepted. */
void tp_stream_fini(struct tp_stream *s);

static inline struct tp_stream *
tp_stream_of(struct tp_lane *lane)
{
    return (struct tp_stream *)lane;
}

/* For struct tp_ops. */
enum gp_status tp_stream_send(struct tp_lane *lane, const struct iovec *iov, int iovcnt,
                              uint64_t deadline_ns);
enum gp_status tp_stream_recv_frame(struct tp_lane *lane, struct tp_frame *frame_p,
                                    uint32_t whole_bytes, uint64_t deadline_ns);
enum gp_status tp_stream_recv_header(struct tp_lane *lane, struct tp_frame *frame_p,
                                     uint64_t deadline_ns);
enum gp_status tp_stream_recv_payload(struct tp_lane *lane, void *dst, size_t bytes,
                                      uint64_t deadline_ns, size_t *got_p);
/* Where struct tp_stream_ops has peek and skip. */
const void *tp_stream_peek_payload(struct tp_lane *lane, size_t most, size_t *bytes_p);
void tp_stream_skip_payload(struct tp_lane *lane, size_t bytes);
enum gp_status tp_stream_recv_direct(struct tp_lane *lane, void *dst, size_t bytes,
                                     uint64_t deadline_ns, size_t *got_p, size_t *others_p);
enum gp_status tp_stream_send_direct(struct tp_lane *lane, const struct iovec *iov, int iovcnt,
                                     const struct tp_direct *direct, uint64_t deadline_ns);
bool tp_stream_takes_device(struct tp_lane *lane, const void *at, size_t bytes, char *why);
/* Where it has room and filled. */
bool tp_stream_fills(const struct tp_lane *lane);
enum gp_status tp_stream_send_filled(struct tp_lane *lane, const struct iovec *iov, int iovcnt,
                                     const struct tp_fill *fill, uint64_t deadline_ns);
bool tp_stream_pending(const struct tp_lane *lane);
int tp_stream_event_fd(const struct tp_lane *lane);
int tp_stream_end_fd(const struct tp_lane *lane);
void tp_stream_wake(struct tp_lane *lane);
void tp_stream_shutdown(struct tp_lane *lane);
void tp_stream_close(struct tp_lane *lane);
void tp_stream_abandon(struct tp_lane *lane);

#define TP_STREAM_OPS                                                                              \
    .send = tp_stream_send, .send_direct = tp_stream_send_direct,                                  \
    .recv_direct = tp_stream_recv_direct, .takes_device = tp_stream_takes_device,                  \
    .recv_frame = tp_stream_recv_frame, .recv_header = tp_stream_recv_header,                      \
    .recv_payload = tp_stream_recv_payload, .pending = tp_stream_pending,                          \
    .event_fd = tp_stream_event_fd, .end_fd = tp_stream_end_fd, .wake = tp_stream_wake,            \
    .shutdown = tp_stream_shutdown, .close = tp_stream_close, .abandon = tp_stream_abandon

#endif
