/* tests/programs/c/drv_graph_conditions.c -- conditional nodes: if, else, while and switch, inside
 * of each other, by kernels and by default, captured, updated; and what graphs may not be with them
 */
#include "drv.h"
#include "condition_ptx.h"

#define WORDS 64u

static CUfunction set_from, count_down, note;
static CUcontext ctx;
static CUstream stream;
static CUdeviceptr words, noted;

static CUgraphNode
add_kernel(CUgraph graph, CUgraphNode after, CUfunction f, void **params)
{
    CUDA_KERNEL_NODE_PARAMS p = {.func = f,
                                 .gridDimX = 1,
                                 .gridDimY = 1,
                                 .gridDimZ = 1,
                                 .blockDimX = 1,
                                 .blockDimY = 1,
                                 .blockDimZ = 1,
                                 .kernelParams = params};
    CUgraphNode node;

    CU(cuGraphAddKernelNode_v2(&node, graph, &after, after != NULL, &p));
    return node;
}

static CUgraphNode
add_set(CUgraph graph, CUgraphNode after, CUfunction f, unsigned word,
        CUgraphConditionalHandle cond)
{
    CUdeviceptr at = words + word * 4;
    void *params[] = {&at, &cond};

    return add_kernel(graph, after, f, params);
}

static CUgraphNode
add_note(CUgraph graph, CUgraphNode after, uint32_t mark)
{
    void *params[] = {&noted, &mark};

    return add_kernel(graph, after, note, params);
}

static CUgraphNodeParams
conditional(CUgraphConditionalNodeType type, CUgraphConditionalHandle cond, unsigned size)
{
    CUgraphNodeParams p = {.type = CU_GRAPH_NODE_TYPE_CONDITIONAL};

    p.conditional.handle = cond;
    p.conditional.type = type;
    p.conditional.size = size;
    p.conditional.ctx = ctx;
    return p;
}

/* bodies_p: of the node, which has them. */
static CUgraphNode
add_conditional(CUgraph graph, CUgraphNode after, CUgraphConditionalNodeType type,
                CUgraphConditionalHandle cond, unsigned size, CUgraph **bodies_p)
{
    CUgraphNodeParams p = conditional(type, cond, size);
    CUgraphNode node;

    CU(cuGraphAddNode_v2(&node, graph, &after, NULL, after != NULL, &p));
    *bodies_p = p.conditional.phGraph_out;
    return node;
}

static CUgraphConditionalHandle
new_condition(CUgraph graph)
{
    CUgraphConditionalHandle cond;

    CU(cuGraphConditionalHandleCreate(&cond, graph, ctx, 0, 0));
    return cond;
}

/* A launch with the first two words set; want is what its kernels note. */
static void
run(const char *what, CUgraphExec exec, uint32_t a, uint32_t b, const char *want)
{
    uint32_t got[WORDS] = {0}, in[2] = {a, b};
    char text[256] = "";

    CU(cuMemcpyHtoD(words, in, sizeof(in)));
    CU(cuMemsetD32(noted, 0, WORDS));
    CU(cuGraphLaunch(exec, stream));
    CU(cuStreamSynchronize(stream));
    CU(cuMemcpyDtoH(got, noted, sizeof(got)));
    for (uint32_t i = 1; i <= got[0] && i < WORDS; i++)
        snprintf(text + strlen(text), sizeof(text) - strlen(text), " %u", got[i]);
    printf("%s %u:%s\n", what, a, text);
    EXPECT(strcmp(text, want) == 0);
}

static CUgraphExec
made(CUgraph graph)
{
    CUgraphExec exec;

    CU(cuGraphInstantiateWithFlags(&exec, graph, 0));
    return exec;
}

static void
ended(CUgraphExec exec, CUgraph graph)
{
    CU(cuGraphExecDestroy(exec));
    CU(cuGraphDestroy(graph));
}

