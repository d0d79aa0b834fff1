/* backend/memory/multicast.h -- objects through which one access reaches memory of several devices
 *
 * To the books a multicast object is one without bytes; what is bound to it lives at least as long
 * as it is bound. Its mappings are those of phys.h.
 *
 * Threads: the session's executor; space.lock (rank 10) guards the books.
 * Hostile input: every number is checked here.
 */
#ifndef BE_MULTICAST_H
#define BE_MULTICAST_H

#include "backend/memory/phys.h"

CUresult be_multicast_granularity(const struct be_space *space, uint32_t devices, uint64_t bytes,
                                  uint32_t option, uint64_t *granularity_p);
/* *object_p is held until be_phys_put. */
CUresult be_multicast_create(struct be_space *space, uint32_t devices, uint64_t bytes,
                             struct be_phys **object_p);
CUresult be_multicast_add(struct be_space *space, struct be_phys *object, int32_t device);

struct be_place {
    uint64_t offset; /* in the multicast object */
    uint64_t memory_offset, bytes;
};
CUresult be_multicast_bind(struct be_space *space, struct be_phys *object, struct be_phys *memory,
                           const struct be_place *place);
/* Of memory that was bound just there. */
CUresult be_multicast_unbind(struct be_space *space, struct be_phys *object, int32_t device,
                             uint64_t offset, uint64_t bytes);

#endif
