/* tests/unit/transport/test_rdma_lane.c -- what only an RDMA lane can get wrong
 *
 * Needs a device: run by tests/rdma/run_vm.sh, in its virtual machine with a software ones at both
 * ends of a cable.
 */
#include "tests/unit/transport/certs.h"
#include "tests/unit/transport/need.h"
#include "tests/unit/transport/pair.h"
#include "transport/rdma/rdma.h"
#include "transport/rdma/rdma_priv.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>

static const char *const any_fabric[] = {"*", "rxe0"};
static const char *const two_fabrics[2][2] = {{"rxe0", "rxe2"}, {"rxe1", "rxe3"}};

/* Connect by this device of the client's, NULL: any, to a server that allows these. The status of
 * whoever fails first; lanes are left in p where it is GP_OK. */
static enum gp_status
attempt_from(const char *device, const char *const *fabrics, size_t count, char why[TP_WHY_BYTES],
             struct test_pair *p)
{
    struct tp_opts client, server;
    struct test_acceptor *acceptor;
    enum gp_status status;

    test_certs_create();
    client = test_client_opts();
    server = test_server_opts();
    server.rdma = (struct tp_rdma_opts){fabrics, count};
    client.rdma = (struct tp_rdma_opts){&device, device != NULL};
    client.why = why;
    acceptor = test_acceptor_start("rdma://127.0.0.1:0", &server);
    status = tp_connect(test_acceptor_url(acceptor), &client, &p->client);
    if (test_acceptor_finish(acceptor, &p->server) != GP_OK && status == GP_OK) {
        tp_close(p->client);
        status = GP_ERR_IO;
    }
    test_certs_destroy();
    return status;
}

static enum gp_status
attempt(const char *const *fabrics, size_t count, char why[TP_WHY_BYTES], struct test_pair *p)
{
    return attempt_from(NULL, fabrics, count, why, p);
}

static struct tp_rdma *
inside(struct tp_lane *lane)
{
    return tp_rdma_of(tp_stream_of(lane));
}

static void
expect(struct tp_lane *lane, uint32_t tag, size_t bytes)
{
    struct tp_frame frame;

    cr_assert_eq(tp_recv_frame(lane, &frame, test_soon()), GP_OK);
    cr_assert_eq(test_tag(&frame), tag);
    cr_assert_eq(frame.payload_bytes, bytes);
}

/* --- what is there, what is allowed ----------------------------------------------------------- */

Test(rdma, the_device_is_found_by_its_address)
{
    struct tp_rdma_port ports[TP_RDMA_PORTS_MAX];
    char why[TP_WHY_BYTES] = "", text[128];
    size_t n = tp_rdma_probe(ports, TP_RDMA_PORTS_MAX, why);
    bool found = false;

    cr_assert_gt(n, 0, "%s", why);
    for (size_t i = 0; i < n; i++) {
        tp_rdma_port_text(&ports[i], text, sizeof(text));
        found |= strcmp(text, "rxe0:1 10.9.0.1") == 0;
    }
    cr_assert(found);
}

Test(rdma, fabrics_that_are_not_listed_are_refused, .timeout = 60)
{
    static const char *const other[] = {"mlx5_0", "10.8.0.0/16"};
    static const char *const its[] = {"10.8.0.0/16", "10.9.0.0/24"};
    char why[TP_WHY_BYTES];
    struct test_pair p;

    cr_assert_eq(attempt(NULL, 0, why, &p), GP_ERR_NOT_SUPPORTED);
    cr_assert_not_null(strstr(why, "--rdma-fabric must list"), "%s", why);
    cr_assert_eq(attempt(other, 2, why, &p), GP_ERR_NOT_SUPPORTED);
    cr_assert_not_null(strstr(why, "--rdma-fabric lists"), "%s", why);
    cr_assert_eq(attempt(its, 2, why, &p), GP_OK);
    test_pair_close(&p);
}

