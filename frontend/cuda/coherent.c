/* frontend/cuda/coherent.c -- regions: what work makes of them, and what the program's touch does
 */
#include "frontend/cuda/coherent_priv.h"
#include "frontend/cuda/fault.h"
#include "frontend/cuda/flight.h"
#include "frontend/cuda/host.h"
#include "frontend/cuda/state.h"
#include "protocol/base/clock.h"
#include "protocol/base/log.h"
#include "protocol/base/util.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define AHEAD_PAGES 1024u /* that one fault brings at most */
#define SMALL_PAGES 16u   /* memory that is brought as a whole */
#define PEEK_PAGES  256u
#define PUMP_MIN_NS (30 * GP_NS_PER_US)
#define PUMP_MAX_NS (1 * GP_NS_PER_MS)

_Atomic unsigned fe_coherent_count;
_Atomic unsigned fe_coherent_watched;
static _Atomic unsigned parts; /* regions and edges */

static struct {
    pthread_mutex_t lock;
    /* Guarded by lock. */
    struct fe_region **list; /* sorted by base, never overlapping */
    size_t count, room;
    struct fe_region *live;
    struct fe_edge **edges;
    size_t edges_count, edges_room;
    uint64_t pump_ns;
    uint64_t faults;
    bool anything; /* what is being posted may touch anything */
} all = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* Around all regions that ever were: what lies outside needs no lock. */
static _Atomic uint64_t bounds_low = UINT64_MAX, bounds_high;

static __thread bool inside __attribute__((tls_model("initial-exec")));

bool
fe_coherent_inside(void)
{
    return inside;
}

static void
lock_all(void)
{
    pthread_mutex_lock(&all.lock);
    inside = true;
}

static void
unlock_all(void)
{
    inside = false;
    pthread_mutex_unlock(&all.lock);
}

