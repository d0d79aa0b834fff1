/* backend/driver/soft/dev/stream_attr.c -- attributes of streams
 *
 * A stream's priority is obeyed by the run queue. The others are hints to a device without
 * caches: they are checked, kept, and given to the kernels that the stream captures.
 */
#include "backend/driver/soft/dev/graph.h"
#include "backend/driver/soft/dev/sched.h"
#include "cuda_api.h"

#include <stdlib.h>
#include <string.h>

enum slot {
    WINDOW,
    SYNC_POLICY,
    DOMAIN_MAP,
    DOMAIN,
    NVLINK,
    SLOTS,
    PRIORITY,
    NONE
};

struct sd_stream_attributes {
    CUlaunchAttributeValue value[SLOTS];
};

/* What a new stream has. */
static const struct sd_stream_attributes defaults = {{
    [SYNC_POLICY] = {.syncPolicy = CU_SYNC_POLICY_AUTO},
    [DOMAIN_MAP] = {.memSyncDomainMap = {0, 1}},
}};

static enum slot
slot_of(CUstreamAttrID attr)
{
    switch (attr) {
    case CU_LAUNCH_ATTRIBUTE_ACCESS_POLICY_WINDOW:
        return WINDOW;
    case CU_LAUNCH_ATTRIBUTE_SYNCHRONIZATION_POLICY:
        return SYNC_POLICY;
    case CU_LAUNCH_ATTRIBUTE_MEM_SYNC_DOMAIN_MAP:
        return DOMAIN_MAP;
    case CU_LAUNCH_ATTRIBUTE_MEM_SYNC_DOMAIN:
        return DOMAIN;
    case CU_LAUNCH_ATTRIBUTE_NVLINK_UTIL_CENTRIC_SCHEDULING:
        return NVLINK;
    case CU_LAUNCH_ATTRIBUTE_PRIORITY:
        return PRIORITY;
    default:
        return NONE;
    }
}

static bool
window_valid(CUdevice dev, const CUaccessPolicyWindow *w)
{
    int max = 0;

    (void)cuDeviceGetAttribute(&max, CU_DEVICE_ATTRIBUTE_MAX_ACCESS_POLICY_WINDOW_SIZE, dev);
    return w->hitRatio >= 0.0f && w->hitRatio <= 1.0f && w->num_bytes <= (size_t)max &&
           (int)w->hitProp >= 0 && w->hitProp <= CU_ACCESS_PROPERTY_PERSISTING &&
           (int)w->missProp >= 0 && w->missProp <= CU_ACCESS_PROPERTY_STREAMING;
}

static bool
value_valid(CUdevice dev, enum slot slot, const CUlaunchAttributeValue *value)
{
    int domains = 0;

    switch (slot) {
    case WINDOW:
        return window_valid(dev, &value->accessPolicyWindow);
    case SYNC_POLICY:
        return value->syncPolicy >= CU_SYNC_POLICY_AUTO &&
               value->syncPolicy <= CU_SYNC_POLICY_BLOCKING_SYNC;
    case DOMAIN_MAP:
        (void)cuDeviceGetAttribute(&domains, CU_DEVICE_ATTRIBUTE_MEM_SYNC_DOMAIN_COUNT, dev);
        return value->memSyncDomainMap.default_ < domains &&
               value->memSyncDomainMap.remote < domains;
    case DOMAIN:
        return value->memSyncDomain == CU_LAUNCH_MEM_SYNC_DOMAIN_DEFAULT ||
               value->memSyncDomain == CU_LAUNCH_MEM_SYNC_DOMAIN_REMOTE;
    default:
        return true;
    }
}

GP_EXPORT CUresult
cuStreamGetAttribute(CUstream hStream, CUstreamAttrID attr, CUstreamAttrValue *value)
{
    enum slot slot = slot_of(attr);
    CUstream stream;
    CUresult cr = sd_stream_get(hStream, &stream);

    if (cr != CUDA_SUCCESS)
        return cr;
    if (value == NULL || slot == NONE)
        return CUDA_ERROR_INVALID_VALUE;
    if (slot == PRIORITY) {
        memset(value, 0, sizeof(*value));
        value->priority = atomic_load(&stream->priority);
        return CUDA_SUCCESS;
    }
    sd_sched_lock();
    *value = (stream->attributes != NULL ? stream->attributes : &defaults)->value[slot];
    sd_sched_unlock();
    return CUDA_SUCCESS;
}

