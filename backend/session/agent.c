/* backend/session/agent.c */
#include "backend/session/agent.h"

#include "backend/cuda/state.h"
#include "backend/cuda/stay.h"
#include "backend/session/teller.h"
#include "backend/tenant/ledger.h"
#include "backend/tenant/rooms.h"
#include "protocol/base/clock.h"
#include "protocol/base/log.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A client has this long to give back what a smaller quota does not leave it. */
#define BE_GRACE_NS (2 * GP_NS_PER_S)

/* While others wait for memory: the end of work that takes no longer is just waited for; when its
 * program is told; how often to look. */
#define HELD_LEAST_NS (500 * GP_NS_PER_MS)
#define HELD_TELL_NS  (10 * GP_NS_PER_S)
#define HELD_LOOK_NS  (500 * GP_NS_PER_MS)

struct be_agent {
    struct be_session *session;
    struct be_teller *teller;
    pthread_t thread;
    atomic_bool stop;

    /* The thread's. */
    uint64_t wishes[BE_LEDGER_DEVICES];     /* seen */
    uint64_t over_since[BE_LEDGER_DEVICES]; /* 0: not over its quota */
    uint64_t over_told[BE_LEDGER_DEVICES];  /* bytes in use over it, as the client knows */
    uint64_t began_ns;
    uint64_t told_ns, told_work; /* told that it is idle then, with so much work done; 0: not */
    bool ended;
    uint64_t held_ns; /* others were kept waiting when it last looked; 0: they were not */
    bool held_told, lacks_told;
};

/* More than it may have, and not only unused: the program should know, where it did not. */
static void
over_tell(struct be_agent *agent, int32_t device)
{
    uint64_t told = agent->over_told[device];

    agent->over_told[device] = be_ledger_over(agent->session->ledger, (unsigned)device);
    if (agent->over_told[device] > told)
        be_teller_over(agent->teller, device, agent->over_told[device]);
}

/* Nanoseconds until it wants to look again. */
static uint64_t
device_look(struct be_agent *agent, int32_t device)
{
    struct be_session *session = agent->session;
    uint64_t wishes = be_ledger_wishes(session->ledger, (unsigned)device);
    uint64_t excess = be_ledger_excess(session->ledger, (unsigned)device), now = gp_now_ns();
    bool wanted = wishes != agent->wishes[device];

    agent->wishes[device] = wishes;
    if (excess == 0)
        agent->over_since[device] = 0;
    else if (agent->over_since[device] == 0)
        wanted = (agent->over_since[device] = now) != 0;
    over_tell(agent, device);
    if (wanted && be_space_lease_unused(session->space, device) != 0)
        be_teller_lease(agent->teller, device);
    if (excess == 0)
        return GP_FOREVER;
    if (now - agent->over_since[device] < BE_GRACE_NS)
        return BE_GRACE_NS - (now - agent->over_since[device]);
    be_space_lease_cut(session->space, device);
    return BE_GRACE_NS;
}

/* -- sessions that do nothing ------------------------------------------------------------------ */

/* It was told: its time is over, or it works again. Nanoseconds until it has to be looked at. */
static uint64_t
told_look(struct be_agent *agent, uint64_t grace_ns)
{
    uint64_t now = gp_now_ns();

    if (be_rooms_work(agent->session->ledger) != agent->told_work) {
        agent->told_ns = 0;
        be_ledger_set_told(agent->session->ledger, false);
        log_info("session: works again");
        return 0;
    }
    if (now - agent->told_ns < grace_ns)
        return grace_ns - (now - agent->told_ns);
    agent->ended = true;
    be_client_end(agent->session, CUDA_ERROR_DEVICE_UNAVAILABLE,
                  "ended because it was idle for too long");
    return GP_FOREVER;
}

/* Nanoseconds until it wants to look again. */
static uint64_t
idle_look(struct be_agent *agent)
{
    struct be_session *session = agent->session;
    uint64_t idle, grace, since, now, work;
    char text[160];

    be_ledger_idle(session->ledger, &idle, &grace);
    if (idle == 0 || agent->ended)
        return GP_FOREVER;
    if (agent->told_ns != 0)
        return told_look(agent, grace);
    now = gp_now_ns();
    since = gp_max_u64(agent->began_ns, be_rooms_worked_ns(session->ledger));
    if (now < since + idle)
        return since + idle - now;
    since = be_stay_idle(session, &work); /* perhaps a kernel still runs */
    since = since == 0 ? gp_now_ns() : gp_max_u64(agent->began_ns, since);
    now = gp_now_ns();
    if (now < since + idle)
        return since + idle - now;
    agent->told_ns = now;
    agent->told_work = work;
    be_ledger_set_told(session->ledger, true);
    snprintf(text, sizeof(text),
             "this session did nothing for %llu s and will be ended in %llu s unless it works",
             (unsigned long long)((now - since) / GP_NS_PER_S),
             (unsigned long long)(grace / GP_NS_PER_S));
    log_info("session: idle, told that it will be ended");
    be_teller_text(agent->teller, text);
    return grace;
}

/* -- sessions that keep others from memory ----------------------------------------------------- */

/* As operators see it. */
static unsigned long long
session_id(const struct be_session *session)
{
    return session->row != NULL ? session->row->session.id : 0;
}

