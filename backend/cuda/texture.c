/* backend/cuda/texture.c -- texture and surface objects, references of modules, tensor maps
 *
 * The driver is told addresses and arrays that are the client's own, nothing else of a resource.
 */
#include "backend/cuda/texture.h"

#include "backend/cuda/array.h"
#include "backend/cuda/module.h"
#include "be_hooks.h"

#include <stdlib.h>
#include <string.h>

/* -- objects -------------------------------------------------------------------------------- */

static CUresult
memory_check(struct be_call *call, uint64_t address, uint64_t width_bytes, uint64_t rows,
             uint64_t pitch)
{
    uint64_t bytes;

    if (rows == 0 || __builtin_mul_overflow(rows - 1, pitch, &bytes) ||
        __builtin_add_overflow(bytes, width_bytes, &bytes))
        return CUDA_ERROR_INVALID_VALUE;
    return be_check_device(call->session, address, bytes);
}

/* The resource with handles of the driver in it. */
static CUresult
resource_open(struct be_call *call, const CUDA_RESOURCE_DESC *from, CUDA_RESOURCE_DESC *to)
{
    struct be_array *array = NULL;
    uint64_t bytes;
    CUresult cr;

    memset(to, 0, sizeof(*to));
    to->resType = from->resType;
    to->flags = from->flags;
    switch (from->resType) {
    case CU_RESOURCE_TYPE_ARRAY:
        cr = be_array_find(call->session, WIRE_HANDLE_ARRAY, (uintptr_t)from->res.array.hArray,
                           &array);
        if (cr == CUDA_SUCCESS)
            to->res.array.hArray = array->array;
        return cr;
    case CU_RESOURCE_TYPE_MIPMAPPED_ARRAY:
        cr = be_array_find(call->session, WIRE_HANDLE_MIPMAPPED_ARRAY,
                           (uintptr_t)from->res.mipmap.hMipmappedArray, &array);
        if (cr == CUDA_SUCCESS)
            to->res.mipmap.hMipmappedArray = array->mipmap;
        return cr;
    case CU_RESOURCE_TYPE_LINEAR:
        to->res.linear = from->res.linear;
        return memory_check(call, from->res.linear.devPtr, from->res.linear.sizeInBytes, 1, 0);
    case CU_RESOURCE_TYPE_PITCH2D: {
        CUDA_ARRAY3D_DESCRIPTOR row = {.Width = from->res.pitch2D.width,
                                       .Format = from->res.pitch2D.format,
                                       .NumChannels = from->res.pitch2D.numChannels};
        struct wire_array_shape shape;

        if (!wire_array_shape(&row, &shape))
            return CUDA_ERROR_INVALID_VALUE;
        bytes = shape.row_bytes;
        to->res.pitch2D = from->res.pitch2D;
        return memory_check(call, from->res.pitch2D.devPtr, bytes, from->res.pitch2D.height,
                            from->res.pitch2D.pitchInBytes);
    }
    default:
        return CUDA_ERROR_INVALID_VALUE;
    }
}

static CUresult
object_bind(struct be_call *call, enum wire_handle kind, uint64_t id, void *object)
{
    if (object != NULL &&
        be_handles_add(&call->session->handles, kind, id, object, call->context->index) == GP_OK)
        return CUDA_SUCCESS;
    be_texture_end(call->session, kind, object);
    return CUDA_ERROR_INVALID_HANDLE;
}

CUresult
be_hook_cuTexObjectCreate(struct be_call *call, const struct wire_cuTexObjectCreate_args *args,
                          struct wire_cuTexObjectCreate_reply *reply)
{
    CUDA_RESOURCE_DESC resource;
    CUtexObject object = 0;
    CUresult cr = resource_open(call, &args->resource, &resource);

    if (cr == CUDA_SUCCESS && call->driver->cuTexObjectCreate == NULL)
        cr = CUDA_ERROR_NOT_SUPPORTED;
    if (cr == CUDA_SUCCESS)
        cr = call->driver->cuTexObjectCreate(&object, &resource, &args->texture_desc,
                                             args->has_view != 0 ? &args->view : NULL);
    if (cr == CUDA_SUCCESS)
        cr = object_bind(call, WIRE_HANDLE_TEXTURE, args->texture, (void *)(uintptr_t)object);
    reply->object = object;
    return cr;
}

CUresult
be_hook_cuSurfObjectCreate(struct be_call *call, const struct wire_cuSurfObjectCreate_args *args,
                           struct wire_cuSurfObjectCreate_reply *reply)
{
    CUDA_RESOURCE_DESC resource;
    CUsurfObject object = 0;
    CUresult cr = resource_open(call, &args->resource, &resource);

    if (cr == CUDA_SUCCESS && call->driver->cuSurfObjectCreate == NULL)
        cr = CUDA_ERROR_NOT_SUPPORTED;
    if (cr == CUDA_SUCCESS)
        cr = call->driver->cuSurfObjectCreate(&object, &resource);
    if (cr == CUDA_SUCCESS)
        cr = object_bind(call, WIRE_HANDLE_SURFACE, args->surface, (void *)(uintptr_t)object);
    reply->object = object;
    return cr;
}

