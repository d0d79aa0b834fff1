/* backend/memory/phys.c -- physical memory that the client names, and its mappings */
#include "backend/memory/phys.h"

#include "backend/memory/phys_priv.h"
#include "backend/memory/scrub.h"
#include "backend/memory/space_priv.h"
#include "protocol/base/log.h"
#include "protocol/base/util.h"

#include <stdlib.h>
#include <string.h>

/* -- objects ---------------------------------------------------------------------------------- */

static void
prop_fill(const struct be_phys_wish *wish, CUmemAllocationProp *prop)
{
    memset(prop, 0, sizeof(*prop));
    prop->type = CU_MEM_ALLOCATION_TYPE_PINNED;
    prop->requestedHandleTypes = (CUmemAllocationHandleType)wish->handle_types;
    prop->location.type = CU_MEM_LOCATION_TYPE_DEVICE;
    prop->location.id = wish->device;
    prop->allocFlags.compressionType = wish->compression;
    prop->allocFlags.gpuDirectRDMACapable = wish->rdma;
    prop->allocFlags.usage = wish->usage;
}

static CUresult
wish_check(const struct be_space *space, const struct be_phys_wish *wish)
{
    if (wish->device < 0 || wish->device >= space->driver->device_count)
        return CUDA_ERROR_INVALID_DEVICE;
    if (wish->bytes == 0 || wish->bytes % space->granularity != 0)
        return CUDA_ERROR_INVALID_VALUE;
    if ((wish->handle_types & ~(uint32_t)CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR) != 0)
        return CUDA_ERROR_NOT_SUPPORTED;
    return CUDA_SUCCESS;
}

/* space.lock is held. */
static void
list_add(struct be_space *space, struct be_phys *phys)
{
    phys->next = space->objects;
    phys->link = &space->objects;
    if (phys->next != NULL)
        phys->next->link = &phys->next;
    space->objects = phys;
}

CUresult
be_phys_back(const struct be_space *space, const struct be_phys_wish *wish,
             CUmemGenericAllocationHandle *handle_p)
{
    CUmemAllocationProp prop;

    prop_fill(wish, &prop);
    return space->driver->table.cuMemCreate(handle_p, wish->bytes, &prop, 0);
}

/* space.lock is held. Without room on the device now it comes there later. */
static CUresult
create_locked(struct be_space *space, const struct be_phys_wish *wish, struct be_phys *phys)
{
    CUresult cr = CUDA_SUCCESS;

    if (wish->bytes > be_space_unused(&space->devices[wish->device]))
        return CUDA_ERROR_OUT_OF_MEMORY;
    phys->out = !be_space_room(space, wish->device, wish->bytes);
    if (phys->out) {
        be_space_away(space, wish->device, wish->bytes, 0);
    } else {
        cr = be_phys_back(space, wish, &phys->handle);
        if (cr == CUDA_SUCCESS && space->scrub) {
            cr = be_scrub_handle(space->driver, phys->handle, wish->bytes, wish->device);
            if (cr != CUDA_SUCCESS)
                (void)space->driver->table.cuMemRelease(phys->handle);
        }
        if (cr != CUDA_SUCCESS) {
            be_space_vacate(space, wish->device, wish->bytes);
            return cr;
        }
    }
    be_space_use(space, wish->device, wish->bytes, 0);
    list_add(space, phys);
    return CUDA_SUCCESS;
}

CUresult
be_phys_stay(struct be_space *space, struct be_phys *phys)
{
    if (phys->imported || phys->fixed)
        return CUDA_SUCCESS;
    if (phys->out || !be_space_fix(space, phys->device, phys->bytes))
        return CUDA_ERROR_OUT_OF_MEMORY;
    phys->fixed = true;
    return CUDA_SUCCESS;
}

