/* tests/programs/c/drv_modules.c -- modules, libraries, kernels, symbols, function attributes and
 * occupancy; PTX as text, as a file, in a fat binary and in its wrapper */
#include "drv.h"
#include "misc_ptx.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <unistd.h>

/* The container that compilers put images into: a header, then entries. */
struct fat_header {
    uint32_t magic;
    uint16_t version, header_size;
    uint64_t size;
};

struct fat_entry {
    uint16_t kind, version; /* kind 1: PTX */
    uint32_t header_size;
    uint64_t size;
    uint32_t stored_size, unknown;
    uint16_t minor, major;
    uint32_t arch;
    uint32_t name_offset, name_length;
    uint64_t flags;
    uint64_t zero, unpacked_size;
};

struct fat_wrapper {
    uint32_t magic, version;
    const void *data;
    const void *prelinked;
};

static uint32_t
expected_table(uint32_t i, uint32_t counter)
{
    static const uint32_t weights[8] = {1, 2, 3, 5, 8, 13, 21, 34};

    return counter * weights[i % 8] + i;
}

static void
check_symbols(CUfunction f, CUdeviceptr table, uint32_t counter, const char *how)
{
    uint32_t got[256], wrong = 0;

    CU(cuMemsetD8(table, 0, sizeof(got)));
    CU(cuLaunchKernel(f, 1, 1, 1, 256, 1, 1, 0, NULL, NULL, NULL));
    CU(cuMemcpyDtoH(got, table, sizeof(got)));
    for (uint32_t i = 0; i < 256; i++)
        wrong += got[i] != expected_table(i, counter);
    EXPECT(wrong == 0);
    printf("symbols by %s: %u wrong\n", how, wrong);
}

static void
use_module(CUmodule mod, const char *how)
{
    CUdeviceptr counter, table;
    uint32_t value;
    CUfunction f;
    size_t size;

    CU(cuModuleGetGlobal(&counter, &size, mod, "counter"));
    EXPECT(size == 4);
    CU(cuModuleGetGlobal(&table, &size, mod, "table"));
    EXPECT(size == 1024);
    CU(cuMemcpyDtoH(&value, counter, 4));
    EXPECT(value == 7);
    CU(cuModuleGetFunction(&f, mod, "use_symbols"));
    check_symbols(f, table, 7, how);
    value = 1000;
    CU(cuMemcpyHtoD(counter, &value, 4));
    check_symbols(f, table, 1000, how);
}

static void
text_with_options(void)
{
    char info[4096] = "", error[4096] = "";
    CUjit_option keys[] = {CU_JIT_INFO_LOG_BUFFER, CU_JIT_INFO_LOG_BUFFER_SIZE_BYTES,
                           CU_JIT_ERROR_LOG_BUFFER, CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES};
    void *values[] = {info, (void *)(uintptr_t)sizeof(info), error,
                      (void *)(uintptr_t)sizeof(error)};
    CUmodule mod;

    CU(cuModuleLoadDataEx(&mod, misc_ptx, COUNT_OF(keys), keys, values));
    use_module(mod, "text with options");
    CU(cuModuleUnload(mod));

    values[1] = (void *)(uintptr_t)sizeof(info);
    values[3] = (void *)(uintptr_t)sizeof(error);
    EXPECT_CU(CUDA_ERROR_INVALID_PTX,
              cuModuleLoadDataEx(&mod,
                                 ".version 7.0\n.target sm_70\n.address_size 64\n"
                                 ".visible .entry broken() { this is no instruction; }\n",
                                 COUNT_OF(keys), keys, values));
    EXPECT(strlen(error) > 0);
    printf("text with options: done\n");
}

static void
file_image(void)
{
    char path[] = "/tmp/gpupool-test-ptx-XXXXXX";
    int fd = mkstemp(path);
    CUmodule mod;

    EXPECT(fd >= 0 && write(fd, misc_ptx, sizeof(misc_ptx) - 1) == (ssize_t)sizeof(misc_ptx) - 1);
    close(fd);
    CU(cuModuleLoad(&mod, path));
    unlink(path);
    use_module(mod, "file");
    CU(cuModuleUnload(mod));
    EXPECT_CU(CUDA_ERROR_FILE_NOT_FOUND, cuModuleLoad(&mod, path));
}