CUresult
be_hook_cuTexObjectDestroy(struct be_call *call, const struct wire_cuTexObjectDestroy_args *args)
{
    void *object = NULL;
    CUresult cr = be_handle_take(call->session, WIRE_HANDLE_TEXTURE, args->texture, &object);

    if (cr == CUDA_SUCCESS)
        cr = call->driver->cuTexObjectDestroy((CUtexObject)(uintptr_t)object);
    return cr;
}

CUresult
be_hook_cuSurfObjectDestroy(struct be_call *call, const struct wire_cuSurfObjectDestroy_args *args)
{
    void *object = NULL;
    CUresult cr = be_handle_take(call->session, WIRE_HANDLE_SURFACE, args->surface, &object);

    if (cr == CUDA_SUCCESS)
        cr = call->driver->cuSurfObjectDestroy((CUsurfObject)(uintptr_t)object);
    return cr;
}

void
be_texture_end(struct be_session *session, enum wire_handle kind, void *object)
{
    const struct be_driver_table *t = &session->driver->table;
    struct be_texref *ref = object;

    if (object == NULL)
        return;
    if (kind == WIRE_HANDLE_TEXTURE) {
        (void)t->cuTexObjectDestroy((CUtexObject)(uintptr_t)object);
    } else if (kind == WIRE_HANDLE_SURFACE) {
        (void)t->cuSurfObjectDestroy((CUsurfObject)(uintptr_t)object);
    } else {
        if (kind == WIRE_HANDLE_TEXREF && ref->owner == NULL)
            (void)t->cuTexRefDestroy(ref->ref);
        free(ref);
    }
}

CUresult
be_hook_cuDeviceGetTexture1DLinearMaxWidth(
    struct be_call *call, const struct wire_cuDeviceGetTexture1DLinearMaxWidth_args *args,
    struct wire_cuDeviceGetTexture1DLinearMaxWidth_reply *reply)
{
    size_t width = 0;
    CUresult cr = be_check_ordinal(call->session, args->device);

    if (cr != CUDA_SUCCESS)
        return cr;
    if (call->driver->cuDeviceGetTexture1DLinearMaxWidth == NULL)
        return CUDA_ERROR_NOT_SUPPORTED;
    cr = call->driver->cuDeviceGetTexture1DLinearMaxWidth(&width, (CUarray_format)args->format,
                                                          args->channels, args->device);
    reply->width = width;
    return cr;
}

/* -- references ----------------------------------------------------------------------------- */

