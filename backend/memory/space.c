/* backend/memory/space.c -- physical memory behind the addresses that the client names */
#include "backend/memory/space.h"

#include "backend/memory/stash.h"
#include "backend/memory/scrub.h"
#include "backend/memory/space_priv.h"
#include "backend/tenant/rooms.h"
#include "protocol/base/clock.h"
#include "protocol/base/log.h"
#include "protocol/base/util.h"

#include <stdlib.h>
#include <string.h>

#define BE_REAP_QUEUE_MAX (1u << 20)
/* Kept free on a device for contexts and modules of whoever comes. */
#define BE_DEVICE_KEEP_BYTES (64ull << 20)

/* A lease that falls short waits this long for others to give back what they do not use. */
#define BE_LEASE_WAIT_NS (500 * GP_NS_PER_MS)

/* -- the range -------------------------------------------------------------------------------- */

/* Where x86-64 programs rarely have anything: above heaps of position-independent programs'
 * shadow memory, below the mmap area; 0 leaves it to the driver. */
static const uint64_t be_base_hints[] = {0x300000000000ull, 0x200000000000ull, 0x400000000000ull,
                                         0x100000000000ull, 0x500000000000ull, 0};

static enum gp_status
range_reserve(const struct be_driver *driver, uint64_t hint, uint64_t bytes, uint64_t *base_p)
{
    CUdeviceptr at = 0;
    CUresult cr = CUDA_ERROR_OUT_OF_MEMORY;

    if (hint != 0) {
        cr = driver->table.cuMemAddressReserve(&at, bytes, 0, hint, 0);
        if (cr == CUDA_SUCCESS) {
            *base_p = at;
            return GP_OK;
        }
    }
    for (size_t i = 0; i < GP_ARRAY_LEN(be_base_hints); i++) {
        cr = driver->table.cuMemAddressReserve(&at, bytes, 0, be_base_hints[i], 0);
        if (cr == CUDA_SUCCESS) {
            *base_p = at;
            return GP_OK;
        }
    }
    log_error("memory: cannot reserve %llu GiB of device addresses: %s",
              (unsigned long long)(bytes >> 30), be_driver_error(driver, cr));
    return GP_ERR_IO;
}

/* One granularity for all devices: the largest. */
static enum gp_status
granularity_find(const struct be_driver *driver, uint64_t *granularity_p)
{
    uint64_t largest = 0;

    for (int i = 0; i < driver->device_count; i++) {
        CUmemAllocationProp prop;
        size_t bytes = 0;
        int supported = 0;
        CUdevice device;

        memset(&prop, 0, sizeof(prop));
        if (driver->table.cuDeviceGet(&device, i) != CUDA_SUCCESS)
            continue;
        (void)driver->table.cuDeviceGetAttribute(
            &supported, CU_DEVICE_ATTRIBUTE_VIRTUAL_MEMORY_MANAGEMENT_SUPPORTED, device);
        prop.type = CU_MEM_ALLOCATION_TYPE_PINNED;
        prop.location.type = CU_MEM_LOCATION_TYPE_DEVICE;
        prop.location.id = i;
        if (!supported || driver->table.cuMemGetAllocationGranularity(
                              &bytes, &prop, CU_MEM_ALLOC_GRANULARITY_MINIMUM) != CUDA_SUCCESS) {
            log_error("memory: device %d has no virtual memory management, it cannot be served", i);
            return GP_ERR_NOT_SUPPORTED;
        }
        largest = gp_max_u64(largest, bytes);
    }
    if (largest == 0 || (largest & (largest - 1)) != 0) {
        log_error("memory: no usable granularity of physical memory");
        return GP_ERR_NOT_SUPPORTED;
    }
    *granularity_p = largest;
    return GP_OK;
}

/* Who decompresses on a device wants memory that was made for it, and cuMemAlloc's is. */
static void
usage_find(struct be_space *space)
{
    const struct be_driver_table *t = &space->driver->table;

    for (int i = 0; i < space->driver->device_count; i++) {
        CUdevice device;
        int mask = 0;

        if (t->cuDeviceGet(&device, i) == CUDA_SUCCESS &&
            t->cuDeviceGetAttribute(&mask, CU_DEVICE_ATTRIBUTE_MEM_DECOMPRESS_ALGORITHM_MASK,
                                    device) == CUDA_SUCCESS &&
            mask != 0)
            space->devices[i].usage = CU_MEM_CREATE_USAGE_HW_DECOMPRESS;
    }
}

