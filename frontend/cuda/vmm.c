/* frontend/cuda/vmm.c -- virtual memory management by the program itself
 *
 * Addresses are the session's own range, reserved here without a word to the server. What it is
 * told (create, map, access, unmap, release) is checked here first and needs no answer.
 */
#include "frontend/cuda/vmm.h"

#include "cuda_api.h"
#include "frontend/core/stats.h"
#include "frontend/cuda/ask.h"
#include "frontend/cuda/memory.h"
#include "protocol/base/util.h"

#include <string.h>

static struct {
    pthread_mutex_t lock;
    pthread_cond_t grew; /* a team of a multicast object */
} vmm = {.lock = PTHREAD_MUTEX_INITIALIZER, .grew = PTHREAD_COND_INITIALIZER};

CUresult
fe_location_device(const CUmemLocation *location, int *device_p)
{
    struct fe_state *state = fe_state_get(NULL);

    if (location->type != CU_MEM_LOCATION_TYPE_DEVICE)
        return CUDA_ERROR_INVALID_VALUE;
    if (state == NULL || fe_state_device(state, location->id) == NULL)
        return CUDA_ERROR_INVALID_DEVICE;
    *device_p = location->id;
    return CUDA_SUCCESS;
}

uint64_t
fe_server_devices(const struct fe_session *session, uint64_t bits)
{
    uint64_t to = 0;

    const struct fe_sessions *all = fe_sessions();

    for (unsigned d = 0; d < all->device_count; d++)
        if ((bits >> d & 1) != 0 && all->devices[d].session == session)
            to |= 1ull << all->devices[d].server_ordinal;
    return to;
}

void
fe_vmm_lock(void)
{
    pthread_mutex_lock(&vmm.lock);
}

void
fe_vmm_unlock(void)
{
    pthread_mutex_unlock(&vmm.lock);
}

void
fe_vmm_wait(void)
{
    pthread_cond_wait(&vmm.grew, &vmm.lock);
}

void
fe_vmm_wake(void)
{
    pthread_cond_broadcast(&vmm.grew);
}

/* -- addresses -------------------------------------------------------------------------- */

GP_EXPORT CUresult
cuMemAddressReserve(CUdeviceptr *address, size_t size, size_t alignment, CUdeviceptr wish,
                    unsigned long long flags)
{
    CUresult cr = CUDA_SUCCESS;
    struct fe_alloc *alloc;
    uint64_t base;

    FE_COUNT_LOCAL();
    if (fe_state_get(&cr) == NULL)
        return cr;
    alloc = fe_alloc_around(NULL, wish); /* without a wish, the current context's server */
    if (address == NULL || size == 0 || size % fe_alloc_granule(alloc) != 0 ||
        (alignment & (alignment - 1)) != 0 || flags != 0)
        return CUDA_ERROR_INVALID_VALUE;
    base = fe_alloc_reserve(alloc, size, alignment, wish);
    if (base == 0)
        return CUDA_ERROR_OUT_OF_MEMORY;
    *address = base;
    return CUDA_SUCCESS;
}

GP_EXPORT CUresult
cuMemAddressFree(CUdeviceptr address, size_t size)
{
    CUresult cr = CUDA_SUCCESS;

    FE_COUNT_LOCAL();
    if (fe_state_get(&cr) == NULL)
        return cr;
    /* What was mapped there is unmapped on the line before others get the addresses. */
    pthread_mutex_lock(&vmm.lock);
    if (!fe_alloc_unreserve(fe_alloc_around(NULL, address), address, size))
        cr = CUDA_ERROR_INVALID_VALUE;
    pthread_mutex_unlock(&vmm.lock);
    return cr;
}

/* -- objects ---------------------------------------------------------------------------- */

static CUresult
prop_check(const CUmemAllocationProp *prop, int *device_p)
{
    if (prop->type != CU_MEM_ALLOCATION_TYPE_PINNED ||
        prop->location.type == CU_MEM_LOCATION_TYPE_INVALID)
        return CUDA_ERROR_INVALID_VALUE;
    if (prop->location.type != CU_MEM_LOCATION_TYPE_DEVICE)
        return fe_refuse("cuMemCreate of host memory");
    if ((prop->requestedHandleTypes & ~CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR) != 0)
        return CUDA_ERROR_NOT_SUPPORTED;
    return fe_location_device(&prop->location, device_p);
}

