/* backend/driver/soft/dev/ipc.c -- legacy IPC handles
 *
 * A handle names the process, the memory file of its device and the place in it. The other
 * process opens the file through /proc, which the kernel allows to processes of one user, and
 * maps the allocation's pages.
 */
#include "backend/driver/soft/dev/ipc.h"

#include "backend/driver/soft/dev/ctx.h"
#include "backend/driver/soft/dev/mem.h"
#include "backend/driver/soft/dev/sched.h"
#include "cuda_api.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#define IPC_MAGIC  0x67706970u
#define POOL_MAGIC 0x67707070u

struct ipc_handle {
    uint32_t magic;
    int32_t pid;
    int32_t fd;
    int32_t device;
    uint64_t inode;
    uint64_t place;
    uint64_t bytes;
    uint64_t number; /* POOL: of the pool */
    uint64_t zero[2];
};

_Static_assert(sizeof(struct ipc_handle) == sizeof(CUipcMemHandle), "64 bytes");

/* One mapped allocation of another process; opened several times it is counted. */
struct ipc_mapping {
    struct ipc_mapping *next;
    struct ipc_handle handle;
    uint64_t base;
    void *map;
    size_t map_bytes;
    unsigned refs;
};

/* Ranks before the address map. */
static pthread_mutex_t ipc_lock = PTHREAD_MUTEX_INITIALIZER;
static struct ipc_mapping *ipc_mappings;

static CUresult
describe(const struct sd_alloc *alloc, uint32_t magic, uint64_t number, void *to)
{
    struct sd_device *dev = sd_device_get(alloc->device);
    struct ipc_handle handle = {.magic = magic, .number = number};
    struct stat st;

    handle.pid = getpid();
    handle.fd = sd_arena_fd(dev);
    handle.device = dev->ordinal;
    handle.place = alloc->base - sd_arena_base(dev);
    handle.bytes = alloc->bytes;
    if (fstat(handle.fd, &st) != 0)
        return CUDA_ERROR_OPERATING_SYSTEM;
    handle.inode = st.st_ino;
    memcpy(to, &handle, sizeof(handle));
    return CUDA_SUCCESS;
}

GP_EXPORT CUresult
cuIpcGetMemHandle(CUipcMemHandle *pHandle, CUdeviceptr dptr)
{
    struct sd_alloc alloc;
    CUcontext ctx;

    SD_ENTER(ctx);
    if (pHandle == NULL || !sd_map_find(dptr, &alloc) || alloc.kind != SD_MEM_DEVICE)
        return CUDA_ERROR_INVALID_VALUE;
    return describe(&alloc, IPC_MAGIC, 0, pHandle);
}

CUresult
sd_ipc_export(const struct sd_alloc *alloc, uint64_t number, void *data)
{
    return describe(alloc, POOL_MAGIC, number, data);
}

/* The other process's memory file, checked to be the one that the handle means; -1 if not. */
static int
ipc_open(const struct ipc_handle *handle)
{
    char path[64];
    struct stat st;
    int fd;

    snprintf(path, sizeof(path), "/proc/%d/fd/%d", handle->pid, handle->fd);
    fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0)
        return -1;
    if (fstat(fd, &st) == 0 && st.st_ino == handle->inode && fcntl(fd, F_GET_SEALS) >= 0 &&
        handle->bytes != 0 && handle->place <= (uint64_t)st.st_size &&
        handle->bytes <= (uint64_t)st.st_size - handle->place)
        return fd;
    close(fd);
    return -1;
}

