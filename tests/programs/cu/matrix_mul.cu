/* tests/programs/cu/matrix_mul.cu -- matrix product by tiles of two sizes, not square, float and
 * double, compared with the host bit by bit (both sides use fused multiply-add) */
#include "check.h"

#include <cmath>
#include <vector>

template <int TILE, typename T>
__global__ void
multiply(T *c, const T *a, const T *b, int inner, int width)
{
    __shared__ T as[TILE][TILE], bs[TILE][TILE];
    int x = blockIdx.x * TILE + threadIdx.x, y = blockIdx.y * TILE + threadIdx.y;
    T sum = 0;

    for (int t = 0; t < inner; t += TILE) {
        as[threadIdx.y][threadIdx.x] = a[y * inner + t + threadIdx.x];
        bs[threadIdx.y][threadIdx.x] = b[(t + threadIdx.y) * width + x];
        __syncthreads();
#pragma unroll
        for (int k = 0; k < TILE; k++)
            sum = fma(as[threadIdx.y][k], bs[k][threadIdx.x], sum);
        __syncthreads();
    }
    c[y * width + x] = sum;
}

template <int TILE, typename T>
static void
run(const char *name)
{
    const int height = 64, inner = 96, width = 128;
    std::vector<T> a(height * inner), b(inner * width), c(height * width);
    T *da, *db, *dc;
    int wrong = 0;

    for (size_t i = 0; i < a.size(); i++)
        a[i] = T(i % 61) / T(17) - T(1);
    for (size_t i = 0; i < b.size(); i++)
        b[i] = T(i % 53) / T(19) - T(1);
    RT(cudaMalloc(&da, a.size() * sizeof(T)));
    RT(cudaMalloc(&db, b.size() * sizeof(T)));
    RT(cudaMalloc(&dc, c.size() * sizeof(T)));
    RT(cudaMemcpy(da, a.data(), a.size() * sizeof(T), cudaMemcpyHostToDevice));
    RT(cudaMemcpy(db, b.data(), b.size() * sizeof(T), cudaMemcpyHostToDevice));
    multiply<TILE, T><<<dim3(width / TILE, height / TILE), dim3(TILE, TILE)>>>(dc, da, db, inner,
                                                                              width);
    RT(cudaGetLastError());
    RT(cudaDeviceSynchronize());
    RT(cudaMemcpy(c.data(), dc, c.size() * sizeof(T), cudaMemcpyDeviceToHost));
    for (int y = 0; y < height; y++) {
        for (int x = 0; x < width; x++) {
            T sum = 0;

            for (int k = 0; k < inner; k++)
                sum = std::fma(a[y * inner + k], b[k * width + x], sum);
            wrong += std::memcmp(&sum, &c[y * width + x], sizeof(T)) != 0;
        }
    }
    EXPECT(wrong == 0);
    std::printf("%s: %d wrong\n", name, wrong);
    RT(cudaFree(da));
    RT(cudaFree(db));
    RT(cudaFree(dc));
}

int
main()
{
    run<16, float>("float, tiles of 16");
    run<32, float>("float, tiles of 32");
    run<16, double>("double, tiles of 16");
    return test_result("matrix_mul");
}
