/* frontend/cuda/attributes.c -- launch attributes in the form in which they travel */
#include "frontend/cuda/attributes.h"

#include <string.h>

/* An event's handle inside an attribute becomes its wire id, in the same place. */
static CUresult
translate(struct fe_attributes *a, CUevent *place)
{
    struct fe_event *event = fe_object_get(WIRE_HANDLE_EVENT, *place);

    if (event == NULL)
        return CUDA_ERROR_INVALID_HANDLE;
    a->events[a->count] = event;
    *place = (CUevent)(uintptr_t)event->object.wire;
    return CUDA_SUCCESS;
}

static CUresult
add(struct fe_attributes *a, const CUlaunchAttribute *from)
{
    CUlaunchAttribute *to = &a->list[a->count];
    CUresult cr = CUDA_SUCCESS;

    memset(to, 0, sizeof(*to));
    to->id = from->id;
    to->value = from->value;
    a->events[a->count] = NULL;
    switch (from->id) {
    case CU_LAUNCH_ATTRIBUTE_IGNORE:
        return CUDA_SUCCESS;
    case CU_LAUNCH_ATTRIBUTE_COOPERATIVE:
        a->cooperative = from->value.cooperative != 0;
        break;
    case CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION:
        if (from->value.clusterDim.x == 0 || from->value.clusterDim.y == 0 ||
            from->value.clusterDim.z == 0)
            return CUDA_ERROR_INVALID_VALUE;
        break;
    case CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_EVENT:
        cr = translate(a, &to->value.programmaticEvent.event);
        break;
    case CU_LAUNCH_ATTRIBUTE_LAUNCH_COMPLETION_EVENT:
        cr = translate(a, &to->value.launchCompletionEvent.event);
        break;
    case CU_LAUNCH_ATTRIBUTE_DEVICE_UPDATABLE_KERNEL_NODE:
        return fe_refuse("a launch that makes a device-updatable graph node");
    default:
        if ((int)from->id < 0 || (int)from->id > 31)
            return CUDA_ERROR_INVALID_VALUE;
        break;
    }
    if (cr == CUDA_SUCCESS)
        a->count++;
    return cr;
}

CUresult
fe_attributes_read(struct fe_attributes *a, const CUlaunchAttribute *from, unsigned count)
{
    CUresult cr = CUDA_SUCCESS;

    a->count = 0;
    a->cooperative = false;
    if (count > 0 && from == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    if (count > FE_ATTRIBUTES_MAX)
        return CUDA_ERROR_INVALID_VALUE;
    for (unsigned i = 0; i < count && cr == CUDA_SUCCESS; i++)
        cr = add(a, &from[i]);
    return cr;
}

void
fe_attributes_mark(const struct fe_attributes *a, struct fe_context *ctx, struct fe_stream *stream,
                   uint64_t stream_wire, uint64_t n)
{
    for (uint32_t i = 0; i < a->count; i++) {
        if (a->events[i] == NULL)
            continue;
        a->events[i]->context = ctx;
        a->events[i]->stream = stream;
        a->events[i]->stream_wire = stream_wire;
        a->events[i]->recorded = n;
    }
}
