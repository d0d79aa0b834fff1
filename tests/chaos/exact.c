/* tests/chaos/exact.c -- a program whose every result is known, for lines that fail meanwhile
 *
 * argv: ROUNDS SEED. Each round allocates, copies both ways from all kinds of memory, fills,
 * launches, records, calls back and waits; a second thread does small things that must wait all the
 * time. What a launch did twice, or not, or out of its order is seen on the device: `tick` counts
 * itself. Ends with 0 if all was exact, 1 if not, 2 if a call failed. */
#include "drv.h"
#include "tick_ptx.h"
#include "vector_ptx.h"

#include <pthread.h>
#include <stdatomic.h>

#define TICKS_MAX   (1u << 20)
#define ELEMENT_MAX 80000u
#define CALLS_MAX   65536u

static CUdevice dev;
static atomic_bool done;

static struct {
    uint32_t order[CALLS_MAX];
    _Atomic uint32_t count;
} calls;

struct work {
    CUfunction tick, burn;
    CUstream s, other;
    CUevent event;
    CUdeviceptr counter, log;
    uint32_t ticks, callbacks;
    uint32_t *pageable, *pinned, *expect;
    uint64_t random;
};

static uint32_t
chance(struct work *w)
{
    w->random = w->random * 6364136223846793005ull + 1442695040888963407ull;
    return (uint32_t)(w->random >> 33);
}

static void
called(void *value)
{
    uint32_t at = atomic_fetch_add(&calls.count, 1);

    if (at < CALLS_MAX)
        calls.order[at] = (uint32_t)(uintptr_t)value;
}

static void
some_ticks(struct work *w, uint32_t count)
{
    uint32_t most = TICKS_MAX;

    for (uint32_t i = 0; i < count && w->ticks < TICKS_MAX; i++) {
        void *params[] = {&w->counter, &w->log, &w->ticks, &most};

        CU(cuLaunchKernel(w->tick, 1, 1, 1, 1, 1, 1, 0, w->s, params, NULL));
        w->ticks++;
    }
}

static void
same(const uint32_t *got, const uint32_t *want, uint32_t n)
{
    EXPECT(memcmp(got, want, n * sizeof(*got)) == 0);
}

/* There and back, with kernels in between. */
static void
round_trip(struct work *w, CUdeviceptr a, uint32_t n)
{
    uint32_t steps = 1 + chance(w) % 3;
    uint32_t *source = chance(w) % 2 ? w->pageable : w->pinned;
    uint32_t *back = chance(w) % 2 ? w->pageable : w->pinned;
    void *params[] = {&a, &steps, &n};

    for (uint32_t i = 0; i < n; i++) {
        source[i] = chance(w);
        w->expect[i] = drv_lcg(source[i], steps);
    }
    if (chance(w) % 2)
        CU(cuMemcpyHtoDAsync(a, source, n * 4, w->s));
    else
        CU(cuMemcpyHtoD(a, source, n * 4));
    some_ticks(w, chance(w) % 8);
    drv_launch(w->burn, n, w->s, params);
    some_ticks(w, chance(w) % 40);
    CU(cuEventRecord(w->event, w->s));
    CU(cuLaunchHostFunc(w->s, called, (void *)(uintptr_t)w->callbacks));
    w->callbacks++;
    if (chance(w) % 2) {
        CU(cuMemcpyDtoHAsync(back, a, n * 4, w->s));
        CU(cuStreamSynchronize(w->s));
    } else {
        CU(cuEventSynchronize(w->event));
        CU(cuStreamSynchronize(w->s));
        CU(cuMemcpyDtoH(back, a, n * 4));
    }
    same(back, w->expect, n);
}

/* A source that the stream itself writes: the server asks for the bytes when it gets there. */
static void
through_host(struct work *w, CUdeviceptr a, CUdeviceptr b, uint32_t n)
{
    uint32_t value = chance(w);

    CU(cuMemsetD32Async(a, value, n, w->s));
    CU(cuMemcpyDtoHAsync(w->pinned, a, n * 4, w->s));
    CU(cuMemcpyHtoDAsync(b, w->pinned, n * 4, w->s));
    CU(cuMemcpyDtoDAsync(a, b, n * 4, w->s));
    CU(cuMemcpyDtoHAsync(w->pageable, a, n * 4, w->s));
    some_ticks(w, chance(w) % 4);
    CU(cuStreamSynchronize(w->s));
    for (uint32_t i = 0; i < n; i++)
        w->expect[i] = value;
    same(w->pageable, w->expect, n);
}

