/* frontend/cuda/managed.h -- managed memory: allocations and variables, and what was said of them
 *
 * Threads: any; one lock inside, a leaf.
 */
#ifndef FE_MANAGED_H
#define FE_MANAGED_H

#include "frontend/cuda/objects.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct fe_managed {
    uint64_t base, bytes;     /* as asked for */
    uint64_t id;              /* CU_POINTER_ATTRIBUTE_BUFFER_ID */
    struct fe_context *owner; /* NULL: a variable */
    const void *key;          /* a variable's library */
    uint64_t block;           /* device memory that holds it; 0: a variable */
    int device;
    bool sync_memops;
    bool read_mostly;
    int preferred[2], prefetched[2]; /* type and id of a location */
    uint64_t accessed_by;            /* bit per device, bit 63 for the host */
};

/* How many there are. */
extern _Atomic unsigned fe_managed_count;

/* The one around address; managed_p may be NULL. */
bool fe_managed_find(uint64_t address, struct fe_managed *managed_p);
/* Whether address is in device memory that managed memory is made of. */
bool fe_managed_block(uint64_t address);
/* Whether a range lies in one. */
bool fe_managed_covers(uint64_t address, uint64_t bytes);
bool fe_managed_set_sync_memops(uint64_t address, bool on);
/* cuMemFree() of what begins there. */
CUresult fe_managed_free(struct fe_call *call, const struct fe_managed *managed);
/* A variable of a library that is not known yet, at the server's address. */
CUresult fe_managed_variable(uint64_t address, uint64_t bytes, int device,
                             struct fe_session *session, const void *library);
/* A library goes, or a context ends. */
void fe_managed_drop(const void *key);

#endif
