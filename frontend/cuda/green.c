/* frontend/cuda/green.c -- green contexts and their streams */
#include "frontend/cuda/green.h"

#include "cuda_api.h"
#include "frontend/core/stats.h"
#include "frontend/cuda/ask.h"
#include "frontend/cuda/capture.h"
#include "frontend/cuda/context_event.h"
#include "frontend/cuda/graph.h"
#include "frontend/cuda/order.h"
#include "frontend/cuda/resource.h"
#include "frontend/cuda/state.h"
#include "frontend/cuda/stream.h"
#include "protocol/base/util.h"

static _Atomic uint64_t next_id = 1;

/* Also of a context that failed. */
static CUresult
find(const void *handle, struct fe_green **green_p)
{
    struct fe_green *green = fe_object_get(WIRE_HANDLE_GREEN_CONTEXT, handle);

    if (green == NULL)
        return CUDA_ERROR_INVALID_CONTEXT;
    if (fe_object_state(green->object.context) != FE_OBJECT_LIVE ||
        green->object.context->head.object.wire != green->context_wire)
        return CUDA_ERROR_CONTEXT_IS_DESTROYED;
    *green_p = green;
    return CUDA_SUCCESS;
}

CUresult
fe_green_get(const void *handle, struct fe_green **green_p)
{
    CUresult cr = find(handle, green_p);

    return cr == CUDA_SUCCESS ? fe_context_usable((*green_p)->object.context) : cr;
}

CUresult
fe_green_of_context(CUcontext handle, struct fe_green **green_p)
{
    CUresult cr = fe_green_get(handle, green_p);

    if (cr == CUDA_SUCCESS && !atomic_load(&(*green_p)->converted))
        cr = CUDA_ERROR_INVALID_CONTEXT;
    return cr;
}

CUresult
fe_green_stream_check(const struct fe_stream *stream)
{
    struct fe_green *green = NULL;

    return find(stream->green, &green) == CUDA_SUCCESS && green->object.wire == stream->green_wire
               ? CUDA_SUCCESS
               : CUDA_ERROR_CONTEXT_IS_DESTROYED;
}

/* -- making and destroying -------------------------------------------------------------- */

