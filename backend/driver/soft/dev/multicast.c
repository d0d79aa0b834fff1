/* backend/driver/soft/dev/multicast.c -- multicast objects: teams of devices, what is bound to them
 */
#include "backend/driver/soft/dev/multicast.h"

#include "backend/driver/soft/dev/ctx.h"
#include "backend/driver/soft/dev/span.h"
#include "cuda_api.h"

#include <string.h>
#include <sys/mman.h>

struct bound {
    struct sd_phys *memory; /* a reference */
    uint64_t offset, bytes;
    uint64_t alias;
    struct bound *next;
};

/* Guarded by the lock of vmm.c; bound also by team_lock, for kernels look it up. */
struct sd_team {
    unsigned devices;
    uint64_t members;
    struct bound *bound;
};

static pthread_rwlock_t team_lock = PTHREAD_RWLOCK_INITIALIZER;
static pthread_cond_t team_grew = PTHREAD_COND_INITIALIZER;

static bool
complete(const struct sd_team *team)
{
    return (unsigned)__builtin_popcountll(team->members) == team->devices;
}

void
sd_team_wait(const struct sd_phys *object)
{
    while (object->team != NULL && !complete(object->team))
        pthread_cond_wait(&team_grew, sd_vmm_mutex());
}

static CUresult
object_of(CUmemGenericAllocationHandle handle, struct sd_phys **object_p)
{
    CUresult cr = sd_phys_of(handle, object_p);

    return cr == CUDA_SUCCESS && (*object_p)->team == NULL ? CUDA_ERROR_INVALID_VALUE : cr;
}

static CUresult
prop_check(const CUmulticastObjectProp *prop)
{
    if (prop == NULL || prop->numDevices == 0 || prop->size == 0 || prop->flags != 0)
        return CUDA_ERROR_INVALID_VALUE;
    if (prop->numDevices > (unsigned)sd_device_count() || prop->numDevices > SD_TEAM_MAX)
        return CUDA_ERROR_INVALID_VALUE;
    for (int d = 0; d < sd_device_count(); d++)
        if (!sd_device_attribute(sd_device_get(d), CU_DEVICE_ATTRIBUTE_MULTICAST_SUPPORTED))
            return CUDA_ERROR_NOT_SUPPORTED;
    return prop->handleTypes == 0 ? CUDA_SUCCESS
                                  : sd_refuse("cuMulticastCreate of an object that is exported");
}

GP_EXPORT CUresult
cuMulticastGetGranularity(size_t *granularity, const CUmulticastObjectProp *prop,
                          CUmulticastGranularity_flags option)
{
    CUresult cr;

    SD_ENTER_READY();
    if (granularity == NULL || (unsigned)option > CU_MULTICAST_GRANULARITY_RECOMMENDED)
        return CUDA_ERROR_INVALID_VALUE;
    cr = prop_check(prop);
    if (cr == CUDA_SUCCESS)
        *granularity = SD_GRANULARITY;
    return cr;
}

