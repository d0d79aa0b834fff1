/* backend/supervisor/supervisor.c -- the loop: accept, hand over, keep workers warm, drain */
#include "backend/supervisor/supervisor.h"

#include "backend/supervisor/accounting.h"
#include "backend/supervisor/dial.h"
#include "backend/supervisor/notify.h"
#include "backend/supervisor/operate.h"
#include "backend/supervisor/supervisor_priv.h"
#include "protocol/base/clock.h"
#include "protocol/base/log.h"
#include "protocol/base/random.h"
#include "protocol/base/url.h"
#include "protocol/base/util.h"
#include "protocol/wire/control.h"
#include "protocol/wire/frame.h"
#include "transport/transport.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#define BE_STARTING_MAX 8
#define BE_PENDING_MOST 16384u
#define BE_ACCEPT_MAX   256 /* in one go, before workers and those who spoke have their turn */

/* -- start ----------------------------------------------------------------------------------------
 */

static enum gp_status
signals_open(struct be_supervisor *s)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    sigaddset(&set, SIGUSR2);
    sigaddset(&set, SIGUSR1);
    sigaddset(&set, SIGCHLD);
    signal(SIGPIPE, SIG_IGN);
    if (sigprocmask(SIG_BLOCK, &set, NULL) != 0)
        return GP_ERR_IO;
    s->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (s->signals < 0) {
        log_error("supervisor: signalfd: %m");
        return GP_ERR_IO;
    }
    return GP_OK;
}

static enum gp_status
listeners_open(struct be_supervisor *s)
{
    struct tp_opts opts = {.framing = &wire_framing,
                           .recv_buffer_bytes = s->config->recv_buffer_bytes};
    enum gp_status status = GP_OK;
    size_t used;

    for (unsigned i = 0; i < s->config->listen_count && status == GP_OK; i++) {
        if (s->config->predecessor_fd >= 0)
            status = tp_listen_inherited(s->config->listen[i], s->config->inherited[i], &opts,
                                         &s->listeners[i]);
        else
            status = tp_listen(s->config->listen[i], &opts, &s->listeners[i]);
        if (status == GP_OK) {
            s->listener_count++;
            log_info("listening on %s", tp_listener_url(s->listeners[i]));
            used = strlen(s->urls);
            snprintf(s->urls + used, sizeof(s->urls) - used, "%s%s", used > 0 ? "," : "",
                     tp_listener_url(s->listeners[i]));
        }
    }
    return status;
}

/* A name that nobody can guess, in this network namespace: who is told of it inside a session, and
 * can connect to it, is on this machine. Without it sessions run as well. */
static void
offer_open(struct be_supervisor *s)
{
    struct tp_opts opts = {.framing = &wire_framing};
    char url[64];
    uint64_t nonce[2];
    bool tls = false;

    for (unsigned i = 0; i < s->listener_count; i++)
        tls = tls || strcmp(tp_listener_scheme(s->listeners[i]), "tls") == 0;
    if (!s->config->offer_shm || !tls || gp_random_bytes(nonce, sizeof(nonce)) != GP_OK)
        return;
    snprintf(url, sizeof(url), "shm://@gpupool-%016llx%016llx", (unsigned long long)nonce[0],
             (unsigned long long)nonce[1]);
    if (tp_listen(url, &opts, &s->offer) != GP_OK)
        s->offer = NULL;
}

void
be_supervisor_deafen(struct be_supervisor *s)
{
    for (unsigned i = 0; i < s->listener_count; i++)
        tp_listener_close(s->listeners[i]);
    s->listener_count = 0;
    tp_listener_close(s->offer);
    s->offer = NULL;
}

/* Each connection and each worker costs a descriptor. How many silent ones leave enough for those
 * that are served. */
static unsigned
descriptors_raise(const struct be_supervisor_config *config)
{
    uint64_t others = 64 + 2ull * (config->sessions_max + config->handshakes_max);
    uint64_t most = BE_PENDING_MOST;
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        if (limit.rlim_cur < limit.rlim_max) {
            limit.rlim_cur = limit.rlim_max;
            (void)setrlimit(RLIMIT_NOFILE, &limit);
        }
        if (limit.rlim_max != RLIM_INFINITY && limit.rlim_max < most + others)
            most = limit.rlim_max > others + 16 ? limit.rlim_max - others : 16;
    }
    return config->pending_max != 0 && config->pending_max < most ? config->pending_max
                                                                  : (unsigned)most;
}

