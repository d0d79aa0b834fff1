/* backend/driver/soft/dev/graph_user.c -- user objects: what graphs keep alive for the program
 *
 * Destructors run on a thread of their own, in the order in which the last references went: who
 * gives one up may hold a lock that the destructor takes.
 */
#include "backend/driver/soft/dev/graph.h"
#include "backend/driver/soft/dev/sched.h"
#include "backend/driver/soft/dev/thread.h"
#include "cuda_api.h"
#include "protocol/base/later.h"

#include <string.h>

struct CUuserObject_st {
    struct sd_object obj;
    _Atomic unsigned refs;
    /* Set once. */
    void *ptr;
    CUhostFn destroy;
    struct gp_later end; /* without references */
};

static struct gp_later_queue ended = GP_LATER_QUEUE_INIT;

static CUresult
object_get(CUuserObject object, unsigned count)
{
    SD_ENTER_READY();
    return sd_object_is(object, SD_USER_OBJECT) && count != 0 ? CUDA_SUCCESS
                                                              : CUDA_ERROR_INVALID_VALUE;
}

static void *
destroy_all(void *unused)
{
    (void)unused;
    sd_thread_host_function(1);
    for (;;) {
        CUuserObject object = gp_later_next(&ended);

        object->destroy(object->ptr);
        sd_object_rest(SD_USER_OBJECT, object);
    }
    return NULL;
}

static bool
start(void)
{
    return sd_thread_start(destroy_all);
}

static void
object_put(CUuserObject object, unsigned count)
{
    if (atomic_fetch_sub(&object->refs, count) != count)
        return;
    sd_object_close(object);
    gp_later_add(&ended, &object->end);
}

