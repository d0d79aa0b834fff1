/* tests/programs/cu/device_launch.cu -- kernels that launch kernels: nested, many at once, into
 * streams, behind their parent's end */
#include "check.h"

#include <vector>

struct task {
    uint32_t *out;
    uint32_t first, count; /* so that parameters are more than a word */
};

/* Halves its range until 4 are left: a tree of launches. */
__global__ void
split(task t, uint32_t depth)
{
    if (t.count <= 4) {
        for (uint32_t i = 0; i < t.count; i++)
            t.out[t.first + i] = t.first + i + 100 * depth;
        return;
    }
    task left = {t.out, t.first, t.count / 2};
    task right = {t.out, t.first + t.count / 2, t.count - t.count / 2};
    cudaStream_t stream;

    cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking);
    split<<<1, 1, 0, stream>>>(left, depth + 1);
    cudaStreamDestroy(stream);
    split<<<1, 1>>>(right, depth + 1);
}

__global__ void
add(uint32_t *sum, const uint32_t *values, uint32_t n)
{
    extern __shared__ uint32_t words[];
    uint32_t i = blockIdx.x * blockDim.x + threadIdx.x;

    words[threadIdx.x] = i < n ? values[i] : 0;
    __syncthreads();
    if (threadIdx.x == 0)
        for (uint32_t k = 0; k < blockDim.x; k++)
            atomicAdd(sum, words[k]);
}

/* Every thread launches; what a child sees was written by its parent before the launch. */
__global__ void
many(uint32_t *sums, uint32_t *values, uint32_t each)
{
    uint32_t t = blockIdx.x * blockDim.x + threadIdx.x;

    for (uint32_t i = 0; i < each; i++)
        values[t * each + i] = t + i;
    add<<<(each + 31) / 32, 32, 32 * sizeof(uint32_t)>>>(sums + t, values + t * each, each);
}

/* Runs when all before it in the grid's tail is done. */
__global__ void
append(uint32_t *log, uint32_t what)
{
    log[++log[0]] = what;
}

__global__ void
ordered(uint32_t *log)
{
    append<<<1, 1, 0, cudaStreamTailLaunch>>>(log, 3);
    append<<<1, 1>>>(log, 1);
    append<<<1, 1, 0, cudaStreamTailLaunch>>>(log, 4);
    append<<<1, 1>>>(log, 2);
}

/* A loop of tail launches, longer than launches may nest. */
__global__ void
again(uint32_t *left)
{
    if (--*left != 0)
        again<<<1, 1, 0, cudaStreamTailLaunch>>>(left);
}

__global__ void
too_big(uint32_t *error)
{
    append<<<1, 2048>>>(error, 7);
    error[1] = 1;
}

int
main()
{
    const uint32_t n = 100, threads = 64, each = 50;
    uint32_t *dev, wrong = 0, order[5] = {0}, left = 200;
    std::vector<uint32_t> out(8192);

    RT(cudaMalloc(&dev, out.size() * 4));
    RT(cudaMemset(dev, 0, out.size() * 4));
    split<<<1, 1>>>(task{dev, 0, n}, 0);
    RT(cudaMemcpy(out.data(), dev, n * 4, cudaMemcpyDeviceToHost));
    for (uint32_t i = 0; i < n; i++)
        wrong += out[i] % 100 != i % 100 || out[i] < 100 * 4 + i;
    EXPECT(wrong == 0);
    std::printf("nested: %u wrong\n", wrong);

    RT(cudaMemset(dev, 0, out.size() * 4));
    many<<<2, threads / 2>>>(dev, dev + threads, each);
    RT(cudaMemcpy(out.data(), dev, threads * 4, cudaMemcpyDeviceToHost));
    for (uint32_t t = wrong = 0; t < threads; t++)
        wrong += out[t] != t * each + each * (each - 1) / 2;
    EXPECT(wrong == 0);
    std::printf("many: %u wrong\n", wrong);

    RT(cudaMemset(dev, 0, out.size() * 4));
    ordered<<<1, 1>>>(dev);
    RT(cudaMemcpy(order, dev, sizeof(order), cudaMemcpyDeviceToHost));
    EXPECT(order[0] == 4 && order[3] == 3 && order[4] == 4);
    std::printf("tail launches: last %u %u\n", order[3], order[4]);

    RT(cudaMemcpy(dev, &left, 4, cudaMemcpyHostToDevice));
    again<<<1, 1>>>(dev);
    RT(cudaMemcpy(&left, dev, 4, cudaMemcpyDeviceToHost));
    EXPECT(left == 0);
    std::printf("a chain of tail launches: %u left\n", left);

    RT(cudaMemset(dev, 0, out.size() * 4));
    too_big<<<1, 1>>>(dev);
    RT(cudaMemcpy(order, dev, sizeof(order), cudaMemcpyDeviceToHost));
    EXPECT(order[0] == 0 && order[1] == 1);
    std::printf("an impossible launch: not run\n");
    RT(cudaFree(dev));
    return test_result("device_launch");
}