void
be_space_set_direct(struct be_space *space, bool direct)
{
    const struct be_driver_table *t = &space->driver->table;

    for (int i = 0; i < space->driver->device_count && direct; i++) {
        CUdevice device;
        int can = 0;

        if (t->cuDeviceGet(&device, i) == CUDA_SUCCESS)
            (void)t->cuDeviceGetAttribute(
                &can, CU_DEVICE_ATTRIBUTE_GPU_DIRECT_RDMA_WITH_CUDA_VMM_SUPPORTED, device);
        space->devices[i].direct = can != 0;
    }
}

/* -- mapping ---------------------------------------------------------------------------------- */

CUresult
be_space_back(struct be_space *space, const struct be_extent *extent,
              CUmemGenericAllocationHandle *handle_p)
{
    const struct be_driver_table *t = &space->driver->table;
    uint64_t address = be_extent_address(space, extent), bytes = be_extent_bytes(space, extent);
    CUmemGenericAllocationHandle handle = 0;
    CUmemAllocationProp prop;
    CUresult cr;

    memset(&prop, 0, sizeof(prop));
    prop.type = CU_MEM_ALLOCATION_TYPE_PINNED;
    prop.location.type = CU_MEM_LOCATION_TYPE_DEVICE;
    prop.location.id = extent->device;
    prop.allocFlags.usage = space->devices[extent->device].usage;
    prop.allocFlags.gpuDirectRDMACapable = space->devices[extent->device].direct;
    /* Another session may be let in later, and then it is too late to ask for that. */
    prop.requestedHandleTypes = CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR;
    cr = t->cuMemCreate(&handle, bytes, &prop, 0);
    if (cr != CUDA_SUCCESS && prop.allocFlags.gpuDirectRDMACapable != 0) {
        prop.allocFlags.gpuDirectRDMACapable = 0;
        cr = t->cuMemCreate(&handle, bytes, &prop, 0);
    }
    if (cr != CUDA_SUCCESS) {
        prop.requestedHandleTypes = CU_MEM_HANDLE_TYPE_NONE;
        cr = t->cuMemCreate(&handle, bytes, &prop, 0);
    }
    if (cr != CUDA_SUCCESS)
        return cr;
    cr = t->cuMemMap(address, bytes, 0, handle, 0);
    if (cr == CUDA_SUCCESS) {
        cr = be_access_apply(space, extent);
        if (cr != CUDA_SUCCESS)
            (void)t->cuMemUnmap(address, bytes);
    }
    if (cr != CUDA_SUCCESS) {
        (void)t->cuMemRelease(handle);
        return cr;
    }
    *handle_p = handle;
    return CUDA_SUCCESS;
}

/* -- room on the device ------------------------------------------------------------------------ */

bool
be_space_room(struct be_space *space, int32_t device, uint64_t bytes)
{
    struct be_space_device *d = &space->devices[device];
    uint64_t there = d->used_bytes - d->out_bytes;

    if (space->stash == NULL || (d->held_bytes >= there && d->held_bytes - there >= bytes))
        return true;
    if (!be_rooms_grow(space->ledger, (unsigned)device, bytes))
        return false;
    d->held_bytes += bytes;
    return true;
}

void
be_space_vacate(struct be_space *space, int32_t device, uint64_t bytes)
{
    struct be_space_device *d = &space->devices[device];

    if (space->stash == NULL)
        return;
    d->held_bytes -= gp_min_u64(bytes, d->held_bytes);
    be_rooms_give(space->ledger, (unsigned)device, bytes);
}

bool
be_space_fix(struct be_space *space, int32_t device, uint64_t bytes)
{
    struct be_space_device *d = &space->devices[device];

    if (space->stash == NULL)
        return true;
    if (!be_ledger_fix(space->ledger, (unsigned)device, bytes))
        return false;
    d->fixed_bytes += bytes;
    be_rooms_fix(space->ledger, (unsigned)device, d->fixed_bytes);
    return true;
}

