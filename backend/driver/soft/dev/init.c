/* backend/driver/soft/dev/init.c -- cuInit, refusals, and what a CUDA runtime asks first */
#include "backend/driver/soft/dev/ctx.h"
#include "backend/driver/soft/dev/mem.h"
#include "backend/driver/soft/dev/mempool.h"
#include "backend/driver/soft/dev/sched.h"
#include "backend/driver/soft/dev/shared.h"
#include "backend/driver/soft/dev/span.h"
#include "backend/driver/soft/dev/work.h"
#include "backend/driver/soft/exec/exec.h"
#include "cuda_api.h"
#include "protocol/abi/near.h"
#include "protocol/cudart/errors.h"
#include "protocol/cudart/export_tables.h"
#include "protocol/cudart/proc_address.h"

#include <stdio.h>
#include <string.h>

enum init_state {
    INIT_NONE,
    INIT_DONE,
    INIT_FAILED,
    INIT_FORKED, /* a child of a process that had initialised */
};

static _Atomic int init_state = INIT_NONE;
static pthread_mutex_t init_lock = PTHREAD_MUTEX_INITIALIZER;

/* Written by cuInit before init_state says INIT_DONE. */
static struct sd_device devices[SD_DEVICES_MAX];
static int device_count;

CUresult
sd_ready(void)
{
    return GP_LIKELY(atomic_load_explicit(&init_state, memory_order_acquire) == INIT_DONE)
               ? CUDA_SUCCESS
               : CUDA_ERROR_NOT_INITIALIZED;
}

CUresult
sd_enter(CUcontext *ctx_p)
{
    CUcontext ctx;

    SD_ENTER_READY();
    if (GP_UNLIKELY(sd_in_host_function()))
        return CUDA_ERROR_NOT_PERMITTED;
    ctx = sd_ctx_current();
    if (ctx == NULL)
        return CUDA_ERROR_INVALID_CONTEXT;
    *ctx_p = ctx;
    return sd_ctx_check(ctx);
}

int
sd_device_count(void)
{
    return device_count;
}

struct sd_device *
sd_device_get(int ordinal)
{
    return ordinal >= 0 && ordinal < device_count ? &devices[ordinal] : NULL;
}

CUresult
sd_refuse(const char *name)
{
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    static const char *named[1024];
    static size_t count;
    bool known = false;

    pthread_mutex_lock(&lock);
    for (size_t i = 0; i < count && !known; i++)
        known = strcmp(named[i], name) == 0; /* names are literals */
    if (!known && count < GP_ARRAY_LEN(named))
        named[count++] = name;
    pthread_mutex_unlock(&lock);
    if (!known)
        log_warn("software device: %s is not supported", name);
    return CUDA_ERROR_NOT_SUPPORTED;
}

struct sd_pool *
sd_machine(void)
{
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    static struct sd_pool *pool; /* lives as long as the process */
    static _Atomic(struct sd_pool *) ready;
    struct sd_pool *machine = atomic_load_explicit(&ready, memory_order_acquire);

    if (machine != NULL)
        return machine;
    pthread_mutex_lock(&lock);
    if (pool == NULL) {
        enum gp_status status = sd_pool_create(devices[0].profile.threads, &pool);

        if (status != GP_OK)
            log_error("software device: start the machine: %s", gp_status_text(status));
    }
    machine = pool;
    atomic_store_explicit(&ready, machine, memory_order_release);
    pthread_mutex_unlock(&lock);
    return machine;
}

/* A child shares neither the threads nor the state of its parent's device. */
static void
after_fork_in_child(void)
{
    int done = INIT_DONE;

    atomic_compare_exchange_strong(&init_state, &done, INIT_FORKED);
}

static int
op_driver_version(void)
{
    return SD_DRIVER_VERSION;
}

static CUresult
op_device(int ordinal, struct gp_cudart_device *device_p)
{
    const struct sd_device *dev = sd_device_get(ordinal);

    if (dev == NULL)
        return CUDA_ERROR_INVALID_DEVICE;
    device_p->uuid = dev->uuid;
    device_p->pci_domain = sd_device_attribute(dev, CU_DEVICE_ATTRIBUTE_PCI_DOMAIN_ID);
    device_p->pci_bus = sd_device_attribute(dev, CU_DEVICE_ATTRIBUTE_PCI_BUS_ID);
    device_p->pci_device = sd_device_attribute(dev, CU_DEVICE_ATTRIBUTE_PCI_DEVICE_ID);
    return CUDA_SUCCESS;
}

static CUresult
op_primary_ctx(CUdevice dev, CUcontext *ctx_p)
{
    const struct sd_device *device;

    SD_ENTER_READY();
    device = sd_device_get(dev);
    if (device == NULL)
        return CUDA_ERROR_INVALID_DEVICE;
    *ctx_p = device->primary;
    return CUDA_SUCCESS;
}

static CUresult
op_ctx_id(CUcontext ctx, unsigned long long *id_p)
{
    return cuCtxGetId(ctx, id_p);
}

static CUresult
op_ctx_device(CUcontext ctx, CUdevice *dev_p)
{
    return cuCtxGetDevice_v2(dev_p, ctx);
}

static CUresult
op_stream_token(CUcontext ctx, CUstream stream, bool per_thread, void **token_p)
{
    CUstream real;
    CUresult cr;

    (void)ctx;
    cr = sd_stream_get(per_thread ? CU_STREAM_PER_THREAD : stream, &real);
    if (cr == CUDA_SUCCESS)
        *token_p = real;
    return cr;
}

static CUresult
op_stream_id(CUcontext ctx, void *token, unsigned long long *id_p)
{
    (void)ctx;
    return cuStreamGetId(token, id_p);
}

