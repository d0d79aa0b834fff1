/* frontend/cuda/resource.c -- sets of SMs: asked for, split, made into descriptors
 *
 * The server's driver says how a split comes out; what it was stands in the resources.
 */
#include "frontend/cuda/resource.h"

#include "cuda_api.h"
#include "frontend/core/stats.h"
#include "frontend/cuda/ask.h"
#include "frontend/cuda/green.h"
#include "frontend/cuda/state.h"
#include "protocol/base/util.h"
#include "protocol/wire/green.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define MAGIC 0x4d536567u

/* What is in a resource's padding. */
struct inside {
    uint32_t magic;
    int32_t device;
    struct fe_resource_split split;
    uint32_t part; /* with a split: which group, or WIRE_SM_REST */
};

static _Atomic uint64_t next_split = 1;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* a leaf */
static struct fe_resource_desc *descs;                   /* guarded by lock */

static void
fill(CUdevResource *to, const struct inside *in, const uint32_t sms[3])
{
    memset(to, 0, sizeof(*to));
    if (sms[0] == 0)
        return; /* CU_DEV_RESOURCE_TYPE_INVALID */
    to->type = CU_DEV_RESOURCE_TYPE_SM;
    memcpy(to->_internal_padding, in, sizeof(*in));
    to->sm.smCount = sms[0];
    to->sm.minSmPartitionSize = sms[1];
    to->sm.smCoscheduledAlignment = sms[2];
}

static CUresult
read_inside(const struct fe_state *state, const CUdevResource *from, struct inside *in)
{
    if (from->type != CU_DEV_RESOURCE_TYPE_SM)
        return CUDA_ERROR_INVALID_RESOURCE_TYPE;
    memcpy(in, from->_internal_padding, sizeof(*in));
    return in->magic == MAGIC && fe_state_device(state, in->device) != NULL
               ? CUDA_SUCCESS
               : CUDA_ERROR_INVALID_RESOURCE_CONFIGURATION;
}

/* -- asking ----------------------------------------------------------------------------- */

static CUresult
ask_device(CUdevice dev, CUdevResource *resource)
{
    struct wire_cuDeviceGetDevResource_reply reply;
    struct wire_cuDeviceGetDevResource_args args;
    const struct inside in = {.magic = MAGIC, .device = dev};
    struct fe_call call;
    CUresult cr = fe_enter_on(&call, WIRE_CALL_cuDeviceGetDevResource, fe_device_session(dev));

    if (cr != CUDA_SUCCESS)
        return cr;
    args.device = fe_state_of(&call)->devices[dev].server_ordinal;
    FE_ASK(cr, &call, cuDeviceGetDevResource, &args, &reply);
    if (cr == CUDA_SUCCESS)
        fill(resource, &in, reply.sms);
    return fe_leave(&call, cr);
}

