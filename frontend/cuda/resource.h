/* frontend/cuda/resource.h -- resources of devices, as green.c needs them */
#ifndef FE_RESOURCE_H
#define FE_RESOURCE_H

#include "protocol/abi/cuda_types.h"

#include <stdint.h>

#define FE_RESOURCE_PARTS_MAX 512u

/* How SMs were split: whose, and by which call. */
struct fe_resource_split {
    uint64_t of;     /* wire id of a green context; 0: the device */
    uint64_t number; /* of the call, in this process; 0: nobody split it */
    uint32_t groups, flags, min_count;
};

/* What a CUdevResourceDesc is; never freed, for CUDA has no call for that. */
struct fe_resource_desc {
    struct fe_resource_desc *next;
    CUdevice device;
    struct fe_resource_split split;
    uint32_t count;   /* of parts; 0: whole */
    uint32_t parts[]; /* numbers of groups; WIRE_SM_REST: what the groups left */
};

/* NULL if it is none. */
const struct fe_resource_desc *fe_resource_desc_get(CUdevResourceDesc handle);

#endif
