/* backend/driver/soft/dev/mem.c -- device memory */
#include "backend/driver/soft/dev/mem.h"

#include "backend/driver/soft/dev/ctx.h"
#include "backend/driver/soft/dev/graph.h"
#include "backend/driver/soft/dev/ipc.h"
#include "backend/driver/soft/dev/mempool.h"
#include "backend/driver/soft/dev/sched.h"
#include "cuda_api.h"
#include "protocol/legacy/external.h"

#include <sys/mman.h>

#define PITCH_ALIGN 512u

CUresult
sd_mem_alloc(struct sd_device *dev, CUcontext ctx, void *owner, enum sd_mem_kind kind,
             uint64_t bytes, unsigned flags, uint64_t *addr_p)
{
    uint64_t rounded = gp_align_up_u64(bytes, SD_MEM_ALIGN);
    uint64_t align = rounded >= 65536 ? 65536 : SD_MEM_ALIGN;
    uint64_t access = kind == SD_MEM_MANAGED ? UINT64_MAX : 1ull << dev->ordinal;
    struct sd_alloc alloc = {
        .bytes = bytes,
        .kind = kind,
        .device = dev->ordinal,
        .readable = access,
        .writable = access,
        .flags = flags,
        .ctx = ctx,
        .owner = owner,
    };
    uint64_t place;
    CUresult cr;

    if (rounded < bytes)
        return CUDA_ERROR_OUT_OF_MEMORY;
    cr = sd_arena_take(dev, rounded, align, &place);
    if (cr != CUDA_SUCCESS)
        return cr;
    alloc.base = sd_arena_base(dev) + place;
    alloc.end = alloc.base + (dev->profile.strict ? bytes : rounded);
    cr = sd_map_add(&alloc);
    if (cr != CUDA_SUCCESS) {
        sd_arena_give(dev, place, rounded);
        return cr;
    }
    *addr_p = alloc.base;
    return CUDA_SUCCESS;
}

void
sd_mem_release(const struct sd_alloc *alloc)
{
    struct sd_device *dev = sd_device_get(alloc->device);

    switch (alloc->kind) {
    case SD_MEM_POOL:
        sd_mempool_give(alloc);
        break;
    case SD_MEM_DEVICE:
    case SD_MEM_MANAGED:
    case SD_MEM_VARIABLE:
        sd_arena_give(dev, alloc->base - sd_arena_base(dev),
                      gp_align_up_u64(alloc->bytes, SD_MEM_ALIGN));
        break;
    case SD_MEM_HOST:
        munmap((void *)(uintptr_t)alloc->base, alloc->bytes);
        break;
    case SD_MEM_IPC:
        sd_ipc_unmap(alloc);
        break;
    case SD_MEM_GRAPH: /* the nodes own the place */
    case SD_MEM_REGISTERED:
    case SD_MEM_MULTICAST:
    case SD_MEM_VMM: /* vmm.c counts the object's mappings itself */
        break;
    }
}

void
sd_mem_release_all(const struct CUctx_st *ctx, const void *owner)
{
    struct sd_alloc alloc;

    while (sd_map_take_of(ctx, owner, &alloc))
        sd_mem_release(&alloc);
}

CUresult
sd_mem_free(CUcontext ctx, uint64_t addr)
{
    const unsigned kinds = 1u << SD_MEM_DEVICE | 1u << SD_MEM_MANAGED | 1u << SD_MEM_POOL |
                           1u << SD_MEM_GRAPH | 1u << SD_MEM_IPC;
    struct sd_alloc alloc;

    if (addr == 0)
        return CUDA_SUCCESS;
    if (!sd_map_find(addr, &alloc) || alloc.base != addr || (kinds & (1u << alloc.kind)) == 0)
        return CUDA_ERROR_INVALID_VALUE;
    /* Kernels that are still queued may use it. */
    sd_ctx_wait_all(alloc.ctx != NULL ? alloc.ctx : ctx);
    if (alloc.kind == SD_MEM_POOL)
        return sd_mempool_free_now(addr);
    if (alloc.kind == SD_MEM_IPC)
        return sd_ipc_close(addr, true);
    if (alloc.kind == SD_MEM_GRAPH && !sd_graph_mem_freeing(alloc.owner))
        return CUDA_ERROR_INVALID_VALUE;
    if (!sd_map_take(addr, kinds, &alloc))
        return CUDA_ERROR_INVALID_VALUE;
    sd_mem_release(&alloc);
    if (alloc.kind == SD_MEM_GRAPH)
        sd_graph_mem_unref(alloc.owner);
    sd_ctx_print_flush(ctx);
    return (CUresult)atomic_load(&ctx->error);
}

