/* tests/programs/c/drv_shown_later.c -- pinned memory that kernels come to reach after copies of it
 * were queued or captured, and copies into it by several streams
 *
 * A pool reads and writes pinned memory of its own until kernels may reach it; from then on some of
 * its bytes may be on the server only. */
#include "drv.h"
#include "vector_ptx.h"

#include <semaphore.h>

#define N (1u << 12)

static CUfunction mul_add;
static sem_t gate;

static void
wait_at_gate(void *unused)
{
    (void)unused;
    sem_wait(&gate);
}

/* x = 3 x + 1 by a kernel that gets the address of pinned memory. */
static void
change(uint32_t *pinned, CUstream s)
{
    uint32_t n = N, factor = 3, addend = 1;
    CUdeviceptr a;
    void *params[] = {&a, &factor, &addend, &n};

    CU(cuMemHostGetDevicePointer(&a, pinned, 0));
    drv_launch(mul_add, N, s, params);
    CU(cuStreamSynchronize(s));
}

static uint32_t *
pinned_numbers(void)
{
    uint32_t *pinned;

    CU(cuMemHostAlloc((void **)&pinned, N * 4, CU_MEMHOSTALLOC_PORTABLE));
    for (uint32_t i = 0; i < N; i++)
        pinned[i] = i;
    return pinned;
}

static uint32_t
wrong_on_device(CUdeviceptr a, uint32_t factor, uint32_t addend)
{
    static uint32_t words[N];
    uint32_t wrong = 0;

    CU(cuMemcpyDtoH(words, a, sizeof(words)));
    for (uint32_t i = 0; i < N; i++)
        wrong += words[i] != i * factor + addend;
    return wrong;
}

/* A copy that waits behind a host function reads what is there when its stream gets to it. */
static void
queued_source(void)
{
    uint32_t *pinned = pinned_numbers(), wrong;
    CUstream waits, other;
    CUdeviceptr a;

    CU(cuMemAlloc(&a, N * 4));
    CU(cuStreamCreate(&waits, CU_STREAM_NON_BLOCKING));
    CU(cuStreamCreate(&other, CU_STREAM_NON_BLOCKING));
    CU(cuLaunchHostFunc(waits, wait_at_gate, NULL));
    CU(cuMemcpyHtoDAsync(a, pinned, N * 4, waits));
    change(pinned, other);
    sem_post(&gate);
    CU(cuStreamSynchronize(waits));
    wrong = wrong_on_device(a, 3, 1);
    EXPECT(wrong == 0);
    printf("a queued copy's source, changed by a kernel: %u wrong\n", wrong);
    CU(cuStreamDestroy(waits));
    CU(cuStreamDestroy(other));
    CU(cuMemFreeHost(pinned));
    CU(cuMemFree(a));
}

static void
add_up(void *p)
{
    uint32_t *words = p;

    for (uint32_t i = 0; i < N; i++)
        words[i] += i;
}

/* The same in a graph, with a host function, a copy from two rows and one of one byte to an array.
 */
