/* drv_bulk.c -- 64 MiB to the device, across it and back, each byte as it was
 *
 * usage: drv_bulk [ROUNDS [MIB [pinned|lent]]]; says each round that is done, so that a test may
 * cut its line. pinned: from and to memory that the driver allocated; lent: memory of the program's
 * own that it registers, and maps anew between two rounds. */
#include "drv.h"

#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

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

static uint32_t *
memory_make(const char *kind)
{
    void *p;

    if (kind[0] == 'p') {
        CU(cuMemHostAlloc(&p, bytes, 0));
        return p;
    }
    if (kind[0] != 'l')
        return malloc(bytes);
    p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CU(cuMemHostRegister(p, bytes, 0));
    return p;
}

static void
memory_free(uint32_t *p, const char *kind)
{
    if (kind[0] == 'p')
        CU(cuMemFreeHost(p));
    else if (kind[0] == 'l')
        CU(cuMemHostUnregister(p));
    else
        free(p);
}

/* Other pages at the same place, and a child that writes to its own copy of what is pinned. */
static void
memory_change(uint32_t *p, const char *kind)
{
    pid_t child;

    if (kind[0] == 'l') {
        CU(cuMemHostUnregister(p));
        EXPECT(munmap(p, bytes) == 0);
        EXPECT(mmap(p, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1,
                    0) == p);
        CU(cuMemHostRegister(p, bytes, 0));
    }
    if (kind[0] == 'm')
        return;
    child = fork();
    if (child == 0) {
        memset(p, 0xcc, bytes);
        _exit(0);
    }
    EXPECT(waitpid(child, NULL, 0) == child);
}

int
main(int argc, char **argv)
{
    uint32_t rounds = argc > 1 ? (uint32_t)strtoul(argv[1], NULL, 10) : 1;
    const char *kind = "malloc";
    uint32_t *sent, *got;
    CUdevice dev = drv_open();
    CUdeviceptr a, b;

    if (argc > 2)
        bytes = strtoul(argv[2], NULL, 10) << 20;
    if (argc > 3)
        kind = argv[3];
    sent = memory_make(kind);
    got = memory_make(kind);
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
        memory_change(sent, kind);
        memory_change(got, kind);
    }
    memory_free(sent, kind);
    memory_free(got, kind);
    CU(cuMemFree(a));
    CU(cuMemFree(b));
    drv_close(dev);
    return drv_result("bulk");
}
