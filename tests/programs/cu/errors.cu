/* tests/programs/cu/errors.cu -- wrong arguments get the runtime's codes, and nothing breaks */
#include "check.h"

__global__ void
store(int *p)
{
    *p = 1;
}

int
main()
{
    size_t left, total;
    char host[16];
    int *dev, got = 0;
    void *p;

    RT(cudaMemGetInfo(&left, &total));
    EXPECT_RT(cudaErrorMemoryAllocation, cudaMalloc(&p, total * 2));
    EXPECT_RT(cudaErrorMemoryAllocation, cudaGetLastError());
    RT(cudaMalloc(&p, 0));
    EXPECT(p == nullptr);
    EXPECT_RT(cudaErrorInvalidValue, cudaFree((void *)host));
    EXPECT_RT(cudaErrorInvalidValue, cudaMalloc(nullptr, 16));
    RT(cudaMalloc(&dev, 16));
    EXPECT_RT(cudaErrorInvalidMemcpyDirection, cudaMemcpy(dev, host, 16, (cudaMemcpyKind)99));
    EXPECT_RT(cudaErrorInvalidValue, cudaMemcpy(dev, host, (size_t)1 << 40, cudaMemcpyHostToDevice));
    EXPECT_RT(cudaErrorInvalidValue, cudaMemset((void *)16, 0, 16));
    (void)cudaGetLastError();
    store<<<0, 1>>>(dev);
    EXPECT(refused_shape(cudaGetLastError()));
    store<<<1, 1, 1 << 30>>>(dev);
    EXPECT_RT(cudaErrorInvalidValue, cudaGetLastError());
    std::printf("%s: %s\n", cudaGetErrorName(cudaErrorIllegalAddress),
                cudaGetErrorString(cudaErrorIllegalAddress));
    store<<<1, 1>>>(dev);
    RT(cudaMemcpy(&got, dev, sizeof(int), cudaMemcpyDeviceToHost));
    EXPECT(got == 1);
    RT(cudaFree(dev));
    return test_result("errors");
}
