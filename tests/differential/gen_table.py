#!/usr/bin/env python3
"""Writes the table of calls that random programs draw from, out of the descriptions.

usage: gen_table.py GEN_FOLDER OUT.inc.h SPEC.toml...

A line for each exported call: its name and what each argument may be, as random_program.h has it.
Calls that the pool refuses are left out, and so are those below, each for its reason.
"""
import os
import re
import sys

AREAS_OUT = {"interop", "debugger", "coredump", "checkpoint", "logs", "external"}
OUT = {
    "cuInit": "each program begins with it",
    "cuGetExportTable": "tables differ in nothing that a call shows",
    "cuGetProcAddress": "gives addresses", "cuGetProcAddress_v2": "gives addresses",
    "cuMemGetInfo": "free memory is other programs' matter too",
    "cuMemGetInfo_v2": "free memory is other programs' matter too",
    "cuDeviceGetName": "names the server's device", "cuMemAllocHost": "see cuMemAllocHost_v2",
    "cuCtxGetFlags": "mapped memory", "cuMemHostGetFlags": "mapped memory",
    "cuMemHostRegister": "see cuMemHostRegister_v2",
    "cuModuleLoad": "reads files", "cuLibraryLoadFromFile": "reads files", "cuLinkAddFile": "reads files",
    "cuLinkAddFile_v2": "reads files", "cuGraphDebugDotPrint": "writes files",
    "cuStreamWaitValue32": "may wait for ever", "cuStreamWaitValue64": "may wait for ever",
    "cuStreamWaitValue32_v2": "may wait for ever", "cuStreamWaitValue64_v2": "may wait for ever",
    "cuMemDiscardBatchAsync": "contents are undefined then",
    "cuMemDiscardAndPrefetchBatchAsync": "contents are undefined then",
    "cuEventElapsedTime": "times differ", "cuEventElapsedTime_v2": "times differ",
    "cuDeviceGetUuid": "bytes of the device", "cuDeviceGetUuid_v2": "bytes of the device",
    "cuDevicePrimaryCtxReset": "ends all objects under other threads' feet",
    "cuDevicePrimaryCtxReset_v2": "ends all objects under other threads' feet",
    "cuCtxDestroy": "drawn as cuCtxDestroy_v2",
    "cuCtxGetId": "numbers", "cuStreamGetId": "numbers", "cuCtxAttach": "old", "cuCtxDetach": "old",
    "cuModuleGetLoadingMode": "the environment's", "cuCtxSetLimit": "sizes of heaps",
    "cuCtxGetLimit": "sizes of heaps",
}
# Result codes and effects are compared, outputs are not: they are addresses, numbers or times.
RESULT_ONLY = re.compile(r"cuStreamGetCaptureInfo|cuDeviceGetPCIBusId|cuCtxGetStreamPriorityRange|"
                         r"cuGraphMemAllocNodeGetParams|cuPointerGetAttribute|cuFuncGetModule|cuFuncGetName|"
                         r"cuKernelGetName|cuMemPoolGetAttribute|cuTensorMap|GetParams|cuGraphGetEdges|"
                         r"cuStreamGetAttribute|cuMemRangeGet|cuKernelNodeGetAttribute|cuMemcpyBatch")

