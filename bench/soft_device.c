/* bench/soft_device.c -- the software device against plain C on one core, in one run
 *
 * Four kernels and two overheads:
 *   vector add of 16M floats, tiled matrix product 512^3, sum of 16M floats by shuffles,
 *   Collatz steps of 1M numbers (a divergent loop), the launch of one warp, and parsing and
 *   lowering a module per PTX instruction.
 * Each result is checked against the C one. Prints a table, or JSON with --json; times are the
 * best of the rounds (default 5): what else runs on the machine only takes time away. Ratios are
 * taken within the run. Sums of floats keep their order in C, so that a compiler may not vectorise
 * the plain one; the sum in 16 parts that a programmer would write by hand is shown beside it. */
#include "cuda_api.h"
#include "protocol/base/util.h"
#include "reference_ptx.h"

#include <limits.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define VECTOR_N      (16u << 20)
#define MATRIX_N      512u
#define COLLATZ_N     (1u << 20)
#define REDUCE_BLOCKS 256u
#define ROUNDS_MAX    101

struct row {
    const char *name;
    double plain_ms, device_ms; /* best of the rounds */
    bool right;
};

static void
must(CUresult cr, const char *what)
{
    const char *name = "?";

    if (cr == CUDA_SUCCESS)
        return;
    (void)cuGetErrorName(cr, &name);
    fprintf(stderr, "soft_device: %s: %s\n", what, name);
    exit(2);
}

#define CU(call) must((call), #call)

static double
now_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

static double
best(const double *values, int count)
{
    double least = values[0];

    for (int i = 1; i < count; i++)
        least = values[i] < least ? values[i] : least;
    return least;
}

static void *
host_alloc(size_t bytes)
{
    void *p = malloc(bytes);

    if (p == NULL)
        exit(2);
    return p;
}

static CUdeviceptr
device_copy(const void *host, size_t bytes)
{
    CUdeviceptr at;

    CU(cuMemAlloc_v2(&at, bytes));
    if (host != NULL)
        CU(cuMemcpyHtoD_v2(at, host, bytes));
    return at;
}

/* --- plain C, what a compiler makes of it at -O3 for this processor ------------------------- */

static __attribute__((noinline)) void
plain_add(const float *a, const float *b, float *c, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        c[i] = a[i] + b[i];
}

static __attribute__((noinline)) void
plain_matmul(const float *restrict a, const float *restrict b, float *restrict c, unsigned n)
{
    memset(c, 0, (size_t)n * n * sizeof(*c));
    for (unsigned y = 0; y < n; y++)
        for (unsigned k = 0; k < n; k++) {
            float f = a[y * n + k];

            for (unsigned x = 0; x < n; x++)
                c[y * n + x] = fmaf(f, b[k * n + x], c[y * n + x]);
        }
}

static __attribute__((noinline)) float
plain_sum(const float *a, unsigned n)
{
    float sum = 0;

    for (unsigned i = 0; i < n; i++)
        sum += a[i];
    return sum;
}

static __attribute__((noinline)) float
plain_sum_parts(const float *a, unsigned n)
{
    float part[16] = {0}, sum = 0;

    for (unsigned i = 0; i < n; i += 16)
        for (unsigned k = 0; k < 16; k++)
            part[k] += a[i + k];
    for (unsigned k = 0; k < 16; k++)
        sum += part[k];
    return sum;
}

static __attribute__((noinline)) void
plain_collatz(unsigned *steps, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        unsigned long long v = i + 1ull;
        unsigned s = 0;

        while (v != 1) {
            v = v & 1 ? 3 * v + 1 : v >> 1;
            s++;
        }
        steps[i] = s;
    }
}

/* --- the same on the device ------------------------------------------------------------------ */

struct kernel {
    CUfunction f;
    unsigned grid[2], block[2];
    void **params;
};

static double
time_device(const struct kernel *k, int rounds)
{
    double ms[ROUNDS_MAX] = {0};

    for (int r = -1; r < rounds; r++) { /* the first is a warm-up */
        double begin = now_ms();

        CU(cuLaunchKernel(k->f, k->grid[0], k->grid[1], 1, k->block[0], k->block[1], 1, 0, NULL,
                          k->params, NULL));
        CU(cuCtxSynchronize());
        if (r >= 0)
            ms[r] = now_ms() - begin;
    }
    return best(ms, rounds);
}

