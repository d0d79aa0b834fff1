/* tests/programs/c/drv_names.c -- error names and texts, and finding entry points by name */
#include "drv.h"

static void
errors(void)
{
    static const int codes[] = {0,   1,   2,   3,   4,   34,  36,   46,  100, 101, 200, 201,
                                205, 209, 214, 217, 218, 300, 301, 400, 500, 600, 700, 701, 709,
                                710, 716, 717, 718, 719, 720, 800, 801, 803, 900, 999};
    const char *name, *text;

    for (size_t i = 0; i < COUNT_OF(codes); i++) {
        CU(cuGetErrorName((CUresult)codes[i], &name));
        CU(cuGetErrorString((CUresult)codes[i], &text));
        EXPECT(strlen(text) > 0);
        printf("%3d %s: %s\n", codes[i], name, text);
    }
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuGetErrorName((CUresult)12345, &name));
    EXPECT(name == NULL);
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuGetErrorString((CUresult)12345, &text));
    EXPECT(text == NULL);
}

static void
entry_points(void)
{
    CUdriverProcAddressQueryResult status;
    CUresult (*count)(int *) = NULL;
    void *old, *new, *plain, *per_thread;
    int n = -1;

    CU(cuGetProcAddress("cuDeviceGetCount", (void **)&count, 13000, 0, &status));
    EXPECT(status == CU_GET_PROC_ADDRESS_SUCCESS && count != NULL);
    CU(count(&n));
    EXPECT(n >= 1);

    CU(cuGetProcAddress("cuMemAlloc", &old, 2000, 0, &status));
    CU(cuGetProcAddress("cuMemAlloc", &new, 13000, 0, &status));
    EXPECT(new != NULL && new != old);

    CU(cuGetProcAddress("cuLaunchKernel", &plain, 13000, CU_GET_PROC_ADDRESS_LEGACY_STREAM,
                        &status));
    CU(cuGetProcAddress("cuLaunchKernel", &per_thread, 13000,
                        CU_GET_PROC_ADDRESS_PER_THREAD_DEFAULT_STREAM, &status));
    EXPECT(plain != NULL && per_thread != NULL && plain != per_thread);

    CU(cuGetProcAddress("cuNoSuchCall", &old, 13000, 0, &status));
    EXPECT(old == NULL && status == CU_GET_PROC_ADDRESS_SYMBOL_NOT_FOUND);
    CU(cuGetProcAddress("cuLibraryLoadData", &old, 11000, 0, &status));
    EXPECT(old == NULL && status == CU_GET_PROC_ADDRESS_VERSION_NOT_SUFFICIENT);
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuGetProcAddress(NULL, &old, 13000, 0, &status));
    printf("entry points: done\n");
}

int
main(void)
{
    CU(cuInit(0));
    errors();
    entry_points();
    return drv_result("drv_names");
}