static void *
fat_binary(void)
{
    size_t text = sizeof(misc_ptx), padded = (text + 7) & ~7ul;
    struct fat_header *h = calloc(1, sizeof(*h) + sizeof(struct fat_entry) + padded);
    struct fat_entry *e = (struct fat_entry *)(h + 1);

    if (h == NULL)
        exit(2);
    *h = (struct fat_header){0xba55ed50, 1, sizeof(*h), sizeof(*e) + padded};
    *e = (struct fat_entry){
        .kind = 1,
        .version = 0x101,
        .header_size = sizeof(*e),
        .size = padded,
        .major = 7,
        .minor = 0,
        .arch = 70,
        .flags = 0x11,
    };
    memcpy(e + 1, misc_ptx, text);
    return h;
}

static void
fat_images(void)
{
    void *fat = fat_binary();
    struct fat_wrapper wrapper = {0x466243b1, 1, fat, NULL};
    CUmodule mod;

    CU(cuModuleLoadFatBinary(&mod, fat));
    use_module(mod, "fat binary");
    CU(cuModuleUnload(mod));
    CU(cuModuleLoadData(&mod, &wrapper));
    use_module(mod, "wrapper");
    CU(cuModuleUnload(mod));
    free(fat);
}

static void
libraries(void)
{
    CUdeviceptr table;
    CUlibrary lib;
    CUkernel kernel, kernels[32];
    CUfunction f;
    CUmodule mod;
    const char *name;
    unsigned count;
    size_t size;
    int threads;
    CUdevice dev;

    CU(cuCtxGetDevice(&dev));
    CU(cuLibraryLoadData(&lib, misc_ptx, NULL, NULL, 0, NULL, NULL, 0));
    CU(cuLibraryGetKernelCount(&count, lib));
    EXPECT(count == 10);
    CU(cuLibraryEnumerateKernels(kernels, count < 32 ? count : 32, lib));
    CU(cuLibraryGetKernel(&kernel, lib, "use_symbols"));
    CU(cuKernelGetName(&name, kernel));
    EXPECT(strcmp(name, "use_symbols") == 0);
    CU(cuLibraryGetGlobal(&table, &size, lib, "table"));
    EXPECT(size == 1024);
    CU(cuKernelGetFunction(&f, kernel));
    check_symbols(f, table, 7, "library");
    check_symbols((CUfunction)kernel, table, 7, "kernel as function");
    CU(cuLibraryGetModule(&mod, lib));
    CU(cuModuleGetFunction(&f, mod, "use_symbols"));
    CU(cuKernelGetAttribute(&threads, CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK, kernel, dev));
    EXPECT(threads >= 256 && threads <= 1024);
    EXPECT_CU(CUDA_ERROR_NOT_FOUND, cuLibraryGetKernel(&kernel, lib, "no_such_kernel"));
    CU(cuLibraryUnload(lib));
    printf("libraries: %u kernels\n", count);
}

static int
attribute(CUfunction f, CUfunction_attribute a)
{
    int value;

    CU(cuFuncGetAttribute(&value, a, f));
    return value;
}

static void
attributes_and_occupancy(void)
{
    CUmodule mod;
    CUfunction small, reverse;
    const char *name;
    int grid, block, blocks;
    size_t dynamic;

    CU(cuModuleLoadData(&mod, misc_ptx));
    CU(cuModuleGetFunction(&small, mod, "small_blocks"));
    CU(cuModuleGetFunction(&reverse, mod, "reverse"));
    EXPECT(attribute(small, CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK) == 128);
    EXPECT(attribute(reverse, CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES) == 4096);
    EXPECT(attribute(reverse, CU_FUNC_ATTRIBUTE_NUM_REGS) > 0);
    EXPECT(attribute(reverse, CU_FUNC_ATTRIBUTE_LOCAL_SIZE_BYTES) == 0);
    EXPECT(attribute(reverse, CU_FUNC_ATTRIBUTE_PTX_VERSION) == 70);
    CU(cuFuncSetAttribute(reverse, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, 40000));
    EXPECT(attribute(reverse, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES) == 40000);
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE,
              cuFuncSetAttribute(reverse, CU_FUNC_ATTRIBUTE_NUM_REGS, 10));
    CU(cuFuncGetName(&name, small));
    EXPECT(strcmp(name, "small_blocks") == 0);

    CU(cuOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, reverse, 1024, 0));
    EXPECT(blocks >= 1 && blocks <= 2);
    CU(cuOccupancyMaxPotentialBlockSize(&grid, &block, small, NULL, 0, 0));
    EXPECT(grid >= 1 && block >= 32 && block <= 128);
    CU(cuOccupancyAvailableDynamicSMemPerBlock(&dynamic, reverse, 1, 256));
    EXPECT(dynamic > 0);
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE,
              cuOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, reverse, 0, 0));
    CU(cuModuleUnload(mod));
    printf("attributes and occupancy: done\n");
}

