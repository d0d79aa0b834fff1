/* tests/programs/cu/vector_add.cu -- c = a + b, the smallest complete program of the runtime API */
#include "check.h"

#include <vector>

__global__ void
add(const float *a, const float *b, float *c, int n)
{
    int i = blockIdx.x * blockDim.x + threadIdx.x;

    if (i < n)
        c[i] = a[i] + b[i];
}

int
main()
{
    const int n = 50000;
    std::vector<float> a(n), b(n), c(n);
    float *da, *db, *dc;
    int wrong = 0;

    for (int i = 0; i < n; i++) {
        a[i] = i * 0.5f;
        b[i] = 1.0f / (i + 1);
    }
    RT(cudaMalloc(&da, n * sizeof(float)));
    RT(cudaMalloc(&db, n * sizeof(float)));
    RT(cudaMalloc(&dc, n * sizeof(float)));
    RT(cudaMemcpy(da, a.data(), n * sizeof(float), cudaMemcpyHostToDevice));
    RT(cudaMemcpy(db, b.data(), n * sizeof(float), cudaMemcpyHostToDevice));
    add<<<(n + 255) / 256, 256>>>(da, db, dc, n);
    RT(cudaGetLastError());
    RT(cudaMemcpy(c.data(), dc, n * sizeof(float), cudaMemcpyDeviceToHost));
    for (int i = 0; i < n; i++)
        wrong += c[i] != a[i] + b[i];
    EXPECT(wrong == 0);
    RT(cudaFree(da));
    RT(cudaFree(db));
    RT(cudaFree(dc));
    std::printf("%d elements: %d wrong\n", n, wrong);
    return test_result("vector_add");
}
