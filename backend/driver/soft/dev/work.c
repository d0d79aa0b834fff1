/* backend/driver/soft/dev/work.c -- runs one piece of work */
#include "backend/driver/soft/dev/work.h"

#include "backend/driver/soft/dev/ipc_event.h"
#include "backend/driver/soft/dev/mempool.h"
#include "backend/driver/soft/dev/sched.h"
#include "backend/driver/soft/dev/shared.h"
#include "backend/driver/soft/dev/thread.h"
#include "backend/driver/soft/dev/unpack.h"
#include "protocol/base/clock.h"

#include <errno.h>
#include <string.h>
#include <time.h>

void
sd_work_fini(struct sd_work *work)
{
    switch (work->kind) {
    case SD_WORK_KERNEL:
        free(work->kernel.params);
        free(work->kernel.bound);
        break;
    case SD_WORK_COPY:
        free(work->copy.staging);
        break;
    case SD_WORK_VALUES:
        free(work->values.ops);
        break;
    case SD_WORK_RECORD:
        sd_mark_put(work->mark);
        break;
    case SD_WORK_UNPACK:
        free(work->unpack.params);
        break;
    case SD_WORK_GRAPH:
        sd_graph_work_fini(&work->graph);
        break;
    default:
        break;
    }
    work->kind = SD_WORK_NOTHING;
}

static void
host_run(const struct sd_work *work)
{
    sd_thread_host_function(1);
    if (work->kind == SD_WORK_HOST)
        work->host.fn(work->host.user);
    else
        work->host.callback(work->host.stream, (CUresult)atomic_load(&work->ctx->error),
                            work->host.user);
    sd_thread_host_function(-1);
}

/* Device memory is shared with kernels and host threads: words are read and written whole. */
static uint64_t
value_load(const CUstreamBatchMemOpParams *op)
{
    if (op->operation == CU_STREAM_MEM_OP_WAIT_VALUE_32)
        return __atomic_load_n((const uint32_t *)(uintptr_t)op->waitValue.address,
                               __ATOMIC_ACQUIRE);
    return __atomic_load_n((const uint64_t *)(uintptr_t)op->waitValue.address, __ATOMIC_ACQUIRE);
}

static bool
value_reached(const CUstreamBatchMemOpParams *op)
{
    bool wide = op->operation == CU_STREAM_MEM_OP_WAIT_VALUE_64;
    uint64_t have = value_load(op);
    uint64_t want = wide ? op->waitValue.value64 : op->waitValue.value;

    switch (op->waitValue.flags & 3) {
    case CU_STREAM_WAIT_VALUE_GEQ: /* cyclic */
        return wide ? (int64_t)(have - want) >= 0 : (int32_t)((uint32_t)have - (uint32_t)want) >= 0;
    case CU_STREAM_WAIT_VALUE_EQ:
        return have == want;
    case CU_STREAM_WAIT_VALUE_AND:
        return (have & want) != 0;
    default: /* NOR */
        return wide ? ~(have | want) != 0 : (uint32_t) ~(have | want) != 0;
    }
}

bool
sd_work_ready(struct sd_work *work)
{
    struct sd_values_work *values = &work->values;

    for (; values->next < values->count; values->next++) {
        const CUstreamBatchMemOpParams *op = &values->ops[values->next];

        switch (op->operation) {
        case CU_STREAM_MEM_OP_WAIT_VALUE_32:
        case CU_STREAM_MEM_OP_WAIT_VALUE_64:
            if (!value_reached(op))
                return false;
            break;
        case CU_STREAM_MEM_OP_WRITE_VALUE_32:
            __atomic_store_n((uint32_t *)(uintptr_t)op->writeValue.address, op->writeValue.value,
                             __ATOMIC_RELEASE);
            break;
        case CU_STREAM_MEM_OP_WRITE_VALUE_64:
            __atomic_store_n((uint64_t *)(uintptr_t)op->writeValue.address, op->writeValue.value64,
                             __ATOMIC_RELEASE);
            break;
        default: /* memory is coherent */
            break;
        }
    }
    return true;
}

static CUresult
device_run(struct sd_work *work)
{
    switch (work->kind) {
    case SD_WORK_KERNEL:
        return sd_kernel_run(work);
    case SD_WORK_COPY:
        sd_copy_run(&work->copy);
        return CUDA_SUCCESS;
    default:
        sd_fill_run(&work->fill);
        return CUDA_SUCCESS;
    }
}

bool
sd_work_has_clock(const struct CUctx_st *ctx)
{
    return sd_profile_has_clock(&ctx->dev->profile);
}

