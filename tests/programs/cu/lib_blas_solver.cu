// Start to the first results of a program with cuBLAS and cuSOLVER, and nothing more: what it waits
// for is start-up. C = A * A by cuBLAS, then A x = b by cuSOLVER.
#include "check.h"

#include <cublas_v2.h>
#include <cusolverDn.h>

#define N 16

int
main()
{
    double a[N * N], b[N], out[N * N + N], one = 1, zero = 0;
    double *d_a, *d_c, *d_b, *d_work;
    int *d_pivot, *d_info, work_len = 0;
    cusolverDnHandle_t solver;
    cublasHandle_t blas;

    for (int i = 0; i < N * N; i++)
        a[i] = i % (N + 1) == 0 ? N : 1.0 / (1 + i % 7);
    for (int i = 0; i < N; i++)
        b[i] = i + 1;
    if (cublasCreate(&blas) != CUBLAS_STATUS_SUCCESS ||
        cusolverDnCreate(&solver) != CUSOLVER_STATUS_SUCCESS)
        return 1;
    RT(cudaMalloc(&d_a, sizeof(a)));
    RT(cudaMalloc(&d_c, sizeof(out)));
    RT(cudaMalloc(&d_b, sizeof(b)));
    RT(cudaMalloc(&d_pivot, N * sizeof(int)));
    RT(cudaMalloc(&d_info, sizeof(int)));
    RT(cudaMemcpy(d_a, a, sizeof(a), cudaMemcpyHostToDevice));
    RT(cudaMemcpy(d_b, b, sizeof(b), cudaMemcpyHostToDevice));
    if (cublasDgemm(blas, CUBLAS_OP_N, CUBLAS_OP_N, N, N, N, &one, d_a, N, d_a, N, &zero, d_c, N) !=
        CUBLAS_STATUS_SUCCESS)
        return 1;
    if (cusolverDnDgetrf_bufferSize(solver, N, N, d_a, N, &work_len) != CUSOLVER_STATUS_SUCCESS)
        return 1;
    RT(cudaMalloc(&d_work, work_len * sizeof(double)));
    if (cusolverDnDgetrf(solver, N, N, d_a, N, d_work, d_pivot, d_info) !=
            CUSOLVER_STATUS_SUCCESS ||
        cusolverDnDgetrs(solver, CUBLAS_OP_N, N, 1, d_a, N, d_pivot, d_b, N, d_info) !=
            CUSOLVER_STATUS_SUCCESS)
        return 1;
    RT(cudaMemcpyAsync(d_c + N * N, d_b, sizeof(b), cudaMemcpyDeviceToDevice));
    RT(cudaMemcpy(out, d_c, sizeof(out), cudaMemcpyDeviceToHost));
    std::printf("product %.6f %.6f solution %.6f %.6f\n", out[0], out[N * N - 1], out[N * N],
                out[N * N + N - 1]);
    return 0;
}
