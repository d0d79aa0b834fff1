/* drv_logs.c -- what the driver logged, read back by the program */
#include "drv.h"

#include <semaphore.h>
#include <unistd.h>

struct heard {
    sem_t came;
    unsigned count;
    CUlogLevel level;
    char text[300];
    CUlogsCallbackHandle once; /* takes itself off */
    CUresult off;
};

static void
hear(void *data, CUlogLevel level, char *message, size_t length)
{
    struct heard *h = data;

    h->count++;
    h->level = level;
    if (length == strlen(message))
        snprintf(h->text, sizeof(h->text), "%s", message);
    if (h->once != NULL)
        h->off = cuLogsUnregisterCallback(h->once);
    sem_post(&h->came);
}

/* Something that each library refuses by name, and names once. */
static void
refused(int which)
{
    static CUprocessState state;

    EXPECT_CU(CUDA_ERROR_NOT_SUPPORTED, which == 0   ? cuCheckpointProcessGetState(1, &state)
                                        : which == 1 ? cuCheckpointProcessLock(1, NULL)
                                                     : cuCheckpointProcessUnlock(1, NULL));
}

static void
callbacks(void)
{
    static struct heard first, second, never;
    CUlogsCallbackHandle a = NULL, c = NULL;

    sem_init(&first.came, 0, 0);
    sem_init(&second.came, 0, 0);
    sem_init(&never.came, 0, 0);
    second.off = CUDA_ERROR_UNKNOWN;
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuLogsRegisterCallback(NULL, NULL, &a));
    CU(cuLogsRegisterCallback(hear, &first, &a));
    CU(cuLogsRegisterCallback(hear, &second, &second.once));
    CU(cuLogsRegisterCallback(hear, &never, &c));
    CU(cuLogsUnregisterCallback(c));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuLogsUnregisterCallback(c));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuLogsUnregisterCallback(NULL));
    refused(0);
    sem_wait(&first.came);
    sem_wait(&second.came);
    EXPECT(strstr(first.text, "cuCheckpointProcessGetState") != NULL);
    EXPECT(strcmp(first.text, second.text) == 0);
    EXPECT(first.level == CU_LOG_LEVEL_WARNING || first.level == CU_LOG_LEVEL_ERROR);
    EXPECT_CU(CUDA_SUCCESS, second.off);
    refused(1);
    sem_wait(&first.came);
    EXPECT(strstr(first.text, "cuCheckpointProcessLock") != NULL);
    CU(cuLogsUnregisterCallback(a));
    refused(2);
    EXPECT(first.count == 2 && second.count == 1 && never.count == 0);
    printf("callbacks: %u and %u\n", first.count, second.count);
}

int
main(void)
{
    static char text[25600];
    char path[] = "/tmp/drv_logs_XXXXXX", from_file[2000] = "";
    CUdevice dev = drv_open();
    CUlogIterator start = 0, at;
    size_t size = sizeof(text);
    ssize_t got;
    int fd;

    CU(cuLogsCurrent(&start, 0));
    at = start;
    CU(cuLogsDumpToMemory(&at, text, &size, 0));
    EXPECT(size == 0 && at == start);
    EXPECT_CU(CUDA_ERROR_NOT_SUPPORTED, cuCheckpointProcessRestore(1, NULL));
    size = sizeof(text);
    CU(cuLogsDumpToMemory(&at, text, &size, 0));
    EXPECT(size > 0 && size == strlen(text) && text[size - 1] == '\n');
    EXPECT(strstr(text, "cuCheckpointProcessRestore") != NULL);
    EXPECT(at > start);
    size = 4; /* no line is that short */
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuLogsDumpToMemory(&start, text, &size, 0));
    EXPECT(size == 0);

    fd = mkstemp(path);
    EXPECT(fd >= 0);
    CU(cuLogsDumpToFile(NULL, path, 0));
    got = read(fd, from_file, sizeof(from_file) - 1);
    EXPECT(got > 0 && strstr(from_file, "cuCheckpointProcessRestore") != NULL);
    close(fd);
    unlink(path);
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuLogsDumpToFile(NULL, NULL, 0));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuLogsCurrent(NULL, 0));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuLogsCurrent(&at, 1));
    printf("logs: done\n");
    callbacks();
    drv_close(dev);
    return drv_result("drv_logs");
}