/* ipc_lock is held. */
static CUresult
ipc_map(CUcontext ctx, const struct ipc_handle *handle, struct ipc_mapping **mapping_p)
{
    struct sd_alloc alloc = {.kind = SD_MEM_IPC, .bytes = handle->bytes, .ctx = ctx};
    uint64_t from = handle->place & ~4095ull, to = handle->place + handle->bytes;
    struct ipc_mapping *m;
    GP_AUTO_CLOSE int fd = ipc_open(handle);
    CUresult cr;

    if (fd < 0)
        return CUDA_ERROR_INVALID_VALUE;
    m = calloc(1, sizeof(*m));
    if (m == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    m->map_bytes = gp_align_up_u64(to, 4096) - from;
    m->map = mmap(NULL, m->map_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, (off_t)from);
    if (m->map == MAP_FAILED) {
        free(m);
        return CUDA_ERROR_MAP_FAILED;
    }
    m->handle = *handle;
    m->base = (uintptr_t)m->map + (handle->place - from);
    m->refs = 1;
    alloc.base = m->base;
    alloc.end = m->base + handle->bytes;
    alloc.device = sd_device_get(handle->device) != NULL ? handle->device : 0;
    alloc.readable = alloc.writable = UINT64_MAX;
    cr = sd_map_add(&alloc);
    if (cr != CUDA_SUCCESS) {
        munmap(m->map, m->map_bytes);
        free(m);
        return cr;
    }
    m->next = ipc_mappings;
    ipc_mappings = m;
    *mapping_p = m;
    return CUDA_SUCCESS;
}

static CUresult
open_or_count(CUcontext ctx, const struct ipc_handle *h, CUdeviceptr *address_p)
{
    struct ipc_mapping *m;
    CUresult cr = CUDA_SUCCESS;

    pthread_mutex_lock(&ipc_lock);
    for (m = ipc_mappings; m != NULL; m = m->next)
        if (memcmp(&m->handle, h, sizeof(*h)) == 0)
            break;
    if (m != NULL)
        m->refs++;
    else
        cr = ipc_map(ctx, h, &m);
    if (cr == CUDA_SUCCESS)
        *address_p = m->base;
    pthread_mutex_unlock(&ipc_lock);
    return cr;
}

GP_EXPORT CUresult
cuIpcOpenMemHandle_v2(CUdeviceptr *pdptr, CUipcMemHandle handle, unsigned int Flags)
{
    struct ipc_handle h;
    CUcontext ctx;

    SD_ENTER(ctx);
    memcpy(&h, &handle, sizeof(h));
    if (pdptr == NULL || (Flags & ~(unsigned)CU_IPC_MEM_LAZY_ENABLE_PEER_ACCESS) != 0 ||
        h.magic != IPC_MAGIC)
        return CUDA_ERROR_INVALID_VALUE;
    if (h.pid == getpid())
        return CUDA_ERROR_INVALID_CONTEXT;
    return open_or_count(ctx, &h, pdptr);
}

CUresult
sd_ipc_import(CUcontext ctx, const void *data, uint64_t number, CUdeviceptr *address_p)
{
    struct ipc_handle h;

    memcpy(&h, data, sizeof(h));
    if (h.magic != POOL_MAGIC || h.number != number)
        return CUDA_ERROR_INVALID_VALUE;
    return open_or_count(ctx, &h, address_p);
}

GP_EXPORT CUresult
cuIpcOpenMemHandle(CUdeviceptr *pdptr, CUipcMemHandle handle, unsigned int Flags)
{
    return cuIpcOpenMemHandle_v2(pdptr, handle, Flags);
}

void
sd_ipc_unmap(const struct sd_alloc *alloc)
{
    struct ipc_mapping **link, *m;

    pthread_mutex_lock(&ipc_lock);
    for (link = &ipc_mappings; *link != NULL && (*link)->base != alloc->base;)
        link = &(*link)->next;
    m = *link;
    if (m != NULL)
        *link = m->next;
    pthread_mutex_unlock(&ipc_lock);
    if (m != NULL) {
        munmap(m->map, m->map_bytes);
        free(m);
    }
}

CUresult
sd_ipc_close(uint64_t address, bool of_pool)
{
    struct ipc_mapping *m;
    struct sd_alloc alloc;
    bool last = false;

    pthread_mutex_lock(&ipc_lock);
    for (m = ipc_mappings; m != NULL && m->base != address;)
        m = m->next;
    if (m != NULL && (m->handle.magic == POOL_MAGIC) != of_pool)
        m = NULL;
    if (m != NULL)
        last = --m->refs == 0;
    pthread_mutex_unlock(&ipc_lock);
    if (m == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    if (last && sd_map_take(address, 1u << SD_MEM_IPC, &alloc))
        sd_mem_release(&alloc);
    return CUDA_SUCCESS;
}

GP_EXPORT CUresult
cuIpcCloseMemHandle(CUdeviceptr dptr)
{
    CUcontext ctx;

    SD_ENTER(ctx);
    sd_ctx_wait_all(ctx); /* kernels that are still queued may use it */
    return sd_ipc_close(dptr, false);
}
