/* backend/tenant/turns.c */
#include "backend/tenant/turns.h"

#include "backend/tenant/segment.h"
#include "protocol/base/clock.h"

static struct be_segment_turns *
turns_lock(struct be_ledger *ledger, unsigned device)
{
    struct be_segment_turns *t = &ledger->segment->turns[device];

    be_robust_lock(&t->lock);
    return t;
}

static void
turns_unlock(struct be_segment_turns *t)
{
    atomic_store_explicit(&t->only, t->fair.only, memory_order_release);
    pthread_mutex_unlock(&t->lock);
}

static void
slot_wake(struct be_ledger *ledger, uint32_t slot)
{
    be_word_ring(&ledger->segment->slots[slot].word);
}

/* What be_fair_enter() and be_fair_drained() say of others. */
static void
picked_wake(struct be_ledger *ledger, uint32_t picked)
{
    if (picked == BE_FAIR_NONE)
        return;
    if (picked != BE_FAIR_ALL) {
        slot_wake(ledger, picked);
        return;
    }
    for (uint32_t i = 0; i < BE_LEDGER_SLOTS && i < ledger->segment->slot_end; i++)
        slot_wake(ledger, i);
}

static uint32_t
own_tenant(const struct be_ledger *ledger)
{
    return ledger->slot < BE_LEDGER_SLOTS
               ? atomic_load(&ledger->segment->slots[ledger->slot].tenant)
               : 0;
}

static bool
takes_part(const struct be_ledger *ledger, unsigned device)
{
    return ledger != NULL && device < BE_LEDGER_DEVICES && own_tenant(ledger) != 0;
}

/* -- who is there ------------------------------------------------------------------------------ */

void
be_turns_init(struct be_ledger *ledger)
{
    for (unsigned d = 0; d < BE_LEDGER_DEVICES; d++)
        be_robust_init(&ledger->segment->turns[d].lock);
}

static void
rights_fill(const struct be_policy *policy, struct be_fair_rights *rights)
{
    *rights = (struct be_fair_rights){.share = policy->share,
                                      .floor = policy->floor,
                                      .priority = policy->priority,
                                      .force = policy->force,
                                      .measured = policy->max_kernel_ns != 0};
}

/* The segment's lock is held. */
void
be_turns_set_rights(struct be_ledger *ledger)
{
    struct be_fair_rights rights;

    for (unsigned d = 0; d < BE_LEDGER_DEVICES; d++) {
        struct be_segment_turns *t = turns_lock(ledger, d);

        for (uint32_t i = 0; i < BE_TENANTS_MAX; i++) {
            if (!ledger->segment->tenants[i].known)
                continue;
            rights_fill(&ledger->segment->tenants[i].policy, &rights);
            be_fair_set_rights(&t->fair, i, &rights, gp_now_ns());
        }
        turns_unlock(t);
    }
}

void
be_turns_attach(struct be_ledger *ledger, unsigned device)
{
    struct be_segment_turns *t;

    if (!takes_part(ledger, device))
        return;
    t = turns_lock(ledger, device);
    be_fair_attach(&t->fair, ledger->slot, own_tenant(ledger) - 1, gp_now_ns());
    turns_unlock(t);
}

static void
detach(struct be_ledger *ledger, unsigned device, unsigned slot)
{
    struct be_segment_turns *t = turns_lock(ledger, device);
    bool there = t->fair.members[slot].group != 0;

    if (there)
        be_fair_detach(&t->fair, slot);
    turns_unlock(t);
    if (there)
        picked_wake(ledger, BE_FAIR_ALL);
}

void
be_turns_detach(struct be_ledger *ledger, unsigned device)
{
    if (takes_part(ledger, device))
        detach(ledger, device, ledger->slot);
}

void
be_turns_slot_gone(struct be_ledger *ledger, unsigned slot)
{
    for (unsigned d = 0; d < BE_LEDGER_DEVICES; d++)
        if (ledger->segment->devices[d].total_bytes != 0)
            detach(ledger, d, slot);
}

