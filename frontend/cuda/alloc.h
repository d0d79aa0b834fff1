/* frontend/cuda/alloc.h -- addresses of device memory, chosen by the client
 *
 * The session has one range of device addresses; both sides keep it. Allocations of at least
 * half a granule get whole granules, smaller ones share granules ("slabs") in units of
 * FE_ALLOC_UNIT bytes. Physical memory is counted in granules against a lease per device.
 *
 * A freed block keeps its address and its part of the lease until fe_alloc_reuse(): the server
 * may still have work queued that uses it.
 *
 * Units:   bytes, addresses.
 * Threads: any; one lock inside, held for no call out of here.
 */
#ifndef FE_ALLOC_H
#define FE_ALLOC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FE_ALLOC_UNIT        512u
#define FE_ALLOC_GRANULE_MIN (2u << 20)
#define FE_ALLOC_DEVICES_MAX 64

struct fe_alloc;

enum fe_block_kind {
    FE_BLOCK_PLAIN,
    FE_BLOCK_MAPPED, /* by the program, with cuMemMap */
    FE_BLOCK_POOL,   /* of the memory pool that is its object */
    FE_BLOCK_IPC,    /* of another program, opened here; not charged */
};

/* What is known of one allocation. */
struct fe_block {
    enum fe_block_kind kind;
    uint64_t base;
    uint64_t bytes;    /* as the program asked for */
    uint64_t capacity; /* what it may grow to; rounded up to whole units */
    uint64_t id;       /* never used twice in a process */
    const void *owner; /* the context it was made in; only compared */
    int device;
    bool multicast; /* MAPPED: for multimem instructions only */
    bool sync_memops; /* CU_POINTER_ATTRIBUTE_SYNC_MEMOPS */

    bool idle;    /* in its pool's hand: no address of the program */
    void *object; /* the pool, or what is mapped; only compared */

    /* Of a mapping. */
    uint64_t offset;             /* in it */
    uint64_t readable, writable; /* a bit for each device of the program */
};

enum fe_alloc_result {
    FE_ALLOC_OK,
    FE_ALLOC_LEASE,     /* the lease lacks *need_p bytes */
    FE_ALLOC_ADDRESSES, /* no gap of this length in the range */
    FE_ALLOC_MEMORY,    /* no host memory for the book-keeping */
};

/* granule: physical memory comes in multiples of it, a power of two. NULL without memory. */
struct fe_alloc *fe_alloc_create(uint64_t base, uint64_t bytes, uint64_t granule);
void fe_alloc_destroy(struct fe_alloc *a);

/* The lease of a device grows by bytes. */
void fe_alloc_grant(struct fe_alloc *a, int device, uint64_t bytes);

/* The lease of a device loses what no block is charged for; how much that is. */
uint64_t fe_alloc_shrink(struct fe_alloc *a, int device);

/* A new block as *block says (kind, bytes > 0, device, owner, object), which gets its base and id;
 * *need_p is set with FE_ALLOC_LEASE only. */
enum fe_alloc_result fe_alloc_take(struct fe_alloc *a, struct fe_block *block, uint64_t *need_p);
/* A block that begins offset bytes into a run of whole granules and is not charged. */
enum fe_alloc_result fe_alloc_take_run(struct fe_alloc *a, struct fe_block *block,
                                       uint64_t granules, uint64_t offset);
/* The block was never sent: take it back at once. */
void fe_alloc_untake(struct fe_alloc *a, uint64_t base);
/* The program frees the block that begins at base; false if there is none. */
bool fe_alloc_free(struct fe_alloc *a, uint64_t base);
/* The server says that a freed block is gone; unknown addresses are ignored. */
void fe_alloc_reuse(struct fe_alloc *a, uint64_t base);
/* The live blocks of a context that ended, once its end was sent: the server frees them before it
 * reads on, so that their addresses may be used again at once. gone (may be NULL) is told of each,
 * under the lock. */
typedef void (*fe_block_fn)(void *user, const struct fe_block *block);
void fe_alloc_drop_owner(struct fe_alloc *a, const void *owner, fe_block_fn gone, void *user);
/* Each live block, idle ones too, under the lock. */
void fe_alloc_each(struct fe_alloc *a, fe_block_fn fn, void *user);
/* The live block at base goes idle, or comes back for bytes <= its capacity with a new id. */
bool fe_alloc_set_idle(struct fe_alloc *a, uint64_t base, bool idle, uint64_t bytes);

/* Device memory outside the range, such as a module's variable; for lookups only. It stays until
 * fe_alloc_drop_foreign() of the same key (a module) or owner (its context). */
void fe_alloc_add_foreign(struct fe_alloc *a, const struct fe_block *block, const void *key);
void fe_alloc_drop_foreign(struct fe_alloc *a, const void *key_or_owner);

/* The live block, not an idle one, or foreign memory around address. */
bool fe_alloc_find(struct fe_alloc *a, uint64_t address, struct fe_block *block_p);
/* Whether [address, address + bytes) lies in one live block, rounded up to whole units, or in
 * mappings side by side that anybody may read; bytes may be 0. */
bool fe_alloc_covers(struct fe_alloc *a, uint64_t address, uint64_t bytes);
bool fe_alloc_writable(struct fe_alloc *a, uint64_t address, uint64_t bytes);
bool fe_alloc_set_sync_memops(struct fe_alloc *a, uint64_t address, bool on);

bool fe_alloc_in_range(const struct fe_alloc *a, uint64_t address);

/* -- what the program maps itself (alloc_vmm.c) -- */

uint64_t fe_alloc_granule(const struct fe_alloc *a);
/* Count bytes, whole granules, that have no address against the lease. */
enum fe_alloc_result fe_alloc_charge(struct fe_alloc *a, int device, uint64_t bytes,
                                     uint64_t *need_p);
void fe_alloc_uncharge(struct fe_alloc *a, int device, uint64_t bytes);

/* Addresses for whole granules, at wish if that is free, at a multiple of align (a power of two);
 * 0 without a gap. */
uint64_t fe_alloc_reserve(struct fe_alloc *a, uint64_t bytes, uint64_t align, uint64_t wish);
/* Exactly what was reserved, with nothing mapped in it. */
bool fe_alloc_unreserve(struct fe_alloc *a, uint64_t base, uint64_t bytes);
/* A mapping inside one reservation, where nothing is mapped; base, bytes, device, object and offset
 * are block's. */
enum fe_alloc_result fe_alloc_map(struct fe_alloc *a, const struct fe_block *block);
/* Whole mappings that cover the range; gone is told of each, under the lock. */
bool fe_alloc_unmap(struct fe_alloc *a, uint64_t base, uint64_t bytes, fe_block_fn gone,
                    void *user);
/* True if whole mappings cover the range. */
bool fe_alloc_tiled(struct fe_alloc *a, uint64_t base, uint64_t bytes);
/* Of such mappings: the access of the devices named becomes this. */
bool fe_alloc_set_access(struct fe_alloc *a, uint64_t base, uint64_t bytes, uint64_t named,
                         uint64_t readable, uint64_t writable);

/* For messages and tests. */
struct fe_alloc_usage {
    uint64_t charged; /* granules in use or waiting for reuse */
    uint64_t pending; /* of these, those that only freed blocks hold */
    uint64_t lease;
    uint64_t blocks; /* live */
};
void fe_alloc_usage(struct fe_alloc *a, int device, struct fe_alloc_usage *usage_p);

#endif
