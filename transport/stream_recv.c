/* transport/stream_recv.c -- cutting the stream into frames and placing payloads */
#include "transport/stream_priv.h"

#include "protocol/base/log.h"
#include "transport/kept.h"

#include <string.h>

#define PAYLOAD_ALIGN 8

static size_t
available(const struct tp_stream *s)
{
    return s->tail - s->head;
}

/* Make [head, ...) begin at the buffer's start, so that there is room behind it. */
static void
compact(struct tp_stream *s)
{
    size_t n = available(s);

    if (s->head == 0)
        return;
    if (n > 0)
        memmove(s->buf, s->buf + s->head, n);
    s->head = 0;
    s->tail = n;
}

/* Have need bytes in a row at head; need is at most the buffer. */
static enum gp_status
fill(struct tp_stream *s, size_t need, uint64_t deadline_ns)
{
    if (s->head == s->tail || s->head + need > TP_STREAM_BUFFER)
        compact(s);
    while (available(s) < need) {
        struct iovec iov = {s->buf + s->tail, TP_STREAM_BUFFER - s->tail};
        size_t got;
        enum gp_status status = tp_stream_read(s, &iov, 1, deadline_ns, &got);

        if (status == GP_ERR_CLOSED && (s->head < s->tail || s->lane.payload_left > 0)) {
            log_info("lane %s: closed in the middle of a frame", s->lane.peer.address);
            s->recv_status = status = GP_ERR_IO;
        }
        if (status != GP_OK)
            return status;
        s->tail += got;
    }
    return GP_OK;
}

static enum gp_status
skip_payload(struct tp_stream *s, uint64_t deadline_ns)
{
    while (s->lane.payload_left > 0) {
        size_t n = gp_min_u64(s->lane.payload_left, TP_STREAM_BUFFER);
        enum gp_status status;

        if (available(s) == 0) {
            status = fill(s, 1, deadline_ns);
            if (status != GP_OK)
                return status;
        }
        n = gp_min_u64(n, available(s));
        s->head += n;
        s->lane.payload_left -= (uint32_t)n;
    }
    return GP_OK;
}

static void
say_bad_header(const struct tp_stream *s, enum gp_status status)
{
    const struct tp_peer *peer = &s->lane.peer;

    if (status == GP_ERR_LIMIT)
        log_warn("lane %s: frame refused: payload over the limit of %u bytes", peer->address,
                 s->lane.max_payload_bytes);
    else if (s->header[0] == 0x16 && s->header[1] == 0x03)
        log_warn("lane %s: the peer speaks TLS to a tcp:// port: use tls:// at both ends",
                 peer->address);
    else
        log_warn("lane %s: the peer does not speak this protocol (begins with %02x %02x %02x %02x)",
                 peer->address, s->header[0], s->header[1], s->header[2], s->header[3]);
}

static enum gp_status
take_header(struct tp_stream *s, uint64_t deadline_ns)
{
    const struct gp_framing *framing = s->lane.framing;
    enum gp_status status = s->recv_status;
    uint32_t bytes = 0;

    if (status == GP_OK)
        status = skip_payload(s, deadline_ns);
    if (status == GP_OK)
        status = fill(s, framing->header_bytes, deadline_ns);
    if (status != GP_OK)
        return status;
    memcpy(s->header, s->buf + s->head, framing->header_bytes);
    status = framing->measure(s->header, s->lane.max_payload_bytes, &bytes);
    if (status != GP_OK) {
        say_bad_header(s, status);
        s->recv_status = status;
        return status;
    }
    s->head += framing->header_bytes;
    s->payload_bytes = bytes;
    s->lane.payload_left = bytes;
    tp_count(&s->lane.frames_received, 1);
    return GP_OK;
}

enum gp_status
tp_stream_recv_header(struct tp_lane *lane, struct tp_frame *frame_p, uint64_t deadline_ns)
{
    struct tp_stream *s = tp_stream_of(lane);
    enum gp_status status;

    if (s->partial)
        return GP_ERR_INVALID;
    s->dry = false;
    status = take_header(s, deadline_ns);
    if (status == GP_OK)
        *frame_p = (struct tp_frame){.header = s->header, .payload_bytes = s->payload_bytes};
    return status;
}

enum gp_status
tp_stream_recv_payload(struct tp_lane *lane, void *dst, size_t bytes, uint64_t deadline_ns,
                       size_t *got_p)
{
    struct tp_stream *s = tp_stream_of(lane);
    enum gp_status status = GP_OK;
    uint8_t *at = dst;
    size_t left = bytes, n;

    s->dry = false;
    n = gp_min_u64(left, available(s));
    if (n > 0)
        memcpy(at, s->buf + s->head, n);
    s->head += n;
    left -= n;

    while (left > 0) { /* the buffer is empty now: read past dst into it */
        struct iovec iov[2] = {{at + (bytes - left), left}, {s->buf, TP_STREAM_BUFFER}};

        s->head = s->tail = 0;
        status = tp_stream_read(s, iov, 2, deadline_ns, &n);
        if (status == GP_ERR_CLOSED)
            s->recv_status = status = GP_ERR_IO; /* in the middle of a frame */
        if (status != GP_OK)
            break;
        s->tail = n > left ? n - left : 0;
        left -= gp_min_u64(n, left);
    }
    *got_p = bytes - left;
    lane->payload_left -= (uint32_t)(bytes - left);
    return status;
}

