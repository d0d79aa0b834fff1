/* backend/driver/soft/dev/children.c */
#include "backend/driver/soft/dev/children.h"

#include "backend/driver/soft/dev/heap.h"
#include "backend/driver/soft/dev/launch.h"
#include "protocol/base/log.h"
#include "protocol/base/util.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define DEPTH_MAX   24
#define TAIL_STREAM 3
#define SHARED_MAX  49152 /* kernels cannot ask for more for their children */

/* What cudaLaunchDevice answers, cudaError_t. */
enum {
    LAUNCHED = 0,
    INVALID_VALUE = 1,
    NO_MEMORY = 2,
    TOO_DEEP = 65,
    TOO_MANY = 69,
};

struct child {
    struct sd_launch launch;
    uint64_t buffer; /* in the context's device heap, until launched */
    uint8_t *params; /* owned, from then on */
    struct child *next;
};

struct child_list {
    struct child *head, **tail;
};

/* Of one grid while it runs. */
struct launches {
    struct CUctx_st *ctx;
    const struct sd_launch *parent;
    unsigned depth;
    size_t most;          /* may be pending */
    pthread_mutex_t lock; /* a leaf */
    /* Guarded by lock. */
    struct child *waiting; /* with a buffer, not launched */
    struct child_list *normal, *tails;
    size_t count;
};

static void
list_init(struct child_list *list)
{
    list->head = NULL;
    list->tail = &list->head;
}

static void
list_add(struct child_list *list, struct child *child)
{
    child->next = NULL;
    *list->tail = child;
    list->tail = &child->next;
}

static struct child *
list_take(struct child_list *list)
{
    struct child *child = list->head;

    if (child != NULL) {
        list->head = child->next;
        if (list->head == NULL)
            list->tail = &list->head;
    }
    return child;
}

/* All of from behind what is in list. */
static void
list_move(struct child_list *list, struct child_list *from)
{
    if (from->head == NULL)
        return;
    *list->tail = from->head;
    list->tail = from->tail;
    list_init(from);
}

static void
child_free(struct child *child)
{
    free(child->params);
    free(child);
}

static bool
launch_valid(const struct sd_kernel *k, const uint32_t grid[3], const uint32_t block[3],
             uint32_t shared_bytes)
{
    uint64_t most = 1, cluster = 1;

    for (int i = 0; i < 3; i++) {
        most *= k->max_ntid[i] != 0 ? k->max_ntid[i] : 1;
        if (k->req_cluster[i] == 0)
            continue;
        if (k->req_cluster[i] > SD_CLUSTER_PORTABLE_MAX || grid[i] % k->req_cluster[i] != 0)
            return false;
        cluster *= k->req_cluster[i];
    }
    return sd_shape_valid(k, grid, block) && cluster <= SD_CLUSTER_PORTABLE_MAX &&
           (cluster > 1 || !k->explicit_cluster || k->req_cluster[0] != 0) &&
           (k->max_ntid[0] == 0 || block[0] * block[1] * block[2] <= most) &&
           (uint64_t)k->static_shared_bytes + shared_bytes <= SHARED_MAX;
}

static uint64_t
launch_buffer(void *opaque, const struct sd_kernel *kernel, const uint32_t grid[3],
              const uint32_t block[3], uint32_t shared_bytes)
{
    struct launches *l = opaque;
    struct child *child;

    if (sd_kernel_prepare(kernel, NULL) != CUDA_SUCCESS ||
        !launch_valid(kernel, grid, block, shared_bytes))
        return 0;
    child = calloc(1, sizeof(*child));
    if (child == NULL)
        return 0;
    child->buffer = sd_heap_alloc(l->ctx, kernel->param_bytes != 0 ? kernel->param_bytes : 8);
    if (child->buffer == 0) {
        free(child);
        return 0;
    }
    child->launch.kernel = kernel;
    child->launch.sms = l->parent->sms;
    child->launch.sm_count = l->parent->sm_count;
    child->launch.dynamic_shared_bytes = shared_bytes;
    child->launch.explicit_cluster = kernel->req_cluster[0] != 0;
    for (int i = 0; i < 3; i++) {
        child->launch.grid[i] = grid[i];
        child->launch.block[i] = block[i];
        child->launch.cluster[i] = kernel->req_cluster[i] != 0 ? kernel->req_cluster[i] : 1;
    }
    pthread_mutex_lock(&l->lock);
    child->next = l->waiting;
    l->waiting = child;
    pthread_mutex_unlock(&l->lock);
    return child->buffer;
}

