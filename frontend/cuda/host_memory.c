/* frontend/cuda/host_memory.c -- pinned and registered host memory */
#include "cuda_api.h"
#include "frontend/core/stats.h"
#include "frontend/cuda/ask.h"
#include "frontend/cuda/callback.h"
#include "frontend/cuda/coherent.h"
#include "frontend/cuda/displaced.h"
#include "frontend/cuda/graph.h"
#include "frontend/cuda/host.h"
#include "frontend/cuda/managed.h"
#include "frontend/cuda/state.h"
#include "frontend/cuda/upper.h"
#include "protocol/base/log.h"
#include "protocol/base/util.h"
#include "transport/kept.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

/* Pinned memory lies where neither a program nor a server's process has anything, so that its
 * address can mean the same there. A wish: elsewhere it works as well.
 *
 * Whatever a program's data holds at multiples of 8 bytes may be an address, so all of it is looked
 * at; but pairs of small 32-bit numbers, such as two counters in a row, would look like addresses a
 * little above a multiple of 4 GiB. No memory lies there, nor so near behind that an address a
 * little ahead of it would. */
#define PLACES     0x600000000000ull
#define PLACES_END 0x680000000000ull
#define SMALL_PAIR (1ull << 20)  /* low half of an address, below which it is two numbers */
#define GAP        (16ull << 20) /* where no memory lies, at each multiple of 4 GiB */

static struct {
    pthread_mutex_t lock;   /* a leaf */
    pthread_cond_t changed; /* the last hold of a region went, or its showing came to its end */
    /* Guarded by lock: sorted by base, never overlapping. */
    struct fe_host_region *list;
    size_t count, room;
    uint64_t next_id;
    uint64_t next_place; /* where the next pinned memory is wished to lie */
} regions = {
    .lock = PTHREAD_MUTEX_INITIALIZER,
    .changed = PTHREAD_COND_INITIALIZER,
    .next_id = 1ull << 40,
    .next_place = PLACES,
};

/* Bounds of what kernels cannot reach yet, by kind (pinned, registered): they only grow. What lies
 * outside is no address of it. Relaxed: an address is made before it is passed on. */
static struct {
    _Atomic uint64_t low, high;
} hidden[2] = {{UINT64_MAX, 0}, {UINT64_MAX, 0}};
static _Atomic unsigned hidden_count, shown_count, wanted_count;
/* Held while memory is shown, for which holds and work are waited for: taken before the locks of
 * coherent and of regions, by nobody who has a hold. */
static pthread_mutex_t show_lock = PTHREAD_MUTEX_INITIALIZER;

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
fe_host_read_only(uint64_t address)
{
    struct fe_host_region r;

    return fe_host_find(address, &r) && r.registered &&
           (r.flags & CU_MEMHOSTREGISTER_READ_ONLY) != 0;
}

bool
fe_host_set_sync_memops(uint64_t address, bool on)
{
    struct fe_host_region *r;

    pthread_mutex_lock(&regions.lock);
    r = find(address);
    if (r != NULL)
        r->sync_memops = on;
    pthread_mutex_unlock(&regions.lock);
    return r != NULL;
}

bool
fe_host_pinned(uint64_t address, uint64_t bytes)
{
    struct fe_host_region r;

    return fe_host_find(address, &r) && bytes <= r.bytes - (address - r.base);
}

/* -- copies into it that are under way ------------------------------------------------------- */

struct fe_host_write {
    struct fe_context *ctx;
    struct fe_stream *stream;
    uint64_t stream_wire;
    uint64_t n; /* its work number */
};

static bool
write_pending(const struct fe_host_write *w)
{
    return w->ctx != NULL && !fe_work_proven(w->ctx, w->stream, w->stream_wire, w->n);
}

