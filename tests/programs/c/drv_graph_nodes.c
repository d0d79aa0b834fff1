/* tests/programs/c/drv_graph_nodes.c -- graphs made node by node: every kind, their parameters,
 * edges, copies of graphs, changes of executable ones, memory and user objects */
#include "drv.h"
#include "vector_ptx.h"

#include <unistd.h>

#define N 512u

static CUfunction mul_add, burn;
static CUcontext ctx;
static CUstream stream;

static uint32_t
count_wrong(const uint32_t *words, uint32_t want)
{
    uint32_t wrong = 0;

    for (uint32_t i = 0; i < N; i++)
        wrong += words[i] != want;
    return wrong;
}

static CUDA_KERNEL_NODE_PARAMS
kernel_params(void **params)
{
    CUDA_KERNEL_NODE_PARAMS p = {.func = mul_add,
                                 .gridDimX = (N + 127) / 128,
                                 .gridDimY = 1,
                                 .gridDimZ = 1,
                                 .blockDimX = 128,
                                 .blockDimY = 1,
                                 .blockDimZ = 1,
                                 .kernelParams = params};

    return p;
}

static CUgraphNode
add_kernel(CUgraph graph, const CUgraphNode *deps, size_t count, CUdeviceptr a, uint32_t factor,
           uint32_t addend)
{
    uint32_t n = N;
    void *params[] = {&a, &factor, &addend, &n};
    CUDA_KERNEL_NODE_PARAMS p = kernel_params(params);
    CUgraphNode node;

    CU(cuGraphAddKernelNode_v2(&node, graph, deps, count, &p));
    return node;
}

static CUgraphNode
add_fill(CUgraph graph, const CUgraphNode *deps, size_t count, CUdeviceptr a, uint32_t value)
{
    CUDA_MEMSET_NODE_PARAMS p = {a, 0, value, 4, N, 1};
    CUgraphNode node;

    CU(cuGraphAddMemsetNode(&node, graph, deps, count, &p, ctx));
    return node;
}

static CUDA_MEMCPY3D
out_params(void *to, CUdeviceptr from)
{
    CUDA_MEMCPY3D p = {.srcMemoryType = CU_MEMORYTYPE_DEVICE,
                       .srcDevice = from,
                       .srcPitch = N * 4,
                       .srcHeight = 1,
                       .dstMemoryType = CU_MEMORYTYPE_HOST,
                       .dstHost = to,
                       .dstPitch = N * 4,
                       .dstHeight = 1,
                       .WidthInBytes = N * 4,
                       .Height = 1,
                       .Depth = 1};

    return p;
}

static CUgraphNode
add_out(CUgraph graph, const CUgraphNode *deps, size_t count, void *to, CUdeviceptr from)
{
    CUDA_MEMCPY3D p = out_params(to, from);
    CUgraphNode node;

    CU(cuGraphAddMemcpyNode(&node, graph, deps, count, &p, ctx));
    return node;
}

static void
run(CUgraphExec exec)
{
    CU(cuGraphLaunch(exec, stream));
    CU(cuStreamSynchronize(stream));
}

static void
structure(void)
{
    CUgraphNode a, b, c, d, nodes[8], from[8], to[8];
    CUgraphNodeType type;
    CUgraph graph, clone;
    CUgraphExec exec;
    size_t count = 8;

    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuGraphCreate(NULL, 0));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuGraphCreate(&graph, 1));
    CU(cuGraphCreate(&graph, 0));
    CU(cuGraphAddEmptyNode(&a, graph, NULL, 0));
    CU(cuGraphAddEmptyNode(&b, graph, &a, 1));
    CU(cuGraphAddEmptyNode(&c, graph, &a, 1));
    CUgraphNode both[] = {b, c};
    CU(cuGraphAddEmptyNode(&d, graph, both, 2));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuGraphAddEmptyNode(&nodes[0], graph, NULL, 1));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuGraphAddEmptyNode(&nodes[0], (CUgraph)a, NULL, 0));
    CU(cuGraphGetNodes(graph, nodes, &count));
    EXPECT(count == 4 && nodes[0] == a && nodes[3] == d && nodes[4] == NULL);
    count = 8;
    CU(cuGraphGetRootNodes(graph, nodes, &count));
    EXPECT(count == 1 && nodes[0] == a);
    count = 8;
    CU(cuGraphGetEdges_v2(graph, from, to, NULL, &count));
    EXPECT(count == 4);
    CU(cuGraphNodeGetDependencies_v2(d, NULL, NULL, &count));
    EXPECT(count == 2);
    count = 8;
    CU(cuGraphNodeGetDependentNodes_v2(a, nodes, NULL, &count));
    EXPECT(count == 2 && nodes[0] == b && nodes[1] == c);
    CU(cuGraphNodeGetType(a, &type));
    EXPECT(type == CU_GRAPH_NODE_TYPE_EMPTY);
    CU(cuGraphRemoveDependencies_v2(graph, &b, &d, NULL, 1));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuGraphRemoveDependencies_v2(graph, &b, &d, NULL, 1));
    CU(cuGraphAddDependencies_v2(graph, &b, &d, NULL, 1));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuGraphAddDependencies_v2(graph, &b, &d, NULL, 1));
    CU(cuGraphClone(&clone, graph));
    CU(cuGraphNodeFindInClone(&nodes[0], c, clone));
    EXPECT(nodes[0] != c);
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuGraphNodeFindInClone(&nodes[1], nodes[0], clone));
    CU(cuGraphDestroyNode(c));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuGraphNodeGetType(c, &type));
    CU(cuGraphGetEdges_v2(graph, NULL, NULL, NULL, &count));
    EXPECT(count == 2);
    CU(cuGraphGetEdges_v2(clone, NULL, NULL, NULL, &count));
    EXPECT(count == 4);
    /* A cycle is found when it is instantiated. */
    CU(cuGraphAddDependencies_v2(graph, &d, &a, NULL, 1));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuGraphInstantiateWithFlags(&exec, graph, 0));
    CU(cuGraphInstantiateWithFlags(&exec, clone, 0));
    run(exec);
    CU(cuGraphExecDestroy(exec));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuGraphExecDestroy(exec));
    CU(cuGraphDestroy(clone));
    CU(cuGraphDestroy(graph));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuGraphDestroy(graph));
    printf("structure: done\n");
}

