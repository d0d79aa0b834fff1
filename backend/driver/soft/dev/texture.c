/* backend/driver/soft/dev/texture.c -- texture and surface objects */
#include "backend/driver/soft/dev/texture.h"

#include "backend/driver/soft/dev/array.h"
#include "backend/driver/soft/dev/span.h"
#include "backend/driver/soft/exec/tex_sample.h"
#include "cuda_api.h"

#include <string.h>

/* -- the table ------------------------------------------------------------------------------ */

#define CHUNK  1024u
#define CHUNKS 1024u

struct place {
    /* Release after the rest was written; 0: nobody's. */
    _Atomic uint64_t handle;
    struct sd_texture texture;
    struct sd_texture_source from;
    struct CUctx_st *ctx;
    uint32_t uses;
    bool gone;     /* dropped: only work that was queued before finds it */
    uint32_t next; /* in a list of dropped ones */
};

static _Atomic(struct place *) chunks[CHUNKS];
/* Rank 46, a leaf. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static uint32_t used = 1, resting[CHUNK * CHUNKS], rest_head, rest_count;

/*
 * Launches that are queued may use what is dropped meanwhile. Each is counted in the phase that it
 * began in. A place is dropped into fresh; when nothing of the other phase is left, aged ones may
 * rest, fresh ones become aged, and the phases change.
 */
static _Atomic uint32_t phase;
static _Atomic uint64_t launches[2];
static uint32_t fresh, aged; /* heads of lists, 0: empty; guarded by lock */

unsigned
sd_textures_enter(void)
{
    unsigned p = atomic_load(&phase);

    atomic_fetch_add(&launches[p], 1);
    return p;
}

void
sd_textures_leave(unsigned p)
{
    atomic_fetch_sub(&launches[p], 1);
}

static struct place *
place_of(uint64_t handle)
{
    uint64_t index = handle % (CHUNK * CHUNKS);
    struct place *chunk;

    if (handle == 0 || handle >= SD_TEXTURE_HANDLE_END)
        return NULL;
    chunk = atomic_load_explicit(&chunks[index / CHUNK], memory_order_acquire);
    if (chunk == NULL ||
        atomic_load_explicit(&chunk[index % CHUNK].handle, memory_order_acquire) != handle)
        return NULL;
    return &chunk[index % CHUNK];
}

const struct sd_texture *
sd_texture_find(const struct CUctx_st *ctx, uint64_t handle)
{
    const struct place *p = place_of(handle);

    return p != NULL && p->ctx == ctx ? &p->texture : NULL;
}

static struct place *
place_at(uint32_t index)
{
    struct place *chunk = atomic_load_explicit(&chunks[index / CHUNK], memory_order_relaxed);

    return &chunk[index % CHUNK];
}

/* With the lock held, as those below. */
static void
place_rest(uint32_t index)
{
    atomic_store_explicit(&place_at(index)->handle, 0, memory_order_release);
    resting[(rest_head + rest_count++) % (CHUNK * CHUNKS)] = index;
}

static void
change_phase(void)
{
    unsigned other = 1 - atomic_load(&phase);

    if (atomic_load(&launches[other]) != 0)
        return;
    while (aged != 0) {
        uint32_t index = aged;

        aged = place_at(index)->next;
        place_rest(index);
    }
    aged = fresh;
    fresh = 0;
    atomic_store(&phase, other);
}

static void
place_drop(uint32_t index)
{
    place_at(index)->gone = true;
    place_at(index)->next = fresh;
    fresh = index;
    change_phase();
    change_phase(); /* with nothing queued it rests now */
}

