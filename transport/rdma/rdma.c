/* transport/rdma/rdma.c -- the lane: from an open tls lane to rings in each other's memory */
#include "transport/rdma/rdma.h"

#include "protocol/base/log.h"
#include "transport/rdma/rdma_priv.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>

/* For an empty message and its answer by the device; one that is not there takes longer. */
#define WAY_NS (3 * GP_NS_PER_S)
/* The peer is on another machine, and the device on no core. */
#define LOOKS_PER_YIELD 128
/* ... and no look at the clock: some microseconds. */
#define FIRST_LOOKS 200

/* -- the lane -----------------------------------------------------------------------------------
 */

static enum gp_status
rdma_read(struct tp_stream *s, const struct iovec *iov, int iovcnt, size_t *got_p)
{
    return tp_rdma_in_read(tp_rdma_of(s), iov, iovcnt, got_p);
}

static enum gp_status
rdma_write(struct tp_stream *s, const struct iovec *iov, int iovcnt, size_t *put_p)
{
    return tp_rdma_out_write(tp_rdma_of(s), iov, iovcnt, put_p);
}

static bool
rdma_buffered(const struct tp_stream *s)
{
    const struct tp_rdma *r = tp_rdma_of(s);

    return tp_rdma_in_has(&r->in) || !r->in.armed;
}

static bool
rdma_arm(struct tp_stream *s)
{
    return tp_rdma_in_arm(tp_rdma_of(s));
}

static size_t
rdma_straight_bytes(struct tp_stream *s, const void *at, size_t bytes)
{
    return tp_rdma_straight_bytes(tp_rdma_of(s), at, bytes);
}

static enum gp_status
rdma_read_direct(struct tp_stream *s, const struct iovec *to, size_t *got_p, size_t *others_p)
{
    return tp_rdma_in_read_direct(tp_rdma_of(s), to, got_p, others_p);
}

static bool
rdma_takes_device(struct tp_stream *s, const void *at, size_t bytes, char *why)
{
    return tp_rdma_takes_device(tp_rdma_of(s), at, bytes, why);
}

static void
rdma_take_back(struct tp_stream *s)
{
    tp_rdma_out_take_back(tp_rdma_of(s));
}

static void
rdma_show_room(struct tp_stream *s, bool on)
{
    struct tp_rdma *r = tp_rdma_of(s);
    struct epoll_event event = {.events = EPOLLIN};

    if (epoll_ctl(s->read_fd, on ? EPOLL_CTL_ADD : EPOLL_CTL_DEL, r->out.pair.channel->fd,
                  &event) != 0)
        log_debug("lane %s: epoll: %m", s->lane.peer.address);
}

static void
rdma_shutdown(struct tp_stream *s)
{
    tp_shutdown(tp_rdma_of(s)->control); /* both ends see it there */
}

static void
rdma_finish(struct tp_stream *s)
{
    tp_rdma_out_end(tp_rdma_of(s));
}

static void
close_fd(int fd)
{
    if (fd >= 0)
        close(fd);
}

static void
rdma_destroy(struct tp_stream *s)
{
    struct tp_rdma *r = tp_rdma_of(s);

    tp_rdma_resources_destroy(r);
    close_fd(s->read_fd);
    close_fd(s->write_fd);
    tp_close(r->control);
}

static void
rdma_abandon(struct tp_stream *s)
{
    struct tp_rdma *r = tp_rdma_of(s);

    close(s->read_fd);
    close(s->write_fd);
    close(r->out.pair.channel->fd);
    close(r->in.pair.channel->fd);
    close(r->nic.context->async_fd);
    close(r->nic.context->cmd_fd);
    for (unsigned i = 0; i < r->rail_count; i++) {
        close(r->rails[i].pair.channel->fd);
        close(r->rails[i].nic.context->async_fd);
        close(r->rails[i].nic.context->cmd_fd);
    }
    tp_abandon(r->control);
}

static const struct tp_stream_ops rdma_bytes = {
    .read = rdma_read,
    .write = rdma_write,
    .straight_bytes = rdma_straight_bytes,
    .take_back = rdma_take_back,
    .read_direct = rdma_read_direct,
    .takes_device = rdma_takes_device,
    .buffered = rdma_buffered,
    .arm = rdma_arm,
    .show_room = rdma_show_room,
    .shutdown = rdma_shutdown,
    .finish = rdma_finish,
    .destroy = rdma_destroy,
    .abandon = rdma_abandon,
};

