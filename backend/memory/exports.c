/* backend/memory/exports.c -- memory of this session for others of its tenant, and theirs for it
 *
 * An extent is exported by the driver as a descriptor; another session's worker imports that and
 * maps it at an address that its client named. Imported memory is charged to who made it.
 */
#include "backend/memory/exports.h"

#include "backend/memory/space_priv.h"
#include "protocol/base/log.h"
#include "protocol/base/util.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define POSIX_FD CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR

static CUresult
handle_export(const struct be_space *space, CUmemGenericAllocationHandle handle, int *fd_p)
{
    int fd = -1;
    CUresult cr;

    if (space->driver->table.cuMemExportToShareableHandle == NULL)
        return CUDA_ERROR_NOT_SUPPORTED;
    cr = space->driver->table.cuMemExportToShareableHandle(&fd, handle, POSIX_FD, 0);
    if (cr == CUDA_SUCCESS)
        *fd_p = fd;
    return cr;
}

static CUresult
handle_import(const struct be_space *space, int fd, CUmemGenericAllocationHandle *handle_p)
{
    if (space->driver->table.cuMemImportFromShareableHandle == NULL)
        return CUDA_ERROR_NOT_SUPPORTED;
    return space->driver->table.cuMemImportFromShareableHandle(handle_p, (void *)(intptr_t)fd,
                                                               POSIX_FD);
}

static bool
parts_make(struct be_offer *offer, uint32_t parts)
{
    offer->fds = malloc((parts + 1) * sizeof(*offer->fds));
    offer->part_bytes = calloc(parts + 1, sizeof(*offer->part_bytes));
    if (offer->fds == NULL || offer->part_bytes == NULL) {
        be_offer_fini(offer);
        return false;
    }
    return true;
}

/* -- allocations ------------------------------------------------------------------------------ */

static uint32_t
extents_count(struct be_space *space, uint64_t address)
{
    uint64_t at = 0;
    uint32_t count = 0;

    while (be_granules_next_extent(space->map, address, &at) != NULL)
        count++;
    return count;
}

/* space.lock is held. */
static CUresult
export_locked(struct be_space *space, uint64_t address, struct be_offer *offer)
{
    const struct be_allocation *a = be_granules_find(space->map, address);
    struct be_extent *extent;
    uint64_t at = 0;
    uint32_t count;

    if (a == NULL || a->freeing)
        return CUDA_ERROR_INVALID_VALUE;
    count = extents_count(space, address);
    if (count > BE_SHARE_PARTS_MAX || !parts_make(offer, count))
        return CUDA_ERROR_OUT_OF_MEMORY;
    offer->kind = BE_SHARE_MEMORY;
    offer->device = a->device;
    offer->bytes = a->bytes;
    offer->offset = (address - space->base) % space->granularity;
    while ((extent = be_granules_next_extent(space->map, address, &at)) != NULL) {
        CUresult cr = CUDA_SUCCESS;

        /* What others hold too stays where it is. */
        if (extent->out) /* the caller waits for what is not there */
            return CUDA_ERROR_OUT_OF_MEMORY;
        if (!extent->shared && !be_space_fix(space, extent->device, be_extent_bytes(space, extent)))
            return CUDA_ERROR_OUT_OF_MEMORY;
        extent->shared = true;
        cr = handle_export(space, extent->handle, &offer->fds[offer->parts]);
        if (cr != CUDA_SUCCESS)
            return cr;
        offer->part_bytes[offer->parts++] = be_extent_bytes(space, extent);
    }
    return CUDA_SUCCESS;
}

CUresult
be_space_export(struct be_space *space, uint64_t address, struct be_offer *offer_p)
{
    struct be_offer offer = {0};
    CUresult cr;

    pthread_mutex_lock(&space->lock);
    be_swap_still(space);
    cr = export_locked(space, address, &offer);
    pthread_mutex_unlock(&space->lock);
    if (cr == CUDA_SUCCESS)
        *offer_p = offer;
    else
        be_offer_fini(&offer);
    return cr;
}

/* What another worker says must make sense before addresses are given to it. */
static bool
offer_check(const struct be_space *space, uint64_t address, const struct be_offer *offer)
{
    uint64_t span = 0;

    if (offer->device < 0 || offer->device >= space->driver->device_count || offer->parts == 0 ||
        offer->bytes == 0 || offer->offset >= space->granularity ||
        (address - space->base) % space->granularity != offer->offset)
        return false;
    for (uint32_t i = 0; i < offer->parts; i++) {
        uint64_t bytes = offer->part_bytes[i];

        if (bytes == 0 || bytes % space->granularity != 0 || bytes > space->bytes - span)
            return false;
        span += bytes;
    }
    return offer->bytes <= span - offer->offset &&
           span - offer->offset - offer->bytes < space->granularity;
}

