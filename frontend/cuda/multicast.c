/* frontend/cuda/multicast.c -- objects through which one access reaches memory of several devices
 *
 * What an object is, and what is bound to it, is kept here, so that handles and memory live as long
 * as they have to; each change waits for the driver's word, as there are few. An object is one
 * server's.
 */
#include "cuda_api.h"
#include "frontend/core/stats.h"
#include "frontend/cuda/ask.h"
#include "frontend/cuda/memory.h"
#include "frontend/cuda/vmm.h"
#include "protocol/base/util.h"

#include <stdlib.h>

struct bound {
    struct fe_phys *memory;
    uint64_t offset, bytes;
    struct bound *next;
};

/* Guarded by vmm.lock. */
struct fe_team {
    unsigned devices; /* that it waits for */
    uint64_t members; /* a bit for each of the program's */
    struct bound *bound;
};

static bool
complete(const struct fe_team *team)
{
    return (unsigned)__builtin_popcountll(team->members) == team->devices;
}

void
fe_team_wait(const struct fe_phys *object)
{
    while (object->team != NULL && !complete(object->team))
        fe_vmm_wait();
}

/* vmm.lock is held. */
static struct fe_phys *
object_of(CUmemGenericAllocationHandle handle)
{
    struct fe_phys *object = fe_phys_of(handle);

    return object != NULL && object->team != NULL ? object : NULL;
}

static CUresult
prop_check(const struct fe_call *call, const CUmulticastObjectProp *prop, int *device_p)
{
    struct fe_state *state = fe_state_of(call);
    unsigned here = 0;

    if (prop == NULL || prop->numDevices == 0 || prop->size == 0 || prop->flags != 0)
        return CUDA_ERROR_INVALID_VALUE;
    for (int d = 0; fe_state_device(state, d) != NULL; d++) {
        if (fe_device_session(d) != call->session)
            continue;
        if (here++ == 0)
            *device_p = d;
    }
    if (here == 0 || prop->numDevices > here)
        return CUDA_ERROR_INVALID_VALUE;
    if (fe_device_attribute(state, *device_p, CU_DEVICE_ATTRIBUTE_MULTICAST_SUPPORTED) == 0)
        return CUDA_ERROR_NOT_SUPPORTED;
    return prop->handleTypes == 0 ? CUDA_SUCCESS
                                  : fe_refuse("cuMulticastCreate of an object that is exported");
}

GP_EXPORT CUresult
cuMulticastGetGranularity(size_t *granularity, const CUmulticastObjectProp *prop,
                          CUmulticastGranularity_flags option)
{
    struct wire_cuMulticastGetGranularity_reply reply;
    struct wire_cuMulticastGetGranularity_args args = {.option = (uint32_t)option};
    struct fe_call call;
    int device = 0;
    CUresult cr = fe_enter_on(&call, WIRE_CALL_cuMulticastGetGranularity, NULL);

    if (cr != CUDA_SUCCESS)
        return cr;
    if (granularity == NULL || args.option > CU_MULTICAST_GRANULARITY_RECOMMENDED)
        return fe_leave(&call, CUDA_ERROR_INVALID_VALUE);
    cr = prop_check(&call, prop, &device);
    if (cr == CUDA_SUCCESS) {
        args.devices = prop->numDevices;
        args.bytes = prop->size;
        FE_ASK(cr, &call, cuMulticastGetGranularity, &args, &reply);
    }
    if (cr == CUDA_SUCCESS)
        *granularity = reply.granularity;
    return fe_leave(&call, cr);
}

static CUresult
create(struct fe_call *call, const CUmulticastObjectProp *prop, int device, struct fe_phys **phys_p)
{
    struct wire_cuMulticastCreate_args args = {.devices = prop->numDevices, .bytes = prop->size};
    struct wire_cuMulticastCreate_reply reply;
    struct fe_phys *phys = fe_object_create(WIRE_HANDLE_ALLOCATION, NULL);
    CUresult cr = CUDA_ERROR_OUT_OF_MEMORY;

    if (phys == NULL)
        return cr;
    phys->team = calloc(1, sizeof(*phys->team));
    if (phys->team != NULL) {
        phys->team->devices = prop->numDevices;
        phys->bytes = prop->size;
        phys->device = device;
        phys->imported = true; /* its memory is charged where it was made */
        phys->handles = 1;
        args.handle = phys->object.wire;
        FE_ASK(cr, call, cuMulticastCreate, &args, &reply);
    }
    if (cr == CUDA_SUCCESS) {
        *phys_p = phys;
    } else {
        free(phys->team);
        fe_object_destroy(phys);
    }
    return cr;
}

