/* tests/programs/cu/device_assert.cu -- a failed assertion in a kernel stops it and is reported */
#undef NDEBUG
#include "check.h"

#include <cassert>

__global__ void
check_positive(const int *p)
{
    assert(p[threadIdx.x] > 0);
}

int
main()
{
    int good[32], bad[32], *dev;

    for (int i = 0; i < 32; i++)
        good[i] = bad[i] = i + 1;
    bad[17] = -1;
    RT(cudaMalloc(&dev, sizeof(good)));
    RT(cudaMemcpy(dev, good, sizeof(good), cudaMemcpyHostToDevice));
    check_positive<<<1, 32>>>(dev);
    EXPECT_RT(cudaSuccess, cudaDeviceSynchronize());
    RT(cudaMemcpy(dev, bad, sizeof(bad), cudaMemcpyHostToDevice));
    check_positive<<<1, 32>>>(dev);
    EXPECT_RT(cudaErrorAssert, cudaDeviceSynchronize());
    EXPECT_RT(cudaErrorAssert, cudaFree(dev)); /* and it sticks */
    return test_result("device_assert");
}
