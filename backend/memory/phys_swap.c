/* backend/memory/phys_swap.c -- the program's own physical memory leaves a device, and comes back
 *
 * An object is unmapped wherever it is mapped, with all its bytes copied before; it comes back as a
 * new object of the driver at the same addresses, with the same access. Its bytes are copied
 * through a mapping of all of it, or through a window of addresses of ours where there is none that
 * serves. Large ones are kept in parts.
 */
#include "backend/memory/phys_priv.h"
#include "backend/memory/space_priv.h"
#include "backend/memory/window.h"
#include "protocol/base/clock.h"
#include "protocol/base/log.h"
#include "protocol/base/util.h"

#include <stdlib.h>
#include <string.h>

#define BATCH_BYTES BE_EXTENT_BYTES_MAX
#define BATCH_MAX   64
#define PART_BYTES  BE_EXTENT_BYTES_MAX

struct moved {
    struct be_phys *phys;
    CUmemGenericAllocationHandle handle; /* on its way in: the new one; 0: none yet */
    uint64_t at;                         /* where all of it is reached */
    bool window;                         /* ... which is ours */
    bool good;
};

struct batch {
    struct be_space *space;
    CUstream stream;
    int32_t device;
    unsigned count;
    uint64_t bytes;
    struct moved list[BATCH_MAX];
};

static uint64_t
parts_of(const struct be_phys *phys)
{
    return (phys->bytes + PART_BYTES - 1) / PART_BYTES;
}

static uint64_t
part_bytes(const struct be_phys *phys, uint64_t part)
{
    return gp_min_u64(PART_BYTES, phys->bytes - part * PART_BYTES);
}

/* Its parts are not all in blocks at a time. */
static bool
is_large(const struct be_phys *phys)
{
    return phys->bytes > BATCH_BYTES;
}

static void
kept_drop(struct be_space *space, const struct be_phys *phys, struct be_kept **kept)
{
    for (uint64_t i = 0; kept != NULL && i < parts_of(phys); i++)
        be_stash_drop(space->stash, kept[i]);
    free(kept);
}

void
be_phys_kept_drop(struct be_space *space, struct be_phys *phys)
{
    kept_drop(space, phys, phys->kept);
    phys->kept = NULL;
}

/* -- where it is reached ----------------------------------------------------------------------- */

static CUresult
window_open(struct batch *b, struct moved *m, CUmemGenericAllocationHandle handle)
{
    CUdeviceptr at = 0;
    CUresult cr = be_window_open(b->space->driver, handle, m->phys->bytes, b->device, &at);

    m->at = at;
    m->window = cr == CUDA_SUCCESS;
    return cr;
}

static void
window_close(struct batch *b, struct moved *m)
{
    if (m->window)
        be_window_close(b->space->driver, m->at, m->phys->bytes);
    m->window = false;
}

/* By a mapping of all of it that the device may use so, or by a window. */
static CUresult
reach(struct batch *b, struct moved *m, bool write, CUmemGenericAllocationHandle handle)
{
    uint64_t bit = 1ull << b->device;

    m->window = false;
    for (const struct be_extent *e = m->phys->mapped; e != NULL; e = e->next) {
        if (e->offset != 0 || be_extent_bytes(b->space, e) != m->phys->bytes ||
            ((write ? e->writable : e->readable) & bit) == 0)
            continue;
        m->at = be_extent_address(b->space, e);
        return CUDA_SUCCESS;
    }
    return window_open(b, m, handle);
}

/* -- batches ----------------------------------------------------------------------------------- */

static bool
can_move(const struct batch *b, const struct be_phys *phys, bool in)
{
    return phys->device == b->device && !phys->imported && phys->team == NULL && !phys->fixed &&
           phys->out == in;
}

