/* tests/programs/c/drv_multicast.c -- memory of two devices reached by one access */
#include "drv.h"
#include "multimem_ptx.h"

#include <pthread.h>

#define WORDS 32u

struct member {
    CUcontext ctx;
    CUmodule module;
    CUmemGenericAllocationHandle memory;
    CUdeviceptr own; /* the memory by itself */
    CUdeviceptr out;
};

static struct member members[2];
static CUmemGenericAllocationHandle object;
static CUdeviceptr many;
static size_t granule;

static CUfunction
kernel(int device, const char *name)
{
    CUfunction f;

    CU(cuCtxSetCurrent(members[device].ctx));
    CU(cuModuleGetFunction(&f, members[device].module, name));
    return f;
}

static void
run(int device, const char *name, void **params, unsigned threads)
{
    CU(cuLaunchKernel(kernel(device, name), 1, 1, 1, threads, 1, 1, 0, NULL, params, NULL));
    CU(cuCtxSynchronize());
}

static CUdeviceptr
mapped(CUmemGenericAllocationHandle handle)
{
    CUmemAccessDesc access[2];
    CUdeviceptr p;

    for (int d = 0; d < 2; d++)
        access[d] =
            (CUmemAccessDesc){{CU_MEM_LOCATION_TYPE_DEVICE, d}, CU_MEM_ACCESS_FLAGS_PROT_READWRITE};
    CU(cuMemAddressReserve(&p, granule, 0, 0, 0));
    CU(cuMemMap(p, granule, 0, handle, 0));
    CU(cuMemSetAccess(p, granule, access, 2));
    return p;
}

static void
make_member(int device)
{
    struct member *m = &members[device];
    CUmemAllocationProp prop = {.type = CU_MEM_ALLOCATION_TYPE_PINNED,
                                .location = {CU_MEM_LOCATION_TYPE_DEVICE, device}};

    CU(cuDevicePrimaryCtxRetain(&m->ctx, device));
    CU(cuCtxSetCurrent(m->ctx));
    CU(cuModuleLoadData(&m->module, multimem_ptx));
    CU(cuMemCreate(&m->memory, granule, &prop, 0));
    m->own = mapped(m->memory);
    CU(cuMemAlloc(&m->out, 4096));
    CU(cuMemsetD32(m->own, 0, granule / 4));
    CU(cuCtxSynchronize()); /* the other device writes there, too */
}

static void *
bind_early(void *result)
{
    *(CUresult *)result = cuMulticastBindMem(object, 0, members[0].memory, 0, granule, 0);
    return NULL;
}

/* Binding waits for the whole team, whoever comes first. */
static void
make_object(void)
{
    CUmulticastObjectProp prop = {.numDevices = 2, .size = granule};
    CUmemAllocationProp nothing;
    CUresult bound = CUDA_ERROR_UNKNOWN;
    pthread_t thread;

    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuMulticastCreate(NULL, &prop));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuMulticastCreate(&object, NULL));
    prop.size = granule / 2;
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuMulticastCreate(&object, &prop));
    prop.size = granule;
    prop.numDevices = 3;
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuMulticastCreate(&object, &prop));
    prop.numDevices = 2;
    CU(cuMulticastCreate(&object, &prop));
    EXPECT_CU(CUDA_ERROR_INVALID_DEVICE, cuMulticastAddDevice(object, 17));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuMulticastAddDevice(members[0].memory, 0));
    CU(cuMulticastAddDevice(object, 0));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuMulticastAddDevice(object, 0));
    pthread_create(&thread, NULL, bind_early, &bound);
    CU(cuMulticastAddDevice(object, 1));
    pthread_join(thread, NULL);
    EXPECT(bound == CUDA_SUCCESS);
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuMulticastAddDevice(object, 1));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuMemGetAllocationPropertiesFromHandle(&nothing, object));
    printf("a team of 2\n");
}

static void
bind_rest(void)
{
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE,
              cuMulticastBindMem(object, 0, members[0].memory, 0, granule, 0)); /* taken */
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE,
              cuMulticastBindMem(object, 0, members[1].memory, 0, granule, 1));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE,
              cuMulticastBindMem(object, granule, members[1].memory, 0, granule, 0));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuMulticastBindMem(object, 0, object, 0, granule, 0));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuMulticastBindAddr(object, 0, members[1].out, granule, 0));
    CU(cuMulticastBindAddr(object, 0, members[1].own, granule, 0));
    many = mapped(object);
    /* What is bound stays, though its handle goes. */
    CU(cuMemRelease(members[1].memory));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuMemsetD32(many, 1, 4));
    printf("bound and mapped\n");
}

