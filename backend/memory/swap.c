/* backend/memory/swap.c */
#include "backend/memory/swap.h"

#include "backend/memory/phys_priv.h"
#include "backend/memory/space_priv.h"
#include "backend/metrics/board.h"
#include "protocol/base/clock.h"
#include "protocol/base/log.h"
#include "protocol/base/util.h"

#include <stdlib.h>
#include <string.h>

/* Extents on their way at a time: so many bytes, or so many of the small ones. */
#define BATCH_BYTES (64ull << 20)
#define BATCH_MAX   64

/* What goes first. */
enum rank {
    RANK_BLANK, /* there is nothing to keep of it */
    RANK_FRESH, /* as it was made, or copied there: no kernel can have been at it since */
    RANK_ANY,
    RANKS
};

struct batch {
    struct be_space *space;
    int32_t device;
    CUstream stream;
    /* Which ones: on their way in, only these; out, of this rank, but these. */
    const struct be_swap_named *named;
    enum rank rank;
    unsigned count;
    uint64_t bytes;
    struct be_extent *extents[BATCH_MAX];
    struct be_kept *kept[BATCH_MAX]; /* where it goes to */
    CUmemGenericAllocationHandle handles[BATCH_MAX];
    bool good[BATCH_MAX];
};

void
be_swap_off(struct be_space *space)
{
    if (space->stash == NULL)
        return;
    for (int d = 0; d < space->driver->device_count; d++)
        be_rooms_detach(space->ledger, (unsigned)d);
    be_stash_destroy(space->stash);
    space->stash = NULL;
}

/* For tests: this step does not work; by dice, so that in the end all steps do. One thread at a
 * time is here. */
bool
be_swap_fault(struct be_space *space)
{
    if (space->fault_every == 0)
        return false;
    space->dice = space->dice * 6364136223846793005ull + 1442695040888963407ull;
    return (space->dice >> 33) % space->fault_every == 0;
}

static bool
stash_fault(void *user)
{
    return be_swap_fault(user);
}

void
be_swap_moved(struct be_space *space, int32_t device, bool in, uint64_t bytes, uint64_t ns)
{
    be_rooms_moved(space->ledger, (unsigned)device, in, bytes, ns);
    be_count(space->row, in ? BE_COUNT_PAGED_IN : BE_COUNT_PAGED_OUT, bytes);
    be_count(space->row, BE_COUNT_PAGING_NS, ns);
}

enum gp_status
be_swap_on(struct be_space *space, const struct be_swap_opts *opts)
{
    const struct be_stash_opts stash = {
        .unit = space->granularity,
        .spill_fd = opts->spill_fd,
        .pack = opts->pack,
        .spill_always = opts->spill_always,
        .fault = stash_fault,
        .user = space,
    };

    space->stash = be_stash_create(space->driver, space->ledger, &stash);
    if (space->stash == NULL)
        return GP_ERR_NO_MEMORY;
    space->fault_every = opts->fault;
    space->row = opts->row;
    for (int d = 0; d < space->driver->device_count; d++)
        be_rooms_attach(space->ledger, (unsigned)d, opts->keep_bytes);
    return GP_OK;
}

static bool
range_touches(const struct be_space *space, const struct be_swap_range *range,
              const struct be_extent *extent)
{
    uint64_t at = be_extent_address(space, extent);

    return range->address < at + be_extent_bytes(space, extent) &&
           at < range->address + range->bytes;
}

/* -- what calls reach -------------------------------------------------------------------------- */

void
be_swap_reached(struct be_space *space)
{
    atomic_fetch_add_explicit(&space->reach, 1, memory_order_relaxed);
}

void
be_swap_quiet(struct be_space *space)
{
    atomic_store_explicit(&space->quiet, atomic_load_explicit(&space->reach, memory_order_relaxed),
                          memory_order_relaxed);
}

/* With the lock held: extents that the ranges touch, each once. *range_p and *at_p begin with 0;
 * NULL at the end. */
static struct be_extent *
named_next(const struct be_space *space, const struct be_swap_named *named, unsigned *range_p,
           uint64_t *at_p)
{
    for (; *range_p < named->count; (*range_p)++, *at_p = 0) {
        const struct be_swap_range *r = &named->ranges[*range_p];

        while (*at_p < r->bytes) {
            struct be_extent *e = be_granules_at(space->map, r->address + *at_p);
            uint64_t step = e != NULL ? be_extent_address(space, e) + be_extent_bytes(space, e)
                                      : gp_align_up_u64(r->address + *at_p + 1, space->granularity);
            bool before = false;

            *at_p = step - r->address;
            for (unsigned i = 0; e != NULL && i < *range_p; i++)
                before = before || range_touches(space, &named->ranges[i], e);
            if (e != NULL && !before)
                return e;
        }
    }
    return NULL;
}

