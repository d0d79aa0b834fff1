/* drv_texrefs.c -- texture and surface references of modules, and launches as before CUDA 4 */
#include "drv.h"

#include "texture_ptx.h"

#define W 16u
#define H 4u

static CUmodule module;

static CUfunction
function(const char *name)
{
    CUfunction f;

    CU(cuModuleGetFunction(&f, module, name));
    return f;
}

/* One parameter, set as it was in CUDA 2. */
static void
launch_old(CUfunction f, CUdeviceptr out)
{
    CU(cuFuncSetBlockShape(f, W, 1, 1));
    CU(cuParamSetv(f, 0, &out, sizeof(out)));
    CU(cuParamSetSize(f, sizeof(out)));
    CU(cuLaunch(f));
}

static void
textures(void)
{
    CUtexref image, again, lookup;
    float in[W * H], out[W];
    int numbers[W], fetched[W];
    CUarray array, bound;
    CUdeviceptr mem, table, got;
    CUarray_format format;
    CUaddress_mode mode;
    CUfilter_mode filter;
    unsigned flags;
    size_t offset;
    float low, high, bias, color[4] = {1, 2, 3, 4}, color_got[4];
    int channels, aniso;

    for (unsigned i = 0; i < W * H; i++)
        in[i] = (float)i;
    for (unsigned i = 0; i < W; i++)
        numbers[i] = (int)(i * i) - 50;
    CU(cuArrayCreate(&array, &(CUDA_ARRAY_DESCRIPTOR){W, H, CU_AD_FORMAT_FLOAT, 1}));
    CUDA_MEMCPY2D up = {.srcMemoryType = CU_MEMORYTYPE_HOST,
                        .srcHost = in,
                        .srcPitch = W * 4,
                        .dstMemoryType = CU_MEMORYTYPE_ARRAY,
                        .dstArray = array,
                        .WidthInBytes = W * 4,
                        .Height = H};
    CU(cuMemcpy2D(&up));
    CU(cuMemAlloc(&mem, sizeof(out)));
    CU(cuMemAlloc(&table, sizeof(numbers)));
    CU(cuMemcpyHtoD(table, numbers, sizeof(numbers)));

    CU(cuModuleGetTexRef(&image, module, "image"));
    CU(cuModuleGetTexRef(&again, module, "image"));
    EXPECT(image == again);
    EXPECT_CU(CUDA_ERROR_NOT_FOUND, cuModuleGetTexRef(&lookup, module, "no such"));
    EXPECT_CU(CUDA_ERROR_NOT_FOUND, cuModuleGetTexRef(&lookup, module, "sample"));
    CU(cuModuleGetTexRef(&lookup, module, "lookup"));

    CU(cuTexRefSetArray(image, array, CU_TRSA_OVERRIDE_FORMAT));
    CU(cuTexRefGetArray(&bound, image));
    EXPECT(bound == array);
    CU(cuTexRefGetFormat(&format, &channels, image));
    EXPECT(format == CU_AD_FORMAT_FLOAT && channels == 1);
    CU(cuTexRefSetAddressMode(image, 0, CU_TR_ADDRESS_MODE_CLAMP));
    CU(cuTexRefGetAddressMode(&mode, image, 0));
    EXPECT(mode == CU_TR_ADDRESS_MODE_CLAMP);
    CU(cuTexRefSetFilterMode(image, CU_TR_FILTER_MODE_LINEAR));
    CU(cuTexRefGetFilterMode(&filter, image));
    EXPECT(filter == CU_TR_FILTER_MODE_LINEAR);
    CU(cuTexRefSetMipmapLevelClamp(image, 0.5f, 2));
    CU(cuTexRefGetMipmapLevelClamp(&low, &high, image));
    CU(cuTexRefSetMipmapLevelBias(image, -0.25f));
    CU(cuTexRefGetMipmapLevelBias(&bias, image));
    EXPECT(low == 0.5f && high == 2 && bias == -0.25f);
    CU(cuTexRefSetMaxAnisotropy(image, 4));
    CU(cuTexRefGetMaxAnisotropy(&aniso, image));
    CU(cuTexRefSetBorderColor(image, color));
    CU(cuTexRefGetBorderColor(color_got, image));
    EXPECT(aniso == 4 && memcmp(color, color_got, sizeof(color)) == 0);
    launch_old(function("sample"), mem);
    CU(cuMemcpyDtoH(out, mem, sizeof(out)));
    for (unsigned i = 0; i < W; i++)
        EXPECT(out[i] == in[W + i]);

    CU(cuTexRefSetFormat(lookup, CU_AD_FORMAT_SIGNED_INT32, 1));
    CU(cuTexRefSetFlags(lookup, CU_TRSF_READ_AS_INTEGER));
    CU(cuTexRefGetFlags(&flags, lookup));
    EXPECT(flags == CU_TRSF_READ_AS_INTEGER);
    CU(cuTexRefSetAddress(&offset, lookup, table, sizeof(numbers)));
    CU(cuTexRefGetAddress(&got, lookup));
    EXPECT(offset == 0 && got == table);
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE,
              cuTexRefSetAddress2D(lookup, &(CUDA_ARRAY_DESCRIPTOR){4, 1, (CUarray_format)77, 1},
                                   table, 32));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE,
              cuTexRefSetAddress2D(
                  lookup, &(CUDA_ARRAY_DESCRIPTOR){4, 1 << 30, CU_AD_FORMAT_SIGNED_INT32, 1}, table,
                  1 << 20));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuTexRefGetArray(&bound, lookup));
    launch_old(function("fetch"), mem);
    CU(cuMemcpyDtoH(fetched, mem, sizeof(fetched)));
    EXPECT(memcmp(fetched, numbers, sizeof(numbers)) == 0);

    /* a reference of a module goes with it */
    EXPECT_CU(CUDA_ERROR_INVALID_HANDLE, cuTexRefDestroy(image));
    CU(cuTexRefCreate(&again));
    CU(cuTexRefDestroy(again));
    EXPECT_CU(CUDA_ERROR_INVALID_HANDLE, cuTexRefSetFlags(again, 0));
    CU(cuMemFree(mem));
    CU(cuMemFree(table));
    CU(cuArrayDestroy(array));
    printf("textures: done\n");
}

