/* backend/cuda/array.c -- arrays and mipmapped arrays, counted in the client's lease */
#include "backend/cuda/array.h"

#include "backend/cuda/jobs.h"
#include "backend/cuda/stay.h"
#include "be_hooks.h"
#include "protocol/base/util.h"

#include <stdlib.h>

/* -- life ----------------------------------------------------------------------------------- */

struct be_array *
be_array_get(struct be_array *array)
{
    atomic_fetch_add_explicit(&array->refs, 1, memory_order_relaxed);
    return array;
}

void
be_array_put(struct be_array *array)
{
    const struct be_driver_table *t;

    while (array != NULL && atomic_fetch_sub_explicit(&array->refs, 1, memory_order_acq_rel) == 1) {
        struct be_array *parent = array->parent;

        t = &array->session->driver->table;
        if (parent == NULL && array->mipmap != NULL)
            (void)t->cuMipmappedArrayDestroy(array->mipmap);
        else if (parent == NULL && array->array != NULL)
            (void)t->cuArrayDestroy(array->array);
        if (array->charged > 0)
            be_space_uncharge(array->session->space, array->device, array->charged);
        free(array);
        array = parent;
    }
}

CUresult
be_array_find(struct be_session *session, enum wire_handle kind, uint64_t id,
              struct be_array **array_p)
{
    struct be_handle_slot *slot = be_handles_find(&session->handles, kind, id);

    if (slot == NULL)
        return CUDA_ERROR_INVALID_HANDLE;
    *array_p = slot->object;
    return CUDA_SUCCESS;
}

