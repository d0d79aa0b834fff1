/* tests/programs/c/drv_user_objects.c -- what graphs keep alive for the program, and until when:
 * graphs that captures lose, graphs inside of others, changes of executable graphs; and where and
 * when destructors run */
#include "drv.h"

#include <pthread.h>
#include <semaphore.h>
#include <sys/wait.h>
#include <unistd.h>

static CUcontext ctx;
static CUstream stream;
static CUdeviceptr word;
static CUgraphConditionalHandle handle;
static sem_t open_gate;

/* -- objects ----------------------------------------------------------------------------- */

static int gone; /* how many destructors ran */

static void
on_gone(void *unused)
{
    (void)unused;
    __atomic_add_fetch(&gone, 1, __ATOMIC_SEQ_CST);
}

static int
gone_now(void)
{
    return __atomic_load_n(&gone, __ATOMIC_SEQ_CST);
}

/* A destructor may run late, on another thread. */
static bool
gone_becomes(int want)
{
    for (int i = 0; i < 5000 && gone_now() < want; i++)
        usleep(1000);
    return gone_now() == want;
}

/* A new object that nothing but the graph has. */
static CUuserObject
give(CUgraph graph)
{
    CUuserObject object;

    CU(cuUserObjectCreate(&object, NULL, on_gone, 1, CU_USER_OBJECT_NO_DESTRUCTOR_SYNC));
    CU(cuGraphRetainUserObject(graph, object, 1, CU_GRAPH_USER_OBJECT_MOVE));
    return object;
}

static CUgraph
graph_of_a_fill(uint32_t value, CUgraphNode *node_p)
{
    const CUDA_MEMSET_NODE_PARAMS p = {word, 0, value, 4, 1, 1};
    CUgraphNode node;
    CUgraph graph;

    CU(cuGraphCreate(&graph, 0));
    CU(cuGraphAddMemsetNode(&node, graph, NULL, 0, &p, ctx));
    if (node_p != NULL)
        *node_p = node;
    return graph;
}

/* What follows in the stream begins when the semaphore says so. */
static void
wait_at_gate(void *unused)
{
    (void)unused;
    while (sem_wait(&open_gate) != 0)
        ;
}

static void
close_gate(void)
{
    CU(cuLaunchHostFunc(stream, wait_at_gate, NULL));
}

static void
pass_gate(void)
{
    sem_post(&open_gate);
    CU(cuStreamSynchronize(stream));
}

/* -- counting ---------------------------------------------------------------------------- */

static void
counts(void)
{
    CUuserObject object;
    CUgraph graph;

    CU(cuUserObjectCreate(&object, NULL, on_gone, 3, CU_USER_OBJECT_NO_DESTRUCTOR_SYNC));
    CU(cuGraphCreate(&graph, 0));
    CU(cuGraphRetainUserObject(graph, object, 1, 0));
    CU(cuGraphRetainUserObject(graph, object, 2, CU_GRAPH_USER_OBJECT_MOVE));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuGraphReleaseUserObject(graph, object, 4));
    CU(cuGraphReleaseUserObject(graph, object, 3)); /* in one, what came in two */
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuGraphReleaseUserObject(graph, object, 1));
    EXPECT(gone_now() == 0);
    CU(cuUserObjectRelease(object, 1));
    EXPECT(gone_becomes(1));
    CU(cuGraphDestroy(graph));
    printf("counts: %d\n", gone_now());
}

/* -- captures ---------------------------------------------------------------------------- */

/* The stream captures a fill, into a graph that has an object. */
static void
capture(CUstream s)
{
    CUstreamCaptureStatus status;
    cuuint64_t id;
    CUgraph graph;

    CU(cuStreamBeginCapture_v2(s, CU_STREAM_CAPTURE_MODE_RELAXED));
    CU(cuMemsetD32Async(word, 1, 1, s));
    CU(cuStreamGetCaptureInfo_v2(s, &status, &id, &graph, NULL, NULL));
    (void)give(graph);
}

static void *
capture_and_go(void *unused)
{
    (void)unused;
    CU(cuCtxSetCurrent(ctx));
    capture(CU_STREAM_PER_THREAD);
    return NULL;
}

