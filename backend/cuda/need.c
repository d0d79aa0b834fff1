/* backend/cuda/need.c */
#include "backend/cuda/need.h"

#include "backend/cuda/named.h"
#include "protocol/base/util.h"
#include "protocol/wire/codec.h"

#include <string.h>

/* What is not among them waits: that is slow at worst. Nothing here may read or write memory of the
 * session or have the driver look at its addresses. */
static enum be_need
need_find(uint16_t call)
{
    const char *name = wire_calls[call].name;

    static const char *const nothing[] = {
        "cuArray",
        "cuCoredump",
        "cuCtx",
        "cuDevice",
        "cuEvent",
        "cuFunc",
        "cuGraphExecDestroy",
        "cuGraphNodeSetEnabled",
        "cuIpcGetEventHandle",
        "cuIpcOpenEventHandle",
        "cuKernel",
        "cuLibrary",
        "cuLink",
        "cuMemAlloc",
        "cuMemCreate",
        "cuMemFree",
        "cuMemGetInfo",
        "cuMemMap",
        "cuMemRelease",
        "cuMemSetAccess",
        "cuMipmappedArray",
        "cuModule",
        "cuOccupancy",
        "cuProfiler",
        "cuStreamCreate",
        "cuStreamDestroy",
        "cuStreamQuery",
        "cuStreamSynchronize",
        "cuStreamWaitEvent",
        "cuSurfObjectDestroy",
        "cuTexObjectDestroy",
        "cuTexRefDestroy",
        "cuTexRefGet",
        "gpBarrier",
        "gpDeviceStatus",
        "gpEventTell",
        "gpGateOpen",
        "gpHostDone",
        "gpHostMap",
        "gpKernelInfo",
        "gpLease",
        "gpLink",
        "gpMemoryLimits",
        "gpPulled",
        "gpPutDrop",
        "gpPutToken",
        "gpUpload",
    };

    for (size_t i = 0; name != NULL && i < GP_ARRAY_LEN(nothing); i++)
        if (strncmp(name, nothing[i], strlen(nothing[i])) == 0)
            return BE_NEED_NOTHING;
    if (be_names(call))
        return BE_NEED_NAMED;
    return name != NULL && strncmp(name, "gpPages", 7) == 0 ? BE_NEED_BY_ADDRESS : BE_NEED_MEMORY;
}

enum be_need
be_need_of(uint16_t call)
{
    static uint8_t needs[WIRE_CALL_COUNT]; /* the executor's: filled as they come */

    if (needs[call] == BE_NEED_UNKNOWN)
        needs[call] = (uint8_t)need_find(call);
    return (enum be_need)needs[call];
}

bool
be_need_pages(const struct be_session *session, uint16_t call, const uint8_t *body, size_t len)
{
    union {
        struct wire_gpPagesDrop_args drop;
        struct wire_gpPagesPush_args push;
        struct wire_gpPagesMerge_args merge;
        struct wire_gpPagesFetch_args fetch;
    } a;

    switch (call) {
    case WIRE_CALL_gpPagesDrop:
        return wire_get_gpPagesDrop_args(body, len, &a.drop) &&
               be_space_inside(session->space, a.drop.address, 1);
    case WIRE_CALL_gpPagesPush:
        return wire_get_gpPagesPush_args(body, len, &a.push) &&
               be_space_inside(session->space, a.push.address, 1);
    case WIRE_CALL_gpPagesMerge:
        return wire_get_gpPagesMerge_args(body, len, &a.merge) &&
               be_space_inside(session->space, a.merge.address, 1);
    case WIRE_CALL_gpPagesFetch:
        return wire_get_gpPagesFetch_args(body, len, &a.fetch) &&
               be_space_inside(session->space, a.fetch.address, 1);
    default:
        return true;
    }
}