/* The next ones, of about so many bytes; false: there are none. */
static bool
batch_take(struct batch *b, bool in, uint64_t most_bytes)
{
    struct be_space *space = b->space;
    struct be_phys *phys;

    b->count = 0;
    b->bytes = 0;
    pthread_mutex_lock(&space->lock);
    while (space->still_wanted != 0)
        pthread_cond_wait(&space->still, &space->lock);
    if (in)
        most_bytes = be_swap_room(space, b->device);
    for (; (phys = space->next_object) != NULL; space->next_object = phys->next) {
        if (!can_move(b, phys, in))
            continue;
        if (b->count == BATCH_MAX || b->bytes >= most_bytes ||
            (b->count != 0 && b->bytes + phys->bytes > BATCH_BYTES) ||
            (in && b->bytes + phys->bytes > most_bytes))
            break;
        b->list[b->count++] = (struct moved){.phys = phys};
        b->bytes += phys->bytes;
    }
    space->moving += b->count;
    pthread_mutex_unlock(&space->lock);
    return b->count != 0;
}

static void
walk_begin(struct batch *b, struct be_space *space, CUstream stream, int32_t device)
{
    b->space = space;
    b->stream = stream;
    b->device = device;
    pthread_mutex_lock(&space->lock);
    space->next_object = space->objects;
    pthread_mutex_unlock(&space->lock);
}

/* With the lock held. */
static void
batch_end(struct batch *b)
{
    b->space->moving -= b->count;
    pthread_cond_broadcast(&b->space->still);
}

/* -- out --------------------------------------------------------------------------------------- */

