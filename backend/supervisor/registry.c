/* backend/supervisor/registry.c */
#include "backend/supervisor/registry.h"

#include "backend/supervisor/supervisor_priv.h"
#include "protocol/base/clock.h"
#include "protocol/base/log.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define ARGS_MAX 256
#define END_MS   3000

/* Between fork and exec. */
static void
child_exec(char *const *argv, int line, pid_t parent)
{
    char *args[ARGS_MAX + 2];
    char option[32];
    sigset_t told;
    int n = 0;

    if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || getppid() != parent)
        _exit(125);
    sigemptyset(&told);
    sigaddset(&told, SIGUSR1); /* until it can take it */
    sigprocmask(SIG_SETMASK, &told, NULL);
    if (fcntl(line, F_SETFD, 0) != 0)
        _exit(125);
    args[n++] = argv[0];
    snprintf(option, sizeof(option), "--registrar=%d", line);
    args[n++] = option;
    for (int i = 1; argv[i] != NULL && n < ARGS_MAX; i++)
        args[n++] = argv[i];
    args[n] = NULL;
    execv("/proc/self/exe", args);
    _exit(126);
}

static void
start(struct be_supervisor *s)
{
    pid_t parent = getpid(), pid;
    int line;

    if (be_admin_line_make(&s->admin, "registrar", &line) != GP_OK)
        return;
    pid = fork();
    if (pid == 0)
        child_exec(s->workers.argv, line, parent);
    close(line);
    if (pid < 0)
        log_error("supervisor: registrar: fork: %m");
    else
        s->registry.pid = pid;
}

static void
change_tell(struct be_supervisor *s)
{
    struct be_registry *registry = &s->registry;
    unsigned serving = s->workers.counts[BE_WORKER_SERVING];
    bool closed = s->cordoned || s->draining;

    if (registry->ended == s->workers.ended && registry->serving == serving &&
        registry->closed == closed)
        return;
    registry->ended = s->workers.ended;
    registry->serving = serving;
    registry->closed = closed;
    if (registry->pid != 0)
        (void)kill(registry->pid, SIGUSR1);
}

uint64_t
be_registry_check(struct be_supervisor *s, uint64_t now_ns)
{
    struct be_registry *registry = &s->registry;

    change_tell(s);
    if (!s->config->registers || registry->pid != 0 || s->succession.given)
        return GP_FOREVER;
    if (now_ns >= registry->not_before_ns) {
        registry->not_before_ns = now_ns + GP_NS_PER_S;
        start(s);
    }
    return registry->pid != 0 ? GP_FOREVER : registry->not_before_ns;
}

void
be_registry_reap(struct be_supervisor *s)
{
    struct be_registry *registry = &s->registry;
    unsigned shift;
    int how;

    if (registry->pid == 0 || waitpid(registry->pid, &how, WNOHANG) != registry->pid)
        return;
    registry->pid = 0;
    registry->deaths++;
    shift = registry->deaths < 6 ? registry->deaths : 6;
    registry->not_before_ns = gp_now_ns() + (GP_NS_PER_S << (shift - 1));
    log_error("supervisor: the registrar ended with status 0x%x, it is started again", how);
}

void
be_registry_end(struct be_supervisor *s)
{
    for (int waited = 0; s->registry.pid != 0; waited += 10) {
        int how;

        if (waitpid(s->registry.pid, &how, WNOHANG) == s->registry.pid) {
            s->registry.pid = 0;
        } else if (waited >= END_MS) {
            (void)kill(s->registry.pid, SIGKILL);
            (void)waitpid(s->registry.pid, &how, 0);
            s->registry.pid = 0;
        } else {
            (void)poll(NULL, 0, 10);
        }
    }
}