static bool
named_touches(const struct be_space *space, const struct be_swap_named *named,
              const struct be_extent *extent)
{
    for (unsigned i = 0; named != NULL && i < named->count; i++)
        if (range_touches(space, &named->ranges[i], extent))
            return true;
    return false;
}

void
be_swap_touched(struct be_space *space, const struct be_swap_named *named)
{
    struct be_extent *e;

    pthread_mutex_lock(&space->lock);
    for (unsigned i = 0; i < named->count; i++) {
        const struct be_swap_named one = {.count = 1, .ranges = {named->ranges[i]}};
        uint64_t at = 0;
        unsigned range = 0;

        while (named->ranges[i].written && (e = named_next(space, &one, &range, &at)) != NULL) {
            e->blank = false;
            e->seen = atomic_load_explicit(&space->reach, memory_order_relaxed);
        }
    }
    pthread_mutex_unlock(&space->lock);
}

bool
be_swap_known(struct be_space *space, const struct be_swap_named *named)
{
    bool known = true;

    pthread_mutex_lock(&space->lock);
    for (unsigned i = 0; i < named->count && known; i++)
        known = be_granules_mapped(space->map, named->ranges[i].address, named->ranges[i].bytes);
    pthread_mutex_unlock(&space->lock);
    return known;
}

bool
be_swap_there(struct be_space *space, const struct be_swap_named *named)
{
    const struct be_extent *e;
    uint64_t at = 0;
    unsigned range = 0;
    bool there = true;

    pthread_mutex_lock(&space->lock);
    while (there && (e = named_next(space, named, &range, &at)) != NULL)
        there = !e->out && (e->phys == NULL || !e->phys->out);
    pthread_mutex_unlock(&space->lock);
    return there;
}

/* -- how much ---------------------------------------------------------------------------------- */

static bool
can_move(const struct be_extent *extent, int32_t device, bool in)
{
    return extent->mapped && extent->phys == NULL && !extent->shared && !extent->imported &&
           extent->device == device && extent->out == in;
}

/* With the lock held. */
static uint64_t
missing_locked(const struct be_space *space, int32_t device, const struct be_swap_named *only)
{
    const struct be_extent *e;
    uint64_t bytes = 0, at = 0;
    unsigned range = 0;

    if (only == NULL)
        return space->devices[device].out_bytes;
    while ((e = named_next(space, only, &range, &at)) != NULL)
        if (can_move(e, device, true))
            bytes += be_extent_bytes(space, e);
    return bytes;
}

uint64_t
be_swap_missing(struct be_space *space, int32_t device, const struct be_swap_named *only)
{
    uint64_t bytes;

    pthread_mutex_lock(&space->lock);
    bytes = missing_locked(space, device, only);
    pthread_mutex_unlock(&space->lock);
    return bytes;
}

bool
be_swap_enter(struct be_space *space, int32_t device, uint64_t extra_bytes,
              const struct be_swap_named *only, struct be_rooms_answer *answer_p)
{
    struct be_space_device *d = &space->devices[device];
    uint64_t missing;
    bool good;

    pthread_mutex_lock(&space->lock);
    missing = missing_locked(space, device, only);
    good = be_rooms_enter(space->ledger, (unsigned)device,
                          d->used_bytes - d->out_bytes + missing + extra_bytes, missing == 0,
                          answer_p);
    d->held_bytes = answer_p->held_bytes;
    pthread_mutex_unlock(&space->lock);
    return good;
}

static enum rank
rank_of(const struct be_space *space, const struct be_extent *extent)
{
    if (extent->seen != atomic_load_explicit(&space->reach, memory_order_relaxed))
        return RANK_ANY;
    return extent->blank ? RANK_BLANK : RANK_FRESH;
}

