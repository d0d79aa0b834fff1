/* frontend/cuda/state.c -- what the semantic layer keeps for the process */
#include "frontend/cuda/state.h"

#include "frontend/core/notice.h"
#include "frontend/cuda/host.h"
#include "frontend/cuda/pool.h"
#include "frontend/cuda/texture.h"
#include "frontend/cuda/vmm.h"
#include "frontend/cuda/graph.h"
#include "frontend/cuda/green.h"
#include "protocol/base/log.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define GRANULE_MAX (1ull << 30) /* of a server that makes no sense */

static struct fe_state state;
bool fe_several;
static _Atomic bool ready;
static pthread_mutex_t start_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_once_t define_once = PTHREAD_ONCE_INIT;

static void
define(void)
{
    static const struct fe_call_hooks hooks = {.per_thread_stream = fe_stream_per_thread_wire};

    fe_slab_define(WIRE_HANDLE_CONTEXT, sizeof(struct fe_context), 1u << 16);
    fe_slab_define(WIRE_HANDLE_GREEN_CONTEXT, sizeof(struct fe_green), 1u << 16);
    fe_slab_define(WIRE_HANDLE_STREAM, sizeof(struct fe_stream), 1u << 20);
    fe_slab_define(WIRE_HANDLE_EVENT, sizeof(struct fe_event), 1u << 22);
    fe_slab_define(WIRE_HANDLE_MODULE, sizeof(struct fe_module), 1u << 20);
    fe_slab_define(WIRE_HANDLE_LIBRARY, sizeof(struct fe_library), 1u << 20);
    fe_slab_define(WIRE_HANDLE_FUNCTION, sizeof(struct fe_function), 1u << 22);
    fe_slab_define(WIRE_HANDLE_ARRAY, sizeof(struct fe_array), 1u << 20);
    fe_slab_define(WIRE_HANDLE_MIPMAPPED_ARRAY, sizeof(struct fe_array), 1u << 20);
    fe_slab_define(WIRE_HANDLE_TEXTURE, sizeof(struct fe_texture), 1u << 20);
    fe_slab_define(WIRE_HANDLE_SURFACE, sizeof(struct fe_texture), 1u << 20);
    fe_slab_define(WIRE_HANDLE_TEXREF, sizeof(struct fe_texref), 1u << 20);
    fe_slab_define(WIRE_HANDLE_SURFREF, sizeof(struct fe_texref), 1u << 20);
    fe_slab_define(WIRE_HANDLE_KERNEL, sizeof(struct fe_function), 1u << 22);
    fe_slab_define(WIRE_HANDLE_MEMPOOL, sizeof(struct fe_pool), 1u << 16);
    fe_slab_define(WIRE_HANDLE_ALLOCATION, sizeof(struct fe_phys), 1u << 20);
    fe_link_define();
    fe_slab_define(WIRE_HANDLE_GRAPH, sizeof(struct fe_graph), 1u << 22);
    fe_slab_define(WIRE_HANDLE_GRAPH_NODE, sizeof(struct fe_node), 1u << 24);
    fe_exec_define();
    fe_user_object_define();
    fe_call_set_hooks(&hooks);
    fe_init_notices();
    fe_init_cudart();
}

