/* frontend/cuda/memory.h -- device memory against the lease, for every call that takes some
 *
 * Threads: any. The caller entered with call, in any call id; that changes.
 */
#ifndef FE_MEMORY_H
#define FE_MEMORY_H

#include "frontend/cuda/managed.h"
#include "frontend/cuda/state.h"

/* How memory is freed that begins at an address. */
enum fe_memory_kind {
    FE_MEMORY_NONE, /* none of the program's begins there, or it is not freed but unmapped, closed
                     */
    FE_MEMORY_PLAIN,
    FE_MEMORY_POOL,
    FE_MEMORY_MANAGED,
};
/* *managed_p is set for MANAGED only. */
enum fe_memory_kind fe_memory_kind(const struct fe_call *call, uint64_t address,
                                   struct fe_managed *managed_p);

/* An address for block->bytes on block->device, in block->base; the lease grows as needed. The
 * server is not told. OUT_OF_MEMORY where there is no more. */
CUresult fe_memory_take(struct fe_call *call, struct fe_state *state, struct fe_block *block);
/* The same, and the server maps memory there. bytes > 0. */
CUresult fe_memory_alloc(struct fe_call *call, struct fe_block *block);
/* The block at address is freed behind all work that was posted; the server counts the lease.
 * Errors: CUDA_ERROR_INVALID_VALUE if none begins there. */
CUresult fe_memory_free(struct fe_call *call, uint64_t address);
/* Count whole granules that have no address. */
CUresult fe_memory_charge(struct fe_call *call, struct fe_state *state, int device, uint64_t bytes);

/* An entered call that is about this address, and of which nothing was posted, goes to the server
 * that has it, in the context it was made in; stays where it is for what is nobody's. */
CUresult fe_call_home(struct fe_call *call, uint64_t address);

#endif
