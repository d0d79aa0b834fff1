/* backend/driver/soft/dev/arena.c -- places and bytes of one device's memory */
#include "backend/driver/soft/dev/mem.h"

#include "backend/driver/soft/dev/shared.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>

#define ARENA_BASE  0x200000000000ull /* 32 TiB: below libraries and stacks, above programs */
#define ARENA_STEP  0x020000000000ull /* 2 TiB per device */
#define ARENA_GROW  (64ull << 20)
#define PUNCH_BYTES (64u << 10)

struct sd_arena {
    /* Written once. */
    uint64_t base;
    uint64_t places; /* bytes of address space and of the sparse file */
    uint64_t total;
    int device;
    int fd;

    /* Rank 45; guards the rest. */
    pthread_mutex_t lock;
    struct sd_ranges ranges;
    uint64_t opened; /* [base, base + opened) is readable and writable, the rest is not */
    uint64_t used;
};

bool
sd_ranges_init(struct sd_ranges *r, uint64_t base, uint64_t len)
{
    memset(r, 0, sizeof(*r));
    return sd_ranges_give(r, base, len);
}

void
sd_ranges_fini(struct sd_ranges *r)
{
    free(r->free);
}

static void
ranges_remove(struct sd_ranges *r, size_t i)
{
    r->count--;
    memmove(r->free + i, r->free + i + 1, (r->count - i) * sizeof(*r->free));
}

static bool
ranges_insert(struct sd_ranges *r, size_t i, uint64_t base, uint64_t len)
{
    if (r->count == r->size) {
        size_t size = r->size != 0 ? 2 * r->size : 64;
        struct sd_range *list = realloc(r->free, size * sizeof(*list));

        if (list == NULL)
            return false;
        r->free = list;
        r->size = size;
    }
    memmove(r->free + i + 1, r->free + i, (r->count - i) * sizeof(*r->free));
    r->free[i] = (struct sd_range){base, len};
    r->count++;
    return true;
}

bool
sd_ranges_take(struct sd_ranges *r, uint64_t len, uint64_t align, uint64_t *base_p)
{
    for (size_t i = 0; i < r->count; i++) {
        struct sd_range *f = &r->free[i];
        uint64_t base = gp_align_up_u64(f->base, align);
        uint64_t before = base - f->base;
        uint64_t after;

        if (before > f->len || f->len - before < len)
            continue;
        after = f->len - before - len;
        if (before != 0 && after != 0) {
            f->len = before;
            if (!ranges_insert(r, i + 1, base + len, after)) {
                r->free[i].len = before + len + after;
                return false;
            }
        } else if (before != 0) {
            f->len = before;
        } else if (after != 0) {
            f->base = base + len;
            f->len = after;
        } else {
            ranges_remove(r, i);
        }
        *base_p = base;
        return true;
    }
    return false;
}

bool
sd_ranges_give(struct sd_ranges *r, uint64_t base, uint64_t len)
{
    size_t lo = 0, hi = r->count;
    bool joins_left, joins_right;

    while (lo < hi) {
        size_t mid = (lo + hi) / 2;

        if (r->free[mid].base < base)
            lo = mid + 1;
        else
            hi = mid;
    }
    joins_left = lo > 0 && r->free[lo - 1].base + r->free[lo - 1].len == base;
    joins_right = lo < r->count && base + len == r->free[lo].base;
    if (joins_left && joins_right) {
        r->free[lo - 1].len += len + r->free[lo].len;
        ranges_remove(r, lo);
        return true;
    }
    if (joins_left) {
        r->free[lo - 1].len += len;
        return true;
    }
    if (joins_right) {
        r->free[lo].base = base;
        r->free[lo].len += len;
        return true;
    }
    return ranges_insert(r, lo, base, len);
}

