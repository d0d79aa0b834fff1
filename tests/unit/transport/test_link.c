/* tests/unit/transport/test_link.c -- lanes that survive their lines
 *
 * The lines are socket pairs, as tcp, as tls with a key, or shared memory. */
#include "tests/unit/transport/certs.h"
#include "tests/unit/transport/pair.h"
#include "tests/unit/transport/params.h"

#include "transport/bundle/bundle.h"
#include "transport/kept.h"
#include "transport/link/link.h"

#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static const uint8_t key[TP_KEY_BYTES] = "a key that both of the ends have";

struct adoption {
    const char *scheme;
    int fd;
    const uint8_t *psk;
    struct tp_lane *lane;
    enum gp_status status;
};

static void *
adopt_server(void *arg)
{
    struct adoption *a = arg;
    char why[TP_WHY_BYTES];
    static const char *const fabrics[] = {"*"};
    struct tp_opts opts = {.framing = &wire_framing,
                           .tls = {.psk = a->psk},
                           .rdma = {fabrics, 1, 2},
                           .deadline_ns = test_soon(),
                           .why = why};

    a->status = tp_adopt(a->scheme, a->fd, TP_SERVER, &opts, &a->lane);
    return NULL;
}

/* Two joined lanes. */
static void
one_line_make(const char *scheme, struct tp_lane *ends[2])
{
    struct tp_opts opts = {
        .framing = &wire_framing, .tls = {.psk = key}, .deadline_ns = test_soon()};
    struct adoption server = {.scheme = scheme, .psk = key};
    pthread_t thread;
    int fds[2];

    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    server.fd = fds[1];
    cr_assert_eq(pthread_create(&thread, NULL, adopt_server, &server), 0);
    cr_assert_eq(tp_adopt(scheme, fds[0], TP_CLIENT, &opts, &ends[0]), GP_OK);
    pthread_join(thread, NULL);
    cr_assert_eq(server.status, GP_OK);
    ends[1] = server.lane;
}

/* "tls+" is a bundle of three. */
static void
line_make(const char *scheme, struct tp_lane *ends[2])
{
    enum {
        LINES = 3
    };
    size_t length = strcspn(scheme, "+");
    struct tp_lane *lines[2][LINES];
    char one[8];

    snprintf(one, sizeof(one), "%.*s", (int)length, scheme);
    if (scheme[length] == '\0') {
        one_line_make(one, ends);
        return;
    }
    for (unsigned i = 0; i < LINES; i++) {
        struct tp_lane *pair[2];

        one_line_make(one, pair);
        lines[0][i] = pair[0];
        lines[1][i == 0 ? 0 : LINES - i] = pair[1]; /* in another order there */
    }
    for (int i = 0; i < 2; i++)
        cr_assert_eq(tp_bundle_make(lines[i], LINES, &ends[i]), GP_OK);
}

static void
links_make(const char *scheme, uint64_t window, struct tp_lane *links[2])
{
    struct tp_link_opts opts = {.window_bytes = window};
    struct tp_lane *ends[2];

    line_make(scheme, ends);
    cr_assert_eq(tp_link_wrap(ends[0], &opts, &links[0]), GP_OK);
    opts.take_in = true;
    cr_assert_eq(tp_link_wrap(ends[1], &opts, &links[1]), GP_OK);
}

static void
links_join(const char *scheme, struct tp_lane *links[2])
{
    uint64_t received[2];
    struct tp_lane *ends[2];

    line_make(scheme, ends);
    for (int i = 0; i < 2; i++)
        cr_assert_eq(tp_link_detach(links[i], &received[i]), GP_OK);
    for (int i = 0; i < 2; i++) {
        enum gp_status status = tp_link_attach(links[i], ends[i], received[1 - i]);

        cr_assert_eq(status, GP_OK, "%s", gp_status_text(status));
    }
    for (int i = 0; i < 2; i++)
        tp_link_catch_up(links[i]);
}

static void
links_close(struct tp_lane *links[2])
{
    tp_close(links[0]);
    tp_close(links[1]);
}

