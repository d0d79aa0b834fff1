/* tests/unit/transport/test_bundle.c -- one row of bytes over several lanes; in links: test_link */
#include "tests/unit/transport/pair.h"

#include "transport/bundle/bundle.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define LINES    4u
#define LONG_RUN 70000u /* goes by a further lane */

struct ends {
    struct tp_lane *lane;
    int peer[LINES];  /* the other ends' sockets, the main lane's first */
    int lines[LINES]; /* our own, of the bundle */
};

static struct tp_lane *
adopt(int fd)
{
    struct tp_opts opts = {.framing = &wire_framing};
    struct tp_lane *lane;

    cr_assert_eq(tp_adopt("tcp", fd, TP_CLIENT, &opts, &lane), GP_OK);
    return lane;
}

/* A bundle of ours, and the bare sockets of a peer that may say what it likes. */
static void
half_make(struct ends *e)
{
    struct tp_lane *lanes[LINES];

    for (unsigned i = 0; i < LINES; i++) {
        int fds[2];

        cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
        e->peer[i] = fds[1];
        e->lines[i] = fds[0];
        lanes[i] = adopt(fds[0]);
    }
    cr_assert_eq(tp_bundle_make(lanes, LINES, &e->lane), GP_OK);
}

static void
half_close(struct ends *e)
{
    for (unsigned i = 0; i < LINES; i++)
        close(e->peer[i]);
    tp_close(e->lane);
}

static void
whole_make(struct ends *e, struct tp_lane **other_p)
{
    struct tp_lane *lanes[LINES];

    half_make(e);
    for (unsigned i = 0; i < LINES; i++)
        lanes[i] = adopt(e->peer[i]);
    cr_assert_eq(tp_bundle_make(lanes, LINES, other_p), GP_OK);
}

/* --- what is sent arrives, in order and once --------------------------------------------- */

static size_t
size_of(uint32_t tag)
{
    static const size_t sizes[] = {0, 1, 100, 65511, 65512, LONG_RUN, 262144, 262145, 3000001};

    return sizes[tag * 7 % GP_ARRAY_LEN(sizes)];
}

struct pour {
    struct tp_lane *lane;
    uint32_t frames;
};

static void *
pour(void *arg)
{
    const struct pour *p = arg;
    uint8_t *payload = malloc(3000001);

    for (uint32_t i = 0; i < p->frames; i++) {
        test_fill(payload, size_of(i), i);
        cr_assert_eq(test_send(p->lane, i, payload, size_of(i)), GP_OK);
    }
    free(payload);
    return NULL;
}

static void
take(struct tp_lane *lane, uint32_t frames)
{
    struct wire_frame_header header;
    struct tp_frame frame;

    for (uint32_t i = 0; i < frames; i++) {
        enum gp_status status = tp_recv_frame(lane, &frame, test_soon());

        cr_assert_eq(status, GP_OK, "%s", gp_status_text(status));
        cr_assert_eq(wire_frame_decode(frame.header, UINT32_MAX, &header), GP_OK);
        cr_assert_eq(header.tag, i);
        cr_assert_eq(frame.payload_bytes, size_of(i));
        cr_assert(test_is_filled(frame.payload, frame.payload_bytes, i));
    }
}

Test(bundle, frames_of_all_sizes_arrive_in_order_both_ways, .timeout = 60)
{
    struct pour out = {.frames = 200}, in = {.frames = 200};
    struct tp_frame frame;
    pthread_t threads[2];
    struct ends e;

    whole_make(&e, &in.lane);
    out.lane = e.lane;
    pthread_create(&threads[0], NULL, pour, &out);
    take(in.lane, out.frames);
    pthread_create(&threads[1], NULL, pour, &in);
    take(out.lane, in.frames);
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    tp_close(out.lane);
    cr_assert_eq(tp_recv_frame(in.lane, &frame, test_soon()), GP_ERR_CLOSED);
    tp_close(in.lane);
}

/* What was sent before the end is not overtaken by it. */
Test(bundle, an_end_comes_behind_what_was_sent, .timeout = 60)
{
    struct pour out = {.frames = 9};
    struct tp_lane *other;
    struct tp_frame frame;
    pthread_t thread;
    struct ends e;

    whole_make(&e, &other);
    out.lane = other;
    pthread_create(&thread, NULL, pour, &out);
    take(e.lane, 8); /* the rest fits into the sockets */
    pthread_join(thread, NULL);
    tp_close(other);
    cr_assert_eq(tp_recv_frame(e.lane, &frame, test_soon()), GP_OK);
    cr_assert_eq(tp_recv_frame(e.lane, &frame, test_soon()), GP_ERR_CLOSED);
    tp_close(e.lane);
}

Test(bundle, a_peer_that_does_not_read_is_given_up_in_time, .timeout = 60)
{
    static const uint8_t payload[1u << 20];
    enum gp_status status = GP_OK;
    struct ends e;

    half_make(&e);
    for (int i = 0; i < 64 && status == GP_OK; i++) {
        struct wire_frame_header header = {.kind = WIRE_FRAME_CALLS,
                                           .payload_bytes = sizeof(payload)};
        uint8_t head[WIRE_FRAME_HEADER_BYTES];
        struct iovec iov[2] = {{head, sizeof(head)}, {(void *)(uintptr_t)payload, sizeof(payload)}};

        wire_frame_encode(&header, head);
        status = tp_send_by(e.lane, iov, 2, gp_now_ns() + 50 * GP_NS_PER_MS);
    }
    cr_assert_eq(status, GP_ERR_TIMEOUT);
    half_close(&e);
}