GP_EXPORT CUresult
cuUserObjectCreate(CUuserObject *object_out, void *ptr, CUhostFn destroy,
                   unsigned int initialRefcount, unsigned int flags)
{
    CUuserObject object;

    SD_ENTER_READY();
    if (object_out == NULL || destroy == NULL || initialRefcount == 0 ||
        initialRefcount > INT32_MAX || flags != CU_USER_OBJECT_NO_DESTRUCTOR_SYNC)
        return CUDA_ERROR_INVALID_VALUE;
    object = gp_later_serve(&ended, start) ? sd_object_new(SD_USER_OBJECT, sizeof(*object)) : NULL;
    if (object == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    atomic_store(&object->refs, initialRefcount);
    object->ptr = ptr;
    object->destroy = destroy;
    object->end.object = object;
    *object_out = object;
    return CUDA_SUCCESS;
}

GP_EXPORT CUresult
cuUserObjectRetain(CUuserObject object, unsigned int count)
{
    CUresult cr = object_get(object, count);

    if (cr == CUDA_SUCCESS)
        atomic_fetch_add(&object->refs, count);
    return cr;
}

GP_EXPORT CUresult
cuUserObjectRelease(CUuserObject object, unsigned int count)
{
    CUresult cr = object_get(object, count);

    if (cr == CUDA_SUCCESS)
        object_put(object, count);
    return cr;
}

/* --- references of graphs and plans --- */

struct ref {
    CUuserObject object;
    unsigned count;
};

/* Guarded by the graphs' lock. */
struct sd_users {
    struct ref *list; /* an object is there once; owned */
    size_t count;
    struct sd_users *next; /* of the dead */
};

static struct sd_users *dead; /* guarded by the graphs' lock */

static struct ref *
find(const struct sd_users *users, CUuserObject object)
{
    for (size_t i = 0; users != NULL && i < users->count; i++)
        if (users->list[i].object == object)
            return &users->list[i];
    return NULL;
}

/* The caller's references become theirs. */
static CUresult
add(struct sd_users **users_p, CUuserObject object, unsigned count)
{
    struct ref *ref = find(*users_p, object), *list;

    if (ref != NULL) {
        if (ref->count > UINT32_MAX - count)
            return CUDA_ERROR_INVALID_VALUE;
        ref->count += count;
        return CUDA_SUCCESS;
    }
    if (*users_p == NULL)
        *users_p = calloc(1, sizeof(**users_p));
    if (*users_p == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    list = realloc((*users_p)->list, ((*users_p)->count + 1) * sizeof(*list));
    if (list == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    (*users_p)->list = list;
    list[(*users_p)->count++] = (struct ref){object, count};
    return CUDA_SUCCESS;
}

CUresult
sd_users_copy(const struct sd_users *from, struct sd_users **to_p)
{
    struct sd_users *to;

    *to_p = NULL;
    if (from == NULL || from->count == 0)
        return CUDA_SUCCESS;
    to = calloc(1, sizeof(*to));
    if (to == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    to->list = malloc(from->count * sizeof(*to->list));
    if (to->list == NULL) {
        free(to);
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    memcpy(to->list, from->list, from->count * sizeof(*to->list));
    to->count = from->count;
    for (size_t i = 0; i < to->count; i++)
        atomic_fetch_add(&to->list[i].object->refs, to->list[i].count);
    *to_p = to;
    return CUDA_SUCCESS;
}

void
sd_users_drop(struct sd_users *users)
{
    if (users == NULL)
        return;
    users->next = dead;
    dead = users;
}

void
sd_users_bury(void)
{
    struct sd_users *users;

    sd_graph_lock();
    users = dead;
    dead = NULL;
    sd_graph_unlock();
    while (users != NULL) {
        struct sd_users *next = users->next;

        for (size_t i = 0; i < users->count; i++)
            object_put(users->list[i].object, users->list[i].count);
        free(users->list);
        free(users);
        users = next;
    }
}

GP_EXPORT CUresult
cuGraphRetainUserObject(CUgraph graph, CUuserObject object, unsigned int count, unsigned int flags)
{
    CUresult cr = object_get(object, count);

    if (cr != CUDA_SUCCESS)
        return cr;
    if ((flags & ~(unsigned)CU_GRAPH_USER_OBJECT_MOVE) != 0)
        return CUDA_ERROR_INVALID_VALUE;
    sd_graph_lock();
    cr = sd_graph_valid(graph) ? add(&graph->users, object, count) : CUDA_ERROR_INVALID_VALUE;
    if (cr == CUDA_SUCCESS && (flags & CU_GRAPH_USER_OBJECT_MOVE) == 0)
        atomic_fetch_add(&object->refs, count);
    sd_graph_unlock();
    return cr;
}

GP_EXPORT CUresult
cuGraphReleaseUserObject(CUgraph graph, CUuserObject object, unsigned int count)
{
    CUresult cr = object_get(object, count);
    struct ref *ref = NULL;

    if (cr != CUDA_SUCCESS)
        return cr;
    sd_graph_lock();
    if (sd_graph_valid(graph))
        ref = find(graph->users, object);
    if (ref == NULL || ref->count < count)
        cr = CUDA_ERROR_INVALID_VALUE;
    else if ((ref->count -= count) == 0)
        *ref = graph->users->list[--graph->users->count];
    sd_graph_unlock();
    if (cr != CUDA_SUCCESS)
        return cr;
    object_put(object, count);
    return CUDA_SUCCESS;
}

/* --- memory of graphs: each allocation node holds its own --- */

GP_EXPORT CUresult
cuDeviceGetGraphMemAttribute(CUdevice device, CUgraphMem_attribute attr, void *value)
{
    SD_ENTER_READY();
    if (sd_device_get(device) == NULL)
        return CUDA_ERROR_INVALID_DEVICE;
    if (value == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    return sd_graph_mem_attribute(device, attr, value);
}

/* High-water marks can be put back to what is now, and nothing else. */
GP_EXPORT CUresult
cuDeviceSetGraphMemAttribute(CUdevice device, CUgraphMem_attribute attr, void *value)
{
    SD_ENTER_READY();
    if (sd_device_get(device) == NULL)
        return CUDA_ERROR_INVALID_DEVICE;
    if (value == NULL || *(uint64_t *)value != 0)
        return CUDA_ERROR_INVALID_VALUE;
    return sd_graph_mem_reset(device, attr);
}

GP_EXPORT CUresult
cuDeviceGraphMemTrim(CUdevice device)
{
    SD_ENTER_READY();
    return sd_device_get(device) != NULL ? CUDA_SUCCESS : CUDA_ERROR_INVALID_DEVICE;
}
