/* tests/programs/cu/callbacks.cu -- host functions between device work, from several host threads;
 * each function hands its piece of work on to a thread that waits for it */
#include "check.h"

#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

__global__ void
increment(int *p, int by, int n)
{
    int i = blockIdx.x * blockDim.x + threadIdx.x;

    if (i < n)
        p[i] += by;
}

struct work {
    int id;
    int *host, *dev;
    cudaStream_t stream;
    std::vector<int> order; /* what the host functions saw, in their order */
    std::mutex lock;
    std::condition_variable changed;
    bool done = false;
};

static const int n = 20000;

static void CUDART_CB
first(void *p)
{
    work *w = static_cast<work *>(p);

    w->order.push_back(w->host[0]);
    w->host[0] += 1000000; /* seen by the copy that follows */
}

static void CUDART_CB
last(cudaStream_t, cudaError_t status, void *p)
{
    work *w = static_cast<work *>(p);

    w->order.push_back(w->host[0]);
    std::lock_guard<std::mutex> hold(w->lock);
    w->done = status == cudaSuccess;
    w->changed.notify_one();
}

static void
submit(work *w)
{
    RT(cudaStreamCreateWithFlags(&w->stream, cudaStreamNonBlocking));
    RT(cudaMallocHost(&w->host, n * sizeof(int)));
    RT(cudaMalloc(&w->dev, n * sizeof(int)));
    for (int i = 0; i < n; i++)
        w->host[i] = w->id * 100 + i;
    RT(cudaMemcpyAsync(w->dev, w->host, n * sizeof(int), cudaMemcpyHostToDevice, w->stream));
    increment<<<(n + 127) / 128, 128, 0, w->stream>>>(w->dev, 7, n);
    RT(cudaMemcpyAsync(w->host, w->dev, n * sizeof(int), cudaMemcpyDeviceToHost, w->stream));
    RT(cudaLaunchHostFunc(w->stream, first, w));
    RT(cudaMemcpyAsync(w->dev, w->host, n * sizeof(int), cudaMemcpyHostToDevice, w->stream));
    increment<<<(n + 127) / 128, 128, 0, w->stream>>>(w->dev, 3, n);
    RT(cudaMemcpyAsync(w->host, w->dev, n * sizeof(int), cudaMemcpyDeviceToHost, w->stream));
    RT(cudaStreamAddCallback(w->stream, last, w, 0));
}

static int
finish(work *w)
{
    int wrong = 0, base = w->id * 100;

    std::unique_lock<std::mutex> hold(w->lock);
    w->changed.wait(hold, [w] { return w->done; });
    wrong += w->order.size() != 2 || w->order[0] != base + 7 || w->order[1] != base + 1000010;
    wrong += w->host[0] != base + 1000010;
    for (int i = 1; i < n; i++)
        wrong += w->host[i] != base + i + 10;
    hold.unlock();
    RT(cudaStreamDestroy(w->stream));
    RT(cudaFreeHost(w->host));
    RT(cudaFree(w->dev));
    return wrong;
}

int
main()
{
    const int count = 8;
    std::vector<work> works(count);
    std::vector<std::thread> threads;
    int wrong = 0;

    for (int i = 0; i < count; i++) {
        works[i].id = i;
        threads.emplace_back(submit, &works[i]);
    }
    for (auto &t : threads)
        t.join();
    for (auto &w : works)
        wrong += finish(&w);
    EXPECT(wrong == 0);
    std::printf("%d pieces of work: %d wrong\n", count, wrong);
    return test_result("callbacks");
}
