/* backend/driver/soft/dev/object.c -- memory of objects that programs hold handles of */
#include "backend/driver/soft/dev/dev.h"

#include <string.h>

/* Rank 50. */
static pthread_mutex_t object_lock = PTHREAD_MUTEX_INITIALIZER;
static struct sd_object *object_free[SD_KIND_END - SD_CTX];

void *
sd_object_new(enum sd_kind kind, size_t bytes)
{
    struct sd_object **list = &object_free[kind - SD_CTX];
    struct sd_object *object;

    pthread_mutex_lock(&object_lock);
    object = *list;
    if (object != NULL)
        *list = object->next_free;
    pthread_mutex_unlock(&object_lock);
    if (object == NULL)
        object = aligned_alloc(64, gp_align_up_u64(bytes, 64));
    if (object == NULL)
        return NULL;
    memset((char *)object + sizeof(*object), 0, bytes - sizeof(*object));
    atomic_store_explicit(&object->kind, (uint32_t)kind, memory_order_release);
    return object;
}

void
sd_object_free(void *handle)
{
    struct sd_object *object = handle;
    uint32_t kind = atomic_load_explicit(&object->kind, memory_order_relaxed);
    struct sd_object **list = &object_free[kind - SD_CTX];

    atomic_store_explicit(&object->kind, SD_FREE, memory_order_release);
    pthread_mutex_lock(&object_lock);
    object->next_free = *list;
    *list = object;
    pthread_mutex_unlock(&object_lock);
}