static void
expect_frame_filled(struct tp_lane *lane, uint32_t tag, size_t bytes, uint32_t filling)
{
    struct wire_frame_header header;
    struct tp_frame frame;
    enum gp_status status;

    do {
        do
            status = tp_recv_frame(lane, &frame, test_soon());
        while (status == GP_ERR_AGAIN);
        cr_assert_eq(status, GP_OK, "%s", gp_status_text(status));
        cr_assert_eq(wire_frame_decode(frame.header, UINT32_MAX, &header), GP_OK);
    } while (header.kind == WIRE_FRAME_ACK);
    cr_assert_eq(header.tag, tag, "%u instead of %u", header.tag, tag);
    cr_assert_eq(frame.payload_bytes, bytes);
    cr_assert(test_is_filled(frame.payload, bytes, filling));
}

static void
expect_frame(struct tp_lane *lane, uint32_t tag, size_t bytes)
{
    expect_frame_filled(lane, tag, bytes, tag);
}

static enum gp_status
send_filled(struct tp_lane *lane, uint32_t tag, size_t bytes)
{
    uint8_t *payload = malloc(bytes + 1);
    enum gp_status status;

    test_fill(payload, bytes, tag);
    tp_memory_keep(payload, bytes, TP_KEPT_OWN); /* for rdma, which then sends it past its rings */
    status = test_send(lane, tag, payload, bytes);
    tp_memory_forget(payload, bytes);
    free(payload);
    return status;
}

/* --- what is sent arrives once ------------------------------------------------------- */

ParameterizedTestParameters(link, goes_on_after_a_break)
{
    static struct transport_param all[] = {{"tcp"}, {"tls"}, {"tcp+"}, {"tls+"}};

    return test_transports(all, GP_ARRAY_LEN(all));
}

ParameterizedTest(struct transport_param *param, link, goes_on_after_a_break, .timeout = 60)
{
    struct tp_lane *links[2];

    links_make(param->name, 0, links);
    cr_assert_eq(send_filled(links[0], 1, 100), GP_OK);
    expect_frame(links[1], 1, 100);
    cr_assert_eq(send_filled(links[0], 2, 60000), GP_OK); /* on its way, and lost */
    tp_link_break(links[0], "test");
    cr_assert_eq(tp_link_state(links[0]), TP_LINK_BROKEN);
    cr_assert_eq(send_filled(links[0], 3, 5), GP_OK, "it is kept");
    cr_assert_eq(send_filled(links[1], 4, 70000), GP_OK);
    links_join(param->name, links);
    expect_frame(links[1], 2, 60000);
    expect_frame(links[1], 3, 5);
    expect_frame(links[0], 4, 70000);
    cr_assert_eq(tp_link_state(links[0]), TP_LINK_LIVE);
    links_close(links);
}

/* The peer had any number of bytes when the line was cut. */
Test(link, sends_again_exactly_what_the_other_lacks, .timeout = 60)
{
    enum {
        FRAMES = 4,
        PAYLOAD = 37,
        WHOLE = FRAMES * (WIRE_FRAME_HEADER_BYTES + PAYLOAD)
    };
    struct tp_opts opts = {.framing = &wire_framing};
    struct tp_link_opts link_opts = {0};
    uint8_t want[WHOLE], got[WHOLE + 1];

    for (size_t cut = 0; cut <= WHOLE; cut++) {
        struct tp_lane *lane, *link;
        uint64_t received;
        int fds[2], again[2];

        cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
        cr_assert_eq(tp_adopt("tcp", fds[0], TP_CLIENT, &opts, &lane), GP_OK);
        cr_assert_eq(tp_link_wrap(lane, &link_opts, &link), GP_OK);
        for (uint32_t i = 0; i < FRAMES; i++)
            cr_assert_eq(send_filled(link, i, PAYLOAD), GP_OK);
        cr_assert_eq(recv(fds[1], want, WHOLE, MSG_WAITALL | MSG_PEEK), WHOLE);
        memset(got, 0, sizeof(got));
        cr_assert_eq(recv(fds[1], got, cut, MSG_WAITALL), (ssize_t)cut);
        close(fds[1]);
        cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, again), 0);
        cr_assert_eq(tp_link_detach(link, &received), GP_OK);
        cr_assert_eq(received, 0);
        cr_assert_eq(tp_adopt("tcp", again[0], TP_CLIENT, &opts, &lane), GP_OK);
        cr_assert_eq(tp_link_attach(link, lane, cut), GP_OK);
        tp_link_catch_up(link);
        tp_close(link);
        cr_assert_eq(recv(again[1], got + cut, WHOLE + 1 - cut, MSG_WAITALL),
                     (ssize_t)(WHOLE - cut));
        cr_assert_eq(memcmp(got, want, WHOLE), 0, "cut after %zu", cut);
        close(again[1]);
    }
}

