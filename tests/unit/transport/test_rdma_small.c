/* tests/unit/transport/test_rdma_small.c -- small messages that are found in memory, before the
 * completions that tell of them
 *
 * The device is played here: a write is in memory at once or when a test says so, its completion is
 * there when a test says so, and each takes a place of the receive queue, which may not run dry.
 */
#include "tests/support/played_device.h"
#include "tests/unit/transport/pair.h"
#include "transport/rdma/rdma_priv.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#define RING  TP_RDMA_RING_MIN
#define QUEUE (TP_RDMA_MESSAGES + TP_RDMA_SPARE_MESSAGES)
#define WORD  0x0123456789abcdefull

/* One direction: a sender, a receiver, and the device between them. */
static struct {
    struct tp_rdma from, to;
    struct ibv_context context;
    struct ibv_qp out, in;
    struct ibv_comp_channel channel;
    struct played_queue sent, credits, credited, came;
    struct ibv_mr key;
    unsigned places, places_least; /* of the receive queue */
    uint64_t writes;
    uint32_t last_word;
    int fds[2];
} line;

/* -- the device ---------------------------------------------------------------------------------
 */

static void
complete(struct played_queue *q, struct ibv_wc wc)
{
    cr_assert_lt(q->count + q->late, QUEUE, "a completion queue runs over");
    cr_assert(played_complete(q, wc));
}

static void
take_place(uint32_t word)
{
    cr_assert_gt(line.places, 0, "the receive queue has run dry");
    line.places--;
    line.places_least = (unsigned)gp_min_u64(line.places_least, line.places);
    complete(&line.came, (struct ibv_wc){.status = IBV_WC_SUCCESS,
                                         .opcode = IBV_WC_RECV_RDMA_WITH_IMM,
                                         .wc_flags = IBV_WC_WITH_IMM,
                                         .imm_data = htonl(word)});
}

static int
post_send(struct ibv_qp *qp, struct ibv_send_wr *wr, struct ibv_send_wr **bad)
{
    const struct ibv_sge *sge = wr->sg_list;
    bool credit = qp == &line.in;

    (void)bad;
    if (credit) {
        complete(&line.credits, (struct ibv_wc){.status = IBV_WC_SUCCESS,
                                                .opcode = IBV_WC_RECV,
                                                .wc_flags = IBV_WC_WITH_IMM,
                                                .imm_data = wr->imm_data});
        played_arrive(&line.credits, 1);
    } else {
        if (wr->num_sge > 0)
            memcpy((void *)(uintptr_t)wr->wr.rdma.remote_addr, (void *)(uintptr_t)sge->addr,
                   sge->length);
        line.writes++;
        line.last_word = ntohl(wr->imm_data);
        take_place(line.last_word);
    }
    if ((wr->send_flags & IBV_SEND_SIGNALED) != 0) {
        struct played_queue *q = credit ? &line.credited : &line.sent;

        complete(q, (struct ibv_wc){.wr_id = wr->wr_id, .status = IBV_WC_SUCCESS});
        played_arrive(q, 1);
    }
    return 0;
}

static int
post_recv(struct ibv_qp *qp, struct ibv_recv_wr *wr, struct ibv_recv_wr **bad)
{
    (void)wr;
    (void)bad;
    line.places += qp == &line.in;
    cr_assert_leq(line.places, QUEUE);
    return 0;
}

static const struct tp_verbs verbs = {.get_cq_event = played_get_cq_event};

static void
end_make(struct tp_rdma *r)
{
    r->verbs = &verbs;
    r->control_fd = line.fds[0];
    r->in.key_word = WORD;
    r->in.seeks = r->out.seals = true;
    r->in.key = r->out.key = tp_rdma_key_make(WORD);
}

static void
begin(void)
{
    struct tp_rdma_in *in = &line.to.in;
    struct tp_rdma_out *o = &line.from.out;

    memset(&line, 0, sizeof(line));
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, line.fds), 0);
    line.context.ops.poll_cq = played_poll_cq;
    line.context.ops.post_send = post_send;
    line.context.ops.post_recv = post_recv;
    line.context.ops.req_notify_cq = played_req_notify_cq;
    line.out.context = line.in.context = &line.context;
    line.places = line.places_least = QUEUE;
    played_queue_make(&line.sent, &line.context);
    played_queue_make(&line.credits, &line.context);
    played_queue_make(&line.credited, &line.context);
    played_queue_make(&line.came, &line.context);
    end_make(&line.from);
    end_make(&line.to);
    o->pair = (struct tp_rdma_pair){&line.channel, &line.sent.cq, &line.credits.cq, &line.out, 0};
    in->pair = (struct tp_rdma_pair){&line.channel, &line.credited.cq, &line.came.cq, &line.in, 0};
    o->mr = in->mr = &line.key;
    o->staging = calloc(1, RING);
    in->ring = calloc(1, RING);
    cr_assert(o->staging != NULL && in->ring != NULL);
    o->staging_bytes = o->ring_bytes = in->ring_bytes = RING;
    o->ring_address = (uintptr_t)in->ring;
    o->messages = TP_RDMA_MESSAGES;
    o->straight.off = true;
}

