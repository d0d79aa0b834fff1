/* tests/unit/transport/test_frames.c -- one body, every transport */
#include "tests/unit/transport/pair.h"
#include "tests/unit/transport/params.h"

#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#define EVERY_TRANSPORT(test)                                                                      \
    ParameterizedTestParameters(frames, test)                                                      \
    {                                                                                              \
        static struct transport_param all[] = {{"loop"}, {"tcp"}, {"tls"}, {"shm"}, {"tls+"}};     \
                                                                                                   \
        return test_transports(all, GP_ARRAY_LEN(all));                                            \
    }                                                                                              \
    ParameterizedTest(struct transport_param *param, frames, test, .timeout = 120)

EVERY_TRANSPORT(small_frames_arrive_whole_and_in_order)
{
    struct test_pair p;
    struct tp_frame frame;
    uint8_t payload[700];

    test_pair_open(param->name, NULL, &p);
    /* Bursts of a size that the line holds without anybody reading. */
    for (uint32_t burst = 0; burst < 40; burst++) {
        for (uint32_t i = 0; i < 50; i++) {
            test_fill(payload, i * 13 % 700, i);
            cr_assert_eq(test_send(p.client, burst * 50 + i, payload, i * 13 % 700), GP_OK);
        }
        for (uint32_t i = 0; i < 50; i++) {
            cr_assert_eq(tp_recv_frame(p.server, &frame, test_soon()), GP_OK);
            cr_assert_eq(test_tag(&frame), burst * 50 + i);
            cr_assert_eq(frame.payload_bytes, i * 13 % 700);
            cr_assert_eq((uintptr_t)frame.payload % 8, 0);
            cr_assert(test_is_filled(frame.payload, frame.payload_bytes, i));
        }
    }
    test_pair_close(&p);
}

struct flood {
    struct tp_lane *lane;
    size_t bytes;
    uint32_t count;
    uint32_t seed;
    enum gp_status status;
};

static void *
flood_send(void *arg)
{
    struct flood *f = arg;
    uint8_t *payload = malloc(f->bytes);

    for (uint32_t i = 0; i < f->count && f->status == GP_OK; i++) {
        test_fill(payload, f->bytes, f->seed + i);
        f->status = test_send(f->lane, f->seed + i, payload, f->bytes);
    }
    free(payload);
    return NULL;
}

static void *
flood_receive(void *arg)
{
    struct flood *f = arg;
    struct tp_frame frame;

    for (uint32_t i = 0; i < f->count && f->status == GP_OK; i++) {
        f->status = tp_recv_frame(f->lane, &frame, test_soon());
        if (f->status == GP_OK &&
            (test_tag(&frame) != f->seed + i || frame.payload_bytes != f->bytes ||
             !test_is_filled(frame.payload, f->bytes, f->seed + i)))
            f->status = GP_ERR_PROTOCOL;
    }
    return NULL;
}

EVERY_TRANSPORT(large_frame_arrives_whole)
{
    struct flood out = {.bytes = TP_PAYLOAD_MAX_DEFAULT, .count = 2, .seed = 7}, in = out;
    struct test_pair p;
    pthread_t sender;

    test_pair_open(param->name, NULL, &p);
    out.lane = p.client;
    in.lane = p.server;
    pthread_create(&sender, NULL, flood_send, &out);
    flood_receive(&in);
    pthread_join(sender, NULL);
    cr_assert_eq(out.status, GP_OK);
    cr_assert_eq(in.status, GP_OK);
    test_pair_close(&p);
}

/* Each end sends more than the line holds before it would get anything back. */
EVERY_TRANSPORT(both_directions_full_at_once_do_not_deadlock)
{
    static const size_t sizes[] = {100, 20000, 1 << 20};
    struct test_pair p;

    test_pair_open(param->name, NULL, &p);
    for (size_t s = 0; s < GP_ARRAY_LEN(sizes); s++) {
        uint32_t count = (uint32_t)((12u << 20) / sizes[s] / (sizes[s] == 100 ? 10 : 1));
        struct flood f[4] = {
            {p.client, sizes[s], count, 1, GP_OK},
            {p.server, sizes[s], count, 1000, GP_OK},
            {p.client, sizes[s], count, 1000, GP_OK},
            {p.server, sizes[s], count, 1, GP_OK},
        };
        pthread_t threads[4];

        for (int i = 0; i < 4; i++)
            pthread_create(&threads[i], NULL, i < 2 ? flood_send : flood_receive, &f[i]);
        for (int i = 0; i < 4; i++) {
            pthread_join(threads[i], NULL);
            cr_assert_eq(f[i].status, GP_OK, "%zu bytes, thread %d: %s", sizes[s], i,
                         gp_status_text(f[i].status));
        }
    }
    test_pair_close(&p);
}

