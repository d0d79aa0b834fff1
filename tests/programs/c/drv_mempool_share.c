/* tests/programs/c/drv_mempool_share.c -- a pool whose allocations another process imports
 *
 * The second process is forked before CUDA is touched, so each has a session of its own. They talk
 * over a socket pair; the pool's descriptor travels by SCM_RIGHTS, allocations as plain bytes. */
#include "drv.h"
#include "vector_ptx.h"

#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define WORDS 4096u
#define COUNT 3 /* allocations */

static const CUmemAllocationHandleType by_fd = CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR;
static int peer;

static void
done(void)
{
    char c = 1;

    drv_tell(peer, &c, 1, -1);
}

static void
wait_done(void)
{
    char c;

    (void)drv_hear(peer, &c, 1);
}

static CUmemoryPool
make_pool(CUdevice dev, CUmemAllocationHandleType type)
{
    CUmemPoolProps props = {.allocType = CU_MEM_ALLOCATION_TYPE_PINNED,
                            .handleTypes = type,
                            .location = {CU_MEM_LOCATION_TYPE_DEVICE, dev}};
    CUmemoryPool pool;

    CU(cuMemPoolCreate(&pool, &props));
    return pool;
}

static void
refused(CUdevice dev, CUmemoryPool pool, CUdeviceptr inside)
{
    CUmemoryPool plain = make_pool(dev, CU_MEM_HANDLE_TYPE_NONE), standard, none;
    CUmemPoolPtrExportData data;
    CUdeviceptr a;
    int fd = -1, ends[2];

    CU(cuDeviceGetDefaultMemPool(&standard, dev));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuMemPoolExportToShareableHandle(&fd, plain, by_fd, 0));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuMemPoolExportToShareableHandle(&fd, standard, by_fd, 0));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuMemPoolExportToShareableHandle(NULL, pool, by_fd, 0));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuMemPoolExportToShareableHandle(&fd, pool, by_fd, 1));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE,
              cuMemPoolExportToShareableHandle(&fd, pool, CU_MEM_HANDLE_TYPE_NONE, 0));
    CU(cuMemAllocFromPoolAsync(&a, 4096, plain, NULL));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuMemPoolExportPointer(&data, a));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuMemPoolExportPointer(NULL, inside));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuMemPoolExportPointer(&data, inside + 4));
    CU(cuMemFreeAsync(a, NULL));
    EXPECT(pipe(ends) == 0);
    fd = ends[0];
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE,
              cuMemPoolImportFromShareableHandle(&none, (void *)(intptr_t)fd, by_fd, 0));
    close(ends[0]);
    close(ends[1]);
    CU(cuMemPoolDestroy(plain));
}

/* Allocations with words, told to the other process; what it made of them is read back. */
static void
maker(CUdevice dev)
{
    CUmemoryPool pool = make_pool(dev, by_fd);
    CUmemPoolPtrExportData data;
    CUdeviceptr a[COUNT];
    uint32_t wrong = 0;
    int fd = -1;

    CU(cuMemPoolExportToShareableHandle(&fd, pool, by_fd, 0));
    done();
    drv_tell(peer, &fd, sizeof(fd), fd);
    close(fd);
    for (uint32_t i = 0; i < COUNT; i++) {
        CU(cuMemAllocFromPoolAsync(&a[i], WORDS * 4, pool, NULL));
        CU(cuMemsetD32Async(a[i], 100 + i, WORDS, NULL));
        CU(cuStreamSynchronize(NULL));
        CU(cuMemPoolExportPointer(&data, a[i]));
        drv_tell(peer, &data, sizeof(data), -1);
    }
    refused(dev, pool, a[0]);
    wait_done();
    for (uint32_t i = 0; i < COUNT; i++) {
        wrong += drv_word_at(a[i]) != (100 + i) * 3 + i;
        wrong += drv_word_at(a[i] + WORDS * 4 - 4) != (100 + i) * 3 + i;
        CU(cuMemFreeAsync(a[i], NULL));
    }
    CU(cuStreamSynchronize(NULL));
    CU(cuMemPoolDestroy(pool));
    EXPECT(wrong == 0);
    printf("maker: %u wrong\n", wrong);
    fflush(stdout);
    done();
}

static void
use_one(CUmemoryPool pool, CUfunction mul_add, uint32_t i, uint32_t *wrong)
{
    uint32_t n = WORDS, factor = 3;
    CUmemPoolPtrExportData data;
    CUdeviceptr a, again;
    size_t bytes = 0;
    void *params[] = {&a, &factor, &i, &n};

    (void)drv_hear(peer, &data, sizeof(data));
    CU(cuMemPoolImportPointer(&a, pool, &data));
    CU(cuMemGetAddressRange(NULL, &bytes, a));
    EXPECT(bytes == WORDS * 4);
    *wrong += drv_word_at(a) != 100 + i || drv_word_at(a + WORDS * 4 - 4) != 100 + i;
    drv_launch(mul_add, n, NULL, params);
    CU(cuStreamSynchronize(NULL));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuIpcCloseMemHandle(a));
    CU(cuMemPoolImportPointer(&again, pool, &data));
    CU(cuMemFree(again));
    if (again == a)
        *wrong += drv_word_at(a) != (100 + i) * 3 + i; /* the first import is still there */
    if (i % 2 == 0)
        CU(cuMemFree(a));
    else
        CU(cuMemFreeAsync(a, NULL));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuMemFree(a));
    data.reserved[56] ^= 1; /* whatever is there: no allocation of that pool */
    data.reserved[40] ^= 1;
    data.reserved[0] ^= 1;
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuMemPoolImportPointer(&a, pool, &data));
}

static int
user(void)
{
    uint32_t wrong = 0;
    CUmemoryPool pool;
    CUfunction mul_add;
    CUdeviceptr a;
    CUdevice dev;
    int fd, number;

    dev = drv_open();
    mul_add = drv_kernel(vector_ptx, "mul_add_u32");
    wait_done();
    fd = drv_hear(peer, &number, sizeof(number));
    CU(cuMemPoolImportFromShareableHandle(&pool, (void *)(intptr_t)fd, by_fd, 0));
    close(fd);
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuMemAllocFromPoolAsync(&a, 4096, pool, NULL));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuDeviceSetMemPool(dev, pool));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuMemPoolExportToShareableHandle(&fd, pool, by_fd, 0));
    for (uint32_t i = 0; i < COUNT; i++)
        use_one(pool, mul_add, i, &wrong);
    CU(cuMemPoolDestroy(pool));
    CU(cuCtxSynchronize());
    done();
    wait_done();
    EXPECT(wrong == 0);
    printf("user: %u wrong\n", wrong);
    drv_close(dev);
    return drv_result("user");
}

int
main(void)
{
    int fds[2], status = -1, types = 0;
    CUdevice dev;
    pid_t pid;

    if (socketpair(AF_UNIX, SOCK_SEQPACKET, 0, fds) != 0)
        return 2;
    pid = fork();
    if (pid == 0) {
        peer = fds[1];
        close(fds[0]);
        status = user();
        fflush(NULL);
        _exit(status);
    }
    peer = fds[0];
    close(fds[1]);
    dev = drv_open();
    CU(cuDeviceGetAttribute(&types, CU_DEVICE_ATTRIBUTE_MEMPOOL_SUPPORTED_HANDLE_TYPES, dev));
    EXPECT((types & (int)by_fd) != 0);
    maker(dev);
    EXPECT(waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0);
    drv_close(dev);
    return drv_result("maker");
}
