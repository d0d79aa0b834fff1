/* frontend/cuda/move.c -- bytes of coherent memory on their way between the program and the server
 */
#include "frontend/cuda/coherent_priv.h"
#include "frontend/cuda/ask.h"
#include "frontend/cuda/host.h"
#include "protocol/base/log.h"
#include "protocol/base/tsan.h"
#include "protocol/base/util.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define PUSH_BYTES      (4ull << 20)
#define FETCH_PAGES     256u /* of one request */
#define FETCH_AT_ONCE   4u
#define TWINS_MAX       (256ull << 20) /* of managed memory; above it whole pages are sent */
#define RUNS_MAX        32u            /* of bytes in one page that are sent alone */
#define FETCH_IN_FLIGHT 1u
#define FETCH_ONLY_BITS 2u

static struct {
    uint64_t pushed, fetched; /* bytes */
    uint64_t twins;           /* bytes that managed memory keeps now */
    int self;                 /* /proc/self/mem; -1: not tried, -2: not to be had */
    int self_pid;
} move = {.self = -1};

void
fe_move_stats(struct fe_coherent_stats *stats_p)
{
    stats_p->pushed = move.pushed;
    stats_p->fetched = move.fetched;
}

CUresult
fe_move_protect(const struct fe_region *r, uint64_t first, uint64_t count, enum fe_page state)
{
    static bool told;
    int prot = fe_page_is_dirty(state)  ? PROT_READ | PROT_WRITE
               : state == FE_PAGE_CLEAN ? PROT_READ
                                        : PROT_NONE;

    if (mprotect((void *)(uintptr_t)(r->info.base + first * FE_PAGE_BYTES), count * FE_PAGE_BYTES,
                 prot) == 0)
        return CUDA_SUCCESS;
    if (!told)
        log_error("cannot protect %llu bytes at 0x%llx: %m (vm.max_map_count may be too low)",
                  (unsigned long long)(count * FE_PAGE_BYTES),
                  (unsigned long long)(r->info.base + first * FE_PAGE_BYTES));
    told = true;
    return CUDA_ERROR_OUT_OF_MEMORY;
}

/* Write where the program may not: by way of /proc, so that no other thread of it sees half of
 * it, else by taking the protection away for a moment. */
static void
write_under(const struct fe_region *r, uint64_t address, const uint8_t *bytes, size_t len)
{
    uint64_t first, count;

    if (move.self == -1 || (move.self >= 0 && move.self_pid != (int)getpid())) {
        move.self = open("/proc/self/mem", O_RDWR | O_CLOEXEC);
        move.self_pid = (int)getpid();
        if (move.self < 0)
            move.self = -2;
    }
    while (move.self >= 0 && len > 0) {
        ssize_t n = pwrite(move.self, bytes, len, (off_t)address);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break;
        address += (uint64_t)n;
        bytes += n;
        len -= (size_t)n;
    }
    if (len == 0)
        return;
    first = (address - r->info.base) / FE_PAGE_BYTES;
    count = (address + len - 1 - r->info.base) / FE_PAGE_BYTES - first + 1;
    if (fe_move_protect(r, first, count, FE_PAGE_DIRTY) != CUDA_SUCCESS)
        return;
    memcpy((void *)(uintptr_t)address, bytes, len);
    (void)fe_move_protect(r, first, count, FE_PAGE_STALE);
}

/* The next part of [*at, end) that is the region's; false at the end. */
static bool
next_extent(const struct fe_region *r, uint64_t *at, uint64_t end, struct fe_extent *part)
{
    if (r->extents == NULL) {
        *part = (struct fe_extent){*at, end - *at};
        *at = end;
        return part->bytes > 0;
    }
    for (size_t i = 0; i < r->extents_count && *at < end; i++) {
        const struct fe_extent *e = &r->extents[i];

        if (e->base + e->bytes <= *at)
            continue;
        if (e->base >= end)
            break;
        part->base = gp_max_u64(e->base, *at);
        part->bytes = gp_min_u64(e->base + e->bytes, end) - part->base;
        *at = part->base + part->bytes;
        return true;
    }
    return false;
}

/* --- to the server -------------------------------------------------------------- */

