/* tests/programs/cu/threads.cu -- eight host threads allocate, copy and launch at once; every
 * result is exact
 *
 * argv[1]: rounds, 100 when absent. */
#include "check.h"

#include <thread>
#include <vector>

__global__ void
mix(uint32_t *out, const uint32_t *in, uint32_t n, uint32_t salt)
{
    uint32_t i = blockIdx.x * blockDim.x + threadIdx.x;

    if (i < n)
        out[i] = lcg_n(in[n - 1 - i] ^ salt, 4);
}

static void
work(uint32_t id, int rounds, uint64_t *wrong)
{
    const uint32_t n = 3001;
    std::vector<uint32_t> in(n), out(n);
    cudaStream_t s;

    RT(cudaStreamCreateWithFlags(&s, cudaStreamNonBlocking));
    for (int r = 0; r < rounds; r++) {
        uint32_t *a, *b, salt = id * 7919 + r;

        for (uint32_t i = 0; i < n; i++)
            in[i] = i * (r + 1);
        RT(cudaMalloc(&a, n * 4));
        RT(cudaMalloc(&b, n * 4));
        if (r % 3 == 0) {
            RT(cudaMemcpy(a, in.data(), n * 4, cudaMemcpyHostToDevice));
            mix<<<(n + 127) / 128, 128>>>(b, a, n, salt);
            RT(cudaMemcpy(out.data(), b, n * 4, cudaMemcpyDeviceToHost));
        } else {
            RT(cudaMemcpyAsync(a, in.data(), n * 4, cudaMemcpyHostToDevice, s));
            mix<<<(n + 127) / 128, 128, 0, s>>>(b, a, n, salt);
            RT(cudaMemcpyAsync(out.data(), b, n * 4, cudaMemcpyDeviceToHost, s));
            RT(cudaStreamSynchronize(s));
        }
        for (uint32_t i = 0; i < n; i++)
            *wrong += out[i] != lcg_n(in[n - 1 - i] ^ salt, 4);
        RT(cudaFree(a));
        RT(cudaFree(b));
    }
    RT(cudaStreamDestroy(s));
}

int
main(int argc, char **argv)
{
    const int count = 8, rounds = argc > 1 ? std::atoi(argv[1]) : 100;
    std::vector<std::thread> threads;
    uint64_t wrong[count] = {}, sum = 0;

    for (int t = 0; t < count; t++)
        threads.emplace_back(work, t, rounds, &wrong[t]);
    for (auto &t : threads)
        t.join();
    for (uint64_t w : wrong)
        sum += w;
    EXPECT(sum == 0);
    std::printf("%d threads, %d rounds: %lu wrong\n", count, rounds, (unsigned long)sum);
    return test_result("threads");
}
