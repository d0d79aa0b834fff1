// textures.cu -- texture objects of every shape, filter and address mode, against the formulas of the
// programming guide
#include "check.h"

#include <cmath>
#include <vector>

static const int W = 16, H = 8;

static float
value(int x, int y, int z = 0)
{
    return (float)((x * 7 + y * 13 + z * 29) % 64) * 0.25f - 3.0f;
}

// An index as the address mode folds it; -1: the border.
static int
fold(cudaTextureAddressMode mode, int i, int n)
{
    if (i >= 0 && i < n)
        return i;
    switch (mode) {
    case cudaAddressModeWrap:
        return ((i % n) + n) % n;
    case cudaAddressModeMirror: {
        int m = ((i % (2 * n)) + 2 * n) % (2 * n);
        return m < n ? m : 2 * n - 1 - m;
    }
    case cudaAddressModeBorder:
        return -1;
    default:
        return i < 0 ? 0 : n - 1;
    }
}

static float
texel(cudaTextureAddressMode mode, int x, int y, float border)
{
    int i = fold(mode, x, W), j = fold(mode, y, H);

    return i < 0 || j < 0 ? border : value(i, j);
}

static float
reference(cudaTextureAddressMode mode, bool linear, float x, float y, float border)
{
    if (!linear)
        return texel(mode, (int)std::floor(x), (int)std::floor(y), border);
    float bx = x - 0.5f, by = y - 0.5f;
    int i = (int)std::floor(bx), j = (int)std::floor(by);
    float a = std::rint((bx - i) * 256) / 256, b = std::rint((by - j) * 256) / 256;

    return (1 - a) * (1 - b) * texel(mode, i, j, border) +
           a * (1 - b) * texel(mode, i + 1, j, border) +
           (1 - a) * b * texel(mode, i, j + 1, border) + a * b * texel(mode, i + 1, j + 1, border);
}

__global__ void
sample_2d(cudaTextureObject_t t, const float2 *at, float *out, int n)
{
    int i = blockIdx.x * blockDim.x + threadIdx.x;

    if (i < n)
        out[i] = tex2D<float>(t, at[i].x, at[i].y);
}

static cudaArray_t
make_2d()
{
    std::vector<float> host(W * H);
    cudaChannelFormatDesc desc = cudaCreateChannelDesc<float>();
    cudaArray_t array;

    for (int y = 0; y < H; y++)
        for (int x = 0; x < W; x++)
            host[y * W + x] = value(x, y);
    RT(cudaMallocArray(&array, &desc, W, H));
    RT(cudaMemcpy2DToArray(array, 0, 0, host.data(), W * 4, W * 4, H, cudaMemcpyHostToDevice));
    return array;
}

