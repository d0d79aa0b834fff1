/* tests/unit/transport/test_tls.c -- who gets in, who does not, and what they are told */
#include "tests/unit/transport/certs.h"
#include "tests/unit/transport/pair.h"
#include "protocol/base/log.h"
#include "transport/tls/sha256.h"
#include "transport/tls/tls_priv.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

/* What both ends said. */
struct outcome {
    enum gp_status server, client; /* client: of the connect, or else of its first receive */
    char server_why[TP_WHY_BYTES], client_why[TP_WHY_BYTES];
};

static struct outcome
meet(const struct tp_opts *client_opts, const struct tp_opts *server_opts)
{
    struct tp_opts client = *client_opts, server = *server_opts;
    struct outcome o = {.client = GP_OK};
    struct tp_lane *at_client, *at_server = NULL;
    struct test_acceptor *acceptor;
    struct tp_frame frame;

    client.why = o.client_why;
    server.why = o.server_why;
    acceptor = test_acceptor_start("tls://127.0.0.1:0", &server);
    o.client = tp_connect(test_acceptor_url(acceptor), &client, &at_client);
    if (o.client != GP_OK)
        at_client = NULL;
    o.server = test_acceptor_finish(acceptor, &at_server);
    if (o.server == GP_OK)
        cr_assert(o.client != GP_OK || test_send(at_server, 1, "hello", 5) == GP_OK);
    if (o.client == GP_OK)
        o.client = tp_recv_frame(at_client, &frame, test_soon());
    tp_close(at_client);
    tp_close(at_server);
    return o;
}

static void
expect_server_refuses(const struct tp_opts *client, const char *words)
{
    struct tp_opts server = test_server_opts();
    struct outcome o = meet(client, &server);

    cr_assert_eq(o.server, GP_ERR_AUTH, "server: %s", o.server_why);
    cr_assert_not_null(strstr(o.server_why, words), "\"%s\" lacks \"%s\"", o.server_why, words);
    cr_assert_eq(o.client, GP_ERR_AUTH, "client: %s", gp_status_text(o.client));
}

static void
expect_client_refuses(const struct tp_opts *client, const struct tp_opts *server, const char *words)
{
    struct outcome o = meet(client, server);

    cr_assert_eq(o.client, GP_ERR_AUTH, "client: %s", o.client_why);
    cr_assert_not_null(strstr(o.client_why, words), "\"%s\" lacks \"%s\"", o.client_why, words);
    cr_assert_null(strchr(o.client_why, '\n'));
}

static struct tp_opts
with_cert(struct tp_opts opts, const char *name)
{
    opts.tls.cert_path = test_certs_path(name, "pem");
    opts.tls.key_path = test_certs_path(name, "key");
    return opts;
}

static void
setup(void)
{
    test_certs_create();
}

TestSuite(tls, .init = setup, .fini = test_certs_destroy, .timeout = 60);

Test(tls, both_ends_know_each_other_by_certificate)
{
    struct tp_opts client = test_client_opts(), server = test_server_opts();
    struct test_acceptor *acceptor = test_acceptor_start("tls://127.0.0.1:0", &server);
    static const uint8_t none[32];
    struct tp_lane *c, *s;

    cr_assert_eq(tp_connect(test_acceptor_url(acceptor), &client, &c), GP_OK);
    cr_assert_eq(test_acceptor_finish(acceptor, &s), GP_OK);
    cr_assert_str_eq(tp_peer(s)->common_name, "alice");
    cr_assert_eq(tp_peer(s)->uri_count, 1);
    cr_assert_str_eq(tp_peer(s)->uris[0], "gpupool:tenant/alice");
    cr_assert_str_eq(tp_peer(c)->common_name, "pool server");
    cr_assert_str_eq(tp_peer(c)->protocol, "TLSv1.3");
    cr_assert_not_null(strstr(tp_peer(c)->cipher, "GCM"), "%s", tp_peer(c)->cipher);
    cr_assert_str_eq(tp_peer(c)->cipher, tp_peer(s)->cipher);
    cr_assert_neq(memcmp(tp_peer(s)->cert_sha256, none, 32), 0);
    cr_assert(tp_caps(c) & TP_CAP_ENCRYPTED);
    tp_close(c);
    tp_close(s);
}

