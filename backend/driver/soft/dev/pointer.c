/* backend/driver/soft/dev/pointer.c -- attributes of addresses; advice for managed memory */
#include "backend/driver/soft/dev/ctx.h"
#include "backend/driver/soft/dev/mem.h"
#include "backend/driver/soft/dev/sched.h"
#include "backend/driver/soft/dev/unpack.h"
#include "backend/driver/soft/dev/vmm.h"
#include "cuda_api.h"

#include <string.h>

static bool
put_int(void *data, int value)
{
    memcpy(data, &value, sizeof(value));
    return true;
}

static bool
put_u64(void *data, uint64_t value)
{
    memcpy(data, &value, sizeof(value));
    return true;
}

/* Mappings and host memory have no context of their own; the primary stands for it. */
static CUcontext
alloc_ctx(const struct sd_alloc *alloc)
{
    return alloc->ctx != NULL ? alloc->ctx : sd_device_get(alloc->device)->primary;
}

/* False if the attribute has no value for that memory. */
static bool
attribute_get(void *data, CUpointer_attribute attribute, uint64_t ptr, const struct sd_alloc *a)
{
    bool host = sd_mem_is_host(a->kind);
    bool managed = a->kind == SD_MEM_MANAGED;

    switch (attribute) {
    case CU_POINTER_ATTRIBUTE_CONTEXT:
        return put_u64(data, (uintptr_t)alloc_ctx(a));
    case CU_POINTER_ATTRIBUTE_MEMORY_TYPE:
        return put_int(data, host ? CU_MEMORYTYPE_HOST : CU_MEMORYTYPE_DEVICE);
    case CU_POINTER_ATTRIBUTE_DEVICE_POINTER:
        return put_u64(data, ptr);
    case CU_POINTER_ATTRIBUTE_HOST_POINTER:
        return (host || managed) && put_u64(data, ptr);
    case CU_POINTER_ATTRIBUTE_SYNC_MEMOPS:
        return put_int(data, a->sync_memops);
    case CU_POINTER_ATTRIBUTE_BUFFER_ID:
    case CU_POINTER_ATTRIBUTE_MEMORY_BLOCK_ID:
        return put_u64(data, a->id);
    case CU_POINTER_ATTRIBUTE_IS_MANAGED:
        return put_int(data, managed);
    case CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL:
        return put_int(data, a->device);
    case CU_POINTER_ATTRIBUTE_IS_LEGACY_CUDA_IPC_CAPABLE:
        return put_int(data, a->kind == SD_MEM_DEVICE);
    case CU_POINTER_ATTRIBUTE_RANGE_START_ADDR:
    case CU_POINTER_ATTRIBUTE_MAPPING_BASE_ADDR:
        return put_u64(data, a->base);
    case CU_POINTER_ATTRIBUTE_RANGE_SIZE:
    case CU_POINTER_ATTRIBUTE_MAPPING_SIZE:
        return put_u64(data, a->bytes);
    case CU_POINTER_ATTRIBUTE_MAPPED:
        return put_int(data, 1);
    case CU_POINTER_ATTRIBUTE_ALLOWED_HANDLE_TYPES:
        return put_u64(data, a->kind == SD_MEM_VMM ? sd_phys_handle_types(a->owner) : 0);
    case CU_POINTER_ATTRIBUTE_IS_GPU_DIRECT_RDMA_CAPABLE:
        return put_int(data, 0);
    case CU_POINTER_ATTRIBUTE_IS_HW_DECOMPRESS_CAPABLE:
        return put_int(data, sd_unpack_capable(a));
    case CU_POINTER_ATTRIBUTE_ACCESS_FLAGS:
        return put_int(data, a->writable != 0   ? CU_POINTER_ATTRIBUTE_ACCESS_FLAG_READWRITE
                             : a->readable != 0 ? CU_POINTER_ATTRIBUTE_ACCESS_FLAG_READ
                                                : CU_POINTER_ATTRIBUTE_ACCESS_FLAG_NONE);
    case CU_POINTER_ATTRIBUTE_MEMPOOL_HANDLE:
        return put_u64(data, a->kind == SD_MEM_POOL ? (uintptr_t)a->owner : 0);
    default:
        return false;
    }
}