static void
finish(void)
{
    free(line.from.out.staging);
    free(line.to.in.ring);
    close(line.fds[0]);
    close(line.fds[1]);
}

TestSuite(rdma_small, .init = begin, .fini = finish);

/* -- both ends ----------------------------------------------------------------------------------
 */

/* In two pieces, as frames are. */
static bool
put(uint32_t seed, size_t bytes)
{
    uint8_t data[4096];
    struct iovec iov[2] = {{data, bytes / 3}, {data + bytes / 3, bytes - bytes / 3}};
    size_t n;
    enum gp_status status;

    test_fill(data, bytes, seed);
    status = tp_rdma_out_write(&line.from, iov, 2, &n);
    cr_assert(status == GP_ERR_AGAIN || (status == GP_OK && n == bytes));
    return status == GP_OK;
}

static enum gp_status
get(uint8_t *data, size_t most, size_t *n_p)
{
    struct iovec iov = {data, most};

    return tp_rdma_in_read(&line.to, &iov, 1, n_p);
}

/* One look finds it, whole. */
static void
expect(uint32_t seed, size_t bytes)
{
    uint8_t data[4096];
    size_t n;

    cr_assert_eq(get(data, sizeof(data), &n), GP_OK);
    cr_assert_eq(n, bytes);
    cr_assert(test_is_filled(data, n, seed));
}

/* However often it looks. */
static void
expect_nothing(void)
{
    uint8_t data[4096];
    size_t n;

    for (int i = 0; i < 20; i++)
        cr_assert_eq(get(data, sizeof(data), &n), GP_ERR_AGAIN);
    cr_assert_eq(line.to.in.status, GP_OK);
}

static void
expect_broken(void)
{
    enum gp_status status;
    uint8_t data[4096];
    size_t n;

    for (int i = 0; i < 20 && (status = get(data, sizeof(data), &n)) == GP_ERR_AGAIN; i++)
        ;
    cr_assert_eq(status, GP_ERR_PROTOCOL);
}

/* -- the check ----------------------------------------------------------------------------------
 */

Test(rdma_small, a_check_holds_for_its_bytes_place_length_and_key_only)
{
    struct tp_rdma_key key = tp_rdma_key_make(1), other = tp_rdma_key_make(2);
    uint8_t m[TP_RDMA_HEAD_BYTES + TP_RDMA_SMALL_MOST];
    uint64_t word;

    for (uint32_t bytes = 1; bytes <= TP_RDMA_SMALL_MOST; bytes++) {
        uint32_t all = TP_RDMA_HEAD_BYTES + bytes;

        test_fill(m, sizeof(m), bytes);
        tp_rdma_small_seal(&key, 1u << 20, m, bytes);
        cr_assert_eq(tp_rdma_small_glance(1u << 20, m, &word), bytes);
        cr_assert(tp_rdma_small_whole(&key, 1u << 20, m, bytes));
        cr_assert_not(tp_rdma_small_whole(&other, 1u << 20, m, bytes));
        cr_assert_not(tp_rdma_small_whole(&key, (1u << 20) + (1ull << 32), m, bytes));
        cr_assert_eq(tp_rdma_small_glance((1u << 20) + 1, m, &word), 0);
        for (uint32_t bit = 0; bit < 8 * all; bit++) {
            m[bit / 8] ^= (uint8_t)(1u << bit % 8);
            cr_assert_not(tp_rdma_small_whole(&key, 1u << 20, m, bytes), "%u %u", bytes, bit);
            m[bit / 8] ^= (uint8_t)(1u << bit % 8);
        }
        /* The signs of two neighbours, which a sum of products forgets. */
        for (uint32_t i = TP_RDMA_HEAD_BYTES + 3; i + 4 < all; i += 4) {
            m[i] ^= 0x80;
            m[i + 4] ^= 0x80;
            cr_assert_not(tp_rdma_small_whole(&key, 1u << 20, m, bytes), "%u %u", bytes, i);
            m[i] ^= 0x80;
            m[i + 4] ^= 0x80;
        }
    }
}

