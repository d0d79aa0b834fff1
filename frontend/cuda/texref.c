/* frontend/cuda/texref.c -- texture and surface references of modules
 *
 * They live in the server's driver; what only asks or sets a number is generated. Handles are made
 * here, one for each reference of a module.
 */
#include "cuda_api.h"
#include "frontend/cuda/ask.h"
#include "frontend/cuda/host.h"
#include "frontend/cuda/kernels.h"
#include "frontend/cuda/state.h"
#include "frontend/cuda/texture.h"
#include "protocol/base/util.h"

#include <stdlib.h>
#include <string.h>

#define NAME_MAX_BYTES 4095

struct wanted {
    const struct fe_module *module;
    const char *name;
    struct fe_texref *found;
};

static bool
find(void *object, void *user)
{
    struct fe_texref *ref = object;
    struct wanted *want = user;

    if (fe_object_state(ref) != FE_OBJECT_LIVE || ref->module != want->module ||
        ref->name == NULL || strcmp(ref->name, want->name) != 0)
        return true;
    want->found = ref;
    return false;
}

static void
drop(struct fe_texref *ref)
{
    char *name = ref->name;

    ref->name = NULL;
    fe_object_destroy(ref);
    free(name);
}

/* Asks the server for the new reference. */
typedef CUresult ask_reference(struct fe_call *call, const struct fe_texref *ref);

