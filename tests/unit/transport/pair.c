/* tests/unit/transport/pair.c */
#include "tests/unit/transport/pair.h"

#include "tests/unit/transport/certs.h"
#include "tests/unit/transport/need.h"
#include "transport/bundle/bundle.h"

#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct test_acceptor {
    struct tp_listener *listener;
    struct tp_opts opts;
    pthread_t thread;
    struct tp_lane *lane;
    enum gp_status status;
};

uint64_t
test_soon(void)
{
    return gp_now_ns() + 20 * GP_NS_PER_S;
}

struct tp_opts
test_client_opts(void)
{
    return (struct tp_opts){
        .framing = &wire_framing,
        .tls = test_certs_opts("client", "ca"),
    };
}

struct tp_opts
test_server_opts(void)
{
    return (struct tp_opts){
        .framing = &wire_framing,
        .tls = test_certs_opts("server", "ca"),
    };
}

static void *
accept_one(void *arg)
{
    struct test_acceptor *acceptor = arg;
    struct pollfd p = {.fd = tp_listener_fd(acceptor->listener), .events = POLLIN};
    int fd;

    do
        poll(&p, 1, -1);
    while (tp_accept(acceptor->listener, &fd) != GP_OK);
    acceptor->status = tp_adopt(tp_listener_scheme(acceptor->listener), fd, TP_SERVER,
                                &acceptor->opts, &acceptor->lane);
    return NULL;
}

struct test_acceptor *
test_acceptor_start(const char *url, const struct tp_opts *opts)
{
    struct test_acceptor *acceptor = calloc(1, sizeof(*acceptor));

    need(acceptor != NULL);
    acceptor->opts = *opts;
    need(tp_listen(url, opts, &acceptor->listener) == GP_OK);
    need(pthread_create(&acceptor->thread, NULL, accept_one, acceptor) == 0);
    return acceptor;
}

const char *
test_acceptor_url(const struct test_acceptor *acceptor)
{
    return tp_listener_url(acceptor->listener);
}

enum gp_status
test_acceptor_finish(struct test_acceptor *acceptor, struct tp_lane **lane_p)
{
    enum gp_status status;

    pthread_join(acceptor->thread, NULL);
    status = acceptor->status;
    if (status == GP_OK)
        *lane_p = acceptor->lane;
    tp_listener_close(acceptor->listener);
    free(acceptor);
    return status;
}

uint32_t test_rdma_ports = 1;

static void
one_open(const char *name, const struct tp_opts *common, struct test_pair *pair)
{
    struct tp_opts client, server;
    struct test_acceptor *acceptor;
    static const char *const fabrics[] = {"*"};
    static const uint8_t key[TP_KEY_BYTES] = "of both ends, and of nobody else";
    bool certs = strcmp(name, "tls") == 0 || strcmp(name, "rdma") == 0;
    /* Needs a kernel that has it: tests/rdma. Of both ends, or of the server's only. */
    bool kernel = strncmp(name, "ktls", 4) == 0, kernel_both = strcmp(name, "ktls") == 0;
    char url[64];

    if (certs)
        test_certs_create();
    client = test_client_opts();
    server = test_server_opts();
    if (common != NULL) {
        client.spin_us = server.spin_us = common->spin_us;
        client.max_payload_bytes = server.max_payload_bytes = common->max_payload_bytes;
        client.rekey_bytes = server.rekey_bytes = common->rekey_bytes;
    }
    if (strcmp(name, "loop") == 0) {
        need(tp_loop_pair(&client, NULL, &pair->client, &pair->server) == GP_OK);
        return;
    }
    if (strcmp(name, "rdma") == 0)
        server.rdma = (struct tp_rdma_opts){fabrics, GP_ARRAY_LEN(fabrics), test_rdma_ports};
    if (kernel)
        client.tls = server.tls = (struct tp_tls_opts){.psk = key};
    client.kernel_tls = kernel_both;
    server.kernel_tls = kernel;
    client.deadline_ns = server.deadline_ns = test_soon();
    if (strcmp(name, "shm") == 0)
        snprintf(url, sizeof(url), "shm://@gpupool-test-%d-%d", (int)getpid(), (int)gettid());
    else
        snprintf(url, sizeof(url), "%s://127.0.0.1:0", kernel ? "tls" : name);
    acceptor = test_acceptor_start(url, &server);
    need(tp_connect(test_acceptor_url(acceptor), &client, &pair->client) == GP_OK);
    need(test_acceptor_finish(acceptor, &pair->server) == GP_OK);
    if (certs)
        test_certs_destroy(); /* a lane needs its files no more */
    if (kernel) {
        need((strstr(tp_peer(pair->client)->cipher, "SHA256 by the kernel") != NULL) ==
             kernel_both);
        need(strstr(tp_peer(pair->server)->cipher, "SHA256 by the kernel") != NULL);
    }
}

void
test_pair_open(const char *name, const struct tp_opts *common, struct test_pair *pair)
{
    struct tp_lane *clients[3], *servers[3];
    size_t length = strcspn(name, "+");
    char one[8];

    if (name[length] == '\0') {
        one_open(name, common, pair);
        return;
    }
    snprintf(one, sizeof(one), "%.*s", (int)length, name);
    for (unsigned i = 0; i < GP_ARRAY_LEN(clients); i++) {
        one_open(one, common, pair);
        clients[i] = pair->client;
        servers[i] = pair->server;
    }
    need(tp_bundle_make(clients, GP_ARRAY_LEN(clients), &pair->client) == GP_OK);
    need(tp_bundle_make(servers, GP_ARRAY_LEN(servers), &pair->server) == GP_OK);
}

void
test_pair_close(struct test_pair *pair)
{
    tp_close(pair->client);
    tp_close(pair->server);
}

void
test_fill(uint8_t *data, size_t bytes, uint32_t seed)
{
    uint32_t x = seed * 2654435761u + 1;

    for (size_t i = 0; i < bytes; i++) {
        x = x * 1664525u + 1013904223u;
        data[i] = (uint8_t)(x >> 24);
    }
}

bool
test_is_filled(const uint8_t *data, size_t bytes, uint32_t seed)
{
    uint32_t x = seed * 2654435761u + 1;

    for (size_t i = 0; i < bytes; i++) {
        x = x * 1664525u + 1013904223u;
        if (data[i] != (uint8_t)(x >> 24))
            return false;
    }
    return true;
}

enum gp_status
test_send(struct tp_lane *lane, uint32_t tag, const void *payload, size_t bytes)
{
    struct wire_frame_header header = {
        .kind = WIRE_FRAME_DATA, .tag = tag, .payload_bytes = (uint32_t)bytes};
    uint8_t head[WIRE_FRAME_HEADER_BYTES];
    struct iovec iov[2] = {{head, sizeof(head)}, {(void *)payload, bytes}};

    wire_frame_encode(&header, head);
    return tp_send(lane, iov, 2);
}

uint32_t
test_tag(const struct tp_frame *frame)
{
    struct wire_frame_header header;

    need(wire_frame_decode(frame->header, WIRE_FRAME_PAYLOAD_MAX, &header) == GP_OK);
    return header.tag;
}