static void
captured_source(void)
{
    uint32_t *pinned = pinned_numbers(), wrong;
    CUDA_ARRAY_DESCRIPTOR desc = {
        .Width = 16, .Format = CU_AD_FORMAT_UNSIGNED_INT8, .NumChannels = 1};
    CUDA_MEMCPY2D rows = {.srcMemoryType = CU_MEMORYTYPE_HOST,
                          .srcHost = pinned,
                          .srcPitch = N * 2,
                          .dstMemoryType = CU_MEMORYTYPE_DEVICE,
                          .dstPitch = N,
                          .WidthInBytes = 8,
                          .Height = 2};
    uint8_t byte = 0;
    uint32_t words[2] = {0};
    CUgraphExec exec;
    CUgraph graph;
    CUarray array;
    CUdeviceptr a, b;
    CUstream s;

    CU(cuMemAlloc(&a, N * 4));
    CU(cuMemAlloc(&b, N * 4));
    CU(cuArrayCreate(&array, &desc));
    CU(cuStreamCreate(&s, CU_STREAM_NON_BLOCKING));
    rows.dstDevice = b;
    CU(cuStreamBeginCapture_v2(s, CU_STREAM_CAPTURE_MODE_GLOBAL));
    CU(cuMemcpyHtoDAsync(a, pinned, N * 4, s));
    CU(cuMemcpyHtoAAsync(array, 3, pinned + 7, 1, s));
    CU(cuMemcpy2DAsync(&rows, s));
    CU(cuLaunchHostFunc(s, add_up, pinned));
    CU(cuStreamEndCapture(s, &graph));
    CU(cuGraphInstantiateWithFlags(&exec, graph, 0));
    change(pinned, s);
    CU(cuGraphLaunch(exec, s));
    CU(cuStreamSynchronize(s));
    wrong = wrong_on_device(a, 3, 1);
    CU(cuMemcpyAtoH(&byte, array, 3, 1));
    CU(cuMemcpyDtoH(&words[0], b + 4, 4));
    CU(cuMemcpyDtoH(&words[1], b + N, 4));
    EXPECT(wrong == 0 && byte == 22 && words[0] == 4 && words[1] == N / 2 * 3 + 1);
    printf("a graph's sources: %u wrong, %u, %u %u\n", wrong, byte, words[0], words[1]);
    wrong = 0;
    for (uint32_t i = 0; i < N; i++)
        wrong += pinned[i] != i * 4 + 1;
    EXPECT(wrong == 0);
    printf("and its host function's memory: %u wrong\n", wrong);
    CU(cuGraphExecDestroy(exec));
    CU(cuGraphDestroy(graph));
    CU(cuStreamDestroy(s));
    CU(cuArrayDestroy(array));
    CU(cuMemFreeHost(pinned));
    CU(cuMemFree(a));
    CU(cuMemFree(b));
}

/* Two streams write halves of one memory; the later copy is known to be done, the first waits. */
static void
two_writers(void)
{
    uint32_t *pinned = pinned_numbers(), wrong;
    CUdeviceptr from, to, flag;
    CUstream first, second;

    CU(cuMemAlloc(&from, N * 4));
    CU(cuMemAlloc(&to, N * 4));
    CU(cuMemAlloc(&flag, 4));
    CU(cuStreamCreate(&first, CU_STREAM_NON_BLOCKING));
    CU(cuStreamCreate(&second, CU_STREAM_NON_BLOCKING));
    CU(cuMemcpyHtoD(from, pinned, N * 4));
    CU(cuMemsetD32(flag, 0, 1));
    memset(pinned, 0, N * 4);
    CU(cuStreamWaitValue32(first, flag, 1, CU_STREAM_WAIT_VALUE_EQ));
    CU(cuMemcpyDtoHAsync(pinned, from, N * 2, first));
    CU(cuMemcpyDtoHAsync(pinned + N / 2, from + N * 2, N * 2, second));
    CU(cuStreamSynchronize(second));
    CU(cuMemcpyHtoDAsync(to, pinned, N * 4, first));
    CU(cuStreamWriteValue32(second, flag, 1, 0));
    CU(cuStreamSynchronize(first));
    wrong = wrong_on_device(to, 1, 0);
    EXPECT(wrong == 0);
    printf("halves that two streams wrote: %u wrong\n", wrong);
    CU(cuStreamDestroy(first));
    CU(cuStreamDestroy(second));
    CU(cuMemFreeHost(pinned));
    CU(cuMemFree(from));
    CU(cuMemFree(to));
    CU(cuMemFree(flag));
}

