/* bench/workloads/bench.h -- what the workloads of pool_bench share
 *
 * A workload is one function that fills a series: one value a repetition, in the workload's unit.
 * main.c chooses, times nothing itself, and prints one JSON line for each. The program knows
 * libcuda only, so the same file runs straight on a device and through a pool.
 *
 * Errors: CU() ends the program with status 2; BENCH_TRY() ends the workload, which is then
 *         reported as unsupported if that is what the driver said.
 */
#ifndef BENCH_WORKLOADS_BENCH_H
#define BENCH_WORKLOADS_BENCH_H

#include "cuda_api.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#define CU(call) bench_must((call), #call)

/* In a workload: true if the call went well, else series->unsupported or the program's end. */
#define BENCH_TRY(series, call) bench_try((series), (call), #call)

struct bench_series {
    double *values;
    size_t count, room;
    const char *unsupported; /* the call that the driver refused; NULL: none */
};

/* The device and what every workload needs of it, opened before the first workload. */
struct bench {
    CUdevice device;
    CUcontext context;
    CUmodule module;
    CUfunction add;      /* (u64 a, u64 b, u64 c, u32 n): four parameters */
    CUfunction nothing;  /* () */
    CUstream stream;     /* non-blocking */
    CUdeviceptr a, b, c; /* BENCH_VECTOR floats each */
    size_t rounds;       /* repetitions that the user asked for; 0: the workload's own number */
    double seconds;      /* how long sustained rates are measured */
    uint64_t since_ns;   /* CLOCK_MONOTONIC when this process was made; 0: not told */
};

#define BENCH_VECTOR 1024u

typedef void (*bench_fn)(struct bench *b, struct bench_series *series);

struct bench_workload {
    const char *name;
    const char *unit; /* "us": less is better; "GB/s", "M/s": more is */
    bench_fn run;
    const char *what;
    bool alone; /* measures the opening of the device, so it is given a closed one */
};

/* One table a file, ended by a NULL name. */
extern const struct bench_workload bench_calls[];   /* calls.c: latency, launches, memory, events */
extern const struct bench_workload bench_copies[];  /* copies.c */
extern const struct bench_workload bench_modules[]; /* modules.c: loading, start-up, memory used */
extern const struct bench_workload bench_steps[];   /* steps.c: what programs do in a step */

void bench_must(CUresult cr, const char *what);
bool bench_try(struct bench_series *series, CUresult cr, const char *what);

/* What the user asked for, or the workload's own number. */
size_t bench_rounds(const struct bench *b, size_t own);
void bench_add(struct bench_series *series, double value);

void bench_open(struct bench *b);
void bench_close(struct bench *b);

/* The kernel with four parameters over the three vectors. */
void bench_launch(struct bench *b, CUstream stream);

static inline uint64_t
bench_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static inline double
bench_us(uint64_t from_ns)
{
    return (double)(bench_ns() - from_ns) * 1e-3;
}

#endif
