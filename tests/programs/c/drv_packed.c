/* drv_packed.c -- large copies of bytes that shrink, twice each way: on a slow line the later ones
 * travel packed, and everywhere they bring the same */
#include "drv.h"

#define BYTES ((size_t)17 << 20)
#define WIDTH ((size_t)40000) /* of rows that are apart on both sides */
#define PITCH ((size_t)40960)

/* Six bits of sixteen, different everywhere. */
static void
fill(uint16_t *words, uint32_t seed)
{
    for (size_t i = 0; i < BYTES / 2; i++) {
        seed = seed * 1664525 + 1013904223;
        words[i] = (uint16_t)(seed >> 20 & 0x3f);
    }
}

static uint64_t
digest(const void *bytes, size_t len)
{
    uint64_t h = 0xcbf29ce484222325u;

    for (size_t i = 0; i < len; i += 8) {
        uint64_t word;

        memcpy(&word, (const char *)bytes + i, 8);
        h = (h ^ word) * 0x100000001b3u;
    }
    return h;
}

static void
rows_out(CUdeviceptr from, const uint8_t *want, uint8_t *back)
{
    CUDA_MEMCPY2D copy = {
        .srcMemoryType = CU_MEMORYTYPE_DEVICE,
        .srcDevice = from,
        .srcPitch = PITCH,
        .dstMemoryType = CU_MEMORYTYPE_HOST,
        .dstHost = back,
        .dstPitch = PITCH,
        .WidthInBytes = WIDTH,
        .Height = BYTES / PITCH,
    };
    size_t wrong = 0;

    memset(back, 0xaa, BYTES);
    CU(cuMemcpy2D_v2(&copy));
    for (size_t row = 0; row < BYTES / PITCH; row++) {
        wrong += memcmp(back + row * PITCH, want + row * PITCH, WIDTH) != 0;
        for (size_t i = WIDTH; i < PITCH; i++)
            wrong += back[row * PITCH + i] != 0xaa;
    }
    EXPECT(wrong == 0);
}

int
main(void)
{
    CUdevice dev = drv_open();
    uint16_t *words = malloc(BYTES), *back = malloc(BYTES);
    CUdeviceptr d;

    CU(cuMemAlloc_v2(&d, BYTES));
    for (uint32_t round = 0; round < 2; round++) {
        fill(words, round);
        CU(cuMemcpyHtoD_v2(d, words, BYTES));
        memset(back, 0, BYTES);
        CU(cuMemcpyDtoH_v2(back, d, BYTES));
        EXPECT(memcmp(words, back, BYTES) == 0);
        printf("round %u: %016llx\n", round, (unsigned long long)digest(back, BYTES));
    }
    rows_out(d, (const uint8_t *)words, (uint8_t *)back);
    CU(cuMemFree_v2(d));
    free(words);
    free(back);
    drv_close(dev);
    return drv_result("drv_packed");
}
