/* backend/cuda/objects.c -- ids to objects, for the generated dispatch and the hooks */
#include "backend/cuda/array.h"
#include "backend/cuda/jobs.h"
#include "backend/cuda/module.h"
#include "backend/cuda/state.h"
#include "backend/cuda/texture.h"

static CUresult
object_missing(enum wire_handle kind)
{
    return kind == WIRE_HANDLE_CONTEXT ? CUDA_ERROR_INVALID_CONTEXT : CUDA_ERROR_INVALID_HANDLE;
}

CUresult
be_handle_get(struct be_session *session, enum wire_handle kind, uint64_t id, bool nullable,
              void *object_p)
{
    void **object = object_p;
    const struct be_handle_slot *slot;

    if (kind == WIRE_HANDLE_FUNCTION)
        return be_function_get(session, id, (CUfunction *)object);
    if (kind == WIRE_HANDLE_KERNEL)
        return be_kernel_get(session, id, (CUkernel *)object);
    if (kind == WIRE_HANDLE_STREAM && nullable && id <= 1) {
        *object = CU_STREAM_LEGACY;
        return CUDA_SUCCESS;
    }
    if (id == 0 && nullable) {
        *object = NULL;
        return CUDA_SUCCESS;
    }
    slot = be_handles_find(&session->handles, kind, id);
    if (slot == NULL)
        return object_missing(kind);
    /* Blocks and events of the current context cannot wait for another one's stream. */
    if (kind == WIRE_HANDLE_STREAM &&
        (session->current == NULL || slot->context != session->current->index))
        return CUDA_ERROR_INVALID_HANDLE;
    /* A struct of ours stands for these; the driver's handle is in it. */
    if (kind == WIRE_HANDLE_CONTEXT)
        *object = be_context_handle(slot->object);
    else if (kind == WIRE_HANDLE_MODULE || kind == WIRE_HANDLE_LIBRARY)
        *object = be_owner_handle(slot->object);
    else if (kind == WIRE_HANDLE_TEXREF || kind == WIRE_HANDLE_SURFREF)
        *object = ((struct be_texref *)slot->object)->ref;
    else if (kind == WIRE_HANDLE_ARRAY)
        *object = ((struct be_array *)slot->object)->array;
    else if (kind == WIRE_HANDLE_MIPMAPPED_ARRAY)
        *object = ((struct be_array *)slot->object)->mipmap;
    else
        *object = slot->object;
    return CUDA_SUCCESS;
}

CUresult
be_handle_bind(struct be_session *session, enum wire_handle kind, uint64_t id, void *object)
{
    const struct be_driver_table *t = &session->driver->table;
    uint32_t context = session->current != NULL ? session->current->index : 0;

    if (be_handles_add(&session->handles, kind, id, object, context) == GP_OK)
        return CUDA_SUCCESS;
    if (kind == WIRE_HANDLE_STREAM)
        (void)t->cuStreamDestroy_v2(object);
    else if (kind == WIRE_HANDLE_EVENT)
        (void)t->cuEventDestroy_v2(object);
    return CUDA_ERROR_INVALID_HANDLE;
}

CUresult
be_handle_take(struct be_session *session, enum wire_handle kind, uint64_t id, void *object_p)
{
    struct be_handle_slot *slot = be_handles_find(&session->handles, kind, id);

    if (slot == NULL)
        return object_missing(kind);
    *(void **)object_p = slot->object;
    be_handles_remove(slot);
    return CUDA_SUCCESS;
}
