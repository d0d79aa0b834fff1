/* backend/driver/soft/dev/resource.c -- sets of SMs: asked for, split, made into descriptors
 *
 * A resource is a value of the program's. In its padding it says whose SMs these are (the device's,
 * or those of a descriptor, which a green context has) and which stretch of them.
 */
#include "backend/driver/soft/dev/green.h"
#include "cuda_api.h"

#include <string.h>

#define MAGIC 0x534d7365u

struct inside {
    uint32_t magic;
    int32_t device;
    const struct CUdevResourceDesc_st *of; /* NULL: the device */
    uint64_t split;                        /* the number of the call that made it; 0: none did */
    uint32_t first, count;
};

static _Atomic uint64_t next_split = 1;

static pthread_mutex_t desc_lock = PTHREAD_MUTEX_INITIALIZER; /* a leaf */
static CUdevResourceDesc descs;                               /* guarded by desc_lock */

struct rule {
    unsigned least, align;
};

static struct rule
rule_of(const struct sd_device *dev, unsigned flags)
{
    if (dev->profile.cc_major < 8 || (flags & CU_DEV_SM_RESOURCE_SPLIT_IGNORE_SM_COSCHEDULING) != 0)
        return (struct rule){2, 2};
    return dev->profile.cc_major == 8 ? (struct rule){4, 2} : (struct rule){8, 8};
}

static void
fill(CUdevResource *to, const struct inside *in, struct rule rule)
{
    memset(to, 0, sizeof(*to));
    if (in->count == 0)
        return; /* CU_DEV_RESOURCE_TYPE_INVALID */
    to->type = CU_DEV_RESOURCE_TYPE_SM;
    memcpy(to->_internal_padding, in, sizeof(*in));
    to->sm.smCount = in->count;
    to->sm.minSmPartitionSize = rule.least;
    to->sm.smCoscheduledAlignment = in->count % rule.align == 0 ? rule.align : 1;
}

/* What a resource of the program says, if it is one. */
static CUresult
read_inside(const CUdevResource *from, struct inside *in, struct sd_device **dev_p)
{
    if (from->type != CU_DEV_RESOURCE_TYPE_SM)
        return CUDA_ERROR_INVALID_RESOURCE_TYPE;
    memcpy(in, from->_internal_padding, sizeof(*in));
    if (in->magic != MAGIC)
        return CUDA_ERROR_INVALID_RESOURCE_CONFIGURATION;
    *dev_p = sd_device_get(in->device);
    if (*dev_p == NULL)
        return CUDA_ERROR_INVALID_RESOURCE_CONFIGURATION;
    return CUDA_SUCCESS;
}

