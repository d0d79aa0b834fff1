/* backend/driver/soft/dev/multicast.h -- objects through which one access reaches memory of several
 * devices
 *
 * Only multimem instructions reach what is mapped of such an object. What is bound to it has a
 * mapping of the device's own besides (an alias), as long as it is bound.
 */
#ifndef SD_MULTICAST_H
#define SD_MULTICAST_H

#include "backend/driver/soft/dev/vmm.h"
#include "backend/driver/soft/exec/exec.h"

/* Waits until all devices of the object's team have been added; vmm_lock is held. */
void sd_team_wait(const struct sd_phys *object);
/* Nothing is bound any more. */
void sd_team_end(struct sd_phys *object);

/* Where [addr, addr + bytes) of a mapping lies on each device of the team; 0 if device may not
 * reach it (or write), or something is bound to not all of them there. */
unsigned sd_team_places(uint64_t addr, uint64_t bytes, int device, bool write,
                        uint64_t places[SD_TEAM_MAX]);

#endif