static void
one_round(struct work *w)
{
    static const uint32_t sizes[] = {1, 17, 1000, 5000, 20000, ELEMENT_MAX};
    uint32_t n = sizes[chance(w) % COUNT_OF(sizes)];
    CUdeviceptr a, b;

    CU(cuMemAlloc(&a, n * 4));
    CU(cuMemAlloc(&b, n * 4));
    round_trip(w, a, n);
    if (chance(w) % 3 == 0)
        through_host(w, a, b, n);
    CU(cuMemFree(b));
    CU(cuMemFree(a));
    if (chance(w) % 5 == 0) {
        CU(cuStreamDestroy(w->other));
        CU(cuStreamCreate(&w->other, CU_STREAM_NON_BLOCKING));
    }
}

/* Waits all the time, in a stream of its own. */
static void *
bystander(void *unused)
{
    uint32_t out[16], in[16];
    CUcontext ctx;
    CUdeviceptr a;
    CUstream s;

    (void)unused;
    CU(cuDevicePrimaryCtxRetain(&ctx, dev));
    CU(cuCtxSetCurrent(ctx));
    CU(cuStreamCreate(&s, CU_STREAM_NON_BLOCKING));
    CU(cuMemAlloc(&a, sizeof(in)));
    for (uint32_t r = 0; !atomic_load(&done); r++) {
        for (uint32_t i = 0; i < 16; i++)
            out[i] = r * 16 + i;
        CU(cuMemcpyHtoDAsync(a, out, sizeof(out), s));
        CU(cuMemcpyDtoHAsync(in, a, sizeof(in), s));
        CU(cuStreamSynchronize(s));
        same(in, out, 16);
    }
    CU(cuMemFree(a));
    CU(cuStreamDestroy(s));
    CU(cuDevicePrimaryCtxRelease(dev));
    return NULL;
}

/* Each launch ran once, in its order; so did each callback. */
static void
check_counts(struct work *w)
{
    uint32_t *log = malloc(w->ticks * 4 + 4), counted;
    uint64_t wrong = 0;

    CU(cuMemcpyDtoH(&counted, w->counter, 4));
    EXPECT(counted == w->ticks);
    CU(cuMemcpyDtoH(log, w->log, w->ticks * 4));
    for (uint32_t i = 0; i < w->ticks; i++)
        wrong += log[i] != i;
    EXPECT(wrong == 0);
    EXPECT(atomic_load(&calls.count) == w->callbacks);
    for (uint32_t i = 0; i < w->callbacks && i < CALLS_MAX; i++)
        wrong += calls.order[i] != i;
    EXPECT(wrong == 0);
    free(log);
}

int
main(int argc, char **argv)
{
    unsigned long rounds = argc > 1 ? strtoul(argv[1], NULL, 10) : 10;
    struct work w = {.random = argc > 2 ? strtoul(argv[2], NULL, 10) : 1};
    pthread_t thread;

    dev = drv_open();
    w.tick = drv_kernel(tick_ptx, "tick");
    w.burn = drv_kernel(vector_ptx, "burn");
    w.pageable = malloc(ELEMENT_MAX * 4);
    w.expect = malloc(ELEMENT_MAX * 4);
    CU(cuMemHostAlloc((void **)&w.pinned, ELEMENT_MAX * 4, 0));
    CU(cuStreamCreate(&w.s, CU_STREAM_NON_BLOCKING));
    CU(cuStreamCreate(&w.other, CU_STREAM_NON_BLOCKING));
    CU(cuEventCreate(&w.event, CU_EVENT_DISABLE_TIMING));
    CU(cuMemAlloc(&w.counter, 4));
    CU(cuMemAlloc(&w.log, TICKS_MAX * 4ull));
    CU(cuMemsetD32(w.counter, 0, 1));
    if (w.pageable == NULL || w.expect == NULL || pthread_create(&thread, NULL, bystander, NULL))
        return 2;
    for (unsigned long r = 0; r < rounds; r++)
        one_round(&w);
    atomic_store(&done, true);
    pthread_join(thread, NULL);
    check_counts(&w);
    CU(cuMemFree(w.log));
    CU(cuMemFree(w.counter));
    CU(cuEventDestroy(w.event));
    CU(cuStreamDestroy(w.other));
    CU(cuStreamDestroy(w.s));
    CU(cuMemFreeHost(w.pinned));
    free(w.pageable);
    free(w.expect);
    drv_close(dev);
    return drv_result("exact");
}
