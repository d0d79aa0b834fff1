/* bench/soft_device.c -- the software device against plain C on one core, in one run
 *
 * Four kernels and two overheads:
 *   vector add of 16M floats, tiled matrix product 512^3, sum of 16M floats by shuffles,
 *   Collatz steps of 1M numbers (a divergent loop), the launch of one warp, and parsing and
 *   lowering a module per PTX instruction.
 * Each result is checked against the C one. Prints a table, or JSON with --json; times are
 * medians of the rounds (default 5), ratios are taken within the run. */
#include "cuda_api.h"
#include "protocol/base/util.h"
#include "reference_ptx.h"

#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define VECTOR_N  (16u << 20)
#define MATRIX_N  512u
#define COLLATZ_N (1u << 20)
#define REDUCE_BLOCKS 256u
#define ROUNDS_MAX 101

struct row {
    const char *name;
    double plain_ms, device_ms;
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

static int
by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static double
median(double *values, int count)
{
    qsort(values, (size_t)count, sizeof(*values), by_value);
    return values[count / 2];
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
    double ms[ROUNDS_MAX];

    for (int r = -1; r < rounds; r++) { /* the first is a warm-up */
        double begin = now_ms();

        CU(cuLaunchKernel(k->f, k->grid[0], k->grid[1], 1, k->block[0], k->block[1], 1, 0, NULL,
                          k->params, NULL));
        CU(cuCtxSynchronize());
        if (r >= 0)
            ms[r] = now_ms() - begin;
    }
    return median(ms, rounds);
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
    double ms[ROUNDS_MAX];
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
    CUdeviceptr da = device_copy(a, bytes), db = device_copy(b, bytes), dc = device_copy(NULL, bytes);
    void *params[] = {&da, &db, &dc, &n};
    struct kernel k = {function(module, "vector_add"), {VECTOR_N / 256, 1}, {256, 1}, params};
    struct row row = {"vector add 16M", median(ms, rounds), time_device(&k, rounds), false};

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
    double ms[ROUNDS_MAX];
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
    CUdeviceptr da = device_copy(a, bytes), db = device_copy(b, bytes), dc = device_copy(NULL, bytes);
    void *params[] = {&da, &db, &dc, &n};
    struct kernel k = {function(module, "matmul"), {MATRIX_N / 32, MATRIX_N / 32}, {32, 32}, params};
    struct row row = {"matmul 512^3", median(ms, rounds), time_device(&k, rounds), false};

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
bench_reduce(CUmodule module, int rounds)
{
    size_t bytes = VECTOR_N * sizeof(float);
    float *a = host_alloc(bytes), parts[REDUCE_BLOCKS], plain = 0, device = 0;
    double ms[ROUNDS_MAX];
    int n = VECTOR_N;

    for (unsigned i = 0; i < VECTOR_N; i++)
        a[i] = (float)(i % 4); /* every partial sum is exact */
    for (int r = -1; r < rounds; r++) {
        double begin = now_ms();

        plain = plain_sum(a, VECTOR_N);
        if (r >= 0)
            ms[r] = now_ms() - begin;
    }
    CUdeviceptr da = device_copy(a, bytes), out = device_copy(NULL, sizeof(parts));
    void *params[] = {&da, &out, &n};
    struct kernel k = {function(module, "reduce"), {REDUCE_BLOCKS, 1}, {256, 1}, params};
    struct row row = {"shuffle sum 16M", median(ms, rounds), time_device(&k, rounds), false};

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
    double ms[ROUNDS_MAX];

    for (int r = -1; r < rounds; r++) {
        double begin = now_ms();

        plain_collatz(c, COLLATZ_N);
        if (r >= 0)
            ms[r] = now_ms() - begin;
    }
    CUdeviceptr dc = device_copy(NULL, bytes);
    void *params[] = {&dc, &n};
    struct kernel k = {function(module, "collatz"), {COLLATZ_N / 256, 1}, {256, 1}, params};
    struct row row = {"divergent loop 1M", median(ms, rounds), time_device(&k, rounds), false};

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
    return median(us, rounds);
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
    return median(us, rounds);
}

static void
print(const struct row *rows, size_t count, double launch_us, double load_us, bool json)
{
    char device[100] = "";

    CU(cuDeviceGetName(device, sizeof(device), 0));
    if (json)
        printf("{\"device\": \"%s\", \"launch_us\": %.3f, \"load_us_per_statement\": %.3f, \"kernels\": [",
               device, launch_us, load_us);
    else
        printf("%s\n%-20s %10s %10s %8s  result\n", device, "kernel", "plain C", "device", "ratio");
    for (size_t i = 0; i < count; i++)
        if (json)
            printf("%s{\"name\": \"%s\", \"plain_ms\": %.3f, \"device_ms\": %.3f, \"ratio\": %.3f, \"right\": %s}",
                   i > 0 ? ", " : "", rows[i].name, rows[i].plain_ms, rows[i].device_ms,
                   rows[i].device_ms / rows[i].plain_ms, rows[i].right ? "true" : "false");
        else
            printf("%-20s %7.2f ms %7.2f ms %7.2fx  %s\n", rows[i].name, rows[i].plain_ms,
                   rows[i].device_ms, rows[i].device_ms / rows[i].plain_ms,
                   rows[i].right ? "right" : "WRONG");
    if (json)
        printf("]}\n");
    else
        printf("launch of one warp   %7.2f us\nparse and lower      %7.2f us a PTX statement\n",
               launch_us, load_us);
}

int
main(int argc, char **argv)
{
    bool json = false, right = true;
    int rounds = 5;
    CUcontext context;
    CUmodule module;

    for (int i = 1; i < argc; i++)
        if (strcmp(argv[i], "--json") == 0)
            json = true;
        else if (atoi(argv[i]) > 0 && atoi(argv[i]) <= ROUNDS_MAX)
            rounds = atoi(argv[i]);
        else
            return fprintf(stderr, "usage: soft_device [--json] [ROUNDS]\n"), 2;

    CU(cuInit(0));
    CU(cuDevicePrimaryCtxRetain(&context, 0));
    CU(cuCtxSetCurrent(context));
    CU(cuModuleLoadData(&module, reference_ptx));
    struct row rows[] = {bench_add(module, rounds), bench_matmul(module, rounds),
                         bench_reduce(module, rounds), bench_collatz(module, rounds)};

    print(rows, GP_ARRAY_LEN(rows), bench_launch(module), bench_load(), json);
    for (size_t i = 0; i < GP_ARRAY_LEN(rows); i++)
        right = right && rows[i].right;
    CU(cuModuleUnload(module));
    CU(cuDevicePrimaryCtxRelease_v2(0));
    return right ? 0 : 1;
}
