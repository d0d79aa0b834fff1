/* tests/unit/transport/test_connect.c -- addresses, names, and what is refused */
#include "tests/unit/transport/certs.h"
#include "tests/unit/transport/pair.h"
#include "transport/socket.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define CONGESTION_MAX 16 /* TCP_CA_NAME_MAX */

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
    static const char *const urls[] = {"tcp://[::1]:0", "tcp://localhost:0", "tls://[::1]:0",
                                       "tls://localhost:0"};
    int probe = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (probe < 0)
        cr_skip_test("this host has no IPv6");
    close(probe);
    (void)test_certs_create();
    for (size_t i = 0; i < GP_ARRAY_LEN(urls); i++) {
        struct tp_opts opts = test_client_opts(), server_opts = test_server_opts();
        struct test_acceptor *acceptor = test_acceptor_start(urls[i], &server_opts);
        struct tp_lane *client, *server;

        opts.tls.server_name = "localhost";
        cr_assert_eq(tp_connect(test_acceptor_url(acceptor), &opts, &client), GP_OK);
        cr_assert_eq(test_acceptor_finish(acceptor, &server), GP_OK);
        cr_assert(tp_peer(server)->address[0] != '\0');
        if (i < 2) {
            cr_assert(tp_caps(client) & TP_CAP_LOCAL);
            cr_assert_str_eq(tp_peer(client)->common_name, "");
        } else {
            cr_assert(tp_caps(client) & TP_CAP_IDENTITY);
        }
        if (i % 2 == 0)
            cr_assert_eq(tp_peer(client)->address[0], '[', "%s", tp_peer(client)->address);
        tp_close(client);
        tp_close(server);
    }
    test_certs_destroy();
}

static int
option_of(int fd, int level, int option)
{
    int value = -1;
    socklen_t bytes = sizeof(value);

    cr_assert_eq(getsockopt(fd, level, option, &value, &bytes), 0);
    return value;
}

/* Another one than those within the machine have by themselves; reno where there is none. */
static void
other_congestion(char name[CONGESTION_MAX])
{
    FILE *file = fopen("/proc/sys/net/ipv4/tcp_allowed_congestion_control", "re");

    strcpy(name, "reno");
    while (file != NULL && strcmp(name, "reno") == 0 && fscanf(file, "%15s", name) == 1)
        ;
    if (file != NULL)
        fclose(file);
}

static void
congestion_is(struct tp_lane *lane, const char *wanted)
{
    char name[CONGESTION_MAX];
    socklen_t bytes = sizeof(name);

    cr_assert_eq(getsockopt(tp_event_fd(lane), IPPROTO_TCP, TCP_CONGESTION, name, &bytes), 0);
    cr_assert_str_eq(name, wanted);
}

/* Whatever the system's is: nothing is to be paced there. */
Test(connect, connections_within_the_machine_are_not_paced, .timeout = 20)
{
    static const char *const urls[] = {"tcp://127.0.0.1:0", "tcp://[::1]:0", "tls://127.0.0.1:0"};

    test_certs_create();
    for (size_t i = 0; i < GP_ARRAY_LEN(urls); i++) {
        struct tp_opts opts = test_client_opts(), server_opts = test_server_opts();
        struct test_acceptor *acceptor = test_acceptor_start(urls[i], &server_opts);
        struct tp_lane *client, *server;

        cr_assert_eq(tp_connect(test_acceptor_url(acceptor), &opts, &client), GP_OK);
        cr_assert_eq(test_acceptor_finish(acceptor, &server), GP_OK);
        congestion_is(client, "reno");
        congestion_is(server, "reno");
        tp_close(client);
        tp_close(server);
    }
    test_certs_destroy();
}

