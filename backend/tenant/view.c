/* backend/tenant/view.c */
#include "backend/tenant/view.h"

#include "backend/tenant/segment.h"
#include "protocol/base/util.h"

bool
be_ledger_slot_view(struct be_ledger *ledger, unsigned slot, struct be_slot_view *view_p)
{
    const struct be_slot *from;
    uint32_t tenant;

    if (slot >= BE_LEDGER_SLOTS)
        return false;
    from = &ledger->segment->slots[slot];
    if (!atomic_load(&from->taken))
        return false;
    tenant = atomic_load(&from->tenant);
    view_p->tenant = tenant != 0 && tenant <= BE_TENANTS_MAX ? tenant - 1 : BE_TENANT_NONE;
    view_p->looks = atomic_load(&from->looks) != 0;
    for (unsigned d = 0; d < BE_LEDGER_DEVICES; d++) {
        view_p->use[d].lease = atomic_load(&from->device[d].lease);
        view_p->use[d].used = atomic_load(&from->device[d].used);
        view_p->use[d].other = atomic_load(&from->device[d].other);
        /* Between two stores of its worker it may look as if it had more than it was promised. */
        if (view_p->use[d].used > view_p->use[d].lease)
            view_p->use[d].used = view_p->use[d].lease;
        view_p->use[d].away = gp_min_u64(atomic_load(&from->device[d].away), view_p->use[d].used);
    }
    return true;
}

uint64_t
be_ledger_turn_ns(struct be_ledger *ledger, uint32_t tenant, unsigned device)
{
    struct be_segment_turns *t;
    uint64_t ns;

    if (tenant >= BE_TENANTS_MAX || device >= BE_LEDGER_DEVICES)
        return 0;
    t = &ledger->segment->turns[device];
    be_robust_lock(&t->lock);
    ns = t->fair.groups[tenant].service_ns;
    pthread_mutex_unlock(&t->lock);
    return ns;
}
