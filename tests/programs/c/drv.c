/* tests/programs/c/drv.c */
#include "drv.h"

#include <stdatomic.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static _Atomic int failures;

const char *
drv_name(CUresult cr)
{
    const char *name = NULL;

    if (cuGetErrorName(cr, &name) != CUDA_SUCCESS || name == NULL)
        return "?";
    return name;
}

void
drv_must(CUresult cr, const char *what, const char *file, int line)
{
    if (cr == CUDA_SUCCESS)
        return;
    fprintf(stderr, "%s:%d: %s: %s (%d)\n", file, line, what, drv_name(cr), (int)cr);
    exit(2);
}

void
drv_expect_cu(CUresult want, CUresult got, const char *what, const char *file, int line)
{
    if (got == want)
        return;
    fprintf(stderr, "%s:%d: %s: %s (%d), expected %s (%d)\n", file, line, what, drv_name(got),
            (int)got, drv_name(want), (int)want);
    failures++;
}

bool
drv_expect(bool ok, const char *what, const char *file, int line)
{
    if (!ok) {
        fprintf(stderr, "%s:%d: does not hold: %s\n", file, line, what);
        failures++;
    }
    return ok;
}

CUdevice
drv_open(void)
{
    CUcontext ctx;
    CUdevice dev;

    CU(cuInit(0));
    CU(cuDeviceGet(&dev, 0));
    CU(cuDevicePrimaryCtxRetain(&ctx, dev));
    CU(cuCtxSetCurrent(ctx));
    return dev;
}

void
drv_close(CUdevice dev)
{
    CU(cuCtxSetCurrent(NULL));
    CU(cuDevicePrimaryCtxRelease(dev));
}

CUfunction
drv_kernel(const char *ptx, const char *name)
{
    CUfunction f;
    CUmodule mod;

    CU(cuModuleLoadData(&mod, ptx));
    CU(cuModuleGetFunction(&f, mod, name));
    return f;
}

void
drv_launch(CUfunction f, uint32_t n, CUstream stream, void **params)
{
    CU(cuLaunchKernel(f, (n + 127) / 128, 1, 1, 128, 1, 1, 0, stream, params, NULL));
}

uint32_t
drv_lcg(uint32_t x, uint32_t rounds)
{
    while (rounds-- > 0)
        x = x * 1664525u + 1013904223u;
    return x;
}

int
drv_result(const char *name)
{
    int n = failures;

    if (n == 0)
        printf("%s: passed\n", name);
    else
        printf("%s: %d checks failed\n", name, n);
    return n == 0 ? 0 : 1;
}

uint32_t
drv_word_at(CUdeviceptr p)
{
    uint32_t word = 0;

    CU(cuMemcpyDtoH(&word, p, sizeof(word)));
    return word;
}

int
drv_in_child(int (*body)(void))
{
    int status;
    pid_t pid;

    fflush(NULL);
    pid = fork();
    if (pid == 0) {
        status = body();
        fflush(NULL);
        _exit(status);
    }
    if (pid < 0 || waitpid(pid, &status, 0) != pid)
        return -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* What a message carries beside its bytes. */
union one_fd {
    struct cmsghdr align;
    char bytes[CMSG_SPACE(sizeof(int))];
};

void
drv_tell(int peer, const void *data, size_t bytes, int fd)
{
    struct iovec iov = {(void *)(uintptr_t)data, bytes};
    struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};
    union one_fd control;

    if (fd >= 0) {
        memset(&control, 0, sizeof(control));
        m.msg_control = control.bytes;
        m.msg_controllen = sizeof(control.bytes);
        CMSG_FIRSTHDR(&m)->cmsg_level = SOL_SOCKET;
        CMSG_FIRSTHDR(&m)->cmsg_type = SCM_RIGHTS;
        CMSG_FIRSTHDR(&m)->cmsg_len = CMSG_LEN(sizeof(fd));
        memcpy(CMSG_DATA(CMSG_FIRSTHDR(&m)), &fd, sizeof(fd));
    }
    EXPECT(sendmsg(peer, &m, 0) == (ssize_t)bytes);
}

int
drv_hear(int peer, void *data, size_t bytes)
{
    struct iovec iov = {data, bytes};
    union one_fd control;
    struct msghdr m = {.msg_iov = &iov,
                       .msg_iovlen = 1,
                       .msg_control = control.bytes,
                       .msg_controllen = sizeof(control.bytes)};
    int fd = -1;

    if (recvmsg(peer, &m, 0) != (ssize_t)bytes) {
        fprintf(stderr, "the other process is gone\n");
        exit(3);
    }
    if (CMSG_FIRSTHDR(&m) != NULL)
        memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&m)), sizeof(fd));
    return fd;
}