Test(rdma_small, no_other_length_is_looked_at)
{
    uint8_t m[TP_RDMA_HEAD_BYTES] = {0};
    uint64_t word = (uint64_t)(TP_RDMA_SMALL_MOST + 1) << 32;

    cr_assert_eq(tp_rdma_small_glance(0, m, &word), 0, "memory that is all zero");
    word = (uint64_t)(TP_RDMA_SMALL_MOST + 1) << 32;
    memcpy(m + 8, &word, 8);
    cr_assert_eq(tp_rdma_small_glance(0, m, &word), 0);
    memset(m, 0xff, sizeof(m));
    cr_assert_eq(tp_rdma_small_glance(UINT32_MAX, m, &word), 0);
}

/* -- memory and completions ---------------------------------------------------------------------
 */

Test(rdma_small, a_message_is_found_before_its_completion)
{
    cr_assert(put(7, 96));
    cr_assert_eq(line.last_word, (TP_RDMA_HEAD_BYTES + 96) | TP_RDMA_SEALED);
    expect(7, 96);
    cr_assert_eq(line.to.in.completed, 0);
    expect_nothing();
    played_arrive(&line.came, 1);
    expect_nothing();
    cr_assert_eq(line.to.in.completed, 1);
    cr_assert_eq(line.to.in.sure, line.to.in.head);
    cr_assert(put(8, 1)); /* the next one, too */
    expect(8, 1);
    /* Who sleeps now would be woken by what is told late: so it is looked for first. */
    line.to.in.armed = true;
    played_arrive(&line.came, 1);
    cr_assert_not(tp_rdma_in_arm(&line.to));
    cr_assert_eq(line.to.in.completed, 2);
}

Test(rdma_small, a_completion_may_be_seen_before_memory_is_looked_at)
{
    cr_assert(put(1, 40));
    cr_assert(put(2, TP_RDMA_SMALL_MOST));
    cr_assert(put(3, TP_RDMA_SMALL_MOST + 1)); /* as it is */
    cr_assert_eq(line.last_word, TP_RDMA_SMALL_MOST + 1);
    cr_assert(put(4, 41));
    played_arrive(&line.came, 4);
    cr_assert(tp_rdma_in_arm(&line.to));
    cr_assert_eq(line.to.in.completed, 4);

    uint8_t data[4096], want[4096];
    size_t n, all = 40 + 2 * TP_RDMA_SMALL_MOST + 1 + 41;

    test_fill(want, 40, 1);
    test_fill(want + 40, TP_RDMA_SMALL_MOST, 2);
    test_fill(want + 40 + TP_RDMA_SMALL_MOST, TP_RDMA_SMALL_MOST + 1, 3);
    test_fill(want + all - 41, 41, 4);
    cr_assert_eq(get(data, 50, &n), GP_OK);
    cr_assert_eq(n, 50);
    cr_assert_eq(get(data + 50, sizeof(data) - 50, &n), GP_OK);
    cr_assert_eq(n, all - 50);
    cr_assert_eq(memcmp(data, want, all), 0);
    expect_nothing();
}

/* Where less room is than it has bytes: what is read is the copy that was checked. */
Test(rdma_small, a_found_message_is_read_piece_by_piece)
{
    uint8_t data[100];
    size_t n, got = 0;

    cr_assert(put(5, 100));
    cr_assert_eq(get(data, 0, &n), GP_ERR_AGAIN);
    while (got < 100) {
        cr_assert_eq(get(data + got, gp_min_u64(30, 100 - got), &n), GP_OK);
        got += n;
        memset(line.to.in.ring, 0xee, 200);
        played_arrive(&line.came, got > 50);
    }
    cr_assert(test_is_filled(data, 100, 5));
    expect_nothing();
    cr_assert_eq(line.to.in.completed, 1);
}

/* It was found while there was no room for it, or for some of it only. */
Test(rdma_small, a_found_message_goes_before_what_completions_tell)
{
    for (size_t first = 0; first <= 30; first += 10) {
        uint8_t data[4096];
        size_t n, got;

        finish();
        begin();
        cr_assert(put(1, 40));
        cr_assert_eq(get(data, first, &n), first > 0 ? GP_OK : GP_ERR_AGAIN);
        cr_assert_eq(n, first);
        cr_assert(first == 0 || put(2, first)); /* so that as much is here as before */
        cr_assert(put(3, 300));
        played_arrive(&line.came, QUEUE);
        for (got = first; got < 40 + first + 300; got += n)
            cr_assert_eq(get(data + got, sizeof(data) - got, &n), GP_OK);
        cr_assert_eq(got, 40 + first + 300);
        cr_assert(test_is_filled(data, 40, 1));
        cr_assert(first == 0 || test_is_filled(data + 40, first, 2));
        cr_assert(test_is_filled(data + 40 + first, 300, 3));
        expect_nothing();
    }
}

