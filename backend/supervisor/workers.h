/* backend/supervisor/workers.h -- the processes behind the sessions
 *
 * Threads: the supervisor's.
 */
#ifndef BE_WORKERS_H
#define BE_WORKERS_H

#include "backend/images/keeper.h"
#include "backend/supervisor/handoff.h"
#include "backend/tenant/ledger.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct be_worker {
    pid_t pid;
    int socket;
    unsigned slot; /* in the ledger */
    enum be_worker_state state;
    bool ever_ready;
    bool dropped;           /* we ended it, its connection did not open or its client is gone */
    bool lingering;         /* its client is gone and may come back */
    uint64_t lingering_seq; /* since when, among the others */
    uint64_t session_id;    /* 0: none that can be found again */
    bool connected;         /* BE_WORKER_ADMIN: it has its line to us */
    struct be_worker *next;
};

struct be_workers {
    char *const *argv;
    struct be_ledger *ledger;
    struct be_keeper keeper;
    struct be_worker *list;
    unsigned counts[BE_WORKER_ADMIN + 1]; /* by state */
    unsigned early_deaths;                /* in a row, before they were ready */
    uint64_t not_before_ns;               /* start no more before */
    uint64_t given_ns;                    /* when a session got its worker last */
    uint64_t lingering_seq;
    uint64_t died, ended, dropped; /* since the start: sessions and what became none */
    int board;                     /* the descriptor of backend/metrics/board.h */
    /* Called for each that ended, before its slot is given away. */
    void (*gone)(void *user, const struct be_worker *worker);
    /* Called for each wish for a connection. */
    void (*dial)(void *user, struct be_worker *worker, const struct be_word *word);
    void *user;
};

/* Start one; *worker_p may be NULL. */
GP_CHECK enum gp_status be_workers_start(struct be_workers *workers, struct be_worker **worker_p);
/* Somebody without a connection, ready if there is one; NULL. */
struct be_worker *be_workers_free_one(struct be_workers *workers);
/* An error means that this worker is of no use any more; it is reaped later. */
GP_CHECK enum gp_status be_workers_give(struct be_workers *workers, struct be_worker *worker,
                                        const struct be_handoff *what, int fd);
/* End the connection that is not open for the longest time. */
void be_workers_drop_oldest(struct be_workers *workers);
/* Give a further connection to the worker that has the session: GP_ERR_NOT_FOUND, or GP_ERR_IO if
 * it does not take it now. */
GP_CHECK enum gp_status be_workers_further(struct be_workers *workers, uint64_t session_id,
                                           const struct be_handoff *what, int fd);
/* End the session whose client is gone for the longest time; false if there is none. */
bool be_workers_end_lingering(struct be_workers *workers);
/* Take in what a worker said. */
void be_workers_hear(struct be_workers *workers, struct be_worker *worker);
/* Take in what ended; says in the log how. */
void be_workers_reap(struct be_workers *workers);
/* Let those go that have no connection. */
void be_workers_dismiss(struct be_workers *workers);
void be_workers_signal(struct be_workers *workers, int number);
unsigned be_workers_total(const struct be_workers *workers);

#endif
