/* tests/unit/transport/test_link_straight.c -- links over lanes that have the peer take bytes from
 * where they lie
 *
 * Such lanes need a device. Here a tcp lane plays one: of large pieces it says that they have left
 * only when the other end has taken them out of the socket.
 */
#include "tests/unit/transport/need.h"
#include "tests/unit/transport/pair.h"
#include "transport/link/link.h"
#include "transport/stream.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <linux/sockios.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#define STRAIGHT_MIN 100000u
#define FRAMES       300u
#define BREAKS       40

/* Set before the first thread starts. */
static const struct tp_stream_ops *tcp_bytes;
static struct tp_stream_ops bytes;
/* The sender's, of the piece under way. */
static struct {
    const struct tp_stream *lane;
    const uint8_t *at;
    size_t done;
} under_way;
static _Atomic unsigned straight, offers, taken_back;

static size_t
straight_bytes(struct tp_stream *s, const void *at, size_t n)
{
    (void)s;
    (void)at;
    return n >= STRAIGHT_MIN ? n : 0;
}

/* Addresses of a device's memory: nothing but the device may be asked for what is there. */
#define APART (1ull << 47)

static void *
apart(const void *at)
{
    return (void *)((uintptr_t)at | APART);
}

static void *
reached(const void *at)
{
    return (void *)((uintptr_t)at & ~APART);
}

static enum gp_status
write_straight(struct tp_stream *s, const struct iovec *iov, size_t *put_p)
{
    struct iovec rest;
    int unread = 1;
    enum gp_status status;
    size_t put = 0;

    if (under_way.lane != s || under_way.at != iov->iov_base) {
        under_way.lane = s;
        under_way.at = iov->iov_base;
        under_way.done = 0;
        offers++;
    }
    rest.iov_base = (uint8_t *)reached(iov->iov_base) + under_way.done;
    rest.iov_len = iov->iov_len - under_way.done;
    if (rest.iov_len > 0) {
        status = tcp_bytes->write(s, &rest, 1, &put);
        if (status != GP_OK)
            return status;
        under_way.done += put;
    }
    if (under_way.done < iov->iov_len || ioctl(s->write_fd, SIOCOUTQ, &unread) != 0 || unread > 0) {
        sched_yield();
        return GP_ERR_AGAIN;
    }
    under_way.lane = NULL;
    straight++;
    *put_p = iov->iov_len;
    return GP_OK;
}

static void
take_back(struct tp_stream *s)
{
    (void)s;
    taken_back++;
}