static CUresult
ref_bind(struct be_call *call, enum wire_handle kind, uint64_t id, void *handle, const void *owner)
{
    struct be_texref *ref = calloc(1, sizeof(*ref));

    if (ref == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    ref->ref = handle;
    ref->owner = owner;
    return object_bind(call, kind, id, ref);
}

CUresult
be_hook_cuModuleGetTexRef(struct be_call *call, const struct wire_cuModuleGetTexRef_args *args,
                          struct wire_cuModuleGetTexRef_reply *reply)
{
    struct be_handle_slot *slot =
        be_handles_find(&call->session->handles, WIRE_HANDLE_MODULE, args->module);
    CUtexref ref = NULL;
    CUresult cr;

    (void)reply;
    if (slot == NULL)
        return CUDA_ERROR_INVALID_HANDLE;
    if (call->driver->cuModuleGetTexRef == NULL)
        return CUDA_ERROR_NOT_SUPPORTED;
    cr = call->driver->cuModuleGetTexRef(&ref, be_owner_handle(slot->object), args->name);
    return cr == CUDA_SUCCESS ? ref_bind(call, WIRE_HANDLE_TEXREF, args->texref, ref, slot->object)
                              : cr;
}

CUresult
be_hook_cuModuleGetSurfRef(struct be_call *call, const struct wire_cuModuleGetSurfRef_args *args,
                           struct wire_cuModuleGetSurfRef_reply *reply)
{
    struct be_handle_slot *slot =
        be_handles_find(&call->session->handles, WIRE_HANDLE_MODULE, args->module);
    CUsurfref ref = NULL;
    CUresult cr;

    (void)reply;
    if (slot == NULL)
        return CUDA_ERROR_INVALID_HANDLE;
    if (call->driver->cuModuleGetSurfRef == NULL)
        return CUDA_ERROR_NOT_SUPPORTED;
    cr = call->driver->cuModuleGetSurfRef(&ref, be_owner_handle(slot->object), args->name);
    return cr == CUDA_SUCCESS
               ? ref_bind(call, WIRE_HANDLE_SURFREF, args->surfref, ref, slot->object)
               : cr;
}

CUresult
be_hook_cuTexRefCreate(struct be_call *call, const struct wire_cuTexRefCreate_args *args,
                       struct wire_cuTexRefCreate_reply *reply)
{
    CUtexref ref = NULL;
    CUresult cr;

    (void)reply;
    if (call->driver->cuTexRefCreate == NULL)
        return CUDA_ERROR_NOT_SUPPORTED;
    cr = call->driver->cuTexRefCreate(&ref);
    return cr == CUDA_SUCCESS ? ref_bind(call, WIRE_HANDLE_TEXREF, args->texref, ref, NULL) : cr;
}

CUresult
be_hook_cuTexRefDestroy(struct be_call *call, const struct wire_cuTexRefDestroy_args *args,
                        struct wire_cuTexRefDestroy_reply *reply)
{
    struct be_handle_slot *slot =
        be_handles_find(&call->session->handles, WIRE_HANDLE_TEXREF, args->texref);
    struct be_texref *ref = slot != NULL ? slot->object : NULL;
    CUresult cr;

    (void)reply;
    if (ref == NULL || ref->owner != NULL) /* a module's goes with it */
        return CUDA_ERROR_INVALID_HANDLE;
    cr = call->driver->cuTexRefDestroy(ref->ref);
    if (cr == CUDA_SUCCESS) {
        be_handles_remove(slot);
        free(ref);
    }
    return cr;
}

void
be_texrefs_drop(struct be_session *session, const void *owner)
{
    static const enum wire_handle kinds[] = {WIRE_HANDLE_TEXREF, WIRE_HANDLE_SURFREF};

    for (int k = 0; k < 2; k++) {
        uint32_t highest = be_handles_highest(&session->handles, kinds[k]);

        for (uint32_t i = 1; i <= highest; i++) {
            struct be_handle_slot *slot = be_handles_at(&session->handles, kinds[k], i);
            struct be_texref *ref = slot != NULL ? slot->object : NULL;

            if (ref == NULL || ref->owner != owner)
                continue;
            be_handles_remove(slot);
            free(ref);
        }
    }
}

CUresult
be_hook_cuTexRefSetAddress_v2(struct be_call *call,
                              const struct wire_cuTexRefSetAddress_v2_args *args,
                              struct wire_cuTexRefSetAddress_v2_reply *reply)
{
    size_t offset = 0;
    void *ref = NULL;
    CUresult cr = be_handle_get(call->session, WIRE_HANDLE_TEXREF, args->hTexRef, false, &ref);

    if (cr == CUDA_SUCCESS && args->address != 0)
        cr = be_check_device(call->session, args->address, args->bytes);
    if (cr == CUDA_SUCCESS)
        cr = call->driver->cuTexRefSetAddress_v2(args->wants_offset != 0 ? &offset : NULL, ref,
                                                 args->address, args->bytes);
    reply->offset = offset;
    return cr;
}

CUresult
be_hook_cuTexRefSetAddress2D_v3(struct be_call *call,
                                const struct wire_cuTexRefSetAddress2D_v3_args *args,
                                struct wire_cuTexRefSetAddress2D_v3_reply *reply)
{
    CUDA_ARRAY3D_DESCRIPTOR row = {.Width = args->desc.Width,
                                   .Format = args->desc.Format,
                                   .NumChannels = args->desc.NumChannels};
    struct wire_array_shape shape;
    void *ref = NULL;
    CUresult cr = be_handle_get(call->session, WIRE_HANDLE_TEXREF, args->hTexRef, false, &ref);

    (void)reply;
    if (cr == CUDA_SUCCESS && call->driver->cuTexRefSetAddress2D_v3 == NULL)
        cr = CUDA_ERROR_NOT_SUPPORTED;
    if (cr == CUDA_SUCCESS && !wire_array_shape(&row, &shape))
        cr = CUDA_ERROR_INVALID_VALUE;
    if (cr == CUDA_SUCCESS && args->address != 0)
        cr = memory_check(call, args->address, shape.row_bytes, args->desc.Height, args->pitch);
    if (cr == CUDA_SUCCESS)
        cr = call->driver->cuTexRefSetAddress2D_v3(ref, &args->desc, args->address, args->pitch);
    return cr;
}

CUresult
be_hook_cuTexRefSetBorderColor(struct be_call *call,
                               const struct wire_cuTexRefSetBorderColor_args *args,
                               struct wire_cuTexRefSetBorderColor_reply *reply)
{
    float color[4];
    void *ref = NULL;
    CUresult cr = be_handle_get(call->session, WIRE_HANDLE_TEXREF, args->hTexRef, false, &ref);

    (void)reply;
    if (cr != CUDA_SUCCESS)
        return cr;
    if (call->driver->cuTexRefSetBorderColor == NULL)
        return CUDA_ERROR_NOT_SUPPORTED;
    memcpy(color, args->color, sizeof(color));
    return call->driver->cuTexRefSetBorderColor(ref, color);
}

CUresult
be_hook_cuTexRefGetBorderColor(struct be_call *call,
                               const struct wire_cuTexRefGetBorderColor_args *args,
                               struct wire_cuTexRefGetBorderColor_reply *reply)
{
    void *ref = NULL;
    CUresult cr = be_handle_get(call->session, WIRE_HANDLE_TEXREF, args->hTexRef, false, &ref);

    if (cr != CUDA_SUCCESS)
        return cr;
    if (call->driver->cuTexRefGetBorderColor == NULL)
        return CUDA_ERROR_NOT_SUPPORTED;
    return call->driver->cuTexRefGetBorderColor(reply->color, ref);
}