/* A place that rested longest, or a new one. */
static struct place *
place_take(uint32_t *index_p)
{
    struct place *chunk;
    uint32_t index;

    change_phase();
    if (rest_count > 64 || (used == CHUNK * CHUNKS && rest_count > 0)) {
        index = resting[rest_head];
        rest_head = (rest_head + 1) % (CHUNK * CHUNKS);
        rest_count--;
    } else if (used < CHUNK * CHUNKS) {
        index = used++;
    } else {
        return NULL;
    }
    chunk = atomic_load_explicit(&chunks[index / CHUNK], memory_order_relaxed);
    if (chunk == NULL) {
        chunk = calloc(CHUNK, sizeof(*chunk));
        if (chunk == NULL) {
            used = index;
            return NULL;
        }
        atomic_store_explicit(&chunks[index / CHUNK], chunk, memory_order_release);
    }
    *index_p = index;
    return &chunk[index % CHUNK];
}

uint64_t
sd_texture_put(CUcontext ctx, const struct sd_texture *t, const struct sd_texture_source *from)
{
    uint64_t handle = 0;
    struct place *p;
    uint32_t index;

    pthread_mutex_lock(&lock);
    p = place_take(&index);
    if (p != NULL) {
        p->texture = *t;
        p->from = *from;
        p->ctx = ctx;
        p->gone = false;
        p->uses = p->uses % 0x7ffff + 1;
        handle = (uint64_t)p->uses * (CHUNK * CHUNKS) + index;
        atomic_store_explicit(&p->handle, handle, memory_order_release);
    }
    pthread_mutex_unlock(&lock);
    return handle;
}

bool
sd_texture_drop(uint64_t handle, bool surface)
{
    struct place *p;
    bool found;

    pthread_mutex_lock(&lock);
    p = place_of(handle);
    found = p != NULL && !p->gone && p->texture.surface == surface;
    if (found)
        place_drop((uint32_t)(handle % ((uint64_t)CHUNK * CHUNKS)));
    pthread_mutex_unlock(&lock);
    return found;
}

void
sd_textures_of_ctx_gone(CUcontext ctx)
{
    pthread_mutex_lock(&lock);
    for (uint32_t i = 1; i < used; i++)
        if (place_at(i)->handle != 0 && !place_at(i)->gone && place_at(i)->ctx == ctx)
            place_drop(i);
    pthread_mutex_unlock(&lock);
}

/* -- descriptions --------------------------------------------------------------------------- */

static void
show_level(struct sd_texture *t, unsigned i, CUarray array)
{
    bool layers = (array->desc.Flags & (CUDA_ARRAY3D_LAYERED | CUDA_ARRAY3D_CUBEMAP)) != 0;

    t->levels[i] = (struct sd_tex_level){
        .base = array->base,
        .pitch = array->pitch,
        .slice = array->slice,
        .width = (uint32_t)array->desc.Width,
        .height = (uint32_t)array->rows,
        .depth = layers ? 1 : (uint32_t)array->slices,
    };
}

static CUresult
show_array(struct sd_texture *t, CUarray array)
{
    unsigned flags;

    if (!sd_object_is(array, SD_ARRAY))
        return CUDA_ERROR_INVALID_HANDLE;
    flags = array->desc.Flags;
    t->format = array->desc.Format;
    t->channels = array->desc.NumChannels;
    t->cube = (flags & CUDA_ARRAY3D_CUBEMAP) != 0;
    t->nlevels = 1;
    if ((flags & CUDA_ARRAY3D_LAYERED) != 0)
        t->layers = (uint32_t)array->slices / (t->cube ? 6 : 1);
    show_level(t, 0, array);
    return CUDA_SUCCESS;
}

static CUresult
show_mipmap(struct sd_texture *t, CUmipmappedArray mip)
{
    CUresult cr;

    if (!sd_object_is(mip, SD_MIPMAP))
        return CUDA_ERROR_INVALID_HANDLE;
    cr = show_array(t, mip->levels[0]);
    for (unsigned i = 1; i < mip->count && cr == CUDA_SUCCESS; i++)
        show_level(t, i, mip->levels[i]);
    t->nlevels = mip->count;
    return cr;
}

