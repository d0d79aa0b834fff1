/* tests/differential/makers.c -- calls that programs begin with, and that make what others need */
#include "objects.h"
#include "stand_ins.h"

#include <stddef.h>

/* What is made first, so that there is something to draw. */
const char *
first_name(unsigned long number, unsigned special)
{
    static const char *const begin[FIRST_CALLS] = {"cuDevicePrimaryCtxRetain",
                                                   "cuCtxSetCurrent",
                                                   "cuCtxCreate_v2",
                                                   "cuModuleLoadData",
                                                   "cuModuleGetFunction",
                                                   "cuMemAlloc_v2",
                                                   "cuMemAlloc_v2",
                                                   "cuStreamCreate",
                                                   "cuEventCreate",
                                                   "cuMemHostAlloc",
                                                   "cuStreamCreateWithPriority",
                                                   "cuMemAllocPitch_v2",
                                                   "cuModuleGetFunction",
                                                   "cuModuleGetGlobal_v2"};

    static const char *const green[] = {"cuDeviceGetDevResource",    "cuDevSmResourceSplitByCount",
                                        "cuDevResourceGenerateDesc", "cuGreenCtxCreate",
                                        "cuGreenCtxStreamCreate",    "cuCtxFromGreenCtx"};
    static const char *const mapped[] = {
        "cuMemAddressReserve", "cuMemCreate",       "cuMemMap",
        "cuMemSetAccess",      "cuMulticastCreate", "cuMulticastBindMem"};
    unsigned long more = number - FIRST_CALLS;

    if (number < FIRST_CALLS)
        return begin[number];
    if (special == 1 && more < sizeof(green) / sizeof(green[0]))
        return green[more];
    return special == 2 && more < sizeof(mapped) / sizeof(mapped[0]) ? mapped[more] : NULL;
}

const char *
maker_name(void)
{
    static const char *const names[] = {
        "cuLibraryLoadData",
        "cuLibraryGetKernel",
        "cuKernelGetFunction",
        "cuGraphCreate",
        "cuGraphAddKernelNode_v2",
        "cuGraphAddMemsetNode",
        "cuGraphAddHostNode",
        "cuGraphAddMemcpyNode",
        "cuGraphInstantiateWithFlags",
        "cuGraphLaunch",
        "cuGraphClone",
        "cuArrayCreate_v2",
        "cuArray3DCreate_v2",
        "cuMipmappedArrayCreate",
        "cuMemPoolCreate",
        "cuMemAllocFromPoolAsync",
        "cuMemAllocManaged",
        "cuMemAddressReserve",
        "cuMemCreate",
        "cuMemMap",
        "cuMemSetAccess",
        "cuTexObjectCreate",
        "cuSurfObjectCreate",
        "cuStreamBeginCapture_v2",
        "cuLaunchKernel",
        "cuMemAllocAsync",
        "cuEventRecord",
        "cuStreamWaitEvent",
        "cuLaunchHostFunc",
        "cuMemcpyHtoA_v2",
        "cuMemHostGetDevicePointer_v2",
        "cuLinkCreate_v2",
        "cuUserObjectCreate",
        "cuDeviceGetDevResource",
        "cuDevSmResourceSplitByCount",
        "cuDevResourceGenerateDesc",
        "cuGreenCtxCreate",
        "cuCtxFromGreenCtx",
        "cuGreenCtxStreamCreate",
        "cuMulticastCreate",
        "cuMulticastBindMem",
        "cuGraphAddNode_v2",
        "cuGraphAddNode_v2",
        "cuGraphConditionalHandleCreate",
        "cuMemcpy3D_v2",
        "cuMemcpyBatchAsync_v2",
        "cuStreamBatchMemOp_v2",
        "cuIpcGetMemHandle",
        "cuMemExportToShareableHandle",
        "cuMemPoolExportToShareableHandle",
        "cuMemPoolExportPointer",
    };

    return names[random_below(sizeof(names) / sizeof(names[0]))];
}
