/* backend/driver/soft/dev/host_mem.c -- pinned host memory: kernels reach it at its own address */
#include "backend/driver/soft/dev/ctx.h"
#include "backend/driver/soft/dev/mem.h"
#include "backend/driver/soft/dev/sched.h"
#include "cuda_api.h"

#include <sys/mman.h>
#include <unistd.h>

#define HOST_FLAGS (CU_MEMHOSTALLOC_PORTABLE | CU_MEMHOSTALLOC_DEVICEMAP | CU_MEMHOSTALLOC_WRITECOMBINED)
#define REGISTER_FLAGS                                                                             \
    (CU_MEMHOSTREGISTER_PORTABLE | CU_MEMHOSTREGISTER_DEVICEMAP | CU_MEMHOSTREGISTER_IOMEMORY |    \
     CU_MEMHOSTREGISTER_READ_ONLY)

GP_EXPORT CUresult
cuMemHostAlloc(void **pp, size_t bytesize, unsigned int Flags)
{
    struct sd_alloc alloc = {.kind = SD_MEM_HOST, .readable = UINT64_MAX, .writable = UINT64_MAX};
    CUcontext ctx;
    CUresult cr;
    void *at;

    SD_ENTER(ctx);
    if (pp == NULL || bytesize == 0 || (Flags & ~(unsigned)HOST_FLAGS) != 0)
        return CUDA_ERROR_INVALID_VALUE;
    if (bytesize > (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE))
        return CUDA_ERROR_OUT_OF_MEMORY; /* pinned memory has a page of the machine behind each */
    at = mmap(NULL, bytesize, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
              -1, 0);
    if (at == MAP_FAILED)
        return CUDA_ERROR_OUT_OF_MEMORY;
    alloc.base = (uintptr_t)at;
    alloc.bytes = bytesize;
    alloc.end = alloc.base +
                (ctx->dev->profile.strict ? bytesize : gp_align_up_u64(bytesize, SD_MEM_ALIGN));
    alloc.device = ctx->dev->ordinal;
    alloc.flags = Flags | CU_MEMHOSTALLOC_DEVICEMAP; /* unified addressing maps all of it */
    alloc.ctx = ctx;
    cr = sd_map_add(&alloc);
    if (cr != CUDA_SUCCESS) {
        munmap(at, bytesize);
        return cr;
    }
    *pp = at;
    return CUDA_SUCCESS;
}

GP_EXPORT CUresult
cuMemAllocHost_v2(void **pp, size_t bytesize)
{
    return cuMemHostAlloc(pp, bytesize, 0);
}

GP_EXPORT CUresult
cuMemAllocHost(void **pp, unsigned int bytesize)
{
    return cuMemHostAlloc(pp, bytesize, 0);
}

GP_EXPORT CUresult
cuMemFreeHost(void *p)
{
    struct sd_alloc alloc;
    CUcontext ctx;

    SD_ENTER(ctx);
    if (p == NULL)
        return CUDA_SUCCESS;
    if (!sd_map_find((uintptr_t)p, &alloc) || alloc.kind != SD_MEM_HOST ||
        alloc.base != (uintptr_t)p)
        return CUDA_ERROR_INVALID_VALUE;
    sd_ctx_wait_all(alloc.ctx);
    if (!sd_map_take((uintptr_t)p, 1u << SD_MEM_HOST, &alloc))
        return CUDA_ERROR_INVALID_VALUE;
    sd_mem_release(&alloc);
    return CUDA_SUCCESS;
}

/* Whether every page of the range exists: a kernel must not take the process down. */
static bool
pages_exist(const void *p, size_t bytes)
{
    uintptr_t from = (uintptr_t)p & ~4095ul, to = gp_align_up_u64((uintptr_t)p + bytes, 4096);
    unsigned char vec[1024];

    while (from < to) {
        size_t step = gp_min_u64(to - from, sizeof(vec) * 4096ul);

        if (mincore((void *)from, step, vec) != 0)
            return false;
        from += step;
    }
    return true;
}