struct traffic {
    struct tp_lane *lane;
    uint32_t frames;
    atomic_uint *running, *breaks;
};

#define SIZE_MAX_OF 300001
/* A sender waits for who breaks the lines, who may get no core for longer than all of it takes. */
#define FRAMES_UNBROKEN 200

static size_t
size_of(uint32_t tag)
{
    static const size_t sizes[] = {0, 1, 31, 500, 4096, 70000, SIZE_MAX_OF};

    return sizes[(tag * 2654435761u >> 16) % GP_ARRAY_LEN(sizes)];
}

/* A frame whose payload stays the caller's to change once it is settled. */
static enum gp_status
send_lent(struct tp_lane *lane, uint32_t tag, uint8_t *payload, size_t bytes)
{
    struct wire_frame_header h = {
        .kind = WIRE_FRAME_CALLS, .tag = tag, .payload_bytes = (uint32_t)bytes};
    const struct iovec lent = {payload, bytes};
    uint8_t head[WIRE_FRAME_HEADER_BYTES];
    struct iovec iov[2] = {{head, sizeof(head)}, lent};

    h.ack = tp_received(lane);
    wire_frame_encode(&h, head);
    test_fill(payload, bytes, tag);
    return tp_send_lent(lane, iov, 2, &lent, 1, GP_FOREVER);
}

/* Every other frame is lent, and settled three frames later. */
static void *
send_traffic(void *arg)
{
    struct traffic *t = arg;
    uint8_t *payload[4];

    for (int i = 0; i < 4; i++)
        payload[i] = malloc(SIZE_MAX_OF);
    for (uint32_t i = 0; i < t->frames; i++) {
        uint8_t *here = payload[i / 2 % 4];

        while (i > FRAMES_UNBROKEN * (atomic_load(t->breaks) + 1))
            sched_yield();
        if (i % 2 == 0) {
            cr_assert_eq(send_filled(t->lane, i, size_of(i)), GP_OK);
            continue;
        }
        cr_assert_eq(tp_settle(t->lane, here, SIZE_MAX_OF), GP_OK);
        memset(here, 0xee, SIZE_MAX_OF);
        cr_assert_eq(send_lent(t->lane, i, here, size_of(i)), GP_OK);
    }
    for (int i = 0; i < 4; i++) {
        cr_assert_eq(tp_settle(t->lane, payload[i], SIZE_MAX_OF), GP_OK);
        memset(payload[i], 0xee, SIZE_MAX_OF);
        free(payload[i]);
    }
    return NULL;
}

static void *
receive_traffic(void *arg)
{
    struct traffic *t = arg;

    for (uint32_t i = 0; i < t->frames; i++)
        expect_frame(t->lane, i, size_of(i));
    atomic_fetch_sub(t->running, 1);
    return NULL;
}

ParameterizedTestParameters(link, breaks_all_the_time_under_traffic)
{
    static struct transport_param all[] = {{"tcp"}, {"tls"}, {"tcp+"}, {"tls+"}};

    return test_transports(all, GP_ARRAY_LEN(all));
}