Test(tls, private_keys_are_gone_after_the_handshake)
{
    struct test_pair p;

    test_pair_open("tls", NULL, &p);
    cr_assert_null(SSL_get_privatekey(((struct tls_lane *)p.server)->ssl));
    cr_assert_null(SSL_get_privatekey(((struct tls_lane *)p.client)->ssl));
    test_pair_close(&p);
}

Test(tls, client_without_a_certificate_is_refused_and_told)
{
    struct tp_opts client = test_client_opts();

    client.tls.cert_path = client.tls.key_path = NULL;
    expect_server_refuses(&client, "sent no certificate");
}

Test(tls, expired_client_is_refused)
{
    struct tp_opts client = with_cert(test_client_opts(), "old");

    test_certs_add(&(struct test_cert){
        .name = "old", .ca = "ca", .cn = "alice", .from_s = -7200, .until_s = -3600});
    expect_server_refuses(&client, "certificate expired on 20");
}

Test(tls, client_of_another_ca_is_refused)
{
    struct tp_opts client = with_cert(test_client_opts(), "stranger");

    test_certs_add(&(struct test_cert){.name = "other", .cn = "other authority", .is_ca = true});
    test_certs_add(&(struct test_cert){.name = "stranger", .ca = "other", .cn = "mallory"});
    expect_server_refuses(&client, "not signed by our CA");
}

Test(tls, self_signed_client_is_refused)
{
    struct tp_opts client = with_cert(test_client_opts(), "self");

    test_certs_add(&(struct test_cert){.name = "self", .cn = "alice"});
    expect_server_refuses(&client, "not signed by our CA");
}

Test(tls, server_certificate_used_by_a_client_is_refused)
{
    struct tp_opts client = with_cert(test_client_opts(), "server");

    expect_server_refuses(&client, "not meant for a client");
}

Test(tls, expired_server_is_refused)
{
    struct tp_opts client = test_client_opts(), server = with_cert(test_server_opts(), "old");

    test_certs_add(&(struct test_cert){.name = "old",
                                       .ca = "ca",
                                       .cn = "pool server",
                                       .san = "IP:127.0.0.1",
                                       .from_s = -7200,
                                       .until_s = -3600});
    expect_client_refuses(&client, &server, "the server's certificate expired on 20");
}

Test(tls, server_that_is_not_valid_yet_is_refused)
{
    struct tp_opts client = test_client_opts(), server = with_cert(test_server_opts(), "young");

    test_certs_add(&(struct test_cert){.name = "young",
                                       .ca = "ca",
                                       .cn = "pool server",
                                       .san = "IP:127.0.0.1",
                                       .from_s = 7200,
                                       .until_s = 9600});
    expect_client_refuses(&client, &server, "correct the clock");
}

Test(tls, server_of_another_ca_is_refused)
{
    struct tp_opts client = test_client_opts(), server = with_cert(test_server_opts(), "fake");

    test_certs_add(&(struct test_cert){.name = "other", .cn = "other authority", .is_ca = true});
    test_certs_add(&(struct test_cert){
        .name = "fake", .ca = "other", .cn = "pool server", .san = "IP:127.0.0.1"});
    expect_client_refuses(&client, &server, "not signed by our CA");
}

Test(tls, server_with_another_address_is_refused)
{
    struct tp_opts client = test_client_opts(), server = with_cert(test_server_opts(), "far");

    test_certs_add(&(struct test_cert){.name = "far",
                                       .ca = "ca",
                                       .cn = "pool server",
                                       .san = "IP:192.0.2.7,IP:2001:db8::7,DNS:far.example"});
    expect_client_refuses(&client, &server,
                          "192.0.2.7, 2001:db8::7, far.example, not for 127.0.0.1");
}

Test(tls, server_with_another_name_is_refused_and_the_right_name_is_taken)
{
    struct tp_opts client = test_client_opts(), server = test_server_opts();
    struct outcome o;

    client.tls.server_name = "gpu7.example";
    expect_client_refuses(&client, &server, "not for gpu7.example");
    client.tls.server_name = "localhost";
    o = meet(&client, &server);
    cr_assert_eq(o.client, GP_OK, "%s", o.client_why);
}

Test(tls, common_name_alone_does_not_make_a_server)
{
    struct tp_opts client = test_client_opts(), server = with_cert(test_server_opts(), "plain");

    test_certs_add(&(struct test_cert){.name = "plain", .ca = "ca", .cn = "127.0.0.1"});
    expect_client_refuses(&client, &server, "not for 127.0.0.1");
}

