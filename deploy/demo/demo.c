/* deploy/demo/demo.c -- a picture rendered by CUDA kernels and checked, every pixel, on the CPU
 *
 * usage: gpupool-demo PICTURE.png [WIDTH HEIGHT]
 *
 * A plain program on the driver API: linked with libcuda.so.1 like any other, with
 * its kernels as PTX text. It knows nothing of gpupool. Prints lines "key: value".
 * Exit status: 0 all results right, 1 wrong results, 2 the device or a file failed. */
#include "cuda_api.h"
#include "picture.h"
#include "reference.h"
#include "scene_ptx.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static void
must(CUresult cr, const char *what)
{
    const char *text = NULL;

    if (cr == CUDA_SUCCESS)
        return;
    if (cuGetErrorString(cr, &text) != CUDA_SUCCESS || text == NULL)
        text = "unknown error";
    fprintf(stderr, "gpupool-demo: %s: %s (%d)\n", what, text, (int)cr);
    exit(2);
}

#define CU(call) must((call), #call)

static void *
host_memory(size_t bytes)
{
    void *p = calloc(1, bytes);

    if (p == NULL) {
        fprintf(stderr, "gpupool-demo: out of memory: %zu bytes\n", bytes);
        exit(2);
    }
    return p;
}

static double
now_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

/* Everything that both the device and the CPU compute. */
struct results {
    uint32_t *floor;
    struct demo_light *light;
    uint64_t total;
    uint32_t *pixels;
};

static struct results
results_create(const struct demo_scene *scene)
{
    size_t count = (size_t)scene->width * scene->height;

    return (struct results){
        .floor = host_memory((size_t)scene->floor_size * scene->floor_size * sizeof(uint32_t)),
        .light = host_memory(count * sizeof(struct demo_light)),
        .pixels = host_memory(count * sizeof(uint32_t)),
    };
}

static void
results_destroy(struct results *r)
{
    free(r->floor);
    free(r->light);
    free(r->pixels);
}

static const struct demo_scene default_scene = {
    .width = 640,
    .height = 400,
    .floor_size = 512,
    .most_steps = 304,
    .left = -1.95,
    .top = -1.25,
    .step = 2.5 / 512,
    .floor_scale = 90.0f,
    .sphere_count = 7,
    .spheres = {
        {0.0f, 1.0f, 1.2f, 1.0f, 0.90f, 0.92f, 0.95f, 0.75f},
        {-1.9f, 0.7f, 0.4f, 0.7f, 0.95f, 0.35f, 0.25f, 0.25f},
        {1.8f, 0.6f, 0.1f, 0.6f, 0.20f, 0.55f, 0.95f, 0.30f},
        {-0.7f, 0.35f, -0.9f, 0.35f, 0.98f, 0.80f, 0.25f, 0.35f},
        {0.8f, 0.30f, -1.1f, 0.30f, 0.35f, 0.85f, 0.45f, 0.25f},
        {2.6f, 1.3f, 3.6f, 1.3f, 0.75f, 0.45f, 0.90f, 0.40f},
        {-3.1f, 1.6f, 4.4f, 1.6f, 0.85f, 0.85f, 0.80f, 0.60f},
    },
};

static void
upload_scene(CUmodule mod, const struct demo_scene *scene)
{
    CUdeviceptr p;
    size_t size;

    CU(cuModuleGetGlobal_v2(&p, &size, mod, "spheres"));
    CU(cuMemcpyHtoD_v2(p, scene->spheres, sizeof(scene->spheres)));
    CU(cuModuleGetGlobal_v2(&p, &size, mod, "sphere_count"));
    CU(cuMemcpyHtoD_v2(p, &scene->sphere_count, sizeof(scene->sphere_count)));
}

static CUfunction
kernel(CUmodule mod, const char *name)
{
    CUfunction f;

    CU(cuModuleGetFunction(&f, mod, name));
    return f;
}