ParameterizedTest(struct transport_param *param, link, breaks_all_the_time_under_traffic,
                  .timeout = 120)
{
    atomic_uint running = 2, breaks = 0;
    struct traffic traffic[2];
    struct tp_lane *links[2];
    pthread_t threads[4];

    links_make(param->name, 1u << 20, links);
    for (int i = 0; i < 2; i++) {
        traffic[i] = (struct traffic){links[i], 1000, &running, &breaks};
        pthread_create(&threads[2 * i], NULL, send_traffic, &traffic[i]);
        pthread_create(&threads[2 * i + 1], NULL, receive_traffic, &traffic[i]);
    }
    for (unsigned n = 0; atomic_load(&running) > 0; atomic_store(&breaks, ++n)) {
        links_join(param->name, links);
        for (unsigned i = 0; i < n % 64 && atomic_load(&running) > 0; i++)
            sched_yield();
    }
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    cr_assert_gt(atomic_load(&breaks), 3);
    links_close(links);
}

/* What is lent is kept where it lies, and copied as far as it is still needed once it is settled.
 */
Test(link, keeps_what_is_lent_without_a_copy_until_it_is_settled, .timeout = 60)
{
    enum {
        BYTES = 50000,
        HALF = 25000
    };
    uint8_t *payload = malloc(BYTES);
    struct tp_lane *links[2];

    links_make("tcp", 0, links);
    tp_link_break(links[0], "test");
    cr_assert_eq(send_lent(links[0], 1, payload, BYTES), GP_OK);
    test_fill(payload, BYTES, 2); /* which is against the rules, and shows that there is no copy */
    links_join("tcp", links);
    expect_frame_filled(links[1], 1, BYTES, 2);

    tp_link_break(links[0], "test");
    cr_assert_eq(send_lent(links[0], 3, payload, BYTES), GP_OK);
    cr_assert_eq(tp_settle(links[0], payload + HALF, 1), GP_OK);
    memset(payload, 0, BYTES);
    cr_assert_eq(send_lent(links[0], 4, payload, BYTES), GP_OK);
    cr_assert_eq(send_filled(links[0], 5, 10), GP_OK);
    cr_assert_eq(tp_settle(links[0], payload + BYTES, BYTES), GP_OK, "not of this");
    cr_assert_eq(tp_settle(links[0], payload, BYTES), GP_OK);
    cr_assert_eq(tp_settle(links[0], payload, BYTES), GP_OK, "twice is fine");
    memset(payload, 0, BYTES);
    free(payload);
    links_join("tcp", links);
    expect_frame(links[1], 3, BYTES);
    expect_frame(links[1], 4, BYTES);
    expect_frame(links[1], 5, 10);
    links_close(links);
}

/* --- what is kept is bounded -------------------------------------------------------------- */

static void *
send_much(void *arg)
{
    struct tp_lane *lane = arg;

    for (uint32_t i = 0; i < 40; i++)
        cr_assert_eq(send_filled(lane, i, 1u << 20), GP_OK);
    return NULL;
}

static void *
receive_much(void *arg)
{
    struct tp_lane *lane = arg;

    for (uint32_t i = 0; i < 40; i++)
        expect_frame(lane, i, 1u << 20);
    return NULL;
}

Test(link, forgets_what_is_acknowledged, .timeout = 60)
{
    struct tp_lane *links[2];
    pthread_t thread;

    links_make("tcp", 0, links);
    pthread_create(&thread, NULL, receive_much, links[1]);
    for (uint32_t i = 0; i < 40; i++) {
        cr_assert_eq(send_filled(links[0], i, 1u << 20), GP_OK);
        tp_link_look(links[0]); /* nobody else reads here */
        cr_assert_leq(tp_link_kept(links[0]), 18u << 20);
    }
    pthread_join(thread, NULL);
    tp_link_look(links[0]);
    cr_assert_leq(tp_link_kept(links[0]), 4u << 20);
    links_close(links);
}

