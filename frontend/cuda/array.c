/* frontend/cuda/array.c -- arrays and mipmapped arrays
 *
 * Creating one waits, because out-of-memory belongs to that call; the driver's own description of
 * it comes with the answer, so that nothing needs to be asked afterwards. Its memory is counted in
 * the lease. Destroying waits too, as with the driver: the bytes are free when it returns.
 */
#include "frontend/cuda/array.h"

#include "cuda_api.h"
#include "frontend/cuda/ask.h"
#include "frontend/cuda/geometry.h"
#include "frontend/cuda/memory.h"
#include "frontend/cuda/state.h"
#include "protocol/base/util.h"
#include "protocol/wire/array.h"

/* -- making and ending ------------------------------------------------------------------ */

static void
drop(struct fe_array *array)
{
    struct fe_state *state = fe_state_get(NULL);
    uint64_t charged = atomic_exchange(&array->charged, 0);
    struct fe_context *ctx = array->object.context;

    fe_object_destroy(array);
    if (state != NULL && charged > 0)
        fe_alloc_uncharge(fe_alloc_of_device(ctx->device), ctx->device, charged);
}

/* An object and its bytes of the lease. */
static CUresult
prepare(struct fe_call *call, enum wire_handle kind, const CUDA_ARRAY3D_DESCRIPTOR *desc,
        uint32_t levels, struct fe_array **array_p)
{
    uint64_t bytes = wire_array_bytes(desc, levels);
    enum wire_call before = (enum wire_call)call->id;
    struct fe_array *array;
    CUresult cr = CUDA_SUCCESS;

    if (bytes > 0)
        cr = fe_memory_charge(call, fe_state_of(call), call->context->device, bytes);
    if (cr != CUDA_SUCCESS)
        return cr;
    array = fe_object_create(kind, call->context);
    if (array == NULL) {
        fe_alloc_uncharge(fe_alloc_of(call), call->context->device, bytes);
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    array->charged = bytes;
    array->levels = levels;
    *array_p = array;
    return fe_call_next(call, before);
}

static CUresult
create(CUarray *handle, const CUDA_ARRAY3D_DESCRIPTOR *desc)
{
    struct wire_cuArray3DCreate_v2_reply reply;
    struct wire_cuArray3DCreate_v2_args args;
    struct fe_array *array = NULL;
    struct fe_call call;
    CUresult cr = fe_enter(&call, WIRE_CALL_cuArray3DCreate_v2);

    if (cr != CUDA_SUCCESS)
        return cr;
    if (handle == NULL || desc == NULL || desc->Width == 0)
        return fe_leave(&call, CUDA_ERROR_INVALID_VALUE);
    cr = prepare(&call, WIRE_HANDLE_ARRAY, desc, 1, &array);
    if (cr != CUDA_SUCCESS)
        return fe_leave(&call, cr);
    args.array = array->object.wire;
    args.desc = *desc;
    FE_ASK(cr, &call, cuArray3DCreate_v2, &args, &reply);
    if (cr != CUDA_SUCCESS) {
        drop(array);
        return fe_leave(&call, cr);
    }
    array->desc = reply.desc;
    *handle = (CUarray)array;
    return fe_leave(&call, CUDA_SUCCESS);
}

GP_EXPORT CUresult
cuArray3DCreate_v2(CUarray *handle, const CUDA_ARRAY3D_DESCRIPTOR *desc)
{
    return create(handle, desc);
}

GP_EXPORT CUresult
cuArray3DCreate(CUarray *handle, const CUDA_ARRAY3D_DESCRIPTOR_v1 *desc)
{
    CUDA_ARRAY3D_DESCRIPTOR d;

    if (desc == NULL)
        return create(handle, NULL);
    d = (CUDA_ARRAY3D_DESCRIPTOR){desc->Width,  desc->Height,      desc->Depth,
                                  desc->Format, desc->NumChannels, desc->Flags};
    return create(handle, &d);
}

GP_EXPORT CUresult
cuArrayCreate_v2(CUarray *handle, const CUDA_ARRAY_DESCRIPTOR *desc)
{
    CUDA_ARRAY3D_DESCRIPTOR d;

    if (desc == NULL)
        return create(handle, NULL);
    d = (CUDA_ARRAY3D_DESCRIPTOR){desc->Width, desc->Height, 0, desc->Format, desc->NumChannels, 0};
    return create(handle, &d);
}

GP_EXPORT CUresult
cuArrayCreate(CUarray *handle, const CUDA_ARRAY_DESCRIPTOR_v1 *desc)
{
    CUDA_ARRAY_DESCRIPTOR d;

    if (desc == NULL)
        return create(handle, NULL);
    d = (CUDA_ARRAY_DESCRIPTOR){desc->Width, desc->Height, desc->Format, desc->NumChannels};
    return cuArrayCreate_v2(handle, &d);
}

/* Levels and planes end with what they belong to. */
static bool
drop_child(void *object, void *parent)
{
    if (((struct fe_array *)object)->parent == parent)
        fe_object_destroy(object);
    return true;
}

GP_EXPORT CUresult
cuArrayDestroy(CUarray handle)
{
    struct fe_array *array = fe_object_get(WIRE_HANDLE_ARRAY, handle);
    struct wire_cuArrayDestroy_reply reply;
    struct wire_cuArrayDestroy_args args;
    struct fe_call call;
    CUresult cr = CUDA_SUCCESS;

    if (fe_state_get(&cr) == NULL)
        return cr;
    if (array == NULL)
        return CUDA_ERROR_INVALID_HANDLE;
    cr = fe_enter_in(&call, WIRE_CALL_cuArrayDestroy, array->object.context);
    if (cr != CUDA_SUCCESS)
        return cr;
    args.array = array->object.wire;
    FE_ASK(cr, &call, cuArrayDestroy, &args, &reply);
    if (cr == CUDA_SUCCESS) {
        fe_object_each(WIRE_HANDLE_ARRAY, drop_child, array);
        drop(array);
    }
    return fe_leave(&call, cr);
}

/* -- what one is ------------------------------------------------------------------------ */

static CUresult
described(CUarray handle, const void *to, const struct fe_array **array_p)
{
    const struct fe_array *array = fe_object_get(WIRE_HANDLE_ARRAY, handle);
    struct fe_call call;
    CUresult cr = CUDA_SUCCESS;

    if (fe_state_get(&cr) == NULL)
        return cr;
    if (array == NULL)
        return CUDA_ERROR_INVALID_HANDLE;
    cr = fe_enter_in(&call, WIRE_CALL_cuArray3DCreate_v2, array->object.context);
    if (cr != CUDA_SUCCESS)
        return cr;
    *array_p = array;
    return fe_leave(&call, to != NULL ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE);
}

GP_EXPORT CUresult
cuArray3DGetDescriptor_v2(CUDA_ARRAY3D_DESCRIPTOR *desc, CUarray handle)
{
    const struct fe_array *array = NULL;
    CUresult cr = described(handle, desc, &array);

    if (cr == CUDA_SUCCESS)
        *desc = array->desc;
    return cr;
}

GP_EXPORT CUresult
cuArray3DGetDescriptor(CUDA_ARRAY3D_DESCRIPTOR_v1 *desc, CUarray handle)
{
    const struct fe_array *array = NULL;
    CUresult cr = described(handle, desc, &array);

    if (cr == CUDA_SUCCESS)
        *desc = (CUDA_ARRAY3D_DESCRIPTOR_v1){
            (unsigned)array->desc.Width, (unsigned)array->desc.Height, (unsigned)array->desc.Depth,
            array->desc.Format,          array->desc.NumChannels,      array->desc.Flags};
    return cr;
}

GP_EXPORT CUresult
cuArrayGetDescriptor_v2(CUDA_ARRAY_DESCRIPTOR *desc, CUarray handle)
{
    const struct fe_array *array = NULL;
    CUresult cr = described(handle, desc, &array);

    if (cr == CUDA_SUCCESS)
        *desc = (CUDA_ARRAY_DESCRIPTOR){array->desc.Width, array->desc.Height, array->desc.Format,
                                        array->desc.NumChannels};
    return cr;
}

GP_EXPORT CUresult
cuArrayGetDescriptor(CUDA_ARRAY_DESCRIPTOR_v1 *desc, CUarray handle)
{
    const struct fe_array *array = NULL;
    CUresult cr = described(handle, desc, &array);

    if (cr == CUDA_SUCCESS)
        *desc =
            (CUDA_ARRAY_DESCRIPTOR_v1){(unsigned)array->desc.Width, (unsigned)array->desc.Height,
                                       array->desc.Format, array->desc.NumChannels};
    return cr;
}

/* The server's number of a device. */
static CUresult
server_device(CUdevice dev, int32_t *ordinal_p)
{
    const struct fe_device *device;
    struct fe_state *state;
    CUresult cr = CUDA_SUCCESS;

    state = fe_state_get(&cr);
    if (state == NULL)
        return cr;
    device = fe_state_device(state, dev);
    if (device == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    *ordinal_p = device->server_ordinal;
    return CUDA_SUCCESS;
}

GP_EXPORT CUresult
cuArrayGetMemoryRequirements(CUDA_ARRAY_MEMORY_REQUIREMENTS *requirements, CUarray handle,
                             CUdevice dev)
{
    struct fe_array *array = fe_object_get(WIRE_HANDLE_ARRAY, handle);
    struct wire_cuArrayGetMemoryRequirements_reply reply;
    struct wire_cuArrayGetMemoryRequirements_args args;
    struct fe_call call;
    CUresult cr = CUDA_SUCCESS;

    if (fe_state_get(&cr) == NULL)
        return cr;
    if (array == NULL)
        return CUDA_ERROR_INVALID_HANDLE;
    cr = fe_enter_in(&call, WIRE_CALL_cuArrayGetMemoryRequirements, array->object.context);
    if (cr != CUDA_SUCCESS)
        return cr;
    cr = server_device(dev, &args.device);
    if (cr != CUDA_SUCCESS || requirements == NULL)
        return fe_leave(&call, cr != CUDA_SUCCESS ? cr : CUDA_ERROR_INVALID_VALUE);
    args.array = array->object.wire;
    FE_ASK(cr, &call, cuArrayGetMemoryRequirements, &args, &reply);
    if (cr == CUDA_SUCCESS)
        *requirements =
            (CUDA_ARRAY_MEMORY_REQUIREMENTS){.size = reply.size, .alignment = reply.alignment};
    return fe_leave(&call, cr);
}

GP_EXPORT CUresult
cuMipmappedArrayGetMemoryRequirements(CUDA_ARRAY_MEMORY_REQUIREMENTS *requirements,
                                      CUmipmappedArray handle, CUdevice dev)
{
    struct fe_array *array = fe_object_get(WIRE_HANDLE_MIPMAPPED_ARRAY, handle);
    struct wire_cuMipmappedArrayGetMemoryRequirements_reply reply;
    struct wire_cuMipmappedArrayGetMemoryRequirements_args args;
    struct fe_call call;
    CUresult cr = CUDA_SUCCESS;

    if (fe_state_get(&cr) == NULL)
        return cr;
    if (array == NULL)
        return CUDA_ERROR_INVALID_HANDLE;
    cr = fe_enter_in(&call, WIRE_CALL_cuMipmappedArrayGetMemoryRequirements, array->object.context);
    if (cr != CUDA_SUCCESS)
        return cr;
    cr = server_device(dev, &args.device);
    if (cr != CUDA_SUCCESS || requirements == NULL)
        return fe_leave(&call, cr != CUDA_SUCCESS ? cr : CUDA_ERROR_INVALID_VALUE);
    args.array = array->object.wire;
    FE_ASK(cr, &call, cuMipmappedArrayGetMemoryRequirements, &args, &reply);
    if (cr == CUDA_SUCCESS)
        *requirements =
            (CUDA_ARRAY_MEMORY_REQUIREMENTS){.size = reply.size, .alignment = reply.alignment};
    return fe_leave(&call, cr);
}

/* -- planes and levels ------------------------------------------------------------------ */

struct child {
    const struct fe_array *parent;
    uint32_t index;
    struct fe_array *found;
};

static bool
find_child(void *object, void *user)
{
    struct fe_array *array = object;
    struct child *want = user;

    if (array->parent != want->parent || array->index != want->index ||
        fe_object_state(array) != FE_OBJECT_LIVE)
        return true;
    want->found = array;
    return false;
}

/* The handle that was given out before, as the driver gives the same one each time. */
static struct fe_array *
child_of(const struct fe_array *parent, uint32_t index)
{
    struct child want = {parent, index, NULL};

    fe_object_each(WIRE_HANDLE_ARRAY, find_child, &want);
    return want.found;
}

/* Asks the server to give child its part of array, and for what that is. */
typedef CUresult ask_child(struct fe_call *call, const struct fe_array *array,
                           const struct fe_array *child, CUDA_ARRAY3D_DESCRIPTOR *desc);

/* The plane or level of that index of the array: what was given out before, or what ask brings. */
static CUresult
child_get(CUarray *handle, struct fe_array *array, uint32_t index, enum wire_call id,
          ask_child *ask)
{
    struct fe_array *child;
    struct fe_call call;
    CUresult cr = CUDA_SUCCESS;

    if (fe_state_get(&cr) == NULL)
        return cr;
    if (array == NULL)
        return CUDA_ERROR_INVALID_HANDLE;
    cr = fe_enter_in(&call, id, array->object.context);
    if (cr != CUDA_SUCCESS)
        return cr;
    if (handle == NULL)
        return fe_leave(&call, CUDA_ERROR_INVALID_VALUE);
    child = child_of(array, index);
    if (child == NULL) {
        child = fe_object_create(WIRE_HANDLE_ARRAY, array->object.context);
        if (child == NULL)
            return fe_leave(&call, CUDA_ERROR_OUT_OF_MEMORY);
        child->index = index;
        cr = ask(&call, array, child, &child->desc);
        if (cr != CUDA_SUCCESS) {
            fe_object_destroy(child);
            return fe_leave(&call, cr);
        }
        child->parent = array; /* found by others only now */
    }
    *handle = (CUarray)child;
    return fe_leave(&call, CUDA_SUCCESS);
}

static CUresult
ask_plane(struct fe_call *call, const struct fe_array *array, const struct fe_array *child,
          CUDA_ARRAY3D_DESCRIPTOR *desc)
{
    struct wire_cuArrayGetPlane_args args = {
        .plane = child->object.wire, .array = array->object.wire, .index = child->index};
    struct wire_cuArrayGetPlane_reply reply;
    CUresult cr;

    FE_ASK(cr, call, cuArrayGetPlane, &args, &reply);
    if (cr == CUDA_SUCCESS)
        *desc = reply.desc;
    return cr;
}

GP_EXPORT CUresult
cuArrayGetPlane(CUarray *plane, CUarray handle, unsigned int index)
{
    return child_get(plane, fe_object_get(WIRE_HANDLE_ARRAY, handle), index,
                     WIRE_CALL_cuArrayGetPlane, ask_plane);
}

GP_EXPORT CUresult
cuMipmappedArrayCreate(CUmipmappedArray *handle, const CUDA_ARRAY3D_DESCRIPTOR *desc,
                       unsigned int levels)
{
    struct wire_cuMipmappedArrayCreate_args args = {.levels = levels};
    struct wire_cuMipmappedArrayCreate_reply reply;
    struct fe_array *array = NULL;
    struct fe_call call;
    CUresult cr = fe_enter(&call, WIRE_CALL_cuMipmappedArrayCreate);

    if (cr != CUDA_SUCCESS)
        return cr;
    if (handle == NULL || desc == NULL || desc->Width == 0 || levels == 0)
        return fe_leave(&call, CUDA_ERROR_INVALID_VALUE);
    cr = prepare(&call, WIRE_HANDLE_MIPMAPPED_ARRAY, desc, levels, &array);
    if (cr != CUDA_SUCCESS)
        return fe_leave(&call, cr);
    args.array = array->object.wire;
    args.desc = *desc;
    FE_ASK(cr, &call, cuMipmappedArrayCreate, &args, &reply);
    if (cr != CUDA_SUCCESS) {
        drop(array);
        return fe_leave(&call, cr);
    }
    array->desc = reply.desc;
    *handle = (CUmipmappedArray)array;
    return fe_leave(&call, CUDA_SUCCESS);
}

static CUresult
ask_level(struct fe_call *call, const struct fe_array *array, const struct fe_array *child,
          CUDA_ARRAY3D_DESCRIPTOR *desc)
{
    struct wire_cuMipmappedArrayGetLevel_args args = {
        .level = child->object.wire, .array = array->object.wire, .index = child->index};
    struct wire_cuMipmappedArrayGetLevel_reply reply;
    CUresult cr;

    FE_ASK(cr, call, cuMipmappedArrayGetLevel, &args, &reply);
    if (cr == CUDA_SUCCESS)
        *desc = reply.desc;
    return cr;
}

GP_EXPORT CUresult
cuMipmappedArrayGetLevel(CUarray *level, CUmipmappedArray handle, unsigned int index)
{
    return child_get(level, fe_object_get(WIRE_HANDLE_MIPMAPPED_ARRAY, handle), index,
                     WIRE_CALL_cuMipmappedArrayGetLevel, ask_level);
}

GP_EXPORT CUresult
cuMipmappedArrayDestroy(CUmipmappedArray handle)
{
    struct fe_array *array = fe_object_get(WIRE_HANDLE_MIPMAPPED_ARRAY, handle);
    struct wire_cuMipmappedArrayDestroy_reply reply;
    struct wire_cuMipmappedArrayDestroy_args args;
    struct fe_call call;
    CUresult cr = CUDA_SUCCESS;

    if (fe_state_get(&cr) == NULL)
        return cr;
    if (array == NULL)
        return CUDA_ERROR_INVALID_HANDLE;
    cr = fe_enter_in(&call, WIRE_CALL_cuMipmappedArrayDestroy, array->object.context);
    if (cr != CUDA_SUCCESS)
        return cr;
    args.array = array->object.wire;
    FE_ASK(cr, &call, cuMipmappedArrayDestroy, &args, &reply);
    if (cr == CUDA_SUCCESS) {
        fe_object_each(WIRE_HANDLE_ARRAY, drop_child, array);
        drop(array);
    }
    return fe_leave(&call, cr);
}

/* -- for others ------------------------------------------------------------------------- */

CUresult
fe_array_settle(struct fe_side *side, const struct fe_shape *shape)
{
    const struct fe_array *array = fe_object_get(WIRE_HANDLE_ARRAY, (void *)(uintptr_t)side->base);
    struct wire_array_shape s;

    CUresult cr;

    if (array == NULL)
        return CUDA_ERROR_INVALID_HANDLE;
    cr = fe_context_usable(array->object.context);
    if (cr != CUDA_SUCCESS)
        return cr;
    if (!wire_array_shape(&array->desc, &s))
        return CUDA_ERROR_INVALID_VALUE;
    if (side->x % s.element_bytes != 0 || shape->width % s.element_bytes != 0 ||
        shape->width > s.row_bytes || side->x > s.row_bytes - shape->width ||
        shape->height > s.rows || side->y > s.rows - shape->height || shape->depth > s.slices ||
        side->z > s.slices - shape->depth)
        return CUDA_ERROR_INVALID_VALUE;
    side->array_wire = array->object.wire;
    return CUDA_SUCCESS;
}

static bool
drop_inside(void *object, void *ctx)
{
    struct fe_array *array = object;

    if (array->object.context == ctx)
        drop(array);
    return true;
}

void
fe_arrays_drop_context(struct fe_context *ctx)
{
    fe_object_each(WIRE_HANDLE_ARRAY, drop_inside, ctx);
    fe_object_each(WIRE_HANDLE_MIPMAPPED_ARRAY, drop_inside, ctx);
}