static void
if_else(void)
{
    for (unsigned size = 1; size <= 2; size++) {
        CUgraphConditionalHandle cond;
        CUgraph graph, *bodies;
        CUgraphExec exec;
        CUgraphNode node;

        CU(cuGraphCreate(&graph, 0));
        cond = new_condition(graph);
        node = add_set(graph, NULL, set_from, 0, cond);
        node = add_conditional(graph, node, CU_GRAPH_COND_TYPE_IF, cond, size, &bodies);
        (void)add_note(graph, node, 9);
        (void)add_note(bodies[0], NULL, 1);
        if (size == 2)
            (void)add_note(bodies[1], add_note(bodies[1], NULL, 2), 3);
        exec = made(graph);
        run("if", exec, 0, 0, size == 1 ? " 9" : " 2 3 9");
        run("if", exec, 7, 0, " 1 9");
        ended(exec, graph);
    }
}

/* Two loops, one inside of the other, the inner one over 2 each time; and an if in the inner. */
static void
loops(void)
{
    CUDA_MEMSET_NODE_PARAMS fill = {words + 4, 0, 2, 4, 1, 1};
    CUgraphConditionalHandle outer, inner, odd;
    CUgraph graph, *body, *in, *last;
    CUgraphExec exec;
    CUgraphNode node, start;

    CU(cuGraphCreate(&graph, 0));
    outer = new_condition(graph);
    node = add_set(graph, NULL, set_from, 0, outer);
    (void)add_conditional(graph, node, CU_GRAPH_COND_TYPE_WHILE, outer, 1, &body);
    inner = new_condition(body[0]);
    odd = new_condition(graph);
    CU(cuGraphAddMemsetNode(&start, body[0], NULL, 0, &fill, ctx));
    node = add_set(body[0], start, set_from, 1, inner);
    node = add_conditional(body[0], node, CU_GRAPH_COND_TYPE_WHILE, inner, 1, &in);
    (void)add_set(body[0], add_note(body[0], node, 5), count_down, 0, outer);
    node = add_set(in[0], add_note(in[0], NULL, 1), count_down, 1, inner);
    node = add_set(in[0], node, set_from, 1, odd);
    (void)add_conditional(in[0], node, CU_GRAPH_COND_TYPE_IF, odd, 1, &last);
    (void)add_note(last[0], NULL, 2);
    exec = made(graph);
    run("loops", exec, 3, 0, " 1 2 1 5 1 2 1 5 1 2 1 5");
    run("loops", exec, 0, 0, "");
    run("loops", exec, 1, 0, " 1 2 1 5");
    ended(exec, graph);
}

static void
choice(void)
{
    CUgraphConditionalHandle cond;
    CUgraph graph, *bodies;
    CUgraphExec exec;
    CUgraphNode node;

    CU(cuGraphCreate(&graph, 0));
    cond = new_condition(graph);
    node = add_set(graph, NULL, set_from, 0, cond);
    (void)add_conditional(graph, node, CU_GRAPH_COND_TYPE_SWITCH, cond, 5, &bodies);
    for (uint32_t i = 0; i < 5; i++)
        if (i != 3) /* that one is empty */
            (void)add_note(bodies[i], NULL, 10 + i);
    exec = made(graph);
    run("switch", exec, 0, 0, " 10");
    run("switch", exec, 2, 0, " 12");
    run("switch", exec, 3, 0, "");
    run("switch", exec, 4, 0, " 14");
    run("switch", exec, 5, 0, "");
    run("switch", exec, UINT32_MAX, 0, "");
    ended(exec, graph);
}

/* A default stands at the begin of each launch; without it the kernel decides. The body is
 * captured, and its launches go on when the graphs are gone. */
static void
defaults(void)
{
    CUgraphConditionalHandle cond;
    CUdeviceptr at = words;
    uint32_t mark = 4, got[WORDS];
    CUgraph graph, captured, *bodies;
    CUgraphExec exec;
    CUgraphNode node;

    CU(cuGraphCreate(&graph, 0));
    CU(cuGraphConditionalHandleCreate(&cond, graph, ctx, 1, CU_GRAPH_COND_ASSIGN_DEFAULT));
    node = add_conditional(graph, NULL, CU_GRAPH_COND_TYPE_WHILE, cond, 1, &bodies);
    (void)node;
    CU(cuStreamBeginCaptureToGraph(stream, bodies[0], NULL, NULL, 0,
                                   CU_STREAM_CAPTURE_MODE_THREAD_LOCAL));
    void *set[] = {&at, &cond}, *say[] = {&noted, &mark};
    CU(cuLaunchKernel(note, 1, 1, 1, 1, 1, 1, 0, stream, say, NULL));
    CU(cuLaunchKernel(count_down, 1, 1, 1, 1, 1, 1, 0, stream, set, NULL));
    CU(cuStreamEndCapture(stream, &captured));
    EXPECT(captured == bodies[0]);
    exec = made(graph);
    run("default", exec, 3, 0, " 4 4 4");
    run("default", exec, 1, 0, " 4");
    CU(cuMemsetD32(words, 5, 1));
    CU(cuMemsetD32(noted, 0, WORDS));
    CU(cuGraphLaunch(exec, stream));
    ended(exec, graph);
    CU(cuStreamSynchronize(stream));
    CU(cuMemcpyDtoH(got, noted, sizeof(got)));
    EXPECT(got[0] == 5 && got[5] == 4);
}

