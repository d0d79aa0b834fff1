/* backend/tenant/host.c -- what sessions have of the host's memory and of the disk, for paging */
#include "backend/tenant/segment.h"

static uint64_t
sum_of(uint64_t a, uint64_t b)
{
    return a > UINT64_MAX - b ? UINT64_MAX : a + b;
}

void
be_ledger_set_host(struct be_ledger *ledger, uint64_t host_bytes, uint64_t spilled_bytes)
{
    if (ledger == NULL || ledger->slot >= BE_LEDGER_SLOTS)
        return;
    atomic_store(&ledger->segment->slots[ledger->slot].host, host_bytes);
    atomic_store(&ledger->segment->slots[ledger->slot].spilled, spilled_bytes);
}

static uint64_t
slots_sum(const struct be_segment *g, bool spilled)
{
    uint64_t sum = 0;

    for (unsigned i = 0; i < g->slot_end; i++)
        if (atomic_load(&g->slots[i].taken))
            sum = sum_of(sum, spilled ? atomic_load(&g->slots[i].spilled)
                                      : atomic_load(&g->slots[i].host));
    return sum;
}

bool
be_ledger_host_full(const struct be_ledger *ledger)
{
    return ledger != NULL && ledger->segment->arena_bytes != 0 &&
           slots_sum(ledger->segment, false) > ledger->segment->arena_bytes;
}

bool
be_ledger_spill_left(const struct be_ledger *ledger, uint64_t bytes)
{
    return ledger != NULL &&
           sum_of(slots_sum(ledger->segment, true), bytes) <= ledger->segment->spill_bytes;
}

void
be_ledger_set_spill_bad(struct be_ledger *ledger, bool bad)
{
    if (ledger != NULL)
        atomic_store(&ledger->segment->spill_bad, bad);
}