/* Edges that were added against the order of creation. */
static void
order(void)
{
    static uint32_t x[N];
    CUgraphNode fill, first, second, out;
    CUgraphExec exec;
    CUdeviceptr a;
    CUgraph graph;

    CU(cuMemAlloc(&a, sizeof(x)));
    CU(cuGraphCreate(&graph, 0));
    out = add_out(graph, NULL, 0, x, a);
    second = add_kernel(graph, NULL, 0, a, 10, 0);
    first = add_kernel(graph, NULL, 0, a, 1, 5);
    fill = add_fill(graph, NULL, 0, a, 2);
    CUgraphNode from[] = {fill, first, second}, to[] = {first, second, out};
    CU(cuGraphAddDependencies_v2(graph, from, to, NULL, 3));
    CU(cuGraphInstantiateWithFlags(&exec, graph, 0));
    run(exec);
    EXPECT(count_wrong(x, 70) == 0);
    printf("order: %u\n", x[0]);
    CU(cuGraphExecDestroy(exec));
    CU(cuGraphDestroy(graph));
    CU(cuMemFree(a));
}

static void
parameters(void)
{
    static uint32_t x[N], y[N];
    CUDA_KERNEL_NODE_PARAMS p;
    CUDA_MEMSET_NODE_PARAMS f;
    CUDA_MEMCPY3D c;
    CUgraphNode fill, kernel, out;
    CUgraphExec exec;
    CUdeviceptr a, b;
    CUgraph graph;
    uint32_t factor = 7, addend = 1, n = N;
    unsigned enabled = 0;

    CU(cuMemAlloc(&a, sizeof(x)));
    CU(cuMemAlloc(&b, sizeof(x)));
    CU(cuMemsetD32(b, 100, N));
    CU(cuGraphCreate(&graph, 0));
    fill = add_fill(graph, NULL, 0, a, 3);
    kernel = add_kernel(graph, &fill, 1, a, 2, 2);
    out = add_out(graph, &kernel, 1, x, a);
    CU(cuGraphKernelNodeGetParams_v2(kernel, &p));
    EXPECT(p.func == mul_add && p.gridDimX == 4 && p.blockDimX == 128 && p.ctx == ctx);
    EXPECT(*(CUdeviceptr *)p.kernelParams[0] == a && *(uint32_t *)p.kernelParams[1] == 2);
    CU(cuGraphMemsetNodeGetParams(fill, &f));
    EXPECT(f.dst == a && f.value == 3 && f.width == N && f.elementSize == 4);
    CU(cuGraphMemcpyNodeGetParams(out, &c));
    EXPECT(c.dstHost == x && c.srcDevice == a && c.WidthInBytes == sizeof(x));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuGraphMemcpyNodeGetParams(kernel, &c));

    void *params[] = {&a, &factor, &addend, &n};
    p = kernel_params(params);
    CU(cuGraphKernelNodeSetParams_v2(kernel, &p));
    f.value = 4;
    CU(cuGraphMemsetNodeSetParams(fill, &f));
    CU(cuGraphInstantiateWithFlags(&exec, graph, 0));
    run(exec);
    EXPECT(count_wrong(x, 29) == 0);
    printf("parameters: %u", x[0]);

    /* Changes of the graph do not reach what was made of it; changes of that do not reach launches
     * that are under way. */
    f.value = 1000;
    CU(cuGraphMemsetNodeSetParams(fill, &f));
    run(exec);
    EXPECT(count_wrong(x, 29) == 0);
    for (uint32_t i = 0; i < 20; i++) {
        addend = i;
        CU(cuGraphExecKernelNodeSetParams_v2(exec, kernel, &p));
        CU(cuGraphLaunch(exec, stream));
    }
    f.value = 5;
    CU(cuGraphExecMemsetNodeSetParams(exec, fill, &f, ctx));
    c = out_params(y, a);
    CU(cuGraphExecMemcpyNodeSetParams(exec, out, &c, ctx));
    CU(cuStreamSynchronize(stream));
    EXPECT(count_wrong(x, 47) == 0); /* 4 * 7 + 19 */
    run(exec);
    EXPECT(count_wrong(y, 54) == 0 && count_wrong(x, 47) == 0);
    printf(" %u %u", x[0], y[0]);
    c = out_params(y, b);
    CU(cuGraphExecMemcpyNodeSetParams(exec, out, &c, ctx));
    run(exec);
    EXPECT(count_wrong(y, 100) == 0);
    c.srcMemoryType = CU_MEMORYTYPE_HOST;
    c.srcHost = x;
    c.dstMemoryType = CU_MEMORYTYPE_DEVICE;
    c.dstDevice = b;

    CU(cuGraphNodeGetEnabled(exec, kernel, &enabled));
    EXPECT(enabled == 1);
    CU(cuGraphNodeSetEnabled(exec, kernel, 0));
    CU(cuGraphNodeSetEnabled(exec, out, 0));
    CU(cuGraphNodeGetEnabled(exec, kernel, &enabled));
    EXPECT(enabled == 0);
    memset(y, 0, sizeof(y));
    run(exec);
    EXPECT(count_wrong(y, 0) == 0);
    CU(cuMemcpyDtoH(x, a, sizeof(x)));
    EXPECT(count_wrong(x, 5) == 0);
    CU(cuGraphNodeSetEnabled(exec, kernel, 1));
    CU(cuGraphNodeSetEnabled(exec, out, 1));
    run(exec);
    EXPECT(count_wrong(y, 100) == 0);
    CU(cuMemcpyDtoH(x, a, sizeof(x)));
    EXPECT(count_wrong(x, 54) == 0);
    printf(" %u\n", x[0]);
    CU(cuGraphExecDestroy(exec));
    CU(cuGraphDestroy(graph));
    CU(cuMemFree(a));
    CU(cuMemFree(b));
}