static CUresult
post_push(struct fe_session *session, uint64_t address, uint64_t bytes)
{
    struct wire_gpPagesPush_args args = {.address = address};
    struct fe_call call;
    CUresult cr = fe_enter_on(&call, WIRE_CALL_gpPagesPush, session);
    void *to;

    if (cr != CUDA_SUCCESS)
        return cr;
    fe_host_look(address, (const void *)(uintptr_t)address, bytes);
    while (bytes > 0 && cr == CUDA_SUCCESS) {
        size_t part = (size_t)gp_min_u64(bytes, PUSH_BYTES);

        args.data_len = (uint32_t)part;
        to = fe_post_tail(&call, WIRE_HEAD_gpPagesPush_args, (const void *)(uintptr_t)args.address,
                          part);
        if (to == NULL) {
            cr = fe_lost(&call);
            break;
        }
        wire_head_gpPagesPush_args(to, &args);
        fe_post_done(&call);
        move.pushed += part;
        args.address += part;
        bytes -= part;
    }
    return fe_leave(&call, cr);
}

static CUresult
push_range(const struct fe_region *r, uint64_t from, uint64_t to)
{
    struct fe_extent part;
    CUresult cr = CUDA_SUCCESS;

    while (cr == CUDA_SUCCESS && next_extent(r, &from, to, &part))
        cr = post_push(r->info.session, part.base, part.bytes);
    return cr;
}

static uint8_t *
twin_of(const struct fe_region *r, uint64_t page)
{
    return r->twins + page * FE_PAGE_BYTES;
}

static const uint8_t *
page_of(const struct fe_region *r, uint64_t page)
{
    return (const uint8_t *)(uintptr_t)(r->info.base + page * FE_PAGE_BYTES);
}

/* Runs of bytes of managed memory, which the server cannot write by byte itself. Very many in a
 * page are sent as the page. */
static CUresult
push_runs(const struct fe_region *r, uint64_t page)
{
    const uint8_t *now = page_of(r, page), *twin = twin_of(r, page);
    uint16_t from[RUNS_MAX], to[RUNS_MAX];
    uint64_t base = r->info.base + page * FE_PAGE_BYTES;
    unsigned runs = 0;
    CUresult cr = CUDA_SUCCESS;

    for (unsigned at = 0; at < FE_PAGE_BYTES; at++) {
        if (now[at] == twin[at])
            continue;
        if (runs == RUNS_MAX)
            return push_range(r, base, base + FE_PAGE_BYTES);
        from[runs] = (uint16_t)at;
        while (at < FE_PAGE_BYTES && now[at] != twin[at])
            at++;
        to[runs++] = (uint16_t)at;
    }
    for (unsigned i = 0; i < runs && cr == CUDA_SUCCESS; i++)
        cr = push_range(r, base + from[i], base + to[i]);
    return cr;
}

/* Only the bytes that the program wrote. */
static CUresult
push_merge(struct fe_region *r, uint64_t page)
{
    uint8_t mask[FE_PAGE_BYTES / 8], data[FE_PAGE_BYTES];
    struct wire_gpPagesMerge_args args = {.address = r->info.base + page * FE_PAGE_BYTES,
                                          .mask = mask,
                                          .mask_len = sizeof(mask),
                                          .data = data};
    struct fe_call call;
    CUresult cr;

    if (r->info.kind != FE_REGION_HOST)
        return push_runs(r, page);
    args.data_len =
        (uint32_t)fe_bytes_changed(page_of(r, page), twin_of(r, page), FE_PAGE_BYTES, mask, data);
    if (args.data_len == 0)
        return CUDA_SUCCESS;
    fe_host_look(args.address, page_of(r, page), FE_PAGE_BYTES);
    cr = fe_enter_on(&call, WIRE_CALL_gpPagesMerge, r->info.session);
    if (cr != CUDA_SUCCESS)
        return cr;
    FE_TELL(cr, &call, gpPagesMerge, &args);
    if (cr == CUDA_SUCCESS)
        move.pushed += args.data_len;
    return fe_leave(&call, cr);
}

static bool
all_zero(const uint8_t *page)
{
    uint64_t first;

    memcpy(&first, page, sizeof(first));
    return first == 0 && memcmp(page, page + sizeof(first), FE_PAGE_BYTES - sizeof(first)) == 0;
}

/* Whether the server has this page as it is. */
static bool
unchanged(const struct fe_region *r, uint64_t page)
{
    if (fe_pages_state(&r->pages, page) == FE_PAGE_TWIN)
        return memcmp(page_of(r, page), twin_of(r, page), FE_PAGE_BYTES) == 0;
    return r->fresh && all_zero(page_of(r, page));
}