# Calls whose arguments only a person can tell, in their order.
BY_HAND = {
    "cuLibraryLoadData": "OUT_LIBRARY IMAGE NULL NULL ZERO NULL NULL ZERO",
    "cuModuleLoadDataEx": "OUT_MODULE IMAGE ZERO NULL NULL",
    "cuModuleLoadData": "OUT_MODULE IMAGE", "cuModuleLoadFatBinary": "OUT_MODULE IMAGE",
    "cuLinkCreate_v2": "ZERO NULL NULL OUT_LINK",
    "cuLinkAddData_v2": "IN_LINK ENUM IMAGE IMAGE_BYTES NAME ZERO NULL NULL",
    "cuLinkComplete": "IN_LINK OUT_BYTES OUT_BYTES", "cuLinkDestroy": "IN_LINK",
    "cuTexObjectCreate": "OUT_TEXTURE RESOURCE_DESC TEXTURE_DESC NULL", "cuTexObjectDestroy": "IN_TEXTURE",
    "cuTexObjectGetResourceDesc": "OUT_BYTES IN_TEXTURE", "cuTexObjectGetTextureDesc": "OUT_BYTES IN_TEXTURE",
    "cuTexObjectGetResourceViewDesc": "OUT_BYTES IN_TEXTURE",
    "cuSurfObjectCreate": "OUT_SURFACE RESOURCE_DESC", "cuSurfObjectDestroy": "IN_SURFACE",
    "cuSurfObjectGetResourceDesc": "OUT_BYTES IN_SURFACE",
    "cuTexRefCreate": "OUT_TEXREF", "cuTexRefDestroy": "IN_TEXREF",
    "cuTexRefSetArray": "IN_TEXREF IN_ARRAY FLAGS", "cuTexRefSetMipmappedArray": "IN_TEXREF IN_MIPMAP FLAGS",
    "cuTexRefSetFormat": "IN_TEXREF ENUM SMALL", "cuTexRefSetFlags": "IN_TEXREF FLAGS",
    "cuTexRefSetAddressMode": "IN_TEXREF SMALL ENUM", "cuTexRefSetFilterMode": "IN_TEXREF ENUM",
    "cuTexRefSetMaxAnisotropy": "IN_TEXREF SMALL", "cuTexRefSetMipmapFilterMode": "IN_TEXREF ENUM",
    "cuTexRefSetAddress_v2": "OUT_64 IN_TEXREF ADDRESS BYTES",
    "cuTexRefGetFlags": "OUT_32 IN_TEXREF", "cuTexRefGetFilterMode": "OUT_32 IN_TEXREF",
    "cuTexRefGetAddressMode": "OUT_32 IN_TEXREF SMALL", "cuTexRefGetFormat": "OUT_32 OUT_32 IN_TEXREF",
    "cuTexRefGetMaxAnisotropy": "OUT_32 IN_TEXREF", "cuTexRefGetArray": "OUT_BYTES IN_TEXREF",
    "cuTexRefGetMipmapFilterMode": "OUT_32 IN_TEXREF", "cuTexRefGetMipmappedArray": "OUT_BYTES IN_TEXREF",
    "cuStreamBeginCaptureToGraph": "IN_STREAM IN_GRAPH NODES NULL BYTES ENUM",
    "cuStreamGetCaptureInfo_v2": "IN_STREAM OUT_32 OUT_64 OUT_BYTES OUT_BYTES OUT_64",
    "cuStreamGetCaptureInfo_v3": "IN_STREAM OUT_32 OUT_64 OUT_BYTES OUT_BYTES OUT_BYTES OUT_64",
    "cuGraphAddDependencies_v2": "IN_GRAPH NODES NODES NULL BYTES",
    "cuGraphRemoveDependencies_v2": "IN_GRAPH NODES NODES NULL BYTES",
    "cuGraphInstantiate": "OUT_EXEC IN_GRAPH NULL NULL ZERO",
    "cuGraphInstantiate_v2": "OUT_EXEC IN_GRAPH NULL NULL ZERO",
    "cuPointerGetAttribute": "OUT_BYTES ENUM ADDRESS", "cuMemPoolGetAttribute": "IN_POOL ENUM OUT_BYTES",
    "cuMemRangeGetAttribute": "OUT_32 FOUR ENUM ADDRESS BYTES",
    "cuMemRetainAllocationHandle": "OUT_PHYS ADDRESS",
    "cuKernelGetFunction": "OUT_BYTES IN_KERNEL",  # one for all contexts through a pool
    "cuFuncGetName": "OUT_BYTES IN_FUNCTION", "cuKernelGetName": "OUT_BYTES IN_KERNEL",
    "cuGetErrorName": "ENUM OUT_BYTES", "cuGetErrorString": "ENUM OUT_BYTES",
    "cuDeviceGetGraphMemAttribute": "DEVICE ENUM OUT_BYTES",
    "cuDeviceGetDevResource": "DEVICE OUT_RESOURCE RESOURCE_TYPE",
    "cuCtxGetDevResource": "IN_CTX OUT_RESOURCE RESOURCE_TYPE",
    "cuGreenCtxGetDevResource": "IN_GREEN OUT_RESOURCE RESOURCE_TYPE",
    "cuDevSmResourceSplitByCount": "OUT_RESOURCES GROUPS RESOURCES OUT_RESOURCE FLAGS SMALL",
    "cuDevResourceGenerateDesc": "OUT_DESC RESOURCES SMALL",
    "cuGreenCtxCreate": "OUT_GREEN IN_DESC DEVICE FLAGS", "cuGreenCtxGetId": "IN_GREEN OUT_BYTES",
    "cuGraphAddNode_v2": "OUT_NODE IN_GRAPH NODES NULL BYTES ANY_NODE",
    "cuGraphNodeSetParams": "IN_NODE ANY_NODE", "cuGraphExecNodeSetParams": "IN_EXEC IN_NODE ANY_NODE",
    "cuGraphAddBatchMemOpNode": "OUT_NODE IN_GRAPH NODES BYTES MEM_OPS",
    "cuGraphBatchMemOpNodeSetParams": "IN_NODE MEM_OPS",
    "cuGraphExecBatchMemOpNodeSetParams": "IN_EXEC IN_NODE MEM_OPS",
    "cuGraphConditionalHandleCreate": "OUT_COND IN_GRAPH IN_CTX SMALL FLAGS",
    "cuGraphKernelNodeSetAttribute": "IN_NODE ENUM ATTRIBUTE",
    "cuStreamSetAttribute": "IN_STREAM ENUM ATTRIBUTE",
    "cuStreamBatchMemOp": "IN_STREAM OPS_COUNT OPS FLAGS", "cuStreamBatchMemOp_v2": "IN_STREAM OPS_COUNT OPS FLAGS",
    "cuStreamUpdateCaptureDependencies_v2": "IN_STREAM NODES NULL BYTES FLAGS",
    "cuMemcpy3DPeer": "COPY_PEER", "cuMemcpy3DPeerAsync": "COPY_PEER IN_STREAM",
    "cuMemcpyBatchAsync": "BATCH ZERO ZERO ZERO ZERO ZERO ZERO ZERO IN_STREAM",
    "cuMemcpyBatchAsync_v2": "BATCH ZERO ZERO ZERO ZERO ZERO ZERO IN_STREAM",
    "cuMemcpy3DBatchAsync": "BATCH ZERO OUT_BYTES FLAGS IN_STREAM",
    "cuMemcpy3DBatchAsync_v2": "BATCH ZERO FLAGS IN_STREAM",
    "cuMemPrefetchBatchAsync": "BATCH ZERO ZERO ZERO ZERO ZERO FLAGS IN_STREAM",
    "cuPointerGetAttributes": "ASKED_COUNT ASKED ANSWERS ADDRESS",
    "cuMemPoolSetAttribute": "IN_POOL ENUM POOL_VALUE",
    "cuMemPoolExportToShareableHandle": "OUT_FD IN_POOL ONE ZERO",
    "cuMemPoolImportFromShareableHandle": "OUT_POOL IN_FD ONE ZERO",
    "cuMemPoolExportPointer": "OUT_EXPORT ADDRESS", "cuMemPoolImportPointer": "OUT_ADDRESS IN_POOL IN_EXPORT",
    "cuMemExportToShareableHandle": "OUT_FD IN_PHYS ONE ZERO", "cuMemImportFromShareableHandle": "OUT_PHYS IN_FD ONE",
    "cuIpcGetMemHandle": "OUT_IPC_MEMORY ADDRESS", "cuIpcGetEventHandle": "OUT_IPC_EVENT IN_EVENT",
    "cuIpcOpenMemHandle_v2": "OUT_ADDRESS IN_IPC_MEMORY FLAGS", "cuIpcOpenEventHandle": "OUT_EVENT IN_IPC_EVENT",
    "cuParamSetf": "IN_FUNCTION SMALL FLOAT", "cuParamSetTexRef": "IN_FUNCTION SMALL IN_TEXREF",
    "cuTexRefSetMipmapLevelBias": "IN_TEXREF FLOAT", "cuTexRefSetMipmapLevelClamp": "IN_TEXREF FLOAT FLOAT",
    "cuTexRefSetBorderColor": "IN_TEXREF OUT_BYTES", "cuTexRefGetBorderColor": "OUT_32 IN_TEXREF",
    "cuTexRefGetMipmapLevelBias": "OUT_32 IN_TEXREF", "cuTexRefGetMipmapLevelClamp": "OUT_32 OUT_32 IN_TEXREF",
    "cuTexRefGetAddress_v2": "OUT_BYTES IN_TEXREF",
    "cuTexRefSetAddress2D_v2": "IN_TEXREF ARRAY_DESC ADDRESS BYTES",
    "cuTexRefSetAddress2D_v3": "IN_TEXREF ARRAY_DESC ADDRESS BYTES",
    "cuDeviceSetGraphMemAttribute": "DEVICE ENUM OUT_BYTES",
    "cuDeviceGetHostAtomicCapabilities": "OUT_32 OUT_BYTES FOUR DEVICE",
    "cuDeviceGetP2PAtomicCapabilities": "OUT_32 OUT_BYTES FOUR DEVICE DEVICE",
    "cuDeviceGetLuid": "OUT_BYTES OUT_32 DEVICE", "cuLibraryGetUnifiedFunction": "OUT_BYTES IN_LIBRARY NAME",
}

