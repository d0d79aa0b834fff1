/* tests/programs/cu/device_printf.cu -- what kernels print reaches this program's standard output,
 * at synchronisation, in the order of the stream */
#include "check.h"

__global__ void
hello(int value)
{
    std::printf("block %d of %d, thread %d: value %d\n", blockIdx.x, gridDim.x, threadIdx.x, value);
}

__global__ void
formats(const char *text, double d)
{
    std::printf("%s|%5d|%-5d|%05d|%x|%o|%c|%%|%8.3f|%e|%g|%lld|%u\n", text, 42, 42, 42, 255u, 8u,
                'z', d, d, d, 1234567890123456789ll, 4000000000u);
    int printed = std::printf("two arguments: %d %d\n", 1, 2);
    std::printf("returned %d\n", printed);
}

__global__ void
nothing_to_format()
{
    std::printf("plain text\n");
}

int
main()
{
    char text[] = "a text in device memory", *dev;

    std::printf("before\n");
    std::fflush(stdout);
    for (int i = 0; i < 3; i++) {
        hello<<<1, 1>>>(i);
        RT(cudaGetLastError());
    }
    RT(cudaDeviceSynchronize());
    hello<<<2, 3>>>(10); /* six lines, blocks and threads in any order on a GPU */
    RT(cudaDeviceSynchronize());
    RT(cudaMalloc(&dev, sizeof(text)));
    RT(cudaMemcpy(dev, text, sizeof(text), cudaMemcpyHostToDevice));
    formats<<<1, 1>>>(dev, 3.14159);
    nothing_to_format<<<1, 1>>>();
    RT(cudaDeviceSynchronize());
    RT(cudaFree(dev));
    std::printf("after\n");
    return test_result("device_printf");
}
