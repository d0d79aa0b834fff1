/* frontend/cuda/graph_user.c -- user objects: what graphs keep alive for the program
 *
 * Destructors run in this process: on the thread that gives up the last reference, or on the one
 * of host functions where that is the end of a launch.
 */
#include "cuda_api.h"
#include "frontend/core/stats.h"
#include "frontend/cuda/graph.h"
#include "frontend/cuda/state.h"
#include "protocol/base/util.h"

#include <stdlib.h>
#include <string.h>

struct fe_user_object {
    struct fe_object object;
    _Atomic uint64_t refs;
    void *ptr;
    CUhostFn destroy;
};

void
fe_user_object_define(void)
{
    fe_slab_define(WIRE_HANDLE_USER_OBJECT, sizeof(struct fe_user_object), 1u << 20);
}

static CUresult
object_get(CUuserObject handle, unsigned count, struct fe_user_object **object_p)
{
    CUresult cr = CUDA_SUCCESS;

    FE_COUNT_LOCAL();
    if (fe_state_get(&cr) == NULL)
        return cr;
    *object_p = fe_object_get(WIRE_HANDLE_USER_OBJECT, handle);
    return *object_p != NULL && count != 0 ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

/* More than there are is taken for all. */
static void
object_put(struct fe_user_object *object, unsigned count)
{
    uint64_t refs = atomic_load(&object->refs);
    void *ptr = object->ptr;
    CUhostFn destroy = object->destroy;

    while (!atomic_compare_exchange_weak(&object->refs, &refs, refs > count ? refs - count : 0))
        ;
    if (refs > count || refs == 0)
        return;
    fe_object_destroy(object);
    destroy(ptr);
}

GP_EXPORT CUresult
cuUserObjectCreate(CUuserObject *handle, void *ptr, CUhostFn destroy, unsigned int refs,
                   unsigned int flags)
{
    struct fe_user_object *object;
    CUresult cr = CUDA_SUCCESS;

    FE_COUNT_LOCAL();
    if (fe_state_get(&cr) == NULL)
        return cr;
    if (handle == NULL || destroy == NULL || refs == 0 || refs > INT32_MAX ||
        flags != CU_USER_OBJECT_NO_DESTRUCTOR_SYNC)
        return CUDA_ERROR_INVALID_VALUE;
    object = fe_object_create(WIRE_HANDLE_USER_OBJECT, NULL);
    if (object == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    atomic_store(&object->refs, refs);
    object->ptr = ptr;
    object->destroy = destroy;
    *handle = (CUuserObject)object;
    return CUDA_SUCCESS;
}

GP_EXPORT CUresult
cuUserObjectRetain(CUuserObject handle, unsigned int count)
{
    struct fe_user_object *object;
    CUresult cr = object_get(handle, count, &object);

    if (cr == CUDA_SUCCESS)
        atomic_fetch_add(&object->refs, count);
    return cr;
}

GP_EXPORT CUresult
cuUserObjectRelease(CUuserObject handle, unsigned int count)
{
    struct fe_user_object *object;
    CUresult cr = object_get(handle, count, &object);

    if (cr == CUDA_SUCCESS)
        object_put(object, count);
    return cr;
}

CUresult
fe_user_refs_copy(const struct fe_user_refs *from, struct fe_user_refs *to)
{
    *to = (struct fe_user_refs){0};
    if (from->count == 0)
        return CUDA_SUCCESS;
    to->list = malloc(from->count * sizeof(*to->list));
    if (to->list == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    memcpy(to->list, from->list, from->count * sizeof(*to->list));
    to->count = from->count;
    for (size_t i = 0; i < to->count; i++)
        atomic_fetch_add(&to->list[i].object->refs, to->list[i].count);
    return CUDA_SUCCESS;
}

CUresult
fe_user_refs_room(struct fe_user_refs *to, const struct fe_user_refs *from)
{
    struct fe_user_ref *list;

    if (from->count == 0)
        return CUDA_SUCCESS;
    list = realloc(to->list, (to->count + from->count) * sizeof(*list));
    if (list == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    to->list = list;
    return CUDA_SUCCESS;
}

void
fe_user_refs_move(struct fe_user_refs *to, struct fe_user_refs *from)
{
    if (from->count == 0)
        return;
    memcpy(to->list + to->count, from->list, from->count * sizeof(*from->list));
    to->count += from->count;
    free(from->list);
    *from = (struct fe_user_refs){0};
}

void
fe_user_refs_put(struct fe_user_refs *refs)
{
    for (size_t i = 0; i < refs->count; i++)
        object_put(refs->list[i].object, refs->list[i].count);
    free(refs->list);
    *refs = (struct fe_user_refs){0};
}

GP_EXPORT CUresult
cuGraphRetainUserObject(CUgraph handle, CUuserObject user, unsigned int count, unsigned int flags)
{
    struct fe_user_object *object;
    struct fe_user_ref *list;
    struct fe_graph *graph;
    CUresult cr = object_get(user, count, &object);

    if (cr != CUDA_SUCCESS)
        return cr;
    if ((flags & ~(unsigned)CU_GRAPH_USER_OBJECT_MOVE) != 0)
        return CUDA_ERROR_INVALID_VALUE;
    fe_graph_lock();
    graph = fe_graph_get(handle);
    list =
        graph != NULL ? realloc(graph->users.list, (graph->users.count + 1) * sizeof(*list)) : NULL;
    if (list == NULL) {
        cr = graph != NULL ? CUDA_ERROR_OUT_OF_MEMORY : CUDA_ERROR_INVALID_VALUE;
    } else {
        graph->users.list = list;
        list[graph->users.count++] = (struct fe_user_ref){object, count};
        if ((flags & CU_GRAPH_USER_OBJECT_MOVE) == 0)
            atomic_fetch_add(&object->refs, count);
    }
    fe_graph_unlock();
    return cr;
}

GP_EXPORT CUresult
cuGraphReleaseUserObject(CUgraph handle, CUuserObject user, unsigned int count)
{
    struct fe_user_object *object;
    struct fe_graph *graph;
    CUresult cr = object_get(user, count, &object);
    bool found = false;

    if (cr != CUDA_SUCCESS)
        return cr;
    fe_graph_lock();
    graph = fe_graph_get(handle);
    for (size_t i = 0; graph != NULL && i < graph->users.count && !found; i++) {
        struct fe_user_ref *ref = &graph->users.list[i];

        if (ref->object != object || ref->count < count)
            continue;
        ref->count -= count;
        if (ref->count == 0)
            *ref = graph->users.list[--graph->users.count];
        found = true;
    }
    fe_graph_unlock();
    if (!found)
        return CUDA_ERROR_INVALID_VALUE;
    object_put(object, count);
    return CUDA_SUCCESS;
}