/* Kernels of two streams: the fractal, then what needs it, all without waiting. */
static void
render(CUmodule mod, const struct demo_scene *scene, struct results *r)
{
    uint32_t count = scene->width * scene->height, size = scene->floor_size;
    uint32_t mask = size - 1, shift = (uint32_t)__builtin_ctz(size);
    size_t floor_bytes = (size_t)size * size * sizeof(uint32_t);
    size_t light_bytes = count * sizeof(struct demo_light);
    CUdeviceptr floor, light, total, pixels;
    CUstream draw, paint;
    CUevent painted;

    CU(cuMemAlloc_v2(&floor, floor_bytes));
    CU(cuMemAlloc_v2(&light, light_bytes));
    CU(cuMemAlloc_v2(&total, sizeof(uint64_t)));
    CU(cuMemAlloc_v2(&pixels, count * sizeof(uint32_t)));
    CU(cuStreamCreate(&draw, CU_STREAM_NON_BLOCKING));
    CU(cuStreamCreate(&paint, CU_STREAM_NON_BLOCKING));
    CU(cuEventCreate(&painted, CU_EVENT_DISABLE_TIMING));

    double left = scene->left, top = scene->top, step = scene->step;
    uint32_t most = scene->most_steps, width = scene->width, height = scene->height;
    float scale = scene->floor_scale;
    void *fractal[] = {&floor, &size, &left, &top, &step, &most};
    void *trace[] = {&light, &width, &height, &floor, &mask, &shift, &scale};
    void *measure[] = {&total, &light, &count};
    void *develop[] = {&pixels, &light, &total, &count};

    CU(cuLaunchKernel(kernel(mod, "fractal"), size / 16, size / 16, 1, 16, 16, 1, 0, paint, fractal,
                      NULL));
    CU(cuEventRecord(painted, paint));
    CU(cuMemsetD32Async(total, 0, 2, draw));
    CU(cuStreamWaitEvent(draw, painted, 0));
    CU(cuLaunchKernel(kernel(mod, "trace"), (width + 15) / 16, (height + 7) / 8, 1, 16, 8, 1, 0,
                      draw, trace, NULL));
    CU(cuLaunchKernel(kernel(mod, "measure"), (count + 255) / 256, 1, 1, 256, 1, 1, 0, draw,
                      measure, NULL));
    CU(cuLaunchKernel(kernel(mod, "develop"), (count + 255) / 256, 1, 1, 256, 1, 1, 0, draw,
                      develop, NULL));
    CU(cuMemcpyDtoHAsync_v2(r->pixels, pixels, count * sizeof(uint32_t), draw));
    CU(cuStreamSynchronize(draw));
    CU(cuMemcpyDtoH_v2(r->floor, floor, floor_bytes));
    CU(cuMemcpyDtoH_v2(r->light, light, light_bytes));
    CU(cuMemcpyDtoH_v2(&r->total, total, sizeof(r->total)));

    CU(cuEventDestroy_v2(painted));
    CU(cuStreamDestroy_v2(draw));
    CU(cuStreamDestroy_v2(paint));
    CU(cuMemFree_v2(floor));
    CU(cuMemFree_v2(light));
    CU(cuMemFree_v2(total));
    CU(cuMemFree_v2(pixels));
}

static void
compute_on_cpu(const struct demo_scene *scene, struct results *r)
{
    uint32_t count = scene->width * scene->height;

    demo_fractal(scene, r->floor);
    demo_trace(scene, r->floor, r->light);
    r->total = demo_measure(r->light, count);
    demo_develop(r->light, r->total, count, r->pixels);
}

/* How many elements differ, named; a sum that differs counts as one. */
static uint64_t
compare(const struct demo_scene *scene, const struct results *a, const struct results *b)
{
    size_t count = (size_t)scene->width * scene->height;
    uint64_t floor = 0, light = 0, pixels = 0, total = a->total != b->total;

    for (size_t i = 0; i < (size_t)scene->floor_size * scene->floor_size; i++)
        floor += a->floor[i] != b->floor[i];
    for (size_t i = 0; i < count; i++) {
        light += memcmp(&a->light[i], &b->light[i], sizeof(a->light[i])) != 0;
        pixels += a->pixels[i] != b->pixels[i];
    }
    printf("fractal points: %u, wrong: %" PRIu64 "\n", scene->floor_size * scene->floor_size, floor);
    printf("light values: %zu, wrong: %" PRIu64 "\n", count, light);
    printf("brightness: %" PRIu64 ", wrong: %" PRIu64 "\n", a->total, total);
    printf("pixels: %zu, wrong: %" PRIu64 "\n", count, pixels);
    return floor + light + total + pixels;
}

static bool
parse(int argc, char **argv, struct demo_scene *scene)
{
    if (argc != 2 && argc != 4)
        return false;
    if (argc == 4) {
        long width = strtol(argv[2], NULL, 10), height = strtol(argv[3], NULL, 10);

        if (width < 16 || width > 8192 || height < 16 || height > 8192)
            return false;
        scene->width = (uint32_t)width;
        scene->height = (uint32_t)height;
    }
    return true;
}

int
main(int argc, char **argv)
{
    struct demo_scene scene = default_scene;
    struct results device, cpu;
    char name[256];
    CUcontext ctx;
    CUdevice dev;
    CUmodule mod;
    double start;

    if (!parse(argc, argv, &scene)) {
        fprintf(stderr, "usage: gpupool-demo PICTURE.png [WIDTH HEIGHT]   (16 to 8192)\n");
        return 2;
    }
    device = results_create(&scene);
    cpu = results_create(&scene);

    start = now_ms();
    CU(cuInit(0));
    CU(cuDeviceGet(&dev, 0));
    CU(cuDeviceGetName(name, sizeof(name), dev));
    CU(cuDevicePrimaryCtxRetain(&ctx, dev));
    CU(cuCtxSetCurrent(ctx));
    CU(cuModuleLoadData(&mod, scene_ptx));
    upload_scene(mod, &scene);
    render(mod, &scene, &device);
    CU(cuModuleUnload(mod));
    CU(cuDevicePrimaryCtxRelease_v2(dev));
    printf("device: %s\n", name);
    printf("device time: %.0f ms\n", now_ms() - start);

    start = now_ms();
    compute_on_cpu(&scene, &cpu);
    printf("cpu check: %.0f ms\n", now_ms() - start);

    uint64_t wrong = compare(&scene, &device, &cpu);
    bool written = demo_picture_write(argv[1], scene.width, scene.height, device.pixels);
    printf("picture: %s\n", argv[1]);
    results_destroy(&device);
    results_destroy(&cpu);
    if (!written)
        return 2;
    return wrong == 0 ? 0 : 1;
}
