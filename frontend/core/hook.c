/* frontend/core/hook.c */
#include "frontend/core/hook.h"

#include "frontend/core/line.h"
#include "protocol/base/clock.h"
#include "protocol/base/log.h"
#include "protocol/base/util.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define RUNS_MAX    64
#define OWN         4 /* variables */
#define STACK_BYTES ((size_t)64 << 10)

extern char **environ;

struct run {
    char *own[OWN];
    char **envp; /* own, and entries of the hook's */
};

/* Written once, before a session is there. */
static struct {
    char *command;
    char **env; /* the program's, copied: it may change its own at any time */
    size_t env_count;
} hook;

/* So many were run, and when the last one was. */
static atomic_uint runs;
static atomic_uint_least64_t last_ns;

/* Ours, and what would have the command run itself. */
static bool
is_left_out(const char *entry)
{
    return strncmp(entry, "GPUPOOL_NOTICE_", strlen("GPUPOOL_NOTICE_")) == 0;
}

void
fe_hook_set(const char *command)
{
    size_t count = 0;

    if (command == NULL || command[0] == '\0' || hook.command != NULL)
        return;
    while (environ != NULL && environ[count] != NULL)
        count++;
    hook.env = calloc(count + 1, sizeof(*hook.env));
    for (size_t i = 0; hook.env != NULL && i < count; i++)
        if (!is_left_out(environ[i]) && (hook.env[hook.env_count] = strdup(environ[i])) != NULL)
            hook.env_count++;
    hook.command = strdup(command);
}

/* -- the process ------------------------------------------------------------------------------- */

/* In a child that shares our memory while we wait for its end: it leaves the command behind. */
static int
leave_behind(void *arg)
{
    const struct run *run = arg;
    char *argv[] = {(char *)"sh", (char *)"-c", hook.command, NULL};
    posix_spawn_file_actions_t files;
    posix_spawnattr_t how;
    sigset_t none, all;
    pid_t pid;
    int rc;

    sigemptyset(&none);
    sigfillset(&all);
    if (posix_spawnattr_init(&how) != 0)
        _exit(1);
    if (posix_spawn_file_actions_init(&files) != 0)
        _exit(1);
    rc = posix_spawnattr_setflags(&how, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF |
                                            POSIX_SPAWN_SETSID);
    rc = rc != 0 ? rc : posix_spawnattr_setsigmask(&how, &none);
    rc = rc != 0 ? rc : posix_spawnattr_setsigdefault(&how, &all);
    rc = rc != 0 ? rc : posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0);
    rc = rc != 0 ? rc : posix_spawn_file_actions_adddup2(&files, 2, 1);
    rc = rc != 0 ? rc : posix_spawn(&pid, "/bin/sh", &files, &how, argv, run->envp);
    posix_spawn_file_actions_destroy(&files);
    posix_spawnattr_destroy(&how);
    _exit(rc == 0 ? 0 : 1);
}

static void
run_free(struct run *run)
{
    for (int i = 0; i < OWN; i++)
        free(run->own[i]);
    free(run->envp);
    free(run);
}

/* A child without a signal for its end, which only we can wait for. */
static void *
hook_thread(void *arg)
{
    struct run *run = arg;
    uint8_t *stack = mmap(NULL, STACK_BYTES, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
    int status = 1;
    pid_t pid = -1;

    if (stack != MAP_FAILED) {
        pid = clone(leave_behind, stack + STACK_BYTES, CLONE_VM | CLONE_VFORK, run);
        while (pid > 0 && waitpid(pid, &status, __WCLONE) < 0 && errno == EINTR)
            continue;
        munmap(stack, STACK_BYTES);
    }
    if (pid < 0 || status != 0)
        log_warn("notice-hook: the command cannot be run");
    run_free(run);
    return NULL;
}

/* -- when -------------------------------------------------------------------------------------- */

static bool
may_run(bool often)
{
    uint64_t now = gp_now_ns(), last = atomic_load(&last_ns);

    if (!often) /* a session ends once */
        return atomic_fetch_add(&runs, 1) < RUNS_MAX;
    if (last != 0 && now - last < GP_NS_PER_S)
        return false;
    if (!atomic_compare_exchange_strong(&last_ns, &last, now))
        return false;
    return atomic_fetch_add(&runs, 1) < RUNS_MAX;
}

void
fe_hook_run(const char *kind, const char *server, const char *text)
{
    struct run *run;
    bool good;

    if (hook.command == NULL || hook.env == NULL || !may_run(strcmp(kind, "told") == 0))
        return;
    run = calloc(1, sizeof(*run));
    if (run == NULL)
        return;
    run->envp = calloc(hook.env_count + OWN + 1, sizeof(*run->envp));
    good = run->envp != NULL && asprintf(&run->own[0], "GPUPOOL_NOTICE_KIND=%s", kind) > 0 &&
           asprintf(&run->own[1], "GPUPOOL_NOTICE_TEXT=%s", text) > 0 &&
           asprintf(&run->own[2], "GPUPOOL_NOTICE_SERVER=%s", server) > 0 &&
           asprintf(&run->own[3], "GPUPOOL_NOTICE_PID=%d", (int)getpid()) > 0;
    for (int i = 0; good && i < OWN; i++)
        run->envp[i] = run->own[i];
    if (good)
        memcpy(run->envp + OWN, hook.env, hook.env_count * sizeof(*hook.env));
    if (!good || fe_thread_create("gpupool-hook", hook_thread, run) != GP_OK)
        run_free(run);
}