static void
filters()
{
    const cudaTextureAddressMode modes[] = {cudaAddressModeWrap, cudaAddressModeClamp,
                                            cudaAddressModeMirror, cudaAddressModeBorder};
    const int n = 500;
    cudaArray_t array = make_2d();
    std::vector<float2> at(n);
    std::vector<float> out(n);
    float2 *d_at;
    float *d_out;
    int checked = 0;

    RT(cudaMalloc(&d_at, n * sizeof(float2)));
    RT(cudaMalloc(&d_out, n * sizeof(float)));
    for (int m = 0; m < 4; m++) {
        for (int linear = 0; linear < 2; linear++) {
            for (int normalized = 0; normalized < 2; normalized++) {
                cudaResourceDesc res = {};
                cudaTextureDesc tex = {};
                cudaTextureObject_t t;

                res.resType = cudaResourceTypeArray;
                res.res.array.array = array;
                tex.addressMode[0] = tex.addressMode[1] = modes[m];
                tex.filterMode = linear ? cudaFilterModeLinear : cudaFilterModePoint;
                tex.normalizedCoords = normalized;
                tex.borderColor[0] = 5.5f;
                RT(cudaCreateTextureObject(&t, &res, &tex, nullptr));
                for (int i = 0; i < n; i++) { // exact on both sides, and on no texel's edge
                    at[i].x = (float)((i * 37) % 800 - 200) / 16 + 1.0f / 32;
                    at[i].y = (float)((i * 53) % 500 - 150) / 16 + 1.0f / 32;
                    if (normalized) {
                        at[i].x /= W;
                        at[i].y /= H;
                    }
                }
                RT(cudaMemcpy(d_at, at.data(), n * sizeof(float2), cudaMemcpyHostToDevice));
                sample_2d<<<(n + 127) / 128, 128>>>(t, d_at, d_out, n);
                RT(cudaMemcpy(out.data(), d_out, n * sizeof(float), cudaMemcpyDeviceToHost));
                cudaTextureAddressMode mode = modes[m];
                if (!normalized && (mode == cudaAddressModeWrap || mode == cudaAddressModeMirror))
                    mode = cudaAddressModeClamp;
                for (int i = 0; i < n; i++) {
                    float x = at[i].x * (normalized ? W : 1), y = at[i].y * (normalized ? H : 1);
                    float want = reference(mode, linear, x, y, 5.5f);

                    EXPECT(std::fabs(out[i] - want) < 1e-4f);
                    checked++;
                }
                RT(cudaDestroyTextureObject(t));
            }
        }
    }
    RT(cudaFree(d_at));
    RT(cudaFree(d_out));
    RT(cudaFreeArray(array));
    std::printf("filters: %d samples\n", checked);
}

__global__ void
fetch_1d(cudaTextureObject_t t, int4 *out, int n)
{
    int i = blockIdx.x * blockDim.x + threadIdx.x;

    if (i < n)
        out[i] = tex1Dfetch<int4>(t, i - 2);
}

__global__ void
sample_uchar(cudaTextureObject_t t, float4 *out, int n)
{
    int i = threadIdx.x;

    if (i < n)
        out[i] = tex2D<float4>(t, i + 0.5f, 0.5f);
}

__global__ void
read_int8(cudaTextureObject_t t, int *out)
{
    out[threadIdx.x] = tex1Dfetch<char>(t, threadIdx.x);
}