/* A capture that ends with its stream, thread, green context or context keeps nothing. */
static void
lost_captures(void)
{
    CUdevResourceDesc desc;
    CUdevResource sms;
    CUgreenCtx green;
    CUcontext other;
    pthread_t thread;
    CUgraph graph;
    CUstream s;

    CU(cuStreamCreate(&s, CU_STREAM_NON_BLOCKING));
    capture(s);
    EXPECT(gone_now() == 1);
    CU(cuStreamDestroy(s));
    EXPECT(gone_becomes(2));

    pthread_create(&thread, NULL, capture_and_go, NULL);
    pthread_join(thread, NULL);
    EXPECT(gone_becomes(3));

    CU(cuDeviceGetDevResource(0, &sms, CU_DEV_RESOURCE_TYPE_SM));
    CU(cuDevResourceGenerateDesc(&desc, &sms, 1));
    CU(cuGreenCtxCreate(&green, desc, 0, CU_GREEN_CTX_DEFAULT_STREAM));
    CU(cuGreenCtxStreamCreate(&s, green, CU_STREAM_NON_BLOCKING, 0));
    capture(s);
    CU(cuGreenCtxDestroy(green));
    EXPECT(gone_becomes(4));

    CU(cuCtxCreate_v2(&other, 0, 0));
    CU(cuStreamCreate(&s, CU_STREAM_NON_BLOCKING));
    capture(s);
    CU(cuCtxDestroy(other));
    CU(cuCtxSetCurrent(ctx));
    EXPECT(gone_becomes(5));

    capture(stream);
    EXPECT_CU(CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED, cuStreamQuery(stream));
    EXPECT_CU(CUDA_ERROR_STREAM_CAPTURE_INVALIDATED, cuStreamEndCapture(stream, &graph));
    EXPECT(gone_becomes(6));

    capture(stream);
    CU(cuStreamEndCapture(stream, &graph));
    EXPECT(gone_now() == 6);
    CU(cuGraphDestroy(graph));
    EXPECT(gone_becomes(7));
    printf("lost captures: %d\n", gone_now());
}

/* A node that goes while its graph is captured into is behind nothing any more. */
static void
node_of_a_capture_goes(void)
{
    CUgraph graph, ended;
    CUgraphNode nodes[4];
    size_t count = 4;

    CU(cuGraphCreate(&graph, 0));
    CU(cuStreamBeginCaptureToGraph(stream, graph, NULL, NULL, 0, CU_STREAM_CAPTURE_MODE_RELAXED));
    CU(cuMemsetD32Async(word, 1, 1, stream));
    CU(cuGraphGetNodes(graph, nodes, &count));
    EXPECT(count == 1);
    CU(cuGraphDestroyNode(nodes[0]));
    CU(cuMemsetD32Async(word, 2, 1, stream));
    CU(cuStreamEndCapture(stream, &ended));
    EXPECT(ended == graph);
    count = 4;
    CU(cuGraphGetNodes(graph, nodes, &count));
    EXPECT(count == 1);
    CU(cuGraphNodeGetDependencies(nodes[0], NULL, &count));
    EXPECT(count == 0);
    CU(cuGraphDestroy(graph));
    printf("a node of a capture goes: done\n");
}

/* -- graphs inside ----------------------------------------------------------------------- */

static CUgraph
body_of(CUgraph graph)
{
    CUgraphNodeParams p = {.type = CU_GRAPH_NODE_TYPE_CONDITIONAL};
    CUgraphNode node;

    CU(cuGraphConditionalHandleCreate(&handle, graph, ctx, 1, CU_GRAPH_COND_ASSIGN_DEFAULT));
    p.conditional.handle = handle;
    p.conditional.type = CU_GRAPH_COND_TYPE_IF;
    p.conditional.size = 1;
    p.conditional.ctx = ctx;
    CU(cuGraphAddNode_v2(&node, graph, NULL, NULL, 0, &p));
    return p.conditional.phGraph_out[0];
}

/* Objects stay with the graph that they were given to; its copy has them too. */
static void
inside(void)
{
    int before = gone_now();
    CUgraph child, graph, copy, body, lost;
    CUgraphNode node, inner;
    CUgraphExec exec;

    child = graph_of_a_fill(3, NULL);
    (void)give(child);
    CU(cuGraphCreate(&graph, 0));
    CU(cuGraphAddChildGraphNode(&node, graph, NULL, 0, child));
    CU(cuGraphDestroy(child));
    CU(cuGraphClone(&copy, graph));
    EXPECT(gone_now() == before);
    CU(cuGraphDestroyNode(node));
    EXPECT(gone_now() == before); /* the copy's child is one of its own */
    CU(cuGraphInstantiateWithFlags(&exec, copy, 0));
    CU(cuGraphDestroy(copy));
    CU(cuGraphDestroy(graph));
    EXPECT(gone_now() == before);
    CU(cuGraphLaunch(exec, stream));
    CU(cuStreamSynchronize(stream));
    CU(cuGraphExecDestroy(exec));
    EXPECT(gone_becomes(before + 1));

    CU(cuGraphCreate(&graph, 0));
    body = body_of(graph);
    (void)give(body);
    CU(cuStreamBeginCaptureToGraph(stream, body, NULL, NULL, 0, CU_STREAM_CAPTURE_MODE_RELAXED));
    CU(cuMemsetD32Async(word, 4, 1, stream));
    CU(cuGraphDestroy(graph)); /* and with it what is captured into */
    EXPECT(gone_becomes(before + 2));
    EXPECT_CU(CUDA_ERROR_STREAM_CAPTURE_INVALIDATED, cuMemsetD32Async(word, 5, 1, stream));
    EXPECT_CU(CUDA_ERROR_STREAM_CAPTURE_INVALIDATED, cuStreamEndCapture(stream, &lost));

    child = graph_of_a_fill(3, &inner);
    (void)give(child);
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuGraphAddChildGraphNode(&node, child, NULL, 0, child));
    CU(cuGraphCreate(&graph, 0));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuGraphAddChildGraphNode(&node, graph, &inner, 1, child));
    CU(cuGraphDestroy(child));
    EXPECT(gone_becomes(before + 3)); /* what could not be added keeps nothing */
    CU(cuGraphDestroy(graph));
    printf("inside: %d\n", gone_now() - before);
}

