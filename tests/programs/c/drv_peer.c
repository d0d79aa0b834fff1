/* tests/programs/c/drv_peer.c -- two devices of one server: copies and access between them
 *
 * Faults happen in processes of their own, forked before CUDA was touched. */
#include "drv.h"
#include "misc_ptx.h"
#include "vector_ptx.h"

#include <unistd.h>

#define N   4096u
#define MIB 1048576ul

static CUcontext ctx[2];

static void
open_both(void)
{
    int count = 0;

    CU(cuInit(0));
    CU(cuDeviceGetCount(&count));
    EXPECT(count == 2);
    for (int d = 0; d < 2; d++)
        CU(cuDevicePrimaryCtxRetain(&ctx[d], d));
    CU(cuCtxSetCurrent(ctx[0]));
}

static CUdeviceptr
alloc_on(int device, size_t bytes)
{
    CUdeviceptr p;

    CU(cuCtxSetCurrent(ctx[device]));
    CU(cuMemAlloc(&p, bytes));
    CU(cuMemsetD32(p, 0, bytes / 4));
    CU(cuCtxSynchronize());
    CU(cuCtxSetCurrent(ctx[0]));
    return p;
}

/* One word by a kernel of device 0. */
static CUresult
store(CUdeviceptr p, uint32_t value)
{
    void *params[] = {&p, &value};
    CUfunction f = drv_kernel(misc_ptx, "store_at");

    CU(cuLaunchKernel(f, 1, 1, 1, 1, 1, 1, 0, NULL, params, NULL));
    return cuCtxSynchronize();
}

/* As the attributes say: natively between devices, not with the host. */
static void
atomics(void)
{
    CUatomicOperation ops[] = {CU_ATOMIC_OPERATION_INTEGER_ADD, CU_ATOMIC_OPERATION_CAS,
                               (CUatomicOperation)99};
    unsigned can[3] = {7, 7, 7};
    int native;

    CU(cuDeviceGetAttribute(&native, CU_DEVICE_ATTRIBUTE_HOST_NATIVE_ATOMIC_SUPPORTED, 1));
    CU(cuDeviceGetHostAtomicCapabilities(can, ops, 2, 1));
    EXPECT((can[0] != 0) == native && (can[1] != 0) == native && can[2] == 7);
    CU(cuDeviceGetP2PAttribute(&native, CU_DEVICE_P2P_ATTRIBUTE_NATIVE_ATOMIC_SUPPORTED, 0, 1));
    CU(cuDeviceGetP2PAtomicCapabilities(can, ops, 2, 0, 1));
    EXPECT(((can[0] & CU_ATOMIC_CAPABILITY_SCALAR_32) != 0) == native);
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuDeviceGetP2PAtomicCapabilities(can, ops, 3, 0, 1));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuDeviceGetHostAtomicCapabilities(can, ops, 0, 0));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuDeviceGetHostAtomicCapabilities(NULL, ops, 1, 0));
    EXPECT_CU(CUDA_ERROR_INVALID_DEVICE, cuDeviceGetHostAtomicCapabilities(can, ops, 1, 2));
    EXPECT_CU(CUDA_ERROR_INVALID_DEVICE, cuDeviceGetP2PAtomicCapabilities(can, ops, 1, 1, 1));
}

static void
questions(void)
{
    int can = 9, value = 9;

    CU(cuDeviceCanAccessPeer(&can, 0, 1));
    EXPECT(can == 1);
    CU(cuDeviceCanAccessPeer(&can, 1, 1));
    EXPECT(can == 0);
    CU(cuDeviceGetP2PAttribute(&value, CU_DEVICE_P2P_ATTRIBUTE_ACCESS_SUPPORTED, 0, 1));
    EXPECT(value == 1);
    EXPECT_CU(CUDA_ERROR_INVALID_DEVICE, cuDeviceCanAccessPeer(&can, 0, 2));
    EXPECT_CU(CUDA_ERROR_INVALID_DEVICE,
              cuDeviceGetP2PAttribute(&value, CU_DEVICE_P2P_ATTRIBUTE_ACCESS_SUPPORTED, 1, 1));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuDeviceCanAccessPeer(NULL, 0, 1));
    atomics();
    printf("questions: done\n");
}

