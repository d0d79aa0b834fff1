/* backend/memory/arena.c */
#include "backend/memory/arena.h"

#include "protocol/base/log.h"
#include "protocol/base/util.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define UNIT_MIN   (64ull << 10)
#define WORD_BITS  64u
#define SLAB_WORDS (BE_ARENA_SLAB / UNIT_MIN / WORD_BITS)

struct slab {
    uint8_t *data;
    bool pinned;
    uint32_t used; /* units */
    uint64_t taken[SLAB_WORDS];
    struct slab *next;
};

struct be_arena {
    /* Set once. */
    const struct be_driver *driver;
    uint64_t unit;
    uint32_t units; /* of a slab */

    pthread_mutex_t lock; /* rank 42 */
    /* Guarded by lock. */
    struct slab *slabs;
    uint64_t bytes;
};

struct be_arena *
be_arena_create(const struct be_driver *driver, uint64_t unit)
{
    struct be_arena *arena;

    if (unit < UNIT_MIN || unit > BE_ARENA_SLAB || (unit & (unit - 1)) != 0)
        return NULL;
    arena = calloc(1, sizeof(*arena));
    if (arena == NULL)
        return NULL;
    arena->driver = driver;
    arena->unit = unit;
    arena->units = (uint32_t)(BE_ARENA_SLAB / unit);
    pthread_mutex_init(&arena->lock, NULL);
    return arena;
}

/* -- slabs ------------------------------------------------------------------------------------- */

static struct slab *
slab_create(struct be_arena *arena)
{
    const struct be_driver_table *t = &arena->driver->table;
    struct slab *slab = calloc(1, sizeof(*slab));
    void *at;

    if (slab == NULL)
        return NULL;
    at = mmap(NULL, BE_ARENA_SLAB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (at == MAP_FAILED) {
        log_warn("memory: %llu MiB of host memory for paging: %m",
                 (unsigned long long)(BE_ARENA_SLAB >> 20));
        free(slab);
        return NULL;
    }
    (void)madvise(at, BE_ARENA_SLAB, MADV_HUGEPAGE);
    (void)madvise(at, BE_ARENA_SLAB, MADV_DONTDUMP);
    slab->data = at;
    /* Without pinning copies are slower, and right. */
    slab->pinned =
        t->cuMemHostRegister_v2 != NULL &&
        t->cuMemHostRegister_v2(at, BE_ARENA_SLAB, CU_MEMHOSTREGISTER_PORTABLE) == CUDA_SUCCESS;
    slab->next = arena->slabs;
    arena->slabs = slab;
    arena->bytes += BE_ARENA_SLAB;
    return slab;
}

static void
slab_destroy(struct be_arena *arena, struct slab *slab)
{
    /* The context that pinned it may be gone, and the pin with it. */
    if (slab->pinned)
        (void)arena->driver->table.cuMemHostUnregister(slab->data);
    munmap(slab->data, BE_ARENA_SLAB);
    arena->bytes -= BE_ARENA_SLAB;
    free(slab);
}

static bool
is_taken(const struct slab *slab, uint32_t unit)
{
    return (slab->taken[unit / WORD_BITS] >> (unit % WORD_BITS) & 1) != 0;
}

static void
units_mark(struct slab *slab, uint32_t from, uint32_t count, bool on)
{
    for (uint32_t u = from; u < from + count; u++) {
        if (on)
            slab->taken[u / WORD_BITS] |= 1ull << (u % WORD_BITS);
        else
            slab->taken[u / WORD_BITS] &= ~(1ull << (u % WORD_BITS));
    }
    slab->used = on ? slab->used + count : slab->used - count;
}

/* First fit. */
static void *
slab_take(const struct be_arena *arena, struct slab *slab, uint32_t count)
{
    uint32_t run = 0;

    if (arena->units - slab->used < count)
        return NULL;
    for (uint32_t u = 0; u < arena->units; u++) {
        run = is_taken(slab, u) ? 0 : run + 1;
        if (run == count) {
            units_mark(slab, u + 1 - count, count, true);
            return slab->data + (u + 1 - count) * arena->unit;
        }
    }
    return NULL;
}

/* -- blocks ------------------------------------------------------------------------------------ */

static uint32_t
units_of(const struct be_arena *arena, uint64_t bytes)
{
    return (uint32_t)((bytes + arena->unit - 1) / arena->unit);
}

void *
be_arena_take(struct be_arena *arena, uint64_t bytes)
{
    void *block = NULL;
    struct slab *slab;

    if (bytes == 0 || bytes > BE_ARENA_SLAB)
        return NULL;
    pthread_mutex_lock(&arena->lock);
    for (slab = arena->slabs; slab != NULL && block == NULL; slab = slab->next)
        block = slab_take(arena, slab, units_of(arena, bytes));
    if (block == NULL && (slab = slab_create(arena)) != NULL)
        block = slab_take(arena, slab, units_of(arena, bytes));
    pthread_mutex_unlock(&arena->lock);
    return block;
}

void
be_arena_give(struct be_arena *arena, void *block, uint64_t bytes)
{
    struct slab *slab;
    uint8_t *at = block;

    if (block == NULL)
        return;
    pthread_mutex_lock(&arena->lock);
    for (slab = arena->slabs; slab != NULL; slab = slab->next)
        if (at >= slab->data && at < slab->data + BE_ARENA_SLAB)
            break;
    if (slab != NULL)
        units_mark(slab, (uint32_t)((uint64_t)(at - slab->data) / arena->unit),
                   units_of(arena, bytes), false);
    pthread_mutex_unlock(&arena->lock);
}

void
be_arena_trim(struct be_arena *arena, uint64_t keep_bytes)
{
    pthread_mutex_lock(&arena->lock);
    for (struct slab **at = &arena->slabs; *at != NULL && arena->bytes > keep_bytes;) {
        struct slab *slab = *at;

        if (slab->used != 0) {
            at = &slab->next;
            continue;
        }
        *at = slab->next;
        slab_destroy(arena, slab);
    }
    pthread_mutex_unlock(&arena->lock);
}

uint64_t
be_arena_bytes(struct be_arena *arena)
{
    uint64_t bytes;

    pthread_mutex_lock(&arena->lock);
    bytes = arena->bytes;
    pthread_mutex_unlock(&arena->lock);
    return bytes;
}

void
be_arena_destroy(struct be_arena *arena)
{
    if (arena == NULL)
        return;
    while (arena->slabs != NULL) {
        struct slab *slab = arena->slabs;

        arena->slabs = slab->next;
        slab_destroy(arena, slab);
    }
    pthread_mutex_destroy(&arena->lock);
    free(arena);
}