enum gp_status
tp_stream_recv_direct(struct tp_lane *lane, void *dst, size_t bytes, uint64_t deadline_ns,
                      size_t *got_p, size_t *others_p)
{
    struct tp_stream *s = tp_stream_of(lane);
    struct iovec to = {dst, bytes};
    enum gp_status status;

    s->dry = false;
    *got_p = 0;
    *others_p = gp_min_u64(available(s), bytes);
    if (available(s) > 0)
        return GP_OK;
    if (s->bytes->read_direct == NULL) {
        *others_p = bytes;
        return GP_OK;
    }
    s->others = others_p;
    status = tp_stream_read(s, &to, 1, deadline_ns, got_p);
    s->others = NULL;
    if (status == GP_ERR_CLOSED)
        s->recv_status = status = GP_ERR_IO; /* in the middle of a frame */
    if (status != GP_OK)
        *got_p = 0;
    lane->payload_left -= (uint32_t)*got_p;
    return status;
}

const void *
tp_stream_peek_payload(struct tp_lane *lane, size_t most, size_t *bytes_p)
{
    struct tp_stream *s = tp_stream_of(lane);

    s->dry = false;
    if (s->recv_status != GP_OK || most == 0)
        return NULL;
    if (available(s) == 0)
        return s->bytes->peek(s, most, bytes_p);
    *bytes_p = gp_min_u64(most, available(s)); /* read ahead already */
    return s->buf + s->head;
}

void
tp_stream_skip_payload(struct tp_lane *lane, size_t bytes)
{
    struct tp_stream *s = tp_stream_of(lane);

    lane->payload_left -= (uint32_t)bytes;
    if (available(s) > 0) {
        s->head += bytes;
        return;
    }
    s->bytes->skip(s, bytes);
    tp_count(&lane->bytes_received, bytes);
}

/* The payload lies in buf as a row, aligned. */
static enum gp_status
payload_in_buffer(struct tp_stream *s, uint64_t deadline_ns)
{
    enum gp_status status;

    if (s->head % PAYLOAD_ALIGN != 0)
        compact(s);
    status = fill(s, s->payload_bytes, deadline_ns);
    if (status == GP_OK) {
        s->head += s->payload_bytes;
        s->lane.payload_left = 0;
    }
    return status;
}

static enum gp_status
payload_in_big(struct tp_stream *s, uint64_t deadline_ns)
{
    enum gp_status status;
    size_t got;

    if (s->big_bytes < s->payload_bytes) {
        tp_memory_forget(s->big, s->big_bytes);
        free(s->big);
        s->big_bytes = 0;
        s->big = malloc(s->payload_bytes);
        if (s->big == NULL) {
            log_error("lane %s: no memory for a frame of %u bytes", s->lane.peer.address,
                      s->payload_bytes);
            s->recv_status = GP_ERR_NO_MEMORY;
            return GP_ERR_NO_MEMORY;
        }
        s->big_bytes = s->payload_bytes;
        tp_memory_keep(s->big, s->big_bytes, TP_KEPT_OWN);
    }
    status = tp_stream_recv_payload(&s->lane, s->big + s->big_got, s->payload_bytes - s->big_got,
                                    deadline_ns, &got);
    s->big_got += got;
    return status;
}

enum gp_status
tp_stream_recv_frame(struct tp_lane *lane, struct tp_frame *frame_p, uint32_t whole_bytes,
                     uint64_t deadline_ns)
{
    struct tp_stream *s = tp_stream_of(lane);
    enum gp_status status;
    bool big;

    s->dry = false;
    if (!s->partial) {
        status = take_header(s, deadline_ns);
        if (status != GP_OK)
            return status;
        if (s->payload_bytes > whole_bytes) {
            *frame_p = (struct tp_frame){.header = s->header, .payload_bytes = s->payload_bytes};
            return GP_OK;
        }
        s->partial = true;
        s->big_got = 0;
    }
    big = s->payload_bytes > TP_STREAM_BUFFER;
    status = big ? payload_in_big(s, deadline_ns) : payload_in_buffer(s, deadline_ns);
    if (status != GP_OK)
        return status;

    s->partial = false;
    *frame_p = (struct tp_frame){.header = s->header, .payload_bytes = s->payload_bytes};
    if (s->payload_bytes > 0)
        frame_p->payload = big ? s->big : s->buf + s->head - s->payload_bytes;
    return GP_OK;
}
