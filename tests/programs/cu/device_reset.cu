/* tests/programs/cu/device_reset.cu -- cudaDeviceReset, then on as if nothing had been */
#include "check.h"

__device__ int generation = 1;

__global__ void
bump(int *out)
{
    generation++;
    *out = generation;
}

static void CUDART_CB
raise_flag(void *p)
{
    *static_cast<int *>(p) = 1;
}

static int
use(void)
{
    int *dev, got = 0, flag = 0;
    cudaStream_t s;
    cudaEvent_t e;

    RT(cudaMalloc(&dev, 1 << 20));
    RT(cudaStreamCreate(&s));
    RT(cudaEventCreate(&e));
    bump<<<1, 1, 0, s>>>(dev);
    bump<<<1, 1, 0, s>>>(dev);
    RT(cudaMemcpyAsync(&got, dev, sizeof(int), cudaMemcpyDeviceToHost, s));
    RT(cudaLaunchHostFunc(s, raise_flag, &flag));
    RT(cudaEventRecord(e, s));
    RT(cudaEventSynchronize(e));
    EXPECT(flag == 1);
    return got;
}

int
main()
{
    size_t before, after, total;

    RT(cudaFree(0));
    RT(cudaMemGetInfo(&before, &total));
    for (int i = 0; i < 4; i++) {
        int got = use(); /* leaves memory, a stream and an event behind */

        EXPECT(got == 3); /* device variables are new after each reset */
        std::printf("round %d: %d\n", i, got);
        RT(cudaDeviceReset());
    }
    RT(cudaMemGetInfo(&after, &total));
    EXPECT(after + (8 << 20) > before);
    return test_result("device_reset");
}
