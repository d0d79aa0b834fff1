/* backend/driver/soft/dev/mempool.h -- memory pools, in stream order
 *
 * An allocation has its memory from the call on; a free takes place when its stream gets there.
 * Freed blocks stay with the pool up to its release threshold.
 */
#ifndef SD_MEMPOOL_H
#define SD_MEMPOOL_H

#include "backend/driver/soft/dev/mem.h"

/* What pools may be with other processes. */
enum sd_pool_share {
    SD_POOL_OWN,
    SD_POOL_EXPORTS,
    SD_POOL_IMPORTED
};

/* The number, in all processes, and the device of a pool of this kind; false for any other handle.
 */
bool sd_mempool_number(struct CUmemPoolHandle_st *pool, enum sd_pool_share share,
                       uint64_t *number_p, int *device_p);
/* A pool through which allocations of another process come. */
CUresult sd_mempool_import(struct sd_device *dev, uint64_t number,
                           struct CUmemPoolHandle_st **pool_p);

/* CU_MEM_POOL_CREATE_USAGE_* of a pool. */
unsigned sd_mempool_usage(const void *pool);

/* By cuInit. */
CUresult sd_mempool_create_defaults(void);
/* CUDA_ERROR_INVALID_VALUE if no pool memory begins at addr. */
CUresult sd_mempool_free_now(uint64_t addr);
/* The same in stream order, also of a graph's memory. unref: the reference of what cuMemFreeAsync
 * was called with goes too; the launch of a graph puts its own. */
CUresult sd_mempool_free_queued(uint64_t addr, bool unref);
/* The pool's part of an entry that was taken out of the map. */
void sd_mempool_give(const struct sd_alloc *alloc);
/* Gives cached blocks of all pools of the device back; false if there were none. */
bool sd_mempool_trim_all(struct sd_device *dev);
/* Memory of the device's current pool for ctx. */
CUresult sd_mempool_alloc(struct CUmemPoolHandle_st *pool, CUcontext ctx, uint64_t bytes,
                          uint64_t *addr_p);

#endif
