/* frontend/cuda/init.c -- what a program asks before anything else: cuInit, versions, symbols,
 * the runtime's private tables, error names */
#include "cuda_api.h"
#include "frontend/core/stats.h"
#include "frontend/cuda/state.h"
#include "protocol/base/util.h"
#include "protocol/cudart/errors.h"
#include "protocol/cudart/export_tables.h"
#include "protocol/cudart/proc_address.h"

#include <stdlib.h>
#include <string.h>

GP_EXPORT CUresult
cuInit(unsigned int flags)
{
    FE_COUNT_LOCAL();
    if (flags != 0)
        return CUDA_ERROR_INVALID_VALUE;
    return fe_state_start();
}

GP_EXPORT CUresult
cuDriverGetVersion(int *version)
{
    FE_COUNT_LOCAL();
    if (version == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    *version = fe_driver_version();
    return CUDA_SUCCESS;
}

GP_EXPORT CUresult
cuGetProcAddress_v2(const char *symbol, void **fn, int version, cuuint64_t flags,
                    CUdriverProcAddressQueryResult *status)
{
    FE_COUNT_LOCAL();
    return gp_cudart_proc_address(symbol, fn, version, flags, status, fe_driver_version());
}

GP_EXPORT CUresult
cuGetProcAddress(const char *symbol, void **fn, int version, cuuint64_t flags)
{
    return cuGetProcAddress_v2(symbol, fn, version, flags, NULL);
}

GP_EXPORT CUresult
cuGetExportTable(const void **table, const CUuuid *id)
{
    FE_COUNT_LOCAL();
    fe_init_cudart();
    return gp_cudart_export_table(table, id);
}

GP_EXPORT CUresult
cuGetErrorName(CUresult error, const char **text)
{
    FE_COUNT_LOCAL();
    return gp_cuda_get_error_name(error, text);
}

GP_EXPORT CUresult
cuGetErrorString(CUresult error, const char **text)
{
    FE_COUNT_LOCAL();
    return gp_cuda_get_error_string(error, text);
}

GP_EXPORT CUresult
cuModuleGetLoadingMode(CUmoduleLoadingMode *mode)
{
    const char *wish = getenv("CUDA_MODULE_LOADING");
    CUresult cr = CUDA_SUCCESS;

    FE_COUNT_LOCAL();
    if (fe_state_get(&cr) == NULL)
        return cr;
    if (mode == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    *mode = wish != NULL && strcmp(wish, "EAGER") == 0 ? CU_MODULE_EAGER_LOADING
                                                       : CU_MODULE_LAZY_LOADING;
    return CUDA_SUCCESS;
}

/* -- answers for the private tables ----------------------------------------------------- */

static int
table_device_count(void)
{
    struct fe_state *s = fe_state_get(NULL);

    return s != NULL ? (int)s->device_count : 0;
}

static CUresult
table_device(int ordinal, struct gp_cudart_device *device)
{
    CUresult cr;
    struct fe_state *s = fe_state_get(&cr);

    if (s == NULL)
        return cr;
    if (fe_state_device(s, ordinal) == NULL)
        return CUDA_ERROR_INVALID_DEVICE;
    memcpy(device->uuid.bytes, s->devices[ordinal].info->uuid, sizeof(device->uuid));
    device->pci_domain = fe_device_attribute(s, ordinal, CU_DEVICE_ATTRIBUTE_PCI_DOMAIN_ID);
    device->pci_bus = fe_device_attribute(s, ordinal, CU_DEVICE_ATTRIBUTE_PCI_BUS_ID);
    device->pci_device = fe_device_attribute(s, ordinal, CU_DEVICE_ATTRIBUTE_PCI_DEVICE_ID);
    return CUDA_SUCCESS;
}

static CUresult
table_primary(CUdevice dev, CUcontext *ctx)
{
    CUresult cr;
    struct fe_state *s = fe_state_get(&cr);

    if (s == NULL)
        return cr;
    if (fe_state_device(s, dev) == NULL)
        return CUDA_ERROR_INVALID_DEVICE;
    *ctx = (CUcontext)s->primary[dev];
    return CUDA_SUCCESS;
}

static CUcontext
table_current(void)
{
    return (CUcontext)fe_context_current();
}

static CUresult
table_ctx_id(CUcontext handle, unsigned long long *id)
{
    struct fe_context *ctx = NULL;
    CUresult cr = fe_context_get(handle, &ctx);

    if (cr == CUDA_SUCCESS)
        *id = ctx->id;
    return cr;
}

static CUresult
table_ctx_device(CUcontext handle, CUdevice *dev)
{
    struct fe_context *ctx = NULL;
    CUresult cr = fe_context_get(handle, &ctx);

    if (cr == CUDA_SUCCESS)
        *dev = ctx->device;
    return cr;
}

/* A token is the stream's object; of the default stream, the one inside its context. */
static CUresult
table_stream_token(CUcontext handle, CUstream stream, bool per_thread, void **token)
{
    struct fe_call call;
    struct fe_context *ctx = NULL;
    struct fe_stream *object;
    uint64_t wire;
    CUresult cr = fe_context_get(handle, &ctx);

    if (cr == CUDA_SUCCESS)
        cr = fe_enter_in(&call, WIRE_CALL_cuStreamCreateWithPriority, ctx);
    if (cr != CUDA_SUCCESS)
        return cr;
    cr = fe_stream_resolve(&call, per_thread ? CU_STREAM_PER_THREAD : stream, &object, &wire);
    if (cr == CUDA_SUCCESS)
        *token = object;
    return fe_leave(&call, cr);
}

static CUresult
table_stream_id(CUcontext handle, void *token, unsigned long long *id)
{
    struct fe_stream *object = fe_object_get(WIRE_HANDLE_STREAM, token);
    struct fe_context *ctx = NULL;
    CUresult cr = fe_context_get(handle, &ctx);

    if (cr != CUDA_SUCCESS)
        return cr;
    if (object == NULL && token == &ctx->legacy)
        object = &ctx->legacy;
    if (object == NULL)
        return CUDA_ERROR_INVALID_HANDLE;
    *id = object->id;
    return CUDA_SUCCESS;
}

void
fe_init_cudart(void)
{
    static const struct gp_cudart_ops ops = {
        .driver_version = fe_driver_version,
        .device_count = table_device_count,
        .device = table_device,
        .primary_ctx = table_primary,
        .current_ctx = table_current,
        .ctx_id = table_ctx_id,
        .ctx_device = table_ctx_device,
        .stream_token = table_stream_token,
        .stream_id = table_stream_id,
        .module_function_count = cuModuleGetFunctionCount,
        .module_functions = cuModuleEnumerateFunctions,
        .module_load = cuModuleLoadData,
    };

    gp_cudart_init(&ops);
}
