/* backend/tenant/host.c -- what sessions have of the host's memory and of the disk, for paging */
#include "backend/tenant/segment.h"

static uint64_t
sum_of(uint64_t a, uint64_t b)
{
    return a > UINT64_MAX - b ? UINT64_MAX : a + b;
}

void
be_ledger_set_host(struct be_ledger *ledger, const struct be_aside *host)
{
    struct be_slot *slot;

    if (ledger == NULL || ledger->slot >= BE_LEDGER_SLOTS)
        return;
    slot = &ledger->segment->slots[ledger->slot];
    atomic_store(&slot->host, host->bytes);
    atomic_store(&slot->spilled, host->spilled_bytes);
    atomic_store(&slot->packed, host->packed_bytes);
}

void
be_ledger_aside(const struct be_ledger *ledger, struct be_aside *host_p)
{
    const struct be_segment *g = ledger->segment;

    *host_p = (struct be_aside){0};
    for (unsigned i = 0; i < g->slot_end; i++) {
        const struct be_slot *slot = &g->slots[i];

        if (!atomic_load(&slot->taken))
            continue;
        host_p->bytes = sum_of(host_p->bytes, atomic_load(&slot->host));
        host_p->spilled_bytes = sum_of(host_p->spilled_bytes, atomic_load(&slot->spilled));
        host_p->packed_bytes = sum_of(host_p->packed_bytes, atomic_load(&slot->packed));
    }
}

bool
be_ledger_host_full(const struct be_ledger *ledger)
{
    struct be_aside host;

    if (ledger == NULL || ledger->segment->arena_bytes == 0)
        return false;
    be_ledger_aside(ledger, &host);
    return host.bytes > ledger->segment->arena_bytes;
}

bool
be_ledger_spill_left(const struct be_ledger *ledger, uint64_t bytes)
{
    struct be_aside host;

    if (ledger == NULL)
        return false;
    be_ledger_aside(ledger, &host);
    return sum_of(host.spilled_bytes, bytes) <= ledger->segment->spill_bytes;
}

void
be_ledger_set_spill_bad(struct be_ledger *ledger, bool bad)
{
    if (ledger != NULL)
        atomic_store(&ledger->segment->spill_bad, bad);
}
