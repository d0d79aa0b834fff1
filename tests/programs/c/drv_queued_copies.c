/* tests/programs/c/drv_queued_copies.c -- far more copies to the host queued than fit anywhere on
 * the way, on several streams and without a synchronisation in between */
#include "drv.h"

#define STREAMS_MAX 320

struct lane {
    CUstream stream;
    CUdeviceptr device;
    uint32_t *host;
};

/* Each copy must bring what the device memory held in its turn: it is filled anew before each, and
 * the last copies stay to be looked at. */
static void
rounds(const char *what, uint32_t streams, uint32_t copies, size_t bytes, unsigned flags)
{
    enum {
        KEPT = 8
    };
    uint32_t words = (uint32_t)(bytes / 4), wrong = 0;
    struct lane lanes[STREAMS_MAX];

    for (uint32_t s = 0; s < streams; s++) {
        CU(cuStreamCreate(&lanes[s].stream, flags));
        CU(cuMemAlloc(&lanes[s].device, bytes));
        CU(cuMemAllocHost((void **)&lanes[s].host, KEPT * bytes));
        memset(lanes[s].host, 0xff, KEPT * bytes);
    }
    for (uint32_t i = 0; i < copies; i++) {
        for (uint32_t s = 0; s < streams; s++) {
            struct lane *l = &lanes[s];

            CU(cuMemsetD32Async(l->device, s << 20 | i, words, l->stream));
            CU(cuMemcpyDtoHAsync(l->host + (size_t)(i % KEPT) * words, l->device, bytes,
                                 l->stream));
        }
    }
    CU(cuCtxSynchronize());
    for (uint32_t s = 0; s < streams; s++) {
        for (uint32_t i = copies - KEPT; i < copies; i++) {
            const uint32_t *kept = lanes[s].host + (size_t)(i % KEPT) * words;

            for (uint32_t w = 0; w < words; w++)
                wrong += kept[w] != (s << 20 | i);
        }
        CU(cuStreamDestroy(lanes[s].stream));
        CU(cuMemFree(lanes[s].device));
        CU(cuMemFreeHost(lanes[s].host));
    }
    EXPECT(wrong == 0);
    printf("%s: %u wrong\n", what, wrong);
}

int
main(void)
{
    CUdevice dev = drv_open();

    /* 80 KiB are a block of staging each: what is held ahead of the line ends soon. */
    rounds("more streams than the server has threads", STREAMS_MAX, 8, 80 << 10, CU_STREAM_DEFAULT);
    rounds("long queues", 6, 400, 80 << 10, CU_STREAM_NON_BLOCKING);
    rounds("more copies than there are numbers for", 4, 20000, 4, CU_STREAM_NON_BLOCKING);
    drv_close(dev);
    return drv_result("drv_queued_copies");
}
