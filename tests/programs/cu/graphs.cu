/* tests/programs/cu/graphs.cu -- graphs by the runtime API: captured and made by hand, updated,
 * with memory of their own, with several streams and threads */
#include "check.h"

#include <atomic>
#include <thread>
#include <vector>

static const int n = 4096;

__global__ void
scale(int *p, int factor, int addend, int count)
{
    int i = blockIdx.x * blockDim.x + threadIdx.x;

    if (i < count)
        p[i] = p[i] * factor + addend;
}

__global__ void
sum(const int *a, const int *b, int *to, int count)
{
    int i = blockIdx.x * blockDim.x + threadIdx.x;

    if (i < count)
        to[i] = a[i] + b[i];
}

static int
wrong(const int *p, int want)
{
    int bad = 0;

    for (int i = 0; i < n; i++)
        bad += p[i] != want;
    return bad;
}

struct seen {
    const int *host;
    std::atomic<int> calls{0}, last{0};
};

static void CUDART_CB
look(void *p)
{
    seen *s = static_cast<seen *>(p);

    s->last = s->host[n - 1];
    s->calls++;
}

/* Two branches on two streams, a host function between them. */
static void
branches(void)
{
    int *a, *b, *c, *host;
    cudaStream_t one, two;
    cudaEvent_t fork, join;
    cudaGraphExec_t exec;
    cudaGraph_t graph;
    seen s;

    RT(cudaMalloc(&a, n * sizeof(int)));
    RT(cudaMalloc(&b, n * sizeof(int)));
    RT(cudaMalloc(&c, n * sizeof(int)));
    RT(cudaMallocHost(&host, n * sizeof(int)));
    RT(cudaStreamCreate(&one));
    RT(cudaStreamCreateWithFlags(&two, cudaStreamNonBlocking));
    RT(cudaEventCreateWithFlags(&fork, cudaEventDisableTiming));
    RT(cudaEventCreateWithFlags(&join, cudaEventDisableTiming));
    s.host = host;
    RT(cudaStreamBeginCapture(one, cudaStreamCaptureModeGlobal));
    RT(cudaMemcpyAsync(a, host, n * sizeof(int), cudaMemcpyHostToDevice, one));
    RT(cudaEventRecord(fork, one));
    RT(cudaStreamWaitEvent(two, fork, 0));
    RT(cudaMemcpyAsync(b, a, n * sizeof(int), cudaMemcpyDeviceToDevice, two));
    scale<<<n / 128, 128, 0, two>>>(b, 3, 1, n);
    scale<<<n / 128, 128, 0, one>>>(a, 10, 0, n);
    RT(cudaEventRecord(join, two));
    RT(cudaStreamWaitEvent(one, join, 0));
    sum<<<n / 128, 128, 0, one>>>(a, b, c, n);
    RT(cudaMemcpyAsync(host, c, n * sizeof(int), cudaMemcpyDeviceToHost, one));
    RT(cudaLaunchHostFunc(one, look, &s));
    RT(cudaStreamEndCapture(one, &graph));
    RT(cudaGraphInstantiate(&exec, graph, 0));
    for (int i = 0; i < n; i++)
        host[i] = 1;
    /* Each launch reads what the one before left: x -> 13 x + 1. */
    for (int i = 0; i < 4; i++)
        RT(cudaGraphLaunch(exec, i % 2 == 0 ? one : two));
    RT(cudaDeviceSynchronize());
    EXPECT(s.calls == 4);
    printf("branches: %d, last seen %d, %d wrong\n", host[0], s.last.load(), wrong(host, host[0]));
    RT(cudaGraphExecDestroy(exec));
    RT(cudaGraphDestroy(graph));
    RT(cudaEventDestroy(fork));
    RT(cudaEventDestroy(join));
    RT(cudaStreamDestroy(one));
    RT(cudaStreamDestroy(two));
    RT(cudaFreeHost(host));
    RT(cudaFree(a));
    RT(cudaFree(b));
    RT(cudaFree(c));
}

static cudaGraphNode_t
add_scale(cudaGraph_t graph, cudaGraphNode_t *dep, int *p, int factor, int addend)
{
    int count = n;
    void *args[] = {&p, &factor, &addend, &count};
    cudaKernelNodeParams params = {};
    cudaGraphNode_t node;

    params.func = (void *)scale;
    params.gridDim = dim3(n / 128);
    params.blockDim = dim3(128);
    params.kernelParams = args;
    RT(cudaGraphAddKernelNode(&node, graph, dep, dep != nullptr ? 1 : 0, &params));
    return node;
}