/* The module's reference of that name: the same each time, or a new object that ask fills. */
static CUresult
named(struct fe_call *call, CUmodule handle, const char *name, enum wire_handle kind,
      ask_reference *ask, struct fe_texref **ref_p)
{
    GP_USE();
    struct wanted want = {fe_object_get(WIRE_HANDLE_MODULE, handle), name, NULL};
    struct fe_texref *ref;
    CUresult cr;

    if (want.module == NULL)
        return CUDA_ERROR_INVALID_HANDLE;
    if (strlen(name) > NAME_MAX_BYTES)
        return CUDA_ERROR_NOT_FOUND;
    fe_object_each(kind, find, &want);
    *ref_p = want.found;
    if (want.found != NULL)
        return CUDA_SUCCESS;
    ref = fe_object_create(kind, want.module->object.context);
    if (ref == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    ref->module = (struct fe_module *)want.module;
    ref->name = strdup(name);
    cr = ref->name != NULL ? ask(call, ref) : CUDA_ERROR_OUT_OF_MEMORY;
    if (cr != CUDA_SUCCESS)
        drop(ref);
    else
        *ref_p = ref;
    return cr;
}

static CUresult
ask_texref(struct fe_call *call, const struct fe_texref *ref)
{
    struct wire_cuModuleGetTexRef_args args = {.texref = ref->object.wire,
                                               .module = ref->module->object.wire,
                                               .name = ref->name,
                                               .name_len = (uint32_t)strlen(ref->name)};
    struct wire_cuModuleGetTexRef_reply reply;
    CUresult cr;

    FE_ASK(cr, call, cuModuleGetTexRef, &args, &reply);
    return cr;
}

GP_EXPORT CUresult
cuModuleGetTexRef(CUtexref *handle, CUmodule module, const char *name)
{
    struct fe_texref *ref = NULL;
    struct fe_call call;
    CUresult cr = fe_enter(&call, WIRE_CALL_cuModuleGetTexRef);

    if (cr != CUDA_SUCCESS)
        return cr;
    if (handle == NULL || name == NULL)
        return fe_leave(&call, CUDA_ERROR_INVALID_VALUE);
    cr = named(&call, module, name, WIRE_HANDLE_TEXREF, ask_texref, &ref);
    if (cr == CUDA_SUCCESS)
        *handle = (CUtexref)ref;
    return fe_leave(&call, cr);
}

static CUresult
ask_surfref(struct fe_call *call, const struct fe_texref *ref)
{
    struct wire_cuModuleGetSurfRef_args args = {.surfref = ref->object.wire,
                                                .module = ref->module->object.wire,
                                                .name = ref->name,
                                                .name_len = (uint32_t)strlen(ref->name)};
    struct wire_cuModuleGetSurfRef_reply reply;
    CUresult cr;

    FE_ASK(cr, call, cuModuleGetSurfRef, &args, &reply);
    return cr;
}

GP_EXPORT CUresult
cuModuleGetSurfRef(CUsurfref *handle, CUmodule module, const char *name)
{
    struct fe_texref *ref = NULL;
    struct fe_call call;
    CUresult cr = fe_enter(&call, WIRE_CALL_cuModuleGetSurfRef);

    if (cr != CUDA_SUCCESS)
        return cr;
    if (handle == NULL || name == NULL)
        return fe_leave(&call, CUDA_ERROR_INVALID_VALUE);
    cr = named(&call, module, name, WIRE_HANDLE_SURFREF, ask_surfref, &ref);
    if (cr == CUDA_SUCCESS)
        *handle = (CUsurfref)ref;
    return fe_leave(&call, cr);
}

GP_EXPORT CUresult
cuTexRefCreate(CUtexref *handle)
{
    struct wire_cuTexRefCreate_args args;
    struct wire_cuTexRefCreate_reply reply;
    struct fe_texref *ref;
    struct fe_call call;
    CUresult cr = fe_enter(&call, WIRE_CALL_cuTexRefCreate);

    if (cr != CUDA_SUCCESS)
        return cr;
    if (handle == NULL)
        return fe_leave(&call, CUDA_ERROR_INVALID_VALUE);
    ref = fe_object_create(WIRE_HANDLE_TEXREF, call.context);
    if (ref == NULL)
        return fe_leave(&call, CUDA_ERROR_OUT_OF_MEMORY);
    args.texref = ref->object.wire;
    FE_ASK(cr, &call, cuTexRefCreate, &args, &reply);
    if (cr == CUDA_SUCCESS)
        *handle = (CUtexref)ref;
    else
        drop(ref);
    return fe_leave(&call, cr);
}

/* -- what is bound ---------------------------------------------------------------------------- */

/* Entered, with the reference of a handle. */
static CUresult
begin(struct fe_call *call, enum wire_call id, enum wire_handle kind, const void *handle,
      struct fe_texref **ref_p)
{
    CUresult cr = fe_enter(call, id);

    if (cr != CUDA_SUCCESS)
        return cr;
    *ref_p = fe_object_get(kind, handle);
    return *ref_p != NULL ? CUDA_SUCCESS : fe_leave(call, CUDA_ERROR_INVALID_HANDLE);
}

GP_EXPORT CUresult
cuTexRefDestroy(CUtexref handle)
{
    struct wire_cuTexRefDestroy_args args;
    struct wire_cuTexRefDestroy_reply reply;
    struct fe_texref *ref = NULL;
    struct fe_call call;
    CUresult cr = begin(&call, WIRE_CALL_cuTexRefDestroy, WIRE_HANDLE_TEXREF, handle, &ref);

    if (cr != CUDA_SUCCESS)
        return cr;
    args.texref = ref->object.wire;
    FE_ASK(cr, &call, cuTexRefDestroy, &args, &reply);
    if (cr == CUDA_SUCCESS)
        drop(ref);
    return fe_leave(&call, cr);
}

GP_EXPORT CUresult
cuTexRefSetArray(CUtexref handle, CUarray array, unsigned int flags)
{
    struct wire_cuTexRefSetArray_args args = {.Flags = flags};
    struct wire_cuTexRefSetArray_reply reply;
    struct fe_texref *ref = NULL;
    struct fe_call call;
    CUresult cr = begin(&call, WIRE_CALL_cuTexRefSetArray, WIRE_HANDLE_TEXREF, handle, &ref);

    if (cr != CUDA_SUCCESS)
        return cr;
    args.hTexRef = ref->object.wire;
    cr = fe_handle_wire(&call, WIRE_HANDLE_ARRAY, array, false, &args.hArray);
    if (cr == CUDA_SUCCESS)
        FE_ASK(cr, &call, cuTexRefSetArray, &args, &reply);
    if (cr == CUDA_SUCCESS) {
        atomic_store(&ref->mipmap, NULL);
        atomic_store(&ref->array, array);
    }
    return fe_leave(&call, cr);
}

GP_EXPORT CUresult
cuTexRefSetMipmappedArray(CUtexref handle, CUmipmappedArray array, unsigned int flags)
{
    struct wire_cuTexRefSetMipmappedArray_args args = {.Flags = flags};
    struct wire_cuTexRefSetMipmappedArray_reply reply;
    struct fe_texref *ref = NULL;
    struct fe_call call;
    CUresult cr =
        begin(&call, WIRE_CALL_cuTexRefSetMipmappedArray, WIRE_HANDLE_TEXREF, handle, &ref);

    if (cr != CUDA_SUCCESS)
        return cr;
    args.hTexRef = ref->object.wire;
    cr = fe_handle_wire(&call, WIRE_HANDLE_MIPMAPPED_ARRAY, array, false, &args.hMipmappedArray);
    if (cr == CUDA_SUCCESS)
        FE_ASK(cr, &call, cuTexRefSetMipmappedArray, &args, &reply);
    if (cr == CUDA_SUCCESS) {
        atomic_store(&ref->array, NULL);
        atomic_store(&ref->mipmap, array);
    }
    return fe_leave(&call, cr);
}

GP_EXPORT CUresult
cuTexRefSetAddress_v2(size_t *offset, CUtexref handle, CUdeviceptr address, size_t bytes)
{
    struct wire_cuTexRefSetAddress_v2_args args = {
        .address = address, .bytes = bytes, .wants_offset = offset != NULL};
    struct wire_cuTexRefSetAddress_v2_reply reply;
    struct fe_texref *ref = NULL;
    struct fe_call call;
    CUresult cr = begin(&call, WIRE_CALL_cuTexRefSetAddress_v2, WIRE_HANDLE_TEXREF, handle, &ref);

    if (cr != CUDA_SUCCESS)
        return cr;
    args.hTexRef = ref->object.wire;
    cr = fe_host_show_wanted(); /* the address may be one of pinned memory */
    if (cr == CUDA_SUCCESS)
        FE_ASK(cr, &call, cuTexRefSetAddress_v2, &args, &reply);
    if (cr == CUDA_SUCCESS) {
        atomic_store(&ref->array, NULL);
        atomic_store(&ref->mipmap, NULL);
        if (offset != NULL)
            *offset = reply.offset;
    }
    return fe_leave(&call, cr);
}

GP_EXPORT CUresult
cuTexRefSetAddress2D_v3(CUtexref handle, const CUDA_ARRAY_DESCRIPTOR *desc, CUdeviceptr address,
                        size_t pitch)
{
    struct wire_cuTexRefSetAddress2D_v3_args args = {.address = address, .pitch = pitch};
    struct wire_cuTexRefSetAddress2D_v3_reply reply;
    struct fe_texref *ref = NULL;
    struct fe_call call;
    CUresult cr = begin(&call, WIRE_CALL_cuTexRefSetAddress2D_v3, WIRE_HANDLE_TEXREF, handle, &ref);

    if (cr != CUDA_SUCCESS)
        return cr;
    if (desc == NULL)
        return fe_leave(&call, CUDA_ERROR_INVALID_VALUE);
    args.hTexRef = ref->object.wire;
    args.desc = *desc;
    cr = fe_host_show_wanted();
    if (cr == CUDA_SUCCESS)
        FE_ASK(cr, &call, cuTexRefSetAddress2D_v3, &args, &reply);
    if (cr == CUDA_SUCCESS) {
        atomic_store(&ref->array, NULL);
        atomic_store(&ref->mipmap, NULL);
    }
    return fe_leave(&call, cr);
}

GP_EXPORT CUresult
cuTexRefSetBorderColor(CUtexref handle, float *color)
{
    struct wire_cuTexRefSetBorderColor_args args;
    struct wire_cuTexRefSetBorderColor_reply reply;
    struct fe_texref *ref = NULL;
    struct fe_call call;
    CUresult cr = begin(&call, WIRE_CALL_cuTexRefSetBorderColor, WIRE_HANDLE_TEXREF, handle, &ref);

    if (cr != CUDA_SUCCESS)
        return cr;
    if (color == NULL)
        return fe_leave(&call, CUDA_ERROR_INVALID_VALUE);
    args.hTexRef = ref->object.wire;
    memcpy(args.color, color, sizeof(args.color));
    FE_ASK(cr, &call, cuTexRefSetBorderColor, &args, &reply);
    return fe_leave(&call, cr);
}

GP_EXPORT CUresult
cuTexRefGetBorderColor(float *color, CUtexref handle)
{
    struct wire_cuTexRefGetBorderColor_args args;
    struct wire_cuTexRefGetBorderColor_reply reply;
    struct fe_texref *ref = NULL;
    struct fe_call call;
    CUresult cr = begin(&call, WIRE_CALL_cuTexRefGetBorderColor, WIRE_HANDLE_TEXREF, handle, &ref);

    if (cr != CUDA_SUCCESS)
        return cr;
    if (color == NULL)
        return fe_leave(&call, CUDA_ERROR_INVALID_VALUE);
    args.hTexRef = ref->object.wire;
    FE_ASK(cr, &call, cuTexRefGetBorderColor, &args, &reply);
    if (cr == CUDA_SUCCESS)
        memcpy(color, reply.color, sizeof(reply.color));
    return fe_leave(&call, cr);
}

/* The live array that a reference shows. */
static CUresult
bound(enum wire_handle kind, const void *handle, enum wire_handle what, const void *to,
      void **array_p)
{
    struct fe_texref *ref = NULL;
    struct fe_call call;
    CUresult cr = begin(&call, WIRE_CALL_cuTexRefSetArray, kind, handle, &ref);

    if (cr != CUDA_SUCCESS)
        return cr;
    *array_p = atomic_load(what == WIRE_HANDLE_ARRAY ? &ref->array : &ref->mipmap);
    return fe_leave(&call,
                    to != NULL && *array_p != NULL ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE);
}

GP_EXPORT CUresult
cuTexRefGetArray(CUarray *array, CUtexref handle)
{
    void *found = NULL;
    CUresult cr = bound(WIRE_HANDLE_TEXREF, handle, WIRE_HANDLE_ARRAY, array, &found);

    if (cr == CUDA_SUCCESS)
        *array = found;
    return cr;
}

GP_EXPORT CUresult
cuTexRefGetMipmappedArray(CUmipmappedArray *array, CUtexref handle)
{
    void *found = NULL;
    CUresult cr = bound(WIRE_HANDLE_TEXREF, handle, WIRE_HANDLE_MIPMAPPED_ARRAY, array, &found);

    if (cr == CUDA_SUCCESS)
        *array = found;
    return cr;
}

GP_EXPORT CUresult
cuSurfRefSetArray(CUsurfref handle, CUarray array, unsigned int flags)
{
    struct wire_cuSurfRefSetArray_args args = {.Flags = flags};
    struct wire_cuSurfRefSetArray_reply reply;
    struct fe_texref *ref = NULL;
    struct fe_call call;
    CUresult cr = begin(&call, WIRE_CALL_cuSurfRefSetArray, WIRE_HANDLE_SURFREF, handle, &ref);

    if (cr != CUDA_SUCCESS)
        return cr;
    args.hSurfRef = ref->object.wire;
    cr = fe_handle_wire(&call, WIRE_HANDLE_ARRAY, array, false, &args.hArray);
    if (cr == CUDA_SUCCESS)
        FE_ASK(cr, &call, cuSurfRefSetArray, &args, &reply);
    if (cr == CUDA_SUCCESS)
        atomic_store(&ref->array, array);
    return fe_leave(&call, cr);
}

GP_EXPORT CUresult
cuSurfRefGetArray(CUarray *array, CUsurfref handle)
{
    void *found = NULL;
    CUresult cr = bound(WIRE_HANDLE_SURFREF, handle, WIRE_HANDLE_ARRAY, array, &found);

    if (cr == CUDA_SUCCESS)
        *array = found;
    return cr;
}

static bool
drop_of_module(void *object, void *module)
{
    if (((struct fe_texref *)object)->module == module)
        drop(object);
    return true;
}

void
fe_texrefs_drop_module(const struct fe_module *module)
{
    fe_object_each(WIRE_HANDLE_TEXREF, drop_of_module, (void *)module);
    fe_object_each(WIRE_HANDLE_SURFREF, drop_of_module, (void *)module);
}
