/* drv_logs.c -- what the driver logged, read back by the program */
#include "drv.h"

#include <unistd.h>

int
main(void)
{
    static char text[25600];
    char path[] = "/tmp/drv_logs_XXXXXX", from_file[2000] = "";
    CUdevice dev = drv_open();
    CUlogIterator start = 0, at;
    CUexternalMemory memory;
    CUDA_EXTERNAL_MEMORY_HANDLE_DESC desc = {.type = CU_EXTERNAL_MEMORY_HANDLE_TYPE_OPAQUE_FD};
    size_t size = sizeof(text);
    ssize_t got;
    int fd;

    CU(cuLogsCurrent(&start, 0));
    at = start;
    CU(cuLogsDumpToMemory(&at, text, &size, 0));
    EXPECT(size == 0 && at == start);
    desc.handle.fd = -1;
    EXPECT(cuImportExternalMemory(&memory, &desc) != CUDA_SUCCESS);
    size = sizeof(text);
    CU(cuLogsDumpToMemory(&at, text, &size, 0));
    EXPECT(size > 0 && size == strlen(text) && text[size - 1] == '\n');
    EXPECT(strstr(text, "cuImportExternalMemory") != NULL);
    EXPECT(at > start);
    size = 4; /* no line is that short */
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuLogsDumpToMemory(&start, text, &size, 0));
    EXPECT(size == 0);

    fd = mkstemp(path);
    EXPECT(fd >= 0);
    CU(cuLogsDumpToFile(NULL, path, 0));
    got = read(fd, from_file, sizeof(from_file) - 1);
    EXPECT(got > 0 && strstr(from_file, "cuImportExternalMemory") != NULL);
    close(fd);
    unlink(path);
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuLogsDumpToFile(NULL, NULL, 0));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuLogsCurrent(NULL, 0));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuLogsCurrent(&at, 1));
    printf("logs: done\n");
    drv_close(dev);
    return drv_result("drv_logs");
}