static CUtexObject
object_of(CUdeviceptr mem)
{
    CUDA_TEXTURE_DESC how = {.flags = CU_TRSF_READ_AS_INTEGER};
    CUDA_RESOURCE_DESC what = {.resType = CU_RESOURCE_TYPE_LINEAR};
    CUtexObject object;

    what.res.linear.devPtr = mem;
    what.res.linear.format = CU_AD_FORMAT_SIGNED_INT32;
    what.res.linear.numChannels = 1;
    what.res.linear.sizeInBytes = W * 4;
    CU(cuTexObjectCreate(&object, &what, &how, NULL));
    return object;
}

/* A launch that waits sees what was bound when it was queued, and an object that is destroyed
 * since, however many others are made. */
static void
behind_launches(void)
{
    CUdeviceptr flag, tables[2], outs[2];
    int got[2][W];
    CUtexObject object, many[200];
    CUstream stream, other;
    CUtexref lookup;

    CU(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
    CU(cuStreamCreate(&other, CU_STREAM_NON_BLOCKING));
    CU(cuMemAlloc(&flag, 4));
    CU(cuMemsetD32(flag, 0, 1));
    for (unsigned i = 0; i < 2; i++) {
        CU(cuMemAlloc(&tables[i], W * 4));
        CU(cuMemsetD32(tables[i], 70 + i, W));
        CU(cuMemAlloc(&outs[i], W * 4));
    }
    CU(cuModuleGetTexRef(&lookup, module, "lookup"));
    CU(cuTexRefSetAddress(NULL, lookup, tables[0], W * 4));
    object = object_of(tables[1]);
    CU(cuStreamWaitValue32(stream, flag, 1, CU_STREAM_WAIT_VALUE_EQ));
    void *by_reference[] = {&outs[0]}, *by_object[] = {&outs[1], &object};
    CU(cuLaunchKernel(function("fetch"), 1, 1, 1, W, 1, 1, 0, stream, by_reference, NULL));
    CU(cuLaunchKernel(function("fetch_object"), 1, 1, 1, W, 1, 1, 0, stream, by_object, NULL));
    CU(cuTexRefSetAddress(NULL, lookup, tables[1], W * 4));
    CU(cuTexObjectDestroy(object));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuTexObjectDestroy(object));
    for (unsigned i = 0; i < 200; i++) {
        many[i] = object_of(tables[0]);
        CU(cuTexObjectDestroy(many[i]));
    }
    CU(cuStreamWriteValue32(other, flag, 1, 0));
    CU(cuStreamSynchronize(stream));
    for (unsigned i = 0; i < 2; i++) {
        CU(cuMemcpyDtoH(got[i], outs[i], W * 4));
        for (unsigned k = 0; k < W; k++)
            EXPECT(got[i][k] == 70 + (int)i);
    }
    CU(cuLaunchKernel(function("fetch"), 1, 1, 1, W, 1, 1, 0, stream, by_reference, NULL));
    CU(cuStreamSynchronize(stream));
    CU(cuMemcpyDtoH(got[0], outs[0], W * 4));
    EXPECT(got[0][0] == 71);
    for (unsigned i = 0; i < 2; i++) {
        CU(cuMemFree(tables[i]));
        CU(cuMemFree(outs[i]));
    }
    CU(cuMemFree(flag));
    CU(cuStreamDestroy(stream));
    CU(cuStreamDestroy(other));
    printf("behind launches: done\n");
}

