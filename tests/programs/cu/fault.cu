/* tests/programs/cu/fault.cu -- an illegal access ends the context, cudaDeviceReset heals it */
#include "check.h"

__global__ void
write_to(int *p, int value)
{
    *p = value;
}

int
main()
{
    int *dev, got = 0;

    RT(cudaMalloc(&dev, sizeof(int)));
    write_to<<<1, 1>>>(nullptr, 1);
    EXPECT_RT(cudaErrorIllegalAddress, cudaDeviceSynchronize());
    EXPECT_RT(cudaErrorIllegalAddress, cudaGetLastError());
    EXPECT_RT(cudaErrorIllegalAddress, cudaMemcpy(&got, dev, sizeof(int), cudaMemcpyDeviceToHost));
    EXPECT_RT(cudaErrorIllegalAddress, cudaStreamSynchronize(0));
    cudaDeviceReset();
    (void)cudaGetLastError();
    RT(cudaMalloc(&dev, sizeof(int)));
    write_to<<<1, 1>>>(dev, 4711);
    RT(cudaMemcpy(&got, dev, sizeof(int), cudaMemcpyDeviceToHost));
    EXPECT(got == 4711);
    std::printf("after the reset: %d\n", got);
    return test_result("fault");
}