static CUresult
create(struct fe_call *call, const struct fe_resource_desc *desc, struct fe_green **green_p)
{
    struct wire_cuGreenCtxCreate_args args = {
        .device = fe_state_of(call)->devices[desc->device].server_ordinal,
        .of = desc->split.of,
        .groups = desc->split.groups,
        .flags = desc->split.flags,
        .min_count = desc->split.min_count,
        .parts = desc->parts,
        .parts_len = desc->count,
    };
    struct wire_cuGreenCtxCreate_reply reply;
    struct fe_green *green = fe_object_create(WIRE_HANDLE_GREEN_CONTEXT, call->context);
    CUresult cr;

    if (green == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    green->context_wire = call->context->head.object.wire;
    green->id = next_id++;
    green->device = desc->device;
    args.green = green->object.wire;
    FE_ASK(cr, call, cuGreenCtxCreate, &args, &reply);
    if (cr == CUDA_SUCCESS) {
        for (int i = 0; i < 3; i++)
            green->sms[i] = reply.sms[i];
        cr = fe_call_next(call, WIRE_CALL_cuGreenCtxStreamCreate);
    }
    if (cr == CUDA_SUCCESS)
        cr = fe_green_stream_make(call, green, 0, &green->stream);
    if (cr == CUDA_SUCCESS)
        *green_p = green;
    else
        fe_object_destroy(green);
    return cr;
}

GP_EXPORT CUresult
cuGreenCtxCreate(CUgreenCtx *handle, CUdevResourceDesc desc_handle, CUdevice dev,
                 unsigned int flags)
{
    const struct fe_resource_desc *desc;
    struct fe_green *green = NULL;
    struct fe_state *state;
    CUcontext context;
    struct fe_call call;
    CUresult cr = CUDA_SUCCESS;

    state = fe_state_get(&cr);
    if (state == NULL)
        return cr;
    desc = fe_resource_desc_get(desc_handle);
    if (handle == NULL || flags != CU_GREEN_CTX_DEFAULT_STREAM || desc == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    if (fe_state_device(state, dev) == NULL)
        return CUDA_ERROR_INVALID_DEVICE;
    if (desc->device != dev)
        return CUDA_ERROR_INVALID_VALUE;
    cr = cuDevicePrimaryCtxRetain(&context, dev);
    if (cr != CUDA_SUCCESS)
        return cr;
    cr = fe_enter_in(&call, WIRE_CALL_cuGreenCtxCreate, (struct fe_context *)context);
    if (cr == CUDA_SUCCESS)
        cr = fe_leave(&call, create(&call, desc, &green));
    if (green == NULL) {
        (void)cuDevicePrimaryCtxRelease_v2(dev);
        return cr;
    }
    *handle = (CUgreenCtx)green;
    return cr;
}

struct ending {
    struct fe_call *call;
    struct fe_green *green;
    CUresult cr;
};

/* What its context had on the server is not worth a word after a failure: it ends with that. */
static bool
forget_stream(void *object, void *green)
{
    struct fe_stream *stream = object;

    if (stream->green == green && stream->green_wire == ((struct fe_green *)green)->object.wire &&
        (stream->inside || stream == ((struct fe_green *)green)->stream))
        fe_object_destroy(stream);
    return true;
}

/* The server's stream goes; the program's handle stays and tells that its green context is gone. */
static bool
end_stream(void *object, void *user)
{
    struct wire_cuStreamDestroy_v2_args args;
    struct fe_stream *stream = object;
    struct ending *e = user;

    if (stream->green != e->green || stream->green_wire != e->green->object.wire ||
        fe_object_state(stream) != FE_OBJECT_LIVE)
        return true;
    fe_capture_stream_gone(stream);
    fe_order_ends(stream);
    args.stream = stream->object.wire;
    FE_TELL(e->cr, e->call, cuStreamDestroy_v2, &args);
    if (stream->inside || stream == e->green->stream)
        fe_object_destroy(stream);
    return e->cr == CUDA_SUCCESS;
}

static CUresult
destroy(struct fe_green *green)
{
    struct wire_cuGreenCtxDestroy_args args = {.green = green->object.wire};
    struct ending e = {NULL, green, CUDA_SUCCESS};
    struct fe_call call;
    CUresult cr = fe_enter_in(&call, WIRE_CALL_cuStreamDestroy_v2, green->object.context);

    if (cr != CUDA_SUCCESS)
        return cr;
    e.call = &call;
    fe_context_event_lock(); /* nothing is posted to its streams behind their end */
    fe_object_each(WIRE_HANDLE_STREAM, end_stream, &e);
    if (e.cr == CUDA_SUCCESS)
        e.cr = fe_call_next(&call, WIRE_CALL_cuGreenCtxDestroy);
    if (e.cr == CUDA_SUCCESS)
        FE_TELL(e.cr, &call, cuGreenCtxDestroy, &args);
    fe_object_destroy(green);
    fe_context_event_unlock();
    cr = fe_leave(&call, e.cr);
    fe_graph_flush();
    return cr;
}

GP_EXPORT CUresult
cuGreenCtxDestroy(CUgreenCtx handle)
{
    struct fe_green *green = NULL;
    CUresult cr = CUDA_SUCCESS;
    CUdevice dev;

    if (fe_state_get(&cr) == NULL)
        return cr;
    cr = find(handle, &green);
    if (cr == CUDA_ERROR_CONTEXT_IS_DESTROYED) { /* with its primary context */
        fe_context_unset_green((void *)handle);
        fe_object_destroy((void *)handle);
        return CUDA_SUCCESS;
    }
    if (cr != CUDA_SUCCESS)
        return cr;
    dev = green->device;
    fe_context_unset_green(green);
    if (fe_context_usable(green->object.context) == CUDA_SUCCESS) {
        cr = destroy(green);
    } else {
        fe_object_each(WIRE_HANDLE_STREAM, forget_stream, green);
        fe_object_destroy(green);
    }
    return cr == CUDA_SUCCESS ? cuDevicePrimaryCtxRelease_v2(dev) : cr;
}

/* -- questions -------------------------------------------------------------------------- */

GP_EXPORT CUresult
cuCtxFromGreenCtx(CUcontext *context, CUgreenCtx handle)
{
    struct fe_green *green = NULL;
    CUresult cr = CUDA_SUCCESS;

    FE_COUNT_LOCAL();
    if (fe_state_get(&cr) == NULL)
        return cr;
    if (context == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    cr = fe_green_get(handle, &green);
    if (cr != CUDA_SUCCESS)
        return cr;
    atomic_store(&green->converted, true);
    *context = (CUcontext)green;
    return CUDA_SUCCESS;
}

GP_EXPORT CUresult
cuGreenCtxGetId(CUgreenCtx handle, unsigned long long *id)
{
    struct fe_green *green = NULL;
    CUresult cr = CUDA_SUCCESS;

    FE_COUNT_LOCAL();
    if (fe_state_get(&cr) == NULL)
        return cr;
    cr = fe_green_get(handle != NULL ? (void *)handle : fe_thread.green, &green);
    if (cr == CUDA_SUCCESS && id == NULL)
        cr = CUDA_ERROR_INVALID_VALUE;
    if (cr == CUDA_SUCCESS)
        *id = green->id;
    return cr;
}

/* -- streams ---------------------------------------------------------------------------- */

CUresult
fe_green_stream_make(struct fe_call *call, struct fe_green *green, int priority,
                     struct fe_stream **stream_p)
{
    struct wire_cuGreenCtxStreamCreate_args args = {.green = green->object.wire,
                                                    .priority = priority};
    struct fe_stream *stream = fe_stream_new(call->context, CU_STREAM_NON_BLOCKING, priority);
    CUresult cr;

    if (stream == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    stream->green = green;
    stream->green_wire = green->object.wire;
    args.stream = stream->object.wire;
    FE_TELL(cr, call, cuGreenCtxStreamCreate, &args);
    if (cr != CUDA_SUCCESS) {
        fe_object_destroy(stream);
        return cr;
    }
    atomic_fetch_add(&call->context->loose_streams, 1);
    *stream_p = stream;
    return fe_context_gate_new(call, stream);
}

GP_EXPORT CUresult
cuGreenCtxStreamCreate(CUstream *handle, CUgreenCtx green_handle, unsigned int flags, int priority)
{
    struct fe_stream *stream = NULL;
    struct fe_green *green = NULL;
    struct fe_call call;
    CUresult cr = CUDA_SUCCESS;

    if (fe_state_get(&cr) == NULL)
        return cr;
    cr = fe_green_get(green_handle, &green);
    if (cr != CUDA_SUCCESS)
        return cr;
    if (handle == NULL || flags != CU_STREAM_NON_BLOCKING)
        return CUDA_ERROR_INVALID_VALUE;
    cr = fe_enter_in(&call, WIRE_CALL_cuGreenCtxStreamCreate, green->object.context);
    if (cr != CUDA_SUCCESS)
        return cr;
    cr = fe_green_stream_make(&call, green, fe_stream_priority(&call, priority), &stream);
    if (cr == CUDA_SUCCESS)
        *handle = (CUstream)stream;
    return fe_leave(&call, cr);
}