static void
surfaces(void)
{
    CUDA_ARRAY3D_DESCRIPTOR desc = {
        W, H, 0, CU_AD_FORMAT_UNSIGNED_INT32, 1, CUDA_ARRAY3D_SURFACE_LDST};
    CUfunction f = function("paint");
    unsigned out[W * H];
    CUarray array, bound;
    CUsurfref canvas;

    CU(cuArray3DCreate(&array, &desc));
    CU(cuModuleGetSurfRef(&canvas, module, "canvas"));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuSurfRefGetArray(&bound, canvas));
    CU(cuSurfRefSetArray(canvas, array, 0));
    CU(cuSurfRefGetArray(&bound, canvas));
    EXPECT(bound == array);
    CU(cuFuncSetBlockShape(f, W, 1, 1));
    CU(cuFuncSetSharedSize(f, 64));
    CU(cuParamSeti(f, 0, 100));
    CU(cuParamSetf(f, 4, 2.5f));
    CU(cuParamSetSize(f, 8));
    CU(cuLaunchGrid(f, H, 1));
    CUDA_MEMCPY2D down = {.srcMemoryType = CU_MEMORYTYPE_ARRAY,
                          .srcArray = array,
                          .dstMemoryType = CU_MEMORYTYPE_HOST,
                          .dstHost = out,
                          .dstPitch = W * 4,
                          .WidthInBytes = W * 4,
                          .Height = H};
    CU(cuMemcpy2D(&down));
    for (unsigned y = 0; y < H; y++)
        for (unsigned x = 0; x < W; x++)
            EXPECT(out[y * W + x] == 100 + x * 5 / 2);
    CU(cuArrayDestroy(array));
    printf("surfaces: done\n");
}

static void
mistakes(void)
{
    CUfunction f = function("paint");
    int x = 0;

    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuFuncSetBlockShape(f, 0, 1, 1));
    EXPECT_CU(CUDA_ERROR_INVALID_HANDLE, cuFuncSetBlockShape(NULL, 1, 1, 1));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuParamSetv(f, 4095, &x, 4));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuParamSetv(f, -1, &x, 4));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuParamSetSize(f, 100000));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuLaunchGrid(f, 0, 1));
    printf("mistakes: done\n");
}

int
main(void)
{
    CUdevice dev = drv_open();
    size_t width = 0;

    CU(cuModuleLoadData(&module, texture_ptx));
    textures();
    behind_launches();
    surfaces();
    mistakes();
    CU(cuDeviceGetTexture1DLinearMaxWidth(&width, CU_AD_FORMAT_FLOAT, 4, dev));
    EXPECT(width > 65536);
    CU(cuModuleUnload(module));
    drv_close(dev);
    return drv_result("drv_texrefs");
}