Test(link, takes_no_more_than_its_window_while_it_is_broken, .timeout = 60)
{
    struct tp_lane *links[2];
    uint8_t payload[1000] = {0};
    struct wire_frame_header header = {.kind = WIRE_FRAME_DATA, .payload_bytes = sizeof(payload)};
    uint8_t head[WIRE_FRAME_HEADER_BYTES];
    struct iovec iov[2] = {{head, sizeof(head)}, {payload, sizeof(payload)}};
    enum gp_status status = GP_OK;
    unsigned sent = 0;

    wire_frame_encode(&header, head);
    links_make("tcp", 50000, links);
    tp_link_break(links[0], "test");
    for (; status == GP_OK && sent < 1000; sent++)
        status = tp_send_by(links[0], iov, 2, gp_now_ns() + 20 * GP_NS_PER_MS);
    cr_assert_eq(status, GP_ERR_TIMEOUT);
    cr_assert_lt(sent, 60);
    links_close(links);
}

/* And goes on reading, as somebody always does on a client. */
static void *
receive_to_the_end(void *arg)
{
    struct tp_frame frame;
    enum gp_status status;

    receive_much(arg);
    do
        status = tp_recv_frame(arg, &frame, test_soon());
    while (status == GP_OK || status == GP_ERR_AGAIN);
    cr_assert_eq(status, GP_ERR_CLOSED);
    return NULL;
}

/* One end does nothing but send, as long as its window wants: it takes in what the other sends, or
 * that one's acknowledgements would be stuck behind its data. */
Test(link, does_not_stand_still_when_an_end_only_sends, .timeout = 60)
{
    struct tp_lane *links[2];
    pthread_t threads[2];

    links_make("tcp", 2u << 20, links);
    pthread_create(&threads[0], NULL, send_much, links[0]);
    pthread_create(&threads[1], NULL, receive_to_the_end, links[0]);
    send_much(links[1]);
    receive_much(links[1]);
    pthread_join(threads[0], NULL);
    tp_shutdown(links[0]);
    pthread_join(threads[1], NULL);
    links_close(links);
}

/* --- peers that lie ----------------------------------------------------------------------- */

Test(link, refuses_counts_that_cannot_be)
{
    struct tp_lane *links[2], *ends[2], *more[2];
    uint64_t received;

    links_make("tcp", 0, links);
    cr_assert_eq(send_filled(links[0], 1, 1000), GP_OK);
    expect_frame(links[1], 1, 1000);
    cr_assert_eq(tp_link_detach(links[0], &received), GP_OK);
    line_make("tcp", ends);
    cr_assert_eq(tp_link_attach(links[0], ends[0], 1033), GP_ERR_INVALID, "one byte too many");
    tp_close(ends[1]);
    cr_assert_eq(tp_link_state(links[0]), TP_LINK_BROKEN, "it waits for a better one");
    line_make("tcp", ends);
    cr_assert_eq(tp_link_attach(links[0], ends[0], 1032), GP_OK);
    line_make("tcp", more);
    cr_assert_eq(tp_link_attach(links[0], more[0], 1032), GP_ERR_INVALID, "there is one already");
    tp_close(more[1]);
    tp_close(ends[1]);
    cr_assert_eq(tp_link_detach(links[0], &received), GP_OK);
    line_make("tcp", ends);
    cr_assert_eq(tp_link_attach(links[0], ends[0], 1031), GP_ERR_INVALID, "fewer than before");
    tp_close(ends[1]);
    links_close(links);
}

Test(link, ends_with_a_peer_that_acknowledges_what_was_not_sent)
{
    struct wire_frame_header header = {.kind = WIRE_FRAME_ACK, .ack = 1u << 30};
    uint8_t head[WIRE_FRAME_HEADER_BYTES];
    struct iovec iov = {head, sizeof(head)};
    struct tp_lane *links[2];
    struct tp_frame frame;

    links_make("tcp", 0, links);
    wire_frame_encode(&header, head);
    cr_assert_eq(tp_send(links[1], &iov, 1), GP_OK);
    cr_assert_eq(tp_recv_frame(links[0], &frame, test_soon()), GP_OK);
    cr_assert_eq(send_filled(links[0], 1, 10), GP_ERR_PROTOCOL);
    links_close(links);
}