/* A place for the newest copy of this stream; NULL: no memory. */
static struct fe_host_write *
write_place(struct fe_host_region *r, const struct fe_stream *stream, uint64_t stream_wire)
{
    struct fe_host_write *unused = NULL, *grown;

    for (unsigned i = 0; i < r->writes_count; i++) {
        struct fe_host_write *w = &r->writes[i];

        if (w->stream == stream && w->stream_wire == stream_wire)
            return w;
        if (unused == NULL && !write_pending(w))
            unused = w;
    }
    if (unused != NULL)
        return unused;
    grown = realloc(r->writes, (r->writes_count + 1) * sizeof(*grown));
    if (grown == NULL)
        return NULL;
    r->writes = grown;
    return &grown[r->writes_count++];
}

void
fe_host_written(uint64_t address, uint64_t bytes, struct fe_context *ctx, struct fe_stream *stream,
                uint64_t stream_wire, uint64_t n)
{
    pthread_mutex_lock(&regions.lock);
    for (size_t i = lower(address); i < regions.count; i++) {
        struct fe_host_region *r = &regions.list[i];
        struct fe_host_write *w;

        if (r->base >= address + bytes)
            break;
        w = write_place(r, stream, stream_wire);
        if (w != NULL)
            *w = (struct fe_host_write){ctx, stream, stream_wire, n};
        else
            r->writes_lost = true;
    }
    pthread_mutex_unlock(&regions.lock);
}

/* A context whose work may still write to the region; NULL: there is none. */
static struct fe_context *
writing(const struct fe_host_region *r)
{
    for (unsigned i = 0; i < r->writes_count; i++)
        if (write_pending(&r->writes[i]) && fe_object_state(r->writes[i].ctx) == FE_OBJECT_LIVE)
            return r->writes[i].ctx;
    return NULL;
}

bool
fe_host_may_change(uint64_t address)
{
    const struct fe_host_region *r;
    bool may = fe_callbacks_pending() || fe_graphs_pending();

    if (may)
        return true;
    pthread_mutex_lock(&regions.lock);
    r = find(address);
    may = r != NULL && (r->writes_lost || writing(r) != NULL);
    pthread_mutex_unlock(&regions.lock);
    return may;
}

/* -- holds ------------------------------------------------------------------------------------ */

enum fe_host_held
fe_host_hold(struct fe_host_hold *hold, uint64_t address, uint64_t bytes)
{
    bool shown = false, showing = false, whole = false;
    size_t first, end;

    *hold = (struct fe_host_hold){.address = address, .bytes = bytes};
    if (GP_LIKELY(!fe_coherent_active()))
        return FE_HOST_HELD;
    pthread_mutex_lock(&regions.lock);
    first = lower(address);
    for (end = first; end < regions.count && regions.list[end].base < address + bytes; end++) {
        const struct fe_host_region *r = &regions.list[end];

        shown |= r->shown;
        showing |= r->showing;
        whole |= address >= r->base && bytes <= r->bytes - (address - r->base);
    }
    if (!shown && !showing) {
        for (size_t i = first; i < end; i++)
            regions.list[i].holds++;
        hold->before = regions.next_id;
    }
    pthread_mutex_unlock(&regions.lock);
    if (showing)
        return FE_HOST_AGAIN;
    return !shown ? FE_HOST_HELD : whole ? FE_HOST_SHOWN : FE_HOST_PARTS;
}

void
fe_host_release(const struct fe_host_hold *hold)
{
    bool last = false;

    if (hold->before == 0)
        return;
    pthread_mutex_lock(&regions.lock);
    for (size_t i = lower(hold->address); i < regions.count; i++) {
        struct fe_host_region *r = &regions.list[i];

        if (r->base >= hold->address + hold->bytes)
            break;
        if (r->id < hold->before) /* others came after the hold was taken */
            last |= --r->holds == 0;
    }
    if (last)
        pthread_cond_broadcast(&regions.changed);
    pthread_mutex_unlock(&regions.lock);
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
        tp_memory_keep((void *)(uintptr_t)r->base, r->bytes,
                       r->registered ? TP_KEPT_LENT : TP_KEPT_OWN);
        if (r->base < atomic_load(&hidden[r->registered].low))
            atomic_store(&hidden[r->registered].low, r->base);
        if (r->base + r->bytes > atomic_load(&hidden[r->registered].high))
            atomic_store(&hidden[r->registered].high, r->base + r->bytes);
        if (r->wanted)
            atomic_fetch_add(&wanted_count, 1);
        atomic_fetch_add(&hidden_count, 1);
        atomic_fetch_add(&fe_coherent_count, 1);
    }
    pthread_mutex_unlock(&regions.lock);
    return cr;
}

