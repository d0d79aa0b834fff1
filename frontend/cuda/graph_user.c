/* frontend/cuda/graph_user.c -- user objects: what graphs keep alive for the program
 *
 * Destructors run in this process, on a thread of their own, in the order in which the last
 * references went: who gives one up may hold a lock that the destructor takes.
 */
#include "cuda_api.h"
#include "frontend/core/line.h"
#include "frontend/core/stats.h"
#include "frontend/cuda/callback.h"
#include "frontend/cuda/graph.h"
#include "frontend/cuda/state.h"
#include "protocol/base/later.h"
#include "protocol/base/util.h"

#include <stdlib.h>
#include <string.h>

struct fe_user_object {
    struct fe_object object;
    _Atomic uint64_t refs;
    /* Set once. */
    void *ptr;
    CUhostFn destroy;
    struct gp_later end; /* without references */
};

static struct gp_later_queue ended = GP_LATER_QUEUE_INIT;

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

/* Once the process ends, no destructor begins any more. */
static void *
destroy_all(void *unused)
{
    (void)unused;
    for (;;) {
        struct fe_user_object *object = gp_later_next(&ended);

        if (fe_session_error() == CUDA_ERROR_DEINITIALIZED)
            return NULL;
        fe_host_begin();
        object->destroy(object->ptr);
        fe_object_rest(object);
    }
}

static bool
start(void)
{
    return fe_thread_create("gpupool-object", destroy_all, NULL) == GP_OK;
}