/* --- the end ------------------------------------------------------------------------------- */

static void
send_bye(struct tp_lane *lane)
{
    struct wire_frame_header header = {.kind = WIRE_FRAME_BYE};
    uint8_t head[WIRE_FRAME_HEADER_BYTES];
    struct iovec iov = {head, sizeof(head)};

    wire_frame_encode(&header, head);
    cr_assert_eq(tp_send(lane, &iov, 1), GP_OK);
}

Test(link, is_over_when_the_peer_says_its_last_word_and_goes)
{
    struct tp_lane *links[2];
    struct tp_frame frame;

    links_make("tcp", 0, links);
    send_bye(links[1]);
    tp_close(links[1]);
    /* Sending fails, which must not lose what was said. */
    while (tp_link_state(links[0]) == TP_LINK_LIVE && send_filled(links[0], 1, 100000) == GP_OK)
        ;
    cr_assert_eq(tp_link_state(links[0]), TP_LINK_OVER);
    cr_assert_eq(tp_recv_frame(links[0], &frame, test_soon()), GP_OK);
    cr_assert_eq(frame.header[8], WIRE_FRAME_BYE);
    cr_assert_eq(tp_recv_frame(links[0], &frame, test_soon()), GP_ERR_CLOSED);
    tp_close(links[0]);
}

Test(link, looking_finds_out_how_the_peer_went)
{
    struct tp_lane *links[2];
    struct tp_frame frame;

    links_make("tcp", 0, links);
    cr_assert_eq(send_filled(links[1], 7, 90000), GP_OK);
    send_bye(links[1]);
    tp_close(links[1]);
    tp_link_look(links[0]);
    cr_assert_eq(tp_link_state(links[0]), TP_LINK_OVER);
    expect_frame(links[0], 7, 90000);
    cr_assert_eq(tp_recv_frame(links[0], &frame, test_soon()), GP_OK);

    tp_close(links[0]);
    links_make("tcp", 0, links);
    tp_close(links[1]); /* without a word */
    tp_link_look(links[0]);
    cr_assert_eq(tp_link_state(links[0]), TP_LINK_BROKEN);
    cr_assert_eq(tp_recv_frame(links[0], &frame, TP_NOW), GP_ERR_AGAIN);
    tp_shutdown(links[0]);
    cr_assert_eq(tp_recv_frame(links[0], &frame, test_soon()), GP_ERR_CLOSED);
    tp_close(links[0]);
}

static void *
shut_down(void *arg)
{
    tp_shutdown(arg);
    return NULL;
}

Test(link, shutting_down_wakes_who_waits_while_it_is_broken, .timeout = 20)
{
    struct tp_lane *links[2];
    struct tp_frame frame;
    pthread_t thread;

    links_make("tcp", 0, links);
    tp_link_break(links[0], "test");
    pthread_create(&thread, NULL, shut_down, links[0]);
    cr_assert_eq(tp_recv_frame(links[0], &frame, GP_FOREVER), GP_ERR_CLOSED);
    pthread_join(thread, NULL);
    links_close(links);
}

/* Who polls the descriptor of the beginning sees nothing while there is no line, and then the new
 * one's bytes. */
Test(link, keeps_its_descriptor, .timeout = 20)
{
    struct tp_lane *links[2];
    struct pollfd p = {.events = POLLIN};

    links_make("tcp", 0, links);
    p.fd = tp_event_fd(links[0]);
    tp_link_break(links[0], "test");
    cr_assert_eq(poll(&p, 1, 0), 0);
    links_join("tcp", links);
    cr_assert_eq(tp_event_fd(links[0]), p.fd);
    cr_assert_eq(send_filled(links[1], 5, 10), GP_OK);
    cr_assert_eq(poll(&p, 1, 10000), 1);
    expect_frame(links[0], 5, 10);
    links_close(links);
}

/* --- who may come back ----------------------------------------------------------------------- */

