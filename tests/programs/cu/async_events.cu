/* tests/programs/cu/async_events.cu -- the CPU goes on while the device works, events tell when */
#include "check.h"

__global__ void
advance(uint32_t *p, uint32_t rounds)
{
    uint32_t i = blockIdx.x * blockDim.x + threadIdx.x;

    p[i] = lcg_n(p[i], rounds);
}

int
main()
{
    const uint32_t n = 1 << 18, rounds = 400;
    uint32_t *host, *dev, wrong = 0;
    unsigned long polls = 0;
    cudaEvent_t start, stop;
    cudaError_t err;
    float ms = -1;

    RT(cudaMallocHost(&host, n * 4));
    RT(cudaMalloc(&dev, n * 4));
    RT(cudaMemset(dev, 0xff, n * 4));
    RT(cudaEventCreate(&start));
    RT(cudaEventCreate(&stop));
    for (uint32_t i = 0; i < n; i++)
        host[i] = i;
    RT(cudaDeviceSynchronize());

    RT(cudaEventRecord(start));
    RT(cudaMemcpyAsync(dev, host, n * 4, cudaMemcpyHostToDevice));
    advance<<<n / 256, 256>>>(dev, rounds);
    RT(cudaMemcpyAsync(host, dev, n * 4, cudaMemcpyDeviceToHost));
    RT(cudaEventRecord(stop));
    while ((err = cudaEventQuery(stop)) == cudaErrorNotReady)
        polls++;
    RT(err);
    RT(cudaEventElapsedTime(&ms, start, stop));
    EXPECT(polls > 0); /* none of the calls waited for the device */
    EXPECT(ms > 0);
    for (uint32_t i = 0; i < n; i++)
        wrong += host[i] != lcg_n(i, rounds);
    EXPECT(wrong == 0);
    std::printf("%u words: %u wrong\n", n, wrong);

    RT(cudaEventDestroy(start));
    RT(cudaEventDestroy(stop));
    RT(cudaFreeHost(host));
    RT(cudaFree(dev));
    return test_result("async_events");
}
