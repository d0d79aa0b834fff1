/* backend/session/agent.c */
#include "backend/session/agent.h"

#include "backend/cuda/state.h"
#include "backend/tenant/ledger.h"
#include "protocol/base/clock.h"
#include "protocol/base/log.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

/* A client has this long to give back what a smaller quota does not leave it. */
#define BE_GRACE_NS (2 * GP_NS_PER_S)

struct be_agent {
    struct be_session *session;
    pthread_t thread;
    atomic_bool stop;

    /* The thread's. */
    uint64_t wishes[BE_LEDGER_DEVICES];     /* seen */
    uint64_t over_since[BE_LEDGER_DEVICES]; /* 0: not over its quota */
    uint64_t over_told[BE_LEDGER_DEVICES];  /* bytes in use over it, as the client knows */
};

static void
lease_ask(struct be_session *session, int32_t device)
{
    struct wire_gpNoticeLease_args args = {.device = device};
    uint8_t *to;

    to = be_notice_begin(session, WIRE_CALL_gpNoticeLease, 0, wire_size_gpNoticeLease_args(&args));
    if (to == NULL)
        return;
    wire_put_gpNoticeLease_args(to, &args);
    be_notice_end(session);
}

/* More than it may have, and not only unused: the program should know, where it did not. */
static void
over_tell(struct be_agent *agent, int32_t device)
{
    struct be_session *session = agent->session;
    struct wire_gpNoticeOver_args args = {.device = device};
    uint64_t told = agent->over_told[device];
    uint8_t *to;

    args.bytes = be_ledger_over(session->ledger, (unsigned)device);
    agent->over_told[device] = args.bytes;
    if (args.bytes <= told)
        return;
    to = be_notice_begin(session, WIRE_CALL_gpNoticeOver, 0, wire_size_gpNoticeOver_args(&args));
    if (to == NULL)
        return;
    wire_put_gpNoticeOver_args(to, &args);
    be_notice_end(session);
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
        lease_ask(session, device);
    if (excess == 0)
        return GP_FOREVER;
    if (now - agent->over_since[device] < BE_GRACE_NS)
        return BE_GRACE_NS - (now - agent->over_since[device]);
    be_space_lease_cut(session->space, device);
    return BE_GRACE_NS;
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
        if (!atomic_load(&agent->stop))
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
    /* Wishes from before this session are none of its business. */
    for (int32_t d = 0; d < session->driver->device_count; d++)
        agent->wishes[d] = be_ledger_wishes(session->ledger, (unsigned)d);
    if (pthread_create(&agent->thread, NULL, agent_main, agent) != 0) {
        log_error("session: cannot make a thread: %m");
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
    free(agent);
}
