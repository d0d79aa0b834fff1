/* frontend/cuda/pool_share.c -- pools that other programs import allocations from
 *
 * A pool's memory is memory like any other, so an allocation of it travels as an IPC handle does
 * (ipc.c). A pool's descriptor is one end of a pair of sockets with a ticket waiting in it: by its
 * number an imported pool knows the allocations that may come through it.
 */
#include "cuda_api.h"
#include "frontend/core/stats.h"
#include "frontend/cuda/ipc.h"
#include "frontend/cuda/order.h"
#include "frontend/cuda/pool.h"
#include "frontend/cuda/state.h"
#include "protocol/base/random.h"
#include "protocol/base/util.h"

#include <string.h>
#include <unistd.h>

#define POOL_MAGIC 0x706f6f6cu

struct pool_ticket {
    uint32_t magic;
    int32_t device; /* of the server */
    uint64_t number;
};

bool
fe_pool_share(struct fe_pool *pool)
{
    return gp_random_bytes(&pool->number, sizeof(pool->number)) == GP_OK;
}

GP_EXPORT CUresult
cuMemPoolExportToShareableHandle(void *shareable, CUmemoryPool handle,
                                 CUmemAllocationHandleType type, unsigned long long flags)
{
    struct pool_ticket ticket = {.magic = POOL_MAGIC};
    struct fe_state *state;
    struct fe_pool *pool;
    CUresult cr = CUDA_SUCCESS;
    int fds[2];

    FE_COUNT_LOCAL();
    state = fe_state_get(&cr);
    if (state == NULL)
        return cr;
    pool = fe_pool_of(handle);
    if (shareable == NULL || flags != 0 || type != CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR ||
        pool == NULL || !pool->exports)
        return CUDA_ERROR_INVALID_VALUE;
    ticket.device = state->devices[pool->device].server_ordinal;
    ticket.number = pool->number;
    cr = fe_ticket_put(&ticket, sizeof(ticket), fds);
    if (cr != CUDA_SUCCESS)
        return cr;
    close(fds[0]); /* the other keeps what was sent */
    memcpy(shareable, &fds[1], sizeof(fds[1]));
    return CUDA_SUCCESS;
}

GP_EXPORT CUresult
cuMemPoolImportFromShareableHandle(CUmemoryPool *handle, void *os_handle,
                                   CUmemAllocationHandleType type, unsigned long long flags)
{
    struct pool_ticket ticket;
    struct fe_state *state;
    struct fe_pool *pool;
    CUresult cr = CUDA_SUCCESS;
    int device;

    FE_COUNT_LOCAL();
    state = fe_state_get(&cr);
    if (state == NULL)
        return cr;
    if (handle == NULL || flags != 0 || type != CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR ||
        !fe_ticket_peek((int)(intptr_t)os_handle, &ticket, sizeof(ticket)) ||
        ticket.magic != POOL_MAGIC)
        return CUDA_ERROR_INVALID_VALUE;
    device = fe_device_of_server(fe_session_get(NULL), ticket.device);
    if (device < 0)
        return CUDA_ERROR_INVALID_DEVICE;
    pool = fe_pool_create(device, 0);
    if (pool == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    pool->imported = true;
    pool->number = ticket.number;
    *handle = (CUmemoryPool)pool;
    return CUDA_SUCCESS;
}

/* -- allocations ------------------------------------------------------------------------ */

static CUresult
export_pointer(struct fe_call *call, const struct fe_block *b, const struct fe_pool *pool,
               CUmemPoolPtrExportData *data)
{
    CUresult cr = fe_order_share(call);

    if (cr == CUDA_SUCCESS)
        cr = fe_call_next(call, WIRE_CALL_cuIpcGetMemHandle);
    return cr == CUDA_SUCCESS ? fe_ipc_offer(call, b, pool->number, data) : cr;
}

/* In the context that it was allocated in, for what that copied must be there when the other
 * program looks; where that has failed or is gone, nothing is done any more, and none is needed. */
static CUresult
enter_export(struct fe_call *call, const struct fe_block *b)
{
    CUresult cr =
        fe_enter_in(call, WIRE_CALL_cuIpcGetMemHandle, (struct fe_context *)(uintptr_t)b->owner);

    return b->owner == NULL || cr == CUDA_SUCCESS
               ? cr
               : fe_enter_on(call, WIRE_CALL_cuIpcGetMemHandle, fe_device_session(b->device));
}

GP_EXPORT CUresult
cuMemPoolExportPointer(CUmemPoolPtrExportData *data, CUdeviceptr address)
{
    struct fe_state *state;
    struct fe_pool *pool;
    struct fe_call call;
    struct fe_block b;
    CUresult cr = CUDA_SUCCESS;

    state = fe_state_get(&cr);
    if (state == NULL)
        return cr;
    if (data == NULL || !fe_alloc_find(fe_alloc_around(NULL, address), address, &b) ||
        b.base != address || b.kind != FE_BLOCK_POOL)
        return CUDA_ERROR_INVALID_VALUE;
    pool = b.object;
    if (!pool->exports || atomic_load(&pool->gone))
        return CUDA_ERROR_INVALID_VALUE;
    cr = enter_export(&call, &b);
    if (cr == CUDA_SUCCESS)
        cr = fe_leave(&call, export_pointer(&call, &b, pool, data));
    return cr;
}

GP_EXPORT CUresult
cuMemPoolImportPointer(CUdeviceptr *address, CUmemoryPool handle, CUmemPoolPtrExportData *data)
{
    struct fe_pool *pool;
    struct fe_call call;
    uint64_t base = 0;
    CUresult cr = fe_enter(&call, WIRE_CALL_cuIpcOpenMemHandle_v2);

    if (cr != CUDA_SUCCESS)
        return cr;
    pool = fe_pool_of(handle);
    if (address == NULL || data == NULL || pool == NULL || !pool->imported)
        return fe_leave(&call, CUDA_ERROR_INVALID_VALUE);
    cr = fe_order_share(&call);
    if (cr == CUDA_SUCCESS)
        cr = fe_call_next(&call, WIRE_CALL_cuIpcOpenMemHandle_v2);
    if (cr == CUDA_SUCCESS)
        cr = fe_ipc_open(&call, data, pool->number, &base);
    if (cr == CUDA_SUCCESS)
        *address = base;
    return fe_leave(&call, cr);
}