/* Memory without an array around it. */
static CUresult
show_memory(CUcontext ctx, struct sd_texture *t, CUdeviceptr base, size_t width, size_t height,
            size_t pitch)
{
    int limit = height == 1 ? CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURE1D_LINEAR_WIDTH
                            : CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURE2D_LINEAR_WIDTH;
    unsigned element = sd_tex_channel_bytes(t->format) * t->channels;

    if (element == 0 || (t->channels != 1 && t->channels != 2 && t->channels != 4) || width == 0 ||
        height == 0 || base == 0 || width > (size_t)sd_device_attribute(ctx->dev, limit) ||
        height > (size_t)sd_device_attribute(ctx->dev,
                                             CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURE2D_LINEAR_HEIGHT))
        return CUDA_ERROR_INVALID_VALUE;
    if (base % SD_TEXTURE_ALIGNMENT != 0 ||
        sd_map_reach(base, (height - 1) * pitch + width * element, NULL) < SD_REACH_READ)
        return CUDA_ERROR_INVALID_VALUE;
    t->nlevels = 1;
    t->levels[0] = (struct sd_tex_level){.base = base,
                                         .pitch = pitch,
                                         .width = (uint32_t)width,
                                         .height = (uint32_t)height,
                                         .depth = 1};
    return CUDA_SUCCESS;
}

static CUresult
show_resource(CUcontext ctx, const CUDA_RESOURCE_DESC *res, struct sd_texture *t)
{
    unsigned element;

    memset(t, 0, sizeof(*t));
    if (res->flags != 0)
        return CUDA_ERROR_INVALID_VALUE;
    switch (res->resType) {
    case CU_RESOURCE_TYPE_ARRAY:
        return show_array(t, res->res.array.hArray);
    case CU_RESOURCE_TYPE_MIPMAPPED_ARRAY:
        return show_mipmap(t, res->res.mipmap.hMipmappedArray);
    case CU_RESOURCE_TYPE_LINEAR:
        t->format = res->res.linear.format;
        t->channels = res->res.linear.numChannels;
        element = sd_tex_channel_bytes(t->format) * t->channels;
        if (element == 0)
            return CUDA_ERROR_INVALID_VALUE;
        return show_memory(ctx, t, res->res.linear.devPtr, res->res.linear.sizeInBytes / element, 1,
                           0);
    case CU_RESOURCE_TYPE_PITCH2D:
        t->format = res->res.pitch2D.format;
        t->channels = res->res.pitch2D.numChannels;
        element = sd_tex_channel_bytes(t->format) * t->channels;
        if (element == 0 || res->res.pitch2D.width > SIZE_MAX / 64 ||
            res->res.pitch2D.pitchInBytes < res->res.pitch2D.width * element ||
            res->res.pitch2D.pitchInBytes >
                (size_t)sd_device_attribute(ctx->dev,
                                            CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURE2D_LINEAR_PITCH) ||
            res->res.pitch2D.pitchInBytes %
                    (size_t)sd_device_attribute(ctx->dev,
                                                CU_DEVICE_ATTRIBUTE_TEXTURE_PITCH_ALIGNMENT) !=
                0)
            return CUDA_ERROR_INVALID_VALUE;
        return show_memory(ctx, t, res->res.pitch2D.devPtr, res->res.pitch2D.width,
                           res->res.pitch2D.height, res->res.pitch2D.pitchInBytes);
    default:
        return CUDA_ERROR_INVALID_VALUE;
    }
}

/* The texels of an array become blocks of 4x4: a level is as large as its blocks allow. */
static CUresult
apply_blocks(const CUDA_RESOURCE_VIEW_DESC *view, struct sd_texture *t)
{
    static const uint8_t kinds[] = {SD_BC1, SD_BC2,  SD_BC3, SD_BC4,  SD_BC4S,
                                    SD_BC5, SD_BC5S, SD_BC6, SD_BC6S, SD_BC7};
    enum sd_bc bc = kinds[view->format - CU_RES_VIEW_FORMAT_UNSIGNED_BC1];

    if (t->format != CU_AD_FORMAT_UNSIGNED_INT32 || t->channels * 4 != sd_bc_bytes(bc))
        return CUDA_ERROR_INVALID_VALUE;
    for (unsigned i = 0; i < t->nlevels; i++) {
        t->levels[i].width *= 4;
        t->levels[i].height *= 4;
    }
    t->bc = (uint8_t)bc;
    return CUDA_SUCCESS;
}

