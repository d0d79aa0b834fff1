/* frontend/core/object.c */
#include "frontend/core/object.h"

#include "protocol/base/log.h"
#include "protocol/base/util.h"

#include <pthread.h>
#include <string.h>
#include <sys/mman.h>

/* A freed object is used again only when so many others of its kind rest too (or none is left). */
#define REST_COUNT        64
#define COMMIT_BYTES      (64u << 10)
#define DEFAULT_OBJECTS   (1u << 20)
#define DEFAULT_SHIFT     6
#define GENERATION_OFFSET 32

struct slab {
    pthread_mutex_t lock; /* rank 40, a leaf */

    /* Set once, before base is released. */
    unsigned shift; /* object size is 1 << shift */
    uint32_t max_objects;
    /* NULL until the kind's first object; release on set, acquire on read. */
    uint8_t *_Atomic base;
    /* Objects that were ever handed out; release after the object is whole. */
    _Atomic uint32_t used;

    /* Guarded by lock. */
    size_t committed_bytes;
    uint32_t rest_count;
    uint32_t *rest; /* ring of the indexes that rest, oldest at rest_head */
    uint32_t rest_head;
    uint32_t rest_cap; /* a power of two */
};

static struct slab slabs[WIRE_HANDLE_COUNT] = {
    [0 ... WIRE_HANDLE_COUNT - 1] = {.lock = PTHREAD_MUTEX_INITIALIZER},
};

void
fe_slab_define(enum wire_handle kind, size_t object_bytes, uint32_t max_objects)
{
    struct slab *slab = &slabs[kind];
    unsigned shift = DEFAULT_SHIFT;

    while (((size_t)1 << shift) < object_bytes)
        shift++;
    pthread_mutex_lock(&slab->lock);
    if (atomic_load_explicit(&slab->base, memory_order_relaxed) == NULL) {
        slab->shift = shift;
        slab->max_objects = max_objects;
    }
    pthread_mutex_unlock(&slab->lock);
}