static enum gp_status
rdma_export_key(struct tp_lane *lane, uint8_t out[TP_KEY_BYTES])
{
    return tp_export_key(tp_rdma_of(tp_stream_of(lane))->control, out);
}

static const struct tp_ops rdma_ops = {
    .scheme = "rdma",
    .caps = TP_CAP_IDENTITY | TP_CAP_POLL,
    TP_STREAM_OPS,
    .export_key = rdma_export_key,
};

/* -- words inside TLS ---------------------------------------------------------------------------
 */

enum gp_status
tp_rdma_say(struct tp_rdma *r, enum tp_rdma_kind kind, const void *payload, size_t bytes,
            uint64_t deadline_ns)
{
    uint8_t header[TP_RDMA_HEADER_BYTES];
    struct iovec iov[2] = {{header, sizeof(header)}, {(void *)(uintptr_t)payload, bytes}};

    tp_rdma_header_encode(kind, (uint32_t)bytes, header);
    return tp_send_by(r->control, iov, 2, deadline_ns);
}

/* The peer's reason, made fit to be printed. */
static enum gp_status
refused(const struct tp_frame *frame, const struct tp_opts *opts)
{
    char text[TP_RDMA_TEXT_MAX + 1] = "";

    for (uint32_t i = 0; i < frame->payload_bytes && i < TP_RDMA_TEXT_MAX; i++)
        text[i] =
            frame->payload[i] >= ' ' && frame->payload[i] <= '~' ? (char)frame->payload[i] : '?';
    return tp_fail(opts, GP_ERR_NOT_SUPPORTED, "rdma: the peer refuses: %s", text);
}

/* The next frame, which must be of this kind. */
enum gp_status
tp_rdma_hear(struct tp_rdma *r, enum tp_rdma_kind kind, const struct tp_opts *opts,
             struct tp_frame *frame)
{
    const char *address = r->s.lane.peer.address;
    enum gp_status status;

    do
        status = tp_recv_frame(r->control, frame, opts->deadline_ns);
    while (status == GP_ERR_AGAIN);
    if (status != GP_OK)
        return tp_fail(opts, status, "rdma: %s: no offer came: %s", address,
                       gp_status_text(status));
    if (tp_rdma_header_kind(frame->header) == TP_RDMA_REFUSAL)
        return refused(frame, opts);
    if (tp_rdma_header_kind(frame->header) != (uint32_t)kind)
        return tp_fail(opts, GP_ERR_PROTOCOL, "rdma: %s: what it says is no offer", address);
    return GP_OK;
}

static enum gp_status
hear_offer(struct tp_rdma *r, const struct tp_opts *opts, struct tp_rdma_offer *offer)
{
    struct tp_frame frame;
    enum gp_status status = tp_rdma_hear(r, TP_RDMA_OFFER, opts, &frame);

    if (status == GP_OK && tp_rdma_offer_decode(frame.payload, frame.payload_bytes, offer) != GP_OK)
        return tp_fail(opts, GP_ERR_PROTOCOL, "rdma: %s: what it says is no offer",
                       r->s.lane.peer.address);
    return status;
}

/* -- from one to the other ----------------------------------------------------------------------
 */

/* What else there is beside the port of the rings. */
struct others {
    struct tp_rdma_port at[TP_RDMA_PORTS_MAX];
    size_t count;
};

/* layer: of the peer's port, 0 while it is not known. */
static enum gp_status
port_choose(struct tp_rdma *r, enum tp_role role, uint8_t layer, const struct tp_opts *opts,
            struct others *others)
{
    const struct tp_rdma_opts *allowed =
        role == TP_SERVER || opts->rdma.fabric_count > 0 ? &opts->rdma : NULL;
    struct tp_rdma_port ports[TP_RDMA_PORTS_MAX];
    const struct tp_rdma_port *port;
    char why[TP_WHY_BYTES];
    size_t count;