Test(tls, files_that_do_not_fit_are_named)
{
    struct tp_opts client = test_client_opts(), server = test_server_opts();
    struct outcome o;

    client.tls.key_path = test_certs_path("server", "key");
    o = meet(&client, &server);
    cr_assert_eq(o.client, GP_ERR_INVALID);
    cr_assert_not_null(strstr(o.client_why, "does not belong to"), "%s", o.client_why);

    client = test_client_opts();
    client.tls.key_path = test_certs_path("ca", "pem");
    o = meet(&client, &server);
    cr_assert_eq(o.client, GP_ERR_INVALID);
    cr_assert_not_null(strstr(o.client_why, "private key"), "%s", o.client_why);

    client = test_client_opts();
    client.tls.key_path = NULL;
    o = meet(&client, &server);
    cr_assert_eq(o.client, GP_ERR_INVALID);
    cr_assert_not_null(strstr(o.client_why, "without its private key"), "%s", o.client_why);
}

/* The plaintext side of a mistake: a tcp lane on one end, tls on the other. */
Test(tls, plaintext_client_is_named_as_such)
{
    struct tp_opts server = test_server_opts();
    char why[TP_WHY_BYTES] = "";
    struct tp_lane *plain, *lane;
    int fds[2];

    server.why = why;
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    cr_assert_eq(tp_adopt("tcp", fds[0], TP_CLIENT, &server, &plain), GP_OK);
    cr_assert_eq(test_send(plain, 1, "hello", 5), GP_OK);
    cr_assert_eq(tp_adopt("tls", fds[1], TP_SERVER, &server, &lane), GP_ERR_PROTOCOL);
    cr_assert_not_null(strstr(why, "does not speak TLS"), "%s", why);
    tp_close(plain);
}

Test(tls, plaintext_server_is_named_as_such)
{
    struct tp_opts client = test_client_opts(), plain = {.framing = &wire_framing};
    char url[128], why[TP_WHY_BYTES] = "";
    struct test_acceptor *acceptor = test_acceptor_start("tcp://127.0.0.1:0", &plain);
    struct tp_lane *lane, *server;
    struct tp_frame frame;

    client.why = why;
    client.deadline_ns = gp_now_ns() + 200 * GP_NS_PER_MS;
    snprintf(url, sizeof(url), "tls%s", test_acceptor_url(acceptor) + 3);
    /* A tcp server waits for a frame, we for a server hello: our deadline ends that. */
    cr_assert_eq(tp_connect(url, &client, &lane), GP_ERR_TIMEOUT, "%s", why);
    cr_assert_eq(test_acceptor_finish(acceptor, &server), GP_OK);
    cr_assert_eq(tp_recv_frame(server, &frame, test_soon()), GP_ERR_PROTOCOL);
    tp_close(server);
}

static void *
drip(void *arg)
{
    int fd = *(int *)arg;

    /* A record's head that promises more than ever comes, a byte at a time until cut off. */
    while (send(fd, "\x16", 1, MSG_NOSIGNAL) == 1 && recv(fd, &(char){0}, 1, 0) > 0)
        continue;
    return NULL;
}

Test(tls, silent_and_slow_clients_are_dropped_at_the_deadline)
{
    struct tp_opts server = test_server_opts();
    char why[TP_WHY_BYTES] = "";
    struct tp_lane *lane;
    pthread_t thread;
    int fds[2];

    server.why = why;
    for (int slow = 0; slow < 2; slow++) {
        uint64_t start = gp_now_ns();

        cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
        if (slow)
            pthread_create(&thread, NULL, drip, &fds[0]);
        server.deadline_ns = start + 100 * GP_NS_PER_MS;
        cr_assert_eq(tp_adopt("tls", fds[1], TP_SERVER, &server, &lane), GP_ERR_TIMEOUT);
        cr_assert_geq(gp_now_ns() - start, 100 * GP_NS_PER_MS);
        cr_assert_not_null(strstr(why, "silent or slow"), "%s", why);
        if (slow)
            pthread_join(thread, NULL); /* our end is closed, so it has ended */
        close(fds[0]);
    }
}

static char heard[256];

static void
hear(enum gp_log_level level, const char *text)
{
    (void)level;
    snprintf(heard, sizeof(heard), "%s", text);
}

