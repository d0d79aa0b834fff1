/* frontend/cuda/pool.h -- memory pools: stream-ordered allocation, decided by the client
 *
 * A pool's memory is device memory like any other to the server; free lists and the order of
 * streams are kept here. A freed block may be used again by the stream it was freed in, or by any
 * once the work before the free is known to be done.
 *
 * Lock: pools.lock (pool.c), held over posts; before fe_alloc's lock.
 */
#ifndef FE_POOL_H
#define FE_POOL_H

#include "frontend/cuda/memory.h"
#include "frontend/cuda/pool_cache.h"
#include "frontend/cuda/vmm.h"

struct fe_pool {
    struct fe_object object;
    /* Set once. */
    int device;
    bool is_default;
    unsigned usage;     /* CU_MEM_POOL_CREATE_USAGE_* */
    uint64_t max_bytes; /* 0: the device's memory */
    bool exports;       /* others may import its allocations */
    bool imported;      /* of another program: nothing is allocated from it */
    uint64_t number;    /* of it in all programs, if either */

    /* Guarded by pools.lock. */
    struct fe_pool_cache cache;
    uint64_t threshold; /* keep so many bytes at a synchronisation */
    uint64_t used, used_high, reserved, reserved_high;
    uint64_t readable, writable; /* a bit for each device of the program */
    int reuse[3];                /* CU_MEMPOOL_ATTR_REUSE_*: kept, given back */

    /* Atomic; changes under pools.lock. Destroyed by the program: ends with its last allocation. */
    _Atomic bool gone;
};

/* pool_share.c: a new pool becomes one that exports; false without a random number. */
bool fe_pool_share(struct fe_pool *pool);
/* A pool of the program, held by its handle; NULL without memory. */
struct fe_pool *fe_pool_create(int device, uint64_t max_bytes);
/* The handle ends; the pool with its last allocation. */
void fe_pool_destroy(const struct fe_call *call, struct fe_pool *pool);
void fe_pool_trim(const struct fe_call *call, struct fe_pool *pool, uint64_t keep_bytes);
/* The access of the devices named becomes this, for what the pool has and gets. */
CUresult fe_pool_set_access(struct fe_call *call, struct fe_pool *pool,
                            const struct fe_access *access);
/* Makes pool the current one of its device. */
void fe_pool_set_current(struct fe_pool *pool);
void fe_pools_lock(void);
void fe_pools_unlock(void);

/* Of all devices; by cuInit. */
bool fe_pools_start(struct fe_state *state);
struct fe_pool *fe_pool_default(int device);
struct fe_pool *fe_pool_current(int device);

/* The pool behind a handle, or NULL. */
struct fe_pool *fe_pool_of(CUmemoryPool handle);

/* Memory for the work that follows in stream, which was resolved with call; pool NULL: the current
 * one of the stream's device. */
CUresult fe_pool_alloc(struct fe_call *call, struct fe_pool *pool, uint64_t bytes,
                       struct fe_stream *stream, uint64_t stream_wire, uint64_t *address_p);
/* Memory of a pool that the work before in stream still uses.
 * Errors: CUDA_ERROR_INVALID_VALUE for what is not the beginning of such memory. */
CUresult fe_pool_free(struct fe_call *call, uint64_t address, struct fe_stream *stream,
                      uint64_t stream_wire);
/* cuMemFree of memory of a pool: it leaves the pool. The caller posts the free. */
CUresult fe_pool_take_out(struct fe_call *call, uint64_t address);

/* Memory is short: give back what the pools of a device keep. */
void fe_pools_release(const struct fe_call *call, int device);
/* At a synchronisation: give back what is above the thresholds and proven unused. */
void fe_pools_settle(const struct fe_call *call);
/* Before a context's end is posted: what the pools keep of it is not theirs any more; and behind:
 * told of each block that went with it (fe_block_fn). */
void fe_pools_forget(const struct fe_context *ctx);
void fe_pools_block_gone(void *user, const struct fe_block *block);

#endif