    if (role == TP_SERVER && opts->rdma.fabric_count == 0)
        return tp_fail(opts, GP_ERR_NOT_SUPPORTED,
                       "rdma: not allowed here: its payload is not encrypted, so --rdma-fabric "
                       "must list what to trust");
    count = tp_rdma_probe(ports, TP_RDMA_PORTS_MAX, why);
    if (count == 0)
        return tp_fail(opts, GP_ERR_NOT_SUPPORTED, "%s", why);
    port = tp_rdma_pick(ports, count, r->control_fd, layer, allowed);
    if (port == NULL)
        return tp_fail(opts, GP_ERR_NOT_SUPPORTED,
                       "rdma: none of the %zu addresses of ports here is %s", count,
                       allowed != NULL ? "on a fabric that --rdma-fabric lists" : "fit");
    r->nic.port = *port;
    others->count = tp_rdma_others(ports, count, port, allowed, others->at);
    return GP_OK;
}

/* The peer must be told before it sends anything: the answer is an offer that can be used. */
static enum gp_status
offer_send(struct tp_rdma *r, const struct others *others, const struct tp_opts *opts,
           uint32_t *rails_p)
{
    struct others each = *others;
    uint8_t bytes[TP_RDMA_OFFER_BYTES];
    struct tp_rdma_offer offer;
    enum gp_status status;

    tp_rdma_offer_fill(r, &offer);
    if (offer.reads > 0)
        offer.rails =
            (uint32_t)tp_rdma_one_each(each.at, each.count, tp_rdma_rails_most(&opts->rdma));
    *rails_p = offer.rails;
    tp_rdma_offer_encode(&offer, bytes);
    status = tp_rdma_say(r, TP_RDMA_OFFER, bytes, sizeof(bytes), opts->deadline_ns);
    if (status == GP_OK)
        return GP_OK;
    return tp_fail(opts, status, "rdma: %s: the line is gone", r->s.lane.peer.address);
}

static enum gp_status
agree_as_client(struct tp_rdma *r, const struct tp_opts *opts)
{
    struct tp_rdma_offer peer;
    struct others others;
    uint32_t rails;
    enum gp_status status = port_choose(r, TP_CLIENT, 0, opts, &others);

    if (status == GP_OK)
        status = tp_rdma_resources_create(r, opts);
    if (status == GP_OK)
        status = offer_send(r, &others, opts, &rails);
    if (status == GP_OK)
        status = hear_offer(r, opts, &peer);
    if (status == GP_OK)
        status = tp_rdma_join(r, &peer, opts);
    if (status == GP_OK)
        status = tp_rdma_say(r, TP_RDMA_READY, NULL, 0, opts->deadline_ns);
    if (status == GP_OK && rails > 0 && peer.rails > 0)
        status = tp_rdma_rails_agree(r, TP_CLIENT, others.at, others.count, opts);
    return status;
}

static enum gp_status
agree_as_server(struct tp_rdma *r, const struct tp_opts *opts)
{
    struct tp_opts quiet = *opts;
    char why[TP_WHY_BYTES] = "";
    struct tp_rdma_offer peer;
    struct tp_frame frame;
    struct others others;
    uint32_t rails;
    enum gp_status status = hear_offer(r, opts, &peer);

    if (status != GP_OK)
        return status;
    quiet.why = why; /* which the peer shall hear too */
    status = port_choose(r, TP_SERVER, peer.layer, &quiet, &others);
    if (status == GP_OK)
        status = tp_rdma_resources_create(r, &quiet);
    if (status == GP_OK)
        status = tp_rdma_join(r, &peer, &quiet);
    if (status != GP_OK) {
        (void)!tp_rdma_say(r, TP_RDMA_REFUSAL, why, strnlen(why, TP_RDMA_TEXT_MAX),
                           opts->deadline_ns);
        return tp_fail(opts, status, "%s: %s", r->s.lane.peer.address, why);
    }
    status = offer_send(r, &others, opts, &rails);
    if (status == GP_OK)
        status = tp_rdma_hear(r, TP_RDMA_READY, opts, &frame);
    if (status == GP_OK && rails > 0 && peer.rails > 0)
        status = tp_rdma_rails_agree(r, TP_SERVER, others.at, others.count, opts);
    return status;
}

