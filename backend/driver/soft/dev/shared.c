/* backend/driver/soft/dev/shared.c -- the segment that processes of one device share */
#include "backend/driver/soft/dev/shared.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>

#define SHARED_MAGIC 0x67707332u
#define SHARED_SLOTS 1024u

struct shared_slot {
    int32_t pid;
    uint32_t pad;
    uint64_t start; /* of the process, against a number that is used again */
    uint64_t used[SD_DEVICES_MAX];
};

struct shared_segment {
    uint32_t magic;
    uint32_t pad;
    pthread_mutex_t lock; /* robust; guards the rest but the engines */
    uint64_t used[SD_DEVICES_MAX];
    struct shared_slot slots[SHARED_SLOTS];
    pthread_mutex_t engines[SD_DEVICES_MAX][SD_ENGINES]; /* robust */
    uint64_t free_ns[SD_DEVICES_MAX][SD_ENGINES];        /* guarded by the engine */
};

/* Written once by sd_shared_open. */
static struct shared_segment *segment;
static struct shared_slot *self_slot;

static pthread_mutex_t own_engines[SD_DEVICES_MAX][SD_ENGINES];
static uint64_t own_free_ns[SD_DEVICES_MAX][SD_ENGINES]; /* guarded by the engine */
static pthread_once_t own_once = PTHREAD_ONCE_INIT;

/* A process's time of start in clock ticks; 0 if it is gone. */
static uint64_t
process_start(int32_t pid)
{
    char path[64], text[512];
    const char *at;
    GP_AUTO_CLOSE int fd = -1;
    ssize_t n;

    snprintf(path, sizeof(path), "/proc/%d/stat", pid);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    n = fd >= 0 ? read(fd, text, sizeof(text) - 1) : -1;
    if (n <= 0)
        return 0;
    text[n] = '\0';
    at = strrchr(text, ')'); /* the name before may hold anything */
    for (int field = 2; at != NULL && field < 22; field++)
        at = strchr(at + 1, ' ');
    return at != NULL ? strtoull(at, NULL, 10) : 0;
}

static void
robust_lock(pthread_mutex_t *mutex)
{
    if (pthread_mutex_lock(mutex) == EOWNERDEAD)
        pthread_mutex_consistent(mutex); /* counts are repaired by reap() */
}

/* Takes back what dead processes held; the lock is held. */
static void
reap(void)
{
    memset(segment->used, 0, sizeof(segment->used));
    for (unsigned i = 0; i < SHARED_SLOTS; i++) {
        struct shared_slot *slot = &segment->slots[i];

        if (slot->pid != 0 && slot != self_slot && process_start(slot->pid) != slot->start)
            memset(slot, 0, sizeof(*slot));
        for (int d = 0; d < SD_DEVICES_MAX; d++)
            segment->used[d] += slot->used[d];
    }
}

static void
mutex_init(pthread_mutex_t *mutex)
{
    pthread_mutexattr_t attr;

    pthread_mutexattr_init(&attr);
    pthread_mutexattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
    pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST);
    pthread_mutex_init(mutex, &attr);
    pthread_mutexattr_destroy(&attr);
}

