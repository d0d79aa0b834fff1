// surfaces.cu -- surface objects: reads and writes of every shape, at the edges too
#include "check.h"

#include <vector>

__global__ void
fill_2d(cudaSurfaceObject_t s, int w, int h)
{
    int x = blockIdx.x * blockDim.x + threadIdx.x, y = blockIdx.y * blockDim.y + threadIdx.y;

    if (x < w && y < h)
        surf2Dwrite(make_float2(x, y), s, x * (int)sizeof(float2), y);
}

__global__ void
swap_2d(cudaSurfaceObject_t in, cudaSurfaceObject_t out, int w, int h)
{
    int x = blockIdx.x * blockDim.x + threadIdx.x, y = blockIdx.y * blockDim.y + threadIdx.y;

    if (x < w && y < h) {
        float2 v = surf2Dread<float2>(in, x * (int)sizeof(float2), y);

        surf2Dwrite(make_float2(v.y, v.x), out, x * (int)sizeof(float2), y);
    }
}

// Beyond the edges: the nearest, zero, and nothing.
__global__ void
edges(cudaSurfaceObject_t s, float2 *out)
{
    out[0] = surf2Dread<float2>(s, -8, 3, cudaBoundaryModeClamp);
    out[1] = surf2Dread<float2>(s, 1000 * 8, 1000, cudaBoundaryModeClamp);
    out[2] = surf2Dread<float2>(s, -8, 3, cudaBoundaryModeZero);
    surf2Dwrite(make_float2(77, 77), s, -8, 0, cudaBoundaryModeZero);
    surf2Dwrite(make_float2(5, 6), s, 8 * 8, -4, cudaBoundaryModeClamp);
}

__global__ void
bytes_1d(cudaSurfaceObject_t s, int n)
{
    int i = threadIdx.x;

    if (i < n)
        surf1Dwrite((unsigned char)(i * 3), s, i);
    __syncthreads();
    if (i < n / 4) { // the same bytes, four at a time
        unsigned v = surf1Dread<unsigned>(s, i * 4);

        surf1Dwrite(v + 1, s, i * 4);
    }
}

__global__ void
layers_3d(cudaSurfaceObject_t volume, cudaSurfaceObject_t layered)
{
    int x = threadIdx.x, y = threadIdx.y, z = blockIdx.x;

    surf3Dwrite(x + 10 * y + 100 * z, volume, x * 4, y, z);
    surf2DLayeredwrite(1 + surf3Dread<int>(volume, x * 4, y, z), layered, x * 4, y, z);
}

__global__ void
outside(cudaSurfaceObject_t s)
{
    surf2Dwrite(make_float2(0, 0), s, 0, 1000000);
}

static cudaSurfaceObject_t
surface_of(cudaArray_t array)
{
    cudaResourceDesc res = {};
    cudaSurfaceObject_t s;

    res.resType = cudaResourceTypeArray;
    res.res.array.array = array;
    RT(cudaCreateSurfaceObject(&s, &res));
    return s;
}

template <typename T>
static cudaArray_t
array_of(int w, int h, int d, unsigned flags)
{
    cudaChannelFormatDesc desc = cudaCreateChannelDesc<T>();
    cudaArray_t array;

    RT(cudaMalloc3DArray(&array, &desc, make_cudaExtent(w, h, d),
                         flags | cudaArraySurfaceLoadStore));
    return array;
}

static void
two_dimensions()
{
    const int w = 50, h = 20;
    cudaArray_t a = array_of<float2>(w, h, 0, 0), b = array_of<float2>(w, h, 0, 0);
    cudaSurfaceObject_t sa = surface_of(a), sb = surface_of(b);
    std::vector<float2> out(w * h);
    float2 *d_edge, edge[3];

    fill_2d<<<dim3(4, 2), dim3(16, 16)>>>(sa, w, h);
    swap_2d<<<dim3(4, 2), dim3(16, 16)>>>(sa, sb, w, h);
    RT(cudaMemcpy2DFromArray(out.data(), w * 8, b, 0, 0, w * 8, h, cudaMemcpyDeviceToHost));
    for (int y = 0; y < h; y++)
        for (int x = 0; x < w; x++)
            EXPECT(out[y * w + x].x == y && out[y * w + x].y == x);
    RT(cudaMalloc(&d_edge, sizeof(edge)));
    edges<<<1, 1>>>(sa, d_edge);
    RT(cudaMemcpy(edge, d_edge, sizeof(edge), cudaMemcpyDeviceToHost));
    EXPECT(edge[0].x == 0 && edge[0].y == 3);
    EXPECT(edge[1].x == w - 1 && edge[1].y == h - 1);
    EXPECT(edge[2].x == 0 && edge[2].y == 0);
    RT(cudaMemcpy2DFromArray(out.data(), w * 8, a, 0, 0, w * 8, h, cudaMemcpyDeviceToHost));
    EXPECT(out[0].x == 0 && out[0].y == 0 && out[8].x == 5 && out[8].y == 6);
    RT(cudaDestroySurfaceObject(sa));
    RT(cudaDestroySurfaceObject(sb));
    RT(cudaFree(d_edge));
    RT(cudaFreeArray(a));
    RT(cudaFreeArray(b));
    std::printf("two dimensions: done\n");
}

static void
one_and_three()
{
    cudaArray_t line = array_of<unsigned char>(64, 0, 0, 0), volume = array_of<int>(8, 4, 3, 0),
                layered = array_of<int>(8, 4, 3, cudaArrayLayered);
    cudaSurfaceObject_t sl = surface_of(line), sv = surface_of(volume), sy = surface_of(layered);
    unsigned char bytes[64];
    int out[8 * 4 * 3];
    cudaMemcpy3DParms copy = {};

    bytes_1d<<<1, 64>>>(sl, 64);
    RT(cudaMemcpy2DFromArray(bytes, 64, line, 0, 0, 64, 1, cudaMemcpyDeviceToHost));
    for (int i = 0; i < 64; i++)
        EXPECT(bytes[i] == (unsigned char)(i * 3 + (i % 4 == 0)));
    layers_3d<<<3, dim3(8, 4)>>>(sv, sy);
    copy.srcArray = layered;
    copy.dstPtr = make_cudaPitchedPtr(out, 8 * 4, 8, 4);
    copy.extent = make_cudaExtent(8, 4, 3);
    copy.kind = cudaMemcpyDeviceToHost;
    RT(cudaMemcpy3D(&copy));
    for (int z = 0; z < 3; z++)
        for (int y = 0; y < 4; y++)
            for (int x = 0; x < 8; x++)
                EXPECT(out[(z * 4 + y) * 8 + x] == 1 + x + 10 * y + 100 * z);
    RT(cudaDestroySurfaceObject(sl));
    RT(cudaDestroySurfaceObject(sv));
    RT(cudaDestroySurfaceObject(sy));
    RT(cudaFreeArray(line));
    RT(cudaFreeArray(volume));
    RT(cudaFreeArray(layered));
    std::printf("one and three: done\n");
}

int
main()
{
    two_dimensions();
    one_and_three();
    // A trap ends the context, as any fault does.
    cudaArray_t a = array_of<float2>(8, 8, 0, 0);
    outside<<<1, 1>>>(surface_of(a));
    EXPECT_RT(cudaErrorLaunchFailure, cudaDeviceSynchronize());
    EXPECT_RT(cudaErrorLaunchFailure, cudaDeviceSynchronize());
    return test_result("surfaces");
}
