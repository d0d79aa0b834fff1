/* backend/driver/soft/dev/texture.h -- texture and surface objects, and what they describe
 *
 * A handle is a number: an index into a table, and how often its place was used. Kernels look it up
 * by env->texture; what they find may be of an object that is just being destroyed, so they copy it
 * and check every access. A launch that is queued finds what was there when it was queued, as on a
 * GPU: programs destroy a texture right behind the launch that uses it.
 */
#ifndef SD_TEXTURE_H
#define SD_TEXTURE_H

#include "backend/driver/soft/dev/ctx.h"
#include "backend/driver/soft/exec/exec.h"

/* What a texture is made from. */
struct sd_texture_source {
    CUDA_RESOURCE_DESC res;
    CUDA_TEXTURE_DESC tex;
    CUDA_RESOURCE_VIEW_DESC view;
    bool has_view;
};

/* The machine's description. Errors: CUDA_ERROR_INVALID_VALUE, INVALID_HANDLE, NOT_SUPPORTED. */
CUresult sd_texture_describe(struct CUctx_st *ctx, const struct sd_texture_source *from,
                             struct sd_texture *out);
CUresult sd_surface_describe(const CUDA_RESOURCE_DESC *res, struct sd_texture *out);

/* A place in the table for a description; 0 without memory. */
uint64_t sd_texture_put(struct CUctx_st *ctx, const struct sd_texture *t,
                        const struct sd_texture_source *from);
/* False if it was none. */
bool sd_texture_drop(uint64_t handle, bool surface);

/* env->texture */
const struct sd_texture *sd_texture_find(const struct CUctx_st *ctx, uint64_t handle);

/* Around what may look textures up: what is dropped in between is found until the end. */
unsigned sd_textures_enter(void);
void sd_textures_leave(unsigned phase);

/* A context ends. */
void sd_textures_of_ctx_gone(struct CUctx_st *ctx);
#endif
