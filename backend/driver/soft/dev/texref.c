/* backend/driver/soft/dev/texref.c -- texture and surface references of modules */
#include "backend/driver/soft/dev/texref.h"

#include "backend/driver/soft/dev/array.h"
#include "backend/driver/soft/dev/span.h"
#include "backend/driver/soft/dev/texture.h"
#include "backend/driver/soft/exec/tex_sample.h"
#include "cuda_api.h"

#include <string.h>

struct CUtexref_st {
    struct sd_object obj;
    struct CUmod_st *mod; /* NULL: of no module, by cuTexRefCreate */
    uint64_t var;         /* where kernels find the handle */
    struct CUtexref_st *next;
    struct sd_texture_source from;
    bool bound;
    CUarray_format format;
    int channels;
    uint64_t handle;
};

struct CUsurfref_st {
    struct sd_object obj;
    struct CUmod_st *mod;
    uint64_t var;
    struct CUsurfref_st *next;
    CUarray array;
    uint64_t handle;
};

static void
handle_write(uint64_t var, uint64_t handle)
{
    if (var != 0)
        __atomic_store_n((uint64_t *)(uintptr_t)var, handle, __ATOMIC_RELAXED); // NOLINT
}

/* What is bound may not fit what is set yet: kernels that use it then fail. */
static void
renew(CUtexref ref)
{
    struct sd_texture t;

    if (ref->handle != 0)
        (void)sd_texture_drop(ref->handle, false);
    ref->handle = 0;
    if (ref->bound && ref->mod != NULL &&
        sd_texture_describe(ref->mod->ctx, &ref->from, &t) == CUDA_SUCCESS)
        ref->handle = sd_texture_put(ref->mod->ctx, &t, &ref->from);
    handle_write(ref->var, ref->handle);
}

CUresult
sd_texrefs_snapshot(struct sd_kernel_work *work)
{
    const struct CUmod_st *mod = work->fn->mod;
    CUresult cr;

    if (atomic_load(&mod->references) == 0)
        return CUDA_SUCCESS;
    sd_modules_lock();
    work->bound = malloc(mod->references * sizeof(*work->bound));
    cr = work->bound != NULL ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
    if (cr == CUDA_SUCCESS) {
        for (const struct CUtexref_st *ref = mod->texrefs; ref != NULL; ref = ref->next)
            work->bound[work->bound_count++] = (struct sd_bound){ref->var, ref->handle};
        for (const struct CUsurfref_st *ref = mod->surfrefs; ref != NULL; ref = ref->next)
            work->bound[work->bound_count++] = (struct sd_bound){ref->var, ref->handle};
    }
    sd_modules_unlock();
    return cr;
}

void
sd_texrefs_of_module_gone(struct CUmod_st *mod)
{
    while (mod->texrefs != NULL) {
        CUtexref ref = mod->texrefs;

        mod->texrefs = ref->next;
        if (ref->handle != 0)
            (void)sd_texture_drop(ref->handle, false);
        sd_object_free(ref);
    }
    while (mod->surfrefs != NULL) {
        CUsurfref ref = mod->surfrefs;

        mod->surfrefs = ref->next;
        if (ref->handle != 0)
            (void)sd_texture_drop(ref->handle, true);
        sd_object_free(ref);
    }
}

/* -- finding them --------------------------------------------------------------------------- */

static uint64_t
variable(const struct CUmod_st *mod, const char *name, enum sd_var_reference kind)
{
    size_t n = sd_module_var_count(mod->code);

    for (size_t i = 0; i < n; i++) {
        const struct sd_var *var = sd_module_var(mod->code, i);

        if (var->reference == kind && strcmp(var->name, name) == 0)
            return var->address;
    }
    return 0;
}