/* --- lanes that fail ----------------------------------------------------------------------- */

Test(bundle, a_further_lane_that_is_lost_ends_it, .timeout = 60)
{
    for (unsigned i = 0; i < LINES; i++) {
        struct tp_frame frame;
        struct ends e;
        enum gp_status status;

        half_make(&e);
        /* In the middle of a run, so that it is no orderly end. */
        cr_assert_eq(send(e.peer[i], "\1\0", 2, MSG_NOSIGNAL), 2);
        shutdown(e.peer[i], SHUT_RDWR);
        status = tp_recv_frame(e.lane, &frame, test_soon());
        cr_assert_eq(status, GP_ERR_IO, "lane %u: %s", i, gp_status_text(status));
        half_close(&e);
    }
}

Test(bundle, is_made_of_two_sockets_or_more, .timeout = 60)
{
    struct tp_lane *lanes[TP_BUNDLE_MAX + 1], *lane;

    for (unsigned count = 0; count <= GP_ARRAY_LEN(lanes); count++) {
        int fds[GP_ARRAY_LEN(lanes)][2];

        if (count >= 2 && count <= TP_BUNDLE_MAX)
            continue;
        for (unsigned i = 0; i < count; i++) {
            cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, fds[i]), 0);
            lanes[i] = adopt(fds[i][0]);
        }
        cr_assert_eq(tp_bundle_make(lanes, count, &lane), GP_ERR_INVALID);
        for (unsigned i = 0; i < count; i++) {
            char end;

            cr_assert_eq(recv(fds[i][1], &end, 1, 0), 0, "it is closed");
            close(fds[i][1]);
        }
    }
}

/* --- peers that are none ------------------------------------------------------------------- */

struct said {
    unsigned line;
    uint64_t at;
    uint32_t bytes, zeros;
    uint32_t sent; /* of the run's bytes */
};

static void
say(const struct ends *e, const struct said *s)
{
    static const uint8_t nothing[LONG_RUN];
    uint8_t header[16] = {0};

    memcpy(header, &s->at, 8);
    memcpy(header + 8, &s->bytes, 4);
    memcpy(header + 12, &s->zeros, 4);
    cr_assert_eq(send(e->peer[s->line], header, 16, MSG_NOSIGNAL), 16);
    if (s->sent > 0)
        cr_assert_eq(send(e->peer[s->line], nothing, s->sent, MSG_NOSIGNAL), (ssize_t)s->sent);
}

/* Whatever is said, the receiver ends with an error and reads nothing that was not sent to it. */
Test(bundle, runs_that_cannot_be_end_it, .timeout = 60)
{
    static const struct said all[][3] = {
        {{0, 0, 0, 0, 0}}, /* empty */
        {{1, 0, 0, 0, 0}},
        {{0, 0, (256u << 10) + 1, 0, 0}}, /* too long */
        {{1, 0, UINT32_MAX, 0, 0}},
        {{0, 0, 1, 1, 0}}, /* of another make */
        {{2, 0, 1, 1, 0}},
        {{1, UINT64_MAX - 1, 100, 0, 0}},   /* past the end of all rows */
        {{1, 8, 8, 0, 8}, {1, 4, 8, 0, 0}}, /* backwards on a lane */
        {{0, 0, 8, 0, 8}, {0, 4, 8, 0, 0}},
        {{0, 0, 8, 0, 8}, {1, 4, 8, 0, 8}}, /* into what was there */
        {{1, 0, 8, 0, 8}, {0, 4, 8, 0, 8}},
        {{1, 0, 8, 0, 8}, {2, 0, 4, 0, 4}}, /* the same twice */
    };

    for (size_t i = 0; i < GP_ARRAY_LEN(all); i++) {
        struct tp_frame frame;
        struct ends e;
        enum gp_status status;

        half_make(&e);
        for (size_t j = 0; j < 3 && (j == 0 || all[i][j].bytes != 0); j++)
            say(&e, &all[i][j]);
        status = tp_recv_frame(e.lane, &frame, test_soon());
        cr_assert_eq(status, GP_ERR_PROTOCOL, "%zu: %s", i, gp_status_text(status));
        half_close(&e);
    }
}

/* Where no lane can bring what is due any more, nobody waits for it. */
Test(bundle, a_gap_that_nobody_can_fill_ends_it, .timeout = 60)
{
    for (int closed = 0; closed < 2; closed++) {
        struct tp_frame frame;
        struct ends e;

        half_make(&e);
        for (unsigned i = 0; i < LINES; i++) {
            const struct said later = {i, 100 + 8 * i, 8, 0, 8};

            if (i == 0 || closed == 0)
                say(&e, &later);
            else
                shutdown(e.peer[i], SHUT_WR);
        }
        cr_assert_eq(tp_recv_frame(e.lane, &frame, test_soon()), GP_ERR_IO);
        half_close(&e);
    }
}

/* A run that never comes holds up nothing but this lane, and closing it. */
Test(bundle, a_gap_is_waited_for_and_closing_does_not_wait, .timeout = 60)
{
    static const struct said later = {1, 100, LONG_RUN, 0, LONG_RUN}, first = {0, 200, 8, 0, 8};
    struct tp_frame frame;
    struct ends e;

    half_make(&e);
    say(&e, &later);
    say(&e, &first);
    for (int i = 0; i < 3; i++)
        cr_assert_eq(tp_recv_frame(e.lane, &frame, gp_now_ns() + 20 * GP_NS_PER_MS),
                     GP_ERR_TIMEOUT);
    half_close(&e);
}
