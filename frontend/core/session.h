/* frontend/core/session.h -- the line to the pool server and what came with its opening
 *
 * A process has one session. It begins with the first fe_start() (cuInit) and ends with the
 * process or with the server: then every call, also one that waits, returns fe_session_error().
 *
 * Threads: any. What a struct fe_session shows here is constant once fe_start() returned.
 * Fork:    the child of a process with a session gets CUDA_ERROR_NOT_INITIALIZED for ever.
 */
#ifndef FE_SESSION_H
#define FE_SESSION_H

#include "frontend/core/config.h"
#include "protocol/abi/cuda_types.h"
#include "protocol/wire/control.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* One device that the program may see; its ordinal is its place in fe_session.devices. */
struct fe_device {
    const struct wire_device *info; /* never NULL */
    int32_t server_ordinal;         /* what the `device` arguments on the wire mean */
};

struct fe_session {
    /* Written once before fe_start() returns, then read-only. */
    unsigned device_count; /* at least 1 */
    struct fe_device devices[WIRE_DEVICES_MAX];
    int driver_version; /* as cuDriverGetVersion has it, 13000 */
    bool software;      /* the devices are the software device's */
    char driver[WIRE_TEXT_MAX + 1];
    char server[WIRE_TEXT_MAX + 1]; /* the server's name for itself */
    char url[288];                  /* where it was reached */
    struct fe_socket socket;        /* for connections to it */
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

/* The session, or NULL with *cr_p (may be NULL) saying what a call must return. */
struct fe_session *fe_session_get(CUresult *cr_p);

/* What calls return now: SUCCESS while the session works. */
CUresult fe_session_error(void);

/* End the session: the first to call decides the result that all calls return from then on. One
 * log line: "lost the server tls://...: why". */
void fe_session_fail(struct fe_session *s, CUresult cr, const char *why);

/* cuDriverGetVersion and the like may be asked before cuInit: the version of the API this library
 * speaks, or the session's. */
int fe_driver_version(void);

#endif
