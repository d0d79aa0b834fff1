/* frontend/cuda/memory.c -- device memory: addresses are chosen here, the server maps behind them
 *
 * An allocation inside the lease is asynchronous. Beyond it the server is asked for more, which is
 * where out-of-memory is decided, so that it falls on the right call.
 */
#include "frontend/cuda/memory.h"

#include "cuda_api.h"
#include "frontend/core/stats.h"
#include "frontend/cuda/ask.h"
#include "frontend/cuda/capture.h"
#include "frontend/cuda/graph.h"
#include "frontend/cuda/displaced.h"
#include "frontend/cuda/host.h"
#include "frontend/cuda/ipc.h"
#include "frontend/cuda/managed.h"
#include "frontend/cuda/pool.h"
#include "protocol/base/log.h"
#include "protocol/base/util.h"
#include "protocol/legacy/external.h"

#include <stdatomic.h>

/* One more round trip is saved for the next allocations by asking for a little more. */
#define LEASE_SLACK  (64ull << 20)
#define LEASE_ROUNDS 4
#define PITCH_ALIGN  512u

static CUresult
lease(struct fe_call *call, struct fe_state *state, int device, uint64_t bytes)
{
    struct wire_gpLease_args args = {.bytes = bytes};
    struct wire_gpLease_reply reply;
    CUresult cr;

    args.device = state->devices[device].server_ordinal;
    cr = fe_call_next(call, WIRE_CALL_gpLease);
    if (cr == CUDA_SUCCESS)
        FE_ASK(cr, call, gpLease, &args, &reply);
    if (cr == CUDA_SUCCESS)
        fe_alloc_grant(fe_alloc_of(call), device, reply.granted);
    return cr;
}

/* Out of memory where a tenant's quota may be the reason: the server knows, the user should. */
static void
explain(struct fe_call *call, struct fe_state *state, int device)
{
    static atomic_flag said = ATOMIC_FLAG_INIT;
    struct wire_gpMemoryLimits_args args = {0};
    struct wire_gpMemoryLimits_reply reply;
    CUresult cr;

    if (!wire_call_set_has(&call->session->calls, WIRE_CALL_gpMemoryLimits) ||
        atomic_flag_test_and_set(&said))
        return;
    args.device = state->devices[device].server_ordinal;
    if (fe_call_next(call, WIRE_CALL_gpMemoryLimits) != CUDA_SUCCESS)
        return;
    FE_ASK(cr, call, gpMemoryLimits, &args, &reply);
    if (cr == CUDA_SUCCESS && reply.text_len > 0)
        log_warn("out of memory: %s", reply.text);
}

/* One try to charge something; *need_p is what the lease lacks. */
typedef enum fe_alloc_result (*charge_fn)(void *what, uint64_t *need_p);

/* Leases grow as needed. */
static CUresult
charge(struct fe_call *call, struct fe_state *state, int device, charge_fn fn, void *what)
{
    bool slack = true;

    for (int round = 0; round < LEASE_ROUNDS; round++) {
        uint64_t need = 0;
        CUresult cr;

        switch (fn(what, &need)) {
        case FE_ALLOC_OK:
            return CUDA_SUCCESS;
        case FE_ALLOC_LEASE:
            break;
        default:
            return CUDA_ERROR_OUT_OF_MEMORY;
        }
        if (need > UINT64_MAX - LEASE_SLACK)
            return CUDA_ERROR_OUT_OF_MEMORY;
        /* The server has no more: what pools keep is next. */
        if (round == 1)
            fe_pools_release(call, device);
        cr = lease(call, state, device, need + (slack ? LEASE_SLACK : 0));
        if (cr != CUDA_SUCCESS)
            return cr;
        /* Less than needed: what others freed meanwhile may do, else ask for exactly that. */
        slack = false;
    }
    explain(call, state, device);
    return CUDA_ERROR_OUT_OF_MEMORY;
}

/* charge_fn */
static enum fe_alloc_result
charge_block(void *what, uint64_t *need_p)
{
    struct fe_block *b = what;

    return fe_alloc_take(fe_alloc_of_device(b->device), b, need_p);
}

CUresult
fe_memory_take(struct fe_call *call, struct fe_state *state, struct fe_block *block)
{
    return charge(call, state, block->device, charge_block, block);
}

struct plain {
    int device;
    uint64_t bytes;
};