GP_EXPORT CUresult
cuMemGetAllocationGranularity(size_t *granularity, const CUmemAllocationProp *prop,
                              CUmemAllocationGranularity_flags option)
{
    CUresult cr = CUDA_SUCCESS;
    int device = 0;

    FE_COUNT_LOCAL();
    if (fe_state_get(&cr) == NULL)
        return cr;
    if (granularity == NULL || prop == NULL ||
        (unsigned)option > CU_MEM_ALLOC_GRANULARITY_RECOMMENDED)
        return CUDA_ERROR_INVALID_VALUE;
    cr = prop_check(prop, &device);
    if (cr == CUDA_SUCCESS)
        *granularity = fe_alloc_granule(fe_alloc_of_device(device));
    return cr;
}

static CUresult
create_post(struct fe_call *call, struct fe_phys *phys)
{
    const CUmemAllocationProp *prop = &phys->prop;
    struct wire_cuMemCreate_args args = {
        .handle = phys->object.wire,
        .bytes = phys->bytes,
        .device = fe_state_of(call)->devices[phys->device].server_ordinal,
        .handle_types = prop->requestedHandleTypes,
        .compression = prop->allocFlags.compressionType,
        .rdma = prop->allocFlags.gpuDirectRDMACapable,
        .usage = prop->allocFlags.usage,
    };
    CUresult cr = fe_call_next(call, WIRE_CALL_cuMemCreate);

    if (cr == CUDA_SUCCESS)
        FE_TELL(cr, call, cuMemCreate, &args);
    return cr;
}

static CUresult
create(struct fe_call *call, uint64_t bytes, const CUmemAllocationProp *prop, int device,
       struct fe_phys **phys_p)
{
    struct fe_state *state = fe_state_of(call);
    struct fe_phys *phys;
    CUresult cr = fe_exports_settle(call);