uint64_t
be_swap_own(struct be_space *space, int32_t device, const struct be_swap_named *only)
{
    uint64_t missing, own = 0, granule = 0;
    const struct be_extent *e;

    pthread_mutex_lock(&space->lock);
    missing = missing_locked(space, device, only);
    if (missing == 0 || be_space_room(space, device, missing) ||
        be_rooms_wanted(space->ledger, (unsigned)device)) {
        pthread_mutex_unlock(&space->lock);
        return 0;
    }
    while (own < missing && (e = be_granules_walk(space->map, &granule)) != NULL)
        if (can_move(e, device, false) && rank_of(space, e) != RANK_ANY &&
            !named_touches(space, only, e))
            own += be_extent_bytes(space, e);
    pthread_mutex_unlock(&space->lock);
    return own >= missing ? missing : 0;
}

/* -- extents on their way ---------------------------------------------------------------------- */

void
be_swap_still(struct be_space *space)
{
    space->still_wanted++;
    while (space->moving != 0)
        pthread_cond_wait(&space->still, &space->lock);
    space->still_wanted--;
    pthread_cond_broadcast(&space->still);
}

uint64_t
be_swap_room(const struct be_space *space, int32_t device)
{
    const struct be_space_device *d = &space->devices[device];
    uint64_t there = d->used_bytes - d->out_bytes;

    return d->held_bytes > there ? d->held_bytes - there : 0;
}

static bool
is_next(const struct batch *b, const struct be_extent *extent, bool in)
{
    if (!can_move(extent, b->device, in))
        return false;
    if (in)
        return b->named == NULL || named_touches(b->space, b->named, extent);
    return rank_of(b->space, extent) == b->rank && !named_touches(b->space, b->named, extent);
}

/* The next extents from *granule_p on, of at most so many bytes; false: there are none. */
static bool
batch_take(struct batch *b, bool in, uint64_t most_bytes, uint64_t *granule_p)
{
    struct be_space *space = b->space;
    struct be_extent *extent;
    uint64_t before;

    b->count = 0;
    b->bytes = 0;
    pthread_mutex_lock(&space->lock);
    while (space->still_wanted != 0)
        pthread_cond_wait(&space->still, &space->lock);
    if (in) /* only as much as there is room for now */
        most_bytes = be_swap_room(space, b->device);
    for (before = *granule_p; b->count < BATCH_MAX && b->bytes < BATCH_BYTES && most_bytes != 0 &&
                              (extent = be_granules_walk(space->map, granule_p)) != NULL;
         before = *granule_p) {
        uint64_t bytes = be_extent_bytes(space, extent);

        if (!is_next(b, extent, in))
            continue;
        if (in ? b->bytes + bytes > most_bytes : b->bytes >= most_bytes) {
            *granule_p = before;
            break;
        }
        extent->moving = true;
        b->extents[b->count++] = extent;
        b->bytes += bytes;
    }
    space->moving += b->count;
    pthread_mutex_unlock(&space->lock);
    return b->count != 0;
}

static void
batch_end(struct batch *b)
{
    for (unsigned i = 0; i < b->count; i++)
        b->extents[i]->moving = false;
    b->space->moving -= b->count;
    pthread_cond_broadcast(&b->space->still);
}

/* The stream is idle; what it failed on is nobody's. */
static CUresult
batch_sync(struct batch *b, CUresult cr)
{
    CUresult done = b->space->driver->table.cuStreamSynchronize(b->stream);

    return cr != CUDA_SUCCESS ? cr : done;
}

static CUresult
batch_begin(struct batch *b, struct be_space *space, int32_t device,
            const struct be_swap_named *named)
{
    memset(b, 0, sizeof(*b));
    b->space = space;
    b->device = device;
    b->named = named;
    return space->driver->table.cuStreamCreate(&b->stream, CU_STREAM_NON_BLOCKING);
}

/* -- out --------------------------------------------------------------------------------------- */

static CUresult
out_copy(struct batch *b)
{
    struct be_space *space = b->space;
    CUresult cr = CUDA_SUCCESS;

    for (unsigned i = 0; i < b->count; i++) {
        uint64_t bytes = be_extent_bytes(space, b->extents[i]);

        b->good[i] = b->rank == RANK_BLANK;
        b->kept[i] = NULL;
        if (b->good[i])
            continue;
        b->kept[i] =
            cr == CUDA_SUCCESS && !be_swap_fault(space) ? be_stash_take(space->stash, bytes) : NULL;
        if (b->kept[i] == NULL) {
            cr = cr != CUDA_SUCCESS ? cr : CUDA_ERROR_OUT_OF_MEMORY;
            continue;
        }
        if (be_swap_fault(space))
            cr = CUDA_ERROR_UNKNOWN;
        else
            cr = space->driver->table.cuMemcpyDtoHAsync_v2(be_kept_block(b->kept[i]),
                                                           be_extent_address(space, b->extents[i]),
                                                           bytes, b->stream);
        b->good[i] = cr == CUDA_SUCCESS;
    }
    return cr;
}