static void
not_found(void)
{
    CUdeviceptr p;
    CUfunction f;
    CUmodule mod;
    size_t size;

    CU(cuModuleLoadData(&mod, misc_ptx));
    EXPECT_CU(CUDA_ERROR_NOT_FOUND, cuModuleGetFunction(&f, mod, "nothing"));
    EXPECT_CU(CUDA_ERROR_NOT_FOUND, cuModuleGetGlobal(&p, &size, mod, "nothing"));
    EXPECT_CU(CUDA_ERROR_NOT_FOUND, cuModuleGetFunction(&f, mod, "counter"));
    CU(cuModuleUnload(mod));
    printf("not found: done\n");
}

/* What is asked about while another thread unloads it. */
struct asked {
    CUcontext ctx;
    _Atomic(CUmodule) module;
    _Atomic(CUfunction) function;
    _Atomic(CUlibrary) library;
    _Atomic(CUkernel) kernel;
    _Atomic unsigned rounds;
    atomic_bool stop;
    unsigned wrong;
};

/* It is there, or it is not. */
static bool
there(struct asked *a, CUresult cr)
{
    a->wrong += cr != CUDA_SUCCESS && cr != CUDA_ERROR_INVALID_HANDLE;
    return cr == CUDA_SUCCESS;
}

static void *
ask(void *arg)
{
    struct asked *a = arg;
    CUdeviceptr p;
    CUfunction f;
    CUkernel k;
    size_t size, offset;
    unsigned count;
    int value;

    CU(cuCtxSetCurrent(a->ctx));
    while (!atomic_load(&a->stop)) {
        f = atomic_load(&a->function);
        k = atomic_load(&a->kernel);
        if (there(a, cuFuncGetAttribute(&value, CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES, f)))
            a->wrong += value != 4096;
        if (there(a, cuFuncGetParamInfo(f, 0, &offset, &size)))
            a->wrong += offset != 0 || size != 8;
        (void)there(a, cuOccupancyMaxActiveBlocksPerMultiprocessor(&value, f, 64, 0));
        if (there(a, cuModuleGetGlobal(&p, &size, atomic_load(&a->module), "table")))
            a->wrong += size != 1024;
        (void)there(a, cuModuleGetFunction(&f, atomic_load(&a->module), "store_at"));
        if (there(a, cuLibraryGetKernelCount(&count, atomic_load(&a->library))))
            a->wrong += count != 10;
        if (there(a, cuKernelGetParamInfo(k, 0, &offset, &size)))
            a->wrong += offset != 0 || size != 8;
        atomic_fetch_add(&a->rounds, 1);
    }
    return NULL;
}

static void
unloaded_while_asked(void)
{
    struct asked a = {0};
    pthread_t asker;

    CU(cuCtxGetCurrent(&a.ctx));
    for (unsigned round = 0; round < 20; round++) {
        unsigned before = atomic_load(&a.rounds);
        CUfunction f;
        CUlibrary lib;
        CUkernel k;
        CUmodule mod;

        CU(cuModuleLoadData(&mod, misc_ptx));
        CU(cuModuleGetFunction(&f, mod, "reverse"));
        CU(cuLibraryLoadData(&lib, misc_ptx, NULL, NULL, 0, NULL, NULL, 0));
        CU(cuLibraryGetKernel(&k, lib, "reverse"));
        atomic_store(&a.module, mod);
        atomic_store(&a.function, f);
        atomic_store(&a.library, lib);
        atomic_store(&a.kernel, k);
        if (round == 0)
            EXPECT(pthread_create(&asker, NULL, ask, &a) == 0);
        while (atomic_load(&a.rounds) - before < 2)
            sched_yield();
        CU(cuModuleUnload(mod));
        CU(cuLibraryUnload(lib));
    }
    atomic_store(&a.stop, true);
    pthread_join(asker, NULL);
    EXPECT(a.wrong == 0);
    printf("unloaded while asked about: %u wrong\n", a.wrong);
}

int
main(void)
{
    CUdevice dev = drv_open();

    text_with_options();
    file_image();
    fat_images();
    libraries();
    attributes_and_occupancy();
    not_found();
    unloaded_while_asked();
    drv_close(dev);
    return drv_result("drv_modules");
}