/* One descriptor for what the queue shows and for the end of the line that the lane began on. */
static int
watch(const struct tp_rdma *r, const struct tp_rdma_pair *pair)
{
    struct epoll_event queue = {.events = EPOLLIN}, end = {.events = EPOLLRDHUP};
    int fd = epoll_create1(EPOLL_CLOEXEC);

    if (fd >= 0 && epoll_ctl(fd, EPOLL_CTL_ADD, pair->channel->fd, &queue) == 0 &&
        epoll_ctl(fd, EPOLL_CTL_ADD, r->control_fd, &end) == 0)
        return fd;
    close_fd(fd);
    return -1;
}

static enum gp_status
begin(struct tp_rdma *r, enum tp_role role, const struct tp_opts *opts)
{
    char text[TP_RDMA_DEVICE_MAX + 64];
    enum gp_status status = role == TP_SERVER ? agree_as_server(r, opts) : agree_as_client(r, opts);

    if (status != GP_OK)
        return status;
    tp_rdma_port_text(&r->nic.port, text, sizeof(text));
    r->s.read_fd = watch(r, &r->in.pair);
    r->s.write_fd = watch(r, &r->out.pair);
    r->s.write_events = POLLIN;
    r->s.end_fd = r->control_fd;
    r->s.looks_per_yield = LOOKS_PER_YIELD;
    r->s.first_looks = FIRST_LOOKS;
    if (r->s.read_fd < 0 || r->s.write_fd < 0)
        return tp_fail(opts, GP_ERR_LIMIT, "rdma: no descriptors: %s", strerror(errno));
    if (tp_rdma_out_probe(r, gp_min_u64(opts->deadline_ns, gp_now_ns() + WAY_NS)) != GP_OK)
        return tp_fail(opts, GP_ERR_IO,
                       "rdma: %s: no answer by way of %s: are both ports on one network, and UDP "
                       "port 4791 not filtered?",
                       r->s.lane.peer.address, text);
    log_info("lane %s: rdma by %s, rings of %u and %u KiB, %s, not encrypted",
             r->s.lane.peer.address, text, r->in.ring_bytes >> 10, r->out.ring_bytes >> 10,
             r->out.straight.off ? "staged" : "pinned memory past them");
    return GP_OK;
}

enum gp_status
tp_rdma_upgrade(struct tp_lane *tls, enum tp_role role, const struct tp_opts *opts,
                struct tp_lane **lane_p)
{
    struct tp_opts with_deadline = *opts;
    struct tp_rdma *r = calloc(1, sizeof(*r));
    enum gp_status status = GP_ERR_NO_MEMORY;
    const char *missing;

    if (r != NULL)
        status = tp_stream_init(&r->s, &rdma_ops, &rdma_bytes, opts);
    if (status != GP_OK) {
        free(r);
        tp_close(tls);
        return status;
    }
    with_deadline.deadline_ns = tp_opts_deadline(opts);
    r->control = tls;
    r->control_fd = tp_event_fd(tls);
    r->s.lane.peer = tls->peer;
    snprintf(r->s.lane.peer.cipher, sizeof(r->s.lane.peer.cipher), "none (rdma)");
    tls->framing = &tp_rdma_framing;
    tls->max_payload_bytes = TP_RDMA_TEXT_MAX;
    r->verbs = tp_verbs(&missing);
    status = r->verbs != NULL ? begin(r, role, &with_deadline)
                              : tp_fail(opts, GP_ERR_NOT_SUPPORTED, "rdma: %s", missing);
    if (status != GP_OK) {
        r->s.send_status = status; /* no last words */
        tp_close(&r->s.lane);
        return status;
    }
    *lane_p = &r->s.lane;
    return GP_OK;
}

/* -- the scheme ---------------------------------------------------------------------------------
 */

static enum gp_status
rdma_adopt(int fd, enum tp_role role, const struct gp_url *url, const struct tp_opts *opts,
           struct tp_lane **lane_p)
{
    struct tp_opts as_tls = *opts;
    struct tp_lane *tls;
    enum gp_status status;

    as_tls.framing = &tp_rdma_framing;
    as_tls.max_payload_bytes = TP_RDMA_TEXT_MAX;
    status = tp_scheme_tls.adopt(fd, role, url, &as_tls, &tls);
    if (status != GP_OK)
        return status;
    return tp_rdma_upgrade(tls, role, opts, lane_p);
}

const struct tp_scheme tp_scheme_rdma = {
    .name = "rdma",
    .adopt = rdma_adopt,
};