/* A struct with bytes of the lease; put it back on failure. */
static CUresult
array_new(struct be_call *call, uint64_t bytes, struct be_array **array_p)
{
    struct be_array *array = calloc(1, sizeof(*array));
    CUresult cr = CUDA_SUCCESS;

    if (array == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    array->session = call->session;
    array->device = call->context->device;
    atomic_init(&array->refs, 1);
    if (bytes > 0 && bytes <= be_space_lease_unused(call->session->space, array->device))
        (void)be_stay_room(call->session, array->device, bytes);
    if (bytes > 0)
        cr = be_space_charge(call->session->space, array->device, bytes);
    if (cr != CUDA_SUCCESS) {
        free(array);
        return cr;
    }
    array->charged = bytes;
    *array_p = array;
    return CUDA_SUCCESS;
}

static CUresult
array_bind(struct be_call *call, enum wire_handle kind, uint64_t id, struct be_array *array)
{
    return be_handles_add(&call->session->handles, kind, id, array, call->context->index) == GP_OK
               ? CUDA_SUCCESS
               : CUDA_ERROR_INVALID_HANDLE;
}

CUresult
be_hook_cuArray3DCreate_v2(struct be_call *call, const struct wire_cuArray3DCreate_v2_args *args,
                           struct wire_cuArray3DCreate_v2_reply *reply)
{
    struct be_array *array = NULL;
    CUresult cr = array_new(call, wire_array_bytes(&args->desc, 1), &array);

    if (cr != CUDA_SUCCESS)
        return cr;
    cr = call->driver->cuArray3DCreate_v2(&array->array, &args->desc);
    if (cr == CUDA_SUCCESS)
        cr = call->driver->cuArray3DGetDescriptor_v2(&array->desc, array->array);
    if (cr == CUDA_SUCCESS)
        cr = array_bind(call, WIRE_HANDLE_ARRAY, args->array, array);
    if (cr != CUDA_SUCCESS) {
        be_array_put(array);
        return cr;
    }
    reply->desc = array->desc;
    return CUDA_SUCCESS;
}

CUresult
be_hook_cuMipmappedArrayCreate(struct be_call *call,
                               const struct wire_cuMipmappedArrayCreate_args *args,
                               struct wire_cuMipmappedArrayCreate_reply *reply)
{
    struct be_array *array = NULL;
    CUresult cr;

    if (call->driver->cuMipmappedArrayCreate == NULL)
        return CUDA_ERROR_NOT_SUPPORTED;
    cr = array_new(call, wire_array_bytes(&args->desc, args->levels), &array);
    if (cr != CUDA_SUCCESS)
        return cr;
    cr = call->driver->cuMipmappedArrayCreate(&array->mipmap, &args->desc, args->levels);
    if (cr == CUDA_SUCCESS)
        cr = array_bind(call, WIRE_HANDLE_MIPMAPPED_ARRAY, args->array, array);
    if (cr != CUDA_SUCCESS) {
        be_array_put(array);
        return cr;
    }
    array->desc = args->desc;
    reply->desc = array->desc;
    return CUDA_SUCCESS;
}

/* A level or a plane: the driver's handle lives as long as its parent. */
static CUresult
child_bind(struct be_call *call, struct be_array *parent, CUarray handle, uint64_t id,
           CUDA_ARRAY3D_DESCRIPTOR *desc_p)
{
    struct be_array *array = NULL;
    CUresult cr = array_new(call, 0, &array);

    if (cr != CUDA_SUCCESS)
        return cr;
    array->array = handle;
    array->parent = be_array_get(parent);
    cr = call->driver->cuArray3DGetDescriptor_v2(&array->desc, handle);
    if (cr == CUDA_SUCCESS)
        cr = array_bind(call, WIRE_HANDLE_ARRAY, id, array);
    if (cr != CUDA_SUCCESS) {
        be_array_put(array);
        return cr;
    }
    *desc_p = array->desc;
    return CUDA_SUCCESS;
}

CUresult
be_hook_cuArrayGetPlane(struct be_call *call, const struct wire_cuArrayGetPlane_args *args,
                        struct wire_cuArrayGetPlane_reply *reply)
{
    struct be_array *array = NULL;
    CUarray plane = NULL;
    CUresult cr = be_array_find(call->session, WIRE_HANDLE_ARRAY, args->array, &array);

    if (cr == CUDA_SUCCESS && call->driver->cuArrayGetPlane == NULL)
        cr = CUDA_ERROR_NOT_SUPPORTED;
    if (cr == CUDA_SUCCESS)
        cr = call->driver->cuArrayGetPlane(&plane, array->array, args->index);
    return cr == CUDA_SUCCESS ? child_bind(call, array, plane, args->plane, &reply->desc) : cr;
}

CUresult
be_hook_cuMipmappedArrayGetLevel(struct be_call *call,
                                 const struct wire_cuMipmappedArrayGetLevel_args *args,
                                 struct wire_cuMipmappedArrayGetLevel_reply *reply)
{
    struct be_array *array = NULL;
    CUarray level = NULL;
    CUresult cr = be_array_find(call->session, WIRE_HANDLE_MIPMAPPED_ARRAY, args->array, &array);

    if (cr == CUDA_SUCCESS)
        cr = call->driver->cuMipmappedArrayGetLevel(&level, array->mipmap, args->index);
    return cr == CUDA_SUCCESS ? child_bind(call, array, level, args->level, &reply->desc) : cr;
}

/* -- the end -------------------------------------------------------------------------------- */

/* The client waits for the work that was queued before; nobody else does. */
struct array_end {
    struct be_wait wait;
    struct be_call call;
    struct be_array *array;
};

static void
array_end_run(struct be_wait *wait, CUresult cr)
{
    struct array_end *end = GP_CONTAINER_OF(wait, struct array_end, wait);
    struct be_session *session = end->call.session;

    be_array_put(end->array);
    be_reply_plain(&end->call, cr);
    be_pending_put(session);
    free(end);
}

static void
children_drop(struct be_session *session, const struct be_array *parent)
{
    uint32_t highest = be_handles_highest(&session->handles, WIRE_HANDLE_ARRAY);

    for (uint32_t i = 1; i <= highest; i++) {
        struct be_handle_slot *slot = be_handles_at(&session->handles, WIRE_HANDLE_ARRAY, i);
        struct be_array *array = slot != NULL ? slot->object : NULL;

        if (array == NULL || array->parent != parent)
            continue;
        be_handles_remove(slot);
        be_array_put(array);
    }
}

static CUresult
array_end(struct be_call *call, enum wire_handle kind, uint64_t id)
{
    struct be_handle_slot *slot = be_handles_find(&call->session->handles, kind, id);
    struct array_end *end;
    struct be_array *array;
    CUresult cr;

    if (slot == NULL)
        return CUDA_ERROR_INVALID_HANDLE;
    array = slot->object;
    if (array->parent != NULL) { /* the driver says what it thinks of that */
        cr = call->driver->cuArrayDestroy(array->array);
        if (cr == CUDA_SUCCESS) {
            be_handles_remove(slot);
            be_array_put(array);
        }
        return cr;
    }
    if (!be_pending_take(call->session))
        return CUDA_ERROR_OUT_OF_MEMORY;
    end = calloc(1, sizeof(*end));
    if (end == NULL) {
        be_pending_put(call->session);
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    be_handles_remove(slot);
    children_drop(call->session, array);
    end->call = *call;
    end->array = array;
    end->wait.kind = BE_WAIT_CONTEXT;
    end->wait.context = call->context;
    end->wait.run = array_end_run;
    be_park(call->session, &end->wait);
    return BE_PARKED;
}

CUresult
be_hook_cuArrayDestroy(struct be_call *call, const struct wire_cuArrayDestroy_args *args,
                       struct wire_cuArrayDestroy_reply *reply)
{
    (void)reply;
    return array_end(call, WIRE_HANDLE_ARRAY, args->array);
}

CUresult
be_hook_cuMipmappedArrayDestroy(struct be_call *call,
                                const struct wire_cuMipmappedArrayDestroy_args *args,
                                struct wire_cuMipmappedArrayDestroy_reply *reply)
{
    (void)reply;
    return array_end(call, WIRE_HANDLE_MIPMAPPED_ARRAY, args->array);
}

/* -- questions ------------------------------------------------------------------------------ */

static CUresult
requirements_check(const struct be_call *call, bool known, int32_t device)
{
    CUresult cr = be_check_ordinal(call->session, device);

    return cr == CUDA_SUCCESS && !known ? CUDA_ERROR_NOT_SUPPORTED : cr;
}

CUresult
be_hook_cuArrayGetMemoryRequirements(struct be_call *call,
                                     const struct wire_cuArrayGetMemoryRequirements_args *args,
                                     struct wire_cuArrayGetMemoryRequirements_reply *reply)
{
    CUDA_ARRAY_MEMORY_REQUIREMENTS r = {0};
    struct be_array *array = NULL;
    CUresult cr =
        requirements_check(call, call->driver->cuArrayGetMemoryRequirements != NULL, args->device);

    if (cr == CUDA_SUCCESS)
        cr = be_array_find(call->session, WIRE_HANDLE_ARRAY, args->array, &array);
    if (cr == CUDA_SUCCESS)
        cr = call->driver->cuArrayGetMemoryRequirements(&r, array->array, args->device);
    reply->size = r.size;
    reply->alignment = r.alignment;
    return cr;
}

CUresult
be_hook_cuMipmappedArrayGetMemoryRequirements(
    struct be_call *call, const struct wire_cuMipmappedArrayGetMemoryRequirements_args *args,
    struct wire_cuMipmappedArrayGetMemoryRequirements_reply *reply)
{
    CUDA_ARRAY_MEMORY_REQUIREMENTS r = {0};
    struct be_array *array = NULL;
    CUresult cr = requirements_check(
        call, call->driver->cuMipmappedArrayGetMemoryRequirements != NULL, args->device);

    if (cr == CUDA_SUCCESS)
        cr = be_array_find(call->session, WIRE_HANDLE_MIPMAPPED_ARRAY, args->array, &array);
    if (cr == CUDA_SUCCESS)
        cr = call->driver->cuMipmappedArrayGetMemoryRequirements(&r, array->mipmap, args->device);
    reply->size = r.size;
    reply->alignment = r.alignment;
    return cr;
}

CUresult
be_array_check(const struct be_array *array, uint64_t x, uint64_t y, uint64_t z, uint64_t width,
               uint64_t height, uint64_t depth)
{
    struct wire_array_shape s;

    if (!wire_array_shape(&array->desc, &s) || width > s.row_bytes || x > s.row_bytes - width ||
        height > s.rows || y > s.rows - height || depth > s.slices || z > s.slices - depth)
        return CUDA_ERROR_INVALID_VALUE;
    return CUDA_SUCCESS;
}