/* What is there of a region that was seen before; NULL: it went. */
static struct fe_host_region *
again(const struct fe_host_region *r)
{
    size_t i = lower(r->base);

    return i < regions.count && regions.list[i].id == r->id ? &regions.list[i] : NULL;
}

/* False if another thread was first. */
static bool
region_remove(struct fe_host_region *r)
{
    struct fe_host_region *there;

    pthread_mutex_lock(&regions.lock);
    while ((there = again(r)) != NULL && there->showing)
        pthread_cond_wait(&regions.changed, &regions.lock);
    if (there != NULL) {
        *r = *there;
        tp_memory_forget((const void *)(uintptr_t)r->base, r->bytes);
        memmove(there, there + 1,
                (size_t)(regions.list + --regions.count - there) * sizeof(*regions.list));
        if (r->wanted && !r->shown)
            atomic_fetch_sub(&wanted_count, 1);
        atomic_fetch_sub(r->shown ? &shown_count : &hidden_count, 1);
        atomic_fetch_sub(&fe_coherent_count, 1);
    }
    pthread_mutex_unlock(&regions.lock);
    return there != NULL;
}

static bool
wait_context(void *object, void *unused)
{
    (void)unused;
    (void)fe_context_wait(object);
    return true;
}

/* Bytes on their way into the region must arrive before it can go, as with the driver, and those
 * that the server will ask for be read. r is nobody else's. */
static void
settle_removed(const struct fe_host_region *r)
{
    struct fe_context *ctx;

    if (r->writes_lost)
        fe_object_each(WIRE_HANDLE_CONTEXT, wait_context, NULL);
    for (unsigned i = 0; i < r->writes_count; i++) {
        ctx = r->writes[i].ctx;
        if (write_pending(&r->writes[i]) && fe_object_state(ctx) == FE_OBJECT_LIVE)
            (void)fe_context_wait(ctx);
    }
    ctx = fe_pull_pending(r->base, r->bytes);
    if (ctx != NULL && fe_object_state(ctx) == FE_OBJECT_LIVE)
        (void)fe_context_wait(ctx);
}

/* The server's pages of it go, once no work can use them; what kernels wrote comes back. */
static void
hide(const struct fe_host_region *r)
{
    struct wire_gpPagesDrop_args args = {.address = r->base};
    struct fe_call call;
    CUresult cr;

    if (fe_object_state(r->carrier) == FE_OBJECT_LIVE)
        (void)fe_context_wait(r->carrier);
    fe_coherent_remove(r->base, r->bytes);
    fe_displaced_remove(r->base);
    if (fe_enter_on(&call, WIRE_CALL_gpPagesDrop, r->owner->head.session) != CUDA_SUCCESS)
        return;
    FE_TELL(cr, &call, gpPagesDrop, &args);
    (void)fe_leave(&call, cr);
}

static void
region_free(struct fe_host_region *r)
{
    if (!region_remove(r))
        return;
    settle_removed(r);
    if (r->shown)
        hide(r);
    if (!r->registered)
        munmap((void *)(uintptr_t)r->base, r->bytes);
    free(r->writes);
}

/* Memory of a context that failed, and ctx, which goes, had asked the server for it: the program's
 * alone again, until another context wants it. */
