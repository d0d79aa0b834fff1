/* backend/memory/phys_priv.h -- the inside of an object, for phys.c, phys_swap.c and multicast.c */
#ifndef BE_PHYS_PRIV_H
#define BE_PHYS_PRIV_H

#include "backend/memory/phys.h"

struct be_team;

struct be_phys {
    /* Set once. */
    struct be_phys_wish wish; /* how it was made, and is made again */
    uint64_t bytes;
    int32_t device;
    uint32_t handle_types;
    bool imported;        /* charged to who made it */
    struct be_team *team; /* of a multicast object; else NULL */

    /* Guarded by space.lock; of who moves it while it is on its way. */
    CUmemGenericAllocationHandle handle; /* the driver's; not while it is out */
    bool held;                           /* by the client's id */
    bool fixed;                          /* others have it too: it stays on the device */
    bool out;                            /* not on the device: its bytes are kept, or zeros */
    struct be_kept **kept;               /* in parts; NULL: it never had any bytes */
    uint64_t mappings;                   /* and places in multicast objects */
    struct be_extent *mapped;            /* its mappings */
    struct be_phys *next, **link;        /* of space.objects */
};

/* Physical memory as it was wished for. */
CUresult be_phys_back(const struct be_space *space, const struct be_phys_wish *wish,
                      CUmemGenericAllocationHandle *handle_p);

/* space.lock is held: one mapping or place less. */
void be_phys_let_go(struct be_space *space, struct be_phys *phys);
/* False while a multicast object's team is not complete. */
bool be_phys_mappable(const struct be_phys *phys);
/* space.lock is held: what is bound to a multicast object is not any more. */
void be_team_end(struct be_space *space, struct be_phys *object);
/* Of swap.c, and on its terms: objects leave, of so many bytes, and those for which there is room
 * come. phys_swap.c */
CUresult be_phys_swap_out(struct be_space *space, CUstream stream, int32_t device, uint64_t bytes);
CUresult be_phys_swap_in(struct be_space *space, CUstream stream, int32_t device);
/* What is kept of it is wanted no more. */
void be_phys_kept_drop(struct be_space *space, struct be_phys *phys);

#endif