/* charge_fn */
static enum fe_alloc_result
charge_plain(void *what, uint64_t *need_p)
{
    const struct plain *p = what;

    return fe_alloc_charge(fe_alloc_of_device(p->device), p->device, p->bytes, need_p);
}

CUresult
fe_memory_charge(struct fe_call *call, struct fe_state *state, int device, uint64_t bytes)
{
    struct plain p = {device, bytes};

    return charge(call, state, device, charge_plain, &p);
}

CUresult
fe_memory_alloc(struct fe_call *call, struct fe_block *block)
{
    struct fe_state *state = fe_state_of(call);
    struct wire_cuMemAlloc_v2_args args = {.bytes = block->bytes};
    CUresult cr = fe_memory_take(call, state, block);

    if (cr != CUDA_SUCCESS)
        return cr;
    cr = fe_call_next(call, WIRE_CALL_cuMemAlloc_v2);
    if (cr == CUDA_SUCCESS) {
        args.address = block->base;
        args.device = state->devices[block->device].server_ordinal;
        FE_TELL(cr, call, cuMemAlloc_v2, &args);
    }
    if (cr != CUDA_SUCCESS)
        fe_alloc_untake(fe_alloc_of(call), block->base);
    return cr;
}

GP_EXPORT CUresult
cuMemAlloc_v2(CUdeviceptr *address, size_t bytes)
{
    struct fe_block block = {.bytes = bytes};
    struct fe_call call;
    CUresult cr;

    cr = fe_enter(&call, WIRE_CALL_cuMemAlloc_v2);
    if (cr != CUDA_SUCCESS)
        return cr;
    if (address == NULL || bytes == 0)
        return fe_leave(&call, CUDA_ERROR_INVALID_VALUE);
    block.device = call.context->device;
    block.owner = call.context;
    cr = fe_capture_check_unsafe(call.context);
    if (cr == CUDA_SUCCESS)
        cr = fe_memory_alloc(&call, &block);
    if (cr == CUDA_SUCCESS)
        *address = block.base;
    return fe_leave(&call, cr);
}

GP_EXPORT CUresult
cuMemAllocPitch_v2(CUdeviceptr *address, size_t *pitch, size_t width, size_t height,
                   unsigned int element)
{
    struct fe_call call;
    size_t row, bytes;
    CUresult cr = fe_enter(&call, WIRE_CALL_cuMemAlloc_v2);

    if (cr == CUDA_SUCCESS)
        cr = fe_leave(&call, cr);
    if (cr != CUDA_SUCCESS)
        return cr;
    if (address == NULL || pitch == NULL || width == 0 || height == 0 ||
        (element != 4 && element != 8 && element != 16))
        return CUDA_ERROR_INVALID_VALUE;
    if (width > SIZE_MAX - PITCH_ALIGN)
        return CUDA_ERROR_OUT_OF_MEMORY;
    row = gp_align_up_u64(width, PITCH_ALIGN);
    if (__builtin_mul_overflow(row, height, &bytes))
        return CUDA_ERROR_OUT_OF_MEMORY;
    cr = cuMemAlloc_v2(address, bytes);
    if (cr == CUDA_SUCCESS)
        *pitch = row;
    return cr;
}

CUresult
fe_call_home(struct fe_call *call, uint64_t address)
{
    struct fe_block block;
    struct fe_context *owner;

    if (GP_LIKELY(fe_sessions()->count == 1) ||
        fe_address_session(call->session, address) == call->session ||
        !fe_alloc_find(fe_alloc_around(call->session, address), address, &block))
        return CUDA_SUCCESS;
    owner = (struct fe_context *)(uintptr_t)block.owner;
    return owner != NULL ? fe_call_move(call, owner) : CUDA_SUCCESS;
}

CUresult
fe_memory_free(struct fe_call *call, uint64_t address)
{
    struct wire_cuMemFree_v2_args args = {.address = address};
    CUresult cr = fe_call_next(call, WIRE_CALL_cuMemFree_v2);

    if (cr != CUDA_SUCCESS)
        return cr;
    if (!fe_alloc_free(fe_alloc_of(call), address))
        return CUDA_ERROR_INVALID_VALUE;
    FE_TELL(cr, call, cuMemFree_v2, &args);
    return cr;
}