/* Told once the first worker has its driver: from then on a client is served at once. */
static void
ready_tell(struct be_supervisor *s)
{
    be_notify("READY=1\nSTATUS=serving at %.400s", s->urls);
    if (s->ready_fd < 0)
        return;
    for (unsigned i = 0; i < s->listener_count; i++)
        if (dprintf(s->ready_fd, "%s\n", tp_listener_url(s->listeners[i])) < 0)
            log_warn("supervisor: nobody reads --ready-fd: %m");
    close(s->ready_fd);
    s->ready_fd = -1;
}

/* -- connections
 * ------------------------------------------------------------------------------------ */

unsigned
be_supervisor_busy(const struct be_supervisor *s)
{
    return s->workers.counts[BE_WORKER_GIVEN] + s->workers.counts[BE_WORKER_SERVING];
}

/* Where the session may go on, best first. */
static void
lanes_offer(const struct be_supervisor *s, struct be_handoff *what)
{
    struct gp_url url;

    if (s->offer != NULL)
        snprintf(what->lanes[0], sizeof(what->lanes[0]), "%s", tp_listener_url(s->offer));
    for (unsigned i = 0; i < s->listener_count && what->lanes[1][0] == '\0'; i++)
        if (strcmp(tp_listener_scheme(s->listeners[i]), "rdma") == 0 &&
            gp_url_parse(tp_listener_url(s->listeners[i]), &url) == GP_OK)
            snprintf(what->lanes[1], sizeof(what->lanes[1]), "rdma://*:%u", url.port);
}

static void
connection_give(struct be_supervisor *s, const char *scheme, int fd)
{
    struct be_handoff what = {0};
    struct be_worker *worker;

    /* An honest handshake takes milliseconds, so the oldest is the one not to wait for. */
    if (s->workers.counts[BE_WORKER_GIVEN] >= s->config->handshakes_max)
        be_workers_drop_oldest(&s->workers);
    snprintf(what.scheme, sizeof(what.scheme), "%s", scheme);
    if (strcmp(scheme, "tls") == 0)
        lanes_offer(s, &what);
    if (s->cordoned)
        what.refuse = WIRE_CODE_DRAINING;
    else if (be_supervisor_busy(s) >= s->config->sessions_max &&
             !be_workers_end_lingering(&s->workers))
        what.refuse = WIRE_CODE_BUSY;
    s->accepted++;
    s->refused += what.refuse != 0;
    /* One that just died and was not reaped yet does not take it: then the next does. */
    do {
        worker = be_workers_free_one(&s->workers);
        if (worker == NULL && be_workers_start(&s->workers, &worker) != GP_OK)
            return;
    } while (be_workers_give(&s->workers, worker, &what, fd) != GP_OK);
}

/* The session is not here: say so in whatever language the client is about to speak. A client that
 * believes it loses no more than who can say it can take anyway: the line. */
static void
stranger_refuse(struct be_supervisor *s, const char *scheme, int fd)
{
    /* TLS: a fatal alert, unknown_psk_identity. */
    static const uint8_t alert[] = {0x15, 0x03, 0x03, 0x00, 0x02, 0x02, 0x73};
    GP_AUTO_BUF struct gp_buf message = {0};
    struct wire_error_answer no = {.code = WIRE_CODE_NO_SESSION};
    struct wire_frame_header header = {.kind = WIRE_FRAME_HELLO, .tag = WIRE_CONTROL_ERROR};
    uint8_t frame[WIRE_FRAME_HEADER_BYTES];
    uint64_t now = gp_now_ns();

    s->strangers++;
    s->strangers_total++;
    if (now - s->strangers_told_ns >= GP_NS_PER_S) {
        log_warn("supervisor: %llu connections refused that ask for a session that is not here",
                 (unsigned long long)s->strangers);
        s->strangers = 0;
        s->strangers_told_ns = now;
    }
    if (strcmp(scheme, "tcp") != 0) {
        (void)!send(fd, alert, sizeof(alert), MSG_NOSIGNAL | MSG_DONTWAIT);
    } else if (wire_error_answer_encode(&no, &message) == GP_OK) {
        header.payload_bytes = (uint32_t)message.len;
        wire_frame_encode(&header, frame);
        (void)!send(fd, frame, sizeof(frame), MSG_NOSIGNAL | MSG_DONTWAIT | MSG_MORE);
        (void)!send(fd, message.data, message.len, MSG_NOSIGNAL | MSG_DONTWAIT);
    }
}