/* As nobody, with little memory to lock: the reason says what to do. */
Test(rdma, memory_that_cannot_be_locked_is_refused_with_the_remedy, .timeout = 60)
{
    struct rlimit little = {64 << 10, 64 << 10};
    char why[TP_WHY_BYTES];
    struct test_pair p;

    cr_assert(tp_rdma_memory_ok(why));
    cr_assert_eq(setrlimit(RLIMIT_MEMLOCK, &little), 0);
    cr_assert_eq(setuid(65534), 0);
    cr_assert_not(tp_rdma_memory_ok(why));
    cr_assert_not_null(strstr(why, "ulimit -l"), "%s", why);
    why[0] = '\0';
    cr_assert_eq(attempt(any_fabric, 1, why, &p), GP_ERR_LIMIT);
    cr_assert_not_null(strstr(why, "LimitMEMLOCK="), "%s", why);
}

/* --- credits ---------------------------------------------------------------------------------- */

struct flood {
    struct tp_lane *lane;
    uint32_t count;
    size_t bytes;
};

static void *
flood(void *arg)
{
    struct flood *f = arg;
    uint8_t *payload = calloc(1, f->bytes);

    for (uint32_t i = 0; i < f->count; i++)
        need(test_send(f->lane, i, payload, f->bytes) == GP_OK);
    free(payload);
    return NULL;
}

/* More messages, and more bytes, than the peer has room for: they wait until it reads. */
Test(rdma, a_sender_without_credits_waits_for_them, .timeout = 60)
{
    static const struct flood floods[] = {{NULL, 3000, 10}, {NULL, 40, 300000}};
    struct test_pair p;

    test_pair_open("rdma", NULL, &p);
    for (size_t i = 0; i < GP_ARRAY_LEN(floods); i++) {
        struct flood f = floods[i];
        struct tp_rdma_out *o = &inside(p.client)->out;
        struct tp_frame frame;
        pthread_t thread;
        uint64_t before;

        f.lane = p.client;
        cr_assert_eq(tp_recv_frame(p.server, &frame, TP_NOW), GP_ERR_AGAIN);
        before = o->posted;
        pthread_create(&thread, NULL, flood, &f);
        /* It is out of credits when it stands still for as long as a message takes by far. */
        for (uint64_t last = 0; last != *(volatile uint64_t *)&o->posted;) {
            last = *(volatile uint64_t *)&o->posted;
            usleep(100000);
        }
        cr_assert_leq(o->posted - before, TP_RDMA_MESSAGES);
        for (uint32_t n = 0; n < f.count; n++)
            expect(p.server, n, f.bytes);
        pthread_join(thread, NULL);
    }
    test_pair_close(&p);
}

/* --- small messages --------------------------------------------------------------------------- */

static void *
echo(void *arg)
{
    struct tp_lane *lane = arg;
    struct tp_frame frame;

    for (uint32_t i = 0; i < 3000; i++) {
        need(tp_recv_frame(lane, &frame, test_soon()) == GP_OK);
        need(test_send(lane, test_tag(&frame), frame.payload, frame.payload_bytes) == GP_OK);
    }
    return NULL;
}

/* Both ends offer a key of their own; who looks finds small messages in memory. */
Test(rdma, small_messages_are_found_in_memory, .timeout = 60)
{
    struct tp_opts common = {.spin_us = 100000};
    uint8_t payload[300];
    struct test_pair p;
    struct tp_rdma *c, *s;
    pthread_t thread;

    test_pair_open("rdma", &common, &p);
    c = inside(p.client);
    s = inside(p.server);
    cr_assert(c->out.seals && c->in.seeks && s->out.seals && s->in.seeks);
    cr_assert_neq(c->in.key_word, s->in.key_word);
    cr_assert_eq(memcmp(&c->out.key, &s->in.key, sizeof(c->out.key)), 0);
    cr_assert_eq(memcmp(&s->out.key, &c->in.key, sizeof(c->out.key)), 0);
    pthread_create(&thread, NULL, echo, p.server);
    for (uint32_t i = 0; i < 3000; i++) {
        size_t bytes = i % sizeof(payload);
        struct tp_frame frame;

        test_fill(payload, bytes, i);
        cr_assert_eq(test_send(p.client, i, payload, bytes), GP_OK);
        cr_assert_eq(tp_recv_frame(p.client, &frame, test_soon()), GP_OK);
        cr_assert_eq(test_tag(&frame), i);
        cr_assert(frame.payload_bytes == bytes && test_is_filled(frame.payload, bytes, i));
    }
    pthread_join(thread, NULL);
    cr_assert_gt(c->in.founds, 1000);
    cr_assert_gt(s->in.founds, 1000);
    test_pair_close(&p);
}