static CUfunction
function(CUmodule module, const char *name)
{
    CUfunction f;

    CU(cuModuleGetFunction(&f, module, name));
    return f;
}

static struct row
bench_add(CUmodule module, int rounds)
{
    size_t bytes = VECTOR_N * sizeof(float);
    float *a = host_alloc(bytes), *b = host_alloc(bytes), *c = host_alloc(bytes);
    float *d = host_alloc(bytes);
    double ms[ROUNDS_MAX] = {0};
    int n = VECTOR_N;

    for (unsigned i = 0; i < VECTOR_N; i++) {
        a[i] = (float)i * 0.5f;
        b[i] = 1.0f / (float)(i + 1);
    }
    for (int r = -1; r < rounds; r++) {
        double begin = now_ms();

        plain_add(a, b, c, VECTOR_N);
        if (r >= 0)
            ms[r] = now_ms() - begin;
    }
    CUdeviceptr da = device_copy(a, bytes), db = device_copy(b, bytes),
                dc = device_copy(NULL, bytes);
    void *params[] = {&da, &db, &dc, &n};
    struct kernel k = {function(module, "vector_add"), {VECTOR_N / 256, 1}, {256, 1}, params};
    struct row row = {"vector add 16M", best(ms, rounds), time_device(&k, rounds), false};

    CU(cuMemcpyDtoH_v2(d, dc, bytes));
    row.right = memcmp(c, d, bytes) == 0;
    CU(cuMemFree_v2(da));
    CU(cuMemFree_v2(db));
    CU(cuMemFree_v2(dc));
    free(a);
    free(b);
    free(c);
    free(d);
    return row;
}

static struct row
bench_matmul(CUmodule module, int rounds)
{
    size_t bytes = MATRIX_N * MATRIX_N * sizeof(float);
    float *a = host_alloc(bytes), *b = host_alloc(bytes), *c = host_alloc(bytes);
    float *d = host_alloc(bytes);
    double ms[ROUNDS_MAX] = {0};
    int n = MATRIX_N;

    for (unsigned i = 0; i < MATRIX_N * MATRIX_N; i++) {
        a[i] = (float)(i % 97) * 0.01f;
        b[i] = (float)(i % 89) * 0.02f;
    }
    for (int r = -1; r < rounds; r++) {
        double begin = now_ms();

        plain_matmul(a, b, c, MATRIX_N);
        if (r >= 0)
            ms[r] = now_ms() - begin;
    }
    CUdeviceptr da = device_copy(a, bytes), db = device_copy(b, bytes),
                dc = device_copy(NULL, bytes);
    void *params[] = {&da, &db, &dc, &n};
    struct kernel k = {
        function(module, "matmul"), {MATRIX_N / 32, MATRIX_N / 32}, {32, 32}, params};
    struct row row = {"matmul 512^3", best(ms, rounds), time_device(&k, rounds), false};

    CU(cuMemcpyDtoH_v2(d, dc, bytes));
    row.right = memcmp(c, d, bytes) == 0; /* the same order of fused operations */
    CU(cuMemFree_v2(da));
    CU(cuMemFree_v2(db));
    CU(cuMemFree_v2(dc));
    free(a);
    free(b);
    free(c);
    free(d);
    return row;
}