HANDLES = {"CUcontext": "CTX", "CUstream": "STREAM", "CUevent": "EVENT", "CUmodule": "MODULE",
           "CUfunction": "FUNCTION", "CUkernel": "KERNEL", "CUlibrary": "LIBRARY", "CUgraph": "GRAPH",
           "CUgraphNode": "NODE", "CUgraphExec": "EXEC", "CUarray": "ARRAY", "CUmipmappedArray": "MIPMAP",
           "CUmemoryPool": "POOL", "CUmemGenericAllocationHandle": "PHYS", "CUuserObject": "USER",
           "CUgreenCtx": "GREEN", "CUdevResourceDesc": "DESC"}
# Structures that random_program.c can fill.
FILLED = {"CUDA_MEMCPY2D": "COPY2D", "CUDA_MEMCPY3D": "COPY3D", "CUDA_MEMSET_NODE_PARAMS": "NODE_MEMSET",
          "CUDA_KERNEL_NODE_PARAMS": "NODE_KERNEL", "CUDA_HOST_NODE_PARAMS": "NODE_HOST",
          "CUDA_ARRAY_DESCRIPTOR": "ARRAY_DESC", "CUDA_ARRAY3D_DESCRIPTOR": "ARRAY3D_DESC",
          "CUmemAllocationProp": "ALLOC_PROP", "CUmemAccessDesc": "ACCESS_DESC",
          "CUmemPoolProps": "POOL_PROPS", "CUlaunchConfig": "LAUNCH_CONFIG", "CUmemLocation": "LOCATION",
          "CUmulticastObjectProp": "MULTICAST"}