/* --- peers that go, and lines that are cut ---------------------------------------------------- */

Test(rdma, a_killed_peer_is_noticed_at_once, .timeout = 60)
{
    struct tp_opts server;
    struct test_acceptor *acceptor;
    struct tp_frame frame;
    struct tp_lane *lane;
    uint64_t began;
    pid_t child;

    test_certs_create();
    server = test_server_opts();
    server.rdma = (struct tp_rdma_opts){any_fabric, 1};
    acceptor = test_acceptor_start("rdma://127.0.0.1:0", &server);
    child = fork();
    if (child == 0) {
        struct tp_opts client = test_client_opts();

        if (tp_connect(test_acceptor_url(acceptor), &client, &lane) == GP_OK &&
            test_send(lane, 1, "x", 1) == GP_OK)
            pause();
        _exit(1);
    }
    cr_assert_eq(test_acceptor_finish(acceptor, &lane), GP_OK);
    expect(lane, 1, 1);
    kill(child, SIGKILL);
    began = gp_now_ns();
    cr_assert_eq(tp_recv_frame(lane, &frame, test_soon()), GP_ERR_IO);
    cr_assert_lt(gp_now_ns() - began, 5 * GP_NS_PER_S);
    waitpid(child, NULL, 0);
    tp_close(lane);
    test_certs_destroy();
}

static void
cable_mend(void)
{
    cr_assert_eq(system("/usr/bin/ip link set v1 up"), 0);
}

Test(rdma, a_cable_that_is_cut_ends_the_lane, .timeout = 60, .fini = cable_mend)
{
    enum gp_status status = GP_OK;
    struct test_pair p;
    uint64_t until;
    char why[TP_WHY_BYTES];

    cr_assert_eq(attempt_from("rxe1", &any_fabric[1], 1, why, &p), GP_OK, "%s", why);
    cr_assert_str_eq(inside(p.client)->nic.port.device, "rxe1");
    cr_assert_str_eq(inside(p.server)->nic.port.device, "rxe0");
    cr_assert_eq(test_send(p.client, 1, "x", 1), GP_OK);
    expect(p.server, 1, 1);
    cr_assert_eq(system("/usr/bin/ip link set v1 down"), 0);
    until = test_soon();
    while (status == GP_OK && gp_now_ns() < until) { /* what a session's heartbeat does */
        status = test_send(p.client, 2, "x", 1);
        usleep(200000);
    }
    cr_assert_eq(status, GP_ERR_IO);
    test_pair_close(&p);
}

/* --- past the rings ----------------------------------------------------------------------------
 */

#define BULK (5u << 20)

