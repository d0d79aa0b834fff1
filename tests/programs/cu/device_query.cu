/* tests/programs/cu/device_query.cu -- the properties of the devices as the runtime tells them */
#include "check.h"

int
main()
{
    int count, driver, runtime, current;

    RT(cudaGetDeviceCount(&count));
    RT(cudaDriverGetVersion(&driver));
    RT(cudaRuntimeGetVersion(&runtime));
    EXPECT(count >= 1);
    EXPECT(driver >= runtime);
    std::printf("driver %d, runtime %d, %d device(s)\n", driver, runtime, count);
    for (int d = 0; d < count; d++) {
        cudaDeviceProp p;
        int value, same;

        RT(cudaSetDevice(d));
        RT(cudaGetDevice(&current));
        EXPECT(current == d);
        RT(cudaGetDeviceProperties(&p, d));
        std::printf("device %d: %s, capability %d.%d\n", d, p.name, p.major, p.minor);
        std::printf("  memory %zu, constant %zu, L2 %d, bus %d bit\n", p.totalGlobalMem,
                    p.totalConstMem, p.l2CacheSize, p.memoryBusWidth);
        std::printf("  processors %d, warp %d, registers %d, threads %d per block, %d per processor\n",
                    p.multiProcessorCount, p.warpSize, p.regsPerBlock, p.maxThreadsPerBlock,
                    p.maxThreadsPerMultiProcessor);
        std::printf("  block %d %d %d, grid %d %d %d\n", p.maxThreadsDim[0], p.maxThreadsDim[1],
                    p.maxThreadsDim[2], p.maxGridSize[0], p.maxGridSize[1], p.maxGridSize[2]);
        std::printf("  shared %zu per block, %zu opt in, %zu per processor\n", p.sharedMemPerBlock,
                    p.sharedMemPerBlockOptin, p.sharedMemPerMultiprocessor);
        std::printf("  pci %04x:%02x:%02x, unified addressing %d, managed %d, cooperative %d\n",
                    p.pciDomainID, p.pciBusID, p.pciDeviceID, p.unifiedAddressing, p.managedMemory,
                    p.cooperativeLaunch);
        RT(cudaDeviceGetAttribute(&value, cudaDevAttrMultiProcessorCount, d));
        EXPECT(value == p.multiProcessorCount);
        char bus[32];
        RT(cudaDeviceGetPCIBusId(bus, sizeof(bus), d));
        RT(cudaDeviceGetByPCIBusId(&same, bus));
        EXPECT(same == d);
        EXPECT(p.warpSize == 32 && p.major >= 7 && p.maxThreadsPerBlock >= 1024);
    }
    EXPECT_RT(cudaErrorInvalidDevice, cudaSetDevice(count));
    EXPECT_RT(cudaErrorInvalidDevice, cudaGetLastError());
    EXPECT_RT(cudaSuccess, cudaGetLastError());
    return test_result("device_query");
}
