/* bench/workloads/main.c -- pool_bench: workloads on the CUDA driver API, one JSON line each
 *
 * usage: pool_bench [--rounds N] [--seconds S] [--since NS] WORKLOAD...
 *        pool_bench --list
 *
 * Median and spread are of the repetitions; "p99" is the bad end: the 99th percentile of times,
 * the first of rates. */
#include "bench/workloads/bench.h"

#include "protocol/base/util.h"

#include "reference_ptx.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct bench_workload *const tables[] = {bench_calls, bench_copies, bench_modules,
                                                      bench_steps};

void
bench_must(CUresult cr, const char *what)
{
    const char *name = "?";

    if (cr == CUDA_SUCCESS)
        return;
    (void)cuGetErrorName(cr, &name);
    fprintf(stderr, "pool_bench: %s: %s\n", what, name);
    exit(2);
}

bool
bench_try(struct bench_series *series, CUresult cr, const char *what)
{
    if (cr == CUDA_ERROR_NOT_SUPPORTED) {
        series->unsupported = what;
        return false;
    }
    bench_must(cr, what);
    return true;
}

size_t
bench_rounds(const struct bench *b, size_t own)
{
    return b->rounds > 0 ? b->rounds : own;
}

void
bench_add(struct bench_series *series, double value)
{
    if (series->count == series->room) {
        size_t room = series->room > 0 ? series->room * 2 : 1024;
        double *more = realloc(series->values, room * sizeof(*more));

        if (more == NULL)
            exit(2);
        series->values = more;
        series->room = room;
    }
    series->values[series->count++] = value;
}

void
bench_open(struct bench *b)
{
    size_t bytes = BENCH_VECTOR * sizeof(float);

    CU(cuInit(0));
    CU(cuDeviceGet(&b->device, 0));
    CU(cuDevicePrimaryCtxRetain(&b->context, b->device));
    CU(cuCtxSetCurrent(b->context));
    CU(cuModuleLoadData(&b->module, reference_ptx));
    CU(cuModuleGetFunction(&b->add, b->module, "vector_add"));
    CU(cuModuleGetFunction(&b->nothing, b->module, "nothing"));
    CU(cuStreamCreate(&b->stream, CU_STREAM_NON_BLOCKING));
    CU(cuMemAlloc_v2(&b->a, bytes));
    CU(cuMemAlloc_v2(&b->b, bytes));
    CU(cuMemAlloc_v2(&b->c, bytes));
    CU(cuMemsetD32_v2(b->a, 0, BENCH_VECTOR));
    CU(cuMemsetD32_v2(b->b, 0, BENCH_VECTOR));
    CU(cuCtxSynchronize());
}

void
bench_close(struct bench *b)
{
    CU(cuMemFree_v2(b->a));
    CU(cuMemFree_v2(b->b));
    CU(cuMemFree_v2(b->c));
    CU(cuStreamDestroy_v2(b->stream));
    CU(cuModuleUnload(b->module));
    CU(cuDevicePrimaryCtxRelease_v2(b->device));
}

void
bench_launch(struct bench *b, CUstream stream)
{
    unsigned n = BENCH_VECTOR;
    void *params[] = {&b->a, &b->b, &b->c, &n};

    CU(cuLaunchKernel(b->add, BENCH_VECTOR / 256, 1, 1, 256, 1, 1, 0, stream, params, NULL));
}

static int
by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static void
report(const struct bench_workload *w, struct bench_series *s)
{
    bool rate = strchr(w->unit, '/') != NULL;
    size_t bad;

    printf("{\"workload\": \"%s\", \"unit\": \"%s\", ", w->name, w->unit);
    if (s->unsupported != NULL || s->count == 0) {
        printf("\"unsupported\": \"%.*s\"}\n",
               s->unsupported != NULL ? (int)strcspn(s->unsupported, "(") : 0,
               s->unsupported != NULL ? s->unsupported : "");
    } else {
        qsort(s->values, s->count, sizeof(*s->values), by_value);
        bad = rate ? s->count / 100 : (s->count * 99) / 100;
        printf("\"n\": %zu, \"median\": %.6g, \"p99\": %.6g, \"min\": %.6g, \"max\": %.6g}\n",
               s->count, s->values[s->count / 2], s->values[bad], s->values[0],
               s->values[s->count - 1]);
    }
    fflush(stdout);
}

static const struct bench_workload *
find(const char *name)
{
    for (size_t t = 0; t < GP_ARRAY_LEN(tables); t++)
        for (const struct bench_workload *w = tables[t]; w->name != NULL; w++)
            if (strcmp(w->name, name) == 0)
                return w;
    return NULL;
}

static int
list(void)
{
    for (size_t t = 0; t < GP_ARRAY_LEN(tables); t++)
        for (const struct bench_workload *w = tables[t]; w->name != NULL; w++)
            printf("%-22s %-5s %s\n", w->name, w->unit, w->what);
    return 0;
}

static int
usage(void)
{
    fprintf(stderr, "usage: pool_bench [--rounds N] [--seconds S] [--since NS] WORKLOAD...\n"
                    "       pool_bench --list\n");
    return 2;
}

/* Run those named, opening the device before the first that wants it open. */
static int
run(struct bench *b, char **names, int count)
{
    bool open = false;

    for (int i = 0; i < count; i++) {
        const struct bench_workload *w = find(names[i]);
        struct bench_series series = {0};

        if (w == NULL || (w->alone && count > 1)) {
            fprintf(stderr, "pool_bench: %s: %s\n", names[i],
                    w == NULL ? "no such workload" : "runs only by itself");
            return 2;
        }
        if (!w->alone && !open) {
            bench_open(b);
            open = true;
        }
        w->run(b, &series);
        report(w, &series);
        free(series.values);
    }
    if (open)
        bench_close(b);
    return 0;
}

int
main(int argc, char **argv)
{
    struct bench b = {.seconds = 1.0};
    int i = 1;

    if (argc == 2 && strcmp(argv[1], "--list") == 0)
        return list();
    for (; i + 1 < argc && strncmp(argv[i], "--", 2) == 0; i += 2)
        if (strcmp(argv[i], "--rounds") == 0)
            b.rounds = strtoul(argv[i + 1], NULL, 10);
        else if (strcmp(argv[i], "--seconds") == 0)
            b.seconds = strtod(argv[i + 1], NULL);
        else if (strcmp(argv[i], "--since") == 0)
            b.since_ns = strtoull(argv[i + 1], NULL, 10);
        else
            return usage();
    return i < argc ? run(&b, argv + i, argc - i) : usage();
}
