/* backend/supervisor/pending.h -- connections that have not said yet what they are
 *
 * Whoever connects speaks first: a TLS handshake or a hello for a new session, a preface for one
 * that is open. Until then he costs a descriptor and no worker. The oldest goes when there are too
 * many, and whoever is silent when his time is over.
 *
 * Threads: the supervisor's. Never waits.
 */
#ifndef BE_PENDING_H
#define BE_PENDING_H

#include "protocol/base/status.h"

#include <stdbool.h>
#include <stdint.h>

struct be_pending_entry;

struct be_pending {
    int epoll_fd; /* readable when somebody spoke; -1: not open */
    unsigned count, most;
    uint64_t patience_ns;
    uint64_t dropped, silent, odd; /* since the last line in the log */
    uint64_t told_ns;
    struct be_pending_entry *first, *last; /* by age */
};

/* A connection that spoke; fd is the caller's. */
struct be_pending_ready {
    int fd;
    const char *scheme;
    uint64_t session_id; /* not 0: a preface was taken from the line */
};

GP_CHECK enum gp_status be_pending_open(struct be_pending *pending, unsigned most,
                                        uint64_t patience_ns);
void be_pending_close(struct be_pending *pending);
/* Takes fd; scheme is borrowed for good. further_only: who begins without a preface is dropped. */
void be_pending_add(struct be_pending *pending, int fd, const char *scheme, bool further_only,
                    uint64_t now_ns);
/* The next one that spoke: GP_ERR_AGAIN if there is none. */
GP_CHECK enum gp_status be_pending_next(struct be_pending *pending,
                                        struct be_pending_ready *ready_p);
/* Drop who is silent for too long; when to ask again, GP_FOREVER: when somebody came. */
uint64_t be_pending_expire(struct be_pending *pending, uint64_t now_ns);

#endif