/* Of both ends, as each was told; keepalive also where nobody said anything. */
Test(connect, sockets_are_as_the_options_say, .timeout = 20)
{
    struct tp_opts opts = test_client_opts(), server_opts = test_server_opts();
    struct test_acceptor *acceptor;
    struct tp_lane *lanes[2];
    char other[CONGESTION_MAX];

    opts.keepalive_s = 7;
    opts.send_buffer_bytes = opts.recv_buffer_bytes = 100000;
    other_congestion(other);
    opts.congestion = server_opts.congestion = other;
    acceptor = test_acceptor_start("tcp://127.0.0.1:0", &server_opts);
    cr_assert_eq(tp_connect(test_acceptor_url(acceptor), &opts, &lanes[0]), GP_OK);
    cr_assert_eq(test_acceptor_finish(acceptor, &lanes[1]), GP_OK);
    for (int i = 0; i < 2; i++) {
        int fd = tp_event_fd(lanes[i]);

        cr_assert_eq(option_of(fd, SOL_SOCKET, SO_KEEPALIVE), 1);
        cr_assert_eq(option_of(fd, IPPROTO_TCP, TCP_KEEPIDLE), i == 0 ? 7 : 30);
        cr_assert_eq(option_of(fd, IPPROTO_TCP, TCP_NODELAY), 1);
        congestion_is(lanes[i], other);
    }
    /* The kernel doubles what it is asked for. */
    cr_assert_eq(option_of(tp_event_fd(lanes[0]), SOL_SOCKET, SO_SNDBUF), 200000);
    cr_assert_eq(option_of(tp_event_fd(lanes[0]), SOL_SOCKET, SO_RCVBUF), 200000);
    tp_close(lanes[0]);
    tp_close(lanes[1]);
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

/* -- several addresses --------------------------------------------------------------------------
 */

struct place {
    struct addrinfo ai;
    struct sockaddr_in in;
    int fd, filler[8]; /* its listener, and who fills its queue */
    unsigned fillers;
};

/* A listener on loopback, in front of next. */
static void
place_make(struct place *place, bool listens, struct place *next)
{
    socklen_t len = sizeof(place->in);

    memset(place, 0, sizeof(*place));
    place->in.sin_family = AF_INET;
    place->in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    place->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert_eq(bind(place->fd, (struct sockaddr *)&place->in, len), 0);
    cr_assert_eq(getsockname(place->fd, (struct sockaddr *)&place->in, &len), 0);
    if (listens)
        cr_assert_eq(listen(place->fd, 0), 0);
    place->ai = (struct addrinfo){.ai_family = AF_INET,
                                  .ai_socktype = SOCK_STREAM,
                                  .ai_addr = (struct sockaddr *)&place->in,
                                  .ai_addrlen = sizeof(place->in),
                                  .ai_next = next != NULL ? &next->ai : NULL};
}

/* Fill its queue, so that whoever comes next hears nothing, as behind a firewall. */
static void
place_silence(struct place *place)
{
    for (bool full = false; !full && place->fillers < 8;) {
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        struct pollfd p = {.fd = fd, .events = POLLOUT};

        cr_assert_eq(connect(fd, place->ai.ai_addr, place->ai.ai_addrlen), -1);
        full = poll(&p, 1, 200) == 0;
        place->filler[place->fillers++] = fd;
    }
}

static void
place_close(struct place *place)
{
    for (unsigned i = 0; i < place->fillers; i++)
        close(place->filler[i]);
    close(place->fd);
}

Test(connect, a_silent_address_holds_up_no_other, .timeout = 60)
{
    struct tp_opts opts = {.framing = &wire_framing};
    struct place silent[2], refusing, good, late;
    const struct addrinfo *failed;
    uint64_t begin = gp_now_ns();
    struct sockaddr_in at;
    socklen_t len = sizeof(at);
    int fd, error;

    opts.deadline_ns = begin + 20 * GP_NS_PER_S;
    place_make(&late, true, NULL);
    place_make(&good, true, &late);
    place_make(&refusing, false, &good);
    place_make(&silent[1], true, &refusing);
    place_make(&silent[0], true, &silent[1]);
    place_silence(&silent[0]);
    place_silence(&silent[1]);

    begin = gp_now_ns();
    cr_assert_eq(tp_socket_race(&silent[0].ai, &opts, &fd, &error, &failed), GP_OK);
    cr_assert_lt(gp_now_ns() - begin, 10 * GP_NS_PER_S, "two silent ones cost half a second");
    cr_assert_eq(getpeername(fd, (struct sockaddr *)&at, &len), 0);
    cr_assert_eq(at.sin_port, good.in.sin_port, "the first that answers");
    close(fd);

    /* Nobody but silent ones: at the deadline, not later for there being two. */
    silent[1].ai.ai_next = NULL;
    begin = gp_now_ns();
    opts.deadline_ns = begin + GP_NS_PER_S;
    cr_assert_eq(tp_socket_race(&silent[0].ai, &opts, &fd, &error, &failed), GP_ERR_IO);
    cr_assert_eq(error, ETIMEDOUT);
    cr_assert_lt(gp_now_ns() - begin, 10 * GP_NS_PER_S);
    /* One that refuses is no reason to wait. */
    refusing.ai.ai_next = NULL;
    opts.deadline_ns = gp_now_ns() + 20 * GP_NS_PER_S;
    cr_assert_eq(tp_socket_race(&refusing.ai, &opts, &fd, &error, &failed), GP_ERR_IO);
    cr_assert_eq(error, ECONNREFUSED);
    cr_assert_eq(failed, &refusing.ai);
    place_close(&silent[0]);
    place_close(&silent[1]);
    place_close(&refusing);
    place_close(&good);
    place_close(&late);
}
