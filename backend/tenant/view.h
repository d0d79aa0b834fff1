/* backend/tenant/view.h -- the ledger as an operator sees it: slot by slot; changes nothing
 *
 * Threads: the supervisor's. Slots are read word by word, without a lock; turns under theirs (61).
 */
#ifndef BE_TENANT_VIEW_H
#define BE_TENANT_VIEW_H

#include "backend/tenant/ledger.h"

struct be_slot_use {
    uint64_t lease, used, other;
    uint64_t away; /* of used: not on the device now */
};

struct be_slot_view {
    uint32_t tenant; /* index for be_ledger_tenant(); BE_TENANT_NONE */
    bool looks;      /* only a monitor */
    struct be_slot_use use[BE_LEDGER_DEVICES];
};

/* False where nobody has the slot. */
bool be_ledger_slot_view(struct be_ledger *ledger, unsigned slot, struct be_slot_view *view_p);
/* What the device worked for this tenant, as far as it was charged: while several wanted it. */
uint64_t be_ledger_turn_ns(struct be_ledger *ledger, uint32_t tenant, unsigned device);

#endif
