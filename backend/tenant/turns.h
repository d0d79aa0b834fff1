/* backend/tenant/turns.h -- whose turn it is on each device, for all workers of a server
 *
 * The state of backend/sched/fair.h in the ledger's memory, a robust mutex for each device around
 * it, and a word for each slot that its worker sleeps on. Sessions without a tenant take no part.
 *
 * Threads: any, of any process. Locks: the device's (rank 61), held for no call out of here.
 */
#ifndef BE_TURNS_H
#define BE_TURNS_H

#include "backend/sched/fair.h"
#include "backend/tenant/ledger.h"

#include <stdatomic.h>

/* This worker's session may work on device from now on; nothing without a tenant. */
void be_turns_attach(struct be_ledger *ledger, unsigned device);
void be_turns_detach(struct be_ledger *ledger, unsigned device);

/* True if the session need not ask: nobody else works there, or it takes no part. */
bool be_turns_alone(struct be_ledger *ledger, unsigned device);
/* The word that says so where it is *own_p, for who looks before each call. */
const atomic_uint *be_turns_only(const struct be_ledger *ledger, unsigned device, unsigned *own_p);

/* As be_fair_enter(); who got the turn instead is woken. *window_p: how much may be under way. */
enum be_fair_verdict be_turns_enter(struct be_ledger *ledger, unsigned device, uint64_t est_ns,
                                    uint64_t under_way_ns, uint64_t *until_p, uint64_t *window_p);
void be_turns_leave(struct be_ledger *ledger, unsigned device);
void be_turns_begun(struct be_ledger *ledger, unsigned device);
void be_turns_charge(struct be_ledger *ledger, unsigned device, uint64_t est_ns, uint64_t busy_ns);
/* As be_fair_charge_beside(). */
void be_turns_charge_beside(struct be_ledger *ledger, unsigned device, uint64_t busy_ns,
                            bool in_turn);
void be_turns_drained(struct be_ledger *ledger, unsigned device);
/* As be_fair_stalled(). */
bool be_turns_stalled(struct be_ledger *ledger, unsigned device, uint64_t since_ns);

/* Sleep until the word is no longer seen, or until a time. */
uint32_t be_turns_word(const struct be_ledger *ledger);
void be_turns_await(struct be_ledger *ledger, uint32_t seen, uint64_t until_ns);
/* Wake who sleeps so in this worker. */
void be_turns_wake(struct be_ledger *ledger);

/* For the ledger: a slot's process is gone; policies changed. */
void be_turns_slot_gone(struct be_ledger *ledger, unsigned slot);
void be_turns_set_rights(struct be_ledger *ledger);
void be_turns_init(struct be_ledger *ledger);

#endif
