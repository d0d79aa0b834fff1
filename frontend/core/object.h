/* frontend/core/object.h -- the objects behind the handles that a program holds
 *
 * A handle is the address of its object in a slab: one range of addresses for each kind, never
 * given back, so that any value a program passes can be checked (range, alignment, state) without
 * a lock and without touching foreign memory. A freed object rests before it is used again, so
 * that a stale handle is noticed; its wire id has a new generation then.
 *
 * Each kind's struct begins with struct fe_object and is defined by frontend/cuda.
 *
 * Threads: any. Reading an object that another thread destroys is safe for memory, the ids in it
 *          are then refused by the server.
 */
#ifndef FE_OBJECT_H
#define FE_OBJECT_H

#include "protocol/abi/cuda_types.h"
#include "wire_calls.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct fe_context;
struct fe_session;

enum fe_object_state {
    FE_OBJECT_FREE,    /* not a handle */
    FE_OBJECT_DORMANT, /* a handle that calls cannot run in: a primary context nobody retains */
    FE_OBJECT_LIVE,
};

struct fe_object {
    /* Set by fe_object_create(); the wire id may be replaced by its creator before others see the
     * handle (functions and kernels: wire_function_id()). */
    uint64_t wire;              /* generation << 32 | index */
    struct fe_context *context; /* owner, NULL where the kind has none */
    uint32_t generation;        /* how often this place was handed out */
    uint32_t kind;              /* enum wire_handle */

    /* enum fe_object_state; release on change, acquire where a handle is checked. */
    _Atomic uint32_t state;
};

/* What the engine knows of a context; struct fe_context begins with it. */
struct fe_context_head {
    struct fe_object object;
    struct fe_session *session; /* of its device's server; set by its creator */
    /* CUresult that every call in this context returns; set by the engine when a reply brings an
     * error that CUDA keeps (a kernel fault), cleared by the owner on reset. Relaxed. */
    _Atomic int32_t sticky;
};

/*
 * Say how large a kind's struct is and how many there may be; once per kind, before its first
 * object and before fe_start(). Kinds nobody defines have a bare struct fe_object.
 * object_bytes is rounded up to a power of two, at least 64.
 */
void fe_slab_define(enum wire_handle kind, size_t object_bytes, uint32_t max_objects);

/* A zeroed live object with a fresh wire id; NULL when memory or the slab is exhausted. */
void *fe_object_create(enum wire_handle kind, struct fe_context *context);
/* The handle is invalid from now on; object may be NULL. Twice is harmless, the second is ignored.
 */
void fe_object_destroy(void *object);
/* The same in two steps, for what others may look at (protocol/base/use.h): the handle is invalid;
 * false if it was so already. Then, once, its place may be used again. */
bool fe_object_close(void *object);
void fe_object_rest(void *object);

/* The object behind a handle, or NULL if it is none of this kind (dormant ones count). */
void *fe_object_get(enum wire_handle kind, const void *handle);

/* Visit each object of a kind that is not free; fn may destroy the object it is given. Objects
 * that come or go meanwhile may be missed. Stops when fn returns false. */
void fe_object_each(enum wire_handle kind, bool (*fn)(void *object, void *user), void *user);

static inline uint32_t
fe_object_index(const void *object)
{
    return (uint32_t)((const struct fe_object *)object)->wire;
}

static inline enum fe_object_state
fe_object_state(const void *object)
{
    const struct fe_object *o = object;

    return (enum fe_object_state)atomic_load_explicit(&o->state, memory_order_acquire);
}

void fe_object_set_state(void *object, enum fe_object_state state);

#endif