/* Copies need no access. */
static void
copies(void)
{
    CUdeviceptr a = alloc_on(0, N * 4), b = alloc_on(1, N * 4);
    static uint32_t words[N];
    uint32_t wrong = 0;
    CUstream s;

    for (uint32_t i = 0; i < N; i++)
        words[i] = i * 7;
    CU(cuMemcpyHtoD(a, words, sizeof(words)));
    CU(cuMemcpyPeer(b, ctx[1], a, ctx[0], N * 4));
    memset(words, 0, sizeof(words));
    CU(cuMemcpyDtoH(words, b, sizeof(words)));
    for (uint32_t i = 0; i < N; i++)
        wrong += words[i] != i * 7;

    /* a kernel of the other device is waited for */
    CU(cuCtxSetCurrent(ctx[1]));
    CUfunction burn = drv_kernel(vector_ptx, "burn");
    uint32_t rounds = 5000, n = N;
    void *params[] = {&b, &rounds, &n};
    CU(cuStreamCreate(&s, CU_STREAM_NON_BLOCKING));
    drv_launch(burn, N, s, params);
    CU(cuCtxSetCurrent(ctx[0]));
    CU(cuMemcpyPeer(a, ctx[0], b, ctx[1], N * 4));
    CU(cuMemcpyDtoH(words, a, sizeof(words)));
    for (uint32_t i = 0; i < N; i++)
        wrong += words[i] != drv_lcg(i * 7, rounds);

    /* in stream order, and by addresses alone */
    CU(cuCtxSetCurrent(ctx[1]));
    CU(cuMemsetD32Async(b, 77, N, s));
    CU(cuMemcpyPeerAsync(a, ctx[0], b, ctx[1], N * 4, s));
    CU(cuStreamSynchronize(s));
    CU(cuStreamDestroy(s));
    CU(cuCtxSetCurrent(ctx[0]));
    EXPECT(drv_word_at(a + 4 * (N - 1)) == 77);
    CU(cuMemsetD32(a, 78, N));
    CU(cuMemcpy(b, a, N * 4));
    EXPECT(drv_word_at(b) == 78);
    EXPECT(wrong == 0);

    EXPECT_CU(CUDA_ERROR_INVALID_CONTEXT, cuMemcpyPeer(b, NULL, a, ctx[0], 4));
    EXPECT_CU(CUDA_ERROR_INVALID_CONTEXT, cuMemcpyPeerAsync(b, ctx[1], a, NULL, 4, NULL));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuMemcpyPeer(b, ctx[1], a, ctx[0], 64 * MIB));
    CU(cuMemFree(a));
    CU(cuMemFree(b));
    printf("copies: %u wrong\n", wrong);
}

/* Managed memory at either end: what the host wrote goes along, and it sees what came. */
static void
managed(void)
{
    CUdeviceptr a, b = alloc_on(1, N * 4);
    uint32_t wrong = 0, *words;

    CU(cuMemAllocManaged(&a, N * 4, CU_MEM_ATTACH_GLOBAL));
    words = (uint32_t *)(uintptr_t)a;
    for (uint32_t round = 1; round < 4; round++) {
        for (uint32_t i = 0; i < N; i++)
            words[i] = i * round;
        CU(cuMemcpyPeer(b, ctx[1], a, ctx[0], N * 4));
        CU(cuCtxSynchronize());
        EXPECT(drv_word_at(b + 4 * (N - 1)) == (N - 1) * round);
        CU(cuMemsetD32(b, round, N / 2));
        CU(cuMemcpyPeerAsync(a, ctx[0], b, ctx[1], N * 4, NULL));
        CU(cuCtxSynchronize());
        for (uint32_t i = 0; i < N; i++)
            wrong += words[i] != (i < N / 2 ? round : i * round);
    }
    EXPECT(wrong == 0);
    CU(cuMemFree(a));
    CU(cuMemFree(b));
    printf("managed: %u wrong\n", wrong);
}

/* The middle of a matrix goes to the corner of another one. */
static void
boxes(void)
{
    CUdeviceptr a = alloc_on(0, 64 * 64 * 4), b = alloc_on(1, 64 * 64 * 4);
    static uint32_t words[64 * 64], got[64 * 64];
    CUDA_MEMCPY3D_PEER copy;
    uint32_t wrong = 0;

    for (uint32_t i = 0; i < 64 * 64; i++)
        words[i] = i + 1;
    CU(cuMemcpyHtoD(a, words, sizeof(words)));
    memset(&copy, 0, sizeof(copy));
    copy.srcMemoryType = copy.dstMemoryType = CU_MEMORYTYPE_DEVICE;
    copy.srcDevice = a;
    copy.srcContext = ctx[0];
    copy.srcPitch = copy.dstPitch = 64 * 4;
    copy.srcXInBytes = 16 * 4;
    copy.srcY = 16;
    copy.dstDevice = b;
    copy.dstContext = ctx[1];
    copy.WidthInBytes = 32 * 4;
    copy.Height = 32;
    copy.Depth = 1;
    CU(cuMemcpy3DPeer(&copy));
    CU(cuMemcpyDtoH(got, b, sizeof(got)));
    for (uint32_t y = 0; y < 64; y++)
        for (uint32_t x = 0; x < 64; x++)
            wrong += got[y * 64 + x] != (y < 32 && x < 32 ? words[(y + 16) * 64 + x + 16] : 0);
    copy.dstY = 32;
    CU(cuMemcpy3DPeerAsync(&copy, NULL));
    EXPECT(drv_word_at(b + 32 * 64 * 4) == words[16 * 64 + 16]);
    copy.dstContext = NULL;
    EXPECT_CU(CUDA_ERROR_INVALID_CONTEXT, cuMemcpy3DPeer(&copy));
    EXPECT(wrong == 0);
    CU(cuMemFree(a));
    CU(cuMemFree(b));
    printf("boxes: %u wrong\n", wrong);
}

