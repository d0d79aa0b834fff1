/* tests/programs/cu/templates.cu -- one kernel template over several types, with dynamic shared
 * memory, and a device function chosen by a template argument */
#include "check.h"

#include <vector>

template <typename T> struct shared_memory;
template <> struct shared_memory<int> {
    static __device__ int *
    get()
    {
        extern __shared__ int shared_int[];
        return shared_int;
    }
};
template <> struct shared_memory<float> {
    static __device__ float *
    get()
    {
        extern __shared__ float shared_float[];
        return shared_float;
    }
};
template <> struct shared_memory<double> {
    static __device__ double *
    get()
    {
        extern __shared__ double shared_double[];
        return shared_double;
    }
};
template <> struct shared_memory<unsigned char> {
    static __device__ unsigned char *
    get()
    {
        extern __shared__ unsigned char shared_bytes[];
        return shared_bytes;
    }
};

template <typename T>
__global__ void
scale_reversed(const T *in, T *out, T factor)
{
    T *line = shared_memory<T>::get();
    unsigned n = blockDim.x, t = threadIdx.x;

    line[t] = in[blockIdx.x * n + t];
    __syncthreads();
    out[blockIdx.x * n + t] = T(factor * line[n - 1 - t]);
}

template <typename T>
static void
run(const char *name, T factor, int threads)
{
    const int blocks = 5, n = blocks * threads;
    std::vector<T> in(n), out(n);
    T *din, *dout;
    int wrong = 0;

    for (int i = 0; i < n; i++)
        in[i] = T(i * 3 + 1);
    RT(cudaMalloc(&din, n * sizeof(T)));
    RT(cudaMalloc(&dout, n * sizeof(T)));
    RT(cudaMemcpy(din, in.data(), n * sizeof(T), cudaMemcpyHostToDevice));
    scale_reversed<T><<<blocks, threads, threads * sizeof(T)>>>(din, dout, factor);
    RT(cudaGetLastError());
    RT(cudaMemcpy(out.data(), dout, n * sizeof(T), cudaMemcpyDeviceToHost));
    for (int b = 0; b < blocks; b++)
        for (int t = 0; t < threads; t++)
            wrong += out[b * threads + t] != T(factor * in[b * threads + threads - 1 - t]);
    EXPECT(wrong == 0);
    std::printf("%s, %d threads: %d wrong\n", name, threads, wrong);
    RT(cudaFree(din));
    RT(cudaFree(dout));
}

int
main()
{
    run<int>("int", 7, 32);
    run<int>("int", -3, 1000);
    run<float>("float", 0.3f, 256);
    run<double>("double", 1e-3, 512);
    run<unsigned char>("unsigned char", 3, 77);
    return test_result("templates");
}
