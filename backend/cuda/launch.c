/* backend/cuda/launch.c -- kernel launches */
#include "backend/cuda/launch.h"

#include "backend/cuda/module.h"
#include "be_hooks.h"
#include "protocol/base/log.h"
#include "protocol/wire/kernel_table.h"

#include <string.h>

/* Bit of cuLaunchKernelEx's flags: params are the buffer of the extra form. */
#define BE_LAUNCH_EXTRA 1u

static CUresult
attribute_event(struct be_call *call, CUevent *event)
{
    uint64_t id;

    memcpy(&id, event, sizeof(id));
    return be_handle_get(call->session, WIRE_HANDLE_EVENT, id, false, event);
}

CUresult
be_launch_attributes(struct be_call *call, const void *from, uint32_t count, CUlaunchAttribute *to)
{
    CUresult cr = CUDA_SUCCESS;

    if (count > BE_LAUNCH_ATTRIBUTES_MAX)
        return CUDA_ERROR_INVALID_VALUE;
    /* The frame may lie anywhere; the driver wants it aligned. */
    memcpy(to, from, count * sizeof(*to));
    for (uint32_t i = 0; i < count && cr == CUDA_SUCCESS; i++) {
        switch (to[i].id) {
        case CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_EVENT:
            cr = attribute_event(call, &to[i].value.programmaticEvent.event);
            break;
        case CU_LAUNCH_ATTRIBUTE_LAUNCH_COMPLETION_EVENT:
            cr = attribute_event(call, &to[i].value.launchCompletionEvent.event);
            break;
        case CU_LAUNCH_ATTRIBUTE_IGNORE:
        case CU_LAUNCH_ATTRIBUTE_ACCESS_POLICY_WINDOW: /* an address to cache, never followed */
        case CU_LAUNCH_ATTRIBUTE_COOPERATIVE:
        case CU_LAUNCH_ATTRIBUTE_SYNCHRONIZATION_POLICY:
        case CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION:
        case CU_LAUNCH_ATTRIBUTE_CLUSTER_SCHEDULING_POLICY_PREFERENCE:
        case CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION:
        case CU_LAUNCH_ATTRIBUTE_PRIORITY:
        case CU_LAUNCH_ATTRIBUTE_MEM_SYNC_DOMAIN_MAP:
        case CU_LAUNCH_ATTRIBUTE_MEM_SYNC_DOMAIN:
        case CU_LAUNCH_ATTRIBUTE_PREFERRED_CLUSTER_DIMENSION:
        case CU_LAUNCH_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT:
        case CU_LAUNCH_ATTRIBUTE_NVLINK_UTIL_CENTRIC_SCHEDULING:
            break;
        default:
            /* Device-updatable nodes, and whatever a newer driver takes for a pointer. */
            log_warn("launch: attribute %d is not carried", (int)to[i].id);
            cr = CUDA_ERROR_NOT_SUPPORTED;
            break;
        }
    }
    return cr;
}

/* void *[] over values that lie one after the other. */
CUresult
be_launch_pointers(struct be_session *session, struct be_owner *owner, struct be_kernel *kernel,
                   const uint8_t *params, size_t bytes, void **pointers)
{
    const uint8_t *at = params;
    CUresult cr = be_kernel_params(session, owner, kernel);

    if (cr != CUDA_SUCCESS)
        return cr;
    if (bytes != kernel->param_bytes)
        return CUDA_ERROR_INVALID_VALUE;
    for (uint32_t i = 0; i < kernel->param_count; i++) {
        pointers[i] = (void *)(uintptr_t)at;
        at += kernel->params[i].bytes;
    }
    return CUDA_SUCCESS;
}

/* A driver may copy what the kernel takes, not what the buffer has. */
CUresult
be_launch_extra_check(struct be_call *call, struct be_owner *owner, struct be_kernel *kernel,
                      size_t bytes)
{
    CUresult cr;

    if (call->driver->cuFuncGetParamInfo == NULL) /* a driver before 12.4: its affair */
        return CUDA_SUCCESS;
    cr = be_kernel_params(call->session, owner, kernel);
    if (cr != CUDA_SUCCESS)
        return cr;
    for (uint32_t i = 0; i < kernel->param_count; i++)
        if ((uint64_t)kernel->params[i].offset + kernel->params[i].bytes > bytes)
            return CUDA_ERROR_INVALID_VALUE;
    return CUDA_SUCCESS;
}

static CUresult
launch_plain(struct be_call *call, const CUlaunchConfig *c, CUfunction function, void **params,
             void **extra)
{
    if (c->numAttrs == 0)
        return call->driver->cuLaunchKernel(function, c->gridDimX, c->gridDimY, c->gridDimZ,
                                            c->blockDimX, c->blockDimY, c->blockDimZ,
                                            c->sharedMemBytes, c->hStream, params, extra);
    if (call->driver->cuLaunchKernelEx == NULL)
        return CUDA_ERROR_NOT_SUPPORTED;
    return call->driver->cuLaunchKernelEx(c, function, params, extra);
}

static CUresult
launch_run(struct be_call *call, const CUlaunchConfig *config, struct be_owner *owner,
           struct be_kernel *kernel, CUfunction function,
           const struct wire_cuLaunchKernelEx_args *args)
{
    void *pointers[WIRE_KERNEL_PARAMS_MAX];
    size_t bytes = args->params_len;
    CUresult cr;

    if ((args->flags & BE_LAUNCH_EXTRA) != 0) {
        void *extra[] = {CU_LAUNCH_PARAM_BUFFER_POINTER, (void *)(uintptr_t)args->params,
                         CU_LAUNCH_PARAM_BUFFER_SIZE, &bytes, CU_LAUNCH_PARAM_END};

        cr = be_launch_extra_check(call, owner, kernel, bytes);
        return cr == CUDA_SUCCESS ? launch_plain(call, config, function, NULL, extra) : cr;
    }
    cr = be_launch_pointers(call->session, owner, kernel, args->params, args->params_len, pointers);
    if (cr != CUDA_SUCCESS)
        return cr;
    return launch_plain(call, config, function, kernel->param_count != 0 ? pointers : NULL, NULL);
}

CUresult
be_hook_cuLaunchKernelEx(struct be_call *call, const struct wire_cuLaunchKernelEx_args *args)
{
    CUlaunchAttribute attributes[BE_LAUNCH_ATTRIBUTES_MAX];
    CUlaunchConfig config = {
        .gridDimX = args->grid[0],
        .gridDimY = args->grid[1],
        .gridDimZ = args->grid[2],
        .blockDimX = args->block[0],
        .blockDimY = args->block[1],
        .blockDimZ = args->block[2],
        .sharedMemBytes = args->shared_bytes,
        .attrs = attributes,
        .numAttrs = args->attributes_len,
    };
    struct be_owner *owner;
    struct be_kernel *kernel;
    CUfunction function;
    CUresult cr;

    cr = be_kernel_find(call->session, args->function, &owner, &kernel);
    if (cr == CUDA_SUCCESS)
        cr = be_kernel_function(call->session, owner, kernel, &function);
    if (cr == CUDA_SUCCESS)
        cr = be_handle_get(call->session, WIRE_HANDLE_STREAM, args->stream, true, &config.hStream);
    if (cr == CUDA_SUCCESS && args->attributes_len != 0)
        cr = be_launch_attributes(call, args->attributes, args->attributes_len, attributes);
    if (cr != CUDA_SUCCESS)
        return cr;
    return launch_run(call, &config, owner, kernel, function, args);
}
