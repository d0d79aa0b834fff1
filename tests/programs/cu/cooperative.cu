/* tests/programs/cu/cooperative.cu -- a barrier across the grid, groups of threads, big parameters */
#include "check.h"

#include <cooperative_groups.h>

namespace cg = cooperative_groups;

struct big {
    uint32_t words[1000];
};

/* Ring: in each of `steps` steps every block adds its left neighbour's value. */
__global__ void
ring(uint32_t *a, uint32_t *b, int steps)
{
    cg::grid_group grid = cg::this_grid();
    uint32_t me = blockIdx.x, left = (blockIdx.x + gridDim.x - 1) % gridDim.x;

    for (int s = 0; s < steps; s++) {
        if (threadIdx.x == 0)
            b[me] = a[me] + a[left];
        grid.sync();
        uint32_t *t = a;
        a = b;
        b = t;
    }
}

__global__ void
tiles(uint32_t *out)
{
    cg::thread_block block = cg::this_thread_block();
    cg::thread_block_tile<8> tile = cg::tiled_partition<8>(block);
    uint32_t v = threadIdx.x;

    for (int d = 4; d > 0; d /= 2)
        v += tile.shfl_down(v, d);
    if (tile.thread_rank() == 0)
        out[threadIdx.x / 8] = v;
}

__global__ void
take(big p, uint32_t *out)
{
    atomicAdd(out, p.words[threadIdx.x] * (threadIdx.x + 1));
}

int
main()
{
    const int blocks = 8, steps = 6;
    uint32_t *a, *b, *out, host[blocks], now[blocks], next[blocks], sums[16], wrong = 0;
    int count = steps;
    void *args[] = {&a, &b, &count};

    RT(cudaMalloc(&a, sizeof(host)));
    RT(cudaMalloc(&b, sizeof(host)));
    RT(cudaMalloc(&out, sizeof(sums)));
    for (int i = 0; i < blocks; i++)
        host[i] = now[i] = i + 1;
    RT(cudaMemcpy(a, host, sizeof(host), cudaMemcpyHostToDevice));
    RT(cudaLaunchCooperativeKernel(ring, dim3(blocks), dim3(64), args, 0, 0));
    RT(cudaMemcpy(host, a, sizeof(host), cudaMemcpyDeviceToHost));
    for (int s = 0; s < steps; s++) {
        for (int i = 0; i < blocks; i++)
            next[i] = now[i] + now[(i + blocks - 1) % blocks];
        std::memcpy(now, next, sizeof(now));
    }
    for (int i = 0; i < blocks; i++)
        wrong += host[i] != now[i];
    EXPECT(wrong == 0);
    std::printf("ring: %u wrong\n", wrong);

    tiles<<<1, 128>>>(out);
    RT(cudaMemcpy(sums, out, sizeof(sums), cudaMemcpyDeviceToHost));
    for (uint32_t i = 0, bad = 0; i < 16; i++) {
        bad += sums[i] != 8 * (8 * i) + 28;
        EXPECT(bad == 0);
    }
    std::printf("tiles: done\n");

    big p;
    uint32_t want = 0, got;
    for (uint32_t i = 0; i < 1000; i++) {
        p.words[i] = lcg(i);
        want += p.words[i] * (i + 1);
    }
    RT(cudaMemset(out, 0, 4));
    take<<<1, 1000>>>(p, out);
    RT(cudaMemcpy(&got, out, 4, cudaMemcpyDeviceToHost));
    EXPECT(got == want);
    std::printf("big parameters: %u\n", got);
    RT(cudaFree(a));
    RT(cudaFree(b));
    RT(cudaFree(out));
    return test_result("cooperative");
}
