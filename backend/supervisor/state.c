/* backend/supervisor/state.c -- the server as it is now, for operators and for metrics */
#include "backend/supervisor/operate.h"

#include "backend/supervisor/supervisor_priv.h"
#include "backend/tenant/view.h"
#include "protocol/base/clock.h"
#include "protocol/base/util.h"
#include "protocol/base/version.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* One pass over the slots, for all parts. */
struct be_gather {
    struct be_supervisor *s;
    struct be_board_driver driver; /* gpu_count 0: nobody told it yet */
    struct be_tenant_state *tenant;
    struct be_board_bytes bytes[BE_WAY_END];
    struct wire_admin_answer *answer;
};

static void
server_fill(struct be_gather *g)
{
    const struct be_supervisor *s = g->s;
    struct wire_admin_server *out = &g->answer->server;
    uint64_t now = gp_now_ns(), until = s->draining ? s->drain_until_ns : s->cordon_until_ns;
    struct be_aside host;

    snprintf(out->name, sizeof(out->name), "%s", s->config->name);
    snprintf(out->build, sizeof(out->build), "%s", GP_BUILD);
    snprintf(out->urls, sizeof(out->urls), "%s", s->urls);
    snprintf(out->driver, sizeof(out->driver), "%s", g->driver.text);
    out->driver_version = g->driver.version;
    out->software = g->driver.software != 0;
    out->pid = (uint32_t)getpid();
    out->started_ms = s->started_ms;
    out->now_ms = gp_wall_ms();
    out->governed = be_ledger_governed(s->workers.ledger);
    out->state = s->draining || s->stopping ? WIRE_ADMIN_STOPPING
                 : s->cordoned              ? WIRE_ADMIN_DRAINING
                                            : WIRE_ADMIN_SERVING;
    if (out->state != WIRE_ADMIN_SERVING && until != GP_FOREVER)
        out->drain_left_ms = until > now ? (until - now) / GP_NS_PER_MS + 1 : 1;
    out->sessions = s->workers.counts[BE_WORKER_SERVING];
    out->sessions_max = s->config->sessions_max;
    out->opening = s->workers.counts[BE_WORKER_GIVEN];
    out->workers = be_workers_total(&s->workers);
    out->accepted = s->accepted;
    out->refused = s->refused;
    out->ended = s->workers.ended;
    out->died = s->workers.died;
    out->dropped = s->workers.dropped;
    out->strangers = s->strangers_total;
    be_ledger_aside(s->workers.ledger, &host);
    out->paging_host_bytes = host.bytes;
    out->paging_disk_bytes = host.spilled_bytes;
    out->paging_packed_bytes = host.packed_bytes;
    snprintf(out->region, sizeof(out->region), "%s", s->config->region);
    snprintf(out->cost, sizeof(out->cost), "%s", s->config->cost);
}

static void
uuid_text(const uint8_t uuid[16], char *text, size_t bytes)
{
    size_t at = (size_t)snprintf(text, bytes, "GPU-");

    for (int i = 0; i < 16; i++)
        at += (size_t)snprintf(text + at, bytes - at, "%s%02x",
                               i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "", uuid[i]);
}

static bool
gpus_fill(struct be_gather *g)
{
    uint32_t count = (uint32_t)gp_min_u64(g->driver.gpu_count, WIRE_DEVICES_MAX);

    g->answer->gpus = calloc(count + 1, sizeof(*g->answer->gpus));
    if (g->answer->gpus == NULL)
        return false;
    g->answer->gpu_count = count;
    for (uint32_t i = 0; i < count; i++) {
        const struct be_board_gpu *from = &g->driver.gpus[i];
        struct wire_admin_gpu *out = &g->answer->gpus[i];

        out->index = i;
        snprintf(out->name, sizeof(out->name), "%s", from->name);
        snprintf(out->pci, sizeof(out->pci), "%s", from->pci);
        uuid_text(from->uuid, out->uuid, sizeof(out->uuid));
        out->total_bytes = from->total_bytes;
        out->major = from->major;
        out->minor = from->minor;
        out->processors = from->processors;
    }
    return true;
}

