/* bench/tenant_load.c -- one tenant's work on a software device with a timing model
 *
 * Started by tenants.py, several at once, each with its own certificate. Kernels are empty; the
 * model says that they take a microsecond for each thread. What got done is counted in a file that
 * all map, so that shares can be told between any two looks at it.
 *
 *   tenant_load BOARD INDEX LEAST_US MOST_US KEYS REQUEST PAUSE_US
 *
 * LEAST_US .. MOST_US: kernels of 32 lengths between, in random order. KEYS "own": each length is
 * a shape of its own, as programs have them; "one": all are launches of one graph whose node is
 * changed before each, so that what is learned of one is wrong for the next, by orders of size.
 * REQUEST 0: always more to run; else so many kernels, then a pause of about PAUSE_US.
 */
#include "bench/tenant_load.h"

#include "protocol/base/clock.h"

#include "cuda_api.h"

#include <fcntl.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define SIZES 32
/* So many threads launch so much and wait for its end: however late one is woken, there is more to
 * run. A wait stands behind its own launches only, so what is done is counted when it is done. */
#define THREADS  8
#define CHUNK_US 10000u

static const char image[] = ".version 7.0\n.target sm_70\n.address_size 64\n"
                            ".visible .entry k()\n{\nret;\n}\n";

struct load {
    struct tenant_row *row;
    CUcontext context;
    CUstream stream;
    CUfunction kernel;
    CUgraphExec exec; /* KEYS one */
    CUgraphNode node;
    uint32_t sizes[SIZES];
    uint32_t seed;
    pthread_mutex_t lock; /* one launches at a time */
};

static void
must(CUresult cr, const char *what)
{
    const char *name = "?";

    if (cr == CUDA_SUCCESS)
        return;
    cuGetErrorName(cr, &name);
    fprintf(stderr, "tenant_load: %s: %s\n", what, name);
    exit(2);
}

#define CU(call) must((call), #call)

static uint64_t
now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static uint32_t
dice(struct load *l)
{
    l->seed = l->seed * 1664525u + 1013904223u;
    return l->seed >> 8;
}

static CUDA_KERNEL_NODE_PARAMS
shape(const struct load *l, uint32_t us)
{
    return (CUDA_KERNEL_NODE_PARAMS){.func = l->kernel,
                                     .gridDimX = us,
                                     .gridDimY = 1,
                                     .gridDimZ = 1,
                                     .blockDimX = 1,
                                     .blockDimY = 1,
                                     .blockDimZ = 1};
}

static void
launch(const struct load *l, uint32_t us)
{
    CUDA_KERNEL_NODE_PARAMS params = shape(l, us);

    if (l->exec == NULL) {
        CU(cuLaunchKernel(l->kernel, us, 1, 1, 1, 1, 1, 0, l->stream, NULL, NULL));
        return;
    }
    CU(cuGraphExecKernelNodeSetParams_v2(l->exec, l->node, &params));
    CU(cuGraphLaunch(l->exec, l->stream));
}

static void *
busy(void *arg)
{
    struct load *l = arg;
    CUevent event;

    CU(cuCtxSetCurrent(l->context));
    CU(cuEventCreate(&event, CU_EVENT_DISABLE_TIMING));
    for (;;) {
        uint64_t us = 0, count = 0;

        pthread_mutex_lock(&l->lock);
        for (; us < CHUNK_US; count++) {
            uint32_t length = l->sizes[dice(l) % SIZES];

            launch(l, length);
            us += length;
        }
        CU(cuEventRecord(event, l->stream));
        pthread_mutex_unlock(&l->lock);
        CU(cuEventSynchronize(event));
        atomic_fetch_add(&l->row->done_ns, us * 1000);
        atomic_fetch_add(&l->row->kernels, count);
    }
    return NULL;
}

static void
busy_all(struct load *l)
{
    pthread_t thread;

    for (int i = 1; i < THREADS; i++)
        if (pthread_create(&thread, NULL, busy, l) != 0)
            exit(1);
    busy(l);
}

