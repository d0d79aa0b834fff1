/* backend/driver/soft/dev/ipc.h -- device memory of another process on this machine */
#ifndef SD_IPC_H
#define SD_IPC_H

#include "backend/driver/soft/dev/span.h"

/* For an entry of kind SD_MEM_IPC that was taken out of the map. */
void sd_ipc_unmap(const struct sd_alloc *alloc);

#endif
