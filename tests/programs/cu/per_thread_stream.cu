/* tests/programs/cu/per_thread_stream.cu -- built with --default-stream per-thread: the default
 * stream of each thread is its own, and the legacy stream still joins them */
#include "check.h"

#include <thread>
#include <vector>

static const int n = 1 << 14;

__global__ void
step(uint32_t *p, uint32_t rounds)
{
    uint32_t i = blockIdx.x * blockDim.x + threadIdx.x;

    p[i] = lcg_n(p[i], rounds);
}

static void
work(uint32_t *dev, uint32_t seed, uint32_t *wrong)
{
    std::vector<uint32_t> host(n);

    for (int i = 0; i < n; i++)
        host[i] = seed + i;
    RT(cudaMemcpyAsync(dev, host.data(), n * 4, cudaMemcpyHostToDevice, 0));
    for (int r = 0; r < 10; r++)
        step<<<n / 256, 256>>>(dev, 10);
    RT(cudaMemcpyAsync(host.data(), dev, n * 4, cudaMemcpyDeviceToHost, 0));
    RT(cudaStreamSynchronize(0));
    for (int i = 0; i < n; i++)
        *wrong += host[i] != lcg_n(seed + i, 100);
}

int
main()
{
    const int count = 6;
    std::vector<std::thread> threads;
    uint32_t *dev[count], wrong[count] = {}, sum = 0;
    uint32_t back;

    for (int t = 0; t < count; t++)
        RT(cudaMalloc(&dev[t], n * 4));
    for (int t = 0; t < count; t++)
        threads.emplace_back(work, dev[t], t * 1000u, &wrong[t]);
    for (auto &t : threads)
        t.join();
    for (int t = 0; t < count; t++)
        sum += wrong[t];
    EXPECT(sum == 0);
    std::printf("%d threads: %u wrong\n", count, sum);

    step<<<n / 256, 256>>>(dev[0], 500);
    step<<<n / 256, 256, 0, cudaStreamLegacy>>>(dev[0], 500);
    step<<<n / 256, 256, 0, cudaStreamPerThread>>>(dev[0], 500);
    RT(cudaMemcpy(&back, dev[0], 4, cudaMemcpyDeviceToHost));
    EXPECT(back == lcg_n(0, 1600));
    std::printf("legacy and per-thread stream: %s\n", back == lcg_n(0, 1600) ? "right" : "wrong");
    for (int t = 0; t < count; t++)
        RT(cudaFree(dev[t]));
    return test_result("per_thread_stream");
}
