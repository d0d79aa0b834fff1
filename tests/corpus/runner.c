/* tests/corpus/runner.c -- runs every case on a CUDA driver and compares with the references
 *
 * usage: corpus [--lib FILE] [--only TEXT] [--dump FOLDER] [--list] [--verbose]
 *
 * FILE is any libcuda.so.1: the software device, the client of a pool, or NVIDIA's own (also
 * from the environment, GPUPOOL_CORPUS_LIB). Cases that need a newer device are skipped and
 * counted. Exit status: 0 all agree, 1 differences, 2 no device.
 */
#include "tests/corpus/corpus.h"

#include "protocol/abi/cuda_types.h"

#include <dlfcn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct corpus_case *const tables[] = {
    corpus_int, corpus_bits, corpus_predicates, corpus_arithmetic, corpus_functions, corpus_half,
    corpus_cvt, corpus_warp, corpus_memory,     corpus_control,    corpus_access,    corpus_forms,
};

static struct {
    CUresult (*cuInit)(unsigned);
    CUresult (*cuDeviceGet)(CUdevice *, int);
    CUresult (*cuDeviceGetName)(char *, int, CUdevice);
    CUresult (*cuDeviceGetAttribute)(int *, CUdevice_attribute, CUdevice);
    CUresult (*cuDevicePrimaryCtxRetain)(CUcontext *, CUdevice);
    CUresult (*cuCtxSetCurrent)(CUcontext);
    CUresult (*cuCtxSynchronize)(void);
    CUresult (*cuModuleLoadData)(CUmodule *, const void *);
    CUresult (*cuModuleUnload)(CUmodule);
    CUresult (*cuModuleGetFunction)(CUfunction *, CUmodule, const char *);
    CUresult (*cuMemAlloc_v2)(CUdeviceptr *, size_t);
    CUresult (*cuMemcpyHtoD_v2)(CUdeviceptr, const void *, size_t);
    CUresult (*cuMemcpyDtoH_v2)(void *, CUdeviceptr, size_t);
    CUresult (*cuLaunchKernel)(CUfunction, unsigned, unsigned, unsigned, unsigned, unsigned,
                               unsigned, unsigned, CUstream, void **, void **);
} cu;

static const struct {
    const char *name;
    void *slot;
} symbols[] = {
#define SYMBOL(name)                                                                               \
    {                                                                                              \
#name, &cu.name                                                                            \
    }
    SYMBOL(cuInit),
    SYMBOL(cuDeviceGet),
    SYMBOL(cuDeviceGetName),
    SYMBOL(cuDeviceGetAttribute),
    SYMBOL(cuDevicePrimaryCtxRetain),
    SYMBOL(cuCtxSetCurrent),
    SYMBOL(cuCtxSynchronize),
    SYMBOL(cuModuleLoadData),
    SYMBOL(cuModuleUnload),
    SYMBOL(cuModuleGetFunction),
    SYMBOL(cuMemAlloc_v2),
    SYMBOL(cuMemcpyHtoD_v2),
    SYMBOL(cuMemcpyDtoH_v2),
    SYMBOL(cuLaunchKernel),
};

/* Lanes that execute a case while the others wait. */
#define SOME_LANES 0x6b3a59c1u

/* The four arrays of 8-byte slots: a, b, c, d. */
static uint64_t host[4][CORPUS_LANES];
static CUdeviceptr device[4];
static const size_t array_bytes = sizeof(host[0]);

static struct {
    const char *lib, *only, *dump;
    bool list, verbose;
} options = {.lib = "libcuda.so.1"};

static bool
open_driver(void)
{
    void *lib = dlopen(options.lib, RTLD_NOW | RTLD_LOCAL);
    size_t i;

    if (lib == NULL) {
        fprintf(stderr, "corpus: %s\n", dlerror());
        return false;
    }
    for (i = 0; i < sizeof(symbols) / sizeof(symbols[0]); i++) {
        void *symbol = dlsym(lib, symbols[i].name);

        if (symbol == NULL) {
            fprintf(stderr, "corpus: %s has no %s\n", options.lib, symbols[i].name);
            return false;
        }
        memcpy(symbols[i].slot, &symbol, sizeof(symbol));
    }
    return true;
}

static bool
check(CUresult cr, const char *call)
{
    if (cr != CUDA_SUCCESS)
        fprintf(stderr, "corpus: %s returned %d\n", call, (int)cr);
    return cr == CUDA_SUCCESS;
}

