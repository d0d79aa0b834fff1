/* drv_bulk.c -- 64 MiB to the device, across it and back, each byte as it was
 *
 * usage: drv_bulk [ROUNDS [MIB]]; says each round that is done, so that a test may cut its line. */
#include "drv.h"

static size_t bytes = 64u << 20;

static void
fill(uint32_t *words, uint32_t seed)
{
    uint32_t x = seed * 2654435761u + 1;

    for (size_t i = 0; i < bytes / sizeof(*words); i++) {
        x = x * 1664525u + 1013904223u;
        words[i] = x;
    }
}

static size_t
wrong(const uint32_t *a, const uint32_t *b)
{
    size_t n = 0;

    for (size_t i = 0; i < bytes / sizeof(*a); i++)
        n += a[i] != b[i];
    return n;
}

int
main(int argc, char **argv)
{
    uint32_t rounds = argc > 1 ? (uint32_t)strtoul(argv[1], NULL, 10) : 1;
    uint32_t *sent, *got;
    CUdevice dev = drv_open();
    CUdeviceptr a, b;

    if (argc > 2)
        bytes = strtoul(argv[2], NULL, 10) << 20;
    sent = malloc(bytes);
    got = malloc(bytes);
    if (sent == NULL || got == NULL)
        return 2;
    CU(cuMemAlloc(&a, bytes));
    CU(cuMemAlloc(&b, bytes));
    for (uint32_t r = 0; r < rounds; r++) {
        fill(sent, r);
        memset(got, 0, bytes);
        CU(cuMemcpyHtoD(a, sent, bytes));
        CU(cuMemcpyDtoD(b, a, bytes));
        CU(cuMemcpyDtoH(got, b, bytes));
        printf("round %u: %zu words differ\n", r, wrong(sent, got));
        fflush(stdout);
        EXPECT(wrong(sent, got) == 0);
    }
    CU(cuMemFree(a));
    CU(cuMemFree(b));
    drv_close(dev);
    free(sent);
    free(got);
    return drv_result("bulk");
}