/* A synchronous copy comes before what the other context does next, also while it still waits for
 * work of the current one. */
static void
before_later_work(void)
{
    CUdeviceptr a = alloc_on(0, N * 4), b = alloc_on(1, N * 4);
    CUDA_MEMCPY3D_PEER copy = {.srcMemoryType = CU_MEMORYTYPE_DEVICE,
                               .srcDevice = b,
                               .srcContext = ctx[1],
                               .srcPitch = 64,
                               .dstMemoryType = CU_MEMORYTYPE_DEVICE,
                               .dstDevice = a,
                               .dstContext = ctx[0],
                               .dstPitch = 64,
                               .WidthInBytes = 64,
                               .Height = N * 4 / 64,
                               .Depth = 1};
    CUdeviceptr busy = alloc_on(0, N * 4);
    uint32_t rounds = 20000, n = N;
    void *params[] = {&busy, &rounds, &n};
    CUfunction burn = drv_kernel(vector_ptx, "burn");

    for (uint32_t round = 1; round < 3; round++) {
        CU(cuCtxSetCurrent(ctx[1]));
        CU(cuMemsetD32(b, round, N));
        CU(cuCtxSetCurrent(ctx[0]));
        drv_launch(burn, N, NULL, params);
        CU(round == 1 ? cuMemcpy3DPeer(&copy) : cuMemcpyPeer(a, ctx[0], b, ctx[1], N * 4));
        CU(cuCtxSetCurrent(ctx[1]));
        CU(cuMemsetD32(b, 99, N));
        CU(cuCtxSynchronize());
        CU(cuCtxSetCurrent(ctx[0]));
        EXPECT(drv_word_at(a) == round && drv_word_at(a + 4 * (N - 1)) == round);
    }
    CU(cuMemFree(a));
    CU(cuMemFree(b));
    CU(cuMemFree(busy));
    printf("before later work: done\n");
}

static void
access_by_kernels(void)
{
    CUdeviceptr before = alloc_on(1, 64), after;

    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuCtxEnablePeerAccess(ctx[1], 1));
    EXPECT_CU(CUDA_ERROR_INVALID_CONTEXT, cuCtxEnablePeerAccess(NULL, 0));
    EXPECT_CU(CUDA_ERROR_INVALID_CONTEXT, cuCtxEnablePeerAccess(ctx[0], 0));
    EXPECT_CU(CUDA_ERROR_PEER_ACCESS_NOT_ENABLED, cuCtxDisablePeerAccess(ctx[1]));
    CU(cuCtxEnablePeerAccess(ctx[1], 0));
    EXPECT_CU(CUDA_ERROR_PEER_ACCESS_ALREADY_ENABLED, cuCtxEnablePeerAccess(ctx[1], 0));
    after = alloc_on(1, 4 * MIB);
    CU(store(before, 11));
    CU(store(after + 3 * MIB, 12));
    EXPECT(drv_word_at(before) == 11 && drv_word_at(after + 3 * MIB) == 12);
    CU(cuCtxDisablePeerAccess(ctx[1]));
    EXPECT_CU(CUDA_ERROR_PEER_ACCESS_NOT_ENABLED, cuCtxDisablePeerAccess(ctx[1]));
    CU(cuMemFree(before));
    CU(cuMemFree(after));
    printf("access by kernels: done\n");
}

