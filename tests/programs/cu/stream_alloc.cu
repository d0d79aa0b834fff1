/* tests/programs/cu/stream_alloc.cu -- cudaMallocAsync, as programs use it */
#include "check.h"

#include <vector>

__global__ void
fill(int *p, int n, int value)
{
    int i = blockIdx.x * blockDim.x + threadIdx.x;

    if (i < n)
        p[i] = value + i;
}

__global__ void
add(int *out, const int *a, const int *b, int n)
{
    int i = blockIdx.x * blockDim.x + threadIdx.x;

    if (i < n)
        out[i] = a[i] + b[i];
}

int
main()
{
    const int n = 10000, rounds = 50;
    std::vector<int> host(n);
    cudaStream_t s;
    cudaMemPool_t pool;
    unsigned long long keep = ~0ull, used = 1;
    int wrong = 0;

    RT(cudaStreamCreate(&s));
    RT(cudaDeviceGetDefaultMemPool(&pool, 0));
    RT(cudaMemPoolSetAttribute(pool, cudaMemPoolAttrReleaseThreshold, &keep));
    for (int r = 0; r < rounds; r++) {
        int *a, *b, *c;

        RT(cudaMallocAsync(&a, n * sizeof(int), s));
        RT(cudaMallocAsync(&b, n * sizeof(int), s));
        RT(cudaMallocFromPoolAsync(&c, n * sizeof(int), pool, s));
        fill<<<(n + 127) / 128, 128, 0, s>>>(a, n, r);
        fill<<<(n + 127) / 128, 128, 0, s>>>(b, n, 2 * r);
        add<<<(n + 127) / 128, 128, 0, s>>>(c, a, b, n);
        RT(cudaFreeAsync(a, s));
        RT(cudaFreeAsync(b, s));
        if (r % 10 == 9) {
            RT(cudaMemcpyAsync(host.data(), c, n * sizeof(int), cudaMemcpyDeviceToHost, s));
            RT(cudaStreamSynchronize(s));
            for (int i = 0; i < n; i++)
                wrong += host[i] != 3 * r + 2 * i;
        }
        RT(cudaFreeAsync(c, s));
    }
    RT(cudaStreamSynchronize(s));
    RT(cudaMemPoolGetAttribute(pool, cudaMemPoolAttrUsedMemCurrent, &used));
    std::printf("%d wrong, %llu bytes in use\n", wrong, used);
    EXPECT(wrong == 0 && used == 0);
    RT(cudaMemPoolTrimTo(pool, 0));
    RT(cudaStreamDestroy(s));
    return test_result("stream_alloc");
}