GP_EXPORT CUresult
cuModuleGetTexRef(CUtexref *pTexRef, CUmodule hmod, const char *name)
{
    GP_USE();
    CUresult cr = CUDA_SUCCESS;
    CUtexref ref = NULL;
    CUcontext ctx;
    uint64_t var;

    SD_ENTER(ctx);
    (void)ctx;
    if (pTexRef == NULL || name == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    sd_modules_lock();
    if (!sd_object_is(hmod, SD_MODULE)) {
        sd_modules_unlock();
        return CUDA_ERROR_INVALID_HANDLE;
    }
    var = variable(hmod, name, SD_VAR_TEXREF);
    for (ref = hmod->texrefs; ref != NULL && ref->var != var; ref = ref->next)
        ;
    if (var == 0)
        cr = CUDA_ERROR_NOT_FOUND;
    else if (ref == NULL && (ref = sd_object_new(SD_TEXTURE, sizeof(*ref))) == NULL)
        cr = CUDA_ERROR_OUT_OF_MEMORY;
    if (cr == CUDA_SUCCESS && ref->mod == NULL) {
        ref->mod = hmod;
        ref->var = var;
        ref->next = hmod->texrefs;
        hmod->texrefs = ref;
        hmod->references++;
    }
    sd_modules_unlock();
    if (cr == CUDA_SUCCESS)
        *pTexRef = ref;
    return cr;
}

GP_EXPORT CUresult
cuModuleGetSurfRef(CUsurfref *pSurfRef, CUmodule hmod, const char *name)
{
    GP_USE();
    CUresult cr = CUDA_SUCCESS;
    CUsurfref ref = NULL;
    CUcontext ctx;
    uint64_t var;

    SD_ENTER(ctx);
    (void)ctx;
    if (pSurfRef == NULL || name == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    sd_modules_lock();
    if (!sd_object_is(hmod, SD_MODULE)) {
        sd_modules_unlock();
        return CUDA_ERROR_INVALID_HANDLE;
    }
    var = variable(hmod, name, SD_VAR_SURFREF);
    for (ref = hmod->surfrefs; ref != NULL && ref->var != var; ref = ref->next)
        ;
    if (var == 0)
        cr = CUDA_ERROR_NOT_FOUND;
    else if (ref == NULL && (ref = sd_object_new(SD_SURFACE, sizeof(*ref))) == NULL)
        cr = CUDA_ERROR_OUT_OF_MEMORY;
    if (cr == CUDA_SUCCESS && ref->mod == NULL) {
        ref->mod = hmod;
        ref->var = var;
        ref->next = hmod->surfrefs;
        hmod->surfrefs = ref;
        hmod->references++;
    }
    sd_modules_unlock();
    if (cr == CUDA_SUCCESS)
        *pSurfRef = ref;
    return cr;
}

GP_EXPORT CUresult
cuTexRefCreate(CUtexref *pTexRef)
{
    CUcontext ctx;

    SD_ENTER(ctx);
    (void)ctx;
    if (pTexRef == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    *pTexRef = sd_object_new(SD_TEXTURE, sizeof(**pTexRef));
    return *pTexRef != NULL ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
}

/* The reference, with the lock held; nothing is held on error. */
static CUresult
begin_of(const void *ref, enum sd_kind kind)
{
    CUcontext ctx;

    SD_ENTER(ctx);
    (void)ctx;
    sd_modules_lock();
    if (sd_object_is(ref, kind))
        return CUDA_SUCCESS;
    sd_modules_unlock();
    return CUDA_ERROR_INVALID_HANDLE;
}

static CUresult
begin(CUtexref ref)
{
    return begin_of(ref, SD_TEXTURE);
}

static CUresult
end(CUresult cr)
{
    sd_modules_unlock();
    return cr;
}

static CUresult
changed(CUtexref ref)
{
    renew(ref);
    return end(CUDA_SUCCESS);
}

GP_EXPORT CUresult
cuTexRefDestroy(CUtexref hTexRef)
{
    CUresult cr = begin(hTexRef);

    if (cr != CUDA_SUCCESS)
        return cr;
    if (hTexRef->mod != NULL)
        return end(CUDA_ERROR_INVALID_HANDLE); /* goes with its module */
    sd_object_free(hTexRef);
    return end(CUDA_SUCCESS);
}

/* -- what is bound -------------------------------------------------------------------------- */

static bool
packed(unsigned channels)
{
    return channels == 1 || channels == 2 || channels == 4;
}

GP_EXPORT CUresult
cuTexRefSetArray(CUtexref hTexRef, CUarray hArray, unsigned int Flags)
{
    CUresult cr = begin(hTexRef);

    if (cr != CUDA_SUCCESS)
        return cr;
    if (!sd_object_is(hArray, SD_ARRAY))
        return end(CUDA_ERROR_INVALID_HANDLE);
    if (Flags != CU_TRSA_OVERRIDE_FORMAT)
        return end(CUDA_ERROR_INVALID_VALUE);
    memset(&hTexRef->from.res, 0, sizeof(hTexRef->from.res));
    hTexRef->from.res.resType = CU_RESOURCE_TYPE_ARRAY;
    hTexRef->from.res.res.array.hArray = hArray;
    hTexRef->format = hArray->desc.Format;
    hTexRef->channels = (int)hArray->desc.NumChannels;
    hTexRef->bound = true;
    return changed(hTexRef);
}

GP_EXPORT CUresult
cuTexRefSetMipmappedArray(CUtexref hTexRef, CUmipmappedArray hMipmappedArray, unsigned int Flags)
{
    CUresult cr = begin(hTexRef);

    if (cr != CUDA_SUCCESS)
        return cr;
    if (!sd_object_is(hMipmappedArray, SD_MIPMAP))
        return end(CUDA_ERROR_INVALID_HANDLE);
    if (Flags != CU_TRSA_OVERRIDE_FORMAT)
        return end(CUDA_ERROR_INVALID_VALUE);
    memset(&hTexRef->from.res, 0, sizeof(hTexRef->from.res));
    hTexRef->from.res.resType = CU_RESOURCE_TYPE_MIPMAPPED_ARRAY;
    hTexRef->from.res.res.mipmap.hMipmappedArray = hMipmappedArray;
    hTexRef->format = hMipmappedArray->levels[0]->desc.Format;
    hTexRef->channels = (int)hMipmappedArray->levels[0]->desc.NumChannels;
    hTexRef->bound = true;
    return changed(hTexRef);
}

GP_EXPORT CUresult
cuTexRefSetAddress_v2(size_t *ByteOffset, CUtexref hTexRef, CUdeviceptr dptr, size_t bytes)
{
    CUresult cr = begin(hTexRef);
    size_t offset = dptr % SD_TEXTURE_ALIGNMENT;

    if (cr != CUDA_SUCCESS)
        return cr;
    if ((offset != 0 && ByteOffset == NULL) ||
        (dptr != 0 && sd_map_reach(dptr, bytes, NULL) < SD_REACH_READ))
        return end(CUDA_ERROR_INVALID_VALUE);
    memset(&hTexRef->from.res, 0, sizeof(hTexRef->from.res));
    hTexRef->bound = dptr != 0;
    hTexRef->from.res.resType = CU_RESOURCE_TYPE_LINEAR;
    hTexRef->from.res.res.linear.devPtr = dptr - offset;
    hTexRef->from.res.res.linear.format = hTexRef->format;
    hTexRef->from.res.res.linear.numChannels = (unsigned)hTexRef->channels;
    hTexRef->from.res.res.linear.sizeInBytes = bytes + offset;
    if (ByteOffset != NULL)
        *ByteOffset = offset;
    return changed(hTexRef);
}

/* Rows of a known format, of memory that can be read. */
static bool
rows_there(const CUDA_ARRAY_DESCRIPTOR *desc, CUdeviceptr dptr, size_t pitch)
{
    uint64_t row, bytes;

    if (sd_tex_channel_bytes(desc->Format) == 0 || !packed(desc->NumChannels))
        return false;
    if (dptr == 0)
        return true;
    return desc->Height != 0 &&
           !__builtin_mul_overflow(gp_max_u64(desc->Width, 1),
                                   sd_tex_channel_bytes(desc->Format) * desc->NumChannels, &row) &&
           !__builtin_mul_overflow(desc->Height - 1, pitch, &bytes) &&
           !__builtin_add_overflow(bytes, row, &bytes) &&
           sd_map_reach(dptr, bytes, NULL) >= SD_REACH_READ;
}

GP_EXPORT CUresult
cuTexRefSetAddress2D_v3(CUtexref hTexRef, const CUDA_ARRAY_DESCRIPTOR *desc, CUdeviceptr dptr,
                        size_t Pitch)
{
    CUresult cr = begin(hTexRef);

    if (cr != CUDA_SUCCESS)
        return cr;
    if (desc == NULL || dptr % SD_TEXTURE_ALIGNMENT != 0 || !rows_there(desc, dptr, Pitch))
        return end(CUDA_ERROR_INVALID_VALUE);
    memset(&hTexRef->from.res, 0, sizeof(hTexRef->from.res));
    hTexRef->format = desc->Format;
    hTexRef->channels = (int)desc->NumChannels;
    hTexRef->bound = dptr != 0;
    hTexRef->from.res.resType = CU_RESOURCE_TYPE_PITCH2D;
    hTexRef->from.res.res.pitch2D.devPtr = dptr;
    hTexRef->from.res.res.pitch2D.format = desc->Format;
    hTexRef->from.res.res.pitch2D.numChannels = desc->NumChannels;
    hTexRef->from.res.res.pitch2D.width = desc->Width;
    hTexRef->from.res.res.pitch2D.height = desc->Height;
    hTexRef->from.res.res.pitch2D.pitchInBytes = Pitch;
    return changed(hTexRef);
}

/* -- how it is read ------------------------------------------------------------------------- */

GP_EXPORT CUresult
cuTexRefSetFormat(CUtexref hTexRef, CUarray_format fmt, int NumPackedComponents)
{
    CUresult cr = begin(hTexRef);

    if (cr != CUDA_SUCCESS)
        return cr;
    if (sd_tex_channel_bytes(fmt) == 0 || !packed((unsigned)NumPackedComponents))
        return end(CUDA_ERROR_INVALID_VALUE);
    hTexRef->format = fmt;
    hTexRef->channels = NumPackedComponents;
    if (hTexRef->from.res.resType == CU_RESOURCE_TYPE_LINEAR) {
        hTexRef->from.res.res.linear.format = fmt;
        hTexRef->from.res.res.linear.numChannels = (unsigned)NumPackedComponents;
    }
    return changed(hTexRef);
}

GP_EXPORT CUresult
cuTexRefSetAddressMode(CUtexref hTexRef, int dim, CUaddress_mode am)
{
    CUresult cr = begin(hTexRef);

    if (cr != CUDA_SUCCESS)
        return cr;
    if (dim < 0 || dim > 2 || am > CU_TR_ADDRESS_MODE_BORDER)
        return end(CUDA_ERROR_INVALID_VALUE);
    hTexRef->from.tex.addressMode[dim] = am;
    return changed(hTexRef);
}

GP_EXPORT CUresult
cuTexRefSetFilterMode(CUtexref hTexRef, CUfilter_mode fm)
{
    CUresult cr = begin(hTexRef);

    if (cr != CUDA_SUCCESS)
        return cr;
    if (fm > CU_TR_FILTER_MODE_LINEAR)
        return end(CUDA_ERROR_INVALID_VALUE);
    hTexRef->from.tex.filterMode = fm;
    return changed(hTexRef);
}

GP_EXPORT CUresult
cuTexRefSetMipmapFilterMode(CUtexref hTexRef, CUfilter_mode fm)
{
    CUresult cr = begin(hTexRef);

    if (cr != CUDA_SUCCESS)
        return cr;
    if (fm > CU_TR_FILTER_MODE_LINEAR)
        return end(CUDA_ERROR_INVALID_VALUE);
    hTexRef->from.tex.mipmapFilterMode = fm;
    return changed(hTexRef);
}

GP_EXPORT CUresult
cuTexRefSetMipmapLevelBias(CUtexref hTexRef, float bias)
{
    CUresult cr = begin(hTexRef);

    if (cr != CUDA_SUCCESS)
        return cr;
    hTexRef->from.tex.mipmapLevelBias = bias;
    return changed(hTexRef);
}

GP_EXPORT CUresult
cuTexRefSetMipmapLevelClamp(CUtexref hTexRef, float minMipmapLevelClamp, float maxMipmapLevelClamp)
{
    CUresult cr = begin(hTexRef);

    if (cr != CUDA_SUCCESS)
        return cr;
    hTexRef->from.tex.minMipmapLevelClamp = minMipmapLevelClamp;
    hTexRef->from.tex.maxMipmapLevelClamp = maxMipmapLevelClamp;
    return changed(hTexRef);
}

GP_EXPORT CUresult
cuTexRefSetMaxAnisotropy(CUtexref hTexRef, unsigned int maxAniso)
{
    CUresult cr = begin(hTexRef);

    if (cr != CUDA_SUCCESS)
        return cr;
    hTexRef->from.tex.maxAnisotropy = maxAniso;
    return end(CUDA_SUCCESS);
}

GP_EXPORT CUresult
cuTexRefSetBorderColor(CUtexref hTexRef, float *pBorderColor)
{
    CUresult cr = begin(hTexRef);

    if (cr != CUDA_SUCCESS)
        return cr;
    if (pBorderColor == NULL)
        return end(CUDA_ERROR_INVALID_VALUE);
    memcpy(hTexRef->from.tex.borderColor, pBorderColor, sizeof(hTexRef->from.tex.borderColor));
    return changed(hTexRef);
}

GP_EXPORT CUresult
cuTexRefSetFlags(CUtexref hTexRef, unsigned int Flags)
{
    CUresult cr = begin(hTexRef);

    if (cr != CUDA_SUCCESS)
        return cr;
    if ((Flags & ~(unsigned)(CU_TRSF_READ_AS_INTEGER | CU_TRSF_NORMALIZED_COORDINATES |
                             CU_TRSF_SRGB | CU_TRSF_DISABLE_TRILINEAR_OPTIMIZATION)) != 0)
        return end(CUDA_ERROR_INVALID_VALUE);
    hTexRef->from.tex.flags = Flags;
    return changed(hTexRef);
}

/* -- answers -------------------------------------------------------------------------------- */

#define GETTER(name, type, out, value)                                                             \
    GP_EXPORT CUresult name(type *out, CUtexref hTexRef)                                           \
    {                                                                                              \
        CUresult cr = begin(hTexRef);                                                              \
                                                                                                   \
        if (cr != CUDA_SUCCESS)                                                                    \
            return cr;                                                                             \
        if (out == NULL)                                                                           \
            return end(CUDA_ERROR_INVALID_VALUE);                                                  \
        *out = (type)(value);                                                                      \
        return end(CUDA_SUCCESS);                                                                  \
    }

GETTER(cuTexRefGetFilterMode, CUfilter_mode, pfm, hTexRef->from.tex.filterMode)
GETTER(cuTexRefGetMipmapFilterMode, CUfilter_mode, pfm, hTexRef->from.tex.mipmapFilterMode)
GETTER(cuTexRefGetMipmapLevelBias, float, pbias, hTexRef->from.tex.mipmapLevelBias)
GETTER(cuTexRefGetMaxAnisotropy, int, pmaxAniso, hTexRef->from.tex.maxAnisotropy)
GETTER(cuTexRefGetFlags, unsigned int, pFlags, hTexRef->from.tex.flags)

GP_EXPORT CUresult
cuTexRefGetAddressMode(CUaddress_mode *pam, CUtexref hTexRef, int dim)
{
    CUresult cr = begin(hTexRef);

    if (cr != CUDA_SUCCESS)
        return cr;
    if (pam == NULL || dim < 0 || dim > 2)
        return end(CUDA_ERROR_INVALID_VALUE);
    *pam = hTexRef->from.tex.addressMode[dim];
    return end(CUDA_SUCCESS);
}

GP_EXPORT CUresult
cuTexRefGetMipmapLevelClamp(float *pminMipmapLevelClamp, float *pmaxMipmapLevelClamp,
                            CUtexref hTexRef)
{
    CUresult cr = begin(hTexRef);

    if (cr != CUDA_SUCCESS)
        return cr;
    if (pminMipmapLevelClamp == NULL || pmaxMipmapLevelClamp == NULL)
        return end(CUDA_ERROR_INVALID_VALUE);
    *pminMipmapLevelClamp = hTexRef->from.tex.minMipmapLevelClamp;
    *pmaxMipmapLevelClamp = hTexRef->from.tex.maxMipmapLevelClamp;
    return end(CUDA_SUCCESS);
}

GP_EXPORT CUresult
cuTexRefGetFormat(CUarray_format *pFormat, int *pNumChannels, CUtexref hTexRef)
{
    CUresult cr = begin(hTexRef);

    if (cr != CUDA_SUCCESS)
        return cr;
    if (pFormat == NULL || pNumChannels == NULL)
        return end(CUDA_ERROR_INVALID_VALUE);
    *pFormat = hTexRef->format;
    *pNumChannels = hTexRef->channels;
    return end(CUDA_SUCCESS);
}

GP_EXPORT CUresult
cuTexRefGetBorderColor(float *pBorderColor, CUtexref hTexRef)
{
    CUresult cr = begin(hTexRef);

    if (cr != CUDA_SUCCESS)
        return cr;
    if (pBorderColor == NULL)
        return end(CUDA_ERROR_INVALID_VALUE);
    memcpy(pBorderColor, hTexRef->from.tex.borderColor, sizeof(hTexRef->from.tex.borderColor));
    return end(CUDA_SUCCESS);
}

static bool
bound_to(CUtexref ref, CUresourcetype type)
{
    return ref->bound && ref->from.res.resType == type;
}

GP_EXPORT CUresult
cuTexRefGetArray(CUarray *phArray, CUtexref hTexRef)
{
    CUresult cr = begin(hTexRef);

    if (cr != CUDA_SUCCESS)
        return cr;
    if (phArray == NULL || !bound_to(hTexRef, CU_RESOURCE_TYPE_ARRAY))
        return end(CUDA_ERROR_INVALID_VALUE);
    *phArray = hTexRef->from.res.res.array.hArray;
    return end(CUDA_SUCCESS);
}

GP_EXPORT CUresult
cuTexRefGetMipmappedArray(CUmipmappedArray *phMipmappedArray, CUtexref hTexRef)
{
    CUresult cr = begin(hTexRef);

    if (cr != CUDA_SUCCESS)
        return cr;
    if (phMipmappedArray == NULL || !bound_to(hTexRef, CU_RESOURCE_TYPE_MIPMAPPED_ARRAY))
        return end(CUDA_ERROR_INVALID_VALUE);
    *phMipmappedArray = hTexRef->from.res.res.mipmap.hMipmappedArray;
    return end(CUDA_SUCCESS);
}

GP_EXPORT CUresult
cuTexRefGetAddress_v2(CUdeviceptr *pdptr, CUtexref hTexRef)
{
    CUresult cr = begin(hTexRef);

    if (cr != CUDA_SUCCESS)
        return cr;
    if (pdptr == NULL)
        return end(CUDA_ERROR_INVALID_VALUE);
    if (bound_to(hTexRef, CU_RESOURCE_TYPE_LINEAR))
        *pdptr = hTexRef->from.res.res.linear.devPtr;
    else if (bound_to(hTexRef, CU_RESOURCE_TYPE_PITCH2D))
        *pdptr = hTexRef->from.res.res.pitch2D.devPtr;
    else
        return end(CUDA_ERROR_INVALID_VALUE);
    return end(CUDA_SUCCESS);
}

/* -- surfaces ------------------------------------------------------------------------------- */

static CUresult
surface_begin(CUsurfref ref)
{
    return begin_of(ref, SD_SURFACE);
}

GP_EXPORT CUresult
cuSurfRefSetArray(CUsurfref hSurfRef, CUarray hArray, unsigned int Flags)
{
    CUDA_RESOURCE_DESC res = {.resType = CU_RESOURCE_TYPE_ARRAY, .res.array.hArray = hArray};
    struct sd_texture_source from = {.res = res};
    struct sd_texture t;
    CUresult cr = surface_begin(hSurfRef);

    if (cr != CUDA_SUCCESS)
        return cr;
    if (Flags != 0)
        return end(CUDA_ERROR_INVALID_VALUE);
    cr = sd_surface_describe(&res, &t);
    if (cr != CUDA_SUCCESS)
        return end(cr);
    if (hSurfRef->handle != 0)
        (void)sd_texture_drop(hSurfRef->handle, true);
    hSurfRef->array = hArray;
    hSurfRef->handle = sd_texture_put(hSurfRef->mod->ctx, &t, &from);
    handle_write(hSurfRef->var, hSurfRef->handle);
    return end(hSurfRef->handle != 0 ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY);
}

GP_EXPORT CUresult
cuSurfRefGetArray(CUarray *phArray, CUsurfref hSurfRef)
{
    CUresult cr = surface_begin(hSurfRef);

    if (cr != CUDA_SUCCESS)
        return cr;
    if (phArray == NULL || hSurfRef->array == NULL)
        return end(CUDA_ERROR_INVALID_VALUE);
    *phArray = hSurfRef->array;
    return end(CUDA_SUCCESS);
}