/* slab->lock held. */
static bool
slab_reserve(struct slab *slab)
{
    size_t bytes;
    void *base;

    if (slab->shift == 0) {
        slab->shift = DEFAULT_SHIFT;
        slab->max_objects = DEFAULT_OBJECTS;
    }
    bytes = ((size_t)slab->max_objects << slab->shift) + COMMIT_BYTES;
    base = mmap(NULL, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (base == MAP_FAILED) {
        log_error("handles: reserve %zu bytes of addresses: %m", bytes);
        return false;
    }
    atomic_store_explicit(&slab->base, (uint8_t *)base, memory_order_release);
    return true;
}

/* slab->lock held. The index of memory that was never used, or UINT32_MAX. */
static uint32_t
slab_grow(struct slab *slab)
{
    uint8_t *base = atomic_load_explicit(&slab->base, memory_order_relaxed);
    uint32_t index = atomic_load_explicit(&slab->used, memory_order_relaxed);
    size_t end = (size_t)(index + 1) << slab->shift;

    if (index >= slab->max_objects)
        return UINT32_MAX;
    while (slab->committed_bytes < end) {
        if (mprotect(base + slab->committed_bytes, COMMIT_BYTES, PROT_READ | PROT_WRITE) != 0) {
            log_error("handles: take %u bytes more: %m", COMMIT_BYTES);
            return UINT32_MAX;
        }
        slab->committed_bytes += COMMIT_BYTES;
    }
    return index;
}

/* slab->lock held. */
static bool
rest_push(struct slab *slab, uint32_t index)
{
    if (slab->rest_count == slab->rest_cap) {
        uint32_t cap = slab->rest_cap != 0 ? slab->rest_cap * 2 : 2 * REST_COUNT;
        uint32_t *rest = malloc(cap * sizeof(*rest));
        uint32_t i;

        if (rest == NULL)
            return false; /* the object is never used again */
        for (i = 0; i < slab->rest_count; i++)
            rest[i] = slab->rest[(slab->rest_head + i) & (slab->rest_cap - 1)];
        free(slab->rest);
        slab->rest = rest;
        slab->rest_head = 0;
        slab->rest_cap = cap;
    }
    slab->rest[(slab->rest_head + slab->rest_count++) & (slab->rest_cap - 1)] = index;
    return true;
}

/* slab->lock held. */
static uint32_t
rest_pop(struct slab *slab)
{
    uint32_t index = slab->rest[slab->rest_head];

    slab->rest_head = (slab->rest_head + 1) & (slab->rest_cap - 1);
    slab->rest_count--;
    return index;
}

/* slab->lock held. */
static struct fe_object *
slab_take(struct slab *slab, bool *fresh_p)
{
    uint32_t index = UINT32_MAX;

    if (atomic_load_explicit(&slab->base, memory_order_relaxed) == NULL && !slab_reserve(slab))
        return NULL;
    *fresh_p = false;
    if (slab->rest_count > REST_COUNT)
        index = rest_pop(slab);
    if (index == UINT32_MAX) {
        index = slab_grow(slab);
        *fresh_p = index != UINT32_MAX;
    }
    if (index == UINT32_MAX && slab->rest_count > 0)
        index = rest_pop(slab);
    if (index == UINT32_MAX)
        return NULL;
    return (struct fe_object *)(void *)(atomic_load_explicit(&slab->base, memory_order_relaxed) +
                                        ((size_t)index << slab->shift));
}

static uint32_t
slab_index(struct slab *slab, const struct fe_object *object)
{
    uint8_t *base = atomic_load_explicit(&slab->base, memory_order_relaxed);

    return (uint32_t)((size_t)((const uint8_t *)object - base) >> slab->shift);
}

void *
fe_object_create(enum wire_handle kind, struct fe_context *context)
{
    struct slab *slab = &slabs[kind];
    struct fe_object *object;
    uint32_t index;
    bool fresh;

    pthread_mutex_lock(&slab->lock);
    object = slab_take(slab, &fresh);
    if (object == NULL) {
        pthread_mutex_unlock(&slab->lock);
        return NULL;
    }
    index = slab_index(slab, object);
    if (!fresh)
        memset(object + 1, 0, ((size_t)1 << slab->shift) - sizeof(*object));
    object->generation++;
    object->wire = (uint64_t)object->generation << GENERATION_OFFSET | (index + 1);
    object->context = context;
    object->kind = (uint32_t)kind;
    atomic_store_explicit(&object->state, FE_OBJECT_LIVE, memory_order_release);
    if (fresh)
        atomic_store_explicit(&slab->used, index + 1, memory_order_release);
    pthread_mutex_unlock(&slab->lock);
    return object;
}

bool
fe_object_close(void *object)
{
    struct fe_object *o = object;

    return atomic_exchange(&o->state, FE_OBJECT_FREE) != FE_OBJECT_FREE;
}

void
fe_object_destroy(void *object)
{
    if (object != NULL && fe_object_close(object))
        fe_object_rest(object);
}

void
fe_object_rest(void *object)
{
    struct fe_object *o = object;
    struct slab *slab = &slabs[o->kind];

    pthread_mutex_lock(&slab->lock);
    (void)rest_push(slab, slab_index(slab, o));
    pthread_mutex_unlock(&slab->lock);
}

void *
fe_object_get(enum wire_handle kind, const void *handle)
{
    struct slab *slab = &slabs[kind];
    uint8_t *base = atomic_load_explicit(&slab->base, memory_order_acquire);
    uintptr_t offset = (uintptr_t)handle - (uintptr_t)base;
    uint32_t used = atomic_load_explicit(&slab->used, memory_order_acquire);
    struct fe_object *object;

    if (GP_UNLIKELY(base == NULL || offset >= (uintptr_t)used << slab->shift ||
                    (offset & (((uintptr_t)1 << slab->shift) - 1)) != 0))
        return NULL;
    object = (struct fe_object *)(void *)(base + offset);
    return fe_object_state(object) != FE_OBJECT_FREE ? object : NULL;
}

void
fe_object_each(enum wire_handle kind, bool (*fn)(void *object, void *user), void *user)
{
    struct slab *slab = &slabs[kind];
    uint8_t *base = atomic_load_explicit(&slab->base, memory_order_acquire);
    uint32_t used = atomic_load_explicit(&slab->used, memory_order_acquire);
    uint32_t i;

    for (i = 0; base != NULL && i < used; i++) {
        void *object = base + ((size_t)i << slab->shift);

        if (fe_object_state(object) != FE_OBJECT_FREE && !fn(object, user))
            return;
    }
}

void
fe_object_set_state(void *object, enum fe_object_state state)
{
    struct fe_object *o = object;

    atomic_store_explicit(&o->state, (uint32_t)state, memory_order_release);
}
