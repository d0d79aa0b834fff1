/* protocol/legacy/external.c -- external memory in terms of virtual memory management
 *
 * What can be imported is what a driver made exportable: here, descriptors that
 * cuMemExportToShareableHandle gave, in this or another process. The memory is mapped once as a
 * whole; buffers are places in it and are counted.
 */
#include "protocol/legacy/external.h"

#include "cuda_api.h"
#include "protocol/base/util.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct buffer {
    CUdeviceptr address;
    struct buffer *next;
};

struct CUextMemory_st {
    /* Set once. */
    CUmemGenericAllocationHandle handle;
    CUdeviceptr base;
    size_t mapped; /* bytes of addresses */
    unsigned long long size;

    /* Guarded by external.lock. */
    bool destroyed; /* lives on in its buffers */
    struct buffer *buffers;
    struct CUextMemory_st *next;
};

/* Leaves first: calls of the API are made under it, which take locks of their own. */
static struct {
    pthread_mutex_t lock;
    struct CUextMemory_st *all; /* guarded by lock */
} external = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* --- import --- */

static CUresult
desc_check(const CUDA_EXTERNAL_MEMORY_HANDLE_DESC *desc)
{
    if (desc == NULL || desc->size == 0 || (desc->flags & ~CUDA_EXTERNAL_MEMORY_DEDICATED) != 0)
        return CUDA_ERROR_INVALID_VALUE;
    switch (desc->type) {
    case CU_EXTERNAL_MEMORY_HANDLE_TYPE_OPAQUE_FD:
        return desc->handle.fd >= 0 ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
    case CU_EXTERNAL_MEMORY_HANDLE_TYPE_OPAQUE_WIN32:
    case CU_EXTERNAL_MEMORY_HANDLE_TYPE_OPAQUE_WIN32_KMT:
    case CU_EXTERNAL_MEMORY_HANDLE_TYPE_D3D12_HEAP:
    case CU_EXTERNAL_MEMORY_HANDLE_TYPE_D3D12_RESOURCE:
    case CU_EXTERNAL_MEMORY_HANDLE_TYPE_D3D11_RESOURCE:
    case CU_EXTERNAL_MEMORY_HANDLE_TYPE_D3D11_RESOURCE_KMT:
    case CU_EXTERNAL_MEMORY_HANDLE_TYPE_NVSCIBUF:
    case CU_EXTERNAL_MEMORY_HANDLE_TYPE_DMABUF_FD:
        return CUDA_ERROR_NOT_SUPPORTED;
    default:
        return CUDA_ERROR_INVALID_VALUE;
    }
}

/* Addresses for all of it, without access. */
static CUresult
lay(struct CUextMemory_st *memory)
{
    CUmemAllocationProp prop;
    size_t granule = 0;
    CUresult cr;

    cr = cuMemGetAllocationPropertiesFromHandle(&prop, memory->handle);
    if (cr == CUDA_SUCCESS)
        cr = cuMemGetAllocationGranularity(&granule, &prop, CU_MEM_ALLOC_GRANULARITY_MINIMUM);
    if (cr != CUDA_SUCCESS)
        return cr;
    if (memory->size > SIZE_MAX - granule)
        return CUDA_ERROR_INVALID_VALUE;
    memory->mapped = gp_align_up_u64(memory->size, granule);
    cr = cuMemAddressReserve(&memory->base, memory->mapped, 0, 0, 0);
    if (cr != CUDA_SUCCESS)
        return cr;
    cr = cuMemMap(memory->base, memory->mapped, 0, memory->handle, 0);
    if (cr != CUDA_SUCCESS)
        (void)cuMemAddressFree(memory->base, memory->mapped);
    return cr;
}

