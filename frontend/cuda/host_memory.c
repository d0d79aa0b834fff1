/* frontend/cuda/host_memory.c -- pinned host memory
 *
 * Pinned memory is ordinary memory of this process; what makes it pinned is that copies with it are
 * asynchronous. Kernels cannot reach it yet: cuMemHostGetDevicePointer is refused.
 */
#include "cuda_api.h"
#include "frontend/core/stats.h"
#include "frontend/cuda/callback.h"
#include "frontend/cuda/graph.h"
#include "frontend/cuda/host.h"
#include "frontend/cuda/state.h"
#include "protocol/base/util.h"

#include <limits.h>
#include <string.h>
#include <sys/mman.h>

static struct {
    pthread_mutex_t lock;
    /* Guarded by lock: sorted by base, never overlapping. */
    struct fe_host_region *list;
    size_t count, room;
    uint64_t next_id;
} regions = {.lock = PTHREAD_MUTEX_INITIALIZER, .next_id = 1ull << 40};

/* Index of the first region that ends above address. */
static size_t
lower(uint64_t address)
{
    size_t lo = 0, hi = regions.count;

    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;

        if (regions.list[mid].base + regions.list[mid].bytes <= address)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

static struct fe_host_region *
find(uint64_t address)
{
    size_t i = lower(address);

    return i < regions.count && address >= regions.list[i].base ? &regions.list[i] : NULL;
}

bool
fe_host_find(uint64_t address, struct fe_host_region *region_p)
{
    struct fe_host_region *r;

    pthread_mutex_lock(&regions.lock);
    r = find(address);
    if (r != NULL)
        *region_p = *r;
    pthread_mutex_unlock(&regions.lock);
    return r != NULL;
}

bool
fe_host_pinned(uint64_t address, uint64_t bytes)
{
    struct fe_host_region r;

    return fe_host_find(address, &r) && bytes <= r.bytes - (address - r.base);
}

void
fe_host_written(uint64_t address, struct fe_context *ctx, struct fe_stream *stream,
                uint64_t stream_wire, uint64_t n)
{
    struct fe_host_region *r;

    pthread_mutex_lock(&regions.lock);
    r = find(address);
    if (r != NULL) {
        r->written_in = ctx;
        r->written_by = stream;
        r->written_by_wire = stream_wire;
        r->written = n;
    }
    pthread_mutex_unlock(&regions.lock);
}

static bool
pending_write(const struct fe_host_region *r)
{
    return r->written_in != NULL &&
           !fe_work_proven(r->written_in, r->written_by, r->written_by_wire, r->written);
}

bool
fe_host_may_change(uint64_t address)
{
    struct fe_host_region r;

    return fe_callbacks_pending() || fe_graphs_pending() || (fe_host_find(address, &r) && pending_write(&r));
}

static CUresult
region_add(struct fe_host_region *r)
{
    CUresult cr = CUDA_SUCCESS;
    size_t i;

    pthread_mutex_lock(&regions.lock);
    i = lower(r->base);
    if (i < regions.count && regions.list[i].base < r->base + r->bytes) {
        cr = CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED;
    } else if (regions.count == regions.room) {
        size_t room = regions.room == 0 ? 64 : 2 * regions.room;
        void *list = realloc(regions.list, room * sizeof(*regions.list));

        if (list == NULL) {
            cr = CUDA_ERROR_OUT_OF_MEMORY;
        } else {
            regions.list = list;
            regions.room = room;
        }
    }
    if (cr == CUDA_SUCCESS) {
        r->id = regions.next_id++;
        memmove(&regions.list[i + 1], &regions.list[i],
                (regions.count++ - i) * sizeof(*regions.list));
        regions.list[i] = *r;
    }
    pthread_mutex_unlock(&regions.lock);
    return cr;
}

/* False if another thread was first. */
static bool
region_remove(const struct fe_host_region *r)
{
    bool mine;
    size_t i;

    pthread_mutex_lock(&regions.lock);
    i = lower(r->base);
    mine = i < regions.count && regions.list[i].id == r->id;
    if (mine)
        memmove(&regions.list[i], &regions.list[i + 1],
                (--regions.count - i) * sizeof(*regions.list));
    pthread_mutex_unlock(&regions.lock);
    return mine;
}

/* Bytes on their way into the region must arrive before it can go, as with the driver. */
static void
settle(const struct fe_host_region *r)
{
    if (pending_write(r) && fe_object_state(r->written_in) == FE_OBJECT_LIVE)
        (void)cuCtxSynchronize_v2((CUcontext)r->written_in);
}

static void
region_free(const struct fe_host_region *r)
{
    if (!region_remove(r))
        return;
    settle(r);
    if (!r->registered)
        munmap((void *)(uintptr_t)r->base, r->bytes);
}

void
fe_host_drop_context(const struct fe_context *ctx)
{
    struct fe_host_region r;
    bool more = true;

    while (more) {
        more = false;
        pthread_mutex_lock(&regions.lock);
        for (size_t i = 0; i < regions.count && !more; i++) {
            more = regions.list[i].owner == ctx;
            if (more)
                r = regions.list[i];
        }
        pthread_mutex_unlock(&regions.lock);
        if (more)
            region_free(&r);
    }
}

/* The current context of a call that stays here. */
static CUresult
local_context(struct fe_context **ctx_p)
{
    CUresult cr = CUDA_SUCCESS;

    FE_COUNT_LOCAL();
    if (fe_state_get(&cr) == NULL)
        return cr;
    *ctx_p = fe_context_current();
    if (*ctx_p == NULL)
        return CUDA_ERROR_INVALID_CONTEXT;
    if (fe_object_state(*ctx_p) != FE_OBJECT_LIVE)
        return CUDA_ERROR_CONTEXT_IS_DESTROYED;
    return (CUresult)(*ctx_p)->head.sticky;
}

GP_EXPORT CUresult
cuMemHostAlloc(void **memory, size_t bytes, unsigned int flags)
{
    const unsigned known =
        CU_MEMHOSTALLOC_PORTABLE | CU_MEMHOSTALLOC_DEVICEMAP | CU_MEMHOSTALLOC_WRITECOMBINED;
    struct fe_host_region r = {.flags = flags};
    CUresult cr = local_context(&r.owner);
    void *at;

    if (cr != CUDA_SUCCESS)
        return cr;
    if (memory == NULL || bytes == 0 || (flags & ~known) != 0)
        return CUDA_ERROR_INVALID_VALUE;
    if (bytes > SIZE_MAX / 2)
        return CUDA_ERROR_OUT_OF_MEMORY;
    at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (at == MAP_FAILED)
        return CUDA_ERROR_OUT_OF_MEMORY;
    r.base = (uint64_t)(uintptr_t)at;
    r.bytes = bytes;
    cr = region_add(&r);
    if (cr != CUDA_SUCCESS) {
        munmap(at, bytes);
        return cr;
    }
    *memory = at;
    return CUDA_SUCCESS;
}

GP_EXPORT CUresult
cuMemAllocHost_v2(void **memory, size_t bytes)
{
    return cuMemHostAlloc(memory, bytes, 0);
}

GP_EXPORT CUresult
cuMemAllocHost(void **memory, unsigned int bytes)
{
    return cuMemHostAlloc(memory, bytes, 0);
}

GP_EXPORT CUresult
cuMemFreeHost(void *memory)
{
    struct fe_host_region r;
    CUresult cr = CUDA_SUCCESS;

    FE_COUNT_LOCAL();
    if (fe_state_get(&cr) == NULL)
        return cr;
    if (fe_context_current() == NULL)
        return CUDA_ERROR_INVALID_CONTEXT;
    if (memory == NULL)
        return CUDA_SUCCESS;
    if (!fe_host_find((uint64_t)(uintptr_t)memory, &r) || r.registered ||
        r.base != (uint64_t)(uintptr_t)memory)
        return CUDA_ERROR_INVALID_VALUE;
    region_free(&r);
    return CUDA_SUCCESS;
}

GP_EXPORT CUresult
cuMemHostRegister_v2(void *memory, size_t bytes, unsigned int flags)
{
    const unsigned known = CU_MEMHOSTREGISTER_PORTABLE | CU_MEMHOSTREGISTER_DEVICEMAP |
                           CU_MEMHOSTREGISTER_IOMEMORY | CU_MEMHOSTREGISTER_READ_ONLY;
    struct fe_host_region r = {.flags = flags, .registered = true, .bytes = bytes};
    CUresult cr = local_context(&r.owner);

    if (cr != CUDA_SUCCESS)
        return cr;
    r.base = (uint64_t)(uintptr_t)memory;
    if (memory == NULL || bytes == 0 || (flags & ~known) != 0 || r.base + bytes < r.base)
        return CUDA_ERROR_INVALID_VALUE;
    if (flags & CU_MEMHOSTREGISTER_IOMEMORY)
        return fe_refuse("cuMemHostRegister of I/O memory");
    return region_add(&r);
}

GP_EXPORT CUresult
cuMemHostRegister(void *memory, size_t bytes, unsigned int flags)
{
    return cuMemHostRegister_v2(memory, bytes, flags);
}

GP_EXPORT CUresult
cuMemHostUnregister(void *memory)
{
    struct fe_host_region r;
    CUresult cr = CUDA_SUCCESS;

    FE_COUNT_LOCAL();
    if (fe_state_get(&cr) == NULL)
        return cr;
    if (memory == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    if (!fe_host_find((uint64_t)(uintptr_t)memory, &r) || !r.registered ||
        r.base != (uint64_t)(uintptr_t)memory)
        return CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED;
    region_free(&r);
    return CUDA_SUCCESS;
}

GP_EXPORT CUresult
cuMemHostGetFlags(unsigned int *flags, void *memory)
{
    struct fe_host_region r;
    CUresult cr = CUDA_SUCCESS;

    FE_COUNT_LOCAL();
    if (fe_state_get(&cr) == NULL)
        return cr;
    if (flags == NULL || !fe_host_find((uint64_t)(uintptr_t)memory, &r) || r.registered)
        return CUDA_ERROR_INVALID_VALUE;
    *flags = r.flags;
    return CUDA_SUCCESS;
}