/* Another format of the same size, some of the levels and layers. */
static CUresult
apply_view(const CUDA_RESOURCE_VIEW_DESC *view, struct sd_texture *t)
{
    static const CUarray_format formats[] = {
        CU_AD_FORMAT_UNSIGNED_INT8, CU_AD_FORMAT_SIGNED_INT8,    CU_AD_FORMAT_UNSIGNED_INT16,
        CU_AD_FORMAT_SIGNED_INT16,  CU_AD_FORMAT_UNSIGNED_INT32, CU_AD_FORMAT_SIGNED_INT32,
        CU_AD_FORMAT_HALF,          CU_AD_FORMAT_FLOAT,
    };
    static const uint8_t channels[] = {1, 2, 4};
    unsigned code = (unsigned)view->format, bytes = sd_tex_channel_bytes(t->format) * t->channels;
    unsigned levels, layers;

    if (code > CU_RES_VIEW_FORMAT_UNSIGNED_BC7)
        return CUDA_ERROR_INVALID_VALUE;
    if (code > CU_RES_VIEW_FORMAT_FLOAT_4X32 && apply_blocks(view, t) != CUDA_SUCCESS)
        return CUDA_ERROR_INVALID_VALUE;
    if (view->width != t->levels[0].width ||
        (view->height != 0 && view->height != t->levels[0].height))
        return CUDA_ERROR_INVALID_VALUE;
    if (code != CU_RES_VIEW_FORMAT_NONE && t->bc == SD_BC_NONE) {
        t->format = formats[(code - 1) / 3];
        t->channels = channels[(code - 1) % 3];
        if (sd_tex_channel_bytes(t->format) * t->channels != bytes)
            return CUDA_ERROR_INVALID_VALUE;
    }
    if (view->lastMipmapLevel < view->firstMipmapLevel || view->lastMipmapLevel >= t->nlevels ||
        view->lastLayer < view->firstLayer ||
        view->lastLayer >= (t->layers != 0 ? t->layers : 1) * (t->cube ? 6u : 1u))
        return CUDA_ERROR_INVALID_VALUE;
    levels = view->lastMipmapLevel - view->firstMipmapLevel + 1;
    memmove(t->levels, t->levels + view->firstMipmapLevel, levels * sizeof(t->levels[0]));
    t->nlevels = levels;
    layers = view->lastLayer - view->firstLayer + 1;
    if (t->layers != 0 && !(t->cube && layers % 6 != 0)) {
        for (unsigned i = 0; i < levels; i++)
            t->levels[i].base += (uint64_t)view->firstLayer * t->levels[i].slice;
        t->layers = t->cube ? layers / 6 : layers;
    }
    return CUDA_SUCCESS;
}

