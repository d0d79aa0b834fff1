/* frontend/core/session.h -- the lines to the pool servers and what came with their opening
 *
 * A process has a session with each server of its choice, mostly one. They begin with the first
 * fe_start() (cuInit). One ends with the process or with its server: then every call to that
 * server, also one that waits, returns fe_session_result(); the others go on.
 *
 * Threads: any. What a struct fe_session shows here is constant once fe_start() returned.
 * Fork:    the child of a process with a session gets CUDA_ERROR_NOT_INITIALIZED for ever.
 */
#ifndef FE_SESSION_H
#define FE_SESSION_H

#include "frontend/core/config.h"
#include "protocol/abi/cuda_types.h"
#include "protocol/wire/control.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FE_SESSIONS_MAX FE_SERVERS_MAX

/* One device that the program may see. */
struct fe_device {
    const struct wire_device *info; /* never NULL */
    int32_t server_ordinal;         /* what the `device` arguments on the wire mean */
    struct fe_session *session;     /* of its server */
};

struct fe_session {
    /* CUresult, once the server is lost. */
    _Atomic int32_t error;
    /* Written once before fe_start() returns, then read-only. */
    unsigned index;        /* in fe_sessions.list */
    unsigned device_count; /* of this server; at least 1 */
    struct fe_device devices[WIRE_DEVICES_MAX];
    int driver_version; /* as cuDriverGetVersion has it, 13000 */
    bool software;      /* the devices are the software device's */
    char driver[WIRE_TEXT_MAX + 1];
    char server[WIRE_TEXT_MAX + 1]; /* the server's name for itself */
    char url[288];                  /* where it was reached */
    struct fe_socket socket;        /* for connections to it */
    uint64_t managed_wait_ns;       /* config.h */
    uint64_t session_id;
    /* Reserved in this process without access (PROT_NONE). Nothing ever unmaps device_range;
     * frontend/cuda maps host memory inside host_range with MAP_FIXED. bytes may be 0. */
    struct wire_range device_range;
    struct wire_range host_range;
    struct wire_call_set calls; /* what the server can execute */
    uint64_t features;          /* WIRE_FEATURE_* of both */

    /* The engine's own. */
    struct fe_line *line;
};

/*
 * cuInit: connect, agree and open, once; later calls return the first one's result at once. After a
 * failure the next try is made when a few seconds have passed.
 *
 * Time:   at most about 5 seconds.
 * Errors: each is one line on standard error. NO_DEVICE: no server configured or reachable, or none
 *         of its devices is visible; NOT_PERMITTED: a certificate was refused;
 *         SYSTEM_DRIVER_MISMATCH: no common protocol version; SYSTEM_NOT_READY: the server's driver
 *         failed; DEVICE_UNAVAILABLE: the server is busy or draining; OUT_OF_MEMORY;
 *         NOT_INITIALIZED in a forked child; DEINITIALIZED while the process ends.
 */
CUresult fe_start(void);

/* All sessions, in the order of the choice, and all devices as the program counts them: an ordinal
 * is a place in devices. Constant once fe_start() has succeeded. */
struct fe_sessions {
    unsigned count;
    struct fe_session *list[FE_SESSIONS_MAX];
    unsigned device_count;
    struct fe_device devices[WIRE_DEVICES_MAX];
};
const struct fe_sessions *fe_sessions(void);

/* A session for what belongs to no server: that of the thread's context, else the first that
 * works. NULL with *cr_p (may be NULL) saying what a call must return: nothing is left to call. */
struct fe_session *fe_session_get(CUresult *cr_p);

/* s, or NULL with *cr_p as above if it has ended; s may be NULL: of a context that is no more. */
struct fe_session *fe_session_use(struct fe_session *s, CUresult *cr_p);

/* Whether any session works; *cr_p as above. */
bool fe_session_any(CUresult *cr_p);

/* What calls to this server return now: SUCCESS while the session works. */
CUresult fe_session_result(const struct fe_session *s);

/* What calls return now that may go to any server. */
CUresult fe_session_error(void);

/* End the session: the first to call decides the result that all its calls return from then on.
 * One log line: "lost the server tls://...: why". */
void fe_session_fail(struct fe_session *s, CUresult cr, const char *why);

/* cuDriverGetVersion and the like may be asked before cuInit: the version of the API this library
 * speaks, or the session's. */
int fe_driver_version(void);

#endif
