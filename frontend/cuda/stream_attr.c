/* frontend/cuda/stream_attr.c -- attributes of streams
 *
 * The server's driver has them and is asked. What kernels take from a stream that captures is
 * known here as well, for captures never reach the server.
 */
#include "cuda_api.h"
#include "frontend/cuda/ask.h"
#include "frontend/cuda/capture.h"
#include "frontend/cuda/graph.h"
#include "frontend/cuda/state.h"
#include "protocol/base/util.h"

#include <pthread.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* of all streams' attributes; a leaf */

static bool
has_streams(CUstreamAttrID attr)
{
    switch (attr) {
    case CU_LAUNCH_ATTRIBUTE_ACCESS_POLICY_WINDOW:
    case CU_LAUNCH_ATTRIBUTE_SYNCHRONIZATION_POLICY:
    case CU_LAUNCH_ATTRIBUTE_PRIORITY:
    case CU_LAUNCH_ATTRIBUTE_MEM_SYNC_DOMAIN_MAP:
    case CU_LAUNCH_ATTRIBUTE_MEM_SYNC_DOMAIN:
    case CU_LAUNCH_ATTRIBUTE_NVLINK_UTIL_CENTRIC_SCHEDULING:
        return true;
    default:
        return false;
    }
}

/* What kernels take from a stream; the lock is held. Nothing for the others. */
static void
keep(struct fe_stream_attributes *kept, CUstreamAttrID attr, const CUlaunchAttributeValue *value)
{
    switch (attr) {
    case CU_LAUNCH_ATTRIBUTE_ACCESS_POLICY_WINDOW:
        kept->window = value->accessPolicyWindow;
        break;
    case CU_LAUNCH_ATTRIBUTE_MEM_SYNC_DOMAIN_MAP:
        kept->domains = value->memSyncDomainMap;
        break;
    case CU_LAUNCH_ATTRIBUTE_MEM_SYNC_DOMAIN:
        kept->domain = value->memSyncDomain;
        break;
    case CU_LAUNCH_ATTRIBUTE_NVLINK_UTIL_CENTRIC_SCHEDULING:
        kept->nvlink = value->nvlinkUtilCentricScheduling;
        break;
    default:
        return;
    }
    kept->set |= 1u << attr;
}

GP_EXPORT CUresult
cuStreamGetAttribute(CUstream handle, CUstreamAttrID attr, CUstreamAttrValue *value)
{
    struct wire_cuStreamGetAttribute_args args = {.attr = (uint32_t)attr};
    struct wire_cuStreamGetAttribute_reply reply;
    struct fe_stream *stream = NULL;
    struct fe_call call;
    CUresult cr = fe_enter(&call, WIRE_CALL_cuStreamGetAttribute);

    if (cr != CUDA_SUCCESS)
        return cr;
    cr = fe_stream_resolve_capture(&call, handle, &stream, &args.stream);
    if (cr == CUDA_SUCCESS && (value == NULL || !has_streams(attr)))
        cr = CUDA_ERROR_INVALID_VALUE;
    if (cr == CUDA_SUCCESS)
        FE_ASK(cr, &call, cuStreamGetAttribute, &args, &reply);
    if (cr == CUDA_SUCCESS)
        *value = reply.value;
    return fe_leave(&call, cr);
}

static CUresult
set(struct fe_call *call, struct fe_stream *stream, struct wire_cuStreamSetAttribute_args *args,
    CUlaunchAttributeValue value)
{
    CUstreamAttrID attr = (CUstreamAttrID)args->attr;
    struct wire_cuStreamSetAttribute_reply reply;
    CUresult cr;

    if (attr == CU_LAUNCH_ATTRIBUTE_PRIORITY)
        value.priority = fe_stream_priority(call, value.priority);
    args->value = value;
    FE_ASK(cr, call, cuStreamSetAttribute, args, &reply);
    if (cr != CUDA_SUCCESS)
        return cr;
    if (attr == CU_LAUNCH_ATTRIBUTE_PRIORITY)
        atomic_store(&stream->priority, value.priority);
    pthread_mutex_lock(&lock);
    keep(&stream->attributes, attr, &value);
    pthread_mutex_unlock(&lock);
    return CUDA_SUCCESS;
}