EVERY_TRANSPORT(payload_lands_where_the_receiver_wants_it)
{
    struct flood out = {.bytes = 3u << 20, .count = 1, .seed = 3};
    uint8_t *whole = malloc(3u << 20);
    struct tp_frame frame;
    struct test_pair p;
    pthread_t sender;
    size_t at = 0, n;

    test_pair_open(param->name, NULL, &p);
    out.lane = p.client;
    pthread_create(&sender, NULL, flood_send, &out);
    cr_assert_eq(tp_recv_header(p.server, &frame, test_soon()), GP_OK);
    cr_assert_null(frame.payload);
    cr_assert_eq(frame.payload_bytes, 3u << 20);
    for (unsigned i = 1; at < 3u << 20; at += n, i++) {
        n = gp_min_u64((3u << 20) - at, i * 77777);
        cr_assert_eq(tp_recv_payload(p.server, whole + at, n, test_soon(), NULL), GP_OK);
    }
    cr_assert(test_is_filled(whole, at, 3));
    cr_assert_eq(tp_payload_left(p.server), 0);
    cr_assert_eq(tp_recv_payload(p.server, whole, 1, TP_NOW, NULL), GP_ERR_INVALID);
    pthread_join(sender, NULL);
    free(whole);
    test_pair_close(&p);
}

EVERY_TRANSPORT(what_is_left_of_a_payload_is_skipped)
{
    uint8_t payload[5000], some[100];
    struct tp_frame frame;
    struct test_pair p;

    test_pair_open(param->name, NULL, &p);
    test_fill(payload, sizeof(payload), 1);
    for (uint32_t i = 0; i < 3; i++)
        cr_assert_eq(test_send(p.client, i, payload, sizeof(payload)), GP_OK);
    cr_assert_eq(tp_recv_header(p.server, &frame, test_soon()), GP_OK);
    cr_assert_eq(tp_recv_header(p.server, &frame, test_soon()), GP_OK);
    cr_assert_eq(test_tag(&frame), 1);
    cr_assert_eq(tp_recv_payload(p.server, some, sizeof(some), test_soon(), NULL), GP_OK);
    cr_assert(test_is_filled(some, sizeof(some), 1));
    cr_assert_eq(tp_recv_frame(p.server, &frame, test_soon()), GP_OK);
    cr_assert_eq(test_tag(&frame), 2);
    cr_assert(test_is_filled(frame.payload, frame.payload_bytes, 1));
    test_pair_close(&p);
}

EVERY_TRANSPORT(many_small_pieces_in_one_batch_arrive)
{
    enum {
        FRAMES = 500
    };
    static uint8_t heads[FRAMES][WIRE_FRAME_HEADER_BYTES];
    static struct iovec iov[FRAMES * 3];
    uint8_t payload[9];
    struct tp_frame frame;
    struct test_pair p;

    test_pair_open(param->name, NULL, &p);
    test_fill(payload, sizeof(payload), 5);
    for (uint32_t i = 0; i < FRAMES; i++) {
        struct wire_frame_header h = {.kind = WIRE_FRAME_CALLS, .tag = i, .payload_bytes = 9};

        wire_frame_encode(&h, heads[i]);
        iov[i * 3] = (struct iovec){heads[i], WIRE_FRAME_HEADER_BYTES};
        iov[i * 3 + 1] = (struct iovec){payload, 9};
        iov[i * 3 + 2] = (struct iovec){payload, 0};
    }
    cr_assert_eq(tp_send(p.client, iov, FRAMES * 3), GP_OK);
    for (uint32_t i = 0; i < FRAMES; i++) {
        cr_assert_eq(tp_recv_frame(p.server, &frame, test_soon()), GP_OK);
        cr_assert_eq(test_tag(&frame), i);
        cr_assert(test_is_filled(frame.payload, 9, 5));
    }
    test_pair_close(&p);
}

