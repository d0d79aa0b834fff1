/* tests/programs/cu/fork_after_init.cu -- a child of an initialised program gets an error, the
 * parent goes on; a child forked before initialisation works by itself */
#include "check.h"

#include <sys/wait.h>
#include <unistd.h>

__global__ void
square(int *p)
{
    *p = *p * *p;
}

static cudaError_t
compute(int *value)
{
    cudaError_t err;
    int *dev;

    if ((err = cudaMalloc(&dev, sizeof(int))) != cudaSuccess)
        return err;
    if ((err = cudaMemcpy(dev, value, sizeof(int), cudaMemcpyHostToDevice)) != cudaSuccess)
        return err;
    square<<<1, 1>>>(dev);
    if ((err = cudaMemcpy(value, dev, sizeof(int), cudaMemcpyDeviceToHost)) != cudaSuccess)
        return err;
    return cudaFree(dev);
}

static int
in_child(bool should_work)
{
    int status, value = 12;
    pid_t pid;

    std::fflush(stdout);
    pid = fork();
    if (pid == 0) {
        cudaError_t err = compute(&value);

        if (should_work)
            std::exit(err == cudaSuccess && value == 144 ? 0 : 1);
        std::exit(err == cudaErrorInitializationError ? 0 : 10 + err);
    }
    if (pid < 0 || waitpid(pid, &status, 0) != pid)
        return -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int
main()
{
    int value = 3, status;

    status = in_child(true);
    EXPECT(status == 0);
    std::printf("child before initialisation: status %d\n", status);
    RT(compute(&value));
    EXPECT(value == 9);
    for (int i = 0; i < 3; i++) {
        status = in_child(false);
        EXPECT(status == 0);
        std::printf("child after initialisation: status %d\n", status);
        value = 5 + i;
        RT(compute(&value));
        EXPECT(value == (5 + i) * (5 + i));
        std::printf("parent: %d\n", value);
    }
    return test_result("fork_after_init");
}
