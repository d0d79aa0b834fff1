/* tests/programs/cu/streams.cu -- one array worked on by several streams in pieces, with each kind
 * of stream and of host memory */
#include "check.h"

#include <vector>

__global__ void
init(int *p, const int *value, int rounds)
{
    int i = blockIdx.x * blockDim.x + threadIdx.x;

    for (int r = 0; r < rounds; r++)
        p[i] = p[i] + *value;
}

static void
run(int count, unsigned stream_flags, bool registered)
{
    const int n = 1 << 16, rounds = 5, part = n / count;
    std::vector<cudaStream_t> streams(count);
    int *host, *dev, *value, five = 5, wrong = 0;
    void *plain = nullptr;

    if (registered) {
        plain = std::aligned_alloc(4096, n * sizeof(int));
        host = static_cast<int *>(plain);
        RT(cudaHostRegister(host, n * sizeof(int), cudaHostRegisterDefault));
    } else {
        RT(cudaHostAlloc(&host, n * sizeof(int), cudaHostAllocDefault));
    }
    RT(cudaMalloc(&dev, n * sizeof(int)));
    RT(cudaMalloc(&value, sizeof(int)));
    RT(cudaMemcpy(value, &five, sizeof(int), cudaMemcpyHostToDevice));
    RT(cudaMemset(dev, 0, n * sizeof(int)));
    std::memset(host, 0xff, n * sizeof(int));
    for (auto &s : streams)
        RT(cudaStreamCreateWithFlags(&s, stream_flags));
    RT(cudaDeviceSynchronize());
    for (int i = 0; i < count; i++)
        init<<<part / 256, 256, 0, streams[i]>>>(dev + i * part, value, rounds);
    for (int i = 0; i < count; i++)
        RT(cudaMemcpyAsync(host + i * part, dev + i * part, part * sizeof(int),
                           cudaMemcpyDeviceToHost, streams[i]));
    RT(cudaDeviceSynchronize());
    for (int i = 0; i < n; i++)
        wrong += host[i] != 5 * rounds;
    EXPECT(wrong == 0);
    std::printf("%d streams, flags %u, %s memory: %d wrong\n", count, stream_flags,
                registered ? "registered" : "allocated", wrong);

    for (auto &s : streams)
        RT(cudaStreamDestroy(s));
    if (registered) {
        RT(cudaHostUnregister(host));
        std::free(plain);
    } else {
        RT(cudaFreeHost(host));
    }
    RT(cudaFree(dev));
    RT(cudaFree(value));
}

static void
priorities()
{
    int least, greatest, got;
    cudaStream_t s;

    RT(cudaDeviceGetStreamPriorityRange(&least, &greatest));
    EXPECT(greatest <= least);
    RT(cudaStreamCreateWithPriority(&s, cudaStreamNonBlocking, greatest));
    RT(cudaStreamGetPriority(s, &got));
    EXPECT(got == greatest);
    RT(cudaStreamDestroy(s));
    std::printf("priorities: %d to %d\n", least, greatest);
}

int
main()
{
    run(1, cudaStreamDefault, false);
    run(4, cudaStreamDefault, false);
    run(4, cudaStreamNonBlocking, false);
    run(8, cudaStreamNonBlocking, true);
    priorities();
    return test_result("streams");
}