GP_EXPORT CUresult
cuStreamSetAttribute(CUstream handle, CUstreamAttrID attr, const CUstreamAttrValue *value)
{
    struct wire_cuStreamSetAttribute_args args = {.attr = (uint32_t)attr};
    struct fe_stream *stream = NULL;
    struct fe_call call;
    CUresult cr = fe_enter(&call, WIRE_CALL_cuStreamSetAttribute);

    if (cr != CUDA_SUCCESS)
        return cr;
    cr = fe_stream_resolve_capture(&call, handle, &stream, &args.stream);
    if (cr == CUDA_SUCCESS && (value == NULL || !has_streams(attr)))
        cr = CUDA_ERROR_INVALID_VALUE;
    if (cr == CUDA_SUCCESS)
        cr = set(&call, stream, &args, *value);
    return fe_leave(&call, cr);
}

GP_EXPORT CUresult
cuStreamCopyAttributes(CUstream dst_handle, CUstream src_handle)
{
    struct wire_cuStreamCopyAttributes_args args = {0};
    struct wire_cuStreamCopyAttributes_reply reply;
    struct fe_stream *dst = NULL, *src = NULL;
    struct fe_context *current, *of_dst;
    struct fe_call call;
    CUresult cr = fe_enter(&call, WIRE_CALL_cuStreamCopyAttributes);

    if (cr != CUDA_SUCCESS)
        return cr;
    current = call.context;
    cr = fe_stream_resolve_capture(&call, dst_handle, &dst, &args.dst);
    if (cr != CUDA_SUCCESS)
        return fe_leave(&call, cr);
    of_dst = call.context;
    call.context = current;
    cr = fe_stream_resolve_capture(&call, src_handle, &src, &args.src);
    if (cr == CUDA_SUCCESS && of_dst != call.context)
        cr = CUDA_ERROR_INVALID_VALUE; /* both of one context */
    if (cr == CUDA_SUCCESS)
        FE_ASK(cr, &call, cuStreamCopyAttributes, &args, &reply);
    if (cr == CUDA_SUCCESS) {
        atomic_store(&dst->priority, atomic_load(&src->priority));
        pthread_mutex_lock(&lock);
        dst->attributes = src->attributes;
        pthread_mutex_unlock(&lock);
    }
    return fe_leave(&call, cr);
}

/* One attribute for the node, if it was ever set. */
static CUresult
inherit(struct fe_node_kernel *k, const struct fe_stream_attributes *from, unsigned id,
        const CUlaunchAttributeValue *value)
{
    return (from->set & (1u << id)) != 0 ? fe_kernel_attribute_set(k, id, value) : CUDA_SUCCESS;
}

CUresult
fe_stream_inherit(struct fe_stream *stream, struct fe_node_kernel *k)
{
    CUlaunchAttributeValue value = {.priority = atomic_load(&stream->priority)};
    struct fe_stream_attributes a;
    CUresult cr = CUDA_SUCCESS;

    if (value.priority != 0)
        cr = fe_kernel_attribute_set(k, CU_LAUNCH_ATTRIBUTE_PRIORITY, &value);
    pthread_mutex_lock(&lock);
    a = stream->attributes;
    pthread_mutex_unlock(&lock);
    if (a.set == 0 || cr != CUDA_SUCCESS)
        return cr;
    value = (CUlaunchAttributeValue){.accessPolicyWindow = a.window};
    cr = inherit(k, &a, CU_LAUNCH_ATTRIBUTE_ACCESS_POLICY_WINDOW, &value);
    value = (CUlaunchAttributeValue){.memSyncDomainMap = a.domains};
    if (cr == CUDA_SUCCESS)
        cr = inherit(k, &a, CU_LAUNCH_ATTRIBUTE_MEM_SYNC_DOMAIN_MAP, &value);
    value = (CUlaunchAttributeValue){.memSyncDomain = a.domain};
    if (cr == CUDA_SUCCESS)
        cr = inherit(k, &a, CU_LAUNCH_ATTRIBUTE_MEM_SYNC_DOMAIN, &value);
    value = (CUlaunchAttributeValue){.nvlinkUtilCentricScheduling = a.nvlink};
    if (cr == CUDA_SUCCESS)
        cr = inherit(k, &a, CU_LAUNCH_ATTRIBUTE_NVLINK_UTIL_CENTRIC_SCHEDULING, &value);
    return cr;
}