/* What the server's device can do and this library refuses, so that programs do not try. */
static bool
is_refused(int attribute)
{
    switch (attribute) {
    case CU_DEVICE_ATTRIBUTE_GPU_DIRECT_RDMA_WITH_CUDA_VMM_SUPPORTED:
    case CU_DEVICE_ATTRIBUTE_GPU_DIRECT_RDMA_SUPPORTED:
    case CU_DEVICE_ATTRIBUTE_GPU_DIRECT_RDMA_FLUSH_WRITES_OPTIONS:
    case CU_DEVICE_ATTRIBUTE_UNIFIED_FUNCTION_POINTERS:
    case CU_DEVICE_ATTRIBUTE_DMA_BUF_SUPPORTED:
    case CU_DEVICE_ATTRIBUTE_HANDLE_TYPE_FABRIC_SUPPORTED:
    case CU_DEVICE_ATTRIBUTE_SPARSE_CUDA_ARRAY_SUPPORTED:
    case CU_DEVICE_ATTRIBUTE_TIMELINE_SEMAPHORE_INTEROP_SUPPORTED:
    case CU_DEVICE_ATTRIBUTE_D3D12_CIG_SUPPORTED:
    case CU_DEVICE_ATTRIBUTE_VULKAN_CIG_SUPPORTED:
    case CU_DEVICE_ATTRIBUTE_HOST_NUMA_VIRTUAL_MEMORY_MANAGEMENT_SUPPORTED:
    case CU_DEVICE_ATTRIBUTE_HOST_NUMA_MEMORY_POOLS_SUPPORTED:
    case CU_DEVICE_ATTRIBUTE_HOST_NUMA_MULTINODE_IPC_SUPPORTED:
    case CU_DEVICE_ATTRIBUTE_HOST_MEMORY_POOLS_SUPPORTED:
    case CU_DEVICE_ATTRIBUTE_HOST_VIRTUAL_MEMORY_MANAGEMENT_SUPPORTED:
    case CU_DEVICE_ATTRIBUTE_HOST_ALLOC_DMA_BUF_SUPPORTED:
    /* Memory of this process is nowhere a kernel could reach it by itself, or at the same time. */
    case CU_DEVICE_ATTRIBUTE_PAGEABLE_MEMORY_ACCESS:
    case CU_DEVICE_ATTRIBUTE_PAGEABLE_MEMORY_ACCESS_USES_HOST_PAGE_TABLES:
    case CU_DEVICE_ATTRIBUTE_CONCURRENT_MANAGED_ACCESS:
    case CU_DEVICE_ATTRIBUTE_DIRECT_MANAGED_MEM_ACCESS_FROM_HOST:
    case CU_DEVICE_ATTRIBUTE_HOST_NATIVE_ATOMIC_SUPPORTED:
    /* The address of registered memory may be taken in the server's process. */
    case CU_DEVICE_ATTRIBUTE_CAN_USE_HOST_POINTER_FOR_REGISTERED_MEM:
        return true;
    default:
        return false;
    }
}

int
fe_device_attribute(const struct fe_state *s, int device, int attribute)
{
    const struct wire_device *info = s->devices[device].info;

    int value;

    if (is_refused(attribute) || attribute < 0 || (uint32_t)attribute >= info->attribute_count)
        return 0;
    value = info->attributes[attribute];
    if (attribute == CU_DEVICE_ATTRIBUTE_MEMPOOL_SUPPORTED_HANDLE_TYPES)
        value &= CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR; /* no fabric handles */
    return value;
}

static void
read_limits(int device)
{
    struct fe_launch_limits *l = &state.limits[device];

    for (int i = 0; i < 3; i++) {
        l->block[i] =
            (uint32_t)fe_device_attribute(&state, device, CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_X + i);
        l->grid[i] =
            (uint32_t)fe_device_attribute(&state, device, CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_X + i);
    }
    l->block_threads =
        (uint32_t)fe_device_attribute(&state, device, CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK);
    l->multiprocessors =
        (uint32_t)fe_device_attribute(&state, device, CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT);
}

static bool
make_alloc(const struct fe_session *s)
{
    uint64_t granule = 1;

    for (unsigned d = 0; d < s->device_count; d++)
        granule = gp_max_u64(granule, s->devices[d].info->granularity_bytes);
    if ((granule & (granule - 1)) != 0 || granule > GRANULE_MAX) {
        log_error("server %s: memory granularity %llu cannot be", s->server,
                  (unsigned long long)granule);
        return false;
    }
    state.allocs[s->index] = fe_alloc_create(s->device_range.base, s->device_range.bytes, granule);
    return state.allocs[s->index] != NULL;
}

static bool
make_device(unsigned d)
{
    const struct fe_device *device = &state.devices[d];
    struct fe_context *ctx = fe_object_create(WIRE_HANDLE_CONTEXT, NULL);

    if (ctx == NULL)
        return false;
    ctx->head.session = device->session;
    ctx->device = (int)d;
    ctx->primary = true;
    ctx->legacy.object.context = ctx;
    fe_object_set_state(ctx, FE_OBJECT_DORMANT);
    state.primary[d] = ctx;
    read_limits((int)d);
    fe_alloc_grant(fe_alloc_of_device((int)d), (int)d, device->info->lease_bytes);
    return true;
}

