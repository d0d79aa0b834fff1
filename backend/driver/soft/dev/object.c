/* backend/driver/soft/dev/object.c -- memory of objects that programs hold handles of */
#include "backend/driver/soft/dev/dev.h"

#include <string.h>

/* So many others of its kind go before a place is used again: a stale handle is noticed till then.
 */
#define RESTING 64u

/* Rank 50. */
static pthread_mutex_t object_lock = PTHREAD_MUTEX_INITIALIZER;
/* Guarded by object_lock: the places that rest, the oldest first. */
static struct rest {
    struct sd_object *first, *last;
    unsigned count;
} resting[SD_KIND_END - SD_CTX];

/* NULL: none has rested long enough. */
static struct sd_object *
rested(enum sd_kind kind)
{
    struct rest *rest = &resting[kind - SD_CTX];
    struct sd_object *object = NULL;

    pthread_mutex_lock(&object_lock);
    if (rest->count > RESTING) {
        object = rest->first;
        rest->first = object->next_free;
        rest->count--;
    }
    pthread_mutex_unlock(&object_lock);
    return object;
}

void *
sd_object_new(enum sd_kind kind, size_t bytes)
{
    struct sd_object *object = rested(kind);

    if (object == NULL)
        object = aligned_alloc(64, gp_align_up_u64(bytes, 64));
    if (object == NULL)
        return NULL;
    memset((char *)object + sizeof(*object), 0, bytes - sizeof(*object));
    atomic_store_explicit(&object->kind, (uint32_t)kind, memory_order_release);
    return object;
}

void
sd_object_close(void *handle)
{
    struct sd_object *object = handle;

    atomic_store_explicit(&object->kind, SD_FREE, memory_order_release);
}

void
sd_object_free(void *handle)
{
    struct sd_object *object = handle;
    uint32_t kind = atomic_load_explicit(&object->kind, memory_order_relaxed);

    sd_object_close(object);
    sd_object_rest((enum sd_kind)kind, object);
}

void
sd_object_rest(enum sd_kind kind, void *handle)
{
    struct rest *rest = &resting[kind - SD_CTX];
    struct sd_object *object = handle;

    pthread_mutex_lock(&object_lock);
    object->next_free = NULL;
    if (rest->count++ == 0)
        rest->first = object;
    else
        rest->last->next_free = object;
    rest->last = object;
    pthread_mutex_unlock(&object_lock);
}
