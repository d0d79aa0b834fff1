/* transport/lane.h -- what every lane has, and what a transport must supply
 *
 * Private to transport/ and its tests. transport.c wraps each operation for the public header and
 * checks the arguments once for all transports.
 */
#ifndef TP_LANE_H
#define TP_LANE_H

#include "protocol/base/url.h"
#include "protocol/base/util.h"
#include "transport/transport.h"

#include <stdatomic.h>

/* Operations of an open lane. Contracts are those of the public functions of the same name. */
struct tp_ops {
    const char *scheme;
    uint32_t caps;

    enum gp_status (*send)(struct tp_lane *lane, const struct iovec *iov, int iovcnt,
                           uint64_t deadline_ns);
    /* As tp_recv_frame_upto(). */
    enum gp_status (*recv_frame)(struct tp_lane *lane, struct tp_frame *frame_p,
                                 uint32_t whole_bytes, uint64_t deadline_ns);
    enum gp_status (*recv_header)(struct tp_lane *lane, struct tp_frame *frame_p,
                                  uint64_t deadline_ns);
    /* bytes is at most lane->payload_left. */
    enum gp_status (*recv_payload)(struct tp_lane *lane, void *dst, size_t bytes,
                                   uint64_t deadline_ns, size_t *got_p);
    bool (*pending)(const struct tp_lane *lane);
    int (*event_fd)(const struct tp_lane *lane);
    void (*wake)(struct tp_lane *lane);
    void (*shutdown)(struct tp_lane *lane);
    void (*close)(struct tp_lane *lane);
    void (*abandon)(struct tp_lane *lane);

    /* NULL where nothing of what is sent is kept. */
    enum gp_status (*send_lent)(struct tp_lane *lane, const struct iovec *iov, int iovcnt,
                                const struct iovec *lent, int lents, uint64_t deadline_ns);
    enum gp_status (*settle)(struct tp_lane *lane, const void *base, size_t bytes);

    enum gp_status (*send_direct)(struct tp_lane *lane, const struct iovec *iov, int iovcnt,
                                  const struct tp_direct *direct, uint64_t deadline_ns);
    enum gp_status (*recv_direct)(struct tp_lane *lane, void *dst, size_t bytes,
                                  uint64_t deadline_ns, size_t *got_p, size_t *others_p);
    bool (*takes_device)(struct tp_lane *lane, const void *at, size_t bytes, char *why);

    /* NULL where what is received lies in no memory of both ends. */
    const void *(*peek_payload)(struct tp_lane *lane, size_t most, size_t *bytes_p);
    void (*skip_payload)(struct tp_lane *lane, size_t bytes);

    /* NULL where what is sent lies in no memory of both ends; fills: whether it does now. */
    bool (*fills)(const struct tp_lane *lane);
    enum gp_status (*send_filled)(struct tp_lane *lane, const struct iovec *iov, int iovcnt,
                                  const struct tp_fill *fill, uint64_t deadline_ns);

    /* NULL where there is nothing of the kind. */
    short (*event_mask)(const struct tp_lane *lane);
    int (*end_fd)(const struct tp_lane *lane);
    uint64_t (*received)(struct tp_lane *lane);
    const char *(*scheme_now)(const struct tp_lane *lane); /* where it may change */
    /* 32 bytes that both ends have and nobody else; NULL: the lane keeps no secrets. */
    enum gp_status (*export_key)(struct tp_lane *lane, uint8_t out[TP_KEY_BYTES]);
};

struct tp_lane {
    const struct tp_ops *ops;

    /* Set once before the lane is handed out. */
    struct tp_peer peer;
    const struct gp_framing *framing;

    /* The receiver's. */
    uint32_t max_payload_bytes;
    uint32_t payload_left;

    /* Relaxed: a hint that may arrive late. */
    _Atomic uint32_t spin_us;

    /* Written by the sender or the receiver alone, read by anyone; relaxed, counters only. */
    _Atomic uint64_t bytes_sent, sends;
    _Atomic uint64_t bytes_received, frames_received, sleeps;
};

/* How a scheme comes to lanes; an op is NULL where the scheme has nothing of the kind. */
struct tp_scheme {
    const char *name;
    bool loopback_only;  /* other addresses are refused at both ends */
    bool is_path;        /* a unix socket's path or name in place of host and port */
    const char *refusal; /* not NULL: known but not to be had, and why */
    /* Takes fd; url is NULL for an accepted connection. */
    enum gp_status (*adopt)(int fd, enum tp_role role, const struct gp_url *url,
                            const struct tp_opts *opts, struct tp_lane **lane_p);
};

extern const struct tp_scheme tp_scheme_shm, tp_scheme_tcp, tp_scheme_tls, tp_scheme_rdma;

/* Fill the common part from opts (checked before). */
void tp_lane_init(struct tp_lane *lane, const struct tp_ops *ops, const struct tp_opts *opts);

/* Say why something failed, into opts->why or the log, and return status. */
enum gp_status tp_fail(const struct tp_opts *opts, enum gp_status status, const char *fmt, ...)
    GP_PRINTF(3, 4);

/* opts->deadline_ns or the default. */
uint64_t tp_opts_deadline(const struct tp_opts *opts);

/* For counters with one writer: no locked instruction. */
static inline void
tp_count(_Atomic uint64_t *counter, uint64_t by)
{
    uint64_t now = atomic_load_explicit(counter, memory_order_relaxed);

    atomic_store_explicit(counter, now + by, memory_order_relaxed);
}

#endif
