/* backend/memory/exports.h -- memory of this session for others of its tenant, and theirs for it
 *
 * Threads: the session's executor. Locks: space.lock (rank 10).
 * Hostile input: addresses; and offers, which another process made.
 */
#ifndef BE_EXPORTS_H
#define BE_EXPORTS_H

#include "backend/memory/phys.h"
#include "backend/memory/share.h"

/* An offer of the allocation that begins at address; the caller's. */
CUresult be_space_export(struct be_space *space, uint64_t address, struct be_offer *offer_p);
/* Map what is offered at an address of the client's; it is freed as an allocation is. reader: the
 * device that reaches it besides its own. The offer stays the caller's. */
CUresult be_space_import(struct be_space *space, uint64_t address, const struct be_offer *offer,
                         uint32_t context, int32_t reader);
/* Whether an allocation begins there that is not being freed. */
bool be_space_live(struct be_space *space, uint64_t address);

/* INVALID_VALUE for an object that was not made for it. */
CUresult be_phys_export(struct be_space *space, struct be_phys *phys, struct be_offer *offer_p);
CUresult be_phys_import(struct be_space *space, const struct be_offer *offer,
                        struct be_phys **phys_p);

#endif
