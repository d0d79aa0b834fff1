/* drv_link.c -- cuLink*: relocatable PTX from memory and from a file, logs, what is refused */
#include "drv.h"

#include <unistd.h>

static const char part[] = ".version 7.0\n.target sm_75\n.address_size 64\n"
                           ".visible .func (.param .b32 r) twice(.param .b32 x)\n{\n"
                           ".reg .b32 %r<3>;\n"
                           "ld.param.u32 %r1, [x];\nadd.u32 %r2, %r1, %r1;\n"
                           "st.param.b32 [r], %r2;\nret;\n}\n";

static const char start[] =
    ".version 7.0\n.target sm_75\n.address_size 64\n"
    ".extern .func (.param .b32 r) twice(.param .b32 x);\n"
    ".visible .entry k(.param .u64 out)\n{\n"
    ".reg .b32 %r<4>;\n.reg .b64 %rd<4>;\n"
    "ld.param.u64 %rd1, [out];\nmov.u32 %r1, %tid.x;\n"
    "{\n.param .b32 a;\n.param .b32 b;\nst.param.b32 [a], %r1;\n"
    "call.uni (b), twice, (a);\nld.param.b32 %r2, [b];\n}\n"
    "mul.wide.u32 %rd2, %r1, 4;\nadd.s64 %rd3, %rd1, %rd2;\n"
    "st.global.u32 [%rd3], %r2;\nret;\n}\n";

static void
run(const void *image)
{
    unsigned out[32];
    CUdeviceptr mem;
    CUmodule module;
    CUfunction f;
    void *params[] = {&mem};

    CU(cuModuleLoadData(&module, image));
    CU(cuModuleGetFunction(&f, module, "k"));
    CU(cuMemAlloc(&mem, sizeof(out)));
    CU(cuLaunchKernel(f, 1, 1, 1, 32, 1, 1, 0, NULL, params, NULL));
    CU(cuMemcpyDtoH(out, mem, sizeof(out)));
    for (unsigned i = 0; i < 32; i++)
        EXPECT(out[i] == 2 * i);
    CU(cuMemFree(mem));
    CU(cuModuleUnload(module));
}

/* From memory, then from a file. The result is the link's: a copy outlives it. */
static void
links(void)
{
    char path[] = "/tmp/drv_link_XXXXXX";
    int fd = mkstemp(path);

    EXPECT(fd >= 0 && write(fd, part, sizeof(part)) == (ssize_t)sizeof(part));
    for (int from_file = 0; from_file < 2; from_file++) {
        CUlinkState state;
        void *image = NULL, *copy;
        size_t size = 0;

        CU(cuLinkCreate(0, NULL, NULL, &state));
        CU(cuLinkAddData(state, CU_JIT_INPUT_PTX, (void *)start, sizeof(start), "start.ptx", 0,
                         NULL, NULL));
        if (from_file)
            CU(cuLinkAddFile(state, CU_JIT_INPUT_PTX, path, 0, NULL, NULL));
        else
            CU(cuLinkAddData(state, CU_JIT_INPUT_PTX, (void *)part, sizeof(part), NULL, 0, NULL,
                             NULL));
        CU(cuLinkComplete(state, &image, &size));
        EXPECT(image != NULL && size > 0);
        run(image);
        copy = malloc(size);
        memcpy(copy, image, size);
        CU(cuLinkDestroy(state));
        run(copy);
        free(copy);
        EXPECT_CU(CUDA_ERROR_INVALID_HANDLE, cuLinkDestroy(state));
    }
    close(fd);
    unlink(path);
    printf("links: done\n");
}

/* What does not link says why, in the program's own buffer. */
static void
logs(void)
{
    char info[512] = "", error[512] = "";
    CUjit_option options[] = {CU_JIT_INFO_LOG_BUFFER, CU_JIT_INFO_LOG_BUFFER_SIZE_BYTES,
                              CU_JIT_ERROR_LOG_BUFFER, CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES};
    void *values[] = {info, (void *)sizeof(info), error, (void *)sizeof(error)};
    static const char wrong[] = ".version 7.0\n.target sm_75\n.address_size 64\n"
                                ".visible .entry k()\n{\nnonsense;\n";
    CUlinkState state;
    void *image = NULL;
    CUresult cr;

    CU(cuLinkCreate(4, options, values, &state));
    /* A driver compiles when the input is added, or when the link is complete. */
    cr = cuLinkAddData(state, CU_JIT_INPUT_PTX, (void *)wrong, sizeof(wrong), NULL, 0, NULL, NULL);
    if (cr == CUDA_SUCCESS)
        cr = cuLinkComplete(state, &image, NULL);
    EXPECT_CU(CUDA_ERROR_INVALID_PTX, cr);
    EXPECT(strlen(error) > 0 && strlen(error) < sizeof(error) && image == NULL);
    EXPECT((size_t)(uintptr_t)values[3] > 0 && (size_t)(uintptr_t)values[3] <= sizeof(error));
    CU(cuLinkDestroy(state));
    printf("logs: done\n");
}

static void
mistakes(void)
{
    CUlinkState state;
    void *image;

    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuLinkCreate(0, NULL, NULL, NULL));
    EXPECT_CU(CUDA_ERROR_INVALID_HANDLE, cuLinkComplete(NULL, &image, NULL));
    CU(cuLinkCreate(0, NULL, NULL, &state));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuLinkComplete(state, NULL, NULL));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE,
              cuLinkAddData(state, CU_JIT_INPUT_PTX, NULL, 5, NULL, 0, NULL, NULL));
    EXPECT_CU(CUDA_ERROR_FILE_NOT_FOUND,
              cuLinkAddFile(state, CU_JIT_INPUT_PTX, "/no/such/file", 0, NULL, NULL));
    CU(cuLinkDestroy(state));
    printf("mistakes: done\n");
}

int
main(void)
{
    CUdevice dev = drv_open();

    links();
    logs();
    mistakes();
    drv_close(dev);
    return drv_result("drv_link");
}
