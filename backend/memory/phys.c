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

/* space.lock is held. */
static CUresult
create_locked(struct be_space *space, const struct be_phys_wish *wish, struct be_phys *phys)
{
    CUmemAllocationProp prop;
    CUresult cr;

    if (wish->bytes > be_space_unused(&space->devices[wish->device]))
        return CUDA_ERROR_OUT_OF_MEMORY;
    if (!be_space_fix(space, wish->device, wish->bytes))
        return CUDA_ERROR_OUT_OF_MEMORY;
    cr = CUDA_ERROR_OUT_OF_MEMORY;
    if (be_space_room(space, wish->device, wish->bytes)) {
        prop_fill(wish, &prop);
        cr = space->driver->table.cuMemCreate(&phys->handle, wish->bytes, &prop, 0);
        if (cr == CUDA_SUCCESS && space->scrub) {
            cr = be_scrub_handle(space->driver, phys->handle, wish->bytes, wish->device);
            if (cr != CUDA_SUCCESS)
                (void)space->driver->table.cuMemRelease(phys->handle);
        }
        if (cr != CUDA_SUCCESS)
            be_space_vacate(space, wish->device, wish->bytes);
    }
    if (cr != CUDA_SUCCESS) {
        be_space_unfix(space, wish->device, wish->bytes);
        return cr;
    }
    be_space_use(space, wish->device, wish->bytes, 0);
    list_add(space, phys);
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

/* space.lock is held. */
static void
free_if_gone(struct be_space *space, struct be_phys *phys)
{
    CUresult cr;

    if (phys->held || phys->mappings > 0)
        return;
    be_team_end(space, phys);
    cr = space->driver->table.cuMemRelease(phys->handle);
    if (cr != CUDA_SUCCESS)
        log_warn("memory: release %llu bytes: %s", (unsigned long long)phys->bytes,
                 be_driver_error(space->driver, cr));
    if (!phys->imported) {
        be_space_use(space, phys->device, 0, phys->bytes);
        be_space_unfix(space, phys->device, phys->bytes);
        be_space_vacate(space, phys->device, phys->bytes);
    }
    *phys->link = phys->next;
    if (phys->next != NULL)
        phys->next->link = phys->link;
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
    cr = space->driver->table.cuMemMap(address, bytes, offset, phys->handle, 0);
    if (cr != CUDA_SUCCESS) {
        be_granules_unmap(space->map, mapping);
        return cr;
    }
    mapping->device = phys->device;
    mapping->offset = offset;
    mapping->mapped = true;
    mapping->next = space->mappings;
    mapping->link = &space->mappings;
    if (mapping->next != NULL)
        mapping->next->link = &mapping->next;
    space->mappings = mapping;
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

CUresult
be_phys_unmap(struct be_space *space, uint64_t address, uint64_t bytes)
{
    CUresult cr = CUDA_ERROR_INVALID_VALUE;

    pthread_mutex_lock(&space->lock);
    if (be_granules_tiled(space->map, address, bytes))
        cr = space->driver->table.cuMemUnmap(address, bytes);
    for (uint64_t at = address; cr == CUDA_SUCCESS && at < address + bytes;) {
        struct be_extent *mapping = be_granules_at(space->map, at);

        at += be_extent_bytes(space, mapping);
        mapping_forget(space, mapping);
    }
    pthread_mutex_unlock(&space->lock);
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
    if (be_granules_tiled(space->map, address, bytes))
        cr = be_access_set(space, address, bytes, access);
    for (uint64_t at = address; cr == CUDA_SUCCESS && at < address + bytes;) {
        struct be_extent *mapping = be_granules_at(space->map, at);

        mapping->readable = (mapping->readable & ~access->named) | access->readable;
        mapping->writable = (mapping->writable & ~access->named) | access->writable;
        at += be_extent_bytes(space, mapping);
    }
    pthread_mutex_unlock(&space->lock);
    return cr;
}

void
be_phys_drop_all(struct be_space *space)
{
    pthread_mutex_lock(&space->lock);
    while (space->mappings != NULL) {
        struct be_extent *mapping = space->mappings;
        CUresult cr = space->driver->table.cuMemUnmap(be_extent_address(space, mapping),
                                                      be_extent_bytes(space, mapping));

        if (cr != CUDA_SUCCESS)
            log_warn("memory: unmap at the end: %s", be_driver_error(space->driver, cr));
        mapping_forget(space, mapping);
    }
    /* What holds others goes first. */
    for (struct be_phys *p = space->objects; p != NULL; p = p->next)
        be_team_end(space, p);
    while (space->objects != NULL) {
        space->objects->held = false;
        free_if_gone(space, space->objects);
    }
    pthread_mutex_unlock(&space->lock);
}
