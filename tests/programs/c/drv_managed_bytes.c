/* tests/programs/c/drv_managed_bytes.c -- a managed memory that both sides change in turn
 *
 * usage: drv_managed_bytes MIB ROUNDS SHARE: each round a kernel changes one part in SHARE of the
 * pages, all of their words, and the host changes as many others. How many bytes a pool moves for
 * it is checked from outside (run_both.py --max-bytes). */
#include "drv.h"
#include "coherent_ptx.h"

#define PAGE_WORDS 1024u

int
main(int argc, char **argv)
{
    uint32_t mib = argc > 3 ? (uint32_t)atoi(argv[1]) : 64;
    uint32_t rounds = argc > 3 ? (uint32_t)atoi(argv[2]) : 3;
    uint32_t share = argc > 3 ? (uint32_t)atoi(argv[3]) : 1;
    uint32_t pages = mib * 256, part = pages / share, wrong = 0, one = 1;
    CUdevice dev = drv_open();
    uint32_t n = part * PAGE_WORDS, words = pages * PAGE_WORDS;
    uint32_t *host, *seen = calloc(pages, 4);
    CUdeviceptr p, at;
    CUfunction f;

    f = drv_kernel(coherent_ptx, "add_to");
    CU(cuMemAllocManaged(&p, (size_t)words * 4, CU_MEM_ATTACH_GLOBAL));
    host = (uint32_t *)(uintptr_t)p;
    memset(host, 0, (size_t)words * 4);
    for (uint32_t round = 0; round < rounds; round++) {
        uint32_t mine = round % share * part, theirs = (round + share / 2) % share * part;
        void *params[] = {&at, &n, &one};

        at = p + (uint64_t)theirs * PAGE_WORDS * 4;
        drv_launch(f, n, NULL, params);
        CU(cuCtxSynchronize());
        for (uint32_t page = theirs; page < theirs + part; page++)
            seen[page]++;
        /* All is looked at, a part of it is written. */
        for (uint32_t i = 0; i < words; i++)
            wrong += host[i] != seen[i / PAGE_WORDS];
        for (uint32_t page = mine; page < mine + part; page++) {
            seen[page] += 3;
            for (uint32_t i = 0; i < PAGE_WORDS; i++)
                host[page * PAGE_WORDS + i] += 3;
        }
    }
    EXPECT(wrong == 0);
    printf("%u MiB, %u rounds, a part in %u: %u wrong\n", mib, rounds, share, wrong);
    CU(cuMemFree(p));
    free(seen);
    drv_close(dev);
    return drv_result("drv_managed_bytes");
}