GP_EXPORT CUresult
cuMulticastCreate(CUmemGenericAllocationHandle *handle, const CUmulticastObjectProp *prop)
{
    struct fe_phys *phys = NULL;
    struct fe_call call;
    int device = 0;
    CUresult cr = fe_enter_on(&call, WIRE_CALL_cuMulticastCreate, NULL);

    if (cr != CUDA_SUCCESS)
        return cr;
    cr = handle != NULL ? prop_check(&call, prop, &device) : CUDA_ERROR_INVALID_VALUE;
    if (cr == CUDA_SUCCESS && prop->size % fe_alloc_granule(fe_alloc_of(&call)) != 0)
        cr = CUDA_ERROR_INVALID_VALUE;
    if (cr == CUDA_SUCCESS)
        cr = create(&call, prop, device, &phys);
    if (cr == CUDA_SUCCESS)
        *handle = (uintptr_t)phys;
    return fe_leave(&call, cr);
}

GP_EXPORT CUresult
cuMulticastAddDevice(CUmemGenericAllocationHandle handle, CUdevice dev)
{
    struct wire_cuMulticastAddDevice_args args;
    struct wire_cuMulticastAddDevice_reply reply;
    struct fe_phys *object;
    struct fe_call call;
    CUresult cr = fe_enter_on(&call, WIRE_CALL_cuMulticastAddDevice, fe_phys_session(handle));

    if (cr != CUDA_SUCCESS)
        return cr;
    fe_vmm_lock();
    object = object_of(handle);
    if (object == NULL)
        cr = CUDA_ERROR_INVALID_VALUE;
    else if (fe_state_device(fe_state_of(&call), dev) == NULL)
        cr = CUDA_ERROR_INVALID_DEVICE;
    else if (complete(object->team) || (object->team->members >> dev & 1) != 0)
        cr = CUDA_ERROR_INVALID_VALUE;
    else if (fe_device_session(dev) != call.session)
        cr = fe_refuse("cuMulticastAddDevice of another server's device");
    if (cr == CUDA_SUCCESS) {
        args.handle = object->object.wire;
        args.device = fe_state_of(&call)->devices[dev].server_ordinal;
        FE_ASK(cr, &call, cuMulticastAddDevice, &args, &reply);
    }
    if (cr == CUDA_SUCCESS) {
        object->team->members |= 1ull << dev;
        fe_vmm_wake();
    }
    fe_vmm_unlock();
    return fe_leave(&call, cr);
}

/* -- what is bound ---------------------------------------------------------------------- */

/* vmm.lock is held. */
static CUresult
place_check(const struct fe_call *call, const struct fe_phys *object, const struct bound *b,
            uint64_t memory_offset)
{
    uint64_t granule = fe_alloc_granule(fe_alloc_of(call));

    if (b->bytes == 0 || (b->offset | memory_offset | b->bytes) % granule != 0 ||
        b->offset > object->bytes || b->bytes > object->bytes - b->offset ||
        memory_offset > b->memory->bytes || b->bytes > b->memory->bytes - memory_offset)
        return CUDA_ERROR_INVALID_VALUE;
    if (b->memory->device < 0 || (object->team->members >> b->memory->device & 1) == 0)
        return CUDA_ERROR_INVALID_DEVICE;
    for (const struct bound *o = object->team->bound; o != NULL; o = o->next)
        if (o->memory->device == b->memory->device && o->offset < b->offset + b->bytes &&
            b->offset < o->offset + o->bytes)
            return CUDA_ERROR_INVALID_VALUE;
    return CUDA_SUCCESS;
}

