/* backend/supervisor/workers.c -- starting, counting and reaping */
#include "backend/supervisor/workers.h"

#include "protocol/base/clock.h"
#include "protocol/base/log.h"
#include "protocol/base/util.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define BE_ARGV_MAX 256

static void
state_set(struct be_workers *workers, struct be_worker *worker, enum be_worker_state state)
{
    if (worker->dropped) /* counted out already */
        return;
    workers->counts[worker->state]--;
    worker->state = state;
    workers->counts[state]++;
}

/* In the child, between fork and exec: nothing that could wait for a lock. */
static void
child_exec(const struct be_workers *workers, int socket, int images, unsigned slot, pid_t parent)
{
    int ledger = be_ledger_fd(workers->ledger);
    char *const *argv = workers->argv;
    char *args[BE_ARGV_MAX + 6];
    char options[5][32];
    sigset_t none;
    int n = 0;

    /* The supervisor's death ends us, also if it died before this line. */
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || getppid() != parent)
        _exit(125);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    if (fcntl(socket, F_SETFD, 0) != 0 || fcntl(ledger, F_SETFD, 0) != 0 ||
        fcntl(workers->board, F_SETFD, 0) != 0 || (images >= 0 && fcntl(images, F_SETFD, 0) != 0))
        _exit(125);
    /* Ours comes first, so that "--" in the arguments does not hide it. */
    args[n++] = argv[0];
    snprintf(options[0], sizeof(options[0]), "--worker=%d", socket);
    snprintf(options[1], sizeof(options[1]), "--ledger=%d", ledger);
    snprintf(options[2], sizeof(options[2]), "--slot=%u", slot);
    snprintf(options[3], sizeof(options[3]), "--board=%d", workers->board);
    snprintf(options[4], sizeof(options[4]), "--images=%d", images);
    for (int i = 0; i < (images >= 0 ? 5 : 4); i++)
        args[n++] = options[i];
    for (int i = 1; argv[i] != NULL && n < BE_ARGV_MAX; i++)
        args[n++] = argv[i];
    args[n] = NULL;
    execv("/proc/self/exe", args);
    _exit(126);
}

enum gp_status
be_workers_start(struct be_workers *workers, struct be_worker **worker_p)
{
    pid_t parent = getpid(), pid;
    struct be_worker *worker;
    int pair[2], images;

    worker = calloc(1, sizeof(*worker));
    if (worker == NULL)
        return GP_ERR_NO_MEMORY;
    if (be_ledger_slot_take(workers->ledger, &worker->slot) != GP_OK) {
        log_error("supervisor: the ledger has no slot for one more worker");
        free(worker);
        return GP_ERR_LIMIT;
    }
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0) {
        log_error("supervisor: socketpair: %m");
        goto err_slot;
    }
    images = be_keeper_line(&workers->keeper);
    pid = fork();
    if (pid == 0)
        child_exec(workers, pair[1], images, worker->slot, parent);
    close(pair[1]);
    if (images >= 0)
        close(images);
    if (pid < 0) {
        log_error("supervisor: fork: %m");
        close(pair[0]);
        goto err_slot;
    }
    worker->pid = pid;
    worker->socket = pair[0];
    worker->state = BE_WORKER_STARTING;
    workers->counts[BE_WORKER_STARTING]++;
    worker->next = workers->list;
    workers->list = worker;
    if (worker_p != NULL)
        *worker_p = worker;
    return GP_OK;

err_slot:
    be_ledger_slot_give(workers->ledger, worker->slot);
    free(worker);
    return GP_ERR_LIMIT;
}

struct be_worker *
be_workers_free_one(struct be_workers *workers)
{
    struct be_worker *starting = NULL;

    for (struct be_worker *w = workers->list; w != NULL; w = w->next) {
        if (w->socket < 0)
            continue;
        if (w->state == BE_WORKER_READY)
            return w;
        if (w->state == BE_WORKER_STARTING)
            starting = w;
    }
    return starting;
}

enum gp_status
be_workers_give(struct be_workers *workers, struct be_worker *worker, const struct be_handoff *what,
                int fd)
{
    enum gp_status status = be_handoff_send(worker->socket, what, fd);

    if (status == GP_OK) {
        state_set(workers, worker, BE_WORKER_GIVEN);
        workers->given_ns = gp_now_ns();
    } else {
        close(worker->socket);
        worker->socket = -1;
    }
    return status;
}

void
be_workers_drop_oldest(struct be_workers *workers)
{
    struct be_worker *oldest = NULL;

    /* The newest comes first. */
    for (struct be_worker *w = workers->list; w != NULL; w = w->next)
        if (w->state == BE_WORKER_GIVEN && !w->dropped)
            oldest = w;
    if (oldest == NULL)
        return;
    oldest->dropped = true;
    (void)kill(oldest->pid, SIGKILL);
    /* It counts no more: the next may take its place at once. */
    workers->counts[BE_WORKER_GIVEN]--;
}

enum gp_status
be_workers_further(struct be_workers *workers, uint64_t session_id, const struct be_handoff *what,
                   int fd)
{
    for (struct be_worker *w = workers->list; w != NULL; w = w->next)
        if (w->session_id == session_id && w->socket >= 0 && !w->dropped)
            return be_handoff_send(w->socket, what, fd);
    return GP_ERR_NOT_FOUND;
}

