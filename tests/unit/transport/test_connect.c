/* tests/unit/transport/test_connect.c -- addresses, names, and what is refused */
#include "tests/unit/transport/pair.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

static enum gp_status
try_connect(const char *url, char why[TP_WHY_BYTES])
{
    struct tp_opts opts = {.framing = &wire_framing, .why = why};
    struct tp_lane *lane;
    enum gp_status status = tp_connect(url, &opts, &lane);

    if (status == GP_OK)
        tp_close(lane);
    return status;
}

static void
refused(const char *url, enum gp_status status, const char *words)
{
    char why[TP_WHY_BYTES] = "";

    cr_assert_eq(try_connect(url, why), status, "%s: %s", url, why);
    cr_assert_not_null(strstr(why, words), "%s: \"%s\" lacks \"%s\"", url, why, words);
    cr_assert_null(strchr(why, '\n'));
}

Test(connect, addresses_that_are_none_say_so)
{
    refused("shm://127.0.0.1:1", GP_ERR_INVALID, "shm:///path");
    refused("tls:///path", GP_ERR_INVALID, "tls://host:port");
    refused("carrier-pigeon://roof:1", GP_ERR_INVALID, "no address");
    refused("pigeon://roof:1", GP_ERR_INVALID, "no such transport");
    refused("tls://", GP_ERR_INVALID, "no address");
    refused("tls://*:7470", GP_ERR_INVALID, "nothing to connect to");
}

Test(connect, plain_tcp_beyond_loopback_is_refused_at_both_ends)
{
    struct tp_opts opts = {.framing = &wire_framing};
    char why[TP_WHY_BYTES] = "";
    struct tp_listener *listener;

    refused("tcp://192.0.2.1:7470", GP_ERR_INVALID, "loopback only");
    refused("tcp://[2001:db8::1]:7470", GP_ERR_INVALID, "loopback only");
    opts.why = why;
    cr_assert_eq(tp_listen("tcp://0.0.0.0:0", &opts, &listener), GP_ERR_INVALID);
    cr_assert_not_null(strstr(why, "loopback only"));
    cr_assert_eq(tp_listen("tcp://[::]:0", &opts, &listener), GP_ERR_INVALID);
}

Test(connect, nobody_listening_says_what_to_do)
{
    struct tp_opts opts = {.framing = &wire_framing};
    struct tp_listener *listener;
    char url[128];

    cr_assert_eq(tp_listen("tcp://127.0.0.1:0", &opts, &listener), GP_OK);
    snprintf(url, sizeof(url), "%s", tp_listener_url(listener));
    tp_listener_close(listener); /* now nobody listens there */
    refused(url, GP_ERR_REFUSED, "start gpupoold");
}

Test(connect, unknown_host_and_silent_host_end_by_the_deadline, .timeout = 20)
{
    char why[TP_WHY_BYTES] = "";
    struct tp_opts opts = {.framing = &wire_framing, .why = why};
    struct tp_lane *lane;
    enum gp_status status;

    /* RFC 2606 keeps .invalid free of hosts, RFC 5737 192.0.2.1; a sandbox may say so at once. */
    opts.deadline_ns = gp_now_ns() + 2 * GP_NS_PER_S;
    status = tp_connect("tls://no-such-host.invalid:1", &opts, &lane);
    cr_assert(status == GP_ERR_NOT_FOUND || status == GP_ERR_TIMEOUT, "%s", why);
    opts.deadline_ns = gp_now_ns() + GP_NS_PER_S / 5;
    status = tp_connect("tls://192.0.2.1:1", &opts, &lane);
    cr_assert(status == GP_ERR_TIMEOUT || status == GP_ERR_IO || status == GP_ERR_REFUSED, "%s",
              why);
    cr_assert_lt(gp_now_ns(), opts.deadline_ns + 2 * GP_NS_PER_S);
}

Test(connect, a_full_listener_that_never_accepts_does_not_hang_the_client, .timeout = 20)
{
    struct tp_opts opts = {.framing = &wire_framing};
    char why[TP_WHY_BYTES] = "";
    struct tp_listener *listener;
    struct tp_lane *lane;

    cr_assert_eq(tp_listen("tls://127.0.0.1:0", &opts, &listener), GP_OK);
    opts = test_client_opts();
    opts.tls = (struct tp_tls_opts){.ca_path = "/nonexistent/ca.pem"};
    opts.why = why;
    cr_assert_eq(tp_connect(tp_listener_url(listener), &opts, &lane), GP_ERR_INVALID);
    cr_assert_not_null(strstr(why, "/nonexistent/ca.pem"), "%s", why);
    tp_listener_close(listener);
}

Test(connect, ipv6_loopback_and_names_work, .timeout = 20)
{
    static const char *const urls[] = {"tcp://[::1]:0", "tcp://localhost:0"};
    int probe = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (probe < 0)
        cr_skip_test("this host has no IPv6");
    close(probe);
    for (size_t i = 0; i < GP_ARRAY_LEN(urls); i++) {
        struct tp_opts opts = {.framing = &wire_framing};
        struct test_acceptor *acceptor = test_acceptor_start(urls[i], &opts);
        struct tp_lane *client, *server;

        cr_assert_eq(tp_connect(test_acceptor_url(acceptor), &opts, &client), GP_OK);
        cr_assert_eq(test_acceptor_finish(acceptor, &server), GP_OK);
        cr_assert(tp_peer(server)->address[0] != '\0');
        cr_assert(tp_caps(client) & TP_CAP_LOCAL);
        cr_assert_str_eq(tp_peer(client)->common_name, "");
        tp_close(client);
        tp_close(server);
    }
}

Test(connect, accept_without_a_client_does_not_wait)
{
    struct tp_opts opts = {.framing = &wire_framing};
    struct tp_listener *listener;
    int fd;

    cr_assert_eq(tp_listen("tcp://127.0.0.1:0", &opts, &listener), GP_OK);
    cr_assert_null(strstr(tp_listener_url(listener), ":0"), "%s", tp_listener_url(listener));
    cr_assert_eq(tp_accept(listener, &fd), GP_ERR_AGAIN);
    tp_listener_close(listener);
}

Test(connect, descriptors_are_closed_on_exec_and_all_are_given_back, .timeout = 20)
{
    static const char *const names[] = {"tcp", "tls", "loop", "shm"};
    struct test_pair p;
    int before, after;

    before = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3);
    for (size_t i = 0; i < GP_ARRAY_LEN(names); i++) {
        test_pair_open(names[i], NULL, &p);
        cr_assert(fcntl(tp_event_fd(p.client), F_GETFD) & FD_CLOEXEC);
        cr_assert(fcntl(tp_event_fd(p.server), F_GETFD) & FD_CLOEXEC);
        test_pair_close(&p);
    }
    after = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3);
    cr_assert_eq(after, before + 1, "descriptors leak: %d, then %d", before, after);
    close(before);
    close(after);
}
