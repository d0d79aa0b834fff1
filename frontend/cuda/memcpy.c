/* frontend/cuda/memcpy.c -- linear copies of all directions
 *
 * Host to device: the bytes are captured before the call returns, so that also the synchronous
 * form needs no answer. Device to host into pageable memory waits, into pinned memory does not.
 */
#include "cuda_api.h"
#include "frontend/cuda/capture.h"
#include "frontend/cuda/coherent.h"
#include "frontend/cuda/copy.h"
#include "frontend/cuda/displaced.h"
#include "frontend/cuda/host.h"
#include "frontend/cuda/managed.h"
#include "frontend/cuda/order.h"
#include "frontend/cuda/relay.h"
#include "frontend/cuda/state.h"
#include "protocol/base/util.h"

#include <string.h>

static CUresult
enter(struct fe_call *call, enum wire_call id, CUstream stream, struct fe_where *where)
{
    CUresult cr = fe_enter(call, id);

    if (cr != CUDA_SUCCESS)
        return cr;
    cr = fe_stream_resolve_capture(call, stream, &where->stream, &where->wire);
    if (cr == CUDA_SUCCESS && !fe_capturing(where->stream))
        cr = fe_order(call, where->stream, where->wire);
    return cr == CUDA_SUCCESS ? cr : fe_leave(call, cr);
}

/* Whether the server has pages of this memory of the program's. */
static bool
coherent(const struct fe_call *call, uint64_t address)
{
    return GP_UNLIKELY(fe_coherent_active()) && fe_is_device(call, address);
}

/* The same for all of it: what begins in pinned memory and ends behind it is the program's. */
static bool
coherent_whole(const struct fe_call *call, uint64_t address, size_t bytes)
{
    return coherent(call, address) && (!fe_host_shown(address, 0) || fe_host_shown(address, bytes));
}

/* One side is of another server. */
static bool
elsewhere(const struct fe_call *call, uint64_t dst, uint64_t src)
{
    return GP_UNLIKELY(fe_several) &&
           (fe_memory_elsewhere(call, dst) || fe_memory_elsewhere(call, src));
}

/* What a captured copy takes it for. */
static CUmemorytype
kind_of(const struct fe_call *call, uint64_t address, size_t bytes)
{
    return coherent_whole(call, address, bytes) ? CU_MEMORYTYPE_DEVICE : CU_MEMORYTYPE_HOST;
}

/* Then the copy is one on the server; for a synchronous one the program may go on with its side. */
static CUresult
copy_coherent(struct fe_call *call, uint64_t dst, uint64_t src, size_t bytes,
              const struct fe_where *where, bool wait)
{
    CUresult cr = fe_check_target(call, dst, bytes);

    if (cr == CUDA_SUCCESS)
        cr = fe_check_device(call, src, bytes);
    if (cr == CUDA_SUCCESS && fe_capturing(where->stream))
        return wait ? fe_capture_refuse(where->stream)
                    : fe_capture_linear(call, where->stream, dst, CU_MEMORYTYPE_DEVICE, src,
                                        CU_MEMORYTYPE_DEVICE, bytes);
    if (cr == CUDA_SUCCESS)
        cr = fe_copy_on_device(call, dst, src, bytes, where);
    return cr == CUDA_SUCCESS && wait ? fe_copy_drain(call, where) : cr;
}