bool
be_workers_end_lingering(struct be_workers *workers)
{
    struct be_worker *oldest = NULL;

    for (struct be_worker *w = workers->list; w != NULL; w = w->next)
        if (w->lingering && !w->dropped &&
            (oldest == NULL || w->lingering_seq < oldest->lingering_seq))
            oldest = w;
    if (oldest == NULL)
        return false;
    log_warn("supervisor: session %016llx, whose client is gone, is ended to make room",
             (unsigned long long)oldest->session_id);
    (void)kill(oldest->pid, SIGTERM);
    workers->counts[oldest->state]--; /* the next may take its place at once */
    oldest->dropped = true;
    return true;
}

static const char *
state_text(enum be_worker_state state)
{
    static const char *const texts[] = {"starting", "ready", "opening", "serving", "an operator's"};

    return texts[state];
}

static void
word_take(struct be_workers *workers, struct be_worker *worker, const struct be_word *word)
{
    enum be_worker_state state = (enum be_worker_state)word->state;

    /* Who has taken in a call of a client speaks for that client, never for an operator. */
    if (state == BE_WORKER_ADMIN && worker->state != BE_WORKER_GIVEN) {
        log_error("supervisor: worker %d wants to be an operator's while it is %s",
                  (int)worker->pid, state_text(worker->state));
        return;
    }
    if (state == BE_WORKER_READY) {
        worker->ever_ready = true;
        workers->early_deaths = 0;
    }
    /* One that got its connection while it started is ready and more. */
    if (state > worker->state)
        state_set(workers, worker, state);
    worker->session_id = word->session_id;
    if (word->lingering && !worker->lingering)
        worker->lingering_seq = ++workers->lingering_seq;
    worker->lingering = word->lingering != 0;
}

void
be_workers_hear(struct be_workers *workers, struct be_worker *worker)
{
    struct be_word word;

    while (worker->socket >= 0) {
        switch (be_handoff_hear(worker->socket, &word)) {
        case GP_OK:
            if (word.dial_number == 0)
                word_take(workers, worker, &word);
            else if (workers->dial != NULL && worker->state == BE_WORKER_SERVING)
                workers->dial(workers->user, worker, &word);
            break;
        case GP_ERR_AGAIN:
            return;
        default:
            close(worker->socket);
            worker->socket = -1;
            return;
        }
    }
}

static void
death_log(struct be_workers *workers, const struct be_worker *worker, int how)
{
    bool signalled = WIFSIGNALED(how);
    int code = signalled ? WTERMSIG(how) : WEXITSTATUS(how);

    if (worker->dropped && worker->lingering)
        return;
    if (worker->dropped) {
        log_warn("supervisor: a connection was dropped, too many are not open yet");
        return;
    }
    if (!signalled && code == 0) {
        log_debug("supervisor: worker %d ended", (int)worker->pid);
        return;
    }
    log_error("supervisor: worker %d died while %s: %s %d%s%s", (int)worker->pid,
              state_text(worker->state), signalled ? "signal" : "exit code", code,
              signalled ? ", " : "", signalled ? strsignal(code) : "");
    if (!worker->ever_ready) {
        unsigned shift = workers->early_deaths < 5 ? workers->early_deaths : 5;

        workers->early_deaths++;
        workers->not_before_ns = gp_now_ns() + (GP_NS_PER_S << shift);
    }
}

void
be_workers_reap(struct be_workers *workers)
{
    struct be_worker **at = &workers->list;

    while (*at != NULL) {
        struct be_worker *worker = *at;
        int how;

        if (waitpid(worker->pid, &how, WNOHANG) != worker->pid) {
            at = &worker->next;
            continue;
        }
        be_workers_hear(workers, worker); /* what it said last */
        death_log(workers, worker, how);
        workers->died += !WIFEXITED(how) || WEXITSTATUS(how) != 0;
        workers->ended += worker->state == BE_WORKER_SERVING;
        workers->dropped += worker->dropped && worker->state == BE_WORKER_GIVEN;
        if (workers->gone != NULL)
            workers->gone(workers->user, worker);
        if (!worker->dropped)
            workers->counts[worker->state]--;
        *at = worker->next;
        be_ledger_slot_give(workers->ledger, worker->slot);
        if (worker->socket >= 0)
            close(worker->socket);
        free(worker);
    }
}

void
be_workers_dismiss(struct be_workers *workers)
{
    for (struct be_worker *w = workers->list; w != NULL; w = w->next) {
        if (w->socket >= 0 && w->state <= BE_WORKER_READY) {
            close(w->socket); /* end of file: it has nothing to do and ends */
            w->socket = -1;
        }
    }
}

void
be_workers_signal(struct be_workers *workers, int number)
{
    for (struct be_worker *w = workers->list; w != NULL; w = w->next)
        (void)kill(w->pid, number);
}

unsigned
be_workers_total(const struct be_workers *workers)
{
    unsigned total = 0;

    for (const struct be_worker *w = workers->list; w != NULL; w = w->next)
        total++;
    return total;
}
