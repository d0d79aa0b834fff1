/* backend/cuda/direct.c */
#include "backend/cuda/direct.h"

#include "backend/cuda/context.h"
#include "backend/cuda/state.h"
#include "protocol/base/clock.h"
#include "protocol/base/log.h"

#include <stdio.h>
#include <string.h>

/* Lanes change, and so may what they can. */
#define AGAIN_NS (30 * GP_NS_PER_S)

/* tp_device_memory.dmabuf: whatever thread tells the device. */
static int
dmabuf(void *user, const void *base, size_t bytes, uint64_t *offset_p)
{
    struct be_session *session = user;
    const struct be_driver_table *t = &session->driver->table;
    CUcontext context = atomic_load_explicit(&session->direct.context, memory_order_relaxed);
    CUcontext popped;
    CUresult cr;
    bool pushed;
    int fd = -1;

    if (session->driver->software || t->cuMemGetHandleForAddressRange == NULL)
        return -1;
    pushed = context != NULL && t->cuCtxPushCurrent_v2(context) == CUDA_SUCCESS;
    cr = t->cuMemGetHandleForAddressRange(&fd, (CUdeviceptr)(uintptr_t)base, bytes,
                                          CU_MEM_RANGE_HANDLE_TYPE_DMA_BUF_FD, 0);
    if (pushed)
        (void)t->cuCtxPopCurrent_v2(&popped);
    if (cr != CUDA_SUCCESS) {
        log_debug("session: no dma-buf of %zu KiB: %s", bytes >> 10,
                  be_driver_error(session->driver, cr));
        return -1;
    }
    *offset_p = 0;
    return fd;
}

void
be_direct_init(struct be_session *session)
{
    session->direct.memory = (struct tp_device_memory){.dmabuf = dmabuf, .user = session};
}

bool
be_direct_wanted(const struct be_session *session, uint64_t bytes)
{
    return session->limits.direct && bytes >= BE_DIRECT_MIN && !be_data_plain(session) &&
           gp_now_ns() >= session->direct.refused_until_ns;
}

static enum be_direct_writes
writes_find(const struct be_driver *driver, int32_t device)
{
    int ordering = CU_GPU_DIRECT_RDMA_WRITES_ORDERING_NONE, flush = 0;
    const struct be_driver_table *t = &driver->table;
    CUdevice handle;

    if (driver->near != NULL)
        return BE_DIRECT_SEEN; /* its memory is the process's own */
    if (t->cuDeviceGet(&handle, device) != CUDA_SUCCESS)
        return BE_DIRECT_UNSEEN;
    (void)t->cuDeviceGetAttribute(&ordering, CU_DEVICE_ATTRIBUTE_GPU_DIRECT_RDMA_WRITES_ORDERING,
                                  handle);
    (void)t->cuDeviceGetAttribute(&flush, CU_DEVICE_ATTRIBUTE_GPU_DIRECT_RDMA_FLUSH_WRITES_OPTIONS,
                                  handle);
    if (ordering >= CU_GPU_DIRECT_RDMA_WRITES_ORDERING_OWNER)
        return BE_DIRECT_SEEN;
    return (flush & CU_FLUSH_GPU_DIRECT_RDMA_WRITES_OPTION_HOST) != 0 &&
                   t->cuFlushGPUDirectRDMAWrites != NULL
               ? BE_DIRECT_FLUSHED
               : BE_DIRECT_UNSEEN;
}

static enum be_direct_writes
writes_of(struct be_session *session, int32_t device)
{
    enum be_direct_writes *writes = &session->direct.writes[device];

    if (*writes == BE_DIRECT_UNKNOWN)
        *writes = writes_find(session->driver, device);
    return *writes;
}

/* Once for each that is new. */
static void
say(struct be_direct *direct, int32_t device, bool takes, const char *why)
{
    if (strcmp(direct->said[device], why) == 0)
        return;
    snprintf(direct->said[device], sizeof(direct->said[device]), "%s", why);
    log_info("session: device %d: %s: %s", device,
             takes ? "GPUDirect, its memory is read and written where it lies"
                   : "no GPUDirect, bulk is staged",
             why);
}

bool
be_direct_ready(struct be_session *session, uint64_t address, uint64_t bytes, bool in)
{
    struct be_direct *direct = &session->direct;
    char why[TP_WHY_BYTES] = "";
    int32_t device = -1;
    bool takes;

    /* The software device keeps a model's time by the copies that it makes. */
    if (session->driver->near != NULL && !session->driver->near->reaches(address, bytes))
        return false;
    if (!be_space_tell(session->space, address, bytes, &direct->memory, &device) ||
        (in && writes_of(session, device) == BE_DIRECT_UNSEEN))
        return false;
    if (session->current != NULL)
        atomic_store_explicit(&direct->context, session->current->handle, memory_order_relaxed);
    takes = be_data_takes(session, (const void *)(uintptr_t)address, bytes, why);
    say(direct, device, takes, why);
    if (!takes)
        direct->refused_until_ns = gp_now_ns() + AGAIN_NS;
    return takes;
}

CUresult
be_direct_seal(struct be_session *session, uint64_t address)
{
    int32_t device = be_space_device(session->space, address);

    if (device < 0 || writes_of(session, device) != BE_DIRECT_FLUSHED)
        return CUDA_SUCCESS;
    return session->driver->table.cuFlushGPUDirectRDMAWrites(
        CU_FLUSH_GPU_DIRECT_RDMA_WRITES_TARGET_CURRENT_CTX,
        CU_FLUSH_GPU_DIRECT_RDMA_WRITES_TO_OWNER);
}