static void
handshake(const uint8_t *client_key, const uint8_t *server_key, enum gp_status want_client,
          enum gp_status want_server)
{
    char why[TP_WHY_BYTES] = "";
    struct tp_opts opts = {.framing = &wire_framing, .tls = {.psk = client_key}, .why = why};
    struct adoption server = {.scheme = "tls", .psk = server_key};
    struct tp_lane *lane = NULL;
    enum gp_status status;
    pthread_t thread;
    int fds[2];

    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    server.fd = fds[1];
    if (client_key == NULL) {
        test_certs_create();
        opts.tls = test_client_opts().tls;
        opts.tls.server_name = "localhost";
    }
    cr_assert_eq(pthread_create(&thread, NULL, adopt_server, &server), 0);
    status = tp_adopt("tls", fds[0], TP_CLIENT, &opts, &lane);
    pthread_join(thread, NULL);
    cr_assert_eq(status, want_client, "client: %s: %s", gp_status_text(status), why);
    cr_assert_eq(server.status, want_server, "server: %s", gp_status_text(server.status));
    if (status == GP_OK)
        tp_close(lane);
    if (server.status == GP_OK)
        tp_close(server.lane);
}

Test(link, a_key_opens_only_its_own_door, .timeout = 30)
{
    static const uint8_t other[TP_KEY_BYTES] = "a key that somebody else has got";

    handshake(key, key, GP_OK, GP_OK);
    handshake(other, key, GP_ERR_AUTH, GP_ERR_AUTH);
    handshake(NULL, key, GP_ERR_PROTOCOL, GP_ERR_PROTOCOL); /* a good certificate, no key */
    test_certs_destroy();
}

Test(link, keys_differ_by_handshake_session_and_secret)
{
    static const struct tp_link_claim claims[] = {
        {1, 1, 100, 0, 0}, {1, 2, 100, 0, 0}, {1, 1, 101, 0, 0},
        {1, 1, 100, 0, 2}, {1, 1, 100, 1, 2}, {1, 1, 100, 1, 3},
    };
    uint8_t keys[4][TP_KEY_BYTES], proofs[GP_ARRAY_LEN(claims)][32];
    const uint8_t secret[32] = {1}, other[32] = {2};
    struct tp_lane *first[2], *second[2];

    line_make("tls", first);
    line_make("tls", second);
    cr_assert_eq(tp_link_key(first[0], 1, secret, keys[0]), GP_OK);
    cr_assert_eq(tp_link_key(first[1], 1, secret, keys[1]), GP_OK);
    cr_assert_eq(memcmp(keys[0], keys[1], TP_KEY_BYTES), 0, "both ends have the same");
    cr_assert_eq(tp_link_key(second[0], 1, secret, keys[1]), GP_OK);
    cr_assert_eq(tp_link_key(first[0], 2, secret, keys[2]), GP_OK);
    cr_assert_eq(tp_link_key(first[0], 1, other, keys[3]), GP_OK);
    for (int i = 1; i < 4; i++)
        cr_assert_neq(memcmp(keys[0], keys[i], TP_KEY_BYTES), 0, "key %d", i);
    for (size_t i = 0; i < GP_ARRAY_LEN(claims); i++)
        cr_assert_eq(tp_link_proof(keys[0], &claims[i], proofs[i]), GP_OK);
    for (size_t i = 0; i < GP_ARRAY_LEN(claims); i++)
        for (size_t j = 0; j < i; j++)
            cr_assert_neq(memcmp(proofs[i], proofs[j], 32), 0, "%zu and %zu", i, j);
    for (int i = 0; i < 2; i++) {
        tp_close(first[i]);
        tp_close(second[i]);
    }
}

/* --- lanes of another kind ----------------------------------------------------------------------
 */

static void
fill_from(void *user, size_t at, void *to, size_t bytes)
{
    memcpy(to, (const uint8_t *)user + at, bytes);
}