/* -- executable graphs ------------------------------------------------------------------- */

/* An update brings the new graph's objects; the others go, but not before launches are over. */
static void
updates(void)
{
    CUgraphExecUpdateResultInfo info;
    int before = gone_now();
    CUgraph one = graph_of_a_fill(10, NULL), two = graph_of_a_fill(20, NULL),
            three = graph_of_a_fill(30, NULL);
    CUgraphExec exec;

    (void)give(one);
    (void)give(two);
    CU(cuGraphInstantiateWithFlags(&exec, one, 0));
    CU(cuGraphDestroy(one));
    CU(cuGraphExecUpdate_v2(exec, two, &info));
    EXPECT(gone_becomes(before + 1));
    CU(cuGraphDestroy(two));
    close_gate();
    CU(cuGraphLaunch(exec, stream));
    CU(cuGraphExecUpdate_v2(exec, three, &info));
    CU(cuGraphDestroy(three));
    EXPECT(gone_now() == before + 1); /* the launch has it */
    pass_gate();
    EXPECT(gone_becomes(before + 2));
    EXPECT(drv_word_at(word) == 20);
    CU(cuGraphExecDestroy(exec));
    printf("updates: %d\n", gone_now() - before);
}

/* The executable graph had none when it was made, and goes while it is launched. */
static void
updated_and_gone(void)
{
    CUgraphExecUpdateResultInfo info;
    int before = gone_now();
    CUgraph one = graph_of_a_fill(10, NULL), two = graph_of_a_fill(20, NULL);
    CUgraphExec exec;

    (void)give(two);
    CU(cuGraphInstantiateWithFlags(&exec, one, 0));
    CU(cuGraphExecUpdate_v2(exec, two, &info));
    CU(cuGraphDestroy(one));
    CU(cuGraphDestroy(two));
    close_gate();
    CU(cuGraphLaunch(exec, stream));
    CU(cuGraphExecDestroy(exec));
    EXPECT(gone_now() == before);
    pass_gate();
    EXPECT(gone_becomes(before + 1));
    printf("updated and gone: %d\n", gone_now() - before);
}

/* A child that is exchanged takes its objects with it and no others. */
static void
child_changes(void)
{
    int before = gone_now();
    CUgraph one = graph_of_a_fill(10, NULL), two = graph_of_a_fill(20, NULL), graph;
    CUgraphNode node, other;
    CUgraphExec exec;

    (void)give(one);
    (void)give(two);
    CU(cuGraphCreate(&graph, 0));
    CU(cuGraphAddChildGraphNode(&node, graph, NULL, 0, one));
    CU(cuGraphAddChildGraphNode(&other, graph, &node, 1, two));
    (void)give(graph);
    CU(cuGraphDestroy(one));
    CU(cuGraphInstantiateWithFlags(&exec, graph, 0));
    close_gate();
    CU(cuGraphLaunch(exec, stream));
    CU(cuGraphExecChildGraphNodeSetParams(exec, node, two));
    CU(cuGraphDestroy(two));
    CU(cuGraphDestroy(graph));
    EXPECT(gone_now() == before); /* the launch has the first's */
    pass_gate();
    EXPECT(gone_becomes(before + 1));
    CU(cuGraphExecDestroy(exec));
    EXPECT(gone_becomes(before + 3));
    printf("a child changes: %d\n", gone_now() - before);
}

/* -- the destructors' thread -------------------------------------------------------------- */

static pthread_mutex_t held = PTHREAD_MUTEX_INITIALIZER;
static int order[8], ordered;
static pthread_t destructors;

