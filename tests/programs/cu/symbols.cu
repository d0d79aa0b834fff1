/* tests/programs/cu/symbols.cu -- __device__ and __constant__ variables by name */
#include "check.h"

__constant__ float weights[16];
__constant__ int scale = 3;
__device__ int counter = 5;
__device__ unsigned int table[256];
__device__ float matrix[4][4] = {{1, 2}, {0, 0, 7}};

struct point {
    double x, y;
};
__device__ point origin = {1.5, -2.5};

__global__ void
use(float *out)
{
    int i = threadIdx.x;

    out[i] = weights[i % 16] * scale + counter + matrix[1][2] + float(origin.x);
    table[i] = i * i;
    if (i == 0)
        origin.y = 99;
    atomicAdd(&counter, 1);
}

int
main()
{
    float w[16], out[256], *dev;
    unsigned back[256], wrong = 0;
    int value;
    size_t size;
    void *address;
    point p;

    for (int i = 0; i < 16; i++)
        w[i] = i + 0.5f;
    RT(cudaMemcpyToSymbol(weights, w, sizeof(w)));
    value = 100;
    RT(cudaMemcpyToSymbol(counter, &value, sizeof(value)));
    RT(cudaGetSymbolSize(&size, table));
    EXPECT(size == sizeof(back));
    RT(cudaGetSymbolAddress(&address, table));
    RT(cudaMemset(address, 0xff, size));
    RT(cudaMalloc(&dev, sizeof(out)));
    use<<<1, 256>>>(dev);
    RT(cudaMemcpy(out, dev, sizeof(out), cudaMemcpyDeviceToHost));
    RT(cudaMemcpyFromSymbol(back, table, sizeof(back)));
    RT(cudaMemcpyFromSymbol(&value, counter, sizeof(value)));
    RT(cudaMemcpyFromSymbol(&p, origin, sizeof(p)));
    for (unsigned i = 0; i < 256; i++) {
        wrong += back[i] != i * i;
        /* counter is read before or after other threads' increments, never outside */
        float low = (i % 16 + 0.5f) * 3 + 100 + 7 + 1.5f;
        wrong += out[i] < low || out[i] > low + 256;
    }
    EXPECT(wrong == 0);
    EXPECT(value == 356);
    EXPECT(p.x == 1.5 && p.y == 99);

    /* a part of a symbol, at an offset, asynchronously */
    unsigned part[4] = {9, 8, 7, 6};
    RT(cudaMemcpyToSymbolAsync(table, part, sizeof(part), 40 * 4, cudaMemcpyHostToDevice, 0));
    RT(cudaMemcpyFromSymbol(back, table, sizeof(part), 40 * 4));
    EXPECT(std::memcmp(back, part, sizeof(part)) == 0);
    RT(cudaFree(dev));
    std::printf("symbols: %u wrong, counter %d\n", wrong, value);
    return test_result("symbols");
}