static CUresult
copy_in(struct fe_call *call, uint64_t dst, const void *src, size_t bytes,
        const struct fe_where *where, bool wait)
{
    CUresult cr;
    bool pulled;

    dst = fe_device_named(dst);
    if (bytes == 0)
        return CUDA_SUCCESS;
    if (src == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    if (elsewhere(call, dst, (uint64_t)(uintptr_t)src))
        return fe_relay_copy(call, dst, (uint64_t)(uintptr_t)src, bytes, where, wait);
    cr = fe_check_target(call, dst, bytes);
    /* Pinned memory by its device address: its pages, which may be the source's, are protected from
     * now on, not while the source is read. */
    if (cr == CUDA_SUCCESS && GP_UNLIKELY(!fe_is_device(call, dst)))
        cr = fe_host_show_wanted();
    if (cr == CUDA_SUCCESS && fe_capturing(where->stream))
        return wait ? fe_capture_refuse(where->stream)
                    : fe_capture_linear(call, where->stream, dst, CU_MEMORYTYPE_DEVICE,
                                        (uint64_t)(uintptr_t)src,
                                        kind_of(call, (uint64_t)(uintptr_t)src, bytes), bytes);
    if (cr == CUDA_SUCCESS && coherent_whole(call, (uint64_t)(uintptr_t)src, bytes))
        return copy_coherent(call, dst, (uint64_t)(uintptr_t)src, bytes, where, wait);
    if (cr == CUDA_SUCCESS)
        cr = fe_copy_in(call, dst, src, bytes, where, &pulled);
    if (cr != CUDA_SUCCESS || !wait)
        return cr;
    /* The program may change the source once a synchronous copy has returned, and use the
     * destination in any stream. */
    return pulled ? fe_copy_drain(call, where) : fe_order_copied(call, where->stream, where->wire);
}

static CUresult
copy_out(struct fe_call *call, void *dst, uint64_t src, size_t bytes, const struct fe_where *where,
         bool wait)
{
    CUresult cr;

    src = fe_device_named(src);
    if (bytes == 0)
        return CUDA_SUCCESS;
    if (dst == NULL || fe_host_read_only((uint64_t)(uintptr_t)dst))
        return CUDA_ERROR_INVALID_VALUE;
    if (elsewhere(call, (uint64_t)(uintptr_t)dst, src))
        return fe_relay_copy(call, (uint64_t)(uintptr_t)dst, src, bytes, where, wait);
    cr = fe_check_device(call, src, bytes);
    /* By its device address too: what the bytes are written to is protected from now on, not when
     * they come. */
    if (cr == CUDA_SUCCESS && GP_UNLIKELY(!fe_is_device(call, src)))
        cr = fe_host_show_wanted();
    if (cr != CUDA_SUCCESS)
        return cr;
    if (fe_capturing(where->stream))
        return wait ? fe_capture_refuse(where->stream)
                    : fe_capture_linear(call, where->stream, (uint64_t)(uintptr_t)dst,
                                        kind_of(call, (uint64_t)(uintptr_t)dst, bytes), src,
                                        CU_MEMORYTYPE_DEVICE, bytes);
    if (coherent_whole(call, (uint64_t)(uintptr_t)dst, bytes))
        return copy_coherent(call, (uint64_t)(uintptr_t)dst, src, bytes, where, wait);
    if (!wait && fe_host_pinned((uint64_t)(uintptr_t)dst, bytes))
        return fe_copy_out_async(call, dst, src, bytes, where);
    return fe_copy_out_wait(call, dst, src, bytes, where);
}

static CUresult
copy_on_device(struct fe_call *call, uint64_t dst, uint64_t src, size_t bytes,
               const struct fe_where *where, bool wait)
{
    CUresult cr;

    dst = fe_device_named(dst);
    src = fe_device_named(src);
    if (bytes == 0)
        return CUDA_SUCCESS;
    if (elsewhere(call, dst, src))
        return fe_relay_copy(call, dst, src, bytes, where, wait);
    cr = fe_check_target(call, dst, bytes);
    if (cr == CUDA_SUCCESS)
        cr = fe_check_device(call, src, bytes);
    if (cr == CUDA_SUCCESS && fe_capturing(where->stream))
        return wait ? fe_capture_refuse(where->stream)
                    : fe_capture_linear(call, where->stream, dst, CU_MEMORYTYPE_DEVICE, src,
                                        CU_MEMORYTYPE_DEVICE, bytes);
    return cr == CUDA_SUCCESS ? fe_copy_on_device(call, dst, src, bytes, where) : cr;
}

/* Memory that the program may use as soon as a copy has returned. */
static bool
coherent_host(uint64_t address)
{
    return GP_UNLIKELY(fe_coherent_active()) &&
           (fe_host_shown(address, 0) || fe_managed_find(address, NULL));
}

/* Addresses say what they are. */
static CUresult
copy_unified(struct fe_call *call, uint64_t dst, uint64_t src, size_t bytes,
             const struct fe_where *where, bool wait)
{
    bool to_device, from_device;
    CUresult cr;

    dst = fe_any_named(dst);
    src = fe_any_named(src);
    to_device = fe_is_device(call, dst);
    from_device = fe_is_device(call, src);
    if (bytes == 0)
        return CUDA_SUCCESS;
    if (!to_device && fe_host_read_only(dst))
        return CUDA_ERROR_INVALID_VALUE;
    /* By such an address pinned memory is like a device's: it does not go on behind its end. */
    if (GP_UNLIKELY(fe_coherent_active()) &&
        ((fe_host_pinned(dst, 0) && !fe_host_pinned(dst, bytes)) ||
         (fe_host_pinned(src, 0) && !fe_host_pinned(src, bytes))))
        return CUDA_ERROR_INVALID_VALUE;
    if (elsewhere(call, dst, src))
        return fe_relay_copy(call, dst, src, bytes, where, wait);
    if (to_device && from_device)
        return wait && (coherent_host(dst) || coherent_host(src))
                   ? copy_coherent(call, dst, src, bytes, where, true)
                   : copy_on_device(call, dst, src, bytes, where, wait);
    if (to_device)
        return copy_in(call, dst, (const void *)(uintptr_t)src, bytes, where, wait);
    if (from_device)
        return copy_out(call, (void *)(uintptr_t)dst, src, bytes, where, wait);
    if (dst == 0 || src == 0)
        return CUDA_ERROR_INVALID_VALUE;
    if (fe_capturing(where->stream))
        return wait ? fe_capture_refuse(where->stream)
                    : fe_capture_linear(call, where->stream, dst, CU_MEMORYTYPE_HOST, src,
                                        CU_MEMORYTYPE_HOST, bytes);
    cr = fe_copy_drain(call, where);
    if (cr == CUDA_SUCCESS)
        memmove((void *)(uintptr_t)dst, (const void *)(uintptr_t)src, bytes);
    return cr;
}

GP_EXPORT CUresult
cuMemcpyHtoD_v2(CUdeviceptr dst, const void *src, size_t bytes)
{
    struct fe_where where;
    struct fe_call call;
    CUresult cr = enter(&call, WIRE_CALL_cuMemcpyHtoDAsync_v2, NULL, &where);

    return cr != CUDA_SUCCESS ? cr : fe_leave(&call, copy_in(&call, dst, src, bytes, &where, true));
}

GP_EXPORT CUresult
cuMemcpyHtoDAsync_v2(CUdeviceptr dst, const void *src, size_t bytes, CUstream stream)
{
    struct fe_where where;
    struct fe_call call;
    CUresult cr = enter(&call, WIRE_CALL_cuMemcpyHtoDAsync_v2, stream, &where);

    return cr != CUDA_SUCCESS ? cr
                              : fe_leave(&call, copy_in(&call, dst, src, bytes, &where, false));
}

GP_EXPORT CUresult
cuMemcpyDtoH_v2(void *dst, CUdeviceptr src, size_t bytes)
{
    struct fe_where where;
    struct fe_call call;
    CUresult cr = enter(&call, WIRE_CALL_cuMemcpyDtoHAsync_v2, NULL, &where);

    return cr != CUDA_SUCCESS ? cr
                              : fe_leave(&call, copy_out(&call, dst, src, bytes, &where, true));
}

GP_EXPORT CUresult
cuMemcpyDtoHAsync_v2(void *dst, CUdeviceptr src, size_t bytes, CUstream stream)
{
    struct fe_where where;
    struct fe_call call;
    CUresult cr = enter(&call, WIRE_CALL_cuMemcpyDtoHAsync_v2, stream, &where);

    return cr != CUDA_SUCCESS ? cr
                              : fe_leave(&call, copy_out(&call, dst, src, bytes, &where, false));
}

static CUresult
device_to_device(CUdeviceptr dst, CUdeviceptr src, size_t bytes, CUstream stream, bool wait)
{
    struct fe_where where;
    struct fe_call call;
    CUresult cr = enter(&call, WIRE_CALL_cuMemcpyDtoDAsync_v2, stream, &where);

    return cr != CUDA_SUCCESS
               ? cr
               : fe_leave(&call, copy_on_device(&call, dst, src, bytes, &where, wait));
}

GP_EXPORT CUresult
cuMemcpyDtoDAsync_v2(CUdeviceptr dst, CUdeviceptr src, size_t bytes, CUstream stream)
{
    return device_to_device(dst, src, bytes, stream, false);
}

/* The host does not wait for a copy between device memory, as with the driver; no capture holds
 * it all the same. */
GP_EXPORT CUresult
cuMemcpyDtoD_v2(CUdeviceptr dst, CUdeviceptr src, size_t bytes)
{
    return device_to_device(dst, src, bytes, NULL, true);
}

GP_EXPORT CUresult
cuMemcpyAsync(CUdeviceptr dst, CUdeviceptr src, size_t bytes, CUstream stream)
{
    struct fe_where where;
    struct fe_call call;
    CUresult cr = enter(&call, WIRE_CALL_cuMemcpyDtoDAsync_v2, stream, &where);

    return cr != CUDA_SUCCESS
               ? cr
               : fe_leave(&call, copy_unified(&call, dst, src, bytes, &where, false));
}

GP_EXPORT CUresult
cuMemcpy(CUdeviceptr dst, CUdeviceptr src, size_t bytes)
{
    struct fe_where where;
    struct fe_call call;
    CUresult cr = enter(&call, WIRE_CALL_cuMemcpyDtoDAsync_v2, NULL, &where);

    return cr != CUDA_SUCCESS ? cr
                              : fe_leave(&call, copy_unified(&call, dst, src, bytes, &where, true));
}