static const struct gp_cudart_ops cudart_ops = {
    .driver_version = op_driver_version,
    .device_count = sd_device_count,
    .device = op_device,
    .primary_ctx = op_primary_ctx,
    .current_ctx = sd_ctx_current,
    .ctx_id = op_ctx_id,
    .ctx_device = op_ctx_device,
    .stream_token = op_stream_token,
    .stream_id = op_stream_id,
    .module_function_count = cuModuleGetFunctionCount,
    .module_functions = cuModuleEnumerateFunctions,
    .module_load = cuModuleLoadData,
};

/* Stable for a machine and ordinal, and plainly not a real one. */
static void
device_name_itself(struct sd_device *dev, int ordinal)
{
    static const uint8_t stem[12] = "gpupool-soft";
    const char *serial = getenv("GPUPOOL_SOFT_SERIAL"); /* tells servers of one machine apart */
    struct sd_profile *profile = &dev->profile;

    dev->ordinal = ordinal;
    dev->pci_bus = ordinal + 1;
    memcpy(dev->uuid.bytes, stem, sizeof(stem));
    if (serial != NULL && serial[0] != '\0')
        dev->uuid.bytes[11] = serial[0];
    dev->uuid.bytes[12] = (char)profile->cc_major;
    dev->uuid.bytes[13] = (char)profile->cc_minor;
    dev->uuid.bytes[14] = (char)profile->multiprocessors;
    dev->uuid.bytes[15] = (char)(ordinal + 1);
}

static CUresult
init_devices(void)
{
    struct sd_profile profiles[SD_DEVICES_MAX];
    int count = 0;
    CUresult cr;

    if (sd_profiles_load(profiles, SD_DEVICES_MAX, &count) != GP_OK)
        return CUDA_ERROR_NO_DEVICE;
    cr = sd_shared_open(profiles[0].shared);
    if (cr != CUDA_SUCCESS)
        return cr;
    for (int i = 0; i < count; i++) {
        devices[i].profile = profiles[i];
        device_name_itself(&devices[i], i);
        cr = sd_arena_create(&devices[i]);
        if (cr != CUDA_SUCCESS)
            return cr;
    }
    device_count = count;
    cr = sd_ctx_create_objects();
    if (cr == CUDA_SUCCESS)
        cr = sd_mempool_create_defaults();
    return cr;
}

GP_EXPORT CUresult
cuInit(unsigned int flags)
{
    CUresult cr = CUDA_SUCCESS;

    if (flags != 0)
        return CUDA_ERROR_INVALID_VALUE;
    if (sd_ready() == CUDA_SUCCESS)
        return CUDA_SUCCESS;
    pthread_mutex_lock(&init_lock);
    switch (atomic_load(&init_state)) {
    case INIT_NONE:
        gp_log_set_name("soft-device");
        cr = init_devices();
        if (cr == CUDA_SUCCESS)
            pthread_atfork(NULL, NULL, after_fork_in_child);
        atomic_store(&init_state, cr == CUDA_SUCCESS ? INIT_DONE : INIT_FAILED);
        break;
    case INIT_DONE:
        break;
    case INIT_FORKED:
        cr = CUDA_ERROR_NOT_INITIALIZED;
        break;
    default:
        cr = CUDA_ERROR_NO_DEVICE;
        break;
    }
    pthread_mutex_unlock(&init_lock);
    return cr;
}

GP_EXPORT CUresult
cuDriverGetVersion(int *driverVersion)
{
    if (driverVersion == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    *driverVersion = SD_DRIVER_VERSION;
    return CUDA_SUCCESS;
}

GP_EXPORT CUresult
cuGetProcAddress_v2(const char *symbol, void **pfn, int cudaVersion, cuuint64_t flags,
                    CUdriverProcAddressQueryResult *symbolStatus)
{
    return gp_cudart_proc_address(symbol, pfn, cudaVersion, flags, symbolStatus, SD_DRIVER_VERSION);
}

GP_EXPORT CUresult
cuGetProcAddress(const char *symbol, void **pfn, int cudaVersion, cuuint64_t flags)
{
    return gp_cudart_proc_address(symbol, pfn, cudaVersion, flags, NULL, SD_DRIVER_VERSION);
}

/* near.h */
static bool
near_reaches(CUdeviceptr address, size_t bytes)
{
    struct sd_alloc first;

    for (int i = 0; i < device_count; i++)
        if (sd_profile_has_clock(&devices[i].profile))
            return false;
    return sd_map_reach(address, bytes, &first) == SD_REACH_WRITE && !sd_mem_is_host(first.kind) &&
           first.kind != SD_MEM_MULTICAST;
}

static const struct gp_near_table near_table = {sizeof(near_table), near_reaches};

GP_EXPORT CUresult
cuGetExportTable(const void **ppExportTable, const CUuuid *pExportTableId)
{
    static const CUuuid near_id = GP_NEAR_TABLE_ID;

    if (ppExportTable != NULL && pExportTableId != NULL &&
        memcmp(pExportTableId, &near_id, sizeof(near_id)) == 0) {
        *ppExportTable = &near_table;
        return CUDA_SUCCESS;
    }
    gp_cudart_init(&cudart_ops);
    return gp_cudart_export_table(ppExportTable, pExportTableId);
}

GP_EXPORT CUresult
cuGetErrorName(CUresult error, const char **pStr)
{
    return gp_cuda_get_error_name(error, pStr);
}

GP_EXPORT CUresult
cuGetErrorString(CUresult error, const char **pStr)
{
    return gp_cuda_get_error_string(error, pStr);
}