/* Device 0 with its arrays; *sm_p is 75 for 7.5. */
static bool
open_device(unsigned *sm_p)
{
    int major = 0, minor = 0, i;
    char name[128] = "";
    CUcontext ctx;
    CUdevice dev;

    if (!check(cu.cuInit(0), "cuInit") || !check(cu.cuDeviceGet(&dev, 0), "cuDeviceGet") ||
        !check(cu.cuDevicePrimaryCtxRetain(&ctx, dev), "cuDevicePrimaryCtxRetain") ||
        !check(cu.cuCtxSetCurrent(ctx), "cuCtxSetCurrent"))
        return false;
    cu.cuDeviceGetAttribute(&major, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, dev);
    cu.cuDeviceGetAttribute(&minor, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR, dev);
    cu.cuDeviceGetName(name, sizeof(name), dev);
    printf("device: %s, compute capability %d.%d\n", name, major, minor);
    *sm_p = (unsigned)(major * 10 + minor);
    for (i = 0; i < 4; i++)
        if (!check(cu.cuMemAlloc_v2(&device[i], array_bytes), "cuMemAlloc"))
            return false;
    return true;
}

static void
fill_operands(const struct corpus_case *c)
{
    const enum corpus_class classes[] = {c->a, c->b, c->c};
    uint32_t i;
    int k;

    for (k = 0; k < 3; k++)
        for (i = 0; i < CORPUS_LANES; i++)
            host[k][i] = corpus_value(classes[k], k, i);
    memset(host[3], 0, sizeof(host[3]));
}

static CUresult
launch(CUfunction kernel, uint32_t lanes)
{
    void *params[] = {&device[0], &device[1], &device[2], &device[3], &lanes};
    CUresult cr = CUDA_SUCCESS;
    int k;

    for (k = 0; cr == CUDA_SUCCESS && k < 4; k++)
        cr = cu.cuMemcpyHtoD_v2(device[k], host[k], array_bytes);
    if (cr == CUDA_SUCCESS)
        cr = cu.cuLaunchKernel(kernel, CORPUS_LANES / 128, 1, 1, 128, 1, 1, 0, NULL, params, NULL);
    if (cr == CUDA_SUCCESS)
        cr = cu.cuCtxSynchronize();
    if (cr == CUDA_SUCCESS)
        cr = cu.cuMemcpyDtoH_v2(host[3], device[3], array_bytes);
    return cr;
}

/* References may leave a sign extension above the bits that st writes. */
static uint64_t stored_bits(enum corpus_class class)
{
    switch (class) {
    case I8:
        return UINT8_MAX;
    case I16:
    case H16:
    case BF16:
        return UINT16_MAX;
    case I64:
    case F64:
        return UINT64_MAX;
    default:
        return UINT32_MAX;
    }
}

static void
references(const struct corpus_case *c, uint64_t *want)
{
    uint64_t mask = stored_bits(c->d);
    uint32_t i;

    if (c->lane != NULL)
        for (i = 0; i < CORPUS_LANES; i++)
            want[i] = c->lane(host[0][i], host[1][i], host[2][i]);
    else
        for (i = 0; i < CORPUS_LANES; i += 32)
            c->warp(host[0] + i, host[1] + i, host[2] + i, want + i);
    for (i = 0; i < CORPUS_LANES; i++)
        want[i] &= mask;
}

/* Differences of one case in which lanes of a mask took part; prints the first few. */
static unsigned
count_differences(const struct corpus_case *c, uint32_t lanes)
{
    static uint64_t want[CORPUS_LANES];
    unsigned wrong = 0;
    uint32_t i;

    references(c, want);
    for (i = 0; i < CORPUS_LANES; i++) {
        bool took_part = (lanes >> i % 32 & 1) != 0;

        if (!took_part)
            want[i] = CORPUS_KEPT & stored_bits(c->d);
        if (took_part ? corpus_agrees(c, host[0][i], host[3][i], want[i]) : host[3][i] == want[i])
            continue;
        if (wrong++ < (options.verbose ? 20u : 2u))
            printf("  %s lane %u: a %llx b %llx c %llx: got %llx, want %llx\n", c->name, i,
                   (unsigned long long)host[0][i], (unsigned long long)host[1][i],
                   (unsigned long long)host[2][i], (unsigned long long)host[3][i],
                   (unsigned long long)want[i]);
    }
    return wrong;
}

