/* backend/driver/soft/dev/ipc.h -- device memory of another process on this machine */
#ifndef SD_IPC_H
#define SD_IPC_H

#include "backend/driver/soft/dev/span.h"

/* For an entry of kind SD_MEM_IPC that was taken out of the map. */
void sd_ipc_unmap(const struct sd_alloc *alloc);

/* An allocation of a pool, in 64 bytes for another process, and there. number: of the pool; what
 * one pool offers is opened through that pool only. */
CUresult sd_ipc_export(const struct sd_alloc *alloc, uint64_t number, void *data);
CUresult sd_ipc_import(struct CUctx_st *ctx, const void *data, uint64_t number,
                       CUdeviceptr *address_p);
/* Closes once what was imported from a pool, or what was opened by handle. */
CUresult sd_ipc_close(uint64_t address, bool of_pool);

#endif