static void
attributes(void)
{
    CUkernelNodeAttrValue value = {0}, back = {0};
    CUgraphNode k, other;
    CUdeviceptr a;
    CUgraph graph;

    CU(cuMemAlloc(&a, N * 4));
    CU(cuGraphCreate(&graph, 0));
    k = add_kernel(graph, NULL, 0, a, 1, 1);
    other = add_kernel(graph, NULL, 0, a, 1, 1);
    value.priority = -1;
    CU(cuGraphKernelNodeSetAttribute(k, CU_LAUNCH_ATTRIBUTE_PRIORITY, &value));
    CU(cuGraphKernelNodeCopyAttributes(other, k));
    CU(cuGraphKernelNodeGetAttribute(other, CU_LAUNCH_ATTRIBUTE_PRIORITY, &back));
    EXPECT(back.priority == -1);
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE,
              cuGraphKernelNodeGetAttribute(other, CU_LAUNCH_ATTRIBUTE_PRIORITY, NULL));
    CU(cuGraphDestroy(graph));
    CU(cuMemFree(a));
    printf("attributes: done\n");
}

static int freed;

static void
on_free(void *data)
{
    __atomic_fetch_add(&freed, *(int *)data, __ATOMIC_SEQ_CST);
}

static void
on_host(void *data)
{
    __atomic_fetch_add((int *)data, 1, __ATOMIC_SEQ_CST);
}

