/* tests/programs/cu/cluster.cu -- cooperative groups over clusters: a histogram whose bins are spread
 * over the shared memory of a cluster's blocks, ranks and dimensions */
#include "check.h"

#include <cooperative_groups.h>

namespace cg = cooperative_groups;

/* Each block of the cluster holds a part of the bins. */
__global__ void
histogram(unsigned *bins, int nbins, int per_block, const int *input, int n)
{
    extern __shared__ unsigned part[];
    cg::cluster_group cluster = cg::this_cluster();
    unsigned rank = cluster.block_rank();

    for (unsigned i = threadIdx.x; i < (unsigned)per_block; i += blockDim.x)
        part[i] = 0;
    cluster.sync();
    for (int i = cg::this_grid().thread_rank(); i < n; i += blockDim.x * gridDim.x) {
        int bin = min(max(input[i], 0), nbins - 1);
        unsigned *there = cluster.map_shared_rank(part, bin / per_block);

        atomicAdd(there + bin % per_block, 1);
    }
    cluster.sync();
    for (unsigned i = threadIdx.x; i < (unsigned)per_block; i += blockDim.x)
        atomicAdd(&bins[rank * per_block + i], part[i]);
}

/* Clusters of 2 x 2 that the compiler is told; each block says what it knows of itself. */
__global__ void __cluster_dims__(2, 2, 1)
places(uint4 *out)
{
    __shared__ unsigned word;
    cg::cluster_group cluster = cg::this_cluster();
    dim3 at = cluster.block_index(), dim = cluster.dim_blocks();
    unsigned *first = cluster.map_shared_rank(&word, 0);

    if (threadIdx.x == 0)
        word = 0;
    cluster.sync();
    atomicAdd(first, 1 + cluster.query_shared_rank(&word));
    cg::cluster_group::arrival_token token = cluster.barrier_arrive();
    cluster.barrier_wait(static_cast<cg::cluster_group::arrival_token &&>(token));
    if (threadIdx.x == 0)
        out[blockIdx.y * gridDim.x + blockIdx.x] =
            make_uint4(at.x + 10 * at.y + 100 * cluster.block_rank(), dim.x + 10 * dim.y,
                       cluster.num_threads() + 1000 * cluster.query_shared_rank(first), *first);
    cluster.sync();
}

static int
run_histogram(unsigned size)
{
    const int nbins = 64, n = 1 << 14;
    int *input;
    unsigned *bins, want[nbins] = {}, got[nbins];
    cudaLaunchConfig_t config = {};
    cudaLaunchAttribute attr = {};
    int per_block = nbins / (int)size, wrong = 0, active = 0;

    RT(cudaMallocManaged(&input, n * sizeof(*input)));
    RT(cudaMalloc(&bins, sizeof(got)));
    RT(cudaMemset(bins, 0, sizeof(got)));
    for (int i = 0; i < n; i++) {
        input[i] = (int)((unsigned)i * 2654435761u >> 26);
        want[input[i]]++;
    }
    config.gridDim = dim3(16);
    config.blockDim = dim3(128);
    config.dynamicSmemBytes = per_block * sizeof(unsigned);
    attr.id = cudaLaunchAttributeClusterDimension;
    attr.val.clusterDim = {size, 1, 1};
    config.attrs = &attr;
    config.numAttrs = 1;
    RT(cudaOccupancyMaxActiveClusters(&active, histogram, &config));
    EXPECT(active > 0);
    RT(cudaLaunchKernelEx(&config, histogram, bins, nbins, per_block, (const int *)input, n));
    RT(cudaMemcpy(got, bins, sizeof(got), cudaMemcpyDeviceToHost));
    for (int i = 0; i < nbins; i++)
        wrong += got[i] != want[i];
    RT(cudaFree(input));
    RT(cudaFree(bins));
    return wrong;
}

int
main()
{
    uint4 *out, got[24];
    int wrong = 0;

    for (unsigned size = 1; size <= 8; size *= 2)
        std::printf("histogram in clusters of %u: %d wrong\n", size, run_histogram(size));
    RT(cudaMalloc(&out, sizeof(got)));
    places<<<dim3(6, 4), 32>>>(out);
    RT(cudaMemcpy(got, out, sizeof(got), cudaMemcpyDeviceToHost));
    for (unsigned i = 0; i < 24; i++) {
        unsigned x = i % 6 % 2, y = i / 6 % 2;

        wrong += got[i].x != x + 10 * y + 100 * (x + 2 * y) || got[i].y != 22 || got[i].z != 128 ||
                 got[i].w != 32 * (1 + 2 + 3 + 4);
    }
    EXPECT(wrong == 0);
    std::printf("places: %d wrong\n", wrong);
    places<<<dim3(5, 4), 32>>>(out);
    EXPECT(cudaGetLastError() == cudaErrorInvalidClusterSize);
    RT(cudaFree(out));
    return test_result("cluster");
}
