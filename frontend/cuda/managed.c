/* frontend/cuda/managed.c -- managed memory
 *
 * Device memory at an address inside the session's range, where the client maps pages of its own:
 * kernels use the one, the program the other (coherent.h). Small allocations share a block of
 * device memory, but no page.
 */
#include "frontend/cuda/managed.h"

#include "cuda_api.h"
#include "frontend/core/stats.h"
#include "frontend/cuda/ask.h"
#include "frontend/cuda/coherent.h"
#include "frontend/cuda/memory.h"
#include "frontend/cuda/state.h"
#include "frontend/cuda/vmm.h"
#include "protocol/base/util.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define BLOCK_BYTES (2ull << 20) /* for small ones */
#define BLOCK_PAGES (BLOCK_BYTES / FE_PAGE_BYTES)
#define SMALL_BYTES (1ull << 20)
#define UNIT        512u /* what an allocation ends at, as the device sees it */

/* Device memory that small allocations share. */
struct block {
    struct block *next;
    uint64_t base;
    struct fe_context *owner;
    unsigned used;
    uint64_t map[BLOCK_PAGES / 64];
};

_Atomic unsigned fe_managed_count;

static struct {
    pthread_mutex_t lock;
    /* Guarded by lock. */
    struct fe_managed *list; /* sorted by base */
    size_t count, room;
    struct block *blocks;
    uint64_t next_id;
} managed = {.lock = PTHREAD_MUTEX_INITIALIZER, .next_id = 1ull << 41};