/* The file is locked by the caller, so that one process makes the segment. */
static bool
segment_map(int fd)
{
    struct stat st;

    if (fstat(fd, &st) != 0 || st.st_uid != geteuid() ||
        (st.st_size != 0 && st.st_size != (off_t)sizeof(*segment)) ||
        (st.st_size == 0 && ftruncate(fd, sizeof(*segment)) != 0))
        return false;
    segment = mmap(NULL, sizeof(*segment), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (segment == MAP_FAILED) {
        segment = NULL;
        return false;
    }
    if (segment->magic == SHARED_MAGIC)
        return true;
    mutex_init(&segment->lock);
    for (int d = 0; d < SD_DEVICES_MAX; d++)
        for (int e = 0; e < SD_ENGINES; e++)
            mutex_init(&segment->engines[d][e]);
    segment->magic = SHARED_MAGIC;
    return true;
}

CUresult
sd_shared_open(const char *name)
{
    char path[160];
    int fd;
    bool good;

    if (*name == '\0')
        return CUDA_SUCCESS;
    if (strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_") !=
        strlen(name)) {
        log_error("software device: \"%s\" is no name for a shared device", name);
        return CUDA_ERROR_INVALID_VALUE;
    }
    snprintf(path, sizeof(path), "/gpupool-soft-%u-%s", (unsigned)geteuid(), name);
    fd = shm_open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    good = fd >= 0 && flock(fd, LOCK_EX) == 0 && segment_map(fd);
    if (fd >= 0) {
        (void)flock(fd, LOCK_UN); /* closing does not: the mapping keeps the file open */
        close(fd);
    }
    if (!good) {
        log_error("software device: shared segment %s: %m", path);
        return CUDA_ERROR_OPERATING_SYSTEM;
    }
    robust_lock(&segment->lock);
    reap();
    for (unsigned i = 0; i < SHARED_SLOTS && self_slot == NULL; i++)
        if (segment->slots[i].pid == 0)
            self_slot = &segment->slots[i];
    if (self_slot != NULL) {
        memset(self_slot, 0, sizeof(*self_slot));
        self_slot->pid = getpid();
        self_slot->start = process_start(self_slot->pid);
    }
    pthread_mutex_unlock(&segment->lock);
    if (self_slot == NULL) {
        log_error("software device: shared segment %s: more than %u processes", path,
                  SHARED_SLOTS);
        return CUDA_ERROR_OPERATING_SYSTEM;
    }
    return CUDA_SUCCESS;
}

bool
sd_shared_on(void)
{
    return self_slot != NULL;
}

CUresult
sd_shared_charge(int device, uint64_t bytes, uint64_t total)
{
    CUresult cr = CUDA_ERROR_OUT_OF_MEMORY;

    if (!sd_shared_on())
        return CUDA_SUCCESS;
    robust_lock(&segment->lock);
    if (segment->used[device] > total || bytes > total - segment->used[device])
        reap();
    if (segment->used[device] <= total && bytes <= total - segment->used[device]) {
        segment->used[device] += bytes;
        self_slot->used[device] += bytes;
        cr = CUDA_SUCCESS;
    }
    pthread_mutex_unlock(&segment->lock);
    return cr;
}

void
sd_shared_uncharge(int device, uint64_t bytes)
{
    if (!sd_shared_on())
        return;
    robust_lock(&segment->lock);
    segment->used[device] -= gp_min_u64(bytes, segment->used[device]);
    self_slot->used[device] -= gp_min_u64(bytes, self_slot->used[device]);
    pthread_mutex_unlock(&segment->lock);
}

uint64_t
sd_shared_used(int device)
{
    uint64_t used;

    robust_lock(&segment->lock);
    reap();
    used = segment->used[device];
    pthread_mutex_unlock(&segment->lock);
    return used;
}

static void
own_init(void)
{
    for (int d = 0; d < SD_DEVICES_MAX; d++)
        for (int e = 0; e < SD_ENGINES; e++)
            pthread_mutex_init(&own_engines[d][e], NULL);
}

void
sd_engine_lock(int device, enum sd_engine engine, uint64_t **free_p)
{
    pthread_once(&own_once, own_init);
    if (sd_shared_on()) {
        robust_lock(&segment->engines[device][engine]);
        *free_p = &segment->free_ns[device][engine];
    } else {
        pthread_mutex_lock(&own_engines[device][engine]);
        *free_p = &own_free_ns[device][engine];
    }
}

void
sd_engine_unlock(int device, enum sd_engine engine)
{
    pthread_mutex_unlock(sd_shared_on() ? &segment->engines[device][engine]
                                        : &own_engines[device][engine]);
}