void
be_space_unfix(struct be_space *space, int32_t device, uint64_t bytes)
{
    struct be_space_device *d = &space->devices[device];

    if (space->stash == NULL)
        return;
    d->fixed_bytes -= gp_min_u64(bytes, d->fixed_bytes);
    be_ledger_unfix(space->ledger, (unsigned)device, bytes);
    be_rooms_fix(space->ledger, (unsigned)device, d->fixed_bytes);
}

void
be_space_use(struct be_space *space, int32_t device, uint64_t more, uint64_t less)
{
    struct be_space_device *d = &space->devices[device];

    d->used_bytes += more;
    d->used_bytes -= gp_min_u64(less, d->used_bytes);
    be_ledger_set_used(space->ledger, (unsigned)device, d->used_bytes);
}

void
be_space_away(struct be_space *space, int32_t device, uint64_t more, uint64_t less)
{
    struct be_space_device *d = &space->devices[device];

    d->out_bytes += more;
    d->out_bytes -= less;
    be_ledger_set_away(space->ledger, (unsigned)device, d->out_bytes);
}

/* What is paged out has nothing on the device. */
static void
extent_forget(struct be_space *space, struct be_extent *extent)
{
    uint64_t bytes = be_extent_bytes(space, extent);

    be_stash_drop(space->stash, extent->kept);
    extent->kept = NULL;
    extent->out = false;
    be_space_away(space, extent->device, 0, bytes);
    be_space_use(space, extent->device, 0, bytes);
}

void
be_space_untell(struct be_space *space, struct be_extent *extent)
{
    if (extent->told)
        tp_memory_forget((const void *)(uintptr_t)be_extent_address(space, extent),
                         be_extent_bytes(space, extent));
    extent->told = false;
}

void
be_space_extent_gone(void *user, struct be_extent *extent)
{
    struct be_space *space = user;
    uint64_t address = be_extent_address(space, extent), bytes = be_extent_bytes(space, extent);
    CUresult cr;

    if (!extent->mapped)
        return;
    extent->mapped = false;
    if (extent->out) {
        extent_forget(space, extent);
        return;
    }
    be_space_untell(space, extent);
    cr = space->driver->table.cuMemUnmap(address, bytes);
    if (cr == CUDA_SUCCESS)
        cr = space->driver->table.cuMemRelease(extent->handle);
    if (cr != CUDA_SUCCESS)
        log_warn("memory: unmap %llu bytes at 0x%llx: %s", (unsigned long long)bytes,
                 (unsigned long long)address, be_driver_error(space->driver, cr));
    if (extent->imported)
        return;
    be_space_use(space, extent->device, 0, bytes);
    if (extent->shared)
        be_space_unfix(space, extent->device, bytes);
    be_space_vacate(space, extent->device, bytes);
}

static CUresult
status_result(enum gp_status status)
{
    switch (status) {
    case GP_OK:
        return CUDA_SUCCESS;
    case GP_ERR_LIMIT:
    case GP_ERR_NO_MEMORY:
        return CUDA_ERROR_OUT_OF_MEMORY;
    default:
        return CUDA_ERROR_INVALID_VALUE;
    }
}

/* Memory for a fresh extent: on the device, or later where there is no room now. */
static CUresult
extent_map(struct be_space *space, struct be_extent *extent)
{
    uint64_t bytes = be_extent_bytes(space, extent);
    CUmemGenericAllocationHandle handle = 0;
    CUresult cr;

    extent->seen = atomic_load_explicit(&space->reach, memory_order_relaxed);
    /* What runs still might be told of it. */
    extent->blank =
        space->scrub && extent->seen == atomic_load_explicit(&space->quiet, memory_order_relaxed);
    if (!be_space_room(space, extent->device, bytes)) {
        extent->mapped = extent->out = true;
        be_space_away(space, extent->device, bytes, 0);
        be_space_use(space, extent->device, bytes, 0);
        return CUDA_SUCCESS;
    }
    cr = be_space_back(space, extent, &handle);
    if (cr != CUDA_SUCCESS) {
        be_space_vacate(space, extent->device, bytes);
        return cr;
    }
    extent->handle = handle;
    extent->mapped = true;
    be_space_use(space, extent->device, bytes, 0);
    return CUDA_SUCCESS;
}

