/* tests/integration/test_tls.c -- sessions over mutual TLS, and who does not get one */
#include "tests/support/client.h"
#include "tests/support/server.h"
#include "tests/unit/transport/certs.h"

#include <criterion/criterion.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static struct test_server
tls_server_with(const char *more)
{
    const char *args[] = {"--listen=tls://127.0.0.1:0", NULL, NULL, NULL, more, NULL};

    test_certs_server_args(args + 1);
    return test_server_start(args);
}

static struct test_server
tls_server(void)
{
    return tls_server_with(NULL);
}

static void
session_works(const struct test_server *server)
{
    struct tp_tls_opts tls = test_certs_opts("client", "ca");
    static uint8_t host[3 << 20];
    struct test_client c;
    uint64_t base;

    cr_assert(test_client_open(&c, server->url[0], &tls), "%s", c.refused.reason);
    cr_assert_str_eq(tp_peer(c.lane)->protocol, "TLSv1.3");
    base = c.answer.device_range.base;
    for (size_t i = 0; i < sizeof(host); i++)
        host[i] = (uint8_t)(i * 17 + (i >> 11));
    TEST_ADD(&c, cuDevicePrimaryCtxRetain, .device = 0, .context = ID(1));
    c.context = 1;
    TEST_ADD(&c, cuMemAlloc_v2, .address = base, .bytes = sizeof(host));
    TEST_ADD(&c, cuMemcpyHtoDAsync_v2, .dst = base, .data = host, .data_len = sizeof(host));
    TEST_ADD(&c, cuMemcpyDtoH_v2, .src = base, .bytes = sizeof(host), .data = 1);
    cr_assert_eq(test_client_call(&c), CUDA_SUCCESS);
    cr_assert_eq(c.data.len, sizeof(host));
    cr_assert_eq(memcmp(c.data.data, host, sizeof(host)), 0);
    test_client_close(&c);
}

static void
is_refused(const struct test_server *server, const struct tp_tls_opts *tls)
{
    struct test_client c;

    cr_assert(!test_client_open(&c, server->url[0], tls));
    tp_close(c.lane);
}

Test(tls, only_good_certificates_get_a_session)
{
    struct test_server server;
    struct tp_tls_opts tls;
    char tcp_url[128];

    (void)test_certs_create();
    test_certs_add(&(struct test_cert){.name = "otherca", .cn = "other", .is_ca = true});
    test_certs_add(&(struct test_cert){.name = "stranger", .ca = "otherca", .cn = "eve"});
    test_certs_add(&(struct test_cert){
        .name = "old", .ca = "ca", .cn = "alice", .from_s = -7200, .until_s = -3600});
    server = tls_server();
    session_works(&server);

    tls = test_certs_opts("stranger", "ca");
    is_refused(&server, &tls);
    tls = test_certs_opts("old", "ca");
    is_refused(&server, &tls);
    tls = test_certs_opts("client", "otherca"); /* we refuse the server */
    is_refused(&server, &tls);
    tls = (struct tp_tls_opts){.ca_path = test_certs_path("ca", "pem")};
    is_refused(&server, &tls);
    snprintf(tcp_url, sizeof(tcp_url), "tcp%s", strstr(server.url[0], "://"));
    strcpy(server.url[1], server.url[0]);
    strcpy(server.url[0], tcp_url);
    is_refused(&server, NULL);
    strcpy(server.url[0], server.url[1]);

    session_works(&server);
    cr_assert(!test_server_logged(&server, "died"));
    test_server_stop(&server);
    test_certs_destroy();
}