static void
take_back(const struct fe_context *ctx)
{
    struct fe_host_region r = {0}, *there;
    bool more = true;

    pthread_mutex_lock(&show_lock);
    while (more) {
        more = false;
        pthread_mutex_lock(&regions.lock);
        for (size_t i = 0; i < regions.count && !more; i++) {
            there = &regions.list[i];
            more = there->shown && there->carrier == ctx && there->owner != ctx;
            if (more) {
                there->showing = true;
                r = *there;
            }
        }
        pthread_mutex_unlock(&regions.lock);
        if (!more)
            break;
        hide(&r);
        pthread_mutex_lock(&regions.lock);
        there = again(&r); /* nobody removes what is being shown */
        there->shown = there->showing = false;
        there->carrier = NULL;
        atomic_fetch_sub(&shown_count, 1);
        atomic_fetch_add(&hidden_count, 1);
        atomic_fetch_add(&wanted_count, 1);
        pthread_cond_broadcast(&regions.changed);
        pthread_mutex_unlock(&regions.lock);
    }
    pthread_mutex_unlock(&show_lock);
}

void
fe_host_drop_context(const struct fe_context *ctx)
{
    struct fe_host_region r;
    bool more = true;

    take_back(ctx);
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
    return fe_context_usable(*ctx_p);
}