static void
inside(void)
{
    static uint32_t x[N], y[N];
    static int calls;
    CUDA_HOST_NODE_PARAMS host = {on_host, &calls};
    CUgraphNode fill, child_node, nodes[4], node;
    CUgraph child, graph, held;
    CUgraphExec exec;
    CUdeviceptr a;
    size_t count = 4;

    CU(cuMemAlloc(&a, sizeof(x)));
    CU(cuGraphCreate(&child, 0));
    nodes[0] = add_kernel(child, NULL, 0, a, 3, 0);
    CU(cuGraphAddHostNode(&nodes[1], child, nodes, 1, &host));
    (void)add_out(child, &nodes[1], 1, x, a);
    CU(cuGraphCreate(&graph, 0));
    fill = add_fill(graph, NULL, 0, a, 11);
    CU(cuGraphAddChildGraphNode(&child_node, graph, &fill, 1, child));
    (void)add_kernel(child, NULL, 0, a, 0, 0); /* not in the copy */
    CU(cuGraphDestroy(child));
    CU(cuGraphChildGraphNodeGetGraph(child_node, &held));
    CU(cuGraphGetNodes(held, nodes, &count));
    EXPECT(count == 3);
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuGraphDestroy(held));
    node = add_kernel(graph, &child_node, 1, a, 1, 1);
    (void)add_out(graph, &node, 1, y, a);
    CU(cuGraphInstantiateWithFlags(&exec, graph, 0));
    run(exec);
    EXPECT(count_wrong(x, 33) == 0 && count_wrong(y, 34) == 0 && calls == 1);
    printf("inside: %u %u %d\n", x[0], y[0], calls);

    /* Another child of the same shape. */
    CU(cuGraphClone(&child, held));
    count = 4;
    CU(cuGraphGetNodes(child, nodes, &count));
    CUDA_MEMCPY3D c = out_params(y, a);
    CU(cuGraphMemcpyNodeSetParams(nodes[2], &c));
    CU(cuGraphExecChildGraphNodeSetParams(exec, child_node, child));
    memset(x, 0, sizeof(x));
    run(exec);
    EXPECT(count_wrong(x, 0) == 0 && count_wrong(y, 34) == 0 && calls == 2);
    CU(cuGraphExecDestroy(exec));
    CU(cuGraphDestroy(child));
    CU(cuGraphDestroy(graph));
    CU(cuMemFree(a));
}

static void
events(void)
{
    static uint32_t x[N];
    CUgraphNode k, record, wait, out;
    CUevent event, later, got;
    CUgraph graph, second;
    CUgraphExec exec, exec2;
    uint32_t n = N, rounds = 30000;
    CUdeviceptr a;
    CUstream other;

    CU(cuMemAlloc(&a, sizeof(x)));
    CU(cuEventCreate(&event, CU_EVENT_DISABLE_TIMING));
    CU(cuEventCreate(&later, CU_EVENT_DISABLE_TIMING));
    CU(cuStreamCreate(&other, CU_STREAM_NON_BLOCKING));
    CU(cuGraphCreate(&graph, 0));
    void *params[] = {&a, &rounds, &n};
    CUDA_KERNEL_NODE_PARAMS p = kernel_params(params);
    p.func = burn;
    CU(cuGraphAddKernelNode_v2(&k, graph, NULL, 0, &p));
    CUgraphNode fill = add_fill(graph, &k, 1, a, 21);
    CU(cuGraphAddEventRecordNode(&record, graph, &fill, 1, event));
    CU(cuGraphEventRecordNodeGetEvent(record, &got));
    EXPECT(got == event);
    CU(cuGraphCreate(&second, 0));
    CU(cuGraphAddEventWaitNode(&wait, second, NULL, 0, event));
    out = add_out(second, &wait, 1, x, a);
    (void)out;
    CU(cuGraphInstantiateWithFlags(&exec, graph, 0));
    CU(cuGraphInstantiateWithFlags(&exec2, second, 0));
    for (int i = 0; i < 3; i++) {
        memset(x, 0, sizeof(x));
        CU(cuGraphLaunch(exec, stream));
        CU(cuGraphLaunch(exec2, other));
        CU(cuStreamSynchronize(other));
        EXPECT(count_wrong(x, 21) == 0);
        CU(cuEventSynchronize(event));
        CU(cuEventQuery(event));
    }
    CU(cuGraphExecEventRecordNodeSetEvent(exec, record, later));
    CU(cuGraphExecEventWaitNodeSetEvent(exec2, wait, later));
    CU(cuGraphLaunch(exec, stream));
    CU(cuGraphLaunch(exec2, other));
    CU(cuEventSynchronize(later));
    CU(cuStreamSynchronize(other));
    printf("events: %u\n", x[0]);
    CU(cuGraphExecDestroy(exec));
    CU(cuGraphExecDestroy(exec2));
    CU(cuGraphDestroy(graph));
    CU(cuGraphDestroy(second));
    CU(cuEventDestroy(event));
    CU(cuEventDestroy(later));
    CU(cuStreamDestroy(other));
    CU(cuMemFree(a));
}