EVERY_TRANSPORT(receive_without_waiting_finds_nothing_then_the_frame)
{
    struct tp_frame frame;
    struct test_pair p;
    struct pollfd fd = {.events = POLLIN};

    test_pair_open(param->name, NULL, &p);
    cr_assert_eq(tp_recv_frame(p.server, &frame, TP_NOW), GP_ERR_AGAIN);
    cr_assert_not(tp_pending(p.server));
    fd.fd = tp_event_fd(p.server);
    cr_assert_eq(poll(&fd, 1, 0), 0);
    cr_assert_eq(test_send(p.client, 1, "x", 1), GP_OK);
    cr_assert_eq(test_send(p.client, 2, "y", 1), GP_OK);
    for (uint32_t i = 1; i <= 2; i++) {
        while (tp_recv_frame(p.server, &frame, TP_NOW) != GP_OK)
            if (!tp_pending(p.server))
                cr_assert_eq(poll(&fd, 1, 20000), 1);
        cr_assert_eq(test_tag(&frame), i);
    }
    cr_assert_eq(tp_recv_frame(p.server, &frame, TP_NOW), GP_ERR_AGAIN);
    cr_assert_not(tp_pending(p.server));
    test_pair_close(&p);
}

EVERY_TRANSPORT(receive_returns_at_its_deadline_and_loses_nothing)
{
    struct wire_frame_header h = {.kind = WIRE_FRAME_DATA, .tag = 9, .payload_bytes = 100000};
    uint8_t head[WIRE_FRAME_HEADER_BYTES], *payload = malloc(100000);
    struct iovec half = {head, sizeof(head)}, rest[2];
    struct tp_frame frame;
    struct test_pair p;

    test_pair_open(param->name, NULL, &p);
    wire_frame_encode(&h, head);
    test_fill(payload, 100000, 9);
    rest[0] = (struct iovec){payload, 60000};
    rest[1] = (struct iovec){payload + 60000, 40000};
    cr_assert_eq(tp_recv_frame(p.server, &frame, gp_now_ns() + GP_NS_PER_MS), GP_ERR_TIMEOUT);
    cr_assert_eq(tp_send(p.client, &half, 1), GP_OK);
    cr_assert_eq(tp_recv_frame(p.server, &frame, gp_now_ns() + GP_NS_PER_MS), GP_ERR_TIMEOUT);
    cr_assert_eq(tp_send(p.client, &rest[0], 1), GP_OK);
    cr_assert_eq(tp_recv_frame(p.server, &frame, gp_now_ns() + 5 * GP_NS_PER_MS), GP_ERR_TIMEOUT);
    cr_assert_eq(tp_send(p.client, &rest[1], 1), GP_OK);
    cr_assert_eq(tp_recv_frame(p.server, &frame, test_soon()), GP_OK);
    cr_assert(test_is_filled(frame.payload, 100000, 9));
    free(payload);
    test_pair_close(&p);
}

EVERY_TRANSPORT(send_to_a_peer_that_does_not_read_returns_at_its_deadline)
{
    size_t bytes = TP_PAYLOAD_MAX_DEFAULT;
    uint8_t *payload = calloc(1, bytes);
    struct iovec iov = {payload, bytes};
    enum gp_status status = GP_OK;
    struct test_pair p;

    test_pair_open(param->name, NULL, &p);
    for (int i = 0; i < 64 && status == GP_OK; i++)
        status = tp_send_by(p.client, &iov, 1, gp_now_ns() + 50 * GP_NS_PER_MS);
    cr_assert_eq(status, GP_ERR_TIMEOUT);
    cr_assert_eq(tp_send(p.client, &iov, 1), GP_ERR_TIMEOUT, "sending is over");
    free(payload);
    test_pair_close(&p);
}

static void *
wait_for_frame(void *arg)
{
    struct flood *f = arg;
    struct tp_frame frame;

    f->status = tp_recv_frame(f->lane, &frame, GP_FOREVER);
    return NULL;
}

