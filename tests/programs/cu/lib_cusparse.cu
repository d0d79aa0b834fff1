/* tests/programs/cu/lib_cusparse.cu -- a sparse matrix in CSR times a vector */
#include "check.h"

#include <cusparse.h>
#include <vector>

#define SPARSE(call)                                                                               \
    do {                                                                                           \
        cusparseStatus_t status = (call);                                                          \
        if (status != CUSPARSE_STATUS_SUCCESS) {                                                   \
            std::fprintf(stderr, "%s:%d: %s: %s\n", __FILE__, __LINE__, #call,                     \
                         cusparseGetErrorString(status));                                          \
            std::exit(2);                                                                          \
        }                                                                                          \
    } while (0)

template <typename T>
static T *
to_device(const std::vector<T> &from)
{
    T *dev;

    RT(cudaMalloc(&dev, from.size() * sizeof(T)));
    RT(cudaMemcpy(dev, from.data(), from.size() * sizeof(T), cudaMemcpyHostToDevice));
    return dev;
}

int
main()
{
    const int rows = 500, cols = 300;
    std::vector<int> starts{0}, columns;
    std::vector<float> values, x(cols), y(rows), want(rows);
    cusparseDnVecDescr_t in, out;
    cusparseSpMatDescr_t matrix;
    cusparseHandle_t handle;
    float alpha = 3, beta = -2;
    size_t bytes = 0;
    void *buffer;
    int wrong = 0;

    for (int i = 0; i < cols; i++)
        x[i] = float(i % 13 - 6);
    for (int row = 0; row < rows; row++) {
        float sum = 0;

        /* From none to many in a row; whole numbers, so every order of the sums is exact. */
        for (int col = row % 7; col < cols && row % 11 != 0; col += 1 + row % 29) {
            columns.push_back(col);
            values.push_back(float(int(lcg(row * cols + col) >> 28) - 8));
            sum += values.back() * x[col];
        }
        starts.push_back(int(columns.size()));
        y[row] = float(row % 5);
        want[row] = alpha * sum + beta * y[row];
    }
    int *dev_starts = to_device(starts), *dev_columns = to_device(columns);
    float *dev_values = to_device(values), *dev_x = to_device(x), *dev_y = to_device(y);
    SPARSE(cusparseCreate(&handle));
    SPARSE(cusparseCreateCsr(&matrix, rows, cols, int64_t(values.size()), dev_starts, dev_columns,
                             dev_values, CUSPARSE_INDEX_32I, CUSPARSE_INDEX_32I,
                             CUSPARSE_INDEX_BASE_ZERO, CUDA_R_32F));
    SPARSE(cusparseCreateDnVec(&in, cols, dev_x, CUDA_R_32F));
    SPARSE(cusparseCreateDnVec(&out, rows, dev_y, CUDA_R_32F));
    SPARSE(cusparseSpMV_bufferSize(handle, CUSPARSE_OPERATION_NON_TRANSPOSE, &alpha, matrix, in,
                                   &beta, out, CUDA_R_32F, CUSPARSE_SPMV_ALG_DEFAULT, &bytes));
    RT(cudaMalloc(&buffer, bytes + 1));
    SPARSE(cusparseSpMV(handle, CUSPARSE_OPERATION_NON_TRANSPOSE, &alpha, matrix, in, &beta, out,
                        CUDA_R_32F, CUSPARSE_SPMV_ALG_DEFAULT, buffer));
    RT(cudaMemcpy(y.data(), dev_y, y.size() * sizeof(float), cudaMemcpyDeviceToHost));
    for (int row = 0; row < rows; row++)
        wrong += y[row] != want[row];
    EXPECT(wrong == 0);
    std::printf("%zu values: %d wrong\n", values.size(), wrong);
    SPARSE(cusparseDestroyDnVec(in));
    SPARSE(cusparseDestroyDnVec(out));
    SPARSE(cusparseDestroySpMat(matrix));
    SPARSE(cusparseDestroy(handle));
    RT(cudaDeviceReset());
    return test_result("lib_cusparse");
}