/* A device may write in any order: whatever is missing, it is no message yet. */
Test(rdma_small, a_torn_message_is_not_there)
{
    uint8_t whole[TP_RDMA_HEAD_BYTES + 96], before[sizeof(whole)];
    uint8_t *ring = line.to.in.ring;

    cr_assert(put(9, 96));
    memcpy(whole, ring, sizeof(whole));
    for (size_t i = 0; i < sizeof(whole); i++)
        before[i] = (uint8_t)~whole[i];
    for (size_t step = 1; step <= 8; step *= 2) {
        for (size_t at = 0; at < sizeof(whole); at += step) {
            memcpy(ring + at, before + at, step);
            expect_nothing();
            memcpy(ring + at, whole + at, step);
        }
    }
    for (size_t at = 0; at < sizeof(whole); at++) { /* the beginning only, or the end */
        memcpy(ring, before, sizeof(whole));
        memcpy(ring, whole, at);
        expect_nothing();
        memcpy(ring, before, sizeof(whole));
        memcpy(ring + sizeof(whole) - at, whole + sizeof(whole) - at, at);
        expect_nothing();
    }
    memcpy(ring, whole, sizeof(whole));
    expect(9, 96);
}

/* The ring is as after this many bytes more, all of which are read and told. */
static void
go_on(uint64_t bytes)
{
    struct tp_rdma_in *in = &line.to.in;

    in->tail += bytes;
    in->head = in->sure = in->told = in->tail;
    in->ends[(in->came - 1) % TP_RDMA_MESSAGES] = in->tail;
}

Test(rdma_small, what_an_earlier_lap_left_is_no_message)
{
    struct tp_rdma_in *in = &line.to.in;
    uint64_t place;
    uint32_t forged = 8;

    cr_assert(put(3, 64));
    expect(3, 64);
    played_arrive(&line.came, 1);
    expect_nothing();
    go_on(RING - in->tail); /* where that message lies */
    cr_assert_eq(tp_rdma_place(in->tail, RING), 0);
    expect_nothing();
    go_on((1ull << 32) - in->tail); /* where its place looks the same, too */
    expect_nothing();
    /* Bytes that somebody chose who has not the key. */
    place = (uint64_t)forged << 32 | (uint32_t)in->tail;
    for (uint64_t word = 0; word < 1000; word++) {
        struct tp_rdma_key key = tp_rdma_key_make(word);

        memcpy(in->ring + 8, &place, 8);
        tp_rdma_small_seal(&key, in->tail, in->ring, forged);
        expect_nothing();
    }
    tp_rdma_small_seal(&in->key, in->tail, in->ring, forged); /* while who has it just sends one */
    cr_assert_eq(get((uint8_t[64]){0}, 64, &(size_t){0}), GP_OK);
}

/* At the ring's end a message goes as it is, before the rest of it another way. */
Test(rdma_small, messages_of_all_lengths_go_round_the_ring)
{
    uint64_t sealed = 0;

    for (uint32_t i = 0; i < 3000; i++) {
        size_t bytes = 1 + i * 37 % (TP_RDMA_SMALL_MOST + 20);

        cr_assert(put(i, bytes));
        sealed += (line.last_word & TP_RDMA_SEALED) != 0;
        if (i % 3 == 0)
            played_arrive(&line.came, QUEUE);
        if (bytes > TP_RDMA_SMALL_MOST || (line.last_word & TP_RDMA_SEALED) == 0)
            played_arrive(&line.came, QUEUE);
        for (uint8_t data[4096], *at = data; bytes > 0;) { /* it may have gone in two */
            size_t n;

            cr_assert_eq(get(at, sizeof(data), &n), GP_OK);
            bytes -= n;
            at += n;
            if (bytes == 0)
                cr_assert(test_is_filled(data, (size_t)(at - data), i));
        }
    }
    cr_assert_gt(sealed, 2500);
    cr_assert_gt(line.from.out.at, 6 * RING);
}

/* -- peers that say one thing in memory and another by completions ------------------------------
 */

static void
contradict(uint32_t word)
{
    cr_assert(put(1, 24));
    expect(1, 24);
    line.came.wc[line.came.first].imm_data = htonl(word);
    played_arrive(&line.came, 1);
    expect_broken();
}

