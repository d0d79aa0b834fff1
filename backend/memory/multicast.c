/* backend/memory/multicast.c -- objects through which one access reaches memory of several devices
 */
#include "backend/memory/multicast.h"

#include "backend/memory/phys_priv.h"
#include "backend/memory/space_priv.h"
#include "protocol/base/log.h"
#include "protocol/base/util.h"

#include <stdlib.h>

#define BE_PLACES_MAX 4096u /* of one object */

struct bound {
    struct be_phys *memory;
    uint64_t offset, bytes;
    struct bound *next;
};

/* Guarded by space.lock. */
struct be_team {
    uint32_t devices; /* that it waits for */
    uint64_t members; /* a bit for each that was added */
    struct bound *bound;
    uint32_t count;
};

static CUmulticastObjectProp
prop_of(uint32_t devices, uint64_t bytes)
{
    return (CUmulticastObjectProp){.numDevices = devices, .size = bytes};
}

CUresult
be_multicast_granularity(const struct be_space *space, uint32_t devices, uint64_t bytes,
                         uint32_t option, uint64_t *granularity_p)
{
    const CUmulticastObjectProp prop = prop_of(devices, bytes);
    size_t granularity = 0;
    CUresult cr;

    if (space->driver->table.cuMulticastGetGranularity == NULL)
        return CUDA_ERROR_NOT_SUPPORTED;
    if (option > CU_MULTICAST_GRANULARITY_RECOMMENDED)
        return CUDA_ERROR_INVALID_VALUE;
    cr = space->driver->table.cuMulticastGetGranularity(&granularity, &prop,
                                                        (CUmulticastGranularity_flags)option);
    /* Both are powers of two: mappings go by the session's own. */
    *granularity_p = gp_max_u64(granularity, space->granularity);
    return cr;
}

CUresult
be_multicast_create(struct be_space *space, uint32_t devices, uint64_t bytes,
                    struct be_phys **object_p)
{
    const CUmulticastObjectProp prop = prop_of(devices, bytes);
    CUmemGenericAllocationHandle handle = 0;
    struct be_team *team;
    CUresult cr;

    if (space->driver->table.cuMulticastCreate == NULL)
        return CUDA_ERROR_NOT_SUPPORTED;
    if (devices == 0 || devices > (uint32_t)space->driver->device_count || bytes == 0 ||
        bytes % space->granularity != 0)
        return CUDA_ERROR_INVALID_VALUE;
    team = calloc(1, sizeof(*team));
    if (team == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    team->devices = devices;
    cr = space->driver->table.cuMulticastCreate(&handle, &prop);
    if (cr == CUDA_SUCCESS) {
        cr = be_phys_adopt(space, handle, bytes, 0, 0, object_p);
        if (cr != CUDA_SUCCESS)
            (void)space->driver->table.cuMemRelease(handle);
    }
    if (cr != CUDA_SUCCESS)
        free(team);
    else
        (*object_p)->team = team;
    return cr;
}

CUresult
be_multicast_add(struct be_space *space, struct be_phys *object, int32_t device)
{
    struct be_team *team = object->team;
    CUdevice of;
    CUresult cr;

    if (team == NULL || (team->members >> device & 1) != 0 ||
        (uint32_t)__builtin_popcountll(team->members) == team->devices)
        return CUDA_ERROR_INVALID_VALUE;
    cr = space->driver->table.cuDeviceGet(&of, device);
    if (cr == CUDA_SUCCESS)
        cr = space->driver->table.cuMulticastAddDevice(object->handle, of);
    if (cr == CUDA_SUCCESS) {
        pthread_mutex_lock(&space->lock);
        team->members |= 1ull << device;
        pthread_mutex_unlock(&space->lock);
    }
    return cr;
}

bool
be_phys_mappable(const struct be_phys *phys)
{
    return phys->team == NULL ||
           (uint32_t)__builtin_popcountll(phys->team->members) == phys->team->devices;
}

static CUresult
place_check(const struct be_space *space, const struct be_phys *object,
            const struct be_phys *memory, const struct be_place *p)
{
    if (object->team == NULL || memory->team != NULL || !be_phys_mappable(object) ||
        object->team->count == BE_PLACES_MAX)
        return CUDA_ERROR_INVALID_VALUE;
    if (p->bytes == 0 || (p->offset | p->memory_offset | p->bytes) % space->granularity != 0 ||
        p->offset > object->bytes || p->bytes > object->bytes - p->offset ||
        p->memory_offset > memory->bytes || p->bytes > memory->bytes - p->memory_offset)
        return CUDA_ERROR_INVALID_VALUE;
    return (object->team->members >> memory->device & 1) != 0 ? CUDA_SUCCESS
                                                              : CUDA_ERROR_INVALID_DEVICE;
}

CUresult
be_multicast_bind(struct be_space *space, struct be_phys *object, struct be_phys *memory,
                  const struct be_place *place)
{
    struct bound *bound;
    CUresult cr = place_check(space, object, memory, place);

    if (cr != CUDA_SUCCESS)
        return cr;
    pthread_mutex_lock(&space->lock);
    cr = be_phys_stay(space, memory);
    pthread_mutex_unlock(&space->lock);
    bound = cr == CUDA_SUCCESS ? malloc(sizeof(*bound)) : NULL;
    if (bound == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    cr = space->driver->table.cuMulticastBindMem(object->handle, place->offset, memory->handle,
                                                 place->memory_offset, place->bytes, 0);
    if (cr != CUDA_SUCCESS) {
        free(bound);
        return cr;
    }
    pthread_mutex_lock(&space->lock);
    *bound = (struct bound){memory, place->offset, place->bytes, object->team->bound};
    object->team->bound = bound;
    object->team->count++;
    memory->mappings++;
    pthread_mutex_unlock(&space->lock);
    return CUDA_SUCCESS;
}

/* space.lock is held. */
static CUresult
take(struct be_space *space, struct be_phys *object, struct bound **link)
{
    struct bound *bound = *link;
    CUresult cr;
    CUdevice of;

    cr = space->driver->table.cuDeviceGet(&of, bound->memory->device);
    if (cr == CUDA_SUCCESS)
        cr =
            space->driver->table.cuMulticastUnbind(object->handle, of, bound->offset, bound->bytes);
    *link = bound->next;
    object->team->count--;
    be_phys_let_go(space, bound->memory);
    free(bound);
    return cr;
}

CUresult
be_multicast_unbind(struct be_space *space, struct be_phys *object, int32_t device, uint64_t offset,
                    uint64_t bytes)
{
    CUresult cr = CUDA_ERROR_INVALID_VALUE;
    struct bound **link;

    if (object->team == NULL)
        return cr;
    pthread_mutex_lock(&space->lock);
    for (link = &object->team->bound; *link != NULL; link = &(*link)->next)
        if ((*link)->memory->device == device && (*link)->offset == offset &&
            (*link)->bytes == bytes)
            break;
    if (*link != NULL)
        cr = take(space, object, link);
    pthread_mutex_unlock(&space->lock);
    return cr;
}

void
be_team_end(struct be_space *space, struct be_phys *object)
{
    while (object->team != NULL && object->team->bound != NULL) {
        CUresult cr = take(space, object, &object->team->bound);

        if (cr != CUDA_SUCCESS)
            log_warn("memory: unbind at a multicast object's end: %s",
                     be_driver_error(space->driver, cr));
    }
    free(object->team);
    object->team = NULL;
}
