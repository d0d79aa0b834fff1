/* backend/supervisor/supervisor.h -- accepts connections and gives each to a worker process
 *
 * One thread. It never touches CUDA and reads no private key; workers are this program, executed
 * again, one for each session.
 */
#ifndef BE_SUPERVISOR_H
#define BE_SUPERVISOR_H

#include "backend/images/keeper.h"
#include "backend/tenant/ledger.h"
#include "backend/tenant/policy.h"
#include "protocol/base/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BE_LISTENERS_MAX 16

struct be_supervisor_config {
    char *const *worker_argv; /* of this process; the worker's descriptor is added */
    const char *listen[BE_LISTENERS_MAX];
    unsigned listen_count;
    bool offer_shm; /* clients on this machine may go over to shared memory */
    /* Of the server whose place this one takes; -1: there is none. Its sockets take the place of
     * listen. */
    int predecessor_fd;
    int inherited[BE_LISTENERS_MAX];
    int ready_fd; /* -1: nobody asks; closed when told */
    unsigned warm_workers;
    uint64_t warm_delay_ns; /* from a session's beginning until the next one is made ready */
    unsigned sessions_max;   /* open ones */
    unsigned handshakes_max; /* connections that are not open yet */
    unsigned pending_max;  /* connections that said nothing yet; 0: by what descriptors there are */
    uint64_t handshake_ns; /* and how long they may take for it */
    uint64_t drain_ns;
    struct be_keeper_opts keep[BE_STORES];
    uint32_t recv_buffer_bytes; /* of connections; 0: the system's choice */
    const char *name;           /* of the server, for operators */
    const char *region, *cost;  /* where it is, and whose */
    const char *accounts;       /* a file (accounts.h); NULL: they end with the server */
    bool registers;             /* in the directory, by a process of its own */
    const char *metrics;        /* http://...; NULL: none */
    const char *const *peers;   /* where sessions may copy to (dial.h) */
    size_t peer_count;
    const char *admin_socket;   /* where operators of this machine are served; NULL: nowhere */
    struct be_paging paging;
    const struct be_policies *policies; /* the tenants to begin with */
    /* Read them anew; the caller finishes *policies_p on GP_OK. Errors are logged. */
    enum gp_status (*reload)(void *user, struct be_policies *policies_p);
    void *reload_user;
};

/* Serve until told to end; the process's exit code. */
int be_supervisor_run(const struct be_supervisor_config *config);

#endif
