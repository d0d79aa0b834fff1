/* backend/cuda/account.c */
#include "backend/cuda/account.h"

#include "be_hooks.h"
#include "protocol/base/log.h"
#include "protocol/base/util.h"

#include <stdlib.h>

CUresult
be_account_charge(struct be_session *session, int32_t device, uint64_t bytes)
{
    if (!be_ledger_governed(session->ledger) || bytes == 0)
        return CUDA_SUCCESS;
    return be_ledger_charge(session->ledger, (unsigned)device, bytes) ? CUDA_SUCCESS
                                                                      : CUDA_ERROR_OUT_OF_MEMORY;
}

void
be_account_uncharge(struct be_session *session, int32_t device, uint64_t bytes)
{
    if (bytes != 0)
        be_ledger_uncharge(session->ledger, (unsigned)device, bytes);
}

/* -- measuring --------------------------------------------------------------------------------- */

/* What other sessions took meanwhile is not ours. A software device is a process's own unless it
 * has a name. */
static uint64_t
others_bytes(struct be_session *session, int32_t device)
{
    if (session->driver->software && getenv("GPUPOOL_SOFT_SHARED") == NULL)
        return 0;
    return be_ledger_others(session->ledger, (unsigned)device);
}

static bool
free_bytes(struct be_session *session, uint64_t *bytes_p)
{
    size_t bytes = 0, total = 0;

    if (session->driver->table.cuMemGetInfo_v2(&bytes, &total) != CUDA_SUCCESS)
        return false;
    *bytes_p = bytes;
    return true;
}

void
be_meter_begin(struct be_session *session, int32_t device, struct be_meter *meter)
{
    meter->device = device;
    meter->on = be_ledger_governed(session->ledger) && free_bytes(session, &meter->free_bytes);
    if (meter->on)
        meter->others_bytes = others_bytes(session, device);
}

/* What the driver took since the beginning. */
static uint64_t
meter_taken(struct be_session *session, const struct be_meter *meter)
{
    uint64_t now = 0, others, taken;

    if (!meter->on)
        return 0;
    others = others_bytes(session, meter->device);
    if (!free_bytes(session, &now)) /* a broken context: what it has goes with it */
        now = meter->free_bytes;
    taken = meter->free_bytes - gp_min_u64(meter->free_bytes, now);
    if (others > meter->others_bytes)
        taken -= gp_min_u64(taken, others - meter->others_bytes);
    return taken;
}

CUresult
be_meter_end(struct be_session *session, const struct be_meter *meter, uint64_t *charged_p)
{
    uint64_t taken = meter_taken(session, meter);
    CUresult cr = be_account_charge(session, meter->device, taken);

    if (cr == CUDA_SUCCESS)
        *charged_p += taken;
    return cr;
}

void
be_meter_end_anyway(struct be_session *session, const struct be_meter *meter, uint64_t *charged_p)
{
    uint64_t taken = meter_taken(session, meter);

    if (taken != 0)
        be_ledger_charge_anyway(session->ledger, (unsigned)meter->device, taken);
    *charged_p += taken;
}

/* -- contexts ---------------------------------------------------------------------------------- */

uint64_t
be_account_context_cost(const struct be_driver *driver, int32_t device)
{
    const struct be_driver_table *t = &driver->table;
    size_t before = 0, after = 0, total = 0;
    CUcontext first = NULL, second = NULL;

    if (driver->software || t->cuDevicePrimaryCtxRetain(&first, device) != CUDA_SUCCESS)
        return 0;
    if (t->cuCtxSetCurrent(first) == CUDA_SUCCESS &&
        t->cuMemGetInfo_v2(&before, &total) == CUDA_SUCCESS &&
        t->cuCtxCreate_v2(&second, 0, device) == CUDA_SUCCESS) {
        if (t->cuMemGetInfo_v2(&after, &total) != CUDA_SUCCESS)
            after = before;
        (void)t->cuCtxDestroy_v2(second);
    }
    (void)t->cuCtxSetCurrent(NULL);
    (void)t->cuDevicePrimaryCtxRelease_v2(device);
    return before > after ? before - after : 0;
}

/* -- limits ------------------------------------------------------------------------------------ */

/* The driver keeps memory for these two as they say, up front. */
static bool
limit_takes_memory(uint32_t limit)
{
    return limit == CU_LIMIT_MALLOC_HEAP_SIZE || limit == CU_LIMIT_PRINTF_FIFO_SIZE;
}

/* charged bytes were charged for a change from before to what it really is. */
static void
limit_settle(struct be_session *session, struct be_context *context, uint64_t charged,
             uint64_t before, uint64_t after)
{
    uint64_t more = after > before ? after - before : 0;
    uint64_t less = before > after ? gp_min_u64(before - after, context->charged_bytes) : 0;

    if (more > charged)
        be_ledger_charge_anyway(session->ledger, (unsigned)context->device, more - charged);
    else
        be_account_uncharge(session, context->device, charged - more);
    be_account_uncharge(session, context->device, less);
    context->charged_bytes += more;
    context->charged_bytes -= less;
}

CUresult
be_hook_cuCtxSetLimit(struct be_call *call, const struct wire_cuCtxSetLimit_args *args,
                      struct wire_cuCtxSetLimit_reply *reply)
{
    int32_t device = call->context->device;
    size_t before = 0, after = 0;
    uint64_t more = 0;
    CUresult cr;

    (void)reply;
    if (!limit_takes_memory(args->limit) || !be_ledger_governed(call->session->ledger))
        return call->driver->cuCtxSetLimit((CUlimit)args->limit, args->value);
    cr = call->driver->cuCtxGetLimit(&before, (CUlimit)args->limit);
    if (cr != CUDA_SUCCESS)
        return cr;
    if (args->value > before)
        more = args->value - before;
    cr = be_account_charge(call->session, device, more);
    if (cr == CUDA_SUCCESS)
        cr = call->driver->cuCtxSetLimit((CUlimit)args->limit, args->value);
    if (call->driver->cuCtxGetLimit(&after, (CUlimit)args->limit) != CUDA_SUCCESS)
        after = before;
    limit_settle(call->session, call->context, more, before, after);
    return cr;
}

/* Here because the limits are. */
CUresult
be_hook_gpLimits(struct be_call *call, const struct wire_gpLimits_args *args,
                 struct wire_gpLimits_reply *reply)
{
    struct gp_buf *room = be_scratch(call->session);
    struct {
        uint64_t values[CU_LIMIT_MAX];
        int32_t results[CU_LIMIT_MAX];
    } *limits = (void *)gp_buf_reserve(room, sizeof(*limits));

    (void)args;
    if (limits == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    for (int i = 0; i < CU_LIMIT_MAX; i++) {
        size_t value = 0;

        limits->results[i] = (int32_t)call->driver->cuCtxGetLimit(&value, (CUlimit)i);
        limits->values[i] = value;
    }
    reply->values = limits->values;
    reply->results = limits->results;
    reply->values_len = reply->results_len = CU_LIMIT_MAX;
    return CUDA_SUCCESS;
}