/* The waiting child of a buffer, taken out; NULL for an address that the kernel made up. */
static struct child *
waiting_take_locked(struct launches *l, uint64_t buffer)
{
    for (struct child **at = &l->waiting; *at != NULL; at = &(*at)->next) {
        struct child *child = *at;

        if (child->buffer == buffer) {
            *at = child->next;
            return child;
        }
    }
    return NULL;
}

/* The buffer's bytes become the child's own; the heap's memory is the device's, whatever the
 * kernel did to it. */
static bool
params_take(struct launches *l, struct child *child)
{
    uint32_t bytes = child->launch.kernel->param_bytes;

    child->params = malloc(bytes != 0 ? bytes : 1);
    if (child->params != NULL)
        memcpy(child->params, (const void *)(uintptr_t)child->buffer, bytes);
    child->launch.params = child->params;
    sd_heap_free(l->ctx, child->buffer);
    return child->params != NULL;
}

static int32_t
launch_child(void *opaque, uint64_t buffer, uint64_t stream)
{
    struct launches *l = opaque;
    bool tail = stream == TAIL_STREAM;
    int32_t result = LAUNCHED;
    struct child *child;

    pthread_mutex_lock(&l->lock);
    child = waiting_take_locked(l, buffer);
    pthread_mutex_unlock(&l->lock);
    if (child == NULL)
        return INVALID_VALUE;
    if (!params_take(l, child))
        result = NO_MEMORY;
    pthread_mutex_lock(&l->lock);
    if (result == LAUNCHED && !tail && l->depth == DEPTH_MAX)
        result = TOO_DEEP;
    else if (result == LAUNCHED && l->count >= l->most)
        result = TOO_MANY;
    if (result == LAUNCHED) {
        l->count++;
        list_add(tail ? l->tails : l->normal, child);
    }
    pthread_mutex_unlock(&l->lock);
    if (result != LAUNCHED)
        child_free(child);
    return result;
}

struct run {
    struct CUctx_st *ctx;
    struct sd_pool *machine;
    const struct sd_env *env;
    const struct sd_kernel **kernel_p;
    struct sd_fault *fault_p;
};

/* One grid; what it launched comes into the lists. */
static CUresult
grid_run(struct run *r, const struct sd_launch *launch, unsigned depth, struct child_list *normal,
         struct child_list *tails)
{
    struct launches l = {
        .ctx = r->ctx, .parent = launch, .depth = depth, .normal = normal, .tails = tails};
    struct sd_launch now = *launch;
    struct sd_env env = *r->env;
    CUresult cr;

    list_init(normal);
    list_init(tails);
    l.most = sd_ctx_limit(r->ctx, CU_LIMIT_DEV_RUNTIME_PENDING_LAUNCH_COUNT);
    pthread_mutex_init(&l.lock, NULL);
    env.launch_buffer = launch_buffer;
    env.launch = launch_child;
    env.launches = &l;
    now.env = &env;
    *r->kernel_p = now.kernel;
    cr = sd_exec_run(r->machine, &now, r->fault_p);
    while (l.waiting != NULL) { /* asked for and never launched */
        struct child *child = l.waiting;

        l.waiting = child->next;
        sd_heap_free(r->ctx, child->buffer);
        child_free(child);
    }
    pthread_mutex_destroy(&l.lock);
    return cr;
}

/* A grid with its children, then its tail launches, each of which may have more. Recursion is as
 * deep as launches nest, DEPTH_MAX at most. */
static CUresult
tree_run(struct run *r, const struct sd_launch *launch, unsigned depth)
{
    struct child_list normal, tails, more;
    struct child *child;
    CUresult cr;

    cr = grid_run(r, launch, depth, &normal, &tails);
    for (;;) {
        while ((child = list_take(&normal)) != NULL) {
            if (cr == CUDA_SUCCESS)
                cr = tree_run(r, &child->launch, depth + 1);
            child_free(child);
        }
        child = list_take(&tails);
        if (child == NULL)
            break;
        if (cr == CUDA_SUCCESS) {
            cr = grid_run(r, &child->launch, depth, &normal, &more);
            /* Its own tail launches come before what follows it. */
            list_move(&more, &tails);
            list_move(&tails, &more);
        }
        child_free(child);
    }
    return cr;
}

CUresult
sd_children_run(struct CUctx_st *ctx, struct sd_pool *machine, const struct sd_env *env,
                const struct sd_launch *launch, const struct sd_kernel **kernel_p,
                struct sd_fault *fault_p)
{
    struct run r = {ctx, machine, env, kernel_p, fault_p};

    return tree_run(&r, launch, 0);
}