static void
words(int device)
{
    uint32_t got[WORDS], sum = 0, value = 1000u * (uint32_t)(device + 1);
    void *store[] = {&many, &value}, *reduce[] = {&members[device].out, &many}, *add[] = {&many};
    bool right = true;

    run(device, "store_words", store, WORDS);
    for (int d = 0; d < 2; d++) {
        CU(cuCtxSetCurrent(members[d].ctx));
        CU(cuMemcpyDtoH(got, members[d].own, sizeof(got)));
        for (uint32_t i = 0; i < WORDS; i++)
            right = right && got[i] == value + i;
        CU(cuMemsetD32(members[d].own + 8, (unsigned)d + 5, 1)); /* they differ in the third */
        CU(cuCtxSynchronize());
    }
    EXPECT(right);
    run(device, "sum_words", reduce, WORDS);
    CU(cuMemcpyDtoH(got, members[device].out, sizeof(got)));
    for (uint32_t i = 0; i < WORDS; i++)
        right = right && got[i] == (i == 2 ? 11 : 2 * (value + i));
    EXPECT(right);
    for (int d = 0; d < 2; d++) {
        CU(cuCtxSetCurrent(members[d].ctx));
        CU(cuMemsetD32(members[d].own, (unsigned)d * 100, 2));
        CU(cuCtxSynchronize()); /* the other device writes there, too */
    }
    run(device, "add_words", add, WORDS);
    for (int d = 0; d < 2; d++) {
        CU(cuCtxSetCurrent(members[d].ctx));
        CU(cuMemcpyDtoH(got, members[d].own, 8));
        right = right && got[0] == 496 + 100u * (uint32_t)d && got[1] == (d == 0 ? 31 : 100);
        sum += got[0];
    }
    EXPECT(right);
    printf("words from device %d: %s, %u\n", device, right ? "right" : "wrong", sum);
}

static void
vectors(void)
{
    const float floats[2][4] = {{1, 2, 3, 4}, {0.5f, 0.25f, 100, -4}};
    const uint16_t halves[2][8] = {{0x3c00, 0x4000, 0x4200, 0, 0x7bff, 0x3c00, 0xbc00, 0x3800},
                                   {0x3c00, 0x3c00, 0x3c00, 0, 0x7bff, 0xbc00, 0xbc00, 0x3400}};
    const uint16_t want[8] = {0x4000, 0x4200, 0x4400, 0, 0x7c00, 0, 0xc000, 0x3a00};
    void *params[] = {&members[0].out, &many};
    uint16_t h[8];
    float f[4];
    bool right = true;

    for (int d = 0; d < 2; d++) {
        CU(cuCtxSetCurrent(members[d].ctx));
        CU(cuMemcpyHtoD(members[d].own, floats[d], sizeof(floats[d])));
        CU(cuMemcpyHtoD(members[d].own + 16, halves[d], sizeof(halves[d])));
        CU(cuCtxSynchronize());
    }
    run(0, "sum_vectors", params, 1);
    CU(cuMemcpyDtoH(f, members[0].out, sizeof(f)));
    CU(cuMemcpyDtoH(h, members[0].out + 16, sizeof(h)));
    for (int i = 0; i < 4; i++)
        right = right && f[i] == floats[0][i] + floats[1][i];
    for (int i = 0; i < 8; i++)
        right = right && h[i] == want[i];
    EXPECT(right);
    printf("vectors: %s\n", right ? "right" : "wrong");
}

/* Where something is bound on one device only, nothing is reached. */
static void
undo(void)
{
    void *params[] = {&many};

    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuMulticastUnbind(object, 0, granule, granule));
    EXPECT_CU(CUDA_ERROR_INVALID_DEVICE, cuMulticastUnbind(object, 17, 0, granule));
    CU(cuMulticastUnbind(object, 1, 0, granule));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuMulticastUnbind(object, 1, 0, granule));
    CU(cuMemRelease(object));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuMulticastUnbind(object, 0, 0, granule));
    CU(cuLaunchKernel(kernel(1, "add_words"), 1, 1, 1, 1, 1, 1, 0, NULL, params, NULL));
    EXPECT_CU(CUDA_ERROR_ILLEGAL_ADDRESS, cuCtxSynchronize());
    CU(cuCtxSetCurrent(members[0].ctx));
    CU(cuCtxSynchronize());
    CU(cuMemUnmap(many, granule));
    CU(cuMemAddressFree(many, granule));
    for (int d = 0; d < 2; d++) {
        CU(cuMemUnmap(members[d].own, granule));
        CU(cuMemAddressFree(members[d].own, granule));
    }
    CU(cuMemRelease(members[0].memory));
    printf("unbound\n");
}

int
main(void)
{
    CUmulticastObjectProp prop = {.numDevices = 2, .size = 1};
    int count = 0, supported = 0;

    EXPECT_CU(CUDA_ERROR_NOT_INITIALIZED, cuMulticastAddDevice(0, 0));
    CU(cuInit(0));
    CU(cuDeviceGetCount(&count));
    CU(cuDeviceGetAttribute(&supported, CU_DEVICE_ATTRIBUTE_MULTICAST_SUPPORTED, 0));
    if (count < 2 || !supported) {
        printf("no multicast\n");
        return drv_result("drv_multicast");
    }
    CU(cuMulticastGetGranularity(&granule, &prop, CU_MULTICAST_GRANULARITY_RECOMMENDED));
    EXPECT(granule != 0 && (granule & (granule - 1)) == 0);
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE,
              cuMulticastGetGranularity(&granule, NULL, CU_MULTICAST_GRANULARITY_MINIMUM));
    make_member(0);
    make_member(1);
    make_object();
    bind_rest();
    words(0);
    words(1);
    vectors();
    undo();
    return drv_result("drv_multicast");
}
