/* backend/cuda/pages.c -- what gpManaged, gpHostMap and gpPages* ask for */
#include "backend/cuda/pages.h"

#include "backend/cuda/state.h"
#include "be_hooks.h"
#include "protocol/base/log.h"
#include "protocol/base/util.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define FETCH_IN_FLIGHT 1u
#define FETCH_ONLY_BITS 2u
#define STEADY_TRIES    16 /* readings of memory that a kernel writes, until two agree */
#define HOST_SHARE      4  /* host memory of a session: this part of the machine's */

/* -- digests ------------------------------------------------------------------------------- */

static uint64_t
fold(uint64_t a, uint64_t b)
{
    unsigned __int128 product = (unsigned __int128)a * b;

    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

/* Each step is a bijection of its lane, so that one changed word always shows in the lanes; the
 * end folds four of them into two. Not against an enemy: a client could only deceive itself. */
struct be_digest
be_digest_of(const uint8_t *bytes, size_t len)
{
    static const uint64_t odd[4] = {0x9e3779b97f4a7c15ull, 0xbf58476d1ce4e5b9ull,
                                    0x94d049bb133111ebull, 0xd6e8feb86659fd93ull};
    uint64_t lane[4] = {len, ~(uint64_t)len, odd[2], odd[3]};
    uint64_t word[4];
    struct be_digest d;

    for (size_t at = 0; at < len; at += sizeof(word)) {
        size_t n = len - at < sizeof(word) ? len - at : sizeof(word);

        if (n < sizeof(word))
            memset(word, 0, sizeof(word));
        memcpy(word, bytes + at, n);
        for (int i = 0; i < 4; i++) {
            uint64_t x = (lane[i] ^ word[i]) * odd[i];

            lane[i] = x << 29 | x >> 35;
        }
    }
    d.a = fold(lane[0] ^ odd[1], lane[1] ^ odd[2]) + lane[2] * odd[3];
    d.b = (fold(lane[2] ^ odd[0], lane[3] ^ odd[1]) ^ lane[0] * odd[2]) | 1;
    return d;
}

static bool
same(struct be_digest x, struct be_digest y)
{
    return x.a == y.a && x.b == y.b;
}

static const struct be_digest unknown = {1, 0};

/* Whether both sides last had these bytes. */
static bool
known_as(const struct be_pages_region *r, struct be_digest known, const uint8_t *bytes, size_t len,
         struct be_digest now)
{
    static const uint8_t zeros[BE_PAGE_BYTES];

    if (known.a == 0 && known.b == 0)
        return r->kind != BE_REGION_VARIABLE && memcmp(bytes, zeros, len) == 0;
    return same(known, now);
}

/* -- the list -------------------------------------------------------------------------------- */

void
be_pages_init(struct be_pages *pages, const struct be_driver_table *driver)
{
    long count = sysconf(_SC_PHYS_PAGES), size = sysconf(_SC_PAGESIZE);

    memset(pages, 0, sizeof(*pages));
    pages->host.driver = driver;
    pages->host.bytes_max =
        count > 0 && size > 0 ? (uint64_t)count * (uint64_t)size / HOST_SHARE : 1ull << 30;
}

/* Index of the first region that ends above address. */
static size_t
lower(const struct be_pages *pages, uint64_t address)
{
    size_t lo = 0, hi = pages->count;

    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;

        if (pages->list[mid]->base + pages->list[mid]->bytes <= address)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

/* The region that holds all of a range. */
static struct be_pages_region *
region_find(const struct be_pages *pages, uint64_t address, uint64_t bytes)
{
    size_t i = lower(pages, address);
    struct be_pages_region *r = i < pages->count ? pages->list[i] : NULL;

    return r != NULL && address >= r->base && address - r->base <= r->bytes &&
                   bytes <= r->bytes - (address - r->base)
               ? r
               : NULL;
}

static uint64_t
pages_of(const struct be_pages_region *r)
{
    return (r->base + r->bytes - 1) / BE_PAGE_BYTES - r->base / BE_PAGE_BYTES + 1;
}

static struct be_digest *
digest_at(const struct be_pages_region *r, uint64_t address)
{
    return &r->digests[address / BE_PAGE_BYTES - r->base / BE_PAGE_BYTES];
}

/* Memory for the digests comes as it is touched. */
static bool
digests_make(struct be_pages_region *r)
{
    void *at = mmap(NULL, pages_of(r) * sizeof(*r->digests), PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    r->digests = at != MAP_FAILED ? at : NULL;
    return r->digests != NULL;
}

static CUresult
region_add(struct be_pages *pages, const struct be_pages_region *what)
{
    size_t i = lower(pages, what->base);
    struct be_pages_region *r;

    if (pages->count >= BE_PAGES_REGIONS)
        return CUDA_ERROR_OUT_OF_MEMORY;
    if (i < pages->count && pages->list[i]->base < what->base + what->bytes)
        return CUDA_ERROR_INVALID_VALUE;
    if (pages->image == NULL)
        pages->image = malloc(BE_PAGES_FETCH);
    if (pages->count == pages->room) {
        size_t room = pages->room == 0 ? 64 : 2 * pages->room;
        void *list = realloc(pages->list, room * sizeof(*pages->list));

        if (list == NULL)
            return CUDA_ERROR_OUT_OF_MEMORY;
        pages->list = list;
        pages->room = room;
    }
    r = malloc(sizeof(*r));
    if (r == NULL || pages->image == NULL) {
        free(r);
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    *r = *what;
    if (!digests_make(r)) {
        free(r);
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    memmove(&pages->list[i + 1], &pages->list[i], (pages->count++ - i) * sizeof(*pages->list));
    pages->list[i] = r;
    return CUDA_SUCCESS;
}

static void
region_remove(struct be_pages *pages, size_t i)
{
    struct be_pages_region *r = pages->list[i];

    if (r->kind == BE_REGION_HOST)
        be_host_unmap(&pages->host, r->local, r->bytes);
    munmap(r->digests, pages_of(r) * sizeof(*r->digests));
    free(r);
    memmove(&pages->list[i], &pages->list[i + 1], (--pages->count - i) * sizeof(*pages->list));
}

void
be_pages_drop(struct be_session *session, const void *gone)
{
    struct be_pages *pages = &session->pages;

    for (size_t i = pages->count; i-- > 0;)
        if (pages->list[i]->context == gone || pages->list[i]->owner == gone)
            region_remove(pages, i);
}

void
be_pages_destroy(struct be_session *session)
{
    struct be_pages *pages = &session->pages;

    while (pages->count > 0)
        region_remove(pages, pages->count - 1);
    be_host_destroy(&pages->host);
    if (pages->primary_kept)
        (void)session->driver->table.cuDevicePrimaryCtxRelease_v2(0);
    free(pages->list);
    free(pages->image);
}

bool
be_pages_reach(const struct be_session *session, uint64_t address, uint64_t bytes)
{
    const struct be_pages *pages = &session->pages;

    const struct be_pages_region *named = region_find(pages, address, bytes);

    /* Host memory that lies elsewhere is in the list by the client's address, which is nothing, or
     * something else, here: few, if any. */
    if (named != NULL && named->device == named->base)
        return true;
    for (size_t i = 0; i < pages->count; i++) {
        const struct be_pages_region *r = pages->list[i];

        if (r->device != r->base && address >= r->device && address - r->device <= r->bytes &&
            bytes <= r->bytes - (address - r->device))
            return true;
    }
    return false;
}

/* -- reading and writing ----------------------------------------------------------------------- */

/* Make some context current and give a stream that waits for nothing: the region's own, or the
 * first device's for variables that have none. */
static CUresult
stream_get(struct be_call *call, const struct be_pages_region *r, CUstream *stream_p)
{
    struct be_session *session = call->session;
    struct be_pages *pages = &session->pages;
    CUresult cr;

    if (r->context != NULL) {
        cr = be_use_context(session, r->context);
        return cr == CUDA_SUCCESS ? be_context_pager(r->context, stream_p) : cr;
    }
    if (!pages->primary_kept) {
        cr = call->driver->cuDevicePrimaryCtxRetain(&pages->primary, 0);
        if (cr != CUDA_SUCCESS)
            return cr;
        pages->primary_kept = true;
    }
    session->current = NULL; /* the next call sets its own */
    *stream_p = CU_STREAM_PER_THREAD;
    return call->driver->cuCtxSetCurrent(pages->primary);
}

/* Bytes of a region into pages->image. */
static CUresult
image_read(struct be_call *call, const struct be_pages_region *r, uint64_t address, uint64_t bytes,
           bool in_flight)
{
    uint8_t *image = call->session->pages.image;
    const void *from = (const void *)(uintptr_t)(r->local + (address - r->base));
    CUstream stream;
    CUresult cr;

    if (r->kind == BE_REGION_HOST) {
        memcpy(image, from, bytes);
        /* A flag must not be seen before what was written ahead of it. */
        for (int i = 0; in_flight && i < STEADY_TRIES && memcmp(image, from, bytes) != 0; i++)
            memcpy(image, from, bytes);
        return CUDA_SUCCESS;
    }
    cr = stream_get(call, r, &stream);
    if (cr == CUDA_SUCCESS)
        cr = call->driver->cuMemcpyDtoHAsync_v2(image, r->device + (address - r->base), bytes,
                                                stream);
    if (cr == CUDA_SUCCESS)
        cr = call->driver->cuStreamSynchronize(stream);
    return cr;
}

static CUresult
region_write(struct be_call *call, const struct be_pages_region *r, uint64_t address,
             const uint8_t *data, uint64_t bytes)
{
    CUstream stream;
    CUresult cr;

    if (r->kind == BE_REGION_HOST) {
        memcpy((void *)(uintptr_t)(r->local + (address - r->base)), data, bytes);
        return CUDA_SUCCESS;
    }
    cr = stream_get(call, r, &stream);
    if (cr == CUDA_SUCCESS)
        cr = call->driver->cuMemcpyHtoDAsync_v2(r->device + (address - r->base), data, bytes,
                                                stream);
    if (cr == CUDA_SUCCESS)
        cr = call->driver->cuStreamSynchronize(stream);
    return cr;
}

/* The part of a range that lies in the page around address. */
static uint64_t
in_page(const struct be_pages_region *r, uint64_t address, uint64_t end)
{
    uint64_t page_end = address / BE_PAGE_BYTES * BE_PAGE_BYTES + BE_PAGE_BYTES;

    return gp_min_u64(gp_min_u64(page_end, end), r->base + r->bytes) - address;
}

/* Whether [address, address + bytes) is all that the region has of that page. */
static bool
whole_page(const struct be_pages_region *r, uint64_t address, uint64_t bytes)
{
    uint64_t first = gp_max_u64(address / BE_PAGE_BYTES * BE_PAGE_BYTES, r->base);

    return address == first && bytes == in_page(r, first, UINT64_MAX);
}

/* -- what the client asks for ------------------------------------------------------------------ */

CUresult
be_hook_gpManaged(struct be_call *call, const struct wire_gpManaged_args *args)
{
    struct be_session *session = call->session;
    struct be_pages_region r = {.base = args->address,
                                .bytes = args->bytes,
                                .device = args->address,
                                .kind = BE_REGION_MANAGED,
                                .context = call->context};
    CUstream stream;
    CUresult cr;

    if (args->bytes == 0 || args->address % BE_PAGE_BYTES != 0 ||
        !be_space_inside(session->space, args->address, args->bytes) ||
        !be_space_mapped(session->space, args->address, args->bytes))
        return CUDA_ERROR_INVALID_VALUE;
    cr = region_add(&session->pages, &r);
    if (cr != CUDA_SUCCESS)
        return cr;
    cr = stream_get(call, &r, &stream);
    if (cr == CUDA_SUCCESS)
        cr = call->driver->cuMemsetD8Async(r.device, 0, r.bytes, stream);
    if (cr == CUDA_SUCCESS)
        cr = call->driver->cuStreamSynchronize(stream);
    return cr;
}

CUresult
be_hook_gpHostMap(struct be_call *call, const struct wire_gpHostMap_args *args,
                  struct wire_gpHostMap_reply *reply)
{
    struct be_session *session = call->session;
    struct be_pages *pages = &session->pages;
    struct be_pages_region r = {.base = args->address,
                                .bytes = args->bytes,
                                .kind = BE_REGION_HOST,
                                .context = call->context};
    CUresult cr;

    if (be_space_inside(session->space, args->address, 1))
        return CUDA_ERROR_INVALID_VALUE;
    cr = be_host_map(&pages->host, args->address, args->bytes, &r.local, &r.device);
    if (cr != CUDA_SUCCESS)
        return cr;
    cr = region_add(pages, &r);
    if (cr != CUDA_SUCCESS)
        be_host_unmap(&pages->host, r.local, r.bytes);
    else
        reply->device = r.device;
    return cr;
}

CUresult
be_pages_variable(struct be_call *call, uint64_t address, uint64_t bytes, const void *owner)
{
    struct be_pages *pages = &call->session->pages;
    struct be_pages_region r = {.base = address,
                                .bytes = bytes,
                                .device = address,
                                .kind = BE_REGION_VARIABLE,
                                .owner = owner};
    const struct be_pages_region *there = region_find(pages, address, bytes);

    if (bytes == 0 || (there != NULL && there->owner == owner))
        return CUDA_SUCCESS;
    return region_add(pages, &r);
}

CUresult
be_hook_gpPagesDrop(struct be_call *call, const struct wire_gpPagesDrop_args *args)
{
    struct be_pages *pages = &call->session->pages;
    size_t i = lower(pages, args->address);

    if (i == pages->count || pages->list[i]->base != args->address ||
        pages->list[i]->kind == BE_REGION_VARIABLE)
        return CUDA_ERROR_INVALID_VALUE;
    region_remove(pages, i);
    return CUDA_SUCCESS;
}

CUresult
be_hook_gpPagesPush(struct be_call *call, const struct wire_gpPagesPush_args *args)
{
    struct be_pages_region *r = region_find(&call->session->pages, args->address, args->data_len);
    uint64_t end = args->address + args->data_len;
    CUresult cr;

    if (r == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    cr = region_write(call, r, args->address, args->data, args->data_len);
    for (uint64_t at = args->address; at < end;) {
        uint64_t bytes = in_page(r, at, end);

        *digest_at(r, at) = cr == CUDA_SUCCESS && whole_page(r, at, bytes)
                                ? be_digest_of(args->data + (at - args->address), bytes)
                                : unknown;
        at += bytes;
    }
    return cr;
}

/* Bytes of a page that the program changed, the others stay as kernels have left them. */
CUresult
be_hook_gpPagesMerge(struct be_call *call, const struct wire_gpPagesMerge_args *args)
{
    struct be_pages_region *r =
        region_find(&call->session->pages, args->address, (uint64_t)args->mask_len * 8);
    uint8_t *page, *image = call->session->pages.image;
    uint64_t bytes = (uint64_t)args->mask_len * 8;
    uint32_t used = 0, bits = 0;
    bool agreed;

    for (uint32_t i = 0; i < args->mask_len; i++)
        bits += (uint32_t)__builtin_popcount(args->mask[i]);
    if (r == NULL || r->kind != BE_REGION_HOST || args->mask_len == 0 || bits != args->data_len ||
        args->address % 8 != 0 ||
        args->address / BE_PAGE_BYTES != (args->address + bytes - 1) / BE_PAGE_BYTES)
        return CUDA_ERROR_INVALID_VALUE;
    page = (uint8_t *)(uintptr_t)(r->local + (args->address - r->base));
    memcpy(image, page, bytes);
    agreed = whole_page(r, args->address, bytes) &&
             known_as(r, *digest_at(r, args->address), image, bytes, be_digest_of(image, bytes));
    for (uint32_t word = 0; word < args->mask_len; word++) {
        if (args->mask[word] == 0xff) { /* at once, for a kernel that looks at it */
            uint64_t value;

            memcpy(&value, args->data + used, sizeof(value));
            __atomic_store_n((uint64_t *)(page + word * 8), value, __ATOMIC_RELEASE);
            memcpy(image + word * 8, &value, sizeof(value));
            used += 8;
            continue;
        }
        for (uint32_t i = 0; i < 8; i++) {
            if ((args->mask[word] >> i & 1) == 0)
                continue;
            __atomic_store_n(page + word * 8 + i, args->data[used], __ATOMIC_RELEASE);
            image[word * 8 + i] = args->data[used++];
        }
    }
    /* The program's page is what it was, with its bytes changed: the same as ours only if no
     * kernel wrote there before. */
    *digest_at(r, args->address) = agreed ? be_digest_of(image, bytes) : unknown;
    return CUDA_SUCCESS;
}

CUresult
be_hook_gpPagesFetch(struct be_call *call, const struct wire_gpPagesFetch_args *args,
                     struct wire_gpPagesFetch_reply *reply)
{
    struct be_session *session = call->session;
    struct be_pages_region *r = region_find(&session->pages, args->address, args->bytes);
    uint64_t end = args->address + args->bytes, first = args->address / BE_PAGE_BYTES;
    uint8_t *image = session->pages.image, *to = image;
    static uint8_t changed[40]; /* the executor's, until the reply is made */
    CUresult cr;

    if (r == NULL || args->bytes == 0 || args->bytes > BE_PAGES_FETCH)
        return CUDA_ERROR_INVALID_VALUE;
    cr = image_read(call, r, args->address, args->bytes, (args->flags & FETCH_IN_FLIGHT) != 0);
    if (cr != CUDA_SUCCESS)
        return cr;
    memset(changed, 0, sizeof(changed));
    for (uint64_t at = args->address; at < end;) {
        const uint8_t *from = image + (at - args->address);
        uint64_t bytes = in_page(r, at, end), bit = at / BE_PAGE_BYTES - first;
        struct be_digest *known = digest_at(r, at), now = be_digest_of(from, bytes);
        bool whole = whole_page(r, at, bytes);

        if (!whole || !known_as(r, *known, from, bytes, now)) {
            changed[bit / 8] |= (uint8_t)(1u << bit % 8);
            if ((args->flags & FETCH_ONLY_BITS) == 0) {
                memmove(to, from, bytes); /* never ahead of what is read */
                to += bytes;
                *known = whole ? now : unknown;
            }
        }
        at += bytes;
    }
    reply->changed = changed;
    reply->changed_len = sizeof(changed);
    reply->data = image;
    reply->data_len = (uint32_t)(to - image);
    return CUDA_SUCCESS;
}