CUresult
fe_move_push(struct fe_region *r, uint64_t first, uint64_t count, bool merge)
{
    uint64_t end = first + count, from = first;
    CUresult cr = CUDA_SUCCESS;

    GP_TSAN_READS_GUARDED();
    for (uint64_t page = first; page < end && cr == CUDA_SUCCESS; page++) {
        bool by_byte = merge && fe_pages_state(&r->pages, page) == FE_PAGE_TWIN;

        if (!by_byte && !unchanged(r, page))
            continue;
        if (from < page)
            cr = push_range(r, r->info.base + from * FE_PAGE_BYTES,
                            r->info.base + page * FE_PAGE_BYTES);
        if (cr == CUDA_SUCCESS && by_byte)
            cr = push_merge(r, page);
        from = page + 1;
    }
    if (from < end && cr == CUDA_SUCCESS)
        cr = push_range(r, r->info.base + from * FE_PAGE_BYTES, r->info.base + end * FE_PAGE_BYTES);
    GP_TSAN_READS_GUARDED_DONE();
    return cr;
}

/* --- from the server ------------------------------------------------------------ */

static CUresult
post_fetch(struct fe_session *session, struct fe_call *call, uint64_t address, uint64_t bytes,
           unsigned flags)
{
    struct wire_gpPagesFetch_args args = {.address = address, .bytes = bytes, .flags = flags};
    CUresult cr = fe_enter_on(call, WIRE_CALL_gpPagesFetch, session);
    void *to;

    if (cr != CUDA_SUCCESS)
        return cr;
    to = fe_post(call, wire_size_gpPagesFetch_args(&args));
    if (to == NULL)
        return fe_leave(call, fe_lost(call));
    wire_put_gpPagesFetch_args(to, &args);
    fe_post_done(call);
    return CUDA_SUCCESS;
}

/* What a fetch of [address, address + bytes) brought: each changed part is given to put. */
static CUresult
take_fetch(struct fe_call *call, const struct fe_extent *asked, void *user,
           void (*put)(void *user, uint64_t address, const uint8_t *bytes, size_t len))
{
    struct wire_gpPagesFetch_reply reply;
    uint64_t end = asked->base + asked->bytes, at, page0 = asked->base / FE_PAGE_BYTES;
    const uint8_t *bytes, *data, *until;
    size_t len;
    CUresult cr = fe_wait(call, &bytes, &len);

    if (cr != CUDA_SUCCESS)
        return cr;
    if (!wire_get_gpPagesFetch_reply(bytes, len, &reply))
        return fe_malformed(call);
    data = reply.data;
    until = data + reply.data_len;
    for (at = asked->base; at < end;) {
        uint64_t bit = at / FE_PAGE_BYTES - page0, run = 0;

        /* Pages in a row came in a row. */
        while (at + run < end) {
            uint64_t b = (at + run) / FE_PAGE_BYTES - page0;

            if (b / 8 >= reply.changed_len || (reply.changed[b / 8] >> b % 8 & 1) == 0)
                break;
            run += gp_min_u64(FE_PAGE_BYTES - (at + run) % FE_PAGE_BYTES, end - (at + run));
        }
        if (run == 0) {
            at = (page0 + bit + 1) * FE_PAGE_BYTES;
            continue;
        }
        if (run > (uint64_t)(until - data))
            return fe_malformed(call);
        put(user, at, data, (size_t)run);
        move.fetched += run;
        data += run;
        at += run;
    }
    return data == until ? CUDA_SUCCESS : fe_malformed(call);
}

static void
put_under(void *user, uint64_t address, const uint8_t *bytes, size_t len)
{
    write_under(user, address, bytes, len);
}

/* The next request of a fetch: within one extent, and small enough. */
static bool
next_request(const struct fe_region *r, uint64_t *at, uint64_t end, struct fe_extent *part)
{
    if (!next_extent(r, at, end, part))
        return false;
    if (part->bytes > FETCH_PAGES * FE_PAGE_BYTES - part->base % FE_PAGE_BYTES) {
        part->bytes = FETCH_PAGES * FE_PAGE_BYTES - part->base % FE_PAGE_BYTES;
        *at = part->base + part->bytes;
    }
    return true;
}

CUresult
fe_move_fetch(struct fe_region *r, uint64_t first, uint64_t count, bool in_flight)
{
    uint64_t at = r->info.base + first * FE_PAGE_BYTES, end = at + count * FE_PAGE_BYTES;
    struct fe_extent part[FETCH_AT_ONCE];
    struct fe_call call[FETCH_AT_ONCE];
    unsigned posted = 0, taken = 0;
    CUresult cr = CUDA_SUCCESS, one;
    bool more = true;

    while (taken < posted || (more && cr == CUDA_SUCCESS)) {
        struct fe_extent *p = &part[posted % FETCH_AT_ONCE];

        if (more && cr == CUDA_SUCCESS && posted - taken < FETCH_AT_ONCE) {
            more = next_request(r, &at, end, p);
            if (more)
                cr = post_fetch(r->info.session, &call[posted % FETCH_AT_ONCE], p->base, p->bytes,
                                in_flight ? FETCH_IN_FLIGHT : 0);
            if (more && cr == CUDA_SUCCESS)
                posted++;
            continue;
        }
        one = take_fetch(&call[taken % FETCH_AT_ONCE], &part[taken % FETCH_AT_ONCE], r, put_under);
        one = fe_leave(&call[taken % FETCH_AT_ONCE], one);
        taken++;
        if (cr == CUDA_SUCCESS)
            cr = one;
    }
    return cr;
}

