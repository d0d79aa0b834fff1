/* backend/supervisor/succession.h -- a new gpupoold takes over, sessions of the old one go on
 *
 * On SIGUSR2 the supervisor executes what now lies where its program was, with its listening
 * sockets and a line between the two. When the new one has loaded its driver it says so, and the
 * old one closes its copies: no connection was refused in between. The old one serves who is
 * connected and ends with its last session. A client that lost its line asks the new one, which
 * passes the connection on where it does not know the session.
 *
 * Not shared: the ledgers. What the old one's sessions have of a device, the new one sees only in
 * what the driver has free.
 *
 * Threads: the supervisor's; nothing here waits.
 */
#ifndef BE_SUCCESSION_H
#define BE_SUCCESSION_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct be_pending_ready;
struct be_supervisor;

struct be_succession {
    int predecessor, successor; /* lines; -1: there is none */
    pid_t pid;                  /* of the successor, until it is ready */
    bool given;                 /* the successor has taken over */
    char program[PATH_MAX];     /* where ours lay when it began; what lies there now succeeds it */
};

void be_succession_open(struct be_supervisor *s);
/* SIGUSR2. */
void be_succession_begin(struct be_supervisor *s);
/* We are ready: the predecessor may stop listening. */
void be_succession_ready(struct be_supervisor *s);
/* Something is on the line to the successor, or to the predecessor. */
void be_succession_hear(struct be_supervisor *s);
/* A connection of a session that is not here; true if the predecessor may know it. */
bool be_succession_pass(struct be_supervisor *s, uint64_t session_id, const char *scheme, int fd);
/* After SIGCHLD. */
void be_succession_reap(struct be_supervisor *s);
void be_succession_close(struct be_supervisor *s);

#endif
