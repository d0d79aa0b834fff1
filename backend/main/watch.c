/* backend/main/watch.c */
#include "backend/main/watch.h"

#include "backend/supervisor/handoff.h"
#include "protocol/base/clock.h"
#include "protocol/base/log.h"
#include "protocol/base/util.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

/* What a session may take to end before its process does so by force. */
#define BE_END_MS 5000
/* ... where it is known that its work will not. */
#define BE_END_HOPELESS_MS 300
/* What a client may take to go after BYE. */
#define BE_FAREWELL_MS 500
/* A client that is away for less goes over to another lane, or is back before anybody could care.
 */
#define BE_AWAY_NS (100 * GP_NS_PER_MS)
/* How often we look at a peer that has gone, while what it said is still being taken in. */
#define BE_LOOK_MS 20
/* So much fits into the shortest line. */
#define BE_KEPT_LITTLE (16u << 10)

static void
end_by_force(struct be_watch *watch)
{
    struct pollfd end = {.fd = watch->end, .events = POLLIN};

    if (poll(&end, 1, atomic_load(&watch->line->hopeless) ? BE_END_HOPELESS_MS : BE_END_MS) > 0)
        return;
    log_warn("worker: the session's work on the device does not end, the process does");
    _exit(0);
}

struct bye {
    struct be_watch *watch;
    enum wire_control_code code;
};

static void
bye_say(void *user)
{
    const struct bye *bye = user;

    be_line_frame(bye->watch->line, WIRE_FRAME_BYE, bye->code, NULL, 0);
}

/* A client that is still sending when we close hears of the closed line before it has read why,
 * and looks for another one: let it go first. */
static void
bye_wait(void *user)
{
    const struct be_watch *watch = ((const struct bye *)user)->watch;
    struct pollfd gone[] = {{.fd = watch->end, .events = POLLIN},
                            {.fd = tp_event_fd(watch->lane), .events = POLLRDHUP}};

    if (watch->lost_ns == 0)
        (void)poll(gone, GP_ARRAY_LEN(gone), BE_FAREWELL_MS);
}

/* The server ends, or an operator wants this session to. */
static void
drain(struct be_watch *watch)
{
    struct bye bye = {watch, WIRE_CODE_DRAINING};
    struct signalfd_siginfo info;

    if (read(watch->signals, &info, sizeof(info)) == (ssize_t)sizeof(info) &&
        info.ssi_signo == SIGUSR1)
        bye.code = WIRE_CODE_KICKED;
    be_line_farewell(watch->line, bye_say, bye_wait, &bye);
}

/* A few bytes more fit into the line: it says so, or what it has not been told of is little. */
static bool
has_room(const struct be_watch *watch)
{
    struct pollfd room = {.fd = tp_event_fd(watch->lane), .events = POLLOUT};

    return (poll(&room, 1, 0) > 0 && room.revents == POLLOUT) ||
           (watch->resume != NULL && tp_link_kept(watch->lane) < BE_KEPT_LITTLE);
}

/* A library's modules may take the driver a minute, and the executor cannot answer meanwhile. Where
 * there is no room nothing is said: the client has enough to hear then. */
static void
beat(struct be_watch *watch)
{
    uint64_t since = atomic_load_explicit(&watch->line->busy_since_ns, memory_order_relaxed);

    /* Who shares memory with us is sure of the line by itself. */
    if (strcmp(tp_scheme(watch->lane), "shm") == 0)
        return;
    if (watch->beat_ns == 0 || since == 0 || watch->lost_ns != 0 ||
        gp_now_ns() - since < watch->beat_ns || !has_room(watch))
        return;
    be_line_frame(watch->line, WIRE_FRAME_PONG, 0, NULL, 0);
    be_line_flush(watch->line);
}

static int
beat_ms(const struct be_watch *watch)
{
    return watch->beat_ns != 0 ? (int)gp_min_u64(watch->beat_ns / GP_NS_PER_MS + 1, INT32_MAX) : -1;
}

/* -- without a way back ---------------------------------------------------------------------------
 */

static void
watch_plain(struct be_watch *watch)
{
    struct pollfd polls[] = {
        {.fd = watch->end, .events = POLLIN},
        {.fd = watch->signals, .events = POLLIN},
        {.fd = tp_end_fd(watch->lane), .events = POLLRDHUP},
    };
    int rc;

    while ((rc = poll(polls, GP_ARRAY_LEN(polls), beat_ms(watch))) == 0 ||
           (rc < 0 && errno == EINTR))
        beat(watch);
    if (polls[0].revents == 0 && polls[1].revents != 0)
        drain(watch);
    end_by_force(watch);
}

/* -- with one -------------------------------------------------------------------------------------
 */

static void
tell(struct be_watch *watch)
{
    const struct be_word word = {.state = BE_WORKER_SERVING,
                                 .lingering = watch->lost_ns != 0,
                                 .session_id = watch->resume->session_id};

    be_handoff_tell(watch->supervisor, &word);
}

