/* tests/programs/cu/lib_cublas.cu -- products of matrices by cuBLAS, both precisions */
#include "check.h"

#include <cmath>
#include <cublas_v2.h>
#include <vector>

#define BLAS(call)                                                                                 \
    do {                                                                                           \
        cublasStatus_t status = (call);                                                            \
        if (status != CUBLAS_STATUS_SUCCESS) {                                                     \
            std::fprintf(stderr, "%s:%d: %s: %s\n", __FILE__, __LINE__, #call,                     \
                         cublasGetStatusString(status));                                           \
            std::exit(2);                                                                          \
        }                                                                                          \
    } while (0)

static cublasStatus_t
gemm(cublasHandle_t handle, int m, int n, int k, const float *a, const float *b, float *c)
{
    float alpha = 2, beta = -1;

    return cublasSgemm(handle, CUBLAS_OP_N, CUBLAS_OP_T, m, n, k, &alpha, a, m, b, n, &beta, c, m);
}

static cublasStatus_t
gemm(cublasHandle_t handle, int m, int n, int k, const double *a, const double *b, double *c)
{
    double alpha = 2, beta = -1;

    return cublasDgemm(handle, CUBLAS_OP_N, CUBLAS_OP_T, m, n, k, &alpha, a, m, b, n, &beta, c, m);
}

/* C = 2 A B' - C. The values are small whole numbers, so every order of the sums is exact. */
template <typename T>
static void
product(cublasHandle_t handle, const char *what, int m, int n, int k)
{
    std::vector<T> a(m * k), b(n * k), c(m * n), want(m * n);
    T *dev_a, *dev_b, *dev_c;
    int wrong = 0;

    for (int i = 0; i < m * k; i++)
        a[i] = T(int(lcg(i) >> 28) - 8);
    for (int i = 0; i < n * k; i++)
        b[i] = T(int(lcg(i + 77) >> 28) - 8);
    for (int i = 0; i < m * n; i++)
        c[i] = T(i % 7);
    for (int row = 0; row < m; row++) {
        for (int col = 0; col < n; col++) {
            T sum = 0;

            for (int i = 0; i < k; i++)
                sum += a[i * m + row] * b[i * n + col];
            want[col * m + row] = 2 * sum - c[col * m + row];
        }
    }
    RT(cudaMalloc(&dev_a, a.size() * sizeof(T)));
    RT(cudaMalloc(&dev_b, b.size() * sizeof(T)));
    RT(cudaMalloc(&dev_c, c.size() * sizeof(T)));
    BLAS(cublasSetMatrix(m, k, sizeof(T), a.data(), m, dev_a, m));
    BLAS(cublasSetMatrix(n, k, sizeof(T), b.data(), n, dev_b, n));
    BLAS(cublasSetMatrix(m, n, sizeof(T), c.data(), m, dev_c, m));
    BLAS(gemm(handle, m, n, k, dev_a, dev_b, dev_c));
    BLAS(cublasGetMatrix(m, n, sizeof(T), dev_c, m, c.data(), m));
    for (int i = 0; i < m * n; i++)
        wrong += c[i] != want[i];
    EXPECT(wrong == 0);
    std::printf("%s %d x %d x %d: %d wrong\n", what, m, n, k, wrong);
    RT(cudaFree(dev_a));
    RT(cudaFree(dev_b));
    RT(cudaFree(dev_c));
}

int
main()
{
    cublasHandle_t handle;

    BLAS(cublasCreate(&handle));
    product<float>(handle, "sgemm", 64, 48, 33);
    product<float>(handle, "sgemm", 130, 5, 256);
    product<double>(handle, "dgemm", 64, 48, 33);
    product<double>(handle, "dgemm", 17, 130, 64);
    BLAS(cublasDestroy(handle));
    return test_result("lib_cublas");
}