static void
memory()
{
    const int n = 100;
    std::vector<int4> host(n), out(n + 4);
    int4 *data, *d_out;

    for (int i = 0; i < n; i++)
        host[i] = make_int4(i, -i, i * 1000, 7);
    RT(cudaMalloc(&data, n * sizeof(int4)));
    RT(cudaMalloc(&d_out, (n + 4) * sizeof(int4)));
    RT(cudaMemcpy(data, host.data(), n * sizeof(int4), cudaMemcpyHostToDevice));
    cudaResourceDesc res = {};
    cudaTextureDesc tex = {};
    cudaTextureObject_t t;
    res.resType = cudaResourceTypeLinear;
    res.res.linear.devPtr = data;
    res.res.linear.desc = cudaCreateChannelDesc<int4>();
    res.res.linear.sizeInBytes = n * sizeof(int4);
    RT(cudaCreateTextureObject(&t, &res, &tex, nullptr));
    fetch_1d<<<1, 128>>>(t, d_out, n + 4);
    RT(cudaMemcpy(out.data(), d_out, (n + 4) * sizeof(int4), cudaMemcpyDeviceToHost));
    for (int i = 0; i < n + 4; i++) {
        int4 want = i >= 2 && i < n + 2 ? host[i - 2] : make_int4(0, 0, 0, 0);
        EXPECT(std::memcmp(&want, &out[i], sizeof(want)) == 0);
    }
    cudaResourceDesc back = {};
    RT(cudaGetTextureObjectResourceDesc(&back, t));
    EXPECT(back.resType == cudaResourceTypeLinear && back.res.linear.devPtr == data &&
           back.res.linear.sizeInBytes == n * sizeof(int4));
    RT(cudaDestroyTextureObject(t));

    // rows of bytes read as fractions
    uchar4 *bytes;
    size_t pitch;
    std::vector<uchar4> row(8);
    std::vector<float4> f(8);
    float4 *d_f;
    for (int i = 0; i < 8; i++)
        row[i] = make_uchar4(i, 255 - i, 128, 255);
    RT(cudaMallocPitch(&bytes, &pitch, 8 * sizeof(uchar4), 2));
    RT(cudaMalloc(&d_f, 8 * sizeof(float4)));
    RT(cudaMemcpy(bytes, row.data(), 8 * sizeof(uchar4), cudaMemcpyHostToDevice));
    res = {};
    tex = {};
    res.resType = cudaResourceTypePitch2D;
    res.res.pitch2D.devPtr = bytes;
    res.res.pitch2D.desc = cudaCreateChannelDesc<uchar4>();
    res.res.pitch2D.width = 8;
    res.res.pitch2D.height = 2;
    res.res.pitch2D.pitchInBytes = pitch;
    tex.readMode = cudaReadModeNormalizedFloat;
    RT(cudaCreateTextureObject(&t, &res, &tex, nullptr));
    sample_uchar<<<1, 32>>>(t, d_f, 8);
    RT(cudaMemcpy(f.data(), d_f, 8 * sizeof(float4), cudaMemcpyDeviceToHost));
    for (int i = 0; i < 8; i++)
        EXPECT(std::fabs(f[i].x - i / 255.0f) < 1e-6f &&
               std::fabs(f[i].y - (255 - i) / 255.0f) < 1e-6f && f[i].w == 1.0f);
    RT(cudaDestroyTextureObject(t));

    // signed bytes stay whole
    signed char *small;
    int *d_i, i8[32];
    std::vector<signed char> s(32);
    for (int i = 0; i < 32; i++)
        s[i] = (signed char)(i * 8 - 128);
    RT(cudaMalloc(&small, 32));
    RT(cudaMalloc(&d_i, sizeof(i8)));
    RT(cudaMemcpy(small, s.data(), 32, cudaMemcpyHostToDevice));
    res = {};
    tex = {};
    res.resType = cudaResourceTypeLinear;
    res.res.linear.devPtr = small;
    res.res.linear.desc = cudaCreateChannelDesc<char>();
    res.res.linear.sizeInBytes = 32;
    RT(cudaCreateTextureObject(&t, &res, &tex, nullptr));
    read_int8<<<1, 32>>>(t, d_i);
    RT(cudaMemcpy(i8, d_i, sizeof(i8), cudaMemcpyDeviceToHost));
    for (int i = 0; i < 32; i++)
        EXPECT(i8[i] == i * 8 - 128);
    RT(cudaDestroyTextureObject(t));
    RT(cudaFree(data));
    RT(cudaFree(d_out));
    RT(cudaFree(bytes));
    RT(cudaFree(d_f));
    RT(cudaFree(small));
    RT(cudaFree(d_i));
    std::printf("memory: done\n");
}

__global__ void
sample_3d(cudaTextureObject_t t, float *out)
{
    int x = threadIdx.x, y = threadIdx.y, z = blockIdx.x;

    out[(z * 4 + y) * 4 + x] = tex3D<float>(t, x + 1.0f, y + 0.5f, z + 1.0f);
}

__global__ void
sample_layers(cudaTextureObject_t t, float *out)
{
    int x = threadIdx.x, y = threadIdx.y, z = blockIdx.x;

    out[(z * 4 + y) * 4 + x] = tex2DLayered<float>(t, x + 0.5f, y + 0.5f, z - 1);
}

__global__ void
sample_1d_layers(cudaTextureObject_t t, float *out)
{
    out[blockIdx.x * 8 + threadIdx.x] = tex1DLayered<float>(t, threadIdx.x + 0.5f, blockIdx.x);
}

