/* tests/programs/cu/rdc_part.cu */
#include "rdc_part.h"

#include "check.h"

extern __device__ int shared_counter;

__device__ int part_table[8] = {0, 11, 22, 33, 44, 55, 66, 77};

__device__ int
part_transform(int x)
{
    return x * x + shared_counter;
}

static __global__ void
answer(int *out)
{
    *out = shared_counter + 42;
}

int
part_launch()
{
    int *dev, got = 0;

    RT(cudaMalloc(&dev, sizeof(int)));
    answer<<<1, 1>>>(dev);
    RT(cudaMemcpy(&got, dev, sizeof(int), cudaMemcpyDeviceToHost));
    RT(cudaFree(dev));
    return got;
}