static CUresult
part_map(struct be_space *space, struct be_extent *extent, int fd)
{
    const struct be_driver_table *t = &space->driver->table;
    uint64_t address = be_extent_address(space, extent), bytes = be_extent_bytes(space, extent);
    CUmemGenericAllocationHandle handle;
    CUresult cr = handle_import(space, fd, &handle);

    if (cr != CUDA_SUCCESS)
        return cr;
    extent->handle = handle;
    cr = t->cuMemMap(address, bytes, 0, extent->handle, 0);
    if (cr == CUDA_SUCCESS) {
        cr = be_access_extent(space, extent);
        if (cr != CUDA_SUCCESS)
            (void)t->cuMemUnmap(address, bytes);
    }
    if (cr != CUDA_SUCCESS)
        (void)t->cuMemRelease(extent->handle);
    else
        extent->mapped = true;
    return cr;
}

/* space.lock is held. */
static CUresult
import_locked(struct be_space *space, uint64_t address, const struct be_offer *offer,
              uint32_t context, int32_t reader)
{
    CUresult cr = CUDA_SUCCESS;
    struct be_extent *extent;
    enum gp_status status;
    uint64_t at = 0;

    status = be_granules_adopt(space->map, address, offer->bytes, offer->device, context,
                               offer->part_bytes, offer->parts);
    if (status != GP_OK)
        return status == GP_ERR_INVALID ? CUDA_ERROR_INVALID_VALUE : CUDA_ERROR_OUT_OF_MEMORY;
    for (uint32_t i = 0; i < offer->parts && cr == CUDA_SUCCESS; i++) {
        extent = be_granules_next_extent(space->map, address, &at);
        extent->imported = extent->shared = true;
        extent->readable = extent->writable = 1ull << reader;
        cr = part_map(space, extent, offer->fds[i]);
    }
    if (cr != CUDA_SUCCESS) {
        status = be_granules_drop(space->map, address, be_space_extent_gone, space);
        (void)status;
    }
    return cr;
}

CUresult
be_space_import(struct be_space *space, uint64_t address, const struct be_offer *offer,
                uint32_t context, int32_t reader)
{
    CUresult cr = CUDA_ERROR_INVALID_VALUE;

    pthread_mutex_lock(&space->lock);
    if (offer_check(space, address, offer))
        cr = import_locked(space, address, offer, context, reader);
    pthread_mutex_unlock(&space->lock);
    return cr;
}

bool
be_space_live(struct be_space *space, uint64_t address)
{
    const struct be_allocation *a;
    bool live;

    pthread_mutex_lock(&space->lock);
    a = be_granules_find(space->map, address);
    live = a != NULL && !a->freeing;
    pthread_mutex_unlock(&space->lock);
    return live;
}

/* -- objects ---------------------------------------------------------------------------------- */

CUresult
be_phys_export(struct be_space *space, struct be_phys *phys, struct be_offer *offer_p)
{
    struct be_offer offer = {0};
    CUresult cr;

    if ((be_phys_handle_types(phys) & POSIX_FD) == 0)
        return CUDA_ERROR_INVALID_VALUE;
    if (!parts_make(&offer, 1))
        return CUDA_ERROR_OUT_OF_MEMORY;
    offer.kind = BE_SHARE_OBJECT;
    offer.device = be_phys_device(phys);
    offer.handle_types = be_phys_handle_types(phys);
    offer.bytes = offer.part_bytes[0] = be_phys_bytes(phys);
    pthread_mutex_lock(&space->lock);
    cr = be_phys_stay(space, phys);
    pthread_mutex_unlock(&space->lock);
    if (cr == CUDA_SUCCESS)
        cr = handle_export(space, be_phys_driver_handle(phys), &offer.fds[0]);
    if (cr == CUDA_SUCCESS) {
        offer.parts = 1;
        *offer_p = offer;
    } else {
        be_offer_fini(&offer);
    }
    return cr;
}

CUresult
be_phys_import(struct be_space *space, const struct be_offer *offer, struct be_phys **phys_p)
{
    CUmemGenericAllocationHandle handle;
    CUresult cr;

    if (offer->parts != 1 || offer->device < 0 || offer->device >= space->driver->device_count ||
        offer->bytes == 0 || offer->bytes % space->granularity != 0)
        return CUDA_ERROR_INVALID_VALUE;
    cr = handle_import(space, offer->fds[0], &handle);
    if (cr != CUDA_SUCCESS)
        return cr;
    cr = be_phys_adopt(space, handle, offer->bytes, offer->device, offer->handle_types, phys_p);
    if (cr != CUDA_SUCCESS)
        (void)space->driver->table.cuMemRelease(handle);
    return cr;
}