void
be_supervisor_further(struct be_supervisor *s, uint64_t session_id, const char *scheme, int fd)
{
    struct be_handoff what = {0};
    enum gp_status status;

    snprintf(what.scheme, sizeof(what.scheme), "%s", scheme);
    status = be_workers_further(&s->workers, session_id, &what, fd);
    if (status == GP_ERR_NOT_FOUND && !be_succession_pass(s, session_id, scheme, fd))
        stranger_refuse(s, scheme, fd);
    else if (status == GP_ERR_IO) /* the client tries again */
        log_info("supervisor: a worker takes no further connection now");
}

static void
connections_accept(struct be_supervisor *s, struct tp_listener *listener)
{
    uint64_t now = gp_now_ns();
    int fd;

    for (int i = 0; i < BE_ACCEPT_MAX && tp_accept(listener, &fd) == GP_OK; i++)
        be_pending_add(&s->pending, fd, tp_listener_scheme(listener), listener == s->offer, now);
}

static void
connections_serve(struct be_supervisor *s)
{
    struct be_pending_ready ready;

    for (int i = 0; i < BE_ACCEPT_MAX && be_pending_next(&s->pending, &ready) == GP_OK; i++) {
        if (ready.session_id != 0)
            be_supervisor_further(s, ready.session_id, ready.scheme, ready.fd);
        else
            connection_give(s, ready.scheme, ready.fd);
        close(ready.fd);
    }
}

/* be_workers.dial */
static void
worker_dials(void *user, struct be_worker *worker, const struct be_word *word)
{
    const struct be_supervisor *s = user;

    be_dial_serve(s->config->peers, s->config->peer_count, worker->socket, word);
}

/* -- signals
 * ------------------------------------------------------------------------------------------ */

void
be_supervisor_drain(struct be_supervisor *s, uint64_t within_ns)
{
    if (s->draining) { /* asked twice: at once */
        s->drain_until_ns = 0;
        return;
    }
    s->draining = true;
    be_notify("STOPPING=1\nSTATUS=%u sessions are left", be_supervisor_busy(s));
    s->drain_until_ns = gp_deadline_after(gp_now_ns(), within_ns);
    if (within_ns == GP_FOREVER)
        log_info("draining: %u sessions, in their own time", be_supervisor_busy(s));
    else
        log_info("draining: %u sessions, %llu s at most", be_supervisor_busy(s),
                 (unsigned long long)(within_ns / GP_NS_PER_S));
    be_supervisor_deafen(s);
    be_pending_close(&s->pending);
    be_workers_dismiss(&s->workers);
    be_operate_leave(s);
}

/* Tenants change at once, for running sessions too; the rest for workers that start from now on. */
static void
configuration_reload(struct be_supervisor *s)
{
    static struct be_policies policies; /* too big for the stack */

    if (s->config->reload(s->config->reload_user, &policies) != GP_OK) {
        log_error("SIGHUP: the configuration is wrong, see above; tenants stay as they are");
        return;
    }
    be_ledger_publish(s->workers.ledger, &policies);
    be_operate_policies(s, &policies);
    log_info("SIGHUP: %u tenants; other options count for workers that start from now on",
             policies.count);
    be_policies_fini(&policies);
}

/* SIGUSR1: who is there, and whether it works. */
static void
sessions_tell(struct be_supervisor *s)
{
    struct be_session_state state;

    for (unsigned slot = 0; slot < BE_LEDGER_SLOTS; slot++) {
        uint64_t held = 0;

        be_ledger_session(s->workers.ledger, slot, gp_now_ns(), &state);
        if (state.activity == BE_ACTIVITY_NONE)
            continue;
        for (unsigned d = 0; d < BE_LEDGER_DEVICES; d++)
            held += state.held_bytes[d];
        log_info("session of tenant %s: %s, last work %llu s ago, %llu MiB", state.tenant,
                 be_activity_name(state.activity),
                 (unsigned long long)(state.idle_ns / GP_NS_PER_S),
                 (unsigned long long)(held >> 20));
    }
}

