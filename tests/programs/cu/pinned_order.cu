/* tests/programs/cu/pinned_order.cu -- a pinned buffer written by one queued copy and read by the
 * next, across two streams, again and again */
#include "check.h"

__global__ void
step(uint32_t *p, uint32_t n, uint32_t rounds)
{
    uint32_t i = blockIdx.x * blockDim.x + threadIdx.x;

    if (i < n)
        p[i] = lcg_n(p[i], rounds);
}

int
main()
{
    const uint32_t n = 100000, bytes = n * 4, laps = 12;
    uint32_t *a, *b, *pinned, wrong = 0;
    cudaStream_t s, t;
    cudaEvent_t there, back;

    RT(cudaMalloc(&a, bytes));
    RT(cudaMalloc(&b, bytes));
    RT(cudaMallocHost(&pinned, bytes));
    RT(cudaStreamCreateWithFlags(&s, cudaStreamNonBlocking));
    RT(cudaStreamCreateWithFlags(&t, cudaStreamNonBlocking));
    RT(cudaEventCreateWithFlags(&there, cudaEventDisableTiming));
    RT(cudaEventCreateWithFlags(&back, cudaEventDisableTiming));
    for (uint32_t i = 0; i < n; i++)
        pinned[i] = i;
    RT(cudaMemcpyAsync(a, pinned, bytes, cudaMemcpyHostToDevice, s));
    for (uint32_t lap = 0; lap < laps; lap++) {
        step<<<(n + 255) / 256, 256, 0, s>>>(a, n, 50);
        RT(cudaMemcpyAsync(pinned, a, bytes, cudaMemcpyDeviceToHost, s));
        RT(cudaEventRecord(there, s));
        RT(cudaStreamWaitEvent(t, there, 0));
        RT(cudaMemcpyAsync(b, pinned, bytes, cudaMemcpyHostToDevice, t));
        step<<<(n + 255) / 256, 256, 0, t>>>(b, n, 50);
        RT(cudaMemcpyAsync(pinned, b, bytes, cudaMemcpyDeviceToHost, t));
        RT(cudaEventRecord(back, t));
        RT(cudaStreamWaitEvent(s, back, 0));
        RT(cudaMemcpyAsync(a, pinned, bytes, cudaMemcpyHostToDevice, s));
    }
    RT(cudaDeviceSynchronize());
    for (uint32_t i = 0; i < n; i++)
        wrong += pinned[i] != lcg_n(i, laps * 100);
    EXPECT(wrong == 0);
    std::printf("%u laps through pinned memory: %u wrong\n", laps, wrong);
    RT(cudaStreamDestroy(s));
    RT(cudaStreamDestroy(t));
    RT(cudaEventDestroy(there));
    RT(cudaEventDestroy(back));
    RT(cudaFreeHost(pinned));
    RT(cudaFree(a));
    RT(cudaFree(b));
    return test_result("pinned_order");
}
