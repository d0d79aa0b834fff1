/* tests/programs/cu/launch_ex.cu -- launches with attributes, function pointers, host threads'
 * current device, and entry points asked for by name */
#include "check.h"

__global__ void
store(int *p, int value)
{
    p[blockIdx.x * blockDim.x + threadIdx.x] = value;
}

int
main()
{
    const int n = 256;
    int *dev, host[n], wrong = 0, greatest;
    cudaLaunchConfig_t config = {};
    cudaLaunchAttribute attrs[2] = {};
    cudaStream_t s;

    RT(cudaDeviceGetStreamPriorityRange(nullptr, &greatest));
    RT(cudaStreamCreateWithFlags(&s, cudaStreamNonBlocking));
    RT(cudaMalloc(&dev, sizeof(host)));
    attrs[0].id = cudaLaunchAttributePriority;
    attrs[0].val.priority = greatest;
    attrs[1].id = cudaLaunchAttributeCooperative;
    attrs[1].val.cooperative = 1;
    config.gridDim = dim3(4);
    config.blockDim = dim3(64);
    config.stream = s;
    config.attrs = attrs;
    config.numAttrs = 2;
    RT(cudaLaunchKernelEx(&config, store, dev, 77));
    RT(cudaMemcpyAsync(host, dev, sizeof(host), cudaMemcpyDeviceToHost, s));
    RT(cudaStreamSynchronize(s));
    for (int v : host)
        wrong += v != 77;

    int value = 88;
    void *args[] = {&dev, &value};
    RT(cudaLaunchKernel((const void *)store, dim3(4), dim3(64), args, 0, s));
    RT(cudaMemcpyAsync(host, dev, sizeof(host), cudaMemcpyDeviceToHost, s));
    RT(cudaStreamSynchronize(s));
    for (int v : host)
        wrong += v != 88;
    EXPECT(wrong == 0);
    std::printf("launches: %d wrong\n", wrong);

    void *entry = nullptr;
    cudaDriverEntryPointQueryResult found;
    RT(cudaGetDriverEntryPointByVersion("cuMemAlloc", &entry, 13000, cudaEnableDefault, &found));
    EXPECT(entry != nullptr && found == cudaDriverEntryPointSuccess);
    RT(cudaStreamDestroy(s));
    RT(cudaFree(dev));
    return test_result("launch_ex");
}