GP_EXPORT CUresult
cuMemGetInfo_v2(size_t *free_out, size_t *total)
{
    uint64_t free_bytes, total_bytes;
    CUcontext ctx;

    SD_ENTER(ctx);
    if (free_out == NULL || total == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    sd_arena_info(ctx->dev, &free_bytes, &total_bytes);
    *free_out = free_bytes;
    *total = total_bytes;
    return CUDA_SUCCESS;
}

GP_EXPORT CUresult
cuMemAlloc_v2(CUdeviceptr *dptr, size_t bytesize)
{
    CUcontext ctx;
    uint64_t addr;
    CUresult cr;

    SD_ENTER(ctx);
    if (dptr == NULL || bytesize == 0)
        return CUDA_ERROR_INVALID_VALUE;
    if (atomic_load(&ctx->captures) != 0 && sd_capture_forbids())
        return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
    cr = sd_mem_alloc(ctx->dev, ctx, NULL, SD_MEM_DEVICE, bytesize, 0, &addr);
    if (cr == CUDA_ERROR_OUT_OF_MEMORY && sd_mempool_trim_all(ctx->dev))
        cr = sd_mem_alloc(ctx->dev, ctx, NULL, SD_MEM_DEVICE, bytesize, 0, &addr);
    if (cr == CUDA_SUCCESS)
        *dptr = addr;
    return cr;
}

GP_EXPORT CUresult
cuMemAllocPitch_v2(CUdeviceptr *dptr, size_t *pPitch, size_t WidthInBytes, size_t Height,
                   unsigned int ElementSizeBytes)
{
    uint64_t pitch = gp_align_up_u64(WidthInBytes, PITCH_ALIGN);
    uint64_t bytes;
    CUcontext ctx;
    CUresult cr;

    SD_ENTER(ctx);
    if (pPitch == NULL || WidthInBytes == 0 || Height == 0 || pitch < WidthInBytes ||
        (ElementSizeBytes != 4 && ElementSizeBytes != 8 && ElementSizeBytes != 16))
        return CUDA_ERROR_INVALID_VALUE;
    if (__builtin_mul_overflow(pitch, Height, &bytes))
        return CUDA_ERROR_OUT_OF_MEMORY;
    cr = cuMemAlloc_v2(dptr, bytes);
    if (cr == CUDA_SUCCESS)
        *pPitch = pitch;
    return cr;
}

GP_EXPORT CUresult
cuMemFree_v2(CUdeviceptr dptr)
{
    CUcontext ctx;
    CUresult cr;

    SD_ENTER(ctx);
    if (atomic_load(&ctx->captures) != 0 && sd_capture_forbids())
        return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
    cr = sd_mem_free(ctx, dptr);
    if (cr == CUDA_ERROR_INVALID_VALUE)
        (void)gp_external_free(dptr, &cr);
    return cr;
}

GP_EXPORT CUresult
cuMemAllocManaged(CUdeviceptr *dptr, size_t bytesize, unsigned int flags)
{
    CUcontext ctx;
    uint64_t addr;
    CUresult cr;

    SD_ENTER(ctx);
    if (dptr == NULL || bytesize == 0 ||
        (flags != CU_MEM_ATTACH_GLOBAL && flags != CU_MEM_ATTACH_HOST))
        return CUDA_ERROR_INVALID_VALUE;
    cr = sd_mem_alloc(ctx->dev, ctx, NULL, SD_MEM_MANAGED, bytesize, flags, &addr);
    if (cr == CUDA_SUCCESS)
        *dptr = addr;
    return cr;
}

GP_EXPORT CUresult
cuMemGetAddressRange_v2(CUdeviceptr *pbase, size_t *psize, CUdeviceptr dptr)
{
    struct sd_alloc alloc;
    CUcontext ctx;

    SD_ENTER(ctx);
    if (!sd_map_find(dptr, &alloc))
        return CUDA_ERROR_NOT_FOUND;
    if (pbase != NULL)
        *pbase = alloc.base;
    if (psize != NULL)
        *psize = alloc.bytes;
    return CUDA_SUCCESS;
}
