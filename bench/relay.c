/* bench/relay.c -- a longer, narrower or failing line on loopback
 *
 * Passes each TCP connection on to one server, byte for byte, whatever is spoken on it: after a
 * delay in each direction, at most at a given rate, cut or silent after a given byte. Delay alone
 * does not limit the rate: bytes on their way are kept in a ring. One thread, no busy waiting; what
 * its own wake-ups add (some 50 us a direction) the user measures with transport_floor through it.
 */
#include "bench/relay_chance.h"
#include "bench/relay_way.h"

#include "protocol/base/clock.h"
#include "protocol/base/log.h"
#include "protocol/base/options.h"
#include "protocol/base/url.h"
#include "protocol/base/util.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>

#define EVENTS 64

static const struct gp_option relay_options[] = {
    {"to", "URL", GP_OPT_URLS, NULL, "pass connections on to this port of 127.0.0.1"},
    {"rtt", "TIME", GP_OPT_TIME, "0s", "add this much to a round trip, half in each direction"},
    {"mbit", "N", GP_OPT_NUMBER, "0", "at most so many megabits a second each way; 0: no limit"},
    {"direction", "NAME", GP_OPT_ENUM, "both", "where to cut or stall; up is to the server",
     .choices = "up|down|both"},
    {"cut-after", "BYTES", GP_OPT_BYTES, NULL, "pass on so many bytes, then reset both ends"},
    {"stall-after", "BYTES", GP_OPT_BYTES, NULL, "pass on so many bytes, then fall silent"},
    {"chance", "SEED", GP_OPT_NUMBER, NULL,
     "something happens to each connection, by chance: it is reset, closed, held up or silent; one "
     "line each on standard output"},
    {"span", "BYTES", GP_OPT_BYTES, "256k", "with --chance: after at most so many"},
    {"spare", "BYTES", GP_OPT_BYTES, "0", "with --chance: not before so many on the first one"},
    {"buffer", "BYTES", GP_OPT_BYTES, "256m", "bytes on their way at once, in each direction"},
    {"ready-fd", "FD", GP_OPT_FD, NULL, "write one line with the URL to connect to"},
    {"exit-with-parent", NULL, GP_OPT_FLAG, NULL, "end when the parent process ends"},
    {NULL},
};

static const struct gp_option_set relay_set = {
    .program = "relay",
    .summary = "play a longer or narrower line on loopback",
    .options = relay_options,
};

/* One end of a connection, as epoll knows it. */
struct end {
    struct link *link;
    int fd;
    uint32_t events; /* what epoll waits for */
    bool gone;       /* no longer in epoll */
};

struct link {
    struct link *next, **place;
    struct end client, server;
    struct line_plan up_plan, down_plan;
    struct way up, down;
};

struct relay {
    int epoll_fd, listen_fd;
    struct sockaddr_in to;
    struct line_plan up, down;
    struct chance chance;
    struct link *links;
    struct link *dead; /* freed after the round: an event of it may still be in hand */
};

