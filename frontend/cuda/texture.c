/* frontend/cuda/texture.c -- texture and surface objects
 *
 * The number that a kernel uses is the server's own, so that it means the same inside of kernel
 * arguments and device memory; the object behind it is found by that number. What it was made from
 * is kept here.
 */
#include "frontend/cuda/texture.h"

#include "cuda_api.h"
#include "frontend/cuda/ask.h"
#include "frontend/cuda/host.h"
#include "frontend/cuda/state.h"
#include "protocol/base/util.h"

#include <pthread.h>
#include <string.h>

#define BUCKETS 1024u /* a power of two */

/* Guarded by lock, a leaf. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct fe_texture *buckets[2][BUCKETS];

static struct fe_texture **
bucket_of(uint64_t number, bool surface)
{
    return &buckets[surface][(number ^ number >> 20) % BUCKETS];
}

static void
enter_number(struct fe_texture *t, uint64_t number)
{
    struct fe_texture **head = bucket_of(number, t->surface);

    pthread_mutex_lock(&lock);
    t->number = number;
    t->next = *head;
    *head = t;
    pthread_mutex_unlock(&lock);
}

/* Out of the table; NULL if another thread was first. */
static struct fe_texture *
take_number(uint64_t number, bool surface)
{
    struct fe_texture **link, *t;

    pthread_mutex_lock(&lock);
    for (link = bucket_of(number, surface); *link != NULL && (*link)->number != number;)
        link = &(*link)->next;
    t = *link;
    if (t != NULL)
        *link = t->next;
    pthread_mutex_unlock(&lock);
    return t;
}

/* A copy of what it was made from. */
static bool
source_of(uint64_t number, bool surface, struct fe_texture_source *from)
{
    struct fe_texture *t;

    pthread_mutex_lock(&lock);
    for (t = *bucket_of(number, surface); t != NULL && t->number != number;)
        t = t->next;
    if (t != NULL)
        *from = t->from;
    pthread_mutex_unlock(&lock);
    return t != NULL;
}

/* The resource as it travels: arrays are ids. */
static CUresult
resource_wire(const CUDA_RESOURCE_DESC *from, CUDA_RESOURCE_DESC *to)
{
    const struct fe_object *object;

    *to = *from;
    if (from->resType == CU_RESOURCE_TYPE_ARRAY) {
        object = fe_object_get(WIRE_HANDLE_ARRAY, from->res.array.hArray);
        memset(&to->res, 0, sizeof(to->res));
        to->res.array.hArray = object != NULL ? (CUarray)(uintptr_t)object->wire : NULL;
        return object != NULL ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
    }
    if (from->resType == CU_RESOURCE_TYPE_MIPMAPPED_ARRAY) {
        object = fe_object_get(WIRE_HANDLE_MIPMAPPED_ARRAY, from->res.mipmap.hMipmappedArray);
        memset(&to->res, 0, sizeof(to->res));
        to->res.mipmap.hMipmappedArray =
            object != NULL ? (CUmipmappedArray)(uintptr_t)object->wire : NULL;
        return object != NULL ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
    }
    return CUDA_SUCCESS;
}

static struct fe_texture *
texture_new(struct fe_call *call, bool surface, const CUDA_RESOURCE_DESC *res)
{
    struct fe_texture *t =
        fe_object_create(surface ? WIRE_HANDLE_SURFACE : WIRE_HANDLE_TEXTURE, call->context);

    if (t == NULL)
        return NULL;
    t->surface = surface;
    t->from.res = *res;
    return t;
}