static void
by_hand(void)
{
    std::vector<int> host(n), out(n);
    cudaGraphNode_t in, k1, k2, back;
    cudaGraphExecUpdateResultInfo info;
    cudaGraph_t graph, other;
    cudaGraphExec_t exec;
    cudaStream_t stream;
    int *p;

    RT(cudaStreamCreate(&stream));
    RT(cudaMalloc(&p, n * sizeof(int)));
    RT(cudaGraphCreate(&graph, 0));
    RT(cudaGraphAddMemcpyNode1D(&in, graph, nullptr, 0, p, host.data(), n * sizeof(int),
                                cudaMemcpyHostToDevice));
    k1 = add_scale(graph, &in, p, 2, 1);
    k2 = add_scale(graph, &k1, p, 3, 0);
    RT(cudaGraphAddMemcpyNode1D(&back, graph, &k2, 1, out.data(), p, n * sizeof(int),
                                cudaMemcpyDeviceToHost));
    RT(cudaGraphInstantiate(&exec, graph, 0));
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < n; i++)
            host[i] = round;
        RT(cudaGraphLaunch(exec, stream));
        RT(cudaStreamSynchronize(stream));
        EXPECT(wrong(out.data(), 6 * round + 3) == 0);
    }
    printf("by hand: %d", out[0]);

    int factor = 7, addend = 7, count = n;
    void *args[] = {&p, &factor, &addend, &count};
    cudaKernelNodeParams params = {};
    params.func = (void *)scale;
    params.gridDim = dim3(n / 128);
    params.blockDim = dim3(128);
    params.kernelParams = args;
    RT(cudaGraphExecKernelNodeSetParams(exec, k2, &params));
    RT(cudaGraphLaunch(exec, stream));
    RT(cudaStreamSynchronize(stream));
    EXPECT(wrong(out.data(), 42) == 0);
    printf(" %d", out[0]);

    RT(cudaStreamBeginCapture(stream, cudaStreamCaptureModeRelaxed));
    RT(cudaMemcpyAsync(p, host.data(), n * sizeof(int), cudaMemcpyHostToDevice, stream));
    scale<<<n / 128, 128, 0, stream>>>(p, 1, 1, n);
    scale<<<n / 128, 128, 0, stream>>>(p, 1, 1, n);
    RT(cudaMemcpyAsync(out.data(), p, n * sizeof(int), cudaMemcpyDeviceToHost, stream));
    RT(cudaStreamEndCapture(stream, &other));
    RT(cudaGraphExecUpdate(exec, other, &info));
    EXPECT(info.result == cudaGraphExecUpdateSuccess);
    RT(cudaGraphLaunch(exec, stream));
    RT(cudaStreamSynchronize(stream));
    EXPECT(wrong(out.data(), 4) == 0);
    printf(" %d\n", out[0]);
    RT(cudaGraphDestroy(other));
    RT(cudaGraphDestroy(graph));
    RT(cudaGraphExecDestroy(exec));
    RT(cudaFree(p));
    RT(cudaStreamDestroy(stream));
}

/* Stream-ordered memory inside a capture: nodes of the graph. */
static void
own_memory(void)
{
    std::vector<int> out(n);
    cudaGraphExec_t exec;
    cudaGraph_t graph;
    cudaStream_t stream;
    int *p, *kept;

    RT(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
    RT(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal));
    RT(cudaMallocAsync(&p, n * sizeof(int), stream));
    RT(cudaMemsetAsync(p, 0, n * sizeof(int), stream));
    scale<<<n / 128, 128, 0, stream>>>(p, 1, 5, n);
    RT(cudaMallocAsync(&kept, n * sizeof(int), stream));
    RT(cudaMemcpyAsync(kept, p, n * sizeof(int), cudaMemcpyDeviceToDevice, stream));
    RT(cudaFreeAsync(p, stream));
    RT(cudaStreamEndCapture(stream, &graph));
    RT(cudaGraphInstantiate(&exec, graph, 0));
    for (int i = 0; i < 3; i++) {
        RT(cudaGraphLaunch(exec, stream));
        scale<<<n / 128, 128, 0, stream>>>(kept, 2, i, n);
        RT(cudaMemcpyAsync(out.data(), kept, n * sizeof(int), cudaMemcpyDeviceToHost, stream));
        RT(cudaFreeAsync(kept, stream));
        RT(cudaStreamSynchronize(stream));
        EXPECT(wrong(out.data(), 10 + i) == 0);
    }
    printf("own memory: %d\n", out[0]);
    RT(cudaGraphExecDestroy(exec));
    RT(cudaGraphDestroy(graph));
    RT(cudaStreamDestroy(stream));
}

/* Threads that capture and launch at once, each on its own per-thread stream. */
static void
threads(void)
{
    std::vector<std::thread> all;
    std::atomic<int> bad{0};

    for (int t = 0; t < 4; t++)
        all.emplace_back([t, &bad] {
            std::vector<int> out(n);
            cudaGraphExec_t exec;
            cudaGraph_t graph;
            seen s;
            int *p;

            s.host = out.data();
            RT(cudaMalloc(&p, n * sizeof(int)));
            for (int round = 0; round < 5; round++) {
                RT(cudaStreamBeginCapture(cudaStreamPerThread, cudaStreamCaptureModeRelaxed));
                RT(cudaMemsetAsync(p, 0, n * sizeof(int), cudaStreamPerThread));
                for (int i = 0; i < 10; i++)
                    scale<<<n / 128, 128, 0, cudaStreamPerThread>>>(p, 1, t + round, n);
                RT(cudaMemcpyAsync(out.data(), p, n * sizeof(int), cudaMemcpyDeviceToHost,
                                   cudaStreamPerThread));
                RT(cudaLaunchHostFunc(cudaStreamPerThread, look, &s));
                RT(cudaStreamEndCapture(cudaStreamPerThread, &graph));
                RT(cudaGraphInstantiate(&exec, graph, 0));
                for (int i = 0; i < 3; i++)
                    RT(cudaGraphLaunch(exec, cudaStreamPerThread));
                RT(cudaGraphExecDestroy(exec));
                RT(cudaGraphDestroy(graph));
                RT(cudaStreamSynchronize(cudaStreamPerThread));
                bad += wrong(out.data(), 10 * (t + round));
                bad += s.last != 10 * (t + round);
            }
            bad += s.calls != 15;
            RT(cudaFree(p));
        });
    for (std::thread &t : all)
        t.join();
    EXPECT(bad == 0);
    printf("threads: %d wrong\n", bad.load());
}

int
main(void)
{
    branches();
    by_hand();
    own_memory();
    threads();
    return test_result("graphs");
}