/* -- turns ------------------------------------------------------------------------------------- */

bool
be_turns_alone(struct be_ledger *ledger, unsigned device)
{
    if (ledger == NULL || device >= BE_LEDGER_DEVICES)
        return true;
    if (atomic_load_explicit(&ledger->segment->turns[device].only, memory_order_acquire) ==
        ledger->slot + 1)
        return true;
    return own_tenant(ledger) == 0;
}

const atomic_uint *
be_turns_only(const struct be_ledger *ledger, unsigned device, unsigned *own_p)
{
    static const atomic_uint nobody;

    *own_p = 0;
    if (!takes_part(ledger, device))
        return &nobody;
    *own_p = ledger->slot + 1;
    return &ledger->segment->turns[device].only;
}

enum be_fair_verdict
be_turns_enter(struct be_ledger *ledger, unsigned device, uint64_t est_ns, uint64_t under_way_ns,
               uint64_t *until_p, uint64_t *window_p)
{
    struct be_segment_turns *t = turns_lock(ledger, device);
    enum be_fair_verdict verdict;
    uint32_t picked;

    verdict =
        be_fair_enter(&t->fair, ledger->slot, est_ns, under_way_ns, gp_now_ns(), &picked, until_p);
    *window_p = be_fair_window(&t->fair, ledger->slot);
    turns_unlock(t);
    picked_wake(ledger, picked);
    return verdict;
}

void
be_turns_leave(struct be_ledger *ledger, unsigned device)
{
    struct be_segment_turns *t = turns_lock(ledger, device);

    be_fair_leave(&t->fair, ledger->slot);
    turns_unlock(t);
}

void
be_turns_begun(struct be_ledger *ledger, unsigned device)
{
    struct be_segment_turns *t = turns_lock(ledger, device);

    be_fair_begun(&t->fair, ledger->slot, gp_now_ns());
    turns_unlock(t);
}

void
be_turns_charge(struct be_ledger *ledger, unsigned device, uint64_t est_ns, uint64_t busy_ns)
{
    struct be_segment_turns *t = turns_lock(ledger, device);

    be_fair_charge(&t->fair, ledger->slot, est_ns, busy_ns, gp_now_ns());
    turns_unlock(t);
}

void
be_turns_charge_beside(struct be_ledger *ledger, unsigned device, uint64_t busy_ns, bool in_turn)
{
    struct be_segment_turns *t = turns_lock(ledger, device);

    be_fair_charge_beside(&t->fair, ledger->slot, busy_ns, in_turn, gp_now_ns());
    turns_unlock(t);
}

void
be_turns_drained(struct be_ledger *ledger, unsigned device)
{
    struct be_segment_turns *t = turns_lock(ledger, device);
    uint32_t picked = be_fair_drained(&t->fair, ledger->slot, gp_now_ns());

    turns_unlock(t);
    picked_wake(ledger, picked);
}

bool
be_turns_stalled(struct be_ledger *ledger, unsigned device, uint64_t since_ns)
{
    struct be_segment_turns *t = turns_lock(ledger, device);
    uint32_t picked;
    bool holds = be_fair_stalled(&t->fair, ledger->slot, since_ns, gp_now_ns(), &picked);

    turns_unlock(t);
    picked_wake(ledger, picked);
    return holds;
}

/* -- sleeping ---------------------------------------------------------------------------------- */

uint32_t
be_turns_word(const struct be_ledger *ledger)
{
    return atomic_load(&ledger->segment->slots[ledger->slot].word);
}

void
be_turns_await(struct be_ledger *ledger, uint32_t seen, uint64_t until_ns)
{
    be_word_await(&ledger->segment->slots[ledger->slot].word, seen, until_ns);
}

void
be_turns_wake(struct be_ledger *ledger)
{
    be_word_ring(&ledger->segment->slots[ledger->slot].word);
}
