/* backend/memory/space.h -- the session's device memory: a reserved range, physical memory behind
 *
 * The client names addresses inside the range and stays within a lease of bytes for each device.
 * A freed allocation keeps its memory until the work that was queued before is done: the reaper
 * thread synchronises the context, unmaps, and tells (freed callback).
 *
 * Threads: _alloc, _free, _ask and _drop_context from the session's executor; _mapped from any.
 * Locks:   space.lock (rank 10), never held across a driver call that waits.
 */
#ifndef BE_SPACE_H
#define BE_SPACE_H

#include "backend/driver/driver.h"
#include "backend/tenant/ledger.h"
#include "protocol/base/status.h"
#include "transport/kept.h"

#include <stdbool.h>
#include <stdint.h>

struct be_space;

#define BE_FREED_BATCH 1024 /* as gpNoticeFreed takes */

/* To be_space_ask(). */
struct be_space_answer {
    uint64_t granted_bytes;           /* more of the lease */
    uint64_t free_bytes, total_bytes; /* of the device */
};

/* From the reaper's thread. */
struct be_space_events {
    void *user;
    void (*freed)(void *user, int32_t device, const uint64_t *addresses, uint32_t count);
    void (*answered)(void *user, uint64_t ticket, CUresult cr,
                     const struct be_space_answer *answer);
};

/*
 * Reserve bytes of addresses, near base_hint if that is not 0, and start the reaper.
 *
 * Errors: logged; GP_ERR_NOT_SUPPORTED if no device has virtual memory management, GP_ERR_IO if
 *         the driver has no such range free.
 */
GP_CHECK enum gp_status be_space_create(const struct be_driver *driver, uint64_t base_hint,
                                        uint64_t bytes, const struct be_space_events *events,
                                        struct be_space **space_p);
/* Unmaps everything and gives the range back; nothing may run on the devices any more. */
void be_space_destroy(struct be_space *space);

uint64_t be_space_base(const struct be_space *space);
uint64_t be_space_bytes(const struct be_space *space);
uint64_t be_space_granularity(const struct be_space *space);
/* Leases come out of this one from now on; before anything else. Borrowed, NULL: of no limits. */
void be_space_set_ledger(struct be_space *space, struct be_ledger *ledger);
/* Fill memory with zeros before the client gets it; before anything else. */
void be_space_set_scrub(struct be_space *space, bool scrub);
/* Physical memory is made so that other devices may reach it, where the driver can; before anything
 * else. */
void be_space_set_direct(struct be_space *space, bool direct);
/* The lease a device begins with, without a ledger; before the first allocation only. */
void be_space_set_lease(struct be_space *space, int32_t device, uint64_t bytes);
/* Grow the lease by up to bytes, at once; what was granted. free_bytes: of the device, now. */
uint64_t be_space_lease(struct be_space *space, int32_t device, uint64_t bytes,
                        uint64_t free_bytes);
/* The client gives back; INVALID_VALUE for what it does not have unused. Executor. */
CUresult be_space_lease_return(struct be_space *space, int32_t device, uint64_t bytes);
/* Any thread: the unused part of the lease. */
uint64_t be_space_lease_unused(struct be_space *space, int32_t device);
/* Any thread: take from the unused part of the lease what stands over the tenant's quota. */
void be_space_lease_cut(struct be_space *space, int32_t device);
uint64_t be_space_used(struct be_space *space, int32_t device);

/* INVALID_VALUE for an address that is not the client's to name, OUT_OF_MEMORY over the lease or
 * when the driver has no memory; nothing is changed then. */
CUresult be_space_alloc(struct be_space *space, uint64_t address, uint64_t bytes, int32_t device,
                        uint32_t context);
/* Count what the driver itself allocates for the client (arrays); OUT_OF_MEMORY over the lease.
 * Any thread. */
CUresult be_space_charge(struct be_space *space, int32_t device, uint64_t bytes);
void be_space_uncharge(struct be_space *space, int32_t device, uint64_t bytes);
/* Queue for the reaper. sync is the context whose work has to be done before. */
CUresult be_space_free(struct be_space *space, uint64_t address, CUcontext sync);
/* Ask for bytes more of lease, and how much is free; events.answered says it, once the frees before
 * are done. context is one of the device, or NULL. */
CUresult be_space_ask(struct be_space *space, int32_t device, uint64_t bytes, CUcontext context,
                      uint64_t ticket);
/* Wait for the reaper to have nothing left to do, then free what belongs to context (UINT32_MAX:
 * to any) at once. The caller knows that no work of the context runs. */
void be_space_drop_context(struct be_space *space, uint32_t context);
/* Wait until no queued free needs a context any more. */
void be_space_settle(struct be_space *space);

/* The memory of device `of` opens to device `to`, or closes when as often as it opened; what is
 * allocated later too. */
CUresult be_space_peer(struct be_space *space, int32_t of, int32_t to, bool on);
/* One allocation opens to these devices besides, a bit for each; granules that it shares go with
 * it. INVALID_VALUE for what is no allocation, INVALID_DEVICE. */
CUresult be_space_open(struct be_space *space, uint64_t address, uint64_t readable,
                       uint64_t writable);

bool be_space_inside(const struct be_space *space, uint64_t address, uint64_t bytes);
/* True if allocations of this session alone are all of it, with their memory on the device. */
bool be_space_own(struct be_space *space, uint64_t address, uint64_t bytes);
/* The same, and all of it is on the list of memory that lines' devices may be told of by device,
 * until it is unmapped. *device_p: whose it is; false too where it is not one device's. */
bool be_space_tell(struct be_space *space, uint64_t address, uint64_t bytes,
                   const struct tp_device_memory *memory, int32_t *device_p);
/* Whose memory is there; -1: nobody's. */
int32_t be_space_device(struct be_space *space, uint64_t address);
/* True if physical memory is behind all of it. */
bool be_space_mapped(struct be_space *space, uint64_t address, uint64_t bytes);

#endif