static void
held_tell(struct be_agent *agent, uint64_t kept_ns, uint64_t limit_ns)
{
    struct be_session *session = agent->session;
    char text[256], end[64] = "";

    agent->held_told = true;
    if (limit_ns != 0)
        snprintf(end, sizeof(end), "; it will be ended in %llu s",
                 (unsigned long long)((limit_ns - gp_min_u64(kept_ns, limit_ns)) / GP_NS_PER_S));
    snprintf(text, sizeof(text),
             "others have waited for %llu s for memory that this session cannot let go, since what "
             "it has under way does not end%s",
             (unsigned long long)(kept_ns / GP_NS_PER_S), end);
    log_warn("session %016llx: %s", session_id(session), text);
    be_teller_text(agent->teller, text);
}

/* What is asked of it by who waits, on any device: for how long it has not done so. */
static uint64_t
kept_look(struct be_session *session, uint64_t busy_ns, uint64_t limit_ns, bool *overdue_p)
{
    uint64_t kept = 0;
    bool overdue;

    *overdue_p = false;
    for (int d = 0; d < session->driver->device_count; d++) {
        kept = gp_max_u64(kept,
                          be_rooms_busy(session->ledger, (unsigned)d, busy_ns, limit_ns, &overdue));
        *overdue_p = *overdue_p || overdue;
    }
    return kept;
}

/* It waits for memory itself: its program seems to hang. */
static void
lacks_look(struct be_agent *agent)
{
    static const char text[] = "this session waits for memory of a device that other sessions hold";
    uint64_t since = be_stay_lacks(agent->session), now = gp_now_ns();

    if (since == 0 || now - gp_min_u64(since, now) < HELD_TELL_NS) {
        agent->lacks_told = agent->lacks_told && since != 0;
        return;
    }
    if (agent->lacks_told)
        return;
    agent->lacks_told = true;
    log_info("session %016llx: %s", session_id(agent->session), text);
    be_teller_text(agent->teller, text);
}

/* Who waits rings, now and then. Nanoseconds until it wants to look again by itself. */
static uint64_t
held_look(struct be_agent *agent)
{
    struct be_session *session = agent->session;
    uint64_t busy_ns, limit_ns, kept_ns, now = gp_now_ns();
    bool call, overdue;

    if (!be_ledger_paged(session->ledger) || agent->ended)
        return GP_FOREVER;
    busy_ns = be_stay_busy(session, &call);
    if (busy_ns != 0 && now - gp_min_u64(busy_ns, now) < HELD_LEAST_NS)
        busy_ns = 0;
    if (busy_ns == 0 && agent->held_ns == 0)
        return GP_FOREVER;
    limit_ns = be_ledger_max_hold_ns(session->ledger);
    if (call && limit_ns != 0) /* it compiles, perhaps */
        limit_ns = gp_max_u64(limit_ns, BE_HOLD_DEFAULT);
    kept_ns = kept_look(session, busy_ns, limit_ns, &overdue);
    if (agent->held_ns != 0)
        be_count(session->row, BE_COUNT_HELD_NS, now - agent->held_ns);
    agent->held_ns = kept_ns != 0 ? now : 0;
    if (kept_ns == 0) {
        agent->held_told = false;
        return GP_FOREVER;
    }
    if (!agent->held_told &&
        kept_ns >= (limit_ns != 0 ? gp_min_u64(HELD_TELL_NS, limit_ns / 2) : HELD_TELL_NS))
        held_tell(agent, kept_ns, limit_ns);
    if (overdue) {
        agent->ended = true;
        be_client_end(session, CUDA_ERROR_LAUNCH_TIMEOUT,
                      "its work did not end while others waited for its memory, for longer than "
                      "the tenant's max-hold-time");
        return GP_FOREVER;
    }
    return HELD_LOOK_NS;
}

static void *
agent_main(void *arg)
{
    struct be_agent *agent = arg;
    struct be_session *session = agent->session;

    while (!atomic_load(&agent->stop)) {
        uint32_t bell = be_ledger_bell(session->ledger);
        uint64_t wait = 3600 * GP_NS_PER_S;

        for (int32_t d = 0; d < session->driver->device_count; d++)
            wait = gp_min_u64(wait, device_look(agent, d));
        wait = gp_min_u64(wait, idle_look(agent));
        wait = gp_min_u64(wait, held_look(agent));
        lacks_look(agent);
        if (!atomic_load(&agent->stop) && wait != 0)
            be_ledger_await(session->ledger, bell, wait);
    }
    return NULL;
}

enum gp_status
be_agent_start(struct be_session *session, struct be_agent **agent_p)
{
    struct be_agent *agent;

    *agent_p = NULL;
    if (session->ledger == NULL)
        return GP_OK;
    agent = calloc(1, sizeof(*agent));
    if (agent == NULL)
        return GP_ERR_NO_MEMORY;
    agent->session = session;
    agent->began_ns = gp_now_ns();
    /* Wishes from before this session are none of its business. */
    for (int32_t d = 0; d < session->driver->device_count; d++)
        agent->wishes[d] = be_ledger_wishes(session->ledger, (unsigned)d);
    if (be_teller_create(session, &agent->teller) != GP_OK) {
        free(agent);
        return GP_ERR_NO_MEMORY;
    }
    if (pthread_create(&agent->thread, NULL, agent_main, agent) != 0) {
        log_error("session: cannot make a thread: %m");
        be_teller_destroy(agent->teller);
        free(agent);
        return GP_ERR_NO_MEMORY;
    }
    *agent_p = agent;
    return GP_OK;
}

void
be_agent_stop(struct be_agent *agent)
{
    if (agent == NULL)
        return;
    atomic_store(&agent->stop, true);
    be_ledger_ring(agent->session->ledger);
    pthread_join(agent->thread, NULL);
    be_teller_destroy(agent->teller);
    free(agent);
}