/* With the lock held: its bytes are in the block, the memory goes. */
static CUresult
out_release(struct be_space *space, struct be_extent *extent, struct be_kept *kept)
{
    const struct be_driver_table *t = &space->driver->table;
    uint64_t bytes = be_extent_bytes(space, extent);
    CUresult cr;

    be_space_untell(space, extent);
    cr = be_swap_fault(space) ? CUDA_ERROR_UNKNOWN
                              : t->cuMemUnmap(be_extent_address(space, extent), bytes);
    if (cr != CUDA_SUCCESS)
        return cr;
    if (t->cuMemRelease(extent->handle) != CUDA_SUCCESS)
        log_warn("memory: %llu bytes that were paged out are not released",
                 (unsigned long long)bytes);
    extent->kept = kept;
    extent->out = true;
    be_space_away(space, extent->device, bytes, 0);
    be_space_vacate(space, extent->device, bytes);
    return CUDA_SUCCESS;
}

static CUresult
out_batch(struct batch *b)
{
    CUresult cr = out_copy(b), synced = batch_sync(b, CUDA_SUCCESS);

    pthread_mutex_lock(&b->space->lock);
    for (unsigned i = 0; i < b->count; i++) {
        CUresult gone = CUDA_ERROR_UNKNOWN;

        if (b->good[i] && synced == CUDA_SUCCESS)
            gone = out_release(b->space, b->extents[i], b->kept[i]);
        if (gone == CUDA_SUCCESS)
            continue;
        be_stash_drop(b->space->stash, b->kept[i]);
        b->kept[i] = NULL;
        cr = cr != CUDA_SUCCESS ? cr : gone;
    }
    pthread_mutex_unlock(&b->space->lock);
    /* The device is given up: where the bytes lie is of no matter to who waits for it. */
    for (unsigned i = 0; i < b->count; i++)
        if (b->kept[i] != NULL)
            be_stash_settle(b->space->stash, b->kept[i]);
    pthread_mutex_lock(&b->space->lock);
    batch_end(b);
    pthread_mutex_unlock(&b->space->lock);
    return cr != CUDA_SUCCESS ? cr : synced;
}

/* Room that nothing is in; what is still to be given. */
static uint64_t
spare_give(struct be_space *space, int32_t device, uint64_t bytes)
{
    uint64_t spare;

    pthread_mutex_lock(&space->lock);
    spare = gp_min_u64(bytes, be_swap_room(space, device));
    be_space_vacate(space, device, spare);
    pthread_mutex_unlock(&space->lock);
    return bytes - spare;
}

/* Of one rank; what is left to be given. */
static CUresult
rank_out(struct batch *b, enum rank rank, uint64_t *left_p)
{
    CUresult cr = CUDA_SUCCESS;
    uint64_t granule = 0;

    b->rank = rank;
    while (cr == CUDA_SUCCESS && *left_p != 0 && batch_take(b, false, *left_p, &granule)) {
        uint64_t began = gp_now_ns();

        cr = out_batch(b);
        if (cr == CUDA_SUCCESS && rank != RANK_BLANK) /* which says nothing of how long it takes */
            be_swap_moved(b->space, b->device, false, b->bytes, gp_now_ns() - began);
        *left_p -= gp_min_u64(*left_p, b->bytes);
    }
    return cr;
}

CUresult
be_swap_out(struct be_space *space, int32_t device, uint64_t bytes, const struct be_swap_named *but)
{
    uint64_t left = spare_give(space, device, bytes);
    struct batch b;
    CUresult cr;

    if (left == 0)
        return CUDA_SUCCESS;
    cr = batch_begin(&b, space, device, but);
    if (cr != CUDA_SUCCESS)
        return cr;
    for (unsigned r = RANK_BLANK; r < RANKS && cr == CUDA_SUCCESS; r++)
        if (but == NULL || r != RANK_ANY)
            cr = rank_out(&b, (enum rank)r, &left);
    if (cr == CUDA_SUCCESS && left != 0 && but == NULL)
        cr = be_phys_swap_out(space, b.stream, device, left);
    (void)space->driver->table.cuStreamDestroy_v2(b.stream);
    return cr;
}

