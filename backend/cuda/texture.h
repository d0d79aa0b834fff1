/* backend/cuda/texture.h -- texture and surface objects, and references of modules
 *
 * Threads: the executor's.
 */
#ifndef BE_TEXTURE_H
#define BE_TEXTURE_H

#include "backend/cuda/state.h"

/* A texture or surface reference; goes with its module. */
struct be_texref {
    void *ref;         /* CUtexref or CUsurfref */
    const void *owner; /* struct be_owner; NULL: by cuTexRefCreate */
};

/* The references of a module that goes. */
void be_texrefs_drop(struct be_session *session, const void *owner);
/* What a slot of one of the four kinds holds; its context is current. */
void be_texture_end(struct be_session *session, enum wire_handle kind, void *object);

#endif