static uint8_t *
bulk_make(enum tp_kept_kind kind, uint8_t seed)
{
    uint8_t *p = mmap(NULL, BULK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    cr_assert_neq(p, MAP_FAILED);
    test_fill(p, BULK, seed);
    tp_memory_keep(p, BULK, kind);
    return p;
}

struct sending {
    struct tp_lane *lane;
    const uint8_t *bytes;
    enum gp_status status;
};

static void *
send_bulk(void *arg)
{
    struct sending *s = arg;

    s->status = test_send(s->lane, 7, s->bytes, BULK);
    return NULL;
}

static void
receive_into(struct tp_lane *lane, uint8_t *to)
{
    struct tp_frame frame;
    size_t got;

    cr_assert_eq(tp_recv_header(lane, &frame, test_soon()), GP_OK);
    cr_assert_eq(frame.payload_bytes, BULK);
    cr_assert_eq(tp_recv_payload(lane, to, BULK, test_soon(), &got), GP_OK);
    cr_assert_eq(got, BULK);
}

/* From memory of each kind to memory of each kind; what the device was told stays or goes. */
Test(rdma, bulk_goes_from_memory_to_memory, .timeout = 60)
{
    struct test_pair p;
    uint8_t *plain = malloc(BULK);
    uint64_t past = 0;

    test_pair_open("rdma", NULL, &p);
    for (int kind = 0; kind < 4; kind++) {
        enum tp_kept_kind from = kind % 2 == 0 ? TP_KEPT_OWN : TP_KEPT_LENT;
        struct sending s = {.lane = p.client, .bytes = bulk_make(from, 3)};
        uint8_t *kept = bulk_make(from, 0), *to = kind < 2 ? kept : plain;
        pthread_t thread;

        pthread_create(&thread, NULL, send_bulk, &s);
        memset(to, 0, BULK);
        receive_into(p.server, to);
        pthread_join(thread, NULL);
        cr_assert_eq(s.status, GP_OK);
        cr_assert(test_is_filled(to, BULK, 3));
        past += BULK;
        cr_assert_eq(inside(p.client)->out.straight.total, past);
        cr_assert_eq(inside(p.server)->in.straight, past);
        cr_assert_eq(inside(p.client)->cache.bytes, 0, "what the peer could read it cannot now");
        cr_assert_eq(inside(p.server)->cache.bytes, to == kept && from == TP_KEPT_OWN ? BULK : 0);
        tp_memory_forget(kept, BULK);
        tp_memory_forget(s.bytes, BULK);
        cr_assert_eq(inside(p.server)->cache.bytes, 0);
        munmap(kept, BULK);
        munmap((void *)(uintptr_t)s.bytes, BULK);
    }
    free(plain);
    test_pair_close(&p);
}

/* --- several ports -----------------------------------------------------------------------------
 */

/* Bulk that goes by both cables, both ways if the ports are there. */
static void
two_cables_open(struct test_pair *p)
{
    struct tp_opts client, server;
    struct test_acceptor *acceptor;

    test_certs_create();
    client = test_client_opts();
    server = test_server_opts();
    server.rdma = (struct tp_rdma_opts){two_fabrics[0], 2, 0};
    client.rdma = (struct tp_rdma_opts){two_fabrics[1], 2, 0};
    acceptor = test_acceptor_start("rdma://127.0.0.1:0", &server);
    cr_assert_eq(tp_connect(test_acceptor_url(acceptor), &client, &p->client), GP_OK);
    cr_assert_eq(test_acceptor_finish(acceptor, &p->server), GP_OK);
    test_certs_destroy();
    for (int i = 0; i < 2; i++) {
        struct tp_rdma *r = inside(i == 0 ? p->server : p->client);

        cr_assert_eq(r->rail_count, 1);
        cr_assert_str_eq(r->nic.port.device, two_fabrics[i][0]);
        cr_assert_str_eq(r->rails[0].nic.port.device, two_fabrics[i][1]);
    }
}

static void
bulk_over(struct tp_lane *from, struct tp_lane *to, uint8_t seed)
{
    struct sending s = {.lane = from, .bytes = bulk_make(TP_KEPT_OWN, seed)};
    uint8_t *kept = bulk_make(TP_KEPT_OWN, 0);
    pthread_t thread;

    pthread_create(&thread, NULL, send_bulk, &s);
    receive_into(to, kept);
    pthread_join(thread, NULL);
    cr_assert_eq(s.status, GP_OK);
    cr_assert(test_is_filled(kept, BULK, seed));
    tp_memory_forget(kept, BULK);
    tp_memory_forget(s.bytes, BULK);
    munmap(kept, BULK);
    munmap((void *)(uintptr_t)s.bytes, BULK);
}

Test(rdma, bulk_goes_by_two_ports, .timeout = 60)
{
    struct test_pair p;

    two_cables_open(&p);
    for (uint8_t i = 1; i <= 4; i++) {
        bulk_over(p.client, p.server, i);
        bulk_over(p.server, p.client, i);
    }
    for (int i = 0; i < 2; i++) {
        struct tp_rdma *r = inside(i == 0 ? p.server : p.client);

        cr_assert_eq(r->rails[0].state, TP_RDMA_RAIL_GOOD);
        cr_assert_gt(r->rails[0].bytes, BULK / 4);
        cr_assert_lt(r->rails[0].bytes, r->in.straight);
        cr_assert_eq(r->in.straight, 4 * BULK);
        cr_assert_eq(r->rails[0].cache.bytes, 0);
    }
    test_pair_close(&p);
}

/* A client that may use one port only has no rail, whatever the server has. */
Test(rdma, one_port_is_enough, .timeout = 60)
{
    char why[TP_WHY_BYTES];
    struct test_pair p;

    cr_assert_eq(attempt_from("rxe1", two_fabrics[0], 2, why, &p), GP_OK, "%s", why);
    cr_assert_eq(inside(p.client)->rail_count, 0);
    cr_assert_eq(inside(p.server)->rail_count, 0);
    bulk_over(p.client, p.server, 9);
    test_pair_close(&p);
}

static void
second_cable_mend(void)
{
    cr_assert_eq(system("/usr/bin/ip link set w1 up"), 0);
}

/* What was under way by it is read again. */
Test(rdma, a_port_that_fails_is_left_out, .timeout = 60, .fini = second_cable_mend)
{
    struct test_pair p;
    uint64_t by;

    two_cables_open(&p);
    for (uint8_t i = 1; i <= 3; i++)
        bulk_over(p.client, p.server, i);
    by = inside(p.server)->rails[0].bytes;
    cr_assert_gt(by, 0);
    cr_assert_eq(system("/usr/bin/ip link set w1 down"), 0);
    for (uint8_t i = 4; i <= 6; i++)
        bulk_over(p.client, p.server, i);
    cr_assert_eq(inside(p.server)->rails[0].state, TP_RDMA_RAIL_BAD);
    cr_assert_eq(inside(p.server)->rails[0].bytes, by);
    cr_assert_eq(inside(p.server)->in.straight, 6 * BULK);
    test_pair_close(&p);
}

/* As nobody, with no more memory to lock than for the rings: the same bytes by way of them. */
Test(rdma, bulk_that_cannot_be_registered_goes_through_the_rings, .timeout = 60)
{
    struct rlimit little = {11 << 20, 11 << 20};
    struct test_pair p;
    struct sending s = {.bytes = bulk_make(TP_KEPT_OWN, 5)};
    uint8_t *to = malloc(BULK);
    pthread_t thread;

    cr_assert_eq(setrlimit(RLIMIT_MEMLOCK, &little), 0);
    cr_assert_eq(setuid(65534), 0);
    test_pair_open("rdma", NULL, &p);
    cr_assert_not(inside(p.client)->out.straight.off);
    s.lane = p.client;
    pthread_create(&thread, NULL, send_bulk, &s);
    receive_into(p.server, to);
    pthread_join(thread, NULL);
    cr_assert_eq(s.status, GP_OK);
    cr_assert(test_is_filled(to, BULK, 5));
    cr_assert_eq(inside(p.client)->out.straight.total, 0);
    cr_assert(inside(p.client)->out.straight.off);
    test_pair_close(&p);
}

/* A receiver that reads what it was not offered: whose is how the piece differs. */
static void
overreach(struct tp_lane *server, const struct tp_rdma_piece *piece)
{
    struct tp_rdma *r = inside(server);
    uint8_t *to = malloc(BULK);
    struct iovec iov = {to, BULK};

    r->in.piece = *piece;
    cr_assert_eq(tp_rdma_straight_read(r, &iov, 1), 0);
    cr_assert_eq(r->in.status, GP_ERR_IO);
    free(to);
}

static void
piece_await(struct tp_lane *server)
{
    struct tp_frame frame;
    uint64_t until = test_soon();

    cr_assert_eq(tp_recv_header(server, &frame, test_soon()), GP_OK);
    while (inside(server)->in.piece.bytes == 0 && gp_now_ns() < until)
        (void)tp_rdma_in_arm(inside(server));
    cr_assert_gt(inside(server)->in.piece.bytes, 0);
}

/* A session whose client has told a piece that the server has not read yet. */
struct offering {
    struct test_pair p;
    struct sending s;
    struct tp_rdma_piece piece;
    pthread_t thread;
};

static void
offering_begin(struct offering *o)
{
    test_pair_open("rdma", NULL, &o->p);
    o->s = (struct sending){.lane = o->p.client, .bytes = bulk_make(TP_KEPT_OWN, 6)};
    cr_assert_eq(pthread_create(&o->thread, NULL, send_bulk, &o->s), 0);
    piece_await(o->p.server);
    o->piece = inside(o->p.server)->in.piece;
}

static void
offering_end(struct offering *o, enum gp_status status)
{
    if (status != GP_OK)
        tp_shutdown(o->p.server);
    pthread_join(o->thread, NULL);
    cr_assert_eq(o->s.status, status);
    test_pair_close(&o->p);
}

Test(rdma, a_peer_reads_nothing_beyond_what_is_sent, .timeout = 60)
{
    struct offering o;

    offering_begin(&o);
    o.piece.address += o.piece.bytes - 4096;
    overreach(o.p.server, &o.piece);
    offering_end(&o, GP_ERR_IO);
}

static void
take_it(struct offering *o)
{
    uint8_t *to = malloc(BULK);
    size_t got;

    cr_assert_eq(tp_recv_payload(o->p.server, to, BULK, test_soon(), &got), GP_OK);
    cr_assert(test_is_filled(to, BULK, 6));
    free(to);
}

Test(rdma, a_peer_reads_nothing_of_another_session_and_nothing_later, .timeout = 60)
{
    struct test_pair other;
    struct offering o;

    test_pair_open("rdma", NULL, &other);
    offering_begin(&o);
    overreach(other.server, &o.piece);
    test_pair_close(&other);
    take_it(&o);
    overreach(o.p.server, &o.piece);
    offering_end(&o, GP_OK);
}

/* Whoever gives up sending may change the memory: nobody reads it there afterwards. */
Test(rdma, a_peer_reads_nothing_of_a_sender_that_gave_up, .timeout = 60)
{
    struct offering o;

    offering_begin(&o);
    tp_shutdown(o.p.client);
    pthread_join(o.thread, NULL);
    cr_assert_eq(o.s.status, GP_ERR_CLOSED);
    cr_assert_eq(inside(o.p.client)->cache.bytes, 0);
    overreach(o.p.server, &o.piece);
    test_pair_close(&o.p);
}

/* --- hostile peers ---------------------------------------------------------------------------- */

/* One message as no lane of ours would send it. */
static void
post_word(struct tp_lane *from, enum ibv_wr_opcode opcode, struct ibv_qp *qp, uint32_t word)
{
    const struct tp_rdma_out *o = &inside(from)->out;
    struct ibv_send_wr wr = {
        .wr_id = 1,
        .opcode = opcode,
        .imm_data = htonl(word),
        .send_flags = IBV_SEND_SIGNALED,
        .wr.rdma = {.remote_addr = o->ring_address, .rkey = o->ring_key},
    };
    struct ibv_send_wr *bad;

    cr_assert_eq(ibv_post_send(qp, &wr, &bad), 0);
}

Test(rdma, messages_that_cannot_be_end_the_lane, .timeout = 60)
{
    static const struct {
        enum ibv_wr_opcode opcode;
        uint32_t words[2];
    } bad[] = {
        {IBV_WR_RDMA_WRITE_WITH_IMM, {(2u << 20) + 1, 0}},        /* more than the ring */
        {IBV_WR_RDMA_WRITE_WITH_IMM, {0x7fffffff, 0}},            /* much more */
        {IBV_WR_RDMA_WRITE_WITH_IMM, {TP_RDMA_END, 1}},           /* something after the end */
        {IBV_WR_RDMA_WRITE_WITH_IMM, {2u << 20, 1}},              /* more than is free */
        {IBV_WR_SEND_WITH_IMM, {1, 0}},                           /* a credit as message */
        {IBV_WR_RDMA_WRITE_WITH_IMM, {TP_RDMA_STRAIGHT | 24, 0}}, /* a piece of no bytes */
        {IBV_WR_RDMA_WRITE_WITH_IMM, {TP_RDMA_STRAIGHT | 25, 0}}, /* more than tells one */
        {IBV_WR_RDMA_WRITE_WITH_IMM, {TP_RDMA_STRAIGHT, 0}},      /* less */
        {IBV_WR_RDMA_WRITE_WITH_IMM, {TP_RDMA_STRAIGHT | 10, 1}}, /* a piece half told */
    };

    for (size_t i = 0; i < GP_ARRAY_LEN(bad); i++) {
        struct tp_frame frame;
        struct test_pair p;

        test_pair_open("rdma", NULL, &p);
        for (int n = 0; n < 2 && (n == 0 || bad[i].words[n] != 0); n++)
            post_word(p.client, bad[i].opcode, inside(p.client)->out.pair.qp, bad[i].words[n]);
        cr_assert_eq(tp_recv_frame(p.server, &frame, test_soon()), GP_ERR_PROTOCOL, "case %zu", i);
        test_pair_close(&p);
    }
}

Test(rdma, a_credit_for_what_was_not_sent_ends_the_lane, .timeout = 60)
{
    enum gp_status status = GP_OK;
    uint64_t until = test_soon();
    struct test_pair p;

    test_pair_open("rdma", NULL, &p);
    cr_assert_eq(test_send(p.client, 1, "x", 1), GP_OK);
    expect(p.server, 1, 1);
    post_word(p.server, IBV_WR_SEND_WITH_IMM, inside(p.server)->in.pair.qp, 5000);
    while (status == GP_OK && gp_now_ns() < until)
        status = test_send(p.client, 2, "x", 1);
    cr_assert_eq(status, GP_ERR_PROTOCOL);
    test_pair_close(&p);
}

/* The keys of one session's ring are of no use on another session's queue pair. */
Test(rdma, keys_of_another_session_open_nothing, .timeout = 60)
{
    static uint8_t before[4096];
    enum gp_status status = GP_OK;
    uint64_t until = test_soon();
    struct test_pair good, bad;
    struct tp_frame frame;

    test_pair_open("rdma", NULL, &good);
    test_pair_open("rdma", NULL, &bad);
    memset(inside(good.server)->in.ring, 0x5a, sizeof(before));
    memset(before, 0x5a, sizeof(before));
    inside(bad.client)->out.ring_key = inside(good.client)->out.ring_key;
    inside(bad.client)->out.ring_address = inside(good.client)->out.ring_address;
    while (status == GP_OK && gp_now_ns() < until)
        status = test_send(bad.client, 1, before, 100);
    cr_assert_eq(status, GP_ERR_IO);
    cr_assert_eq(tp_recv_frame(bad.server, &frame, test_soon()), GP_ERR_IO);
    cr_assert_eq(memcmp(inside(good.server)->in.ring, before, sizeof(before)), 0);
    cr_assert_eq(test_send(good.client, 2, "x", 1), GP_OK);
    expect(good.server, 2, 1);
    test_pair_close(&bad);
    test_pair_close(&good);
}