    if (cr == CUDA_SUCCESS)
        cr = fe_memory_charge(call, state, device, bytes);
    if (cr != CUDA_SUCCESS)
        return cr;
    phys = fe_object_create(WIRE_HANDLE_ALLOCATION, NULL);
    if (phys == NULL) {
        fe_alloc_uncharge(fe_alloc_of(call), device, bytes);
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    phys->prop = *prop;
    phys->bytes = bytes;
    phys->device = device;
    phys->handles = 1;
    cr = create_post(call, phys);
    if (cr != CUDA_SUCCESS) {
        fe_object_destroy(phys);
        fe_alloc_uncharge(fe_alloc_of(call), device, bytes);
        return cr;
    }
    *phys_p = phys;
    return CUDA_SUCCESS;
}

GP_EXPORT CUresult
cuMemCreate(CUmemGenericAllocationHandle *handle, size_t size, const CUmemAllocationProp *prop,
            unsigned long long flags)
{
    struct fe_session *session = NULL;
    struct fe_phys *phys = NULL;
    struct fe_call call;
    int device = 0;
    CUresult cr;

    if (prop != NULL && fe_state_get(&cr) != NULL &&
        fe_location_device(&prop->location, &device) == CUDA_SUCCESS)
        session = fe_device_session(device);
    cr = fe_enter_on(&call, WIRE_CALL_cuMemCreate, session);
    if (cr != CUDA_SUCCESS)
        return cr;
    if (handle == NULL || prop == NULL || size == 0 || flags != 0 ||
        size % fe_alloc_granule(fe_alloc_of(&call)) != 0)
        return fe_leave(&call, CUDA_ERROR_INVALID_VALUE);
    cr = prop_check(prop, &device);
    if (cr == CUDA_SUCCESS)
        cr = create(&call, size, prop, device, &phys);
    if (cr == CUDA_SUCCESS)
        *handle = (uintptr_t)phys;
    return fe_leave(&call, cr);
}

/* vmm.lock is held. The end of an object that nobody holds any more. */
CUresult
fe_phys_end_if_gone(struct fe_call *call, struct fe_phys *phys)
{
    struct wire_cuMemRelease_args args = {.handle = phys->object.wire};
    CUresult cr;

    if (phys->handles > 0 || phys->mappings > 0 || phys->exports > 0)
        return CUDA_SUCCESS;
    if (phys->device >= 0 && fe_device_session(phys->device) != call->session) {
        struct fe_call own;

        cr = fe_enter_on(&own, WIRE_CALL_cuMemRelease, fe_device_session(phys->device));
        return cr == CUDA_SUCCESS ? fe_leave(&own, fe_phys_end_if_gone(&own, phys)) : cr;
    }
    cr = fe_call_next(call, WIRE_CALL_cuMemRelease);
    if (cr == CUDA_SUCCESS)
        FE_TELL(cr, call, cuMemRelease, &args);
    if (cr != CUDA_SUCCESS)
        return cr;
    /* Behind the end on the line: who takes these bytes now comes later. */
    if (!phys->imported)
        fe_alloc_uncharge(fe_alloc_of_device(phys->device), phys->device, phys->bytes);
    cr = fe_team_end(call, phys->team);
    fe_object_destroy(phys);
    return cr;
}

/* vmm.lock is held. The object of a handle that was not released. */
struct fe_phys *
fe_phys_of(CUmemGenericAllocationHandle handle)
{
    struct fe_phys *phys = fe_object_get(WIRE_HANDLE_ALLOCATION, (void *)(uintptr_t)handle);

    return phys != NULL && phys->handles > 0 ? phys : NULL;
}

struct fe_session *
fe_phys_session(CUmemGenericAllocationHandle handle)
{
    const struct fe_phys *phys =
        fe_session_any(NULL) ? fe_object_get(WIRE_HANDLE_ALLOCATION, (void *)(uintptr_t)handle)
                             : NULL;

    return phys != NULL ? fe_device_session(phys->device) : NULL;
}

/* The server whose addresses they are; NULL: any, for the call will fail. */
static struct fe_session *
range_session(uint64_t address)
{
    return fe_state_get(NULL) != NULL ? fe_address_session(NULL, address) : NULL;
}

GP_EXPORT CUresult
cuMemRelease(CUmemGenericAllocationHandle handle)
{
    struct fe_phys *phys;
    struct fe_call call;
    CUresult cr;

    cr = fe_enter_on(&call, WIRE_CALL_cuMemRelease, fe_phys_session(handle));
    if (cr != CUDA_SUCCESS)
        return cr;
    pthread_mutex_lock(&vmm.lock);
    phys = fe_phys_of(handle);
    if (phys == NULL) {
        cr = CUDA_ERROR_INVALID_VALUE;
    } else {
        phys->handles--;
        cr = fe_phys_end_if_gone(&call, phys);
    }
    pthread_mutex_unlock(&vmm.lock);
    return fe_leave(&call, cr);
}

GP_EXPORT CUresult
cuMemRetainAllocationHandle(CUmemGenericAllocationHandle *handle, void *address)
{
    CUresult cr = CUDA_SUCCESS;
    struct fe_state *state = fe_state_get(&cr);
    struct fe_phys *phys;
    struct fe_block b;

    FE_COUNT_LOCAL();
    if (state == NULL)
        return cr;
    pthread_mutex_lock(&vmm.lock);
    if (handle == NULL ||
        !fe_alloc_find(fe_alloc_around(NULL, (uintptr_t)address), (uintptr_t)address, &b) ||
        b.kind != FE_BLOCK_MAPPED) {
        cr = CUDA_ERROR_INVALID_VALUE;
    } else {
        phys = b.object;
        phys->handles++;
        *handle = (uintptr_t)phys;
    }
    pthread_mutex_unlock(&vmm.lock);
    return cr;
}

GP_EXPORT CUresult
cuMemGetAllocationPropertiesFromHandle(CUmemAllocationProp *prop,
                                       CUmemGenericAllocationHandle handle)
{
    CUresult cr = CUDA_SUCCESS;
    struct fe_phys *phys;

    FE_COUNT_LOCAL();
    if (fe_state_get(&cr) == NULL)
        return cr;
    pthread_mutex_lock(&vmm.lock);
    phys = fe_phys_of(handle);
    if (phys == NULL || prop == NULL || phys->team != NULL)
        cr = CUDA_ERROR_INVALID_VALUE;
    else
        *prop = phys->prop;
    pthread_mutex_unlock(&vmm.lock);
    return cr;
}

/* -- mappings --------------------------------------------------------------------------- */

static CUresult
map_post(struct fe_call *call, const struct fe_block *b)
{
    struct wire_cuMemMap_args args = {
        .address = b->base,
        .bytes = b->bytes,
        .offset = b->offset,
        .handle = ((struct fe_phys *)b->object)->object.wire,
    };
    CUresult cr;

    FE_TELL(cr, call, cuMemMap, &args);
    return cr;
}

static void
nothing_more(void *user, const struct fe_block *mapping)
{
    (void)user;
    (void)mapping;
}

/* vmm.lock is held. */
static CUresult
map(struct fe_call *call, struct fe_block *b)
{
    struct fe_alloc *alloc = fe_alloc_of(call);
    struct fe_phys *phys = fe_phys_of((uintptr_t)b->object);
    uint64_t granule = fe_alloc_granule(alloc);
    CUresult cr;

    if (phys == NULL || b->bytes == 0 || b->offset % granule != 0 || b->offset > phys->bytes ||
        b->bytes > phys->bytes - b->offset)
        return CUDA_ERROR_INVALID_VALUE;
    fe_team_wait(phys);
    b->multicast = phys->team != NULL;
    b->device = phys->device;
    b->owner = fe_state_of(call)->primary[phys->device];
    switch (fe_alloc_map(alloc, b)) {
    case FE_ALLOC_OK:
        break;
    case FE_ALLOC_MEMORY:
        return CUDA_ERROR_OUT_OF_MEMORY;
    default:
        return CUDA_ERROR_INVALID_VALUE;
    }
    cr = map_post(call, b);
    if (cr == CUDA_SUCCESS)
        phys->mappings++;
    else
        (void)fe_alloc_unmap(alloc, b->base, b->bytes, nothing_more, NULL);
    return cr;
}

GP_EXPORT CUresult
cuMemMap(CUdeviceptr address, size_t size, size_t offset, CUmemGenericAllocationHandle handle,
         unsigned long long flags)
{
    struct fe_block b = {
        .base = address, .bytes = size, .offset = offset, .object = (void *)(uintptr_t)handle};
    struct fe_call call;
    CUresult cr;

    cr = fe_enter_on(&call, WIRE_CALL_cuMemMap, fe_phys_session(handle));
    if (cr != CUDA_SUCCESS)
        return cr;
    if (flags != 0)
        return fe_leave(&call, CUDA_ERROR_INVALID_VALUE);
    if (!fe_alloc_in_range(fe_alloc_of(&call), address) &&
        fe_alloc_in_range(fe_alloc_around(NULL, address), address))
        return fe_leave(&call, fe_refuse("cuMemMap at addresses that were reserved while a device "
                                         "of another server was current"));
    pthread_mutex_lock(&vmm.lock);
    cr = map(&call, &b);
    pthread_mutex_unlock(&vmm.lock);
    return fe_leave(&call, cr);
}

/* Called under fe_alloc's lock; the objects are ended later. */
static void
mapping_gone(void *user, const struct fe_block *mapping)
{
    struct fe_phys *phys = mapping->object, **chain = user;

    if (--phys->mappings == 0 && phys->handles == 0 && phys->exports == 0) {
        phys->next = *chain;
        *chain = phys;
    }
}

/* vmm.lock is held. */
static CUresult
unmap(struct fe_call *call, uint64_t address, uint64_t bytes)
{
    struct wire_cuMemUnmap_args args = {.address = address, .bytes = bytes};
    struct fe_alloc *alloc = fe_alloc_of(call);
    struct fe_phys *gone = NULL;
    CUresult cr;

    if (!fe_alloc_tiled(alloc, address, bytes))
        return CUDA_ERROR_INVALID_VALUE;
    FE_TELL(cr, call, cuMemUnmap, &args);
    if (cr != CUDA_SUCCESS)
        return cr;
    (void)fe_alloc_unmap(alloc, address, bytes, mapping_gone, &gone);
    while (gone != NULL && cr == CUDA_SUCCESS) {
        struct fe_phys *phys = gone;

        gone = phys->next;
        cr = fe_phys_end_if_gone(call, phys);
    }
    return cr;
}

GP_EXPORT CUresult
cuMemUnmap(CUdeviceptr address, size_t size)
{
    struct fe_call call;
    CUresult cr;

    cr = fe_enter_on(&call, WIRE_CALL_cuMemUnmap, range_session(address));
    if (cr != CUDA_SUCCESS)
        return cr;
    pthread_mutex_lock(&vmm.lock);
    cr = unmap(&call, address, size);
    pthread_mutex_unlock(&vmm.lock);
    return fe_leave(&call, cr);
}

/* -- access ----------------------------------------------------------------------------- */

void
fe_access_name(struct fe_access *access, int device, CUmemAccess_flags flags)
{
    uint64_t bit = 1ull << device;

    access->named |= bit;
    access->readable &= ~bit;
    access->writable &= ~bit;
    if (flags != CU_MEM_ACCESS_FLAGS_PROT_NONE)
        access->readable |= bit;
    if (flags == CU_MEM_ACCESS_FLAGS_PROT_READWRITE)
        access->writable |= bit;
}

CUmemAccess_flags
fe_access_flags(uint64_t readable, uint64_t writable, int device)
{
    if ((writable >> device & 1) != 0)
        return CU_MEM_ACCESS_FLAGS_PROT_READWRITE;
    return (readable >> device & 1) != 0 ? CU_MEM_ACCESS_FLAGS_PROT_READ
                                         : CU_MEM_ACCESS_FLAGS_PROT_NONE;
}

static CUresult
access_parse(const struct fe_session *session, const CUmemAccessDesc *desc, size_t count,
             struct fe_access *a)
{
    for (size_t i = 0; i < count; i++) {
        CUmemLocationType type = desc[i].location.type;
        int device;
        CUresult cr;

        if (type == CU_MEM_LOCATION_TYPE_HOST || type == CU_MEM_LOCATION_TYPE_HOST_NUMA)
            return fe_refuse("cuMemSetAccess for the host");
        cr = fe_location_device(&desc[i].location, &device);
        if (cr != CUDA_SUCCESS)
            return cr;
        if (desc[i].flags != CU_MEM_ACCESS_FLAGS_PROT_READWRITE &&
            desc[i].flags != CU_MEM_ACCESS_FLAGS_PROT_READ &&
            desc[i].flags != CU_MEM_ACCESS_FLAGS_PROT_NONE)
            return CUDA_ERROR_INVALID_VALUE;
        if (fe_device_session(device) != session) /* no device reaches another server's memory */
            return CUDA_ERROR_INVALID_DEVICE;
        fe_access_name(a, device, desc[i].flags);
    }
    return CUDA_SUCCESS;
}

/* vmm.lock is held. */
static CUresult
access_post(struct fe_call *call, uint64_t address, uint64_t bytes, const struct fe_access *a)
{
    struct fe_alloc *alloc = fe_alloc_of(call);
    struct wire_cuMemSetAccess_args args = {
        .address = address,
        .bytes = bytes,
        .named = fe_server_devices(call->session, a->named),
        .readable = fe_server_devices(call->session, a->readable),
        .writable = fe_server_devices(call->session, a->writable),
    };
    CUresult cr;

    if (!fe_alloc_set_access(alloc, address, bytes, a->named, a->readable, a->writable))
        return CUDA_ERROR_INVALID_VALUE;
    FE_TELL(cr, call, cuMemSetAccess, &args);
    return cr;
}

GP_EXPORT CUresult
cuMemSetAccess(CUdeviceptr address, size_t size, const CUmemAccessDesc *desc, size_t count)
{
    struct fe_access a = {0};
    struct fe_call call;
    CUresult cr;

    cr = fe_enter_on(&call, WIRE_CALL_cuMemSetAccess, range_session(address));
    if (cr != CUDA_SUCCESS)
        return cr;
    if (size == 0 || desc == NULL || count == 0 || (address | size) % FE_ALLOC_GRANULE_MIN != 0)
        return fe_leave(&call, CUDA_ERROR_INVALID_VALUE);
    cr = access_parse(call.session, desc, count, &a);
    if (cr == CUDA_SUCCESS) {
        pthread_mutex_lock(&vmm.lock);
        cr = access_post(&call, address, size, &a);
        pthread_mutex_unlock(&vmm.lock);
    }
    return fe_leave(&call, cr);
}

GP_EXPORT CUresult
cuMemGetAccess(unsigned long long *flags, const CUmemLocation *location, CUdeviceptr address)
{
    CUresult cr = CUDA_SUCCESS;
    struct fe_state *state = fe_state_get(&cr);
    struct fe_block b;
    int device;

    FE_COUNT_LOCAL();
    if (state == NULL)
        return cr;
    if (flags == NULL || location == NULL ||
        !fe_alloc_find(fe_alloc_around(NULL, address), address, &b) || b.kind != FE_BLOCK_MAPPED ||
        fe_location_device(location, &device) != CUDA_SUCCESS)
        return CUDA_ERROR_INVALID_VALUE;
    *flags = fe_access_flags(b.readable, b.writable, device);
    return CUDA_SUCCESS;
}
