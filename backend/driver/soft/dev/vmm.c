/* backend/driver/soft/dev/vmm.c -- virtual memory management
 *
 * A reservation is address space without access. A mapping lays a piece of a memory file over
 * it, still without access; cuMemSetAccess opens it. The same piece may be mapped several times.
 */
#include "backend/driver/soft/dev/vmm.h"

#include "backend/driver/soft/dev/ctx.h"
#include "backend/driver/soft/dev/multicast.h"
#include "backend/driver/soft/dev/sched.h"
#include "cuda_api.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

/* Kinds of what cuMemMap makes. */
#define MAPPINGS (1u << SD_MEM_VMM | 1u << SD_MEM_MULTICAST)

struct reservation {
    uint64_t base;
    uint64_t bytes;
    struct reservation *next;
};

/* Ranks before the address map; guards reservations and counts of physical objects. */
static pthread_mutex_t vmm_lock = PTHREAD_MUTEX_INITIALIZER;
static struct reservation *reservations;
/* Around all reservations that there ever were; written under the lock, they only widen. Relaxed is
 * enough: who asks for an address of a reservation was given it. */
static _Atomic uint64_t reserved_low = UINT64_MAX, reserved_high;

pthread_mutex_t *
sd_vmm_mutex(void)
{
    return &vmm_lock;
}

unsigned
sd_phys_handle_types(const void *phys)
{
    return ((const struct sd_phys *)phys)->prop.requestedHandleTypes;
}

unsigned
sd_phys_usage(const void *phys)
{
    return ((const struct sd_phys *)phys)->prop.allocFlags.usage;
}

/* vmm_lock is held. */
static bool
reserved(uint64_t base, uint64_t bytes)
{
    for (const struct reservation *r = reservations; r != NULL; r = r->next)
        if (base >= r->base && base + bytes >= base && base + bytes <= r->base + r->bytes)
            return true;
    return false;
}

/* vmm_lock is held. */
static void
reserved_widen(const struct reservation *r)
{
    if (r->base < atomic_load_explicit(&reserved_low, memory_order_relaxed))
        atomic_store_explicit(&reserved_low, r->base, memory_order_relaxed);
    if (r->base + r->bytes > atomic_load_explicit(&reserved_high, memory_order_relaxed))
        atomic_store_explicit(&reserved_high, r->base + r->bytes, memory_order_relaxed);
}

bool
sd_address_is_device(uint64_t addr)
{
    bool is;

    for (int d = 0; d < sd_device_count(); d++) {
        const struct sd_device *dev = sd_device_get(d);

        if (addr - sd_arena_base(dev) < sd_arena_bytes(dev))
            return true;
    }
    /* Every copy of pageable memory asks. */
    if (addr < atomic_load_explicit(&reserved_low, memory_order_relaxed) ||
        addr >= atomic_load_explicit(&reserved_high, memory_order_relaxed))
        return false;
    pthread_mutex_lock(&vmm_lock);
    is = reserved(addr, 1);
    pthread_mutex_unlock(&vmm_lock);
    return is;
}

static void *
lay_nothing(uint64_t base, uint64_t bytes, int more_flags)
{
    return mmap((void *)(uintptr_t)base, bytes, PROT_NONE,
                MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | more_flags, -1, 0);
}

/* At the wish if that is free, else anywhere; aligned. MAP_FAILED if there is no room. */
static void *
reserve(uint64_t wish, uint64_t bytes, uint64_t align)
{
    uint64_t base, end;
    void *at;

    if (wish != 0 && wish % align == 0) {
        at = lay_nothing(wish, bytes, 0); /* the kernel takes it as a wish */
        if (at != MAP_FAILED && (uintptr_t)at == wish)
            return at;
        if (at != MAP_FAILED)
            munmap(at, bytes);
    }
    if (bytes + align < bytes)
        return MAP_FAILED;
    at = lay_nothing(0, bytes + align, 0);
    if (at == MAP_FAILED)
        return at;
    base = gp_align_up_u64((uintptr_t)at, align);
    end = (uintptr_t)at + bytes + align;
    if (base != (uintptr_t)at)
        munmap(at, base - (uintptr_t)at);
    if (end != base + bytes)
        munmap((void *)(uintptr_t)(base + bytes), end - base - bytes);
    return (void *)(uintptr_t)base;
}

