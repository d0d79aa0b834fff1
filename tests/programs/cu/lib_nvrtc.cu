/* tests/programs/cu/lib_nvrtc.cu -- CUDA C++ compiled at run time to PTX, loaded and launched */
#include "check.h"

#include <nvrtc.h>
#include <string>
#include <vector>

static const char *source = R"(
template <typename T> __global__ void scale(T *x, T k, int n)
{
    int i = blockIdx.x * blockDim.x + threadIdx.x;

    if (i < n)
        x[i] = k * x[i] + T(i);
}
)";

static std::string
compile(std::string *name)
{
    nvrtcProgram program;
    const char *options[] = {"--gpu-architecture=compute_75", "--std=c++17"};
    const char *lowered;
    size_t bytes;

    if (nvrtcCreateProgram(&program, source, "scale.cu", 0, NULL, NULL) != NVRTC_SUCCESS ||
        nvrtcAddNameExpression(program, "scale<float>") != NVRTC_SUCCESS ||
        nvrtcCompileProgram(program, 2, options) != NVRTC_SUCCESS ||
        nvrtcGetLoweredName(program, "scale<float>", &lowered) != NVRTC_SUCCESS ||
        nvrtcGetPTXSize(program, &bytes) != NVRTC_SUCCESS) {
        std::fprintf(stderr, "NVRTC failed\n");
        std::exit(2);
    }
    std::string ptx(bytes, '\0');
    *name = lowered;
    nvrtcGetPTX(program, &ptx[0]);
    nvrtcDestroyProgram(&program);
    return ptx;
}

int
main()
{
    int n = 1000, wrong = 0;
    float k = 3, *dev;
    std::vector<float> x(n);
    cudaLibrary_t library;
    cudaKernel_t kernel;
    std::string name;

    for (int i = 0; i < n; i++)
        x[i] = float(i % 10);
    RT(cudaMalloc(&dev, n * sizeof(float)));
    RT(cudaMemcpy(dev, x.data(), n * sizeof(float), cudaMemcpyHostToDevice));
    std::string ptx = compile(&name);
    void *params[] = {&dev, &k, &n};
    RT(cudaLibraryLoadData(&library, ptx.c_str(), NULL, NULL, 0, NULL, NULL, 0));
    RT(cudaLibraryGetKernel(&kernel, library, name.c_str()));
    RT(cudaLaunchKernel((const void *)kernel, dim3((n + 127) / 128), dim3(128), params, 0, NULL));
    RT(cudaMemcpy(x.data(), dev, n * sizeof(float), cudaMemcpyDeviceToHost));
    for (int i = 0; i < n; i++)
        wrong += x[i] != k * float(i % 10) + float(i);
    EXPECT(wrong == 0);
    std::printf("%d wrong\n", wrong);
    RT(cudaFree(dev));
    return test_result("lib_nvrtc");
}