Test(rdma_small, a_completion_of_another_length_ends_the_lane)
{
    contradict((TP_RDMA_HEAD_BYTES + 25) | TP_RDMA_SEALED);
}

Test(rdma_small, a_completion_of_another_kind_ends_the_lane)
{
    contradict(TP_RDMA_HEAD_BYTES + 24);
}

Test(rdma_small, an_end_in_place_of_a_completion_ends_the_lane)
{
    contradict(TP_RDMA_END);
}

Test(rdma_small, a_message_that_only_its_completion_calls_small_ends_the_lane)
{
    static const uint32_t none[] = {
        TP_RDMA_SEALED,
        TP_RDMA_HEAD_BYTES | TP_RDMA_SEALED,
        (TP_RDMA_HEAD_BYTES + TP_RDMA_SMALL_MOST + 1) | TP_RDMA_SEALED,
        (TP_RDMA_HEAD_BYTES + 8) | TP_RDMA_SEALED | TP_RDMA_END,
        (TP_RDMA_HEAD_BYTES + 8) | TP_RDMA_SEALED | TP_RDMA_STRAIGHT,
    };

    for (size_t i = 0; i < GP_ARRAY_LEN(none); i++) {
        finish();
        begin();
        take_place(none[i]);
        played_arrive(&line.came, 1);
        expect_broken();
    }
    finish();
    begin();
    line.to.in.seeks = false; /* nor where it was not agreed on */
    take_place((TP_RDMA_HEAD_BYTES + 8) | TP_RDMA_SEALED);
    played_arrive(&line.came, 1);
    expect_broken();
}

/* An empty message, by which a lane begins, may be told after what memory shows. */
Test(rdma_small, an_empty_message_stands_nowhere)
{
    take_place(0);
    cr_assert(put(6, 32));
    expect(6, 32);
    played_arrive(&line.came, 2);
    expect_nothing();
    cr_assert_eq(line.to.in.completed, 1);
}

/* -- queues -------------------------------------------------------------------------------------
 */

/* The sender always has as many places as it knows of, however late completions come, and is never
 * without for good. */
Test(rdma_small, the_receive_queue_runs_neither_dry_nor_over)
{
    for (unsigned lag = 0; lag < 300; lag = lag * 2 + 1) {
        uint32_t sent = 0, got = 0;
        unsigned idle = 0;

        finish();
        begin();
        while (got < 5000) {
            uint8_t data[4096];
            size_t n;

            while (sent < 5000 && put(sent, 48) && ++sent % 7 != 0)
                ;
            played_arrive(&line.came, line.came.late - (unsigned)gp_min_u64(line.came.late, lag));
            while (got < sent && get(data, 48, &n) == GP_OK) {
                cr_assert_eq(n, 48);
                cr_assert(test_is_filled(data, n, got));
                got++;
                idle = 0;
            }
            cr_assert_lt(++idle, 3, "%u of %u, %u late", got, sent, lag);
            /* Nothing comes any more: the reader sleeps until something does. */
            if (idle == 2 && !tp_rdma_in_arm(&line.to))
                played_arrive(&line.came, QUEUE);
        }
        cr_assert_leq(line.to.in.came - line.to.in.completed, TP_RDMA_AHEAD);
    }
}

/* Nothing is told to the peer that its device has not told us. */
Test(rdma_small, what_memory_shows_is_credited_when_it_is_completed)
{
    uint64_t before;

    for (uint32_t i = 0; i < TP_RDMA_AHEAD; i++) {
        cr_assert(put(i, 100));
        expect(i, 100);
    }
    cr_assert(put(99, 100));
    expect_nothing(); /* no further than that */
    before = line.to.in.told;
    cr_assert_eq(before, 0);
    played_arrive(&line.came, QUEUE);
    expect(99, 100);
    for (uint32_t i = 0; i < TP_RDMA_MESSAGES / 2; i++) {
        cr_assert(put(i, 100));
        expect(i, 100);
        cr_assert_leq(line.to.in.told, line.to.in.sure);
        played_arrive(&line.came, QUEUE);
    }
    cr_assert_gt(line.to.in.told, before);
    cr_assert_gt(line.places_least, TP_RDMA_MESSAGES / 2);
}

Test(rdma_small, a_peer_that_looks_for_none_gets_them_as_they_are)
{
    line.from.out.seals = line.to.in.seeks = false;
    cr_assert(put(1, 96));
    cr_assert_eq(line.last_word, 96);
    expect_nothing();
    played_arrive(&line.came, 1);
    expect(1, 96);
}