static CUresult
whole(CUdevice dev, const struct fe_green *green, CUdevResource *resource, CUdevResourceType type)
{
    struct inside in = {.magic = MAGIC, .device = dev};

    if (resource == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    if (type != CU_DEV_RESOURCE_TYPE_SM)
        return CUDA_ERROR_INVALID_RESOURCE_TYPE;
    if (green == NULL)
        return ask_device(dev, resource);
    FE_COUNT_LOCAL();
    in.split.of = green->object.wire;
    fill(resource, &in, green->sms);
    return CUDA_SUCCESS;
}

GP_EXPORT CUresult
cuDeviceGetDevResource(CUdevice dev, CUdevResource *resource, CUdevResourceType type)
{
    struct fe_state *state;
    CUresult cr = CUDA_SUCCESS;

    state = fe_state_get(&cr);
    if (state == NULL)
        return cr;
    return fe_state_device(state, dev) != NULL ? whole(dev, NULL, resource, type)
                                               : CUDA_ERROR_INVALID_DEVICE;
}

GP_EXPORT CUresult
cuCtxGetDevResource(CUcontext handle, CUdevResource *resource, CUdevResourceType type)
{
    struct fe_context *ctx = NULL;
    struct fe_green *green = NULL;
    CUresult cr = CUDA_SUCCESS;

    if (fe_state_get(&cr) == NULL)
        return cr;
    if (handle == NULL)
        return CUDA_ERROR_INVALID_CONTEXT;
    cr = fe_context_get(handle, &ctx);
    if (cr != CUDA_SUCCESS)
        return cr;
    cr = fe_context_usable(ctx);
    if (cr != CUDA_SUCCESS)
        return cr;
    if (fe_green_of_context(handle, &green) != CUDA_SUCCESS)
        green = NULL;
    return whole(ctx->device, green, resource, type);
}

GP_EXPORT CUresult
cuGreenCtxGetDevResource(CUgreenCtx handle, CUdevResource *resource, CUdevResourceType type)
{
    struct fe_green *green = NULL;
    CUresult cr = CUDA_SUCCESS;

    if (fe_state_get(&cr) == NULL)
        return cr;
    cr = fe_green_get(handle, &green);
    return cr == CUDA_SUCCESS ? whole(green->device, green, resource, type) : cr;
}

/* -- splitting -------------------------------------------------------------------------- */

static CUresult
split(const struct inside *in, struct wire_cuDevSmResourceSplitByCount_reply *reply)
{
    struct wire_cuDevSmResourceSplitByCount_args args = {
        .of = in->split.of,
        .groups = in->split.groups,
        .flags = in->split.flags,
        .min_count = in->split.min_count,
    };
    struct fe_call call;
    CUresult cr =
        fe_enter_on(&call, WIRE_CALL_cuDevSmResourceSplitByCount, fe_device_session(in->device));

    if (cr != CUDA_SUCCESS)
        return cr;
    args.device = fe_state_of(&call)->devices[in->device].server_ordinal;
    FE_ASK(cr, &call, cuDevSmResourceSplitByCount, &args, reply);
    if (cr == CUDA_SUCCESS && (reply->made == 0 || reply->made > WIRE_SM_GROUPS_MAX ||
                               (in->split.groups != 0 && reply->made > in->split.groups)))
        cr = fe_malformed(&call);
    return fe_leave(&call, cr);
}

GP_EXPORT CUresult
cuDevSmResourceSplitByCount(CUdevResource *result, unsigned int *groups, const CUdevResource *input,
                            CUdevResource *remaining, unsigned int flags, unsigned int min_count)
{
    struct wire_cuDevSmResourceSplitByCount_reply reply;
    struct fe_state *state;
    struct inside in;
    CUresult cr = CUDA_SUCCESS;

    state = fe_state_get(&cr);
    if (state == NULL)
        return cr;
    if (groups == NULL || input == NULL || (result != NULL && *groups == 0) ||
        (flags & ~(unsigned)(CU_DEV_SM_RESOURCE_SPLIT_IGNORE_SM_COSCHEDULING |
                             CU_DEV_SM_RESOURCE_SPLIT_MAX_POTENTIAL_CLUSTER_SIZE)) != 0)
        return CUDA_ERROR_INVALID_VALUE;
    cr = read_inside(state, input, &in);
    if (cr != CUDA_SUCCESS)
        return cr;
    if (min_count > input->sm.smCount)
        return CUDA_ERROR_INVALID_VALUE;
    if (in.split.number != 0) /* what was split goes through a green context first */
        return CUDA_ERROR_INVALID_RESOURCE_CONFIGURATION;
    in.split.groups = result == NULL ? 0 : (uint32_t)gp_min_u64(*groups, WIRE_SM_GROUPS_MAX);
    in.split.flags = flags;
    in.split.min_count = min_count;
    cr = split(&in, &reply);
    if (cr != CUDA_SUCCESS)
        return cr;
    in.split.number = next_split++;
    in.split.groups = reply.made; /* asked for again, so many come out */
    *groups = reply.made;
    for (in.part = 0; result != NULL && in.part < reply.made; in.part++)
        fill(&result[in.part], &in, reply.group);
    in.part = WIRE_SM_REST;
    if (remaining != NULL)
        fill(remaining, &in, reply.rest);
    return CUDA_SUCCESS;
}

/* -- descriptors ------------------------------------------------------------------------ */

const struct fe_resource_desc *
fe_resource_desc_get(CUdevResourceDesc handle)
{
    struct fe_resource_desc *desc;

    pthread_mutex_lock(&lock);
    for (desc = descs; desc != NULL && (CUdevResourceDesc)desc != handle;)
        desc = desc->next;
    pthread_mutex_unlock(&lock);
    return desc;
}

/* One of those that are there already, or desc, kept: programs make the same ones again. */
static struct fe_resource_desc *
keep(struct fe_resource_desc *desc)
{
    struct fe_resource_desc *d;

    pthread_mutex_lock(&lock);
    for (d = descs; d != NULL; d = d->next)
        if (d->device == desc->device && d->count == desc->count &&
            d->split.number == desc->split.number && d->split.of == desc->split.of &&
            memcmp(d->parts, desc->parts, desc->count * sizeof(desc->parts[0])) == 0)
            break;
    if (d == NULL) {
        d = desc;
        desc->next = descs;
        descs = desc;
        desc = NULL;
    }
    pthread_mutex_unlock(&lock);
    free(desc);
    return d;
}

/* Adds a resource. All are of one device and one split, each there once. */
static CUresult
add(const struct fe_state *state, struct fe_resource_desc *desc, const CUdevResource *resource,
    bool first)
{
    struct inside in;
    CUresult cr = read_inside(state, resource, &in);

    if (cr != CUDA_SUCCESS)
        return cr;
    if (first) {
        desc->device = in.device;
        desc->split = in.split;
    } else if (in.device != desc->device || in.split.number != desc->split.number ||
               in.split.number == 0) {
        return CUDA_ERROR_INVALID_RESOURCE_CONFIGURATION;
    }
    if (in.split.number == 0)
        return CUDA_SUCCESS;
    for (uint32_t i = 0; i < desc->count; i++)
        if (desc->parts[i] == in.part)
            return CUDA_ERROR_INVALID_RESOURCE_CONFIGURATION;
    desc->parts[desc->count++] = in.part;
    return CUDA_SUCCESS;
}

GP_EXPORT CUresult
cuDevResourceGenerateDesc(CUdevResourceDesc *handle, CUdevResource *resources, unsigned int count)
{
    struct fe_resource_desc *desc;
    struct fe_state *state;
    CUresult cr = CUDA_SUCCESS;

    FE_COUNT_LOCAL();
    state = fe_state_get(&cr);
    if (state == NULL)
        return cr;
    if (handle == NULL || resources == NULL || count == 0)
        return CUDA_ERROR_INVALID_VALUE;
    if (resources[0].type != CU_DEV_RESOURCE_TYPE_SM)
        return CUDA_ERROR_INVALID_RESOURCE_TYPE;
    if (count > FE_RESOURCE_PARTS_MAX) /* more than there can be of one split */
        return CUDA_ERROR_INVALID_RESOURCE_CONFIGURATION;
    desc = calloc(1, sizeof(*desc) + count * sizeof(desc->parts[0]));
    if (desc == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    for (unsigned i = 0; i < count && cr == CUDA_SUCCESS; i++)
        cr = add(state, desc, &resources[i], i == 0);
    if (cr != CUDA_SUCCESS) {
        free(desc);
        return cr;
    }
    *handle = (CUdevResourceDesc)keep(desc);
    return CUDA_SUCCESS;
}
