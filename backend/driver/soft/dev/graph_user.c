/* backend/driver/soft/dev/graph_user.c -- user objects: what graphs keep alive for the program */
#include "backend/driver/soft/dev/graph.h"
#include "cuda_api.h"

#include <string.h>

struct CUuserObject_st {
    struct sd_object obj;
    _Atomic unsigned refs;
    void *ptr;
    CUhostFn destroy;
};

static CUresult
object_get(CUuserObject object, unsigned count)
{
    SD_ENTER_READY();
    return sd_object_is(object, SD_USER_OBJECT) && count != 0 ? CUDA_SUCCESS
                                                              : CUDA_ERROR_INVALID_VALUE;
}

static void
object_put(CUuserObject object, unsigned count)
{
    void *ptr = object->ptr;
    CUhostFn destroy = object->destroy;

    if (atomic_fetch_sub(&object->refs, count) != count)
        return;
    sd_object_free(object);
    destroy(ptr);
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
    object = sd_object_new(SD_USER_OBJECT, sizeof(*object));
    if (object == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    atomic_store(&object->refs, initialRefcount);
    object->ptr = ptr;
    object->destroy = destroy;
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

CUresult
sd_graph_users_copy(const struct sd_user_ref *from, size_t count, struct sd_user_ref **to_p)
{
    struct sd_user_ref *to;

    *to_p = NULL;
    if (count == 0)
        return CUDA_SUCCESS;
    to = malloc(count * sizeof(*to));
    if (to == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    memcpy(to, from, count * sizeof(*to));
    for (size_t i = 0; i < count; i++)
        atomic_fetch_add(&to[i].object->refs, to[i].count);
    *to_p = to;
    return CUDA_SUCCESS;
}

CUresult
sd_graph_users_move(CUgraph to, CUgraph from)
{
    size_t count = to->user_count + from->user_count;
    struct sd_user_ref *users;

    if (from->user_count == 0)
        return CUDA_SUCCESS;
    users = realloc(to->users, count * sizeof(*users));
    if (users == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    memcpy(users + to->user_count, from->users, from->user_count * sizeof(*users));
    to->users = users;
    to->user_count = count;
    free(from->users);
    from->users = NULL;
    from->user_count = 0;
    return CUDA_SUCCESS;
}

void
sd_graph_users_put(struct sd_user_ref *users, size_t count)
{
    for (size_t i = 0; i < count; i++)
        object_put(users[i].object, users[i].count);
    free(users);
}

GP_EXPORT CUresult
cuGraphRetainUserObject(CUgraph graph, CUuserObject object, unsigned int count, unsigned int flags)
{
    struct sd_user_ref *users;
    CUresult cr = object_get(object, count);

    if (cr != CUDA_SUCCESS)
        return cr;
    if ((flags & ~(unsigned)CU_GRAPH_USER_OBJECT_MOVE) != 0)
        return CUDA_ERROR_INVALID_VALUE;
    sd_graph_lock();
    users = sd_graph_valid(graph) ? realloc(graph->users, (graph->user_count + 1) * sizeof(*users))
                                  : NULL;
    if (users == NULL) {
        cr = sd_graph_valid(graph) ? CUDA_ERROR_OUT_OF_MEMORY : CUDA_ERROR_INVALID_VALUE;
    } else {
        graph->users = users;
        users[graph->user_count++] = (struct sd_user_ref){object, count};
        if ((flags & CU_GRAPH_USER_OBJECT_MOVE) == 0)
            atomic_fetch_add(&object->refs, count);
    }
    sd_graph_unlock();
    return cr;
}

GP_EXPORT CUresult
cuGraphReleaseUserObject(CUgraph graph, CUuserObject object, unsigned int count)
{
    CUresult cr = object_get(object, count);
    bool found = false;

    if (cr != CUDA_SUCCESS)
        return cr;
    sd_graph_lock();
    for (size_t i = 0; sd_graph_valid(graph) && i < graph->user_count && !found; i++) {
        struct sd_user_ref *ref = &graph->users[i];

        if (ref->object != object || ref->count < count)
            continue;
        ref->count -= count;
        if (ref->count == 0)
            *ref = graph->users[--graph->user_count];
        found = true;
    }
    sd_graph_unlock();
    if (!found)
        return CUDA_ERROR_INVALID_VALUE;
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