static void
end_link(struct relay *r, struct link *l, bool reset)
{
    struct linger now = {.l_onoff = 1, .l_linger = 0};

    if (l->place == NULL)
        return;
    chance_tell(&l->up, "up");
    chance_tell(&l->down, "down");
    if (reset) {
        setsockopt(l->client.fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
        setsockopt(l->server.fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
    }
    close(l->client.fd);
    close(l->server.fd);
    if (l->next != NULL)
        l->next->place = l->place;
    *l->place = l->next;
    l->place = NULL;
    l->next = r->dead;
    r->dead = l;
}

static void
free_dead(struct relay *r)
{
    while (r->dead != NULL) {
        struct link *l = r->dead;

        r->dead = l->next;
        way_fini(&l->up);
        way_fini(&l->down);
        free(l);
    }
}

/* Wait for input where there is room, for output where something is held up. */
static void
set_events(struct relay *r, struct end *end, const struct way *in, const struct way *out)
{
    uint32_t want = (way_wants_input(in) ? EPOLLIN : 0u) | (out->full ? EPOLLOUT : 0u);
    struct epoll_event event = {.events = want, .data.ptr = end};

    if (!end->gone && want != end->events &&
        epoll_ctl(r->epoll_fd, EPOLL_CTL_MOD, end->fd, &event) == 0)
        end->events = want;
}

/* Give what is due both ways, then see what the link waits for. */
static void
serve_link(struct relay *r, struct link *l)
{
    uint64_t now = gp_now_ns();
    enum gp_status status = way_give(&l->up, now);

    if (status == GP_OK)
        status = way_give(&l->down, now);
    if (status != GP_OK || (l->up.end_given && l->down.end_given)) {
        bool closed = l->up.out >= l->up_plan.end_after || l->down.out >= l->down_plan.end_after;

        end_link(r, l, status != GP_OK && !closed);
        return;
    }
    set_events(r, &l->client, &l->up, &l->down);
    set_events(r, &l->server, &l->down, &l->up);
}

static void
on_event(struct relay *r, struct end *end, uint32_t events)
{
    struct link *l = end->link;
    struct way *in = end == &l->client ? &l->up : &l->down;

    if (l->place == NULL)
        return;
    if ((events & EPOLLERR) != 0 || ((events & EPOLLIN) != 0 && way_take(in) != GP_OK)) {
        end_link(r, l, true);
        return;
    }
    if ((events & EPOLLHUP) != 0 && !way_wants_input(in)) {
        /* Gone for good, while bytes of it may still be on their way: it has nothing more to say,
         * and would say that for ever. */
        epoll_ctl(r->epoll_fd, EPOLL_CTL_DEL, end->fd, NULL);
        end->gone = true;
    }
    serve_link(r, l);
}

static int
connect_server(const struct relay *r)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd >= 0 && connect(fd, (const struct sockaddr *)&r->to, sizeof(r->to)) == 0)
        return fd;
    log_error("relay: connect to port %u: %m", ntohs(r->to.sin_port));
    if (fd >= 0)
        close(fd);
    return -1;
}

static bool
watch(struct relay *r, struct link *l, struct end *end, int fd)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = end};
    int one = 1;

    *end = (struct end){l, fd, EPOLLIN, false};
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    /* The line is the relay's to play: nothing that paces. Where reno is missing, so be it. */
    (void)setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, "reno", 4);
    return epoll_ctl(r->epoll_fd, EPOLL_CTL_ADD, fd, &event) == 0;
}

/* The same for all, or each its own fate. */
static bool
plan_link(struct relay *r, struct link *l)
{
    l->up_plan = r->up;
    l->down_plan = r->down;
    chance_draw(&r->chance, &l->up_plan, &l->down_plan);
    return true;
}