static void
updates(void)
{
    static uint32_t x[N], y[N];
    static int calls, others;
    CUDA_HOST_NODE_PARAMS host = {on_host, &calls};
    CUgraphExecUpdateResultInfo info;
    CUgraphNode fill, node;
    CUgraph graph, same, longer, changed;
    CUgraphExec exec;
    CUdeviceptr a;

    CU(cuMemAlloc(&a, sizeof(x)));
    CU(cuGraphCreate(&graph, 0));
    fill = add_fill(graph, NULL, 0, a, 1);
    node = add_kernel(graph, &fill, 1, a, 2, 0);
    CU(cuGraphAddHostNode(&node, graph, &node, 1, &host));
    (void)add_out(graph, &node, 1, x, a);
    CU(cuGraphInstantiateWithFlags(&exec, graph, 0));
    run(exec);
    EXPECT(count_wrong(x, 2) == 0 && calls == 1);

    CU(cuGraphCreate(&same, 0));
    host.userData = &others;
    fill = add_fill(same, NULL, 0, a, 6);
    node = add_kernel(same, &fill, 1, a, 5, 5);
    CU(cuGraphAddHostNode(&node, same, &node, 1, &host));
    (void)add_out(same, &node, 1, y, a);
    CU(cuGraphExecUpdate_v2(exec, same, &info));
    EXPECT(info.result == CU_GRAPH_EXEC_UPDATE_SUCCESS);
    CU(cuGraphDestroy(same));
    run(exec);
    EXPECT(count_wrong(x, 2) == 0 && count_wrong(y, 35) == 0 && calls == 1 && others == 1);
    printf("updates: %u %u\n", x[0], y[0]);

    CU(cuGraphClone(&longer, graph));
    CU(cuGraphAddEmptyNode(&node, longer, NULL, 0));
    EXPECT_CU(CUDA_ERROR_GRAPH_EXEC_UPDATE_FAILURE, cuGraphExecUpdate_v2(exec, longer, &info));
    EXPECT(info.result == CU_GRAPH_EXEC_UPDATE_ERROR_TOPOLOGY_CHANGED);
    CU(cuGraphDestroy(longer));
    CU(cuGraphCreate(&changed, 0));
    fill = add_fill(changed, NULL, 0, a, 6);
    CU(cuGraphAddEmptyNode(&node, changed, &fill, 1));
    CU(cuGraphAddHostNode(&node, changed, &node, 1, &host));
    (void)add_out(changed, &node, 1, y, a);
    EXPECT_CU(CUDA_ERROR_GRAPH_EXEC_UPDATE_FAILURE, cuGraphExecUpdate_v2(exec, changed, &info));
    EXPECT(info.result == CU_GRAPH_EXEC_UPDATE_ERROR_NODE_TYPE_CHANGED && info.errorNode != NULL);
    CU(cuGraphDestroy(changed));
    run(exec);
    EXPECT(count_wrong(y, 35) == 0 && others == 2);
    CU(cuGraphExecDestroy(exec));
    CU(cuGraphDestroy(graph));
    CU(cuMemFree(a));
}

/* Memory that a launch allocates, at an address that is known before. */
static void
memory(void)
{
    static uint32_t x[N];
    CUDA_MEM_ALLOC_NODE_PARAMS p = {.poolProps = {.allocType = CU_MEM_ALLOCATION_TYPE_PINNED,
                                                  .location = {CU_MEM_LOCATION_TYPE_DEVICE, 0}},
                                    .bytesize = sizeof(x)},
                               got;
    CUgraphNode alloc, fill, kernel, out, release;
    CUdeviceptr freed_address;
    CUgraph graph, clone;
    CUgraphExec exec;

    CU(cuGraphCreate(&graph, 0));
    CU(cuGraphAddMemAllocNode(&alloc, graph, NULL, 0, &p));
    EXPECT(p.dptr != 0);
    CU(cuGraphMemAllocNodeGetParams(alloc, &got));
    EXPECT(got.dptr == p.dptr && got.bytesize == sizeof(x));
    fill = add_fill(graph, &alloc, 1, p.dptr, 8);
    kernel = add_kernel(graph, &fill, 1, p.dptr, 2, 3);
    out = add_out(graph, &kernel, 1, x, p.dptr);
    CU(cuGraphAddMemFreeNode(&release, graph, &out, 1, p.dptr));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuGraphAddMemFreeNode(&release, graph, &out, 1, 0));
    CU(cuGraphMemFreeNodeGetParams(release, &freed_address));
    EXPECT(freed_address == p.dptr);
    EXPECT_CU(CUDA_ERROR_NOT_SUPPORTED, cuGraphClone(&clone, graph));
    EXPECT_CU(CUDA_ERROR_NOT_SUPPORTED, cuGraphDestroyNode(alloc));
    CU(cuGraphInstantiateWithFlags(&exec, graph, 0));
    for (int i = 0; i < 3; i++) {
        memset(x, 0, sizeof(x));
        run(exec);
        EXPECT(count_wrong(x, 19) == 0);
    }
    CU(cuGraphExecDestroy(exec));
    CU(cuGraphDestroy(graph));

    /* Not freed by the graph: it stays until the program frees it. */
    CU(cuGraphCreate(&graph, 0));
    CU(cuGraphAddMemAllocNode(&alloc, graph, NULL, 0, &p));
    (void)add_fill(graph, &alloc, 1, p.dptr, 31);
    CU(cuGraphInstantiateWithFlags(&exec, graph, 0));
    run(exec);
    CU(cuMemcpyDtoH(x, p.dptr, sizeof(x)));
    EXPECT(count_wrong(x, 31) == 0);
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuGraphLaunch(exec, stream));
    CU(cuMemFree(p.dptr));
    run(exec);
    CU(cuMemFree(p.dptr));
    CU(cuGraphExecDestroy(exec));
    CU(cuGraphInstantiateWithFlags(&exec, graph, CUDA_GRAPH_INSTANTIATE_FLAG_AUTO_FREE_ON_LAUNCH));
    run(exec);
    run(exec);
    CU(cuGraphExecDestroy(exec));
    CU(cuGraphDestroy(graph));
    CU(cuMemcpyDtoH(x, p.dptr, sizeof(x)));
    EXPECT(count_wrong(x, 31) == 0);
    CU(cuMemFree(p.dptr));
    printf("memory: %u\n", x[0]);
}

