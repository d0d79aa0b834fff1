/* backend/memory/granules.h -- which bytes of the reserved address range belong to whom
 *
 * The range falls into granules, the driver's unit of physical memory. An extent is a run of
 * granules that is mapped and unmapped as one; allocations hold extents by reference. A granule
 * that an allocation covers whole belongs to it alone; one that it touches at its head or tail
 * may be shared with others, byte ranges of 256 then say what is taken.
 *
 * Pure: no driver, no lock, no clock. The caller maps what _plan says and unmaps what _drop says.
 * Hostile input: addresses and lengths come from the client and are checked here.
 */
#ifndef BE_GRANULES_H
#define BE_GRANULES_H

#include "protocol/base/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BE_UNIT_BYTES       256u
#define BE_EXTENT_BYTES_MAX (64ull << 20)
#define BE_ALLOCATIONS_MAX  (4u << 20)

struct be_extent {
    uint64_t first; /* granule */
    uint32_t count; /* granules */
    uint32_t refs;  /* allocations that touch it */
    int32_t device;
    bool mapped;          /* the caller's: memory is behind it */
    bool out;             /* ... but not on the device: its bytes are in kept, or it has none yet */
    bool moving;          /* ... and it is on its way in or out */
    bool blank;           /* nothing but zeros was ever in it; while seen says so too */
    uint64_t seen;        /* the caller's: be_space.reach when it was made or last copied to */
    uint64_t handle;      /* the caller's: CUmemGenericAllocationHandle */
    struct be_kept *kept; /* the caller's: stash.h */
    uint32_t *taken;      /* bitmap of units, shared granules only */
    bool imported;        /* another session's memory, charged there */
    bool shared;          /* others hold it too: it stays where it is */
    bool told;            /* the caller's: transport/kept.h has it on its list */

    /* A mapping by the client itself, of a part of an object: be_granules_map(). */
    struct be_phys *phys;           /* NULL: of an allocation */
    uint64_t offset;                /* into phys, bytes */
    uint64_t readable, writable;    /* a bit for each device */
    struct be_extent *next, **link; /* the caller's list of mappings */
};

struct be_allocation {
    uint64_t address; /* 0: the slot is free */
    uint64_t bytes;   /* as asked for, > 0 */
    int32_t device;
    uint32_t context; /* wire index of its context */
    bool freeing;     /* the client freed it, its memory is still there */
};

struct be_granules;

/* base is a multiple of granule_bytes, a power of two; bytes too. */
GP_CHECK enum gp_status be_granules_create(uint64_t base, uint64_t bytes, uint64_t granule_bytes,
                                           struct be_granules **map_p);
void be_granules_destroy(struct be_granules *map);

/*
 * Take [address, address + bytes).
 *
 * *fresh_bytes_p is the physical memory that it needs beyond what is there; nothing is changed
 * if that is above limit_bytes. The caller then maps every extent that be_granules_next_extent()
 * gives with mapped == false, or takes it back with be_granules_drop().
 * Errors: GP_ERR_INVALID outside the range, misaligned, overlapping or of another device than
 *         its shared granule; GP_ERR_LIMIT; GP_ERR_NO_MEMORY.
 */
GP_CHECK enum gp_status be_granules_take(struct be_granules *map, uint64_t address, uint64_t bytes,
                                         int32_t device, uint32_t context, uint64_t limit_bytes,
                                         uint64_t *fresh_bytes_p);

/*
 * Take [address, address + bytes) as extents of these lengths, multiples of the granule, which
 * begin with the granule of address and end with that of its last byte.
 * Errors: GP_ERR_INVALID for what does not fit or is taken; GP_ERR_LIMIT; GP_ERR_NO_MEMORY.
 */
GP_CHECK enum gp_status be_granules_adopt(struct be_granules *map, uint64_t address, uint64_t bytes,
                                          int32_t device, uint32_t context,
                                          const uint64_t *extent_bytes, uint32_t extents);

/* The extents that an allocation touches, in order: *at_p begins with 0. NULL at the end. */
struct be_extent *be_granules_next_extent(struct be_granules *map, uint64_t address,
                                          uint64_t *at_p);

/* The allocation that begins at address; NULL if there is none. */
struct be_allocation *be_granules_find(struct be_granules *map, uint64_t address);

/*
 * Give an allocation back. gone is called for each extent that nobody holds any more, before it
 * is forgotten. GP_ERR_NOT_FOUND if no allocation begins there.
 */
typedef void (*be_extent_gone_fn)(void *user, struct be_extent *extent);
GP_CHECK enum gp_status be_granules_drop(struct be_granules *map, uint64_t address,
                                         be_extent_gone_fn gone, void *user);

/*
 * A mapping of phys over whole granules, which nothing else may touch; it has no allocation.
 * Errors: GP_ERR_INVALID for what is not whole, outside, or taken; GP_ERR_NO_MEMORY.
 */
GP_CHECK enum gp_status be_granules_map(struct be_granules *map, uint64_t address, uint64_t bytes,
                                        struct be_phys *phys, struct be_extent **extent_p);
/* True if mappings, each wholly inside, cover all of [address, address + bytes), bytes > 0. */
bool be_granules_tiled(const struct be_granules *map, uint64_t address, uint64_t bytes);
/* The extent that holds address, or NULL. */
struct be_extent *be_granules_at(const struct be_granules *map, uint64_t address);
/* All extents in order, those of the client's own mappings too: *granule_p begins with 0. NULL at
 * the end. */
struct be_extent *be_granules_walk(const struct be_granules *map, uint64_t *granule_p);
/* Forget a mapping. */
void be_granules_unmap(struct be_granules *map, struct be_extent *mapping);

/* Every allocation there is, in no order; fn must not change the map. */
typedef void (*be_allocation_fn)(void *user, const struct be_allocation *allocation);
void be_granules_each(struct be_granules *map, be_allocation_fn fn, void *user);

/* True if memory is behind all of [address, address + bytes). */
bool be_granules_mapped(const struct be_granules *map, uint64_t address, uint64_t bytes);
bool be_granules_inside(const struct be_granules *map, uint64_t address, uint64_t bytes);
size_t be_granules_count(const struct be_granules *map); /* allocations */

#endif