GP_EXPORT CUresult
cuMemAddressReserve(CUdeviceptr *ptr, size_t size, size_t alignment, CUdeviceptr addr,
                    unsigned long long flags)
{
    uint64_t align = alignment > SD_GRANULARITY ? alignment : SD_GRANULARITY;
    struct reservation *r;
    void *at;

    SD_ENTER_READY();
    if (ptr == NULL || size == 0 || size % SD_GRANULARITY != 0 ||
        (alignment & (alignment - 1)) != 0 || flags != 0)
        return CUDA_ERROR_INVALID_VALUE;
    r = malloc(sizeof(*r));
    if (r == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    at = reserve(addr, size, align);
    if (at == MAP_FAILED) {
        free(r);
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    (void)madvise(at, size, MADV_DONTDUMP);
    r->base = (uintptr_t)at;
    r->bytes = size;
    pthread_mutex_lock(&vmm_lock);
    r->next = reservations;
    reservations = r;
    reserved_widen(r);
    pthread_mutex_unlock(&vmm_lock);
    *ptr = r->base;
    return CUDA_SUCCESS;
}

GP_EXPORT CUresult
cuMemAddressFree(CUdeviceptr ptr, size_t size)
{
    struct reservation **link, *r;
    CUresult cr = CUDA_ERROR_INVALID_VALUE;

    SD_ENTER_READY();
    pthread_mutex_lock(&vmm_lock);
    for (link = &reservations; *link != NULL; link = &(*link)->next)
        if ((*link)->base == ptr && (*link)->bytes == size)
            break;
    r = *link;
    if (r != NULL && sd_map_change(ptr, size, NULL, NULL) == 0) {
        *link = r->next;
        munmap((void *)(uintptr_t)ptr, size);
        free(r);
        cr = CUDA_SUCCESS;
    }
    pthread_mutex_unlock(&vmm_lock);
    return cr;
}

static CUresult
prop_device(const CUmemAllocationProp *prop, struct sd_device **dev_p)
{
    if (prop->type != CU_MEM_ALLOCATION_TYPE_PINNED)
        return CUDA_ERROR_INVALID_VALUE;
    if (prop->location.type != CU_MEM_LOCATION_TYPE_DEVICE)
        return prop->location.type == CU_MEM_LOCATION_TYPE_INVALID
                   ? CUDA_ERROR_INVALID_VALUE
                   : sd_refuse("cuMemCreate of host memory");
    if ((prop->requestedHandleTypes & ~CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR) != 0)
        return CUDA_ERROR_NOT_SUPPORTED;
    *dev_p = sd_device_get(prop->location.id);
    return *dev_p != NULL ? CUDA_SUCCESS : CUDA_ERROR_INVALID_DEVICE;
}

GP_EXPORT CUresult
cuMemGetAllocationGranularity(size_t *granularity, const CUmemAllocationProp *prop,
                              CUmemAllocationGranularity_flags option)
{
    struct sd_device *dev;
    CUresult cr;

    SD_ENTER_READY();
    if (granularity == NULL || prop == NULL ||
        (unsigned)option > CU_MEM_ALLOC_GRANULARITY_RECOMMENDED)
        return CUDA_ERROR_INVALID_VALUE;
    cr = prop_device(prop, &dev);
    if (cr == CUDA_SUCCESS)
        *granularity = SD_GRANULARITY;
    return cr;
}

/* --- physical objects --- */

/* What the object's bytes are: a piece of the device's file or a file of its own. */
static CUresult
phys_back(struct sd_phys *phys)
{
    CUresult cr;

    phys->fd = -1;
    if (phys->prop.requestedHandleTypes == CU_MEM_HANDLE_TYPE_NONE)
        return sd_arena_take(phys->dev, phys->bytes, SD_GRANULARITY, &phys->place);
    cr = sd_arena_charge(phys->dev, phys->bytes);
    if (cr != CUDA_SUCCESS)
        return cr;
    phys->fd = memfd_create("gpupool-soft-object", MFD_CLOEXEC);
    if (phys->fd < 0 || ftruncate(phys->fd, (off_t)phys->bytes) != 0) {
        log_error("software device %d: memory file of %llu bytes: %m", phys->dev->ordinal,
                  (unsigned long long)phys->bytes);
        if (phys->fd >= 0)
            close(phys->fd);
        sd_arena_uncharge(phys->dev, phys->bytes);
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    return CUDA_SUCCESS;
}

static void
phys_destroy(struct sd_phys *phys)
{
    if (phys->team != NULL) {
        sd_team_end(phys);
    } else if (phys->fd < 0) {
        sd_arena_give(phys->dev, phys->place, phys->bytes);
    } else {
        close(phys->fd);
        if (!phys->imported)
            sd_arena_uncharge(phys->dev, phys->bytes);
    }
    sd_object_free(phys);
}

/* Takes one handle or mapping back. */
void
sd_phys_put(struct sd_phys *phys, bool mapping)
{
    bool last;

    pthread_mutex_lock(&vmm_lock);
    if (mapping)
        phys->mappings--;
    else
        phys->handles--;
    last = phys->handles == 0 && phys->mappings == 0;
    pthread_mutex_unlock(&vmm_lock);
    if (last)
        phys_destroy(phys);
}

CUresult
sd_phys_of(CUmemGenericAllocationHandle handle, struct sd_phys **phys_p)
{
    struct sd_phys *phys = (struct sd_phys *)(uintptr_t)handle;

    if (!sd_object_is(phys, SD_PHYS) || phys->handles == 0)
        return CUDA_ERROR_INVALID_VALUE;
    *phys_p = phys;
    return CUDA_SUCCESS;
}

GP_EXPORT CUresult
cuMemCreate(CUmemGenericAllocationHandle *handle, size_t size, const CUmemAllocationProp *prop,
            unsigned long long flags)
{
    struct sd_device *dev = NULL;
    struct sd_phys *phys;
    CUresult cr;

    SD_ENTER_READY();
    if (handle == NULL || prop == NULL || size == 0 || size % SD_GRANULARITY != 0 || flags != 0)
        return CUDA_ERROR_INVALID_VALUE;
    cr = prop_device(prop, &dev);
    if (cr != CUDA_SUCCESS)
        return cr;
    phys = sd_object_new(SD_PHYS, sizeof(*phys));
    if (phys == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    phys->dev = dev;
    phys->prop = *prop;
    phys->bytes = size;
    phys->handles = 1;
    cr = phys_back(phys);
    if (cr != CUDA_SUCCESS) {
        sd_object_free(phys);
        return cr;
    }
    *handle = (uintptr_t)phys;
    return CUDA_SUCCESS;
}

GP_EXPORT CUresult
cuMemRelease(CUmemGenericAllocationHandle handle)
{
    struct sd_phys *phys;
    CUresult cr;

    SD_ENTER_READY();
    cr = sd_phys_of(handle, &phys);
    if (cr == CUDA_SUCCESS)
        sd_phys_put(phys, false);
    return cr;
}

GP_EXPORT CUresult
cuMemRetainAllocationHandle(CUmemGenericAllocationHandle *handle, void *addr)
{
    struct sd_alloc alloc;
    struct sd_phys *phys;

    SD_ENTER_READY();
    if (handle == NULL || !sd_map_find((uintptr_t)addr, &alloc) ||
        (1u << alloc.kind & MAPPINGS) == 0)
        return CUDA_ERROR_INVALID_VALUE;
    phys = alloc.owner;
    pthread_mutex_lock(&vmm_lock);
    phys->handles++;
    pthread_mutex_unlock(&vmm_lock);
    *handle = (uintptr_t)phys;
    return CUDA_SUCCESS;
}

GP_EXPORT CUresult
cuMemGetAllocationPropertiesFromHandle(CUmemAllocationProp *prop,
                                       CUmemGenericAllocationHandle handle)
{
    struct sd_phys *phys;
    CUresult cr;

    SD_ENTER_READY();
    cr = sd_phys_of(handle, &phys);
    if (cr != CUDA_SUCCESS)
        return cr;
    if (prop == NULL || phys->team != NULL)
        return CUDA_ERROR_INVALID_VALUE;
    *prop = phys->prop;
    return CUDA_SUCCESS;
}

/* --- sharing --- */

GP_EXPORT CUresult
cuMemExportToShareableHandle(void *shareableHandle, CUmemGenericAllocationHandle handle,
                             CUmemAllocationHandleType handleType, unsigned long long flags)
{
    struct sd_phys *phys;
    CUresult cr;
    int fd;

    SD_ENTER_READY();
    cr = sd_phys_of(handle, &phys);
    if (cr != CUDA_SUCCESS)
        return cr;
    if (shareableHandle == NULL || flags != 0 ||
        handleType != CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR || phys->fd < 0)
        return CUDA_ERROR_INVALID_VALUE;
    fd = fcntl(phys->fd, F_DUPFD_CLOEXEC, 0);
    if (fd < 0)
        return CUDA_ERROR_OPERATING_SYSTEM;
    memcpy(shareableHandle, &fd, sizeof(fd));
    return CUDA_SUCCESS;
}

GP_EXPORT CUresult
cuMemImportFromShareableHandle(CUmemGenericAllocationHandle *handle, void *osHandle,
                               CUmemAllocationHandleType shHandleType)
{
    int fd = (int)(intptr_t)osHandle;
    struct sd_phys *phys;
    struct stat st;
    int seals;

    SD_ENTER_READY();
    if (handle == NULL || shHandleType != CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR)
        return CUDA_ERROR_INVALID_VALUE;
    /* Only a memory file may be mapped: any other could change its size under us. */
    seals = fcntl(fd, F_GET_SEALS);
    if (seals < 0 || fstat(fd, &st) != 0 || st.st_size <= 0 || st.st_size % SD_GRANULARITY != 0)
        return CUDA_ERROR_INVALID_VALUE;
    phys = sd_object_new(SD_PHYS, sizeof(*phys));
    if (phys == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    phys->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    if (phys->fd < 0) {
        sd_object_free(phys);
        return CUDA_ERROR_OPERATING_SYSTEM;
    }
    phys->dev = sd_device_get(0);
    phys->bytes = (uint64_t)st.st_size;
    phys->handles = 1;
    phys->imported = true;
    phys->prop = (CUmemAllocationProp){
        .type = CU_MEM_ALLOCATION_TYPE_PINNED,
        .requestedHandleTypes = CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR,
        .location = {CU_MEM_LOCATION_TYPE_DEVICE, 0},
    };
    *handle = (uintptr_t)phys;
    return CUDA_SUCCESS;
}

/* --- mappings --- */

static CUresult
lay_phys(uint64_t base, uint64_t bytes, const struct sd_phys *phys, uint64_t offset)
{
    int fd = phys->fd >= 0 ? phys->fd : sd_arena_fd(phys->dev);
    void *at = mmap((void *)(uintptr_t)base, bytes, PROT_NONE, MAP_SHARED | MAP_FIXED, fd,
                    (off_t)(phys->place + offset));

    if (at != MAP_FAILED)
        return CUDA_SUCCESS;
    log_error("software device %d: map %llu bytes: %m", phys->dev->ordinal,
              (unsigned long long)bytes);
    return CUDA_ERROR_OUT_OF_MEMORY;
}

uint64_t
sd_phys_alias(const struct sd_phys *phys, uint64_t offset, uint64_t bytes)
{
    int fd = phys->fd >= 0 ? phys->fd : sd_arena_fd(phys->dev);
    void *at =
        mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, (off_t)(phys->place + offset));

    return at != MAP_FAILED ? (uintptr_t)at : 0;
}

GP_EXPORT CUresult
cuMemMap(CUdeviceptr ptr, size_t size, size_t offset, CUmemGenericAllocationHandle handle,
         unsigned long long flags)
{
    struct sd_alloc alloc = {.kind = SD_MEM_VMM, .base = ptr, .bytes = size, .offset = offset};
    struct sd_phys *phys;
    CUresult cr;

    SD_ENTER_READY();
    cr = sd_phys_of(handle, &phys);
    if (cr != CUDA_SUCCESS)
        return cr;
    if (size == 0 || ptr % SD_GRANULARITY != 0 || size % SD_GRANULARITY != 0 ||
        offset % SD_GRANULARITY != 0 || offset > phys->bytes || size > phys->bytes - offset ||
        flags != 0)
        return CUDA_ERROR_INVALID_VALUE;
    alloc.end = ptr + size;
    alloc.device = phys->dev->ordinal;
    alloc.owner = phys;
    if (phys->team != NULL)
        alloc.kind = SD_MEM_MULTICAST;
    pthread_mutex_lock(&vmm_lock);
    sd_team_wait(phys);
    cr = reserved(ptr, size) ? sd_map_add(&alloc) : CUDA_ERROR_INVALID_VALUE;
    if (cr == CUDA_SUCCESS) {
        if (phys->team == NULL) /* kernels reach it by its places */
            cr = lay_phys(ptr, size, phys, offset);
        if (cr == CUDA_SUCCESS)
            phys->mappings++;
        else
            (void)sd_map_take(ptr, MAPPINGS, &alloc);
    }
    pthread_mutex_unlock(&vmm_lock);
    return cr == CUDA_ERROR_ALREADY_MAPPED ? CUDA_ERROR_INVALID_VALUE : cr;
}

struct whole {
    uint64_t from;
    uint64_t to;
    bool good;
};

/* Whether each touched entry is a mapping that lies wholly within the range. */
static void
check_whole(struct sd_alloc *alloc, void *user)
{
    struct whole *w = user;

    if ((1u << alloc->kind & MAPPINGS) == 0 || alloc->base < w->from || alloc->end > w->to)
        w->good = false;
}

GP_EXPORT CUresult
cuMemUnmap(CUdeviceptr ptr, size_t size)
{
    struct whole w = {ptr, ptr + size, true};
    struct sd_alloc alloc;
    CUresult cr = CUDA_SUCCESS;

    SD_ENTER_READY();
    if (size == 0 || ptr + size < ptr)
        return CUDA_ERROR_INVALID_VALUE;
    pthread_mutex_lock(&vmm_lock);
    if (sd_map_change(ptr, size, check_whole, &w) != size || !w.good)
        cr = CUDA_ERROR_INVALID_VALUE;
    else if (lay_nothing(ptr, size, MAP_FIXED) == MAP_FAILED)
        cr = CUDA_ERROR_OUT_OF_MEMORY;
    pthread_mutex_unlock(&vmm_lock);
    if (cr != CUDA_SUCCESS)
        return cr;
    for (uint64_t at = ptr; at < ptr + size; at = alloc.end) {
        if (!sd_map_take(at, MAPPINGS, &alloc))
            return CUDA_ERROR_INVALID_VALUE; /* another thread unmaps the same */
        sd_phys_put(alloc.owner, true);
    }
    return CUDA_SUCCESS;
}

struct access {
    uint64_t readable;
    uint64_t writable;
    uint64_t named; /* devices that the call names */
    bool failed;
};

/* The process has one view of the memory: it gets the widest access of all devices. */
static void
change_access(struct sd_alloc *alloc, void *user)
{
    struct access *a = user;
    int prot = PROT_NONE;

    alloc->readable = (alloc->readable & ~a->named) | a->readable;
    alloc->writable = (alloc->writable & ~a->named) | a->writable;
    if (alloc->readable != 0)
        prot |= PROT_READ;
    if (alloc->writable != 0)
        prot |= PROT_WRITE;
    if (alloc->kind == SD_MEM_VMM &&
        mprotect((void *)(uintptr_t)alloc->base, alloc->end - alloc->base, prot) != 0)
        a->failed = true;
}

static CUresult
access_parse(const CUmemAccessDesc *desc, size_t count, struct access *a)
{
    for (size_t i = 0; i < count; i++) {
        uint64_t bit;

        if (desc[i].location.type != CU_MEM_LOCATION_TYPE_DEVICE) {
            if (desc[i].location.type == CU_MEM_LOCATION_TYPE_HOST ||
                desc[i].location.type == CU_MEM_LOCATION_TYPE_HOST_NUMA)
                return sd_refuse("cuMemSetAccess for the host");
            return CUDA_ERROR_INVALID_VALUE;
        }
        if (sd_device_get(desc[i].location.id) == NULL)
            return CUDA_ERROR_INVALID_DEVICE;
        bit = 1ull << desc[i].location.id;
        a->named |= bit;
        a->readable &= ~bit;
        a->writable &= ~bit;
        switch (desc[i].flags) {
        case CU_MEM_ACCESS_FLAGS_PROT_NONE:
            break;
        case CU_MEM_ACCESS_FLAGS_PROT_READWRITE:
            a->writable |= bit;
            a->readable |= bit;
            break;
        case CU_MEM_ACCESS_FLAGS_PROT_READ:
            a->readable |= bit;
            break;
        default:
            return CUDA_ERROR_INVALID_VALUE;
        }
    }
    return CUDA_SUCCESS;
}

GP_EXPORT CUresult
cuMemSetAccess(CUdeviceptr ptr, size_t size, const CUmemAccessDesc *desc, size_t count)
{
    struct whole w = {ptr, ptr + size, true};
    struct access a = {0};
    CUresult cr;

    SD_ENTER_READY();
    if (size == 0 || desc == NULL || count == 0 || ptr + size < ptr || ptr % SD_GRANULARITY != 0 ||
        size % SD_GRANULARITY != 0)
        return CUDA_ERROR_INVALID_VALUE;
    cr = access_parse(desc, count, &a);
    if (cr != CUDA_SUCCESS)
        return cr;
    pthread_mutex_lock(&vmm_lock);
    if (sd_map_change(ptr, size, check_whole, &w) != size || !w.good)
        cr = CUDA_ERROR_INVALID_VALUE;
    else
        sd_map_change(ptr, size, change_access, &a);
    pthread_mutex_unlock(&vmm_lock);
    if (cr == CUDA_SUCCESS && a.failed) {
        log_error("software device: change access to %zu bytes: %m", size);
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    return cr;
}

GP_EXPORT CUresult
cuMemGetAccess(unsigned long long *flags, const CUmemLocation *location, CUdeviceptr ptr)
{
    struct sd_alloc alloc;
    uint64_t bit;

    SD_ENTER_READY();
    if (flags == NULL || location == NULL || !sd_map_find(ptr, &alloc) ||
        (1u << alloc.kind & MAPPINGS) == 0 || location->type != CU_MEM_LOCATION_TYPE_DEVICE ||
        sd_device_get(location->id) == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    bit = 1ull << location->id;
    *flags = (alloc.writable & bit) != 0   ? CU_MEM_ACCESS_FLAGS_PROT_READWRITE
             : (alloc.readable & bit) != 0 ? CU_MEM_ACCESS_FLAGS_PROT_READ
                                           : CU_MEM_ACCESS_FLAGS_PROT_NONE;
    return CUDA_SUCCESS;
}
