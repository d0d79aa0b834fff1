/* frontend/cuda/alloc_priv.h -- the inside of fe_alloc, for alloc.c and alloc_vmm.c */
#ifndef FE_ALLOC_PRIV_H
#define FE_ALLOC_PRIV_H

#include "frontend/cuda/alloc.h"

#include <pthread.h>

/* In a word of the table of granules, beside pointers. */
#define SLAB_TAG      1u
#define RESERVED_WORD 2u /* the program reserved it, nothing is mapped there */

struct block {
    struct fe_block pub;
    bool freed;                /* waits for fe_alloc_reuse */
    struct block *next, *prev; /* in the list of live or of resting blocks */
};

/* A granule that small blocks of one device share. */
struct slab {
    uint64_t base;
    int device;
    uint32_t used_units; /* by live and freed blocks */
    uint32_t live_blocks;
    uint32_t longest_max; /* no free run is longer */
    uint32_t search_from; /* a unit; 0: the beginning */
    struct slab *next, *prev;
    struct block **owner; /* of each unit, NULL: free */
};

/* A gap of the range, in granules from its start. */
struct gap {
    uint64_t first, count;
};

struct foreign {
    struct fe_block pub;
    const void *key;
};

struct fe_alloc {
    /* Set once. */
    uint64_t base, bytes, granule;
    uint32_t units; /* in a granule */

    pthread_mutex_t lock;
    /* Guarded by lock. */
    uintptr_t *granules; /* NULL, a struct block, a struct slab with SLAB_TAG, RESERVED_WORD */
    struct gap *gaps;    /* sorted, never adjacent */
    size_t gap_count, gap_room;
    struct block *live;
    struct block *resting; /* freed, before fe_alloc_reuse */
    uint64_t next_id;
    struct foreign *foreign; /* sorted by base; may overlap nothing but itself */
    size_t foreign_count, foreign_room;
    struct gap *reservations; /* by the program itself, sorted */
    size_t reservation_count, reservation_room;
    struct {
        struct slab *slabs;
        uint64_t lease, charged, live, blocks; /* live: charged for live blocks */
    } device[FE_ALLOC_DEVICES_MAX];
};

static inline uint64_t
granule_of(const struct fe_alloc *a, uint64_t address)
{
    return (address - a->base) / a->granule;
}

/* With the lock held: of count granules, the first gap that is long enough and begins at a multiple
 * of align granules of the address; UINT64_MAX without one. */
uint64_t fe_gap_take(struct fe_alloc *a, uint64_t count, uint64_t align);
/* The gap around [first, first + count) is cut; false if that is not all free. */
bool fe_gap_take_at(struct fe_alloc *a, uint64_t first, uint64_t count);
void fe_gap_give(struct fe_alloc *a, uint64_t first, uint64_t count);

#endif
