/* bench/workloads/calls.c -- what single calls cost: those that wait, and those that need not */
#include "bench/workloads/bench.h"

#include <pthread.h>
#include <stdatomic.h>

#define BURST       1000
#define BURSTS      100
#define WAITS       3000
#define THREADS     4
#define SMALL_BLOCK (64u << 10)

/* A call that must wait: one kernel, then its stream. */
static void
sync_launch(struct bench *b, struct bench_series *series)
{
    for (size_t i = 0; i < bench_rounds(b, WAITS); i++) {
        uint64_t start = bench_ns();

        bench_launch(b, b->stream);
        CU(cuStreamSynchronize(b->stream));
        bench_add(series, bench_us(start));
    }
}

/* Nothing was submitted since the stream was last known to be done. */
static void
sync_idle(struct bench *b, struct bench_series *series)
{
    CU(cuStreamSynchronize(b->stream));
    for (size_t i = 0; i < bench_rounds(b, BURSTS); i++) {
        uint64_t start = bench_ns();

        for (int k = 0; k < BURST; k++)
            CU(cuStreamSynchronize(b->stream));
        bench_add(series, bench_us(start) / BURST);
    }
}

static void
dtoh_8(struct bench *b, struct bench_series *series)
{
    uint64_t word;

    for (size_t i = 0; i < bench_rounds(b, WAITS); i++) {
        uint64_t start = bench_ns();

        CU(cuMemcpyDtoH_v2(&word, b->a, sizeof(word)));
        bench_add(series, bench_us(start));
    }
}

/* The caller's cost in a burst; the bytes are captured, the copy itself is the stream's. */
static void
htod_8(struct bench *b, struct bench_series *series)
{
    uint64_t word = 0;

    for (size_t i = 0; i < bench_rounds(b, BURSTS); i++) {
        uint64_t start = bench_ns();

        for (int k = 0; k < BURST; k++)
            CU(cuMemcpyHtoD_v2(b->a, &word, sizeof(word)));
        bench_add(series, bench_us(start) / BURST);
        CU(cuCtxSynchronize());
    }
}

static void
launch_burst(struct bench *b, struct bench_series *series)
{
    for (size_t i = 0; i < bench_rounds(b, BURSTS); i++) {
        uint64_t start = bench_ns();

        for (int k = 0; k < BURST; k++)
            bench_launch(b, b->stream);
        bench_add(series, bench_us(start) / BURST);
        CU(cuStreamSynchronize(b->stream));
    }
}

struct hammer {
    struct bench *b;
    CUstream stream;
    uint64_t until_ns;
    uint64_t done;
    pthread_t thread;
};

/* Launch until time is over, once at least (a thread may come late), then wait for all of it. */
static void *
hammer(void *arg)
{
    struct hammer *h = arg;

    CU(cuCtxSetCurrent(h->b->context));
    do {
        for (int k = 0; k < BURST; k++)
            bench_launch(h->b, h->stream);
        h->done += BURST;
    } while (bench_ns() < h->until_ns);
    CU(cuStreamSynchronize(h->stream));
    return NULL;
}

static void
launch_by(struct bench *b, struct bench_series *series, int threads)
{
    struct hammer h[THREADS];

    for (size_t i = 0; i < bench_rounds(b, 3); i++) {
        uint64_t start = bench_ns(), done = 0;

        for (int t = 0; t < threads; t++) {
            h[t] = (struct hammer){.b = b, .until_ns = start + (uint64_t)(b->seconds * 1e9 / 3)};
            CU(cuStreamCreate(&h[t].stream, CU_STREAM_NON_BLOCKING));
            if (pthread_create(&h[t].thread, NULL, hammer, &h[t]) != 0)
                bench_must(CUDA_ERROR_OPERATING_SYSTEM, "pthread_create");
        }
        for (int t = 0; t < threads; t++) {
            pthread_join(h[t].thread, NULL);
            done += h[t].done;
        }
        bench_add(series, (double)done / bench_us(start));
        for (int t = 0; t < threads; t++)
            CU(cuStreamDestroy_v2(h[t].stream));
    }
}

