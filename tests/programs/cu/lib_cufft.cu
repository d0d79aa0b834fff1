/* tests/programs/cu/lib_cufft.cu -- a transform of 1,024 points, there against a plain one and back */
#include "check.h"

#include <cmath>
#include <complex>
#include <cufft.h>
#include <vector>

#define FFT(call)                                                                                  \
    do {                                                                                           \
        cufftResult result = (call);                                                               \
        if (result != CUFFT_SUCCESS) {                                                             \
            std::fprintf(stderr, "%s:%d: %s: result %d\n", __FILE__, __LINE__, #call,              \
                         int(result));                                                             \
            std::exit(2);                                                                          \
        }                                                                                          \
    } while (0)

static const int N = 1024;

int
main()
{
    std::vector<std::complex<float>> in(N), out(N), back(N);
    double worst = 0, worst_back = 0;
    cufftComplex *dev;
    cufftHandle plan;

    for (int i = 0; i < N; i++)
        in[i] = {float(lcg(i) >> 8) / (1 << 24) - 0.5f, float(lcg(i + N) >> 8) / (1 << 24) - 0.5f};
    RT(cudaMalloc(&dev, N * sizeof(*dev)));
    RT(cudaMemcpy(dev, in.data(), N * sizeof(*dev), cudaMemcpyHostToDevice));
    FFT(cufftPlan1d(&plan, N, CUFFT_C2C, 1));
    FFT(cufftExecC2C(plan, dev, dev, CUFFT_FORWARD));
    RT(cudaMemcpy(out.data(), dev, N * sizeof(*dev), cudaMemcpyDeviceToHost));
    FFT(cufftExecC2C(plan, dev, dev, CUFFT_INVERSE));
    RT(cudaMemcpy(back.data(), dev, N * sizeof(*dev), cudaMemcpyDeviceToHost));
    for (int k = 0; k < N; k++) {
        std::complex<double> sum = 0;

        for (int i = 0; i < N; i++)
            sum += std::complex<double>(in[i]) * std::polar(1.0, -2 * M_PI * (i * k % N) / N);
        worst = std::fmax(worst, std::abs(sum - std::complex<double>(out[k])));
        worst_back = std::fmax(worst_back, std::abs(back[k] / float(N) - in[k]));
    }
    EXPECT(worst < 1e-3);
    EXPECT(worst_back < 1e-5);
    std::printf("forward %s, back %s\n", worst < 1e-3 ? "right" : "wrong",
                worst_back < 1e-5 ? "right" : "wrong");
    FFT(cufftDestroy(plan));
    RT(cudaFree(dev));
    return test_result("lib_cufft");
}
