/* tests/programs/cu/rdc_main.cu -- device code in two files, linked (nvcc -rdc=true) */
#include "check.h"
#include "rdc_part.h"

__device__ int shared_counter = 1000; /* used by the other file */

__global__ void
combine(const int *in, int *out, int n)
{
    int i = blockIdx.x * blockDim.x + threadIdx.x;

    if (i < n)
        out[i] = part_transform(in[i]) + part_table[i % 8];
}

int
main()
{
    const int n = 1000;
    int in[n], out[n], *din, *dout, wrong = 0;

    for (int i = 0; i < n; i++)
        in[i] = i - 500;
    RT(cudaMalloc(&din, sizeof(in)));
    RT(cudaMalloc(&dout, sizeof(out)));
    RT(cudaMemcpy(din, in, sizeof(in), cudaMemcpyHostToDevice));
    combine<<<(n + 127) / 128, 128>>>(din, dout, n);
    RT(cudaGetLastError());
    RT(cudaMemcpy(out, dout, sizeof(out), cudaMemcpyDeviceToHost));
    for (int i = 0; i < n; i++)
        wrong += out[i] != in[i] * in[i] + 1000 + (i % 8) * 11;
    EXPECT(wrong == 0);

    int launched = part_launch();
    EXPECT(launched == 1042);
    std::printf("two files: %d wrong, other file's kernel says %d\n", wrong, launched);
    RT(cudaFree(din));
    RT(cudaFree(dout));
    return test_result("rdc");
}
