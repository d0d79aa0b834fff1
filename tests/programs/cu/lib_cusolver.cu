/* tests/programs/cu/lib_cusolver.cu -- a system of equations by LU with pivots */
#include "check.h"

#include <cmath>
#include <cusolverDn.h>
#include <vector>

#define SOLVER(call)                                                                               \
    do {                                                                                           \
        cusolverStatus_t status = (call);                                                          \
        if (status != CUSOLVER_STATUS_SUCCESS) {                                                   \
            std::fprintf(stderr, "%s:%d: %s: status %d\n", __FILE__, __LINE__, #call,              \
                         int(status));                                                             \
            std::exit(2);                                                                          \
        }                                                                                          \
    } while (0)

/* In [-1/2, 1/2), and not linear in i as lcg() is: the matrix must have full rank. */
static double
scattered(uint32_t i)
{
    uint32_t x = lcg(i);

    x = (x ^ x >> 15) * 2246822519u;
    x = (x ^ x >> 13) * 3266489917u;
    return (x ^ x >> 16) / 4294967296.0 - 0.5;
}

int
main()
{
    const int n = 48;
    std::vector<double> a(n * n), lu(n * n), x(n), b(n);
    double *dev_a, *dev_b, *work, worst = 0;
    int *pivots, *info_dev, info = -1, bytes = 0;
    std::vector<int> order(n);
    cusolverDnHandle_t handle;

    for (int i = 0; i < n * n; i++)
        a[i] = scattered(i);
    for (int i = 0; i < n; i++)
        x[i] = i - 20;
    for (int row = 0; row < n; row++)
        for (int col = 0; col < n; col++)
            b[row] += a[col * n + row] * x[col];
    RT(cudaMalloc(&dev_a, n * n * sizeof(double)));
    RT(cudaMalloc(&dev_b, n * sizeof(double)));
    RT(cudaMalloc(&pivots, n * sizeof(int)));
    RT(cudaMalloc(&info_dev, sizeof(int)));
    RT(cudaMemcpy(dev_a, a.data(), n * n * sizeof(double), cudaMemcpyHostToDevice));
    RT(cudaMemcpy(dev_b, b.data(), n * sizeof(double), cudaMemcpyHostToDevice));
    SOLVER(cusolverDnCreate(&handle));
    SOLVER(cusolverDnDgetrf_bufferSize(handle, n, n, dev_a, n, &bytes));
    RT(cudaMalloc(&work, (bytes + 1) * sizeof(double)));
    SOLVER(cusolverDnDgetrf(handle, n, n, dev_a, n, work, pivots, info_dev));
    RT(cudaMemcpy(&info, info_dev, sizeof(info), cudaMemcpyDeviceToHost));
    EXPECT(info == 0);
    RT(cudaMemcpy(lu.data(), dev_a, n * n * sizeof(double), cudaMemcpyDeviceToHost));
    RT(cudaMemcpy(order.data(), pivots, n * sizeof(int), cudaMemcpyDeviceToHost));
    /* Solve with the factors on the host. */
    for (int i = 0; i < n; i++) {
        if (order[i] < i + 1 || order[i] > n) {
            EXPECT(!"a pivot of another row");
            break;
        }
        std::swap(b[i], b[order[i] - 1]);
    }
    for (int row = 0; row < n; row++)
        for (int col = 0; col < row; col++)
            b[row] -= lu[col * n + row] * b[col];
    for (int row = n - 1; row >= 0; row--) {
        for (int col = row + 1; col < n; col++)
            b[row] -= lu[col * n + row] * b[col];
        b[row] /= lu[row * n + row];
    }
    for (int i = 0; i < n; i++)
        worst = std::fmax(worst, std::fabs(b[i] - x[i]));
    EXPECT(worst < 1e-9);
    std::printf("getrf of %d: %s\n", n, worst < 1e-9 ? "right" : "wrong");
    SOLVER(cusolverDnDestroy(handle));
    RT(cudaFree(dev_a));
    return test_result("lib_cusolver");
}
