/* backend/memory/phys_priv.h -- the inside of an object, for phys.c and multicast.c */
#ifndef BE_PHYS_PRIV_H
#define BE_PHYS_PRIV_H

#include "backend/memory/phys.h"

struct be_team;

struct be_phys {
    CUmemGenericAllocationHandle handle; /* the driver's */
    uint64_t bytes;
    int32_t device;
    uint32_t handle_types;
    bool imported;                /* charged to who made it */
    struct be_team *team;         /* of a multicast object; else NULL */
    bool held;                    /* by the client's id; the rest: guarded by space.lock */
    uint64_t mappings;            /* and places in multicast objects */
    struct be_phys *next, **link; /* of space.objects */
};

/* space.lock is held: one mapping or place less. */
void be_phys_let_go(struct be_space *space, struct be_phys *phys);
/* False while a multicast object's team is not complete. */
bool be_phys_mappable(const struct be_phys *phys);
/* space.lock is held: what is bound to a multicast object is not any more. */
void be_team_end(struct be_space *space, struct be_phys *object);

#endif
