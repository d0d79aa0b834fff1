/* backend/driver/soft/dev/ipc_event.c -- events of several processes
 *
 * Each process has one memory file with places for the events that it makes. A handle names the
 * process, the file and the place; the other process opens the file through /proc, which the kernel
 * allows to processes of one user, and maps it for good.
 */
#include "backend/driver/soft/dev/ipc_event.h"

#include "backend/driver/soft/dev/ctx.h"
#include "cuda_api.h"

#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define EVENT_MAGIC  0x67706576u
#define EVENT_PLACES 16384u
#define FILE_BYTES   (EVENT_PLACES * sizeof(struct sd_shared_event))

struct event_handle {
    uint32_t magic;
    int32_t pid;
    int32_t fd;
    uint32_t place;
    uint64_t inode;
    uint64_t zero[5];
};

_Static_assert(sizeof(struct event_handle) == sizeof(CUipcEventHandle), "64 bytes");

/* Another process's file. */
struct foreign {
    struct event_handle of; /* the first that was opened; its place says nothing */
    struct sd_shared_event *events;
    struct foreign *next;
};

/* A leaf; guards the rest. */
static pthread_mutex_t event_lock = PTHREAD_MUTEX_INITIALIZER;
static struct sd_shared_event *own_events;
static int own_fd = -1;
static uint64_t own_inode;
static bool own_taken[EVENT_PLACES];
static uint32_t own_next; /* look here first */
static struct foreign *foreigns;

