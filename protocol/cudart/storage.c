/* protocol/cudart/storage.c -- values that runtimes keep per context (CONTEXT_LOCAL_STORAGE)
 *
 * Looked up in every call of the CUDA runtime, by many threads; changed a few times per
 * program. So readers take no lock: each node carries a sequence number that is odd while it is
 * being changed. Nodes stay in their chain for ever and are used again within it.
 */
#include "protocol/cudart/storage.h"

#include "protocol/base/util.h"

#include <pthread.h>
#include <stdatomic.h>

#define STORAGE_BUCKETS 256u /* a power of two */

struct storage_node {
    /* Changed under storage_lock between two steps of seq; read by the seq protocol. */
    _Atomic(CUcontext) ctx; /* NULL: free */
    _Atomic(void *) key;
    _Atomic(void *) value;
    _Atomic uint32_t seq;

    /* Guarded by storage_lock. */
    void (*dtor)(CUcontext, void *, void *);

    /* Written once, before the node is published. */
    struct storage_node *next;
};

/* Rank: a leaf; nothing is called with it held. */
static pthread_mutex_t storage_lock = PTHREAD_MUTEX_INITIALIZER;
static _Atomic(struct storage_node *) storage_buckets[STORAGE_BUCKETS];

static size_t
storage_hash(CUcontext ctx, const void *key)
{
    uint64_t h = ((uint64_t)(uintptr_t)ctx ^ ((uint64_t)(uintptr_t)key >> 3)) * 0x9e3779b97f4a7c15u;

    return (size_t)(h >> 56) & (STORAGE_BUCKETS - 1);
}

static void
node_set(struct storage_node *node, CUcontext ctx, void *key, void *value)
{
    uint32_t seq = atomic_load_explicit(&node->seq, memory_order_relaxed);

    /* Release, so that none becomes visible before the odd number. */
    atomic_store_explicit(&node->seq, seq + 1, memory_order_relaxed);
    atomic_store_explicit(&node->ctx, ctx, memory_order_release);
    atomic_store_explicit(&node->key, key, memory_order_release);
    atomic_store_explicit(&node->value, value, memory_order_release);
    atomic_store_explicit(&node->seq, seq + 2, memory_order_release);
}

/* True if node holds (ctx, key); the value is then consistent with them. */
static bool
node_read(struct storage_node *node, CUcontext ctx, const void *key, void **value_p)
{
    for (;;) {
        uint32_t before = atomic_load_explicit(&node->seq, memory_order_acquire);
        bool match = atomic_load_explicit(&node->ctx, memory_order_acquire) == ctx &&
                     atomic_load_explicit(&node->key, memory_order_acquire) == key;
        void *value = atomic_load_explicit(&node->value, memory_order_acquire);
        uint32_t after = atomic_load_explicit(&node->seq, memory_order_relaxed);

        if (before == after && (before & 1) == 0) {
            *value_p = value;
            return match;
        }
    }
}

/* storage_lock held. */
static struct storage_node *
node_find(size_t bucket, CUcontext ctx, const void *key)
{
    struct storage_node *node = atomic_load(&storage_buckets[bucket]);

    while (node != NULL && (atomic_load(&node->ctx) != ctx || atomic_load(&node->key) != key))
        node = node->next;
    return node;
}

/* storage_lock held. A free node of the chain, or a new one; NULL without memory. */
static struct storage_node *
node_new(size_t bucket)
{
    struct storage_node *head = atomic_load(&storage_buckets[bucket]);
    struct storage_node *node;

    for (node = head; node != NULL; node = node->next)
        if (atomic_load(&node->ctx) == NULL)
            return node;
    node = calloc(1, sizeof(*node));
    if (node == NULL)
        return NULL;
    node->next = head;
    atomic_store(&storage_buckets[bucket], node);
    return node;
}

CUresult
gp_cudart_node_put(CUcontext ctx, void *key, void *value, void (*dtor)(CUcontext, void *, void *))
{
    size_t bucket = storage_hash(ctx, key);
    struct storage_node *node;

    if (ctx == NULL)
        return CUDA_ERROR_INVALID_CONTEXT;
    pthread_mutex_lock(&storage_lock);
    node = node_find(bucket, ctx, key);
    if (node == NULL)
        node = node_new(bucket);
    if (node != NULL) {
        node->dtor = dtor;
        node_set(node, ctx, key, value);
    }
    pthread_mutex_unlock(&storage_lock);
    return node != NULL ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
}

CUresult
gp_cudart_node_get(void **value_p, CUcontext ctx, void *key)
{
    struct storage_node *node;

    if (ctx == NULL)
        return CUDA_ERROR_INVALID_CONTEXT;
    node = atomic_load_explicit(&storage_buckets[storage_hash(ctx, key)], memory_order_acquire);
    for (; node != NULL; node = node->next)
        if (node_read(node, ctx, key, value_p))
            return CUDA_SUCCESS;
    return CUDA_ERROR_INVALID_HANDLE;
}

CUresult
gp_cudart_node_delete(CUcontext ctx, void *key)
{
    struct storage_node *node;

    if (ctx == NULL)
        return CUDA_SUCCESS;
    pthread_mutex_lock(&storage_lock);
    node = node_find(storage_hash(ctx, key), ctx, key);
    if (node != NULL)
        node_set(node, NULL, NULL, NULL);
    pthread_mutex_unlock(&storage_lock);
    return CUDA_SUCCESS;
}

/* Takes one entry of ctx out; its destructor runs without the lock, for it calls the API. */
static bool
storage_take_one(CUcontext ctx)
{
    struct storage_node *node = NULL;
    void (*dtor)(CUcontext, void *, void *) = NULL;
    void *key = NULL, *value = NULL;

    pthread_mutex_lock(&storage_lock);
    for (size_t i = 0; i < STORAGE_BUCKETS && node == NULL; i++) {
        node = atomic_load(&storage_buckets[i]);
        while (node != NULL && atomic_load(&node->ctx) != ctx)
            node = node->next;
    }
    if (node != NULL) {
        dtor = node->dtor;
        key = atomic_load(&node->key);
        value = atomic_load(&node->value);
        node_set(node, NULL, NULL, NULL);
    }
    pthread_mutex_unlock(&storage_lock);
    if (dtor != NULL)
        dtor(ctx, key, value);
    return node != NULL;
}

void
gp_cudart_ctx_gone(CUcontext ctx)
{
    if (ctx == NULL)
        return;
    while (storage_take_one(ctx))
        continue;
}
