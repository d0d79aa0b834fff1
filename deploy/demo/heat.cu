/* deploy/demo/heat.cu -- heat spreading over a plate, computed on a GPU and checked on the CPU
 *
 * An ordinary CUDA program, built by nvcc with its default options; it knows
 * nothing of gpupool. Exit status: 0 right, 1 wrong, 2 the device failed. */
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <utility>
#include <vector>

#define RT(call)                                                                                   \
    do {                                                                                           \
        cudaError_t err = (call);                                                                  \
        if (err != cudaSuccess) {                                                                  \
            std::fprintf(stderr, "heat: %s: %s\n", #call, cudaGetErrorString(err));                \
            std::exit(2);                                                                          \
        }                                                                                          \
    } while (0)

static const int width = 320, height = 240, steps = 60;
static const float rate = 0.2f;

/* The same arithmetic on both sides: sums in this order, one fused step. */
static inline __host__ __device__ float
next(const float *p, int x, int y)
{
    float here = p[y * width + x];
    float around = (p[(y - 1) * width + x] + p[(y + 1) * width + x]) +
                   (p[y * width + x - 1] + p[y * width + x + 1]);

    return fmaf(rate, around - 4.0f * here, here);
}

__global__ void
spread(float *out, const float *in)
{
    int x = blockIdx.x * blockDim.x + threadIdx.x, y = blockIdx.y * blockDim.y + threadIdx.y;

    if (x > 0 && y > 0 && x < width - 1 && y < height - 1)
        out[y * width + x] = next(in, x, y);
}

static std::vector<float>
initial_plate()
{
    std::vector<float> plate(width * height, 20.0f);

    for (int y = 80; y < 140; y++)
        for (int x = 100; x < 220; x++)
            plate[y * width + x] = 500.0f + x - y;
    return plate;
}

static std::vector<float>
on_cpu()
{
    std::vector<float> a = initial_plate(), b = a;

    for (int s = 0; s < steps; s++) {
        for (int y = 1; y < height - 1; y++)
            for (int x = 1; x < width - 1; x++)
                b[y * width + x] = next(a.data(), x, y);
        std::swap(a, b);
    }
    return a;
}

static std::vector<float>
on_device()
{
    const size_t bytes = width * height * sizeof(float);
    std::vector<float> plate = initial_plate();
    float *a, *b;

    RT(cudaMalloc(&a, bytes));
    RT(cudaMalloc(&b, bytes));
    RT(cudaMemcpy(a, plate.data(), bytes, cudaMemcpyHostToDevice));
    RT(cudaMemcpy(b, a, bytes, cudaMemcpyDeviceToDevice));
    for (int s = 0; s < steps; s++) {
        spread<<<dim3((width + 31) / 32, (height + 7) / 8), dim3(32, 8)>>>(b, a);
        std::swap(a, b);
    }
    RT(cudaGetLastError());
    RT(cudaMemcpy(plate.data(), a, bytes, cudaMemcpyDeviceToHost));
    RT(cudaFree(a));
    RT(cudaFree(b));
    return plate;
}

int
main()
{
    std::vector<float> device = on_device(), cpu = on_cpu();
    cudaDeviceProp prop;
    int wrong = 0;

    for (size_t i = 0; i < cpu.size(); i++)
        wrong += device[i] != cpu[i];
    RT(cudaGetDeviceProperties(&prop, 0));
    std::printf("device: %s\n", prop.name);
    std::printf("points: %d, steps: %d, wrong: %d\n", width * height, steps, wrong);
    return wrong == 0 ? 0 : 1;
}
