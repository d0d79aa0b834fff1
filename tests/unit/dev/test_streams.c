/* tests/unit/dev/test_streams.c -- streams, events, graphs and errors of the software device */
#include "tests/unit/dev/dev_test.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static void
count_up(void *counter)
{
    atomic_fetch_add((_Atomic int *)counter, 1);
}

static void
call_the_api(void *result)
{
    *(CUresult *)result = cuCtxSynchronize();
}

Test(streams, the_legacy_stream_orders_blocking_streams)
{
    struct dev d = dev_open();
    CUstream s[3];
    CUdeviceptr p;

    for (int i = 0; i < 3; i++)
        ok(cuStreamCreate(&s[i], CU_STREAM_DEFAULT));
    ok(cuMemAlloc_v2(&p, 4096));
    ok(cuMemsetD32_v2(p, 0, 1024));
    for (uint32_t i = 0; i < 60; i++) {
        ok(dev_launch(d.add, p, 1024, 1, s[i % 3]));
        ok(dev_launch(d.add, p, 1024, 1, NULL));
    }
    cr_assert_eq(dev_word(p, 1023), 120);
    dev_close(&d);
}

#define THREADS_MAX 128 /* of the device's, that run streams */

static pthread_mutex_t held = PTHREAD_MUTEX_INITIALIZER;

static void
wait_held(void *waiting)
{
    atomic_fetch_add((_Atomic int *)waiting, 1);
    pthread_mutex_lock(&held);
    pthread_mutex_unlock(&held);
}

/* No thread is there for 400 ms; by the model the device began at once. Less than that is left for a
 * busy machine. */
