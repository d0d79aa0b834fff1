/* frontend/cuda/texture.h -- texture and surface objects, and references of modules */
#ifndef FE_TEXTURE_H
#define FE_TEXTURE_H

#include "frontend/cuda/objects.h"

struct fe_texture_source {
    CUDA_RESOURCE_DESC res;
    CUDA_TEXTURE_DESC tex;
    CUDA_RESOURCE_VIEW_DESC view;
    bool has_view;
};

/* A CUtexObject or CUsurfObject is its number. */
struct fe_texture {
    struct fe_object object;
    bool surface;
    struct fe_texture_source from;

    /* Guarded by the lock of texture.c. */
    uint64_t number;
    struct fe_texture *next;
};

/* A CUtexref or CUsurfref. */
struct fe_texref {
    struct fe_object object;
    struct fe_module *module; /* NULL: of none */
    char *name;               /* in it */
    /* Atomic: what it was bound to last; of its array or mipmapped array, one is not NULL. */
    _Atomic(void *) array;
    _Atomic(void *) mipmap;
};

/* What goes with a context or a module; nothing is sent. */
void fe_textures_drop_context(struct fe_context *ctx);
void fe_texrefs_drop_module(const struct fe_module *module);

#endif
