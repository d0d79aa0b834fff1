/* backend/supervisor/supervisor_priv.h -- the supervisor's state: for this folder only */
#ifndef BE_SUPERVISOR_PRIV_H
#define BE_SUPERVISOR_PRIV_H

#include "backend/metrics/board.h"
#include "backend/supervisor/accounts.h"
#include "backend/supervisor/admin.h"
#include "backend/supervisor/http.h"
#include "backend/supervisor/pending.h"
#include "backend/supervisor/registry.h"
#include "backend/supervisor/succession.h"
#include "backend/supervisor/supervisor.h"
#include "backend/supervisor/workers.h"
#include "transport/transport.h"

#include <poll.h>
#include <stdbool.h>
#include <stdint.h>

/* What sessions that have ended did, of one tenant; of nobody's too. */
struct be_totals {
    char name[BE_TENANT_NAME_BYTES];
    uint64_t sessions;
    uint64_t counts[BE_COUNT_END];
};

struct be_supervisor {
    const struct be_supervisor_config *config;
    struct tp_listener *listeners[BE_LISTENERS_MAX];
    unsigned listener_count;
    struct tp_listener *offer; /* further connections of sessions only; NULL: there is none */
    struct be_workers workers;
    struct be_pending pending;
    uint64_t strangers, strangers_told_ns; /* who asked for sessions that are not here */
    uint64_t strangers_total, accepted, refused;
    int signals;
    int ready_fd;
    bool draining, drain_over;
    uint64_t drain_until_ns;
    struct pollfd *polls;
    size_t poll_cap;

    /* Operators (operate.c). */
    struct be_admin admin;
    struct be_board *board;
    struct be_policies *policies; /* as they are now; without options */
    struct be_totals totals[BE_TENANTS_MAX + 1];
    struct be_board_bytes bytes[BE_WAY_END]; /* of ended sessions */
    struct be_accounts *accounts;
    struct be_http *http;                    /* NULL: no metrics */
    char urls[WIRE_TEXT_MAX + 1];
    uint64_t started_ms;
    struct be_registry registry;
    struct be_succession succession;
    bool cordoned; /* takes no new sessions */
    bool stopping; /* and ends with the last one */
    uint64_t cordon_until_ns;
};

/* Sessions, and connections that may become one. */
unsigned be_supervisor_busy(const struct be_supervisor *s);
/* Listen no more; who is connected is served. */
void be_supervisor_deafen(struct be_supervisor *s);
/* A further connection of a session; fd stays the caller's. */
void be_supervisor_further(struct be_supervisor *s, uint64_t session_id, const char *scheme,
                           int fd);
/* Listen no more, end with the last session, or by force. */
void be_supervisor_drain(struct be_supervisor *s, uint64_t within_ns);

#endif