GP_EXPORT CUresult
cuMemHostRegister_v2(void *p, size_t bytesize, unsigned int Flags)
{
    struct sd_alloc alloc = {.kind = SD_MEM_REGISTERED, .readable = UINT64_MAX};
    CUcontext ctx;
    CUresult cr;

    SD_ENTER(ctx);
    if (p == NULL || bytesize == 0 || (Flags & ~(unsigned)REGISTER_FLAGS) != 0 ||
        (uintptr_t)p + bytesize < (uintptr_t)p || !pages_exist(p, bytesize))
        return CUDA_ERROR_INVALID_VALUE;
    if ((Flags & CU_MEMHOSTREGISTER_IOMEMORY) != 0)
        return CUDA_ERROR_NOT_SUPPORTED; /* there is no such memory here */
    alloc.base = (uintptr_t)p;
    alloc.bytes = bytesize;
    alloc.end = alloc.base + bytesize;
    alloc.device = ctx->dev->ordinal;
    alloc.writable = (Flags & CU_MEMHOSTREGISTER_READ_ONLY) != 0 ? 0 : UINT64_MAX;
    alloc.flags = Flags | CU_MEMHOSTALLOC_DEVICEMAP;
    alloc.ctx = ctx;
    cr = sd_map_add(&alloc);
    return cr == CUDA_ERROR_ALREADY_MAPPED ? CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED : cr;
}

GP_EXPORT CUresult
cuMemHostRegister(void *p, size_t bytesize, unsigned int Flags)
{
    return cuMemHostRegister_v2(p, bytesize, Flags);
}

GP_EXPORT CUresult
cuMemHostUnregister(void *p)
{
    struct sd_alloc alloc;
    CUcontext ctx;

    SD_ENTER(ctx);
    if (p == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    if (!sd_map_find((uintptr_t)p, &alloc) || alloc.kind != SD_MEM_REGISTERED ||
        alloc.base != (uintptr_t)p)
        return CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED;
    sd_ctx_wait_all(alloc.ctx);
    return sd_map_take((uintptr_t)p, 1u << SD_MEM_REGISTERED, &alloc)
               ? CUDA_SUCCESS
               : CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED;
}

GP_EXPORT CUresult
cuMemHostGetDevicePointer_v2(CUdeviceptr *pdptr, void *p, unsigned int Flags)
{
    struct sd_alloc alloc;
    CUcontext ctx;

    SD_ENTER(ctx);
    if (pdptr == NULL || Flags != 0 || !sd_map_find((uintptr_t)p, &alloc) ||
        !(sd_mem_is_host(alloc.kind) || alloc.kind == SD_MEM_MANAGED))
        return CUDA_ERROR_INVALID_VALUE;
    *pdptr = (uintptr_t)p;
    return CUDA_SUCCESS;
}

/* Of the time when addresses of devices had 32 bits. */
GP_EXPORT CUresult
cuMemHostGetDevicePointer(CUdeviceptr_v1 *pdptr, void *p, unsigned int Flags)
{
    CUdeviceptr wide = 0;
    CUresult cr = cuMemHostGetDevicePointer_v2(pdptr != NULL ? &wide : NULL, p, Flags);

    if (cr != CUDA_SUCCESS)
        return cr;
    if (wide > UINT32_MAX)
        return CUDA_ERROR_INVALID_VALUE;
    *pdptr = (CUdeviceptr_v1)wide;
    return CUDA_SUCCESS;
}

GP_EXPORT CUresult
cuMemHostGetFlags(unsigned int *pFlags, void *p)
{
    struct sd_alloc alloc;
    CUcontext ctx;

    SD_ENTER(ctx);
    if (pFlags == NULL || !sd_map_find((uintptr_t)p, &alloc) || !sd_mem_is_host(alloc.kind))
        return CUDA_ERROR_INVALID_VALUE;
    *pFlags = alloc.flags;
    return CUDA_SUCCESS;
}