static cudaArray_t
make_3d(int w, int h, int d, unsigned flags)
{
    std::vector<float> host((size_t)w * (h ? h : 1) * d);
    cudaChannelFormatDesc desc = cudaCreateChannelDesc<float>();
    cudaMemcpy3DParms copy = {};
    cudaArray_t array;

    for (int z = 0; z < d; z++)
        for (int y = 0; y < (h ? h : 1); y++)
            for (int x = 0; x < w; x++)
                host[(z * (h ? h : 1) + y) * w + x] = value(x, y, z);
    RT(cudaMalloc3DArray(&array, &desc, make_cudaExtent(w, h, d), flags));
    copy.srcPtr = make_cudaPitchedPtr(host.data(), w * 4, w, h ? h : 1);
    copy.dstArray = array;
    copy.extent = make_cudaExtent(w, h ? h : 1, d);
    copy.kind = cudaMemcpyHostToDevice;
    RT(cudaMemcpy3D(&copy));
    return array;
}

static cudaTextureObject_t
make_texture(cudaArray_t array, bool linear, bool normalized = false)
{
    cudaResourceDesc res = {};
    cudaTextureDesc tex = {};
    cudaTextureObject_t t;

    res.resType = cudaResourceTypeArray;
    res.res.array.array = array;
    for (int i = 0; i < 3; i++)
        tex.addressMode[i] = cudaAddressModeClamp;
    tex.filterMode = linear ? cudaFilterModeLinear : cudaFilterModePoint;
    tex.normalizedCoords = normalized;
    RT(cudaCreateTextureObject(&t, &res, &tex, nullptr));
    return t;
}

static void
shapes()
{
    float *d_out, out[64];
    cudaArray_t array;
    cudaTextureObject_t t;

    RT(cudaMalloc(&d_out, sizeof(out)));
    array = make_3d(5, 4, 5, 0);
    t = make_texture(array, true);
    sample_3d<<<4, dim3(4, 4)>>>(t, d_out);
    RT(cudaMemcpy(out, d_out, sizeof(out), cudaMemcpyDeviceToHost));
    for (int z = 0; z < 4; z++)
        for (int y = 0; y < 4; y++)
            for (int x = 0; x < 4; x++) {
                float want = (value(x, y, z) + value(x + 1, y, z) + value(x, y, z + 1) +
                              value(x + 1, y, z + 1)) / 4;
                EXPECT(std::fabs(out[(z * 4 + y) * 4 + x] - want) < 1e-5f);
            }
    RT(cudaDestroyTextureObject(t));
    RT(cudaFreeArray(array));

    array = make_3d(4, 4, 2, cudaArrayLayered); // layers beyond the ends are the ends
    t = make_texture(array, false);
    sample_layers<<<4, dim3(4, 4)>>>(t, d_out);
    RT(cudaMemcpy(out, d_out, sizeof(out), cudaMemcpyDeviceToHost));
    for (int z = 0; z < 4; z++)
        for (int y = 0; y < 4; y++)
            for (int x = 0; x < 4; x++)
                EXPECT(out[(z * 4 + y) * 4 + x] == value(x, y, z - 1 < 0 ? 0 : z - 1 > 1 ? 1 : z - 1));
    RT(cudaDestroyTextureObject(t));
    RT(cudaFreeArray(array));

    array = make_3d(8, 0, 3, cudaArrayLayered);
    t = make_texture(array, false);
    sample_1d_layers<<<3, 8>>>(t, d_out);
    RT(cudaMemcpy(out, d_out, 24 * 4, cudaMemcpyDeviceToHost));
    for (int z = 0; z < 3; z++)
        for (int x = 0; x < 8; x++)
            EXPECT(out[z * 8 + x] == value(x, 0, z));
    RT(cudaDestroyTextureObject(t));
    RT(cudaFreeArray(array));
    RT(cudaFree(d_out));
    std::printf("shapes: done\n");
}