/* -- in ---------------------------------------------------------------------------------------- */

CUresult
be_swap_fetch(struct be_space *space, struct be_kept *kept)
{
    switch (be_stash_fetch(space->stash, kept)) {
    case GP_OK:
        return CUDA_SUCCESS;
    case GP_ERR_NO_MEMORY:
        return CUDA_ERROR_OUT_OF_MEMORY;
    case GP_ERR_PROTOCOL:
        return CUDA_ERROR_ECC_UNCORRECTABLE;
    default:
        return CUDA_ERROR_OPERATING_SYSTEM;
    }
}

/* Physical memory at its address, and its bytes on their way there. */
static CUresult
in_copy(struct batch *b, unsigned i)
{
    const struct be_driver_table *t = &b->space->driver->table;
    struct be_extent *extent = b->extents[i];
    uint64_t address = be_extent_address(b->space, extent);
    uint64_t bytes = be_extent_bytes(b->space, extent);
    CUresult cr;

    b->handles[i] = 0;
    cr = extent->kept != NULL ? be_swap_fetch(b->space, extent->kept) : CUDA_SUCCESS;
    if (cr != CUDA_SUCCESS)
        return cr;
    cr = be_swap_fault(b->space) ? CUDA_ERROR_OUT_OF_MEMORY
                                 : be_space_back(b->space, extent, &b->handles[i]);
    if (cr != CUDA_SUCCESS)
        return cr;
    if (be_swap_fault(b->space))
        return CUDA_ERROR_UNKNOWN;
    if (extent->kept != NULL)
        return t->cuMemcpyHtoDAsync_v2(address, be_kept_block(extent->kept), bytes, b->stream);
    return b->space->scrub ? t->cuMemsetD8Async(address, 0, bytes, b->stream) : CUDA_SUCCESS;
}

/* With the lock held: it is there; or it is not, and what it has is kept still. */
static void
in_settle(struct batch *b, unsigned i, bool good)
{
    const struct be_driver_table *t = &b->space->driver->table;
    struct be_extent *extent = b->extents[i];
    uint64_t bytes = be_extent_bytes(b->space, extent);

    if (good) {
        be_stash_drop(b->space->stash, extent->kept);
        extent->kept = NULL;
        extent->handle = b->handles[i];
        extent->out = false;
        be_space_away(b->space, b->device, 0, bytes);
        return;
    }
    if (extent->kept != NULL)
        be_stash_unfetch(b->space->stash, extent->kept);
    if (b->handles[i] != 0) {
        if (t->cuMemUnmap(be_extent_address(b->space, extent), bytes) != CUDA_SUCCESS ||
            t->cuMemRelease(b->handles[i]) != CUDA_SUCCESS)
            log_warn("memory: %llu bytes that could not be paged in stay mapped",
                     (unsigned long long)bytes);
    }
}

static CUresult
in_batch(struct batch *b)
{
    CUresult cr = CUDA_SUCCESS, synced;
    unsigned issued = 0;

    for (; issued < b->count && cr == CUDA_SUCCESS; issued++) {
        cr = in_copy(b, issued);
        b->good[issued] = cr == CUDA_SUCCESS;
    }
    synced = batch_sync(b, CUDA_SUCCESS);
    pthread_mutex_lock(&b->space->lock);
    for (unsigned i = 0; i < issued; i++)
        in_settle(b, i, b->good[i] && synced == CUDA_SUCCESS);
    batch_end(b);
    pthread_mutex_unlock(&b->space->lock);
    return cr != CUDA_SUCCESS ? cr : synced;
}

CUresult
be_swap_in(struct be_space *space, int32_t device, const struct be_swap_named *only)
{
    uint64_t granule = 0;
    struct batch b;
    CUresult cr = batch_begin(&b, space, device, only);

    if (cr != CUDA_SUCCESS)
        return cr;
    while (cr == CUDA_SUCCESS && batch_take(&b, true, 0, &granule)) {
        uint64_t began = gp_now_ns();

        cr = in_batch(&b);
        if (cr == CUDA_SUCCESS)
            be_swap_moved(space, device, true, b.bytes, gp_now_ns() - began);
    }
    if (cr == CUDA_SUCCESS && only == NULL)
        cr = be_phys_swap_in(space, b.stream, device);
    (void)space->driver->table.cuStreamDestroy_v2(b.stream);
    return cr;
}
