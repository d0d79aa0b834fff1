/* backend/session/agent.c */
#include "backend/session/agent.h"

#include "backend/cuda/state.h"
#include "backend/cuda/stay.h"
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

struct be_agent {
    struct be_session *session;
    pthread_t thread;
    atomic_bool stop;

    /* The thread's. */
    uint64_t wishes[BE_LEDGER_DEVICES];     /* seen */
    uint64_t over_since[BE_LEDGER_DEVICES]; /* 0: not over its quota */
    uint64_t over_told[BE_LEDGER_DEVICES];  /* bytes in use over it, as the client knows */
    uint64_t began_ns;
    uint64_t told_ns, told_work; /* told that it is idle then, with so much work done; 0: not */
    bool ended;
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

/* -- sessions that do nothing ------------------------------------------------------------------ */

static void
tell(struct be_session *session, const char *text)
{
    struct wire_gpNoticeText_args args = {.text = text, .text_len = (uint32_t)strlen(text)};
    uint8_t *to =
        be_notice_begin(session, WIRE_CALL_gpNoticeText, 0, wire_size_gpNoticeText_args(&args));

    if (to == NULL)
        return;
    wire_put_gpNoticeText_args(to, &args);
    be_notice_end(session);
    be_flush(session);
}

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
    tell(session, text);
    return grace;
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
