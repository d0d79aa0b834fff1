/* backend/memory/host.c */
#include "backend/memory/host.h"

#include "protocol/base/log.h"
#include "protocol/base/util.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define PAGE         4096ull
#define ADDRESS_END  0x7ffffffff000ull /* of a process on x86-64 */
#define SEGMENTS_MAX 65536u

/* Index of the first segment that ends above address. */
static size_t
lower(const struct be_host *host, uint64_t address)
{
    size_t lo = 0, hi = host->count;

    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;

        if (host->list[mid].base + host->list[mid].bytes <= address)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

static void
segment_free(struct be_host *host, size_t i)
{
    struct be_host_segment s = host->list[i];
    CUresult cr = host->driver->cuMemHostUnregister((void *)(uintptr_t)s.base);

    /* While the driver may still reach it the pages must stay. */
    if (cr == CUDA_SUCCESS || cr == CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED)
        munmap((void *)(uintptr_t)s.base, s.bytes);
    else
        log_warn("host memory: %llu bytes stay registered: driver says %d",
                 (unsigned long long)s.bytes, (int)cr);
    host->bytes -= s.bytes;
    memmove(&host->list[i], &host->list[i + 1], (--host->count - i) * sizeof(*host->list));
}

/* A new segment with one reference at a place of the list; address 0: anywhere. */
static CUresult
segment_make(struct be_host *host, uint64_t address, uint64_t bytes, uint64_t *base_p)
{
    const unsigned flags = CU_MEMHOSTREGISTER_PORTABLE | CU_MEMHOSTREGISTER_DEVICEMAP;
    int fixed = address != 0 ? MAP_FIXED_NOREPLACE : 0;
    struct be_host_segment s = {.bytes = bytes, .refs = 1};
    void *want = (void *)(uintptr_t)address, *got;
    CUdeviceptr device = 0;
    CUresult cr;
    size_t i;

    if (host->count >= SEGMENTS_MAX || bytes > host->bytes_max - host->bytes)
        return CUDA_ERROR_OUT_OF_MEMORY;
    if (host->count == host->room) {
        size_t room = host->room == 0 ? 16 : 2 * host->room;
        void *list = realloc(host->list, room * sizeof(*host->list));

        if (list == NULL)
            return CUDA_ERROR_OUT_OF_MEMORY;
        host->list = list;
        host->room = room;
    }
    got = mmap(want, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | fixed, -1, 0);
    if (got == MAP_FAILED)
        return errno == EEXIST ? CUDA_ERROR_ALREADY_MAPPED : CUDA_ERROR_OUT_OF_MEMORY;
    if (address != 0 && got != want) { /* a kernel that does not know the flag */
        munmap(got, bytes);
        return CUDA_ERROR_ALREADY_MAPPED;
    }
    cr = host->driver->cuMemHostRegister_v2(got, bytes, flags);
    if (cr == CUDA_SUCCESS) {
        cr = host->driver->cuMemHostGetDevicePointer_v2(&device, got, 0);
        if (cr != CUDA_SUCCESS)
            (void)host->driver->cuMemHostUnregister(got);
    }
    if (cr != CUDA_SUCCESS) {
        munmap(got, bytes);
        return cr;
    }
    s.base = (uint64_t)(uintptr_t)got;
    s.device = device;
    i = lower(host, s.base);
    memmove(&host->list[i + 1], &host->list[i], (host->count++ - i) * sizeof(*host->list));
    host->list[i] = s;
    host->bytes += bytes;
    *base_p = s.base;
    return CUDA_SUCCESS;
}

static void
segments_put(struct be_host *host, uint64_t from, uint64_t to)
{
    size_t i = lower(host, from);

    while (i < host->count && host->list[i].base < to) {
        if (--host->list[i].refs == 0)
            segment_free(host, i);
        else
            i++;
    }
}

/* Every page of [from, to) gets a segment, one reference each: those that are there, and new ones
 * in the gaps. Kernels must find all of it at one distance from here. */
static CUresult
segments_get(struct be_host *host, uint64_t from, uint64_t to)
{
    uint64_t at = from, made;

    while (at < to) {
        size_t i = lower(host, at);
        bool there = i < host->count && host->list[i].base < to;
        uint64_t gap_end = there ? gp_max_u64(host->list[i].base, at) : to;
        CUresult cr = CUDA_SUCCESS;

        if (gap_end > at) {
            cr = segment_make(host, at, gap_end - at, &made);
            if (cr == CUDA_SUCCESS)
                at = gap_end;
        } else if (host->list[i].device != host->list[i].base) {
            cr = CUDA_ERROR_ALREADY_MAPPED;
        } else {
            host->list[i].refs++;
            at = host->list[i].base + host->list[i].bytes;
        }
        if (cr != CUDA_SUCCESS) {
            segments_put(host, from, at);
            return cr;
        }
    }
    return CUDA_SUCCESS;
}

CUresult
be_host_map(struct be_host *host, uint64_t address, uint64_t bytes, uint64_t *local_p,
            uint64_t *device_p)
{
    uint64_t from = address & ~(PAGE - 1), to, base = 0;
    CUresult cr;

    if (bytes == 0 || bytes > ADDRESS_END || address > ADDRESS_END - bytes || from == 0)
        return CUDA_ERROR_INVALID_VALUE;
    to = gp_align_up_u64(address + bytes, PAGE);
    cr = segments_get(host, from, to);
    if (cr == CUDA_SUCCESS) {
        *local_p = address;
        *device_p = host->list[lower(host, from)].device + (address - from);
        return CUDA_SUCCESS;
    }
    if (cr != CUDA_ERROR_ALREADY_MAPPED)
        return cr;
    cr = segment_make(host, 0, to - from, &base);
    if (cr != CUDA_SUCCESS)
        return cr;
    *local_p = base + (address - from);
    *device_p = host->list[lower(host, base)].device + (address - from);
    return CUDA_SUCCESS;
}

void
be_host_unmap(struct be_host *host, uint64_t local, uint64_t bytes)
{
    segments_put(host, local & ~(PAGE - 1), gp_align_up_u64(local + bytes, PAGE));
}

void
be_host_destroy(struct be_host *host)
{
    while (host->count > 0)
        segment_free(host, host->count - 1);
    free(host->list);
    host->list = NULL;
    host->room = 0;
}
