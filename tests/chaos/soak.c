/* tests/chaos/soak.c -- a client that works until it is told to stop, and checks every result
 *
 * argv[1]: rounds, 0 for without end. After each round it writes one '.' to standard output, so
 * that whoever started it knows that it lives. It ends with 0 when its standard input is closed
 * (only asked with rounds 0) or the rounds are done, with 2 when a call failed, 1 on a wrong
 * result. */
#include "drv.h"
#include "vector_ptx.h"

#include <poll.h>
#include <unistd.h>

#define N 4096u

static bool
told_to_stop(void)
{
    struct pollfd in = {.fd = STDIN_FILENO, .events = POLLIN};

    return poll(&in, 1, 0) == 1;
}

static void
one_round(CUfunction burn, CUstream s, CUevent done, uint32_t *host, uint32_t seed)
{
    uint32_t n = N, steps = 5;
    CUdeviceptr a;

    CU(cuMemAlloc(&a, N * sizeof(*host)));
    for (uint32_t i = 0; i < N; i++)
        host[i] = i ^ seed;
    CU(cuMemcpyHtoDAsync(a, host, N * sizeof(*host), s));
    for (int k = 0; k < 4; k++) {
        void *params[] = {&a, &steps, &n};

        drv_launch(burn, N, s, params);
    }
    CU(cuEventRecord(done, s));
    CU(cuMemcpyDtoHAsync(host, a, N * sizeof(*host), s));
    CU(cuStreamSynchronize(s));
    CU(cuEventSynchronize(done));
    CU(cuMemFree(a));

    uint64_t wrong = 0;
    for (uint32_t i = 0; i < N; i++)
        wrong += host[i] != drv_lcg(i ^ seed, 4 * steps);
    EXPECT(wrong == 0);
}

int
main(int argc, char **argv)
{
    unsigned long rounds = argc > 1 ? strtoul(argv[1], NULL, 10) : 0;
    uint32_t *host = malloc(N * sizeof(*host));
    CUdevice dev = drv_open();
    CUfunction burn = drv_kernel(vector_ptx, "burn");
    CUevent done;
    CUstream s;

    if (host == NULL)
        return 2;
    CU(cuStreamCreate(&s, CU_STREAM_NON_BLOCKING));
    CU(cuEventCreate(&done, CU_EVENT_DISABLE_TIMING));
    for (unsigned long r = 0; rounds == 0 ? !told_to_stop() : r < rounds; r++) {
        one_round(burn, s, done, host, (uint32_t)r * 2654435761u);
        if (write(STDOUT_FILENO, ".", 1) != 1)
            return 2;
    }
    CU(cuEventDestroy(done));
    CU(cuStreamDestroy(s));
    drv_close(dev);
    free(host);
    return drv_result("soak");
}