/* Memory behind what is fresh of an allocation. Only its first and its last granule can be there
 * already, shared with others, so what is fresh is one run; what comes later is filled then. */
static CUresult
fresh_map(struct be_space *space, uint64_t address)
{
    uint64_t at = 0, begin = 0, bytes = 0;
    struct be_extent *extent;
    CUresult cr;

    while ((extent = be_granules_next_extent(space->map, address, &at)) != NULL) {
        if (extent->mapped)
            continue;
        cr = extent_map(space, extent);
        if (cr != CUDA_SUCCESS)
            return cr;
        if (extent->out)
            continue;
        if (bytes != 0 && begin + bytes != be_extent_address(space, extent) && space->scrub) {
            cr = be_scrub_range(space->driver, begin, bytes);
            if (cr != CUDA_SUCCESS)
                return cr;
            bytes = 0;
        }
        if (bytes == 0)
            begin = be_extent_address(space, extent);
        bytes += be_extent_bytes(space, extent);
    }
    /* Its stream waits for nothing, so neither does anybody else for long. */
    return space->scrub && bytes != 0 ? be_scrub_range(space->driver, begin, bytes) : CUDA_SUCCESS;
}

static CUresult
alloc_locked(struct be_space *space, uint64_t address, uint64_t bytes, int32_t device,
             uint32_t context)
{
    uint64_t fresh, left = be_space_unused(&space->devices[device]);
    enum gp_status status;
    CUresult cr;

    status = be_granules_take(space->map, address, bytes, device, context, left, &fresh);
    if (status != GP_OK)
        return status_result(status);
    cr = fresh_map(space, address);
    if (cr != CUDA_SUCCESS) {
        status = be_granules_drop(space->map, address, be_space_extent_gone, space);
        (void)status;
    }
    return cr;
}

CUresult
be_space_alloc(struct be_space *space, uint64_t address, uint64_t bytes, int32_t device,
               uint32_t context)
{
    CUresult cr;

    if (device < 0 || device >= space->driver->device_count)
        return CUDA_ERROR_INVALID_DEVICE;
    /* Mapping does not wait for the device, so the lock may be held. */
    pthread_mutex_lock(&space->lock);
    cr = alloc_locked(space, address, bytes, device, context);
    pthread_mutex_unlock(&space->lock);
    return cr;
}

/* -- the reaper ------------------------------------------------------------------------------- */

