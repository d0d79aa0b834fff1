/* bench/workloads/steps.c -- steps as frameworks make them: many launches, few waits */
#include "bench/workloads/bench.h"

#include <stdlib.h>

#define DECODE_LAUNCHES 120
#define TRAIN_LAUNCHES  2000
#define TRAIN_EVENTS    100
#define MANAGED_BYTES   ((size_t)64 << 10)

/* One token: kernels in a row, then two small answers. */
static void
decode(struct bench *b, struct bench_series *series)
{
    uint64_t token, score;

    for (size_t i = 0; i < bench_rounds(b, 100); i++) {
        uint64_t start = bench_ns();

        for (int k = 0; k < DECODE_LAUNCHES; k++)
            bench_launch(b, b->stream);
        CU(cuMemcpyDtoHAsync_v2(&token, b->c, sizeof(token), b->stream));
        CU(cuStreamSynchronize(b->stream));
        CU(cuMemcpyDtoHAsync_v2(&score, b->c + sizeof(token), sizeof(score), b->stream));
        CU(cuStreamSynchronize(b->stream));
        bench_add(series, bench_us(start));
    }
}

/* One step: forward, backward, optimiser; events as a profiler or an allocator records them; the
 * loss at the end. */
static void
training(struct bench *b, struct bench_series *series)
{
    CUevent events[TRAIN_EVENTS];
    float loss;

    for (int e = 0; e < TRAIN_EVENTS; e++)
        CU(cuEventCreate(&events[e], CU_EVENT_DISABLE_TIMING));
    for (size_t i = 0; i < bench_rounds(b, 50); i++) {
        uint64_t start = bench_ns();

        for (int k = 0; k < TRAIN_LAUNCHES; k++) {
            bench_launch(b, b->stream);
            if (k % (TRAIN_LAUNCHES / TRAIN_EVENTS) == 0)
                CU(cuEventRecord(events[k / (TRAIN_LAUNCHES / TRAIN_EVENTS)], b->stream));
        }
        CU(cuMemcpyDtoHAsync_v2(&loss, b->c, sizeof(loss), b->stream));
        CU(cuStreamSynchronize(b->stream));
        bench_add(series, bench_us(start));
    }
    for (int e = 0; e < TRAIN_EVENTS; e++)
        CU(cuEventDestroy_v2(events[e]));
}

/* The decode step's kernels captured once and launched as one. */
static void
graph(struct bench *b, struct bench_series *series)
{
    CUgraph graph;
    CUgraphExec exec;

    if (!BENCH_TRY(series, cuStreamBeginCapture_v2(b->stream, CU_STREAM_CAPTURE_MODE_RELAXED)))
        return;
    for (int k = 0; k < DECODE_LAUNCHES; k++)
        bench_launch(b, b->stream);
    if (!BENCH_TRY(series, cuStreamEndCapture(b->stream, &graph)) ||
        !BENCH_TRY(series, cuGraphInstantiateWithFlags(&exec, graph, 0)))
        return;
    for (size_t i = 0; i < bench_rounds(b, 300); i++) {
        uint64_t start = bench_ns();

        if (!BENCH_TRY(series, cuGraphLaunch(exec, b->stream)))
            break;
        CU(cuStreamSynchronize(b->stream));
        bench_add(series, bench_us(start));
    }
    CU(cuGraphExecDestroy(exec));
    CU(cuGraphDestroy(graph));
}

/* Host and device touch the same managed pages in turn. */
static void
managed(struct bench *b, struct bench_series *series)
{
    CUdeviceptr p;
    unsigned n = BENCH_VECTOR;

    if (!BENCH_TRY(series, cuMemAllocManaged(&p, MANAGED_BYTES, CU_MEM_ATTACH_GLOBAL)))
        return;
    for (size_t i = 0; i < bench_rounds(b, 300); i++) {
        volatile float *host = (volatile float *)(uintptr_t)p;
        void *params[] = {&b->a, &b->b, &p, &n};
        uint64_t start = bench_ns();

        for (size_t k = 0; k < MANAGED_BYTES / sizeof(*host); k += 1024)
            host[k] += 1.0f;
        CU(cuLaunchKernel(b->add, BENCH_VECTOR / 256, 1, 1, 256, 1, 1, 0, b->stream, params, NULL));
        CU(cuStreamSynchronize(b->stream));
        bench_add(series, bench_us(start));
    }
    CU(cuMemFree_v2(p));
}

const struct bench_workload bench_steps[] = {
    {"decode", "us", decode, "120 launches, 2 small copies to the host", false},
    {"training", "us", training, "2,000 launches, 100 event records, 1 small copy to the host",
     false},
    {"graph", "us", graph, "a graph of 120 kernels, launched and awaited", false},
    {"managed", "us", managed, "host writes managed pages, a kernel follows, awaited", false},
    {NULL, NULL, NULL, NULL, false},
};