static bool
make_devices(void)
{
    const struct fe_sessions *all = fe_sessions();

    for (unsigned i = 0; i < all->count; i++)
        if (!make_alloc(all->list[i]))
            return false;
    fe_several = all->count > 1;
    state.device_count = all->device_count;
    state.devices = all->devices;
    for (unsigned d = 0; d < all->device_count; d++)
        if (!make_device(d))
            return false;
    return fe_pools_start(&state);
}

CUresult
fe_state_start(void)
{
    const char *wish;
    CUresult cr;

    pthread_once(&define_once, define);
    cr = fe_start();
    if (cr != CUDA_SUCCESS || atomic_load_explicit(&ready, memory_order_acquire))
        return cr;
    pthread_mutex_lock(&start_lock);
    if (!ready) {
        wish = getenv("CUDA_LAUNCH_BLOCKING");
        state.launch_blocking = wish != NULL && strcmp(wish, "1") == 0;
        if (fe_session_any(&cr) && !make_devices())
            cr = CUDA_ERROR_OUT_OF_MEMORY;
        if (cr == CUDA_SUCCESS)
            atomic_store_explicit(&ready, true, memory_order_release);
    }
    pthread_mutex_unlock(&start_lock);
    return cr;
}

struct fe_state *
fe_state_get(CUresult *cr_p)
{
    if (GP_UNLIKELY(!fe_session_any(cr_p)))
        return NULL;
    if (GP_UNLIKELY(!atomic_load_explicit(&ready, memory_order_acquire))) {
        if (cr_p != NULL)
            *cr_p = CUDA_ERROR_NOT_INITIALIZED;
        return NULL;
    }
    return &state;
}

struct fe_state *
fe_state_of(const struct fe_call *call)
{
    (void)call;
    return &state;
}

const struct fe_device *
fe_state_device(const struct fe_state *s, CUdevice dev)
{
    if (dev < 0 || (unsigned)dev >= s->device_count)
        return NULL;
    return &s->devices[dev];
}

int
fe_device_of_server(const struct fe_session *session, int32_t server)
{
    for (unsigned d = 0; d < state.device_count; d++)
        if (state.devices[d].session == session && state.devices[d].server_ordinal == server)
            return (int)d;
    return -1;
}

/* -- servers ---------------------------------------------------------------------------- */

struct fe_session *
fe_device_session(int device)
{
    return state.devices[device].session;
}

int
fe_device_first(const struct fe_session *session)
{
    int device = 0;

    while (state.devices[device].session != session)
        device++;
    return device;
}

struct fe_alloc *
fe_alloc_of(const struct fe_call *call)
{
    return state.allocs[call->session->index];
}

struct fe_alloc *
fe_alloc_of_device(int device)
{
    return state.allocs[state.devices[device].session->index];
}

/* Index of the server that has the address in its range, or else knows it; -1: none. */
static int
server_around(unsigned near, uint64_t address)
{
    unsigned count = fe_sessions()->count;

    for (unsigned i = 0; i < count; i++)
        if (fe_alloc_in_range(state.allocs[i], address))
            return (int)i;
    for (unsigned i = 0; i < count; i++) {
        unsigned at = (near + i) % count;

        if (fe_alloc_covers(state.allocs[at], address, 0))
            return (int)at;
    }
    return -1;
}

static unsigned
nearest(const struct fe_session *near)
{
    const struct fe_context *ctx = fe_context_current();

    if (near != NULL)
        return near->index;
    return ctx != NULL && ctx->head.session != NULL ? ctx->head.session->index : 0;
}

struct fe_alloc *
fe_alloc_around(const struct fe_session *near, uint64_t address)
{
    int found;

    if (GP_LIKELY(fe_sessions()->count == 1))
        return state.allocs[0];
    if (near != NULL && fe_alloc_in_range(state.allocs[near->index], address))
        return state.allocs[near->index];
    found = server_around(nearest(near), address);
    return state.allocs[found >= 0 ? (unsigned)found : nearest(near)];
}

bool
fe_memory_elsewhere(const struct fe_call *call, uint64_t address)
{
    const struct fe_session *session = fe_address_session(call->session, address);

    return (session != NULL && session != call->session) ||
           fe_host_elsewhere(call->session, address);
}

struct fe_session *
fe_address_session(const struct fe_session *near, uint64_t address)
{
    int found = server_around(nearest(near), address);

    return found >= 0 ? fe_sessions()->list[found] : NULL;
}
