/* tests/programs/c/drv_mistakes.c -- mistakes that other remote CUDA libraries made, where no other
 * program looks for them (tests/README.md has the list) */
#include "drv.h"
#include "vector_ptx.h"

#include <pthread.h>
#include <stdatomic.h>

#define N 4096u

static CUcontext ctx;
static CUfunction mul_add;

/* Outputs that are NULL: both sides must agree on what comes back. */
static void
optional_outputs(void)
{
    static const char text[] = ".version 7.0\n.target sm_70\n.address_size 64\n"
                               ".visible .global .align 4 .u32 word = 41;\n"
                               ".visible .entry nothing() { ret; }\n";
    CUdeviceptr p = 0, q;
    CUmodule mod;
    size_t bytes = 0;

    CU(cuModuleLoadData(&mod, text));
    CU(cuModuleGetGlobal(&p, NULL, mod, "word"));
    CU(cuModuleGetGlobal(NULL, &bytes, mod, "word"));
    EXPECT(bytes == 4 && drv_word_at(p) == 41);
    CU(cuMemGetAddressRange(NULL, &bytes, p));
    CU(cuMemGetAddressRange(&q, NULL, p));
    EXPECT(q == p && bytes == 4);
    CU(cuModuleUnload(mod));
    printf("optional outputs: done\n");
}

/* Parameters of nodes had 56 bytes before CUDA 12: nothing behind them may be read. */
static void
old_structures(void)
{
    CUDA_KERNEL_NODE_PARAMS_v1 *old, got;
    uint32_t factor = 3, addend = 1, n = 1;
    CUdeviceptr p;
    void *params[] = {&p, &factor, &addend, &n};
    CUgraphExec exec;
    CUgraphNode node;
    CUgraph graph;

    CU(cuMemAlloc(&p, 4));
    CU(cuMemsetD32(p, 5, 1));
    old = malloc(sizeof(*old));
    *old = (CUDA_KERNEL_NODE_PARAMS_v1){.func = mul_add,
                                        .gridDimX = 1,
                                        .gridDimY = 1,
                                        .gridDimZ = 1,
                                        .blockDimX = 1,
                                        .blockDimY = 1,
                                        .blockDimZ = 1,
                                        .kernelParams = params};
    CU(cuGraphCreate(&graph, 0));
    CU(cuGraphAddKernelNode(&node, graph, NULL, 0, old));
    free(old);
    CU(cuGraphKernelNodeGetParams(node, &got));
    EXPECT(got.func == mul_add && *(uint32_t *)got.kernelParams[1] == 3);
    CU(cuGraphInstantiateWithFlags(&exec, graph, 0));
    CU(cuGraphLaunch(exec, NULL));
    EXPECT(drv_word_at(p) == 16);
    CU(cuGraphExecDestroy(exec));
    CU(cuGraphDestroy(graph));
    CU(cuMemFree(p));
    printf("old structures: done\n");
}

/* What a graph brought out is the program's once a synchronisation proved it: a later one must not
 * bring it again, over what the program wrote since. */