static void
nap(uint64_t us)
{
    struct timespec t = gp_timespec(us * GP_NS_PER_US);

    nanosleep(&t, NULL);
}

/* One request after the other; how long the first kernel and all took is noted. */
static void
requests(struct load *l, unsigned count, uint64_t pause_us)
{
    CUevent first;

    CU(cuEventCreate(&first, CU_EVENT_DISABLE_TIMING));
    for (;;) {
        uint64_t began, begun = 0, done = 0;
        uint32_t us, n;

        nap(pause_us / 2 + dice(l) % (pause_us + 1));
        began = now_ns();
        for (unsigned i = 0; i < count; i++) {
            us = l->sizes[dice(l) % SIZES];
            launch(l, us);
            done += us * 1000ull;
            if (i == 0) { /* asked at once: a wait stands behind what was sent before it */
                CU(cuEventRecord(first, l->stream));
                CU(cuEventSynchronize(first));
                begun = now_ns() - began - us * 1000ull;
            }
        }
        CU(cuStreamSynchronize(l->stream));
        n = atomic_load(&l->row->requests);
        if (n < TENANT_REQUESTS) {
            l->row->first_ns[n] = (int64_t)begun;
            l->row->whole_ns[n] = (int64_t)(now_ns() - began - done); /* beside its own kernels */
            l->row->work_ns[n] = (int64_t)done;
            atomic_store(&l->row->requests, n + 1);
        }
        atomic_fetch_add(&l->row->done_ns, done);
        atomic_fetch_add(&l->row->kernels, count);
    }
}

static void
graph_make(struct load *l)
{
    CUDA_KERNEL_NODE_PARAMS params = shape(l, l->sizes[0]);
    CUgraph graph;

    CU(cuGraphCreate(&graph, 0));
    CU(cuGraphAddKernelNode_v2(&l->node, graph, NULL, 0, &params));
    CU(cuGraphInstantiateWithFlags(&l->exec, graph, 0));
}

static struct tenant_row *
row_map(const char *path, unsigned index)
{
    int fd = open(path, O_RDWR | O_CLOEXEC);
    struct tenant_row *rows =
        fd >= 0 && index < TENANT_ROWS
            ? mmap(NULL, sizeof(*rows) * TENANT_ROWS, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0)
            : MAP_FAILED;

    if (rows == MAP_FAILED) {
        perror(path);
        exit(1);
    }
    close(fd);
    return &rows[index];
}

int
main(int argc, char **argv)
{
    struct load l = {.lock = PTHREAD_MUTEX_INITIALIZER};
    CUmodule module;
    double least, most;

    if (argc != 8) {
        fprintf(stderr, "usage: tenant_load BOARD INDEX LEAST_US MOST_US KEYS REQUEST PAUSE_US\n");
        return 1;
    }
    l.row = row_map(argv[1], (unsigned)atoi(argv[2]));
    l.seed = (uint32_t)atoi(argv[2]) + 1;
    least = atof(argv[3]);
    most = atof(argv[4]);
    for (int i = 0; i < SIZES; i++)
        l.sizes[i] = (uint32_t)(least * pow(most / least, i / (SIZES - 1.0)) + 0.5);
    CU(cuInit(0));
    CU(cuDevicePrimaryCtxRetain(&l.context, 0));
    CU(cuCtxSetCurrent(l.context));
    CU(cuStreamCreate(&l.stream, CU_STREAM_NON_BLOCKING));
    CU(cuModuleLoadData(&module, image));
    CU(cuModuleGetFunction(&l.kernel, module, "k"));
    if (strcmp(argv[5], "one") == 0)
        graph_make(&l);
    launch(&l, l.sizes[0]);
    CU(cuStreamSynchronize(l.stream));
    atomic_store(&l.row->ready, 1);
    if (atoi(argv[6]) == 0)
        busy_all(&l);
    else
        requests(&l, (unsigned)atoi(argv[6]), (uint64_t)atoi(argv[7]));
    return 0;
}