/* -- sessions ---------------------------------------------------------------------------------- */

static void
counters_fill(const uint64_t counts[BE_COUNT_END], struct wire_admin_counters *out)
{
    out->launches += counts[BE_COUNT_LAUNCHES];
    out->copies += counts[BE_COUNT_COPIES];
    out->memory += counts[BE_COUNT_MEMORY];
    out->modules += counts[BE_COUNT_MODULES];
    out->streams += counts[BE_COUNT_STREAMS];
    out->graphs += counts[BE_COUNT_GRAPHS];
    out->others += counts[BE_COUNT_OTHERS];
    out->errors += counts[BE_COUNT_ERRORS];
    out->waits += counts[BE_COUNT_WAITS];
    out->bytes_in += counts[BE_COUNT_BYTES_IN];
    out->bytes_out += counts[BE_COUNT_BYTES_OUT];
    out->turn_wait_ns += counts[BE_COUNT_TURN_WAIT_NS];
    out->put_in += counts[BE_COUNT_PUT_IN];
    out->put_out += counts[BE_COUNT_PUT_OUT];
    out->put_in_rdma += counts[BE_COUNT_PUT_IN_RDMA];
    out->put_out_rdma += counts[BE_COUNT_PUT_OUT_RDMA];
    out->turn_waits += counts[BE_COUNT_TURN_WAITS];
    out->paged_in += counts[BE_COUNT_PAGED_IN];
    out->paged_out += counts[BE_COUNT_PAGED_OUT];
    out->paging_ns += counts[BE_COUNT_PAGING_NS];
    out->room_wait_ns += counts[BE_COUNT_ROOM_WAIT_NS];
    out->held_ns += counts[BE_COUNT_HELD_NS];
    out->direct_bytes += counts[BE_COUNT_DIRECT_BYTES];
    out->turns_500us += counts[BE_COUNT_TURNS + 0];
    out->turns_1ms += counts[BE_COUNT_TURNS + 1];
    out->turns_2ms += counts[BE_COUNT_TURNS + 2];
    out->turns_5ms += counts[BE_COUNT_TURNS + 3];
    out->turns_10ms += counts[BE_COUNT_TURNS + 4];
    out->turns_50ms += counts[BE_COUNT_TURNS + 5];
    out->turns_200ms += counts[BE_COUNT_TURNS + 6];
    out->turns_1s += counts[BE_COUNT_TURNS + 7];
    out->turns_longer += counts[BE_COUNT_TURNS + 8];
    out->turns_ns += counts[BE_COUNT_TURNS_NS];
}

/* The session's share in what its GPUs and its tenant have. */
static bool
uses_fill(struct be_gather *g, const struct be_slot_view *slot, struct wire_admin_session *out)
{
    struct wire_admin_answer *a = g->answer;

    out->uses = calloc(a->gpu_count + 1, sizeof(*out->uses));
    if (out->uses == NULL)
        return false;
    for (uint32_t d = 0; d < a->gpu_count && d < BE_LEDGER_DEVICES; d++) {
        const struct be_slot_use *use = &slot->use[d];

        a->gpus[d].used_bytes += use->used + use->other;
        a->gpus[d].promised_bytes += use->lease + use->other;
        a->gpus[d].paged_bytes += use->away;
        if (use->lease + use->other == 0)
            continue;
        a->gpus[d].sessions++;
        out->uses[out->use_count++] = (struct wire_admin_use){
            .gpu = d,
            .used_bytes = use->used,
            .lease_bytes = use->lease,
            .other_bytes = use->other,
            .paged_bytes = use->away,
        };
    }
    return true;
}

_Static_assert((int)BE_ACTIVITY_NONE == (int)WIRE_ADMIN_NONE &&
                   (int)BE_ACTIVITY_ACTIVE == (int)WIRE_ADMIN_ACTIVE &&
                   (int)BE_ACTIVITY_IDLE == (int)WIRE_ADMIN_IDLE &&
                   (int)BE_ACTIVITY_COLD == (int)WIRE_ADMIN_COLD &&
                   (int)BE_ACTIVITY_RECLAIMABLE == (int)WIRE_ADMIN_RECLAIMABLE,
               "the same states on the wire");