CUresult
sd_texture_describe(CUcontext ctx, const struct sd_texture_source *from, struct sd_texture *t)
{
    const unsigned known = CU_TRSF_READ_AS_INTEGER | CU_TRSF_NORMALIZED_COORDINATES | CU_TRSF_SRGB |
                           CU_TRSF_DISABLE_TRILINEAR_OPTIMIZATION | CU_TRSF_SEAMLESS_CUBEMAP;
    const CUDA_TEXTURE_DESC *d = &from->tex;
    bool array = from->res.resType == CU_RESOURCE_TYPE_ARRAY ||
                 from->res.resType == CU_RESOURCE_TYPE_MIPMAPPED_ARRAY;
    CUresult cr = show_resource(ctx, &from->res, t);

    if (cr == CUDA_SUCCESS && from->has_view)
        cr = array ? apply_view(&from->view, t) : CUDA_ERROR_INVALID_VALUE;
    if (cr != CUDA_SUCCESS)
        return cr;
    if ((d->flags & ~known) != 0 || d->filterMode > CU_TR_FILTER_MODE_LINEAR ||
        d->mipmapFilterMode > CU_TR_FILTER_MODE_LINEAR)
        return CUDA_ERROR_INVALID_VALUE;
    for (int i = 0; i < 3; i++) {
        if (d->addressMode[i] > CU_TR_ADDRESS_MODE_BORDER)
            return CUDA_ERROR_INVALID_VALUE;
        t->address[i] = (uint8_t)d->addressMode[i];
    }
    t->as_integer = (d->flags & CU_TRSF_READ_AS_INTEGER) != 0;
    t->normalized = (d->flags & CU_TRSF_NORMALIZED_COORDINATES) != 0;
    t->srgb = (d->flags & CU_TRSF_SRGB) != 0;
    t->seamless = (d->flags & CU_TRSF_SEAMLESS_CUBEMAP) != 0;
    t->linear = d->filterMode == CU_TR_FILTER_MODE_LINEAR;
    t->level_linear = d->mipmapFilterMode == CU_TR_FILTER_MODE_LINEAR;
    t->lod_bias = d->mipmapLevelBias;
    t->lod_min = d->minMipmapLevelClamp;
    t->lod_max = d->maxMipmapLevelClamp;
    memcpy(t->border, d->borderColor, sizeof(t->border));
    /* Whole numbers are not filtered. */
    if (t->linear && t->bc == SD_BC_NONE && from->res.resType != CU_RESOURCE_TYPE_LINEAR &&
        t->format != CU_AD_FORMAT_FLOAT && t->format != CU_AD_FORMAT_HALF &&
        (t->as_integer || sd_tex_channel_bytes(t->format) == 4))
        return CUDA_ERROR_INVALID_VALUE;
    if (from->res.resType == CU_RESOURCE_TYPE_LINEAR) { /* fetches only: zero outside */
        t->linear = t->normalized = false;
        t->address[0] = CU_TR_ADDRESS_MODE_BORDER;
        memset(t->border, 0, sizeof(t->border));
    }
    return CUDA_SUCCESS;
}

CUresult
sd_surface_describe(const CUDA_RESOURCE_DESC *res, struct sd_texture *t)
{
    CUresult cr;

    memset(t, 0, sizeof(*t));
    if (res->resType != CU_RESOURCE_TYPE_ARRAY || res->flags != 0)
        return CUDA_ERROR_INVALID_VALUE;
    cr = show_array(t, res->res.array.hArray);
    if (cr == CUDA_SUCCESS && (res->res.array.hArray->desc.Flags & CUDA_ARRAY3D_SURFACE_LDST) == 0)
        cr = CUDA_ERROR_INVALID_VALUE;
    t->surface = true;
    return cr;
}

/* -- objects -------------------------------------------------------------------------------- */

