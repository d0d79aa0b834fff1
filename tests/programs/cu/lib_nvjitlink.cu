/* tests/programs/cu/lib_nvjitlink.cu -- two sources compiled at run time, linked, loaded, launched
 *
 * The linker is asked for PTX: machine code of a GPU would not run on the software device. */
#include "check.h"

#include <nvJitLink.h>
#include <nvrtc.h>
#include <string>
#include <vector>

static const char *caller = R"(
extern "C" __device__ int twice(int x);
extern "C" __global__ void fill(int *out, int n)
{
    int i = blockIdx.x * blockDim.x + threadIdx.x;

    if (i < n)
        out[i] = twice(i) + 1;
}
)";
static const char *callee = R"(extern "C" __device__ int twice(int x) { return 2 * x; })";

static void
must(bool ok, const char *what)
{
    if (!ok) {
        std::fprintf(stderr, "lib_nvjitlink: %s failed\n", what);
        std::exit(2);
    }
}

static std::vector<char>
compile(const char *source)
{
    const char *options[] = {"--gpu-architecture=compute_75", "-dlto", "-rdc=true"};
    nvrtcProgram program;
    size_t bytes;

    must(nvrtcCreateProgram(&program, source, "part.cu", 0, NULL, NULL) == NVRTC_SUCCESS &&
             nvrtcCompileProgram(program, 3, options) == NVRTC_SUCCESS &&
             nvrtcGetLTOIRSize(program, &bytes) == NVRTC_SUCCESS,
         "NVRTC");
    std::vector<char> ir(bytes);
    must(nvrtcGetLTOIR(program, ir.data()) == NVRTC_SUCCESS, "nvrtcGetLTOIR");
    nvrtcDestroyProgram(&program);
    return ir;
}

static std::string
link_parts()
{
    const char *options[] = {"-arch=sm_75", "-lto", "-ptx"};
    nvJitLinkHandle linker;
    size_t bytes;

    must(nvJitLinkCreate(&linker, 3, options) == NVJITLINK_SUCCESS, "nvJitLinkCreate");
    for (const char *source : {caller, callee}) {
        std::vector<char> ir = compile(source);

        must(nvJitLinkAddData(linker, NVJITLINK_INPUT_LTOIR, ir.data(), ir.size(), "part") ==
                 NVJITLINK_SUCCESS,
             "nvJitLinkAddData");
    }
    must(nvJitLinkComplete(linker) == NVJITLINK_SUCCESS &&
             nvJitLinkGetLinkedPtxSize(linker, &bytes) == NVJITLINK_SUCCESS,
         "nvJitLinkComplete");
    std::string ptx(bytes + 1, '\0');
    must(nvJitLinkGetLinkedPtx(linker, &ptx[0]) == NVJITLINK_SUCCESS, "nvJitLinkGetLinkedPtx");
    nvJitLinkDestroy(&linker);
    return ptx;
}

int
main()
{
    int n = 1000, wrong = 0, *dev;
    std::vector<int> out(n);
    std::string ptx = link_parts();
    cudaLibrary_t library;
    cudaKernel_t kernel;

    RT(cudaMalloc(&dev, n * sizeof(int)));
    RT(cudaLibraryLoadData(&library, ptx.c_str(), NULL, NULL, 0, NULL, NULL, 0));
    RT(cudaLibraryGetKernel(&kernel, library, "fill"));
    void *params[] = {&dev, &n};
    RT(cudaLaunchKernel((const void *)kernel, dim3((n + 127) / 128), dim3(128), params, 0, NULL));
    RT(cudaMemcpy(out.data(), dev, n * sizeof(int), cudaMemcpyDeviceToHost));
    for (int i = 0; i < n; i++)
        wrong += out[i] != 2 * i + 1;
    EXPECT(wrong == 0);
    std::printf("%d wrong\n", wrong);
    RT(cudaLibraryUnload(library));
    RT(cudaFree(dev));
    return test_result("lib_nvjitlink");
}
