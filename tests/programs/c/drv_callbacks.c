/* tests/programs/c/drv_callbacks.c -- host functions on four streams while eight threads wait
 *
 * usage: drv_callbacks [FUNCTIONS]     on each stream; 250, and by hand 2500 that make 10,000
 *
 * Each comes after the work before it, and before the work behind it: it finds its own number in
 * memory that a copy filled, and changes memory that the next copy reads. The threads wait for
 * streams, events and the context all the while: whoever waits must not keep a host function from
 * being run.
 */
#include "drv.h"
#include "vector_ptx.h"

#include <pthread.h>
#include <stdatomic.h>
#include <time.h>
#include <unistd.h>

#define STREAMS  4
#define WAITERS  8
#define UNLOADS  20
#define PATIENCE 120 /* seconds; a deadlock otherwise lasts for ever */

struct lane {
    CUstream stream;
    CUdeviceptr word;
    uint32_t *back;        /* pinned: what the device has, brought before each function */
    uint32_t *next;        /* pinned: what it gets behind each function */
    _Atomic uint32_t done; /* functions that ran */
    _Atomic uint32_t wrong;
    CUevent end;
};

static struct lane lanes[STREAMS];
static uint32_t each = 250;
static CUcontext ctx;
static _Atomic bool all_queued;
static _Atomic unsigned waits;

static void
step(struct lane *lane)
{
    uint32_t n = atomic_fetch_add(&lane->done, 1);

    if (*lane->back != n)
        atomic_fetch_add(&lane->wrong, 1);
    *lane->next = n + 1;
}

static void
host_function(void *lane)
{
    step(lane);
}

static void
callback(CUstream stream, CUresult status, void *user)
{
    struct lane *lane = user;

    if (status != CUDA_SUCCESS || stream != lane->stream)
        atomic_fetch_add(&lane->wrong, 1);
    step(lane);
}

static void *
waiter(void *number)
{
    unsigned me = (unsigned)(uintptr_t)number;
    struct lane *lane = &lanes[me % STREAMS];
    bool last;

    CU(cuCtxSetCurrent(ctx));
    do { /* once more when all is queued */
        last = all_queued;
        if (me < STREAMS)
            CU(cuStreamSynchronize(lane->stream));
        else if (me < STREAMS + 2)
            CU(cuCtxSynchronize());
        else if (last)
            CU(cuEventSynchronize(lane->end));
        else
            CU(cuStreamSynchronize(NULL));
        atomic_fetch_add(&waits, 1);
    } while (!last);
    EXPECT(me < STREAMS || me >= STREAMS + 2 ? lane->done == each : true);
    return NULL;
}

static void
queue_all(void)
{
    for (uint32_t i = 0; i < each; i++) {
        for (int s = 0; s < STREAMS; s++) {
            struct lane *lane = &lanes[s];

            CU(cuMemcpyDtoHAsync(lane->back, lane->word, 4, lane->stream));
            if (i % 5 == 4)
                CU(cuStreamAddCallback(lane->stream, callback, lane, 0));
            else
                CU(cuLaunchHostFunc(lane->stream, host_function, lane));
            CU(cuMemcpyHtoDAsync(lane->word, lane->next, 4, lane->stream));
        }
    }
    for (int s = 0; s < STREAMS; s++)
        CU(cuEventRecord(lanes[s].end, lanes[s].stream));
    all_queued = true;
}

static void
count(void *number)
{
    atomic_fetch_add((_Atomic unsigned *)number, 1);
}

/* The driver waits for the stream, and the stream for the function: whoever ends a module or
 * library must not keep the function from being run either. */
static void
unload_behind(void)
{
    _Atomic unsigned called = 0;

    for (unsigned i = 0; i < UNLOADS; i++) {
        CUmodule module;
        CUlibrary library;

        CU(cuModuleLoadData(&module, vector_ptx));
        CU(cuLibraryLoadData(&library, vector_ptx, NULL, NULL, 0, NULL, NULL, 0));
        CU(cuLaunchHostFunc(lanes[i % STREAMS].stream, count, &called));
        CU(cuModuleUnload(module));
        CU(cuLaunchHostFunc(lanes[i % STREAMS].stream, count, &called));
        CU(cuLibraryUnload(library));
    }
    CU(cuCtxSynchronize());
    EXPECT(called == 2 * UNLOADS);
}

static double
seconds(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

int
main(int argc, char **argv)
{
    pthread_t threads[WAITERS];
    CUdevice dev = drv_open();
    double start = seconds();

    if (argc > 1)
        each = (uint32_t)strtoul(argv[1], NULL, 10);
    alarm(PATIENCE);
    CU(cuCtxGetCurrent(&ctx));
    for (int s = 0; s < STREAMS; s++) {
        CU(cuStreamCreate(&lanes[s].stream,
                          s % 2 == 0 ? CU_STREAM_DEFAULT : CU_STREAM_NON_BLOCKING));
        CU(cuMemAlloc(&lanes[s].word, 4));
        CU(cuMemsetD32(lanes[s].word, 0, 1));
        CU(cuMemAllocHost((void **)&lanes[s].back, 4));
        CU(cuMemAllocHost((void **)&lanes[s].next, 4));
        CU(cuEventCreate(&lanes[s].end, 0));
    }
    CU(cuCtxSynchronize());
    for (uintptr_t i = 0; i < WAITERS; i++)
        pthread_create(&threads[i], NULL, waiter, (void *)i);
    queue_all();
    for (int i = 0; i < WAITERS; i++)
        pthread_join(threads[i], NULL);
    CU(cuCtxSynchronize());
    unload_behind();
    for (int s = 0; s < STREAMS; s++) {
        EXPECT(lanes[s].done == each);
        EXPECT(lanes[s].wrong == 0);
        EXPECT(drv_word_at(lanes[s].word) == each);
        printf("stream %d: %u functions, %u out of order\n", s, lanes[s].done, lanes[s].wrong);
    }
    fprintf(stderr, "%.1f us for each of %u functions, %u waits\n",
            (seconds() - start) * 1e6 / (STREAMS * each), STREAMS * each, waits);
    drv_close(dev);
    return drv_result("drv_callbacks");
}