CUresult
be_phys_create(struct be_space *space, const struct be_phys_wish *wish, struct be_phys **phys_p)
{
    struct be_phys *phys;
    CUresult cr = wish_check(space, wish);

    if (cr != CUDA_SUCCESS)
        return cr;
    phys = calloc(1, sizeof(*phys));
    if (phys == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    phys->wish = *wish;
    phys->bytes = wish->bytes;
    phys->device = wish->device;
    phys->handle_types = wish->handle_types;
    phys->held = true;
    pthread_mutex_lock(&space->lock);
    cr = create_locked(space, wish, phys);
    pthread_mutex_unlock(&space->lock);
    if (cr != CUDA_SUCCESS)
        free(phys);
    else
        *phys_p = phys;
    return cr;
}

CUresult
be_phys_adopt(struct be_space *space, CUmemGenericAllocationHandle handle, uint64_t bytes,
              int32_t device, uint32_t handle_types, struct be_phys **phys_p)
{
    struct be_phys *phys = calloc(1, sizeof(*phys));

    if (phys == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    phys->handle = handle;
    phys->bytes = bytes;
    phys->device = device;
    phys->handle_types = handle_types;
    phys->imported = phys->held = true;
    pthread_mutex_lock(&space->lock);
    list_add(space, phys);
    pthread_mutex_unlock(&space->lock);
    *phys_p = phys;
    return CUDA_SUCCESS;
}

CUmemGenericAllocationHandle
be_phys_driver_handle(const struct be_phys *phys)
{
    return phys->handle;
}

uint32_t
be_phys_handle_types(const struct be_phys *phys)
{
    return phys->handle_types;
}

int32_t
be_phys_device(const struct be_phys *phys)
{
    return phys->device;
}

uint64_t
be_phys_bytes(const struct be_phys *phys)
{
    return phys->bytes;
}

/* space.lock is held: what it has of the device, or of the host. */
static void
memory_release(struct be_space *space, struct be_phys *phys)
{
    CUresult cr;

    if (phys->out) {
        be_phys_kept_drop(space, phys);
        be_space_away(space, phys->device, 0, phys->bytes);
        be_space_use(space, phys->device, 0, phys->bytes);
        return;
    }
    cr = space->driver->table.cuMemRelease(phys->handle);
    if (cr != CUDA_SUCCESS)
        log_warn("memory: release %llu bytes: %s", (unsigned long long)phys->bytes,
                 be_driver_error(space->driver, cr));
    if (phys->imported)
        return;
    be_space_use(space, phys->device, 0, phys->bytes);
    if (phys->fixed)
        be_space_unfix(space, phys->device, phys->bytes);
    be_space_vacate(space, phys->device, phys->bytes);
}

/* space.lock is held, and nothing moves. */
static void
free_if_gone(struct be_space *space, struct be_phys *phys)
{
    if (phys->held || phys->mappings > 0)
        return;
    be_team_end(space, phys);
    memory_release(space, phys);
    *phys->link = phys->next;
    if (phys->next != NULL)
        phys->next->link = phys->link;
    if (space->next_object == phys)
        space->next_object = phys->next;
    free(phys);
}

void
be_phys_let_go(struct be_space *space, struct be_phys *phys)
{
    phys->mappings--;
    free_if_gone(space, phys);
}

void
be_phys_put(struct be_space *space, struct be_phys *phys)
{
    pthread_mutex_lock(&space->lock);
    be_swap_still(space);
    phys->held = false;
    free_if_gone(space, phys);
    pthread_mutex_unlock(&space->lock);
}

/* -- mappings --------------------------------------------------------------------------------- */

static CUresult
map_locked(struct be_space *space, struct be_phys *phys, uint64_t address, uint64_t bytes,
           uint64_t offset)
{
    struct be_extent *mapping;
    enum gp_status status;
    CUresult cr;

    status = be_granules_map(space->map, address, bytes, phys, &mapping);
    if (status != GP_OK)
        return status == GP_ERR_NO_MEMORY ? CUDA_ERROR_OUT_OF_MEMORY : CUDA_ERROR_INVALID_VALUE;
    cr = phys->out ? CUDA_SUCCESS
                   : space->driver->table.cuMemMap(address, bytes, offset, phys->handle, 0);
    if (cr != CUDA_SUCCESS) {
        be_granules_unmap(space->map, mapping);
        return cr;
    }
    mapping->device = phys->device;
    mapping->offset = offset;
    mapping->mapped = true;
    mapping->out = phys->out;
    mapping->next = phys->mapped;
    mapping->link = &phys->mapped;
    if (mapping->next != NULL)
        mapping->next->link = &mapping->next;
    phys->mapped = mapping;
    phys->mappings++;
    return CUDA_SUCCESS;
}

CUresult
be_phys_map(struct be_space *space, struct be_phys *phys, uint64_t address, uint64_t bytes,
            uint64_t offset)
{
    CUresult cr;

    if (offset % space->granularity != 0 || offset > phys->bytes || bytes > phys->bytes - offset ||
        !be_phys_mappable(phys))
        return CUDA_ERROR_INVALID_VALUE;
    pthread_mutex_lock(&space->lock);
    be_swap_still(space);
    cr = map_locked(space, phys, address, bytes, offset);
    pthread_mutex_unlock(&space->lock);
    return cr;
}

/* Books only; the driver's side is done. */
static void
mapping_forget(struct be_space *space, struct be_extent *mapping)
{
    struct be_phys *phys = mapping->phys;

    *mapping->link = mapping->next;
    if (mapping->next != NULL)
        mapping->next->link = mapping->link;
    be_granules_unmap(space->map, mapping);
    be_phys_let_go(space, phys);
}

/* space.lock is held. The end of those from at on, which the driver has or all has not. */
static uint64_t
run_end(const struct be_space *space, uint64_t at, uint64_t end)
{
    const struct be_extent *first = be_granules_at(space->map, at), *mapping = first;

    while (at < end && (mapping = be_granules_at(space->map, at))->out == first->out)
        at += be_extent_bytes(space, mapping);
    return at;
}

CUresult
be_phys_unmap(struct be_space *space, uint64_t address, uint64_t bytes)
{
    CUresult cr = CUDA_ERROR_INVALID_VALUE;

    pthread_mutex_lock(&space->lock);
    be_swap_still(space);
    if (be_granules_tiled(space->map, address, bytes))
        cr = CUDA_SUCCESS;
    for (uint64_t at = address, end; cr == CUDA_SUCCESS && at < address + bytes;) {
        end = run_end(space, at, address + bytes);
        if (!be_granules_at(space->map, at)->out)
            cr = space->driver->table.cuMemUnmap(at, end - at);
        while (cr == CUDA_SUCCESS && at < end) {
            struct be_extent *mapping = be_granules_at(space->map, at);

            at += be_extent_bytes(space, mapping);
            mapping_forget(space, mapping);
        }
    }
    pthread_mutex_unlock(&space->lock);
    return cr;
}

/* space.lock is held, and mappings tile the range: by the books, and where it is there. */
static CUresult
access_locked(struct be_space *space, uint64_t address, uint64_t bytes,
              const struct be_access *access)
{
    CUresult cr = CUDA_SUCCESS;

    for (uint64_t at = address, end; cr == CUDA_SUCCESS && at < address + bytes;) {
        end = run_end(space, at, address + bytes);
        if (!be_granules_at(space->map, at)->out)
            cr = be_access_set(space, at, end - at, access);
        while (cr == CUDA_SUCCESS && at < end) {
            struct be_extent *mapping = be_granules_at(space->map, at);

            mapping->readable = (mapping->readable & ~access->named) | access->readable;
            mapping->writable = (mapping->writable & ~access->named) | access->writable;
            at += be_extent_bytes(space, mapping);
        }
    }
    return cr;
}

CUresult
be_phys_access(struct be_space *space, uint64_t address, uint64_t bytes,
               const struct be_access *access)
{
    CUresult cr = CUDA_ERROR_INVALID_VALUE;

    if (space->driver->device_count < 64 && access->named >> space->driver->device_count != 0)
        return CUDA_ERROR_INVALID_DEVICE;
    if (access->named == 0 || (access->readable & ~access->named) != 0 ||
        (access->writable & ~access->readable) != 0)
        return CUDA_ERROR_INVALID_VALUE;
    pthread_mutex_lock(&space->lock);
    be_swap_still(space);
    if (be_granules_tiled(space->map, address, bytes))
        cr = access_locked(space, address, bytes, access);
    pthread_mutex_unlock(&space->lock);
    return cr;
}

/* space.lock is held, and the object too. */
static void
mappings_drop(struct be_space *space, struct be_phys *phys)
{
    for (struct be_extent *mapping = phys->mapped, *next; mapping != NULL; mapping = next) {
        CUresult cr = CUDA_SUCCESS;

        next = mapping->next;
        if (!mapping->out)
            cr = space->driver->table.cuMemUnmap(be_extent_address(space, mapping),
                                                 be_extent_bytes(space, mapping));
        if (cr != CUDA_SUCCESS)
            log_warn("memory: unmap at the end: %s", be_driver_error(space->driver, cr));
        mapping_forget(space, mapping);
    }
}

void
be_phys_drop_all(struct be_space *space)
{
    pthread_mutex_lock(&space->lock);
    for (struct be_phys *p = space->objects; p != NULL; p = p->next)
        p->held = true;
    for (struct be_phys *p = space->objects; p != NULL; p = p->next)
        mappings_drop(space, p);
    /* What holds others goes first. */
    for (struct be_phys *p = space->objects; p != NULL; p = p->next)
        be_team_end(space, p);
    while (space->objects != NULL) {
        space->objects->held = false;
        free_if_gone(space, space->objects);
    }
    pthread_mutex_unlock(&space->lock);
}
