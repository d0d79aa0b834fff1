/* tests/programs/cu/reduce.cu -- sums by shuffles, votes, shared memory and atomics */
#include "check.h"

#include <vector>

__global__ void
sum(const uint32_t *in, unsigned long long *total, uint32_t *odd, uint32_t *largest, uint32_t n)
{
    __shared__ unsigned long long part[32];
    uint32_t lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    unsigned long long v = 0;
    uint32_t most = 0;

    for (uint32_t i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x) {
        v += in[i];
        most = max(most, in[i]);
    }
    for (int d = 16; d > 0; d /= 2)
        v += __shfl_down_sync(0xffffffff, v, d);
    if (lane == 0)
        part[warp] = v;
    __syncthreads();
    if (warp == 0) {
        v = lane < blockDim.x / 32 ? part[lane] : 0;
        for (int d = 16; d > 0; d /= 2)
            v += __shfl_xor_sync(0xffffffff, v, d);
        if (lane == 0)
            atomicAdd(total, v);
    }
    uint32_t ballot = __ballot_sync(0xffffffff, most & 1);
    if (lane == 0)
        atomicAdd(odd, __popc(ballot));
    atomicMax(largest, most);
}

__global__ void
histogram(const uint32_t *in, uint32_t *bins, uint32_t n)
{
    __shared__ uint32_t local[64];

    if (threadIdx.x < 64)
        local[threadIdx.x] = 0;
    __syncthreads();
    for (uint32_t i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x)
        atomicAdd(&local[in[i] >> 26], 1);
    __syncthreads();
    if (threadIdx.x < 64)
        atomicAdd(&bins[threadIdx.x], local[threadIdx.x]);
}

int
main()
{
    const uint32_t n = 300007, blocks = 12, threads = 256, stride = blocks * threads;
    std::vector<uint32_t> in(n);
    uint32_t *dev, *bins, host_bins[64], want_bins[64] = {}, odd = 0, largest = 0, wrong = 0;
    unsigned long long *totals, total = 0;
    struct {
        unsigned long long total;
        uint32_t odd, largest;
    } got;

    for (uint32_t i = 0; i < n; i++) {
        in[i] = lcg_n(i, 3);
        total += in[i];
        largest = in[i] > largest ? in[i] : largest;
        want_bins[in[i] >> 26]++;
    }
    for (uint32_t t = 0; t < stride; t++) {
        uint32_t most = 0;

        for (uint32_t i = t; i < n; i += stride)
            most = in[i] > most ? in[i] : most;
        odd += most & 1;
    }
    RT(cudaMalloc(&dev, n * 4));
    RT(cudaMalloc(&totals, sizeof(got)));
    RT(cudaMalloc(&bins, sizeof(host_bins)));
    RT(cudaMemcpy(dev, in.data(), n * 4, cudaMemcpyHostToDevice));
    RT(cudaMemset(totals, 0, sizeof(got)));
    RT(cudaMemset(bins, 0, sizeof(host_bins)));
    uint32_t *words = reinterpret_cast<uint32_t *>(totals + 1);
    sum<<<blocks, threads>>>(dev, totals, words, words + 1, n);
    histogram<<<blocks, threads>>>(dev, bins, n);
    RT(cudaMemcpy(&got, totals, sizeof(got), cudaMemcpyDeviceToHost));
    RT(cudaMemcpy(host_bins, bins, sizeof(host_bins), cudaMemcpyDeviceToHost));
    EXPECT(got.total == total);
    EXPECT(got.odd == odd);
    EXPECT(got.largest == largest);
    for (int i = 0; i < 64; i++)
        wrong += host_bins[i] != want_bins[i];
    EXPECT(wrong == 0);
    std::printf("sum %llu, odd %u, largest %u, histogram %u wrong\n", got.total, got.odd,
                got.largest, wrong);
    RT(cudaFree(dev));
    RT(cudaFree(totals));
    RT(cudaFree(bins));
    return test_result("reduce");
}