EVERY_TRANSPORT(wake_returns_a_receive_once_whether_it_waits_or_would)
{
    struct tp_opts spinning = {.spin_us = 100000}, *opts[] = {NULL, &spinning};
    struct tp_frame frame;
    struct test_pair p;

    for (int round = 0; round < 2; round++) {
        struct flood f = {.status = GP_OK};
        pthread_t thread;

        test_pair_open(param->name, opts[round], &p);
        f.lane = p.server;
        pthread_create(&thread, NULL, wait_for_frame, &f);
        tp_wake(p.server); /* before or while it waits: both must do */
        pthread_join(thread, NULL);
        cr_assert_eq(f.status, GP_ERR_AGAIN);
        cr_assert_eq(test_send(p.client, 4, "x", 1), GP_OK);
        cr_assert_eq(tp_recv_frame(p.server, &frame, test_soon()), GP_OK);
        test_pair_close(&p);
    }
}

EVERY_TRANSPORT(shutdown_from_another_thread_ends_a_waiting_receive)
{
    struct flood f = {.status = GP_OK};
    struct tp_frame frame;
    struct test_pair p;
    pthread_t thread;

    test_pair_open(param->name, NULL, &p);
    f.lane = p.server;
    pthread_create(&thread, NULL, wait_for_frame, &f);
    tp_shutdown(p.server);
    pthread_join(thread, NULL);
    cr_assert(f.status == GP_ERR_CLOSED || f.status == GP_ERR_IO);
    cr_assert_neq(tp_recv_frame(p.client, &frame, test_soon()), GP_OK);
    cr_assert_eq(test_send(p.server, 1, "x", 1) == GP_OK, false);
    test_pair_close(&p);
}

EVERY_TRANSPORT(what_was_sent_before_the_close_arrives_then_an_orderly_end)
{
    uint8_t payload[3000];
    struct tp_frame frame;
    struct test_pair p;

    test_pair_open(param->name, NULL, &p);
    test_fill(payload, sizeof(payload), 2);
    cr_assert_eq(test_send(p.server, 0, "unread", 6), GP_OK); /* must not spoil it */
    for (uint32_t i = 0; i < 10; i++)
        cr_assert_eq(test_send(p.client, i, payload, sizeof(payload)), GP_OK);
    tp_close(p.client);
    for (uint32_t i = 0; i < 10; i++)
        cr_assert_eq(tp_recv_frame(p.server, &frame, test_soon()), GP_OK);
    /* Unread bytes at the closing end make TCP end with a reset; without, it must be orderly. */
    cr_assert_neq(tp_recv_frame(p.server, &frame, test_soon()), GP_OK);
    tp_close(p.server);

    test_pair_open(param->name, NULL, &p);
    cr_assert_eq(test_send(p.client, 1, "x", 1), GP_OK);
    tp_close(p.client);
    cr_assert_eq(tp_recv_frame(p.server, &frame, test_soon()), GP_OK);
    cr_assert_eq(tp_recv_frame(p.server, &frame, test_soon()), GP_ERR_CLOSED);
    cr_assert_eq(tp_recv_frame(p.server, &frame, test_soon()), GP_ERR_CLOSED);
    tp_close(p.server);
}

EVERY_TRANSPORT(end_in_the_middle_of_a_frame_is_no_orderly_end)
{
    static const size_t cuts[] = {1, 31, 32, 40, 3000};
    struct wire_frame_header h = {.kind = WIRE_FRAME_DATA, .payload_bytes = 5000};
    uint8_t bytes[5032] = {0};
    struct tp_frame frame;
    struct test_pair p;

    wire_frame_encode(&h, bytes);
    for (size_t i = 0; i < GP_ARRAY_LEN(cuts); i++) {
        struct iovec iov = {bytes, cuts[i]};

        test_pair_open(param->name, NULL, &p);
        cr_assert_eq(tp_send(p.client, &iov, 1), GP_OK);
        tp_close(p.client);
        cr_assert_eq(tp_recv_frame(p.server, &frame, test_soon()), GP_ERR_IO, "cut at %zu",
                     cuts[i]);
        tp_close(p.server);
    }
}

EVERY_TRANSPORT(oversized_frame_is_refused_by_its_header_alone)
{
    struct tp_opts small = {.max_payload_bytes = 1000};
    struct wire_frame_header h = {.kind = WIRE_FRAME_DATA, .payload_bytes = 1001};
    uint8_t head[WIRE_FRAME_HEADER_BYTES];
    struct iovec iov = {head, sizeof(head)};
    struct tp_frame frame;
    struct test_pair p;

    test_pair_open(param->name, &small, &p);
    cr_assert_eq(test_send(p.client, 0, head, 0), GP_OK);
    wire_frame_encode(&h, head);
    cr_assert_eq(tp_send(p.client, &iov, 1), GP_OK);
    cr_assert_eq(tp_recv_frame(p.server, &frame, test_soon()), GP_OK);
    cr_assert_eq(tp_recv_frame(p.server, &frame, test_soon()), GP_ERR_LIMIT);
    cr_assert_eq(tp_recv_frame(p.server, &frame, test_soon()), GP_ERR_LIMIT);
    test_pair_close(&p);
}