/* The other way: the device brings what has come, but every third time it comes otherwise. */
static enum gp_status
read_direct(struct tp_stream *s, const struct iovec *to, size_t *got_p, size_t *others_p)
{
    struct iovec there = {reached(to->iov_base), to->iov_len};
    static _Atomic unsigned n;
    uint8_t byte;
    ssize_t rc;

    *got_p = *others_p = 0;
    rc = recv(s->read_fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    if (rc <= 0)
        return rc == 0 ? GP_ERR_CLOSED : errno == EAGAIN ? GP_ERR_AGAIN : GP_ERR_IO;
    if (to->iov_len == 0)
        return GP_OK;
    if (n++ % 3 == 0) {
        *others_p = gp_min_u64(1000, to->iov_len);
        return GP_OK;
    }
    return tcp_bytes->read(s, &there, 1, got_p);
}

static enum gp_status
write_any(struct tp_stream *s, const struct iovec *iov, int iovcnt, size_t *put_p)
{
    int n = 0;

    if (straight_bytes(s, iov->iov_base, iov->iov_len) > 0)
        return write_straight(s, iov, put_p);
    while (n < iovcnt && straight_bytes(s, iov[n].iov_base, iov[n].iov_len) == 0)
        n++;
    return tcp_bytes->write(s, iov, n, put_p);
}

static void
line_make(struct tp_lane *ends[2])
{
    struct tp_opts opts = {.framing = &wire_framing};
    int fds[2];

    /* Nobody sends now. What was under way on a lane that is gone is over: another lane, and the
     * next payload, may come to lie at the same addresses. */
    under_way.lane = NULL;
    need(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0);
    for (int i = 0; i < 2; i++) {
        need(tp_adopt("tcp", fds[i], i == 0 ? TP_CLIENT : TP_SERVER, &opts, &ends[i]) == GP_OK);
        if (tcp_bytes == NULL) {
            tcp_bytes = tp_stream_of(ends[i])->bytes;
            bytes = *tcp_bytes;
            bytes.write = write_any;
            bytes.straight_bytes = straight_bytes;
            bytes.take_back = take_back;
            bytes.read_direct = read_direct;
        }
        tp_stream_of(ends[i])->bytes = &bytes;
    }
}

static void
links_make(struct tp_lane *links[2])
{
    struct tp_link_opts opts = {.window_bytes = 1 << 20};
    struct tp_lane *ends[2];

    line_make(ends);
    for (int i = 0; i < 2; i++)
        cr_assert_eq(tp_link_wrap(ends[i], &opts, &links[i]), GP_OK);
}

static void
links_join(struct tp_lane *links[2])
{
    uint64_t received[2];
    struct tp_lane *ends[2];

    /* First of all, since until then somebody may be sending by the old lane. */
    for (int i = 0; i < 2; i++)
        cr_assert_eq(tp_link_detach(links[i], &received[i]), GP_OK);
    line_make(ends);
    for (int i = 0; i < 2; i++)
        cr_assert_eq(tp_link_attach(links[i], ends[i], received[1 - i]), GP_OK);
    for (int i = 0; i < 2; i++)
        tp_link_catch_up(links[i]);
}

static size_t
size_of(uint32_t tag)
{
    static const size_t sizes[] = {0, 31, STRAIGHT_MIN, 5000, 700000, 131072, 1};

    return sizes[tag % GP_ARRAY_LEN(sizes)];
}

/* The payload is gone as soon as it is sent. */
static void *
send_all(void *lane)
{
    for (uint32_t tag = 0; tag < FRAMES; tag++) {
        size_t n = size_of(tag);
        uint8_t *payload = malloc(n + 1);

        test_fill(payload, n, tag);
        need(test_send(lane, tag, payload, n) == GP_OK);
        memset(payload, 0xee, n + 1);
        free(payload);
    }
    return NULL;
}

static _Atomic uint32_t arrived;

static void *
receive_all(void *lane)
{
    for (uint32_t tag = 0; tag < FRAMES;) {
        struct wire_frame_header header;
        struct tp_frame frame;
        enum gp_status status = tp_recv_frame(lane, &frame, test_soon());

        if (status == GP_ERR_AGAIN)
            continue;
        need(status == GP_OK);
        need(wire_frame_decode(frame.header, UINT32_MAX, &header) == GP_OK);
        if (header.kind == WIRE_FRAME_ACK)
            continue;
        need(header.tag == tag && frame.payload_bytes == size_of(tag));
        need(test_is_filled(frame.payload, frame.payload_bytes, tag));
        arrived = ++tag;
    }
    return NULL;
}

/* What the peer took straight is kept nowhere. */
Test(link_straight, what_the_peer_has_is_not_kept, .timeout = 60)
{
    struct tp_lane *links[2];
    pthread_t reader, writer;

    links_make(links);
    pthread_create(&reader, NULL, receive_all, links[1]);
    pthread_create(&writer, NULL, send_all, links[0]);
    pthread_join(writer, NULL);
    pthread_join(reader, NULL);
    cr_assert_geq(straight, FRAMES / 7 * 3);
    cr_assert_lt(tp_link_kept(links[0]), 100000);
    tp_close(links[0]);
    tp_close(links[1]);
}

/* Cut anywhere, before, in and behind such pieces, from either end: each frame comes once and
 * whole, although the memory that it came from is used for something else at once. */
Test(link_straight, a_cut_in_the_middle_loses_and_doubles_nothing, .timeout = 120)
{
    struct tp_lane *links[2];
    pthread_t reader, writer;

    links_make(links);
    pthread_create(&reader, NULL, receive_all, links[1]);
    pthread_create(&writer, NULL, send_all, links[0]);
    for (uint32_t i = 0; i < BREAKS; i++) {
        uint64_t until = test_soon();
        uint32_t at = i * (FRAMES - 10) / BREAKS;

        while (arrived < at && gp_now_ns() < until)
            sched_yield();
        for (uint32_t n = 0; n < i * 37; n++)
            sched_yield(); /* not always at the same place */
        tp_link_break(links[i % 2], "a test cuts it");
        links_join(links);
    }
    pthread_join(writer, NULL);
    pthread_join(reader, NULL);
    cr_assert_eq(arrived, FRAMES);
    cr_assert_gt(straight, 0);
    tp_close(links[0]);
    tp_close(links[1]);
}

struct one {
    struct tp_lane *link;
    uint64_t deadline_ns;
    enum gp_status status;
};

static void *
send_one(void *arg)
{
    static uint8_t payload[700000];
    struct wire_frame_header header = {
        .kind = WIRE_FRAME_DATA, .tag = 4, .payload_bytes = sizeof(payload)};
    uint8_t head[WIRE_FRAME_HEADER_BYTES];
    struct iovec iov[2] = {{head, sizeof(head)}, {payload, sizeof(payload)}};
    struct one *one = arg;

    wire_frame_encode(&header, head);
    one->status = tp_send_by(one->link, iov, 2, one->deadline_ns);
    return NULL;
}

/* The memory is its owner's after a send, however that ended: so the peer must not be able to take
 * it any more, neither when the lane is lost and the bytes are kept, nor when the sender gives up.
 */
Test(link_straight, what_the_peer_has_not_taken_is_taken_back, .timeout = 60)
{
    for (int gives_up = 0; gives_up < 2; gives_up++) {
        struct one one = {.deadline_ns = GP_FOREVER};
        struct tp_lane *links[2];
        pthread_t thread;

        offers = taken_back = 0;
        links_make(links);
        one.link = links[0];
        if (gives_up)
            one.deadline_ns = gp_now_ns() + 50 * GP_NS_PER_MS;
        pthread_create(&thread, NULL, send_one, &one);
        while (offers == 0)
            sched_yield();
        if (!gives_up)
            tp_link_break(links[0], "a test cuts it");
        pthread_join(thread, NULL);
        cr_assert_eq(one.status, gives_up ? GP_ERR_TIMEOUT : GP_OK);
        cr_assert_eq(taken_back, 1);
        tp_close(links[0]);
        tp_close(links[1]);
    }
}

static void *
catch_up(void *link)
{
    tp_link_catch_up(link);
    return NULL;
}

/* What was lent and is settled while the next lane is still to take it does not go a second time.
 */
Test(link_straight, what_was_lent_goes_once, .timeout = 60)
{
    static uint8_t payload[700000];
    struct wire_frame_header header = {
        .kind = WIRE_FRAME_DATA, .tag = 4, .payload_bytes = sizeof(payload)};
    uint8_t head[WIRE_FRAME_HEADER_BYTES];
    struct iovec iov[2] = {{head, sizeof(head)}, {payload, sizeof(payload)}};
    struct tp_lane *links[2], *ends[2];
    uint64_t received[2], until = test_soon();
    struct tp_frame frame;
    pthread_t thread;
    int there = 0;

    links_make(links);
    for (int i = 0; i < 2; i++)
        cr_assert_eq(tp_link_detach(links[i], &received[i]), GP_OK);
    test_fill(payload, sizeof(payload), 4);
    wire_frame_encode(&header, head);
    cr_assert_eq(tp_send_lent(links[0], iov, 2, &iov[1], 1, test_soon()), GP_OK);
    line_make(ends);
    for (int i = 0; i < 2; i++)
        cr_assert_eq(tp_link_attach(links[i], ends[i], received[1 - i]), GP_OK);
    pthread_create(&thread, NULL, catch_up, links[0]);
    while (there <= (int)sizeof(head) && gp_now_ns() < until)
        cr_assert_eq(ioctl(tp_stream_of(ends[1])->read_fd, FIONREAD, &there), 0);
    cr_assert_eq(tp_settle(links[0], payload, sizeof(payload)), GP_OK);
    memset(payload, 0xee, sizeof(payload));
    cr_assert_eq(tp_recv_frame(links[1], &frame, test_soon()), GP_OK);
    cr_assert_eq(test_tag(&frame), 4);
    cr_assert(test_is_filled(frame.payload, frame.payload_bytes, 4));
    pthread_join(thread, NULL);
    tp_close(links[0]);
    tp_close(links[1]);
}

/* -- a device's memory --------------------------------------------------------------------------
 */

static _Atomic unsigned fetched, direct;

static void
fetch(void *user, void *to, const void *from, size_t n)
{
    (void)user;
    fetched++;
    memcpy(to, reached(from), n);
}

static void *
send_all_direct(void *lane)
{
    for (uint32_t tag = 0; tag < FRAMES; tag++) {
        size_t n = size_of(tag);
        uint8_t *payload = malloc(n + 1), head[WIRE_FRAME_HEADER_BYTES];
        struct wire_frame_header header = {
            .kind = WIRE_FRAME_DATA, .tag = tag, .payload_bytes = (uint32_t)n};
        struct tp_direct from = {.at = apart(payload), .bytes = n, .fetch = fetch};
        struct iovec iov = {head, sizeof(head)};

        test_fill(payload, n, tag);
        wire_frame_encode(&header, head);
        need(tp_send_direct(lane, &iov, 1, &from, GP_FOREVER) == GP_OK);
        memset(payload, 0xee, n + 1);
        free(payload);
    }
    return NULL;
}

/* As a server does: first ask, then take what comes one way or the other. */
static void
take_direct(struct tp_lane *lane, uint8_t *to, size_t n)
{
    size_t at = 0, got, others;
    enum gp_status status;

    while (at < n) {
        status = tp_recv_direct(lane, apart(to + at), n - at, test_soon(), &got, &others);
        if (status == GP_ERR_AGAIN)
            continue;
        need(status == GP_OK && (got > 0) != (others > 0) && got + others <= n - at);
        direct += got > 0;
        at += got;
        while (others > 0) {
            status = tp_recv_payload(lane, to + at, others, test_soon(), &got);
            need(status == GP_OK || status == GP_ERR_AGAIN);
            at += got;
            others -= got;
        }
    }
}

static void *
receive_all_direct(void *lane)
{
    uint8_t *payload = malloc(700000);

    for (uint32_t tag = 0; tag < FRAMES;) {
        struct wire_frame_header header;
        struct tp_frame frame;
        enum gp_status status = tp_recv_header(lane, &frame, test_soon());

        if (status == GP_ERR_AGAIN)
            continue;
        need(status == GP_OK);
        need(wire_frame_decode(frame.header, UINT32_MAX, &header) == GP_OK);
        if (header.kind == WIRE_FRAME_ACK)
            continue;
        need(header.tag == tag && frame.payload_bytes == size_of(tag));
        take_direct(lane, payload, frame.payload_bytes);
        need(test_is_filled(payload, frame.payload_bytes, tag));
        arrived = ++tag;
    }
    free(payload);
    return NULL;
}

/* Nobody but the device touches it, at either end, and cut anywhere it is fetched by whoever has
 * it: each frame comes once and whole. */
Test(link_straight, memory_of_a_device_is_left_to_it, .timeout = 120)
{
    struct tp_lane *links[2];
    pthread_t reader, writer;

    links_make(links);
    pthread_create(&reader, NULL, receive_all_direct, links[1]);
    pthread_create(&writer, NULL, send_all_direct, links[0]);
    for (uint32_t i = 0; i < BREAKS; i++) {
        uint64_t until = test_soon();
        uint32_t at = i * (FRAMES - 10) / BREAKS;

        while (arrived < at && gp_now_ns() < until)
            sched_yield();
        for (uint32_t n = 0; n < i * 37; n++)
            sched_yield();
        tp_link_break(links[i % 2], "a test cuts it");
        links_join(links);
    }
    pthread_join(writer, NULL);
    pthread_join(reader, NULL);
    cr_assert_eq(arrived, FRAMES);
    cr_assert_gt(straight, 0);
    cr_assert_gt(fetched, 0);
    cr_assert_gt(direct, 0);
    tp_close(links[0]);
    tp_close(links[1]);
}

/* A lane that has no device of its own: all of it is fetched, all of it comes otherwise. */
Test(link_straight, memory_of_a_device_goes_by_lanes_without_one, .timeout = 60)
{
    struct tp_lane *ends[2];
    pthread_t reader, writer;
    char why[TP_WHY_BYTES];

    line_make(ends);
    for (int i = 0; i < 2; i++)
        tp_stream_of(ends[i])->bytes = tcp_bytes;
    cr_assert_not(tp_takes_device(ends[0], apart(why), 1, why));
    cr_assert_str_eq(why, "tcp has no device of its own");
    pthread_create(&reader, NULL, receive_all_direct, ends[1]);
    pthread_create(&writer, NULL, send_all_direct, ends[0]);
    pthread_join(writer, NULL);
    pthread_join(reader, NULL);
    cr_assert_eq(straight + direct, 0);
    cr_assert_geq(fetched, FRAMES / 7 * 6);
    tp_close(ends[0]);
    tp_close(ends[1]);
}
