/* tests/programs/cu/copies.cu -- pitched and three-dimensional memory, every direction, and fills */
#include "check.h"

#include <vector>

__global__ void
transpose_pitched(const char *in, size_t in_pitch, char *out, size_t out_pitch, int w, int h)
{
    int x = blockIdx.x * blockDim.x + threadIdx.x, y = blockIdx.y * blockDim.y + threadIdx.y;

    if (x < w && y < h)
        reinterpret_cast<float *>(out + x * out_pitch)[y] =
            reinterpret_cast<const float *>(in + y * in_pitch)[x];
}

static void
pitched()
{
    const int w = 67, h = 45;
    std::vector<float> host(w * h), back(w * h);
    size_t pa, pb;
    char *a, *b;
    int wrong = 0;

    for (int i = 0; i < w * h; i++)
        host[i] = float(i);
    RT(cudaMallocPitch(&a, &pa, w * 4, h));
    RT(cudaMallocPitch(&b, &pb, h * 4, w));
    RT(cudaMemcpy2D(a, pa, host.data(), w * 4, w * 4, h, cudaMemcpyHostToDevice));
    transpose_pitched<<<dim3(5, 3), dim3(16, 16)>>>(a, pa, b, pb, w, h);
    RT(cudaMemcpy2DAsync(back.data(), h * 4, b, pb, h * 4, w, cudaMemcpyDeviceToHost));
    RT(cudaStreamSynchronize(0));
    for (int y = 0; y < h; y++)
        for (int x = 0; x < w; x++)
            wrong += back[x * h + y] != host[y * w + x];
    EXPECT(wrong == 0);
    RT(cudaMemset2D(a, pa, 0x3f, 8, h));
    RT(cudaMemcpy2D(back.data(), w * 4, a, pa, w * 4, h, cudaMemcpyDeviceToHost));
    uint32_t word;
    std::memcpy(&word, &back[w], 4);
    EXPECT(word == 0x3f3f3f3f && back[w + 2] == host[w + 2]);
    RT(cudaFree(a));
    RT(cudaFree(b));
    std::printf("pitched: %d wrong\n", wrong);
}

static void
volume()
{
    const size_t w = 30, h = 9, d = 6;
    std::vector<unsigned char> in(w * h * d), out(w * h * d, 0);
    cudaExtent extent = make_cudaExtent(w, h, d);
    cudaPitchedPtr dev;
    cudaMemcpy3DParms up = {}, down = {};

    for (size_t i = 0; i < in.size(); i++)
        in[i] = (unsigned char)lcg((uint32_t)i);
    RT(cudaMalloc3D(&dev, extent));
    up.srcPtr = make_cudaPitchedPtr(in.data(), w, w, h);
    up.dstPtr = dev;
    up.extent = extent;
    up.kind = cudaMemcpyHostToDevice;
    RT(cudaMemcpy3D(&up));
    down.srcPtr = dev;
    down.dstPtr = make_cudaPitchedPtr(out.data(), w, w, h);
    down.extent = extent;
    down.kind = cudaMemcpyDeviceToHost;
    RT(cudaMemcpy3DAsync(&down));
    RT(cudaDeviceSynchronize());
    EXPECT(in == out);
    RT(cudaFree(dev.ptr));
    std::printf("volume: %s\n", in == out ? "equal" : "different");
}

static void
directions()
{
    std::vector<int> in(10000), out(10000);
    int *a, *b;

    for (int i = 0; i < 10000; i++)
        in[i] = i * i;
    RT(cudaMalloc(&a, 40000));
    RT(cudaMalloc(&b, 40000));
    RT(cudaMemcpy(a, in.data(), 40000, cudaMemcpyDefault));
    RT(cudaMemcpy(b, a, 40000, cudaMemcpyDefault));
    RT(cudaMemcpy(out.data(), b, 40000, cudaMemcpyDefault));
    EXPECT(in == out);
    RT(cudaMemset(b, 0, 20000));
    RT(cudaMemcpy(b + 5000, a, 20000, cudaMemcpyDeviceToDevice));
    RT(cudaMemcpy(out.data(), b, 40000, cudaMemcpyDeviceToHost));
    bool right = out[0] == 0 && out[4999] == 0 && out[5000] == in[0] && out[9999] == in[4999];
    EXPECT(right);
    RT(cudaMemcpy(out.data(), in.data(), 40000, cudaMemcpyHostToHost));
    EXPECT(in == out);
    RT(cudaFree(a));
    RT(cudaFree(b));
    std::printf("directions: %s\n", right ? "right" : "wrong");
}

int
main()
{
    pitched();
    volume();
    directions();
    return test_result("copies");
}