/* vmm.lock is held. wish->memory may be NULL: of a handle that is none. */
static CUresult
bind(struct fe_call *call, CUmemGenericAllocationHandle handle, unsigned long long flags,
     const struct bound *wish, uint64_t memory_offset)
{
    struct wire_cuMulticastBindMem_args args = {
        .offset = wish->offset, .memory_offset = memory_offset, .bytes = wish->bytes};
    struct wire_cuMulticastBindMem_reply reply;
    struct fe_phys *object = object_of(handle);
    struct bound *b;
    CUresult cr;

    if (wish->memory == NULL || object == NULL || flags != 0 || wish->memory->team != NULL)
        return CUDA_ERROR_INVALID_VALUE;
    fe_team_wait(object);
    cr = place_check(call, object, wish, memory_offset);
    if (cr != CUDA_SUCCESS)
        return cr;
    args.handle = object->object.wire;
    args.memory = wish->memory->object.wire;
    b = malloc(sizeof(*b));
    if (b == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    FE_ASK(cr, call, cuMulticastBindMem, &args, &reply);
    if (cr != CUDA_SUCCESS) {
        free(b);
        return cr;
    }
    *b = *wish;
    b->next = object->team->bound;
    object->team->bound = b;
    b->memory->mappings++;
    return CUDA_SUCCESS;
}

GP_EXPORT CUresult
cuMulticastBindMem(CUmemGenericAllocationHandle handle, size_t offset,
                   CUmemGenericAllocationHandle memory, size_t memory_offset, size_t size,
                   unsigned long long flags)
{
    struct bound wish = {.offset = offset, .bytes = size};
    struct fe_call call;
    CUresult cr = fe_enter_on(&call, WIRE_CALL_cuMulticastBindMem, fe_phys_session(handle));

    if (cr != CUDA_SUCCESS)
        return cr;
    fe_vmm_lock();
    wish.memory = fe_phys_of(memory);
    cr = bind(&call, handle, flags, &wish, memory_offset);
    fe_vmm_unlock();
    return fe_leave(&call, cr);
}

GP_EXPORT CUresult
cuMulticastBindAddr(CUmemGenericAllocationHandle handle, size_t offset, CUdeviceptr address,
                    size_t size, unsigned long long flags)
{
    struct bound wish = {.offset = offset, .bytes = size};
    struct fe_block b;
    struct fe_call call;
    CUresult cr = fe_enter_on(&call, WIRE_CALL_cuMulticastBindMem, fe_phys_session(handle));

    if (cr != CUDA_SUCCESS)
        return cr;
    fe_vmm_lock();
    if (!fe_alloc_find(fe_alloc_of(&call), address, &b) || size > b.bytes - (address - b.base)) {
        cr = CUDA_ERROR_INVALID_VALUE;
    } else if (b.kind == FE_BLOCK_POOL) {
        cr = fe_refuse("cuMulticastBindAddr of memory of a pool");
    } else if (b.kind != FE_BLOCK_MAPPED) {
        cr = CUDA_ERROR_INVALID_VALUE;
    } else {
        wish.memory = b.object;
        cr = bind(&call, handle, flags, &wish, b.offset + (address - b.base));
    }
    fe_vmm_unlock();
    return fe_leave(&call, cr);
}

/* vmm.lock is held. */
static CUresult
bound_end(struct fe_call *call, struct bound **link)
{
    struct bound *b = *link;
    struct fe_phys *memory = b->memory;

    *link = b->next;
    free(b);
    memory->mappings--;
    return fe_phys_end_if_gone(call, memory);
}

GP_EXPORT CUresult
cuMulticastUnbind(CUmemGenericAllocationHandle handle, CUdevice dev, size_t offset, size_t size)
{
    struct wire_cuMulticastUnbind_args args = {.offset = offset, .bytes = size};
    struct wire_cuMulticastUnbind_reply reply;
    struct bound **link = NULL;
    struct fe_phys *object;
    struct fe_call call;
    CUresult cr = fe_enter_on(&call, WIRE_CALL_cuMulticastUnbind, fe_phys_session(handle));

    if (cr != CUDA_SUCCESS)
        return cr;
    fe_vmm_lock();
    object = object_of(handle);
    if (object == NULL)
        cr = CUDA_ERROR_INVALID_VALUE;
    else if (fe_state_device(fe_state_of(&call), dev) == NULL)
        cr = CUDA_ERROR_INVALID_DEVICE;
    for (link = object != NULL ? &object->team->bound : NULL; cr == CUDA_SUCCESS && *link != NULL;
         link = &(*link)->next)
        if ((*link)->memory->device == dev && (*link)->offset == offset && (*link)->bytes == size)
            break;
    if (cr == CUDA_SUCCESS && *link == NULL)
        cr = CUDA_ERROR_INVALID_VALUE;
    if (cr == CUDA_SUCCESS) {
        args.handle = object->object.wire;
        args.device = fe_state_of(&call)->devices[dev].server_ordinal;
        FE_ASK(cr, &call, cuMulticastUnbind, &args, &reply);
    }
    if (cr == CUDA_SUCCESS)
        cr = bound_end(&call, link);
    fe_vmm_unlock();
    return fe_leave(&call, cr);
}

CUresult
fe_team_end(struct fe_call *call, struct fe_team *team)
{
    CUresult cr = CUDA_SUCCESS;

    while (team != NULL && team->bound != NULL) {
        CUresult one = bound_end(call, &team->bound);

        cr = cr == CUDA_SUCCESS ? one : cr;
    }
    free(team);
    return cr;
}
