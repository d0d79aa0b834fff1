/* frontend/cuda/vmm.h -- physical memory objects of the program
 *
 * Counted here, so that nothing of it needs a round trip: the server is told of an object's end
 * when neither a handle nor a mapping holds it any more.
 *
 * Lock: vmm.lock (vmm.c), held over posts, so that what is said of a range reaches the server in
 *       the order in which it was decided here; before fe_alloc's lock.
 */
#ifndef FE_VMM_H
#define FE_VMM_H

#include "frontend/cuda/objects.h"

struct fe_team;

struct fe_phys {
    struct fe_object object;
    /* Set once. */
    CUmemAllocationProp prop; /* as the program gave it */
    uint64_t bytes;
    int device;           /* of the program */
    bool imported;        /* of another program, charged there */
    struct fe_team *team; /* of a multicast object; else NULL */

    /* Guarded by vmm.lock. */
    uint64_t handles; /* how often cuMemRelease is due */
    uint64_t mappings;
    uint64_t exports;     /* descriptors of it that are open somewhere */
    struct fe_phys *next; /* of those that an unmap ends */
};

void fe_vmm_lock(void);
void fe_vmm_unlock(void);
/* With the lock held, which others have meanwhile: until fe_vmm_wake(). */
void fe_vmm_wait(void);
void fe_vmm_wake(void);
/* multicast.c, with the lock held: until all devices of its team have been added, if it has one;
 * the end of a team and of what is bound to it. */
void fe_team_wait(const struct fe_phys *object);
CUresult fe_team_end(struct fe_call *call, struct fe_team *team);
/* With the lock held: the object of a handle that was not released, or NULL. */
struct fe_phys *fe_phys_of(CUmemGenericAllocationHandle handle);
/* With the lock held: its end, if nobody holds it any more. The id of call changes. */
CUresult fe_phys_end_if_gone(struct fe_call *call, struct fe_phys *phys);
/* Objects whose exported descriptors were closed everywhere may end; ipc.c. */
CUresult fe_exports_settle(struct fe_call *call);

/* The device of a location that must be one, of the program.
 * Errors: CUDA_ERROR_INVALID_DEVICE; INVALID_VALUE for another kind of location. */
CUresult fe_location_device(const CUmemLocation *location, int *device_p);

/* Who may reach some memory: bits of the program's devices. */
struct fe_access {
    uint64_t named, readable, writable;
};

/* A device of the program gets this access, whatever was said of it before. */
void fe_access_name(struct fe_access *access, int device, CUmemAccess_flags flags);
CUmemAccess_flags fe_access_flags(uint64_t readable, uint64_t writable, int device);

/* The server that has the object of a handle; NULL for none. */
struct fe_session *fe_phys_session(CUmemGenericAllocationHandle handle);

/* A bit for each device of the program, as a bit for each of the server. */
uint64_t fe_server_devices(const struct fe_session *session, uint64_t bits);

#endif
