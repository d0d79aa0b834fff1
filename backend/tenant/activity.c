/* backend/tenant/activity.c -- which sessions work and which do not */
#include "backend/tenant/segment.h"
#include "protocol/base/util.h"

#include <string.h>

#define ACTIVE_NS 1000000000ull
#define COLD_NS   120000000000ull

static enum be_activity
activity_of(const struct be_slot *slot, uint64_t idle_ns)
{
    if (atomic_load(&slot->tenant) == 0)
        return BE_ACTIVITY_NONE;
    if (atomic_load(&slot->told))
        return BE_ACTIVITY_RECLAIMABLE;
    if (idle_ns != 0 && idle_ns < ACTIVE_NS)
        return BE_ACTIVITY_ACTIVE;
    return idle_ns != 0 && idle_ns < COLD_NS ? BE_ACTIVITY_IDLE : BE_ACTIVITY_COLD;
}

void
be_ledger_session(struct be_ledger *ledger, unsigned slot, uint64_t now_ns,
                  struct be_session_state *state_p)
{
    const struct be_segment *g = ledger->segment;
    uint32_t tenant;
    uint64_t last;

    memset(state_p, 0, sizeof(*state_p));
    if (slot >= BE_LEDGER_SLOTS)
        return;
    be_segment_lock(ledger->segment);
    tenant = atomic_load(&g->slots[slot].tenant);
    last = atomic_load(&g->slots[slot].work_ns);
    if (last != 0)
        state_p->idle_ns = gp_max_u64(1, now_ns > last ? now_ns - last : 0);
    state_p->activity = activity_of(&g->slots[slot], state_p->idle_ns);
    if (tenant != 0)
        memcpy(state_p->tenant, g->tenants[tenant - 1].policy.name, sizeof(state_p->tenant));
    for (unsigned d = 0; tenant != 0 && d < BE_LEDGER_DEVICES; d++)
        state_p->held_bytes[d] = atomic_load(&g->slots[slot].device[d].used) +
                                 atomic_load(&g->slots[slot].device[d].other);
    be_segment_unlock(ledger->segment);
}

const char *
be_activity_name(enum be_activity activity)
{
    static const char *const names[] = {"none", "active", "idle", "cold", "reclaimable"};

    return (unsigned)activity < GP_ARRAY_LEN(names) ? names[activity] : "?";
}
