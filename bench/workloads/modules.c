/* bench/workloads/modules.c -- loading a module, starting a program, what it occupies */
#include "bench/workloads/bench.h"

#include "reference_ptx.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

static void
load(const char *image, struct bench_series *series)
{
    uint64_t start = bench_ns();
    CUmodule module;
    CUfunction f;

    CU(cuModuleLoadData(&module, image));
    CU(cuModuleGetFunction(&f, module, "matmul"));
    bench_add(series, bench_us(start));
    CU(cuModuleUnload(module));
}

/* An image that nobody has seen: the same text and one comment that no other has. */
static void
module_cold(struct bench *b, struct bench_series *series)
{
    static char image[sizeof(reference_ptx) + 64];

    for (size_t i = 0; i < bench_rounds(b, 30); i++) {
        snprintf(image, sizeof(image), "%s\n// %ld %llu %zu\n", reference_ptx, (long)getpid(),
                 (unsigned long long)bench_ns(), i);
        load(image, series);
    }
}

static void
module_warm(struct bench *b, struct bench_series *series)
{
    for (size_t i = 0; i < bench_rounds(b, 100); i++)
        load(reference_ptx, series);
}

/* From the making of this process to the end of its first kernel. */
static void
startup(struct bench *b, struct bench_series *series)
{
    uint64_t since = b->since_ns;

    if (since == 0) {
        fprintf(stderr, "pool_bench: startup needs --since\n");
        bench_must(CUDA_ERROR_INVALID_VALUE, "startup");
    }
    bench_open(b);
    bench_launch(b, b->stream);
    CU(cuStreamSynchronize(b->stream));
    bench_add(series, bench_us(since) / 1e3);
    bench_close(b);
}

static double
own_mib(const char *key)
{
    FILE *file = fopen("/proc/self/smaps_rollup", "r");
    char line[256];
    double kib = 0;
    size_t n = strlen(key);

    while (file != NULL && fgets(line, sizeof(line), file) != NULL)
        if (strncmp(line, key, n) == 0 && line[n] == ':')
            sscanf(line + n + 1, "%lf", &kib);
    if (file != NULL)
        fclose(file);
    return kib / 1024;
}

/* What using the device adds to this process beside its own program: before cuInit, after a
 * burst of launches. With a library linked at build time its pages count only once touched. */
static void
memory(struct bench *b, struct bench_series *series)
{
    double before = own_mib("Pss");

    bench_open(b);
    for (int i = 0; i < 100000; i++)
        bench_launch(b, b->stream);
    CU(cuStreamSynchronize(b->stream));
    bench_add(series, own_mib("Pss") - before);
    bench_close(b);
}

const struct bench_workload bench_modules[] = {
    {"module_cold", "us", module_cold, "load a PTX module that nobody loaded before", false},
    {"module_warm", "us", module_warm, "load it again", false},
    {"startup", "ms", startup, "process start to the end of the first kernel", true},
    {"memory", "MiB", memory, "proportional set size that using the device adds", true},
    {NULL, NULL, NULL, NULL, false},
};
