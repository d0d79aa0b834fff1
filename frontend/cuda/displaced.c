/* frontend/cuda/displaced.c */
#include "frontend/cuda/displaced.h"

#include "frontend/cuda/host.h"
#include "protocol/base/log.h"
#include "protocol/base/util.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>

#define PAGE 4096ull

struct displaced {
    struct displaced *next;
    uint64_t base, bytes, device;
    bool kept; /* the device's address is reserved here */
};

_Atomic unsigned fe_displaced_count;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct displaced *all; /* guarded by lock; few */

static uint64_t
first_page(const struct displaced *d)
{
    return d->device & ~(PAGE - 1);
}

static uint64_t
page_bytes(const struct displaced *d)
{
    return gp_align_up_u64(d->device + d->bytes, PAGE) - first_page(d);
}

void
fe_displaced_add(uint64_t base, uint64_t bytes, uint64_t device)
{
    struct displaced *d = calloc(1, sizeof(*d));
    void *want, *got;

    log_warn("host memory at 0x%" PRIx64 " is 0x%" PRIx64 " to kernels: programs that do not "
             "ask cuMemHostGetDevicePointer will fault",
             base, device);
    if (d == NULL)
        return;
    *d = (struct displaced){.base = base, .bytes = bytes, .device = device};
    want = (void *)(uintptr_t)first_page(d);
    got = mmap(want, page_bytes(d), PROT_NONE,
               MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0);
    d->kept = got == want;
    if (got != MAP_FAILED && got != want) /* a kernel that does not know the flag */
        munmap(got, page_bytes(d));
    pthread_mutex_lock(&lock);
    d->next = all;
    all = d;
    atomic_fetch_add(&fe_displaced_count, 1);
    pthread_mutex_unlock(&lock);
}

void
fe_displaced_remove(uint64_t base)
{
    struct displaced **link, *d;

    if (atomic_load(&fe_displaced_count) == 0)
        return;
    pthread_mutex_lock(&lock);
    for (link = &all; *link != NULL && (*link)->base != base;)
        link = &(*link)->next;
    d = *link;
    if (d != NULL) {
        *link = d->next;
        atomic_fetch_sub(&fe_displaced_count, 1);
    }
    pthread_mutex_unlock(&lock);
    if (d != NULL && d->kept)
        munmap((void *)(uintptr_t)first_page(d), page_bytes(d));
    free(d);
}

uint64_t
fe_displaced_find(uint64_t address, bool kept_only)
{
    uint64_t named = address;

    /* Pinned or registered memory of that address is what is meant. */
    if (fe_host_pinned(address, 0))
        return address;
    pthread_mutex_lock(&lock);
    for (const struct displaced *d = all; d != NULL; d = d->next)
        if (address - d->device < d->bytes && (d->kept || !kept_only))
            named = d->base + (address - d->device);
    pthread_mutex_unlock(&lock);
    return named;
}
