/* backend/supervisor/succession.c */
#include "backend/supervisor/succession.h"

#include "backend/supervisor/notify.h"
#include "backend/supervisor/operate.h"
#include "backend/supervisor/supervisor_priv.h"
#include "protocol/base/log.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define ARGS_MAX    256
#define OPTION_SIZE 384

/* What the child executes, prepared before the fork. */
struct plan {
    char options[1 + BE_LISTENERS_MAX][OPTION_SIZE];
    char *args[ARGS_MAX + BE_LISTENERS_MAX + 2];
};

void
be_succession_open(struct be_supervisor *s)
{
    ssize_t n = readlink("/proc/self/exe", s->succession.program, PATH_MAX - 1);

    s->succession.program[n > 0 ? n : 0] = '\0';
}

/* Options of an earlier succession are not ours to hand on. */
static bool
is_own(const char *arg)
{
    return strncmp(arg, "--predecessor=", 14) == 0 || strncmp(arg, "--inherit=", 10) == 0;
}

static bool
plan_make(const struct be_supervisor *s, int line, struct plan *plan)
{
    char *const *argv = s->workers.argv;
    int n = 0, o = 0;

    if (access(s->succession.program, X_OK) != 0)
        return false;
    plan->args[n++] = argv[0];
    snprintf(plan->options[o], OPTION_SIZE, "--predecessor=%d", line);
    plan->args[n++] = plan->options[o++];
    for (unsigned i = 0; i < s->listener_count; i++) {
        snprintf(plan->options[o], OPTION_SIZE, "--inherit=%d=%s", tp_listener_fd(s->listeners[i]),
                 tp_listener_url(s->listeners[i]));
        plan->args[n++] = plan->options[o++];
    }
    for (int i = 1; argv[i] != NULL && i < ARGS_MAX; i++)
        if (!is_own(argv[i]))
            plan->args[n++] = argv[i];
    plan->args[n] = NULL;
    return true;
}

/* Between fork and exec. */
static void
child_exec(const struct be_supervisor *s, const struct plan *plan, int line)
{
    sigset_t none;

    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    if (fcntl(line, F_SETFD, 0) != 0)
        _exit(125);
    for (unsigned i = 0; i < s->listener_count; i++)
        if (fcntl(tp_listener_fd(s->listeners[i]), F_SETFD, 0) != 0)
            _exit(125);
    execv(s->succession.program, plan->args);
    _exit(126);
}

void
be_succession_begin(struct be_supervisor *s)
{
    GP_AUTO_FREE struct plan *plan = calloc(1, sizeof(*plan));
    struct be_succession *succession = &s->succession;
    int pair[2];

    if (s->draining || succession->successor >= 0 || plan == NULL) {
        log_warn("SIGUSR2: %s", s->draining ? "this server is ending" : "a successor is there");
        return;
    }
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0) {
        log_error("SIGUSR2: socketpair: %m");
        return;
    }
    if (!plan_make(s, pair[1], plan)) {
        log_error("SIGUSR2: there is no program at %s", succession->program);
        close(pair[0]);
        close(pair[1]);
        return;
    }
    succession->pid = fork();
    if (succession->pid == 0)
        child_exec(s, plan, pair[1]);
    close(pair[1]);
    if (succession->pid < 0) {
        log_error("SIGUSR2: fork: %m");
        succession->pid = 0;
        close(pair[0]);
        return;
    }
    succession->successor = pair[0];
    log_info("SIGUSR2: %s is started to take over", succession->program);
}

void
be_succession_ready(struct be_supervisor *s)
{
    const struct be_word ready = {.state = BE_WORKER_READY};

    if (s->succession.predecessor < 0)
        return;
    be_notify("MAINPID=%d", (int)getpid());
    be_handoff_tell(s->succession.predecessor, &ready);
    log_info("taken over from the server before");
}

/* -- the old one ------------------------------------------------------------------------------- */

static void
hand_over(struct be_supervisor *s)
{
    log_info("the successor has taken over: %u sessions end in their own time",
             be_supervisor_busy(s));
    s->succession.given = true;
    s->succession.pid = 0; /* it is nobody's child any more that would have to be waited for */
    be_supervisor_deafen(s);
    be_operate_hand_over(s);
}

static void
successor_gone(struct be_supervisor *s)
{
    if (!s->succession.given)
        log_error("the successor ended before it was ready, see above; this server goes on");
    close(s->succession.successor);
    s->succession.successor = -1;
}

/* A connection that the successor knows no session for. */
static void
passed_take(struct be_supervisor *s)
{
    struct be_handoff what;
    enum gp_status status;
    int fd;

    status = be_handoff_receive(s->succession.successor, &what, &fd);
    if (status != GP_OK) {
        successor_gone(s);
        return;
    }
    be_supervisor_further(s, what.session_id, what.scheme, fd);
    close(fd);
}

static void
successor_hear(struct be_supervisor *s)
{
    struct be_word word;

    if (s->succession.given) {
        passed_take(s);
        return;
    }
    switch (be_handoff_hear(s->succession.successor, &word)) {
    case GP_OK:
        if (word.state == BE_WORKER_READY)
            hand_over(s);
        break;
    case GP_ERR_AGAIN:
        break;
    default:
        successor_gone(s);
        break;
    }
}

/* -- both -------------------------------------------------------------------------------------- */

void
be_succession_hear(struct be_supervisor *s)
{
    char byte;

    if (s->succession.successor >= 0) {
        struct pollfd line = {.fd = s->succession.successor, .events = POLLIN};

        if (poll(&line, 1, 0) == 1)
            successor_hear(s);
    }
    /* The predecessor says nothing; its end is all that can be heard. */
    if (s->succession.predecessor >= 0 &&
        recv(s->succession.predecessor, &byte, 1, MSG_DONTWAIT) == 0) {
        log_info("the server before has ended");
        close(s->succession.predecessor);
        s->succession.predecessor = -1;
    }
}

bool
be_succession_pass(struct be_supervisor *s, uint64_t session_id, const char *scheme, int fd)
{
    struct be_handoff what = {.session_id = session_id};

    if (s->succession.predecessor < 0)
        return false;
    snprintf(what.scheme, sizeof(what.scheme), "%s", scheme);
    return be_handoff_send(s->succession.predecessor, &what, fd) == GP_OK;
}

void
be_succession_reap(struct be_supervisor *s)
{
    int how;

    if (s->succession.pid != 0 && waitpid(s->succession.pid, &how, WNOHANG) == s->succession.pid)
        s->succession.pid = 0;
}

void
be_succession_close(struct be_supervisor *s)
{
    if (s->succession.successor >= 0)
        close(s->succession.successor);
    if (s->succession.predecessor >= 0)
        close(s->succession.predecessor);
    s->succession.successor = s->succession.predecessor = -1;
}