static CUDA_MEM_ALLOC_NODE_PARAMS
alloc_params(void)
{
    CUDA_MEM_ALLOC_NODE_PARAMS p = {.poolProps = {.allocType = CU_MEM_ALLOCATION_TYPE_PINNED,
                                                  .location = {CU_MEM_LOCATION_TYPE_DEVICE, 0}},
                                    .bytesize = N * 4};

    return p;
}

static void
launch_burn(CUdeviceptr words, uint32_t rounds)
{
    uint32_t n = N;
    void *params[] = {&words, &rounds, &n};

    CU(cuLaunchKernel(burn, (N + 127) / 128, 1, 1, 128, 1, 1, 0, stream, params, NULL));
}

/* Freed by another graph than the one that allocated it, which is gone, and used until then. */
static void
freed_elsewhere(void)
{
    static uint32_t x[N];
    CUDA_MEM_ALLOC_NODE_PARAMS p = alloc_params();
    CUgraphNode alloc, release;
    CUgraph graph, freeing;
    CUgraphExec exec, exec2;
    CUdeviceptr other;

    CU(cuGraphCreate(&graph, 0));
    CU(cuGraphAddMemAllocNode(&alloc, graph, NULL, 0, &p));
    (void)add_fill(graph, &alloc, 1, p.dptr, 23);
    CU(cuGraphInstantiateWithFlags(&exec, graph, 0));
    CU(cuGraphCreate(&freeing, 0));
    CU(cuGraphAddMemFreeNode(&release, freeing, NULL, 0, p.dptr));
    CU(cuGraphInstantiateWithFlags(&exec2, freeing, 0));
    run(exec);
    CU(cuGraphExecDestroy(exec));
    CU(cuGraphDestroy(graph));
    CU(cuMemAlloc(&other, sizeof(x)));
    launch_burn(other, 50000);
    CU(cuMemcpyDtoHAsync(x, p.dptr, sizeof(x), stream));
    CU(cuGraphLaunch(exec2, stream));
    CU(cuStreamSynchronize(stream));
    EXPECT(count_wrong(x, 23) == 0);
    CU(cuGraphExecDestroy(exec2));
    CU(cuGraphDestroy(freeing));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuMemFree(p.dptr));
    CU(cuMemFree(other));
    printf("freed elsewhere: %u\n", x[0]);
}

static void
any_kind(void)
{
    static uint32_t x[N];
    static int calls;
    CUgraphNodeParams p = {.type = CU_GRAPH_NODE_TYPE_MEMSET};
    CUgraphNode fill, host, out;
    CUgraphExec exec;
    CUdeviceptr a;
    CUgraph graph;

    CU(cuMemAlloc(&a, sizeof(x)));
    CU(cuGraphCreate(&graph, 0));
    p.memset.dst = a;
    p.memset.value = 17;
    p.memset.elementSize = 4;
    p.memset.width = N;
    p.memset.height = 1;
    p.memset.ctx = ctx;
    CU(cuGraphAddNode_v2(&fill, graph, NULL, NULL, 0, &p));
    memset(&p, 0, sizeof(p));
    p.type = CU_GRAPH_NODE_TYPE_HOST;
    p.host.fn = on_host;
    p.host.userData = &calls;
    CU(cuGraphAddNode_v2(&host, graph, &fill, NULL, 1, &p));
    memset(&p, 0, sizeof(p));
    p.type = CU_GRAPH_NODE_TYPE_MEMCPY;
    p.memcpy.copyCtx = ctx;
    p.memcpy.copyParams = out_params(x, a);
    CU(cuGraphAddNode_v2(&out, graph, &host, NULL, 1, &p));
    CU(cuGraphInstantiateWithFlags(&exec, graph, 0));
    run(exec);
    EXPECT(count_wrong(x, 17) == 0 && calls == 1);
    CU(cuGraphExecDestroy(exec));
    CU(cuGraphDestroy(graph));
    CU(cuMemFree(a));
    printf("any kind: %u %d\n", x[0], calls);
}

