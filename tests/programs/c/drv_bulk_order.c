/* drv_bulk_order.c -- long copies keep their place in a stream, whatever way their bytes take
 *
 * To the device while work of the stream is still to come; to the host with work that changes the
 * memory, or its end, right behind; at odd addresses and of odd lengths; of several allocations. */
#include "drv.h"

#define BYTES ((size_t)3 << 20) /* longer than what is copied at once */

static uint8_t *
pinned(void)
{
    void *p;

    CU(cuMemHostAlloc(&p, BYTES, 0));
    return p;
}

static void
fill(uint8_t *p, uint32_t seed)
{
    for (size_t i = 0; i < BYTES; i++)
        p[i] = (uint8_t)((i * 2654435761u + seed * 40503u) >> 13);
}

static bool
all(const uint8_t *p, uint8_t value)
{
    for (size_t i = 0; i < BYTES; i++)
        if (p[i] != value)
            return false;
    return true;
}

/* What was queued before reads what was there before, though the bytes come at once. */
static void
behind_work(CUdeviceptr a, CUdeviceptr b, CUdeviceptr word, uint8_t *was, uint8_t *will,
            uint8_t *got)
{
    CUstream stream, other;

    CU(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
    CU(cuStreamCreate(&other, CU_STREAM_NON_BLOCKING));
    CU(cuMemsetD32(word, 0, 1));
    fill(was, 1);
    fill(will, 2);
    CU(cuMemcpyHtoD(a, was, BYTES));
    CU(cuCtxSynchronize());
    CU(cuStreamWaitValue32(stream, word, 1, CU_STREAM_WAIT_VALUE_EQ));
    CU(cuMemcpyDtoDAsync(b, a, BYTES, stream));
    CU(cuMemcpyHtoDAsync(a, will, BYTES, stream));
    CU(cuStreamWriteValue32(other, word, 1, 0));
    CU(cuStreamSynchronize(stream));
    CU(cuMemcpyDtoH(got, b, BYTES));
    EXPECT(memcmp(got, was, BYTES) == 0);
    CU(cuMemcpyDtoH(got, a, BYTES));
    EXPECT(memcmp(got, will, BYTES) == 0);
    CU(cuStreamDestroy(stream));
    CU(cuStreamDestroy(other));
}

/* What is queued behind a copy to the host does not show in it. */
static void
before_work(CUdeviceptr a, uint8_t *sent, uint8_t *got, uint8_t *later)
{
    CUstream stream;

    CU(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
    fill(sent, 3);
    for (int round = 0; round < 2; round++) {
        CU(cuMemcpyHtoDAsync(a, sent, BYTES, stream));
        CU(cuMemcpyDtoHAsync(got, a, BYTES, stream));
        CU(cuMemsetD8Async(a, (unsigned char)(round + 5), BYTES, stream));
        CU(cuMemcpyDtoHAsync(later, a, BYTES, stream));
        CU(cuMemsetD8Async(a, 0, BYTES, stream));
        CU(cuStreamSynchronize(stream));
        EXPECT(memcmp(got, sent, BYTES) == 0);
        EXPECT(all(later, (uint8_t)(round + 5)));
    }
    CU(cuStreamDestroy(stream));
}

/* Work of another stream does not hold it up, at which end it may. */
static void
beside_work(CUdeviceptr a, CUdeviceptr word, uint8_t *sent, uint8_t *got)
{
    CUstream stream, other;

    CU(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
    CU(cuStreamCreate(&other, CU_STREAM_NON_BLOCKING));
    CU(cuMemsetD32(word, 0, 1));
    CU(cuCtxSynchronize());
    CU(cuStreamWaitValue32(other, word, 1, CU_STREAM_WAIT_VALUE_EQ));
    for (uint32_t round = 0; round < 3; round++) {
        fill(sent, 7 + round);
        CU(cuMemcpyHtoDAsync(a, sent, BYTES, stream));
        CU(cuMemcpyDtoHAsync(got, a, BYTES, stream));
        CU(cuStreamSynchronize(stream));
        EXPECT(memcmp(got, sent, BYTES) == 0);
    }
    EXPECT_CU(CUDA_ERROR_NOT_READY, cuStreamQuery(other));
    CU(cuStreamWriteValue32(stream, word, 1, 0));
    CU(cuStreamSynchronize(other));
    CU(cuStreamDestroy(stream));
    CU(cuStreamDestroy(other));
}

static void
before_free(uint8_t *got)
{
    CUdeviceptr p, q;

    CU(cuMemAlloc(&p, BYTES));
    CU(cuMemsetD8(p, 0x5a, BYTES));
    CU(cuMemcpyDtoHAsync(got, p, BYTES, CU_STREAM_PER_THREAD));
    CU(cuMemFree(p));
    CU(cuMemAlloc(&q, BYTES));
    CU(cuMemsetD8(q, 0xa5, BYTES));
    CU(cuCtxSynchronize());
    EXPECT(all(got, 0x5a));
    CU(cuMemFree(q));
}

static void
odd_places(CUdeviceptr a, uint8_t *sent, uint8_t *got)
{
    static const size_t skips[] = {1, 63, 65537};

    fill(sent, 4);
    for (size_t i = 0; i < COUNT_OF(skips); i++) {
        size_t bytes = BYTES - 2 * skips[i] - 1;

        CU(cuMemsetD8(a, 0x11, BYTES));
        CU(cuMemcpyHtoD(a + skips[i], sent, bytes));
        memset(got, 0x22, BYTES);
        CU(cuMemcpyDtoH(got + 1, a + skips[i], bytes));
        EXPECT(got[0] == 0x22 && got[bytes + 1] == 0x22 && memcmp(got + 1, sent, bytes) == 0);
        CU(cuMemcpyDtoH(got, a, BYTES));
        EXPECT(got[skips[i] - 1] == 0x11 && got[skips[i] + bytes] == 0x11);
    }
}

/* usage: drv_bulk_order [beside]: only what other streams do not hold up */
int
main(int argc, char **argv)
{
    CUdevice dev = drv_open();
    uint8_t *one = pinned(), *two = pinned(), *three = pinned();
    CUdeviceptr a, b, word;

    CU(cuMemAlloc(&a, BYTES));
    CU(cuMemAlloc(&b, BYTES));
    CU(cuMemAlloc(&word, 4));
    (void)argv;
    beside_work(a, word, one, two);
    if (argc == 1) {
        behind_work(a, b, word, one, two, three);
        before_work(a, one, two, three);
        before_free(three);
        odd_places(a, one, two);
    }
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuMemcpyDtoH(one, a + 1, (size_t)1 << 40));
    CU(cuMemFree(a));
    CU(cuMemFree(b));
    CU(cuMemFree(word));
    CU(cuMemFreeHost(one));
    CU(cuMemFreeHost(two));
    CU(cuMemFreeHost(three));
    drv_close(dev);
    return drv_result("bulk order");
}