/* Conditional nodes that kernels were captured around. */
static void
captured_around(void)
{
    CUgraphConditionalHandle cond;
    CUstreamCaptureStatus status;
    const CUgraphNode *deps;
    CUgraph graph, *bodies;
    uint32_t mark = 8;
    CUdeviceptr at = words;
    CUgraphExec exec;
    CUgraphNode node;
    size_t count;

    CU(cuStreamBeginCapture_v2(stream, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL));
    CU(cuStreamGetCaptureInfo_v3(stream, &status, NULL, &graph, NULL, NULL, NULL));
    cond = new_condition(graph);
    void *set[] = {&at, &cond}, *say[] = {&noted, &mark};
    CU(cuLaunchKernel(set_from, 1, 1, 1, 1, 1, 1, 0, stream, set, NULL));
    CU(cuStreamGetCaptureInfo_v3(stream, &status, NULL, &graph, &deps, NULL, &count));
    EXPECT(count == 1);
    node = add_conditional(graph, deps[0], CU_GRAPH_COND_TYPE_IF, cond, 1, &bodies);
    CU(cuStreamUpdateCaptureDependencies_v2(stream, &node, NULL, 1,
                                            CU_STREAM_SET_CAPTURE_DEPENDENCIES));
    CU(cuLaunchKernel(note, 1, 1, 1, 1, 1, 1, 0, stream, say, NULL));
    CU(cuStreamEndCapture(stream, &graph));
    (void)add_note(bodies[0], NULL, 7);
    exec = made(graph);
    run("captured", exec, 0, 0, " 8");
    run("captured", exec, 1, 0, " 7 8");
    ended(exec, graph);
}

static CUgraph
one_if(unsigned size, uint32_t mark, unsigned value, CUgraph **bodies_p)
{
    CUgraphConditionalHandle cond;
    CUgraph graph;

    CU(cuGraphCreate(&graph, 0));
    CU(cuGraphConditionalHandleCreate(&cond, graph, ctx, value, CU_GRAPH_COND_ASSIGN_DEFAULT));
    (void)add_conditional(graph, NULL, CU_GRAPH_COND_TYPE_IF, cond, size, bodies_p);
    for (unsigned i = 0; i < size; i++)
        (void)add_note((*bodies_p)[i], NULL, mark + i);
    return graph;
}

static void
updates(void)
{
    CUgraphExecUpdateResultInfo info;
    CUgraph graph, other, *bodies;
    CUgraphExec exec;
    CUgraphNode node;

    graph = one_if(2, 20, 1, &bodies);
    exec = made(graph);
    run("update", exec, 0, 0, " 20");
    other = one_if(2, 30, 0, &bodies);
    CU(cuGraphExecUpdate_v2(exec, other, &info));
    run("update", exec, 0, 0, " 31");
    CU(cuGraphDestroy(other));
    other = one_if(1, 40, 1, &bodies);
    EXPECT_CU(CUDA_ERROR_GRAPH_EXEC_UPDATE_FAILURE, cuGraphExecUpdate_v2(exec, other, &info));
    EXPECT(info.result == CU_GRAPH_EXEC_UPDATE_ERROR_PARAMETERS_CHANGED);
    CU(cuGraphDestroy(other));
    other = one_if(2, 50, 1, &bodies);
    CU(cuGraphAddEmptyNode(&node, bodies[1], NULL, 0));
    EXPECT_CU(CUDA_ERROR_GRAPH_EXEC_UPDATE_FAILURE, cuGraphExecUpdate_v2(exec, other, &info));
    EXPECT(info.result == CU_GRAPH_EXEC_UPDATE_ERROR_TOPOLOGY_CHANGED);
    CU(cuGraphDestroy(other));
    run("update", exec, 0, 0, " 31");
    ended(exec, graph);
}