DESTROYERS = re.compile(r"Destroy|Unload|MemFree|MemRelease|PrimaryCtxRelease|AddressFree|UserObjectRelease")


def out_kind(base, call):
    """What an output pointer brings: a handle, a device address, or plain bytes."""
    if base in HANDLES:
        return "OUT_" + HANDLES[base]
    if base == "CUdeviceptr":
        return "OUT_ADDRESS"
    if base in ("int", "unsigned int", "CUdevice", "float", "cuuint32_t") or base.startswith("CU") and \
            base.endswith(("status", "CaptureStatus", "config", "cache", "mode", "flags", "State", "Type")):
        return "OUT_32"
    if base in ("size_t", "unsigned long long", "cuuint64_t"):
        return "OUT_64"
    return "OUT_BYTES"


def number_kind(name):
    low = name.lower()
    if "flags" in low:
        return "FLAGS"
    if low.startswith(("griddim", "blockdim", "x", "y", "z")) or low in ("gridwidth", "gridheight"):
        return "DIM"
    if "shared" in low:
        return "SHARED"
    if low in ("uc", "us", "ui", "value"):
        return "VALUE"
    return "SMALL"


def kind_of(param, call):
    """The argument's kind, or None if no random program can make one."""
    ctype, name = param.ctype, param.name
    const, pointer = ctype.startswith("const "), ctype.endswith("*")
    base = ctype.replace("const ", "").rstrip("* ").strip()
    if param.suffix or ctype.count("*") > 1 and base != "void":
        return None
    if not pointer:
        if base in HANDLES:
            return "IN_" + HANDLES[base]
        if base in ("float", "double", "CUipcMemHandle", "CUipcEventHandle", "CUdevResourceDesc"):
            return None
        return {"CUdevice": "DEVICE", "CUdeviceptr": "ADDRESS", "CUdeviceptr_v1": "VALUE", "CUhostFn": "HOST_FN",
                "CUstreamCallback": "STREAM_FN", "CUoccupancyB2DSize": "NULL", "CUmemLocation": "LOCATION_VALUE",
                "size_t": "BYTES", "cuuint64_t": "VALUE", "cuuint32_t": "VALUE", "unsigned long long": "FLAGS",
                "unsigned char": "VALUE", "unsigned short": "VALUE"}.get(base) or (
                    number_kind(name) if base in ("int", "unsigned int") else "ENUM" if base.startswith("CU") and
                    not base.endswith(("Handle", "desc", "ref", "Object", "State", "Ctx", "Iterator")) else None)
    if ctype.count("*") == 2:
        return {"kernelParams": "KERNEL_PARAMS", "extra": "NULL", "pp": "OUT_HOST"}.get(name)
    if base == "void":
        if const or name in ("srcHost", "dstHost", "p", "hostPtr"):
            return "HOST"
        return "USER_DATA" if name in ("userData", "ptr") else "HOST" if call.area in ("memcpy", "host_memory") else None
    if base == "char":
        return "NAME" if const else None
    if base in FILLED and (const or name in ("config", "location", "prop")):
        return FILLED[base]
    if const:
        return {"CUgraphNode": "NODES"}.get(base)
    if base in ("CUjit_option", "CUlibraryOption"):
        return "NULL"
    return out_kind(base, call)