Test(tls, line_cut_in_mid_stream_is_no_orderly_end)
{
    struct tp_frame frame;
    struct test_pair p;

    test_pair_open("tls", NULL, &p);
    gp_log_set_level(GP_LOG_DEBUG);
    gp_log_set_sink(hear);
    tp_shutdown(p.client); /* the socket ends, no close_notify */
    cr_assert_eq(tp_recv_frame(p.server, &frame, test_soon()), GP_ERR_IO);
    cr_assert_not_null(strstr(heard, "the peer cut the line"), "%s", heard);
    cr_assert_null(strstr(heard, "handshake"), "that was over long ago: %s", heard);
    test_pair_close(&p);
}

Test(tls, new_keys_are_made_on_the_way_without_notice)
{
    uint8_t payload[5000];
    struct tp_frame frame;
    struct test_pair p;

    test_pair_open("tls", NULL, &p);
    ((struct tls_lane *)p.client)->rekey_bytes = 20000;
    test_fill(payload, sizeof(payload), 4);
    for (uint32_t i = 0; i < 100; i++) {
        cr_assert_eq(test_send(p.client, i, payload, sizeof(payload)), GP_OK);
        cr_assert_eq(tp_recv_frame(p.server, &frame, test_soon()), GP_OK);
        cr_assert(test_is_filled(frame.payload, sizeof(payload), 4));
        cr_assert_eq(test_send(p.server, i, payload, 10), GP_OK);
        cr_assert_eq(tp_recv_frame(p.client, &frame, test_soon()), GP_OK);
    }
    cr_assert_lt(((struct tls_lane *)p.client)->key_bytes, 25000);
    test_pair_close(&p);
}

Test(tls, hash_is_sha256)
{
    /* FIPS 180-2, appendix B.1 */
    static const uint8_t abc[] = {0xba, 0x78, 0x16, 0xbf, 0x8f, 0x01, 0xcf, 0xea, 0x41, 0x41, 0x40,
                                  0xde, 0x5d, 0xae, 0x22, 0x23, 0xb0, 0x03, 0x61, 0xa3, 0x96, 0x17,
                                  0x7a, 0x9c, 0xb4, 0x10, 0xff, 0x61, 0xf2, 0x00, 0x15, 0xad};
    uint8_t out[TP_SHA256_BYTES];
    struct tp_sha256 *hash;

    cr_assert_eq(tp_sha256("abc", 3, out), GP_OK);
    cr_assert_eq(memcmp(out, abc, sizeof(abc)), 0);
    cr_assert_eq(tp_sha256_create(&hash), GP_OK);
    tp_sha256_add(hash, "a", 1);
    tp_sha256_add(hash, "bc", 2);
    cr_assert_eq(tp_sha256_finish(hash, out), GP_OK);
    cr_assert_eq(memcmp(out, abc, sizeof(abc)), 0);
}

/* Whether or not the kernel then takes them. */
Test(tls, both_ends_would_tell_their_kernels_the_same_secrets)
{
    static const uint8_t key[TP_KEY_BYTES] = "of both ends, and of nobody else";
    struct tp_opts opts = {.framing = &wire_framing, .tls = {.psk = key}, .kernel_tls = true};
    struct test_acceptor *acceptor = test_acceptor_start("tls://127.0.0.1:0", &opts);
    struct tls_kernel *at_client, *at_server;
    struct tp_lane *c, *s;
    struct tp_frame frame;

    cr_assert_eq(tp_connect(test_acceptor_url(acceptor), &opts, &c), GP_OK);
    cr_assert_eq(test_acceptor_finish(acceptor, &s), GP_OK);
    at_client = &((struct tls_lane *)c)->kernel;
    at_server = &((struct tls_lane *)s)->kernel;
    cr_assert(at_client->out.known && at_client->in.known);
    cr_assert_arr_eq(at_client->out.bytes, at_server->in.bytes, TP_TLS_SECRET_BYTES);
    cr_assert_arr_eq(at_client->in.bytes, at_server->out.bytes, TP_TLS_SECRET_BYTES);
    cr_assert_arr_neq(at_client->in.bytes, at_client->out.bytes, TP_TLS_SECRET_BYTES);
    cr_assert_eq(test_send(c, 1, "hello", 5), GP_OK);
    cr_assert_eq(tp_recv_frame(s, &frame, test_soon()), GP_OK);
    cr_assert_eq(test_send(s, 2, "hello", 5), GP_OK);
    cr_assert_eq(tp_recv_frame(c, &frame, test_soon()), GP_OK);
    tp_close(c);
    cr_assert_eq(tp_recv_frame(s, &frame, test_soon()), GP_ERR_CLOSED);
    tp_close(s);
}
