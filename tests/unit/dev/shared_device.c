/* tests/unit/dev/shared_device.c -- processes of one shared device share its memory
 *
 * A plain program: it kills a process of its own, which Criterion's runner does not survive.
 */
#include "cuda_api.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define MIB (1u << 20)

static int failures;

static void
expect(int good, const char *what)
{
    if (good)
        return;
    fprintf(stderr, "shared_device: %s\n", what);
    failures++;
}

static int
open_device(void)
{
    CUcontext ctx;

    return cuInit(0) == CUDA_SUCCESS && cuDevicePrimaryCtxRetain(&ctx, 0) == CUDA_SUCCESS &&
           cuCtxSetCurrent(ctx) == CUDA_SUCCESS;
}

/* Takes 40 MiB, says so, and holds them until it is killed. */
static void
holder(int ready)
{
    CUdeviceptr p;
    char byte;

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    byte = open_device() && cuMemAlloc_v2(&p, 40 * MIB) == CUDA_SUCCESS;
    if (write(ready, &byte, 1) != 1)
        _exit(1);
    for (;;)
        pause();
}

int
main(void)
{
    char name[64], file[128], byte = 0;
    size_t free_bytes = 0, total = 0;
    int ready[2], status;
    CUdeviceptr p;
    pid_t child;

    snprintf(name, sizeof(name), "test-%d", (int)getpid());
    snprintf(file, sizeof(file), "/dev/shm/gpupool-soft-%u-%s", (unsigned)geteuid(), name);
    setenv("GPUPOOL_SOFT_SHARED", name, 1);
    setenv("GPUPOOL_SOFT_MEMORY", "64m", 1);
    if (pipe(ready) != 0)
        return 1;
    child = fork(); /* before either has initialised */
    if (child == 0)
        holder(ready[1]);
    close(ready[1]);
    expect(read(ready[0], &byte, 1) == 1 && byte == 1, "the other process got no memory");
    expect(open_device(), "no device");
    expect(cuMemGetInfo_v2(&free_bytes, &total) == CUDA_SUCCESS && free_bytes == 24 * MIB,
           "the other's memory is not counted");
    expect(cuMemAlloc_v2(&p, 30 * MIB) == CUDA_ERROR_OUT_OF_MEMORY, "more than there is was given");
    kill(child, SIGKILL);
    expect(waitpid(child, &status, 0) == child, "the other process is lost");
    expect(cuMemAlloc_v2(&p, 30 * MIB) == CUDA_SUCCESS, "a dead process keeps its memory");
    unlink(file);
    return failures != 0;
}