/* The lock is held. */
static struct sd_stream_attributes *
own(CUstream stream)
{
    if (stream->attributes == NULL) {
        stream->attributes = malloc(sizeof(*stream->attributes));
        if (stream->attributes != NULL)
            *stream->attributes = defaults;
    }
    return stream->attributes;
}

GP_EXPORT CUresult
cuStreamSetAttribute(CUstream hStream, CUstreamAttrID attr, const CUstreamAttrValue *param)
{
    enum slot slot = slot_of(attr);
    struct sd_stream_attributes *kept;
    CUstream stream;
    CUresult cr = sd_stream_get(hStream, &stream);

    if (cr != CUDA_SUCCESS)
        return cr;
    if (param == NULL || slot == NONE || !value_valid(stream->ctx->dev->ordinal, slot, param))
        return CUDA_ERROR_INVALID_VALUE;
    if (slot == PRIORITY) {
        sd_stream_set_priority(stream, param->priority);
        return CUDA_SUCCESS;
    }
    sd_sched_lock();
    kept = own(stream);
    if (kept != NULL)
        kept->value[slot] = *param;
    sd_sched_unlock();
    return kept != NULL ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
}

GP_EXPORT CUresult
cuStreamCopyAttributes(CUstream dstStream, CUstream srcStream)
{
    CUstream dst, src;
    CUresult cr = sd_stream_get(dstStream, &dst);

    if (cr == CUDA_SUCCESS)
        cr = sd_stream_get(srcStream, &src);
    if (cr != CUDA_SUCCESS)
        return cr;
    if (dst->ctx != src->ctx)
        return CUDA_ERROR_INVALID_VALUE;
    sd_sched_lock();
    if (src->attributes == NULL) {
        free(dst->attributes);
        dst->attributes = NULL;
    } else if (own(dst) == NULL)
        cr = CUDA_ERROR_OUT_OF_MEMORY;
    else
        *dst->attributes = *src->attributes;
    sd_sched_unlock();
    if (cr == CUDA_SUCCESS)
        sd_stream_set_priority(dst, atomic_load(&src->priority));
    return cr;
}

static void
inherit(CUgraphNode node, unsigned id, const CUlaunchAttributeValue *value,
        const CUlaunchAttributeValue *usual)
{
    if (memcmp(value, usual, sizeof(*value)) != 0)
        (void)sd_node_take_attribute(node, id, value);
}

void
sd_stream_attributes_inherit(CUstream stream, CUgraphNode node)
{
    const CUlaunchAttributeValue priority = {.priority = atomic_load(&stream->priority)};
    struct sd_stream_attributes a = defaults;

    sd_sched_lock();
    if (stream->attributes != NULL)
        a = *stream->attributes;
    sd_sched_unlock();
    if (priority.priority != 0)
        (void)sd_node_take_attribute(node, CU_LAUNCH_ATTRIBUTE_PRIORITY, &priority);
    inherit(node, CU_LAUNCH_ATTRIBUTE_ACCESS_POLICY_WINDOW, &a.value[WINDOW],
            &defaults.value[WINDOW]);
    inherit(node, CU_LAUNCH_ATTRIBUTE_MEM_SYNC_DOMAIN_MAP, &a.value[DOMAIN_MAP],
            &defaults.value[DOMAIN_MAP]);
    inherit(node, CU_LAUNCH_ATTRIBUTE_MEM_SYNC_DOMAIN, &a.value[DOMAIN], &defaults.value[DOMAIN]);
    inherit(node, CU_LAUNCH_ATTRIBUTE_NVLINK_UTIL_CENTRIC_SCHEDULING, &a.value[NVLINK],
            &defaults.value[NVLINK]);
}