static void
under_lock(void *number)
{
    CUdeviceptr p;

    EXPECT_CU(CUDA_ERROR_NOT_PERMITTED, cuMemAlloc(&p, 4)); /* it must not call */
    pthread_mutex_lock(&held);
    if (ordered == 0)
        destructors = pthread_self();
    EXPECT(pthread_equal(destructors, pthread_self()));
    order[ordered++] = (int)(intptr_t)number;
    pthread_mutex_unlock(&held);
    on_gone(NULL);
}

static CUuserObject
numbered(int number)
{
    CUuserObject object;

    CU(cuUserObjectCreate(&object, (void *)(intptr_t)number, under_lock, 1,
                          CU_USER_OBJECT_NO_DESTRUCTOR_SYNC));
    return object;
}

static CUgraph
graph_with(CUuserObject object)
{
    CUgraph graph = graph_of_a_fill(1, NULL);

    CU(cuGraphRetainUserObject(graph, object, 1, CU_GRAPH_USER_OBJECT_MOVE));
    return graph;
}

/* Who lets objects go may hold a lock that their destructors take: these run on one thread of their
 * own, one after the other, as the objects went. */
static void
with_a_lock(void)
{
    CUuserObject released = numbered(1);
    CUgraph destroyed = graph_with(numbered(0)), launched = graph_with(numbered(2)), last;
    CUgraphExec exec;
    int before = gone_now();

    CU(cuGraphInstantiateWithFlags(&exec, launched, 0));
    CU(cuGraphDestroy(launched));
    pthread_mutex_lock(&held);
    CU(cuGraphDestroy(destroyed));
    CU(cuUserObjectRelease(released, 1));
    CU(cuGraphLaunch(exec, stream));
    CU(cuGraphExecDestroy(exec));
    CU(cuLaunchHostFunc(stream, wait_at_gate, NULL)); /* behind the launch's end, which waits not */
    pass_gate();
    released = numbered(3);
    last = graph_with(released);
    EXPECT(gone_now() == before && ordered == 0);
    pthread_mutex_unlock(&held);
    EXPECT(gone_becomes(before + 3));
    CU(cuGraphReleaseUserObject(last, released, 1));
    EXPECT(gone_becomes(before + 4));
    CU(cuGraphDestroy(last));
    pthread_mutex_lock(&held);
    for (int i = 0; i < 4; i++)
        EXPECT(order[i] == i);
    EXPECT(!pthread_equal(destructors, pthread_self()));
    pthread_mutex_unlock(&held);
    printf("with a lock: %d\n", gone_now() - before);
}

static sem_t began;

static void
never_return(void *unused)
{
    (void)unused;
    sem_post(&began);
    for (;;)
        pause();
}

/* The process's end waits for no destructor, and begins none. */
static int
end_while_one_runs(void)
{
    CUuserObject object;

    (void)drv_open();
    sem_init(&began, 0, 0);
    CU(cuUserObjectCreate(&object, NULL, never_return, 1, CU_USER_OBJECT_NO_DESTRUCTOR_SYNC));
    CU(cuUserObjectRelease(object, 1));
    while (sem_wait(&began) != 0)
        ;
    CU(cuUserObjectCreate(&object, NULL, never_return, 1, CU_USER_OBJECT_NO_DESTRUCTOR_SYNC));
    CU(cuUserObjectRelease(object, 1));
    return drv_result("end while one runs");
}

/* Objects are the process's that made them, not its children's. */
static void
child_of_a_process(void)
{
    int before = gone_now(), status = -1;
    CUuserObject object;
    pid_t child;

    CU(cuUserObjectCreate(&object, NULL, on_gone, 1, CU_USER_OBJECT_NO_DESTRUCTOR_SYNC));
    fflush(stdout);
    child = fork();
    if (child == 0)
        _exit(cuUserObjectRelease(object, 1) == CUDA_ERROR_NOT_INITIALIZED ? 0 : 1);
    EXPECT(waitpid(child, &status, 0) == child && status == 0 && gone_now() == before);
    CU(cuUserObjectRelease(object, 1));
    EXPECT(gone_becomes(before + 1));
    printf("a child of a process: done\n");
}

int
main(void)
{
    int ended = drv_in_child(end_while_one_runs); /* before CUDA is touched */
    CUdevice dev = drv_open();

    EXPECT(ended == 0);
    sem_init(&open_gate, 0, 0);
    CU(cuCtxGetCurrent(&ctx));
    CU(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
    CU(cuMemAlloc(&word, 4));
    counts();
    lost_captures();
    node_of_a_capture_goes();
    inside();
    updates();
    updated_and_gone();
    child_changes();
    with_a_lock();
    child_of_a_process();
    CU(cuMemFree(word));
    CU(cuStreamDestroy(stream));
    drv_close(dev);
    return drv_result("drv_user_objects");
}