__global__ void
sample_cube(cudaTextureObject_t t, float *out)
{
    // the middle of each face
    const float3 d[6] = {make_float3(1, 0, 0),  make_float3(-1, 0, 0), make_float3(0, 1, 0),
                         make_float3(0, -1, 0), make_float3(0, 0, 1),  make_float3(0, 0, -1)};
    int f = threadIdx.x;

    out[f] = texCubemap<float>(t, d[f].x, d[f].y, d[f].z);
    // towards +s of face +x is -z, towards +t is -y
    if (f == 0) {
        out[6] = texCubemap<float>(t, 1.0f, 0.0f, -0.75f);
        out[7] = texCubemap<float>(t, 1.0f, -0.75f, 0.0f);
    }
}

__global__ void
sample_cube_layers(cudaTextureObject_t t, float *out)
{
    out[threadIdx.x] = texCubemapLayered<float>(t, 0.0f, 0.0f, -2.0f, threadIdx.x);
}

static void
cubes()
{
    float *d_out, out[8];
    cudaArray_t array = make_3d(4, 4, 6, cudaArrayCubemap);
    cudaTextureObject_t t = make_texture(array, false, true);

    RT(cudaMalloc(&d_out, sizeof(out)));
    sample_cube<<<1, 6>>>(t, d_out);
    RT(cudaMemcpy(out, d_out, sizeof(out), cudaMemcpyDeviceToHost));
    for (int f = 0; f < 6; f++)
        EXPECT(out[f] == value(2, 2, f));
    EXPECT(out[6] == value(3, 2, 0) && out[7] == value(2, 3, 0));
    RT(cudaDestroyTextureObject(t));
    RT(cudaFreeArray(array));
    array = make_3d(4, 4, 12, cudaArrayCubemap | cudaArrayLayered);
    t = make_texture(array, false, true);
    sample_cube_layers<<<1, 2>>>(t, d_out);
    RT(cudaMemcpy(out, d_out, 8, cudaMemcpyDeviceToHost));
    EXPECT(out[0] == value(2, 2, 5) && out[1] == value(2, 2, 11));
    RT(cudaDestroyTextureObject(t));
    RT(cudaFreeArray(array));
    RT(cudaFree(d_out));
    std::printf("cubes: done\n");
}

__global__ void
sample_levels(cudaTextureObject_t t, float *out)
{
    int i = threadIdx.x;

    out[i] = tex2DLod<float>(t, 0.5f, 0.5f, i * 0.5f);
    out[8 + i] = tex2DGrad<float>(t, 0.5f, 0.5f, make_float2(i / 16.0f, 0), make_float2(0, 0));
}

static void
levels()
{
    cudaChannelFormatDesc desc = cudaCreateChannelDesc<float>();
    cudaMipmappedArray_t mip;
    float *d_out, out[16];

    RT(cudaMallocMipmappedArray(&mip, &desc, make_cudaExtent(16, 16, 0), 5));
    for (int l = 0; l < 5; l++) {
        int n = 16 >> l;
        std::vector<float> host(n * n, 10.0f * l);
        cudaArray_t level, again;
        cudaExtent extent;

        RT(cudaGetMipmappedArrayLevel(&level, mip, l));
        RT(cudaGetMipmappedArrayLevel(&again, mip, l));
        EXPECT(level == again);
        RT(cudaArrayGetInfo(nullptr, &extent, nullptr, level));
        EXPECT((int)extent.width == n && (int)extent.height == n && extent.depth == 0);
        RT(cudaMemcpy2DToArray(level, 0, 0, host.data(), n * 4, n * 4, n, cudaMemcpyHostToDevice));
    }
    RT(cudaMalloc(&d_out, sizeof(out)));
    for (int linear = 0; linear < 2; linear++) {
        cudaResourceDesc res = {};
        cudaTextureDesc tex = {};
        cudaTextureObject_t t;

        res.resType = cudaResourceTypeMipmappedArray;
        res.res.mipmap.mipmap = mip;
        tex.normalizedCoords = 1;
        tex.filterMode = cudaFilterModeLinear;
        tex.mipmapFilterMode = linear ? cudaFilterModeLinear : cudaFilterModePoint;
        tex.maxMipmapLevelClamp = 3;
        RT(cudaCreateTextureObject(&t, &res, &tex, nullptr));
        sample_levels<<<1, 8>>>(t, d_out);
        RT(cudaMemcpy(out, d_out, sizeof(out), cudaMemcpyDeviceToHost));
        for (int i = 0; i < 8; i++) {
            float lod = i * 0.5f > 3 ? 3 : i * 0.5f;

            EXPECT(out[i] == (linear ? 10 * lod : 10 * std::floor(lod + 0.5f)));
        }
        EXPECT(out[8 + 1] == 0 && out[8 + 2] == 10 && out[8 + 4] == 20);
        RT(cudaDestroyTextureObject(t));
        // a view of two levels in the middle
        cudaResourceViewDesc view = {};
        view.format = cudaResViewFormatFloat1;
        view.width = 16;
        view.height = 16;
        view.firstMipmapLevel = 1;
        view.lastMipmapLevel = 2;
        RT(cudaCreateTextureObject(&t, &res, &tex, &view));
        sample_levels<<<1, 8>>>(t, d_out);
        RT(cudaMemcpy(out, d_out, sizeof(out), cudaMemcpyDeviceToHost));
        EXPECT(out[0] == 10 && out[2] == 20 && out[7] == 20);
        RT(cudaDestroyTextureObject(t));
    }
    RT(cudaFree(d_out));
    RT(cudaFreeMipmappedArray(mip));
    std::printf("levels: done\n");
}

