/* tests/programs/c/drv_fork.c -- a child forked after cuInit is told so, the parent goes on, and
 * both may end without harm to the other */
#include "drv.h"
#include "vector_ptx.h"

#include <sys/wait.h>
#include <unistd.h>

static uint32_t
compute(CUfunction f, CUdeviceptr p)
{
    uint32_t n = 1, factor = 3, addend = 4, got;
    void *params[] = {&p, &factor, &addend, &n};

    drv_launch(f, 1, NULL, params);
    CU(cuMemcpyDtoH(&got, p, 4));
    return got;
}

/* The exit status: 0 when every call said CUDA_ERROR_NOT_INITIALIZED. */
static int
child(CUdeviceptr p)
{
    uint32_t word = 0;
    CUdeviceptr q;
    int count;

    EXPECT_CU(CUDA_ERROR_NOT_INITIALIZED, cuInit(0));
    EXPECT_CU(CUDA_ERROR_NOT_INITIALIZED, cuDeviceGetCount(&count));
    EXPECT_CU(CUDA_ERROR_NOT_INITIALIZED, cuMemAlloc(&q, 16));
    EXPECT_CU(CUDA_ERROR_NOT_INITIALIZED, cuMemcpyDtoH(&word, p, 4));
    EXPECT_CU(CUDA_ERROR_NOT_INITIALIZED, cuCtxSynchronize());
    return drv_result("child");
}

int
main(void)
{
    CUdevice dev = drv_open();
    CUfunction f = drv_kernel(vector_ptx, "mul_add_u32");
    CUdeviceptr p;
    int status;

    CU(cuMemAlloc(&p, 4));
    CU(cuMemsetD32(p, 1, 1));
    printf("before: %u\n", compute(f, p));
    for (int i = 0; i < 3; i++) {
        fflush(NULL);
        pid_t pid = fork();

        if (pid == 0)
            exit(child(p)); /* with the exit handlers that a program would run */
        EXPECT(pid > 0 && waitpid(pid, &status, 0) == pid);
        EXPECT(WIFEXITED(status) && WEXITSTATUS(status) == 0);
        printf("after child %d: %u\n", i, compute(f, p));
    }
    CU(cuMemFree(p));
    drv_close(dev);
    return drv_result("drv_fork");
}