GP_EXPORT CUresult
cuTexObjectCreate(CUtexObject *object, const CUDA_RESOURCE_DESC *res, const CUDA_TEXTURE_DESC *tex,
                  const CUDA_RESOURCE_VIEW_DESC *view)
{
    struct wire_cuTexObjectCreate_args args = {.has_view = view != NULL};
    struct wire_cuTexObjectCreate_reply reply;
    struct fe_texture *t;
    struct fe_call call;
    CUresult cr = fe_enter(&call, WIRE_CALL_cuTexObjectCreate);

    if (cr != CUDA_SUCCESS)
        return cr;
    if (object == NULL || res == NULL || tex == NULL)
        return fe_leave(&call, CUDA_ERROR_INVALID_VALUE);
    cr = resource_wire(res, &args.resource);
    if (cr == CUDA_SUCCESS)
        cr = fe_host_show_wanted(); /* the texture may lie in pinned memory */
    if (cr != CUDA_SUCCESS)
        return fe_leave(&call, cr);
    t = texture_new(&call, false, res);
    if (t == NULL)
        return fe_leave(&call, CUDA_ERROR_OUT_OF_MEMORY);
    t->from.tex = args.texture_desc = *tex;
    t->from.has_view = view != NULL;
    if (view != NULL)
        t->from.view = args.view = *view;
    args.texture = t->object.wire;
    FE_ASK(cr, &call, cuTexObjectCreate, &args, &reply);
    if (cr != CUDA_SUCCESS) {
        fe_object_destroy(t);
        return fe_leave(&call, cr);
    }
    enter_number(t, reply.object);
    *object = reply.object;
    return fe_leave(&call, CUDA_SUCCESS);
}

GP_EXPORT CUresult
cuTexObjectDestroy(CUtexObject object)
{
    struct wire_cuTexObjectDestroy_args args;
    struct fe_texture *t;
    struct fe_call call;
    CUresult cr = fe_enter(&call, WIRE_CALL_cuTexObjectDestroy);

    if (cr != CUDA_SUCCESS)
        return cr;
    t = take_number(object, false);
    if (t == NULL)
        return fe_leave(&call, CUDA_ERROR_INVALID_VALUE);
    args.texture = t->object.wire;
    FE_TELL(cr, &call, cuTexObjectDestroy, &args);
    fe_object_destroy(t);
    return fe_leave(&call, cr);
}

GP_EXPORT CUresult
cuSurfObjectCreate(CUsurfObject *object, const CUDA_RESOURCE_DESC *res)
{
    struct wire_cuSurfObjectCreate_args args = {0};
    struct wire_cuSurfObjectCreate_reply reply;
    struct fe_texture *t;
    struct fe_call call;
    CUresult cr = fe_enter(&call, WIRE_CALL_cuSurfObjectCreate);

    if (cr != CUDA_SUCCESS)
        return cr;
    if (object == NULL || res == NULL)
        return fe_leave(&call, CUDA_ERROR_INVALID_VALUE);
    if (res->resType != CU_RESOURCE_TYPE_ARRAY || res->flags != 0)
        return fe_leave(&call, CUDA_ERROR_INVALID_VALUE);
    cr = resource_wire(res, &args.resource);
    if (cr != CUDA_SUCCESS)
        return fe_leave(&call, cr);
    t = texture_new(&call, true, res);
    if (t == NULL)
        return fe_leave(&call, CUDA_ERROR_OUT_OF_MEMORY);
    args.surface = t->object.wire;
    FE_ASK(cr, &call, cuSurfObjectCreate, &args, &reply);
    if (cr != CUDA_SUCCESS) {
        fe_object_destroy(t);
        return fe_leave(&call, cr);
    }
    enter_number(t, reply.object);
    *object = reply.object;
    return fe_leave(&call, CUDA_SUCCESS);
}

GP_EXPORT CUresult
cuSurfObjectDestroy(CUsurfObject object)
{
    struct wire_cuSurfObjectDestroy_args args;
    struct fe_texture *t;
    struct fe_call call;
    CUresult cr = fe_enter(&call, WIRE_CALL_cuSurfObjectDestroy);

    if (cr != CUDA_SUCCESS)
        return cr;
    t = take_number(object, true);
    if (t == NULL)
        return fe_leave(&call, CUDA_ERROR_INVALID_VALUE);
    args.surface = t->object.wire;
    FE_TELL(cr, &call, cuSurfObjectDestroy, &args);
    fe_object_destroy(t);
    return fe_leave(&call, cr);
}