GP_EXPORT CUresult
cuTexObjectCreate(CUtexObject *pTexObject, const CUDA_RESOURCE_DESC *pResDesc,
                  const CUDA_TEXTURE_DESC *pTexDesc, const CUDA_RESOURCE_VIEW_DESC *pResViewDesc)
{
    struct sd_texture_source from;
    struct sd_texture t;
    CUcontext ctx;
    CUresult cr;

    SD_ENTER(ctx);
    if (pTexObject == NULL || pResDesc == NULL || pTexDesc == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    memset(&from, 0, sizeof(from));
    from.res = *pResDesc;
    from.tex = *pTexDesc;
    from.has_view = pResViewDesc != NULL;
    if (from.has_view)
        from.view = *pResViewDesc;
    cr = sd_texture_describe(ctx, &from, &t);
    if (cr != CUDA_SUCCESS)
        return cr;
    *pTexObject = sd_texture_put(ctx, &t, &from);
    return *pTexObject != 0 ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
}

GP_EXPORT CUresult
cuTexObjectDestroy(CUtexObject texObject)
{
    CUcontext ctx;

    SD_ENTER(ctx);
    (void)ctx;
    return sd_texture_drop(texObject, false) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

GP_EXPORT CUresult
cuSurfObjectCreate(CUsurfObject *pSurfObject, const CUDA_RESOURCE_DESC *pResDesc)
{
    struct sd_texture_source from;
    struct sd_texture t;
    CUcontext ctx;
    CUresult cr;

    SD_ENTER(ctx);
    if (pSurfObject == NULL || pResDesc == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    cr = sd_surface_describe(pResDesc, &t);
    if (cr != CUDA_SUCCESS)
        return cr;
    memset(&from, 0, sizeof(from));
    from.res = *pResDesc;
    *pSurfObject = sd_texture_put(ctx, &t, &from);
    return *pSurfObject != 0 ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
}

GP_EXPORT CUresult
cuSurfObjectDestroy(CUsurfObject surfObject)
{
    CUcontext ctx;

    SD_ENTER(ctx);
    (void)ctx;
    return sd_texture_drop(surfObject, true) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

/* A copy of what the object was made from. */
static CUresult
source_get(uint64_t handle, bool surface, struct sd_texture_source *from)
{
    const struct place *p;
    CUresult cr = CUDA_ERROR_INVALID_VALUE;

    pthread_mutex_lock(&lock);
    p = place_of(handle);
    if (p != NULL && !p->gone && p->texture.surface == surface) {
        *from = p->from;
        cr = CUDA_SUCCESS;
    }
    pthread_mutex_unlock(&lock);
    return cr;
}

GP_EXPORT CUresult
cuTexObjectGetResourceDesc(CUDA_RESOURCE_DESC *pResDesc, CUtexObject texObject)
{
    struct sd_texture_source from;
    CUcontext ctx;
    CUresult cr;

    SD_ENTER(ctx);
    (void)ctx;
    cr = pResDesc != NULL ? source_get(texObject, false, &from) : CUDA_ERROR_INVALID_VALUE;
    if (cr == CUDA_SUCCESS)
        *pResDesc = from.res;
    return cr;
}

GP_EXPORT CUresult
cuSurfObjectGetResourceDesc(CUDA_RESOURCE_DESC *pResDesc, CUsurfObject surfObject)
{
    struct sd_texture_source from;
    CUcontext ctx;
    CUresult cr;

    SD_ENTER(ctx);
    (void)ctx;
    cr = pResDesc != NULL ? source_get(surfObject, true, &from) : CUDA_ERROR_INVALID_VALUE;
    if (cr == CUDA_SUCCESS)
        *pResDesc = from.res;
    return cr;
}

GP_EXPORT CUresult
cuTexObjectGetTextureDesc(CUDA_TEXTURE_DESC *pTexDesc, CUtexObject texObject)
{
    struct sd_texture_source from;
    CUcontext ctx;
    CUresult cr;

    SD_ENTER(ctx);
    (void)ctx;
    cr = pTexDesc != NULL ? source_get(texObject, false, &from) : CUDA_ERROR_INVALID_VALUE;
    if (cr == CUDA_SUCCESS)
        *pTexDesc = from.tex;
    return cr;
}

GP_EXPORT CUresult
cuTexObjectGetResourceViewDesc(CUDA_RESOURCE_VIEW_DESC *pResViewDesc, CUtexObject texObject)
{
    struct sd_texture_source from;
    CUcontext ctx;
    CUresult cr;

    SD_ENTER(ctx);
    (void)ctx;
    cr = pResViewDesc != NULL ? source_get(texObject, false, &from) : CUDA_ERROR_INVALID_VALUE;
    if (cr == CUDA_SUCCESS && !from.has_view)
        cr = CUDA_ERROR_INVALID_VALUE;
    if (cr == CUDA_SUCCESS)
        *pResViewDesc = from.view;
    return cr;
}