static void
signals_take(struct be_supervisor *s)
{
    struct signalfd_siginfo info;

    while (read(s->signals, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
        if (info.ssi_signo == SIGTERM || info.ssi_signo == SIGINT)
            be_supervisor_drain(s, s->config->drain_ns);
        else if (info.ssi_signo == SIGHUP)
            configuration_reload(s);
        else if (info.ssi_signo == SIGUSR2)
            be_succession_begin(s);
        else if (info.ssi_signo == SIGUSR1)
            sessions_tell(s);
    }
    be_workers_reap(&s->workers);
    be_registry_reap(s);
    be_succession_reap(s);
}

/* -- the loop
 * ------------------------------------------------------------------------------------------ */

/* A worker that starts needs a core for some milliseconds, which the session that has just begun
 * needs too: the scheduler then puts its client and its worker on one, and leaves them there. So it
 * starts a little later. One is made ready in any case, for whoever comes next. */
static uint64_t
calm_until(const struct be_supervisor *s)
{
    return s->workers.given_ns != 0 ? s->workers.given_ns + s->config->warm_delay_ns : 0;
}

/* As many as shall be warm, but not all of a failing kind at once. */
static void
workers_fill(struct be_supervisor *s)
{
    struct be_workers *w = &s->workers;
    uint64_t now = gp_now_ns();
    unsigned want = now < calm_until(s) ? 1 : s->config->warm_workers;

    if (s->draining || s->succession.given || now < w->not_before_ns)
        return;
    while (w->counts[BE_WORKER_READY] + w->counts[BE_WORKER_STARTING] < want &&
           w->counts[BE_WORKER_STARTING] < BE_STARTING_MAX) {
        if (be_workers_start(w, NULL) != GP_OK)
            break;
    }
}

/* The first of polls; listeners follow, then workers. */
enum {
    POLL_SIGNALS,
    POLL_PENDING, /* who said nothing yet */
    POLL_ADMIN,
    POLL_HTTP,
    POLL_SUCCESSOR,
    POLL_PREDECESSOR,
    POLL_OFFER,
    POLLS_FIXED,
};

static size_t
polls_fill(struct be_supervisor *s)
{
    const int fixed[POLLS_FIXED] = {
        [POLL_SIGNALS] = s->signals,
        [POLL_PENDING] = s->pending.epoll_fd,
        [POLL_ADMIN] = s->admin.epoll_fd,
        [POLL_HTTP] = be_http_fd(s->http),
        [POLL_SUCCESSOR] = s->succession.successor,
        [POLL_PREDECESSOR] = s->succession.predecessor,
        [POLL_OFFER] = s->offer != NULL ? tp_listener_fd(s->offer) : -1,
    };
    size_t need = POLLS_FIXED + s->listener_count + be_workers_total(&s->workers), n = 0;

    if (need > s->poll_cap) {
        struct pollfd *polls = realloc(s->polls, need * 2 * sizeof(*polls));

        if (polls == NULL)
            return 0;
        s->polls = polls;
        s->poll_cap = need * 2;
    }
    while (n < POLLS_FIXED) {
        s->polls[n] = (struct pollfd){.fd = fixed[n], .events = POLLIN};
        n++;
    }
    for (unsigned i = 0; i < s->listener_count; i++)
        s->polls[n++] = (struct pollfd){.fd = tp_listener_fd(s->listeners[i]), .events = POLLIN};
    for (struct be_worker *w = s->workers.list; w != NULL; w = w->next)
        s->polls[n++] = (struct pollfd){.fd = w->socket, .events = POLLIN};
    return n;
}

static int
poll_timeout(struct be_supervisor *s)
{
    uint64_t now = gp_now_ns(), next = be_pending_expire(&s->pending, now);

    next = gp_min_u64(next, be_admin_expire(&s->admin, now));
    next = gp_min_u64(next, be_http_next(s->http, now));
    next = gp_min_u64(next, be_registry_check(s, now));
    next = gp_min_u64(next, be_notify_watchdog(now));
    next = gp_min_u64(next, be_accounting_check(s, now));
    next = gp_min_u64(next, s->cordon_until_ns);
    if (s->draining) {
        next = gp_min_u64(next, s->drain_until_ns);
    } else {
        uint64_t fill = gp_max_u64(s->workers.not_before_ns, calm_until(s));

        if (fill > now)
            next = gp_min_u64(fill, next);
    }
    return gp_deadline_poll_ms(now, next);
}

static void
loop_once(struct be_supervisor *s)
{
    size_t count = polls_fill(s), n = POLLS_FIXED;
    unsigned listeners = s->listener_count;
    struct be_worker *w = s->workers.list, *next;

    if (count == 0 || poll(s->polls, count, poll_timeout(s)) < 0)
        return;
    be_http_serve(s->http); /* has timers of its own */
    /* Workers first: what is accepted then goes to those that just became ready. */
    n += listeners;
    for (; w != NULL && n < count; w = next, n++) {
        next = w->next;
        if (s->polls[n].revents != 0)
            be_workers_hear(&s->workers, w);
        if (w->state == BE_WORKER_ADMIN && !w->connected)
            be_operate_connect(s, w);
    }
    for (unsigned i = 0; i < listeners; i++)
        if (s->polls[POLLS_FIXED + i].revents != 0)
            connections_accept(s, s->listeners[i]);
    if (s->polls[POLL_OFFER].revents != 0)
        connections_accept(s, s->offer);
    if (s->polls[POLL_PENDING].revents != 0)
        connections_serve(s);
    if (s->polls[POLL_ADMIN].revents != 0)
        be_admin_serve(&s->admin);
    if (s->polls[POLL_SIGNALS].revents != 0)
        signals_take(s);
    if ((s->polls[POLL_SUCCESSOR].revents | s->polls[POLL_PREDECESSOR].revents) != 0)
        be_succession_hear(s);
}

static void
drain_check(struct be_supervisor *s)
{
    be_operate_check(s);
    /* Nobody listens for those whose clients are gone. */
    while (s->draining && be_workers_end_lingering(&s->workers))
        ;
    if (!s->draining || gp_now_ns() < s->drain_until_ns || be_workers_total(&s->workers) == 0)
        return;
    log_warn("drain time is over: %u sessions are ended", be_supervisor_busy(s));
    be_workers_signal(&s->workers, SIGTERM);
    /* A worker that does not end by itself within 2 s is ended. */
    s->drain_until_ns = gp_now_ns() + 2 * GP_NS_PER_S;
    if (s->drain_over)
        be_workers_signal(&s->workers, SIGKILL);
    s->drain_over = true;
}

int
be_supervisor_run(const struct be_supervisor_config *config)
{
    struct be_supervisor s = {
        .config = config,
        .signals = -1,
        .ready_fd = config->ready_fd,
        .pending = {.epoll_fd = -1},
        .admin = {.epoll_fd = -1},
        .cordon_until_ns = GP_FOREVER,
        .succession = {.predecessor = config->predecessor_fd, .successor = -1},
        .workers = {.argv = config->worker_argv, .keeper = {.control = -1}}};
    unsigned pending_max = descriptors_raise(config);
    enum gp_status status;
    bool started = false;
    int code = 0;

    if (s.ready_fd >= 0) /* who reads it waits for its end, which no worker may delay */
        (void)fcntl(s.ready_fd, F_SETFD, FD_CLOEXEC);
    be_keeper_start(config->keep, &s.workers.keeper);
    be_succession_open(&s);
    status = be_ledger_create(&s.workers.ledger);
    if (status == GP_OK) {
        be_ledger_set_paging(s.workers.ledger, &config->paging);
        be_ledger_publish(s.workers.ledger, config->policies);
        status = signals_open(&s);
    }
    if (status == GP_OK)
        status = be_operate_open(&s);
    if (status == GP_OK)
        status = be_accounting_open(&s);
    s.workers.dial = worker_dials; /* user is set there */
    if (status == GP_OK)
        status = be_pending_open(&s.pending, pending_max, config->handshake_ns);
    if (status == GP_OK)
        status = listeners_open(&s);
    if (status == GP_OK)
        offer_open(&s);
    while (status == GP_OK) {
        workers_fill(&s);
        loop_once(&s);
        drain_check(&s);
        if (!started &&
            s.workers.counts[BE_WORKER_READY] + s.workers.counts[BE_WORKER_SERVING] != 0) {
            started = true;
            ready_tell(&s);
            be_succession_ready(&s);
        }
        if (!started && s.workers.early_deaths != 0) {
            log_error("the first worker could not start, see above; giving up");
            code = 1;
            break;
        }
        if (s.draining && be_workers_total(&s.workers) == 0)
            break;
    }
    be_workers_dismiss(&s.workers);
    be_workers_signal(&s.workers, SIGKILL);
    while (s.workers.list != NULL) {
        be_workers_reap(&s.workers);
        if (s.workers.list != NULL)
            (void)poll(NULL, 0, 1);
    }
    be_keeper_stop(&s.workers.keeper);
    be_supervisor_deafen(&s);
    be_pending_close(&s.pending);
    if (s.ready_fd >= 0)
        close(s.ready_fd);
    if (s.signals >= 0)
        close(s.signals);
    free(s.polls);
    be_accounting_close(&s);
    be_succession_close(&s);
    be_operate_close(&s);
    be_ledger_close(s.workers.ledger);
    return status != GP_OK ? 1 : code;
}