/* A copy into it is under way when a kernel gets its address, while another stream captures. */
static void
while_capturing(void)
{
    uint32_t *pinned = pinned_numbers(), n = N, factor = 3, addend = 1, wrong = 0;
    CUdeviceptr a, there;
    void *params[] = {&there, &factor, &addend, &n};
    CUstream captures, other;
    CUgraph graph;

    CU(cuMemAlloc(&a, N * 4));
    CU(cuMemcpyHtoD(a, pinned, N * 4));
    memset(pinned, 0, N * 4);
    CU(cuStreamCreate(&captures, CU_STREAM_NON_BLOCKING));
    CU(cuStreamCreate(&other, CU_STREAM_NON_BLOCKING));
    CU(cuStreamBeginCapture_v2(captures, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL));
    CU(cuMemcpyDtoHAsync(pinned, a, N * 4, other));
    CU(cuMemHostGetDevicePointer(&there, pinned, 0));
    drv_launch(mul_add, N, other, params);
    CU(cuStreamSynchronize(other));
    CU(cuMemsetD32Async(a, 0, N, captures));
    CU(cuStreamEndCapture(captures, &graph));
    for (uint32_t i = 0; i < N; i++)
        wrong += pinned[i] != i * 3 + 1;
    EXPECT(wrong == 0);
    printf("while a stream captures: %u wrong\n", wrong);
    CU(cuGraphDestroy(graph));
    CU(cuStreamDestroy(captures));
    CU(cuStreamDestroy(other));
    CU(cuMemFreeHost(pinned));
    CU(cuMemFree(a));
}

/* Copies whose host side begins ahead of memory that kernels reach, and ends in it. */
static void
in_parts(void)
{
    static uint32_t words[3 * N] __attribute__((aligned(4096)));
    uint32_t *middle = words + N, wrong = 0;
    CUDA_MEMCPY2D rows = {.srcMemoryType = CU_MEMORYTYPE_HOST,
                          .srcHost = words,
                          .srcPitch = N * 4,
                          .dstMemoryType = CU_MEMORYTYPE_DEVICE,
                          .dstPitch = N * 4,
                          .WidthInBytes = N * 4,
                          .Height = 2};
    CUdeviceptr a;
    CUstream s;

    for (uint32_t i = 0; i < 3 * N; i++)
        words[i] = i;
    CU(cuMemAlloc(&a, sizeof(words)));
    CU(cuStreamCreate(&s, CU_STREAM_NON_BLOCKING));
    CU(cuMemHostRegister(middle, N * 4, CU_MEMHOSTREGISTER_DEVICEMAP));
    CU(cuMemHostGetDevicePointer(&rows.dstDevice, middle, 0));
    {
        uint32_t n = N, factor = 3, addend = 1;
        void *params[] = {&rows.dstDevice, &factor, &addend, &n};

        drv_launch(mul_add, N, s, params);
        CU(cuStreamSynchronize(s));
    }
    rows.dstDevice = a;
    CU(cuMemcpyHtoD(a, words, sizeof(words)));
    CU(cuMemcpyDtoH(words, a, sizeof(words)));
    CU(cuMemcpy2D(&rows));
    rows.srcMemoryType = CU_MEMORYTYPE_DEVICE;
    rows.srcDevice = a;
    rows.dstMemoryType = CU_MEMORYTYPE_HOST;
    rows.dstHost = words;
    CU(cuMemcpy2D(&rows));
    for (uint32_t i = 0; i < 3 * N; i++)
        wrong += words[i] != (i / N == 1 ? i * 3 + 1 : i);
    EXPECT(wrong == 0);
    printf("copies of more than what is registered: %u wrong\n", wrong);
    CU(cuMemHostUnregister(middle));
    CU(cuStreamDestroy(s));
    CU(cuMemFree(a));
}

int
main(void)
{
    CUdevice dev = drv_open();

    EXPECT(sem_init(&gate, 0, 0) == 0);
    mul_add = drv_kernel(vector_ptx, "mul_add_u32");
    queued_source();
    captured_source();
    two_writers();
    while_capturing();
    in_parts();
    drv_close(dev);
    return drv_result("drv_shown_later");
}
