/* tests/integration/test_tls.c -- sessions over mutual TLS, and who does not get one */
#include "tests/support/client.h"
#include "tests/support/server.h"
#include "tests/unit/transport/certs.h"

#include <criterion/criterion.h>

#include <stdio.h>
#include <string.h>

#define ID(index) (1ull << 32 | (index))

static struct test_server
tls_server(void)
{
    static char cert[256], key[256], ca[256];
    const char *args[] = {"--listen=tls://127.0.0.1:0", cert, key, ca, NULL};

    snprintf(cert, sizeof(cert), "--tls-cert=%s", test_certs_path("server", "pem"));
    snprintf(key, sizeof(key), "--tls-key=%s", test_certs_path("server", "key"));
    snprintf(ca, sizeof(ca), "--tls-ca=%s", test_certs_path("ca", "pem"));
    return test_server_start(args);
}

static struct tp_tls_opts
credentials(const char *name, const char *ca)
{
    return (struct tp_tls_opts){.cert_path = test_certs_path(name, "pem"),
                                .key_path = test_certs_path(name, "key"),
                                .ca_path = test_certs_path(ca, "pem")};
}

static void
session_works(const struct test_server *server)
{
    struct tp_tls_opts tls = credentials("client", "ca");
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

    tls = credentials("stranger", "ca");
    is_refused(&server, &tls);
    tls = credentials("old", "ca");
    is_refused(&server, &tls);
    tls = credentials("client", "otherca"); /* we refuse the server */
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