/* A destructor runs late, on another thread. */
static bool
freed_becomes(int want)
{
    for (int i = 0; i < 5000 && __atomic_load_n(&freed, __ATOMIC_SEQ_CST) != want; i++)
        usleep(1000);
    return __atomic_load_n(&freed, __ATOMIC_SEQ_CST) == want;
}

static void
user_objects(void)
{
    static int one = 1, ten = 10;
    CUuserObject a, b;
    CUgraphExec exec;
    CUgraphNode node;
    CUgraph graph, clone;
    CUdeviceptr words;
    uint32_t n = N, rounds = 100000;

    CU(cuMemAlloc(&words, N * 4));
    CU(cuUserObjectCreate(&a, &one, on_free, 1, CU_USER_OBJECT_NO_DESTRUCTOR_SYNC));
    CU(cuUserObjectCreate(&b, &ten, on_free, 2, CU_USER_OBJECT_NO_DESTRUCTOR_SYNC));
    CU(cuUserObjectRetain(a, 1));
    CU(cuUserObjectRelease(a, 2));
    EXPECT(freed_becomes(1));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuUserObjectRelease(a, 1));
    CU(cuGraphCreate(&graph, 0));
    void *params[] = {&words, &rounds, &n};
    CUDA_KERNEL_NODE_PARAMS p = kernel_params(params);
    p.func = burn;
    CU(cuGraphAddKernelNode_v2(&node, graph, NULL, 0, &p));
    CU(cuGraphRetainUserObject(graph, b, 1, CU_GRAPH_USER_OBJECT_MOVE));
    CU(cuUserObjectRelease(b, 1));
    CU(cuGraphClone(&clone, graph));
    CU(cuGraphReleaseUserObject(graph, b, 1));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuGraphReleaseUserObject(graph, b, 1));
    CU(cuGraphDestroy(graph));
    CU(cuGraphInstantiateWithFlags(&exec, clone, 0));
    CU(cuGraphDestroy(clone));
    EXPECT(freed == 1);
    CU(cuGraphLaunch(exec, stream));
    CU(cuGraphExecDestroy(exec));
    CU(cuStreamSynchronize(stream));
    EXPECT(freed_becomes(11));
    printf("user objects: %d\n", freed);
    CU(cuMemFree(words));
}

/* A child that is moved brings its memory and its users, and stays the parent's. */
static void
moved(void)
{
    static uint32_t x[N];
    static int hundred = 100;
    CUDA_MEM_ALLOC_NODE_PARAMS p = alloc_params();
    CUgraphNodeParams child = {.type = CU_GRAPH_NODE_TYPE_GRAPH};
    CUgraphNode alloc, node;
    CUgraph graph, inner;
    CUgraphExec exec;
    CUuserObject user;
    int before = __atomic_load_n(&freed, __ATOMIC_SEQ_CST);

    CU(cuGraphCreate(&inner, 0));
    CU(cuGraphAddMemAllocNode(&alloc, inner, NULL, 0, &p));
    (void)add_fill(inner, &alloc, 1, p.dptr, 41);
    CU(cuUserObjectCreate(&user, &hundred, on_free, 1, CU_USER_OBJECT_NO_DESTRUCTOR_SYNC));
    CU(cuGraphRetainUserObject(inner, user, 1, CU_GRAPH_USER_OBJECT_MOVE));
    CU(cuGraphCreate(&graph, 0));
    child.graph.graph = inner;
    EXPECT_CU(CUDA_ERROR_NOT_SUPPORTED, cuGraphAddNode_v2(&node, graph, NULL, NULL, 0, &child));
    child.graph.ownership = CU_GRAPH_CHILD_GRAPH_OWNERSHIP_MOVE;
    CU(cuGraphAddNode_v2(&node, graph, NULL, NULL, 0, &child));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuGraphAddNode_v2(&node, graph, NULL, NULL, 0, &child));
    child.graph.graph = graph; /* around itself */
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuGraphAddNode_v2(&node, inner, NULL, NULL, 0, &child));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuGraphDestroy(inner));
    EXPECT_CU(CUDA_ERROR_NOT_SUPPORTED, cuGraphAddMemAllocNode(&alloc, inner, NULL, 0, &p));
    EXPECT_CU(CUDA_ERROR_NOT_SUPPORTED, cuGraphAddMemFreeNode(&alloc, inner, NULL, 0, p.dptr));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuGraphInstantiateWithFlags(&exec, inner, 0));
    CU(cuGraphInstantiateWithFlags(&exec, graph, 0));
    run(exec);
    CU(cuMemcpyDtoH(x, p.dptr, sizeof(x)));
    EXPECT(count_wrong(x, 41) == 0);
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuGraphLaunch(exec, stream));
    CU(cuMemFree(p.dptr));
    run(exec);
    CU(cuMemFree(p.dptr));
    CU(cuGraphExecDestroy(exec));
    EXPECT(freed == before);
    CU(cuGraphDestroy(graph));
    EXPECT(freed_becomes(before + 100));
    printf("moved: %u\n", x[0]);
}