EVERY_TRANSPORT(bytes_that_are_no_frame_are_refused)
{
    char junk[] = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
    struct iovec iov = {junk, sizeof(junk)};
    struct tp_frame frame;
    struct test_pair p;

    test_pair_open(param->name, NULL, &p);
    cr_assert_eq(tp_send(p.client, &iov, 1), GP_OK);
    cr_assert_eq(tp_recv_frame(p.server, &frame, test_soon()), GP_ERR_PROTOCOL);
    test_pair_close(&p);
}

EVERY_TRANSPORT(both_ends_count_the_same_bytes)
{
    const char *scheme = param->name;
    struct tp_stats sent, got;
    struct tp_frame frame;
    struct test_pair p;

    test_pair_open(param->name, NULL, &p);
    for (int i = 0; i < 5; i++)
        cr_assert_eq(test_send(p.client, 0, "12345678", 8), GP_OK);
    for (int i = 0; i < 5; i++)
        cr_assert_eq(tp_recv_frame(p.server, &frame, test_soon()), GP_OK);
    tp_stats(p.client, &sent);
    tp_stats(p.server, &got);
    cr_assert_eq(sent.bytes_sent, 5 * 40);
    cr_assert_eq(sent.sends, 5);
    cr_assert_eq(got.bytes_received, 5 * 40);
    cr_assert_eq(got.frames_received, 5);
    if (strncmp(scheme, "ktls", 4) == 0) /* as the others, but that the kernel ciphers */
        scheme = "tls";
    cr_assert_eq(strncmp(tp_scheme(p.client), scheme, strcspn(scheme, "+")), 0);
    test_pair_close(&p);
}

/* A server that refuses says why and goes; the client may be writing at that moment. */
EVERY_TRANSPORT(last_words_of_a_peer_that_went_are_received_after_a_failed_send)
{
    static uint8_t payload[100000];
    enum gp_status status = GP_OK;
    struct tp_frame frame;
    struct test_pair p;

    test_pair_open(param->name, NULL, &p);
    cr_assert_eq(test_send(p.client, 1, "hello", 5), GP_OK);
    cr_assert_eq(test_send(p.server, 2, "no, because", 11), GP_OK);
    tp_close(p.server); /* with our hello unread */
    for (int i = 0; i < 1000 && status == GP_OK; i++)
        status = test_send(p.client, 3, payload, sizeof(payload));
    cr_assert_eq(status, GP_ERR_IO);
    cr_assert_eq(tp_recv_frame(p.client, &frame, test_soon()), GP_OK);
    cr_assert_eq(frame.payload_bytes, 11);
    cr_assert_eq(memcmp(frame.payload, "no, because", 11), 0);
    cr_assert_neq(tp_recv_frame(p.client, &frame, test_soon()), GP_OK);
    tp_close(p.client);
}

EVERY_TRANSPORT(forked_child_that_abandons_its_copy_disturbs_nobody)
{
    struct tp_frame frame;
    struct test_pair p;
    int status = -1;
    pid_t child;

    test_pair_open(param->name, NULL, &p);
    cr_assert_eq(test_send(p.client, 1, "a", 1), GP_OK);
    child = fork();
    if (child == 0) {
        tp_abandon(p.client);
        tp_abandon(p.server);
        _exit(0);
    }
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_assert_eq(status, 0);
    cr_assert_eq(test_send(p.client, 2, "b", 1), GP_OK);
    for (uint32_t tag = 1; tag <= 2; tag++) {
        cr_assert_eq(tp_recv_frame(p.server, &frame, test_soon()), GP_OK);
        cr_assert_eq(test_tag(&frame), tag);
    }
    cr_assert_eq(test_send(p.server, 3, "c", 1), GP_OK);
    cr_assert_eq(tp_recv_frame(p.client, &frame, test_soon()), GP_OK);
    test_pair_close(&p);
}