static struct row
bench_reduce(CUmodule module, int rounds, double *parts_ms_p)
{
    size_t bytes = VECTOR_N * sizeof(float);
    float *a = host_alloc(bytes), parts[REDUCE_BLOCKS], plain = 0, device = 0;
    double ms[ROUNDS_MAX] = {0}, in_parts[ROUNDS_MAX] = {0};
    int n = VECTOR_N;

    for (unsigned i = 0; i < VECTOR_N; i++)
        a[i] = (float)(i % 2); /* every sum in whatever order is exact */
    for (int r = -1; r < rounds; r++) {
        double begin = now_ms();

        plain = plain_sum(a, VECTOR_N);
        if (r >= 0)
            ms[r] = now_ms() - begin;
    }
    for (int r = -1; r < rounds; r++) {
        double begin = now_ms();

        parts[0] = plain_sum_parts(a, VECTOR_N);
        if (r >= 0)
            in_parts[r] = now_ms() - begin;
    }
    *parts_ms_p = parts[0] == plain ? best(in_parts, rounds) : 0;
    CUdeviceptr da = device_copy(a, bytes), out = device_copy(NULL, sizeof(parts));
    void *params[] = {&da, &out, &n};
    struct kernel k = {function(module, "reduce"), {REDUCE_BLOCKS, 1}, {256, 1}, params};
    struct row row = {"shuffle sum 16M", best(ms, rounds), time_device(&k, rounds), false};

    CU(cuMemcpyDtoH_v2(parts, out, sizeof(parts)));
    for (unsigned i = 0; i < REDUCE_BLOCKS; i++)
        device += parts[i];
    row.right = plain == device;
    CU(cuMemFree_v2(da));
    CU(cuMemFree_v2(out));
    free(a);
    return row;
}

static struct row
bench_collatz(CUmodule module, int rounds)
{
    size_t bytes = COLLATZ_N * sizeof(unsigned);
    unsigned *c = host_alloc(bytes), *d = host_alloc(bytes), n = COLLATZ_N;
    double ms[ROUNDS_MAX] = {0};

    for (int r = -1; r < rounds; r++) {
        double begin = now_ms();

        plain_collatz(c, COLLATZ_N);
        if (r >= 0)
            ms[r] = now_ms() - begin;
    }
    CUdeviceptr dc = device_copy(NULL, bytes);
    void *params[] = {&dc, &n};
    struct kernel k = {function(module, "collatz"), {COLLATZ_N / 256, 1}, {256, 1}, params};
    struct row row = {"divergent loop 1M", best(ms, rounds), time_device(&k, rounds), false};

    CU(cuMemcpyDtoH_v2(d, dc, bytes));
    row.right = memcmp(c, d, bytes) == 0;
    CU(cuMemFree_v2(dc));
    free(c);
    free(d);
    return row;
}

/* Microseconds of one launch of one warp, many in a row. */
static double
bench_launch(CUmodule module)
{
    CUfunction f = function(module, "nothing");
    double us[ROUNDS_MAX];
    int rounds = 11, count = 10000;

    for (int r = -1; r < rounds; r++) {
        double begin = now_ms();

        for (int i = 0; i < count; i++)
            CU(cuLaunchKernel(f, 1, 1, 1, 32, 1, 1, 0, NULL, NULL, NULL));
        CU(cuCtxSynchronize());
        if (r >= 0)
            us[r] = (now_ms() - begin) * 1e3 / count;
    }
    return best(us, rounds);
}

static unsigned
count_instructions(const char *ptx)
{
    unsigned count = 0;

    for (; *ptx != 0; ptx++) /* each statement ends with one; declarations are few */
        count += *ptx == ';';
    return count;
}

/* Microseconds per PTX statement from text to a kernel that can run, all kernels of the module. */
static double
bench_load(void)
{
    static const char *const names[] = {"vector_add", "matmul", "reduce", "collatz", "nothing"};
    double us[ROUNDS_MAX];
    int rounds = 51;

    for (int r = -1; r < rounds; r++) {
        double begin = now_ms();
        CUmodule module;

        CU(cuModuleLoadData(&module, reference_ptx));
        for (size_t i = 0; i < GP_ARRAY_LEN(names); i++) {
            int value;

            CU(cuFuncGetAttribute(&value, CU_FUNC_ATTRIBUTE_NUM_REGS, function(module, names[i])));
        }
        if (r >= 0)
            us[r] = (now_ms() - begin) * 1e3 / count_instructions(reference_ptx);
        CU(cuModuleUnload(module));
    }
    return best(us, rounds);
}

/* What the second processor is worth: this program again with one and with two threads, as the
 * device reads their number when it starts. 0 where there is only one. */
static double
bench_threads(const char *self)
{
    double ms[2] = {0};

    if (sysconf(_SC_NPROCESSORS_ONLN) < 2)
        return 0;
    for (int i = 0; i < 2; i++) {
        char command[PATH_MAX + 100];
        FILE *f;

        snprintf(command, sizeof(command), "GPUPOOL_SOFT_THREADS=%d '%s' --matmul-ms 15", i + 1,
                 self);
        f = popen(command, "r");
        if (f == NULL || fscanf(f, "%lf", &ms[i]) != 1)
            ms[i] = 0;
        if (f != NULL)
            pclose(f);
    }
    return ms[1] > 0 ? ms[0] / ms[1] : 0;
}