CUresult
sd_arena_create(struct sd_device *dev)
{
    struct sd_arena *arena = calloc(1, sizeof(*arena));
    void *at;

    if (arena == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    pthread_mutex_init(&arena->lock, NULL);
    arena->total = dev->profile.memory_bytes;
    arena->device = dev->ordinal;
    arena->places = gp_align_up_u64(4 * arena->total, SD_GRANULARITY);
    if (arena->places > ARENA_STEP)
        arena->places = ARENA_STEP;
    arena->fd = memfd_create("gpupool-soft-device", MFD_CLOEXEC);
    if (arena->fd < 0 || ftruncate(arena->fd, (off_t)arena->places) != 0) {
        log_error("software device %d: memory file of %llu bytes: %m", dev->ordinal,
                  (unsigned long long)arena->places);
        goto err_free;
    }
    /* A wish: where it cannot be had, the kernel chooses. */
    at = mmap((void *)(uintptr_t)(ARENA_BASE + (uint64_t)dev->ordinal * ARENA_STEP),
              arena->places, PROT_NONE, MAP_SHARED | MAP_NORESERVE, arena->fd, 0);
    if (at == MAP_FAILED) {
        log_error("software device %d: map %llu bytes of address space: %m", dev->ordinal,
                  (unsigned long long)arena->places);
        goto err_free;
    }
    /* A core dump of the process should not hold the device's memory. */
    (void)madvise(at, arena->places, MADV_DONTDUMP);
    arena->base = (uintptr_t)at;
    if (!sd_ranges_init(&arena->ranges, 0, arena->places))
        goto err_unmap;
    dev->arena = arena;
    return CUDA_SUCCESS;

err_unmap:
    munmap(at, arena->places);
err_free:
    if (arena->fd >= 0)
        close(arena->fd);
    free(arena);
    return CUDA_ERROR_OUT_OF_MEMORY;
}

uint64_t
sd_arena_base(const struct sd_device *dev)
{
    return dev->arena->base;
}

uint64_t
sd_arena_bytes(const struct sd_device *dev)
{
    return dev->arena->places;
}

int
sd_arena_fd(const struct sd_device *dev)
{
    return dev->arena->fd;
}

void
sd_arena_info(const struct sd_device *dev, uint64_t *free_p, uint64_t *total_p)
{
    struct sd_arena *arena = dev->arena;
    uint64_t used;

    pthread_mutex_lock(&arena->lock);
    used = sd_shared_on() ? sd_shared_used(arena->device) : arena->used;
    *free_p = used < arena->total ? arena->total - used : 0;
    *total_p = arena->total;
    pthread_mutex_unlock(&arena->lock);
}

/* The lock is held. */
static CUresult
arena_charge(struct sd_arena *arena, uint64_t bytes)
{
    CUresult cr;

    if (bytes > arena->total - arena->used)
        return CUDA_ERROR_OUT_OF_MEMORY;
    cr = sd_shared_charge(arena->device, bytes, arena->total);
    if (cr == CUDA_SUCCESS)
        arena->used += bytes;
    return cr;
}

/* The lock is held. */
static void
arena_uncharge(struct sd_arena *arena, uint64_t bytes)
{
    arena->used -= bytes;
    sd_shared_uncharge(arena->device, bytes);
}

CUresult
sd_arena_charge(struct sd_device *dev, uint64_t bytes)
{
    CUresult cr;

    pthread_mutex_lock(&dev->arena->lock);
    cr = arena_charge(dev->arena, bytes);
    pthread_mutex_unlock(&dev->arena->lock);
    return cr;
}

void
sd_arena_uncharge(struct sd_device *dev, uint64_t bytes)
{
    pthread_mutex_lock(&dev->arena->lock);
    arena_uncharge(dev->arena, bytes);
    pthread_mutex_unlock(&dev->arena->lock);
}

/* Makes [base, base + end) accessible; the lock is held. */
static bool
arena_open(struct sd_arena *arena, uint64_t end)
{
    uint64_t to = gp_min_u64(gp_align_up_u64(end, ARENA_GROW), arena->places);

    if (end <= arena->opened)
        return true;
    if (mprotect((void *)(uintptr_t)(arena->base + arena->opened), to - arena->opened,
                 PROT_READ | PROT_WRITE) != 0)
        return false;
    arena->opened = to;
    return true;
}

CUresult
sd_arena_take(struct sd_device *dev, uint64_t bytes, uint64_t align, uint64_t *place_p)
{
    struct sd_arena *arena = dev->arena;
    CUresult cr;

    pthread_mutex_lock(&arena->lock);
    cr = arena_charge(arena, bytes);
    if (cr == CUDA_SUCCESS) {
        if (!sd_ranges_take(&arena->ranges, bytes, align, place_p)) {
            arena_uncharge(arena, bytes);
            cr = CUDA_ERROR_OUT_OF_MEMORY;
        } else if (!arena_open(arena, *place_p + bytes)) {
            arena_uncharge(arena, bytes);
            (void)sd_ranges_give(&arena->ranges, *place_p, bytes);
            cr = CUDA_ERROR_OUT_OF_MEMORY;
        }
    }
    pthread_mutex_unlock(&arena->lock);
    return cr;
}

void
sd_arena_give(struct sd_device *dev, uint64_t place, uint64_t bytes)
{
    struct sd_arena *arena = dev->arena;
    uint64_t from = gp_align_up_u64(place, 4096), to = (place + bytes) & ~4095ull;

    /* Whole pages go back to the system before somebody else can get the place. */
    if (to > from && to - from >= PUNCH_BYTES &&
        fallocate(arena->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)from,
                  (off_t)(to - from)) != 0)
        log_warn("software device %d: free %llu bytes of its memory file: %m", dev->ordinal,
                 (unsigned long long)(to - from));
    pthread_mutex_lock(&arena->lock);
    arena_uncharge(arena, bytes);
    (void)sd_ranges_give(&arena->ranges, place, bytes);
    pthread_mutex_unlock(&arena->lock);
}