GP_EXPORT CUresult
cuImportExternalMemory(CUexternalMemory *memory_p, const CUDA_EXTERNAL_MEMORY_HANDLE_DESC *desc)
{
    struct CUextMemory_st *memory;
    CUcontext ctx = NULL;
    CUresult cr = cuCtxGetCurrent(&ctx);

    if (cr == CUDA_SUCCESS && ctx == NULL)
        cr = CUDA_ERROR_INVALID_CONTEXT;
    if (cr == CUDA_SUCCESS)
        cr = memory_p != NULL ? desc_check(desc) : CUDA_ERROR_INVALID_VALUE;
    if (cr != CUDA_SUCCESS)
        return cr;
    memory = calloc(1, sizeof(*memory));
    if (memory == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    memory->size = desc->size;
    cr = cuMemImportFromShareableHandle(&memory->handle, (void *)(intptr_t)desc->handle.fd,
                                        CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR);
    if (cr == CUDA_SUCCESS) {
        cr = lay(memory);
        if (cr != CUDA_SUCCESS)
            (void)cuMemRelease(memory->handle);
    }
    if (cr != CUDA_SUCCESS) {
        free(memory);
        return cr;
    }
    (void)close(desc->handle.fd); /* it is the driver's from now on */
    pthread_mutex_lock(&external.lock);
    memory->next = external.all;
    external.all = memory;
    pthread_mutex_unlock(&external.lock);
    *memory_p = memory;
    return CUDA_SUCCESS;
}

/* --- ends --- */

/* The lock is held. */
static struct CUextMemory_st *
find(CUexternalMemory handle)
{
    struct CUextMemory_st *memory = external.all;

    while (memory != NULL && (memory != handle || memory->destroyed))
        memory = memory->next;
    return memory;
}

/* The lock is held. */
static CUresult
end_if_gone(struct CUextMemory_st *memory)
{
    struct CUextMemory_st **link = &external.all;
    CUresult cr;

    if (!memory->destroyed || memory->buffers != NULL)
        return CUDA_SUCCESS;
    while (*link != memory)
        link = &(*link)->next;
    *link = memory->next;
    cr = cuMemUnmap(memory->base, memory->mapped);
    (void)cuMemAddressFree(memory->base, memory->mapped);
    (void)cuMemRelease(memory->handle);
    free(memory);
    return cr;
}

GP_EXPORT CUresult
cuDestroyExternalMemory(CUexternalMemory handle)
{
    struct CUextMemory_st *memory;
    CUcontext ctx = NULL;
    CUresult cr = cuCtxGetCurrent(&ctx);

    if (cr != CUDA_SUCCESS)
        return cr;
    pthread_mutex_lock(&external.lock);
    memory = find(handle);
    if (memory == NULL) {
        cr = CUDA_ERROR_INVALID_HANDLE;
    } else {
        memory->destroyed = true;
        cr = end_if_gone(memory);
    }
    pthread_mutex_unlock(&external.lock);
    return cr;
}

bool
gp_external_free(CUdeviceptr address, CUresult *cr_p)
{
    struct buffer **link = NULL, *buffer = NULL;
    struct CUextMemory_st *memory;

    pthread_mutex_lock(&external.lock);
    for (memory = external.all; memory != NULL && buffer == NULL;) {
        for (link = &memory->buffers; *link != NULL && (*link)->address != address;)
            link = &(*link)->next;
        buffer = *link;
        if (buffer == NULL)
            memory = memory->next;
    }
    if (buffer != NULL) {
        /* Work that uses it ends first, as with all memory that is freed. */
        *cr_p = cuCtxSynchronize();
        *link = buffer->next;
        free(buffer);
        if (*cr_p == CUDA_SUCCESS)
            *cr_p = end_if_gone(memory);
    }
    pthread_mutex_unlock(&external.lock);
    return buffer != NULL;
}

/* --- buffers --- */

static CUresult
open_to(const struct CUextMemory_st *memory, CUdevice device)
{
    const CUmemAccessDesc access = {{CU_MEM_LOCATION_TYPE_DEVICE, device},
                                    CU_MEM_ACCESS_FLAGS_PROT_READWRITE};

    return cuMemSetAccess(memory->base, memory->mapped, &access, 1);
}

/* The lock is held. */
static CUresult
buffer_add(struct CUextMemory_st *memory, unsigned long long offset, CUdevice device,
           CUdeviceptr *address_p)
{
    struct buffer *buffer = malloc(sizeof(*buffer));
    CUresult cr;

    if (buffer == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    cr = open_to(memory, device);
    if (cr != CUDA_SUCCESS) {
        free(buffer);
        return cr;
    }
    buffer->address = memory->base + offset;
    buffer->next = memory->buffers;
    memory->buffers = buffer;
    *address_p = buffer->address;
    return CUDA_SUCCESS;
}

GP_EXPORT CUresult
cuExternalMemoryGetMappedBuffer(CUdeviceptr *address_p, CUexternalMemory handle,
                                const CUDA_EXTERNAL_MEMORY_BUFFER_DESC *desc)
{
    struct CUextMemory_st *memory;
    CUdevice device;
    CUresult cr = cuCtxGetDevice(&device);

    if (cr != CUDA_SUCCESS)
        return cr;
    pthread_mutex_lock(&external.lock);
    memory = find(handle);
    if (memory == NULL)
        cr = CUDA_ERROR_INVALID_HANDLE;
    else if (address_p == NULL || desc == NULL || desc->flags != 0 || desc->size == 0 ||
             desc->offset > memory->size || desc->size > memory->size - desc->offset)
        cr = CUDA_ERROR_INVALID_VALUE;
    else
        cr = buffer_add(memory, desc->offset, device, address_p);
    pthread_mutex_unlock(&external.lock);
    return cr;
}