/* Where the next one is wished to lie, with a page between. */
static void *
place(size_t bytes)
{
    uint64_t at, low;

    pthread_mutex_lock(&regions.lock);
    at = regions.next_place;
    if (bytes >= PLACES_END - at)
        at = PLACES;
    low = (uint32_t)at;
    if (low < GAP)
        at += GAP - low;
    else if (bytes > (1ull << 32) - low && bytes < (1ull << 32) - GAP)
        at += (1ull << 32) - low + GAP;
    regions.next_place = gp_align_up_u64(at + bytes, FE_PAGE_BYTES) + FE_PAGE_BYTES;
    if (regions.next_place >= PLACES_END)
        regions.next_place = PLACES;
    pthread_mutex_unlock(&regions.lock);
    return (void *)(uintptr_t)at;
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
    r.wanted = (flags & CU_MEMHOSTALLOC_DEVICEMAP) != 0;
    at = mmap(place(bytes), bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
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
    struct fe_context *ctx = NULL;
    struct fe_host_region r;
    CUresult cr = local_context(&ctx);

    if (cr != CUDA_SUCCESS)
        return cr;
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
    r.wanted = (flags & CU_MEMHOSTREGISTER_DEVICEMAP) != 0;
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
    struct fe_context *ctx = NULL;
    struct fe_host_region r;
    CUresult cr = local_context(&ctx);

    if (cr != CUDA_SUCCESS)
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
    if (flags == NULL || !fe_host_find((uint64_t)(uintptr_t)memory, &r))
        return CUDA_ERROR_INVALID_VALUE;
    *flags = r.flags | CU_MEMHOSTALLOC_DEVICEMAP; /* unified addressing maps all of it */
    return CUDA_SUCCESS;
}

/* -- reach of kernels ---------------------------------------------------------------------- */

/* Under the lock. */
static void
want(struct fe_host_region *r)
{
    if (r->wanted)
        return;
    r->wanted = true;
    atomic_fetch_add(&wanted_count, 1);
}

void
fe_host_want(uint64_t address)
{
    struct fe_host_region *r;
    bool near;

    pthread_mutex_lock(&regions.lock);
    r = find(address);
    if (r == NULL)
        r = find(address - 1); /* one past its end is as good */
    if (r != NULL)
        want(r);
    /* Near it, for a kernel that adds to it: any may be meant. */
    near = address >= PLACES && address < PLACES_END && (uint32_t)address >= SMALL_PAIR;
    for (size_t i = 0; r == NULL && near && i < regions.count; i++)
        if (!regions.list[i].registered)
            want(&regions.list[i]);
    pthread_mutex_unlock(&regions.lock);
}

void
fe_host_look(uint64_t to, const void *bytes, size_t len)
{
    const uint8_t *from = bytes;
    uint64_t low[2], span[2], word;
    struct fe_upper upper;

    if (atomic_load_explicit(&hidden_count, memory_order_relaxed) == 0)
        return;
    for (int i = 0; i < 2; i++) {
        uint64_t high = atomic_load_explicit(&hidden[i].high, memory_order_relaxed);

        low[i] = atomic_load_explicit(&hidden[i].low, memory_order_relaxed);
        span[i] = high > low[i] ? high - low[i] + 1 : 0;
        fe_upper_set(&upper, i, low[i], high);
    }
    for (size_t at = -to % sizeof(word); at + sizeof(word) <= len;) {
        size_t end;

        if (len - at >= FE_UPPER_BYTES && !fe_upper_may(&upper, from + at)) {
            at += FE_UPPER_BYTES;
            continue;
        }
        for (end = gp_min_u64(at + FE_UPPER_BYTES, len); at + sizeof(word) <= end;
             at += sizeof(word)) {
            memcpy(&word, from + at, sizeof(word));
            if (word - low[0] < span[0] || word - low[1] < span[1])
                fe_host_want(word);
        }
    }
}

void
fe_host_look_values(const struct wire_kernel_param *params, uint32_t count, const uint8_t *packed)
{
    for (uint32_t i = 0; i < count; i++) {
        fe_host_look(params[i].offset, packed, params[i].bytes);
        packed += params[i].bytes;
    }
}

bool
fe_host_any_wanted(void)
{
    return atomic_load_explicit(&wanted_count, memory_order_acquire) != 0;
}

/* Whether the program may write all of it: else it cannot change. */
static bool
writable(uint64_t from, uint64_t to)
{
    FILE *maps = fopen("/proc/self/maps", "re");
    uint64_t low, high;
    char line[512], mode[8];
    bool all = true;

    if (maps == NULL)
        return true;
    while (fgets(line, sizeof(line), maps) != NULL)
        if (sscanf(line, "%" SCNx64 "-%" SCNx64 " %7s", &low, &high, mode) == 3 && low < to &&
            high > from)
            all &= mode[1] == 'w';
    fclose(maps);
    return all;
}

/* Whole pages are protected; what shares a page with other memory of the program is compared. */
static CUresult
make_coherent(const struct fe_host_region *r)
{
    uint64_t end = r->base + r->bytes, first = gp_align_up_u64(r->base, FE_PAGE_BYTES), last;
    struct fe_region_info info = {
        .kind = FE_REGION_HOST,
        .owner = r->owner,
        .session = r->owner->head.session,
        .own = r->registered,
        .dirty = true,
        .read_only = r->registered &&
                     ((r->flags & CU_MEMHOSTREGISTER_READ_ONLY) != 0 || !writable(r->base, end)),
    };
    CUresult cr = CUDA_SUCCESS;

    last =
        r->registered ? end / FE_PAGE_BYTES * FE_PAGE_BYTES : gp_align_up_u64(end, FE_PAGE_BYTES);
    if (first >= last) {
        info.base = r->base;
        info.bytes = gp_min_u64(first, end) - r->base;
        if (info.bytes == 0)
            info.bytes = r->bytes;
        cr = fe_coherent_add_edge(&info);
        info.base += info.bytes;
        info.bytes = end - info.base;
        return cr == CUDA_SUCCESS && info.bytes > 0 ? fe_coherent_add_edge(&info) : cr;
    }
    info.base = first;
    info.bytes = last - first;
    cr = fe_coherent_add(&info);
    if (cr == CUDA_SUCCESS && first > r->base) {
        info.base = r->base;
        info.bytes = first - r->base;
        cr = fe_coherent_add_edge(&info);
    }
    if (cr == CUDA_SUCCESS && end > last) {
        info.base = last;
        info.bytes = end - last;
        cr = fe_coherent_add_edge(&info);
    }
    if (cr != CUDA_SUCCESS)
        fe_coherent_remove(r->base, r->bytes);
    return cr;
}

static CUresult
map_on_server(const struct fe_host_region *r, uint64_t *device_p)
{
    struct wire_gpHostMap_args args = {.address = r->base, .bytes = r->bytes};
    struct wire_gpHostMap_reply reply;
    struct fe_call call;
    CUresult cr = fe_enter_in(&call, WIRE_CALL_gpHostMap, r->carrier);

    if (cr != CUDA_SUCCESS)
        return cr;
    if (!r->registered)
        args.bytes = gp_align_up_u64(r->bytes, FE_PAGE_BYTES);
    FE_ASK(cr, &call, gpHostMap, &args, &reply);
    if (cr == CUDA_SUCCESS)
        *device_p = reply.device;
    return fe_leave(&call, cr);
}

/* Under show_lock: from here on nobody gets a hold of it, and who has one has posted. Then what was
 * posted to write there has, for it writes to the memory as it is. False: it went. */
static bool
show_begin(struct fe_host_region *r)
{
    struct fe_host_region *there;
    struct fe_context *ctx = NULL;
    bool lost = false;

    pthread_mutex_lock(&regions.lock);
    there = again(r);
    if (there != NULL)
        there->showing = true; /* and so it stays */
    while (there != NULL && there->holds > 0) {
        pthread_cond_wait(&regions.changed, &regions.lock);
        there = again(r);
    }
    if (there != NULL)
        lost = there->writes_lost;
    while (there != NULL && (ctx = writing(there)) != NULL) {
        CUresult cr;

        pthread_mutex_unlock(&regions.lock);
        cr = fe_context_wait(ctx);
        pthread_mutex_lock(&regions.lock);
        there = again(r);
        if (cr != CUDA_SUCCESS)
            break; /* nothing comes of it any more */
    }
    if (there != NULL)
        *r = *there;
    pthread_mutex_unlock(&regions.lock);
    if (lost)
        fe_object_each(WIRE_HANDLE_CONTEXT, wait_context, NULL);
    return there != NULL;
}

static void
show_end(const struct fe_host_region *r, bool done)
{
    struct fe_host_region *there;

    pthread_mutex_lock(&regions.lock);
    there = again(r);
    if (there != NULL) {
        there->showing = false;
        if (done) {
            there->shown = there->wanted = true;
            there->device = r->device;
            there->carrier = r->carrier;
            atomic_fetch_sub(&hidden_count, 1);
            atomic_fetch_add(&shown_count, 1);
            atomic_fetch_sub(&wanted_count, 1);
        }
    }
    pthread_cond_broadcast(&regions.changed);
    pthread_mutex_unlock(&regions.lock);
}

static bool
works(const struct fe_context *ctx)
{
    return fe_object_state(ctx) == FE_OBJECT_LIVE &&
           atomic_load_explicit(&ctx->head.sticky, memory_order_relaxed) == CUDA_SUCCESS;
}

struct carrier_search {
    const struct fe_session *session;
    struct fe_context *found;
};

static bool
look_for_carrier(void *object, void *user)
{
    struct carrier_search *search = user;
    struct fe_context *ctx = object;

    if (ctx->head.session == search->session && works(ctx))
        search->found = ctx;
    return search->found == NULL;
}

/* A context that failed keeps its memory, which others reach: one of them then asks for it. NULL:
 * none works. */
static struct fe_context *
carrier_of(const struct fe_host_region *r)
{
    struct carrier_search search = {.session = r->owner->head.session};

    if (works(r->owner))
        return r->owner;
    fe_object_each(WIRE_HANDLE_CONTEXT, look_for_carrier, &search);
    return search.found;
}

static void
give_up(const struct fe_host_region *r)
{
    struct fe_host_region *there;

    pthread_mutex_lock(&regions.lock);
    there = again(r);
    if (there != NULL && there->wanted && !there->shown) {
        there->wanted = false;
        atomic_fetch_sub(&wanted_count, 1);
    }
    pthread_mutex_unlock(&regions.lock);
}

/* Under show_lock: r is a copy. */
static CUresult
show(struct fe_host_region *r)
{
    CUresult cr;

    if (!show_begin(r))
        return CUDA_SUCCESS;
    r->carrier = carrier_of(r);
    if (r->carrier == NULL) { /* nothing works that could use it */
        show_end(r, false);
        give_up(r);
        return CUDA_SUCCESS;
    }
    /* From now on its pages are guarded, which a device would not notice. */
    tp_memory_forget((const void *)(uintptr_t)r->base, r->bytes);
    cr = map_on_server(r, &r->device);
    if (cr == CUDA_SUCCESS)
        cr = make_coherent(r);
    if (cr == CUDA_SUCCESS && r->device != r->base)
        fe_displaced_add(r->base, r->bytes, r->device);
    show_end(r, cr == CUDA_SUCCESS);
    /* One that failed meanwhile: the next one is tried. */
    return works(r->carrier) ? cr : CUDA_SUCCESS;
}

CUresult
fe_host_show_wanted(void)
{
    struct fe_host_region r = {0};
    CUresult cr = CUDA_SUCCESS;
    bool found = true;

    if (!fe_host_any_wanted())
        return CUDA_SUCCESS;
    pthread_mutex_lock(&show_lock);
    while (found && cr == CUDA_SUCCESS) {
        found = false;
        pthread_mutex_lock(&regions.lock);
        for (size_t i = 0; i < regions.count && !found; i++) {
            found = regions.list[i].wanted && !regions.list[i].shown;
            if (found)
                r = regions.list[i];
        }
        pthread_mutex_unlock(&regions.lock);
        if (found)
            cr = show(&r);
    }
    pthread_mutex_unlock(&show_lock);
    return cr;
}

bool
fe_host_elsewhere(const struct fe_session *session, uint64_t address)
{
    struct fe_host_region r;

    return fe_sessions()->count > 1 &&
           atomic_load_explicit(&shown_count, memory_order_acquire) != 0 &&
           fe_host_find(address, &r) && r.shown && r.owner->head.session != session;
}

uint64_t
fe_host_device(uint64_t address)
{
    struct fe_host_region r;

    if (atomic_load_explicit(&shown_count, memory_order_acquire) == 0 ||
        !fe_host_find(address, &r) || !r.shown)
        return address;
    return r.device + (address - r.base);
}

bool
fe_host_shown(uint64_t address, uint64_t bytes)
{
    struct fe_host_region r;

    return atomic_load_explicit(&shown_count, memory_order_acquire) != 0 &&
           fe_host_find(address, &r) && r.shown && bytes <= r.bytes - (address - r.base);
}

GP_EXPORT CUresult
cuMemHostGetDevicePointer_v2(CUdeviceptr *device, void *memory, unsigned int flags)
{
    uint64_t address = (uint64_t)(uintptr_t)memory;
    struct fe_context *ctx = NULL;
    struct fe_host_region r;
    CUresult cr = local_context(&ctx);

    if (cr != CUDA_SUCCESS)
        return cr;
    if (device == NULL || flags != 0)
        return CUDA_ERROR_INVALID_VALUE;
    if (!fe_host_find(address, &r)) {
        if (!fe_managed_find(address, NULL))
            return CUDA_ERROR_INVALID_VALUE;
        *device = address;
        return CUDA_SUCCESS;
    }
    fe_host_want(address);
    /* Pinned memory lies where the server has nothing; of the program's own it must be asked. */
    if (r.registered || r.base < PLACES || r.base >= PLACES_END)
        cr = fe_host_show_wanted();
    if (cr == CUDA_SUCCESS)
        *device = fe_host_device(address);
    return cr;
}

GP_EXPORT CUresult
cuMemHostGetDevicePointer(CUdeviceptr_v1 *device, void *memory, unsigned int flags)
{
    CUdeviceptr wide = 0;
    CUresult cr = cuMemHostGetDevicePointer_v2(device != NULL ? &wide : NULL, memory, flags);

    if (cr != CUDA_SUCCESS)
        return cr;
    if (wide > UINT32_MAX)
        return CUDA_ERROR_INVALID_VALUE;
    *device = (CUdeviceptr_v1)wide;
    return CUDA_SUCCESS;
}