/* Take a connection and open its other half; whatever fails closes both. */
static void
accept_link(struct relay *r)
{
    struct link *l = calloc(1, sizeof(*l));
    int client = accept4(r->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    int server = client >= 0 ? connect_server(r) : -1;
    int flags = server >= 0 ? fcntl(server, F_GETFL) : 0;

    if (l == NULL || server < 0 || fcntl(server, F_SETFL, flags | O_NONBLOCK) != 0 ||
        !plan_link(r, l) || way_init(&l->up, &l->up_plan, client, server) != GP_OK ||
        way_init(&l->down, &l->down_plan, server, client) != GP_OK ||
        !watch(r, l, &l->client, client) || !watch(r, l, &l->server, server)) {
        if (client >= 0)
            close(client);
        if (server >= 0)
            close(server);
        if (l != NULL && l->up.ring != NULL)
            way_fini(&l->up);
        if (l != NULL && l->down.ring != NULL)
            way_fini(&l->down);
        free(l);
        return;
    }
    l->next = r->links;
    l->place = &r->links;
    if (l->next != NULL)
        l->next->place = &l->next;
    r->links = l;
}

static uint64_t
next_due(const struct relay *r)
{
    uint64_t due = GP_FOREVER;

    for (const struct link *l = r->links; l != NULL; l = l->next)
        due = gp_min_u64(due, gp_min_u64(way_due_ns(&l->up), way_due_ns(&l->down)));
    return due;
}

static int
wait_events(struct relay *r, struct epoll_event *events)
{
    uint64_t due = next_due(r), now = gp_now_ns();
    uint64_t left = due > now ? due - now : 0;
    struct timespec wait = gp_timespec(left);

    return epoll_pwait2(r->epoll_fd, events, EVENTS, due == GP_FOREVER ? NULL : &wait, NULL);
}

static int
run(struct relay *r)
{
    struct epoll_event events[EVENTS];

    for (;;) {
        int count = wait_events(r, events);

        if (count < 0 && errno != EINTR) {
            log_error("relay: epoll: %m");
            return 1;
        }
        for (int i = 0; i < count; i++)
            if (events[i].data.ptr == NULL)
                accept_link(r);
            else
                on_event(r, events[i].data.ptr, events[i].events);
        for (struct link *l = r->links, *next; l != NULL; l = next) {
            next = l->next;
            if (gp_min_u64(way_due_ns(&l->up), way_due_ns(&l->down)) <= gp_now_ns())
                serve_link(r, l);
        }
        free_dead(r);
    }
}

static bool
listen_here(struct relay *r)
{
    struct sockaddr_in here = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    struct epoll_event event = {.events = EPOLLIN};

    r->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    r->listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (r->epoll_fd >= 0 && r->listen_fd >= 0 &&
        bind(r->listen_fd, (const struct sockaddr *)&here, sizeof(here)) == 0 &&
        listen(r->listen_fd, 128) == 0 &&
        epoll_ctl(r->epoll_fd, EPOLL_CTL_ADD, r->listen_fd, &event) == 0)
        return true;
    log_error("relay: listen: %m");
    return false;
}

/* One line with where to connect; the same scheme, so that it can stand for the server's. */
static bool
say_ready(const struct relay *r, struct gp_url *url, uint64_t fd)
{
    struct sockaddr_in here;
    socklen_t len = sizeof(here);
    char text[GP_URL_TEXT_MAX + 1];

    if (getsockname(r->listen_fd, (struct sockaddr *)&here, &len) != 0)
        return false;
    url->port = ntohs(here.sin_port);
    gp_url_format(url, text, sizeof(text));
    if (fd == UINT64_MAX)
        return puts(text) >= 0 && fflush(stdout) == 0;
    return dprintf((int)fd, "%s\n", text) > 0 && close((int)fd) == 0;
}

static void
plan_from(const struct gp_options *o, const char *other, struct line_plan *plan)
{
    uint64_t mbit = gp_options_u64(o, "mbit");
    bool hit = strcmp(gp_options_text(o, "direction"), other) != 0;

    *plan = (struct line_plan){
        .delay_ns = gp_options_u64(o, "rtt") / 2,
        .ns_per_byte = mbit > 0 ? 8e3 / (double)mbit : 0,
        .cut_after = UINT64_MAX,
        .stall_after = UINT64_MAX,
        .end_after = UINT64_MAX,
        .hold_after = UINT64_MAX,
        .buffer_bytes = gp_max_u64(gp_options_u64(o, "buffer"), 4096),
    };
    if (hit && gp_options_is_set(o, "cut-after"))
        plan->cut_after = gp_options_u64(o, "cut-after");
    if (hit && gp_options_is_set(o, "stall-after"))
        plan->stall_after = gp_options_u64(o, "stall-after");
}

static int
relay(const struct gp_options *o)
{
    struct relay r = {.to = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}}};
    struct gp_url url;

    if (gp_options_count(o, "to") != 1 || gp_url_parse(gp_options_at(o, "to", 0), &url) != GP_OK ||
        !url.has_port) {
        log_error("relay: --to needs one URL with a port");
        return 2;
    }
    r.to.sin_port = htons(url.port);
    plan_from(o, "down", &r.up);
    plan_from(o, "up", &r.down);
    if (gp_options_is_set(o, "chance"))
        r.chance = (struct chance){.on = true,
                                   .state = gp_options_u64(o, "chance") * 2 + 1,
                                   .span = gp_options_u64(o, "span"),
                                   .spare = gp_options_u64(o, "spare")};
    if (gp_options_flag(o, "exit-with-parent"))
        prctl(PR_SET_PDEATHSIG, SIGKILL);
    prctl(PR_SET_TIMERSLACK, 1ul); /* the delay as asked, not rounded up by 50 us */
    if (!listen_here(&r) || !say_ready(&r, &url, gp_options_u64(o, "ready-fd")))
        return 1;
    return run(&r);
}

int
main(int argc, char **argv)
{
    struct gp_buf help = {0};
    struct gp_options *o;
    enum gp_status status;
    int next, rc = 2;

    if (gp_options_create(&relay_set, &o) != GP_OK)
        return 1;
    status = gp_options_load_args(o, argc, argv, &next);
    if (status == GP_ERR_AGAIN) {
        gp_options_help(&relay_set, &help);
        fwrite(help.data, 1, help.len, stdout);
        rc = 0;
    } else if (status == GP_OK) {
        rc = relay(o);
    }
    gp_options_destroy(o);
    return rc;
}