__global__ void
gather(cudaTextureObject_t t, float4 *out)
{
    out[threadIdx.x] = tex2Dgather<float4>(t, threadIdx.x + 1.0f, 2.0f, 0);
}

static void
gathers()
{
    cudaChannelFormatDesc desc = cudaCreateChannelDesc<float>();
    std::vector<float> host(W * H);
    float4 *d_out, out[8];
    cudaArray_t array;

    for (int y = 0; y < H; y++)
        for (int x = 0; x < W; x++)
            host[y * W + x] = value(x, y);
    RT(cudaMallocArray(&array, &desc, W, H, cudaArrayTextureGather));
    RT(cudaMemcpy2DToArray(array, 0, 0, host.data(), W * 4, W * 4, H, cudaMemcpyHostToDevice));
    cudaTextureObject_t t = make_texture(array, false);
    RT(cudaMalloc(&d_out, sizeof(out)));
    gather<<<1, 8>>>(t, d_out);
    RT(cudaMemcpy(out, d_out, sizeof(out), cudaMemcpyDeviceToHost));
    for (int x = 0; x < 8; x++)
        EXPECT(out[x].x == value(x, 2) && out[x].y == value(x + 1, 2) &&
               out[x].z == value(x + 1, 1) && out[x].w == value(x, 1));
    RT(cudaDestroyTextureObject(t));
    RT(cudaFreeArray(array));
    RT(cudaFree(d_out));
    std::printf("gathers: done\n");
}

static void
mistakes()
{
    cudaArray_t array = make_2d();
    cudaResourceDesc res = {};
    cudaTextureDesc tex = {};
    cudaTextureObject_t t;
    cudaSurfaceObject_t s;

    res.resType = cudaResourceTypeArray;
    res.res.array.array = array;
    EXPECT_RT(cudaErrorInvalidValue, cudaCreateSurfaceObject(&s, &res)); // not made for that
    RT(cudaFreeArray(array));
    res.resType = cudaResourceTypeLinear;
    res.res.linear.devPtr = (void *)0x12340000;
    res.res.linear.desc = cudaCreateChannelDesc<float>();
    res.res.linear.sizeInBytes = 64;
    EXPECT_RT(cudaErrorInvalidValue, cudaCreateTextureObject(&t, &res, &tex, nullptr));
    (void)cudaGetLastError();
    std::printf("mistakes: done\n");
}

int
main()
{
    filters();
    memory();
    shapes();
    cubes();
    levels();
    gathers();
    mistakes();
    return test_result("textures");
}