static size_t
lower(uint64_t address)
{
    size_t lo = 0, hi = all.count;

    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;

        if (all.list[mid]->info.base + all.list[mid]->info.bytes <= address)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

static struct fe_region *
find(uint64_t address)
{
    size_t i = lower(address);

    return i < all.count && address >= all.list[i]->info.base ? all.list[i] : NULL;
}

/* --- states and protection ---------------------------------------------------------- */

static void
live_add(struct fe_region *r)
{
    if (r->live)
        return;
    r->live = true;
    r->prev = NULL;
    r->next = all.live;
    if (all.live != NULL)
        all.live->prev = r;
    all.live = r;
}

static void
live_remove(struct fe_region *r)
{
    if (!r->live)
        return;
    r->live = false;
    if (r->prev != NULL)
        r->prev->next = r->next;
    else
        all.live = r->next;
    if (r->next != NULL)
        r->next->prev = r->prev;
}

static void
watch(struct fe_region *r)
{
    if (r->watched)
        return;
    r->watched = true;
    atomic_fetch_add(&fe_coherent_watched, 1);
    all.pump_ns = PUMP_MIN_NS;
    fe_fault_ring();
}

static void
unwatch(struct fe_region *r)
{
    if (r->watched)
        atomic_fetch_sub(&fe_coherent_watched, 1);
    r->watched = false;
}

static CUresult
set_pages(struct fe_region *r, uint64_t first, uint64_t count, enum fe_page state)
{
    CUresult cr = fe_move_protect(r, first, count, state);

    if (cr == CUDA_SUCCESS)
        fe_pages_set(&r->pages, first, count, state);
    return cr;
}

/* Send what is dirty; the pages stay, and are the same on both sides. flying: work may have written
 * there since they were fetched, and what it wrote stays beside what the program did. */
static CUresult
flush(struct fe_region *r, bool flying)
{
    /* Nothing that is under way knows of new memory. */
    bool merge = flying && (r->info.kind == FE_REGION_HOST || !r->fresh);
    struct fe_stretch at = {0};
    uint64_t first, count;
    enum fe_page state;
    CUresult cr = CUDA_SUCCESS;

    if (r->pages.dirty == 0)
        return CUDA_SUCCESS;
    while (cr == CUDA_SUCCESS && fe_pages_next(&r->pages, &at, &first, &count, &state)) {
        if (!fe_page_is_dirty(state))
            continue;
        /* From here on nobody writes; who tries waits for the lock. */
        cr = fe_move_protect(r, first, count, FE_PAGE_CLEAN);
        if (cr == CUDA_SUCCESS)
            cr = fe_move_push(r, first, count, merge);
        if (cr == CUDA_SUCCESS && state == FE_PAGE_TWIN)
            fe_move_forget_twins(r, first, count);
        if (cr == CUDA_SUCCESS)
            fe_pages_set(&r->pages, first, count, FE_PAGE_CLEAN);
    }
    if (cr == CUDA_SUCCESS)
        r->fresh = false;
    return cr;
}

/* What the program has is no longer what the server has; nothing is dirty. */
static CUresult
make_stale(struct fe_region *r)
{
    CUresult cr = CUDA_SUCCESS;

    for (size_t i = 0; i < r->pages.runs_count && cr == CUDA_SUCCESS; i++)
        cr = fe_move_protect(r, r->pages.runs[i].first, r->pages.runs[i].count, FE_PAGE_STALE);
    if (cr != CUDA_SUCCESS)
        return cr;
    fe_pages_forget(&r->pages);
    live_remove(r);
    unwatch(r);
    return CUDA_SUCCESS;
}

/* --- around work ----------------------------------------------------------------------- */

/* The server that has the pages is the one that works. */
static bool
is_of(const struct fe_session *session, const struct fe_where *where)
{
    return session == where->stream->object.context->head.session;
}

static bool
may_touch(const struct fe_region *r, const struct fe_where *where, const struct fe_span *spans,
          size_t count, bool *written_p)
{
    bool touched = false;

    if (!is_of(r->info.session, where))
        return false;
    if (spans == NULL) {
        *written_p = !r->info.read_only;
        return r->attach == CU_MEM_ATTACH_GLOBAL ||
               (r->attach == CU_MEM_ATTACH_SINGLE && r->stream == where->stream &&
                r->stream_wire == where->wire);
    }
    *written_p = false;
    for (size_t i = 0; i < count; i++) {
        if (spans[i].address >= r->info.base + r->info.bytes ||
            spans[i].address + spans[i].bytes <= r->info.base)
            continue;
        touched = true;
        *written_p |= spans[i].written;
    }
    return touched;
}

static CUresult
begin_edges(const struct fe_where *where, const struct fe_span *spans, size_t count)
{
    bool flying = all.edges_count > 0 && fe_flight_has(NULL);
    CUresult cr = CUDA_SUCCESS;

    for (size_t i = 0; i < all.edges_count && cr == CUDA_SUCCESS; i++) {
        struct fe_edge *e = all.edges[i];
        bool touched = spans == NULL, written = spans == NULL && !e->read_only;

        for (size_t s = 0; s < count; s++) {
            bool hit = spans[s].address < e->base + e->bytes &&
                       spans[s].address + spans[s].bytes > e->base;

            touched |= hit;
            written |= hit && spans[s].written;
        }
        if (!touched || !is_of(e->session, where))
            continue;
        cr = fe_move_push_edge(e, flying);
        if (cr == CUDA_SUCCESS && written && !e->stale) {
            e->stale = true;
            atomic_fetch_add(&fe_coherent_watched, 1);
        }
    }
    return cr;
}

bool
fe_coherent_guards(void)
{
    return atomic_load(&parts) != 0;
}

static CUresult
begin_regions(const struct fe_where *where, const struct fe_span *spans, size_t count)
{
    CUresult cr = CUDA_SUCCESS;

    for (struct fe_region *r = all.live, *next; r != NULL && cr == CUDA_SUCCESS; r = next) {
        bool written;

        next = r->next;
        if (!may_touch(r, where, spans, count, &written))
            continue;
        cr = flush(r, r->pages.dirty > 0 && fe_flight_has(r));
        if (cr == CUDA_SUCCESS && written)
            cr = make_stale(r);
    }
    return cr;
}

CUresult
fe_coherent_begin(const struct fe_where *where, const struct fe_span *spans, size_t count)
{
    CUresult cr;

    do {
        cr = fe_host_show_wanted();
        if (cr != CUDA_SUCCESS || atomic_load(&parts) == 0)
            return cr; /* nothing is held */
        fe_fault_check();
        lock_all();
        all.anything = spans == NULL;
        cr = begin_regions(where, spans, count);
        if (cr == CUDA_SUCCESS)
            cr = begin_edges(where, spans, count);
        /* What was sent may hold the address of memory that kernels could not reach so far. */
        if (cr != CUDA_SUCCESS || fe_host_any_wanted())
            unlock_all();
        else
            break;
    } while (cr == CUDA_SUCCESS);
    return cr;
}

void
fe_coherent_end(struct fe_call *call, const struct fe_where *where)
{
    bool ring = false;

    if (!inside)
        return; /* there was nothing */
    fe_flight_note(call, where, all.anything);
    for (size_t i = 0; i < all.edges_count; i++)
        ring |= all.edges[i]->stale;
    if (ring) {
        all.pump_ns = PUMP_MIN_NS;
        fe_fault_ring();
    }
    unlock_all();
}

/* --- touches ----------------------------------------------------------------------------- */

/* Which pages a touch of page brings: [*first_p, + *count_p), all stale. */
static void
choose(struct fe_region *r, uint64_t page, uint64_t *first_p, uint64_t *count_p)
{
    uint64_t end;

    *first_p = page;
    *count_p = fe_pages_ahead(&r->pages, &r->pages.fetched, page, AHEAD_PAGES);
    if (page - r->bring_first < r->bring_count) {
        end = r->bring_first + r->bring_count;
        *first_p = r->bring_first;
        r->bring_count = 0;
    } else if (r->pages.count <= SMALL_PAGES) {
        end = r->pages.count;
        *first_p = 0;
    } else {
        return;
    }
    for (uint64_t i = *first_p; i < page; i++)
        if (fe_pages_state(&r->pages, i) != FE_PAGE_STALE)
            *first_p = i + 1;
    for (*count_p = page - *first_p + 1; *first_p + *count_p < end; ++*count_p)
        if (fe_pages_state(&r->pages, *first_p + *count_p) != FE_PAGE_STALE)
            break;
}

static CUresult
bring(struct fe_region *r, uint64_t page)
{
    bool flying = fe_flight_has(r);
    uint64_t first, count;
    CUresult cr;

    choose(r, page, &first, &count);
    cr = fe_move_fetch(r, first, count, flying);
    /* Without a server there is nothing newer than what is here; the next call says so. */
    if (cr != CUDA_SUCCESS)
        log_warn("memory at 0x%llx could not be fetched: what is there may be old",
                 (unsigned long long)(r->info.base + first * FE_PAGE_BYTES));
    if (flying && !r->info.read_only)
        watch(r);
    cr = set_pages(r, first, count, FE_PAGE_CLEAN);
    live_add(r);
    return cr;
}

/* A kernel that runs must see what the program wrote before a flag when it sees the flag: what was
 * written elsewhere goes ahead of what is written now. */
static CUresult
flush_hosts(void)
{
    CUresult cr = CUDA_SUCCESS;

    for (struct fe_region *r = all.live; r != NULL && cr == CUDA_SUCCESS; r = r->next)
        if (r->info.kind == FE_REGION_HOST)
            cr = flush(r, true);
    return cr;
}

static CUresult
dirty(struct fe_region *r, uint64_t page)
{
    uint64_t count = fe_pages_ahead(&r->pages, &r->pages.written, page, AHEAD_PAGES);
    CUresult cr = r->info.kind == FE_REGION_HOST && fe_flight_has(r) ? flush_hosts() : CUDA_SUCCESS;
    bool kept;

    if (cr != CUDA_SUCCESS)
        return cr;
    kept = fe_move_keep(r, page, count);

    /* Where nothing is kept, what was not written would be sent as well. */
    if (!kept)
        count = 1;
    if (fe_flight_has(r) && !r->info.read_only)
        watch(r);
    live_add(r);
    return set_pages(r, page, count, kept ? FE_PAGE_TWIN : FE_PAGE_DIRTY);
}

static bool
resolve(uint64_t address, bool write)
{
    struct fe_region *r = find(address);
    CUresult cr = CUDA_SUCCESS;
    uint64_t page;

    if (r == NULL)
        return false;
    page = (address - r->info.base) / FE_PAGE_BYTES;
    if (fe_pages_state(&r->pages, page) == FE_PAGE_STALE)
        cr = bring(r, page);
    else if (!write || fe_pages_state(&r->pages, page) != FE_PAGE_CLEAN)
        /* Another thread was first. */
        cr = fe_move_protect(r, page, 1, fe_pages_state(&r->pages, page));
    if (cr == CUDA_SUCCESS && write && fe_pages_state(&r->pages, page) == FE_PAGE_CLEAN)
        cr = dirty(r, page);
    return cr == CUDA_SUCCESS;
}

bool
fe_coherent_resolve(uint64_t address, bool write)
{
    bool ours;

    lock_all();
    all.faults++;
    ours = resolve(address, write);
    unlock_all();
    return ours;
}

static bool
may_overlap(uint64_t address, uint64_t bytes)
{
    return fe_coherent_active() && bytes > 0 && !inside &&
           address < atomic_load_explicit(&bounds_high, memory_order_relaxed) &&
           address + bytes > atomic_load_explicit(&bounds_low, memory_order_relaxed);
}

void
fe_coherent_resolve_range(const void *address, size_t bytes, bool write)
{
    uint64_t at = (uint64_t)(uintptr_t)address, end = at + bytes;

    if (!may_overlap(at, bytes))
        return;
    lock_all();
    while (at < end) {
        size_t i = lower(at);

        if (i == all.count || all.list[i]->info.base >= end)
            break;
        at = gp_max_u64(at, all.list[i]->info.base);
        (void)resolve(at, write);
        at = at / FE_PAGE_BYTES * FE_PAGE_BYTES + FE_PAGE_BYTES;
    }
    unlock_all();
}

/* --- touches of what kernels have ------------------------------------------------------------- */

bool
fe_coherent_settled(uint64_t address)
{
    for (;;) {
        struct fe_flight flight;
        struct fe_region *r;
        bool found;

        lock_all();
        r = find(address);
        found =
            r != NULL && r->info.kind != FE_REGION_HOST &&
            fe_pages_state(&r->pages, (address - r->info.base) / FE_PAGE_BYTES) == FE_PAGE_STALE &&
            fe_flight_kernels(r, &flight);
        unlock_all();
        if (!found)
            return true;
        if (!fe_flight_ended(&flight))
            return false;
        lock_all();
        fe_flight_forget(&flight);
        unlock_all();
        if (atomic_load_explicit(&fe_coherent_watched, memory_order_relaxed) != 0)
            fe_coherent_proved();
    }
}

void
fe_coherent_impatient(void)
{
    lock_all();
    fe_flight_give_up();
    unlock_all();
}

/* --- what work does while the program looks --------------------------------------------------- */

/* Completion was proven: what was fetched or written meanwhile is brought up to date. */
void
fe_coherent_proved(void)
{
    bool flying;

    if (inside)
        return;
    lock_all();
    for (struct fe_region *r = all.live, *next; r != NULL; r = next) {
        next = r->next;
        if (!r->watched)
            continue;
        if (flush(r, true) == CUDA_SUCCESS)
            (void)make_stale(r);
    }
    /* Asked once: work that ends meanwhile may write behind the fetch, and the edge stays stale. */
    flying = all.edges_count > 0 && fe_flight_has(NULL);
    for (size_t i = 0; i < all.edges_count; i++) {
        struct fe_edge *e = all.edges[i];

        if (!e->stale || fe_move_push_edge(e, true) != CUDA_SUCCESS ||
            fe_move_fetch_edge(e, flying) != CUDA_SUCCESS)
            continue;
        if (!flying) {
            e->stale = false;
            atomic_fetch_sub(&fe_coherent_watched, 1);
        }
    }
    unlock_all();
}

/* Whether the server has anything else of the pages that the program saw. */
static bool
changed(struct fe_region *r)
{
    struct fe_stretch at = {0};
    uint64_t first, count, budget = PEEK_PAGES;
    enum fe_page state;

    while (budget > 0 && fe_pages_next(&r->pages, &at, &first, &count, &state)) {
        uint64_t n = gp_min_u64(count, budget);

        if (fe_move_peek(r, first, n))
            return true;
        budget -= n;
    }
    /* More than can be looked at: the program shall look again. */
    return budget == 0;
}

uint64_t
fe_coherent_pump(void)
{
    bool again = false, news = false;

    lock_all();
    if (fe_flight_has(NULL)) {
        for (struct fe_region *r = all.live; r != NULL; r = r->next) {
            if (!r->watched || r->info.kind != FE_REGION_HOST)
                continue;
            again = true;
            news |= flush(r, true) != CUDA_SUCCESS || changed(r);
        }
        /* All at once: what was written ahead of a flag must be there when the flag is seen. */
        for (struct fe_region *r = all.live, *next; news && r != NULL; r = next) {
            next = r->next;
            if (r->watched && r->info.kind == FE_REGION_HOST && flush(r, true) == CUDA_SUCCESS)
                (void)make_stale(r);
        }
        for (size_t i = 0; i < all.edges_count; i++) {
            struct fe_edge *e = all.edges[i];

            again |= e->stale;
            if (e->stale && fe_move_push_edge(e, true) == CUDA_SUCCESS)
                (void)fe_move_fetch_edge(e, true);
        }
    }
    all.pump_ns =
        news ? PUMP_MIN_NS : gp_min_u64(gp_max_u64(all.pump_ns * 2, PUMP_MIN_NS), PUMP_MAX_NS);
    unlock_all();
    return again ? all.pump_ns : 0;
}

/* --- coming and going
 * ----------------------------------------------------------------------------- */

static bool
list_room(void)
{
    if (all.count == all.room) {
        size_t room = all.room == 0 ? 64 : 2 * all.room;
        struct fe_region **list = realloc(all.list, room * sizeof(struct fe_region *));

        if (list == NULL)
            return false;
        all.list = list;
        all.room = room;
    }
    return true;
}

/* Under the lock. */
static CUresult
add(const struct fe_region_info *info, struct fe_region **region_p)
{
    size_t i = lower(info->base);
    struct fe_region *r;
    CUresult cr = CUDA_SUCCESS;

    if (i < all.count && all.list[i]->info.base < info->base + info->bytes)
        return CUDA_ERROR_ALREADY_MAPPED;
    r = calloc(1, sizeof(*r));
    if (r == NULL || !list_room() || !fe_pages_init(&r->pages, info->bytes / FE_PAGE_BYTES)) {
        free(r);
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    r->info = *info;
    r->attach = CU_MEM_ATTACH_GLOBAL;
    r->fresh = true;
    cr = set_pages(r, 0, r->pages.count, info->dirty ? FE_PAGE_DIRTY : FE_PAGE_CLEAN);
    if (cr != CUDA_SUCCESS) {
        fe_pages_fini(&r->pages);
        free(r);
        return cr;
    }
    live_add(r);
    if (info->base < atomic_load(&bounds_low))
        atomic_store(&bounds_low, info->base);
    if (info->base + info->bytes > atomic_load(&bounds_high))
        atomic_store(&bounds_high, info->base + info->bytes);
    memmove(&all.list[i + 1], &all.list[i], (all.count++ - i) * sizeof(struct fe_region *));
    all.list[i] = r;
    atomic_fetch_add(&parts, 1);
    atomic_fetch_add(&fe_coherent_count, 1);
    if (region_p != NULL)
        *region_p = r;
    return CUDA_SUCCESS;
}

CUresult
fe_coherent_add(const struct fe_region_info *info)
{
    CUresult cr = fe_fault_start();

    if (cr != CUDA_SUCCESS)
        return cr;
    lock_all();
    cr = add(info, NULL);
    unlock_all();
    return cr;
}

/* The program's again: it may do what it likes. */
static void
release(size_t i)
{
    struct fe_region *r = all.list[i];
    struct fe_stretch at = {0};
    uint64_t first, count, from = 0;
    enum fe_page state;

    /* What kernels wrote to memory of the program's own stays there. */
    if (r->info.own) {
        (void)flush(r, fe_flight_has(r));
        for (uint64_t page = 0; page < r->pages.count; page++)
            if (fe_pages_state(&r->pages, page) != FE_PAGE_STALE) {
                if (page > from)
                    (void)fe_move_fetch(r, from, page - from, false);
                from = page + 1;
            }
        if (from < r->pages.count)
            (void)fe_move_fetch(r, from, r->pages.count - from, false);
    }
    while (fe_pages_next(&r->pages, &at, &first, &count, &state))
        if (state == FE_PAGE_TWIN)
            fe_move_forget_twins(r, first, count);
    (void)fe_move_protect(r, 0, r->pages.count, FE_PAGE_DIRTY);
    live_remove(r);
    unwatch(r);
    if (r->info.kind == FE_REGION_VARIABLE)
        munmap((void *)(uintptr_t)r->info.base, r->info.bytes);
    if (r->twins != NULL)
        munmap(r->twins, r->info.bytes);
    fe_pages_fini(&r->pages);
    free(r->extents);
    free(r);
    memmove(&all.list[i], &all.list[i + 1], (--all.count - i) * sizeof(struct fe_region *));
    atomic_fetch_sub(&parts, 1);
    atomic_fetch_sub(&fe_coherent_count, 1);
}

static void
release_edge(size_t i)
{
    struct fe_edge *e = all.edges[i];

    if (e->stale) {
        (void)fe_move_push_edge(e, true);
        (void)fe_move_fetch_edge(e, false);
        atomic_fetch_sub(&fe_coherent_watched, 1);
    }
    free(e);
    all.edges[i] = all.edges[--all.edges_count];
    atomic_fetch_sub(&parts, 1);
    atomic_fetch_sub(&fe_coherent_count, 1);
}

void
fe_coherent_remove(uint64_t base, uint64_t bytes)
{
    size_t i;

    lock_all();
    for (i = lower(base); i < all.count && all.list[i]->info.base < base + bytes;)
        release(i);
    for (i = all.edges_count; i-- > 0;)
        if (all.edges[i]->base >= base && all.edges[i]->base < base + bytes)
            release_edge(i);
    unlock_all();
}

/* The variables of a library; true if none is left. */
static bool
drop_extents(struct fe_region *r, const void *key)
{
    size_t kept = 0;

    for (size_t i = 0; i < r->extents_count; i++)
        if (r->extents[i].key != key)
            r->extents[kept++] = r->extents[i];
    r->extents_count = kept;
    return kept == 0;
}

void
fe_coherent_drop(const void *key)
{
    lock_all();
    for (size_t i = all.count; i-- > 0;)
        if (all.list[i]->info.owner == key ||
            (all.list[i]->info.kind == FE_REGION_VARIABLE && drop_extents(all.list[i], key)))
            release(i);
    for (size_t i = all.edges_count; i-- > 0;)
        if (all.edges[i]->key == key)
            release_edge(i);
    unlock_all();
}

CUresult
fe_coherent_add_edge(const struct fe_region_info *info)
{
    struct fe_edge *e = calloc(1, sizeof(*e));
    CUresult cr = fe_fault_start();

    if (e == NULL || cr != CUDA_SUCCESS) {
        free(e);
        return cr != CUDA_SUCCESS ? cr : CUDA_ERROR_OUT_OF_MEMORY;
    }
    e->base = info->base;
    e->bytes = info->bytes;
    e->session = info->session;
    e->key = info->owner;
    e->read_only = info->read_only;
    lock_all();
    if (all.edges_count == all.edges_room) {
        size_t room = all.edges_room == 0 ? 16 : 2 * all.edges_room;
        struct fe_edge **edges = realloc(all.edges, room * sizeof(struct fe_edge *));

        if (edges != NULL) {
            all.edges = edges;
            all.edges_room = room;
        }
    }
    if (all.edges_count < all.edges_room) {
        all.edges[all.edges_count++] = e;
        atomic_fetch_add(&parts, 1);
        atomic_fetch_add(&fe_coherent_count, 1);
    } else {
        free(e);
        cr = CUDA_ERROR_OUT_OF_MEMORY;
    }
    unlock_all();
    return cr;
}

/* --- variables
 * -------------------------------------------------------------------------------------- */

/* The server has a value of it that we never saw: the pages are stale afterwards. */
static CUresult
add_extent(struct fe_region *r, uint64_t base, uint64_t end, const void *key)
{
    CUresult cr = flush(r, false);
    struct fe_extent *extents;
    size_t i = r->extents_count;

    if (cr != CUDA_SUCCESS)
        return cr;
    extents = realloc(r->extents, (r->extents_count + 1) * sizeof(*extents));
    if (extents == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    r->extents = extents;
    while (i > 0 && extents[i - 1].base > base) {
        extents[i] = extents[i - 1];
        i--;
    }
    extents[i] = (struct fe_extent){base, end - base, key};
    r->extents_count++;
    return make_stale(r);
}

/* A variable that was asked for before. */
static bool
has_extent(const struct fe_region *r, uint64_t address)
{
    for (size_t i = 0; i < r->extents_count; i++)
        if (address - r->extents[i].base < r->extents[i].bytes)
            return true;
    return false;
}

/* Pages that hold no variable yet. */
static CUresult
map_variable(uint64_t from, uint64_t to, struct fe_session *session, struct fe_region **region_p)
{
    struct fe_region_info info = {
        .kind = FE_REGION_VARIABLE, .base = from, .bytes = to - from, .session = session};
    void *want = (void *)(uintptr_t)from, *got;
    CUresult cr;

    got = mmap(want, to - from, PROT_NONE,
               MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0);
    if (got != MAP_FAILED && got != want)
        munmap(got, to - from);
    if (got != want) {
        log_error("managed variable at 0x%llx: that address is taken in this process",
                  (unsigned long long)from);
        return CUDA_ERROR_NOT_SUPPORTED;
    }
    cr = add(&info, region_p);
    if (cr != CUDA_SUCCESS)
        munmap(got, to - from);
    return cr;
}

CUresult
fe_coherent_add_variable(uint64_t address, uint64_t bytes, struct fe_session *session,
                         const void *key)
{
    uint64_t end = address + bytes, at = address;
    CUresult cr = fe_fault_start();

    if (cr != CUDA_SUCCESS || bytes == 0 || end < address)
        return cr;
    lock_all();
    while (at < end && cr == CUDA_SUCCESS) {
        size_t i = lower(at);
        struct fe_region *r = i < all.count ? all.list[i] : NULL;
        uint64_t page = at / FE_PAGE_BYTES * FE_PAGE_BYTES, to = end;

        if (r == NULL || r->info.base > at) {
            to = gp_align_up_u64(end, FE_PAGE_BYTES);
            if (r != NULL)
                to = gp_min_u64(to, r->info.base);
            cr = map_variable(page, to, session, &r);
        } else if (r->info.kind != FE_REGION_VARIABLE || r->info.session != session) {
            cr = CUDA_ERROR_NOT_SUPPORTED;
        }
        if (cr != CUDA_SUCCESS)
            break;
        to = gp_min_u64(end, r->info.base + r->info.bytes);
        if (!has_extent(r, at))
            cr = add_extent(r, at, to, key);
        at = to;
    }
    unlock_all();
    return cr;
}

/* --- hints
 * ---------------------------------------------------------------------------------------------- */

void
fe_coherent_attach(uint64_t address, unsigned flags, const struct fe_where *where)
{
    struct fe_region *r;

    lock_all();
    r = find(address);
    if (r != NULL) {
        r->attach = flags;
        r->stream = where->stream;
        r->stream_wire = where->wire;
    }
    unlock_all();
}

void
fe_coherent_bring(uint64_t address, uint64_t bytes)
{
    struct fe_region *r;

    lock_all();
    r = find(address);
    if (r != NULL) {
        r->bring_first = (address - r->info.base) / FE_PAGE_BYTES;
        r->bring_count =
            gp_min_u64((address + bytes - 1 - r->info.base) / FE_PAGE_BYTES + 1, r->pages.count) -
            r->bring_first;
    }
    unlock_all();
}

/* --- fork
 * -------------------------------------------------------------------------------------------------
 */

/* The child gets a list that nobody is changing. */
static void
fork_prepare(void)
{
    lock_all();
}

static void
fork_done(void)
{
    unlock_all();
}

void
fe_coherent_forks(void)
{
    (void)pthread_atfork(fork_prepare, fork_done, fork_done);
}

bool
fe_coherent_orphan(uint64_t address)
{
    struct fe_region *r = find(address);

    return r != NULL && fe_move_protect(r, (address - r->info.base) / FE_PAGE_BYTES, 1,
                                        FE_PAGE_DIRTY) == CUDA_SUCCESS;
}

void
fe_coherent_stats(struct fe_coherent_stats *stats_p)
{
    lock_all();
    fe_move_stats(stats_p);
    stats_p->faults = all.faults;
    unlock_all();
}