GP_EXPORT CUresult
cuMulticastCreate(CUmemGenericAllocationHandle *mcHandle, const CUmulticastObjectProp *prop)
{
    struct sd_phys *object;
    CUresult cr;

    SD_ENTER_READY();
    cr = mcHandle != NULL ? prop_check(prop) : CUDA_ERROR_INVALID_VALUE;
    if (cr == CUDA_SUCCESS && prop->size % SD_GRANULARITY != 0)
        cr = CUDA_ERROR_INVALID_VALUE;
    if (cr != CUDA_SUCCESS)
        return cr;
    object = sd_object_new(SD_PHYS, sizeof(*object));
    if (object == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    object->team = calloc(1, sizeof(*object->team));
    if (object->team == NULL) {
        sd_object_free(object);
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    object->team->devices = prop->numDevices;
    object->dev = sd_device_get(0);
    object->bytes = prop->size;
    object->fd = -1;
    object->handles = 1;
    *mcHandle = (uintptr_t)object;
    return CUDA_SUCCESS;
}

GP_EXPORT CUresult
cuMulticastAddDevice(CUmemGenericAllocationHandle mcHandle, CUdevice dev)
{
    struct sd_phys *object;
    CUresult cr;

    SD_ENTER_READY();
    cr = object_of(mcHandle, &object);
    if (cr != CUDA_SUCCESS)
        return cr;
    if (sd_device_get(dev) == NULL)
        return CUDA_ERROR_INVALID_DEVICE;
    pthread_mutex_lock(sd_vmm_mutex());
    if (complete(object->team) || (object->team->members >> dev & 1) != 0) {
        cr = CUDA_ERROR_INVALID_VALUE;
    } else {
        object->team->members |= 1ull << dev;
        pthread_cond_broadcast(&team_grew);
    }
    pthread_mutex_unlock(sd_vmm_mutex());
    return cr;
}

/* --- what is bound --- */

/* The lock of vmm.c is held. */
static CUresult
place_check(const struct sd_phys *object, const struct bound *b, uint64_t memory_offset)
{
    if (b->bytes == 0 || (b->offset | memory_offset | b->bytes) % SD_GRANULARITY != 0 ||
        b->offset > object->bytes || b->bytes > object->bytes - b->offset ||
        memory_offset > b->memory->bytes || b->bytes > b->memory->bytes - memory_offset)
        return CUDA_ERROR_INVALID_VALUE;
    if ((object->team->members >> b->memory->dev->ordinal & 1) == 0)
        return CUDA_ERROR_INVALID_DEVICE;
    for (const struct bound *o = object->team->bound; o != NULL; o = o->next)
        if (o->memory->dev == b->memory->dev && o->offset < b->offset + b->bytes &&
            b->offset < o->offset + o->bytes)
            return CUDA_ERROR_INVALID_VALUE;
    return CUDA_SUCCESS;
}

/* The lock of vmm.c is held. */
static CUresult
bind_locked(struct sd_phys *object, const struct bound *wish, uint64_t memory_offset)
{
    CUresult cr = place_check(object, wish, memory_offset);
    struct bound *b;

    if (cr != CUDA_SUCCESS)
        return cr;
    b = malloc(sizeof(*b));
    if (b == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    *b = *wish;
    b->alias = sd_phys_alias(b->memory, memory_offset, b->bytes);
    if (b->alias == 0) {
        free(b);
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    b->memory->mappings++;
    pthread_rwlock_wrlock(&team_lock);
    b->next = object->team->bound;
    object->team->bound = b;
    pthread_rwlock_unlock(&team_lock);
    return CUDA_SUCCESS;
}

static CUresult
bind(CUmemGenericAllocationHandle handle, struct bound *wish, uint64_t memory_offset,
     unsigned long long flags)
{
    struct sd_phys *object;
    CUresult cr = object_of(handle, &object);

    if (cr != CUDA_SUCCESS)
        return cr;
    if (flags != 0 || wish->memory->team != NULL)
        return CUDA_ERROR_INVALID_VALUE;
    pthread_mutex_lock(sd_vmm_mutex());
    sd_team_wait(object);
    cr = bind_locked(object, wish, memory_offset);
    pthread_mutex_unlock(sd_vmm_mutex());
    return cr;
}

GP_EXPORT CUresult
cuMulticastBindMem(CUmemGenericAllocationHandle mcHandle, size_t mcOffset,
                   CUmemGenericAllocationHandle memHandle, size_t memOffset, size_t size,
                   unsigned long long flags)
{
    struct bound wish = {.offset = mcOffset, .bytes = size};
    CUresult cr;

    SD_ENTER_READY();
    cr = sd_phys_of(memHandle, &wish.memory);
    return cr == CUDA_SUCCESS ? bind(mcHandle, &wish, memOffset, flags) : cr;
}

GP_EXPORT CUresult
cuMulticastBindAddr(CUmemGenericAllocationHandle mcHandle, size_t mcOffset, CUdeviceptr memptr,
                    size_t size, unsigned long long flags)
{
    struct bound wish = {.offset = mcOffset, .bytes = size};
    struct sd_alloc alloc;

    SD_ENTER_READY();
    if (!sd_map_find(memptr, &alloc) || size > alloc.end - memptr)
        return CUDA_ERROR_INVALID_VALUE;
    if (alloc.kind == SD_MEM_POOL)
        return sd_refuse("cuMulticastBindAddr of memory of a pool");
    if (alloc.kind != SD_MEM_VMM)
        return CUDA_ERROR_INVALID_VALUE;
    wish.memory = alloc.owner;
    return bind(mcHandle, &wish, alloc.offset + (memptr - alloc.base), flags);
}

/* The lock of vmm.c is held: takes it out of the list. */
static void
unlink_bound(struct bound **link)
{
    pthread_rwlock_wrlock(&team_lock);
    *link = (*link)->next;
    pthread_rwlock_unlock(&team_lock);
}

static void
bound_end(struct bound *b)
{
    munmap((void *)(uintptr_t)b->alias, b->bytes);
    sd_phys_put(b->memory, true);
    free(b);
}

GP_EXPORT CUresult
cuMulticastUnbind(CUmemGenericAllocationHandle mcHandle, CUdevice dev, size_t mcOffset, size_t size)
{
    struct bound **link, *b;
    struct sd_phys *object;
    CUresult cr;

    SD_ENTER_READY();
    cr = object_of(mcHandle, &object);
    if (cr != CUDA_SUCCESS)
        return cr;
    if (sd_device_get(dev) == NULL)
        return CUDA_ERROR_INVALID_DEVICE;
    pthread_mutex_lock(sd_vmm_mutex());
    for (link = &object->team->bound; *link != NULL; link = &(*link)->next)
        if ((*link)->memory->dev->ordinal == dev && (*link)->offset == mcOffset &&
            (*link)->bytes == size)
            break;
    b = *link;
    if (b != NULL)
        unlink_bound(link);
    pthread_mutex_unlock(sd_vmm_mutex());
    if (b == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    bound_end(b);
    return CUDA_SUCCESS;
}

void
sd_team_end(struct sd_phys *object)
{
    while (object->team->bound != NULL) {
        struct bound *b = object->team->bound;

        unlink_bound(&object->team->bound);
        bound_end(b);
    }
    free(object->team);
    object->team = NULL;
}

/* --- kernels --- */

unsigned
sd_team_places(uint64_t addr, uint64_t bytes, int device, bool write, uint64_t places[SD_TEAM_MAX])
{
    const struct sd_phys *object;
    struct sd_alloc alloc;
    unsigned count = 0;
    uint64_t offset;

    if (!sd_map_find(addr, &alloc) || alloc.kind != SD_MEM_MULTICAST || bytes > alloc.end - addr ||
        ((write ? alloc.writable : alloc.readable) >> device & 1) == 0)
        return 0;
    object = alloc.owner;
    offset = alloc.offset + (addr - alloc.base);
    pthread_rwlock_rdlock(&team_lock);
    for (const struct bound *b = object->team->bound; b != NULL && count < SD_TEAM_MAX; b = b->next)
        if (offset >= b->offset && offset - b->offset <= b->bytes - bytes)
            places[count++] = b->alias + (offset - b->offset);
    count = count == object->team->devices ? count : 0;
    pthread_rwlock_unlock(&team_lock);
    return count;
}