static CUresult
reap_push(struct be_space *space, const struct be_reap *what)
{
    struct be_reap *reap;

    if (space->queued >= BE_REAP_QUEUE_MAX)
        return CUDA_ERROR_OUT_OF_MEMORY;
    reap = malloc(sizeof(*reap));
    if (reap == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    *reap = *what;
    reap->next = NULL;
    *space->tail = reap;
    space->tail = &reap->next;
    space->queued++;
    pthread_cond_signal(&space->wake);
    return CUDA_SUCCESS;
}

CUresult
be_space_free(struct be_space *space, uint64_t address, CUcontext sync)
{
    struct be_allocation *a;
    CUresult cr;

    pthread_mutex_lock(&space->lock);
    a = be_granules_find(space->map, address);
    if (a == NULL || a->freeing) {
        cr = CUDA_ERROR_INVALID_VALUE;
    } else {
        struct be_reap reap = {.address = address, .device = a->device, .sync = sync};

        cr = reap_push(space, &reap);
        a->freeing = cr == CUDA_SUCCESS;
    }
    pthread_mutex_unlock(&space->lock);
    return cr;
}

CUresult
be_space_ask(struct be_space *space, int32_t device, uint64_t bytes, CUcontext context,
             uint64_t ticket)
{
    struct be_reap reap = {.bytes = bytes, .ticket = ticket, .device = device, .sync = context};
    CUresult cr;

    if (device < 0 || device >= space->driver->device_count)
        return CUDA_ERROR_INVALID_DEVICE;
    pthread_mutex_lock(&space->lock);
    cr = reap_push(space, &reap);
    pthread_mutex_unlock(&space->lock);
    return cr;
}

/* Free memory of a device; a context is borrowed or, without one, retained for the question. */
static CUresult
device_memory(struct be_space *space, int32_t device, CUcontext context,
              struct be_space_answer *answer)
{
    const struct be_driver_table *t = &space->driver->table;
    size_t free_bytes = 0, total = 0;
    CUcontext own = NULL;
    CUresult cr;

    if (context == NULL) {
        cr = t->cuDevicePrimaryCtxRetain(&own, device);
        if (cr != CUDA_SUCCESS)
            return cr;
        context = own;
    }
    cr = t->cuCtxSetCurrent(context);
    if (cr == CUDA_SUCCESS)
        cr = t->cuMemGetInfo_v2(&free_bytes, &total);
    (void)t->cuCtxSetCurrent(NULL);
    if (own != NULL)
        (void)t->cuDevicePrimaryCtxRelease_v2(device);
    answer->free_bytes = free_bytes;
    answer->total_bytes = total;
    return cr;
}

/* In whole granules: what was asked for rounded up, or all that is left. */
uint64_t
be_space_lease(struct be_space *space, int32_t device, uint64_t bytes, uint64_t free_bytes)
{
    uint64_t reserve = space->driver->software ? 0 : BE_DEVICE_KEEP_BYTES, promised, there = 0;
    struct be_space_device *d = &space->devices[device];
    uint64_t most = UINT64_MAX - space->granularity;

    bytes = gp_align_up_u64(gp_min_u64(bytes, most), space->granularity);
    pthread_mutex_lock(&space->lock);
    if (space->ledger != NULL) {
        there = be_ledger_lease(space->ledger, (unsigned)device, bytes, space->granularity,
                                free_bytes, reserve);
    } else {
        promised = reserve + be_space_unused(d);
        there = gp_min_u64(free_bytes - gp_min_u64(free_bytes, promised), bytes);
        there -= there % space->granularity;
    }
    d->lease_bytes += there;
    pthread_mutex_unlock(&space->lock);
    return there;
}

/* A lease as long as the answer falls short and others may still give back what they have. */
static CUresult
lease_answer(struct be_space *space, const struct be_reap *reap, struct be_space_answer *answer)
{
    uint64_t until = gp_now_ns() + BE_LEASE_WAIT_NS, now;
    struct be_ledger_view view;
    bool asked = false;

    for (;;) {
        uint32_t bell = space->ledger != NULL ? be_ledger_bell(space->ledger) : 0;
        CUresult cr = device_memory(space, reap->device, reap->sync, answer);

        if (cr != CUDA_SUCCESS)
            return answer->granted_bytes != 0 ? CUDA_SUCCESS : cr;
        answer->granted_bytes += be_space_lease(
            space, reap->device, reap->bytes - answer->granted_bytes, answer->free_bytes);
        if (answer->granted_bytes >= reap->bytes || space->ledger == NULL)
            return CUDA_SUCCESS;
        be_ledger_view(space->ledger, (unsigned)reap->device, &view);
        now = gp_now_ns();
        if (view.idle_leases == 0 || now >= until)
            return CUDA_SUCCESS;
        if (!asked) {
            asked = true;
            be_ledger_want(space->ledger, (unsigned)reap->device);
            continue;
        }
        be_ledger_await(space->ledger, bell, until - now);
    }
}

static void
reap_answer(struct be_space *space, const struct be_reap *reap)
{
    struct be_space_answer answer = {0};
    CUresult cr;

    if (reap->bytes != 0)
        cr = lease_answer(space, reap, &answer);
    else
        cr = device_memory(space, reap->device, reap->sync, &answer);
    if (cr == CUDA_SUCCESS)
        be_ledger_clip(space->ledger, (unsigned)reap->device, &answer.total_bytes,
                       &answer.free_bytes);
    space->events.answered(space->events.user, reap->ticket, cr, &answer);
}

/* All frees of the batch, by device; the contexts are synchronised already. */
static void
reap_frees(struct be_space *space, struct be_reap *batch, struct be_reap *end)
{
    uint64_t addresses[BE_FREED_BATCH];
    uint32_t count = 0;
    int32_t device = 0;

    for (struct be_reap *r = batch; r != end; r = r->next) {
        if (count > 0 && (r->device != device || count == BE_FREED_BATCH)) {
            space->events.freed(space->events.user, device, addresses, count);
            count = 0;
        }
        pthread_mutex_lock(&space->lock);
        be_swap_still(space);
        device = r->device;
        if (be_granules_drop(space->map, r->address, be_space_extent_gone, space) == GP_OK)
            addresses[count++] = r->address;
        pthread_mutex_unlock(&space->lock);
    }
    if (count > 0)
        space->events.freed(space->events.user, device, addresses, count);
}

static void
reap_sync(struct be_space *space, CUcontext context)
{
    const struct be_driver_table *t = &space->driver->table;

    if (context == NULL || t->cuCtxSetCurrent(context) != CUDA_SUCCESS)
        return;
    /* A context with a sticky error says so here and runs nothing any more: fine too. */
    (void)t->cuCtxSynchronize();
    (void)t->cuCtxSetCurrent(NULL);
}

static void
reap_batch(struct be_space *space, struct be_reap *batch)
{
    while (batch != NULL) {
        struct be_reap *end = batch;
        CUcontext sync = batch->sync;

        if (batch->address == 0) {
            reap_answer(space, batch);
            end = batch->next;
        } else {
            while (end != NULL && end->address != 0 && end->sync == sync)
                end = end->next;
            reap_sync(space, sync);
            reap_frees(space, batch, end);
        }
        while (batch != end) {
            struct be_reap *next = batch->next;

            free(batch);
            batch = next;
        }
    }
}

static void *
reaper_main(void *arg)
{
    struct be_space *space = arg;
    struct be_reap *batch;

    pthread_mutex_lock(&space->lock);
    for (;;) {
        while (space->head == NULL && !space->stop)
            pthread_cond_wait(&space->wake, &space->lock);
        if (space->head == NULL)
            break;
        batch = space->head;
        space->head = NULL;
        space->tail = &space->head;
        space->queued = 0;
        space->busy = true;
        pthread_mutex_unlock(&space->lock);
        reap_batch(space, batch);
        pthread_mutex_lock(&space->lock);
        space->busy = false;
        if (space->head == NULL)
            pthread_cond_broadcast(&space->idle);
    }
    pthread_mutex_unlock(&space->lock);
    return NULL;
}

void
be_space_settle(struct be_space *space)
{
    pthread_mutex_lock(&space->lock);
    while (space->busy || space->head != NULL)
        pthread_cond_wait(&space->idle, &space->lock);
    pthread_mutex_unlock(&space->lock);
}

struct drop_list {
    uint64_t *addresses;
    size_t count;
    uint32_t context;
};

/* be_allocation_fn */
static void
drop_collect(void *user, const struct be_allocation *a)
{
    struct drop_list *list = user;

    if (list->context == UINT32_MAX || list->context == a->context)
        list->addresses[list->count++] = a->address;
}

void
be_space_drop_context(struct be_space *space, uint32_t context)
{
    struct drop_list list = {.context = context};
    enum gp_status status;

    be_space_settle(space);
    pthread_mutex_lock(&space->lock);
    be_swap_still(space);
    list.addresses = calloc(be_granules_count(space->map) + 1, sizeof(uint64_t));
    if (list.addresses != NULL)
        be_granules_each(space->map, drop_collect, &list);
    for (size_t i = 0; i < list.count; i++) {
        status = be_granules_drop(space->map, list.addresses[i], be_space_extent_gone, space);
        (void)status;
    }
    pthread_mutex_unlock(&space->lock);
    free(list.addresses);
}

/* -- life ------------------------------------------------------------------------------------- */

enum gp_status
be_space_create(const struct be_driver *driver, uint64_t base_hint, uint64_t bytes,
                const struct be_space_events *events, struct be_space **space_p)
{
    struct be_space *space;
    enum gp_status status;

    space = calloc(1, sizeof(*space));
    if (space == NULL)
        return GP_ERR_NO_MEMORY;
    space->driver = driver;
    space->events = *events;
    space->tail = &space->head;
    pthread_mutex_init(&space->lock, NULL);
    pthread_cond_init(&space->wake, NULL);
    pthread_cond_init(&space->idle, NULL);
    pthread_cond_init(&space->still, NULL);
    status = granularity_find(driver, &space->granularity);
    if (status != GP_OK)
        goto err_free;
    space->bytes = gp_align_up_u64(bytes, space->granularity);
    base_hint &= ~(space->granularity - 1);
    usage_find(space);
    status = range_reserve(driver, base_hint, space->bytes, &space->base);
    if (status != GP_OK)
        goto err_free;
    status = be_granules_create(space->base, space->bytes, space->granularity, &space->map);
    if (status != GP_OK)
        goto err_range;
    if (pthread_create(&space->reaper, NULL, reaper_main, space) != 0) {
        status = GP_ERR_NO_MEMORY;
        goto err_map;
    }
    *space_p = space;
    return GP_OK;

err_map:
    be_granules_destroy(space->map);
err_range:
    (void)driver->table.cuMemAddressFree(space->base, space->bytes);
err_free:
    pthread_cond_destroy(&space->still);
    pthread_cond_destroy(&space->idle);
    pthread_cond_destroy(&space->wake);
    pthread_mutex_destroy(&space->lock);
    free(space);
    return status;
}

void
be_space_destroy(struct be_space *space)
{
    if (space == NULL)
        return;
    be_space_drop_context(space, UINT32_MAX);
    be_phys_drop_all(space);
    pthread_mutex_lock(&space->lock);
    space->stop = true;
    pthread_cond_signal(&space->wake);
    pthread_mutex_unlock(&space->lock);
    pthread_join(space->reaper, NULL);
    be_swap_off(space);
    be_granules_destroy(space->map);
    (void)space->driver->table.cuMemAddressFree(space->base, space->bytes);
    pthread_cond_destroy(&space->still);
    pthread_cond_destroy(&space->idle);
    pthread_cond_destroy(&space->wake);
    pthread_mutex_destroy(&space->lock);
    free(space);
}

uint64_t
be_space_base(const struct be_space *space)
{
    return space->base;
}

uint64_t
be_space_bytes(const struct be_space *space)
{
    return space->bytes;
}

uint64_t
be_space_granularity(const struct be_space *space)
{
    return space->granularity;
}

void
be_space_set_lease(struct be_space *space, int32_t device, uint64_t bytes)
{
    pthread_mutex_lock(&space->lock);
    space->devices[device].lease_bytes = bytes;
    pthread_mutex_unlock(&space->lock);
}

void
be_space_set_ledger(struct be_space *space, struct be_ledger *ledger)
{
    space->ledger = ledger;
}

void
be_space_set_scrub(struct be_space *space, bool scrub)
{
    space->scrub = scrub;
}

uint64_t
be_space_lease_unused(struct be_space *space, int32_t device)
{
    uint64_t bytes;

    pthread_mutex_lock(&space->lock);
    bytes = be_space_unused(&space->devices[device]);
    pthread_mutex_unlock(&space->lock);
    return bytes;
}

CUresult
be_space_lease_return(struct be_space *space, int32_t device, uint64_t bytes)
{
    struct be_space_device *d;
    CUresult cr = CUDA_SUCCESS;

    if (device < 0 || device >= space->driver->device_count)
        return CUDA_ERROR_INVALID_DEVICE;
    d = &space->devices[device];
    pthread_mutex_lock(&space->lock);
    if (bytes > be_space_unused(d))
        cr = CUDA_ERROR_INVALID_VALUE;
    else
        d->lease_bytes -= bytes;
    pthread_mutex_unlock(&space->lock);
    if (cr == CUDA_SUCCESS)
        be_ledger_lease_return(space->ledger, (unsigned)device, bytes);
    return cr;
}

void
be_space_lease_cut(struct be_space *space, int32_t device)
{
    struct be_space_device *d = &space->devices[device];
    uint64_t bytes;

    pthread_mutex_lock(&space->lock);
    bytes = gp_min_u64(be_ledger_excess(space->ledger, (unsigned)device), be_space_unused(d));
    bytes -= bytes % space->granularity;
    d->lease_bytes -= bytes;
    pthread_mutex_unlock(&space->lock);
    be_ledger_lease_return(space->ledger, (unsigned)device, bytes);
}

uint64_t
be_space_used(struct be_space *space, int32_t device)
{
    uint64_t bytes;

    pthread_mutex_lock(&space->lock);
    bytes = space->devices[device].used_bytes;
    pthread_mutex_unlock(&space->lock);
    return bytes;
}

CUresult
be_space_charge(struct be_space *space, int32_t device, uint64_t bytes)
{
    CUresult cr = CUDA_ERROR_OUT_OF_MEMORY;

    pthread_mutex_lock(&space->lock);
    if (bytes <= be_space_unused(&space->devices[device]) && be_space_fix(space, device, bytes)) {
        if (be_space_room(space, device, bytes)) {
            be_space_use(space, device, bytes, 0);
            cr = CUDA_SUCCESS;
        } else {
            be_space_unfix(space, device, bytes);
        }
    }
    pthread_mutex_unlock(&space->lock);
    return cr;
}

void
be_space_uncharge(struct be_space *space, int32_t device, uint64_t bytes)
{
    pthread_mutex_lock(&space->lock);
    be_space_use(space, device, 0, bytes);
    be_space_unfix(space, device, bytes);
    be_space_vacate(space, device, bytes);
    pthread_mutex_unlock(&space->lock);
}

bool
be_space_inside(const struct be_space *space, uint64_t address, uint64_t bytes)
{
    return be_granules_inside(space->map, address, bytes);
}

bool
be_space_mapped(struct be_space *space, uint64_t address, uint64_t bytes)
{
    bool mapped;

    pthread_mutex_lock(&space->lock);
    mapped = be_granules_mapped(space->map, address, bytes);
    pthread_mutex_unlock(&space->lock);
    return mapped;
}

static bool
own_locked(struct be_space *space, uint64_t address, uint64_t bytes)
{
    const struct be_extent *extent;
    uint64_t at = address;
    bool own = be_granules_mapped(space->map, address, bytes);

    while (own && at < address + bytes) {
        extent = be_granules_at(space->map, at);
        own = extent->phys == NULL && !extent->imported && !extent->shared && !extent->out &&
              !extent->moving;
        at = space->base + (extent->first + extent->count) * space->granularity;
    }
    return own;
}

bool
be_space_own(struct be_space *space, uint64_t address, uint64_t bytes)
{
    bool own;

    pthread_mutex_lock(&space->lock);
    own = own_locked(space, address, bytes);
    pthread_mutex_unlock(&space->lock);
    return own;
}

bool
be_space_tell(struct be_space *space, uint64_t address, uint64_t bytes,
              const struct tp_device_memory *memory, int32_t *device_p)
{
    struct be_extent *extent;
    uint64_t at = address;
    int32_t device = -1;
    bool own;

    pthread_mutex_lock(&space->lock);
    own = own_locked(space, address, bytes);
    while (own && at < address + bytes) {
        extent = be_granules_at(space->map, at);
        own = device < 0 || device == extent->device;
        device = extent->device;
        if (own && !extent->told)
            tp_memory_keep_device((void *)(uintptr_t)be_extent_address(space, extent),
                                  be_extent_bytes(space, extent), memory);
        extent->told = extent->told || own;
        at = be_extent_address(space, extent) + be_extent_bytes(space, extent);
    }
    pthread_mutex_unlock(&space->lock);
    *device_p = device;
    return own;
}

int32_t
be_space_device(struct be_space *space, uint64_t address)
{
    const struct be_extent *extent;
    int32_t device;

    pthread_mutex_lock(&space->lock);
    extent = be_granules_at(space->map, address);
    device = extent != NULL ? extent->device : -1;
    pthread_mutex_unlock(&space->lock);
    return device;
}