static CUresult
part_out(struct batch *b, struct moved *m, uint64_t part)
{
    const struct be_driver_table *t = &b->space->driver->table;
    struct be_stash *stash = b->space->stash;
    uint64_t bytes = part_bytes(m->phys, part);
    struct be_kept *kept;
    CUresult cr;

    kept = be_swap_fault(b->space) ? NULL : be_stash_take(stash, bytes);
    if (kept == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    m->phys->kept[part] = kept;
    if (be_swap_fault(b->space))
        return CUDA_ERROR_UNKNOWN;
    cr = t->cuMemcpyDtoHAsync_v2(be_kept_block(kept), m->at + part * PART_BYTES, bytes, b->stream);
    if (cr != CUDA_SUCCESS || !is_large(m->phys))
        return cr;
    cr = t->cuStreamSynchronize(b->stream);
    if (cr == CUDA_SUCCESS)
        be_stash_settle(stash, kept);
    return cr;
}

/* Its bytes on their way to the host. */
static CUresult
object_copy_out(struct batch *b, struct moved *m)
{
    CUresult cr;

    m->phys->kept = calloc(parts_of(m->phys), sizeof(struct be_kept *));
    if (m->phys->kept == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    cr = reach(b, m, false, m->phys->handle);
    for (uint64_t i = 0; cr == CUDA_SUCCESS && i < parts_of(m->phys); i++)
        cr = part_out(b, m, i);
    m->good = cr == CUDA_SUCCESS;
    return cr;
}

/* With the lock held: where it is mapped it is no more. Once the first one is gone the others must
 * follow; one that the driver keeps is tried again before it is mapped anew. */
static CUresult
mappings_out(struct batch *b, struct be_phys *phys)
{
    const struct be_driver_table *t = &b->space->driver->table;
    CUresult cr;

    for (struct be_extent *e = phys->mapped; e != NULL; e = e->next) {
        cr = be_swap_fault(b->space)
                 ? CUDA_ERROR_UNKNOWN
                 : t->cuMemUnmap(be_extent_address(b->space, e), be_extent_bytes(b->space, e));
        if (cr != CUDA_SUCCESS && e == phys->mapped)
            return cr;
        if (cr != CUDA_SUCCESS)
            log_debug("memory: a mapping of what is paged out stays for now");
        e->out = cr == CUDA_SUCCESS;
    }
    return CUDA_SUCCESS;
}

/* With the lock held: its bytes are kept, its memory goes. */
static CUresult
object_out(struct batch *b, struct be_phys *phys)
{
    struct be_space *space = b->space;
    CUresult cr = mappings_out(b, phys);

    if (cr != CUDA_SUCCESS)
        return cr;
    if (space->driver->table.cuMemRelease(phys->handle) != CUDA_SUCCESS)
        log_warn("memory: %llu bytes that were paged out are not released",
                 (unsigned long long)phys->bytes);
    phys->handle = 0;
    phys->out = true;
    be_space_away(space, b->device, phys->bytes, 0);
    be_space_vacate(space, b->device, phys->bytes);
    return CUDA_SUCCESS;
}

static void
object_settle(struct batch *b, struct be_phys *phys)
{
    for (uint64_t i = 0; !is_large(phys) && i < parts_of(phys); i++)
        be_stash_settle(b->space->stash, phys->kept[i]);
}

static CUresult
batch_out(struct batch *b)
{
    CUresult cr = CUDA_SUCCESS, synced;

    for (unsigned i = 0; i < b->count && cr == CUDA_SUCCESS; i++)
        cr = object_copy_out(b, &b->list[i]);
    synced = b->space->driver->table.cuStreamSynchronize(b->stream);
    pthread_mutex_lock(&b->space->lock);
    for (unsigned i = 0; i < b->count; i++) {
        struct moved *m = &b->list[i];
        CUresult gone = CUDA_ERROR_UNKNOWN;

        window_close(b, m);
        if (m->good && synced == CUDA_SUCCESS)
            gone = object_out(b, m->phys);
        m->good = gone == CUDA_SUCCESS;
        if (!m->good)
            be_phys_kept_drop(b->space, m->phys);
        cr = cr != CUDA_SUCCESS ? cr : gone;
    }
    pthread_mutex_unlock(&b->space->lock);
    /* The device is given up: where the bytes lie is of no matter to who waits for it. */
    for (unsigned i = 0; i < b->count; i++)
        if (b->list[i].good)
            object_settle(b, b->list[i].phys);
    pthread_mutex_lock(&b->space->lock);
    batch_end(b);
    pthread_mutex_unlock(&b->space->lock);
    return cr != CUDA_SUCCESS ? cr : synced;
}

CUresult
be_phys_swap_out(struct be_space *space, CUstream stream, int32_t device, uint64_t bytes)
{
    CUresult cr = CUDA_SUCCESS;
    struct batch b;

    walk_begin(&b, space, stream, device);
    while (cr == CUDA_SUCCESS && bytes != 0 && batch_take(&b, false, bytes)) {
        uint64_t began = gp_now_ns();

        cr = batch_out(&b);
        if (cr == CUDA_SUCCESS)
            be_swap_moved(space, device, false, b.bytes, gp_now_ns() - began);
        bytes -= gp_min_u64(bytes, b.bytes);
    }
    return cr;
}

/* -- in ---------------------------------------------------------------------------------------- */

/* One mapping as it was. */
static CUresult
mapping_in(struct batch *b, struct be_extent *e, CUmemGenericAllocationHandle handle)
{
    const struct be_driver_table *t = &b->space->driver->table;
    const struct be_access access = {e->readable | e->writable, e->readable, e->writable};
    uint64_t address = be_extent_address(b->space, e), bytes = be_extent_bytes(b->space, e);
    CUresult cr = CUDA_SUCCESS;

    if (!e->out) /* of what was there before */
        cr = t->cuMemUnmap(address, bytes);
    if (cr != CUDA_SUCCESS)
        return cr;
    e->out = true;
    cr = be_swap_fault(b->space) ? CUDA_ERROR_UNKNOWN
                                 : t->cuMemMap(address, bytes, e->offset, handle, 0);
    if (cr != CUDA_SUCCESS)
        return cr;
    e->out = false;
    return access.named != 0 ? be_access_set(b->space, address, bytes, &access) : CUDA_SUCCESS;
}

static CUresult
mappings_in(struct batch *b, const struct moved *m)
{
    CUresult cr = CUDA_SUCCESS;

    for (struct be_extent *e = m->phys->mapped; e != NULL && cr == CUDA_SUCCESS; e = e->next)
        cr = mapping_in(b, e, m->handle);
    return cr;
}

static CUresult
part_in(struct batch *b, struct moved *m, uint64_t part)
{
    const struct be_driver_table *t = &b->space->driver->table;
    struct be_kept *kept = m->phys->kept[part];
    CUresult cr = be_swap_fetch(b->space, kept);

    if (cr == CUDA_SUCCESS)
        cr = be_swap_fault(b->space)
                 ? CUDA_ERROR_UNKNOWN
                 : t->cuMemcpyHtoDAsync_v2(m->at + part * PART_BYTES, be_kept_block(kept),
                                           part_bytes(m->phys, part), b->stream);
    if (cr != CUDA_SUCCESS || !is_large(m->phys))
        return cr;
    cr = t->cuStreamSynchronize(b->stream);
    be_stash_unfetch(b->space->stash, kept);
    return cr;
}

/* Physical memory, where it is mapped, and its bytes on their way there. */
static CUresult
object_copy_in(struct batch *b, struct moved *m)
{
    const struct be_driver_table *t = &b->space->driver->table;
    struct be_phys *phys = m->phys;
    CUresult cr;

    cr = be_swap_fault(b->space) ? CUDA_ERROR_OUT_OF_MEMORY
                                 : be_phys_back(b->space, &phys->wish, &m->handle);
    if (cr != CUDA_SUCCESS) {
        m->handle = 0;
        return cr;
    }
    cr = mappings_in(b, m);
    if (cr == CUDA_SUCCESS && (phys->kept != NULL || b->space->scrub))
        cr = reach(b, m, true, m->handle);
    if (cr == CUDA_SUCCESS && phys->kept == NULL && b->space->scrub)
        cr = t->cuMemsetD8Async(m->at, 0, phys->bytes, b->stream);
    for (uint64_t i = 0; cr == CUDA_SUCCESS && phys->kept != NULL && i < parts_of(phys); i++)
        cr = part_in(b, m, i);
    m->good = cr == CUDA_SUCCESS;
    return cr;
}

/* With the lock held: what it has is kept still, and nothing of it is on the device. */
static void
object_stays_out(struct batch *b, struct moved *m)
{
    const struct be_driver_table *t = &b->space->driver->table;

    for (uint64_t i = 0; m->phys->kept != NULL && i < parts_of(m->phys); i++)
        be_stash_unfetch(b->space->stash, m->phys->kept[i]);
    for (struct be_extent *e = m->phys->mapped; e != NULL && m->handle != 0; e = e->next)
        if (!e->out)
            e->out = t->cuMemUnmap(be_extent_address(b->space, e), be_extent_bytes(b->space, e)) ==
                     CUDA_SUCCESS;
    if (m->handle != 0 && t->cuMemRelease(m->handle) != CUDA_SUCCESS)
        log_warn("memory: %llu bytes that could not be paged in are not released",
                 (unsigned long long)m->phys->bytes);
}

/* With the lock held. */
static void
object_in(struct batch *b, struct moved *m)
{
    be_phys_kept_drop(b->space, m->phys);
    m->phys->handle = m->handle;
    m->phys->out = false;
    be_space_away(b->space, b->device, 0, m->phys->bytes);
}

static CUresult
batch_in(struct batch *b)
{
    CUresult cr = CUDA_SUCCESS, synced;

    for (unsigned i = 0; i < b->count && cr == CUDA_SUCCESS; i++)
        cr = object_copy_in(b, &b->list[i]);
    synced = b->space->driver->table.cuStreamSynchronize(b->stream);
    pthread_mutex_lock(&b->space->lock);
    for (unsigned i = 0; i < b->count; i++) {
        struct moved *m = &b->list[i];

        window_close(b, m);
        if (m->good && synced == CUDA_SUCCESS)
            object_in(b, m);
        else
            object_stays_out(b, m);
    }
    batch_end(b);
    pthread_mutex_unlock(&b->space->lock);
    return cr != CUDA_SUCCESS ? cr : synced;
}

CUresult
be_phys_swap_in(struct be_space *space, CUstream stream, int32_t device)
{
    CUresult cr = CUDA_SUCCESS;
    struct batch b;

    walk_begin(&b, space, stream, device);
    while (cr == CUDA_SUCCESS && batch_take(&b, true, 0)) {
        uint64_t began = gp_now_ns();

        cr = batch_in(&b);
        if (cr == CUDA_SUCCESS)
            be_swap_moved(space, device, true, b.bytes, gp_now_ns() - began);
    }
    return cr;
}