/* Lanes that do not need each other can also be tried by halves. */
static bool
may_split(const struct corpus_case *c)
{
    static const char *const together[] = {"bar.",  "barrier",    "shfl", "vote", "match",
                                           "redux", "activemask", "exit", "ret;", "elect"};
    size_t i;

    for (i = 0; i < sizeof(together) / sizeof(together[0]); i++)
        if (strstr(c->text, together[i]) != NULL)
            return false;
    return c->lane != NULL;
}

/* One launch in which the lanes of a mask take part. */
static bool
run_text(const struct corpus_case *c, const char *text, uint32_t lanes)
{
    CUfunction kernel;
    CUmodule module;
    unsigned wrong;
    CUresult cr = cu.cuModuleLoadData(&module, text);

    if (cr != CUDA_SUCCESS) {
        printf("FAIL %s: load returned %d: %s\n", c->name, (int)cr, c->text);
        return false;
    }
    fill_operands(c);
    cr = cu.cuModuleGetFunction(&kernel, module, "k");
    if (cr == CUDA_SUCCESS)
        cr = launch(kernel, lanes);
    cu.cuModuleUnload(module);
    if (cr != CUDA_SUCCESS) {
        printf("FAIL %s: run returned %d: %s\n", c->name, (int)cr, c->text);
        return false;
    }
    wrong = count_differences(c, lanes);
    if (wrong != 0)
        printf("FAIL %s: %u of %d differ, lanes %x: %s\n", c->name, wrong, CORPUS_LANES, lanes,
               c->text);
    else if (options.verbose && lanes == UINT32_MAX)
        printf("ok   %s\n", c->name);
    return wrong == 0;
}

/* All lanes together, then those of two masks by themselves. */
static bool
run_case(const struct corpus_case *c, const char *text)
{
    char *split;
    bool right = run_text(c, text, UINT32_MAX);

    if (!right || !may_split(c))
        return right;
    split = corpus_ptx(c, true);
    right = split != NULL && run_text(c, split, SOME_LANES) && run_text(c, split, ~SOME_LANES);
    free(split);
    return right;
}

static void
dump_text(const struct corpus_case *c, const char *text)
{
    char path[4096];
    FILE *out;

    snprintf(path, sizeof(path), "%s/%s.sm_%u.ptx", options.dump, c->name, c->sm);
    out = fopen(path, "w");
    if (out == NULL || fputs(text, out) < 0 || fclose(out) != 0)
        perror(path);
}

static bool
parse_options(int argc, char **argv)
{
    int i;

    if (getenv("GPUPOOL_CORPUS_LIB") != NULL)
        options.lib = getenv("GPUPOOL_CORPUS_LIB");
    for (i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--list") == 0)
            options.list = true;
        else if (strcmp(argv[i], "--verbose") == 0)
            options.verbose = true;
        else if (strcmp(argv[i], "--lib") == 0 && i + 1 < argc)
            options.lib = argv[++i];
        else if (strcmp(argv[i], "--only") == 0 && i + 1 < argc)
            options.only = argv[++i];
        else if (strcmp(argv[i], "--dump") == 0 && i + 1 < argc)
            options.dump = argv[++i];
        else
            return false;
    }
    return true;
}

int
main(int argc, char **argv)
{
    unsigned sm = 0, passed = 0, failed = 0, skipped = 0;
    const struct corpus_case *c;
    size_t t;

    if (!parse_options(argc, argv)) {
        fprintf(stderr, "usage: corpus [--lib FILE] [--only TEXT] [--dump FOLDER] [--list] "
                        "[--verbose]\n");
        return 2;
    }
    if (!options.list && options.dump == NULL && (!open_driver() || !open_device(&sm)))
        return 2;
    for (t = 0; t < sizeof(tables) / sizeof(tables[0]); t++) {
        for (c = tables[t]; c->name != NULL; c++) {
            char *text;

            if (options.only != NULL && strstr(c->name, options.only) == NULL)
                continue;
            if (options.list) {
                printf("%-28s sm_%u  %s\n", c->name, c->sm, c->text);
                continue;
            }
            text = corpus_ptx(c, false);
            if (text == NULL)
                return 2;
            if (options.dump != NULL)
                dump_text(c, text);
            else if (c->sm > sm)
                skipped++;
            else if (run_case(c, text))
                passed++;
            else
                failed++;
            free(text);
        }
    }
    if (!options.list && options.dump == NULL)
        printf("%u passed, %u failed, %u skipped (newer device)\n", passed, failed, skipped);
    return failed != 0;
}