static void
launch_1(struct bench *b, struct bench_series *series)
{
    launch_by(b, series, 1);
}

static void
launch_4(struct bench *b, struct bench_series *series)
{
    launch_by(b, series, THREADS);
}

static void
alloc_free(struct bench *b, struct bench_series *series)
{
    for (size_t i = 0; i < bench_rounds(b, BURSTS); i++) {
        uint64_t start = bench_ns();

        for (int k = 0; k < BURST; k++) {
            CUdeviceptr p;

            CU(cuMemAlloc_v2(&p, SMALL_BLOCK));
            CU(cuMemFree_v2(p));
        }
        bench_add(series, bench_us(start) / BURST);
        CU(cuCtxSynchronize());
    }
}

static void
event_cycle(struct bench *b, struct bench_series *series)
{
    for (size_t i = 0; i < bench_rounds(b, BURSTS); i++) {
        uint64_t start = bench_ns();

        for (int k = 0; k < BURST; k++) {
            CUevent e;

            CU(cuEventCreate(&e, CU_EVENT_DISABLE_TIMING));
            CU(cuEventRecord(e, b->stream));
            CU(cuEventDestroy_v2(e));
        }
        bench_add(series, bench_us(start) / BURST);
        CU(cuStreamSynchronize(b->stream));
    }
}

/* An event that was waited for is known to be done. */
static void
event_query(struct bench *b, struct bench_series *series)
{
    CUevent e;

    CU(cuEventCreate(&e, CU_EVENT_DISABLE_TIMING));
    CU(cuEventRecord(e, b->stream));
    CU(cuEventSynchronize(e));
    for (size_t i = 0; i < bench_rounds(b, BURSTS); i++) {
        uint64_t start = bench_ns();

        for (int k = 0; k < BURST; k++)
            CU(cuEventQuery(e));
        bench_add(series, bench_us(start) / BURST);
    }
    CU(cuEventDestroy_v2(e));
}

/* Record, then ask until it is done, as frameworks' allocators do. */
static void
event_poll(struct bench *b, struct bench_series *series)
{
    CUevent e;

    CU(cuEventCreate(&e, CU_EVENT_DISABLE_TIMING));
    for (size_t i = 0; i < bench_rounds(b, WAITS / 3); i++) {
        uint64_t start = bench_ns();
        CUresult cr;

        bench_launch(b, b->stream);
        CU(cuEventRecord(e, b->stream));
        while ((cr = cuEventQuery(e)) == CUDA_ERROR_NOT_READY)
            ;
        bench_must(cr, "cuEventQuery");
        bench_add(series, bench_us(start));
    }
    CU(cuEventDestroy_v2(e));
}

const struct bench_workload bench_calls[] = {
    {"sync_launch", "us", sync_launch, "one launch, then its stream's synchronisation", false},
    {"sync_idle", "us", sync_idle, "synchronisation with nothing submitted since", false},
    {"dtoh_8", "us", dtoh_8, "cuMemcpyDtoH of 8 bytes", false},
    {"htod_8", "us", htod_8, "cuMemcpyHtoD of 8 bytes, caller's cost in a burst of 1,000", false},
    {"launch_burst", "us", launch_burst,
     "cuLaunchKernel of 4 parameters, caller's cost in a burst of 1,000", false},
    {"launch_1", "M/s", launch_1, "sustained launches by one thread, awaited", false},
    {"launch_4", "M/s", launch_4, "sustained launches by four threads and streams, awaited", false},
    {"alloc_free", "us", alloc_free, "cuMemAlloc and cuMemFree of 64 KiB, in a burst of 1,000",
     false},
    {"event_cycle", "us", event_cycle, "event create, record, destroy in a burst of 1,000", false},
    {"event_query", "us", event_query, "cuEventQuery of an event known to be done", false},
    {"event_poll", "us", event_poll, "launch, record, query until done", false},
    {NULL, NULL, NULL, NULL, false},
};