enum fe_memory_kind
fe_memory_kind(const struct fe_call *call, uint64_t address, struct fe_managed *managed_p)
{
    struct fe_block block;

    if (fe_managed_find(address, managed_p))
        return managed_p->base == address ? FE_MEMORY_MANAGED : FE_MEMORY_NONE;
    if (fe_managed_block(address) || !fe_alloc_find(fe_alloc_of(call), address, &block) ||
        block.base != address)
        return FE_MEMORY_NONE;
    return block.kind == FE_BLOCK_PLAIN  ? FE_MEMORY_PLAIN
           : block.kind == FE_BLOCK_POOL ? FE_MEMORY_POOL
                                         : FE_MEMORY_NONE;
}

GP_EXPORT CUresult
cuMemFree_v2(CUdeviceptr address)
{
    struct fe_managed managed;
    struct fe_call call;
    CUresult cr;

    cr = fe_enter(&call, WIRE_CALL_cuMemFree_v2);
    if (cr != CUDA_SUCCESS)
        return cr;
    cr = fe_capture_check_unsafe(call.context);
    if (cr != CUDA_SUCCESS || address == 0)
        return fe_leave(&call, cr);
    if (fe_graph_mem_free(address, &cr) || gp_external_free(address, &cr))
        return fe_leave(&call, cr);
    cr = fe_call_home(&call, address);
    if (cr != CUDA_SUCCESS)
        return fe_leave(&call, cr);
    switch (fe_memory_kind(&call, address, &managed)) {
    case FE_MEMORY_PLAIN:
        return fe_leave(&call, fe_memory_free(&call, address));
    case FE_MEMORY_POOL:
        return fe_leave(&call, fe_pool_take_out(&call, address));
    case FE_MEMORY_MANAGED:
        return fe_leave(&call, fe_managed_free(&call, &managed));
    default: /* or of a pool of another program */
        return fe_leave(&call, fe_ipc_free(&call, address));
    }
}

GP_EXPORT CUresult
cuMemGetAddressRange_v2(CUdeviceptr *base, size_t *size, CUdeviceptr address)
{
    struct fe_host_region region;
    struct fe_managed managed;
    struct fe_block block;
    CUresult cr = CUDA_SUCCESS;
    struct fe_state *state = fe_state_get(&cr);

    FE_COUNT_LOCAL();
    if (state == NULL)
        return cr;
    cr = fe_context_usable(fe_context_current());
    if (cr != CUDA_SUCCESS)
        return cr;
    address = fe_device_named(address);
    if (fe_managed_find(address, &managed)) {
        block.base = managed.base;
        block.bytes = managed.bytes;
    } else if (fe_host_find(address, &region)) {
        block.base = fe_host_device(region.base);
        block.bytes = region.bytes;
    } else if (fe_managed_block(address) ||
               !fe_alloc_find(fe_alloc_around(NULL, address), address, &block)) {
        return CUDA_ERROR_NOT_FOUND;
    }
    if (base != NULL)
        *base = block.base;
    if (size != NULL)
        *size = block.bytes;
    return CUDA_SUCCESS;
}

/* The server answers after the frees that were sent before. */
GP_EXPORT CUresult
cuMemGetInfo_v2(size_t *free_bytes, size_t *total_bytes)
{
    struct wire_cuMemGetInfo_v2_reply reply;
    const uint8_t *bytes;
    struct fe_call call;
    size_t len;
    CUresult cr;
    void *to;

    cr = fe_enter(&call, WIRE_CALL_cuMemGetInfo_v2);
    if (cr != CUDA_SUCCESS)
        return cr;
    if (free_bytes == NULL && total_bytes == NULL)
        return fe_leave(&call, CUDA_ERROR_INVALID_VALUE);
    fe_pools_settle(&call);
    to = fe_post(&call, 0);
    if (to == NULL)
        return fe_leave(&call, fe_lost(&call));
    fe_post_done(&call);
    cr = fe_wait(&call, &bytes, &len);
    if (cr == CUDA_SUCCESS && !wire_get_cuMemGetInfo_v2_reply(bytes, len, &reply))
        cr = fe_malformed(&call);
    if (cr == CUDA_SUCCESS && free_bytes != NULL)
        *free_bytes = reply.free;
    if (cr == CUDA_SUCCESS && total_bytes != NULL)
        *total_bytes = reply.total;
    return fe_leave(&call, cr);
}