bool
fe_move_peek(struct fe_region *r, uint64_t first, uint64_t count)
{
    uint64_t at = r->info.base + first * FE_PAGE_BYTES, end = at + count * FE_PAGE_BYTES;
    struct wire_gpPagesFetch_reply reply;
    struct fe_extent part;
    bool changed = false;

    while (!changed && next_request(r, &at, end, &part)) {
        struct fe_call call;
        const uint8_t *bytes;
        size_t len;
        CUresult cr = post_fetch(r->info.session, &call, part.base, part.bytes,
                                 FETCH_IN_FLIGHT | FETCH_ONLY_BITS);

        if (cr != CUDA_SUCCESS)
            return false;
        cr = fe_wait(&call, &bytes, &len);
        if (cr == CUDA_SUCCESS && !wire_get_gpPagesFetch_reply(bytes, len, &reply))
            cr = fe_malformed(&call);
        for (uint32_t i = 0; cr == CUDA_SUCCESS && i < reply.changed_len; i++)
            changed |= reply.changed[i] != 0;
        if (fe_leave(&call, cr) != CUDA_SUCCESS)
            return false;
    }
    return changed;
}

/* --- twins ------------------------------------------------------------------------ */

bool
fe_move_keep(struct fe_region *r, uint64_t first, uint64_t count)
{
    bool counted = r->info.kind != FE_REGION_HOST;

    if (counted && move.twins + count * FE_PAGE_BYTES > TWINS_MAX)
        return false;
    if (r->twins == NULL) {
        void *at = mmap(NULL, r->info.bytes, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

        if (at == MAP_FAILED)
            return false;
        r->twins = at;
    }
    GP_TSAN_READS_GUARDED();
    memcpy(twin_of(r, first), page_of(r, first), count * FE_PAGE_BYTES);
    GP_TSAN_READS_GUARDED_DONE();
    if (counted)
        move.twins += count * FE_PAGE_BYTES;
    return true;
}

void
fe_move_forget_twins(struct fe_region *r, uint64_t first, uint64_t count)
{
    if (r->twins == NULL)
        return;
    (void)madvise(twin_of(r, first), count * FE_PAGE_BYTES, MADV_DONTNEED);
    if (r->info.kind != FE_REGION_HOST)
        move.twins -= count * FE_PAGE_BYTES;
}

/* --- edges -------------------------------------------------------------------------- */

CUresult
fe_move_push_edge(struct fe_edge *e, bool merge)
{
    const uint8_t *now = (const uint8_t *)(uintptr_t)e->base;
    CUresult cr = CUDA_SUCCESS;

    if (e->pushed && memcmp(now, e->twin, e->bytes) == 0)
        return CUDA_SUCCESS;
    if (!merge || !e->pushed) {
        memcpy(e->twin, now, e->bytes);
        e->pushed = true;
        return post_push(e->session, e->base, e->bytes);
    }
    for (size_t at = 0; at < e->bytes && cr == CUDA_SUCCESS;) {
        size_t n = 0;

        while (at + n < e->bytes && now[at + n] != e->twin[at + n])
            n++;
        if (n > 0) {
            memcpy(e->twin + at, now + at, n);
            cr = post_push(e->session, e->base + at, n);
        }
        at += n + 1;
    }
    return cr;
}

static void
put_edge(void *user, uint64_t address, const uint8_t *bytes, size_t len)
{
    struct fe_edge *e = user;
    size_t at = (size_t)(address - e->base);
    uint8_t *now = (uint8_t *)(uintptr_t)e->base;

    for (size_t i = at; i < at + len; i++) {
        uint8_t theirs = bytes[i - at];

        if (theirs == e->twin[i])
            continue;
        if (now[i] == e->twin[i])
            now[i] = theirs;
        e->twin[i] = theirs;
    }
}

CUresult
fe_move_fetch_edge(struct fe_edge *e, bool in_flight)
{
    struct fe_extent all = {e->base, e->bytes};
    struct fe_call call;
    CUresult cr = post_fetch(e->session, &call, e->base, e->bytes, in_flight ? FETCH_IN_FLIGHT : 0);

    if (cr != CUDA_SUCCESS)
        return cr;
    return fe_leave(&call, take_fetch(&call, &all, e, put_edge));
}