/* The same, written to where the other end reads it. */
static enum gp_status
send_in_place(struct tp_lane *lane, uint32_t tag, size_t bytes)
{
    struct wire_frame_header h = {
        .kind = WIRE_FRAME_DATA, .tag = tag, .payload_bytes = (uint32_t)bytes};
    GP_AUTO_FREE uint8_t *payload = malloc(bytes);
    const struct tp_fill fill = {fill_from, payload, bytes};
    uint8_t head[WIRE_FRAME_HEADER_BYTES];
    struct iovec iov = {head, sizeof(head)};

    test_fill(payload, bytes, tag);
    wire_frame_encode(&h, head);
    return tp_send_filled(lane, &iov, 1, &fill, test_soon());
}

struct pour {
    struct tp_lane *lane;
    uint32_t count;
};

static void *
pour_frames(void *arg)
{
    struct pour *p = arg;

    for (uint32_t i = 0; i < p->count; i++)
        cr_assert_eq(i % 2 != 0 && tp_fills(p->lane) ? send_in_place(p->lane, i, 100000)
                                                     : send_filled(p->lane, i, 100000),
                     GP_OK);
    return NULL;
}

static void *
take_frames(void *arg)
{
    struct pour *p = arg;

    for (uint32_t i = 0; i < p->count; i++)
        expect_frame(p->lane, i, 100000);
    return NULL;
}

/* From a line that may be lost to one that may not: what was on its way arrives, nothing is kept
 * from there on, both directions full at once do no harm, and the end of the line is the end. */
/* before: frames that wait for the new line. */
static void
go_over(const char *scheme, uint32_t before)
{
    struct tp_lane *links[2];
    struct pollfd p = {.events = POLLIN};
    enum gp_status status;
    struct tp_frame frame;
    struct pour pours[4];
    pthread_t threads[4];

    links_make(scheme, 4u << 20, links);
    p.fd = tp_event_fd(links[0]);
    cr_assert_not(tp_fills(links[0]));
    tp_link_break(links[0], "test");
    for (uint32_t i = 0; i < before; i++) {
        cr_assert_eq(send_filled(links[0], i, 50000), GP_OK);
        cr_assert_eq(send_filled(links[1], 100 + i, 3000), GP_OK);
    }
    links_join("shm", links);
    for (uint32_t i = 0; i < before; i++) {
        expect_frame(links[1], i, 50000);
        expect_frame(links[0], 100 + i, 3000);
    }
    cr_assert_eq(tp_recv_frame(links[0], &frame, TP_NOW), GP_ERR_AGAIN);
    cr_assert_eq(poll(&p, 1, 0), 0);
    cr_assert_eq(send_filled(links[1], 1, 10), GP_OK);
    cr_assert_eq(poll(&p, 1, 20000), 1, "whoever polls the old number sees the new line");
    expect_frame(links[0], 1, 10);

    cr_assert(tp_fills(links[0]));
    for (int i = 0; i < 4; i++) {
        pours[i] = (struct pour){links[i % 2], 400};
        pthread_create(&threads[i], NULL, i < 2 ? pour_frames : take_frames, &pours[i]);
    }
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    cr_assert_eq(send_filled(links[0], 2, 10), GP_OK);
    cr_assert_eq(tp_link_kept(links[0]), 0);

    tp_close(links[1]);
    do
        status = tp_recv_frame(links[0], &frame, test_soon()); /* acknowledgements first */
    while (status == GP_OK || status == GP_ERR_AGAIN);
    cr_assert(status == GP_ERR_CLOSED || status == GP_ERR_IO, "%s", gp_status_text(status));
    tp_link_look(links[0]);
    cr_assert_eq(tp_link_state(links[0]), TP_LINK_OVER);
    tp_close(links[0]);
}

ParameterizedTestParameters(link, goes_over_to_shared_memory)
{
    static struct transport_param all[] = {{"tcp"}, {"tls"}, {"tcp+"}, {"tls+"}};

    return cr_make_param_array(struct transport_param, all, GP_ARRAY_LEN(all));
}

ParameterizedTest(struct transport_param *param, link, goes_over_to_shared_memory, .timeout = 60)
{
    go_over(param->name, 10);
    go_over(param->name, 0);
}