/* event_lock is held. */
static bool
own_open(void)
{
    struct stat st;
    void *map;

    if (own_events != NULL)
        return true;
    own_fd = memfd_create("gpupool-soft-events", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (own_fd < 0)
        return false;
    map = MAP_FAILED;
    if (ftruncate(own_fd, FILE_BYTES) == 0 && fstat(own_fd, &st) == 0 &&
        fcntl(own_fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) == 0)
        map = mmap(NULL, FILE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, own_fd, 0);
    if (map == MAP_FAILED) {
        close(own_fd);
        own_fd = -1;
        return false;
    }
    own_events = map;
    own_inode = st.st_ino;
    return true;
}

/* event_lock is held. */
static bool
is_own(const struct sd_shared_event *shared)
{
    return shared >= own_events && shared < own_events + EVENT_PLACES;
}

struct sd_shared_event *
sd_shared_event_new(void)
{
    struct sd_shared_event *found = NULL;

    pthread_mutex_lock(&event_lock);
    if (own_open()) {
        for (uint32_t i = 0; i < EVENT_PLACES && found == NULL; i++) {
            uint32_t at = (own_next + i) % EVENT_PLACES;

            if (own_taken[at])
                continue;
            own_taken[at] = true;
            own_next = at + 1;
            found = &own_events[at];
        }
    }
    pthread_mutex_unlock(&event_lock);
    return found;
}

void
sd_shared_event_free(struct sd_shared_event *shared)
{
    pthread_mutex_lock(&event_lock);
    if (is_own(shared))
        own_taken[shared - own_events] = false;
    pthread_mutex_unlock(&event_lock);
}

/* -- records ------------------------------------------------------------------------------- */

uint64_t
sd_shared_event_record(struct sd_shared_event *shared)
{
    return atomic_fetch_add(&shared->recorded, 1) + 1;
}

static uint32_t *
wake_word(struct sd_shared_event *shared)
{
    return (uint32_t *)(void *)&shared->completed; /* the lower half */
}

void
sd_shared_event_complete(struct sd_shared_event *shared, uint64_t n)
{
    uint64_t old = atomic_load(&shared->completed);

    while (old < n && !atomic_compare_exchange_weak(&shared->completed, &old, n))
        continue;
    (void)syscall(SYS_futex, wake_word(shared), FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}

bool
sd_shared_event_done(struct sd_shared_event *shared)
{
    return atomic_load(&shared->completed) >= atomic_load(&shared->recorded);
}

void
sd_shared_event_wait(struct sd_shared_event *shared)
{
    uint64_t want = atomic_load(&shared->recorded), have;

    while ((have = atomic_load(&shared->completed)) < want)
        (void)syscall(SYS_futex, wake_word(shared), FUTEX_WAIT, (uint32_t)have, NULL, NULL, 0);
}

struct sd_op *
sd_shared_event_op(struct sd_shared_event *shared, struct CUctx_st *ctx)
{
    CUstreamBatchMemOpParams *param = calloc(1, sizeof(*param));
    struct sd_op *op = sd_op_new(SD_WORK_VALUES, ctx);

    if (param == NULL || op == NULL) {
        free(param);
        sd_op_free(op);
        return NULL;
    }
    param->waitValue.operation = CU_STREAM_MEM_OP_WAIT_VALUE_64;
    param->waitValue.address = (uintptr_t)&shared->completed;
    param->waitValue.value64 = atomic_load(&shared->recorded);
    param->waitValue.flags = CU_STREAM_WAIT_VALUE_GEQ;
    op->work.values = (struct sd_values_work){param, 1, 0};
    return op;
}

/* -- handles -------------------------------------------------------------------------------- */

GP_EXPORT CUresult
cuIpcGetEventHandle(CUipcEventHandle *pHandle, CUevent event)
{
    struct event_handle handle = {.magic = EVENT_MAGIC};
    CUcontext ctx;

    SD_ENTER(ctx);
    if (!sd_object_is(event, SD_EVENT))
        return CUDA_ERROR_INVALID_HANDLE;
    if (pHandle == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    pthread_mutex_lock(&event_lock);
    if (event->shared == NULL || !is_own(event->shared)) {
        pthread_mutex_unlock(&event_lock);
        return CUDA_ERROR_INVALID_HANDLE;
    }
    handle.pid = getpid();
    handle.fd = own_fd;
    handle.place = (uint32_t)(event->shared - own_events);
    handle.inode = own_inode;
    pthread_mutex_unlock(&event_lock);
    memcpy(pHandle, &handle, sizeof(handle));
    return CUDA_SUCCESS;
}

/* The other process's file, checked to be the one that is meant; event_lock is held. */
static struct sd_shared_event *
foreign_map(const struct event_handle *h)
{
    char path[64];
    struct stat st;
    void *map;
    GP_AUTO_CLOSE int fd = -1;

    snprintf(path, sizeof(path), "/proc/%d/fd/%d", h->pid, h->fd);
    fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) != 0 || st.st_ino != h->inode || st.st_size != FILE_BYTES ||
        fcntl(fd, F_GET_SEALS) < (F_SEAL_SHRINK | F_SEAL_GROW))
        return NULL;
    map = mmap(NULL, FILE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    return map != MAP_FAILED ? map : NULL;
}

/* event_lock is held. */
static struct sd_shared_event *
foreign_find(const struct event_handle *h)
{
    struct foreign *f;

    for (f = foreigns; f != NULL; f = f->next)
        if (f->of.pid == h->pid && f->of.fd == h->fd && f->of.inode == h->inode)
            return &f->events[h->place];
    f = calloc(1, sizeof(*f));
    if (f == NULL)
        return NULL;
    f->of = *h;
    f->events = foreign_map(h);
    if (f->events == NULL) {
        free(f);
        return NULL;
    }
    f->next = foreigns;
    foreigns = f;
    return &f->events[h->place];
}

GP_EXPORT CUresult
cuIpcOpenEventHandle(CUevent *phEvent, CUipcEventHandle handle)
{
    struct sd_shared_event *shared;
    struct event_handle h;
    CUcontext ctx;
    CUresult cr;

    SD_ENTER(ctx);
    memcpy(&h, &handle, sizeof(h));
    if (phEvent == NULL || h.magic != EVENT_MAGIC || h.place >= EVENT_PLACES)
        return CUDA_ERROR_INVALID_VALUE;
    if (h.pid == getpid())
        return CUDA_ERROR_INVALID_CONTEXT;
    pthread_mutex_lock(&event_lock);
    shared = foreign_find(&h);
    pthread_mutex_unlock(&event_lock);
    if (shared == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    cr = cuEventCreate(phEvent, CU_EVENT_DISABLE_TIMING);
    if (cr == CUDA_SUCCESS) {
        (*phEvent)->flags |= CU_EVENT_INTERPROCESS;
        (*phEvent)->shared = shared;
    }
    return cr;
}