struct figures {
    struct row rows[4];
    size_t nrows;
    double sum_parts_ms; /* plain C, by hand in 16 parts */
    double launch_us, load_us, threads;
};

static void
print_json(const struct figures *f, const char *device)
{
    printf("{\"device\": \"%s\", \"launch_us\": %.3f, \"load_us_per_statement\": %.3f, "
           "\"two_threads\": %.3f, \"plain_sum_parts_ms\": %.3f, \"kernels\": [",
           device, f->launch_us, f->load_us, f->threads, f->sum_parts_ms);
    for (size_t i = 0; i < f->nrows; i++)
        printf("%s{\"name\": \"%s\", \"plain_ms\": %.3f, \"device_ms\": %.3f, \"ratio\": %.3f, "
               "\"right\": %s}",
               i > 0 ? ", " : "", f->rows[i].name, f->rows[i].plain_ms, f->rows[i].device_ms,
               f->rows[i].device_ms / f->rows[i].plain_ms, f->rows[i].right ? "true" : "false");
    printf("]}\n");
}

static void
print_table(const struct figures *f, const char *device)
{
    printf("%s\n%-20s %10s %10s %8s  result\n", device, "kernel", "plain C", "device", "ratio");
    for (size_t i = 0; i < f->nrows; i++)
        printf("%-20s %7.2f ms %7.2f ms %7.2fx  %s\n", f->rows[i].name, f->rows[i].plain_ms,
               f->rows[i].device_ms, f->rows[i].device_ms / f->rows[i].plain_ms,
               f->rows[i].right ? "right" : "WRONG");
    if (f->sum_parts_ms > 0)
        printf("  (sum in 16 parts  %7.2f ms of plain C)\n", f->sum_parts_ms);
    printf("launch of one warp   %7.2f us\nparse and lower      %7.2f us a PTX statement\n"
           "matmul, two threads  %7.2fx of one\n",
           f->launch_us, f->load_us, f->threads);
}

int
main(int argc, char **argv)
{
    bool json = false, right = true, matmul_only = false;
    struct figures f = {.nrows = 0};
    int rounds = 5;
    CUcontext context;
    CUmodule module;
    char name[100] = "";

    for (int i = 1; i < argc; i++)
        if (strcmp(argv[i], "--json") == 0)
            json = true;
        else if (strcmp(argv[i], "--matmul-ms") == 0)
            matmul_only = true;
        else if (atoi(argv[i]) > 0 && atoi(argv[i]) <= ROUNDS_MAX)
            rounds = atoi(argv[i]);
        else
            return fprintf(stderr, "usage: soft_device [--json] [--matmul-ms] [ROUNDS]\n"), 2;

    setenv("GPUPOOL_SOFT_THREADS", "1", 0); /* one core against one core */
    CU(cuInit(0));
    CU(cuDevicePrimaryCtxRetain(&context, 0));
    CU(cuCtxSetCurrent(context));
    CU(cuDeviceGetName(name, sizeof(name), 0));
    CU(cuModuleLoadData(&module, reference_ptx));
    if (matmul_only) {
        f.rows[0] = bench_matmul(module, rounds);
        printf("%.3f\n", f.rows[0].device_ms);
        return f.rows[0].right ? 0 : 1;
    }
    f.rows[f.nrows++] = bench_add(module, rounds);
    f.rows[f.nrows++] = bench_matmul(module, rounds);
    f.rows[f.nrows++] = bench_reduce(module, rounds, &f.sum_parts_ms);
    f.rows[f.nrows++] = bench_collatz(module, rounds);
    f.launch_us = bench_launch(module);
    f.load_us = bench_load();
    f.threads = bench_threads(argv[0]);
    (json ? print_json : print_table)(&f, name);
    for (size_t i = 0; i < f.nrows; i++)
        right = right && f.rows[i].right;
    CU(cuModuleUnload(module));
    CU(cuDevicePrimaryCtxRelease_v2(0));
    return right ? 0 : 1;
}