/* Mappings say themselves who may come in. */
static void
mappings(void)
{
    CUmemAllocationProp prop = {.type = CU_MEM_ALLOCATION_TYPE_PINNED,
                                .location = {CU_MEM_LOCATION_TYPE_DEVICE, 1}};
    CUmemAccessDesc access[2] = {
        {{CU_MEM_LOCATION_TYPE_DEVICE, 0}, CU_MEM_ACCESS_FLAGS_PROT_READWRITE},
        {{CU_MEM_LOCATION_TYPE_DEVICE, 1}, CU_MEM_ACCESS_FLAGS_PROT_READ}};
    CUmemGenericAllocationHandle h;
    unsigned long long flags = 0;
    CUdeviceptr va;

    CU(cuMemAddressReserve(&va, 2 * MIB, 0, 0, 0));
    CU(cuMemCreate(&h, 2 * MIB, &prop, 0));
    CU(cuMemMap(va, 2 * MIB, 0, h, 0));
    CU(cuMemSetAccess(va, 2 * MIB, access, 2));
    CU(cuMemGetAccess(&flags, &access[1].location, va));
    EXPECT(flags == CU_MEM_ACCESS_FLAGS_PROT_READ);
    CU(store(va + 4096, 5));
    EXPECT(drv_word_at(va + 4096) == 5);
    CU(cuMemUnmap(va, 2 * MIB));
    CU(cuMemRelease(h));
    CU(cuMemAddressFree(va, 2 * MIB));
    printf("mappings: done\n");
}

/* A pool opens what it has and what it gets. */
static void
pools(void)
{
    CUmemPoolProps props = {.allocType = CU_MEM_ALLOCATION_TYPE_PINNED,
                            .location = {CU_MEM_LOCATION_TYPE_DEVICE, 1}};
    CUmemAccessDesc to_0 = {{CU_MEM_LOCATION_TYPE_DEVICE, 0}, CU_MEM_ACCESS_FLAGS_PROT_READWRITE};
    CUmemAccess_flags flags = 0;
    CUdeviceptr before, after;
    CUmemoryPool pool;

    CU(cuCtxSetCurrent(ctx[1]));
    CU(cuMemPoolCreate(&pool, &props));
    CU(cuMemAllocFromPoolAsync(&before, 100, pool, NULL));
    CU(cuMemPoolSetAccess(pool, &to_0, 1));
    CU(cuMemPoolGetAccess(&flags, pool, &to_0.location));
    EXPECT(flags == CU_MEM_ACCESS_FLAGS_PROT_READWRITE);
    CU(cuMemAllocFromPoolAsync(&after, 5 * MIB, pool, NULL));
    CU(cuCtxSynchronize());
    CU(cuCtxSetCurrent(ctx[0]));
    CU(store(before, 21));
    CU(store(after + 4 * MIB, 22));
    EXPECT(drv_word_at(before) == 21 && drv_word_at(after + 4 * MIB) == 22);
    CU(cuMemFree(before));
    CU(cuMemFree(after));
    to_0.location.id = 9;
    EXPECT_CU(CUDA_ERROR_INVALID_DEVICE, cuMemPoolSetAccess(pool, &to_0, 1));
    CU(cuMemPoolDestroy(pool));
    printf("pools: done\n");
}

static int
not_enabled(void)
{
    open_both();
    EXPECT_CU(CUDA_ERROR_ILLEGAL_ADDRESS, store(alloc_on(1, 64), 1));
    return drv_result("not enabled");
}

static int
disabled_again(void)
{
    CUdeviceptr p;

    open_both();
    p = alloc_on(1, 64);
    CU(cuCtxEnablePeerAccess(ctx[1], 0));
    CU(store(p, 1));
    CU(cuCtxDisablePeerAccess(ctx[1]));
    EXPECT_CU(CUDA_ERROR_ILLEGAL_ADDRESS, store(p, 2));
    return drv_result("disabled again");
}

static int
pool_not_open(void)
{
    CUdeviceptr p;

    open_both();
    CU(cuCtxSetCurrent(ctx[1]));
    CU(cuMemAllocAsync(&p, 3 * MIB, NULL));
    CU(cuCtxSynchronize());
    CU(cuCtxSetCurrent(ctx[0]));
    EXPECT_CU(CUDA_ERROR_ILLEGAL_ADDRESS, store(p, 1));
    return drv_result("pool not open");
}

static int
good(void)
{
    open_both();
    questions();
    copies();
    managed();
    boxes();
    before_later_work();
    access_by_kernels();
    mappings();
    pools();
    for (int d = 0; d < 2; d++)
        CU(cuDevicePrimaryCtxRelease(d));
    return drv_result("peer");
}

int
main(void)
{
    static int (*const cases[])(void) = {good, not_enabled, disabled_again, pool_not_open};
    int bad = 0;

    for (unsigned i = 0; i < COUNT_OF(cases); i++)
        bad += drv_in_child(cases[i]) != 0;
    printf("%d cases failed\n", bad);
    return bad != 0;
}