static void
nothing(void *user)
{
    (void)user;
}

static void
mistakes(void)
{
    CUDA_GRAPH_INSTANTIATE_PARAMS how = {0};
    CUDA_HOST_NODE_PARAMS host = {nothing, NULL};
    CUgraphConditionalHandle cond, unused;
    CUgraph graph, clone, *bodies;
    CUgraphNodeParams p;
    CUgraphExec exec, second;
    CUgraphNode node;

    CU(cuGraphCreate(&graph, 0));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuGraphConditionalHandleCreate(NULL, graph, ctx, 0, 0));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuGraphConditionalHandleCreate(&cond, graph, ctx, 0, 2));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuGraphConditionalHandleCreate(&cond, NULL, ctx, 0, 0));
    CU(cuGraphConditionalHandleCreate(&cond, graph, NULL, 0, 0));
    static const struct {
        CUgraphConditionalNodeType type;
        unsigned size;
    } bad[] = {{CU_GRAPH_COND_TYPE_IF, 0},     {CU_GRAPH_COND_TYPE_IF, 3},
               {CU_GRAPH_COND_TYPE_WHILE, 0},  {CU_GRAPH_COND_TYPE_WHILE, 2},
               {CU_GRAPH_COND_TYPE_SWITCH, 0}, {(CUgraphConditionalNodeType)3, 1}};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        p = conditional(bad[i].type, cond, bad[i].size);
        EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuGraphAddNode_v2(&node, graph, NULL, NULL, 0, &p));
    }
    p = conditional(CU_GRAPH_COND_TYPE_IF, cond + 1, 1);
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuGraphAddNode_v2(&node, graph, NULL, NULL, 0, &p));
    CU(cuGraphDestroy(graph));

    graph = one_if(1, 1, 1, &bodies);
    EXPECT_CU(CUDA_ERROR_NOT_SUPPORTED, cuGraphClone(&clone, graph));
    CU(cuGraphCreate(&clone, 0));
    EXPECT_CU(CUDA_ERROR_NOT_SUPPORTED, cuGraphAddChildGraphNode(&node, clone, NULL, 0, graph));
    CU(cuGraphDestroy(clone));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuGraphDestroy(bodies[0]));
    exec = made(graph);
    EXPECT_CU(CUDA_ERROR_NOT_SUPPORTED, cuGraphInstantiateWithFlags(&second, graph, 0));
    CU(cuGraphExecDestroy(exec));
    exec = made(graph);
    CU(cuGraphExecDestroy(exec));
    CU(cuGraphAddHostNode(&node, bodies[0], NULL, 0, &host));
    EXPECT_CU(CUDA_ERROR_NOT_SUPPORTED, cuGraphInstantiateWithParams(&exec, graph, &how));
    EXPECT(how.result_out == CUDA_GRAPH_INSTANTIATE_NODE_OPERATION_NOT_SUPPORTED);
    CU(cuGraphDestroy(graph));

    graph = one_if(1, 1, 1, &bodies);
    CU(cuGraphConditionalHandleCreate(&unused, graph, ctx, 0, 0));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuGraphInstantiateWithParams(&exec, graph, &how));
    EXPECT(how.result_out == CUDA_GRAPH_INSTANTIATE_CONDITIONAL_HANDLE_UNUSED);
    CU(cuGraphDestroy(graph));
    printf("mistakes: done\n");
}

int
main(void)
{
    CUdevice dev = drv_open();

    set_from = drv_kernel(condition_ptx, "set_from");
    count_down = drv_kernel(condition_ptx, "count_down");
    note = drv_kernel(condition_ptx, "note");
    CU(cuCtxGetCurrent(&ctx));
    CU(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
    CU(cuMemAlloc(&words, WORDS * 4));
    CU(cuMemAlloc(&noted, WORDS * 4));
    if_else();
    loops();
    choice();
    defaults();
    captured_around();
    updates();
    mistakes();
    CU(cuMemFree(words));
    CU(cuMemFree(noted));
    CU(cuStreamDestroy(stream));
    drv_close(dev);
    return drv_result("drv_graph_conditions");
}
