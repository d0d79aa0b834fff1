/* bench/workloads/copies.c -- bytes a second both ways, and what small copies take */
#include "bench/workloads/bench.h"

#include <stdlib.h>
#include <string.h>

#define BIG    ((size_t)256 << 20)
#define PEER   ((size_t)64 << 20)
#define MIDDLE ((size_t)64 << 10)

/* From device 0 to device 1, of another server where there are several. */
static void
peer(struct bench *b, struct bench_series *series)
{
    CUdeviceptr from, to;
    CUcontext context;
    CUdevice device;
    int devices;

    CU(cuDeviceGetCount(&devices));
    if (!bench_try(series, devices > 1 ? CUDA_SUCCESS : CUDA_ERROR_NOT_SUPPORTED,
                   "a second device"))
        return;
    CU(cuDeviceGet(&device, 1));
    CU(cuDevicePrimaryCtxRetain(&context, device));
    CU(cuMemAlloc_v2(&from, PEER));
    CU(cuMemsetD32_v2(from, 0x9e3779b9, PEER / 4));
    CU(cuCtxSetCurrent(context));
    CU(cuMemAlloc_v2(&to, PEER));
    CU(cuMemcpyPeer(to, context, from, b->context, PEER));
    CU(cuCtxSynchronize());
    for (size_t i = 0; i < bench_rounds(b, 5); i++) {
        uint64_t start = bench_ns();

        CU(cuMemcpyPeer(to, context, from, b->context, PEER));
        CU(cuCtxSynchronize());
        bench_add(series, (double)PEER / 1e3 / bench_us(start));
    }
    CU(cuMemFree_v2(to));
    CU(cuCtxSetCurrent(b->context));
    CU(cuMemFree_v2(from));
    CU(cuDevicePrimaryCtxRelease_v2(device));
}

/* Pages that exist and differ, so that neither zero pages nor compression help. */
static void
fill(void *memory, size_t bytes)
{
    uint64_t *word = memory, x = 0x9e3779b97f4a7c15u;

    for (size_t i = 0; i < bytes / sizeof(*word); i++) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        word[i] = x;
    }
}

/* As small whole numbers, or weights of few bits, are: half of the bytes say nothing. */
static void
thin(void *memory, size_t bytes)
{
    uint16_t *word = memory;

    for (size_t i = 0; i < bytes / sizeof(*word); i++)
        word[i] &= 0x3f;
}

static void
big_copies(struct bench *b, struct bench_series *series, void *host, bool to_device, bool thinned)
{
    CUdeviceptr device;

    CU(cuMemAlloc_v2(&device, BIG));
    fill(host, BIG);
    if (thinned)
        thin(host, BIG);
    CU(cuMemcpyHtoD_v2(device, host, BIG)); /* memory behind every page, both sides */
    CU(cuCtxSynchronize());
    for (size_t i = 0; i < bench_rounds(b, 3); i++) {
        uint64_t start = bench_ns();

        if (to_device) {
            CU(cuMemcpyHtoD_v2(device, host, BIG));
            CU(cuCtxSynchronize()); /* until the device has them, not until they are captured */
        } else {
            CU(cuMemcpyDtoH_v2(host, device, BIG));
        }
        bench_add(series, (double)BIG / 1e3 / bench_us(start));
    }
    CU(cuMemFree_v2(device));
}

static void
pageable(struct bench *b, struct bench_series *series, bool to_device, bool thinned)
{
    void *host = malloc(BIG);

    bench_must(host != NULL ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY, "malloc");
    big_copies(b, series, host, to_device, thinned);
    free(host);
}

static void
pinned(struct bench *b, struct bench_series *series, bool to_device)
{
    void *host;

    if (!BENCH_TRY(series, cuMemAllocHost_v2(&host, BIG)))
        return;
    big_copies(b, series, host, to_device, false);
    CU(cuMemFreeHost(host));
}

static void
htod_256m(struct bench *b, struct bench_series *series)
{
    pageable(b, series, true, false);
}

static void
dtoh_256m(struct bench *b, struct bench_series *series)
{
    pageable(b, series, false, false);
}

static void
htod_256m_thin(struct bench *b, struct bench_series *series)
{
    pageable(b, series, true, true);
}

static void
dtoh_256m_thin(struct bench *b, struct bench_series *series)
{
    pageable(b, series, false, true);
}

static void
htod_256m_pinned(struct bench *b, struct bench_series *series)
{
    pinned(b, series, true);
}

static void
dtoh_256m_pinned(struct bench *b, struct bench_series *series)
{
    pinned(b, series, false);
}

static void
middle_copies(struct bench *b, struct bench_series *series, bool to_device)
{
    CUdeviceptr device;
    void *host = malloc(MIDDLE);

    bench_must(host != NULL ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY, "malloc");
    fill(host, MIDDLE);
    CU(cuMemAlloc_v2(&device, MIDDLE));
    for (size_t i = 0; i < bench_rounds(b, 500); i++) {
        uint64_t start = bench_ns();

        if (to_device) {
            CU(cuMemcpyHtoD_v2(device, host, MIDDLE));
            CU(cuCtxSynchronize());
        } else {
            CU(cuMemcpyDtoH_v2(host, device, MIDDLE));
        }
        bench_add(series, bench_us(start));
    }
    CU(cuMemFree_v2(device));
    free(host);
}

static void
htod_64k(struct bench *b, struct bench_series *series)
{
    middle_copies(b, series, true);
}

static void
dtoh_64k(struct bench *b, struct bench_series *series)
{
    middle_copies(b, series, false);
}

const struct bench_workload bench_copies[] = {
    {"peer_64m", "GB/s", peer, "64 MiB from device 0 to device 1, awaited", false},
    {"htod_64k", "us", htod_64k, "cuMemcpyHtoD of 64 KiB, awaited", false},
    {"dtoh_64k", "us", dtoh_64k, "cuMemcpyDtoH of 64 KiB", false},
    {"htod_256m", "GB/s", htod_256m, "256 MiB from pageable memory, awaited", false},
    {"dtoh_256m", "GB/s", dtoh_256m, "256 MiB to pageable memory", false},
    {"htod_256m_thin", "GB/s", htod_256m_thin, "256 MiB that shrink to a third, awaited", false},
    {"dtoh_256m_thin", "GB/s", dtoh_256m_thin, "256 MiB that shrink to a third", false},
    {"htod_256m_pinned", "GB/s", htod_256m_pinned, "256 MiB from pinned memory, awaited", false},
    {"dtoh_256m_pinned", "GB/s", dtoh_256m_pinned, "256 MiB to pinned memory", false},
    {NULL, NULL, NULL, NULL, false},
};