static void
as_text(void)
{
    char path[] = "/tmp/graph.dot.XXXXXX", line[256];
    CUgraphNode a, b;
    CUdeviceptr words;
    CUgraph graph;
    FILE *file;
    int fd = mkstemp(path);

    EXPECT(fd >= 0);
    close(fd);
    CU(cuMemAlloc(&words, N * 4));
    CU(cuGraphCreate(&graph, 0));
    a = add_kernel(graph, NULL, 0, words, 1, 1);
    CU(cuGraphAddEmptyNode(&b, graph, &a, 1));
    CU(cuGraphDebugDotPrint(graph, path, 0));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuGraphDebugDotPrint(graph, NULL, 0));
    file = fopen(path, "r");
    EXPECT(file != NULL && fgets(line, sizeof(line), file) != NULL &&
           strstr(line, "digraph") != NULL);
    fclose(file);
    unlink(path);
    CU(cuGraphDestroy(graph));
    CU(cuMemFree(words));
    printf("as text: done\n");
}

/* Values of a node are checked as a stream's are. */
static void
values_checked(void)
{
    CUstreamBatchMemOpParams op = {.operation = CU_STREAM_MEM_OP_WRITE_VALUE_32};
    CUDA_BATCH_MEM_OP_NODE_PARAMS p = {.ctx = ctx, .count = 1, .paramArray = &op};
    CUdeviceptr word;
    CUgraphNode node;
    CUgraphExec exec;
    CUgraph graph;

    CU(cuMemAlloc(&word, 8));
    CU(cuGraphCreate(&graph, 0));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuGraphAddBatchMemOpNode(&node, graph, NULL, 0, &p));
    op.writeValue.address = word + 2;
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuGraphAddBatchMemOpNode(&node, graph, NULL, 0, &p));
    op.writeValue.address = word;
    op.writeValue.value = 77;
    CU(cuGraphAddBatchMemOpNode(&node, graph, NULL, 0, &p));
    CU(cuGraphInstantiateWithFlags(&exec, graph, 0));
    op.operation = (CUstreamBatchMemOpType)77;
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuGraphBatchMemOpNodeSetParams(node, &p));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuGraphExecBatchMemOpNodeSetParams(exec, node, &p));
    run(exec);
    EXPECT(drv_word_at(word) == 77);
    CU(cuGraphExecDestroy(exec));
    CU(cuGraphDestroy(graph));
    CU(cuMemFree(word));
    printf("values checked: done\n");
}

/* Memory of a device whose primary context is not there, and that is not the current one's. */
static void
without_context(void)
{
    CUDA_MEM_ALLOC_NODE_PARAMS p = alloc_params();
    CUgraphNode node;
    CUgraph graph;

    CU(cuCtxSetCurrent(NULL));
    CU(cuGraphCreate(&graph, 0));
    EXPECT_CU(CUDA_ERROR_CONTEXT_IS_DESTROYED, cuGraphAddMemAllocNode(&node, graph, NULL, 0, &p));
    CU(cuGraphDestroy(graph));
    printf("without a context: done\n");
}

int
main(void)
{
    CUdevice dev = drv_open();

    mul_add = drv_kernel(vector_ptx, "mul_add_u32");
    burn = drv_kernel(vector_ptx, "burn");
    CU(cuCtxGetCurrent(&ctx));
    CU(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
    structure();
    order();
    parameters();
    attributes();
    inside();
    events();
    updates();
    memory();
    freed_elsewhere();
    any_kind();
    user_objects();
    moved();
    values_checked();
    as_text();
    CU(cuStreamDestroy(stream));
    drv_close(dev);
    without_context();
    return drv_result("drv_graph_nodes");
}
