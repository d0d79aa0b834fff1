/* backend/memory/access.c -- which devices reach which memory of the session */
#include "backend/memory/space_priv.h"
#include "protocol/base/log.h"

#include <string.h>

static uint32_t
access_describe(const struct be_access *access, CUmemAccessDesc *descs)
{
    uint32_t count = 0;

    for (int d = 0; d < BE_DRIVER_DEVICES_MAX; d++) {
        uint64_t bit = 1ull << d;

        if ((access->named & bit) == 0)
            continue;
        memset(&descs[count], 0, sizeof(descs[count]));
        descs[count].location.type = CU_MEM_LOCATION_TYPE_DEVICE;
        descs[count].location.id = d;
        descs[count++].flags = (access->writable & bit) != 0   ? CU_MEM_ACCESS_FLAGS_PROT_READWRITE
                               : (access->readable & bit) != 0 ? CU_MEM_ACCESS_FLAGS_PROT_READ
                                                               : CU_MEM_ACCESS_FLAGS_PROT_NONE;
    }
    return count;
}

CUresult
be_access_set(struct be_space *space, uint64_t address, uint64_t bytes,
              const struct be_access *access)
{
    CUmemAccessDesc descs[BE_DRIVER_DEVICES_MAX];
    uint32_t count = access_describe(access, descs);

    return space->driver->table.cuMemSetAccess(address, bytes, descs, count);
}

CUresult
be_access_extent(struct be_space *space, const struct be_extent *extent)
{
    return extent->out ? CUDA_SUCCESS : be_access_apply(space, extent);
}

CUresult
be_access_apply(struct be_space *space, const struct be_extent *extent)
{
    uint64_t all = 1ull << extent->device | space->devices[extent->device].peers;
    struct be_access access = {
        .named = all | extent->readable,
        .readable = all | extent->readable,
        .writable = all | extent->writable,
    };

    return be_access_set(space, be_extent_address(space, extent), be_extent_bytes(space, extent),
                         &access);
}

/* -- peers ------------------------------------------------------------------------------------ */

struct peer_walk {
    struct be_space *space;
    int32_t of, to;
    bool on;
    CUresult cr;
};

/* be_allocation_fn */
static void
peer_allocation(void *user, const struct be_allocation *a)
{
    struct peer_walk *walk = user;
    struct be_space *space = walk->space;
    struct be_extent *extent;
    uint64_t at = 0;

    while (a->device == walk->of && walk->cr == CUDA_SUCCESS &&
           (extent = be_granules_next_extent(space->map, a->address, &at)) != NULL) {
        uint64_t bit = 1ull << walk->to;
        struct be_access none = {
            .named = bit, .readable = extent->readable & bit, .writable = extent->writable & bit};

        if (!extent->mapped || extent->out)
            continue;
        walk->cr = walk->on ? be_access_extent(space, extent)
                            : be_access_set(space, be_extent_address(space, extent),
                                            be_extent_bytes(space, extent), &none);
    }
}

/* space.lock is held. */
static CUresult
peer_change(struct be_space *space, int32_t of, int32_t to, bool on)
{
    struct peer_walk walk = {.space = space, .of = of, .to = to, .on = on};
    uint64_t *peers = &space->devices[of].peers, bit = 1ull << to;

    *peers = on ? *peers | bit : *peers & ~bit;
    be_granules_each(space->map, peer_allocation, &walk);
    return walk.cr;
}

CUresult
be_space_peer(struct be_space *space, int32_t of, int32_t to, bool on)
{
    CUresult cr = CUDA_SUCCESS;
    uint32_t *count;

    if (of == to)
        return CUDA_SUCCESS;
    pthread_mutex_lock(&space->lock);
    be_swap_still(space);
    count = &space->devices[of].peer_counts[to];
    if (on && (*count)++ == 0) {
        cr = peer_change(space, of, to, true);
        if (cr != CUDA_SUCCESS) {
            (void)peer_change(space, of, to, false);
            --*count;
        }
    } else if (!on && *count > 0 && --*count == 0) {
        cr = peer_change(space, of, to, false);
    }
    pthread_mutex_unlock(&space->lock);
    if (cr != CUDA_SUCCESS)
        log_warn("memory: device %d and the memory of device %d: %s", to, of,
                 be_driver_error(space->driver, cr));
    return cr;
}

CUresult
be_space_open(struct be_space *space, uint64_t address, uint64_t readable, uint64_t writable)
{
    CUresult cr = CUDA_SUCCESS;
    struct be_extent *extent;
    struct be_allocation *a;
    uint64_t at = 0;

    if (space->driver->device_count < 64 &&
        (readable | writable) >> space->driver->device_count != 0)
        return CUDA_ERROR_INVALID_DEVICE;
    if ((writable & ~readable) != 0)
        return CUDA_ERROR_INVALID_VALUE;
    pthread_mutex_lock(&space->lock);
    be_swap_still(space);
    a = be_granules_find(space->map, address);
    if (a == NULL || a->freeing)
        cr = CUDA_ERROR_INVALID_VALUE;
    while (cr == CUDA_SUCCESS &&
           (extent = be_granules_next_extent(space->map, address, &at)) != NULL) {
        uint64_t closed = extent->readable & ~readable;
        struct be_access none = {.named = closed & ~(1ull << extent->device) &
                                          ~space->devices[extent->device].peers};

        extent->readable = readable;
        extent->writable = writable;
        if (none.named != 0 && !extent->out)
            cr = be_access_set(space, be_extent_address(space, extent),
                               be_extent_bytes(space, extent), &none);
        if (cr == CUDA_SUCCESS)
            cr = be_access_extent(space, extent);
    }
    pthread_mutex_unlock(&space->lock);
    return cr;
}