/* Index of the first one that ends above address. */
static size_t
lower(uint64_t address)
{
    size_t lo = 0, hi = managed.count;

    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;

        if (gp_align_up_u64(managed.list[mid].base + managed.list[mid].bytes, UNIT) <= address)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

static struct fe_managed *
find(uint64_t address)
{
    size_t i = lower(address);

    return i < managed.count && address >= managed.list[i].base ? &managed.list[i] : NULL;
}

bool
fe_managed_find(uint64_t address, struct fe_managed *managed_p)
{
    struct fe_managed *m;

    if (atomic_load_explicit(&fe_managed_count, memory_order_acquire) == 0)
        return false;
    pthread_mutex_lock(&managed.lock);
    m = find(address);
    if (m != NULL && managed_p != NULL)
        *managed_p = *m;
    pthread_mutex_unlock(&managed.lock);
    return m != NULL;
}

bool
fe_managed_covers(uint64_t address, uint64_t bytes)
{
    struct fe_managed m;

    return fe_managed_find(address, &m) &&
           bytes <= gp_align_up_u64(m.base + m.bytes, UNIT) - address;
}

bool
fe_managed_block(uint64_t address)
{
    struct block *b;

    if (atomic_load_explicit(&fe_managed_count, memory_order_acquire) == 0)
        return false;
    pthread_mutex_lock(&managed.lock);
    for (b = managed.blocks; b != NULL && address - b->base >= BLOCK_BYTES;)
        b = b->next;
    pthread_mutex_unlock(&managed.lock);
    return b != NULL;
}

static bool
add(struct fe_managed *m)
{
    bool ok = true;
    size_t i;

    pthread_mutex_lock(&managed.lock);
    if (managed.count == managed.room) {
        size_t room = managed.room == 0 ? 64 : 2 * managed.room;
        void *list = realloc(managed.list, room * sizeof(*managed.list));

        ok = list != NULL;
        if (ok) {
            managed.list = list;
            managed.room = room;
        }
    }
    if (ok) {
        i = lower(m->base);
        m->id = managed.next_id++;
        memmove(&managed.list[i + 1], &managed.list[i],
                (managed.count++ - i) * sizeof(*managed.list));
        managed.list[i] = *m;
        atomic_fetch_add(&fe_managed_count, 1);
    }
    pthread_mutex_unlock(&managed.lock);
    return ok;
}

/* Under the lock. */
static void
remove_at(size_t i)
{
    memmove(&managed.list[i], &managed.list[i + 1], (--managed.count - i) * sizeof(*managed.list));
    atomic_fetch_sub(&fe_managed_count, 1);
}

/* False if another thread was first. */
static bool
take_out(const struct fe_managed *m)
{
    bool mine;
    size_t i;

    pthread_mutex_lock(&managed.lock);
    i = lower(m->base);
    mine = i < managed.count && managed.list[i].id == m->id;
    if (mine)
        remove_at(i);
    pthread_mutex_unlock(&managed.lock);
    return mine;
}

/* --- places ------------------------------------------------------------------------ */

/* Kernels of every device reach managed memory, where the devices reach each other. */
static CUresult
open_to_all(struct fe_call *call, uint64_t block, int own)
{
    struct wire_gpMemAccess_args args = {.address = block};
    uint64_t bits = 1ull << own;
    CUresult cr;
    int can;

    for (int d = 0; d < (int)fe_state_of(call)->device_count; d++)
        if (cuDeviceCanAccessPeer(&can, d, own) == CUDA_SUCCESS && can)
            bits |= 1ull << d;
    if (bits == 1ull << own)
        return CUDA_SUCCESS;
    args.readable = args.writable = fe_server_devices(call->session, bits);
    cr = fe_call_next(call, WIRE_CALL_gpMemAccess);
    if (cr == CUDA_SUCCESS)
        FE_TELL(cr, call, gpMemAccess, &args);
    return cr;
}

/* Under the lock: a free row of pages of a block. */
static bool
block_take(struct block *b, uint64_t pages, uint64_t *base_p)
{
    uint64_t run = 0;

    if (BLOCK_PAGES - b->used < pages)
        return false;
    for (uint64_t i = 0; i < BLOCK_PAGES; i++) {
        run = (b->map[i / 64] >> i % 64 & 1) != 0 ? 0 : run + 1;
        if (run < pages)
            continue;
        for (uint64_t j = i + 1 - pages; j <= i; j++)
            b->map[j / 64] |= 1ull << j % 64;
        b->used += (unsigned)pages;
        *base_p = b->base + (i + 1 - pages) * FE_PAGE_BYTES;
        return true;
    }
    return false;
}

static bool
shared_take(struct fe_context *owner, uint64_t pages, uint64_t *base_p, uint64_t *block_p)
{
    bool found = false;

    pthread_mutex_lock(&managed.lock);
    for (struct block *b = managed.blocks; b != NULL && !found; b = b->next) {
        found = b->owner == owner && block_take(b, pages, base_p);
        if (found)
            *block_p = b->base;
    }
    pthread_mutex_unlock(&managed.lock);
    return found;
}

static CUresult
device_take(struct fe_call *call, uint64_t bytes, uint64_t *base_p)
{
    struct fe_block block = {
        .bytes = bytes, .device = call->context->device, .owner = call->context};
    CUresult cr = fe_memory_alloc(call, &block);

    if (cr == CUDA_SUCCESS)
        cr = open_to_all(call, block.base, block.device);
    if (cr == CUDA_SUCCESS)
        *base_p = block.base;
    return cr;
}

/* Pages of device memory and the block they are in. */
static CUresult
place(struct fe_call *call, uint64_t bytes, uint64_t *base_p, uint64_t *block_p)
{
    struct block *b;
    CUresult cr;

    if (bytes >= SMALL_BYTES) {
        cr = device_take(call, bytes, base_p);
        *block_p = *base_p;
        return cr;
    }
    if (shared_take(call->context, bytes / FE_PAGE_BYTES, base_p, block_p))
        return CUDA_SUCCESS;
    b = calloc(1, sizeof(*b));
    if (b == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    cr = device_take(call, BLOCK_BYTES, &b->base);
    if (cr != CUDA_SUCCESS) {
        free(b);
        return cr;
    }
    b->owner = call->context;
    (void)block_take(b, bytes / FE_PAGE_BYTES, base_p);
    *block_p = b->base;
    pthread_mutex_lock(&managed.lock);
    b->next = managed.blocks;
    managed.blocks = b;
    pthread_mutex_unlock(&managed.lock);
    return CUDA_SUCCESS;
}

/* Give pages back, and the block with the last of them. */
static CUresult
unplace(struct fe_call *call, uint64_t base, uint64_t bytes, uint64_t block)
{
    struct block **at, *b;
    bool last = true;

    pthread_mutex_lock(&managed.lock);
    for (at = &managed.blocks; *at != NULL && (*at)->base != block;)
        at = &(*at)->next;
    b = *at;
    if (b != NULL) {
        for (uint64_t i = (base - block) / FE_PAGE_BYTES, n = bytes / FE_PAGE_BYTES; n > 0;
             n--, i++)
            b->map[i / 64] &= ~(1ull << i % 64);
        b->used -= (unsigned)(bytes / FE_PAGE_BYTES);
        last = b->used == 0;
        if (last)
            *at = b->next;
    }
    pthread_mutex_unlock(&managed.lock);
    if (last)
        free(b);
    return last ? fe_memory_free(call, block) : CUDA_SUCCESS;
}

static uint64_t
whole_pages(uint64_t bytes)
{
    return gp_align_up_u64(bytes, FE_PAGE_BYTES);
}

static bool
map(uint64_t base, uint64_t bytes, int prot)
{
    return mmap((void *)(uintptr_t)base, bytes, prot,
                MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0) != MAP_FAILED;
}

/* Reserved again, as all of the session's range. */
static void
unmap(uint64_t base, uint64_t bytes)
{
    (void)map(base, bytes, PROT_NONE);
}

/* --- coming ---------------------------------------------------------------------------- */

static CUresult
post_managed(struct fe_call *call, uint64_t base, uint64_t bytes)
{
    struct wire_gpManaged_args args = {.address = base, .bytes = bytes};
    CUresult cr = fe_call_next(call, WIRE_CALL_gpManaged);

    if (cr == CUDA_SUCCESS)
        FE_TELL(cr, call, gpManaged, &args);
    return cr;
}

static CUresult
post_drop(struct fe_call *call, uint64_t base)
{
    struct wire_gpPagesDrop_args args = {.address = base};
    CUresult cr = fe_call_next(call, WIRE_CALL_gpPagesDrop);

    if (cr == CUDA_SUCCESS)
        FE_TELL(cr, call, gpPagesDrop, &args);
    return cr;
}

static CUresult
allocate(struct fe_call *call, size_t bytes, unsigned flags, uint64_t *base_p)
{
    uint64_t rounded = whole_pages(bytes);
    struct fe_managed m = {.bytes = bytes, .owner = call->context, .device = call->context->device};
    struct fe_region_info info = {
        .kind = FE_REGION_MANAGED,
        .bytes = rounded,
        .owner = call->context,
        .session = call->session,
    };
    const struct fe_where nowhere = {0};
    CUresult cr;

    if (rounded < bytes)
        return CUDA_ERROR_OUT_OF_MEMORY;
    cr = place(call, rounded, &m.base, &m.block);
    if (cr != CUDA_SUCCESS)
        return cr;
    info.base = m.base;
    cr = map(m.base, rounded, PROT_READ) ? post_managed(call, m.base, rounded)
                                         : CUDA_ERROR_OUT_OF_MEMORY;
    if (cr == CUDA_SUCCESS)
        cr = fe_coherent_add(&info);
    if (cr == CUDA_SUCCESS && !add(&m)) {
        fe_coherent_remove(m.base, rounded);
        cr = CUDA_ERROR_OUT_OF_MEMORY;
    }
    if (cr != CUDA_SUCCESS) {
        unmap(m.base, rounded);
        (void)post_drop(call, m.base);
        (void)unplace(call, m.base, rounded, m.block);
        return cr;
    }
    if (flags != CU_MEM_ATTACH_GLOBAL)
        fe_coherent_attach(m.base, flags, &nowhere);
    *base_p = m.base;
    return CUDA_SUCCESS;
}

GP_EXPORT CUresult
cuMemAllocManaged(CUdeviceptr *address, size_t bytes, unsigned int flags)
{
    uint64_t base = 0;
    struct fe_call call;
    CUresult cr = fe_enter(&call, WIRE_CALL_gpManaged);

    if (cr != CUDA_SUCCESS)
        return cr;
    if (address == NULL || bytes == 0 ||
        (flags != CU_MEM_ATTACH_GLOBAL && flags != CU_MEM_ATTACH_HOST))
        return fe_leave(&call, CUDA_ERROR_INVALID_VALUE);
    cr = allocate(&call, bytes, flags, &base);
    if (cr == CUDA_SUCCESS)
        *address = base;
    return fe_leave(&call, cr);
}

CUresult
fe_managed_variable(uint64_t address, uint64_t bytes, int device, struct fe_session *session,
                    const void *library)
{
    struct fe_managed m = {.base = address, .bytes = bytes, .device = device, .key = library};
    CUresult cr = fe_coherent_add_variable(address, bytes, session, library);

    if (cr == CUDA_SUCCESS && !add(&m))
        cr = CUDA_ERROR_OUT_OF_MEMORY;
    return cr;
}

/* --- going ----------------------------------------------------------------------------- */

/* A free waits for the work that may use the memory, as with the driver. */
CUresult
fe_managed_free(struct fe_call *call, const struct fe_managed *m)
{
    uint64_t rounded = whole_pages(m->bytes);
    CUresult cr;

    if (m->block == 0)
        return CUDA_ERROR_INVALID_VALUE; /* a variable */
    if (fe_object_state(m->owner) == FE_OBJECT_LIVE)
        (void)cuCtxSynchronize_v2((CUcontext)m->owner);
    if (!take_out(m))
        return CUDA_ERROR_INVALID_VALUE;
    fe_coherent_remove(m->base, rounded);
    unmap(m->base, rounded);
    cr = post_drop(call, m->base);
    if (cr == CUDA_SUCCESS)
        cr = unplace(call, m->base, rounded, m->block);
    return cr;
}

void
fe_managed_drop(const void *key)
{
    struct fe_managed m = {0};
    bool more = atomic_load(&fe_managed_count) != 0;

    if (more)
        fe_coherent_drop(key);
    while (more) {
        more = false;
        pthread_mutex_lock(&managed.lock);
        for (size_t i = managed.count; i-- > 0 && !more;) {
            more = managed.list[i].owner == key || managed.list[i].key == key;
            if (more) {
                m = managed.list[i];
                remove_at(i);
            }
        }
        pthread_mutex_unlock(&managed.lock);
        if (more && m.block != 0)
            unmap(m.base, whole_pages(m.bytes));
    }
    /* Blocks of a context go with it on the server too. */
    pthread_mutex_lock(&managed.lock);
    for (struct block **at = &managed.blocks; *at != NULL;) {
        struct block *b = *at;

        if (b->owner == key) {
            *at = b->next;
            free(b);
        } else {
            at = &b->next;
        }
    }
    pthread_mutex_unlock(&managed.lock);
}

bool
fe_managed_set_sync_memops(uint64_t address, bool on)
{
    struct fe_managed *m;

    if (atomic_load(&fe_managed_count) == 0)
        return false;
    pthread_mutex_lock(&managed.lock);
    m = find(address);
    if (m != NULL)
        m->sync_memops = on;
    pthread_mutex_unlock(&managed.lock);
    return m != NULL;
}

/* --- what is said of it ------------------------------------------------------------------ */

/* A context is current, and the call stays here. */
static CUresult
local(struct fe_state **state_p)
{
    struct fe_context *ctx;
    CUresult cr = CUDA_SUCCESS;

    FE_COUNT_LOCAL();
    *state_p = fe_state_get(&cr);
    if (*state_p == NULL)
        return cr;
    ctx = fe_context_current();
    if (ctx == NULL)
        return CUDA_ERROR_INVALID_CONTEXT;
    if (fe_object_state(ctx) != FE_OBJECT_LIVE)
        return CUDA_ERROR_CONTEXT_IS_DESTROYED;
    return (CUresult)ctx->head.sticky;
}

static bool
location_valid(const struct fe_state *state, const CUmemLocation *location)
{
    switch (location->type) {
    case CU_MEM_LOCATION_TYPE_DEVICE:
        return fe_state_device(state, location->id) != NULL;
    case CU_MEM_LOCATION_TYPE_HOST:
    case CU_MEM_LOCATION_TYPE_HOST_NUMA:
    case CU_MEM_LOCATION_TYPE_HOST_NUMA_CURRENT:
        return true;
    default:
        return false;
    }
}

static uint64_t
location_bit(const CUmemLocation *location)
{
    return location->type == CU_MEM_LOCATION_TYPE_DEVICE ? 1ull << location->id : 1ull << 63;
}

static CUmemLocation
location_of_device(CUdevice device)
{
    return (CUmemLocation){device == CU_DEVICE_CPU ? CU_MEM_LOCATION_TYPE_HOST
                                                   : CU_MEM_LOCATION_TYPE_DEVICE,
                           device == CU_DEVICE_CPU ? 0 : device};
}

static void
advise(struct fe_managed *m, CUmem_advise advice, const CUmemLocation *location)
{
    switch (advice) {
    case CU_MEM_ADVISE_SET_READ_MOSTLY:
    case CU_MEM_ADVISE_UNSET_READ_MOSTLY:
        m->read_mostly = advice == CU_MEM_ADVISE_SET_READ_MOSTLY;
        break;
    case CU_MEM_ADVISE_SET_PREFERRED_LOCATION:
        m->preferred[0] = (int)location->type;
        m->preferred[1] = location->id;
        break;
    case CU_MEM_ADVISE_UNSET_PREFERRED_LOCATION:
        m->preferred[0] = CU_MEM_LOCATION_TYPE_INVALID;
        break;
    case CU_MEM_ADVISE_SET_ACCESSED_BY:
        m->accessed_by |= location_bit(location);
        break;
    case CU_MEM_ADVISE_UNSET_ACCESSED_BY:
        m->accessed_by &= ~location_bit(location);
        break;
    default:
        break;
    }
}

GP_EXPORT CUresult
cuMemAdvise_v2(CUdeviceptr address, size_t bytes, CUmem_advise advice, CUmemLocation location)
{
    bool needs_location = advice == CU_MEM_ADVISE_SET_PREFERRED_LOCATION ||
                          advice == CU_MEM_ADVISE_SET_ACCESSED_BY ||
                          advice == CU_MEM_ADVISE_UNSET_ACCESSED_BY;
    struct fe_state *state;
    CUresult cr = local(&state);

    if (cr != CUDA_SUCCESS)
        return cr;
    if ((unsigned)advice < CU_MEM_ADVISE_SET_READ_MOSTLY ||
        advice > CU_MEM_ADVISE_UNSET_ACCESSED_BY)
        return CUDA_ERROR_INVALID_VALUE;
    if (needs_location && !location_valid(state, &location))
        return CUDA_ERROR_INVALID_DEVICE;
    if (bytes == 0 || !fe_managed_covers(address, bytes))
        return CUDA_ERROR_INVALID_VALUE;
    pthread_mutex_lock(&managed.lock);
    if (find(address) != NULL)
        advise(find(address), advice, &location);
    pthread_mutex_unlock(&managed.lock);
    return CUDA_SUCCESS;
}

GP_EXPORT CUresult
cuMemAdvise(CUdeviceptr address, size_t bytes, CUmem_advise advice, CUdevice device)
{
    return cuMemAdvise_v2(address, bytes, advice, location_of_device(device));
}

/* In the old style: a device ordinal, -1 for the host, -2 for none. */
static int
old_location(const int location[2])
{
    if (location[0] == CU_MEM_LOCATION_TYPE_INVALID)
        return CU_DEVICE_INVALID;
    return location[0] == CU_MEM_LOCATION_TYPE_DEVICE ? location[1] : CU_DEVICE_CPU;
}

static void
list_accessed_by(int *list, size_t count, uint64_t bits)
{
    size_t n = 0;

    for (int bit = 0; bit < 64 && n < count; bit++)
        if ((bits >> bit & 1) != 0)
            list[n++] = bit == 63 ? CU_DEVICE_CPU : bit;
    while (n < count)
        list[n++] = CU_DEVICE_INVALID;
}

static bool
range_value(const struct fe_managed *m, CUmem_range_attribute attribute, int *value)
{
    switch (attribute) {
    case CU_MEM_RANGE_ATTRIBUTE_READ_MOSTLY:
        *value = m->read_mostly;
        return true;
    case CU_MEM_RANGE_ATTRIBUTE_PREFERRED_LOCATION:
        *value = old_location(m->preferred);
        return true;
    case CU_MEM_RANGE_ATTRIBUTE_LAST_PREFETCH_LOCATION:
        *value = old_location(m->prefetched);
        return true;
    case CU_MEM_RANGE_ATTRIBUTE_PREFERRED_LOCATION_TYPE:
        *value = m->preferred[0];
        return true;
    case CU_MEM_RANGE_ATTRIBUTE_PREFERRED_LOCATION_ID:
        *value = m->preferred[1];
        return true;
    case CU_MEM_RANGE_ATTRIBUTE_LAST_PREFETCH_LOCATION_TYPE:
        *value = m->prefetched[0];
        return true;
    case CU_MEM_RANGE_ATTRIBUTE_LAST_PREFETCH_LOCATION_ID:
        *value = m->prefetched[1];
        return true;
    default:
        return false;
    }
}

GP_EXPORT CUresult
cuMemRangeGetAttribute(void *data, size_t data_bytes, CUmem_range_attribute attribute,
                       CUdeviceptr address, size_t bytes)
{
    struct fe_managed m;
    struct fe_state *state;
    CUresult cr = local(&state);
    int value = 0;

    if (cr != CUDA_SUCCESS)
        return cr;
    if (data == NULL || data_bytes < 4 || data_bytes % 4 != 0 || bytes == 0 ||
        !fe_managed_covers(address, bytes) || !fe_managed_find(address, &m))
        return CUDA_ERROR_INVALID_VALUE;
    if (attribute == CU_MEM_RANGE_ATTRIBUTE_ACCESSED_BY) {
        list_accessed_by(data, data_bytes / 4, m.accessed_by);
        return CUDA_SUCCESS;
    }
    if (!range_value(&m, attribute, &value))
        return CUDA_ERROR_INVALID_VALUE;
    memcpy(data, &value, sizeof(value));
    return CUDA_SUCCESS;
}

GP_EXPORT CUresult
cuMemRangeGetAttributes(void **data, size_t *data_bytes, CUmem_range_attribute *attributes,
                        size_t count, CUdeviceptr address, size_t bytes)
{
    CUresult cr = CUDA_SUCCESS;

    if (fe_state_get(&cr) == NULL)
        return cr;
    if (data == NULL || data_bytes == NULL || attributes == NULL || count == 0)
        return CUDA_ERROR_INVALID_VALUE;
    for (size_t i = 0; i < count && cr == CUDA_SUCCESS; i++)
        cr = cuMemRangeGetAttribute(data[i], data_bytes[i], attributes[i], address, bytes);
    return cr;
}

/* --- hints that move ------------------------------------------------------------------------ */

/* To a device: what the program changed goes now. To the host: the first touch brings all. */
static CUresult
prefetch(struct fe_call *call, const struct fe_where *where, uint64_t address, uint64_t bytes,
         const CUmemLocation *location)
{
    const struct fe_span span = {address, bytes, false};
    struct fe_managed *m;
    CUresult cr;

    if (bytes == 0 || !fe_managed_covers(address, bytes))
        return CUDA_ERROR_INVALID_VALUE;
    pthread_mutex_lock(&managed.lock);
    m = find(address);
    if (m != NULL) {
        m->prefetched[0] = (int)location->type;
        m->prefetched[1] = location->id;
    }
    pthread_mutex_unlock(&managed.lock);
    if (location->type != CU_MEM_LOCATION_TYPE_DEVICE) {
        fe_coherent_bring(address, bytes);
        return CUDA_SUCCESS;
    }
    cr = fe_coherent_begin(where, &span, 1);
    if (cr == CUDA_SUCCESS)
        fe_coherent_end(call, where);
    return cr;
}

static CUresult
enter_stream(struct fe_call *call, CUstream stream, struct fe_where *where)
{
    CUresult cr = fe_enter(call, WIRE_CALL_gpManaged);

    if (cr != CUDA_SUCCESS)
        return cr;
    cr = fe_stream_resolve(call, stream, &where->stream, &where->wire);
    return cr == CUDA_SUCCESS ? cr : fe_leave(call, cr);
}

GP_EXPORT CUresult
cuMemPrefetchAsync_v2(CUdeviceptr address, size_t bytes, CUmemLocation location, unsigned int flags,
                      CUstream stream)
{
    struct fe_where where;
    struct fe_call call;
    CUresult cr = enter_stream(&call, stream, &where);

    if (cr != CUDA_SUCCESS)
        return cr;
    if (flags != 0)
        cr = CUDA_ERROR_INVALID_VALUE;
    else if (!location_valid(fe_state_of(&call), &location))
        cr = CUDA_ERROR_INVALID_DEVICE;
    else
        cr = prefetch(&call, &where, address, bytes, &location);
    return fe_leave(&call, cr);
}

GP_EXPORT CUresult
cuMemPrefetchAsync(CUdeviceptr address, size_t bytes, CUdevice device, CUstream stream)
{
    return cuMemPrefetchAsync_v2(address, bytes, location_of_device(device), 0, stream);
}

/* Ranges of a batch must all be managed memory. */
static CUresult
check_batch(const CUdeviceptr *addresses, const size_t *sizes, size_t count,
            unsigned long long flags)
{
    if (addresses == NULL || sizes == NULL || count == 0 || flags != 0)
        return CUDA_ERROR_INVALID_VALUE;
    for (size_t i = 0; i < count; i++)
        if (sizes[i] == 0 || !fe_managed_covers(addresses[i], sizes[i]))
            return CUDA_ERROR_INVALID_VALUE;
    return CUDA_SUCCESS;
}

GP_EXPORT CUresult
cuMemPrefetchBatchAsync(CUdeviceptr *addresses, size_t *sizes, size_t count,
                        CUmemLocation *locations, size_t *starts, size_t locations_count,
                        unsigned long long flags, CUstream stream)
{
    struct fe_where where;
    struct fe_call call;
    CUresult cr = enter_stream(&call, stream, &where);

    if (cr != CUDA_SUCCESS)
        return cr;
    cr = check_batch(addresses, sizes, count, flags);
    if (cr == CUDA_SUCCESS && (locations == NULL || starts == NULL || locations_count == 0 ||
                               locations_count > count || starts[0] != 0))
        cr = CUDA_ERROR_INVALID_VALUE;
    for (size_t l = 0; l < locations_count && cr == CUDA_SUCCESS; l++) {
        if (l > 0 && (starts[l] <= starts[l - 1] || starts[l] >= count))
            cr = CUDA_ERROR_INVALID_VALUE;
        else if (!location_valid(fe_state_of(&call), &locations[l]))
            cr = CUDA_ERROR_INVALID_DEVICE;
    }
    for (size_t i = 0, l = 0; i < count && cr == CUDA_SUCCESS; i++) {
        if (l + 1 < locations_count && starts[l + 1] == i)
            l++;
        cr = prefetch(&call, &where, addresses[i], sizes[i], &locations[l]);
    }
    return fe_leave(&call, cr);
}

/* What is discarded may stay as it is. */
GP_EXPORT CUresult
cuMemDiscardBatchAsync(CUdeviceptr *addresses, size_t *sizes, size_t count,
                       unsigned long long flags, CUstream stream)
{
    struct fe_where where;
    struct fe_call call;
    CUresult cr = enter_stream(&call, stream, &where);

    return cr != CUDA_SUCCESS ? cr : fe_leave(&call, check_batch(addresses, sizes, count, flags));
}

GP_EXPORT CUresult
cuMemDiscardAndPrefetchBatchAsync(CUdeviceptr *addresses, size_t *sizes, size_t count,
                                  CUmemLocation *locations, size_t *starts, size_t locations_count,
                                  unsigned long long flags, CUstream stream)
{
    return cuMemPrefetchBatchAsync(addresses, sizes, count, locations, starts, locations_count,
                                   flags, stream);
}

GP_EXPORT CUresult
cuStreamAttachMemAsync(CUstream stream, CUdeviceptr address, size_t length, unsigned int flags)
{
    struct fe_managed m;
    struct fe_where where;
    struct fe_call call;
    CUresult cr = enter_stream(&call, stream, &where);

    if (cr != CUDA_SUCCESS)
        return cr;
    if ((flags != CU_MEM_ATTACH_GLOBAL && flags != CU_MEM_ATTACH_HOST &&
         flags != CU_MEM_ATTACH_SINGLE) ||
        (flags == CU_MEM_ATTACH_SINGLE && where.wire == 0) || !fe_managed_find(address, &m) ||
        (length != 0 && length != m.bytes))
        return fe_leave(&call, CUDA_ERROR_INVALID_VALUE);
    if (m.block != 0) /* variables share pages */
        fe_coherent_attach(m.base, flags, &where);
    return fe_leave(&call, CUDA_SUCCESS);
}