static void
graph_output_comes_once(void)
{
    CUstream stream, other;
    CUgraphExec exec;
    CUdeviceptr p;
    CUgraph graph;
    uint32_t *host;

    CU(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
    CU(cuStreamCreate(&other, CU_STREAM_NON_BLOCKING));
    CU(cuMemAlloc(&p, 4));
    CU(cuMemsetD32(p, 77, 1));
    CU(cuMemAllocHost((void **)&host, 4));
    CU(cuCtxSynchronize());
    CU(cuStreamBeginCapture_v2(stream, CU_STREAM_CAPTURE_MODE_RELAXED));
    CU(cuMemcpyDtoHAsync(host, p, 4, stream));
    CU(cuStreamEndCapture(stream, &graph));
    CU(cuGraphInstantiateWithFlags(&exec, graph, 0));
    for (uint32_t round = 0; round < 3; round++) {
        *host = 0;
        CU(cuGraphLaunch(exec, stream));
        CU(cuCtxSynchronize()); /* the context's brings it too */
        EXPECT(*host == 77);
        *host = round;
        CU(cuStreamSynchronize(stream));
        CU(cuStreamSynchronize(other));
        CU(cuMemsetD32Async(p, 77, 1, other));
        CU(cuCtxSynchronize());
        EXPECT(*host == round);
    }
    CU(cuGraphExecDestroy(exec));
    CU(cuGraphDestroy(graph));
    CU(cuStreamDestroy(stream));
    CU(cuStreamDestroy(other));
    CU(cuMemFreeHost(host));
    CU(cuMemFree(p));
    printf("a graph's output comes once: done\n");
}

/* An event of the default stream proves the copies of blocking streams before it. */
static void
default_stream_event(void)
{
    CUstream blocking;
    CUdeviceptr p;
    CUevent event;
    uint32_t *host;

    CU(cuStreamCreate(&blocking, CU_STREAM_DEFAULT));
    CU(cuEventCreate(&event, CU_EVENT_DISABLE_TIMING));
    CU(cuMemAlloc(&p, 4));
    CU(cuMemAllocHost((void **)&host, 4));
    for (uint32_t i = 1; i <= 200; i++) {
        CU(cuMemsetD32Async(p, i, 1, blocking));
        CU(cuMemcpyDtoHAsync(host, p, 4, blocking));
        CU(cuEventRecord(event, NULL));
        if (i % 2 == 0)
            CU(cuEventSynchronize(event));
        else
            while (cuEventQuery(event) == CUDA_ERROR_NOT_READY)
                ;
        EXPECT(*host == i);
    }
    CU(cuEventDestroy(event));
    CU(cuStreamDestroy(blocking));
    CU(cuMemFreeHost(host));
    CU(cuMemFree(p));
    printf("an event of the default stream: done\n");
}

struct relay {
    CUdeviceptr p;
    _Atomic uint32_t turn; /* even: the launcher's, odd: the filler's */
    uint32_t rounds;
};

static void *
launcher(void *user)
{
    struct relay *r = user;
    uint32_t factor = 1, n = N;
    void *params[] = {&r->p, &factor, NULL, &n};

    CU(cuCtxSetCurrent(ctx));
    for (uint32_t i = 0; i < r->rounds; i++) {
        uint32_t addend = i + 1;

        while (atomic_load(&r->turn) != 2 * i)
            sched_yield();
        params[2] = &addend;
        drv_launch(mul_add, N, NULL, params);
        atomic_store(&r->turn, 2 * i + 1);
    }
    return NULL;
}

/* One thread launches, another fills behind it: the order is that of the calls. */
static void
order_of_two_threads(void)
{
    struct relay r = {.rounds = 512};
    pthread_t thread;
    uint32_t wrong = 0;

    CU(cuMemAlloc(&r.p, N * 4));
    CU(cuMemsetD32(r.p, 0, N));
    pthread_create(&thread, NULL, launcher, &r);
    for (uint32_t i = 0; i < r.rounds; i++) {
        while (atomic_load(&r.turn) != 2 * i + 1)
            sched_yield();
        CU(cuMemsetD32(r.p + 4 * (i % N), 0, 1)); /* the launch before made it i + something */
        if (i % 64 == 63)
            wrong += drv_word_at(r.p + 4 * (i % N)) != 0;
        atomic_store(&r.turn, 2 * i + 2);
    }
    pthread_join(thread, NULL);
    /* Word i was filled in round i and got what the later rounds added. */
    for (uint32_t i = 0; i < r.rounds; i += 37) {
        uint32_t want = 0;

        for (uint32_t later = i + 1; later < r.rounds; later++)
            want += later + 1;
        wrong += drv_word_at(r.p + 4 * i) != want;
    }
    EXPECT(wrong == 0);
    CU(cuMemFree(r.p));
    printf("order of two threads: %u wrong\n", wrong);
}

#define ASKED 8

static struct {
    CUevent events[ASKED];
    CUstream streams[ASKED];
    CUgraphExec execs[ASKED];
} asked;
static _Atomic bool stop;

/* There or not; through a pool what a call did too late is told by a later one, maybe of the other
 * thread. */
static void
told(CUresult cr)
{
    EXPECT(cr == CUDA_SUCCESS || cr == CUDA_ERROR_NOT_READY || cr == CUDA_ERROR_INVALID_HANDLE ||
           cr == CUDA_ERROR_INVALID_VALUE);
}

static void *
asks(void *user)
{
    (void)user;
    CU(cuCtxSetCurrent(ctx));
    while (!atomic_load(&stop))
        for (int i = 0; i < ASKED; i++) {
            cuuint64_t flags;

            told(cuEventQuery(asked.events[i]));
            told(cuStreamQuery(asked.streams[i]));
            told(cuStreamSynchronize(asked.streams[i]));
            told(cuGraphExecGetFlags(asked.execs[i], &flags));
            told(cuGraphLaunch(asked.execs[i], NULL));
        }
    return NULL;
}

/* Events, streams and executable graphs are destroyed while another thread asks for them. */
static void
destroyed_while_asked(void)
{
    CUgraphNode node;
    CUgraph graph;
    pthread_t thread;
    CUdeviceptr p;

    CU(cuMemAlloc(&p, 4 * N));
    CU(cuGraphCreate(&graph, 0));
    CU(cuGraphAddEmptyNode(&node, graph, NULL, 0));
    for (int i = 0; i < ASKED; i++) {
        CU(cuEventCreate(&asked.events[i], CU_EVENT_DISABLE_TIMING));
        CU(cuStreamCreate(&asked.streams[i], CU_STREAM_NON_BLOCKING));
        CU(cuGraphInstantiateWithFlags(&asked.execs[i], graph, 0));
    }
    pthread_create(&thread, NULL, asks, NULL);
    for (int i = 0; i < ASKED; i++) {
        told(cuEventRecord(asked.events[i], NULL));
        CU(cuEventDestroy(asked.events[i]));
        told(cuMemsetD32Async(p, 1, N, asked.streams[i]));
        CU(cuStreamDestroy(asked.streams[i]));
        CU(cuGraphExecDestroy(asked.execs[i]));
        told(cuCtxSynchronize());
    }
    atomic_store(&stop, true);
    pthread_join(thread, NULL);
    told(cuCtxSynchronize());
    CU(cuGraphDestroy(graph));
    CU(cuMemFree(p));
    printf("destroyed while asked for: done\n");
}

/* The link's output is valid until the link is destroyed, and the module outlives both. */
static void
link_destroyed_first(void)
{
    static char text[] = ".version 7.0\n.target sm_70\n.address_size 64\n"
                         ".visible .global .align 4 .u32 word = 43;\n"
                         ".visible .entry nothing() { ret; }\n";
    CUlinkState link;
    CUdeviceptr p;
    CUmodule mod;
    size_t size;
    void *image;

    CU(cuLinkCreate(0, NULL, NULL, &link));
    CU(cuLinkAddData(link, CU_JIT_INPUT_PTX, text, sizeof(text), "text", 0, NULL, NULL));
    CU(cuLinkComplete(link, &image, &size));
    CU(cuModuleLoadData(&mod, image));
    CU(cuLinkDestroy(link));
    CU(cuModuleGetGlobal(&p, NULL, mod, "word"));
    EXPECT(drv_word_at(p) == 43);
    CU(cuModuleUnload(mod));
    printf("a link destroyed first: done\n");
}

/* A hundred questions for a parameter that is not there, and true numbers of registers. */
static void
kernels_are_described(void)
{
    size_t offset;
    int registers = 0, threads = 0;

    for (int i = 0; i < 100; i++)
        EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuFuncGetParamInfo(mul_add, 4, &offset, NULL));
    CU(cuFuncGetAttribute(&registers, CU_FUNC_ATTRIBUTE_NUM_REGS, mul_add));
    CU(cuFuncGetAttribute(&threads, CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK, mul_add));
    EXPECT(registers > 0 && threads >= 32);
    printf("kernels are described: done\n");
}

int
main(void)
{
    CUdevice dev = drv_open();

    CU(cuCtxGetCurrent(&ctx));
    mul_add = drv_kernel(vector_ptx, "mul_add_u32");
    optional_outputs();
    old_structures();
    graph_output_comes_once();
    default_stream_event();
    order_of_two_threads();
    destroyed_while_asked();
    link_destroyed_first();
    kernels_are_described();
    drv_close(dev);
    return drv_result("drv_mistakes");
}