Test(streams, a_thread_that_comes_late_is_no_time_of_the_device)
{
    static CUstream busy[THREADS_MAX];
    _Atomic int waiting = 0;
    struct timespec nap = {.tv_nsec = 400000000};
    CUevent from, to;
    CUstream stream;
    struct dev d;
    CUdeviceptr p;
    float ms = 0;

    setenv("GPUPOOL_SOFT_COPY_RATE", "1000000000", 1);
    d = dev_open();
    ok(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
    ok(cuEventCreate(&from, CU_EVENT_DEFAULT));
    ok(cuEventCreate(&to, CU_EVENT_DEFAULT));
    ok(cuMemAlloc_v2(&p, 5000000));
    pthread_mutex_lock(&held);
    for (int i = 0; i < THREADS_MAX; i++) {
        ok(cuStreamCreate(&busy[i], CU_STREAM_NON_BLOCKING));
        ok(cuLaunchHostFunc(busy[i], wait_held, &waiting));
    }
    while (atomic_load(&waiting) < THREADS_MAX)
        sched_yield();
    ok(cuEventRecord(from, stream));
    ok(cuMemsetD8Async(p, 1, 5000000, stream));
    ok(cuEventRecord(to, stream));
    nanosleep(&nap, NULL); /* time itself is what is measured */
    fails(cuEventQuery(to), CUDA_ERROR_NOT_READY);
    pthread_mutex_unlock(&held);
    ok(cuEventSynchronize(to));
    ok(cuEventElapsedTime_v2(&ms, from, to));
    cr_assert(ms >= 5 && ms < 350, "%f ms", (double)ms);
    dev_close(&d);
}

Test(streams, kernels_of_two_streams_run_at_once)
{
    struct dev d = dev_open();
    CUdeviceptr flag, out;
    CUstream a, b;
    void *params[] = {&flag, &out};

    ok(cuStreamCreate(&a, CU_STREAM_NON_BLOCKING));
    ok(cuStreamCreate(&b, CU_STREAM_NON_BLOCKING));
    ok(cuMemAlloc_v2(&flag, 8));
    ok(cuMemsetD32_v2(flag, 0, 2));
    out = flag + 4;
    ok(cuLaunchKernel(d.spin, 1, 1, 1, 1, 1, 1, 0, a, params, NULL));
    fails(cuStreamQuery(a), CUDA_ERROR_NOT_READY);
    ok(dev_launch(d.fill, flag, 1, 1, b)); /* releases the other */
    ok(cuStreamSynchronize(a));
    ok(cuStreamQuery(a));
    cr_assert_eq(dev_word(out, 0), 42);
    dev_close(&d);
}

Test(streams, waits_and_writes_of_values_order_streams)
{
    struct dev d = dev_open();
    CUdeviceptr p;
    CUstream a, b;

    ok(cuStreamCreate(&a, CU_STREAM_NON_BLOCKING));
    ok(cuStreamCreate(&b, CU_STREAM_NON_BLOCKING));
    ok(cuMemAlloc_v2(&p, 8192));
    ok(cuMemsetD32_v2(p, 0, 2048));
    ok(cuStreamWaitValue32_v2(a, p + 4096, 5, CU_STREAM_WAIT_VALUE_GEQ));
    ok(dev_launch(d.add, p, 16, 1, a));
    fails(cuStreamQuery(a), CUDA_ERROR_NOT_READY);
    ok(cuStreamWriteValue32_v2(b, p + 4096, 6, 0));
    ok(cuStreamSynchronize(a));
    cr_assert_eq(dev_word(p, 0), 1);
    fails(cuStreamWaitValue32_v2(a, p + 2, 0, 0), CUDA_ERROR_INVALID_VALUE);
    dev_close(&d);
}

Test(streams, the_caller_of_what_is_asynchronous_spends_no_modelled_time)
{
    uint32_t word = 7;
    struct dev d;
    CUdeviceptr p;
    CUstream s;

    setenv("GPUPOOL_SOFT_LAUNCH_COST", "200ms", 1);
    d = dev_open();
    ok(cuStreamCreate(&s, CU_STREAM_NON_BLOCKING));
    ok(cuMemAlloc_v2(&p, 4096));
    ok(cuMemcpyHtoDAsync_v2(p, &word, 4, s));
    fails(cuStreamQuery(s), CUDA_ERROR_NOT_READY);
    word = 8; /* the copy has what was there when it was asked for */
    ok(cuStreamSynchronize(s));
    ok(cuMemcpyDtoDAsync_v2(p + 4, p, 4, s));
    fails(cuStreamQuery(s), CUDA_ERROR_NOT_READY);
    ok(cuStreamSynchronize(s));
    cr_assert_eq(dev_word(p, 1), 7);
    dev_close(&d);
}

Test(streams, host_functions_run_in_order_and_may_not_call)
{
    struct dev d = dev_open();
    CUresult inside = CUDA_SUCCESS;
    _Atomic int counter = 0;
    CUstream s;

    ok(cuStreamCreate(&s, 0));
    for (int i = 0; i < 100; i++)
        ok(cuLaunchHostFunc(s, count_up, &counter));
    ok(cuLaunchHostFunc(s, call_the_api, &inside));
    ok(cuStreamSynchronize(s));
    cr_assert_eq(counter, 100);
    cr_assert_eq(inside, CUDA_ERROR_NOT_PERMITTED);
    dev_close(&d);
}

Test(events, carry_order_and_time_between_streams)
{
    struct dev d = dev_open();
    CUevent e, f, plain;
    CUstream a, b;
    CUdeviceptr p;
    float ms = -1;

    ok(cuStreamCreate(&a, CU_STREAM_NON_BLOCKING));
    ok(cuStreamCreate(&b, CU_STREAM_NON_BLOCKING));
    ok(cuEventCreate(&e, 0));
    ok(cuEventCreate(&f, 0));
    ok(cuEventCreate(&plain, CU_EVENT_DISABLE_TIMING));
    ok(cuMemAlloc_v2(&p, MIB));
    ok(cuMemsetD32_v2(p, 0, MIB / 4));
    ok(cuCtxSynchronize()); /* non-blocking streams do not wait for a fill */
    fails(cuEventElapsedTime_v2(&ms, e, f), CUDA_ERROR_INVALID_HANDLE);
    for (int i = 0; i < 30; i++) {
        ok(dev_launch(d.add, p, MIB / 4, 1, a));
        ok(cuEventRecord(e, a));
        ok(cuStreamWaitEvent(b, e, 0));
        ok(dev_launch(d.add, p, MIB / 4, 1, b));
        ok(cuEventRecord(f, b));
        ok(cuStreamWaitEvent(a, f, 0));
    }
    ok(cuEventSynchronize(f));
    cr_assert_eq(dev_word(p, MIB / 4 - 1), 60);
    ok(cuEventElapsedTime_v2(&ms, e, f));
    cr_assert(ms >= 0 && ms < 60000);
    ok(cuEventRecord(plain, a));
    fails(cuEventElapsedTime_v2(&ms, e, plain), CUDA_ERROR_INVALID_HANDLE);
    ok(cuEventDestroy_v2(e));
    fails(cuEventQuery(e), CUDA_ERROR_INVALID_HANDLE);
    dev_close(&d);
}

Test(errors, a_fault_sticks_until_the_context_is_reset)
{
    struct dev d = dev_open();
    CUdeviceptr p;

    ok(dev_launch(d.fill, 0xdead0000, 1, 1, NULL));
    fails(cuCtxSynchronize(), CUDA_ERROR_ILLEGAL_ADDRESS);
    fails(cuMemAlloc_v2(&p, 4), CUDA_ERROR_ILLEGAL_ADDRESS);
    fails(dev_launch(d.fill, 0, 1, 1, NULL), CUDA_ERROR_ILLEGAL_ADDRESS);
    ok(cuDevicePrimaryCtxReset_v2(0));
    fails(cuMemAlloc_v2(&p, 4), CUDA_ERROR_CONTEXT_IS_DESTROYED);
    ok(cuDevicePrimaryCtxRetain(&d.ctx, 0));
    ok(cuMemAlloc_v2(&p, 4));
}

Test(errors, use_after_free_faults)
{
    struct dev d = dev_open();
    CUdeviceptr p;

    ok(cuMemAlloc_v2(&p, 4 * MIB));
    ok(dev_launch(d.fill, p, 8, 1, NULL));
    ok(cuMemFree_v2(p));
    ok(dev_launch(d.fill, p, 8, 1, NULL));
    fails(cuCtxSynchronize(), CUDA_ERROR_ILLEGAL_ADDRESS);
}

Test(errors, a_forked_child_is_not_initialised)
{
    struct dev d = dev_open();
    int status;
    pid_t child = fork();

    if (child == 0) {
        CUdeviceptr p;

        _exit(cuInit(0) == CUDA_ERROR_NOT_INITIALIZED &&
                      cuMemAlloc_v2(&p, 4) == CUDA_ERROR_NOT_INITIALIZED
                  ? 0
                  : 1);
    }
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_assert_eq(status, 0);
    dev_close(&d);
}

Test(launch, is_checked_as_the_driver_does)
{
    struct dev d = dev_open();
    CUdeviceptr p;
    uint32_t n = 1, v = 1;
    void *params[] = {&p, &n, &v};
    CUfunction bounded;
    int value;

    ok(cuMemAlloc_v2(&p, 4));
    fails(cuLaunchKernel(d.fill, 1, 1, 1, 1025, 1, 1, 0, NULL, params, NULL),
          CUDA_ERROR_INVALID_VALUE);
    fails(cuLaunchKernel(d.fill, 1, 65536, 1, 1, 1, 1, 0, NULL, params, NULL),
          CUDA_ERROR_INVALID_VALUE);
    fails(cuLaunchKernel(d.fill, 0, 1, 1, 1, 1, 1, 0, NULL, params, NULL),
          CUDA_ERROR_INVALID_VALUE);
    fails(cuLaunchKernel(d.fill, 1, 1, 1, 1, 1, 1, 49153, NULL, params, NULL),
          CUDA_ERROR_INVALID_VALUE);
    ok(cuFuncSetAttribute(d.fill, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, 232448));
    ok(cuLaunchKernel(d.fill, 1, 1, 1, 1, 1, 1, 232448, NULL, params, NULL));
    fails(cuFuncSetAttribute(d.fill, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, 232449),
          CUDA_ERROR_INVALID_VALUE);
    fails(cuLaunchKernel(d.fill, 1, 1, 1, 1, 1, 1, 0, NULL, NULL, NULL),
          CUDA_ERROR_INVALID_VALUE);
    fails(cuLaunchKernel(NULL, 1, 1, 1, 1, 1, 1, 0, NULL, params, NULL),
          CUDA_ERROR_INVALID_HANDLE);
    ok(cuModuleGetFunction(&bounded, d.mod, "bounded"));
    ok(cuFuncGetAttribute(&value, CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK, bounded));
    cr_assert_eq(value, 64);
    fails(cuLaunchKernel(bounded, 1, 1, 1, 65, 1, 1, 0, NULL, params, NULL),
          CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES);
    fails(cuLaunchCooperativeKernel(d.fill, 100000, 1, 1, 1, 1, 1, 0, NULL, params),
          CUDA_ERROR_COOPERATIVE_LAUNCH_TOO_LARGE);
    dev_close(&d);
}

Test(launch, occupancy_is_what_a_cooperative_launch_accepts)
{
    struct dev d = dev_open();
    int per_sm, sms;
    CUdeviceptr p;
    uint32_t n = 0, v = 0;
    void *params[] = {&p, &n, &v};

    ok(cuMemAlloc_v2(&p, 4));
    ok(cuOccupancyMaxActiveBlocksPerMultiprocessor(&per_sm, d.fill, 512, 0));
    ok(cuDeviceGetAttribute(&sms, CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT, 0));
    cr_assert(per_sm > 0);
    ok(cuLaunchCooperativeKernel(d.fill, (unsigned)(per_sm * sms), 1, 1, 512, 1, 1, 0, NULL,
                                 params));
    fails(cuLaunchCooperativeKernel(d.fill, (unsigned)(per_sm * sms) + 1, 1, 1, 512, 1, 1, 0, NULL,
                                    params),
          CUDA_ERROR_COOPERATIVE_LAUNCH_TOO_LARGE);
    dev_close(&d);
}

Test(modules, symbols_and_compiler_messages_are_found)
{
    CUjit_option options[] = {CU_JIT_ERROR_LOG_BUFFER, CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES};
    char text[256] = "";
    void *values[] = {text, (void *)(uintptr_t)sizeof(text)};
    struct dev d = dev_open();
    CUfunction f;
    CUdeviceptr p;
    CUmodule bad;
    size_t size;

    ok(cuModuleGetGlobal_v2(&p, &size, d.mod, "shown"));
    cr_assert_eq(size, 4);
    cr_assert_eq(dev_word(p, 0), 17);
    fails(cuModuleGetFunction(&f, d.mod, "none"), CUDA_ERROR_NOT_FOUND);
    fails(cuModuleLoadDataEx(&bad, ".version 7.0\n.target sm_75\nnonsense\n", 2, options, values),
          CUDA_ERROR_INVALID_PTX);
    cr_assert(strlen(text) > 0, "the log names the fault");
    fails(cuModuleLoadData(&bad, ".version 7.0\n.target sm_999\n.address_size 64\n"
                                 ".visible .entry x() { ret; }\n"),
          CUDA_ERROR_NO_BINARY_FOR_GPU);
    ok(cuModuleUnload(d.mod));
    fails(cuModuleGetFunction(&f, d.mod, "fill"), CUDA_ERROR_INVALID_HANDLE);
    dev_close(&d);
}

Test(modules, a_library_has_an_instance_in_each_context)
{
    struct dev d = dev_open();
    CUcontext second;
    CUlibrary lib;
    CUkernel kernel;
    CUdeviceptr a, b, p;
    size_t size;

    ok(cuLibraryLoadData(&lib, dev_ptx, NULL, NULL, 0, NULL, NULL, 0));
    ok(cuLibraryGetKernel(&kernel, lib, "fill"));
    ok(cuLibraryGetGlobal(&a, &size, lib, "shown"));
    ok(cuCtxCreate_v2(&second, 0, 0));
    ok(cuLibraryGetGlobal(&b, &size, lib, "shown"));
    cr_assert_neq(a, b);
    ok(cuMemAlloc_v2(&p, 64));
    ok(dev_launch((CUfunction)kernel, p, 16, 5, NULL));
    cr_assert_eq(dev_word(p, 15), 5);
    ok(cuCtxDestroy_v2(second));
    ok(cuLibraryUnload(lib));
    dev_close(&d);
}

Test(graphs, a_captured_fork_and_join_runs_each_launch_anew)
{
    struct dev d = dev_open();
    _Atomic int counter = 0;
    CUgraphExec exec;
    CUevent fork_event, join_event;
    CUstream a, b;
    CUgraph graph;
    CUdeviceptr p;
    size_t count;

    ok(cuStreamCreate(&a, 0));
    ok(cuStreamCreate(&b, 0));
    ok(cuEventCreate(&fork_event, 0));
    ok(cuEventCreate(&join_event, 0));
    ok(cuMemAlloc_v2(&p, 8192));
    ok(cuMemsetD32_v2(p, 0, 2048));
    ok(cuCtxSynchronize());
    ok(cuStreamBeginCapture_v2(a, CU_STREAM_CAPTURE_MODE_GLOBAL));
    ok(cuEventRecord(fork_event, a));
    ok(cuStreamWaitEvent(b, fork_event, 0));
    ok(dev_launch(d.add, p, 1024, 1, a));
    ok(dev_launch(d.add, p + 4096, 1024, 2, b));
    ok(cuLaunchHostFunc(b, count_up, &counter));
    ok(cuEventRecord(join_event, b));
    ok(cuStreamWaitEvent(a, join_event, 0));
    ok(dev_launch(d.add, p, 2048, 10, a));
    ok(cuStreamEndCapture(a, &graph));
    ok(cuGraphGetNodes(graph, NULL, &count));
    cr_assert_eq(count, 4);
    ok(cuGraphInstantiateWithFlags(&exec, graph, 0));
    ok(cuGraphDestroy(graph));
    for (int i = 0; i < 5; i++)
        ok(cuGraphLaunch(exec, a));
    ok(cuStreamSynchronize(a));
    cr_assert_eq(dev_word(p, 0), 55);
    cr_assert_eq(dev_word(p, 2047), 60);
    cr_assert_eq(counter, 5);
    ok(cuGraphExecDestroy(exec));
    dev_close(&d);
}

Test(graphs, an_unjoined_or_broken_capture_says_so)
{
    struct dev d = dev_open();
    CUevent event;
    CUstream a, b;
    CUgraph graph;
    CUdeviceptr p;

    ok(cuStreamCreate(&a, 0));
    ok(cuStreamCreate(&b, 0));
    ok(cuEventCreate(&event, 0));
    ok(cuMemAlloc_v2(&p, 4096));
    ok(cuStreamBeginCapture_v2(a, CU_STREAM_CAPTURE_MODE_GLOBAL));
    ok(cuEventRecord(event, a));
    ok(cuStreamWaitEvent(b, event, 0));
    ok(dev_launch(d.add, p, 1, 1, b));
    fails(cuStreamEndCapture(b, &graph), CUDA_ERROR_STREAM_CAPTURE_UNMATCHED);
    fails(cuStreamEndCapture(a, &graph), CUDA_ERROR_STREAM_CAPTURE_UNJOINED);
    ok(cuStreamBeginCapture_v2(a, CU_STREAM_CAPTURE_MODE_GLOBAL));
    fails(cuMemAlloc_v2(&p, 4), CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
    fails(cuStreamEndCapture(a, &graph), CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
    ok(cuMemAlloc_v2(&p, 4));
    /* Nobody can wait for what a capture recorded. */
    ok(cuStreamBeginCapture_v2(a, CU_STREAM_CAPTURE_MODE_GLOBAL));
    ok(cuEventRecord(event, a));
    fails(cuEventQuery(event), CUDA_ERROR_CAPTURED_EVENT);
    fails(cuStreamEndCapture(a, &graph), CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
    dev_close(&d);
}

Test(graphs, launches_that_are_queued_keep_the_parameters_of_their_time)
{
    struct dev d = dev_open();
    CUDA_KERNEL_NODE_PARAMS k = {0};
    CUgraphExec exec;
    CUgraphNode node;
    CUgraph graph;
    CUdeviceptr p;
    uint32_t n = 4, v = 1;
    void *params[] = {&p, &n, &v};
    CUstream s;

    ok(cuStreamCreate(&s, CU_STREAM_NON_BLOCKING));
    ok(cuMemAlloc_v2(&p, 4096));
    ok(cuMemsetD32_v2(p, 0, 1024));
    ok(cuCtxSynchronize());
    ok(cuGraphCreate(&graph, 0));
    k.func = d.add;
    k.gridDimX = k.gridDimY = k.gridDimZ = 1;
    k.blockDimX = 4;
    k.blockDimY = k.blockDimZ = 1;
    k.kernelParams = params;
    ok(cuGraphAddKernelNode_v2(&node, graph, NULL, 0, &k));
    ok(cuGraphInstantiateWithFlags(&exec, graph, 0));
    ok(cuStreamWaitValue32_v2(s, p + 64, 1, CU_STREAM_WAIT_VALUE_EQ));
    ok(cuGraphLaunch(exec, s));
    v = 100;
    ok(cuGraphExecKernelNodeSetParams_v2(exec, node, &k));
    ok(cuGraphLaunch(exec, s));
    ok(cuMemsetD32Async(p + 64, 1, 1, CU_STREAM_PER_THREAD));
    ok(cuStreamSynchronize(s));
    cr_assert_eq(dev_word(p, 0), 101);
    ok(cuGraphExecDestroy(exec));
    ok(cuGraphDestroy(graph));
    dev_close(&d);
}

Test(devices, two_of_them_have_memory_of_their_own_and_peer_access)
{
    CUcontext a, b;
    CUmodule mod;
    CUfunction fill;
    CUdeviceptr p;
    int count, can;

    setenv("GPUPOOL_SOFT_DEVICES", "2", 1);
    ok(cuInit(0));
    ok(cuDeviceGetCount(&count));
    cr_assert_eq(count, 2);
    ok(cuDeviceCanAccessPeer(&can, 0, 1));
    cr_assert_eq(can, 1);
    ok(cuDevicePrimaryCtxRetain(&a, 0));
    ok(cuDevicePrimaryCtxRetain(&b, 1));
    ok(cuCtxSetCurrent(b));
    ok(cuMemAlloc_v2(&p, 4096));
    ok(cuCtxSetCurrent(a));
    ok(cuModuleLoadData(&mod, dev_ptx));
    ok(cuModuleGetFunction(&fill, mod, "fill"));
    ok(cuCtxEnablePeerAccess(b, 0));
    fails(cuCtxEnablePeerAccess(b, 0), CUDA_ERROR_PEER_ACCESS_ALREADY_ENABLED);
    ok(dev_launch(fill, p, 4, 3, NULL));
    ok(cuCtxSynchronize());
    ok(cuCtxDisablePeerAccess(b));
    ok(dev_launch(fill, p, 4, 3, NULL));
    fails(cuCtxSynchronize(), CUDA_ERROR_ILLEGAL_ADDRESS);
    ok(cuCtxSetCurrent(b));
    cr_assert_eq(dev_word(p, 3), 3);
}

struct worker {
    struct dev *dev;
    uint32_t value;
    int bad;
};

static void *
worker_main(void *arg)
{
    struct worker *w = arg;
    uint32_t words[1024];
    CUdeviceptr p;
    CUstream s;

    ok(cuCtxSetCurrent(w->dev->ctx));
    ok(cuStreamCreate(&s, 0));
    ok(cuMemAlloc_v2(&p, sizeof(words)));
    for (int round = 0; round < 20; round++) {
        ok(cuMemsetD32Async(p, 0, 1024, s));
        for (int i = 0; i < 10; i++)
            ok(dev_launch(w->dev->add, p, 1024, w->value, s));
        ok(cuMemcpyDtoHAsync_v2(words, p, sizeof(words), s));
        ok(cuStreamSynchronize(s));
        for (int i = 0; i < 1024; i++)
            w->bad += words[i] != 10 * w->value;
    }
    ok(cuMemFree_v2(p));
    ok(cuStreamDestroy_v2(s));
    return NULL;
}

Test(threads, eight_launch_and_copy_at_once)
{
    struct dev d = dev_open();
    struct worker workers[8];
    pthread_t threads[8];

    for (uint32_t i = 0; i < 8; i++) {
        workers[i] = (struct worker){&d, i + 1, 0};
        cr_assert_eq(pthread_create(&threads[i], NULL, worker_main, &workers[i]), 0);
    }
    for (int i = 0; i < 8; i++) {
        pthread_join(threads[i], NULL);
        cr_assert_eq(workers[i].bad, 0);
    }
    dev_close(&d);
}