/* More than there are is taken for all. */
static void
object_put(struct fe_user_object *object, unsigned count)
{
    uint64_t refs = atomic_load(&object->refs);

    while (!atomic_compare_exchange_weak(&object->refs, &refs, refs > count ? refs - count : 0))
        ;
    if (refs > count || refs == 0)
        return;
    if (fe_object_close(object))
        gp_later_add(&ended, &object->end);
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
    object = gp_later_serve(&ended, start) ? fe_object_create(WIRE_HANDLE_USER_OBJECT, NULL) : NULL;
    if (object == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    atomic_store(&object->refs, refs);
    object->ptr = ptr;
    object->destroy = destroy;
    object->end.object = object;
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

/* -- references of graphs and executable graphs ------------------------------------------ */

struct ref {
    struct fe_user_object *object;
    unsigned count;
};

/* Guarded by the graphs' lock. */
struct fe_users {
    struct fe_users *next;
    struct ref *list; /* an object is there once; owned */
    size_t count;
    uint32_t step;

    /* Retired: the work that they wait for. */
    struct fe_context *ctx;
    uint64_t ctx_wire;
    struct fe_stream *stream;
    uint64_t stream_wire, n;
};

/* Guarded by the graphs' lock. */
static struct fe_users *dead, *retired;
static _Atomic bool any_retired; /* so that synchronisations take no lock */

static struct ref *
find(const struct fe_users *users, const struct fe_user_object *object)
{
    for (size_t i = 0; users != NULL && i < users->count; i++)
        if (users->list[i].object == object)
            return &users->list[i];
    return NULL;
}

/* The caller's references become theirs. */
static CUresult
add(struct fe_users **users_p, struct fe_user_object *object, unsigned count)
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
fe_users_copy(const struct fe_users *from, uint32_t step, struct fe_users **list)
{
    struct fe_users *to;

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
    to->step = step;
    for (size_t i = 0; i < to->count; i++)
        atomic_fetch_add(&to->list[i].object->refs, to->list[i].count);
    fe_users_join(list, to);
    return CUDA_SUCCESS;
}

struct fe_users *
fe_users_take(struct fe_users **list, uint32_t first, uint32_t end)
{
    struct fe_users **at = list, *taken = NULL;

    while (*at != NULL) {
        struct fe_users *users = *at;

        if (users->step < first || users->step >= end) {
            at = &users->next;
            continue;
        }
        *at = users->next;
        users->next = taken;
        taken = users;
    }
    return taken;
}

void
fe_users_join(struct fe_users **list, struct fe_users *more)
{
    while (*list != NULL)
        list = &(*list)->next;
    *list = more;
}

void
fe_users_drop(struct fe_users *list)
{
    fe_users_join(&list, dead);
    dead = list;
}

/* Of a context that is gone nothing runs any more. */
static bool
over(const struct fe_users *users)
{
    return users->ctx == NULL || fe_object_state(users->ctx) != FE_OBJECT_LIVE ||
           users->ctx->head.object.wire != users->ctx_wire ||
           fe_work_proven(users->ctx, users->stream, users->stream_wire, users->n);
}

void
fe_users_retire(struct fe_users *list, struct fe_context *ctx, struct fe_stream *stream,
                uint64_t stream_wire, uint64_t n)
{
    if (list == NULL)
        return;
    for (struct fe_users *users = list; users != NULL; users = users->next) {
        users->ctx = ctx;
        users->ctx_wire = ctx != NULL ? ctx->head.object.wire : 0;
        users->stream = stream;
        users->stream_wire = stream_wire;
        users->n = n;
    }
    fe_users_join(&list, retired);
    retired = list;
    atomic_store(&any_retired, true);
}

void
fe_users_bury(void)
{
    struct fe_users *users;

    fe_graph_lock();
    users = dead;
    dead = NULL;
    fe_graph_unlock();
    while (users != NULL) {
        struct fe_users *next = users->next;

        for (size_t i = 0; i < users->count; i++)
            object_put(users->list[i].object, users->list[i].count);
        free(users->list);
        free(users);
        users = next;
    }
}

void
fe_users_settle(void)
{
    struct fe_users **at = &retired;

    if (GP_LIKELY(!atomic_load_explicit(&any_retired, memory_order_relaxed)))
        return;
    fe_graph_lock();
    while (*at != NULL) {
        struct fe_users *users = *at;

        if (!over(users)) {
            at = &users->next;
            continue;
        }
        *at = users->next;
        users->next = dead;
        dead = users;
    }
    atomic_store(&any_retired, retired != NULL);
    fe_graph_unlock();
    fe_users_bury();
}

GP_EXPORT CUresult
cuGraphRetainUserObject(CUgraph handle, CUuserObject user, unsigned int count, unsigned int flags)
{
    struct fe_user_object *object;
    struct fe_graph *graph;
    CUresult cr = object_get(user, count, &object);

    if (cr != CUDA_SUCCESS)
        return cr;
    if ((flags & ~(unsigned)CU_GRAPH_USER_OBJECT_MOVE) != 0)
        return CUDA_ERROR_INVALID_VALUE;
    fe_graph_lock();
    graph = fe_graph_get(handle);
    cr = graph != NULL ? add(&graph->users, object, count) : CUDA_ERROR_INVALID_VALUE;
    if (cr == CUDA_SUCCESS && (flags & CU_GRAPH_USER_OBJECT_MOVE) == 0)
        atomic_fetch_add(&object->refs, count);
    fe_graph_unlock();
    return cr;
}

GP_EXPORT CUresult
cuGraphReleaseUserObject(CUgraph handle, CUuserObject user, unsigned int count)
{
    struct fe_user_object *object;
    struct ref *ref = NULL;
    struct fe_graph *graph;
    CUresult cr = object_get(user, count, &object);

    if (cr != CUDA_SUCCESS)
        return cr;
    fe_graph_lock();
    graph = fe_graph_get(handle);
    if (graph != NULL)
        ref = find(graph->users, object);
    if (ref == NULL || ref->count < count)
        cr = CUDA_ERROR_INVALID_VALUE;
    else if ((ref->count -= count) == 0)
        *ref = graph->users->list[--graph->users->count];
    fe_graph_unlock();
    if (cr == CUDA_SUCCESS)
        object_put(object, count);
    return cr;
}
