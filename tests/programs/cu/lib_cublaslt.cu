/* tests/programs/cu/lib_cublaslt.cu -- products by cuBLASLt: in halves, with a bias and a ReLU */
#include "check.h"

#include <cublasLt.h>
#include <cuda_fp16.h>
#include <vector>

#define LT(call)                                                                                   \
    do {                                                                                           \
        cublasStatus_t status = (call);                                                            \
        if (status != CUBLAS_STATUS_SUCCESS) {                                                     \
            std::fprintf(stderr, "%s:%d: %s: %s\n", __FILE__, __LINE__, #call,                     \
                         cublasLtGetStatusString(status));                                         \
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

/* D = A B, or max(A B + bias, 0). Small whole numbers, so every order of the sums is exact. */
template <typename T>
static void
product(cublasLtHandle_t lt, const char *what, cudaDataType_t type, int m, int n, int k, bool relu)
{
    std::vector<T> a(m * k), b(k * n), d(m * n), bias(m);
    cublasLtMatmulDesc_t desc;
    cublasLtMatrixLayout_t la, lb, ld;
    cublasLtMatmulPreference_t preference;
    cublasLtMatmulHeuristicResult_t best = {};
    cublasLtEpilogue_t epilogue = CUBLASLT_EPILOGUE_RELU_BIAS;
    size_t room = 1 << 20;
    float one = 1, zero = 0;
    int found = 0, wrong = 0;
    void *workspace;

    for (int i = 0; i < m * k; i++)
        a[i] = T(float(int(lcg(i) >> 29) - 4));
    for (int i = 0; i < k * n; i++)
        b[i] = T(float(int(lcg(i + 99) >> 29) - 4));
    for (int i = 0; i < m; i++)
        bias[i] = T(float(i % 9 - 4));
    T *dev_a = to_device(a), *dev_b = to_device(b), *dev_d = to_device(d),
      *dev_bias = to_device(bias);
    RT(cudaMalloc(&workspace, room));
    LT(cublasLtMatmulDescCreate(&desc, CUBLAS_COMPUTE_32F, CUDA_R_32F));
    if (relu) {
        LT(cublasLtMatmulDescSetAttribute(desc, CUBLASLT_MATMUL_DESC_EPILOGUE, &epilogue,
                                          sizeof(epilogue)));
        LT(cublasLtMatmulDescSetAttribute(desc, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &dev_bias,
                                          sizeof(dev_bias)));
    }
    LT(cublasLtMatrixLayoutCreate(&la, type, m, k, m));
    LT(cublasLtMatrixLayoutCreate(&lb, type, k, n, k));
    LT(cublasLtMatrixLayoutCreate(&ld, type, m, n, m));
    LT(cublasLtMatmulPreferenceCreate(&preference));
    LT(cublasLtMatmulPreferenceSetAttribute(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES,
                                            &room, sizeof(room)));
    LT(cublasLtMatmulAlgoGetHeuristic(lt, desc, la, lb, ld, ld, preference, 1, &best, &found));
    EXPECT(found == 1);
    LT(cublasLtMatmul(lt, desc, &one, dev_a, la, dev_b, lb, &zero, dev_d, ld, dev_d, ld, &best.algo,
                      workspace, room, nullptr));
    RT(cudaMemcpy(d.data(), dev_d, d.size() * sizeof(T), cudaMemcpyDeviceToHost));
    for (int row = 0; row < m; row++) {
        for (int col = 0; col < n; col++) {
            float sum = relu ? float(bias[row]) : 0;

            for (int i = 0; i < k; i++)
                sum += float(a[i * m + row]) * float(b[col * k + i]);
            wrong += float(d[col * m + row]) != (relu && sum < 0 ? 0 : sum);
        }
    }
    EXPECT(wrong == 0);
    std::printf("%s %d x %d x %d%s: %d wrong\n", what, m, n, k, relu ? " with bias" : "", wrong);
    LT(cublasLtMatmulPreferenceDestroy(preference));
    for (cublasLtMatrixLayout_t layout : {la, lb, ld})
        LT(cublasLtMatrixLayoutDestroy(layout));
    LT(cublasLtMatmulDescDestroy(desc));
    for (void *p : {(void *)dev_a, (void *)dev_b, (void *)dev_d, (void *)dev_bias, workspace})
        RT(cudaFree(p));
}

int
main()
{
    cublasLtHandle_t lt;

    LT(cublasLtCreate(&lt));
    product<float>(lt, "floats", CUDA_R_32F, 64, 40, 48, false);
    product<float>(lt, "floats", CUDA_R_32F, 64, 40, 48, true);
    product<__half>(lt, "halves", CUDA_R_16F, 64, 40, 48, false);
    product<__half>(lt, "halves", CUDA_R_16F, 128, 64, 32, true);
    LT(cublasLtDestroy(lt));
    return test_result("lib_cublaslt");
}