static bool
session_fill(struct be_gather *g, const struct be_worker *w, const struct be_board_view *view,
             const struct be_slot_view *slot)
{
    struct wire_admin_session *out = &g->answer->sessions[g->answer->session_count++];
    uint64_t now = gp_now_ns();
    struct be_session_state state;

    be_ledger_session(g->s->workers.ledger, w->slot, now, &state);
    out->activity = state.activity;
    out->id = view->session.id;
    out->worker = (uint32_t)w->pid;
    out->pid = view->session.client_pid;
    out->state = w->lingering ? WIRE_ADMIN_AWAY : WIRE_ADMIN_OPEN;
    out->opened_ms = view->session.opened_ms;
    out->monitor = view->session.monitor != 0;
    if (view->active_ns != 0 && view->active_ns < now)
        out->idle_ms = (now - view->active_ns) / GP_NS_PER_MS;
    snprintf(out->common_name, sizeof(out->common_name), "%s", view->session.common_name);
    snprintf(out->program, sizeof(out->program), "%s", view->session.program);
    snprintf(out->build, sizeof(out->build), "%s", view->session.build);
    snprintf(out->address, sizeof(out->address), "%s", view->session.address);
    snprintf(out->transport, sizeof(out->transport), "%s", be_way_text(view->way));
    for (int i = 0; i < BE_WAY_END; i++) {
        g->bytes[i].in += view->bytes[i].in;
        g->bytes[i].out += view->bytes[i].out;
    }
    if (slot->tenant != BE_TENANT_NONE &&
        be_ledger_tenant(g->s->workers.ledger, slot->tenant, g->tenant))
        snprintf(out->tenant, sizeof(out->tenant), "%s", g->tenant->policy.name);
    counters_fill(view->counts, &out->counters);
    return uses_fill(g, slot, out);
}

static bool
sessions_fill(struct be_gather *g)
{
    unsigned most = be_workers_total(&g->s->workers);
    struct be_board_view view;
    struct be_slot_view slot;

    g->answer->sessions = calloc(most + 1, sizeof(*g->answer->sessions));
    if (g->answer->sessions == NULL)
        return false;
    for (const struct be_worker *w = g->s->workers.list; w != NULL; w = w->next) {
        if (w->state != BE_WORKER_SERVING || !be_board_view(g->s->board, w->slot, &view) ||
            !be_ledger_slot_view(g->s->workers.ledger, w->slot, &slot))
            continue;
        if (!session_fill(g, w, &view, &slot))
            return false;
    }
    return true;
}

/* -- tenants ----------------------------------------------------------------------------------- */

static const char *
priority_text(enum be_priority priority)
{
    return priority == BE_PRIORITY_HIGH ? "high" : priority == BE_PRIORITY_LOW ? "low" : "normal";
}

/* Sum up the tenant's sessions. */
static bool
tenant_uses(struct be_gather *g, uint32_t index, struct wire_admin_tenant *out)
{
    struct wire_admin_answer *a = g->answer;

    out->uses = calloc(a->gpu_count + 1, sizeof(*out->uses));
    if (out->uses == NULL)
        return false;
    out->use_count = a->gpu_count;
    for (uint32_t d = 0; d < a->gpu_count; d++) {
        out->uses[d].gpu = d;
        out->uses[d].turn_ns = be_ledger_turn_ns(g->s->workers.ledger, index, d);
        a->gpus[d].turn_ns += out->uses[d].turn_ns;
    }
    for (uint32_t i = 0; i < a->session_count; i++) {
        const struct wire_admin_session *session = &a->sessions[i];
        const uint64_t *from = &session->counters.launches;
        uint64_t *to = &out->counters.launches;

        if (strcmp(session->tenant, out->name) != 0)
            continue;
        out->sessions += !session->monitor;
        for (size_t c = 0; c < sizeof(session->counters) / sizeof(uint64_t); c++)
            to[c] += from[c];
        for (uint32_t u = 0; u < session->use_count; u++) {
            struct wire_admin_use *use = &out->uses[session->uses[u].gpu];

            a->gpus[use->gpu].tenants += use->lease_bytes + use->other_bytes == 0;
            use->used_bytes += session->uses[u].used_bytes;
            use->lease_bytes += session->uses[u].lease_bytes;
            use->other_bytes += session->uses[u].other_bytes;
            use->paged_bytes += session->uses[u].paged_bytes;
        }
    }
    return true;
}