GP_EXPORT CUresult
cuPointerGetAttribute(void *data, CUpointer_attribute attribute, CUdeviceptr ptr)
{
    struct sd_alloc alloc;

    SD_ENTER_READY();
    if (data == NULL || !sd_map_find(ptr, &alloc))
        return CUDA_ERROR_INVALID_VALUE;
    if (attribute == CU_POINTER_ATTRIBUTE_P2P_TOKENS)
        return sd_refuse("cuPointerGetAttribute of P2P tokens");
    return attribute_get(data, attribute, ptr, &alloc) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

/* What plain host memory, and attributes without a value, get from cuPointerGetAttributes. */
static void
attribute_none(void *data, CUpointer_attribute attribute)
{
    switch (attribute) {
    case CU_POINTER_ATTRIBUTE_CONTEXT:
    case CU_POINTER_ATTRIBUTE_DEVICE_POINTER:
    case CU_POINTER_ATTRIBUTE_HOST_POINTER:
    case CU_POINTER_ATTRIBUTE_BUFFER_ID:
    case CU_POINTER_ATTRIBUTE_MEMORY_BLOCK_ID:
    case CU_POINTER_ATTRIBUTE_RANGE_START_ADDR:
    case CU_POINTER_ATTRIBUTE_RANGE_SIZE:
    case CU_POINTER_ATTRIBUTE_MAPPING_BASE_ADDR:
    case CU_POINTER_ATTRIBUTE_MAPPING_SIZE:
    case CU_POINTER_ATTRIBUTE_ALLOWED_HANDLE_TYPES:
    case CU_POINTER_ATTRIBUTE_MEMPOOL_HANDLE:
        put_u64(data, 0);
        break;
    case CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL:
        put_int(data, -2);
        break;
    case CU_POINTER_ATTRIBUTE_P2P_TOKENS:
        memset(data, 0, sizeof(CUDA_POINTER_ATTRIBUTE_P2P_TOKENS));
        break;
    default:
        put_int(data, 0);
        break;
    }
}

GP_EXPORT CUresult
cuPointerGetAttributes(unsigned int numAttributes, CUpointer_attribute *attributes, void **data,
                       CUdeviceptr ptr)
{
    struct sd_alloc alloc;
    bool found;

    SD_ENTER_READY();
    if (attributes == NULL || data == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    for (unsigned i = 0; i < numAttributes; i++)
        if (data[i] == NULL || (unsigned)attributes[i] < CU_POINTER_ATTRIBUTE_CONTEXT ||
            attributes[i] > CU_POINTER_ATTRIBUTE_IS_HW_DECOMPRESS_CAPABLE)
            return CUDA_ERROR_INVALID_VALUE;
    found = sd_map_find(ptr, &alloc);
    for (unsigned i = 0; i < numAttributes; i++)
        if (!found || !attribute_get(data[i], attributes[i], ptr, &alloc))
            attribute_none(data[i], attributes[i]);
    return CUDA_SUCCESS;
}

static void
change_sync_memops(struct sd_alloc *alloc, void *user)
{
    alloc->sync_memops = *(const unsigned *)user != 0;
}

GP_EXPORT CUresult
cuPointerSetAttribute(const void *value, CUpointer_attribute attribute, CUdeviceptr ptr)
{
    unsigned on;

    SD_ENTER_READY();
    if (value == NULL || attribute != CU_POINTER_ATTRIBUTE_SYNC_MEMOPS)
        return CUDA_ERROR_INVALID_VALUE;
    memcpy(&on, value, sizeof(on));
    return sd_map_change(ptr, 1, change_sync_memops, &on) != 0 ? CUDA_SUCCESS
                                                               : CUDA_ERROR_INVALID_VALUE;
}

/* --- advice --- */

struct advice {
    CUmem_advise what;
    CUmemLocation location;
    bool prefetch;
};

static uint64_t
location_bit(const CUmemLocation *location)
{
    return location->type == CU_MEM_LOCATION_TYPE_DEVICE ? 1ull << location->id : 1ull << 63;
}

static void
change_advice(struct sd_alloc *a, void *user)
{
    const struct advice *advice = user;

    if (advice->prefetch) {
        a->prefetched[0] = (int)advice->location.type;
        a->prefetched[1] = advice->location.id;
        return;
    }
    switch (advice->what) {
    case CU_MEM_ADVISE_SET_READ_MOSTLY:
    case CU_MEM_ADVISE_UNSET_READ_MOSTLY:
        a->read_mostly = advice->what == CU_MEM_ADVISE_SET_READ_MOSTLY;
        break;
    case CU_MEM_ADVISE_SET_PREFERRED_LOCATION:
        a->preferred[0] = (int)advice->location.type;
        a->preferred[1] = advice->location.id;
        break;
    case CU_MEM_ADVISE_UNSET_PREFERRED_LOCATION:
        a->preferred[0] = CU_MEM_LOCATION_TYPE_INVALID;
        break;
    case CU_MEM_ADVISE_SET_ACCESSED_BY:
        a->accessed_by |= location_bit(&advice->location);
        break;
    case CU_MEM_ADVISE_UNSET_ACCESSED_BY:
        a->accessed_by &= ~location_bit(&advice->location);
        break;
    }
}

static bool
location_valid(const CUmemLocation *location)
{
    switch (location->type) {
    case CU_MEM_LOCATION_TYPE_DEVICE:
        return sd_device_get(location->id) != NULL;
    case CU_MEM_LOCATION_TYPE_HOST:
    case CU_MEM_LOCATION_TYPE_HOST_NUMA:
    case CU_MEM_LOCATION_TYPE_HOST_NUMA_CURRENT:
        return true;
    default:
        return false;
    }
}

/* The whole range must be managed memory. */
static CUresult
advise(CUdeviceptr ptr, size_t count, struct advice *advice)
{
    struct sd_alloc first;

    if (count == 0 || sd_map_reach(ptr, count, &first) != SD_REACH_WRITE ||
        first.kind != SD_MEM_MANAGED)
        return CUDA_ERROR_INVALID_VALUE;
    sd_map_change(ptr, count, change_advice, advice);
    return CUDA_SUCCESS;
}

GP_EXPORT CUresult
cuMemAdvise_v2(CUdeviceptr devPtr, size_t count, CUmem_advise advice, CUmemLocation location)
{
    struct advice a = {.what = advice, .location = location};
    bool needs_location = advice == CU_MEM_ADVISE_SET_PREFERRED_LOCATION ||
                          advice == CU_MEM_ADVISE_SET_ACCESSED_BY ||
                          advice == CU_MEM_ADVISE_UNSET_ACCESSED_BY;
    CUcontext ctx;

    SD_ENTER(ctx);
    if ((unsigned)advice < CU_MEM_ADVISE_SET_READ_MOSTLY ||
        advice > CU_MEM_ADVISE_UNSET_ACCESSED_BY)
        return CUDA_ERROR_INVALID_VALUE;
    if (needs_location && !location_valid(&location))
        return CUDA_ERROR_INVALID_DEVICE;
    return advise(devPtr, count, &a);
}

static CUmemLocation
location_of_device(CUdevice device)
{
    return (CUmemLocation){device == CU_DEVICE_CPU ? CU_MEM_LOCATION_TYPE_HOST
                                                   : CU_MEM_LOCATION_TYPE_DEVICE,
                           device == CU_DEVICE_CPU ? 0 : device};
}

GP_EXPORT CUresult
cuMemAdvise(CUdeviceptr devPtr, size_t count, CUmem_advise advice, CUdevice device)
{
    return cuMemAdvise_v2(devPtr, count, advice, location_of_device(device));
}

GP_EXPORT CUresult
cuMemPrefetchAsync_v2(CUdeviceptr devPtr, size_t count, CUmemLocation location,
                      unsigned int flags, CUstream hStream)
{
    struct advice a = {.location = location, .prefetch = true};
    CUstream stream;
    CUresult cr = sd_stream_get_running(hStream, &stream);

    if (cr != CUDA_SUCCESS)
        return cr;
    if (flags != 0)
        return CUDA_ERROR_INVALID_VALUE;
    if (!location_valid(&location))
        return CUDA_ERROR_INVALID_DEVICE;
    return advise(devPtr, count, &a); /* the memory is where everybody reaches it already */
}

GP_EXPORT CUresult
cuMemPrefetchAsync(CUdeviceptr devPtr, size_t count, CUdevice dstDevice, CUstream hStream)
{
    return cuMemPrefetchAsync_v2(devPtr, count, location_of_device(dstDevice), 0, hStream);
}

/* Every range must be managed memory. */
static CUresult
batch_check(const CUdeviceptr *dptrs, const size_t *sizes, size_t count, unsigned long long flags)
{
    struct sd_alloc first;

    if (dptrs == NULL || sizes == NULL || count == 0 || flags != 0)
        return CUDA_ERROR_INVALID_VALUE;
    for (size_t i = 0; i < count; i++)
        if (sizes[i] == 0 || sd_map_reach(dptrs[i], sizes[i], &first) != SD_REACH_WRITE ||
            first.kind != SD_MEM_MANAGED)
            return CUDA_ERROR_INVALID_VALUE;
    return CUDA_SUCCESS;
}

GP_EXPORT CUresult
cuMemPrefetchBatchAsync(CUdeviceptr *dptrs, size_t *sizes, size_t count,
                        CUmemLocation *prefetchLocs, size_t *prefetchLocIdxs,
                        size_t numPrefetchLocs, unsigned long long flags, CUstream hStream)
{
    CUstream stream;
    CUresult cr = sd_stream_get_running(hStream, &stream);

    if (cr == CUDA_SUCCESS)
        cr = batch_check(dptrs, sizes, count, flags);
    if (cr != CUDA_SUCCESS)
        return cr;
    if (prefetchLocs == NULL || prefetchLocIdxs == NULL || numPrefetchLocs == 0 ||
        numPrefetchLocs > count || prefetchLocIdxs[0] != 0)
        return CUDA_ERROR_INVALID_VALUE;
    for (size_t l = 0; l < numPrefetchLocs; l++) {
        if (l > 0 &&
            (prefetchLocIdxs[l] <= prefetchLocIdxs[l - 1] || prefetchLocIdxs[l] >= count))
            return CUDA_ERROR_INVALID_VALUE;
        if (!location_valid(&prefetchLocs[l]))
            return CUDA_ERROR_INVALID_DEVICE;
    }
    for (size_t i = 0, l = 0; i < count && cr == CUDA_SUCCESS; i++) {
        struct advice a = {.prefetch = true};

        if (l + 1 < numPrefetchLocs && prefetchLocIdxs[l + 1] == i)
            l++;
        a.location = prefetchLocs[l];
        cr = advise(dptrs[i], sizes[i], &a);
    }
    return cr;
}

/* What is discarded may stay as it is. */
GP_EXPORT CUresult
cuMemDiscardBatchAsync(CUdeviceptr *dptrs, size_t *sizes, size_t count, unsigned long long flags,
                       CUstream hStream)
{
    CUstream stream;
    CUresult cr = sd_stream_get_running(hStream, &stream);

    return cr != CUDA_SUCCESS ? cr : batch_check(dptrs, sizes, count, flags);
}

GP_EXPORT CUresult
cuMemDiscardAndPrefetchBatchAsync(CUdeviceptr *dptrs, size_t *sizes, size_t count,
                                  CUmemLocation *prefetchLocs, size_t *prefetchLocIdxs,
                                  size_t numPrefetchLocs, unsigned long long flags,
                                  CUstream hStream)
{
    return cuMemPrefetchBatchAsync(dptrs, sizes, count, prefetchLocs, prefetchLocIdxs,
                                   numPrefetchLocs, flags, hStream);
}

/* In the old style: a device ordinal, -1 for the host, -2 for none. */
static int
old_location(const int location[2])
{
    if (location[0] == CU_MEM_LOCATION_TYPE_INVALID)
        return CU_DEVICE_INVALID;
    return location[0] == CU_MEM_LOCATION_TYPE_DEVICE ? location[1] : CU_DEVICE_CPU;
}

static void
list_accessed_by(int *list, size_t count, uint64_t bits)
{
    size_t n = 0;

    for (int bit = 0; bit < 64 && n < count; bit++)
        if ((bits & (1ull << bit)) != 0)
            list[n++] = bit == 63 ? CU_DEVICE_CPU : bit;
    while (n < count)
        list[n++] = CU_DEVICE_INVALID;
}

GP_EXPORT CUresult
cuMemRangeGetAttribute(void *data, size_t dataSize, CUmem_range_attribute attribute,
                       CUdeviceptr devPtr, size_t count)
{
    struct sd_alloc a;
    CUcontext ctx;
    int value;

    SD_ENTER(ctx);
    if (data == NULL || dataSize < 4 || dataSize % 4 != 0 || count == 0 ||
        sd_map_reach(devPtr, count, &a) != SD_REACH_WRITE || a.kind != SD_MEM_MANAGED)
        return CUDA_ERROR_INVALID_VALUE;
    switch (attribute) {
    case CU_MEM_RANGE_ATTRIBUTE_READ_MOSTLY:
        value = a.read_mostly;
        break;
    case CU_MEM_RANGE_ATTRIBUTE_PREFERRED_LOCATION:
        value = old_location(a.preferred);
        break;
    case CU_MEM_RANGE_ATTRIBUTE_ACCESSED_BY:
        list_accessed_by(data, dataSize / 4, a.accessed_by);
        return CUDA_SUCCESS;
    case CU_MEM_RANGE_ATTRIBUTE_LAST_PREFETCH_LOCATION:
        value = old_location(a.prefetched);
        break;
    case CU_MEM_RANGE_ATTRIBUTE_PREFERRED_LOCATION_TYPE:
        value = a.preferred[0];
        break;
    case CU_MEM_RANGE_ATTRIBUTE_PREFERRED_LOCATION_ID:
        value = a.preferred[1];
        break;
    case CU_MEM_RANGE_ATTRIBUTE_LAST_PREFETCH_LOCATION_TYPE:
        value = a.prefetched[0];
        break;
    case CU_MEM_RANGE_ATTRIBUTE_LAST_PREFETCH_LOCATION_ID:
        value = a.prefetched[1];
        break;
    default:
        return CUDA_ERROR_INVALID_VALUE;
    }
    put_int(data, value);
    return CUDA_SUCCESS;
}

GP_EXPORT CUresult
cuMemRangeGetAttributes(void **data, size_t *dataSizes, CUmem_range_attribute *attributes,
                        size_t numAttributes, CUdeviceptr devPtr, size_t count)
{
    if (data == NULL || dataSizes == NULL || attributes == NULL || numAttributes == 0)
        return CUDA_ERROR_INVALID_VALUE;
    for (size_t i = 0; i < numAttributes; i++) {
        CUresult cr = cuMemRangeGetAttribute(data[i], dataSizes[i], attributes[i], devPtr, count);

        if (cr != CUDA_SUCCESS)
            return cr;
    }
    return CUDA_SUCCESS;
}

GP_EXPORT CUresult
cuStreamAttachMemAsync(CUstream hStream, CUdeviceptr dptr, size_t length, unsigned int flags)
{
    struct sd_alloc alloc;
    CUstream stream;
    CUresult cr = sd_stream_get_running(hStream, &stream);

    if (cr != CUDA_SUCCESS)
        return cr;
    if ((flags != CU_MEM_ATTACH_GLOBAL && flags != CU_MEM_ATTACH_HOST &&
         flags != CU_MEM_ATTACH_SINGLE) ||
        (flags == CU_MEM_ATTACH_SINGLE && stream->legacy) || !sd_map_find(dptr, &alloc) ||
        alloc.kind != SD_MEM_MANAGED || (length != 0 && length != alloc.bytes))
        return CUDA_ERROR_INVALID_VALUE;
    return CUDA_SUCCESS;
}