static CUresult
whole(struct sd_device *dev, const struct CUdevResourceDesc_st *of, CUdevResource *resource,
      CUdevResourceType type)
{
    const struct inside in = {
        .magic = MAGIC,
        .device = dev->ordinal,
        .of = of,
        .count = of != NULL ? of->count : (uint32_t)dev->profile.multiprocessors,
    };

    if (resource == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    if (type != CU_DEV_RESOURCE_TYPE_SM)
        return CUDA_ERROR_INVALID_RESOURCE_TYPE;
    fill(resource, &in, rule_of(dev, 0));
    return CUDA_SUCCESS;
}

GP_EXPORT CUresult
cuDeviceGetDevResource(CUdevice device, CUdevResource *resource, CUdevResourceType type)
{
    struct sd_device *dev;

    SD_ENTER_READY();
    dev = sd_device_get(device);
    return dev != NULL ? whole(dev, NULL, resource, type) : CUDA_ERROR_INVALID_DEVICE;
}

GP_EXPORT CUresult
cuCtxGetDevResource(CUcontext hCtx, CUdevResource *resource, CUdevResourceType type)
{
    CUgreenCtx green;
    CUcontext ctx;
    CUresult cr;

    SD_ENTER_READY();
    cr = sd_green_resolve(hCtx, &ctx, &green);
    if (cr == CUDA_SUCCESS)
        cr = sd_ctx_check(ctx);
    if (cr != CUDA_SUCCESS)
        return cr;
    return whole(ctx->dev, green != NULL ? green->desc : NULL, resource, type);
}

GP_EXPORT CUresult
cuGreenCtxGetDevResource(CUgreenCtx hCtx, CUdevResource *resource, CUdevResourceType type)
{
    CUresult cr;

    SD_ENTER_READY();
    cr = sd_green_check(hCtx);
    return cr == CUDA_SUCCESS ? whole(hCtx->ctx->dev, hCtx->desc, resource, type) : cr;
}

/* --- splitting --- */

GP_EXPORT CUresult
cuDevSmResourceSplitByCount(CUdevResource *result, unsigned int *nbGroups,
                            const CUdevResource *input, CUdevResource *remaining,
                            unsigned int useFlags, unsigned int minCount)
{
    struct sd_device *dev;
    unsigned size, groups;
    struct inside in;
    struct rule rule;
    CUresult cr;

    SD_ENTER_READY();
    if (nbGroups == NULL || input == NULL || (result != NULL && *nbGroups == 0) ||
        (useFlags & ~(unsigned)(CU_DEV_SM_RESOURCE_SPLIT_IGNORE_SM_COSCHEDULING |
                                CU_DEV_SM_RESOURCE_SPLIT_MAX_POTENTIAL_CLUSTER_SIZE)) != 0)
        return CUDA_ERROR_INVALID_VALUE;
    cr = read_inside(input, &in, &dev);
    if (cr != CUDA_SUCCESS)
        return cr;
    if (minCount > in.count || ((useFlags & CU_DEV_SM_RESOURCE_SPLIT_MAX_POTENTIAL_CLUSTER_SIZE) &&
                                dev->profile.cc_major < 9))
        return CUDA_ERROR_INVALID_VALUE;
    if (in.split != 0) /* what was split goes through a green context first */
        return CUDA_ERROR_INVALID_RESOURCE_CONFIGURATION;
    rule = rule_of(dev, useFlags);
    size = (unsigned)gp_align_up_u64(minCount > rule.least ? minCount : rule.least, rule.align);
    groups = in.count / size;
    if (groups == 0)
        return CUDA_ERROR_INVALID_RESOURCE_CONFIGURATION;
    if (result != NULL && groups > *nbGroups)
        groups = *nbGroups;
    *nbGroups = groups;
    in.split = atomic_fetch_add(&next_split, 1);
    if (remaining != NULL) {
        const struct inside rest = {MAGIC,    in.device,     in.of,
                                    in.split, groups * size, in.count - groups * size};

        fill(remaining, &rest, rule);
    }
    for (unsigned i = 0; result != NULL && i < groups; i++) {
        const struct inside group = {MAGIC, in.device, in.of, in.split, i * size, size};

        fill(&result[i], &group, rule);
    }
    return CUDA_SUCCESS;
}

/* --- descriptors --- */

/* Adds a stretch; false if it overlaps another or is beyond what is there. */
static bool
add(bool *has, const struct inside *in, const struct sd_device *dev)
{
    unsigned total = in->of != NULL ? in->of->count : (unsigned)dev->profile.multiprocessors;

    if (in->first > total || in->count > total - in->first)
        return false;
    for (unsigned i = in->first; i < in->first + in->count; i++) {
        unsigned sm = in->of != NULL ? in->of->sms[i] : i;

        if (has[sm])
            return false;
        has[sm] = true;
    }
    return true;
}

/* The descriptor of these SMs: the same for ever. NULL without memory. */
static CUdevResourceDesc
desc_of(struct sd_device *dev, const bool *has)
{
    CUdevResourceDesc desc = sd_object_new(SD_DESC, sizeof(*desc)), d;

    if (desc == NULL)
        return NULL;
    desc->dev = dev;
    for (unsigned sm = 0; sm < SD_SMS_MAX; sm++)
        if (has[sm])
            desc->sms[desc->count++] = (uint16_t)sm;
    pthread_mutex_lock(&desc_lock);
    for (d = descs; d != NULL; d = d->next)
        if (d->dev == dev && d->count == desc->count &&
            memcmp(d->sms, desc->sms, sizeof(d->sms)) == 0)
            break;
    if (d == NULL) {
        d = desc;
        d->next = descs;
        descs = d;
        desc = NULL;
    }
    pthread_mutex_unlock(&desc_lock);
    if (desc != NULL)
        sd_object_free(desc);
    return d;
}

GP_EXPORT CUresult
cuDevResourceGenerateDesc(CUdevResourceDesc *phDesc, CUdevResource *resources,
                          unsigned int nbResources)
{
    struct sd_device *dev = NULL, *first = NULL;
    bool has[SD_SMS_MAX] = {false};
    CUdevResourceDesc desc;
    uint64_t split = 0;
    struct inside in;

    SD_ENTER_READY();
    if (phDesc == NULL || resources == NULL || nbResources == 0)
        return CUDA_ERROR_INVALID_VALUE;
    for (unsigned i = 0; i < nbResources; i++) {
        CUresult cr = read_inside(&resources[i], &in, &dev);

        if (cr != CUDA_SUCCESS)
            return cr;
        if (i == 0) {
            first = dev;
            split = in.split;
        }
        /* Several are of one split. */
        if (dev != first || in.split != split || (i > 0 && split == 0) ||
            (in.of != NULL && !sd_object_is(in.of, SD_DESC)) || !add(has, &in, dev))
            return CUDA_ERROR_INVALID_RESOURCE_CONFIGURATION;
    }
    desc = desc_of(dev, has);
    if (desc == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    *phDesc = desc;
    return CUDA_SUCCESS;
}