static bool
tenant_fill(struct be_gather *g, uint32_t index, struct wire_admin_tenant *out)
{
    const struct be_totals *totals = &g->s->totals[index];
    const struct be_policy *policy = &g->tenant->policy;

    if (index < BE_TENANTS_MAX) {
        snprintf(out->name, sizeof(out->name), "%s", policy->name);
        snprintf(out->priority, sizeof(out->priority), "%s", priority_text(policy->priority));
        out->gone = g->tenant->gone;
        out->share = policy->share;
        out->floor = policy->floor;
        out->force = policy->force;
        out->memory_bytes = policy->memory_bytes;
        out->memory_total_bytes = policy->memory_total_bytes;
        out->sessions_max = policy->sessions;
    }
    if (strcmp(totals->name, out->name) == 0) {
        out->sessions_ended = totals->sessions;
        counters_fill(totals->counts, &out->counters);
    }
    return tenant_uses(g, index, out);
}

static bool
tenants_fill(struct be_gather *g)
{
    struct wire_admin_answer *a = g->answer;

    a->tenants = calloc(BE_TENANTS_MAX + 1, sizeof(*a->tenants));
    if (a->tenants == NULL)
        return false;
    for (uint32_t i = 0; i < BE_TENANTS_MAX; i++)
        if (be_ledger_tenant(g->s->workers.ledger, i, g->tenant) &&
            !tenant_fill(g, i, &a->tenants[a->tenant_count++]))
            return false;
    /* Where there are none, sessions are nobody's. */
    return be_ledger_governed(g->s->workers.ledger) ||
           tenant_fill(g, BE_TENANTS_MAX, &a->tenants[a->tenant_count++]);
}

/* -- transports -------------------------------------------------------------------------------- */

static bool
transports_fill(struct be_gather *g)
{
    struct wire_admin_answer *a = g->answer;

    a->transports = calloc(BE_WAY_END, sizeof(*a->transports));
    if (a->transports == NULL)
        return false;
    for (int i = 0; i < BE_WAY_END; i++) {
        struct wire_admin_transport *out = &a->transports[a->transport_count];

        out->bytes_in = g->s->bytes[i].in + g->bytes[i].in;
        out->bytes_out = g->s->bytes[i].out + g->bytes[i].out;
        if (out->bytes_in == 0 && out->bytes_out == 0)
            continue;
        snprintf(out->name, sizeof(out->name), "%s", be_way_text((enum be_way)i));
        a->transport_count++;
    }
    return true;
}

bool
be_operate_state(struct be_supervisor *s, uint32_t parts, struct wire_admin_answer *answer)
{
    GP_AUTO_FREE struct be_gather *g = calloc(1, sizeof(*g));
    GP_AUTO_FREE struct be_tenant_state *tenant = calloc(1, sizeof(*tenant));

    if (g == NULL || tenant == NULL)
        return false;
    g->s = s;
    g->tenant = tenant;
    g->answer = answer;
    if (!be_board_driver(s->board, &g->driver))
        memset(&g->driver, 0, sizeof(g->driver));
    server_fill(g);
    /* GPUs' sums come from sessions, their tenants' from tenants. */
    return parts == 0 || parts == WIRE_ADMIN_SERVER ||
           (gpus_fill(g) && sessions_fill(g) && tenants_fill(g) && transports_fill(g));
}
