/* tests/programs/cu/lib_curand.cu -- uniform and normal numbers: the device's against the host's */
#include "check.h"

#include <cmath>
#include <curand.h>
#include <vector>

#define RAND(call)                                                                                 \
    do {                                                                                           \
        curandStatus_t status = (call);                                                            \
        if (status != CURAND_STATUS_SUCCESS) {                                                     \
            std::fprintf(stderr, "%s:%d: %s: status %d\n", __FILE__, __LINE__, #call,              \
                         int(status));                                                             \
            std::exit(2);                                                                          \
        }                                                                                          \
    } while (0)

static const size_t N = 20000;

/* The same generator on the host must give the same numbers: the reference. */
static void
compare(const char *what, curandRngType_t type, bool normal)
{
    std::vector<float> host(N), device(N);
    curandGenerator_t on_host, on_device;
    double sum = 0, squares = 0;
    size_t wrong = 0;
    float *dev;

    RT(cudaMalloc(&dev, N * sizeof(float)));
    RAND(curandCreateGeneratorHost(&on_host, type));
    RAND(curandCreateGenerator(&on_device, type));
    RAND(curandSetPseudoRandomGeneratorSeed(on_host, 1234));
    RAND(curandSetPseudoRandomGeneratorSeed(on_device, 1234));
    if (normal) {
        RAND(curandGenerateNormal(on_host, host.data(), N, 1, 2));
        RAND(curandGenerateNormal(on_device, dev, N, 1, 2));
    } else {
        RAND(curandGenerateUniform(on_host, host.data(), N));
        RAND(curandGenerateUniform(on_device, dev, N));
    }
    RT(cudaMemcpy(device.data(), dev, N * sizeof(float), cudaMemcpyDeviceToHost));
    for (size_t i = 0; i < N; i++) {
        float away = std::fabs(device[i] - host[i]);

        wrong += !(normal ? away <= 1e-4f : away == 0);
        sum += device[i];
        squares += double(device[i]) * device[i];
    }
    double mean = sum / N, variance = squares / N - mean * mean;
    EXPECT(wrong == 0);
    EXPECT(std::fabs(mean - (normal ? 1 : 0.5)) < 0.05);
    EXPECT(std::fabs(variance - (normal ? 4 : 1.0 / 12)) < (normal ? 0.2 : 0.01));
    std::printf("%s: %zu wrong\n", what, wrong);
    RAND(curandDestroyGenerator(on_device));
    RAND(curandDestroyGenerator(on_host));
    RT(cudaFree(dev));
}

int
main()
{
    compare("uniform, XORWOW", CURAND_RNG_PSEUDO_XORWOW, false);
    compare("uniform, Philox", CURAND_RNG_PSEUDO_PHILOX4_32_10, false);
    compare("normal, Philox", CURAND_RNG_PSEUDO_PHILOX4_32_10, true);
    return test_result("lib_curand");
}