def main():
    sys.path.insert(0, sys.argv[1])
    import spec  # the generator's own reader
    calls = spec.Loader().load(sys.argv[3:]).exported()
    lines, left = [], []
    for call in sorted(calls, key=lambda c: (c.area, c.name)):
        if call.kind != "call" or call.ret != "CUresult" or call.mode == "refused" or call.area in AREAS_OUT \
                or call.name in OUT:
            continue
        kinds = BY_HAND[call.name].split() if call.name in BY_HAND else [kind_of(p, call) for p in call.params]
        if None in kinds or len(kinds) > 12:
            left.append(call.name)
            continue
        flags = []
        if DESTROYERS.search(call.name):
            flags.append("CALL_DESTROYS")
        if RESULT_ONLY.search(call.name):
            flags.append("CALL_RESULT_ONLY")
        for name in (call.name, call.twin_name) if call.twin else (call.name,):
            lines.append('    {"%s", "%s", %s, %d, {%s}},' % (name, call.area, " | ".join(flags) or "0", len(kinds),
                                                       ", ".join("ARG_" + k for k in kinds) or "0"))
    with open(sys.argv[2], "w", encoding="utf-8") as file:
        file.write("/* %s -- generated from protocol/spec, do not edit */\n" % os.path.basename(sys.argv[2]))
        file.write("\n".join(lines) + "\n")
        file.write("/* Not drawn, for an argument that is not made up:\n *   %s\n */\n" % "\n *   ".join(left))


if __name__ == "__main__":
    main()