bool
sd_profile_has_clock(const struct sd_profile *p)
{
    return p->launch_ns != 0 || p->threads_per_second != 0 || p->copy_bytes_per_second != 0;
}

bool
sd_work_is_timed(const struct sd_work *work)
{
    switch (work->kind) {
    case SD_WORK_KERNEL:
    case SD_WORK_COPY:
    case SD_WORK_FILL:
        return sd_work_has_clock(work->ctx);
    default:
        return false;
    }
}

/* How long the model says that the work takes. */
static uint64_t
model_ns(const struct sd_profile *p, const struct sd_work *work)
{
    const struct sd_kernel_work *k = &work->kernel;
    double amount, rate;

    if (work->kind == SD_WORK_KERNEL) {
        amount =
            (double)k->grid[0] * k->grid[1] * k->grid[2] * k->block[0] * k->block[1] * k->block[2];
        rate = (double)p->threads_per_second;
    } else {
        amount = work->kind == SD_WORK_COPY
                     ? (double)work->copy.width * work->copy.height * work->copy.depth
                     : (double)work->fill.width * work->fill.height * work->fill.element;
        rate = (double)p->copy_bytes_per_second;
    }
    return p->launch_ns + (rate > 0 ? (uint64_t)(amount / rate * 1e9) : 0);
}

static enum sd_engine
engine_of(const struct sd_work *work)
{
    struct sd_alloc alloc;

    if (work->kind != SD_WORK_COPY)
        return SD_ENGINE_COMPUTE;
    return sd_map_find(work->copy.src, &alloc) && !sd_mem_is_host(alloc.kind) ? SD_ENGINE_COPY_OUT
                                                                              : SD_ENGINE_COPY_IN;
}

/* A device begins with what it is given at once: that a thread is woken late, for a stream's first
 * work or after its last, is no time of the device. */
static _Thread_local uint64_t over_ns;

uint64_t
sd_work_clock_get(void)
{
    return over_ns;
}

void
sd_work_clock_set(uint64_t ns)
{
    over_ns = ns;
}

void
sd_work_clock_reach(uint64_t ns)
{
    over_ns = gp_max_u64(over_ns, ns);
}

/* Something else than the device took its time. */
static void
clock_now(void)
{
    if (over_ns != 0)
        over_ns = gp_now_ns();
}

/* The work has its engine for itself, for the longer of its real and its modelled time, from when
 * both it and the engine were ready. */
static CUresult
timed_run(struct sd_work *work)
{
    const struct sd_device *dev = work->ctx->dev;
    enum sd_engine engine = engine_of(work);
    uint64_t ready = over_ns != 0 ? over_ns : gp_now_ns(), began, end, *free_ns;
    struct timespec until;
    CUresult cr;

    sd_engine_lock(dev->ordinal, engine, &free_ns);
    began = gp_now_ns();
    cr = device_run(work);
    end = gp_max_u64(ready, *free_ns) +
          gp_max_u64(model_ns(&dev->profile, work), gp_now_ns() - began);
    over_ns = *free_ns = end;
    until = gp_timespec(end);
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) == EINTR)
        continue;
    sd_engine_unlock(dev->ordinal, engine);
    return cr;
}

CUresult
sd_work_run(struct sd_work *work)
{
    bool poisoned = atomic_load(&work->ctx->error) != 0;

    switch (work->kind) {
    case SD_WORK_NOTHING:
    case SD_WORK_VALUES: /* done by sd_work_ready */
        return CUDA_SUCCESS;
    case SD_WORK_RECORD:
        atomic_store(&work->mark->ns, over_ns != 0 ? over_ns : gp_now_ns());
        if (work->mark->shared != NULL)
            sd_shared_event_complete(work->mark->shared, work->mark->shared_record);
        return CUDA_SUCCESS;
    case SD_WORK_CALLBACK:
        host_run(work);
        clock_now();
        return CUDA_SUCCESS;
    case SD_WORK_FREE:
        (void)sd_mempool_free_queued(work->address, true);
        return CUDA_SUCCESS;
    default:
        break;
    }
    if (poisoned)
        return CUDA_SUCCESS; /* nothing runs in a context that failed */
    switch (work->kind) {
    case SD_WORK_KERNEL:
    case SD_WORK_COPY:
    case SD_WORK_FILL:
        return sd_work_is_timed(work) ? timed_run(work) : device_run(work);
    case SD_WORK_HOST:
        host_run(work);
        clock_now();
        return CUDA_SUCCESS;
    case SD_WORK_GRAPH:
        return sd_graph_run(work);
    case SD_WORK_UNPACK:
        return sd_unpack_run(&work->unpack, work->ctx);
    default:
        return CUDA_ERROR_UNKNOWN;
    }
}
