/* backend/memory/space_priv.h -- the inside of a space, for the files of this folder */
#ifndef BE_SPACE_PRIV_H
#define BE_SPACE_PRIV_H

#include "backend/memory/granules.h"
#include "backend/memory/phys.h"
#include "backend/memory/space.h"
#include "backend/memory/swap.h"
#include "protocol/base/util.h"

#include <pthread.h>
#include <stdatomic.h>

/* One entry of the reaper's queue: a free, or a question. */
struct be_reap {
    uint64_t address; /* 0: a question */
    uint64_t bytes;
    uint64_t ticket;
    int32_t device;
    CUcontext sync;
    struct be_reap *next;
};

struct be_space_device {
    uint64_t lease_bytes; /* what the client may have */
    uint64_t used_bytes;  /* of that, allocated, frees that wait included */
    uint64_t out_bytes;   /* of those, not on the device now */
    uint64_t fixed_bytes; /* of those, never paged */
    uint64_t held_bytes;  /* room that we have on the device: be_room_member.held_bytes */
    uint16_t usage;       /* CU_MEM_CREATE_USAGE_* of its allocations; written once */
    bool direct;          /* they are made for other devices too; written once */
    uint64_t peers;       /* devices that its allocations are open to, a bit for each */
    uint32_t peer_counts[BE_DRIVER_DEVICES_MAX];
};

struct be_space {
    /* Written once before the reaper starts. */
    const struct be_driver *driver;
    struct be_space_events events;
    struct be_ledger *ledger; /* may be NULL */
    struct be_board_row *row; /* likewise: counts what paging moves */
    bool scrub;               /* fresh memory is filled with zeros */
    /* Calls that may reach any memory were let in: so often, and by when all of them were done. */
    atomic_uint_least64_t reach, quiet;
    uint64_t base, bytes, granularity;
    pthread_t reaper;

    pthread_mutex_t lock; /* rank 10 */
    pthread_cond_t wake;  /* the reaper: work or end */
    pthread_cond_t idle;  /* others: the reaper has nothing left */
    pthread_cond_t still; /* nothing moves, or who wanted that has gone on */

    /* Guarded by lock. */
    struct be_granules *map;
    struct be_space_device devices[BE_DRIVER_DEVICES_MAX];
    struct be_phys *objects;     /* the client's own */
    struct be_phys *next_object; /* of who moves them: where it goes on */
    struct be_reap *head, **tail;
    unsigned queued;
    bool busy, stop;
    struct be_stash *stash; /* NULL: nothing is paged */
    unsigned moving;        /* extents on their way */
    unsigned still_wanted;  /* those who wait for none to be */

    /* Of who pages; for tests. */
    unsigned fault_every;
    uint64_t dice;
};

static inline uint64_t
be_extent_address(const struct be_space *space, const struct be_extent *extent)
{
    return space->base + extent->first * space->granularity;
}

static inline uint64_t
be_extent_bytes(const struct be_space *space, const struct be_extent *extent)
{
    return extent->count * space->granularity;
}

/* What of the lease has no physical memory behind it; with the lock held. */
static inline uint64_t
be_space_unused(const struct be_space_device *d)
{
    return d->lease_bytes - gp_min_u64(d->lease_bytes, d->used_bytes);
}

/* With the lock held: physical memory of a lease comes and goes; the ledger hears it. */
void be_space_use(struct be_space *space, int32_t device, uint64_t more, uint64_t less);
/* With the lock held: so much of it left the device, or was never there, and is there or gone. */
void be_space_away(struct be_space *space, int32_t device, uint64_t more, uint64_t less);
/* With the lock held: room on the device for bytes more of ours; false: there is none now. */
bool be_space_room(struct be_space *space, int32_t device, uint64_t bytes);
/* With the lock held: so much of what is on the device is gone from it. */
void be_space_vacate(struct be_space *space, int32_t device, uint64_t bytes);
/* With the lock held: bytes of what is used, or will be, cannot be paged; false: others could not
 * run any more. And they are no longer used, or can. */
bool be_space_fix(struct be_space *space, int32_t device, uint64_t bytes);
void be_space_unfix(struct be_space *space, int32_t device, uint64_t bytes);
/* Physical memory behind an extent of an allocation; the driver's handle. */
CUresult be_space_back(struct be_space *space, const struct be_extent *extent,
                       CUmemGenericAllocationHandle *handle_p);
/* With the lock held, until nothing is on its way; swap.c. */
void be_swap_still(struct be_space *space);
/* Of who moves: this step shall fail, for a test. */
bool be_swap_fault(struct be_space *space);
/* So much went one way or the other: for who plans it, and for the operator. */
void be_swap_moved(struct be_space *space, int32_t device, bool in, uint64_t bytes, uint64_t ns);
/* Room for so much that is not there yet, with the lock held. */
uint64_t be_swap_room(const struct be_space *space, int32_t device);
/* What is kept is in a block. */
CUresult be_swap_fetch(struct be_space *space, struct be_kept *kept);

/* The driver lets devices at what is mapped: those named get what the other masks say. access.c */
CUresult be_access_set(struct be_space *space, uint64_t address, uint64_t bytes,
                       const struct be_access *access);
/* What an extent of an allocation is open to: its device, that one's peers, its own list. */
CUresult be_access_extent(struct be_space *space, const struct be_extent *extent);
/* ... though the books say that it is not on the device. */
CUresult be_access_apply(struct be_space *space, const struct be_extent *extent);

/* With the lock held: before it is unmapped, devices of lines give it back. */
void be_space_untell(struct be_space *space, struct be_extent *extent);
/* be_extent_gone_fn: unmaps and releases what is behind an extent; user is the space. */
void be_space_extent_gone(void *user, struct be_extent *extent);

/* phys.c, for exports.c. */
CUmemGenericAllocationHandle be_phys_driver_handle(const struct be_phys *phys);
uint32_t be_phys_handle_types(const struct be_phys *phys);
int32_t be_phys_device(const struct be_phys *phys);
uint64_t be_phys_bytes(const struct be_phys *phys);
/* space.lock is held: it stays on the device from now on, where it is; OUT_OF_MEMORY: others could
 * not run any more. */
CUresult be_phys_stay(struct be_space *space, struct be_phys *phys);
/* An object around a handle of the driver that was imported: not charged. */
CUresult be_phys_adopt(struct be_space *space, CUmemGenericAllocationHandle handle, uint64_t bytes,
                       int32_t device, uint32_t handle_types, struct be_phys **phys_p);

/* Unmaps and releases all of the client's own objects; phys.c, at the end. */
void be_phys_drop_all(struct be_space *space);

#endif
