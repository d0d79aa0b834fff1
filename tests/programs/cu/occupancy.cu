/* tests/programs/cu/occupancy.cu -- function attributes and occupancy agree with each other */
#include "check.h"

__global__ void
plain(int *p)
{
    p[threadIdx.x] = threadIdx.x;
}

__global__ void __launch_bounds__(128, 2)
bounded(int *p)
{
    p[threadIdx.x] = threadIdx.x;
}

__global__ void
with_shared(int *p)
{
    __shared__ int line[1024];

    line[threadIdx.x] = p[threadIdx.x];
    __syncthreads();
    p[threadIdx.x] = line[blockDim.x - 1 - threadIdx.x];
}

int
main()
{
    cudaFuncAttributes a;
    cudaDeviceProp prop;
    int blocks, grid, block, *dev;

    RT(cudaGetDeviceProperties(&prop, 0));
    RT(cudaFuncGetAttributes(&a, plain));
    EXPECT(a.maxThreadsPerBlock >= 256 && a.sharedSizeBytes == 0 && a.numRegs > 0);
    RT(cudaFuncGetAttributes(&a, bounded));
    EXPECT(a.maxThreadsPerBlock == 128);
    RT(cudaFuncGetAttributes(&a, with_shared));
    EXPECT(a.sharedSizeBytes == 4096);
    std::printf("static shared memory: %zu\n", a.sharedSizeBytes);

    RT(cudaOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, plain, 256, 0));
    EXPECT(blocks >= 1 && blocks * 256 <= prop.maxThreadsPerMultiProcessor);
    RT(cudaOccupancyMaxPotentialBlockSize(&grid, &block, plain, 0, 0));
    EXPECT(block >= 32 && block <= 1024 && grid >= prop.multiProcessorCount);
    size_t all = prop.sharedMemPerMultiprocessor;
    RT(cudaFuncSetAttribute(with_shared, cudaFuncAttributeMaxDynamicSharedMemorySize,
                            int(prop.sharedMemPerBlockOptin - 4096)));
    RT(cudaOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, with_shared, 64, all / 2 + 1));
    EXPECT(blocks <= 1); /* two of them do not fit */

    RT(cudaMalloc(&dev, 4096));
    bounded<<<1, 129>>>(dev);
    EXPECT(cudaGetLastError() != cudaSuccess);
    plain<<<1, 1025>>>(dev);
    EXPECT(refused_shape(cudaGetLastError()));
    plain<<<1, 1024>>>(dev);
    EXPECT_RT(cudaSuccess, cudaGetLastError());
    RT(cudaDeviceSynchronize());
    RT(cudaFree(dev));
    return test_result("occupancy");
}