static void
take_further(struct be_watch *watch)
{
    struct be_handoff what;
    enum gp_status status;
    int fd;

    status = be_handoff_receive(watch->supervisor, &what, &fd);
    if (status == GP_OK && strcmp(what.scheme, BE_SCHEME_DIALLED) == 0)
        be_put_lines_dialled(watch->resume->puts, what.session_id, what.refuse == 0, fd);
    else if (status == GP_OK)
        be_resume_take(watch->resume, what.scheme, fd);
    else
        watch->supervisor = -1; /* it is gone, or wants nothing of us any more */
}

/* Words about the client, once it is away for longer than a change of lanes takes. */
static void
say_state(struct be_watch *watch, enum tp_link_state state, uint64_t now)
{
    if (state == TP_LINK_LIVE && watch->away_said) {
        log_info("session: the client was away for %llu ms",
                 (unsigned long long)((now - watch->lost_ns) / GP_NS_PER_MS));
        watch->away_said = false;
    } else if (state == TP_LINK_BROKEN && !watch->away_said && watch->lost_ns != 0 &&
               now - watch->lost_ns >= BE_AWAY_NS) {
        log_info("session: the client is lost, its session is kept for %llu ms",
                 (unsigned long long)(watch->grace_ns / GP_NS_PER_MS));
        watch->away_said = true;
    }
}

/* The client came or went: false once it is gone for good. */
static bool
note_state(struct be_watch *watch)
{
    enum tp_link_state state = tp_link_state(watch->lane);
    uint64_t now = gp_now_ns();

    if (state == TP_LINK_OVER)
        return false;
    say_state(watch, state, now);
    if ((state == TP_LINK_LIVE) == (watch->lost_ns != 0)) {
        watch->lost_ns = state == TP_LINK_LIVE ? 0 : now;
        tell(watch);
    }
    if (watch->lost_ns == 0 || now - watch->lost_ns < watch->grace_ns)
        return true;
    log_warn("session: the client did not come back, its session ends");
    tp_shutdown(watch->lane);
    return false;
}

static int
timeout_ms(const struct be_watch *watch, bool leaving)
{
    if (watch->lost_ns != 0)
        return gp_deadline_poll_ms(
            gp_now_ns(),
            gp_deadline_after(watch->lost_ns, watch->away_said
                                                  ? watch->grace_ns
                                                  : gp_min_u64(watch->grace_ns, BE_AWAY_NS)));
    return leaving ? BE_LOOK_MS : beat_ms(watch);
}

static void
watch_link(struct be_watch *watch)
{
    bool leaving = false; /* the peer has ended its direction, we have not read all of it */

    while (note_state(watch)) {
        struct pollfd polls[] = {
            {.fd = watch->end, .events = POLLIN},
            {.fd = watch->signals, .events = POLLIN},
            {.fd = watch->changed, .events = POLLIN},
            {.fd = watch->supervisor, .events = POLLIN},
            {.fd = leaving || watch->lost_ns != 0 ? -1 : tp_end_fd(watch->lane),
             .events = POLLRDHUP},
        };
        uint64_t count;

        if (poll(polls, GP_ARRAY_LEN(polls), timeout_ms(watch, leaving)) < 0 && errno != EINTR)
            break;
        if (polls[0].revents != 0)
            return;
        beat(watch);
        if (polls[1].revents != 0) {
            drain(watch);
            break;
        }
        if (polls[2].revents != 0)
            (void)!read(watch->changed, &count, sizeof(count));
        if (polls[3].revents != 0)
            take_further(watch);
        if (polls[4].revents != 0 || leaving) {
            tp_link_look(watch->lane);
            leaving = tp_link_state(watch->lane) == TP_LINK_LIVE && polls[4].revents != 0;
        }
    }
    end_by_force(watch);
}

static void *
watch_main(void *arg)
{
    struct be_watch *watch = arg;

    if (watch->resume != NULL)
        watch_link(watch);
    else
        watch_plain(watch);
    return NULL;
}

void
be_watch_changed(void *user)
{
    const struct be_watch *watch = user;
    uint64_t one = 1;

    (void)!write(watch->changed, &one, sizeof(one));
}

enum gp_status
be_watch_start(struct be_watch *watch)
{
    watch->lost_ns = 0;
    watch->away_said = false;
    watch->end = eventfd(0, EFD_CLOEXEC);
    watch->changed = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    watch->running = watch->end >= 0 && watch->changed >= 0 &&
                     pthread_create(&watch->thread, NULL, watch_main, watch) == 0;
    if (watch->running)
        return GP_OK;
    log_error("worker: cannot start the watch: %m");
    return GP_ERR_NO_MEMORY;
}

void
be_watch_stop(struct be_watch *watch)
{
    uint64_t one = 1;

    if (!watch->running)
        return;
    watch->running = false;
    (void)!write(watch->end, &one, sizeof(one));
    pthread_join(watch->thread, NULL);
    close(watch->end);
    close(watch->changed);
}