/* The list is read for each connection: who is put on it gets no further session. */
Test(tls, the_revoked_are_refused, .timeout = 60)
{
    struct test_server server;
    struct tp_tls_opts bob;
    char crl[256];

    (void)test_certs_create();
    test_certs_add(&(struct test_cert){.name = "bob", .ca = "ca", .cn = "bob"});
    test_certs_revoke("ca", NULL, 3600);
    snprintf(crl, sizeof(crl), "--tls-crl=%s", test_certs_path("ca", "crl"));
    server = tls_server_with(crl);
    bob = test_certs_opts("bob", "ca");
    session_works(&server);

    test_certs_revoke("ca", "bob", 3600);
    is_refused(&server, &bob);
    test_server_await_log(&server, "the client's certificate is revoked");
    session_works(&server);

    test_certs_revoke("ca", NULL, -60); /* over its date: it may lack somebody */
    bob = test_certs_opts("bob", "ca"); /* the paths lie in a few buffers only */
    is_refused(&server, &bob);
    test_server_await_log(&server, "renew the list");
    test_certs_revoke("ca", "bob", 3600);
    session_works(&server);
    cr_assert(!test_server_logged(&server, "died"));
    test_server_stop(&server);
    test_certs_destroy();
}

static void
server_certificate(const struct test_server *server, uint8_t sha256[32])
{
    struct tp_tls_opts tls = test_certs_opts("client", "ca");
    struct test_client c;

    cr_assert(test_client_open(&c, server->url[0], &tls), "%s", c.refused.reason);
    memcpy(sha256, tp_peer(c.lane)->cert_sha256, 32);
    test_client_close(&c);
}

Test(tls, a_renewed_certificate_is_shown_without_a_restart, .timeout = 60)
{
    struct test_server server;
    uint8_t before[32], after[32];

    (void)test_certs_create();
    server = tls_server();
    server_certificate(&server, before);
    test_certs_add(&(struct test_cert){.name = "server",
                                       .ca = "ca",
                                       .cn = "renewed",
                                       .san = "IP:127.0.0.1",
                                       .usage = "serverAuth"});
    server_certificate(&server, after);
    cr_assert_neq(memcmp(before, after, 32), 0);
    session_works(&server);
    test_server_stop(&server);
    test_certs_destroy();
}

/* A hello of 16 MiB, as long as anybody is willing to listen. */
Test(tls, an_oversized_handshake_is_refused, .timeout = 60)
{
    static uint8_t record[5 + 16384] = {0x16, 3,    1,    0x40, 0, /* a record of 16 KiB */
                                        1,    0xff, 0xff, 0xff, 3, 3};
    struct test_server server;
    size_t sent = 0;
    int fd;

    (void)test_certs_create();
    server = tls_server();
    fd = test_server_connect(&server);
    cr_assert_geq(fd, 0);
    while (sent < (16u << 20) && send(fd, record, sizeof(record), MSG_NOSIGNAL) > 0) {
        sent += sizeof(record);
        record[5] = 0; /* what follows is the hello's inside */
    }
    close(fd);
    cr_assert_lt(sent, 16u << 20, "it listened to all of it");
    test_server_await_log(&server, "excessive message size");
    session_works(&server);
    cr_assert(!test_server_logged(&server, "died"));
    test_server_stop(&server);
    test_certs_destroy();
}

Test(tls, a_plain_client_is_told_apart, .timeout = 60)
{
    static const char words[] = "GET / HTTP/1.1\r\nHost: gpu.example.org\r\nAccept: */*\r\n\r\n";
    struct test_server server;
    char answer[64];
    int fd;

    (void)test_certs_create();
    server = tls_server();
    fd = test_server_connect(&server);
    cr_assert_geq(fd, 0);
    cr_assert_eq(send(fd, words, sizeof(words) - 1, MSG_NOSIGNAL), (ssize_t)sizeof(words) - 1);
    while (recv(fd, answer, sizeof(answer), 0) > 0)
        ;
    close(fd);
    test_server_await_log(&server, "the peer does not speak TLS");
    /* And one that says less than any client begins with. */
    fd = test_server_connect(&server);
    cr_assert_eq(send(fd, words, 6, MSG_NOSIGNAL), 6);
    cr_assert_eq(shutdown(fd, SHUT_WR), 0);
    cr_assert_leq(recv(fd, answer, sizeof(answer), 0), 0);
    close(fd);
    test_server_await_log(&server, "began as no client does");
    session_works(&server);
    test_server_stop(&server);
    test_certs_destroy();
}