/* -- what they were made from ------------------------------------------------------------- */

static CUresult
source_get(const void *to, uint64_t number, bool surface, struct fe_texture_source *from)
{
    struct fe_call call;
    CUresult cr = fe_enter(&call, WIRE_CALL_cuTexObjectCreate);

    if (cr != CUDA_SUCCESS)
        return cr;
    return fe_leave(&call, to != NULL && source_of(number, surface, from)
                               ? CUDA_SUCCESS
                               : CUDA_ERROR_INVALID_VALUE);
}

GP_EXPORT CUresult
cuTexObjectGetResourceDesc(CUDA_RESOURCE_DESC *res, CUtexObject object)
{
    struct fe_texture_source from;
    CUresult cr = source_get(res, object, false, &from);

    if (cr == CUDA_SUCCESS)
        *res = from.res;
    return cr;
}

GP_EXPORT CUresult
cuTexObjectGetTextureDesc(CUDA_TEXTURE_DESC *tex, CUtexObject object)
{
    struct fe_texture_source from;
    CUresult cr = source_get(tex, object, false, &from);

    if (cr == CUDA_SUCCESS)
        *tex = from.tex;
    return cr;
}

GP_EXPORT CUresult
cuTexObjectGetResourceViewDesc(CUDA_RESOURCE_VIEW_DESC *view, CUtexObject object)
{
    struct fe_texture_source from;
    CUresult cr = source_get(view, object, false, &from);

    if (cr == CUDA_SUCCESS && !from.has_view)
        cr = CUDA_ERROR_INVALID_VALUE;
    if (cr == CUDA_SUCCESS)
        *view = from.view;
    return cr;
}

GP_EXPORT CUresult
cuSurfObjectGetResourceDesc(CUDA_RESOURCE_DESC *res, CUsurfObject object)
{
    struct fe_texture_source from;
    CUresult cr = source_get(res, object, true, &from);

    if (cr == CUDA_SUCCESS)
        *res = from.res;
    return cr;
}

static bool
drop_inside(void *object, void *ctx)
{
    struct fe_texture *t = object;

    if (t->object.context == ctx && take_number(t->number, t->surface) != NULL)
        fe_object_destroy(t);
    return true;
}

void
fe_textures_drop_context(struct fe_context *ctx)
{
    fe_object_each(WIRE_HANDLE_TEXTURE, drop_inside, ctx);
    fe_object_each(WIRE_HANDLE_SURFACE, drop_inside, ctx);
}

/* -- what a device can ------------------------------------------------------------------------ */

GP_EXPORT CUresult
cuDeviceGetTexture1DLinearMaxWidth(size_t *width, CUarray_format format, unsigned int channels,
                                   CUdevice dev)
{
    struct wire_cuDeviceGetTexture1DLinearMaxWidth_args args = {.format = (uint32_t)format,
                                                                .channels = channels};
    struct wire_cuDeviceGetTexture1DLinearMaxWidth_reply reply;
    const struct fe_device *device;
    struct fe_call call;
    CUresult cr = fe_enter(&call, WIRE_CALL_cuDeviceGetTexture1DLinearMaxWidth);

    if (cr != CUDA_SUCCESS)
        return cr;
    device = fe_state_device(fe_state_of(&call), dev);
    if (device == NULL)
        return fe_leave(&call, CUDA_ERROR_INVALID_DEVICE);
    if (device->session != call.session)
        return fe_leave(&call, fe_refuse("cuDeviceGetTexture1DLinearMaxWidth of a device of "
                                         "another server than the current context's"));
    if (width == NULL)
        return fe_leave(&call, CUDA_ERROR_INVALID_VALUE);
    args.device = device->server_ordinal;
    FE_ASK(cr, &call, cuDeviceGetTexture1DLinearMaxWidth, &args, &reply);
    if (cr == CUDA_SUCCESS)
        *width = reply.width;
    return fe_leave(&call, cr);
}
